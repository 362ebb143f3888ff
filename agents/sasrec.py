"""SASRec, a causal transformer over what was clicked, fitted to a log: the supervised reference (Kang & McAuley 2018)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.agents.popularity import without_seen
from jaxreco.base import CLICK, EMPTY, Catalog, Observation
from jaxreco.data.log import Items, Log
from jaxreco.ranking import sasrec_fit, tuning
from jaxreco.ranking.cases import VISIBLE
from jaxreco.ranking.sasrec import SASRec, Sizes, Table
from jaxreco.struct import Struct

Array = jax.Array
HELD_BACK = 0.1  # of the users of a log, who say when to stop


class Learned(Struct):
    """What was learned from a log."""

    network: SASRec
    table: Table


@dataclasses.dataclass(frozen=True)
class SASRecAgent:
    """The K items that a fitted SASRec thinks likeliest to be clicked next.

    Args:
      sizes: of the network. rounds: of the fit, at most; None for what suits the log. content: whether items are read by the
        catalog's embedding too, not by their names alone.
    """

    sizes: Sizes
    rounds: int | None = None
    content: bool = False
    privileged: ClassVar[bool] = False
    needs_log: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, log: Any) -> Learned:
        """Fit to what was taken in a log (`jaxreco.logs.Interactions`). The key is consumed."""
        taken = Log.of(env.name, log.user, log.item, Items(ids=np.arange(catalog.n_items)), np.arange(log.n_users))
        inner = tuning.by_user(taken, HELD_BACK)
        config = sasrec_fit.usual(taken, **({} if self.rounds is None else {"rounds": self.rounds}))
        fitted = sasrec_fit.fit(
            inner.train,
            self.sizes,
            config,
            content=np.asarray(catalog.embedding) if self.content else None,
            held_back=inner.cases,
            seed=int(jax.random.randint(key, (), 0, np.iinfo(np.int32).max)),
        )
        return Learned(network=fitted.network, table=fitted.network.table(fitted.content))

    def reset(self, agent_params: Learned) -> Array:
        """i32[VISIBLE]: the last clicks, the latest last; EMPTY before the first."""
        return jnp.full(VISIBLE, EMPTY, jnp.int32)

    def act(
        self, key: Array, agent_params: Learned, memory: Array, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Array, None]:
        """The K best items that were not just seen. The key is not needed."""
        clicks = jnp.where((obs.actions & CLICK) != 0, obs.slate, EMPTY)
        every = jnp.concatenate([memory, clicks])
        memory = every[jnp.argsort(every >= 0, stable=True)][-VISIBLE:]  # what is none goes first
        scores = agent_params.network.scores(agent_params.table, memory)
        return jax.lax.top_k(without_seen(scores, obs.history.item), obs.slate.shape[0])[1], memory, None


def make(
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    dropout: float = 0.2,
    rounds: int | None = None,
    content: bool = False,
) -> SASRecAgent:
    """The agent."""
    return SASRecAgent(Sizes(width=width, layers=layers, heads=heads, dropout=dropout), rounds, content)
