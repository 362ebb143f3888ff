"""The real logs of the benchmarks on what people took, as far as they are given: who is held out, and who is named."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

import numpy as np

from jaxreco.data import sets, tables
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.names import closest
from jaxreco.ranking.cases import Cases, read

SETS = ("movielens-100k", "lastfm-sequences", "instruments-2018")


class Given(NamedTuple):
    """One data set, as far as it is given."""

    name: str
    log: Log
    validation: np.ndarray  # i64[V], numbers of the users that the protocol names; none of Instruments
    test: np.ndarray | Cases | None  # users, or cases, that are held out of everything else; None where there are none
    over_time: bool  # leave-one-out over time: everybody's history is trained on


def refuse(benchmark: str, split: str, test: pathlib.Path | None, dataset: str | None) -> None:
    """Refuse a split or a data set that is not there, and users of a file without the set whose items it names.

    Raises DataError.
    """
    if split not in ("validation", "test"):
        raise DataError(f"There is no split {split!r}.{closest(split, ['validation', 'test'])}")
    if test is not None and dataset is None:
        raise DataError(f"Whose items {test} names is not said: add --dataset with one of {', '.join(SETS)}.")
    if dataset is not None and dataset not in SETS:
        raise DataError(f"The benchmark {benchmark} has no data set {dataset!r}.{closest(dataset, SETS)}")


def sets_in(data: pathlib.Path) -> list[str]:
    """Which of SETS a folder holds. Raises DataError for none."""
    names = [name for name in SETS if (data / name).is_dir()]
    if not names:
        raise DataError(f"{data} has no folder {', '.join(SETS[:-1])} or {SETS[-1]}: give the folder that holds them.")
    return names


def read_set(folder: pathlib.Path, name: str) -> Given:
    """A data set with its validation users, and its test part where the folder holds one. Raises DataError for broken files."""
    log, nobody = sets.load(folder), np.zeros(0, np.int64)
    test = folder / "test.jsonl"
    if name == "movielens-100k":
        held = _named(folder / "test_users.json", log) if (folder / "test_users.json").exists() else None
        cases = read(test, log.items.ids) if test.exists() else held
        return Given(name, log, _named(folder / "validation_users.json", log), cases, False)
    cases = read(test, log.items.ids) if test.exists() else None
    if name == "lastfm-sequences":
        more = read(folder / "validation.jsonl", log.items.ids)
        return Given(name, _with(log, more), np.arange(log.n_users, log.n_users + len(more.target)), cases, False)
    return Given(name, log, nobody, cases, True)


def _named(path: pathlib.Path, log: Log) -> np.ndarray:
    """i64[V]: the users that a JSON list of ids names."""
    with tables.reading(path):
        ids = json.loads(path.read_text())
    if not isinstance(ids, list) or not all(type(id) is int for id in ids):
        raise DataError(f"{path} must be a list of user ids: download it again.")
    return tables.placed(path, "user", np.array(ids, np.int64), log.user_ids).astype(np.int64)


def _with(log: Log, more: Cases) -> Log:
    """A log of sequences with further users, whose last items are the cases' targets."""
    table = np.column_stack([more.history, more.target])
    who, place = np.nonzero(table >= 0)
    user_ids = np.arange(log.n_users + len(table))
    item = np.append(log.item, table[who, place])
    return Log.of(log.name, np.append(log.user, log.n_users + who), item, log.items, user_ids)
