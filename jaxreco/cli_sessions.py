"""`jaxreco sessions`: the life of one user of a run, as text that people can read."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from jaxreco import files
from jaxreco import run as runs
from jaxreco.cli_train import warn
from jaxreco.errors import JaxrecoError

if TYPE_CHECKING:
    from jaxreco.training.job import Job

TURNS = 96  # of a life, watched at first; more where they do not hold the sessions asked for


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("sessions")(sessions_command)


def sessions_command(
    run: Annotated[pathlib.Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    user: Annotated[int, typer.Option(metavar="N", help="Number of the user; the first is 0.")] = 0,
    sessions: Annotated[int, typer.Option(metavar="N", help="At most so many sessions.")] = 3,
    say: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Put a person's words in the user's mouth: 'less music'.")
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(metavar="TURN", help="Say it before this turn of the life.  [default: 1]", show_default=False),
    ] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option(metavar="FILE", help="Write the text there instead of showing it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an output file that exists.")] = False,
) -> None:
    """Tell the life of one user with a trained agent: what it saw, did, felt and said."""
    files.refuse_existing(force, out)
    if not 0 <= user < 2**31:
        raise JaxrecoError(f"user is {user}: give a whole number from 0 to {2**31 - 1}.")
    if sessions < 1:
        raise JaxrecoError(f"sessions is {sessions}: give at least 1.")
    if at is not None and say is None:
        raise JaxrecoError("--at is the turn before which something is said: add --say TEXT.")
    at = 1 if at is None else at
    if at < 1:
        raise JaxrecoError(f"at is {at}: the first turn is 1.")
    job, agent_params = load(run, Console(stderr=True))
    text = tell(job, agent_params, user, sessions, _words(say, job), at - 1)
    if out is None:
        print(text, end="")
        return
    with files.written_whole(out) as file:
        file.write(text.encode("utf-8"))


def load(folder: pathlib.Path, console: Console) -> tuple[Job, Any]:
    """A run's job and its trained agent, as its table shows it. Raises JaxrecoError where there is none.

    The temperature is the table's; a run that was stopped before its table has it chosen anew.
    """
    import numpy as np

    from jaxreco.training import start, table
    from jaxreco.training.job import build

    run = runs.load(folder).refuse_seeds()
    job = build(run.config)
    agent_params, _, warnings = start.trained(job, run)
    warn(warnings, console)
    if not hasattr(agent_params, "temperature"):
        return job, agent_params
    known = _temperature(run)
    if known is not None:
        return job, agent_params.replace(temperature=np.float32(known))
    with console.status("choosing the temperature"):
        return job, table.choose_temperature(job, agent_params, job.config["seed"])[0]


def _temperature(run: runs.Run) -> float | None:
    """The temperature of the run's table; None where there is no table, or it does not say."""
    try:
        return float(json.loads((run.folder / "table.json").read_text(encoding="utf-8"))["temperature"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _words(text: str | None, job: Job) -> Any:
    """The instruction that a person's text is, or None without a text. Raises ValueError for more than one request."""
    from jaxreco.talk import parser

    if text is None:
        return None
    if job.env.names is None:
        raise JaxrecoError(f"The items of {job.env.name} have no names: nothing can be said about them.")
    if not getattr(job.env.user_model, "talks", True):
        raise JaxrecoError("The users of this run are silent, and do not judge by words either: train with talks=true.")
    heard = parser.understand(text, job.env.names, job.params.catalog)
    if len(heard) > 1:
        raise JaxrecoError(f"That is {len(heard)} requests, and a user makes one at a time: say one of them.")
    return heard[0].instruction


def tell(job: Job, agent_params: Any, user: int, sessions: int, words: Any = None, at: int = 0) -> str:
    """The text of the first sessions of one user: the life that sessions.txt tells too, where it is among its users.

    With `words` (an Instruction) it is the same life in which a person has said them before turn `at`. Raises JaxrecoError
    where these sessions do not come to that turn.
    """
    import jax
    import numpy as np

    from jaxreco.report import sessions as report

    most = int(job.params.max_steps_in_episode)
    turns, enough = min(TURNS, most), False
    while not enough:
        lives = report.watch_lives(
            job.key("sessions"), job.env, job.params, job.agent, agent_params, 1, turns, user, words, at
        )
        lives = jax.tree.map(np.asarray, lives)
        life = jax.tree.map(lambda x: x[:, 0], lives)
        enough = len(report.spans(life)) >= sessions or report.ended(life) or turns >= most
        turns = min(4 * turns, most)
    told = report.spans(life)[:sessions]
    last = told[-1][1] if told and (len(told) == sessions or report.ended(life)) else len(life.left)
    if words is not None and at >= last:
        raise JaxrecoError(
            f"at is {at + 1}, but this life has {last} turns in the {len(told)} sessions that are told: "
            f"say it before one of them{', or ask for more --sessions' if len(told) == sessions else ''}."
        )
    title = f"User {user + 1} of {job.env.name} with {pathlib.Path(job.config['agent']).name}"
    return report.write(lives, job.env, job.params, title, sessions, user, job.agent)
