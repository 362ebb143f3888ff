"""What a policy would have earned, from the log of another that drew at random with known chances. NumPy on the host.

Each event has an outcome, the chance `logged` with which the logging policy showed what it showed, and the chance `target`
with which the policy in question would have. A deterministic policy's are 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxreco.errors import DataError
from jaxreco.evaluation import RESAMPLES

Estimator = Callable[[np.ndarray, np.ndarray], float]


def weights(logged: np.ndarray, target: np.ndarray) -> np.ndarray:
    """f64[N]: target over logged, of chances f[N].

    Raises DataError where a chance is none, or something was shown that had no chance.
    """
    logged, target = np.asarray(logged, np.float64), np.asarray(target, np.float64)
    if logged.shape != target.shape or not len(logged):
        raise DataError(f"{len(logged):,} logged chances and {len(target):,} of the policy: give one of each an event.")
    wrong = np.flatnonzero(~((logged > 0) & (logged <= 1) & (target >= 0) & (target <= 1)))
    if len(wrong):
        row = wrong[0]
        raise DataError(
            f"Event {row} was shown with chance {logged[row]:g}, and the policy's is {target[row]:g}: chances lie between 0 and 1, and that of what was shown is above 0."
        )
    return target / logged


def ips(outcome: np.ndarray, weight: np.ndarray) -> float:
    """The mean of weight times outcome: inverse propensity scoring (Horvitz & Thompson 1952). Unbiased, of high variance.

    Args: outcome f[N]. weight f[N], of `weights`.
    """
    return float(np.mean(np.asarray(outcome, np.float64) * weight))


def snips(outcome: np.ndarray, weight: np.ndarray) -> float:
    """The weighted mean of the outcome: self-normalised (Swaminathan & Joachims 2015). Slightly biased, of lower variance.

    Under a logging policy that draws evenly and a deterministic target it is the replay estimate of Li et al. 2011: the mean
    outcome of the events in which both agree. NaN where no event has a weight.
    """
    total = float(np.sum(weight))
    return float(np.sum(np.asarray(outcome, np.float64) * weight) / total) if total > 0 else float("nan")


def effective(weight: np.ndarray) -> float:
    """How many evenly weighted events these are worth (Kish 1965): (sum w)^2 / sum w^2. 0 where none has a weight."""
    square = float(np.sum(np.square(weight)))
    return float(np.sum(weight)) ** 2 / square if square > 0 else 0.0


def bootstrap(
    estimator: Estimator, outcome: np.ndarray, weight: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """(estimate, low, high): the 95 % percentile bootstrap over events (Efron 1979).

    With few positive outcomes among the events that count it is too narrow, and with none it is a point: look at how many
    there are before believing it.
    """
    outcome, weight = np.asarray(outcome, np.float64), np.asarray(weight, np.float64)
    rng, n = np.random.default_rng(seed), len(outcome)
    draws = (rng.integers(n, size=n) for _ in range(resamples))
    found = np.array([estimator(outcome[rows], weight[rows]) for rows in draws])
    found = found[~np.isnan(found)]
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (np.nan, np.nan)
    return estimator(outcome, weight), float(low), float(high)
