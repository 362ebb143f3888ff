"""The compact transformer of `ppo`, taught by GRPO (Shao et al. 2024): no critic says what to expect of a turn, but other lives of the
same person, run again from the same state in the same luck.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from jaxreco.agents.ppo import PPO


@dataclasses.dataclass(frozen=True)
class GRPO(PPO):
    """Acts, sees and remembers as `PPO`; arguments as there."""

    training: ClassVar[dict[str, Any]] = {"objective": "grpo", "group": 8}


def make(width: int = 64, layers: int = 2, heads: int = 4, window: int = 32, obey: float = 8.0) -> GRPO:
    """The GRPO agent."""
    return GRPO(width, layers, heads, window, obey=obey)
