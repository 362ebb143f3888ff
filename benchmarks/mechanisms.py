"""What each mechanism of the user makes the best agent do: one is silenced at a time, and the greedy oracle runs again.

If silencing a mechanism changed nothing, the mechanism would be decoration. The same users and the same randomness
live once under the world's defaults and once with one mechanism off; what is compared is what the oracle shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.benchmarks.report import Report, Row, plain_table
from jaxreco.evaluation import interval
from jaxreco.registry import make, make_agent
from jaxreco.report.standing import Estimate, words
from jaxreco.rollout import rollout

SILENCED: dict[str, dict[str, float]] = {
    "satiation": {"satiation": 0.0, "creator_satiation": 0.0},
    "novelty": {"novelty": 0.0},
    "trust": {"trust_gain": 0.0, "trust_loss": 0.0, "click_trust": 0.0, "leave_trust": 0.0, "return_trust": 0.0},
    "drift": {"reinforcement": 0.0, "drift_spread": 0.0},
}
MEASURES = {
    "categories": "categories",
    "clickbait": "clickbait",
    "unusual": "unusual",
    "lasting": "lasting",
    "changed": "changed",
    "reward_per_day": "minutes",
}
WHOLE = ("categories", "reward_per_day")  # the others are shown in hundredths
MEANING = {
    "categories": "different categories in a slate",
    "clickbait": "slots with clickbait, per cent",
    "unusual": "slots in a category that the user had under 3 % of its slots from, per cent",
    "lasting": "inner product of the shown items with the nearest lasting taste, in hundredths",
    "changed": "slots that differ from the default life, same user, same turn, per cent",
    "reward_per_day": "engaged, a day",
}


def run(
    *,
    quick: bool = True,
    say: Callable[[str], None] = lambda text: None,
    data: Any = None,
    users: int | None = None,
    turns: int | None = None,
    env: str = "Feed-v0",
    world: dict[str, Any] | None = None,
) -> Report:
    """Run the oracle with and without each mechanism.

    Args:
      quick: 256 users and 64 turns instead of 1,024 and 192. users, turns: instead of these.
      say: called with what is being run. data, env, world: the world, its data and its statics.
    """
    began = time.perf_counter()
    users = users or (256 if quick else 1024)
    turns = turns or (64 if quick else 192)
    made, params = make(env, data=data, **(world or {})) if data else make(env, **(world or {}))
    lives = {}
    for name, changes in {"none": {}, **SILENCED}.items():
        say(f"the oracle without {name}" if changes else "the oracle under the defaults")
        quiet = params.replace(user=params.user.replace(**changes))
        lives[name] = _life(made, quiet, users, turns)
    rows: list[Row] = []
    default = lives["none"]
    for life in lives.values():
        life["changed"] = np.mean(life["slates"] != default["slates"], axis=(0, 2))
    table = plain_table("", *MEASURES.values(), words=1)
    table.padding = (0, 0)  # so that it fits 80 columns
    for name, life in lives.items():
        cells = []
        for measure in MEASURES:
            common: dict[str, Any] = {
                "world": env,
                "agent": "oracle_greedy",
                "protocol": f"no_{name}",
                "n_users": users,
                "n_seeds": 1,
            }
            found = Estimate(*interval(life[measure]))
            rows.append(Row(measure, found.value, found.low, found.high, **common))
            if name != "none":
                found = Estimate(*interval(life[measure] - default[measure]))
                against = "oracle_greedy under no_none"
                rows.append(Row(measure, found.value, found.low, found.high, against=against, **common))
            scale = 1.0 if measure in WHOLE else 100.0
            shown = Estimate(scale * found.value, scale * found.low, scale * found.high)
            cells.append(words(shown, sign=name != "none"))
        table.add_row("default" if name == "none" else f"no {name}", *cells)
    protocol = f"greedy oracle in {env}, {turns} turns, one mechanism off at a time; rows below the default are paired differences from it"
    return Report(
        benchmark="mechanisms",
        protocol=protocol,
        mode="quick" if quick else "full",
        wall_s=time.perf_counter() - began,
        rows=rows,
        notes=[f"{heading}: {MEANING[name]}." for name, heading in MEASURES.items()],
        tables=[table],
    )


def _life(env: Any, params: Any, users: int, turns: int) -> dict[str, np.ndarray]:
    """What the oracle showed: slates i32[T, B, K], and each measure as f64[B]."""
    agent, agent_params = make_agent("oracle_greedy", jax.random.key(0), env, params)

    @jax.jit
    def run(params: Any) -> tuple[Any, Any, Any]:
        ran = rollout(jax.random.key(1), env, params, agent, agent_params, users=users, turns=turns, trajectory=True)
        assert ran.trajectory is not None
        total = ran.metrics.total
        return ran.trajectory.action, ran.state.user.row, total.reward / total.hours * 24.0

    slates, row, reward = (np.asarray(x) for x in run(params))
    catalog = params.catalog
    category = np.asarray(catalog.category)[slates]
    different = np.sort(category, axis=2)
    taste = params.population.traits.taste[row]
    near = jax.lax.map(lambda t: jnp.max(catalog.embedding @ t.T, axis=1), taste)  # [B, I]
    lasting = np.take_along_axis(np.asarray(near).T, slates.transpose(0, 2, 1).reshape(-1, users), axis=0)
    share = np.stack([(category == c).mean(axis=(0, 2)) for c in range(category.max() + 1)])
    unusual = share[category, np.arange(users)[None, :, None]] < 0.03
    return {
        "slates": slates,
        "categories": 1.0 + (np.diff(different, axis=2) != 0).sum(axis=2).mean(axis=0),
        "clickbait": (np.asarray(params.user.clickbait)[slates] > 0).mean(axis=(0, 2)),
        "unusual": unusual.mean(axis=(0, 2)),
        "lasting": lasting.mean(axis=0),
        "reward_per_day": reward,
    }
