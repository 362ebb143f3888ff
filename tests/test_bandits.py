"""Linear bandits: the posterior against its closed form, LinUCB against plain loops, Thompson's guesses against the posterior."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.agents.linucb import LinUCB
from jaxreco.agents.thompson import Thompson
from jaxreco.base import CLICK, EXAMINED, Observation
from jaxreco.learning.bandit import outcomes
from jaxreco.learning.posterior import Posterior

Array = jax.Array
R, NOISE = 4, 0.3


def known(rows: np.ndarray, outcome: np.ndarray, mean: np.ndarray, doubt: float, noise: float) -> tuple[Any, Any]:
    """Mean and covariance of the weights (Bishop 2006, equations 3.50 and 3.51)."""
    covariance = np.linalg.inv(np.eye(len(mean)) / doubt + rows.T @ rows / noise)
    return covariance @ (mean / doubt + rows.T @ outcome / noise), covariance


def a_posterior() -> tuple[Posterior, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows, outcome, mean = rng.normal(size=(9, R)), rng.normal(size=9), rng.normal(size=R)
    found = Posterior(jnp.asarray(mean, jnp.float32), jnp.sqrt(2.0) * jnp.eye(R))
    for row, said in zip(rows, outcome, strict=True):
        found = found.after(jnp.asarray(row, jnp.float32), jnp.float32(said), NOISE)
    return found, rows, outcome, mean


def test_row_by_row_it_is_bayesian_regression():
    found, rows, outcome, prior = a_posterior()
    mean, covariance = known(rows, outcome, prior, 2.0, NOISE)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.root @ found.root.T, covariance, rtol=1e-3, atol=1e-5)


def test_what_is_not_there_teaches_nothing():
    found, rows, *_ = a_posterior()
    same = found.after(jnp.asarray(rows[0], jnp.float32), jnp.float32(7.0), NOISE, there=jnp.bool_(False))
    np.testing.assert_array_equal(same.mean, found.mean)
    np.testing.assert_array_equal(same.root, found.root)


def test_ten_thousand_rows_leave_a_covariance():
    row = jnp.asarray([1.0, 1e-3, 0.0, 1.0])
    found, _ = jax.lax.scan(
        lambda p, _: (p.after(row, jnp.float32(1.0), 0.1), None), Posterior(jnp.zeros(R), jnp.eye(R)), length=10_000
    )
    assert np.linalg.eigvalsh(np.asarray(found.root @ found.root.T, np.float64)).min() > 0.0
    assert row @ found.mean == pytest.approx(1.0, abs=1e-4)
    assert float(jnp.linalg.norm(row @ found.root)) == pytest.approx(np.sqrt(0.1 / 10_000), rel=0.1)


def test_draws_are_of_the_posterior():
    found, *_ = a_posterior()
    drawn = np.asarray(jax.vmap(found.draw)(jax.random.normal(jax.random.key(0), (20_000, R))))
    np.testing.assert_allclose(drawn.mean(axis=0), found.mean, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), found.root @ found.root.T, atol=0.02)


def seen(feed: Any, key: Array) -> Observation:
    """An observation after a slate of which three slots were looked at, one of them watched by half."""
    env, params = feed
    obs, _ = env.reset(key, params)
    size = env.slate_size
    slate = jnp.arange(3, 3 + size, dtype=jnp.int32)
    looked = jnp.arange(size) < 3
    actions = jnp.where(looked, EXAMINED, 0).at[1].add(CLICK)
    watch = jnp.zeros(size).at[1].set(0.5 * params.catalog.duration[4])
    return dataclasses.replace(obs, slate=slate, actions=actions.astype(obs.actions.dtype), watch=watch)


def test_what_was_not_looked_at_has_no_outcome(feed: Any, key: Array):
    item, watched, looked = outcomes(seen(feed, key), feed[1].catalog)
    assert item[:3].tolist() == [3, 4, 5]
    np.testing.assert_allclose(watched[:3], [0.0, 0.5, 0.0], rtol=1e-6)
    assert looked.tolist() == [True] * 3 + [False] * (len(looked) - 3)


def test_linucb_is_ridge_regression_and_a_bound(feed: Any, key: Array):
    """Against matrices inverted anew for every slot."""
    env, params = feed
    agent = LinUCB(width=0.7, noise=NOISE, anchors=6)
    given = agent.init(jax.random.key(2), env, params.catalog)
    obs = seen(feed, key)
    slate, _, _ = agent.act(key, given, agent.reset(given), obs, params.catalog)
    items, prior = np.asarray(given.items, np.float64), np.asarray(given.prior.mean, np.float64)
    rows, outcome, chosen = items[[3, 4, 5]], np.array([0.0, 0.5, 0.0]), []
    mean, _ = known(rows, outcome, prior, agent.doubt, NOISE)
    for _ in range(env.slate_size):
        _, covariance = known(rows, np.zeros(len(rows)), prior, agent.doubt, NOISE)
        bound = items @ mean + 0.7 * np.sqrt(np.einsum("ir,rs,is->i", items, covariance, items))
        bound[[*chosen]] = -np.inf
        chosen.append(int(bound.argmax()))
        rows = np.vstack([rows, items[chosen[-1]]])
    assert np.asarray(obs.history.item).max() < 0  # nothing is left out as seen
    assert slate.tolist() == chosen


def test_a_slate_asks_several_things(feed: Any, key: Array):
    env, params = feed
    agent = LinUCB(width=3.0, anchors=6)
    given = agent.init(jax.random.key(2), env, params.catalog)
    obs, _ = env.reset(key, params)
    slate, _, _ = agent.act(key, given, agent.reset(given), obs, params.catalog)
    bound = given.items @ given.prior.mean + 3.0 * jnp.sqrt(given.unknown)
    alike = jax.lax.top_k(bound, env.slate_size)[1]  # each slot as if it were the only one

    def spread(those: Array) -> float:
        return float(jnp.mean(jnp.square(given.items[those] - given.items[those].mean(axis=0))))

    assert spread(slate) > 1.2 * spread(alike)


@pytest.mark.parametrize("make", [LinUCB, Thompson])
def test_without_doubt_both_are_greedy(make: Any, feed: Any, key: Array):
    env, params = feed
    agent = make(width=0.0, anchors=6)
    given = agent.init(jax.random.key(2), env, params.catalog)
    obs = seen(feed, key)
    act = lambda k: agent.act(k, given, agent.reset(given), obs, params.catalog)  # noqa: E731
    slate, memory, _ = act(key)
    weights = getattr(memory, "weights", memory)
    best = jax.lax.top_k(given.items @ weights.mean, env.slate_size)[1]
    assert slate.tolist() == best.tolist()
    keys = jax.random.split(key, 5)
    np.testing.assert_array_equal(jax.vmap(lambda k: act(k)[0])(keys), np.stack([act(k)[0] for k in keys]))


def test_thompson_guesses_anew_in_every_slot(feed: Any, key: Array):
    """Of two items that are best alike each opens about half of the slates."""
    env, params = feed
    agent = Thompson(width=1.0, anchors=6)
    given = agent.init(jax.random.key(2), env, params.catalog)
    items = jnp.zeros_like(given.items).at[:2, :2].set(3.0 * jnp.eye(2))
    given = given.replace(items=items, prior=given.prior.replace(mean=jnp.zeros(items.shape[1]).at[:2].set(1.0)))
    obs, _ = env.reset(key, params)
    act = jax.vmap(lambda k: agent.act(k, given, agent.reset(given), obs, params.catalog)[0])
    slates = np.asarray(act(jax.random.split(key, 400)))
    first = np.bincount(slates[:, 0], minlength=env.n_items) / 400
    assert first[:2].sum() > 0.9
    assert abs(first[0] - first[1]) < 0.2
