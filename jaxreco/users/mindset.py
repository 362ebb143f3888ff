"""The mechanistic user: a mindset made of published models.

The user walks down the slate (cascade), is drawn or not by each item, watches, feels, tires, and may stop
looking at this slate or leave the session after any slot. The formulas are in `mechanisms.py`; here they are
put in order. One user; batches come from `vmap`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxreco import base, rng
from jaxreco.base import EMPTY, Catalog, Context, Event, Feedback, Instruction, SessionSummary, Trace
from jaxreco.errors import JaxrecoError
from jaxreco.population import Population
from jaxreco.ring import Ring
from jaxreco.sparse import rarely
from jaxreco.struct import Struct, param
from jaxreco.talk.satisfies import Situation, follows, heard
from jaxreco.users import mechanisms as law
from jaxreco.users import reflection, voice
from jaxreco.users.reflection import Hours, Mind, Slots
from jaxreco.users.voice import Aim, Request

Array = jax.Array

DRAWS_PER_SLOT = 7  # click, watch, like, comment, share, look on, leave
DRAWS_OF_REFLECTION = 15  # see `_reflect`
SESSIONS_REMEMBERED = 8
WELCOME = 0.5  # inner product from which on an item counts as matching an interest
SLOTS_UNROLLED = 5  # of the loop over a slate: 2.5 times the speed of one, half the compile time of all ten


class Traits(Struct):
    """What differs between users and does not change; a pool has leading axis `P`."""

    taste: Array  # f32[M, D], lasting interests, length at most 1 each
    peers: Array  # f32[D, M], what the most similar users like, columns of unit length
    wishes: Array  # i32[M, 3], category, tag and item that name each interest best; EMPTY where there is none
    freshness: Array  # f32[], utility lost per unit of staleness
    rho: Array  # f32[] in [0, 1], introspection: probability that what is said of oneself is so
    novelty: Array  # f32[], utility of a nat of novelty; negative for the cautious
    patience: Array  # f32[], log-odds of looking at the next slot
    budget_minutes: Array  # f32[], median time budget of a session
    habit_hours: Array  # f32[], scale of the gap between sessions
    gullibility: Array  # f32[], utility that one unit of clickbait pretends
    trust: Array  # f32[] in [0, 1], at the first visit
    expressive: Array  # f32[], log-odds of liking, commenting, sharing


class MindsetParams(Struct):
    """The population, what items hide, and the parameters of every mechanism."""

    population: Population
    clickbait: Array  # f32[I], at least 0: how much better an item looks than it is
    near: Array  # f32[C, C], 1 where categories are related and not the same
    tag_category: Array  # i32[N], the category that most items of a tag have
    # utility of an item
    base: Any = param(default=-1.6, doc="utility of an item that matches nothing", unit="logit")
    affinity: Any = param(
        default=5.0, low=0.0, doc="weight of affinity (max inner product of unit vectors)", unit="logit"
    )
    quality: Any = param(default=0.3, low=0.0, doc="weight of quality", unit="logit per standard deviation")
    popularity: Any = param(
        default=0.1, low=0.0, doc="weight of log popularity relative to the mean item", unit="logit per nat"
    )
    novelty: Any = param(default=1.0, low=0.0, doc="scale of every user's novelty seeking", unit="1")
    satiation: Any = param(
        default=0.2, low=0.0, doc="utility lost per recent item of the category", unit="logit per item"
    )
    creator_satiation: Any = param(
        default=0.3, low=0.0, doc="utility lost per recent item of the creator", unit="logit per item"
    )
    repetition: Any = param(
        default=2.5, low=0.0, doc="utility lost when this very item was seen in the history", unit="logit"
    )
    fatigue: Any = param(
        default=0.5, low=0.0, doc="utility lost when the time budget is spent", unit="logit per budget"
    )
    craving: Any = param(
        default=0.3, low=0.0, doc="affinity lost by interests that the session is not about", unit="inner product"
    )
    staleness: Any = param(default=1.0, low=0.0, doc="scale of every user's wish for the new", unit="1")
    length: Any = param(default=0.8, low=0.0, doc="utility lost by a wrong length", unit="logit per nat squared")
    length_spread: Any = param(
        default=0.5, low=0.0, doc="spread of the length wanted from session to session", unit="nat"
    )
    usual_seconds: Any = param(
        default=30.0, low=1e-3, doc="length that the lengths wanted lie around; the catalog's own", unit="seconds"
    )
    usual_age: Any = param(
        default=168.0, low=0.0, doc="age of items before any was seen; the catalog's own", unit="hours"
    )
    # how the mindset moves
    satiation_hours: Any = param(default=8.0, low=1e-3, doc="recovery from satiation with a category", unit="hours")
    creator_hours: Any = param(default=12.0, low=1e-3, doc="recovery from satiation with a creator", unit="hours")
    exposure_hours: Any = param(default=168.0, low=1e-3, doc="memory of what was seen, for novelty", unit="hours")
    aspiration: Any = param(
        default=0.35, low=0.0, high=1.0, doc="enjoyment that leaves mood as it is", unit="share of duration"
    )
    mood_rate: Any = param(default=0.12, low=0.0, high=1.0, doc="speed of mood", unit="1/item")
    disappointment: Any = param(
        default=1.0, low=0.0, doc="enjoyment that a unit of broken promise takes away", unit="1"
    )
    mood_hours: Any = param(default=6.0, low=1e-3, doc="relaxation of mood between sessions", unit="hours")
    trust_gain: Any = param(default=0.01, low=0.0, high=1.0, doc="trust gained by enjoyment above aspiration", unit="1")
    trust_loss: Any = param(default=0.05, low=0.0, high=1.0, doc="trust lost by a broken promise", unit="1")
    trust_hours: Any = param(default=336.0, low=1e-3, doc="return of trust to its start between sessions", unit="hours")
    reinforcement: Any = param(
        default=0.01, low=0.0, high=1.0, doc="pull of an enjoyed item on the interest it met", unit="1/item"
    )
    drift_hours: Any = param(default=240.0, low=1e-3, doc="return of interests to the lasting taste", unit="hours")
    drift_spread: Any = param(default=0.08, low=0.0, doc="wandering of interests, per component", unit="1")
    taste_shift_hours: Any = param(
        default=float("inf"), low=0.0, doc="clock at which tastes jump to another user's", unit="hours"
    )
    # actions
    click_trust: Any = param(default=2.0, low=0.0, doc="effect of trust on clicking", unit="logit")
    watch_bias: Any = param(default=0.2, doc="log of the watched fraction of a neutral item", unit="nat")
    watch_slope: Any = param(
        default=0.7, low=0.0, doc="effect of utility on the watched fraction", unit="nat per logit"
    )
    watch_noise: Any = param(default=0.6, low=0.0, doc="spread of the watched fraction", unit="logistic scale")
    like_bias: Any = param(default=-5.4, doc="liking after a click, nothing watched", unit="logit")
    like_slope: Any = param(default=3.0, doc="effect of the watched fraction on liking", unit="logit")
    comment_bias: Any = param(default=-7.4, doc="commenting after a click", unit="logit")
    share_bias: Any = param(default=-7.2, doc="sharing after a click", unit="logit")
    outside: Any = param(default=1.5, doc="utility of choosing nothing from a slate (mnl only)", unit="logit")
    glimpse_seconds: Any = param(default=2.0, low=0.0, doc="time to look at an item and skip it", unit="seconds")
    load_seconds: Any = param(default=2.0, low=0.0, doc="time a new slate takes", unit="seconds")
    # leaving and returning
    leave_bias: Any = param(default=-6.7, doc="hazard of a fresh, neutral user", unit="logit per slot")
    leave_time: Any = param(default=3.0, low=0.0, doc="effect of a spent time budget", unit="logit per budget")
    leave_boredom: Any = param(default=0.35, low=0.0, doc="effect of each consecutive skip", unit="logit per item")
    leave_mood: Any = param(default=2.0, low=0.0, doc="effect of mood", unit="logit")
    leave_trust: Any = param(default=1.0, low=0.0, doc="effect of trust", unit="logit")
    budget_spread: Any = param(
        default=0.5, low=0.0, doc="spread of the time budget from session to session", unit="logistic scale"
    )
    return_satisfaction: Any = param(
        default=6.0, low=0.0, doc="effect of remembered satisfaction on the return hazard", unit="log-hazard"
    )
    return_trust: Any = param(default=2.0, low=0.0, doc="effect of trust on the return hazard", unit="log-hazard")
    return_shape: Any = param(default=0.6, low=0.05, doc="Weibull shape of the gap; below 1 a heavy tail", unit="1")
    recency: Any = param(
        default=0.6, low=0.0, high=1.0, doc="weight of a session relative to the one after it", unit="1"
    )
    # speaking and being heard
    voice_bias: Any = param(default=-0.7, doc="speaking instead of leaving, for a user of middling trust", unit="logit")
    voice_trust: Any = param(default=2.0, low=0.0, doc="effect of trust on speaking", unit="logit")
    voice_patience: Any = param(default=0.1, low=0.0, doc="effect of patience on speaking", unit="logit per log-odds")
    voice_time: Any = param(
        default=1.0, low=0.0, doc="effect of a spent time budget on speaking", unit="logit per budget"
    )
    voice_tired: Any = param(default=0.5, low=0.0, doc="effect of each recent request on speaking", unit="logit")
    foresight: Any = param(default=0.5, doc="how far ahead disengagement is sensed at the end of a slate", unit="logit")
    opening: Any = param(default=0.35, low=0.0, high=1.0, doc="share of sessions opened with a request", unit="1")
    asked_hours: Any = param(default=4.0, low=1e-3, doc="fading of past requests", unit="hours")
    honour_gain: Any = param(default=1.0, low=0.0, doc="scale of what being heard or ignored does", unit="1")
    honour_mood: Any = param(default=0.1, low=0.0, high=1.0, doc="mood gained by being heard; twice lost", unit="1")
    honour_trust: Any = param(default=0.02, low=0.0, high=1.0, doc="trust gained by being heard; twice lost", unit="1")
    honour_boredom: Any = param(default=0.5, low=0.0, high=1.0, doc="boredom forgotten by being heard", unit="1")

    def appeal_to(self, state: Any, item: Array, matches: Array, catalog: Catalog) -> Pull:
        """What draws a user to items i32[K] beside length, age and novelty. matches f32[K, M], with its interests."""
        best = jnp.max(matches, axis=-1)
        wanted = jnp.max(law.wanted_now(matches, state.focus, self.craving), axis=-1)
        return Pull(
            utility=self._of_everybody(self.affinity * wanted, item, catalog),
            off_taste=self.affinity * jnp.maximum(WELCOME - best, 0.0),
            elsewhere=self.affinity * (best - wanted),
        )

    def usual_appeal(self, row: Array, catalog: Catalog) -> Array:
        """f32[I]: what draws the user of a row to every item before anything has happened, whatever a session is about."""
        best = jnp.max(catalog.embedding @ self.population.traits.taste[row].T, axis=-1)
        return self._of_everybody(self.affinity * best, jnp.arange(catalog.n_items), catalog)

    def wished(self, category: Array, inside: Any, uniform: Array) -> Array:
        """i32[]: the category that a user wishes for who speaks truly: the one that names its interest, i32[]."""
        del inside, uniform
        return category

    def _of_everybody(self, own: Array, item: Array, catalog: Catalog) -> Array:
        """f32[K]: one's own liking f32[K], with what draws everybody."""
        return (
            self.base
            + own
            + self.quality * catalog.quality[item]
            + self.popularity * jnp.log(catalog.popularity[item] * catalog.n_items + 1e-6)
        )


class Pull(NamedTuple):
    """How items draw a user. f32[K] each, logits."""

    utility: Array
    off_taste: Array  # what was lost because an item is not to its taste
    elsewhere: Array  # and because the session is about something else


def readable(params: Any) -> bool:
    """Whether users have a mindset that a privileged agent can read. Args: params, of a user model."""
    return isinstance(params, MindsetParams)


def read_by(agent: Any, params: Any) -> None:
    """Raise JaxrecoError where an agent that reads a mindset meets users of another kind. Args: params, of a user model."""
    if not readable(params):
        raise JaxrecoError(
            f"{type(agent).__name__} reads a mindset, and these users have none ({type(params).__name__}): take another agent."
        )


class MindsetState(Struct):
    """The changing mind of one user, and what it remembers."""

    row: Array  # i32[], the user's row in the pool
    clock: Array  # f32[], hours
    interests: Array  # f32[M, D]
    focus: Array  # i32[], the interest that this session is about
    ideal: Array  # f32[], log of the seconds that an item should have in this session
    satiation: Array  # f32[C], recent items of each category
    exposure: Array  # f32[C], items of each category over the last week or so
    mood: Array  # f32[] in [-1, 1]
    trust: Array  # f32[] in [0, 1]
    boredom: Array  # f32[], consecutive skips
    minutes: Array  # f32[], spent in this session
    budget: Array  # f32[], minutes this user has for this session
    turns: Array  # f32[], slates seen in this session
    peak: Array  # f32[], best slate of this session, mean enjoyment
    end: Array  # f32[], last slate
    asked: Array  # f32[], requests made lately
    request: Request  # what the next slate is expected to answer
    followed: Array  # bool[], the last slate did what it was asked to
    seconds: Array  # f32[], mean duration of the last slate
    age: Array  # f32[], hours, mean age of the last slate
    history: Ring  # of Event
    sessions: Ring  # of SessionSummary


class Appeal(NamedTuple):
    """What the slots of a slate hold for this user as it arrives. All [K]; one slot's, without K, during the walk."""

    valid: Array
    category: Array
    seconds: Array  # f32, duration
    utility: Array  # f32, without the satiation and fatigue that build during the walk
    lure: Array  # f32, what clickbait adds to the looks


class Known(NamedTuple):
    """What data say of a slot, where there are any; None where the mechanisms must. [K]; one slot's during the walk."""

    like: Array | None = None  # f32, probability of liking what is taken
    comment: Array | None = None
    share: Array | None = None
    fraction: Array | None = None  # f32, of the item that is watched once it is taken
    leave: Array | None = None  # f32, probability that the session ends after the slate, the same at all slots


class Walk(NamedTuple):
    """What changes from slot to slot."""

    here: Array  # f32[], 1 while the user looks at this slate
    left: Array  # f32[], 1 once the session is over
    satiation: Array  # f32[C]
    mood: Array
    trust: Array
    boredom: Array
    minutes: Array
    spoke: Array  # f32[], 1 once the user has stopped to say what it wants


class Deed(NamedTuple):
    """What was done at one slot. All f32[], 0 or 1 unless said otherwise."""

    examined: Array
    click: Array
    like: Array
    comment: Array
    share: Array
    leave: Array
    watch: Array  # seconds
    enjoyed: Array  # watched fraction, 0 after a skip
    utility: Array  # f32[], as felt
    sated: Array  # f32[], utility that satiation with the category took


@dataclasses.dataclass(frozen=True)
class Mindset:
    """The mechanistic user model (DESIGN: protocol `UserModel`).

    Args:
      n_categories: C.
      slate_size: K.
      history_length: H, slots the user and the platform remember.
      choice: "cascade", slot by slot, or "mnl", one multinomial logit over slate and outside option.
      relaxed: let gradients through the sampled actions (straight-through); values do not change.
      talks: the user speaks, and says why; without, it is the same user in silence.
      think_aloud: it says why its mind has changed in every turn, not only when it speaks. Nothing else changes.

    Raises ValueError for a user who thinks aloud and does not talk.
    """

    n_categories: int
    slate_size: int
    history_length: int = 50
    choice: Literal["cascade", "mnl"] = "cascade"
    relaxed: bool = False
    talks: bool = True
    think_aloud: bool = False

    def __post_init__(self) -> None:
        if self.think_aloud and not self.talks:
            raise ValueError("think_aloud is True and talks is False; who thinks aloud talks: set talks to True.")

    @property
    def _walking(self) -> int:
        """Draws of a walk through a slate."""
        return DRAWS_PER_SLOT * self.slate_size

    def init(self, key: Array, params: MindsetParams, catalog: Catalog) -> MindsetState:
        """A user drawn from the population, before the first slate. The key is consumed."""
        del catalog
        pick, budget, focus, ideal = rng.uniforms(key, 4)
        row = params.population.pick(pick)
        traits = params.population.row(row)
        zero, none = jnp.float32(0.0), jnp.int32(0)
        return MindsetState(
            row=row,
            clock=zero,
            interests=lasting_taste(row, zero, params),
            focus=_focus(focus, traits),
            ideal=_ideal(ideal, params),
            satiation=jnp.zeros(self.n_categories),
            exposure=jnp.zeros(self.n_categories),
            mood=zero,
            trust=traits.trust,
            boredom=zero,
            minutes=zero,
            budget=_budget(budget, traits, params),
            turns=zero,
            peak=zero,
            end=zero,
            asked=zero,
            request=Request(none, none, jnp.int32(EMPTY), zero, params.usual_seconds, params.usual_age),
            followed=jnp.bool_(False),
            seconds=params.usual_seconds,
            age=params.usual_age,
            history=Event.none_yet(self.slate_size, self.history_length),
            sessions=Ring.empty(SESSIONS_REMEMBERED + 1, SessionSummary(zero, zero, zero, zero)),
        )

    def opening(
        self, key: Array, state: MindsetState, opens: Array, params: MindsetParams, catalog: Catalog, context: Context
    ) -> tuple[MindsetState, Instruction]:
        """What the user says as it opens a session, where it does (`opens` bool[]): mostly nothing. The key is consumed."""
        del context, catalog
        if not self.talks:
            return state, Instruction.silent()
        asks = opens & (rng.uniforms(key, 1)[0] < params.opening)
        inside = self._inside(state, params)
        said = rarely(asks, _greet, Instruction.silent(), key, state.row, state.focus, state.ideal, inside, params)
        return state.replace(request=Request.of(said, state.seconds, state.age)), said

    def review(
        self,
        key: Array,
        state: MindsetState,
        slate: Array,
        params: MindsetParams,
        catalog: Catalog,
        context: Context,
    ) -> tuple[MindsetState, Feedback, Instruction, Trace]:
        """The user walks through slate i32[K] (EMPTY slots are not there). The key is consumed."""
        del context
        traits = params.population.row(state.row)
        unanswered = Mind(state.mood, state.trust, state.boredom)
        if self.talks:
            state = self._answered(state, slate, params, catalog)
        appeal, matches, familiar = appeal_of(state, traits, slate, params, catalog)
        above = params.creator_satiation * _above(slate, catalog)
        appeal = appeal._replace(utility=appeal.utility - above)
        familiar = familiar.at[0].add(above)
        walking = self._walking
        draws = rng.uniforms(key, walking + 3)
        of_slots, (chooses, speaks, senses) = jnp.split(draws, (walking,))
        chosen = self._choose(chooses, state, appeal, params)
        would_speak = (speaks < _voice(state, traits, params)).astype(jnp.float32) if self.talks else jnp.float32(0.0)
        walk = Walk(
            here=jnp.float32(1.0),
            left=jnp.float32(0.0),
            satiation=state.satiation,
            mood=state.mood,
            trust=state.trust,
            boredom=state.boredom + ~jnp.any(appeal.valid),  # a slate without an item bores too
            minutes=state.minutes + params.load_seconds / 60.0,
            spoke=jnp.float32(0.0),
        )

        def slot(walk: Walk, slot: tuple[Array, Array, Appeal, Known]) -> tuple[Walk, Deed]:
            return self._slot(walk, *slot, would_speak, chosen, state, traits, params)

        of_slots = of_slots.reshape(self.slate_size, DRAWS_PER_SLOT)
        known = self._known(of_slots, state, slate, params, catalog)
        each = (jnp.arange(self.slate_size), of_slots, appeal, known)
        walk, done = jax.lax.scan(slot, walk, each, unroll=min(SLOTS_UNROLLED, self.slate_size))
        feedback = _feedback(slate, done, walk, walk.minutes - state.minutes)
        said, trace = Instruction.silent(), Trace.silent()
        if self.talks:
            ahead = params.replace(leave_bias=params.leave_bias + params.foresight)
            hazard = law.leave_probability(walk.minutes, state.budget, walk.mood, walk.trust, walk.boredom, ahead)
            foresees = (walk.left <= 0) & (senses < hazard) & (would_speak > 0)
            says = (walk.spoke > 0) | foresees
            slots = Slots(slate, done.examined, done.utility, appeal.lure, done.enjoyed, done.sated, appeal.seconds)
            hours = Hours(state.minutes, state.budget)
            mind = (Mind(state.mood, state.trust, state.boredom), unanswered)
            told = (state.row, state.focus, state.ideal, state.request, self._inside(state, params))
            pull = params.appeal_to(state, jnp.maximum(slate, 0), matches, catalog)
            felt = (slots, pull, familiar, mind, hours)
            explains = jnp.any(done.examined > 0) if self.think_aloud else says
            asks, trace = rarely(
                explains, self._reflect, (said, trace), key, felt, told, traits.freshness, params, catalog
            )
            said = voice.choose(says, asks, said) if self.think_aloud else asks
        state = _after(state, walk, done, feedback, said, appeal.category, matches, params, catalog)
        return state, feedback, said, trace

    def revisit(
        self, key: Array, state: MindsetState, params: MindsetParams, context: Context
    ) -> tuple[MindsetState, Array]:
        """The mind at the opening of the next session, and the gap f32[] in hours. The key is consumed."""
        del context
        size = state.interests.size
        draws = rng.uniforms(key, size + 4)
        traits = params.population.row(state.row)
        past = state.sessions
        satisfaction = law.remembered(
            past.data.satisfaction, past.ages(), past.valid(SESSIONS_REMEMBERED), params.recency, params.aspiration
        )
        gap = self._gap(draws[0], state, satisfaction, params)
        clock = state.clock + gap
        # Uniform noise of variance 1: its sum over gaps is as good a random walk as a Gaussian one, and cheap.
        noise = _noise(draws[4:].reshape(state.interests.shape))
        taste = lasting_taste(state.row, clock, params)
        jumped = (state.clock < params.taste_shift_hours) & (clock >= params.taste_shift_hours)
        drifted = law.drift(state.interests, taste, gap, noise, params.drift_hours, params.drift_spread)
        zero = jnp.float32(0.0)
        state = state.replace(
            clock=clock,
            interests=jnp.where(jumped, taste, drifted),
            focus=_focus(draws[2], traits),
            ideal=_ideal(draws[3], params),
            satiation=state.satiation * law.decay(gap, params.satiation_hours),
            exposure=state.exposure * law.decay(gap, params.exposure_hours),
            mood=state.mood * law.decay(gap, params.mood_hours),
            trust=traits.trust + (state.trust - traits.trust) * law.decay(gap, params.trust_hours),
            boredom=zero,
            minutes=zero,
            budget=_budget(draws[1], traits, params),
            turns=zero,
            peak=zero,
            end=zero,
            asked=state.asked * law.decay(gap, params.asked_hours),
        )
        return state, gap

    def _known(
        self, uniform: Array, state: MindsetState, slate: Array, params: MindsetParams, catalog: Catalog
    ) -> Known:
        """What data say of the slots of a slate i32[K] as it comes: nothing. uniform f32[K, 7], the draws of each slot."""
        del uniform, state, slate, params, catalog
        return Known()

    def _inside(self, state: MindsetState, params: MindsetParams) -> Any:
        """What else than its interests tells `MindsetParams.wished` what the user would have: nothing."""
        del state, params
        return ()

    def _gap(self, uniform: Array, state: MindsetState, satisfaction: Array, params: MindsetParams) -> Array:
        """f32[]: hours until the next session, of a user who is about to go."""
        habit = params.population.traits.habit_hours[state.row]
        return law.gap_hours(uniform, habit, params.return_shape, satisfaction, state.trust, params)

    def situation(self, state: MindsetState, params: MindsetParams, catalog: Catalog) -> Situation:
        """What the user's request is judged by."""
        return _situation(state.row, state.exposure, state.request, params, catalog)

    def _answered(self, state: MindsetState, slate: Array, params: MindsetParams, catalog: Catalog) -> MindsetState:
        """The user sees at once whether the slate is what it asked for."""

        asks = state.request.intent > 0
        told = (state.row, state.exposure, state.request)
        nothing = (jnp.float32(0.0), jnp.bool_(False))
        share, followed = rarely(asks, _judge, nothing, slate, told, params, catalog, chunk=48)
        # Answered again and again tires: it is no longer an event.
        weight = params.honour_gain * asks / (1.0 + jnp.maximum(state.asked - 1.0, 0.0))
        mood, trust, boredom = law.answered(state.mood, state.trust, state.boredom, share, weight, params)
        return state.replace(mood=mood, trust=trust, boredom=boredom, followed=followed)

    def _reflect(
        self,
        key: Array,
        felt: tuple[Slots, Pull, Array, tuple[Mind, Mind], Hours],
        told: tuple[Array, Array, Array, Request, Any],
        freshness: Array,
        params: MindsetParams,
        catalog: Catalog,
    ) -> tuple[Instruction, Trace]:
        """What a user who reflects says, and why its mind has changed. The key's draws behind the walk's are consumed.

        With probability 1 - rho it knows nothing of itself, and both are drawn without its state.
        """
        draws = rng.uniforms(key, DRAWS_OF_REFLECTION, start=self._walking + 3)
        slots, pull, familiar, minds, hours = felt
        row, focus, ideal, request, inside = told
        item = jnp.maximum(slots.item, 0)
        seconds = jnp.log(slots.seconds)
        lost = {
            "sated": slots.sated,
            "creator": familiar[0],
            "seen": familiar[1],
            "off_taste": pull.off_taste,
            "elsewhere": pull.elsewhere,
            "stale": params.staleness * freshness * law.staleness(catalog.age[item]),
            "long": params.length * law.misfit(seconds, ideal),
        }
        losses = jnp.stack([lost[name] for name in reflection.OF_SLOTS])
        found = reflection.reasons(slots, losses, seconds > ideal, *minds, hours, params)
        truly = draws[4] < params.population.traits.rho[row]
        bother = voice.choose(truly, voice.bothered(found), voice.misled(draws[1:4], catalog.n_items))
        wish = _wish(truly, row, focus, inside, draws[5], params)
        ranked = voice.choose(truly, reflection.ranked(found), reflection.misreported(draws[6:15], catalog.n_items))
        return voice.complaint(bother, draws[0], wish, request, catalog), Trace(*ranked)

    def _choose(self, uniform: Array, state: MindsetState, appeal: Appeal, params: MindsetParams) -> Array | None:
        """The one slot a multinomial-logit user takes (-1 for none); None for the cascade."""
        if self.choice == "cascade":
            return None
        tired = params.fatigue * jnp.minimum(state.minutes / state.budget, 3.0)
        utility = appeal.utility - params.satiation * state.satiation[appeal.category] - tired
        looks = utility + appeal.lure + params.click_trust * (state.trust - 0.5)
        return law.multinomial_choice(looks, appeal.valid, uniform, params.outside)

    def _slot(
        self,
        walk: Walk,
        k: Array,
        uniform: Array,
        appeal: Appeal,
        known: Known,
        would_speak: Array,
        chosen: Array | None,
        state: MindsetState,
        traits: Traits,
        params: MindsetParams,
    ) -> tuple[Walk, Deed]:
        """One slot: look, click or skip, watch, feel, and stay, look away, speak or leave. uniform f32[7]."""
        examined = walk.here * appeal.valid
        onehot = (jnp.arange(self.n_categories) == appeal.category).astype(jnp.float32)
        tired = params.fatigue * jnp.minimum(walk.minutes / state.budget, 3.0)
        sated = params.satiation * jnp.sum(onehot * walk.satiation)
        utility = appeal.utility - sated - tired
        looks = utility + appeal.lure
        if chosen is None:
            drawn = law.click_probability(looks + params.click_trust * (walk.trust - 0.5))
            click = examined * self._happens(uniform[0], drawn)
        else:
            click = examined * (chosen == k)
        drawn_out = law.watch_fraction(utility, uniform[1], params.watch_bias, params.watch_slope, params.watch_noise)
        fraction = _or(known.fraction, drawn_out)
        promised = expected_fraction(looks, params)
        kept = expected_fraction(utility, params)
        enjoyed = click * fraction
        glow = params.like_slope * fraction + traits.expressive
        like = click * self._happens(uniform[2], _or(known.like, jax.nn.sigmoid(params.like_bias + glow)))
        comment = click * self._happens(uniform[3], _or(known.comment, jax.nn.sigmoid(params.comment_bias + glow)))
        share = click * self._happens(uniform[4], _or(known.share, jax.nn.sigmoid(params.share_bias + glow)))
        watch = enjoyed * appeal.seconds
        glance = (examined - click) * jnp.minimum(params.glimpse_seconds, appeal.seconds)

        delight = jnp.maximum(enjoyed - params.aspiration, 0.0)
        broken = jnp.maximum(promised - kept, 0.0)
        felt = law.let_down(enjoyed, click * broken, params.disappointment, params.aspiration)
        felt = law.mood_step(walk.mood, felt, params.aspiration, params.mood_rate)
        surprised = law.trust_step(walk.trust, delight, broken, params.trust_gain, params.trust_loss)
        mood = jnp.where(examined > 0, felt, walk.mood)
        trust = jnp.where(click > 0, surprised, walk.trust)
        boredom = jnp.where(examined > 0, (1.0 - click) * (walk.boredom + 1.0), walk.boredom)
        minutes = walk.minutes + (watch + glance) / 60.0
        tastes_of = examined * (0.25 + 0.75 * enjoyed)  # even a glance at the same again satiates a little
        hazard = law.leave_probability(minutes, state.budget, mood, trust, boredom, params)
        bored_off = self._happens(uniform[6], _or(known.leave, hazard))
        looks_on = self._happens(uniform[5], jax.nn.sigmoid(traits.patience + mood))
        # At the end of the slate everybody who is still here decides, even if the last slot was empty.
        last = k == self.slate_size - 1
        if chosen is not None:  # a multinomial user sees the whole slate
            looks_on = jnp.float32(1.0)
        if known.leave is not None:  # data know of slates, whether people looked at all of them or not
            leave = last * bored_off
        elif chosen is not None:
            leave = jnp.where(last, walk.here, 0.0) * bored_off
        else:
            leave = jnp.where(last, walk.here, examined) * bored_off
        speaks = leave * would_speak  # instead of leaving
        leave = leave - speaks
        after = Walk(
            here=walk.here * (1.0 - leave - speaks) * jnp.where(appeal.valid, looks_on, 1.0),
            left=walk.left + leave,
            satiation=walk.satiation + tastes_of * onehot,
            mood=mood,
            trust=trust,
            boredom=boredom,
            minutes=minutes,
            spoke=walk.spoke + speaks,
        )
        return after, Deed(examined, click, like, comment, share, leave, watch, enjoyed, utility, sated)

    def _happens(self, uniform: Array, probability: Array) -> Array:
        """1 with the given probability, else 0; straight-through when `relaxed`."""
        hard = (uniform < probability).astype(jnp.float32)
        # The bracket is exactly 0, so that not even the last bit of a value changes.
        return hard + (probability - jax.lax.stop_gradient(probability)) if self.relaxed else hard


def _or(known: Array | None, prior: Array) -> Array:
    """What data say, else what the mechanism does."""
    return prior if known is None else known


def lasting_taste(row: Array, clock: Array, params: MindsetParams) -> Array:
    """f32[M, D]: the taste that interests return to; after `taste_shift_hours` it is that of a row far away."""
    population = params.population
    other = (row + population.size // 2) % population.size
    return population.traits.taste[jnp.where(clock >= params.taste_shift_hours, other, row)]


def _focus(uniform: Array, traits: Traits) -> Array:
    """i32[]: the interest of a session, each as likely as the others."""
    interests = traits.taste.shape[0]
    return jnp.minimum((uniform * interests).astype(jnp.int32), interests - 1)


def _ideal(uniform: Array, params: MindsetParams) -> Array:
    """f32[]: log of the seconds that items should have in a session."""
    return jnp.log(params.usual_seconds) + params.length_spread * _noise(uniform)


def _noise(uniform: Array) -> Array:
    """Uniform noise of mean 0 and variance 1."""
    return (uniform - 0.5) * jnp.float32(12**0.5)


def _wish(truly: Array, row: Array, focus: Array, inside: Any, uniform: Array, params: MindsetParams) -> Aim:
    """What names the interest that this session is about; unless `truly` bool[], one of a row drawn evenly.

    Args: inside: see `Mindset._inside`. uniform f32[]: one draw for either case, of which there is never more than one.
    """
    wishes = params.population.traits.wishes
    rows, interests = wishes.shape[:2]
    anybodys = jnp.minimum((uniform * rows * interests).astype(jnp.int32), rows * interests - 1)
    category, tag, item = wishes.reshape(-1, 3)[jnp.where(truly, row * interests + focus, anybodys)]
    category = jnp.where(truly, params.wished(category, inside, uniform), category)
    return Aim(category, tag, jnp.int32(EMPTY), item)


def _situation(row: Array, exposure: Array, request: Request, params: MindsetParams, catalog: Catalog) -> Situation:
    return Situation(
        catalog=catalog,
        near=params.near,
        tag_category=params.tag_category,
        share=exposure / jnp.maximum(jnp.sum(exposure), 1e-6),
        seconds=request.seconds,
        age=request.age,
        peers=params.population.traits.peers[row],
    )


def _voice(state: MindsetState, traits: Traits, params: MindsetParams) -> Array:
    """Probability of speaking instead of leaving, as the slate comes."""
    return law.voice_probability(state.trust, traits.patience, state.minutes / state.budget, state.asked, params)


def _budget(uniform: Array, traits: Traits, params: MindsetParams) -> Array:
    """Minutes for this session: log-logistic around the user's own median."""
    spread = params.budget_spread * (jnp.log(uniform) - jnp.log1p(-uniform))
    return jnp.maximum(traits.budget_minutes * jnp.exp(jnp.clip(spread, -3.0, 3.0)), 1e-3)  # it divides


class Wanting(Protocol):
    """What of a mind the liking of items hangs on; MindsetState is one."""

    @property
    def interests(self) -> Array:
        """f32[M, D]."""

    @property
    def focus(self) -> Array:
        """i32[]."""

    @property
    def ideal(self) -> Array:
        """f32[]."""

    @property
    def exposure(self) -> Array:
        """f32[C]."""


class Seeking(Protocol):
    """What of the traits the liking of items hangs on; Traits is one."""

    @property
    def novelty(self) -> Array:
        """f32[]."""

    @property
    def freshness(self) -> Array:
        """f32[]."""


def liking(
    state: Wanting, traits: Seeking, item: Array, params: MindsetParams, catalog: Catalog
) -> tuple[Array, Array]:
    """Utility f32[K] of items i32[K] leaving aside what was seen lately, and their matches f32[K, M] with each interest."""
    category = catalog.category[item]
    matches = jax.vmap(law.affinity, (None, 0))(state.interests, catalog.embedding[item])
    utility = (
        params.appeal_to(state, item, matches, catalog).utility
        + params.novelty * traits.novelty * law.novelty(state.exposure, category)
        - params.staleness * traits.freshness * law.staleness(catalog.age[item])
        - params.length * law.misfit(jnp.log(catalog.duration[item]), state.ideal)
    )
    return utility, matches


def appeal_of(
    state: MindsetState, traits: Traits, slate: Array, params: MindsetParams, catalog: Catalog
) -> tuple[Appeal, Array, Array]:
    """What items hold for this user before the walk.

    Also their inner products f32[K, M] with its interests, and what the same creator and the same item, seen before,
    took from their utility, f32[2, K].

    Args:
      slate: i32[K], EMPTY slots allowed; each is judged on its own (what stands above it in the slate is the
        walk's business).
    """
    item = jnp.maximum(slate, 0)
    utility, matches = liking(state, traits, item, params, catalog)
    same_creator, same_item = _familiar(state, item, params, catalog)
    familiar = jnp.stack([params.creator_satiation * same_creator, params.repetition * same_item])
    utility = utility - familiar[0] - familiar[1]
    lure = traits.gullibility * params.clickbait[item]
    return Appeal(slate >= 0, catalog.category[item], catalog.duration[item], utility, lure), matches, familiar


def expected_minutes(utility: Array, lure: Array, seconds: Array, trust: Array, params: MindsetParams) -> Array:
    """Minutes that a slot is worth if it is looked at: P(click) times the mean watched fraction times duration."""
    drawn = law.click_probability(utility + lure + params.click_trust * (trust - 0.5))
    return drawn * expected_fraction(utility, params) * seconds / 60.0


def expected_fraction(utility: Array, params: MindsetParams) -> Array:
    """Mean fraction of an item that is watched after a click, by utility."""
    return law.expected_fraction(utility, params.watch_bias, params.watch_slope, params.watch_noise)


def _familiar(state: MindsetState, item: Array, params: MindsetParams, catalog: Catalog) -> tuple[Array, Array]:
    """f32[K] each: recent items of the same creator, fading with time, and 1 where the item itself was seen.

    Per-creator satiation is read off the history: an array over creators would not scale with the catalog.
    """
    past, events = state.history.data, state.history.valid()
    seen = ((past.actions & base.EXAMINED) != 0) & events[:, None]
    # Events of an episode before this one lie in the clock's future: without the maximum, infinity times 0.
    fresh = law.decay(jnp.maximum(state.clock - past.hours, 0.0), params.creator_hours)[:, None] * seen
    old_item, weight, seen = past.item.ravel(), fresh.ravel(), seen.ravel()
    creator, old_creator = catalog.creator[item], catalog.creator[jnp.maximum(old_item, 0)]
    recent = jnp.sum((creator[:, None] == old_creator) * weight, axis=-1)
    again = jnp.max((item[:, None] == old_item) * seen, axis=-1)
    return recent, again.astype(jnp.float32)


def _above(slate: Array, catalog: Catalog) -> Array:
    """f32[K]: items of the same creator above each slot. They were looked at, or the walk would not have come here."""
    creator = catalog.creator[jnp.maximum(slate, 0)]
    return jnp.sum(jnp.tril((creator[:, None] == creator) & (slate >= 0), -1), axis=-1)


def _judge(
    slate: Array, told: tuple[Array, Array, Request], params: MindsetParams, catalog: Catalog
) -> tuple[Array, Array]:
    """How far the slate honours the request f32[], and whether it follows it bool[]."""
    row, exposure, request = told
    situation = _situation(row, exposure, request, params, catalog)
    return heard(request, slate, situation), follows(request, slate, situation)


def _greet(key: Array, row: Array, focus: Array, ideal: Array, inside: Any, params: MindsetParams) -> Instruction:
    """The request that a session opens with. Of the key's draws the first was whether it comes; the next are consumed."""
    honest, which, other, longer = rng.uniforms(key, 4, start=1)
    truly = honest < params.population.traits.rho[row]
    wish = _wish(truly, row, focus, inside, other, params)
    wants_longer = jnp.where(truly, ideal > jnp.log(params.usual_seconds), longer < 0.5)
    return voice.greeting(which, wish, wants_longer)


def _feedback(slate: Array, done: Deed, walk: Walk, minutes: Array) -> Feedback:
    bits = (
        (base.EXAMINED, done.examined),
        (base.CLICK, done.click),
        (base.LIKE, done.like),
        (base.COMMENT, done.comment),
        (base.SHARE, done.share),
        (base.LEAVE, done.leave * done.examined),  # who leaves at an empty last slot did nothing to it
    )
    actions = jnp.zeros(slate.shape, jnp.int32)
    for bit, happened in bits:
        actions = actions + jnp.where(happened > 0, bit, 0)
    return Feedback(slate=slate, actions=actions, watch=done.watch, minutes=minutes, left=walk.left > 0)


def _after(
    state: MindsetState,
    walk: Walk,
    done: Deed,
    feedback: Feedback,
    said: Instruction,
    category: Array,
    matches: Array,
    params: MindsetParams,
    catalog: Catalog,
) -> MindsetState:
    """The mind after the slate: memory, interests, requests, and time that has passed."""
    hours = feedback.minutes / 60.0
    clock = state.clock + hours
    turns = state.turns + 1.0
    looked = jnp.maximum(jnp.sum(done.examined), 1.0)
    mean = jnp.sum(done.enjoyed) / looked
    peak = jnp.maximum(state.peak, mean)
    summary = SessionSummary(clock - walk.minutes / 60.0, walk.minutes, turns, 0.5 * (peak + mean))
    matched = jnp.argmax(matches, axis=-1)[:, None] == jnp.arange(state.interests.shape[0])
    credit = params.reinforcement * done.enjoyed[:, None] * matched
    item = jnp.maximum(feedback.slate, 0)
    interests = law.reinforce(state.interests, catalog.embedding[item], credit)
    jumped = (state.clock < params.taste_shift_hours) & (clock >= params.taste_shift_hours)
    interests = jnp.where(jumped, lasting_taste(state.row, clock, params), interests)
    there = (feedback.slate >= 0).astype(jnp.float32)
    shown = jnp.maximum(jnp.sum(there), 1.0)
    seconds = jnp.where(jnp.any(there > 0), jnp.sum(catalog.duration[item] * there) / shown, state.seconds)
    age = jnp.where(jnp.any(there > 0), jnp.sum(catalog.age[item] * there) / shown, state.age)
    seen = jnp.sum((category[:, None] == jnp.arange(state.exposure.shape[0])) * done.examined[:, None], axis=0)
    return state.replace(
        clock=clock,
        interests=interests,
        satiation=walk.satiation * law.decay(hours, params.satiation_hours),
        exposure=state.exposure * law.decay(hours, params.exposure_hours) + seen,
        mood=walk.mood,
        trust=walk.trust,
        boredom=walk.boredom,
        minutes=walk.minutes,
        turns=turns,
        peak=peak,
        end=mean,
        asked=state.asked * law.decay(hours, params.asked_hours) + (said.intent > 0),
        request=Request.of(said, seconds, age),
        seconds=seconds,
        age=age,
        history=state.history.push(Event(feedback.slate, feedback.actions, feedback.watch, clock)),
        sessions=state.sessions.push(summary, when=feedback.left),
    )
