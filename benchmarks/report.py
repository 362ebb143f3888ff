"""What every benchmark hands back: rows of one schema, and how they were made.

A result without its protocol, its baselines and its spread is not a result: the report prints all of them.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from jaxreco import files, provenance
from jaxreco.report.standing import Estimate
from jaxreco.report.standing import over as over  # of a benchmark's rows too

Say = Callable[[str], None]  # called with what is being done


@dataclasses.dataclass(frozen=True)
class Row:
    """One number. What does not apply is None.

    Args:
      dataset: the data folder's name. protocol: how it was measured. split: "validation" or "test". world: its id.
      agent: any row's name: baseline, agent, user model or rival.
      against: the other row, where the value is a paired comparison with it.
      metric: its name; fractions, not per cent. value: the estimate. low, high: its interval or range.
      n_users, n_seeds: what it rests on. mode: "quick" or "full".
    """

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    dataset: str | None = None
    protocol: str | None = None
    split: str | None = None
    world: str | None = None
    agent: str | None = None
    against: str | None = None
    n_users: int | None = None
    n_seeds: int | None = None
    mode: str | None = None


@dataclasses.dataclass
class Report:
    """Rows, and how they were made.

    Args:
      benchmark: its name. protocol: how it was measured, in words. mode: "quick" or "full".
      rows: the numbers. notes: what is missing, and why.
      tables: the rows as people read them; without any, the rows are listed.
      device: in words; asked of JAX where it is not given. wall_s: seconds of the whole benchmark.
    """

    benchmark: str
    protocol: str
    mode: str
    wall_s: float
    rows: list[Row] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    tables: list[Table] = dataclasses.field(default_factory=list)
    device: str = dataclasses.field(default_factory=provenance.device)
    commit: str | None = dataclasses.field(default_factory=provenance.commit)
    versions: dict[str, str] = dataclasses.field(default_factory=provenance.versions)

    def to_json(self) -> dict[str, Any]:
        """The report as strict JSON can hold it."""
        return files.plain(
            {
                "benchmark": self.benchmark,
                "commit": self.commit,
                "versions": self.versions,
                "device": self.device,
                "wall_s": round(self.wall_s, 1),
                "mode": self.mode,
                "protocol": self.protocol,
                "notes": self.notes,
                "rows": [dataclasses.asdict(row) for row in self.rows],
            }
        )

    def write(self, path: pathlib.Path) -> None:
        """Write the JSON, whole or not at all."""
        files.write_json(path, self.to_json())

    def show(self, console: Console | None = None) -> None:
        """Print the tables, and under them how they were made."""
        console = console or Console()
        console.print(f"[bold]{self.benchmark}[/bold] ({self.mode}): {self.protocol}", soft_wrap=False)
        for table in self.tables or [listed(self.rows)]:
            console.print()
            console.print(table)
        for note in self.notes:
            console.print(f"- {note}", style="yellow", markup=False)
        users = sorted({row.n_users for row in self.rows if row.n_users is not None})
        seeds = sorted({row.n_seeds for row in self.rows if row.n_seeds is not None})
        made = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        console.print(
            f"users: {_listing(users)}; seeds: {_listing(seeds)}; commit: {self.commit or 'none'}", markup=False
        )
        console.print(f"{self.device}; {made}; {self.wall_s:.0f} s", markup=False, highlight=False)


def listed(rows: list[Row]) -> Table:
    """The rows one by one, without the columns that nowhere apply."""
    columns = ["dataset", "world", "protocol", "split", "agent", "against", "n_users", "n_seeds", "metric", "value"]
    columns = [column for column in columns if any(getattr(row, column) is not None for row in rows)]
    table = plain_table(*columns, "interval")
    for row in rows:
        span = "" if row.low is None else f"{number(row.low)} .. {number(row.high)}"
        table.add_row(*(number(getattr(row, column)) for column in columns), span)
    return table


def plain_table(*columns: str, title: str | None = None, words: int = 0) -> Table:
    """An empty table in the common style; the first `words` columns hold words, all others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        if i < words:  # must not shrink to nothing
            table.add_column(column, min_width=12, overflow="fold")
        else:
            table.add_column(column, justify="right", overflow="fold", no_wrap=words > 0)
    return table


def number(value: Any) -> str:
    """A number as people read it: four digits, or whole above a thousand; a dash for nothing."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def short(value: float) -> str:
    """A large number in three digits: 760k, 1.25M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}" if abs(value) < 999.5 * size else f"{value / size:.0f}{letter}"
    return f"{value:.3g}"


def cell(found: Estimate, sign: str = "") -> str:
    """A fraction, and half of its interval."""
    return f"{three(found.value, sign)} ±{three((found.high - found.low) / 2.0)}"


def three(value: float, sign: str = "") -> str:
    """Three digits, without the zero before the point: a table of fractions has to fit 80 columns."""
    return f"{value:{sign}.3f}".replace("0.", ".", 1)


def under(what: str, say: Say) -> Say:
    """Says it of something."""
    return lambda text: say(f"{what}: {text}")


def bar(done: int, total: int) -> str:
    """How far one has come, in words and drawn."""
    width = 20 * done // total
    return f"part {done + 1} of {total} {'━' * width}{'─' * (20 - width)}"


def _listing(values: list[int]) -> str:
    return ", ".join(f"{value:,}" for value in values) or "none"
