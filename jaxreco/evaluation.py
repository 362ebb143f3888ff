"""Agents side by side: the same users, the same randomness, one episode each, paired intervals."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from jaxreco.lanes import PER_DEVICE, Lanes, Stage
from jaxreco.rollout import Tally
from jaxreco.struct import Struct

CHUNK = 32  # turns between two looks at whether everybody is done
RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Life:
    """What one agent made of a number of users: host arrays [B], one entry a user, of its first episode."""

    tally: Tally  # f32[B] leaves
    finished: np.ndarray  # bool[B]
    seconds: float
    overlap: float  # mean share of items that two users' latest slates have in common
    slates: np.ndarray  # i32[B, K], the latest

    def column(self, metric: str) -> np.ndarray:
        """f64[B]: a metric of the results table, one value a user. Raises KeyError for an unknown metric."""
        return METRICS[metric](self.tally)


def _ratio(a: Any, b: Any) -> np.ndarray:
    return np.asarray(a, np.float64) / np.maximum(np.asarray(b, np.float64), 1.0)


METRICS: dict[str, Callable[[Tally], np.ndarray]] = {
    "turns_per_session": lambda t: _ratio(t.turns, t.sessions),
    "minutes": lambda t: np.asarray(t.minutes, np.float64),
    "sessions_30d": lambda t: np.asarray(t.early, np.float64),
    "gap_hours": lambda t: _ratio(t.gap_hours, t.gaps),
    "churn": lambda t: np.asarray(t.churned, np.float64),
    "d1": lambda t: np.minimum(np.asarray(t.day1, np.float64), 1.0),
    "d7": lambda t: np.minimum(np.asarray(t.day7, np.float64), 1.0),
    "d30": lambda t: np.minimum(np.asarray(t.day30, np.float64), 1.0),
    "reward": lambda t: np.asarray(t.reward, np.float64),
    "followed": lambda t: np.where(np.asarray(t.asked) > 0, _ratio(t.followed, t.asked), np.nan),
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
    lanes: int = PER_DEVICE,
    order: np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
    watch: Callable[[Lanes, Lanes, dict[str, Any]], None] | None = None,
) -> Life:
    """Every user's first episode under an agent, each until it is over (or `max_turns`).

    Lives differ in length, so lanes are few, and one whose user is done goes to the next user: most of a run of all
    users side by side would be spent on the longest lives. A world is compiled once for all agents and any number of users.
    A user's life is the same whenever it gets a lane, within rounding.

    Args:
      key: users and randomness; give every agent the same one to compare them pairwise. Consumed.
      users: B. lanes: users side by side on each device.
      order: i64[B], users as they get lanes; see `longest_first`. By number without.
      progress: called with the share of users who are done.
      watch: called after every turn with the lanes before and after it and the world's `info`, leaves [L, ...].
    """
    began = time.perf_counter()
    stage = Stage.of(key, env, params, agent, agent_params, lanes)
    order = np.arange(users) if order is None else order
    now, memory = stage.begin(order[: stage.lanes])
    waiting, done = iter(order[stage.lanes :]), np.zeros(users, bool)
    found = jax.tree.map(lambda x: np.zeros((users, *x.shape[1:]), x.dtype), _ends(now))
    while not done.all():
        for _ in range(CHUNK):
            before = now
            now, memory, _, info = stage.turn(now, memory)
            if watch is not None:
                watch(before, now, info)
        user, turn, ends = jax.device_get((now.user, now.turn, _ends(now)))
        over = ends.finished | (turn >= max_turns)
        lane = np.flatnonzero(over & ~done[user])
        for into, leaf in zip(jax.tree.leaves(found), jax.tree.leaves(ends), strict=True):
            into[user[lane]] = leaf[lane]
        done[user[lane]] = True
        if progress is not None:
            progress(float(done.mean()))
        after = np.array([next(waiting, u) if free else u for u, free in zip(user, over, strict=True)])
        if (after != user).any():
            now = stage.renew(now, after)
    return Life(
        tally=found.tally,
        finished=found.finished,
        seconds=time.perf_counter() - began,
        overlap=overlap(found.slate[(found.slate >= 0).all(axis=1)]),
        slates=found.slate,
    )


def longest_first(lives: Iterable[Life]) -> np.ndarray | None:
    """i64[B]: users by the turns that they lived under other agents. None without a life.

    Whoever lives long under one agent does under most (rank correlations of 0.5 to 0.7 in Feed-v0), and a long life
    that begins last keeps all other lanes waiting (Graham 1969, longest processing time first).
    """
    turns = [np.asarray(life.tally.turns) for life in lives]
    return np.argsort(-np.sum(turns, axis=0), kind="stable") if turns else None


class _Ends(Struct):
    """How a user's life came out; leaves [B, ...]."""

    tally: Tally
    finished: Any  # bool[B]
    slate: Any  # i32[B, K], the latest


def _ends(lanes: Lanes) -> _Ends:
    return _Ends(lanes.tally, lanes.finished, lanes.slate)


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
