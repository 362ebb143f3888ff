"""`jaxreco train`: an agent learns in a world, and is set beside agents that do not."""

from __future__ import annotations

import pathlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from jaxreco import cli_world
from jaxreco import run as runs
from jaxreco.errors import JaxrecoError
from jaxreco.run import Run

if TYPE_CHECKING:
    from jaxreco.training.job import Job

EXIT_INTERRUPTED = 130
USUAL_WORLD = "Feed-v0"
GUESSED_RATE = 5_000  # user-turns a second a core in the usual world, to say roughly how long training will take there


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("train")(train_command)


def train_command(
    ctx: typer.Context,
    env: Annotated[str, typer.Option(help="World; see jaxreco list.")] = USUAL_WORLD,
    agent: Annotated[str, typer.Option(help="Agent that learns, or a Python file with make(**static).")] = "ppo",
    data: Annotated[pathlib.Path | None, typer.Option(help="Folder of real data, where the world needs one.")] = None,
    user_model: cli_world.UserModelOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the network, the users and all randomness.")] = 0,
    users: Annotated[int | None, typer.Option(help="Users side by side.  [default: 512]", show_default=False)] = None,
    turns: Annotated[int | None, typer.Option(help="Turns of a block.  [default: 32]", show_default=False)] = None,
    updates: Annotated[int | None, typer.Option(help="Blocks of turns to learn from.", show_default=False)] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="How it is trained: learning_rate=0.001, kl=0.1, group=8. Repeatable."),
    ] = None,
    from_: Annotated[
        pathlib.Path | None,
        typer.Option("--from", metavar="RUN", help="Begin with the weights of another run's agent; kl holds to them."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="AGENT", help="Learn what another agent would show first: sasrec, ease_seq, ..."),
    ] = None,
    lessons: Annotated[
        int | None, typer.Option(metavar="N", help="Blocks with the teacher.  [default: 20]", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Train with N seeds, from --seed on.")] = 1,
    patience: Annotated[
        int | None,
        typer.Option(metavar="N", help="Stop after N evaluations without a better one.", show_default=False),
    ] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option(metavar="DIR", help="New folder of the run.  [default: runs/ENV-AGENT-N]")
    ] = None,
    resume: Annotated[
        pathlib.Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped, as it was begun.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="A parameter of the world: user.satiation=0. Repeatable."),
    ] = None,
    world: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What is fixed in the world: slate_size=5. Repeatable."),
    ] = None,
    content: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="DIR", help="What the agent sees of items: a folder of content, or .npy or .npz of vectors."
        ),
    ] = None,
    choice: Annotated[str, typer.Option(help="The users' choice model, cascade or mnl.")] = "cascade",
    blind: Annotated[bool, typer.Option("--blind", help="The agent hears neither instructions nor reasons.")] = False,
    eval_users: Annotated[int, typer.Option(help="Users of the table at the end.")] = 512,
    plan: Annotated[bool, typer.Option("--plan", help="The planning oracle too in the table: many minutes.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Event files for TensorBoard too.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the table at the end.")] = False,
) -> None:
    """Train an agent, then set it beside others over the same users."""
    from jaxreco.training.loop import learn
    from jaxreco.training.settings import asked
    from jaxreco.training.start import take_up

    began = time.perf_counter()
    options: dict[str, Any] = {
        "env": env,
        "agent": agent_path(agent),
        "data": _absolute(data),
        "user_model": _absolute(user_model),
        "seed": seed,
        "seeds": seeds,
        "set": set_ or [],
        "world": world or [],
        "content": _absolute(content),
        "choice": choice,
        "blind": blind,
        "from": _absolute(from_),
        "teacher": agent_path(teacher) if teacher else None,
        "lessons": lessons,
        "patience": patience,
        "eval_users": eval_users,
        "plan": plan,
        "tensorboard": tensorboard,
    }
    _refuse_impossible(options)
    given = asked(train or [], users=users, turns=turns, updates=updates)
    console = Console(quiet=quiet)
    run, each = _begun(options, given, out) if resume is None else _resumed(resume, ctx, options, given, out)
    for job, own in each:
        try:
            state, warnings = take_up(job, own, console)
        except KeyboardInterrupt:
            print(f"stopped before a block of training. Go on with: jaxreco train --resume {run.folder}")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        warn(warnings, console)
        _announce(job, own, int(state.update), console)
        state, stopped = learn(job, own, state, console)
        if stopped:
            done = f"{int(state.update)} of {job.train.updates} updates are done"
            print(f"stopped: {done}. Go on with: jaxreco train --resume {run.folder}")
            raise typer.Exit(EXIT_INTERRUPTED)
    _report(run, each, began, console)


def _refuse_impossible(options: dict[str, Any]) -> None:
    """Refuse numbers that cannot be, and a board that nothing can write."""
    from jaxreco.training import board

    least = {"seeds": 1, "eval_users": 2, "patience": 1, "lessons": 1}
    for name, low in least.items():
        if options[name] is not None and options[name] < low:
            raise JaxrecoError(f"{name} is {options[name]}: give at least {low}.")
    if not 0 <= options["seed"] <= 2**32 - options["seeds"]:
        raise JaxrecoError(f"seed is {options['seed']}: give a whole number from 0 to {2**32 - options['seeds']}.")
    if options["tensorboard"]:
        board.refuse_missing()


def _begun(
    options: dict[str, Any], given: dict[str, Any], out: pathlib.Path | None
) -> tuple[Run, list[tuple[Job, Run]]]:
    """A new run, and those of its seeds."""
    from jaxreco.training import settings, start
    from jaxreco.training.job import build

    folder = out or runs.free_name(options["env"], options["agent"])
    runs.refuse(folder)
    job = build({**options, "train": settings.complete(options["agent"], given)})
    run = start.new(job, folder)
    return run, start.each(run, job)


def _resumed(
    folder: pathlib.Path, ctx: typer.Context, options: dict[str, Any], given: dict[str, Any], out: pathlib.Path | None
) -> tuple[Run, list[tuple[Job, Run]]]:
    """A run that was stopped, and those of its seeds, as they were begun."""
    from jaxreco.training import start
    from jaxreco.training.job import build

    if out is not None:
        raise JaxrecoError("--resume goes on in the run's own folder: leave out --out.")
    run = runs.load(folder)
    _refuse_other(run, ctx, options, given)
    return run, start.each(run, build(run.config))


def _refuse_other(run: Run, ctx: typer.Context, options: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse options given beside --resume that say something else than the run's config."""
    said = {name for name in options if on_the_command_line(ctx, {"set": "set_", "from": "from_"}.get(name, name))}
    asked = {name: options[name] for name in options if name in said} | given
    was = {**run.config, **run.config["train"]}
    for name, value in asked.items():
        if value != was.get(name):
            raise JaxrecoError(
                f"The run in {run.folder} has {name} {was.get(name)}, not {value}: leave out {_option(name, ctx)}, or start a new run."
            )


def on_the_command_line(ctx: typer.Context, option: str) -> bool:
    """Whether an option, by its parameter's name, was given."""
    source = ctx.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _option(name: str, ctx: typer.Context) -> str:
    """What on the command line sets this."""
    own = name in ctx.params or f"{name}_" in ctx.params
    return f"--{name.replace('_', '-')}" if own else f"--train {name}"


def _announce(job: Job, run: Run, update: int, console: Console) -> None:
    """Say what is about to be done."""
    import jax

    from jaxreco import provenance, runtime
    from jaxreco.training.job import row_name

    train, config = job.train, job.config
    weights = sum(leaf.size for leaf in jax.tree.leaves(getattr(job.agent_params, "net", job.agent_params)))
    left = (train.updates - update) * train.users * train.turns
    console.print(
        f"[bold]{escape(row_name(config['agent']))}[/bold] ({weights:,} learned numbers) "
        f"in [bold]{config['env']}[/bold]: "
        f"{job.env.n_items:,} items, slates of {job.env.slate_size}, a pool of {job.params.population.size:,} people, "
        f"seed {config['seed']}."
    )
    done = f"{update} of {train.updates} updates are done; " if update else ""
    minutes = left / (GUESSED_RATE * runtime.cores()) / 60.0
    guess = (
        f", about {max(minutes, 1):.0f} min, and two or three more to compile and compare"
        if jax.default_backend() == "cpu" and config["env"] == USUAL_WORLD
        else ""
    )
    console.print(
        f"{done}{train.updates - update} updates of {train.users} users x {train.turns} turns to go: "
        f"{left:,} user-turns{guess}."
    )
    console.print(f"On {provenance.device()}. Run folder: {run.folder}. Ctrl-C stops after the running update.")


def warn(warnings: list[str], console: Console) -> None:
    """Say what may not be as it was."""
    for line in warnings:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False)


def _report(run: Run, each: list[tuple[Job, Run]], began: float, console: Console) -> None:
    """Curve, table and sessions, into the run folder and (the table) onto the screen."""
    from jaxreco.training import finish

    finish.draw(run, each)
    try:
        standing = finish.finish(run, each, began, console)
    except KeyboardInterrupt:
        print(f"stopped: training is complete, the table is not. Make it with: jaxreco evaluate {run.folder}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    standing.show(Console())
    own = f" In seed{run.seeds[0]} and so on" if len(each) > 1 else ""
    where = f"table.json, curve.png{'.' + own + ': those, and' if own else ','} sessions.txt, metrics.jsonl"
    console.print(f"In {run.folder}: {where}, best/, checkpoint/, config.json.")


def agent_path(agent: str) -> str:
    """A registered name as it is; a path made absolute, so that the run can be resumed from anywhere."""
    return str(pathlib.Path(agent).absolute()) if agent.endswith(".py") else agent


def _absolute(path: pathlib.Path | None) -> str | None:
    return None if path is None else str(path.absolute())
