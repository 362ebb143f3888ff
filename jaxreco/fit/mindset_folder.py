"""The folder of a mechanistic user fitted to a log: everything that a world of its people needs.

`config.json` (the log and its fingerprint, the settings, the parameters found), `world.npz` (catalog, names, people, and what
they did) and `metrics.jsonl` (an epoch a line). Plain arrays; no pickles. It is written whole when the fit is over.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxreco import files, provenance
from jaxreco import run as runs
from jaxreco.content.store import fingerprint
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.fit import mechanistic, world_file
from jaxreco.fit.folder import CONFIG
from jaxreco.fit.mechanistic import Fitter, MechanisticConfig, Task
from jaxreco.fit.world_file import AGAIN, World
from jaxreco.logs import Interactions
from jaxreco.run import Run
from jaxreco.users import people
from jaxreco.users.mindset import MindsetParams

FORMAT, KIND = 1, "mindset"


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted world, and `config.json`."""

    world: World
    config: dict[str, Any]


def is_one(folder: Path) -> bool:
    """Whether a folder holds, or says that it holds, a mechanistic user."""
    try:
        return bool(json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("user_model") == KIND)
    except (OSError, ValueError, AttributeError):
        return False


def keep(
    folder: Path,
    log: Log,
    task: Task,
    fitter: Fitter,
    params: MindsetParams,
    about: dict[str, Any],
    epochs: Sequence[dict[str, float]],
) -> None:
    """Write a folder, the config last: it marks one that is whole.

    Args: log, in which every row is an event in which somebody took an item. params, from `mechanistic.finished`. about: of
      `describe`. epochs: their figures.

    Raises JaxrecoError where there is something already.
    """
    runs.refuse(folder)
    folder.mkdir(parents=True, exist_ok=True)
    took = Interactions(
        np.searchsorted(task.user, log.user), log.item, np.ones(len(log), np.float32), len(task.user), log.n_items
    )
    world_file.save(folder, World(task.catalog, task.names, params, np.asarray(log.user_ids)[task.user], took))
    run = Run(folder, about)
    for number, values in enumerate(epochs, start=1):
        run.log(number, values)
    known = people.known_of(task.catalog, len(task.names.categories))
    scalars = {
        field.name: float(getattr(params, field.name))
        for field in dataclasses.fields(MindsetParams)
        if "low" in field.metadata and field.name not in known and np.isfinite(getattr(params, field.name))
    }
    found = {"held_back_nll": float(fitter.best_nll), "epoch": int(fitter.best_epoch), "parameters": scalars}
    files.write_json(folder / CONFIG, {**about, **found})


def describe(log: Log, task: Task, config: MechanisticConfig, seed: int, content: str) -> dict[str, Any]:
    """What is about to be fitted, as `config.json` holds it. Args: content, where the items' content comes from, in words."""
    return {
        "format": FORMAT,
        "user_model": KIND,
        "data": {
            "name": log.name,
            "events": len(log),
            "users": log.n_users,
            "items": log.n_items,
            "fingerprint": fingerprint(log),
        },
        "content": {"source": content},
        "fit": dataclasses.asdict(config),
        "fitted": list(task.free),
        "seed": seed,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def load(folder: str | Path) -> Fitted:
    """The world of a folder. Raises DataError for one that holds none, is of another format, incomplete or broken."""
    folder = Path(folder).expanduser()
    if not is_one(folder):
        raise DataError(f"{folder} holds no mechanistic user: make it with jaxreco fit --user-model {KIND}.")
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("format") != FORMAT:
        raise DataError(f"{folder} has format {config.get('format')}, and this version reads {FORMAT}: {AGAIN}.")
    if not isinstance(config.get("parameters"), dict):
        raise DataError(f"The parameters in {folder / CONFIG} are none of this version: {AGAIN}.")
    return Fitted(world_file.load(folder, config["parameters"]), config)


def rows(task: Task, fitter: Fitter, config: MechanisticConfig) -> dict[str, float]:
    """Who foresees -> nats an event of the people held back: fitted, by default, how often an item is taken, and nothing."""
    item, last = np.asarray(task.moments.item), np.asarray(task.moments.last)
    surprise = -np.log(np.asarray(task.catalog.popularity, np.float64))[item]
    popularity = [surprise[at : min(at + config.horizon, last[at])].mean() for at in task.held_back]
    defaults = mechanistic.begins(task, {})
    return {
        "mindset": float(mechanistic.foreseen(task, fitter.best, config, task.held_back)),
        "mindset, as it is by default": float(mechanistic.foreseen(task, defaults, config, task.held_back)),
        "popularity": float(np.mean(popularity)),
        "any item alike": float(np.log(task.catalog.n_items)),
    }
