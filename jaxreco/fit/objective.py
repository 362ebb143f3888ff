"""How likely the network says that people's deeds were."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreco.users.network import ItemTable, rows_of

Array = jax.Array


class Drawn(NamedTuple):
    """Items that stand for the whole catalog."""

    item: Array  # i32[n], drawn with replacement
    log_times: Array  # f32[n], log of how often each is expected among them


def log_likelihood(hidden: Array, item: Array, table: ItemTable, drawn: Drawn | None = None) -> Array:
    """f32[T, H]: of taking each of items i32[T, H], those of a row after hidden f32[T, d]: a softmax over the catalog.

    Args: item: -1 is none, and what comes of it has no meaning. drawn: see `log_total`.
    """
    taken = jnp.maximum(item, 0)
    if drawn is None:
        every = scores(hidden, table)
        return jnp.take_along_axis(every, taken, axis=-1) - jax.nn.logsumexp(every, axis=-1, keepdims=True)
    score = jnp.einsum("td,thd->th", hidden, rows_of(table.vector, taken)) + table.bias[taken]
    return score - log_total(hidden, item, score, table, drawn)[:, None]


def log_total(hidden: Array, item: Array, score: Array, table: ItemTable, drawn: Drawn) -> Array:
    """f32[T]: log of the sum over the catalog, by importance sampling (`log_sum`), of items i32[T, H] with scores f32[T, H]."""
    return log_sum(item, score, hidden @ table.vector[drawn.item].T + table.bias[drawn.item], drawn)


def log_sum(item: Array, score: Array, others: Array, drawn: Drawn) -> Array:
    """f32[T]: log of the sum over the catalog, by importance sampling.

    Items i32[T, H] with scores f32[T, H] are part of it as they are, and the drawn ones, with scores f32[T, n], that are none of
    them, each divided by how often it is expected to be drawn (Bengio & Senécal 2008; Jean et al. 2015, section 3). The estimate
    of the sum is unbiased; with every item drawn once and expected once it is exact.
    """
    among = jnp.any(drawn.item[None, None, :] == item[:, :, None], axis=1)
    others = jax.nn.logsumexp(jnp.where(among, -jnp.inf, others - drawn.log_times), axis=-1)
    again = jnp.any(jnp.tril(item[:, :, None] == item[:, None, :], -1), axis=-1)  # an item is one part of the sum
    counted = jnp.where((item >= 0) & ~again, score, -jnp.inf)
    return jnp.logaddexp(jax.nn.logsumexp(counted, axis=-1), others)


def scores(hidden: Array, table: ItemTable) -> Array:
    """f32[..., I]: of every item; log-probabilities but for a constant."""
    return hidden @ table.vector.T + table.bias


def draw(key: Array, share: Array, number: int) -> Drawn:
    """Items drawn with probabilities f32[I]. The key is consumed."""
    edges = jnp.cumsum(share)
    item = jnp.searchsorted(edges, jax.random.uniform(key, (number,)) * edges[-1], side="right")
    item = jnp.minimum(item, share.shape[0] - 1)  # rounding may lead past the last
    return Drawn(item, jnp.log(number * share[item] / edges[-1]))
