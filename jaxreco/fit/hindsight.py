"""What people would have asked for, told by what they went to next, and a decoder that learns it from hidden states.

No log here holds instructions. Where a logged user disengaged, the one sentence that says best how the next events differ from
the last ones is what it would have asked for. Such labels teach; they know the outcome, and judge nothing. NumPy on the host.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.data.log import Log
from jaxreco.fit import regression
from jaxreco.users.asking import ASKS, Asking

Array = jax.Array

REACH, FEWEST = 10, 5  # events before and after a point that are compared: at most, and at least
EVERY = 10  # events from point to point in a log that knows neither sessions nor times
RIDGES = (10.0, 100.0, 1000.0, 10_000.0)
SHORT = 1e-6  # by less two changes do not differ


class Points(NamedTuple):
    """Where somebody disengaged, and what it would have asked for. `M` of them, by person and time."""

    person: np.ndarray  # i64[M]
    events: np.ndarray  # i64[M], that the person has behind it
    label: np.ndarray  # i64[M], place among the sentences of `Asking`

    def of(self, chosen: np.ndarray) -> Points:
        """Some of them."""
        return Points(*(column[chosen] for column in self))


def points(log: Log, category: np.ndarray, n_categories: int) -> Points:
    """The points of a log of events (`events.taken`) at which something changed.

    They are the ends of sessions; in a log without sessions and times, every EVERY events. One without FEWEST events on each
    side is left out, and one after which the same categories are taken equally often.

    Args: category i32[I], of items, below C.
    """
    row = _ends(log)
    person = log.user[row].astype(np.int64)
    first, last = log.bounds[person], log.bounds[person + 1]
    many = (row - first >= FEWEST) & (last - row >= FEWEST)
    row, person, first, last = row[many], person[many], first[many], last[many]
    kind = category[log.item]
    before = counts(kind, np.maximum(row - REACH, first), row, n_categories)
    after = counts(kind, row, np.minimum(row + REACH, last), n_categories)
    label, size = labels(before, after, np.bincount(kind, minlength=n_categories))
    return Points(person, row - first, label).of(size > SHORT)


def _ends(log: Log) -> np.ndarray:
    """i64[M]: rows that are the first of a session, and not of a person."""
    number = np.arange(len(log)) - log.bounds[log.user]
    if log.session is None and log.time is None:
        return np.flatnonzero((number > 0) & (number % EVERY == 0))
    session: Any = log.in_sessions().session
    return np.flatnonzero((number > 0) & (np.diff(session, prepend=-1) != 0))


def counts(kind: np.ndarray, start: np.ndarray, end: np.ndarray, n_categories: int) -> np.ndarray:
    """i64[M, C]: events of each category among rows from start i64[M] to before end i64[M], at most REACH. kind i32[N], of events."""
    at = start[:, None] + np.arange(REACH)
    there = at < end[:, None]
    cell = np.arange(len(start))[:, None] * n_categories + kind[np.minimum(at, len(kind) - 1)]
    return np.bincount(cell[there], minlength=len(start) * n_categories).reshape(len(start), n_categories)


def labels(before: np.ndarray, after: np.ndarray, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(sentence i64[M], change f64[M]): the category whose share changes most; more of it where it gains, less where it loses.

    Where changes are as large, a gain says more than a loss, and what is rare says most.

    Args: before, after: i64[M, C], events. often: i64[C], how often each is taken.
    """
    change = after / after.sum(axis=1, keepdims=True) - before / before.sum(axis=1, keepdims=True)
    share = often / max(often.sum(), 1)
    size = np.concatenate([change, -change], axis=1)
    order = np.round(size / SHORT) - np.concatenate([share, 1.0 + share]) / 4.0
    label = order.argmax(axis=1)
    return label, size[np.arange(len(label)), label]


# -- the decoder ---------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """Labels with the hidden states at their points. `M` rows."""

    hidden: np.ndarray  # f32[M, d]
    label: np.ndarray  # i64[M]


def fit(rows: Rows, held: Rows, n_categories: int) -> Asking:
    """The decoder of the greatest likelihood under a ridge, which people held back choose; they also say how far to trust it.

    It begins from how often each sentence is the label, and hidden states move it from there. Those of people whom the network was
    fitted to say more than others' do, so that only people held back can tell the ridge and the stretch of what they say.
    """
    share = base_rate(rows.label, n_categories)
    mean, spread = rows.hidden.mean(axis=0), np.maximum(rows.hidden.std(axis=0), 1e-6)
    scaled = (rows.hidden - mean) / spread
    found = []
    for ridge in RIDGES:
        weight = _solve(scaled, rows.label, np.log(share), ridge)
        moves = ((held.hidden - mean) / spread) @ weight[:, :-1].T + weight[:, -1]
        stretch, nats = _stretch(moves, held.label, np.log(share))
        found.append((nats, stretch * weight))
    weight = max(found, key=lambda each: each[0])[1]
    of_hidden = weight[:, :-1] / spread
    bias = np.log(share) + weight[:, -1] - of_hidden @ mean
    return Asking(jnp.asarray(of_hidden, jnp.float32), jnp.asarray(bias, jnp.float32))


def base_rate(label: np.ndarray, n_categories: int) -> np.ndarray:
    """f64[S]: how often each sentence is the label; none is impossible."""
    count = np.bincount(label, minlength=len(ASKS) * n_categories) + 1.0
    return count / count.sum()


def log_probabilities(asking: Asking, hidden: np.ndarray) -> np.ndarray:
    """f64[M, S] after hidden f32[M, d]."""
    return np.asarray(jax.jit(Asking.log_probabilities)(asking, jnp.asarray(hidden)), np.float64)


def draw(log_chance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """i64[M]: a sentence a row of f64[M, S]."""
    upto = np.exp(log_chance).cumsum(axis=1)
    return np.minimum((upto <= rng.random((len(upto), 1)) * upto[:, -1:]).sum(axis=1), upto.shape[1] - 1)


def _solve(hidden: np.ndarray, label: np.ndarray, prior: np.ndarray, ridge: float) -> np.ndarray:
    """f64[S, d + 1]: weights of hidden states f[M, d], and of a column of ones."""
    columns = np.append(hidden, np.ones((len(hidden), 1)), axis=1)
    with jax.enable_x64(True):
        given = tuple(jnp.asarray(x) for x in (columns.astype(np.float64), label, prior))
        begin = jnp.zeros((len(prior), columns.shape[1]))
        return np.asarray(regression.least(lambda weight: _penalised(weight, *given, ridge), begin))


@jax.jit
@jax.value_and_grad
def _penalised(weight: Array, columns: Array, label: Array, prior: Array, ridge: float) -> Array:
    every = jax.nn.log_softmax(columns @ weight.T + prior)
    return 0.5 * ridge * jnp.sum(jnp.square(weight)) - jnp.sum(every[jnp.arange(len(label)), label])


def _stretch(moves: np.ndarray, label: np.ndarray, prior: np.ndarray) -> tuple[float, float]:
    """(stretch, log-likelihood) of what hidden states say f64[M, S], a maximum a posteriori estimate around 1."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def nats(log: float) -> float:
        return float(log_softmax(prior + np.exp(log) * moves, axis=1)[np.arange(len(label)), label].sum())

    doubt = regression.CERTAIN["stretch"]
    best = minimize_scalar(lambda log: 0.5 * doubt * log**2 - nats(log), bounds=(-5.0, 1.0), method="bounded").x
    return float(np.exp(best)), nats(float(best))
