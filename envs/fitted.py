"""What worlds of fitted users have in common: the world of a folder of `jaxreco fit`, and worlds that bear a log's name.

`learned.py` is made of the one, `learned_movielens.py` and its like of the other.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco.base import EnvParams
from jaxreco.data import sets
from jaxreco.env import RecoEnv
from jaxreco.errors import DataError
from jaxreco.users.mindset import Mindset

SCALED, SHIFTED = ("budget_minutes", "habit_hours"), ("patience",)  # how a trait is given another median


def world(
    name: str, version: str, folder: Path, *, slate_size: int, history_length: int, action_mode: Any, choice: Any,
    talks: bool, exposes_trace: bool, think_aloud: bool,
) -> tuple[RecoEnv, EnvParams]:  # fmt: skip
    """The world of a folder of `jaxreco fit`, whichever user model it holds, and its parameters. Statics as of `learned.make`.

    Raises DataError where the folder holds no user model, or a broken one.
    """
    from jaxreco.fit import living, mindset_folder

    statics: dict[str, Any] = {"talks": talks, "think_aloud": think_aloud}
    its, params, kind = None, None, Mindset
    if mindset_folder.is_one(folder):
        its = mindset_folder.load(folder).world
        params = its.params
    else:
        from jaxreco.users.transformer import LearnedUser

        its, params = living.load(folder)
        kind, statics["sources"] = LearnedUser, params.sources
    size = min(slate_size, its.catalog.n_items)
    env = RecoEnv(
        name=name, version=version, n_items=its.catalog.n_items, slate_size=size, history_length=history_length,
        user_model=kind(len(its.names.categories), size, history_length, choice, **statics), exposes_trace=exposes_trace,
        action_mode=action_mode, names=its.names, log=its.log,
    )  # fmt: skip
    return env, EnvParams(catalog=its.catalog, user=params)


def named(
    name: str, version: str, logs: Mapping[str, str], defaults: Mapping[str, Mapping[str, float]]
) -> Callable[..., tuple[RecoEnv, EnvParams]]:
    """The `make` of a world that bears a log's name.

    Args:
      logs: name of a set (`data.sets`) -> name of its log, of all that will do, the one to be preferred first.
      defaults: by a set's name, what its log does not tell: `seconds` of an item, medians of traits, parameters of the user.
    """

    def make(
        *,
        data: str | os.PathLike[str] | None = None,
        user_model: Any = None,
        slate_size: int = 10,
        history_length: int = 50,
        action_mode: Any = "slate",
        choice: Any = "cascade",
        talks: bool = True,
        exposes_trace: bool = True,
        think_aloud: bool = False,
    ) -> tuple[RecoEnv, EnvParams]:
        """The world of a user fitted to a log, and its default parameters.

        Args:
          data: folder of the log, or one that holds it by the name of its set; the environment variable JAXRECO_DATA where it is
            None. A user is fitted to it when it is first asked for, and kept in the user's cache directory.
          user_model: a folder of `jaxreco fit`, of a user fitted to such a log, instead. With data as well, to that very log.
          talks: users give instructions and reasons, which are priors. exposes_trace: agents see the reasons. think_aloud: reasons
            come in every turn.

        Raises DataError where there is no such folder, or it cannot be read, or holds something else.
        """
        kept = None if user_model is None or user_model == "mindset" else Path(user_model).expanduser()
        folder, of = _source(name, logs, data, kept)
        env, params = world(
            name, version, folder, slate_size=slate_size, history_length=history_length, action_mode=action_mode, choice=choice,
            talks=talks, exposes_trace=exposes_trace, think_aloud=think_aloud,
        )  # fmt: skip
        return env, with_priors(params, defaults[of])

    return make


def _source(
    world: str, logs: Mapping[str, str], data: str | os.PathLike[str] | None, kept: Path | None
) -> tuple[Path, str]:
    """(folder of the fitted user, name of the set it is fitted to)."""
    from jaxreco.content.store import fingerprint
    from jaxreco.fit import cached

    if kept is None:
        log = sets.load(sets.find(world, tuple(logs), data))
        folder = cached.fitted(log)
    else:
        folder, about = kept, _fitted_to(kept)
        if about["name"] not in logs.values():
            raise DataError(
                f"The user model in {kept} was fitted to {about['name']}, and {world} is made from {' or '.join(logs)}: take Learned-v0 for it."
            )
        if data is not None:
            log = sets.load(sets.find(world, tuple(logs), data))
            if fingerprint(log) != about["fingerprint"]:
                raise DataError(
                    f"The user model in {kept} was fitted to other events than those in {data}: leave out data, or fit one to them."
                )
    name = _fitted_to(folder)["name"]
    return folder, next(of for of, its in logs.items() if its == name)


def _fitted_to(folder: Path) -> dict[str, Any]:
    """What the config of a user model says of its log. Raises DataError where there is none."""
    from jaxreco.fit import folder as learned
    from jaxreco.fit import mindset_folder

    config = mindset_folder.load(folder).config if mindset_folder.is_one(folder) else learned.read_config(folder)
    found: dict[str, Any] = config["data"]
    return found


def with_priors(params: EnvParams, priors: Mapping[str, float]) -> EnvParams:
    """Parameters in which a world's own priors stand.

    Args: priors: `seconds`, which all items last; medians of traits (SCALED, SHIFTED), around which people differ as before; and
      parameters of the user.
    """
    catalog, user, rest = params.catalog, params.user, dict(priors)
    if "seconds" in rest:
        rest["usual_seconds"] = rest.pop("seconds")
        catalog = catalog.replace(duration=jnp.full(catalog.n_items, rest["usual_seconds"], jnp.float32))
    traits = user.population.traits
    columns: dict[str, Any] = {}
    for name in (*SCALED, *SHIFTED):
        if name in rest:
            wanted, column = rest.pop(name), getattr(traits, name)
            usual = float(np.median(column))
            columns[name] = column * (wanted / usual) if name in SCALED else column + (wanted - usual)
    population = dataclasses.replace(user.population, traits=traits.replace(**columns))
    return params.replace(catalog=catalog, user=user.replace(population=population, **rest))
