"""What a fitted user is likely to take next, of histories of items."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.fit import objective
from jaxreco.fit.events import FEATURES
from jaxreco.users.network import UserNetwork

Array = jax.Array

BATCH = 32  # histories at once


def log_probabilities(
    network: UserNetwork, content: np.ndarray, known: np.ndarray, history: np.ndarray
) -> Iterator[np.ndarray]:
    """f32[BATCH, I] at a time: log-probabilities of the next item after histories i32[M, H].

    The last events are read one by one, all others by the long memory; nothing is known of them but the items.

    Args: content f32[I, D], known bool[I]: of the items. history: the latest last; -1 comes before the first.
    """
    graph, params = nnx.split(network)
    window = network.config.window
    before, last = history[:, :-window], _flush_left(history[:, -window:], window)
    memory = -(-max(before.shape[1], 1) // window) * window  # few different shapes, each of which is compiled
    before = np.pad(before, ((0, 0), (memory - before.shape[1], 0)), constant_values=-1)
    items = (jnp.asarray(content), jnp.asarray(known))
    for start in range(0, len(history), BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), len(history) - 1)
        found = _foresee(graph, params, items, before[rows], last[rows])
        yield np.asarray(found)[: len(history) - start]


def _flush_left(history: np.ndarray, window: int) -> np.ndarray:
    """The events of each row at its beginning, in their order, and -1 behind them: i32[M, window]."""
    padded = np.pad(history, ((0, 0), (window - history.shape[1], 0)), constant_values=-1)
    order = np.argsort(padded < 0, axis=1, kind="stable")
    return np.take_along_axis(padded, order, axis=1)


@functools.partial(jax.jit, static_argnames=("graph",))
def _foresee(graph: Any, params: Any, items: tuple[Array, Array], before: Array, last: Array) -> Array:
    network = nnx.merge(graph, params)
    table = network.items(*items)

    def person(before: Array, last: Array) -> Array:
        about = jnp.zeros((last.shape[0], len(FEATURES)))
        return network.read(network.past(before, table), last, about, table)[jnp.sum(last >= 0)]

    return jax.nn.log_softmax(objective.scores(jax.vmap(person)(before, last), table), axis=-1)
