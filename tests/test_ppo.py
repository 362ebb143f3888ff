"""PPO: what is replayed is what was done, and a block of training teaches something."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import shutil
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Coin, CoinState, coin_world, small_catalog

import jaxreco
from jaxreco import base
from jaxreco.agents import ppo
from jaxreco.base import Event, Feedback, Instruction, Trace
from jaxreco.learning import trainer
from jaxreco.learning.config import TrainConfig
from jaxreco.learning.tastes import Named
from jaxreco.rollout import Rollout, rollout
from jaxreco.testing import quick_jit

Array = jax.Array
SMALL = dict(width=16, layers=2, heads=2)


def noisy(agent_params: Any, scale: float = 0.3) -> Any:
    """Every weight moved: fresh attention adds nothing, so nothing of it would be tested."""
    leaves, tree = jax.tree.flatten(agent_params.net)
    rng = np.random.default_rng(0)
    leaves = [x + jnp.asarray(scale * rng.normal(size=x.shape), x.dtype) for x in leaves]
    net = jax.tree.unflatten(tree, leaves)
    return agent_params.replace(net=net, value_mean=jnp.float32(2.0), value_std=jnp.float32(3.0))


# -- replay --------------------------------------------------------------------------------------------------

BEFORE, TURNS, USERS = 5, 12, 4


@pytest.fixture(scope="module", params=[("ppo", 3), ("ppo", 16), ("agentic", 3)], ids="{0[0]}, window {0[1]}".format)
def lived(request: Any, key: Array) -> tuple[Any, Any, Any, Rollout, Rollout]:
    """(params, agent, agent_params, the rollout before the block, the block) with episodes of 7 turns."""
    env, params = coin_world()
    params = params.replace(max_steps_in_episode=7)
    name, window = request.param
    agent, agent_params = jaxreco.make_agent(name, key, env, params, window=window, **SMALL)
    agent_params = noisy(agent_params)

    def run(key: Array, params: Any, agent_params: Any) -> tuple[Rollout, Rollout]:
        options: Any = dict(users=USERS, tile=USERS, trajectory=True)
        before = rollout(key, env, params, agent, agent_params, turns=BEFORE, **options)
        return before, rollout(key, env, params, agent, agent_params, turns=TURNS, start=before, **options)

    before, block = quick_jit(run)(key, params, agent_params)
    return params, agent, agent_params, before, block


def replayed(lived: Any, memory: Any = None) -> Any:
    params, agent, agent_params, before, block = lived
    trajectory = block.trajectory
    done = (trajectory.terminated | trajectory.truncated).astype(jnp.int32)
    return quick_jit(jax.vmap(agent.replay, (None, 0, 1, 1, 1, None), 1))(
        agent_params,
        before.memory if memory is None else memory,
        trajectory.extras.percept,
        jnp.cumsum(done, axis=0) - done,
        trajectory.action,
        params.catalog,
    )


def test_replay_is_what_was_done(lived: Any) -> None:
    _, _, agent_params, _, block = lived
    trajectory, again = block.trajectory, replayed(lived)
    ends = np.asarray(trajectory.truncated | trajectory.terminated)
    assert (ends[:-1].sum(axis=0) >= 1).all()  # in the middle of the block
    chex.assert_shape(again.log_prob, (TURNS, USERS, 3))
    np.testing.assert_allclose(again.log_prob, trajectory.extras.log_prob, atol=1e-4)
    value = agent_params.value_mean + agent_params.value_std * again.value
    np.testing.assert_allclose(value, trajectory.extras.value, atol=1e-4)
    np.testing.assert_allclose(again.slot_value, trajectory.extras.slot_value, atol=1e-4)
    chex.assert_shape(again.appeal, (TURNS, USERS, 3))
    assert float(jnp.std(value)) > 1e-2
    assert (np.asarray(again.entropy) > 0).all()
    assert (np.asarray(again.entropy) <= math.log(12) + 1e-5).all()


def test_replay_needs_the_memory_from_before(lived: Any) -> None:
    """Else the test above could pass with a cache that nobody reads."""
    _, agent, agent_params, _, block = lived
    empty = jax.vmap(lambda _: agent.reset(agent_params))(jnp.arange(USERS))
    again = replayed(lived, empty)
    moved = np.abs(np.asarray(again.log_prob - block.trajectory.extras.log_prob)).max(axis=(1, 2))
    assert moved[0] > 1e-3
    assert moved[3:].max() < 1e-4  # a new episode began: what was before is forgotten


def test_values_of_the_last_observation(lived: Any) -> None:
    """Truncated episodes, and those the call leaves off, are continued by the agent's value; others by nothing."""
    trajectory = lived[4].trajectory
    cut = np.array(trajectory.truncated & ~trajectory.terminated)
    assert cut[:-1].any()
    cut[-1] = ~np.asarray(trajectory.terminated[-1])
    np.testing.assert_array_equal(np.asarray(trajectory.bootstrap) != 0, cut)
    params, agent, agent_params, _, after = lived
    seen = jax.vmap(coin_world()[0].observe, (0, None))(after.state, params)
    value = jax.vmap(agent.value, (None, 0, 0, None))(agent_params, after.memory, seen, params.catalog)
    lives = ~np.asarray(trajectory.truncated | trajectory.terminated)[-1]
    np.testing.assert_allclose(trajectory.bootstrap[-1][lives], value[lives], rtol=1e-4)


# -- blocks --------------------------------------------------------------------------------------------------

BEST = 5  # the only item anybody wants
CONFIG = TrainConfig(updates=12, users=64, turns=8, minibatches=4, learning_rate=2e-2, entropy=0.0, entropy_end=0.0)


@dataclasses.dataclass(frozen=True)
class Picky(Coin):
    """Looks at every slot, and watches one item to the end, but only in the first."""

    def review(self, key: Array, state: CoinState, slate: Array, params: Any, catalog: Any, context: Any) -> Any:
        first = jnp.arange(self.slate_size) == 0
        click = (slate == BEST) & first
        watch = jnp.where(click, catalog.duration[BEST], 0.0)
        actions = (slate >= 0) * jnp.int32(base.EXAMINED) + click * jnp.int32(base.CLICK)
        clock = state.clock + 1.0 / 60.0
        after = state.replace(clock=clock, history=state.history.push(Event(slate, actions, watch, clock)))
        feedback = Feedback(slate, actions, watch, jnp.float32(1.0), jnp.bool_(False))
        return after, feedback, Instruction.silent(), Trace.silent()


def taught(key: Array, name: str, config: TrainConfig) -> dict[str, Any]:
    """Blocks in the picky world, of users who live 4 turns, so that little can be learnt about any of them."""
    env, params = coin_world(user_class=Picky)
    params = params.replace(max_steps_in_episode=4)
    agent, agent_params = jaxreco.make_agent(name, key, env, params, window=4, **SMALL)
    before = jax.tree.map(np.asarray, agent_params)
    learner, logs, updates = trainer.begin(key, env, params, agent, agent_params, config), [], []
    block = quick_jit(lambda key, params, learner: trainer.block(key, params, learner, env, agent, config))
    for _ in range(config.updates):
        learner, log = block(key, params, learner)
        logs.append(jax.tree.map(float, log))
        updates.append((int(learner.update), int(learner.rollout.turn[0])))
    return {"before": before, "learner": learner, "logs": logs, "updates": updates, "world": (env, params, agent)}


def opens_with_the_best(key: Array, done: dict[str, Any]) -> tuple[float, float]:
    """The share of slates with BEST in the first slot, on users never seen, before and after."""
    env, params, agent = done["world"]

    def share(key: Array, agent_params: Any) -> Array:
        ran = rollout(key, env, params, agent, agent_params, users=128, turns=4, trajectory=True)
        return jnp.mean(ran.trajectory.action[..., 0] == BEST)

    share = quick_jit(share)
    other = jax.random.fold_in(key, 99)
    return float(share(other, done["before"])), float(share(other, done["learner"].agent_params))


@pytest.fixture(scope="module")
def trained(key: Array) -> dict[str, Any]:
    """Twelve blocks of PPO."""
    return taught(key, "ppo", CONFIG)


def test_blocks_log_finite_numbers_and_count(trained: Any) -> None:
    assert trained["updates"] == [(i, i * CONFIG.turns) for i in range(1, CONFIG.updates + 1)]
    for log in trained["logs"]:
        assert {"reward", "policy", "entropy", "value_loss", "slot_loss", "clipped", "kl"} <= set(log)
        assert all(math.isfinite(x) for x in log.values()), log
    chex.assert_tree_all_finite(jax.tree.map(jnp.asarray, trained["learner"].agent_params))


def test_parameters_move_and_descriptions_stay(trained: Any) -> None:
    before, after = trained["before"], trained["learner"].agent_params
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (before.net, after.net)), strict=True)]
    assert np.mean(np.array(moved) > 1e-4) > 0.9
    np.testing.assert_array_equal(before.described.renown, 0)
    moved = np.abs(after.described.renown).max()
    assert moved > 0
    chex.assert_trees_all_equal(before.described, after.described.replace(renown=before.described.renown))
    assert float(after.value_std) > 0
    assert float(after.temperature) == 1.0


def test_training_finds_the_item_that_everybody_wants(trained: Any, key: Array) -> None:
    before, after = opens_with_the_best(key, trained)
    assert after > before + 0.2  # 512 slates: a standard error is 0.02
    rewards = [log["reward"] for log in trained["logs"]]
    assert np.mean(rewards[-3:]) > 1.3 * np.mean(rewards[:3])


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("reinforce", {}),
        ("agentic", {}),
        ("grpo", {"group": 4}),
        ("grpo", {"group": 4, "scaled": False, "per_length": True}),
    ],
)
def test_so_do_the_other_objectives(name: str, more: dict[str, Any], key: Array) -> None:
    objective = "ppo" if name == "agentic" else name
    done = taught(key, name, dataclasses.replace(CONFIG, objective=objective, **more))
    before, after = opens_with_the_best(key, done)
    assert after > before + 0.2
    assert all(math.isfinite(x) for log in done["logs"] for x in log.values())


def test_a_policy_is_held_to_the_one_that_it_began_as(key: Array) -> None:
    """The more, the less it moves; and what it is held to stays."""
    few = dataclasses.replace(CONFIG, updates=6)
    free, held = (taught(key, "ppo", dataclasses.replace(few, kl=kl)) for kl in (1e-6, 30.0))
    far, near = (done["logs"][-1]["from_reference"] for done in (free, held))
    assert 0.0 <= near < 0.3 * far
    assert free["logs"][0]["from_reference"] >= 0.0
    chex.assert_trees_all_equal(held["learner"].reference, held["before"].net)
    assert opens_with_the_best(key, held)[1] < opens_with_the_best(key, free)[1]


def test_lives_of_a_group_begin_alike(key: Array) -> None:
    done = taught(key, "grpo", dataclasses.replace(CONFIG, updates=1, objective="grpo", group=4))
    after = done["learner"].rollout
    again = trainer._alike(after, 4)
    for was, now in zip(jax.tree.leaves(after), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(np.asarray(now)[4:8], np.asarray(was)[[4] * 4])


def test_a_copy_of_the_agent_trains_by_path(tmp_path: pathlib.Path, key: Array) -> None:
    """Copy the file, change it, train the copy: as the agent's docstring promises."""
    copy = tmp_path / "my_ppo.py"
    shutil.copy(ppo.__file__, copy)
    env, params = coin_world()
    agent, agent_params = jaxreco.make_agent(str(copy), key, env, params, window=4, width=8, layers=1, heads=2)
    assert type(agent) is not ppo.PPO
    config = TrainConfig(updates=2, users=8, turns=4, minibatches=2)
    learner = trainer.begin(key, env, params, agent, agent_params, config)
    block = quick_jit(lambda key, params, learner: trainer.block(key, params, learner, env, agent, config))
    for _ in range(2):
        learner, log = block(key, params, learner)
        assert all(math.isfinite(float(x)) for x in log.values())
    assert int(learner.update) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"users": 10, "minibatches": 3},
        {"updates": 0},
        {"turns": 0},
        {"epochs": -1},
        {"group": 4},
        {"objective": "grpo"},
        {"objective": "grpo", "group": 5},
        {"objective": "pop"},
    ],
)
def test_impossible_settings_raise(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|did you mean|Did you mean|There is no objective 'pop'"):
        TrainConfig(**wrong)


def test_scores_and_their_gradient_are_those_of_the_plain_product(key: Array) -> None:
    items = jax.random.normal(key, (7, 5))
    described = ppo.Described(
        items=items,
        by_feature=items.T,
        membership=jnp.zeros((2, 7)),
        made=jnp.ones(3, jnp.int32),
        named=Named.of(small_catalog(7), items),
        renown=jnp.zeros((2, 7)),
    )
    taste = jnp.arange(15.0).reshape(3, 5)
    weigh = lambda product: lambda taste: jnp.sum(jnp.sin(jax.vmap(product)(taste)))  # noqa: E731
    ours, plain = weigh(lambda t: ppo.scored(t, described)), weigh(lambda t: items @ t)
    np.testing.assert_allclose(ours(taste), plain(taste), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(ours)(taste), jax.grad(plain)(taste), rtol=1e-4, atol=1e-5)
