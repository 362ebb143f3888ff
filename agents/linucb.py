"""LinUCB: a linear bandit for each user, which shows what may yet turn out to be good (Li, Chu, Langford & Schapire 2010).

One regression a user, of how much of an item was watched on what the item is. Slots of a slate are chosen one after another, each as
if those above had been seen and were as good as expected (GP-BUCB; Desautels, Krause & Burdick 2014), so that a slate does not ask the
same thing ten times.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxreco.agents.popularity import without_seen
from jaxreco.base import Catalog, Observation
from jaxreco.learning.bandit import BanditParams, LinearBandit, outcomes
from jaxreco.learning.posterior import Posterior
from jaxreco.struct import Struct

Array = jax.Array


class Belief(Struct):
    """What is known of one user."""

    weights: Posterior
    unknown: Array  # f32[I]

    def after(self, row: Array, outcome: Array, noise: float, there: Array, items: Array) -> Belief:
        """Once an item with regressors f32[R] had an outcome f32[]; the same where it is not `there`."""
        gain, along = self.weights.gain(row, noise)
        less = jnp.square(items @ gain) * (along @ along + noise)
        return Belief(self.weights.after(row, outcome, noise, there), self.unknown - jnp.where(there, less, 0.0))


@dataclasses.dataclass(frozen=True)
class LinUCB(LinearBandit):
    """The bandit. Arguments as of `LinearBandit`; width: alpha, of the confidence bound."""

    width: float = 1.0
    noise: float = 0.3

    def reset(self, agent_params: BanditParams) -> Belief:
        """What is known of a new user: the prior."""
        return Belief(agent_params.prior, agent_params.unknown)

    def act(
        self, key: Array, agent_params: BanditParams, memory: Belief, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Belief, None]:
        """The K highest bounds, one after another. The key is not needed."""
        items, (item, outcome, looked) = agent_params.items, outcomes(obs, catalog)

        def learn(belief: Belief, slot: tuple[Array, Array, Array]) -> tuple[Belief, None]:
            i, said, there = slot
            return belief.after(items[i], said, self.noise, there, items), None

        memory, _ = jax.lax.scan(learn, memory, (item, outcome, looked))
        expected = without_seen(items @ memory.weights.mean, obs.history.item)

        def choose(carry: tuple[Belief, Array], _: None) -> tuple[tuple[Belief, Array], Array]:
            belief, free = carry
            bound = expected + self.width * jnp.sqrt(jnp.maximum(belief.unknown, 0.0))
            chosen = jnp.argmax(jnp.where(free, bound, -jnp.inf)).astype(jnp.int32)
            row = items[chosen]
            belief = belief.after(row, row @ belief.weights.mean, self.noise, jnp.bool_(True), items)
            return (belief, free.at[chosen].set(False)), chosen

        free = jnp.ones(catalog.n_items, bool)
        _, slate = jax.lax.scan(choose, (memory, free), length=obs.slate.shape[0])
        return slate, memory, None


def make(width: float = 1.0, noise: float = 0.3, anchors: int = 35) -> LinUCB:
    """The LinUCB agent."""
    return LinUCB(width, noise, anchors)
