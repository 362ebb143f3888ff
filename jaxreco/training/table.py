"""The table at the end of a run: the trained agent beside others over the same users."""

from __future__ import annotations

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from jaxreco import provenance, registry
from jaxreco.evaluation import Life, live, longest_first
from jaxreco.learning import temperature
from jaxreco.progress import progress_bar
from jaxreco.report.standing import BASELINES, ORACLES, Standing
from jaxreco.training.job import Job, key_of, row_name


def compare(
    job: Job, trained: Sequence[tuple[Any, int]], users: int, seed: int, began: float, console: Console
) -> tuple[Standing, list[Any]]:
    """The standing of all rows, and the trained agents' parameters with the temperatures that were chosen.

    Args:
      trained: (agent_params, update as of which they are) for each training seed; all live with the same users.
      seed: of the users. began: when the work did, by `time.perf_counter`.
    """
    ours, lives, seeds = row_name(job.config["agent"]), dict[str, Life](), list[Life]()
    with progress_bar(console) as bar:

        def step(words: str) -> Callable[[float], None]:
            return functools.partial(_move, bar, bar.add_task(words, total=100, words=""))

        sharp = [choose_temperature(job, params, seed, step("temperature")) for params, _ in trained]

        def life(name: str, agent: Any, agent_params: Any) -> Life:
            key, order, progress = key_of(seed, "table"), longest_first(lives.values()), step(name)
            return live(key, job.env, job.params, agent, agent_params, users=users, order=order, progress=progress)

        above, below = rows(job)
        for name in (*above, ours, *below):
            if name == ours:
                seeds = [life(name, job.agent, params) for params, _ in sharp]
                lives[name] = seeds[0]
            else:
                lives[name] = life(name, *registry.make_agent(name, key_of(seed, "agent"), job.env, job.params))
    made = {**_made(job, users), "wall_s": time.perf_counter() - began}
    made |= {
        "seeds": [job.config["seed"] + i for i in range(len(trained))],
        "best": [update for _, update in trained],
        "temperature": ["none" if chosen is None else f"{chosen:g}" for _, chosen in sharp],
    }
    return Standing(lives, ours, made, tuple(seeds) if len(seeds) > 1 else ()), [params for params, _ in sharp]


def rows(job: Job) -> tuple[list[str], list[str]]:
    """The agents above ours and those below it: those that can live with the job's users."""
    oracles = ORACLES if job.config.get("plan") else ORACLES[:1]
    return registry.who_can_live(BASELINES, job.params.user), registry.who_can_live(oracles, job.params.user)


def choose_temperature(
    job: Job, agent_params: Any, seed: int, progress: Callable[[float], None] = lambda share: None
) -> tuple[Any, float | None]:
    """As `learning.temperature` does, by other users than the table's."""
    return temperature.choose(key_of(seed, "trial"), job.env, job.params, job.agent, agent_params, progress)


def _made(job: Job, users: int) -> dict[str, Any]:
    """How the table is made, but for the seeds and when."""
    return {
        "world": job.env.name,
        "world_version": job.env.version,
        "dataset": pathlib.Path(job.config["data"]).name if job.config.get("data") else None,
        "users": users,
        "horizon_hours": float(job.params.horizon_hours),
        "blind": bool(job.config.get("blind")),
        "updates": job.train.updates,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "device": provenance.device(),
    }


def _move(bar: Any, task: Any, share: float) -> None:
    bar.update(task, completed=100.0 * share)
