"""The objective by hand, and the worth of outcomes on data whose worth is known."""

from __future__ import annotations

import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():  # rlax imports what jax is about to drop
    warnings.simplefilter("ignore")
    import rlax

from jaxreco.learning.objective import clipped_surrogate, divergence, group_advantage, outcome_worth, score_function


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


# -- reinforce, grpo, divergence -------------------------------------------------------------------------------


def test_the_score_function_ascends_the_expected_reward() -> None:
    """Its gradient, averaged over all actions by their chances, is that of the expected reward, with any baseline."""
    logits, reward = jnp.asarray([0.3, -1.0, 0.8]), jnp.asarray([1.0, 5.0, -2.0])
    exact = jax.grad(lambda x: jax.nn.softmax(x) @ reward)(logits)

    def surrogate(x: jax.Array, baseline: float) -> jax.Array:
        chance = jax.lax.stop_gradient(jax.nn.softmax(x))
        return chance @ score_function(jax.nn.log_softmax(x), reward - baseline)

    for baseline in (0.0, 3.0):
        np.testing.assert_allclose(jax.grad(surrogate)(logits, baseline), exact, atol=1e-6)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # rlax's of its own parts
def test_score_function_is_that_of_rlax() -> None:
    rng = np.random.default_rng(0)
    logits, actions = rng.normal(size=(7, 4)).astype(np.float32), rng.integers(4, size=7)
    advantage = rng.normal(size=7).astype(np.float32)

    def ours(x: jax.Array) -> jax.Array:
        chosen = jax.nn.log_softmax(x)[jnp.arange(7), actions]
        return -jnp.mean(score_function(chosen, jnp.asarray(advantage)))

    def theirs(x: jax.Array) -> jax.Array:
        return rlax.policy_gradient_loss(x, jnp.asarray(actions), jnp.asarray(advantage), jnp.ones(7))

    np.testing.assert_allclose(jax.grad(ours)(logits), jax.grad(theirs)(logits), atol=1e-6)


def test_a_group_is_its_own_baseline() -> None:
    returns = jnp.asarray([1.0, 3.0, 5.0, 7.0])
    np.testing.assert_allclose(group_advantage(returns, scaled=False), [-3.0, -1.0, 1.0, 3.0])
    np.testing.assert_allclose(
        group_advantage(returns, scaled=True), np.array([-3, -1, 1, 3]) / np.sqrt(5.0), rtol=1e-5
    )
    assert (
        group_advantage(jnp.full(4, 2.5), scaled=True).tolist() == [0.0] * 4
    )  # nothing is told apart, and nothing divided by 0


def test_divergence_is_never_negative_and_right_on_average() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = (jax.nn.log_softmax(jnp.asarray(rng.normal(size=6), jnp.float32)) for _ in range(2))
    each = divergence(theirs - ours)
    assert (each >= 0.0).all()
    exact = float(jnp.exp(ours) @ (ours - theirs))
    assert float(jnp.exp(ours) @ each) == pytest.approx(exact, rel=1e-5)
    assert divergence(jnp.float32(0.0)) == 0.0
