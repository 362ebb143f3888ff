"""The vocabulary: what the parts of jaxreco say to each other. Dataclasses and protocols, no logic.

Shapes, here and in every docstring: `B` users (batch), `T` turns, `K` slate size, `I` items, `C` categories,
`D` embedding, `H` history length, `S` instruction tokens, `W` trace tokens, `M` interests of a user, `P` rows of a pool.
Everything is unbatched, one user, unless a `B` says otherwise; batches come from `jax.vmap`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxreco.ring import Ring
from jaxreco.struct import Struct, param
from jaxreco.talk import grammar
from jaxreco.talk.grammar import REASONS

Array = jax.Array

# What a user did with one slot, as bits of an i32. A slot that was not looked at is 0.
EXAMINED, CLICK, LIKE, COMMENT, SHARE, LEAVE = 1, 2, 4, 8, 16, 32
ACTION_NAMES = {EXAMINED: "examined", CLICK: "click", LIKE: "like", COMMENT: "comment", SHARE: "share", LEAVE: "leave"}
EMPTY = -1  # the id of an empty slot


class Catalog(Struct):
    """All items, as arrays: what everybody on the platform can know of them."""

    embedding: Array  # f32[I, D], unit length
    category: Array  # i32[I]
    creator: Array  # i32[I]
    tags: Array  # i32[I, G], EMPTY where an item has fewer
    duration: Array  # f32[I], seconds
    popularity: Array  # f32[I], share of all plays, sums to 1
    quality: Array  # f32[I], standard score
    age: Array  # f32[I], hours since publication when the clock is 0

    @property
    def n_items(self) -> int:
        """I."""
        return self.embedding.shape[0]


@dataclasses.dataclass(frozen=True)
class Names:
    """The readable side of a catalog, kept on the host."""

    titles: tuple[str, ...]
    categories: tuple[str, ...]
    creators: tuple[str, ...]
    tags: tuple[str, ...]
    ids: tuple[int, ...] = ()  # of the items in their log, where the catalog comes from one


class Feedback(Struct):
    """What the user did with each slot of one slate."""

    slate: Array  # i32[K], EMPTY where the slot was empty
    actions: Array  # i32[K], bits of EXAMINED ... LEAVE
    watch: Array  # f32[K], seconds, at most the item's duration
    minutes: Array  # f32[], simulated time the turn took
    left: Array  # bool[], the user ended the session

    def did(self, action: int) -> Array:
        """bool[K]: where the user did `action` (one of the bits above)."""
        return (self.actions & action) != 0


class Instruction(Struct):
    """What the user tells the recommender. `intent` 0 is silence."""

    intent: Array  # i32[]
    target_kind: Array  # i32[]: 0 none
    target: Array  # i32[], EMPTY when there is none
    strength: Array  # f32[] in [0, 1]
    cause: Array  # i32[], why: 0 none

    @property
    def tokens(self) -> Array:
        """i32[S]: as a sentence of the grammar; padding for silence. Written when read: a state carries no copy."""
        return grammar.instruction_tokens(self.intent, self.target_kind, self.target, self.strength, self.cause)

    @classmethod
    def silent(cls) -> Instruction:
        """The empty instruction."""
        none = jnp.int32(0)
        return cls(none, none, jnp.int32(EMPTY), jnp.float32(0.0), none)

    @classmethod
    def of(cls, intent: Array, target_kind: Array, target: Array, strength: Array, cause: Array) -> Instruction:
        """The instruction, i32[] each but strength f32[]; silence where intent is 0."""
        spoken = intent > 0
        intent, kind, cause = (jnp.where(spoken, x, 0).astype(jnp.int32) for x in (intent, target_kind, cause))
        target = jnp.where(spoken & (kind > 0), target, EMPTY).astype(jnp.int32)
        return cls(intent, kind, target, jnp.where(spoken, strength, 0.0).astype(jnp.float32), cause)


class Trace(Struct):
    """Why: the strongest reasons behind the last change of mindset, strongest first. `cause` 0 is none."""

    cause: Array  # i32[R]
    amount: Array  # f32[R], logits by which the reason raised the urge to leave
    item: Array  # i32[R], EMPTY when no item is the reason

    @property
    def tokens(self) -> Array:
        """i32[W]: as clauses of the grammar, 0 pads."""
        return grammar.trace_tokens(self.cause, self.amount, self.item)

    @classmethod
    def silent(cls) -> Trace:
        """The empty trace."""
        none = jnp.zeros(REASONS, jnp.int32)
        return cls(none, jnp.zeros(REASONS), none + EMPTY)


class Event(Struct):
    """The slots of one reviewed slate, as the platform logs them: one event of a history."""

    item: Array  # i32[K]
    actions: Array  # i32[K]
    watch: Array  # f32[K], seconds
    hours: Array  # f32[], clock when it happened

    @classmethod
    def none_yet(cls, slate_size: int, history_length: int) -> Ring:
        """An empty history: a ring of whole slates that holds at least `history_length` slots."""
        slots = jnp.full(slate_size, EMPTY, jnp.int32)
        nothing = cls(slots, jnp.zeros_like(slots), jnp.zeros(slate_size), jnp.float32(0.0))
        return Ring.empty(-(-history_length // slate_size), nothing)


class SessionSummary(Struct):
    """One past session, as the user remembers it."""

    start: Array  # f32[], clock in hours
    minutes: Array  # f32[]
    turns: Array  # f32[]
    satisfaction: Array  # f32[] in [0, 1]


class Context(Struct):
    """What reaches a user from outside (trends, friends' shares). Empty by default."""


class History(Struct):
    """The last `H` slots that were shown, oldest first, as a platform sees them."""

    item: Array  # i32[H], EMPTY where there is none yet
    actions: Array  # i32[H]
    watch: Array  # f32[H], seconds
    age: Array  # f32[H], hours before now


class Observation(Struct):
    """What an agent may see: only what a platform can truly see, never the mindset."""

    history: History
    slate: Array  # i32[K], the last slate; EMPTY before the first
    actions: Array  # i32[K], what was done with it
    watch: Array  # f32[K], seconds
    instruction: Array  # i32[S] tokens
    trace: Array  # i32[W] tokens, zeros unless the world exposes them
    turn: Array  # i32[], turns since the episode began
    session: Array  # i32[], sessions before this one
    session_turn: Array  # i32[], turns since this session began
    session_minutes: Array  # f32[]
    hours_away: Array  # f32[], the gap before this session; 0 in the first
    clock: Array  # f32[], hours since the episode began


class RewardWeights(Struct):
    """Reward of a turn: the sum of these weights times what they count."""

    minutes: Any = param(default=1.0, doc="engaged minutes, watch time capped at the duration", unit="1/minute")
    click: Any = param(default=0.0, doc="clicks", unit="1/click")
    like: Any = param(default=0.0, doc="likes", unit="1/like")
    comment: Any = param(default=0.0, doc="comments", unit="1/comment")
    share: Any = param(default=0.0, doc="shares", unit="1/share")
    session: Any = param(default=0.0, doc="returns for a new session before the horizon", unit="1/session")
    churn: Any = param(default=0.0, doc="users lost (a negative weight makes it a cost)", unit="1/user")


class EnvParams(Struct):
    """Everything about a world that may change without a new compilation. Traced, never static."""

    catalog: Catalog
    user: Any  # the user model's own parameters, with its population
    reward: RewardWeights = dataclasses.field(default_factory=lambda: RewardWeights())
    horizon_hours: Any = param(default=720.0, low=0.0, doc="clock at which an episode is truncated", unit="hours")
    churn_hours: Any = param(default=720.0, low=0.0, doc="a longer gap is churn", unit="hours")
    max_steps_in_episode: Any = param(
        default=2000, low=1, doc="backstop: turns after which an episode is truncated", unit="turns"
    )
    discount_hours: Any = param(
        default=168.0, low=0.0, doc="time constant tau of the discount exp(-hours / tau)", unit="hours"
    )
    true_embedding: Array | None = None  # f32[I, D], what users judge by, where agents see another (`content.shown`)

    def truth(self, catalog: Catalog) -> Catalog:
        """A catalog that agents see, as users judge it: the same, unless agents are shown another embedding."""
        if self.true_embedding is None:
            return catalog
        return dataclasses.replace(catalog, embedding=self.true_embedding)

    @property
    def population(self) -> Any:
        """The pool of users' traits (`jaxreco.population.Population`)."""
        return self.user.population


class EnvState(Struct):
    """One user's life in a world."""

    user: Any  # the user model's state; it has a `clock` (hours) and a `history` (Ring of Event)
    last: Feedback
    instruction: Instruction
    trace: Trace
    turn: Array  # i32[]
    session: Array  # i32[]
    session_turn: Array  # i32[]
    session_minutes: Array  # f32[]
    hours_away: Array  # f32[]

    @property
    def clock(self) -> Array:
        """f32[], hours since the episode began."""
        return self.user.clock


class UserState(Protocol):
    """What the shell needs of every user model's state."""

    @property
    def clock(self) -> Array:
        """f32[] hours."""

    @property
    def history(self) -> Ring:
        """Ring of `Event`."""


# Of a user's state, where the model has them; `unanswered` are slots to which a log holds no answer.
MIND = ("mood", "trust", "boredom", "minutes", "budget", "satiation", "unanswered")


def mind_of(user: Any) -> dict[str, Array]:
    """What a user model shows of its mind, by name (MIND): for people who study the simulator, never for agents."""
    return {name: getattr(user, name) for name in MIND if hasattr(user, name)}


class UserModel(Protocol):
    """Rules by which one user reviews, feels, instructs, leaves and returns. Static; hashes by value.

    A model may also have `opening(key, state, opens, params, catalog, context) -> (state, Instruction)`: what the user
    says as it opens a session. The shell calls it in every turn, and keeps the result only where `opens` bool[].
    """

    def init(self, key: Array, params: Any, catalog: Catalog) -> Any:
        """A user drawn from the population, at clock 0. The key is consumed."""

    def review(
        self, key: Array, state: Any, slate: Array, params: Any, catalog: Catalog, context: Context
    ) -> tuple[Any, Feedback, Instruction, Trace]:
        """The user walks through slate i32[K] (EMPTY slots are not there). The key is consumed."""

    def revisit(self, key: Array, state: Any, params: Any, context: Context) -> tuple[Any, Array]:
        """The state at the opening of the next session, and the gap f32[] in hours. The key is consumed.

        It must not push to a ring: the shell calls it in every turn and keeps the result only after a leave.
        """


class Step(NamedTuple):
    """The six values of `env.step`."""

    obs: Observation
    state: EnvState
    reward: Array  # f32[]
    terminated: Array  # bool[]
    truncated: Array  # bool[]
    info: dict[str, Any]


class Agent(Protocol):
    """A recommender policy with its own memory. Static; hashes by value. One user, no batch."""

    privileged: ClassVar[bool]

    def init(self, key: Array, env: Any, catalog: Catalog) -> Any:
        """AgentParams. Privileged agents take `truth=params` too. The key is consumed."""

    def reset(self, agent_params: Any) -> Any:
        """The memory at the start of an episode."""

    def act(
        self, key: Array, agent_params: Any, memory: Any, obs: Observation, catalog: Catalog
    ) -> tuple[Any, Any, Any]:
        """(slate i32[K], memory, extras). Privileged agents take `truth=(state, params)` too. The key is consumed."""
