"""The RQ-VAE: its quantiser and gradients against numbers worked by hand, and what it learns."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.content import rq_vae, semantic_id
from jaxreco.content.rq_vae import RqVaeConfig, quantisation_loss, quantise, revived, straight_through
from jaxreco.errors import DataError, JaxrecoError

BOOKS = jnp.array([[[0.0, 0.0], [4.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])  # two levels of two entries
LATENT = jnp.array([3.0, 1.2])  # nearest (4, 0), which leaves (-1, 1.2); nearest of that (0, 1)
SMALL = RqVaeConfig(
    levels=3, size=16, latent=4, hidden=(16,), blocks=10, warm=2, block=20, batch=64, learning_rate=1e-2
)


def groups(n: int = 240, seed: int = 0) -> np.ndarray:
    """Points around eight places on a curved surface in six dimensions, with two finer differences each."""
    rng = np.random.default_rng(seed)
    inner = rng.normal(size=(8, 2))[rng.integers(8, size=n)] + 0.2 * rng.normal(size=(n, 2))
    return np.tanh(inner @ rng.normal(size=(2, 6))).astype(np.float32)


def test_a_latent_quantised_by_hand() -> None:
    found = quantise(LATENT, BOOKS)
    assert found.codes.tolist() == [1, 1]
    np.testing.assert_allclose(found.rests, [[3.0, 1.2], [-1.0, 1.2]], rtol=1e-6)
    np.testing.assert_allclose(found.entries, [[4.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(straight_through(LATENT, found.entries), [4.0, 1.0], rtol=1e-6)


def test_the_quantiser_is_that_of_residual_kmeans() -> None:
    points = groups()
    ids = semantic_id.residual_kmeans(points, levels=3, size=8)
    found = jax.vmap(lambda point: quantise(point, jnp.asarray(ids.codebooks)).codes)(jnp.asarray(points))
    assert (np.asarray(found) == ids.found).all(axis=1).mean() > 0.99  # but for ties in rounding


def test_the_gradient_goes_straight_through() -> None:
    """A decoder's gradient at the quantised latent reaches the latent as it is, and no codebook."""
    weight = jnp.array([2.0, -3.0])

    def outcome(latent: jax.Array, books: jax.Array) -> jax.Array:
        return weight @ straight_through(latent, quantise(latent, books).entries) ** 2

    to_latent, to_books = jax.grad(outcome, argnums=(0, 1))(LATENT, BOOKS)
    np.testing.assert_allclose(to_latent, [2.0 * 2 * 4.0, -3.0 * 2 * 1.0], rtol=1e-6)
    np.testing.assert_array_equal(to_books, 0.0)


def test_the_loss_and_its_gradients_by_hand() -> None:
    """Rests (3, 1.2), (-1, 1.2); entries (4, 0), (0, 1): differences (1, -1.2), (1, -0.2), squared 2.44 and 1.04."""
    loss = lambda latent, books: quantisation_loss(quantise(latent, books), 0.25)  # noqa: E731
    assert float(loss(LATENT, BOOKS)) == pytest.approx(1.25 * 3.48)
    to_latent, to_books = jax.grad(loss, argnums=(0, 1))(LATENT, BOOKS)
    np.testing.assert_allclose(to_latent, 0.25 * 2 * np.array([-1.0 - 1.0, 1.2 + 0.2]), rtol=1e-5)
    np.testing.assert_allclose(to_books, [[[0, 0], [2.0, -2.4]], [[0, 0], [2.0, -0.4]]], rtol=1e-5)


def test_unused_entries_are_put_among_the_residuals(key: jax.Array) -> None:
    books = jnp.array([[[0.0], [10.0], [99.0]], [[0.0], [50.0], [60.0]]])
    latents = jnp.array([[0.0], [1.0], [10.0]])
    found = np.asarray(revived(key, books, latents))
    assert found[0, :2].ravel().tolist() == [0.0, 10.0]  # in use: as they were
    assert found[0, 2, 0] in (0.0, 1.0, 10.0)
    assert found[1, 0, 0] == 0.0
    assert np.isin(found[1, 1:], [0.0, 1.0]).all()


def test_it_learns_to_rebuild() -> None:
    points = groups()
    untrained = rq_vae.semantic_ids(points, dataclasses.replace(SMALL, blocks=0, warm=0))
    trained = rq_vae.semantic_ids(points, SMALL)
    assert trained.error.mean() < 0.2 * untrained.error.mean()
    report = trained.report()
    assert report["usage"] >= 0.75
    assert trained.codes.shape == (240, 3)
    assert len(np.unique(trained.codes, axis=0)) == 240
    np.testing.assert_array_equal(trained.codes[:, :1], trained.found[:, :1])


def test_the_same_key_gives_the_same_codes() -> None:
    points, told = groups(), []
    short = dataclasses.replace(SMALL, blocks=3, warm=0)
    one, two, other = (rq_vae.semantic_ids(points, short, seed, lambda *at: told.append(at)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.codes, two.codes)
    np.testing.assert_array_equal(one.codebooks, two.codebooks)
    assert not np.array_equal(one.found, other.found)
    assert told[:3] == [(1, 3), (2, 3), (3, 3)]


def test_fewer_items_than_entries() -> None:
    found = rq_vae.semantic_ids(groups(5), dataclasses.replace(SMALL, blocks=3, warm=0))
    assert np.isfinite(found.codebooks).all()
    assert len(np.unique(found.codes, axis=0)) == 5


def test_what_cannot_be() -> None:
    with pytest.raises(DataError, match="1 of 3 items, such as number 2, have no representation"):
        rq_vae.semantic_ids(np.array([[0.0], [1.0], [np.nan]]), SMALL)
    with pytest.raises(DataError, match=r"5 items are more than 2\^2 codes"):
        rq_vae.semantic_ids(np.zeros((5, 2)), RqVaeConfig(levels=2, size=2))
    with pytest.raises(JaxrecoError, match="batch is 0"):
        RqVaeConfig(batch=0)
    with pytest.raises(JaxrecoError, match="warm is 9 of 3"):
        RqVaeConfig(warm=9, blocks=3)
