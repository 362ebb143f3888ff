"""What every person of a log said of every item, as one table, and from where on each counts it as liked.

Dense: for logs in which people answered many of few items, such as Jester and Coat. NumPy on the host.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxreco.data.log import Log
from jaxreco.errors import DataError

LARGEST = 500_000_000  # cells of a table: above that the log is not of this kind
LIKED = 0.75  # quantile of a person's own answers from which on an item counts as liked


class Responses(NamedTuple):
    """The table. `U` people of the log, `I` items."""

    value: np.ndarray  # f32[U, I], in the log's own units; 0 where there is no answer
    known: np.ndarray  # bool[U, I]

    def require(self, least: int, name: str) -> np.ndarray:
        """bool[U]: who answered at least so many items. Raises DataError where nobody did. Args: name, of the log."""
        count = self.known.sum(axis=1)
        if not (count >= least).any():
            raise DataError(
                f"Nobody in {name} answered {least} items; the most that anyone did are {count.max(initial=0)}: ask for fewer."
            )
        return count >= least


class Scale(NamedTuple):
    """From which answer on each person clicks, and likes. f32[U]; infinite for people without any answer."""

    click_at: np.ndarray
    like_at: np.ndarray


def responses(log: Log) -> Responses:
    """The answers of a log. Of several by one person to one item the last counts.

    Raises DataError for a log without values or events, with values that are no numbers, or too large for a table.
    """
    if log.value is None:
        raise DataError(f"{log.name} has no value of an event, such as a rating: bring a log that has one.")
    if not len(log):
        raise DataError(f"{log.name} holds no event: there is nothing to replay.")
    if log.n_users * log.n_items > LARGEST:
        raise DataError(
            f"{log.name} has {log.n_users:,} users and {log.n_items:,} items, too many for a table of all pairs: "
            "bring a log in which people answered most of few items."
        )
    if not np.isfinite(log.value).all():
        raise DataError(f"{log.name} has values that are no numbers: mend them.")
    value = np.zeros((log.n_users, log.n_items), np.float32)
    known = np.zeros(value.shape, bool)
    value[log.user, log.item] = log.value
    known[log.user, log.item] = True
    return Responses(value, known)


def own_scale(told: Responses, liked: float = LIKED) -> Scale:
    """Each person's own: a click from its mean answer on, a like from the quantile `liked` of its answers on.

    People use a scale of ratings differently (Koren 2008, section 2.1): what is much for one is little for another.
    """
    values = np.where(told.known, told.value, np.nan).astype(np.float64)
    some = told.known.any(axis=1)
    click, like = np.full(len(values), np.inf), np.full(len(values), np.inf)
    click[some] = np.nanmean(values[some], axis=1)
    like[some] = np.nanquantile(values[some], liked, axis=1)
    # A mean in floating point must not turn a person's only answer into a dislike; nor may a like be less than a click.
    click = np.where(some, np.nextafter(click.astype(np.float32), np.float32(-np.inf)), np.inf).astype(np.float32)
    return Scale(click, np.maximum(like.astype(np.float32), click))


def above_own_mean(told: Responses) -> np.ndarray:
    """f64[U, I]: answers above the person's own mean, 0 where there is none."""
    count = np.maximum(told.known.sum(axis=1, keepdims=True), 1)
    mean = told.value.sum(axis=1, keepdims=True, dtype=np.float64) / count
    return np.where(told.known, told.value - mean, 0.0)
