"""The planning agent: plans set tools, what is found is ranked, and sessions are remembered."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import coin_world

import jaxreco
from jaxreco.agents import agentic
from jaxreco.agents.agentic import PLANS, POSTED, Recollection, Retrieve, postings
from jaxreco.base import EMPTY
from jaxreco.content.tree import plant
from jaxreco.nn import plackett_luce
from jaxreco.report import sessions
from jaxreco.rollout import rollout
from jaxreco.testing import quick_jit

Array = jax.Array
SMALL: dict[str, Any] = dict(width=16, layers=1, heads=2, window=4)


@pytest.fixture(scope="module")
def made(key: Array) -> tuple[Any, Any, Any, Any]:
    env, params = coin_world()
    return env, params, *jaxreco.make_agent("agentic", key, env, params, **SMALL)


@pytest.fixture(scope="module")
def ran(made: Any, key: Array) -> Any:
    env, params, agent, agent_params = made
    run = lambda key, params, agent_params: rollout(  # noqa: E731
        key, env, params, agent, agent_params, users=16, turns=12, tile=16, trajectory=True
    )
    return quick_jit(run)(key, params, agent_params)


def test_slates_are_of_what_was_found(ran: Any) -> None:
    trajectory = ran.trajectory
    found, slate = np.asarray(trajectory.extras.percept.found), np.asarray(trajectory.action)
    assert (slate >= 0).all()
    assert (np.sort(slate, axis=-1)[..., 1:] != np.sort(slate, axis=-1)[..., :-1]).all()
    assert (slate[..., None] == found[:, :, None, :]).any(axis=-1).all()


def test_every_plan_is_made_and_its_probability_is_that_of_a_fresh_head(ran: Any) -> None:
    extras = ran.trajectory.extras
    assert set(np.unique(extras.percept.plan)) == set(range(len(PLANS)))
    np.testing.assert_allclose(extras.plan_log_prob, -math.log(len(PLANS)), atol=0.2)
    chex.assert_shape(extras.plan_log_prob, (12, 16))


def test_plans_set_the_tools(made: Any) -> None:
    net = made[3].net
    recent = jnp.asarray([0.0, 2.0])
    exploit, explore, follow, diversify, cool = (net.configure(jnp.int32(p), recent) for p in range(len(PLANS)))
    assert float(exploit.sharpness) > 1.0 == float(explore.sharpness)
    assert float(explore.curiosity) > 0.0 == float(exploit.curiosity)
    assert float(follow.heed) > 1.0 == float(diversify.heed)
    assert float(diversify.spread) > 1.0 == float(cool.spread)
    np.testing.assert_allclose(cool.chill, [0.0, 3.0])
    np.testing.assert_allclose(net.configure(jnp.int32(4), jnp.zeros(2)).chill, [0.0, 0.0])  # nothing came yet


def test_retrieval_holds_no_item_twice() -> None:
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(40, 3))
    tree = plant(embedding, embedding.astype(np.float32), 4)
    posted = jnp.asarray([*range(10), *([EMPTY] * (POSTED - 10))], jnp.int32)
    found = np.asarray(Retrieve(3)(tree, jnp.ones(3), jnp.zeros(3), posted))
    there = found[found >= 0]
    assert len(set(there)) == len(there)
    assert set(range(10)) <= set(there)


def test_postings_hold_the_most_popular_of_each_label() -> None:
    label = np.array([[0, 2], [0, EMPTY], [2, EMPTY], [0, EMPTY]])
    found = postings(label, np.array([0.1, 0.4, 0.3, 0.2]))
    assert found.shape == (3, POSTED)
    assert [list(row[row >= 0]) for row in found] == [[1, 3, 0], [], [2, 0]]


def test_the_summary_changes_when_a_session_is_over(made: Any) -> None:
    net, width = made[3].net, SMALL["width"]
    one, two = jnp.ones(width), jnp.full(width, 3.0)
    past = net.remember(Recollection.none(width), one, jnp.bool_(False))
    np.testing.assert_allclose(past.summary, 0.0)
    np.testing.assert_allclose(past.total, 1.0)
    over = net.remember(past, two, jnp.bool_(True))
    gate, new = np.split(np.asarray(net.gate(jnp.concatenate([jnp.zeros(width), jnp.full(width, 2.0)]))), 2)
    np.testing.assert_allclose(over.summary, np.tanh(new) / (1.0 + np.exp(-gate)), rtol=1e-4)
    np.testing.assert_allclose(over.total, 0.0)
    assert float(over.count) == 0.0


def test_a_plan_is_told_in_words(made: Any) -> None:
    env, _, agent, _ = made
    names = env.names or jaxreco.make("Feed-v0", n_items=20, n_users=2)[0].names
    told = [agent.tell(np.array([plan, 0]), names) for plan in range(len(PLANS))]
    assert len(set(told)) == len(PLANS)
    assert names.categories[0] in told[PLANS.index("cool")]
    assert agentic.PLANS[0] == "exploit"


def test_plans_stand_in_the_sessions(feed: Any, key: Array) -> None:
    env, params = feed
    agent, agent_params = jaxreco.make_agent("agentic", key, env, params, **SMALL)
    moments = sessions.watch_lives(key, env, params, agent, agent_params, users=1, turns=4)
    assert moments.plan is not None
    chex.assert_shape(moments.plan, (4, 1, 2))
    text = sessions.write(moments, env, params, "title", agent=agent)
    told = [line.strip() for line in text.splitlines() if line.startswith("    plan: ")]
    assert told == ["plan: " + agent.tell(plan, env.names) for plan in np.asarray(moments.plan)[:, 0]]
    assert "    plan: " not in sessions.write(moments, env, params, "title")


# -- slates of few items ---------------------------------------------------------------------------------------


def test_slates_of_few_items_are_a_distribution() -> None:
    kinds = plackett_luce.Kinds(jnp.asarray([[0, 1, 1, 0], [0, 0, 1, 2]]), jnp.asarray([0.7, 0.4]))
    logits = jnp.asarray([0.3, -1.0, 2.0, -jnp.inf])
    slates = jnp.asarray(list(itertools.permutations(range(3), 2)))
    each = jax.vmap(lambda s: plackett_luce.log_prob_few(logits, s, kinds)[0])(slates)
    assert float(jnp.sum(jnp.exp(jnp.sum(each, axis=1)))) == pytest.approx(1.0, abs=1e-5)
    # By hand: 2, then 1 of the same category and of another creator; 0 is neither.
    e = np.exp
    first = 2.0 - np.log(e(0.3) + e(-1.0) + e(2.0))
    second = (-1.0 - 0.7) - np.log(e(0.3) + e(-1.7))
    got, entropy = plackett_luce.log_prob_few(logits, jnp.asarray([2, 1]), kinds)
    np.testing.assert_allclose(got, [first, second], rtol=1e-5)
    p = np.array([e(0.3), e(-1.0), e(2.0)]) / (e(0.3) + e(-1.0) + e(2.0))
    assert float(entropy) == pytest.approx(float(-np.sum(p * np.log(p))), rel=1e-5)
    grads = jax.grad(lambda x: sum(jnp.sum(y) for y in plackett_luce.log_prob_few(x, jnp.asarray([2, 1]), kinds)))(
        logits
    )
    assert bool(jnp.all(jnp.isfinite(grads)))


def test_they_are_drawn_as_often_as_they_should(key: Array) -> None:
    kinds = plackett_luce.Kinds(jnp.asarray([[0, 1, 1, 0]]), jnp.asarray([0.9]))
    logits = jnp.asarray([0.3, -0.5, 0.8, -jnp.inf])
    slates = np.asarray(jax.vmap(lambda k: plackett_luce.sample_few(k, logits, 2, kinds))(jax.random.split(key, 20000)))
    for slate in ([2, 1], [0, 2], [1, 0]):
        expected = float(jnp.exp(jnp.sum(plackett_luce.log_prob_few(logits, jnp.asarray(slate), kinds)[0])))
        assert np.mean((slates == slate).all(axis=1)) == pytest.approx(expected, abs=0.012)
    assert (slates != 3).all()


def made_in(jaxpr: Any) -> set[int]:
    """The lengths of all that a program makes, branches and loops included."""
    found = set()
    for equation in jaxpr.eqns:
        found |= {size for out in equation.outvars for size in getattr(out.aval, "shape", ())}
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                found |= made_in(getattr(inner, "jaxpr", inner))
    return found


def test_a_turn_makes_nothing_as_long_as_the_catalog(key: Array) -> None:
    """What it looks at is found by a beam, and what is named is described beforehand: a million items cost little more."""
    items = 3001
    env, params = jaxreco.make("Feed-v0", n_items=items, n_creators=30, n_users=64, slate_size=4, history_length=12)
    obs, _ = env.reset(key, params)
    for name, looks in (("agentic", False), ("ppo", True)):
        agent, agent_params = jaxreco.make_agent(name, key, env, params)
        act = jax.make_jaxpr(agent.act)(key, agent_params, agent.reset(agent_params), obs, params.catalog)
        assert (items in made_in(act.jaxpr)) == looks, name
        assert 4 in made_in(act.jaxpr)


@pytest.mark.slow
def test_a_turn_costs_little_more_with_a_hundred_times_the_items(key: Array) -> None:
    def seconds(n_items: int) -> float:
        env, params = jaxreco.make("Feed-v0", n_items=n_items)
        agent, agent_params = jaxreco.make_agent("agentic", key, env, params)
        start = rollout(key, env, params, agent, agent_params, users=128, turns=16)
        times = []
        for _ in range(6):
            began = time.perf_counter()
            jax.block_until_ready(rollout(key, env, params, agent, agent_params, users=128, turns=16, start=start))
            times.append(time.perf_counter() - began)
        return min(times[1:])  # the first is compiled

    assert seconds(100_000) < 4.0 * seconds(1_000)
