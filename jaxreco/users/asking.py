"""What a person asks for, by the network's hidden state: a choice among all sentences that the grammar has for categories.

Decoding is constrained to whole sentences: those that say nothing have no chance. Learned from hindsight (`fit.hindsight`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.struct import Struct
from jaxreco.talk.grammar import INTENT

Array = jax.Array

ASKS = ("more", "less")  # intents, each with every category for a target; the order is that of the sentences


def intents(n_categories: int) -> np.ndarray:
    """i32[S]: of each sentence; its category is its place modulo C."""
    return np.repeat([INTENT[name] for name in ASKS], n_categories).astype(np.int32)


class Asking(Struct):
    """Logits of the `S = 2 C` sentences, linear in the hidden state: more of each category, then less of each."""

    weight: Array  # f32[S, d]
    bias: Array  # f32[S]

    def log_probabilities(self, hidden: Array) -> Array:
        """f32[..., S]: of every sentence after hidden f32[..., d]."""
        return jax.nn.log_softmax(hidden @ self.weight.T + self.bias)

    def wish(self, uniform: Array, hidden: Array) -> Array:
        """i32[]: the category of which more is asked for, by the inverse of its distribution. uniform f32[], hidden f32[d]."""
        count = self.bias.shape[0] // len(ASKS)
        chance = jnp.cumsum(jax.nn.softmax(self.weight[:count] @ hidden + self.bias[:count]))
        return jnp.minimum(jnp.sum(chance <= uniform * chance[-1]), count - 1).astype(jnp.int32)
