"""The turn's random numbers, drawn once.

A key a draw costs more than the user model itself. `uniforms` takes the 64 bits of one key and runs a counter
through an integer hash behind them: two rounds of the 32-bit finaliser `lowbias32` (Wellons 2018, "Prospecting
for hash functions"), each a bijection, the second keyed. For one key the words are distinct, so a stream of
`n` words has no repeated word; tests hold uniformity, serial and cross-key correlation.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array

_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: a Weyl step that visits every word
LONGEST = 32  # slate that is drawn without a table of the catalog: more comparisons would take minutes to compile


def _mix(x: Array) -> Array:
    x = x ^ (x >> 16)
    x = x * jnp.uint32(0x7FEB352D)
    x = x ^ (x >> 15)
    x = x * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def bits(key: Array, n: int, start: int = 0) -> Array:
    """u32[n] hashed from one key: the words from `start` on of its stream. The key is consumed, or that part of it.

    Args:
      key: a typed key of 64 bits (`jax.random.key`, threefry).
      n: how many words, static. start: how many are left out before them, static.
    """
    high, low = jax.random.key_data(key)[..., 0], jax.random.key_data(key)[..., 1]
    # The key's words are mixed before use: neighbouring keys must not give neighbouring streams.
    first = _mix(low ^ jnp.uint32(0xA511E9B3)) + high * jnp.uint32(_GOLDEN)
    second = _mix(first ^ _mix(high + jnp.uint32(0x63D83595)))
    words = _mix(jnp.arange(start, start + n, dtype=jnp.uint32) * jnp.uint32(_GOLDEN) + first)
    return _mix(words ^ second)


def uniforms(key: Array, n: int, start: int = 0) -> Array:
    """f32[n] in the open interval (0, 1), on a grid of 2**-23: draws `start` to `start + n` of the key, consumed.

    Never 0 and never 1, so `log(u)` and `log(1 - u)` are finite.
    """
    return (bits(key, n, start) >> 9).astype(jnp.float32) * jnp.float32(2**-23) + jnp.float32(2**-24)


def distinct(uniform: Array, n_items: int) -> Array:
    """i32[K]: an ordered sample of K different ids below `n_items`, every ordered sample equally likely.

    The k-th draw is a rank among the ids not taken yet; it moves past each taken id that is not above it.
    K draws and K**2 / 2 comparisons, whatever the size of the catalog; slates beyond LONGEST are the head of a shuffled
    catalog instead.

    Args:
      uniform: f32[K] in (0, 1).
      n_items: I, at least K.
    """
    size = uniform.shape[0]
    if size > LONGEST:
        return _shuffled(uniform, n_items)
    taken: list[Array] = []  # in ascending order
    slate: list[Array] = []
    for k in range(size):
        item = jnp.minimum((uniform[k] * (n_items - k)).astype(jnp.int32), n_items - k - 1)
        for other in taken:
            item = item + (item >= other)
        slate.append(item)
        taken = _insert(taken, item)
    return jnp.stack(slate)


def _insert(ascending: list[Array], item: Array) -> list[Array]:
    """Insert one value into a sorted list of scalars, branch-free."""
    out: list[Array] = []
    for other in ascending:
        out.append(jnp.minimum(other, item))
        item = jnp.maximum(other, item)
    return [*out, item]


def _shuffled(uniform: Array, n_items: int) -> Array:
    """i32[K]: the first K of a shuffle of all ids (Fisher & Yates; Durstenfeld 1964), a swap for each of f32[K]."""

    def swap(k: Array, ids: Array) -> Array:
        other = jnp.minimum(k + (uniform[k] * (n_items - k)).astype(jnp.int32), n_items - 1)
        return ids.at[k].set(ids[other]).at[other].set(ids[k])

    size = uniform.shape[0]
    return jax.lax.fori_loop(0, size, swap, jnp.arange(n_items, dtype=jnp.int32))[:size]
