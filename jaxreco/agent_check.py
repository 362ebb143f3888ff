"""The first slate of an agent of one's own, looked at before anybody is shown it: a mistake gets a sentence, not a page of traces."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def check_agent(name: str, key: Array, env: Any, params: Any, agent: Any, agent_params: Any) -> None:
    """One turn of an agent. The key is consumed.

    Raises ValueError, one sentence with the remedy, for an `act` that does not return a slate, memory and extras, a slate of another shape or
    type than the world takes, repeated or unknown items, and numbers that are NaN.
    """
    _refuse_nan(name, "parameters", agent_params)
    key_reset, key_act = jax.random.split(key)
    obs, state = env.reset(key_reset, params)
    catalog, more = params.catalog, {}
    if getattr(agent, "privileged", False):
        catalog, more = params.truth(catalog), {"truth": (state, params)}
    found = jax.jit(agent.act)(key_act, agent_params, agent.reset(agent_params), obs, catalog, **more)
    if not isinstance(found, tuple) or len(found) != 3:
        raise ValueError(
            f"act of {name} returns {_count(found)}: let it return three values, the slate, the memory and extras (or None)."
        )
    action, memory, extras = found
    _refuse_shape(name, env, params, action)
    try:
        env.check_action(action)
    except ValueError as error:
        raise ValueError(f"The first slate of {name} cannot be shown: {error}") from None
    _refuse_nan(name, "memory", memory)
    _refuse_nan(name, "extras", extras)


def _count(found: Any) -> str:
    return f"{len(found)} values" if isinstance(found, tuple) else "one value"


def _refuse_shape(name: str, env: Any, params: Any, action: Any) -> None:
    shape = {"slate": (env.slate_size,), "item": (), "query": params.catalog.embedding.shape[1:]}[env.action_mode]
    kind = np.floating if env.action_mode == "query" else np.integer
    action = jnp.asarray(action)
    if action.shape != shape or not jnp.issubdtype(action.dtype, kind):
        wanted = f"{'floats' if kind is np.floating else 'whole numbers'} of shape {shape}"
        raise ValueError(
            f"{name} shows {action.dtype} of shape {action.shape}, and {env.name} takes {wanted}: let act return these."
        )


def _refuse_nan(name: str, what: str, tree: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating) and bool(jnp.isnan(leaf).any()):
            where = jax.tree_util.keystr(path)
            raise ValueError(
                f"The {what} of {name} hold NaN{f' in {where}' if where else ''}: look for a logarithm or quotient of 0 there."
            )
