"""Semantic IDs: k-means against its own definition, unique codes, and what is reported of them."""

from __future__ import annotations

import numpy as np
import pytest

from jaxreco.content import semantic_id
from jaxreco.content.kmeans import distances, kmeans, nearest
from jaxreco.errors import DataError


def blobs(n: int = 300, k: int = 5, width: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around k places far apart, and where each belongs."""
    rng = np.random.default_rng(seed)
    centre = 20.0 * rng.normal(size=(k, width))
    of = rng.integers(k, size=n)
    return (centre[of] + rng.normal(size=(n, width))).astype(np.float32), of


def test_nearest_is_that_of_a_loop() -> None:
    points, _ = blobs(50)
    centres = points[:7]
    code, distance = nearest(points, centres)
    away = np.array([[((p - c) ** 2).sum() for c in centres] for p in points])
    np.testing.assert_array_equal(code, away.argmin(axis=1))
    np.testing.assert_allclose(distance, away.min(axis=1), rtol=1e-4, atol=1e-3)
    assert (distances(points, points).diagonal() < 1e-2).all()


def test_kmeans_finds_what_is_apart() -> None:
    points, of = blobs()
    code, _ = nearest(points, kmeans(points, 5, np.random.default_rng(1)))
    assert len(np.unique(np.stack([code, of]), axis=1).T) == 5  # the same groups, under other names


def test_kmeans_of_few_different_points() -> None:
    points = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    centres = kmeans(points, 8, np.random.default_rng(0))
    np.testing.assert_allclose(np.sort(centres, axis=0), np.sort(np.eye(3), axis=0), atol=1e-6)


def test_points_too_close_to_tell_apart() -> None:
    points = (1000.0 + 1e-4 * np.random.default_rng(0).normal(size=(50, 3))).astype(np.float32)
    centres = kmeans(points, 40, np.random.default_rng(0))
    assert 1 <= len(centres) <= 40
    assert np.isfinite(centres).all()
    alone = semantic_id.residual_kmeans(points[:5] * np.arange(1, 6)[:, None], levels=1, size=8)
    assert len(np.unique(alone.codes)) == 5


def test_no_centre_is_left_without_points() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(500, 4)) * 1e-3, rng.normal(size=(30, 4))]).astype(np.float32)
    centres = kmeans(points, 64, rng)
    assert len(np.unique(nearest(points, centres)[0])) == 64


def test_levels_quantise_what_is_left_over() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 8)).astype(np.float32)
    ids = semantic_id.residual_kmeans(points, levels=3, size=16)
    rest = points - sum(ids.codebooks[level][ids.found[:, level]] for level in range(3))
    np.testing.assert_allclose(ids.error, (rest**2).sum(axis=1) / (points**2).sum(axis=1), rtol=1e-4, atol=1e-6)
    fewer = semantic_id.residual_kmeans(points, levels=2, size=16)
    assert ids.error.mean() < 0.8 * fewer.error.mean()
    again = semantic_id.residual_kmeans(points, levels=3, size=16)
    np.testing.assert_array_equal(ids.codes, again.codes)


def test_codes_are_unique_and_change_at_the_last_level_alone() -> None:
    rng = np.random.default_rng(0)
    points = np.repeat(rng.normal(size=(60, 6)), 5, axis=0).astype(np.float32)  # five copies of each
    points += 1e-4 * rng.normal(size=points.shape).astype(np.float32)
    ids = semantic_id.residual_kmeans(points, levels=3, size=16)
    assert ids.report()["collisions"] > 0.5
    assert semantic_id.report_on(ids.codes, 16)["collisions"] == 0.0
    np.testing.assert_array_equal(ids.codes[:, :-1], ids.found[:, :-1])


def test_a_collision_is_resolved_at_the_least_distance() -> None:
    books = np.array([[[0.0], [9.0]], [[0.0], [1.0]]], np.float32)
    points = np.array([[0.1], [0.4], [9.0]], np.float32)
    codes = semantic_id.resolved(np.array([[0, 0], [0, 0], [1, 0]]), points, books)
    assert codes.tolist() == [[0, 0], [0, 1], [1, 0]]


def test_a_full_beginning_gives_to_the_next() -> None:
    books = np.array([[[0.0], [1.0]], [[0.0], [0.1]]], np.float32)
    points = np.array([[0.0], [0.05], [0.3]], np.float32)  # three items for two entries: the last loses least by moving
    codes = semantic_id.resolved(np.array([[0, 0], [0, 0], [0, 1]]), points, books)
    assert codes[:, 0].tolist() == [0, 0, 1]
    assert len(np.unique(codes, axis=0)) == 3


def test_a_report_by_hand() -> None:
    codes = np.array([[0, 0], [0, 0], [1, 2], [3, 2]])
    assert semantic_id.report_on(codes, 4) == {"usage": 0.5, "collisions": 0.5, "largest": 2.0}


def test_what_cannot_be() -> None:
    with pytest.raises(DataError, match="not a number"):
        semantic_id.residual_kmeans(np.array([[np.nan]]))
    with pytest.raises(DataError, match=r"5 items are more than 2\^2 codes"):
        semantic_id.residual_kmeans(np.zeros((5, 2)), levels=2, size=2)
