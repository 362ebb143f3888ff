"""What a linear model knows of one person after some rows: a normal posterior that learns row by row. Unbatched.

Bayesian linear regression with known noise (Bishop 2006, section 3.3). The covariance is kept as a root, and each row changes that
(Potter's square-root filter; Bierman 1977, chapter II.8): rounding cannot make it indefinite, and a draw is one product.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxreco.struct import Struct

Array = jax.Array


class Posterior(Struct):
    """Of weights f32[R]: their mean, and a root of their covariance, which is `root @ root.T`."""

    mean: Array  # f32[R]
    root: Array  # f32[R, R]

    def after(self, row: Array, outcome: Array, noise: Array | float, there: Array | bool = True) -> Posterior:
        """Once a row f32[R] had an outcome f32[], with noise of that variance; the same where it is not `there`."""
        gain, along = self.gain(row, noise)
        weight = jnp.where(there, gain, 0.0)
        mean = self.mean + weight * (outcome - row @ self.mean)
        # 1 / (1 + sqrt(noise / (along . along + noise))) of the gain: the root then gives the covariance less gain x row x covariance.
        share = 1.0 / (1.0 + jnp.sqrt(noise / (along @ along + noise)))
        return Posterior(mean=mean, root=self.root - share * jnp.outer(weight, along))

    def gain(self, row: Array, noise: Array | float) -> tuple[Array, Array]:
        """(f32[R], by how much weights move per unit of surprise; f32[R], `root.T @ row`, whose length is what is not known of the row)."""
        along = row @ self.root
        return self.root @ along / (along @ along + noise), along

    def draw(self, normal: Array) -> Array:
        """f32[R]: weights, from standard normal f32[R]."""
        return self.mean + self.root @ normal
