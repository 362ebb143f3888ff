"""What follows from a population's tastes and a catalog, and is kept with them so that no turn has to find it again.

Host side, with NumPy, when a world is made.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog
from jaxreco.talk.satisfies import near_categories, tag_categories

NEIGHBOURS = 16  # similar users whose tastes make up "people like me"
ROWS = 512  # of the pool at once: a matrix of the whole pool by the whole catalog would not fit


def known_of(catalog: Catalog, n_categories: int) -> dict[str, Any]:
    """The fields of MindsetParams that follow from the catalog.

    near f32[C, C], tag_category i32[N], usual_seconds and usual_age f32[].
    """
    embedding, category = np.asarray(catalog.embedding), np.asarray(catalog.category)
    return {
        "near": jnp.asarray(near_categories(embedding, category, n_categories)),
        "tag_category": jnp.asarray(tag_categories(np.asarray(catalog.tags), category)),
        "usual_seconds": float(np.exp(np.log(np.asarray(catalog.duration)).mean())),
        "usual_age": float(np.asarray(catalog.age).mean()),
    }


def clickbait(catalog: Catalog) -> jnp.ndarray:
    """f32[I]: a prior. Items far more popular than good look better than they are."""
    fame = np.log(np.asarray(catalog.popularity))
    fame = (fame - fame.mean()) / (fame.std() + 1e-9)
    return jnp.asarray(0.6 * np.clip(fame - np.asarray(catalog.quality) - 1.0, 0.0, 3.0), jnp.float32)


def wishes(taste: np.ndarray, catalog: Catalog) -> np.ndarray:
    """i32[P, M, 3]: category, first tag and id of the item nearest to each interest f[P, M, D]."""
    embedding = np.asarray(catalog.embedding, np.float32)
    flat = np.asarray(taste, np.float32).reshape(-1, taste.shape[-1])
    item = np.concatenate([np.argmax(flat[at : at + ROWS] @ embedding.T, axis=1) for at in range(0, len(flat), ROWS)])
    tags = np.asarray(catalog.tags)
    tag = tags[item, 0] if tags.shape[1] else np.full(len(item), EMPTY)
    named = np.stack([np.asarray(catalog.category)[item], tag, item], axis=1)
    return named.reshape(*taste.shape[:2], 3).astype(np.int32)


def peers(taste: np.ndarray) -> np.ndarray:
    """f32[P, D, M], columns of unit length: what the most similar users like, an interest of theirs for each of one's own.

    Users are similar by the cosine of their summed interests; of each of the NEIGHBOURS nearest the interest next to
    the own one is taken, and their mean is what "people like me" watch.

    Args: taste f[P, M, D].
    """
    taste = np.asarray(taste, np.float32)
    whole = _unit(taste.sum(axis=1))
    found = np.empty_like(taste)
    n = min(NEIGHBOURS, len(taste) - 1)
    for at in range(0, len(taste), ROWS):
        rows = np.arange(at, min(at + ROWS, len(taste)))
        likeness = whole[rows] @ whole.T
        likeness[np.arange(len(rows)), rows] = -np.inf
        near = np.argpartition(-likeness, n - 1, axis=1)[:, :n]
        theirs = taste[near].reshape(len(rows), -1, taste.shape[-1])  # [rows, n * M, D]
        match = np.einsum("rmd,rjd->rmj", taste[rows], theirs).reshape(len(rows), taste.shape[1], n, -1)
        best = np.argmax(match, axis=3)[..., None]  # [rows, M, n, 1]: which of each neighbour's interests
        each = taste[near][np.arange(len(rows))[:, None, None], np.arange(n)[None, None], best[..., 0]]
        found[rows] = _unit(each.mean(axis=2))
    return np.ascontiguousarray(found.swapaxes(1, 2))  # items times this is a product that needs no packing


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
