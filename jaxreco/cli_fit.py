"""`jaxreco fit`: a simulated user learned from a log of what people did."""

from __future__ import annotations

import enum
import math
import pathlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxreco.errors import JaxrecoError
from jaxreco.interrupts import interrupts
from jaxreco.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np

    from jaxreco.data.log import Log
    from jaxreco.fit.finish import Finished
    from jaxreco.fit.fitting import FitConfig, Fitter, Task
    from jaxreco.run import Run

EXIT_INTERRUPTED = 130
SIZES, FITTING = ("width", "layers", "window"), ("epochs", "negatives")  # options of the network, and of the fit


class UserModel(enum.StrEnum):
    """What can be fitted."""

    LEARNED = "learned"
    MINDSET = "mindset"


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("fit")(fit_command)


def fit_command(
    data: Annotated[
        pathlib.Path | None, typer.Option(metavar="FOLDER", help="Folder of a log; see jaxreco data list.")
    ] = None,
    out: Annotated[pathlib.Path | None, typer.Option(metavar="FOLDER", help="New folder of the user model.")] = None,
    content: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FOLDER", help="Content of the items.  [default: their texts by LSA, where they have some]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the network, the order of events, and who is held back.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the log, at most.", show_default=False)] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Of the network.", show_default=False)] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Of the network.", show_default=False)] = None,
    window: Annotated[
        int | None, typer.Option(min=1, help="Last events that are read one by one.", show_default=False)
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(min=0, help="Items drawn to stand for the catalog; 0 for all of it.", show_default=False),
    ] = None,
    user_model: Annotated[
        UserModel, typer.Option(help="A network, or the mechanistic user's parameters.")
    ] = UserModel.LEARNED,
    resume: Annotated[
        pathlib.Path | None, typer.Option(metavar="FOLDER", help="Go on with a fit that was stopped, as it was begun.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the table at the end.")] = False,
) -> None:
    """Fit a simulated user to a log, by maximum likelihood; people held back say when it is enough."""
    from jaxreco import run as runs
    from jaxreco.data import sets
    from jaxreco.fit import finish, fitting, living
    from jaxreco.fit import folder as kept

    began = time.perf_counter()
    if data is None:
        raise JaxrecoError("Which log to fit to is not said: add --data FOLDER.")
    if (out is None) == (resume is None):
        raise JaxrecoError("Give --out FOLDER for a new user model, or --resume FOLDER to go on with one.")
    console = Console(quiet=quiet)
    settings = {"epochs": epochs, "width": width, "layers": layers, "window": window, "negatives": negatives}
    if user_model is UserModel.MINDSET:
        return _fit_mindset(data, out, content, seed, settings, console)
    if resume is not None:
        if any(value is not None for value in (*settings.values(), content)) or seed:
            raise JaxrecoError("--resume goes on as the fit was begun: leave out all but --data and --quiet.")
        config = kept.read_config(resume)  # before the log is read
    elif out is not None:
        runs.refuse(out)
    with Console(stderr=True).status(f"reading {escape(str(data))}"):
        log = sets.load(data)
        run, task, fit, fitter = _resumed(resume, config, log) if resume else _begun(out, log, content, seed, settings)
    _announce(run, task, fit, console)
    fitter, stopped = learn(run, task, fit, fitter, console)
    if stopped:
        print(
            f"stopped: {int(fitter.update)} epochs are done. Go on with: jaxreco fit --data {data} --resume {run.folder}"
        )
        raise typer.Exit(EXIT_INTERRUPTED)
    with Console(stderr=True).status("heads: fitting what hidden states say, and calibrating"):
        finished = finish.finish(fitting.with_weights(task, fitter.best), task, log)
        if log.n_items > 1:  # nobody lives in a shop that is all one item
            living.keep(run.folder, log, task, finished.heads, run.config["seed"])
    kept.keep(run, fitter, finished)
    show(run, task, fitter, time.perf_counter() - began, Console())
    show_heads(finished, Console())


def _fit_mindset(
    data: pathlib.Path,
    out: pathlib.Path | None,
    content: pathlib.Path | None,
    seed: int,
    settings: dict[str, int | None],
    console: Console,
) -> None:
    """Fit the mechanistic user instead of a network."""
    from jaxreco import cli_fit_mindset
    from jaxreco import run as runs
    from jaxreco.data import sets

    if out is None:
        raise JaxrecoError("A fit of the mechanistic user is short and cannot be resumed: give --out FOLDER.")
    wrong = [name for name in SIZES if settings[name] is not None]
    if wrong:
        raise JaxrecoError(f"--{wrong[0]} is of a network, and --user-model mindset has none: leave it out.")
    runs.refuse(out)
    with Console(stderr=True).status(f"reading {escape(str(data))}"):
        log = sets.load(data)
        vectors, words = content_of(log, content)
    given = {name: value for name, value in settings.items() if value is not None}
    rows, said = cli_fit_mindset.fit(log, out, vectors, words, seed, given, console)
    _table(rows, Console())
    Console().print(said, highlight=False)


# -- beginning and going on ------------------------------------------------------------------------------------


def _begun(
    out: Any, log: Log, content: pathlib.Path | None, seed: int, settings: dict[str, int | None]
) -> tuple[Run, Task, FitConfig, Fitter]:
    """A new fit. Its folder is made last, when all that was asked for has proved possible."""
    from jaxreco.fit import fitting
    from jaxreco.fit import folder as kept

    given = {name: value for name, value in settings.items() if value is not None}
    sizes, rest = ({name: given[name] for name in names if name in given} for names in (SIZES, FITTING))
    network, fit = fitting.usual(log, sizes, rest)
    vectors, words = content_of(log, content)
    task = fitting.prepare(_key(seed, 0), log, vectors, network, fit, seed)
    config = kept.describe(log, task, network, fit, seed, words)
    return kept.create(out, config, log, task), task, fit, fitting.begin(task, fit)


def _resumed(folder: pathlib.Path, config: dict[str, Any], log: Log) -> tuple[Run, Task, FitConfig, Fitter]:
    """A fit as its last checkpoint left it; without one, as it began."""
    import numpy as np

    from jaxreco.content import fusion
    from jaxreco.content.store import fingerprint
    from jaxreco.fit import fitting
    from jaxreco.fit import folder as kept
    from jaxreco.learning import checkpoint
    from jaxreco.run import Run

    was = config["data"]
    if fingerprint(log) != was["fingerprint"]:
        raise JaxrecoError(
            f"The fit in {folder} is to {was['events']:,} events of {was['name']}, and {log.name} holds others: give the same log."
        )
    content = np.asarray(fusion.arrays(folder / kept.ITEMS, kept.ARRAYS)["content"])
    network, fit = kept.settings(folder, config)
    task = fitting.prepare(_key(config["seed"], 0), log, content, network, fit, config["seed"])
    fitter = fitting.begin(task, fit)
    run = Run(folder, config)
    if checkpoint.latest(run.checkpoint) is not None:
        fitter, _ = checkpoint.restore(run.checkpoint, fitter, kept.meta(config))
    run.rewind(int(fitter.update))
    return run, task, fit, fitter


def content_of(log: Log, folder: pathlib.Path | None) -> tuple[np.ndarray | None, str]:
    """(f32[I, D], where it comes from) of a log's items; None where nothing is known of them.

    Raises DataError for a folder of other items' content.
    """
    from jaxreco.content import store
    from jaxreco.content.known import known_of

    if folder is not None:
        return store.load(folder).of(log.items.ids).fused().vectors, str(folder)
    return known_of(log.items)


def _key(seed: int, use: int) -> Any:
    """The key of one use of the seed: 0 the network's first weights, 1 the fit."""
    import jax

    return jax.random.fold_in(jax.random.key(seed), use)


# -- fitting -------------------------------------------------------------------------------------------------


def learn(run: Run, task: Task, fit: FitConfig, fitter: Fitter, console: Console) -> tuple[Fitter, bool]:
    """Epoch after epoch until the fit is over or Ctrl-C; returns it and whether it was stopped.

    After every epoch its checkpoint and figures are on disk.
    """
    from jaxreco.fit import fitting
    from jaxreco.fit import folder as kept
    from jaxreco.learning import checkpoint

    key, meta = _key(run.config["seed"], 1), kept.meta(run.config)
    with interrupts() as stopped, progress_bar(console) as bar:
        done = int(fitter.update)
        row = bar.add_task("compiling", total=fit.epochs, completed=done, words="")
        while not fitting.is_over(fitter, fit) and not stopped():
            began = time.perf_counter()
            fitter, logs = fitting.epoch(key, task, fitter, fit)
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
        return fitter, stopped() and not fitting.is_over(fitter, fit)


def _announce(run: Run, task: Task, fit: FitConfig, console: Console) -> None:
    """Say what is about to be done."""
    import jax

    from jaxreco import provenance

    data, content = run.config["data"], run.config["content"]
    weights = sum(leaf.size for leaf in jax.tree.leaves(_learned(task)))
    stands = f"{fit.negatives:,} drawn for all of them" if fit.negatives else "all of them in every likelihood"
    console.print(
        f"A user ([bold]{weights:,}[/bold] learned numbers) of [bold]{escape(data['name'])}[/bold]: {data['users']:,} people, "
        f"{data['events']:,} events, {data['items']:,} items ({stands}; content: {escape(content['source'])})."
    )
    console.print(
        f"At most {fit.epochs} epochs. On {provenance.device()}. Folder: {escape(str(run.folder))}. "
        "Ctrl-C stops after the running epoch.",
        highlight=False,
    )


def _learned(task: Task) -> Any:
    """The network's learned numbers."""
    from flax import nnx

    return nnx.state(task.network)


def show(run: Run, task: Task, fitter: Fitter, seconds: float, console: Console) -> None:
    """Print how well people held back were foreseen, beside what knows nothing of a person."""
    from jaxreco.fit import baselines

    _table(baselines.rows(task, fitter, run.config["fit"]["horizon"]), console)
    best, done = int(fitter.best_epoch), int(fitter.update)
    console.print(f"Epoch {best} of {done} is kept, in {escape(str(run.folder))}; {seconds:.0f} s.", highlight=False)


def _table(rows: dict[str, float], console: Console) -> None:
    """Print nats an event by who foresees."""
    table = Table(
        title="people held back: how likely what they took was", title_justify="left", title_style="bold", box=None,
        pad_edge=False,
    )  # fmt: skip
    table.add_column("who foresees")
    for column in ("nats an event", "as likely as one of"):
        table.add_column(column, justify="right")
    for name, nats in rows.items():
        table.add_row(f"[cyan]{name}[/cyan]", f"{nats:.3f}", f"{math.exp(nats):,.0f} items")
    console.print(table)


def show_heads(finished: Finished, console: Console) -> None:
    """Print how good each head is on people held back."""
    from jaxreco.fit.finish import ALL
    from jaxreco.fit.quality import quality

    if not finished.judged:
        return
    table = Table(
        title="heads, on people held back: nats a row, and more than by", title_justify="left", title_style="bold",
        box=None, pad_edge=False,
    )  # fmt: skip
    table.add_column("head", no_wrap=True)
    for column in ("rows", "nats", "base rate", "regression", "AUC", "ECE"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, judged in finished.judged.items():
        found = quality(judged)
        gains = (f"{x[0]:+.3f} ±{(x[2] - x[1]) / 2:.3f}" for x in (found.over_base, found.over_plain))
        numbers = (f"{found.rows:,}", f"{found.nats:.3f}", *gains, f"{found.auc:.3f}", f"{found.ece:.3f}")
        table.add_row(f"[cyan]{name}[/cyan]", *numbers)
    console.print()
    console.print(table)
    prior = [name for name in ALL if name not in finished.heads]
    console.print(f"The log says nothing of {', '.join(prior)}: those stay priors." if prior else "", highlight=False)
