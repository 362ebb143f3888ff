"""What agents see of items: a representation learned from text, pictures or IDs in place of the true embedding.

Users go on judging by the world's own embedding. An agent that reads `catalog.embedding` needs no change.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxreco.base import EnvParams
from jaxreco.errors import DataError


def shown(params: EnvParams, vectors: np.ndarray, there: np.ndarray | None = None) -> EnvParams:
    """The world's parameters with another embedding for agents; privileged agents and users keep the true one.

    Only values change, so that representations of one width share a compilation. Showing another one later, or the
    true one, starts from the truth again.

    Args:
      vectors: f32[I, D'], any length but 0 and any width. there: bool[I], False for an item without a representation, which
        agents see as zeros: alike to nothing. Without it, rows of zeros are those.

    Raises DataError for vectors of other items, or that are not finite.
    """
    vectors = np.asarray(vectors, np.float32)
    n_items = params.catalog.n_items
    if vectors.ndim != 2 or len(vectors) != n_items:
        raise DataError(
            f"The representation has shape {vectors.shape}, and the world {n_items} items: give a row an item."
        )
    there = np.abs(vectors).sum(axis=1) > 0 if there is None else np.asarray(there, bool)
    if there.shape != (n_items,):
        raise DataError(
            f"There are {n_items} items and {len(there)} marks of which have a representation: give one each."
        )
    vectors = np.where(there[:, None], vectors, np.float32(0.0))
    if not np.isfinite(vectors).all():
        bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"The representation of item {bad} is not a number: mark the item as one without, or mend it.")
    if not vectors.any():
        raise DataError("No item has a representation: agents would see nothing.")
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    true = params.truth(params.catalog).embedding
    return params.replace(catalog=params.catalog.replace(embedding=jnp.asarray(vectors)), true_embedding=true)
