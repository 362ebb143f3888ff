"""The benchmark of simulated users on small sets of the publishers' forms, whole; who learns from whom; users from a file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_sets
from small_sets import values
from typer.testing import CliRunner

from jaxreco import cli
from jaxreco.benchmarks import usersim
from jaxreco.data import sets, splits
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.usersim import cases, estimates, learned, mechanistic, rows
from jaxreco.usersim.models import Best

ITEMS, USERS, EVENTS = 160, 100, 14


def walks(users: int = USERS, seed: int = 0) -> list[list[int]]:
    return small_sets.walks(ITEMS, users, EVENTS, seed)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return small_sets.write(tmp_path, walks, ITEMS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer hyperparameters, so that tests are quick."""
    monkeypatch.setattr(rows, "REGULARISATIONS", (5.0, 50.0))
    monkeypatch.setattr(usersim, "REGULARISATIONS", {})
    monkeypatch.setattr(rows, "NEAREST", (np.inf,))
    monkeypatch.setattr(estimates, "RESAMPLES", 50)


@pytest.mark.usefixtures("small")
def test_all_sets_and_protocols(data: Path) -> None:
    said: list[str] = []
    report = usersim.run(data=data, say=said.append, redraws=2, folds=3)
    for name in ("movielens-100k", "lastfm-sequences", "instruments-2018"):
        for protocol in usersim.PROTOCOLS:
            where: dict[str, Any] = {"dataset": name, "protocol": protocol}
            for ratio in (1, 9, 19):
                found = values(report, metric=f"f1@1:{ratio}", against=None, **where)
                assert tuple(found) == rows.BASELINES
                assert found["always_yes"].value == pytest.approx(2.0 / (2 + ratio))
                precision, recall = (
                    values(report, metric=f"{metric}@1:{ratio}", against=None, **where)["ease"].value
                    for metric in ("precision", "recall")
                )
                assert found["ease"].value == pytest.approx(2.0 * precision * recall / (precision + recall))
                for row in found.values():
                    assert (row.n_users, row.n_seeds, row.split, row.mode) == (USERS, 3, "validation", "quick")
                    assert row.low <= row.value <= row.high
            auc = values(report, metric="auc", against=None, **where)
            assert auc["always_yes"].value == 0.5
            assert auc["logistic_seq"].value > 0.8 > auc["popularity"].value
            best = max(auc, key=lambda agent: auc[agent].value)
            gains = values(report, metric="auc", against=best, **where)
            assert set(gains) == set(auc) - {best}
            assert gains["ease"].value == pytest.approx(auc["ease"].value - auc[best].value)
    (kind,) = values(report, protocol=usersim.KIND, metric="f1@1:9").values()
    assert (kind.dataset, kind.agent, kind.n_users) == ("movielens-100k", "ease_200", 12)
    assert any("part 3 of 3" in text for text in said)
    for words in ("Check: EASE at lambda 200", "RecoWorld row", "chosen for ease: lambda"):
        assert any(words in note for note in report.notes)
    again = usersim.run(data=data, redraws=2, folds=3, dataset="lastfm-sequences")
    assert again.rows == [row for row in report.rows if row.dataset == "lastfm-sequences"]


@dataclasses.dataclass(frozen=True)
class Spy:
    """Keeps whom it learned from, and what it was asked."""

    seen: Any = dataclasses.field(default_factory=list, compare=False, repr=False)

    def fit(self, train: Log) -> Spy:
        self.seen.append(set(train.user.tolist()))
        return self

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        self.seen.append({tuple(row[row >= 0].tolist()) for row in history})
        return candidates.astype(np.float32)


def learned_from_and_asked(monkeypatch: pytest.MonkeyPatch, data: Path, **options: Any) -> list[tuple[set, set]]:
    """Users who were learned from, and those who were asked about, of every fit."""
    spy = Spy()
    monkeypatch.setattr(rows, "BASELINES", ("spy",))
    monkeypatch.setattr(rows, "closed_rows", lambda *args: {"spy": Best((spy,)), "ease": Best((spy,))})
    usersim.run(data=data, redraws=1, dataset="movielens-100k", **options)
    whose = {tuple(walk[:-5]): user for user, walk in enumerate(walks())}
    return [
        (train, {whose[history] for history in asked})
        for train, asked in zip(spy.seen[::2], spy.seen[1::2], strict=True)
    ]


def test_nobody_is_asked_about_who_was_learned_from(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds are chosen by users whom the inner fit does not know, and who are not those that are tested."""
    fits = learned_from_and_asked(monkeypatch, data, folds=3)
    assert len(fits) == 6
    everybody = set(range(USERS))
    for (inner, held), (train, tested) in zip(fits[::2], fits[1::2], strict=True):
        assert train == everybody - tested
        assert held <= train
        assert inner == train - held
        assert len(held) == 13
    assert set.union(*(tested for _, tested in fits[1::2])) == everybody


def test_matched_negatives_are_those_that_others_took(data: Path) -> None:
    """Items that no training user took are drawn under `uniform` alone, and what many took oftener than what few did."""
    log = sets.load(data / "movielens-100k")
    train, people = log.rows((log.item < 130) & (log.user >= 10)), cases.latest(log, np.arange(10))
    asked = usersim._asked(train, people, 20)
    often = {}
    for protocol in usersim.PROTOCOLS:
        drawn = asked.scores(Spy(), protocol).at(1).negative
        often[protocol] = np.bincount(drawn[~np.isnan(drawn)].astype(int), minlength=ITEMS)
    assert often["uniform"][130:].mean() > 3.0
    assert not often["matched"][130:].any()
    takers = np.bincount(train.item, minlength=ITEMS)[:130]
    assert np.corrcoef(often["matched"][:130], takers)[0, 1] > 0.3 > np.corrcoef(often["uniform"][:130], takers)[0, 1]


def test_a_planted_leak_is_noticed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "leaks", lambda log, split, kind: ["1 users are in both parts."])
    with pytest.raises(DataError, match="the folds leak: 1 users are in both parts"):
        usersim.run(data=data, redraws=1, folds=3, dataset="movielens-100k")


def people(walked: list[list[int]], add: int = 0) -> str:
    lines = [
        {"user": number, "history": [i + add for i in walk[:-5]], "positives": [i + add for i in walk[-5:]]}
        for number, walk in enumerate(walked)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.usefixtures("small")
def test_users_from_a_file(data: Path, tmp_path: Path) -> None:
    users = tmp_path / "people.jsonl"
    users.write_text(people(walks(40, seed=8), add=1))  # ids of films begin with 1
    report = usersim.run(data=data, test=users, dataset="movielens-100k", redraws=2)
    assert {(row.split, row.n_users, row.n_seeds, row.dataset) for row in report.rows} == {
        ("test", 40, 1, "movielens-100k")
    }
    assert "people.jsonl" in report.protocol
    auc = values(report, protocol="uniform", metric="auc", against=None)
    assert auc["logistic_seq"].value > auc["popularity"].value + 0.2


def test_people_of_a_file_who_are_given_too_are_not_learned_from(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "people.jsonl"
    users.write_text(people(walks()[:20], add=1))
    (_, held), (train, tested) = learned_from_and_asked(monkeypatch, data, test=users)
    assert tested == set(range(20))
    assert not train & tested
    assert not held & tested


@pytest.mark.usefixtures("small")
def test_the_test_users_that_a_folder_names(data: Path) -> None:
    (data / "movielens-100k" / "test_users.json").write_text(json.dumps(list(range(31, 61))))
    report = usersim.run(data=data, split="test", redraws=1)
    assert {(row.split, row.n_users, row.dataset) for row in report.rows} == {("test", 30, "movielens-100k")}
    assert sum("names no test users" in note for note in report.notes) == 2


@pytest.mark.usefixtures("small")
def test_only_whole_histories_of_lastfm_are_judged_by(data: Path) -> None:
    """Its validation users have 11 given items here, the end of what they took: they only train."""
    report = usersim.run(data=data, redraws=1, folds=2, dataset="lastfm-sequences")
    assert {row.n_users for row in report.rows} == {USERS}


@pytest.mark.usefixtures("small")
def test_refusals(data: Path, tmp_path: Path) -> None:
    users = tmp_path / "people.jsonl"
    users.write_text(people(walks(2), add=1) + '{"user": 7, "history": [1], "positives": [1000]}\n')
    for words, options in (
        (("people.jsonl, line 3: item 1000 is not an item",), ["--test", users, "--dataset", "movielens-100k"]),
        (("add --dataset",), ["--test", users]),
        (("The benchmark usersim has no data set 'movielens'", "movielens-100k"), ["--dataset", "movielens"]),
        (("no split 'tests'", "Did you mean test"), ["--split", "tests"]),
        (("movielens-100k names no test users", "--test FILE"), ["--split", "test", "--dataset", "movielens-100k"]),
        (("names no test users of any set", "--test FILE"), ["--split", "test"]),
        (("There is no file", "no.jsonl"), ["--test", tmp_path / "no.jsonl", "--dataset", "movielens-100k"]),
    ):
        result = CliRunner().invoke(cli.app, ["bench", "usersim", "--data", str(data), *map(str, options)])
        assert result.exit_code == 2, result.output
        (said,) = result.stderr.strip().splitlines()
        assert said.startswith("jaxreco: ")
        for word in words:
            assert word in said
    with pytest.raises(DataError, match="100 users to judge by: give 2 to 100 folds, not 101"):
        usersim.run(data=data, redraws=1, folds=101, dataset="instruments-2018")


@pytest.mark.usefixtures("small")
def test_a_set_of_short_histories_is_refused(data: Path) -> None:
    path = data / "instruments-2018" / "sequences.jsonl"
    path.write_text("\n".join(json.dumps(walk[: cases.AT_LEAST - 1]) for walk in walks()) + "\n")
    with pytest.raises(DataError, match="instruments-2018 has 0 users to judge by"):
        usersim.run(data=data, redraws=1, dataset="instruments-2018")


@pytest.mark.usefixtures("small")
def test_the_command_writes_rows_and_fits_80_columns(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "usersim.json"
    options = ["bench", "usersim", "--data", str(data), "--dataset", "instruments-2018", "--json", str(out)]
    result = CliRunner().invoke(cli.app, options, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert "logistic_seq" in result.output
    assert "precision and recall" in result.output
    written = json.loads(out.read_text())
    assert written["benchmark"] == "usersim"
    assert {row["protocol"] for row in written["rows"]} == {"uniform", "matched"}
    assert {row["metric"] for row in written["rows"] if row["against"] is None} == {
        "auc", *(f"{metric}@1:{ratio}" for metric in ("precision", "recall", "f1") for ratio in (1, 9, 19)),
    }  # fmt: skip


@pytest.mark.usefixtures("small")
def test_the_fitted_user_and_what_it_adds_are_rows_of_the_full_protocol(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Log] = []

    class Brief(learned.Transformer):
        def fit(self, train: Log) -> Any:
            fitted.append(train)
            return super().fit(train)

    monkeypatch.setattr(learned, "Transformer", lambda: Brief(epochs=8))
    report = usersim.run(data=data, dataset="lastfm-sequences", quick=False, redraws=1, folds=2)
    found = values(report, protocol="uniform", metric="auc", against=None)
    assert tuple(found) == (*rows.BASELINES, "mindset", "learned_plain", "learned", "blend")
    assert found["mindset"].value > 0.6
    assert len(fitted) == 4  # an inner and an outer fit of each fold: the two rows share them
    assert found["learned"].value > 0.6
    assert {row.mode for row in report.rows} == {"full"}
    for agent in ("learned", "blend"):
        less = {
            row.against: row.value
            for row in report.rows
            if (row.agent, row.metric, row.protocol) == (agent, "auc", "matched")
        }
        assert set(less) == {None, *rows.BASELINES}
        assert less["always_yes"] == pytest.approx(less[None] - 0.5)


@dataclasses.dataclass(frozen=True)
class Slow(Spy):
    """Says something of each item, and tells who fitted it."""

    slow = True

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return np.sin(candidates + history[:, -1:]).astype(np.float32)


@pytest.mark.usefixtures("small")
def test_what_slow_users_said_is_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Slow()
    monkeypatch.setattr(rows, "closed_rows", lambda *args: {"ease": Best((spy,)), "blend": Best((spy,))})
    monkeypatch.setattr(rows, "BASELINES", ("ease",))

    def run(fits: int, **options: Any) -> list[usersim.Row]:
        spy.seen.clear()
        report = usersim.run(data=data, dataset="lastfm-sequences", folds=2, runs=tmp_path / "a" / "runs", **options)
        assert len(spy.seen) == fits
        return report.rows

    found = run(4, redraws=2)
    assert run(0, redraws=2) == found
    (one, *others) = (tmp_path / "a" / "runs").iterdir()
    assert len(others) == 3
    one.write_bytes(one.read_bytes()[:200])  # as a full disk leaves it
    assert run(1, redraws=2) == found
    run(4, redraws=1)  # other negatives
    plays = data / "lastfm-sequences" / "train.jsonl"
    plays.write_text("".join(plays.read_text().splitlines(keepends=True)[:-1]))
    run(4, redraws=2)


@pytest.mark.parametrize("scorer", [learned.Transformer(epochs=1), mechanistic.Mechanistic(epochs=1)])
def test_a_fitted_user_scores_candidates_whatever_stands_beside_them(data: Path, scorer: Any) -> None:
    log = usersim.read_set(data / "lastfm-sequences", "lastfm-sequences").log
    user = scorer.fit(log)
    rng = np.random.default_rng(0)
    history = rng.integers(ITEMS, size=(40, 6)).astype(np.int32)
    candidates = rng.integers(ITEMS, size=(40, 9)).astype(np.int32)
    found = user.scores(history, candidates)
    np.testing.assert_array_equal(found[:, ::-1], user.scores(history, candidates[:, ::-1]))
    np.testing.assert_allclose(found[33:34, 2:5], user.scores(history[33:34], candidates[33:34, 2:5]), atol=1e-5)
    everything = np.tile(np.arange(ITEMS, dtype=np.int32), (40, 1))
    np.testing.assert_allclose(np.exp(user.scores(history, everything)).mean(axis=1), 1.0, rtol=1e-4)
