"""Does a simulator rank policies as real people do? Agents pick for the same people, and somebody answers.

Each agent picks ten items for each person, one after another, only among those that this person answered in a log. Who
answers is a part that can be exchanged: the log, or a simulated user asked about the same people. The order of the agents
by the mean answer to their picks is what is compared.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog, History, Instruction, Observation, Trace
from jaxreco.data.responses import Responses, Scale
from jaxreco.errors import DataError
from jaxreco.evaluation import RESAMPLES
from jaxreco.users.replay import actions_of

Array = jax.Array

PICKS = 10
BLOCK = 256  # people at once: a multiple of it compiles once for any number of them


class Answers(Protocol):
    """Who answers: people of a log, or a simulator of them."""

    def rating(self, person: np.ndarray, items: np.ndarray, values: np.ndarray, item: np.ndarray) -> np.ndarray:
        """f32[N]: what each person says of an item, in the log's units.

        Args:
          person: i64[N], rows of the log.
          items, values: i32[N, t] and f32[N, t], what it was shown before and answered, oldest first.
          item: i32[N].
        """


class Logged:
    """The answers of the log itself."""

    def __init__(self, told: Responses) -> None:
        self._told = told

    def rating(self, person: np.ndarray, items: np.ndarray, values: np.ndarray, item: np.ndarray) -> np.ndarray:
        """f32[N], as logged. Raises DataError for an item that a person did not answer."""
        wrong = np.flatnonzero(~self._told.known[person, item])
        if len(wrong):
            raise DataError(
                f"Person {person[wrong[0]]} did not answer item {item[wrong[0]]}: pick among what it answered."
            )
        return self._told.value[person, item]


class Picks(NamedTuple):
    """What was picked for `N` people, in turn, and what they said."""

    item: np.ndarray  # i32[N, T]
    value: np.ndarray  # f32[N, T]

    @property
    def outcome(self) -> np.ndarray:
        """f64[N]: each person's mean answer."""
        return self.value.mean(axis=1, dtype=np.float64)


def pick(
    key: Array,
    agent: Any,
    agent_params: Any,
    catalog: Catalog,
    answers: Answers,
    people: np.ndarray,
    may: np.ndarray,
    scale: Scale,
    picks: int = PICKS,
) -> Picks:
    """Let one agent pick for each person, one item a turn, with what was said in between.

    The agent is not told what it may pick from. It ranks the whole catalog as one slate, and the first item that the person
    may be shown and was not is taken; that item alone is what it sees in the next observation, with what the answer amounts
    to (`actions_of`).

    Args:
      key: person `p` at its turn `t` runs on `fold_in(fold_in(key, p), t)`, as in rollouts; not consumed.
      agent, agent_params: of `jaxreco.make_agent`, fitted without these people. It must rank all I items when asked for a
        slate of I, and may not be privileged.
      answers: who answers.
      people: i64[N], rows of the log. may: bool[U, I], what each person of the log may be shown: what it answered.
      scale: from which answers on each of the U people clicks and likes.

    Raises DataError for people who may not be shown `picks` items, and a privileged agent.
    """
    people = np.asarray(people, np.int64)
    few = np.flatnonzero(may[people].sum(axis=1) < picks)
    if len(few):
        person = people[few[0]]
        raise DataError(
            f"Person {person} answered {may[person].sum()} items, and {picks} are to be picked: leave such people out or pick fewer."
        )
    if getattr(agent, "privileged", False):
        raise DataError(f"{type(agent).__name__} reads a mindset, and people of a log have none: take another agent.")
    padded = np.resize(people, -(-len(people) // BLOCK) * BLOCK)
    rows, click_at, like_at = (jnp.asarray(x) for x in (padded, scale.click_at[padded], scale.like_at[padded]))
    memory = _memory(agent, agent_params, rows)
    item, value = np.full((len(padded), picks), EMPTY, np.int32), np.zeros((len(padded), picks), np.float32)
    left, row = may[padded].copy(), np.arange(len(padded))
    for turn in range(picks):
        shown = (jnp.array(item), jnp.array(value), jnp.int32(turn))  # copies: the arrays are written to below
        ranking, memory = _rank(key, agent, agent_params, catalog, rows, memory, *shown, click_at, like_at)
        ranked = np.asarray(ranking)
        item[:, turn] = ranked[row, np.argmax(left[row[:, None], ranked], axis=1)]
        left[row, item[:, turn]] = False
        value[:, turn] = answers.rating(padded, item[:, :turn], value[:, :turn], item[:, turn])
    return Picks(item[: len(people)], value[: len(people)])


@functools.partial(jax.jit, static_argnames="agent")
def _memory(agent: Any, agent_params: Any, people: Array) -> Any:
    return jax.vmap(lambda _: agent.reset(agent_params))(people)


@functools.partial(jax.jit, static_argnames="agent")
def _rank(
    key: Array, agent: Any, agent_params: Any, catalog: Catalog, people: Array, memory: Any, item: Array, value: Array,
    turn: Array, click_at: Array, like_at: Array,
) -> tuple[Array, Any]:  # fmt: skip
    """(i32[N, I], memory): the agent's order of the catalog before a turn.

    Args: people i32[N]. item i32[N, T], EMPTY from the turn on, and value f32[N, T]. click_at, like_at f32[N].
    """

    def one(person: Array, memory: Any, item: Array, value: Array, *at: Array) -> tuple[Array, Any]:
        obs = observation(item, actions_of(value, item >= 0, *at), turn, catalog)
        key_turn = jax.random.fold_in(jax.random.fold_in(key, person), turn)
        ranking, memory, _ = agent.act(key_turn, agent_params, memory, obs, catalog)
        return ranking, memory

    return jax.vmap(one)(people, memory, item, value, click_at, like_at)


def observation(item: Array, actions: Array, turn: Array, catalog: Catalog) -> Observation:
    """What an agent that is to rank the catalog sees: the items shown so far, one a turn, each looked at to its end.

    Its slate has a slot for each of the I items; the last one shown is in the first, the others are empty.

    Args: item i32[T], EMPTY from `turn` i32[] on, oldest first. actions i32[T].
    """
    order = jnp.roll(jnp.arange(item.shape[0]), -turn)  # the empty ones first, as in a history that fills up
    item, actions = item[order], actions[order]
    there = item >= 0
    watch = jnp.where(there, catalog.duration[jnp.maximum(item, 0)], 0.0)
    begun = jnp.cumsum(watch) / 3600.0
    clock = begun[-1]
    blank = jnp.zeros(catalog.n_items, jnp.int32)
    return Observation(
        history=History(item, actions, watch, jnp.where(there, clock - begun, 0.0)),
        slate=(blank + EMPTY).at[0].set(item[-1]),
        actions=blank.at[0].set(actions[-1]),
        watch=blank.astype(jnp.float32).at[0].set(watch[-1]),
        instruction=Instruction.silent().tokens,
        trace=jnp.zeros_like(Trace.silent().tokens),
        turn=turn,
        session=jnp.int32(0),
        session_turn=turn,
        session_minutes=60.0 * clock,
        hours_away=jnp.float32(0.0),
        clock=clock,
    )


# -- orders --------------------------------------------------------------------------------------------------


def table(outcomes: Mapping[str, np.ndarray]) -> np.ndarray:
    """f64[N, A]: outcomes f64[N] of each agent, in the order of the names. Raises DataError where they differ in length."""
    lengths = {name: len(values) for name, values in outcomes.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"The agents were judged by different people ({lengths}): judge all by the same.")
    return np.stack([np.asarray(values, np.float64) for values in outcomes.values()], axis=1)


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b between two orders of A things (Kendall 1945), by their values f[A]: 1 the same, -1 the reverse.

    Raises DataError for fewer than two things; NaN where all of one are equal.
    """
    from scipy.stats import kendalltau

    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or len(first) < 2:
        raise DataError(f"An order of {len(first)} and one of {len(second)}: give the same two or more things in both.")
    return float(kendalltau(first, second).statistic)


def tau(first: np.ndarray, second: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float, float]:
    """(tau, low, high) between two orders of A agents by the same people: the 95 % percentile bootstrap over people.

    Resampling adds noise to both means, so near agents change places oftener than they would: the interval lies low.

    Args: first, second: f64[N, A], each person's outcome under each agent, by two who answered.

    Raises DataError where they are not of the same people and agents.
    """
    if np.shape(first) != np.shape(second):
        raise DataError(
            f"Tables of {np.shape(first)} and {np.shape(second)}: they must be of the same people and agents."
        )
    rng, n = np.random.default_rng(seed), len(first)
    draws = (rng.integers(n, size=n) for _ in range(resamples))
    found = [kendall(first[rows].mean(axis=0), second[rows].mean(axis=0)) for rows in draws]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return kendall(first.mean(axis=0), second.mean(axis=0)), float(low), float(high)


def halves(outcome: np.ndarray, splits: int = 500, seed: int = 0) -> np.ndarray:
    """f64[splits]: Kendall's tau of the agents' order by one half of the people against the other, in random halves.

    What a simulator's tau can be compared with: no simulator can be asked to agree better than people with people.

    Args: outcome f64[N, A].
    """
    rng, n = np.random.default_rng(seed), len(outcome)
    if n < 2:
        raise DataError(f"{n} people cannot be halved: judge by more.")
    orders = (rng.permutation(n) for _ in range(splits))
    return np.array(
        [kendall(outcome[rows[: n // 2]].mean(axis=0), outcome[rows[n // 2 :]].mean(axis=0)) for rows in orders]
    )
