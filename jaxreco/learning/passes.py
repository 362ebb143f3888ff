"""Passes over what was collected: minibatches of users in another order each time, shared out over the devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from jaxreco.learning.config import TrainConfig
from jaxreco.rollout import TILE, devices_for, mesh

Array = jax.Array
# Of a network, data of some users, and what is the same for all: what falls, and figures.
Loss = Callable[[Any, Any, Any], tuple[Array, dict[str, Array]]]


def optimiser(config: TrainConfig) -> optax.GradientTransformation:
    """Adam with gradient clipping and a linear decay."""
    steps = config.updates * config.epochs * config.minibatches
    rate = optax.linear_schedule(config.learning_rate, 0.1 * config.learning_rate, steps)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(rate, eps=1e-5))


def learning_devices(config: TrainConfig, agent: Any) -> int:
    """Devices that share an update: as many as the rollout has, if users and minibatches can be shared out."""
    devices = devices_for(config.users, int(getattr(agent, "tile", TILE)))
    return devices if config.users % (devices * config.minibatches) == 0 else 1


def everywhere(tree: Any, devices: int) -> Any:
    """The arrays on all devices that share an update, where it leaves them: what lies elsewhere would have a second one compiled anew."""
    return tree if devices == 1 else jax.device_put(tree, NamedSharding(mesh(devices), PartitionSpec()))


def passes(
    key: Array, net: Any, opt_state: Any, data: Any, same: Any, loss: Loss, config: TrainConfig, devices: int
) -> tuple[Any, Any, dict[str, Array]]:
    """The network after `epochs` passes, the optimiser's state, and the mean figures f32[]. The key is consumed.

    Args: data: leaves [B, ...], users first. same: arrays that every user's loss needs; what lies on several devices may not be closed
      over. devices: one program, one mesh, so as many as the rollout's.
    """

    def learn(key: Array, net: Any, opt_state: Any, same: Any, data: Any) -> Any:
        def step(carry: tuple[Any, Any], users: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
            net, opt_state = carry
            gradient = jax.grad(loss, has_aux=True)(net, jax.tree.map(lambda x: x[users], data), same)
            grads, figures = jax.lax.pmean(gradient, "users") if devices > 1 else gradient
            updates, opt_state = optimiser(config).update(grads, opt_state, net)
            return (optax.apply_updates(net, updates), opt_state), figures

        if devices > 1:
            key = jax.random.fold_in(key, jax.lax.axis_index("users"))
        keys = jax.random.split(key, config.epochs)
        order = jax.vmap(lambda k: jax.random.permutation(k, config.users // devices))(keys)
        order = order.reshape(config.epochs * config.minibatches, -1)
        (net, opt_state), figures = jax.lax.scan(step, (net, opt_state), order)
        return net, opt_state, jax.tree.map(jnp.mean, figures)

    if devices > 1:
        split, whole = PartitionSpec("users"), PartitionSpec()
        learn = jax.shard_map(
            learn, mesh=mesh(devices), in_specs=(whole, whole, whole, whole, split), out_specs=whole, check_vma=False
        )
    return learn(key, net, opt_state, same, data)
