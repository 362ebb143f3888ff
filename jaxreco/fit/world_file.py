"""A world that was made of a log, in one file: its items, their names, its people, and what they took.

Plain arrays; no pickles. Whichever user model lives in it, a folder of a fitted user holds one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxreco import files
from jaxreco.base import Catalog, Names
from jaxreco.content import fusion
from jaxreco.errors import DataError
from jaxreco.logs import Interactions
from jaxreco.population import Population
from jaxreco.users import people
from jaxreco.users.mindset import MindsetParams, Traits

WORLD = "world.npz"
AGAIN = "fit the user model again"  # what to do with a broken folder
CATALOG, TRAITS = (tuple(field.name for field in dataclasses.fields(of)) for of in (Catalog, Traits))
NAMES = ("titles", "categories", "creators", "tags", "ids")
OTHERS = ("clickbait", "users", "log_user", "log_item")


class World(NamedTuple):
    """`I` items, `P` people.

    Args:
      catalog, names: of the items. params: of the mechanistic user, its population one row a person of the log. users: [P], ids
      of the people as in the log. log: what they took, by person and time.
    """

    catalog: Catalog
    names: Names
    params: MindsetParams
    users: np.ndarray
    log: Interactions

    def histories(self) -> np.ndarray:
        """i32[P, M]: what each took, the latest last; -1 before the first of each."""
        count = np.bincount(self.log.user, minlength=len(self.users))
        found = np.full((len(self.users), max(int(count.max(initial=0)), 1)), -1, np.int32)
        place = np.arange(len(self.log.user)) - np.repeat(np.cumsum(count) - count, count)
        found[self.log.user, found.shape[1] - count[self.log.user] + place] = self.log.item
        return found


def save(folder: Path, world: World) -> None:
    """Write the file, whole. The parameters' scalars are not in it."""
    traits = world.params.population.traits
    arrays = {name: np.asarray(getattr(world.catalog, name)) for name in CATALOG}
    arrays |= {f"trait_{name}": np.asarray(getattr(traits, name)) for name in TRAITS}
    arrays |= {f"name_{name}": np.array(getattr(world.names, name)) for name in NAMES}
    arrays |= {
        "clickbait": np.asarray(world.params.clickbait),
        "users": np.array(np.asarray(world.users).tolist()),  # texts as such: objects would be pickled
        "log_user": world.log.user.astype(np.int32),
        "log_item": world.log.item.astype(np.int32),
    }
    with files.written_whole(folder / WORLD) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(folder: Path, scalars: Mapping[str, float]) -> World:
    """The world of a folder, with scalars of MindsetParams. Raises DataError where the file is not there, incomplete or broken."""
    arrays = (*CATALOG, *(f"trait_{name}" for name in TRAITS), *(f"name_{name}" for name in NAMES), *OTHERS)
    found = fusion.arrays(folder / WORLD, arrays, AGAIN)
    catalog = Catalog(**{name: jnp.asarray(found[name]) for name in CATALOG})
    names = Names(**{name: tuple(found[f"name_{name}"].tolist()) for name in NAMES})
    traits = Traits(**{name: jnp.asarray(found[f"trait_{name}"]) for name in TRAITS})
    population = Population(traits=traits, weights=jnp.ones(len(found["users"])))
    known: dict[str, Any] = people.known_of(catalog, len(names.categories))
    try:
        params = MindsetParams(
            population=population, clickbait=jnp.asarray(found["clickbait"]), **known | dict(scalars)
        )
    except TypeError:
        raise DataError(f"The parameters in {folder} are none of this version: {AGAIN}.") from None
    weight = np.ones(len(found["log_item"]), np.float32)
    log = Interactions(found["log_user"], found["log_item"], weight, len(found["users"]), catalog.n_items)
    return World(catalog, names, params, found["users"], log)
