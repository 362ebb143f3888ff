"""Measures the figures of "How believable" in docs/worlds, and those of a MovieLens log.

python docs/believable.py Feed-v0
python docs/believable.py MovieLens-v0 --data path/to/movielens-latest-small
"""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import jax
import numpy as np

import jaxreco
from jaxreco.base import CLICK, COMMENT, EXAMINED, LIKE, SHARE
from jaxreco.rollout import initial, rollout

AGENTS = ("random", "popularity", "oracle_greedy")
USERS, CHUNK = 256, 64
QUIET_MINUTES = 30  # of a log: a longer pause begins a new session


def lives(env: Any, params: Any, name: str) -> dict[str, np.ndarray]:
    """Every turn of 256 users' first episodes with an agent; leaves [T, B, ...], and `alive` bool[T, B]."""
    agent, agent_params = jaxreco.make_agent(name, jax.random.key(0), env, params)
    key = jax.random.key(1)

    @jax.jit
    def go(params: Any, agent_params: Any, start: Any) -> Any:
        ran = rollout(key, env, params, agent, agent_params, users=USERS, turns=CHUNK, start=start, trajectory=True)
        info, ended = ran.trajectory.info, ran.trajectory.terminated | ran.trajectory.truncated  # type: ignore[union-attr]
        shown = {"slate": info["feedback"].slate, "actions": info["feedback"].actions, "watch": info["feedback"].watch}
        kept = {name: info[name] for name in ("turn_minutes", "left", "gap_hours", "hours", "churned")}
        return ran.replace(trajectory=None), {**kept, **shown, "ended": ended}

    ran, parts = initial(key, env, params, agent, agent_params, users=USERS), []
    while not parts or not (np.asarray(ran.metrics.episodes) > 0).all():
        ran, part = go(params, agent_params, ran)
        parts.append(jax.device_get(part))
    turns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    before = np.concatenate([np.zeros((1, USERS), bool), turns["ended"][:-1]])
    return {**turns, "alive": np.cumsum(before, axis=0) == 0}


def figures(env: Any, params: Any, name: str) -> dict[str, str]:
    """What the tables of the pages say of an agent."""
    life = lives(env, params, name)
    alive = life["alive"]
    closes = (life["left"] | life["ended"]) & alive
    gaps = life["gap_hours"][life["left"] & alive]
    clock = np.cumsum(life["hours"] * alive, axis=0) - life["hours"] * alive
    dates = [np.unique(clock[alive[:, u], u] // 24) for u in range(USERS)]
    active, apart = sum(map(len, dates)), np.concatenate([np.diff(date) for date in dates])
    days = np.minimum((life["hours"] * alive).sum() / 24, USERS * float(params.horizon_hours) / 24)
    did = {bit: ((life["actions"] & bit) != 0) & alive[..., None] for bit in (EXAMINED, CLICK, LIKE, COMMENT, SHARE)}
    looked, clicked = did[EXAMINED], did[CLICK]
    seconds = np.asarray(params.catalog.duration)[np.maximum(life["slate"], 0)]
    fraction = life["watch"] / seconds
    played = {limit: (life["watch"] >= 0.99 * np.minimum(seconds, limit)) & clicked for limit in (7.0, 18.0)}
    return {
        "sessions": f"{closes.sum()}",
        "turns a session, mean (median)": _both(_sessions(np.ones_like(clock), closes, alive)),
        "items looked at a session, mean (median)": _both(_sessions(looked.sum(-1), closes, alive)),
        "minutes a session, mean (median)": _both(_sessions(life["turn_minutes"], closes, alive)),
        "items looked at a day": f"{looked.sum() / days:.0f}",
        "sessions a day": f"{closes.sum() / days:.2f}",
        "sessions an active day": f"{closes.sum() / active:.2f}",
        "minutes a day": f"{(life['turn_minutes'] * alive).sum() / days:.1f}",
        "minutes an active day": f"{(life['turn_minutes'] * alive).sum() / active:.1f}",
        "active days": f"{active / days:.0%}",
        "hours between sessions, mean (median)": _both(gaps),
        "back within 24 hours": f"{np.mean(gaps <= 24):.0%}",
        "days from one active day to the next, mean": f"{apart.mean():.2f}",
        "active again on the next day": f"{np.mean(apart == 1):.0%}",
        "lost in 30 days": f"{(life['churned'] & alive).sum() / USERS:.1%}",
        "clicked, of looked at": f"{clicked.sum() / looked.sum():.1%}",
        "liked, of looked at": f"{did[LIKE].sum() / looked.sum():.2%}",
        "commented on, of looked at": f"{did[COMMENT].sum() / looked.sum():.2%}",
        "shared, of looked at": f"{did[SHARE].sum() / looked.sum():.2%}",
        "fraction watched, of clicked": f"{fraction[clicked].mean():.0%}",
        "fraction watched, of looked at": f"{fraction[looked].mean():.0%}",
        "played 7 seconds or whole, of looked at": f"{played[7.0].sum() / looked.sum():.1%}",
        "played 18 seconds or whole, of looked at": f"{played[18.0].sum() / looked.sum():.1%}",
        "watched to 95 % or more, of looked at": f"{((fraction >= 0.95) & clicked).sum() / looked.sum():.1%}",
        "clicks on the most clicked 1 % and 10 % and 20 %": _top(life["slate"][clicked], env.n_items),
    }


def _sessions(value: np.ndarray, closes: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """f64[sessions]: the sum of value [T, B] over each finished session."""
    sums = []
    for u in range(value.shape[1]):
        total = np.cumsum(value[:, u] * alive[:, u], dtype=np.float64)[closes[:, u]]
        sums.append(np.diff(total, prepend=0.0))
    return np.concatenate(sums)


def _both(values: np.ndarray) -> str:
    return f"{np.mean(values):.1f} ({np.median(values):.1f})"


def _top(items: np.ndarray, n_items: int) -> str:
    counts = np.sort(np.bincount(items, minlength=n_items))[::-1]
    share = np.cumsum(counts) / counts.sum()
    return ", ".join(f"{share[n_items * top // 100 - 1]:.0%}" for top in (1, 10, 20))


def ratings(folder: pathlib.Path) -> dict[str, str]:
    """Sessions and days of rating in a `ratings.csv` (user, item, stars, seconds)."""
    table = np.loadtxt(folder / "ratings.csv", delimiter=",", skiprows=1)
    table = table[np.lexsort((table[:, 3], table[:, 0]))]
    user, second = table[:, 0].astype(int), table[:, 3]
    new = np.append(True, (np.diff(user) != 0) | (np.diff(second) > 60 * QUIET_MINUTES))
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(user)) - 1
    gap = (second[first][1:] - second[last][:-1])[user[first][1:] == user[first][:-1]] / 3600
    days = np.unique(np.stack([user, second // 86400], axis=1), axis=0)
    between = np.diff(days[:, 1])[np.diff(days[:, 0]) == 0]
    of_user = np.unique(days[:, 0], return_counts=True)[1]
    counts = np.unique(table[:, 1], return_counts=True)[1]
    return {
        "users, ratings": f"{len(of_user)}, {len(table)}",
        "sessions": f"{len(first)}",
        "ratings a session, mean (median)": _both(last - first + 1),
        "minutes a session, mean (median)": _both((second[last] - second[first]) / 60),
        "hours between sessions, mean (median)": _both(gap),
        "back within 24 hours": f"{np.mean(gap <= 24):.0%} of those who came back",
        "users with one day of rating only": f"{np.mean(of_user == 1):.0%}",
        "days of rating a user, mean (median)": _both(of_user),
        "days between days of rating, mean (median)": _both(between),
        "ratings on the most rated 1 % and 10 % and 20 %": _top(np.repeat(np.arange(len(counts)), counts), len(counts)),
    }


def main() -> None:
    """Print a table of a world, and of its log if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("--data", type=pathlib.Path)
    asked = parser.parse_args()
    env, params = jaxreco.make(asked.world, data=asked.data)
    columns = [figures(env, params, name) for name in AGENTS]
    print(f"| {env.name} {env.version}, {USERS} users | " + " | ".join(AGENTS) + " |")
    print("|---|" + "--:|" * len(AGENTS))
    for row in columns[0]:
        print(f"| {row} | " + " | ".join(column[row] for column in columns) + " |")
    if asked.data is not None and (asked.data / "ratings.csv").exists():
        print("\n| the log | |\n|---|--:|")
        for row, value in ratings(asked.data).items():
            print(f"| {row} | {value} |")


if __name__ == "__main__":
    main()
