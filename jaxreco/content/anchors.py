"""Items as a linear model can use them: how near each is to places of the catalog, and a few numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxreco.base import Catalog

Array = jax.Array

FEATURES = 5
DURATION = 2  # which of them is log duration
WEEK_H = 168.0
SHARPNESS = 4.0  # of the radial basis functions: half height at an inner product of 0.83


def by_anchors(catalog: Catalog, anchors: Array) -> Array:
    """f32[I, A + FEATURES]: how near each item is to anchors f32[A, D], and its `features`.

    Radial basis functions, because interests have several peaks and what is linear in the embedding has one.
    """
    near = jnp.exp(SHARPNESS * (catalog.embedding @ anchors.T - 1.0))
    return jnp.concatenate([near, features(catalog)], axis=-1)


def features(catalog: Catalog) -> Array:
    """f32[I, FEATURES]: quality, log popularity, log duration and its square, log age; around 0 and of the size of an embedding.

    With the square a linear model has lengths that are wanted: one that is best, and both shorter and longer are worse.
    """
    popular = jnp.log(catalog.popularity * catalog.n_items + 1e-3)
    long = jnp.log(catalog.duration) - jnp.mean(jnp.log(catalog.duration))
    square = long**2 - jnp.mean(long**2)
    old = jnp.log1p(jnp.maximum(catalog.age, 0.0) / WEEK_H)
    old = old - jnp.mean(old)
    return 0.3 * jnp.stack([catalog.quality, popular, 2.0 * long, 2.0 * square, 2.0 * old], axis=-1)


def spread_anchors(key: Array, embedding: Array, size: int, rounds: int = 20) -> Array:
    """f32[size, D]: centres of the items f32[I, D] by spherical k-means (Dhillon & Modha 2001). The key is consumed."""
    found = embedding[jax.random.choice(key, embedding.shape[0], (size,), replace=False)]

    def step(_: int, found: Array) -> Array:
        nearest = jnp.argmax(embedding @ found.T, axis=1)[:, None] == jnp.arange(size)
        mean = nearest.T.astype(jnp.float32) @ embedding
        length = jnp.linalg.norm(mean, axis=-1, keepdims=True)
        return jnp.where(length > 1e-6, mean / jnp.maximum(length, 1e-6), found)

    return jax.lax.fori_loop(0, rounds, step, found)
