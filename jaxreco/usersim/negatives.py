"""What users did not take, drawn to stand beside what they took."""

from __future__ import annotations

import numpy as np

from jaxreco.errors import DataError
from jaxreco.usersim.cases import Cases

RATIOS = (1, 9, 19)  # negatives for each positive; those of a lower ratio are the first of those of a higher


def draws(cases: Cases, weight: np.ndarray, redraws: int, ratio: int = RATIOS[-1]) -> np.ndarray:
    """i32[R, M, ratio P]: for each of `R` redraws `ratio` negatives for each positive of a user, -1 after the last.

    One after another, in proportion to `weight` f64[I], without repeats, from the items that the user did not take: the
    first to arrive in a race of exponential times (Efraimidis & Spirakis 2006, "Weighted random sampling with a
    reservoir"). So the first n of a row are a draw of n. Redraw `r` has the seed `r`.

    Raises DataError where fewer items of a weight above 0 are left.
    """
    n_users, most = cases.positives.shape
    drawn = np.full((redraws, n_users, ratio * most), -1, np.int32)
    hours = np.divide(1.0, weight, out=np.full(len(weight), np.inf), where=np.asarray(weight) > 0.0)
    taken = np.concatenate([cases.history, cases.positives], axis=1)
    wanted = ratio * (cases.positives >= 0).sum(axis=1)
    for redraw in range(redraws):
        rng = np.random.default_rng(redraw)
        for user in range(n_users):
            arrival = rng.standard_exponential(len(weight)) * hours
            arrival[taken[user][taken[user] >= 0]] = np.inf
            drawn[redraw, user, : wanted[user]] = _first(arrival, int(wanted[user]))
    return drawn


def _first(arrival: np.ndarray, n: int) -> np.ndarray:
    """i64[n]: the n lowest of f64[I], ascending."""
    left = int(np.isfinite(arrival).sum())
    if left < n:
        raise DataError(f"{left} items are left to draw {n} negatives from: give a larger catalog, or fewer positives.")
    near = np.argpartition(arrival, n - 1)[:n]
    return near[np.argsort(arrival[near])]
