"""How far a run has come, and what follows from that alone: when to look, what is the best, when it is over.

All of it is in the checkpoint, so that a run that was killed decides as one that was not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxreco.learning.trainer import Learner
from jaxreco.struct import Struct

EVALUATIONS = 10  # of a run, about: every tenth of its updates, and after the last


class Training(Struct):
    """A learner, and the best that it was seen to be."""

    learner: Learner
    best: Any  # f32[], reward of the best evaluation; -inf before the first
    best_update: Any  # i32[], blocks done then; 0 before

    @classmethod
    def begin(cls, learner: Learner) -> Training:
        """Before the first block."""
        return cls(learner, np.float32(-np.inf), np.int32(0))

    @property
    def update(self) -> Any:
        """i32[], blocks done."""
        return self.learner.update

    def seen(self, reward: float) -> tuple[Training, bool]:
        """After an evaluation: what is kept, and whether it was the best."""
        better = bool(np.float32(reward) > self.best)
        return (self.replace(best=reward, best_update=int(self.update)) if better else self), better


class Best(Struct):
    """What is stored of the best: enough to act, not to go on."""

    agent_params: Any
    update: Any  # i32[], blocks done then


def due(update: int, updates: int) -> bool:
    """Whether an evaluation follows after `update` of `updates` blocks."""
    return update == updates or update % max(1, updates // EVALUATIONS) == 0


def waited(state: Training, updates: int) -> int:
    """Evaluations since the best one."""
    return sum(due(update, updates) for update in range(int(state.best_update) + 1, int(state.update) + 1))


def over(state: Training, updates: int, patience: int | None) -> bool:
    """Whether all updates are done, or so many evaluations brought nothing better."""
    return int(state.update) >= updates or (patience is not None and waited(state, updates) >= patience)
