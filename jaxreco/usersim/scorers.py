"""Who says how likely users are to take items: the protocol of every row, and closed forms.

A scorer is fitted to a log and then asked about other people's histories. Any user model is one more class with `fit`;
`jaxreco.usersim.models` makes yes and no of scores.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Protocol

import numpy as np

from jaxreco.content import collaborative
from jaxreco.content.known import labels, unit
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.ranking import closed
from jaxreco.ranking.closed import Recipe


class Fitted(Protocol):
    """What a scorer has learned."""

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """f32[M, N], the higher the likelier, of candidates i32[M, N] after histories i32[M, H].

        The latest of a history is last, -1 comes before the first. A score must not hang on the other candidates, nor on
        their order.
        """
        ...


class Scorer(Protocol):
    """Something that can be fitted to people's events. Equal scorers are fitted once: it is a frozen dataclass, or hashes as one.

    A class whose `slow` is true may have what it says kept in a file, by its `repr`.
    """

    def fit(self, train: Log) -> Fitted:
        """Learn from all events of a log; those who are asked about later are not in it."""
        ...


@dataclasses.dataclass(frozen=True)
class Always:
    """The same of all items."""

    def fit(self, train: Log) -> Always:
        """Nothing is learned."""
        return self

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """f32[M, N], zeros."""
        return np.zeros(candidates.shape, np.float32)


@dataclasses.dataclass(frozen=True)
class Popularity:
    """The log of an item's share of the people: (1 + takers) / (1 + people)."""

    def fit(self, train: Log) -> ByItem:
        """Count."""
        return ByItem(closed.takers(train) - np.float32(np.log1p(len(np.unique(train.user)))))


@dataclasses.dataclass(frozen=True, eq=False)
class ByItem:
    """One score f32[I] an item, whoever asks."""

    said: np.ndarray

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """f32[M, N]."""
        return self.said[candidates]


@dataclasses.dataclass(frozen=True)
class Length:
    """The log of how many items the history holds, of all items alike: what a score is worth may hang on it."""

    def fit(self, train: Log) -> Length:
        """Nothing is learned."""
        return self

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """f32[M, N]."""
        length = np.log1p((history >= 0).sum(axis=1, dtype=np.float32))
        return np.broadcast_to(length[:, None], candidates.shape)


@dataclasses.dataclass(frozen=True)
class Closed:
    """A closed form of `jaxreco.ranking.closed`: EASE, item-kNN, transitions, or a sum of them.

    Args:
      standard: in standard deviations from the mean over the catalog, so that long and short histories say as much.
      backwards: the weights between items the other way round: what usually comes before.
    """

    recipe: Recipe
    standard: bool = False
    backwards: bool = False

    def fit(self, train: Log) -> Among:
        """The weights between items."""
        fitted = dataclasses.replace(_fitted(train, dataclasses.replace(self.recipe, fade=1.0)), fade=self.recipe.fade)
        if self.backwards:
            fitted = dataclasses.replace(fitted, between=fitted.between.T)
        return Among(fitted, self.standard)


@functools.lru_cache(maxsize=3)  # slow to fit and large: forms that differ in other things have one in common
def _fitted(train: Log, recipe: Recipe) -> closed.Fitted:
    return closed.fit(train, recipe)


@dataclasses.dataclass(frozen=True, eq=False)
class Among:
    """What a closed form says of all items, at the candidates."""

    fitted: closed.Fitted
    standard: bool

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """f32[M, N]."""
        said = self.fitted.scores(history)
        found = np.take_along_axis(said, candidates, axis=1)
        if not self.standard:
            return found
        mean, spread = (of(said, axis=1, keepdims=True) for of in (np.mean, np.std))
        return (found - mean) / np.maximum(spread, 1e-9)


@dataclasses.dataclass(frozen=True)
class Factors:
    """Cosine between an item's factors and the sum of those of the history. `width` is less where a log cannot fill it."""

    width: int = 64

    def fit(self, train: Log) -> Alike:
        """Truncated SVD of who took what."""
        return Alike(collaborative.factors(train, min(self.width, train.n_users - 1, train.n_items - 1)))


@dataclasses.dataclass(frozen=True)
class Content:
    """Cosine between what is known of an item and the sum of that of the history: see `labels`."""

    def fit(self, train: Log) -> Alike:
        """Nothing is learned. Raises DataError for a log of whose items nothing is known."""
        vectors = labels(train.items)
        if vectors is None:
            raise DataError(f"{train.name} says nothing of its items: leave content out.")
        return Alike(vectors)


@dataclasses.dataclass(frozen=True, eq=False)
class Alike:
    """Vectors f32[I, D] of items, of length 1 or 0."""

    vectors: np.ndarray

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """f32[M, N], from -1 to 1; 0 where a vector is 0."""
        taste = closed.faded(history, len(self.vectors), 1.0) @ self.vectors
        return np.take_along_axis(unit(taste) @ self.vectors.T, candidates, axis=1)
