"""People's answers to the pairs: read from files of comma-separated values or JSON lines, checked line by line."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import pathlib
import unicodedata
from collections.abc import Collection, Iterator, Sequence

from jaxreco.errors import DataError

CHOICES = ("A", "B", "can't tell")
FIELDS = ("person", "pair", "choice")
_MEANT = {"a": "A", "b": "B", "can't tell": "can't tell", "cannot tell": "can't tell", "?": "can't tell"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one person chose of one pair; `where` names the file and line for people."""

    person: str
    pair: str
    choice: str
    where: str


def read(paths: Sequence[pathlib.Path], known: Collection[str]) -> list[Answer]:
    """All answers of the files, in their order. Lines without a choice are missing answers, and left out.

    Args:
      paths: files of comma-separated values with the columns person, pair and choice, or of one JSON object a line
        with these names.
      known: the ids of the pairs.

    Raises DataError, naming file and line, for what cannot be read, an unknown pair or choice, and a second answer of
    the same person to the same pair.
    """
    found: dict[tuple[str, str], Answer] = {}
    for path in paths:
        for where, row in _rows(path):
            answer = _answer(where, row, known)
            if answer is None:
                continue
            before = found.setdefault((answer.person, answer.pair), answer)
            if before is not answer:
                raise DataError(
                    f"{where}: {answer.person} has answered pair {answer.pair} before, in {before.where}: keep one of the "
                    "two lines."
                )
    return list(found.values())


def _answer(where: str, row: dict[str, str], known: Collection[str]) -> Answer | None:
    """The answer of a row; None where it holds no choice."""
    if not row["person"]:
        raise DataError(f"{where}: the person is missing: write who answered.")
    if row["pair"] not in known:
        raise DataError(
            f"{where}: there is no pair {row['pair']!r} in this key: is the answer to another set of pairs?"
        )
    if not row["choice"]:
        return None
    meant = _MEANT.get(row["choice"].replace("\u2019", "'").casefold())
    if meant is None:
        raise DataError(f"{where}: {row['choice']!r} is no choice: write A, B or can't tell.")
    return Answer(row["person"], row["pair"], meant, where)


def _rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
    """("FILE, line N", {person, pair, choice}) of every line that is not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as UTF-8.") from None
    if not text.strip():
        raise DataError(f"{path} is empty: give a file with answers.")
    read = _json_rows if text.lstrip().startswith("{") else _csv_rows
    for number, row in read(path, text):
        yield f"{path}, line {number}", {field: clean(row[field]) for field in FIELDS}


def _json_rows(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            raise DataError(
                f"{path}, line {number} is no JSON: was it cut off? Mend the line or take it out."
            ) from None
        if not isinstance(row, dict) or not {"person", "pair"} <= row.keys():
            raise DataError(f"{path}, line {number} lacks person or pair: write one object with {', '.join(FIELDS)}.")
        row = {field: "" if row.get(field) is None else row[field] for field in FIELDS}
        if not all(isinstance(value, str) for value in row.values()):
            raise DataError(f"{path}, line {number}: {', '.join(FIELDS)} must be text in quotes.")
        yield number, row


def _csv_rows(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        columns = [name.strip().casefold() for name in next(reader)]
        if not set(FIELDS) <= set(columns):
            raise DataError(f"{path}, line 1 must name the columns {', '.join(FIELDS)}: it says {head.strip()[:60]!r}.")
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns):
                raise DataError(f"{path}, line {reader.line_num} has {len(row)} columns, not {len(columns)}.")
            yield reader.line_num, dict(zip(columns, row, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} cannot be read ({error}): mend the line.") from None


def clean(text: str) -> str:
    """One form for what looks the same: composed, without control characters, with single spaces."""
    text = unicodedata.normalize("NFC", text)
    return " ".join("".join(c for c in text if unicodedata.category(c)[0] != "C" or c.isspace()).split())
