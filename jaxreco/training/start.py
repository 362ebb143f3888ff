"""Beginning a run, and taking it up where its last checkpoint left it."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from rich.console import Console

from jaxreco import provenance
from jaxreco import run as runs
from jaxreco.learning import checkpoint
from jaxreco.run import Run
from jaxreco.training.job import Job, with_seed
from jaxreco.training.state import Training
from jaxreco.training.taught import refuse, taught
from jaxreco.training.weights import begun_from


def new(job: Job, folder: pathlib.Path) -> Run:
    """A new run. Its folder is made last, when all that was asked for has proved possible."""
    runs.refuse(folder)
    refuse(job.config, job.params)
    _at_first(job).begin()
    return runs.create(folder, {**job.config, "commit": provenance.commit(), "versions": provenance.versions()})


def each(run: Run, job: Job) -> list[tuple[Job, Run]]:
    """The run of every seed; of one seed it is the run itself. Those that have no folder yet are given one."""
    if len(run.seeds) == 1:
        return [(job, run)]
    found = []
    for seed in run.seeds:
        config, folder = {**run.config, "seed": seed, "seeds": 1}, run.folder / f"seed{seed}"
        own = runs.load(folder) if (folder / "config.json").is_file() else runs.make(folder, config)
        found.append((dataclasses.replace(with_seed(job, seed), config=own.config), own))
    return found


def take_up(job: Job, run: Run, console: Console) -> tuple[Training, list[str]]:
    """The run as its last checkpoint left it, or as it begins, and warnings; what was written after that is forgotten.

    A run that begins has a checkpoint of no block: whatever it began with may change, it goes on from there. Lessons come before.
    """
    warnings: list[str] = []
    if checkpoint.latest(run.checkpoint) is None:
        first = _at_first(job)
        state = (taught(first, run, console) if job.config.get("teacher") else first).begin()
        checkpoint.save(run.checkpoint, state, job.meta())
    else:
        state, warnings = checkpoint.restore(run.checkpoint, job.begin(), job.meta())
    run.tidy()
    run.rewind(int(state.update))
    checkpoint.forget(run.best, int(state.update))
    return state, warnings


def trained(job: Job, run: Run) -> tuple[Any, int, list[str]]:
    """(agent_params, update, warnings): the best that a run has come to, as of the update; the last before any evaluation.

    Raises JaxrecoError where there is no checkpoint.
    """
    if checkpoint.latest(run.best) is None:
        state, warnings = checkpoint.restore(run.checkpoint, job.begin(), job.meta())
        return state.learner.agent_params, int(state.update), warnings
    best, warnings = checkpoint.restore(run.best, job.best(), job.meta())
    return best.agent_params, int(best.update), warnings


def _at_first(job: Job) -> Job:
    """The job with the weights that it was asked to begin with."""
    start = job.config.get("from")
    return begun_from(job, pathlib.Path(start)) if start else job
