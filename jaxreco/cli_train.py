"""`jaxreco train` and `jaxreco evaluate`: an agent learns in a world, and is set beside agents that do not."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from jaxreco import cli_world, files
from jaxreco import run as runs
from jaxreco.errors import JaxrecoError
from jaxreco.interrupts import interrupts
from jaxreco.progress import progress_bar

EXIT_INTERRUPTED = 130
EVERY = 20  # updates between two checkpoints
KEYS = {"agent": 0, "train": 1, "trial": 2, "table": 3, "sessions": 4}  # every use of the seed has its own key
GUESSED_RATE = 5_000  # user-turns a second a core, to say roughly how long training will take


@dataclasses.dataclass(frozen=True)
class Job:
    """A run's config, and what it makes."""

    config: dict[str, Any]
    env: Any
    params: Any
    agent: Any
    agent_params: Any
    train: Any  # TrainConfig

    def key(self, use: str) -> Any:
        """The key of one use of the run's seed."""
        return _key(self.config["seed"], use)

    def meta(self) -> dict[str, Any]:
        """What a checkpoint of this job belongs to."""
        from jaxreco.learning import checkpoint

        return checkpoint.describe(self.env, self.config["agent"], self.agent, self.train)

    def begin(self) -> Any:
        """The learner before its first block."""
        from jaxreco.learning import checkpoint, trainer

        learner = trainer.begin(self.key("train"), self.env, self.params, self.agent, self.agent_params, self.train)
        return checkpoint.settle(learner)


def add(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("train")(train_command)
    app.command("evaluate")(evaluate_command)


def train_command(
    ctx: typer.Context,
    env: Annotated[str, typer.Option(help="World; see jaxreco list.")] = "Feed-v0",
    agent: Annotated[str, typer.Option(help="Agent that learns, or a Python file with make(**static).")] = "ppo",
    data: Annotated[pathlib.Path | None, typer.Option(help="Folder of real data, where the world needs one.")] = None,
    user_model: cli_world.UserModelOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the network, the users and all randomness.")] = 0,
    users: Annotated[int | None, typer.Option(help="Users side by side.  [default: 512]", show_default=False)] = None,
    turns: Annotated[int | None, typer.Option(help="Turns of a block.  [default: 32]", show_default=False)] = None,
    updates: Annotated[int | None, typer.Option(help="Blocks of turns to learn from.", show_default=False)] = None,
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
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the table at the end.")] = False,
) -> None:
    """Train an agent, then set it beside others over the same users."""
    if seed < 0 or seed >= 2**32:
        raise JaxrecoError(f"seed is {seed}: give a whole number from 0 to {2**32 - 1}.")
    if eval_users < 2:
        raise JaxrecoError(f"eval_users is {eval_users}: give at least 2.")
    asked: dict[str, Any] = {
        "env": env,
        "agent": _agent_path(agent),
        "data": _absolute(data),
        "user_model": _absolute(user_model),
        "seed": seed,
        "set": set_ or [],
    }
    asked |= {"world": world or [], "choice": choice, "eval_users": eval_users, "blind": blind, "plan": plan}
    asked["content"] = _absolute(content)
    asked["train"] = {"users": users, "turns": turns, "updates": updates}
    began = time.perf_counter()
    console = Console(quiet=quiet)
    if resume is not None:
        run, job, learner = _resumed(resume, ctx, asked, out, console)
    else:
        run, job, learner = _begun(asked, out)
    _announce(job, run, int(learner.update), console)
    learner, stopped = learn(job, run, learner, console)
    if stopped:
        done = f"{int(learner.update)} of {job.train.updates} updates are done"
        print(f"stopped: {done}. Go on with: jaxreco train --resume {run.folder}")
        raise typer.Exit(EXIT_INTERRUPTED)
    _report(job, run, learner.agent_params, job.config["eval_users"], job.config["seed"], began, console)


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
    json: Annotated[pathlib.Path | None, typer.Option(metavar="FILE", help="Write the results as JSON.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an output file that exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the table.")] = False,
) -> None:
    """Set a trained agent beside others over the same users."""
    from jaxreco.learning import checkpoint

    began = time.perf_counter()
    files.refuse_existing(force, json)
    if users < 2:
        raise JaxrecoError(f"users is {users}: give at least 2.")
    if seed is not None and not 0 <= seed < 2**32:
        raise JaxrecoError(f"seed is {seed}: give a whole number from 0 to {2**32 - 1}.")
    console = Console(quiet=quiet)
    found = runs.load(run)
    job = build({**found.config, "plan": plan})
    learner, warnings = checkpoint.restore(found.checkpoint, job.begin(), job.meta())
    _warn(warnings, console)
    if user_model is not None:
        job = _among(job, user_model)
    seed = job.config["seed"] if seed is None else seed
    standing = _standing(job, learner, users, seed, began, console)
    standing.show(Console())
    if json is not None:
        files.write_json(json, standing.to_json())


# -- beginning and going on ------------------------------------------------------------------------------------


def build(config: dict[str, Any]) -> Job:
    """The world, the agent and its parameters of a config. Raises ValueError, one sentence, for what cannot be."""
    import jaxreco
    from jaxreco import registry
    from jaxreco.learning.config import TrainConfig
    from jaxreco.talk.hearing import hard_of_hearing

    agent = registry.agent_factory(config["agent"])()
    if not getattr(agent, "learns", False):
        able = [name for name in registry.agents() if getattr(registry.agent_factory(name)(), "learns", False)]
        raise JaxrecoError(
            f"The agent {config['agent']!r} does not learn: train {' or '.join(able)}, or a file with one."
        )
    data = pathlib.Path(config["data"]) if config.get("data") else None
    static = [*config.get("world", ()), f"choice={config.get('choice', 'cascade')}"]
    content = pathlib.Path(config["content"]) if config.get("content") else None
    settings = config.get("set", ())
    user_model = pathlib.Path(config["user_model"]) if config.get("user_model") else None
    env, params = cli_world.make_world(
        config["env"], data=data, static=static, settings=settings, content=content, user_model=user_model
    )
    try:
        train = TrainConfig(**config["train"])
    except TypeError as error:
        raise JaxrecoError(f"The run's training settings do not fit this jaxreco ({error}): start a new run.") from None
    agent, agent_params = jaxreco.make_agent(config["agent"], _key(config["seed"], "agent"), env, params)
    agent = hard_of_hearing(agent, "masked" if config.get("blind") else "real")
    return Job(config, env, params, agent, agent_params, train)


def _among(job: Job, user_model: pathlib.Path) -> Job:
    """The job with other users, to whom the trained agent is set as it is. Raises JaxrecoError for users of other items."""
    import numpy as np

    static = [*job.config.get("world", ()), f"choice={job.config.get('choice', 'cascade')}"]
    env, params = cli_world.make_world(job.config["env"], static=static, user_model=user_model)
    same = [
        np.array_equal(getattr(params.catalog, name), getattr(job.params.catalog, name))
        for name in ("embedding", "category", "tags")
    ]
    if env.n_items != job.env.n_items or not all(same):
        raise JaxrecoError(
            f"The users in {user_model} know other items than the run's, or them otherwise: fit both to the same log with the same "
            "--seed and --content."
        )
    return dataclasses.replace(job, env=env, params=params)


def _begun(asked: dict[str, Any], out: pathlib.Path | None) -> tuple[runs.Run, Job, Any]:
    """A new run. Its folder is made last, when all that was asked for has proved possible."""
    from jaxreco import provenance

    folder = out or runs.free_name(asked["env"], asked["agent"])
    runs.refuse(folder)
    job = build({**asked, "train": _training(asked["agent"], asked["train"])})
    learner = job.begin()
    versions = {"commit": provenance.commit(), "versions": provenance.versions()}
    return runs.create(folder, {**job.config, **versions}), job, learner


def _training(agent: str, asked: dict[str, int | None]) -> dict[str, Any]:
    """All of TrainConfig's fields, so that a run stays what it was when defaults change: as asked, as the agent has it, as usual."""
    from jaxreco import registry
    from jaxreco.learning.config import TrainConfig

    given = {name: value for name, value in asked.items() if value is not None}
    for name, value in given.items():
        if value < 1:
            raise JaxrecoError(f"{name} is {value}: it must be at least 1.")
    users = given.get("users", TrainConfig.users)
    parts = next(n for n in range(TrainConfig.minibatches, 0, -1) if users % n == 0)
    own = getattr(registry.agent_factory(agent)(), "training", {})
    try:
        return dataclasses.asdict(TrainConfig(**{**own, **given, "minibatches": parts}))
    except (TypeError, ValueError) as error:
        raise JaxrecoError(f"The agent {agent!r} cannot be trained so: {error}") from None


def _resumed(
    folder: pathlib.Path, ctx: typer.Context, asked: dict[str, Any], out: pathlib.Path | None, console: Console
) -> tuple[runs.Run, Job, Any]:
    """A run as its last checkpoint left it; without one, as it began."""
    from jaxreco.learning import checkpoint

    if out is not None:
        raise JaxrecoError("--resume goes on in the run's own folder: leave out --out.")
    run = runs.load(folder)
    _refuse_other(run, ctx, asked)
    job = build(run.config)
    learner = job.begin()
    if checkpoint.latest(run.checkpoint) is not None:
        learner, warnings = checkpoint.restore(run.checkpoint, learner, job.meta())
        _warn(warnings, console)
    run.rewind(int(learner.update))
    return run, job, learner


def _refuse_other(run: runs.Run, ctx: typer.Context, asked: dict[str, Any]) -> None:
    """Refuse options given beside --resume that say something else than the run's config."""
    names = {"set_": "set"}
    flat, was = {**asked, **asked["train"]}, {**run.config, **run.config["train"]}
    for option in ctx.params:
        source = ctx.get_parameter_source(option)
        name = names.get(option, option)
        if name not in flat or name == "train" or source is None or source.name != "COMMANDLINE":
            continue
        if flat[name] != was.get(name):
            raise JaxrecoError(
                f"The run in {run.folder} has {name} {was.get(name)}, not {flat[name]}: "
                f"leave out --{name.replace('_', '-')}, or start a new run."
            )


def _announce(job: Job, run: runs.Run, update: int, console: Console) -> None:
    """Say what is about to be done."""
    import jax

    from jaxreco import provenance, runtime

    train, config = job.train, job.config
    weights = sum(leaf.size for leaf in jax.tree.leaves(getattr(job.agent_params, "net", job.agent_params)))
    left = (train.updates - update) * train.users * train.turns
    console.print(
        f"[bold]{escape(_row_name(config['agent']))}[/bold] ({weights:,} learned numbers) "
        f"in [bold]{config['env']}[/bold]: "
        f"{job.env.n_items:,} items, slates of {job.env.slate_size}, a pool of {job.params.population.size:,} people, "
        f"seed {config['seed']}."
    )
    done = f"{update} of {train.updates} updates are done; " if update else ""
    minutes = left / (GUESSED_RATE * runtime.cores()) / 60.0
    guess = (
        f", about {max(minutes, 1):.0f} min, and two or three more to compile and compare"
        if jax.default_backend() == "cpu"
        else ""
    )
    console.print(
        f"{done}{train.updates - update} updates of {train.users} users x {train.turns} turns to go: "
        f"{left:,} user-turns{guess}."
    )
    console.print(f"On {provenance.device()}. Run folder: {run.folder}. Ctrl-C stops after the running update.")


def _warn(warnings: list[str], console: Console) -> None:
    for line in warnings:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False)


# -- learning --------------------------------------------------------------------------------------------------


def learn(job: Job, run: runs.Run, learner: Any, console: Console) -> tuple[Any, bool]:
    """Block after block until all updates are done or Ctrl-C; returns the learner and whether it was stopped.

    However it ends, the last block's checkpoint and figures are on disk.
    """
    from jaxreco.learning import checkpoint, trainer

    train, meta, key = job.train, job.meta(), job.key("train")
    done, size = int(learner.update), job.train.users * job.train.turns
    with interrupts() as stopped, progress_bar(console) as bar:
        task = bar.add_task("compiling", total=train.updates, completed=done, words="")
        while done < train.updates and not stopped():
            began = time.perf_counter()
            learner, logs = trainer.block(key, job.params, learner, job.env, job.agent, train)
            learner = checkpoint.settle(learner)
            done, seconds = int(learner.update), time.perf_counter() - began
            logs = {name: float(value) for name, value in logs.items()}
            _refuse_nan(logs, done, run)
            run.log(done, {"user_turns": done * size, "seconds": round(seconds, 3), **logs})
            if done % EVERY == 0 or done == train.updates or stopped():
                checkpoint.save(run.checkpoint, learner, meta)
            words = f"{size / seconds:,.0f} user-turns/s  reward {logs['reward_per_day']:.2f}/day  "
            words += f"{logs['turns_per_session']:.1f} turns/session"
            bar.update(task, completed=done, words=words, description="updates")
        if stopped():
            checkpoint.save(run.checkpoint, learner, meta)
        return learner, stopped() and done < train.updates


def _refuse_nan(logs: dict[str, float], update: int, run: runs.Run) -> None:
    """Stop before a diverged learner overwrites the last good checkpoint."""
    bad = [name for name, value in logs.items() if value != value]
    if bad:
        raise JaxrecoError(
            f"Training diverged at update {update} ({', '.join(bad)} is NaN): the checkpoint in {run.folder} is from "
            "before it; try another seed or parameters of the world nearer to the defaults."
        )


# -- the table -------------------------------------------------------------------------------------------------


def _report(job: Job, run: runs.Run, agent_params: Any, users: int, seed: int, began: float, console: Console) -> None:
    """Curve, table and sessions, into the run folder and (the table) onto the screen."""
    from jaxreco.report import curve, sessions

    name = _row_name(job.config["agent"])
    title = f"{name} in {job.env.name}, seed {seed}"
    curve.draw(run.folder / "curve.png", title, run.metrics(), job.train.users * job.train.turns)
    try:
        standing, agent_params = _compare(job, agent_params, users, seed, began, console)
        moments = sessions.watch_lives(job.key("sessions"), job.env, job.params, job.agent, agent_params)
    except KeyboardInterrupt:
        print(f"stopped: training is complete, the table is not. Make it with: jaxreco evaluate {run.folder}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    text = sessions.write(moments, job.env, job.params, f"Sessions of three users of {job.env.name} with {name}")
    run.write_text("sessions.txt", text)
    files.write_json(run.folder / "table.json", {**standing.to_json(), "temperature": standing.made["temperature"]})
    standing.show(Console())
    console.print(f"In {run.folder}: table.json, curve.png, sessions.txt, metrics.jsonl, checkpoint/, config.json.")


def _standing(job: Job, learner: Any, users: int, seed: int, began: float, console: Console) -> Any:
    return _compare(job, learner.agent_params, users, seed, began, console, updates=int(learner.update))[0]


def _compare(
    job: Job,
    agent_params: Any,
    users: int,
    seed: int,
    began: float,
    console: Console,
    updates: int | None = None,
) -> tuple[Any, Any]:
    """(Standing of all rows, the trained agent's parameters with the temperature that was chosen)."""
    import jaxreco
    from jaxreco import provenance, registry
    from jaxreco.evaluation import Life, live, longest_first
    from jaxreco.report.standing import BASELINES, ORACLES, Standing

    ours = _row_name(job.config["agent"])
    lives: dict[str, Life] = {}
    with progress_bar(console) as bar:
        task = bar.add_task("temperature", total=100, words="")
        progress = functools.partial(_move, bar, task)
        agent_params, chosen = choose_temperature(job, agent_params, seed, progress)
        oracles = ORACLES if job.config.get("plan") else ORACLES[:1]
        above, below = (registry.who_can_live(names, job.params.user) for names in (BASELINES, oracles))
        for name in (*above, ours, *below):
            task = bar.add_task(name, total=100, words="")
            agent, its_params = job.agent, agent_params
            if name != ours:
                agent, its_params = jaxreco.make_agent(name, _key(seed, "agent"), job.env, job.params)
            progress = functools.partial(_move, bar, task)
            key, order = _key(seed, "table"), longest_first(lives.values())
            lives[name] = live(key, job.env, job.params, agent, its_params, users=users, order=order, progress=progress)
    made = {
        "world": job.env.name,
        "world_version": job.env.version,
        "dataset": pathlib.Path(job.config["data"]).name if job.config.get("data") else None,
        "users": users,
        "horizon_hours": float(job.params.horizon_hours),
        "seed": job.config["seed"],
        "blind": bool(job.config.get("blind")),
        "updates": job.train.updates if updates is None else updates,
        "temperature": "none" if chosen is None else f"{chosen:g}",
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "device": provenance.device(),
        "wall_s": time.perf_counter() - began,
    }
    return Standing(lives, ours, made), agent_params


def _move(bar: Any, task: Any, share: float) -> None:
    bar.update(task, completed=100.0 * share)


def choose_temperature(
    job: Job, agent_params: Any, seed: int, progress: Callable[[float], None] = lambda share: None
) -> tuple[Any, float | None]:
    """As `learning.temperature` does, by other users than the table's."""
    from jaxreco.learning import temperature

    return temperature.choose(_key(seed, "trial"), job.env, job.params, job.agent, agent_params, progress)


def _key(seed: int, use: str) -> Any:
    import jax

    return jax.random.fold_in(jax.random.key(seed), KEYS[use])


def _row_name(agent: str) -> str:
    """A registered agent's name, or a file's."""
    return pathlib.Path(agent).name


def _agent_path(agent: str) -> str:
    """A registered name as it is; a path made absolute, so that the run can be resumed from anywhere."""
    return str(pathlib.Path(agent).absolute()) if agent.endswith(".py") else agent


def _absolute(path: pathlib.Path | None) -> str | None:
    return None if path is None else str(path.absolute())
