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
from jaxreco.fit import events as reading
from jaxreco.fit import moments, regression
from jaxreco.fit.fitting import Task
from jaxreco.fit.moments import BATCH, Hidden
from jaxreco.users.asking import ASKS, REACH, SEEN, Asking, seen
from jaxreco.users.network import UserNetwork

Array = jax.Array

FEWEST = 5  # events before and after a point, of at most REACH
EVERY = 10  # events from point to point in a log that knows neither sessions nor times
ENOUGH = 200  # points, for fewer teach nothing
MOST = 20_000  # points that a decoder is fitted to, about; whole people, drawn evenly
SHORT = 1e-6  # by less two changes do not differ
RIDGE = 1.0


class Points(NamedTuple):
    """Where somebody disengaged, and what it would have asked for. `M` of them, by person and time."""

    person: np.ndarray  # i64[M]
    events: np.ndarray  # i64[M], that the person has behind it
    before: np.ndarray  # i64[M, C], the last events of each category
    after: np.ndarray  # i64[M, C], the next ones
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
    return Points(person, row - first, before, after, label).of(size > SHORT)


def few(points: Points, seed: int = 0) -> Points:
    """About MOST of them at most, of whole people."""
    share = MOST / max(len(points.person), 1)
    if share >= 1.0:
        return points
    people = np.random.default_rng(seed).permutation(np.unique(points.person))
    return points.of(np.isin(points.person, people[: max(1, int(share * len(people)))]))


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


# -- what the network says of them ---------------------------------------------------------------------------


class Ahead(NamedTuple):
    """What the network foresees at points, and how well. `M` rows."""

    chance: np.ndarray  # f64[M, C], that the next item is of each category
    nats: np.ndarray  # f64[M], log-likelihood of the next events, each as if it were the next


def ahead(found: Hidden, points: Points, item: np.ndarray, category: np.ndarray) -> Ahead:
    """At each of the points. Args: found, of their people. item i32[N], of the events of the log. category i32[I]."""
    states, last = found.at(points.person, points.events), found.bounds[points.person + 1]
    at = (found.bounds[points.person] + points.events)[:, None] + np.arange(REACH)
    following = np.where(at < last[:, None], item[np.minimum(at, len(item) - 1)], -1)
    member = np.eye(points.after.shape[1], dtype=np.float32)[category]
    parts = [
        _ahead(states[begin : begin + BATCH], following[begin : begin + BATCH], found.vector, found.bias, member)
        for begin in range(0, len(states), BATCH)
    ]
    chance, nats = (np.concatenate([np.asarray(x, np.float64) for x in column]) for column in zip(*parts, strict=True))
    return Ahead(chance, nats)


@jax.jit
def _ahead(states: Array, item: Array, vector: Array, bias: Array, member: Array) -> tuple[Array, Array]:
    """(f32[B, C], f32[B]) as in `Ahead`. item i32[B, REACH], -1 where there is none."""
    every = jax.nn.log_softmax(states @ vector.T + bias)
    found = jnp.take_along_axis(every, jnp.maximum(item, 0), axis=1)
    return jnp.exp(every) @ member, jnp.sum(jnp.where(item >= 0, found, 0.0), axis=1)


# -- the decoder ---------------------------------------------------------------------------------------------


def learn(network: UserNetwork, task: Task, log: Log, category: np.ndarray, n_categories: int) -> Asking | None:
    """The decoder of a network and the people whom it was fitted to; None where they disengaged at fewer than ENOUGH points.

    Args: task: with the events of the log. category i32[I], of items, below C.
    """
    taken, (fitted, held) = reading.taken(log), task.people
    every = points(taken, category, n_categories)
    every = few(every.of(np.isin(every.person, np.union1d(fitted, held))))
    held_back = np.isin(every.person, held)
    if len(every.person) < ENOUGH or not held_back.any():
        return None
    found = moments.hidden(network, task, log, np.unique(every.person))
    return fit(every, ahead(found, every, taken.item, category).chance, held_back)


def fit(points: Points, chance: np.ndarray, held: np.ndarray) -> Asking:
    """The decoder of the greatest likelihood, on all but those points that are held back, bool[M], which say how far to trust it.

    It begins from how often each sentence is the label; what the network foresees, f64[M, C], and what was taken lately move it.
    """
    usual = np.log(base_rate(points.label[~held], chance.shape[1]))
    with jax.enable_x64(True):
        given = tuple(jnp.asarray(x) for x in (usual, _seen(chance, points), points.label))
        begin = {"weight": jnp.zeros((len(ASKS), SEEN)), "bias": jnp.zeros(len(usual))}
        train = (given[0], *(x[np.flatnonzero(~held)] for x in given[1:]))
        found = jax.tree.map(np.asarray, regression.least(lambda change: _penalised(change, *train), begin))
        moves = np.asarray(_moves(found, given[1]))
    stretch = _stretch(moves[held], points.label[held], usual)
    bias = usual + stretch * found["bias"]
    return Asking(jnp.asarray(stretch * found["weight"], jnp.float32), jnp.asarray(bias, jnp.float32))


def base_rate(label: np.ndarray, n_categories: int) -> np.ndarray:
    """f64[S]: how often each sentence is the label; none is impossible."""
    count = np.bincount(label, minlength=len(ASKS) * n_categories) + 1.0
    return count / count.sum()


def log_probabilities(asking: Asking, points: Points, chance: np.ndarray) -> np.ndarray:
    """f64[M, S]: of every sentence at every point."""
    found = jax.jit(Asking.log_probabilities)(
        asking, jnp.asarray(chance, jnp.float32), jnp.asarray(lately(points), jnp.float32)
    )
    return np.asarray(found, np.float64)


def lately(points: Points) -> np.ndarray:
    """f64[M, C]: share of each category in the last events."""
    return points.before / points.before.sum(axis=1, keepdims=True)


def draw(log_chance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """i64[M]: a sentence a row of f64[M, S]."""
    upto = np.exp(log_chance).cumsum(axis=1)
    return np.minimum((upto <= rng.random((len(upto), 1)) * upto[:, -1:]).sum(axis=1), upto.shape[1] - 1)


def _seen(chance: np.ndarray, points: Points) -> Array:
    return seen(jnp.asarray(chance), jnp.asarray(lately(points)))


def _moves(change: Any, seen: Array) -> Array:
    """f[M, S]: by how much the logits of sentences differ from those of their base rate."""
    moves = jnp.einsum("mcn,in->mic", seen, change["weight"])
    return moves.reshape(len(seen), -1) + change["bias"]


@jax.jit
@jax.value_and_grad
def _penalised(change: Any, usual: Array, seen: Array, label: Array) -> Array:
    every = jax.nn.log_softmax(usual + _moves(change, seen))
    doubt = sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(change))
    return 0.5 * RIDGE * doubt - jnp.sum(every[jnp.arange(len(label)), label])


def _stretch(moves: np.ndarray, label: np.ndarray, usual: np.ndarray) -> float:
    """By how much moves f64[M, S] are best multiplied: a maximum a posteriori estimate around 1."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log: float) -> float:
        every = log_softmax(usual + np.exp(log) * moves, axis=1)
        return float(0.5 * regression.CERTAIN["stretch"] * log**2 - every[np.arange(len(label)), label].sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 1.0), method="bounded").x))
