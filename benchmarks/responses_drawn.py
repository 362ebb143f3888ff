"""What a fitted user would have done with the slates that people of a log saw, when they saw them. Part of `fidelity`.

The log gives slates, times, and the network's hidden state before each slate. What is done in the slate is simulated, and so is what the
heads hear of it: clicks so far in the slate, and the person's standing, how much it clicked and read in all slates so far. A log that keeps
only slates with a click is drawn as it was kept: given that there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from jaxreco.base import CLICK
from jaxreco.benchmarks.heads import Met
from jaxreco.data.log import Log
from jaxreco.fit import moments, regression
from jaxreco.fit.regression import Rows
from jaxreco.users.factors import Factors
from jaxreco.users.heads import Head, standing
from jaxreco.users.transformer import Tally

# Where `click_features` has what is heard of clicks so far: their number, what is ahead while there is none, whether there is none, `standing`.
CLICKED, AHEAD, FIRST, STANDING = 4, 5, 6, 7
LOGGED, LEARNED, FREE = "logged", "learned", "unconditioned"
COVERED = 0.5  # categories are kinds of items where so many slots have one


class Slots(NamedTuple):
    """What people were shown, and what is known of it whoever answers. `M` slots, in the log's order."""

    person: np.ndarray  # i32[M]
    unit: np.ndarray  # i64[M], the session, or the slate where the log has no sessions
    slate: np.ndarray  # i64[M], ascending
    kind: np.ndarray  # i64[M], of the item: its category, or itself where the log has hardly any
    position: np.ndarray  # f64[M], from 0
    size: np.ndarray  # f64[M], slots of the slate
    seen: np.ndarray  # f64[M], slots before in which the person was shown the item
    shown: np.ndarray  # f64[M], log of the slots of the log that show it
    usual: np.ndarray  # f64[M], how often those whom the user was fitted to clicked the item, as a ridit

    def of(self, chosen: np.ndarray) -> Slots:
        """Some of the slots."""
        return Slots(*(column[chosen] for column in self))


class Did(NamedTuple):
    """What was done in each of `M` slots."""

    clicked: np.ndarray  # bool[M]
    watch: np.ndarray  # f64[M], seconds read, 0 where the log does not know

    def of(self, chosen: np.ndarray) -> Did:
        """In some of the slots."""
        return Did(self.clicked[chosen], self.watch[chosen])


class Responses(NamedTuple):
    """Slots, and what LOGGED people and each simulator did in them."""

    slots: Slots
    did: dict[str, Did]


class Simulator(NamedTuple):
    """Heads, by name, and what of a row they see."""

    heads: dict[str, Head]
    sees: Callable[[Rows], Rows]


def responses(met: Met) -> Responses | None:
    """What people did, and what LEARNED, "logistic" (a regression on plain numbers) and "base_rate" would have done.

    FREE is LEARNED without the condition that a slate has a click. None for a log in which clicks are not known.
    """
    if "click" not in met.rows:
        return None
    rows, at = met.rows["click"], np.flatnonzero(np.isin(met.log.user, met.people))
    slots, logged = slots_of(met.log, at, rows.usual), _logged(met.log, at)
    kept, did = _always(met.log, met.fitted.task.people[0]), {LOGGED: logged}
    for number, (name, simulator) in enumerate(_simulators(met).items()):
        rng = np.random.default_rng((met.number, number))
        seen = simulator.sees(rows)
        clicked = clicks(simulator.heads["click"], seen, slots, rng, kept and name != FREE)
        watch = np.zeros(len(clicked))
        if "watch" in met.rows:
            which = np.flatnonzero(clicked & _tells(slots, clicked, logged))
            factors = met.fitted.heads.factors["watch"]
            about = simulator.sees(rows._replace(usual=np.asarray(factors.usual)[rows.item])).of(which)
            watch[which] = readings(simulator.heads["watch"], about, rows.item[which], factors, _step(met.log), rng)
        did[name] = Did(clicked, watch)
    return Responses(slots, did)


def together(parts: list[Responses]) -> Responses:
    """Of several groups of people, in the log's order."""
    slots = Slots(*(np.concatenate(x) for x in zip(*(part.slots for part in parts), strict=True)))
    order = np.argsort(slots.slate, kind="stable")
    each = {name: [part.did[name] for part in parts] for name in parts[0].did}
    joined = {name: Did(*(np.concatenate(x) for x in zip(*of, strict=True))) for name, of in each.items()}
    return Responses(slots.of(order), {name: did.of(order) for name, did in joined.items()})


def slots_of(log: Log, at: np.ndarray, usual: np.ndarray) -> Slots:
    """The slots of rows i64[M] of a log. Args: usual f[M], see `Slots`."""
    by = np.arange(len(log)) if log.slate is None else log.slate
    first = np.append(True, (np.diff(by) != 0) | (np.diff(log.user) != 0))
    slate = np.cumsum(first) - 1
    start = np.flatnonzero(first)
    position = np.arange(len(log)) - start[slate] if log.position is None else log.position
    unit = slate if log.session is None else log.session
    shown = np.log(np.bincount(log.item)[log.item])
    columns = (log.user, unit, slate, _kinds(log), position, np.bincount(slate)[slate], moments.times_shown(log), shown)
    of = [np.asarray(column)[at] for column in columns]
    return Slots(*of[:4], *(x.astype(np.float64) for x in (*of[4:], usual)))


def _kinds(log: Log) -> np.ndarray:
    """i64[N]: the first category of each slot's item, 0 without one; the item where few slots have one."""
    named = [each[0] if each else "" for each in log.items.categories] if log.items.categories else [""] * log.n_items
    kind = np.unique([*named, ""], return_inverse=True)[1][:-1][log.item]
    return kind if (kind > 0).mean() >= COVERED else log.item.astype(np.int64)


def _always(log: Log, people: np.ndarray) -> bool:
    """Whether every slate that people i64[V] saw has a click, as a log has it that keeps no other."""
    at = np.flatnonzero(np.isin(log.user, people))
    slots = slots_of(log, at, np.zeros(len(at)))
    _, of = np.unique(slots.slate, return_inverse=True)
    return bool(np.bincount(of, _logged(log, at).clicked).min() > 0)


def _logged(log: Log, at: np.ndarray) -> Did:
    clicked = (log.actions[at] & CLICK) != 0  # type: ignore[index]
    watch = np.zeros(len(at)) if log.watch is None else log.watch[at].astype(np.float64)
    return Did(clicked, np.where(clicked, watch, 0.0))


def _simulators(met: Met) -> dict[str, Simulator]:
    learned = Simulator(met.fitted.heads.heads, lambda rows: rows)
    untold = met.fitted.heads.untold
    return {
        LEARNED: learned,
        FREE: learned,
        "logistic": Simulator({name: each.plain for name, each in untold.items()}, Rows.plain),
        "base_rate": Simulator({name: each.base for name, each in untold.items()}, Rows.nothing),
    }


# -- clicks --------------------------------------------------------------------------------------------------


def clicks(head: Head, rows: Rows, slots: Slots, rng: np.random.Generator, kept: bool) -> np.ndarray:
    """bool[M]: slots that are clicked, slate after slate, everybody's at once.

    Args: rows, as the head sees them; what they say of clicks so far is replaced by what was drawn. kept: only slates with a click count.
    """
    weight = np.asarray(head.of_extra[...], np.float64)
    still = rows.extra.copy()
    still[:, CLICKED:] = 0.0
    outlook = regression.outlooks(head, rows._replace(extra=still))
    logit = np.asarray(outlook.location - head.cuts[0], np.float64)
    ridit = head.classes.ridit
    start = np.flatnonzero(np.diff(slots.slate, prepend=-1))
    size = np.diff(np.append(start, len(logit)))
    ahead = moments.still_ahead(slots.usual, head.classes, np.repeat(start, size), np.repeat(size, size))
    first = weight[AHEAD] * ahead + weight[FIRST]
    _, person = np.unique(slots.person[start], return_inverse=True)
    total, count, clicked = np.zeros(person.max() + 1), np.zeros(person.max() + 1), np.zeros(len(logit), bool)
    for now in _turns(person):
        who, place = person[now], np.arange(size[now].max())
        there = place < size[now, None]
        at = np.where(there, start[now, None] + place, 0)
        heard = np.asarray(standing(total[who], count[who]), np.float64) @ weight[STANDING:]
        later = np.where(there, logit[at] + heard[:, None], -np.inf)
        found = walk(later + first[at], later, weight[CLICKED], rng, kept)
        clicked[at[there]] = found[there]
        total[who] += np.where(there, ridit[found.astype(int)], 0.0).sum(axis=1)
        count[who] += size[now]
    return clicked


def _turns(person: np.ndarray) -> list[np.ndarray]:
    """The first entries of all people, the second ones, and so on. person i64[S], ascending."""
    number = np.arange(len(person)) - np.searchsorted(person, person)
    return [np.flatnonzero(number == each) for each in range(number.max() + 1)] if len(person) else []


def walk(first: np.ndarray, later: np.ndarray, per_click: float, rng: np.random.Generator, kept: bool) -> np.ndarray:
    """bool[S, K]: slots clicked of slates, one after the other.

    The chance of a first click given that there is one at all is `p / (1 - product of (1 - p) from here on)`, which is exact.

    Args: first, later f64[S, K], logits of a click where there was none so far in the slate, and where there was; -inf behind its end.
      per_click: weight of the logarithm of one and clicks so far, added to the latter. kept: given that the slate has a click.
    """
    share = expit(first)
    none = np.cumsum(np.log1p(-np.minimum(share, 1.0 - 1e-12))[:, ::-1], axis=1)[:, ::-1]  # log, from here on
    found, number = np.zeros(later.shape, bool), np.zeros(len(later))
    for at in range(later.shape[1]):
        given = share[:, at] / np.maximum(-np.expm1(none[:, at]), 1e-300) if kept else share[:, at]
        chance = np.where(number == 0, given, expit(later[:, at] + per_click * np.log1p(number)))
        found[:, at] = rng.random(len(later)) < chance
        number += found[:, at]
    return found


# -- reading -------------------------------------------------------------------------------------------------


def _tells(slots: Slots, clicked: np.ndarray, logged: Did) -> np.ndarray:
    """bool[M]: slots whose slate has a reading time in the log, and one click as the log knows it of no other."""
    _, of = np.unique(slots.slate, return_inverse=True)
    return (np.bincount(of, clicked) == 1)[of] & (np.bincount(of, logged.watch) > 0)[of]


def _step(log: Log) -> float:
    """1 where all of a log's times are whole seconds, else 0."""
    return float(np.all(log.watch == np.round(log.watch)))  # type: ignore[arg-type]


def readings(
    head: Head, rows: Rows, item: np.ndarray, factors: Factors, step: float, rng: np.random.Generator
) -> np.ndarray:
    """f64[N]: seconds of each reading, one after the other of each person, who is heard of as it read so far.

    Args: rows of items i[N], as the head sees them but for that. step: seconds of which times are multiples; 0 for any.
    """
    people, person = np.unique(rows.person, return_inverse=True)
    found, ridit, draw = np.zeros(len(person)), head.classes.ridit, jax.jit(jax.vmap(head.draw))
    hear = jax.jit(jax.vmap(lambda tally, item: tally.heard(factors.vector[item])))
    tell = jax.jit(jax.vmap(lambda tally, *told: tally.plus(*(x[None] for x in told), factors)))
    tally = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(people), *x.shape)), Tally.nothing("watch"))
    for now in _turns(person):
        at, there = np.zeros(len(people), np.int64), np.zeros(len(people), bool)  # always as many, to compile once
        at[person[now]], there[person[now]] = now, True
        items = jnp.asarray(item[at], jnp.int32)
        asked = rows.of(at)._replace(extra=np.asarray(hear(tally, items)))
        uniform = jnp.asarray(rng.random(len(people)), jnp.float32)
        seconds = np.asarray(draw(uniform, regression.outlooks(head, asked)), np.float64)
        seconds = np.maximum(np.round(seconds / step) * step, step) if step else seconds
        found[now] = seconds[person[now]]
        tally = tell(tally, jnp.asarray(ridit[head.classes.of(seconds)]), jnp.asarray(there), items)
    return found
