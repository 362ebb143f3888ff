"""SASRec fitted to logs: cross-entropy of every next item, sequences cut and thinned anew in every round.

A softmax over all items, or over drawn ones with what that draws corrected for, where Kang & McAuley (2018) have one negative:
that difference is what later work found SASRec to lack (Klenitskiy & Vasilev 2023, arXiv 2309.07602; Petrov & Macdonald 2023,
arXiv 2308.07192).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxreco.data.log import Log
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.fit import objective
from jaxreco.ranking import metrics
from jaxreco.ranking.cases import Cases
from jaxreco.ranking.sasrec import SASRec, Sizes

Array = jax.Array

LEAST = 5  # events that thinning leaves of a longer sequence
MANY_ITEMS, DRAWN = 4096, 512  # in a larger catalog so many items stand for all of it
SMOOTHING = 0.75  # power of the counts by which items are drawn (Mikolov et al. 2013)
AT_ONCE = 512  # histories scored together


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How to fit. Static.

    Args:
      rounds: at most, and steps of each. batch: windows a step. length: items of a window, each followed by what is foreseen.
      learning_rate: of Adam, falling to 0 by a cosine over all rounds. weight_decay: decoupled, of all weights.
      thinned: share of sequences that are thinned in a round: of n items a random m stay, log m uniform from log LEAST to log n,
        so that who took much resembles who took little. negatives: items drawn to stand for the catalog; 0 for all of it.
      patience: rounds without a better hit@1 among 20 of people held back after which the fit ends.
    """

    rounds: int = 20
    steps: int = 60
    batch: int = 128
    length: int = 10
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    thinned: float = 1.0
    negatives: int = 0
    patience: int = 6

    def __post_init__(self) -> None:
        for name in ("rounds", "steps", "batch", "length", "patience"):
            if getattr(self, name) < 1:
                raise JaxrecoError(f"{name} is {getattr(self, name)}: give at least 1.")
        if not 0.0 <= self.thinned <= 1.0:
            raise JaxrecoError(f"thinned is {self.thinned}: give a share between 0 and 1.")
        if self.negatives < 0:
            raise JaxrecoError(f"negatives is {self.negatives}: give 0 for the whole catalog, or a number of items.")


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted network. `I` items."""

    network: SASRec
    content: Array | None  # f32[I, D]
    rounds: int  # after which the weights are taken
    hits: tuple[float, ...]  # hit@1 among 20 of people held back, after each round; empty where there were none

    def scores(self, history: np.ndarray) -> np.ndarray:
        """f32[M, I], the log-probability of each item but for a constant, of histories i32[M, H] (`closed.Fitted.scores`)."""
        return _scores(nnx.split(self.network), self.content, history)


def usual(log: Log, **given: Any) -> FitConfig:
    """What suits a log: long windows where sequences are long, and drawn items in a large catalog. Args: given, settings that stay."""
    sizes = np.diff(log.bounds)
    long = bool(np.median(sizes[sizes > 0]) > 20) if len(log) else False
    shape: dict[str, Any] = (
        {"length": 20, "batch": 64, "rounds": 15, "thinned": 0.7} if long else {"length": 10, "batch": 128}
    )
    return FitConfig(**{**shape, "negatives": DRAWN if log.n_items > MANY_ITEMS else 0, **given})


def fit(
    log: Log,
    sizes: Sizes,
    config: FitConfig,
    *,
    content: np.ndarray | None = None,
    held_back: Cases | None = None,
    stop: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """SASRec of a log in which users' events are in their order.

    Args:
      content: f32[I, D] of the items. held_back: who says when to stop; the best round's weights are taken.
      stop: rounds after which the weights are taken, of a schedule that would go on; for a second fit to more of the same people.

    Raises DataError for a log in which nobody took two items, or content of other items.
    """
    if not np.any(np.diff(log.bounds) >= 2):
        raise DataError(f"{log.name} has nobody with 2 events, so nothing follows anything: give more.")
    if content is not None and len(content) != log.n_items:
        raise DataError(f"The content is of {len(content):,} items and {log.name} has {log.n_items:,}: encode its own.")
    known = None if content is None else jnp.asarray(content, jnp.float32)
    count = np.bincount(log.item, minlength=log.n_items) + 1.0
    network = SASRec(sizes, log.n_items, 0 if known is None else known.shape[1], rngs=nnx.Rngs(seed))
    network.bias[...] = jnp.asarray(np.log(count / count.sum()), jnp.float32)
    share = jnp.asarray(count**SMOOTHING / (count**SMOOTHING).sum(), jnp.float32)
    graph, params = nnx.split(network)
    opt_state, key = optimiser(config).init(params), jax.random.key(seed)
    best, hits, taken = params, [], 0
    for number in range(min(stop or config.rounds, config.rounds)):
        batches = jnp.asarray(batches_of(log, config, np.random.default_rng([seed, number])))
        given = (known, share)
        params, opt_state, loss = _learn(
            jax.random.fold_in(key, number), graph, params, opt_state, batches, given, config
        )
        if held_back is None:
            best, taken = params, number + 1
            continue
        places = metrics.places(_scores((graph, params), known, held_back.history), held_back)
        hits.append(float(metrics.sampled_hit(places).mean()))
        say(f"round {number + 1} of {config.rounds}: {float(loss):.3f} nats, hit@1 {hits[-1]:.3f}")
        if hits[-1] > max(hits[:-1], default=-1.0):
            best, taken = params, number + 1
        elif number + 1 - taken >= config.patience:
            break
    return Fitted(nnx.merge(graph, best), known, taken, tuple(hits))


def optimiser(config: FitConfig) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) with clipping; a short warm-up, then a cosine to 0."""
    total = config.rounds * config.steps
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, 1 + total // 20, 1 + total)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.98, weight_decay=config.weight_decay))


# -- windows -------------------------------------------------------------------------------------------------


def batches_of(log: Log, config: FitConfig, rng: np.random.Generator) -> np.ndarray:
    """i32[steps, batch, T + 1]: windows of a round, all of the log's over and over, in random order."""
    wanted, found = config.steps * config.batch, list[np.ndarray]()
    while sum(len(some) for some in found) < wanted:
        some = windows(*thinned(log, config.thinned, rng), config.length, rng)
        found.append(some[rng.permutation(len(some))])
    return np.concatenate(found)[:wanted].reshape(config.steps, config.batch, -1)


def thinned(log: Log, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(user i32[M], item i32[M]): of a share of the sequences only some events, drawn at random, in their order."""
    size = np.diff(log.bounds)
    most = np.log(np.maximum(size, 1))
    left = np.exp(rng.uniform(np.minimum(np.log(LEAST), most), most)).round()
    left = np.where(rng.random(len(size)) < share, left, size)
    order = np.lexsort((rng.random(len(log)), log.user))  # each user's events shuffled; the first stay
    place = np.arange(len(log)) - np.repeat(log.bounds[:-1], size)
    kept = np.zeros(len(log), bool)
    kept[order] = place < left[log.user]
    return log.user[kept], log.item[kept]


def windows(user: np.ndarray, item: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """i32[N, T + 1]: sequences cut at random places into windows of at most T + 1 items, -1 behind a shorter one.

    A window begins with the item that the one before it ended with, so that every item but a user's first is foreseen once.

    Args: user i32[M], ascending. item i32[M]. length: T.
    """
    first = np.searchsorted(user, user)  # of each row's user
    end = np.searchsorted(user, user, side="right")
    size = end - first
    shift = rng.integers(length, size=user[-1] + 1)[user] * (size > length + 1)  # a short sequence is not cut
    place = np.arange(len(user)) - first
    begins = (place == 0) | ((place + shift) % length == 0)
    start = np.flatnonzero(begins & (place < size - 1))
    until = np.minimum(
        start + length - (place[start] + shift[start]) % length, end[start] - 1
    )  # the last of the window
    at = start[:, None] + np.arange(length + 1)
    return np.where(at <= until[:, None], item[np.minimum(at, len(item) - 1)], -1).astype(np.int32)


# -- compiled ------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("graph", "config"))
def _learn(
    key: Array, graph: Any, params: Any, opt_state: Any, batches: Array, given: tuple[Any, ...], config: FitConfig
) -> tuple[Any, Any, Array]:
    """All steps of a round. batches i32[steps, batch, T + 1]."""
    update = optimiser(config).update

    def step(carry: tuple[Any, Any], now: tuple[Array, Array]) -> tuple[tuple[Any, Any], Array]:
        params, opt_state = carry
        key, batch = now
        value, gradient = jax.value_and_grad(loss)(params, graph, key, batch, given, config.negatives)
        change, opt_state = update(gradient, opt_state, params)
        return (optax.apply_updates(params, change), opt_state), value

    keys = jax.random.split(key, batches.shape[0])
    (params, opt_state), losses = jax.lax.scan(step, (params, opt_state), (keys, batches))
    return params, opt_state, jnp.mean(losses)


def loss(params: Any, graph: Any, key: Array, batch: Array, given: tuple[Any, ...], negatives: int) -> Array:
    """f32[]: nats an item, of windows i32[B, T + 1], each item after the first from those before it. The key is consumed.

    Args: given: (content f32[I, D] or None, f32[I] by which items are drawn). negatives: how many; 0 for the whole catalog.
    """
    content, share = given
    to_draw, to_read = jax.random.split(key)
    network = nnx.merge(graph, params)
    table = network.table(content)
    keys = jax.random.split(to_read, batch.shape[0])
    hidden = jax.vmap(lambda window, key: network.states(table, window, key))(batch[:, :-1], keys)
    hidden, target = hidden.reshape(-1, hidden.shape[-1]), batch[:, 1:].reshape(-1)
    taken = jnp.maximum(target, 0)
    if negatives:
        drawn = objective.draw(to_draw, share, negatives)
        score = jnp.sum(hidden * table.vector[taken], axis=1) + table.bias[taken]
        others = hidden @ table.vector[drawn.item].T + table.bias[drawn.item]
        found = score - objective.log_sum(target[:, None], score[:, None], others, drawn)
    else:
        every = hidden @ table.vector.T + table.bias
        found = jnp.take_along_axis(every, taken[:, None], axis=1)[:, 0] - jax.nn.logsumexp(every, axis=1)
    there = target >= 0
    return -jnp.sum(jnp.where(there, found, 0.0)) / jnp.maximum(jnp.sum(there), 1)


@functools.partial(jax.jit, static_argnames="graph")
def _batch_scores(graph: Any, params: Any, content: Array | None, history: Array) -> Array:
    network = nnx.merge(graph, params)
    table = network.table(content)
    return jax.vmap(lambda one: network.scores(table, one))(history)


def _scores(split: tuple[Any, Any], content: Array | None, history: np.ndarray) -> np.ndarray:
    """f32[M, I], in batches of one size, so that nothing is compiled twice."""
    found = []
    for at in range(0, len(history), AT_ONCE):
        part = history[at : at + AT_ONCE]
        padded = np.concatenate([part, np.full((AT_ONCE - len(part), part.shape[1]), -1, part.dtype)])
        found.append(np.asarray(_batch_scores(*split, content, jnp.asarray(padded)))[: len(part)])
    return np.concatenate(found) if found else np.zeros((0, split[1]["bias"][...].shape[0]), np.float32)
