"""Instructions from hindsight: labels by hand, a decoder of planted ones, and what hearing them is worth."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.data.log import Items, Log
from jaxreco.fit import conditioned, hindsight
from jaxreco.fit.conditioned import Ahead
from jaxreco.fit.hindsight import Rows
from jaxreco.talk.grammar import INTENT
from jaxreco.users import asking
from jaxreco.users.asking import Asking

HOUR = 3600.0
MORE, LESS = 0, 3  # where the sentences of each begin, of three categories


def log_of(user: Any, item: Any, **columns: Any) -> Log:
    return Log.of("x", np.asarray(user), np.asarray(item), Items(np.arange(6)), np.arange(max(user) + 1), **columns)


CATEGORY = np.array([0, 0, 1, 1, 2, 2])

# -- labels --------------------------------------------------------------------------------------------------


def test_labels_by_hand():
    before = np.array([[4, 4, 2], [8, 1, 1], [5, 0, 5], [2, 0, 3], [5, 5, 0], [0, 5, 5]])
    after = np.array([[4, 1, 5], [2, 4, 4], [5, 0, 5], [4, 0, 6], [0, 5, 5], [5, 5, 0]])
    found, size = hindsight.labels(before, after, np.array([10, 20, 30]))
    # Gains and losses as large as each other: the gain. Nothing: no change. The same shares of fewer events: no change.
    assert found[[0, 1, 4, 5]].tolist() == [MORE + 2, LESS + 0, MORE + 2, MORE + 0]
    np.testing.assert_allclose(size, [0.3, 0.6, 0.0, 0.0, 0.5, 0.5], atol=1e-12)


def test_of_changes_as_large_the_rarer_category_is_named():
    before, after = np.array([[2, 2, 6]]), np.array([[4, 4, 2]])
    assert hindsight.labels(before, after, np.array([5, 4, 1]))[0].tolist() == [LESS + 2]
    before, after = np.array([[2, 2, 3, 3]]), np.array([[4, 4, 1, 1]])
    for often, named in (([5, 4, 1, 1], 1), ([4, 5, 1, 1], 0)):
        assert hindsight.labels(before, after, np.array(often))[0].tolist() == [named]


def test_points_are_the_ends_of_sessions():
    """Seven events, an hour's pause, six events, another and four; and somebody with one session."""
    item = [0] * 7 + [2, 2, 2, 4, 4, 2] + [4] * 4 + [0] * 12
    user = [0] * 17 + [1] * 12
    time = np.concatenate([np.arange(7), HOUR + np.arange(6), 2 * HOUR + np.arange(4), np.arange(12)])
    found = hindsight.points(log_of(user, item, time=time), CATEGORY, 3)
    assert found.person.tolist() == [0]  # behind the last pause too few events follow
    assert found.events.tolist() == [7]
    assert found.label.tolist() == [LESS + 0]  # all before, none of the next ten


def test_without_times_every_tenth_event_is_a_point():
    item = np.repeat([0, 2, 4, 4, 0], [10, 10, 10, 10, 4])
    found = hindsight.points(log_of([0] * 44, item), CATEGORY, 3)
    assert found.events.tolist() == [10, 20]  # nothing changes at 30, and after 40 there are four
    assert found.label.tolist() == [MORE + 1, MORE + 2]


def test_points_by_plain_loops():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(8), 60)
    time = np.concatenate([np.cumsum(rng.exponential(700.0, 60)) for _ in range(8)])
    log = log_of(user, rng.integers(6, size=480), time=time)
    found = hindsight.points(log, CATEGORY, 3)
    often = np.bincount(CATEGORY[log.item], minlength=3)
    expected = []
    for person in range(8):
        mine = np.flatnonzero(log.user == person)
        for at in range(5, len(mine) - 4):
            if log.time[mine[at]] - log.time[mine[at - 1]] < 1800.0:
                continue
            one, two = (CATEGORY[log.item[mine[part]]] for part in (slice(max(at - 10, 0), at), slice(at, at + 10)))
            change = [float(np.mean(two == c) - np.mean(one == c)) for c in range(3)]
            best = max([(round(abs(x), 6), x > 0, -often[c], c) for c, x in enumerate(change)])
            if best[0] > 0:
                expected.append((person, at, best[3] + (MORE if best[1] else LESS)))
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected
    assert len(expected) > 20


# -- the decoder ---------------------------------------------------------------------------------------------


def planted(number: int, seed: int, strength: float = 1.5) -> tuple[Rows, np.ndarray]:
    """Labels of six sentences that hidden states move, and the log-probabilities by which they were drawn."""
    rng = np.random.default_rng(seed)
    weight = np.random.default_rng(99).normal(size=(6, 4)) * strength
    hidden = (rng.normal(size=(number, 4)) * [1.0, 2.0, 1.0, 0.5] + [0.0, 5.0, 0.0, 0.0]).astype(np.float32)
    logits = (hidden - [0.0, 5.0, 0.0, 0.0]) @ weight.T + np.array([1.0, 0.0, 0.0, 0.0, -1.0, -2.0])
    log_chance = np.asarray(jax.nn.log_softmax(jnp.asarray(logits)), np.float64)
    return Rows(hidden, hindsight.draw(log_chance, rng)), log_chance


def test_planted_labels_are_decoded():
    (rows, _), (held, _), (others, truth) = planted(3000, 0), planted(500, 1), planted(3000, 2)
    found = hindsight.log_probabilities(hindsight.fit(rows, held, 3), others.hidden)
    mine = np.arange(3000), others.label
    base = np.log(hindsight.base_rate(rows.label, 3))[others.label]
    assert abs(found[mine].mean() - truth[mine].mean()) < 0.03
    assert found[mine].mean() > base.mean() + 0.5
    assert np.mean(found.argmax(axis=1) == truth.argmax(axis=1)) > 0.9
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-5)


def test_hidden_states_that_say_nothing_lead_to_the_base_rate():
    """Even where those of people fitted to say all."""
    rows, _ = planted(400, 0, 8.0)
    held, others = planted(300, 1)[0], planted(300, 2)[0]
    rng = np.random.default_rng(3)
    held, others = (each._replace(hidden=rng.permutation(each.hidden)) for each in (held, others))
    found = hindsight.log_probabilities(hindsight.fit(rows, held, 3), others.hidden)
    expected = np.log(hindsight.base_rate(rows.label, 3))
    np.testing.assert_allclose(np.exp(found).mean(axis=0), np.exp(expected), atol=0.05)
    assert np.abs(np.exp(found) - np.exp(expected)).mean() < 0.06


def test_a_wish_is_drawn_from_more():
    decoder = Asking(
        jnp.asarray([[1.0], [0.0], [-1.0], [9.0], [9.0], [9.0]]), jnp.asarray([0.0, 0.5, 0.0, 9.0, 9.0, 9.0])
    )
    hidden = jnp.asarray([0.7])
    expected = np.exp([0.7, 0.5, -0.7])
    uniform = (jnp.arange(4000) + 0.5) / 4000
    drawn = np.asarray(jax.vmap(lambda u: decoder.wish(u, hidden))(uniform))
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4000, expected / expected.sum(), atol=1e-3)
    assert asking.intents(3).tolist() == [INTENT["more"]] * 3 + [INTENT["less"]] * 3


# -- what an instruction is worth ----------------------------------------------------------------------------


def test_the_gain_is_that_of_scores_moved_by_hand():
    """Three items of two categories; the oracle is the softmax over items itself."""
    category, score, weight = np.array([0, 0, 1]), np.array([0.2, -0.4, 0.9]), np.array([0.7, -1.1])
    share = np.exp(score) / np.exp(score).sum()
    events = [0, 2, 2, 1]
    after = Ahead(
        np.tile([share[:2].sum(), share[2]], (4, 1)), np.tile([2, 2], (4, 1)), np.full(4, np.log(share[events]).sum())
    )
    found = conditioned.gain(weight, np.arange(4), after)
    for sentence in range(4):
        moved = score + weight[sentence // 2] * (category == sentence % 2)
        chance = np.exp(moved) / np.exp(moved).sum()
        assert after.nats[sentence] + found[sentence] == pytest.approx(np.log(chance[events]).sum())


def announced(
    points: int = 1200, n_categories: int = 4, strength: float = 1.2, seed: int = 0
) -> tuple[np.ndarray, Ahead]:
    """Everybody announces a category, and takes it more often by a weight; the network knows nothing of it."""
    rng = np.random.default_rng(seed)
    asked = rng.integers(n_categories, size=points)
    chance = rng.dirichlet(np.full(n_categories, 5.0), size=points)
    moved = chance * np.exp(strength * (np.arange(n_categories) == asked[:, None]))
    taken = np.array([rng.multinomial(10, row / row.sum()) for row in moved])
    return asked, Ahead(chance, taken, np.sum(taken * np.log(chance), axis=1))


def test_what_was_announced_is_found():
    asked, after = announced()
    every = np.ones(len(asked), bool)
    weight = conditioned.fit(asked, after, every)
    assert weight[0] == pytest.approx(1.2, abs=0.1)
    assert weight[1] == 0.0 or abs(weight[1]) < 1e-3  # nobody asked for less
    person = np.arange(len(asked)) // 4
    gain = conditioned.crossed(asked, after, person % 2 == 0)
    best = conditioned.gain(np.array([1.2, 0.0]), asked, after)
    assert gain.mean() == pytest.approx(best.mean(), abs=0.02)
    assert gain.mean() > 1.0


def test_what_others_asked_for_is_worth_nothing():
    asked, after = announced(4000)
    person = np.arange(len(asked)) // 4
    found = conditioned.shuffled(asked, person, np.random.default_rng(0))
    gain = conditioned.crossed(found, after, person % 2 == 0)
    assert abs(gain.mean()) < 4.0 * gain.std() / np.sqrt(len(gain)) + 0.005
    assert np.abs(conditioned.fit(found, after, person >= 0)).max() < 0.1


def test_nobody_gets_its_own_back():
    person = np.repeat(np.arange(6), [5, 1, 2, 7, 3, 4])
    for seed in range(5):
        found = conditioned.shuffled(person, person, np.random.default_rng(seed))
        assert not (found == person).any()
        assert sorted(found) == sorted(person)


def test_weights_are_told_by_the_other_half():
    """In one half everybody does what was announced, in the other the opposite: each half is judged by the wrong weights."""
    asked, after = announced(800)
    _, against = announced(800, strength=-1.2)
    half = np.arange(1600) < 800
    both = Ahead(*(np.concatenate(pair) for pair in zip(after, against, strict=True)))
    gain = conditioned.crossed(np.tile(asked, 2), both, half)
    assert gain[half].mean() < -0.5
    assert gain[~half].mean() < -0.5
