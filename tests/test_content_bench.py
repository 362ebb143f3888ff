"""What representations are worth: cases without leaks, the closed form, ranks, and a planted log."""

from __future__ import annotations

import numpy as np
import pytest

from jaxreco.benchmarks import content
from jaxreco.benchmarks.content import Cases, TwoSided
from jaxreco.content.text import Encoded
from jaxreco.data.log import Items, Log


def log_of(lives: list[list[int]], n_items: int) -> Log:
    user = np.repeat(np.arange(len(lives)), [len(life) for life in lives])
    item = np.concatenate([np.array(life, int) for life in lives])
    return Log.of("planted", user, item, Items(ids=np.arange(n_items)), np.arange(len(lives)))


def test_cases_by_hand():
    log = log_of([[0, 3, 0, 1, 4, 2], [3, 1]], 5)
    warm = np.array([True, True, True, False, False])
    found = content.cases(log, warm, warm)
    assert found.user.tolist() == [0, 0]  # user 1 knows no warm item before item 1
    assert found.target.tolist() == [1, 2]  # item 0 is taken again, which is not asked for
    assert [row[row >= 0].tolist() for row in found.history] == [[0], [0, 1]]
    cold = content.cases(log, warm, ~warm)
    assert cold.user.tolist() == [0, 0]
    assert cold.target.tolist() == [3, 4]
    assert [row[row >= 0].tolist() for row in cold.history] == [[0], [0, 1]]
    assert content.cases(log, warm, warm, most=1).target.tolist() == [2]


def test_a_history_is_the_latest_ten():
    found = content.cases(log_of([list(range(14))], 14), np.ones(14, bool), np.arange(14) == 13)
    assert found.history.tolist() == [list(range(3, 13))]


def test_profiles_by_hand():
    vectors = np.array([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])
    found = content.profiles(np.array([[-1, 0, 1], [-1, -1, 2]]), vectors)
    np.testing.assert_allclose(found, [[0.5, 1.0, 1.0], [4.0, 4.0, 1.0]])


def test_the_weights_are_the_minimum():
    """At W the gradient of |Y - P W X'|^2 + a |W X'|^2 + b |P W|^2 + a b |W|^2 is 0 (Romera-Paredes & Torr 2015, eq. 3)."""
    rng = np.random.default_rng(0)
    vectors, warm = rng.normal(size=(7, 3)), np.arange(7) < 6
    history = rng.integers(6, size=(20, 10))
    train = Cases(np.zeros(20, int), history, rng.integers(6, size=20))
    sums = TwoSided.of(train, vectors, warm, block=8)
    P, X, Y = content.profiles(history, vectors), vectors[warm], np.eye(6)[train.target]
    W = sums.weights(0.5)
    a, b = 0.5 * np.trace(P.T @ P) / 4, 0.5 * np.trace(X.T @ X) / 3
    gradient = P.T @ (P @ W @ X.T - Y) @ X + a * W @ X.T @ X + b * P.T @ P @ W + a * b * W
    np.testing.assert_allclose(gradient, 0.0, atol=1e-9)
    assert np.abs(W).max() > 1e-3


def test_ranks_by_hand():
    scores = np.array([[0.9, 0.5, 0.5, 0.1], [0.0, 0.0, 0.0, 0.0]])
    candidate = np.array([[True, True, True, True], [True, True, False, True]])
    noise = np.array([[0.0, 0.2, 0.1, 0.0], [0.3, 0.1, 0.9, 0.2]])
    assert content.ranks(scores, np.array([2, 1]), candidate, noise).tolist() == [2, 2]
    candidate[0, 0] = False
    assert content.ranks(scores, np.array([2, 1]), candidate, noise).tolist() == [1, 2]


def test_measures_by_hand():
    found = content.measured(np.array([0, 2, 9, 10]))
    np.testing.assert_array_equal(found["hit@10"], [1, 1, 1, 0])
    np.testing.assert_allclose(found["ndcg@10"], [1.0, 0.5, 1 / np.log2(11), 0.0])


def test_beginnings_of_codes():
    points = np.array([[0.0, 0.0], [0.0, 0.1], [9.0, 0.0], [9.0, 0.1], [5.0, 5.0]], np.float32)
    found = content.prefixes(Encoded(points, np.array([True, True, True, True, False])), levels=2, size=2)
    assert not found.vectors[4].any()
    alike = found.vectors @ found.vectors.T
    np.testing.assert_allclose(np.diag(alike)[:4], 1.0, atol=1e-6)
    np.testing.assert_allclose([alike[0, 1], alike[2, 3]], 0.5, atol=1e-6)  # they share the first level
    assert alike[0, 2] == 0.0


def test_nothing_of_hidden_items_or_test_users_is_learned():
    rng = np.random.default_rng(0)
    log = log_of([rng.integers(30, size=12).tolist() for _ in range(20)], 30)
    testing = log.user < 5
    part = content.part_of(log, np.flatnonzero(~testing), np.flatnonzero(testing), np.ones(30, bool), seed=1)
    assert part.hidden.any()
    assert part.log.user.min() >= 5
    assert not part.hidden[part.log.item].any()
    assert not part.hidden[part.train.target].any()
    for kind, hidden in (("warm", False), ("cold", True)):
        tested = part.test[kind]
        assert (part.hidden[tested.target] == hidden).all()
        assert (tested.user < 5).all()
        assert not part.hidden[tested.history[tested.history >= 0]].any()


@pytest.fixture(scope="module")
def planted():
    """Users who keep to one of three kinds of 20 items each, and what tells the kind."""
    rng = np.random.default_rng(0)
    kind = np.arange(60) % 3
    lives = [rng.choice(np.flatnonzero(kind == u % 3), 12, replace=False).tolist() for u in range(60)]
    tells = Encoded(np.eye(3, dtype=np.float32)[kind], np.ones(60, bool))
    blind = Encoded(np.eye(3, dtype=np.float32)[rng.integers(3, size=60)], np.ones(60, bool))
    log = log_of(lives, 60)
    return log, content.compare(log, {"text": lambda train: tells, "blind": lambda train: blind})


def test_what_tells_is_worth_more_of_warm_and_cold_items(planted):
    _, found = planted
    for kind in content.KINDS:
        worth = {row: np.nanmean(found[row, kind, "ndcg@10"]) for row in ("text", "blind", "random")}
        assert worth["text"] > worth["random"] + 0.1
        assert worth["text"] > worth["blind"] + 0.1


def test_rows_and_table(planted):
    log, found = planted
    rows = content._rows(log, found, "quick")
    assert {(row.agent, row.protocol) for row in rows} >= {("text", "cold"), ("random", "cold"), ("popularity", "warm")}
    assert ("popularity", "cold") not in {(row.agent, row.protocol) for row in rows}  # nobody knows of new items
    less = next(r for r in rows if r.against and (r.agent, r.protocol, r.metric) == ("blind", "cold", "ndcg@10"))
    assert less.high < 0
    own = {r.agent: r.value for r in rows if r.against is None and (r.protocol, r.metric) == ("cold", "ndcg@10")}
    assert less.value == pytest.approx(own["blind"] - own["text"])
    assert content._table(log, found).row_count == 4
