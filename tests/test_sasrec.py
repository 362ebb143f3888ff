"""SASRec against plain loops, its windows, fits and agent; the blend and the hard candidates by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreco.base import CLICK, EMPTY, EXAMINED
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.logs import Interactions
from jaxreco.ranking import blend, cases, hard, metrics, sasrec_fit, tuning
from jaxreco.ranking.cases import VISIBLE, Cases
from jaxreco.ranking.sasrec import SASRec, Sizes
from jaxreco.ranking.sasrec_fit import FitConfig
from jaxreco.registry import agent_factory
from jaxreco.testing import quick_jit

SMALL = Sizes(width=8, heads=2, layers=2, window=3, dropout=0.5)
FITTED = Sizes(width=16, heads=2, layers=1)
QUICK = FitConfig(rounds=4, steps=25, batch=16, length=10, learning_rate=2e-2, thinned=0.2)


def log_of(sequences: list[list[int]], n_items: int) -> Log:
    user = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
    return Log.of("x", user, np.concatenate(sequences), Items(np.arange(n_items)), np.arange(len(sequences)))


def walkers(users: int = 80, n_items: int = 40, seed: int = 0) -> Log:
    """Who takes an item takes one of the next two after it: what came last says all, popularity nothing."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.integers(1, 3, (users, 14)), axis=1) + rng.integers(n_items, size=(users, 1))
    return log_of((steps % n_items).tolist(), n_items)


def stirred(sizes: Sizes, n_items: int, content: int = 0, seed: int = 0) -> SASRec:
    """A network in which nothing is 0 any more: new blocks add nothing."""
    graph, params = nnx.split(SASRec(sizes, n_items, content, rngs=nnx.Rngs(seed)))
    rng = np.random.default_rng(seed)
    return nnx.merge(graph, jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape).astype(np.float32), params))


# -- the network ---------------------------------------------------------------------------------------------


def normed(layer: Any, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean()
    return centred / np.sqrt((x**2).mean() - x.mean() ** 2 + 1e-6) * np.asarray(layer.scale[...]) + np.asarray(
        layer.bias[...]
    )


def by_loops(network: SASRec, vector: np.ndarray, items: list[int]) -> np.ndarray:
    """f64[d], the state after the last of some items: the formulas, token by token, head by head."""
    sizes = network.sizes
    x = [vector[item] * np.sqrt(sizes.width) for item in items]
    each = sizes.width // sizes.heads
    block: Any
    for block in network.blocks:
        qkv = [normed(block.norm1, token) @ np.asarray(block.qkv.kernel[...]) for token in x]
        after = []
        for at, token in enumerate(x):
            mixed = np.zeros(sizes.width)
            for head in range(sizes.heads):
                of = slice(head * each, (head + 1) * each)
                near = range(max(0, at - sizes.window + 1), at + 1)
                query = qkv[at][: sizes.width][of]
                logit = np.array(
                    [
                        query @ qkv[past][sizes.width : 2 * sizes.width][of] / np.sqrt(each)
                        - 2.0 ** (-8.0 * (head + 1) / sizes.heads) * (at - past)
                        for past in near
                    ]
                )
                weight = np.exp(logit) / np.exp(logit).sum()
                mixed[of] = sum(w * qkv[past][2 * sizes.width :][of] for w, past in zip(weight, near, strict=True))
            token = token + mixed @ np.asarray(block.out.kernel[...]) + np.asarray(block.out.bias[...])
            up = normed(block.norm2, token) @ np.asarray(block.up.kernel[...]) + np.asarray(block.up.bias[...])
            up = 0.5 * up * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (up + 0.044715 * up**3)))
            after.append(token + up @ np.asarray(block.down.kernel[...]) + np.asarray(block.down.bias[...]))
        x = after
    return normed(network.norm, x[-1])


def test_scores_are_those_of_plain_loops() -> None:
    network = stirred(SMALL, 9, content=3)
    content = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    table = network.table(jnp.asarray(content))
    vector = np.asarray(network.item[...]) + content @ np.asarray(network.content.kernel[...])
    np.testing.assert_allclose(table.vector, vector, rtol=1e-4, atol=1e-5)
    for items in ([4], [4, 2, 7], [1, 8, 3, 0, 5, 5]):
        history = jnp.asarray([-1] * (VISIBLE - len(items)) + items)
        expected = vector @ by_loops(network, vector, items) + np.asarray(network.bias[...])
        np.testing.assert_allclose(network.scores(table, history), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(network.scores(table, jnp.full(VISIBLE, -1)), table.bias)


def test_nothing_is_known_of_later_items_nor_of_padding() -> None:
    network = stirred(SMALL, 9)
    table = network.table()
    states = network.states(table, jnp.asarray([3, 1, 4, 1, 5]))
    other = network.states(table, jnp.asarray([3, 1, 4, 8, -1]))
    np.testing.assert_array_equal(states[:3], other[:3])
    assert (np.abs(states[3:] - other[3:]).max(axis=1) > 1e-2).all()
    scores = [network.scores(table, jnp.asarray([-1] * pad + [3, 1, 4])) for pad in (0, 1, 7)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores[0], scores[2], rtol=1e-5, atol=1e-5)


def test_dropout_only_with_a_key() -> None:
    network = stirred(SMALL, 9)
    table, item = network.table(), jnp.asarray([3, 1, 4])
    np.testing.assert_array_equal(network.states(table, item), network.states(table, item))
    first, other = (network.states(table, item, jax.random.key(seed)) for seed in (0, 1))
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(width=0), "width is 0"),
        (dict(width=9, heads=2), "not a multiple"),
        (dict(dropout=1.0), "dropout is 1.0"),
        (dict(layers=0), "layers is 0"),
    ],
)
def test_impossible_sizes(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(JaxrecoError, match=words):
        Sizes(**settings)


# -- windows -------------------------------------------------------------------------------------------------


def test_windows_by_hand() -> None:
    """Nine items in threes from the second on; two items in one; one item is followed by nothing."""

    class Cut:
        def integers(self, length: int, size: int) -> np.ndarray:
            return np.array([2, 1, 1])

    user = np.repeat([0, 1, 2], [9, 2, 1])
    item = np.concatenate([np.arange(9), [20, 21], [30]])
    found = sasrec_fit.windows(user, item, 3, Cut())  # type: ignore[arg-type]
    assert found.tolist() == [[0, 1, -1, -1], [1, 2, 3, 4], [4, 5, 6, 7], [7, 8, -1, -1], [20, 21, -1, -1]]


def test_every_item_but_the_first_is_foreseen_once() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 50)
    user, item = np.repeat(np.arange(50), lengths), np.arange(lengths.sum())
    found = sasrec_fit.windows(user, item, 7, rng)
    targets = found[:, 1:][found[:, 1:] >= 0]
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    assert sorted(targets.tolist()) == sorted(set(item.tolist()) - set(first.tolist()))
    before = found[:, :-1][found[:, 1:] >= 0]
    np.testing.assert_array_equal(before + 1, targets)  # items are numbered as they came


def test_thinning_keeps_the_order_and_enough() -> None:
    log = log_of([list(range(100)), list(range(100, 103)), [200]], 201)
    sizes = []
    for seed in range(300):
        user, item = sasrec_fit.thinned(log, 1.0, np.random.default_rng(seed))
        assert (np.diff(item) > 0).all()
        assert item[user == 1].tolist() == [100, 101, 102]
        assert item[user == 2].tolist() == [200]
        sizes.append(int((user == 0).sum()))
    assert min(sizes) >= sasrec_fit.LEAST
    assert max(sizes) <= 100
    assert np.median(sizes) == pytest.approx(np.sqrt(5 * 100), rel=0.3)  # log m is uniform
    same = sasrec_fit.thinned(log, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(same[1], log.item)


def test_batches_have_one_shape_whatever_the_log() -> None:
    for log in (walkers(3), walkers(200)):
        assert sasrec_fit.batches_of(log, QUICK, np.random.default_rng(0)).shape == (25, 16, 11)


# -- fits ----------------------------------------------------------------------------------------------------


def test_the_loss_by_hand() -> None:
    """Nothing drawn: a softmax over the catalog, the mean over items that are there; all drawn alike: nearly the same."""
    network = stirred(dataclasses.replace(SMALL, dropout=0.0), 6)
    batch = jnp.asarray([[0, 3, 5, -1], [2, 1, 2, 4]])
    table = network.table()
    nats = []
    for row in batch.tolist():
        items = [item for item in row if item >= 0]
        for at in range(1, len(items)):
            every = np.asarray(table.vector) @ by_loops(network, np.asarray(table.vector), items[:at]) + np.asarray(
                table.bias
            )
            nats.append(np.log(np.exp(every).sum()) - every[items[at]])
    graph, params = nnx.split(network)
    share = jnp.full(6, 1 / 6)
    found = sasrec_fit.loss(params, graph, jax.random.key(0), batch, (None, share), 0)
    assert float(found) == pytest.approx(np.mean(nats), rel=1e-3)
    drawn = [
        float(sasrec_fit.loss(params, graph, jax.random.key(seed), batch, (None, share), 4000)) for seed in range(2)
    ]
    assert np.mean(drawn) == pytest.approx(np.mean(nats), rel=0.02)


@pytest.fixture(scope="module")
def learned() -> tuple[tuning.Inner, sasrec_fit.Fitted]:
    inner = tuning.by_user(walkers())
    return inner, sasrec_fit.fit(inner.train, FITTED, QUICK, held_back=inner.cases)


def worth(scores: np.ndarray, given: Cases) -> float:
    return float(metrics.sampled_hit(metrics.places(scores, given)).mean())


def test_a_fit_learns_the_order(learned: tuple[tuning.Inner, sasrec_fit.Fitted]) -> None:
    _, fitted = learned
    given = cases.last_items(walkers(seed=9), np.arange(80))
    assert worth(fitted.scores(given.history), given) > 0.4


def test_the_best_round_is_taken(learned: tuple[tuning.Inner, sasrec_fit.Fitted]) -> None:
    inner, fitted = learned
    assert len(fitted.hits) <= QUICK.rounds
    assert fitted.hits[fitted.rounds - 1] == max(fitted.hits)
    assert worth(fitted.scores(inner.cases.history), inner.cases) == pytest.approx(max(fitted.hits), abs=1e-6)


def test_a_fit_is_the_same_again_and_stops_where_it_is_told(learned: tuple[tuning.Inner, sasrec_fit.Fitted]) -> None:
    inner, fitted = learned
    history = inner.cases.history
    again = sasrec_fit.fit(inner.train, FITTED, QUICK, stop=fitted.rounds)
    assert (again.rounds, again.hits) == (fitted.rounds, ())
    np.testing.assert_array_equal(again.scores(history), fitted.scores(history))
    other = sasrec_fit.fit(inner.train, FITTED, QUICK, stop=1, seed=1)
    assert np.abs(other.scores(history) - fitted.scores(history)).max() > 0.1


def test_patience_ends_a_fit() -> None:
    inner = tuning.by_user(walkers())
    still = dataclasses.replace(QUICK, rounds=9, learning_rate=0.0, patience=2)
    assert len(sasrec_fit.fit(inner.train, FITTED, still, held_back=inner.cases).hits) <= 3


def test_content_tells_of_items_that_nobody_took() -> None:
    """Item 39 is like item 20 and was never taken: its content alone says so."""
    log = walkers(n_items=39)
    log = dataclasses.replace(log, items=Items(np.arange(40)))
    content = np.eye(39, dtype=np.float32)[[*range(39), 20]]
    fitted = sasrec_fit.fit(log, FITTED, QUICK, content=content)
    told = fitted.scores(np.array([[15, 17, 19]], np.int32))[0]
    assert fitted.scores(np.zeros((0, 3), np.int32)).shape == (0, 40)
    beyond = told - np.asarray(fitted.network.bias[...])  # nobody took it, and its bias says so
    assert beyond[39] > np.median(beyond)


def test_bad_logs_and_settings() -> None:
    with pytest.raises(DataError, match="nobody with 2 events"):
        sasrec_fit.fit(log_of([[1], [2]], 5), FITTED, QUICK)
    with pytest.raises(DataError, match="content is of 3 items and x has 40"):
        sasrec_fit.fit(walkers(), FITTED, QUICK, content=np.zeros((3, 2)))
    for settings, words in (
        (dict(rounds=0), "rounds is 0"),
        (dict(thinned=1.5), "thinned is 1.5"),
        (dict(negatives=-1), "negatives is -1"),
    ):
        with pytest.raises(JaxrecoError, match=words):
            FitConfig(**settings)


def test_what_suits_a_log() -> None:
    many = log_of([[1, 2], [5000, 3]], 5001)
    assert sasrec_fit.usual(many).negatives == sasrec_fit.DRAWN
    assert sasrec_fit.usual(walkers()).negatives == 0
    assert sasrec_fit.usual(log_of([list(range(50))], 50)).length > sasrec_fit.usual(walkers()).length
    assert sasrec_fit.usual(walkers(), rounds=2).rounds == 2


# -- the blend -----------------------------------------------------------------------------------------------


def test_a_blend_by_hand() -> None:
    closed = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]], np.float32)
    root = np.sqrt(1.5)
    np.testing.assert_allclose(blend.standard(closed), [[-root, 0, root], [0, 0, 0]], rtol=1e-6)
    found = blend.mixed(np.array([[0, 0, 1], [1, 0, 0]], np.float32), closed, 2.0)
    np.testing.assert_allclose(found, [[-2 * root, 0, 2 * root + 1], [1, 0, 0]], rtol=1e-6)


def test_a_blend_takes_what_helps_and_leaves_what_does_not() -> None:
    rng = np.random.default_rng(0)
    given = Cases(np.full((60, VISIBLE), -1, np.int32), rng.integers(40, size=60).astype(np.int32))
    good, noise = rng.normal(size=(2, 60, 40)).astype(np.float32)
    good[np.arange(60), given.target] += 2.0
    assert blend.tune(noise, good, given) == max(blend.WEIGHTS)
    assert blend.tune(good, noise, given) < 1.0
    assert blend.tune(good, np.ones_like(good), given) == 0.0  # of equals the smallest


# -- hard candidates -----------------------------------------------------------------------------------------


def test_a_shortlist_by_hand() -> None:
    """Best first are 4, 2, 0, 1, 3; 4 is in the history."""
    scores = np.array([[0.5, 0.4, 0.7, 0.1, 0.9]])
    given = Cases(np.array([[-1, 4]], np.int32), np.array([2], np.int32))
    assert hard.shortlist(scores, given, 3).tolist() == [[0, 1, 2]]
    assert hard.shortlist(scores, Cases(given.history * 0 - 1, given.target), 2).tolist() == [[2, 4]]
    assert scores[0, 4] == 0.9


def test_hits_among_those_shown_by_hand() -> None:
    shown = np.array([[0, 2, 3]] * 4, np.int32)
    given = Cases(np.full((4, VISIBLE), -1, np.int32), np.array([2, 2, 2, 1], np.int32))
    scores = np.array([[0, 9, 5, 1], [5, 0, 5, 5], [6, 0, 5, 1], [0, 9, 0, 0]], np.float32)
    found = hard.hit(scores, shown, given)  # first, one of three equals, second, not shown
    np.testing.assert_allclose(found, [1.0, 1 / 3, 0.0, np.nan])


# -- the agent -----------------------------------------------------------------------------------------------


def test_the_agent_ranks_as_its_network_does(feed: Any, key: jax.Array) -> None:
    """Clicks in three turns are one history of the last ten, whichever slots they were in."""
    env, params = feed
    rng = np.random.default_rng(0)
    user = np.sort(rng.integers(40, size=600)).astype(np.int32)
    log = Interactions(
        user, rng.integers(env.n_items, size=600).astype(np.int32), np.ones(600, np.float32), 40, env.n_items
    )
    agent = agent_factory("sasrec")(width=16, rounds=1, content=True)
    learned = agent.init(key, env, params.catalog, log=log)
    memory, obs = agent.reset(learned), env.reset(key, params)[0]
    turns = (([4, 9, 20, 33], [1, 0, 0, 1]), ([EMPTY] * 4, [0] * 4), ([7, 2, 11, 5], [0, 1, 1, 0]))
    clicked: list[int] = []
    for slate, clicks in turns * 3:
        shown = obs.replace(slate=jnp.asarray(slate), actions=EXAMINED | CLICK * jnp.asarray(clicks))
        slate_now, memory, _ = quick_jit(agent.act)(key, learned, memory, shown, params.catalog)
        clicked += [item for item, click in zip(slate, clicks, strict=True) if click]
        expected = clicked[-VISIBLE:]
        assert memory.tolist() == [EMPTY] * (VISIBLE - len(expected)) + expected
    scores = np.asarray(learned.network.scores(learned.table, memory))
    assert slate_now.tolist() == np.argsort(-scores, kind="stable")[: len(slate_now)].tolist()
    again = agent.init(key, env, params.catalog, log=log)
    np.testing.assert_array_equal(again.table.vector, learned.table.vector)
