"""What a run's config makes: a world, an agent that learns in it, and how it is trained."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from jaxreco import cli_world, registry
from jaxreco.errors import JaxrecoError
from jaxreco.learning import checkpoint, trainer
from jaxreco.learning.config import TrainConfig
from jaxreco.talk.hearing import hard_of_hearing
from jaxreco.training.state import Best, Training

KEYS = {
    "agent": 0,
    "train": 1,
    "trial": 2,
    "table": 3,
    "sessions": 4,
    "watch": 5,
    "teacher": 6,
    "lessons": 7,
}  # every use of the seed has its own key


@dataclasses.dataclass(frozen=True)
class Job:
    """A run's config, and what it makes."""

    config: dict[str, Any]
    env: Any
    params: Any
    agent: Any
    agent_params: Any
    train: Any  # TrainConfig

    def key(self, use: str) -> Any:
        """The key of one use of the run's seed."""
        return key_of(self.config["seed"], use)

    def meta(self) -> dict[str, Any]:
        """What a checkpoint of this job belongs to."""
        return checkpoint.describe(self.env, self.config["agent"], self.agent, self.train)

    def begin(self) -> Training:
        """The run before its first block."""
        learner = trainer.begin(self.key("train"), self.env, self.params, self.agent, self.agent_params, self.train)
        return Training.begin(checkpoint.settle(learner))

    def best(self) -> Best:
        """What `Best` is of this job before anything was learned."""
        return Best(checkpoint.settle(self.agent_params), np.int32(0))


def build(config: dict[str, Any]) -> Job:
    """The world, the agent and its parameters of a config. Raises ValueError, one sentence, for what cannot be."""
    agent = registry.agent_factory(config["agent"])()
    if not getattr(agent, "learns", False):
        able = [name for name in registry.agents() if getattr(registry.agent_factory(name)(), "learns", False)]
        raise JaxrecoError(
            f"The agent {config['agent']!r} does not learn: train {' or '.join(able)}, or a file with one."
        )
    data = pathlib.Path(config["data"]) if config.get("data") else None
    content = pathlib.Path(config["content"]) if config.get("content") else None
    settings = config.get("set", ())
    user_model = pathlib.Path(config["user_model"]) if config.get("user_model") else None
    env, params = cli_world.make_world(
        config["env"], data=data, static=statics(config), settings=settings, content=content, user_model=user_model
    )
    try:
        train = TrainConfig(**config["train"])
    except TypeError as error:
        raise JaxrecoError(f"The run's training settings do not fit this jaxreco ({error}): start a new run.") from None
    agent, agent_params = registry.make_agent(config["agent"], key_of(config["seed"], "agent"), env, params)
    agent = hard_of_hearing(agent, "masked" if config.get("blind") else "real")
    return Job(config, env, params, agent, agent_params, train)


def with_seed(job: Job, seed: int) -> Job:
    """The job of another seed in the same world."""
    _, agent_params = registry.make_agent(job.config["agent"], key_of(seed, "agent"), job.env, job.params)
    return dataclasses.replace(job, config={**job.config, "seed": seed}, agent_params=agent_params)


def statics(config: dict[str, Any]) -> list[str]:
    """What is fixed in a config's world, NAME=VALUE."""
    return [*config.get("world", ()), f"choice={config.get('choice', 'cascade')}"]


def key_of(seed: int, use: str) -> Any:
    """The key of one use of a seed."""
    return jax.random.fold_in(jax.random.key(seed), KEYS[use])


def row_name(agent: str) -> str:
    """A registered agent's name, or a file's."""
    return pathlib.Path(agent).name
