"""Does an agent keep its users? All agents over the same users for 31 days: who comes back, how often, and what that has to do with accuracy.

How well a slate fits a user's tastes (NDCG), how varied it is, and how much of the catalog is shown at all stand beside what became of the users:
retention is not accuracy.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco import files, registry
from jaxreco.benchmarks import trained
from jaxreco.benchmarks.report import Report, Row, Say, over, plain_table, under
from jaxreco.evaluation import Life, live, longest_first
from jaxreco.evaluation import score as place_of
from jaxreco.learning import temperature
from jaxreco.learning.config import TrainConfig
from jaxreco.names import several
from jaxreco.report.standing import ORACLES, ZERO, Estimate, narrow, score_of, words
from jaxreco.rollout import begin
from jaxreco.users import mindset

Array = jax.Array

HORIZON_H = 744.0  # so that day 30 exists
BASELINES = ("random", "popularity", "static", "item_knn", "ease", "sasrec", "linucb", "thompson")
LEARNERS = ("reinforce", "ppo", "grpo", "generative", "agentic")
AGENTS = (*BASELINES, *LEARNERS, *ORACLES)
QUICK = {"users": 512, "seeds": 1, "updates": 30}
FULL = {"users": 4096, "seeds": 5, "updates": 60}
OF_LIVES = ("reward", "sessions_30d", "turns_per_session", "minutes", "gap_hours", "d1", "d7", "d30", "churn")
OF_SLATES = ("diversity", "ndcg")
COMPARED = ("reward", "sessions_30d")
# Two tables of a world: what became of users, and what they were shown.
TABLES = (
    {
        "reward": "reward", "score": "score", "sessions_30d": "sessions", "turns_per_session": "turns a\nsession",
        "gap_hours": "hours\nbetween", "churn": "lost",
    },
    {"d1": "day 1", "d7": "day 7", "d30": "day 30", "ndcg": "NDCG", "diversity": "diversity", "coverage": "coverage"},
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class World:
    """A world of the benchmark, and how agents are made for it."""

    id: str
    env: Any
    params: Any
    users: int
    seeds: int
    train: TrainConfig
    runs: pathlib.Path | None
    data: pathlib.Path | None
    user_model: pathlib.Path | None = None  # a folder of `jaxreco fit`, where its users are of one

    def agent(self, name: str, seed: int, say: Say) -> tuple[Any, Any]:
        """(agent, agent_params) of a seed, trained where it learns."""
        key = jax.random.fold_in(jax.random.key(seed), 2 + AGENTS.index(name))
        if name not in LEARNERS:
            return registry.make_agent(name, key, self.env, self.params)
        config = trained.as_it_learns(name, self.train)
        made_by = (self.data and str(self.data), self.user_model and str(self.user_model), config)
        folder = trained.place(self.runs, f"{self.id}-{name}-{seed}", *made_by)
        key, trial = jax.random.split(key)
        agent, agent_params = trained.learner(name, key, self.env, self.params, config, folder=folder, say=say)
        return agent, temperature.choose(trial, self.env, self.params, agent, agent_params)[0]


# What became of the users of one agent: f64[seeds, users] by metric; coverage f64[seeds, 1].
Kept = dict[str, np.ndarray]


def run(
    *,
    quick: bool = True,
    say: Say = lambda text: None,
    data: pathlib.Path | None = None,
    env: str = "Feed-v0",
    agents: str = "all",
    runs: pathlib.Path | None = None,
    plot: pathlib.Path | None = None,
    users: int | None = None,
    seeds: int | None = None,
    updates: int | None = None,
) -> Report:
    """Let agents keep users.

    Args:
      quick: fewer users, seeds and updates, without the oracle that plans.
      data: for worlds that are made from real data. env, agents: names with commas; "all" for the agents.
      runs: folder where trained agents are kept. plot: accuracy against retention, a picture.
      users, seeds, updates: instead of those of the protocol.

    Raises ValueError for worlds and agents that are not there.
    """
    began = time.perf_counter()
    chosen = several(agents, AGENTS, "The benchmark retention has no row for")
    if quick and agents == "all":
        chosen = chosen[:-1]  # the oracle that plans takes long
    chosen = tuple(name for name in AGENTS if name in chosen)
    size = size_of(QUICK if quick else FULL, users=users, seeds=seeds, updates=updates)
    report = Report("retention", _protocol(size), "quick" if quick else "full", 0.0)
    found = {}
    for name in dict.fromkeys(part.strip() for part in env.split(",")):
        world = world_of(name, data, runs, size)
        found[name] = _kept(world, registry.who_can_live(chosen, world.params.user), under(name, say))
        _add(report, world, found[name])
    report.notes += _remarks(size)
    if plot is not None:
        _draw(plot, found)
    report.rows = [dataclasses.replace(row, mode=report.mode) for row in report.rows]
    report.wall_s = time.perf_counter() - began
    return report


def _protocol(size: dict[str, int]) -> str:
    return (
        f"{size['users']:,} users, {size['seeds']} seed(s), first episode of at most {HORIZON_H:g} hours, same users and randomness for all agents of "
        f"a seed; {', '.join(LEARNERS)} are trained for {size['updates']} updates of {TrainConfig.users} users x {TrainConfig.turns} "
        "turns, and their temperature is chosen on other users"
    )


def _remarks(size: dict[str, int]) -> list[str]:
    over_what = "users (bootstrap)" if size["seeds"] == 1 else "seeds (Student's t)"
    notes = [
        f"± is half the 95 % interval over {over_what}. sessions: of the first 30 days. day N: a session begins in hours 24 N to 24 N + 24.",
        "NDCG: what the user's tastes say of the latest slate, before anything is sated, over the best slate of the catalog. diversity: 1 less the "
        "mean cosine of two items of a slate. coverage: share of the catalog in the latest slates of all users.",
        f"Score: 0 is the best of {', '.join(ZERO)}, 1 the better oracle that was run.",
    ]
    return notes if size["seeds"] > 1 else [*notes, "One seed: training with another may end elsewhere."]


def size_of(usual: dict[str, int], **asked: int | None) -> dict[str, int]:
    """Users, seeds and updates: as asked, or as usual where that is None."""
    return {name: usual[name] if value is None else value for name, value in asked.items()}


def world_of(
    name: str, data: pathlib.Path | None, runs: pathlib.Path | None, size: dict[str, int],
    user_model: pathlib.Path | None = None,
) -> World:  # fmt: skip
    """A world of the benchmark. Args: size, of QUICK. user_model: a folder of `jaxreco fit`. Raises ValueError for an unknown world."""
    data = data if data is not None and registry.takes_data(name) else None
    env, params = registry.make(name, data=data, user_model=user_model or "mindset")
    params = params.replace(horizon_hours=np.float32(HORIZON_H))
    train = TrainConfig(updates=size["updates"])
    return World(name, env, params, size["users"], size["seeds"], train, runs, data, user_model)


# -- measuring -----------------------------------------------------------------------------------------------


def _kept(world: World, names: list[str], say: Say) -> dict[str, Kept]:
    """Every agent's users, seed by seed."""
    columns: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in names}
    for seed in range(world.seeds):
        lives = dict[str, Life]()
        key = users_of(seed)
        gains = tastes(key, world.env, world.params, world.users)
        for at, name in enumerate(names):
            told = f"seed {seed + 1} of {world.seeds}: {name}"
            say(told)
            agent, its_params = world.agent(name, seed, under(told, say))
            say(f"{told}, {at + 1} of {len(names)}, its users")
            order = longest_first(lives.values())
            lives[name] = live(key, world.env, world.params, agent, its_params, users=world.users, order=order)
            columns[name].append(_columns(lives[name], world, gains))
    return {name: {m: np.stack([one[m] for one in each]) for m in each[0]} for name, each in columns.items()}


def _columns(life: Life, world: World, gains: np.ndarray | None) -> dict[str, np.ndarray]:
    """f64[users] by metric, and coverage f64[1]."""
    found = {metric: life.column(metric) for metric in OF_LIVES}
    catalog = world.params.truth(world.params.catalog)
    found["diversity"] = diversity(life.slates, np.asarray(catalog.embedding))
    found["coverage"] = np.array([len(np.unique(life.slates[life.slates >= 0])) / world.env.n_items])
    if gains is not None:
        found["ndcg"] = ndcg(life.slates, gains)
    return found


def users_of(seed: int) -> Array:
    """The key of the users of a seed's table, and of their luck."""
    return jax.random.fold_in(jax.random.key(seed), 1)


def tastes(key: Array, env: Any, params: Any, users: int) -> np.ndarray | None:
    """f32[users, I]: the chance that each user clicks each item, by its tastes alone; None where no mind can be read."""
    if not mindset.readable(params.user):
        return None
    catalog = params.truth(params.catalog)

    @jax.jit
    def of(users: Array) -> Array:
        rows = jax.vmap(lambda user: begin(key, user, env, params).user.row)(users)
        return jax.lax.map(lambda row: jax.nn.sigmoid(params.user.usual_appeal(row, catalog)), rows)

    return np.asarray(of(jnp.arange(users, dtype=jnp.int32)))


def ndcg(slates: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """f64[..., B]: discounted gain of slates i32[..., B, K] over that of the best slate (Järvelin & Kekäläinen 2002). gains f[B, I]."""
    discount = 1.0 / np.log2(np.arange(slates.shape[-1]) + 2.0)
    shown = gains[np.arange(len(gains))[:, None], np.maximum(slates, 0)] * (slates >= 0)
    best = -np.sort(-gains, axis=1)[:, : slates.shape[-1]]
    return (shown @ discount) / np.maximum(best @ discount[: best.shape[1]], 1e-12)


def diversity(slates: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """f64[B]: 1 less the mean cosine of two items of slates i32[B, K] (Ziegler et al. 2005). embedding f[I, D], unit length."""
    size = slates.shape[1]
    if size < 2:
        return np.zeros(len(slates))
    items = embedding[np.maximum(slates, 0)].astype(np.float64)
    total = np.square(items.sum(axis=1)).sum(axis=-1) - np.square(items).sum(axis=(1, 2))
    return 1.0 - total / (size * (size - 1))


# -- what is shown -------------------------------------------------------------------------------------------


def scores(found: dict[str, Kept]) -> dict[str, Estimate]:
    """By agent: its place between the best of ZERO and the better oracle; none without one of each."""
    zeros, ones = ([name for name in names if name in found] for names in (ZERO, ORACLES))
    if not zeros or not ones:
        return {}
    means = {name: kept["reward"].mean(axis=1) for name, kept in found.items()}
    zero, one = (max(names, key=lambda name: float(means[name].mean())) for names in (zeros, ones))
    if len(means[zero]) > 1:
        each = {
            name: np.array([place_of(*x) for x in zip(m, means[zero], means[one], strict=True)])
            for name, m in means.items()
        }
        return {name: over(values[:, None]) for name, values in each.items()}
    return {name: score_of(np.stack([found[each]["reward"][0] for each in (name, zero, one)])) for name in found}


def best_baseline(found: dict[str, Kept]) -> str | None:
    """The baseline of the greatest reward; None where none was run."""
    able = [name for name in BASELINES if name in found]
    return max(able, key=lambda name: float(found[name]["reward"].mean()), default=None)


def _add(report: Report, world: World, found: dict[str, Kept]) -> None:
    report.rows += list(_rows(world, found))
    places = scores(found)
    for heads in TABLES:
        metrics = [m for m in heads if m == "score" or m in next(iter(found.values()))]
        table = plain_table(world.id, *(heads[m] for m in metrics), words=1)
        table.padding = (0, 1, 0, 0)
        for name, kept in found.items():
            cells = [places.get(name) if m == "score" else over(kept[m]) for m in metrics]
            table.add_row(name, *("-" if one is None else narrow(words(one)) for one in cells))
        report.tables.append(table)
    best = best_baseline(found)
    learners = [name for name in found if name in LEARNERS]
    if best is None or not learners:
        return
    gains = plain_table("", *(f"{m}\nless {best}" for m in COMPARED), "", words=1)
    for name in learners:
        each = [over(found[name][m] - found[best][m]) for m in COMPARED]
        gains.add_row(name, *(words(one, sign=True) for one in each), each[0].verdict)
    report.tables.append(gains)


def _rows(world: World, found: dict[str, Kept]) -> Iterator[Row]:
    about: dict[str, Any] = {
        "world": world.id,
        "protocol": f"{HORIZON_H:g}h",
        "n_users": world.users,
        "n_seeds": world.seeds,
    }
    about["dataset"] = world.data.name if world.data is not None else None
    places, best = scores(found), best_baseline(found)
    for name, kept in found.items():
        for metric, values in kept.items():
            yield Row(metric, agent=name, **vars(over(values)), **about)
        if name in places:
            yield Row("score", agent=name, **vars(places[name]), **about)
        others = [best] if name in LEARNERS else []
        others += ["ppo"] if name in LEARNERS and name != "ppo" and "ppo" in found else []
        for other in filter(None, others):
            for metric in COMPARED:
                less = over(kept[metric] - found[other][metric])
                yield Row(metric, agent=name, against=other, **vars(less), **about)


def _draw(path: pathlib.Path, worlds: dict[str, dict[str, Kept]]) -> None:
    """How often users come against how well slates fit their tastes, an agent a point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * len(worlds), 4.2), layout="constrained")
    for axes, (world, found) in zip(np.ravel(figure.subplots(1, len(worlds))), worlds.items(), strict=True):
        shown = {name: kept for name, kept in found.items() if "ndcg" in kept}
        for at, (name, kept) in enumerate(sorted(shown.items(), key=lambda one: float(one[1]["ndcg"].mean()))):
            x, y = (float(kept[m].mean()) for m in ("ndcg", "sessions_30d"))
            kind = "C1" if name in LEARNERS else "0.6" if name in ORACLES else "C0"
            axes.scatter(x, y, color=kind, s=28, zorder=2)
            # The names of neighbours go to either side, so that they keep apart.
            beside, side = ((5, -11), "left") if at % 2 else ((-5, 5), "right")
            axes.annotate(name, (x, y), xytext=beside, textcoords="offset points", fontsize=8, ha=side)
        axes.set_xlabel("NDCG of slates by tastes")
        axes.set_ylabel("sessions in 30 days")
        axes.set_title(world, fontsize=10)
        axes.margins(x=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    with files.written_whole(path) as file:
        figure.savefig(file, format="png", dpi=144)
