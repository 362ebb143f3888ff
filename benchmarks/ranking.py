"""What would this user take next? The last item of each user among 19 others, and in the whole catalog.

Closed forms, fitted to logs and tuned inside the folds: the rows that a learned recommender has to pass.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxreco.benchmarks.given import Given, read_set, refuse, sets_in
from jaxreco.benchmarks.report import Report, Row, Say, bar, cell, plain_table, three, under
from jaxreco.data import splits
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.evaluation import interval
from jaxreco.ranking import closed, metrics, tuning
from jaxreco.ranking.cases import Cases, answered, but_last, but_users, draws, last_items, read, several
from jaxreco.report.standing import Estimate

CV, RANDOM20, FULL = "cv10/random20", "random20", "full"
FOLDS, REDRAWS = 10, 100
HIDDEN, INNER = 3000, 1000  # users of Instruments whose last items are ranked, and others by whom is tuned
REGULARISATIONS = {"instruments-2018": (50.0, 200.0, 500.0)}  # of EASE: each takes minutes with as many items
PLAIN = ("random", "popularity", "item_knn", "ease")  # the best of them is what all other rows are compared with
KNOWN = (
    "Known, hit@1 among 20, of others: LLaRA (arXiv 2312.02445, numbers of its repository, 95 and 122 test users) .453 on "
    "MovieLens and .525 on Last.fm, the SASRec it names .378 and .290 to .315.",
    "Known, but no baseline: the RecoWorld row reported by CoARS (arXiv 2604.10029), .172 on MovieLens, .199 on Last.fm, .222 "
    "on Instruments. Its agents re-rank the top 20 of a SASRec, and how the truth enters those is not known; item-kNN passes it.",
    "hard20 is left out: it needs the candidates of a SASRec, and there is none here yet.",
)

Inner = Callable[[Log], tuning.Inner]


class Job(NamedTuple):
    """What is fitted, and whom it is asked about."""

    train: Log
    cases: np.ndarray  # i64, which of a measurement's cases
    inner: Inner


class Measured(NamedTuple):
    """One measurement. `M` cases."""

    protocol: str
    values: dict[str, dict[str, np.ndarray]]  # row -> metric -> f64[M]
    fold: np.ndarray  # i64[M]
    recipes: dict[str, list[closed.Recipe]]  # row -> one a fold


def run(
    *,
    data: pathlib.Path,
    quick: bool = True,
    say: Say = lambda text: None,
    split: str = "validation",
    test: pathlib.Path | None = None,
    dataset: str | None = None,
    redraws: int = REDRAWS,
    folds: int = FOLDS,
) -> Report:
    """Rank.

    Args:
      quick: closed forms are soon fitted: quick or not, this is the whole protocol.
      data: the folder that holds the data sets' folders. split: "validation" or "test".
      test: JSON lines of users to rank for instead, of one data set. dataset: its name, or the only one to run.
      redraws, folds: instead of those of the protocol.

    Raises DataError for data that is missing or broken, a split or data set that is not there.
    """
    began = time.perf_counter()
    refuse("ranking", split, test, dataset)
    mode = "quick" if quick else "full"
    rows: list[Row] = []
    made, notes = [], []
    for name in (dataset,) if dataset else sets_in(data):
        say(f"reading {name}")
        given = read_set(data / name, name)
        cases = read(test, given.log.items.ids) if test is not None else None
        part = "test" if test is not None else split
        if part == "test" and cases is None and given.test is None and dataset is None:
            notes.append(f"{name} is left out: its folder holds no test part.")
            continue
        measured = list(_measure(given, part, cases, redraws, folds, under(name, say)))
        rows += [dataclasses.replace(row, dataset=name, split=part, mode=mode) for row in _rows(measured)]
        made.append(_table(name, measured))
        notes.append(_chosen(name, measured[0]))
    if not made:
        raise DataError(f"{data} holds no test part of any set: give users with --test FILE --dataset NAME.")
    asked = (
        f"{folds} folds by user, on Instruments the last given items of {HIDDEN:,} fixed users"
        if test is None and split == "validation"
        else f"the users of {test.name if test else 'the test part'}, all that is given trains but their own answers"
    )
    protocol = (
        "a user's last item after its last 10, against 19 drawn uniformly from what is not in the visible history (mean "
        f"of {redraws} fixed redraws; ties at random), and in the whole catalog without the history; {asked}; "
        "hyperparameters tuned on one inner split of each training part"
    )
    notes += [
        "± is half the 95 % interval over users (bootstrap); differences are paired by user. The folds are the seeds.",
        "ease is tuned, ease_200 is EASE at lambda 200. ease_pop adds log-popularity; ease_seq fades the history and adds "
        "transitions (what came after what), item-kNN and log-popularity. Closed forms are soon fitted: --quick is the whole protocol.",
        *KNOWN,
    ]
    return Report(
        benchmark="ranking", protocol=protocol, mode=mode, wall_s=time.perf_counter() - began, rows=rows, notes=notes,
        tables=made, device="CPU (NumPy)",
    )  # fmt: skip


# -- measuring -----------------------------------------------------------------------------------------------


def _measure(given: Given, split: str, cases: Cases | None, redraws: int, folds: int, say: Say) -> Iterator[Measured]:
    """What a split, or cases from a file, are measured by."""
    log = given.log
    everybody = several(log)
    hidden = np.sort(np.random.default_rng(0).permutation(everybody)[:HIDDEN])
    others = np.setdiff1d(everybody, hidden)
    tuners = np.sort(np.random.default_rng(1).permutation(others if len(others) else everybody)[:INNER])
    inner: Inner = (lambda train: tuning.by_last(train, tuners)) if given.over_time else tuning.by_user
    regularisations = REGULARISATIONS.get(given.name, tuning.REGULARISATIONS)
    found = lambda protocol, asked, jobs: measure(protocol, asked, jobs, redraws, regularisations, say)  # noqa: E731
    if cases is None and split == "test":
        if given.test is None:
            raise DataError(f"{given.name} holds no test part: give the users with --test FILE --dataset {given.name}.")
        if isinstance(given.test, Cases):
            cases = given.test
        else:
            log, cases = but_users(log, given.test), last_items(log, given.test)
    if cases is not None:
        known = answered(log, cases)
        log = but_last(log, known) if given.over_time else but_users(log, known)
        yield found(RANDOM20, cases, [Job(log, np.arange(len(cases.target)), inner)])
    elif given.over_time:
        yield found(CV, last_items(log, hidden), [Job(but_last(log, hidden), np.arange(len(hidden)), inner)])
    else:
        asked = given.log.rows(np.isin(log.user, everybody))
        yield found(CV, last_items(log, everybody), list(_folds(asked, everybody, folds, inner)))
        job = Job(but_users(log, given.validation), np.arange(len(given.validation)), inner)
        yield found(RANDOM20, last_items(log, given.validation), [job])


def _folds(log: Log, users: np.ndarray, folds: int, inner: Inner) -> Iterator[Job]:
    """One job a fold by user. Raises DataError if a fold's training part knows any of its users."""
    for split in splits.folds_by_user(log, folds):
        leaks = splits.leaks(log, split, "user")
        if leaks:
            raise DataError(f"{log.name}: the folds leak: {leaks[0]}")
        yield Job(log.rows(split.train), np.flatnonzero(np.isin(users, log.user[split.test])), inner)


def measure(
    protocol: str, cases: Cases, jobs: Sequence[Job], redraws: int, regularisations: Sequence[float], say: Say
) -> Measured:
    """Every row's metrics of all cases: fitted on a job's training part, tuned on its inner split."""
    n_items = jobs[0].train.n_items
    candidates = list(draws(cases, n_items, redraws))
    values: dict[str, dict[str, np.ndarray]] = {}
    fold = np.zeros(len(cases.target), np.int64)
    recipes: dict[str, list[closed.Recipe]] = {}
    for number, job in enumerate(jobs):
        fold[job.cases] = number
        told = under(f"{protocol}, {bar(number, len(jobs))}", say)
        chosen = tuning.recipes(job.inner(job.train), under("tuning", told), regularisations)
        fades = {recipe.fade for recipe in chosen.values()}
        parts = closed.Parts(job.train, cases.history[job.cases], fades, under("ranking", told))
        for row, recipe in chosen.items():
            recipes.setdefault(row, []).append(recipe)
            scores = parts.scores(recipe)
            for metric, found in _metrics(scores, cases.rows(job.cases), candidates, job.cases).items():
                kept = values.setdefault(row, {}).setdefault(metric, np.full(len(cases.target), np.nan))
                kept[job.cases] = found
    return Measured(protocol, values, fold, recipes)


def _metrics(scores: np.ndarray, cases: Cases, candidates: list[Any], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """f64[M] each."""
    hits = np.zeros(len(cases.target))
    for shown, place in candidates:
        said = np.take_along_axis(scores, shown[chosen], axis=1)
        hits += said.argmax(axis=1) == place[chosen]  # of equals the first in a random order
    ranked = metrics.places(scores, cases)
    return {
        "hit@1 of 20": hits / len(candidates),
        "hit@1": metrics.hit(ranked, 1),
        "hit@10": metrics.hit(ranked, 10),
        "ndcg@10": metrics.ndcg(ranked, 10),
    }


# -- rows and tables -----------------------------------------------------------------------------------------


def _rows(measured: list[Measured]) -> Iterator[Row]:
    """Values, and differences from the best plain row; the catalog's once, over most users."""
    for one in measured:
        for metric in ("hit@1 of 20", *(("hit@1", "hit@10", "ndcg@10") if one is measured[0] else ())):
            protocol = one.protocol if metric == "hit@1 of 20" else FULL
            best = _best(one, metric)
            for agent in one.values:
                users = {"n_users": len(one.fold), "n_seeds": int(one.fold.max()) + 1}
                about: dict[str, Any] = {"protocol": protocol, "agent": agent, **users}
                name = metric.removesuffix(" of 20")
                yield Row(name, *interval(one.values[agent][metric]), **about)
                if agent != best:
                    yield Row(name, *interval(_difference(one, agent, best, metric)), against=best, **about)


def _best(one: Measured, metric: str) -> str:
    return max(PLAIN, key=lambda agent: float(one.values[agent][metric].mean()))


def _difference(one: Measured, agent: str, other: str, metric: str) -> np.ndarray:
    return one.values[agent][metric] - one.values[other][metric]


def _table(name: str, measured: list[Measured]) -> Any:
    """A data set's rows: among 20 candidates, less the best plain row, on the validation users, in the catalog."""
    first = measured[0]
    best = _best(first, "hit@1 of 20")
    more = [f"{one.protocol}\n{len(one.fold):,} users" for one in measured[1:]]
    table = plain_table(
        "hit@1 of 20", f"{first.protocol}\n{len(first.fold):,} users", f"less\n{best}", *more, "full\nhit@1", "full\nhit@10",
        "full\nndcg@10", words=1, title=name,
    )  # fmt: skip
    table.padding = (0, 1, 0, 0)
    for agent in first.values:
        gain = Estimate(*interval(_difference(first, agent, best, "hit@1 of 20")))
        told = "" if agent == best else f"{cell(gain, '+')}{'' if gain.verdict == 'not told apart' else ' *'}"
        cells = [cell(Estimate(*interval(one.values[agent]["hit@1 of 20"]))) for one in measured]
        full = (three(first.values[agent][metric].mean()) for metric in ("hit@1", "hit@10", "ndcg@10"))
        table.add_row(agent, cells[0], told, *cells[1:], *full)
    return table


def _chosen(name: str, one: Measured) -> str:
    """What was tuned, and what for: the range over folds."""
    told = []
    for agent, recipes in one.recipes.items():
        for field in dataclasses.fields(closed.Recipe):
            found = sorted({getattr(recipe, field.name) for recipe in recipes})
            if agent == "ease_seq" and found != [getattr(closed.RANDOM, field.name)]:
                told.append(f"{field.name} {' or '.join(f'{value:g}' for value in found)}")
    return f"{name}, chosen for ease_seq: {', '.join(told)}. * the difference's interval excludes 0."
