"""How soon is a slate as good for somebody new as for somebody known? Agents meet new users, turn by turn.

Users begin without a history and stay whatever they are shown, so that all agents are compared over the same users and turns: nobody is
lost and no clock stops. A slate is as good as for a known user once it reaches 90 % of what the same agent shows the same users after 200
turns, by NDCG against their lasting tastes. Whoever does not learn is there at once, and low: what a newcomer is given is in the first
turns' NDCG and minutes, beside popularity's.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxreco import files, registry
from jaxreco.benchmarks import retention
from jaxreco.benchmarks.report import Report, Row, Say, over, plain_table, under
from jaxreco.errors import JaxrecoError
from jaxreco.evaluation import RESAMPLES
from jaxreco.lanes import Stage
from jaxreco.names import several
from jaxreco.report.standing import ORACLES, Estimate, narrow, words

TURNS = 250
KNOWN_FROM = 200  # turns after which a user is known, until the last
EARLY = (20, 60)  # turns of a newcomer
GOOD = 0.9  # of what is shown to a known user
WINDOW = 5  # turns whose mean is looked at: a turn alone is noise
BASELINE = "popularity"
ABLE = tuple(name for name in retention.AGENTS if name != "oracle_plan")
USUAL = ("random", "popularity", "static", "item_knn", "linucb", "thompson", *retention.LEARNERS, "oracle_greedy")
QUICK = {"users": 128, "seeds": 1, "updates": 30}
FULL = {"users": 2048, "seeds": 5, "updates": 60}
METRICS = ("ndcg", "minutes", "clicks")
SPANS = {f"first{turns}": slice(0, turns) for turns in EARLY} | {"known": slice(KNOWN_FROM, TURNS)}

# What one agent did for its users: f32[seeds, turns, users] by METRICS.
Course = dict[str, np.ndarray]


def run(
    *,
    quick: bool = True,
    say: Say = lambda text: None,
    data: pathlib.Path | None = None,
    env: str = "Feed-v0",
    agents: str | None = None,
    runs: pathlib.Path | None = None,
    plot: pathlib.Path | None = None,
    users: int | None = None,
    seeds: int | None = None,
    updates: int | None = None,
) -> Report:
    """Let agents meet new users.

    Args:
      quick: 128 users, one seed, 30 updates; the protocol is 2,048 users, 5 seeds, 60 updates. users, seeds, updates: instead.
      data, env: the world. agents: names with commas, or "all"; USUAL where it is None. Popularity is always run.
      runs: folder where trained agents are kept, and shared with `retention`. plot: slates by turn, a picture.

    Raises ValueError for worlds and agents that are not there, and JaxrecoError where no mind can be read.
    """
    began = time.perf_counter()
    wanted = ",".join(USUAL) if agents is None else agents
    chosen = several(wanted, ABLE, "The benchmark newcomers has no row for")
    names = [name for name in ABLE if name in chosen or name == BASELINE]
    size = retention.size_of(QUICK if quick else FULL, users=users, seeds=seeds, updates=updates)
    home = retention.world_of(env, data, runs, size)
    courses = _courses(home, registry.who_can_live(names, home.params.user), say)
    report = Report("newcomers", _protocol(home), "quick" if quick else "full", 0.0)
    report.rows = [dataclasses.replace(row, mode=report.mode) for row in _rows(home, courses)]
    report.tables = [_levels(home.id, courses), _gains(courses)]
    report.notes = _remarks(home.seeds)
    if plot is not None:
        _draw(plot, courses, home.id)
    report.wall_s = time.perf_counter() - began
    return report


def _protocol(home: retention.World) -> str:
    return (
        f"{home.id}: {home.users:,} new users, {home.seeds} seed(s), {TURNS} turns, nobody is lost; {', '.join(retention.LEARNERS)} are trained for "
        f"{home.train.updates} updates in the world as it is, and their temperature is chosen on other users"
    )


def _remarks(seeds: int) -> list[str]:
    over_what = "users (bootstrap)" if seeds == 1 else "seeds (Student's t)"
    notes = [
        f"± is half the 95 % interval over {over_what}. first N: means of the first N turns. known: of turns {KNOWN_FROM + 1} to {TURNS}.",
        "NDCG: what the user's lasting tastes say of the slate, over the best slate of the catalog. minutes: engaged, a turn.",
        f"turns until: shown before the mean NDCG of {WINDOW} turns reaches {GOOD:.0%} of known, by the same agent for the same users. An agent "
        "that does not learn of its users is there at once.",
    ]
    return notes if seeds > 1 else [*notes, "One seed: training with another may end elsewhere."]


# -- measuring -----------------------------------------------------------------------------------------------


def _courses(home: retention.World, names: list[str], say: Say) -> dict[str, Course]:
    """What every agent did for its users, seed by seed."""
    endless = home.params.replace(horizon_hours=np.float32(np.inf), churn_hours=np.float32(np.inf))
    endless = endless.replace(max_steps_in_episode=TURNS + 1)
    found: dict[str, list[Course]] = {name: [] for name in names}
    for seed in range(home.seeds):
        key = retention.users_of(seed)
        gains = retention.tastes(key, home.env, home.params, home.users)
        if gains is None:
            raise JaxrecoError(
                f"The users of {home.id} have no mind that can be read: take a world whose tastes are known."
            )
        for name in names:
            told = f"seed {seed + 1} of {home.seeds}: {name}"
            say(told)
            agent = home.agent(name, seed, under(told, say))
            found[name].append(_course(key, home.env, endless, agent, gains))
    return {name: {m: np.stack([one[m] for one in each]) for m in METRICS} for name, each in found.items()}


def _course(key: jax.Array, env: Any, params: Any, agent: tuple[Any, Any], gains: np.ndarray) -> Course:
    """f32[TURNS, users] by METRICS, of an agent's users. Args: gains f32[users, I], what the users' tastes say of items."""
    stage = Stage.of(key, env, params, *agent)
    users = len(gains)
    slates = np.empty((TURNS, users, env.slate_size), np.int32)
    found = {metric: np.empty((TURNS, users), np.float32) for metric in METRICS}
    for at in range(0, users, stage.lanes):
        some = np.arange(at, min(at + stage.lanes, users))
        lanes, memory = stage.begin(some)
        for turn in range(TURNS):
            lanes, memory, _, info = stage.turn(lanes, memory)
            slates[turn, some] = np.asarray(info["feedback"].slate)[: len(some)]
            for metric in ("minutes", "clicks"):
                found[metric][turn, some] = np.asarray(info[metric])[: len(some)]
    found["ndcg"] = retention.ndcg(slates, gains).astype(np.float32)
    return found


def turns_until(ndcg: np.ndarray) -> float:
    """Turns before the mean of WINDOW turns f[TURNS] reaches GOOD of the mean from KNOWN_FROM on; it does so there at the latest."""
    level = GOOD * ndcg[KNOWN_FROM:].mean()
    windows = np.convolve(ndcg, np.full(WINDOW, 1.0 / WINDOW), mode="valid")
    return float(np.argmax(windows >= level))


def until(course: Course) -> Estimate:
    """`turns_until` of the mean user, with its interval: over users for one seed, over seeds for more."""
    ndcg = course["ndcg"]
    if len(ndcg) > 1:
        return over(np.array([[turns_until(each.mean(axis=1))] for each in ndcg]))
    rng, n = np.random.default_rng(0), ndcg.shape[2]
    draws = [turns_until(ndcg[0][:, rng.integers(n, size=n)].mean(axis=1)) for _ in range(RESAMPLES)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(turns_until(ndcg[0].mean(axis=1)), float(low), float(high))


def mean(course: Course, metric: str, span: str) -> np.ndarray:
    """f64[seeds, users]: the mean of a metric over the turns of one of SPANS."""
    return course[metric][:, SPANS[span]].mean(axis=1, dtype=np.float64)


# -- what is shown -------------------------------------------------------------------------------------------


def _rows(home: retention.World, courses: Mapping[str, Course]) -> Iterator[Row]:
    about: dict[str, Any] = {"world": home.id, "n_users": home.users, "n_seeds": home.seeds}
    about["dataset"] = home.data.name if home.data is not None else None
    for name, course in courses.items():
        yield Row("turns_until_known", agent=name, protocol="newcomers", **vars(until(course)), **about)
        for metric in METRICS:
            for span in SPANS:
                values = mean(course, metric, span)
                yield Row(metric, agent=name, protocol=span, **vars(over(values)), **about)
                if name != BASELINE:
                    less = over(values - mean(courses[BASELINE], metric, span))
                    yield Row(metric, agent=name, against=BASELINE, protocol=span, **vars(less), **about)


def _levels(world: str, courses: Mapping[str, Course]) -> Any:
    """NDCG and minutes of newcomers and of known users, and how soon the one becomes the other."""
    ends = (next(iter(SPANS)), "known")  # of minutes, so that the table fits a terminal
    columns = [("ndcg", span) for span in SPANS] + [("minutes", span) for span in ends]
    heads = [f"{metric.replace('ndcg', 'NDCG')}\n{_spell(span)}" for metric, span in columns]
    table = plain_table(world, *heads, "turns\nuntil", words=1, title="New users")
    table.padding = (0, 1, 0, 0)
    for name, course in courses.items():
        table.add_row(name, *(_cell(over(mean(course, *which))) for which in columns), _span(until(course)))
    return table


def _gains(courses: Mapping[str, Course]) -> Any:
    """What newcomers are given beside what popularity gives them."""
    columns = [(metric, f"first{turns}") for metric in ("ndcg", "minutes") for turns in EARLY]
    heads = (f"{metric.replace('ndcg', 'NDCG')}\n{_spell(span)}" for metric, span in columns)
    table = plain_table(f"less {BASELINE}", *heads, words=1, title=f"Newcomers beside {BASELINE}")
    table.padding = (0, 1, 0, 0)
    for name in (name for name in courses if name != BASELINE):
        each = [over(mean(courses[name], *which) - mean(courses[BASELINE], *which)) for which in columns]
        table.add_row(name, *(f"{narrow(words(one, sign=True))}\n{one.verdict}" for one in each))
    return table


def _spell(span: str) -> str:
    return span.replace("first", "first ")


def _cell(found: Estimate) -> str:
    return narrow(words(found))


def _span(found: Estimate) -> str:
    """A number of turns and its interval, which is wider on one side."""
    return f"{found.value:.0f} ({found.low:.0f}-{found.high:.0f})"


def _draw(path: pathlib.Path, courses: Mapping[str, Course], world: str) -> None:
    """NDCG and minutes of the first turns, and at the right edge what known users have."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    shown = EARLY[-1]
    for axes, (metric, label) in zip(
        figure.subplots(1, 2), (("ndcg", "NDCG by lasting tastes"), ("minutes", "minutes a turn")), strict=True
    ):
        for at, (name, course) in enumerate(courses.items()):
            curve = course[metric].mean(axis=(0, 2))
            smooth = np.convolve(curve, np.full(WINDOW, 1.0 / WINDOW), mode="valid")[:shown]
            style = {"color": f"C{at % 10}", "linestyle": "--" if name in ORACLES else "-"}
            axes.plot(np.arange(1, len(smooth) + 1), smooth, label=name, linewidth=1.6, **style)
            axes.plot([shown + 8], [mean(course, metric, "known").mean()], marker="o", markersize=5, **style)
        axes.axvline(shown + 3, color="0.8", linewidth=0.8)
        axes.set_xticks([1, *range(10, shown + 1, 10), shown + 8], [1, *range(10, shown + 1, 10), "known"], fontsize=8)
        axes.set_xlabel(f"turn (mean of {WINDOW} from there on)")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0.0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"New users in {world}", fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=8, ncols=6, loc="outside lower center")
    with files.written_whole(path) as file:
        figure.savefig(file, format="png", dpi=144)
