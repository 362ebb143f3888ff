"""A world of any log: where items lie, what they are filed under, and who lives there."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from jaxreco.base import EMPTY
from jaxreco.content import correspondence, shelves
from jaxreco.content.correspondence import Rows
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError
from jaxreco.fit import world
from jaxreco.users import tastes


def two_camps(people: int = 40, events: int = 8, items: Any = None, **columns: Any) -> Log:
    """Even people take the first ten items, odd ones the other ten, but for one event each; nobody takes the last two of 22."""
    rng = np.random.default_rng(0)
    taken = [
        np.append(rng.choice(10, events - 1, replace=False) + 10 * odd, rng.integers(10) + 10 * (1 - odd))
        for odd in np.arange(people) % 2
    ]
    user = np.repeat(np.arange(people), events)
    more = {name: make(rng, user, np.concatenate(taken)) for name, make in columns.items()}
    return Log.of(
        "camps",
        user,
        np.concatenate(taken),
        Items(np.arange(22)) if items is None else items,
        np.arange(people),
        **more,
    )


def test_the_leading_directions_are_those_of_a_dense_decomposition():
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((30, 12)) < 0.4, rng.random((30, 12)), 0.0)
    dense[:, 0] += 0.1
    row, item = np.nonzero(dense)
    cells = Rows(row, item, dense[row, item], 30)
    scaled = dense / np.sqrt(dense.sum(axis=1, keepdims=True) * (dense.sum(axis=0) + 5.0))
    np.testing.assert_allclose(correspondence.normalised(cells, 12, 5.0), scaled[row, item])
    strength, direction = correspondence.leading(cells._replace(value=scaled[row, item]), 12, 3, rounds=60)
    _, expected, right = np.linalg.svd(scaled)
    np.testing.assert_allclose(strength, expected[:3], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(direction * right[:3].T, axis=0)), 1.0, atol=1e-5)


def test_items_of_one_camp_lie_together():
    log = two_camps()
    catalog, names = world.catalog_of(log)
    found = np.asarray(catalog.embedding)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    alike = found @ found.T
    assert alike[:10, :10].mean() > 0.3 > -0.1 > alike[:10, 10:20].mean()
    assert len(set(np.asarray(catalog.category)[:10])) == 1
    assert catalog.category[0] != catalog.category[10]
    assert names.titles[3] == "item 3"
    assert np.asarray(catalog.tags).max() == EMPTY
    assert names.ids == tuple(range(22))


def test_popularity_counts_events_and_one_more_of_each():
    log = two_camps()
    count = np.bincount(log.item, minlength=22) + 1
    np.testing.assert_allclose(np.asarray(world.catalog_of(log)[0].popularity), count / count.sum(), rtol=1e-6)


def test_what_the_log_says_of_its_items_is_kept():
    items = Items(
        np.array([f"id{at}" for at in range(22)]),
        titles=[f"title {at}" for at in range(22)],
        categories=[("common", "rare") if at < 3 else ("common",) if at < 21 else () for at in range(22)],
        creators=["ann" if at % 2 else "bob" for at in range(22)],
        tags=[("Slow",) if at < 6 else () for at in range(22)],
        seconds=np.where(np.arange(22) == 4, np.nan, 60.0 + np.arange(22)),
        published=np.where(np.arange(22) == 5, np.nan, 0.0),
    )
    log = two_camps(items=items, time=lambda rng, user, item: 7200.0 + np.arange(len(user)))
    catalog, names = world.catalog_of(log)
    assert names.categories == ("Other", "common", "rare")
    assert [names.categories[at] for at in np.asarray(catalog.category)[[0, 5, 21]]] == ["rare", "common", "Other"]
    assert [names.creators[at] for at in catalog.creator[:2]] == ["bob", "ann"]
    assert names.tags == ("common", "rare", "slow")
    assert np.asarray(catalog.tags)[0].tolist() == [0, 1, 2, -1, -1, -1, -1, -1]
    assert catalog.duration[3] == 63.0
    assert catalog.duration[4] == np.median(np.delete(60.0 + np.arange(22), 4))
    end = 7200.0 + len(log) - 1
    assert catalog.age[0] == pytest.approx(end / 3600.0)
    assert catalog.age[5] == pytest.approx((end - log.time[log.item == 5].min()) / 3600.0)  # type: ignore[index]


def test_codes_file_items_by_their_first_level_and_place_those_nobody_took():
    codes = np.stack([np.arange(22) // 10 % 2, np.arange(22)], axis=1).astype(np.int32)
    codes[20:, 0] = [0, 1]
    catalog, names = world.catalog_of(two_camps(items=Items(np.arange(22), codes=codes)))
    assert names.categories == ("Shelf 0", "Shelf 1")
    found = np.asarray(catalog.embedding)
    assert found[20] @ found[:10].mean(axis=0) > 0.3 > found[20] @ found[10:20].mean(axis=0)


def test_values_tell_quality_and_taste():
    log = two_camps(value=lambda rng, user, item: np.where(item % 2, 5.0, 1.0).astype(np.float32))
    catalog, _ = world.catalog_of(log)
    quality = np.asarray(catalog.quality)
    assert quality[1:10:2].min() > quality[0:10:2].max()
    np.testing.assert_allclose([quality.mean(), quality.std()], [0.0, 1.0], atol=1e-5)
    assert set(world.liked(log)) == {0.2, 1.0}


def test_heavy_tails_are_compared_by_their_logs():
    plays = np.float32([1, 10, 100, 100_000])
    log = Log.of(
        "x", np.zeros(4, int), np.arange(4), Items(np.arange(4)), np.array([0]), value=plays, value_unit="plays"
    )
    logs = np.log(plays)
    np.testing.assert_allclose(world.above_own_mean(log), (logs - logs.mean()) / logs.std(), rtol=1e-5)


def test_everybody_with_events_is_a_row():
    log = two_camps()
    log = log.rows(log.user != 7)
    catalog, _ = world.catalog_of(log)
    population, users = world.population_of(log, catalog)
    assert users.tolist() == [person for person in range(40) if person != 7]
    taste, embedding = np.asarray(population.traits.taste), np.asarray(catalog.embedding)
    reach = (taste @ embedding.T).max(axis=1)
    own = [reach[row, :10].mean() > reach[row, 10:20].mean() for row in range(39)]
    assert own == [user % 2 == 0 for user in users]
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(population))


def test_the_same_shelves_told_by_others():
    log = two_camps()
    catalog, _ = world.catalog_of(log)
    again = world.told_by(catalog, log, None)
    for one, two in zip(jax.tree.leaves(catalog), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, two)
    fewer = world.told_by(catalog, log.rows(log.user > 20), None)
    assert not np.array_equal(fewer.popularity, catalog.popularity)
    np.testing.assert_array_equal(fewer.category, catalog.category)


@pytest.mark.parametrize(("users", "items"), [([0, 0], 5), ([0, 1], 1)])
def test_logs_too_small_for_a_world_are_refused(users, items):
    log = Log.of("tiny", np.array(users), np.zeros(2, int), Items(np.arange(items)), np.arange(2))
    with pytest.raises(DataError, match=f"{len(set(users))} people with events and {items} items"):
        world.catalog_of(log)


def test_rarest_of_equals_is_the_first_by_name():
    assert shelves.rarest([("b", "a"), ("a",), ("b",), ()]) == ["a", "a", "b", "Other"]
    assert shelves.rarest([("IMAX", "x"), ("x",)], ("IMAX",)) == ["x", "x"]


def test_habits_are_gaps_between_days_pulled_to_a_prior():
    day = 86400.0
    time = np.array([0.0, 10.0, 2 * day, 4 * day, 0.0])
    found = tastes.habits(np.random.default_rng(0), np.array([0, 0, 0, 0, 1]), time, 2, 24.0, 0.5, 720.0)
    prior = np.log(24.0) + 0.4 * np.random.default_rng(0).normal(size=2)
    np.testing.assert_allclose(found, [np.exp((2 * np.log(48.0) + 5 * prior[0]) / 7), np.exp(prior[1])])
