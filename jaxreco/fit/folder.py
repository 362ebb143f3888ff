"""The folder of a user model fitted to a log: what it was made of, how the fit went, where it stands, and what it found.

`config.json` (the log and its fingerprint, the settings, what was held back), `items.npz` (ids, content, which items were met),
`metrics.jsonl` (an epoch a line), `checkpoint/` (the whole fit, to go on with) and, once it is over, `heads.npz` with `heads.json`
(heads, calibrated, and how good they are), `reliability.png`, `fidelity.html` and `fidelity.json` (how far to trust it), and `model/` (the network that foresaw best). Plain arrays and Orbax; no
pickles.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco import files, provenance
from jaxreco import run as runs
from jaxreco.content import fusion
from jaxreco.content.store import fingerprint
from jaxreco.data.log import Log
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.fit import events as reading
from jaxreco.fit import quality
from jaxreco.fit.finish import ALL, Finished
from jaxreco.fit.fitting import FitConfig, Fitter, Task
from jaxreco.fit.quality import Quality
from jaxreco.fit.world_file import AGAIN
from jaxreco.learning import checkpoint
from jaxreco.report import fit_page, reliability
from jaxreco.run import Run
from jaxreco.struct import Struct
from jaxreco.users.classes import Classes
from jaxreco.users.factors import Factors
from jaxreco.users.heads import EVENT_HEADS, Head
from jaxreco.users.network import NetworkConfig, UserNetwork

FORMAT = 4
CONFIG, ITEMS, MODEL, HEADS, QUALITY = "config.json", "items.npz", "model", "heads.npz", "heads.json"
ARRAYS = ("ids", "content", "known")


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A fitted user model. `I` items.

    Args:
      network: with the weights that foresaw people held back best. ids: [I], of the items as in their log. content: f32[I, D].
      known: bool[I], items that it was fitted with; others are read by their content. config: as in `config.json`.
      feedback: heads that the log had data for, calibrated, by name; those in `network` are not calibrated. factors: of heads of
        events, by which answers tell of answers.
    """

    network: UserNetwork
    ids: np.ndarray
    content: np.ndarray
    known: np.ndarray
    config: dict[str, Any]
    feedback: dict[str, Head]
    factors: dict[str, Factors]

    @property
    def heads(self) -> dict[str, str]:
        """Every head -> "data" where the log says what it says, "prior" where the mechanistic user must."""
        return {name: "data" if name in self.feedback else "prior" for name in ALL}

    def check(self, log: Log) -> None:
        """Raises DataError for a log of other items than those of the model, or in another order."""
        if not np.array_equal(np.asarray(log.items.ids), self.ids):
            mine = self.config["data"]["name"]
            raise DataError(
                f"The user model was fitted to the {len(self.ids):,} items of {mine}, and {log.name} has {len(log.items):,}, not "
                "the same ones in the same order: fit one to this log."
            )


class _Found(Struct):
    params: Any
    update: Any  # i32[], epochs after which these weights were found


def describe(
    log: Log, task: Task, network: NetworkConfig, config: FitConfig, seed: int, content: str
) -> dict[str, Any]:
    """What is about to be fitted, as `config.json` holds it. Args: content, where the items' content comes from, in words."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "user_model": "learned",
        "data": {
            "name": log.name,
            "events": len(log),
            "users": log.n_users,
            "items": log.n_items,
            "fingerprint": fingerprint(log),
        },
        "content": {"source": content, "width": int(task.content.shape[1])},
        "network": dataclasses.asdict(network),
        "fit": dataclasses.asdict(config),
        "scale": dataclasses.asdict(task.scale),
        "seed": seed,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    return found


def meta(config: dict[str, Any]) -> dict[str, Any]:
    """What the checkpoint of a fit belongs to. Initialises JAX."""
    what = {name: config[name] for name in ("data", "content", "network", "fit")}
    return {**what, **checkpoint.surroundings()}


def create(folder: Path, config: dict[str, Any], log: Log, task: Task) -> Run:
    """A new folder. Raises JaxrecoError where there is something already."""
    runs.refuse(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"ids": log.items.ids, "content": np.asarray(task.content), "known": np.asarray(task.known)}
    with files.written_whole(folder / ITEMS) as file:
        np.savez(file, allow_pickle=False, **arrays)
    files.write_json(folder / CONFIG, config)
    return Run(folder, config)


def keep(run: Run, fitter: Fitter, finished: Finished, foreseen: dict[str, float]) -> None:
    """Write what a fit that is over has found; the network last, because a folder with one is whole.

    Args: foreseen: who foresees people held back -> nats an event.
    """
    arrays = {
        f"{name}.{part}": np.asarray(value)
        for name, head in finished.heads.items()
        for part, value in nnx.to_pure_dict(nnx.state(head)).items()
    }
    arrays |= {
        f"{name}.factors.{part}": np.asarray(leaf)
        for name, factors in finished.factors.items()
        for part, leaf in vars(factors).items()
    }
    with files.written_whole(run.folder / HEADS) as file:
        np.savez(file, allow_pickle=False, **arrays)
    found_good = {name: quality.quality(each) for name, each in finished.judged.items()}
    judged = {name: dataclasses.asdict(each) for name, each in found_good.items()}
    kept = {name: {"classes": dataclasses.asdict(head.classes)} for name, head in finished.heads.items()}
    files.write_json(run.folder / QUALITY, {name: {**each, "quality": judged.get(name)} for name, each in kept.items()})
    if finished.judged:
        reliability.draw(run.folder / fit_page.PICTURE, run.config["data"]["name"], finished.judged)
    fit_page.write(run.folder, run.config, foreseen, found_good, [name for name in ALL if name not in finished.heads])
    found = _Found(params=fitter.best, update=fitter.best_epoch)
    checkpoint.save(run.folder / MODEL, found, {**meta(run.config), "held_back_nll": float(fitter.best_nll)})


def read_config(folder: Path) -> dict[str, Any]:
    """What a folder's config says. Raises DataError for a folder that is no user model's, or is of another format."""
    path = folder / CONFIG
    if not path.is_file():
        raise DataError(f"{folder} holds no user model ({CONFIG} is not there): make it with jaxreco fit.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        form = config["format"] if config.get("user_model") == "learned" else None
    except (ValueError, KeyError, AttributeError):
        raise DataError(f"{path} is broken: {AGAIN}.") from None
    if form is None:
        raise DataError(f"{folder} holds no user model: make it with jaxreco fit.")
    if form != FORMAT:
        raise DataError(f"{folder} has format {form}, and this version reads {FORMAT}: {AGAIN}.")
    missing = {"data", "content", "network", "fit", "scale", "seed"} - config.keys()
    if missing:
        raise DataError(f"{path} lacks {', '.join(sorted(missing))}: {AGAIN}.")
    return config


def settings(folder: Path, config: dict[str, Any]) -> tuple[NetworkConfig, FitConfig]:
    """What `describe` wrote of the network and the fit. Raises DataError for those of another version."""
    try:
        return NetworkConfig(**config["network"]), FitConfig(**config["fit"])
    except TypeError:
        raise DataError(f"The settings in {folder / CONFIG} are none of this version: {AGAIN}.") from None


def load(folder: str | Path) -> Model:
    """The user model of a folder. Raises DataError for one that is none, is not over, is incomplete or broken."""
    folder = Path(folder).expanduser()
    config = read_config(folder)
    if checkpoint.latest(folder / MODEL) is None:
        raise DataError(f"{folder} holds a fit that is not over: jaxreco fit --resume {folder} goes on with it.")
    found = fusion.arrays(folder / ITEMS, ARRAYS, AGAIN)
    network, _ = settings(folder, config)
    width = config["content"]["width"]
    feedback, factors = _heads(folder, network.width)
    learned = {name: head.classes for name, head in feedback.items() if name in EVENT_HEADS}
    fresh = UserNetwork(network, len(found["ids"]), width, len(reading.FEATURES), learned, rngs=nnx.Rngs(0))
    try:
        kept, _ = checkpoint.restore(folder / MODEL, _Found(params=nnx.state(fresh), update=jnp.int32(0)), meta(config))
    except (ValueError, KeyError, FileNotFoundError) as error:
        if isinstance(error, JaxrecoError):
            raise
        raise DataError(f"{folder / MODEL} is broken: {AGAIN}.") from None
    nnx.update(fresh, kept.params)
    return Model(fresh, found["ids"], found["content"], found["known"], config, feedback, factors)


def qualities(folder: Path) -> dict[str, Quality]:
    """How good the heads of a folder are on people held back. Raises DataError where it does not say so."""
    try:
        kept = json.loads((folder / QUALITY).read_text(encoding="utf-8"))
        return {name: Quality(**each["quality"]) for name, each in kept.items() if each["quality"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{folder / QUALITY} is broken: {AGAIN}.") from None


def _heads(folder: Path, width: int) -> tuple[dict[str, Head], dict[str, Factors]]:
    """The heads of a folder, and the factors of those of events. Raises DataError where they are not there or broken."""
    broken = DataError(f"The heads in {folder} are broken ({HEADS}, {QUALITY}): {AGAIN}.")
    try:
        kept = json.loads((folder / QUALITY).read_text(encoding="utf-8"))
        classes = {name: Classes.read(each["classes"]) for name, each in kept.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise broken from None
    parts = tuple(nnx.to_pure_dict(nnx.state(Head(_ANY, width, 1, rngs=nnx.Rngs(0)))))
    of_factors = tuple(field.name for field in dataclasses.fields(Factors))
    wanted = tuple(f"{name}.{part}" for name in classes for part in parts)
    wanted += tuple(f"{name}.factors.{part}" for name in classes if name in EVENT_HEADS for part in of_factors)
    arrays = fusion.arrays(folder / HEADS, wanted, AGAIN) if classes else {}
    found = {}
    for name, each in classes.items():
        mine = {part: arrays[f"{name}.{part}"] for part in parts}
        head = Head(each, width, len(mine["of_extra"]), len(mine["usual"]), rngs=nnx.Rngs(0))
        for part, value in mine.items():
            if getattr(head, part)[...].shape != value.shape:
                raise broken
            getattr(head, part)[...] = jnp.asarray(value)
        found[name] = head
    factors = {
        name: Factors(*(jnp.asarray(arrays[f"{name}.factors.{part}"]) for part in of_factors))
        for name in classes
        if name in EVENT_HEADS
    }
    return found, factors


_ANY = Classes("numbers", (0.0, 1.0), (0.5, 0.5))
