"""Slates decoded under a trie: a distribution over slates of different items, the one it says, and sampled as it says."""

from __future__ import annotations

import itertools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxreco.base import EMPTY
from jaxreco.errors import DataError
from jaxreco.nn import trie
from jaxreco.nn.trie import Trie

Array = jax.Array

CODES = np.array([[1, 0], [0, 2], [1, 0], [0, 0], [1, 3], [1, 0], [0, 2]])  # 0, 2 and 5 share one, and so do 1 and 6


def tables(ids: Trie, scale: float, seed: int = 0) -> tuple[list[Array], Array]:
    """A score for each node of each level, and what each item shown above does to each node of the last level but one."""
    rng = np.random.default_rng(seed)
    own = [jnp.asarray(scale * rng.normal(size=level.code.shape), jnp.float32) for level in ids.levels]
    return own, jnp.asarray(rng.normal(size=(ids.n_items,)), jnp.float32)


def scores_by(own: list[Array], after: Array) -> trie.Scores:
    """Scores that know the node, its path and the slots above."""

    def scores(level: int, nodes: Array, left: Array, path: tuple[Array, ...], above: Array) -> Array:
        shown = jnp.sum(jnp.where(above >= 0, after[jnp.maximum(above, 0)], 0.0))
        crossed = sum((jnp.sin(node.astype(jnp.float32)) for node in path), jnp.float32(0.0))
        return own[level][nodes] + (nodes % 2) * (shown + crossed) + 0.1 * left

    return scores


def naive(ids: Trie, slate: tuple[int, ...], own: list[Array], after: Array) -> np.ndarray:
    """Level by level over sets of items, in float64."""
    node = [np.asarray(level.node) for level in ids.levels]
    out, left = [], list(range(ids.n_items))
    for k, item in enumerate(slate):
        group, path, total = list(left), [], 0.0
        shown = float(np.sum(np.asarray(after)[list(slate[:k])]))
        for level, of in enumerate(node):
            crossed = sum((math.sin(n) for n in path), 0.0)
            score = {
                int(n): float(own[level][n])
                + (n % 2) * (shown + crossed)
                + 0.1 * len([i for i in group if int(of[i]) == n])
                for n in {int(of[i]) for i in group}
            }
            top = max(score.values())
            score = {n: max(s, top - trie.DEPTH) for n, s in score.items()}
            total += score[of[item]] - top - math.log(sum(math.exp(s - top) for s in score.values()))
            group = [i for i in group if of[i] == of[item]]
            path.append(int(of[item]))
        assert group == [item]
        out.append(total)
        left.remove(item)
    return np.array(out)


def random_trie(seed: int) -> Trie:
    rng = np.random.default_rng(seed)
    n_items, levels, size = rng.integers(1, 30), rng.integers(1, 4), rng.integers(1, 6)
    return trie.build(rng.integers(size, size=(n_items, levels)))


# -- the trie ------------------------------------------------------------------------------------------------


def test_a_trie_by_hand() -> None:
    ids = trie.build(np.array([[1, 5], [0, 2], [1, 0], [1, 5]]))
    np.testing.assert_array_equal(ids.item, [1, 2, 0, 3])
    np.testing.assert_array_equal(ids.rank, [2, 0, 1, 3])
    first, second, last = ids.levels
    np.testing.assert_array_equal(first.first, [0, 2])
    np.testing.assert_array_equal(first.begin, [0, 1, 4])
    np.testing.assert_array_equal(first.code, [0, 1])
    np.testing.assert_array_equal(first.node, [1, 0, 1, 1])
    np.testing.assert_array_equal(second.first, [0, 1, 3])
    np.testing.assert_array_equal(second.begin, [0, 1, 2, 4])
    np.testing.assert_array_equal(second.code, [2, 0, 5])
    np.testing.assert_array_equal(second.node, [2, 0, 1, 2])
    np.testing.assert_array_equal(last.first, [0, 1, 2, 4])
    np.testing.assert_array_equal(last.code, [0, 0, 0, 1])  # the third and the fourth share a code
    assert [len(level.places) for level in ids.levels] == [2, 2, 2]
    np.testing.assert_array_equal(trie.mean_below(ids, 0, np.array([1.0, 7.0, 2.0, 6.0])), [7.0, 3.0])
    np.testing.assert_array_equal(trie.by_parent(ids, 1, np.array([7.0, 2.0, 3.5])), [[7.0, 0.0], [2.0, 3.5]])
    found = trie.count_below(second, jnp.arange(3), trie.ranks(ids, jnp.asarray([3, EMPTY, 1])))
    np.testing.assert_array_equal(found, [1, 0, 1])


def test_codes_that_tell_all_items_apart_get_no_level_more() -> None:
    codes = np.array(list(itertools.product(range(3), repeat=2)))
    ids = trie.build(codes[::-1])
    assert len(ids.levels) == 2
    np.testing.assert_array_equal(ids.item, np.arange(9)[::-1])


@pytest.mark.parametrize("seed", range(20))
def test_nodes_are_the_items_that_begin_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(4, size=(rng.integers(1, 40), rng.integers(1, 4)))
    ids = trie.build(codes)
    for depth in range(codes.shape[1]):
        level = jax.tree.map(np.asarray, ids.levels[depth])
        for n, (begin, end) in enumerate(itertools.pairwise(level.begin)):
            alike = np.flatnonzero(level.node == n)
            np.testing.assert_array_equal(np.sort(np.asarray(ids.item)[begin:end]), alike)
            same = (codes[:, : depth + 1] == codes[alike[0], : depth + 1]).all(axis=1)
            np.testing.assert_array_equal(np.flatnonzero(same), alike)
    np.testing.assert_array_equal(np.sort(ids.item), np.arange(len(codes)))


@pytest.mark.parametrize("codes", [np.zeros(3, int), np.zeros((0, 2), int), np.zeros((2, 2)), np.array([[0, -1]])])
def test_what_is_no_code_is_refused(codes: np.ndarray) -> None:
    with pytest.raises(DataError, match="whole numbers from 0"):
        trie.build(codes)


# -- log-probability -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("scale", [1.0, 40.0], ids=["mild", "steep"])
def test_log_prob_is_that_of_plain_loops(size: int, scale: float) -> None:
    ids = trie.build(CODES)
    own, after = tables(ids, scale)
    slates = np.array(list(itertools.permutations(range(7), size))[:: 1 if size < 7 else 60], np.int32)
    slots, entropy = jax.jit(jax.vmap(lambda s: trie.log_prob(ids, s, scores_by(own, after))))(slates)
    chex.assert_shape([slots, entropy], (len(slates), size))
    expected = np.stack([naive(ids, tuple(map(int, s)), own, after) for s in slates])
    np.testing.assert_allclose(slots, expected, rtol=1e-4, atol=1e-4)
    if size < 7:
        assert np.exp(expected.sum(axis=1)).sum() == pytest.approx(1.0, abs=1e-6)
        assert float(jnp.sum(jnp.exp(jnp.sum(slots, axis=1)))) == pytest.approx(1.0, abs=1e-4)
        mean = jnp.sum(jnp.exp(jnp.sum(slots, axis=1)) * entropy[:, 0])
        p = np.bincount(slates[:, 0], weights=np.exp(expected.sum(axis=1)))
        assert float(mean) == pytest.approx(scipy.stats.entropy(p), abs=1e-3)  # over slates, that of the slot


def test_an_item_twice_is_next_to_impossible() -> None:
    ids = trie.build(CODES)
    slots, _ = trie.log_prob(ids, jnp.asarray([4, 2, 4]), scores_by(*tables(ids, 1.0)))
    assert float(slots[2]) < -1e6
    assert np.isfinite(slots).all()


def test_gradient_is_the_slope() -> None:
    ids = trie.build(CODES)
    own, after = tables(ids, 1.0)
    slate = (2, 6, 0)

    def total(own: list[Array], after: Array) -> Array:
        slots, entropy = trie.log_prob(ids, jnp.asarray(slate), scores_by(own, after))
        return jnp.sum(slots) + 0.0 * jnp.sum(entropy)

    grads, grad_after = jax.jit(jax.grad(total, (0, 1)))(own, after)
    step = 1e-5
    plain = [np.asarray(x, float) for x in own]
    for level in range(3):
        slopes = []
        for bump in step * np.eye(len(own[level])):
            up, down = ([x + sign * bump if i == level else x for i, x in enumerate(plain)] for sign in (1, -1))
            slopes.append((naive(ids, slate, up, after).sum() - naive(ids, slate, down, after).sum()) / (2 * step))
        np.testing.assert_allclose(grads[level], slopes, atol=1e-3)
    assert np.abs(np.asarray(grad_after)[[2, 6]]).min() > 1e-4
    assert float(grad_after[0]) == 0.0  # nothing comes after the last slot


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_gradients_are_finite(scale: float) -> None:
    ids = trie.build(CODES)

    def total(own: list[Array], after: Array, slate: Array) -> Array:
        slots, entropy = trie.log_prob(ids, slate, scores_by(own, after))
        return jnp.sum(slots) + jnp.sum(entropy)

    own, after = tables(ids, scale)
    slates = jnp.asarray([[3, 0, 6, 1, 2, 4, 5], [0, 1, 2, EMPTY, EMPTY, EMPTY, EMPTY]])
    chex.assert_tree_all_finite(jax.jit(jax.vmap(jax.grad(total, (0, 1)), (None, None, 0)))(own, after, slates))


# -- samples -------------------------------------------------------------------------------------------------


def test_slates_come_as_often_as_log_prob_says(key: Array) -> None:
    draws, ids = 60_000, trie.build(CODES)
    scores = scores_by(*tables(ids, 1.0))
    keys = jax.random.split(key, draws)
    drawn, said = jax.jit(lambda ks: jax.lax.map(lambda k: trie.sample(k, ids, 3, scores), ks, batch_size=5000))(keys)
    slates = np.array(list(itertools.permutations(range(7), 3)), np.int32)
    slots, _ = jax.jit(jax.vmap(lambda s: trie.log_prob(ids, s, scores)))(slates)
    place = np.asarray([49, 7, 1])
    seen = np.array([np.sum(np.asarray(drawn) @ place == code) for code in slates @ place])
    assert seen.sum() == draws  # nothing but permutations
    expected = np.exp(np.asarray(slots, np.float64).sum(axis=1))
    assert scipy.stats.chisquare(seen, draws * expected / expected.sum()).pvalue > 1e-3
    at = {int(code): i for i, code in enumerate(slates @ place)}
    again = np.asarray(slots)[[at[int(code)] for code in np.asarray(drawn[:200]) @ place]]
    np.testing.assert_allclose(said[:200], again, atol=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_never_an_item_twice_nor_one_that_is_none(seed: int, key: Array) -> None:
    """Over random tries with shared codes, steep and mild, up to slates of the whole catalog and longer ones."""
    ids = random_trie(seed)
    scores = scores_by(*tables(ids, [1.0, 30.0, 1000.0][seed % 3], seed))
    size = ids.n_items + (seed % 4)
    slates, slots = jax.jit(jax.vmap(lambda k: trie.sample(k, ids, size, scores)))(jax.random.split(key, 100))
    chex.assert_shape([slates, slots], (100, size))
    chex.assert_type(slates, jnp.int32)
    inside = np.asarray(slates)[:, : ids.n_items]
    np.testing.assert_array_equal(np.sort(inside, axis=1), np.broadcast_to(np.arange(ids.n_items), inside.shape))
    assert (np.asarray(slates)[:, ids.n_items :] == EMPTY).all()
    assert (np.asarray(slots)[:, ids.n_items :] == 0.0).all()
    assert np.isfinite(slots).all()
    again, _ = jax.jit(jax.vmap(lambda s: trie.log_prob(ids, s, scores)))(slates)
    np.testing.assert_allclose(slots, again, rtol=1e-4, atol=1e-4)


def test_greedy_takes_the_best_child_every_time(key: Array) -> None:
    ids = trie.build(CODES)
    own, after = tables(ids, 3.0)
    slate, slots = jax.jit(lambda: trie.greedy(ids, 7, scores_by(own, after)))()
    np.testing.assert_array_equal(np.sort(slate), np.arange(7))
    np.testing.assert_allclose(slots, naive(ids, tuple(map(int, slate)), own, after), atol=1e-4)
    cold = lambda level, nodes, left, path, above: 1e4 * scores_by(own, after)(level, nodes, left, path, above)  # noqa: E731
    np.testing.assert_array_equal(trie.sample(key, ids, 7, cold)[0], slate)


def test_batches_and_compilation_change_nothing(key: Array) -> None:
    ids = trie.build(CODES)
    scores = scores_by(*tables(ids, 1.0))
    keys = jax.random.split(key, 8)
    one: Any = lambda k: trie.sample(k, ids, 4, scores)  # noqa: E731
    many, compiled = jax.vmap(one)(keys), jax.jit(jax.vmap(one))(keys)
    loop = [one(k) for k in keys]
    for found in (compiled, [jnp.stack(x) for x in zip(*loop, strict=True)]):
        np.testing.assert_array_equal(many[0], found[0])
        np.testing.assert_allclose(many[1], found[1], atol=1e-5)


def biggest(jaxpr: Any) -> int:
    """Elements of the largest array that a program writes."""
    sizes = [math.prod(v.aval.shape) for eqn in jaxpr.eqns for v in eqn.outvars if hasattr(v.aval, "shape")]
    inner = [getattr(p, "jaxpr", p) for eqn in jaxpr.eqns for p in eqn.params.values()]
    return max([0, *sizes, *[biggest(p) for p in inner if hasattr(p, "eqns")]])


def test_a_slate_costs_levels_times_codes_and_not_the_catalog() -> None:
    """Nothing that is worked out has as many elements as there are items."""
    codes = np.random.default_rng(0).integers(20, size=(50_000, 4))
    ids = trie.build(codes)

    def program(key: Array, ids: Trie, own: list[Array], after: Array) -> Any:
        slate, _ = trie.sample(key, ids, 10, scores_by(own, after))
        return trie.log_prob(ids, slate, scores_by(own, after))

    jaxpr = jax.make_jaxpr(program)(jax.random.key(0), ids, *tables(ids, 1.0))
    assert biggest(jaxpr.jaxpr) <= 20 * 10 * 10
