"""Estimates of another policy's clicks, by hand and in a world where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from jaxreco import offpolicy
from jaxreco.errors import DataError

CLICK = np.array([1, 0, 1, 1, 0])
LOGGED = np.array([0.5, 0.5, 0.25, 0.25, 0.25])
TARGET = np.array([1.0, 0.0, 0.5, 0.0, 0.25])
WEIGHT = np.array([2.0, 0.0, 2.0, 0.0, 1.0])


def test_by_hand() -> None:
    weight = offpolicy.weights(LOGGED, TARGET)
    np.testing.assert_allclose(weight, WEIGHT)
    assert offpolicy.ips(CLICK, weight) == pytest.approx(4 / 5)
    assert offpolicy.snips(CLICK, weight) == pytest.approx(4 / 5)
    assert offpolicy.snips(CLICK, np.array([2.0, 1.0, 0.0, 0.0, 0.0])) == pytest.approx(2 / 3)
    assert offpolicy.ips(CLICK, np.array([2.0, 1.0, 0.0, 0.0, 0.0])) == pytest.approx(2 / 5)
    assert offpolicy.effective(weight) == pytest.approx(25 / 9)
    assert offpolicy.effective(np.zeros(3)) == 0.0
    assert np.isnan(offpolicy.snips(CLICK, np.zeros(5)))


def test_the_logging_policy_itself_earned_the_mean() -> None:
    weight = offpolicy.weights(LOGGED, LOGGED)
    assert offpolicy.ips(CLICK, weight) == offpolicy.snips(CLICK, weight) == pytest.approx(0.6)


def test_replay_is_the_mean_where_both_agree() -> None:
    logged, target = np.full(5, 0.2), np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    assert offpolicy.snips(CLICK, offpolicy.weights(logged, target)) == pytest.approx(np.mean([1, 1, 0]))


def shop(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Clicks, logged and target chances of n events, and what the target policy truly earns."""
    rng = np.random.default_rng(seed)
    logging, target, rate = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7]), np.array([0.1, 0.3, 0.6])
    shown = rng.choice(3, size=n, p=logging)
    return rng.random(n) < rate[shown], logging[shown], target[shown], float(target @ rate)


def test_both_find_the_truth() -> None:
    for seed in range(3):
        clicked, logged, target, truth = shop(40_000, seed)
        weight = offpolicy.weights(logged, target)
        assert offpolicy.ips(clicked, weight) == pytest.approx(truth, abs=0.03)
        assert offpolicy.snips(clicked, weight) == pytest.approx(truth, abs=0.03)
        assert abs(clicked.mean() - truth) > 0.2  # which the log's own mean is far from


@pytest.mark.parametrize("estimator", [offpolicy.ips, offpolicy.snips])
def test_intervals_hold_the_truth_as_often_as_they_say(estimator) -> None:
    held = 0
    for seed in range(100):
        clicked, logged, target, truth = shop(400, seed)
        _, low, high = offpolicy.bootstrap(estimator, clicked, offpolicy.weights(logged, target), resamples=200)
        held += low <= truth <= high
    assert held >= 87  # of 100; 95 expected, 87 is more than three standard deviations below


def test_a_bootstrap_is_reproducible_and_brackets_the_estimate() -> None:
    clicked, logged, target, _ = shop(300, 1)
    weight = offpolicy.weights(logged, target)
    found = offpolicy.bootstrap(offpolicy.ips, clicked, weight)
    assert found == offpolicy.bootstrap(offpolicy.ips, clicked, weight)
    value, low, high = found
    assert low < value < high
    assert value == offpolicy.ips(clicked, weight)


def test_without_a_weight_there_is_no_interval() -> None:
    value, low, high = offpolicy.bootstrap(offpolicy.snips, CLICK, np.zeros(5), resamples=10)
    assert np.isnan([value, low, high]).all()


@pytest.mark.parametrize(
    ("logged", "target", "words"),
    [
        ([0.5, 0.0], [0.5, 0.5], "Event 1 was shown with chance 0, and the policy's is 0.5"),
        ([0.5, 0.5], [0.5, 1.5], "Event 1"),
        ([0.5, float("nan")], [0.5, 0.5], "Event 1"),
        ([0.5], [0.5, 0.5], "1 logged chances and 2 of the policy"),
        ([], [], "0 logged chances"),
    ],
)
def test_chances_that_are_none(logged, target, words) -> None:
    with pytest.raises(DataError, match=words):
        offpolicy.weights(np.array(logged), np.array(target))
