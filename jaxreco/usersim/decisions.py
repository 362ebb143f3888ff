"""Yes or no by a threshold, and how right that is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Scores(NamedTuple):
    """Of `M` users' items, the negatives drawn `R` times. NaN where a user has fewer."""

    positive: np.ndarray  # f[M, P]
    negative: np.ndarray  # f[R, M, N]

    def at(self, ratio: int) -> Scores:
        """Those of the first `ratio` negatives for each positive."""
        wanted = ratio * (~np.isnan(self.positive)).sum(axis=1)
        most = self.negative[:, :, : int(wanted.max(initial=0))]
        return Scores(self.positive, np.where(np.arange(most.shape[2]) < wanted[:, None], most, np.nan))


class Counts(NamedTuple):
    """Of `M` users; of negatives the mean over redraws."""

    taken: np.ndarray  # f64[M], positives
    right: np.ndarray  # f64[M], positives that got a yes
    yes: np.ndarray  # f64[M], items that got a yes

    def f1(self) -> float:
        """Of all users' items together."""
        return 2.0 * float(self.right.sum() / (self.taken.sum() + self.yes.sum()))


def threshold(scores: Scores) -> float:
    """The score from which on a yes makes F1 over all users' items together the greatest; -inf for a yes to all.

    It lies halfway to the next lower score. Equal scores get equal answers.
    """
    good, bad = (said[~np.isnan(said)].astype(np.float64) for said in scores)
    said = np.concatenate([good, bad])
    weight = np.concatenate([np.ones(len(good)), np.full(len(bad), 1.0 / len(scores.negative))])
    order = np.argsort(-said, kind="stable")
    said, weight, right = said[order], weight[order], order < len(good)
    last = np.append(said[1:] < said[:-1], True)  # of equals
    found = (np.cumsum(right) / (np.cumsum(weight) + len(good)))[last]
    best, levels = int(np.argmax(found)), said[last]
    return float((levels[best] + levels[best + 1]) / 2.0) if best + 1 < len(levels) else float("-inf")


def counts(scores: Scores, threshold: float) -> Counts:
    """What is said of each user's items: yes from the threshold on."""
    right = (scores.positive >= threshold).sum(axis=1).astype(np.float64)
    wrong = (scores.negative >= threshold).sum(axis=(0, 2)) / len(scores.negative)
    return Counts((~np.isnan(scores.positive)).sum(axis=1).astype(np.float64), right, right + wrong)


def auc(scores: Scores) -> np.ndarray:
    """f64[M]: how often one of a user's positives is above one of its negatives; ties count half."""
    found = np.empty(len(scores.positive))
    for user, good in enumerate(scores.positive):
        bad = scores.negative[:, user]
        good, bad = good[~np.isnan(good)], np.sort(bad[~np.isnan(bad)])
        below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
        found[user] = below.mean() / (2.0 * len(bad))
    return found
