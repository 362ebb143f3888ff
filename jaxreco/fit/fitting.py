"""Maximum likelihood: epochs over people's events, until those of people held back are no longer better foreseen.

An epoch is one compiled program whose randomness is folded from the key of the fit by the number of the epoch, so that a fit
that goes on from its last checkpoint ends as one that never stopped.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxreco.data.log import Log
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.fit import divergence, feedback, objective
from jaxreco.fit import events as reading
from jaxreco.fit.divergence import Anchor
from jaxreco.fit.events import Events, Scale, Windows
from jaxreco.fit.states import item_at, states_of
from jaxreco.struct import Struct
from jaxreco.users.network import ItemTable, NetworkConfig, UserNetwork, rows_of

Array = jax.Array

MANY_ITEMS, DRAWN = 4096, 1024  # in a larger catalog so many items stand for all of it
ITEM_VECTORS = ("named", "long")  # parameters of `UserNetwork`
STEPS, UPDATES = 100, 2000  # of an epoch, and of a whole fit, about
SMOOTHING = 0.75  # power of the counts by which items are drawn (Mikolov et al. 2013)


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How to fit. Static.

    Args:
      epochs: at most. patience: epochs without a better likelihood of people held back after which the fit ends.
      batch: windows a step. learning_rate: of Adam, falling to 0 by a cosine. weight_decay: of what is learned of items by
        their names, decoupled: what few people took stays near what its content tells.
      horizon: H, events ahead of each moment that are foreseen, each as if it were the next.
      negatives: items drawn to stand for the catalog; 0 for all of it. held_back: share of people who are not fitted to, but
        say when to stop. untold: share of windows whose events are read without what is known of them beside the item.
    """

    epochs: int = 40
    patience: int = 4
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.5
    horizon: int = 10
    negatives: int = 0
    held_back: float = 0.1
    untold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch", "horizon"):
            if getattr(self, name) < 1:
                raise JaxrecoError(f"{name} is {getattr(self, name)}: give at least 1.")
        if self.negatives < 0:
            raise JaxrecoError(f"negatives is {self.negatives}: give 0 for the whole catalog, or a number of items.")
        if not 0.0 < self.held_back < 1.0:
            raise JaxrecoError(f"held_back is {self.held_back}: give a share of people between 0 and 1.")


class Fitter(Struct):
    """The whole state of a fit: with the log, the key and the config it is all that going on needs."""

    params: Any
    opt_state: Any
    best: Any  # the parameters that foresaw best
    best_nll: Array  # f32[], nats an event, of people held back: of the item and what was done with it
    best_items: Array  # f32[], of the item alone
    best_epoch: Array  # i32[]
    update: Array  # i32[], epochs done


class Task(NamedTuple):
    """What a fit is given. Arrays on the device but the windows."""

    network: UserNetwork  # as it begins
    events: Events
    train: Windows
    held_back: Windows
    people: tuple[np.ndarray, np.ndarray]  # i64 each, who is fitted to and who is held back
    content: Array  # f32[I, D]
    known: Array  # bool[I], items that those fitted to took
    share: Array  # f32[I], by which items are drawn
    scale: Scale
    anchor: Anchor | None = None  # what a network that goes on learning is held to


def usual(log: Log, network: dict[str, Any], fit: dict[str, Any]) -> tuple[NetworkConfig, FitConfig]:
    """What suits a log: memories that hold most people's events, and in a large catalog drawn items instead of all.

    Small logs are read in small batches and often, large ones in large batches and seldom: the rate falls to 0 after about
    UPDATES steps, whatever the size.

    Args: network, fit: settings that are given, and stay.
    """
    log = reading.taken(log)
    window = network.get("window", reading.usual_length(log))
    remembered = max(window, reading.usual_length(log, 256, 0.99))
    sizes = NetworkConfig(**{"window": window, "remembered": remembered, **network})
    many = int(np.sum(-(-np.diff(log.bounds) // sizes.window)))  # windows
    batch = fit.get("batch", int(np.clip(2 ** np.floor(np.log2(max(many / STEPS, 1.0))), 8, 64)))
    epochs = int(np.clip(round(UPDATES * batch / many), 5, 40))
    negatives = DRAWN if log.n_items > MANY_ITEMS else 0
    return sizes, FitConfig(**{"batch": batch, "epochs": epochs, "negatives": negatives, **fit})


def prepare(
    key: Array, log: Log, content: np.ndarray | None, network: NetworkConfig, config: FitConfig, seed: int = 0
) -> Task:
    """The task of fitting to a log. The key is consumed: it makes the network's first weights.

    Args: content f32[I, D] of the items, None where there is none. seed: who is held back.

    Raises DataError for a log with too few people or items, or content of other items.
    """
    log = reading.taken(log)
    people = np.flatnonzero(np.diff(log.bounds) > 0)
    parts = reading.parted(people, config.held_back, seed)
    if len(parts[0]) < 2:
        raise DataError(f"{log.name} has {len(people)} people with events, and a fit needs 3: give more.")
    if content is not None and len(content) != log.n_items:
        raise DataError(f"The content is of {len(content):,} items and {log.name} has {log.n_items:,}: encode its own.")
    theirs = log.rows(np.isin(log.user, parts[0]))
    count = counts(log, parts[0])
    content = np.zeros((log.n_items, 0), np.float32) if content is None else np.asarray(content, np.float32)
    heads = feedback.classes(theirs)
    model = UserNetwork(network, log.n_items, content.shape[1], len(reading.FEATURES), heads, rngs=nnx.Rngs(key))
    model.bias[...] = jnp.log((count + 1.0) / (count + 1.0).sum())
    for name, begins in feedback.usual(theirs, heads).items():
        model.feedback[name].usual[...] = jnp.asarray(begins)
    return task_of(log, model, parts, content, count > 0, Scale.of(theirs))


def task_of(
    log: Log,
    model: UserNetwork,
    parts: tuple[np.ndarray, np.ndarray],
    content: np.ndarray,
    known: np.ndarray,
    scale: Scale,
    anchor: Anchor | None = None,
) -> Task:
    """The task of fitting a network, as it is, to a log in which every row is an event (`events.taken`).

    Args: parts: who is fitted to and who is held back. content f32[I, D]. known bool[I]. The others as in `Task`.
    """
    fitted, held = parts
    share = (counts(log, fitted) + 1.0) ** SMOOTHING
    heads = {name: head.classes for name, head in model.feedback.items()}
    return Task(
        network=model,
        events=jax.tree.map(jnp.asarray, reading.events(log, scale, heads)),
        train=reading.windows(log, fitted, model.config.window),
        held_back=reading.windows(log, held, model.config.window),
        people=parts,
        content=jnp.asarray(content),
        known=jnp.asarray(known),
        share=jnp.asarray(share / share.sum()),
        scale=scale,
        anchor=anchor,
    )


def counts(log: Log, people: np.ndarray) -> np.ndarray:
    """f32[I]: how often people i64[V] took each item."""
    return np.bincount(log.item[np.isin(log.user, people)], minlength=log.n_items).astype(np.float32)


def begin(task: Task, config: FitConfig) -> Fitter:
    """The fit before its first epoch."""
    params = nnx.state(task.network)
    return Fitter(
        params=params,
        opt_state=optimiser(config, steps(task, config)).init(params),
        best=params,
        best_nll=jnp.float32(jnp.inf),
        best_items=jnp.float32(jnp.inf),
        best_epoch=jnp.int32(0),
        update=jnp.int32(0),
    )


def with_weights(task: Task, params: Any) -> UserNetwork:
    """The network of a fit with such weights."""
    return nnx.merge(nnx.graphdef(task.network), jax.tree.map(jnp.asarray, params))


def steps(task: Task, config: FitConfig) -> int:
    """Steps of an epoch."""
    return max(1, len(task.train.start) // config.batch)


def optimiser(config: FitConfig, steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) with clipping; a short warm-up, then a cosine to 0. Only items' vectors decay."""
    total = config.epochs * steps
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, 1 + total // 20, 1 + total)
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=config.weight_decay, mask=_of_names)
    )


def _of_names(params: Any) -> Any:
    """Which parameters are vectors of items by their names: bool for each leaf."""
    names = [jax.tree_util.DictKey(name) for name in ITEM_VECTORS]
    return jax.tree_util.tree_map_with_path(lambda path, _: any(name in path for name in names), params)


def epoch(key: Array, task: Task, fitter: Fitter, config: FitConfig) -> tuple[Fitter, dict[str, float]]:
    """One pass over all events, and what people held back did, in nats an event. The key is that of the whole fit."""
    key = jax.random.fold_in(key, fitter.update)
    order_key, step_key = jax.random.split(key)
    number, many = steps(task, config), len(task.train.start)
    order = np.asarray(jax.random.permutation(order_key, many))
    chosen = np.resize(order, number * config.batch).reshape(number, config.batch)
    batches = jax.tree.map(jnp.asarray, task.train.rows(chosen))
    graph = nnx.graphdef(task.network)
    anchor = task.anchor if task.anchor is not None and task.anchor.weight > 0.0 else None
    given = (task.events, task.content, task.known, task.share, anchor)
    params, opt_state, loss = _learn(step_key, graph, fitter.params, fitter.opt_state, batches, given, config)
    figures = held_back(graph, params, task, config)
    nll = figures["held_back_nll"]
    better = nll < fitter.best_nll
    update = fitter.update + 1
    return Fitter(
        params=params,
        opt_state=opt_state,
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), params, fitter.best),
        best_nll=jnp.where(better, nll, fitter.best_nll).astype(jnp.float32),
        best_items=jnp.where(better, figures["nll_item"], fitter.best_items).astype(jnp.float32),
        best_epoch=jnp.where(better, update, fitter.best_epoch),
        update=update,
    ), {"loss": float(loss), **{name: float(each) for name, each in figures.items()}}


def is_over(fitter: Fitter, config: FitConfig) -> bool:
    """Whether all epochs are done, or the last ones brought nothing."""
    done = int(fitter.update)
    return done >= config.epochs or (done - int(fitter.best_epoch) >= config.patience)


def held_back(graph: Any, params: Any, task: Task, config: FitConfig) -> dict[str, Array]:
    """f32[] each: nats an event of people held back, in all and by what they are of, and `kl` where the task has an anchor."""
    nats = foreseen(graph, params, task, task.held_back, config)
    found = {"held_back_nll": sum(nats.values(), jnp.float32(0.0)), **{f"nll_{name}": x for name, x in nats.items()}}
    return found if task.anchor is None else {**found, "kl": moved(graph, params, task, task.held_back, config)}


def foreseen(graph: Any, params: Any, task: Task, windows: Windows, config: FitConfig) -> dict[str, Array]:
    """f32[] each: nats an event of some windows, of which item was taken, over the whole catalog, and of each head."""
    given = (task.events, task.content, task.known)
    mean = _over(windows, config.batch, lambda part: _foreseen(graph, params, part, given, config.horizon))
    return dict(zip(("item", *sorted(task.events.said)), -mean, strict=True))


def moved(graph: Any, params: Any, task: Task, windows: Windows, config: FitConfig) -> Array:
    """f32[]: KL(anchor || now), nats an event of some windows, of the item and what was done with it. The task has an anchor."""
    given = (task.events, task.content, task.known)
    apart = functools.partial(divergence.of_windows, graph, params, task.anchor)
    return jnp.sum(_over(windows, config.batch, lambda part: apart(part, given)))


def _over(windows: Windows, batch: int, summed: Callable[[Windows], tuple[Array, Array]]) -> Array:
    """f32[n]: a mean over the events of windows, of sums f32[n] and numbers f32[] of so many windows at a time."""
    total, number = jnp.float32(0.0), jnp.float32(0.0)
    for at in range(0, len(windows.start), batch):
        chosen = np.arange(at, at + batch)
        part = windows.rows(np.minimum(chosen, len(windows.start) - 1))
        part = part._replace(end=np.where(chosen < len(windows.start), part.end, part.start))  # padding is empty
        found = summed(jax.tree.map(jnp.asarray, part))
        total, number = total + found[0], number + found[1]
    return total / number


# -- compiled ------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("graph", "config"))
def _learn(
    key: Array, graph: Any, params: Any, opt_state: Any, batches: Windows, given: tuple[Any, ...], config: FitConfig
) -> tuple[Any, Any, Array]:
    """All steps of an epoch. batches: leaves [steps, batch]."""
    update = optimiser(config, batches.start.shape[0]).update

    def step(carry: tuple[Any, Any], now: tuple[Array, Windows]) -> tuple[tuple[Any, Any], Array]:
        params, opt_state = carry
        key, batch = now
        loss, gradient = jax.value_and_grad(_loss)(params, graph, key, batch, given, config)
        change, opt_state = update(gradient, opt_state, params)
        return (optax.apply_updates(params, change), opt_state), loss

    keys = jax.random.split(key, batches.start.shape[0])
    (params, opt_state), losses = jax.lax.scan(step, (params, opt_state), (keys, batches))
    return params, opt_state, jnp.mean(losses)


def _loss(params: Any, graph: Any, key: Array, batch: Windows, given: tuple[Any, ...], config: FitConfig) -> Array:
    """f32[]: nats an event, and of the divergence from an anchor, where there is one, its weight times as many."""
    events, content, known, share, anchor = given
    to_items, to_draw, to_people = jax.random.split(key, 3)
    model = nnx.merge(graph, params)
    table = model.items(content, known, to_items)
    drawn = objective.draw(to_draw, share, config.negatives) if config.negatives else None
    keys = jax.random.split(to_people, batch.start.shape[0])
    pair = None if anchor is None else divergence.readings(graph, params, known, anchor, content)

    def person(key: Array, window: Windows) -> tuple[Array, Array]:
        to_tell, key = jax.random.split(key)
        told = (~jax.random.bernoulli(to_tell, config.untold)).astype(jnp.float32)
        found, count = _window(model, table, events, window, config.horizon, drawn, told, key)
        if pair is not None:
            found -= anchor.weight * divergence.of_window(*pair, events, window, told, drawn)
        return found, count

    likelihood, count = jax.vmap(person)(keys, batch)
    return -jnp.sum(likelihood) / jnp.maximum(jnp.sum(count), 1.0)


@functools.partial(jax.jit, static_argnames=("graph", "horizon"))
def _foreseen(graph: Any, params: Any, batch: Windows, given: tuple[Any, ...], horizon: int) -> tuple[Array, Array]:
    """(log-likelihoods f32[1 + heads], number f32[]) of the events of windows [batch]."""
    events, content, known = given
    model = nnx.merge(graph, params)
    table = model.items(content, known)
    person = jax.vmap(lambda window: _window(model, table, events, window, horizon, None, jnp.float32(1.0), None))
    likelihood, count = person(batch)
    return jnp.sum(likelihood, axis=0), jnp.sum(count)


def _window(
    model: UserNetwork,
    table: ItemTable,
    events: Events,
    window: Windows,
    horizon: int,
    drawn: objective.Drawn | None,
    told: Array,
    key: Array | None,
) -> tuple[Array, Array]:
    """(log-likelihoods f32[1 + heads], events f32[]) of one window: the items from each of its moments on, after all before it,
    and what was done with the first of them.

    Of a moment with several events ahead each counts for a part of one.
    """
    at = window.start + jnp.arange(model.config.window)
    there = at < window.end
    states, item = states_of(model, table, events, window, told, key)
    hidden = states[:-1]
    ahead = at[:, None] + jnp.arange(horizon)
    coming = there[:, None] & (ahead < window.last)
    found = objective.log_likelihood(hidden, item_at(events, ahead, coming), table, drawn)
    mean = jnp.sum(jnp.where(coming, found, 0.0), axis=1) / jnp.maximum(jnp.sum(coming, axis=1), 1)
    vector = rows_of(table.vector, jnp.maximum(item, 0))
    done = jax.tree.map(lambda leaf: leaf[jnp.minimum(at, leaf.shape[0] - 1)], events.said)
    said = feedback.log_likelihood(model, hidden, vector, item, done, told)
    return jnp.append(jnp.sum(mean), said), jnp.sum(there).astype(jnp.float32)
