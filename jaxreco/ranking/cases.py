"""Users' last items as cases to be ranked: from a log or a file; and candidates drawn for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Log
from jaxreco.errors import DataError

VISIBLE = 10  # items of a history that a recommender sees
CANDIDATES = 20  # the truth among them
AGAIN = "mend the line"


class Cases(NamedTuple):
    """`M` users, what is seen of them, and what they took next. `H` is VISIBLE."""

    history: np.ndarray  # i32[M, H], the latest last; -1 before the first
    target: np.ndarray  # i32[M]

    def rows(self, chosen: np.ndarray) -> Cases:
        """Some of the cases."""
        return Cases(self.history[chosen], self.target[chosen])


def last_items(log: Log, users: np.ndarray) -> Cases:
    """The last item of each user i64[M], and what came before. Raises DataError for a user of fewer than two events."""
    bounds = log.bounds
    first, end = bounds[users], bounds[np.asarray(users) + 1]
    short = np.flatnonzero(end - first < 2)
    if len(short):
        raise DataError(
            f"{log.name}: user {log.user_ids[users[short[0]]]} has fewer than 2 events: leave such users out."
        )
    at = end[:, None] - 1 - np.arange(VISIBLE, 0, -1)
    seen = at >= first[:, None]
    return Cases(np.where(seen, log.item[np.maximum(at, 0)], -1).astype(np.int32), log.item[end - 1])


def several(log: Log) -> np.ndarray:
    """i64[M]: users with at least two events."""
    return np.flatnonzero(np.diff(log.bounds) >= 2)


def of_users(log: Log, users: np.ndarray) -> Log:
    """The events of some users."""
    return log.rows(np.isin(log.user, users))


def but_users(log: Log, users: np.ndarray) -> Log:
    """The events of all others."""
    return log.rows(~np.isin(log.user, users))


def but_last(log: Log, users: np.ndarray) -> Log:
    """All events but the last of some users."""
    kept = np.ones(len(log), bool)
    kept[log.bounds[np.asarray(users) + 1] - 1] = False
    return log.rows(kept)


def answered(log: Log, cases: Cases) -> np.ndarray:
    """i64: users whose events end just as one of the cases does, answer and all: who trains on them knows it already."""
    asked = {tuple(row[row >= 0].tolist()) for row in np.column_stack([cases.history, cases.target])}
    lengths, bounds = {len(row) for row in asked}, log.bounds
    tails = ((user, log.item[bounds[user] : bounds[user + 1]].tolist()) for user in range(log.n_users))
    return np.array([user for user, tail in tails if any(tuple(tail[-n:]) in asked for n in lengths)], np.int64)


def read(path: Path, item_ids: np.ndarray) -> Cases:
    """Cases of a JSON-lines file: `{"history": [ids, the latest last], "next": id}` a line, other keys unread.

    Args: item_ids [I], as in the set's own files.

    Raises DataError, with the line, for one that is not of this form or names an unknown item.
    """
    known = {id: number for number, id in enumerate(item_ids.tolist())}
    lines = [_numbers(path, number, line, known) for number, line in tables.json_lines(path)]
    if not lines:
        raise DataError(f"{path} holds no users: add a line for each.")
    history = np.full((len(lines), VISIBLE), -1, np.int32)
    for row, (before, _) in zip(history, lines, strict=True):
        shown = before[-VISIBLE:]
        row[VISIBLE - len(shown) :] = shown
    return Cases(history, np.array([after for _, after in lines], np.int32))


def _numbers(path: Path, number: int, line: Any, known: dict[Any, int]) -> tuple[list[int], int]:
    """(history, next) as numbers of items."""
    if not isinstance(line, dict) or "history" not in line or "next" not in line:
        raise DataError(f'{path}, line {number}: expected {{"history": [items], "next": item}}: {AGAIN}.')
    before, after = line["history"], line["next"]
    if not isinstance(before, list) or not before:
        raise DataError(f"{path}, line {number}: history must be a list of one item or more: {AGAIN}.")
    for id in (*before, after):
        if isinstance(id, (list, dict, bool, float)) or id not in known:
            raise DataError(f"{path}, line {number}: item {id!r} is not an item of the set: {AGAIN}.")
    return [known[id] for id in before], known[after]


def excluded(cases: Cases) -> np.ndarray:
    """i32[M, H + 1], ascending: the items that are no rivals of the truth: it and the history. Repeats and -1 are -1."""
    table = np.sort(np.column_stack([cases.history, cases.target]), axis=1)
    table[:, 1:][table[:, 1:] == table[:, :-1]] = -1
    return np.sort(table, axis=1)


def draws(cases: Cases, n_items: int, redraws: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Candidates i32[M, 20] in random order, and where the truth is among them i64[M]; one pair a redraw.

    19 are drawn uniformly, without repeats, from the items that are neither in the visible history nor the truth. Redraw `r`
    has the seed `r`, so that everybody who ranks these cases ranks the same candidates.

    Raises DataError for a catalog that is too small.
    """
    taken = excluded(cases)
    free = n_items - (taken >= 0).sum(axis=1)
    negatives = CANDIDATES - 1
    if len(free) and free.min() < negatives:
        raise DataError(
            f"{n_items} items are too few for {CANDIDATES} candidates beside a history: give a larger catalog."
        )
    for redraw in range(redraws):
        rng = np.random.default_rng(redraw)
        drawn = _skip(_subsets(rng, free, negatives), taken)
        candidates = rng.permuted(np.column_stack([drawn, cases.target]), axis=1)
        yield candidates.astype(np.int32), np.argmax(candidates == cases.target[:, None], axis=1)


def _subsets(rng: np.random.Generator, size: np.ndarray, n: int) -> np.ndarray:
    """i64[M, n]: n different numbers below size[m] for each m, every set as likely (Floyd's algorithm; Bentley 1987)."""
    chosen = np.full((len(size), n), -1, np.int64)
    for column in range(n):
        largest = size - n + column
        number = rng.integers(0, largest + 1)
        again = (chosen == number[:, None]).any(axis=1)
        chosen[:, column] = np.where(again, largest, number)
    return chosen


def _skip(numbers: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """The numbers'th of the items that are not taken; `taken` is ascending, with -1 for none."""
    for column in range(taken.shape[1]):
        one = taken[:, column : column + 1]
        numbers = numbers + ((one >= 0) & (numbers >= one))
    return numbers
