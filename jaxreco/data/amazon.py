"""Amazon reviews, 2014 and 2018: JSON lines, plain or gzip, with stars, text and time.

McAuley et al. 2015, "Image-based recommendations on styles and substitutes" (2014); Ni, Li & McAuley 2019, "Justifying
recommendations using distantly-labeled reviews and fine-grained aspects" (2018). Both have the same fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Items, Log, numbered
from jaxreco.errors import DataError

NEEDED = ("reviewerID", "asin", "overall", "unixReviewTime")
PATTERNS = ("*_5.json.gz", "*_5.json", "reviews_*.json.gz", "reviews_*.json")
LONGEST = 2_000  # characters of an item's text: of its first reviews


def file_of(folder: Path) -> Path | None:
    """The reviews in a folder, None where there are none."""
    return next((path for pattern in PATTERNS for path in sorted(folder.glob(pattern))), None)


def load(folder: Path) -> Log:
    """One row a review; `value` is stars. An item's text is its first summaries and reviews, for want of a title.

    Raises DataError for a line that is broken or lacks a field.
    """
    path = file_of(folder)
    if path is None:
        raise DataError(f"{folder} holds no reviews (such as reviews_Musical_Instruments_5.json.gz): add the file.")
    people, products, stars, seconds, words = [], [], [], [], []
    for number, review in tables.json_lines(path):
        missing = [name for name in NEEDED if not isinstance(review, dict) or name not in review]
        if missing:
            raise DataError(
                f"{path}, line {number}: there is no {missing[0]}: mend the line or download the file again."
            )
        wrong = [name for name in ("overall", "unixReviewTime") if not isinstance(review[name], (int, float))]
        if wrong:
            raise DataError(f"{path}, line {number}: {wrong[0]} is {review[wrong[0]]!r}, no number: mend the line.")
        people.append(review["reviewerID"])
        products.append(review["asin"])
        stars.append(review["overall"])
        seconds.append(review["unixReviewTime"])
        words.append(_words(review))
    if not people:
        raise DataError(f"{path} holds no reviews: download it again.")
    user, user_ids = numbered(np.array(people))
    item, ids = numbered(np.array(products))
    time = np.array(seconds, np.float64)
    return Log.of(
        f"Amazon {path.name.split('.')[0]}", user, item, Items(ids=ids, texts=_texts(item, time, words, len(ids))), user_ids,
        time=time, value=np.array(stars, np.float32), value_unit="stars",
    )  # fmt: skip


def _words(review: dict[str, Any]) -> str:
    return " ".join(str(review.get(part) or "") for part in ("summary", "reviewText")).strip()


def _texts(item: np.ndarray, time: np.ndarray, words: list[str], n_items: int) -> tuple[str, ...]:
    texts = [""] * n_items
    for row in np.argsort(time, kind="stable"):
        at = item[row]
        if len(texts[at]) < LONGEST:
            texts[at] = f"{texts[at]} {words[row]}".strip()[:LONGEST]
    return tuple(texts)
