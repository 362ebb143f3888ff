"""What worlds of logged answers have in common: a catalog from a log's items, its people, and one sitting of each.

`jester.py` and `coat.py` are made of it, and a log of your own may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog, EnvParams, Names, RewardWeights
from jaxreco.content import text
from jaxreco.data.log import Items, Log
from jaxreco.data.responses import Responses, Scale, above_own_mean, own_scale, responses
from jaxreco.env import RecoEnv
from jaxreco.logs import Interactions
from jaxreco.population import Population
from jaxreco.users.replay import Answered, Replay, ReplayParams

SHRINKAGE = 10.0  # answers, by which an item's quality is pulled to the mean
BY_CLICKS = {"minutes": 0.0, "click": 1.0}  # reward: minutes would pay for long items, liked or not


def world(
    name: str, version: str, log: Log, *, seconds: np.ndarray, titles: Sequence[str], categories: Sequence[str],
    min_answers: int, width: int, slate_size: int, history_length: int, action_mode: Any,
) -> tuple[RecoEnv, EnvParams]:  # fmt: skip
    """The world of a log whose people answer as they did.

    Args:
      seconds: f64[I], how long it takes to look at each item. titles, categories: [I].
      min_answers: people with fewer never come. width: D, of the items' embedding by their words.

    Raises DataError for a log that holds no answers, or nobody with as many.
    """
    if min_answers < 1:
        raise ValueError(f"min_answers is {min_answers}; {name} needs at least 1.")
    told = responses(log)
    comes = told.require(min_answers, log.name)
    scale = own_scale(told)
    popularity = told.known.sum(axis=0) / told.known.sum()
    catalog, names = catalog_of(
        log.items,
        width,
        seconds=seconds,
        popularity=popularity,
        quality=_quality(told),
        titles=titles,
        categories=categories,
    )
    env = RecoEnv(
        name=name, version=version, user_model=Replay(log.n_items, slate_size, history_length), n_items=log.n_items,
        slate_size=slate_size, history_length=history_length, action_mode=action_mode, single_session=True, names=names,
        log=_interactions(told, scale),
    )  # fmt: skip
    people = Answered(*(jnp.asarray(column) for column in (*told, *scale)))
    user = ReplayParams(population=Population(traits=people, weights=jnp.asarray(comes, jnp.float32)))
    return env, EnvParams(catalog=catalog, user=user, reward=RewardWeights(**BY_CLICKS))


def catalog_of(
    items: Items, width: int, *, seconds: np.ndarray, popularity: np.ndarray, quality: np.ndarray, titles: Sequence[str],
    categories: Sequence[str],
) -> tuple[Catalog, Names]:  # fmt: skip
    """Items as arrays, and their readable side. The embedding is of their words; without words an item is alike to nothing.

    There are no creators in these logs, and no dates: one creator made all, now.
    """
    kinds, tag_names = sorted(set(categories)), sorted({tag for tags in items.tags or () for tag in tags})
    widest = max((len(tags) for tags in items.tags or ()), default=0)
    tags = np.full((len(items), max(widest, 1)), EMPTY, np.int32)
    for row, own in zip(tags, items.tags or (), strict=False):
        row[: len(own)] = [tag_names.index(tag) for tag in own]
    nothing = jnp.zeros(len(items))
    catalog = Catalog(
        embedding=jnp.asarray(text.encode(text.describe(items), width=width).vectors),
        category=jnp.asarray([kinds.index(kind) for kind in categories], jnp.int32),
        creator=nothing.astype(jnp.int32),
        tags=jnp.asarray(tags),
        duration=jnp.asarray(seconds, jnp.float32),
        popularity=jnp.asarray(popularity, jnp.float32),
        quality=jnp.asarray(quality, jnp.float32),
        age=nothing,
    )
    ids = tuple(items.ids.tolist()) if np.issubdtype(items.ids.dtype, np.integer) else ()
    return catalog, Names(tuple(titles), tuple(kinds), ("unknown",), tuple(tag_names), ids)


def _quality(told: Responses) -> np.ndarray:
    """f64[I], standard score: mean answer above the person's own mean, shrunk (Koren 2008, section 2.1)."""
    effect = above_own_mean(told).sum(axis=0) / (told.known.sum(axis=0) + SHRINKAGE)
    return (effect - effect.mean()) / (effect.std() + 1e-9)


def _interactions(told: Responses, scale: Scale) -> Interactions:
    """Every answer, for agents that are fitted to a log: weight 1 for a like, 0.5 for a click, 0 for neither."""
    user, item = np.nonzero(told.known)
    value = told.value[user, item]
    weight = 0.5 * (value >= scale.click_at[user]) + 0.5 * (value >= scale.like_at[user])
    return Interactions(user.astype(np.int32), item.astype(np.int32), weight.astype(np.float32), *told.known.shape)
