"""Simulated users' yes and no: cases, negatives, thresholds, metrics and intervals against loops and hand-worked numbers."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from jaxreco import evaluation
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError
from jaxreco.ranking import closed
from jaxreco.ranking.closed import Recipe
from jaxreco.usersim import cases, decisions, estimates, logistic, models, negatives, rows, scorers
from jaxreco.usersim.cases import Cases
from jaxreco.usersim.decisions import Counts, Scores
from jaxreco.usersim.estimates import Ratio
from jaxreco.usersim.models import Asked, Best, Form, Logistic
from jaxreco.usersim.scorers import Always, Closed, Content, Factors, Length, Popularity

NAN = float("nan")


def log_of(sequences: list[list[int]], n_items: int, **items: Any) -> Log:
    user = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
    return Log.of("x", user, np.concatenate(sequences), Items(np.arange(n_items), **items), np.arange(len(sequences)))


def random_log(users: int = 40, n_items: int = 150, events: int = 14, seed: int = 0, **items: Any) -> Log:
    """Some items are taken far oftener than others."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, n_items + 1)
    chosen = [rng.choice(n_items, events, replace=False, p=share / share.sum()).tolist() for _ in range(users)]
    return log_of(chosen, n_items, **items)


# -- cases ---------------------------------------------------------------------------------------------------


def test_the_latest_items_are_asked_for() -> None:
    log = log_of([list(range(25)), list(range(12)), list(range(9)), [*range(9), 0]], 30)
    assert cases.judged(log).tolist() == [0, 1, 3]
    found = cases.latest(log, np.array([0, 1]))
    assert found.history.tolist() == [list(range(15)), [-1] * 8 + list(range(7))]
    assert found.positives.tolist() == [list(range(15, 25)), [-1] * 5 + list(range(7, 12))]
    edges = cases.latest(log_of([list(range(n)) for n in (10, 19, 20)], 30), np.arange(3))
    assert (edges.positives >= 0).sum(axis=1).tolist() == [5, 5, 10]
    assert found.rows(np.array([1])).history.tolist() == [[-1] * 8 + list(range(7))]
    for user, wrong in ((2, "user 2 has fewer than 10 events"), (3, "user 3 has an item twice")):
        with pytest.raises(DataError, match=wrong):
            cases.latest(log, np.array([user]))


def test_cases_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text(
        '{"user": 7, "history": [10, 30], "positives": [20]}\n{"user": "b", "history": [20], "positives": [30, 10]}\n'
    )
    found = cases.read(path, np.array([10, 20, 30]))
    assert found.history.tolist() == [[0, 2], [-1, 1]]
    assert found.positives.tolist() == [[-1, 1], [2, 0]]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("[1]", "expected"),
        ('{"history": [10], "positives": [20]}', 'expected {"user": id, "history"'),
        ('{"user": 2, "history": [], "positives": [20]}', "history must be a list of one item or more"),
        ('{"user": 2, "history": [10], "positives": 20}', "positives must be a list of one item or more"),
        ('{"user": 2, "history": [10], "positives": [99]}', "item 99 is not an item of the set"),
        ('{"user": 2, "history": ["10"], "positives": [20]}', "item '10' is not an item of the set"),
        ('{"user": 2, "history": [true], "positives": [20]}', "item True is not"),
        ('{"user": 2, "history": [[10]], "positives": [20]}', "item .10. is not"),
        ('{"user": 2, "history": [10, 20], "positives": [20]}', "item 20 is there twice"),
        ('{"user": [2], "history": [10], "positives": [20]}', "user must be a number or a text"),
        ('{"user": 1, "history": [10], "positives": [20]}', "user 1 is there twice"),
        ("{", "line 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, wrong: str) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text('{"user": 1, "history": [10], "positives": [20]}\n' + line + "\n")
    with pytest.raises(DataError, match=wrong) as error:
        cases.read(path, np.array([10, 20, 30]))
    assert "people.jsonl, line 2: " in str(error.value)


def test_a_file_without_users(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text("\n")
    with pytest.raises(DataError, match="holds no users"):
        cases.read(path, np.array([10]))


def test_who_is_asked_about_is_found_in_a_log() -> None:
    whole = list(range(30))
    spread = [x for at in range(18, 30) for x in (at, at + 30, at + 50)]
    log = log_of([whole, whole[:-1], whole[18:], whole[:-2], spread, [*whole[19:24], 90, *whole[24:29][::-1]]], 100)
    asked = Cases(np.arange(20)[None], np.arange(20, 30)[None])
    # All, all but the last, the end alone, and the end in some disorder: one person. One more missing, or others between: another.
    assert cases.same_people(log, asked).tolist() == [0, 1, 2, 5]
    few = Cases(np.array([[0, 1]]), np.array([[2, 3]]))
    assert cases.same_people(log, few).tolist() == []


# -- negatives -----------------------------------------------------------------------------------------------


def some_cases(users: int, n_items: int, events: int = 12, seed: int = 1) -> Cases:
    rng = np.random.default_rng(seed)
    taken = np.array([rng.permutation(n_items)[:events] for _ in range(users)], np.int32)
    short = taken[:, -5:].copy()
    short[::3, :3] = -1  # users of two positives
    return Cases(taken[:, :-5], short)


def test_negatives_were_not_taken_and_are_as_many_as_asked_for() -> None:
    asked = some_cases(30, 130)
    drawn = negatives.draws(asked, np.ones(130), 3)
    assert drawn.shape == (3, 30, 19 * 5)
    for redraw in drawn:
        for user, row in enumerate(redraw):
            count = 19 * (2 if user % 3 == 0 else 5)
            assert (row[:count] >= 0).all()
            assert (row[count:] == -1).all()
            assert len(set(row[:count].tolist())) == count
            assert not set(row[:count].tolist()) & {*asked.history[user].tolist(), *asked.positives[user].tolist()}
    np.testing.assert_array_equal(drawn, negatives.draws(asked, np.ones(130), 3))
    np.testing.assert_array_equal(drawn[:2], negatives.draws(asked, np.ones(130), 2))
    assert (drawn[0] != drawn[1]).any()


def test_negatives_are_drawn_one_after_another_in_proportion() -> None:
    """Of weights 1, 2, 3, 4 (and one taken, and one of 0): the chance of i and then j is w_i / 10 w_j / (10 - w_i)."""
    weight = np.array([1.0, 2.0, 3.0, 4.0, 50.0, 0.0])
    asked = Cases(np.full((20_000, 1), -1, np.int32), np.full((20_000, 1), 4, np.int32))
    (drawn,) = negatives.draws(asked, weight, 1, ratio=2)
    found = Counter(map(tuple, drawn.tolist()))
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    expected = [weight[i] / 10.0 * weight[j] / (10.0 - weight[i]) for i, j in pairs]
    assert set(found) == set(pairs)
    assert stats.chisquare([found[pair] for pair in pairs], 20_000 * np.array(expected)).pvalue > 1e-3


def test_too_few_items_are_refused() -> None:
    asked = Cases(np.array([[0]], np.int32), np.array([[1]], np.int32))
    assert negatives.draws(asked, np.ones(21), 1).shape == (1, 1, 19)
    with pytest.raises(DataError, match="18 items are left to draw 19 negatives from"):
        negatives.draws(asked, np.ones(20), 1)
    with pytest.raises(DataError, match="2 items are left"):
        negatives.draws(asked, (np.arange(30) < 4) * 1.0, 1)


# -- decisions -----------------------------------------------------------------------------------------------


def some_scores(users: int = 12, seed: int = 0, levels: int = 9) -> Scores:
    """With many ties, and users of fewer items."""
    rng = np.random.default_rng(seed)
    positive = rng.integers(2, levels + 2, (users, 4)).astype(np.float32)
    negative = rng.integers(0, levels, (3, users, 20)).astype(np.float32)
    positive[::4, :2] = np.nan
    negative[:, ::4, 10:] = np.nan
    return Scores(positive, negative)


def said_yes(scores: Scores, threshold: float) -> tuple[list[int], list[int], list[float]]:
    """Taken, right and yes of each user, by loops."""
    taken: list[int] = []
    right: list[int] = []
    yes: list[float] = []
    for user, good in enumerate(scores.positive.tolist()):
        good = [x for x in good if x == x]
        bad = [x for redraw in scores.negative[:, user].tolist() for x in redraw if x == x]
        taken.append(len(good))
        right.append(sum(x >= threshold for x in good))
        yes.append(right[-1] + sum(x >= threshold for x in bad) / len(scores.negative))
    return taken, right, yes


@pytest.mark.parametrize("seed", range(5))
def test_counts_and_the_threshold_are_those_of_loops(seed: int) -> None:
    scores = some_scores(seed=seed)
    worth = {}
    for threshold in np.arange(-0.5, 12.0, 0.5):  # on the levels, and between them
        taken, right, yes = said_yes(scores, threshold)
        found = decisions.counts(scores, threshold)
        assert (found.taken.tolist(), found.right.tolist()) == (taken, right)
        np.testing.assert_allclose(found.yes, yes)
        worth[threshold] = 2.0 * sum(right) / (sum(taken) + sum(yes))
        assert found.f1() == pytest.approx(worth[threshold])
    chosen = decisions.threshold(scores)
    assert decisions.counts(scores, chosen).f1() == pytest.approx(max(worth.values()))
    assert worth[chosen] == pytest.approx(max(worth.values()))  # halfway between two levels


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_that_of_loops_and_of_mann_and_whitney(seed: int) -> None:
    scores = some_scores(seed=seed)
    for user, found in enumerate(decisions.auc(scores)):
        good = [x for x in scores.positive[user].tolist() if x == x]
        bad = [x for x in scores.negative[:, user].ravel().tolist() if x == x]
        pairs = [1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad]
        assert found == pytest.approx(sum(pairs) / len(pairs))
        assert found == pytest.approx(stats.mannwhitneyu(good, bad).statistic / len(pairs))


def test_a_lower_ratio_takes_the_first_negatives() -> None:
    scores = some_scores(users=5)
    at = scores.at(2)
    np.testing.assert_array_equal(at.positive, scores.positive)
    for user in range(5):
        count = 2 * int((~np.isnan(scores.positive[user])).sum())
        np.testing.assert_array_equal(at.negative[:, user, :count], scores.negative[:, user, :count])
        assert np.isnan(at.negative[:, user, count:]).all()


@pytest.mark.parametrize(("ratio", "expected"), [(1, 2 / 3), (9, 2 / 11), (19, 2 / 21)])
def test_a_yes_to_everything(ratio: int, expected: float) -> None:
    zeros = Scores(np.array([[0.0, 0.0], [NAN, 0.0]]), np.zeros((3, 2, 38)))
    zeros.negative[:, 1, 19:] = NAN
    at = zeros.at(ratio)
    assert decisions.threshold(at) == float("-inf")
    found = estimates.ratios(decisions.counts(at, decisions.threshold(at)))
    assert found["f1"].value() == pytest.approx(expected)
    assert found["precision"].value() == pytest.approx(1.0 / (1 + ratio))
    assert found["recall"].value() == 1.0
    assert decisions.auc(at).tolist() == [0.5, 0.5]


# -- estimates -----------------------------------------------------------------------------------------------


def test_precision_recall_and_f1_by_hand() -> None:
    """3 of 4 and 0 of 2 positives got a yes, beside 1 and 2 wrong ones."""
    found = estimates.ratios(Counts(np.array([4.0, 2.0]), np.array([3.0, 0.0]), np.array([4.0, 2.0])))
    assert found["precision"].value() == pytest.approx(3 / 6)
    assert found["recall"].value() == pytest.approx(3 / 6)
    assert found["f1"].value() == pytest.approx(2 * 3 / (6 + 6))
    never = estimates.ratios(Counts(np.array([4.0]), np.array([0.0]), np.array([0.0])))
    assert [ratio.value() for ratio in never.values()] == [0.0, 0.0, 0.0]


def test_intervals_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(3)
    above, below = rng.random(30), 1.0 + rng.random(30)
    other = Ratio(rng.random(30), below)
    draw, values, gains = np.random.default_rng(0), [], []
    for _ in range(estimates.RESAMPLES):
        users = draw.integers(30, size=30)
        values.append(above[users].sum() / below[users].sum())
        gains.append(values[-1] - other.above[users].sum() / below[users].sum())
    np.testing.assert_allclose(
        estimates.interval(Ratio(above, below)), [above.sum() / below.sum(), *np.percentile(values, [2.5, 97.5])]
    )
    np.testing.assert_allclose(estimates.interval(Ratio(above, below), other)[1:], np.percentile(gains, [2.5, 97.5]))
    assert estimates.interval(other, other) == (0.0, 0.0, 0.0)
    np.testing.assert_allclose(estimates.interval(Ratio.mean(above)), evaluation.interval(above))


# -- logistic regression -------------------------------------------------------------------------------------


def test_one_yes_or_no_feature_gives_the_logarithm_of_the_odds_ratio() -> None:
    """10 of 40 without the feature and 30 of 40 with it: -log 3, and 2 log 3 more. One row may stand for several."""
    feature, taken = np.array([0.0, 0.0, 1.0, 1.0]), np.array([True, False, True, False])
    found = logistic.fit(feature[:, None], taken, np.array([10.0, 30.0, 30.0, 10.0]), ridge=1e-9)
    assert found.intercept == pytest.approx(-np.log(3.0), rel=1e-6)
    assert found.slope[0] == pytest.approx(2.0 * np.log(3.0), rel=1e-6)
    assert found.log_odds(np.array([[1.0]])) == pytest.approx(np.log(3.0), rel=1e-6)


def test_logistic_regression_is_what_a_general_optimiser_finds() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) * [1.0, 20.0, 0.1] + [0.0, 5.0, -1.0]
    taken = rng.random(200) < 1.0 / (1.0 + np.exp(-x[:, 0] - 0.05 * x[:, 1]))
    weight = rng.random(200)
    spread = np.sqrt(np.average((x - np.average(x, axis=0, weights=weight)) ** 2, axis=0, weights=weight))

    def loss(w: np.ndarray) -> float:
        odds = x @ w[:3] + w[3]
        return float(weight @ np.logaddexp(0.0, np.where(taken, -odds, odds)) + 0.5 * ((w[:3] * spread) ** 2).sum())

    best = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-6}).x
    found = logistic.fit(x, taken, weight, ridge=1.0)
    np.testing.assert_allclose([*found.slope, found.intercept], best, rtol=1e-3, atol=1e-4)


def test_logistic_regression_of_parted_classes_and_of_a_constant_is_finite() -> None:
    x = np.column_stack([np.arange(10.0), np.full(10, 3.0)])
    found = logistic.fit(x, x[:, 0] > 4.5, np.ones(10), ridge=1e-3)
    assert np.isfinite([*found.slope, found.intercept]).all()
    assert ((found.log_odds(x) > 0.0) == (x[:, 0] > 4.5)).all()
    assert found.slope[1] == pytest.approx(0.0, abs=1e-9)


# -- scorers -------------------------------------------------------------------------------------------------


def test_popularity_and_length_by_hand() -> None:
    log = log_of([[0, 1], [0, 2], [0]], 4)
    history, candidates = np.array([[-1, 1], [1, 2]], np.int32), np.array([[0, 3], [1, 0]], np.int32)
    np.testing.assert_allclose(
        Popularity().fit(log).scores(history, candidates),
        np.log([[4 / 4, 1 / 4], [2 / 4, 4 / 4]]),
        rtol=1e-5,
        atol=1e-7,
    )
    np.testing.assert_allclose(Length().fit(log).scores(history, candidates), np.log([[2, 2], [3, 3]]), rtol=1e-6)
    assert not Always().fit(log).scores(history, candidates).any()


def test_a_closed_form_at_candidates_and_its_forms() -> None:
    log, recipe = random_log(), Recipe(transitions=1.0, rare=2.0, fade=0.8)
    rng = np.random.default_rng(0)
    history, candidates = (rng.integers(0, 150, size, dtype=np.int32) for size in ((5, 6), (5, 7)))
    plain = closed.fit(log, recipe).scores(history)
    np.testing.assert_allclose(
        Closed(recipe).fit(log).scores(history, candidates), np.take_along_axis(plain, candidates, 1), rtol=1e-6
    )
    standard = (plain - plain.mean(axis=1, keepdims=True)) / plain.std(axis=1, keepdims=True)
    np.testing.assert_allclose(
        Closed(recipe, standard=True).fit(log).scores(history, candidates),
        np.take_along_axis(standard, candidates, 1),
        rtol=1e-4,
        atol=1e-5,
    )
    back = closed.faded(history, 150, 0.8) @ closed.transitions(log, 2.0).toarray().T
    np.testing.assert_allclose(
        Closed(recipe, backwards=True).fit(log).scores(history, candidates),
        np.take_along_axis(back, candidates, 1),
        rtol=1e-5,
        atol=1e-7,
    )
    nothing = np.full((5, 6), -1, np.int32)
    assert not Closed(recipe, standard=True).fit(log).scores(nothing, candidates).any()


def test_content_needs_items_of_which_something_is_known() -> None:
    with pytest.raises(DataError, match="says nothing of its items"):
        Content().fit(log_of([[0, 1]], 2))


def test_likeness_is_the_cosine_with_the_sum_of_the_history() -> None:
    log = log_of([[0, 1]], 4, categories=[("war", "love"), ("war",), (), ("love",)])
    history, candidates = np.array([[0, 1], [-1, 2]], np.int32), np.array([[0, 1, 3], [0, 1, 2]], np.int32)
    found = Content().fit(log).scores(history, candidates)
    love, war = 0.5**0.5, 0.5**0.5 + 1.0
    length = np.hypot(love, war)
    np.testing.assert_allclose(found[0], [(love + war) * 0.5**0.5 / length, war / length, love / length], rtol=1e-6)
    assert not found[1].any()  # nothing is known of what that user took


EVERY = (
    Always(), Popularity(), Length(), Content(), Factors(8), Closed(Recipe(ease=1.0, regularisation=5.0)),
    Closed(Recipe(neighbours=1.0), standard=True), Closed(Recipe(transitions=1.0, fade=0.8), backwards=True),
)  # fmt: skip


@pytest.mark.parametrize("scorer", EVERY, ids=str)
def test_a_score_hangs_on_no_other_candidate(scorer: scorers.Scorer) -> None:
    log = random_log(categories=[("a",) if i % 3 else ("b", "c") for i in range(150)])
    asked = cases.latest(random_log(6, seed=5), np.arange(6))
    fitted, rng = scorer.fit(log), np.random.default_rng(0)
    candidates = np.tile(np.arange(150, dtype=np.int32), (6, 1))
    whole = fitted.scores(asked.history, candidates)
    assert whole.shape == (6, 150)
    assert np.isfinite(whole).all()
    some = rng.permuted(candidates, axis=1)[:, :20]
    np.testing.assert_allclose(
        fitted.scores(asked.history, some), np.take_along_axis(whole, some, axis=1), rtol=1e-5, atol=1e-7
    )


# -- models --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Spy:
    """Scores an item by its number, and keeps what it was fitted to and asked."""

    seen: Any = dataclasses.field(default_factory=list, compare=False)

    def fit(self, train: Log) -> Spy:
        self.seen.append(train)
        return self

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        self.seen.append((history, candidates))
        return candidates.astype(np.float32)


def asked_of(log: Log, users: np.ndarray, redraws: int = 2) -> Asked:
    people = cases.latest(log, users)
    drawn = {
        name: negatives.draws(people, weight, redraws)
        for name, weight in (("uniform", np.ones(log.n_items)), ("matched", np.bincount(log.item, minlength=150) + 0.1))
    }
    return Asked(log.rows(~np.isin(log.user, users)), people, drawn)


def test_a_scorer_is_fitted_once_and_does_not_see_which_were_taken() -> None:
    asked, spy = asked_of(random_log(), np.arange(10)), Spy()
    for name in ("uniform", "matched", "uniform"):
        scores = asked.scores(spy, name)
    train, (history, candidates) = spy.seen
    assert not np.isin(train.user, np.arange(10)).any()
    np.testing.assert_array_equal(history, asked.cases.history)
    for row in candidates.tolist():
        kept = sorted(set(row))
        assert row == kept + [kept[-1]] * (len(row) - len(kept))  # ascending, each once
    np.testing.assert_array_equal(scores.positive, asked.cases.positives)


def test_scores_are_where_their_items_are() -> None:
    people = some_cases(9, 130)
    drawn = {
        name: negatives.draws(people, weight, 2)
        for name, weight in (("uniform", np.ones(130)), ("matched", np.arange(130.0)))
    }
    asked = Asked(random_log(), people, drawn)
    for name, items in drawn.items():
        scores = asked.scores(Spy(), name)
        for found, expected in ((scores.positive, people.positives), (scores.negative, items)):
            np.testing.assert_array_equal(np.isnan(found), expected < 0)
            np.testing.assert_array_equal(found[expected >= 0], expected[expected >= 0])


@pytest.mark.parametrize(
    "spoil", [lambda x: x[:, 1:], lambda x: x * np.where(x > 50, np.inf, 1.0), lambda x: x + np.nan]
)
def test_scores_that_are_none_are_refused(spoil: Any) -> None:
    @dataclasses.dataclass(frozen=True)
    class Spoilt(Spy):
        def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
            return spoil(candidates.astype(np.float32))

    with pytest.raises(DataError, match="a score is one finite number a candidate"):
        asked_of(random_log(), np.arange(10)).scores(Spoilt(), "uniform")


@dataclasses.dataclass(frozen=True)
class Knows:
    """Somebody who knows what was taken, more or less: `power` 0 is noise."""

    log: Any = dataclasses.field(compare=False)
    power: float = 1.0

    def fit(self, train: Log) -> Knows:
        return self

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        found = np.random.default_rng(int(10 * self.power)).normal(size=candidates.shape)
        for user, row in enumerate(history):
            mine = set(self.log.item[self.log.user == int(self._who(row))].tolist())
            found[user] += [self.power * (item in mine) for item in candidates[user].tolist()]
        return found

    def _who(self, row: np.ndarray) -> int:
        """Whose history it is."""
        first = [self.log.item[at : at + int((row >= 0).sum())].tolist() for at in self.log.bounds[:-1]]
        return first.index(row[row >= 0].tolist())


def test_the_best_is_chosen_by_held_out_users() -> None:
    log = random_log()
    held = asked_of(log, np.arange(20))
    weak, strong = Knows(log, 0.5), Knows(log, 2.0)
    assert held.worth(strong) > held.worth(weak)
    assert Best((weak, strong, Knows(log, 0.0))).learn(held).scorer == strong
    assert Best((Always(),)).learn(held).scorer == Always()
    options = tuple(Closed(Recipe(ease=1.0, regularisation=r)) for r in (1.0, 10.0))
    chosen = max(options, key=held.worth)
    assert Best(options).learn(held).scorer == chosen
    form = Form(options, standard=True, fade=0.5).learn(held).scorer
    assert form == Closed(dataclasses.replace(chosen.recipe, fade=0.5), standard=True)


def test_a_regression_weighs_what_is_worth_something() -> None:
    log = random_log()
    held, tested = asked_of(log, np.arange(20)), asked_of(log, np.arange(20, 40))
    parts = tuple(Best((Knows(log, power),)) for power in (1.5, 0.0))
    for products in (False, True):
        learned = Logistic(parts, products).learn(held)
        for protocol in ("uniform", "matched"):
            slope = learned.weights[protocol].slope
            assert len(slope) == (5 if products else 2)
            scores = learned.scores(tested, protocol)
            alone = tested.scores(Knows(log, 1.5), protocol)
            assert scores.positive.shape == alone.positive.shape
            assert decisions.auc(scores).mean() == pytest.approx(decisions.auc(alone).mean(), abs=0.05)
            if not products:
                assert slope[0] > 5.0 * abs(slope[1])


def test_redraws_are_averaged_in_a_regression() -> None:
    """It knows nothing but how many positives there are: one for 19 negatives, however often these were drawn."""
    learned = Logistic((Best((Always(),)),)).learn(asked_of(random_log(), np.arange(20), redraws=3))
    assert [weights.intercept for weights in learned.weights.values()] == pytest.approx([-np.log(19.0)] * 2)


def test_products_are_of_any_two_features() -> None:
    weighed = models.Weighed((), True, {})
    found = weighed._more([np.array([2.0]), np.array([3.0]), np.array([5.0])])
    assert found.tolist() == [[2.0, 3.0, 5.0, 4.0, 6.0, 10.0, 9.0, 15.0, 25.0]]


def test_the_rows_and_a_learned_one_more() -> None:
    log = random_log(categories=[("a",) if i % 3 else ("b", "c") for i in range(150)])
    models_ = rows.closed_rows(log.items, regularisations=(5.0,))
    assert tuple(models_) == rows.BASELINES
    more = rows.with_learned(models_, Knows(log, 1.5))
    assert set(more) == {*rows.BASELINES, "learned_plain", "learned", "blend"}
    plain, blend = more["logistic_seq"], more["blend"]
    assert isinstance(plain, Logistic)
    assert isinstance(blend, Logistic)
    assert blend.parts[:-1] == plain.parts
    held, tested = asked_of(log, np.arange(20)), asked_of(log, np.arange(20, 40))
    worth = {row: decisions.auc(more[row].learn(held).scores(tested, "uniform")).mean() for row in more}
    assert worth["always_yes"] == 0.5
    assert worth["learned"] > worth["popularity"]
    assert worth["blend"] > worth["logistic_seq"] + 0.05


def test_content_is_a_feature_only_where_there_is_any() -> None:
    with_genres = rows.unordered(Items(np.arange(2), categories=[("a",), ()]), (1.0,))
    without = rows.unordered(Items(np.arange(2)), (1.0,))
    assert len(with_genres) == len(without) + 1
    assert json.dumps([str(part) for part in without]).count("Content") == 0
