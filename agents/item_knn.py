"""Item-based nearest neighbours (Sarwar et al. 2001; shrunk cosine as in Deshpande & Karypis 2004).

Fitted to a log: two items are near when the same users took to both. A user's scores are the similarities to
what it clicked, by watched fraction, older clicks fading.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.agents.popularity import without_seen
from jaxreco.base import CLICK, Catalog, Observation
from jaxreco.struct import Struct

Array = jax.Array


class Neighbours(Struct):
    """The `N` nearest items of each item."""

    item: Array  # i32[I, N]
    similarity: Array  # f32[I, N]


@dataclasses.dataclass(frozen=True)
class ItemKNN:
    """Neighbours of what the user clicked.

    Args:
      neighbours: N. shrinkage: pseudo-count that pulls rare pairs to 0. fade: weight of a click one turn later.
    """

    neighbours: int = 50
    shrinkage: float = 10.0
    fade: float = 0.98
    privileged: ClassVar[bool] = False
    needs_log: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, log: Any) -> Neighbours:
        """Fit similarities to a log (`jaxreco.logs.Interactions`). The key is not needed."""
        n = min(self.neighbours, catalog.n_items)
        taken = np.zeros((log.n_users, catalog.n_items), np.float32)
        np.maximum.at(taken, (log.user, log.item), log.weight)
        norm = np.sqrt((taken**2).sum(axis=0))
        item = np.empty((catalog.n_items, n), np.int32)
        similarity = np.empty((catalog.n_items, n), np.float32)
        for start in range(0, catalog.n_items, 1024):  # in blocks: I x I need not fit into memory
            block = slice(start, start + 1024)
            near = taken[:, block].T @ taken / (norm[block, None] * norm + self.shrinkage)
            near[np.arange(near.shape[0]), np.arange(start, start + near.shape[0])] = 0.0
            item[block] = np.argpartition(-near, n - 1, axis=1)[:, :n]
            similarity[block] = np.take_along_axis(near, item[block], axis=1)
        return Neighbours(item=jnp.asarray(item), similarity=jnp.asarray(similarity))

    def reset(self, agent_params: Neighbours) -> Array:
        """f32[I], every item's score."""
        return jnp.zeros(agent_params.item.shape[0])

    def act(
        self, key: Array, agent_params: Neighbours, memory: Array, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Array, None]:
        """The K best neighbours that were not just seen; popularity breaks ties and opens. The key is not needed."""
        clicked = (obs.actions & CLICK) != 0
        item = jnp.maximum(obs.slate, 0)
        weight = jnp.where(clicked, obs.watch / catalog.duration[item], 0.0)
        gained = agent_params.similarity[item] * weight[:, None]
        memory = (self.fade * memory).at[agent_params.item[item]].add(gained)
        scores = memory + 1e-3 * jnp.log(catalog.popularity * catalog.n_items + 1e-6)
        return jax.lax.top_k(without_seen(scores, obs.history.item), obs.slate.shape[0])[1], memory, None


def make(neighbours: int = 50, shrinkage: float = 10.0, fade: float = 0.98) -> ItemKNN:
    """The item-kNN agent."""
    return ItemKNN(neighbours, shrinkage, fade)
