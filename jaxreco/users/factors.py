"""What a person's answers about some items say of its answers about others: a linear model of a few factors, heard one by one.

An answer (in ridits), less what is usual with the item, is `v . u` and noise, where `v` is the item's and of a person `u ~ N(0, 1)` is
known before the first answer (Salakhutdinov & Mnih 2007, "Probabilistic matrix factorization"). Items' vectors are learned beforehand
(`fit.factors`); a person's posterior follows its answers in closed form, one rank-1 update each (Agarwal, Chen & Elango 2010, "Fast
online learning through offline initialization for time-sensitive recommendation"). Unbatched: `vmap` it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxreco.struct import Struct

Array = jax.Array

RANK = 6  # factors beside the first, which is how far a person finds everything better than others do
FORESEEN = 2  # numbers of `foreseen`
LEAST = 1e-6  # a variance below this is rounding


class Factors(Struct):
    """Of one kind of answer; `d` factors."""

    vector: Array  # f32[I, d]
    usual: Array  # f32[I], ridit that others give the item, drawn to that of all items
    noise: Array  # f32[], variance that no factor explains


class Leaning(Struct):
    """What is known of one person's `u`: a normal distribution."""

    mean: Array  # f32[d]
    covariance: Array  # f32[d, d]

    @classmethod
    def unknown(cls, rank: int = RANK + 1) -> Leaning:
        """Of somebody who never answered."""
        return cls(jnp.zeros(rank), jnp.eye(rank))

    def expects(self, vector: Array) -> tuple[Array, Array]:
        """(mean, variance) f32[] of `v . u` for an item with vector f32[d]."""
        return vector @ self.mean, jnp.maximum(vector @ self.covariance @ vector, LEAST)

    def after(self, vector: Array, answer: Array, noise: Array) -> Leaning:
        """Once it is known how much above what is usual, f32[], an item with vector f32[d] was answered."""
        expected, variance = self.expects(vector)
        along = self.covariance @ vector
        gain = along / (variance + noise)
        return Leaning(self.mean + gain * (answer - expected), self.covariance - jnp.outer(gain, along))

    def after_some(self, factors: Factors, item: Array, ridit: Array, there: Array) -> Leaning:
        """After answers ridit f32[K] about items i32[K], where `there` bool[K]."""

        def one(leaning: Leaning, told: tuple[Array, Array, Array]) -> tuple[Leaning, None]:
            item, ridit, there = told
            after = leaning.after(factors.vector[item], ridit - factors.usual[item], factors.noise)
            return jax.tree.map(lambda new, old: jnp.where(there, new, old), after, leaning), None

        return jax.lax.scan(one, self, (item, ridit, there))[0]


def foreseen(leaning: Leaning, vector: Array) -> Array:
    """f32[FORESEEN]: what a head hears of the next answer, about an item with vector f32[d]: what is expected, and how surely."""
    mean, variance = leaning.expects(vector)
    return jnp.stack([mean, jnp.log(variance)])
