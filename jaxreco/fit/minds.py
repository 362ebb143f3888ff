"""A person's mind at a moment of a log, as the mechanisms make it of what the person took before, and what it would take next.

One person, one moment; batches come from `vmap`. The formulas are those that the mechanistic user lives by (`users.mindset`,
`users.mechanisms`), in closed form: each memory is a sum over earlier events, faded by the hours since.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreco.base import Catalog
from jaxreco.fit import objective
from jaxreco.fit.objective import Drawn
from jaxreco.users import mechanisms as law
from jaxreco.users.mindset import MindsetParams, liking

Array = jax.Array

NEW_INTEREST = 0.3  # cosine below which an item opens a further interest, while there are any
GULLIBILITY = 1.0  # mean of its prior


class Past(NamedTuple):
    """The last `H` events before a moment, the latest last."""

    item: Array  # i32[H], -1 where there is none
    hours: Array  # f32[H], ago
    interest: Array  # i32[H], that the item met


class Mind(NamedTuple):
    """What a person's past has made of it."""

    interests: Array  # f32[M, D]
    focus: Array  # i32[]
    ideal: Array  # f32[]
    exposure: Array  # f32[C]
    satiation: Array  # f32[C]
    hands: Array  # f32[R], recent items of each creator
    seen: Array  # f32[I], 1 where the item was taken


class Seeker(NamedTuple):
    """Traits on which the liking of items hangs."""

    novelty: Array  # f32[]
    freshness: Array  # f32[]


def interests_met(item: Array, starts: Array, embedding: Array, m: int) -> Array:
    """i32[N]: which of `m` interests each event's item meets, told from earlier events alone.

    The nearest, by the cosine with the sum of its items so far; an item that is nearer than NEW_INTEREST to none opens a
    further one while there are any (sequential k-means, MacQueen 1967, with leaders).

    Args: item i32[N], -1 for none. starts bool[N], a person's first event. embedding f32[I, D].
    """

    def meet(carry: tuple[Array, Array], event: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        total, count = carry
        item, starts = event
        total, count = jnp.where(starts, 0.0, total), jnp.where(starts, 0, count)
        vector = embedding[jnp.maximum(item, 0)]
        length = jnp.maximum(jnp.linalg.norm(total, axis=-1), 1e-9)
        cosine = jnp.where(count > 0, total @ vector / length, -jnp.inf)
        opens = (jnp.max(cosine) < NEW_INTEREST) & jnp.any(count == 0)
        met = jnp.where(opens, jnp.argmax(count == 0), jnp.argmax(cosine))
        here = (jnp.arange(m) == met) & (item >= 0)
        return (total + here[:, None] * vector, count + here), met

    empty = (jnp.zeros((m, embedding.shape[1])), jnp.zeros(m, jnp.int32))
    return jax.lax.scan(meet, empty, (item, starts))[1].astype(jnp.int32)


def mind_of(past: Past, params: MindsetParams, doubt: Array, catalog: Catalog, m: int, n_creators: int) -> Mind:
    """The mind after its past. Differentiable in the parameters.

    The lasting taste is the mean of each interest's items, pulled to 0 by `doubt` pseudo-items. Interests are what reinforcement
    by one item after the other and the drift back to this taste in between make of it. The rest is read off as in
    `users.mindset`: an item that was taken counts 1.
    """
    item = jnp.maximum(past.item, 0)
    there = (past.item >= 0).astype(jnp.float32)
    vector = catalog.embedding[item]
    member = members(past, m)
    taste = lasting_taste(past, doubt, catalog, m)
    later = jnp.sum(member, axis=0) - jnp.cumsum(member, axis=0)  # items that met the same interest after this one
    pull = params.reinforcement * (1.0 + params.reinforcement) ** -(later + 1.0) * member
    pull = pull * law.decay(past.hours, params.drift_hours)[:, None]

    def recent(tau: Array, place: Array, number: int) -> Array:
        return jnp.zeros(number).at[place].add(there * law.decay(past.hours, tau))

    category, n_categories = catalog.category[item], params.near.shape[0]
    interests = taste + pull.T @ vector - jnp.sum(pull, axis=0)[:, None] * taste
    return Mind(
        interests=filled(interests, jnp.sum(member, axis=0)),
        focus=jnp.int32(0),
        ideal=jnp.log(params.usual_seconds),
        exposure=recent(params.exposure_hours, category, n_categories),
        satiation=recent(params.satiation_hours, category, n_categories),
        hands=recent(params.creator_hours, catalog.creator[item], n_creators),
        seen=jnp.zeros(catalog.n_items).at[item].max(there),
    )


def members(past: Past, m: int) -> Array:
    """f32[H, M]: 1 where an event met an interest."""
    return (past.item >= 0)[:, None] * (past.interest[:, None] == jnp.arange(m)).astype(jnp.float32)


def lasting_taste(past: Past, doubt: Array, catalog: Catalog, m: int) -> Array:
    """f32[M, D]: the mean of each interest's items, pulled to 0 by `doubt` pseudo-items; 0 for an interest without any."""
    member = members(past, m)
    return member.T @ catalog.embedding[jnp.maximum(past.item, 0)] / (jnp.sum(member, axis=0) + doubt)[:, None]


def filled(interests: Array, count: Array) -> Array:
    """f32[M, D]: interests f32[M, D] of which those without items, by count f32[M], are copies of the one with most."""
    return jnp.where(count[:, None] > 0, interests, interests[jnp.argmax(count)])


def utilities(mind: Mind, seeker: Seeker, item: Array, params: MindsetParams, catalog: Catalog) -> Array:
    """f32[M, K]: how good items i32[K] look, in sessions about each of the interests; what all items share is left out."""

    def about(focus: Array) -> Array:
        return liking(mind._replace(focus=focus), seeker, item, params, catalog)[0]

    return jax.vmap(about)(jnp.arange(mind.interests.shape[0])) + (
        GULLIBILITY * params.clickbait[item]
        - params.satiation * mind.satiation[catalog.category[item]]
        - params.creator_satiation * mind.hands[catalog.creator[item]]
        - params.repetition * mind.seen[item]
    )


def log_likelihood(
    mind: Mind, seeker: Seeker, item: Array, params: MindsetParams, catalog: Catalog, drawn: Drawn | None = None
) -> Array:
    """f32[H]: of taking each of items i32[H] next, by a softmax over the catalog; it is not known what the session is about.

    Args: item: -1 is none, and what comes of it has no meaning. drawn: items that stand for the catalog, None for all of it.
    """
    taken = jnp.maximum(item, 0)
    if drawn is None:
        every = utilities(mind, seeker, jnp.arange(catalog.n_items), params, catalog)
        found = every[:, taken] - jax.nn.logsumexp(every, axis=-1, keepdims=True)
    else:
        score = utilities(mind, seeker, taken, params, catalog)
        others = utilities(mind, seeker, drawn.item, params, catalog)
        alike = jnp.broadcast_to(item, score.shape)
        found = score - objective.log_sum(alike, score, others, drawn)[:, None]
    return jax.nn.logsumexp(found, axis=0) - jnp.log(found.shape[0])


def log_probabilities(mind: Mind, seeker: Seeker, params: MindsetParams, catalog: Catalog) -> Array:
    """f32[I]: of every item."""
    every = utilities(mind, seeker, jnp.arange(catalog.n_items), params, catalog)
    return jax.nn.logsumexp(jax.nn.log_softmax(every, axis=-1), axis=0) - jnp.log(every.shape[0])
