"""`jaxreco agents`: an agent of one's own, begun as a copy of one that is there."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from jaxreco import files, registry
from jaxreco.errors import JaxrecoError

app = typer.Typer(no_args_is_help=True, help="Agents of your own: fork one.")


def add(parent: typer.Typer) -> None:
    """Add the commands to the command line."""
    parent.add_typer(app, name="agents")


@app.callback()
def group() -> None:
    """Agents of your own."""


@app.command("fork")
def fork_command(
    name: Annotated[str, typer.Argument(metavar="AGENT", help="The agent to begin with; see jaxreco list.")],
    file: Annotated[pathlib.Path, typer.Argument(metavar="FILE", help="A new Python file, such as my_agent.py.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Copy an agent's file to change it: its path is then the agent's name, in every command."""
    if file.suffix != ".py":
        raise JaxrecoError(f"{file} is no name of a Python file: give one that ends in .py.")
    files.refuse_existing(force, file)
    source = registry.agent_source(name)
    with files.written_whole(file) as out:
        out.write(source.encode())
    path = escape(str(file) if file.is_absolute() else f"./{file}")
    learns = getattr(registry.agent_factory(name)(), "learns", False)
    Console().print(
        f"{path} is a copy of [bold]{name}[/bold]. Change it, and run it: "
        f"[cyan]jaxreco {'train' if learns else 'rollout'} --agent {path}[/cyan]",
        soft_wrap=True,  # to be copied
    )
