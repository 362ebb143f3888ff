"""How an agent is trained."""

from __future__ import annotations

import dataclasses

from jaxreco.names import closest

OBJECTIVES = ("reinforce", "ppo", "grpo")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to learn. Static.

    Args:
      objective: "reinforce", "ppo" or "grpo".
      updates: blocks of rollout and update. users: B. turns: T of a block.
      epochs, minibatches: passes over a block and the parts of each; users must be a multiple of minibatches.
      learning_rate: of Adam, falling linearly to a tenth. max_grad_norm: clipped to.
      trace_decay: lambda of GAE, for "ppo". clip: epsilon of PPO, for "ppo" and "grpo".
      group: G, lives of the same person from the same state in the same luck, for "grpo"; users must be a multiple of it.
      scaled: advantages in standard deviations of the group. per_length: a life's objective is the mean over its slots that were
        looked at, not their sum. Both as in GRPO (Shao et al. 2024); without them it is that of Liu et al. 2025.
      kl: weight of the divergence from the policy that training began with.
      entropy, entropy_end: weight of the entropy of the first slot, falling linearly.
      turn_share: weight of the whole turn's advantage in a slot's credit, beside the slot's own part.
      value_weight: of the errors of the value heads. foresight: of the error in what slots earn as their scores foretell it: every slot
        that was looked at teaches what it came to, whether it was likely to be shown or not.
      plan_entropy: weight of the entropy of plans, for an agent that plans.
    """

    objective: str = "ppo"
    updates: int = 60
    users: int = 512
    turns: int = 32
    epochs: int = 1
    minibatches: int = 16
    learning_rate: float = 2e-3
    max_grad_norm: float = 1.0
    trace_decay: float = 0.95
    clip: float = 0.2
    group: int = 1
    scaled: bool = True
    per_length: bool = False
    kl: float = 0.0
    entropy: float = 0.5
    entropy_end: float = 0.3
    turn_share: float = 0.1
    value_weight: float = 0.5
    foresight: float = 1.0
    plan_entropy: float = 0.02

    def __post_init__(self) -> None:
        if self.users % self.minibatches:
            raise ValueError(f"users ({self.users}) must be a multiple of minibatches ({self.minibatches}).")
        for name in ("updates", "users", "turns", "epochs", "minibatches", "group"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        for name, value in vars(self).items():
            if isinstance(value, float) and not value >= 0.0:
                raise ValueError(f"{name} is {value}: it must be at least 0.")
        if self.objective not in OBJECTIVES:
            raise ValueError(f"There is no objective {self.objective!r}.{closest(self.objective, OBJECTIVES)}")
        if (self.group > 1) != (self.objective == "grpo") or self.users % self.group:
            raise ValueError(
                f"group is {self.group} for {self.objective} and {self.users} users: it must be at least 2 for grpo and 1 for others, and "
                "users a multiple of it."
            )
