"""The objective by hand, and the worth of outcomes on data whose worth is known."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.learning.objective import clipped_surrogate, outcome_worth


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, 2.0),
        (1.1, 2.0, 2.2),  # within the clip
        (1.5, 2.0, 2.4),  # better and more likely already: no more to gain
        (0.5, 2.0, 1.0),  # better and less likely: the whole way back
        (1.5, -2.0, -3.0),  # worse and more likely: the whole loss
        (0.5, -2.0, -1.6),  # worse and less likely already
        (1.5, 0.0, 0.0),
    ],
)
def test_clipped_surrogate_by_hand(ratio: float, advantage: float, expected: float) -> None:
    got = clipped_surrogate(jnp.log(jnp.float32(ratio)), jnp.float32(advantage), 0.2)
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_gradient_stops_where_it_is_clipped() -> None:
    slope = jax.vmap(jax.grad(clipped_surrogate), (0, 0, None))
    log_ratio = jnp.log(jnp.asarray([1.1, 1.5, 0.5, 1.5, 0.5]))
    got = slope(log_ratio, jnp.asarray([2.0, 2.0, 2.0, -2.0, -2.0]), 0.2)
    np.testing.assert_allclose(got, [2.2, 0.0, 1.0, -3.0, 0.0], rtol=1e-5)


def test_surrogate_is_elementwise() -> None:
    rng = np.random.default_rng(0)
    log_ratio, advantage = rng.normal(size=(2, 3, 4)).astype(np.float32)
    got = clipped_surrogate(log_ratio, advantage, 0.2)
    chex.assert_shape(got, (3, 4))
    ratio = np.exp(log_ratio)
    np.testing.assert_allclose(got, np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage), rtol=1e-5)


def test_outcome_worth_recovers_what_outcomes_are_worth() -> None:
    rng = np.random.default_rng(1)
    outcome = rng.gamma(2.0, size=(4000, 3)) * [1.0, 5.0, 0.2]
    worth = np.array([2.0, -0.5, 7.0])
    advantage = 3.0 + outcome @ worth + rng.normal(size=4000)
    got = outcome_worth(jnp.asarray(advantage, jnp.float32), jnp.asarray(outcome, jnp.float32))
    chex.assert_shape(got, (3,))
    np.testing.assert_allclose(got, worth, rtol=0.05, atol=0.1)  # 0.1 is two standard errors of the last


def test_outcome_worth_is_ridge_regression() -> None:
    rng = np.random.default_rng(2)
    outcome, advantage = rng.normal(size=(50, 3)), rng.normal(size=50)
    x, y = outcome - outcome.mean(axis=0), advantage - advantage.mean()
    gram = x.T @ x / 50
    penalty = 0.3 * np.diag(np.diagonal(gram))
    got = outcome_worth(jnp.asarray(advantage, jnp.float32), jnp.asarray(outcome, jnp.float32), ridge=0.3)
    np.testing.assert_allclose(got, np.linalg.solve(gram + penalty, x.T @ y / 50), rtol=1e-3, atol=1e-4)


def test_outcomes_that_never_vary_are_worth_nothing() -> None:
    rng = np.random.default_rng(3)
    outcome = np.stack([rng.normal(size=100), np.full(100, 2.0), np.zeros(100)], axis=1)
    got = outcome_worth(jnp.asarray(4.0 * outcome[:, 0], jnp.float32), jnp.asarray(outcome, jnp.float32))
    np.testing.assert_allclose(got, [4.0, 0.0, 0.0], atol=0.01)
