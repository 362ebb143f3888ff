"""Checkpoints: what comes back is what was stored, to the bit, and nothing is restored into what it does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from conftest import coin_world

import jaxreco
from jaxreco.errors import JaxrecoError
from jaxreco.learning import checkpoint
from jaxreco.learning.config import TrainConfig
from jaxreco.learning.trainer import begin, block
from jaxreco.struct import Struct

TINY = dict(width=16, layers=1, heads=2, window=4)
CONFIG = TrainConfig(updates=4, users=8, turns=4, epochs=2, minibatches=8)  # as test_train_cli has it: compiled once
KEY = jax.random.key(1)


class Job:
    """A tiny agent in a tiny world, and its blocks."""

    def __init__(self) -> None:
        self.env, self.params = coin_world()
        self.agent, self.agent_params = jaxreco.make_agent("ppo", jax.random.key(0), self.env, self.params, **TINY)
        self.meta = checkpoint.describe(self.env, "ppo", self.agent, CONFIG)

    def fresh(self) -> Any:
        learner = begin(KEY, self.env, self.params, self.agent, self.agent_params, CONFIG)
        return checkpoint.settle(learner)

    def go(self, learner: Any, blocks: int) -> Any:
        for _ in range(blocks):
            learner, _ = block(KEY, self.params, learner, self.env, self.agent, CONFIG)
            learner = checkpoint.settle(learner)
        return learner


@pytest.fixture(scope="module")
def job() -> Job:
    return Job()


@pytest.fixture(scope="module")
def halfway(job) -> Any:
    return job.go(job.fresh(), 2)


def bits(learner: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(learner)]


def programs() -> int:
    return block._cache_size()  # type: ignore[attr-defined]


def test_a_resumed_run_equals_an_uninterrupted_one(job, halfway, tmp_path):
    checkpoint.save(tmp_path, halfway, job.meta)
    restored, warnings = checkpoint.restore(tmp_path, job.fresh(), job.meta)
    assert warnings == []
    assert bits(restored) == bits(halfway)
    compiled = programs()
    assert bits(job.go(restored, 2)) == bits(job.go(job.fresh(), 4))
    assert programs() == compiled


class Held(Struct):
    update: Any
    empty: Any
    full: Any


def test_arrays_without_numbers_come_back_too(tmp_path):
    """Such as the state of users who ask for nothing; Orbax stores none."""
    held = Held(np.int32(3), np.zeros((8, 0), np.int32), np.arange(3.0, dtype=np.float32))
    checkpoint.save(tmp_path, held, {})
    found, _ = checkpoint.restore(tmp_path, jax.tree.map(np.zeros_like, held), {})
    jax.tree.map(np.testing.assert_array_equal, found, held)
    assert (found.empty.shape, found.empty.dtype) == ((8, 0), np.int32)
    assert checkpoint.leaves(tmp_path)["empty"].shape == (8, 0)


def test_only_the_last_two_are_kept(job, halfway, tmp_path):
    for update in (1, 2, 3):
        checkpoint.save(tmp_path, halfway.replace(update=np.int32(update)), job.meta)
    assert checkpoint.latest(tmp_path) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "meta.json"]
    checkpoint.save(tmp_path, halfway.replace(update=np.int32(3)), job.meta)  # again: nothing to do


def test_no_checkpoint(job, tmp_path):
    assert checkpoint.latest(tmp_path / "none") is None
    with pytest.raises(JaxrecoError, match="holds no checkpoint"):
        checkpoint.restore(tmp_path / "none", job.fresh(), job.meta)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("env", "Other-v0", "the world was Other-v0, now Coin"),
        ("env_version", "9", "the world's version was 9, now 0"),
        ("agent_config", "PPO(width=1)", "the agent's settings"),
        ("format", 0, "the format of jaxreco's checkpoints was 0"),
    ],
)
def test_of_something_else(job, halfway, tmp_path, name, value, words):
    checkpoint.save(tmp_path, halfway, {**job.meta, name: value})
    with pytest.raises(JaxrecoError, match=words):
        checkpoint.restore(tmp_path, job.fresh(), job.meta)


def test_training_settings_that_differ_are_named_alone(job, halfway, tmp_path):
    train = {**job.meta["train"], "clip": 0.5}
    checkpoint.save(tmp_path, halfway, {**job.meta, "train": train})
    with pytest.raises(JaxrecoError, match=r"\{'clip': 0.5\}, now \{'clip': 0.2\}"):
        checkpoint.restore(tmp_path, job.fresh(), job.meta)


def test_another_machine_is_a_warning(job, halfway, tmp_path):
    checkpoint.save(tmp_path, halfway, {**job.meta, "cores": 999, "xla_flags": "--other"})
    _, warnings = checkpoint.restore(tmp_path, job.fresh(), job.meta)
    assert any("number of visible cores was 999" in line for line in warnings)
    assert any("XLA_FLAGS was --other" in line for line in warnings)


def test_arrays_of_another_shape(job, halfway, tmp_path):
    wide, wide_params = jaxreco.make_agent("ppo", jax.random.key(0), job.env, job.params, **{**TINY, "width": 32})
    checkpoint.save(tmp_path, halfway, job.meta)
    fresh = begin(KEY, job.env, job.params, wide, wide_params, CONFIG)
    with pytest.raises(JaxrecoError, match="does not fit"):
        checkpoint.restore(tmp_path, fresh, job.meta)


def test_broken_meta(job, halfway, tmp_path):
    checkpoint.save(tmp_path, halfway, job.meta)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(JaxrecoError, match="is no JSON"):
        checkpoint.restore(tmp_path, job.fresh(), job.meta)


@pytest.mark.slow
def test_in_a_new_process(job, halfway, tmp_path):
    checkpoint.save(tmp_path, halfway, job.meta)
    script = (
        "import sys, json, pathlib; sys.path.insert(0, 'tests')\n"
        "import test_checkpoint as t; from jaxreco.learning import checkpoint as c\n"
        "job = t.Job(); learner, w = c.restore(pathlib.Path(sys.argv[1]), job.fresh(), job.meta)\n"
        "print(json.dumps([w, [b.hex() for b in t.bits(job.go(learner, 2))]]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    warnings, found = json.loads(ran.stdout.splitlines()[-1])
    assert warnings == []
    assert found == [b.hex() for b in bits(job.go(job.fresh(), 4))]
