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
    key: jax.Array,
    env: Any,
    params: base.EnvParams,
    users: int = USERS,
    turns: int = TURNS,
    agents: tuple[str, str] = ("random", "popularity"),
) -> Interactions:
    """The world's own log, or one simulated beforehand, under `Beforehand` with these agents.

    Simulated weights are watched fractions of clicked items. The key is consumed.
    """
    if env.log is not None:
        return env.log
    item, watched = _simulate(key, env, params, users, turns, agents)
    user = np.broadcast_to(np.arange(users)[None, :, None], item.shape)
    order = np.lexsort((np.arange(item.size), user.ravel()))
    user, item, watched = (x.ravel()[order] for x in (user, item, watched))
    kept = watched > 0
    fraction = watched[kept] / np.asarray(params.catalog.duration)[item[kept]]
    return Interactions(
        user[kept].astype(np.int32), item[kept].astype(np.int32), fraction.astype(np.float32), users, env.n_items
    )


@dataclasses.dataclass(frozen=True)
class Beforehand:
    """What made the log: by a coin each turn, the slate of one of two agents."""

    first: Any
    second: Any

    def reset(self, agent_params: Any) -> Any:
        """Both memories."""
        return self.first.reset(agent_params[0]), self.second.reset(agent_params[1])

    def act(
        self, key: jax.Array, agent_params: Any, memory: Any, obs: base.Observation, catalog: base.Catalog
    ) -> tuple[jax.Array, Any, None]:
        """The slate i32[K] of one of them. The key is consumed."""
        coin, key_first, key_second = jax.random.split(key, 3)
        one, memory_one, _ = self.first.act(key_first, agent_params[0], memory[0], obs, catalog)
        other, memory_other, _ = self.second.act(key_second, agent_params[1], memory[1], obs, catalog)
        return jnp.where(jax.random.bernoulli(coin), one, other), (memory_one, memory_other), None


def _simulate(
    key: jax.Array, env: Any, params: base.EnvParams, users: int, turns: int, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Slates i32[T, B, K] and watched seconds f32[T, B, K]."""
    from jaxreco.lanes import Stage
    from jaxreco.registry import make_agent

    key_agents, key_run = jax.random.split(key)
    agents, agent_params = zip(*(make_agent(name, key_agents, env, params) for name in names), strict=True)
    stage, seen = Stage.of(key_run, env, params, Beforehand(*agents), agent_params), []
    for first in range(0, users, stage.lanes):
        batch = range(first, min(first + stage.lanes, users))
        lanes, memory = stage.begin(batch)
        shown = []
        for _ in range(turns):
            lanes, memory, _, info = stage.turn(lanes, memory)
            shown.append((info["feedback"].slate, info["feedback"].watch))
        seen.append([np.stack(x)[:, : len(batch)] for x in zip(*jax.device_get(shown), strict=True)])
    slate, watch = (np.concatenate(x, axis=1) for x in zip(*seen, strict=True))
    return np.maximum(slate, 0), watch
