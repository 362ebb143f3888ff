"""The floor: slates drawn uniformly from the catalog, K different items each."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax

from jaxreco import rng
from jaxreco.base import Catalog, Observation

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Random:
    """Every ordered slate is equally likely, in every turn."""

    privileged: ClassVar[bool] = False

    def init(self, key: Array, env: Any, catalog: Catalog) -> None:
        """No parameters."""

    def reset(self, agent_params: None) -> None:
        """No memory."""

    def act(
        self, key: Array, agent_params: None, memory: None, obs: Observation, catalog: Catalog
    ) -> tuple[Array, None, None]:
        """A random slate i32[K]. The key is consumed."""
        return rng.distinct(rng.uniforms(key, obs.slate.shape[0]), catalog.n_items), None, None


def make() -> Random:
    """The random agent."""
    return Random()
