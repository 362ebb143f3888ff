"""Advantages: against rlax, and by hand where episodes end."""

from __future__ import annotations

import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.learning.returns import gae

with warnings.catch_warnings():  # rlax imports what jax is about to drop
    warnings.simplefilter("ignore")
    import rlax

T = 12
NEVER = np.zeros(T, bool)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.float32, np.ndarray]:
    """Rewards, values, last value, discounts by elapsed hours."""
    rng = np.random.default_rng(seed)
    reward, value = rng.normal(size=(2, T)).astype(np.float32)
    discount = np.exp(-rng.exponential(20.0, size=T) / 168.0).astype(np.float32)
    return reward, value, np.float32(rng.normal()), discount


@pytest.mark.parametrize("trace_decay", [0.0, 0.5, 0.95, 1.0])
def test_without_ends_it_is_rlax(trace_decay: float) -> None:
    reward, value, last, discount = drawn(0)
    ours = jax.jit(gae)(reward, value, last, discount, NEVER, NEVER, np.zeros(T, np.float32), trace_decay)
    values = jnp.append(value, last)
    theirs = rlax.truncated_generalized_advantage_estimation(
        jnp.asarray(reward), jnp.asarray(discount), trace_decay, values
    )
    chex.assert_shape(ours, (T,))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_terminated_by_hand() -> None:
    """Two turns, then the end: nothing follows, and nothing of the next episode flows back."""
    reward, value = np.float32([1.0, 2.0, 5.0]), np.float32([0.5, 1.0, 3.0])
    discount, ends = np.float32([0.9, 0.8, 0.5]), np.array([False, True, False])
    bootstrap = np.float32([7.0, 7.0, 7.0])  # must not be looked at
    got = gae(reward, value, np.float32(4.0), discount, ends, np.zeros(3, bool), bootstrap, 0.5)
    second = 2.0 - 1.0
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.9 * 0.5 * second
    np.testing.assert_allclose(got, [first, second, 5.0 + 0.5 * 4.0 - 3.0], rtol=1e-6)


def test_truncated_by_hand() -> None:
    """What was cut off is worth the bootstrap, discounted."""
    reward, value = np.float32([1.0, 2.0, 5.0]), np.float32([0.5, 1.0, 3.0])
    discount, ends = np.float32([0.9, 0.8, 0.5]), np.array([False, True, False])
    bootstrap = np.float32([0.0, 6.0, 0.0])
    got = gae(reward, value, np.float32(4.0), discount, np.zeros(3, bool), ends, bootstrap, 0.5)
    second = 2.0 + 0.8 * 6.0 - 1.0
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.9 * 0.5 * second
    np.testing.assert_allclose(got, [first, second, 5.0 + 0.5 * 4.0 - 3.0], rtol=1e-6)


def test_terminated_wins_over_truncated() -> None:
    one, no = np.ones(1, np.float32), np.array([True])
    got = gae(2 * one, one, np.float32(9.0), one, no, no, 5 * one, 0.9)
    np.testing.assert_allclose(got, [1.0])


def test_last_turn_ending_ignores_the_last_value() -> None:
    reward, value, _, discount = drawn(1)
    ends = NEVER.copy()
    ends[-1] = True
    nothing = np.zeros(T, np.float32)
    one, other = (gae(reward, value, np.float32(v), discount, ends, NEVER, nothing, 0.9) for v in (0.0, 100.0))
    np.testing.assert_array_equal(one, other)


def test_episodes_are_reckoned_apart() -> None:
    reward, value, last, discount = drawn(2)
    ends, nothing = NEVER.copy(), np.zeros(T, np.float32)
    ends[4] = True
    whole = gae(reward, value, last, discount, ends, NEVER, nothing, 0.9)
    alone = gae(reward[5:], value[5:], last, discount[5:], NEVER[5:], NEVER[5:], nothing[5:], 0.9)
    np.testing.assert_allclose(whole[5:], alone, rtol=1e-6)
    head = gae(reward[:5], value[:5], np.float32(0.0), discount[:5], NEVER[:5], NEVER[:5], nothing[:5], 0.9)
    np.testing.assert_allclose(whole[:5], head, rtol=1e-6)


def test_credit_fades_with_hours_not_with_turns() -> None:
    """With lambda 1 a reward after h hours counts exp(-h / tau), in however many turns the hours went by."""
    tau, hours = 168.0, 48.0
    for turns in (2, 6):
        reward = np.zeros(turns + 1, np.float32)
        reward[-1] = 1.0
        discount = np.full(turns + 1, np.exp(-hours / turns / tau), np.float32)
        no, nothing = np.zeros(turns + 1, bool), np.zeros(turns + 1, np.float32)
        got = gae(reward, nothing, np.float32(0.0), discount, no, no, nothing, 1.0)
        assert float(got[0]) == pytest.approx(np.exp(-hours / tau), rel=1e-5)
