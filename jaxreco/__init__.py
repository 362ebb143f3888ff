"""jaxreco: recommenders that learn from simulated people who talk back, compiled by JAX."""

from __future__ import annotations

from jaxreco.env import RecoEnv, branch, instruct
from jaxreco.registry import agents as list_agents
from jaxreco.registry import envs as list_envs
from jaxreco.registry import make, make_agent, register
from jaxreco.rollout import rollout

__version__ = "0.1.0"
__all__ = ["RecoEnv", "branch", "instruct", "list_agents", "list_envs", "make", "make_agent", "register", "rollout"]
