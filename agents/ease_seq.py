"""EASE with transitions, neighbours and log-popularity, its history fading: the closed form to beat on logs (docs/ranking.md).

Fitted to a log of which the order counts: what was taken after an item says what may be wanted next. A user's scores
are what the items that it clicked say, each weighing `fade` times as much for every one clicked after it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.agents.popularity import without_seen
from jaxreco.base import CLICK, Catalog, Observation
from jaxreco.data.log import Items, Log
from jaxreco.ranking import closed
from jaxreco.ranking.closed import Recipe
from jaxreco.struct import Struct

Array = jax.Array


class Weights(Struct):
    """A fitted recipe."""

    between: Array  # f32[I, I], what having the row's item says for the column's: 400 MB for 10,000 items
    alone: Array  # f32[I]


@dataclasses.dataclass(frozen=True)
class EaseSeq:
    """The row `ease_seq` of `jaxreco bench ranking` as an agent.

    Args:
      recipe: what is summed; see `jaxreco.ranking.closed.Recipe`. `jaxreco.ranking.tuning` finds one for a log.
    """

    recipe: Recipe
    privileged: ClassVar[bool] = False
    needs_log: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, log: Any) -> Weights:
        """Fit the recipe to what was taken in a log (`jaxreco.logs.Interactions`). The key is not needed."""
        taken = Log.of(env.name, log.user, log.item, Items(ids=np.arange(catalog.n_items)), np.arange(log.n_users))
        fitted = closed.fit(taken, self.recipe)
        between = fitted.between if isinstance(fitted.between, np.ndarray) else fitted.between.toarray()
        return Weights(between=jnp.asarray(between), alone=jnp.asarray(fitted.alone))

    def reset(self, agent_params: Weights) -> Array:
        """f32[I], what the clicked items say."""
        return jnp.zeros(agent_params.alone.shape)

    def act(
        self, key: Array, agent_params: Weights, memory: Array, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Array, None]:
        """The K best items that were not just seen. The key is not needed."""
        clicked = ((obs.actions & CLICK) != 0).astype(jnp.float32)
        after = jnp.sum(clicked) - jnp.cumsum(clicked)  # clicks below a slot
        weight = clicked * self.recipe.fade**after
        memory = (
            self.recipe.fade ** jnp.sum(clicked) * memory + weight @ agent_params.between[jnp.maximum(obs.slate, 0)]
        )
        scores = without_seen(memory + agent_params.alone, obs.history.item)
        return jax.lax.top_k(scores, obs.slate.shape[0])[1], memory, None


def make(
    ease: float = 1.0,
    transitions: float = 0.4,
    neighbours: float = 0.0,
    popularity: float = 3e-3,
    fade: float = 0.8,
    regularisation: float = 200.0,
) -> EaseSeq:
    """The agent. Its settings are of the size that folds of real logs choose, tuned to no world."""
    return EaseSeq(
        Recipe(
            ease=ease,
            transitions=transitions,
            neighbours=neighbours,
            popularity=popularity,
            fade=fade,
            regularisation=regularisation,
        )
    )
