"""What lasting tastes are like in general: the prior with which a regression of somebody new begins.

Empirical Bayes (Efron & Morris 1973): a step of expectation maximisation (Dempster, Laird & Rubin 1977) after every block, from the beliefs
about all users there are. People have much in common, for one that what tires one tires others; a stranger is then known sooner.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxreco.learning.tastes import FRACTION, Belief

Array = jax.Array

STEP = 0.1  # of the way to what a block says
LEAST = 0.01  # variance that every weight keeps: a covariance must have an inverse


def pooled(prior: Belief, lasting: Belief, noise: Array, step: Array | float = STEP) -> Belief:
    """The prior, `step` of the way to the mean and covariance of what users' weights are believed to be.

    Args: lasting: leaves [B, ...], of B users. noise f32[], variance of what the regression does not explain of the share of an item
      that is watched: covariances are in its units, and by that outcome.
    """
    mean = jnp.mean(lasting.mean, axis=0)
    apart = lasting.mean[:, FRACTION] - mean[FRACTION]
    between = apart.T @ apart / (apart.shape[0] * noise)
    covariance = between + jnp.mean(lasting.covariance, axis=0) + LEAST * jnp.eye(apart.shape[1])
    return Belief(prior.mean + step * (mean - prior.mean), prior.covariance + step * (covariance - prior.covariance))
