"""What each thing that a user could tell is worth to a recommender: the greedy oracle, ignorant of one at a time.

python docs/knowing.py Feed-v0
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import jaxreco
from jaxreco.agents.oracle_greedy import OracleGreedy
from jaxreco.evaluation import interval, live

# What is kept from the oracle: the mindset and its parameters as it then takes them to be.
IGNORANCE: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "what the session is about": lambda user, p: (user, p.replace(craving=0.0)),
    "satiation": lambda user, p: (user.replace(satiation=0.0 * user.satiation), p),
    "the length wanted": lambda user, p: (user.replace(ideal=jnp.log(p.usual_seconds)), p),
    "how tastes have drifted": lambda user, p: (user.replace(interests=p.population.traits.taste[user.row]), p),
    "the wish for the new": lambda user, p: (user, p.replace(staleness=0.0)),
}


@dataclasses.dataclass(frozen=True)
class Ignorant(OracleGreedy):
    """The greedy oracle without some of its knowledge."""

    of: tuple[str, ...] = ()

    def act(self, key: Any, agent_params: None, memory: None, obs: Any, catalog: Any, truth: Any) -> Any:
        """The slate i32[K], best for the mindset as it is taken to be."""
        state, params = truth
        user, user_params = state.user, params.user
        for what in self.of:
            user, user_params = IGNORANCE[what](user, user_params)
        truth = (state.replace(user=user), params.replace(user=user_params))
        return super().act(key, agent_params, memory, obs, catalog, truth)


def main() -> None:
    """Print minutes and sessions in 30 days, the first row with all known, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", nargs="?", default="Feed-v0")
    parser.add_argument("--data")
    parser.add_argument("--users", type=int, default=512)
    args = parser.parse_args()
    env, params = jaxreco.make(args.world, **({"data": args.data} if args.data else {}))
    print("| not known | minutes in 30 days | sessions |\n|---|--:|--:|")
    for of in ((), *((what,) for what in IGNORANCE), tuple(IGNORANCE)):
        life = live(jax.random.key(3), env, params, Ignorant(of=of), None, users=args.users)
        mean, low, high = interval(life.column("reward"))
        name = {0: "nothing", 1: "".join(of)}.get(len(of), "all of these")
        sessions = life.column("sessions_30d").mean()
        print(f"| {name} | {mean:.0f} ±{(high - low) / 2:.0f} | {sessions:.1f} |", flush=True)


if __name__ == "__main__":
    main()
