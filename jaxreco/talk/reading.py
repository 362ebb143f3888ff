"""What an agent makes of what it hears: standing requests, and what each says for or against every item.

A trace is read as further requests: who says that an item was too long would rather have shorter ones. Everything is
made from observations, so it may differ from how the user judges. The parts are kept apart by what they cost: a policy
that adds them up to a score for every item does so in every turn.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog, Observation
from jaxreco.struct import Struct
from jaxreco.talk.grammar import CAUSES, INTENT, INTENTS, KIND, REASONS, read_instruction, read_trace
from jaxreco.talk.satisfies import category_of, fresher_by, longer_by

Array = jax.Array

REQUESTS = 1 + REASONS  # an instruction, and the reasons
WORDS = len(INTENTS) + len(CAUSES)  # what a request may be: the intent of an instruction, or the cause of a reason
LONG_AGO = 1_000_000  # turns

# What a reason asks for, with the item that it names as the target.
ASKS: dict[str, tuple[str, str]] = {
    "sated": ("less", "category"),
    "creator": ("less", "creator"),
    "seen": ("never", "item"),
    "off_taste": ("less", "item"),
    "elsewhere": ("less", "item"),
    "bait": ("less", "creator"),
    "stale": ("fresher", "none"),
    "long": ("shorter", "none"),
    "short": ("longer", "none"),
    "time": ("shorter", "none"),
    "delight": ("like", "item"),
}
_INTENT = np.array([INTENT[ASKS[cause][0]] if cause in ASKS else 0 for cause in CAUSES], np.int32)
_KIND = np.array([KIND[ASKS[cause][1]] if cause in ASKS else 0 for cause in CAUSES], np.int32)


class Requests(Struct):
    """What stands asked: leaves [REQUESTS], the instruction first."""

    intent: Array  # i32, 0 nothing
    target_kind: Array  # i32
    target: Array  # i32
    item: Array  # i32, what a reason blames or praises, or an instruction names; EMPTY where that is no item
    word: Array  # i32, below WORDS: what it came from
    weight: Array  # f32, strength of the instruction, size of the reason in logits
    age: Array  # i32, turns since it was said
    seconds: Array  # f32, mean duration of the slate before it
    hours: Array  # f32, mean age of the slate before it

    @classmethod
    def none(cls) -> Requests:
        """Nothing was ever asked."""
        zeros = jnp.zeros(REQUESTS, jnp.int32)
        one = jnp.ones(REQUESTS)
        none = zeros + EMPTY
        return cls(zeros, zeros, none, none, zeros, 0.0 * one, zeros + LONG_AGO, one, one)


def listen(before: Requests, obs: Observation, catalog: Catalog, tag_category: Array) -> Requests:
    """What stands asked now: what was just said, or what was said before in this session, a turn older.

    Who gives reasons alone, thinking aloud, still wants what it has asked for. Reasons for the slate at which it left are
    heard as the next session opens: they tell of tastes, and ask for nothing any more.

    Args: tag_category i32[N], see `satisfies.tag_categories`.
    """
    speaks, explains = jnp.any(obs.instruction > 0), jnp.any(obs.trace > 0)
    spoken = jnp.append(speaks, jnp.broadcast_to(speaks | explains, (REASONS,)))
    older = before.replace(age=jnp.minimum(before.age + 1, LONG_AGO))
    older = older.replace(intent=jnp.where(obs.session_turn == 0, 0, older.intent))  # another session, other wishes
    fresh = _heard(obs, catalog, tag_category)
    late = (obs.session_turn == 0) & (jnp.arange(REQUESTS) > 0)
    fresh = fresh.replace(intent=jnp.where(late, 0, fresh.intent))
    return jax.tree.map(lambda a, b: jnp.where(spoken, a, b), fresh, older)


def _heard(obs: Observation, catalog: Catalog, tag_category: Array) -> Requests:
    said = read_instruction(obs.instruction)
    named = jnp.where(said.target_kind == KIND["item"], said.target, EMPTY)
    # What is related to a tag or an item is what is related to its category.
    category = category_of(said, catalog, tag_category)
    related = (said.intent == INTENT["related"]) & (said.target >= 0)
    said = said._replace(
        target_kind=jnp.where(related, KIND["category"], said.target_kind),
        target=jnp.where(related, category, said.target),
    )
    cause, amount, item = read_trace(obs.trace)
    shown = jnp.maximum(item, 0)
    kind = jnp.asarray(_KIND)[cause]
    target = jnp.full(REASONS, EMPTY, jnp.int32)
    for name, of_item in (("category", catalog.category[shown]), ("creator", catalog.creator[shown]), ("item", shown)):
        target = jnp.where(kind == KIND[name], of_item, target)
    asks = jnp.where((kind > 0) & (item < 0), 0, jnp.asarray(_INTENT)[cause])
    there = (obs.slate >= 0).astype(jnp.float32)
    shown_items, number = jnp.maximum(obs.slate, 0), jnp.sum(there)

    def mean(column: Array) -> Array:
        usual = jnp.mean(column)  # nothing was shown yet
        return jnp.where(number > 0, jnp.sum(column[shown_items] * there) / jnp.maximum(number, 1.0), usual)

    return Requests(
        intent=jnp.append(said.intent, asks).astype(jnp.int32),
        target_kind=jnp.append(said.target_kind, kind).astype(jnp.int32),
        target=jnp.append(said.target, target).astype(jnp.int32),
        item=jnp.append(named, item).astype(jnp.int32),
        word=jnp.append(said.intent, len(INTENTS) + cause).astype(jnp.int32),
        weight=jnp.append(said.strength, jnp.abs(amount)),
        age=jnp.zeros(REQUESTS, jnp.int32),
        seconds=jnp.broadcast_to(mean(catalog.duration), (REQUESTS,)),
        hours=jnp.broadcast_to(mean(catalog.age), (REQUESTS,)),
    )


def by_category(asked: Requests, share: Array, near: Array) -> Array:
    """f32[REQUESTS, C]: what each request says for (or against) every category; 0 where it is not about categories.

    Args:
      share: f32[C], of each category in what was seen lately. near: f32[C, C], see `satisfies.near_categories`.
    """
    n_categories = share.shape[0]
    aimed = (asked.target[:, None] == jnp.arange(n_categories)) & (asked.target_kind == KIND["category"])[:, None]
    wants = (asked.intent == INTENT["more"]).astype(jnp.float32)
    refuses = ((asked.intent == INTENT["less"]) | (asked.intent == INTENT["never"])).astype(jnp.float32)
    found = aimed * (wants - refuses)[:, None]
    found += (asked.intent == INTENT["related"])[:, None] * (aimed @ near)
    return found + (asked.intent == INTENT["surprise"])[:, None] * jnp.clip(1.0 - n_categories * share, 0.0, 1.0)


def by_target(weight: Array, asked: Requests, catalog: Catalog, ids: Array | None = None) -> Array:
    """f32[I]: what requests want more, or less, of: items of a tag or a creator, or an item. A reason never names a tag.

    Args: weight f32[REQUESTS]. ids i32[I], of the items, where the catalog is a part of the whole.
    """
    refuses = (asked.intent == INTENT["less"]) | (asked.intent == INTENT["never"])
    push = weight * ((asked.intent == INTENT["more"]) * 1.0 - refuses)
    of = {name: push * (asked.target_kind == KIND[name]) for name in ("tag", "creator", "item")}
    found = of["tag"][0] * jnp.any(catalog.tags == asked.target[0], axis=-1)
    for r in range(REQUESTS):  # one by one: a matrix of requests by items would be written out
        found = found + of["creator"][r] * (catalog.creator == asked.target[r])
    if ids is not None:
        for r in range(REQUESTS):
            found = found + of["item"][r] * (ids == asked.target[r])
        return found
    at = jnp.where(asked.target_kind == KIND["item"], asked.target, catalog.n_items)
    return found.at[at].add(of["item"], mode="drop")


def by_length_and_age(weight: Array, asked: Requests, catalog: Catalog) -> Array:
    """f32[I]: how far items are shorter, longer and fresher than the slate before, times the weights f32[REQUESTS]."""

    def want(intent: str) -> Array:
        found = weight * (asked.intent == INTENT[intent])
        return jnp.stack([found[0], jnp.sum(found[1:])])  # all reasons were given at one moment

    longer = longer_by(catalog.duration, asked.seconds[:2, None])
    fresher = fresher_by(catalog.age, asked.hours[:2, None])
    lengths = want("longer") @ jnp.maximum(longer, 0.0) - want("shorter") @ jnp.minimum(longer, 0.0)
    return lengths + want("fresher") @ fresher


def category_share(obs: Observation, catalog: Catalog, n_categories: int) -> Array:
    """f32[C]: the share of each category in the visible history."""
    there = (obs.history.item >= 0).astype(jnp.float32)
    category = catalog.category[jnp.maximum(obs.history.item, 0)]
    counts = jnp.sum((category[:, None] == jnp.arange(n_categories)) * there[:, None], axis=0)
    return counts / jnp.maximum(jnp.sum(there), 1.0)


def watched(obs: Observation, catalog: Catalog) -> Array:
    """f32[D, 1]: the mean direction of what was watched in the visible history, of unit length or 0.

    The nearest that an agent comes to what people like this user watch.
    """
    item = jnp.maximum(obs.history.item, 0)
    weight = (obs.history.item >= 0) * obs.history.watch / catalog.duration[item]
    total = jnp.sum(weight[:, None] * catalog.embedding[item], axis=0)
    return (total / jnp.maximum(jnp.linalg.norm(total), 1e-6))[:, None]
