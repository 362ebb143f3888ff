"""One block of training, ready to be timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxreco.learning import checkpoint, trainer
from jaxreco.learning.config import TrainConfig
from jaxreco.registry import make, make_agent


def block(world: str, agent_name: str, users: int, world_options: dict[str, Any]) -> tuple[Callable[[], None], int]:
    """A function that runs one block (rollout and update) and waits for it, and the user-turns of a block.

    Args:
      world: its id. agent_name: of an agent that learns. users: B. world_options: statics of the world.
    """
    env, params = make(world, **world_options)
    key = jax.random.key(0)
    agent, agent_params = make_agent(agent_name, key, env, params)
    config = TrainConfig(users=users, minibatches=min(16, users))
    learner = checkpoint.settle(trainer.begin(key, env, params, agent, agent_params, config))

    def run() -> None:
        nonlocal learner
        learner, logs = trainer.block(key, params, learner, env, agent, config)
        learner = checkpoint.settle(learner)  # as between the blocks of a run; without it the second one compiles again
        jax.block_until_ready(logs)

    return run, config.users * config.turns
