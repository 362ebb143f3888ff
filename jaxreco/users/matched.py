"""The user of a randomised log: one row a logged slot, which answers a slate where the slate repeats it, and only there.

Replay by rejection (Li, Chu, Langford & Wang 2011, "Unbiased offline evaluation of contextual-bandit-based news article
recommendation algorithms", arXiv 1003.5956). A log of a policy that drew items at random, independently of who came, holds
each visitor's answer to one item at one place. A slate that shows this item at this place gets the answer; every other slot
is unexamined. Where the chance of having been drawn is the same for all items, clicks a slot looked at are then an unbiased
estimate of what the agent's slots are clicked; where it is known but not the same, rows are picked in inverse proportion.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreco import rng
from jaxreco.base import CLICK, EXAMINED, Catalog, Context, Event, Feedback, Instruction, Trace
from jaxreco.population import Population
from jaxreco.ring import Ring
from jaxreco.struct import Struct
from jaxreco.users.replay import looked

Array = jax.Array


class Slot(Struct):
    """One slot that was logged; a pool has leading axis `P`."""

    item: Array  # i32[]
    position: Array  # i32[], place in the slate, from 0
    click: Array  # bool[]


class MatchedParams(Struct):
    """The logged slots, each with a weight in inverse proportion to the chance of its item."""

    population: Population


class MatchedState(Struct):
    """One visit."""

    row: Array  # i32[], the logged slot
    clock: Array  # f32[], hours
    minutes: Array  # f32[]
    unanswered: Array  # f32[], slots of this visit to which the log has no answer
    history: Ring  # of Event


@dataclasses.dataclass(frozen=True)
class Matched:
    """The user of a randomised log (DESIGN: protocol `UserModel`): one slate, then it is gone. Silent.

    Args: slate_size: K. history_length: H, slots that the platform remembers.
    """

    slate_size: int
    history_length: int = 50
    heads: ClassVar[dict[str, str]] = {"click": "data", "watch": "prior", "leave": "prior"}

    def init(self, key: Array, params: MatchedParams, catalog: Catalog) -> MatchedState:
        """One logged slot, at clock 0. The key is consumed."""
        del catalog
        zero = jnp.float32(0.0)
        row = params.population.pick(rng.uniforms(key, 1)[0])
        return MatchedState(row, zero, zero, zero, Event.none_yet(self.slate_size, self.history_length))

    def review(
        self, key: Array, state: MatchedState, slate: Array, params: MatchedParams, catalog: Catalog, context: Context
    ) -> tuple[MatchedState, Feedback, Instruction, Trace]:
        """The logged answer where slate i32[K] shows the logged item at the logged place. Nothing is drawn."""
        del key, context
        logged = params.population.row(state.row)
        match = (slate == logged.item) & (jnp.arange(self.slate_size) == logged.position)
        actions = jnp.where(match, EXAMINED + CLICK * logged.click, 0).astype(jnp.int32)
        feedback, event = looked(slate, actions, jnp.bool_(True), state.clock, catalog)
        state = state.replace(
            clock=event.hours,
            minutes=feedback.minutes,
            unanswered=state.unanswered + jnp.sum((slate >= 0) & ~match),
            history=state.history.push(event),
        )
        return state, feedback, Instruction.silent(), Trace.silent()

    def revisit(self, key: Array, state: MatchedState, params: Any, context: Context) -> tuple[MatchedState, Array]:
        """No time passes: nobody in the log can be told to have come back. The key is not needed."""
        return state.replace(minutes=jnp.float32(0.0)), jnp.float32(0.0)
