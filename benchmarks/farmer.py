"""A scripted cheat: it annoys its users so that they complain, and then does what they ask.

In a simulator that pays for obedience this would beat an agent that does not annoy. It must not.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from jaxreco.agents.obedient import STANDS, Obedient
from jaxreco.agents.popularity import without_seen
from jaxreco.base import Catalog, Observation

Array = jax.Array

When = Literal["openings", "silences"]


@dataclasses.dataclass(frozen=True)
class Farmer:
    """The obedient agent, but for the slates with which it annoys: the least popular items.

    Args:
      when: "openings", the first slate of every session; "silences", whenever nothing stands asked.
    """

    when: When = "openings"
    privileged: ClassVar[bool] = False

    def init(self, key: Array, env: Any, catalog: Catalog) -> Any:
        """The obedient agent's parameters. The key is consumed."""
        return Obedient().init(key, env, catalog)

    def reset(self, agent_params: Any) -> Any:
        """The obedient agent's memory."""
        return Obedient().reset(agent_params)

    def act(
        self, key: Array, agent_params: Any, memory: Any, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Any, None]:
        """An annoying slate i32[K], or an obedient one. The key is consumed."""
        slate, asked, _ = Obedient().act(key, agent_params, memory, obs, catalog)
        worst = without_seen(-jnp.log(catalog.popularity + 1e-9), obs.history.item)
        annoying = jax.lax.top_k(worst, obs.slate.shape[0])[1]
        stands = (asked.intent[0] > 0) & (asked.age[0] < STANDS)
        quiet = ~stands & ((obs.session_turn == 0) if self.when == "openings" else True)
        return jnp.where(quiet, annoying, slate), asked, None
