"""Introspection: which cause raised the urge to leave most, and by how much.

For each cause the user asks: how would I feel, had it not been there? The answer is the same slate gone through
again in expectation (click, watched fraction, mood, trust and boredom, slot by slot) with the cause's part of the
utility given back. The amounts are differences of the urge, in logits; a test re-runs the real user without the cause.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY
from jaxreco.struct import Struct
from jaxreco.talk.grammar import CAUSE, REASONS
from jaxreco.users import mechanisms as law

Array = jax.Array

# Causes that lower the utility of slots, in the order of `lost`.
OF_SLOTS = ("sated", "creator", "seen", "off_taste", "elsewhere", "stale", "long")
# As it was, each of them away, without bait, without the answer to a request.
WITHOUT_BAIT, UNANSWERED = len(OF_SLOTS) + 1, len(OF_SLOTS) + 2
SCENARIOS = UNANSWERED + 1
BLAMED = (*OF_SLOTS, "bait", "ignored", "time")  # in the order of the amounts
_FIRST_LESS_EACH = (np.eye(SCENARIOS)[0] - np.eye(SCENARIOS)[1:]).astype(np.float32)


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


def urge(utility: Array, slots: Slots, baited: Array, mind: Mind, hours: Hours, params: Any) -> Array:
    """Expected log-odds of leaving after the slots, less the bias, f32[N] of N scenarios.

    How far promises are broken is taken from the first scenario: more utility raises promise and performance alike.
    Trust is taken from before the slate where it decides on clicks.

    Args: utility f32[K, N]; baited f32[N], 0 where the lure is away; mind f32[N] each.
    """
    broken = jnp.maximum(_fraction(slots.utility + slots.lure, params) - _fraction(slots.utility, params), 0.0)
    trusting = params.click_trust * (mind.trust - 0.5)
    mood, trust, boredom = mind
    minutes = hours.spent + params.load_seconds / 60.0
    # Unrolled, and a row of scenarios at a time: a compiler makes vectors of rows, not of matrices of ten by ten.
    for k in range(utility.shape[0]):
        click = law.click_probability(utility[k] + slots.lure[k] * baited + trusting)
        kept, bait, looked = _fraction(utility[k], params), broken[k] * baited, slots.examined[k]
        felt = click * law.let_down(kept, bait, params.disappointment, params.aspiration)
        mood, boredom = gone_through(click, felt, looked, mood, boredom, params)
        delight = jnp.maximum(kept - params.aspiration, 0.0)
        surprised = law.trust_step(mind.trust, delight, bait, params.trust_gain, params.trust_loss) - mind.trust
        trust = trust + looked * click * surprised
        minutes = minutes + looked * _minutes(click, kept, slots.seconds[k], params)
    spent = params.leave_time * jnp.minimum(minutes / hours.budget, 3.0)
    return spent + params.leave_boredom * boredom - params.leave_mood * mood - params.leave_trust * trust


@jax.custom_batching.custom_vmap
def _urges(slots: Slots, lost: Array, before: Mind, unanswered: Mind, hours: Hours, params: Any) -> Array:
    """The urge in every scenario, f32[SCENARIOS]."""
    return urge(*_scenarios(slots, lost, before, unanswered), hours, params)


@_urges.def_vmap
def _urges_of_users(size: int, batched: Any, *args: Any) -> tuple[Array, bool]:
    """Users in the last axis: a CPU makes vectors of what lies side by side, and of scenarios there are few."""
    args = jax.tree.map(lambda x, own: jnp.moveaxis(x, 0, -1) if own else x[..., None], args, tuple(batched))
    slots, lost, before, unanswered, hours, params = args
    return jnp.moveaxis(urge(*_scenarios(slots, lost, before, unanswered), hours, params), -1, 0), True


def _scenarios(slots: Slots, lost: Array, before: Mind, unanswered: Mind) -> tuple[Array, Slots, Array, Mind]:
    """What `urge` takes: utility f32[K, N], the slots, baited f32[N], and the mind before them, f32[N] each."""

    def each(values: list[Array]) -> Array:
        return jnp.stack([jnp.broadcast_to(value, lost.shape[2:]) for value in values])

    as_it_was = jnp.zeros_like(lost[:1])
    utility = slots.utility + jnp.concatenate([as_it_was, lost, as_it_was, as_it_was])
    baited = each([jnp.float32(i != WITHOUT_BAIT) for i in range(SCENARIOS)])
    minds = zip(before, unanswered, strict=True)
    mind = Mind(*(each([late if i == UNANSWERED else early for i in range(SCENARIOS)]) for early, late in minds))
    return jnp.swapaxes(utility, 0, 1), slots, baited, mind


def urge_of_time(slots: Slots, mind: Mind, hours: Hours, params: Any) -> Array:
    """f32[]: the part of the slate's own minutes in the urge. mind: f32[] each, before the slate."""
    click = law.click_probability(slots.utility + slots.lure + params.click_trust * (mind.trust - 0.5))
    minutes = jnp.sum(slots.examined * _minutes(click, _fraction(slots.utility, params), slots.seconds, params))
    after = hours.spent + params.load_seconds / 60.0 + minutes
    before, after = (jnp.minimum(x / hours.budget, 3.0) for x in (hours.spent, after))
    return params.leave_time * (after - before)


def gone_through(
    click: Array, felt: Array, examined: Array, mood: Array, boredom: Array, params: Any
) -> tuple[Array, Array]:
    """Mood and boredom after one slot, in expectation: f32[N] as click, felt, mood, boredom; examined f32[], 0 or 1."""
    after = law.mood_step(mood, felt, params.aspiration, params.mood_rate)
    skipped = (1.0 - click) * (boredom + 1.0)
    return jnp.where(examined > 0, after, mood), jnp.where(examined > 0, skipped, boredom)


def _minutes(click: Array, kept: Array, seconds: Array, params: Any) -> Array:
    """Expected minutes at a slot that is looked at."""
    glance = jnp.minimum(params.glimpse_seconds, seconds)
    return (click * (kept * seconds - glance) + glance) / 60.0


def _fraction(utility: Array, params: Any) -> Array:
    return law.expected_fraction(utility, params.watch_bias, params.watch_slope, params.watch_noise)


def reasons(
    slots: Slots, lost: Array, too_long: Array, before: Mind, unanswered: Mind, hours: Hours, params: Any
) -> Reasons:
    """What raised the urge to leave in this turn, by cause.

    Args:
      lost: f32[len(OF_SLOTS), K], utility that each cause took. too_long: bool[K], longer than wanted (else shorter).
      before: the mind as it went into the slate. unanswered: as it would have been without the answer to its request.
    """
    urges = _urges(slots, lost, before, unanswered, hours, params)
    # As a product, before which a compiler works the urges out once; each side of a difference it would work out anew.
    falls = jnp.dot(_FIRST_LESS_EACH, urges, precision="highest")
    amount = jnp.append(falls, urge_of_time(slots, before, hours, params))
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


def ranked(found: Reasons) -> tuple[Array, Array, Array]:
    """The REASONS of greatest effect, either way, strongest first; a reason without effect is left out.

    Returns: what makes a `Trace`: cause i32[REASONS], amount f32[REASONS], item i32[REASONS].
    """
    cause = jnp.concatenate([found.cause, jnp.full(1, CAUSE["delight"], jnp.int32)])
    amount = jnp.concatenate([found.amount, -found.delight[None]])
    item = jnp.concatenate([found.item, found.best[None]])
    size, order = jnp.abs(amount), []
    for _ in range(REASONS):
        at = jnp.argmax(size)
        order.append(at)
        size = jnp.where(jnp.arange(size.shape[0]) == at, -1.0, size)
    first = jnp.stack(order)
    there = jnp.abs(amount[first]) > 1e-3
    return (
        jnp.where(there, cause[first], 0),
        jnp.where(there, amount[first], 0.0),
        jnp.where(there, item[first], EMPTY),
    )


def misreported(uniform: Array, n_items: int) -> tuple[Array, Array, Array]:
    """Reasons that have nothing to do with the user: causes, amounts and items drawn evenly. uniform f32[3 * REASONS].

    Returns: as `ranked`.
    """
    u, v, w = uniform.reshape(3, REASONS)
    kinds = jnp.asarray([*(CAUSE[name] for name in BLAMED), CAUSE["short"], CAUSE["delight"]])
    cause = kinds[jnp.minimum((u * len(kinds)).astype(jnp.int32), len(kinds) - 1)]
    amount = 2.0 * jnp.cumprod(0.3 + 0.7 * v) * jnp.where(cause == CAUSE["delight"], -1.0, 1.0)
    item = jnp.minimum((w * n_items).astype(jnp.int32), n_items - 1)
    return cause, amount, jnp.where((cause == CAUSE["time"]) | (cause == CAUSE["ignored"]), EMPTY, item)
