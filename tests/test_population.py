"""Pools of users: picking rows, overriding columns, weighing segments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxreco import rng
from jaxreco.population import SEGMENTS, Population, override, segment, top_share, weigh
from jaxreco.struct import Struct


class Column(Struct):
    value: Any


def pool(weights: list[float]) -> Population:
    """Rows 0, 10, 20, ... with these weights."""
    return Population(traits=Column(jnp.arange(len(weights)) * 10.0), weights=jnp.array(weights, jnp.float32))


# -- picking -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uniform", "row"), [(0.001, 0), (0.199, 0), (0.201, 1), (0.499, 1), (0.501, 3), (0.999, 3), (1 - 2.0**-24, 3)]
)
def test_pick_is_the_quantile_of_the_weights(uniform: float, row: int) -> None:
    # weights 2, 3, 0, 5: cumulative shares 0.2, 0.5, 0.5, 1
    assert int(pool([2, 3, 0, 5]).pick(jnp.float32(uniform))) == row


def test_rows_come_in_proportion_to_their_weights() -> None:
    weights = [0.5, 0.0, 4.0, 1.5, 0.25]
    n = 50_000
    rows = np.asarray(jax.vmap(pool(weights).pick)(rng.uniforms(jax.random.key(0), n)))
    counts, expected = np.bincount(rows, minlength=5), n * np.array(weights) / sum(weights)
    assert counts[1] == 0
    assert stats.chisquare(np.delete(counts, 1), np.delete(expected, 1)).pvalue > 1e-3


@pytest.mark.parametrize("weights", [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1e-30, 0, 0], [0, 1e30, 0, 0]])
def test_a_row_without_weight_never_comes(weights: list[float]) -> None:
    edges = jnp.array([2.0**-24, 0.1, 0.5, 0.9, 1 - 2.0**-24])
    rows = jax.vmap(pool(weights).pick)(edges)
    assert set(np.asarray(rows).tolist()) == {int(np.argmax(weights))}


def test_a_last_row_without_weight_never_comes_whatever_the_total() -> None:
    for total in np.linspace(1, 3, 200):
        assert int(pool([float(total) / 3] * 3 + [0.0]).pick(jnp.float32(1 - 2.0**-24))) == 2


def test_row_has_the_traits_without_the_pools_axis() -> None:
    assert float(pool([1, 1, 1]).row(jnp.int32(2)).value) == 20.0
    assert pool([1, 1, 1]).size == 3


# -- override ------------------------------------------------------------------------------------------------


def test_override_sets_a_column_for_everybody(feed: Any) -> None:
    _, params = feed
    changed = override(params, patience=2, trust=0.25)
    np.testing.assert_array_equal(changed.population.traits.patience, np.full(32, 2.0))
    np.testing.assert_array_equal(changed.population.traits.trust, np.full(32, 0.25))
    np.testing.assert_array_equal(changed.population.traits.taste, params.population.traits.taste)
    assert changed.population.traits.patience.dtype == jnp.float32
    assert np.std(params.population.traits.patience) > 0  # the original is as it was


def test_override_takes_a_value_a_user_too(feed: Any) -> None:
    _, params = feed
    column = jnp.linspace(0.0, 1.0, 32)
    np.testing.assert_array_equal(override(params, trust=column).population.traits.trust, column)
    taste = jnp.zeros((3, 16)).at[:, 0].set(1.0)
    assert override(params, taste=taste).population.traits.taste.shape == (32, 3, 16)


def test_override_compiles_nothing_anew(feed: Any) -> None:
    env, params = feed
    traces = []

    @jax.jit
    def trust(params: Any) -> Any:
        traces.append(None)
        return env.reset(jax.random.key(0), params)[1].user.trust

    assert float(trust(params)) == pytest.approx(float(trust(override(params, patience=1))), rel=1e-6)
    assert float(trust(override(params, trust=0.125))) == 0.125
    assert len(traces) == 1


def test_override_refuses_what_is_not_there(feed: Any) -> None:
    _, params = feed
    with pytest.raises(ValueError, match=r"no trait 'patient'\. Did you mean patience"):
        override(params, patient=1.0)
    with pytest.raises(ValueError, match="no trait 'replace'"):  # a method is not a column
        override(params, replace=1.0)
    with pytest.raises(ValueError, match="31"):
        override(params, trust=jnp.ones(31))


# -- segments ------------------------------------------------------------------------------------------------


def test_weigh_keeps_the_rows_and_changes_who_comes(feed: Any) -> None:
    env, params = feed
    only = weigh(params, jnp.zeros(32).at[7].set(3.0))
    np.testing.assert_array_equal(only.population.traits.taste, params.population.traits.taste)
    states = jax.jit(jax.vmap(env.reset, (0, None)))(jax.random.split(jax.random.key(0), 16), only)[1]
    assert (np.asarray(states.user.row) == 7).all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(31), "weights has shape \\(31,\\); the population has 32 rows"),
        (np.ones((32, 1)), "has shape"),
        (-np.ones(32), "at least 0 and not all 0"),
        (np.zeros(32), "at least 0 and not all 0"),
        (np.full(32, np.nan), "at least 0 and not all 0"),
    ],
)
def test_weigh_refuses_weights_that_pick_nobody(feed: Any, weights: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weigh(feed[1], weights)


def test_top_share_by_hand() -> None:
    np.testing.assert_array_equal(top_share(jnp.arange(8.0)), [0, 0, 0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(top_share(jnp.array([3.0, 1.0, 2.0, 0.0]), 0.5), [1, 0, 1, 0])


# the trait by which a segment is the top (or, with a minus, the bottom) quarter
BY_TRAIT = {
    "explorers": ("novelty", 1),
    "loyal": ("habit_hours", -1),
    "occasional": ("habit_hours", 1),
    "bingers": ("budget_minutes", 1),
    "hurried": ("budget_minutes", -1),
    "impatient": ("patience", -1),
    "gullible": ("gullibility", 1),
    "sceptics": ("trust", -1),
}


def test_every_segment_is_known_here() -> None:
    assert set(SEGMENTS) == {"everyone", *BY_TRAIT}


@pytest.mark.parametrize("name", list(BY_TRAIT))
def test_a_segment_is_a_quarter_of_the_users(feed: Any, name: str) -> None:
    _, params = feed
    trait, sign = BY_TRAIT[name]
    weights = np.asarray(segment(params, name).population.weights)
    column = sign * np.asarray(getattr(params.population.traits, trait))
    assert weights.sum() == 8
    assert column[weights > 0].min() > column[weights == 0].max()


def test_segments_multiply_the_weights_they_find(feed: Any) -> None:
    _, params = feed
    np.testing.assert_array_equal(segment(params, "everyone").population.weights, np.ones(32))
    tripled = weigh(params, jnp.full(32, 3.0))
    assert set(np.asarray(segment(tripled, "loyal").population.weights).tolist()) == {0.0, 3.0}
    assert segment(segment(params, "loyal"), "loyal").population.weights.sum() == 8
    with pytest.raises(ValueError, match=r"no segment 'loyl'\. Did you mean loyal"):
        segment(params, "loyl")
