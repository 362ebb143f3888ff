"""Representations of items: EASE against its own definition, factors, words, and several put together."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse

from jaxreco.content import collaborative, fusion, known, text
from jaxreco.content.text import Encoded
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError


def two_tastes(seed: int = 0, users: int = 60, items: int = 20) -> Log:
    """Users of even number take to even items, others to odd ones."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), 6)
    item = 2 * rng.integers(0, items // 2, len(user)) + user % 2
    return Log.of("two tastes", user, item, Items(np.arange(items)), np.arange(users))


def test_interactions_keep_the_greatest_weight() -> None:
    log = Log.of("x", np.array([0, 0, 1]), np.array([1, 1, 0]), Items(np.arange(2)), np.arange(2))
    table = collaborative.interactions(log, np.array([0.2, 0.9, 0.5])).toarray()
    np.testing.assert_allclose(table, [[0.0, 0.9], [0.5, 0.0]])
    np.testing.assert_array_equal(collaborative.interactions(log).toarray(), [[0, 1], [1, 0]])
    empty = Log.of("e", np.zeros(0), np.zeros(0), Items(np.arange(2)), np.arange(2))
    assert collaborative.interactions(empty).nnz == 0


def test_ease_is_the_best_weights_without_a_diagonal() -> None:
    """Each column is a ridge regression of an item on all others."""
    rng = np.random.default_rng(0)
    x, lam = (rng.random((30, 6)) < 0.4).astype(np.float64), 3.0
    weights = collaborative.ease(sparse.csr_matrix(x), lam)
    for item in range(6):
        others = np.delete(np.arange(6), item)
        a = x[:, others]
        ridge = np.linalg.solve(a.T @ a + lam * np.eye(5), a.T @ x[:, item])
        np.testing.assert_allclose(weights[others, item], ridge, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.diag(weights), 0.0)


def test_factors_tell_tastes_apart() -> None:
    log = two_tastes()
    found = collaborative.factors(log, width=2)
    near = found @ found.T
    same = np.arange(20)[:, None] % 2 == np.arange(20) % 2
    assert near[same].min() > 0.9
    assert near[~same].max() < 0.1
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(collaborative.factors(log, width=2, seed=5), found, atol=1e-4)
    with pytest.raises(DataError, match="give a width below 20"):
        collaborative.factors(log, width=20)


TEXTS = ["Guitar songs for the evening", "Evening songs, guitar", "How to bake bread", "Bread: bake it at home", ""]


def test_words_say_what_is_alike() -> None:
    found = text.encode(TEXTS, width=2)
    near = found.vectors @ found.vectors.T
    assert near[0, 1] > 0.9
    assert near[2, 3] > 0.9
    assert near[0, 2] < 0.3
    assert found.there.tolist() == [True, True, True, True, False]
    np.testing.assert_array_equal(found.vectors[4], 0.0)


def test_a_truncated_decomposition_is_the_whole_one_cut_off() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(40)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(80)]
    few, many = text.lsa(texts, 5), text.lsa(texts, 79)
    np.testing.assert_allclose(np.abs(few), np.abs(many[:, :5]), atol=1e-4)


def test_an_encoder_of_ones_own() -> None:
    found = text.encode(TEXTS, lambda texts: np.array([[len(t), 1.0] for t in texts]))
    np.testing.assert_allclose(np.linalg.norm(found.vectors[:4], axis=1), 1.0, rtol=1e-6)
    for bad in (
        lambda texts: np.zeros(3),
        lambda texts: np.full((len(texts), 2), np.nan),
        lambda texts: np.zeros((1, 2)),
    ):
        with pytest.raises(DataError, match="one vector a text"):
            text.encode(TEXTS, bad)
    with pytest.raises(DataError, match="None of the items has a text"):
        text.encode(["", " "])


def test_a_description_holds_what_is_known() -> None:
    items = Items(np.arange(2), titles=("Up", ""), tags=(("a", "b"), ()), texts=("It flies.", ""))
    assert text.describe(items) == ["Up. a b. It flies.", ""]
    assert text.describe(Items(np.arange(2))) == ["", ""]


def test_fusion_by_hand() -> None:
    one = Encoded(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], np.float32), np.array([True, True, False]))
    two = Encoded(np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]], np.float32), np.array([True, False, False]))
    both = fusion.fuse([one, two], [3.0, 1.0])
    np.testing.assert_allclose(both.vectors, [[np.sqrt(0.75), 0, 0, 0.5], [1, 0, 0, 0], [0, 0, 0, 0]], rtol=1e-6)
    assert both.there.tolist() == [True, True, False]
    with pytest.raises(DataError, match="2 representations and 1 weights"):
        fusion.fuse([one, two], [1.0])
    with pytest.raises(DataError, match="of the same"):
        fusion.fuse([one, Encoded(two.vectors[:2], two.there[:2])])


def test_vectors_from_a_file(tmp_path: Path) -> None:
    plain, named, pickled = tmp_path / "a.npy", tmp_path / "a.npz", tmp_path / "b.npy"
    np.save(plain, np.array([[3.0, 4.0], [np.nan, np.nan], [0.0, 0.0]]))
    found = fusion.loaded(str(plain))
    np.testing.assert_allclose(found.vectors, [[0.6, 0.8], [0, 0], [0, 0]], rtol=1e-6)
    assert found.there.tolist() == [True, False, False]
    np.savez(named, ids=np.array(["b", "a"]), vectors=np.eye(2))
    assert fusion.loaded(str(named), ["a", "b", "c"]).there.tolist() == [True, True, False]
    np.testing.assert_array_equal(fusion.loaded(str(named), ["a", "b"]).vectors, np.eye(2)[::-1])
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="as a pickle, which can run any code"):
        fusion.loaded(str(pickled))
    with pytest.raises(DataError, match="3 rows for 2 items"):
        fusion.loaded(str(plain), ["a", "b"])
    np.savez(named, other=np.eye(2))
    with pytest.raises(DataError, match="no array vectors: it has other"):
        fusion.loaded(str(named))


def test_films_of_a_kind_are_near_in_words() -> None:
    from jaxreco.data import sets

    folder = (
        Path(os.environ.get("JAXRECO_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
        / "movielens-latest-small"
    )
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    log = sets.load(folder)
    found = text.encode(text.describe(log.items))
    titles = list(log.items.titles or ())
    toys = found.vectors @ found.vectors[titles.index("Toy Story (1995)")]
    assert "Toy Story 2 (1999)" in {titles[i] for i in np.argsort(-toys)[:4]}


def test_what_a_log_itself_tells_of_its_items() -> None:
    genres = known.labels(Items(np.arange(3), categories=[("war", "love"), (), ("war",)]))
    np.testing.assert_allclose(genres, [[0.5**0.5, 0.5**0.5], [0, 0], [0, 1]], rtol=1e-6)
    codes = known.labels(Items(np.arange(3), codes=np.array([[2, 0], [0, 1], [2, 3]], np.int32)))
    np.testing.assert_array_equal(codes, [[0, 0, 1], [1, 0, 0], [0, 0, 1]])
    deep = known.every_level(np.array([[2, 0], [0, 1], [2, 1]]))
    assert deep.tolist() == [[1, 0], [0, 1], [1, 1]]  # first level 2, second level 1: the others are of one item
    assert known.labels(Items(np.arange(3))) is None
    assert known.known_of(Items(np.arange(3))) == (None, "none")
    assert known.known_of(Items(np.arange(3), titles=["", " ", ""])) == (None, "none")


def test_labels_stand_beside_what_texts_have_of_their_own() -> None:
    titles = ["a war", "", "a love", "the war"]
    items = Items(np.arange(4), titles=titles, codes=np.array([[1], [0], [0], [1]], np.int32))
    vectors, words = known.known_of(items)
    assert vectors is not None
    assert words == "codes and texts by LSA"
    np.testing.assert_array_equal(vectors[:, :2], known.labels(items))
    texts, encoded = vectors[:, 2:], text.encode(titles).vectors
    assert not texts[1].any()
    np.testing.assert_allclose(texts.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(texts[0] - texts[2], encoded[0] - encoded[2], atol=1e-6)
    alike, _ = known.known_of(Items(np.arange(3), titles=["an artist"] * 3))
    np.testing.assert_allclose(alike, 0.0, atol=1e-6)
