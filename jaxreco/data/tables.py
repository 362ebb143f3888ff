"""Reading the publishers' files with polars (an extra), and saying in one sentence what is wrong with one."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxreco.data import log
from jaxreco.errors import DataError


def polars() -> Any:
    """The polars module. Raises DataError where it is not installed."""
    try:
        import polars as pl
    except ImportError:
        raise DataError("Reading this log needs polars: pip install 'jaxreco[data]'.") from None
    return pl


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Errors of a file that cannot be read, as a DataError that names it."""
    pl = polars()
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"There is no file {path}: add it, or give another folder.") from None
    except (pl.exceptions.PolarsError, UnicodeDecodeError, json.JSONDecodeError, EOFError, gzip.BadGzipFile) as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} cannot be read ({said}): mend it or download it again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): check it and its permissions.") from None


def csv(
    path: Path, columns: Mapping[str, Any], *, separator: str = ",", header: bool = True, quote: str | None = '"',
    encoding: str = "utf-8",
) -> Any:  # fmt: skip
    """A polars frame of some columns of a delimited file, plain or gzip.

    Args: columns, name -> dtype; with a header those to be read, without one all, in order.

    Raises DataError for a file that is not there, is broken or lacks a column.
    """
    pl = polars()
    if header:
        _refuse_missing(path, columns, separator, encoding)
    names: dict[str, Any] = {} if header else {"new_columns": list(columns)}
    types: dict[str, Any] = {"schema_overrides": dict(columns) if header else list(columns.values())}
    with reading(path):
        source = path if encoding == "utf-8" else path.read_bytes().decode(encoding).encode()
        frame = pl.read_csv(
            source, separator=separator, has_header=header, quote_char=quote, columns=list(columns) if header else None,
            **names, **types,
        )  # fmt: skip
    if header:
        return frame.select(list(columns))
    if frame.width != len(columns):
        raise DataError(
            f"{path} has {frame.width} columns, not {len(columns)} ({', '.join(columns)}): download it again."
        )
    return frame


def parquet(path: Path, columns: list[str]) -> Any:
    """A polars frame of some columns of a Parquet file. Raises DataError as `csv` does."""
    pl = polars()
    with reading(path):
        known = pl.read_parquet_schema(path)
        missing = [name for name in columns if name not in known]
        if missing:
            raise DataError(f"{path} has no column {', '.join(missing)}: it has {', '.join(known)}.")
        return pl.read_parquet(path, columns=columns)


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers and values of a JSON-lines file, plain or gzip. Raises DataError, with the line, at one that is broken."""
    opened = gzip.open if path.suffix == ".gz" else open
    with reading(path), opened(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: {error.msg}: mend the line or download the file again."
                ) from None


def numbered(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """(i32[N] numbers from 0, the unique values in ascending order) of a polars column of whole numbers or strings."""
    pl = polars()
    if column.dtype == pl.String:  # as objects they would take ten times the memory
        unique = column.unique().sort()
        number = column.cast(pl.Enum(unique)).to_physical()
        return number.to_numpy().astype(np.int32), unique.to_numpy().astype(str)
    return log.numbered(column.to_numpy())


def placed(path: Path, what: str, ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """i32[N]: where ids stand in `known`, which is unique. Raises DataError for one that does not."""
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)
    found = order[at]
    wrong = np.flatnonzero(known[found] != ids)
    if len(wrong):
        raise DataError(
            f"{path}, row {wrong[0] + 1}: {what} {ids[wrong[0]]} is not listed: mend it or download it again."
        )
    return found.astype(np.int32)


def _refuse_missing(path: Path, columns: Mapping[str, Any], separator: str, encoding: str) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with reading(path), opened(path, "rt", encoding=encoding.replace("utf-8", "utf-8-sig")) as file:
        first = file.readline().rstrip("\r\n")
    names = [name.strip().strip('"') for name in first.split(separator)]
    missing = [name for name in columns if name not in names]
    if missing:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise DataError(f"{path} has no column {', '.join(missing)}: its header is {shown}.")
