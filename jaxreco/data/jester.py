"""Jester: jokes rated from -10 to 10 (Goldberg et al. 2001, "Eigentaste"). No times: rows are as in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError


def load(folder: Path) -> Log:
    """One row a rating; `value` is the rating. Raises DataError for files that cannot be read."""
    pl = tables.polars()
    jokes = tables.csv(folder / "jokes.csv", {"joke": pl.Int64, "text": pl.String})
    path = folder / "ratings.csv.gz"
    ratings = tables.csv(path, {"user": pl.Int64, "joke": pl.Int64, "rating": pl.Float32})
    value, ids = ratings["rating"].to_numpy(), jokes["joke"].to_numpy()
    wrong = np.flatnonzero(~(np.abs(value) <= 10.0))
    if len(wrong):
        raise DataError(f"{path}, row {wrong[0] + 1}: the rating is {value[wrong[0]]}, not from -10 to 10: mend it.")
    user_ids = np.unique(ratings["user"].to_numpy())
    user = tables.placed(path, "user", ratings["user"].to_numpy(), user_ids)
    item = tables.placed(path, "joke", ratings["joke"].to_numpy(), ids)
    return Log.of(
        "Jester", user, item, Items(ids=ids, texts=tuple(jokes["text"])), user_ids, value=value, value_unit="rating"
    )
