"""The learned user's network: what it reads, by hand and by plain loops, and what it must not see."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreco.errors import JaxrecoError
from jaxreco.nn.transformer import Block
from jaxreco.users.network import ItemTable, NetworkConfig, Past, UserNetwork

Array = jax.Array
CONFIG = NetworkConfig(width=8, layers=2, heads=2, window=6, remembered=5, dropout=0.3, unnamed=0.5)
ITEMS, CONTENT, FEATURES, LENGTH = 12, 3, 4, 6


def shaken(module: Any, seed: int = 0) -> Any:
    """The module with none of its weights 0: fresh blocks add nothing, and nothing would be tested."""
    graph, state = nnx.split(module)
    leaves, tree = jax.tree.flatten(state)
    rng = np.random.default_rng(seed)
    leaves = [jnp.asarray(rng.normal(scale=0.5, size=x.shape), x.dtype) for x in leaves]
    return nnx.merge(graph, jax.tree.unflatten(tree, leaves))


@pytest.fixture(scope="module")
def network() -> UserNetwork:
    return shaken(UserNetwork(CONFIG, ITEMS, CONTENT, FEATURES, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def content() -> Array:
    return jnp.asarray(np.random.default_rng(5).normal(size=(ITEMS, CONTENT)), jnp.float32)


@pytest.fixture(scope="module")
def table(network, content) -> ItemTable:
    return network.items(content, jnp.ones(ITEMS, bool))


def told(length: int = LENGTH, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    about = rng.normal(size=(length, FEATURES))
    return jnp.asarray(rng.integers(ITEMS, size=length), jnp.int32), jnp.asarray(about, jnp.float32)


NOTHING = Past(jnp.zeros(CONFIG.width), jnp.float32(0.0))
read = jax.jit(lambda network, past, item, about, table: network.read(past, item, about, table))


def layer_norm(x: np.ndarray, norm: Any) -> np.ndarray:
    centred = x - x.mean()
    return centred / np.sqrt((centred**2).mean() + 1e-6) * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])


def linear(x: np.ndarray, layer: Any) -> np.ndarray:
    bias = 0.0 if layer.bias is None else np.asarray(layer.bias[...])
    return x @ np.asarray(layer.kernel[...]) + bias


def a_block_by_loops(block: Block, tokens: np.ndarray, sinks: int) -> np.ndarray:
    """Attention as sums over the tokens that each token sees."""
    heads, width = block.heads, tokens.shape[1]
    each = width // heads
    parts = [np.split(linear(layer_norm(x, block.norm1), block.qkv), 3) for x in tokens]
    out = []
    for t, x in enumerate(tokens):
        mixed = np.zeros(width)
        for head in range(heads):
            own = slice(head * each, (head + 1) * each)
            slope = 2.0 ** (-8.0 * (head + 1) / heads)
            weights, values = [], []
            for n in range(t + 1):
                if n >= sinks and t - n >= block.window:
                    continue
                distance = 0 if n < sinks else t - n
                likeness = parts[t][0][own] @ parts[n][1][own] / np.sqrt(each)
                weights.append(np.exp(likeness - slope * distance))
                values.append(parts[n][2][own])
            mixed[own] = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
        x = x + linear(mixed, block.out)
        up = linear(layer_norm(x, block.norm2), block.up)
        out.append(x + linear(np.asarray(jax.nn.gelu(up)), block.down))
    return np.array(out)


@pytest.mark.parametrize(("window", "sinks"), [(20, 0), (20, 1), (3, 1), (2, 2)])
def test_a_block_of_a_whole_sequence_is_sums_over_what_each_token_sees(window, sinks):
    block = shaken(Block(8, 2, window, rngs=nnx.Rngs(0)))
    tokens = np.random.default_rng(2).normal(size=(7, 8)).astype(np.float32)
    found = jax.jit(lambda block, x: block.whole(x, sinks))(block, jnp.asarray(tokens))
    np.testing.assert_allclose(found, a_block_by_loops(block, tokens, sinks), atol=2e-5)


def test_without_sinks_a_whole_sequence_is_one_after_an_empty_cache():
    block = shaken(Block(8, 2, 4, rngs=nnx.Rngs(0)))
    tokens = jnp.asarray(np.random.default_rng(2).normal(size=(9, 8)), jnp.float32)
    after = block.sequence(tokens, block.empty_cache(), jnp.zeros(9, jnp.int32))
    np.testing.assert_allclose(block.whole(tokens, 0), after, atol=1e-6)


def test_what_is_read_is_what_plain_loops_read(network, table):
    item, about = told()
    earlier = np.array([3, 7, 7])
    long = np.asarray(table.long)
    count, total = len(earlier), sum(long[i] for i in earlier)
    lived = lambda n: linear(np.array([np.log1p(n) / 4.0]), network.lived)  # noqa: E731
    tokens = [linear(total / np.sqrt(count), network.who) + lived(count)]
    memories = [total / np.sqrt(count)]
    for i, features in zip(np.asarray(item), np.asarray(about), strict=True):
        total, count = total + long[i], count + 1
        memories.append(total / np.sqrt(count))
        tokens.append(np.asarray(table.vector)[i] + linear(features, network.about) + lived(count))
    x = np.array(tokens)
    for block in network.blocks:
        x = a_block_by_loops(block, x, 1)
    short = np.array([linear(layer_norm(row, network.norm), network.short_out) for row in x])
    expected = short + linear(np.array(memories), network.long_out)
    found = read(network, network.past(jnp.asarray([3, -1, 7, 7, -1]), table), item, about, table)
    chex.assert_shape(found, (LENGTH + 1, CONFIG.width))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("lived", [0, 7])
def test_remembering_event_by_event_is_reading_them_all_at_once(network, table, lived):
    """Cached decoding equals full recomputation, with slots that nothing was taken from, and rings that have wrapped around."""
    item, about = told(2 * CONFIG.window + 3)
    past = Past(jnp.full(CONFIG.width, 0.3 * lived), jnp.float32(lived))
    whole = np.asarray(read(network, past, item, about, table))
    memory = network.begin(past)
    np.testing.assert_allclose(memory.hidden, whole[0], atol=1e-4)
    remember = jax.jit(lambda network, memory, item, about: network.remember(memory, item, about, table))
    at = 0
    for taken in ([0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 0, 1], [0, 0, 1, 1]):
        there = np.flatnonzero(taken)
        slots, told_of = np.full(4, -1, np.int32), np.ones((4, FEATURES), np.float32)
        slots[there], told_of[there] = item[at : at + len(there)], about[at : at + len(there)]
        memory = remember(network, memory, jnp.asarray(slots), jnp.asarray(told_of))
        at += len(there)
        np.testing.assert_allclose(memory.hidden, whole[at], atol=1e-4)
        assert int(memory.long.number) == lived + at
    assert at == len(item)


def test_nothing_that_comes_later_is_seen(network, table):
    item, about = told()
    before = read(network, NOTHING, item, about, table)
    for at in range(LENGTH):
        other = read(network, NOTHING, item.at[at].set((item[at] + 1) % ITEMS), about.at[at].add(1.0), table)
        np.testing.assert_array_equal(other[: at + 1], before[: at + 1])
        assert (np.abs(other[at + 1 :] - before[at + 1 :]).max(axis=1) > 1e-4).all()  # and what comes before is


def test_padding_changes_nothing(network, table):
    item, about = told()
    short = read(network, NOTHING, item.at[4:].set(-1), about, table)
    np.testing.assert_allclose(short[:5], read(network, NOTHING, item, about, table)[:5], atol=1e-6)


def test_the_long_memory_holds_what_left_the_short_one(network, content, table):
    """Without the short memory it does not matter what lies in the window and what before it."""
    graph, state = nnx.split(network)
    deaf = nnx.merge(graph, jax.tree.map(jnp.array, state))
    deaf.short_out.kernel[...] = jnp.zeros_like(deaf.short_out.kernel[...])
    item, about = told()
    whole = read(deaf, NOTHING, item, about, table)[-1]
    moved = read(deaf, deaf.past(item[:4], table), jnp.concatenate([item[4:], jnp.full(4, -1)]), about, table)
    np.testing.assert_allclose(moved[2], whole, atol=1e-5)


def test_an_item_that_nobody_met_is_read_by_its_content_alone(network, content):
    known = jnp.arange(ITEMS) != 4
    graph, state = nnx.split(network)
    other = nnx.merge(graph, jax.tree.map(jnp.array, state))
    other.named[...] = other.named[...].at[4].add(1.0)
    other.long[...] = other.long[...].at[4].add(1.0)
    other.bias[...] = other.bias[...].at[4].add(9.0)
    chex.assert_trees_all_equal(network.items(content, known), other.items(content, known))
    np.testing.assert_allclose(
        network.items(content, known).vector[4], linear(content[4], network.of_content), atol=1e-6
    )
    moved = network.items(content.at[4].add(1.0), known)
    assert np.abs(moved.vector[4] - network.items(content, known).vector[4]).max() > 0.1


def test_without_content_an_item_that_nobody_met_is_no_item_in_particular():
    bare = shaken(UserNetwork(CONFIG, ITEMS, 0, FEATURES, rngs=nnx.Rngs(0)))
    table = bare.items(jnp.zeros((ITEMS, 0)), jnp.arange(ITEMS) != 4)
    assert not table.vector[4].any()
    assert table.bias[4] == table.bias.min()


def test_dropout_leaves_out_the_share_it_says_and_keeps_the_mean(network, table, content):
    item, about = told()
    keys = jax.random.split(jax.random.key(0), 4000)
    past = jax.vmap(lambda key: network.past(item[:5], table, key).total)(keys)
    np.testing.assert_allclose(past.mean(axis=0), network.past(item[:5], table).total, atol=0.15)
    drawn = jax.vmap(lambda key: network.items(content, jnp.ones(ITEMS, bool), key).vector)(keys)
    alone = linear(content, network.of_content)
    share = (np.abs(drawn - alone).max(axis=-1) < 1e-6).mean()
    assert abs(share - CONFIG.unnamed) < 0.02
    two = [network.read(NOTHING, item, about, table, key) for key in keys[:2]]
    assert np.abs(two[0] - two[1]).max() > 1e-3


def test_vmap_equals_a_loop_and_jit_equals_eager(network, table):
    people = [told(seed=seed) for seed in range(3)]
    items, abouts = (jnp.stack(column) for column in zip(*people, strict=True))
    found = jax.vmap(lambda item, about: network.read(NOTHING, item, about, table))(items, abouts)
    for row, (item, about) in zip(found, people, strict=True):
        np.testing.assert_allclose(row, network.read(NOTHING, item, about, table), atol=1e-5)
        np.testing.assert_allclose(row, read(network, NOTHING, item, about, table), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"width": 0}, "width is 0"),
        ({"width": 9}, "no multiple of 2 heads"),
        ({"window": 0}, "window is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"unnamed": -0.1}, "unnamed is -0.1"),
    ],
)
def test_impossible_sizes_are_refused(settings, words):
    with pytest.raises(JaxrecoError, match=words):
        NetworkConfig(**settings)
