"""Simple agents of the policy-order judge: by what others liked, by the joint distribution of likes, and a bandit on words.

They see what a platform sees, clicks and likes, never the ratings themselves. `make(kind=...)` makes one; the file is an
agent's name for `jaxreco.make_agent`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import CLICK, LIKE, Catalog, Observation
from jaxreco.names import closest
from jaxreco.struct import Struct

Array = jax.Array


def degree(actions: Array) -> Array:
    """f32: how far an item was liked, 0 without a click, 0.5 with one, 1 with a like too. Of actions i32, any shape."""
    return 0.5 * ((actions & CLICK) != 0) + 0.5 * ((actions & LIKE) != 0)


def degrees(log: Any) -> tuple[np.ndarray, np.ndarray]:
    """(f64[I] mean weight of each item of `jaxreco.logs.Interactions`, f64[I, I] covariance of pairs of items).

    A covariance is the mean over all people of the product of what they gave the two above the items' means, 0 where they
    did not answer: so pairs that few answered are pulled to 0, and the matrix has no negative eigenvalue.
    """
    weight, known = np.zeros((log.n_users, log.n_items)), np.zeros((log.n_users, log.n_items))
    weight[log.user, log.item], known[log.user, log.item] = log.weight, 1.0
    count = known.sum(axis=0)
    everywhere = weight.sum() / max(count.sum(), 1.0)
    mean = (weight.sum(axis=0) + everywhere) / (count + 1.0)  # an item that nobody answered is an ordinary one
    above = known * (weight - mean)
    return mean, above.T @ above / max(int((known.sum(axis=1) > 0).sum()), 1)


@dataclasses.dataclass(frozen=True)
class Ordered:
    """One list for everybody: items by what people in the log thought of them. No personalisation.

    Args: sign, 1 for the best first, -1 for the worst first.
    """

    sign: float = 1.0
    privileged: ClassVar[bool] = False
    needs_log: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, log: Any) -> Array:
        """f32[I], mean degree of liking. The key is not needed."""
        return jnp.asarray(degrees(log)[0], jnp.float32)

    def reset(self, agent_params: Array) -> None:
        """No memory."""

    def act(
        self, key: Array, agent_params: Array, memory: None, obs: Observation, catalog: Catalog
    ) -> tuple[Array, None, None]:
        """The first K of the list. The key is not needed."""
        return jax.lax.top_k(self.sign * agent_params, obs.slate.shape[0])[1], None, None


class Joint(Struct):
    """A normal distribution of what a person gives all items."""

    mean: Array  # f32[I]
    covariance: Array  # f32[I, I]


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """The expected liking of every item, given what this person has answered: the mean of a conditional normal.

    The best linear predictor from means and covariances (Bishop 2006, "Pattern recognition and machine learning", eq.
    2.81), with `noise` on the diagonal. It never explores.
    """

    noise: float = 0.1  # variance of a degree that no other item explains
    privileged: ClassVar[bool] = False
    needs_log: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, log: Any) -> Joint:
        """Fit means and covariances to a log. The key is not needed."""
        mean, covariance = degrees(log)
        return Joint(jnp.asarray(mean, jnp.float32), jnp.asarray(covariance, jnp.float32))

    def reset(self, agent_params: Joint) -> None:
        """No memory: the history has it."""

    def act(
        self, key: Array, agent_params: Joint, memory: None, obs: Observation, catalog: Catalog
    ) -> tuple[Array, None, None]:
        """The K items of highest expected liking. The key is not needed."""
        item, there = jnp.maximum(obs.history.item, 0), obs.history.item >= 0
        both = there[:, None] & there
        among = jnp.where(both, agent_params.covariance[item[:, None], item], 0.0)
        among = among + jnp.diag(jnp.where(there, self.noise, 1.0))  # 1 keeps an empty slot apart from the rest
        surprise = jnp.where(there, degree(obs.history.actions) - agent_params.mean[item], 0.0)
        expected = agent_params.mean + agent_params.covariance[:, item] @ jnp.linalg.solve(among, surprise)
        return jax.lax.top_k(expected, obs.slate.shape[0])[1], None, None


@dataclasses.dataclass(frozen=True)
class LinUCB:
    """A linear bandit on the items' words, a new one for each person (Li, Chu, Langford & Schapire 2010, algorithm 1).

    It learns by how much this person likes an item above what others do, from the item's embedding, and adds `alpha` times
    the width of what it does not know. One model serves all items.
    """

    alpha: float = 0.2  # in degrees of liking
    ridge: float = 1.0
    privileged: ClassVar[bool] = False
    needs_log: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, log: Any) -> Array:
        """f32[I], what others gave each item. The key is not needed."""
        return jnp.asarray(degrees(log)[0], jnp.float32)

    def reset(self, agent_params: Array) -> None:
        """No memory: the history has it."""

    def act(
        self, key: Array, agent_params: Array, memory: None, obs: Observation, catalog: Catalog
    ) -> tuple[Array, None, None]:
        """The K items of highest upper confidence bound. The key is not needed."""
        item, there = jnp.maximum(obs.history.item, 0), obs.history.item >= 0
        seen = catalog.embedding[item] * there[:, None]
        gram = self.ridge * jnp.eye(seen.shape[1]) + seen.T @ seen
        surprise = jnp.where(there, degree(obs.history.actions) - agent_params[item], 0.0)
        weights = jnp.linalg.solve(gram, seen.T @ surprise)
        spread = jnp.sum(catalog.embedding * jnp.linalg.solve(gram, catalog.embedding.T).T, axis=1)
        bound = agent_params + catalog.embedding @ weights + self.alpha * jnp.sqrt(jnp.maximum(spread, 0.0))
        return jax.lax.top_k(bound, obs.slate.shape[0])[1], None, None


KINDS: dict[str, Ordered | Gaussian | LinUCB] = {
    "best_first": Ordered(1.0),
    "worst_first": Ordered(-1.0),
    "gaussian": Gaussian(),
    "linucb": LinUCB(),
}


def make(kind: str = "best_first") -> Ordered | Gaussian | LinUCB:
    """One of these agents. Raises ValueError for another kind, with the nearest names."""
    if kind not in KINDS:
        raise ValueError(f"There is no picker {kind!r}.{closest(kind, KINDS)}")
    return KINDS[kind]
