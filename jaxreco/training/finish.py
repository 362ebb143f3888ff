"""What a finished run leaves behind: its table, its curve, and the lives of a few users as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from jaxreco import files
from jaxreco.report import curve, sessions
from jaxreco.report.standing import Standing
from jaxreco.run import Run
from jaxreco.training.job import Job, row_name
from jaxreco.training.start import trained
from jaxreco.training.table import compare


def draw(run: Run, each: Sequence[tuple[Job, Run]]) -> None:
    """Write curve.png of every seed, and one of all of them."""
    for folder, some in [(own.folder, [(job, own)]) for job, own in each] + [(run.folder, list(each))]:
        job = some[0][0]
        seeds = ", ".join(str(job.config["seed"]) for job, _ in some)
        title = f"{row_name(job.config['agent'])} in {job.env.name}, seed{'s' * (len(some) > 1)} {seeds}"
        turns = job.train.users * job.train.turns
        curve.draw(folder / "curve.png", title, [own.metrics() for _, own in some], turns)


def finish(run: Run, each: Sequence[tuple[Job, Run]], began: float, console: Console) -> Standing:
    """Set the trained agents beside others, and write tables and sessions; of several seeds each has its own too."""
    job = each[0][0]
    known = [trained(job, own)[:2] for job, own in each]
    standing, params = compare(job, known, job.config["eval_users"], job.config["seed"], began, console)
    for i, ((job, own), agent_params) in enumerate(zip(each, params, strict=True)):
        _sessions(job, own, agent_params)
        _table(own, _of_seed(standing, i))
    if standing.seeds:
        _table(run, standing)
    return standing


def _table(run: Run, standing: Standing) -> None:
    files.write_json(
        run.folder / "table.json", {**standing.to_json(), "temperature": ", ".join(standing.made["temperature"])}
    )


def _sessions(job: Job, run: Run, agent_params: Any) -> None:
    moments = sessions.watch_lives(job.key("sessions"), job.env, job.params, job.agent, agent_params)
    title = f"Sessions of three users of {job.env.name} with {row_name(job.config['agent'])}"
    run.write_text("sessions.txt", sessions.write(moments, job.env, job.params, title, agent=job.agent))


def _of_seed(standing: Standing, i: int) -> Standing:
    """The table of the i-th seed alone: over the same users as that of all."""
    if not standing.seeds:
        return standing
    made = {name: [value[i]] if isinstance(value, list) else value for name, value in standing.made.items()}
    return dataclasses.replace(
        standing, lives={**standing.lives, standing.ours: standing.seeds[i]}, made=made, seeds=()
    )
