"""Every registered agent: valid slates, nothing but what it may know, and what each of them promises."""

from __future__ import annotations

import inspect
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreco
from jaxreco.agents import static
from jaxreco.agents.popularity import without_seen
from jaxreco.base import CLICK, EMPTY, EXAMINED
from jaxreco.data.log import Items, Log
from jaxreco.logs import Interactions
from jaxreco.ranking import closed
from jaxreco.registry import agent_factory
from jaxreco.rollout import rollout
from jaxreco.testing import quick_jit

Array = jax.Array
USERS, TURNS, TILE = 8, 12, 8
NAMES = (
    "agentic",
    "ease",
    "ease_seq",
    "generative",
    "item_knn",
    "linucb",
    "oracle_greedy",
    "popularity",
    "ppo",
    "random",
    "sasrec",
    "static",
    "thompson",
)
TINY = dict(width=16, layers=1, heads=2, window=4)
SETTINGS: dict[str, Any] = {
    "agentic": TINY,
    "generative": TINY,
    "ppo": TINY,
    "sasrec": dict(width=16, layers=1, rounds=1),
}


def a_log(n_items: int) -> Interactions:
    rng = np.random.default_rng(0)
    user = np.sort(rng.integers(40, size=600)).astype(np.int32)
    item = rng.integers(n_items, size=600).astype(np.int32)
    return Interactions(user, item, rng.uniform(size=600).astype(np.float32), 40, n_items)


@pytest.fixture(scope="module")
def made(feed: Any) -> dict[str, tuple[Any, Any]]:
    """Every agent and its params; the static list is a given one, because its trials take long to compile."""
    env, params = feed
    out = {}
    for name in NAMES:
        agent = agent_factory(name)(**SETTINGS.get(name, {}))
        if name == "static":
            order = jax.random.permutation(jax.random.key(3), env.n_items)
            out[name] = agent, static.Playlist(order=order, length=jnp.int32(env.n_items - 2))
        elif getattr(agent, "needs_log", False):
            out[name] = agent, agent.init(jax.random.key(1), env, params.catalog, log=a_log(env.n_items))
        else:
            truth = {"truth": params} if agent.privileged else {}
            out[name] = agent, agent.init(jax.random.key(1), env, params.catalog, **truth)
    return out


@pytest.fixture(scope="module")
def ran(feed: Any, made: Any, key: Array) -> dict[str, Any]:
    """A rollout of each agent, with its trajectory."""
    env, params = feed

    def run(agent: Any, agent_params: Any) -> Any:
        return quick_jit(
            lambda key, params, agent_params: rollout(
                key, env, params, agent, agent_params, users=USERS, turns=TURNS, tile=TILE, trajectory=True
            )
        )(key, params, agent_params)

    return {name: run(*made[name]) for name in NAMES}


def test_all_registered_agents_are_tested_here() -> None:
    assert set(NAMES) <= set(jaxreco.list_agents())


@pytest.mark.parametrize("name", NAMES)
def test_slates_are_distinct_ids_in_range(name: str, feed: Any, ran: Any) -> None:
    env, _ = feed
    slates = ran[name].trajectory.action
    chex.assert_shape(slates, (TURNS, USERS, env.slate_size))
    chex.assert_type(slates, jnp.int32)
    ordered = np.sort(np.asarray(slates), axis=-1)
    assert (ordered >= 0).all()
    assert (ordered < env.n_items).all()
    assert (np.diff(ordered, axis=-1) > 0).all()
    assert float(jnp.sum(ran[name].metrics.total.invalid)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_rollout_is_nan(name: str, ran: Any) -> None:
    chex.assert_tree_all_finite(jax.tree.map(jnp.asarray, (ran[name].trajectory, ran[name].metrics)))


@pytest.mark.parametrize("name", NAMES)
def test_agents_are_equal_by_value(name: str) -> None:
    make = agent_factory(name)
    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() is not make()


def test_other_settings_are_another_agent() -> None:
    for name, other in (("item_knn", {"neighbours": 3}), ("oracle_greedy", {"candidates": 3}), ("ppo", {"width": 32})):
        assert agent_factory(name)() != agent_factory(name)(**other)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_privileged_can_be_told_the_truth(name: str, made: Any) -> None:
    agent, _ = made[name]
    assert ("truth" in inspect.signature(agent.act).parameters) == agent.privileged
    assert agent.privileged == (name in ("oracle_greedy", "static"))
    if not agent.privileged:
        assert list(inspect.signature(agent.act).parameters) == ["key", "agent_params", "memory", "obs", "catalog"]
        assert "truth" not in inspect.signature(agent.init).parameters


def test_an_agent_gets_an_observation_and_the_catalog(feed: Any, key: Array) -> None:
    """The shell hands a stranger neither state nor params, whatever keywords it would take."""
    env, params = feed
    got: list[Any] = []

    class Stranger:
        privileged = False

        def reset(self, agent_params: Any) -> None:
            return None

        def act(self, key: Array, agent_params: Any, memory: Any, obs: Any, catalog: Any, **more: Any) -> Any:
            got.append((type(obs).__name__, type(catalog).__name__, more))
            return jnp.arange(env.slate_size, dtype=jnp.int32), None, None

    jax.eval_shape(lambda k, p: rollout(k, env, p, Stranger(), None, users=2, turns=2, tile=2), key, params)
    assert got
    assert all(g == ("Observation", "Catalog", {}) for g in got)


def test_popularity_shows_the_most_popular_unseen(feed: Any, ran: Any) -> None:
    _, params = feed
    popularity = np.asarray(params.catalog.popularity)
    trajectory = ran["popularity"].trajectory
    for turn in range(TURNS):
        for user in range(USERS):
            seen = set(np.asarray(trajectory.obs.history.item[turn, user]).tolist()) - {EMPTY}
            unseen = [i for i in np.argsort(-popularity, kind="stable") if i not in seen]
            shown = np.asarray(trajectory.action[turn, user])
            np.testing.assert_array_equal(popularity[shown], popularity[unseen[: len(shown)]])
            assert not seen & set(shown.tolist())


def test_without_seen_keeps_the_order_and_ignores_padding() -> None:
    scores = without_seen(jnp.asarray([3.0, 2.0, 1.0, 0.0]), jnp.asarray([EMPTY, 0, 2, 0]))
    assert jnp.argsort(-scores).tolist() == [1, 3, 0, 2]


def test_static_shows_everybody_the_same_pages(feed: Any, made: Any, ran: Any) -> None:
    env, _ = feed
    trajectory, playlist = ran["static"].trajectory, made["static"][1]
    pages = np.asarray(trajectory.action)
    np.testing.assert_array_equal(pages, np.broadcast_to(pages[:, :1], pages.shape))
    order, length = np.asarray(playlist.order), int(playlist.length)
    expected = [order[(t * env.slate_size + np.arange(env.slate_size)) % length] for t in range(TURNS)]
    np.testing.assert_array_equal(pages[:, 0], expected)


def test_the_static_list_holds_every_item_once_and_the_best_first(feed: Any, key: Array) -> None:
    _, params = feed
    order = np.asarray(static.build(key, params.user, params.catalog, 60, True))
    np.testing.assert_array_equal(np.sort(order), np.arange(60))
    wonderful = params.replace(catalog=params.catalog.replace(quality=params.catalog.quality.at[17].set(40.0)))
    assert int(static.build(key, wonderful.user, wonderful.catalog, 60, False)[0]) == 17


def test_item_knn_neighbours_are_shrunk_cosines(feed: Any) -> None:
    env, params = feed
    log, agent = a_log(env.n_items), agent_factory("item_knn")(neighbours=5, shrinkage=2.0)
    fitted = agent.init(jax.random.key(0), env, params.catalog, log=log)
    chex.assert_shape([fitted.item, fitted.similarity], (env.n_items, 5))
    taken = np.zeros((log.n_users, log.n_items))
    for user, item, weight in zip(log.user, log.item, log.weight, strict=True):
        taken[user, item] = max(taken[user, item], weight)
    for a in range(env.n_items):
        norm = np.linalg.norm(taken, axis=0)
        cosine = np.array([0.0 if b == a else taken[:, a] @ taken[:, b] / (norm[a] * norm[b] + 2.0) for b in range(60)])
        best = np.sort(cosine)[::-1][:5]
        np.testing.assert_allclose(np.sort(fitted.similarity[a])[::-1], best, rtol=1e-5)
        np.testing.assert_allclose(fitted.similarity[a], cosine[np.asarray(fitted.item[a])], rtol=1e-5)


def test_item_knn_follows_a_click(feed: Any, key: Array) -> None:
    env, params = feed
    agent = agent_factory("item_knn")(neighbours=5)
    fitted = agent.init(key, env, params.catalog, log=a_log(env.n_items))
    obs, _ = env.reset(key, params)
    slate = jnp.asarray([4, 9, 20, 33])
    obs = obs.replace(
        slate=slate, actions=jnp.asarray([EXAMINED | CLICK, EXAMINED, 0, 0]), watch=params.catalog.duration[slate]
    )
    _, scores, _ = quick_jit(agent.act)(key, fitted, agent.reset(fitted), obs, params.catalog)
    expected = np.zeros(env.n_items)
    expected[np.asarray(fitted.item[4])] = fitted.similarity[4]  # of what was clicked, and of nothing else
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_ease_follows_clicks_that_fade(feed: Any, key: Array) -> None:
    env, params = feed
    agent, log = agent_factory("ease")(regularisation=5.0, fade=0.5), a_log(env.n_items)
    weights = agent.init(key, env, params.catalog, log=log)
    taken = np.zeros((log.n_users, log.n_items))
    np.maximum.at(taken, (log.user, log.item), log.weight)
    inverse = np.linalg.inv(taken.T @ taken + 5.0 * np.eye(log.n_items))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)
    obs, _ = env.reset(key, params)
    slate = jnp.asarray([4, 9, 20, 33])
    obs = obs.replace(
        slate=slate, actions=jnp.asarray([EXAMINED | CLICK, EXAMINED, 0, 0]), watch=0.5 * params.catalog.duration[slate]
    )
    before = jnp.arange(float(env.n_items))
    shown, scores, _ = quick_jit(agent.act)(key, weights, before, obs, params.catalog)
    np.testing.assert_allclose(scores, 0.5 * before + 0.5 * weights[4], rtol=1e-5, atol=1e-6)
    assert shown.tolist() == list(range(env.n_items))[:-5:-1]


def test_ease_seq_scores_as_the_ranking_row_does(feed: Any, key: Array) -> None:
    """Clicks in two turns are one history, whichever slots they were in."""
    env, params = feed
    agent, log = agent_factory("ease_seq")(neighbours=0.3, fade=0.6), a_log(env.n_items)
    weights = agent.init(key, env, params.catalog, log=log)
    memory, obs = agent.reset(weights), env.reset(key, params)[0]
    for slate, clicks in (([4, 9, 20, 33], [1, 0, 0, 1]), ([7, 2, 11, 5], [0, 1, 1, 0])):
        actions = EXAMINED | CLICK * jnp.asarray(clicks)
        shown = obs.replace(slate=jnp.asarray(slate), actions=actions)
        _, memory, _ = quick_jit(agent.act)(key, weights, memory, shown, params.catalog)
    items = Items(ids=np.arange(env.n_items))
    fitted = closed.fit(Log.of("log", log.user, log.item, items, np.arange(log.n_users)), agent.recipe)
    expected = fitted.scores(np.array([[-1, 4, 33, 2, 11]]))[0]
    np.testing.assert_allclose(memory + weights.alone, expected, rtol=1e-4, atol=1e-6)
    assert np.ptp(expected) > 0.1


def test_the_oracle_earns_more_than_chance(ran: Any) -> None:
    """Paired users: the difference is far outside its noise."""
    gain = np.asarray(ran["oracle_greedy"].metrics.total.reward) - np.asarray(ran["random"].metrics.total.reward)
    assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(USERS)


def test_random_agents_differ_between_users_and_turns(ran: Any) -> None:
    slates = np.asarray(ran["random"].trajectory.action).reshape(TURNS * USERS, -1)
    assert len({tuple(s) for s in slates}) == TURNS * USERS
