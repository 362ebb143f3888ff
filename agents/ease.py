"""EASE: what having one item says for another, in closed form (Steck 2019), fitted to a log.

A user's scores are the weights of what it clicked, by watched fraction, older clicks fading.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreco.agents.popularity import without_seen
from jaxreco.base import CLICK, Catalog, Observation
from jaxreco.content import collaborative

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Ease:
    """Weights between all pairs of items: f32[I, I], so a catalog of 10,000 items takes 400 MB.

    Args:
      regularisation: lambda, in users. fade: weight of a click one turn later. popularity: of log(popularity) beside it.
    """

    regularisation: float = 200.0
    fade: float = 0.98
    popularity: float = 1e-3
    privileged: ClassVar[bool] = False
    needs_log: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, log: Any) -> Array:
        """Fit the weights to a log (`jaxreco.logs.Interactions`). The key is not needed."""
        taken = collaborative.greatest(log.user, log.item, log.weight, (log.n_users, catalog.n_items))
        return jnp.asarray(collaborative.ease(taken, self.regularisation))

    def reset(self, agent_params: Array) -> Array:
        """f32[I], every item's score."""
        return jnp.zeros(agent_params.shape[0])

    def act(
        self, key: Array, agent_params: Array, memory: Array, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Array, None]:
        """The K best items that were not just seen; popularity breaks ties and opens. The key is not needed."""
        clicked = (obs.actions & CLICK) != 0
        item = jnp.maximum(obs.slate, 0)
        weight = jnp.where(clicked, obs.watch / catalog.duration[item], 0.0)
        memory = self.fade * memory + weight @ agent_params[item]
        scores = memory + self.popularity * jnp.log(catalog.popularity * catalog.n_items + 1e-6)
        return jax.lax.top_k(without_seen(scores, obs.history.item), obs.slate.shape[0])[1], memory, None


def make(regularisation: float = 200.0, fade: float = 0.98, popularity: float = 1e-3) -> Ease:
    """The EASE agent."""
    return Ease(regularisation, fade, popularity)
