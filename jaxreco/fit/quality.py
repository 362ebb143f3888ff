"""How good a head is on people whom it was not fitted to: likelihood beside simpler ones', ranking, calibration."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxreco.evaluation import RESAMPLES
from jaxreco.fit import regression
from jaxreco.fit.regression import Rows
from jaxreco.users.classes import Classes
from jaxreco.users.heads import Head

BINS, FEWEST = 10, 100  # bins of a reliability diagram, and the rows that each has at least


class Judged(NamedTuple):
    """A head on `M` rows of others. Nats are log-likelihoods."""

    person: np.ndarray  # i32[M]
    head: np.ndarray  # f64[M], nats of the head
    base: np.ndarray  # f64[M], of how often each class occurs
    plain: np.ndarray  # f64[M], of an ordinal regression on plain numbers
    chance: np.ndarray  # f64[M, n - 1], with which the head expects each class but the first, or a higher one
    reached: np.ndarray  # f64[M, n - 1], 1 where it was so, 0 where it was not, NaN where the log could not show it


@dataclasses.dataclass(frozen=True)
class Quality:
    """A head in figures; in config.json and tables.

    Args: nats, base, plain: mean log-likelihoods a row. over_base, over_plain: (gain, low, high), paired, 95 % bootstrap over
      people. auc: of the middle cut. ece: expected calibration error, mean over cuts. chance_ece: of a head that is right, on as
      many rows.
    """

    rows: int
    people: int
    nats: float
    base: float
    plain: float
    over_base: tuple[float, float, float]
    over_plain: tuple[float, float, float]
    auc: float
    ece: float
    chance_ece: float


def judge(head: Head, base: Head, plain: Head, rows: Rows) -> Judged:
    """Three heads on the same rows; the latter two by `Rows.nothing` and `Rows.plain`."""
    seen = ((head, rows), (base, rows.nothing()), (plain, rows.plain()))
    whole, nothing, simple = (regression.log_likelihood(each, its) for each, its in seen)
    share = regression.probabilities(head, rows)
    chance = np.cumsum(share[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return Judged(rows.person, whole, nothing, simple, np.clip(chance, 0.0, 1.0), _reached(head.classes, rows))


def together(parts: list[Judged]) -> Judged:
    """Of several groups of people, each judged by a head that was not fitted to them.

    Quantiles of different people make classes of different numbers: the cuts that a part lacks are as if the log did not show them.
    """
    cuts = max(each.chance.shape[1] for each in parts)

    def widened(each: Judged) -> Judged:
        lacking = ((0, 0), (0, cuts - each.chance.shape[1]))
        return each._replace(
            chance=np.pad(each.chance, lacking), reached=np.pad(each.reached, lacking, constant_values=np.nan)
        )

    return Judged(*(np.concatenate(columns) for columns in zip(*(widened(each) for each in parts), strict=True)))


def quality(found: Judged, seed: int = 0) -> Quality:
    """The figures."""
    shown = ~np.isnan(found.reached).all(axis=0)
    share = np.full(len(shown), np.inf)
    share[shown] = np.nanmean(found.reached[:, shown], axis=0)
    middle = int(np.abs(share - 0.5).argmin())
    known = ~np.isnan(found.reached[:, middle])
    rng = np.random.default_rng(seed)
    likely = np.where(
        np.isnan(found.reached), np.nan, (rng.random(len(found.person))[:, None] < found.chance).astype(float)
    )
    return Quality(
        len(found.person), len(np.unique(found.person)), float(found.head.mean()), float(found.base.mean()), float(found.plain.mean()),
        gain(found.person, found.head - found.base), gain(found.person, found.head - found.plain),
        auc(found.chance[known, middle], found.reached[known, middle] > 0), ece(found.chance, found.reached), ece(found.chance, likely),
    )  # fmt: skip


def gain(person: np.ndarray, nats: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high) of f64[M] a row: people i32[M] are drawn with all their rows, 95 % percentile bootstrap."""
    _, of = np.unique(person, return_inverse=True)
    total, count = np.bincount(of, nats), np.bincount(of)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(total), size=(RESAMPLES, len(total)))
    low, high = np.percentile(total[drawn].sum(axis=1) / count[drawn].sum(axis=1), [2.5, 97.5])
    return float(nats.mean()), float(low), float(high)


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive row scores higher than another; NaN where all are alike."""
    from scipy.stats import rankdata

    n = int(positive.sum())
    if n in (0, len(positive)):
        return float("nan")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def bins(chance: np.ndarray, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean chance, share reached, rows) of at most BINS equally filled bins of one cut, f64[M] each."""
    order = np.argsort(chance, kind="stable")
    parts = [x for x in np.array_split(order, int(np.clip(len(order) // FEWEST, 1, BINS))) if len(x)]
    return (
        np.array([chance[x].mean() for x in parts]),
        np.array([reached[x].mean() for x in parts]),
        np.array([len(x) for x in parts]),
    )


def ece(chance: np.ndarray, reached: np.ndarray) -> float:
    """Expected calibration error (Naeini, Cooper & Hauskrecht 2015): how far chances are from shares, a row, mean over cuts."""
    found = []
    for cut in range(chance.shape[1]):
        known = ~np.isnan(reached[:, cut])
        if known.any():
            expected, share, count = bins(chance[known, cut], reached[known, cut])
            found.append(float(np.abs(expected - share) @ count / count.sum()))
    return float(np.mean(found)) if found else float("nan")


def _reached(classes: Classes, rows: Rows) -> np.ndarray:
    """f64[M, n - 1]: see `Judged`. What the log shows of a cut is told by how far it sees, never by what happened."""
    found = (rows.outcome[:, None] >= np.arange(1, len(classes))).astype(np.float64)
    if classes.kind == "numbers":
        return found
    return np.where(np.asarray(classes.edges)[None, 1:-1] <= rows.sight[:, None], found, np.nan)
