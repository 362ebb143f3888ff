"""The folder of a co-training: what was asked for, and by round the users (`users/1`, ...) and the runs of the agent (`agent/1`, ...).

What is finished in it is finished: users appear whole, and a run that has a checkpoint of its last update is over. So what is on disk
says where to go on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxreco import run as runs
from jaxreco.errors import JaxrecoError
from jaxreco.learning import checkpoint
from jaxreco.run import COTRAINING, Run

RUN = (
    "env",
    "agent",
    "seed",
    "set",
    "world",
    "choice",
    "train",
    "eval_users",
)  # what a run is asked for in every round
KEPT = {*RUN, "user_model", "data", "fingerprint", "rounds", "epochs", "kl"}


def create(folder: Path, config: dict[str, Any]) -> Run:
    """A new folder. Raises JaxrecoError where there is something already."""
    return runs.create(folder, {"kind": COTRAINING, **config})


def load(folder: Path) -> Run:
    """The co-training of a folder. Raises JaxrecoError where there is none."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JaxrecoError(f"{folder} holds no co-training: give a folder that jaxreco cotrain has made.") from None
    except ValueError:
        raise JaxrecoError(f"{path} is no JSON: the co-training is damaged, start a new one.") from None
    if not isinstance(config, dict) or config.get("kind") != COTRAINING or not config.keys() >= KEPT:
        raise JaxrecoError(
            f"{folder} holds no co-training of this version: give a folder that jaxreco cotrain has made."
        )
    return Run(folder, config)


def users_of(run: Run, round: int) -> Path:
    """The users after a round; those that it began with after none."""
    return run.folder / "users" / str(round) if round else Path(run.config["user_model"])


def agent_of(run: Run, round: int) -> Path:
    """The run of the agent in a round, from 1."""
    return run.folder / "agent" / str(round)


def run_config(run: Run, round: int) -> dict[str, Any]:
    """What the run of a round is asked for; round 0 is that of an agent among the users that all begins with.

    A round has a seed of its own, the next one: other people, in other luck.
    """
    config = {name: run.config[name] for name in RUN}
    return {
        **config,
        "data": None,  # the users hold all that a world is made of
        "user_model": str(users_of(run, round)),
        "seed": config["seed"] + max(round - 1, 0),
        "seeds": 1,
        "content": None,
        "blind": False,
        "from": str(agent_of(run, round - 1)) if round > 1 else None,
        "patience": None,
        "plan": False,
        "tensorboard": False,
    }


def is_trained(run: Run, round: int) -> bool:
    """Whether the agent has done all updates of a round."""
    return checkpoint.latest(agent_of(run, round) / "checkpoint") == run.config["train"]["updates"]
