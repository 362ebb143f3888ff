"""Plackett-Luce with cooling categories: a distribution, the one it says, and sampled as it says."""

from __future__ import annotations

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxreco.nn import plackett_luce

Array = jax.Array

log_probs = jax.jit(jax.vmap(plackett_luce.log_prob, (None, 0, None, None)))
each_log_prob = jax.jit(jax.vmap(plackett_luce.log_prob, (0, 0, None, None)))


def one_hot(category: list[int], n_categories: int) -> Array:
    return jnp.asarray(np.asarray(category) == np.arange(n_categories)[:, None], jnp.float32)


def naive(logits: np.ndarray, slate: np.ndarray, category: np.ndarray, cooling: float) -> np.ndarray:
    """One softmax after another, in float64, of logits that reach 60 nats down."""
    logits = np.maximum(logits, logits.max() - plackett_luce.DEPTH)
    left, out = list(range(len(logits))), []
    for k, item in enumerate(slate):
        shown = category[slate[:k]]
        score = np.array([float(logits[i]) - cooling * np.sum(shown == category[i]) for i in left])
        total = score.max() + np.log(np.sum(np.exp(score - score.max())))
        out.append(score[left.index(item)] - total)
        left.remove(item)
    return np.array(out)


def random_slates(rng: np.random.Generator, n: int, n_items: int, size: int) -> np.ndarray:
    return np.stack([rng.permutation(n_items)[:size] for _ in range(n)]).astype(np.int32)


# -- log_prob ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cooling", [0.0, 0.8])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_all_ordered_slates_sum_to_one(size: int, cooling: float) -> None:
    slates = jnp.asarray(list(itertools.permutations(range(5), size)), jnp.int32)
    logits = jnp.asarray([0.3, -1.2, 2.0, 0.0, 0.7])
    slots, _ = log_probs(logits, slates, one_hot([0, 1, 1, 0, 2], 3), jnp.float32(cooling))
    chex.assert_shape(slots, (len(slates), size))
    assert float(jnp.sum(jnp.exp(jnp.sum(slots, axis=1)))) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0], ids=["mild", "steep", "very steep"])
@pytest.mark.parametrize("cooling", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("size", [4, 12], ids=["some", "all"])
def test_log_prob_is_one_softmax_after_another(scale: float, cooling: float, size: int) -> None:
    rng = np.random.default_rng(3)
    category = rng.integers(3, size=12)
    logits = (scale * rng.normal(size=(20, 12))).astype(np.float32)
    slates = random_slates(rng, 20, 12, size)
    slots, entropy = each_log_prob(logits, slates, one_hot(list(category), 3), jnp.float32(cooling))
    expected = np.stack([naive(x, s, category, cooling) for x, s in zip(logits, slates, strict=True)])
    np.testing.assert_allclose(slots, expected, rtol=2e-5, atol=2e-5)
    p = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    p = p / p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(entropy, scipy.stats.entropy(p, axis=1), rtol=1e-3, atol=2e-5)


def test_without_cooling_categories_do_not_matter() -> None:
    rng = np.random.default_rng(4)
    slates, logits = random_slates(rng, 10, 9, 5), rng.normal(size=9).astype(np.float32)
    one, _ = log_probs(logits, slates, one_hot([0] * 9, 1), jnp.float32(0.0))
    three, _ = log_probs(logits, slates, one_hot([0, 1, 2] * 3, 3), jnp.float32(0.0))
    np.testing.assert_allclose(one, three, atol=2e-6)
    for slate, slots in zip(slates, one, strict=True):
        chosen = logits[slate].astype(np.float64)
        rest = np.exp(logits.astype(np.float64)).sum() - np.cumsum(np.exp(chosen)) + np.exp(chosen)
        np.testing.assert_allclose(slots, chosen - np.log(rest), atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 20.0, 60.0])
def test_gradients_are_finite(scale: float) -> None:
    rng = np.random.default_rng(5)
    logits = (scale * rng.uniform(-1, 1, size=(20, 12))).astype(np.float32)
    membership = one_hot([0, 1, 2] * 4, 3)

    def total(logits: Array, slate: Array, cooling: Array) -> Array:
        slots, entropy = plackett_luce.log_prob(logits, slate, membership, cooling)
        return jnp.sum(slots) + entropy

    for size in (4, 12):
        slates = random_slates(rng, 20, 12, size)
        grads = jax.jit(jax.vmap(jax.grad(total, (0, 2)), (0, 0, None)))(logits, slates, jnp.float32(0.5))
        chex.assert_tree_all_finite(grads)
        # Adding one number to all logits changes nothing, so the gradient sums to 0.
        if scale < plackett_luce.DEPTH / 2:
            np.testing.assert_allclose(jnp.sum(grads[0], axis=1), 0.0, atol=1e-3)


def test_gradient_is_the_slope() -> None:
    rng = np.random.default_rng(6)
    logits, slate = rng.normal(size=8), rng.permutation(8)[:4]
    category = np.arange(8) % 3
    membership = one_hot(list(category), 3)
    grad, cool = jax.jit(jax.grad(lambda x, c: jnp.sum(plackett_luce.log_prob(x, slate, membership, c)[0]), (0, 1)))(
        jnp.asarray(logits, jnp.float32), jnp.float32(0.6)
    )
    step = 1e-5
    at = lambda x, c: naive(x, slate, category, c).sum()  # noqa: E731
    bumps = step * np.eye(8)
    slope = [(at(logits + b, 0.6) - at(logits - b, 0.6)) / (2 * step) for b in bumps]
    np.testing.assert_allclose(grad, slope, atol=1e-4)
    assert float(cool) == pytest.approx((at(logits, 0.6 + step) - at(logits, 0.6 - step)) / (2 * step), abs=1e-4)


# -- sample --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cooling", [0.0, 0.9])
def test_slates_come_as_often_as_log_prob_says(key: Array, cooling: float) -> None:
    draws = 100_000
    logits, membership = jnp.asarray([0.2, -0.9, 1.1, 0.5, -0.3, 0.8, 0.0]), one_hot([0, 0, 1, 1, 1, 2, 0], 3)
    drawn = jax.jit(
        lambda keys: jax.lax.map(
            lambda k: plackett_luce.sample(k, logits, 3, membership, jnp.float32(cooling)), keys, batch_size=5000
        )
    )(jax.random.split(key, draws))
    chex.assert_shape(drawn, (draws, 3))
    slates = np.asarray(list(itertools.permutations(range(7), 3)), np.int32)
    slots, _ = log_probs(logits, slates, membership, jnp.float32(cooling))
    code = np.asarray(drawn) @ np.array([49, 7, 1])
    seen = np.array([np.sum(code == c) for c in slates @ np.array([49, 7, 1])])
    assert seen.sum() == draws  # nothing but permutations
    expected = np.exp(np.asarray(slots, np.float64).sum(axis=1))
    assert scipy.stats.chisquare(seen, draws * expected / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize("n_items", [5, 12, 30])
@pytest.mark.parametrize("scale", [1.0, 60.0, 1000.0])
def test_never_an_item_twice(key: Array, n_items: int, scale: float) -> None:
    rng = np.random.default_rng(7)
    logits = jnp.asarray(rng.uniform(-scale, scale, size=(500, n_items)), jnp.float32)
    membership = one_hot(list(rng.integers(4, size=n_items)), 4)
    sample = jax.jit(jax.vmap(lambda k, x: plackett_luce.sample(k, x, n_items, membership, jnp.float32(0.7))))
    slates = np.asarray(sample(jax.random.split(key, 500), logits))
    np.testing.assert_array_equal(np.sort(slates, axis=1), np.broadcast_to(np.arange(n_items), slates.shape))


def test_what_is_left_is_drawn_in_proportion_after_heavy_items(key: Array) -> None:
    """Two heavy items first; what follows is lighter by 30 nats, and is drawn by its own weights all the same."""
    draws = 20_000
    logits, membership = jnp.asarray([30.0, 0.0, 1.0, 30.0, 0.5, -1.0]), one_hot([0, 0, 0, 1, 1, 2], 3)
    drawn = jax.jit(jax.vmap(lambda k: plackett_luce.sample(k, logits, 3, membership, jnp.float32(0.4))))(
        jax.random.split(key, draws)
    )
    third = np.bincount(np.asarray(drawn)[:, 2], minlength=6)
    slates = jnp.asarray([[0, 3, i] for i in (1, 2, 4, 5)])
    expected = np.exp(np.asarray(log_probs(logits, slates, membership, jnp.float32(0.4))[0][:, 2], np.float64))
    assert third[0] == third[3] == 0
    assert scipy.stats.chisquare(third[[1, 2, 4, 5]], draws * expected / expected.sum()).pvalue > 1e-3
