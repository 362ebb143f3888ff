"""How far what a network foretells has moved from what a fitted one foretells, at the same moments: KL(fitted || now).

KL(p || q) = sum of p (log p - log q) (Kullback & Leibler 1951), in nats, of the next item and of each head's classes. Both read the same
events without dropout. It is 0 where nothing has moved, and its gradient is 0 there too.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreco.fit import objective
from jaxreco.fit.events import Events, Windows
from jaxreco.fit.states import states_of
from jaxreco.users.heads import Head
from jaxreco.users.network import ItemTable, UserNetwork, rows_of

Array = jax.Array


class Anchor(NamedTuple):
    """The network that one that goes on learning is held to."""

    params: Any
    known: Array  # bool[I], items that it was fitted with
    weight: Any  # f32[], of the divergence in the loss


class Reading(NamedTuple):
    """A network and the items as it reads them."""

    model: UserNetwork
    table: ItemTable


def readings(graph: Any, params: Any, known: Array, anchor: Anchor, content: Array) -> tuple[Reading, Reading]:
    """(fitted, now): both networks. Args: params, known bool[I] of the one of now."""
    models = nnx.merge(graph, anchor.params), nnx.merge(graph, params)
    tables = (model.items(content, met) for model, met in zip(models, (anchor.known, known), strict=True))
    fitted, now = (Reading(*each) for each in zip(models, tables, strict=True))
    return fitted, now


def of_window(
    fitted: Reading, now: Reading, events: Events, window: Windows, told: Array, drawn: objective.Drawn | None = None
) -> Array:
    """f32[1 + heads]: nats, summed over the events of one window, of which item is taken and by each head in the order of names.

    Args: told f32[], 0 where nothing is known of events but their items. drawn: items that stand for the catalog (`of_items`).
    """
    (was, item), (hidden, _) = (states_of(*each, events, window, told, None) for each in (fitted, now))
    was, hidden, there = was[:-1], hidden[:-1], item >= 0
    at = jnp.minimum(window.start + jnp.arange(len(item)), events.item.shape[0] - 1)
    found = [jnp.sum(jnp.where(there, of_items(was, fitted.table, hidden, now.table, drawn), 0.0))]
    for name in sorted(events.said):
        outcome, before = (leaf[at] for leaf in events.said[name])
        say = functools.partial(_classes, name=name, item=jnp.maximum(item, 0), before=told * before)
        apart = kl(say(fitted, was), say(now, hidden))
        found.append(jnp.sum(jnp.where(there & (outcome >= 0), apart, 0.0)))
    return jnp.stack(found)


def of_items(
    was: Array, fitted: ItemTable, hidden: Array, table: ItemTable, drawn: objective.Drawn | None = None
) -> Array:
    """f32[T]: of the item that is taken next, after hidden f32[T, d] each.

    Args: drawn: the items over which both softmaxes are taken in place of the catalog, each divided by how often it is expected to be
      drawn: both sums are estimated (importance sampling), and the divergence of the estimates is never negative.
    """
    if drawn is None:
        logits = objective.scores(was, fitted), objective.scores(hidden, table)
    else:
        some = tuple(ItemTable(*(column[drawn.item] for column in each)) for each in (fitted, table))
        pairs = zip((was, hidden), some, strict=True)
        logits = tuple(objective.scores(states, each) - drawn.log_times for states, each in pairs)  # type: ignore[assignment]
    return kl(*(jax.nn.log_softmax(each, axis=-1) for each in logits))


def kl(log_p: Array, log_q: Array) -> Array:
    """f32[...]: KL(p || q) of log-probabilities f32[..., n]."""
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def _classes(reading: Reading, hidden: Array, *, name: str, item: Array, before: Array) -> Array:
    """f32[T, n]: log-probabilities of the classes of a head. item i32[T]; before f32[T, HEARD]."""
    head: Head = reading.model.feedback[name]
    vector = rows_of(reading.table.vector, item)
    return jax.vmap(lambda *given: head.log_probabilities(head.outlook(*given)))(hidden, vector, before, item)


@functools.partial(jax.jit, static_argnames="graph")
def of_windows(graph: Any, params: Any, anchor: Anchor, batch: Windows, given: tuple[Any, ...]) -> tuple[Array, Array]:
    """(nats f32[1 + heads], number f32[]) of the events of windows [batch], over the whole catalog. Args: given, (events, content, known)."""
    events, content, known = given
    pair = readings(graph, params, known, anchor, content)
    apart = jax.vmap(lambda window: of_window(*pair, events, window, jnp.float32(1.0)))(batch)
    return jnp.sum(apart, axis=0), jnp.sum(batch.end - batch.start).astype(jnp.float32)
