"""Is an instruction worth hearing? The likelihood of what a person takes next, given what it asked for.

The network's word on item `i` is `s_i`; an instruction about category `c` adds a weight to all items of it, and

    log p(i | more c) = s_i + w_more [i in c] - log sum_j exp(s_j + w_more [j in c]).

With `q` the network's chance of the category, `n` events ahead and `k` of them in it, they gain `k w - n log(1 + q (e^w - 1))`:
nothing else of the catalog matters. There is one weight for each intent. NumPy on the host.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.fit import hindsight
from jaxreco.fit.hindsight import REACH, Points
from jaxreco.fit.moments import BATCH, Hidden
from jaxreco.users.asking import ASKS

Array = jax.Array

STRONGEST = 10.0  # weights lie within so much of 0
DOUBT = 1.0  # inverse variance of a weight before any row


class Ahead(NamedTuple):
    """What follows after points, and what the network foresaw there. `M` rows."""

    chance: np.ndarray  # f64[M, C], that the next item is of each category
    taken: np.ndarray  # i64[M, C], of the next events, at most REACH
    nats: np.ndarray  # f64[M], their log-likelihood without an instruction


def ahead(found: Hidden, states: np.ndarray, points: Points, item: np.ndarray, category: np.ndarray) -> Ahead:
    """After points with hidden states f32[M, d]. Args: item i32[N], of the events of the log. category i32[I]."""
    n_categories = int(category.max()) + 1
    first, last = found.bounds[points.person], found.bounds[points.person + 1]
    row = first + points.events
    taken = hindsight.counts(category[item], row, np.minimum(row + REACH, last), n_categories)
    at = row[:, None] + np.arange(REACH)
    next_items = np.where(at < last[:, None], item[np.minimum(at, len(item) - 1)], -1)
    member = np.eye(n_categories, dtype=np.float32)[category]
    parts = []
    for begin in range(0, len(row), BATCH):
        here = slice(begin, begin + BATCH)
        parts.append(
            [np.asarray(x) for x in _outlook(states[here], next_items[here], found.vector, found.bias, member)]
        )
    chance, nats = (np.concatenate(columns).astype(np.float64) for columns in zip(*parts, strict=True))
    return Ahead(chance, taken, nats)


@jax.jit
def _outlook(states: Array, item: Array, vector: Array, bias: Array, member: Array) -> tuple[Array, Array]:
    """(chance f32[B, C], nats f32[B]): of categories next, and of events i32[B, REACH], -1 where there is none."""
    every = jax.nn.log_softmax(states @ vector.T + bias)
    found = jnp.take_along_axis(every, jnp.maximum(item, 0), axis=1)
    return jnp.exp(every) @ member, jnp.sum(jnp.where(item >= 0, found, 0.0), axis=1)


def gain(weight: np.ndarray, asked: np.ndarray, after: Ahead) -> np.ndarray:
    """f64[M]: nats that instructions add to the events after each point.

    Args: weight f64[2], of each of ASKS. asked i64[M], sentences as in `users.asking`.
    """
    chance, inside, number = _about(asked, after)
    mine = weight[asked // after.chance.shape[1]]
    return inside * mine - number * np.log1p(chance * np.expm1(mine))


def fit(asked: np.ndarray, after: Ahead, among: np.ndarray) -> np.ndarray:
    """f64[2]: the weights under which events after some of the points, bool[M], are likeliest; a wide prior is around 0."""
    from scipy.optimize import minimize_scalar

    n_categories, found = after.chance.shape[1], np.zeros(len(ASKS))
    for at in range(len(ASKS)):
        rows = among & (asked // n_categories == at)
        chance, inside, number = (column[rows] for column in _about(asked, after))

        def loss(
            w: float, chance: np.ndarray = chance, inside: np.ndarray = inside, number: np.ndarray = number
        ) -> float:
            nats = inside * w - number * np.log1p(chance * np.expm1(w))
            return float(0.5 * DOUBT * w**2 - nats.sum())

        found[at] = minimize_scalar(loss, bounds=(-STRONGEST, STRONGEST), method="bounded").x
    return found


def crossed(asked: np.ndarray, after: Ahead, half: np.ndarray) -> np.ndarray:
    """f64[M]: the gain, for those in one half bool[M] of the people by the weights of the other half."""
    found = np.zeros(len(asked))
    for judged in (half, ~half):
        weight = fit(asked, after, ~judged)
        found[judged] = gain(weight, asked, after)[judged]
    return found


def shuffled(asked: np.ndarray, person: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """i64[M]: instructions of other people. Nobody gets its own, if no person has more than half of them.

    People are put in a random order, and the list is moved on by as many as the person with most has.
    """
    _, of, count = np.unique(person, return_inverse=True, return_counts=True)
    order = np.argsort(rng.permutation(len(count))[of], kind="stable")
    found = np.empty_like(asked)
    found[order] = np.roll(asked[order], int(count.max(initial=0)))
    return found


def _about(asked: np.ndarray, after: Ahead) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(chance f64[M], events i64[M], all events i64[M]) of the categories that are asked about."""
    row, column = np.arange(len(asked)), asked % after.chance.shape[1]
    return after.chance[row, column], after.taken[row, column], after.taken.sum(axis=1)
