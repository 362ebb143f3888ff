"""Agents side by side: paired users, whole episodes, honest intervals."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest
from conftest import coin_world

import jaxreco
from jaxreco import evaluation
from jaxreco.lanes import Stage

Array = jax.Array
USERS = 6


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any]:
    """Coins that leave often and live a week."""
    env, params = coin_world()
    return env, params.replace(horizon_hours=168.0)


def lived(world: Any, key: Array, name: str, **options: Any) -> evaluation.Life:
    env, params = world
    agent, agent_params = jaxreco.make_agent(name, jax.random.key(1), env, params)
    return evaluation.live(key, env, params, agent, agent_params, users=USERS, **options)


@pytest.fixture(scope="module")
def random_life(world: Any, key: Array) -> evaluation.Life:
    return lived(world, key, "random")


# -- live ----------------------------------------------------------------------------------------------------


def test_everybody_finishes_at_the_horizon(random_life: evaluation.Life) -> None:
    assert random_life.finished.all()
    assert random_life.finished.shape == (USERS,)
    assert (random_life.tally.hours >= 168.0).all()  # nobody is lost before: gaps of 20 hours, churn at 720
    assert (random_life.tally.churned == 0).all()
    assert (random_life.tally.turns < 32 * 20).all()
    assert random_life.seconds > 0
    assert 0 < random_life.overlap < 1


@pytest.mark.bits
def test_same_key_same_life(world: Any, key: Array, random_life: evaluation.Life) -> None:
    again = lived(world, key, "random")
    for one, other in zip(jax.tree.leaves(random_life.tally), jax.tree.leaves(again.tally), strict=True):
        np.testing.assert_array_equal(one, other)
    other = lived(world, jax.random.key(5), "random")
    assert (other.tally.reward != random_life.tally.reward).any()


def test_same_key_same_users_under_another_agent(world: Any, key: Array) -> None:
    rows = []
    for name in ("random", "popularity"):
        agent, agent_params = jaxreco.make_agent(name, jax.random.key(1), *world)
        stage = Stage.of(key, *world, agent, agent_params)  # type: ignore[call-arg, misc]
        rows.append(stage.begin(range(USERS))[0].state.user)
    for one, other in zip(*map(jax.tree.leaves, rows), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.bits
def test_few_lanes_tell_the_same_lives(world: Any, key: Array, random_life: evaluation.Life) -> None:
    shares: list[float] = []
    few = lived(world, key, "random", progress=shares.append, lanes=2)
    for one, other in zip(jax.tree.leaves(random_life.tally), jax.tree.leaves(few.tally), strict=True):
        np.testing.assert_array_equal(one, other)
    assert few.finished.all()
    assert shares == sorted(shares)
    assert len(shares) > 3


@pytest.mark.bits
def test_the_order_of_lanes_changes_no_life(world: Any, key: Array, random_life: evaluation.Life) -> None:
    order = evaluation.longest_first([random_life])
    assert order is not None
    assert sorted(order) == list(range(USERS))
    turns = np.asarray(random_life.tally.turns)[order]
    assert (np.diff(turns) <= 0).all()
    assert turns[0] > turns[-1]
    again = lived(world, key, "random", order=order, lanes=2)
    for one, other in zip(jax.tree.leaves(random_life.tally), jax.tree.leaves(again.tally), strict=True):
        np.testing.assert_array_equal(one, other)
    assert evaluation.longest_first([]) is None


def test_max_turns_stops_what_does_not_end(world: Any, key: Array) -> None:
    env, params = world
    shares: list[float] = []
    life = lived((env, params.replace(horizon_hours=1e9)), key, "random", max_turns=40, progress=shares.append)
    assert not life.finished.any()
    assert shares == [0.0, 1.0]
    np.testing.assert_array_equal(life.tally.turns, 2 * evaluation.CHUNK)


def test_columns(random_life: evaluation.Life) -> None:
    tally = random_life.tally
    for metric in evaluation.METRICS:
        assert random_life.column(metric).shape == (USERS,)
        assert random_life.column(metric).dtype == np.float64
    np.testing.assert_allclose(random_life.column("turns_per_session"), tally.turns / tally.sessions, rtol=1e-6)
    np.testing.assert_allclose(random_life.column("gap_hours"), tally.gap_hours / tally.gaps, rtol=1e-6)
    with pytest.raises(KeyError):
        random_life.column("nonsense")


# -- numbers -------------------------------------------------------------------------------------------------


def test_interval_covers_the_mean_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        mean, low, high = evaluation.interval(rng.normal(3.0, 2.0, size=60), seed=trial, resamples=300)
        assert low <= mean <= high
        covered += low <= 3.0 <= high
    assert 180 <= covered <= 198


def test_interval_is_as_wide_as_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(size=400)
    mean, low, high = evaluation.interval(values)
    assert mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_interval_of_one_value_and_of_equal_ones() -> None:
    assert evaluation.interval(np.array([2.5])) == (2.5, 2.5, 2.5)
    assert evaluation.interval(np.full(9, 4.0)) == (4.0, 4.0, 4.0)


def test_overlap_by_hand() -> None:
    assert evaluation.overlap(np.array([[0, 1], [2, 3]])) == 0.0
    assert evaluation.overlap(np.array([[0, 1], [1, 0]])) == 1.0
    assert evaluation.overlap(np.array([[0, 1, 2, 3], [3, 7, 8, 9]])) == 0.25
    three = np.array([[0, 1], [1, 2], [5, 6]])  # pairs share 1/2, 0 and 0
    assert evaluation.overlap(three) == pytest.approx(1 / 6, abs=0.01)
    assert math.isnan(evaluation.overlap(np.array([[0, 1]])))


def test_score() -> None:
    assert evaluation.score(5.0, 5.0, 9.0) == 0.0
    assert evaluation.score(9.0, 5.0, 9.0) == 1.0
    assert evaluation.score(4.0, 5.0, 9.0) == -0.25
    assert math.isnan(evaluation.score(4.0, 5.0, 5.0))
