"""The logged user: answers as in the log, once each, and nothing where there is none; Jester-v0 and Coat-v0."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from logged import ANSWERS, coat, jester, log_of, many

import jaxreco
from jaxreco.base import CLICK, EMPTY, EXAMINED, LIKE, Context
from jaxreco.data.responses import own_scale, responses
from jaxreco.envs import jester as jester_world
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.testing import check_env, quick_jit
from jaxreco.users.replay import Replay, actions_of

SHARED = Path(os.environ.get("JAXRECO_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jester(tmp_path_factory.mktemp("data") / "jester")


@pytest.fixture(scope="module")
def world(folder: Path) -> tuple[Any, Any]:
    return jaxreco.make("Jester-v0", data=folder, slate_size=3, history_length=6, width=3)


def as_person(world: tuple[Any, Any], row: int, key: Any) -> Any:
    """The state of one person before its first slate."""
    env, params = world
    state = env.reset_env(key, params)[1]
    return state.replace(user=state.user.replace(row=jnp.int32(row)))


# -- the answers ---------------------------------------------------------------------------------------------


def test_a_slate_is_answered_as_in_the_log(world, key) -> None:
    env, params = world
    params = params.replace(user=params.user.replace(leave=0.0))
    # Person 0 said 8, 2, -4 and nothing: its mean is 2, its upper quartile 5.
    step = env.step_env(key, as_person(world, 0, key), jnp.array([2, 3, 0]), params)
    feedback = step.info["feedback"]
    assert feedback.actions.tolist() == [EXAMINED, 0, EXAMINED | CLICK | LIKE]
    seconds = [3 * 60 / 260, 0.0, 4 * 60 / 260]  # "lawyer walks into a bar" has 5 words
    seconds[0] = 5 * 60 / 260
    np.testing.assert_allclose(feedback.watch, seconds, rtol=1e-6)
    assert float(feedback.minutes) == pytest.approx(sum(seconds) / 60)
    assert float(step.reward) == 1.0  # one click
    assert float(step.info["mind"]["unanswered"]) == 1.0
    assert not bool(step.info["left"])
    # The second page: 2 is at the mean, so it is a click and no like; 0 was answered already, 3 never.
    step = env.step_env(key, step.state, jnp.array([0, 1, 3]), params)
    assert step.info["feedback"].actions.tolist() == [0, EXAMINED | CLICK, 0]
    assert float(step.info["mind"]["unanswered"]) == 3.0
    assert step.obs.history.item.tolist() == [2, 3, 0, 0, 1, 3]
    assert step.obs.history.actions.tolist() == [1, 0, 7, 0, 3, 0]


def test_all_people_and_slates_against_plain_loops(world, key) -> None:
    """Every person, every ordered slate of three: what was done by the log itself."""
    env, params = world
    slates = jnp.array([(a, b, c) for a in range(4) for b in range(4) for c in range(4) if len({a, b, c}) == 3])
    review = quick_jit(
        jax.vmap(
            lambda s, slate: env.user_model.review(key, s, slate, params.user, params.catalog, Context())[1], (None, 0)
        )
    )
    for row, own in enumerate(ANSWERS):
        said = [value for value in own if value is not None]
        mean, quarter = np.mean(said), np.quantile(said, 0.75)
        actions = np.asarray(review(as_person(world, row, key).user, slates).actions)
        for slate, done in zip(slates.tolist(), actions.tolist(), strict=True):
            for item, bits in zip(slate, done, strict=True):
                value = own[item]
                if value is None:
                    assert bits == 0
                else:
                    assert bits == EXAMINED | (CLICK if value >= mean else 0) | (LIKE if value >= quarter else 0)


def test_a_batch_is_a_loop_and_compiled_is_plain(world, key) -> None:
    env, params = world
    model = env.user_model
    keys = jax.random.split(key, 6)
    states = jax.vmap(lambda k: model.init(k, params.user, params.catalog))(keys)
    slates = jax.vmap(env.random_slate)(keys)

    def review(k: Any, state: Any, slate: Any) -> Any:
        return model.review(k, state, slate, params.user, params.catalog, Context())

    together = quick_jit(jax.vmap(review))(keys, states, slates)
    for i in range(6):
        alone = review(keys[i], jax.tree.map(lambda x, i=i: x[i], states), slates[i])
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other)[i], rtol=1e-6)


def test_the_key_decides_leaving_and_nothing_else(world, key) -> None:
    env, params = world
    state = as_person(world, 3, key)
    steps = quick_jit(jax.vmap(lambda k: env.step_env(k, state, jnp.array([0, 1, 2]), params)))(
        jax.random.split(key, 2000)
    )
    left = np.asarray(steps.info["left"])
    assert abs(left.mean() - 0.1) < 0.03
    assert (np.asarray(steps.terminated) == left).all()  # one sitting: nothing is said of coming back
    assert (np.asarray(steps.info["gap_hours"]) == 0.0).all()
    for leaf in (steps.info["feedback"].actions, steps.info["feedback"].watch, steps.state.user.given):
        assert (np.asarray(leaf) == np.asarray(leaf)[:1]).all()


def test_only_people_who_answered_come(folder, key) -> None:
    env, params = jaxreco.make("Jester-v0", data=folder, slate_size=2, min_answers=3, width=3)
    rows = jax.vmap(lambda k: env.user_model.init(k, params.user, params.catalog).row)(jax.random.split(key, 200))
    assert set(np.asarray(rows).tolist()) == {0, 1, 3}


def test_what_answers_amount_to() -> None:
    value = jnp.array([5.0, 5.0, 2.0, 1.0, 9.0])
    answered = jnp.array([True, False, True, True, True])
    assert actions_of(value, answered, jnp.float32(2.0), jnp.float32(5.0)).tolist() == [7, 0, 3, 1, 7]
    assert actions_of(value, answered, jnp.float32(2.0), jnp.float32(-9.0)).tolist() == [
        7,
        0,
        7,
        1,
        7,
    ]  # no like unclicked


def test_every_part_says_where_it_is_from() -> None:
    assert Replay.heads == {"click": "data", "like": "data", "watch": "prior", "leave": "prior"}


# -- the worlds ----------------------------------------------------------------------------------------------


MODES = [{"slate_size": 4}, *({"action_mode": mode} for mode in ("item", "query"))]


@pytest.mark.parametrize("static", [MODES[0], *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES[1:])])
def test_jester_keeps_the_contract(tmp_path, static) -> None:
    data = jester(tmp_path / "jester", many(), [f"joke number{i} about animal{i % 3}" for i in range(24)])
    check_env(*jaxreco.make("Jester-v0", data=data, width=4, **static))


@pytest.mark.slow  # the same user model as Jester-v0
def test_coat_keeps_the_contract(tmp_path) -> None:
    check_env(*jaxreco.make("Coat-v0", data=coat(tmp_path / "coat"), slate_size=2, width=2))


def test_the_jokes_of_jester(world) -> None:
    env, params = world
    assert env.names.titles[0] == "chicken crosses the road"
    assert env.names.ids == (0, 1, 2, 3)
    catalog = params.catalog
    np.testing.assert_allclose(catalog.popularity, np.array([3, 3, 3, 3]) / 12)
    np.testing.assert_allclose(catalog.duration, np.array([4, 3, 5, 5]) * 60 / 260, rtol=1e-6)
    # Above their own means the four jokes got -0.5, -0.5, -5.5 and 6.5 from three people each, and 10 pseudo-answers of 0.
    effect = np.array([-0.5, -0.5, -5.5, 6.5]) / 13
    np.testing.assert_allclose(catalog.quality, (effect - effect.mean()) / effect.std(), atol=1e-5)
    assert env.single_session
    assert (params.reward.minutes, params.reward.click) == (0.0, 1.0)


def test_the_log_is_for_agents_that_are_fitted_to_one(world) -> None:
    env, params = world
    log = env.log
    found = {(int(u), int(i)): float(w) for u, i, w in zip(log.user, log.item, log.weight, strict=True)}
    assert found[0, 0] == 1.0
    assert found[0, 1] == 0.5
    assert found[0, 2] == 0.0
    assert (0, 3) not in found
    agent, fitted = jaxreco.make_agent("ease", jax.random.key(0), env, params)
    ran = jaxreco.rollout(jax.random.key(1), env, params, agent, fitted, users=4, turns=3, tile=4)
    assert float(ran.metrics.total.clicks.sum()) > 0


def test_some_rows_of_a_log_are_a_world_too() -> None:
    log = log_of(many(20))
    env, params = jester_world.world(log.rows(log.user < 10), slate_size=24, history_length=24, width=4)
    assert env.slate_size == env.n_items == 24
    assert np.asarray(params.population.weights).tolist() == [1.0] * 10 + [0.0] * 10


def test_coats_have_kinds_and_features(tmp_path) -> None:
    env, params = jaxreco.make("Coat-v0", data=coat(tmp_path / "coat"), slate_size=2, width=2)
    assert env.names.categories == ("bomber", "raincoat")
    assert np.asarray(params.catalog.category).tolist() == [0, 1, 0]
    assert env.names.titles == ("bomber red", "raincoat red", "bomber")
    assert np.asarray(params.population.traits.known).tolist() == [[False, True, False], [True, False, True]]
    assert np.asarray(params.population.traits.value)[1].tolist() == [5.0, 0.0, 1.0]


def test_a_rebuild_is_equal(folder, world) -> None:
    env, params = world
    again, same = jaxreco.make("Jester-v0", data=folder, slate_size=3, history_length=6, width=3)
    assert again == env
    assert hash(again) == hash(env)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(same), strict=True))


def test_a_repeated_or_unknown_item_gets_no_answer(world, key) -> None:
    env, params = world
    step = env.step_env(key, as_person(world, 0, key), jnp.array([0, 0, 9]), params)
    assert step.info["feedback"].slate.tolist() == [0, EMPTY, EMPTY]
    assert step.info["feedback"].actions.tolist() == [7, 0, 0]
    assert float(step.info["mind"]["unanswered"]) == 0.0  # an empty slot was not shown


# -- bad input -----------------------------------------------------------------------------------------------


def test_data_is_needed_and_found(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("JAXRECO_DATA", raising=False)
    with pytest.raises(
        DataError, match=r"Jester-v0 is made from real data: pass data=FOLDER of jester, or set JAXRECO_DATA"
    ):
        jaxreco.make("Jester-v0")
    monkeypatch.setenv("JAXRECO_DATA", str(folder.parent))
    assert jaxreco.make("Jester-v0", slate_size=2)[0].n_items == 4
    with pytest.raises(DataError, match="holds jester, and Coat-v0 is made from coat: give the folder of that"):
        jaxreco.make("Coat-v0", data=folder)
    with pytest.raises(DataError, match="There is no folder"):
        jaxreco.make("Jester-v0", data=tmp_path / "none")


@pytest.mark.parametrize(
    ("static", "words"),
    [
        ({"min_answers": 0}, "min_answers is 0; Jester-v0 needs at least 1"),
        ({"min_answers": 5}, "Nobody in Jester answered 5 items; the most that anyone did are 4"),
        ({"slate_size": 5}, "choose 1 to 4"),
        ({"choice": "mnl"}, "Jester-v0 has no setting 'choice'"),
    ],
)
def test_impossible_settings(folder, static, words) -> None:
    with pytest.raises(ValueError, match=words):
        jaxreco.make("Jester-v0", data=folder, **{"slate_size": 2, **static})


def test_coats_without_features_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="Coat-v0 needs the features of the coats"):
        jaxreco.make("Coat-v0", data=coat(tmp_path / "coat", features=False), slate_size=2)


# -- the real data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "people", "items", "answered", "clicked", "liked"),
    [("Jester-v0", 3_527, 100, 0.612, 0.544, 0.261), ("Coat-v0", 290, 300, 0.08, 0.467, 0.376)],
)
def test_the_real_worlds(name: str, people: int, items: int, answered: float, clicked: float, liked: float) -> None:
    folder = SHARED / name.partition("-")[0].lower()
    if not folder.is_dir():
        pytest.skip(f"{folder.name} is not in {SHARED}")
    env, params = jaxreco.make(name, data=folder)
    assert (params.population.size, env.n_items, env.slate_size) == (people, items, 10)
    own = params.population.traits
    actions = np.asarray(actions_of(own.value, own.known, own.click_at[:, None], own.like_at[:, None]))
    assert float(own.known.mean()) == pytest.approx(answered, abs=5e-4)
    assert ((actions & CLICK) > 0).sum() / own.known.sum() == pytest.approx(clicked, abs=5e-4)
    assert ((actions & LIKE) > 0).sum() / own.known.sum() == pytest.approx(liked, abs=5e-4)


def test_the_scale_of_a_person_is_its_own(folder) -> None:
    told = responses(log_of(many()))
    assert ((told.value >= own_scale(told).click_at[:, None]) & told.known).sum(axis=1).min() > 0


@pytest.mark.parametrize("name", ["static", "oracle_greedy", "oracle_plan"])
def test_agents_that_read_a_mindset_say_that_there_is_none(world, name) -> None:
    with pytest.raises(JaxrecoError, match=r"reads a mindset, and these users have none \(ReplayParams\)"):
        jaxreco.make_agent(name, jax.random.key(0), *world)
