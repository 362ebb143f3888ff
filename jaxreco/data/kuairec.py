"""KuaiRec, short videos: who watched what for how long, nearly everything by some people (Gao et al. 2022).

Format-tested only: the loader has met files that its tests wrote, never the publisher's.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from jaxreco.base import EXAMINED
from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError

MATRICES = ("big_matrix.csv", "small_matrix.csv")


def load(folder: Path, matrix: str | None = None) -> Log:
    """One row a view; `watch` is seconds. Of both matrices the big one is read, unless `matrix` names the other.

    Raises DataError for files that cannot be read.
    """
    pl = tables.polars()
    name = matrix or next((name for name in MATRICES if (folder / name).exists()), MATRICES[0])
    path = folder / name
    number = pl.Float64
    wanted = {
        "user_id": pl.Int64,
        "video_id": pl.Int64,
        "play_duration": number,
        "video_duration": number,
        "timestamp": number,
    }
    rows = tables.csv(path, wanted)
    if not rows.height:
        raise DataError(f"{path} holds no views: download it again.")
    user, user_ids = tables.numbered(rows["user_id"])
    categories = _categories(folder / "item_categories.csv")
    ids = np.union1d(rows["video_id"].to_numpy(), np.array(list(categories), np.int64))
    item = tables.placed(path, "video", rows["video_id"].to_numpy(), ids)
    seconds = np.full(len(ids), np.nan)
    seconds[item] = rows["video_duration"].to_numpy() / 1000.0
    items = Items(ids=ids, seconds=seconds, categories=tuple(categories.get(int(id), ()) for id in ids))
    return Log.of(
        f"KuaiRec {path.stem.replace('_', ' ')}", user, item, items, user_ids, time=rows["timestamp"].to_numpy(),
        actions=np.full(rows.height, EXAMINED, np.int32), watch=(rows["play_duration"].to_numpy() / 1000.0).astype(np.float32),
    )  # fmt: skip


def _categories(path: Path) -> dict[int, tuple[str, ...]]:
    """The categories of every video, whose numbers are their names; lists such as [27, 9]."""
    if not path.exists():
        return {}
    pl = tables.polars()
    found = {}
    for row, (id, text) in enumerate(tables.csv(path, {"video_id": pl.Int64, "feat": pl.String}).iter_rows(), start=2):
        try:
            numbers = json.loads(text)
            found[id] = tuple(str(int(number)) for number in numbers)
        except (ValueError, TypeError):
            raise DataError(f"{path}, line {row}: {text!r} is no list of categories: download it again.") from None
    return found
