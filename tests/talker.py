"""A coin-tossing user who talks, and a run folder of its world: what tests of told sessions and of pairs need."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from conftest import Coin, coin_world

from jaxreco import rng
from jaxreco import run as runs
from jaxreco.agents import ppo
from jaxreco.base import EMPTY, Catalog, Instruction, Names, Trace
from jaxreco.learning import checkpoint
from jaxreco.talk.grammar import CAUSE, INTENT, KIND
from jaxreco.talk.satisfies import Situation
from jaxreco.training.job import build

Array = jax.Array

CAUSES = ("sated", "long", "bait", "time")
TITLES = ("<i>Bold</i> & \u202eloud\x1b[31m", *(f"Title number {i}" for i in range(1, 12)))


@dataclasses.dataclass(frozen=True)
class Talker(Coin):
    """After half of the slates that it stays for it asks for less of the first item's category, for one of CAUSES."""

    def review(self, key: Array, state: Any, slate: Array, params: Any, catalog: Catalog, context: Any) -> Any:
        after, feedback, _, _ = super().review(key, state, slate, params, catalog, context)
        speaks, which = rng.uniforms(jax.random.fold_in(key, 1), 2)
        cause = jnp.asarray([CAUSE[name] for name in CAUSES])[(which * len(CAUSES)).astype(jnp.int32)]
        first = jnp.maximum(slate[0], 0)
        intent = jnp.where((speaks < 0.5) & ~feedback.left, INTENT["less"], 0)
        said = _less(intent, catalog.category[first], cause)
        causes = jnp.stack([cause, jnp.int32(CAUSE["delight"]), jnp.int32(0)])
        amounts = jnp.array([0.8, -0.2, 0.0])
        items = jnp.stack([jnp.where(cause == CAUSE["time"], EMPTY, first), first, jnp.int32(EMPTY)])
        return after, feedback, said, Trace(causes, amounts, items)

    def opening(self, key: Array, state: Any, opens: Array, params: Any, catalog: Catalog, context: Any) -> Any:
        """Every other session is opened with a request."""
        intent = jnp.where(rng.uniforms(key, 1)[0] < 0.5, INTENT["less"], 0)
        return state, _less(intent, jnp.int32(1), jnp.int32(CAUSE["opening"]))

    def situation(self, state: Any, params: Any, catalog: Catalog) -> Situation:
        """Requests of this user look at the category alone."""
        one = jnp.float32(1.0)
        return Situation(catalog, jnp.zeros((2, 2)), jnp.zeros(1, jnp.int32), jnp.zeros(2), one, one, jnp.zeros((3, 1)))


def _less(intent: Array, category: Array, cause: Array) -> Instruction:
    return Instruction.of(intent, jnp.int32(KIND["category"]), category, jnp.float32(2.0 / 3.0), cause)


def talking_world(user_class: Any = Talker, **leave: float) -> tuple[Any, Any]:
    """A world of 12 items with names, slates of 3, and talkers (or other coins)."""
    env, params = coin_world(user_class=user_class)
    names = Names(TITLES, ("cooking", "music"), ("Ann", "Bob", "Cem"), ())
    return dataclasses.replace(env, names=names), params.replace(user=params.user.replace(**(leave or {"leave": 0.15})))


def make_talker(
    slate_size: int = 3, history_length: int = 6, action_mode: Any = "slate", choice: str = "cascade"
) -> Any:
    return talking_world()


def make_silent(
    slate_size: int = 3, history_length: int = 6, action_mode: Any = "slate", choice: str = "cascade"
) -> Any:
    return talking_world(Coin)


def make_tiny() -> Any:
    return ppo.make(width=16, layers=1, heads=2, window=4)


def run_folder(folder: pathlib.Path, env: str, temperature: str | None = "0.5") -> pathlib.Path:
    """A run of 0 updates in a registered world, with a checkpoint and, where there is a temperature, a table."""
    train = {"users": 8, "turns": 4, "updates": 4, "minibatches": 4}
    job = build({"env": env, "agent": "tiny", "data": None, "seed": 3, "set": [], "world": [], "train": train})
    run = runs.create(folder, job.config)
    checkpoint.save(run.checkpoint, job.begin(), job.meta())
    if temperature is not None:
        run.write_text("table.json", json.dumps({"temperature": temperature}))
    return folder
