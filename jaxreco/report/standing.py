"""The results table: agents side by side over the same users, with paired intervals, as a table and as JSON."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from jaxreco import files
from jaxreco.evaluation import RESAMPLES, Life, interval, score

ORACLES = ("oracle_greedy", "oracle_plan")  # the better of those that were run is the one of a world's scale
ZERO = ("random", "popularity", "static")  # the best of them is the zero of a world's scale
BASELINES = ("random", "popularity", "static", "item_knn")  # rows above the trained agent; the oracle is below it
DIFFERENCES = ("reward", "sessions_30d")
COLUMNS = {
    "turns_per_session": "turns a\nsession",
    "minutes": "minutes",
    "sessions_30d": "sessions\nin {days} d",
    "gap_hours": "hours\nbetween",
    "churn": "share\nlost",
    "followed": "share\nfollowed",
    "reward": "reward",
    "score": "score",
}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over users and its 95 % interval; NaN where there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def verdict(self) -> str:
        """What a difference says: the interval excludes 0 or it does not."""
        return "ahead" if self.low > 0 else "behind" if self.high < 0 else "not told apart"


@dataclasses.dataclass(frozen=True)
class Standing:
    """What the agents made of the same users.

    Without an oracle there is no scale: users whose mind nobody can read have none, and scores are NaN.

    Args:
      lives: by agent, in the order of the rows. ours: the trained agent's row.
      made: what the protocol line and the JSON say of how it was made: world, users, commit, versions, device, wall_s and the
        like; seeds, the updates as of which they are, and their temperatures are lists.
      seeds: lives under our agent as each of several seeds has trained it, all of the same users; `lives` has the first of them.
    """

    lives: dict[str, Life]
    ours: str
    made: dict[str, Any]
    seeds: tuple[Life, ...] = ()

    def each(self, agent: str) -> tuple[Life, ...]:
        """An agent's lives: one for each seed that it was trained with."""
        return self.seeds if self.seeds and agent == self.ours else (self.lives[agent],)

    def rewards(self, agent: str) -> np.ndarray:
        """f64[seeds, users]."""
        return np.stack([life.column("reward") for life in self.each(agent)])

    @property
    def baselines(self) -> tuple[str, ...]:
        """Those that were run."""
        return tuple(name for name in BASELINES if name in self.lives)

    @property
    def zero(self) -> str:
        """The best of random, popularity and static."""
        return self._best(ZERO)

    @property
    def one(self) -> str | None:
        """The better of the oracles; None where none was run."""
        return self._best(ORACLES) if any(name in self.lives for name in ORACLES) else None

    def _best(self, names: tuple[str, ...]) -> str:
        run = (name for name in names if name in self.lives)
        return max(run, key=lambda name: float(np.mean(self.rewards(name))))

    def estimates(self, agent: str) -> dict[str, Estimate]:
        """Every column of an agent's row."""
        found = {metric: self._estimate(agent, metric) for metric in COLUMNS if metric != "score"}
        return {**found, "score": self.score(agent)}

    def _estimate(self, agent: str, metric: str) -> Estimate:
        """Over the users who have a value: who never spoke can be neither followed nor ignored."""
        values = [life.column(metric) for life in self.each(agent)]
        values = [of_users[~np.isnan(of_users)] for of_users in values]
        return over(values) if all(map(len, values)) else Estimate(float("nan"))

    def score(self, agent: str) -> Estimate:
        """The agent's place on the scale; users are resampled together for all three that it depends on."""
        if self.one is None:
            return Estimate(float("nan"))
        zero, one = self.rewards(self.zero)[0], self.rewards(self.one)[0]
        ours = self.rewards(agent)
        places = np.array([score(*np.mean([reward, zero, one], axis=1)) for reward in ours])
        if agent in (self.zero, self.one):
            return Estimate(float(places[0]))
        return score_of(np.stack([ours[0], zero, one])) if len(places) == 1 else of_seeds(places)

    def difference(self, metric: str, other: str) -> Estimate:
        """Ours less another's, user by user."""
        theirs = self.lives[other].column(metric)
        return over([life.column(metric) - theirs for life in self.each(self.ours)])

    def show(self, console: Console) -> None:
        """Print the table, and under it what else a reader must know."""
        table = self._table()
        if console.measure(table, options=console.options.update(max_width=1000)).maximum > console.width:
            table = self._table(compact=True)
        console.print(table)
        console.print()
        console.print(self._differences())
        console.print()
        for line in [*self.remarks(), self.protocol()]:
            console.print(line, markup=False, highlight=False)

    def _table(self, compact: bool = False) -> Table:
        table = _empty("agent", gap=1 if compact else 2)
        days = f"{self.made['horizon_hours'] / 24:g}"
        # On a narrow terminal one column gives way: gaps follow from sessions, and the JSON has them.
        columns = {name: heading for name, heading in COLUMNS.items() if not (compact and name == "gap_hours")}
        for heading in columns.values():
            table.add_column(heading.format(days=days), justify="right", no_wrap=True)
        for agent in self.lives:
            row = self.estimates(agent)
            style = "bold" if agent == self.ours else None
            cells = (words(row[metric]) for metric in columns)
            table.add_row(agent, *(narrow(cell) if compact else cell for cell in cells), style=style)
        return table

    def _differences(self) -> Table:
        """Ours against each row that it may be compared with."""
        table = _empty(f"{self.ours} less ...")
        for metric in DIFFERENCES:
            table.add_column(metric.replace("_30d", ""), justify="right", no_wrap=True)
            table.add_column("")
        for other in self.baselines:
            cells = []
            for metric in DIFFERENCES:
                found = self.difference(metric, other)
                cells += [words(found, sign=True), found.verdict]
            table.add_row(other, *cells)
        return table

    def remarks(self) -> list[str]:
        """What stands below the table, a sentence or two a line."""
        rewards = {name: float(np.mean(self.rewards(name))) for name in self.lives}
        lines = [
            "Means over users, ± half the 95 % interval (bootstrap). 'ahead': the paired difference's interval excludes 0.",
            f"{self.ours}, and what it is ahead by, is the mean of {len(self.seeds)} training seeds over the same users; its ± is over seeds "
            "(Student's t)."
            if self.seeds
            else "This is one seed: the intervals are over users, and training with another seed may end elsewhere.",
            self._scale(rewards),
            "followed: share of the instructions that the next slate did what it was asked to, mean over users who spoke.",
            "Share of a slate that two users have in common: "
            + ", ".join(f"{name} {self._overlap(name):.2f}" for name in (self.ours, "popularity", self.one) if name)
            + ".",
        ]
        if self.one is not None and rewards[self.one] <= rewards[self.zero]:
            lines.append(f"The oracle fails here: it earns no more than {self.zero}, so the score means nothing.")
        elif self.one is not None:
            beyond = [name for name in self.lives if name not in ORACLES and rewards[name] > rewards[self.one]]
            lines += [f"{name} scores above 1: that is the oracles' failure, not a proof." for name in beyond]
        for name in self.lives:
            finished = np.concatenate([life.finished for life in self.each(name)])
            if not finished.all():
                lines.append(
                    f"{name}: {(~finished).sum():,} of {finished.size:,} lives were cut short of their horizon."
                )
        return lines

    def _overlap(self, agent: str) -> float:
        return float(np.mean([life.overlap for life in self.each(agent)]))

    def _scale(self, rewards: dict[str, float]) -> str:
        """What 0 and 1 of the score are."""
        if self.one is None:
            return "No score: static and the oracles read the simulator's mind, and these users have none that can be read."
        return (
            f"Score: 0 is {self.zero} ({rewards[self.zero]:,.1f}), the best of {', '.join(ZERO)}; "
            f"1 is {self.one} ({rewards[self.one]:,.1f}), the better of the oracles run. static and the oracles read the simulator's mind."
        )

    def protocol(self) -> str:
        """How the table was made, in one line."""
        made = self.made
        versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
        deaf = "the agent hears nothing; " if made["blind"] else ""
        return (
            f"{made['world']} {made['world_version']}: {made['users']:,} users, first episode of at most "
            f"{made['horizon_hours']:g} hours, same users and randomness in every row; {self._trained()}; {deaf}"
            f"commit {made['commit'] or 'none'}; {versions}; {made['device']}; {made['wall_s']:.0f} s."
        )

    def _trained(self) -> str:
        """What was trained: the parameters are those of each seed's best evaluation, of a run without any its last."""
        made = self.made
        seed, best, temperature = (", ".join(map(str, made[name])) for name in ("seeds", "best", "temperature"))
        return f"training seed {seed}, as of update {best} of {made['updates']}, temperature {temperature}"

    def to_json(self) -> dict[str, Any]:
        """The table in the format of all of jaxreco's results."""
        rows = [
            self._row(agent, metric, estimate)
            for agent in self.lives
            for metric, estimate in self.estimates(agent).items()
        ]
        rows += [
            self._row(self.ours, metric, self.difference(metric, other), against=other)
            for other in self.baselines
            for metric in DIFFERENCES
        ]
        rows += [self._row(agent, "overlap", Estimate(self._overlap(agent))) for agent in self.lives]
        made = {name: self.made[name] for name in ("commit", "versions", "device", "wall_s")}
        return files.plain({"benchmark": "train", **made, "protocol": self.protocol(), "rows": rows})

    def _row(self, agent: str, metric: str, estimate: Estimate, against: str | None = None) -> dict[str, Any]:
        return {
            "dataset": self.made["dataset"],
            "protocol": "masked" if self.made["blind"] and agent == self.ours else "default",
            "split": None,
            "world": self.made["world"],
            "agent": agent,
            "against": against,
            "metric": metric,
            **dataclasses.asdict(estimate),
            "n_users": self._users(agent, metric),
            "n_seeds": len(self.each(agent)),
        }

    def _users(self, agent: str, metric: str) -> int:
        """How many users a row is about: those who have a value."""
        return int((~np.isnan(self.lives[agent].column(metric))).sum()) if metric == "followed" else self.made["users"]


def over(values: np.ndarray | Sequence[np.ndarray]) -> Estimate:
    """Mean and 95 % interval of f64[users] a seed: over users (bootstrap) for one seed, over seeds (Student's t) for more.

    A single number has none.
    """
    if len(values) > 1:
        return of_seeds(np.array([np.mean(of_users) for of_users in values]))
    return Estimate(*interval(values[0])) if len(values[0]) > 1 else Estimate(float(values[0][0]))


def of_seeds(means: np.ndarray) -> Estimate:
    """Mean of f64[seeds], at least two, and its 95 % interval by Student's t."""
    mean = float(means.mean())
    half = float(stdtrit(len(means) - 1, 0.975) * means.std(ddof=1) / np.sqrt(len(means)))
    return Estimate(mean, mean - half, mean + half)


def score_of(rewards: np.ndarray) -> Estimate:
    """The score and its interval of f64[3, users], the rewards under an agent, the zero and the one: users are resampled for all three."""
    value, n = score(*rewards.mean(axis=1)), rewards.shape[1]
    if n < 2 or math.isnan(value):
        return Estimate(value)
    rng = np.random.default_rng(0)
    draws = [score(*rewards[:, rng.integers(n, size=n)].mean(axis=1)) for _ in range(RESAMPLES)]
    return Estimate(value, *(float(x) for x in np.nanpercentile(draws, [2.5, 97.5])))


def words(estimate: Estimate, sign: bool = False) -> str:
    """A mean and half its interval, in as many digits as the interval leaves: "12.3 ±0.4"."""
    value, half = estimate.value, (estimate.high - estimate.low) / 2.0
    if math.isnan(value):
        return "-"
    plus = "+" if sign else ""
    if math.isnan(half):
        return f"{value + 0.0:{plus}.3g}"
    digits = _digits(half, value)
    value = round(value, digits) + 0.0  # no minus before a zero
    return f"{value:{plus},.{digits}f} ±{half:.{digits}f}"


def narrow(cell: str) -> str:
    """The same figures in fewer columns: ".34±.03"."""
    return re.sub(r"(?<!\d)0\.", ".", cell.replace(" ", ""))


def _digits(half: float, value: float) -> int:
    """Decimals that show the first digit of half an interval, or three of the value where it is 0."""
    if half <= 0.0:
        return 0 if value == int(value) else 2
    if half >= 1.0:
        return 1 if half < 10.0 and abs(value) < 100.0 else 0
    return min(2, -math.floor(math.log10(half)))


def _empty(first: str, gap: int = 2) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold underline")
    table.add_column(first, no_wrap=True, overflow="ellipsis", vertical="bottom")
    return table
