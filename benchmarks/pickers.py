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
    """What a person gives all items, as a normal distribution."""

    mean: Array  # f32[I]
    covariance: Array  # f32[I, I]

    def knowing(self, item: Array, given: Array, noise: float) -> Joint:
        """The distribution once some items were given a degree, item after item (Bishop 2006, "Pattern recognition and machine
        learning", eq. 2.81 and 2.82).

        No system is solved: two of LAPACK's at once, in a batch, wait for each other for ever on two cores (jaxlib 0.10.2).

        Args: item i32[H], EMPTY where there is none. given f32[H]. noise, variance of a degree that no other item explains.
        """

        def one(joint: Joint, told: tuple[Array, Array]) -> tuple[Joint, None]:
            i, said = told
            gain = joint.covariance[:, i] / (joint.covariance[i, i] + noise) * (i >= 0)
            mean = joint.mean + gain * (said - joint.mean[i])
            return Joint(mean, joint.covariance - gain[:, None] * joint.covariance[i]), None

        return jax.lax.scan(one, self, (item, given))[0]


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """The expected liking of every item, given what this person has answered, and `width` times what is not known of it.

    With the covariance of people's answers and no width it is the best linear predictor, and never explores. With the inner
    products of the items' words in its place it is LinUCB, one linear bandit a person (Li, Chu, Langford & Schapire 2010,
    algorithm 1, with one model for all items and in its dual form), which learns by how much this person likes an item
    above what others do.

    Args:
      words: covariance by the items' embeddings, a ridge of 1, instead of by people's answers.
      noise: variance of a degree of liking around what is expected. width: of the confidence bound, in standard deviations.
    """

    words: bool = False
    noise: float = 0.1
    width: float = 0.0
    privileged: ClassVar[bool] = False
    needs_log: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, log: Any) -> Joint:
        """Fit the mean, and the covariance unless it is by words, to a log. The key is not needed."""
        mean, covariance = (jnp.asarray(found, jnp.float32) for found in degrees(log))
        return Joint(mean, catalog.embedding @ catalog.embedding.T if self.words else covariance)

    def reset(self, agent_params: Joint) -> None:
        """No memory: the history has it."""

    def act(
        self, key: Array, agent_params: Joint, memory: None, obs: Observation, catalog: Catalog
    ) -> tuple[Array, None, None]:
        """The K items of the highest bound. The key is not needed."""
        now = agent_params.knowing(obs.history.item, degree(obs.history.actions), self.noise)
        bound = now.mean + self.width * jnp.sqrt(jnp.maximum(jnp.diag(now.covariance), 0.0))
        return jax.lax.top_k(bound, obs.slate.shape[0])[1], None, None


KINDS: dict[str, Ordered | Gaussian] = {
    "best_first": Ordered(1.0),
    "worst_first": Ordered(-1.0),
    "gaussian": Gaussian(),
    "linucb": Gaussian(words=True, noise=1.0, width=0.2),
}


def make(kind: str = "best_first") -> Ordered | Gaussian:
    """One of these agents. Raises ValueError for another kind, with the nearest names."""
    if kind not in KINDS:
        raise ValueError(f"There is no picker {kind!r}.{closest(kind, KINDS)}")
    return KINDS[kind]
