"""What satisfies an instruction: the predicate of each intent, so that following can be verified.

`satisfies` judges items, `heard` a slate as the user feels it, `follows` a slate as a benchmark counts it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import Catalog
from jaxreco.struct import Struct
from jaxreco.talk.grammar import INTENT, KIND

Array = jax.Array

RELATED = 3  # categories that count as near to a category
ALIKE, SAME = 0.7, 1.0  # cosines at which an item begins to be like another, and is wholly so
HALF = 0.5  # an item satisfies, and a slate follows, from here on


class Situation(Struct):
    """What the intents are judged by: the moment in which the instruction was given."""

    catalog: Catalog
    near: Array  # f32[C, C], 1 where one category is related to the other and not the same
    tag_category: Array  # i32[N], the category that most items of a tag have
    share: Array  # f32[C], of each category in what was seen lately
    seconds: Array  # f32[], mean duration of the last slate
    age: Array  # f32[], hours, mean age of the last slate
    peers: Array  # f32[D, M], what similar users watch: unit directions, one a column


def satisfies(instruction: Any, item: Array, situation: Situation) -> Array:
    """How far items satisfy an instruction, f32[N] in [0, 1]; 1 for silence, which everything satisfies.

    Args:
      instruction: anything with intent, target_kind, target (i32[] each): an `Instruction` or `grammar.Said`.
      item: i32[N], ids in the catalog.
    """
    catalog = situation.catalog
    category, n_categories = catalog.category[item], situation.share.shape[0]
    aimed = of_target(instruction, item, catalog)
    vector = catalog.embedding[item]
    example = catalog.embedding[jnp.clip(instruction.target, 0, catalog.n_items - 1)]
    like = jnp.where(instruction.target_kind == KIND["item"], _alike(jnp.sum(vector * example, axis=-1)), aimed)
    related = situation.near[category_of(instruction, catalog, situation.tag_category), category]
    unusual = jnp.clip(1.0 - n_categories * situation.share[category], 0.0, 1.0)
    longer = longer_by(catalog.duration[item], situation.seconds)
    fresher = fresher_by(catalog.age[item], situation.age)
    peers = _alike(jnp.max(vector @ situation.peers, axis=-1))
    by_intent = {
        "silent": jnp.ones_like(aimed),
        "more": like,
        "less": 1.0 - aimed,
        "never": 1.0 - aimed,
        "related": related,
        "surprise": unusual,
        "fresher": fresher,
        "shorter": jnp.maximum(-longer, 0.0),
        "longer": jnp.maximum(longer, 0.0),
        "like": like,
        "peers": peers,
    }
    found = by_intent["silent"]
    for name, value in by_intent.items():  # a chain of selects, because a stack of all of them is written out
        found = jnp.where(instruction.intent == INTENT[name], value, found)
    return found


def follows(instruction: Any, slate: Array, situation: Situation) -> Array:
    """bool[]: at least half of the slate i32[K] satisfies the instruction by half or more; for `never` all of it."""
    there = slate >= 0
    does = (satisfies(instruction, jnp.maximum(slate, 0), situation) >= HALF) & there
    share = jnp.sum(does) / jnp.maximum(jnp.sum(there), 1)
    return share >= jnp.where(instruction.intent == INTENT["never"], 1.0, HALF)


def heard(instruction: Any, slate: Array, situation: Situation) -> Array:
    """f32[] in [0, 1]: how far a slate i32[K] honours an instruction, for the one who gave it.

    The mean over the slots; where something was to be left out, each slot that shows it weighs as much as three that
    do not (`less`), or the whole (`never`).
    """
    there = (slate >= 0).astype(jnp.float32)
    degree = satisfies(instruction, jnp.maximum(slate, 0), situation)
    # As a product, before which a compiler works the degrees out in vectors; inside of a sum it would one by one.
    total, number = jnp.dot(jnp.stack([degree * there, there]), jnp.ones(there.shape), precision="highest")
    mean = total / jnp.maximum(number, 1.0)
    missed = 1.0 - mean
    less = jnp.clip(1.0 - 3.0 * missed, 0.0, 1.0)
    never = (missed <= 0.0).astype(jnp.float32)
    found = jnp.where(instruction.intent == INTENT["less"], less, mean)
    found = jnp.where(instruction.intent == INTENT["never"], never, found)
    return jnp.where(jnp.any(slate >= 0), found, 0.0)


def category_of(instruction: Any, catalog: Catalog, tag_category: Array) -> Array:
    """i32[]: the category of what an instruction names: itself, or that of the tag or the item; 0 for anything else.

    Args: tag_category i32[N], see `tag_categories`.
    """
    kind, target = instruction.target_kind, instruction.target
    found = jnp.where(kind == KIND["category"], jnp.maximum(target, 0), 0)
    of_tag = tag_category[jnp.clip(target, 0, tag_category.shape[0] - 1)]
    found = jnp.where(kind == KIND["tag"], of_tag, found)
    return jnp.where(kind == KIND["item"], catalog.category[jnp.clip(target, 0, catalog.n_items - 1)], found)


def near_categories(embedding: np.ndarray, category: np.ndarray, n_categories: int) -> np.ndarray:
    """f32[C, C]: 1 for the RELATED categories whose mean item is nearest to a category's own. Host side.

    Args: embedding f32[I, D]; category i32[I].
    """
    centre = np.zeros((n_categories, embedding.shape[1]))
    np.add.at(centre, category, embedding)
    centre /= np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-9)
    cosine = centre @ centre.T
    np.fill_diagonal(cosine, -np.inf)
    near = np.zeros((n_categories, n_categories), np.float32)
    best = np.argsort(-cosine, axis=1, kind="stable")[:, : min(RELATED, n_categories - 1)]
    np.put_along_axis(near, best, 1.0, axis=1)
    return near


def tag_categories(tags: np.ndarray, category: np.ndarray) -> np.ndarray:
    """i32[N]: the category that most items of each tag have, the lowest of several. Host side.

    Args: tags i32[I, G], EMPTY where an item has fewer; category i32[I]. N is one more than the highest tag, at least 1.
    """
    item, _ = np.nonzero(tags >= 0)
    tag = tags[tags >= 0]
    counts = np.zeros((max(int(tags.max(initial=0)), 0) + 1, int(category.max()) + 1), np.int64)
    np.add.at(counts, (tag, category[item]), 1)
    return counts.argmax(axis=1).astype(np.int32)


def longer_by(duration: Array, before: Array) -> Array:
    """How much longer than the slate before, in [-1, 1]: 1 from 30 % on, -1 for as much shorter. Seconds both."""
    return jnp.clip((duration / jnp.maximum(before, 1e-3) - 1.0) / 0.3, -1.0, 1.0)


def fresher_by(age: Array, before: Array) -> Array:
    """How much fresher than the slate before, in [0, 1]: 1 for at most half as old. Hours both."""
    return jnp.clip((1.0 - age / jnp.maximum(before, 1e-3)) / 0.5, 0.0, 1.0)


def of_target(instruction: Any, item: Array, catalog: Catalog) -> Array:
    """f32[N]: 1 where the item is of the category, tag or creator named, or is the item."""
    kind, target = instruction.target_kind, instruction.target
    by_kind = {
        "category": catalog.category[item] == target,
        "tag": jnp.any(catalog.tags[item] == target, axis=-1),
        "creator": catalog.creator[item] == target,
        "item": item == target,
    }
    found = jnp.zeros(item.shape, bool)
    for name, value in by_kind.items():
        found = jnp.where(kind == KIND[name], value, found)
    return found.astype(jnp.float32)


def _alike(cosine: Array) -> Array:
    return jnp.clip((cosine - ALIKE) / (SAME - ALIKE), 0.0, 1.0)
