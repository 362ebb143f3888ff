"""How sharply an agent chooses once it has learned: while it learns it explores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxreco.evaluation import Life, live, longest_first

TEMPERATURES = (0.6, 0.3, 0.1)
USERS = 256  # other people than those of a table: the key must be another
HOURS = 168.0  # of their lives: a week tells temperatures apart in a quarter of the time of a month


def choose(
    key: jax.Array,
    env: Any,
    params: Any,
    agent: Any,
    agent_params: Any,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Any, float | None]:
    """The parameters with the temperature of best reward over some users, and that temperature; None for an agent without one.

    Args: key: of the users; consumed. progress: called with the share that is done.
    """
    if not hasattr(agent_params, "temperature"):
        return agent_params, None
    params = shortened(params, HOURS)
    lives: dict[float, Life] = {}
    for i, temperature in enumerate(TEMPERATURES):
        trial = agent_params.replace(temperature=np.float32(temperature))
        order = longest_first(lives.values())
        lives[temperature] = live(key, env, params, agent, trial, users=USERS, order=order)
        progress((i + 1) / len(TEMPERATURES))
    best = max(lives, key=lambda t: float(np.mean(lives[t].column("reward"))))
    return agent_params.replace(temperature=np.float32(best)), best


def shortened(params: Any, hours: float) -> Any:
    """The world with a horizon of so many hours, or its own where that is shorter."""
    return params.replace(horizon_hours=np.minimum(np.float32(params.horizon_hours), np.float32(hours)))
