"""Two-stage training: an agent that begins with what another run has learned."""

from __future__ import annotations

import dataclasses
import pathlib

from jaxreco import run as runs
from jaxreco.errors import JaxrecoError
from jaxreco.learning import checkpoint
from jaxreco.training.job import Job

LEARNED = ("net", "value_mean", "value_std")  # what training changes of an agent's parameters; the rest is the world's


def begun_from(job: Job, folder: pathlib.Path) -> Job:
    """The job, with the weights of the agent that the run in `folder` has trained: its best, or its last before any evaluation.

    Raises JaxrecoError where there is no run, or where its weights do not fit the job's agent: it names the first that do not.
    """
    run = runs.load(folder).refuse_seeds()
    seen = checkpoint.latest(run.best) is not None
    found = checkpoint.leaves(run.best if seen else run.checkpoint)
    params = job.agent_params
    start = "agent_params." if seen else "learner.agent_params."
    found = {path.removeprefix(start): leaf for path, leaf in found.items() if path.startswith(start)}
    for name in LEARNED:
        try:
            params = params.replace(**{name: checkpoint.fill(getattr(params, name), found, name)})
        except JaxrecoError as error:
            raise JaxrecoError(
                f"The agent of {folder} ({run.config['agent']}) does not fit {job.config['agent']} in this world: {error}. "
                "Both need the same network, and a world with as many items and categories."
            ) from None
    return dataclasses.replace(job, agent_params=params)
