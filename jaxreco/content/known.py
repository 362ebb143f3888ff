"""What a log itself tells of its items, as vectors."""

from __future__ import annotations

import numpy as np

from jaxreco.content import text
from jaxreco.data.log import Items


def known_of(items: Items) -> tuple[np.ndarray | None, str]:
    """(f32[I, D], where it comes from): `labels` beside texts by LSA; None where a log has neither.

    Texts are told as how they differ from the mean text: what all have in common ("artist") tells nothing, and would outweigh
    what is learned of items by name.
    """
    parts: dict[str, np.ndarray] = {}
    found = labels(items)
    if found is not None:
        parts["codes" if items.categories is None else "categories"] = found
    texts = text.describe(items)
    if any(words.strip() for words in texts):
        vectors, there = text.encode(texts)
        parts["texts by LSA"] = np.where(there[:, None], vectors - vectors[there].mean(axis=0), np.float32(0.0))
    if not parts:
        return None, "none"
    return np.concatenate(list(parts.values()), axis=1), " and ".join(parts)


def labels(items: Items) -> np.ndarray | None:
    """f32[I, D]: an item's categories, or the first level of its published code; of length 1, or 0 for no category.

    Deeper levels of a code are shared by too few items to tell much. None for items with neither.
    """
    if items.categories is not None:
        names = {name: at for at, name in enumerate(sorted({name for row in items.categories for name in row}))}
        table = np.zeros((len(items), len(names)), np.float32)
        for into, row in zip(table, items.categories, strict=True):
            into[[names[name] for name in row]] = 1.0
        return unit(table)
    if items.codes is not None:
        first = items.codes[:, 0]
        return np.eye(int(first.max()) + 1, dtype=np.float32)[first]
    return None


def every_level(codes: np.ndarray) -> np.ndarray:
    """f32[I, D]: of published codes i32[I, L] all levels, 1 for each that another item has too: alone it tells no more than a name."""
    tables = [np.eye(int(level.max()) + 1, dtype=np.float32)[level] for level in codes.T]
    table = np.concatenate(tables, axis=1)
    return table[:, table.sum(axis=0) > 1]


def unit(vectors: np.ndarray) -> np.ndarray:
    """f32[..., D] of length 1; 0 stays 0."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-9)).astype(np.float32)
