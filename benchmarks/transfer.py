"""Is it the user who is served, or the simulator that is gamed? Agents trained in one world, set unchanged in others.

Elsewhere is: twenty worlds with every parameter of the user redrawn (`redrawn`), the same users under another choice model (`mnl`), with
tastes that jump after two weeks (`shift`), and the other user model of the same log where one is given (`other`). `matrix` says what an
agent keeps there, and who is overfit.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco import registry
from jaxreco.benchmarks import phrasings, retention, transfer_shown
from jaxreco.benchmarks.matrix import HOME, Matrix
from jaxreco.benchmarks.redrawn import redraw
from jaxreco.benchmarks.report import Report, Say, under
from jaxreco.errors import JaxrecoError
from jaxreco.evaluation import Life, live, longest_first
from jaxreco.lanes import Lanes
from jaxreco.names import several
from jaxreco.report.standing import ZERO
from jaxreco.struct import Struct
from jaxreco.users import mindset

Array = jax.Array

ORACLE = "oracle_greedy"
REDRAWN, MNL, SHIFT, OTHER, PHRASINGS = "redrawn", "mnl", "shift", "other", "phrasings"
VARIANTS = (REDRAWN, MNL, SHIFT, PHRASINGS)
SHIFT_HOURS = 336.0  # two weeks of a month, so that there is time to learn both tastes
ABLE = tuple(name for name in retention.AGENTS if name not in retention.ORACLES and name not in ZERO)
USUAL = ("item_knn", "linucb", "thompson", *retention.LEARNERS)
QUICK = {"users": 128, "seeds": 1, "updates": 30}
FULL = {"users": 4096, "seeds": 5, "updates": 60}
WORLDS = 20  # redrawn
OF_LIVES = ("reward", "d7", "sessions_30d")


class Place(NamedTuple):
    """A world where agents are set. Args: kind: of worlds; HOME for the one where they were trained."""

    kind: str
    env: Any
    params: Any


class Seen(Struct):
    """What users were shown, and what it left of their trust; leaves f32[users]."""

    slots: Array  # filled slots of the first episode
    bait: Array  # of those, items that hide clickbait
    trust: Array  # after the latest slate; NaN before the first


def run(
    *,
    quick: bool = True,
    say: Say = lambda text: None,
    data: pathlib.Path | None = None,
    env: str = "Feed-v0",
    worlds: str | None = None,
    agents: str | None = None,
    user_model: pathlib.Path | None = None,
    runs: pathlib.Path | None = None,
    plot: pathlib.Path | None = None,
    users: int | None = None,
    seeds: int | None = None,
    updates: int | None = None,
) -> Report:
    """Train at home, and go elsewhere.

    Args:
      quick: 128 users, one seed, 30 updates; the protocol is 4,096 users, 5 seeds, 60 updates. users, seeds, updates: instead.
      data, env: home. user_model: a folder of `jaxreco fit`, of the other user model of home's log: agents go there, and
        agents trained there come home. Two with a comma between are home's own and the other.
      worlds: names of VARIANTS with commas instead of all. agents: names with commas, or "all"; USUAL where it is None.
      runs: folder where trained agents are kept. plot: a heat map of the scores.

    Raises ValueError for worlds and agents that are not there, and JaxrecoError where no mind can be read.
    """
    began = time.perf_counter()
    wanted = ",".join(USUAL) if agents is None else agents
    chosen = several(wanted, ABLE, "The benchmark transfer has no row for")
    variants = several(worlds or "all", VARIANTS, "The benchmark transfer has no variant")
    size = retention.size_of(QUICK if quick else FULL, users=users, seeds=seeds, updates=updates)
    report = Report("transfer", _protocol(env, size), "quick" if quick else "full", 0.0)
    if user_model is not None and not registry.takes_user_model(env):
        report.notes.append(f"{user_model} is not used: {env} is no world of fitted users.")
        user_model = None
    pictures = {}
    for home, places in _homes(env, data, runs, size, variants, user_model):
        names = registry.who_can_live((*ZERO, *chosen, ORACLE), home.params.user)
        found, heard = _lived(home, places, names, PHRASINGS in variants, under(home.id, say))
        matrix = matrix_of(places, found)
        transfer_shown.add(report, home, matrix, found, heard)
        pictures[home.id] = matrix
    report.notes += transfer_shown.remarks(size["seeds"], bool(user_model))
    if plot is not None:
        transfer_shown.draw(plot, pictures)
    report.rows = [dataclasses.replace(row, mode=report.mode) for row in report.rows]
    report.wall_s = time.perf_counter() - began
    return report


def _protocol(env: str, size: dict[str, int]) -> str:
    return (
        f"agents trained in {env} ({size['updates']} updates, {size['seeds']} seed(s)) and set unchanged elsewhere: {size['users']:,} users, "
        f"the same in all worlds, first episode of at most {retention.HORIZON_H:g} hours"
    )


# -- worlds --------------------------------------------------------------------------------------------------


def _homes(
    env: str, data: pathlib.Path | None, runs: pathlib.Path | None, size: dict[str, int], variants: tuple[str, ...],
    user_model: pathlib.Path | None,
) -> Iterator[tuple[retention.World, list[Place]]]:  # fmt: skip
    """Homes, and the places for their agents: the world, and that of the other user model, with each other as `other`."""
    folders = [] if user_model is None else [pathlib.Path(folder) for folder in str(user_model).split(",")]
    if len(folders) > 2:
        raise JaxrecoError(
            f"{user_model} names {len(folders)} user models: give the other one, or two with a comma between."
        )
    home = retention.world_of(env, data, runs, size, folders[0] if len(folders) > 1 else None)
    if not mindset.readable(home.params.user):
        raise JaxrecoError(
            f"The users of {env} have no mind that can be read, so there is no scale to score on: take another world."
        )
    if not folders:
        yield home, places_of(home, variants)
        return
    other = retention.world_of(env, data, runs, size, folders[-1])
    if other.env.n_items != home.env.n_items:
        raise JaxrecoError(
            f"The user model in {folders[-1]} is of {other.env.n_items:,} items and that of home of {home.env.n_items:,}: give one of the same log."
        )
    for one, away in ((home, other), (other, home)):
        places = [*places_of(one, variants), Place(OTHER, away.env, away.params)]
        yield dataclasses.replace(one, id=f"{env}, {_kind(one)}"), places


def _kind(world: retention.World) -> str:
    """What its users are: the name of their model's class, in one word."""
    return type(world.env.user_model).__name__


def places_of(home: retention.World, variants: tuple[str, ...]) -> list[Place]:
    """Home and its variants, home first."""
    places = [Place(HOME, home.env, home.params)]
    if REDRAWN in variants:
        places += [Place(REDRAWN, home.env, redraw(home.params, number)) for number in range(WORLDS)]
    if MNL in variants:
        env, params = registry.make(home.id, data=home.data, choice="mnl", user_model=home.user_model or "mindset")
        places.append(Place(MNL, env, params.replace(horizon_hours=home.params.horizon_hours)))
    if SHIFT in variants:
        jumps = home.params.user.replace(taste_shift_hours=SHIFT_HOURS)
        places.append(Place(SHIFT, home.env, home.params.replace(user=jumps)))
    return places


# -- measuring -----------------------------------------------------------------------------------------------


def _lived(
    home: retention.World, places: list[Place], names: list[str], talks: bool, say: Say
) -> tuple[list[dict[str, retention.Kept]], dict[str, list[phrasings.Heard]]]:
    """(what became of the users of every agent in each place, f64[seeds, users] by metric; how agents follow text).

    Agents are trained or fitted at home. The ends of the scale are each place's own: `static` is found and the oracle reads there.
    """
    columns: list[dict[str, list[dict[str, np.ndarray]]]] = [{name: [] for name in names} for _ in places]
    heard: dict[str, list[phrasings.Heard]] = {}
    for seed in range(home.seeds):
        made = {}
        for name in (name for name in names if not _of_scale(name)):
            told = f"seed {seed + 1} of {home.seeds}: {name}"
            say(told)
            made[name] = home.agent(name, seed, under(told, say))
            if talks and name in retention.LEARNERS:
                say(f"{told}, by text")
                heard.setdefault(name, []).append(phrasings.lives(seed, home.env, home.params, *made[name]))
        for at, place in enumerate(places):
            lives = dict[str, Life]()
            for name in names:
                say(f"seed {seed + 1} of {home.seeds}: world {at + 1} of {len(places)} ({place.kind}), {name}")
                agent = made.get(name) or registry.make_agent(name, jax.random.key(seed), place.env, place.params)
                lives[name], seen = _life(place, agent, home.users, seed, longest_first(lives.values()))
                columns[at][name].append({m: lives[name].column(m) for m in OF_LIVES} | seen)
    found = [
        {name: {m: np.stack([one[m] for one in each]) for m in each[0]} for name, each in of_place.items()}
        for of_place in columns
    ]
    return found, heard


def _of_scale(name: str) -> bool:
    """Whether an agent is made for each world anew, because it is an end of the world's scale that reads its users."""
    return bool(registry.agent_factory(name)().privileged)


def _life(
    place: Place, agent: tuple[Any, Any], users: int, seed: int, order: np.ndarray | None
) -> tuple[Life, dict[str, np.ndarray]]:
    """What an agent made of users, and f64[users] each: the share of clickbait in what they were shown, and their trust at the end."""
    watched = Watched(users, place.params.user.clickbait)
    key = retention.users_of(seed)
    life = live(key, place.env, place.params, *agent, users=users, order=order, watch=watched)
    seen = jax.tree.map(lambda x: np.asarray(x, np.float64), watched.seen)
    return life, {"clickbait": seen.bait / np.maximum(seen.slots, 1.0), "trust": seen.trust}


class Watched:
    """What becomes of users while they live: called after every turn of `evaluation.live`.

    Args: clickbait f32[I], what items hide.
    """

    def __init__(self, users: int, clickbait: Array) -> None:
        self.seen = Seen(jnp.zeros(users), jnp.zeros(users), jnp.full(users, jnp.nan))
        self._clickbait = clickbait

    def __call__(self, before: Lanes, after: Lanes, info: dict[str, Any]) -> None:
        """Add a turn of first episodes."""
        del after
        turn = (before.user, before.finished, info["feedback"].slate, info["mind"]["trust"])
        # From the host: a program over arrays that are shared out would wait for another device, which may wait for the next turn's.
        self.seen = _watch(self.seen, *jax.device_get(turn), self._clickbait)


@jax.jit
def _watch(seen: Seen, user: Array, finished: Array, slate: Array, trust: Array, clickbait: Array) -> Seen:
    """One turn more, of users i32[L] with slates i32[L, K]. Lanes that have no one of their own repeat a user, so shares stay right."""
    there = (slate >= 0) & ~finished[:, None]
    bait = there & (clickbait[jnp.maximum(slate, 0)] > 0)
    nobody = seen.trust.shape[0]
    return Seen(
        slots=seen.slots.at[user].add(there.sum(axis=1)),
        bait=seen.bait.at[user].add(bait.sum(axis=1)),
        trust=seen.trust.at[jnp.where(finished, nobody, user)].set(trust, mode="drop"),
    )


def matrix_of(places: list[Place], found: list[dict[str, retention.Kept]]) -> Matrix:
    """The rewards of all agents in all places."""
    names = tuple(found[0])
    reward = np.array([[each[name]["reward"] for name in names] for each in found])
    return Matrix(
        kinds=tuple(place.kind for place in places),
        agents=names,
        reward=reward,
        learners=tuple(name for name in names if name in retention.LEARNERS),
    )
