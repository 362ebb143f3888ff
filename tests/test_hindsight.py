"""Instructions from hindsight: labels by hand, a decoder of planted ones, and what hearing them is worth."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco import population
from jaxreco.base import Context
from jaxreco.benchmarks import hindsight as bench
from jaxreco.benchmarks.report import Report
from jaxreco.data.log import Items, Log
from jaxreco.envs import learned as learned_world
from jaxreco.errors import DataError
from jaxreco.fit import conditioned, finish, fitting, hindsight, living
from jaxreco.fit import events as reading
from jaxreco.fit import folder as kept
from jaxreco.fit.conditioned import Asked
from jaxreco.fit.fitting import FitConfig
from jaxreco.fit.hindsight import Points
from jaxreco.fit.moments import Hidden
from jaxreco.talk.grammar import INTENT, KIND
from jaxreco.testing import check_env
from jaxreco.users import asking
from jaxreco.users.asking import REACH, Asking
from jaxreco.users.network import NetworkConfig

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
    assert found.before.tolist() == [[7, 0, 0]]
    assert found.after.tolist() == [[0, 4, 6]]


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
            if log.time[mine[at]] - log.time[mine[at - 1]] < 1800.0:  # type: ignore[index]
                continue
            one, two = (CATEGORY[log.item[mine[part]]] for part in (slice(max(at - 10, 0), at), slice(at, at + 10)))
            change = [float(np.mean(two == c) - np.mean(one == c)) for c in range(3)]
            best = max([(round(abs(x), 6), x > 0, -often[c], c) for c, x in enumerate(change)])
            if best[0] > 0:
                expected.append((person, at, best[3] + (MORE if best[1] else LESS)))
    columns = (found.person, found.events, found.label)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert len(expected) > 20


def test_of_many_points_whole_people_are_taken(monkeypatch):
    person = np.repeat(np.arange(10), 6)
    nothing = np.zeros((60, 3), np.int64)
    every = Points(person, np.arange(60), nothing, nothing, np.zeros(60, np.int64))
    assert hindsight.few(every) is every
    monkeypatch.setattr(hindsight, "MOST", 30)
    people, count = np.unique(hindsight.few(every).person, return_counts=True)
    assert len(people) == 5
    assert set(count) == {6}


def test_what_is_foreseen_is_a_softmax_over_items():
    """One window of four events of one person; after two of them the last two are ahead."""
    rng = np.random.default_rng(0)
    states, vector, bias = rng.normal(size=(1, 9, 3)), rng.normal(size=(6, 3)), rng.normal(size=6)
    windows = reading.Windows(*(np.array([x]) for x in (0, 0, 4, 4)))
    found = Hidden(states, windows, np.array([0, 4]), vector, bias)
    nothing = np.zeros((1, 3), np.int64)
    point = Points(np.array([0]), np.array([2]), nothing, nothing, np.array([0]))
    ahead = hindsight.ahead(found, point, np.array([5, 5, 1, 4]), CATEGORY)
    share = np.exp(vector @ states[0, 2] + bias)
    share /= share.sum()
    np.testing.assert_allclose(ahead.chance[0], [share[c == CATEGORY].sum() for c in range(3)], rtol=1e-5)
    assert ahead.nats[0] == pytest.approx(np.log(share[1] * share[4]), rel=1e-5)


# -- the decoder ---------------------------------------------------------------------------------------------

PLANTED = Asking(
    jnp.asarray([[0.8, 1.0, -2.0, -0.5], [-0.3, 0.0, 3.0, 1.0]]), jnp.asarray([1.0, 0.0, 0.5, 0.0, -1.0, -2.0])
)


def planted(number: int, seed: int) -> tuple[Points, np.ndarray, np.ndarray]:
    """(points whose labels are drawn, chances, log-probabilities by which they were)."""
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet(np.ones(3), size=number)
    before = rng.multinomial(10, [0.2, 0.3, 0.5], size=number)
    nothing = np.zeros(number, np.int64)
    points = Points(np.arange(number), nothing, before, before, nothing)
    log_chance = hindsight.log_probabilities(PLANTED, points, chance)
    return points._replace(label=hindsight.draw(log_chance, rng)), chance, log_chance


def test_planted_labels_are_decoded():
    points, chance, _ = planted(3500, 0)
    others, their_chance, truth = planted(3000, 2)
    decoder = hindsight.fit(points, chance, np.arange(3500) >= 3000)
    found = hindsight.log_probabilities(decoder, others, their_chance)
    mine = np.arange(3000), others.label
    base = np.log(hindsight.base_rate(points.label, 3))[others.label]
    assert abs(found[mine].mean() - truth[mine].mean()) < 0.03
    assert found[mine].mean() > base.mean() + 0.1
    assert np.mean(found.argmax(axis=1) == truth.argmax(axis=1)) > 0.9
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-5)


def test_people_held_back_say_how_far_to_trust_it():
    """Of people whose labels have nothing to do with what is known of them, it learns to keep to the base rate."""
    points, chance, _ = planted(3000, 0)
    held = np.arange(3000) >= 1500
    label = np.where(held, np.random.default_rng(1).permutation(points.label), points.label)
    sure, unsure = (hindsight.fit(points._replace(label=x), chance, held) for x in (points.label, label))
    assert float(jnp.abs(unsure.weight).max()) < 0.4 * float(jnp.abs(sure.weight).max())


def test_logits_by_hand():
    chance, share = np.array([0.2, 0.5, 0.3]), np.array([0.0, 0.1, 0.9])
    logits = []
    for intent in (0, 1):
        for c in range(3):
            known = np.array([np.log(chance[c]), chance[c], share[c], float(share[c] > 0)])
            logits.append(known @ np.asarray(PLANTED.weight)[intent] + float(PLANTED.bias[3 * intent + c]))
    expected = np.exp(logits) / np.exp(logits).sum()
    found = PLANTED.log_probabilities(jnp.asarray(chance), jnp.asarray(share))
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-5)
    uniform = (jnp.arange(4000) + 0.5) / 4000
    drawn = np.asarray(jax.vmap(lambda u: PLANTED.wish(u, jnp.asarray(chance), jnp.asarray(share)))(uniform))
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4000, expected[:3] / expected[:3].sum(), atol=1e-3)
    assert asking.intents(3).tolist() == [INTENT["more"]] * 3 + [INTENT["less"]] * 3


# -- what an instruction is worth ----------------------------------------------------------------------------


def test_the_gain_is_that_of_scores_moved_by_hand():
    """Three items of two categories; the oracle is the softmax over items itself."""
    category, score, weight = np.array([0, 0, 1]), np.array([0.2, -0.4, 0.9]), np.array([0.7, -1.1])
    share = np.exp(score) / np.exp(score).sum()
    events = [0, 2, 2, 1]
    chance, after = np.tile([share[:2].sum(), share[2]], (4, 1)), np.tile([2, 2], (4, 1))
    found = conditioned.gain(weight, Asked.of(np.arange(4), chance, after))
    for sentence in range(4):
        moved = score + weight[sentence // 2] * (category == sentence % 2)
        moved_share = np.exp(moved) / np.exp(moved).sum()
        assert found[sentence] == pytest.approx(np.log(moved_share[events] / share[events]).sum())


def announced(points: int = 1200, strength: float = 1.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sentence, chance, next events): everybody announces one of four categories, and takes it so much more often than the network
    foresees.
    """
    rng = np.random.default_rng(seed)
    asked, chance = rng.integers(4, size=points), rng.dirichlet(np.full(4, 5.0), size=points)
    moved = chance * np.exp(strength * (np.arange(4) == asked[:, None]))
    return asked, chance, np.array([rng.multinomial(10, row / row.sum()) for row in moved])


def test_what_was_announced_is_found():
    told = Asked.of(*announced())
    weight = conditioned.fit(told)
    assert weight[0] == pytest.approx(1.2, abs=0.1)
    assert weight[1] == 0.0  # nobody asked for less
    gain = conditioned.crossed(told, np.arange(1200) // 4 % 2 == 0)
    best = conditioned.gain(np.array([1.2, 0.0]), told)
    assert gain.mean() == pytest.approx(best.mean(), abs=0.02)
    assert gain.mean() > 1.0


def test_what_others_asked_for_is_worth_nothing():
    asked, chance, after = announced(4000)
    person = np.arange(4000) // 4
    told = Asked.of(conditioned.shuffled(asked, person, np.random.default_rng(0)), chance, after)
    for either_way in (False, True):
        gain = conditioned.crossed(told, person % 2 == 0, either_way)
        assert abs(gain.mean()) < 4.0 * gain.std() / np.sqrt(len(gain)) + 0.005
        assert np.abs(conditioned.fit(told, either_way)).max() < 0.1


def test_who_does_the_opposite_is_not_taken_at_its_word():
    told = Asked.of(*announced(strength=-1.2))
    assert conditioned.fit(told)[0] == 0.0
    assert conditioned.fit(told, either_way=True)[0] == pytest.approx(-1.2, abs=0.15)
    less = told._replace(intent=np.ones_like(told.intent))
    assert conditioned.fit(less)[1] == pytest.approx(-1.2, abs=0.15)


def test_nobody_gets_its_own_back():
    person = np.repeat(np.arange(6), [5, 1, 2, 7, 3, 4])
    for seed in range(5):
        found = conditioned.shuffled(person, person, np.random.default_rng(seed))
        assert not (found == person).any()
        assert sorted(found) == sorted(person)


def test_weights_are_told_by_the_other_half():
    """In one half everybody does what was announced, in the other the opposite: each half is judged by the wrong weights."""
    pairs = zip(Asked.of(*announced(800)), Asked.of(*announced(800, -1.2)), strict=True)
    told, half = Asked(*(np.concatenate(pair) for pair in pairs)), np.arange(1600) < 800
    gain = conditioned.crossed(told, half, either_way=True)
    assert gain[half].mean() < -0.5
    assert gain[~half].mean() < -0.5


# -- in the world --------------------------------------------------------------------------------------------


def test_what_was_taken_lately_by_a_plain_list():
    rng = np.random.default_rng(0)
    mine, found = [-1] * REACH, jnp.full(REACH, -1)
    for _ in range(12):
        category, taken = rng.integers(4, size=6), rng.random(6) < 0.4
        found = asking.pushed(found, jnp.asarray(category), jnp.asarray(taken))
        mine = [*mine, *category[taken].tolist()][-REACH:]
        assert found.tolist() == mine
    long = asking.pushed(found, jnp.arange(14), jnp.ones(14, bool))
    assert long.tolist() == list(range(4, 14))


def a_living_log(people: int = 40, seed: int = 0) -> Log:
    """Sessions of six events of one kind each; a day apart."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=(people, 8)).repeat(6, axis=1)
    item = 4 * kind + rng.integers(4, size=kind.shape)
    time = np.arange(8).repeat(6) * 24 * HOUR + np.tile(np.arange(6) * 60.0, 8)
    items = Items(np.arange(12), categories=[(f"kind {at // 4}",) for at in range(12)])
    user = np.repeat(np.arange(people), 48)
    return Log.of("living", user, item.ravel(), items, np.arange(people), time=np.tile(time, people))


NOTHING = finish.Finished({}, {}, {}, {}, {})


@pytest.fixture(scope="module")
def living_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log, folder = a_living_log(), tmp_path_factory.mktemp("fit") / "user"
    network = NetworkConfig(width=8, layers=1, heads=2, window=8, remembered=8)
    config = FitConfig(epochs=1, patience=1, batch=16, held_back=0.2, horizon=1)
    task = fitting.prepare(jax.random.key(0), log, None, network, config)
    fitter, _ = fitting.epoch(jax.random.key(1), task, fitting.begin(task, config), config)
    model = fitting.with_weights(task, fitter.best)
    run = kept.create(folder, kept.describe(log, task, network, config, 0, "none"), log, task)
    living.keep(folder, log, model, task, NOTHING, 0)
    kept.keep(run, fitter, NOTHING, {"learned": 1.0})
    return folder


def test_a_folder_keeps_the_decoder(living_folder: Path) -> None:
    its, params = living.load(living_folder)
    log = a_living_log()
    category = np.asarray(its.catalog.category)
    assert params.asking.bias.shape == (6,)
    assert params.others.category.tolist() == category.tolist()
    env, _ = learned_world.make(user_model=living_folder, slate_size=4)
    heads = env.user_model.heads  # type: ignore[attr-defined]
    assert heads["instruction"] == "hindsight"
    assert heads["watch"] == "prior"
    last = [log.item[log.user == person][-REACH:] for person in range(40)]
    np.testing.assert_array_equal(params.population.traits.begun.lately, category[np.stack(last)])


def test_without_it_wishes_are_the_priors(living_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "user"
    shutil.copytree(living_folder, folder)
    (folder / living.ASKING).unlink()
    env, params = learned_world.make(user_model=folder, slate_size=4)
    assert params.user.asking is None
    assert env.user_model.heads["instruction"] == "prior"  # type: ignore[attr-defined]
    assert params.user.population.traits.begun.lately.shape == (40, 0)
    np.savez(folder / living.ASKING, weight=np.zeros((2, 4)), bias=np.zeros(8))
    with pytest.raises(DataError, match="not of the 3 categories of its world"):
        learned_world.make(user_model=folder)


def openings(folder: Path, rho: float) -> tuple[Any, Any, Any]:
    """(params, states, instructions) of many users who open a session with a request."""
    env, params = learned_world.make(user_model=folder, slate_size=4)
    user = population.override(params, rho=rho).user.replace(opening=1.0)
    # A decoder whose word differs from person to person, and from what names the first interest.
    user = user.replace(asking=Asking(jnp.asarray([[1.0, 0.0, -6.0, 0.0], [0.0] * 4]), jnp.zeros(6)))
    keys = jax.random.split(jax.random.key(0), 3000)

    @jax.jit
    def one(key: Any) -> Any:
        state = env.user_model.init(key, user, params.catalog)
        to_open = jax.random.fold_in(key, 1)
        return state, env.user_model.opening(to_open, state, jnp.bool_(True), user, params.catalog, Context())[1]  # type: ignore[attr-defined]

    return user, *jax.vmap(one)(keys)


def test_who_speaks_truly_asks_for_what_the_decoder_draws(living_folder: Path) -> None:
    user, state, said = openings(living_folder, rho=1.0)
    names = (np.asarray(said.intent) == INTENT["more"]) & (np.asarray(said.target_kind) == KIND["category"])
    assert names.sum() > 300

    def expected(hidden: Any, lately: Any) -> Any:
        chance = jnp.stack(
            [
                jnp.sum(jax.nn.softmax(user.others.vector @ hidden + user.others.bias)[4 * c : 4 * c + 4])
                for c in range(3)
            ]
        )
        share = jnp.stack([jnp.mean(lately == c) for c in range(3)])
        return jax.nn.softmax(user.asking.log_probabilities(chance, share)[:3])

    chance = np.asarray(jax.vmap(expected)(state.memory.hidden, state.lately))[names]
    drawn = np.asarray(said.target)[names]
    spread = 4.0 * np.sqrt(0.25 / names.sum())
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / len(drawn), chance.mean(axis=0), atol=spread)
    assert chance[np.arange(len(drawn)), drawn].mean() > 0.5 * (np.square(chance).sum(axis=1).mean() + chance.mean())
    np.testing.assert_allclose(
        chance[np.arange(len(drawn)), drawn].mean(), np.square(chance).sum(axis=1).mean(), atol=spread
    )


def test_who_does_not_asks_without_its_state(living_folder: Path) -> None:
    user, _, said = openings(living_folder, rho=0.0)
    names = (np.asarray(said.intent) == INTENT["more"]) & (np.asarray(said.target_kind) == KIND["category"])
    wishes = np.asarray(user.population.traits.wishes)[..., 0].ravel()
    share = np.bincount(np.asarray(said.target)[names], minlength=3) / names.sum()
    expected = np.bincount(wishes[wishes >= 0], minlength=3) / (wishes >= 0).sum()
    np.testing.assert_allclose(share, expected, atol=4.0 * np.sqrt(0.25 / names.sum()))


@pytest.mark.slow
def test_the_world_keeps_its_contract(living_folder: Path) -> None:
    check_env(*learned_world.make(user_model=living_folder, slate_size=4))


# -- in the benchmark ----------------------------------------------------------------------------------------


def found_at_points(gain: float, seed: int = 0) -> bench.Worth:
    """Sixty people, five points each; predicted instructions gain so much at each point, shuffled ones nothing."""
    rng = np.random.default_rng(seed)
    person, noise = np.repeat(np.arange(60), 5), lambda: rng.normal(scale=0.1, size=300)
    named = (*bench.PREDICTED, bench.LEAKS, *(name + bench.SHUFFLED for name in bench.PREDICTED))
    gains = {
        f"{way}/{name}": (0.0 if name.endswith(bench.SHUFFLED) else gain) + noise()
        for way in bench.WAYS
        for name in named
    }
    right = np.arange(300) % 4 == 0
    nats = np.full(300, -2.0)
    return bench.Worth(person, np.where(person < 30, 10, 5), nats, nats - 0.5, right, ~right, 30.0 * nats, gains)


@pytest.mark.parametrize(
    ("gain", "says"), [(0.0, "a null"), (0.5, "the drawn and the likeliest instruction raises it")]
)
def test_the_report_says_whether_it_is_a_null(gain: float, says: str) -> None:
    report, found = Report("fidelity", "", "quick", 0.0), found_at_points(gain)
    bench.add(report, "x", found, 2)
    rows = {(row.protocol, row.agent, row.against, row.metric): row for row in report.rows}
    assert rows["instruction", "decoder", "base_rate", "log_likelihood"].value == pytest.approx(0.5)
    assert rows["instruction", "decoder", None, "accuracy"].value == 0.25
    assert rows["next_given_instruction", "none", None, "log_likelihood"].value == pytest.approx(-60.0 / 7.5)
    over = rows["next_given_instruction/as_said", "drawn", "none", "log_likelihood"]
    assert over.value == pytest.approx(found.gains["as_said/drawn"].sum() / (150 * 10 + 150 * 5))
    assert over.low < over.value < over.high
    assert over.n_users == 60
    assert ("next_given_instruction/as_said", "drawn", "drawn_shuffled", "log_likelihood") in rows
    assert says in report.notes[0]
    assert len(report.tables) == 1


def test_conditions_are_those_that_are_named() -> None:
    points, chance, log_chance = planted(400, 0)
    points = points._replace(person=points.person // 4)
    gains = bench.gains(log_chance, chance, points)
    assert set(gains) == set(found_at_points(0.0).gains)
    assert all(np.isfinite(nats).all() for nats in gains.values())


def test_nobody_teaches_the_decoder_that_judges_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """People whom the user was not fitted to may do anything: the decoder is the same."""
    log = a_living_log()
    network, config = NetworkConfig(width=8, layers=1, heads=2, window=8, remembered=8), FitConfig(held_back=0.2)
    task = fitting.prepare(jax.random.key(0), log.rows(log.user < 32), None, network, config)
    category = np.arange(12) // 4
    monkeypatch.setattr(hindsight, "ENOUGH", 20)
    other = dataclasses.replace(log, item=np.where(log.user < 32, log.item, 11 - log.item))
    one, two = (hindsight.learn(task.network, of_all(task, x), x, category, 3) for x in (log, other))
    assert float(jnp.abs(one.weight).max()) > 0.1
    np.testing.assert_array_equal(one.weight, two.weight)
    np.testing.assert_array_equal(one.bias, two.bias)
    monkeypatch.setattr(hindsight, "ENOUGH", 10_000)
    assert hindsight.learn(task.network, of_all(task, log), log, category, 3) is None


def of_all(task: Any, log: Log) -> Any:
    return task._replace(events=jax.tree.map(jnp.asarray, reading.events(reading.taken(log), task.scale)))
