"""The public conformance test: does a world keep the environment contract?

    from jaxreco.testing import check_env
    check_env(env, params)  # silent, or ContractError("horizon-truncates: ...")

`CLAUSES` lists every clause by name, sentence and function, the elementary ones first, because the later ones build on
them. Nothing here needs `RecoEnv`: a stranger's world passes when it has `reset, step, reset_env, step_env, observe,
catalog, random_slate, check_action, slate_size, n_items` and params with a `reward`, `horizon_hours`, `churn_hours`,
`discount_hours` and `max_steps_in_episode`; what the agent must not see lies in `state.user`.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import CLICK, COMMENT, EMPTY, EXAMINED, LIKE, SHARE
from jaxreco.env import branch
from jaxreco.ring import Ring

Array = jax.Array

USERS = 32  # lives that are watched side by side
ENDLESS = 1e9  # hours: no episode ends by the clock
METHODS = ("reset", "step", "reset_env", "step_env", "observe", "catalog", "random_slate", "check_action")
COUNTS = {"examined": EXAMINED, "clicks": CLICK, "likes": LIKE, "comments": COMMENT, "shares": SHARE}
INFO_KEYS = (
    "terminated",
    "truncated",
    "final_observation",
    "discount",
    "hours",
    "feedback",
    "minutes",
    "turn_minutes",
    *COUNTS,
    "left",
    "gap_hours",
    "returned",
    "churned",
    "invalid",
    "asked",
    "followed",
    "reward_terms",
    "mind",
    "trace",
)


def quick_jit(function: Callable[..., Any], **kwargs: Any) -> Callable[..., Any]:
    """`jax.jit` that spends a quarter of the time on compiling, for programs that run briefly. Outermost only."""
    return jax.jit(function, compiler_options=_effort(), **kwargs)


@functools.cache
def _effort() -> dict[str, Any]:
    """Compiler options that save time (measured on CPU), where this backend and this version know them."""
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except Exception:  # what an unknown option raises depends on the version
        return {}
    return options if jax.default_backend() == "cpu" else {}


class ContractError(AssertionError):
    """A world breaks the contract. `clause` is the name of the clause; the message begins with it."""

    def __init__(self, clause: str, message: str) -> None:
        super().__init__(f"{clause}: {message}")
        self.clause = clause


class Turn(NamedTuple):
    """One turn of `USERS` lives, and all that is needed to take it again. Leaves are [B, ...]."""

    keys: Array
    obs: Any
    state: Any
    action: Any
    step: Any  # the six values


def check_env(env: Any, params: Any, key: Array | None = None, turns: int = 64) -> None:
    """Raise ContractError, naming the clause, if a world breaks the environment contract.

    Args:
      env, params: the world, as `jaxreco.make` returns it, or one of your own.
      key: decides users, slates and draws; the same key checks the same lives. Consumed.
      turns: turns that 32 users live. Somebody must leave and come back in that time.
    """
    # Keys are used twice on purpose here: the same coin flips under another horizon, slate or transformation.
    with jax.debug_key_reuse(False):
        probe = Probe(env, params, jax.random.key(0) if key is None else key, turns)
        for name, sentence, clause in CLAUSES:
            try:
                clause(probe)
            except _Broken as broken:
                raise ContractError(name, f"{sentence} But {broken}") from None
            except Exception as error:
                raise ContractError(name, f"{sentence} But {type(error).__name__}: {error}") from error


class Probe:
    """One world under test: its lives, its compiled step, and variations of its parameters."""

    def __init__(self, env: Any, params: Any, key: Array, turns: int) -> None:
        self.env, self.params, self.key, self.turns = env, params, key, turns
        self.traces: list[Any] = []  # one entry each time `one_step` is traced
        self.one_step = quick_jit(self._traced_step, static_argnums=0)

    @property
    def K(self) -> int:
        """Slate size."""
        return self.env.slate_size

    @property
    def takes_slates(self) -> bool:
        """Whether an action is a slate; other worlds take an item or a query."""
        return getattr(self.env, "action_mode", "slate") == "slate"

    @functools.cached_property
    def endless(self) -> Any:
        """The params under which no episode ends, except by leaving a single-session world."""
        return self.params.replace(horizon_hours=ENDLESS, churn_hours=ENDLESS, max_steps_in_episode=2**30)

    def keys(self, purpose: int) -> Array:
        """One key a user for one purpose."""
        return jax.random.split(jax.random.fold_in(self.key, purpose), USERS)

    def action(self, key: Array) -> Array:
        """A random action of the world's mode."""
        if self.takes_slates or not hasattr(self.env, "random_action"):
            return self.env.random_slate(key)
        return self.env.random_action(key, self.params)

    @functools.cached_property
    def actions(self) -> Callable[[Array], Array]:
        """One random action a key, compiled."""
        return quick_jit(jax.vmap(self.action))

    @functools.cached_property
    def reset(self) -> Callable[..., Any]:
        """`env.reset` of many users, compiled."""
        return quick_jit(jax.vmap(self.env.reset, (0, None)))

    @functools.cached_property
    def step(self) -> Callable[..., Any]:
        """`env.step` of many users, compiled."""
        return quick_jit(jax.vmap(self.env.step, (0, 0, 0, None)))

    @functools.cached_property
    def observe(self) -> Callable[..., Any]:
        """`env.observe` of many users, compiled."""
        return quick_jit(jax.vmap(self.env.observe, (0, None)))

    @functools.cached_property
    def lives(self) -> list[Turn]:
        """Random slates for `USERS` users under endless params, turn by turn."""
        obs, state = self.reset(self.keys(0), self.endless)
        turns = []
        for t in range(self.turns):
            keys, action = self.keys(2 * t + 1), self.actions(self.keys(2 * t + 2))
            step = self.step(keys, state, action, self.endless)
            turns.append(Turn(keys, obs, state, action, step))
            obs, state = step[0], step[1]
        return turns

    def again(self, params: Any, action: Array | None = None, turns: slice = slice(None)) -> list[Any]:
        """The steps of `lives` with the same keys and states, under other params or another action."""
        return [
            self.step(turn.keys, turn.state, turn.action if action is None else action, params)
            for turn in self.lives[turns]
        ]

    @functools.cached_property
    def shapes(self) -> tuple[Any, Any, Any]:
        """Shapes of what reset (obs, state) and step (six values) give, and of an action; nothing is computed."""
        action = jax.eval_shape(self.action, self.key)
        start = jax.eval_shape(self.env.reset, self.key, self.params)
        return start, jax.eval_shape(self.env.step, self.key, start[1], action, self.params), action

    @functools.cached_property
    def first(self) -> tuple[Array, Any, Array]:
        """Key, state and action of one user after a few turns, without a batch axis."""
        turn = self.lives[min(3, self.turns - 1)]
        return jax.tree.map(lambda x: x[0], (turn.keys, turn.state, turn.action))

    @functools.cached_property
    def uncompiled(self) -> tuple[Any, Any]:
        """`env.step` run twice operation by operation: an ordinary turn, and one that ends the episode."""
        key, state, action = self.first
        return (
            self.env.step(key, state, action, self.endless),
            self.env.step(key, state, action, self.endless.replace(horizon_hours=0.0)),
        )

    def _traced_step(self, env: Any, key: Array, state: Any, action: Array, params: Any) -> Any:
        self.traces.append(None)
        return env.step(key, state, action, params)


CLAUSES: list[tuple[str, str, Callable[[Probe], None]]] = []


def _clause(name: str, sentence: str) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
    """Add a function to the contract."""

    def add(check: Callable[[Probe], None]) -> Callable[[Probe], None]:
        CLAUSES.append((name, sentence, check))
        return check

    return add


class _Broken(Exception):
    """What was found instead."""


def _require(ok: Any, found: str) -> None:
    if not bool(np.all(ok)):
        raise _Broken(found)


# -- what comes in and goes out ------------------------------------------------------------------------------


@_clause("six-values", "reset and reset_env give (obs, state), step and step_env six values.")
def _six_values(probe: Probe) -> None:
    env, key, params = probe.env, probe.key, probe.params
    for name in METHODS:
        _require(callable(getattr(env, name, None)), f"there is no method {name}.")
    _require(1 <= env.slate_size <= env.n_items, f"slate_size is {env.slate_size} and n_items {env.n_items}.")
    action = jax.eval_shape(probe.action, key)
    for reset, step in ((env.reset, env.step), (env.reset_env, env.step_env)):
        start = jax.eval_shape(reset, key, params)
        _require(isinstance(start, tuple) and len(start) == 2, f"{reset.__name__} gives {_count(start)}.")
        six = jax.eval_shape(step, key, start[1], action, params)
        _require(isinstance(six, tuple) and len(six) == 6, f"{step.__name__} gives {_count(six)}.")
    _require(jax.eval_shape(env.random_slate, key).shape == (probe.K,), "random_slate does not give i32[K].")
    rows = jax.eval_shape(env.catalog, start[1], params).duration.shape
    _require(rows == (env.n_items,), f"the catalog's duration has shape {rows}, not [{env.n_items}].")


@_clause("scalars", "reward is f32[], terminated and truncated are bool[].")
def _scalars(probe: Probe) -> None:
    step = probe.shapes[1]
    wanted = {"reward": "float32", "terminated": "bool", "truncated": "bool"}
    for (name, dtype), value in zip(wanted.items(), step[2:5], strict=True):
        _require(value.shape == () and value.dtype == dtype, f"{name} is {value.dtype}{list(value.shape)}.")


@_clause("same-shapes", "obs and state keep their structure, shapes and dtypes from reset through every step (scan).")
def _same_shapes(probe: Probe) -> None:
    (obs, state), step, action = probe.shapes
    raw = jax.eval_shape(probe.env.step_env, probe.key, state, action, probe.params)
    for name, one, other in (
        ("obs of step", obs, step[0]),
        ("state of step", state, step[1]),
        ("obs of step_env", obs, raw[0]),
        ("state of step_env", state, raw[1]),
        ("final_observation", obs, dict(step[5]).get("final_observation", obs)),
        ("observe", obs, jax.eval_shape(probe.env.observe, state, probe.params)),
    ):
        _require_same_shapes(f"{name}, set against reset,", one, other)


@_clause("observation", "the observation holds history, slate, feedback, tokens, counters and clock, as documented.")
def _observation(probe: Probe) -> None:
    obs, K = probe.shapes[0][0], probe.K
    H = obs.history.item.shape
    _require(len(H) == 1 and H[0] >= K, f"history.item has shape {H}.")
    kinds = {"i": jnp.int32, "f": jnp.float32}
    for owner, names, kind, shape in (
        (obs.history, "item actions", "i", H),
        (obs.history, "watch age", "f", H),
        (obs, "slate actions", "i", (K,)),
        (obs, "watch", "f", (K,)),
        (obs, "instruction trace", "i", None),
        (obs, "turn session session_turn", "i", ()),
        (obs, "session_minutes hours_away clock", "f", ()),
    ):
        for name in names.split():
            leaf = getattr(owner, name)
            right = leaf.dtype == kinds[kind] and (leaf.ndim == 1 if shape is None else leaf.shape == shape)
            _require(right, f"{name} is {leaf.dtype}{list(leaf.shape)}.")


@_clause("info-keys", f"info holds {', '.join(INFO_KEYS)}.")
def _info_keys(probe: Probe) -> None:
    (_, state), step, action = probe.shapes
    missing = [name for name in INFO_KEYS if name not in step[5]]
    _require(not missing, f"these are missing: {', '.join(missing)}.")
    raw = jax.eval_shape(probe.env.step_env, probe.key, state, action, probe.params)
    _require_same_shapes("info of step_env", step[5], raw[5])
    for params in (probe.endless.replace(horizon_hours=0.0), probe.endless.replace(churn_hours=0.0)):
        for _, _, _, terminated, truncated, info in probe.again(params):
            _require(info["terminated"] == terminated, "info['terminated'] is not what step returns.")
            _require(info["truncated"] == truncated, "info['truncated'] is not what step returns.")


@_clause("no-nan", "no leaf of obs, state, reward or info is ever NaN, and the reward and the clock are finite.")
def _no_nan(probe: Probe) -> None:
    for t, turn in enumerate(probe.lives):
        for path, leaf in _leaves(turn.step):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                _require(~np.isnan(leaf), f"step{path} holds a NaN in turn {t}.")
        finite = np.isfinite(turn.step[2]) & np.isfinite(turn.step[5]["final_observation"].clock)
        _require(finite, f"reward or clock is infinite in turn {t}.")


# -- keys and purity -----------------------------------------------------------------------------------------


@_clause("key-not-in-state", "no key is kept in the state, or a planner could step it into the user's own future.")
def _key_not_in_state(probe: Probe) -> None:
    states = (probe.lives[0].state, probe.lives[0].step[1])
    words = _descendants(jnp.stack([probe.keys(0)[0], probe.lives[0].keys[0]]))
    for path, leaf in _leaves(states):
        _require(not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key), f"state{path} is a key.")
        if leaf.dtype in (np.uint32, np.int32) and leaf.size >= words.shape[1]:
            data = np.asarray(leaf).astype(np.uint32).ravel()
            windows = np.lib.stride_tricks.sliding_window_view(data, words.shape[1])
            held = (windows[:, None] == words).all(axis=-1)
            _require(~held, f"state{path} holds the data of the key, or of one derived from it.")


@_clause("keys-matter", "other keys give other users, and other turns from the same state.")
def _keys_matter(probe: Probe) -> None:
    _require(_varied(probe.lives[0].state), f"{USERS} keys gave {USERS} equal users.")
    _, state, action = probe.first
    crowd = jax.tree.map(lambda x: jnp.broadcast_to(x, (USERS, *x.shape)), (state, action))
    _require(_varied(probe.step(probe.keys(1), *crowd, probe.endless)[1]), f"{USERS} keys gave {USERS} equal turns.")


@_clause("random-slate", "random_slate gives K different ids of the catalog, other ones for other keys.")
def _random_slate(probe: Probe) -> None:
    slates = np.asarray(quick_jit(jax.vmap(probe.env.random_slate))(jax.random.split(probe.key, 512)))
    _require((slates >= 0) & (slates < probe.env.n_items), "an id is out of range.")
    _require(all(len(set(slate)) == probe.K for slate in slates.tolist()), "a slate repeats an id.")
    _require(probe.env.n_items == 1 or len(np.unique(slates, axis=0)) > 1, "512 keys gave one slate.")


@_clause("check-action", "outside jit, check_action raises ValueError with the slot and the id of a bad slate.")
def _check_action(probe: Probe) -> None:
    if getattr(probe.env, "action_mode", "slate") == "query":
        return
    good = np.asarray(probe.action(probe.key))
    probe.env.check_action(good)
    bad = [(good * 0 + probe.env.n_items, probe.env.n_items, 0), (good * 0 - 1, -1, 0)]
    if probe.K > 1:
        bad.append((np.concatenate([good[:-1], good[:1]]), good[0], probe.K - 1))
    for slate, item, slot in bad:
        try:
            probe.env.check_action(slate)
        except ValueError as error:
            named = {int(n) for n in re.findall(r"-?\d+", str(error))}
            _require({int(item), slot} <= named, f"the message names neither slot {slot} nor id {item}: {error}")
        else:
            raise _Broken(f"{slate.tolist()} passed.")


# -- time ----------------------------------------------------------------------------------------------------


@_clause("clock", "the clock starts at 0 and moves forward by the turn's minutes and, after a leave, the gap.")
def _clock(probe: Probe) -> None:
    _require(probe.lives[0].obs.clock == 0, "it is not 0 after reset.")
    for t, turn in enumerate(probe.lives):
        info = turn.step[5]
        before, after = np.asarray(turn.obs.clock), np.asarray(info["final_observation"].clock)
        minutes, gap = np.asarray(info["turn_minutes"]), np.asarray(info["gap_hours"])
        _require((minutes >= 0) & (gap >= 0) & (after >= before), f"time runs backwards in turn {t}.")
        _require(info["left"] | (gap == 0), f"there is a gap without a leave in turn {t}.")
        _require_close(f"info['hours'] in turn {t}", minutes / 60 + gap, info["hours"])
        _require_close(f"what the clock moved in turn {t}", after, before + np.asarray(info["hours"]))
        _require(info["final_observation"].turn == turn.obs.turn + 1, f"turn {t} does not count as one turn.")


@_clause("discount", "info['discount'] is exp(-hours / tau) of the hours that passed, tau being params.discount_hours.")
def _discount(probe: Probe) -> None:
    for tau in (24.0, 168.0):
        for step in probe.again(probe.endless.replace(discount_hours=tau)):
            expected = np.exp(-np.asarray(step[5]["hours"]) / tau)
            _require_close(f"with tau {tau:g} the discount", expected, step[5]["discount"])


@_clause("horizon-truncates", "an episode is truncated where the clock reaches horizon_hours, also within a gap.")
def _horizon_truncates(probe: Probe) -> None:
    horizon = _inside_a_gap(probe)
    steps = probe.again(probe.endless.replace(horizon_hours=horizon))
    truncated = np.stack([step[4] for step in steps])
    late = np.stack([turn.step[5]["final_observation"].clock >= horizon for turn in probe.lives])
    _require(truncated == late, f"with a horizon of {horizon:g} hours {np.sum(truncated != late)} turns are wrong.")


@_clause("terminated-not-horizon", "reaching the horizon or the backstop never terminates: a value remains.")
def _terminated_not_horizon(probe: Probe) -> None:
    for limit in ({"horizon_hours": 0.0}, {"max_steps_in_episode": 1}):
        for turn, step in zip(probe.lives, probe.again(probe.endless.replace(**limit)), strict=True):
            _require(step[3] == turn.step[3], f"{limit} changes terminated.")


@_clause("churn-terminates", "terminated means gone for good: a gap beyond churn_hours, or a single session's end.")
def _churn_terminates(probe: Probe) -> None:
    lives = probe.lives
    left = np.stack([turn.step[5]["left"] for turn in lives])
    gaps = np.stack([turn.step[5]["gap_hours"] for turn in lives])
    _require(left.any(), f"nobody left in {probe.turns} turns of {USERS} users: pass more turns.")
    churn = _middle(gaps[left])
    for hours in (churn, ENDLESS):
        lost = left if getattr(probe.env, "single_session", False) else left & (gaps > hours)
        terminated = np.stack([step[3] for step in probe.again(probe.endless.replace(churn_hours=hours))])
        _require(terminated == lost, f"with churn_hours {hours:g} {np.sum(terminated != lost)} turns are wrong.")


@_clause("backstop-truncates", "an episode is truncated after max_steps_in_episode turns, not before.")
def _backstop_truncates(probe: Probe) -> None:
    for turn, step in zip(probe.lives, probe.again(probe.endless.replace(max_steps_in_episode=3)), strict=True):
        _require(step[4] == (turn.obs.turn + 1 >= 3), "with 3 it is not so.")


# -- where an episode ends -----------------------------------------------------------------------------------


@_clause("auto-reset", "after the end obs is a fresh reset's, and info['final_observation'] the old episode's last.")
def _auto_reset(probe: Probe) -> None:
    ended = probe.endless.replace(horizon_hours=0.0)
    for turn, step in zip(probe.lives, probe.again(ended), strict=True):
        obs, state, info = step[0], step[1], step[5]
        _require(step[4], "a horizon of 0 hours does not end the episode.")
        # The same turn under an endless horizon goes on: what it shows is what the old episode showed last.
        goes_on = ~np.asarray(turn.step[3] | turn.step[4])
        _require_same("final_observation", _rows(turn.step[0], goes_on), _rows(info["final_observation"], goes_on))
        _require_same(
            "final_observation of a turn that ends nothing",
            _rows(turn.step[0], goes_on),
            _rows(turn.step[5]["final_observation"], goes_on),
        )
        for name in ("turn", "session", "session_turn", "session_minutes", "hours_away", "clock", "actions", "watch"):
            _require(getattr(obs, name) == 0, f"{name} is not 0 in the new episode.")
        _require(obs.slate == EMPTY, "the new episode has a slate before its first turn.")
        _require(obs.history.item == EMPTY, "the new episode remembers items of the old one.")
        for name in ("actions", "watch", "age"):
            _require(getattr(obs.history, name) == 0, f"history.{name} of the new episode is not empty.")
        _require_same("observe(state)", obs, probe.observe(state, ended))
    _require(_varied(_small(state)), "all new episodes have the same user.")


@_clause("history-not-copied", "auto-reset moves the pointer of a history ring and leaves its data alone.")
def _history_not_copied(probe: Probe) -> None:
    for turn, step in zip(probe.lives, probe.again(probe.endless.replace(horizon_hours=0.0)), strict=True):
        goes_on = ~np.asarray(turn.step[3] | turn.step[4])
        for old, new in zip(_rings(turn.step[1]), _rings(step[1]), strict=True):
            _require_same("the data of a ring", _rows(old.data, goes_on), _rows(new.data, goes_on))
            _require_same("the end of a ring", _rows(old.end, goes_on), _rows(new.end, goes_on))
            _require(new.start == new.end, "a ring is not empty after the end of an episode.")


# -- actions, reward, observation ----------------------------------------------------------------------------


@_clause("invalid-slots", "ids out of range and repeated ids are empty slots: counted, not acted on, all alike.")
def _invalid_slots(probe: Probe) -> None:
    if getattr(probe.env, "action_mode", "slate") == "query":
        return
    last = slice(probe.turns - 1, probe.turns)
    good = probe.lives[-1].action
    plain = probe.again(probe.endless, good, last)[0][5]
    _require(plain["invalid"] == 0, "a good slate is counted as invalid.")
    shown = jnp.reshape(good, (USERS, probe.K))
    _require(plain["final_observation"].slate == shown, "a good slate is not shown as it is.")
    slot = jnp.arange(USERS) % probe.K  # another bad slot for each user
    wrong = [jnp.full(USERS, bad, shown.dtype) for bad in (EMPTY, probe.env.n_items, 2**31 - 1, -(2**31))]
    if probe.K > 1:
        slot = 1 + jnp.arange(USERS) % (probe.K - 1)
        wrong.append(shown[:, 0])  # repeats the first slot's item
    here = jnp.arange(probe.K) == slot[:, None]
    results = []
    for ids in wrong:
        action = jnp.where(here, ids[:, None], shown).reshape(good.shape)
        results.append(probe.again(probe.endless, action, last)[0])
        obs, info = results[-1][5]["final_observation"], results[-1][5]
        _require(info["invalid"] == 1, f"one bad id {ids[0]} counts as {int(info['invalid'][0])}.")
        _require(obs.slate == jnp.where(here, EMPTY, shown), f"a slot with id {ids[0]} is not shown as empty.")
        _require(~here | ((obs.actions == 0) & (obs.watch == 0)), f"the user acts on a slot with id {ids[0]}.")
    for other in results[1:]:
        _require_same("a turn with a bad id of another kind", results[0], other)
    for step in probe.again(probe.endless, jnp.full_like(good, EMPTY)):
        _require(step[5]["invalid"] == probe.K, "a slate of bad ids is not counted slot by slot.")
        _require(step[5]["minutes"] == 0, "the user watches something on an empty slate.")
        _require(step[5]["final_observation"].actions == 0, "the user acts on a slot of an empty slate.")


@_clause("outcomes", "info counts what the last slate's feedback shows, and who came back before the horizon.")
def _outcomes(probe: Probe) -> None:
    horizon = _inside_a_gap(probe)
    for turn, step in zip(probe.lives, probe.again(probe.endless.replace(horizon_hours=horizon)), strict=True):
        obs, info = turn.step[5]["final_observation"], step[5]
        for name, action in COUNTS.items():
            shown = np.sum((np.asarray(obs.actions) & action) > 0, axis=-1)
            _require(info[name] == shown, f"info[{name!r}] is not what the actions say.")
        for name in ("slate", "actions", "watch"):
            _require(getattr(info["feedback"], name) == getattr(obs, name), f"feedback.{name} is not what obs shows.")
        back = np.asarray(info["left"] & ~step[3]) & (np.asarray(obs.clock) < horizon)
        _require(info["returned"] == back, "info['returned'] is not: left, not lost, and back before the horizon.")
        _require(info["churned"] == step[3], "info['churned'] is not what terminated says.")


@_clause("reward", "the reward is the sum of info['reward_terms'], weights times counts; by default engaged minutes.")
def _reward(probe: Probe) -> None:
    params = probe.endless
    only_minutes = jax.tree.map(jnp.zeros_like, params.reward).replace(minutes=1.0)
    ones = jax.tree.map(jnp.ones_like, params.reward)
    twice = jax.tree.map(lambda x: 2.0 * x, ones)
    default, once, double = (probe.again(params.replace(reward=w)) for w in (only_minutes, ones, twice))
    for turn, plain, one, two in zip(probe.lives, default, once, double, strict=True):
        for step in (turn.step, plain, one, two):
            _require_close("the reward, set against the sum of its terms,", _total(step), step[2])
        for name, term in one[5]["reward_terms"].items():
            _require_close(f"twice the weight of {name}", 2 * np.asarray(term), two[5]["reward_terms"][name])
        obs, info = plain[5]["final_observation"], plain[5]
        _require_close("the reward by default, in minutes,", info["minutes"], plain[2])
        duration = probe.env.catalog(turn.state, params).duration[jnp.maximum(obs.slate, 0)]
        _require((obs.watch >= 0) & (obs.watch <= duration * (1 + 1e-6)), "watch time is longer than the item.")
        _require_close("engaged minutes, set against watch time,", np.sum(obs.watch, axis=-1) / 60, info["minutes"])


@_clause("no-mindset", "the observation shows nothing of the user's mind: traits and mood change nothing in it.")
def _no_mindset(probe: Probe) -> None:
    turn = probe.lives[-1]
    other_mind = jax.tree_util.tree_map_with_path(_other_unless_public, turn.state.user)
    obs = probe.observe(turn.state.replace(user=other_mind), probe.endless)
    _require_same("what is seen of another mind", turn.obs, obs)
    other_people = probe.endless.replace(user=jax.tree.map(_other, probe.endless.user))
    _require_same("what is seen of other traits", turn.obs, probe.observe(turn.state, other_people))


# -- transformations and compilation -------------------------------------------------------------------------


@_clause("no-retrace", "changing any value in params compiles nothing anew; a Python number takes its field's type.")
def _no_retrace(probe: Probe) -> None:
    args = (probe.env, *probe.first)
    probe.one_step(*args, probe.params)
    seen = len(probe.traces)
    leaves, tree = jax.tree.flatten(probe.params)
    for i, (path, leaf) in enumerate(_leaves(probe.params)):
        probe.one_step(*args, jax.tree.unflatten(tree, [*leaves[:i], _other(leaf), *leaves[i + 1 :]]))
        _require(len(probe.traces) == seen, f"another value in params{path} traces step again.")
    for names in _numbers(probe.params):
        for value in (0.5, 1, True, np.float64(0.5), jnp.asarray(1)):
            probe.one_step(*args, _replace(probe.params, names, value))
            again = f"params.{'.'.join(names)} replaced by {type(value).__name__} {value} traces step again."
            _require(len(probe.traces) == seen, again)


@_clause("equal-env", "an env built again is equal, has the same hash, and compiles nothing anew.")
def _equal_env(probe: Probe) -> None:
    # Names and logs are not part of equality and may be large: they are shared, not copied.
    shared = {id(x): x for x in (getattr(probe.env, "names", None), getattr(probe.env, "log", None))}
    twin = copy.deepcopy(probe.env, shared)
    _require(twin == probe.env and hash(twin) == hash(probe.env), "a deep copy is not equal or hashes differently.")
    probe.one_step(probe.env, *probe.first, probe.params)
    seen = len(probe.traces)
    probe.one_step(twin, *probe.first, probe.params)
    _require(len(probe.traces) == seen, "a deep copy traces step again.")


@_clause("branch", "branches of one state differ by their slates alone: the random numbers are common.")
def _branch(probe: Probe) -> None:
    turn = probe.lives[-1]
    other = turn.action
    if probe.takes_slates and probe.K > 1:  # an item that is not in the slate, in the last slot
        items = jnp.arange(probe.env.n_items)
        free = jnp.argmin(jax.vmap(lambda slate: jnp.isin(items, slate))(turn.action), axis=-1)
        other = turn.action.at[:, -1].set(free)
    slates = jnp.stack([turn.action, turn.action, other], axis=1)

    @quick_jit
    def run(keys: Array) -> Any:  # a loop over users: two nested vmaps would take long to compile
        return jax.lax.map(lambda x: branch(x[0], probe.env, probe.endless, *x[1:]), (keys, turn.state, slates))

    same_keys, other_keys = run(turn.keys), run(probe.keys(0))
    one, two, three = (jax.tree.map(lambda x, m=m: x[:, m], same_keys) for m in range(3))
    _require_near("a branch with the same slate", one, two)
    # Up to the slot that differs, users mostly do the same; with random numbers of their own they would not.
    above = np.asarray(one[0].actions)[:, :-1]
    by_slate = np.sum(above != np.asarray(three[0].actions)[:, :-1]) / max(above.size, 1)
    by_key = np.sum(above != np.asarray(other_keys[0].actions)[:, 0, :-1]) / max(above.size, 1)
    _require(
        by_slate <= 0.5 * by_key,
        f"another last slot changes {by_slate:.0%} of what is done above it, other random numbers {by_key:.0%}.",
    )


@_clause("pure", "the same inputs give the same outputs, and inputs are not changed.")
def _pure(probe: Probe) -> None:
    key, state, action = probe.first
    before = jax.tree.leaves(state)
    _require_same("a second step", probe.uncompiled[0], probe.env.step(key, state, action, probe.endless))
    _require_same("the state that was stepped", before, jax.tree.leaves(state))
    _require_same("a second reset", probe.env.reset(key, probe.params), probe.env.reset(key, probe.params))
    # What differs from trace to trace (a counter, NumPy's generator) would be frozen into compiled code.
    programs = {_program(lambda k, s, a, p: probe.env.step(k, s, a, p), key, state, action, probe.params) for _ in "ab"}
    _require(len(programs) == 1, "two traces of step are different programs: something outside its arguments counts.")


@_clause("vmap", "a batch by vmap is a loop over users, within rounding.")
def _vmap(probe: Probe) -> None:
    turn = probe.lives[-1]
    for b in (0, 1, USERS - 1):
        key, state, action, batched = jax.tree.map(lambda x, b=b: x[b], (turn.keys, turn.state, turn.action, turn.step))
        alone = probe.one_step(probe.env, key, state, action, probe.endless)
        _require_near(f"user {b} alone", batched, alone)


@_clause("jit", "a compiled step is the step, within rounding.")
def _jit(probe: Probe) -> None:
    compiled = probe.one_step(probe.env, *probe.first, probe.endless)
    _require_near("the uncompiled step", compiled, probe.uncompiled[0])


@_clause("same-info-keys", "info has the same keys on every step, also where an episode ends, compiled or not.")
def _same_info_keys(probe: Probe) -> None:
    plain, ended = probe.uncompiled
    _require_same_shapes("info of an uncompiled step", probe.shapes[1][5], plain[5])
    _require_same_shapes("info of an uncompiled step that ends an episode", probe.shapes[1][5], ended[5])


# -- helpers -------------------------------------------------------------------------------------------------


def _count(values: Any) -> str:
    return f"{len(values)} values" if isinstance(values, tuple) else f"a {type(values).__name__}"


def _total(step: Any) -> np.ndarray:
    return np.sum([np.asarray(term) for term in step[5]["reward_terms"].values()], axis=0)


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    """(path, leaf) of every leaf; paths read like Python."""
    return [(jax.tree_util.keystr(path), jnp.asarray(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _descendants(keys: Array) -> np.ndarray:
    """u32[N, W], no two alike: the data of keys, and of what split and fold_in make of them in two generations."""

    def children(key: Array) -> Array:
        folded = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(3))
        return jnp.concatenate([key[None], jax.random.split(key), jax.random.split(key, 3), folded])

    family = jax.vmap(children)(jax.vmap(children)(keys).ravel()).ravel()
    return np.unique(np.asarray(jax.random.key_data(family)), axis=0)


def _rows(tree: Any, which: np.ndarray) -> Any:
    return jax.tree.map(lambda x: np.asarray(x)[which], tree)


def _is_ring(x: Any) -> bool:
    return isinstance(x, Ring)


def _rings(tree: Any) -> list[Ring]:
    return [x for x in jax.tree.leaves(tree, is_leaf=_is_ring) if _is_ring(x)]


def _small(tree: Any) -> list[Any]:
    """The leaves that are not part of a ring: a ring's data survive the end of an episode."""
    return [x for x in jax.tree.leaves(tree, is_leaf=_is_ring) if not _is_ring(x)]


def _varied(tree: Any) -> bool:
    """Whether any leaf [B, ...] differs between rows."""
    return any(bool(np.any(np.asarray(x) != np.asarray(x)[:1])) for x in jax.tree.leaves(tree))


def _middle(values: np.ndarray) -> float:
    """A number that splits values into two parts and equals none of them."""
    distinct = np.unique(values).astype(float)
    if len(distinct) == 1:
        return float(distinct[0] / 2)
    return float(distinct[len(distinct) // 2 - 1 : len(distinct) // 2 + 1].mean())


def _inside_a_gap(probe: Probe) -> float:
    """A clock that somebody's gap jumps over: the session ends before it, the gap after it."""
    left = np.stack([turn.step[5]["left"] for turn in probe.lives])
    _require(left.any(), f"nobody left in {probe.turns} turns of {USERS} users: pass more turns.")
    after = np.stack([turn.step[5]["final_observation"].clock for turn in probe.lives])[left]
    gap = np.stack([turn.step[5]["gap_hours"] for turn in probe.lives])[left]
    longest = np.argsort(gap)[gap.size // 2]
    return float(after[longest] - gap[longest] / 2)


def _other(leaf: Any) -> Any:
    """Another value of the same shape and dtype."""
    leaf = jnp.asarray(leaf)
    if leaf.dtype == bool:
        return ~leaf
    if jnp.issubdtype(leaf.dtype, jnp.integer):
        return jnp.where(leaf > 0, leaf - 1, leaf + 1).astype(leaf.dtype)
    return (0.5 * leaf + 0.25).astype(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _other_unless_public(path: Any, leaf: Any) -> Any:
    """Another value, except for the clock and the history: a platform sees those."""
    name = str(getattr(path[0], "name", getattr(path[0], "key", "")))
    return leaf if name in ("clock", "history") else _other(leaf)


def _numbers(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of every scalar number in nested dataclasses."""
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, (*path, field.name))
        elif isinstance(value, (np.generic, np.ndarray, jax.Array)) and value.ndim == 0:
            yield (*path, field.name)


def _replace(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    name, *rest = path
    return tree.replace(**{name: _replace(getattr(tree, name), tuple(rest), value) if rest else value})


def _program(function: Callable[..., Any], *args: Any) -> str:
    """The traced program as text, without addresses in memory."""
    closed = jax.make_jaxpr(function)(*args)
    constants = [np.asarray(x).tobytes() for x in closed.consts if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)]
    return re.sub(r"0x[0-9a-f]+", "", str(closed)) + str(constants)


def _compare(what: str, one: Any, other: Any, differ: Callable[[Any, Any], bool]) -> None:
    """Raise if two trees differ in structure, or by `differ` in any leaf, naming the leaf."""
    expected: Any = jax.tree.structure(one)
    found = jax.tree.structure(other)
    _require(expected == found, f"{what} has another structure: {found}, not {expected}.")
    pairs = zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True)
    for (path, a), b in pairs:
        if differ(a, b):
            raise _Broken(f"{what} differs in {jax.tree_util.keystr(path) or 'value'}: {_brief(b)}, not {_brief(a)}.")


def _brief(x: Any) -> str:
    shape = f"{getattr(x, 'dtype', type(x).__name__)}{list(np.shape(x))}"
    if isinstance(x, jax.ShapeDtypeStruct):
        return shape + (" (weakly typed)" if getattr(x, "weak_type", False) else "")
    return f"{np.ravel(np.asarray(x))[:4]} ({shape})"


def _require_same_shapes(what: str, one: Any, other: Any) -> None:
    def differ(a: Any, b: Any) -> bool:
        a, b = (x if isinstance(x, jax.ShapeDtypeStruct) else jax.typeof(x) for x in (a, b))
        return (a.shape, a.dtype, a.weak_type) != (b.shape, b.dtype, b.weak_type)

    _compare(what, one, other, differ)


def _require_same(what: str, one: Any, other: Any) -> None:
    """Bit for bit; two runs of one compiled function."""

    def differ(a: Any, b: Any) -> bool:
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")

    _compare(what, one, other, differ)


def _require_near(what: str, one: Any, other: Any) -> None:
    """Floats within rounding, everything else exactly: two compilations of one computation."""
    _compare(what, one, other, lambda a, b: not _near(np.asarray(a), np.asarray(b)))


def _require_close(what: str, expected: Any, value: Any) -> None:
    """Numbers within rounding."""
    expected, value = np.asarray(expected), np.asarray(value)
    _require(_near(expected, value), f"{what} is {np.ravel(value)[:4]}, not {np.ravel(expected)[:4]}.")


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True))
