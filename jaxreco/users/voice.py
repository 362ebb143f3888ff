"""From what bothers a user to what it asks for, and how it takes the answer.

Each cause has a few fitting requests, of which the user makes one. What people say of themselves need not be so
(Nisbett & Wilson 1977, "Telling more than we can know"): with probability 1 - rho the cause, the intent and the target
are drawn without looking at the user's state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog, Instruction
from jaxreco.struct import Struct
from jaxreco.talk.grammar import CAUSE, CAUSES, INTENT, KIND, STRENGTHS, Said
from jaxreco.users.reflection import Reasons

Array = jax.Array

# What a user who is bothered by a cause asks for, each as likely as the others.
REQUESTS: dict[str, tuple[tuple[str, str], ...]] = {
    "sated": (("less", "category"), ("related", "category"), ("surprise", "none")),
    "creator": (("less", "creator"), ("never", "creator")),
    "seen": (("never", "item"), ("surprise", "none")),
    "off_taste": (("more", "category"), ("more", "tag"), ("like", "item"), ("peers", "none")),
    "elsewhere": (("more", "category"), ("more", "tag"), ("like", "item")),
    "bait": (("never", "creator"), ("less", "creator")),
    "stale": (("fresher", "none"),),
    "long": (("shorter", "none"),),
    "short": (("longer", "none"),),
    "time": (("shorter", "none"),),
    "opening": (("more", "category"), ("more", "tag"), ("like", "item"), ("peers", "none"), ("shorter", "none")),
}
WISHING = ("off_taste", "elsewhere", "opening")  # the target is what the user wants, not what it has been shown
MOST = max(len(requests) for requests in REQUESTS.values())


class Request(Struct):
    """What the user asked for last, and the moment that it is judged by. Intent 0: nothing."""

    intent: Array  # i32[]
    target_kind: Array  # i32[]
    target: Array  # i32[]
    strength: Array  # f32[]
    seconds: Array  # f32[], mean duration of the slate before
    age: Array  # f32[], hours, mean age of the slate before

    @classmethod
    def of(cls, instruction: Instruction, seconds: Array, age: Array) -> Request:
        """The request that an instruction makes."""
        i = instruction
        return cls(i.intent, i.target_kind, i.target, i.strength, seconds, age)


class Aim(NamedTuple):
    """What a request can be about. i32[] each."""

    category: Array
    tag: Array
    creator: Array
    item: Array


def aim_at(item: Array, catalog: Catalog) -> Aim:
    """The item i32[] and all that it belongs to."""
    shown = jnp.maximum(item, 0)
    return Aim(catalog.category[shown], catalog.tags[shown, 0], catalog.creator[shown], shown)


def _table(index: dict[str, int], which: int) -> np.ndarray:
    """i32[len(CAUSES), MOST]: the intents (which 0) or kinds (1) of every cause's requests."""
    table = np.zeros((len(CAUSES), MOST), np.int32)
    for cause, requests in REQUESTS.items():
        table[CAUSE[cause], : len(requests)] = [index[request[which]] for request in requests]
    return table


_INTENT, _KIND = _table(INTENT, 0), _table(KIND, 1)
_COMPLAINTS = np.array([CAUSE[name] for name in REQUESTS if name != "opening"], np.int32)
_COUNT = np.array([len(REQUESTS.get(cause, ())) or 1 for cause in CAUSES], np.int32)


def request_for(cause: Array, draw: Array, shown: Aim, wish: Aim, strength: Array) -> Said:
    """What a user asks for who is bothered by `cause` i32[].

    Args: draw f32[] in (0, 1), which request; shown, what is to blame; wish, what it would rather have; strength f32[].
    """
    which = jnp.minimum((draw * jnp.asarray(_COUNT)[cause]).astype(jnp.int32), MOST - 1)
    intent, kind = jnp.asarray(_INTENT)[cause, which], jnp.asarray(_KIND)[cause, which]
    wishing = jnp.any(cause == jnp.asarray([CAUSE[name] for name in WISHING]))
    aim = choose(wishing, wish, shown)
    target = jnp.int32(EMPTY)
    for name in Aim._fields:
        target = jnp.where(kind == KIND[name], getattr(aim, name), target)
    intent = jnp.where((kind > 0) & (target < 0), 0, intent)  # an item without a tag names none
    return Said(intent, kind, target, strength, cause)


class Bother(NamedTuple):
    """What a user says that bothers it. i32[] unless said otherwise."""

    cause: Array
    item: Array  # that is to blame
    strength: Array  # f32[]


def bothered(found: Reasons) -> Bother:
    """By the cause that raised the urge to leave most."""
    worst = jnp.argmax(found.amount)
    amount = found.amount[worst]
    strength = jnp.asarray(STRENGTHS)[(amount > 0.3).astype(jnp.int32) + (amount > 1.0)]
    return Bother(found.cause[worst], found.item[worst], strength)


def misled(uniform: Array, n_items: int) -> Bother:
    """By anything: drawn without the user's state. uniform f32[3]."""
    cause, item, strength = uniform
    return Bother(
        jnp.asarray(_COMPLAINTS)[jnp.minimum((cause * len(_COMPLAINTS)).astype(jnp.int32), len(_COMPLAINTS) - 1)],
        jnp.minimum((item * n_items).astype(jnp.int32), n_items - 1),
        jnp.asarray(STRENGTHS)[jnp.minimum((strength * len(STRENGTHS)).astype(jnp.int32), len(STRENGTHS) - 1)],
    )


def complaint(bother: Bother, draw: Array, wish: Aim, last: Request, catalog: Catalog) -> Instruction:
    """What a user asks for whom something bothers; who was ignored asks again, louder. draw: see `request_for`."""
    fresh = request_for(bother.cause, draw, aim_at(bother.item, catalog), wish, bother.strength)
    again = Said(last.intent, last.target_kind, last.target, last.strength + STRENGTHS[0], bother.cause)
    return Instruction.of(*choose((bother.cause == CAUSE["ignored"]) & (last.intent > 0), again, fresh))


def greeting(draw: Array, wish: Aim, longer: Array) -> Instruction:
    """What a user asks for as a session opens: its wish, what people like it watch, or a length.

    Args: draw f32[] in (0, 1). longer: bool[], it wants longer items than usual (else shorter).
    """
    said = request_for(jnp.int32(CAUSE["opening"]), draw, wish, wish, jnp.float32(STRENGTHS[1]))
    swap = longer & (said.intent == INTENT["shorter"])
    return Instruction.of(*said._replace(intent=jnp.where(swap, INTENT["longer"], said.intent)))


def choose(flag: Array, yes: Any, no: Any) -> Any:
    """`yes` where flag bool[] is true, else `no`: trees of one structure."""
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), yes, no)
