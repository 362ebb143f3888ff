"""Semantic IDs by an RQ-VAE: an autoencoder whose latent is quantised level by level while it learns.

Lee et al. 2022, "Autoregressive image generation using residual quantization", CVPR; for recommendation Rajput et al. 2023,
"Recommender systems with generative retrieval", NeurIPS. Codebooks start as k-means of the residuals, and entries that nobody
uses are put back among them (Zeghidour et al. 2021, "SoundStream", section III-C). f32 throughout.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxreco.content.semantic_id import SemanticIds, quantisable, quantised, resolved, share_left
from jaxreco.errors import JaxrecoError

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class RqVaeConfig:
    """Sizes and how long to learn. Static.

    Args:
      levels: L. size: K, entries of a level. latent: d, width of what is quantised. hidden: of the encoder; the decoder
        mirrors it. blocks: of `block` steps each, the first `warm` of them without quantisation; after the others but the last
        quarter unused entries are put back. batch: items a step. learning_rate: of Adam, falling to 0 by a cosine.
      commitment: beta, weight of drawing the latent to its entries.
    """

    levels: int = 4
    size: int = 256
    latent: int = 64
    hidden: tuple[int, ...] = (128,)
    blocks: int = 40
    warm: int = 4
    block: int = 50
    batch: int = 1024
    learning_rate: float = 3e-3
    commitment: float = 0.25

    def __post_init__(self) -> None:
        for name in ("levels", "size", "latent", "block", "batch"):
            if getattr(self, name) < 1:
                raise JaxrecoError(f"{name} is {getattr(self, name)}: give at least 1.")
        if not 0 <= self.warm <= self.blocks:
            raise JaxrecoError(f"warm is {self.warm} of {self.blocks} blocks: give at most as many.")


class Quantised(NamedTuple):
    """One latent as entries of the codebooks."""

    codes: Array  # i32[L]
    rests: Array  # f32[L, d], what each level was given to quantise
    entries: Array  # f32[L, d]; their sum stands for the latent


def quantise(latent: Array, books: Array) -> Quantised:
    """The nearest entry of each level to what the levels before left over. latent f32[d], books f32[L, K, d].

    Gradients of `rests` reach the latent alone, those of `entries` the codebooks alone.
    """

    def level(rest: Array, book: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        away = 0.5 * (book**2).sum(axis=1) - book @ rest  # half the squared distance, less half of |rest|^2
        code = jnp.argmin(away).astype(jnp.int32)
        return rest - jax.lax.stop_gradient(book[code]), (code, rest, book[code])

    return Quantised(*jax.lax.scan(level, latent, books)[1])


def straight_through(latent: Array, entries: Array) -> Array:
    """f32[d]: the sum of the entries, with the gradient of the latent (Bengio, Leonard & Courville 2013)."""
    return latent + jax.lax.stop_gradient(entries.sum(axis=0) - latent)


def quantisation_loss(found: Quantised, commitment: float) -> Array:
    """f32[]: entries drawn to what they stand for, and, `commitment` times, that to them (Rajput et al. 2023, section 3.1)."""
    to_rest = found.entries - jax.lax.stop_gradient(found.rests)
    to_entry = found.rests - jax.lax.stop_gradient(found.entries)
    return (to_rest**2).sum() + commitment * (to_entry**2).sum()


class RqVae(nnx.Module):
    """Encoder, codebooks f32[L, K, d] and decoder of items f32[D]."""

    def __init__(self, width: int, config: RqVaeConfig, *, rngs: nnx.Rngs) -> None:
        widths = (width, *config.hidden, config.latent)
        self.encoder = perceptron(widths, rngs)
        self.decoder = perceptron(widths[::-1], rngs)
        self.books = nnx.Param(jnp.zeros((config.levels, config.size, config.latent)))

    def loss(self, item: Array, commitment: float, quantised: bool) -> Array:
        """f32[] of one item f32[D]: squared error of its reconstruction, and what quantisation adds."""
        latent = self.encoder(item)
        if not quantised:
            return ((item - self.decoder(latent)) ** 2).sum()
        found = quantise(latent, self.books[...])
        rebuilt = self.decoder(straight_through(latent, found.entries))
        return ((item - rebuilt) ** 2).sum() + quantisation_loss(found, commitment)


def perceptron(widths: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers: list[Callable[[Array], Array]] = []
    for before, after in itertools.pairwise(widths):
        layers += [nnx.relu] * bool(layers) + [nnx.Linear(before, after, rngs=rngs)]
    return nnx.Sequential(*layers)


def revived(key: Array, books: Array, latents: Array) -> Array:
    """Codebooks f32[L, K, d] with each entry that none of latents f32[N, d] uses put on a residual drawn among theirs."""

    def level(rests: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
        key, book = given
        code = jax.vmap(lambda rest: quantise(rest, book[None]).codes[0])(rests)
        used = jnp.zeros(len(book), bool).at[code].set(True)
        book = jnp.where(used[:, None], book, rests[jax.random.randint(key, (len(book),), 0, len(rests))])
        code = jax.vmap(lambda rest: quantise(rest, book[None]).codes[0])(rests)
        return rests - book[code], book

    return jax.lax.scan(level, latents, (jax.random.split(key, len(books)), books))[1]


def train(
    key: Array, items: np.ndarray, config: RqVaeConfig, told: Callable[[int, int], None] | None = None
) -> tuple[RqVae, list[float]]:
    """An RQ-VAE of items f32[I, D], and its mean loss in each block. The key is consumed.

    Args: told, called with the blocks done and all of them.
    """
    start, draw = jax.random.split(key)
    model = RqVae(items.shape[1], config, rngs=nnx.Rngs(start))
    graph, params = nnx.split(model)
    memory = _adam(config).init(params)
    data, losses = jnp.asarray(items, jnp.float32), []
    for done in range(config.blocks):
        if done == config.warm:
            _start_codebooks(model, data, config)
        batches, put = jax.random.split(jax.random.fold_in(draw, done))
        quantised = done >= config.warm
        params, memory, loss = _block(config, graph, quantised, nnx.state(model), memory, data, batches)
        nnx.update(model, params)
        losses.append(float(loss))
        if config.warm <= done < config.blocks * 3 // 4:
            model.books[...] = revived(put, model.books[...], _latents(model, data))
        if told is not None:
            told(done + 1, config.blocks)
    if config.warm == config.blocks:  # also without any learning
        _start_codebooks(model, data, config)
    return model, losses


def semantic_ids(
    points: np.ndarray, config: RqVaeConfig, seed: int = 0, told: Callable[[int, int], None] | None = None,
    known: np.ndarray | None = None,
) -> SemanticIds:  # fmt: skip
    """Codes of points f32[I, D] by an RQ-VAE trained on those that are `known`, bool[I]; its codebooks are of its latent.

    `error` is of the point that the decoder makes of the code, so that it compares with that of `residual_kmeans`.

    Raises DataError for points that are not finite, or more than codes can tell apart.
    """
    points, known = quantisable(points, config.levels, config.size, known)
    centre = points[known].mean(axis=0)
    scale = max(float(np.sqrt(((points[known] - centre) ** 2).sum(axis=1).mean())), 1e-12)
    items = (points - centre) / scale
    model, _ = train(jax.random.key(seed), items[known], config, told)
    latents, codes, rebuilt = (np.asarray(found) for found in _described(model, jnp.asarray(items)))
    books = np.asarray(model.books[...])
    error = share_left(points, points - centre - scale * rebuilt)
    return SemanticIds(resolved(codes, latents, books), books, codes, error, known)


def _adam(config: RqVaeConfig) -> optax.GradientTransformation:
    steps = max(config.blocks * config.block, 1)
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(config.learning_rate, steps))
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _block(
    config: RqVaeConfig, graph: Any, quantised: bool, params: Any, memory: Any, data: Array, key: Array
) -> tuple[Any, Any, Array]:
    """`config.block` steps from parameters and the optimiser's memory: both afterwards, and the mean loss."""

    def loss(params: Any, batch: Array) -> Array:
        model = nnx.merge(graph, params)
        return jax.vmap(lambda item: model.loss(item, config.commitment, quantised))(batch).mean()

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Array]:
        params, memory = carry
        batch = data[jax.random.randint(key, (config.batch,), 0, len(data))]
        value, gradient = jax.value_and_grad(loss)(params, batch)
        change, memory = _adam(config).update(gradient, memory)
        return (optax.apply_updates(params, change), memory), value

    (params, memory), losses = jax.lax.scan(step, (params, memory), jax.random.split(key, config.block))
    return params, memory, losses.mean()


@nnx.jit
def _latents(model: RqVae, items: Array) -> Array:
    return model.encoder(items)


@nnx.jit
def _described(model: RqVae, items: Array) -> tuple[Array, Array, Array]:
    """(latents f32[I, d], codes i32[I, L], items rebuilt from their codes f32[I, D])."""
    latents = model.encoder(items)
    found = jax.vmap(lambda latent: quantise(latent, model.books[...]))(latents)
    return latents, found.codes, model.decoder(found.entries.sum(axis=1))


def _start_codebooks(model: RqVae, data: Array, config: RqVaeConfig) -> None:
    """Codebooks as residual k-means of the latents; with fewer latents than entries some entries are copies."""
    rng = np.random.default_rng(0)
    books, _, _ = quantised(np.asarray(_latents(model, data)), config.levels, config.size, rng, rounds=10)
    model.books[...] = jnp.asarray(np.stack([book[np.arange(config.size) % len(book)] for book in books]))
