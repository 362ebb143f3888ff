"""`jaxreco fit --user-model mindset`: the parameters of the mechanistic user, learned from a log of what people did."""

from __future__ import annotations

import pathlib
import time
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from jaxreco.interrupts import interrupts
from jaxreco.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np

    from jaxreco.data.log import Log
    from jaxreco.fit.mechanistic import Fitter, MechanisticConfig, Task

EXIT_INTERRUPTED = 130


def fit(
    log: Log,
    out: pathlib.Path,
    content: np.ndarray | None,
    source: str,
    seed: int,
    settings: dict[str, int],
    console: Console,
) -> tuple[dict[str, float], str]:
    """Fit and write the folder: (who foresees -> nats an event, what there is to say of it).

    Args: content f32[I, D] of the items, None where there is none, and its source in words. settings, of the fit.

    Raises typer.Exit where Ctrl-C stops it: nothing is left then.
    """
    import jax

    from jaxreco.fit import events, mechanistic, mindset_folder, world

    began = time.perf_counter()
    taken = events.taken(log)
    config = mechanistic.usual(taken, **settings)
    with Console(stderr=True).status("making a world of the log"):
        task = mechanistic.prepare(log, content, config, seed)
    about = mindset_folder.describe(log, task, config, seed, source)
    _announce(log, task, config, source, console)
    fitter, figures, stopped = learn(jax.random.fold_in(jax.random.key(seed), 1), task, config, console)
    if stopped:
        print("stopped: nothing is written. A fit of the mechanistic user is short: start it again.")
        raise typer.Exit(EXIT_INTERRUPTED)
    with Console(stderr=True).status("finding what is each person's own"):
        params = mechanistic.finished(task, fitter.best, config, world.click_rate(log))
    mindset_folder.keep(out, taken, task, fitter, params, about, figures)
    said = f"Epoch {int(fitter.best_epoch)} of {int(fitter.update)} is kept, in {escape(str(out))}; {time.perf_counter() - began:.0f} s."
    return mindset_folder.rows(task, fitter, config), said


def learn(
    key: object, task: Task, config: MechanisticConfig, console: Console
) -> tuple[Fitter, list[dict[str, float]], bool]:
    """Epoch after epoch until the fit is over or Ctrl-C: (it, its figures, whether it was stopped)."""
    from jaxreco.fit import mechanistic

    figures: list[dict[str, float]] = []
    with interrupts() as stopped, progress_bar(console) as bar:
        row = bar.add_task("compiling", total=config.epochs, words="")
        fitter = mechanistic.begin(task, config)
        while not mechanistic.is_over(fitter, config) and not stopped():
            began = time.perf_counter()
            fitter, logs = mechanistic.epoch(key, task, fitter, config)  # type: ignore[arg-type]
            figures.append({"seconds": round(time.perf_counter() - began, 3), **logs})
            words = f"{logs['held_back_nll']:.3f} nats an event held back, best {float(fitter.best_nll):.3f}"
            bar.update(row, completed=int(fitter.update), words=words, description="epochs")
        return fitter, figures, stopped()


def _announce(log: Log, task: Task, config: MechanisticConfig, source: str, console: Console) -> None:
    """Say what is about to be done."""
    from jaxreco import provenance

    stands = f"{config.negatives:,} drawn for all of them" if config.negatives else "all of them in every likelihood"
    console.print(
        f"A mechanistic user ([bold]{len(task.free)}[/bold] parameters are fitted) of [bold]{escape(log.name)}[/bold]: "
        f"{len(task.user):,} people, {len(task.moments.item):,} events, {log.n_items:,} items ({stands}; content: {escape(source)})."
    )
    console.print(f"At most {config.epochs} epochs. On {provenance.device()}. Ctrl-C stops it.", highlight=False)
