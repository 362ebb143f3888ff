"""User models made of scorers: the best of several, or a logistic regression on what they say.

What is chosen is chosen by held-out users of the training part, whom the scorers were not fitted to. Then the scorers are
fitted again, to the whole training part, and asked about the people who are tested.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from jaxreco import files
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.usersim import decisions, logistic
from jaxreco.usersim.cases import Cases
from jaxreco.usersim.decisions import Scores
from jaxreco.usersim.negatives import RATIOS
from jaxreco.usersim.scorers import Closed, Scorer


class Asked:
    """People and items that scorers are asked about, and a log without those people, which they are fitted to: once each."""

    def __init__(
        self,
        train: Log,
        cases: Cases,
        negatives: Mapping[str, np.ndarray],
        place: Callable[[Scorer], pathlib.Path | None] = lambda scorer: None,
    ) -> None:
        """Negatives i32[R, M, N] by protocol, -1 for none. `place`: the file in which a scorer's answers are kept, if they are."""
        self.train, self.cases, self.protocols, self._place_of = train, cases, tuple(negatives), place
        self._shapes = {protocol: drawn.shape for protocol, drawn in negatives.items()}
        tables = [cases.positives, *(np.concatenate(list(drawn), axis=1) for drawn in negatives.values())]
        ends = np.cumsum([table.shape[1] for table in tables])
        self._columns = {protocol: slice(*ends[at : at + 2]) for at, protocol in enumerate(negatives)}
        self._table = np.concatenate(tables, axis=1)
        self._items, self._place = distinct(self._table)
        self._said: dict[Scorer, np.ndarray] = {}
        self._worth: dict[Scorer, float] = {}

    def scores(self, scorer: Scorer, protocol: str) -> Scores:
        """What a scorer says of the positives and of a protocol's negatives.

        Raises DataError for scores that are not a number for each candidate.
        """
        if scorer not in self._said:
            self._said[scorer] = self._kept(scorer)
        redraws, n_users, width = self._shapes[protocol]
        negative = self._said[scorer][:, self._columns[protocol]].reshape(n_users, redraws, width)
        return Scores(self._said[scorer][:, : self.cases.positives.shape[1]], negative.transpose(1, 0, 2))

    def _kept(self, scorer: Scorer) -> np.ndarray:
        """What it said before, or says now; a file that cannot be read is written again."""
        path = self._place_of(scorer)
        if path is None:
            return self._ask(scorer)
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            said = self._ask(scorer)
        with files.written_whole(path) as file:
            np.save(file, said, allow_pickle=False)
        return said

    def _ask(self, scorer: Scorer) -> np.ndarray:
        """f32[M, ...]: a column for each positive and negative, NaN for none."""
        said = np.asarray(scorer.fit(self.train).scores(self.cases.history, self._items), np.float32)
        if said.shape != self._items.shape or not np.isfinite(said).all():
            raise DataError(
                f"{scorer} gave scores of shape {said.shape} for candidates of shape {self._items.shape}, "
                f"{int((~np.isfinite(said)).sum())} of them not finite: a score is one finite number a candidate."
            )
        return np.where(self._table >= 0, np.take_along_axis(said, self._place, axis=1), np.float32(np.nan))

    def worth(self, scorer: Scorer) -> float:
        """F1 of a scorer with the best thresholds, averaged over protocols and ratios."""
        if scorer not in self._worth:
            every = [self.scores(scorer, protocol).at(ratio) for protocol in self.protocols for ratio in RATIOS]
            found = [decisions.counts(scores, decisions.threshold(scores)).f1() for scores in every]
            self._worth[scorer] = float(np.mean(found))
        return self._worth[scorer]


def distinct(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row's items once, ascending, i32[M, D], and where those of i32[M, N] are among them, i64[M, N].

    Then neither the order of items nor a repetition tells which were taken. Short rows are filled with their last item; -1
    is nowhere.
    """
    rows = [np.unique(row[row >= 0]) for row in table]
    items = np.zeros((len(rows), max(map(len, rows), default=0)), np.int32)
    place = np.zeros(table.shape, np.int64)
    for at, row in enumerate(rows):
        items[at, : len(row)], items[at, len(row) :] = row, row[-1]
        place[at] = np.searchsorted(row, np.maximum(table[at], row[0]))
    return items, place


class Learned(Protocol):
    """A user model when all is chosen but the threshold."""

    def scores(self, asked: Asked, protocol: str) -> Scores:
        """The higher, the likelier a yes."""
        ...


class Model(Protocol):
    """A row of the table."""

    def learn(self, held: Asked) -> Learned:
        """Choose what there is to choose by held-out users."""
        ...


@dataclasses.dataclass(frozen=True)
class Said:
    """What one scorer says."""

    scorer: Scorer

    def scores(self, asked: Asked, protocol: str) -> Scores:
        """As it is."""
        return asked.scores(self.scorer, protocol)


@dataclasses.dataclass(frozen=True)
class Best:
    """The scorer whose answers are best (`Asked.worth`), or the only one."""

    options: tuple[Scorer, ...]

    def learn(self, held: Asked) -> Said:
        """The choice; of equals the first."""
        return Said(self.options[0] if len(self.options) == 1 else max(self.options, key=held.worth))


@dataclasses.dataclass(frozen=True)
class Form:
    """Another form of the closed form that is chosen of several: what is slow to fit is fitted once."""

    of: tuple[Closed, ...]
    standard: bool = False
    fade: float = 1.0

    def learn(self, held: Asked) -> Said:
        """That form of the choice."""
        chosen = max(self.of, key=held.worth)
        return Said(Closed(dataclasses.replace(chosen.recipe, fade=self.fade), self.standard))


@dataclasses.dataclass(frozen=True)
class Logistic:
    """A logistic regression on what several models say, for each protocol. With `products` also on those of any two."""

    parts: tuple[Best | Form, ...]
    products: bool = False

    def learn(self, held: Asked) -> Weighed:
        """The weights."""
        weighed = Weighed(tuple(part.learn(held).scorer for part in self.parts), self.products, {})
        for protocol in held.protocols:
            good, *bad = (x[~np.isnan(x[..., 0])] for x in weighed.features(held, protocol))
            features = np.concatenate([good, *bad])
            taken = np.arange(len(features)) < len(good)
            weighed.weights[protocol] = logistic.fit(features, taken, np.where(taken, 1.0, 1.0 / len(bad)))
        return weighed


@dataclasses.dataclass(frozen=True, eq=False)
class Weighed:
    """A logistic regression with its weights by protocol."""

    parts: tuple[Scorer, ...]
    products: bool
    weights: dict[str, logistic.Weights]

    def features(self, asked: Asked, protocol: str) -> Iterator[np.ndarray]:
        """f64[M, P, F] of the positives, and then f64[M, N, F] of the negatives of each redraw."""
        said = [asked.scores(part, protocol) for part in self.parts]
        yield self._more([one.positive for one in said])
        for redraw in range(len(said[0].negative)):
            yield self._more([one.negative[redraw] for one in said])

    def _more(self, said: Sequence[np.ndarray]) -> np.ndarray:
        found = np.stack(said, axis=-1).astype(np.float64)
        if not self.products:
            return found
        one, other = np.triu_indices(found.shape[-1])
        return np.concatenate([found, found[..., one] * found[..., other]], axis=-1)

    def scores(self, asked: Asked, protocol: str) -> Scores:
        """The log-odds."""
        positive, *negative = (self.weights[protocol].log_odds(x) for x in self.features(asked, protocol))
        return Scores(positive, np.stack(negative))
