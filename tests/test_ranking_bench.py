"""The ranking benchmark on small sets of the publishers' forms, whole; leaks that are noticed; users from a file."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_sets
from small_sets import values
from typer.testing import CliRunner

from jaxreco import cli, registry
from jaxreco.benchmarks import given, ranking
from jaxreco.data import splits
from jaxreco.errors import DataError
from jaxreco.evaluation import interval
from jaxreco.ranking import hard, tuning
from jaxreco.ranking.cases import VISIBLE
from jaxreco.ranking.sasrec import Sizes

ITEMS, USERS, EVENTS = 50, 60, 14


def walks(users: int = USERS, seed: int = 0) -> list[list[int]]:
    return small_sets.walks(ITEMS, users, EVENTS, seed)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return small_sets.write(tmp_path, walks, ITEMS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer hyperparameters and users, so that tests are quick."""
    monkeypatch.setattr(tuning, "REGULARISATIONS", (5.0, 50.0))
    monkeypatch.setattr(tuning, "FADES", (1.0, 0.5))
    monkeypatch.setattr(tuning, "SHRINKAGES", (0.0, 10.0))
    monkeypatch.setattr(tuning, "POPULARITIES", (-0.01, 0.0, 0.01))
    monkeypatch.setattr(tuning, "WEIGHTS", (0.0, 1.0))
    monkeypatch.setattr(tuning, "NEAREST", (10.0, np.inf))
    monkeypatch.setattr(ranking, "interval", functools.partial(interval, resamples=50))
    monkeypatch.setattr(ranking, "REGULARISATIONS", {})
    monkeypatch.setattr(ranking, "HIDDEN", 30)
    monkeypatch.setattr(ranking, "INNER", 20)
    monkeypatch.setattr(ranking, "SIZES", Sizes(width=8, layers=1))
    monkeypatch.setattr(ranking, "FIT", {"rounds": 2, "steps": 10, "batch": 16, "learning_rate": 0.02})


@pytest.mark.usefixtures("small")
def test_all_sets_and_protocols(data: Path) -> None:
    said: list[str] = []
    report = ranking.run(data=data, say=said.append, redraws=10, folds=3)
    for name, users, folds in (("movielens-100k", 60, 3), ("lastfm-sequences", 72, 3), ("instruments-2018", 30, 1)):
        headline = values(report, dataset=name, protocol="cv10/random20", against=None)
        assert set(headline) == {
            "random", "popularity", "item_knn", "transitions", "ease_200", "ease", "ease_pop", "ease_seq",
            "sasrec", "blend",
        }  # fmt: skip
        for row in headline.values():
            assert (row.n_users, row.n_seeds, row.split, row.metric) == (users, folds, "validation", "hit@1")
            assert row.low <= row.value <= row.high
        assert headline["random"].value == pytest.approx(0.05, abs=0.05)
        assert headline["ease_seq"].value > headline["ease"].value + 0.1
        others = [row for row in report.rows if row.dataset == name and row.protocol == "cv10/random20" and row.against]
        (best,) = {row.against for row in others if row.agent == "ease_seq"}
        closed = max(set(headline) - set(ranking.LEARNED), key=lambda row: headline[row].value)
        assert {row.against for row in others if row.agent == "blend"} == {best, closed}
        gain = values(report, dataset=name, protocol="cv10/random20", against=best)["ease_seq"]
        assert best in ranking.PLAIN
        assert gain.value == pytest.approx(headline["ease_seq"].value - headline[best].value)
        assert {row.metric for row in report.rows if row.dataset == name and row.protocol == "full"} == {
            "hit@1", "hit@10", "ndcg@10",
        }  # fmt: skip
        assert len(values(report, dataset=name, protocol="random20", against=None)) == (0 if folds == 1 else 10)
        shown = values(report, dataset=name, protocol="hard20", metric="hit@1", against=None)
        (coverage,) = (row for row in report.rows if row.dataset == name and row.metric == "coverage")
        assert set(shown) == set(headline)
        assert {row.n_users for row in shown.values()} == {round(coverage.value * users)}
        assert coverage.n_users == users
    assert values(report, dataset="movielens-100k", protocol="random20")["ease"].n_users == 12
    assert any("part 3 of 3" in text for text in said)
    assert any("hard20: the truth of" in note for note in report.notes)
    assert any("LLaRA" in note for note in report.notes)
    again = ranking.run(data=data, redraws=10, folds=3, dataset="lastfm-sequences")
    assert again.rows == [row for row in report.rows if row.dataset == "lastfm-sequences"]


def asked(monkeypatch: pytest.MonkeyPatch, data: Path) -> list[set[int]]:
    """Users whose events any tuning or fit of a fold could see, fold by fold, who are tested in it."""
    seen: list[set[int]] = []
    jobs: list[Any] = []
    measure, recipes = ranking.measure, tuning.recipes

    def spy_measure(protocol: str, cases: Any, given: Any, *rest: Any) -> Any:
        jobs.extend(given if protocol == ranking.CV else [])
        return measure(protocol, cases, given, *rest)

    def spy_recipes(inner: Any, *rest: Any) -> Any:
        seen.append(set(inner.train.user.tolist()))
        return recipes(inner, *rest)

    monkeypatch.setattr(ranking, "measure", spy_measure)
    monkeypatch.setattr(tuning, "recipes", spy_recipes)
    ranking.run(data=data, redraws=1, folds=3, dataset="movielens-100k")
    return [
        (trained | set(job.train.user.tolist())) & set(job.cases.tolist())
        for trained, job in zip(seen, jobs, strict=False)
    ]


@pytest.mark.usefixtures("small")
def test_nobody_who_is_tested_is_trained_on_or_tuned_by(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, data) == [set(), set(), set()]


@pytest.mark.usefixtures("small")
def test_a_planted_leak_is_noticed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = splits.folds_by_user

    def leaking(log: Any, folds: int) -> Any:
        """Folds whose training parts hold all of one test user's events."""
        for split in sound(log, folds):
            one = split.test[log.user[split.test] == log.user[split.test[0]]]
            yield splits.Split(np.sort(np.append(split.train, one)), split.test)

    monkeypatch.setattr(splits, "folds_by_user", leaking)
    with pytest.raises(DataError, match="the folds leak: 14 rows are in both parts"):
        ranking.run(data=data, redraws=1, folds=3, dataset="movielens-100k")
    monkeypatch.setattr(splits, "leaks", lambda log, split, kind: [])  # without that check, the spy sees it
    assert all(len(users) == 1 for users in asked(monkeypatch, data))


@pytest.mark.usefixtures("small")
def test_hard_candidates_leave_the_history_out_and_hold_the_truth_by_themselves(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    shortlist = hard.shortlist

    def spy(scores: Any, cases: Any, size: int) -> Any:
        shown.append((shortlist(scores, cases, size), cases))
        return shown[-1][0]

    monkeypatch.setattr(hard, "shortlist", spy)
    report = ranking.run(data=data, redraws=1, folds=2, dataset="movielens-100k")
    there = []
    for candidates, cases in shown[:2]:
        assert candidates.shape == (len(cases.target), 20)
        assert (np.diff(candidates, axis=1) > 0).all()
        assert not (candidates[:, :, None] == cases.history[:, None, :]).any()
        assert cases.history.shape[1] == VISIBLE
        there.append((candidates == cases.target[:, None]).any(axis=1))
    (coverage,) = (row for row in report.rows if row.metric == "coverage")
    assert coverage.value == np.concatenate(there).mean()
    assert 0.0 < coverage.value < 1.0
    popular = values(report, protocol="hard20", against=None)["random"]
    assert popular.value == pytest.approx(0.05)


@pytest.mark.usefixtures("small")
def test_a_hidden_item_changes_nothing_that_is_learned(data: Path) -> None:
    """Instruments: were the hidden items trained on or tuned by, other ones would give other recipes or scores."""
    first = learned(data)
    path = data / "instruments-2018" / "sequences.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    hidden = np.sort(np.random.default_rng(0).permutation(USERS)[: ranking.HIDDEN])
    for user in hidden:
        lines[user][-1] = (lines[user][-1] + 25) % ITEMS
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    changed = learned(data)
    for one, other in zip(first, changed, strict=True):
        np.testing.assert_array_equal(one, other)


def learned(data: Path) -> list[Any]:
    """The training part, and what tuning chose."""
    one = given.read_set(data / "instruments-2018", "instruments-2018")
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "measure", lambda protocol, cases, jobs, *rest: found.extend(jobs))
        list(ranking._measure(one, "validation", None, 1, 1, lambda text: None))
    (job,) = found
    recipe = tuning.recipes(job.inner(job.train))["ease_seq"]
    return [job.train.user, job.train.item, [repr(recipe)]]


@pytest.mark.usefixtures("small")
def test_users_from_a_file(data: Path, tmp_path: Path) -> None:
    users = tmp_path / "people.jsonl"
    users.write_text(small_sets.cases_of(walks(40, seed=8), add=1))  # ids of films begin with 1
    report = ranking.run(data=data, test=users, dataset="movielens-100k", redraws=10)
    rows = values(report, protocol="random20", against=None)
    assert {(row.split, row.n_users, row.dataset) for row in report.rows} == {("test", 40, "movielens-100k")}
    assert rows["ease_seq"].value > rows["popularity"].value + 0.1
    assert set(values(report, protocol="full", metric="hit@10")) == set(rows)
    (data / "movielens-100k" / "test.jsonl").write_text(users.read_text())
    same = ranking.run(data=data, split="test", dataset="movielens-100k", redraws=10)
    assert same.rows == report.rows
    rest = ranking.run(data=data, split="test", redraws=10)
    assert rest.rows == report.rows
    assert sum("holds no test part" in note for note in rest.notes) == 2


@pytest.mark.usefixtures("small")
def test_people_of_a_file_who_are_given_too_are_not_trained_on(data: Path) -> None:
    """The validation users of Last.fm from their own file: what the protocol finds on them, nothing better."""
    folder = data / "lastfm-sequences"
    report = ranking.run(data=data, dataset="lastfm-sequences", redraws=10, folds=2)
    again = ranking.run(data=data, dataset="lastfm-sequences", redraws=10, test=folder / "validation.jsonl")
    expected, found = (values(r, protocol="random20", against=None) for r in (report, again))
    assert {agent: row.value for agent, row in found.items()} == {agent: row.value for agent, row in expected.items()}


@pytest.mark.usefixtures("small")
def test_refusals(data: Path, tmp_path: Path) -> None:
    users = tmp_path / "people.jsonl"
    users.write_text(small_sets.cases_of(walks(2), add=1) + '{"history": [1], "next": 1000}\n')
    for words, options in (
        (("people.jsonl, line 3: item 1000 is not an item",), ["--test", users, "--dataset", "movielens-100k"]),
        (("add --dataset",), ["--test", users]),
        (("no data set 'movielens'", "Did you mean movielens-100k"), ["--dataset", "movielens"]),
        (("no split 'tests'", "Did you mean test"), ["--split", "tests"]),
        (("movielens-100k holds no test part", "--test FILE"), ["--split", "test", "--dataset", "movielens-100k"]),
        (("holds no test part of any set", "--test FILE"), ["--split", "test"]),
        (("There is no file", "no.jsonl"), ["--test", tmp_path / "no.jsonl", "--dataset", "movielens-100k"]),
    ):
        result = CliRunner().invoke(cli.app, ["bench", "ranking", "--data", str(data), *map(str, options)])
        assert result.exit_code == 2, result.output
        (said,) = result.stderr.strip().splitlines()
        assert said.startswith("jaxreco: ")
        for word in words:
            assert word in said
    result = CliRunner().invoke(cli.app, ["bench", "ranking"])
    assert result.exit_code == 2
    assert "The benchmark ranking needs --data" in result.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no folder movielens-100k"):
        ranking.run(data=empty)


def test_all_benchmarks_go_on_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_BENCHMARKS", {"ranking": ranking.run})
    result = CliRunner().invoke(cli.app, ["bench", "all"])
    assert result.exit_code == 0, result.output
    assert "ranking is left out: it needs --data" in result.output


@pytest.mark.usefixtures("small")
def test_the_command_writes_rows(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "ranking.json"
    options = ["bench", "ranking", "--data", str(data), "--dataset", "instruments-2018", "--json", str(out)]
    result = CliRunner().invoke(cli.app, options, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert "ease_seq" in result.output
    written = json.loads(out.read_text())
    assert written["benchmark"] == "ranking"
    assert {row["protocol"] for row in written["rows"]} == {"cv10/random20", "hard20", "full"}
