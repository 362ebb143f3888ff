"""What a person asks for: a choice among all sentences of the grammar that ask for more or less of a category.

Decoding is constrained to whole sentences: what the grammar cannot say has no chance. Each is weighed by what the network foresees
of its category and by how much of it was taken lately, with the same weights for all categories. Learned from hindsight
(`fit.hindsight`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.struct import Struct
from jaxreco.talk.grammar import INTENT

Array = jax.Array

ASKS = ("more", "less")  # intents, each with every category for a target; the order is that of the sentences
REACH = 10  # events that are lately
SEEN = 4  # numbers of `seen`
LEAST = 1e-9  # chance


def intents(n_categories: int) -> np.ndarray:
    """i32[S]: of each sentence; its category is its place modulo C."""
    return np.repeat([INTENT[name] for name in ASKS], n_categories).astype(np.int32)


def seen(chance: Array, lately: Array) -> Array:
    """f32[..., C, SEEN]: what is known of each category.

    Args: chance f32[..., C], that the next item is of it. lately f32[..., C], its share of the last REACH events.
    """
    return jnp.stack([jnp.log(jnp.maximum(chance, LEAST)), chance, lately, (lately > 0).astype(chance.dtype)], axis=-1)


class Asking(Struct):
    """Logits of the `S = 2 C` sentences: more of each category, then less of each."""

    weight: Array  # f32[2, SEEN], of each of ASKS
    bias: Array  # f32[S]

    def log_probabilities(self, chance: Array, lately: Array) -> Array:
        """f32[..., S]: of every sentence. Arguments as of `seen`."""
        logits = jnp.einsum("...cn,in->...ic", seen(chance, lately), self.weight)
        return jax.nn.log_softmax(logits.reshape(*logits.shape[:-2], -1) + self.bias)

    def wish(self, uniform: Array, chance: Array, lately: Array) -> Array:
        """i32[]: a category of which more is asked for, by the inverse of its distribution. uniform f32[]; C as of `seen`."""
        count = chance.shape[0]
        upto = jnp.cumsum(jnp.exp(self.log_probabilities(chance, lately)[:count]))
        return jnp.minimum(jnp.sum(upto <= uniform * upto[-1]), count - 1).astype(jnp.int32)


def pushed(lately: Array, category: Array, taken: Array) -> Array:
    """i32[REACH]: categories of what was taken last, the latest last, after slots of categories i32[K], of which some are taken.

    Args: lately i32[REACH], -1 for none. taken bool[K].
    """
    number, at = jnp.sum(taken), jnp.arange(REACH)
    before = jnp.where(at + number < REACH, lately[jnp.minimum(at + number, REACH - 1)], -1)
    place = REACH - 1 - (number - jnp.cumsum(taken))
    here = taken[:, None] & (place[:, None] == at)
    return jnp.where(jnp.any(here, axis=0), jnp.sum(jnp.where(here, category[:, None], 0), axis=0), before).astype(
        jnp.int32
    )
