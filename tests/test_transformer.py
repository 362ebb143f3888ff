"""The transformer's two ways, turn by turn with a cache and all turns at once, are one function."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreco.nn.transformer import Block
from jaxreco.ring import Ring

Array = jax.Array
WIDTH, HEADS, LENGTH = 8, 2, 9


def a_block(window: int, seed: int = 0) -> Block:
    """A block none of whose weights is 0: fresh ones add nothing, and nothing would be tested."""
    block = Block(WIDTH, HEADS, window, rngs=nnx.Rngs(seed))
    graph, state = nnx.split(block)
    leaves, tree = jax.tree.flatten(state)
    rng = np.random.default_rng(seed)
    leaves = [jnp.asarray(rng.normal(scale=0.5, size=x.shape), x.dtype) for x in leaves]
    return nnx.merge(graph, jax.tree.unflatten(tree, leaves))


def tokens(length: int = LENGTH, seed: int = 1) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(length, WIDTH)), jnp.float32)


@jax.jit
def one_step(block: Block, x: Array, cache: Ring) -> tuple[Array, Ring]:
    return block.step(x, cache)


@jax.jit
def sequence(block: Block, x: Array, cache: Ring, episode: Array) -> Array:
    return block.sequence(x, cache, episode)


def by_steps(block: Block, x: Array, cache: Ring, episode: Any = None) -> tuple[Array, Ring]:
    """Turn by turn; the cache is cleared where an episode begins."""
    episode = np.zeros(len(x), int) if episode is None else np.asarray(episode)
    out, before = [], 0
    for token, now in zip(x, episode, strict=True):
        cache = cache.clear(bool(now != before))
        y, cache = one_step(block, token, cache)
        out.append(y)
        before = now
    return jnp.stack(out), cache


@pytest.mark.parametrize("window", [1, 4, LENGTH, 20])
def test_steps_are_the_sequence(window: int) -> None:
    block, x = a_block(window), tokens()
    stepped, _ = by_steps(block, x, block.empty_cache())
    whole = sequence(block, x, block.empty_cache(), jnp.zeros(LENGTH, jnp.int32))
    chex.assert_shape([stepped, whole], (LENGTH, WIDTH))
    np.testing.assert_allclose(stepped, whole, atol=1e-5)


@pytest.mark.parametrize("before", [2, 7])
@pytest.mark.parametrize("window", [4, 12])
def test_steps_are_the_sequence_after_a_filled_cache(window: int, before: int) -> None:
    block, x = a_block(window), tokens()
    _, cache = by_steps(block, tokens(before, seed=2), block.empty_cache())
    stepped, _ = by_steps(block, x, cache)
    whole = sequence(block, x, cache, jnp.zeros(LENGTH, jnp.int32))
    np.testing.assert_allclose(stepped, whole, atol=1e-5)
    alone = sequence(block, x, block.empty_cache(), jnp.zeros(LENGTH, jnp.int32))
    assert float(jnp.max(jnp.abs(whole[0] - alone[0]))) > 1e-3  # what was before is seen


@pytest.mark.parametrize("episode", [[0, 0, 0, 1, 1, 1, 2, 2, 2], [1] * 9, [0] + [1] * 8, [0] * 8 + [1]])
@pytest.mark.parametrize("window", [3, 12])
def test_an_episode_sees_nothing_of_the_one_before(window: int, episode: list[int]) -> None:
    block, x = a_block(window), tokens()
    _, cache = by_steps(block, tokens(5, seed=2), block.empty_cache())
    stepped, _ = by_steps(block, x, cache, episode)
    whole = sequence(block, x, cache, jnp.asarray(episode))
    np.testing.assert_allclose(stepped, whole, atol=1e-5)
    first = episode.index(1)
    alone, _ = by_steps(block, x[first : first + 1], block.empty_cache())
    np.testing.assert_allclose(whole[first], alone[0], atol=1e-5)


def test_the_sequence_differentiates() -> None:
    block, x = a_block(4), tokens()
    grad = jax.grad(lambda x: jnp.sum(sequence(block, x, block.empty_cache(), jnp.zeros(LENGTH, jnp.int32)) ** 2))(x)
    chex.assert_tree_all_finite(grad)
    chex.assert_shape(grad, x.shape)


def test_a_later_token_changes_nothing_before_it() -> None:
    block, x, none = a_block(6), tokens(), jnp.zeros(LENGTH, jnp.int32)
    one = sequence(block, x, block.empty_cache(), none)
    other = sequence(block, x.at[5, 0].add(3.0), block.empty_cache(), none)
    np.testing.assert_array_equal(one[:5], other[:5])
    assert (np.abs(one - other)[5:].max(axis=1) > 1e-4).all()


def test_the_window_counts_the_token_itself() -> None:
    block, x, none = a_block(3), tokens(), jnp.zeros(LENGTH, jnp.int32)
    changed = sequence(block, x.at[2, 0].add(3.0), block.empty_cache(), none) - sequence(
        block, x, block.empty_cache(), none
    )
    moved = np.abs(np.asarray(changed)).max(axis=1) > 1e-5
    np.testing.assert_array_equal(moved, [False, False, True, True, True, False, False, False, False])


def test_a_fresh_block_adds_nothing() -> None:
    block = Block(WIDTH, HEADS, 4, rngs=nnx.Rngs(0))
    x = tokens()
    np.testing.assert_allclose(sequence(block, x, block.empty_cache(), jnp.zeros(LENGTH, jnp.int32)), x, atol=1e-6)


def test_width_must_be_a_multiple_of_heads() -> None:
    with pytest.raises(ValueError, match="not a multiple of heads 3"):
        Block(8, 3, 4, rngs=nnx.Rngs(0))
