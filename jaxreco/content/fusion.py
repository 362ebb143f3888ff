"""Several representations of the same items as one, some of them missing for some items."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxreco.content.text import Encoded
from jaxreco.errors import DataError

WHY = "which can run any code when it is read and is refused: save plain numbers with numpy.save(FILE, array)"


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

    Raises DataError for a file that is none, lacks what is needed, or has rows that are numbers only in part.
    """
    found = _read(path, ("vectors",) if ids is None else ("vectors", "ids"))
    vectors = found if isinstance(found, np.ndarray) else found["vectors"]
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.number):
        raise DataError(
            f"{path} holds an array of shape {vectors.shape} and type {vectors.dtype}: it must be numbers [I, D]."
        )
    if ids is not None and not isinstance(found, np.ndarray):
        at = {str(id): row for row, id in enumerate(found["ids"])}
        if len(at) != len(vectors):
            raise DataError(f"{path} has {len(at)} different ids and {len(vectors)} vectors: give one for each.")
        rows = np.array([at.get(str(id), -1) for id in ids])
        vectors = np.where((rows >= 0)[:, None], vectors[rows], np.nan)
    elif ids is not None and len(ids) != len(vectors):
        raise DataError(f"{path} has {len(vectors)} rows for {len(ids)} items: give one a row, or an .npz with ids.")
    missing = np.isnan(vectors).all(axis=1)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1) & ~missing)
    if len(broken):
        raise DataError(
            f"{path}: {len(broken):,} rows, such as {broken[0]}, have values that are no numbers (NaN or infinite): "
            "mend them, or fill the whole row with NaN where an item has no vector."
        )
    there = ~missing & (vectors != 0).any(axis=1)
    if not there.any():
        raise DataError(f"{path} has no vector for any item (all rows are NaN or 0): encode something else.")
    vectors = np.where(there[:, None], vectors, 0.0).astype(np.float32)
    return Encoded(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), there)


def arrays(path: str | Path, names: Sequence[str], remedy: str = "") -> dict[str, np.ndarray]:
    """Arrays of a .npz file by their names, never from a pickle. Raises DataError for one that is not there or broken.

    Args: remedy: what to do then, where it is not to write the file again.
    """
    try:
        found = _read(str(path), names)
    except DataError as error:
        if not remedy:
            raise
        # All these sentences are what is wrong, a colon, and what to do.
        raise DataError(f"{str(error).rpartition(': ')[0]}: {remedy}.") from None
    if isinstance(found, np.ndarray):
        raise DataError(f"{path} is one array, not an .npz of {', '.join(names)}: write it again.")
    return found


def _read(path: str, names: Sequence[str]) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a .npy, or some of an .npz. Raises DataError for anything else, pickles in the first place."""
    try:
        with open(path, "rb") as raw:
            start = raw.read(4)
            raw.seek(0)
            if start[:1] == b"\x80":  # how pickles begin
                raise DataError(f"{path} is a pickle, {WHY}.")
            if start not in (b"\x93NUM", b"PK\x03\x04"):
                raise DataError(f"{path} is neither .npy nor .npz: save an array with numpy.save.")
            file = np.load(raw, allow_pickle=False)
            return file if isinstance(file, np.ndarray) else {name: _member(path, file, name) for name in names}
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"There is no file {path}: name one that numpy.save or numpy.savez wrote.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): check it and its permissions.") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(_why_not(path, "the array", error)) from None


def _member(path: str, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    if name not in file.files:
        raise DataError(f"{path} has no array {name}: it has {', '.join(file.files) or 'none'}.")
    try:
        return file[name]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(_why_not(path, name, error)) from None


def _why_not(path: str, name: str, error: Exception) -> str:
    if "Object arrays" in str(error):
        return f"{path}: {name} holds Python objects as a pickle, {WHY}."
    return f"{path}: {name} cannot be read ({error}): the file is broken, write it again."
