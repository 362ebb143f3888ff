"""Last.fm of HetRec 2011: how often people played artists, how they tagged them, and who is whose friend.

Cantador, Brusilovsky & Kuflik 2011, "2nd workshop on information heterogeneity and fusion in recommender systems".
Plays are totals, so the log has an order neither of events nor of sessions; tags have dates.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Items, Log


def load(folder: Path) -> Log:
    """One row for every user and artist it played; `value` is plays. Raises DataError for files that cannot be read."""
    pl = tables.polars()
    number, text = pl.Int64, pl.String
    artists = tables.csv(folder / "artists.dat", {"id": number, "name": text}, separator="\t", quote=None)
    path = folder / "user_artists.dat"
    plays = tables.csv(path, {"userID": number, "artistID": number, "weight": number}, separator="\t")
    ids, user_ids = artists["id"].to_numpy(), np.unique(plays["userID"].to_numpy())
    items = Items(ids=ids, titles=tuple(artists["name"]), tags=_tags(folder, ids))
    return Log.of(
        "Last.fm HetRec",
        tables.placed(path, "user", plays["userID"].to_numpy(), user_ids),
        tables.placed(path, "artist", plays["artistID"].to_numpy(), ids),
        items,
        user_ids,
        value=plays["weight"].to_numpy().astype(np.float32),
        value_unit="plays",
        friends=_friends(folder / "user_friends.dat", user_ids),
    )


def _tags(folder: Path, ids: np.ndarray) -> tuple[tuple[str, ...], ...] | None:
    """The tags of every artist, most given first; None where the files are not there. Artists that nobody lists are left out."""
    given, names = folder / "user_taggedartists.dat", folder / "tags.dat"
    if not given.exists() or not names.exists():
        return None
    pl = tables.polars()
    words = tables.csv(
        names, {"tagID": pl.Int64, "tagValue": pl.String}, separator="\t", quote=None, encoding="latin-1"
    )
    rows = tables.csv(given, {"artistID": pl.Int64, "tagID": pl.Int64}, separator="\t")
    counted = (
        rows.join(words, on="tagID")
        .group_by("artistID", "tagValue")
        .len()
        .sort("artistID", "len", "tagValue", descending=(False, True, False))
    )
    of: dict[int, tuple[str, ...]] = {
        artist: tuple(tags)
        for artist, tags in counted.group_by("artistID", maintain_order=True).agg("tagValue").iter_rows()
    }
    return tuple(of.get(int(artist), ()) for artist in ids)


def _friends(path: Path, user_ids: np.ndarray) -> np.ndarray | None:
    """i32[F, 2], each pair once; the file lists both directions."""
    if not path.exists():
        return None
    pl = tables.polars()
    rows = tables.csv(path, {"userID": pl.Int64, "friendID": pl.Int64}, separator="\t")
    pairs = np.stack([tables.placed(path, "user", rows[name].to_numpy(), user_ids) for name in rows.columns], axis=1)
    return np.unique(np.sort(pairs, axis=1), axis=0)
