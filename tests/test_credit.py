"""Credit: turns' advantages by hand, for each way to learn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.learning.config import TrainConfig
from jaxreco.learning.credit import advantages

HALF = 0.5  # discount of every turn


def block(**more: Any) -> Any:
    """Two turns of four lives. The last life ends for good with its first turn."""
    reward = jnp.asarray([[1.0, 3.0, 0.0, 2.0], [2.0, 2.0, 4.0, 6.0]])
    terminated = jnp.zeros((2, 4), bool).at[0, 3].set(True)
    return SimpleNamespace(
        reward=reward,
        terminated=terminated,
        truncated=jnp.zeros((2, 4), bool),
        bootstrap=jnp.asarray([[0.0] * 4, [8.0, 8.0, 8.0, 8.0]]),
        info={"discount": jnp.full((2, 4), HALF)},
        extras=SimpleNamespace(value=jnp.asarray([[1.0] * 4, [2.0] * 4])),
        **more,
    )


def config(objective: str, **more: Any) -> TrainConfig:
    return TrainConfig(objective=objective, users=4, minibatches=2, **more)


def test_reinforce_credits_all_that_followed_less_what_was_expected():
    found, returns = advantages(block(), jnp.float32(0.0), config("reinforce"))
    last = np.array([2.0, 2.0, 4.0, 6.0]) + HALF * 8.0
    first = np.array([1.0, 3.0, 0.0, 2.0]) + HALF * last * [1, 1, 1, 0]
    np.testing.assert_allclose(returns, [first, last])
    np.testing.assert_allclose(found, [first - 1.0, last - 2.0])


def test_ppo_fades_what_lies_ahead():
    found, returns = advantages(block(), jnp.float32(0.0), config("ppo", trace_decay=0.4))
    last = np.array([2.0, 2.0, 4.0, 6.0]) + HALF * 8.0 - 2.0
    first = (
        np.array([1.0, 3.0, 0.0, 2.0]) + HALF * 2.0 * np.array([1, 1, 1, 0]) - 1.0 + 0.4 * HALF * last * [1, 1, 1, 0]
    )
    np.testing.assert_allclose(found, [first, last], rtol=1e-6)
    np.testing.assert_allclose(returns, [first + 1.0, last + 2.0], rtol=1e-6)


@pytest.mark.parametrize("scaled", [False, True])
def test_grpo_credits_what_others_in_the_same_place_did_not_get(scaled: bool):
    """Nothing that a critic says matters; after the block follows what usually follows."""
    usual = 10.0
    found, returns = advantages(block(), jnp.float32(usual), config("grpo", group=2, scaled=scaled))
    last = np.array([2.0, 2.0, 4.0, 6.0]) + HALF * usual
    first = np.array([1.0, 3.0, 0.0, 2.0]) + HALF * last * [1, 1, 1, 0]
    np.testing.assert_allclose(returns, [first, last])
    groups = np.stack([first, last]).reshape(2, 2, 2)
    better = groups - groups.mean(axis=2, keepdims=True)
    if scaled:
        better /= groups.std(axis=2, keepdims=True) + 1e-6
    np.testing.assert_allclose(found, better.reshape(2, 4), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(found).reshape(2, 2, 2).sum(axis=2), 0.0, atol=1e-5)
    assert found[1, 0] == 0.0  # both of the first group had the same
