"""The shell against numbers worked out by hand: a scripted user does what its script says, turn by turn.

The script, with slates of two and items of 10, 20, 30, ... seconds:

    turn  actions                     watched    minutes  leaves
    0     click, look                 6 s, 0 s   0.2      no
    1     click like share, click     10 s, 15 s 0.5      for 30 hours
          comment
    2     look and leave, nothing     0 s, 0 s   0.05     for 800 hours
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CoinTraits, Script, Scripted, coin_world, small_catalog

from jaxreco.base import CLICK, COMMENT, EMPTY, EXAMINED, LEAVE, LIKE, SHARE, EnvParams, RewardWeights, Trace
from jaxreco.env import RecoEnv, branch
from jaxreco.population import Population
from jaxreco.talk.grammar import CAUSE, TRACE_TOKENS
from jaxreco.testing import quick_jit

Array = jax.Array

TURN_0, TURN_1, TURN_2 = 0.2 / 60, 0.5 / 60, 0.05 / 60  # hours that each turn takes
step_env = quick_jit(lambda env, key, state, slate, params: env.step_env(key, state, slate, params), static_argnums=0)
reset = quick_jit(lambda env, key, params: env.reset(key, params), static_argnums=0)
step = quick_jit(lambda env, key, state, slate, params: env.step(key, state, slate, params), static_argnums=0)


def world(**static: Any) -> tuple[RecoEnv, EnvParams]:
    env = RecoEnv(
        name="Script",
        version="0",
        user_model=Scripted(slate_size=2, history_length=5),
        n_items=6,
        slate_size=2,
        history_length=5,
        **static,
    )
    script = Script(
        actions=jnp.array(
            [
                [EXAMINED | CLICK, EXAMINED],
                [EXAMINED | CLICK | LIKE | SHARE, EXAMINED | CLICK | COMMENT],
                [EXAMINED | LEAVE, 0],
            ],
            jnp.int32,
        ),
        watch=jnp.array([[6.0, 0.0], [10.0, 15.0], [0.0, 0.0]]),
        minutes=jnp.array([0.2, 0.5, 0.05]),
        left=jnp.array([False, True, True]),
        gap=jnp.array([5.0, 30.0, 800.0]),
        population=Population(traits=CoinTraits(click=jnp.ones(1)), weights=jnp.ones(1)),
    )
    return env, EnvParams(catalog=small_catalog(6), user=script)


def play(env: RecoEnv, params: EnvParams, *slates: Any) -> list[Any]:
    """The steps of the first turns, without auto-reset."""
    _, state = reset(env, jax.random.key(0), params)
    steps = []
    for t, slate in enumerate(slates):
        steps.append(step_env(env, jax.random.key(t), state, jnp.asarray(slate, jnp.int32), params))
        state = steps[-1].state
    return steps


@pytest.fixture(scope="module")
def three() -> list[Any]:
    """The three turns of the script, with a horizon and a churn_hours beyond all of them."""
    env, params = world()
    return play(env, params.replace(horizon_hours=1e4, churn_hours=1e4), [0, 1], [2, 3], [4, 5])


# -- counters, clock, discount -------------------------------------------------------------------------------


def test_reset_shows_nothing_yet() -> None:
    env, params = world()
    obs, state = reset(env, jax.random.key(0), params)
    np.testing.assert_array_equal(obs.history.item, [EMPTY] * 5)
    np.testing.assert_array_equal(obs.slate, [EMPTY, EMPTY])
    for name in ("turn", "session", "session_turn", "session_minutes", "hours_away", "clock"):
        assert getattr(obs, name) == 0
    assert state.clock == 0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("turn", [1, 2, 3]),
        ("session", [0, 1, 2]),
        ("session_turn", [1, 0, 0]),
        ("session_minutes", [0.2, 0.0, 0.0]),
        ("hours_away", [0.0, 30.0, 800.0]),
        ("clock", [TURN_0, TURN_0 + TURN_1 + 30, TURN_0 + TURN_1 + TURN_2 + 830]),
    ],
)
def test_counters_by_turn(three: list[Any], name: str, values: list[float]) -> None:
    np.testing.assert_allclose([getattr(turn.obs, name) for turn in three], values, rtol=1e-6)


def test_a_session_after_a_gap_goes_on_counting() -> None:
    env, params = world()
    stays = params.user.replace(left=jnp.array([False, True, False]))
    last = play(env, params.replace(user=stays), [0, 1], [2, 3], [4, 5], [0, 1])[-1].obs
    assert (int(last.turn), int(last.session), int(last.session_turn)) == (4, 1, 2)
    assert float(last.session_minutes) == pytest.approx(0.1)
    assert float(last.hours_away) == 30.0
    assert float(last.clock) == pytest.approx(TURN_0 + TURN_1 + 30 + 2 * TURN_2)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hours", [TURN_0, TURN_1 + 30, TURN_2 + 800]),
        ("turn_minutes", [0.2, 0.5, 0.05]),
        ("gap_hours", [0, 30, 800]),
        ("left", [False, True, True]),
        ("returned", [False, True, True]),
        ("churned", [False, False, False]),
        ("minutes", [6 / 60, 25 / 60, 0]),
        ("examined", [2, 2, 1]),
        ("clicks", [1, 2, 0]),
        ("likes", [0, 1, 0]),
        ("comments", [0, 1, 0]),
        ("shares", [0, 1, 0]),
        ("invalid", [0, 0, 0]),
    ],
)
def test_outcomes_by_turn(three: list[Any], name: str, values: list[float]) -> None:
    np.testing.assert_allclose([turn.info[name] for turn in three], values, rtol=1e-6)


def test_discount_is_over_elapsed_time(three: list[Any]) -> None:
    hours = np.array([TURN_0, TURN_1 + 30, TURN_2 + 800])
    np.testing.assert_allclose([turn.info["discount"] for turn in three], np.exp(-hours / 168), rtol=1e-6)


def test_discount_with_another_tau() -> None:
    env, params = world()
    turn = play(env, params.replace(discount_hours=10.0), [0, 1], [2, 3])[1]
    assert float(turn.info["discount"]) == pytest.approx(np.exp(-(TURN_1 + 30) / 10), rel=1e-5)


def test_no_patience_at_all_is_a_discount_of_zero_not_nan() -> None:
    env, params = world()
    standing = params.user.replace(minutes=jnp.zeros(3))  # no time passes: nothing is discounted
    params = params.replace(discount_hours=0.0)
    assert [float(turn.info["discount"]) for turn in play(env, params, [0, 1], [2, 3])] == [0.0, 0.0]
    assert float(play(env, params.replace(user=standing), [0, 1])[0].info["discount"]) == 1.0


# -- sessions, horizon, churn --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("horizon", "churn", "terminated", "truncated", "returned"),
    [
        (1e4, 1e4, [0, 0, 0], [0, 0, 0], [0, 1, 1]),
        (1e4, 720.0, [0, 0, 1], [0, 0, 0], [0, 1, 0]),  # gone for good before the horizon
        (720.0, 1e4, [0, 0, 0], [0, 0, 1], [0, 1, 0]),  # the clock reaches the horizon within the gap
        (720.0, 720.0, [0, 0, 1], [0, 0, 1], [0, 1, 0]),  # both
        (20.0, 1e4, [0, 0, 0], [0, 1, 1], [0, 0, 0]),
        (TURN_0 * 0.99, 1e4, [0, 0, 0], [1, 1, 1], [0, 0, 0]),  # within the first turn
        (1e4, 800.0, [0, 0, 0], [0, 0, 0], [0, 1, 1]),  # a gap of churn_hours is not longer than churn_hours
        (1e4, 29.0, [0, 1, 1], [0, 0, 0], [0, 0, 0]),
        (0.0, 0.0, [0, 1, 1], [1, 1, 1], [0, 0, 0]),
    ],
)
def test_how_an_episode_ends(horizon: float, churn: float, terminated: list, truncated: list, returned: list) -> None:
    env, params = world()
    turns = play(env, params.replace(horizon_hours=horizon, churn_hours=churn), [0, 1], [2, 3], [4, 5])
    assert [int(turn.terminated) for turn in turns] == terminated
    assert [int(turn.truncated) for turn in turns] == truncated
    assert [int(turn.info["returned"]) for turn in turns] == returned
    assert [int(turn.info["churned"]) for turn in turns] == terminated


def test_the_horizon_is_reached_not_passed() -> None:
    env, params = world()
    clock = play(env, params, [0, 1])[0].state.clock
    assert play(env, params.replace(horizon_hours=clock), [0, 1])[0].truncated
    assert not play(env, params.replace(horizon_hours=jnp.nextafter(clock, jnp.inf)), [0, 1])[0].truncated


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_backstop(limit: int) -> None:
    env, params = world()
    turns = play(env, params.replace(horizon_hours=1e4, max_steps_in_episode=limit), [0, 1], [2, 3], [4, 5])
    assert [bool(turn.truncated) for turn in turns] == [t + 1 >= limit for t in range(3)]


def test_a_single_session_ends_with_the_leave() -> None:
    env, params = world(single_session=True)
    turns = play(env, params.replace(horizon_hours=1e4, churn_hours=1e4), [0, 1], [2, 3])
    assert [bool(turn.terminated) for turn in turns] == [False, True]
    assert [bool(turn.truncated) for turn in turns] == [False, False]
    assert not turns[1].info["returned"]


# -- reward --------------------------------------------------------------------------------------------------


def test_default_reward_is_engaged_minutes(three: list[Any]) -> None:
    np.testing.assert_allclose([turn.reward for turn in three], [6 / 60, 25 / 60, 0], rtol=1e-6)


def test_reward_terms_by_turn() -> None:
    env, params = world()
    weights = RewardWeights(minutes=60.0, click=1.0, like=2.0, comment=4.0, share=8.0, session=16.0, churn=-32.0)
    params = params.replace(reward=weights, horizon_hours=1e4)
    turns = play(env, params, [0, 1], [2, 3], [4, 5])
    terms = [{name: float(term) for name, term in turn.info["reward_terms"].items()} for turn in turns]
    nothing = dict(minutes=0, click=0, like=0, comment=0, share=0, session=0, churn=0)
    assert terms[0] == pytest.approx(nothing | dict(minutes=6, click=1))
    assert terms[1] == pytest.approx(nothing | dict(minutes=25, click=2, like=2, comment=4, share=8, session=16))
    assert terms[2] == pytest.approx(nothing | dict(churn=-32))
    np.testing.assert_allclose([turn.reward for turn in turns], [7, 57, -32], rtol=1e-6)


# -- observation ---------------------------------------------------------------------------------------------


def test_history_is_oldest_first_and_ages(three: list[Any]) -> None:
    first, second, third = (turn.obs for turn in three)
    np.testing.assert_array_equal(first.history.item, [EMPTY, EMPTY, EMPTY, 0, 1])
    np.testing.assert_array_equal(second.history.item, [EMPTY, 0, 1, 2, 3])
    np.testing.assert_array_equal(third.history.item, [1, 2, 3, 4, 5])  # five slots of a ring of six
    np.testing.assert_array_equal(second.history.actions, [0, 3, 1, 23, 11])
    np.testing.assert_allclose(second.history.watch, [0, 6, 0, 10, 15])
    np.testing.assert_allclose(second.history.age, [0, 30 + TURN_1, 30 + TURN_1, 30, 30], rtol=1e-6)


def test_a_longer_life_pushes_the_oldest_out() -> None:
    env, params = world()
    last = play(env, params, [0, 1], [2, 3], [4, 5], [1, 0], [3, 2])[-1].obs
    np.testing.assert_array_equal(last.history.item, [5, 1, 0, 3, 2])


def test_the_last_slate_and_its_feedback(three: list[Any]) -> None:
    obs = three[1].obs
    np.testing.assert_array_equal(obs.slate, [2, 3])
    np.testing.assert_array_equal(obs.actions, [EXAMINED | CLICK | LIKE | SHARE, EXAMINED | CLICK | COMMENT])
    np.testing.assert_allclose(obs.watch, [10, 15])


def test_the_trace_shows_only_where_the_world_exposes_it() -> None:
    for exposes in (False, True):
        env, params = world(exposes_trace=exposes)
        _, state = reset(env, jax.random.key(0), params)
        why = Trace(jnp.array([CAUSE["bait"], 0, 0]), jnp.array([1.0, 0.0, 0.0]), jnp.array([2, EMPTY, EMPTY]))
        shown = env.observe(state.replace(trace=why), params).trace
        np.testing.assert_array_equal(shown, why.tokens if exposes else jnp.zeros(TRACE_TOKENS))
        assert (np.asarray(why.tokens[:6]) > 0).all()


# -- auto-reset ----------------------------------------------------------------------------------------------


def test_step_is_step_env_while_the_episode_lasts(key: Array) -> None:
    env, params = coin_world()
    _, state = reset(env, key, params)
    slate = env.random_slate(key)
    params = params.replace(horizon_hours=1e9, churn_hours=1e9)
    whole = step(env, key, state, slate, params)
    half = step_env(env, jax.random.split(key)[0], state, slate, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), whole, half)


def test_step_begins_the_next_episode_at_once(key: Array) -> None:
    env, params = coin_world()
    _, state = reset(env, key, params)
    for t in range(3):  # fill the history
        state = step_env(env, jax.random.fold_in(key, t), state, env.random_slate(key), params).state
    ended = params.replace(horizon_hours=0.0)
    slate = jnp.array([7, 8, 9])
    whole = step(env, key, state, slate, ended)
    half = step_env(env, jax.random.split(key)[0], state, slate, ended)
    final = whole.info["final_observation"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), final, half.obs)
    np.testing.assert_array_equal(final.slate, [7, 8, 9])
    assert final.turn == 4
    fresh, fresh_state = reset(env, jax.random.split(key)[1], params)
    jax.tree.map(np.testing.assert_array_equal, whole.obs, fresh)
    assert whole.state.user.row == fresh_state.user.row
    assert whole.state.user.mood == fresh_state.user.mood
    history = whole.state.user.history
    np.testing.assert_array_equal(history.data.item, half.state.user.history.data.item)
    assert history.start == history.end == 4


# -- actions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slate", "shown", "invalid"),
    [
        ([4, 1], [4, 1], 0),
        ([4, 4], [4, EMPTY], 1),
        ([6, 1], [EMPTY, 1], 1),
        ([0, -1], [0, EMPTY], 1),
        ([-7, 2**31 - 1], [EMPTY, EMPTY], 2),
        ([6, 6], [EMPTY, EMPTY], 2),
    ],
)
def test_invalid_slots_are_empty_and_counted(slate: list[int], shown: list[int], invalid: int) -> None:
    env, params = world()
    turn = play(env, params, slate)[0]
    np.testing.assert_array_equal(turn.obs.slate, shown)
    assert int(turn.info["invalid"]) == invalid
    script = params.user
    np.testing.assert_array_equal(turn.obs.actions, np.where(np.array(shown) >= 0, script.actions[0], 0))
    np.testing.assert_allclose(turn.obs.watch, np.where(np.array(shown) >= 0, script.watch[0], 0))
    np.testing.assert_array_equal(turn.obs.history.item[-2:], shown)


def test_three_of_one_id_leave_the_first() -> None:
    env, params = coin_world()
    slate, invalid = env.decode(jnp.array([5, 5, 5]), params.catalog)
    np.testing.assert_array_equal(slate, [5, EMPTY, EMPTY])
    assert int(invalid) == 2


def test_item_mode(key: Array) -> None:
    env, params = coin_world(action_mode="item")
    _, state = reset(env, key, params)
    action = env.random_action(key, params)
    assert action.shape == ()
    turn = step_env(env, key, state, action, params)
    np.testing.assert_array_equal(turn.obs.slate, [action])
    missed = step_env(env, key, state, jnp.int32(12), params)
    np.testing.assert_array_equal(missed.obs.slate, [EMPTY])
    assert int(missed.info["invalid"]) == 1


def test_query_mode_answers_with_the_nearest_items(key: Array) -> None:
    env, params = coin_world(action_mode="query")
    _, state = reset(env, key, params)
    query = env.random_action(key, params)
    assert query.shape == (3,)
    turn = step_env(env, key, state, query, params)
    products = np.asarray(params.catalog.embedding) @ np.asarray(query)
    np.testing.assert_array_equal(turn.obs.slate, np.argsort(-products)[:3])
    assert int(turn.info["invalid"]) == 0


def test_random_action_of_slate_mode_is_a_slate(key: Array) -> None:
    env, params = coin_world()
    slate = np.asarray(env.random_action(key, params))
    assert slate.shape == (3,)
    assert len(set(slate.tolist())) == 3


# -- counterfactuals -----------------------------------------------------------------------------------------


def test_branch_is_step_env_on_one_key(key: Array) -> None:
    env, params = coin_world()
    _, state = reset(env, key, params)
    slates = jnp.array([[0, 1, 2], [0, 1, 2], [0, 1, 9], [5, 5, 5]])
    six = quick_jit(lambda k, s: branch(k, env, params, s, slates))(key, state)
    for m, slate in enumerate(slates):
        alone = step_env(env, key, state, slate, params)
        jax.tree.map(lambda a, b, m=m: np.testing.assert_allclose(a[m], b, rtol=1e-5), six, alone)
    np.testing.assert_array_equal(six.info["invalid"], [0, 0, 0, 2])
    np.testing.assert_array_equal(six.obs.actions[0, :2], six.obs.actions[2, :2])


# -- host side -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slate", "message"),
    [
        ([3, 6], "Slot 1 holds item 6; ids run from 0 to 5."),
        ([-1, 2], "Slot 0 holds item -1; ids run from 0 to 5."),
        ([3, 3], "Slot 1 repeats item 3 of slot 0"),
        ([1, 2, 3], "3 slots; Script was made with slate_size=2"),
        ([1], "1 slots"),
    ],
)
def test_check_action_names_slot_and_id(slate: list[int], message: str) -> None:
    env, _ = world()
    with pytest.raises(ValueError, match=message):
        env.check_action(np.array(slate))


def test_check_action_lets_good_actions_pass(key: Array) -> None:
    world()[0].check_action(jnp.array([5, 0]))
    coin_world(action_mode="item")[0].check_action(jnp.int32(11))
    coin_world(action_mode="query")[0].check_action(jnp.ones(3))


@pytest.mark.parametrize(
    ("static", "message"),
    [
        ({"slate_size": 7}, "slate_size is 7, but Script has 6 items"),
        ({"slate_size": 0}, "slate_size is 0"),
        ({"history_length": 1}, "history_length is 1, less than one slate of 2"),
        ({"action_mode": "list"}, "action_mode is 'list'"),
        ({"action_mode": "item"}, "slate_size must be 1, not 2"),
    ],
)
def test_impossible_settings_are_refused(static: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(world()[0], **static)


def test_check_names_every_bad_value() -> None:
    env, params = coin_world()
    env.check(params)
    bad = params.replace(horizon_hours=-1.0, discount_hours=float("nan"))
    bad = bad.replace(user=bad.user.replace(leave=1.5))
    with pytest.raises(ValueError, match="horizon_hours is -1") as caught:
        env.check(bad)
    assert "discount_hours is not a number" in str(caught.value)
    assert "user.leave is 1.5, outside its range [0, 1]" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_check_refuses_another_catalog_and_empty_populations() -> None:
    env, params = coin_world()
    with pytest.raises(ValueError, match="catalog has 6 items, but Coin was made for 12"):
        env.check(params.replace(catalog=small_catalog(6)))
    for weights in ([0.0] * 5, [1, 1, 1, 1, -1]):
        population = params.population.replace(weights=jnp.array(weights, jnp.float32))
        with pytest.raises(ValueError, match="weights must be at least 0 and not all 0"):
            env.check(params.replace(user=params.user.replace(population=population)))


def test_envs_hash_by_value_without_names_and_log() -> None:
    one, other = world()[0], world()[0]
    assert one == other
    assert hash(one) == hash(other)
    assert dataclasses.replace(one, log=object(), names=None) == other
    assert dataclasses.replace(one, single_session=True) != other


def test_no_key_is_used_twice(feed: Any) -> None:
    env, params = feed
    one, two, three, four = jax.random.split(jax.random.key(1), 4)
    with jax.debug_key_reuse(True):
        _, state = quick_jit(env.reset)(one, params)
        slate = quick_jit(env.random_slate)(two)
        quick_jit(env.step)(three, state, slate, params)
        quick_jit(lambda k, s: branch(k, env, params, s, jnp.stack([slate, slate])))(four, state)
        with pytest.raises(jax.errors.KeyReuseError):
            jax.random.normal(three)  # step consumed it
