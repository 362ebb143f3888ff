"""A trained agent in another world than its own: among other users of the same items, or where some of the items are others."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco import cli_world, registry
from jaxreco.base import EMPTY, Names
from jaxreco.errors import JaxrecoError
from jaxreco.training.job import Job, key_of, row_name, statics

AT_LEAST = 0.5  # of a world's items must be known from home


def among(job: Job, user_model: pathlib.Path) -> Job:
    """The job with other users, to whom the trained agent is set as it is. Raises JaxrecoError for users of other items."""
    env, params = cli_world.make_world(job.config["env"], static=statics(job.config), user_model=user_model)
    same = [
        np.array_equal(getattr(params.catalog, name), getattr(job.params.catalog, name))
        for name in ("embedding", "category", "tags")
    ]
    if env.n_items != job.env.n_items or not all(same):
        raise JaxrecoError(
            f"The users in {user_model} know other items than the run's, or them otherwise: fit both to the same log with the same "
            "--seed and --content."
        )
    return dataclasses.replace(job, env=env, params=params)


def away(
    job: Job,
    trained: Sequence[Any],
    world: str,
    *,
    data: pathlib.Path | None = None,
    user_model: pathlib.Path | None = None,
    static: Sequence[str] = (),
) -> tuple[Job, list[Any], int]:
    """The job in another world of the same log, the parameters of its trained agents there, and how many of its items are new to them.

    Args:
      trained: agent_params, one a seed. data, user_model: that world's; data is the run's where it is None.
      static: of that world, NAME=VALUE.

    Raises JaxrecoError for an agent that cannot be moved, and for a world that has other items, or kinds of items.
    """
    name = row_name(job.config["agent"])
    if getattr(job.agent, "moved", None) is None:
        raise JaxrecoError(f"The agent {name} knows no items but those it was trained with: it has no `moved`.")
    if data is None and job.config.get("data") and registry.takes_data(world):
        data = pathlib.Path(job.config["data"])
    config = {**job.config, "env": world, "world": list(static), "data": str(data) if data else None}
    env, params = cli_world.make_world(world, data=data, static=statics(config), user_model=user_model)
    known = places(job.env.names, env.names)
    if env.names.categories != job.env.names.categories or np.mean(known >= 0) < AT_LEAST:
        raise JaxrecoError(
            f"{name} was trained with other items: of the {len(known):,} of {world} it knows {np.sum(known >= 0):,}. Take a world of "
            "the same log."
        )
    _, here = registry.make_agent(job.config["agent"], key_of(job.config["seed"], "agent"), env, params)
    there = [job.agent.moved(learned, here, jnp.asarray(known), params.catalog) for learned in trained]
    return dataclasses.replace(job, config=config, env=env, params=params), there, int(np.sum(known < 0))


def places(home: Names | None, world: Names | None) -> np.ndarray:
    """i32[I]: where each item of a world stands at home, EMPTY where it does not. An item is the same by its id in the log and its title.

    Raises JaxrecoError where items have no ids.
    """
    if home is None or world is None or not home.ids or not world.ids:
        raise JaxrecoError("Made-up items are the same in no other world: take a run and a world of one log.")
    at = {item: place for place, item in enumerate(zip(home.ids, home.titles, strict=True))}
    return np.array([at.get(item, EMPTY) for item in zip(world.ids, world.titles, strict=True)], np.int32)
