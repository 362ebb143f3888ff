"""Visits without items: when customers of a shop came, and what they spent. For time between visits and drop-out.

Ta-Feng, a supermarket (Hsu, Chung & Huang 2004, "Mining skewed and sparse transaction data for personalized shopping
recommendation"), and CDNOW, a music shop (Fader & Hardie 2001, "Forecasting repeat sales at CDNOW"). One item stands
for the shop.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError


class Shop(NamedTuple):
    """How a shop's file looks."""

    name: str
    file: str
    customer: str
    day: str
    format: str  # of days
    spent: str
    unit: str


SHOPS = (
    Shop("Ta-Feng", "visits.csv.gz", "CUSTOMER_ID", "TRANSACTION_DT", "%Y-%m-%d", "spend", "dollars (Taiwan)"),
    Shop("CDNOW", "purchases.csv.gz", "customer_id", "date", "%Y%m%d", "dollars", "dollars"),
)


def load(folder: Path) -> Log:
    """One row a visit, at midnight of its day; `value` is what was spent. Raises DataError for files that cannot be read."""
    shop = next((shop for shop in SHOPS if (folder / shop.file).exists()), None)
    if shop is None:
        raise DataError(f"{folder} holds neither {' nor '.join(shop.file for shop in SHOPS)}: add the file.")
    pl = tables.polars()
    path = folder / shop.file
    table = tables.csv(path, {shop.customer: pl.String, shop.day: pl.String, shop.spent: pl.Float32})
    seconds = days(path, table[shop.day], shop.format)
    user_ids, user = np.unique(table[shop.customer].to_numpy(), return_inverse=True)
    items, value = Items(ids=np.array([shop.name])), table[shop.spent].to_numpy()
    return Log.of(
        shop.name, user, np.zeros(len(user)), items, user_ids, time=seconds, value=value, value_unit=shop.unit
    )


def days(path: Path, column: Any, format: str) -> np.ndarray:
    """f64[N] seconds since 1970 (UTC) of dates. Raises DataError for one that is none."""
    found = column.str.to_date(format, strict=False)
    if found.null_count():
        row = int(found.is_null().arg_max())
        raise DataError(
            f"{path}, row {row + 1}: {column[row]!r} is no date such as {format}: mend it or download it again."
        )
    return found.to_physical().to_numpy().astype(np.float64) * 86_400.0
