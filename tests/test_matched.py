"""The user of a randomised log: a slate is answered where it repeats what was shown; OpenBandit-v0."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from logged import shop

import jaxreco
from jaxreco import offpolicy
from jaxreco.base import CLICK, EXAMINED
from jaxreco.data import open_bandit
from jaxreco.envs import open_bandit as shop_world
from jaxreco.errors import DataError
from jaxreco.testing import check_env, quick_jit
from jaxreco.users.matched import Matched

SHARED = Path(os.environ.get("JAXRECO_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ROWS = [(0, 1, 0, 0.25), (3, 2, 1, 0.25), (2, 3, 1, 0.25), (1, 1, 0, 0.25)]


def rows(n: int = 400, items: int = 6, seed: int = 0) -> list[tuple[int, int, int, float]]:
    """Slots drawn evenly; an item of number i is clicked with chance i / items."""
    rng = np.random.default_rng(seed)
    item = rng.integers(items, size=n)
    return [
        (int(i), int(p), int(c), 1.0 / items)
        for i, p, c in zip(item, rng.integers(1, 4, n), rng.random(n) < item / items, strict=True)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop(tmp_path_factory.mktemp("data") / "open-bandit", rows(), items=6)


def test_a_slot_is_answered_where_item_and_place_are_the_logged_ones(tmp_path, key) -> None:
    data = shop(tmp_path / "open-bandit", ROWS, items=4)
    env, params = jaxreco.make("OpenBandit-v0", data=data, campaign="men", width=2)
    assert env.slate_size == 3
    state = env.reset_env(key, params)[1]
    expected = {0: [0, 0, 0], 1: [0, EXAMINED | CLICK, 0], 2: [0, 0, 0], 3: [EXAMINED, 0, 0]}
    for row, actions in expected.items():  # row 2 showed item 2 in the third place
        visit = state.replace(user=state.user.replace(row=jnp.int32(row)))
        step = env.step_env(key, visit, jnp.array([1, 3, 0]), params)
        assert step.info["feedback"].actions.tolist() == actions
        assert bool(step.terminated)
        assert float(step.info["mind"]["unanswered"]) == 3 - (sum(actions) > 0)
        np.testing.assert_allclose(step.info["feedback"].watch, np.where(np.array(actions) > 0, 2.0, 0.0))


def test_clicks_a_slot_looked_at_are_the_replay_estimate(folder, key) -> None:
    """Of one fixed slate over all rows, and of the weighted mean of the log."""
    env, params = jaxreco.make("OpenBandit-v0", data=folder, campaign="men", width=3)
    log = open_bandit.load(folder, "men")
    state = env.reset_env(key, params)[1]
    slate = jnp.array([5, 0, 3])

    def visit(row):
        return env.step_env(key, state.replace(user=state.user.replace(row=row)), slate, params).info

    info = quick_jit(jax.vmap(visit))(jnp.arange(len(log), dtype=jnp.int32))
    target = (np.array([5, 0, 3])[log.position] == log.item).astype(float)
    assert int(info["examined"].sum()) == target.sum()
    estimate = offpolicy.snips((log.actions & CLICK) != 0, offpolicy.weights(log.propensity, target))
    assert float(info["clicks"].sum() / info["examined"].sum()) == pytest.approx(estimate)


def test_rows_come_in_inverse_proportion_to_their_chance(tmp_path, key) -> None:
    uneven = [(0, 1, 0, 0.5), (1, 1, 0, 0.25), (1, 2, 0, 0.125), (0, 2, 1, 0.125)]
    env, params = jaxreco.make(
        "OpenBandit-v0", data=shop(tmp_path / "open-bandit", uneven), campaign="men", slate_size=2, width=1
    )
    np.testing.assert_allclose(params.population.weights, np.array([2, 4, 8, 8]) / 5.5, rtol=1e-6)
    keys = jax.random.split(key, 4000)
    row = np.asarray(jax.vmap(lambda k: env.user_model.init(k, params.user, params.catalog).row)(keys))
    np.testing.assert_allclose(np.bincount(row) / 4000, np.array([2, 4, 8, 8]) / 22, atol=0.03)


def test_it_keeps_the_contract(folder) -> None:
    check_env(*jaxreco.make("OpenBandit-v0", data=folder, campaign="men", width=3))


def test_items_have_the_features_of_the_shop(folder) -> None:
    env, params = jaxreco.make("OpenBandit-v0", data=folder, campaign="men", width=3)
    assert env.names.categories == ("kind0", "kind1")
    assert env.names.titles[:2] == ("men/0", "men/1")
    assert float(params.catalog.popularity.sum()) == pytest.approx(1.0, abs=1e-5)
    assert np.asarray(params.catalog.quality).argmax() == 5
    assert Matched.heads == {"click": "data", "watch": "prior", "leave": "prior"}


def test_bad_input(folder) -> None:
    with pytest.raises(ValueError, match=r"There is no campaign 'man'\. Did you mean men"):
        jaxreco.make("OpenBandit-v0", data=folder, campaign="man")
    with pytest.raises(ValueError, match="the log has answers at 3 places: choose 1 to 3"):
        jaxreco.make("OpenBandit-v0", data=folder, campaign="men", slate_size=4)
    with pytest.raises(DataError, match="random_women"):
        jaxreco.make("OpenBandit-v0", data=folder, campaign="women")
    log = open_bandit.load(folder, "men")
    with pytest.raises(DataError, match="no chances above 0"):
        shop_world.world(dataclasses.replace(log, propensity=None), width=3)
    with pytest.raises(DataError, match="no events with places and clicks"):
        shop_world.world(dataclasses.replace(log, position=None), width=3)


@pytest.mark.parametrize(("campaign", "items"), [("all", 80), ("men", 34), ("women", 46)])
def test_the_real_shop(campaign: str, items: int) -> None:
    if not (SHARED / "open-bandit").is_dir():
        pytest.skip(f"open-bandit is not in {SHARED}")
    env, params = jaxreco.make("OpenBandit-v0", data=SHARED, campaign=campaign)
    assert (env.n_items, env.slate_size, params.population.size) == (items, 3, 10_000)
    weights = np.asarray(params.population.weights)
    np.testing.assert_allclose(weights, 1.0, rtol=1e-5)  # it drew evenly
