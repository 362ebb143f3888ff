"""What items are by who took to them: factors, and EASE's weights between items. Closed forms, on the host."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import svds

from jaxreco.data.log import Log
from jaxreco.errors import DataError


def interactions(log: Log, weight: np.ndarray | None = None) -> sparse.csr_matrix:
    """f32[U, I]: 1 where a user took to an item, or the greatest `weight` f32[N] of its events with it."""
    values = np.ones(len(log), np.float32) if weight is None else np.asarray(weight, np.float32)
    place = log.user.astype(np.int64) * log.n_items + log.item
    order = np.lexsort((values, place))
    last = np.append(np.diff(place[order]) > 0, True)[: len(order)]  # the greatest of each pair
    kept = order[last]
    return sparse.csr_matrix((values[kept], (log.user[kept], log.item[kept])), shape=(log.n_users, log.n_items))


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


def ease(table: sparse.csr_matrix, regularisation: float = 200.0) -> np.ndarray:
    """f32[I, I], diagonal 0: what having one item says for another.

    EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data", eq. 8). A user's scores are its row of
    interactions times these weights. It takes 8 I^2 bytes while it works.
    """
    gram = np.asarray((table.T @ table).todense(), np.float64)
    gram[np.diag_indices_from(gram)] += regularisation
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0.0
    return weights.astype(np.float32)
