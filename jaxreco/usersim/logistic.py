"""Logistic regression by Newton's method. NumPy on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit

STEPS, NEAR = 50, 1e-8


class Weights(NamedTuple):
    """Of `F` features: log-odds are `features @ slope + intercept`."""

    slope: np.ndarray  # f64[F]
    intercept: float

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """f64[...] of features f[..., F]."""
        return features @ self.slope + self.intercept


def fit(features: np.ndarray, taken: np.ndarray, weight: np.ndarray, ridge: float = 1.0) -> Weights:
    """The weights of the greatest likelihood, less ridge / 2 times the squared slopes of features of unit variance.

    Newton's method, alias iteratively reweighted least squares (McCullagh & Nelder 1989, 2.5), with halved steps where a
    whole one would not help.

    Args: features f[N, F]. taken bool[N]. weight f[N]: what each row counts for.
    """
    mean = np.average(features, axis=0, weights=weight)
    x = np.concatenate([features - mean, np.ones((len(features), 1))], axis=1)
    spread = np.sqrt(np.einsum("n,nf,nf->f", weight, x, x) / weight.sum())
    scale = np.where(spread > 1e-9, spread, 1.0)  # that of the intercept's column is 1
    x /= scale
    penalty = np.append(np.full(features.shape[1], ridge), 1e-9)  # the intercept is free
    sign = np.where(taken, 1.0, -1.0)
    w = np.zeros(x.shape[1])

    def loss(w: np.ndarray) -> float:
        return float(weight @ np.logaddexp(0.0, -sign * (x @ w)) + 0.5 * penalty @ w**2)

    now = loss(w)
    for _ in range(STEPS):
        share = expit(x @ w)
        slope = x.T @ (weight * (share - taken)) + penalty * w
        curve = (x.T * (weight * share * (1.0 - share))) @ x + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while loss(w - size * step) > now and size > 1e-6:
            size /= 2.0
        w = w - size * step
        before, now = now, loss(w)
        if before - now <= NEAR * abs(now):
            break
    slope = w[:-1] / scale[:-1]
    return Weights(slope, float(w[-1] - slope @ mean))
