"""What answers say of other answers: against Bayesian regression in closed form, and people who were made by the model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.fit import factors as fitting
from jaxreco.fit.factors import Answers
from jaxreco.users.factors import FORESEEN, RANK, Factors, Leaning, foreseen

ITEMS, D, NOISE = 12, 3, 0.3


@pytest.fixture(scope="module")
def behind() -> Factors:
    rng = np.random.default_rng(0)
    vector, usual = rng.normal(size=(ITEMS, D)), rng.normal(scale=0.2, size=ITEMS)
    return Factors(jnp.asarray(vector, jnp.float32), jnp.asarray(usual, jnp.float32), jnp.float32(NOISE))


def some(n: int, people: int, seed: int = 1) -> Answers:
    rng = np.random.default_rng(seed)
    person = np.sort(rng.integers(people, size=n)).astype(np.int32)
    return Answers(
        person, rng.integers(ITEMS, size=n).astype(np.int32), rng.normal(size=n), rng.random(n) < 0.8, people
    )


def in_closed_form(behind: Factors, item: np.ndarray, ridit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a Bayesian linear regression (Bishop 2006, eq. 3.50 and 3.51)."""
    v = np.asarray(behind.vector, np.float64)[item]
    covariance = np.linalg.inv(np.eye(D) + v.T @ v / NOISE)
    return covariance @ v.T @ (ridit - np.asarray(behind.usual)[item]) / NOISE, covariance


@pytest.mark.parametrize("number", [0, 1, 40, 600])
def test_one_answer_after_another_is_a_regression_on_all(behind, number):
    rng = np.random.default_rng(2)
    item, ridit = rng.integers(ITEMS, size=number), rng.normal(size=number)
    mean, covariance = in_closed_form(behind, item, ridit)
    told = jnp.asarray(item, jnp.int32), jnp.asarray(ridit, jnp.float32), jnp.ones(number, bool)
    found = jax.jit(Leaning.unknown(D).after_some)(behind, *told)
    np.testing.assert_allclose(found.mean, mean, atol=1e-4)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-4)


def test_what_was_not_answered_changes_nothing(behind):
    item, ridit = jnp.arange(4), jnp.ones(4)
    there = jnp.asarray([True, False, False, True])
    found = Leaning.unknown(D).after_some(behind, item, ridit, there)
    again = Leaning.unknown(D).after_some(behind, item[there], ridit[there], jnp.ones(2, bool))
    np.testing.assert_allclose(found.mean, again.mean, rtol=1e-6)


def test_hosts_and_devices_foresee_the_same(behind):
    answers = some(60, 5)
    usual = np.asarray(behind.usual)[answers.item]
    heard, leaning = fitting.foreseen(behind, answers, usual)
    assert heard.shape == (60, FORESEEN)
    for person in range(5):
        state = Leaning.unknown(D)
        for row in np.flatnonzero(answers.person == person):
            vector = behind.vector[answers.item[row]]
            np.testing.assert_allclose(heard[row], foreseen(state, vector), atol=1e-4)
            if answers.known[row]:
                state = state.after(vector, jnp.float32(answers.ridit[row] - usual[row]), behind.noise)
        np.testing.assert_allclose(leaning.mean[person], state.mean, atol=1e-4)
        np.testing.assert_allclose(leaning.covariance[person], state.covariance, atol=1e-4)


def test_what_is_foreseen_does_not_hang_on_what_comes(behind):
    answers = some(60, 5)
    usual = np.zeros(60)
    before, _ = fitting.foreseen(behind, answers, usual)
    ridit = answers.ridit.copy()
    ridit[30:] += 5.0
    after, _ = fitting.foreseen(behind, answers._replace(ridit=ridit), usual)
    np.testing.assert_array_equal(before[:31], after[:31])
    assert (before[31:] != after[31:]).any()


def made(people: int, each: int, seed: int) -> tuple[Answers, np.ndarray]:
    """Answers by the model itself, and what was expected of each by who knows all."""
    rng = np.random.default_rng(seed)
    true = np.random.default_rng(9).normal(scale=0.4, size=(40, 3))
    person, item = (
        np.repeat(np.arange(people), each),
        np.concatenate([rng.permutation(40)[:each] for _ in range(people)]),
    )
    expected = np.sum(true[item] * rng.normal(size=(people, 3))[person], axis=1)
    ridit = expected + rng.normal(scale=0.3, size=len(person))
    return Answers(person.astype(np.int32), item.astype(np.int32), ridit, np.ones(len(person), bool), people), expected


def test_factors_learned_from_some_people_foresee_others():
    """Ahead of knowing how lenient somebody is, and not far from who knows the truth."""
    seen, _ = made(400, 20, 3)
    others, truth = made(100, 30, 4)
    learned, lenient = fitting.learn(seen, 40), fitting.learn(seen, 40, rank=0)
    late = np.arange(len(truth)) % 30 >= 20

    def missed(found: Factors) -> float:
        expected, _ = fitting.foreseen(found, others, np.asarray(found.usual)[others.item])
        return float(np.mean((others.ridit - np.asarray(found.usual)[others.item] - expected[:, 0])[late] ** 2))

    best = float(np.mean((others.ridit - truth)[late] ** 2))
    assert best < missed(learned) < 1.4 * best
    assert missed(lenient) > 2.0 * missed(learned)
    assert float(learned.noise) == pytest.approx(0.09, abs=0.03)


def test_people_are_foreseen_by_the_other_half_of_those_fitted_to():
    answers, _ = made(60, 10, 5)
    whole, found = fitting.crossed(answers, np.arange(40), 40)
    np.testing.assert_array_equal(whole.vector, fitting.learn(answers.of(np.arange(40)), 40).vector)
    usual, _ = fitting.usual(answers, answers.person < 40, 40)
    alone, _ = fitting.foreseen(whole, answers, usual)
    fitted = answers.person < 40
    np.testing.assert_array_equal(found[~fitted], alone[~fitted])
    assert np.abs(found[fitted] - alone[fitted]).max() > 0.01


def test_usual_leaves_a_row_out_of_its_own():
    answers = Answers(np.array([0, 1, 2]), np.array([0, 0, 1]), np.array([1.0, 0.5, -1.0]), np.ones(3, bool), 3)
    mine, every = fitting.usual(answers, np.array([True, True, False]), 3)
    np.testing.assert_allclose(mine, [0.5 / 11, 1.0 / 11, 0.0])
    np.testing.assert_allclose(every, [1.5 / 12, 0.0, 0.0])


def test_nothing_is_learned_of_nobody():
    nobody = some(0, 3)
    found = fitting.learn(nobody, ITEMS)
    assert found.vector.shape == (ITEMS, RANK + 1)
    assert np.isfinite(found.vector).all()
    heard, leaning = fitting.foreseen(found, nobody, np.zeros(0))
    assert heard.shape == (0, FORESEEN)
    np.testing.assert_array_equal(leaning.mean, np.zeros((3, RANK + 1)))
