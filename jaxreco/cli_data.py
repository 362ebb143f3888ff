"""`jaxreco data`: the logs there are, what one holds, and how to bring one of your own."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxreco.errors import JaxrecoError

if TYPE_CHECKING:
    from jaxreco.data.log import Log

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 48  # columns of the small picture
LISTED = 5  # broken lines that are shown

app = typer.Typer(no_args_is_help=True, help="Real logs: list, inspect, download, convert.")


def add(parent: typer.Typer) -> None:
    """Add the commands to the command line."""
    parent.add_typer(app, name="data")


@app.command("list")
def list_command() -> None:
    """The logs that can be read, whose they are, and what their loaders have met."""
    from jaxreco.data.sets import SETS

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "what", "licence", "tested on"):
        table.add_column(column, overflow="fold")
    for one in SETS:
        table.add_row(f"[cyan]{one.name}[/cyan]", one.title, one.licence, one.met)
    Console().print(table)


@app.command("inspect")
def inspect_command(folder: Annotated[pathlib.Path, typer.Argument(metavar="FOLDER", help="Folder of a log.")]) -> None:
    """Count what a log holds, and draw how much its users did."""
    from jaxreco.data.sets import detect

    found = detect(folder)
    console = Console()
    with Console(stderr=True).status(f"reading {escape(str(folder))}"):
        log = found.load(folder.expanduser())
    table = Table(
        title=escape(log.name), title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False
    )
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in describe(log).items():
        table.add_row(name, escape(words))
    for name, words in (("licence", found.licence), ("citation", found.citation), ("loader tested on", found.met)):
        table.add_row(name, escape(words))
    console.print(table)
    console.print(picture(log), highlight=False)


@app.command("download")
def download_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as movielens-1m.")],
    out: Annotated[pathlib.Path | None, typer.Option(metavar="FOLDER", help="New folder.  [default: NAME]")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="The licence is known and kept: do not ask.")] = False,
) -> None:
    """Fetch a publisher's archive, check it, and unpack it; an interrupted download goes on where it was."""
    from jaxreco.data import download, sets

    found, archive = sets.archive_of(name)
    out = out or pathlib.Path(name)
    if out.exists():
        raise JaxrecoError(f"{out} exists: name a new folder with --out.")
    console = Console()
    console.print(
        f"[bold]{escape(found.title)}[/bold]\nlicence: {escape(found.licence)}\ncitation: {escape(found.citation)}"
    )
    console.print(
        f"from {archive.address}" + ("" if archive.digest else " (its publisher states no checksum)"), highlight=False
    )
    if not yes and not typer.confirm("Do you keep to this licence?"):
        raise typer.Exit(1)
    with _bytes_bar() as bar:
        task = bar.add_task(name, total=None)
        path = download.fetch(
            archive, out.absolute().parent, lambda done, total: bar.update(task, completed=done, total=total)
        )
    with Console(stderr=True).status("unpacking"):
        download.unpack(path, out)
        path.unlink()
    console.print(f"In {escape(str(out))}. Look at it with: jaxreco data inspect {escape(str(out))}", highlight=False)


def _bytes_bar() -> Any:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(compact=True), console=Console(stderr=True), transient=True)


@app.command("convert")
def convert_command(
    csv: Annotated[pathlib.Path, typer.Option(metavar="FILE", help="Events: CSV, plain or gzip, or Parquet.")],
    columns: Annotated[
        str, typer.Option(metavar="OURS=THEIRS,...", help="user=uid,item=vid,time=ts,watch=sec,like=liked")
    ],
    out: Annotated[pathlib.Path, typer.Option(metavar="FOLDER", help="New folder of the log.")],
    items: Annotated[pathlib.Path | None, typer.Option(metavar="FILE", help="What is known of items.")] = None,
    item_columns: Annotated[
        str | None, typer.Option(metavar="OURS=THEIRS,...", help="item=vid,title=name; by default those of our names.")
    ] = None,
    time_unit: Annotated[str, typer.Option(help="Of times that are numbers: s, ms or us.")] = "s",
    value_unit: Annotated[str, typer.Option(help="Of the column for value: stars, plays, ...")] = "",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave broken lines out, count and list them; the default stops at one.")
    ] = False,
) -> None:
    """Read a log of your own, once, into a folder that every command takes as --data."""
    from jaxreco.data import table

    with Console(stderr=True).status(f"reading {escape(str(csv))}"):
        log = table.convert(
            csv, pairs("columns", columns), out, items=items, time_unit=time_unit, value_unit=value_unit,
            item_columns=pairs("item-columns", item_columns) if item_columns else None, skip_bad=skip_bad,
        )  # fmt: skip
    Console().print(
        f"{len(log):,} events of {log.n_users:,} users and {log.n_items:,} items are in {escape(str(out))}."
    )
    if left_out := table.skipped(out):
        Console().print(
            f"Left out: {len(left_out):,} broken line{'s' * (len(left_out) > 1)}, all listed in {escape(str(out / 'skipped.csv'))}:"
        )
        for line, why in left_out[:LISTED]:
            Console().print(f"  line {line:,}: {escape(why)}", highlight=False)


def pairs(option: str, text: str) -> dict[str, str]:
    """`a=b,c=d` as a dictionary. Raises JaxrecoError for anything else."""
    found = {}
    for pair in text.split(","):
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise JaxrecoError(f"--{option} has {pair!r}: write OURS=THEIRS, several with commas between them.")
        if ours.strip() in found:
            raise JaxrecoError(f"--{option} names {ours.strip()} twice: leave one out.")
        found[ours.strip()] = theirs.strip()
    return found


def describe(log: Log) -> dict[str, str]:
    """Counts of a log, in words, by what they are of."""
    import numpy as np

    each = np.diff(log.bounds)
    low, middle, high = np.percentile(each, [25, 50, 75])
    found = {
        "events": f"{len(log):,}",
        "users": f"{log.n_users:,}",
        "items": f"{log.n_items:,} in the catalog, {len(np.unique(log.item)):,} seen",
        "events a user": f"median {middle:,.0f}, half of the users {low:,.0f} to {high:,.0f}, most {each.max():,}",
    }
    if log.time is not None:
        first, last = np.array([log.time.min(), log.time.max()]).astype("datetime64[s]").astype(str)
        found["time"] = f"{first.replace('T', ' ')} to {last.replace('T', ' ')} (UTC)"
        sessions = log.in_sessions()
        how = "its own" if log.session is not None else "cut at pauses of 30 minutes"
        found["sessions"] = f"{len(np.unique(sessions.session)):,}, {how}"  # type: ignore[arg-type]
    else:
        found["time"] = "not known"
    if log.slate is not None:
        found["slates"] = f"{len(np.unique(log.slate)):,}"
    if log.value is not None:
        found["value"] = (
            f"{log.value_unit or 'no unit'}: {log.value.min():g} to {log.value.max():g}, mean {log.value.mean():.2f}"
        )
    if log.friends is not None:
        found["friends"] = f"{len(log.friends):,} pairs"
    known = [name for name in ("actions", "watch", "position", "propensity") if getattr(log, name) is not None]
    content = [
        name
        for name in ("titles", "categories", "creators", "tags", "texts", "seconds", "codes")
        if getattr(log.items, name) is not None
    ]
    found["also known"] = ", ".join(known) or "nothing of events"
    found["of items"] = ", ".join(content) or "nothing"
    return found


def picture(log: Log) -> str:
    """Bars: how many users did how much, from the least to the most, in steps of equal ratio where counts are large."""
    import numpy as np

    each = np.diff(log.bounds)
    each = each[each > 0]
    edges = np.unique(np.geomspace(each.min(), each.max() + 1, WIDTH + 1).round())
    heights, _ = np.histogram(each, bins=edges)
    wide = max(WIDTH // len(heights), 1)  # few different counts: broad bars
    bars = "".join(BARS[-(-8 * int(h) // int(heights.max()))] * wide for h in heights)
    left, right = f"{each.min():,}", f"{each.max():,} events a user"
    return f"users  {bars}\n       {left}{right.rjust(max(len(bars) - len(left), len(right) + 1))}"
