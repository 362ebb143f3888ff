"""What heads are about, as rows with the network's hidden states: what was done with items, and clicks, leaving and gaps.

Clicks are known where a log says what was shown. Leaving and gaps are known of sessions of a log's own; in a log of visits to one
shop a visit is a session, and only gaps are known.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.base import CLICK
from jaxreco.data.log import Log
from jaxreco.fit import events as reading
from jaxreco.fit import factors, feedback
from jaxreco.fit.events import HOUR_S, Windows
from jaxreco.fit.factors import Answers
from jaxreco.fit.fitting import Task
from jaxreco.fit.regression import Rows
from jaxreco.fit.states import states_of
from jaxreco.users.classes import LOG, Classes
from jaxreco.users.heads import (
    EVENT_HEADS,
    NEW_H,
    NOT_SIMPLE,
    click_features,
    gap_features,
    leave_features,
    standing,
)
from jaxreco.users.network import UserNetwork

Array = jax.Array

MOMENT_HEADS = ("click", "leave", "gap")
GAPS = 24  # classes of gaps at most
FAR = 4.0  # gaps longer than any that was seen reach so many times as far
SHORTEST_H = 1.0 / 60.0
CUT_S = 1800.0  # a session that is under way so near to the log's end may go on
BATCH = 64


class Hidden(NamedTuple):
    """The network's hidden states before and after every event of some people, and items as it reads them."""

    states: np.ndarray  # f32[W, T + 1, d]
    windows: Windows  # W, ordered by start
    bounds: np.ndarray  # i64[U + 1] of events
    vector: np.ndarray  # f32[I, d]
    bias: np.ndarray  # f32[I]

    def at(self, person: np.ndarray, events: np.ndarray) -> np.ndarray:
        """f32[M, d]: of persons i64[M] after so many of their events i64[M]."""
        row = self.bounds[person] + events
        last = row == self.bounds[person + 1]
        # After the last event a person's own last window is meant, not the next person's first, which starts at the same row.
        window = np.searchsorted(self.windows.start, np.where(last, row - 1, row), side="right") - 1
        offset = row - self.windows.start[np.maximum(window, 0)]
        found = self.states[np.maximum(window, 0), np.minimum(offset, self.states.shape[1] - 1)]
        return np.where((np.diff(self.bounds)[person] > 0)[:, None], found, 0.0)


def hidden(model: UserNetwork, task: Task, log: Log, users: np.ndarray) -> Hidden:
    """Of users i64[V] of a log. Nothing is known of somebody without events: its state is 0."""
    taken = reading.taken(log)
    order = reading.windows(taken, users, model.config.window)
    order = order.rows(np.argsort(order.start, kind="stable"))
    graph, params = nnx.split(model)
    given, found = (task.events, task.content, task.known), []
    for at in range(0, len(order.start), BATCH):
        part = order.rows(np.minimum(np.arange(at, at + BATCH), len(order.start) - 1))
        found.append(np.asarray(_read(graph, params, jax.tree.map(jnp.asarray, part), given))[: len(order.start) - at])
    table = model.items(task.content, task.known)
    width = model.config.width
    states = np.concatenate(found) if found else np.zeros((1, model.config.window + 1, width), np.float32)
    return Hidden(states, order, taken.bounds, np.asarray(table.vector), np.asarray(table.bias))


@functools.partial(jax.jit, static_argnames="graph")
def _read(graph: Any, params: Any, batch: Windows, given: tuple[Any, ...]) -> Array:
    """f32[B, T + 1, d]."""
    events, content, known = given
    model = nnx.merge(graph, params)
    table = model.items(content, known)

    def person(window: Windows) -> Array:
        return states_of(model, table, events, window, jnp.float32(1.0), None)[0]

    return jax.vmap(person)(batch)


# -- what the log holds --------------------------------------------------------------------------------------


def classes(log: Log) -> dict[str, Classes]:
    """The heads of moments that a log has data for. Args: log, all rows of those who are fitted to."""
    found = {}
    if log.actions is not None:
        clicked = (log.actions & CLICK) != 0
        if clicked.any() and not clicked.all():
            found["click"] = Classes.of_numbers(clicked)
    turns = sessions(log)
    if turns is None:
        return found
    if log.session is not None and len(np.unique(turns.ends[turns.sure])) == 2:
        found["leave"] = Classes.of_numbers(turns.ends[turns.sure])
    gap, seen = turns.gap[turns.ends], turns.seen[turns.ends]
    if seen.sum() > 1 and len(np.unique(gap[seen])) > 3:
        number = int(np.clip(seen.sum() // feedback.FEW, 4, GAPS))
        near = Classes.of_quantiles(gap[seen], number, LOG, turns.step)
        later = max(float((~seen).mean()), 1e-3)
        share = (*(x * (1.0 - later) for x in near.share), later)
        found["gap"] = Classes(LOG, (*near.edges, FAR * near.edges[-1]), share, turns.step)
    return found


class Turns(NamedTuple):
    """Slates, events or visits of a log, in order. `M` of them."""

    person: np.ndarray  # i32[M]
    row: np.ndarray  # i64[M], first row of the log
    start: np.ndarray  # f64[M], seconds, of its session
    time: np.ndarray  # f64[M]
    number: np.ndarray  # i64[M], in its session, from 0
    session: np.ndarray  # i64[M], of the person, from 0
    ends: np.ndarray  # bool[M], whether its session ends with it
    sure: np.ndarray  # bool[M], whether the log shows that
    gap: np.ndarray  # f64[M], hours to the next session, or to the end of the log
    seen: np.ndarray  # bool[M], whether there is a next session
    step: float  # hours of which gaps are multiples, or 0


def sessions(log: Log) -> Turns | None:
    """The turns of a log that knows of sessions; None for another."""
    if log.time is None or not len(log) or (log.session is None and log.n_items > 1):
        return None
    visits = log.session is None
    by = log.time if visits else (log.slate if log.slate is not None else np.arange(len(log)))
    row = np.flatnonzero(np.append(True, (np.diff(by) != 0) | (np.diff(log.user) != 0)))
    person, time = log.user[row], log.time[row]
    label = np.arange(len(row)) if visits else log.session[row]  # type: ignore[index]
    new = np.append(True, (np.diff(label) != 0) | (np.diff(person) != 0))
    first = np.flatnonzero(new)
    of = np.cumsum(new) - 1
    number = np.arange(len(row)) - first[of]
    first_of_person = np.searchsorted(person[first], np.arange(log.n_users))
    ends = np.append(new[1:], True)
    following = np.append(first[1:], len(row))[of]  # the first turn of the next session
    there = np.minimum(following, len(row) - 1)
    seen = (following < len(row)) & (person[there] == person)
    until = float(log.time.max())
    hours = (np.where(seen, time[there], until) - time) / HOUR_S
    day = 24.0 if visits and np.all(log.time % 86_400.0 == 0.0) else 0.0
    sure = seen | ~ends | (until - time > CUT_S)
    gap = np.maximum(hours, SHORTEST_H) if not day else hours
    return Turns(person, row, time[first[of]], time, number, of - first_of_person[person], ends, sure, gap, seen, day)


# -- rows ----------------------------------------------------------------------------------------------------


def rows(
    log: Log,
    task: Task,
    found: Hidden,
    users: np.ndarray,
    heads: dict[str, Classes],
    fitted: np.ndarray,
    foreseen: Mapping[str, np.ndarray],
) -> dict[str, Rows]:
    """Rows of every head, of users i64[V].

    Args: heads, of events and moments. fitted: i64, people by whom an item is known. foreseen: by head of events, f32[N, FORESEEN] of
      all events (`factors.crossed`).
    """
    made = {}
    taken = reading.taken(log)
    for name, each in heads.items():
        if name in EVENT_HEADS:
            made[name] = _of_events(taken, task, found, users, each, name, fitted, foreseen[name])
    if "click" in heads:
        made["click"] = _of_slots(log, found, users, heads["click"], fitted)
    turns = sessions(log)
    for name, rows_of in (("leave", _of_turns), ("gap", _of_gaps)):
        if name in heads and turns is not None:
            made[name] = rows_of(log, turns, found, users, heads[name])
    return made


def _of_events(
    taken: Log,
    task: Task,
    found: Hidden,
    users: np.ndarray,
    each: Classes,
    name: str,
    fitted: np.ndarray,
    foreseen: np.ndarray,
) -> Rows:
    answers = answers_of(taken, task, name, each)
    usual, _ = factors.usual(answers, answers.known & np.isin(taken.user, fitted), taken.n_items)
    at = np.flatnonzero(answers.known & np.isin(taken.user, users))
    person, item = taken.user[at], taken.item[at]
    states = found.at(person, at - taken.bounds[person])
    said = task.events.said[name]
    standing = np.asarray(said.standing)[at]
    extra = np.concatenate([standing, foreseen[at]], axis=1)
    made = _made(person, states, found.vector[item], usual[at], extra, np.asarray(said.outcome)[at], item)
    return made._replace(simple=np.concatenate([standing, np.zeros_like(foreseen[at])], axis=1))


def answers_of(taken: Log, task: Task, name: str, each: Classes) -> Answers:
    """What a head of events is about, of all events of a log (`events.taken`)."""
    outcome = np.asarray(task.events.said[name].outcome)
    ridit = np.where(outcome >= 0, each.ridit[np.maximum(outcome, 0)], 0.0)
    return Answers(taken.user, taken.item, ridit, outcome >= 0, taken.n_users)


def _of_slots(log: Log, found: Hidden, users: np.ndarray, each: Classes, fitted: np.ndarray) -> Rows:
    clicked = np.asarray((log.actions & CLICK) != 0, np.int64)  # type: ignore[operator]
    by = log.slate if log.slate is not None else np.arange(len(log))
    first = np.append(True, (np.diff(by) != 0) | (np.diff(log.user) != 0))
    start = np.flatnonzero(first)[np.cumsum(first) - 1]
    size = np.diff(np.append(np.flatnonzero(first), len(log)))[np.cumsum(first) - 1]
    upto = np.cumsum(clicked) - clicked
    of_person, of_slate = upto - upto[log.bounds[log.user]], upto - upto[start]
    ridit = each.ridit[clicked]
    answers = Answers(log.user, log.item, ridit, np.ones(len(log), bool), log.n_users)
    usual, _ = factors.usual(answers, np.isin(log.user, fitted), log.n_items)
    before = np.cumsum(ridit) - ridit
    heard = standing((before - before[log.bounds[log.user]])[start], (start - log.bounds[log.user]).astype(np.float64))
    at = np.flatnonzero(np.isin(log.user, users))
    states, lift = _lifts(found, log, at, start, of_person)
    position = np.arange(len(log)) - start if log.position is None else log.position
    ahead = still_ahead(usual, each, start, size)
    plain = (np.asarray(x)[at] for x in (position, size, times_shown(log), of_slate, ahead, heard))
    extra = click_features(*(jnp.asarray(x, jnp.float32) for x in (lift, *plain)))
    made = _made(log.user[at], states, found.vector[log.item[at]], usual[at], extra, clicked[at], log.item[at])
    simple = made.extra.copy()
    simple[:, list(NOT_SIMPLE)] = 0.0
    return made._replace(simple=simple)


def times_shown(log: Log) -> np.ndarray:
    """i64[N]: rows before in which the person was shown the same item."""
    pair = log.user.astype(np.int64) * log.n_items + log.item
    order = np.argsort(pair, kind="stable")
    found = np.empty(len(pair), np.int64)
    found[order] = np.arange(len(pair)) - np.searchsorted(pair[order], pair[order])
    return found


def still_ahead(usual: np.ndarray, each: Classes, start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """f64[N]: log of the weights of a slot and of those behind it in its slate, summed, over the slate's size.

    Args: usual f64[N], ridits of clicks on the items, which are weights by `each`. start, size i64[N]: of each row's slate.
    """
    upto = np.append(0.0, np.cumsum(1.0 + usual / each.share[1]))
    rest = upto[start + size] - upto[:-1]
    return np.log(np.maximum(rest, 1e-6) / size)


def _lifts(
    found: Hidden, log: Log, at: np.ndarray, start: np.ndarray, taken: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(hidden f32[M, d], lift f32[M]) of slots i64[M]: both as before their slates."""
    slates, of = np.unique(start[at], return_inverse=True)
    states = found.at(log.user[slates], taken[slates])
    totals = np.concatenate(
        [
            np.asarray(_total(jnp.asarray(part), found.vector, found.bias))
            for part in np.array_split(states, -(-len(states) // 256))
        ]
    )
    score = np.einsum("md,md->m", states[of], found.vector[log.item[at]]) + found.bias[log.item[at]]
    return states[of], score - totals[of] + np.log(log.n_items)


@jax.jit
def _total(states: Array, vector: Array, bias: Array) -> Array:
    return jax.nn.logsumexp(states @ vector.T + bias, axis=-1)


def _after(log: Log, turns: Turns) -> np.ndarray:
    """i64[M]: events that a person has behind it at the end of each turn."""
    taken = np.ones(len(log), np.int64)
    clicks = np.zeros(0, bool) if log.actions is None else (log.actions & CLICK) != 0
    if clicks.any():
        taken = clicks.astype(np.int64)
    elif log.n_items == 1:  # several rows of one time are one visit
        taken = np.zeros(len(log), np.int64)
        taken[turns.row] = 1
    upto = np.append(0, np.cumsum(taken))
    end = np.append(turns.row[1:], len(log))
    return upto[end] - upto[log.bounds[turns.person]]


def _of_turns(log: Log, turns: Turns, found: Hidden, users: np.ndarray, each: Classes) -> Rows:
    outcome = turns.ends.astype(np.int64)
    ridit = each.ridit[outcome]
    before = np.cumsum(ridit) - ridit
    first = np.searchsorted(turns.person, np.arange(log.n_users))[turns.person]
    heard = standing(before - before[first], np.arange(len(first)) - first)
    at = np.flatnonzero(turns.sure & np.isin(turns.person, users))
    minutes = (turns.time - turns.start) / 60.0
    extra = leave_features(*(jnp.asarray(x[at], jnp.float32) for x in (turns.number + 1.0, minutes, np.asarray(heard))))
    states = found.at(turns.person[at], _after(log, turns)[at])
    return _made(turns.person[at], states, np.zeros_like(states), np.zeros(len(at)), extra, outcome[at])


def _of_gaps(log: Log, turns: Turns, found: Hidden, users: np.ndarray, each: Classes) -> Rows:
    at = np.flatnonzero(turns.ends & (turns.seen | (turns.gap > each.edges[0])) & np.isin(turns.person, users))
    extra = gap_extra(turns, float(log.time.min()))[at]  # type: ignore[union-attr]
    states = found.at(turns.person[at], _after(log, turns)[at])
    gap, seen = turns.gap[at], turns.seen[at]
    outcome = each.of(gap)
    made = _made(turns.person[at], states, np.zeros_like(states), np.zeros(len(at)), extra, outcome)
    beyond = np.where(seen, np.nan, ahead(each, gap + turns.step, outcome))
    sight = (log.time.max() - turns.time[at]) / HOUR_S  # type: ignore[union-attr]
    return made._replace(beyond=beyond.astype(np.float32), sight=sight.astype(np.float32))


def gap_extra(turns: Turns, since: float) -> np.ndarray:
    """f32[M, GAP]: what is known at each turn, were it its session's last. Args: since, seconds, when the log begins."""
    logs = np.log1p(turns.gap)
    ended = np.flatnonzero(turns.ends)
    same = np.append(False, turns.person[ended][1:] == turns.person[ended][:-1])
    last = np.where(same, np.append(0.0, logs[ended][:-1]), 0.0)
    upto = np.cumsum(last)
    begins = np.searchsorted(turns.person[ended], turns.person[ended])
    mean = (upto - upto[begins]) / np.maximum(turns.session[ended], 1)
    of = np.searchsorted(ended, np.arange(len(turns.person)))
    hour = turns.time % 86_400.0 / HOUR_S
    absent = (turns.time[np.searchsorted(turns.person, turns.person)] - since) / HOUR_S
    columns = (last[of], mean[of], turns.session + 1.0, turns.number + 1.0, hour, absent)
    return np.asarray(gap_features(*(jnp.asarray(x, jnp.float32) for x in columns)))


def visits(log: Log) -> dict[str, np.ndarray]:
    """f32[U] by field of `Gaps`: the sessions of each person by the log's end, up to which the last gap goes. A log without sessions
    is of newcomers.
    """
    turns, new = sessions(log), np.full(log.n_users, NEW_H, np.float32)
    last, total, number = (np.zeros(log.n_users, np.float32) for _ in range(3))
    if turns is not None:
        ended, begins = turns.ends, np.append(True, np.diff(turns.person) != 0)
        person, logs = turns.person[ended], np.log1p(turns.gap[ended])
        last[person] = logs  # of several, the latest stays
        total[:] = np.bincount(person, logs, log.n_users)
        number[:] = np.bincount(person, minlength=log.n_users)
        new[turns.person[begins]] = (turns.time[begins] - log.time.min()) / HOUR_S  # type: ignore[union-attr]
    return {"last": last, "total": total, "number": number, "absent": new}


def leaving(log: Log, each: Classes) -> tuple[np.ndarray, np.ndarray]:
    """(total f32[U], count f32[U]): how often each person of a log with sessions left after a slate, as `standing` counts it."""
    turns = sessions(log)
    ridit = each.ridit[turns.ends.astype(np.int64)]  # type: ignore[union-attr]
    total, count = (np.bincount(turns.person, x, log.n_users) for x in (ridit, np.ones(len(ridit))))  # type: ignore[union-attr]
    return total.astype(np.float32), count.astype(np.float32)


def ahead(each: Classes, gap: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """f64[M]: how much of its class, on the logarithmic scale, is beyond each gap; one beyond all edges has next to nothing ahead."""
    edges = np.asarray(each.edges)
    low, high = edges[outcome], edges[outcome + 1]
    return np.clip(np.log(high / np.maximum(gap - 0.5 * each.step, 1e-9)) / np.log(high / low), 0.0, 1.0)


def _made(person: Any, states: Any, vector: Any, usual: Any, extra: Any, outcome: Any, item: Any = None) -> Rows:
    item = np.full(len(person), -1) if item is None else item
    extra = np.asarray(extra, np.float32)
    return Rows(
        person=person.astype(np.int32),
        item=item.astype(np.int32),
        hidden=np.asarray(states, np.float32),
        vector=np.asarray(vector, np.float32),
        usual=np.asarray(usual, np.float32),
        extra=extra,
        simple=extra,
        outcome=outcome.astype(np.int32),
        beyond=np.full(len(person), np.nan, np.float32),
        sight=np.full(len(person), np.inf, np.float32),
    )
