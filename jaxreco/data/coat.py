"""Coat shopping: ratings of coats that people chose to rate, beside features of both (Schnabel et al. 2016,
"Recommendations as treatments"). A matrix of stars, 0 where there is none; no times."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError


def load(folder: Path) -> Log:
    """One row a rating of `train.ascii`; `value` is stars. Raises DataError where it is no matrix of 0 to 5."""
    path = folder / "train.ascii"
    stars = matrix(path)
    wrong = np.argwhere((stars < 0) | (stars > 5))
    if len(wrong):
        user, item = wrong[0]
        raise DataError(f"{path}, line {user + 1}, field {item + 1}: {stars[user, item]:g} is no star rating: mend it.")
    user, item = np.nonzero(stars)
    features = folder / "user_item_features"
    items = Items(ids=np.arange(stars.shape[1]), tags=_named(features, "item", stars.shape[1]))
    told = _named(features, "user", stars.shape[0])
    users = {} if told is None else {"features": np.array([" ".join(words) for words in told])}
    value = stars[user, item].astype(np.float32)
    return Log.of("Coat", user, item, items, np.arange(len(stars)), value=value, value_unit="stars", users=users)


def matrix(path: Path) -> np.ndarray:
    """f64[rows, columns] of numbers separated by blanks."""
    with tables.reading(path):
        text = path.read_text(encoding="utf-8")
    try:
        return np.loadtxt(text.splitlines(), ndmin=2)
    except ValueError as error:
        raise DataError(f"{path} is no matrix of numbers ({error}): download it again.") from None


def _named(folder: Path, what: str, rows: int) -> tuple[tuple[str, ...], ...] | None:
    """The names of every row's features; None where the files are not there."""
    path, names = folder / f"{what}_features.ascii", folder / f"{what}_features_map.txt"
    if not path.exists() or not names.exists():
        return None
    flags = matrix(path)
    with tables.reading(names):
        lines = [line.strip() for line in names.read_text(encoding="utf-8").splitlines() if line.strip()]
    if flags.shape != (rows, len(lines)):
        raise DataError(
            f"{path} has {flags.shape[0]} rows of {flags.shape[1]} flags, not {rows} of {len(lines)}: download it again."
        )
    return tuple(tuple(lines[i] for i in np.flatnonzero(row)) for row in flags)
