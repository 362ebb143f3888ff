"""What items are by who took to them: factors, and weights between items (cosine, EASE). Closed forms, on the host."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy import linalg
from scipy.sparse.linalg import svds

from jaxreco.data.log import Log
from jaxreco.errors import DataError


def interactions(log: Log, weight: np.ndarray | None = None) -> sparse.csr_matrix:
    """f32[U, I]: 1 where a user took to an item, or the greatest `weight` f32[N] of its events with it."""
    values = np.ones(len(log), np.float32) if weight is None else np.asarray(weight, np.float32)
    return greatest(log.user, log.item, values, (log.n_users, log.n_items))


def greatest(user: np.ndarray, item: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """f32[U, I]: the greatest weight f32[N] of each pair of user and item; the shape is (U, I)."""
    place = user.astype(np.int64) * shape[1] + item
    order = np.lexsort((weight, place))
    last = np.append(np.diff(place[order]) > 0, True)[: len(order)]
    kept = order[last]
    return sparse.csr_matrix((weight[kept], (user[kept], item[kept])), shape=shape)


def factors(log: Log, width: int = 64, seed: int = 0) -> np.ndarray:
    """f32[I, width]: items in the leading directions of the interactions, each of unit length or 0 (never touched).

    Truncated SVD of interactions scaled by the square roots of both popularities, as in PureSVD (Cremonesi, Koren & Turrin
    2010) and spectral embeddings; the sign of every direction is fixed, so that equal logs give equal factors.

    Raises DataError for a width that the log cannot fill.
    """
    table = interactions(log)
    if not 0 < width < min(table.shape):
        raise DataError(
            f"{log.name} has {table.shape[0]} users and {table.shape[1]} items: give a width below {min(table.shape)}."
        )
    by_user, by_item = (np.maximum(np.asarray(table.sum(axis=axis)).ravel(), 1.0) for axis in (1, 0))
    scaled = sparse.diags(by_user**-0.5) @ table @ sparse.diags(by_item**-0.5)
    start = np.random.default_rng(seed).normal(size=min(scaled.shape))
    _, size, right = svds(scaled.astype(np.float64), k=width, v0=start)
    order = np.argsort(-size)
    found = (right[order] * size[order, None]).T
    found *= np.sign(found[np.abs(found).argmax(axis=0), np.arange(width)])
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.where(length > 1e-9, found / np.maximum(length, 1e-9), 0.0).astype(np.float32)


def cosine(table: sparse.csr_matrix, shrinkage: float = 10.0, nearest: float = np.inf) -> sparse.csr_matrix:
    """f32[I, I], diagonal 0: how far the same users took to both items, pulled to 0 where few did.

    Cosine with the shrinkage added to the denominator (Deshpande & Karypis 2004; Sarwar et al. 2001 without). An item
    listens to its `nearest` others alone: no column has more entries than that.
    """
    size = np.sqrt(np.asarray(table.multiply(table).sum(axis=0)).ravel())
    near = (table.T @ table).tocoo()
    near.setdiag(0.0)
    near.data = (near.data / np.maximum(size[near.row] * size[near.col] + shrinkage, 1e-12)).astype(np.float32)
    rows = near.tocsr()  # symmetric: its rows are its columns
    for first, end in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        if end - first > nearest:
            one = rows.data[first:end]
            one[np.argpartition(-one, int(nearest))[int(nearest) :]] = 0.0
    rows.eliminate_zeros()
    return rows.T.tocsr()


def ease(table: sparse.csr_matrix, regularisation: float = 200.0) -> np.ndarray:
    """f32[I, I], diagonal 0: what having one item says for another.

    EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data", eq. 8). A user's scores are its row of
    interactions times these weights. It takes 16 I^2 bytes while it works.

    Raises DataError for a regularisation that is not above 0.
    """
    if not regularisation > 0.0:
        raise DataError(f"The regularisation of EASE is {regularisation}: give a number above 0.")
    weights = _inverse_gram(table.astype(np.float64), regularisation)
    weights /= -np.diag(weights)
    weights[np.diag_indices_from(weights)] = 0.0
    return weights.astype(np.float32)


def _inverse_gram(table: sparse.csr_matrix, regularisation: float) -> np.ndarray:
    """f64[I, I]: (X^T X + r 1)^-1. With fewer users than items through the smaller X X^T (Woodbury), far sooner done."""
    n_users, n_items = table.shape
    if n_users < n_items:
        gram = (table @ table.T).toarray()
        gram[np.diag_indices_from(gram)] += regularisation
        inverse = -(table.T @ linalg.cho_solve(linalg.cho_factor(gram, overwrite_a=True), table.toarray()))
        inverse[np.diag_indices_from(inverse)] += 1.0
        return inverse / regularisation
    gram = (table.T @ table).toarray()
    gram[np.diag_indices_from(gram)] += regularisation
    factor, _ = linalg.lapack.dpotrf(gram.T, lower=1, overwrite_a=1)  # a symmetric array is its own Fortran order
    inverse, _ = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse)
    return inverse + np.tril(inverse, -1).T
