"""What follows from a population's tastes, against plain loops over people and items."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreco
from jaxreco.users import people


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def tastes(n: int, interests: int = 2, width: int = 5, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(n, interests, width))
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def next_to(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The one of their interests f[M, D] that is nearest to f[D]."""
    return theirs[np.argmax([mine @ each for each in theirs])]


def peers_of(person: int, taste: np.ndarray) -> np.ndarray:
    """f[D, M] by definition: sort everybody else, take the interests next to one's own, and average."""
    whole = np.array([unit(each.sum(axis=0)) for each in taste.astype(np.float64)])
    others = [other for other in range(len(taste)) if other != person]
    near = sorted(others, key=lambda other: -whole[person] @ whole[other])[: people.NEIGHBOURS]
    columns = []
    for mine in taste[person].astype(np.float64):
        columns.append(unit(np.mean([next_to(mine, taste[other].astype(np.float64)) for other in near], axis=0)))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("n", [2, 10, 40])
def test_peers_are_the_mean_of_what_the_nearest_people_like(n, monkeypatch):
    monkeypatch.setattr(people, "ROWS", 16)  # several blocks of rows, the last one short
    taste = tastes(n)
    found = people.peers(taste)
    assert found.shape == (n, 5, 2)
    for person in range(n):
        np.testing.assert_allclose(found[person], peers_of(person, taste), atol=1e-5)


def test_a_person_is_not_its_own_peer():
    taste = tastes(3)
    taste[1] = taste[2] = tastes(1, seed=1)[0]
    twin = np.stack([next_to(mine, taste[1]) for mine in taste[0]], axis=1)
    np.testing.assert_allclose(people.peers(taste)[0], twin, atol=1e-6)


def test_wishes_name_the_item_nearest_to_each_interest(monkeypatch):
    monkeypatch.setattr(people, "ROWS", 3)
    env, params = jaxreco.make("Feed-v0", n_items=60)
    del env
    catalog = params.catalog
    width = catalog.embedding.shape[1]
    taste = tastes(7, interests=3, width=width)
    found = people.wishes(taste, catalog)
    for person, interest in np.ndindex(7, 3):
        scores = [float(taste[person, interest] @ np.asarray(vector)) for vector in catalog.embedding]
        item = int(np.argmax(scores))
        assert found[person, interest].tolist() == [
            int(catalog.category[item]),
            int(catalog.tags[item, 0]),
            item,
        ]


def test_what_peers_like_is_honoured_in_the_world_as_its_columns_say():
    """The layout that the population keeps is the one that an instruction is judged by."""
    env, params = jaxreco.make("Feed-v0", n_items=200)
    _, state = env.reset(jax.random.key(0), params)
    user = state.user
    situation = env.user_model.situation(user, params.user, params.catalog)
    peers = np.asarray(params.user.population.traits.peers)[int(user.row)]
    assert peers.shape == (params.catalog.embedding.shape[1], user.interests.shape[0])
    np.testing.assert_array_equal(np.asarray(situation.peers), peers)
    np.testing.assert_allclose(np.linalg.norm(peers, axis=0), 1.0, atol=1e-5)
    mine = jnp.asarray(params.user.population.traits.taste)[user.row]
    closeness = np.asarray(mine) @ peers  # one's own interests against those of one's peers
    assert (np.diag(closeness) >= 0.3).all()
