"""A user fitted to a log: likelihoods by hand, windows, what is learned, and what must not leak."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreco.base import CLICK, EXAMINED, LIKE
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.fit import baselines, fitting, folder, foresight, objective
from jaxreco.fit import events as reading
from jaxreco.fit.fitting import FitConfig
from jaxreco.learning import checkpoint
from jaxreco.users.network import ItemTable, NetworkConfig

SMALL = NetworkConfig(width=16, layers=1, heads=2, window=8, remembered=8, dropout=0.1)
CONFIG = FitConfig(epochs=12, patience=12, batch=16, learning_rate=2e-2, held_back=0.2, horizon=1)
KEY = jax.random.key(3)


def log_of(sequences: list[Any], n_items: int, **columns: Any) -> Log:
    user = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    people = np.arange(len(sequences))
    return Log.of("x", user, np.concatenate(sequences), Items(np.arange(n_items)), people, **columns)


def in_a_circle(people: int = 60, n_items: int = 10, events: int = 12, seed: int = 0) -> Log:
    """Everybody takes the item after the one just taken, nine times in ten."""
    rng = np.random.default_rng(seed)
    sequences = []
    for _ in range(people):
        item, taken = int(rng.integers(n_items)), []
        for _ in range(events):
            item = (item + 1) % n_items if rng.random() < 0.9 else int(rng.integers(n_items))
            taken.append(item)
        sequences.append(taken)
    return log_of(sequences, n_items)


def a_table(n_items: int = 7, width: int = 3, seed: int = 0) -> ItemTable:
    rng = np.random.default_rng(seed)
    vector, long = (jnp.asarray(rng.normal(size=(n_items, width)), jnp.float32) for _ in range(2))
    return ItemTable(vector, jnp.asarray(rng.normal(size=n_items), jnp.float32), long)


# -- likelihood ----------------------------------------------------------------------------------------------


HIDDEN = jnp.asarray([[0.3, -1.0, 0.5], [2.0, 0.0, -0.4]])


def test_taking_is_a_softmax_over_the_catalog():
    table, items = a_table(), np.array([[2, 6], [5, -1]])
    found = objective.log_likelihood(HIDDEN, jnp.asarray(items), table)
    for t, h in [(0, 0), (0, 1), (1, 0)]:
        score = [float(HIDDEN[t] @ v + b) for v, b in zip(table.vector, table.bias, strict=True)]
        np.testing.assert_allclose(found[t, h], score[items[t, h]] - np.log(sum(np.exp(score))), rtol=1e-5)


def test_every_item_drawn_once_is_the_whole_catalog():
    table, item = a_table(), jnp.asarray([[4, 4, 2], [1, -1, -1]])
    everything = objective.Drawn(jnp.arange(7), jnp.zeros(7))
    found, whole = (objective.log_likelihood(HIDDEN, item, table, drawn) for drawn in (everything, None))
    np.testing.assert_allclose(found[item >= 0], whole[item >= 0], atol=1e-6)


@pytest.mark.parametrize("items", [[4], [4, 1], [4, 4, -1]])
def test_the_sum_over_the_catalog_is_estimated_without_bias(items):
    """Over all draws of two items, weighted by how likely each is, the estimated sum is the sum."""
    table, item = a_table(5), jnp.asarray([items])
    every = objective.scores(HIDDEN[:1], table)
    share = np.array([0.1, 0.4, 0.2, 0.25, 0.05])
    mean = 0.0
    for pair in itertools.product(range(5), repeat=2):
        drawn = objective.Drawn(jnp.asarray(pair), jnp.log(2 * jnp.asarray(share[list(pair)], jnp.float32)))
        total = objective.log_total(HIDDEN[:1], item, every[:, jnp.maximum(item[0], 0)], table, drawn)
        mean += np.prod(share[list(pair)]) * np.exp(float(total[0]))
    assert abs(mean / float(jnp.exp(every).sum()) - 1.0) < 1e-4


def test_items_are_drawn_by_their_shares():
    share = jnp.asarray([0.5, 0.0, 0.3, 0.2])
    drawn = objective.draw(KEY, share, 40_000)
    np.testing.assert_allclose(np.bincount(drawn.item, minlength=4) / 40_000, share, atol=0.01)
    np.testing.assert_allclose(np.exp(drawn.log_times), 40_000 * share[drawn.item], rtol=1e-4)


# -- events and windows ----------------------------------------------------------------------------------------


def test_windows_end_with_the_last_event_and_cover_all():
    log = log_of([[1, 2, 3, 4, 5], [6], [7, 8, 9, 1]], 10)
    found = reading.windows(log, np.array([0, 2]), 2)
    assert sorted(zip(*(column.tolist() for column in found), strict=True)) == [
        (0, 0, 1, 5), (0, 1, 3, 5), (0, 3, 5, 5), (6, 6, 8, 10), (6, 8, 10, 10),
    ]  # fmt: skip


def test_what_is_known_of_events_is_read():
    time = np.array([0.0, 7200.0, 100.0])
    actions = np.array([EXAMINED | CLICK | LIKE, EXAMINED | CLICK, EXAMINED | CLICK])
    log = log_of(
        [[0, 1], [2]], 3, time=time, value=np.float32([1, 5, 3]), actions=actions, watch=np.float32([0, 60, 0])
    )
    found = np.asarray(reading.events(log, reading.Scale.of(log)).about)
    column = {name: found[:, at] for at, name in enumerate(reading.FEATURES)}
    np.testing.assert_allclose(column["value"], (np.array([1, 5, 3]) - 3) / np.std([1, 5, 3]), rtol=1e-5)
    np.testing.assert_allclose(column["gap"], [0, np.log(3) / 4, 0], rtol=1e-5)  # the first of each person has none
    np.testing.assert_array_equal(column["timed"], [0, 1, 0])
    np.testing.assert_array_equal(column["like"], [1, 0, 0])
    np.testing.assert_allclose(column["watch"], [0, np.log(61) / 4, 0], rtol=1e-5)
    np.testing.assert_array_equal(column["watched"], [0, 1, 0])
    assert not np.asarray(reading.events(log_of([[0, 1]], 3), reading.Scale()).about).any()


def test_of_slates_only_what_was_clicked_counts():
    actions = np.array([EXAMINED, EXAMINED | CLICK, EXAMINED])
    assert reading.taken(log_of([[0, 1, 2]], 3, actions=actions)).item.tolist() == [1]
    assert len(reading.taken(log_of([[0, 1, 2]], 3, actions=np.full(3, EXAMINED)))) == 3  # no clicks are known
    with pytest.raises(DataError, match="no event in which somebody took an item"):
        reading.taken(log_of([[0]], 3).rows(np.zeros(0, int)))


def test_the_long_memory_holds_what_the_window_does_not():
    def sizes(lengths: list[int], **network: Any) -> tuple[int, int]:
        config = fitting.usual(log_of([np.zeros(n, int) for n in lengths], 2), network, {})[0]
        return config.window, config.remembered

    assert sizes([5] * 99 + [30]) == (8, 8)
    assert sizes([20] * 90 + [100] * 10) == (64, 128)
    assert sizes([900] * 3) == (64, 256)
    assert sizes([5] * 9, window=32) == (32, 32)
    assert sizes([5] * 9, remembered=16) == (8, 16)


@pytest.mark.parametrize(
    ("lengths", "expected"), [([3] * 20, 8), ([20] * 20, 32), ([500] * 5, 64), ([9] * 40 + [900], 16)]
)
def test_the_usual_length_holds_most_people(lengths, expected):
    assert reading.usual_length(log_of([np.zeros(n, int) for n in lengths], 2)) == expected


def test_small_logs_are_read_in_small_batches_and_often():
    def sizes(people: int, **fit: Any) -> tuple[int, int]:
        log = log_of([np.zeros(20, int)] * people, 2)  # two windows of 16 each
        config = fitting.usual(log, {"window": 16}, fit)[1]
        return config.batch, config.epochs

    assert sizes(10) == (8, 40)
    assert sizes(800) == (16, 20)  # 100 steps of an epoch, 2,000 in all
    assert sizes(10_000) == (64, 6)
    assert sizes(800, batch=64) == (64, 40)
    assert sizes(800, batch=64, epochs=3) == (64, 3)


# -- fitting -------------------------------------------------------------------------------------------------


def fitted(log: Log, config: FitConfig = CONFIG, content: Any = None, **network: Any) -> tuple[Any, Any]:
    task = fitting.prepare(KEY, log, content, dataclasses.replace(SMALL, **network), config)
    fitter = fitting.begin(task, config)
    while not fitting.is_over(fitter, config):
        fitter, _ = fitting.epoch(KEY, task, fitter, config)
    return task, fitter


@pytest.fixture(scope="module")
def circle() -> tuple[Any, Any]:
    return fitted(in_a_circle())


def test_only_what_is_learned_of_items_by_name_decays():
    task = fitting.prepare(KEY, in_a_circle(), np.ones((10, 2)), SMALL, CONFIG)
    params = nnx.state(task.network)
    config = dataclasses.replace(CONFIG, weight_decay=0.5)
    update = fitting.optimiser(config, 10)
    nothing = jax.tree.map(jnp.zeros_like, params)
    state = update.init(params)
    for _ in range(5):  # past the first step of the warm-up, whose rate is 0
        change, state = update.update(nothing, state, params)
    fallen = {
        name for name, moved in nnx.to_pure_dict(change).items() if any(np.any(leaf) for leaf in jax.tree.leaves(moved))
    }
    assert fallen == set(fitting.ITEM_VECTORS)


def test_a_planted_habit_is_learned(circle):
    """Who knows the habit needs 0.9 of 1/1.1-odds... nats: entropy of .91 for one item and .01 for nine others."""
    task, fitter = circle
    shares = np.array([0.91] + [0.01] * 9)
    best = float(-(shares * np.log(shares)).sum())  # of all events but a person's first
    rows = baselines.rows(task, fitter, 1)
    assert rows["popularity"] > 2.2
    assert best < rows["learned"] < best + 0.6
    assert rows["any item alike"] == pytest.approx(np.log(10))


def test_fitting_with_drawn_items_learns_it_too():
    _, fitter = fitted(in_a_circle(), dataclasses.replace(CONFIG, negatives=6))
    assert fitter.best_nll < 1.4


def test_several_events_ahead_are_foreseen():
    """After an item the next three come in a row: at best one of three, log 3 nats, were there no exceptions."""
    task, fitter = fitted(in_a_circle(), dataclasses.replace(CONFIG, horizon=3))
    assert np.log(3) < fitter.best_nll < 1.9 < baselines.rows(task, fitter, 3)["popularity"]
    model = nnx.merge(nnx.graphdef(task.network), fitter.best)
    found = next(
        foresight.log_probabilities(model, np.asarray(task.content), np.asarray(task.known), np.array([[3, 4, 5]]))
    )
    assert set(np.argsort(-found[0])[:3].tolist()) == {6, 7, 8}


def test_the_likelihood_of_an_untold_network_is_that_of_popularity():
    task = fitting.prepare(KEY, in_a_circle(), None, SMALL, CONFIG)
    nothing = jax.tree.map(jnp.zeros_like, nnx.state(task.network))
    nothing["bias"] = nnx.state(task.network)["bias"]  # type: ignore[index]
    fitter = fitting.begin(task, CONFIG)
    for batch, horizon in ((3, 1), (16, 4)):  # padded or not
        config = dataclasses.replace(CONFIG, batch=batch, horizon=horizon)
        found = fitting.foreseen(nnx.graphdef(task.network), nothing, task, task.held_back, config)
        assert float(found["item"]) == pytest.approx(baselines.rows(task, fitter, horizon)["popularity"], rel=1e-5)


def test_people_held_back_teach_nothing():
    log = in_a_circle()
    task = fitting.prepare(KEY, log, None, SMALL, CONFIG)
    held = np.unique(np.searchsorted(log.bounds, task.held_back.start, side="right") - 1)
    changed = log.item.copy()
    changed[np.isin(log.user, held)] = 0
    other = fitting.prepare(KEY, dataclasses.replace(log, item=changed), None, SMALL, CONFIG)
    one, two = (fitting.epoch(KEY, each, fitting.begin(each, CONFIG), CONFIG) for each in (task, other))
    chex.assert_trees_all_equal(one[0].params, two[0].params)
    assert one[1]["held_back_nll"] != two[1]["held_back_nll"]


def test_content_tells_of_items_that_nobody_took():
    """Two kinds of items; everybody keeps to one. The last item of each kind is taken by people held back alone."""
    rng = np.random.default_rng(0)
    log = log_of([(rng.integers(7, size=10) + 8 * (person % 2)).tolist() for person in range(60)], 16)
    kind = np.repeat(np.eye(2, dtype=np.float32), 8, axis=0) + 0.1 * rng.normal(size=(16, 2)).astype(np.float32)
    task, fitter = fitted(log, content=kind, unnamed=0.5)
    assert task.known.tolist() == ([True] * 7 + [False]) * 2
    model = nnx.merge(nnx.graphdef(task.network), fitter.best)
    table = model.items(task.content, task.known)
    item = jnp.asarray([0, 1, 2, 3, 4, 5, 6, 0], jnp.int32)
    hidden = model.read(model.past(jnp.full(8, -1), table), item, jnp.zeros((8, len(reading.FEATURES))), table)[-1]
    scores = objective.scores(hidden, table)
    assert scores[7] > scores[15] + 1.0


def test_a_fit_ends_when_nothing_is_gained():
    config = dataclasses.replace(CONFIG, patience=2, learning_rate=1e-9)
    task = fitting.prepare(KEY, in_a_circle(20), None, SMALL, config)
    fitter = fitting.begin(task, config)
    fitter = dataclasses.replace(fitter, best_nll=jnp.float32(0.0), best_epoch=jnp.int32(0))
    assert not fitting.is_over(dataclasses.replace(fitter, update=jnp.int32(1)), config)
    assert fitting.is_over(dataclasses.replace(fitter, update=jnp.int32(2)), config)
    assert fitting.is_over(dataclasses.replace(fitter, update=jnp.int32(12), best_epoch=jnp.int32(11)), config)


def test_a_fit_that_goes_on_is_one_that_never_stopped(tmp_path):
    log, config = in_a_circle(20), dataclasses.replace(CONFIG, epochs=4)
    task, whole = fitted(log, config)
    fitter = fitting.begin(task, config)
    for _ in range(2):
        fitter, _ = fitting.epoch(KEY, task, fitter, config)
    described = folder.describe(log, task, SMALL, config, 0, "none")
    checkpoint.save(tmp_path, fitter, folder.meta(described))
    again = fitting.prepare(KEY, log, None, SMALL, config)
    fitter, warnings = checkpoint.restore(tmp_path, fitting.begin(again, config), folder.meta(described))
    assert not warnings
    while not fitting.is_over(fitter, config):
        fitter, _ = fitting.epoch(KEY, again, fitter, config)
    chex.assert_trees_all_equal(fitter, checkpoint.settle(whole))
    with pytest.raises(JaxrecoError, match="the settings of the fit was"):
        checkpoint.restore(tmp_path, fitter, {**folder.meta(described), "fit": {**described["fit"], "epochs": 9}})


@pytest.mark.parametrize(
    ("log", "content", "words"),
    [
        (log_of([[0, 1]], 4), None, "1 people with events"),
        (in_a_circle(20), np.zeros((3, 2)), "content is of 3 items and x has 10"),
    ],
)
def test_logs_that_cannot_be_fitted_to_are_refused(log, content, words):
    with pytest.raises(DataError, match=words):
        fitting.prepare(KEY, log, content, SMALL, CONFIG)


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"negatives": -1}, {"held_back": 0.0}, {"batch": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(JaxrecoError, match=next(iter(settings))):
        FitConfig(**settings)


# -- foresight -----------------------------------------------------------------------------------------------


def test_what_is_foreseen_is_what_is_read_of_each_history_alone(circle):
    task, fitter = circle
    model = nnx.merge(nnx.graphdef(task.network), fitter.best)
    content, known = np.asarray(task.content), np.asarray(task.known)
    rng = np.random.default_rng(0)
    people = [rng.integers(10, size=n) for n in (*range(0, 20, 3), *([5] * foresight.BATCH))]
    history = np.full((len(people), 18), -1, np.int32)
    for row, taken in zip(history, people, strict=True):
        row[len(row) - len(taken) :] = taken
    found = np.concatenate(list(foresight.log_probabilities(model, content, known, history)))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-5)
    table = model.items(task.content, task.known)
    for taken, said in zip(people[:9], found, strict=False):
        split = max(len(taken) - SMALL.window, 0)
        past = model.past(jnp.asarray(taken[:split], jnp.int32), table)
        item = jnp.asarray(taken[split:], jnp.int32)
        hidden = model.read(past, item, jnp.zeros((len(item), len(reading.FEATURES))), table)[-1]
        np.testing.assert_allclose(said, jax.nn.log_softmax(objective.scores(hidden, table)), atol=1e-4)


def test_a_planted_habit_is_foreseen(circle):
    task, fitter = circle
    model = nnx.merge(nnx.graphdef(task.network), fitter.best)
    history = np.array([[-1, 3, 4, 5], [7, 8, 9, 0]], np.int32)
    found = next(foresight.log_probabilities(model, np.asarray(task.content), np.asarray(task.known), history))
    assert found.argmax(axis=1).tolist() == [6, 1]
