"""A balanced tree over the items, and a beam down it: retrieval that costs little more with a thousand times the items.

Like goes with like: items are halved again and again along the direction in which they differ most, so that every leaf holds as many
(the tree of Zhu et al. 2018, "Learning tree-based deep model for recommender systems", made from content instead of learned). A node is
described by the mean of its items; a score that is linear in descriptions is at a node the mean score of what is below it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY
from jaxreco.struct import Struct

Array = jax.Array

ROUNDS = 8  # of power iteration for the direction in which items differ most


class Tree(Struct):
    """Nodes in heap order: the root is node 1, the children of n are 2n and 2n + 1. `L` leaves, a power of two."""

    described: Array  # f32[2 L, F], mean over the items below each node; node 0 is nothing
    leaves: Array  # i32[L, N], the items of each leaf, EMPTY where it has fewer

    @property
    def size(self) -> int:
        """N, items of a leaf."""
        return self.leaves.shape[1]


def plant(embedding: np.ndarray, described: np.ndarray, leaf: int) -> Tree:
    """The tree over items, on the host.

    Args:
      embedding: f32[I, D], by which items are split. described: f32[I, F], of which nodes hold means.
      leaf: items of a leaf, at most; a number of items that is no power of two times as many leaves some places empty.

    Raises ValueError for a leaf that holds nothing.
    """
    if leaf < 1:
        raise ValueError(f"leaf is {leaf}: a leaf holds at least 1 item.")
    n_items = len(embedding)
    depth = max(int(np.ceil(np.log2(n_items / leaf))), 0)
    parts = [np.arange(n_items)]
    for _ in range(depth):
        parts = [half for part in parts for half in _halves(part, embedding)]
    size = max(len(part) for part in parts)
    leaves = np.full((len(parts), size), EMPTY, np.int32)
    for row, part in zip(leaves, parts, strict=True):
        row[: len(part)] = np.sort(part)
    return Tree(described=jnp.asarray(_means(parts, described)), leaves=jnp.asarray(leaves))


def beam(tree: Tree, weight: Array, extra: Array | None, width: int) -> Array:
    """i32[width x N]: the items of the `width` best leaves under linear scores, by a beam of that width; EMPTY pads.

    The nodes of the first level with twice as many as the beam is wide are all looked at; from there on only the children of the best.

    Args:
      weight: f32[F]; a node's score is its description times this. extra: f32[F], times the square of the description, where given.
    """
    n_leaves = tree.leaves.shape[0]
    if width >= n_leaves:
        return jnp.pad(tree.leaves.ravel(), (0, (width - n_leaves) * tree.size), constant_values=EMPTY)

    def score(nodes: Array) -> Array:
        of = tree.described[nodes]
        return of @ weight if extra is None else of @ weight + jnp.square(of) @ extra

    first = min(1 << (2 * width - 1).bit_length(), n_leaves)
    nodes = jnp.arange(first, 2 * first)
    best = nodes[jax.lax.top_k(score(nodes), width)[1]]
    for _ in range((n_leaves // first).bit_length() - 1):
        nodes = jnp.concatenate([2 * best, 2 * best + 1])
        best = nodes[jax.lax.top_k(score(nodes), width)[1]]
    return tree.leaves[best - n_leaves].ravel()


def _halves(part: np.ndarray, embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Items i64[n] in two of the same number, or one more, along the direction of their greatest variance."""
    centred = embedding[part] - embedding[part].mean(axis=0)
    direction = np.ones(embedding.shape[1]) / np.sqrt(embedding.shape[1])
    for _ in range(ROUNDS):
        ahead = centred.T @ (centred @ direction)
        length = np.linalg.norm(ahead)
        if length < 1e-12:  # all alike
            break
        direction = ahead / length
    order = np.argsort(centred @ direction, kind="stable")
    return part[order[: (len(part) + 1) // 2]], part[order[(len(part) + 1) // 2 :]]


def _means(parts: list[np.ndarray], described: np.ndarray) -> np.ndarray:
    """f32[2 L, F]: means of the leaves' items, and upwards."""
    n_leaves = len(parts)
    total = np.zeros((2 * n_leaves, described.shape[1]))
    count = np.zeros((2 * n_leaves, 1))
    total[n_leaves:] = [described[part].sum(axis=0) for part in parts]
    count[n_leaves:, 0] = [len(part) for part in parts]
    for node in range(n_leaves - 1, 0, -1):
        total[node] = total[2 * node] + total[2 * node + 1]
        count[node] = count[2 * node] + count[2 * node + 1]
    return (total / np.maximum(count, 1)).astype(np.float32)
