"""Finding the best of many, as fast as a CPU can: `jnp.argmax` takes thirty times as long there as a maximum."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def first_max(x: Array) -> Array:
    """i32[], the first index of the maximum of x f32[N]; N - 1 where there is none (NaN).

    Only for values that are kept in memory: a compiler that computes x twice, rounding differently, finds no x that
    equals its own maximum (it happened).
    """
    return jnp.min(jnp.where(x == jnp.max(x), jnp.arange(x.shape[0]), x.shape[0] - 1))
