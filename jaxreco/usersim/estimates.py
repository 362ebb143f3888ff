"""Metrics that are ratios of sums over users, and their intervals over users."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from jaxreco.usersim.decisions import Counts

RESAMPLES = 1000


class Ratio(NamedTuple):
    """`sum(above) / sum(below)` over `M` users; 0 where nothing is below."""

    above: np.ndarray  # f64[M]
    below: np.ndarray  # f64[M]

    @staticmethod
    def mean(values: np.ndarray) -> Ratio:
        """The mean of f64[M]."""
        return Ratio(values, np.ones(len(values)))

    def value(self) -> float:
        """Of all users."""
        return float(self.of(np.ones((1, len(self.above))))[0])

    def of(self, users: np.ndarray) -> np.ndarray:
        """f64[S] of users that count as often as f64[S, M] says."""
        above, below = users @ self.above, users @ self.below
        return np.divide(above, below, out=np.zeros(len(users)), where=below > 0.0)


def ratios(counts: Counts) -> dict[str, Ratio]:
    """Precision, recall and F1 of all users' items together."""
    return {
        "precision": Ratio(counts.right, counts.yes),
        "recall": Ratio(counts.right, counts.taken),
        "f1": Ratio(2.0 * counts.right, counts.taken + counts.yes),
    }


def interval(one: Ratio, other: Ratio | None = None) -> tuple[float, float, float]:
    """(value, low, high): the ratio, or how much it is above another of the same users, with its 95 % interval.

    The percentile bootstrap over users (Efron 1979), the same users for both.
    """
    users = _resampled(len(one.above), RESAMPLES)
    value, drawn = one.value(), one.of(users)
    if other is not None:
        value, drawn = value - other.value(), drawn - other.of(users)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return value, float(low), float(high)


@functools.lru_cache(maxsize=4)
def _resampled(n_users: int, resamples: int) -> np.ndarray:
    """f64[S, M]: how often each user is drawn; the same for all rows, so that differences are paired."""
    drawn = np.random.default_rng(0).integers(n_users, size=(resamples, n_users))
    return np.stack([np.bincount(row, minlength=n_users) for row in drawn]).astype(np.float64)
