"""`jaxreco say`: what the parser makes of a sentence, said back."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxreco import cli_world

if TYPE_CHECKING:
    from jaxreco.base import Names
    from jaxreco.talk.parser import Heard, NotUnderstood

EXIT_NOT_UNDERSTOOD = 2


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("say")(say_command)


def say_command(
    text: Annotated[list[str], typer.Argument(help='What you would tell the recommender: "less news, more cooking".')],
    env: Annotated[
        str, typer.Option(help="World whose categories, tags, creators and titles may be named.")
    ] = "Feed-v0",
    data: Annotated[pathlib.Path | None, typer.Option(help="Folder of real data, where the world needs one.")] = None,
    user_model: cli_world.UserModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; several requests are a list.")] = False,
) -> None:
    """Show what a sentence to the recommender is understood to ask for."""
    from jaxreco.talk import parser

    env_, params = cli_world.make_world(env, data=data, user_model=user_model)
    try:
        heard = parser.understand(" ".join(text), env_.names, params.catalog)
    except parser.NotUnderstood as error:
        if not as_json:
            raise
        print(json.dumps(_refusal(error), indent=2))
        raise typer.Exit(EXIT_NOT_UNDERSTOOD) from None
    if as_json:
        found = [_as_json(one) for one in heard]
        print(json.dumps(found if len(found) > 1 else found[0], indent=2))
        return
    _show(heard, env_.names)


def _show(heard: list[Heard], names: Names | None) -> None:
    """Print the requests, the same in the simulator's own words, and what was read otherwise than typed."""
    from jaxreco.talk import english

    console = Console(highlight=False)
    console.print(_table(heard))
    console.print(escape(f"In other words: {' '.join(english.say(one.instruction, names) for one in heard)}"))
    for typed, meant in heard[0].corrections:
        console.print(escape(f'Read "{typed}" as "{meant}".'), style="yellow")


def _as_json(heard: Heard) -> dict[str, Any]:
    """One request. A corrected name stands in `corrected`, all that was read otherwise than typed in `read_as`."""
    corrected = [{"from": typed, "to": meant} for typed, meant in heard.corrections]
    name = [pair for pair in corrected if pair["to"] == heard.target]
    return {
        "understood": True,
        "intent": heard.intent,
        "target_kind": heard.target_kind,
        "target": heard.target,
        "target_id": heard.target_id,
        "category": heard.category,
        "strength": heard.strength,
        "cause": heard.cause,
        **({"corrected": name[0]} if name else {}),
        **({"read_as": corrected} if corrected else {}),
    }


def _refusal(error: NotUnderstood) -> dict[str, Any]:
    """What was not understood, and the names that may have been meant."""
    return {
        "understood": False,
        "reason": error.reason,
        "not_understood": error.words,
        "nearest": list(error.nearest),
    }


def _table(heard: list[Heard]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("intent", "target", "category", "strength", "why"):
        table.add_column(column, overflow="fold")
    for one in heard:
        target = f"{one.target} ({one.target_kind})" if one.target else "-"
        strength = {1: "a little", 2: "plainly", 3: "a lot"}[round(3 * one.strength)]
        why = "-" if one.cause == "none" else one.cause
        table.add_row(*(escape(text) for text in (one.intent, target, one.category or "-", strength, why)))
    return table
