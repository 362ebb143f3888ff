"""Training and test parts of a log, and a check that nothing of the test is known beforehand.

Leave one out, by time, by user, folds by user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxreco.data.log import Log, together
from jaxreco.errors import DataError


class Split(NamedTuple):
    """Rows of a log. Ascending."""

    train: np.ndarray  # i64
    test: np.ndarray  # i64


def leave_one_out(log: Log, at_least: int = 2) -> Split:
    """Every user's last event is the test; users of fewer than `at_least` events are only trained on."""
    bounds = log.bounds
    several = np.diff(bounds) >= at_least
    test = bounds[1:][several] - 1
    return Split(np.setdiff1d(np.arange(len(log)), test), test)


def by_time(log: Log, share: float = 0.2) -> Split:
    """The latest `share` of all events is the test; events of one moment are not parted. Raises DataError without times."""
    if log.time is None:
        raise DataError(f"{log.name} has no times: it cannot be split by time.")
    _refuse_share(log, share)
    later = log.time >= np.quantile(log.time, 1.0 - share, method="higher")
    return Split(np.flatnonzero(~later), np.flatnonzero(later))


def by_user(log: Log, share: float = 0.2, seed: int = 0) -> Split:
    """All events of a `share` of the users, drawn evenly, are the test."""
    _refuse_share(log, share)
    order = np.random.default_rng(seed).permutation(log.n_users)
    return _of_users(log, order[: max(1, round(share * log.n_users))])


def folds_by_user(log: Log, folds: int = 10, seed: int = 0) -> Iterator[Split]:
    """Every user is in the test of one fold, and in the training part of all others. Raises DataError for too few users."""
    if not 2 <= folds <= log.n_users:
        raise DataError(f"{log.name} has {log.n_users} users: give 2 to {log.n_users} folds, not {folds}.")
    order = np.random.default_rng(seed).permutation(log.n_users)
    for part in np.array_split(order, folds):
        yield _of_users(log, part)


def leaks(log: Log, split: Split, kind: str) -> list[str]:
    """What the training part knows of the test, one sentence a finding; none for a sound split.

    Args: kind, "leave_one_out", "time" or "user".
    """
    train, test = (log.rows(part) for part in split)
    found = []
    both = np.intersect1d(split.train, split.test)
    if len(both):
        found.append(f"{len(both)} rows are in both parts, the first is {both[0]}.")
    if kind == "user":
        users = np.intersect1d(train.user, test.user)
        if len(users):
            found.append(f"{len(users)} users are in both parts, the first is {users[0]}.")
    if kind == "time" and log.time is not None and len(train) and len(test) and train.time.max() >= test.time.min():  # type: ignore[union-attr]
        late = int((train.time >= test.time.min()).sum())  # type: ignore[union-attr]
        found.append(f"{late} rows of the training part are not before the first of the test.")
    if kind == "leave_one_out":
        first = np.full(log.n_users, len(log))
        np.minimum.at(first, log.user[split.test], split.test)
        late = int((split.train > first[log.user[split.train]]).sum())
        if late:
            found.append(f"{late} rows of the training part come after their user's test row.")
    again = _again(train, test)
    if len(again):
        found.append(f"{len(again)} events of the test (user, item and time) are in the training part too.")
    return found


def _again(train: Log, test: Log) -> np.ndarray:
    """The events that are in both; without times events cannot be told apart."""
    if train.time is None or test.time is None:
        return np.zeros(0)
    return np.intersect1d(together(train.user, train.item, train.time), together(test.user, test.item, test.time))


def _of_users(log: Log, users: np.ndarray) -> Split:
    chosen = np.isin(log.user, users)
    return Split(np.flatnonzero(~chosen), np.flatnonzero(chosen))


def _refuse_share(log: Log, share: float) -> None:
    if not 0.0 < share < 1.0:
        raise DataError(f"The share of {log.name} for the test is {share}: give a number between 0 and 1.")
