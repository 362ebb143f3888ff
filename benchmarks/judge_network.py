"""The judge that reads: a small transformer over the slots of a unit, trained until people left out are no longer better told.

Its parts are those of the learned network (`jaxreco.nn.transformer`).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxreco.benchmarks.responses_drawn import Did, Slots
from jaxreco.fit.quality import auc
from jaxreco.nn.transformer import Block

Array = jax.Array

LONGEST = 32  # slots of a unit that are read; of a longer one the clicked ones and the first others
WIDTH, LAYERS, HEADS = 32, 2, 2
BATCH, EPOCHS, PATIENCE = 64, 20, 3
LEFT_OUT = 0.2  # share of the people trained on who say when to stop
RATE, DECAY, DROPOUT = 2e-3, 0.05, 0.1


class Tokens(NamedTuple):
    """Slots as the network reads them. `U` units of `T` slots."""

    about: np.ndarray  # f32[U, T, F]
    there: np.ndarray  # bool[U, T]


def tokens(slots: Slots, did: Did) -> Tokens:
    """Of every unit, in order."""
    _, unit = np.unique(slots.unit, return_inverse=True)
    order = np.lexsort((np.arange(len(unit)), ~did.clicked, unit))
    rank = np.empty(len(unit), np.int64)
    rank[order] = np.arange(len(unit)) - np.searchsorted(unit[order], unit[order])
    at = np.flatnonzero(rank < LONGEST)
    at = at[np.argsort(unit[at], kind="stable")]
    of = unit[at]
    place = np.arange(len(at)) - np.searchsorted(of, of)
    number = unit.max() + 1
    columns = (
        did.clicked, np.log1p(slots.position), slots.position / slots.size, np.log(slots.size), slots.usual,
        np.log1p(slots.seen), slots.shown, np.log1p(did.watch) / 4.0, np.diff(slots.slate, prepend=-1) != 0,
    )  # fmt: skip
    about = np.zeros((number, LONGEST, len(columns)), np.float32)
    about[of, place] = np.stack([np.asarray(x, np.float32)[at] for x in columns], axis=1)
    return Tokens(about, np.arange(LONGEST) < np.bincount(of, minlength=number)[:, None])


class Judge(nnx.Module):
    """f32[T, F] -> f32[]: the logit of being simulated. Unbatched."""

    def __init__(self, features: int, *, rngs: nnx.Rngs) -> None:
        self.enter = nnx.Linear(features, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(WIDTH, HEADS, LONGEST, dropout=DROPOUT, rngs=rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.leave = nnx.Linear(2 * WIDTH, 1, rngs=rngs)

    def __call__(self, about: Array, there: Array, key: Array | None = None) -> Array:
        """What is not there is behind what is, so that nothing there sees it. The key is consumed; it drops out."""
        keys = [None] * LAYERS if key is None else list(jax.random.split(key, LAYERS))
        x = self.enter(about)
        for block, each in zip(self.blocks, keys, strict=True):
            x = block.whole(x, 0, each)
        x = self.norm(x)
        mean = jnp.sum(jnp.where(there[:, None], x, 0.0), axis=0) / jnp.maximum(jnp.sum(there), 1)
        clicked = there & (about[:, 0] > 0.0)  # about its mean
        of_clicked = jnp.sum(jnp.where(clicked[:, None], x, 0.0), axis=0) / jnp.maximum(jnp.sum(clicked), 1)
        return self.leave(jnp.concatenate([mean, of_clicked]))[0]


def judged(shown: Tokens, simulated: np.ndarray, person: np.ndarray, train: np.ndarray, seed: int) -> np.ndarray:
    """f64[N]: the logit of every unit, by a network that was trained on those of bool[N].

    Args: simulated bool[N], the truth. person i[N].
    """
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.unique(person[train]))
    back = train & np.isin(person, people[: max(1, int(LEFT_OUT * len(people)))])
    rows = np.flatnonzero(train & ~back)
    known = shown.about[shown.there]
    about = (shown.about - known.mean(axis=0)) / np.maximum(known.std(axis=0), 1e-6)
    model = Judge(about.shape[-1], rngs=nnx.Rngs(seed))
    graph, params = nnx.split(model)
    steps = max(1, len(train) // BATCH)  # the same for all folds, so that it is compiled once
    state = _optimiser(steps).init(params)
    data = (jnp.asarray(about), jnp.asarray(shown.there), jnp.asarray(simulated, jnp.float32))
    best, found, since = -1.0, np.zeros(len(train)), 0
    for epoch in range(EPOCHS):
        order = np.concatenate([rng.permutation(rows) for _ in range(-(-steps * BATCH // len(rows)))])
        batches = jnp.asarray(order[: steps * BATCH].reshape(steps, BATCH))
        key = jax.random.fold_in(jax.random.key(seed), epoch)
        params, state = _learn(graph, params, state, key, batches, data)
        now = np.asarray(_read(graph, params, *data[:2]), np.float64)
        told = auc(now[back], simulated[back])
        best, found, since = (told, now, 0) if told > best else (best, found, since + 1)
        if since >= PATIENCE:
            break
    return found


def _optimiser(steps: int) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(0.0, RATE, steps, EPOCHS * steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=DECAY))


@functools.partial(jax.jit, static_argnums=0)
def _learn(graph: Any, params: Any, state: Any, key: Array, batches: Array, data: Any) -> tuple[Any, Any]:
    """One epoch. Args: batches i32[steps, BATCH]."""
    about, there, simulated = data
    update = _optimiser(batches.shape[0]).update

    def loss(params: Any, key: Array, chosen: Array) -> Array:
        model = nnx.merge(graph, params)
        logit = jax.vmap(model)(about[chosen], there[chosen], jax.random.split(key, BATCH))
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logit, simulated[chosen]))

    def step(carry: Any, now: Any) -> tuple[Any, None]:
        params, state = carry
        change, state = update(jax.grad(loss)(params, *now), state, params)
        return (optax.apply_updates(params, change), state), None

    keys = jax.random.split(key, batches.shape[0])
    return jax.lax.scan(step, (params, state), (keys, batches))[0]


@functools.partial(jax.jit, static_argnums=0)
def _read(graph: Any, params: Any, about: Array, there: Array) -> Array:
    """f32[N]."""
    model = nnx.merge(graph, params)
    return jax.lax.map(lambda one: model(*one), (about, there), batch_size=256)
