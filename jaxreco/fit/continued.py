"""A fitted user that goes on learning from a log: its likelihood there, and how far it may move from what was fitted.

The loss is that of `jaxreco fit`, nats an event, plus a weight times KL(fitted || now) (`fit.divergence`). Nothing else enters it: no
function here has an argument through which an agent, or what it earns, could.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console

from jaxreco import files
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.fit import events as reading
from jaxreco.fit import fitting, folder, living, mindset_folder, whole, world_file
from jaxreco.fit.divergence import Anchor
from jaxreco.fit.events import Scale
from jaxreco.fit.fitting import FitConfig, Fitter, Task
from jaxreco.fit.folder import Model
from jaxreco.fit.whole import Fit
from jaxreco.fit.world_file import World
from jaxreco.run import Run
from jaxreco.users.network import UserNetwork


class Fitted(NamedTuple):
    """Users before they go on learning, and the world that they live in."""

    folder: Path
    model: Model
    world: World


class Change(NamedTuple):
    """What a round did to the users: of people held back, nats an event."""

    before: float  # negative log-likelihood of the item and what was done with it
    after: float
    kl: float  # from the fitted users
    epoch: int  # the one that is kept; 0 where none was better than before


def load(source: Path) -> Fitted:
    """The users of a folder of `jaxreco fit`. Raises DataError for one that holds none, or none that can go on learning."""
    if mindset_folder.is_one(source):
        raise DataError(
            f"{source} holds the mechanistic user's parameters, and no network to go on with: fit one with jaxreco fit --user-model learned."
        )
    return Fitted(source, folder.load(source), world_file.load(source, living.SETTLED))


def go_on(before: Fitted, fitted: Fitted, log: Log, out: Path, round: int, kl: float, epochs: int, quiet: bool) -> None:
    """Users of the next round, as a folder of `jaxreco fit`, which appears when it is whole.

    Items are what they were when the users were fitted, as agents and as networks see them; people are those of the log. The epoch is
    kept that foresees people held back best, or the users before, where no epoch is better.

    Args:
      before: the users of the round before. fitted: those that all rounds are held to.
      round: from 1. kl: weight of the divergence, in nats a nat. epochs: passes over the log.

    Raises DataError as `task_of` does.
    """
    task, config = task_of(before.model, fitted, log, kl), config_of(fitted, epochs)
    source = f"as {fitted.folder}" if fitted.model.content.shape[1] else "none"
    about = folder.describe(log, task, task.network.config, config, fitted.model.config["seed"], source)
    about |= {"round": round, "kl": kl, "fitted": str(fitted.folder)}
    with files.folder_written_whole(out) as new:
        run = folder.create(new, about, log, task)
        fitter, figures = _begin(task, config)
        run.log(0, figures)
        fit = whole.learn(Fit(run, task, config, fitter), Console(quiet=quiet))
        whole.finished(fit, log, fitted.world)


def change(source: Path) -> Change:
    """What `go_on` found while it made a folder."""
    first, *rest = Run(source, folder.read_config(source)).metrics()
    best = min([first, *rest], key=lambda line: float(line["held_back_nll"]))
    return Change(first["held_back_nll"], best["held_back_nll"], best["kl"], best["update"])


def config_of(fitted: Fitted, epochs: int) -> FitConfig:
    """How users go on: as they were fitted, for so many epochs."""
    _, config = folder.settings(fitted.folder, fitted.model.config)
    return dataclasses.replace(config, epochs=epochs, patience=epochs)


def task_of(before: Model, fitted: Fitted, log: Log, kl: float) -> Task:
    """The users of the round before, to be fitted to a log, and what they are held to.

    What numbers mean to the network, and the classes of its heads, stay those of the fit.

    Raises DataError for a log of other items, of too few people, without anybody who may be held back, or one that does not hold
    what a head is about.
    """
    fitted.model.check(log)
    log, model, config = reading.taken(log), fitted.model, config_of(fitted, 1)
    parts = _parted(log, fitted.world.users, config.held_back, model.config["seed"])
    known = before.known | (fitting.counts(log, parts[0]) > 0)
    network = met(before.network, known & ~before.known)
    anchor = Anchor(nnx.state(model.network), jnp.asarray(model.known), kl)
    task = fitting.task_of(log, network, parts, model.content, known, Scale(**model.config["scale"]), anchor)
    for name, said in task.events.said.items():
        if not (np.asarray(said.outcome) >= 0).any():
            raise DataError(
                f"The users in {fitted.folder} have a head {name!r}, of which {log.name} says nothing: give a log that does, or fit anew."
            )
    return task


def met(network: UserNetwork, new: np.ndarray) -> UserNetwork:
    """The network once items bool[I] have been met: they begin as they were read before, by their content alone."""
    graph, params = nnx.split(network)
    found = nnx.merge(graph, jax.tree.map(jnp.asarray, params))  # a copy: what is read from disk cannot be written to
    rows = jnp.asarray(new)
    for name in fitting.ITEM_VECTORS:
        table = getattr(found, name)
        table[...] = jnp.where(rows[:, None], 0.0, table[...])
    rarest = jnp.min(found.bias[...])
    found.bias[...] = jnp.where(rows, rarest, found.bias[...])
    return found


def _parted(log: Log, users: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(fitted to, held back) i64 of a log: whoever was held back stays so, and of people who are new the same share is.

    Args: users: [P], ids of the people of the fit, which parted them by the seed.
    """
    people = np.flatnonzero(np.diff(log.bounds) > 0)
    ids = np.asarray(log.user_ids)[people]
    _, was = reading.parted(np.arange(len(users)), share, seed)
    old = np.isin(ids, users)
    held = people[np.isin(ids, users[was])]
    if not old.all():
        held = np.union1d(held, reading.parted(people[~old], share, seed)[1])
    fitted = np.setdiff1d(people, held)
    if not len(held) or len(fitted) < 2:
        raise DataError(
            f"{log.name} has {len(held)} people with events who are held back and {len(fitted)} others: going on needs 1 and 2; give more."
        )
    return fitted, held


def _begin(task: Task, config: FitConfig) -> tuple[Fitter, dict[str, float]]:
    """The users before the first epoch, which are the best so far, and their figures."""
    fitter = fitting.begin(task, config)
    seen = fitting.held_back(nnx.graphdef(task.network), fitter.params, task, config)
    fitter = fitter.replace(best_nll=seen["held_back_nll"], best_items=seen["nll_item"])
    return fitter, {name: float(each) for name, each in seen.items()}
