"""The learned user: what it takes is foreseen by a network that was fitted to people's logs.

It goes through a slate as the mechanistic user does, slot by slot, and what draws it to an item is the network's word: how
many times as likely this person takes it next as any item alike. What a log does not hold is the mechanistic prior, and
`heads` says which is which. Its mindset is the network's memory of what it took (`users.network.Memory`), which grows by
what it clicks. One user; batches come from `vmap`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import CLICK, Catalog, Context, Feedback, Instruction, Trace
from jaxreco.population import Population
from jaxreco.struct import Struct, param
from jaxreco.users.mindset import Mindset, MindsetParams, MindsetState, Pull, Traits
from jaxreco.users.network import ItemTable, Memory, Past, UserNetwork

Array = jax.Array


class Begun(Struct):
    """The memory of a person as it comes: all that it took in the log is in the long one, and the short one is empty."""

    keys: Array  # f32[L, BEGIN, d], of who it is, a row a layer
    values: Array  # f32[L, BEGIN, d]
    total: Array  # f32[d], see `Past`
    number: Array  # f32[]
    hidden: Array  # f32[d]
    level: Array  # f32[], see `LearnedParams.level`


class LearnedTraits(Traits):
    """What differs between users; a pool has leading axis `P`."""

    begun: Begun


class StandIns(NamedTuple):
    """Items that stand for the whole catalog in a sum over it; all of them where it is small."""

    vector: Array  # f32[n, d]
    bias: Array  # f32[n], less the log of how often each is expected among them


class LearnedParams(MindsetParams):
    """The network and its items, beside the parameters of every mechanism that is a prior."""

    network: UserNetwork = None  # type: ignore[assignment]  # fields without a default may not follow those with one
    table: ItemTable = None  # type: ignore[assignment]
    others: StandIns = None  # type: ignore[assignment]
    pull: Any = param(default=1.0, low=0.0, doc="weight of what the network says", unit="logit per nat")

    def appeal_to(self, state: Any, item: Array, matches: Array, catalog: Catalog) -> Pull:
        """What draws the user to items i32[K]: the log-odds of taking an item drawn evenly, and the network's lift.

        For items that are drawn evenly it is Bayes' rule: among shown ones that are taken are those that the network foresees.
        """
        del matches, catalog
        lift = self.lift(state.memory.hidden, state.level, item)
        return Pull(self.base + self.pull * lift, self.pull * jnp.maximum(-lift, 0.0), jnp.zeros_like(lift))

    def usual_appeal(self, row: Array, catalog: Catalog) -> Array:
        """f32[I]: of every item to the person of a row as it comes."""
        begun = self.population.traits.begun
        return self.base + self.pull * self.lift(begun.hidden[row], begun.level[row], jnp.arange(catalog.n_items))

    def lift(self, hidden: Array, level: Array, item: Array) -> Array:
        """f32[K], nats: how many times as likely items i32[K] are to be taken next as any item alike."""
        return self.table.vector[item] @ hidden + self.table.bias[item] - level

    def level(self, hidden: Array) -> Array:
        """f32[]: what the network says of an item on average over the catalog, as `lift` counts: the log of the mean of exp."""
        return level_of(hidden, self.others, self.table.bias.shape[0])


def level_of(hidden: Array, others: StandIns, n_items: int) -> Array:
    """f32[]: see `LearnedParams.level`."""
    return jax.nn.logsumexp(others.vector @ hidden + others.bias) - jnp.log(jnp.float32(n_items))


class LearnedState(MindsetState):
    """The changing mind, with what the network remembers."""

    memory: Memory
    level: Array  # f32[], see `LearnedParams.level`


@dataclasses.dataclass(frozen=True)
class LearnedUser(Mindset):
    """The learned user model (DESIGN: protocol `UserModel`). Arguments as of `Mindset`.

    Args: heads: where each response comes from, "data" or "prior", as pairs of name and source.
    """

    heads: tuple[tuple[str, str], ...] = ()

    def init(self, key: Array, params: LearnedParams, catalog: Catalog) -> LearnedState:  # type: ignore[override]
        """A person of the log, before the first slate. The key is consumed."""
        state = super().init(key, params, catalog)
        begun = params.population.traits.begun
        row = jax.tree.map(lambda x: x[state.row], begun)
        short = tuple(block.empty_cache() for block in params.network.blocks)
        memory = Memory(short, tuple(zip(row.keys, row.values, strict=True)), Past(row.total, row.number), row.hidden)
        return LearnedState(**vars(state), memory=memory, level=row.level)

    def review(  # type: ignore[override]
        self, key: Array, state: LearnedState, slate: Array, params: LearnedParams, catalog: Catalog, context: Context
    ) -> tuple[LearnedState, Feedback, Instruction, Trace]:
        """The user walks through slate i32[K], and what it clicked it remembers. The key is consumed."""
        state, feedback, said, trace = super().review(key, state, slate, params, catalog, context)
        taken = jnp.where((feedback.actions & CLICK) != 0, slate, -1)
        about = jnp.zeros((self.slate_size, params.network.about.in_features))
        memory = params.network.remember(state.memory, taken, about, params.table)
        return state.replace(memory=memory, level=params.level(memory.hidden)), feedback, said, trace


def learned(
    params: MindsetParams, network: UserNetwork, table: ItemTable, others: StandIns, histories: np.ndarray
) -> LearnedParams:
    """The people of a mechanistic world as learned users: what draws them is the network's word.

    Args: histories i32[P, M], what each row of the population took, -1 before the first.
    """
    traits, weights = params.population.traits, params.population.weights
    begun = _begun(network, table, others, jnp.asarray(histories))
    population = Population(traits=LearnedTraits(**vars(traits), begun=begun), weights=weights)
    return LearnedParams(**{**vars(params), "population": population}, network=network, table=table, others=others)


@jax.jit
def _begun(network: UserNetwork, table: ItemTable, others: StandIns, histories: Array) -> Begun:
    """The memories of people as they come, leaves [P, ...]. histories i32[P, M], -1 before the first of each."""

    def person(history: Array) -> Begun:
        memory = network.begin(network.past(history, table))
        keys, values = (jnp.stack([pair[i] for pair in memory.begun]) for i in (0, 1))
        level = level_of(memory.hidden, others, table.bias.shape[0])
        return Begun(keys, values, *memory.long, memory.hidden, level)

    return jax.lax.map(person, histories, batch_size=256)
