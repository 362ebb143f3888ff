"""Blind pairs of one and the same session, of which one side is as the simulator has it and the other by chance.

Of a pair "moment" both sides show what a user said between two slates: one where it was said, one at a random other
place. Of a pair "reason" both end where a user spoke up, and give a reason for it: one that of the user's own trace, one
that another user had. All else is the same, letter by letter, and which side is which is only in the key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreco.base import EXAMINED, Trace
from jaxreco.report.sessions import Moment, Shown, at, slots, spans, spoken
from jaxreco.talk.words import printable

KINDS = ("moment", "reason")
SIDES = ("A", "B")
WINDOW = 4  # slates of a session that are shown: two columns of more are no longer read
AMOUNT = re.compile(r"\s*\([-+\u2212][\d.]+\)$")  # of a reason in logits, which no person can judge


class Line(NamedTuple):
    """A line of a session as a person is shown it.

    `what` is "slate" (its heading), "watched" or "skipped" (an item), "rest" (how many were not looked at), "says",
    "asked" (what the user says in question) or "reason".
    """

    what: str
    text: str
    deed: str = ""  # of an item
    facts: str = ""  # of an item


Side = tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two versions of a session. `simulated` is the side, "A" or "B", that is the simulator's own."""

    id: str
    kind: str
    A: Side
    B: Side
    simulated: str


@dataclasses.dataclass(frozen=True)
class Spoken:
    """A user said something after a turn, and went on to the next slate."""

    life: Moment  # host leaves [T, ...]
    start: int  # first turn of the session
    stop: int  # the turn after its last
    turn: int


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why: a cause of the grammar, and whether it blames an item."""

    cause: int
    blames: bool


def make(lives: Iterable[Moment], env: Any, params: Any, count: int, seed: int) -> list[Pair]:
    """At most `count` pairs, half of either kind, no two of the same user, in random order.

    Args:
      lives: batches of `watch_lives` [T, B, ...], each of other users; no more are taken than are needed.
      seed: of what is picked, the random sides and the order.
    """
    rng = np.random.default_rng(seed)
    chosen, reasons = _choose(lives, {"moment": (count + 1) // 2, "reason": count // 2}, rng)
    made = [_moment_pair(one, env, params, rng) for one in chosen["moment"]]
    found = [_reason_pair(one, reasons, env, params, rng) for one in chosen["reason"]]
    made += [pair for pair in found if pair is not None]
    order = rng.permutation(len(made))
    shown = [(made[i].kind, made[i].A, made[i].B) for i in order]  # without the key, which ids must not give away
    stamp = hashlib.sha256(repr(shown).encode()).hexdigest()[:6]
    return [dataclasses.replace(made[i], id=f"{stamp}-{n:02d}") for n, i in enumerate(order, start=1)]


# -- where users speak -------------------------------------------------------------------------------------------


def _choose(
    lives: Iterable[Moment], wanted: dict[str, int], rng: np.random.Generator
) -> tuple[dict[str, list[Spoken]], list[Reason]]:
    """By kind, one time that each of some users spoke; and all reasons met on the way."""
    chosen: dict[str, list[Spoken]] = {kind: [] for kind in wanted}
    reasons: list[Reason] = []
    for life in _users(lives):
        found = list(occasions(life))
        reasons += [reason for one in found if (reason := stated(one)) is not None]
        for kind in sorted(wanted, key=lambda kind: len(chosen[kind]) - wanted[kind]):  # the scarcest first
            fit = [one for one in found if (_windows(one) if kind == "moment" else stated(one))]
            if fit and len(chosen[kind]) < wanted[kind]:
                chosen[kind].append(fit[rng.integers(len(fit))])
                break
        if all(len(chosen[kind]) >= wanted[kind] for kind in wanted):
            break
    return chosen, reasons


def _users(lives: Iterable[Moment]) -> Iterator[Moment]:
    for batch in lives:
        batch = jax.tree.map(np.asarray, batch)
        for user in range(batch.left.shape[1]):
            yield jax.tree.map(lambda x, user=user: x[:, user], batch)


def occasions(life: Moment) -> Iterator[Spoken]:
    """Every time the user of host leaves [T, ...] spoke between two slates of a whole session."""
    for start, stop in spans(life):
        for turn in range(start, stop - 1):
            if life.said.intent[turn] > 0:
                yield Spoken(life, start, stop, turn)


def _windows(one: Spoken) -> list[tuple[int, int]]:
    """The stretches of the session that show the moment, and another at which nothing was said."""
    size = min(WINDOW, one.stop - one.start)
    firsts = range(max(one.start, one.turn + 2 - size), min(one.turn, one.stop - size) + 1)
    return [(first, first + size) for first in firsts if _free(one, first, first + size)]


def _free(one: Spoken, first: int, last: int) -> list[int]:
    """The turns of a stretch after which nothing was said."""
    return [turn for turn in range(first, last - 1) if one.life.said.intent[turn] == 0]


# -- the two kinds -----------------------------------------------------------------------------------------------


def _moment_pair(one: Spoken, env: Any, params: Any, rng: np.random.Generator) -> Pair:
    windows = _windows(one)
    # Any stretch that holds the moment may be shown, so that its place in the stretch says nothing.
    first, last = windows[rng.integers(len(windows))]
    free = _free(one, first, last)
    other = free[rng.integers(len(free))]
    said = _said(one, first, last, env)
    asked = said.pop(one.turn)._replace(what="asked")
    true, chance = (tell(one.life, first, last, {**said, turn: asked}, env, params) for turn in (one.turn, other))
    return _shuffled("moment", true, chance, rng)


def _reason_pair(one: Spoken, reasons: list[Reason], env: Any, params: Any, rng: np.random.Generator) -> Pair | None:
    """The pair; None where nobody had another reason."""
    own, now = _stated_at(one), at(one.life, one.turn)
    others = [reason for reason in reasons if reason.cause not in now.trace.cause]
    if not others:
        return None
    other, seen = others[rng.integers(len(others))], now.slate[(now.actions & EXAMINED) > 0]
    item = int(rng.choice(seen)) if other.blames and len(seen) else -1
    first = max(one.start, one.turn + 1 - WINDOW)
    said = _said(one, first, one.turn + 1, env)
    # Not in its own words: who asks for shorter items gives away that these were too long.
    asked = Line("asked", "Here the user stops and says what it would rather see.")
    shown = tell(one.life, first, one.turn + 1, {**said, one.turn: asked}, env, params)
    true = _why(int(now.trace.cause[own]), int(now.trace.item[own]), env, params)
    chance = _why(other.cause, item, env, params)
    return _shuffled("reason", (*shown, Line("reason", true)), (*shown, Line("reason", chance)), rng)


def _shuffled(kind: str, true: Side, chance: Side, rng: np.random.Generator) -> Pair:
    """The pair, without an id yet: it depends on all pairs."""
    return Pair("", kind, true, chance, "A") if rng.random() < 0.5 else Pair("", kind, chance, true, "B")


# -- reasons -----------------------------------------------------------------------------------------------------


def stated(one: Spoken) -> Reason | None:
    """The reason the user states for what it said; None where its trace is silent."""
    trace, row = at(one.life, one.turn).trace, _stated_at(one)
    return Reason(int(trace.cause[row]), bool(trace.item[row] >= 0)) if trace.cause[row] > 0 else None


def _stated_at(one: Spoken) -> int:
    """The row of the trace that moved the user to speak; the strongest, where it names another cause than its words."""
    now = at(one.life, one.turn)
    same = np.flatnonzero((now.trace.cause == now.said.cause) & (now.trace.cause > 0))
    return int(same[0]) if len(same) else 0


def _why(cause: int, item: int, env: Any, params: Any) -> str:
    """One reason as people are shown it: in English, without its amount."""
    from jaxreco.talk import english

    silent = jax.tree.map(np.array, Trace.silent())
    silent.cause[0], silent.item[0], silent.amount[0] = cause, item, 1.0
    return "Because: " + AMOUNT.sub("", printable(english.explain(silent, env.names, params.catalog)[0]))


# -- text --------------------------------------------------------------------------------------------------------


def _said(one: Spoken, first: int, last: int, env: Any) -> dict[int, Line]:
    """What is said before and between the slates of a stretch, by the turn after which it is."""
    instructions = {first - 1: at(one.life, first).heard}
    instructions |= {turn: at(one.life, turn).said for turn in range(first, last - 1)}
    texts = {turn: spoken(instruction, env, turn) for turn, instruction in instructions.items()}
    return {turn: Line("says", _quoted(text)) for turn, text in texts.items() if text}


def _quoted(text: str) -> str:
    return f"The user says: \u201c{text}\u201d"


def tell(life: Moment, first: int, last: int, said: dict[int, Line], env: Any, params: Any) -> Side:
    """The slates of turns `first` to `last` - 1, what the user did with them, and what it said in between.

    Slates are numbered from the first that is shown, and the mind is left out: a person sees what a person would.
    """
    lines = [said[first - 1]] if first - 1 in said else []
    for turn in range(first, last):
        lines.append(Line("slate", f"Slate {turn - first + 1}"))
        shown = slots(at(life, turn), env, params)
        looked = [slot for slot in shown if slot.deed != "not looked at"]
        lines += [_item(slot) for slot in looked]
        if len(looked) < len(shown):
            lines.append(Line("rest", f"{len(shown) - len(looked)} more, not looked at"))
        lines += [said[turn]] if turn in said else []
    return tuple(lines)


def _item(slot: Shown) -> Line:
    what = "watched" if slot.deed.startswith("watched") else "skipped"
    return Line(what, slot.title, slot.deed, " \u00b7 ".join(slot.facts))


# -- the key -----------------------------------------------------------------------------------------------------


def to_json(pairs: list[Pair]) -> list[dict[str, Any]]:
    """The pairs with which side is simulated, as strict JSON can hold them."""
    return [dataclasses.asdict(pair) for pair in pairs]


def from_json(content: Any) -> list[Pair]:
    """The pairs that `to_json` wrote. Raises ValueError for anything else."""
    try:
        found = [
            Pair(**{**one, **{side: tuple(Line(*map(str, line)) for line in one[side]) for side in SIDES}})
            for one in content
        ]
    except (TypeError, KeyError, ValueError):
        raise ValueError("its pairs cannot be read") from None
    if not found or any(pair.kind not in KINDS or pair.simulated not in SIDES for pair in found):
        raise ValueError("its pairs have an unknown kind or side")
    if len({str(pair.id) for pair in found}) < len(found) or not all(isinstance(pair.id, str) for pair in found):
        raise ValueError("two of its pairs have the same id, or one has none")
    return found


def digest(pairs: list[Pair]) -> str:
    """The part of the ids that all pairs of a set share: answers to another set are told by it."""
    return pairs[0].id.partition("-")[0]
