"""`jaxreco cotrain`: users go on learning from a log while an agent learns among them."""

from __future__ import annotations

import math
import pathlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from jaxreco import cli_world
from jaxreco import run as runs
from jaxreco.cli_train import EXIT_INTERRUPTED, agent_path, on_the_command_line
from jaxreco.errors import JaxrecoError

if TYPE_CHECKING:
    from jaxreco.data.log import Log
    from jaxreco.run import Run


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("cotrain")(cotrain_command)


def cotrain_command(
    ctx: typer.Context,
    env: Annotated[str, typer.Option(help="World of fitted users.")] = "Learned-v0",
    agent: Annotated[str, typer.Option(help="Agent that learns, or a Python file with make(**static).")] = "ppo",
    data: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FOLDER", help="Log that users go on learning from, of the items of their fit."),
    ] = None,
    user_model: cli_world.UserModelOption = None,
    rounds: Annotated[int, typer.Option(help="Times that users, then agent, go on learning.")] = 4,
    updates: Annotated[int, typer.Option(help="Of the agent, a round.")] = 15,
    epochs: Annotated[int, typer.Option(help="Of the users over the log, a round.")] = 1,
    kl: Annotated[
        float, typer.Option(help="Weight of the users' divergence from the fitted ones in their loss.")
    ] = 1.0,
    users: Annotated[int | None, typer.Option(help="Users side by side.  [default: 512]", show_default=False)] = None,
    turns: Annotated[int | None, typer.Option(help="Turns of a block.  [default: 32]", show_default=False)] = None,
    train: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="How the agent is trained. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the agent, the users that it meets, and their luck.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="A parameter of the world. Repeatable.")
    ] = None,
    world: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What is fixed in the world. Repeatable.")
    ] = None,
    choice: Annotated[str, typer.Option(help="The users' choice model, cascade or mnl.")] = "cascade",
    eval_users: Annotated[int, typer.Option(help="Users of the table at the end.")] = 256,
    out: Annotated[pathlib.Path | None, typer.Option(metavar="DIR", help="New folder.")] = None,
    resume: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="DIR", help="Go on with a co-training that was stopped, as it was begun."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the table at the end.")] = False,
) -> None:
    """Let users and agent learn in turn: users from a log, held to what was fitted, the agent among the users."""
    from jaxreco.cotraining import control, report
    from jaxreco.cotraining.rounds import learn

    began, console = time.perf_counter(), Console(quiet=quiet)
    options: dict[str, Any] = {
        "env": env,
        "agent": agent,
        "data": data,
        "user_model": user_model,
        "seed": seed,
        "set": set_ or [],
        "world": world or [],
        "choice": choice,
        "rounds": rounds,
        "epochs": epochs,
        "kl": kl,
        "eval_users": eval_users,
    }
    if resume is not None:
        run, log = _resumed(ctx, resume)
    else:
        _refuse_impossible(options)
        run, log = _begun(options, {"train": train or [], "users": users, "turns": turns, "updates": updates}, out)
    _announce(run, log, console)
    try:
        learn(run, log, console)
        found = control.control(run, console)
    except KeyboardInterrupt:
        print(f"stopped. Go on with: jaxreco cotrain --resume {run.folder}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    report.write(run, found)
    found.show(Console())
    Console().print(
        f"In {escape(str(run.folder))}: {report.REPORT}, {report.PICTURE}, users/, agent/; {time.perf_counter() - began:.0f} s.",
        highlight=False,
    )


def _refuse_impossible(options: dict[str, Any]) -> None:
    """Refuse numbers that cannot be, and what is not said."""
    for name, low in {"rounds": 1, "epochs": 1, "eval_users": 2}.items():
        if options[name] < low:
            raise JaxrecoError(f"{name} is {options[name]}: give at least {low}.")
    if not (options["kl"] >= 0.0 and math.isfinite(options["kl"])):
        raise JaxrecoError(f"kl is {options['kl']}: give 0, for the likelihood alone, or a weight above it.")
    if not 0 <= options["seed"] <= 2**32 - options["rounds"]:
        raise JaxrecoError(f"seed is {options['seed']}: give a whole number from 0 to {2**32 - options['rounds']}.")
    if options["user_model"] is None:
        raise JaxrecoError("Which users go on learning is not said: add --user-model FOLDER, of jaxreco fit.")
    if options["data"] is None:
        raise JaxrecoError("Which log the users go on learning from is not said: add --data FOLDER.")


def _begun(options: dict[str, Any], given: dict[str, Any], out: pathlib.Path | None) -> tuple[Run, Log]:
    """A new co-training. Its folder is made last, when all that was asked for has proved possible."""
    from jaxreco import provenance
    from jaxreco.content.store import fingerprint
    from jaxreco.cotraining import folder
    from jaxreco.fit import continued
    from jaxreco.run import Run
    from jaxreco.training import settings
    from jaxreco.training.job import build

    agent = agent_path(options["agent"])
    where = (out or runs.free_name(options["env"], f"{pathlib.Path(agent).stem}-together")).absolute()
    runs.refuse(where)
    given = settings.asked(given.pop("train"), **given)
    paths = {name: str(options[name].absolute()) for name in ("data", "user_model")}
    config = {**options, **paths, "agent": agent, "train": settings.complete(agent, given)}
    fitted = continued.load(pathlib.Path(paths["user_model"]))
    build(folder.run_config(Run(where, config), 0))
    log = _read(config["data"])
    _refuse_other_name(config["env"], fitted, log)
    continued.task_of(fitted.model, fitted, log, config["kl"])
    about = {"fingerprint": fingerprint(log), "commit": provenance.commit(), "versions": provenance.versions()}
    return folder.create(where, {**config, **about}), log


def _resumed(ctx: typer.Context, source: pathlib.Path) -> tuple[Run, Log]:
    """A co-training that was stopped, as it was begun."""
    from jaxreco.content.store import fingerprint
    from jaxreco.cotraining import folder

    given = [name for name in ctx.params if on_the_command_line(ctx, name) and name not in ("resume", "quiet")]
    if given:
        raise JaxrecoError(
            f"--resume goes on as the co-training was begun: leave out --{given[0].strip('_').replace('_', '-')}."
        )
    run = folder.load(source.absolute())
    log = _read(run.config["data"])
    if fingerprint(log) != run.config["fingerprint"]:
        raise JaxrecoError(
            f"The log in {run.config['data']} holds other events than when the co-training in {source} was begun: put the same back."
        )
    return run, log


def _read(data: str) -> Log:
    from jaxreco.data import sets

    with Console(stderr=True).status(f"reading {escape(data)}"):
        return sets.load(pathlib.Path(data))


def _refuse_other_name(env: str, fitted: Any, log: Log) -> None:
    """A world that bears a log's name takes users of such logs alone, and the users of the rounds will be of this one."""
    from jaxreco import registry

    name = fitted.model.config["data"]["name"]
    if registry.takes_data(env) and log.name != name:
        raise JaxrecoError(f"{env} is a world of {name}, and the log is {log.name}: take --env Learned-v0.")


def _announce(run: Run, log: Log, console: Console) -> None:
    """Say what is about to be done."""
    from jaxreco.training.job import row_name

    config, train = run.config, run.config["train"]
    console.print(
        f"[bold]{escape(row_name(config['agent']))}[/bold] and users in [bold]{config['env']}[/bold]: {config['rounds']} rounds of "
        f"{config['epochs']} epoch{'s' * (config['epochs'] > 1)} over {len(log):,} events (kl {config['kl']:g}), "
        f"then {train['updates']} updates of {train['users']} users x {train['turns']} turns."
    )
    console.print(f"Folder: {escape(str(run.folder))}. Ctrl-C is safe.", highlight=False)
