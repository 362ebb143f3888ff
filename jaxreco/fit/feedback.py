"""What people did with what they took: the heads of an event, learned together with the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import COMMENT, LIKE, SHARE
from jaxreco.data.log import Log
from jaxreco.users.classes import EVEN, LOG, Classes
from jaxreco.users.heads import EVENT_HEADS, standing
from jaxreco.users.network import UserNetwork

Array = jax.Array

ACTIONS = {"like": LIKE, "comment": COMMENT, "share": SHARE}
DISTINCT = 20  # as many different numbers, or fewer, are classes themselves
CLASSES = 20  # of values that are spread
FEW = 40  # values a class, where there are few
SHRUNK = 10.0  # people who find an item ordinary, with whom those who met it are mixed
PER_RIDIT = 3.0  # a shift by s moves the mean ridit by s / 3 in a logistic distribution, for small s


class Said(NamedTuple):
    """What one head is about, of `N` events."""

    outcome: Array  # i32[N], class; -1 where the log does not say
    standing: Array  # f32[N, HEARD], what the person had said before


def classes(log: Log) -> dict[str, Classes]:
    """The heads that a log of events has data for. Args: log, of those who are fitted to, every row an event (`events.taken`)."""
    found = {}
    for name, values in _values(log).items():
        known = values[~np.isnan(values)]
        distinct = len(np.unique(known))
        if distinct < 2:
            continue
        if distinct <= DISTINCT:
            found[name] = Classes.of_numbers(known)
        else:
            number = int(np.clip(len(known) // FEW, 4, CLASSES))
            found[name] = Classes.of_quantiles(known, number, LOG if known.min() > 0.0 else EVEN)
    return found


def said(log: Log, heads: Mapping[str, Classes]) -> dict[str, Said]:
    """What each head is about, of the events of a log."""
    values, found = _values(log), {}
    for name, each in heads.items():
        known = ~np.isnan(values[name])
        outcome = np.where(known, each.of(np.where(known, values[name], 0.0)), -1)
        ridit = np.where(known, each.ridit[outcome], 0.0)
        total, count = (_before(log, x) for x in (ridit, known.astype(np.float64)))
        found[name] = Said(outcome.astype(np.int32), np.asarray(standing(total, count), np.float32))  # type: ignore[arg-type]
    return found


def usual(log: Log, heads: Mapping[str, Classes]) -> dict[str, np.ndarray]:
    """f32[I] by head: where the location of each item begins, by what was said of it, drawn to that of all items."""
    found = {}
    for name, each in said(log, heads).items():
        known = each.outcome >= 0
        ridit = np.where(known, heads[name].ridit[each.outcome], 0.0)
        total, count = (np.bincount(log.item, x, minlength=log.n_items) for x in (ridit, known))
        found[name] = (PER_RIDIT * total / (count + SHRUNK)).astype(np.float32)
    return found


def log_likelihood(
    model: UserNetwork, hidden: Array, vector: Array, item: Array, events: Mapping[str, Said], told: Array
) -> Array:
    """f32[heads]: of what was said in T events, summed, by each head in the order of names.

    Args: hidden, vector f32[T, d], before each event and of its item i32[T], -1 where there is none. events: leaves [T, ...].
      told f32[], 0 where the person's earlier answers are not known.
    """
    found = []
    for name in sorted(events):
        head, (outcome, before) = model.feedback[name], events[name]

        def one(hidden: Array, vector: Array, before: Array, item: Array, outcome: Array, head: Any = head) -> Array:
            return head.log_likelihood(head.outlook(hidden, vector, before, item), outcome)

        each = jax.vmap(one)(hidden, vector, told * before, jnp.maximum(item, 0), jnp.maximum(outcome, 0))
        found.append(jnp.sum(jnp.where((item >= 0) & (outcome >= 0), each, 0.0)))
    return jnp.stack(found) if found else jnp.zeros(0)


def _values(log: Log) -> dict[str, np.ndarray]:
    """f64[N] by head: what each event says, NaN where the log does not know."""
    nothing = np.full(len(log), np.nan)
    found = dict.fromkeys(EVENT_HEADS, nothing)
    if log.value is not None:
        found["value"] = log.value.astype(np.float64)
    if log.actions is not None:
        found |= {name: ((log.actions & bit) != 0).astype(np.float64) for name, bit in ACTIONS.items()}
    if log.watch is not None:
        found["watch"] = np.where(log.watch > 0, log.watch, np.nan).astype(np.float64)
    return found


def _before(log: Log, values: np.ndarray) -> np.ndarray:
    """f64[N]: the sum of f[N] over the person's events before each."""
    upto = np.cumsum(values) - values
    return upto - upto[log.bounds[log.user]]
