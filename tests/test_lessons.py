"""A teacher: what it would have shown is noted at the learner's own states, becomes likely, and is what `train --teacher` begins with."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import coin_world
from trainee import SHORT, SIZE, done, figures, leaves, make_tiny, refused, registered, run  # noqa: F401 (of its own accord)

from jaxreco import registry
from jaxreco.base import CLICK, Catalog, Observation
from jaxreco.learning import lessons, trainer
from jaxreco.learning.config import TrainConfig
from jaxreco.nn import plackett_luce
from jaxreco.rollout import initial, rollout

Array = jax.Array
TRAIN = ("train", *SIZE, *SHORT, "--quiet")
SMALL = TrainConfig(users=8, turns=4, updates=30, minibatches=2, learning_rate=0.02)


@dataclasses.dataclass(frozen=True)
class Clicks:
    """A teacher with a memory: always the items after the latest that was clicked on."""

    privileged: ClassVar[bool] = False

    def init(self, key: Array, env: Any, catalog: Catalog) -> None:
        """Knows nothing beforehand."""

    def reset(self, agent_params: None) -> Array:
        return jnp.int32(3)

    def act(self, key: Array, agent_params: None, memory: Array, obs: Observation, catalog: Catalog) -> Any:
        clicked = jnp.max(jnp.where((obs.actions & CLICK) != 0, obs.slate, -1))
        memory = jnp.where(clicked >= 0, clicked, memory)
        return (memory + 1 + jnp.arange(obs.slate.shape[0], dtype=jnp.int32)) % catalog.n_items, memory, None


@dataclasses.dataclass(frozen=True)
class Fixed(Clicks):
    """A teacher that always shows the same three."""

    def act(self, key: Array, agent_params: None, memory: Array, obs: Observation, catalog: Catalog) -> Any:
        return jnp.array([7, 2, 9], jnp.int32), memory, None


@dataclasses.dataclass(frozen=True)
class Mind(Fixed):
    """A teacher that reads minds: it shows what costs nobody anything to know, and is handed the truth."""

    privileged: ClassVar[bool] = True

    def act(  # type: ignore[override]
        self, key: Array, agent_params: None, memory: Array, obs: Observation, catalog: Catalog, truth: Any
    ) -> Any:
        state, _ = truth
        return (state.user.row + jnp.arange(3, dtype=jnp.int32)) % catalog.n_items, memory, None


def learner(key: Array, env: Any, params: Any) -> tuple[Any, Any]:
    agent = make_tiny()
    return agent, agent.init(key, env, params.catalog)


def test_a_teacher_is_asked_at_the_states_of_the_learner(key: Array) -> None:
    env, params = coin_world()
    agent, agent_params = learner(key, env, params)
    both = lessons.Taught(agent, Clicks())
    ran = rollout(key, env, params, both, (agent_params, None), users=4, turns=12, trajectory=True)
    trajectory = ran.trajectory
    assert trajectory is not None
    over = np.asarray(trajectory.terminated | trajectory.truncated)
    moved = 0
    for user in range(4):
        memory = 3
        for turn in range(12):
            if turn and over[turn - 1, user]:
                memory = 3
            clicks = np.asarray(trajectory.obs.slate)[turn, user][
                np.asarray(trajectory.obs.actions)[turn, user] & CLICK != 0
            ]
            memory = int(clicks.max()) if len(clicks) else memory
            moved += memory != 3
            assert trajectory.extras.wanted[turn, user].tolist() == [(memory + i) % 12 for i in (1, 2, 3)]
    assert moved > 10
    assert (np.asarray(trajectory.action) != np.asarray(trajectory.extras.wanted)).any()  # the learner acts


def test_the_loss_by_hand(key: Array) -> None:
    env, params = coin_world()
    agent, agent_params = learner(key, env, params)
    _, _, figures_of_one = one_lesson(key, env, params, agent, agent_params, Fixed())
    both = lessons.Taught(agent, Fixed())
    start = initial(key, env, params, both, (agent_params, None), users=8)
    ran = rollout(key, env, params, both, (agent_params, None), users=8, turns=4, start=start, trajectory=True)
    total, memory, net = 0.0, jax.vmap(lambda _: agent.reset(agent_params))(jnp.arange(8)), agent_params.net
    trajectory, look = ran.trajectory, jax.jit(agent._look)
    assert trajectory is not None
    for user in range(8):
        one = jax.tree.map(lambda x, user=user: x[user], memory)
        for turn in range(4):
            obs = jax.tree.map(lambda x, turn=turn, user=user: x[turn, user], trajectory.obs)
            judged, one, _ = look(agent_params, one, obs, params.catalog)
            cooler = (agent_params.described.membership, net.cooling[...])
            total -= float(plackett_luce.log_prob(judged.logits, jnp.array([7, 2, 9]), *cooler)[0].sum())
    assert not (trajectory.terminated | trajectory.truncated).any()
    # The figure is a mean over minibatches, the second of them a step later: nearly the same.
    assert figures_of_one["nats"] == pytest.approx(total / (8 * 4 * 3), abs=1e-4)


def one_lesson(key: Array, env: Any, params: Any, agent: Any, agent_params: Any, teacher: Any) -> Any:
    told: list[dict[str, float]] = []
    config = dataclasses.replace(SMALL, updates=1, minibatches=1)
    after = lessons.learn(
        key, env, params, (agent, agent_params), (teacher, None), config, lambda i, f: told.append({"lesson": i, **f})
    )
    return agent, after, told[0]


def test_what_the_teacher_shows_becomes_likely(key: Array) -> None:
    env, params = coin_world()
    agent, agent_params = learner(key, env, params)
    told: list[dict[str, float]] = []
    after = lessons.learn(
        key, env, params, (agent, agent_params), (Fixed(), None), SMALL, lambda i, f: told.append({"lesson": i, **f})
    )
    assert [line["lesson"] for line in told] == list(range(1, 31))
    assert told[0]["agree"] == pytest.approx(3 / 12, abs=0.15)  # three of twelve, by chance
    assert told[-1]["agree"] > 0.9
    assert told[-1]["nats"] < 0.3 * told[0]["nats"]
    assert after.reputation.looks.any()  # what everybody has found is learned on the way
    slate, _, _ = agent.act(key, after, agent.reset(after), env.reset(key, params)[0], params.catalog)
    assert sorted(slate.tolist()) == [2, 7, 9]


def test_lessons_are_decided_by_their_key(key: Array) -> None:
    env, params = coin_world()
    agent, agent_params = learner(key, env, params)
    short = dataclasses.replace(SMALL, updates=2)

    def weights(key: Array) -> np.ndarray:
        after = lessons.learn(key, env, params, (agent, agent_params), (Clicks(), None), short)
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(after.net)])

    np.testing.assert_array_equal(weights(key), weights(key))
    assert (weights(key) != weights(jax.random.key(99))).any()


def test_a_teacher_may_read_minds_and_the_learner_does_not(key: Array) -> None:
    env, params = coin_world()
    agent, agent_params = learner(key, env, params)
    assert lessons.Taught(agent, Mind()).privileged
    assert not lessons.Taught(agent, Fixed()).privileged
    handed = []

    class Looks(type(agent)):  # type: ignore[misc]
        def act(self, key: Array, agent_params: Any, memory: Any, obs: Observation, catalog: Catalog) -> Any:
            handed.append(catalog)
            return super().act(key, agent_params, memory, obs, catalog)

    looks = Looks(**vars(agent))
    hidden = params.catalog.replace(embedding=-params.catalog.embedding)
    obs, state = env.reset(key, params)
    memory = (agent.reset(agent_params), None)
    taught = lessons.Taught(looks, Mind())
    _, _, noted = taught.act(key, (agent_params, None), memory, obs, hidden, truth=(state, params))
    assert handed[0] is params.catalog
    assert noted.wanted.tolist() == [int(state.user.row) + i for i in range(3)]


# -- the command ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taught(tmp_path_factory: Any) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("runs") / "taught"
    done(*TRAIN, "--teacher", "popularity", "--lessons", 3, "--train", "kl=0.5", "--out", folder)
    return folder


def test_a_run_begins_with_what_a_teacher_taught(taught: pathlib.Path, tmp_path: pathlib.Path) -> None:
    told = json.loads((taught / "lessons.json").read_text())
    assert [line["lesson"] for line in told] == [1, 2, 3]
    assert len(figures(taught)) == 4
    assert "from_reference" in figures(taught)[0]  # and is held to it
    plain = tmp_path / "plain"
    done(*TRAIN, "--train", "kl=0.5", "--out", plain)
    assert leaves(plain) != leaves(taught)
    assert not (plain / "lessons.json").exists()


def test_a_run_that_was_stopped_in_its_lessons_begins_them_again(
    taught: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "run", lessons.learn

    def stopped(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lessons, "learn", stopped)
    result = run(*TRAIN, "--teacher", "popularity", "--lessons", 3, "--train", "kl=0.5", "--out", folder)
    assert result.exit_code == 130
    assert f"jaxreco train --resume {folder}" in result.output.replace("\n", "")
    monkeypatch.setattr(lessons, "learn", real)
    done("train", "--resume", folder, "--quiet")
    assert leaves(folder) == leaves(taught)
    assert (folder / "lessons.json").read_bytes() == (taught / "lessons.json").read_bytes()


def test_what_no_teacher_can_do(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    monkeypatch.setitem(registry._AGENTS, "mind", Mind)
    for words, told in {
        ("--lessons", 3): "--lessons are given by a teacher, and there is none",
        ("--teacher", "tiny"): "has nothing to teach before it has learned",
        ("--teacher", "populrity"): "Did you mean popularity",
        ("--teacher", "mind"): "reads minds, and these users have none",
        ("--teacher", "popularity", "--lessons", 0): "lessons is 0: give at least 1",
    }.items():
        refused(run(*TRAIN, *words, "--out", folder), told)
    assert not folder.exists()


def test_training_goes_on_as_ever_after_lessons(key: Array) -> None:
    """What comes out of lessons is an agent's parameters like any other: a block of training takes them."""
    env, params = coin_world()
    agent, agent_params = learner(key, env, params)
    after = lessons.learn(
        key, env, params, (agent, agent_params), (Fixed(), None), dataclasses.replace(SMALL, updates=1)
    )
    begun = trainer.begin(key, env, params, agent, after, SMALL)
    _, logs = trainer.block(key, params, begun, env, agent, SMALL)
    assert all(np.isfinite(float(value)) for value in logs.values())
