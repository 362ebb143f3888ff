"""Items by their words: a light encoder that downloads nothing, and any sentence-embedding model that is at hand."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import svds

from jaxreco.data.log import Items
from jaxreco.errors import DataError

WORD = re.compile(r"[^\W_]+", re.UNICODE)
Encoder = Callable[[list[str]], np.ndarray]


class Encoded(NamedTuple):
    """Items as vectors."""

    vectors: np.ndarray  # f32[I, D], unit length, 0 where there is none
    there: np.ndarray  # bool[I]


def describe(items: Items) -> list[str]:
    """One text an item: title, categories, creator, tags (the most given first), description."""
    columns = [
        list(items.titles or ()),
        [" ".join(words) for words in items.categories or ()],
        list(items.creators or ()),
        [" ".join(words) for words in items.tags or ()],
        list(items.texts or ()),
    ]
    return [". ".join(column[i] for column in columns if column and column[i]) for i in range(len(items))]


def encode(texts: Sequence[str], encoder: Encoder | None = None, width: int = 64) -> Encoded:
    """Texts as vectors of unit length; an empty text has none.

    Args:
      encoder: texts -> f32[N, D], such as a sentence-embedding model's `encode`; without one, `lsa` of `width`.

    Raises DataError where an encoder gives something else.
    """
    there = np.array([bool(text.strip()) for text in texts])
    some = [text for text, is_there in zip(texts, there, strict=True) if is_there]
    if not some:
        raise DataError("None of the items has a text: encode something else.")
    found = np.asarray(lsa(some, width) if encoder is None else encoder(some), np.float32)
    if found.ndim != 2 or len(found) != len(some) or not np.isfinite(found).all():
        raise DataError(
            f"The encoder gave an array of shape {found.shape} for {len(some)} texts: it must give one vector a text."
        )
    vectors = np.zeros((len(texts), found.shape[1]), np.float32)
    vectors[there] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return Encoded(vectors, there & (np.linalg.norm(vectors, axis=1) > 0.5))


def lsa(texts: Sequence[str], width: int = 64, rarest: int = 2) -> np.ndarray:
    """f32[N, at most width]: words and pairs of words by tf-idf, in their leading directions (Deerwester et al. 1990).

    Words in fewer than `rarest` texts are left out, but where that would leave nothing.
    """
    counted = [Counter(_terms(text)) for text in texts]
    frequency = Counter(term for terms in counted for term in terms)
    known = {term for term, n in frequency.items() if n >= rarest} or set(frequency)
    index = {term: i for i, term in enumerate(sorted(known))}
    rows, columns, values = [], [], []
    for row, terms in enumerate(counted):
        for term, n in terms.items():
            if term in index:
                rows.append(row)
                columns.append(index[term])
                values.append((1.0 + np.log(n)) * np.log((1 + len(texts)) / (1 + frequency[term])) + 1e-6)
    table = sparse.csr_matrix((values, (rows, columns)), shape=(len(texts), len(index)), dtype=np.float64)
    length = np.maximum(np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel()), 1e-9)
    table = sparse.diags(1.0 / length) @ table
    if min(table.shape) <= width + 1:  # too few for a truncated decomposition
        left, size, _ = np.linalg.svd(table.toarray(), full_matrices=False)
    else:
        left, size, _ = svds(table, k=width, v0=np.random.default_rng(0).normal(size=min(table.shape)))
        left, size = left[:, ::-1], size[::-1]
    found = (left * size)[:, :width]
    return (found * np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])).astype(np.float32)


def _terms(text: str) -> list[str]:
    words = [word.casefold() for word in WORD.findall(text)]
    return words + [f"{a} {b}" for a, b in itertools.pairwise(words)]
