"""The generative agent: what is replayed is what was done, codes are judged by what is below them, and training teaches."""

from __future__ import annotations

import itertools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import coin_world, small_catalog
from test_ppo import CONFIG, noisy, opens_with_the_best, taught

import jaxreco
from jaxreco.agents import generative, ppo
from jaxreco.agents.generative import Below, Intent
from jaxreco.base import EMPTY
from jaxreco.content import semantic_id, store
from jaxreco.errors import DataError
from jaxreco.learning.tastes import Named
from jaxreco.nn import trie
from jaxreco.rollout import Rollout, rollout
from jaxreco.talk.grammar import INTENT, KIND
from jaxreco.talk.reading import Requests
from jaxreco.testing import quick_jit

Array = jax.Array
SMALL = dict(width=16, layers=1, heads=2, window=3)
BEFORE, TURNS, USERS = 5, 10, 4


@pytest.fixture(scope="module")
def lived(key: Array) -> tuple[Any, Any, Any, Rollout, Rollout]:
    """(params, agent, agent_params, the rollout before the block, the block) with episodes of 7 turns."""
    env, params = coin_world()
    params = params.replace(max_steps_in_episode=7)
    agent, agent_params = jaxreco.make_agent("generative", key, env, params, **SMALL)
    agent_params = noisy(agent_params)

    def run(key: Array, params: Any, agent_params: Any) -> tuple[Rollout, Rollout]:
        options: Any = dict(users=USERS, tile=USERS, trajectory=True)
        before = rollout(key, env, params, agent, agent_params, turns=BEFORE, **options)
        return before, rollout(key, env, params, agent, agent_params, turns=TURNS, start=before, **options)

    return params, agent, agent_params, *quick_jit(run)(key, params, agent_params)


# -- replay --------------------------------------------------------------------------------------------------


def test_replay_is_what_was_done(lived: Any) -> None:
    params, agent, agent_params, before, block = lived
    trajectory = block.trajectory
    done = (trajectory.terminated | trajectory.truncated).astype(jnp.int32)
    assert (np.asarray(done)[:-1].sum(axis=0) >= 1).all()  # in the middle of the block
    again = quick_jit(jax.vmap(agent.replay, (None, 0, 1, 1, 1, None), 1))(
        agent_params,
        before.memory,
        trajectory.extras.percept,
        jnp.cumsum(done, axis=0) - done,
        trajectory.action,
        params.catalog,
    )
    chex.assert_shape(again.log_prob, (TURNS, USERS, 3))
    np.testing.assert_allclose(again.log_prob, trajectory.extras.log_prob, atol=1e-4)
    value = agent_params.value_mean + agent_params.value_std * again.value
    np.testing.assert_allclose(value, trajectory.extras.value, atol=1e-4)
    np.testing.assert_allclose(again.slot_value, trajectory.extras.slot_value, atol=1e-4)
    assert float(jnp.std(trajectory.extras.log_prob)) > 1e-2
    assert (np.asarray(again.entropy) > 0).all()


def one_turn(lived: Any) -> tuple[Any, Any, Any, Any]:
    """(agent_params, intent, percept, catalog) of the first user's last turn."""
    params, _, agent_params, _, block = lived
    percept = jax.tree.map(lambda x: x[-1, 0], block.trajectory.extras.percept)
    hidden = jnp.asarray(np.random.default_rng(3).normal(size=SMALL["width"]), jnp.float32)
    intent = agent_params.net.judge(hidden, percept, agent_params.described, agent_params.near, params.catalog)
    return agent_params, intent, percept, params.catalog


@pytest.mark.parametrize("sharp", [1.0, 10.0])
def test_slates_are_a_distribution(lived: Any, sharp: float) -> None:
    """All ordered slates of 3 of the 12 items, at the temperature of learning and below it."""
    agent_params, intent, percept, catalog = one_turn(lived)
    slates = jnp.asarray(list(itertools.permutations(range(12), 3)), jnp.int32)

    def each(slate: Array) -> Array:
        scores = generative.scores_of(agent_params, intent, percept, catalog, sharp)
        return jnp.sum(trie.log_prob(agent_params.trie, slate, scores)[0])

    p = np.exp(np.asarray(quick_jit(jax.vmap(each))(slates), np.float64))
    assert p.sum() == pytest.approx(1.0, abs=1e-4)
    assert p.max() > 2.0 / len(p)  # it has preferences


def test_what_was_shown_lately_and_its_category_come_seldom(lived: Any) -> None:
    agent_params, intent, percept, catalog = one_turn(lived)

    def first(seen: Array, above: Array) -> Array:
        """f32[12]: log-probability of every item in the slot after those above."""
        scores = generative.scores_of(agent_params, intent, percept.replace(seen=seen), catalog, 1.0)
        slates = jnp.concatenate([jnp.broadcast_to(above, (12, len(above))), jnp.arange(12)[:, None]], axis=1)
        return jax.vmap(lambda slate: trie.log_prob(agent_params.trie, slate, scores)[0][-1])(slates)

    nothing = jnp.full(6, EMPTY)
    none, shown = jnp.zeros(0, jnp.int32), jnp.asarray([4, 4, EMPTY, 7, 4, 4])
    before, after = first(nothing, none), first(shown, none)
    odds = (after - before) - (after - before)[0]
    np.testing.assert_allclose(odds[jnp.asarray([4, 7])], -float(agent_params.net.repeat[...]), atol=1.0)
    assert float(jnp.max(odds[jnp.asarray([4, 7])])) < -1.0
    assert float(first(nothing, jnp.asarray([4]))[4]) < -1e6  # in the slot above: taken


# -- what is below a beginning ---------------------------------------------------------------------------------


def an_intent(taste: np.ndarray, categories: np.ndarray) -> Intent:
    one = jnp.float32(0.0)
    weight = jnp.zeros(4)
    of_items, of_categories = jnp.asarray(taste, jnp.float32), jnp.asarray(categories, jnp.float32)
    return Intent(of_items, of_categories, one, jnp.zeros(2), weight, jnp.zeros(4), one, one)


def below_of(items: np.ndarray, catalog: Any, codes: np.ndarray, level: int) -> tuple[trie.Trie, Below]:
    ids = trie.build(codes)
    membership = jnp.asarray(np.asarray(catalog.category) == np.arange(2)[:, None], jnp.float32)
    described = ppo.Described(
        items=jnp.asarray(items, jnp.float32),
        by_feature=jnp.asarray(items.T),
        membership=membership,
        made=jnp.ones(3, jnp.int32),
        named=Named.of(catalog, jnp.asarray(items, jnp.float32)),
        renown=jnp.zeros((2, items.shape[0])),
    )
    return ids, generative.look_below(ids, level, catalog, described)


def test_what_is_below_by_hand() -> None:
    catalog = small_catalog(4)  # durations 10 to 40, categories 0 1 0 1
    items = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [0.0, 7.0]])
    _, below = below_of(items, catalog, np.array([[0, 0], [0, 1], [0, 2], [1, 0]]), 0)
    np.testing.assert_array_equal(below.size, [[3, 1]])
    np.testing.assert_allclose(below.mean[0], [[4 / 3, 5 / 3], [0, 7]], rtol=1e-6)
    np.testing.assert_allclose(below.share[0], [[2 / 3, 1 / 3], [0, 1]], rtol=1e-6)
    np.testing.assert_allclose(below.duration[0], [20.0, 40.0])
    away = items[:3] - items[:3].mean(axis=0)
    value, vector = np.linalg.eigh(away.T @ away / 3)
    np.testing.assert_allclose(np.abs(below.spread[0, 0]), np.abs(vector[:, -1]) * math.sqrt(value[-1]), rtol=1e-3)
    np.testing.assert_allclose(
        below.variance[0, 0], (away**2).mean(axis=0) - np.asarray(below.spread[0, 0]) ** 2, atol=1e-3
    )
    np.testing.assert_allclose(below.spread[0, 1], 0.0, atol=1e-3)


def test_a_beginning_is_about_as_heavy_as_its_items(lived: Any) -> None:
    """Many items, normal scores of moderate variance, in one direction and in many: the logarithm of their mean weight."""
    rng, net = np.random.default_rng(0), lived[2].net
    items = rng.normal(size=(4000, 6)) * np.array([1.0, 0.3, 0.3, 0.3, 0.3, 0.3])
    catalog = small_catalog(4000)
    _, below = below_of(items, catalog, np.zeros((4000, 1), int), 0)
    for taste in (np.array([1.0, 1, 1, 1, 1, 1]), np.array([0.0, 2, -1, 1, 0.5, 0])):
        intent = an_intent(taste, np.zeros(2))
        net.spread[...] = jnp.float32(1.0)
        found = generative.of_beginnings(below, jnp.full((1, 1), 4000.0), intent, Requests.none(), net, catalog)
        assert float(found[0, 0]) == pytest.approx(math.log(np.mean(np.exp(items @ taste))), abs=0.05)
    # Of few and very different ones the best is what counts, and it is not further out than items are.
    few = rng.normal(size=(8, 6))
    _, below = below_of(few, small_catalog(8), np.zeros((8, 1), int), 0)
    intent = an_intent(np.array([30.0, 0, 0, 0, 0, 0]), np.zeros(2))
    found = generative.of_beginnings(below, jnp.full((1, 1), 8.0), intent, Requests.none(), net, small_catalog(8))
    scores = 30.0 * few[:, 0]
    assert scores.mean() + 0.5 * scores.std() < float(found[0, 0]) < scores.max() + 0.5 * scores.std()


def test_categories_mix_by_their_share() -> None:
    share, categories = np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([3.0, -1.0])
    found = generative.mixture(jnp.asarray(share), jnp.asarray(categories))
    np.testing.assert_allclose(found, np.log(share @ np.exp(categories)), rtol=1e-5)
    steep = generative.mixture(jnp.asarray(share), jnp.asarray([-1000.0, 1000.0]))
    assert np.isfinite(steep).all()


def test_an_instruction_about_a_tag_reaches_beginnings() -> None:
    catalog = small_catalog(4).replace(tags=jnp.asarray([[0, 1], [1, EMPTY], [1, 1], [EMPTY, EMPTY]]))
    ids = trie.build(np.array([[0, 0], [0, 0], [0, 1], [1, 0]]))
    tagged = generative.tags_below(ids, catalog, 2)
    np.testing.assert_allclose(tagged[0], [[0.5, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(tagged[1], [[1.0, 1.0], [0.0, 0.0]])  # a tag that stands twice counts once
    asked = Requests.none()
    asked = asked.replace(
        intent=asked.intent.at[0].set(INTENT["more"]),
        target_kind=asked.target_kind.at[0].set(KIND["tag"]),
        target=asked.target.at[0].set(0),
    )
    found = generative.of_tag(tagged, jnp.asarray([2.0, 0, 0, 0]), asked)
    np.testing.assert_allclose(found, [[math.log(0.5 + 0.5 * math.exp(2.0)), 0.0], [0.0, 0.0]], atol=1e-5)
    never = asked.replace(intent=asked.intent.at[0].set(INTENT["never"]))
    found = generative.of_tag(tagged, jnp.asarray([2.0, 0, 0, 0]), never)
    np.testing.assert_allclose(found[0, 0], math.log(0.5 + 0.5 * math.exp(-2.0)), atol=1e-5)


# -- codes ---------------------------------------------------------------------------------------------------


def test_own_codes_tell_items_apart_also_where_many_are_alike() -> None:
    rng = np.random.default_rng(0)
    points = np.repeat(rng.normal(size=(3, 4)), 40, axis=0) + 1e-3 * rng.normal(size=(120, 4))
    points[-5:] = 0.0  # without a representation
    codes = generative.own_codes(points.astype(np.float32), 0, 0, 1)
    assert len(np.unique(codes, axis=0)) == 120
    assert codes.shape[1] == 3
    assert generative.own_codes(points.astype(np.float32), 2, 60, 1).shape == (120, 2)
    with pytest.raises(DataError, match="codes"):
        generative.own_codes(points.astype(np.float32), 2, 3, 1)


def test_published_codes_are_taken_from_content(tmp_path: Any, key: Array) -> None:
    """Two items share one, as published codes do: a level more tells them apart."""
    env, params = coin_world()
    codes = np.stack([np.arange(12) // 4, np.minimum(np.arange(12) % 4, 2)], axis=1)
    order = np.random.default_rng(0).permutation(12)
    about = {"data": {"name": "coins"}, "semantic_ids": {"made_by": "published"}}
    store.Content(order, {}, semantic_id.published(codes[order]), about).save(tmp_path / "content")
    _, agent_params = jaxreco.make_agent("generative", key, env, params, content=str(tmp_path / "content"), **SMALL)
    first, second, last = agent_params.trie.levels
    np.testing.assert_array_equal(first.code[first.node], codes[:, 0])
    np.testing.assert_array_equal(second.code[second.node], codes[:, 1])
    np.testing.assert_array_equal(np.bincount(last.code), [9, 3])
    vectors = {"text": semantic_text(12)}
    store.Content(np.arange(12), vectors, None, {"data": {"name": "coins"}}).save(tmp_path / "none")
    with pytest.raises(DataError, match="no semantic IDs"):
        jaxreco.make_agent("generative", key, env, params, content=str(tmp_path / "none"), **SMALL)


def semantic_text(n: int) -> Any:
    from jaxreco.content.text import Encoded

    return Encoded(np.eye(n, dtype=np.float32), np.ones(n, bool))


@pytest.mark.parametrize("statics", [{"levels": 1, "codes": 12}, {"levels": 2}, {"levels": 4}], ids=str)
def test_any_number_of_levels_decodes(statics: dict[str, int], key: Array) -> None:
    env, params = coin_world()
    agent, agent_params = jaxreco.make_agent("generative", key, env, params, **statics, **SMALL)
    run = quick_jit(lambda k, p, a: rollout(k, env, p, agent, a, users=8, turns=4, tile=8, trajectory=True).trajectory)(
        key, params, agent_params
    )
    slates = np.sort(np.asarray(run.action), axis=-1)
    assert (slates >= 0).all()
    assert (np.diff(slates, axis=-1) > 0).all()
    chex.assert_tree_all_finite(run.extras)


# -- training ------------------------------------------------------------------------------------------------


def test_training_finds_the_item_that_everybody_wants(key: Array) -> None:
    done = taught(key, "generative", CONFIG)
    before, after = opens_with_the_best(key, done)
    assert after > before + 0.2  # 512 slates: a standard error is 0.02
    for log in done["logs"]:
        assert all(math.isfinite(x) for x in log.values()), log
    learned, began = done["learner"].agent_params, done["before"]
    described = learned.described.replace(renown=began.described.renown)
    chex.assert_trees_all_equal((began.trie, began.below, began.described), (learned.trie, learned.below, described))
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (began.net, learned.net)), strict=True)]
    assert np.mean(np.array(moved) > 1e-4) > 0.8
