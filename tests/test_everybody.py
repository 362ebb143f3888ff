"""What an agent learns of all users together: the prior of tastes, and the reputation of items."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from conftest import coin_world

import jaxreco
from jaxreco.agents import ppo
from jaxreco.base import EMPTY
from jaxreco.learning import tastes, trainer
from jaxreco.learning.config import TrainConfig
from jaxreco.learning.pooled import LEAST, pooled
from jaxreco.learning.reputation import DOUBT, FADES, UNIT, Reputation
from jaxreco.learning.tastes import FRACTION, MORE, OUTCOMES, Belief
from jaxreco.rollout import rollout
from jaxreco.testing import quick_jit

Array = jax.Array


def test_a_step_of_the_prior_by_hand() -> None:
    lasting = Belief(
        jnp.zeros((2, OUTCOMES, 1)).at[:, FRACTION, 0].set(jnp.array([1.0, 3.0])), jnp.full((2, 1, 1), 0.5)
    )
    prior = Belief(jnp.zeros((OUTCOMES, 1)), jnp.ones((1, 1)))
    found = pooled(prior, lasting, jnp.float32(4.0), step=0.5)
    np.testing.assert_allclose(found.mean[:, 0], [0.0, 1.0, 0.0])  # half way to 2
    np.testing.assert_allclose(found.covariance, [[0.5 * 1.0 + 0.5 * (1.0 / 4.0 + 0.5 + LEAST)]], rtol=1e-6)


def test_the_prior_becomes_what_people_are_drawn_from() -> None:
    """Users with weights N(mu, S), a few slots each: expectation maximisation finds both, and strangers are known sooner."""
    rng, users, slots, noise = np.random.default_rng(0), 400, 6, 0.5
    mu, root = np.array([1.0, -0.5, 0.0]), np.array([[0.8, 0, 0], [0.6, 0.3, 0], [0, 0, 0.5]])
    weights = mu + rng.normal(size=(users, 3)) @ root.T
    rows = rng.normal(size=(users, slots, 3))
    seen = np.einsum("usr,ur->us", rows, weights) + noise * rng.normal(size=(users, slots))
    outcome = jnp.broadcast_to(jnp.asarray(seen, jnp.float32)[:, None], (users, OUTCOMES, slots))

    def believe(prior: Belief, slots: int) -> Belief:
        see = jax.vmap(lambda r, o: tastes.observed(prior, r, o))
        return see(jnp.asarray(rows, jnp.float32)[:, :slots], outcome[..., :slots])

    def wrong(prior: Belief) -> float:
        return float(jnp.mean((believe(prior, 1).mean[:, FRACTION] - weights) ** 2))

    prior = first = Belief.vague(3)
    for _ in range(200):
        prior = pooled(prior, believe(prior, slots), jnp.float32(noise**2))
    chex.assert_shape(prior.mean, (OUTCOMES, 3))
    np.testing.assert_allclose(prior.mean[FRACTION], weights.mean(0), atol=0.1)
    np.testing.assert_allclose(prior.covariance * noise**2, np.cov(weights.T), atol=0.12)
    assert wrong(prior) < 0.5 * wrong(first)


def test_a_reputation_by_hand() -> None:
    slate, looked = jnp.array([[0, 2, EMPTY], [2, 1, 0]]), jnp.array([[True, True, False], [True, False, True]])
    surprise = (
        jnp.zeros((2, 3, OUTCOMES)).at[..., 2].set(0.5).at[..., FRACTION].set(jnp.array([[0.1, 0.2, 9], [0.4, 9, 0.1]]))
    )
    found = Reputation.none(4).told(slate, looked, surprise)
    np.testing.assert_allclose(found.looks, [2, 0, 2, 0])  # nothing of slots that were empty or not looked at
    np.testing.assert_allclose(found.clicked, [1.0, 0, 1.0, 0])
    np.testing.assert_allclose(found.watched, [0.2, 0, 0.6, 0], rtol=1e-6)
    lure, worth = found.renown()
    np.testing.assert_allclose(lure, np.array([0.8, 0, 0.4, 0]) / (UNIT * (2 + DOUBT)), rtol=1e-5)
    np.testing.assert_allclose(worth[2], 0.6 / (UNIT * (2 + DOUBT)), rtol=1e-5)
    again = found.told(slate, looked, surprise)
    np.testing.assert_allclose(again.looks, (1 + FADES) * found.looks)


def test_surprise_is_what_the_regression_is_taught_beyond_its_belief(key: Array) -> None:
    """With beliefs of our own: a unit of one weight foretells that regressor of the very rows that `tastes.learn` uses."""
    env, params = coin_world()
    agent, agent_params = jaxreco.make_agent("ppo", key, env, params, width=16, heads=2)
    run = rollout(key, env, params, agent, agent_params, users=3, turns=6, tile=3, trajectory=True).trajectory
    percept, feedback = run.extras.percept, run.info["feedback"]
    items, catalog = agent_params.described.items, params.catalog
    size = items.shape[1] + MORE
    tell = quick_jit(
        jax.vmap(
            jax.vmap(lambda p, f, m: ppo.surprise(p.replace(belief=m), f, items, catalog), (0, 0, None)), (0, 0, None)
        )
    )
    nothing = tell(percept, feedback, jnp.zeros((OUTCOMES, size)))
    outcome = jnp.moveaxis(tastes.outcomes(feedback.slate, feedback.actions, feedback.watch, catalog), 0, -1)
    np.testing.assert_allclose(nothing, outcome, atol=1e-6)
    assert float(jnp.abs(nothing).max()) > 0
    rows = jnp.stack(
        [(nothing - tell(percept, feedback, jnp.eye(size)[r] * jnp.ones((OUTCOMES, 1))))[..., 0] for r in range(size)],
        -1,
    )
    np.testing.assert_allclose(rows[..., : size - MORE], items[feedback.slate], atol=1e-5)
    np.testing.assert_allclose(rows[..., -MORE], 1.0, atol=1e-5)
    # Those of the creator are read off the next observation there, whose history holds two slates.
    met = jax.vmap(jax.vmap(lambda o: jnp.log1p(tastes._met_before(o, catalog)), 0), 0)(
        jax.tree.map(lambda x: x[1:], run.obs)
    )
    before = rows[:2, :, :, -1]
    np.testing.assert_allclose(before, met[:2], atol=1e-3)
    assert float(jnp.std(before)) > 0.05


def test_training_finds_out_which_items_lure(key: Array) -> None:
    """In the world of feeds, after some blocks: lure goes with the clickbait that nobody is told of, and strangers' tastes begin elsewhere."""
    env, params = jaxreco.make("Feed-v0", n_items=200, n_creators=40, n_users=64)
    agent, agent_params = jaxreco.make_agent("ppo", key, env, params, width=16, heads=2, layers=1, window=8)
    config = TrainConfig(updates=8, users=64, turns=16, minibatches=4)
    learner: Any = trainer.begin(key, env, params, agent, agent_params, config)
    block = quick_jit(lambda learner: trainer.block(key, params, learner, env, agent, config)[0])
    for _ in range(config.updates):
        learner = block(learner)
    after = learner.agent_params
    lure, bait = np.asarray(after.described.renown[0]), np.asarray(params.user.clickbait)
    assert float(jnp.sum(after.reputation.looks)) > 1000
    assert np.corrcoef(lure, bait)[0, 1] > 0.3
    assert float(jnp.abs(after.prior.mean).max()) > 0.02
    assert np.linalg.eigvalsh(np.asarray(after.prior.covariance)).min() > 0.0
