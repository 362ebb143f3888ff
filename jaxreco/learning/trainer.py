"""Multi-turn policy gradients: rollout and update as one jitted block; a Python loop over blocks does the rest.

Any agent with `act`, `value` and `replay` whose extras hold `log_prob`, `value`, `slot_value` and `percept` can be
trained (agents/ppo.py shows them).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from jaxreco.base import CLICK, EXAMINED
from jaxreco.learning.objective import clipped_surrogate, outcome_worth
from jaxreco.learning.returns import gae
from jaxreco.rollout import TILE, Rollout, Trajectory, devices_for, initial, mesh, rollout
from jaxreco.struct import Struct

Array = jax.Array

OUTCOMES = 3  # of a slot: minutes, share of the item watched, click (all 0 when it was skipped)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to learn. Static.

    Args:
      updates: blocks of rollout and update. users: B. turns: T of a block.
      epochs, minibatches: passes over a block and the parts of each; users must be a multiple of minibatches.
      learning_rate: of Adam, falling linearly to a tenth. max_grad_norm: clipped to.
      trace_decay: lambda of GAE. clip: epsilon of PPO.
      entropy, entropy_end: weight of the entropy of the first slot, falling linearly.
      turn_share: weight of the whole turn's advantage in a slot's credit, beside the slot's own part.
    """

    updates: int = 60
    users: int = 512
    turns: int = 32
    epochs: int = 1
    minibatches: int = 16
    learning_rate: float = 2e-3
    max_grad_norm: float = 1.0
    trace_decay: float = 0.95
    clip: float = 0.2
    entropy: float = 0.5
    entropy_end: float = 0.3
    turn_share: float = 0.1
    value_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.users % self.minibatches:
            raise ValueError(f"users ({self.users}) must be a multiple of minibatches ({self.minibatches}).")
        for name in ("updates", "users", "turns", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1.")


class Learner(Struct):
    """The whole state of a training run: with the key and the config it is all that a resumed run needs."""

    agent_params: Any
    opt_state: Any
    rollout: Rollout  # without trajectory
    worth: Array  # f32[OUTCOMES], running long-run worth of a slot's outcomes
    update: Array  # i32[], blocks done


class Batch(Struct):
    """What an update learns from. Leaves [B, T, ...], users first."""

    percept: Any
    episode: Array  # i32[B, T]
    slate: Array  # i32[B, T, K]
    log_prob: Array  # f32[B, T, K]
    examined: Array  # bool[B, T, K]
    earned: Array  # f32[B, T, K], long-run worth of what each slot came to, standardised
    advantage: Array  # f32[B, T, K]
    target: Array  # f32[B, T], returns, as standard scores


def optimiser(config: TrainConfig) -> optax.GradientTransformation:
    """Adam with gradient clipping and a linear decay."""
    steps = config.updates * config.epochs * config.minibatches
    rate = optax.linear_schedule(config.learning_rate, 0.1 * config.learning_rate, steps)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(rate, eps=1e-5))


def begin(key: Array, env: Any, params: Any, agent: Any, agent_params: Any, config: TrainConfig) -> Learner:
    """The learner before its first block. The key draws the users; pass the same one to every `block`."""
    run = initial(key, env, params, agent, agent_params, users=config.users)
    learned = (agent_params, optimiser(config).init(agent_params.net), jnp.zeros(OUTCOMES), jnp.int32(0))
    # Where a block leaves it: a learner that lies elsewhere would have the second block compiled anew.
    devices = _learning_devices(config, agent)
    if devices > 1:
        learned = jax.device_put(learned, NamedSharding(mesh(devices), PartitionSpec()))
    agent_params, opt_state, worth, update = learned
    return Learner(agent_params=agent_params, opt_state=opt_state, rollout=run, worth=worth, update=update)


def _learning_devices(config: TrainConfig, agent: Any) -> int:
    """Devices that share an update: as many as the rollout has, if users and minibatches can be shared out."""
    devices = devices_for(config.users, int(getattr(agent, "tile", TILE)))
    return devices if config.users % (devices * config.minibatches) == 0 else 1


@functools.partial(jax.jit, static_argnames=("env", "agent", "config"), donate_argnames=("learner",))
def block(
    key: Array, params: Any, learner: Learner, env: Any, agent: Any, config: TrainConfig
) -> tuple[Learner, dict[str, Array]]:
    """T turns of B users, then `epochs` passes of PPO over them.

    Args:
      key: of the whole run, the same in every block: turns and shuffles are folded in.
      learner: donated.

    Returns: the learner after the block, and scalars f32[] to log.
    """
    before = learner.rollout
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
    )
    trajectory = ran.trajectory
    assert trajectory is not None
    learner, batch = digest(trajectory, params, learner, config)
    shuffle = jax.random.fold_in(jax.random.fold_in(key, 0x5EED), learner.update)
    progress = learner.update / config.updates
    agent_params, opt_state, losses = _learn(
        shuffle, learner.agent_params, learner.opt_state, batch, before.memory, params.catalog, agent, config, progress
    )
    logs = _logs(trajectory) | losses | {f"worth_{i}": learner.worth[i] for i in range(OUTCOMES)}
    run = ran.replace(trajectory=None)
    return Learner(agent_params, opt_state, run, learner.worth, learner.update + 1), logs


def digest(trajectory: Trajectory, params: Any, learner: Learner, config: TrainConfig) -> tuple[Learner, Batch]:
    """Credit for what was done: the batch, and the learner with its running statistics of returns and outcomes."""
    agent_params = learner.agent_params
    did, feedback = trajectory.extras, trajectory.info["feedback"]
    advantage = jax.vmap(gae, (1, 1, 0, 1, 1, 1, 1, None), 1)(
        trajectory.reward,
        did.value,
        trajectory.bootstrap[-1],
        trajectory.info["discount"],
        trajectory.terminated,
        trajectory.truncated,
        trajectory.bootstrap,
        config.trace_decay,
    )
    returns = advantage + did.value
    rate = jnp.where(learner.update == 0, 1.0, 0.1)
    mean = agent_params.value_mean + rate * (jnp.mean(returns) - agent_params.value_mean)
    std = agent_params.value_std + rate * (jnp.std(returns) + 1e-3 - agent_params.value_std)
    outcome = _outcomes(feedback, params.catalog)
    examined = feedback.did(EXAMINED)
    worth = outcome_worth(advantage.ravel(), jnp.sum(outcome, axis=2).reshape(-1, OUTCOMES))
    worth = learner.worth + rate * (worth - learner.worth)
    earned = outcome @ worth
    spread = jnp.sqrt(jnp.mean(earned**2, where=examined)) + 1e-6
    earned = earned / spread
    own = jnp.where(examined, earned - did.slot_value[..., None], 0.0)
    turn = config.turn_share * (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-6)
    done = (trajectory.terminated | trajectory.truncated).astype(jnp.int32)
    batch = Batch(
        percept=did.percept,
        episode=jnp.cumsum(done, axis=0) - done,
        slate=trajectory.action,
        log_prob=did.log_prob,
        examined=examined,
        earned=earned,
        advantage=own + turn[..., None],
        target=(returns - mean) / std,
    )
    users_first = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), batch)
    agent_params = agent_params.replace(value_mean=mean, value_std=std)
    return dataclasses.replace(learner, agent_params=agent_params, worth=worth), users_first


def _outcomes(feedback: Any, catalog: Any) -> Array:
    """f32[T, B, K, OUTCOMES]: minutes, share of the item watched, click."""
    duration = catalog.duration[jnp.maximum(feedback.slate, 0)]
    return jnp.stack([feedback.watch / 60.0, feedback.watch / duration, feedback.did(CLICK)], axis=-1)


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
    """`epochs` passes over the batch, each in another order of users; users are shared out over the devices."""
    entropy_weight = config.entropy + (config.entropy_end - config.entropy) * progress
    devices = _learning_devices(config, agent)  # as the rollout: one program, one mesh

    def learn(key: Array, agent_params: Any, opt_state: Any, batch: Batch, memory: Any) -> Any:
        def step(carry: tuple[Any, Any], users: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
            net, opt_state = carry
            part, context = jax.tree.map(lambda x: x[users], (batch, memory))
            gradient = jax.grad(_loss, has_aux=True)(
                net, agent_params, part, context, catalog, agent, config, entropy_weight
            )
            grads, losses = jax.lax.pmean(gradient, "users") if devices > 1 else gradient
            updates, opt_state = optimiser(config).update(grads, opt_state, net)
            return (optax.apply_updates(net, updates), opt_state), losses

        if devices > 1:
            key = jax.random.fold_in(key, jax.lax.axis_index("users"))
        keys = jax.random.split(key, config.epochs)
        order = jax.vmap(lambda k: jax.random.permutation(k, config.users // devices))(keys)
        order = order.reshape(config.epochs * config.minibatches, -1)
        (net, opt_state), losses = jax.lax.scan(step, (agent_params.net, opt_state), order)
        return net, opt_state, jax.tree.map(jnp.mean, losses)

    if devices > 1:
        split, whole = PartitionSpec("users"), PartitionSpec()
        learn = jax.shard_map(
            learn, mesh=mesh(devices), in_specs=(whole, whole, whole, split, split), out_specs=whole, check_vma=False
        )
    net, opt_state, losses = learn(key, agent_params, opt_state, batch, memory)
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
    """PPO's objective over some users' turns, negated, and its parts."""
    agent_params = agent_params.replace(net=net)
    again = jax.vmap(agent.replay, (None, 0, 0, 0, 0, None))(
        agent_params, memory, batch.percept, batch.episode, batch.slate, catalog
    )
    log_ratio = again.log_prob - batch.log_prob
    # Slots that were not looked at changed nothing: they carry no credit, only noise.
    surrogate = clipped_surrogate(log_ratio, batch.advantage, config.clip) * batch.examined
    policy = jnp.mean(jnp.sum(surrogate, axis=-1))
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
    return loss, logs


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
