"""Each mechanism against numbers worked by hand, or an oracle in NumPy and SciPy."""

from __future__ import annotations

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxreco import rng
from jaxreco.users import mechanisms as law

N = 20_000


@pytest.fixture(scope="module")
def uniform() -> np.ndarray:
    return np.asarray(rng.uniforms(jax.random.key(5), N))


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


# -- utility -------------------------------------------------------------------------------------------------


def test_affinity_is_one_inner_product_an_interest() -> None:
    interests = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [-0.5, 0.0, 0.5]])
    np.testing.assert_allclose(law.affinity(interests, jnp.array([0.6, 0.0, 0.8])), [0.6, 0.64, 0.1], rtol=1e-6)


def test_novelty_by_hand() -> None:
    # counts 3, 1, 0, 0 with half a pseudo-count: shares 3.5/6, 1.5/6, 0.5/6, 0.5/6 of four categories
    got = law.novelty(jnp.array([3.0, 1.0, 0.0, 0.0]), jnp.array([0, 1, 2, 3, 0]))
    shares = np.array([3.5, 1.5, 0.5, 0.5, 3.5]) / 6
    np.testing.assert_allclose(got, -np.log(4 * shares), rtol=1e-5)
    assert got[0] < 0 < got[2]


def test_novelty_of_a_uniform_past_is_nothing() -> None:
    np.testing.assert_allclose(law.novelty(jnp.full(8, 2.5), jnp.arange(8)), np.zeros(8), atol=1e-6)


def test_novelty_with_another_smoothing() -> None:
    got = law.novelty(jnp.array([2.0, 0.0]), jnp.array([1]), smoothing=1.0)
    np.testing.assert_allclose(got, [-math.log(2 * 1 / 4)], rtol=1e-6)


def test_decay() -> None:
    np.testing.assert_allclose(law.decay(jnp.array([0.0, 8.0, 16.0]), 8.0), [1, math.exp(-1), math.exp(-2)], rtol=1e-6)


def test_click_probability() -> None:
    np.testing.assert_allclose(
        law.click_probability(jnp.array([-2.0, 0.0, 3.0])), [sigmoid(-2), 0.5, sigmoid(3)], rtol=1e-5
    )


# -- watching ------------------------------------------------------------------------------------------------


def test_watch_fraction_by_hand() -> None:
    got = law.watch_fraction(-2.0, 0.75, 0.2, 0.7, 0.6)
    assert float(got) == pytest.approx(math.exp(0.2 - 1.4 + 0.6 * math.log(3)), rel=1e-6)
    assert float(law.watch_fraction(2.0, 0.75, 0.2, 0.7, 0.6)) == 1.0


def test_watch_time_is_log_logistic_until_the_item_ends(uniform: np.ndarray) -> None:
    utility, bias, slope, noise = -1.0, 0.2, 0.7, 0.6
    fraction = np.asarray(law.watch_fraction(utility, jnp.asarray(uniform), bias, slope, noise), np.float64)
    assert ((fraction > 0) & (fraction <= 1)).all()
    wanted = stats.fisk(c=1 / noise, scale=math.exp(bias + slope * utility))
    whole = sigmoid((bias + slope * utility) / noise)
    assert wanted.sf(1.0) == pytest.approx(whole)
    assert (fraction == 1).mean() == pytest.approx(whole, abs=4 * math.sqrt(whole * (1 - whole) / len(uniform)))
    before_the_end = fraction[fraction < 1]
    assert stats.kstest(before_the_end, lambda x: wanted.cdf(x) / wanted.cdf(1.0)).pvalue > 1e-3
    other = stats.fisk(c=1 / noise, scale=math.exp(bias))
    assert stats.kstest(before_the_end, lambda x: other.cdf(x) / other.cdf(1.0)).pvalue < 1e-9


def test_expected_fraction_is_the_mean() -> None:
    u = (np.arange(20_000) + 0.5) / 20_000
    for utility in np.linspace(-6, 6, 25):
        mean = np.mean(np.minimum(np.exp(0.2 + 0.7 * utility + 0.6 * np.log(u / (1 - u))), 1))
        assert float(law.expected_fraction(utility, 0.2, 0.7, 0.6)) == pytest.approx(mean, abs=0.05)
    assert float(law.expected_fraction(-1.0, 0.2, 0.7, 0.0)) == pytest.approx(math.exp(-0.5), rel=1e-6)


# -- feeling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trust", "delight", "broken", "after"),
    [
        (0.5, 0.0, 0.0, 0.5),
        (0.5, 0.4, 0.0, 0.5 + 0.1 * 0.4 * 0.5),
        (0.5, 0.0, 0.5, 0.5 - 0.3 * 0.5 * 0.5),
        (0.8, 0.5, 0.25, 0.8 + 0.1 * 0.5 * 0.2 - 0.3 * 0.25 * 0.8),
        (1.0, 1.0, 0.0, 1.0),
        (0.0, 0.0, 1.0, 0.0),
    ],
)
def test_trust_step_by_hand(trust: float, delight: float, broken: float, after: float) -> None:
    assert float(law.trust_step(trust, delight, broken, 0.1, 0.3)) == pytest.approx(after)


def test_trust_stays_in_the_unit_interval() -> None:
    corners = np.array(np.meshgrid(*[[0.0, 0.3, 1.0]] * 5)).reshape(5, -1)
    after = np.asarray(law.trust_step(*jnp.asarray(corners, jnp.float32)))
    assert ((after >= 0) & (after <= 1)).all()


def test_mood_step_by_hand() -> None:
    # towards enjoyment above aspiration, 0.9 - 0.35 = 0.55, by a tenth of the way from 0.2
    assert float(law.mood_step(0.2, 0.9, 0.35, 0.1)) == pytest.approx(0.2 + 0.1 * 0.35)
    assert float(law.mood_step(0.2, 0.0, 0.35, 0.1)) == pytest.approx(0.2 - 0.1 * 0.55)
    assert float(law.mood_step(-0.4, 0.35, 0.35, 1.0)) == pytest.approx(0.0)


def test_mood_settles_at_enjoyment_above_aspiration() -> None:
    mood = 0.0
    for _ in range(200):
        mood = float(law.mood_step(mood, 0.8, 0.3, 0.1))
    assert mood == pytest.approx(0.5, abs=1e-5)


# -- leaving and returning -----------------------------------------------------------------------------------

LEAVE = SimpleNamespace(leave_bias=-4.0, leave_time=3.0, leave_boredom=0.4, leave_mood=2.0, leave_trust=1.0)


@pytest.mark.parametrize(
    ("minutes", "budget", "mood", "trust", "boredom", "logit"),
    [
        (0.0, 10.0, 0.0, 0.5, 0.0, -4.0),
        (5.0, 10.0, 0.0, 0.5, 0.0, -4.0 + 1.5),
        (10.0, 10.0, 0.3, 0.9, 2.0, -4.0 + 3.0 + 0.8 - 0.6 - 0.4),
        (1000.0, 10.0, 0.0, 0.5, 0.0, -4.0 + 9.0),  # three budgets is as impatient as it gets
        (1.0, 0.0, 0.0, 0.5, 0.0, -4.0 + 9.0),
    ],
)
def test_leave_probability_by_hand(
    minutes: float, budget: float, mood: float, trust: float, boredom: float, logit: float
) -> None:
    args = (jnp.float32(x) for x in (minutes, budget, mood, trust, boredom))
    assert float(law.leave_probability(*args, LEAVE)) == pytest.approx(sigmoid(logit), rel=1e-5)  # type: ignore[call-arg]


RETURN = SimpleNamespace(return_satisfaction=4.0, return_trust=2.0, aspiration=0.35)


def test_gap_by_hand() -> None:
    # risk = exp(4 * 0.25 + 2 * 0.2) = exp(1.4); gap = 9 * (-log(0.4) / risk)^(1 / 0.8)
    got = law.gap_hours(jnp.float32(0.4), 9.0, 0.8, 0.6, 0.7, RETURN)
    assert float(got) == pytest.approx(9 * (-math.log(0.4) / math.exp(1.4)) ** 1.25, rel=1e-5)


@pytest.mark.parametrize(("satisfaction", "trust"), [(0.35, 0.5), (0.6, 0.9), (0.0, 0.1)])
def test_gaps_are_weibull_with_proportional_hazards(uniform: np.ndarray, satisfaction: float, trust: float) -> None:
    habit, shape = 9.0, 0.8
    gaps = np.asarray(law.gap_hours(jnp.asarray(uniform), habit, shape, satisfaction, trust, RETURN), np.float64)
    risk = math.exp(4 * (satisfaction - 0.35) + 2 * (trust - 0.5))
    weibull = stats.weibull_min(c=shape, scale=habit * risk ** (-1 / shape))
    assert stats.kstest(gaps, weibull.cdf).pvalue > 1e-3
    if risk != 1:
        assert stats.kstest(gaps, stats.weibull_min(c=shape, scale=habit).cdf).pvalue < 1e-9


@pytest.mark.parametrize("habit", [0.0, 1e-6, 9.0, 1e30])
@pytest.mark.parametrize("shape", [0.05, 0.8, 50.0])
@pytest.mark.parametrize("satisfaction", [0.0, 1.0])
def test_gaps_are_finite_whatever_the_parameters(habit: float, shape: float, satisfaction: float) -> None:
    steep = SimpleNamespace(return_satisfaction=1e9, return_trust=1e9, aspiration=0.35)
    edge = jnp.array([2.0**-24, 0.5, 1 - 2.0**-24])
    gaps = np.asarray(law.gap_hours(edge, jnp.float32(habit), jnp.float32(shape), satisfaction, 0.2, steep))
    assert np.isfinite(gaps).all()
    assert (gaps >= 0).all()
    if habit == 0:
        assert (gaps == 0).all()


def test_remembered_by_hand() -> None:
    # two sessions, newest 0.9 then 0.1, weights 1 and 0.6, and one pseudo-session of 0.35 before them, weight 0.36
    satisfaction, ages, valid = jnp.array([0.1, 7.0, 0.9]), jnp.array([1, 2, 0]), jnp.array([True, False, True])
    expected = (0.9 + 0.6 * 0.1 + 0.36 * 0.35) / (1 + 0.6 + 0.36)
    assert float(law.remembered(satisfaction, ages, valid, 0.6, 0.35)) == pytest.approx(expected, rel=1e-5)


def test_remembered_without_a_past_is_the_prior_and_without_memory_the_last() -> None:
    ages = jnp.array([1, 0])
    nothing = law.remembered(jnp.array([0.2, 0.8]), ages, jnp.array([False, False]), 0.6, 0.35)
    assert float(nothing) == pytest.approx(0.35)
    last = law.remembered(jnp.array([0.2, 0.8]), ages, jnp.array([True, True]), 0.0, 0.35)
    assert float(last) == pytest.approx(0.8)
    forever = law.remembered(jnp.array([0.2, 0.8]), ages, jnp.array([True, True]), 1.0, 0.35)
    assert float(forever) == pytest.approx((0.2 + 0.8 + 0.35) / 3)


# -- interests -----------------------------------------------------------------------------------------------


def test_drift_by_hand() -> None:
    taste, interests = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
    hours, tau, spread = 12.0, 24.0, 0.1
    got = law.drift(interests, taste, hours, jnp.array([[2.0, -1.0]]), tau, spread)
    keep, wander = math.exp(-0.5), 0.1 * math.sqrt(1 - math.exp(-1.0))
    np.testing.assert_allclose(got, [[1 - keep + 2 * wander, keep - wander]], rtol=1e-5)


def test_drift_over_two_gaps_has_the_law_of_one() -> None:
    noise = np.random.default_rng(3).normal(size=(2, N, 1)).astype(np.float32)
    taste, start = jnp.full((N, 1), 0.3), jnp.full((N, 1), -0.7)
    once = law.drift(start, taste, 30.0, jnp.asarray(noise[0]), 24.0, 0.2)
    half = law.drift(start, taste, 10.0, jnp.asarray(noise[0]), 24.0, 0.2)
    twice = law.drift(half, taste, 20.0, jnp.asarray(noise[1]), 24.0, 0.2)
    assert stats.ks_2samp(np.ravel(once), np.ravel(twice)).pvalue > 1e-3
    mean, deviation = 0.3 - math.exp(-30 / 24), 0.2 * math.sqrt(1 - math.exp(-60 / 24))
    assert stats.kstest(np.ravel(twice), stats.norm(mean, deviation).cdf).pvalue > 1e-3


def test_drift_and_its_gradient_at_no_time_at_all() -> None:
    taste, interests = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])

    def total(hours: jax.Array, tau: jax.Array) -> jax.Array:
        return jnp.sum(law.drift(interests, taste, hours, jnp.ones((1, 2)), tau, 0.1))

    for hours in (0.0, 1e-9, 1e-6):
        after = law.drift(interests, taste, hours, jnp.ones((1, 2)), 240.0, 0.1)
        np.testing.assert_allclose(after, interests, atol=1e-4)
        assert all(np.isfinite(g) for g in jax.grad(total, (0, 1))(jnp.float32(hours), jnp.float32(240.0)))


def test_reinforce_by_hand() -> None:
    interests = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    embeddings = jnp.array([[0.0, 1.0], [0.6, 0.8]])
    credit = jnp.array([[0.1, 0.0], [0.2, 0.0]])  # both items were met by the first interest
    got = law.reinforce(interests, embeddings, credit)
    np.testing.assert_allclose(got, [[(1 + 0.12) / 1.3, (0.1 + 0.16) / 1.3], [0.0, 1.0]], rtol=1e-5)


def test_reinforcement_never_makes_an_interest_longer_than_one() -> None:
    generator = np.random.default_rng(0)
    interests, embeddings = (
        jnp.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), jnp.float32)
        for x in (generator.normal(size=(3, 4)), generator.normal(size=(5, 4)))
    )
    credit = jnp.asarray(generator.random((5, 3)), jnp.float32)
    assert (np.linalg.norm(law.reinforce(interests, embeddings, credit), axis=-1) <= 1 + 1e-6).all()


# -- choice --------------------------------------------------------------------------------------------------


def test_multinomial_choice_has_softmax_frequencies(uniform: np.ndarray) -> None:
    attraction, outside = np.array([0.5, -1.0, 3.0, 1.2, 0.0]), 0.7
    valid = np.array([True, True, False, True, True])
    choose = jax.vmap(law.multinomial_choice, (None, None, 0, None))
    chosen = np.asarray(choose(jnp.asarray(attraction), jnp.asarray(valid), jnp.asarray(uniform), outside))
    weights = np.append(np.where(valid, np.exp(attraction), 0), np.exp(outside))
    expected = N * weights / weights.sum()
    counts = np.array([np.sum(chosen == k) for k in (0, 1, 2, 3, 4, -1)])
    assert counts[2] == 0
    there = expected > 0
    assert stats.chisquare(counts[there], expected[there]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("uniform", "slot"), [(0.0, 0), (0.24, 0), (0.26, 1), (0.49, 1), (0.51, 3), (0.74, 3), (0.76, -1), (0.9999999, -1)]
)
def test_multinomial_choice_by_quantile(uniform: float, slot: int) -> None:
    # three valid slots and the outside option, all alike: a quarter each
    valid = jnp.array([True, True, False, True])
    assert int(law.multinomial_choice(jnp.full(4, 2.0), valid, jnp.float32(uniform), jnp.float32(2.0))) == slot


def test_multinomial_choice_of_extremes() -> None:
    valid = jnp.ones(3, bool)
    assert int(law.multinomial_choice(jnp.array([0.0, 1e6, 0.0]), valid, 0.5, 0.0)) == 1
    assert int(law.multinomial_choice(jnp.full(3, -1e6), valid, 0.5, 0.0)) == -1
    assert int(law.multinomial_choice(jnp.full(3, 1e6), ~valid, 0.001, -1e6)) == -1
