"""User-turns a second of the world alone, with a policy and in training, beside rivals in the same run.

A user-turn is one simulated user who receives one slate of ten, reviews it, and possibly leaves and comes back;
auto-reset is included. Every figure is measured in a process of its own, without a cache of compiled programs; ours
and the rivals take turns, so that a ratio compares the same minutes of the same machine.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

from rich.table import Table

from jaxreco.benchmarks import rivals
from jaxreco.benchmarks.report import Report, Row, plain_table, short
from jaxreco.benchmarks.throughput_worker import Spec, measure
from jaxreco.errors import JaxrecoError

POLICY = "ppo"
PROTOCOL = (
    "user-turns a second, O(K) random slates of 10 or a policy's, auto-reset included; every figure in a process of "
    "its own, one host device a core, no compilation cache; median and range over repeats."
)
RATES = {
    "slates": "random slates alone",
    "env_alone": "world alone",
    "with_policy": f"world and {POLICY}",
    "training": f"training {POLICY}",
    "learned": "fitted users alone",
}
LEARNED_USERS, LEARNED_HISTORY = 1024, 64


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
      users: numbers of users. headline: the one that is compared with rivals.
      training: users of the training update. rounds: how often ours and the rivals take turns.
      repeats: of a figure. seconds: of a repeat.
      world: registered name. world_options: its statics. silence: statics under which its users say nothing, if any.
    """

    users: tuple[int, ...]
    headline: int = 8192
    training: tuple[int, ...] = (512,)
    rounds: int = 3
    repeats: int = 5
    seconds: float = 1.0
    world: str = "Feed-v0"
    world_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    silence: dict[str, Any] = dataclasses.field(default_factory=lambda: {"talks": False})


QUICK = Plan(users=(1, 512, 8192))
FULL = Plan(users=(1, 8, 64, 512, 4096, 8192, 32768, 2**17), training=(512, 4096), rounds=5, repeats=7, seconds=3.0)


@dataclasses.dataclass
class Figure:
    """Rates of one thing at one number of users, pooled over rounds; or why there are none."""

    protocol: str
    agent: str
    users: int
    rounds: list[list[float]] = dataclasses.field(default_factory=list)
    compile_s: list[float] = dataclasses.field(default_factory=list)
    peak_mb: float | None = None
    skipped: str | None = None

    @property
    def rates(self) -> list[float]:
        """Every repeat of every round."""
        return [rate for one in self.rounds for rate in one]

    def add(self, result: dict[str, Any]) -> None:
        """Take in one process's result."""
        if "skipped" in result:
            self.skipped = result["skipped"]
            return
        self.rounds.append(result["rates"])
        if "compile_s" in result:
            self.compile_s.append(result["compile_s"])
            self.peak_mb = max(self.peak_mb or 0.0, result["peak_mb"])


def run(
    *,
    quick: bool = True,
    say: Callable[[str], None] = lambda text: None,
    peers: pathlib.Path | None = None,
    peers_python: str | None = None,
    user_model: pathlib.Path | None = None,
    plan: Plan | None = None,
) -> Report:
    """Measure, and report.

    Args:
      quick: fewer numbers of users, repeats and rounds.
      say: called with what is being measured.
      peers: folder of the rivals' scripts. peers_python: "recsim=PATH,recsim_ng=PATH", their interpreters.
      user_model: folder of a fitted user (jaxreco fit), whose world is measured too. plan: instead of the quick or full one.

    Raises JaxrecoError for a folder or an interpreter that is not there.
    """
    began, load = time.perf_counter(), os.getloadavg()[0]
    plan = plan or (QUICK if quick else FULL)
    pythons = _pythons(peers, peers_python)
    if user_model is not None and not user_model.is_dir():
        raise JaxrecoError(f"There is no folder {user_model}: --user-model is a folder of jaxreco fit.")
    devices: set[str] = set()

    def ours(figure: Figure, what: str) -> None:
        say(f"{RATES[figure.protocol]}, {figure.users:,} users")
        spec = Spec(what, figure.users, figure.agent, plan.world, plan.world_options, plan.seconds, plan.repeats)
        result = measure(spec)
        devices.update([result["device"]] if "device" in result else [])
        figure.add(result)

    headline, theirs = _take_turns(plan, ours, say, peers, pythons)
    figures = [headline, *_alone(plan, ours)]
    figures.sort(key=lambda figure: (list(RATES).index(figure.protocol), figure.users))
    shared: dict[str, Any] = {"n_seeds": 1, "mode": "quick" if quick else "full"}
    rows = [row for figure in figures for row in _rows(figure, world=plan.world, **shared)]
    for rival, figure in theirs:
        rows += _rival_rows(rival, figure, headline, plan.world, **shared)
    notes = [f"the machine was busy before (load {load:.1f}): figures are too low."] if load > 0.5 else []
    notes += [f"{RATES[f.protocol]}, {f.users:,} users: skipped, {f.skipped}." for f in figures if f.skipped]
    if plan.silence:
        say("world alone, with and without words")
        row, note = _talking(plan, **shared)
        rows.append(row)
        notes.append(note)
    tables = [_table(figures, plan.world)]
    if user_model is not None:
        say("fitted users")
        learned, note = _learned(plan, user_model, devices)
        rows += [row for figure in learned for row in _rows(figure, world="Learned-v0", **shared)]
        tables.append(_table(learned, "Learned-v0"))
        notes.append(note)
    if any(figure.rates for _, figure in theirs):
        tables.append(_rival_table(theirs, headline))
    return Report(
        "throughput",
        PROTOCOL,
        shared["mode"],
        time.perf_counter() - began,
        rows,
        notes + _missing(theirs, peers, pythons),
        tables,
        device="; ".join(sorted(devices)) or "none: nothing ran",
    )


def _pythons(peers: pathlib.Path | None, named: str | None) -> dict[str, pathlib.Path]:
    if peers is None:
        if named is not None:
            raise JaxrecoError("--peers-python names interpreters for the scripts of --peers: give that folder too.")
        return {}
    if not peers.is_dir():
        raise JaxrecoError(f"There is no folder {peers}: --peers is the folder with the rivals' scripts.")
    scripts = sorted({rival.script for rival in rivals.RIVALS})
    if not any((peers / script).is_file() for script in scripts):
        raise JaxrecoError(f"{peers} has none of the rivals' scripts ({', '.join(scripts)}).")
    return rivals.interpreters(peers, named)


def _take_turns(
    plan: Plan,
    ours: Callable[[Figure, str], None],
    say: Callable[[str], None],
    peers: pathlib.Path | None,
    pythons: dict[str, pathlib.Path],
) -> tuple[Figure, list[tuple[rivals.Rival, Figure]]]:
    """Ours, theirs, ours, theirs: the world alone at the headline's number of users, and every rival."""
    headline = Figure("env_alone", "random", plan.headline)
    theirs = [(rival, Figure("rival", rival.recommender, 0)) for rival in rivals.RIVALS] if peers else []
    ready = [(rival, figure) for rival, figure in theirs if rival.package in pythons]
    for turn in range(plan.rounds if ready else 1):
        ours(headline, "rollout")
        for rival, figure in ready:
            if figure.skipped:
                continue
            say(f"{rival.title}, round {turn + 1} of {plan.rounds}")
            assert peers is not None
            result = rivals.time_rival(rival, peers, pythons[rival.package], repeats=plan.repeats, seconds=plan.seconds)
            figure.users = result.get("batch", 0)
            figure.add(result if "skipped" in result else {"rates": result["runs"]})
    return headline, theirs


def _alone(plan: Plan, ours: Callable[[Figure, str], None]) -> list[Figure]:
    """Everything that no rival is compared with."""
    figures = [(Figure("slates", "random", plan.headline), "slates")]
    figures += [(Figure("env_alone", "random", users), "rollout") for users in plan.users if users != plan.headline]
    figures += [(Figure("with_policy", POLICY, users), "rollout") for users in plan.users]
    figures += [(Figure("training", POLICY, users), "training") for users in plan.training]
    broken: dict[str, str] = {}
    for figure, what in figures:
        if figure.protocol in broken and figure.protocol != "env_alone":
            figure.skipped = broken[figure.protocol]  # more users will not mend it
            continue
        ours(figure, what)
        if figure.skipped:
            broken[figure.protocol] = figure.skipped
    return [figure for figure, _ in figures]


def _learned(plan: Plan, user_model: pathlib.Path, devices: set[str]) -> tuple[list[Figure], str]:
    """The world of a fitted user with random slates, and how much of the machine's rate of products of matrices that is."""
    figure = Figure("learned", "random", LEARNED_USERS)
    options = {"user_model": str(user_model.resolve()), "history_length": LEARNED_HISTORY}
    found = measure(Spec("rollout", figure.users, "random", "Learned-v0", options, plan.seconds, plan.repeats))
    figure.add(found)
    devices.update([found["device"]] if "device" in found else [])
    work = measure(Spec("work", figure.users, "random", "Learned-v0", options, plan.seconds, plan.repeats))
    if "skipped" in work or not figure.rates:
        return [figure], f"fitted users: {work.get('skipped', figure.skipped)}."
    rate, median = statistics.median(work["rates"]), statistics.median(figure.rates)
    return [figure], (
        f"A turn of a fitted user is {work['flops'] / 1e6:.2f} million floating-point operations in products of matrices; that is "
        f"{median * work['flops'] / rate:.0%} of the {rate / 1e9:,.0f} GFLOP/s of a product of 2,048 by 2,048 here."
    )


def _talking(plan: Plan, **shared: Any) -> tuple[Row, str]:
    """What is left of the world's speed when its users talk: taking turns with silent ones, in one process."""
    found = measure(
        Spec(
            "ratio",
            plan.headline,
            world=plan.world,
            world_options=plan.world_options,
            other_options=plan.silence,
            seconds=plan.seconds,
            repeats=3 * plan.repeats,
        )
    )
    shared |= {"protocol": "env_alone", "agent": "random", "n_users": plan.headline, "world": plan.world}
    if "skipped" in found:
        return Row("user_turns_per_s_ratio", None, against="silence", **shared), f"with words: {found['skipped']}."
    median, low, high = spread(found["ratios"])
    note = f"With users who talk the world alone keeps {median:.2f} ({low:.2f} .. {high:.2f}) of its speed in silence."
    return _row("user_turns_per_s_ratio", found["ratios"], against="silence", **shared), note


def _rows(figure: Figure, **shared: Any) -> list[Row]:
    """Speed, compile seconds and peak memory of one figure."""
    shared |= {"protocol": figure.protocol, "agent": figure.agent, "n_users": figure.users}
    if not figure.rates:
        return [Row("user_turns_per_s", None, **shared)]
    return [
        _row("user_turns_per_s", figure.rates, **shared),
        _row("compile_s", figure.compile_s, **shared),
        Row("peak_memory_mb", figure.peak_mb, **shared),
    ]


def _row(metric: str, values: list[float], **shared: Any) -> Row:
    median, low, high = spread(values)
    return Row(metric, median, low, high, **shared)


def spread(values: list[float]) -> tuple[float, float, float]:
    """(median, lowest, highest)."""
    return statistics.median(values), min(values), max(values)


def ratios(ours: Figure, theirs: Figure) -> list[float]:
    """Ours / theirs, one ratio a round: medians that were measured one after the other."""
    pairs = zip(ours.rounds, theirs.rounds, strict=False)
    return [statistics.median(a) / statistics.median(b) for a, b in pairs]


def _rival_rows(rival: rivals.Rival, figure: Figure, headline: Figure, world: str, **shared: Any) -> list[Row]:
    """A rival's speed, and how many times faster ours is."""
    shared |= {"protocol": "env_alone"}
    theirs: dict[str, Any] = {"world": rival.world, "agent": rival.recommender, "n_users": figure.users or None}
    if not figure.rates:
        return [Row("user_turns_per_s", None, **theirs, **shared)]
    rows = [_row("user_turns_per_s", figure.rates, **theirs, **shared)]
    if times := ratios(headline, figure):
        ours: dict[str, Any] = {"world": world, "agent": headline.agent, "n_users": headline.users}
        rows.append(_row("user_turns_per_s_ratio", times, against=rival.title, **ours, **shared))
    return rows


def _missing(
    theirs: list[tuple[rivals.Rival, Figure]], peers: pathlib.Path | None, pythons: dict[str, pathlib.Path]
) -> list[str]:
    """Why a rival has no figure, and what to do about it."""
    if peers is None:
        return ["no rivals: --peers DIR times RecSim and RecSim NG in the same run."]
    packages = sorted({rival.package for rival, _ in theirs} - set(pythons))
    notes = [
        f"{package} is not installed: make a virtual environment {peers.parent / 'venvs' / package} (or name its "
        f"interpreter by --peers-python {package}=PATH) and in it: {rivals.how_to_install(peers, package)}"
        for package in packages
    ]
    return notes + [f"{rival.title}: {figure.skipped}." for rival, figure in theirs if figure.skipped]


def _table(figures: list[Figure], world: str) -> Table:
    columns = ("what", "users", "user-turns/s", "range", "compile s", "peak MB")
    table = plain_table(*columns, title=f"jaxreco, {world}", words=1)
    for figure in figures:
        what, users = RATES[figure.protocol], f"{figure.users:,}"
        if not figure.rates:
            table.add_row(what, users, "skipped")
            continue
        median, low, high = (short(rate) for rate in spread(figure.rates))
        peak = "-" if figure.peak_mb is None else f"{figure.peak_mb:,.0f}"
        table.add_row(what, users, median, f"{low} .. {high}", f"{statistics.median(figure.compile_s):.1f}", peak)
    return table


def _rival_table(theirs: list[tuple[rivals.Rival, Figure]], headline: Figure) -> Table:
    title = f"rivals, slates of 10; the ratio is of our world alone, {headline.users:,} users, to theirs, by round"
    table = plain_table("rival", "user-turns/s", "ours / theirs", title=title, words=1)
    for rival, figure in theirs:
        name = rival.title.replace("/", " ").replace("_", " ")  # so that it breaks between words
        if not figure.rates:
            table.add_row(name, "not run")
            continue
        rates, found = [short(rate) for rate in spread(figure.rates)], ratios(headline, figure)
        times = [f"{ratio:.2f}" for ratio in spread(found)] if found else ["-"] * 3
        table.add_row(name, *("{} ({} .. {})".format(*cell) for cell in (rates, times)))
    return table
