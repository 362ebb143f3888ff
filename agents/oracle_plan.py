"""Privileged: plays a few slates through the simulator, each several times with fresh luck, and shows the best.

The candidates are greedy lists under different ideas of what is worth showing. Each list is shown page after page for
some turns of a copy of this user's life (`jaxreco.branch` for the first, the environment itself after that), and is
judged by what was earned less what the time would have earned anyway (the average-reward criterion: Puterman 1994,
"Markov Decision Processes", ch. 8). It sees that clickbait drives people away, which the greedy oracle does not.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreco.base import Catalog, EnvParams, EnvState, Observation
from jaxreco.env import branch
from jaxreco.rollout import rollout
from jaxreco.search import first_max
from jaxreco.struct import Struct
from jaxreco.users import mindset

Array = jax.Array

# Ideas of what is worth showing: weight of the lure, power of the duration, weight of satiation to come.
STYLES = ((1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.5, 1.0), (0.0, 0.0, 1.0), (0.0, 0.5, 2.0))
TRIAL_TURNS, TRIAL_USERS = 64, 128  # to find out what an hour earns


class Params(Struct):
    """What an hour of a user's time earns on average under the first style, minutes."""

    rate: Array  # f32[]


@dataclasses.dataclass(frozen=True)
class OraclePlan:
    """Best of several slates by simulated lives.

    Args:
      env: the world, static: it is what the lives are played in.
      rollouts: N, lives of each candidate, with fresh keys. depth: turns of each.
      candidates: items, best at first sight, among which slates are composed.
    """

    env: Any = None
    rollouts: int = 4
    depth: int = 3
    candidates: int = 128
    privileged: ClassVar[bool] = True
    tile: ClassVar[int] = 64

    def bind(self, env: Any) -> OraclePlan:
        """The oracle of a world."""
        return dataclasses.replace(self, env=env)

    def init(self, key: Array, env: Any, catalog: Catalog, truth: EnvParams) -> Params:
        """Measure what an hour earns; a gap beyond the horizon counts up to it. The key is consumed.

        Raises JaxrecoError for users without a mindset.
        """
        mindset.read_by(self, truth.user)
        greedy, nothing = dataclasses.replace(self, env=env, rollouts=0), Params(jnp.float32(0.0))
        ran = rollout(key, env, truth, greedy, nothing, users=TRIAL_USERS, turns=TRIAL_TURNS, trajectory=True)
        hours = jnp.minimum(ran.trajectory.info["hours"], truth.horizon_hours)  # type: ignore[union-attr]
        return Params(rate=jnp.sum(ran.trajectory.reward) / jnp.sum(hours))  # type: ignore[union-attr]

    def reset(self, agent_params: Params) -> None:
        """No memory: the user's is read."""

    def act(
        self, key: Array, agent_params: Params, memory: None, obs: Observation, catalog: Catalog, truth: Any
    ) -> tuple[Array, None, None]:
        """The slate i32[K]. truth = (EnvState, EnvParams). The key is consumed."""
        state, params = truth
        pages = self.depth if self.rollouts else 1
        styles = jnp.asarray(STYLES if self.rollouts else STYLES[:1])
        lists = self._compose(state, params, catalog, styles, pages * obs.slate.shape[0])
        lists = lists.reshape(styles.shape[0], pages, -1)  # [M, depth, K]
        if not self.rollouts:
            return lists[0, 0], None, None
        keys = jax.random.split(key, self.rollouts)
        worth = jax.vmap(lambda k: self._play(k, state, params, lists, agent_params.rate))(keys)
        return lists[first_max(jnp.mean(worth, axis=0)), 0], None, None

    def _compose(self, state: EnvState, params: EnvParams, catalog: Catalog, styles: Array, length: int) -> Array:
        """i32[M, length]: a greedy list of each style f32[M, 3]."""
        user, of_user = state.user, params.user
        traits = of_user.population.row(user.row)
        first, _ = mindset.liking(user, traits, jnp.arange(catalog.n_items), of_user, catalog)
        first = first - of_user.satiation * user.satiation[catalog.category]
        worth = mindset.expected_minutes(first, jnp.zeros_like(first), catalog.duration, user.trust, of_user)
        _, near = jax.lax.top_k(worth, min(self.candidates, catalog.n_items))
        appeal, _, _ = mindset.appeal_of(user, traits, near, of_user, catalog)
        tired = of_user.fatigue * jnp.minimum(user.minutes / user.budget, 3.0)
        utility = appeal.utility - tired - of_user.satiation * user.satiation[appeal.category]
        creator = catalog.creator[near]

        def listed(style: Array) -> Array:
            lure, power, sate = style

            def choose(cost: Array, _: None) -> tuple[Array, Array]:
                seconds = 60.0 * (appeal.seconds / 60.0) ** power
                left = mindset.expected_minutes(utility - cost, lure * appeal.lure, seconds, user.trust, of_user)
                best = first_max(jnp.where(jnp.isinf(cost), -1.0, left))
                sated = of_user.satiation * 0.7 * (appeal.category == appeal.category[best])
                sated = sated + of_user.creator_satiation * (creator == creator[best])
                return (cost + sate * sated).at[best].set(jnp.inf), near[best]

            return jax.lax.scan(choose, jnp.zeros(near.shape[0]), None, length=length)[1]

        return jax.vmap(listed)(styles).astype(jnp.int32)

    def _play(self, key: Array, state: EnvState, params: EnvParams, lists: Array, rate: Array) -> Array:
        """f32[M]: reward of one life of each list i32[M, depth, K], less what its hours earn on average."""
        keys = jax.random.split(key, self.depth)
        step = branch(keys[0], self.env, params, state, lists[:, 0])

        def worth(step: Any) -> Array:
            # A gap beyond the horizon costs what is left of the time, not more.
            left = jnp.maximum(params.horizon_hours - (step.state.clock - step.info["hours"]), 0.0)
            return step.reward - rate * jnp.minimum(step.info["hours"], left)

        total, over = worth(step), jnp.zeros(lists.shape[0], bool)
        for turn in range(1, self.depth):
            over = over | step.terminated | step.truncated
            move = jax.vmap(lambda s, page, k=keys[turn]: self.env.step_env(k, s, page, params))
            step = move(step.state, lists[:, turn])
            total = total + jnp.where(over, 0.0, worth(step))
        return total


def make(rollouts: int = 4, depth: int = 3, candidates: int = 128) -> OraclePlan:
    """The planning oracle."""
    return OraclePlan(rollouts=rollouts, depth=depth, candidates=candidates)
