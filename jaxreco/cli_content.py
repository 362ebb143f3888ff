"""`jaxreco content`: what items are, as vectors and semantic IDs in a folder that other commands take as --content."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from jaxreco.content.store import Content

METHODS = {"rq": "an RQ-VAE", "kmeans": "residual k-means", "published": "as published"}

app = typer.Typer(no_args_is_help=True, help="Items as vectors and semantic IDs: encode, inspect.")


def add(parent: typer.Typer) -> None:
    """Add the commands to the command line."""
    parent.add_typer(app, name="content")


@app.command("encode")
def encode_command(
    data: Annotated[pathlib.Path, typer.Option(metavar="FOLDER", help="Folder of a log.")],
    out: Annotated[pathlib.Path, typer.Option(metavar="FOLDER", help="New folder of the content.")],
    text: Annotated[bool, typer.Option("--text", help="Titles, tags and descriptions.")] = False,
    factors: Annotated[bool, typer.Option("--factors", help="Who took to what, in all events of the log.")] = False,
    image: Annotated[
        pathlib.Path | None, typer.Option(metavar="FILE", help="Vectors of pictures: .npy, or .npz with ids.")
    ] = None,
    text_model: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="minilm, or a sentence encoder's folder.  [default: LSA]")
    ] = None,
    width: Annotated[int, typer.Option(min=1, help="Of text by LSA and of factors.")] = 64,
    semantic_ids: Annotated[
        str | None, typer.Option(metavar="METHOD", help="rq (an RQ-VAE), kmeans (residual) or published.")
    ] = None,
    levels: Annotated[int, typer.Option(min=1, help="Of a semantic ID.")] = 4,
    codes: Annotated[int, typer.Option(min=1, help="Entries of a level.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of factors and semantic IDs.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder of content.")] = False,
) -> None:
    """Make vectors and semantic IDs of a log's items, and keep them with what made them."""
    from jaxreco.content import make, store
    from jaxreco.data import sets

    recipe = make.Recipe(
        text, text_model, factors, None if image is None else str(image), width, semantic_ids, levels, codes, seed
    )
    store.refuse_existing(out, force)  # before the work
    with Console(stderr=True).status(f"reading {escape(str(data))}"):
        log = sets.load(data)
    with _bar() as bar:
        task = bar.add_task("encoding", total=None)
        content = make.make(log, recipe, lambda done, total: bar.update(task, completed=done, total=total))
    content.save(out, force)
    show(content, Console())
    Console().print(f"In {escape(str(out))}.", highlight=False)


@app.command("inspect")
def inspect_command(
    folder: Annotated[pathlib.Path, typer.Argument(metavar="FOLDER", help="Folder of content.")],
) -> None:
    """Show what a folder of content holds, how well its codes do, and what made it."""
    from jaxreco.content import store

    content, console = store.load(folder), Console()
    show(content, console)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in origin(content).items():
        table.add_row(name, escape(words))
    console.print(table)


def show(content: Content, console: Console) -> None:
    """Print what is there: the parts, and the semantic IDs."""
    title = f"{content.about.get('data', {}).get('name', 'content')}: {len(content):,} items"
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("part", "width", "items with it", "without"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, part in content.parts.items():
        there = int(part.there.sum())
        table.add_row(f"[cyan]{name}[/cyan]", str(part.vectors.shape[1]), f"{there:,}", f"{len(content) - there:,}")
    if content.parts:
        console.print(table)
    else:
        console.print(f"[bold]{escape(title)}[/bold]")
    if content.semantic is not None:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, words in of_codes(content).items():
            table.add_row(name, words)
        console.print(table)


def of_codes(content: Content) -> dict[str, str]:
    """The semantic IDs' figures, in words."""
    import numpy as np

    from jaxreco.content.semantic_id import report_on

    ids = content.semantic
    assert ids is not None
    method = str((content.about.get("semantic_ids") or {}).get("method"))
    levels, size = ids.codebooks.shape[:2]
    raw, left = ids.report(), report_on(ids.codes, size)
    found = {
        "semantic IDs": f"{levels} levels of {size}, {METHODS.get(method, 'unknown')}, of {ids.known.sum():,} items with a part",
        "usage": f"{100 * raw['usage']:.1f} % of the entries of the level that uses fewest",
        "collisions": f"{100 * raw['collisions']:.2f} % of items share their code, at most {raw['largest']:.0f} one"
        + ("" if method == "published" else f"; once resolved {100 * left['collisions']:.2f} %"),
    }
    if np.isfinite(raw["left_over"]):
        found["left over"] = f"{100 * raw['left_over']:.1f} % of an item's squared length, before that"
    return found


def origin(content: Content) -> dict[str, str]:
    """What made it, in words."""
    about = content.about
    data, recipe, versions = (about.get(name) or {} for name in ("data", "recipe", "versions"))
    asked = [
        f"{name} {value}" if value is not True else name for name, value in recipe.items() if value not in (None, False)
    ]
    return {
        "data": f"{data.get('events', 0):,} events, fingerprint {data.get('fingerprint', 'unknown')}",
        "recipe": ", ".join(asked).replace("_", " "),
        "made with": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def _bar() -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
