"""The counter hash behind a key: golden values, and statistics that a bad generator fails.

Every test uses fixed keys, so it gives the same verdict each time; thresholds are those of a chance below 1e-3.
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxreco import rng

USERS, WORDS = 4096, 72

GOLDEN_BITS = [2216650787, 2617406963, 4076991317, 2775802667]
GOLDEN_UNIFORMS = [0.5161042809486389, 0.6094124913215637, 0.9492484927177429]
GOLDEN_SLATE = [516, 609, 949, 646, 203]


def raw(high: np.ndarray, low: np.ndarray) -> jax.Array:
    """Keys whose two words are these."""
    data = np.stack(np.broadcast_arrays(np.uint32(high), np.uint32(low)), -1)
    return jax.random.wrap_key_data(jnp.asarray(data))


def families() -> dict[str, jax.Array]:
    """Keys as the rollout makes them, and neighbours in each word of the key."""
    i = np.arange(USERS)
    return {
        "fold_in": jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(7), jnp.arange(USERS)),
        "split": jax.random.split(jax.random.key(8), USERS),
        "low word": raw(np.uint32(5), i),
        "high word": raw(i, np.uint32(5)),
        "powers": raw(1 << (i % 32), i // 32),
    }


streams = jax.jit(jax.vmap(rng.bits, (0, None)), static_argnums=1)


@pytest.fixture(scope="module", params=list(families()))
def words(request: pytest.FixtureRequest) -> np.ndarray:
    """u32[USERS, WORDS], one stream a key of one family."""
    return np.asarray(streams(families()[request.param], WORDS))


def standard(words: np.ndarray) -> np.ndarray:
    """Words as numbers of mean 0 and variance 1."""
    return (words / 2.0**32 - 0.5) * math.sqrt(12)


# -- what is promised ----------------------------------------------------------------------------------------


def test_golden_values() -> None:
    """A change here changes every run ever published."""
    key = jax.random.key(42)
    assert np.asarray(rng.bits(key, 4)).tolist() == GOLDEN_BITS
    np.testing.assert_array_equal(rng.uniforms(key, 3), np.array(GOLDEN_UNIFORMS, np.float32))
    assert np.asarray(rng.distinct(rng.uniforms(key, 5), 1000)).tolist() == GOLDEN_SLATE


def test_a_shorter_stream_is_the_beginning_of_a_longer_one() -> None:
    np.testing.assert_array_equal(rng.bits(jax.random.key(1), 5), rng.bits(jax.random.key(1), 50)[:5])


def test_batched_streams_are_the_single_ones() -> None:
    keys = jax.random.split(jax.random.key(2), 8)
    np.testing.assert_array_equal(streams(keys, 9), np.stack([rng.bits(key, 9) for key in keys]))


def test_uniforms_are_never_0_or_1(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = jnp.array([0, 511, 512, 2**32 - 1], jnp.uint32)
    monkeypatch.setattr(rng, "bits", lambda key, n, start: edges)
    u = rng.uniforms(jax.random.key(0), 4)
    np.testing.assert_array_equal(u, np.array([2**-24, 2**-24, 3 * 2**-24, 1 - 2**-24], np.float32))
    assert np.isfinite(np.log(u)).all()
    assert np.isfinite(np.log1p(-u)).all()


@pytest.mark.parametrize("seed", range(4))
def test_no_word_repeats_in_a_stream(seed: int) -> None:
    assert len(np.unique(rng.bits(jax.random.key(seed), 2**17))) == 2**17


# -- one stream ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_one_stream_is_uniform(seed: int) -> None:
    u = np.asarray(rng.uniforms(jax.random.key(seed), 2**16), np.float64)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.chisquare(np.bincount((u * 1024).astype(int), minlength=1024)).pvalue > 1e-3
    pairs = (u[0::2] * 32).astype(int) * 32 + (u[1::2] * 32).astype(int)
    assert stats.chisquare(np.bincount(pairs, minlength=1024)).pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 16, 72])
def test_one_stream_has_no_serial_correlation(lag: int) -> None:
    z = standard(np.asarray(rng.bits(jax.random.key(3), 2**17)))
    n = z.size - lag
    assert abs(np.mean(z[lag:] * z[:-lag])) < 4 / math.sqrt(n)


# -- streams of many users -----------------------------------------------------------------------------------


def test_all_words_of_all_users_are_uniform(words: np.ndarray) -> None:
    assert stats.chisquare(np.bincount(words.ravel() >> 20, minlength=4096)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(words.ravel() & 4095, minlength=4096)).pvalue > 1e-3


def test_every_position_is_uniform_over_users(words: np.ndarray) -> None:
    p = [stats.chisquare(np.bincount(column >> 26, minlength=64)).pvalue for column in words.T]
    assert min(p) > 1e-3 / WORDS
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_every_bit_is_as_often_0_as_1(words: np.ndarray) -> None:
    for bit in range(32):
        ones = np.mean((words >> bit) & 1)
        assert abs(ones - 0.5) < 4.5 * 0.5 / math.sqrt(words.size), bit


@pytest.mark.parametrize("lag", [-9, -2, -1, 0, 1, 2, 9])
def test_neighbouring_users_are_not_correlated(words: np.ndarray, lag: int) -> None:
    """Position j of a user with position j + lag of the next one: shared counters would show here."""
    z = standard(words)
    a, b = z[:-1, max(0, -lag) : WORDS - max(0, lag)], z[1:, max(0, lag) : WORDS + min(0, lag)]
    assert abs(np.mean(a * b)) < 4 / math.sqrt(a.size)
    flips = np.mean(np.bitwise_count(words[:-1] ^ words[1:])) / 32
    assert abs(flips - 0.5) < 4 * 0.5 / math.sqrt(32 * (USERS - 1) * WORDS)


def test_no_two_positions_are_correlated_over_users(words: np.ndarray) -> None:
    correlation = np.corrcoef(standard(words), rowvar=False)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5.2 / math.sqrt(USERS)  # the largest of 2,556


def test_words_of_different_users_collide_as_often_as_chance(words: np.ndarray) -> None:
    collisions = words.size - len(np.unique(words))
    expected = words.size**2 / 2**33
    low, high = stats.poisson(expected).ppf([1e-3, 1 - 1e-3])
    assert low <= collisions <= high


def test_every_bit_of_the_key_changes_half_of_every_word() -> None:
    """Avalanche: flip one of the 64 bits of a key; each of the 32 bits of each word flips half the time."""
    n = 2048
    data = np.random.default_rng(0).integers(0, 2**32, (n, 2), dtype=np.uint32)
    base = np.asarray(streams(raw(data[:, 0], data[:, 1]), 4))
    for word, bit in itertools.product((0, 1), range(32)):
        other = data.copy()
        other[:, word] ^= np.uint32(1 << bit)
        changed = base ^ np.asarray(streams(raw(other[:, 0], other[:, 1]), 4))
        rates = ((changed[..., None] >> np.arange(32, dtype=np.uint32)) & 1).mean(axis=0)
        assert np.abs(rates - 0.5).max() < 5.5 * 0.5 / math.sqrt(n), (word, bit)


# -- distinct ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_items", "size"), [(5, 3), (4, 4), (6, 1), (3, 2)])
def test_every_ordered_sample_is_equally_likely(n_items: int, size: int) -> None:
    n = 60_000
    keys = jax.random.split(jax.random.key(n_items), n)
    draw = jax.jit(jax.vmap(lambda key: rng.distinct(rng.uniforms(key, size), n_items)))
    code = np.asarray(draw(keys)) @ (10 ** np.arange(size))
    seen, counts = np.unique(code, return_counts=True)
    samples = {int(np.dot(p, 10 ** np.arange(size))) for p in itertools.permutations(range(n_items), size)}
    assert set(seen.tolist()) == samples
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(("n_items", "size"), [(1, 1), (8, 8), (50, 10), (2000, 10)])
def test_distinct_is_drawing_from_a_shrinking_list(n_items: int, size: int) -> None:
    draw = jax.jit(lambda u: rng.distinct(u, n_items))
    for seed in range(20):
        u = rng.uniforms(jax.random.key(seed), size)
        left = list(range(n_items))
        expected = [left.pop(int(np.float32(x) * np.float32(n_items - k))) for k, x in enumerate(np.asarray(u))]
        assert np.asarray(draw(u)).tolist() == expected


@pytest.mark.parametrize(("uniform", "expected"), [(2.0**-24, [0, 1, 2]), (1 - 2.0**-24, [9, 8, 7])])
def test_distinct_at_the_edges(uniform: float, expected: list[int]) -> None:
    assert np.asarray(rng.distinct(jnp.full(3, uniform), 10)).tolist() == expected


def test_a_long_slate_is_the_head_of_a_shuffle() -> None:
    """Distinct, every item as likely at every place, and every pair of neighbours as likely."""
    n, items, size = 20_000, 40, rng.LONGEST + 1
    draw = jax.jit(jax.vmap(lambda key: rng.distinct(rng.uniforms(key, size), items)))
    slates = np.asarray(draw(jax.random.split(jax.random.key(1), n)))
    assert slates.dtype == np.int32
    assert (np.diff(np.sort(slates, axis=1), axis=1) > 0).all()
    assert slates.min() == 0
    assert slates.max() == items - 1
    for place in (0, 1, size - 1):
        assert stats.chisquare(np.bincount(slates[:, place], minlength=items)).pvalue > 1e-4
    pairs = slates[:, 0] * items + slates[:, 1]
    counts = np.bincount(pairs, minlength=items**2)[np.arange(items**2) % (items + 1) != 0]
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("uniform", [2.0**-24, 1 - 2.0**-24])
def test_a_long_slate_at_the_edges(uniform: float) -> None:
    slate = np.asarray(rng.distinct(jnp.full(50, uniform), 50))
    assert sorted(slate.tolist()) == list(range(50))
