"""What a user would have done with logged slates, and whether it is told from people: planted truths, plain loops, gaps by hand."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreco.base import CLICK, EXAMINED
from jaxreco.benchmarks import fidelity, gaps, heads, judge, judge_network, responses_drawn
from jaxreco.benchmarks.report import Report
from jaxreco.benchmarks.responses_drawn import FREE, LEARNED, LOGGED, Did, Responses, Slots
from jaxreco.data.log import Items, Log
from jaxreco.fit import finish
from jaxreco.fit.regression import Rows
from jaxreco.users import factors
from jaxreco.users import heads as user_heads
from jaxreco.users.classes import LOG, Classes
from jaxreco.users.heads import Head

PEOPLE, SLATES = 60, 6


def slots_of(seed: int = 0) -> Slots:
    """Slates of 3 to 6 items, of which others click some more than others; a person's slates are two units."""
    rng = np.random.default_rng(seed)
    size = rng.integers(3, 7, PEOPLE * SLATES)
    slate = np.repeat(np.arange(len(size)), size)
    kind = rng.integers(20, size=len(slate))
    position = np.arange(len(slate)) - np.searchsorted(slate, slate)
    person, unit, zero = slate // SLATES, slate // (SLATES // 2), np.zeros(len(slate))
    return Slots(
        person, unit, slate, kind, position.astype(float), size[slate].astype(float), zero, zero, kind / 10.0 - 1.0
    )


def truth(slots: Slots, seed: int, rise: float = 3.0) -> Did:
    """Who clicks what others click, and reads it for half a minute or so."""
    rng = np.random.default_rng(seed)
    clicked = rng.random(len(slots.slate)) < 1.0 / (1.0 + np.exp(1.0 - rise * slots.usual))
    return Did(clicked, np.where(clicked, np.exp(rng.normal(3.0, 1.0, len(clicked))), 0.0))


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_network, "EPOCHS", 6)
    monkeypatch.setattr(judge_network, "LONGEST", 16)


# -- judges --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("name", list(judge.JUDGES))
def test_the_truth_is_not_told_and_who_always_clicks_is(name: str) -> None:
    slots = slots_of()
    real, always = truth(slots, 1), Did(np.ones(len(slots.slate), bool), np.zeros(len(slots.slate)))
    blind = judge.crossed(judge.told(slots, real, truth(slots, 2)), judge.JUDGES[name], 3)
    assert blind.value < 0.56
    assert blind.low < 0.5
    plain = judge.crossed(judge.told(slots, real, always), judge.JUDGES[name], 3)
    assert plain.value > 0.95
    moved = judge.crossed(judge.told(slots, real, judge.shuffled(slots, truth(slots, 2))), judge.JUDGES[name], 3)
    assert moved.value > max(0.6, blind.high)


def test_nobody_is_both_trained_on_and_judged() -> None:
    slots, met = slots_of(), []

    def spy(shown: judge.Told, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
        met.append(set(shown.person[test]))
        assert not met[-1] & set(shown.person[train])
        return np.arange(float(test.sum()))

    judge.crossed(judge.told(slots, truth(slots, 1), truth(slots, 2)), spy, 4)
    assert len(met) == 4
    assert set.union(*met) == set(range(PEOPLE))


def test_halves_are_of_people() -> None:
    slots = slots_of()
    shown = judge.halved(slots, truth(slots, 1))
    called = [set(shown.simulated[shown.person == person]) for person in range(PEOPLE)]
    assert all(len(each) == 1 for each in called)
    assert sum(each == {True} for each in called) == PEOPLE // 2


def test_the_auc_by_hand() -> None:
    score, positive = np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, True, False, True])
    # Pairs (2, 1), (2, 2), (3, 1), (3, 2): three are right and one ties.
    assert judge.auc(score, positive, np.array([0, 0, 1, 1])).value == pytest.approx(3.5 / 4)
    apart = judge.auc(score, positive, np.array([0, 0, 0, 0]))
    assert (apart.low, apart.high) == (apart.value, apart.value)


def test_shuffling_keeps_what_was_done_in_slates_of_each_size() -> None:
    slots = slots_of()
    did = truth(slots, 1)
    moved = judge.shuffled(slots, did, seed=3)

    def done(each: Did) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for slate in np.unique(slots.slate):
            at = slots.slate == slate
            found.setdefault(int(at.sum()), []).append((tuple(each.clicked[at]), tuple(each.watch[at])))
        return {size: sorted(of) for size, of in found.items()}

    assert done(moved) == done(did)
    assert (moved.clicked != did.clicked).mean() > 0.1
    alone = Slots(*(column[slots.slate == 0] for column in slots))
    one = Did(np.arange(len(alone.slate)) == 0, np.zeros(len(alone.slate)))
    assert judge.shuffled(alone, one, seed=1).clicked.sum() == 1


def test_the_summary_by_hand() -> None:
    """One unit of two slates; the first has two clicks, and the second a click on a kind that was clicked before."""
    whole = np.zeros(5, int)
    slots = Slots(
        whole, whole, np.array([0, 0, 0, 1, 1]), np.array([7, 8, 9, 8, 9]),
        np.array([0.0, 1.0, 2.0, 0.0, 1.0]), np.array([3.0, 3.0, 3.0, 2.0, 2.0]), np.array([0.0, 0.0, 0.0, 1.0, 1.0]), np.zeros(5),
        np.array([0.1, 0.4, 0.1, -0.5, 0.5]),
    )  # fmt: skip
    found = judge.summary(slots, Did(np.array([1, 1, 0, 1, 0], bool), np.array([0.0, 0.0, 0.0, np.e, 0.0])))
    value = {name: float(each[0]) for name, each in found.items()}
    assert (value["slates"], value["slots"], value["clicks_a_slate"], value["clicks_a_slot"]) == (2, 5, 1.5, 0.6)
    assert (value["slates_with_several"], value["slates_without"], value["most_in_a_slate"]) == (0.5, 0.0, 2.0)
    assert value["clicked_beside"] == pytest.approx(1 / 3)
    assert value["clicked_kind_again"] == pytest.approx(1 / 3)
    assert value["position_mean"] == pytest.approx(1 / 3)
    assert value["place_most"] == pytest.approx(1 / 3)
    assert value["usual_less_mean"] == pytest.approx((-0.1 + 0.2 - 0.5) / 3)
    assert value["seen_mean"] == pytest.approx(1 / 3)
    assert value["rank_most"] == pytest.approx(2 / 3)
    assert (value["readings"], value["reading_mean"], value["reading_spread"]) == (1.0, 1.0, 0.0)
    nothing = judge.summary(slots, Did(np.zeros(5, bool), np.zeros(5)))
    assert np.isnan(nothing["position_mean"][0])
    assert nothing["slates_without"][0] == 1.0


def test_what_is_clicked_is_read_of_a_long_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_network, "LONGEST", 3)
    whole = np.zeros(5, int)
    slots = Slots(whole, whole, whole, whole, np.arange(5.0), np.full(5, 5.0), np.zeros(5), np.zeros(5), np.zeros(5))
    found = judge_network.tokens(slots, Did(np.array([0, 0, 0, 0, 1], bool), np.zeros(5)))
    np.testing.assert_array_equal(found.about[0, :, 0], [0.0, 0.0, 1.0])
    np.testing.assert_allclose(found.about[0, :, 1], np.log1p([0.0, 1.0, 4.0]), rtol=1e-6)
    assert found.there.all()


def test_without_scikit_learn_the_other_judge_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    monkeypatch.setitem(judge.JUDGES, "transformer", lambda shown, train, test, seed: np.zeros(test.sum()))
    slots = slots_of()
    report = Report("fidelity", "", "quick", 0.0)
    did = {LOGGED: truth(slots, 1), LEARNED: truth(slots, 2), FREE: truth(slots, 3)}
    judge.add(report, "x", Responses(slots, did), 2, "quick", lambda text: None)
    assert {row.protocol for row in report.rows} == {"judge/transformer"}
    assert {row.agent for row in report.rows} == {LEARNED, judge.SHUFFLED, judge.HALVES}
    assert any("pip install 'jaxreco[judge]'" in note for note in report.notes)


# -- responses that are drawn --------------------------------------------------------------------------------


def test_a_click_given_that_there_is_one() -> None:
    """Against slates drawn freely of which those without a click are thrown away."""
    share = np.array([0.2, 0.1, 0.3])
    logit = np.repeat(np.log(share / (1.0 - share))[None], 40_000, axis=0)
    free = responses_drawn.walk(logit, logit, -0.7, np.random.default_rng(0), kept=False)
    given = responses_drawn.walk(logit, logit, -0.7, np.random.default_rng(1), kept=True)
    assert free[:, 0].mean() == pytest.approx(0.2, abs=0.01)
    assert given.any(axis=1).all()
    seen = [
        np.bincount(each @ np.array([1, 2, 4]), minlength=8) / len(each) for each in (free[free.any(axis=1)], given)
    ]
    np.testing.assert_allclose(seen[0], seen[1], atol=0.012)
    second = 1.0 / (1.0 + np.exp(-(logit[0, 2] - 0.7 * np.log(2.0))))  # after one click
    once = given[:, 0] & ~given[:, 1]
    assert given[once, 2].mean() == pytest.approx(second, abs=0.015)
    never = responses_drawn.walk(logit, np.full_like(logit, -np.inf), -0.7, np.random.default_rng(2), kept=True)
    np.testing.assert_array_equal(never.sum(axis=1), 1)


def test_columns_are_where_click_features_puts_them() -> None:
    lift, position, size, twice, none, four, ahead = (np.float32(x) for x in (1.0, 2.0, 3.0, 2.0, 0.0, 4.0, 7.0))
    heard = np.arange(20.0, 23.0)
    found = user_heads.click_features(lift, position, size, twice, none, ahead, heard)
    assert (float(found[responses_drawn.AHEAD]), float(found[responses_drawn.FIRST])) == (7.0, 1.0)
    np.testing.assert_array_equal(found[responses_drawn.STANDING :], heard)
    found = user_heads.click_features(lift, position, size, twice, four, ahead, heard)
    assert float(found[responses_drawn.CLICKED]) == pytest.approx(np.log(5.0))
    assert len(found) == user_heads.CLICK


def rows_of(person: np.ndarray, extra: np.ndarray) -> Rows:
    n, nothing = len(person), np.zeros((len(person), 2), np.float32)
    plain = np.zeros(n, np.float32)
    return Rows(
        person, np.full(n, -1), nothing, nothing, plain, extra.astype(np.float32), extra.astype(np.float32),
        np.zeros(n, int), np.full(n, np.nan), plain,
    )  # fmt: skip


def test_clicks_hear_of_those_that_were_drawn_by_plain_loops() -> None:
    """One person; what the rows say of its real clicks must not matter."""
    rng = np.random.default_rng(0)
    size = rng.integers(2, 6, 40)
    slate = np.repeat(np.arange(40), size)
    position = np.arange(len(slate)) - np.searchsorted(slate, slate)
    zero = np.zeros(len(slate))
    slots = Slots(zero.astype(int), slate, slate, slate, position, size[slate].astype(float), zero, zero, zero)
    head = Head(Classes("numbers", (0.0, 1.0), (0.7, 0.3)), 2, user_heads.CLICK, 1, rngs=nnx.Rngs(0))
    weight = np.array([0.5, -0.2, 0.1, -0.6, -1.5, -0.8, 0.4, -2.0, 1.0, 0.3], np.float32)
    head.of_extra[...] = weight
    extra = rng.normal(size=(len(slate), user_heads.CLICK)).astype(np.float32)
    found = responses_drawn.clicks(
        head, rows_of(np.zeros(len(slate), int), extra), slots, np.random.default_rng(5), False
    )
    again, expected = np.random.default_rng(5), []
    total = count = 0.0
    at = 0
    for length in size:
        standing = np.array([total / (count + 5.0), np.log1p(count) / 4.0, 1.0])
        clicks = 0
        for place in range(length):
            logit = extra[at, :4] @ weight[:4] + weight[4] * np.log1p(clicks) + standing @ weight[7:] + np.log(3 / 7)
            if not clicks:  # all items are ordinary
                logit += weight[5] * np.log((length - place) / length) + weight[6]
            expected.append(again.random() < 1.0 / (1.0 + np.exp(-logit)))
            clicks += expected[-1]
            at += 1
        # Ridits: who does not click is above nobody and below 3 in 10, who clicks is above 7 in 10.
        total += 0.7 * clicks - 0.3 * (length - clicks)
        count += length
    np.testing.assert_array_equal(found, expected)


HEARS = user_heads.HEARD + factors.FORESEEN  # numbers that the head of reading times hears


def nothing(items: int = 12) -> factors.Factors:
    """Factors that tell of nothing."""
    return factors.Factors(jnp.zeros((items, factors.RANK + 1)), jnp.zeros(items), jnp.float32(1.0))


def test_readings_are_whole_seconds_and_hear_of_those_before() -> None:
    """Of two people one reads long; who has read long reads longer where the head says so."""
    head = Head(Classes(LOG, (1.0, 10.0, 100.0), (0.5, 0.5)), 2, HEARS, 1, rngs=nnx.Rngs(0))
    person = np.repeat([0, 1], 400)
    rows, item = rows_of(person, np.zeros((800, HEARS))), np.zeros(800, int)
    found = responses_drawn.readings(head, rows, item, nothing(), 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(found, np.round(found))
    assert found.min() >= 1.0
    assert (found >= 10.0).mean() == pytest.approx(0.5, abs=0.06)
    head.of_extra[...] = np.array([50.0, 0.0, 0.0, 0.0, 0.0], np.float32)
    certain = responses_drawn.readings(head, rows, item, nothing(), 0.0, np.random.default_rng(0)) >= 10.0
    for own in (certain[:400], certain[400:]):
        assert own[50:].all() or not own[50:].any()


# -- gaps ----------------------------------------------------------------------------------------------------


def two_people() -> Responses:
    """Two slates of two each. Real: kinds 1 and 1, and 2 and 2. Simulated: 1, 2 and 1, and 2 and 1, of five clicks."""
    person, slate = np.repeat([0, 1], 4), np.repeat([0, 1, 2, 3], 2)
    kind = np.array([1, 2, 1, 2, 2, 1, 2, 1])
    zero = np.zeros(8)
    slots = Slots(person, slate, slate, kind, np.tile([0.0, 1.0], 4), np.full(8, 2.0), zero, zero, zero)
    real = Did(np.array([1, 0, 1, 0, 1, 0, 1, 0], bool), zero)
    drawn = Did(np.array([1, 1, 1, 0, 1, 0, 0, 1], bool), zero)
    free = Did(np.array([0, 0, 1, 0, 1, 0, 0, 1], bool), zero)
    return Responses(slots, {LOGGED: real, LEARNED: drawn, FREE: free})


def test_gaps_by_hand() -> None:
    found = gaps.of_responses(two_people())
    assert [gap.name for gap in found] == ["activity", *["diversity"] * 3, "positivity"]
    two, first, five = np.log(2.0), -(2 * np.log(2 / 3) + np.log(1 / 3)) / 3, -(0.6 * np.log(0.6) + 0.4 * np.log(0.4))
    expected = [
        (5 / 4, 1.0),  # clicks a slate
        (0.25, 0.0),  # 3 in two slates and 2 in two
        ((first + two) / 2, 0.0),
        (five - (first + two) / 2, two),
        (3 / 4, 1.0),
    ]
    for gap, (simulated, real) in zip(found, expected, strict=True):
        assert gap.simulated == pytest.approx(simulated), gap.what
        assert gap.real == pytest.approx(real), gap.what
        assert gap.less.value == pytest.approx(simulated - real), gap.what
        assert gap.less.low <= gap.less.value <= gap.less.high or gap.name == "diversity"


def test_gaps_of_values_by_hand() -> None:
    said = gaps.Said(np.array([0, 0, 1]), np.array([1.0, 3.0, 5.0]), np.array([2.0, 4.0, 3.0]))
    kinder, alike = gaps.of_values(said)
    assert (kinder.name, kinder.simulated, kinder.real, kinder.less.value) == ("positivity", 3.0, 3.0, 0.0)
    assert (alike.name, alike.simulated, alike.real) == ("diversity", 0.0, 1.5)
    assert kinder.less.low < 0.0 < kinder.less.high


def test_distances_are_of_people_and_readings() -> None:
    found = two_people()
    life = gaps.distances(found)
    assert "reading seconds" not in life
    activity = life["activity of each person"]
    np.testing.assert_allclose(activity.drawn, [1.5, 1.0])
    np.testing.assert_allclose(activity.real, [1.0, 1.0])
    assert heads.transport(activity.drawn, activity.real) == pytest.approx(0.25)


# -- all of it -----------------------------------------------------------------------------------------------


def news(people: int = 16, slates: int = 8) -> Log:
    """Each slate has one click, on an item of a low number oftener; items of low numbers are read long."""
    rng = np.random.default_rng(0)
    item = np.stack([rng.permutation(12)[:4] for _ in range(people * slates)])
    slate = np.repeat(np.arange(people * slates), 4)
    clicked = np.argmin(item + rng.normal(0.0, 3.0, item.shape), axis=1)[:, None] == np.arange(4)
    watch = np.where(clicked, np.round(np.exp(4.0 - 0.2 * item + rng.normal(size=item.shape))) + 1.0, 0.0).ravel()
    number = slate % slates
    return Log.of(
        "news", slate // slates, item.ravel(), Items(ids=np.arange(12)), np.arange(people),
        time=1e9 + 60.0 * (number % 2) + 36_000.0 * (number // 2) * (1 + slate % 3 / 7), slate=slate.astype(np.int32),
        position=np.tile(np.arange(4), people * slates), watch=watch.astype(np.float32),
        actions=np.where(clicked.ravel(), CLICK | EXAMINED, EXAMINED).astype(np.int32), session=(slate // 2).astype(np.int32),
    )  # fmt: skip


def planted() -> heads.Met:
    """People of whom each slate has a click, and heads that nobody fitted: any slot is clicked in three cases of ten."""
    log, generator = news(people=6, slates=8), nnx.Rngs(0)
    people, n = np.arange(3, 6), 3 * 8 * 4
    click = Head(Classes("numbers", (0.0, 1.0), (0.7, 0.3)), 2, user_heads.CLICK, 1, rngs=generator)
    watch = Head(Classes(LOG, (1.0, 10.0, 100.0), (0.5, 0.5)), 2, HEARS, 1, rngs=generator)
    found = {"click": click, "watch": watch}
    task = SimpleNamespace(people=(np.arange(3), np.zeros(0, int)))
    untold = {name: finish.Untold(head, head) for name, head in found.items()}
    fitted = heads.Fitted(None, task, finish.Finished(found, {}, untold, {"watch": nothing()}, {}))  # type: ignore[arg-type]
    rows = rows_of(np.repeat(people, 32), np.zeros((n, user_heads.CLICK)))._replace(item=np.zeros(n, int))
    return heads.Met(log, fitted, people, {"click": rows, "watch": rows}, 0)


def test_responses_are_to_the_slates_that_people_saw() -> None:
    met = planted()
    found = responses_drawn.responses(met)
    assert found is not None
    assert met.log.session is not None
    assert met.log.actions is not None
    assert met.log.watch is not None
    assert list(found.did) == [LOGGED, LEARNED, FREE, "logistic", "base_rate"]
    at = np.isin(met.log.user, met.people)
    np.testing.assert_array_equal(found.slots.person, met.log.user[at])
    np.testing.assert_array_equal(found.slots.unit, met.log.session[at])
    np.testing.assert_array_equal(found.slots.kind, met.log.item[at])  # there are no categories
    np.testing.assert_array_equal(found.slots.position, np.tile(np.arange(4.0), 24))
    np.testing.assert_array_equal(found.slots.size, 4.0)
    np.testing.assert_array_equal(found.did[LOGGED].clicked, (met.log.actions[at] & CLICK) != 0)
    np.testing.assert_array_equal(found.did[LOGGED].watch, met.log.watch[at])
    clicks = {name: did.clicked.reshape(24, 4).sum(axis=1) for name, did in found.did.items()}
    assert clicks[LEARNED].min() == 1  # as in all that is fitted to
    assert clicks[FREE].min() == 0
    for did in found.did.values():
        seconds = did.watch.reshape(24, 4)
        assert ((seconds > 0).sum(axis=1) == (did.clicked.reshape(24, 4).sum(axis=1) == 1)).all()
        np.testing.assert_array_equal(seconds, np.round(seconds))


def test_how_often_an_item_was_seen_by_plain_loops() -> None:
    log = news(people=3, slates=4)
    found = responses_drawn.slots_of(log, np.arange(len(log)), np.zeros(len(log)))
    for row in range(len(log)):
        same = [at for at in range(row) if (log.user[at], log.item[at]) == (log.user[row], log.item[row])]
        assert found.seen[row] == len(same)
        assert found.shown[row] == pytest.approx(np.log((log.item == log.item[row]).sum()))


def test_categories_are_kinds_where_most_slots_have_one() -> None:
    log = news(people=2, slates=4)
    for empty, own in ((3, False), (9, True)):
        names = tuple(() if i < empty else (f"kind {i % 2}", "other") for i in range(12))
        items = dataclasses.replace(log.items, categories=names)
        slots = responses_drawn.slots_of(dataclasses.replace(log, items=items), np.arange(len(log)), np.zeros(len(log)))
        kind = log.item if own else np.where(log.item < empty, 0, 1 + log.item % 2)
        np.testing.assert_array_equal(slots.kind, kind)


def test_groups_of_people_are_put_into_the_order_of_the_log() -> None:
    slots, parts = slots_of(), []
    did = truth(slots, 1)
    for odd in (1, 0):
        at = np.flatnonzero(slots.person % 2 == odd)
        parts.append(Responses(slots.of(at), {LOGGED: did.of(at)}))
    found = responses_drawn.together(parts)
    for ours, theirs in zip((*found.slots, *found.did[LOGGED]), (*slots, *did), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
def test_all_of_it_with_one_fit_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    log, fits, real = news(), [], heads.fit
    monkeypatch.setattr(heads.sets, "load", lambda path: log)
    monkeypatch.setattr(heads, "EPOCHS", {"quick": 1})
    monkeypatch.setattr(judge, "FOLDS", {"quick": 2})
    monkeypatch.setattr(heads, "fit", lambda *given: fits.append(1) or real(*given))
    report = Report("fidelity", "", "quick", 0.0)
    fidelity._people(report, "ebnerd-sample", Path(), "quick", lambda text: None)
    assert len(fits) == 2
    judged = {(row.protocol, row.agent): row.value for row in report.rows if row.metric == "auc"}
    for name in judge.JUDGES:
        for agent in (LEARNED, "logistic", "base_rate", "shuffled", "half_vs_half"):
            assert 0.0 <= judged[f"judge/{name}", agent] <= 1.0
    clicks = {row.agent: row.value for row in report.rows if row.metric == "activity" and row.against is None}
    assert clicks["logged"] == 1.0
    assert clicks["learned"] >= 1.0  # only slates with a click are kept
    freely = {row.agent: row.value for row in report.rows if row.metric == "positivity" and row.against is None}
    assert freely["learned"] < freely["logged"] == 1.0
    moved = {row.protocol for row in report.rows if row.metric == "wasserstein"}
    assert "reading_seconds" in moved
    assert {row.protocol for row in report.rows if row.metric == "log_likelihood"} >= {"click", "watch"}
