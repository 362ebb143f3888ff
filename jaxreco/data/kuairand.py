"""KuaiRand, short videos: every view with eleven kinds of feedback, part of it of videos drawn at random.

Gao et al. 2022, "KuaiRand: an unbiased sequential recommendation dataset with randomly exposed videos"; 1K and Pure.
Format-tested only: the loader has met files that its tests wrote, never the publisher's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxreco.base import CLICK, COMMENT, EXAMINED, LIKE, SHARE
from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError

DEEDS = {"is_click": CLICK, "is_like": LIKE, "is_comment": COMMENT, "is_forward": SHARE}


def files_of(folder: Path) -> list[Path]:
    """The logs in a folder, or in its folder `data`."""
    return sorted(folder.glob("log_*.csv")) or sorted((folder / "data").glob("log_*.csv"))


def load(folder: Path) -> Log:
    """One row a view, of all logs that are there; `watch` is seconds. Raises DataError for files that cannot be read."""
    paths = files_of(folder)
    if not paths:
        raise DataError(f"{folder} holds no logs such as log_standard_4_08_to_4_21_1k.csv: add them.")
    pl = tables.polars()
    whole = ("user_id", "video_id", "time_ms", "play_time_ms", "duration_ms", "is_rand", *DEEDS)
    rows = pl.concat([tables.csv(path, dict.fromkeys(whole, pl.Int64)) for path in paths])
    if not rows.height:
        raise DataError(f"{paths[0]} and the other logs hold no views: download them again.")
    user, user_ids = tables.numbered(rows["user_id"])
    items, known = _items(paths[0].parent, rows)
    actions = np.full(rows.height, EXAMINED, np.int32)
    for name, bit in DEEDS.items():
        actions += np.where(rows[name].to_numpy() > 0, bit, 0).astype(np.int32)
    return Log.of(
        "KuaiRand", user, tables.placed(paths[0], "video", rows["video_id"].to_numpy(), known), items, user_ids,
        time=rows["time_ms"].to_numpy() / 1000.0, actions=actions,
        watch=(rows["play_time_ms"].to_numpy() / 1000.0).astype(np.float32),
    )  # fmt: skip


def _items(folder: Path, rows: Any) -> tuple[Items, np.ndarray]:
    """Every video that was seen or is described: tags, creators, lengths."""
    pl = tables.polars()
    seen = rows["video_id"].to_numpy()
    paths = sorted(folder.glob("video_features_basic_*.csv"))
    wanted = {"video_id": pl.Int64, "author_id": pl.Int64, "video_duration": pl.Float64, "tag": pl.String}
    table = pl.concat([tables.csv(path, wanted) for path in paths]) if paths else pl.DataFrame(schema=wanted)
    ids = np.union1d(seen, table["video_id"].to_numpy())
    tags: list[tuple[str, ...]] = [()] * len(ids)
    seconds, creators = np.full(len(ids), np.nan), [""] * len(ids)
    seconds[np.searchsorted(ids, seen)] = rows["duration_ms"].to_numpy() / 1000.0
    for at, (_, author, length, tag) in zip(
        np.searchsorted(ids, table["video_id"].to_numpy()), table.iter_rows(), strict=True
    ):
        creators[at] = "" if author is None else str(author)
        tags[at] = tuple((tag or "").split(",")) if tag else ()
        seconds[at] = length / 1000.0 if length is not None else seconds[at]
    return Items(ids=ids, seconds=seconds, tags=tuple(tags), creators=tuple(creators)), ids
