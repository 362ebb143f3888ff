"""How well calibrated a head can be shown to be where a log has few people: `python docs/halves.py DATA`, of the EB-NeRD sample.

Beside the expected calibration error (ECE) of the heads of leaving and of gaps stands that of the plain rate of one half of the people on
the other half, and of nothing but the noise of rows: how much people differ is what bounds it.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from jaxreco.benchmarks import heads
from jaxreco.fit import quality
from jaxreco.fit.quality import Judged

SET, DRAWS = "ebnerd-sample", 300


def constant(rate: np.ndarray, reached: np.ndarray) -> float:
    """The ECE of one rate a cut, f64[n - 1], for all rows f64[M, n - 1]."""
    return quality.ece(np.broadcast_to(rate, reached.shape), reached)


def halves(judged: Judged, rng: np.random.Generator) -> tuple[float, float]:
    """(ECE of the rate of one half of the people on the other, of noise alone), medians."""
    people, other, noise = np.unique(judged.person), [], []
    for _ in range(DRAWS):
        half = np.isin(judged.person, rng.permutation(people)[: len(people) // 2])
        shown = ~np.isnan(judged.reached[half]).all(axis=0)  # a half may never reach so far as the last cuts
        rest = judged.reached[~half][:, shown]
        other.append(constant(np.nanmean(judged.reached[half][:, shown], axis=0), rest))
        rate = np.nanmean(rest, axis=0)
        noise.append(constant(rate, np.where(np.isnan(rest), np.nan, rng.random(rest.shape) < rate)))
    return float(np.median(other)), float(np.median(noise))


def redrawn(judged: Judged, rng: np.random.Generator) -> np.ndarray:
    """f64[2], 95 % of the head's own ECE where people are drawn anew with all their rows."""
    people, found = np.unique(judged.person), []
    for _ in range(DRAWS):
        rows = np.concatenate([np.flatnonzero(judged.person == one) for one in rng.choice(people, len(people))])
        found.append(quality.ece(judged.chance[rows], judged.reached[rows]))
    return np.percentile(found, [2.5, 97.5])


def main(data: pathlib.Path) -> None:
    """Print a line a head."""
    parts = [heads.measured(SET, met) for met in heads.met(SET, data / SET, "quick", print)]
    for name in ("leave", "gap"):
        judged, rng = heads.together(parts).judged[name], np.random.default_rng(0)
        own = quality.ece(judged.chance, judged.reached)
        other, noise = halves(judged, rng)
        low, high = redrawn(judged, rng)
        print(f"{name}: head {own:.3f} ({low:.3f} to {high:.3f}), half on half {other:.3f}, noise {noise:.3f}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
