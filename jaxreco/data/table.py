"""Any log: a CSV or Parquet file whose columns are named by whoever brings it, kept in a folder of our own form.

The folder holds `events.parquet`, `items.parquet` and `log.json`; `load` reads it like any publisher's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def convert(
    events: Path, columns: Mapping[str, str], out: Path, *, items: Path | None = None,
    item_columns: Mapping[str, str] | None = None, time_unit: str = "s", value_unit: str = "",
) -> Log:  # fmt: skip
    """Read a table of events and keep it as a folder.

    Args:
      events: CSV (plain or gzip) or Parquet. columns: ours (EVENT) -> the file's; user and item are needed. Deeds are 0 or 1.
      out: a new folder. items, item_columns: the same for items (ITEM); where no columns are given, those of our names are
        taken. time_unit: of times that are numbers, "s", "ms" or "us"; others are dates and hours (ISO 8601, UTC).

    Raises DataError for a column that is not there, a value that cannot be, or a folder that exists.
    """
    if out.exists():
        raise DataError(f"{out} exists: name a new folder.")
    if time_unit not in SECONDS:
        raise DataError(f"The time unit is {time_unit!r}: give s, ms or us.")
    _refuse_unknown(columns, EVENT, ("user", "item"))
    rows = _read(events, columns).sort("user", *(["time"] if "time" in columns else []), maintain_order=True)
    if not rows.height:
        raise DataError(f"{events} holds no events.")
    if "time" in columns:
        rows = rows.with_columns(_seconds(events, rows["time"], time_unit).alias("time"))
    rows = rows.with_columns(*(_numeric(events, rows[name]) for name in (*NUMBERS, *DEEDS) if name in columns))
    pl = tables.polars()
    if items is None:
        table = rows.select(pl.col("item").unique()).sort("item")
    else:
        chosen = item_columns or {name: name for name in ITEM if name in _columns_of(items)}
        _refuse_unknown(chosen, ITEM, ("item",))
        table = _read(items, chosen).unique("item", keep="first", maintain_order=True)
        table = _with_unlisted(table.with_columns(pl.col("item").cast(rows.schema["item"])), rows["item"])
    _write(out, rows, table, {"format": 1, "name": events.name.split(".")[0], "value_unit": value_unit})
    return load(out)


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


def _read(path: Path, columns: Mapping[str, str]) -> Any:
    """A frame of the columns, by our names; rows without a user or an item are refused."""
    pl = tables.polars()
    there = _columns_of(path)
    for theirs in columns.values():
        if theirs not in there:
            raise DataError(f"{path} has no column {theirs!r}.{closest(theirs, there)}")
    with tables.reading(path):
        lazy = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path, infer_schema_length=10_000)
        frame = lazy.select(pl.col(theirs).alias(ours) for ours, theirs in columns.items()).collect(engine="streaming")
    for name in ("user", "item"):
        if name in frame.columns and frame[name].null_count():
            row = int(frame[name].is_null().arg_max()) + 1
            raise DataError(
                f"{path}, row {row}: there is no {name} ({columns[name]}): fill it in or leave the row out."
            )
        if name in frame.columns and not (frame[name].dtype.is_integer() or frame[name].dtype == pl.String):
            frame = frame.with_columns(pl.col(name).cast(pl.String))
    return frame


def _seconds(path: Path, column: Any, unit: str) -> Any:
    """Times as f64 seconds since 1970."""
    pl = tables.polars()
    numbers = column.cast(pl.Float64, strict=False) if not column.dtype.is_temporal() else column.clear()
    if numbers.len() - numbers.null_count() > len(column) / 2:  # one that is none makes all of a column words
        found = numbers / SECONDS[unit]
    else:
        try:
            dates = column if column.dtype.is_temporal() else column.str.to_datetime(time_unit="us", strict=False)
        except pl.exceptions.ComputeError:  # nothing in it looks like a date
            dates = pl.Series([None] * len(column), dtype=pl.Datetime("us"))
        found = dates.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6
    wrong = found.is_null() | ~found.is_finite()
    if wrong.any():
        row = int(wrong.arg_max())
        raise DataError(
            f"{path}, row {row + 1} in order of user: {column[row]!r} is no time: mend it or leave the row out."
        )
    return found


def _numeric(path: Path, column: Any) -> Any:
    pl = tables.polars()
    found = column.cast(pl.Int8 if column.dtype == pl.Boolean else pl.Float64, strict=False)
    wrong = found.is_null() & column.is_not_null()
    if wrong.any():
        raise DataError(
            f"{path}: {column[int(wrong.arg_max())]!r} in the column for {column.name} is no number: mend it."
        )
    kind = {np.float32: pl.Float32, np.int32: pl.Int32}[NUMBERS.get(column.name, np.int32)]
    return found.fill_null(0).cast(kind).alias(column.name)


def _with_unlisted(table: Any, seen: Any) -> Any:
    """The table of items with a row for each that was seen and is not listed."""
    pl = tables.polars()
    missing = seen.unique().sort()
    missing = missing.filter(~missing.is_in(table["item"].implode()))
    return pl.concat([table, pl.DataFrame({"item": missing})], how="diagonal")


def _write(out: Path, rows: Any, table: Any, about: dict[str, Any]) -> None:
    """The folder, whole or not at all."""
    with files.folder_written_whole(out) as folder:
        rows.write_parquet(folder / "events.parquet")
        table.write_parquet(folder / "items.parquet")
        files.write_json(folder / "log.json", about)
