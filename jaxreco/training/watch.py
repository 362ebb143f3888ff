"""How good an agent is while it learns: some users of their own, always the same, live with it for a week."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxreco.evaluation import live
from jaxreco.learning.temperature import shortened
from jaxreco.training.job import Job

USERS = 64  # other people than those it learns from, whose temperature is chosen by, or who are in the table
HOURS = 168.0  # of their lives: whoever lures people earns more in the first days, and loses them later
TEMPERATURE = 0.3  # an agent that learns explores; this is nearer to how it will choose
COLUMNS = {"reward": "reward", "turns_per_session": "turns_per_session", "sessions": "sessions_30d"}


def watch(job: Job, agent_params: Any) -> dict[str, float]:
    """What a user made of it in that time, on average: `eval_reward` and others. Decided by the run's seed and the parameters."""
    life = live(
        job.key("watch"), job.env, shortened(job.params, HOURS), job.agent, sharpened(agent_params), users=USERS
    )
    return {f"eval_{name}": float(np.mean(life.column(column))) for name, column in COLUMNS.items()}


def sharpened(agent_params: Any) -> Any:
    """The parameters with TEMPERATURE, where the agent has one."""
    if not hasattr(agent_params, "temperature"):
        return agent_params
    return agent_params.replace(temperature=np.float32(TEMPERATURE))
