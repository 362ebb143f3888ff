"""MIND, news: slates with what was clicked and what was not, and what had been read before (Wu et al. 2020).

`behaviors.tsv` has impression, user, time, history and slate (`N123-1` was clicked, `N123-0` was not); `news.tsv` has
category, subcategory, title, abstract. Times are those of the publisher's own clock, taken as UTC.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.data.slates import shown_and, unrolled
from jaxreco.errors import DataError

BEHAVIORS = ("impression", "user", "time", "history", "shown")
NEWS = ("id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities")
FORMAT = "%m/%d/%Y %I:%M:%S %p"


def load(folder: Path) -> Log:
    """One row a slot that was shown. Histories are not rows: they have no times.

    Raises DataError for a slot that is not an item with 0 or 1.
    """
    pl = tables.polars()
    path = folder / "behaviors.tsv"
    rows = tables.csv(path, dict.fromkeys(BEHAVIORS, pl.String), separator="\t", header=False, quote=None)
    shown = rows["shown"].fill_null("").str.split(" ")
    slate, position = unrolled(shown.list.len().to_numpy())
    slots = (
        shown.explode().str.extract_groups(r"^(\S+)-([01])$").struct.rename_fields(["item", "clicked"]).struct.unnest()
    )
    if slots["item"].null_count():
        row = int(slate[int(slots["item"].is_null().arg_max())])
        raise DataError(
            f"{path}, line {row + 1}: expected slots such as N123-0 or N123-1: mend it or download it again."
        )
    when = rows["time"].str.to_datetime(FORMAT, strict=False)
    if when.null_count():
        row = int(when.is_null().arg_max())
        raise DataError(
            f"{path}, line {row + 1}: {rows['time'][row]!r} is no time such as 11/12/2019 2:14:46 PM: mend it."
        )
    items = _items(folder / "news.tsv", slots["item"].to_numpy(), rows["history"])
    user_ids, user = np.unique(rows["user"].to_numpy(), return_inverse=True)
    return Log.of(
        "MIND", user[slate], tables.placed(path, "item", slots["item"].to_numpy(), items.ids), items, user_ids,
        time=when.dt.epoch("s").to_numpy().astype(np.float64)[slate], slate=slate.astype(np.int32), position=position,
        actions=shown_and(slots["clicked"].to_numpy() == "1"),
    )  # fmt: skip


def _items(path: Path, shown: np.ndarray, histories: Any) -> Items:
    """Every item that was shown, read before or described, in the order of ids; not all are described."""
    pl = tables.polars()
    read = histories.drop_nulls().str.split(" ").explode().drop_nulls().to_numpy()
    table: dict[str, tuple[str, ...]] = {}
    if path.exists():
        news = tables.csv(path, dict.fromkeys(NEWS, pl.String), separator="\t", header=False, quote=None)
        table = {row[0]: tuple(word or "" for word in row[1:5]) for row in news.iter_rows()}
    ids = np.unique(np.concatenate([shown, read, np.array(list(table), dtype=object)]).astype(str))
    found = [table.get(id, ("", "", "", "")) for id in ids]
    return Items(
        ids=ids,
        titles=tuple(row[2] for row in found),
        categories=tuple((row[0],) if row[0] else () for row in found),
        tags=tuple((row[1],) if row[1] else () for row in found),
        texts=tuple(row[3] for row in found),
    )
