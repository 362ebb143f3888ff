"""What all users together find of each item, beside what was foretold of each of them.

Two numbers tell items apart for which no description does. Lure: it is clicked on more than it is then watched (clickbait). Worth: it is
watched more than was foretold. Both are means of what a regression of each user's tastes leaves over, shrunk to 0 where few have seen the
item: random effects of items in a mixed linear model (Robinson 1991, "That BLUP is a good thing").
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxreco.learning.tastes import CLICKED, FRACTION
from jaxreco.struct import Struct

Array = jax.Array

DOUBT = 20.0  # looks that 0 is worth
FADES = 0.99  # of the past, with every block: what was left over when tastes were less known counts less
UNIT = 0.05  # of lure and worth: about how far they lie apart


class Reputation(Struct):
    """Sums over all users, fading."""

    looks: Array  # f32[I]
    clicked: Array  # f32[I], more than foretold
    watched: Array  # f32[I], share of the item, more than foretold

    @classmethod
    def none(cls, n_items: int) -> Reputation:
        """Before anybody has seen anything."""
        return cls(jnp.zeros(n_items), jnp.zeros(n_items), jnp.zeros(n_items))

    def told(self, slate: Array, looked: Array, surprise: Array) -> Reputation:
        """After some slots more. slate i32[...]. looked bool[...]. surprise f32[..., OUTCOMES], what they came to beyond what was foretold."""
        item, looked = slate.ravel(), looked.ravel().astype(jnp.float32)
        more = looked[:, None] * jnp.stack(
            [jnp.ones_like(looked), surprise[..., CLICKED].ravel(), surprise[..., FRACTION].ravel()], axis=-1
        )
        more = jnp.zeros((self.looks.shape[0], 3)).at[item].add(more, mode="drop", wrap_negative_indices=False)
        past = jnp.stack([self.looks, self.clicked, self.watched], axis=-1)
        return Reputation(*(FADES * past + more).T)

    def renown(self) -> Array:
        """f32[2, I]: lure and worth, in units of about a standard deviation."""
        return jnp.stack([self.clicked - self.watched, self.watched]) / (UNIT * (self.looks + DOUBT))
