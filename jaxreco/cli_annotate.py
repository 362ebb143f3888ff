"""`jaxreco annotate`: blind pairs for people to judge, and what their answers say."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from jaxreco import files
from jaxreco.errors import DataError, JaxrecoError

if TYPE_CHECKING:
    from jaxreco.annotate.pairs import Pair

EXIT_INTERRUPTED = 130
PAIRS = 40
USERS, TURNS, BATCHES = 64, 64, 16  # users watched at a time, turns of each, and times before there are no more
KEY, PAGE = "key.json", "pairs.html"


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("annotate")(annotate_command)


def annotate_command(
    run: Annotated[pathlib.Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    more: Annotated[
        list[pathlib.Path] | None, typer.Argument(metavar="FILE", show_default=False, help="More files for --answers.")
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(help="Pairs, half of either kind. Default 40.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of what is picked. Default 0.", show_default=False)] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option(metavar="DIR", help="Folder of the pairs. Default RUN/annotate.")
    ] = None,
    ask: Annotated[str | None, typer.Option(metavar="NAME", help="Answer the pairs here, as this person.")] = None,
    answers: Annotated[
        list[pathlib.Path] | None,
        typer.Option(metavar="FILE [FILE]...", help="Show what the answers in these files say, CSV or JSON lines."),
    ] = None,
    json: Annotated[
        pathlib.Path | None, typer.Option(metavar="FILE", help="With --answers: write the results as JSON.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace pairs or an output file that exist.")] = False,
) -> None:
    """Ask people which is more believable: what the simulator did, or chance."""
    given = [*(answers or []), *(more or [])]
    folder = out if out is not None else run / "annotate"
    _refuse_mixtures(ask, answers, more, pairs, seed, json, folder)
    if answers:
        _report(folder, given, json, force)
    elif ask is not None:
        _ask(run, folder, ask, pairs, seed)
    else:
        _write(run, folder, pairs, seed, force)


def _refuse_mixtures(
    ask: str | None,
    answers: list[pathlib.Path] | None,
    more: list[pathlib.Path] | None,
    pairs: int | None,
    seed: int | None,
    json: pathlib.Path | None,
    folder: pathlib.Path,
) -> None:
    """Refuse options that do not go together, or out of their range."""
    if ask is not None and answers:
        raise JaxrecoError("--ask asks and --answers reports: give one of the two.")
    if more and not answers:
        raise JaxrecoError(f"There is no use for {more[0]} without --answers: put --answers before the files.")
    if json is not None and not answers:
        raise JaxrecoError("--json writes what answers say: give their files with --answers.")
    if (answers or (ask is not None and (folder / KEY).exists())) and (pairs is not None or seed is not None):
        raise JaxrecoError(f"The pairs in {folder} are there already: leave out --pairs and --seed.")
    if pairs is not None and not 1 <= pairs <= 1000:
        raise JaxrecoError(f"pairs is {pairs}: give a whole number from 1 to 1000.")
    if seed is not None and not 0 <= seed < 2**32:
        raise JaxrecoError(f"seed is {seed}: give a whole number from 0 to {2**32 - 1}.")


# -- writing the pairs -------------------------------------------------------------------------------------------


def _write(run: pathlib.Path, folder: pathlib.Path, count: int | None, seed: int | None, force: bool) -> list[Pair]:
    """Make the pairs, their page and their key. The key is written last: without it there are no pairs."""
    from jaxreco import cli_sessions
    from jaxreco.annotate import page
    from jaxreco.annotate import pairs as blind

    if (folder / KEY).exists() and not force:
        raise JaxrecoError(
            f"{folder} holds pairs already: answer them with --ask NAME, name another folder with --out, or pass --force "
            "to replace them (answers to the old ones will not fit the new)."
        )
    count, seed = PAIRS if count is None else count, 0 if seed is None else seed
    console = Console(stderr=True)
    job, agent_params = cli_sessions.load(run, console)
    with console.status("watching users"):
        made = blind.make(_lives(job, agent_params), job.env, job.params, count, seed)
    if not made:
        raise JaxrecoError(
            f"No user of the run in {run} speaks between two slates, so there is nothing to judge: train in a world whose "
            "users talk, such as Feed-v0."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with files.written_whole(folder / PAGE) as file:
        file.write(page.page(made).encode("utf-8"))
    files.write_json(folder / KEY, {"made": _made(job, seed), "pairs": blind.to_json(made)})
    _announce(made, count, run, folder)
    return made


def _lives(job: Any, agent_params: Any) -> Iterator[Any]:
    """Batches of the lives that `jaxreco sessions` tells, from the first user on."""
    from jaxreco.report.sessions import watch_lives

    key = job.key("sessions")
    for batch in range(BATCHES):
        yield watch_lives(key, job.env, job.params, job.agent, agent_params, USERS, TURNS, batch * USERS)


def _made(job: Any, seed: int) -> dict[str, Any]:
    """How the pairs were made."""
    from jaxreco import provenance

    return {
        "world": job.env.name,
        "world_version": job.env.version,
        "dataset": pathlib.Path(job.config["data"]).name if job.config.get("data") else None,
        "agent": pathlib.Path(job.config["agent"]).name,
        "run_seed": job.config["seed"],
        "seed": seed,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "device": provenance.device(),
    }


def _announce(made: list[Pair], count: int, run: pathlib.Path, folder: pathlib.Path) -> None:
    console = Console(soft_wrap=True)
    kinds = {kind: sum(pair.kind == kind for pair in made) for kind in ("moment", "reason")}
    words = f"{len(made)} pairs: {kinds['moment']} of a moment, {kinds['reason']} of a reason."
    if len(made) < count:
        words += f" {count} were asked for, but users spoke too seldom for more."
    console.print(words, markup=False)
    console.print(f"{folder / PAGE}: give this page to the people who judge.", markup=False)
    console.print(f"{folder / KEY}: tells which side is the simulator's; keep it from them.", markup=False)
    elsewhere = "" if folder == run / "annotate" else f" --out {folder}"
    console.print(f"Then: jaxreco annotate {run}{elsewhere} --answers FILE [FILE]...", markup=False)


def _load(folder: pathlib.Path) -> tuple[list[Pair], dict[str, Any]]:
    """(the pairs of a folder, how they were made). Raises JaxrecoError where there are none."""
    import json

    from jaxreco.annotate import pairs as blind

    path = folder / KEY
    if not path.is_file():
        raise JaxrecoError(f"There are no pairs in {folder}: write them with jaxreco annotate RUN.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        made = content["made"]
        return blind.from_json(content["pairs"]), dict(made)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}): the answers need it, so bring back a copy.") from None


# -- asking ------------------------------------------------------------------------------------------------------


def _ask(run: pathlib.Path, folder: pathlib.Path, person: str, count: int | None, seed: int | None) -> None:
    from jaxreco.annotate import answers, ask

    person = answers.clean(person)
    if not person:
        raise JaxrecoError("--ask needs the name of the person who answers.")
    found = _load(folder)[0] if (folder / KEY).exists() else _write(run, folder, count, seed, force=False)
    path = ask.answers_file(folder, found, person)
    try:
        done = ask.ask(found, person, path, Console())
    except KeyboardInterrupt:
        done = len(ask.answered(path, person, {pair.id for pair in found}))
        print(f"\nstopped: {done} of {len(found)} pairs are answered. The same command goes on.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    rest = "Thank you." if done == len(found) else "The same command goes on."
    print(f"{done} of {len(found)} pairs are answered, in {path}. {rest}")


# -- what the answers say ----------------------------------------------------------------------------------------


def _report(folder: pathlib.Path, given: list[pathlib.Path], json: pathlib.Path | None, force: bool) -> None:
    from jaxreco.annotate import answers, report
    from jaxreco.annotate.summary import missing, summarize

    files.refuse_existing(force, json)
    pairs, made = _load(folder)
    found = answers.read(given, {pair.id for pair in pairs})
    if not found:
        raise DataError(f"{given[0]} holds no answers: every choice in it is empty.")
    summaries, notes = summarize(pairs, found), missing(pairs, found)
    report.show(summaries, notes, Console())
    if json is not None:
        files.write_json(json, report.to_json(summaries, notes, made))
