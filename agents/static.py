"""Privileged: the best single list for everybody, shown page after page. No personalisation at all.

Whatever earns more than this list is personalisation. It is built from the population's true tastes: items are
taken one by one for the greatest mean gain over a sample of users, who tire of categories as the list grows;
of several such lists (by minutes or by enjoyment, of several lengths) the one that earns most in the world is kept.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import Catalog, EnvParams, Observation
from jaxreco.search import first_max
from jaxreco.struct import Struct
from jaxreco.users import mindset

Array = jax.Array

LENGTHS = (60, 120, 240)
SAMPLE = 512  # users whose tastes are averaged, and who try the lists
TRIAL_TURNS = 128  # turns that they try each for


class Playlist(Struct):
    """A list and how much of it is shown before it begins again."""

    order: Array  # i32[N]
    length: Array  # i32[], at most N


@dataclasses.dataclass(frozen=True)
class Static:
    """Pages through one list, the same for every user."""

    privileged: ClassVar[bool] = True

    def init(self, key: Array, env: Any, catalog: Catalog, truth: EnvParams) -> Playlist:
        """Build lists from the true tastes and keep the one that earns most. The key is consumed.

        Raises JaxrecoError for users without a mindset.
        """
        mindset.read_by(self, truth.user)
        longest = min(max(LENGTHS), catalog.n_items)
        lengths = sorted({min(n, longest) for n in LENGTHS})
        key_sample, key_trial = jax.random.split(key)
        candidates = []
        for by_minutes in (True, False):
            order = build(key_sample, truth.user, catalog, longest, by_minutes)
            candidates += [Playlist(order=order, length=jnp.int32(n)) for n in lengths]
        earned = [_trial(key_trial, truth, c, env, self) for c in candidates]
        return candidates[earned.index(max(earned))]

    def reset(self, agent_params: Playlist) -> Array:
        """i32[], where in the list the next page begins."""
        return jnp.int32(0)

    def act(
        self, key: Array, agent_params: Playlist, memory: Array, obs: Observation, catalog: Catalog, truth: Any
    ) -> tuple[Array, Array, None]:
        """The next page i32[K] of the list. Neither the key nor the truth is needed."""
        size = obs.slate.shape[0]
        slate = agent_params.order[(memory + jnp.arange(size)) % agent_params.length]
        return slate, (memory + size) % agent_params.length, None


@functools.partial(jax.jit, static_argnames=("length", "by_minutes"))
def build(key: Array, params: Any, catalog: Catalog, length: int, by_minutes: bool) -> Array:
    """i32[length]: items in the order of their mean worth to a sample of users, given those before. The key is consumed.

    Args:
      by_minutes: gain is expected minutes, else expected share of the item that is watched (which long items do
        not win by being long).
    """
    population = params.population
    rows = jax.vmap(population.pick)(jax.random.uniform(key, (SAMPLE,)))
    everything = jnp.arange(catalog.n_items)
    utility = jax.lax.map(lambda row: params.usual_appeal(row, catalog), rows)  # [J, I]
    lure = population.traits.gullibility[rows][:, None] * params.clickbait
    trust = population.traits.trust[rows][:, None]
    seconds = catalog.duration if by_minutes else jnp.full_like(catalog.duration, 60.0)
    fade = 0.97  # what is left of a page's satiation some items later: satiation recovers between sessions

    def choose(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        sated, taken = carry
        left = utility - params.satiation * sated[:, catalog.category]
        worth = jnp.mean(mindset.expected_minutes(left, lure, seconds, trust, params), axis=0)
        best = first_max(jnp.where(taken, -1.0, worth))
        drawn = jax.nn.sigmoid(left[:, best])
        sated = (fade * sated).at[:, catalog.category[best]].add(0.25 + 0.5 * drawn)
        return (sated, taken | (everything == best)), best

    n_categories = catalog.n_items  # an upper bound would do; categories are few
    n_categories = min(n_categories, 512)
    start = (jnp.zeros((SAMPLE, n_categories)), jnp.zeros(catalog.n_items, bool))
    return jax.lax.scan(choose, start, None, length=length)[1].astype(jnp.int32)


def _trial(key: Array, params: EnvParams, playlist: Playlist, env: Any, agent: Static) -> float:
    """Mean reward per user-hour of a list. The key is consumed."""
    from jaxreco.evaluation import live

    tally = live(key, env, params, agent, playlist, users=SAMPLE, max_turns=TRIAL_TURNS).tally
    return float(np.sum(tally.reward) / np.sum(tally.hours))


def make() -> Static:
    """The static list."""
    return Static()
