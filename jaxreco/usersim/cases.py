"""Users' latest items as what a simulated user should say yes to: from a log or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxreco.content import collaborative
from jaxreco.data import tables
from jaxreco.data.log import Log
from jaxreco.errors import DataError

AT_LEAST = 10  # events of a user who is judged
MANY, FEW = 10, 5  # latest items of users with ENOUGH events or more, and of all others
ENOUGH = 20
AGAIN = "mend the line"


class Cases(NamedTuple):
    """`M` users: what is seen of them, and what they took after it. No item is there twice in a row."""

    history: np.ndarray  # i32[M, H], the latest last, -1 before the first
    positives: np.ndarray  # i32[M, P], the latest last, -1 before the first

    def rows(self, chosen: np.ndarray) -> Cases:
        """Some of the cases."""
        return Cases(self.history[chosen], self.positives[chosen])


def judged(log: Log) -> np.ndarray:
    """i64[M]: users of a log with AT_LEAST events or more."""
    return np.flatnonzero(np.diff(log.bounds) >= AT_LEAST)


def latest(log: Log, users: np.ndarray) -> Cases:
    """The last MANY or FEW items of each user i64[M], and all that came before.

    Raises DataError for a user of fewer than AT_LEAST events, or who took an item twice.
    """
    histories, positives = [], []
    for user in users:
        taken = log.item[log.bounds[user] : log.bounds[user + 1]].tolist()
        if len(taken) < AT_LEAST or len(set(taken)) < len(taken):
            wrong = f"fewer than {AT_LEAST} events" if len(taken) < AT_LEAST else "an item twice"
            raise DataError(f"{log.name}: user {log.user_ids[user]} has {wrong}: leave such users out.")
        last = MANY if len(taken) >= ENOUGH else FEW
        histories.append(taken[:-last])
        positives.append(taken[-last:])
    return Cases(padded(histories), padded(positives))


def padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """i32[M, H] of lists, H the longest's length; -1 before the first."""
    table = np.full((len(rows), max(map(len, rows), default=0)), -1, np.int32)
    for into, row in zip(table, rows, strict=True):
        into[len(into) - len(row) :] = row
    return table


def read(path: Path, item_ids: np.ndarray) -> Cases:
    """Cases of a JSON-lines file: `{"user": id, "history": [ids, the latest last], "positives": [ids]}` a line.

    Args: item_ids [I], as in the set's own files.

    Raises DataError, with the line, for one that is not of this form or names an unknown item.
    """
    known = {id: number for number, id in enumerate(item_ids.tolist())}
    lines, users = [], set()
    for number, line in tables.json_lines(path):
        user, *items = _numbers(f"{path}, line {number}", line, known)
        if user in users:
            raise DataError(f"{path}, line {number}: user {user} is there twice: keep one of the lines.")
        users.add(user)
        lines.append(items)
    if not lines:
        raise DataError(f"{path} holds no users: add a line for each.")
    history, positives = zip(*lines, strict=True)
    return Cases(padded(history), padded(positives))


def _numbers(where: str, line: Any, known: dict[Any, int]) -> tuple[int | str, list[int], list[int]]:
    """(user, history, positives) with items as numbers."""
    if not isinstance(line, dict) or not {"user", "history", "positives"} <= set(line):
        raise DataError(f'{where}: expected {{"user": id, "history": [items], "positives": [items]}}: {AGAIN}.')
    user = line["user"]
    if isinstance(user, bool) or not isinstance(user, (int, str)):
        raise DataError(f"{where}: user must be a number or a text: {AGAIN}.")
    for name in ("history", "positives"):
        if not isinstance(line[name], list) or not line[name]:
            raise DataError(f"{where}: {name} must be a list of one item or more: {AGAIN}.")
    taken = [*line["history"], *line["positives"]]
    for id in taken:
        if isinstance(id, (list, dict, bool, float)) or id not in known:
            raise DataError(f"{where}: item {id!r} is not an item of the set: {AGAIN}.")
    twice = next((id for at, id in enumerate(taken) if id in taken[:at]), None)
    if twice is not None:
        raise DataError(f"{where}: item {twice} is there twice: {AGAIN}.")
    return user, [known[id] for id in line["history"]], [known[id] for id in line["positives"]]


def same_people(log: Log, cases: Cases) -> np.ndarray:
    """i64: users of a log who seem to be people of the cases: who trains on them knows the answers already.

    They took all of the last MANY items before a case's very last, which may be held back in the log, and within twice as
    many events. Of a case with fewer than FEW such items nobody can tell.
    """
    table, found = collaborative.interactions(log).tocsc(), set()
    place = np.arange(len(log)) - log.bounds[log.user]
    for row in np.concatenate([cases.history, cases.positives], axis=1):
        known = row[row >= 0][-MANY - 1 : -1]
        if len(known) < FEW:
            continue
        takers = np.asarray(table[:, known].sum(axis=1)).ravel()
        for user in np.flatnonzero(takers >= len(known)):
            mine = slice(log.bounds[user], log.bounds[user + 1])
            at = place[mine][np.isin(log.item[mine], known)]
            if at.max() - at.min() < 2 * len(known):
                found.add(int(user))
    return np.array(sorted(found), np.int64)
