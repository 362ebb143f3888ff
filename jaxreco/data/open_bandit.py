"""Open Bandit: a fashion shop that showed three items drawn evenly, and what was clicked (Saito et al. 2021).

People have no ids in it: rows with the same features are taken as one person, which is a guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxreco.base import CLICK, EXAMINED
from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError

CAMPAIGNS = ("all", "men", "women")
FEATURES = tuple(f"user_feature_{i}" for i in range(4))


def files_of(folder: Path) -> list[str]:
    """The campaigns of which the folder holds a file."""
    return [campaign for campaign in CAMPAIGNS if (folder / f"random_{campaign}.csv.gz").exists()]


def load(folder: Path, campaign: str | None = None) -> Log:
    """One row a slot that was shown, of one campaign ("all", "men", "women"), or of all that are there.

    Items of two campaigns are different items. Raises DataError for files that cannot be read.
    """
    campaigns = files_of(folder) if campaign is None else [campaign]
    if not campaigns:
        raise DataError(f"{folder} holds no random_all.csv.gz, random_men.csv.gz or random_women.csv.gz: add one.")
    pl = tables.polars()
    wanted = {
        "timestamp": pl.String,
        "item_id": pl.Int64,
        "position": pl.Int64,
        "click": pl.Int64,
        "propensity_score": pl.Float64,
    }
    parts: list[Any] = []
    ids: list[str] = []
    tags: list[tuple[str, ...]] = []
    for name in campaigns:
        path = folder / f"random_{name}.csv.gz"
        rows = tables.csv(path, wanted | dict.fromkeys(FEATURES, pl.String))
        known = tables.csv(folder / f"random_{name}_item_context.csv", _item_columns(pl))
        item = tables.placed(path, "item", rows["item_id"].to_numpy(), known["item_id"].to_numpy())
        parts.append(rows.with_columns(pl.Series("item", item + len(ids)), pl.lit(name).alias("campaign")))
        ids += [f"{name}/{id}" for id in known["item_id"]]
        tags += [tuple(row[1:]) for row in known.iter_rows()]
    rows = pl.concat(parts)
    who = rows.select(pl.concat_str("campaign", *FEATURES, separator="/"))["campaign"].to_numpy()
    user_ids, user = np.unique(who, return_inverse=True)
    clicked = rows["click"].to_numpy()
    with tables.reading(folder):
        time = rows["timestamp"].str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z").dt.epoch("us").to_numpy() / 1e6
    return Log.of(
        "Open Bandit", user, rows["item"].to_numpy(), Items(ids=np.array(ids), tags=tuple(tags)), user_ids,
        time=time, actions=EXAMINED + CLICK * (clicked > 0), position=rows["position"].to_numpy().astype(np.int32) - 1,
        propensity=rows["propensity_score"].to_numpy().astype(np.float32),
    )  # fmt: skip


def _item_columns(pl: Any) -> dict[str, Any]:
    return {"item_id": pl.Int64, **{f"item_feature_{i}": pl.String for i in range(1, 4)}}
