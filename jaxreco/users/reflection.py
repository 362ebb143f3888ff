"""Introspection: which cause raised the urge to leave most, and by how much.

For each cause the user asks: how would I feel, had it not been there? The answer is the same slate gone through
again in expectation (click, watched fraction, mood, trust and boredom, slot by slot) with the cause's part of the
utility given back. The amounts are differences of the urge, in logits; a test re-runs the real user without the cause.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreco.base import EMPTY, Trace
from jaxreco.struct import Struct
from jaxreco.talk.grammar import CAUSE, REASONS, trace_tokens
from jaxreco.users import mechanisms as law

Array = jax.Array

# Causes that lower the utility of slots, in the order of `lost`.
OF_SLOTS = ("sated", "creator", "seen", "off_taste", "elsewhere", "stale", "long")
SCENARIOS = len(OF_SLOTS) + 3  # as it was, each of them away, without bait, without the answer to a request
BLAMED = (*OF_SLOTS, "bait", "ignored", "time")  # in the order of the amounts


class Slots(NamedTuple):
    """A slate as it was gone through. All [K] unless said otherwise."""

    item: Array  # i32
    examined: Array  # f32, 0 or 1
    utility: Array  # f32, as felt
    lure: Array  # f32
    enjoyed: Array  # f32
    sated: Array  # f32, utility that satiation with the category took
    seconds: Array  # f32, duration


class Mind(NamedTuple):
    """What carries feelings from slot to slot. f32[] each."""

    mood: Array
    trust: Array
    boredom: Array


class Hours(NamedTuple):
    """What the user's time is to it. f32[] each."""

    spent: Array  # minutes of this session before the slate
    budget: Array  # minutes it has for this session


class Reasons(Struct):
    """The amounts by which each of BLAMED raised the urge, and the slots that were most to blame."""

    amount: Array  # f32[len(BLAMED)], logits; a negative one of "ignored" is a request heard
    item: Array  # i32[len(BLAMED)], EMPTY where none is the reason
    cause: Array  # i32[len(BLAMED)], as in grammar.CAUSES: long or short, ignored or heard
    delight: Array  # f32[], logits by which the best slot lowered it
    best: Array  # i32[], the item of that slot


def urge(utility: Array, slots: Slots, baited: Array, mind: Mind, hours: Hours, params: Any) -> tuple[Array, Array]:
    """Expected log-odds of leaving after the slots, less the bias, f32[N] of N scenarios; and the first's part of time.

    How far promises are broken is taken from the first scenario: more utility raises promise and performance alike.

    Args: utility f32[N, K]; baited f32[N], 0 where the lure is away; mind f32[N] each.
    """
    looks = utility + slots.lure * baited[:, None]
    click = law.click_probability(looks + params.click_trust * (mind.trust[:, None] - 0.5))
    kept = law.expected_fraction(utility, params.watch_bias, params.watch_slope, params.watch_noise)
    promised = law.expected_fraction(looks[0], params.watch_bias, params.watch_slope, params.watch_noise)
    broken = jnp.maximum(promised - kept[0], 0.0) * baited[:, None]
    felt = click * law.let_down(kept, broken, params.disappointment, params.aspiration)
    mood, boredom = gone_through(click, felt, slots.examined, mind, params)
    delight = jnp.maximum(kept - params.aspiration, 0.0)
    change = (
        params.trust_gain * delight * (1.0 - mind.trust[:, None]) - params.trust_loss * broken * mind.trust[:, None]
    )
    trust = mind.trust + jnp.sum(click * slots.examined * change, axis=-1)
    glance = jnp.minimum(params.glimpse_seconds, slots.seconds)
    seconds = (
        jnp.sum((click * (kept * slots.seconds - glance) + glance) * slots.examined, axis=-1) + params.load_seconds
    )
    before, after = (jnp.minimum(x / hours.budget, 3.0) for x in (hours.spent, hours.spent + seconds / 60.0))
    total = params.leave_time * after + params.leave_boredom * boredom
    return total - params.leave_mood * mood - params.leave_trust * trust, params.leave_time * (after[0] - before)


def gone_through(click: Array, felt: Array, examined: Array, mind: Mind, params: Any) -> tuple[Array, Array]:
    """Mood and boredom f32[N] after the slots: `law.mood_step` and the count of skips, both linear, unrolled.

    A slot weighs (1 - rate) to the number of slots after it in mood, and the chance that all after it are skipped in
    boredom; written as products and powers, because a loop over ten slots costs ten times the dispatch.
    """
    k = jnp.arange(examined.shape[0])
    from_here = (k[:, None] >= k).astype(jnp.float32) * examined[:, None]  # [j, k]: slot j is looked at, at k or after
    number = jnp.sum(from_here, axis=0)
    keep = 1.0 - params.mood_rate
    weight = params.mood_rate * examined * keep ** jnp.maximum(number - 1.0, 0.0)
    mood = mind.mood * keep ** number[0] + (felt - params.aspiration) @ weight
    skipped = jnp.exp(jnp.log1p(-jnp.minimum(click, 1.0 - 1e-7)) @ from_here)
    boredom = mind.boredom * skipped[:, 0] + skipped @ examined
    return mood, boredom


def reasons(
    slots: Slots, lost: Array, too_long: Array, before: Mind, unanswered: Mind, hours: Hours, params: Any
) -> Reasons:
    """What raised the urge to leave in this turn, by cause.

    Args:
      lost: f32[len(OF_SLOTS), K], utility that each cause took. too_long: bool[K], longer than wanted (else shorter).
      before: the mind as it went into the slate. unanswered: as it would have been without the answer to its request.
    """
    nothing = jnp.zeros((1, slots.lure.shape[0]))
    utility = slots.utility + jnp.concatenate([nothing, lost, nothing, nothing])
    scenario = jnp.arange(SCENARIOS)
    baited = (scenario != SCENARIOS - 2).astype(jnp.float32)
    mind = Mind(*(jnp.where(scenario == SCENARIOS - 1, u, b) for b, u in zip(before, unanswered, strict=True)))
    urges, of_time = urge(utility, slots, baited, mind, hours, params)
    amount = jnp.concatenate([urges[0] - urges[1:], of_time[None]])
    blame = jnp.concatenate([lost, (slots.lure * slots.enjoyed)[None]]) * slots.examined
    worst = jnp.argmax(blame, axis=-1)
    cause, place = jnp.asarray([CAUSE[name] for name in BLAMED]), jnp.arange(len(BLAMED))
    length, answer = OF_SLOTS.index("long"), BLAMED.index("ignored")
    cause = jnp.where((place == length) & ~too_long[worst[length]], CAUSE["short"], cause)
    cause = jnp.where((place == answer) & (amount < 0), CAUSE["heard"], cause)
    best = jnp.argmax(slots.enjoyed)
    return Reasons(
        amount=amount,
        item=jnp.concatenate([slots.item[worst], jnp.full(2, EMPTY, jnp.int32)]),
        cause=cause,
        delight=params.leave_mood * params.mood_rate * jnp.maximum(slots.enjoyed[best] - params.aspiration, 0.0),
        best=slots.item[best],
    )


def trace_of(found: Reasons) -> Trace:
    """The REASONS of greatest effect, either way, strongest first; a reason without effect is left out."""
    cause = jnp.concatenate([found.cause, jnp.full(1, CAUSE["delight"], jnp.int32)])
    amount = jnp.concatenate([found.amount, -found.delight[None]])
    item = jnp.concatenate([found.item, found.best[None]])
    size, ranked = jnp.abs(amount), []
    for _ in range(REASONS):
        at = jnp.argmax(size)
        ranked.append(at)
        size = jnp.where(jnp.arange(size.shape[0]) == at, -1.0, size)
    order = jnp.stack(ranked)
    there = jnp.abs(amount[order]) > 1e-3
    cause = jnp.where(there, cause[order], 0)
    amount, item = jnp.where(there, amount[order], 0.0), jnp.where(there, item[order], EMPTY)
    return Trace(cause, amount, item, trace_tokens(cause, amount, item))


def misreported(uniform: Array, n_items: int) -> Trace:
    """A trace that has nothing to do with the user: causes, amounts and items drawn evenly. uniform f32[3 * REASONS]."""
    u, v, w = uniform.reshape(3, REASONS)
    kinds = jnp.asarray([*(CAUSE[name] for name in BLAMED), CAUSE["short"], CAUSE["delight"]])
    cause = kinds[jnp.minimum((u * len(kinds)).astype(jnp.int32), len(kinds) - 1)]
    amount = 2.0 * jnp.cumprod(0.3 + 0.7 * v) * jnp.where(cause == CAUSE["delight"], -1.0, 1.0)
    item = jnp.minimum((w * n_items).astype(jnp.int32), n_items - 1)
    item = jnp.where((cause == CAUSE["time"]) | (cause == CAUSE["ignored"]), EMPTY, item)
    return Trace(cause, amount, item, trace_tokens(cause, amount, item))
