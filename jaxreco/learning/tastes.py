"""What an agent works out about one user's tastes: a Bayesian linear regression of what a slot came to on what the item is.

A taste has a part that lasts and a part that is of this session: what somebody is in the mood for, and how much time there is. So there are
two Gaussians. `now` is learned slot by slot; when the session ends, what it says of the lasting part is kept (the backward step of Rauch,
Tung & Striebel 1965), and the next session begins from there, with doubt added for what that session may be about: the hierarchical linear
model of Lindley & Smith 1972, one group a session. In plain operations: a factorisation by LAPACK on several host devices stopped dead, one
waiting for the other.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import CLICK, EXAMINED, Catalog, Observation
from jaxreco.content.anchors import DURATION, FEATURES
from jaxreco.sparse import rarely
from jaxreco.struct import Struct
from jaxreco.talk.grammar import CAUSES, INTENTS, KIND
from jaxreco.talk.reading import Requests

Array = jax.Array

OUTCOMES = 3  # what is predicted of a slot: watch time, watched fraction, click
FRACTION = 1  # which of them tells where tastes are strong
CLICKED = 2  # and which is the click
USUAL_SHARE = 0.6  # of an item's mean length: the unit of watch time, so that films and clips look alike
RECENT_HOURS = 8.0
MORE = 3  # regressors beside an item's description: 1, recent items of its category, and of its creator

# Standard deviations of weights from session to session, in units of the noise: a session is about some of what one likes, so a weight
# varies by a multiple of itself; the length that is wanted, and how much one is drawn to anything, by a fixed amount.
VARIES, ANYWHERE, LENGTH, MOOD = 2.0, 0.1, 1.0, 0.5

# What is said of lasting tastes, in slots that it is worth: watched to the end, or skipped where negative. What somebody
# asks to see less of it has mostly seen too much of: that is no matter of taste. What delights was watched: known already.
TELLS = {"more": 24.0, "like": 24.0, "elsewhere": 4.0, "off_taste": -4.0}
_TELLS = np.array([TELLS.get(word, 0.0) for word in (*INTENTS, *CAUSES)], np.float32)


class Belief(Struct):
    """A Gaussian over the weights of a regression: one mean for each outcome, a covariance for all. `R` regressors."""

    mean: Array  # f32[OUTCOMES, R]
    covariance: Array  # f32[R, R], in units of the noise

    @classmethod
    def vague(cls, size: int) -> Belief:
        """Of somebody of whom nothing is known, as nobody is: weights N(0, 1)."""
        return cls(jnp.zeros((OUTCOMES, size)), jnp.eye(size))


class Tastes(Struct):
    """What is known of one user. `R` regressors: the item's description, 1, recent items of its category, and of its creator."""

    now: Belief  # in this session
    lasting: Belief  # as it was when this session began
    recent: Array  # f32[C], items shown lately, fading over hours
    clock: Array  # f32[], when this was written

    @classmethod
    def unknown(cls, prior: Belief, n_categories: int) -> Tastes:
        """Of somebody never seen."""
        return cls(_widened(prior), prior, jnp.zeros(n_categories), jnp.float32(0.0))

    @property
    def session(self) -> Array:
        """f32[OUTCOMES, R]: how weights differ, in this session, from what lasts."""
        return self.now.mean - self.lasting.mean


class Named(Struct):
    """Mean descriptions of what can be named, worked out once: to look through a large catalog takes longer than all else in a turn."""

    category: Array  # f32[C, linear]
    tag: Array  # f32[N, linear]
    creator: Array  # f32[N, linear]

    @classmethod
    def of(cls, catalog: Catalog, items: Array) -> Named:
        """On the host. items f32[I, linear], descriptions."""
        labels = {"category": catalog.category[:, None], "tag": catalog.tags, "creator": catalog.creator[:, None]}
        return cls(**{name: _means(np.asarray(label), np.asarray(items)) for name, label in labels.items()})

    def mean(self, kind: Array, target: Array, items: Array) -> Array:
        """f32[linear]: of what a target i32[] of a kind i32[] names; 0 of nothing. items f32[I, linear]."""
        found = jnp.zeros(items.shape[1])
        for name, table in {**vars(self), "item": items}.items():
            row = table[jnp.clip(target, 0, table.shape[0] - 1)]
            found = jnp.where((kind == KIND[name]) & (target >= 0), row, found)
        return found


def _means(label: np.ndarray, items: np.ndarray) -> Array:
    """f32[N, linear]: the mean description of each label's items. label i32[I, G], EMPTY for none."""
    size = max(int(label.max()) + 1, 1)
    total, count = np.zeros((size, items.shape[1])), np.zeros((size, 1))
    for column in label.T:
        there = column >= 0
        np.add.at(total, column[there], items[there])
        np.add.at(count, column[there], 1.0)
    return jnp.asarray(total / np.maximum(count, 1.0), jnp.float32)


def learn(tastes: Tastes, obs: Observation, catalog: Catalog, items: Array) -> Tastes:
    """Tastes after a turn: its slots that were looked at, and, if another session has begun since, what lasts of the one before.

    Args: items f32[I, linear], descriptions.
    """
    item = jnp.maximum(obs.slate, 0)
    looked = ((obs.actions & EXAMINED) != 0).astype(jnp.float32)
    category = catalog.category[item]
    rows = regressors(items[item], tastes.recent[category], _met_before(obs, catalog))
    outcome = outcomes(obs.slate, obs.actions, obs.watch, catalog)
    now = observed(tastes.now, looked[:, None] * rows, looked * outcome)
    another = obs.session_turn == 0
    ended = (now, tastes.lasting)
    now, lasting = rarely(another, _session_over, ended, *ended)
    counts = jnp.sum((category[:, None] == jnp.arange(tastes.recent.shape[0])) * looked[:, None], axis=0)
    return Tastes(now, lasting, fresh(obs.clock - tastes.clock) * (tastes.recent + counts), obs.clock)


def regressors(described: Array, recent: Array, met: Array) -> Array:
    """f32[K, R]: of slots whose items are described f32[K, linear]; recent items f32[K] of the category, and of the creator."""
    return jnp.concatenate([described, jnp.stack([jnp.ones(recent.shape), jnp.log1p(recent), jnp.log1p(met)], -1)], -1)


def outcomes(slate: Array, actions: Array, watch: Array, catalog: Catalog) -> Array:
    """f32[OUTCOMES, K]: watch time in usual ones, share of the item watched, and click, of slots that were looked at."""
    usual = USUAL_SHARE * jnp.mean(catalog.duration)
    duration = catalog.duration[jnp.maximum(slate, 0)]
    return jnp.stack([watch / usual, watch / duration, ((actions & CLICK) != 0).astype(jnp.float32)])


def fresh(hours: Array) -> Array:
    """What is left of an item seen so many hours ago in somebody's appetite for more of its kind."""
    return jnp.exp(-jnp.maximum(hours, 0.0) / RECENT_HOURS)


def _met_before(obs: Observation, catalog: Catalog) -> Array:
    """f32[K]: recent items of each slot's creator when the last slate came."""
    size, past = obs.slate.shape[0], obs.history
    hours = past.age - past.age[-1]  # the last events are of that slate
    weight = jnp.where((past.actions & EXAMINED) != 0, fresh(hours), 0.0)[:-size]
    creator = catalog.creator[jnp.maximum(past.item[:-size], 0)]
    of = catalog.creator[jnp.maximum(obs.slate, 0)]
    return jnp.sum((of[:, None] == creator) * weight, axis=1)


def observed(belief: Belief, rows: Array, outcome: Array) -> Belief:
    """Recursive least squares over the slots of a turn, all at once (Woodbury 1950), noise of variance 1.

    Args: rows f32[K, R], 0 for a slot that teaches nothing. outcome f32[OUTCOMES, K].
    """
    explained = rows @ belief.covariance
    surprise = (outcome - belief.mean @ rows.T).T
    gram = jnp.eye(rows.shape[0]) + explained @ rows.T
    pivot, known = _eliminated(gram, jnp.concatenate([explained, surprise], axis=1))
    known, surprise = known[:, : rows.shape[1]], known[:, rows.shape[1] :]
    scaled = known / pivot[:, None]
    return Belief(belief.mean + surprise.T @ scaled, belief.covariance - scaled.T @ known)


def believe(tastes: Tastes, asked: Requests, named: Named, items: Array) -> Tastes:
    """What was just said of lasting tastes is worth some slots each: more rows of the regression (see TELLS)."""
    names = jnp.append(asked.intent[0] > 0, asked.item[1:] >= 0)
    told = jnp.asarray(_TELLS)[asked.word] * names * (asked.age == 0)
    return tastes.replace(now=rarely(jnp.any(told != 0), _told, tastes.now, asked, told, tastes.now, named, items))


def _told(asked: Requests, told: Array, belief: Belief, named: Named, items: Array) -> Belief:
    """The belief after what was said. told f32[REQUESTS], slots, negative for what is unwanted.

    The regressors are the mean of what was named; the outcome is an item enjoyed to the end, or one skipped.
    """
    rows = items[jnp.maximum(asked.item, 0)].at[0].set(named.mean(asked.target_kind[0], asked.target[0], items))
    rows = jnp.concatenate([rows, jnp.ones((rows.shape[0], 1)), jnp.zeros((rows.shape[0], MORE - 1))], axis=-1)
    often = jnp.sqrt(jnp.abs(told))  # n slots of the same are one slot of sqrt(n) times as much
    return observed(belief, often[:, None] * rows, jnp.broadcast_to(often * (told > 0), (OUTCOMES, told.shape[0])))


def _session_over(now: Belief, lasting: Belief) -> tuple[Belief, Belief]:
    """The next session's belief before its first slate, and what lasts of the one that is over."""
    began = _widened(lasting)
    gain = lasting.covariance @ _inverse(began.covariance)
    change = gain @ (now.covariance - began.covariance) @ gain.T
    kept = Belief(lasting.mean + (now.mean - lasting.mean) @ gain.T, lasting.covariance + 0.5 * (change + change.T))
    return _widened(kept), kept


def _widened(lasting: Belief) -> Belief:
    """The belief with which a session begins: as what lasts, but less sure."""
    size = lasting.mean.shape[1]
    anchors = size - MORE - FEATURES
    varies = ANYWHERE**2 + jnp.square(VARIES * lasting.mean[FRACTION])
    at = jnp.arange(size)
    varies = jnp.where(at < anchors, varies, 0.0)
    varies = jnp.where(at == anchors + DURATION, LENGTH**2, varies)
    varies = jnp.where(at == size - MORE, MOOD**2, varies)
    return lasting.replace(covariance=lasting.covariance + jnp.diag(varies))


def _eliminated(matrix: Array, more: Array) -> tuple[Array, Array]:
    """Gauss's elimination of a positive definite f32[K, K], without pivots: its diagonal f32[K], and `more` f32[K, R] after it."""
    size = matrix.shape[0]

    def step(k: Array, rows: Array) -> Array:
        below = jnp.where(jnp.arange(size) > k, rows[:, k], 0.0)
        return rows - below[:, None] / rows[k, k] * rows[k]

    rows = jax.lax.fori_loop(0, size - 1, step, jnp.concatenate([matrix, more], axis=1))
    return jnp.diagonal(rows[:, :size]), rows[:, size:]


def _inverse(matrix: Array) -> Array:
    """The inverse of a positive definite f32[R, R], by Gauss and Jordan, in place and without pivots."""

    def step(k: Array, rows: Array) -> Array:
        pivot = rows[k, k]
        row = (rows[k] / pivot).at[k].set(1.0 / pivot)
        column = rows[:, k].at[k].set(0.0)
        rest = rows.at[:, k].set(0.0) - column[:, None] * row
        return rest.at[k].set(row)

    return jax.lax.fori_loop(0, matrix.shape[0], step, matrix)
