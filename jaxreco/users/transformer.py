"""The learned user: what it takes is foreseen by a network that was fitted to people's logs.

It goes through a slate as the mechanistic user does, slot by slot, and what draws it to an item is the network's word: how
many times as likely this person takes it next as any item alike. What a log does not hold is the mechanistic prior, and
`heads` says which is which. Its mindset is the network's memory of what it took (`users.network.Memory`), which grows by
what it clicks. One user; batches come from `vmap`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco import rng
from jaxreco.base import CLICK, COMMENT, EXAMINED, LIKE, SHARE, Catalog, Context, Feedback, Instruction, Trace
from jaxreco.population import Population
from jaxreco.ring import Ring
from jaxreco.struct import Struct, param
from jaxreco.users import asking as decoding
from jaxreco.users.asking import REACH, Asking
from jaxreco.users.classes import Classes
from jaxreco.users.factors import Factors, Leaning, foreseen
from jaxreco.users.heads import (
    EVENT_HEADS,
    NEW_H,
    Head,
    click_features,
    gap_features,
    leave_features,
    standing,
)
from jaxreco.users.mindset import DRAWS_PER_SLOT, Known, Mindset, MindsetParams, MindsetState, Pull, Traits
from jaxreco.users.network import FEATURES, ItemTable, Memory, Past, UserNetwork

Array = jax.Array


ACTIONS = {"like": LIKE, "comment": COMMENT, "share": SHARE}
INSTRUCTION = "instruction"
HEADS = (*EVENT_HEADS, "click", "leave", "gap", INSTRUCTION)
LIKED = 1.0 / 3.0  # share of values, at most, that count as likes where a log has values and no likes


class Tally(Struct):
    """What a person has said so far in a head's classes: sums for `heads.standing`; and where it leans, if about items it took."""

    total: Array  # f32[], of ridits
    count: Array  # f32[]
    leaning: Leaning | None = None

    @classmethod
    def nothing(cls, name: str) -> Tally:
        """Of somebody who said nothing, in a head of HEADS."""
        zero = jnp.float32(0.0)
        return cls(zero, zero, Leaning.unknown() if name in EVENT_HEADS else None)

    def heard(self, vector: Array | None = None) -> Array:
        """f32[HEARD], and FORESEEN more of an item with vector f32[d] of `Factors`."""
        said = standing(self.total, self.count)
        return said if vector is None else jnp.concatenate([said, foreseen(self.leaning, vector)])  # type: ignore[arg-type]

    def plus(self, ridit: Array, there: Array, item: Array, factors: Factors | None) -> Tally:
        """After answers ridit f32[K] about items i32[K], where `there` bool[K]."""
        total = self.total + jnp.sum(jnp.where(there, ridit, 0.0))
        count = self.count + jnp.sum(there).astype(jnp.float32)
        if self.leaning is None or factors is None:
            return Tally(total, count)
        return Tally(total, count, self.leaning.after_some(factors, item, ridit, there))


class Gaps(Struct):
    """The sessions of a person so far. f32[] each."""

    last: Array  # log of 1 + hours of the last gap, 0 without one
    total: Array  # sum of these logarithms
    number: Array  # gaps
    absent: Array  # hours before the first session of which it is known that there was none

    @classmethod
    def none(cls) -> Gaps:
        """Of a newcomer."""
        zero = jnp.float32(0.0)
        return cls(zero, zero, zero, jnp.float32(NEW_H))


class Begun(Struct):
    """The memory of a person as it comes: all that it took in the log is in the long one, and the short one is empty."""

    keys: Array  # f32[L, BEGIN, d], of who it is, a row a layer
    values: Array  # f32[L, BEGIN, d]
    total: Array  # f32[d], see `Past`
    number: Array  # f32[]
    hidden: Array  # f32[d]
    level: Array  # f32[], see `LearnedParams.level`
    said: dict[str, Tally]  # by head, in the log
    gaps: Gaps  # in the log
    lately: Array  # i32[REACH], categories of what it took last, the latest last, -1 for none; [0] without a decoder


class LearnedTraits(Traits):
    """What differs between users; a pool has leading axis `P`."""

    begun: Begun


class StandIns(NamedTuple):
    """Items that stand for the whole catalog in a sum over it; all of them where it is small."""

    vector: Array  # f32[n, d]
    bias: Array  # f32[n], less the log of how often each is expected among them
    category: Array | None = None  # i32[n], for a decoder of instructions


class LearnedParams(MindsetParams):
    """The network and its items, beside the parameters of every mechanism that is a prior."""

    network: UserNetwork = None  # type: ignore[assignment]  # fields without a default may not follow those with one
    table: ItemTable = None  # type: ignore[assignment]
    others: StandIns = None  # type: ignore[assignment]
    feedback: dict[str, Head] = None  # type: ignore[assignment]  # HEADS that the log had data for
    factors: dict[str, Factors] = None  # type: ignore[assignment]  # the same of events, by which answers tell of answers
    asking: Asking | None = None  # what it would have that speaks truly; the prior's wishes where there is none
    value_mean: Any = param(default=0.0, doc="of the values of the log", unit="value")
    value_spread: Any = param(default=1.0, low=1e-9, doc="of the values of the log", unit="value")
    usual_slate: Any = param(default=10.0, low=1.0, doc="slots of a slate, for the head of clicks", unit="slots")
    like_at: Any = param(default=0.0, doc="value from which on an item counts as liked", unit="value")
    pull: Any = param(default=1.0, low=0.0, doc="weight of what the network says", unit="logit per nat")

    def appeal_to(self, state: Any, item: Array, matches: Array, catalog: Catalog) -> Pull:
        """What draws the user to items i32[K]: the head of clicks where the log had any.

        Else the log-odds of taking an item drawn evenly, and the network's lift: Bayes' rule, for items drawn evenly of which those
        are taken that the network foresees.
        """
        del matches, catalog
        memory, said = state.memory, state.said
        lift = self.lift(memory.hidden, state.level, item)
        clicks = said["click"].heard() if "click" in said else None
        return Pull(
            self.log_odds(memory.hidden, lift, item, clicks, _times_shown(state.history, item)),
            self.pull * jnp.maximum(-lift, 0.0),
            jnp.zeros_like(lift),
        )

    def log_odds(self, hidden: Array, lift: Array, item: Array, clicks: Array | None, shown: Array) -> Array:
        """f32[K]: of clicking items i32[K] that are looked at.

        The head was fitted to places of slates too; here all are first, since the walk down the slate says who sees what.

        Args: clicks f32[HEARD]: the person's own so far. shown f32[K]: how often each item was shown to it before.
        """
        head = self.feedback.get("click")
        if head is None or clicks is None:
            return self.base + self.pull * lift

        def slot(item: Array, lift: Array, shown: Array) -> Array:
            zero = jnp.float32(0.0)
            extra = click_features(lift, zero, self.usual_slate, shown, zero, zero, clicks)
            return head.outlook(hidden, self.table.vector[item], extra, item).location - head.cuts[0]

        return jax.vmap(slot)(item, lift, shown)

    def usual_appeal(self, row: Array, catalog: Catalog) -> Array:
        """f32[I]: of every item to the person of a row as it comes."""
        begun, every = self.population.traits.begun, jnp.arange(catalog.n_items)
        lift = self.lift(begun.hidden[row], begun.level[row], every)
        clicks = jax.tree.map(lambda x: x[row], begun.said["click"]).heard() if "click" in begun.said else None
        return self.log_odds(begun.hidden[row], lift, every, clicks, jnp.zeros(len(every)))

    @property
    def sources(self) -> tuple[str, ...]:
        """Those of HEADS that are not the mechanistic prior."""
        return (*sorted(self.feedback), *((INSTRUCTION,) if self.asking is not None else ()))

    def wished(self, category: Array, inside: Any, uniform: Array) -> Array:
        """i32[]: the category that a user wishes for who speaks truly: drawn by the decoder, where there is one."""
        if self.asking is None:
            return category
        hidden, lately = inside
        every = jnp.arange(self.asking.bias.shape[0] // len(decoding.ASKS))
        members = (self.others.category[:, None] == every).astype(jnp.float32)  # type: ignore[index]
        chance = jax.nn.softmax(self.others.vector @ hidden + self.others.bias) @ members
        count = jnp.sum(lately[:, None] == every, axis=0)
        return self.asking.wish(uniform, chance, count / jnp.maximum(jnp.sum(count), 1))

    def lift(self, hidden: Array, level: Array, item: Array) -> Array:
        """f32[K], nats: how many times as likely items i32[K] are to be taken next as any item alike."""
        return self.table.vector[item] @ hidden + self.table.bias[item] - level

    def level(self, hidden: Array) -> Array:
        """f32[]: what the network says of an item on average over the catalog, as `lift` counts: the log of the mean of exp."""
        return level_of(hidden, self.others, self.table.bias.shape[0])


def _times_shown(history: Ring, item: Array) -> Array:
    """f32[K]: slots of the history in which items i32[K] were shown."""
    there = history.valid()[:, None, None] & (history.data.item[:, :, None] == item)
    return jnp.sum(there, axis=(0, 1)).astype(jnp.float32)


def level_of(hidden: Array, others: StandIns, n_items: int) -> Array:
    """f32[]: see `LearnedParams.level`."""
    return jax.nn.logsumexp(others.vector @ hidden + others.bias) - jnp.log(jnp.float32(n_items))


class LearnedState(MindsetState):
    """The changing mind, with what the network remembers."""

    memory: Memory
    level: Array  # f32[], see `LearnedParams.level`
    said: dict[str, Tally]  # by head
    lately: Array  # i32[REACH], see `Begun`
    gaps: Gaps


@dataclasses.dataclass(frozen=True)
class LearnedUser(Mindset):
    """The learned user model (DESIGN: protocol `UserModel`). Arguments as of `Mindset`.

    Args: sources: those of HEADS that are not the mechanistic prior.
    """

    sources: tuple[str, ...] = ()

    @property
    def heads(self) -> dict[str, str]:
        """Where each response comes from: "data", or the mechanistic "prior".

        The category that an instruction names is from "hindsight", where there is a decoder: no log said what people ask for. When and
        why it speaks, everything else that it asks for, and its reasons are priors always.
        """
        known = {name: "hindsight" if name == INSTRUCTION else "data" for name in self.sources}
        return {name: known.get(name, "prior") for name in HEADS}

    def init(self, key: Array, params: LearnedParams, catalog: Catalog) -> LearnedState:  # type: ignore[override]
        """A person of the log, before the first slate. The key is consumed."""
        state = super().init(key, params, catalog)
        row = jax.tree.map(lambda x: x[state.row], params.population.traits.begun)
        short = tuple(block.empty_cache() for block in params.network.blocks)
        begun = tuple(zip(row.keys, row.values, strict=True))
        memory = Memory(short, begun, Past(row.total, row.number), row.hidden)
        return LearnedState(
            **vars(state), memory=memory, level=row.level, said=row.said, lately=row.lately, gaps=row.gaps
        )

    def review(  # type: ignore[override]
        self, key: Array, state: LearnedState, slate: Array, params: LearnedParams, catalog: Catalog, context: Context
    ) -> tuple[LearnedState, Feedback, Instruction, Trace]:
        """The user walks through slate i32[K], and what it clicked it remembers. The key is consumed."""
        after, feedback, said, trace = super().review(key, state, slate, params, catalog, context)
        clicked = (feedback.actions & CLICK) != 0
        values = self._values(key, state, slate, params)
        about = _about(feedback, values, params)
        memory = params.network.remember(state.memory, jnp.where(clicked, slate, -1), about, params.table)
        # Worked out anew from the same state it would differ by rounding.
        level = jnp.where(jnp.any(clicked), params.level(memory.hidden), state.level)
        tallies = _tallies(state.said, feedback, values, params)
        lately = state.lately
        if params.asking is not None:
            lately = decoding.pushed(lately, catalog.category[jnp.maximum(slate, 0)], clicked)
        # `after` is a LearnedState too: the walk replaces fields of the state that it was given.
        return after.replace(memory=memory, level=level, said=tallies, lately=lately), feedback, said, trace  # type: ignore[return-value]

    def revisit(  # type: ignore[override]
        self, key: Array, state: LearnedState, params: LearnedParams, context: Context
    ) -> tuple[LearnedState, Array]:
        """The mind at the opening of the next session, and the gap f32[] in hours. The key is consumed."""
        after, gap = super().revisit(key, state, params, context)
        hours = jnp.log1p(gap)
        before = state.gaps
        gaps = before.replace(last=hours, total=before.total + hours, number=before.number + 1.0)
        return after.replace(gaps=gaps), gap  # type: ignore[return-value]

    def _known(  # type: ignore[override]
        self, uniform: Array, state: LearnedState, slate: Array, params: LearnedParams, catalog: Catalog
    ) -> Known:
        """What the heads say of the slots of a slate."""
        item = jnp.maximum(slate, 0)
        found: dict[str, Array] = {}
        for name in ACTIONS:
            if name in params.feedback:
                head = params.feedback[name]
                found[name] = jax.vmap(lambda o, head=head: head.at_least(o, jnp.float32(1.0)))(
                    _outlook(name, state, item, params)
                )
        if "like" not in found and "value" in params.feedback:
            head = params.feedback["value"]
            outlook = _outlook("value", state, item, params)
            found["like"] = jax.vmap(lambda o: head.at_least(o, params.like_at))(outlook)
        if "watch" in params.feedback:
            seconds = jax.vmap(params.feedback["watch"].draw)(uniform[:, 1], _outlook("watch", state, item, params))
            found["fraction"] = jnp.minimum(seconds / catalog.duration[item], 1.0)
        if "leave" in params.feedback:
            head = params.feedback["leave"]
            extra = leave_features(state.turns + 1.0, state.minutes, state.said["leave"].heard())
            leaves = head.at_least(head.outlook(state.memory.hidden, _nothing(params), extra), jnp.float32(1.0))
            found["leave"] = jnp.broadcast_to(leaves, slate.shape)
        return Known(**found)

    def _inside(self, state: LearnedState, params: LearnedParams) -> Any:  # type: ignore[override]
        """What the decoder of instructions is told."""
        return () if params.asking is None else (state.memory.hidden, state.lately)

    def _values(self, key: Array, state: LearnedState, slate: Array, params: LearnedParams) -> Array | None:
        """f32[K]: what the user says of each item if it takes it; by the draws by which it likes it, so that both agree."""
        if "value" not in params.feedback:
            return None
        uniform = rng.uniforms(key, self._walking).reshape(self.slate_size, DRAWS_PER_SLOT)[:, 2]
        return jax.vmap(params.feedback["value"].draw)(
            1.0 - uniform, _outlook("value", state, jnp.maximum(slate, 0), params)
        )

    def _gap(self, uniform: Array, state: LearnedState, satisfaction: Array, params: LearnedParams) -> Array:  # type: ignore[override]
        """f32[]: hours until the next session."""
        if "gap" not in params.feedback:
            return super()._gap(uniform, state, satisfaction, params)
        head, gaps = params.feedback["gap"], state.gaps
        mean = gaps.total / jnp.maximum(gaps.number, 1.0)
        hour = jnp.mod(state.clock, 24.0)
        extra = gap_features(gaps.last, mean, gaps.number + 1.0, state.turns, hour, gaps.absent)
        return head.draw(uniform, head.outlook(state.memory.hidden, _nothing(params), extra))


def _outlook(name: str, state: LearnedState, item: Array, params: LearnedParams) -> Any:
    """What a head of an event expects of each of items i32[K], leaves [K]."""
    head, said, factors = params.feedback[name], state.said[name], params.factors[name]
    return jax.vmap(
        lambda i: head.outlook(state.memory.hidden, params.table.vector[i], said.heard(factors.vector[i]), i)
    )(item)


def _nothing(params: LearnedParams) -> Array:
    """f32[d]: the vector where no item is meant."""
    return jnp.zeros(params.table.vector.shape[1])


def _about(feedback: Feedback, values: Array | None, params: LearnedParams) -> Array:
    """f32[K, F]: what the network is told of the slots as events: what its log would have said (`fit.events.FEATURES`)."""
    told: dict[str, Array] = {}
    if values is not None:
        told["value"] = (values - params.value_mean) / params.value_spread
        told["valued"] = jnp.ones_like(values)
    for name, bit in ACTIONS.items():
        if name in params.feedback:
            told[name] = ((feedback.actions & bit) != 0).astype(jnp.float32)
    if "watch" in params.feedback:
        told["watch"] = jnp.log1p(feedback.watch) / 4.0
        told["watched"] = (feedback.watch > 0).astype(jnp.float32)
    nothing = jnp.zeros(feedback.slate.shape)
    return jnp.stack([told.get(name, nothing) for name in FEATURES], axis=-1)


def _tallies(
    said: dict[str, Tally], feedback: Feedback, values: Array | None, params: LearnedParams
) -> dict[str, Tally]:
    """What the person has said by the end of a slate, by head."""
    clicked, looked = ((feedback.actions & bit) != 0 for bit in (CLICK, EXAMINED))
    now: dict[str, tuple[Array, Array]] = {"click": (clicked, looked)}  # an outcome, and where there is one
    now |= {name: ((feedback.actions & bit) != 0, clicked) for name, bit in ACTIONS.items()}
    now["watch"] = (feedback.watch, clicked & (feedback.watch > 0))
    now["leave"] = (feedback.left[None], jnp.ones(1, bool))
    if values is not None:
        now["value"] = (values, clicked)
    item, found = jnp.maximum(feedback.slate, 0), {}
    for name, tally in said.items():
        outcome, there = now[name]
        classes = params.feedback[name].classes
        at = jnp.searchsorted(jnp.asarray(classes.inner), outcome.astype(jnp.float32), side="right")
        found[name] = tally.plus(jnp.asarray(classes.ridit)[at], there, item, params.factors.get(name))
    return found


def learned(
    params: MindsetParams,
    network: UserNetwork,
    table: ItemTable,
    others: StandIns,
    feedback: Mapping[str, Head],
    factors: Mapping[str, Factors],
    histories: np.ndarray,
    said: Mapping[str, Tally],
    gaps: Gaps | None = None,
    asking: Asking | None = None,
    category: np.ndarray | None = None,
) -> LearnedParams:
    """The people of a mechanistic world as learned users: what draws them is the network's word, and what data know is theirs.

    Args: factors: by head of events. histories i32[P, M], what each row of the population took, -1 before the first. said: by head,
      leaves [P, ...], what they said in the log; nothing was said where a head is missing. gaps: leaves [P]; without, all are new.
      asking: with category i32[I], of items, and `others` that know theirs; without, wishes are the prior's.
    """
    traits, weights = params.population.traits, params.population.weights
    tallies = {
        name: said[name] if name in said else _alike(Tally.nothing(name), len(histories))
        for name in feedback
        if name != "gap"
    }
    lately = np.zeros((len(histories), 0), np.int32)
    if asking is not None and category is not None:
        last = np.pad(histories, ((0, 0), (REACH, 0)), constant_values=-1)[:, -REACH:]
        lately = np.where(last >= 0, np.asarray(category)[last], -1).astype(np.int32)
    memory = _begun(network, table, others, jnp.asarray(histories))
    visits = _alike(Gaps.none(), len(histories)) if gaps is None else gaps
    begun = Begun(**memory, said=tallies, gaps=visits, lately=jnp.asarray(lately))
    population = Population(traits=LearnedTraits(**vars(traits), begun=begun), weights=weights)
    like_at = _like_at(feedback["value"].classes) if "value" in feedback else 0.0
    return LearnedParams(
        **{**vars(params), "population": population},
        network=network,
        table=table,
        others=others,
        feedback=dict(feedback),
        factors=dict(factors),
        like_at=like_at,
        asking=asking,
    )


def _alike(one: Any, n_people: int) -> Any:
    """Leaves [P, ...]: of people who are all the same."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (n_people, *x.shape)), one)


def _like_at(classes: Classes) -> float:
    """The lowest value from which on at most LIKED of all values are; the highest where even those are more."""
    above = np.cumsum(np.asarray(classes.share)[::-1])[::-1]
    at = np.flatnonzero(above <= LIKED)
    return float(classes.edges[at[0] if len(at) else len(classes) - 1])


@jax.jit
def _begun(network: UserNetwork, table: ItemTable, others: StandIns, histories: Array) -> dict[str, Array]:
    """The fields of `Begun` that follow from what people i32[P, M] took, leaves [P, ...]."""

    def person(history: Array) -> dict[str, Array]:
        memory = network.begin(network.past(history, table))
        keys, values = (jnp.stack([pair[i] for pair in memory.begun]) for i in (0, 1))
        total, number = memory.long
        level = level_of(memory.hidden, others, table.bias.shape[0])
        return dict(keys=keys, values=values, total=total, number=number, hidden=memory.hidden, level=level)

    return jax.lax.map(person, histories, batch_size=256)
