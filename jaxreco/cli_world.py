"""A world from the command line's options; what the commands share."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from jaxreco.errors import JaxrecoError

UserModelOption = Annotated[
    pathlib.Path | None,
    typer.Option("--user-model", metavar="FOLDER", help="A fitted user (jaxreco fit), for Learned worlds."),
]


def make_world(
    name: str,
    *,
    data: pathlib.Path | None = None,
    static: Sequence[str] = (),
    settings: Sequence[str] = (),
    segment: str | None = None,
    content: pathlib.Path | None = None,
    user_model: pathlib.Path | None = None,
) -> tuple[Any, Any]:
    """(env, params) of a world as it was asked for.

    Args:
      name: a registered world.
      data: folder of real data.
      static: "name=value", what is fixed when the world is made, such as "slate_size=5".
      settings: "path=value", scalars of params, such as "user.satiation=0".
      segment: name of a segment of the population.
      content: what agents see in place of the true embedding: a folder of `jaxreco content encode`, whose items are found by
        their ids in the log, or a .npy or .npz of vectors, a row an item.
      user_model: folder of a fitted user, for the worlds that take one.

    Raises ValueError, one sentence, for anything unknown or impossible.
    """
    from jaxreco import population, registry
    from jaxreco.settings import apply

    options: dict[str, Any] = dict(_static(text) for text in static)
    if user_model is not None:
        options["user_model"] = user_model
    env, params = registry.make(name, data=data, **options)
    params = apply(params, settings)
    if segment is not None:
        params = population.segment(params, segment)
    if content is not None:
        params = _showing(env, params, content)
    env.check(params)
    return env, params


def _showing(env: Any, params: Any, content: pathlib.Path) -> Any:
    import numpy as np

    from jaxreco.content import fusion, store
    from jaxreco.content.shown import shown

    if not content.is_dir():
        return shown(params, *fusion.loaded(str(content)))
    ids = (env.names.ids if env.names else ()) or range(params.catalog.n_items)
    return shown(params, *store.load(content).of(np.array(ids)).fused())


def _static(text: str) -> tuple[str, Any]:
    """A "name=value" as keyword and Python value: a whole number, a number, true or false, or a word."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier() or not value:
        raise JaxrecoError(f"{text!r} is no setting: write name=value, such as slate_size=5.")
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    return name, value
