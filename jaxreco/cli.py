"""The command line: `jaxreco list`, `rollout`, `bench`, `train`, `evaluate`.

Heavy modules are imported inside the commands. What a user did wrong is one sentence on stderr and exit status 2.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import traceback
from typing import Annotated, Any

import typer
import typer.core
from rich.console import Console
from rich.table import Table

from jaxreco import (
    cli_agents,
    cli_annotate,
    cli_bench,
    cli_content,
    cli_cotrain,
    cli_data,
    cli_evaluate,
    cli_fit,
    cli_rollout,
    cli_say,
    cli_sessions,
    cli_train,
    registry,
    runtime,
)

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130


class Group(typer.core.TyperGroup):
    """The commands; what the user did wrong becomes one sentence, whichever command it came from."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Exits with 2 after bad input and 130 after Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _complain("stopped.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:  # `jaxreco list | head` is no error
            raise
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            sentence = explain(error)
            if sentence is None or ctx.params.get("debug"):
                raise
            _complain(sentence)
            raise typer.Exit(EXIT_BAD_INPUT) from None


def explain(error: Exception) -> str | None:
    """The sentence for an error that input can cause; None for any other, which is a defect and keeps its traceback."""
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return "out of memory: use fewer users, or shorter histories and trajectories."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}."
    if not isinstance(error, (ValueError, OSError)):
        return None
    sentence = " ".join(line.strip() for line in str(error).splitlines())
    return sentence if _is_ours(error) else f"{sentence} (--debug before the command shows where)"


def _is_ours(error: Exception) -> bool:
    """Whether jaxreco itself raised it, so that the sentence was written for the user."""
    frames = traceback.extract_tb(error.__traceback__)
    library = pathlib.Path(__file__).resolve().parent
    folders = (library, *(library.parent / name for name in ("envs", "agents", "benchmarks")))
    return bool(frames) and any(folder in pathlib.Path(frames[-1].filename).resolve().parents for folder in folders)


def _complain(sentence: str) -> None:
    print(f"jaxreco: {sentence}", file=sys.stderr)


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Recommenders that learn from simulated people who talk back, compiled by JAX.",
    epilog="Environment: JAXRECO_DEVICES=n host devices on CPU (default one a core, at most 8); "
    "JAX_COMPILATION_CACHE_DIR or JAXRECO_NO_CACHE=1 for the cache of compiled programs; JAXRECO_DEBUG=1 tracebacks.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from jaxreco import __version__

        print(f"jaxreco {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(envvar="JAXRECO_DEBUG", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command; `Group` reads `debug`."""


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    settings: Annotated[
        str | None, typer.Option(metavar="WORLD", help="List what --set can change in a world instead.")
    ] = None,
    data: Annotated[pathlib.Path | None, typer.Option(help="Folder of real data, for --settings.")] = None,
) -> None:
    """The worlds, agents and benchmarks there are."""
    if settings is not None:
        _list_settings(settings, data, as_json)
        return
    kinds = {"worlds": "env", "agents": "agent", "benchmarks": "benchmark"}
    found = {title: registry.about(kind) for title, kind in kinds.items()}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for title, entries in found.items():
        Console().print(_two_columns(title, entries))


def _list_settings(world: str, data: pathlib.Path | None, as_json: bool) -> None:
    from jaxreco.settings import scalars

    _, params = registry.make(world, data=data)
    found = scalars(params)
    if as_json:
        print(json.dumps({path: {**s._asdict(), "value": float(s.value)} for path, s in found.items()}, indent=2))
        return
    table = Table(title=f"settings of {world}", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column, right in (("--set", False), ("default", True), ("unit", False), ("what", False)):
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for path, setting in found.items():
        table.add_row(path, f"{setting.value:g}", setting.unit, setting.doc)
    Console().print(table)


def _two_columns(title: str, entries: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True, min_width=16)
    table.add_column(overflow="fold")
    for name, line in entries.items():
        table.add_row(name, line)
    return table


cli_rollout.add(app)
cli_say.add(app)
cli_bench.add(app)
cli_train.add(app)
cli_evaluate.add(app)
cli_sessions.add(app)
cli_agents.add(app)
cli_annotate.add(app)
cli_data.add(app)
cli_fit.add(app)
cli_cotrain.add(app)
cli_content.add(app)


def main() -> None:
    """The entry point `jaxreco`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # XLA's notices are not for the user
    try:
        runtime.prepare()
    except ValueError as error:
        _complain(str(error))
        raise SystemExit(EXIT_BAD_INPUT) from None
    app(prog_name="jaxreco")


if __name__ == "__main__":
    main()
