"""What linear bandits share: how items are described, what a slot came to, and the prior. The agents `linucb` and `thompson` are two."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreco.base import EXAMINED, Catalog, Observation
from jaxreco.content.anchors import FEATURES, by_anchors, spread_anchors
from jaxreco.learning.posterior import Posterior
from jaxreco.struct import Struct

Array = jax.Array


class BanditParams(Struct):
    """What all users share."""

    items: Array  # f32[I, R], the catalog's regressors
    prior: Posterior  # of a user of whom nothing is known
    unknown: Array  # f32[I], variance of each item's expected outcome under it


@dataclasses.dataclass(frozen=True)
class LinearBandit:
    """A regression for each user of how much of an item was watched on what the item is.

    Args:
      width: how much is explored, in standard deviations of what is expected. noise: variance of a slot's outcome around that.
      anchors: A, places in the catalog by which items are described. popularity: weight of log popularity before anything is known.
      doubt: variance of a weight before anything is known.
    """

    width: float
    noise: float
    anchors: int = 35
    popularity: float = 0.1
    doubt: float = 0.1
    privileged: ClassVar[bool] = False

    def init(self, key: Array, env: Any, catalog: Catalog) -> BanditParams:
        """The regressors of all items, and a prior under which what is popular is good. The key is consumed."""
        anchors = spread_anchors(key, catalog.embedding, min(self.anchors, catalog.n_items))
        items = jnp.concatenate([by_anchors(catalog, anchors), jnp.ones((catalog.n_items, 1))], axis=1)
        regressors, popular = items.shape[1], items.shape[1] - 1 - FEATURES + 1  # the second of the features
        prior = Posterior(
            mean=jnp.zeros(regressors).at[popular].set(self.popularity),
            root=jnp.sqrt(self.doubt) * jnp.eye(regressors),
        )
        return BanditParams(items, prior, self.doubt * jnp.sum(jnp.square(items), axis=1))


def outcomes(obs: Observation, catalog: Catalog) -> tuple[Array, Array, Array]:
    """Of the last slate: items i32[K], the share of each that was watched f32[K], and whether it was looked at bool[K]."""
    item = jnp.maximum(obs.slate, 0)
    watched = jnp.minimum(obs.watch / catalog.duration[item], 1.0)
    return item, watched, ((obs.actions & EXAMINED) != 0) & (obs.slate >= 0)
