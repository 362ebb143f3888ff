"""Where the truth stands in a ranking of the catalog, and what that is worth. Ties are broken at random, in expectation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from jaxreco.ranking.cases import CANDIDATES, Cases, excluded


class Places(NamedTuple):
    """Of `M` users; rivals are all items but the truth and what is in the visible history."""

    above: np.ndarray  # i64[M], rivals that score higher
    tied: np.ndarray  # i64[M], rivals that score the same
    rivals: np.ndarray  # i64[M]


def places(scores: np.ndarray, cases: Cases) -> Places:
    """Where f32[M, I] puts the truths."""
    taken = excluded(cases)
    there = taken >= 0
    truth = np.take_along_axis(scores, cases.target[:, None], axis=1)
    others = np.take_along_axis(scores, np.maximum(taken, 0), axis=1)
    above, tied = (
        compare(scores, truth).sum(axis=1) - (there & compare(others, truth)).sum(axis=1)
        for compare in (np.greater, np.equal)
    )
    return Places(above, tied, scores.shape[1] - there.sum(axis=1))


def hit(found: Places, k: int) -> np.ndarray:
    """f64[M]: whether the truth is among the first k of the catalog; a share where that hangs on ties."""
    return np.clip((k - found.above) / (found.tied + 1.0), 0.0, 1.0)


def ndcg(found: Places, k: int) -> np.ndarray:
    """f64[M]: 1 / log2(place + 1) for a truth at places 1 to k, else 0 (Järvelin & Kekäläinen 2002, one relevant item)."""
    worth = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))])
    first, last = np.minimum(found.above, k), np.minimum(found.above + found.tied + 1, k)
    return (worth[last] - worth[first]) / (found.tied + 1.0)


def sampled_hit(found: Places, candidates: int = CANDIDATES) -> np.ndarray:
    """f64[M]: the probability that the truth leads `candidates - 1` rivals drawn uniformly without repeats.

    What hit@1 tends to over many redraws. With `r` rivals before the truth it is C(N - r, n) / C(N, n); summed over the
    places that ties leave open, the binomials telescope.
    """
    n, above, tied, rivals = candidates - 1, *found
    total = _log_choose(rivals, n)
    upper = np.exp(_log_choose(rivals - above + 1, n + 1) - total)
    lower = np.exp(_log_choose(rivals - above - tied, n + 1) - total)
    return (upper - lower) / (tied + 1.0)


def _log_choose(n: np.ndarray, k: int) -> np.ndarray:
    """log of C(n, k), -inf where it is 0."""
    safe = np.maximum(n, k).astype(np.float64)
    return np.where(n >= k, gammaln(safe + 1.0) - gammaln(k + 1.0) - gammaln(safe - k + 1.0), -np.inf)
