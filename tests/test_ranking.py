"""Closed forms against hand-worked numbers, cases and candidates, places and ties, and tuning that asks nobody it tests."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse

from jaxreco.content import collaborative
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError
from jaxreco.ranking import cases, closed, metrics, tuning
from jaxreco.ranking.cases import Cases
from jaxreco.ranking.closed import Recipe


def log_of(sequences: list[list[int]], n_items: int) -> Log:
    user = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
    return Log.of("x", user, np.concatenate(sequences), Items(np.arange(n_items)), np.arange(len(sequences)))


def history(*items: int) -> np.ndarray:
    return np.array([[-1] * (cases.VISIBLE - len(items)) + list(items)], np.int32)


# -- closed forms --------------------------------------------------------------------------------------------


def test_cosine_by_hand() -> None:
    """Item 0 has 4 takers, item 1 has 1, item 2 has none; 0 and 1 share one."""
    table = sparse.csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.float32))
    near = collaborative.cosine(table, shrinkage=3.0).toarray()
    np.testing.assert_allclose(near, [[0, 1 / 5, 0], [1 / 5, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(collaborative.cosine(table, shrinkage=0.0).toarray()[0, 1], 0.5)


def test_an_item_listens_to_its_nearest() -> None:
    """Item 0 was taken with 1 twice and with 2 once; 1 and 2 know no other than 0."""
    table = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1]], np.float32))
    near = collaborative.cosine(table, shrinkage=0.0, nearest=1).toarray()
    assert near[:, 0].tolist() == pytest.approx([0.0, 2 / np.sqrt(3 * 2), 0.0])
    assert near[0, 1] == near[1, 0]
    assert near[0, 2] == pytest.approx(1 / np.sqrt(3))


def test_ease_by_hand() -> None:
    """Two items: gram [[3, 2], [2, 2]] + 2 has the inverse [[4, -2], [-2, 5]] / 16, so the weights are 2/5 and 2/4."""
    table = sparse.csr_matrix(np.array([[1, 1], [1, 1], [1, 0]], np.float32))
    np.testing.assert_allclose(collaborative.ease(table, 2.0), [[0, 2 / 5], [2 / 4, 0]], rtol=1e-6)
    with pytest.raises(DataError, match="above 0"):
        collaborative.ease(table, 0.0)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)], ids=["more users", "more items"])
def test_ease_is_its_definition_either_way(shape: tuple[int, int]) -> None:
    x = (np.random.default_rng(0).random(shape) < 0.4).astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + 3.0 * np.eye(shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(collaborative.ease(sparse.csr_matrix(x), 3.0), expected, rtol=1e-4, atol=1e-6)


def test_transitions_by_hand() -> None:
    """0 then 1 twice, once with an item between; the way back never."""
    found = closed.transitions(log_of([[0, 1], [0, 2, 1]], 3), rare=2.0).toarray()
    assert found[0, 1] == pytest.approx((1.0 + 0.8) / (np.sqrt(2 * 2) + 2.0))
    assert found[0, 2] == pytest.approx(1.0 / (np.sqrt(2 * 1) + 2.0))
    assert found[1, 0] == found[1, 2] == found[2, 0] == 0.0


def test_a_history_fades_from_its_end() -> None:
    np.testing.assert_allclose(closed.faded(history(2, 0, 1), 4, 0.5).toarray(), [[0.5, 1.0, 0.25, 0.0]])
    np.testing.assert_allclose(closed.faded(history(1, 1), 2, 0.5).toarray(), [[0.0, 1.5]])


def test_a_recipe_is_a_sum_of_its_parts() -> None:
    log = log_of([[0, 1, 2], [0, 1], [2, 3], [1, 3, 0]], 5)
    recipe = Recipe(neighbours=0.5, ease=2.0, transitions=3.0, popularity=0.1, regularisation=2.0, rare=1.0, fade=0.5)
    table = collaborative.interactions(log)
    x = np.array([0.0, 0.0, 0.5, 1.0, 0.0])  # item 2, then item 3
    by_hand = (
        0.5 * x @ collaborative.cosine(table, 10.0).toarray()
        + 2.0 * x @ collaborative.ease(table, 2.0)
        + 3.0 * x @ closed.transitions(log, 1.0).toarray()
        + 0.1 * np.log(1.0 + np.array([3, 3, 2, 2, 0]))
    )
    np.testing.assert_allclose(closed.fit(log, recipe).scores(history(2, 3))[0], by_hand, rtol=1e-5)
    np.testing.assert_array_equal(closed.fit(log, closed.RANDOM).scores(history(2, 3)), 0.0)


# -- cases and candidates ------------------------------------------------------------------------------------


def test_last_items_and_what_came_before() -> None:
    log = log_of([list(range(13)), [4, 2], [1]], 13)
    assert cases.several(log).tolist() == [0, 1]
    found = cases.last_items(log, np.array([0, 1]))
    assert found.history[0].tolist() == list(range(2, 12))
    assert found.history[1].tolist() == [-1] * 9 + [4]
    assert found.target.tolist() == [12, 2]
    with pytest.raises(DataError, match="user 2 has fewer than 2 events"):
        cases.last_items(log, np.array([2]))
    assert len(cases.but_last(log, np.array([0, 1]))) == len(log) - 2
    assert set(cases.but_users(log, np.array([0])).user) == {1, 2}


def test_who_ends_as_a_case_does_is_found() -> None:
    log = log_of([[5, 1, 2, 3], [1, 2, 4], [2, 3], [3], [9, 2, 3, 0]], 10)
    given = Cases(np.concatenate([history(1, 2), history(2)]), np.array([3, 3], np.int32))
    assert cases.answered(log, given).tolist() == [0, 2]
    assert cases.answered(log, Cases(history(8), np.array([3], np.int32))).tolist() == []


def some_cases(n_items: int, users: int = 400, seed: int = 0) -> Cases:
    rng = np.random.default_rng(seed)
    taken = np.array([rng.permutation(n_items)[: cases.VISIBLE + 1] for _ in range(users)], np.int32)
    shown = taken[:, :-1].copy()
    shown[::3, :6] = -1  # short histories
    shown[1, :2] = shown[1, 2]  # a repeat
    shown[2, 9] = taken[2, -1]  # the truth itself was taken before
    return Cases(shown, taken[:, -1])


def test_candidates_are_the_truth_and_19_others_never_seen() -> None:
    given = some_cases(40)
    for shown, place in cases.draws(given, 40, 5):
        assert shown.shape == (400, 20)
        assert (np.diff(np.sort(shown, axis=1), axis=1) > 0).all()
        np.testing.assert_array_equal(shown[np.arange(400), place], given.target)
        for row, before, truth in zip(shown, given.history, given.target, strict=True):
            assert not (set(row.tolist()) - {truth}) & set(before.tolist())


def test_candidates_are_uniform_and_the_truth_is_anywhere() -> None:
    given = Cases(np.repeat(history(3, 7), 4000, axis=0), np.full(4000, 5, np.int32))
    ((shown, place),) = cases.draws(given, 30, 1)
    count = np.bincount(shown.ravel(), minlength=30)
    assert count[5] == 4000
    assert count[3] == count[7] == 0
    rivals = np.delete(count, [3, 5, 7])
    assert abs(rivals / 4000 - 19 / 27).max() < 0.04
    assert abs(np.bincount(place, minlength=20) / 4000 - 0.05).max() < 0.02


def test_redraws_are_reproducible_and_differ() -> None:
    first, again = (list(cases.draws(some_cases(60), 60, 3)) for _ in range(2))
    for (shown, place), (shown_again, place_again) in zip(first, again, strict=True):
        np.testing.assert_array_equal(shown, shown_again)
        np.testing.assert_array_equal(place, place_again)
    assert not np.array_equal(first[0][0], first[1][0])
    with pytest.raises(DataError, match="too few for 20 candidates"):
        list(cases.draws(some_cases(25), 25, 1))


def test_cases_of_a_file(tmp_path: Path) -> None:
    path, ids = tmp_path / "users.jsonl", np.array([10, 20, 30])
    path.write_text('{"history": [10, 30], "next": 20}\n\n{"user": 7, "history": [20], "next": 10}\n')
    found = cases.read(path, ids)
    assert found.history[:, -2:].tolist() == [[0, 2], [-1, 1]]
    assert found.target.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"history": [10], "next": 99}', "item 99 is not an item of the set"),
        ('{"history": [10, "20"], "next": 20}', "item '20' is not an item"),
        ('{"history": [true], "next": 20}', "item True is not an item"),
        ('{"history": [[10]], "next": 20}', r"item \[10\] is not an item"),
        ('{"history": [], "next": 20}', "one item or more"),
        ('{"history": 10, "next": 20}', "one item or more"),
        ('{"history": [10]}', 'expected {"history"'),
        ("[10, 20]", 'expected {"history"'),
        ('{"history": [10', "line 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "users.jsonl"
    path.write_text('{"history": [10], "next": 20}\n' + line + "\n")
    with pytest.raises(DataError, match=r"users\.jsonl, line 2: ") as caught:
        cases.read(path, np.array([10, 20]))
    assert caught.match(words)


def test_a_file_of_nobody(tmp_path: Path) -> None:
    (tmp_path / "users.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no users"):
        cases.read(tmp_path / "users.jsonl", np.array([10]))


# -- metrics -------------------------------------------------------------------------------------------------


def test_places_leave_the_history_out() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.8, 0.1, 0.7]])
    found = metrics.places(scores, Cases(np.array([[-1, 0, 0]]), np.array([1])))
    assert [int(x[0]) for x in found] == [2, 1, 4]  # 3 and 5 lead, 2 is equal, 4 is behind


def test_metrics_by_hand() -> None:
    """Places 1, 3, shared 2 and 3, and 12."""
    found = metrics.Places(np.array([0, 2, 1, 11]), np.array([0, 0, 1, 0]), np.full(4, 50))
    np.testing.assert_allclose(metrics.hit(found, 1), [1, 0, 0, 0])
    np.testing.assert_allclose(metrics.hit(found, 2), [1, 0, 0.5, 0])
    np.testing.assert_allclose(metrics.hit(found, 10), [1, 1, 1, 0])
    third, second = 1 / np.log2(4), 1 / np.log2(3)
    np.testing.assert_allclose(metrics.ndcg(found, 10), [1, third, (second + third) / 2, 0])


def test_the_expected_hit_counts_every_draw() -> None:
    """2 rivals lead, 1 is equal, 3 are behind; all draws of 2 rivals, ties decided either way."""
    found = metrics.Places(np.array([2]), np.array([1]), np.array([6]))
    rivals = [2, 2, 1, 0, 0, 0]  # 2 leads, 1 is equal
    worth = [0.0 if 2 in pair else 0.5 if 1 in pair else 1.0 for pair in combinations(rivals, 2)]
    np.testing.assert_allclose(metrics.sampled_hit(found, candidates=3), np.mean(worth))
    nothing = metrics.Places(np.array([0]), np.array([50]), np.array([50]))
    np.testing.assert_allclose(metrics.sampled_hit(nothing), 1 / 20)
    last = metrics.Places(np.array([50]), np.array([0]), np.array([50]))
    np.testing.assert_allclose(metrics.sampled_hit(last), 0.0, atol=1e-12)


def test_redraws_tend_to_the_expected_hit() -> None:
    given = some_cases(80)
    scores = np.random.default_rng(5).integers(0, 6, (400, 80)).astype(np.float32)
    scores[np.arange(400), given.target] += 4
    hits = [
        (np.take_along_axis(scores, shown, axis=1).argmax(axis=1) == place).mean()
        for shown, place in cases.draws(given, 80, 100)
    ]
    assert np.mean(hits) == pytest.approx(metrics.sampled_hit(metrics.places(scores, given)).mean(), abs=0.008)


# -- tuning --------------------------------------------------------------------------------------------------


def walkers(users: int = 80, n_items: int = 40, seed: int = 0) -> Log:
    """Who takes an item takes one of the next two after it: what came last says all, popularity nothing."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 3, (users, 14))
    return log_of(
        [list(row % n_items) for row in np.cumsum(steps, axis=1) + rng.integers(n_items, size=(users, 1))], n_items
    )


def test_an_inner_split_holds_its_users_out() -> None:
    log = walkers()
    inner = tuning.by_user(log)
    assert len(inner.cases.target) == 16
    assert inner.train.n_users == 80
    assert len(np.unique(inner.train.user)) == 64
    users = np.array([3, 5])
    by_last = tuning.by_last(log, users)
    assert len(by_last.train) == len(log) - 2
    np.testing.assert_array_equal(by_last.cases.target, log.item[log.bounds[users + 1] - 1])


def test_tuning_finds_what_matters() -> None:
    """Order is all: a history that does not fade cannot tell the next item from those just passed."""
    found = tuning.recipes(tuning.by_user(walkers()), regularisations=(1.0, 100.0))
    assert found["ease_seq"].fade < 1.0
    assert found["ease_seq"].transitions > 0.0
    log, test = walkers(), walkers(seed=9)
    given = cases.last_items(test, np.arange(80))
    worth = {
        row: metrics.sampled_hit(metrics.places(closed.fit(log, recipe).scores(given.history), given)).mean()
        for row, recipe in found.items()
    }
    assert worth["ease_seq"] > worth["ease"] + 0.1
    assert worth["random"] == pytest.approx(0.05)


def test_a_bench_judges_as_the_fitted_recipe_ranks() -> None:
    inner = tuning.by_user(walkers())
    recipe = Recipe(ease=1.0, transitions=0.4, neighbours=0.2, popularity=-0.01, regularisation=5.0, fade=0.6)
    scores = closed.fit(inner.train, recipe).scores(inner.cases.history)
    parts = closed.Parts(inner.train, inner.cases.history, [1.0])
    np.testing.assert_allclose(parts.scores(recipe), scores, atol=1e-6)
    expected = metrics.sampled_hit(metrics.places(scores, inner.cases)).mean()
    assert tuning.Bench(inner).judge(recipe) == pytest.approx(expected, abs=1e-6)
