"""The pairs asked in a terminal, one after the other; every answer is on disk before the next pair is shown."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxreco import files
from jaxreco.annotate import answers
from jaxreco.annotate.page import QUESTIONS
from jaxreco.annotate.pairs import SIDES, Line, Pair, Side, digest

KEYS = {"a": "A", "b": "B", "?": "can't tell"}
STYLES = {"slate": "bold underline", "rest": "dim", "says": "italic", "asked": "bold yellow", "reason": "bold yellow"}
SET_OFF = ("slate", "says", "asked", "reason")  # lines with an empty one above and below
NARROW = 76  # columns below which the sides stand one under the other


def answers_file(folder: pathlib.Path, pairs: list[Pair], person: str) -> pathlib.Path:
    """Where the answers of a person to this set of pairs are kept."""
    name = re.sub(r"[^\w-]+", "_", person)
    return folder / f"answers-{digest(pairs)}-{name}.jsonl"


def ask(pairs: list[Pair], person: str, path: pathlib.Path, console: Console) -> int:
    """Ask a person for every pair that it has not answered yet; the number of pairs it has answered in the end.

    `q` and the end of the input stop. Ctrl-C raises KeyboardInterrupt; what was answered is in the file.

    Raises DataError where the file is there and cannot be read.
    """
    done = answered(path, person, {pair.id for pair in pairs})
    for number, pair in enumerate(pairs, start=1):
        if pair.id in done:
            continue
        _show(pair, f"Pair {number} of {len(pairs)}", console)
        choice = _choice(console)
        if choice is None:
            break
        append(path, {"person": person, "pair": pair.id, "choice": choice})
        done.add(pair.id)
    return len(done)


def answered(path: pathlib.Path, person: str, known: Collection[str]) -> set[str]:
    """The ids of the pairs that a person has answered in a file; none where there is no file."""
    if not path.exists():
        return set()
    return {answer.pair for answer in answers.read([path], known) if answer.person == person}


def append(path: pathlib.Path, row: dict[str, str]) -> None:
    """Add a line of JSON to a file, so that a stop at any moment leaves the old lines or all of them."""
    old = path.read_bytes() if path.exists() else b""
    old += b"\n" if old and not old.endswith(b"\n") else b""
    with files.written_whole(path) as file:
        file.write(old + json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _choice(console: Console) -> str | None:
    """A choice; None to stop."""
    while True:
        try:
            key = console.input("A, B, ? if you cannot tell, q to stop: ").strip().casefold()
        except EOFError:
            return None
        if key in KEYS:
            return KEYS[key]
        if key == "q":
            return None


def _show(pair: Pair, title: str, console: Console) -> None:
    console.print()
    console.rule(title)
    sides = [(name, _text(getattr(pair, name))) for name in SIDES]
    if console.width < NARROW:
        for name, text in sides:
            console.print(Text(f"\n{name}", style="bold"), text, sep="\n")
    else:
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
        for name, _ in sides:
            table.add_column(name, ratio=1, overflow="fold")
        table.add_row(*(text for _, text in sides))
        console.print(table)
    console.print(QUESTIONS[pair.kind])


def _text(side: Side) -> Text:
    """The lines of a side; no markup in them is obeyed."""
    return Text("\n").join(_line(line) for line in side)


def _line(line: Line) -> Text:
    text = Text("\n" if line.what in SET_OFF else "").append(line.text, STYLES.get(line.what, ""))
    if line.deed:
        text.append(f"  {line.deed}", "bold" if line.what == "watched" else "").append(f"\n  {line.facts}", "dim")
    return text.append("\n" if line.what in SET_OFF else "")
