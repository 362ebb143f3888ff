"""A log as a network reads it: what each person took, in order, with what else is known of each event."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreco.base import CLICK, COMMENT, LIKE, SHARE
from jaxreco.data.log import COLUMNS, Log
from jaxreco.errors import DataError
from jaxreco.fit import feedback
from jaxreco.fit.feedback import Said
from jaxreco.struct import Struct
from jaxreco.users.classes import Classes
from jaxreco.users.network import FEATURES

Array = jax.Array

HOUR_S = 3600.0


class Events(Struct):
    """`N` events, sorted by person and time."""

    item: Array  # i32[N]
    about: Array  # f32[N, F], FEATURES, 0 where unknown
    said: dict[str, Said]  # by head, leaves [N, ...]


class Windows(NamedTuple):
    """`W` stretches of events to learn from; each lies within one person's, and no event is in two."""

    first: Any  # i32[W], the person's first event
    start: Any  # i32[W], the window's first
    end: Any  # i32[W], behind its last
    last: Any  # i32[W], behind the person's last event

    def rows(self, chosen: np.ndarray) -> Windows:
        """Some of the windows."""
        return Windows(*(column[chosen] for column in self))


@dataclasses.dataclass(frozen=True)
class Scale:
    """What the numbers of a log mean to the network; learned from the people whom it is fitted to.

    Args: value_mean, value_spread: of `Log.value`, in its unit.
    """

    value_mean: float = 0.0
    value_spread: float = 1.0

    @classmethod
    def of(cls, log: Log) -> Scale:
        """The scale of a log's events."""
        if log.value is None or not len(log):
            return cls()
        return cls(float(log.value.mean()), float(max(log.value.std(), 1e-6)))


def taken(log: Log) -> Log:
    """The events in which somebody took an item: clicks where the log says what was shown, else all.

    A log without times whose rows go by item, as those of Jester and Coat, knows no order: a fixed random one, of each person's
    own, replaces it, for the next item is not to be foreseen by its number.

    Raises DataError where there is none.
    """
    clicked = np.zeros(0, bool) if log.actions is None else (log.actions & CLICK) != 0
    chosen = log.rows(clicked) if clicked.any() else _visits(log)
    if not len(chosen):
        raise DataError(f"{log.name} has no event in which somebody took an item: there is nothing to fit a user to.")
    return _shuffled(chosen) if chosen.time is None and _by_item(chosen) else chosen


def _visits(log: Log) -> Log:
    """In a log of one item, a shop's, several rows of a person at one time are one visit, of which the first counts."""
    if log.n_items > 1 or log.time is None or not len(log):
        return log
    return log.rows(np.append(True, (np.diff(log.time) != 0) | (np.diff(log.user) != 0)))


def _by_item(log: Log) -> bool:
    """Whether everybody's rows ascend by item, and so many that it is no chance."""
    ascending = (np.diff(log.item) > 0)[np.diff(log.user) == 0]
    return bool(len(ascending) > 20 and ascending.all())


def _shuffled(log: Log, seed: int = 0) -> Log:
    """The log with everybody's rows in a random order."""
    order = np.lexsort((np.random.default_rng(seed).random(len(log)), log.user))
    columns = {name: getattr(log, name) for name in COLUMNS if getattr(log, name) is not None}
    return dataclasses.replace(log, **{name: column[order] for name, column in columns.items()})


def events(log: Log, scale: Scale, heads: Mapping[str, Classes] | None = None) -> Events:
    """The events of a log in which every row is one (see `taken`). Args: heads, of events, by name."""
    about = np.zeros((len(log), len(FEATURES)), np.float32)
    column = {name: about[:, at] for at, name in enumerate(FEATURES)}
    if log.value is not None:
        column["value"][:] = (log.value - scale.value_mean) / scale.value_spread
        column["valued"][:] = 1.0
    if log.actions is not None:
        for name, bit in (("like", LIKE), ("comment", COMMENT), ("share", SHARE)):
            column[name][:] = (log.actions & bit) != 0
    if log.watch is not None:
        column["watch"][:] = np.log1p(np.maximum(log.watch, 0.0)) / 4.0  # near 1 for a minute
        column["watched"][:] = log.watch > 0
    if log.time is not None:
        since = np.diff(log.time, prepend=log.time[:1])
        same = np.diff(log.user, prepend=-1) == 0
        column["gap"][:] = np.where(same, np.log1p(np.maximum(since, 0.0) / HOUR_S) / 4.0, 0.0)  # near 1 for two days
        column["timed"][:] = same
    return Events(item=np.asarray(log.item, np.int32), about=about, said=feedback.said(log, heads or {}))  # type: ignore[arg-type]


def parted(people: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(fitted, held back) of people i64[U], each ascending; a share of them, but at least one, is held back."""
    back = max(1, round(share * len(people)))
    order = np.random.default_rng(seed).permutation(people)
    return np.sort(order[back:]), np.sort(order[:back])


def windows(log: Log, users: np.ndarray, length: int) -> Windows:
    """Every event of some users, in windows of at most `length` that end with a person's last event.

    Args: users i64[V].
    """
    bounds = log.bounds
    first, last = bounds[users], bounds[np.asarray(users) + 1]
    count = -(-(last - first) // length)
    of = np.repeat(np.arange(len(users)), count)
    back = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)  # windows behind this one's end
    end = last[of] - back * length
    found = (first[of], np.maximum(end - length, first[of]), end, last[of])
    return Windows(*(column.astype(np.int32) for column in found))


def usual_length(log: Log, longest: int = 64, share: float = 0.95) -> int:
    """A power of two from 8 to `longest` that holds all events of a share of the people (19 in 20), or `longest`."""
    counts = np.diff(log.bounds)
    most = float(np.quantile(counts[counts > 0], share)) if len(log) else 1.0
    return int(np.clip(2 ** np.ceil(np.log2(max(most, 1.0))), 8, longest))
