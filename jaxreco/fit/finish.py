"""After the network: heads of moments on its hidden states, all heads set right on people held back, and how good they are."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.data.log import Log
from jaxreco.fit import events as reading
from jaxreco.fit import factors, moments, quality, regression
from jaxreco.fit.factors import Answers
from jaxreco.fit.fitting import Task
from jaxreco.fit.quality import Judged
from jaxreco.fit.regression import Rows
from jaxreco.users.classes import Classes
from jaxreco.users.factors import Factors
from jaxreco.users.heads import LIFT, Head
from jaxreco.users.network import UserNetwork

ALL = ("value", "like", "comment", "share", "watch", *moments.MOMENT_HEADS)
JOINT = 5_000  # events from which on the head that was learned with the network is tried
ENOUGH = 20  # people held back, of fewer than which nothing is learned: then a head hears nothing of the network and stays as it is
CELLS = 400_000  # rows times classes that a regression is fitted to, at most; whole people, drawn evenly


class Untold(NamedTuple):
    """What does not know the person: the scale of a head's likelihood."""

    base: Head  # how often each class occurs
    plain: Head  # an ordinal regression on plain numbers


class Finished(NamedTuple):
    """All heads that the log has data for, calibrated, and what each was worth on people held back."""

    heads: dict[str, Head]
    judged: dict[str, Judged]
    untold: dict[str, Untold]
    factors: dict[str, Factors]  # by head of events
    foreseen: dict[str, np.ndarray]  # the same, f32[N, FORESEEN] of all events of the log


def finish(model: UserNetwork, task: Task, log: Log, judge: bool = True) -> Finished:
    """Fit what is not fitted yet, and calibrate. Heads are judged on one half of the people held back, calibrated on the other.

    Args: model: with its final weights; its heads are read, not changed. judge: whether to say how good they are.
    """
    fitted, held = task.people
    heads = {name: head.classes for name, head in sorted(model.feedback.items())}
    taken, behind, foreseen = reading.taken(log), {}, {}
    for name, each in heads.items():
        behind[name], foreseen[name] = factors.crossed(moments.answers_of(taken, task, name, each), fitted, log.n_items)
    heads |= moments.classes(log.rows(np.isin(log.user, fitted)))
    hidden = moments.hidden(model, task, log, np.union1d(fitted, held))
    train, test = (moments.rows(log, task, hidden, people, heads, fitted, foreseen) for people in (fitted, held))
    half = np.random.default_rng(0).permutation(held)[: len(held) // 2]
    found, judged, scales = {}, {}, {}
    for name, each in heads.items():
        rows = few(train[name], len(each))
        raw = _best(name, model.feedback.get(name), each, rows, train[name], test[name], log.n_items)
        found[name] = _calibrated(raw, test[name])
        if judge:
            scales[name] = untold(each, rows)
            judged[name] = _crossed(raw, scales[name], test[name], half)
    judged = {name: each for name, each in judged.items() if len(each.person)}
    return Finished(found, judged, scales, behind, foreseen)


def untold(classes: Classes, rows: Rows) -> Untold:
    """Of the rows of those who are fitted to."""
    return Untold(regression.fit(classes, rows.nothing()), regression.fit(classes, rows.plain()))


def few(rows: Rows, classes: int, seed: int = 0) -> Rows:
    """At most about CELLS / classes rows, of whole people."""
    share = CELLS / classes / max(len(rows.person), 1)
    if share >= 1.0:
        return rows
    people = np.random.default_rng(seed).permutation(np.unique(rows.person))
    return rows.of(np.isin(rows.person, people[: max(1, int(share * len(people)))]))


def _best(name: str, joint: Head | None, classes: Classes, rows: Rows, every: Rows, others: Rows, n_items: int) -> Head:
    """Of heads that hear more or less of the network, the one under which people held back are most likely.

    The network has seen what those it is fitted to took, so on their rows its word is worth more than on others': where people are
    few, a head that hears it trusts it too far. Of many events the head is tried that was learned with the network; of few, one that is
    fitted to its states with a ridge.
    """

    def fitted(seen: Rows) -> Head:
        return _named(regression.fit(classes, seen), every, n_items)

    mute = rows.without_states()
    deaf = fitted(mute.without(LIFT) if name == "click" else mute)
    if len(np.unique(others.person)) < ENOUGH:
        return deaf
    heads = [deaf, fitted(mute)] if name == "click" else [deaf]
    many = joint is not None and len(every.person) >= JOINT
    heads.append(_widened(joint, rows.extra.shape[1]) if many else fitted(rows))  # type: ignore[arg-type]
    return max(heads, key=lambda head: regression.log_likelihood(head, others).sum())


def _widened(head: Head, extra: int) -> Head:
    """The head, given further numbers of which it makes nothing."""
    width, items = len(head.of_hidden[...]), len(head.usual[...])
    found = Head(head.classes, width, extra, items, rngs=nnx.Rngs(0))
    for name, value in nnx.to_pure_dict(nnx.state(head)).items():
        new = getattr(found, name)
        new[...] = jnp.zeros_like(new[...]).at[: len(value)].set(value) if name.endswith("of_extra") else value
    return found


def _named(head: Head, every: Rows, n_items: int) -> Head:
    """The head, which then knows each item by itself, from `every` row of those who are fitted to."""
    if not (every.item >= 0).any():
        return head
    all_count = np.ones(len(every.person), bool)
    answers = Answers(
        every.person, every.item, head.classes.ridit[every.outcome], all_count, int(every.person.max()) + 1
    )
    usual = factors.usual(answers, all_count, n_items)[1] * float(head.usual[...][0])
    named = Head(head.classes, every.hidden.shape[1], every.extra.shape[1], n_items, rngs=nnx.Rngs(0))
    for name in nnx.to_pure_dict(nnx.state(head)):
        getattr(named, name)[...] = jnp.asarray(usual, jnp.float32) if name == "usual" else getattr(head, name)[...]
    return named


def _calibrated(head: Head, rows: Rows, weight: np.ndarray | None = None) -> Head:
    """The head, calibrated where rows are of people enough."""
    people = rows.person if weight is None else rows.person[weight > 0]
    return regression.calibrated(head, rows, weight) if 2 * len(np.unique(people)) >= ENOUGH else head


def _crossed(raw: Head, scale: Untold, rows: Rows, half: np.ndarray) -> Judged:
    """Each half of the people judged after a calibration on the other."""
    first = np.isin(rows.person, half)
    parts = []
    for judged in (first, ~first):
        found = quality.judge(_calibrated(raw, rows, ~judged), *scale, rows)
        parts.append(Judged(*(column[judged] for column in found)))
    return quality.together(parts)
