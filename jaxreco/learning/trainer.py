"""Multi-turn policy gradients: rollout and update as one jitted block; a Python loop over blocks does the rest.

Any agent with `act`, `value` and `replay` whose extras hold `log_prob`, `value`, `slot_value` and `percept` can be
trained (agents/ppo.py shows them); one that plans adds `plan_log_prob` (agents/agentic.py); one with `absorb` learns of all users and items
without a gradient too. What was done is credited in
`learning.credit`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxreco.learning.config import TrainConfig
from jaxreco.learning.credit import OUTCOMES, Batch, credit
from jaxreco.learning.objective import clipped_surrogate, divergence, score_function
from jaxreco.learning.passes import everywhere, learning_devices, optimiser, passes
from jaxreco.rollout import Rollout, Trajectory, initial, rollout
from jaxreco.struct import Struct

Array = jax.Array


class Learner(Struct):
    """The whole state of a training run: with the key and the config it is all that a resumed run needs."""

    agent_params: Any
    opt_state: Any
    rollout: Rollout  # without trajectory
    worth: Array  # f32[OUTCOMES], running long-run worth of a slot's outcomes
    update: Array  # i32[], blocks done
    reference: Any  # the network that training began with; None where nothing holds the policy to it


def begin(key: Array, env: Any, params: Any, agent: Any, agent_params: Any, config: TrainConfig) -> Learner:
    """The learner before its first block. The key draws the users; pass the same one to every `block`."""
    run = initial(key, env, params, agent, agent_params, users=config.users)
    learned = (agent_params, optimiser(config).init(agent_params.net), jnp.zeros(OUTCOMES), jnp.int32(0))
    agent_params, opt_state, worth, update = everywhere(learned, learning_devices(config, agent))
    reference = jax.tree.map(jnp.copy, agent_params.net) if config.kl else None  # a block is given its learner's memory
    return Learner(agent_params, opt_state, run, worth, update, reference)


@functools.partial(jax.jit, static_argnames=("env", "agent", "config"), donate_argnames=("learner",))
def block(
    key: Array, params: Any, learner: Learner, env: Any, agent: Any, config: TrainConfig
) -> tuple[Learner, dict[str, Array]]:
    """T turns of B users, then `epochs` passes over them.

    Args:
      key: of the whole run, the same in every block: turns and shuffles are folded in.
      learner: donated.

    Returns: the learner after the block, and scalars f32[] to log.
    """
    before = _alike(learner.rollout, config.group)
    ran = rollout(
        key,
        env,
        params,
        agent,
        learner.agent_params,
        users=config.users,
        turns=config.turns,
        start=before,
        trajectory=True,
        twins=config.group,
    )
    trajectory = ran.trajectory
    assert trajectory is not None
    agent_params, worth, batch = credit(
        trajectory, params.catalog, learner.agent_params, learner.worth, learner.update, config
    )
    if learner.reference is not None:
        held_to = agent_params.replace(net=learner.reference)
        batch = batch.replace(reference=_log_prob(held_to, batch, before.memory, params.catalog, agent, config))
    shuffle = jax.random.fold_in(jax.random.fold_in(key, 0x5EED), learner.update)
    progress = learner.update / config.updates
    agent_params, opt_state, losses = _learn(
        shuffle, agent_params, learner.opt_state, batch, before.memory, params.catalog, agent, config, progress
    )
    if hasattr(agent, "absorb"):
        agent_params = agent.absorb(agent_params, trajectory, ran.memory, params.catalog)
    logs = _logs(trajectory) | losses | {f"worth_{i}": worth[i] for i in range(OUTCOMES)}
    run = ran.replace(trajectory=None)
    return Learner(agent_params, opt_state, run, worth, learner.update + 1, learner.reference), logs


def _alike(run: Rollout, group: int) -> Rollout:
    """Each group where its first life is."""
    if group == 1:
        return run
    first = jnp.arange(run.turn.shape[0]) // group * group
    return jax.tree.map(lambda x: x[first], run)


def _log_prob(agent_params: Any, batch: Batch, memory: Any, catalog: Any, agent: Any, config: TrainConfig) -> Array:
    """f32[B, T, K]: of what was shown, under other parameters; as many users at a time as a minibatch has."""

    def user(one: Any) -> Array:
        batch, memory = one
        return agent.replay(agent_params, memory, batch.percept, batch.episode, batch.slate, catalog).log_prob

    return jax.lax.map(user, (batch, memory), batch_size=config.users // config.minibatches)


def _learn(
    key: Array,
    agent_params: Any,
    opt_state: Any,
    batch: Batch,
    memory: Any,
    catalog: Any,
    agent: Any,
    config: TrainConfig,
    progress: Array,
) -> tuple[Any, Any, dict[str, Array]]:
    """`epochs` passes over the batch."""
    entropy_weight = config.entropy + (config.entropy_end - config.entropy) * progress

    def loss(net: Any, part: tuple[Batch, Any], same: Any) -> tuple[Array, dict[str, Array]]:
        agent_params, catalog, entropy_weight = same
        return _loss(net, agent_params, *part, catalog, agent, config, entropy_weight)

    devices = learning_devices(config, agent)
    same = (agent_params, catalog, entropy_weight)
    net, opt_state, losses = passes(key, agent_params.net, opt_state, (batch, memory), same, loss, config, devices)
    return agent_params.replace(net=net), opt_state, losses


def _loss(
    net: Any,
    agent_params: Any,
    batch: Batch,
    memory: Any,
    catalog: Any,
    agent: Any,
    config: TrainConfig,
    entropy_weight: Array,
) -> tuple[Array, dict[str, Array]]:
    """The objective over some users' turns, negated, and its parts."""
    agent_params = agent_params.replace(net=net)
    again = jax.vmap(agent.replay, (None, 0, 0, 0, 0, None))(
        agent_params, memory, batch.percept, batch.episode, batch.slate, catalog
    )
    log_ratio = again.log_prob - batch.log_prob
    gained = _gained(again.log_prob, log_ratio, batch.advantage, config)
    # Slots that were not looked at changed nothing: they carry no credit, only noise.
    gained = gained * batch.examined
    if config.per_length:
        length = jnp.sum(batch.examined, axis=(1, 2), keepdims=True)
        gained = gained * jnp.mean(length) / jnp.maximum(length, 1)
    policy = jnp.mean(jnp.sum(gained, axis=-1))
    entropy = jnp.mean(again.entropy)
    value = jnp.mean((again.value - batch.target) ** 2)
    looked = jnp.sum(batch.examined) + 1.0
    slot = jnp.sum(jnp.where(batch.examined, (again.slot_value[..., None] - batch.earned) ** 2, 0.0)) / looked
    loss = -policy - entropy_weight * entropy + config.value_weight * (value + slot)
    logs = {
        "policy": policy,
        "entropy": entropy,
        "value_loss": value,
        "slot_loss": slot,
        "clipped": jnp.mean(jnp.abs(log_ratio) > config.clip),
        "kl": -jnp.mean(log_ratio),
    }
    if (appeal := getattr(again, "appeal", None)) is not None:
        logs["foresight_loss"] = _foresight(appeal, again.slot_value, batch)
        loss += config.foresight * logs["foresight_loss"]
    if batch.plan_log_prob is not None:
        planned = _gained(again.plan_log_prob, again.plan_log_prob - batch.plan_log_prob, batch.turn, config)
        logs |= {"plan": jnp.mean(planned), "plan_entropy": jnp.mean(again.plan_entropy)}
        loss -= logs["plan"] + config.plan_entropy * logs["plan_entropy"]
    if config.kl:
        apart = jnp.sum(divergence(batch.reference - again.log_prob) * batch.examined, axis=-1)
        logs["from_reference"] = jnp.mean(apart)
        loss += config.kl * logs["from_reference"]
    return loss, logs


def _gained(log_prob: Array, log_ratio: Array, advantage: Array, config: TrainConfig) -> Array:
    """What the objective ascends, elementwise."""
    if config.objective == "reinforce":
        return score_function(log_prob, advantage)
    return clipped_surrogate(log_ratio, advantage, config.clip)


def _foresight(appeal: Array, slot_value: Array, batch: Batch) -> Array:
    """f32[]: mean squared error of what slots earned as foretold by their appeal f32[B, T, K], beside the others of the slate."""
    looked = batch.examined
    usual = jnp.sum(appeal * looked, axis=-1, keepdims=True) / jnp.maximum(jnp.sum(looked, axis=-1, keepdims=True), 1)
    foretold = slot_value[..., None] + appeal - usual
    return jnp.sum(jnp.where(looked, (foretold - batch.earned) ** 2, 0.0)) / (jnp.sum(looked) + 1.0)


def _logs(trajectory: Trajectory) -> dict[str, Array]:
    """What a block was like: mean over users and turns."""
    info = trajectory.info
    sessions = jnp.sum(info["left"]) + 1e-6
    return {
        "reward": jnp.mean(trajectory.reward),
        "reward_per_day": jnp.sum(trajectory.reward) / (jnp.sum(info["hours"]) / 24.0),
        "turns_per_session": trajectory.reward.size / sessions,
        "gap_hours": jnp.sum(info["gap_hours"]) / sessions,
        "clicks": jnp.sum(info["clicks"]) / (jnp.sum(info["examined"]) + 1e-6),
    }
