"""A compact causal transformer with a ring as its cache (Vaswani et al. 2017, pre-norm; ALiBi, Press et al. 2022).

Positions enter only as distances, a penalty on the logits that is linear in them, so a cache needs no rotation when
its oldest token drops out. Unbatched: one sequence; `vmap` it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreco.ring import Ring

Array = jax.Array


class Block(nnx.Module):
    """Attention and a two-layer perceptron, each on a normed copy that is added back.

    Args:
      width: d. heads: n; d must be a multiple. window: W, tokens that a token sees, itself included.
      dropout: share of what attention and perceptron add that is left out where a key is given (Srivastava et al. 2014).
    """

    def __init__(self, width: int, heads: int, window: int, *, dropout: float = 0.0, rngs: nnx.Rngs) -> None:
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}.")
        self.heads, self.window, self.dropout = heads, window, dropout
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.qkv = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, width, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def empty_cache(self) -> Ring:
        """The cache before the first token: a ring of W keys and values, each f32[d]."""
        zeros = jnp.zeros(self.qkv.in_features)
        return Ring.empty(self.window, (zeros, zeros))

    def step(self, x: Array, cache: Ring) -> tuple[Array, Ring]:
        """One token f32[d] after those in the cache: (f32[d], cache with it)."""
        query, key, value = jnp.split(self.qkv(self.norm1(x)), 3)
        cache = cache.push((key, value))
        keys, values = cache.data
        distance = cache.ages()
        mixed = self._attend(query[None], keys, values, distance[None], cache.valid()[None])[0]
        return self._finish(x, mixed), cache

    def sequence(self, x: Array, cache: Ring, episode: Array) -> Array:
        """T tokens f32[T, d] after those in the cache, as T calls of `step` would give: f32[T, d].

        Args:
          cache: what was there before the first token; it is not changed.
          episode: i32[T], resets before each token; a token sees its own episode only, and the cache is of episode 0.
        """
        length = x.shape[0]
        query, key, value = jnp.split(self.qkv(self.norm1(x)), 3, axis=-1)
        old_keys, old_values = cache.data
        now = jnp.arange(length)
        distance = jnp.concatenate([now[:, None] + 1 + cache.ages(), now[:, None] - now], axis=1)
        seen = jnp.concatenate([(episode == 0)[:, None] & cache.valid(), episode[:, None] == episode], axis=1)
        seen = seen & (distance >= 0) & (distance < self.window)
        keys = jnp.concatenate([old_keys, key])
        values = jnp.concatenate([old_values, value])
        return self._finish(x, self._attend(query, keys, values, distance, seen))

    def whole(self, x: Array, sinks: int, key: Array | None = None) -> Array:
        """A sequence f32[T, d] from its beginning, nothing before it: f32[T, d].

        Args:
          sinks: so many first tokens are seen by all that come after, as if they were next to them (Xiao et al. 2024,
            "attention sinks"): what is known of the whole, not of a moment.
          key: consumed; leaves out what `dropout` says. Nothing without it.
        """
        query, keys, values = jnp.split(self.qkv(self.norm1(x)), 3, axis=-1)
        now = jnp.arange(x.shape[0])
        distance = now[:, None] - now
        lasting = now < sinks
        seen = (distance >= 0) & (lasting | (distance < self.window))
        distance = jnp.where(lasting, 0, distance)
        of_mixed, of_up = (None, None) if key is None else jax.random.split(key)
        x = x + self._dropped(self.out(self._attend(query, keys, values, distance, seen)), of_mixed)
        return x + self._dropped(self.down(jax.nn.gelu(self.up(self.norm2(x)))), of_up)

    def begin(self, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """Tokens f32[S, d] that all that come later see (`sinks` of `whole`): (f32[S, d], their keys and values, f32[S, d] each)."""
        query, keys, values = jnp.split(self.qkv(self.norm1(x)), 3, axis=-1)
        order = jnp.arange(x.shape[0])
        mixed = self._attend(query, keys, values, jnp.zeros((x.shape[0],) * 2), order[:, None] >= order)
        return self._finish(x, mixed), (keys, values)

    def extend(self, x: Array, there: Array, cache: Ring, sinks: tuple[Array, Array]) -> tuple[Array, Ring]:
        """N tokens f32[N, d] after those in the cache, as `whole` over all of them would give: (f32[N, d], cache with them).

        Args: there: bool[N]; of a token that is not there nobody sees anything, and what comes of it has no meaning. sinks:
          what `begin` found.
        """
        query, key, value = jnp.split(self.qkv(self.norm1(x)), 3, axis=-1)
        old_keys, old_values = cache.data
        place = jnp.cumsum(there)  # among those that are there, from 1
        nothing = jnp.zeros((x.shape[0], sinks[0].shape[0]), place.dtype)
        distance = jnp.concatenate([nothing, place[:, None] + cache.ages(), place[:, None] - place], axis=1)
        can_see = jnp.concatenate([jnp.ones(nothing.shape[1], bool), cache.valid(), there])
        seen = can_see & (distance >= 0) & (distance < self.window)
        keys = jnp.concatenate([sinks[0], old_keys, key])
        values = jnp.concatenate([sinks[1], old_values, value])
        x = self._finish(x, self._attend(query, keys, values, distance, seen))
        return x, cache.extend((key, value), there)

    def _dropped(self, x: Array, key: Array | None) -> Array:
        return x if key is None else dropped(key, x, self.dropout)

    def _attend(self, query: Array, keys: Array, values: Array, distance: Array, seen: Array) -> Array:
        """f32[T, d]. query f32[T, d]; keys, values f32[N, d]; distance i32[T, N]; seen bool[T, N]."""
        split = lambda a: a.reshape(a.shape[0], self.heads, -1)  # noqa: E731
        q, k, v = split(query), split(keys), split(values)
        slope = 2.0 ** (-8.0 * jnp.arange(1, self.heads + 1) / self.heads)
        logits = jnp.einsum("thd,nhd->htn", q, k) * (q.shape[-1] ** -0.5)
        logits = logits - slope[:, None, None] * distance
        weight = jax.nn.softmax(jnp.where(seen, logits, -1e9), axis=-1)
        return jnp.einsum("htn,nhd->thd", weight, v).reshape(query.shape)

    def _finish(self, x: Array, mixed: Array) -> Array:
        x = x + self.out(mixed)
        return x + self.down(jax.nn.gelu(self.up(self.norm2(x))))


def dropped(key: Array, x: Array, rate: float) -> Array:
    """x with a share of its elements 0 and the others larger by as much. The key is consumed."""
    return jnp.where(jax.random.bernoulli(key, 1.0 - rate, x.shape), x / (1.0 - rate), 0.0)
