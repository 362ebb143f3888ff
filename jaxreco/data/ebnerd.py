"""EB-NeRD, news of Ekstra Bladet: what came into view, what was clicked, how long was read, in which session.

Kruse et al. 2024, "EB-NeRD: a large-scale dataset for news recommendation". `behaviors.parquet` has a row a slate;
`read_time` is of the page on which the slate was shown, `next_read_time` of the article that was clicked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Items, Log, together
from jaxreco.data.slates import shown_and, unrolled
from jaxreco.errors import DataError

WANTED = ("impression_time", "article_ids_inview", "article_ids_clicked", "user_id", "session_id", "next_read_time")


def load(folder: Path) -> Log:
    """One row an article that came into view; `watch` is seconds read of it. Raises DataError where a column is missing."""
    path = folder / "behaviors.parquet"
    rows = tables.parquet(path, list(WANTED)).sort("user_id", "impression_time", maintain_order=True)
    if not rows.height:
        raise DataError(f"{path} holds no slates: download it again.")
    inview, clicked = rows["article_ids_inview"], rows["article_ids_clicked"]
    slate, position = unrolled(inview.list.len().to_numpy())
    # An empty list, as of clicks in a test part, would explode to a null.
    shown, taken = (lists.explode().drop_nulls().to_numpy() for lists in (inview, clicked))
    did = _clicked(slate, shown, clicked.list.len().to_numpy(), taken)
    # Several clicks from one slate: the time read is known of the first alone, and told of none.
    alone = np.bincount(slate, weights=did, minlength=rows.height) == 1
    read = rows["next_read_time"].fill_null(0.0).to_numpy().astype(np.float32)
    ids = np.unique(np.concatenate([shown, taken, _read_before(folder)]))
    user_ids, user = np.unique(rows["user_id"].to_numpy(), return_inverse=True)
    session = _in_order(rows["session_id"].to_numpy())
    return Log.of(
        "EB-NeRD", user[slate], tables.placed(path, "article", shown, ids), Items(ids=ids), user_ids,
        time=rows["impression_time"].dt.epoch("us").to_numpy()[slate] / 1e6, slate=slate.astype(np.int32), position=position,
        actions=shown_and(did), watch=np.where(did & alone[slate], read[slate], 0.0).astype(np.float32), session=session[slate],
    )  # fmt: skip


def _clicked(slate: np.ndarray, shown: np.ndarray, lengths: np.ndarray, clicked: np.ndarray) -> np.ndarray:
    """bool[N]: which slots were clicked."""
    of, _ = unrolled(lengths)
    pairs, slots = together(of, clicked.astype(np.int64)), together(slate, shown.astype(np.int64))
    return np.isin(slots, pairs)


def _in_order(session: np.ndarray) -> np.ndarray:
    """i32[N]: sessions numbered as they first come."""
    _, first, number = np.unique(session, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number].astype(np.int32)


def _read_before(folder: Path) -> np.ndarray:
    """The articles of the reading histories, where there is such a file."""
    path = folder / "history.parquet"
    if not path.exists():
        return np.zeros(0, np.int64)
    return tables.parquet(path, ["article_id_fixed"])["article_id_fixed"].explode().drop_nulls().to_numpy()
