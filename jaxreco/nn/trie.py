"""Slates decoded by semantic ID: each slot's code level by level, under a trie of the codes that exist.

The items, sorted by code, are the leaves; whatever begins alike lies side by side, so a node is a range of ranks, and so
is the list of its children. What a policy has to say is a score for each child of a node; the child is drawn by a softmax
over those with items left below them (Rajput et al. 2023, "Recommender systems with generative retrieval"; the trie keeps
beams valid in De Cao et al. 2021). An item that is shown is taken out of all nodes above it, so no slate repeats one, and
the log-probability is exact. A slot costs levels times children, whatever the size of the catalog.

`L` levels, `N` nodes of a level, `W` children at most. Unbatched: `vmap` it.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco import rng
from jaxreco.base import EMPTY
from jaxreco.errors import DataError
from jaxreco.struct import Struct

Array = jax.Array

DEPTH = 60.0  # nats below the best child at which a score counts no lower; exp(-DEPTH) is a float32 with room below it


class Level(Struct):
    """The nodes of one level, in the order of their codes. Those of the last level are the items."""

    first: Array  # i32[nodes above + 1]: the children of node n above are first[n] ... first[n + 1] - 1
    begin: Array  # i32[N + 1]: below node n are the items of ranks begin[n] ... begin[n + 1] - 1
    code: Array  # i32[N], what tells a node from its siblings
    node: Array  # i32[I], of each item
    places: Array  # i32[W], 0 ... W - 1


class Trie(Struct):
    """All codes of a catalog."""

    item: Array  # i32[I], by rank
    levels: tuple[Level, ...]

    @property
    def n_items(self) -> int:
        """I."""
        return self.item.shape[0]

    @property
    def rank(self) -> Array:
        """i32[I], of each item: its node on the last level."""
        return self.levels[-1].node


# scores(level, nodes i32[W], left i32[W], path, above i32[K]) -> f32[W], finite: of siblings with `left` items below them that
# were not taken, given the nodes of this slot on the levels before, and the items of the slots above (EMPTY in this one and
# those below).
Scores = Callable[[int, Array, Array, tuple[Array, ...], Array], Array]


def build(codes: np.ndarray) -> Trie:
    """The trie of codes i32[I, L]; where items share one, a level more tells them apart. Host side.

    Raises DataError for codes of another shape, or below 0.
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or not codes.size or codes.dtype.kind not in "iu" or codes.min() < 0:
        raise DataError(
            f"Codes have shape {codes.shape} and type {codes.dtype}: give each item a row of whole numbers from 0."
        )
    order = np.lexsort(codes.T[::-1])
    _, equal, count = np.unique(codes[order], axis=0, return_inverse=True, return_counts=True)
    if count.max() > 1:
        among = np.arange(len(codes)) - (np.cumsum(count) - count)[equal.ravel()]
        codes = np.column_stack([codes, among[np.argsort(order)]])
    ordered = codes[order].astype(np.int32)
    differs = np.zeros(len(codes) - 1, bool)
    above, levels = np.array([0, len(codes)]), []
    for code in ordered.T:
        differs = differs | (code[1:] != code[:-1])
        node = np.cumsum(np.append(0, differs))
        begin = np.append(np.flatnonzero(np.append(True, differs)), len(codes))
        first = np.append(node, node[-1] + 1)[above]
        of_item = node[np.argsort(order)]
        arrays = (first, begin, code[begin[:-1]], of_item, np.arange(np.diff(first).max()))
        levels.append(Level(*(jnp.asarray(x, jnp.int32) for x in arrays)))
        above = begin
    return Trie(item=jnp.asarray(order, jnp.int32), levels=tuple(levels))


def mean_below(trie: Trie, level: int, values: np.ndarray) -> np.ndarray:
    """f32[N, ...]: means of what items have, f32[I, ...], below each node of a level. Host side."""
    begin = np.asarray(trie.levels[level].begin)
    total = np.add.reduceat(np.asarray(values)[np.asarray(trie.item)], begin[:-1], axis=0, dtype=np.float64)
    return (total.T / np.diff(begin)).T.astype(np.float32)


def by_parent(trie: Trie, level: int, values: np.ndarray) -> np.ndarray:
    """[nodes above, W, ...]: what nodes of a level have, [N, ...], with siblings in a row; zeros where there are fewer. Host side."""
    stage = trie.levels[level]
    first, places = np.asarray(stage.first), np.asarray(stage.places)
    at = first[:-1, None] + places
    there = at < first[1:, None]
    rows = np.asarray(values)[np.minimum(at, len(values) - 1)]
    return np.where(there.reshape(there.shape + (1,) * (rows.ndim - 2)), rows, np.zeros((), rows.dtype))


def ranks(trie: Trie, items: Array) -> Array:
    """i32, of items i32; EMPTY for EMPTY."""
    return jnp.where(items >= 0, trie.rank[jnp.maximum(items, 0)], EMPTY)


def size_below(level: Level, nodes: Array) -> Array:
    """i32[W]: items below each of nodes i32[W]."""
    return level.begin[nodes + 1] - level.begin[nodes]


def count_below(level: Level, nodes: Array, ranks: Array) -> Array:
    """i32[W]: how many of ranks i32[M] are below each of nodes i32[W]."""
    after, before = ranks >= level.begin[nodes][:, None], ranks < level.begin[nodes + 1][:, None]
    return jnp.sum(after & before, axis=1)


def sample(key: Array, trie: Trie, size: int, scores: Scores) -> tuple[Array, Array]:
    """A slate i32[K] of different items, and each slot's log-probability f32[K] given those above. The key is consumed.

    Slots for which the catalog has no items left are EMPTY, with log-probability 0.
    """
    uniform = rng.uniforms(key, size * len(trie.levels)).reshape(size, -1)

    def pick(slot: Array, level: int, log_p: Array) -> Array:
        share = jnp.cumsum(jnp.exp(log_p))
        # A last child that is empty must not be drawn where u times the sum rounds up to it.
        return jnp.minimum(jnp.sum(share <= uniform[slot, level] * share[-1]), jnp.sum(share < share[-1]))

    return _slate(trie, size, scores, pick)


def greedy(trie: Trie, size: int, scores: Scores) -> tuple[Array, Array]:
    """The likeliest child at every step: a slate i32[K] and its log-probabilities f32[K], as `sample`."""
    return _slate(trie, size, scores, lambda slot, level, log_p: jnp.argmax(log_p))


def log_prob(trie: Trie, slate: Array, scores: Scores) -> tuple[Array, Array]:
    """Of a slate i32[K]: each slot's log-probability given those above, f32[K], and its entropy along its path, f32[K].

    The entropy, in nats, is the sum of those of the choices that were made: over slates its mean is the entropy of the
    slot. Both are 0 for EMPTY slots.
    """
    slots = jnp.arange(slate.shape[0])

    def of(slot: Array) -> tuple[Array, Array]:
        above = jnp.where(slots < slot, slate, EMPTY)
        item = jnp.maximum(slate[slot], 0)
        path: tuple[Array, ...] = ()
        total = entropy = jnp.float32(0.0)
        for level, stage in enumerate(trie.levels):
            log_p, begin = choices(trie, level, path, above, scores)
            total += jnp.sum(jnp.where(begin + stage.places == stage.node[item], log_p, 0.0))
            entropy -= jnp.sum(jnp.exp(log_p) * log_p)
            path += (stage.node[item],)
        there = slate[slot] >= 0
        return jnp.where(there, total, 0.0), jnp.where(there, entropy, 0.0)

    return jax.vmap(of)(slots)


def choices(trie: Trie, level: int, path: tuple[Array, ...], above: Array, scores: Scores) -> tuple[Array, Array]:
    """(log-probabilities f32[W] of a node's children, the first of them i32[]); very low where nothing is left below.

    Args: path: the nodes of levels 0 ... level - 1. above i32[K]: items that are taken, EMPTY for none.
    """
    stage = trie.levels[level]
    parent = path[-1] if path else 0
    begin, end = stage.first[parent], stage.first[parent + 1]
    nodes = jnp.minimum(begin + stage.places, stage.code.shape[0] - 1)
    left = size_below(stage, nodes) - count_below(stage, nodes, ranks(trie, above))
    free = (begin + stage.places < end) & (left > 0)
    score = scores(level, nodes, left, path, above)
    lowest = jax.lax.stop_gradient(jnp.max(score, initial=-jnp.inf, where=free)) - DEPTH
    return jax.nn.log_softmax(jnp.where(free, jnp.maximum(score, lowest), -1e30)), begin


def _slate(trie: Trie, size: int, scores: Scores, pick: Callable[[Array, int, Array], Array]) -> tuple[Array, Array]:
    """Slot after slot, level after level, the child that `pick(slot, level, log-probabilities f32[W])` chooses."""

    def decode(above: Array, slot: Array) -> tuple[Array, Array]:
        path: tuple[Array, ...] = ()
        total = jnp.float32(0.0)
        for level in range(len(trie.levels)):
            log_p, begin = choices(trie, level, path, above, scores)
            place = pick(slot, level, log_p)
            total += log_p[place]
            path += (begin + place.astype(jnp.int32),)
        return above.at[slot].set(trie.item[path[-1]]), total

    empty = jnp.full(size, EMPTY, jnp.int32)
    slate, total = jax.lax.scan(decode, empty, jnp.arange(min(size, trie.n_items)))
    return slate, jnp.zeros(size).at[: total.shape[0]].set(total)
