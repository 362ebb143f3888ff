"""A whole fit of a learned user: from a log to the folder of a user model, in steps that the command announces one by one.

`begun` or `resumed`, then `learn` until it is over, then `finished`; `fit` is all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from jaxreco.content import fusion, store
from jaxreco.content.known import known_of
from jaxreco.data.log import Log
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.fit import baselines, finish, fitting, folder, living
from jaxreco.fit.finish import Finished
from jaxreco.fit.fitting import FitConfig, Fitter, Task
from jaxreco.fit.world_file import World
from jaxreco.learning import checkpoint
from jaxreco.progress import progress_bar
from jaxreco.run import Run
from jaxreco.users.network import NetworkConfig

SIZES, FITTING = ("width", "layers", "window"), ("epochs", "negatives")  # settings of the network, and of the fit


class Fit(NamedTuple):
    """A fit on its way, and the folder where it leaves what it has done."""

    run: Run
    task: Task
    config: FitConfig
    fitter: Fitter

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        return fitting.is_over(self.fitter, self.config)


def fit(log: Log, out: Path, seed: int = 0, settings: dict[str, int] | None = None, quiet: bool = False) -> Finished:
    """Fit a user to a log and write the folder `out`, whole when this returns.

    Args: seed: of the network, the order of events, and who is held back. settings: of SIZES and FITTING; the others are what
      suits the log. quiet: no progress bar on stderr.

    Raises DataError for a log that is too small, JaxrecoError where there is something in the folder already, or it diverges.
    """
    begins = begun(log, out, None, seed, settings or {})
    return finished(learn(begins, Console(quiet=quiet)), log)


def begun(log: Log, out: Path, content: Path | None, seed: int, settings: dict[str, int]) -> Fit:
    """A new fit. Its folder is made last, when all that was asked for has proved possible. Arguments as of `fit` and `content_of`."""
    network, config = settings_of(log, settings)
    vectors, words = content_of(log, content)
    task = fitting.prepare(_key(seed, 0), log, vectors, network, config, seed)
    about = folder.describe(log, task, network, config, seed, words)
    return Fit(folder.create(out, about, log, task), task, config, fitting.begin(task, config))


def settings_of(log: Log, settings: dict[str, int]) -> tuple[NetworkConfig, FitConfig]:
    """Those that are given, of SIZES and FITTING, and what suits the log for all others."""
    sizes, rest = ({name: settings[name] for name in names if name in settings} for names in (SIZES, FITTING))
    return fitting.usual(log, sizes, rest)


def resumed(source: Path, config: dict[str, Any], log: Log) -> Fit:
    """A fit as its last checkpoint left it; without one, as it began. Args: config, of `folder.read_config`.

    Raises DataError for another log than that of the fit.
    """
    was = config["data"]
    if store.fingerprint(log) != was["fingerprint"]:
        raise DataError(
            f"The fit in {source} is to {was['events']:,} events of {was['name']}, and {log.name} holds others: give the same log."
        )
    content = np.asarray(fusion.arrays(source / folder.ITEMS, folder.ARRAYS, folder.AGAIN)["content"])
    network, settings = folder.settings(source, config)
    task = fitting.prepare(_key(config["seed"], 0), log, content, network, settings, config["seed"])
    fitter = fitting.begin(task, settings)
    run = Run(source, config)
    if checkpoint.latest(run.checkpoint) is not None:
        fitter, _ = checkpoint.restore(run.checkpoint, fitter, folder.meta(config))
    run.rewind(int(fitter.update))
    return Fit(run, task, settings, fitter)


def learn(fit: Fit, console: Console, stopped: Callable[[], bool] = lambda: False) -> Fit:
    """Epoch after epoch until the fit is over or `stopped`; after every epoch its checkpoint and figures are on disk.

    A progress bar on stderr, unless the console is quiet. Raises JaxrecoError where a likelihood is no number.
    """
    run, task, config, fitter = fit
    key, meta = _key(run.config["seed"], 1 + run.config.get("round", 0)), folder.meta(run.config)
    done = int(fitter.update)
    with progress_bar(console) as bar:
        row = bar.add_task("compiling", total=config.epochs, completed=done, words="")
        while not fitting.is_over(fitter, config) and not stopped():
            began = time.perf_counter()
            fitter, logs = fitting.epoch(key, task, fitter, config)
            fitter, done = checkpoint.settle(fitter), done + 1
            if not all(value == value for value in logs.values()):
                raise JaxrecoError(
                    f"The fit diverged in epoch {done} (a likelihood is NaN): the checkpoint in {run.folder} is from before it; "
                    "try another seed, or a smaller network."
                )
            run.log(done, {"seconds": round(time.perf_counter() - began, 3), **logs})
            checkpoint.save(run.checkpoint, fitter, meta)
            words = f"{logs['held_back_nll']:.3f} nats an event held back, best {float(fitter.best_nll):.3f}"
            bar.update(row, completed=done, words=words, description="epochs")
    return fit._replace(fitter=fitter)


def finished(fit: Fit, log: Log, its: World | None = None) -> Finished:
    """The heads of a fit that is over, and its world; after that its folder is whole. Args: its: see `living.keep`."""
    run, task, _, fitter = fit
    network = fitting.with_weights(task, fitter.best)
    found = finish.finish(network, task, log)
    if log.n_items > 1:  # nobody lives in a shop that is all one item
        living.keep(run.folder, log, network, task, found, run.config["seed"], its)
    nats = baselines.rows(task, fitter, run.config["fit"]["horizon"])
    folder.keep(run, fitter, found, nats)
    return found


def content_of(log: Log, source: Path | None) -> tuple[np.ndarray | None, str]:
    """(f32[I, D], where it comes from) of a log's items: of a folder of content, or what the log tells; None for nothing.

    Raises DataError for a folder of other items' content.
    """
    if source is not None:
        return store.load(source).of(log.items.ids).fused().vectors, str(source)
    return known_of(log.items)


def _key(seed: int, use: int) -> jax.Array:
    """The key of one use of the seed: 0 the network's first weights, 1 the fit, 1 + r the r-th time that it goes on."""
    return jax.random.fold_in(jax.random.key(seed), use)
