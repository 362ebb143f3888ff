"""Credit for what was done in a block: what each turn was better than expected, and what of it each slot earned."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxreco.base import CLICK, EXAMINED
from jaxreco.learning.config import TrainConfig
from jaxreco.learning.objective import group_advantage, outcome_worth
from jaxreco.learning.returns import gae
from jaxreco.rollout import Trajectory
from jaxreco.struct import Struct

Array = jax.Array

OUTCOMES = 4  # of a slot: minutes, share watched, click, lure of what was clicked on; all 0 when it was skipped


class Batch(Struct):
    """What an update learns from. Leaves [B, T, ...], users first."""

    percept: Any
    episode: Array  # i32[B, T]
    slate: Array  # i32[B, T, K]
    log_prob: Array  # f32[B, T, K]
    examined: Array  # bool[B, T, K]
    earned: Array  # f32[B, T, K], long-run worth of what each slot came to, standardised
    advantage: Array  # f32[B, T, K]
    turn: Array  # f32[B, T], advantage of the whole turn, as a standard score
    target: Array  # f32[B, T], returns, as standard scores
    plan_log_prob: Array | None = None  # f32[B, T], of an agent that plans
    reference: Array | None = None  # f32[B, T, K], log-probability under the policy that this one is held to


def credit(
    trajectory: Trajectory, catalog: Any, agent_params: Any, worth: Array, update: Array, config: TrainConfig
) -> tuple[Any, Array, Batch]:
    """(agent_params, worth, batch): the batch of a block, and what runs along, the statistics of returns and the worth of outcomes.

    Args: worth f32[OUTCOMES], of earlier blocks. update i32[], blocks done.
    """
    did, feedback = trajectory.extras, trajectory.info["feedback"]
    advantage, returns = advantages(trajectory, agent_params.value_mean, config)
    rate = jnp.where(update == 0, 1.0, 0.1)
    mean = agent_params.value_mean + rate * (jnp.mean(returns) - agent_params.value_mean)
    std = agent_params.value_std + rate * (jnp.std(returns) + 1e-3 - agent_params.value_std)
    outcome = _outcomes(feedback, getattr(did, "lure", 0.0), catalog)
    examined = feedback.did(EXAMINED)
    now = outcome_worth(advantage.ravel(), jnp.sum(outcome, axis=2).reshape(-1, OUTCOMES))
    worth = worth + rate * (now - worth)
    earned = outcome @ worth
    spread = jnp.sqrt(jnp.mean(earned**2, where=examined)) + 1e-6
    earned = earned / spread
    own = jnp.where(examined, earned - did.slot_value[..., None], 0.0)
    turn = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-6)
    done = (trajectory.terminated | trajectory.truncated).astype(jnp.int32)
    batch = Batch(
        percept=did.percept,
        episode=jnp.cumsum(done, axis=0) - done,
        slate=trajectory.action,
        log_prob=did.log_prob,
        examined=examined,
        earned=earned,
        advantage=own + config.turn_share * turn[..., None],
        turn=turn,
        target=(returns - mean) / std,
        plan_log_prob=getattr(did, "plan_log_prob", None),
    )
    users_first = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), batch)
    return agent_params.replace(value_mean=mean, value_std=std), worth, users_first


def advantages(trajectory: Trajectory, usual: Array, config: TrainConfig) -> tuple[Array, Array]:
    """(advantages f32[T, B], returns f32[T, B]) of turns, discounted by elapsed time, by the objective.

    Args: usual f32[], what a turn and all that follows are worth on average: what a group's lives are credited with beyond the block.
    """
    value, bootstrap = trajectory.extras.value, trajectory.bootstrap
    if config.objective == "grpo":  # no critic: each life beside others of the same person from the same state
        value = jnp.zeros_like(value)
        bootstrap = jnp.full_like(bootstrap, usual)
    advantage = jax.vmap(gae, (1, 1, 0, 1, 1, 1, 1, None), 1)(
        trajectory.reward,
        value,
        bootstrap[-1],
        trajectory.info["discount"],
        trajectory.terminated,
        trajectory.truncated,
        bootstrap,
        config.trace_decay if config.objective == "ppo" else 1.0,
    )
    if config.objective != "grpo":
        return advantage, advantage + value
    groups = advantage.reshape(len(advantage), -1, config.group)
    better = jax.vmap(jax.vmap(lambda returns: group_advantage(returns, config.scaled)))(groups)
    return better.reshape(advantage.shape), advantage


def _outcomes(feedback: Any, lure: Any, catalog: Any) -> Array:
    """f32[T, B, K, OUTCOMES]: minutes, share of the item watched, click, lure of what was clicked on.

    Args: lure f32[T, B, K], of items, or 0 for an agent that knows of none.
    """
    duration = catalog.duration[jnp.maximum(feedback.slate, 0)]
    clicked = feedback.did(CLICK)
    return jnp.stack([feedback.watch / 60.0, feedback.watch / duration, clicked, clicked * lure], axis=-1)
