"""What a network knows of people at the moments of their windows: its hidden states."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxreco.fit.events import Events, Windows
from jaxreco.users.network import ItemTable, UserNetwork

Array = jax.Array


def states_of(
    model: UserNetwork, table: ItemTable, events: Events, window: Windows, told: Array, key: Array | None
) -> tuple[Array, Array]:
    """(hidden f32[T + 1, d], item i32[T]) of one window: states before each of its events and after the last. The key is consumed.

    Args: told f32[], 0 where nothing is known of events but their items.
    """
    to_past, to_read = (None, None) if key is None else jax.random.split(key)
    before = window.start - model.config.remembered + jnp.arange(model.config.remembered)
    past = model.past(item_at(events, before, before >= window.first), table, to_past)
    at = window.start + jnp.arange(model.config.window)
    item = item_at(events, at, at < window.end)
    return model.read(past, item, told * events.about[at], table, to_read), item


def item_at(events: Events, at: Array, there: Array) -> Array:
    """i32[M]: items of events at i32[M]; -1 where there is none."""
    return jnp.where(there, events.item[jnp.clip(at, 0, events.item.shape[0] - 1)], -1)
