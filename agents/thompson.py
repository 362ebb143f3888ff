"""Thompson sampling: each slot shows what would be best if a guess at this user's weights were true (Agrawal & Goyal 2013).

The regression is that of `linucb`. Every slot has a guess of its own, drawn from what is known so far.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxreco.agents.popularity import without_seen
from jaxreco.base import Catalog, Observation
from jaxreco.learning.bandit import BanditParams, LinearBandit, outcomes
from jaxreco.learning.posterior import Posterior

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Thompson(LinearBandit):
    """The bandit. Arguments as of `LinearBandit`; width: v, by which guesses differ."""

    width: float = 0.6
    noise: float = 0.1

    def reset(self, agent_params: BanditParams) -> Posterior:
        """What is known of a new user: the prior."""
        return agent_params.prior

    def act(
        self, key: Array, agent_params: BanditParams, memory: Posterior, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Posterior, None]:
        """The best item by each of K guesses, none twice. The key is consumed."""
        items, (item, outcome, looked) = agent_params.items, outcomes(obs, catalog)

        def learn(weights: Posterior, slot: tuple[Array, Array, Array]) -> tuple[Posterior, None]:
            i, said, there = slot
            return weights.after(items[i], said, self.noise, there), None

        memory, _ = jax.lax.scan(learn, memory, (item, outcome, looked))
        size, regressors = obs.slate.shape[0], items.shape[1]
        normal = self.width * jax.random.normal(key, (size, regressors))
        guesses = jax.vmap(memory.draw)(normal) @ items.T  # [K, I]

        def choose(free: Array, guess: Array) -> tuple[Array, Array]:
            fresh = without_seen(guess, obs.history.item)
            chosen = jnp.argmax(jnp.where(free, fresh, -jnp.inf)).astype(jnp.int32)
            return free.at[chosen].set(False), chosen

        return jax.lax.scan(choose, jnp.ones(catalog.n_items, bool), guesses)[1], memory, None


def make(width: float = 0.6, noise: float = 0.1, anchors: int = 35) -> Thompson:
    """The Thompson sampling agent."""
    return Thompson(width, noise, anchors)
