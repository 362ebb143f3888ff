"""Other users than those that an agent was trained on: every parameter of the user times a factor of its own.

What is redrawn: all scalars of the user model that say how people are (`MindsetParams`), and every trait that is one number
a user, the whole column by one factor. What is not: items and what they hide (the catalog's), tastes (directions, whose weight
`affinity` is redrawn), which categories are related, and FACTS, which are means of a catalog or of a log, or no trait at all.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco.population import Population

MOST = 0.3  # of a value, by which it is moved at most
# What the catalog or the log has, whoever comes: lengths, ages and values. And the hour at which tastes jump, which is a world of its own.
FACTS = (
    "usual_seconds", "usual_age", "usual_slate", "value_mean", "value_spread", "like_at", "taste_shift_hours",
)  # fmt: skip
SHARES = ("trust", "rho")  # traits that cannot be more than 1


def redraw(params: Any, number: int, most: float = MOST) -> Any:
    """The world of a number: each parameter and trait times its own factor, uniform in [1 - most, 1 + most].

    What has a range stays in it. Shapes and types are as they were, so nothing is compiled anew.

    Args: params, EnvParams of a user with a mindset. number: of the redrawing, from 0; the same number draws the same factors.
    """
    rng = np.random.default_rng([number, 20])
    user = params.user
    scalars = {}
    for field in dataclasses.fields(user):
        if "low" in field.metadata and field.name not in FACTS:
            value = float(getattr(user, field.name)) * rng.uniform(1.0 - most, 1.0 + most)
            scalars[field.name] = np.clip(value, field.metadata["low"], field.metadata["high"])
    traits = user.population.traits
    columns = {}
    for name in numbers(traits):
        column = np.asarray(getattr(traits, name)) * np.float32(rng.uniform(1.0 - most, 1.0 + most))
        columns[name] = jnp.asarray(np.minimum(column, 1.0) if name in SHARES else column)
    population = Population(traits.replace(**columns), user.population.weights)
    return params.replace(user=user.replace(population=population, **scalars))


def numbers(traits: Any) -> list[str]:
    """Names of the traits that are one number a user: columns f32[P]."""
    columns = ((field.name, getattr(traits, field.name)) for field in dataclasses.fields(traits))
    return [name for name, column in columns if getattr(column, "ndim", 0) == 1 and column.dtype == jnp.float32]
