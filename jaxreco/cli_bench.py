"""`jaxreco bench`: run one benchmark, or all of them, and write what they found."""

from __future__ import annotations

import inspect
import pathlib
from typing import Annotated, Any

import typer
from rich.console import Console

from jaxreco import files, registry
from jaxreco.errors import JaxrecoError
from jaxreco.progress import saying


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("bench")(bench_command)


def bench_command(
    name: Annotated[str, typer.Argument(metavar="NAME|all", help="Benchmark, or all; see jaxreco list.")],
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="Fewer users, seeds and minutes, or the protocol.")
    ] = True,
    json: Annotated[pathlib.Path | None, typer.Option(metavar="FILE", help="Write the rows as JSON.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    data: Annotated[
        pathlib.Path | None, typer.Option(help="Folder of real data, for benchmarks that use some.")
    ] = None,
    env: Annotated[str | None, typer.Option(help="World, for benchmarks that take one.")] = None,
    worlds: Annotated[
        str | None, typer.Option(help="Variants of the world with commas, for benchmarks that compare some.")
    ] = None,
    agents: Annotated[
        str | None, typer.Option(help="Agents with commas, or all, for benchmarks that take some.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Training seeds, for benchmarks that train.")] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Updates of a training.")] = None,
    users: Annotated[int | None, typer.Option(min=2, help="Users of the tables.")] = None,
    runs: Annotated[
        pathlib.Path | None, typer.Option(help="Folder where agents and users that were fitted are kept.")
    ] = None,
    plot: Annotated[pathlib.Path | None, typer.Option(metavar="FILE.png", help="Draw what was found.")] = None,
    split: Annotated[
        str | None, typer.Option(metavar="validation|test", help="Whom real data is tested on.  [default: validation]")
    ] = None,
    test: Annotated[
        pathlib.Path | None, typer.Option(metavar="FILE", help="Users to test on instead, as JSON lines.")
    ] = None,
    user_model: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FOLDER", help="Of jaxreco fit, for fidelity (its heads) and transfer (its users)."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Whose users they are, or the only one.")] = None,
    peers: Annotated[pathlib.Path | None, typer.Option(help="Folder of rivals' scripts, for throughput.")] = None,
    peers_python: Annotated[
        str | None, typer.Option(metavar="NAME=PATH,...", help="Interpreters of the rivals' environments.")
    ] = None,
) -> None:
    """Run a benchmark and show its rows, the protocol, and what made them."""
    files.refuse_existing(force, json, plot)
    if plot is not None and plot.suffix.lower() != ".png":
        raise JaxrecoError(f"{plot} is no name for a picture here: let it end in .png.")
    names = registry.benchmarks() if name == "all" else [name]
    options: dict[str, Any] = {"env": env, "worlds": worlds, "agents": agents, "seeds": seeds, "updates": updates}
    options |= {"users": users, "runs": runs, "plot": plot, "split": split, "test": test, "dataset": dataset}
    options |= {"user_model": user_model, "data": data, "peers": peers, "peers_python": peers_python}
    chosen = {option: value for option, value in options.items() if value is not None}
    jobs = [(each, registry.benchmark(each)) for each in names]
    if name != "all":
        _refuse_unused(name, jobs[0][1], chosen)
    console, reports = Console(), []
    for each, run in jobs:
        accepted = inspect.signature(run).parameters
        lacking = [n for n, p in accepted.items() if p.default is p.empty and n in options and n not in chosen]
        if lacking and name == "all":
            console.print(f"[bold]{each}[/bold] is left out: it needs --{lacking[0]}.\n")
            continue
        if lacking:
            raise JaxrecoError(f"The benchmark {name} needs --{lacking[0]}: add it.")
        with saying(each) as say:
            report = run(quick=quick, say=say, **{option: chosen[option] for option in chosen if option in accepted})
        report.show(console)
        console.print()
        reports.append(report)
        if json is not None:  # after each, so that a stopped run keeps what is done
            files.write_json(json, [r.to_json() for r in reports] if name == "all" else report.to_json())


def _refuse_unused(name: str, run: Any, chosen: dict[str, Any]) -> None:
    accepted = inspect.signature(run).parameters
    for option in chosen:
        if option not in accepted:
            raise JaxrecoError(f"The benchmark {name} has no use for --{option.replace('_', '-')}: leave it out.")
