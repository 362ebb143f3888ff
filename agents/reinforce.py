"""The compact transformer of `ppo`, taught by REINFORCE with a learned baseline (Williams 1992): each turn is credited with all that
followed, less what was expected.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from jaxreco.agents.ppo import PPO


@dataclasses.dataclass(frozen=True)
class Reinforce(PPO):
    """Acts, sees and remembers as `PPO`; arguments as there."""

    training: ClassVar[dict[str, Any]] = {"objective": "reinforce"}


def make(width: int = 64, layers: int = 2, heads: int = 4, window: int = 32, obey: float = 8.0) -> Reinforce:
    """The REINFORCE agent."""
    return Reinforce(width, layers, heads, window, obey=obey)
