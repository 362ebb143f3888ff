"""Controls: agents that do not hear what their users say, or hear what other users said.

An agent that gains nothing from the real words over these does not use them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxreco.base import Catalog, Observation

Array = jax.Array

Hearing = Literal["real", "masked", "shuffled"]
HEARINGS: tuple[Hearing, ...] = ("real", "masked", "shuffled")


def hard_of_hearing(agent: Any, hearing: Hearing) -> Any:
    """The agent, hearing its users' instructions and reasons (`real`), nothing (`masked`) or others' (`shuffled`)."""
    return {"real": lambda a: a, "masked": Masked, "shuffled": Shuffled}[hearing](agent)


@dataclasses.dataclass(frozen=True)
class _Around:
    """An agent around another: it acts as that one does."""

    agent: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "agent":
            raise AttributeError(name)
        return getattr(self.agent, name)


@dataclasses.dataclass(frozen=True)
class Masked(_Around):
    """Hears silence."""

    def act(self, key: Array, agent_params: Any, memory: Any, obs: Observation, catalog: Catalog, **truth: Any) -> Any:
        """As the agent acts in silence. The key is consumed."""
        return self.agent.act(key, agent_params, memory, silence(obs), catalog, **truth)

    @property
    def value(self) -> Callable[..., Array]:
        """As the agent values silence; an agent without values has none."""
        value = self.agent.value
        return lambda agent_params, memory, obs, catalog: value(agent_params, memory, silence(obs), catalog)


@dataclasses.dataclass(frozen=True)
class Shuffled(_Around):
    """Hears another's words: whoever speaks in a turn is handed the words of one who speaks in the same turn."""

    def overhear(self, key: Array, obs: Observation) -> Observation:
        """The observations of a tile, leaves [tile, ...], with words permuted among those who speak. The key is consumed."""
        speaks = jnp.any(obs.instruction > 0, axis=-1) | jnp.any(obs.trace > 0, axis=-1)
        order = jax.random.uniform(key, speaks.shape)
        speakers = jnp.argsort(~speaks, stable=True)  # the speakers first, as they stand
        drawn = jnp.argsort(jnp.where(speaks, order, 2.0))  # the speakers first, in a random order
        whose = jnp.zeros_like(drawn).at[speakers].set(drawn)
        whose = jnp.where(speaks, whose, jnp.arange(speaks.shape[0]))
        return obs.replace(instruction=obs.instruction[whose], trace=obs.trace[whose])


def silence(obs: Observation) -> Observation:
    """The observation without words."""
    return obs.replace(instruction=jnp.zeros_like(obs.instruction), trace=jnp.zeros_like(obs.trace))
