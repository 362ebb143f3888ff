"""SASRec: a causal transformer over what was taken says what is taken next (Kang & McAuley 2018, arXiv 1808.09781).

As there, an item's vector is both read and compared with, and a state is the last layer's at the latest item. Otherwise: places
are distances (`jaxreco.nn.transformer`), items have a bias, and their vectors may be helped by what is known of them.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreco.errors import JaxrecoError
from jaxreco.nn.transformer import Block, dropped
from jaxreco.ranking.cases import VISIBLE
from jaxreco.users.network import rows_of

Array = jax.Array
SPREAD = 0.02  # of items' vectors before any fit


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The network's statics.

    Args:
      width: d. heads: of attention; the width is a multiple. layers: of the transformer. window: items that an item sees in a
        layer, itself included. dropout: share of what is read, and of what a layer adds, that is left out while learning.
    """

    width: int = 64
    heads: int = 2
    layers: int = 2
    window: int = VISIBLE
    dropout: float = 0.2

    def __post_init__(self) -> None:
        for name in ("width", "heads", "layers", "window"):
            if getattr(self, name) < 1:
                raise JaxrecoError(f"{name} is {getattr(self, name)}: give at least 1.")
        if self.width % self.heads:
            raise JaxrecoError(f"width {self.width} is not a multiple of heads {self.heads}: change one of them.")
        if not 0.0 <= self.dropout < 1.0:
            raise JaxrecoError(f"dropout is {self.dropout}: give a share of at least 0 and below 1.")


class Table(NamedTuple):
    """All items as the network reads and compares them."""

    vector: Array  # f32[I, d]
    bias: Array  # f32[I]


class SASRec(nnx.Module):
    """A sequence of items in, a score for every item out. Unbatched: one sequence; `vmap` it.

    Args: n_items: I. content: D, numbers known of an item; 0 for none.
    """

    def __init__(self, sizes: Sizes, n_items: int, content: int = 0, *, rngs: nnx.Rngs) -> None:
        self.sizes = sizes
        self.item = nnx.Param(SPREAD * jax.random.normal(rngs.params(), (n_items, sizes.width)))
        self.bias = nnx.Param(jnp.zeros(n_items))
        nothing = nnx.initializers.zeros
        self.content = (
            nnx.Linear(content, sizes.width, use_bias=False, kernel_init=nothing, rngs=rngs) if content else None
        )
        block = lambda: Block(sizes.width, sizes.heads, sizes.window, dropout=sizes.dropout, rngs=rngs)  # noqa: E731
        self.blocks = nnx.List([block() for _ in range(sizes.layers)])
        self.norm = nnx.LayerNorm(sizes.width, rngs=rngs)

    def table(self, content: Array | None = None) -> Table:
        """All items. Args: content f32[I, D], where the network was made for some."""
        vector = self.item[...]
        if self.content is not None:
            vector = vector + self.content(jnp.asarray(content))
        return Table(vector, self.bias[...])

    def states(self, table: Table, item: Array, key: Array | None = None) -> Array:
        """f32[T, d]: after each item of i32[T], which knows none that comes later. The key is consumed.

        Args: item: -1 is none; only after all others. key: leaves out what `dropout` says. Nothing without it.
        """
        keys = [None] * (len(self.blocks) + 1) if key is None else list(jax.random.split(key, len(self.blocks) + 1))
        x = rows_of(table.vector, jnp.maximum(item, 0)) * self.sizes.width**0.5
        x = x if keys[0] is None else dropped(keys[0], x, self.sizes.dropout)
        for block, its in zip(self.blocks, keys[1:], strict=True):
            x = block.whole(x, 0, its)
        return self.norm(x)

    def scores(self, table: Table, history: Array) -> Array:
        """f32[I] of every item after a history i32[H], the latest last, -1 before the first; the bias alone after none."""
        length = jnp.sum(history >= 0)
        first = jnp.roll(history, length)  # what is missing goes behind, where nothing sees it
        state = self.states(table, first)[jnp.maximum(length - 1, 0)]
        return table.vector @ jnp.where(length > 0, state, 0.0) + table.bias
