"""How far people agree beyond chance, and how sure a share is. Labels are nominal; NaN where nothing can be said."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959964  # of a 95 % interval


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Agreement of two people beyond chance; chance is each person's own shares of the labels.

    Cohen 1960, "A coefficient of agreement for nominal scales" (Educational and Psychological Measurement 20).

    Args: first, second: the two people's labels of the same things, in the same order.

    NaN without labels, and where both gave one and the same label throughout, so that chance explains all.
    """
    if len(first) != len(second):
        raise ValueError(f"The one has {len(first)} labels and the other {len(second)}: give both for the same things.")
    labels = {label: i for i, label in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(labels), len(labels)))
    for a, b in zip(first, second, strict=True):
        table[labels[a], labels[b]] += 1.0
    n = table.sum()
    return _beyond(np.trace(table) / n, float(table.sum(0) @ table.sum(1)) / n**2) if n else float("nan")


def fleiss_kappa(counts: ArrayLike) -> float:
    """Agreement of several people beyond chance; chance is the shares of the labels over all answers.

    Fleiss 1971, "Measuring nominal scale agreement among many raters" (Psychological Bulletin 76).

    Args: counts: i[N, L], how many people gave thing n the label l; the same number of people, at least 2, for each.

    NaN without things, and where all answers are one label. Raises ValueError where rows have different sums.
    """
    table = np.asarray(counts, np.float64)
    if not table.size:
        return float("nan")
    people = table.sum(1)
    if people[0] < 2 or (people != people[0]).any():
        raise ValueError("Fleiss' kappa needs as many answers for each thing, at least 2: leave out the others.")
    agreeing = (table * (table - 1.0)).sum(1) / (people * (people - 1.0))
    shares = table.sum(0) / table.sum()
    return _beyond(float(agreeing.mean()), float(shares @ shares))


def krippendorff_alpha(counts: ArrayLike) -> float:
    """Agreement of several people beyond chance, where not everybody labelled everything; nominal labels.

    Krippendorff 2011, "Computing Krippendorff's alpha-reliability"; things with fewer than two answers say nothing.

    Args: counts: i[N, L], how many people gave thing n the label l.
    """
    table = np.asarray(counts, np.float64)
    table = table[table.sum(1) >= 2] if table.size else table
    if not table.size:
        return float("nan")
    people, total = table.sum(1, keepdims=True), table.sum(0)
    n = float(total.sum())
    differing = float((table * (people - table) / (people - 1.0)).sum()) / n
    by_chance = float(total @ (n - total)) / (n * (n - 1.0))
    return 1.0 - differing / by_chance if by_chance > 0.0 else float("nan")


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % score interval of a share of n trials; (NaN, NaN) without trials.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference" (JASA 22).
    """
    if n <= 0:
        return float("nan"), float("nan")
    centre = (share + Z**2 / (2.0 * n)) / (1.0 + Z**2 / n)
    half = Z / (1.0 + Z**2 / n) * (share * (1.0 - share) / n + Z**2 / (4.0 * n**2)) ** 0.5
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _beyond(seen: float, by_chance: float) -> float:
    return (seen - by_chance) / (1.0 - by_chance) if by_chance < 1.0 else float("nan")
