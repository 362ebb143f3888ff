"""Advantages over turns and sessions, discounted by elapsed time. Unbatched: one user's T turns."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def gae(
    reward_t: Array,
    value_t: Array,
    last_value: Array,
    discount_t: Array,
    terminated_t: Array,
    truncated_t: Array,
    bootstrap_t: Array,
    trace_decay: Array | float,
) -> Array:
    """Generalised advantage estimates f32[T] (Schulman et al. 2016, eq. 16), with a discount for each turn.

    The discount is `exp(-hours / tau)` of the time that the turn and the gap after it took, so credit fades over
    days, not over turns. Where an episode was truncated the final observation's value stands in for what was cut
    off; where it terminated nothing follows; in both cases no advantage flows back from the next episode.

    Args:
      reward_t: f32[T]. value_t: f32[T], value before each turn. last_value: f32[], value after the last turn.
      discount_t: f32[T] in [0, 1]. terminated_t, truncated_t: bool[T].
      bootstrap_t: f32[T], value of the final observation where truncated.
      trace_decay: lambda in [0, 1].
    """
    done_t = terminated_t | truncated_t
    next_value = jnp.append(value_t[1:], last_value)
    next_value = jnp.where(done_t, jnp.where(terminated_t, 0.0, bootstrap_t), next_value)
    delta_t = reward_t + discount_t * next_value - value_t
    carry_t = jnp.where(done_t, 0.0, discount_t * trace_decay)

    def back(later: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, carry = now
        advantage = delta + carry * later
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(last_value), (delta_t, carry_t), reverse=True)[1]
