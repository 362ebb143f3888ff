"""`jaxreco evaluate`: a trained agent set beside agents that do not learn, over users of one's choice."""

from __future__ import annotations

import pathlib
import time
from typing import Annotated

import typer
from rich.console import Console

from jaxreco import files
from jaxreco import run as runs
from jaxreco.cli_train import warn
from jaxreco.errors import JaxrecoError


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("evaluate")(evaluate_command)


def evaluate_command(
    run: Annotated[pathlib.Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    users: Annotated[int, typer.Option(help="Users of the table.")] = 1024,
    plan: Annotated[bool, typer.Option("--plan", help="The planning oracle too: many minutes.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the users.  [default: the run's]", show_default=False)
    ] = None,
    user_model: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FOLDER", help="Other users of the same items: of jaxreco fit.  [default: the run's]"),
    ] = None,
    env: Annotated[str | None, typer.Option(help="Another world of the same log.  [default: the run's]")] = None,
    data: Annotated[
        pathlib.Path | None, typer.Option(help="Folder of real data, for --env.  [default: the run's]")
    ] = None,
    world: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What is fixed in that world: min_ratings=1. Repeatable."),
    ] = None,
    json: Annotated[pathlib.Path | None, typer.Option(metavar="FILE", help="Write the results as JSON.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an output file that exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the table.")] = False,
) -> None:
    """Set a trained agent beside others over the same users."""
    from jaxreco.training import start
    from jaxreco.training.elsewhere import among, away
    from jaxreco.training.job import build
    from jaxreco.training.table import compare

    began = time.perf_counter()
    files.refuse_existing(force, json)
    if users < 2:
        raise JaxrecoError(f"users is {users}: give at least 2.")
    if seed is not None and not 0 <= seed < 2**32:
        raise JaxrecoError(f"seed is {seed}: give a whole number from 0 to {2**32 - 1}.")
    if env is None and (data or world):
        raise JaxrecoError("--data and --world are of another world: name it with --env.")
    console = Console(quiet=quiet)
    found = runs.load(run)
    job = build({**found.config, "plan": plan})
    known = []
    for one, own in start.each(found, job):
        agent_params, update, warnings = start.trained(one, own)
        known.append((agent_params, update))
        warn(warnings, console)
    if env is not None:
        learned, updates = zip(*known, strict=True)
        job, moved, new = away(job, learned, env, data=data, user_model=user_model, static=world or [])
        known = list(zip(moved, updates, strict=True))
        others = f"; the {new:,} others it takes for the mean of all" if new else ""
        console.print(f"Of the {job.env.n_items:,} items of {env} the agent knows {job.env.n_items - new:,}{others}.")
    elif user_model is not None:
        job = among(job, user_model)
    seed = job.config["seed"] if seed is None else seed
    standing, _ = compare(job, known, users, seed, began, console)
    standing.show(Console())
    if json is not None:
        files.write_json(json, standing.to_json())
