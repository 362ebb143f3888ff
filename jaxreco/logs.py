"""What users did, as flat arrays on the host: what fitted agents learn from."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco import base

USERS, TURNS = 4096, 64  # simulated beforehand in a world without a log of its own


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Interactions sorted by user, then time.

    `user` i32[N] in [0, n_users), `item` i32[N] in [0, n_items), `weight` f32[N] in [0, 1]: how much the user took
    to the item.
    """

    user: np.ndarray
    item: np.ndarray
    weight: np.ndarray
    n_users: int
    n_items: int


def interactions(
    key: jax.Array, env: Any, params: base.EnvParams, users: int = USERS, turns: int = TURNS
) -> Interactions:
    """The world's own log, or one simulated beforehand: half the users under random, half under popularity.

    Simulated weights are watched fractions of clicked items. The key is consumed.
    """
    if env.log is not None:
        return env.log
    from jaxreco.registry import make_agent

    parts = []
    for name, part in zip(("random", "popularity"), jax.random.split(key), strict=True):
        agent, agent_params = make_agent(name, part, env, params)
        parts.append(_simulate(part, env, params, agent, agent_params, max(users // 2, 1), turns))
    item = np.concatenate([p[0] for p in parts], axis=1)
    watched = np.concatenate([p[1] for p in parts], axis=1)  # both [T, B, K]
    user = np.broadcast_to(np.arange(item.shape[1])[None, :, None], item.shape)
    order = np.lexsort((np.arange(item.size), user.ravel()))
    user, item, watched = (x.ravel()[order] for x in (user, item, watched))
    kept = watched > 0
    fraction = watched[kept] / np.asarray(params.catalog.duration)[item[kept]]
    return Interactions(
        user[kept].astype(np.int32),
        item[kept].astype(np.int32),
        fraction.astype(np.float32),
        users // 2 * 2,
        env.n_items,
    )


def _simulate(
    key: jax.Array, env: Any, params: base.EnvParams, agent: Any, agent_params: Any, users: int, turns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Slates i32[T, B, K] and watched seconds f32[T, B, K]; whatever else a trajectory holds is never computed."""
    from jaxreco.rollout import rollout

    @jax.jit
    def run(key: jax.Array, params: base.EnvParams, agent_params: Any) -> Any:
        ran = rollout(key, env, params, agent, agent_params, users=users, turns=turns, trajectory=True)
        assert ran.trajectory is not None
        feedback = ran.trajectory.info["feedback"]
        return jnp.maximum(feedback.slate, 0), feedback.watch

    return tuple(np.asarray(x) for x in run(key, params, agent_params))  # type: ignore[return-value]
