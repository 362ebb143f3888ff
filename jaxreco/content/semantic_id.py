"""Semantic IDs: a short code for every item, so that items with a common beginning are alike.

Residual quantisation: each level quantises what the levels before left over (Juang & Gray 1982; for recommendation,
Rajput et al. 2023, "Recommender systems with generative retrieval"). The codebooks are k-means of the residuals. Items that
share a code are parted at the last level.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from jaxreco.content.kmeans import distances, kmeans, nearest
from jaxreco.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class SemanticIds:
    """Codes of items, and what they stand for.

    `codes` i32[I, L], unique rows; `codebooks` f32[L, K, D] (rows of NaN where a level has fewer entries); `found` i32[I, L],
    as quantised, before collisions were resolved; `error` f32[I], share of each item's squared length left over. `known`
    bool[I] is False for an item without a representation: its code only tells it apart, and no figure counts it.
    """

    codes: np.ndarray
    codebooks: np.ndarray
    found: np.ndarray
    error: np.ndarray
    known: np.ndarray

    def report(self) -> dict[str, float]:
        """What is quoted of codes: see `report_on`, and the share of squared length that is left over."""
        figures = report_on(self.found[self.known], self.codebooks.shape[1])
        return figures | {"left_over": float(self.error[self.known].mean())}


def report_on(codes: np.ndarray, size: int) -> dict[str, float]:
    """Of codes i32[I, L] with `size` entries a level.

    Returns: `usage`, the least share of a level's entries in use; `collisions`, the share of items that share their code with
    another; `largest`, the most items with one code.
    """
    _, which, count = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    usage = min(len(np.unique(level)) for level in codes.T) / size
    return {"usage": usage, "collisions": float((count[which.ravel()] > 1).mean()), "largest": float(count.max())}


def published(codes: np.ndarray) -> SemanticIds:
    """Codes i32[I, L] as somebody else made them, with their collisions: no codebooks (D is 0), errors of NaN."""
    codes = np.asarray(codes, np.int32)
    books = np.zeros((codes.shape[1], int(codes.max()) + 1, 0), np.float32)
    return SemanticIds(codes, books, codes, np.full(len(codes), np.nan, np.float32), np.ones(len(codes), bool))


def residual_kmeans(
    points: np.ndarray,
    levels: int = 4,
    size: int = 256,
    seed: int = 0,
    rounds: int = 25,
    known: np.ndarray | None = None,
) -> SemanticIds:
    """Codes by k-means of residuals. points f32[I, D].

    Args: known, bool[I], items with a representation; the codebooks are made of these. All of them without it.

    Raises DataError for points that are not finite, or more than codes can tell apart.
    """
    points, known = quantisable(points, levels, size, known)
    centres, codes, rest = quantised(points, levels, size, np.random.default_rng(seed), rounds, known)
    books = np.full((levels, size, points.shape[1]), np.nan, np.float32)
    for book, found in zip(books, centres, strict=True):
        book[: len(found)] = found
    return SemanticIds(resolved(codes, points, books), books, codes, share_left(points, rest), known)


def quantised(
    points: np.ndarray,
    levels: int,
    size: int,
    rng: np.random.Generator,
    rounds: int = 25,
    known: np.ndarray | slice = slice(None),
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Residual k-means of points f32[I, D], of which those that are `known` make the codebooks.

    Returns: each level's centres f32[at most size, D]; codes i32[I, levels], which items may share; what is left f32[I, D].
    """
    rest, books, codes = points, [], []
    for _ in range(levels):
        centres = kmeans(rest[known], size, rng, rounds)
        code, _ = nearest(rest, centres)
        rest = rest - centres[code]
        books.append(centres)
        codes.append(code)
    return books, np.stack(codes, axis=1), rest


def share_left(points: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """f32[I]: the share of each point's squared length that is left over in `rest`, both f32[I, D]; 0 for a point of none."""
    length = (points**2).sum(axis=1)
    return np.where(length > 1e-12, (rest**2).sum(axis=1) / np.maximum(length, 1e-12), 0.0)


def quantisable(
    points: np.ndarray, levels: int, size: int, known: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(points f32[I, D], which are known bool[I]). Raises DataError where they cannot be told apart by codes."""
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or not points.size:
        raise DataError(f"Items are an array of shape {points.shape}: semantic IDs need one vector an item.")
    known = np.ones(len(points), bool) if known is None else np.asarray(known, bool)
    if not known.any():
        raise DataError("No item has a representation: semantic IDs cannot be made of none.")
    if levels < 1 or size < 1:
        raise DataError(f"{levels} levels of {size} codes: give at least one of each.")
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{len(wrong):,} of {len(points):,} items, such as number {wrong[0]}, have no representation (not a number): "
            "leave them out or fill them in."
        )
    if len(points) > float(size) ** levels:
        raise DataError(f"{len(points):,} items are more than {size}^{levels} codes: give more levels, or larger ones.")
    return points, known


def resolved(codes: np.ndarray, points: np.ndarray, books: np.ndarray) -> np.ndarray:
    """Codes i32[I, L] made unique: of items that share all levels but the last, each gets an entry of its own there.

    Entries are shared out at the least total squared distance (Kuhn 1955). Where a beginning has more items than the last
    level has entries, those that lose least by it move to another beginning, at the level before.
    """
    codes = codes.copy()
    size = books.shape[1]
    if codes.shape[1] > 1:
        _make_room(codes, points, books, size)
    prefix, group = np.unique(codes[:, :-1], axis=0, return_inverse=True)
    group = group.ravel()
    last = np.nan_to_num(books[-1], nan=0.0)
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(len(prefix) + 1))
    _, which, count = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    for shared in np.unique(group[count[which.ravel()] > 1]):
        items = order[bounds[shared] : bounds[shared + 1]]
        rest = points[items] - _sum_of(prefix[shared], books)
        _, entry = linear_sum_assignment(distances(rest, last))
        codes[items, -1] = entry
    return codes


def _sum_of(prefix: np.ndarray, books: np.ndarray) -> np.ndarray:
    return sum((books[level, entry] for level, entry in enumerate(prefix)), np.zeros(books.shape[2], np.float32))


def _make_room(codes: np.ndarray, points: np.ndarray, books: np.ndarray, size: int) -> None:
    """Move items out of beginnings that more than `size` share, in place."""
    there = {tuple(row): int(n) for row, n in zip(*np.unique(codes[:, :-1], axis=0, return_counts=True), strict=True)}
    level = codes.shape[1] - 2
    entries = int(np.isfinite(books[level, :, 0]).sum())
    for beginning, count in list(there.items()):
        if count <= size:
            continue
        items = np.flatnonzero((codes[:, :-1] == beginning).all(axis=1))
        rest = points[items] - _sum_of(np.array(beginning[:-1]), books)
        away = distances(rest, books[level, :entries])
        loss = np.sort(away, axis=1)
        for at in np.argsort(loss[:, 1] - loss[:, 0], kind="stable")[: count - size]:
            for entry in np.argsort(away[at], kind="stable"):
                other = (*beginning[:-1], int(entry))
                if other != beginning and there.get(other, 0) < size:
                    codes[items[at], level] = entry
                    there[other] = there.get(other, 0) + 1
                    there[beginning] -= 1
                    break
            else:
                raise DataError("Too many items are alike for codes of this size: give more levels, or larger ones.")
