"""What the tests share: a compilation cache, small worlds, and two user models simple enough to reckon by hand.

`Coin` is a stranger's user model in miniature: random, quick to compile, a correct citizen. `Scripted` does in every
turn what its parameters say, so that the shell's numbers can be worked out on paper.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreco
from jaxreco import base, registry, rng
from jaxreco.base import EMPTY, Catalog, EnvParams, Event, Feedback, Instruction, Trace
from jaxreco.population import Population
from jaxreco.ring import Ring
from jaxreco.struct import Struct

Array = jax.Array

SMALL = dict(n_items=60, n_creators=8, n_users=32, slate_size=4, history_length=12)


# Most of the time goes into compiling. XLA's older emitters and one LLVM module a program make that three times as quick, and programs
# slower. Who sets XLA_FLAGS, be it to nothing, has programs compiled as users have them: `test_bits` does it for what promises bits.
QUICKLY = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def pytest_configure(config: pytest.Config) -> None:
    """Compile soon, and keep compiled programs between runs, beside pytest's own cache, which git ignores."""
    assert config.cache is not None
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if "XLA_FLAGS" not in os.environ and _known(config.cache, QUICKLY):
        os.environ |= {"XLA_FLAGS": QUICKLY, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # in processes that tests start too
    if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1":
        jax.config.update("jax_disable_most_optimizations", True)


def _known(cache: pytest.Cache, flags: str) -> bool:
    """Whether this XLA knows the flags: it ends the process where it does not."""
    name = f"xla/{jax.lib.__version__}/{flags}"
    found = cache.get(name, None)
    if found is None:
        tried = subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"], env={**os.environ, "XLA_FLAGS": flags}, capture_output=True
        )  # fmt: skip
        found = tried.returncode == 0
        cache.set(name, found)
    return bool(found)


@pytest.fixture(autouse=True, scope="module")
def _programs() -> Iterator[None]:
    """Let go of programs after each file: kept, they fill gigabytes by the end. What is needed again is on disk."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def key() -> Array:
    return jax.random.key(20261123)


@pytest.fixture(scope="session")
def feed() -> tuple[Any, Any]:
    """A Feed-v0 of 60 items, slates of 4, 32 rows of users: (env, params)."""
    return jaxreco.make("Feed-v0", **SMALL)


@pytest.fixture(scope="session")
def coin() -> tuple[Any, Any]:
    """A world of coin-tossing users: (env, params)."""
    return coin_world()


def small_catalog(n_items: int, seed: int = 0) -> Catalog:
    """A catalog of n_items with durations 10, 20, 30, ... seconds; embeddings in 3 dimensions."""
    embedding = np.random.default_rng(seed).normal(size=(n_items, 3))
    ids = np.arange(n_items)
    return Catalog(
        embedding=jnp.asarray(embedding / np.linalg.norm(embedding, axis=1, keepdims=True), jnp.float32),
        category=jnp.asarray(ids % 2, jnp.int32),
        creator=jnp.asarray(ids % 3, jnp.int32),
        tags=jnp.full((n_items, 1), EMPTY, jnp.int32),
        duration=jnp.asarray(10.0 * (ids + 1), jnp.float32),
        popularity=jnp.full(n_items, 1.0 / n_items, jnp.float32),
        quality=jnp.zeros(n_items, jnp.float32),
        age=jnp.zeros(n_items, jnp.float32),
    )


def make_small_feed(
    slate_size: int = 3, history_length: int = 6, action_mode: Any = "slate", choice: str = "cascade"
) -> Any:
    """A feed that compiles soon: slates of 3 of 60 items, 32 people. For the registry."""
    return registry._load("jaxreco.envs.feed:make")(
        slate_size=3, history_length=6, action_mode=action_mode, choice=choice, n_items=60, n_creators=6, n_users=32
    )


# -- Coin ----------------------------------------------------------------------------------------------------


class CoinTraits(Struct):
    """What differs between coins; a pool has leading axis P."""

    click: Array  # f32[], probability of a click


class CoinParams(Struct):
    """The pool, and the chances of leaving and returning."""

    population: Population
    leave: Any = base.param(default=0.3, low=0.0, high=1.0, doc="chance of leaving after a slate", unit="1")
    gap: Any = base.param(default=20.0, low=0.0, doc="mean gap", unit="hours")


class CoinState(Struct):
    """A coin's mind."""

    row: Array
    clock: Array
    mood: Array
    history: Ring


@dataclasses.dataclass(frozen=True)
class Coin:
    """Clicks, watches, leaves and returns by tossing coins."""

    slate_size: int
    history_length: int

    def init(self, key: Array, params: CoinParams, catalog: Catalog) -> CoinState:
        pick, mood = rng.uniforms(key, 2)
        row = params.population.pick(pick)
        return CoinState(row, jnp.float32(0.0), mood, Event.none_yet(self.slate_size, self.history_length))

    def review(
        self, key: Array, state: CoinState, slate: Array, params: CoinParams, catalog: Catalog, context: Any
    ) -> Any:
        K = self.slate_size
        u = rng.uniforms(key, 2 * K + 1)
        there = slate >= 0
        click = there & (u[:K] < params.population.row(state.row).click)
        watch = click * u[K : 2 * K] * catalog.duration[jnp.maximum(slate, 0)]
        minutes = 0.1 + jnp.sum(watch) / 60.0
        actions = there * jnp.int32(base.EXAMINED) + click * jnp.int32(base.CLICK)  # a bare 1 would be weakly typed
        feedback = Feedback(slate, actions, watch, minutes, u[-1] < params.leave)
        clock = state.clock + minutes / 60.0
        event = Event(slate, actions, watch, clock)
        mood = 0.9 * state.mood + 0.1 * jnp.mean(click, dtype=jnp.float32)
        after = state.replace(clock=clock, mood=mood, history=state.history.push(event))
        return after, feedback, Instruction.silent(), Trace.silent()

    def revisit(self, key: Array, state: CoinState, params: CoinParams, context: Any) -> tuple[CoinState, Array]:
        gap = -params.gap * jnp.log(rng.uniforms(key, 1)[0])
        return state.replace(clock=state.clock + gap, mood=0.5 * state.mood), gap


def coin_world(env_class: Any = jaxreco.RecoEnv, user_class: Any = Coin, **static: Any) -> tuple[Any, EnvParams]:
    """A world of 12 items and coins; `env_class` may be a broken RecoEnv."""
    size = {"slate_size": 1} if static.get("action_mode") == "item" else {"slate_size": 3}
    static = {"history_length": 6, **size, **static}
    model = user_class(static["slate_size"], static["history_length"])
    env = env_class(name="Coin", version="0", user_model=model, n_items=12, **static)
    population = Population(traits=CoinTraits(click=jnp.linspace(0.2, 0.8, 5)), weights=jnp.ones(5))
    return env, EnvParams(catalog=small_catalog(12), user=CoinParams(population=population))


# -- Scripted ------------------------------------------------------------------------------------------------


class Script(Struct):
    """What the user does, turn by turn; the last turn repeats."""

    actions: Array  # i32[T, K], bits
    watch: Array  # f32[T, K], seconds
    minutes: Array  # f32[T]
    left: Array  # bool[T]
    gap: Array  # f32[T], hours, should the user leave in that turn
    population: Population


class ScriptedState(Struct):
    """Where in the script the user is."""

    clock: Array
    line: Array
    history: Ring


@dataclasses.dataclass(frozen=True)
class Scripted:
    """Plays a script. Empty slots are not there: nothing is done with them."""

    slate_size: int
    history_length: int

    def init(self, key: Array, params: Script, catalog: Catalog) -> ScriptedState:
        return ScriptedState(jnp.float32(0.0), jnp.int32(0), Event.none_yet(self.slate_size, self.history_length))

    def review(
        self, key: Array, state: ScriptedState, slate: Array, params: Script, catalog: Catalog, context: Any
    ) -> Any:
        t = jnp.minimum(state.line, params.minutes.shape[0] - 1)
        there = slate >= 0
        actions, watch = jnp.where(there, params.actions[t], 0), jnp.where(there, params.watch[t], 0.0)
        feedback = Feedback(slate, actions, watch, params.minutes[t], params.left[t])
        clock = state.clock + params.minutes[t] / 60.0
        history = state.history.push(Event(slate, actions, watch, clock))
        return ScriptedState(clock, state.line + 1, history), feedback, Instruction.silent(), Trace.silent()

    def revisit(self, key: Array, state: ScriptedState, params: Script, context: Any) -> tuple[ScriptedState, Array]:
        gap = params.gap[jnp.minimum(state.line, params.gap.shape[0]) - 1]
        return state.replace(clock=state.clock + gap), gap
