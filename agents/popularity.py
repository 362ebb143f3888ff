"""The most popular items that the user has not just seen. No personalisation but that."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreco.base import Catalog, Observation

Array = jax.Array


def without_seen(scores: Array, history_item: Array) -> Array:
    """f32[I]: scores pushed below all others where the item is in the visible history i32[H]."""
    seen = jnp.zeros(scores.shape[0], bool).at[history_item].set(True, mode="drop", wrap_negative_indices=False)
    return below(scores, seen)


def below(scores: Array, those: Array) -> Array:
    """f32[I]: scores in which `those` bool[I] come after all others.

    They stay in their order, so that a catalog of too few others still fills the slate. Nor may they be pushed too far: a
    million less, and a score of this size has lost all but a sixteenth.
    """
    return jnp.where(those, scores - (jnp.max(scores) - jnp.min(scores) + 1.0), scores)


@dataclasses.dataclass(frozen=True)
class Popularity:
    """Top K by popularity, leaving out what is in the visible history."""

    privileged: ClassVar[bool] = False

    def init(self, key: Array, env: Any, catalog: Catalog) -> None:
        """No parameters: popularity is in the catalog."""

    def reset(self, agent_params: None) -> None:
        """No memory."""

    def act(
        self, key: Array, agent_params: None, memory: None, obs: Observation, catalog: Catalog
    ) -> tuple[Array, None, None]:
        """The slate i32[K], most popular first. The key is not needed."""
        scores = without_seen(jnp.log(catalog.popularity + 1e-9), obs.history.item)
        return jax.lax.top_k(scores, obs.slate.shape[0])[1], None, None


def make() -> Popularity:
    """The popularity agent."""
    return Popularity()
