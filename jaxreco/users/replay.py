"""The logged user: one row a real person, who answers an item as it did in the log, and not at all where it did not.

For logs that hold what people said of nearly every item. Nothing is drawn but who comes and, by a prior, how long it stays:
an item that this person never answered is a slot that is not looked at. One user; batches come from `vmap`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreco import rng
from jaxreco.base import CLICK, EXAMINED, LIKE, Catalog, Context, Event, Feedback, Instruction, Trace
from jaxreco.population import Population
from jaxreco.ring import Ring
from jaxreco.struct import Struct, param

Array = jax.Array


class Answered(Struct):
    """What the log holds of one person; a pool has leading axis `P`."""

    value: Array  # f32[I], the answer in the log's own units, such as a rating
    known: Array  # bool[I], where there is one
    click_at: Array  # f32[], answer from which on an item counts as clicked
    like_at: Array  # f32[], and as liked


class ReplayParams(Struct):
    """The people of the log, and the one thing that it does not hold."""

    population: Population
    leave: Any = param(default=0.1, low=0.0, high=1.0, doc="chance to leave after a slate: a prior", unit="1/slate")


class ReplayState(Struct):
    """One person, and what it has been asked."""

    row: Array  # i32[], in the pool
    clock: Array  # f32[], hours
    minutes: Array  # f32[], spent in this session
    unanswered: Array  # f32[], slots of this episode to which the log has no answer, or none that was not given before
    given: Array  # bool[I], answers that were given in this episode
    history: Ring  # of Event


@dataclasses.dataclass(frozen=True)
class Replay:
    """The logged user (DESIGN: protocol `UserModel`). Silent: such logs hold no words.

    A slot that it has an answer to is looked at for the item's duration; `actions_of` says what is done with it. Every
    answer is given once an episode, because the log has it once. After each slate the person leaves with probability
    `params.leave`; it does not come back, so such a user belongs into a single-session world.

    Args:
      n_items: I. slate_size: K. history_length: H, slots that the platform remembers.
    """

    n_items: int
    slate_size: int
    history_length: int = 50
    # Where each response comes from. There is no data on comments, shares, returns or words: they never happen.
    heads: ClassVar[dict[str, str]] = {"click": "data", "like": "data", "watch": "prior", "leave": "prior"}

    def init(self, key: Array, params: ReplayParams, catalog: Catalog) -> ReplayState:
        """A person of the log, at clock 0. The key is consumed."""
        del catalog
        zero = jnp.float32(0.0)
        return ReplayState(
            row=params.population.pick(rng.uniforms(key, 1)[0]),
            clock=zero,
            minutes=zero,
            unanswered=zero,
            given=jnp.zeros(self.n_items, bool),
            history=Event.none_yet(self.slate_size, self.history_length),
        )

    def review(
        self, key: Array, state: ReplayState, slate: Array, params: ReplayParams, catalog: Catalog, context: Context
    ) -> tuple[ReplayState, Feedback, Instruction, Trace]:
        """What the log says of slate i32[K] (EMPTY slots are not there). The key is consumed, for leaving alone."""
        del context
        person, item, shown = params.population.traits, jnp.maximum(slate, 0), slate >= 0
        answers = shown & person.known[state.row, item] & ~state.given[item]
        value = person.value[state.row, item]
        actions = actions_of(value, answers, person.click_at[state.row], person.like_at[state.row])
        left = rng.uniforms(key, 1)[0] < params.leave
        feedback, event = looked(slate, actions, left, state.clock, catalog)
        state = state.replace(
            clock=event.hours,
            minutes=state.minutes + feedback.minutes,
            unanswered=state.unanswered + jnp.sum(shown & ~answers),
            given=state.given.at[jnp.where(answers, item, self.n_items)].set(True, mode="drop"),
            history=state.history.push(event),
        )
        return state, feedback, Instruction.silent(), Trace.silent()

    def revisit(
        self, key: Array, state: ReplayState, params: ReplayParams, context: Context
    ) -> tuple[ReplayState, Array]:
        """No time passes: the log says nothing of coming back. The key is not needed."""
        return state.replace(minutes=jnp.float32(0.0)), jnp.float32(0.0)


def actions_of(value: Array, answered: Array, click_at: Array, like_at: Array) -> Array:
    """i32: bits of what an answer amounts to. Looked at where it was `answered`, a click from `click_at` on, a like from
    `like_at` on; 0 without an answer.

    Args: value f32, answered bool, click_at and like_at f32, all of shapes that broadcast.
    """
    bits = EXAMINED + CLICK * (value >= click_at) + LIKE * ((value >= click_at) & (value >= like_at))
    return jnp.where(answered, bits, 0).astype(jnp.int32)


def looked(slate: Array, actions: Array, left: Array, clock: Array, catalog: Catalog) -> tuple[Feedback, Event]:
    """Feedback to slate i32[K], and its event, of people who look at each item that they answer for its duration."""
    watch = jnp.where((actions & EXAMINED) != 0, catalog.duration[jnp.maximum(slate, 0)], 0.0)
    minutes = jnp.sum(watch) / 60.0
    return Feedback(slate, actions, watch, minutes, left), Event(slate, actions, watch, clock + minutes / 60.0)
