"""Does the simulated user act as the real one did? Yes or no to what a user took next, and to what it did not take.

Trivial and closed-form users, fitted to logs, with thresholds chosen on other users: the rows that a learned user has to pass.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxreco import provenance
from jaxreco.benchmarks.given import Given, read_set, refuse, sets_in
from jaxreco.benchmarks.report import Report, Row, Say, bar, cell, plain_table, three, under
from jaxreco.benchmarks.trained import place
from jaxreco.data import splits
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.ranking.cases import but_users
from jaxreco.ranking.closed import Recipe
from jaxreco.report.standing import Estimate
from jaxreco.usersim import cases, decisions, rows
from jaxreco.usersim.cases import Cases
from jaxreco.usersim.estimates import Ratio, interval, ratios
from jaxreco.usersim.models import Asked, Best, Learned, Model, Said
from jaxreco.usersim.negatives import RATIOS, draws
from jaxreco.usersim.scorers import Closed, Scorer

FOLDS, REDRAWS = 5, 5
HELD = 0.2  # share of the judged users of a training part by whom all that is chosen is chosen
PROTOCOLS = ("uniform", "matched")
KIND = "uniform/kind"
REGULARISATIONS = {"instruments-2018": (200.0, 1000.0)}  # of EASE: each takes long with as many items
F1 = tuple(f"f1@1:{ratio}" for ratio in RATIOS)
COMPARED = (*F1, "auc")
OURS = ("learned", "blend")  # compared with every baseline
KNOWN = (
    "Known of others, F1 at a ratio that is not told: .187 on MovieLens, .151 on Last.fm, .266 on Instruments (the RecoWorld row of "
    "CoARS, arXiv 2604.10029). always_yes has .182 at 1:9."
)


class Job(NamedTuple):
    """What is fitted, by whom is chosen, and whom it is asked about."""

    train: Log
    judged: np.ndarray  # i64, users of the training part who might be tested
    cases: np.ndarray  # i64, which of a measurement's cases


class Chosen(NamedTuple):
    """A row when all about it is chosen."""

    user: Learned
    thresholds: dict[str, list[float]]  # by protocol, one a ratio


class Measured(NamedTuple):
    """One measurement of `M` cases."""

    values: dict[str, dict[str, dict[str, Ratio]]]  # protocol -> row -> metric -> over the cases
    chosen: list[dict[str, Chosen]]  # for each fold by row
    n_users: int


def run(
    *,
    data: pathlib.Path,
    quick: bool = True,
    say: Say = lambda text: None,
    split: str = "validation",
    test: pathlib.Path | None = None,
    dataset: str | None = None,
    runs: pathlib.Path | None = None,
    redraws: int = REDRAWS,
    folds: int = FOLDS,
) -> Report:
    """Judge user models.

    Args:
      quick: closed forms alone, by the whole protocol; else the fitted user too, and what it adds to them.
      data: the folder that holds the data sets' folders. split: "validation" or "test".
      test: JSON lines of users to judge by instead, of one data set. dataset: its name, or the only one to run.
      runs: folder where the answers of users who are slow to fit are kept: after a stop they are not fitted again.
      redraws, folds: instead of those of the protocol.

    Raises DataError for data that is missing or broken, a split or data set that is not there.
    """
    began = time.perf_counter()
    refuse("usersim", split, test, dataset)
    part, mode = "test" if test is not None else split, "quick" if quick else "full"
    found: list[Row] = []
    tables: list[Any] = []
    notes: list[str] = []
    if runs is not None:
        runs.mkdir(parents=True, exist_ok=True)
    for name in (dataset,) if dataset else sets_in(data):
        say(f"reading {name}")
        given = read_set(data / name, name)
        if part == "test" and test is None and dataset is None and not isinstance(given.test, np.ndarray):
            notes.append(f"{name} is left out: its folder names no test users.")
            continue
        measured = measure(*_jobs(given, part, test, folds), _models(given, quick), redraws, under(name, say), runs)
        checked = list(_check(given, redraws)) if name == "movielens-100k" and part == "validation" else []
        of: dict[str, Any] = {"dataset": name, "split": part, "mode": mode}
        found += [dataclasses.replace(row, **of) for row in (*_rows(measured), *checked)]
        tables += _tables(name, measured.values)
        notes += [_tuned(name, measured.chosen), *([_told(checked)] if checked else [])]
    if not tables:
        raise DataError(f"{data} names no test users of any set: give users with --test FILE --dataset NAME.")
    return Report(
        benchmark="usersim", protocol=_protocol(part, test, redraws, folds), mode=mode, wall_s=time.perf_counter() - began,
        rows=found, notes=[*notes, *_remarks()], tables=tables, device="CPU (NumPy)" if quick else provenance.device(),
    )  # fmt: skip


def _protocol(part: str, test: pathlib.Path | None, redraws: int, folds: int) -> str:
    whose = (
        f"the users, histories and positives of {test.name}"
        if test is not None
        else f"{f'{folds} folds by user' if part == 'validation' else 'the test users'}; of users with {cases.AT_LEAST} "
        f"interactions or more the last {cases.MANY} ({cases.FEW} of fewer than {cases.ENOUGH}) are positives, and all before "
        "them is visible"
    )
    return (
        f"{whose}; negatives are drawn from the items that the user never took, uniformly or (matched) in proportion to "
        f"training popularity, without repeats (mean of {redraws} fixed redraws); yes from a threshold on, one for each ratio "
        "and protocol, chosen like all hyperparameters on a fifth of the training users, held out of an inner fit; precision, "
        "recall and F1 of all users' items together, AUC within users"
    )


def _remarks() -> list[str]:
    return [
        "± is half the 95 % interval over users (bootstrap); differences are paired by user and from the best baseline of that "
        "metric; * where the interval excludes 0. The folds are the seeds.",
        "logistic: popularity, EASE, item-kNN, SVD factors, content where there is any, length of the history; logistic_seq adds "
        "fading histories, transitions both ways and all products. Closed forms are soon fitted: for them --quick is the whole protocol.",
        "learned_plain is what the fitted user (jaxreco fit) says; learned a regression on that, popularity, the length of the "
        "history and their products; blend logistic_seq with it as one more feature; mindset is the mechanistic user "
        "(jaxreco fit --user-model mindset). They are rows of --full: each fold fits two of each.",
        KNOWN,
    ]


def _models(given: Given, quick: bool) -> dict[str, Model]:
    """The rows."""
    closed = rows.closed_rows(given.log.items, REGULARISATIONS.get(given.name, rows.REGULARISATIONS))
    if quick:
        return closed
    from jaxreco.usersim.learned import Transformer  # brings JAX
    from jaxreco.usersim.mechanistic import Mechanistic

    return rows.with_learned({**closed, "mindset": Best((Mechanistic(),))}, Transformer())


# -- who is asked --------------------------------------------------------------------------------------------


def _jobs(given: Given, part: str, test: pathlib.Path | None, folds: int) -> tuple[Cases, list[Job]]:
    """Who is tested, and what is fitted for whom."""
    log, users = given.log, _judged(given)
    if part == "validation":
        order = np.random.default_rng(0).permutation(users)
        if not 2 <= folds <= len(users):
            raise DataError(
                f"{given.name} has {len(users)} users to judge by: give 2 to {len(users)} folds, not {folds}."
            )
        parts = np.array_split(np.arange(len(users)), folds)
        return cases.latest(log, order), [_job(log, users, order[chosen], chosen) for chosen in parts]
    if test is not None:
        asked = cases.read(test, log.items.ids)
        tested = cases.same_people(log, asked)
    elif isinstance(given.test, np.ndarray):
        tested = np.intersect1d(given.test, users)
        asked = cases.latest(log, tested)
    else:
        raise DataError(f"{given.name} names no test users: give users with --test FILE --dataset {given.name}.")
    return asked, [_job(log, users, tested, np.arange(len(asked.positives)))]


def _judged(given: Given) -> np.ndarray:
    """i64: users with enough interactions. Of Last.fm's validation users only the end is given: what else they took is not known."""
    users = cases.judged(given.log)
    return np.setdiff1d(users, given.validation) if given.name == "lastfm-sequences" else users


def _job(log: Log, users: np.ndarray, tested: np.ndarray, chosen: np.ndarray) -> Job:
    """All but those who are tested train. Raises DataError if one of them does."""
    gone = np.isin(log.user, tested)
    leaks = splits.leaks(log, splits.Split(np.flatnonzero(~gone), np.flatnonzero(gone)), "user")
    if leaks:
        raise DataError(f"{log.name}: the folds leak: {leaks[0]}")
    return Job(but_users(log, tested), np.setdiff1d(users, tested), chosen)


# -- measuring -----------------------------------------------------------------------------------------------


def measure(
    asked: Cases,
    jobs: Sequence[Job],
    models: Mapping[str, Model],
    redraws: int,
    say: Say,
    runs: pathlib.Path | None = None,
) -> Measured:
    """Every row's metrics of all cases."""
    values: dict[str, dict[str, dict[str, Ratio]]] = {}
    n_users, folds = len(asked.positives), []
    for number, job in enumerate(jobs):
        told = under(bar(number, len(jobs)), say)
        folds.append(_choose(job, models, redraws, told, runs))
        tested = _asked(job.train, asked.rows(job.cases), redraws, runs)
        for row, chosen in folds[-1].items():
            told(f"asking {row}")
            for protocol, metric, found in _answers(chosen, tested):
                empty = Ratio(np.full(n_users, np.nan), np.full(n_users, np.nan))
                kept = values.setdefault(protocol, {}).setdefault(row, {}).setdefault(metric, empty)
                kept.above[job.cases], kept.below[job.cases] = found
    return Measured(values, folds, n_users)


def _choose(
    job: Job, models: Mapping[str, Model], redraws: int, say: Say, runs: pathlib.Path | None
) -> dict[str, Chosen]:
    """All that is chosen, by some users of the training part who are held out of an inner fit."""
    order = np.random.default_rng(0).permutation(job.judged)
    some = order[: max(1, round(HELD * len(order)))]
    held = _asked(but_users(job.train, some), cases.latest(job.train, some), redraws, runs)
    found = {}
    for row, model in models.items():
        say(f"choosing for {row}")
        user = model.learn(held)
        scores = {protocol: user.scores(held, protocol) for protocol in PROTOCOLS}
        found[row] = Chosen(
            user, {p: [decisions.threshold(s.at(ratio)) for ratio in RATIOS] for p, s in scores.items()}
        )
    return found


def _answers(chosen: Chosen, tested: Asked) -> Iterator[tuple[str, str, Ratio]]:
    """(protocol, metric, its values)."""
    for protocol, thresholds in chosen.thresholds.items():
        scores = chosen.user.scores(tested, protocol)
        yield protocol, "auc", Ratio.mean(decisions.auc(scores))
        for ratio, threshold in zip(RATIOS, thresholds, strict=True):
            for metric, found in ratios(decisions.counts(scores.at(ratio), threshold)).items():
                yield protocol, f"{metric}@1:{ratio}", found


def _asked(train: Log, asked: Cases, redraws: int, runs: pathlib.Path | None = None) -> Asked:
    """With negatives: uniform, and as often as items were taken by the training users."""
    weights = {"uniform": np.ones(train.n_items), "matched": np.bincount(train.item, minlength=train.n_items)}
    negatives = {protocol: draws(asked, weights[protocol], redraws) for protocol in PROTOCOLS}
    of = functools.cache(lambda: _digest(train, *asked, *negatives.values()))
    return Asked(train, asked, negatives, lambda scorer: _kept(runs, scorer, of))


def _kept(runs: pathlib.Path | None, scorer: Scorer, of: Callable[[], str]) -> pathlib.Path | None:
    """The file of what a scorer says, should it be slow and files be kept, of people and items; `of` gives a digest of these."""
    if runs is None or not getattr(scorer, "slow", False):
        return None
    return place(runs, f"usersim-{type(scorer).__name__}", scorer, of())


def _digest(*parts: Any) -> str:
    """Of arrays, records of them, and what `repr` tells apart."""
    digest = hashlib.sha256()
    for part in parts:
        if dataclasses.is_dataclass(part):
            digest.update(_digest(*(getattr(part, field.name) for field in dataclasses.fields(part))).encode())
        elif isinstance(part, np.ndarray) and part.dtype != object:
            digest.update(repr((part.dtype.str, part.shape)).encode() + np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode() + b"\0")
    return digest.hexdigest()


def _check(given: Given, redraws: int) -> Iterator[Row]:
    """EASE as its known figures were found: lambda 200, the validation users, the threshold that suits them best."""
    asked = cases.latest(given.log, given.validation)
    tested = _asked(but_users(given.log, given.validation), asked, redraws)
    scores = tested.scores(Closed(Recipe(ease=1.0, regularisation=200.0)), "uniform")
    about: dict[str, Any] = {"protocol": KIND, "agent": "ease_200", "n_users": len(asked.positives), "n_seeds": 1}
    for ratio, metric in zip(RATIOS, F1, strict=True):
        some = scores.at(ratio)
        found = ratios(decisions.counts(some, decisions.threshold(some)))["f1"]
        yield Row(metric, *interval(found), **about)
    flat = decisions.Scores(scores.positive.reshape(1, -1), scores.negative.reshape(len(scores.negative), 1, -1))
    yield Row("auc", float(decisions.auc(flat)[0]), **about)


def _told(checked: list[Row]) -> str:
    found = " / ".join(three(row.value) for row in checked if row.value is not None)
    return (
        f"Check: EASE at lambda 200, the {checked[0].n_users} validation users of MovieLens, uniform, with the thresholds that suit "
        f"them best and AUC over all users together: {found}; known .826 / .504 / .370 / .86, of one draw."
    )


# -- rows and tables -----------------------------------------------------------------------------------------


def _rows(measured: Measured) -> Iterator[Row]:
    """Values, and differences from the best baseline; of OURS from every one."""
    for protocol, each in measured.values.items():
        about: dict[str, Any] = {"protocol": protocol, "n_users": measured.n_users, "n_seeds": len(measured.chosen)}
        for agent, metrics in each.items():
            for metric, ratio in metrics.items():
                yield Row(metric, *interval(ratio), agent=agent, **about)
                if metric in COMPARED:
                    for other in rows.BASELINES if agent in OURS else (_best(each, metric),):
                        if agent != other:
                            less = interval(ratio, each[other][metric])
                            yield Row(metric, *less, agent=agent, against=other, **about)


def _best(each: dict[str, dict[str, Ratio]], metric: str) -> str:
    return max(rows.BASELINES, key=lambda agent: each[agent][metric].value())


def _tables(name: str, values: dict[str, dict[str, dict[str, Ratio]]]) -> Iterator[Any]:
    """For each protocol F1 and AUC, and these less the best baseline; and precision and recall."""
    for protocol, each in values.items():
        table = plain_table("", *COMPARED, words=1, title=f"{name}, {protocol}")
        for agent, metrics in each.items():
            table.add_row(agent, *(cell(Estimate(*interval(metrics[metric]))) for metric in COMPARED))
        yield table
        yield _differences(each)
        if "learned" in each:
            yield _gains(each, "learned")
    ratios = [f"1:{ratio}" for ratio in RATIOS]
    heads = [f"{protocol}\n{ratio}" for protocol in values for ratio in ratios]
    table = plain_table("", *heads, words=1, title=f"{name}, precision and recall")
    table.padding = (0, 1, 0, 0)  # the longest name of a row beside six columns
    for agent in next(iter(values.values())):
        pairs = [
            [each[agent][f"{metric}@{ratio}"].value() for metric in ("precision", "recall")]
            for each in values.values()
            for ratio in ratios
        ]
        table.add_row(agent, *(" ".join(three(value)[:-1] for value in pair) for pair in pairs))
    yield table


def _differences(each: dict[str, dict[str, Ratio]]) -> Any:
    best = {metric: _best(each, metric) for metric in COMPARED}
    table = plain_table("", *(f"{metric}\nless\n{other}" for metric, other in best.items()), words=1)
    for agent, metrics in each.items():
        told = {m: _gain(metrics[m], each[other][m]) for m, other in best.items()}
        table.add_row(agent, *("" if agent == other else told[metric] for metric, other in best.items()))
    return table


def _gains(each: dict[str, dict[str, Ratio]], ours: str) -> Any:
    """How much a row is above every baseline."""
    table = plain_table(f"{ours} less", *COMPARED, words=1)
    for other in rows.BASELINES:
        table.add_row(other, *(_gain(each[ours][metric], each[other][metric]) for metric in COMPARED))
    return table


def _gain(one: Ratio, other: Ratio) -> str:
    """The difference with its interval, and * where that excludes 0."""
    gain = Estimate(*interval(one, other))
    return f"{cell(gain, '+')}{'' if gain.verdict == 'not told apart' else ' *'}"


def _tuned(name: str, folds: list[dict[str, Chosen]]) -> str:
    """What was chosen for EASE: the range over folds."""
    users = [fold["ease"].user for fold in folds]
    chosen = [user.scorer for user in users if isinstance(user, Said) and isinstance(user.scorer, Closed)]
    strengths = sorted({scorer.recipe.regularisation for scorer in chosen})
    standard = sum(scorer.standard for scorer in chosen)
    return (
        f"{name}, chosen for ease: lambda {' or '.join(f'{strength:g}' for strength in strengths)}, scores in standard deviations "
        f"over the catalog in {standard} of {len(folds)} folds."
    )
