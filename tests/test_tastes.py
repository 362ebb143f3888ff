"""Tastes: a regression with a part that lasts and a part of each session, beside the joint Gaussian worked out at once."""

from __future__ import annotations

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from conftest import coin_world, small_catalog

from jaxreco.base import CLICK, EMPTY, EXAMINED, Observation
from jaxreco.content.anchors import DURATION, FEATURES
from jaxreco.learning import tastes
from jaxreco.learning.tastes import MORE, OUTCOMES, Belief, Named, Tastes
from jaxreco.talk.grammar import KIND, Said
from jaxreco.talk.satisfies import of_target

ITEMS, SLATE, ANCHORS, HISTORY = 12, 3, 2, 60
LINEAR = ANCHORS + FEATURES
learn = jax.jit(tastes.learn)


class Life:
    """Slates that somebody was shown, as observations."""

    def __init__(self, catalog: Any, items: Any) -> None:
        self.obs: Observation = coin_world()[0].reset(jax.random.key(0), coin_world()[1])[0]
        self.catalog, self.items, self.clock = catalog, items, 0.0
        self.seen: list[tuple[int, int, float]] = []  # item, actions, clock
        self.rows: list[list[np.ndarray]] = [[]]  # by session
        self.outcomes: list[list[list[float]]] = [[]]
        self.recent = np.zeros(2)

    def turn(self, slate: Any, actions: Any, watch: Any, hours: float, ends: bool = False) -> Observation:
        """What is observed after a slate, `hours` later; in another session if this one `ends`."""
        c = self.catalog
        usual = tastes.USUAL_SHARE * float(np.mean(c.duration))
        category, creator = np.asarray(c.category), np.asarray(c.creator)
        for i, a, w in zip(slate, actions, watch, strict=True):
            if i < 0 or not a & EXAMINED:
                continue
            met = sum(
                math.exp(-(self.clock - t) / tastes.RECENT_HOURS)
                for j, b, t in self.seen
                if b & EXAMINED and creator[j] == creator[i]
            )
            self.rows[-1].append(
                np.array([*np.asarray(self.items)[i], 1.0, math.log1p(self.recent[category[i]]), math.log1p(met)])
            )
            self.outcomes[-1].append([w / usual, w / float(c.duration[i]), float(a & CLICK > 0)])
        self.seen += [(int(i), int(a), self.clock) for i, a in zip(slate, actions, strict=True)]
        looked = [i for i, a in zip(slate, actions, strict=True) if a & EXAMINED and i >= 0]
        self.recent = (self.recent + np.bincount(category[looked], minlength=2)) * math.exp(
            -hours / tastes.RECENT_HOURS
        )
        self.clock += hours
        if ends:
            self.rows.append([])
            self.outcomes.append([])
        past = [(EMPTY, 0, self.clock)] * HISTORY + self.seen
        item, did, at = (np.array(x) for x in zip(*past[-HISTORY:], strict=True))
        history = self.obs.history.replace(
            item=jnp.asarray(item, jnp.int32),
            actions=jnp.asarray(did, jnp.int32),
            age=jnp.asarray(self.clock - at, jnp.float32),
        )
        return self.obs.replace(
            slate=jnp.asarray(slate, jnp.int32),
            actions=jnp.asarray(actions, jnp.int32),
            watch=jnp.asarray(watch, jnp.float32),
            clock=jnp.float32(self.clock),
            session_turn=jnp.int32(0 if ends else 1),
            history=history,
        )


def varies(lasting: np.ndarray) -> np.ndarray:
    """f64[R, R]: how weights vary from session to session, given the mean f64[OUTCOMES, R] of what lasts."""
    d = np.zeros(LINEAR + MORE)
    d[:ANCHORS] = tastes.ANYWHERE**2 + (tastes.VARIES * lasting[tastes.FRACTION, :ANCHORS]) ** 2
    d[ANCHORS + DURATION], d[LINEAR] = tastes.LENGTH**2, tastes.MOOD**2
    return np.diag(d)


def at_once(life: Life) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(lasting mean, mean of the present session, its covariance) by one regression on all weights of all sessions."""
    size, lasting = LINEAR + MORE, np.zeros((OUTCOMES, LINEAR + MORE))
    priors: list[np.ndarray] = []
    for now in range(len(life.rows)):
        priors.append(varies(lasting))
        sessions = now + 1
        prior = np.zeros((size * (1 + sessions),) * 2)
        prior[:size, :size] = np.eye(size)
        for j, d in enumerate(priors):
            prior[size * (j + 1) : size * (j + 2), size * (j + 1) : size * (j + 2)] = d
        x, y = [], []
        for j in range(sessions):
            for row, outcome in zip(life.rows[j], life.outcomes[j], strict=True):
                wide = np.zeros(size * (1 + sessions))
                wide[:size] = wide[size * (j + 1) : size * (j + 2)] = row
                x.append(wide)
                y.append(outcome)
        rows, outcomes = np.array(x).reshape(-1, size * (1 + sessions)), np.array(y).reshape(-1, OUTCOMES)
        gain = prior @ rows.T @ np.linalg.inv(rows @ prior @ rows.T + np.eye(len(rows)))
        mean, covariance = (gain @ outcomes).T, prior - gain @ rows @ prior
        both = np.zeros((size, size * (1 + sessions)))
        both[:, :size], both[:, size * sessions :] = np.eye(size), np.eye(size)
        before, lasting = lasting, mean[:, :size]
    return before, mean @ both.T, both @ covariance @ both.T


def test_sessions_are_one_hierarchical_regression() -> None:
    rng = np.random.default_rng(0)
    catalog, items = small_catalog(ITEMS), jnp.asarray(rng.normal(size=(ITEMS, LINEAR)), jnp.float32)
    life, found = Life(catalog, items), Tastes.unknown(Belief.vague(LINEAR + MORE), 2)
    chex.assert_shape(found.now.mean, (OUTCOMES, LINEAR + MORE))
    for turn in range(14):
        actions = rng.choice([0, EXAMINED, EXAMINED | CLICK], size=SLATE)
        watch = np.where(actions & CLICK, rng.uniform(0, 10, size=SLATE), 0.0)
        obs = life.turn(rng.permutation(ITEMS)[:SLATE], actions, watch, rng.exponential(2.0), ends=turn % 5 == 4)
        found = learn(found, obs, catalog, items)
    lasting, mean, covariance = at_once(life)
    np.testing.assert_allclose(found.lasting.mean, lasting, atol=2e-4)
    np.testing.assert_allclose(found.now.mean, mean, atol=2e-4)
    np.testing.assert_allclose(found.now.covariance, covariance, atol=2e-4)
    np.testing.assert_allclose(found.session, mean - lasting, atol=4e-4)
    np.testing.assert_allclose(found.recent, life.recent, rtol=1e-4)
    assert float(jnp.abs(found.session).max()) > 0.05  # else nothing of sessions was tested


def test_what_was_not_looked_at_teaches_nothing() -> None:
    catalog, items = (
        small_catalog(ITEMS),
        jnp.asarray(np.random.default_rng(1).normal(size=(ITEMS, LINEAR)), jnp.float32),
    )
    before = Tastes.unknown(Belief.vague(LINEAR + MORE), 2)
    obs = Life(catalog, items).turn([1, 2, EMPTY], [0, 0, 0], [0, 0, 0], 3.0)
    after = tastes.learn(before, obs, catalog, items)
    chex.assert_trees_all_close(after, before.replace(clock=jnp.float32(3.0)), atol=1e-7)


def test_a_mood_passes_and_a_taste_stays() -> None:
    """What is watched in one session only is of that session; what is watched in all lasts."""
    items = jnp.zeros((ITEMS, LINEAR)).at[0, 0].set(1.0).at[1, 1].set(1.0)
    catalog = small_catalog(ITEMS).replace(creator=jnp.arange(ITEMS, dtype=jnp.int32))
    life, found = Life(catalog, items), Tastes.unknown(Belief.vague(LINEAR + MORE), 2)
    both = [EXAMINED | CLICK] * 2 + [0]
    for session in range(6):
        for turn in range(4):
            likes = [float(catalog.duration[0]), float(catalog.duration[1]) * (session == 5)]
            last = found
            found = learn(found, life.turn([0, 1, EMPTY], both, [*likes, 0.0], 1.0, ends=turn == 3), catalog, items)
    always, now = (last.now.mean[tastes.FRACTION, at] - last.lasting.mean[tastes.FRACTION, at] for at in (0, 1))
    assert float(now) > 1.5 * abs(float(always))  # in the middle of the last session
    assert float(found.lasting.mean[tastes.FRACTION, 0]) > 2 * float(found.lasting.mean[tastes.FRACTION, 1])


def test_belief_improves_with_what_was_seen() -> None:
    rng = np.random.default_rng(2)
    catalog, items = small_catalog(ITEMS), jnp.asarray(rng.normal(size=(ITEMS, LINEAR)), jnp.float32)
    weights = rng.normal(size=LINEAR)
    truth = np.asarray(items) @ weights
    life, found, errors = Life(catalog, items), Tastes.unknown(Belief.vague(LINEAR + MORE), 2), []
    for _ in range(40):
        slate = rng.permutation(ITEMS)[:SLATE]
        watch = tastes.USUAL_SHARE * float(jnp.mean(catalog.duration)) * (truth[slate] + 0.3 * rng.normal(size=SLATE))
        found = learn(found, life.turn(slate, [EXAMINED | CLICK] * SLATE, watch, 24.0), catalog, items)
        errors.append(np.abs(np.asarray(found.now.mean)[0, :LINEAR] - weights).mean())
    assert errors[-1] < 0.15
    assert errors[-1] < 0.3 * errors[0]


def test_films_and_clips_teach_alike() -> None:
    """What is learned does not depend on the unit of duration: a world of hours once broke the agent."""
    items = jnp.asarray(np.random.default_rng(3).normal(size=(ITEMS, LINEAR)), jnp.float32)
    clips = small_catalog(ITEMS)
    films = clips.replace(duration=128.0 * clips.duration)  # a power of two: equal to the last bit
    beliefs = []
    for catalog, seconds in ((clips, 5.0), (films, 640.0)):
        seen = Life(catalog, items).turn([1, 2, 3], [EXAMINED | CLICK] * 3, [seconds, 2 * seconds, seconds], 1.0)
        beliefs.append(tastes.learn(Tastes.unknown(Belief.vague(LINEAR + MORE), 2), seen, catalog, items).now.mean)
    np.testing.assert_array_equal(*beliefs)


def test_what_is_named_is_described_by_the_mean_of_its_items() -> None:
    rng = np.random.default_rng(4)
    tags = jnp.asarray([[0, 2], [2, EMPTY], [EMPTY, EMPTY], *[[3, 0]] * 9], jnp.int32)  # nothing has the second tag
    catalog, items = small_catalog(ITEMS).replace(tags=tags), rng.normal(size=(ITEMS, LINEAR)).astype(np.float32)
    named = Named.of(catalog, jnp.asarray(items))
    number = {"category": 2, "creator": 3, "tag": 4, "item": ITEMS}  # and kinds that name nothing
    for name, kind in KIND.items():
        for target in range(-1, number.get(name, 2)):
            said = Said(jnp.int32(1), jnp.int32(kind), jnp.int32(target), jnp.float32(1.0), jnp.int32(0))
            member = np.asarray(of_target(said, jnp.arange(ITEMS), catalog)) * (target >= 0)
            assert member.any() == (name in number and target >= 0 and (name, target) != ("tag", 1))
            found = named.mean(jnp.int32(kind), jnp.int32(target), jnp.asarray(items))
            np.testing.assert_allclose(found, member @ items / max(member.sum(), 1.0), atol=1e-6)
