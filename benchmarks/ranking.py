"""What would this user take next? The last item of each user among 19 others, among what SASRec shows, and in the whole catalog.

Closed forms, fitted to logs and tuned inside the folds: the rows that a learned recommender has to pass. SASRec, and its blend
with the best of them.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxreco.benchmarks.given import Given, read_set, refuse, sets_in
from jaxreco.benchmarks.report import Report, Row, Say, bar, cell, plain_table, three, under
from jaxreco.content import known
from jaxreco.data import splits
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError
from jaxreco.evaluation import interval
from jaxreco.ranking import blend, closed, hard, metrics, sasrec_fit, tuning
from jaxreco.ranking.cases import CANDIDATES, Cases, answered, but_last, but_users, draws, last_items, read, several
from jaxreco.ranking.sasrec import Sizes
from jaxreco.report.standing import Estimate

CV, RANDOM20, HARD20, FULL = "cv10/random20", "random20", "hard20", "full"
FOLDS, REDRAWS = 10, 100
HIDDEN, INNER = 3000, 1000  # users of Instruments whose last items are ranked, and others by whom is tuned
REGULARISATIONS = {"instruments-2018": (50.0, 200.0, 500.0)}  # of EASE: each takes minutes with as many items
SIZES = Sizes()  # of SASRec
FIT: dict[str, Any] = {}  # settings of its fit other than what suits the log
PLAIN = ("random", "popularity", "item_knn", "ease")  # the best of them is what all other rows are compared with
MIXED = "ease_seq"  # the closed form that SASRec is mixed with
LEARNED = ("sasrec", "blend")  # and these with the best of all closed forms too
KNOWN = (
    "Known, hit@1 among 20, of others: LLaRA (arXiv 2312.02445, numbers of its repository, 95 and 122 test users) .453 on "
    "MovieLens and .525 on Last.fm, the SASRec it names .378 and .290 to .315.",
    "Known, but no baseline: the RecoWorld row reported by CoARS (arXiv 2604.10029), .172 on MovieLens, .199 on Last.fm, .222 "
    "on Instruments. Its agents re-rank the top 20 of a SASRec, and how the truth enters those is not known; item-kNN passes it.",
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
    recipes: dict[str, list[closed.Recipe]]  # closed form's row -> one a fold
    weights: list[float]  # of the closed form in the blend, one a fold


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
      quick: or not, this is the whole protocol.
      data: the folder that holds the data sets' folders. split: "validation" or "test".
      test: JSON lines of users to rank for instead, of one data set. dataset: its name, or the only one to run.
      redraws, folds: instead of those of the protocol.

    Raises DataError for data that is missing or broken, a split or data set that is not there.
    """
    began = time.perf_counter()
    refuse("ranking", split, test, dataset)
    mode = "quick" if quick else "full"
    rows: list[Row] = []
    made: list[Any] = []
    notes: list[str] = []
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
        made += _tables(name, measured)
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
        "transitions (what came after what), item-kNN and log-popularity. sasrec is a causal transformer, fitted once to each "
        "training part; blend is sasrec with ease_seq. --quick is the whole protocol.",
        f"{HARD20}: the first 20 items, without the history, of a SASRec that is fitted to the inner split alone and is no row; only "
        "users whose truth is among them count. Neither its scores nor the candidates' order are told.",
        *KNOWN,
    ]
    return Report(
        benchmark="ranking", protocol=protocol, mode=mode, wall_s=time.perf_counter() - began, rows=rows, notes=notes,
        tables=made,
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
    weights = []
    for number, job in enumerate(jobs):
        fold[job.cases] = number
        told = under(f"{protocol}, {bar(number, len(jobs))}", say)
        inner = job.inner(job.train)
        bench = tuning.Bench(inner, under("tuning", told))
        chosen = tuning.recipes(inner, under("tuning", told), regularisations, bench)
        asked = cases.rows(job.cases)
        parts = closed.Parts(job.train, asked.history, {r.fade for r in chosen.values()}, under("ranking", told))
        scores = {row: parts.scores(recipe) for row, recipe in chosen.items()}
        learned = _learned(job.train, inner, asked, (bench.scores(chosen[MIXED]), scores[MIXED]), number, told)
        weights.append(learned.weight)
        for row, recipe in chosen.items():
            recipes.setdefault(row, []).append(recipe)
        for row, said in (scores | learned.scores).items():
            for metric, found in _metrics(said, asked, candidates, job.cases, learned.shown).items():
                kept = values.setdefault(row, {}).setdefault(metric, np.full(len(cases.target), np.nan))
                kept[job.cases] = found
    return Measured(protocol, values, fold, recipes, weights)


class Learned(NamedTuple):
    """What SASRec says of some cases, alone and mixed."""

    scores: dict[str, np.ndarray]  # of LEARNED, f32[M, I]
    shown: np.ndarray  # i32[M, 20], of hard20
    weight: float  # of the closed form in the blend


def _learned(
    train: Log, inner: tuning.Inner, asked: Cases, mixed: tuple[np.ndarray, np.ndarray], seed: int, say: Say
) -> Learned:
    """SASRec, fitted twice: to the inner split, which says when to stop and how to mix, and to all of a training part.

    The first also shows the candidates of hard20, so that no row is asked for its own: nobody reads the scores that chose them.

    Args: mixed: scores of the closed form that is mixed, of the inner cases and of those asked.
    """
    config, content = sasrec_fit.usual(train, **FIT), _content(train.items)
    fit = functools.partial(sasrec_fit.fit, sizes=SIZES, config=config, content=content)
    first = fit(inner.train, held_back=inner.cases, seed=2 * seed, say=under("sasrec, inner split", say))
    weight = blend.tune(first.scores(inner.cases.history), mixed[0], inner.cases)
    learned = fit(train, stop=first.rounds, seed=2 * seed + 1).scores(asked.history)
    both = {"sasrec": learned, "blend": blend.mixed(learned, mixed[1], weight)}
    return Learned(both, hard.shortlist(first.scores(asked.history), asked, CANDIDATES), weight)


def _content(items: Items) -> np.ndarray | None:
    """f32[I, D], what SASRec reads of items beside their names: all of their published codes, or categories and titles."""
    if items.codes is not None:
        return known.every_level(items.codes)
    return known.known_of(items)[0] if items.categories is not None else None


def _metrics(
    scores: np.ndarray, cases: Cases, candidates: list[Any], chosen: np.ndarray, shown: np.ndarray
) -> dict[str, np.ndarray]:
    """f64[M] each; of hard20 NaN for users whose truth is not shown."""
    hits = np.zeros(len(cases.target))
    for drawn, place in candidates:
        said = np.take_along_axis(scores, drawn[chosen], axis=1)
        hits += said.argmax(axis=1) == place[chosen]  # of equals the first in a random order
    ranked = metrics.places(scores, cases)
    return {
        "hit@1 of 20": hits / len(candidates),
        "hit@1": metrics.hit(ranked, 1),
        "hit@10": metrics.hit(ranked, 10),
        "ndcg@10": metrics.ndcg(ranked, 10),
        "hard hit@1": hard.hit(scores, shown, cases),
    }


# -- rows and tables -----------------------------------------------------------------------------------------

AMONG = "hit@1 of 20"  # the key of what is measured among 20 drawn candidates
ONCE = {"hard hit@1": HARD20, "hit@1": FULL, "hit@10": FULL, "ndcg@10": FULL}  # over most users only


def _rows(measured: list[Measured]) -> Iterator[Row]:
    """Values, and differences from the best plain row, of learned rows from the best closed form too."""
    for one in measured:
        for metric, protocol in {AMONG: one.protocol, **(ONCE if one is measured[0] else {})}.items():
            scored = np.isfinite(one.values["random"][metric])
            users = {"n_users": int(scored.sum()), "n_seeds": int(one.fold.max()) + 1}
            name = metric.removesuffix(" of 20").removeprefix("hard ")
            for agent in one.values:
                about: dict[str, Any] = {"protocol": protocol, "agent": agent, **users}
                yield Row(name, *interval(one.values[agent][metric][scored]), **about)
                for other in _others(one, agent, metric):
                    yield Row(name, *interval(_difference(one, agent, other, metric)), against=other, **about)
            if protocol == HARD20:
                covered = scored.astype(np.float64)
                yield Row(
                    "coverage", *interval(covered), protocol=HARD20, n_users=len(scored), n_seeds=users["n_seeds"]
                )


def _others(one: Measured, agent: str, metric: str) -> list[str]:
    """The rows that a row is compared with."""
    others = [_best(one, PLAIN, metric), *([_best(one, one.recipes, metric)] if agent in LEARNED else [])]
    return [other for other in dict.fromkeys(others) if other != agent]


def _best(one: Measured, rows: Iterable[str], metric: str) -> str:
    return max(rows, key=lambda agent: float(np.nanmean(one.values[agent][metric])))


def _difference(one: Measured, agent: str, other: str, metric: str) -> np.ndarray:
    difference = one.values[agent][metric] - one.values[other][metric]
    return difference[np.isfinite(difference)]


def _tables(name: str, measured: list[Measured]) -> list[Any]:
    """A data set's rows: among 20 candidates, less the best plain row and the best closed form, on the validation users; then
    among what SASRec shows, and in the catalog."""
    first = measured[0]
    plain, best = _best(first, PLAIN, AMONG), _best(first, first.recipes, AMONG)
    more = [f"{one.protocol}\n{len(one.fold):,} users" for one in measured[1:]]
    covered = np.isfinite(first.values["random"]["hard hit@1"])
    among = plain_table(
        "hit@1 of 20", f"{first.protocol}\n{len(first.fold):,} users", f"less\n{plain}", f"less\n{best}", *more,
        words=1, title=name,
    )  # fmt: skip
    whole = plain_table(
        "",
        f"{HARD20}, hit@1\n{covered.sum():,} users",
        "full\nhit@1",
        "full\nhit@10",
        "full\nndcg@10",
        words=1,
        title=name,
    )
    for agent in first.values:
        gains = [_gain(first, agent, plain), _gain(first, agent, best) if agent in LEARNED else ""]
        cells = [cell(Estimate(*interval(one.values[agent][AMONG]))) for one in measured]
        among.add_row(agent, cells[0], *gains, *cells[1:])
        shown = cell(Estimate(*interval(first.values[agent]["hard hit@1"][covered]))) if covered.any() else ""
        full = (three(first.values[agent][metric].mean()) for metric in ("hit@1", "hit@10", "ndcg@10"))
        whole.add_row(agent, shown, *full)
    for table in (among, whole):
        table.padding = (0, 1, 0, 0)
    return [among, whole]


def _gain(one: Measured, agent: str, other: str) -> str:
    """The paired difference; nothing where they are one row."""
    if agent == other:
        return ""
    gain = Estimate(*interval(_difference(one, agent, other, AMONG)))
    return f"{cell(gain, '+')}{'' if gain.verdict == 'not told apart' else ' *'}"


def _chosen(name: str, one: Measured) -> str:
    """What was tuned, and what for: the range over folds."""
    told = []
    for agent, recipes in one.recipes.items():
        for field in dataclasses.fields(closed.Recipe):
            found = sorted({getattr(recipe, field.name) for recipe in recipes})
            if agent == "ease_seq" and found != [getattr(closed.RANDOM, field.name)]:
                told.append(f"{field.name} {_span(found)}")
    shown = np.isfinite(one.values["random"]["hard hit@1"]).mean()
    return (
        f"{name}, chosen for ease_seq: {', '.join(told)}; the weight of {MIXED}, standardised, in blend: {_span(one.weights)}. "
        f"{HARD20}: the truth of {shown:.1%} of the users is among the 20. * the difference's interval excludes 0."
    )


def _span(values: Iterable[float]) -> str:
    return " or ".join(f"{value:g}" for value in sorted(set(values)))
