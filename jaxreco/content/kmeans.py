"""k-means (Lloyd 1982) for many points and few centres: matrix products in blocks, no centre left without points."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

BLOCK = 16_384  # points at once: a block of distances to 256 centres is 16 MB, one buffer that is used again


def nearest(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(i32[N] nearest centre, f32[N] squared distance to it). points f32[N, D], centres f32[K, D]."""
    code, distance = np.empty(len(points), np.int32), np.empty(len(points), np.float32)
    turned, half = np.ascontiguousarray(centres.T), 0.5 * (centres**2).sum(axis=1)
    block = np.empty((min(BLOCK, len(points)), len(centres)), np.float32)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        away = np.matmul(points[part], turned, out=block[: len(points[part])])
        np.subtract(half, away, out=away)  # half the squared distance, less half of the point's own squared length
        code[part] = away.argmin(axis=1)
        distance[part] = np.take_along_axis(away, code[part, None], axis=1)[:, 0]
    return code, np.maximum(2.0 * distance + (points**2).sum(axis=1), 0.0)


def distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """f32[N, K] squared distances, at least 0."""
    away = (points**2).sum(axis=1)[:, None] - 2.0 * (points @ centres.T) + (centres**2).sum(axis=1)
    return np.maximum(away, 0.0)


def kmeans(points: np.ndarray, size: int, rng: np.random.Generator, rounds: int = 25) -> np.ndarray:
    """f32[K, D] centres, K the lesser of `size` and the number of points that float32 can tell apart.

    It starts from points drawn as in k-means++ (Arthur & Vassilvitskii 2007), in few passes; a centre that loses all its
    points is put where a point is farthest from its own.
    """
    points = np.asarray(points, np.float32)
    centres = _spread(points, min(size, len(np.unique(points, axis=0))), rng)
    ones, bounds = np.ones(len(points)), np.arange(len(points) + 1)
    for _ in range(rounds):
        code, distance = nearest(points, centres)
        count = np.bincount(code, minlength=len(centres))
        total = sparse.csc_matrix((ones, code, bounds), shape=(len(centres), len(points))) @ points
        moved = (total / np.maximum(count, 1)[:, None]).astype(np.float32)
        empty = np.flatnonzero(count == 0)
        moved[empty] = points[np.argsort(-distance, kind="stable")[: len(empty)]]
        if np.allclose(moved, centres, atol=1e-6):
            break
        centres = moved
    return centres


def _spread(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Different points, drawn in proportion to the squared distance from those drawn before, many at a time."""
    chosen = [int(rng.integers(len(points)))]
    distance = distances(points, points[chosen])[:, 0]
    while len(chosen) < size:
        weight = distance.astype(np.float64)
        weight[chosen] = 0.0
        if not weight.any():
            break
        many = min(max(size // 8, 1), size - len(chosen), int((weight > 0).sum()))
        more = rng.choice(len(points), many, replace=False, p=weight / weight.sum())
        fresh = _different(points, chosen, more)
        chosen += fresh
        distance[more] = 0.0  # copies too: rounding may leave them apart from what they are copies of
        if fresh:
            distance = np.minimum(distance, distances(points, points[fresh]).min(axis=1))
    return points[chosen].copy()


def _different(points: np.ndarray, chosen: list[int], more: np.ndarray) -> list[int]:
    """Those of `more` that are no copies of another."""
    seen = {points[i].tobytes() for i in chosen}
    fresh = []
    for i in more.tolist():
        mark = points[i].tobytes()
        if mark not in seen:
            seen.add(mark)
            fresh.append(i)
    return fresh
