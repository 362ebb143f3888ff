"""No NaN and no impossible mind, whatever the parameters.

Every scalar of the world and of the user, and every column of the population, is set to both ends of its range, one
at a time and then many at once, and users live through it with auto-reset. One compiled program serves all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL

import jaxreco
from jaxreco.population import override
from jaxreco.testing import quick_jit

Array = jax.Array
HUGE = 1e6
TRAITS = {  # their ends: pools are not declared with ranges
    "novelty": (-HUGE, HUGE),
    "patience": (-HUGE, HUGE),
    "budget_minutes": (0.0, HUGE),
    "habit_hours": (0.0, HUGE),
    "gullibility": (0.0, HUGE),
    "trust": (0.0, 1.0),
    "expressive": (-HUGE, HUGE),
    "freshness": (-HUGE, HUGE),
    "rho": (0.0, 1.0),
}


def flaws(before: Any, step: Any) -> dict[str, Array]:
    """bool[] by name: what is wrong with one turn."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(step):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            found[f"NaN in step{jax.tree_util.keystr(path)}"] = jnp.any(jnp.isnan(leaf))
    info, mind = step.info, step.state.user
    clock = info["final_observation"].clock
    return found | {
        "trust": (mind.trust < 0) | (mind.trust > 1),
        "mood": jnp.abs(mind.mood) > 1 + 1e-6,
        "satiation": jnp.any(mind.satiation < 0),
        "exposure": jnp.any(mind.exposure < 0),
        "boredom": mind.boredom < 0,
        "budget": mind.budget <= 0,
        "the clock is infinite": ~jnp.isfinite(clock) | ~jnp.isfinite(mind.clock),
        "the clock runs backwards": clock < before.clock,
        "the reward is infinite": ~jnp.isfinite(step.reward),
        "watched longer than the item": jnp.any(info["feedback"].watch > 180.0),
        "discount": (info["discount"] < 0) | (info["discount"] > 1),
        "the new episode is not at 0": (step.terminated | step.truncated) & (step.state.clock != 0),
    }


def _wrong(env: Any, params: Any, keys: Array, turns: Array) -> tuple[dict[str, Array], Array]:
    """How often each flaw was seen in `turns` turns of one user a key, and how many episodes ended."""

    def user(key: Array) -> tuple[dict[str, Array], Array]:
        def turn(t: Array, carry: Any) -> Any:
            state, counts, ends = carry
            key_slate, key_bad, key_step = jax.random.split(jax.random.fold_in(key, t), 3)
            slate = env.random_slate(key_slate)
            slate = jnp.where(jax.random.bernoulli(key_bad, 0.1, slate.shape), -1, slate)
            step = env.step(key_step, state, slate, params)
            seen = flaws(state, step)
            done = (step.terminated | step.truncated).astype(jnp.int32)
            return step.state, {name: counts[name] + seen[name] for name in counts}, ends + done

        _, state = env.reset(key, params)
        shape = jax.eval_shape(env.step, key, state, env.random_slate(key), params)
        none = {name: jnp.int32(0) for name in jax.eval_shape(flaws, state, shape)}
        _, counts, ends = jax.lax.fori_loop(0, turns, turn, (state, none, jnp.int32(0)))
        return counts, ends

    counts, ends = jax.vmap(user)(keys)
    return jax.tree.map(jnp.sum, counts), jnp.sum(ends)


wrong = quick_jit(_wrong, static_argnums=0)
ENV, PARAMS = jaxreco.make("Feed-v0", **SMALL)
MNL, _ = jaxreco.make("Feed-v0", **SMALL, choice="mnl")


def ends(field: dataclasses.Field[Any]) -> tuple[float, float]:
    """The least and the greatest value of a scalar parameter, or what stands for it."""
    low, high = field.metadata["low"], field.metadata["high"]
    return max(low, -HUGE), min(high, HUGE)


def settings() -> Iterator[tuple[str, str, tuple[float, float]]]:
    """(where, name, its two ends) of every scalar parameter and every column of the population."""
    params = PARAMS
    for where, owner in (("world", params), ("reward", params.reward), ("user", params.user)):
        yield from ((where, f.name, ends(f)) for f in dataclasses.fields(owner) if "low" in f.metadata)
    yield from (("traits", name, span) for name, span in TRAITS.items())


def changed(params: Any, where: str, name: str, value: float) -> Any:
    if where == "traits":
        return override(params, **{name: value})
    if where == "world":
        return params.replace(**{name: value})
    return params.replace(**{where: getattr(params, where).replace(**{name: value})})


def one_at_a_time() -> Iterator[tuple[str, Any]]:
    for where, name, span in settings():
        for value in span:
            yield f"{where}.{name} = {value:g}", changed(PARAMS, where, name, value)


def many_at_once(n: int) -> Iterator[tuple[str, Any]]:
    """n worlds in which half of the settings are at one of their ends."""
    generator = np.random.default_rng(0)
    for i in range(n):
        params, chosen = PARAMS, []
        for where, name, span in settings():
            if generator.random() < 0.5:
                value = span[generator.integers(2)]
                params, chosen = changed(params, where, name, value), [*chosen, f"{where}.{name} = {value:g}"]
        yield f"mix {i}: {', '.join(chosen)}", params


def live(worlds: Iterator[tuple[str, Any]], users: int, turns: int, env: Any = ENV) -> int:
    """Live in each world, and fail at the first flaw. Returns how many user-turns were lived."""
    lived = 0
    keys = jax.random.split(jax.random.key(0), users)
    for name, params in worlds:
        counts, _ = wrong(env, params, keys, jnp.int32(turns))
        bad = {flaw: int(count) for flaw, count in counts.items() if count}
        assert not bad, f"{name}: {bad}"
        lived += users * turns
    return lived


def test_every_scalar_is_covered() -> None:
    """Every scalar leaf of params and every one-column trait is among the settings."""
    params = PARAMS
    named = {(where, name) for where, name, _ in settings()}
    for where, owner in (("world", params), ("reward", params.reward), ("user", params.user)):
        leaves = {f.name: getattr(owner, f.name) for f in dataclasses.fields(owner)}
        scalars = {n for n, x in leaves.items() if np.shape(x) == () and not dataclasses.is_dataclass(x)}
        assert {(where, n) for n in scalars if leaves[n] is not None} <= named
    columns = {name for name, column in vars(params.population.traits).items() if column.ndim == 1}
    assert columns == set(TRAITS)
    assert len(named) > 50


def test_flaws_are_seen() -> None:
    """The watchman is awake: a user whose trust begins beyond 1, and a NaN among the params."""
    keys = jax.random.split(jax.random.key(0), 16)
    counts, _ = wrong(ENV, override(PARAMS, trust=3.0), keys, jnp.int32(4))
    assert counts["trust"] > 0
    broken = PARAMS.replace(user=PARAMS.user.replace(mood_rate=float("nan")))
    counts, _ = wrong(ENV, broken, keys, jnp.int32(4))
    assert counts["NaN in step.state.user.mood"] > 0


def test_episodes_do_end_here() -> None:
    _, ended = wrong(ENV, PARAMS.replace(horizon_hours=10.0), jax.random.split(jax.random.key(0), 16), jnp.int32(60))
    assert ended >= 16


def test_no_setting_at_either_end_breaks_the_user() -> None:
    assert live(one_at_a_time(), users=16, turns=16) > 20_000


def test_no_mixture_of_extremes_breaks_the_user() -> None:
    assert live(many_at_once(40), users=16, turns=32) > 20_000


def test_no_mixture_of_extremes_breaks_a_multinomial_user() -> None:
    assert live(many_at_once(40), users=16, turns=32, env=MNL) > 20_000


@pytest.mark.slow
def test_a_million_turns_of_extremes() -> None:
    lived = live(one_at_a_time(), users=64, turns=100) + live(many_at_once(100), users=64, turns=100, env=MNL)
    assert lived > 1_000_000
