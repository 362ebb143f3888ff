"""Heads: ordinal likelihoods by hand, draws against probabilities, censoring, and values."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreco.errors import DataError
from jaxreco.users.classes import EVEN, LOG, Classes
from jaxreco.users.heads import Head, Outlook, standing

STARS = Classes("numbers", (1.0, 2.0, 3.0, 5.0), (0.1, 0.2, 0.3, 0.4))
JOKES = Classes(EVEN, (-10.0, 0.0, 4.0, 10.0), (0.25, 0.25, 0.5))
HOURS = Classes(LOG, (1.0, 10.0, 100.0, 10000.0), (0.5, 0.25, 0.25))
DAYS = Classes(LOG, (12.0, 36.0, 84.0, 300.0), (0.5, 0.25, 0.25), step=24.0)
MONEY = Classes(LOG, (1.0, 10.0, 100.0, 10000.0), (0.5, 0.25, 0.25), tail=1.5)
GIFTS = Classes(EVEN, (-5.0, 0.0, 100.0, 10000.0), (0.5, 0.25, 0.25), tail=1.5)
AT = Outlook(jnp.float32(0.7), jnp.float32(1.3))


def head_of(classes: Classes, items: int = 0) -> Head:
    return Head(classes, 3, 2, items, rngs=nnx.Rngs(0))


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def by_hand(classes: Classes, location: float, scale: float) -> list[float]:
    """Differences of logistics at the logits of cumulated shares (McCullagh 1980, equation 1.1)."""
    below, total = [0.0], 0.0
    for share in classes.share[:-1]:
        total += share
        below.append(sigmoid((math.log(total / (1.0 - total)) - location) / scale))
    below.append(1.0)
    return [b - a for a, b in itertools.pairwise(below)]


@pytest.mark.parametrize("classes", [STARS, JOKES, HOURS, DAYS])
@pytest.mark.parametrize(("location", "scale"), [(0.0, 1.0), (1.5, 0.5), (-3.0, 2.0)])
def test_probabilities_are_differences_of_logistics(classes, location, scale):
    found = jnp.exp(head_of(classes).log_probabilities(Outlook(jnp.float32(location), jnp.float32(scale))))
    np.testing.assert_allclose(found, by_hand(classes, location, scale), rtol=1e-4, atol=1e-6)


def test_without_any_learning_it_is_the_base_rate():
    head = head_of(STARS)
    found = head.outlook(jnp.ones(3), jnp.ones(3), jnp.ones(2))
    np.testing.assert_allclose(jnp.exp(head.log_probabilities(found)), STARS.share, rtol=1e-4)


def test_two_classes_are_logistic_regression():
    head = head_of(Classes.of_numbers(np.array([0, 0, 0, 1])))
    head.of_extra[...] = jnp.asarray([2.0, -1.0])
    found = head.outlook(jnp.zeros(3), jnp.zeros(3), jnp.asarray([0.5, 0.25]))
    assert found.scale == 1.0
    np.testing.assert_allclose(jnp.exp(head.log_probabilities(found))[1], sigmoid(math.log(1 / 3) + 0.75), rtol=1e-5)


def test_far_out_nothing_is_lost():
    for location in (-80.0, 80.0):
        found = head_of(JOKES).log_probabilities(Outlook(jnp.float32(location), jnp.float32(1.0)))
        assert jnp.isfinite(found).all()
        assert found.max() == pytest.approx(0.0, abs=1e-6)
        assert found.min() < -70.0
    gradient = jax.grad(lambda x: head_of(JOKES).log_probabilities(Outlook(x, jnp.float32(1.0)))[1])(jnp.float32(80.0))
    assert gradient == pytest.approx(-1.0)


def test_the_location_is_the_sum_of_its_parts():
    head, rng = head_of(JOKES, items=4), np.random.default_rng(0)
    for name, leaf in nnx.state(head).items():
        if name not in ("first", "steps"):
            getattr(head, name)[...] = jnp.asarray(rng.normal(size=leaf[...].shape), jnp.float32)
    hidden, vector, extra = (jnp.asarray(rng.normal(size=n), jnp.float32) for n in (3, 3, 2))
    expected = (
        hidden @ head.of_hidden[...] + vector @ head.of_item[...] + extra @ head.of_extra[...] + head.usual[...][2]
    )
    expected += (head.left[...] @ hidden) @ (head.right[...] @ vector)
    log_scale = hidden @ head.scale_of_hidden[...] + extra @ head.scale_of_extra[...]
    found = head.outlook(hidden, vector, extra, jnp.int32(2))
    assert found.location == pytest.approx(float(expected), rel=1e-5)
    assert found.scale == pytest.approx(float(np.exp(1.5 * np.tanh(log_scale / 1.5))), rel=1e-5)


@pytest.mark.parametrize("classes", [STARS, JOKES, HOURS, DAYS, MONEY, GIFTS])
def test_draws_are_as_frequent_as_they_are_likely(classes):
    head = head_of(classes)
    uniform = (jnp.arange(4000) + 0.5) / 4000
    drawn = np.asarray(jax.vmap(lambda u: head.draw(u, AT))(uniform))
    counts = np.bincount(classes.of(drawn), minlength=len(classes)) / 4000
    np.testing.assert_allclose(counts, by_hand(classes, 0.7, 1.3), atol=1e-3)
    assert (np.diff(drawn) >= 0).all()
    if not classes.step:
        assert head.expected(AT) == pytest.approx(float(drawn.mean()), rel=1e-3)
    for value in (np.quantile(drawn, 0.3), np.quantile(drawn, 0.8)):
        assert head.at_least(AT, jnp.float32(value)) == pytest.approx(float((drawn >= value).mean()), abs=2e-3)
    assert np.isin(drawn, classes.edges).all() == (classes.kind == "numbers")
    if classes.step:
        assert set(drawn) <= {24.0 * n for n in range(1, 14)}


def test_within_a_class_values_are_even_in_their_logarithm():
    drawn = np.asarray(jax.vmap(lambda u: head_of(HOURS).draw(u, Outlook(0.0, 1.0)))(jnp.linspace(0.0, 0.4999, 101)))
    np.testing.assert_allclose(np.log10(drawn), np.linspace(0.0, 0.9998, 101), atol=1e-4)
    assert head_of(HOURS).draw(jnp.float32(1.0 - 1e-7), Outlook(0.0, 1.0)) <= 10000.0


def test_what_the_log_no_longer_shows_counts_as_later():
    head, shares = head_of(HOURS), by_hand(HOURS, 0.7, 1.3)
    for outcome, beyond in ((0, 0.25), (1, 1.0), (2, 0.5)):
        found = head.log_likelihood(AT, jnp.int32(outcome), jnp.float32(beyond))
        assert found == pytest.approx(math.log(sum(shares[outcome + 1 :]) + beyond * shares[outcome]), rel=1e-4)
    seen = head.log_likelihood(AT, jnp.int32(1), jnp.float32(jnp.nan))
    assert seen == pytest.approx(math.log(shares[1]), rel=1e-4)
    assert seen == head.log_likelihood(AT, jnp.int32(1))


def test_censoring_is_the_probability_of_at_least_the_time_that_was_seen():
    head = head_of(HOURS)
    for value in (2.0, 40.0, 900.0):
        outcome = int(HOURS.of(np.array([value]))[0])
        found = head.log_likelihood(AT, jnp.int32(outcome), head.classes.part_above(jnp.float32(value))[outcome])
        assert jnp.exp(found) == pytest.approx(float(head.at_least(AT, jnp.float32(value))), rel=1e-5)


def test_gradients_are_numbers_where_the_log_stopped_looking():
    head = head_of(HOURS)
    for beyond in (jnp.nan, 0.0, 1.0):
        found = jax.grad(lambda x, b=beyond: head.log_likelihood(Outlook(x, 1.0), jnp.int32(2), jnp.float32(b)))(30.0)
        assert jnp.isfinite(found)


def test_vmap_is_a_loop():
    head, rng = head_of(JOKES, items=5), np.random.default_rng(1)
    head.of_hidden[...], head.right[...] = jnp.ones(3), jnp.ones((4, 3))
    many = tuple(jnp.asarray(rng.normal(size=(6, n)), jnp.float32) for n in (3, 3, 2))

    def one(hidden: Any, vector: Any, extra: Any) -> Any:
        return head.log_probabilities(head.outlook(hidden, vector, extra, jnp.int32(1)))

    np.testing.assert_allclose(
        jax.jit(jax.vmap(one))(*many), np.stack([one(*row) for row in zip(*many, strict=True)]), rtol=1e-5
    )


# -- classes -------------------------------------------------------------------------------------------------


def test_values_find_their_classes():
    assert STARS.of(np.array([0.0, 1.0, 2.4, 2.6, 4.5, 9.0])).tolist() == [0, 0, 1, 2, 3, 3]
    assert JOKES.of(np.array([-11.0, -0.1, 0.0, 3.9, 4.0, 10.0])).tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(STARS.ridit, [-0.9, -0.6, -0.1, 0.6], atol=1e-6)
    np.testing.assert_allclose(JOKES.middle, [-5.0, 2.0, 7.0])
    np.testing.assert_allclose(HOURS.middle[0], 9.0 / np.log(10.0), rtol=1e-6)


def test_classes_are_equally_frequent_and_ties_stay_together():
    values = np.random.default_rng(0).normal(size=1000)
    found = Classes.of_quantiles(values, 10)
    np.testing.assert_allclose(found.share, 0.1, atol=1e-9)
    tied = Classes.of_quantiles(np.repeat([24.0, 48.0, 72.0, 240.0], [60, 20, 10, 10]), 10, LOG, step=24.0)
    assert tied.edges == (12.0, 36.0, 60.0, 228.0, 252.0)
    np.testing.assert_allclose(tied.share, [0.6, 0.2, 0.1, 0.1])


def test_a_tail_thins_out_as_it_does_in_the_log():
    """Against integrals of the density x^-(tail + 1) from 100 to 10,000, and values that a Pareto distribution drew."""
    x = np.geomspace(100.0, 10000.0, 200_001)
    density = x**-2.5

    def integral(values: np.ndarray) -> float:
        return float(((values[1:] + values[:-1]) / 2.0) @ np.diff(x[: len(values)]))

    assert MONEY.middle[-1] == pytest.approx(integral(x * density) / integral(density), rel=1e-4)
    above = MONEY.part_above(jnp.float32(1000.0))[-1]
    assert above == pytest.approx(1.0 - integral(density[x <= 1000.0]) / integral(density), rel=1e-3)
    values = np.random.default_rng(0).pareto(1.5, 20_000) + 1.0
    found = Classes.of_quantiles(values, 20, LOG)
    assert found.tail == pytest.approx(1.5, abs=0.1)
    assert found.middle[-1] == pytest.approx(
        values[values >= found.edges[-2]].mean(), rel=0.1
    )  # it is 6 times that if they are even in their logarithm
    with_nothing = Classes.of_quantiles(np.append(values, np.zeros(500)), 20, EVEN)  # no logarithm of 0
    assert with_nothing.tail == pytest.approx(1.5, abs=0.1)
    assert with_nothing.middle[-1] == pytest.approx(values[values >= with_nothing.edges[-2]].mean(), rel=0.1)
    assert with_nothing.middle[-2] == pytest.approx(np.mean(with_nothing.edges[-3:-1]))


def test_the_steepest_tail_and_none():
    assert Classes.of_quantiles(np.append(np.full(1000, 5.0), [1.0, 1e6]), 4, LOG).tail > 3.0
    assert Classes.of_quantiles(np.geomspace(1.0, 100.0, 1000), 4, LOG).tail == pytest.approx(0.0, abs=0.05)
    assert (
        Classes.of_quantiles(np.linspace(-10.0, 10.0, 1000), 20).tail == 0.0
    )  # it hardly reaches beyond where it begins
    assert Classes.of_quantiles(100.0 - np.geomspace(1.0, 50.0, 1000), 4, LOG).tail == 0.0


def test_classes_survive_json():
    for classes in (STARS, JOKES, DAYS, GIFTS):
        assert Classes.read(json.loads(json.dumps(dataclasses.asdict(classes)))) == classes
    with pytest.raises(DataError, match="fit the user model again"):
        Classes.read({"kind": "even"})


@pytest.mark.parametrize(
    ("kind", "edges", "share", "words"),
    [
        ("odd", (0.0, 1.0), (0.5, 0.5), "kind 'odd'"),
        (EVEN, (0.0, 1.0), (0.5, 0.5), "do not fit"),
        (EVEN, (0.0, 1.0), (1.0,), "do not fit"),
        (EVEN, (0.0, 2.0, 1.0), (0.5, 0.5), "do not ascend"),
        (LOG, (0.0, 1.0, 2.0), (0.5, 0.5), "begin at 0.0"),
    ],
)
def test_impossible_classes_are_refused(kind, edges, share, words):
    with pytest.raises(DataError, match=words):
        Classes(kind, edges, share)
    for tail, begins in ((-1.0, 1.0), (math.inf, 1.0), (1.0, 0.0)):
        with pytest.raises(DataError, match="A tail of"):
            Classes(EVEN, (-1.0, begins, 2.0), (0.5, 0.5), tail=tail)


def test_what_was_said_counts_the_more_the_more_was_said():
    found = np.asarray(standing(jnp.asarray([0.0, 5.0, 95.0]), jnp.asarray([0.0, 5.0, 95.0])))
    np.testing.assert_allclose(found[:, 0], [0.0, 0.5, 0.95])
    np.testing.assert_allclose(found[:, 1], np.log1p([0.0, 5.0, 95.0]) / 4.0, rtol=1e-5)
