"""Any log: a CSV or Parquet file whose columns are named by whoever brings it, kept in a folder of our own form.

The folder holds `events.parquet`, `items.parquet` and `log.json`; `load` reads it like any publisher's. Where broken lines were
left out, `skipped.csv` lists them.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxreco import files
from jaxreco.base import CLICK, COMMENT, EXAMINED, LEAVE, LIKE, SHARE
from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError
from jaxreco.names import closest

DEEDS = {"examined": EXAMINED, "click": CLICK, "like": LIKE, "comment": COMMENT, "share": SHARE, "leave": LEAVE}
NUMBERS = {"watch": np.float32, "value": np.float32, "propensity": np.float32, "position": np.int32}
NAMES = ("slate", "session")  # may be words in the file
EVENT = ("user", "item", "time", *NUMBERS, *NAMES, *DEEDS)
ITEM = ("item", "title", "category", "creator", "tags", "text", "seconds", "published")
SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6}
LATEST = 1e11  # seconds since 1970: the year 5138; later times are in another unit
BATCH = 200_000  # lines with quotes that are parsed at once


def convert(
    events: Path, columns: Mapping[str, str], out: Path, *, items: Path | None = None,
    item_columns: Mapping[str, str] | None = None, time_unit: str = "s", value_unit: str = "", skip_bad: bool = False,
) -> Log:  # fmt: skip
    """Read a table of events and keep it as a folder.

    Args:
      events: CSV (plain or gzip) or Parquet. columns: ours (EVENT) -> the file's; user and item are needed. Deeds are 0 or 1.
      out: a new folder. items, item_columns: the same for items (ITEM); where no columns are given, those of our names are
        taken. time_unit: of times that are numbers, "s", "ms" or "us"; others are dates and hours (ISO 8601, UTC).
      skip_bad: leave broken lines of events out and list them (`skipped`), where otherwise the first one stops.

    Raises DataError for a column that is not there, a line that is broken, or a folder that exists.
    """
    if out.exists():
        raise DataError(f"{out} exists: name a new folder.")
    if time_unit not in SECONDS:
        raise DataError(f"The time unit is {time_unit!r}: give s, ms or us.")
    _refuse_unknown(columns, EVENT, ("user", "item"))
    rows, wrong = _sound(events, _events(events, columns), columns, time_unit)
    if wrong.height and not skip_bad:
        line, why = wrong.row(0)
        raise DataError(f"{events}, {_row(events)} {line}: {why}: mend it, or leave such lines out with --skip-bad.")
    rows = rows.sort("user", *(["time"] if "time" in columns else []), maintain_order=True)
    if not rows.height:
        raise DataError(f"{events} holds no events" + (" that are sound." if wrong.height else "."))
    if "time" in columns and rows["time"].median() > LATEST:
        raise DataError(f"{events} has times after the year 5138: they are in another unit, pass --time-unit ms or us.")
    pl = tables.polars()
    if items is None:
        table = rows.select(pl.col("item").unique()).sort("item")
    else:
        chosen = item_columns or {name: name for name in ITEM if name in _columns_of(items)}
        _refuse_unknown(chosen, ITEM, ("item",))
        table = _read(items, chosen).unique("item", keep="first", maintain_order=True)
        table = _with_unlisted(table.with_columns(pl.col("item").cast(rows.schema["item"])), rows["item"])
    _write(out, rows, table, wrong, {"format": 1, "name": events.name.split(".")[0], "value_unit": value_unit})
    del rows, table  # before the log, which is as large, is in memory too
    return load(out)


def skipped(folder: Path) -> list[tuple[int, str]]:
    """Lines that `convert` left out of a folder, and what was wrong with each."""
    if not (folder / "skipped.csv").exists():
        return []
    with open(folder / "skipped.csv", encoding="utf-8", newline="") as file:
        return [(int(row["line"]), row["why"]) for row in csv.DictReader(file)]


def load(folder: Path) -> Log:
    """The log of a folder that `convert` made. Raises DataError for one that is incomplete."""
    with tables.reading(folder / "log.json"):
        about = json.loads((folder / "log.json").read_text(encoding="utf-8"))
    pl = tables.polars()
    with tables.reading(folder / "events.parquet"):
        rows = pl.read_parquet(folder / "events.parquet")
    with tables.reading(folder / "items.parquet"):
        table = pl.read_parquet(folder / "items.parquet")
    user, user_ids = tables.numbered(rows["user"])
    ids = table["item"]
    order = rows.select("item").join(
        table.select("item").with_row_index("at"), on="item", how="left", maintain_order="left"
    )
    more: dict[str, Any] = {name: rows[name].to_numpy() for name in ("time", *NUMBERS) if name in rows.columns}
    more |= {name: tables.numbered(rows[name])[0] for name in NAMES if name in rows.columns}
    if any(name in rows.columns for name in DEEDS):
        more["actions"] = _actions(rows)
    return Log.of(
        about["name"],
        user,
        order["at"].to_numpy(),
        _items(table, ids),
        user_ids,
        value_unit=about["value_unit"],
        **more,
    )


def _actions(rows: Any) -> np.ndarray:
    actions = np.full(rows.height, 0 if "examined" in rows.columns else EXAMINED, np.int32)
    for name, bit in DEEDS.items():
        if name in rows.columns:
            actions |= np.where(rows[name].to_numpy() > 0, bit, 0).astype(np.int32)
    return actions


def _items(table: Any, ids: Any) -> Items:
    def words(name: str) -> tuple[str, ...] | None:
        return tuple(word or "" for word in table[name]) if name in table.columns else None

    def lists(name: str) -> tuple[tuple[str, ...], ...] | None:
        found = words(name)
        return None if found is None else tuple(tuple(w for w in text.split("|") if w) for text in found)

    def numbers(name: str) -> np.ndarray | None:
        return table[name].cast(float).fill_null(np.nan).to_numpy() if name in table.columns else None

    return Items(
        ids=ids.to_numpy() if ids.dtype.is_integer() else ids.to_numpy().astype(str), titles=words("title"),
        categories=lists("category"), creators=words("creator"), tags=lists("tags"), texts=words("text"),
        seconds=numbers("seconds"), published=numbers("published"),
    )  # fmt: skip


def _refuse_unknown(columns: Mapping[str, str], known: tuple[str, ...], needed: tuple[str, ...]) -> None:
    for name in columns:
        if name not in known:
            raise DataError(f"There is no column {name!r} of ours.{closest(name, known)}")
    for name in needed:
        if name not in columns:
            raise DataError(f"No column is named for {name}: add {name}=COLUMN.")


def _columns_of(path: Path) -> list[str]:
    pl = tables.polars()
    with tables.reading(path):
        if path.suffix == ".parquet":
            return list(pl.read_parquet_schema(path))
        return pl.read_csv(path, n_rows=0).columns


def _refuse_missing(path: Path, columns: Mapping[str, str], there: list[str]) -> None:
    for theirs in columns.values():
        if theirs not in there and len(there) == 1 and any(mark in there[0] for mark in ";\t|"):
            raise DataError(f"{path} has one column, {there[0]!r}: separate its columns by commas.")
        if theirs not in there:
            raise DataError(f"{path} has no column {theirs!r}.{closest(theirs, there)}")


def _read(path: Path, columns: Mapping[str, str]) -> Any:
    """A frame of the columns of items, by our names; rows without an item are refused."""
    pl = tables.polars()
    _refuse_missing(path, columns, _columns_of(path))
    with tables.reading(path):
        lazy = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path, infer_schema_length=10_000)
        frame = lazy.select(pl.col(theirs).alias(ours) for ours, theirs in columns.items()).collect(engine="streaming")
    if frame["item"].null_count():
        row = int(frame["item"].is_null().arg_max()) + 1
        raise DataError(f"{path}, row {row}: there is no item ({columns['item']}): fill it in or leave the row out.")
    if not (frame["item"].dtype.is_integer() or frame["item"].dtype == pl.String):
        frame = frame.with_columns(pl.col("item").cast(pl.String))
    return frame


def _row(path: Path) -> str:
    return "row" if path.suffix == ".parquet" else "line"


def _events(path: Path, columns: Mapping[str, str]) -> Any:
    """A frame of the columns of events by our names, the `line` of each (from 1), and for a broken one `why`, else null.

    Of a CSV the columns are words, None where a field is empty.
    """
    pl = tables.polars()
    if path.suffix == ".parquet":
        _refuse_missing(path, columns, _columns_of(path))
        with tables.reading(path):
            lazy = pl.scan_parquet(path).select(pl.col(theirs).alias(ours) for ours, theirs in columns.items())
            frame = lazy.collect(engine="streaming").with_row_index("line", 1)
        return frame.with_columns(why=pl.lit(None, pl.String))
    there = _header(path)
    _refuse_missing(path, columns, there)
    at = {ours: there.index(theirs) for ours, theirs in columns.items()}
    text = pl.col("text").str.strip_chars_end("\r")
    fields, found = text.str.split_exact(",", len(there)), text.str.count_matches(",", literal=True) + 1
    why = (
        pl.when(text.str.contains("\ufffd", literal=True)).then(pl.lit("it is not UTF-8"))
        .when(found != len(there)).then(pl.format(f"it has {{}} fields, not {len(there)}", found))
    )  # fmt: skip
    words = [fields.struct.field(f"field_{column}").alias(ours) for ours, column in at.items()]
    quoted = text.str.contains('"', literal=True)
    with tables.reading(path):
        lines = pl.scan_csv(
            path, has_header=False, separator="\x1f", quote_char=None, schema={"text": pl.String}, encoding="utf8-lossy",
            truncate_ragged_lines=True, row_index_name="line", row_index_offset=1,
        ).filter((pl.col("line") > 1) & pl.col("text").is_not_null())  # fmt: skip
        plain = lines.filter(~quoted).select("line", *words, why.alias("why")).collect(engine="streaming")
        rest = lines.filter(quoted).select("line", text).collect(engine="streaming")
    frame = pl.concat([plain, *_quoted(rest, at, len(there))])
    return frame.with_columns(pl.when(pl.col(ours) != "").then(pl.col(ours)).alias(ours) for ours in columns)


def _header(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with tables.reading(path), opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])


def _quoted(rest: Any, at: Mapping[str, int], width: int) -> Iterator[Any]:
    """Frames as of `_events` from lines that hold quotes."""
    pl = tables.polars()
    schema = {"line": rest.schema["line"], **dict.fromkeys(at, pl.String), "why": pl.String}
    for part in rest.iter_slices(BATCH):
        found: dict[str, list[Any]] = {name: [] for name in schema}
        for line, text in part.iter_rows():
            try:
                fields = next(csv.reader([text], strict=True))
                why = None if len(fields) == width else f"it has {len(fields)} fields, not {width}"
            except csv.Error:
                fields, why = [], "its quotes are not closed (an event is one line)"
            found["line"].append(line)
            found["why"].append("it is not UTF-8" if "\ufffd" in text else why)
            for ours, column in at.items():
                found[ours].append(fields[column] if column < len(fields) else None)
        yield pl.DataFrame(found, schema=schema)


def _sound(path: Path, rows: Any, columns: Mapping[str, str], time_unit: str) -> tuple[Any, Any]:
    """(events of the right types, the others as a frame of `line` and `why` in their order)."""
    pl = tables.polars()
    typed: dict[str, Any] = {}
    if "time" in columns:
        typed["time"] = _seconds(rows["time"].set(rows["why"].is_not_null(), None), time_unit)
    typed |= {name: _numeric(rows[name]) for name in (*NUMBERS, *DEEDS) if name in columns}
    why = pl.when(pl.col("why").is_not_null()).then(pl.col("why"))
    for name in ("user", "item"):
        why = why.when(pl.col(name).is_null()).then(pl.lit(f"there is no {name} ({columns[name]})"))
    for name, found in typed.items():
        wrong = found.is_null() | found.is_nan() if name == "time" else found.is_null() & rows[name].is_not_null()
        kind = "is no time" if name == "time" else f"in the column for {name} is no number"
        shown = pl.format(f"'{{}}' {kind}", pl.col(name).cast(pl.String).fill_null(""))
        why = why.when(wrong).then(shown)
    broken = rows.select("line", why=why).filter(pl.col("why").is_not_null()).sort("line")
    kept = rows.select(why.is_null().alias("kept"))["kept"]
    frame = rows.select("user", "item", *(name for name in NAMES if name in columns)).with_columns(
        *(found.fill_null(0).alias(name) if name != "time" else found.alias(name) for name, found in typed.items())
    )
    frame = frame.filter(kept).select(*columns)
    return frame.with_columns(_ids(frame[name]) for name in ("user", "item", *NAMES) if name in columns), broken


def _ids(column: Any) -> Any:
    """Whole numbers where all are, words otherwise."""
    pl = tables.polars()
    if column.dtype.is_integer():
        return column
    numbers = column.cast(pl.Int64, strict=False) if column.dtype == pl.String else column.clear()
    return numbers if numbers.len() and numbers.null_count() == column.null_count() else column.cast(pl.String)


def _seconds(column: Any, unit: str) -> Any:
    """Times as f64 seconds since 1970, null for what is none."""
    pl = tables.polars()
    numbers = column.cast(pl.Float64, strict=False) if not column.dtype.is_temporal() else column.clear()
    if (
        numbers.len() - numbers.null_count() > (len(column) - column.null_count()) / 2
    ):  # one that is none makes all of a column words
        found = numbers / SECONDS[unit]
    else:
        try:
            dates = column if column.dtype.is_temporal() else column.str.to_datetime(time_unit="us", strict=False)
        except pl.exceptions.ComputeError:  # nothing in it looks like a date
            dates = pl.Series([None] * len(column), dtype=pl.Datetime("us"))
        found = dates.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6
    return found.set(~found.is_finite(), None)


def _numeric(column: Any) -> Any:
    """Numbers of the column's kind, null for what is none."""
    pl = tables.polars()
    kind = {np.float32: pl.Float32, np.int32: pl.Int32}[NUMBERS.get(column.name, np.int32)]
    if column.dtype == pl.String and column.name in DEEDS:  # also "true" and "false"
        column = column.str.to_lowercase().replace({"true": "1", "false": "0"})
    return column.cast(pl.Int8 if column.dtype == pl.Boolean else pl.Float64, strict=False).cast(kind, strict=False)


def _with_unlisted(table: Any, seen: Any) -> Any:
    """The table of items with a row for each that was seen and is not listed."""
    pl = tables.polars()
    missing = seen.unique().sort()
    missing = missing.filter(~missing.is_in(table["item"].implode()))
    return pl.concat([table, pl.DataFrame({"item": missing})], how="diagonal")


def _write(out: Path, rows: Any, table: Any, wrong: Any, about: dict[str, Any]) -> None:
    """The folder, whole or not at all."""
    with files.folder_written_whole(out) as folder:
        rows.write_parquet(folder / "events.parquet")
        table.write_parquet(folder / "items.parquet")
        files.write_json(folder / "log.json", about)
        if wrong.height:
            wrong.write_csv(folder / "skipped.csv")
