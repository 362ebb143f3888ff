"""What agents see of items, and what users judge by."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from conftest import coin_world
from typer.testing import CliRunner

import jaxreco
from jaxreco import cli, cli_world, registry
from jaxreco.agents import ppo
from jaxreco.base import Names
from jaxreco.content import anchors, store
from jaxreco.content.shown import shown
from jaxreco.content.text import Encoded
from jaxreco.errors import DataError
from jaxreco.training.job import build


def other(params: Any, width: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(params.catalog.n_items, width)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Looking:
    """Shows the items that lie furthest along the first direction of what it sees."""

    privileged: bool = False

    def init(self, key: Any, env: Any, catalog: Any, **truth: Any) -> Any:
        return catalog

    def reset(self, agent_params: Any) -> Any:
        return None

    def act(self, key: Any, agent_params: Any, memory: Any, obs: Any, catalog: Any, **truth: Any) -> Any:
        slate = jax.lax.top_k(catalog.embedding[:, 0], obs.slate.shape[0])[1]
        return slate, None, None


def slates(env: Any, params: Any, agent: Any, key: Any) -> Any:
    ran = jaxreco.rollout(key, env, params, agent, None, users=2, turns=3, tile=2, trajectory=True)
    return jax.device_get(ran.trajectory.action)


def test_users_judge_as_before_and_nothing_is_compiled_anew(key):
    env, params = jaxreco.make("Feed-v0", n_items=12, n_users=4, slate_size=2, history_length=2, talks=False)
    traces = []

    @jax.jit
    def step(params: Any) -> Any:
        traces.append(1)
        _, state = env.reset(key, params)
        return env.step_env(key, state, jax.numpy.arange(2), params)

    same = shown(params, np.asarray(params.catalog.embedding))
    np.testing.assert_array_equal(same.true_embedding, params.catalog.embedding)
    steps = [
        jax.device_get(step(p)) for p in (same, shown(params, other(params, 16)), shown(params, -other(params, 16)))
    ]
    assert len(traces) == 1
    for step_ in steps[1:]:
        assert all(jax.tree.leaves(jax.tree.map(lambda a, b: np.array_equal(a, b, equal_nan=True), steps[0], step_)))
    false = step(same.replace(true_embedding=-params.catalog.embedding))  # what they do judge by
    assert not np.array_equal(false.info["mind"]["mood"], steps[0].info["mind"]["mood"])


def test_agents_see_what_is_shown_and_oracles_the_truth(coin, key):
    env, params = coin
    vectors = other(params)
    seen = shown(params, vectors)
    env.check(seen)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(env.catalog(None, seen).embedding, unit, rtol=1e-5)
    np.testing.assert_array_equal(seen.truth(seen.catalog).embedding, params.catalog.embedding)
    k = env.slate_size
    by_shown, by_truth = (np.argsort(-np.asarray(x)[:, 0], kind="stable")[:k] for x in (unit, params.catalog.embedding))
    assert (slates(env, seen, Looking(), key) == by_shown).all()
    assert (slates(env, seen, Looking(privileged=True), key) == by_truth).all()


@pytest.mark.parametrize("privileged", [False, True])
def test_agents_are_made_with_what_they_may_see(coin, key, monkeypatch, privileged):
    env, params = coin
    seen = shown(params, other(params))
    monkeypatch.setitem(registry._AGENTS, "looking", lambda: Looking(privileged))
    _, catalog = jaxreco.make_agent("looking", key, env, seen)
    np.testing.assert_array_equal(catalog.embedding, (params if privileged else seen).catalog.embedding)


def test_a_query_is_answered_in_what_agents_see(coin, key):
    env, params = coin
    env = dataclasses.replace(env, action_mode="query")
    vectors = np.ones((env.n_items, 7), np.float32)
    vectors[:, 0] = 10.0 * np.arange(env.n_items)
    seen = shown(params, vectors)
    assert env.random_action(key, seen).shape == (7,)
    _, state = env.reset(key, seen)
    slate = jax.jit(env.step_env)(key, state, np.eye(7, dtype=np.float32)[0], seen).obs.slate
    np.testing.assert_array_equal(slate, np.arange(env.n_items)[::-1][: env.slate_size])


def test_shown_again_starts_from_the_truth(feed):
    _, params = feed
    twice = shown(shown(params, other(params)), other(params, width=7))
    assert twice.catalog.embedding.shape == (60, 7)
    np.testing.assert_array_equal(twice.true_embedding, params.catalog.embedding)
    back = shown(twice, np.asarray(params.catalog.embedding))
    np.testing.assert_allclose(back.catalog.embedding, params.catalog.embedding, atol=1e-6)


def test_missing_items_are_zeros(feed):
    _, params = feed
    vectors, there = other(params), np.arange(60) % 3 > 0
    vectors[~there] = np.nan
    found = np.asarray(shown(params, vectors, there).catalog.embedding)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), there, atol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "there", "words"),
    [
        (np.ones((59, 3)), None, "59, 3"),
        (np.ones(60), None, "a row an item"),
        (np.ones((60, 3)), np.ones(59, bool), "marks"),
        (np.where(np.arange(60)[:, None] == 7, np.nan, np.ones((60, 3))), np.ones(60, bool), "item 7"),
        (np.zeros((60, 3)), None, "No item"),
    ],
)
def test_bad_representations_are_named(feed, vectors, there, words):
    with pytest.raises(DataError, match=words):
        shown(feed[1], vectors, there)


def test_check_names_a_truth_of_other_items(feed):
    env, params = feed
    with pytest.raises(ValueError, match="true_embedding has 59 items"):
        env.check(params.replace(true_embedding=np.ones((59, 3), np.float32)))


# -- from a file, by the command line ----------------------------------------------------------------------------


@pytest.fixture
def coins(monkeypatch):
    monkeypatch.setitem(registry._ENVS, "Coin-v0", lambda **static: coin_world(slate_size=3))
    monkeypatch.setitem(registry._AGENTS, "tiny", lambda: ppo.make(width=16, layers=1, heads=2, window=4))


def test_a_run_with_content_makes_it_again_from_its_config(coins, tmp_path):
    vectors = other(coin_world()[1], width=4)
    vectors[3] = 0.0
    np.savez(tmp_path / "seen.npz", vectors=vectors)
    config = {"env": "Coin-v0", "agent": "tiny", "seed": 0, "train": {}, "content": str(tmp_path / "seen.npz")}
    job = build(config)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(job.params.catalog.embedding, unit, atol=1e-6)
    assert job.agent_params.described.items.shape == (12, 12 + anchors.FEATURES)
    plain = build({**config, "content": None})
    assert plain.params.true_embedding is None
    np.testing.assert_array_equal(job.params.true_embedding, plain.params.catalog.embedding)


def test_a_folder_of_content_is_shown_by_the_ids_of_the_items(coins, tmp_path, monkeypatch):
    """In any order, and of more items than the world has."""
    vectors, ids = other(coin_world()[1], width=4), np.arange(12) * 10
    order = np.random.default_rng(1).permutation(12)
    more = Encoded(np.concatenate([vectors[order], np.ones((1, 4), np.float32)]), np.ones(13, bool))
    store.Content(np.append(ids[order], 7), {"text": more}).save(tmp_path / "content")
    names = Names(("x",) * 12, ("even", "odd"), ("c",) * 3, (), ids=tuple(ids.tolist()))
    monkeypatch.setitem(registry._ENVS, "Coin-v0", lambda **static: coin_world(slate_size=3, names=names))
    _, params = cli_world.make_world("Coin-v0", content=tmp_path / "content")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(params.catalog.embedding, unit, atol=1e-6)
    monkeypatch.setitem(registry._ENVS, "Coin-v0", lambda **static: coin_world(slate_size=3))
    with pytest.raises(DataError, match="such as 1, are not in the content"):
        cli_world.make_world("Coin-v0", content=tmp_path / "content")


@pytest.mark.parametrize("command", ["train", "rollout"])
def test_bad_content_is_named(coins, tmp_path, command):
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "short.npy", np.ones((3, 2)))
    refusals = {
        "pickled.npy": "as a pickle",
        "short.npy": "(3, 2)",
        "none.npy": "There is no file",
        ".": "holds no content",
    }
    for name, words in refusals.items():
        agent = ("--agent", "tiny") if command == "train" else ()
        asked = [command, "--env", "Coin-v0", *agent, "--content", str(tmp_path / name)]
        result = CliRunner().invoke(cli.app, asked)
        assert result.exit_code == 2
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
