"""The PPO objective (Schulman et al. 2017), with a ratio for each slot of a slate."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def clipped_surrogate(log_ratio: Array, advantage: Array, clip: Array | float) -> Array:
    """The pessimistic surrogate min(r A, clip(r) A), elementwise (eq. 7). All of one shape.

    Args:
      log_ratio: log pi_new(a) - log pi_old(a).
      advantage: may not depend on the new policy.
      clip: epsilon.
    """
    ratio = jnp.exp(log_ratio)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)


def outcome_worth(advantage: Array, outcome: Array, ridge: float = 1e-3) -> Array:
    """What one unit of each outcome of a slot is worth in the long run: ridge regression f32[F] of advantages on outcomes.

    A turn's advantage holds the sessions that follow, but gives its ten slots the same credit, and the noise of nine
    drowns the one. What each slot came to is known. So the turn's advantage is explained by the sum of its slots'
    outcomes, and a slot is credited with its own part: a return decomposition (Arjona-Medina et al. 2019, RUDDER),
    linear. It finds, for instance, that an enjoyed minute is worth more than a minute, because the user comes back.

    Args:
      advantage: f32[N] of turns. outcome: f32[N, F], summed over the slots of each turn.
    """
    x = outcome - jnp.mean(outcome, axis=0)
    y = advantage - jnp.mean(advantage)
    gram = x.T @ x / x.shape[0]
    scale = jnp.diagonal(gram) + 1e-6
    return jnp.linalg.solve(gram + ridge * jnp.diag(scale) + 1e-6 * jnp.eye(x.shape[1]), x.T @ y / x.shape[0])
