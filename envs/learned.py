"""Learned-v0: the items and people of any log, as a user model fitted to it knows them.

`user_model` is a folder of `jaxreco fit`: of a network, or of the mechanistic user's parameters. What the log does not hold is a
prior, as the user model's `heads` says (docs/worlds/learned.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxreco.base import EnvParams
from jaxreco.env import RecoEnv
from jaxreco.envs import fitted
from jaxreco.errors import DataError

VERSION = "0.1"


def make(
    *,
    user_model: Any = None,
    slate_size: int = 10,
    history_length: int = 50,
    action_mode: Any = "slate",
    choice: Any = "cascade",
    talks: bool = True,
    exposes_trace: bool = True,
    think_aloud: bool = False,
) -> tuple[RecoEnv, EnvParams]:
    """The world of a fitted user model, and its default parameters.

    Args:
      user_model: the folder.
      talks: users give instructions and reasons, which are priors. exposes_trace: agents see the reasons. think_aloud: reasons
        come in every turn.

    Raises DataError where the folder holds no user model, or a broken one.
    """
    if user_model is None or user_model == "mindset":
        raise DataError(
            "Learned-v0 is the world of a fitted user: make one with jaxreco fit and give its folder, --user-model FOLDER."
        )
    return fitted.world(
        "Learned-v0", VERSION, Path(user_model).expanduser(), slate_size=slate_size, history_length=history_length,
        action_mode=action_mode, choice=choice, talks=talks, exposes_trace=exposes_trace, think_aloud=think_aloud,
    )  # fmt: skip
