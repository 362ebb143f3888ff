"""Two-stage training: an agent that begins with what another run has learned."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np

from jaxreco import run as runs
from jaxreco.errors import JaxrecoError
from jaxreco.learning import checkpoint
from jaxreco.training.job import Job

LEARNED = ("net", "value_mean", "value_std")  # what a gradient, or returns, have taught
# What is known of the items and their users as a whole goes along where they are the same: how items are described (the network's
# weights are in those terms), what became of each, and what people have in common.
OF_ITEMS = ("described", "prior", "reputation")


def begun_from(job: Job, folder: pathlib.Path) -> Job:
    """The job, with the weights of the agent that the run in `folder` has trained: its best, or its last before any evaluation.

    In a world of the same items it goes on with all that it has found out about them too.

    Raises JaxrecoError where there is no run, or where its weights do not fit the job's agent: it names the first that do not.
    """
    run = runs.load(folder).refuse_seeds()
    seen = checkpoint.latest(run.best) is not None
    found = checkpoint.leaves(run.best if seen else run.checkpoint)
    params = job.agent_params
    start = "agent_params." if seen else "learner.agent_params."
    found = {path.removeprefix(start): leaf for path, leaf in found.items() if path.startswith(start)}
    for name in (*LEARNED, *(OF_ITEMS if _same_items(params, found) else ())):
        try:
            params = params.replace(**{name: checkpoint.fill(getattr(params, name), found, name)})
        except JaxrecoError as error:
            raise JaxrecoError(
                f"The agent of {folder} ({run.config['agent']}) does not fit {job.config['agent']} in this world: {error}. "
                "Both need the same network, and a world with as many items and categories."
            ) from None
    return dataclasses.replace(job, agent_params=params)


def _same_items(params: Any, found: dict[str, np.ndarray]) -> bool:
    """Whether the arrays of an agent are about the items that `params` are about."""
    if not all(hasattr(params, name) for name in OF_ITEMS):
        return False
    now = {
        "near": params.near,
        "tag_category": params.tag_category,
        "described.membership": params.described.membership,
    }
    return all(name in found and np.array_equal(found[name], leaf) for name, leaf in now.items())
