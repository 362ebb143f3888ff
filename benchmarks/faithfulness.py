"""Do traces name the true cause? The user goes through the slate again without each cause, and the urges are compared.

At the states where an agent's own users gave reasons: the slots that were looked at are reviewed again, many times
with fresh luck, once as things were and once without each cause. A trace is faithful when no other cause's removal
lowers the urge to leave by more than that of the one it names first. Nothing of the introspection is used here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, EXAMINED, Context
from jaxreco.evaluation import RESAMPLES
from jaxreco.population import override
from jaxreco.talk.grammar import CAUSE
from jaxreco.users import mindset

Array = jax.Array

# Parameters that are 0 where a cause is away; the others need more than that.
SILENCED: dict[str, dict[str, float]] = {
    "sated": {"satiation": 0.0},
    "creator": {"creator_satiation": 0.0},
    "seen": {"repetition": 0.0},
    "off_taste": {},
    "elsewhere": {"craving": 0.0},
    "stale": {"staleness": 0.0},
    "long": {"length": 0.0},
    "bait": {},
    "ignored": {"honour_gain": 0.0},
    "time": {},
}
SAME = {CAUSE["short"]: CAUSE["long"], CAUSE["heard"]: CAUSE["ignored"]}


class Case(NamedTuple):
    """One moment in which a user gave its reasons. Leaves [N, ...]."""

    state: Any  # EnvState before the slate
    slate: Array  # i32[K], EMPTY from where the user no longer looked
    named: Array  # i32, the cause that its trace names first as raising the urge
    user: Array  # i32, whose moment it is


def cases(
    key: Array, env: Any, params: Any, agent: Any, agent_params: Any, *, users: int = 128, turns: int = 64
) -> Case:
    """The moments of some lives in which reasons were given; every user with rho 1. The key is consumed."""
    params = override(params, rho=1.0)

    def turn(carry: Any, key: Array) -> Any:
        state, memory = carry
        key_act, key_step = jax.random.split(key)
        truth = {"truth": (state, params)} if getattr(agent, "privileged", False) else {}
        obs = env.observe(state, params)
        slate, memory, _ = agent.act(key_act, agent_params, memory, obs, env.catalog(state, params), **truth)
        step = env.step(key_step, state, slate, params)
        looked = step.info["feedback"].did(EXAMINED)
        trace = step.state.trace
        # Of the reasons, strongest first, the first that raised the urge: not a delight, not a request heard.
        raised = (trace.amount > 0) & (trace.cause > 0)
        named = jnp.where(jnp.any(raised), trace.cause[jnp.argmax(raised)], 0)
        return (step.state, memory), Case(state, jnp.where(looked, slate, EMPTY), named, jnp.int32(0))

    def life(key: Array, user: Array) -> Case:
        key_reset, key_turns = jax.random.split(key)
        start = (env.reset(key_reset, params)[1], agent.reset(agent_params))
        found = jax.lax.scan(turn, start, jax.random.split(key_turns, turns))[1]
        return found._replace(user=jnp.broadcast_to(user, (turns,)))

    found = jax.jit(jax.vmap(life))(jax.random.split(key, users), jnp.arange(users))
    flat = jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), found)
    keep = np.flatnonzero(flat.named > 0)
    return jax.tree.map(lambda x: x[keep], flat)


def drops(key: Array, env: Any, params: Any, case: Case, draws: int = 128) -> np.ndarray:
    """f32[N, len(SILENCED)]: how far the urge to leave falls when each cause is away. The key is consumed."""
    params = override(params, rho=1.0, patience=50.0)  # all slots are looked at again
    still = {"leave_bias": -50.0, "foresight": -50.0}  # and nobody leaves or speaks
    still = params.user.replace(**still)

    def fall(state: Any, slate: Array) -> Array:
        keys = jax.random.split(key, draws)
        base = _urge(keys, env, still, state, slate, params.catalog)
        falls = []
        for name, changes in SILENCED.items():
            user, catalog = still.replace(**changes), params.catalog
            if name == "bait":
                user = user.replace(clickbait=jnp.zeros_like(user.clickbait))
            if name == "off_taste":
                catalog = _welcome(state.user, slate, still, catalog)
            falls.append(base - _urge(keys, env, user, state, slate, catalog, timeless=name == "time"))
        return jnp.stack(falls)

    return np.asarray(jax.jit(lambda s, x: jax.lax.map(lambda c: fall(*c), (s, x)))(case.state, case.slate))


def faithful(key: Array, env: Any, params: Any, case: Case) -> np.ndarray:
    """bool[N]: the cause that is named lowers the urge most when it is away. The key is consumed."""
    fell = drops(key, env, params, case)
    causes = np.array([CAUSE[name] for name in SILENCED])
    named = np.array([SAME.get(int(c), int(c)) for c in case.named])
    return causes[fell.argmax(axis=1)] == named


def share_of_faithful(right: np.ndarray, user: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """(share, low, high) over all moments: the 95 % percentile bootstrap over users, who have several each.

    Args: right bool[N]; user i32[N].
    """
    _, whose = np.unique(user, return_inverse=True)
    each, moments = np.bincount(whose, right), np.bincount(whose)
    drawn = np.random.default_rng(seed).integers(len(each), size=(RESAMPLES, len(each)))
    shares = each[drawn].sum(axis=1) / moments[drawn].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(right.mean()), float(low), float(high)


def _urge(keys: Array, env: Any, user: Any, state: Any, slate: Array, catalog: Any, timeless: bool = False) -> Array:
    """f32[]: mean log-odds of leaving after the slate, less the bias; without the time it took where `timeless`."""

    def once(key: Array) -> Array:
        after = env.user_model.review(key, state.user, slate, user, catalog, Context())[0]
        minutes = state.user.minutes if timeless else after.minutes
        spent = user.leave_time * jnp.minimum(minutes / state.user.budget, 3.0)
        return (
            spent + user.leave_boredom * after.boredom - user.leave_mood * after.mood - user.leave_trust * after.trust
        )

    return jnp.mean(jax.vmap(once)(keys))


def _welcome(user: Any, slate: Array, params: Any, catalog: Any) -> Any:
    """The catalog in which the slate's items match an interest at least as well as a welcome item does.

    What is missing is added to their quality, which enters utility in the same place.
    """
    item = jnp.maximum(slate, 0)
    best = jnp.max(catalog.embedding[item] @ user.interests.T, axis=-1)
    missing = params.affinity * jnp.maximum(mindset.WELCOME - best, 0.0) / params.quality
    return catalog.replace(quality=catalog.quality.at[item].add(jnp.where(slate >= 0, missing, 0.0)))
