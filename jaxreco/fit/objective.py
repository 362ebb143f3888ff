"""How likely the network says that people's deeds were."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreco.users.network import ItemTable

Array = jax.Array


class Drawn(NamedTuple):
    """Items that stand for the whole catalog."""

    item: Array  # i32[n], drawn with replacement
    log_times: Array  # f32[n], log of how often each is expected among them


def log_likelihood(hidden: Array, item: Array, table: ItemTable, drawn: Drawn | None = None) -> Array:
    """f32[T]: of taking item i32[T], each after hidden f32[T, d]: a softmax over the catalog.

    Args: item: -1 is any item, and has no meaning. drawn: see `log_total`.
    """
    taken = jnp.maximum(item, 0)
    score = jnp.sum(hidden * table.vector[taken], axis=-1) + table.bias[taken]
    return score - log_total(hidden, taken, score, table, drawn)


def log_total(hidden: Array, taken: Array, score: Array, table: ItemTable, drawn: Drawn | None) -> Array:
    """f32[T]: log of the sum over the catalog, of which score f32[T] of item i32[T] is a part.

    With `drawn` the sum is estimated by importance sampling: the item taken, and the drawn ones, each divided by how often it is
    expected to be drawn (Bengio & Senécal 2008; Jean et al. 2015, section 3). The estimate of the sum is unbiased; with every item
    drawn once and expected once it is exact.
    """
    if drawn is None:
        return jax.nn.logsumexp(scores(hidden, table), axis=-1)
    others = hidden @ table.vector[drawn.item].T + table.bias[drawn.item] - drawn.log_times
    others = jnp.where(drawn.item == taken[:, None], -jnp.inf, others)
    return jnp.logaddexp(score, jax.nn.logsumexp(others, axis=-1))


def scores(hidden: Array, table: ItemTable) -> Array:
    """f32[..., I]: of every item; log-probabilities but for a constant."""
    return hidden @ table.vector.T + table.bias


def draw(key: Array, share: Array, number: int) -> Drawn:
    """Items drawn with probabilities f32[I]. The key is consumed."""
    edges = jnp.cumsum(share)
    item = jnp.searchsorted(edges, jax.random.uniform(key, (number,)) * edges[-1], side="right")
    item = jnp.minimum(item, share.shape[0] - 1)  # rounding may lead past the last
    return Drawn(item, jnp.log(number * share[item] / edges[-1]))
