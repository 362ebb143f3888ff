"""Hard candidates: what a recommender itself would show. Scored only where the truth is among them; it is never put there.

A truth that is put there is told by the candidates' own score: the lowest is it.
"""

from __future__ import annotations

import numpy as np

from jaxreco.ranking.cases import CANDIDATES, Cases


def shortlist(scores: np.ndarray, cases: Cases, size: int = CANDIDATES) -> np.ndarray:
    """i32[M, size]: the items that f32[M, I] puts first, without the history, ascending: their order tells nothing.

    Of equals, the first are taken. A truth that is in the history is no candidate either.
    """
    left = scores.astype(np.float64)
    rows, columns = np.nonzero(cases.history >= 0)
    left[rows, cases.history[rows, columns]] = -np.inf
    return np.sort(np.argsort(-left, axis=1, kind="stable")[:, :size], axis=1).astype(np.int32)


def hit(scores: np.ndarray, shown: np.ndarray, cases: Cases) -> np.ndarray:
    """f64[M]: whether f32[M, I] puts the truth first of those shown i32[M, N]; a share where ties decide, NaN where it is not there."""
    there = (shown == cases.target[:, None]).any(axis=1)
    said = np.take_along_axis(scores, shown, axis=1)
    truth = np.take_along_axis(scores, cases.target[:, None], axis=1)
    first = (said <= truth).all(axis=1) / np.maximum((said == truth).sum(axis=1), 1)
    return np.where(there, first, np.nan)
