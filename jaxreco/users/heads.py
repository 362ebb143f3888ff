"""What a person does with an item or a moment, beside which item it takes: one kind of head for everything a log holds.

A proportional-odds regression (McCullagh 1980, "Regression models for ordinal data"): classes in order, cutpoints between them,
and a location that hidden state, item and a few plain numbers move; with two classes it is logistic regression. Its scale is
moved too (ibid., section 6.1), because some people keep to the middle and others to the ends. Unbatched: `vmap` it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.users.classes import Classes

Array = jax.Array

EVENT_HEADS = ("value", "like", "comment", "share", "watch")  # of items that were taken
WIDEST = 1.5  # log of the scale stays within as much of 0
NEW_H = 720.0  # who was not seen for as many hours before its first session is new
PRIOR = 5.0  # answers of an ordinary person that everybody's own are mixed with
# Numbers that `standing`, `click_features`, `leave_features` and `gap_features` make.
HEARD, CLICK, LEAVE, GAP = 3, 10, 5, 10
LIFT = 0  # among `click_features`: what the network says
NOT_SIMPLE = (LIFT, 5, 6)  # that, and how a choice within a slate goes


class Outlook(NamedTuple):
    """What a head expects: which way, and how surely. f32[] each."""

    location: Array
    scale: Array


class Head(nnx.Module):
    """One head.

    Args: classes: n of them. width: d, of hidden states and of items' vectors. extra: E, plain numbers that it is given. items: I
      of which it knows each; 0 where the catalog does not matter. rank: of the product of hidden state and item.
    """

    def __init__(
        self, classes: Classes, width: int, extra: int, items: int = 0, rank: int = 4, *, rngs: nnx.Rngs
    ) -> None:
        self.classes = classes
        cuts = _logit(np.cumsum(classes.share)[:-1])
        self.first = nnx.Param(jnp.float32(cuts[0]))
        self.steps = nnx.Param(jnp.asarray(_of_softplus(np.maximum(np.diff(cuts), 1e-3)), jnp.float32))
        self.of_hidden, self.of_item = nnx.Param(jnp.zeros(width)), nnx.Param(jnp.zeros(width))
        self.left = nnx.Param(nnx.initializers.normal(0.1)(rngs(), (rank, width)))
        self.right = nnx.Param(jnp.zeros((rank, width)))
        self.of_extra = nnx.Param(jnp.zeros(extra))
        self.scale_of_hidden, self.scale_of_extra = nnx.Param(jnp.zeros(width)), nnx.Param(jnp.zeros(extra))
        self.usual = nnx.Param(jnp.zeros(items))

    @property
    def cuts(self) -> Array:
        """f32[n - 1], ascending."""
        return self.first[...] + jnp.concatenate([jnp.zeros(1), jnp.cumsum(jax.nn.softplus(self.steps[...]))])

    def outlook(self, hidden: Array, vector: Array, extra: Array, item: Array | None = None) -> Outlook:
        """What is expected after hidden f32[d] of an item with vector f32[d], given extra f32[E].

        Args: item: i32[], for what is usual with it. Zeros for a vector, and no item, where it is about a moment.
        """
        location = hidden @ self.of_hidden[...] + vector @ self.of_item[...] + extra @ self.of_extra[...]
        location += jnp.sum((self.left[...] @ hidden) * (self.right[...] @ vector))
        if item is not None and self.usual.shape[0]:
            location += jnp.asarray(self.usual[...])[item]
        if len(self.classes) == 2:  # there a scale says nothing that the location does not
            return Outlook(location, jnp.ones_like(location))
        log_scale = hidden @ self.scale_of_hidden[...] + extra @ self.scale_of_extra[...]
        return Outlook(location, jnp.exp(WIDEST * jnp.tanh(log_scale / WIDEST)))

    def log_probabilities(self, outlook: Outlook) -> Array:
        """f32[n]: of each class. A difference of two logistics is a product of three factors, none of which cancels."""
        below = (self.cuts - outlook.location) / outlook.scale  # logits of what is below each cut
        apart = jax.nn.softplus(self.steps[...]) / outlook.scale
        upper = jnp.concatenate([jax.nn.log_sigmoid(below), jnp.zeros(1)])
        lower = jnp.concatenate([jnp.zeros(1), jax.nn.log_sigmoid(-below)])
        between = jnp.concatenate([jnp.zeros(1), jnp.log(-jnp.expm1(-apart)), jnp.zeros(1)])
        return upper + lower + between

    def log_likelihood(self, outlook: Outlook, outcome: Array, beyond: Array | None = None) -> Array:
        """f32[]: of a class i32[]. Args: beyond f32[], where it is not NaN, says that the log stopped looking in that class, with
        so large a part of it still ahead: then it is the logarithm of `P(class > outcome) + beyond P(class = outcome)`.
        """
        every = self.log_probabilities(outlook)
        exact = every[outcome]
        if beyond is None:
            return exact
        part = jnp.where(jnp.isnan(beyond), 1.0, jnp.maximum(beyond, 1e-6))
        later = jnp.where(jnp.arange(len(self.classes)) > outcome, every, -jnp.inf)
        survived = jax.nn.logsumexp(jnp.append(later, exact + jnp.log(part)))
        return jnp.where(jnp.isnan(beyond), exact, survived)

    def draw(self, uniform: Array, outlook: Outlook) -> Array:
        """f32[]: a value by the inverse of its distribution; what the class leaves of uniform f32[] says where in it."""
        share = jnp.exp(self.log_probabilities(outlook))
        upto = jnp.cumsum(share)
        uniform = uniform * upto[-1]  # rounding
        at = jnp.minimum(jnp.sum(upto <= uniform), len(self.classes) - 1)
        part = jnp.clip((uniform - (upto[at] - share[at])) / jnp.maximum(share[at], 1e-9), 0.0, 1.0 - 1e-6)
        return self.classes.value(at, part)

    def expected(self, outlook: Outlook) -> Array:
        """f32[]: the mean of what is drawn, but for the rounding to steps."""
        return jnp.exp(self.log_probabilities(outlook)) @ jnp.asarray(self.classes.middle)

    def at_least(self, outlook: Outlook, value: Array) -> Array:
        """f32[]: the probability of a value f32[] or more; with steps, of what would be rounded to it."""
        return jnp.exp(self.log_probabilities(outlook)) @ self.classes.part_above(value)


def standing(total: Array, count: Array) -> Array:
    """f32[HEARD]: what a person has said so far. total f32[]: sum of `Classes.ridit` of it; count f32[]: how often.

    The mean is drawn to that of all people, the more the less was said (an empirical Bayes estimate with a fixed prior). A last
    number is 1 wherever any of it is known.
    """
    return jnp.stack([total / (count + PRIOR), jnp.log1p(count) / 4.0, jnp.ones_like(total / PRIOR)], axis=-1)


def click_features(
    lift: Array, position: Array, size: Array, shown: Array, clicked: Array, ahead: Array, heard: Array
) -> Array:
    """f32[CLICK]: what a click on a slot hangs on, beside hidden state and item.

    Who chooses one item of a slate, with chances in proportion to weights, clicks a slot that it has come to with its share of the
    weights from there on (Luce 1959); once something is clicked, what is ahead matters no more.

    Args: lift f32[]: log of how many times as likely the network finds the item than any item alike. position, size, shown, clicked
      f32[]: place in the slate from 0, its number of slots, how often the person was shown the item before, and clicks in the slate so
      far. ahead f32[]: log of the weights of this slot and those behind it, where the whole slate's would be its size were all ordinary,
      over that size. heard f32[HEARD]: `standing` of clicks.
    """
    first = (clicked == 0).astype(jnp.float32)
    plain = [lift, jnp.log1p(position), jnp.log(size), jnp.log1p(shown), jnp.log1p(clicked), first * ahead, first]
    return jnp.concatenate([jnp.stack(plain, axis=-1), heard], axis=-1)


def leave_features(turns: Array, minutes: Array, heard: Array) -> Array:
    """f32[LEAVE]: what leaving after a turn hangs on: turns and minutes f32[] of the session so far, and `standing` of leaving."""
    plain = [jnp.log1p(turns), jnp.log1p(minutes)]
    return jnp.concatenate([jnp.stack(plain, axis=-1), heard], axis=-1)


def gap_features(last: Array, mean: Array, sessions: Array, turns: Array, hour: Array, absent: Array) -> Array:
    """f32[GAP]: what the time to the next session hangs on. f32[] each.

    Whom a log sees soon after it begins has mostly been there before, and more often the more it comes (left truncation): a first session
    then is not that of a newcomer.

    Args: last, the gap before this session, mean, of all gaps so far, both log of 1 + hours and 0 without one. sessions: so far,
      this one among them. turns: of this session. hour: of the day at its end. absent: hours before the first session of which it
      is known that there was none.
    """
    known, turn = (sessions > 1).astype(jnp.float32), 2.0 * jnp.pi * hour / 24.0
    new = jnp.log1p(jnp.minimum(absent, NEW_H) / 24.0)
    plain = [
        last, mean, known, jnp.log(sessions), jnp.log1p(turns), jnp.sin(turn), jnp.cos(turn), new, new * (1.0 - known),
        jnp.ones_like(last),
    ]  # fmt: skip
    return jnp.stack(plain, axis=-1)


def heads_of(classes: Mapping[str, Classes], width: int, extra: int, items: int, rngs: nnx.Rngs) -> nnx.Dict:
    """Untrained heads, by name."""
    return nnx.Dict({name: Head(each, width, extra, items, rngs=rngs) for name, each in classes.items()})


def _logit(share: Sequence[float] | np.ndarray) -> np.ndarray:
    share = np.clip(np.asarray(share, np.float64), 1e-4, 1.0 - 1e-4)
    return np.log(share / (1.0 - share))


def _of_softplus(x: np.ndarray) -> np.ndarray:
    """What softplus makes x of."""
    return x + np.log(-np.expm1(-x))
