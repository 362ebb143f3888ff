"""A trained agent in another world: what it has learned stands where its items stand there."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_small_feed
from flax import nnx
from rich.console import Console
from test_movielens import made_up
from trainee import done, refused, registered, run  # noqa: F401 (of its own accord)

from jaxreco.agents import agentic, generative, ppo
from jaxreco.base import EMPTY, Names
from jaxreco.errors import JaxrecoError
from jaxreco.learning.config import TrainConfig
from jaxreco.training import start
from jaxreco.training.elsewhere import away, places
from jaxreco.training.job import build

SMALL = dict(width=16, layers=1, heads=2, window=4)


@pytest.fixture(scope="module")
def catalog() -> Any:
    return make_small_feed()[1].catalog


def learned(agent: Any, catalog: Any) -> Any:
    """Parameters that know something of every item."""
    params = agent.init(jax.random.key(1), None, catalog)
    net = nnx.clone(params.net)
    net.item[...] = jax.random.normal(jax.random.key(2), (catalog.n_items,))
    reputation = jax.tree.map(lambda x: x + jnp.arange(catalog.n_items), params.reputation)
    described = params.described.replace(renown=reputation.renown())
    return params.replace(net=net, reputation=reputation, described=described, temperature=jnp.float32(0.3))


def taken(catalog: Any, items: np.ndarray) -> Any:
    """The catalog of some items alone, in that order."""
    return jax.tree.map(lambda leaf: leaf[items], catalog)


@pytest.mark.parametrize("file", [ppo, agentic])
def test_to_the_same_items_nothing_changes(file, catalog):
    agent = file.make(**SMALL)
    params = learned(agent, catalog)
    here = agent.init(jax.random.key(1), None, catalog)
    moved = agent.moved(params, here, jnp.arange(catalog.n_items), catalog)
    chex.assert_trees_all_equal(jax.tree.leaves(moved), jax.tree.leaves(params))


def test_scores_go_along_with_items_wherever_they_stand(catalog):
    """Some of the items, in another order: each is scored as it was at home."""
    agent = ppo.make(**SMALL)
    params = learned(agent, catalog)
    items = np.random.default_rng(0).permutation(catalog.n_items)
    other = taken(catalog, items)
    moved = agent.moved(params, agent.init(jax.random.key(5), None, other), jnp.asarray(items), other)
    percept = _percept(agent, params)
    judge = jax.jit(lambda p, catalog: p.net.judge(jnp.ones(16), percept, p.described, p.near, catalog))
    home, there = judge(params, catalog), judge(moved, other)
    np.testing.assert_allclose(there.logits, home.logits[items], rtol=1e-5, atol=1e-5)
    assert float(moved.temperature) == np.float32(0.3)


def _percept(agent: Any, params: Any) -> Any:
    """Of a user who likes something, before the first slate."""
    env, world = make_small_feed()
    obs, _ = jax.jit(env.reset)(jax.random.key(0), world)
    _, percept = jax.jit(ppo.sense)(params, agent.reset(params), obs, world.catalog)
    return percept.replace(belief=jax.random.normal(jax.random.key(3), percept.belief.shape))


@pytest.mark.parametrize("file", [ppo, agentic])
def test_a_new_item_is_taken_for_the_mean(file, catalog):
    agent = file.make(**SMALL)
    params = learned(agent, catalog)
    known = np.arange(catalog.n_items)
    known[3] = EMPTY
    moved = agent.moved(params, agent.init(jax.random.key(5), None, catalog), jnp.asarray(known), catalog)
    anchors = params.described.items.shape[1] - ppo.FEATURES
    new = moved.described.items[3]
    np.testing.assert_allclose(new[:anchors], params.described.items.mean(axis=0)[:anchors], rtol=1e-6)
    np.testing.assert_allclose(new[anchors:], params.described.items[3, anchors:], rtol=1e-6)  # anybody can see these
    assert float(moved.net.item[...][3]) == 0.0
    assert float(moved.reputation.looks[3]) == 0.0
    np.testing.assert_array_equal(moved.described.renown[:, 3], 0.0)
    others = np.flatnonzero(known >= 0)
    np.testing.assert_array_equal(moved.described.items[others], params.described.items[others])


def test_generative_is_not_moved(catalog):
    agent = generative.make(**SMALL)
    with pytest.raises(JaxrecoError, match="cannot be moved"):
        agent.moved(None, None, jnp.arange(3), catalog)


def test_places_are_found_by_id_and_title():
    home = _names((7, 8, 9), ("A", "B", "C"))
    world = _names((9, 8, 1), ("C", "another B", "A"))
    assert places(home, world).tolist() == [2, EMPTY, EMPTY]
    with pytest.raises(JaxrecoError, match="Made-up items"):
        places(home, dataclasses.replace(world, ids=()))


def _names(ids: tuple[int, ...], titles: tuple[str, ...]) -> Names:
    return Names(titles=titles, categories=("x",), creators=(), tags=(), ids=ids)


# -- the command ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> pathlib.Path:
    return made_up(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def trained(films, tmp_path_factory) -> pathlib.Path:
    """A run in a world of the films that have thirty ratings, before its first block."""
    run = start.new(build(config(films, "min_ratings=30")), tmp_path_factory.mktemp("runs") / "few")
    start.take_up(build(run.config), run, Console(quiet=True))
    return run.folder


def config(films: pathlib.Path, *world: str) -> dict[str, Any]:
    """What `jaxreco train` writes down, as far as it is needed."""
    train = dataclasses.asdict(TrainConfig(users=4, turns=3, updates=1, minibatches=2))
    named = {"env": "MovieLens-v0", "agent": "tiny", "data": str(films), "seed": 0, "seeds": 1}
    return {**named, "world": list(world), "set": ["horizon_hours=30"], "train": train}


def test_a_job_goes_to_a_world_of_more_films(films):
    job = build(config(films, "min_ratings=30"))
    there, (moved,), new = away(job, [learned_of(job)], "MovieLens-v0", static=["n_factors=5"])
    assert (there.env.n_items, new) == (60, 60 - job.env.n_items)
    assert there.params.catalog.embedding.shape == (60, 5)
    assert there.config["data"] == str(films)
    at = places(job.env.names, there.env.names)
    known = at >= 0
    item = learned_of(job).net.item[...]
    np.testing.assert_array_equal(moved.net.item[...][known], item[at[known]])
    np.testing.assert_array_equal(moved.net.item[...][~known], 0.0)


def learned_of(job: Any) -> Any:
    return learned(job.agent, job.params.catalog)


@pytest.mark.slow
def test_evaluate_in_a_world_of_more_films(trained, tmp_path):
    out = tmp_path / "away.json"
    told = done("evaluate", trained, "--env", "MovieLens-v0", "--users", 4, "--json", out)
    assert re.search(
        r"Of the 60 items of MovieLens-v0 the agent knows \d+; the \d+ others", " ".join(told.output.split())
    )
    rows = {row["agent"] for row in json.loads(out.read_text())["rows"]}
    assert {"tiny", "random"} <= rows


def test_other_worlds_are_refused(trained, tmp_path):
    refused(run("evaluate", trained, "--env", "Feed-v0"), "Made-up items are the same in no other world")
    refused(run("evaluate", trained, "--world", "min_ratings=5"), "name it with --env")
    refused(run("evaluate", trained, "--env", "MovieLens-v1"), "MovieLens-v1")
    other = made_up(tmp_path)
    for file in other.iterdir():
        file.write_text(file.read_text().replace("Film ", "Movie "))
    refused(run("evaluate", trained, "--env", "MovieLens-v0", "--data", other), "of the 60 of MovieLens-v0 it knows 0")
