"""Closed-form recommenders of logs: what comes next is a sum of what the items just taken say, and of popularity.

Every row of the trivial and closed-form baselines is one such sum: popularity alone, item-kNN (cosine with shrinkage,
Deshpande & Karypis 2004), EASE (Steck 2019), transitions (item-to-item co-occurrence in order, the neighbourhood form of
"people who took this then took that"; cf. Ludewig & Jannach 2018, "Evaluation of session-based recommendation
algorithms"), or several with weights. Older items of a history fade. NumPy and SciPy on the host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy.sparse as sparse

from jaxreco.content import collaborative
from jaxreco.data.log import Log
from jaxreco.ranking.cases import VISIBLE

REACH_FADE = 0.8  # what a pair counts for with every item that lies between its two


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is summed. A weight of 0 leaves a part out.

    Args:
      neighbours, ease, transitions, popularity: weights of the parts; that of log(1 + takers) may be negative.
      shrinkage: takers, and nearest: neighbours that an item listens to, of item-kNN. regularisation: of EASE. rare: takers, the shrinkage of transitions.
      fade: weight of an item of the history for each that came after it.
    """

    neighbours: float = 0.0
    ease: float = 0.0
    transitions: float = 0.0
    popularity: float = 0.0
    shrinkage: float = 10.0
    nearest: float = np.inf
    regularisation: float = 200.0
    rare: float = 10.0
    fade: float = 1.0


# The parts, and what else each hangs on.
PARTS = {"neighbours": ("shrinkage", "nearest"), "ease": ("regularisation",), "transitions": ("rare",)}
RANDOM = Recipe()  # nothing is said: ties decide
POPULARITY = Recipe(popularity=1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A recipe's weights between items, and of items. `I` items."""

    between: np.ndarray | sparse.csr_matrix  # f32[I, I]: what having the row's item says for the column's
    alone: np.ndarray  # f32[I]
    fade: float

    def scores(self, history: np.ndarray) -> np.ndarray:
        """f32[M, I], the higher the likelier, of histories i32[M, H], the latest last, -1 before the first."""
        return _dense(faded(history, len(self.alone), self.fade) @ self.between) + self.alone


def fit(log: Log, recipe: Recipe) -> Fitted:
    """The recipe's weights, learned from all events of a log in which users' events are in their order."""
    between: np.ndarray | sparse.csr_matrix = sparse.csr_matrix((log.n_items, log.n_items), dtype=np.float32)
    for part in PARTS:
        weight = getattr(recipe, part)
        if weight:
            between = weight * weights(log, part, recipe) + between
    return Fitted(
        np.asarray(between) if not sparse.issparse(between) else between, recipe.popularity * takers(log), recipe.fade
    )


class Parts:
    """What a log's recipes say of some histories i32[M, H]. Each part is worked out once, however many recipes have it.

    Args: fades, that recipes will ask for: weights between items are too large to keep until one does.
    """

    def __init__(
        self, log: Log, history: np.ndarray, fades: Iterable[float], say: Callable[[str], None] = lambda text: None
    ) -> None:
        self._log, self._history, self._fades, self._say = log, history, set(fades), say
        self._alone = takers(log)
        self._said: dict[tuple[str, tuple[float, ...]], dict[float, np.ndarray]] = {}

    def scores(self, recipe: Recipe) -> np.ndarray:
        """f32[M, I], those of the fitted recipe."""
        total = np.tile(recipe.popularity * self._alone, (len(self._history), 1)).astype(np.float32)
        for part in PARTS:
            weight = np.float32(getattr(recipe, part))
            if weight:
                total += weight * self._part(part, recipe)
        return total

    def _part(self, part: str, recipe: Recipe) -> np.ndarray:
        settings = tuple(getattr(recipe, knob) for knob in PARTS[part])
        known = self._said.setdefault((part, settings), {})
        if recipe.fade not in known:
            told = ", ".join(f"{knob} {setting:g}" for knob, setting in zip(PARTS[part], settings, strict=True))
            self._say(f"{part}, {told}")
            between = weights(self._log, part, recipe)
            for fade in {*self._fades, recipe.fade}:
                known[fade] = _dense(faded(self._history, len(self._alone), fade) @ between)
        return known[recipe.fade]


def weights(log: Log, part: str, recipe: Recipe) -> np.ndarray | sparse.csr_matrix:
    """f32[I, I]: one part's weights between items. Args: part, one of PARTS."""
    if part == "neighbours":
        return collaborative.cosine(_table(log), recipe.shrinkage, recipe.nearest)
    if part == "ease":
        return collaborative.ease(_table(log), recipe.regularisation)
    return transitions(log, recipe.rare)


def takers(log: Log) -> np.ndarray:
    """f32[I]: log(1 + the number of users who took an item)."""
    return np.log1p(np.asarray(collaborative.interactions(log).sum(axis=0)).ravel()).astype(np.float32)


def transitions(log: Log, rare: float = 10.0) -> sparse.csr_matrix:
    """f32[I, I]: how much oftener than their sizes tell the column's item came after the row's, within VISIBLE steps.

    sum(REACH_FADE^(steps - 1)) over all such pairs, by sqrt(n_i n_j) + rare, where n is how often an item was taken.
    """
    count = np.bincount(log.item, minlength=log.n_items).astype(np.float64)
    pairs = sparse.csr_matrix((log.n_items, log.n_items), dtype=np.float64)
    for steps in range(1, VISIBLE + 1):
        same = log.user[steps:] == log.user[:-steps]
        before, after = log.item[:-steps][same], log.item[steps:][same]
        worth = np.full(len(before), REACH_FADE ** (steps - 1))
        pairs = pairs + sparse.csr_matrix((worth, (before, after)), shape=pairs.shape)
    pairs = pairs.tocoo()
    size = np.sqrt(count[pairs.row] * count[pairs.col]) + rare
    return sparse.csr_matrix(((pairs.data / size).astype(np.float32), (pairs.row, pairs.col)), shape=pairs.shape)


def faded(history: np.ndarray, n_items: int, fade: float) -> sparse.csr_matrix:
    """f32[M, I]: fade^(items since) for each item of a history i32[M, H], the sum where it is there again."""
    length = history.shape[1]
    user, place = np.nonzero(history >= 0)
    worth = (fade ** (length - 1.0 - place)).astype(np.float32)
    return sparse.csr_matrix((worth, (user, history[user, place])), shape=(len(history), n_items))


def _table(log: Log) -> sparse.csr_matrix:
    """f32[V, I], a row for each of the V users who are left in a log: empty rows would only slow EASE down."""
    table = collaborative.interactions(log)
    return table[np.flatnonzero(np.diff(table.indptr))]


def _dense(table: Any) -> np.ndarray:
    return table.toarray() if sparse.issparse(table) else np.asarray(table)
