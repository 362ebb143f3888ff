"""Users that go on learning: the divergence by hand, what it holds back, who is held back, and what is refused."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError
from jaxreco.fit import continued, divergence, fitting, folder, living, objective, whole
from jaxreco.fit import events as reading
from jaxreco.fit.divergence import Anchor
from jaxreco.fit.states import states_of
from jaxreco.users.network import ItemTable

SIZE = {"epochs": 8, "width": 8, "layers": 1, "window": 8}
ITEMS, STARS = 9, (1.0, 2.0, 3.0)


def walks(step: int, people: int = 40, events: int = 10, first: int = 0, items: int = ITEMS, seed: int = 0) -> Log:
    """Everybody goes round in a circle by so many items at a time, and values every third item alike."""
    rng = np.random.default_rng(seed)
    table = (rng.integers(items, size=(people, 1)) + step * np.arange(events)) % items
    user = np.repeat(np.arange(people), events)
    value = np.array(STARS, np.float32)[table.ravel() % len(STARS)]
    ids = np.arange(ITEMS)
    return Log.of("x", user, table.ravel(), Items(ids), first + np.arange(people), value=value)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> continued.Fitted:
    out = tmp_path_factory.mktemp("users") / "fitted"
    whole.fit(walks(1), out, 0, SIZE, quiet=True)
    return continued.load(out)


def learned(fitted: continued.Fitted, log: Log, kl: float, epochs: int = 3) -> tuple[Any, list[dict[str, float]]]:
    """The users after some epochs, and the figures before and after each."""
    task, config = continued.task_of(fitted.model, fitted, log, kl), continued.config_of(fitted, epochs)
    fitter, figures = continued._begin(task, config)
    lines = [figures]
    while not fitting.is_over(fitter, config):
        fitter, logs = fitting.epoch(jax.random.key(5), task, fitter, config)
        lines.append(logs)
    return fitter, lines


# -- the divergence ------------------------------------------------------------------------------------------


def test_a_divergence_by_hand():
    """p = (1/2, 1/2), q = (1/4, 3/4): (log 2 + log 2/3) / 2."""
    log_p, log_q = (jnp.log(jnp.asarray(x)) for x in ([0.5, 0.5], [0.25, 0.75]))
    assert float(divergence.kl(log_p, log_q)) == pytest.approx((np.log(2) + np.log(2 / 3)) / 2, rel=1e-6)
    assert float(divergence.kl(log_p, log_p)) == 0.0


def tables(seed: int, n_items: int = 5, width: int = 3) -> tuple[np.ndarray, ItemTable]:
    rng = np.random.default_rng(seed)
    hidden, vector, bias = (rng.normal(size=shape) for shape in ((2, width), (n_items, width), n_items))
    return hidden, ItemTable(*(jnp.asarray(x, jnp.float32) for x in (vector, bias, vector)))


def by_loops(logits: list[np.ndarray]) -> float:
    p, q = (np.exp(each) / np.exp(each).sum() for each in logits)
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)))


@pytest.mark.parametrize("drawn", [None, [0, 1, 2, 3, 4], [3, 1, 3]])
def test_of_the_next_item_over_the_catalog_or_over_drawn_items(drawn):
    (was, old), (now, new) = tables(0), tables(1)
    times = None if drawn is None else np.linspace(0.5, 1.5, len(drawn))
    some = None if drawn is None else objective.Drawn(jnp.asarray(drawn), jnp.log(jnp.asarray(times, jnp.float32)))
    found = divergence.of_items(jnp.asarray(was), old, jnp.asarray(now), new, some)
    for t in range(2):
        logits = [np.asarray(x.vector) @ h[t] + np.asarray(x.bias) for h, x in ((was, old), (now, new))]
        if drawn is not None:
            logits = [each[drawn] - np.log(times) for each in logits]
        assert float(found[t]) == pytest.approx(by_loops(logits), rel=1e-4)
        assert float(found[t]) > 0.0


def shifted(params: Any, seed: int = 0) -> Any:
    leaves, form = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(
        form, [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    )


def test_of_a_window_by_loops_over_events_and_heads(fitted):
    """Of a person's last window: the mean of what the items and the stars of its events diverge by."""
    task = continued.task_of(fitted.model, fitted, walks(1), 1.0)
    graph, was = nnx.split(fitted.model.network)
    now = shifted(was)
    window = jax.tree.map(lambda column: jnp.asarray(column[0]), task.held_back)
    assert list(task.events.said) == ["value"]
    pair = divergence.readings(graph, now, task.known, task.anchor, task.content)
    expected = [0.0, 0.0]
    states = [states_of(*each, task.events, window, jnp.float32(1.0), None)[0] for each in pair]
    for place, at in enumerate(range(int(window.start), int(window.end))):
        logits, classes = [], []
        for (model, table), hidden in zip(pair, states, strict=True):
            item = int(task.events.item[at])
            logits.append(np.asarray(hidden[place] @ table.vector.T + table.bias, np.float64))
            head, heard = model.feedback["value"], task.events.said["value"].standing[at]
            outlook = head.outlook(hidden[place], table.vector[item], heard, item)
            classes.append(np.asarray(head.log_probabilities(outlook), np.float64))
        expected[0] += by_loops(logits)
        expected[1] += by_loops(classes)
    found = divergence.of_window(*pair, task.events, window, jnp.float32(1.0))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    config = continued.config_of(fitted, 1)
    one = task.held_back.rows(np.array([0]))
    many = int(one.end[0] - one.start[0])
    assert float(fitting.moved(graph, now, task, one, config)) == pytest.approx(sum(expected) / many, rel=1e-3)


def test_where_nothing_has_moved_it_is_0_and_so_is_its_slope(fitted):
    task = continued.task_of(fitted.model, fitted, walks(-1), 1.0)
    graph, params = nnx.split(task.network)
    batch = jax.tree.map(jnp.asarray, task.train.rows(np.arange(8)))
    given = (task.events, task.content, task.known)

    def mean(params: Any) -> Any:
        total, number = divergence.of_windows(graph, params, task.anchor, batch, given)
        return jnp.sum(total) / number

    here, slope = jax.value_and_grad(mean)(params)
    there, steep = jax.value_and_grad(mean)(shifted(params))
    # The anchor was reckoned in another program: on a Xeon (not on an EPYC) that leaves a rounding error of some 1e-9 of a nat.
    assert abs(float(here)) < 1e-7
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope)) < 1e-6
    assert float(there) > 1e-3
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(steep)) > 1e-3


def test_the_loss_is_that_of_a_fit_and_the_divergence(fitted):
    """With weight 2 it is larger by twice the divergence at the same moments; without an anchor it is that of a fit."""
    task = continued.task_of(fitted.model, fitted, walks(-1), 1.0)
    graph, params = nnx.split(task.network)
    config = dataclasses.replace(continued.config_of(fitted, 1), untold=0.0)
    batch = jax.tree.map(jnp.asarray, task.train.rows(np.arange(8)))
    moved = shifted(params)
    given = (task.events, task.content, task.known, task.share)

    def loss(anchor: Anchor | None) -> float:
        return float(fitting._loss(moved, graph, jax.random.key(0), batch, (*given, anchor), config))

    total, number = divergence.of_windows(graph, moved, task.anchor, batch, given[:3])
    apart = float(jnp.sum(total) / number)
    assert loss(task.anchor._replace(weight=2.0)) - loss(None) == pytest.approx(2.0 * apart, rel=1e-4)


# -- going on ------------------------------------------------------------------------------------------------


def test_people_who_changed_are_learned_and_the_divergence_holds(fitted):
    """Everybody turns round. By likelihood alone the users follow; the more the divergence weighs, the less."""
    found = {kl: learned(fitted, walks(-1, seed=1), kl)[1] for kl in (0.0, 1.0, 10.0, 1e4)}
    first = {kl: lines[0] for kl, lines in found.items()}
    assert all(line == first[0.0] for line in first.values())
    assert first[0.0]["kl"] == 0.0
    moved = [lines[-1]["kl"] for lines in found.values()]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 10 * moved[-1]
    nats = [lines[-1]["held_back_nll"] for lines in found.values()]
    assert nats == sorted(nats)
    assert nats[0] < first[0.0]["held_back_nll"] - 0.1
    assert moved[-1] < 0.01
    assert abs(nats[-1] - first[0.0]["held_back_nll"]) < 0.03


def test_users_of_whom_no_epoch_is_better_stay(fitted, monkeypatch):
    log = walks(1)
    config = continued.config_of(fitted, 2)
    wild = dataclasses.replace(config, learning_rate=5.0)
    monkeypatch.setattr(continued, "config_of", lambda fitted, epochs: dataclasses.replace(wild, epochs=2, patience=2))
    fitter, lines = learned(fitted, log, 0.0, 2)
    assert min(line["held_back_nll"] for line in lines[1:]) > lines[0]["held_back_nll"]
    assert int(fitter.best_epoch) == 0
    was = nnx.state(fitted.model.network)
    jax.tree.map(np.testing.assert_array_equal, fitter.best, jax.tree.map(jnp.asarray, was))


def test_whoever_was_held_back_stays_so(fitted):
    log = walks(1)
    _, config = folder.settings(fitted.folder, fitted.model.config)
    was = reading.parted(np.arange(40), config.held_back, 0)
    same = continued.task_of(fitted.model, fitted, log, 1.0).people
    jax.tree.map(np.testing.assert_array_equal, same, was)
    # Thirty of the forty, whose numbers now are others, and twenty new ones.
    later = walks(1, people=50, first=10)
    fit, held = continued.task_of(fitted.model, fitted, later, 1.0).people
    ids = np.asarray(later.user_ids)
    assert {int(i) for i in ids[held] if i < 40} == {int(i) for i in was[1] if i >= 10}
    assert sum(ids[held] >= 40) == 2
    assert sorted([*fit, *held]) == list(range(50))


def test_people_held_back_teach_nothing(fitted):
    log = walks(-1)
    held = continued.task_of(fitted.model, fitted, log, 0.0).people[1]
    item = np.where(np.isin(log.user, held), 0, log.item)
    one, other = (
        learned(fitted, each, 0.5, 1)[0].params for each in (log, dataclasses.replace(log, item=item.astype(np.int32)))
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_new_items_begin_as_they_were_read(tmp_path):
    """Two items that nobody took: read by their content, which is nothing here, until they are met."""
    whole.fit(walks(1, items=7), tmp_path / "few", 0, SIZE, quiet=True)
    fitted = continued.load(tmp_path / "few")
    assert fitted.model.known.tolist() == [True] * 7 + [False] * 2
    task = continued.task_of(fitted.model, fitted, walks(1), 1.0)
    assert task.known.all()
    fitter, lines = learned(fitted, walks(1), 0.0)
    assert lines[0]["kl"] == 0.0
    assert lines[-1]["nll_item"] < lines[0]["nll_item"]
    named = np.asarray(nnx.to_pure_dict(fitter.params)["named"])
    assert not np.asarray(nnx.to_pure_dict(nnx.state(task.network))["named"])[7:].any()
    assert named[7:].any()


def test_a_folder_of_users_as_fit_leaves_one(fitted, tmp_path):
    out = tmp_path / "next"
    continued.go_on(fitted, fitted, walks(-1, people=50), out, 1, 0.5, 2, True)
    found = continued.load(out)
    assert found.model.config["round"] == 1
    assert set(found.model.feedback) == set(fitted.model.feedback)
    change, lines = continued.change(out), [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [0, 1, 2]
    assert change.before == lines[0]["held_back_nll"]
    assert (change.after, change.kl) == (lines[change.epoch]["held_back_nll"], lines[change.epoch]["kl"])
    assert change.after < change.before
    # The same items, as agents see them, and all people of the log.
    jax.tree.map(np.testing.assert_array_equal, found.world.catalog, fitted.world.catalog)
    assert len(living.load(out).world.users) == 50
    continued.go_on(found, fitted, walks(-1, people=50), tmp_path / "after", 2, 0.5, 1, True)
    assert continued.change(tmp_path / "after").before == change.after
    assert not list(tmp_path.glob(".*"))


def test_the_reward_has_no_way_in():
    """What updates users takes users, a log and numbers, and nothing of an agent's."""
    assert set(inspect.signature(continued.go_on).parameters) == {
        "before", "fitted", "log", "out", "round", "kl", "epochs", "quiet",
    }  # fmt: skip
    assert set(inspect.signature(continued.task_of).parameters) == {"before", "fitted", "log", "kl"}


# -- what is refused -----------------------------------------------------------------------------------------


def test_logs_that_users_cannot_go_on_from(fitted):
    def refused(log: Log, words: str) -> None:
        with pytest.raises(DataError, match=words):
            continued.task_of(fitted.model, fitted, log, 1.0)

    log = walks(1)
    refused(dataclasses.replace(log, items=Items(np.arange(ITEMS) + 1)), "not the same ones in the same order")
    refused(dataclasses.replace(log, value=None), "have a head 'value', of which x says nothing")
    held = continued.task_of(fitted.model, fitted, log, 1.0).people[1]
    refused(log.rows(~np.isin(log.user, held)), "0 people with events who are held back and 36 others")


def test_folders_of_no_users_that_can_go_on(tmp_path: Path):
    from jaxreco import cli_fit_mindset

    with pytest.raises(DataError, match="holds no user model"):
        continued.load(tmp_path / "none")
    log = walks(1)
    cli_fit_mindset.fit(log, tmp_path / "mindset", None, "none", 0, {"epochs": 1}, Console(quiet=True))
    with pytest.raises(DataError, match="the mechanistic user's parameters, and no network to go on with"):
        continued.load(tmp_path / "mindset")
