"""The environment shell: reset and step, sessions and the clock. Nothing here knows how users feel.

An environment is catalog + user model + session rules + reward weights. `RecoEnv` holds what fixes shapes and
hashes by value, so that two equal environments share one compilation; everything else is in `EnvParams`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxreco import base, rng
from jaxreco.base import (
    EMPTY,
    Catalog,
    Context,
    EnvParams,
    EnvState,
    Feedback,
    History,
    Instruction,
    Names,
    Observation,
    Step,
    Trace,
    UserModel,
)
from jaxreco.ring import merge, restart
from jaxreco.struct import violations

Array = jax.Array

ActionMode = Literal["slate", "item", "query"]


@dataclasses.dataclass(frozen=True)
class RecoEnv:
    """A world of one user and one recommender. Pure and unbatched: batches come from `vmap`.

    Args:
      name: the registered id, such as "Feed-v0".
      version: changes with the world's dynamics.
      user_model: the rules of the user, static.
      n_items: I. slate_size: K. history_length: H.
      action_mode: "slate" (i32[K] of distinct ids), "item" (i32[], K is 1) or "query" (f32[D], answered by the
        K items of highest inner product).
      single_session: an episode ends when the user leaves, instead of going on to the next session.
      exposes_trace: agents see the trace's tokens.
      names: titles and category names, for people; not part of equality.
      log: what real users did (host side), where the world was fitted to a log; not part of equality.
    """

    name: str
    version: str
    user_model: UserModel
    n_items: int
    slate_size: int = 10
    history_length: int = 50
    action_mode: ActionMode = "slate"
    single_session: bool = False
    exposes_trace: bool = False
    names: Names | None = dataclasses.field(default=None, compare=False, repr=False)
    log: Any = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.slate_size < 1 or self.slate_size > self.n_items:
            raise ValueError(
                f"slate_size is {self.slate_size}, but {self.name} has {self.n_items} items: choose 1 to {self.n_items}."
            )
        if self.history_length < self.slate_size:
            raise ValueError(
                f"history_length is {self.history_length}, less than one slate of {self.slate_size}: make it longer."
            )
        if self.action_mode not in ("slate", "item", "query"):
            raise ValueError(f"action_mode is {self.action_mode!r}: choose slate, item or query.")
        if self.action_mode == "item" and self.slate_size != 1:
            raise ValueError(f"action_mode 'item' shows one item: slate_size must be 1, not {self.slate_size}.")

    # -- the loop -------------------------------------------------------------------------------------------

    def reset(self, key: Array, params: EnvParams) -> tuple[Observation, EnvState]:
        """A user of the population before the first slate. The key is consumed."""
        return self.reset_env(key, params)

    def step(self, key: Array, state: EnvState, action: Array, params: EnvParams) -> Step:
        """One turn; where the episode ends, the next one begins at once. The key is consumed.

        `obs` and `state` are then those of the new episode; the old one's last observation is
        `info["final_observation"]`. No history is copied: rings are cleared by their pointer.
        """
        key_step, key_reset = jax.random.split(key)
        key_user, key_opening = jax.random.split(key_reset)
        step = self.step_env(key_step, state, action, params)
        done = step.terminated | step.truncated
        state = restart(done, self._initial(key_user, params), step.state)
        state = self._open(key_opening, done, state, params)
        return step._replace(obs=self.observe(state, params), state=state)

    def reset_env(self, key: Array, params: EnvParams) -> tuple[Observation, EnvState]:
        """`reset`, by the name that `step_env` goes with. The key is consumed."""
        key_user, key_opening = jax.random.split(key)
        state = self._open(key_opening, jnp.bool_(True), self._initial(key_user, params), params)
        return self.observe(state, params), state

    def step_env(self, key: Array, state: EnvState, action: Array, params: EnvParams) -> Step:
        """One turn without auto-reset: review, and after a leave the gap and the next session.

        Args:
          key: consumed.
          state: the user's life so far.
          action: i32[K] slate, i32[] item or f32[D] query, by `action_mode`.
          params: the world.

        Returns:
          obs, state, reward f32[], terminated bool[] (gone for good), truncated bool[] (horizon or backstop),
          info (the same keys in every step, see `docs/contract.md`).
        """
        key_review, key_revisit, key_opening = jax.random.split(key, 3)
        catalog = self.catalog(state, params)
        slate, invalid = self.decode(action, catalog)
        catalog = params.truth(catalog)
        context = Context()
        user, feedback, instruction, trace = self.user_model.review(
            key_review, state.user, slate, params.user, catalog, context
        )
        mind = base.mind_of(user)  # as the slate leaves it
        returned, gap = self.user_model.revisit(key_revisit, user, params.user, context)
        left = feedback.left
        user = merge(left, returned, user)
        gap = jnp.where(left, gap, 0.0)
        after = self._open(key_opening, left, _advance(state, user, feedback, gap, instruction, trace), params)
        lost = left & ((gap > params.churn_hours) | self.single_session)
        late = after.clock >= params.horizon_hours
        truncated = late | (after.turn >= params.max_steps_in_episode)
        asked = state.instruction.intent > 0
        talk = {"asked": asked, "followed": asked & getattr(user, "followed", jnp.bool_(False))}
        outcomes = _outcomes(feedback, gap, lost, left & ~lost & ~late, invalid) | talk
        terms = _reward_terms(outcomes, params)
        obs = self.observe(after, params)
        hours = feedback.minutes / 60.0 + gap
        info = {
            "terminated": lost,
            "truncated": truncated,
            "final_observation": obs,
            "discount": jnp.exp(-hours / jnp.maximum(params.discount_hours, 1e-9)),  # 0 / 0 would be NaN
            "hours": hours,
            "feedback": feedback,
            **outcomes,
            "reward_terms": terms,
            "mind": mind,
            "trace": trace,
        }
        return Step(obs, after, sum(terms.values(), jnp.float32(0.0)), lost, truncated, info)

    def observe(self, state: EnvState, params: EnvParams) -> Observation:
        """What a platform can truly see of this state."""
        del params
        events, there = state.user.history.in_order()
        seen = there[:, None] & (events.item >= 0)
        length = self.history_length
        age = jnp.broadcast_to((state.clock - events.hours)[:, None], seen.shape)
        history = History(
            item=jnp.where(seen, events.item, EMPTY).ravel()[-length:],
            actions=jnp.where(seen, events.actions, 0).ravel()[-length:],
            watch=jnp.where(seen, events.watch, 0.0).ravel()[-length:],
            age=jnp.where(seen, age, 0.0).ravel()[-length:],
        )
        trace = state.trace.tokens
        return Observation(
            history=history,
            slate=state.last.slate,
            actions=state.last.actions,
            watch=state.last.watch,
            instruction=state.instruction.tokens,
            trace=trace if self.exposes_trace else jnp.zeros_like(trace),
            turn=state.turn,
            session=state.session,
            session_turn=state.session_turn,
            session_minutes=state.session_minutes,
            hours_away=state.hours_away,
            clock=state.clock,
        )

    def catalog(self, state: EnvState, params: EnvParams) -> Catalog:
        """The items as agents see them at this state's clock; `params.truth` of it is what users judge by."""
        del state
        return params.catalog

    # -- actions --------------------------------------------------------------------------------------------

    def decode(self, action: Array, catalog: Catalog) -> tuple[Array, Array]:
        """The slate i32[K] that an action stands for, and the number i32[] of invalid slots in it.

        Inside `jit` a bad id cannot raise: an id out of range, or one already above it in the slate, is an empty
        slot and is counted.
        """
        if self.action_mode == "query":
            scores = catalog.embedding @ action
            return jax.lax.top_k(scores, self.slate_size)[1].astype(jnp.int32), jnp.int32(0)
        slate = jnp.atleast_1d(action).astype(jnp.int32)
        out_of_range = (slate < 0) | (slate >= self.n_items)
        repeated = jnp.any(jnp.tril(slate[:, None] == slate, -1), axis=-1)
        invalid = out_of_range | repeated
        return jnp.where(invalid, EMPTY, slate), jnp.sum(invalid, dtype=jnp.int32)

    def random_slate(self, key: Array) -> Array:
        """i32[K] of distinct ids, every ordered slate equally likely, in K draws. The key is consumed."""
        return rng.distinct(rng.uniforms(key, self.slate_size), self.n_items)

    def random_action(self, key: Array, params: EnvParams) -> Array:
        """An action of this env's mode: a random slate, item or query direction. The key is consumed."""
        if self.action_mode == "query":
            return jax.random.normal(key, (params.catalog.embedding.shape[1],))
        slate = self.random_slate(key)
        return slate if self.action_mode == "slate" else slate[0]

    # -- host side ------------------------------------------------------------------------------------------

    def check(self, params: EnvParams) -> None:
        """Raise ValueError, one line a finding, when params hold a NaN or a value out of its range."""
        found = violations(params)
        population = params.population
        if not float(jnp.sum(population.weights)) > 0.0 or float(jnp.min(population.weights)) < 0.0:
            found.append("population.weights must be at least 0 and not all 0.")
        if params.catalog.n_items != self.n_items:
            found.append(f"catalog has {params.catalog.n_items} items, but {self.name} was made for {self.n_items}.")
        true = params.true_embedding
        if true is not None and true.shape[0] != self.n_items:
            found.append(f"true_embedding has {true.shape[0]} items, but {self.name} was made for {self.n_items}.")
        if found:
            raise ValueError("\n".join(found))

    def check_action(self, action: Any) -> None:
        """Raise ValueError naming the slot and the id when a slate holds a repeated or unknown item."""
        if self.action_mode == "query":
            return
        ids = [int(i) for i in jnp.atleast_1d(jnp.asarray(action))]
        if len(ids) != self.slate_size:
            raise ValueError(f"The slate has {len(ids)} slots; {self.name} was made with slate_size={self.slate_size}.")
        for slot, item in enumerate(ids):
            if not 0 <= item < self.n_items:
                raise ValueError(f"Slot {slot} holds item {item}; ids run from 0 to {self.n_items - 1}.")
            if item in ids[:slot]:
                raise ValueError(
                    f"Slot {slot} repeats item {item} of slot {ids.index(item)}; a slate's ids are distinct."
                )

    def _open(self, key: Array, opens: Array, state: EnvState, params: EnvParams) -> EnvState:
        """Where `opens` bool[], with what the user says as a session begins; models without `opening` say nothing."""
        user, said = state.user, Instruction.silent()
        if hasattr(self.user_model, "opening"):
            catalog = params.truth(self.catalog(state, params))
            user, said = self.user_model.opening(key, user, opens, params.user, catalog, Context())
        return state.replace(user=merge(opens, user, state.user), instruction=merge(opens, said, state.instruction))

    def _initial(self, key: Array, params: EnvParams) -> EnvState:
        """A user of the population before its first word. The key is consumed."""
        user = self.user_model.init(key, params.user, params.truth(params.catalog))
        zero = jnp.int32(0)
        slots = jnp.full(self.slate_size, EMPTY, jnp.int32)
        none = Feedback(slots, jnp.zeros_like(slots), jnp.zeros(self.slate_size), jnp.float32(0.0), jnp.bool_(False))
        return EnvState(
            user=user,
            last=none,
            instruction=Instruction.silent(),
            trace=Trace.silent(),
            turn=zero,
            session=zero,
            session_turn=zero,
            session_minutes=jnp.float32(0.0),
            hours_away=jnp.float32(0.0),
        )


def _advance(
    state: EnvState, user: Any, feedback: Feedback, gap: Array, instruction: Instruction, trace: Trace
) -> EnvState:
    """The shell's counters after a turn; a leave opens the next session."""
    left = feedback.left
    return EnvState(
        user=user,
        last=feedback,
        instruction=instruction,
        trace=trace,
        turn=state.turn + 1,
        session=state.session + left,
        session_turn=jnp.where(left, 0, state.session_turn + 1),
        session_minutes=jnp.where(left, 0.0, state.session_minutes + feedback.minutes),
        hours_away=jnp.where(left, gap, state.hours_away),
    )


def _outcomes(feedback: Feedback, gap: Array, lost: Array, returned: Array, invalid: Array) -> dict[str, Array]:
    """What happened in a turn, as scalars: counts i32[], minutes and hours f32[], flags bool[]."""

    def count(action: int) -> Array:
        return jnp.sum(feedback.did(action), dtype=jnp.int32)

    return {
        "minutes": jnp.sum(feedback.watch) / 60.0,
        "turn_minutes": feedback.minutes,
        "examined": count(base.EXAMINED),
        "clicks": count(base.CLICK),
        "likes": count(base.LIKE),
        "comments": count(base.COMMENT),
        "shares": count(base.SHARE),
        "left": feedback.left,
        "gap_hours": gap,
        "returned": returned,
        "churned": lost,
        "invalid": invalid,
    }


def _reward_terms(outcomes: dict[str, Array], params: EnvParams) -> dict[str, Array]:
    """f32[] each: the reward's terms, weights times what they count; the reward is their sum."""
    weights = params.reward
    return {
        "minutes": weights.minutes * outcomes["minutes"],
        "click": weights.click * outcomes["clicks"],
        "like": weights.like * outcomes["likes"],
        "comment": weights.comment * outcomes["comments"],
        "share": weights.share * outcomes["shares"],
        "session": weights.session * outcomes["returned"],
        "churn": weights.churn * outcomes["churned"],
    }


def branch(key: Array, env: RecoEnv, params: EnvParams, state: EnvState, slates: Array) -> Step:
    """Step one state through M slates with common random numbers: what would have happened instead.

    Args:
      key: consumed; all M steps run on it, so that they differ only by what was shown.
      state: one user's state.
      slates: i32[M, K] (or M actions of the env's mode).

    Returns: the six values of `env.step_env` (no auto-reset), each with a leading M.
    """
    return jax.vmap(lambda slate: env.step_env(key, state, slate, params))(slates)


def instruct(state: EnvState, instruction: Instruction) -> EnvState:
    """The state in which the user has said this instead of what it said: a person's words, or none (`silent`).

    The next observation holds it, and a user model that keeps its request in `state.user.request` will judge the next
    slate by it. The reasons (`state.trace`) are not a person's: they are silenced.
    """
    user = state.user
    if hasattr(user, "request"):
        said = {name: getattr(instruction, name) for name in ("intent", "target_kind", "target", "strength")}
        user = user.replace(request=user.request.replace(**said, seconds=user.seconds, age=user.age))
    return state.replace(user=user, instruction=instruction, trace=Trace.silent())
