"""The heads of the learned user on people whom it never met, and sessions drawn from them beside real ones. Part of `fidelity`."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.benchmarks.report import Report, Row, Say, cell, plain_table, three
from jaxreco.content.known import known_of
from jaxreco.data import sets, splits
from jaxreco.data.log import Log
from jaxreco.fit import answers, events, finish, fitting, folder, moments, quality, regression
from jaxreco.fit.fitting import Task
from jaxreco.fit.quality import Judged, Quality
from jaxreco.fit.regression import Rows
from jaxreco.report.standing import Estimate
from jaxreco.users.heads import LEAVE, Head, leave_features
from jaxreco.users.network import UserNetwork

SETS = {
    "movielens-100k": ("value",),
    "jester": ("value",),
    "ebnerd-sample": ("click", "watch", "leave", "gap"),
    "mind-sample": ("click",),
    "ta-feng": ("gap",),
    "cdnow": ("gap",),
}
FOLDS, EPOCHS = {"quick": 2, "full": 5}, {"quick": 12, "full": 40}
SPLITS = 500  # of real people into halves
LONGEST = 300  # turns of a session that is drawn
WITHIN = 1.25  # times the distance of halves


class Fitted(NamedTuple):
    """A user fitted to some people of a log, and the log as it reads it."""

    network: UserNetwork
    task: Task  # its events are those of the whole log
    heads: finish.Finished


class Lived(NamedTuple):
    """Drawn and real values of one kind. One entry a session or gap; people beside."""

    drawn: np.ndarray
    real: np.ndarray
    person: np.ndarray  # of the real ones


class Met(NamedTuple):
    """Some people of a log, met by a user that was fitted to others only."""

    log: Log
    fitted: Fitted
    people: np.ndarray  # i64[V]
    rows: dict[str, Rows]  # what the heads are asked of them
    number: int  # of the fold


class Measured(NamedTuple):
    """How good heads are."""

    judged: dict[str, Judged]  # by head
    lived: dict[str, Lived]  # by what is drawn


def fit(log: Log, train: Log, epochs: int, seed: int = 0, judge: bool = True) -> Fitted:
    """A user fitted to the people of `train`, rows of `log`. Args: judge, whether to fit what it is compared with too."""
    network, config = fitting.usual(train, {}, {"epochs": epochs})
    begin, key = jax.random.split(jax.random.key(seed))
    task = fitting.prepare(begin, train, known_of(train.items)[0], network, config, seed)
    fitter = fitting.begin(task, config)
    while not fitting.is_over(fitter, config):
        fitter, _ = fitting.epoch(key, task, fitter, config)
    model = fitting.with_weights(task, fitter.best)
    classes = {name: head.classes for name, head in model.feedback.items()}
    everything = jax.tree.map(jnp.asarray, events.events(events.taken(log), task.scale, classes))
    task = task._replace(events=everything)
    return Fitted(model, task, finish.finish(model, task, log, judge))


def answering(log: Log, epochs: int, seed: int = 0) -> answers.Answering:
    """A user fitted to a log, who answers."""
    fitted = fit(log, log, epochs, seed, judge=False)
    task = fitted.task
    key = jax.random.fold_in(jax.random.key(seed), 2)
    of = fitted.heads
    return answers.Answering(
        key, fitted.network, task.content, task.known, of.heads.get("value"), of.factors.get("value"), task.scale
    )


def met(name: str, path: pathlib.Path, mode: str, say: Say) -> Iterator[Met]:
    """Fold by fold, all people of a set."""
    log = sets.load(path)
    for number, split in enumerate(splits.folds_by_user(log, FOLDS[mode])):
        say(f"{name}, people of fold {number + 1} of {FOLDS[mode]}")
        fitted = fit(log, log.rows(split.train), EPOCHS[mode])
        people = np.unique(log.user[split.test])
        yield Met(log, fitted, people, rows_of(log, fitted, people), number)


def measured(name: str, met: Met) -> Measured:
    """How good the heads of a set are with people who are met."""
    heads, untold = met.fitted.heads.heads, met.fitted.heads.untold
    asked = [head for head in SETS[name] if head in met.rows and head in heads]
    return Measured(
        {head: quality.judge(heads[head], *untold[head], met.rows[head]) for head in asked}, dict(drawn(met))
    )


def together(parts: list[Measured]) -> Measured:
    """Of several groups of people."""
    judged = {head: [part.judged[head] for part in parts if head in part.judged] for head in parts[0].judged}
    lived = {kind: [part.lived[kind] for part in parts if kind in part.lived] for kind in parts[0].lived}
    return Measured(
        {head: quality.together(of) for head, of in judged.items()}, {k: joined(x) for k, x in lived.items()}
    )


def joined(parts: list[Lived]) -> Lived:
    """Of several groups of people."""
    return Lived(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def rows_of(log: Log, fitted: Fitted, people: np.ndarray) -> dict[str, Rows]:
    """What the heads of a fitted user are asked of people i64[V]."""
    hidden = moments.hidden(fitted.network, fitted.task, log, people)
    classes = {name: head.classes for name, head in fitted.heads.heads.items()}
    return moments.rows(log, fitted.task, hidden, people, classes, fitted.task.people[0], fitted.heads.foreseen)


# -- lives ---------------------------------------------------------------------------------------------------


def drawn(met: Met) -> Iterator[tuple[str, Lived]]:
    """Lengths of sessions and gaps of people, as drawn and as logged. What the log would not have shown is left out."""
    log, fitted, people, rows, number = met
    turns = moments.sessions(log)
    if turns is None:
        return
    rng = np.random.default_rng(number)
    theirs = np.isin(turns.person, people) & turns.ends
    if "leave" in rows:
        lengths = _lengths(fitted.heads.heads["leave"], rows["leave"], _minutes(turns, fitted.task.people[0]), rng)
        yield "session length", Lived(lengths, turns.number[theirs] + 1.0, turns.person[theirs])
    if "gap" in rows:
        gaps = values_drawn(fitted.heads.heads["gap"], rows["gap"], rng)
        seen = theirs & turns.seen
        yield "gap", Lived(gaps[gaps <= rows["gap"].sight], turns.gap[seen], turns.person[seen])


def values_drawn(head: Head, rows: Rows, rng: np.random.Generator) -> np.ndarray:
    """f64[M]: of every row, in the unit of the head."""
    uniform = jnp.asarray(rng.random(len(rows.person)), jnp.float32)
    return np.asarray(jax.jit(jax.vmap(head.draw))(uniform, regression.outlooks(head, rows)), np.float64)


def _minutes(turns: moments.Turns, people: np.ndarray) -> np.ndarray:
    """f64[M]: between two turns of a session, of those whom a user is fitted to."""
    follows = (np.diff(turns.session) == 0) & (np.diff(turns.person) == 0) & np.isin(turns.person[1:], people)
    found = np.diff(turns.time)[follows] / 60.0
    return found if len(found) else np.zeros(1)


def _lengths(head: Head, rows: Rows, minutes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """f64[S]: turns of sessions that begin as the logged ones, and go on by what the head says and minutes that others took."""
    rows = rows.of(np.isclose(rows.extra[:, 0], np.log(2.0)) & (rows.extra[:, 1] == 0.0))
    length, spent, going = np.ones(len(rows.person)), np.zeros(len(rows.person)), np.ones(len(rows.person), bool)
    heard = rows.extra[:, 2:LEAVE]
    for _ in range(LONGEST):
        extra = np.asarray(leave_features(jnp.asarray(length), jnp.asarray(spent), jnp.asarray(heard)), np.float32)
        going &= rng.random(len(length)) >= regression.probabilities(head, rows._replace(extra=extra))[:, 1]
        if not going.any():
            break
        length[going] += 1.0
        spent[going] += rng.choice(minutes, int(going.sum()))
    return length


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Kolmogorov-Smirnov: the greatest distance between two distribution functions."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(first, second).statistic)


def transport(first: np.ndarray, second: np.ndarray) -> float:
    """Wasserstein-1: how far values must be moved on average to make one distribution the other, in their unit."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(first, second))


Distance = Callable[[np.ndarray, np.ndarray], float]
DISTANCES: dict[str, tuple[Distance, str]] = {
    "ks": (apart, "Kolmogorov-Smirnov"),
    "wasserstein": (transport, "Wasserstein-1"),
}


def halves(found: Lived, number: int = SPLITS, seed: int = 0, distance: Distance = apart) -> np.ndarray:
    """f64[number]: the distance between one half of the real people and the other."""
    people, of = np.unique(found.person, return_inverse=True)
    rng = np.random.default_rng(seed)
    chosen = (np.isin(of, rng.permutation(len(people))[: len(people) // 2]) for _ in range(number))
    return np.array([distance(found.real[half], found.real[~half]) for half in chosen])


# -- what is shown -------------------------------------------------------------------------------------------


def add(report: Report, name: str, found: Measured, folds: int) -> None:
    """Add rows, a table and remarks on one data set to a report."""
    table = heads_table(name)
    for head, each in found.judged.items():
        figures = quality.quality(each)
        report.rows += list(_rows(name, head, figures, folds))
        table.add_row(*cells(head, figures))
    if found.judged:
        report.tables.append(table)
    for kind, life in found.lived.items():
        add_distance(report, name, kind, life, folds, "ks")


def add_distance(report: Report, name: str, kind: str, life: Lived, folds: int, metric: str) -> None:
    """Add how far drawn is from real, one of DISTANCES, beside one half of the people from the other."""
    measure, words = DISTANCES[metric]
    between = halves(life, distance=measure)
    real, distance = float(np.median(between)), measure(life.drawn, life.real)
    n = len(np.unique(life.person))
    about: dict[str, Any] = {"dataset": name, "protocol": kind.replace(" ", "_"), "n_users": n, "n_seeds": folds}
    report.rows.append(Row(metric, distance, agent="learned", **about))
    spread = Estimate(real, *(float(x) for x in np.percentile(between, [2.5, 97.5])))
    report.rows.append(Row(metric, agent="half_vs_half", **vars(spread), **about))
    verdict = "within" if distance <= WITHIN * real else "beyond"
    report.notes.append(
        f"{name}, {kind}: {words} distance of {distance:.3g} between drawn and real; between halves of the real people "
        f"{real:.3g} (median of {SPLITS}): {verdict} {WITHIN} times that."
    )


def heads_table(name: str) -> Any:
    """An empty table of heads."""
    table = plain_table(f"{name}\nhead", "rows", "nats", "over\nbase rate", "over\nregression", "AUC", "ECE", words=1)
    table.padding = (0, 1, 0, 0)
    return table


def cells(head: str, found: Quality) -> list[str]:
    """One row of it."""
    gains = (cell(Estimate(*gain), "+") for gain in (found.over_base, found.over_plain))
    return [head, f"{found.rows:,}", f"{found.nats:.3f}", *gains, three(found.auc), three(found.ece)]


def _rows(name: str, head: str, found: Quality, folds: int) -> Iterator[Row]:
    about: dict[str, Any] = {"dataset": name, "protocol": head, "n_users": found.people, "n_seeds": folds}
    for agent, nats in (("learned", found.nats), ("base_rate", found.base), ("logistic", found.plain)):
        yield Row("log_likelihood", nats, agent=agent, **about)
    for other, gain in (("base_rate", found.over_base), ("logistic", found.over_plain)):
        yield Row("log_likelihood", *gain, agent="learned", against=other, **about)
    yield Row("auc", found.auc, agent="learned", **about)
    yield Row("ece", found.ece, agent="learned", **about)
    yield Row("ece", found.chance_ece, agent="calibrated_by_chance", **about)


def add_folder(report: Report, path: pathlib.Path) -> None:
    """Add what the fit in a folder found on the people whom it held back."""
    name, table = folder.load(path).config["data"]["name"], heads_table(str(path))
    for head, found in folder.qualities(path).items():
        report.rows += list(_rows(name, head, found, 1))
        table.add_row(*cells(head, found))
    report.tables.append(table)
