"""A fitted user who is asked what it says of items: answers drawn from the head `value`, after what it was shown and said before."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.errors import DataError
from jaxreco.fit.events import FEATURES, Scale
from jaxreco.users.factors import Factors
from jaxreco.users.heads import Head
from jaxreco.users.network import UserNetwork
from jaxreco.users.transformer import Tally

Array = jax.Array

SHORTEST = 16  # events that are read at once: few different shapes, each of which is compiled


class Answering:
    """Protocol `Answers` of `policy_order`.

    Of a person nothing is known but the answers that it gave to those who ask. A person asked the same after the same answers says
    the same: draws hang on person and item alone.

    Args: key: of all draws, not consumed. content f32[I, D], known bool[I]: of the items. head: of `value`, calibrated. behind: its
      factors. scale: of the values, as the network learned them.

    Raises DataError where the log that the user was fitted to had no values.
    """

    def __init__(
        self,
        key: Array,
        network: UserNetwork,
        content: Array,
        known: Array,
        head: Head | None,
        behind: Factors | None,
        scale: Scale,
    ) -> None:
        if head is None or behind is None:
            raise DataError(
                "The fitted user has no head for values: fit it to a log in which people say how they like things."
            )
        self._key, self._scale, self._classes = key, scale, head.classes
        self._networks, self._heads = nnx.split(network), nnx.split(head)
        self._items, self._behind = (jnp.asarray(content), jnp.asarray(known)), behind

    def rating(self, person: np.ndarray, items: np.ndarray, values: np.ndarray, item: np.ndarray) -> np.ndarray:
        """f32[N]: see `policy_order.Answers`. Drawn."""
        before = items.shape[1]
        length = max(SHORTEST, before)
        shown = np.full((len(person), length), -1, np.int32)
        about = np.zeros((len(person), length, len(FEATURES)), np.float32)
        shown[:, :before] = items
        about[:, :before, FEATURES.index("value")] = (values - self._scale.value_mean) / self._scale.value_spread
        about[:, :before, FEATURES.index("valued")] = 1.0
        ridit = np.zeros((len(person), length), np.float32)
        ridit[:, :before] = self._classes.ridit[self._classes.of(values.ravel())].reshape(values.shape)
        (graph, params), (head_graph, head) = self._networks, self._heads
        asked = (jnp.asarray(person), jnp.asarray(shown), jnp.asarray(about), jnp.asarray(ridit), jnp.asarray(item))
        return np.asarray(_answers(graph, head_graph, params, head, self._items, self._behind, self._key, *asked))


@functools.partial(jax.jit, static_argnames=("graph", "head_graph"))
def _answers(
    graph: Any,
    head_graph: Any,
    params: Any,
    head_params: Any,
    items: tuple[Array, Array],
    behind: Factors,
    key: Array,
    *asked: Array,
) -> Array:
    """f32[N]. asked: person, shown, about, ridit, item, leaves [N, ...]."""
    network, head = nnx.merge(graph, params), nnx.merge(head_graph, head_params)
    table = network.items(*items)
    nothing = network.past(jnp.full(1, -1), table)

    def one(person: Array, shown: Array, about: Array, ridit: Array, item: Array) -> Array:
        hidden = network.read(nothing, shown, about, table)[jnp.sum(shown >= 0)]
        said = Tally.nothing("value").plus(ridit, shown >= 0, jnp.maximum(shown, 0), behind)
        heard = said.heard(behind.vector[item])
        uniform = jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, person), item))
        return head.draw(uniform, head.outlook(hidden, table.vector[item], heard, item))

    return jax.vmap(one)(*asked)
