"""What items are listed under: one category each, and tags."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

from jaxreco.base import EMPTY

TAGS_PER_ITEM = 8
FREE_TAGS = 200  # at most, each on at least FREE_TAG_ITEMS items
FREE_TAG_ITEMS = 5
OTHER = "Other"


def rarest(listed: Sequence[Sequence[str]], leave_out: Sequence[str] = ()) -> list[str]:
    """[I]: one category an item, the rarest of those it has; OTHER where none is listed.

    The rarest says most (its self-information is highest): "Drama" fits half of all films, "Film-Noir" few.
    """
    count = collections.Counter(name for names in listed for name in names)
    return [
        min((name for name in names if name not in leave_out), key=lambda name: (count[name], name), default=OTHER)
        for names in listed
    ]


def tags(
    listed: Sequence[Sequence[str]],
    given: Sequence[Sequence[str]],
    categories: Sequence[str],
    leave_out: Sequence[str] = (),
) -> tuple[np.ndarray, tuple[str, ...]]:
    """i32[I, TAGS_PER_ITEM], EMPTY padded: categories, then the free tags given most often; and their names.

    Args: listed, categories of each item. given, free tags of each, once for each time that it was given. categories, all of
      them. leave_out: free tags that say nothing of the item.
    """
    own = [collections.Counter(tag.lower() for tag in tags) for tags in given]
    items = collections.Counter(tag for counter in own for tag in counter if tag not in leave_out)
    known = {name.lower() for name in categories}
    often = [tag for tag, n in items.items() if n >= FREE_TAG_ITEMS and tag not in known]
    free = sorted(often, key=lambda tag: (-items[tag], tag))[:FREE_TAGS]
    names = (*categories, *free)
    index = {name: i for i, name in enumerate(names)}
    table = np.full((len(listed), TAGS_PER_ITEM), EMPTY, np.int32)
    for i, (ours, counter) in enumerate(zip(listed, own, strict=True)):
        best = sorted((tag for tag in counter if tag in index), key=lambda tag: (-counter[tag], index[tag]))
        ids = [index[tag] for tag in (*ours, *best)][:TAGS_PER_ITEM]
        table[i, : len(ids)] = ids
    return table, names
