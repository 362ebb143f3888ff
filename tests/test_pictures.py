"""Thumbnails that have to do with their items, and pictures as vectors."""

from __future__ import annotations

import numpy as np
import pytest

import jaxreco
from jaxreco.content import image
from jaxreco.envs.feed_pictures import thumbnails
from jaxreco.errors import DataError


@pytest.fixture(scope="module")
def catalog():
    return jaxreco.make("Feed-v0", n_items=400, n_users=8)[1].catalog


@pytest.fixture(scope="module")
def pictures(catalog):
    return thumbnails(catalog, seed=0)


def explained(features: np.ndarray, target: np.ndarray, ridge: float = 0.1) -> float:
    """The share of held-out items' target [I, D] that a linear map of features [I, F] explains."""
    x = np.c_[features, np.ones(len(features))]
    train, test = np.arange(len(x)) % 4 > 0, np.arange(len(x)) % 4 == 0
    weights = np.linalg.solve(x[train].T @ x[train] + ridge * np.eye(x.shape[1]), x[train].T @ target[train])
    rest = ((target[test] - x[test] @ weights) ** 2).sum()
    return float(1.0 - rest / ((target[test] - target[train].mean(axis=0)) ** 2).sum())


# -- thumbnails ------------------------------------------------------------------------------------------------


def test_a_picture_an_item_by_the_seed(catalog, pictures):
    assert pictures.shape == (400, 32, 32, 3)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, thumbnails(catalog, seed=0))
    assert (pictures != thumbnails(catalog, seed=1)).mean() > 0.5
    assert thumbnails(catalog, seed=0, size=8).shape == (400, 8, 8, 3)


def test_the_world_is_the_same_with_and_without_pictures(catalog):
    before = [np.asarray(leaf).copy() for leaf in vars(catalog).values()]
    thumbnails(catalog)
    for old, new in zip(before, vars(catalog).values(), strict=True):
        np.testing.assert_array_equal(old, np.asarray(new))


def test_pictures_tell_the_category_and_where_in_it_an_item_lies(catalog, pictures):
    vectors = image.encode(pictures).vectors
    category, embedding = np.asarray(catalog.category), np.asarray(catalog.embedding)
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1.0)
    assert (category[alike.argmax(axis=1)] == category).mean() > 0.95
    centres = np.stack([embedding[category == c].mean(axis=0) for c in range(16)])
    assert explained(vectors, embedding - centres[category]) > 0.15  # the category alone would explain nothing of it


def test_a_creator_has_a_style(catalog):
    one = catalog.replace(creator=np.zeros(400), embedding=np.tile(catalog.embedding[0], (400, 1)))
    two = one.replace(creator=np.ones(400))
    category = np.asarray(catalog.category)
    pair = np.flatnonzero(category == category[0])[:2]
    first, second = thumbnails(one), thumbnails(two)
    within = np.abs(first[pair[0]].astype(int) - first[pair[1]]).mean()  # equal but for the grain
    between = np.abs(first[pair[0]].astype(int) - second[pair[0]]).mean()
    assert within < 10.0
    assert between > 1.0


# -- the encoder -----------------------------------------------------------------------------------------------


def test_areas_are_averaged():
    picture = np.zeros((1, 4, 6, 3), np.uint8)
    picture[0, :2, :3] = 255  # the upper left area
    picture[0, 2, 3] = 51  # one of six pixels of the lower right
    small = image.reduced(picture, side=2)
    np.testing.assert_allclose(small[0, :, :, 0], [[1.0, 0.0], [0.0, 51 / 255 / 6]], atol=1e-7)
    np.testing.assert_allclose(image.reduced(picture, side=9), picture / np.float32(255.0))
    uneven = image.reduced(np.full((1, 7, 7, 3), 102, np.uint8), side=3)
    np.testing.assert_allclose(uneven, 0.4, atol=1e-6)


def test_patches_are_evened():
    found = image.evened(np.array([[1.0, 3.0], [5.0, 5.0]]))
    np.testing.assert_allclose(found, [[-1.0 / np.sqrt(1.01), 1.0 / np.sqrt(1.01)], [0.0, 0.0]])


def test_responses_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    pictures = rng.random((2, 9, 8, 3)).astype(np.float32)
    filters = image.Bank(rng.normal(size=108).astype(np.float32), rng.normal(size=(108, 3)).astype(np.float32))
    found = image.responses(pictures, filters).reshape(2, 2, 2, 6)
    answers = np.zeros((2, 4, 3, 6))  # 9 - 6 + 1 rows and 8 - 6 + 1 columns of patches
    for n, i, j in np.ndindex(2, 4, 3):
        patch = pictures[n, i : i + 6, j : j + 6].transpose(2, 0, 1).ravel()
        patch = (patch - patch.mean()) / np.sqrt(patch.var() + image.FLOOR)
        answer = (patch - filters.mean) @ filters.weights
        answers[n, i, j] = [max(a - 0.25, 0.0) for a in answer] + [max(-a - 0.25, 0.0) for a in answer]
    quarters = [
        [answers[:, a, b].mean(axis=(1, 2)) for b in (slice(0, 2), slice(2, 3))] for a in (slice(0, 2), slice(2, 4))
    ]
    np.testing.assert_allclose(found, np.array(quarters).transpose(2, 0, 1, 3), rtol=1e-4, atol=1e-5)


def test_an_even_picture_answers_only_to_the_mean():
    filters = image.Bank(np.zeros(108, np.float32), np.ones((108, 2), np.float32))
    assert not image.responses(np.full((1, 8, 8, 3), 0.3, np.float32), filters).any()


def test_leading_directions_by_hand():
    found = image.leading(np.array([[2.0, 2.0], [-2.0, -2.0], [1.0, -1.0], [-1.0, 1.0]]), width=2)
    root = np.sqrt(2.0)
    np.testing.assert_allclose(np.abs(found), [[2 * root, 0], [2 * root, 0], [0, root], [0, root]], atol=1e-6)
    assert image.leading(np.array([[1.0, 1.0], [3.0, 3.0]]), width=2).shape == (2, 1)  # the second holds nothing


def test_missing_pictures_are_masked(pictures):
    there = np.arange(40) % 4 > 0
    found = image.encode(pictures[:40], there, width=8)
    np.testing.assert_array_equal(found.there, there)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), there, atol=1e-6)
    np.testing.assert_array_equal(found.vectors[there], image.encode(pictures[:40][there], width=8).vectors)


def test_any_encoder(pictures):
    found = image.encode(pictures[:3], encoder=lambda x: x.reshape(len(x), -1)[:, :2] * 0 + [3.0, 4.0])
    np.testing.assert_allclose(found.vectors, [[0.6, 0.8]] * 3)
    zeros = image.encode(pictures[:3], encoder=lambda x: np.eye(3)[:, :2])
    np.testing.assert_array_equal(zeros.there, [True, True, False])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pictures": np.zeros((2, 8, 8), np.uint8)}, "shape"),
        ({"pictures": np.zeros((2, 8, 8, 3))}, "float64"),
        ({"pictures": np.zeros((2, 6, 8, 3), np.uint8)}, "at least 7"),
        ({"pictures": np.zeros((2, 8, 8, 3), np.uint8), "there": [True]}, "marks"),
        ({"pictures": np.zeros((2, 8, 8, 3), np.uint8), "there": [False, False]}, "None of the items"),
        ({"pictures": np.zeros((2, 8, 8, 3), np.uint8), "encoder": lambda x: np.zeros(2)}, "one vector a picture"),
        ({"pictures": np.zeros((2, 8, 8, 3), np.uint8), "encoder": lambda x: np.full((2, 2), np.nan)}, "encoder"),
    ],
)
def test_bad_pictures_are_named(arguments, words):
    with pytest.raises(DataError, match=words):
        image.encode(**arguments)
