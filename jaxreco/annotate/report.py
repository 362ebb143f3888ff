"""The answers' summary as a table for people and as rows for programs."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from jaxreco.annotate.summary import Summary


def show(summaries: list[Summary], notes: list[str], console: Console) -> None:
    """Print the table, what a reader must know of it, and the notes on missing answers."""
    console.print(_table(summaries))
    for line in _remarks(summaries):
        console.print(line, markup=False, highlight=False)
    for line in notes:
        console.print(f"- {line}", style="yellow", markup=False, highlight=False)


def _table(summaries: list[Summary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    measure = next((one.measure for one in summaries if one.measure), "kappa").replace(" ", "\n")
    table.add_column("pairs\nof a", no_wrap=True)
    for column in ("pairs", "people", "answers", "prefer the\nsimulated", "95 %\ninterval", "can't\ntell", measure):
        table.add_column(column, justify="right", no_wrap=True)
    for one in summaries:
        interval = "-" if one.share != one.share else f"{one.low:.2f}\u2013{one.high:.2f}"
        counts = (f"{n:,}" for n in (one.pairs, one.people, one.answers))
        table.add_row(one.kind, *counts, _number(one.share), interval, f"{one.undecided:,}", _number(one.kappa))
    return table


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"


def _remarks(summaries: list[Summary]) -> list[str]:
    """What a reader must know of the table."""
    lines = [
        "The share is the mean over pairs, can't tell counted as a half; chance is 0.50. Wilson interval over pairs: "
        "several answers to one pair do not narrow it.",
    ]
    for one in summaries:
        if one.people == 1:
            lines.append(f"{one.kind}: one person answered, so there is no agreement to tell.")
        elif one.people and one.complete < one.pairs:
            lines.append(
                f"{one.kind}: {one.measure} is over the {one.complete} of {one.pairs} pairs that all {one.people} people "
                f"answered; Krippendorff's alpha over every pair that two or more answered is {_number(one.alpha)}."
            )
        elif one.people and one.kappa != one.kappa:
            lines.append(f"{one.kind}: all gave the same answer throughout, so agreement beyond chance cannot be told.")
    return lines


def to_json(summaries: list[Summary], notes: list[str], made: dict[str, Any]) -> dict[str, Any]:
    """The results in the format of all of jaxreco's results; a row's protocol is the kind of pair.

    Args: made: of the key: world, dataset, agent, commit, versions and device of the pairs.
    """
    rows = []
    for one in summaries:
        rows.append(_row(made, one, "preferred", one.share, one.low, one.high))
        values = {name: float(getattr(one, name)) for name in ("people", "answers", "undecided", "alpha")}
        if one.measure:
            values[one.measure.lower().replace("'", "").replace(" ", "_")] = one.kappa
        rows += [_row(made, one, metric, value) for metric, value in values.items()]
    head = {name: made.get(name) for name in ("commit", "versions", "device")}
    protocol = "blind pairs, can't tell counted as a half, Wilson interval over pairs; agreement over complete pairs"
    return {"benchmark": "annotate", **head, "protocol": protocol, "notes": notes, "rows": rows}


def _row(
    made: dict[str, Any], one: Summary, metric: str, value: float, low: float | None = None, high: float | None = None
) -> dict[str, Any]:
    return {
        "dataset": made.get("dataset"),
        "protocol": one.kind,
        "split": None,
        "world": made.get("world"),
        "agent": made.get("agent"),
        "against": "chance" if metric == "preferred" else None,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "n_users": one.pairs,
        "n_seeds": 1,
    }
