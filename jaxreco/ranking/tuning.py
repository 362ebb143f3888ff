"""Hyperparameters of closed forms, chosen on one inner split of a training part: whoever is tested is not asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxreco.data.log import Log
from jaxreco.ranking import closed, metrics
from jaxreco.ranking.cases import Cases, but_last, but_users, last_items, several
from jaxreco.ranking.closed import Recipe

Grid = Mapping[str, Sequence[float]]  # field of a Recipe -> what is tried
SHARE = 0.2  # of the users who are left for training


class Inner(NamedTuple):
    """An inner split: what is fitted, and what decides."""

    train: Log
    cases: Cases


def by_user(log: Log, share: float = SHARE, seed: int = 0) -> Inner:
    """All events of a share of a log's users are held out; their last items decide."""
    users = several(log)
    held = np.random.default_rng(seed).permutation(users)[: max(1, round(share * len(users)))]
    return Inner(but_users(log, held), last_items(log, held))


def by_last(log: Log, users: np.ndarray) -> Inner:
    """The last items of some users are held out and decide; their histories are fitted too. Who has too few has no part."""
    users = np.intersect1d(users, several(log))
    return Inner(but_last(log, users), last_items(log, users))


class Bench:
    """Judges recipes on an inner split by hit@1 among 20, over all draws."""

    def __init__(self, inner: Inner, say: Callable[[str], None] = lambda text: None) -> None:
        self._cases = inner.cases
        self._parts = closed.Parts(inner.train, inner.cases.history, FADES, say)

    def judge(self, recipe: Recipe) -> float:
        """The mean over the inner cases."""
        return float(metrics.sampled_hit(metrics.places(self.scores(recipe), self._cases)).mean())

    def scores(self, recipe: Recipe) -> np.ndarray:
        """f32[M, I], what a recipe says of the inner cases."""
        return self._parts.scores(recipe)

    def tune(self, start: Recipe, grid: Grid, sweeps: int = 2) -> Recipe:
        """The best recipe found: one field after another is set to its best value, again and again."""
        best, worth = start, self.judge(start)
        for _ in range(sweeps if len(grid) > 1 else 1):
            before = best
            for field, values in grid.items():
                for value in values:
                    tried = dataclasses.replace(best, **{field: value})
                    found = self.judge(tried)
                    if found > worth + 1e-12:
                        best, worth = tried, found
            if best == before:
                break
        return best


FADES = (1.0, 0.9, 0.8, 0.7, 0.5)
SHRINKAGES = (0.0, 10.0, 30.0)
NEAREST = (50.0, 100.0, 200.0, np.inf)
REGULARISATIONS = (50.0, 100.0, 200.0, 500.0, 1000.0)
POPULARITIES = (-0.03, -0.01, -0.003, -0.001, 0.0, 0.003, 0.01, 0.03, 0.1)
WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)  # of a part beside EASE


def recipes(
    inner: Inner,
    say: Callable[[str], None] = lambda text: None,
    regularisations: Sequence[float] = REGULARISATIONS,
    bench: Bench | None = None,
) -> dict[str, Recipe]:
    """Every row's recipe, tuned on an inner split.

    Args: regularisations, of EASE that are tried. bench: that of the inner split, if it is to be asked again.
    """
    bench = Bench(inner, say) if bench is None else bench
    knn = bench.tune(Recipe(neighbours=1.0), {"nearest": NEAREST, "shrinkage": SHRINKAGES})
    order = {"rare": SHRINKAGES, "fade": FADES}
    transitions = bench.tune(Recipe(transitions=1.0, fade=0.8), order)
    ease = bench.tune(Recipe(ease=1.0), {"regularisation": regularisations})
    ease_pop = bench.tune(ease, {"popularity": POPULARITIES, "regularisation": regularisations})
    start = dataclasses.replace(
        ease_pop, transitions=0.2, rare=transitions.rare, fade=0.8, shrinkage=knn.shrinkage, nearest=knn.nearest
    )
    every = {
        "fade": FADES, "transitions": WEIGHTS, "popularity": POPULARITIES, "neighbours": WEIGHTS,
        "regularisation": regularisations, "rare": SHRINKAGES,
    }  # fmt: skip
    return {
        "random": closed.RANDOM,
        "popularity": closed.POPULARITY,
        "item_knn": knn,
        "transitions": transitions,
        "ease_200": Recipe(ease=1.0, regularisation=200.0),
        "ease": ease,
        "ease_pop": ease_pop,
        "ease_seq": bench.tune(start, every, sweeps=3),
    }
