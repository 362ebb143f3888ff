"""Whose gain it is: the agent of the first round and that of the last, each among the users that all began with and among the last.

A gain that is there among the last users alone is of users who have changed. All agents choose at the temperature of the evaluations,
so that each is one agent, whoever it meets.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from jaxreco import registry
from jaxreco import run as runs
from jaxreco.cotraining import folder
from jaxreco.evaluation import Life, live, longest_first
from jaxreco.progress import progress_bar
from jaxreco.report.standing import Estimate, over, words
from jaxreco.run import Run
from jaxreco.training.job import Job, build, key_of, row_name
from jaxreco.training.start import trained
from jaxreco.training.watch import TEMPERATURE, sharpened

OTHERS = ("random", "popularity")
COLUMNS = ("reward", "sessions_30d", "turns_per_session")


class Control(NamedTuple):
    """Lives by agent, among two kinds of users; the trained agents are the last rows."""

    fitted: dict[str, Life]
    last: dict[str, Life]

    @property
    def ours(self) -> str:
        """The agent of the last round."""
        return list(self.last)[-1]

    def rewards(self) -> dict[str, tuple[Estimate, Estimate]]:
        """By agent: among the fitted users, among the last."""
        return {name: (_reward(self.fitted[name]), _reward(self.last[name])) for name in self.last}

    def ahead(self, other: str) -> tuple[Estimate, Estimate]:
        """The last agent's reward less another's, user by user."""
        return tuple(over([each[self.ours].column("reward") - each[other].column("reward")]) for each in self)  # type: ignore[return-value]

    def to_json(self) -> list[dict[str, Any]]:
        """A row by agent and kind of users: means over users, and the reward's 95 % interval."""
        found = []
        for users, lives in self._asdict().items():
            for agent, life in lives.items():
                reward = _reward(life)
                means = {name: float(np.mean(life.column(name))) for name in COLUMNS}
                about = {"users": users, "agent": agent, "n_users": len(life.finished)}
                found.append({**about, **means, "low": reward.low, "high": reward.high})
        return found

    def show(self, console: Console) -> None:
        """Print rewards, and what the last agent is ahead by."""
        table = Table(title="reward of a user", title_justify="left", title_style="bold", box=None, pad_edge=False)
        for column, right in (("agent", False), ("among the\nfitted users", True), ("among the\nlast users", True)):
            table.add_column(column, justify="right" if right else "left", no_wrap=True)
        for name, rewards in self.rewards().items():
            table.add_row(f"[cyan]{name}[/cyan]", *map(words, rewards))
        for name in [each for each in self.last if each != self.ours]:
            cells = (f"{words(x, sign=True)} {x.verdict}" for x in self.ahead(name))
            table.add_row(f"{self.ours} less {name}", *cells)
        console.print(table)
        console.print(
            f"The same people and luck in every row of a column; agents at temperature {TEMPERATURE:g}; ± half the 95 % interval over users."
        )


def control(run: Run, console: Console) -> Control:
    """Have them all live among both, the same people in the same luck in every row of a column."""
    rounds = run.config["rounds"]
    fitted, last = (
        folder.run_config(run, rounds) | {"user_model": str(folder.users_of(run, at))} for at in (0, rounds)
    )
    with progress_bar(console) as bar:
        return Control(*(_lives(run, build(config), bar) for config in (fitted, last)))


def _lives(run: Run, job: Job, bar: Any) -> dict[str, Life]:
    """By agent, the lives of a job's users."""
    found: dict[str, Life] = {}
    for name, (agent, agent_params) in _rows(run, job).items():
        task = bar.add_task(name, total=1.0, words=f"among {job.config['user_model']}")
        found[name] = live(
            key_of(run.config["seed"], "table"), job.env, job.params, agent, agent_params, users=run.config["eval_users"],
            order=longest_first(found.values()), progress=functools.partial(_move, bar, task),
        )  # fmt: skip
    return found


def _move(bar: Any, task: Any, share: float) -> None:
    bar.update(task, completed=share)


def _rows(run: Run, job: Job) -> dict[str, tuple[Any, Any]]:
    """By name (agent, agent_params), those that the table is about last."""
    key, rounds = key_of(run.config["seed"], "agent"), run.config["rounds"]
    found = {name: registry.make_agent(name, key, job.env, job.params) for name in OTHERS}
    for round in sorted({1, rounds}):
        params, _, _ = trained(job, runs.load(folder.agent_of(run, round)))
        found[f"{row_name(job.config['agent'])}, round {round}"] = job.agent, sharpened(params)
    return found


def _reward(life: Life) -> Estimate:
    return over([life.column("reward")])
