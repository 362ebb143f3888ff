"""Plain obedience: popularity, filtered by what the user asked for last. It learns nothing and infers nothing.

What it earns above popularity is what following instructions alone is worth.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.agents.popularity import below, without_seen
from jaxreco.base import Catalog, Observation
from jaxreco.struct import Struct
from jaxreco.talk.reading import Requests, category_share, listen, watched
from jaxreco.talk.satisfies import HALF, Situation, near_categories, satisfies, tag_categories

Array = jax.Array

STANDS = 3  # slates that a request is followed for


class Params(Struct):
    """What is known of the catalog."""

    near: Array  # f32[C, C], related categories
    tag_category: Array  # i32[N], see `tag_categories`


@dataclasses.dataclass(frozen=True)
class Obedient:
    """Top K by popularity among the items that satisfy the user's last request of this session, then the others."""

    privileged: ClassVar[bool] = False

    def init(self, key: Array, env: Any, catalog: Catalog) -> Params:
        """Which categories are related, and which tags are theirs. The key is not needed."""
        category = np.asarray(catalog.category)
        near = near_categories(np.asarray(catalog.embedding), category, int(category.max()) + 1)
        return Params(
            near=jnp.asarray(near), tag_category=jnp.asarray(tag_categories(np.asarray(catalog.tags), category))
        )

    def reset(self, agent_params: Params) -> Requests:
        """Nothing was asked yet."""
        return Requests.none()

    def act(
        self, key: Array, agent_params: Params, memory: Requests, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Requests, None]:
        """The slate i32[K]. The key is not needed."""
        asked = listen(memory, obs, catalog, agent_params.tag_category)
        request = jax.tree.map(lambda x: x[0], asked)
        situation = Situation(
            catalog=catalog,
            near=agent_params.near,
            tag_category=agent_params.tag_category,
            share=category_share(obs, catalog, agent_params.near.shape[0]),
            seconds=request.seconds,
            age=request.hours,
            peers=watched(obs, catalog),
        )
        does = satisfies(request, jnp.arange(catalog.n_items), situation) >= HALF
        stands = (request.intent > 0) & (request.age < STANDS)
        scores = without_seen(jnp.log(catalog.popularity + 1e-9), obs.history.item)
        scores = below(scores, stands & ~does)  # what was seen too comes before: obedience first
        return jax.lax.top_k(scores, obs.slate.shape[0])[1], asked, None


def make() -> Obedient:
    """The obedient agent."""
    return Obedient()
