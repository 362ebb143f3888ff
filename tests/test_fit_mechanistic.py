"""The mechanistic user fitted to a log: minds by hand, likelihoods by hand, and planted parameters found again."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.base import Catalog
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.fit import mechanistic, minds, mindset_folder, objective, world
from jaxreco.fit.mechanistic import MechanisticConfig
from jaxreco.fit.minds import Mind, Past, Seeker
from jaxreco.users import people
from jaxreco.users.mindset import MindsetParams

KEY = jax.random.key(0)
SEEKER = Seeker(jnp.float32(0.5), jnp.float32(0.4))
CONFIG = MechanisticConfig(epochs=12, batch=64, horizon=1, held_back=0.2, remembered=32)
M = 2


def a_catalog(n_items: int = 12, width: int = 4, seed: int = 0) -> Catalog:
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(n_items, width))
    share = rng.random(n_items) + 0.1
    return Catalog(
        embedding=jnp.asarray(embedding / np.linalg.norm(embedding, axis=1, keepdims=True), jnp.float32),
        category=jnp.asarray(np.arange(n_items) % 3, jnp.int32),
        creator=jnp.asarray(np.arange(n_items) % 4, jnp.int32),
        tags=jnp.full((n_items, 1), -1, jnp.int32),
        duration=jnp.asarray(rng.uniform(60, 600, n_items), jnp.float32),
        popularity=jnp.asarray(share / share.sum(), jnp.float32),
        quality=jnp.asarray(rng.normal(size=n_items), jnp.float32),
        age=jnp.asarray(rng.uniform(0, 1000, n_items), jnp.float32),
    )


def params_for(catalog: Catalog, **changes: float) -> MindsetParams:
    known: dict[str, Any] = people.known_of(catalog, 3)
    params = MindsetParams(population=None, clickbait=jnp.linspace(0.0, 1.0, catalog.n_items), **known)  # type: ignore[arg-type]
    return params.replace(**changes)


CATALOG = a_catalog()
PAST = Past(jnp.asarray([-1, 4, 7, 4]), jnp.asarray([9.0, 6.0, 2.0, 1.0]), jnp.asarray([0, 0, 1, 0]))


def mind(past: Past = PAST, **changes: float) -> Mind:
    return _mind(past, params_for(CATALOG, **changes))


@jax.jit
def _mind(past: Past, params: MindsetParams) -> Mind:
    return minds.mind_of(past, params, jnp.float32(2.0), CATALOG, M, 4)


# -- minds ---------------------------------------------------------------------------------------------------


def test_memories_fade_by_the_hours_since():
    found = mind(satiation_hours=4.0, exposure_hours=8.0, creator_hours=2.0)
    # Items 4, 7 and 4 are of category 1; 4 is by creator 0, 7 by 3. The event that is not there counts nothing.
    np.testing.assert_allclose(found.satiation, [0, np.exp(-6 / 4) + np.exp(-2 / 4) + np.exp(-1 / 4), 0], rtol=1e-6)
    np.testing.assert_allclose(found.exposure, [0, np.exp(-6 / 8) + np.exp(-2 / 8) + np.exp(-1 / 8), 0], rtol=1e-6)
    np.testing.assert_allclose(found.hands, [np.exp(-3) + np.exp(-0.5), 0, 0, np.exp(-1)], rtol=1e-6)
    assert np.flatnonzero(found.seen).tolist() == [4, 7]


def test_interests_are_reinforced_and_drift_back_as_the_simulated_user_s_are():
    """One event after the other: reinforcement by the item, then the drift over the hours to the next event."""
    found = mind(reinforcement=0.3, drift_hours=5.0)
    vector = np.asarray(CATALOG.embedding, np.float64)
    taste = np.stack([2.0 * vector[4] / 4.0, vector[7] / 3.0])  # two pseudo-items
    now, hours = taste.copy(), [4.0, 1.0, 1.0]  # to the next event, and from the last to now
    for item, interest, gap in zip([4, 7, 4], [0, 1, 0], hours, strict=True):
        now[interest] = (now[interest] + 0.3 * vector[item]) / 1.3
        now = taste + np.exp(-gap / 5.0) * (now - taste)
    np.testing.assert_allclose(found.interests, now, rtol=1e-5)


def test_an_interest_without_items_is_a_copy_of_the_one_with_most():
    found = mind(PAST._replace(interest=jnp.zeros(4, jnp.int32)))
    np.testing.assert_array_equal(found.interests[1], found.interests[0])
    nothing = mind(PAST._replace(item=jnp.full(4, -1)))
    assert not np.asarray(nothing.interests).any()
    assert not np.asarray(nothing.seen).any()


def test_an_item_unlike_all_before_opens_an_interest():
    embedding = jnp.asarray([[1.0, 0.0], [0.9, np.sqrt(1 - 0.81)], [0.0, 1.0], [-1.0, 0.0]], jnp.float32)
    item = jnp.asarray([0, 1, 2, 3, -1, 2, 2, 0])
    starts = jnp.asarray([True, False, False, False, False, False, True, False])
    found = minds.interests_met(item, starts, embedding, 2)
    assert np.asarray(found)[[0, 1, 2, 3, 5, 6, 7]].tolist() == [0, 0, 1, 1, 1, 0, 1]


# -- utilities and likelihoods -------------------------------------------------------------------------------


def by_hand(mind: Mind, params: MindsetParams, item: int, focus: int) -> float:
    c, params = jax.tree.map(np.asarray, (CATALOG, params))
    match = np.asarray(mind.interests) @ np.asarray(c.embedding[item])
    match = match - float(params.craving) * (np.arange(M) != focus)
    share = (np.asarray(mind.exposure) + 0.5) / (np.asarray(mind.exposure) + 0.5).sum()
    return (
        float(params.base)
        + params.affinity * match.max()
        + params.quality * c.quality[item]
        + params.popularity * np.log(c.popularity[item] * c.n_items)
        - params.novelty * 0.5 * np.log(3 * share[c.category[item]])
        - params.staleness * 0.4 * np.log1p(c.age[item] / 168.0)
        - params.length * (np.log(c.duration[item]) - np.log(params.usual_seconds)) ** 2
        + params.clickbait[item]
        - params.satiation * mind.satiation[c.category[item]]
        - params.creator_satiation * mind.hands[c.creator[item]]
        - params.repetition * (item in (4, 7))
    )


def test_utilities_are_the_sum_of_the_mechanisms():
    params, now = params_for(CATALOG, craving=0.2), mind()
    found = jax.jit(minds.utilities)(now, SEEKER, jnp.arange(12), params, CATALOG)
    expected = [[by_hand(now, params, item, focus) for item in range(12)] for focus in range(M)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_taking_is_a_softmax_for_each_thing_that_a_session_may_be_about():
    params, now = params_for(CATALOG, craving=0.5), mind()
    every = np.asarray(jax.jit(minds.utilities)(now, SEEKER, jnp.arange(12), params, CATALOG), np.float64)
    share = np.exp(every) / np.exp(every).sum(axis=1, keepdims=True)
    items = jnp.asarray([3, 4, -1])
    likelihood = jax.jit(minds.log_likelihood)
    found = likelihood(now, SEEKER, items, params, CATALOG)
    np.testing.assert_allclose(found[:2], np.log(share.mean(axis=0))[[3, 4]], rtol=1e-4)
    whole = jax.jit(minds.log_probabilities)(now, SEEKER, params, CATALOG)
    np.testing.assert_allclose(whole, np.log(share.mean(axis=0)), rtol=1e-4)
    everything = objective.Drawn(jnp.arange(12), jnp.zeros(12))
    drawn = likelihood(now, SEEKER, items, params, CATALOG, everything)
    np.testing.assert_allclose(drawn[:2], found[:2], rtol=1e-4)


def test_many_people_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    pasts = [
        Past(jnp.asarray(rng.integers(-1, 12, 5)), jnp.asarray(rng.random(5), jnp.float32), jnp.asarray(rng.integers(2, size=5)))
        for _ in range(6)
    ]  # fmt: skip
    params = params_for(CATALOG)

    @jax.jit
    def one(past: Past) -> Any:
        return minds.log_probabilities(_mind(past, params), SEEKER, params, CATALOG)

    together = jax.vmap(one)(jax.tree.map(lambda *x: jnp.stack(x), *pasts))
    np.testing.assert_allclose(together, np.stack([one(past) for past in pasts]), rtol=1e-4, atol=1e-5)


# -- fitting -------------------------------------------------------------------------------------------------


PLANTED = {"affinity": 9.0, "popularity": 0.6, "repetition": 4.0, "satiation": 0.8, "craving": 1e-4}


def chosen_by(params: MindsetParams, catalog: Catalog, n_people: int = 150, events: int = 24) -> np.ndarray:
    """i32[P, N]: what people who live by these parameters take, an event an hour, drawn with NumPy."""

    creators = int(catalog.creator.max()) + 1

    def shares(items: Any, met: Any) -> Any:
        past = Past(items, jnp.arange(events, 0, -1).astype(jnp.float32), met)
        now = minds.mind_of(past, params, jnp.float32(2.0), catalog, 3, creators)
        return jnp.exp(minds.log_probabilities(now, Seeker(jnp.float32(0.15), jnp.float32(0.4)), params, catalog))

    met_of = jax.jit(lambda items: minds.interests_met(items, jnp.zeros(events, bool), catalog.embedding, 3))
    both = jax.jit(jax.vmap(lambda items: shares(items, met_of(items))))
    rng, items = np.random.default_rng(1), np.full((n_people, events), -1, np.int32)
    for _ in range(events):
        share = np.cumsum(np.asarray(both(jnp.asarray(items)), np.float64), axis=1)
        new = np.minimum((share < rng.random((n_people, 1)) * share[:, -1:]).sum(axis=1), catalog.n_items - 1)
        items = np.concatenate([items[:, 1:], new[:, None].astype(np.int32)], axis=1)
    return items


def log_of(taken: np.ndarray, n_items: int) -> Log:
    user = np.repeat(np.arange(len(taken)), taken.shape[1])
    return Log.of("simulated", user, taken.ravel(), Items(np.arange(n_items)), np.arange(len(taken)))


@pytest.fixture(scope="module")
def planted() -> tuple[Any, Any]:
    """A fit to the choices of people of a world, with that world's own catalog."""
    catalog = a_catalog(60, 4, 5)
    params = params_for(catalog, **PLANTED).replace(clickbait=jnp.zeros(60), staleness=0.0, length=0.0, quality=0.0)
    log = log_of(chosen_by(params, catalog), 60)
    task = mechanistic.prepare(log, None, CONFIG, n_factors=4)
    task = task._replace(
        catalog=catalog,
        others=jax.tree.map(lambda x: jnp.stack([x] * len(task.fitted)), catalog),
        params=dataclasses.replace(params_for(catalog), population=task.params.population, length=np.float32(0.0),
                                   staleness=np.float32(0.0), quality=np.float32(0.0), clickbait=jnp.zeros(60)),
        moments=mechanistic.moments_of(log, catalog),
    )  # fmt: skip
    fitter = mechanistic.begin(task, CONFIG)
    while not mechanistic.is_over(fitter, CONFIG):
        fitter, _ = mechanistic.epoch(KEY, task, fitter, CONFIG)
    return task, fitter


def test_planted_parameters_are_found_again(planted):
    found = {name: float(value) for name, value in mechanistic.values(planted[1].best).items()}
    for name, within in (("affinity", 0.15), ("popularity", 0.15), ("repetition", 0.2), ("satiation", 0.25)):
        assert found[name] == pytest.approx(PLANTED[name], rel=within), found
    assert found["craving"] < 0.1
    assert found["doubt"] == pytest.approx(2.0, rel=0.5)


def test_people_held_back_are_better_foreseen_than_by_popularity_and_by_defaults(planted):
    task, fitter = planted
    rows = mindset_folder.rows(task, fitter, CONFIG)
    assert rows["mindset"] < rows["popularity"] - 0.3
    assert rows["mindset"] < rows["mindset, as it is by default"] - 0.05
    assert rows["any item alike"] == pytest.approx(np.log(60))


def test_drawn_items_find_them_too(planted):
    task, config = planted[0], dataclasses.replace(CONFIG, negatives=20)
    fitter = mechanistic.begin(task, config)
    while not mechanistic.is_over(fitter, config):
        fitter, _ = mechanistic.epoch(KEY, task, fitter, config)
    assert float(mechanistic.values(fitter.best)["affinity"]) == pytest.approx(PLANTED["affinity"], rel=0.2)


def test_what_is_foreseen_is_the_mean_of_moments_one_by_one(planted):
    task, fitter = planted
    config = dataclasses.replace(CONFIG, horizon=3)
    at = task.held_back[:7]
    given = mechanistic._given(task)
    moment = jax.jit(lambda one: mechanistic._moment(fitter.best, one, given, config, None))
    alone = [float(moment(jnp.int32(one))) for one in at]
    assert float(mechanistic.foreseen(task, fitter.best, config, at)) == pytest.approx(-np.mean(alone), rel=1e-5)


def test_who_seeks_the_new_is_told_from_who_does_not(planted):
    """People of the same world, half of them eager for other categories; everybody's own novelty tells which."""
    task, fitter = planted
    rng = np.random.default_rng(0)
    kinds = np.array([item[rng.integers(20, size=24)] if person % 2 else np.resize(item[:8], 24)
                      for person, item in ((p, np.concatenate([np.flatnonzero(np.arange(60) % 3 == k) for k in rng.permutation(3)]))
                                           for p in range(40))])  # fmt: skip
    eager = np.stack([np.resize([0, 1, 2], 24) + 3 * rng.integers(20, size=24) for _ in range(40)])
    log = log_of(np.concatenate([kinds, eager]).astype(np.int32), 60)
    now = task._replace(moments=mechanistic.moments_of(log, task.catalog))
    found = mechanistic.own_novelty(now, fitter.best, CONFIG)
    assert found[40:].mean() > found[:40].mean() + 0.05


def test_people_held_back_teach_nothing():
    rng = np.random.default_rng(0)
    taken = rng.integers(30, size=(40, 10)).astype(np.int32)
    task = mechanistic.prepare(log_of(taken, 30), None, CONFIG)
    held = np.unique(task.held_back // 10)
    assert len(held) == 8
    changed = taken.copy()
    changed[held] = 0
    other = mechanistic.prepare(log_of(changed, 30), None, CONFIG)
    one, two = (mechanistic.epoch(KEY, each, mechanistic.begin(each, CONFIG), CONFIG) for each in (task, other))
    assert {n: float(x) for n, x in one[0].raw.items()} == {n: float(x) for n, x in two[0].raw.items()}
    assert one[1]["held_back_nll"] != two[1]["held_back_nll"]


def test_nobody_is_foreseen_with_a_catalog_told_by_its_own_events():
    rng = np.random.default_rng(0)
    log = log_of(rng.integers(30, size=(40, 10)).astype(np.int32), 30)
    task = mechanistic.prepare(log, None, CONFIG)
    fitted = np.concatenate(task.fitted)
    assert sorted([*fitted, *task.held_back]) == list(range(400))
    for number, fold in enumerate(task.fitted):
        others = np.setdiff1d(fitted, fold)
        count = np.bincount(log.item[others], minlength=30) + 1
        np.testing.assert_allclose(task.others.popularity[number], count / count.sum(), rtol=1e-6)


def test_what_a_log_cannot_tell_is_not_fitted():
    plain = log_of(np.arange(40, dtype=np.int32).reshape(4, 10) % 12, 12)
    catalog, _ = world.catalog_of(plain)
    assert not {"quality", "length", "staleness"} & set(mechanistic.free(plain, catalog))
    valued = dataclasses.replace(plain, value=np.ones(40, np.float32), time=np.arange(40.0) * 1e6)
    catalog, _ = world.catalog_of(valued)
    assert {"quality", "staleness"} < set(mechanistic.free(valued, catalog))


def test_a_finished_world_clicks_as_often_as_it_is_told(planted):
    task, fitter = planted
    params = mechanistic.finished(task, fitter.best, CONFIG, 0.2)
    more = params.replace(base=mechanistic._base(task, fitter.best, CONFIG, 0.4))
    assert params.population.size == 150
    assert np.linalg.norm(params.population.traits.taste, axis=-1).max() <= 1.0
    looks = mechanistic._looks(fitter.best, jnp.arange(0, 3600, 20), jnp.arange(60), mechanistic._given(task), CONFIG)
    for found, rate in ((params, 0.2), (more, 0.4)):
        clicked = jax.nn.sigmoid(looks - task.params.base + found.base).mean(axis=(0, 1)) @ task.catalog.popularity
        assert float(clicked) == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize(
    ("taken", "n_items", "words"),
    [([[0, 1]], 4, "1 people with events and 4 items"), ([[0], [0], [0], [0]], 1, "4 people with events and 1 items")],
)
def test_logs_that_cannot_be_fitted_to_are_refused(taken, n_items, words):
    with pytest.raises(DataError, match=words):
        mechanistic.prepare(log_of(np.array(taken, np.int32), n_items), None, CONFIG)


def test_content_of_other_items_is_refused():
    with pytest.raises(DataError, match="content is of 3 items and simulated has 12"):
        mechanistic.prepare(log_of(np.zeros((5, 2), np.int32), 12), np.zeros((3, 2)), CONFIG)


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"negatives": -1}, {"held_back": 1.0}, {"remembered": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(JaxrecoError, match=next(iter(settings))):
        MechanisticConfig(**settings)
