"""Several representations of the same items as one, some of them missing for some items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxreco.content.text import Encoded
from jaxreco.errors import DataError


def fuse(parts: Sequence[Encoded], weights: Sequence[float] | None = None) -> Encoded:
    """Side by side, each times the root of its weight, so that an inner product is the weighted mean of the parts'.

    An item for which a part is missing has zeros there, and the others count for more: every vector has unit length.

    Raises DataError for parts of different items, or weights that do not fit.
    """
    weights = [1.0] * len(parts) if weights is None else list(weights)
    if not parts or len(weights) != len(parts) or not all(weight > 0 for weight in weights):
        raise DataError(f"{len(parts)} representations and {len(weights)} weights: give one above 0 for each.")
    sizes = {len(part.vectors) for part in parts}
    if len(sizes) > 1:
        raise DataError(f"The representations are of {sorted(sizes)} items: they must be of the same.")
    joined = np.concatenate(
        [np.sqrt(w) * part.vectors * part.there[:, None] for w, part in zip(weights, parts, strict=True)], axis=1
    )
    length = np.linalg.norm(joined, axis=1, keepdims=True)
    return Encoded((joined / np.maximum(length, 1e-9)).astype(np.float32), length[:, 0] > 1e-9)


def loaded(path: str, ids: Sequence[object] | None = None) -> Encoded:
    """Vectors from a .npy or .npz file (never a pickle): f32[I, D], rows of NaN or zeros for items without one.

    Args: ids, of the items in order; with them an .npz is read that has `ids` and `vectors`, in any order.

    Raises DataError for a file that is none, or lacks what is needed.
    """
    try:
        file = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read as .npy or .npz without pickles ({error}): save plain arrays."
        ) from None
    vectors = file if isinstance(file, np.ndarray) else _member(path, file, "vectors")
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.number):
        raise DataError(
            f"{path} holds an array of shape {vectors.shape} and type {vectors.dtype}: it must be numbers [I, D]."
        )
    if ids is not None and not isinstance(file, np.ndarray):
        at = {str(id): row for row, id in enumerate(_member(path, file, "ids"))}
        if len(at) != len(vectors):
            raise DataError(f"{path} has {len(at)} different ids and {len(vectors)} vectors: give one for each.")
        rows = np.array([at.get(str(id), -1) for id in ids])
        vectors = np.where((rows >= 0)[:, None], vectors[rows], np.nan)
    elif ids is not None and len(ids) != len(vectors):
        raise DataError(f"{path} has {len(vectors)} rows for {len(ids)} items: give one a row, or an .npz with ids.")
    there = np.isfinite(vectors).all(axis=1) & (np.abs(np.nan_to_num(vectors)).sum(axis=1) > 0)
    vectors = np.where(there[:, None], vectors, 0.0).astype(np.float32)
    return Encoded(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), there)


def _member(path: str, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    if name not in file.files:
        raise DataError(f"{path} has no array {name}: it has {', '.join(file.files) or 'none'}.")
    try:
        return file[name]
    except ValueError as error:
        raise DataError(f"{path}: {name} cannot be read without pickles ({error}): save plain arrays.") from None
