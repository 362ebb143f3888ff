"""The heads of the learned user on people whom it never met, and sessions drawn from them beside real ones. Part of `fidelity`."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.benchmarks.report import Report, Row, Say, plain_table, three
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


def measured(name: str, path: pathlib.Path, mode: str, say: Say) -> tuple[dict[str, Judged], dict[str, Lived]]:
    """(by head, by what is drawn) on all people of a set, each met by a user that was fitted to others only."""
    log = sets.load(path)
    judged: dict[str, list[Judged]] = {head: [] for head in SETS[name]}
    lived: dict[str, list[Lived]] = {}
    for number, split in enumerate(splits.folds_by_user(log, FOLDS[mode])):
        say(f"{name}, heads, fold {number + 1} of {FOLDS[mode]}")
        fitted = fit(log, log.rows(split.train), EPOCHS[mode])
        people = np.unique(log.user[split.test])
        rows = rows_of(log, fitted, people)
        for head in judged:
            if head in rows and head in fitted.heads.heads:
                judged[head].append(quality.judge(fitted.heads.heads[head], *fitted.heads.untold[head], rows[head]))
        for kind, found in drawn(log, fitted, rows, people, number):
            lived.setdefault(kind, []).append(found)
    together = {kind: Lived(*(np.concatenate(x) for x in zip(*parts, strict=True))) for kind, parts in lived.items()}
    return {head: quality.together(parts) for head, parts in judged.items() if parts}, together


def rows_of(log: Log, fitted: Fitted, people: np.ndarray) -> dict[str, Rows]:
    """What the heads of a fitted user are asked of people i64[V]."""
    hidden = moments.hidden(fitted.network, fitted.task, log, people)
    classes = {name: head.classes for name, head in fitted.heads.heads.items()}
    return moments.rows(log, fitted.task, hidden, people, classes, fitted.task.people[0], fitted.heads.foreseen)


# -- lives ---------------------------------------------------------------------------------------------------


def drawn(
    log: Log, fitted: Fitted, rows: dict[str, Rows], people: np.ndarray, seed: int
) -> Iterator[tuple[str, Lived]]:
    """Lengths of sessions and gaps of people i64[V], as drawn and as logged. What the log would not have shown is left out."""
    turns = moments.sessions(log)
    if turns is None:
        return
    rng = np.random.default_rng(seed)
    theirs = np.isin(turns.person, people) & turns.ends
    if "leave" in rows:
        lengths = _lengths(fitted.heads.heads["leave"], rows["leave"], _minutes(turns, fitted.task.people[0]), rng)
        yield "session length", Lived(lengths, turns.number[theirs] + 1.0, turns.person[theirs])
    if "gap" in rows:
        gaps = _gaps(fitted.heads.heads["gap"], rows["gap"], rng)
        seen = theirs & turns.seen
        yield "gap", Lived(gaps[gaps <= rows["gap"].sight], turns.gap[seen], turns.person[seen])


def _gaps(head: Head, rows: Rows, rng: np.random.Generator) -> np.ndarray:
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


def halves(found: Lived, number: int = SPLITS, seed: int = 0) -> np.ndarray:
    """f64[number]: the distance between one half of the real people and the other."""
    people, of = np.unique(found.person, return_inverse=True)
    rng = np.random.default_rng(seed)
    chosen = (np.isin(of, rng.permutation(len(people))[: len(people) // 2]) for _ in range(number))
    return np.array([apart(found.real[half], found.real[~half]) for half in chosen])


# -- what is shown -------------------------------------------------------------------------------------------


def add(report: Report, name: str, judged: dict[str, Judged], lived: dict[str, Lived], folds: int) -> None:
    """Add rows, a table and remarks on one data set to a report."""
    table = heads_table(name)
    for head, each in judged.items():
        found = quality.quality(each)
        report.rows += list(_rows(name, head, found, folds))
        table.add_row(*cells(head, found))
    if judged:
        report.tables.append(table)
    for kind, life in lived.items():
        between = halves(life)
        real, distance = float(np.median(between)), apart(life.drawn, life.real)
        n = len(np.unique(life.person))
        about: dict[str, Any] = {"dataset": name, "protocol": kind.replace(" ", "_"), "n_users": n, "n_seeds": folds}
        report.rows.append(Row("ks", distance, agent="learned", **about))
        spread = Estimate(real, *(float(x) for x in np.percentile(between, [2.5, 97.5])))
        report.rows.append(Row("ks", agent="half_vs_half", **vars(spread), **about))
        verdict = "within" if distance <= WITHIN * real else "beyond"
        report.notes.append(
            f"{name}, {kind}: Kolmogorov-Smirnov distance of {distance:.3f} between drawn and real; between halves of the real "
            f"people {real:.3f} (median of {SPLITS}): {verdict} {WITHIN} times that."
        )


def heads_table(name: str) -> Any:
    """An empty table of heads."""
    return plain_table(
        f"{name}: head", "rows", "nats a row", "over base rate", "over regression", "AUC", "ECE", words=1
    )


def cells(head: str, found: Quality) -> list[str]:
    """One row of it."""
    gains = (f"{value:+.3f} ({low:+.3f} to {high:+.3f})" for value, low, high in (found.over_base, found.over_plain))
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
