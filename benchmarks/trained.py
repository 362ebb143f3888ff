"""Agents that a benchmark trains, once: what is trained is kept under a folder of runs, by all that makes it what it is."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

import jaxreco
from jaxreco import agents as agent_files
from jaxreco import envs as env_files
from jaxreco.benchmarks.report import Say
from jaxreco.learning import checkpoint, trainer
from jaxreco.learning.config import TrainConfig
from jaxreco.registry import agent_factory, make_agent
from jaxreco.talk.hearing import Hearing, hard_of_hearing


def learner(
    name: str,
    key: jax.Array,
    env: Any,
    params: Any,
    config: TrainConfig,
    *,
    hearing: Hearing = "real",
    folder: pathlib.Path | None = None,
    say: Say = lambda text: None,
) -> tuple[Any, Any]:
    """(agent, agent_params) of an agent that learns, trained or taken from its folder. The key is consumed.

    Args: hearing: one of `HEARINGS`. folder: where it is kept. say: told the update.
    """
    plain, agent_params = make_agent(name, jax.random.fold_in(key, 0), env, params)
    agent = hard_of_hearing(plain, hearing)
    key = jax.random.fold_in(key, 1)
    found = trainer.begin(key, env, params, agent, agent_params, config)
    meta = checkpoint.describe(env, name, plain, config)
    if folder is not None and checkpoint.latest(folder) is not None:
        found, _ = checkpoint.restore(folder, found, meta)
    else:
        for update in range(config.updates):
            say(f"update {update + 1} of {config.updates}")
            found, _ = trainer.block(key, params, found, env, agent, config)
        if folder is not None:
            checkpoint.save(folder.absolute(), found, meta)
    # On the device, whether trained or read: rules index the parameters with what they trace.
    return agent, jax.tree.map(jnp.asarray, found.agent_params)


def as_it_learns(name: str, config: TrainConfig) -> TrainConfig:
    """How an agent is trained: as its class says in `training`, else as `config`."""
    return dataclasses.replace(config, **getattr(agent_factory(name)(), "training", {}))


def place(runs: pathlib.Path | None, name: str, *made_by: Any) -> pathlib.Path | None:
    """Where under a folder of runs something that was trained is kept: by its name, the code, and all else that makes it what it is."""
    if runs is None:
        return None
    return runs / f"{name}-{hashlib.sha256(repr((_sources(), *made_by)).encode()).hexdigest()[:12]}"


@functools.cache
def _sources() -> str:
    """A digest of the Python that trains: library, agents and worlds."""
    digest = hashlib.sha256()
    for folder in sorted({folder for package in (jaxreco, agent_files, env_files) for folder in package.__path__}):
        for file in sorted(pathlib.Path(folder).rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
