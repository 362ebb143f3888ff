"""Does an agent do what it is told? At the states where its own users spoke, beside random slates at the same states.

A slate follows if half of its slots satisfy the instruction (`never`: all). The score of an intent is
(agent - random) / (1 - random), because most random slates keep away from what is never to be shown; an intent that
random slates nearly always follow says nothing and is left out of the macro score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.report.standing import Estimate
from jaxreco.rollout import rollout
from jaxreco.struct import Struct
from jaxreco.talk.grammar import INTENTS
from jaxreco.talk.satisfies import Situation, follows

Array = jax.Array

SLATES = 3  # that follow@3 looks at
DRAWS = 8  # random slates at each state
TRIALS = 4  # answers of the agent to the same instruction, for pass^k
FEWEST = 20  # instructions of an intent, below which it is not scored
EASY = 0.98  # random slates that follow, from which on an intent says nothing
RESAMPLES = 200


class Witnessed(Struct):
    """What an agent was asked in a turn, and all that it is judged by. Leaves [T, B, ...] in a trajectory."""

    intent: Array  # i32[]
    target_kind: Array  # i32[]
    target: Array  # i32[]
    share: Array  # f32[C]
    seconds: Array  # f32[]
    age: Array  # f32[]
    peers: Array  # f32[D, M]
    again: Array  # i32[TRIALS, K], what else the agent would have shown


@dataclasses.dataclass(frozen=True)
class Witness:
    """An agent, watched: it acts as it does, and its extras are what it was asked."""

    agent: Any
    env: Any
    privileged: ClassVar[bool] = True

    @property
    def tile(self) -> int:
        """Of the agent."""
        return int(getattr(self.agent, "tile", 64))

    @property
    def overhear(self) -> Callable[..., Any]:
        """Of the agent, if it is one that hears others' words; else there is none."""
        return self.agent.overhear

    def reset(self, agent_params: Any) -> Any:
        """The agent's."""
        return self.agent.reset(agent_params)

    def act(self, key: Array, agent_params: Any, memory: Any, obs: Any, catalog: Any, truth: Any) -> Any:
        """The agent's slate and memory, and what was asked. The key is consumed."""
        state, params = truth
        privileged = getattr(self.agent, "privileged", False)
        more, seen = ({"truth": truth}, catalog) if privileged else ({}, self.env.catalog(state, params))
        keys = jax.random.split(key, 1 + TRIALS)
        act = lambda k: self.agent.act(k, agent_params, memory, obs, seen, **more)  # noqa: E731
        slate, after, _ = act(keys[0])
        moment = self.env.user_model.situation(state.user, params.user, catalog)
        said = state.instruction
        again = jax.vmap(lambda k: act(k)[0])(keys[1:])
        asked = Witnessed(
            said.intent, said.target_kind, said.target, moment.share, moment.seconds, moment.age, moment.peers, again
        )
        return slate, after, asked


@dataclasses.dataclass(frozen=True)
class Cases:
    """Instructions, and how they were answered: arrays [N], one entry an instruction.

    Args: intent; user: who gave it. now, three: the next slate, and all of the next three, followed (three is NaN where
    the session did not last). passed: share of TRIALS that followed. random, random3: the same of random slates.
    """

    intent: np.ndarray
    user: np.ndarray
    now: np.ndarray
    three: np.ndarray
    passed: np.ndarray
    random: np.ndarray
    random3: np.ndarray


def answers(
    key: Array, env: Any, params: Any, agent: Any, agent_params: Any, *, users: int = 256, turns: int = 96
) -> Cases:
    """Every instruction of some lives, and how the agent answered it. The key is consumed."""
    witness = Witness(agent, env)
    key_live, key_random = jax.random.split(key)
    ran = rollout(key_live, env, params, witness, agent_params, users=users, turns=turns, trajectory=True)
    t = ran.trajectory
    assert t is not None

    def judge(key: Array, asked: Witnessed, slates: Array) -> tuple[Array, Array, Array]:
        user = params.user
        moment = Situation(
            params.truth(params.catalog),
            user.near,
            user.tag_category,
            asked.share,
            asked.seconds,
            asked.age,
            asked.peers,
        )
        flag = lambda slate: follows(asked, slate, moment)  # noqa: E731
        drawn = jax.vmap(env.random_slate)(jax.random.split(key, DRAWS * SLATES))
        return jax.vmap(flag)(slates), jax.vmap(flag)(asked.again), jax.vmap(flag)(drawn)

    spoke = np.argwhere(np.asarray(t.extras.intent)[: turns - SLATES + 1] > 0)
    at, user = spoke[:, 0], spoke[:, 1]
    asked = jax.tree.map(lambda x: x[at, user], t.extras)
    slates = jnp.stack([t.action[at + d, user] for d in range(SLATES)], axis=1)
    keys = jax.random.split(key_random, len(at))
    now, passed, drawn = jax.jit(lambda k, a, s: jax.lax.map(lambda x: judge(*x), (k, a, s), batch_size=256))(
        keys, asked, slates
    )
    now, drawn = np.asarray(now), np.asarray(drawn, np.float64).reshape(-1, DRAWS, SLATES)
    left = np.asarray(t.info["left"] | t.terminated | t.truncated)
    lasted = ~np.any([left[at + d, user] for d in range(SLATES - 1)], axis=0)
    return Cases(
        intent=np.asarray(asked.intent),
        user=user,
        now=now[:, 0].astype(float),
        three=np.where(lasted, now.all(axis=1), np.nan),
        passed=np.asarray(passed, np.float64).mean(axis=1),
        random=drawn.mean(axis=(1, 2)),
        random3=drawn.prod(axis=2).mean(axis=1),
    )


def scores(found: Cases, three: bool = False) -> dict[str, Estimate]:
    """The score of every intent that can be scored, and "macro", their mean, with intervals over users."""
    sums, scored = sums_of(found, three)
    n, rng = sums.shape[1], np.random.default_rng(0)
    drawn = np.array(
        [score_of(sums, scored, rng.multinomial(n, np.full(n, 1 / n)).astype(float)) for _ in range(RESAMPLES)]
    )
    value = score_of(sums, scored, np.ones(n))
    found_scores = {
        INTENTS[i]: Estimate(float(value[k]), *(float(x) for x in np.percentile(drawn[:, k], [2.5, 97.5])))
        for k, i in enumerate(scored)
    }
    macro = drawn.mean(axis=1) if scored else np.array([np.nan])
    whole = float(value.mean()) if scored else float("nan")
    return {**found_scores, "macro": Estimate(whole, *(float(x) for x in np.percentile(macro, [2.5, 97.5])))}


def sums_of(found: Cases, three: bool = False) -> tuple[np.ndarray, list[int]]:
    """(sums f64[3, users, intents]: answered, by chance, and asked, of each user and intent; the intents that can be scored)."""
    did = found.three if three else found.now
    chance = found.random3 if three else found.random
    keep = ~np.isnan(did)
    intent, user, did, chance = (x[keep] for x in (found.intent, found.user, did, chance))
    scored = [i for i in range(1, len(INTENTS)) if (intent == i).sum() >= FEWEST and chance[intent == i].mean() < EASY]
    n = int(found.user.max()) + 1 if len(found.user) else 1
    sums = np.zeros((3, n, len(INTENTS)))
    for row, value in zip(sums, (did, chance, np.ones_like(did)), strict=True):
        np.add.at(row, (user, intent), value)
    return sums, scored


def score_of(sums: np.ndarray, scored: list[int], weight: np.ndarray) -> np.ndarray:
    """f64[len(scored)]: (agent - random) / (1 - random) of each intent, of users with weights f64[users]. sums, scored: of `sums_of`."""
    a, r, count = np.einsum("u,kui->ki", weight, sums)
    count = np.maximum(count, 1e-9)
    score: np.ndarray = ((a - r) / np.maximum(count - r, 1e-9))[scored]
    return score


def pass_hat(found: Cases, k: int) -> float:
    """pass^k: probability that k answers to the same instruction all follow it (Yao et al. 2024, tau-bench, eq. 1)."""
    passed = np.round(found.passed * TRIALS).astype(int)
    ways: Callable[[int], int] = lambda n: int(np.prod([n - i for i in range(k)]))  # noqa: E731
    return float(np.mean([ways(int(c)) / ways(TRIALS) for c in passed])) if len(passed) else float("nan")
