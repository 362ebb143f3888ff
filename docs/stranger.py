"""What the best recommender could earn that has to find out whom it serves: Bayes' rule over everybody in the population.

It knows each person of the pool, each mechanism, and all else of the user's mind; from clicks alone it works out which of them this is, and
which of their interests the session is about. No agent knows as much. It does not listen to words.

python docs/stranger.py MovieLens-v0 --data DIR
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

import jaxreco
from jaxreco.base import CLICK, EMPTY, EXAMINED, Catalog, Observation
from jaxreco.evaluation import interval, live
from jaxreco.search import first_max
from jaxreco.struct import Struct
from jaxreco.users import mechanisms as law
from jaxreco.users import mindset

Array = jax.Array


class Guess(Struct):
    """Who it may be, and what was last shown."""

    log_weight: Array  # f32[P, M], of being this person, in a session about this interest
    slate: Array  # i32[K]
    rest: Array  # f32[K], logit of a click on each slot, but for what one's tastes add


@dataclasses.dataclass(frozen=True)
class Stranger:
    """The greedy oracle that does not know who is there.

    Args: slate_size: K. people: the likeliest so many of persons and interests are served. candidates: as of `oracle_greedy`.
    """

    slate_size: int
    people: int = 32
    candidates: int = 128
    privileged: ClassVar[bool] = True
    tile: ClassVar[int] = 16

    def reset(self, matches: Array) -> Guess:
        """Anybody. matches f32[P, M, I], of every person's interests with every item."""
        nothing = jnp.full(self.slate_size, EMPTY, jnp.int32)
        return Guess(jnp.zeros(matches.shape[:2]), nothing, jnp.zeros(self.slate_size))

    def act(self, key: Array, matches: Array, memory: Guess, obs: Observation, catalog: Catalog, truth: Any) -> Any:
        """The slate i32[K] of greatest expected minutes over who it may be."""
        state, params = truth[0].user, truth[1].user
        traits, M = params.population.row(state.row), matches.shape[1]
        who = _after(memory, matches, obs, params)
        weight, likeliest = jax.lax.top_k(who.ravel(), self.people)
        weight = jax.nn.softmax(weight)
        own = jax.vmap(lambda h: _drawn(matches[h // M], h % M, params))(likeliest)  # f32[people, I]

        every = jnp.arange(catalog.n_items)
        liking, met = mindset.liking(state, traits, every, params, catalog)
        mine = _drawn(met.T, state.focus, params)
        sated = params.satiation * state.satiation[catalog.category]
        lure = traits.gullibility * params.clickbait

        def worth(utility: Array, lure: Array, seconds: Array, own: Array) -> Array:
            minutes = jax.vmap(lambda o: mindset.expected_minutes(utility + o, lure, seconds, state.trust, params))(own)
            return weight @ minutes

        first = worth(liking - mine - sated, lure, catalog.duration, own)
        _, near = jax.lax.top_k(first, min(self.candidates, catalog.n_items))
        appeal, _, _ = mindset.appeal_of(state, traits, near, params, catalog)
        tired = params.fatigue * jnp.minimum(state.minutes / state.budget, 3.0)
        rest = appeal.utility - mine[near] - tired - params.satiation * state.satiation[appeal.category]
        creator = catalog.creator[near]

        def choose(cost: Array, _: None) -> tuple[Array, Array]:
            left = worth(rest - cost, appeal.lure, appeal.seconds, own[:, near])
            best = first_max(jnp.where(jnp.isinf(cost), -1.0, left))
            more = params.satiation * 0.7 * (appeal.category == appeal.category[best])
            more = more + params.creator_satiation * (creator == creator[best])
            return (cost + more).at[best].set(jnp.inf), best

        _, chosen = jax.lax.scan(choose, jnp.zeros(near.shape[0]), None, length=self.slate_size)
        slate = near[chosen].astype(jnp.int32)
        clicks = (rest + appeal.lure + params.click_trust * (state.trust - 0.5))[chosen]
        return slate, Guess(who, slate, clicks), None


def _drawn(matches: Array, focus: Array, params: Any) -> Array:
    """f32[I]: what one's tastes add to every item, in a session about an interest. matches f32[M, I]."""
    return params.affinity * jnp.max(law.wanted_now(matches.T, focus, params.craving), axis=-1)


def _after(memory: Guess, matches: Array, obs: Observation, params: Any) -> Array:
    """f32[P, M]: who it may be after the last slate; as a session begins, it may be about anything."""
    people, interests = matches.shape[:2]
    of_slate = matches[:, :, jnp.maximum(memory.slate, 0)]
    each = jax.vmap(lambda focus: jax.vmap(lambda m: _drawn(m, focus, params))(of_slate))(jnp.arange(interests))
    logit = jnp.moveaxis(each, 0, 1) + memory.rest
    clicked, looked = (obs.actions & CLICK) != 0, ((obs.actions & EXAMINED) != 0) & (memory.slate >= 0)
    likelihood = jnp.where(clicked, jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit))
    weight = jax.nn.log_softmax((memory.log_weight + jnp.sum(likelihood * looked, axis=-1)).ravel())
    weight = weight.reshape(people, interests)
    anything = jax.scipy.special.logsumexp(weight, axis=1, keepdims=True) - jnp.log(jnp.float32(interests))
    return jnp.where(obs.session_turn == 0, jnp.broadcast_to(anything, weight.shape), weight)


def main() -> None:
    """Print minutes and sessions in 30 days between those of the best single list and of the oracle that knows, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", nargs="?", default="MovieLens-v0")
    parser.add_argument("--data")
    parser.add_argument("--users", type=int, default=256)
    args = parser.parse_args()
    env, params = jaxreco.make(args.world, **({"data": args.data} if args.data else {}))
    taste = params.user.population.traits.taste
    matches = jnp.einsum("pmd,id->pmi", taste, params.catalog.embedding)
    made = {name: jaxreco.make_agent(name, jax.random.key(0), env, params) for name in ("static", "oracle_greedy")}
    rows = {
        "nobody in particular": made["static"],
        "somebody of the population": (Stranger(env.slate_size), matches),
        "whom it knows": made["oracle_greedy"],
    }
    print("| who is served | minutes in 30 days | sessions |\n|---|--:|--:|")
    means = []
    for name, agent in rows.items():
        life = live(jax.random.key(5), env, params, *agent, users=args.users)
        mean, low, high = interval(life.column("reward"))
        means.append(mean)
        print(f"| {name} | {mean:.0f} ±{(high - low) / 2:.0f} | {life.column('sessions_30d').mean():.1f} |", flush=True)
    print(f"\nScore between the first and the last: {(means[1] - means[0]) / (means[2] - means[0]):.2f}")


if __name__ == "__main__":
    main()
