"""Pools of users' traits: who can walk into a world, and how often each does.

A population is a pool of `P` rows, one a user, drawn from a prior, fitted to real people or redrawn for a test.
A reset picks a row. A segment is another weighting of the same rows.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxreco.names import closest
from jaxreco.struct import Struct

Array = jax.Array


class Population(Struct):
    """A pool of traits and the weight with which each row is picked."""

    traits: Any  # Struct whose leaves are [P, ...]
    weights: Array  # f32[P], at least 0, not all 0; they need not sum to 1

    @property
    def size(self) -> int:
        """P."""
        return self.weights.shape[0]

    def row(self, index: Array) -> Any:
        """The traits of one row, without the pool's axis."""
        return jax.tree.map(lambda x: x[index], self.traits)

    def pick(self, uniform: Array) -> Array:
        """i32[], the row at quantile `uniform` f32[] of the weights (inverse of their cumulative sum)."""
        cumulative = jnp.cumsum(self.weights)
        row = jnp.searchsorted(cumulative, uniform * cumulative[-1], side="right")
        return jnp.minimum(row, self.size - 1).astype(jnp.int32)


def override(params: Any, **columns: Any) -> Any:
    """Set trait columns to one value for every user: `override(params, patience=2.0)`.

    Raises ValueError for a column that the traits do not have, with the nearest names.
    """
    population = params.population
    for name, value in columns.items():
        if name not in vars(population.traits):
            raise ValueError(f"The population has no trait {name!r}.{closest(name, vars(population.traits))}")
        old = getattr(population.traits, name)
        column = jnp.broadcast_to(jnp.asarray(value, old.dtype), old.shape)
        population = population.replace(traits=population.traits.replace(**{name: column}))
    return params.replace(user=params.user.replace(population=population))


def weigh(params: Any, weights: Array) -> Any:
    """The same rows under other sampling weights f32[P]: a segment.

    Raises ValueError when the weights have another length, are negative or NaN, or are all zero.
    """
    population = params.population
    weights = jnp.asarray(weights, jnp.float32)
    if weights.shape != population.weights.shape:
        raise ValueError(f"weights has shape {weights.shape}; the population has {population.size} rows.")
    if not bool(jnp.all(weights >= 0)) or not bool(jnp.sum(weights) > 0):
        raise ValueError("weights must be at least 0 and not all 0: no user could be picked.")
    return params.replace(user=params.user.replace(population=population.replace(weights=weights)))


def top_share(column: Array, share: float = 0.25) -> Array:
    """f32[P]: 1 for the rows in the top `share` of a trait column f32[P], else 0."""
    return (column >= jnp.quantile(column, 1.0 - share)).astype(jnp.float32)


# Named segments of the mechanistic user's traits: who they are, as a weighting of the rows.
SEGMENTS = {
    "everyone": lambda traits: jnp.ones_like(traits.patience),
    "explorers": lambda traits: top_share(traits.novelty),
    "loyal": lambda traits: top_share(-traits.habit_hours),
    "occasional": lambda traits: top_share(traits.habit_hours),
    "bingers": lambda traits: top_share(traits.budget_minutes),
    "hurried": lambda traits: top_share(-traits.budget_minutes),
    "impatient": lambda traits: top_share(-traits.patience),
    "gullible": lambda traits: top_share(traits.gullibility),
    "sceptics": lambda traits: top_share(-traits.trust),
}


def segment(params: Any, name: str) -> Any:
    """The params whose population is weighted to a named segment.

    Raises ValueError for an unknown segment, with the nearest names.
    """
    if name not in SEGMENTS:
        raise ValueError(f"There is no segment {name!r}.{closest(name, SEGMENTS)}")
    return weigh(params, params.population.weights * SEGMENTS[name](params.population.traits))
