"""Slates of a log as rows: lists of what was shown and clicked, one row a slot."""

from __future__ import annotations

import numpy as np

from jaxreco.base import CLICK, EXAMINED


def unrolled(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(i64[N] number of the list, i32[N] place in it) of lists with so many entries, laid end to end."""
    of = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    return of, (np.arange(len(of)) - starts[of]).astype(np.int32)


def shown_and(clicked: np.ndarray) -> np.ndarray:
    """i32[N] actions of slots that were shown, by bool[N], clicked or not.

    All count as looked at: these logs hold what came into view.
    """
    return np.where(clicked, EXAMINED | CLICK, EXAMINED).astype(np.int32)
