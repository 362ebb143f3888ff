"""Privileged: reads the mindset and shows the slate of best expected reward in the next turn.

A scale, never a competitor. It is greedy slot by slot: after each choice the satiation with the category and the
creator that the choice will cause is charged to what is left.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreco.base import Catalog, Observation
from jaxreco.search import first_max
from jaxreco.users import mindset

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class OracleGreedy:
    """Best expected minutes of the next slate, given everything.

    Args:
      candidates: items, best at first sight, among which the slate is composed.
    """

    candidates: int = 128
    privileged: ClassVar[bool] = True
    tile: ClassVar[int] = 128

    def init(self, key: Array, env: Any, catalog: Catalog, truth: Any) -> None:
        """No parameters: everything is in the truth. Raises JaxrecoError for users without a mindset."""
        mindset.read_by(self, truth.user)

    def reset(self, agent_params: None) -> None:
        """No memory: the user's is read."""

    def act(
        self, key: Array, agent_params: None, memory: None, obs: Observation, catalog: Catalog, truth: Any
    ) -> tuple[Array, None, None]:
        """The slate i32[K]. truth = (EnvState, EnvParams). The key is not needed."""
        state, params = truth[0].user, truth[1].user
        traits = params.population.row(state.row)
        # What was seen lately only lowers an item, so the shortlist is drawn up without it: it costs I x H to know.
        first, _ = mindset.liking(state, traits, jnp.arange(catalog.n_items), params, catalog)
        first = first - params.satiation * state.satiation[catalog.category]
        lure = traits.gullibility * params.clickbait
        worth = mindset.expected_minutes(first, lure, catalog.duration, state.trust, params)
        _, near = jax.lax.top_k(worth, min(self.candidates, catalog.n_items))
        appeal, _, _ = mindset.appeal_of(state, traits, near, params, catalog)
        tired = params.fatigue * jnp.minimum(state.minutes / state.budget, 3.0)
        utility = appeal.utility - tired - params.satiation * state.satiation[appeal.category]
        creator = catalog.creator[near]

        def choose(cost: Array, _: None) -> tuple[Array, Array]:
            left = mindset.expected_minutes(utility - cost, appeal.lure, appeal.seconds, state.trust, params)
            best = first_max(jnp.where(jnp.isinf(cost), -1.0, left))
            sated = (
                params.satiation * 0.7 * (appeal.category == appeal.category[best])
            )  # 0.7: a click and a typical watch
            sated = sated + params.creator_satiation * (creator == creator[best])
            return (cost + sated).at[best].set(jnp.inf), near[best]

        _, slate = jax.lax.scan(choose, jnp.zeros(near.shape[0]), None, length=obs.slate.shape[0])
        return slate.astype(jnp.int32), None, None


def make(candidates: int = 128) -> OracleGreedy:
    """The greedy oracle."""
    return OracleGreedy(candidates)
