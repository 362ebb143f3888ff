"""`jaxreco fit`: a simulated user learned from a log of what people did."""

from __future__ import annotations

import enum
import math
import pathlib
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxreco.errors import JaxrecoError
from jaxreco.interrupts import interrupts

if TYPE_CHECKING:
    from jaxreco.fit.finish import Finished
    from jaxreco.fit.whole import Fit

EXIT_INTERRUPTED = 130


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
    from jaxreco.fit import folder as kept
    from jaxreco.fit import whole

    began = time.perf_counter()
    if data is None:
        raise JaxrecoError("Which log to fit to is not said: add --data FOLDER.")
    where = resume if out is None else out
    if where is None or None not in (out, resume):
        raise JaxrecoError("Give --out FOLDER for a new user model, or --resume FOLDER to go on with one.")
    console = Console(quiet=quiet)
    settings = {"epochs": epochs, "width": width, "layers": layers, "window": window, "negatives": negatives}
    if user_model is UserModel.MINDSET:
        return _fit_mindset(data, out, content, seed, settings, console)
    if resume is not None:
        if any(value is not None for value in (*settings.values(), content)) or seed:
            raise JaxrecoError("--resume goes on as the fit was begun: leave out all but --data and --quiet.")
        config = kept.read_config(resume)  # before the log is read
    else:
        runs.refuse(where)
    with Console(stderr=True).status(f"reading {escape(str(data))}"):
        log = sets.load(data)
        given = {name: value for name, value in settings.items() if value is not None}
        fit = whole.resumed(where, config, log) if resume else whole.begun(log, where, content, seed, given)
    _announce(fit, console)
    with interrupts() as stopped:
        fit = whole.learn(fit, console, stopped)
    if not fit.is_over:
        done = int(fit.fitter.update)
        print(f"stopped: {done} epochs are done. Go on with: jaxreco fit --data {data} --resume {where}")
        raise typer.Exit(EXIT_INTERRUPTED)
    with Console(stderr=True).status("heads: fitting what hidden states say, and calibrating"):
        finished = whole.finished(fit, log)
    show(fit, time.perf_counter() - began, Console())
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
    from jaxreco.fit import whole

    if out is None:
        raise JaxrecoError("A fit of the mechanistic user is short and cannot be resumed: give --out FOLDER.")
    wrong = [name for name in whole.SIZES if settings[name] is not None]
    if wrong:
        raise JaxrecoError(f"--{wrong[0]} is of a network, and --user-model mindset has none: leave it out.")
    runs.refuse(out)
    with Console(stderr=True).status(f"reading {escape(str(data))}"):
        log = sets.load(data)
        vectors, words = whole.content_of(log, content)
    given = {name: value for name, value in settings.items() if value is not None}
    rows, said = cli_fit_mindset.fit(log, out, vectors, words, seed, given, console)
    _table(rows, Console())
    Console().print(said, highlight=False)


# -- saying how it is and was ------------------------------------------------------------------------------------


def _announce(fit: Fit, console: Console) -> None:
    """Say what is about to be done."""
    import jax

    from jaxreco import provenance

    data, content = fit.run.config["data"], fit.run.config["content"]
    weights = sum(leaf.size for leaf in jax.tree.leaves(fit.fitter.params))
    drawn = fit.config.negatives
    stands = f"{drawn:,} drawn for all of them" if drawn else "all of them in every likelihood"
    console.print(
        f"A user ([bold]{weights:,}[/bold] learned numbers) of [bold]{escape(data['name'])}[/bold]: {data['users']:,} people, "
        f"{data['events']:,} events, {data['items']:,} items ({stands}; content: {escape(content['source'])})."
    )
    console.print(
        f"At most {fit.config.epochs} epochs. On {provenance.device()}. Folder: {escape(str(fit.run.folder))}. "
        "Ctrl-C stops after the running epoch.",
        highlight=False,
    )


def show(fit: Fit, seconds: float, console: Console) -> None:
    """Print how well people held back were foreseen, beside what knows nothing of a person."""
    from jaxreco.fit import baselines

    _table(baselines.rows(fit.task, fit.fitter, fit.config.horizon), console)
    best, done = int(fit.fitter.best_epoch), int(fit.fitter.update)
    where = escape(str(fit.run.folder))
    console.print(f"Epoch {best} of {done} is kept, in {where}; {seconds:.0f} s.", highlight=False)


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
