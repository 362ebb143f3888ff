"""What a fitted network needs to live in a world: the items and people of its log, and what each person had said.

Beside the network its folder holds `world.npz` (`fit.world_file`), `people.npz`: by head, what each person said, in sums, and where
it leans, its sessions, and the share of items looked at that is clicked; and `asking.npz`, the decoder of instructions, where the log taught one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco import files
from jaxreco.base import CLICK, EXAMINED
from jaxreco.content import fusion
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.fit import events as reading
from jaxreco.fit import (
    factors,
    feedback,
    fitting,
    folder,
    hindsight,
    mechanistic,
    moments,
    objective,
    world,
    world_file,
)
from jaxreco.fit.factors import Answers
from jaxreco.fit.finish import Finished
from jaxreco.fit.world_file import World
from jaxreco.logs import Interactions
from jaxreco.users.asking import ASKS, SEEN, Asking
from jaxreco.users.factors import Factors, Leaning
from jaxreco.users.heads import EVENT_HEADS, Head
from jaxreco.users.network import UserNetwork
from jaxreco.users.transformer import Gaps, LearnedParams, StandIns, Tally, learned

Array = jax.Array

PEOPLE, ASKING = "people.npz", "asking.npz"
TRUST = 0.6  # mean of its prior
# The network has seen how people tire of what they took and what is new to them; the mechanisms for it would count it twice.
SETTLED = {
    "satiation": 0.0, "creator_satiation": 0.0, "novelty": 0.0, "staleness": 0.0, "length": 0.0, "craving": 0.0,
}  # fmt: skip


class Living(NamedTuple):
    """A learned user and its world."""

    world: World
    params: LearnedParams


def keep(
    into: Path, log: Log, network: UserNetwork, task: fitting.Task, found: Finished, seed: int, its: World | None = None
) -> None:
    """Write the files. Raises DataError for a log of which no world can be made.

    The catalog is told by the people fitted to, as that of the mechanistic user is (`mechanistic.prepare`): agents that were trained
    among the one kind of user can be set before the other.

    Args: log: all of it. network: with its final weights. seed: of what priors draw. its: a world whose items these are, as they are
      there; told anew where it is None.
    """
    taken = reading.taken(log)
    theirs = taken.rows(np.isin(taken.user, task.people[0]))
    catalog, names = world.catalog_of(theirs, np.asarray(task.content)) if its is None else (its.catalog, its.names)
    population, users = world.population_of(taken, catalog, seed)
    params = mechanistic.params_of(taken, catalog, names, population)
    row = np.searchsorted(users, taken.user)
    took = Interactions(row, taken.item, np.ones(len(taken), np.float32), len(users), taken.n_items)
    world_file.save(into, World(catalog, names, params, np.asarray(log.user_ids)[users], took))
    arrays = {
        f"{name}.{part}": np.asarray(leaf)[users]
        for name, tally in said_of(log, found.heads, found.factors).items()
        for part, leaf in _parts(tally).items()
    }
    arrays |= {f"gaps.{part}": values[users] for part, values in moments.visits(log).items()}
    with files.written_whole(into / PEOPLE) as file:
        np.savez(file, allow_pickle=False, click_rate=np.float32(world.click_rate(log)), **arrays)
    asking = hindsight.learn(network, task, log, np.asarray(catalog.category), len(names.categories))
    if asking is not None:
        with files.written_whole(into / ASKING) as file:
            np.savez(file, allow_pickle=False, **{name: np.asarray(leaf) for name, leaf in vars(asking).items()})


def said_of(log: Log, heads: Mapping[str, Head], behind: Mapping[str, Factors]) -> dict[str, Tally]:
    """By head, leaves [U, ...]: what each person of a log said. Args: behind, factors by head of events."""
    classes = {name: head.classes for name, head in heads.items()}
    taken = reading.taken(log)
    found = {}
    for name, said in feedback.said(taken, {n: classes[n] for n in EVENT_HEADS if n in classes}).items():
        outcome = np.asarray(said.outcome)
        ridit = np.where(outcome >= 0, classes[name].ridit[np.maximum(outcome, 0)], 0.0)
        answers = Answers(taken.user, taken.item, ridit, outcome >= 0, taken.n_users)
        _, leaning = factors.foreseen(behind[name], answers, np.asarray(behind[name].usual)[taken.item])
        found[name] = Tally(*_sums(taken, outcome >= 0, ridit), leaning)
    if "click" in classes and log.actions is not None:
        shown = (log.actions & (EXAMINED | CLICK)) != 0
        found["click"] = Tally(*_sums(log, shown, classes["click"].ridit[((log.actions & CLICK) != 0).astype(int)]))
    if "leave" in classes:
        total, count = moments.leaving(log, classes["leave"])
        found["leave"] = Tally(jnp.asarray(total), jnp.asarray(count))
    return found


def _parts(tally: Tally) -> dict[str, Array]:
    """The leaves of a tally, by name."""
    parts = {"total": tally.total, "count": tally.count}
    return parts if tally.leaning is None else {**parts, **vars(tally.leaning)}


def _sums(log: Log, there: np.ndarray, ridit: np.ndarray) -> tuple[Array, Array]:
    total, count = (np.bincount(log.user, x, minlength=log.n_users) for x in (np.where(there, ridit, 0.0), there))
    return jnp.asarray(total, jnp.float32), jnp.asarray(count, jnp.float32)


def _people(source: Path, known: list[str]) -> tuple[dict[str, Tally], Gaps, float]:
    """(what each row of the population said, its sessions, the share of items looked at that is clicked)."""
    parts = {name: tuple(_parts(Tally.nothing(name))) for name in known} | {"gaps": tuple(vars(Gaps.none()))}
    wanted = tuple(f"{name}.{part}" for name, each in parts.items() for part in each)
    kept = fusion.arrays(source / PEOPLE, ("click_rate", *wanted), world_file.AGAIN)
    found = {}
    for name in known:
        total, count, *leaning = (jnp.asarray(kept[f"{name}.{part}"]) for part in parts[name])
        found[name] = Tally(total, count, Leaning(*leaning) if leaning else None)
    gaps = Gaps(*(jnp.asarray(kept[f"gaps.{part}"]) for part in parts["gaps"]))
    return found, gaps, float(kept["click_rate"])


def load(source: Path) -> Living:
    """The learned user of a folder. Raises DataError for one that holds none, or is incomplete or broken."""
    model = folder.load(source)
    said, gaps, click_rate = _people(source, [name for name in model.feedback if name != "gap"])
    its = world_file.load(source, SETTLED)
    table = model.network.items(jnp.asarray(model.content), jnp.asarray(model.known))
    category = np.asarray(its.catalog.category)
    params = learned(
        its.params, model.network, table, stand_ins(table, its.catalog.category), model.feedback, model.factors,
        its.histories(), said, gaps, _asking(source, len(its.names.categories)), category,
    )  # fmt: skip
    scale = {f"value_{name}": model.config["scale"][f"value_{name}"] for name in ("mean", "spread")}
    params = params.replace(**scale)
    return Living(its, params.replace(base=_base(params, its.catalog.popularity, click_rate)))


def _asking(source: Path, n_categories: int) -> Asking | None:
    """The decoder of instructions of a folder; None where it holds none. Raises DataError for one of other categories."""
    if not (source / ASKING).exists():
        return None
    found = fusion.arrays(source / ASKING, ("weight", "bias"))
    if found["weight"].shape != (len(ASKS), SEEN) or found["bias"].shape != (len(ASKS) * n_categories,):
        raise DataError(
            f"{source / ASKING} is not of the {n_categories} categories of its world: fit the user model again."
        )
    return Asking(*(jnp.asarray(found[name], jnp.float32) for name in ("weight", "bias")))


def stand_ins(table: fitting.ItemTable, category: Array) -> StandIns:
    """All items, of categories i32[I], or in a large catalog some that stand for them, always the same."""
    count = table.bias.shape[0]
    if count <= fitting.MANY_ITEMS:
        return StandIns(table.vector, table.bias, category)
    share = jax.nn.softmax(fitting.SMOOTHING * table.bias)
    drawn = objective.draw(jax.random.key(0), share, fitting.DRAWN)
    return StandIns(table.vector[drawn.item], table.bias[drawn.item] - drawn.log_times, category[drawn.item])


def _base(params: LearnedParams, popularity: Array, click_rate: float) -> float:
    """The log-odds of clicking an item drawn evenly, such that of items which come as often as they are taken so many are clicked."""
    begun, item = params.population.traits.begun, jnp.asarray(mechanistic.as_often_as_taken(popularity))
    number = len(begun.level)
    rows = np.random.default_rng(0).choice(number, min(number, len(item)), replace=False)
    lift = jax.vmap(params.lift, (0, 0, None))(begun.hidden[rows], begun.level[rows], item)
    return mechanistic.shift(np.asarray(lift, np.float64) + float(params.click_trust) * (TRUST - 0.5), click_rate)
