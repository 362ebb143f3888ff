"""Where items lie: a correspondence analysis of who took to what, with what items are listed under as further rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """The `N` cells of a sparse matrix whose columns are items, none of them there twice."""

    row: np.ndarray  # i[N] in [0, number)
    item: np.ndarray  # i[N]
    value: np.ndarray  # f64[N], above 0
    number: int  # of rows


def embeddings(taken: Rows, listed: Rows, n_items: int, n_factors: int, weight: float = 0.3) -> np.ndarray:
    """f64[I, D], unit length: items near each other when the same people liked them; listings help the rare ones.

    Correspondence analysis of the matrix of people and items (Greenacre 1984; as spectral co-clustering, Dhillon 2001):
    each cell, a degree of liking in (0, 1], is divided by the square roots of its row and column sums, and the
    leading singular vectors are kept, less the first, which holds only those sums. Dividing takes popularity out of
    the directions, where it would make every popular item everybody's taste. Listings are further rows, "people" who
    like exactly one category (collective factorisation, Singh & Gordon 2008), holding `weight`**2 of the squared mass
    of the others.

    Args:
      taken: a row a person. listed: a row a category, tag or the like; maybe none.
      n_factors: D, at least 1.

    Raises ValueError when `n_factors` is more than the log can tell apart.
    """
    if n_factors >= min(taken.number, n_items):
        raise ValueError(
            f"n_factors is {n_factors}, but there are {taken.number} people and {n_items} items: choose less than both."
        )
    theirs, own = normalised(taken, n_items, smoothing=5.0), normalised(listed, n_items)
    if len(own):
        own *= weight * np.sqrt(np.sum(theirs**2) / np.sum(own**2))
    both = Rows(
        np.concatenate([taken.row, listed.row + taken.number]),
        np.concatenate([taken.item, listed.item]),
        np.concatenate([theirs, own]),
        taken.number + listed.number,
    )
    strength, direction = leading(both, n_items, n_factors + 1)
    return unit(direction[:, 1:] * strength[1:])


def normalised(cells: Rows, n_items: int, smoothing: float = 0.0) -> np.ndarray:
    """f64[N]: the values over the square roots of their row's and (smoothed) column's sums."""
    rows = np.bincount(cells.row, weights=cells.value, minlength=cells.number)
    columns = np.bincount(cells.item, weights=cells.value, minlength=n_items) + smoothing
    return cells.value / np.sqrt(rows[cells.row] * columns[cells.item])


def leading(cells: Rows, n_items: int, k: int, rounds: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The `k` leading singular values f64[k] and right singular vectors f64[I, k] of a sparse matrix.

    Subspace iteration from a fixed random start (Halko, Martinsson & Tropp 2011, algorithm 4.4): deterministic, and
    a few products where a dense decomposition of a million ratings would take minutes.
    """
    row, item, value, n_rows = cells

    def times(x: np.ndarray, out: np.ndarray, into: np.ndarray, n: int) -> np.ndarray:
        return np.stack([np.bincount(out, weights=value * x[into, j], minlength=n) for j in range(x.shape[1])], axis=1)

    width = min(k + 10, n_rows, n_items)
    basis = np.random.default_rng(0).normal(size=(n_items, width))
    for _ in range(rounds):
        basis = np.linalg.qr(times(times(basis, row, item, n_rows), item, row, n_items))[0]
    _, strength, turn = np.linalg.svd(times(basis, row, item, n_rows), full_matrices=False)
    return strength[:k], (basis @ turn.T)[:, :k]


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros becomes the first axis."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    axis = np.eye(1, x.shape[-1])
    return np.where(length > 1e-12, x / np.maximum(length, 1e-12), axis)
