"""Heads fitted to logs: planted parameters, what a log knows of moments, calibration, and how good a head is said to be."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreco.base import CLICK, EXAMINED, LIKE
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError
from jaxreco.fit import answers, feedback, finish, fitting, moments, quality, regression
from jaxreco.fit import events as reading
from jaxreco.fit.fitting import FitConfig
from jaxreco.fit.regression import Rows
from jaxreco.users.classes import Classes
from jaxreco.users.heads import GAP, Head
from jaxreco.users.network import NetworkConfig

SMALL = NetworkConfig(width=8, layers=1, heads=2, window=8, remembered=8, dropout=0.1)
CONFIG = FitConfig(epochs=2, patience=2, batch=16, learning_rate=1e-2, held_back=0.2, horizon=1)
HOUR = 3600.0


def log_of(user: Any, item: Any, n_items: int, **columns: Any) -> Log:
    return Log.of(
        "x", np.asarray(user), np.asarray(item), Items(np.arange(n_items)), np.arange(max(user) + 1), **columns
    )


def rows_of(location: np.ndarray, outcome: np.ndarray, hidden: np.ndarray | None = None, people: int = 100) -> Rows:
    n = len(location)
    nothing = np.zeros((n, 0), np.float32)
    plain = np.stack([location, np.ones(n)], axis=1).astype(np.float32)
    return Rows(
        (np.arange(n) % people).astype(np.int32), np.full(n, -1, np.int32), nothing if hidden is None else hidden, nothing,
        np.zeros(n, np.float32), plain, plain, outcome.astype(np.int32),
        np.full(n, np.nan, np.float32), np.full(n, np.inf, np.float32),
    )  # fmt: skip


def coins(location: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(location)) < 1.0 / (1.0 + np.exp(-location))).astype(int)


# -- regression ----------------------------------------------------------------------------------------------


def test_planted_slopes_are_found():
    rng = np.random.default_rng(0)
    x, hidden = rng.normal(size=3000), (rng.normal(size=(3000, 3)) * 2.0 + 5.0).astype(np.float32)
    outcome = coins(0.5 + 1.2 * x - 0.8 * (hidden[:, 1] - 5.0))
    rows = rows_of(x, outcome, hidden)
    rows = rows._replace(vector=np.zeros((3000, 3), np.float32))
    head = regression.fit(Classes.of_numbers(outcome), rows)
    assert head.of_extra[...][0] == pytest.approx(1.2, abs=0.15)
    np.testing.assert_allclose(head.of_hidden[...], [0.0, -0.8, 0.0], atol=0.08)
    assert abs(regression.log_likelihood(head, rows).mean()) < 0.55


@pytest.mark.parametrize(("held", "hears"), [(5, False), (40, True)])
def test_the_network_is_heard_where_people_enough_held_back_agree(held, hears):
    rng = np.random.default_rng(0)

    def some(people: int) -> Rows:
        x, hidden = rng.normal(size=1000), rng.normal(size=(1000, 3)).astype(np.float32)
        outcome = coins(0.5 * x + 1.5 * hidden[:, 1], seed=people)
        return rows_of(x, outcome, hidden, people)._replace(vector=np.zeros((1000, 3), np.float32))

    fitted, classes = some(100), Classes.of_numbers([0, 1])
    head = finish._best("like", None, classes, fitted, fitted, some(held), 1)
    assert bool(np.abs(head.of_hidden[...]).max() > 0.5) is hears
    assert head.of_extra[...][0] == pytest.approx(0.5, abs=0.2)


def test_a_head_that_hears_more_and_makes_nothing_of_it_says_the_same():
    rng = np.random.default_rng(0)
    head = Head(Classes("numbers", (1.0, 2.0, 3.0), (0.2, 0.3, 0.5)), 4, 3, 5, rngs=nnx.Rngs(1))
    head.of_extra[...], head.scale_of_extra[...] = jnp.asarray([0.3, -1.0, 0.5]), jnp.asarray([0.1, 0.2, -0.1])
    hidden, vector, extra = (jnp.asarray(rng.normal(size=n), jnp.float32) for n in (4, 4, 5))
    wide = finish._widened(head, 5).outlook(hidden, vector, extra, jnp.int32(2))
    for mine, other in zip(wide, head.outlook(hidden, vector, extra[:3], jnp.int32(2)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_many_classes_and_columns_far_from_zero():
    """Columns are scaled while a head is fitted: what comes back takes them as they are."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=2000) * 10.0 + 100.0
    value = 0.2 * x + rng.logistic(size=2000)
    classes = Classes.of_quantiles(value, 6)
    rows = rows_of(x, classes.of(value))
    head = regression.fit(classes, rows)
    assert (
        regression.log_likelihood(head, rows).mean()
        > regression.log_likelihood(regression.fit(classes, rows.nothing()), rows.nothing()).mean() + 0.2
    )
    np.testing.assert_allclose(regression.probabilities(head, rows).sum(axis=1), 1.0, rtol=1e-5)


def test_nothing_but_the_base_rate():
    outcome = np.repeat([0, 1, 2], [50, 30, 20])
    rows = rows_of(np.random.default_rng(0).normal(size=100), outcome).nothing()
    found = regression.probabilities(regression.fit(Classes.of_numbers(outcome), rows), rows)
    np.testing.assert_allclose(found[0], [0.5, 0.3, 0.2], atol=1e-3)


def test_a_planted_miscalibration_is_mended():
    x = np.random.default_rng(0).normal(size=6000)
    outcome = coins(0.4 * x - 1.0)
    head = Head(Classes.of_numbers(np.array([0, 1])), 0, 2, 1, rngs=nnx.Rngs(0))
    head.of_extra[...] = jnp.asarray([1.5, 0.0])  # far too sure, and too hopeful
    rows = rows_of(x, outcome)
    half = np.arange(6000) < 3000
    mended = regression.calibrated(head, rows.of(half))
    before, after = (_ece(each, rows.of(~half)) for each in (head, mended))
    assert before > 0.1
    assert after < 0.03
    assert mended.of_extra[...][0] == pytest.approx(0.4, abs=0.1)


def _ece(head: Head, rows: Rows) -> float:
    chance = regression.probabilities(head, rows)[:, 1:]
    return quality.ece(chance, (rows.outcome[:, None] >= 1).astype(float))


def test_few_rows_change_little():
    head = Head(Classes.of_numbers(np.array([0, 1])), 0, 2, 1, rngs=nnx.Rngs(0))
    head.of_extra[...] = jnp.asarray([1.0, 0.0])
    changed = regression.calibrated(head, rows_of(np.array([2.0]), np.array([0])))
    assert 0.8 < changed.of_extra[...][0] < 1.0


# -- quality -------------------------------------------------------------------------------------------------


def test_figures_by_hand():
    assert quality.auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])) == pytest.approx(3.5 / 4)
    assert np.isnan(quality.auc(np.ones(3), np.ones(3, bool)))
    chance = np.repeat([0.2, 0.7], 100)[:, None]
    reached = np.concatenate([np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0], [60, 40])])[:, None]
    assert quality.ece(chance, reached) == pytest.approx(0.1)
    assert quality.ece(chance, np.where(chance < 0.5, np.nan, reached)) == pytest.approx(0.1)
    mean, low, high = quality.gain(np.repeat([0, 1], [10, 30]), np.repeat([1.0, 2.0], [10, 30]))
    assert (mean, low, high) == (1.75, 1.0, 2.0)


def test_parts_of_different_classes_are_judged_together():
    def part(cuts: int) -> quality.Judged:
        nats, table = np.zeros(4), np.full((4, cuts), 0.5)
        return quality.Judged(
            np.arange(4), nats, nats, nats, table, np.round(np.linspace(0, 1, 4))[:, None] + 0 * table
        )

    found = quality.together([part(1), part(3)])
    assert found.chance.shape == (8, 3)
    assert np.isnan(found.reached[:4, 1:]).all()
    assert quality.quality(found).ece == pytest.approx(0.0)
    assert np.isfinite(quality.quality(found).auc)


# -- what a log knows ----------------------------------------------------------------------------------------


def a_reader_log(people: int = 12, seed: int = 0) -> Log:
    """Sessions of one to three slates of four items, one of which is clicked; a day apart."""
    rng = np.random.default_rng(seed)
    user, item, time, session, slate, position, actions = ([] for _ in range(7))
    for person in range(people):
        for visit in range(4):
            for turn in range(int(rng.integers(1, 4))):
                shown, click = rng.permutation(6)[:4], int(rng.integers(4))
                for place in range(4):
                    user.append(person)
                    item.append(int(shown[place]))
                    time.append(visit * 24 * HOUR * (1 + person % 2) + turn * 60.0)
                    session.append(person * 4 + visit)
                    slate.append(len(slate) // 4 if place == 0 else slate[-1])
                    position.append(place)
                    liked = LIKE if place == click and shown[place] < 3 else 0
                    actions.append(EXAMINED | (CLICK if place == click else 0) | liked)
    return log_of(
        user, item, 6, time=np.asarray(time), session=np.asarray(session), slate=np.asarray(slate),
        position=np.asarray(position), actions=np.asarray(actions),
    )  # fmt: skip


def test_turns_by_hand():
    time = np.array([0.0, 0.0, 600.0, 7200.0, 100.0, 90000.0])
    log = log_of(
        [0, 0, 0, 0, 1, 1], [0, 1, 2, 0, 1, 2], 3, time=time, session=np.array([0, 0, 0, 1, 2, 3]),
        slate=np.array([0, 0, 1, 2, 3, 4]),
    )  # fmt: skip
    found = moments.sessions(log)
    assert found.row.tolist() == [0, 2, 3, 4, 5]
    assert found.number.tolist() == [0, 1, 0, 0, 0]
    assert found.session.tolist() == [0, 0, 1, 0, 1]
    assert found.ends.tolist() == [False, True, True, True, True]
    assert found.seen.tolist() == [True, True, False, True, False]
    np.testing.assert_allclose(found.gap[[1, 3]], [6600.0 / HOUR, 89900.0 / HOUR])
    assert found.gap[2] == pytest.approx((90000.0 - 7200.0) / HOUR)  # what is left of the log
    assert found.sure.tolist() == [True, True, True, True, False]  # the last may go on
    extra = moments.gap_extra(found, 0.0)
    late = np.log1p(100.0 / HOUR / 24.0)  # the second person comes 100 seconds after the log begins
    np.testing.assert_allclose(extra[[1, 3, 4], 7:9], [[0.0, 0.0], [late, late], [late, 0.0]], rtol=1e-5)
    np.testing.assert_allclose(extra[4, :2], [np.log1p(89900.0 / HOUR)] * 2, rtol=1e-5)
    np.testing.assert_allclose(extra[1, :3], 0.0)
    visits = moments.visits(log)
    first = np.log1p([6600.0 / HOUR, 82800.0 / HOUR])  # the last gap goes up to the log's end, or a minute
    second = np.log1p([89900.0 / HOUR, 1.0 / 60.0])
    np.testing.assert_allclose(visits["last"], [first[1], second[1]], rtol=1e-5)
    np.testing.assert_allclose(visits["total"], [first.sum(), second.sum()], rtol=1e-5)
    assert visits["number"].tolist() == [2.0, 2.0]
    np.testing.assert_allclose(visits["absent"], [0.0, 100.0 / HOUR], rtol=1e-5)
    total, count = moments.leaving(log, Classes("numbers", (0.0, 1.0), (0.25, 0.75)))
    np.testing.assert_allclose(total, [-0.75 + 2 * 0.25, 2 * 0.25])  # of three turns two ended a session; of two both
    assert count.tolist() == [3.0, 2.0]


def test_a_log_without_sessions_knows_nothing_of_leaving():
    log = log_of([0, 0, 1], [0, 1, 2], 3, time=np.array([0.0, 1.0, 2.0]))
    assert moments.sessions(log) is None
    assert moments.visits(log)["absent"].tolist() == [720.0, 720.0]  # newcomers
    assert moments.visits(log)["number"].tolist() == [0.0, 0.0]
    assert moments.classes(log) == {}


def test_visits_of_one_day_are_one():
    day = 86_400.0
    log = log_of([0, 0, 0, 1, 1], [0] * 5, 1, time=np.array([0.0, 0.0, 3 * day, day, 9 * day]))
    assert len(reading.taken(log)) == 4
    found = moments.sessions(log)
    assert found.gap.tolist() == [72.0, 144.0, 192.0, 0.0]
    assert found.step == 24.0


def test_heads_exist_where_the_log_has_data():
    log = a_reader_log()
    assert set(moments.classes(log)) == {"click", "leave", "gap"}
    assert set(feedback.classes(reading.taken(log))) == {"like"}
    assert feedback.classes(log_of([0, 1], [0, 1], 2)) == {}
    stars = log_of([0, 0, 1], [0, 1, 1], 2, value=np.float32([1, 5, 3]))
    assert feedback.classes(stars)["value"].edges == (1.0, 3.0, 5.0)


def test_what_was_said_before_is_the_persons_own():
    log = log_of([0, 0, 0, 1], [0, 1, 2, 0], 3, value=np.float32([1, 2, 2, 1]))
    classes = feedback.classes(log)
    said = feedback.said(log, classes)["value"]
    assert said.outcome.tolist() == [0, 1, 1, 0]
    ridit = classes["value"].ridit
    np.testing.assert_allclose(said.standing[:, 0], [0.0, ridit[0] / 6.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(said.standing[:, 1], np.log1p([0.0, 1.0, 2.0, 0.0]) / 4.0, rtol=1e-5)


def test_rows_that_go_by_item_are_put_in_a_random_order():
    log = log_of(np.repeat([0, 1, 2], 12), np.tile(np.arange(12), 3), 12, value=np.arange(36, dtype=np.float32))
    found = reading.taken(log)
    assert not (np.diff(found.item)[np.diff(found.user) == 0] > 0).all()
    assert sorted(found.value.tolist()) == log.value.tolist()
    np.testing.assert_array_equal(found.item, found.value.astype(int) % 12)
    np.testing.assert_array_equal(found.user, log.user)
    np.testing.assert_array_equal(reading.taken(log).item, found.item)


# -- whole fits ----------------------------------------------------------------------------------------------


def fitted(log: Log, config: FitConfig = CONFIG) -> tuple[Any, Any]:
    task = fitting.prepare(jax.random.key(0), log, None, SMALL, config)
    fitter = fitting.begin(task, config)
    while not fitting.is_over(fitter, config):
        fitter, _ = fitting.epoch(jax.random.key(1), task, fitter, config)
    return task, fitting.with_weights(task, fitter.best)


@pytest.fixture(scope="module")
def readers() -> tuple[Any, ...]:
    log = a_reader_log()
    task, model = fitted(log)
    return log, task, model, finish.finish(model, task, log)


def test_hidden_states_are_those_of_each_persons_past_alone(readers):
    log, task, model, _ = readers
    taken = reading.taken(log)
    found = moments.hidden(model, task, log, np.arange(12))
    table = model.items(task.content, task.known)
    for person, events in ((0, 0), (3, 2), (5, int(np.diff(taken.bounds)[5])), (11, 1)):
        first = taken.bounds[person]
        window = -(-(events + 1) // 8)
        split = 0 if window == 1 and np.diff(taken.bounds)[person] <= 8 else None
        if split is None:
            continue
        item = jnp.full(8, -1).at[:events].set(jnp.asarray(taken.item[first : first + events]))
        about = jnp.asarray(task.events.about)[first : first + 8]
        about = jnp.zeros((8, about.shape[1])).at[: len(about)].set(about)
        expected = model.read(model.past(jnp.full(8, -1), table), item, about, table)[events]
        np.testing.assert_allclose(found.at(np.array([person]), np.array([events]))[0], expected, atol=1e-4)


def test_all_heads_of_a_log_are_fitted_and_judged(readers):
    _log, task, _, done = readers
    assert set(done.heads) == {"like", "click", "leave", "gap"}
    for name, judged in done.judged.items():
        found = quality.quality(judged)
        assert np.isfinite([found.nats, found.base, found.plain, found.ece]).all(), name
        assert set(judged.person) <= set(task.people[1])
    assert done.heads["click"].usual[...].shape == (6,)


def test_what_was_shown_before_is_counted_a_person():
    log = log_of(np.array([0, 0, 0, 0, 1, 1]), np.array([3, 4, 3, 3, 3, 4]), 5)
    np.testing.assert_array_equal(moments.times_shown(log), [0, 0, 1, 2, 0, 0])


def test_what_is_still_ahead_in_a_slate_by_hand():
    """Ridits of -.1 and .2 around a share of .2 are weights of .5 and 2; slates of two and of one slot."""
    found = moments.still_ahead(
        np.array([-0.1, 0.2, 0.0]), Classes("numbers", (0.0, 1.0), (0.8, 0.2)), np.array([0, 0, 2]), np.array([2, 2, 1])
    )
    np.testing.assert_allclose(found, np.log([2.5 / 2, 2.0 / 2, 1.0]))


def test_a_gap_is_never_negative_and_a_click_is_yes_or_no(readers):
    *_, done = readers
    gap = done.heads["gap"]
    outlook = gap.outlook(jnp.zeros(8), jnp.zeros(8), jnp.zeros(GAP))
    assert float(gap.draw(jnp.float32(0.0), outlook)) > 0.0
    click = done.heads["click"]
    assert click.classes.edges == (0.0, 1.0)


def test_answers_are_drawn_and_repeat_themselves():
    rng = np.random.default_rng(0)
    value = rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], size=200).astype(np.float32)
    log = log_of(np.repeat(np.arange(20), 10), rng.integers(9, size=200), 9, value=value)
    task, model = fitted(log)
    done = finish.finish(model, task, log, judge=False)
    head, behind = done.heads["value"], done.factors["value"]
    who = answers.Answering(jax.random.key(0), model, task.content, task.known, head, behind, task.scale)
    asked = (np.arange(50), np.tile([1, 2], (50, 1)), np.full((50, 2), 3.0, np.float32), np.full(50, 4))
    found = who.rating(*asked)
    assert set(found) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert len(set(found)) > 1
    np.testing.assert_array_equal(found, who.rating(*asked))
    assert who.rating(np.arange(3), np.zeros((3, 0), int), np.zeros((3, 0)), np.array([0, 1, 2])).shape == (3,)
    other = answers.Answering(jax.random.key(1), model, task.content, task.known, head, behind, task.scale).rating(
        *asked
    )
    assert (found != other).any()
    with pytest.raises(DataError, match="no head for values"):
        answers.Answering(jax.random.key(0), model, task.content, task.known, None, None, task.scale)


def test_a_shop_without_items_is_fitted_for_gaps():
    day, rng = 86_400.0, np.random.default_rng(0)
    days = np.concatenate([np.cumsum(rng.integers(1, 12, size=6)) for _ in range(30)])
    log = log_of(np.repeat(np.arange(30), 6), np.zeros(180, int), 1, time=days * day)
    task, model = fitted(log)
    done = finish.finish(model, task, log)
    assert set(done.heads) == {"gap"}
    drawn = np.asarray(
        [float(done.heads["gap"].draw(jnp.float32(u), _middle(done.heads["gap"]))) for u in (0.1, 0.5, 0.9)]
    )
    assert (drawn % 24.0 == 0.0).all()


def _middle(head: Head) -> Any:
    return head.outlook(jnp.zeros(8), jnp.zeros(8), jnp.zeros(GAP))


def test_people_held_back_teach_no_head_but_its_calibration(readers):
    log, task, model, done = readers
    held = np.isin(log.user, task.people[1])
    other = dataclasses.replace(log, actions=np.where(held, log.actions & ~LIKE, log.actions))
    again = finish.finish(model, task, other)
    for name in ("first", "of_extra", "of_hidden"):
        one, two = (getattr(x.untold["click"].plain, name)[...] for x in (done, again))
        np.testing.assert_array_equal(one, two)
