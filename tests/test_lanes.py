"""Lanes: world and agent as two programs tell the lives that a rollout tells."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import coin_world

from jaxreco.lanes import Lanes, Stage
from jaxreco.rollout import rollout

Array = jax.Array
LANES, TURNS = 8, 12


@dataclasses.dataclass(frozen=True)
class Pages:
    """Shows the next items in every turn of an episode: it remembers how far it is."""

    privileged: ClassVar[bool] = False
    tile: int = LANES

    def reset(self, agent_params: Any) -> Array:
        """i32[], the first item of the next page."""
        return jnp.int32(0)

    def act(self, key: Array, agent_params: Any, memory: Array, obs: Any, catalog: Any) -> tuple[Array, Array, None]:
        """The next page."""
        size = obs.slate.shape[0]
        return (memory + jnp.arange(size)) % catalog.n_items, memory + size, None


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any]:
    """Coins whose episodes end within the turns."""
    env, params = coin_world()
    return env, params.replace(horizon_hours=24.0)


def played(stage: Stage, lanes: Lanes, memory: Any, turns: int) -> tuple[Lanes, Any, list[Any], list[Any]]:
    slates, infos = [], []
    for _ in range(turns):
        lanes, memory, slate, info = stage.turn(lanes, memory)
        slates.append(np.asarray(slate))
        infos.append(jax.device_get(info))
    return lanes, memory, slates, infos


@pytest.mark.bits
def test_lives_of_a_rollout(world: tuple[Any, Any], key: Array) -> None:
    """Slates, deeds, tallies and states; episodes end on the way, and the agent's memory begins anew."""
    stage = Stage.of(key, *world, Pages(), None, LANES)
    lanes, memory, slates, infos = played(stage, *stage.begin(range(LANES)), TURNS)
    ran = rollout(key, *world, Pages(), None, users=LANES, turns=TURNS, trajectory=True)
    assert ran.trajectory is not None
    np.testing.assert_array_equal(np.stack(slates), ran.trajectory.action)
    ended = np.stack([info["truncated"] for info in infos])
    assert ended.any()
    first = np.argwhere(ended[:-1])[0]
    np.testing.assert_array_equal(slates[first[0] + 1][first[1]], [0, 1, 2])
    np.testing.assert_array_equal([info["feedback"].actions for info in infos], ran.trajectory.info["feedback"].actions)
    same = ((lanes.tally, ran.metrics.life), (lanes.state, ran.state), (lanes.finished, ran.metrics.episodes > 0))
    for one, other in same:
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_array_equal(lanes.turn, TURNS)
    np.testing.assert_array_equal(np.where(ended[-1], 0, memory), ran.memory)


@pytest.mark.bits
def test_small_tiles_of_an_agent_change_nothing(world: tuple[Any, Any], key: Array) -> None:
    whole, parts = (Stage.of(key, *world, Pages(tile), None, LANES) for tile in (LANES, 2))
    for one, other in zip(played(whole, *whole.begin([3]), 4)[2], played(parts, *parts.begin([3]), 4)[2], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.bits
def test_a_lane_given_to_another_user(world: tuple[Any, Any], key: Array) -> None:
    stage = Stage.of(key, *world, Pages(), None, LANES)
    lanes, memory, _, _ = played(stage, *stage.begin(range(LANES)), 4)
    users = np.arange(LANES)
    users[1] = 60
    lanes, memory, slates, _ = played(stage, stage.renew(lanes, users), memory, 4)
    np.testing.assert_array_equal(lanes.turn, np.where(users == 60, 4, 8))
    np.testing.assert_array_equal(slates[0][1], [0, 1, 2])  # nothing is remembered of the user before
    alone, _, _, _ = played(stage, *stage.begin([60]), 4)
    undisturbed, _, _, _ = played(stage, *stage.begin(range(LANES)), 8)
    for i, (there, j) in {1: (alone, 0), 3: (undisturbed, 3)}.items():
        for a, b in zip(jax.tree.leaves(lanes), jax.tree.leaves(there), strict=True):
            np.testing.assert_array_equal(a[i], b[j])
