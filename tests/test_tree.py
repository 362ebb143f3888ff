"""The tree over items: balanced, whole, and searched as it should be."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.base import EMPTY
from jaxreco.content.tree import beam, plant


def world(n_items: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(n_items, 4))
    return embedding / np.linalg.norm(embedding, axis=1, keepdims=True), rng.normal(size=(n_items, 3)).astype(
        np.float32
    )


@pytest.mark.parametrize(("n_items", "leaf"), [(1, 4), (4, 4), (5, 4), (64, 4), (100, 7), (1000, 16)])
def test_every_item_is_in_one_leaf_and_nodes_are_means(n_items: int, leaf: int) -> None:
    embedding, described = world(n_items)
    tree = plant(embedding, described, leaf)
    leaves = np.asarray(tree.leaves)
    assert sorted(leaves[leaves >= 0]) == list(range(n_items))
    assert tree.size <= leaf
    held = (leaves >= 0).sum(axis=1)
    assert held.max() - held.min() <= 1  # balanced
    n_leaves = len(leaves)
    chex.assert_shape(tree.described, (2 * n_leaves, 3))
    for node in range(1, 2 * n_leaves):
        low, high = node, node
        while low < n_leaves:
            low, high = 2 * low, 2 * high + 1
        below = leaves[low - n_leaves : high - n_leaves + 1].ravel()
        np.testing.assert_allclose(tree.described[node], described[below[below >= 0]].mean(axis=0), atol=1e-5)


def test_like_goes_with_like() -> None:
    """Two groups that differ most, each of two that differ less: a leaf holds one of the four."""
    rng = np.random.default_rng(0)
    corners = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
    group = rng.permutation(np.repeat(np.arange(4), 8))
    embedding = corners[group] + 0.05 * rng.normal(size=(32, 2))
    leaves = np.asarray(plant(embedding, embedding.astype(np.float32), 8).leaves)
    assert all(len(set(group[leaf])) == 1 for leaf in leaves)


def test_a_beam_as_wide_as_the_tree_finds_everything() -> None:
    tree = plant(*world(30), 4)
    found = np.asarray(beam(tree, jnp.ones(3), None, 16))
    assert found.shape == (16 * tree.size,)
    assert sorted(found[found >= 0]) == list(range(30))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 8])
def test_the_beam_is_that_of_plain_loops(width: int) -> None:
    tree = plant(*world(1000, 1), 8)
    weight, extra = np.array([0.5, -1.0, 2.0]), np.array([0.3, 0.0, 0.1])
    described, n_leaves = np.asarray(tree.described, np.float64), len(tree.leaves)
    score = described @ weight + described**2 @ extra
    first = 1
    while first < 2 * width:
        first *= 2
    nodes = sorted(range(first, 2 * first), key=lambda n: -score[n])[:width]
    while nodes[0] < n_leaves:
        nodes = sorted((child for n in nodes for child in (2 * n, 2 * n + 1)), key=lambda n: -score[n])[:width]
    want = np.asarray(tree.leaves)[np.array(nodes) - n_leaves]
    got = np.asarray(jax.jit(beam, static_argnums=3)(tree, jnp.asarray(weight), jnp.asarray(extra), width))
    assert sorted(got) == sorted(want.ravel())


def test_it_finds_what_is_best_where_descriptions_follow_the_split() -> None:
    embedding, _ = world(4096, 2)
    tree = plant(embedding, embedding.astype(np.float32), 16)
    taste = np.array([0.9, 0.1, -0.3, 0.3])
    best = set(np.argsort(-embedding @ taste)[:20])
    found = set(np.asarray(beam(tree, jnp.asarray(taste, jnp.float32), None, 8)).tolist()) - {EMPTY}
    assert len(best & found) >= 14  # 128 of 4,096 items: 0.6 by chance


def test_many_users_at_once_find_what_each_would() -> None:
    tree = plant(*world(300, 3), 8)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    together = jax.vmap(lambda w: beam(tree, w, None, 3))(weights)
    for w, found in zip(weights, together, strict=True):
        np.testing.assert_array_equal(beam(tree, w, None, 3), found)


def test_a_leaf_holds_something() -> None:
    with pytest.raises(ValueError, match="leaf is 0: a leaf holds at least 1 item"):
        plant(*world(4), 0)
