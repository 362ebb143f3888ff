"""What policy gradients ascend, as pure functions: REINFORCE, PPO and GRPO, with a log-probability for each slot of a slate."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def score_function(log_prob: Array, advantage: Array) -> Array:
    """log pi(a) A, elementwise: its gradient is REINFORCE's (Williams 1992), with whatever baseline the advantage has. All of one shape.

    Args: advantage: may not depend on the policy.
    """
    return log_prob * advantage


def group_advantage(returns: Array, scaled: bool) -> Array:
    """f32[G]: how much better each of a group did than the group, which began alike (GRPO; Shao et al. 2024, section 4.1.1).

    Args:
      returns: f32[G].
      scaled: in standard deviations of the group, as there; that weighs groups more which hardly differ (Liu et al. 2025, "Understanding
        R1-Zero-like training", which leaves it out).
    """
    better = returns - jnp.mean(returns)
    return better / (jnp.std(returns) + 1e-6) if scaled else better


def divergence(log_ratio: Array) -> Array:
    """An unbiased estimate of KL(pi || reference) from a sample of pi that is never negative (Schulman 2020, "k3"), elementwise.

    Args: log_ratio: log reference(a) - log pi(a).
    """
    return jnp.expm1(log_ratio) - log_ratio


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
