"""Agents side by side: the same users, the same randomness, one episode each, paired intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxreco.rollout import Rollout, Tally, initial, rollout

CHUNK = 32  # turns between two looks at whether everybody is done
RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Life:
    """What one agent made of a number of users: host arrays [B], one entry a user, of its first episode."""

    tally: Tally  # f32[B] leaves
    finished: np.ndarray  # bool[B]
    seconds: float
    overlap: float  # mean share of items that two users' slates have in common at the same turn

    def column(self, metric: str) -> np.ndarray:
        """f64[B]: a metric of the results table, one value a user. Raises KeyError for an unknown metric."""
        return METRICS[metric](self.tally)


def _ratio(a: Any, b: Any) -> np.ndarray:
    return np.asarray(a, np.float64) / np.maximum(np.asarray(b, np.float64), 1.0)


METRICS: dict[str, Callable[[Tally], np.ndarray]] = {
    "turns_per_session": lambda t: _ratio(t.turns, t.sessions),
    "minutes": lambda t: np.asarray(t.minutes, np.float64),
    "sessions_30d": lambda t: np.asarray(t.sessions, np.float64),
    "gap_hours": lambda t: _ratio(t.gap_hours, t.gaps),
    "churn": lambda t: np.asarray(t.churned, np.float64),
    "reward": lambda t: np.asarray(t.reward, np.float64),
}


def live(
    key: jax.Array,
    env: Any,
    params: Any,
    agent: Any,
    agent_params: Any,
    *,
    users: int,
    max_turns: int = 4000,
    progress: Callable[[float], None] | None = None,
) -> Life:
    """Every user's first episode under an agent, until all are over (or `max_turns`).

    Args:
      key: users and randomness; give every agent the same one to compare them pairwise. Consumed.
      users: B.
      progress: called with the share of users whose episode is over.
    """
    import time

    began, turn = time.perf_counter(), 0
    ran: Rollout = initial(key, env, params, agent, agent_params, users=users)
    while turn < max_turns:
        ran = rollout(key, env, params, agent, agent_params, users=users, turns=CHUNK, start=ran)
        turn += CHUNK
        done = float(np.mean(np.asarray(ran.metrics.episodes) > 0))
        if progress is not None:
            progress(done)
        if done == 1.0:
            break
    slates = np.asarray(ran.state.last.slate)
    return Life(
        tally=jax.tree.map(np.asarray, ran.metrics.life),
        finished=np.asarray(ran.metrics.episodes) > 0,
        seconds=time.perf_counter() - began,
        overlap=overlap(slates[(slates >= 0).all(axis=1)]),
    )


def overlap(slates: np.ndarray, pairs: int = 20_000, seed: int = 0) -> float:
    """Mean share of items that two different users' slates i32[B, K] have in common (K items in all): 1 for equal lists."""
    if len(slates) < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    a = rng.integers(len(slates), size=pairs)
    b = (a + 1 + rng.integers(len(slates) - 1, size=pairs)) % len(slates)
    return float((slates[a][:, :, None] == slates[b][:, None, :]).any(axis=2).mean())


def interval(values: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float, float]:
    """(mean, low, high): the 95 % percentile bootstrap over the first axis (Efron 1979). values f64[N].

    For a paired difference pass the differences.
    """
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    n = len(values)
    means = np.array([values[rng.integers(n, size=n)].mean() for _ in range(resamples)]) if n > 1 else values
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def score(reward: float, zero: float, one: float) -> float:
    """The place on the world's scale: 0 the best of random, popularity and static, 1 the oracle. NaN if they are equal."""
    return (reward - zero) / (one - zero) if one != zero else float("nan")
