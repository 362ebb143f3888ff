"""The grammar of instructions and traces: a fixed sentence of tokens, written and read inside `jit`.

An instruction is one sentence of `INSTRUCTION_TOKENS` tokens, `intent kind digit digit digit digit strength cause`; a
trace is `REASONS` clauses of `cause amount digit digit digit digit`. An id is written in four digits of base 64, so the
vocabulary is the same for a catalog of ten items and of ten million. Token 0 pads, and silence is all padding.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

# Index 0 is nothing said. The order is part of the tokens: append, never insert.
INTENTS = ("silent", "more", "less", "never", "related", "surprise", "fresher", "shorter", "longer", "like", "peers")
TARGET_KINDS = ("none", "category", "tag", "creator", "item")
STRENGTHS = (1.0 / 3.0, 2.0 / 3.0, 1.0)  # a little, plainly, a lot
CAUSES = (
    "none",
    "sated",  # too much of one category lately
    "creator",  # too much of one creator lately
    "seen",  # this very item was seen before
    "off_taste",  # it matches none of the user's interests
    "elsewhere",  # it matches an interest, but not the one of this session
    "bait",  # it promised more than it held
    "stale",  # it is old
    "long",  # longer than the user wants in this session
    "short",  # shorter than the user wants in this session
    "time",  # the user's time runs out
    "ignored",  # the last instruction was not followed
    "heard",  # the last instruction was followed
    "delight",  # an item was enjoyed
    "opening",  # nothing yet: the session has just begun
)
INTENT = {name: i for i, name in enumerate(INTENTS)}
KIND = {name: i for i, name in enumerate(TARGET_KINDS)}
CAUSE = {name: i for i, name in enumerate(CAUSES)}

DIGITS, BITS = 4, 6
BASE = 1 << BITS
INSTRUCTION_TOKENS = 2 + DIGITS + 2
REASONS = 3
TRACE_TOKENS = REASONS * (2 + DIGITS)
AMOUNTS = (-2.0, -1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0, 2.0)  # logits of the urge to leave; a token is the nearest
LARGEST_ID = BASE**DIGITS - 1

# Where each kind of word begins in the vocabulary; 0 pads.
FIRST_INTENT = 1
FIRST_KIND = FIRST_INTENT + len(INTENTS)
FIRST_STRENGTH = FIRST_KIND + len(TARGET_KINDS)
FIRST_CAUSE = FIRST_STRENGTH + len(STRENGTHS)
FIRST_AMOUNT = FIRST_CAUSE + len(CAUSES)
FIRST_DIGIT = FIRST_AMOUNT + len(AMOUNTS)
VOCABULARY = FIRST_DIGIT + BASE


class Said(NamedTuple):
    """What an instruction's tokens say. All [], intent 0 where they are padding."""

    intent: Array  # i32
    target_kind: Array  # i32
    target: Array  # i32, EMPTY (-1) when there is none
    strength: Array  # f32
    cause: Array  # i32


def instruction_tokens(intent: Array, kind: Array, target: Array, strength: Array, cause: Array) -> Array:
    """i32[..., INSTRUCTION_TOKENS]: the sentence; all zeros where intent is 0.

    Args:
      intent, kind, cause: i32[...], indices of INTENTS, TARGET_KINDS, CAUSES.
      target: i32[...], an id of that kind, at most LARGEST_ID; EMPTY when kind is 0.
      strength: f32[...], rounded to the nearest of STRENGTHS.
    """
    level = jnp.clip(jnp.round(strength * len(STRENGTHS)) - 1, 0, len(STRENGTHS) - 1).astype(jnp.int32)
    head = jnp.stack([FIRST_INTENT + intent, FIRST_KIND + kind], axis=-1)
    tail = jnp.stack([FIRST_STRENGTH + level, FIRST_CAUSE + cause], axis=-1)
    tokens = jnp.concatenate([head, _digits(target), tail], axis=-1)
    return jnp.where(intent[..., None] > 0, tokens, 0).astype(jnp.int32)


def read_instruction(tokens: Array) -> Said:
    """What the tokens i32[..., INSTRUCTION_TOKENS] say; padding reads as silence."""
    spoken = tokens[..., 0] > 0
    level = tokens[..., 2 + DIGITS] - FIRST_STRENGTH
    strength = (jnp.clip(level, 0, len(STRENGTHS) - 1) + 1).astype(jnp.float32) / len(STRENGTHS)
    return Said(
        intent=jnp.where(spoken, tokens[..., 0] - FIRST_INTENT, 0),
        target_kind=jnp.where(spoken, tokens[..., 1] - FIRST_KIND, 0),
        target=jnp.where(spoken, _number(tokens[..., 2 : 2 + DIGITS]), -1),
        strength=jnp.where(spoken, strength, 0.0),
        cause=jnp.where(spoken, tokens[..., 3 + DIGITS] - FIRST_CAUSE, 0),
    )


def trace_tokens(cause: Array, amount: Array, item: Array) -> Array:
    """i32[..., TRACE_TOKENS]: a clause a reason; zeros where the cause is 0.

    Args: cause i32[..., REASONS]; amount f32[..., REASONS], logits, rounded to the nearest of AMOUNTS; item likewise.
    """
    level = jnp.sum(amount[..., None] > _between(), axis=-1)
    head = jnp.stack([FIRST_CAUSE + cause, FIRST_AMOUNT + level], axis=-1)
    clauses = jnp.concatenate([head, _digits(item)], axis=-1)
    clauses = jnp.where(cause[..., None] > 0, clauses, 0).astype(jnp.int32)
    return clauses.reshape(*cause.shape[:-1], TRACE_TOKENS)


def read_trace(tokens: Array) -> tuple[Array, Array, Array]:
    """(cause i32[REASONS], amount f32[REASONS], item i32[REASONS]) of i32[TRACE_TOKENS]."""
    clauses = tokens.reshape(REASONS, 2 + DIGITS)
    there = clauses[:, 0] > 0
    level = jnp.clip(clauses[:, 1] - FIRST_AMOUNT, 0, len(AMOUNTS) - 1)
    cause = jnp.where(there, clauses[:, 0] - FIRST_CAUSE, 0)
    amount = jnp.where(there, jnp.asarray(AMOUNTS)[level], 0.0)
    return cause, amount, jnp.where(there, _number(clauses[:, 2:]), -1)


def _between() -> Array:
    """f32[len(AMOUNTS) - 1]: the bounds between amounts."""
    amounts = jnp.asarray(AMOUNTS)
    return 0.5 * (amounts[1:] + amounts[:-1])


def _digits(number: Array) -> Array:
    """i32[..., DIGITS] tokens of an id i32[...], the highest digit first; zeros where it is EMPTY."""
    shifts = jnp.asarray([BITS * i for i in reversed(range(DIGITS))])  # a division of integers is no vector operation
    number = number[..., None]
    return jnp.where(number >= 0, FIRST_DIGIT + ((jnp.maximum(number, 0) >> shifts) & (BASE - 1)), 0)


def _number(tokens: Array) -> Array:
    """i32[...]: the id written in i32[..., DIGITS] tokens; EMPTY where they are padding."""
    places = jnp.asarray([BASE**i for i in reversed(range(DIGITS))])
    number = jnp.sum(jnp.clip(tokens - FIRST_DIGIT, 0, BASE - 1) * places, axis=-1)
    return jnp.where(tokens[..., -1] > 0, number, -1).astype(jnp.int32)
