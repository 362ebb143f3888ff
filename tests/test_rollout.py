"""Rollouts: a user's life is the same to the last bit, however many live beside it and however time is cut."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import coin_world

import jaxreco
from jaxreco.base import EMPTY
from jaxreco.rollout import Rollout, Tally, _rollout, initial, rollout
from jaxreco.testing import quick_jit

Array = jax.Array
TILE, TURNS, HORIZON = 8, 12, 24.0  # hours: short, so that episodes end within the turns
K, H = 2, 6
WORLD = dict(n_items=60, n_creators=8, n_users=32, slate_size=K, history_length=H)  # two slots compile soonest


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any, Any, Any]:
    """(env, params, agent, agent_params) with a short horizon."""
    env, params = jaxreco.make("Feed-v0", **WORLD)
    return env, params.replace(horizon_hours=HORIZON), *jaxreco.make_agent("random", jax.random.key(1), env, params)


def live(world: Any, key: Array, users: int, turns: int = TURNS, **options: Any) -> Rollout:
    return rollout(key, *world, users=users, turns=turns, tile=TILE, trajectory=True, **options)


@pytest.fixture(scope="module")
def seven(world: Any, key: Array) -> Rollout:
    return live(world, key, 7)


@pytest.fixture(scope="module")
def begun(world: Any, key: Array) -> Rollout:
    return initial(key, *world, users=7, tile=TILE)


def assert_same_bits(one: Any, other: Any) -> None:
    """Equal to the last bit, NaN and signed zero included."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        assert same, f"{jax.tree_util.keystr(path)} differs in {np.sum(a != b)} of {a.size} numbers"


def quick_rollout(key: Array, env: Any, params: Any, agent: Any, agent_params: Any, **options: Any) -> Rollout:
    """A rollout compiled with little effort: not for bits, and not for a second call."""
    return quick_jit(lambda key, params, net: rollout(key, env, params, agent, net, **options))(
        key, params, agent_params
    )


def user(life: Rollout, i: int) -> Any:
    """Everything about one user: trajectory, metrics and the state at the end."""
    return (
        jax.tree.map(lambda x: x[:, i], life.trajectory),
        jax.tree.map(lambda x: x[i], (life.metrics, life.state, life.memory)),
    )


# -- bit for bit ---------------------------------------------------------------------------------------------


@pytest.mark.bits
def test_users_live_alike_among_1_7_and_300(world: Any, key: Array, seven: Rollout) -> None:
    assert_same_bits(user(seven, 0), user(live(world, key, 1), 0))
    many = live(world, key, 300)
    for i in (0, 3, 6):
        assert_same_bits(user(seven, i), user(many, i))
    with pytest.raises(AssertionError, match="differs"):
        assert_same_bits(user(seven, 0), user(seven, 3))


@pytest.mark.bits
def test_a_run_cut_into_chunks_is_the_whole_run(world: Any, key: Array, begun: Rollout) -> None:
    whole = live(world, key, 7, start=begun)
    parts, now, compiled = [], begun, []
    for _ in range(3):
        now = live(world, key, 7, turns=4, start=now)
        parts.append(now.trajectory)
        compiled.append(_rollout._cache_size())  # type: ignore[attr-defined]
    assert compiled == compiled[:1] * 3  # going on compiles nothing anew
    assert_same_bits(whole.trajectory, jax.tree.map(lambda *x: jnp.concatenate(x), *parts))
    assert_same_bits(dataclasses.replace(whole, trajectory=None), dataclasses.replace(now, trajectory=None))
    assert np.asarray(now.turn).tolist() == [TURNS] * 7


@pytest.mark.bits
def test_a_repeated_run_is_the_first(world: Any, key: Array, seven: Rollout) -> None:
    assert_same_bits(seven, live(world, key, 7))


def test_another_key_is_another_run(world: Any, seven: Rollout) -> None:
    other = live(world, jax.random.key(99), 7)
    assert not np.array_equal(seven.trajectory.action, other.trajectory.action)
    assert not np.array_equal(seven.trajectory.reward, other.trajectory.reward)


LIVE = f"""
import hashlib, json, sys
import jax, numpy as np, jaxreco
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
env, params = jaxreco.make("Feed-v0", **{WORLD!r})
agent, agent_params = jaxreco.make_agent("random", jax.random.key(1), env, params)
args = (jax.random.key(20261123), env, params.replace(horizon_hours={HORIZON}), agent, agent_params)
life = jaxreco.rollout(*args, users=3 * {TILE}, turns={TURNS}, tile={TILE}, trajectory=True)
if "twice" in sys.argv:
    life = jaxreco.rollout(*args, users=3 * {TILE}, turns={TURNS}, tile={TILE}, trajectory=True, start=life)
digest = hashlib.sha256()
for leaf in jax.tree.leaves(jax.tree.map(lambda x: x[:, :7], life.trajectory)):
    digest.update(np.asarray(leaf).tobytes())
print(jax.device_count(), digest.hexdigest())
"""


def lives_elsewhere(devices: list[int], *arguments: str) -> list[str]:
    """Digests of one rollout in processes of their own, side by side, each with so many host devices."""

    def start(count: int) -> subprocess.Popen[str]:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
        where = {"XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir)}  # type: ignore[attr-defined]
        command = [sys.executable, "-c", LIVE, *arguments]
        return subprocess.Popen(
            command, env=os.environ | where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    digests = []
    for process, count in [(start(count), count) for count in devices]:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-2000:]
        seen, digest = out.split()
        assert int(seen) == count
        digests.append(digest)
    return digests


@pytest.mark.bits
def test_two_devices_and_more_users_in_another_process_give_the_same_bits(seven: Rollout) -> None:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(seven.trajectory):
        digest.update(np.asarray(leaf).tobytes())
    assert lives_elsewhere([2]) == [digest.hexdigest()]


@pytest.mark.slow
def test_up_to_four_devices_and_a_continued_run_give_the_same_bits() -> None:
    assert len(set(lives_elsewhere([1, 2, 3, 4]))) == 1
    assert len(set(lives_elsewhere([1, 2, 4], "twice"))) == 1


# -- what is in it -------------------------------------------------------------------------------------------


def test_trajectory_leaves_are_turns_by_users_without_keys_or_nan(seven: Rollout) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(seven.trajectory)
    assert len(leaves) > 30
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path)
        assert leaf.shape[:2] == (TURNS, 7), name
        assert not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key), name
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            assert not np.isnan(leaf).any(), name
    assert seven.trajectory.action.shape == (TURNS, 7, K)
    assert seven.trajectory.obs.history.item.shape == (TURNS, 7, H)
    assert "final_observation" not in seven.trajectory.info
    assert np.asarray(seven.turn).tolist() == [TURNS] * 7


def test_observations_and_actions_fit_together(seven: Rollout) -> None:
    """What turn t + 1 sees is what happened in turn t, unless an episode ended there."""
    t = seven.trajectory
    done = np.asarray(t.terminated | t.truncated)
    assert 0 < done.sum() < done.size
    np.testing.assert_array_equal(t.obs.turn[0], np.zeros(7))
    np.testing.assert_array_equal(t.obs.turn[1:], np.where(done[:-1], 0, t.obs.turn[:-1] + 1))
    seen = np.where(done[:-1, :, None], EMPTY, t.action[:-1])
    np.testing.assert_array_equal(t.obs.slate[1:], seen)
    np.testing.assert_array_equal(t.obs.history.item[1:, :, -K:], seen)
    clock = np.where(done[:-1], 0, np.asarray(t.obs.clock[:-1]) + np.asarray(t.info["hours"][:-1]))
    np.testing.assert_allclose(t.obs.clock[1:], clock, rtol=1e-5, atol=1e-5)


def test_a_user_runs_on_the_documented_keys(world: Any, key: Array, begun: Rollout, seven: Rollout) -> None:
    """User i at turn t: fold_in(fold_in(key, i), t), split into the agent's key and the world's."""
    env, params, agent, agent_params = world
    i, state = 3, jax.tree.map(lambda x: x[3], begun.state)
    step, observe = quick_jit(env.step), quick_jit(env.observe)
    for t in range(TURNS):
        key_act, key_step = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, i), t))
        obs = observe(state, params)
        action, _, _ = agent.act(key_act, agent_params, None, obs, params.catalog)
        np.testing.assert_array_equal(action, seven.trajectory.action[t, i])
        six = step(key_step, state, action, params)
        np.testing.assert_allclose(six.reward, seven.trajectory.reward[t, i], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(
            six.obs.actions, seven.state.last.actions[i] if t == TURNS - 1 else six.obs.actions
        )
        state = six.state
    np.testing.assert_allclose(state.clock, seven.state.clock[i], rtol=1e-4)


def clocks(hours: np.ndarray, done: np.ndarray) -> np.ndarray:
    """f64[T, B]: hours of the episode at the end of each turn."""
    found, now = np.zeros_like(hours), np.zeros(hours.shape[1])
    for turn in range(len(hours)):
        now = now + hours[turn]
        found[turn] = now
        now = np.where(done[turn], 0.0, now)
    return found


def test_tallies_are_the_sums_of_the_trajectory(seven: Rollout) -> None:
    t = jax.tree.map(np.asarray, seven.trajectory)
    done = t.terminated | t.truncated
    first = np.cumsum(done, axis=0) - done == 0  # up to and including the turn that ends the first episode
    every = np.ones_like(first)
    info = t.info
    counts = dict(
        turns=every, reward=t.reward, minutes=info["minutes"], hours=info["hours"], gaps=info["left"],
        gap_hours=np.minimum(info["gap_hours"], 720.0), clicks=info["clicks"], examined=info["examined"],
        likes=info["likes"], comments=info["comments"], shares=info["shares"], churned=t.terminated,
        invalid=info["invalid"], sessions=info["returned"], asked=info["asked"], followed=info["followed"],
    )  # fmt: skip
    clock = clocks(np.asarray(info["hours"], np.float64), done)
    days = {"day1": (24.0, 48.0), "day7": (168.0, 192.0), "day30": (720.0, 744.0), "early": (0.0, 720.0)}
    counts |= {name: info["returned"] & (clock >= low) & (clock < high) for name, (low, high) in days.items()}
    assert set(counts) == set(Tally.__dataclass_fields__)
    for name, value in counts.items():
        life, total = np.sum(value * first, axis=0), np.sum(value, axis=0)
        if name in ("sessions", "early"):  # each episode opens with one
            life, total = life + 1, total + 1 + done.sum(axis=0)
        np.testing.assert_allclose(getattr(seven.metrics.life, name), life, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(getattr(seven.metrics.total, name), total, rtol=1e-5, err_msg=name)
    np.testing.assert_array_equal(seven.metrics.episodes, done.sum(axis=0))


def test_gaps_are_tallied_up_to_churn_hours_with_and_without_a_trajectory(key: Array) -> None:
    env, params = coin_world()
    params = params.replace(churn_hours=5.0, horizon_hours=1e6)
    agent = jaxreco.make_agent("random", key, env, params)
    life = quick_rollout(key, env, params, *agent, users=4, turns=20, tile=4, trajectory=True)
    plain = quick_rollout(key, env, params, *agent, users=4, turns=20, tile=4)
    assert plain.trajectory is None
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), plain.metrics, life.metrics)
    gaps = np.asarray(life.trajectory.info["gap_hours"])
    assert (gaps > 5).any()
    np.testing.assert_allclose(life.metrics.total.gap_hours, np.minimum(gaps, 5.0).sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(life.metrics.total.churned, (gaps > 5).sum(axis=0))
    assert (np.asarray(life.metrics.life.churned) <= 1).all()


# -- agents with a memory and a value ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Diary:
    """Counts its turns in this episode, and values a state by what it has counted and seen."""

    privileged: ClassVar[bool] = False

    def reset(self, agent_params: Any) -> Array:
        return jnp.int32(0)

    def act(self, key: Array, agent_params: Any, memory: Array, obs: Any, catalog: Any) -> Any:
        return jnp.arange(3), memory + 1, {"memory": memory}

    def value(self, agent_params: Any, memory: Array, obs: Any, catalog: Any) -> Array:
        return agent_params * memory + obs.clock


@dataclasses.dataclass(frozen=True)
class Spy:
    """Shows what a privileged agent is handed."""

    privileged: ClassVar[bool] = True

    def reset(self, agent_params: Any) -> None:
        return None

    def act(self, key: Array, agent_params: Any, memory: None, obs: Any, catalog: Any, truth: Any) -> Any:
        state, params = truth
        return jnp.arange(3), None, {"mood": state.user.mood, "leave": jnp.float32(params.user.leave)}


def test_memory_is_forgotten_where_an_episode_ends_and_bootstrap_uses_it_before(key: Array) -> None:
    env, params = coin_world()
    params = params.replace(horizon_hours=30.0, churn_hours=15.0)
    life = quick_rollout(key, env, params, Diary(), jnp.float32(1000.0), users=16, turns=30, tile=16, trajectory=True)
    t = jax.tree.map(np.asarray, life.trajectory)
    np.testing.assert_array_equal(t.extras["memory"], t.obs.turn)
    done = t.terminated | t.truncated
    np.testing.assert_array_equal(life.memory, np.where(done[-1], 0, t.obs.turn[-1] + 1))
    ended = t.truncated & ~t.terminated
    assert ended.any()
    assert t.terminated.any()
    ended[-1] = ~t.terminated[-1]  # the call breaks off there
    clock = t.obs.clock + t.info["hours"]  # of the final observation
    expected = np.where(ended, 1000.0 * (t.obs.turn + 1) + clock, 0.0)
    np.testing.assert_allclose(t.bootstrap, expected, rtol=1e-5)


def test_privileged_agents_are_told_the_truth(key: Array) -> None:
    env, params = coin_world()
    life = quick_rollout(key, env, params, Spy(), None, users=4, turns=3, tile=4, trajectory=True)
    start = initial(key, env, params, Spy(), None, users=4, tile=4)
    np.testing.assert_allclose(life.trajectory.extras["mood"][0], start.state.user.mood, rtol=1e-6)
    np.testing.assert_allclose(life.trajectory.extras["leave"], np.full((3, 4), 0.3), rtol=1e-6)


def test_no_key_is_used_twice(key: Array) -> None:
    env, params = coin_world(history_length=9)  # another world than above: it must be traced under the check
    agent = jaxreco.make_agent("random", key, env, params)
    with jax.debug_key_reuse(True):
        life = quick_rollout(jax.random.key(3), env, params, *agent, users=4, turns=3, tile=2, trajectory=True)
        jax.block_until_ready(life)


@pytest.mark.parametrize("name", ["popularity", "random"])
def test_twins_are_one_person_in_the_same_luck(name: str, key: Array) -> None:
    """Under one policy without dice they live one life, that of the first without twins; dice of an agent are each one's own."""
    env, params = coin_world()
    agent = jaxreco.make_agent(name, key, env, params)
    run = lambda twins: quick_rollout(  # noqa: E731
        key, env, params, *agent, users=6, turns=5, tile=8, trajectory=True, twins=twins
    )
    alone, beside = run(1), run(3)
    rewards, actions = (np.asarray(x) for x in (beside.trajectory.reward, beside.trajectory.action))
    for first in (0, 3):
        for mine, others in zip(jax.tree.leaves(alone.trajectory), jax.tree.leaves(beside.trajectory), strict=True):
            np.testing.assert_array_equal(np.asarray(mine)[:, first], np.asarray(others)[:, first])
        same = actions[:, first : first + 3] == actions[:, first : first + 1]
        assert same.all() == (name == "popularity")
        if name == "popularity":
            np.testing.assert_array_equal(rewards[:, first : first + 3], rewards[:, [first] * 3])
    assert (rewards[:, 0] != rewards[:, 3]).any()


def test_impossible_sizes_are_refused(world: Any, key: Array, begun: Rollout) -> None:
    for users, turns in ((0, 5), (5, 0), (-1, 1)):
        with pytest.raises(ValueError, match="all must be at least 1"):
            rollout(key, *world, users=users, turns=turns)
    with pytest.raises(ValueError, match="start holds 7 users, not 8"):
        rollout(key, *world, users=8, turns=2, start=begun)
