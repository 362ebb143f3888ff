"""The Plackett-Luce distribution over slates (Luce 1959, Plackett 1975), with categories that cool down.

Items are drawn one after another without replacement, each in proportion to exp(logit - cooling * n), where n counts
the items of its category already in the slate. With `cooling` 0 it is plain Plackett-Luce. The penalty makes a slate
of one category unlikely, as people tire of it, and both sampling and log-probability stay exact. A logit more than
60 below the highest counts as 60 below: its weight would be no float any more.

Logits are f32[I]; a slate is i32[K] of distinct items; `membership` f32[C, I] is 1 where an item is of a category.
Unbatched: `vmap` it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreco import rng

Array = jax.Array


DEPTH = 60.0  # below the highest logit; exp(-DEPTH) is a float32 with room below it


def _floored(logits: Array) -> tuple[Array, Array]:
    """Logits at most DEPTH below the highest, and the highest, without a gradient."""
    top = jax.lax.stop_gradient(jnp.max(logits))
    return jnp.maximum(logits, top - DEPTH), top


def _log(left: Array) -> Array:
    """Logarithm of a sum of weights; of nothing a number that no sum gets near, with gradient 0."""
    return jnp.where(left > 0.0, jnp.log(jnp.where(left > 0.0, left, 1.0)), -1e30)


def sample(key: Array, logits: Array, size: int, membership: Array, cooling: Array) -> Array:
    """An exact sample i32[size]. The key is consumed.

    Each slot draws a category in proportion to what is left in it, then the item within it. Within a category the
    penalty is the same for all, so items come there in the order of a race, each after an exponential time of rate
    exp(logit) (Yellott 1977), and one race serves the whole slate: what is left in a category is what comes later. Of items of a category
    with equal times, one pair in 2**23 at equal logits, only the first can be drawn.
    """
    n_categories, n_items = membership.shape
    logits, top = _floored(logits)
    weight = jnp.exp(logits - top)
    category = jnp.argmax(membership, axis=0)
    number = jnp.arange(n_items, dtype=jnp.float32 if n_items < 2**24 else jnp.int32)  # a minimum of floats is faster
    uniform = rng.uniforms(key, n_items + size)
    time = -jnp.log(uniform[size:]) / weight

    def slot(carry: Any, u: Array) -> tuple[Any, Array]:
        since, left, count = carry
        log_share = _log(left) - cooling * count
        share = jnp.cumsum(jnp.exp(log_share - jnp.max(log_share)))
        # A last category that is empty must not be drawn where u times the sum rounds up to it.
        drawn = jnp.minimum(jnp.sum(share <= u * share[-1]), jnp.sum(share < share[-1]))
        taken, of = jnp.arange(n_categories) == drawn, category == drawn
        now = jnp.min(jnp.where(of & (time > jnp.sum(jnp.where(taken, since, 0.0))), time, jnp.inf))
        item = jnp.min(jnp.where(of & (time == now), number, n_items - 1))
        # Summed anew, not subtracted: the difference of floats would be noise where the heaviest item is gone.
        later = jnp.sum(jnp.where(of & (time > now), weight, 0.0))
        return (jnp.where(taken, now, since), jnp.where(taken, later, left), count + taken), item

    start = (jnp.zeros(n_categories), membership @ weight, jnp.zeros(n_categories))
    return jax.lax.scan(slot, start, uniform[:size])[1].astype(jnp.int32)


def log_prob(logits: Array, slate: Array, membership: Array, cooling: Array) -> tuple[Array, Array]:
    """Log-probability of each slot given those above it, and the entropy of the first.

    What was not chosen is summed once for each category, and the chosen ones added from the last slot upwards:
    nothing is subtracted, so that steep logits stay exact.

    Returns: f32[K], whose sum is the slate's log-probability, and f32[], entropy in nats of the softmax that the
    first slot is drawn from.
    """
    logits, top = _floored(logits)
    weight = jnp.exp(logits - top)
    of = membership[:, slate]  # [C, K]
    rest = membership @ weight.at[slate].set(0.0)
    left = rest[:, None] + jnp.cumsum((of * weight[slate])[:, ::-1], axis=1)[:, ::-1]
    count = jnp.cumsum(of, axis=1) - of
    total = jax.nn.logsumexp(_log(left) - cooling * count, axis=0)
    chosen = logits[slate] - top - cooling * jnp.sum(of * count, axis=0)
    entropy = total[0] - jnp.sum(weight * (logits - top)) * jnp.exp(-total[0])
    return chosen - total, entropy


# -- among few items, with several ways to be of a kind -----------------------------------------------------------


class Kinds(NamedTuple):
    """Of what kinds N items are, in J ways: their category, their creator."""

    kind: Array  # i32[J, N]
    cooling: Array  # f32[J], off the logit of an item for each of its kind above it


def sample_few(key: Array, logits: Array, size: int, kinds: Kinds) -> Array:
    """An exact sample i32[size], slot by slot: O(size N), so for few items. A logit of -inf is never drawn. The key is consumed."""
    noise = -jnp.log(-jnp.log(rng.uniforms(key, size * logits.shape[0]))).reshape(size, -1)  # Gumbel 1954, Yellott 1977

    def slot(logits: Array, noise: Array) -> tuple[Array, Array]:
        chosen = jnp.argmax(logits + noise)
        return _cooled(logits, chosen, kinds), chosen

    return jax.lax.scan(slot, logits, noise)[1].astype(jnp.int32)


def log_prob_few(logits: Array, chosen: Array, kinds: Kinds) -> tuple[Array, Array]:
    """Log-probability f32[K] of each place i32[K] given those above it, and the entropy f32[] of the first, in nats."""

    def slot(logits: Array, chosen: Array) -> tuple[Array, Array]:
        return _cooled(logits, chosen, kinds), logits[chosen] - jax.nn.logsumexp(logits)

    share = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(share) * jnp.where(jnp.isfinite(logits), share, 0.0))  # else 0 times infinity
    return jax.lax.scan(slot, logits, chosen)[1], entropy


def _cooled(logits: Array, chosen: Array, kinds: Kinds) -> Array:
    """Logits once an item is taken."""
    alike = (kinds.kind == kinds.kind[:, chosen][:, None]).astype(jnp.float32)
    return jnp.where(jnp.arange(logits.shape[0]) == chosen, -jnp.inf, logits - kinds.cooling @ alike)
