"""Learned-v0: the items and people of any log, as a user model fitted to it knows them.

`user_model` is a folder of `jaxreco fit`: of a network, or of the mechanistic user's parameters. What the log does not hold is a
prior, as the user model's `heads` says (docs/worlds/learned.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxreco.base import EnvParams
from jaxreco.env import RecoEnv
from jaxreco.errors import DataError
from jaxreco.users.mindset import Mindset

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
    from jaxreco.fit import living, mindset_folder

    if user_model is None or user_model == "mindset":
        raise DataError(
            "Learned-v0 is the world of a fitted user: make one with jaxreco fit and give its folder, --user-model FOLDER."
        )
    folder = Path(user_model).expanduser()
    statics: dict[str, Any] = {"talks": talks, "think_aloud": think_aloud}
    world, params, kind = None, None, Mindset
    if mindset_folder.is_one(folder):
        world = mindset_folder.load(folder).world
        params = world.params
    else:
        from jaxreco.users.transformer import LearnedUser

        world, params = living.load(folder)
        kind, statics["sources"] = LearnedUser, tuple(sorted(params.feedback))
    size = min(slate_size, world.catalog.n_items)
    env = RecoEnv(
        name="Learned-v0", version=VERSION, n_items=world.catalog.n_items, slate_size=size, history_length=history_length,
        user_model=kind(len(world.names.categories), size, history_length, choice, **statics), exposes_trace=exposes_trace,
        action_mode=action_mode, names=world.names, log=world.log,
    )  # fmt: skip
    return env, EnvParams(catalog=world.catalog, user=params)
