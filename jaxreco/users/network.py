"""What a person takes next, by all it did before: the network of the learned user.

A causal transformer over the last events (Vaswani et al. 2017; as a recommender, Kang & McAuley 2018, "Self-attentive
sequential recommendation") is the short memory. The long memory is the sum of everything taken (Kabbur, Ning & Karypis
2013, "FISM"). An item is the sum of what is learned of itself and of a linear image of its content, so that an item that
nobody has met yet is read by its content alone. Unbatched: one person; `vmap` it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreco.errors import JaxrecoError
from jaxreco.nn.transformer import Block, dropped
from jaxreco.ring import Ring
from jaxreco.struct import Struct
from jaxreco.users.classes import Classes
from jaxreco.users.heads import HEARD, heads_of

Array = jax.Array

FEATURES = (
    "value",
    "valued",
    "like",
    "comment",
    "share",
    "watch",
    "watched",
    "gap",
    "timed",
)  # what is told of an event
BEGIN = 1  # tokens before the first event: one, of who it is


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Sizes. Static.

    Args:
      width: d. layers, heads: of the transformer. window: T, last events that it reads. remembered: M, events before
        those that the long memory holds while a network is fitted.
      dropout: of the layers, of the long memory's items and of tokens. unnamed: share of items that are read by content
        alone while a network is fitted.
    """

    width: int = 64
    layers: int = 2
    heads: int = 2
    window: int = 64
    remembered: int = 256
    dropout: float = 0.3
    unnamed: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "window", "remembered"):
            if getattr(self, name) < 1:
                raise JaxrecoError(f"{name} is {getattr(self, name)}: give at least 1.")
        if self.width % self.heads:
            raise JaxrecoError(f"width is {self.width}, no multiple of {self.heads} heads: give one.")
        for name in ("dropout", "unnamed"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise JaxrecoError(f"{name} is {getattr(self, name)}: give a share from 0 to below 1.")


class ItemTable(NamedTuple):
    """All items as the network reads them."""

    vector: Array  # f32[I, d]
    bias: Array  # f32[I], log of how often it is taken, before anything is known of who takes
    long: Array  # f32[I, d], what the long memory keeps of it


def rows_of(table: Array, item: Array) -> Array:
    """f32[..., d]: table[item].

    XLA takes rows of a table of one row, a shop's, for that row over and over, and multiplies by it in kernels (CPU, jaxlib 0.10.2)
    that read beyond its end: NaN or a crash. So it gets a second row, which nobody asks for.
    """
    return (jnp.concatenate([table, jnp.zeros_like(table)]) if table.shape[0] == 1 else table)[item]


class Past(NamedTuple):
    """The long memory of events before a window."""

    total: Array  # f32[d]
    number: Array  # f32[]

    def kept(self) -> Array:
        """f32[d]: the sum by the root of its number, so that neither few nor many events make it small."""
        return self.total / jnp.sqrt(jnp.maximum(self.number, 1.0))


class Memory(Struct):
    """What a person has in mind of what it took, so that the next event is read without those before it."""

    short: tuple[Ring, ...]  # keys and values of the last W events, a ring a layer
    begun: tuple[tuple[Array, Array], ...]  # keys and values f32[BEGIN, d] of who it is, a pair a layer
    long: Past
    hidden: Array  # f32[d], what is known of it now


class UserNetwork(nnx.Module):
    """Items, memories, what is said of the next event, and by the heads `feedback` of what is done with the item.

    Args: n_items: I. content_width: D of the items' content; may be 0. features: F of an event. feedback: classes by head.
    """

    def __init__(
        self,
        config: NetworkConfig,
        n_items: int,
        content_width: int,
        features: int,
        feedback: Mapping[str, Classes] | None = None,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        d, small = config.width, nnx.initializers.normal(0.05)
        self.config = config
        self.named = nnx.Param(small(rngs(), (n_items, d)))
        self.of_content = nnx.Linear(content_width, d, use_bias=False, rngs=rngs) if content_width else None
        self.bias = nnx.Param(jnp.zeros(n_items))
        self.long = nnx.Param(small(rngs(), (n_items, d)))
        self.long_of_content = nnx.Linear(content_width, d, use_bias=False, rngs=rngs) if content_width else None
        self.about = nnx.Linear(features, d, kernel_init=small, rngs=rngs)
        self.who = nnx.Linear(d, d, rngs=rngs)
        self.blocks = nnx.List(
            [Block(d, config.heads, config.window, dropout=config.dropout, rngs=rngs) for _ in range(config.layers)]
        )
        self.norm = nnx.LayerNorm(d, rngs=rngs)
        self.short_out = nnx.Linear(d, d, rngs=rngs)
        self.long_out = nnx.Linear(d, d, use_bias=False, rngs=rngs)
        self.lived = nnx.Linear(1, d, kernel_init=small, rngs=rngs)
        self.feedback = heads_of(feedback or {}, d, HEARD, n_items, rngs)

    def items(self, content: Array, known: Array, key: Array | None = None) -> ItemTable:
        """All items. content f32[I, D]; known bool[I], those that the network was fitted with.

        Args: key: consumed; some items are then read by their content alone.
        """
        named = known if key is None else known & ~jax.random.bernoulli(key, self.config.unnamed, known.shape)
        vector, long = (jnp.where(named[:, None], table[...], 0.0) for table in (self.named, self.long))
        if self.of_content is not None and self.long_of_content is not None:
            vector, long = vector + self.of_content(content), long + self.long_of_content(content)
        return ItemTable(vector, jnp.where(known, self.bias[...], jnp.min(self.bias[...])), long)

    def past(self, item: Array, table: ItemTable, key: Array | None = None) -> Past:
        """The long memory of events i32[M], -1 where there is none. The key is consumed."""
        kept = self._remembered(item, table, key)
        return Past(jnp.sum(kept, axis=0), jnp.sum(item >= 0).astype(jnp.float32))

    def read(self, past: Past, item: Array, about: Array, table: ItemTable, key: Array | None = None) -> Array:
        """f32[T + 1, d]: what is known of a person before each of T events, and after the last.

        Args: past: what came before them. item i32[T], about f32[T, F], padded with -1 at the end. key: consumed.
        """
        to_tokens, to_long, *to_blocks = [None] * (2 + len(self.blocks))
        if key is not None:
            to_tokens, to_long, *to_blocks = jax.random.split(key, 2 + len(self.blocks))
        token = self._token(item, about, table)
        long, lived = self._long(past, item, table, to_long)
        x = jnp.concatenate([self.who(past.kept())[None], token]) + lived
        if to_tokens is not None:
            x = dropped(to_tokens, x, self.config.dropout)
        for block, to_block in zip(self.blocks, to_blocks, strict=True):
            x = block.whole(x, BEGIN, to_block)
        return self.short_out(self.norm(x)) + self.long_out(long)

    def begin(self, past: Past) -> Memory:
        """A person of whom the long memory alone is known."""
        x = self.who(past.kept())[None] + self._lived(past.number)
        begun, short = [], []
        for block in self.blocks:
            x, pair = block.begin(x)
            begun.append(pair)
            short.append(block.empty_cache())
        return Memory(tuple(short), tuple(begun), past, self._hidden(x[0], past))

    def remember(self, memory: Memory, item: Array, about: Array, table: ItemTable) -> Memory:
        """The memory after events i32[N], about f32[N, F], the earliest first; -1 is none.

        The same as `read` of all events from the beginning on (but for rounding), at the cost of the new ones.
        """
        there = item >= 0
        long = self._remembered(item, table, None)
        number = memory.long.number + jnp.cumsum(there)
        x = self._token(item, about, table) + jax.vmap(self._lived)(number)
        short = []
        for block, cache, begun in zip(self.blocks, memory.short, memory.begun, strict=True):
            x, cache = block.extend(x, there, cache, begun)
            short.append(cache)
        past = Past(memory.long.total + jnp.sum(long, axis=0), number[-1])
        last = there & (number == number[-1])
        hidden = self._hidden(jnp.sum(jnp.where(last[:, None], x, 0.0), axis=0), past)
        return Memory(tuple(short), memory.begun, past, jnp.where(jnp.any(there), hidden, memory.hidden))

    def _token(self, item: Array, about: Array, table: ItemTable) -> Array:
        """f32[N, d]: events i32[N], about f32[N, F]; 0 where there is none."""
        return jnp.where((item >= 0)[:, None], rows_of(table.vector, jnp.maximum(item, 0)) + self.about(about), 0.0)

    def _hidden(self, x: Array, past: Past) -> Array:
        """f32[d]: what the last token f32[d] and the long memory say together."""
        return self.short_out(self.norm(x)) + self.long_out(past.kept())

    def _lived(self, number: Array) -> Array:
        """f32[d]: how much f32[] there is to remember."""
        return self.lived(jnp.log1p(number)[None] / 4.0)

    def _long(self, past: Past, item: Array, table: ItemTable, key: Array | None) -> tuple[Array, Array]:
        """f32[T + 1, d] each, before each event and after the last: the long memory, and how much there is to remember."""
        total = past.total + jnp.cumsum(self._remembered(item, table, key), axis=0)
        count = past.number + jnp.cumsum(item >= 0).astype(jnp.float32)
        long = jnp.concatenate([past.total[None], total])
        count = jnp.concatenate([past.number[None], count])[:, None]
        return long / jnp.sqrt(jnp.maximum(count, 1.0)), self.lived(jnp.log1p(count) / 4.0)

    def _remembered(self, item: Array, table: ItemTable, key: Array | None) -> Array:
        """f32[M, d]: what the long memory adds for each of events i32[M]. Left out ones make the others larger."""
        there = (item >= 0).astype(jnp.float32)
        if key is not None:
            there = dropped(key, there, self.config.dropout)
        return rows_of(table.long, jnp.maximum(item, 0)) * there[:, None]
