"""The learned user in a world: what draws it to items and what it does by hand, and that it remembers what it clicked."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxreco
from jaxreco import base
from jaxreco.base import CLICK, LIKE, Context, EnvParams
from jaxreco.testing import check_env
from jaxreco.users import heads as heads_module
from jaxreco.users.classes import LOG, Classes
from jaxreco.users.factors import FORESEEN, RANK, Factors
from jaxreco.users.heads import Head
from jaxreco.users.network import FEATURES, NetworkConfig, UserNetwork
from jaxreco.users.transformer import HEADS, LearnedUser, StandIns, _times_shown, learned

Array = jax.Array
K, WIDTH, WINDOW, M = 4, 8, 6, 5
USERS = 256
CLASSES = {
    "value": Classes("numbers", (1.0, 2.0, 3.0, 4.0, 5.0), (0.1, 0.1, 0.3, 0.3, 0.2)),
    "watch": Classes(LOG, (1.0, 5.0, 25.0, 600.0), (0.3, 0.4, 0.3)),
    "click": Classes.of_numbers(np.array([0, 0, 1])),
    "leave": Classes.of_numbers(np.array([0, 0, 0, 1])),
    "gap": Classes(LOG, (1.0, 10.0, 100.0, 500.0), (0.3, 0.4, 0.3)),
}


def shaken(module: Any, seed: int, scale: float = 0.5) -> Any:
    graph, state = nnx.split(module)
    leaves, tree = jax.tree.flatten(state)
    rng = np.random.default_rng(seed)
    leaves = [x + jnp.asarray(rng.normal(scale=scale, size=x.shape), x.dtype) for x in leaves]
    return nnx.merge(graph, jax.tree.unflatten(tree, leaves))


def heads_of(*names: str, items: int) -> dict[str, Head]:
    def head(at: int, name: str) -> Head:
        of_items = 0 if name in ("leave", "gap") else items
        extra = Head(CLASSES[name], WIDTH, extra_of(name), of_items, rngs=nnx.Rngs(at))
        extra.of_hidden[...] = jnp.asarray(np.random.default_rng(at).normal(scale=0.2, size=WIDTH), jnp.float32)
        return extra

    return {name: head(at, name) for at, name in enumerate(names)}


def extra_of(name: str) -> int:
    from jaxreco.users import heads

    one = jnp.float32(1.0)
    features = {
        "click": lambda: heads.click_features(one, one, one, one, one, one, heads.standing(one, one)),
        "leave": lambda: heads.leave_features(one, one, heads.standing(one, one)),
        "gap": lambda: heads.gap_features(one, one, one, one, one, one),
    }
    return len(features[name]()) if name in features else len(heads.standing(one, one)) + FORESEEN


def behind(of_data: dict[str, Head], items: int) -> dict[str, Factors]:
    """Some factors for the heads of events."""
    rng = np.random.default_rng(3)
    vector, usual = rng.normal(scale=0.3, size=(items, RANK + 1)), rng.normal(scale=0.1, size=items)
    found = Factors(jnp.asarray(vector, jnp.float32), jnp.asarray(usual, jnp.float32), jnp.float32(0.2))
    return {name: found for name in of_data if name in heads_module.EVENT_HEADS}


def world(feed: tuple[Any, Any], *names: str) -> tuple[Any, EnvParams, np.ndarray]:
    """A Feed-v0 whose people are learned ones, with these heads; and what each took before, i32[P, M]."""
    env, params = feed
    items = env.n_items
    network = shaken(
        UserNetwork(
            NetworkConfig(width=WIDTH, layers=2, heads=2, window=WINDOW), items, 0, len(FEATURES), rngs=nnx.Rngs(0)
        ),
        seed=1,
    )
    table = network.items(jnp.zeros((items, 0)), jnp.ones(items, bool))
    rng = np.random.default_rng(2)
    histories = rng.integers(items, size=(params.population.size, M)).astype(np.int32)
    histories[0] = -1  # somebody of whom nothing is known
    of_data = heads_of(*names, items=items)
    user = learned(
        params.user, network, table, StandIns(table.vector, table.bias), of_data, behind(of_data, items), histories, {}
    )
    model = LearnedUser(env.user_model.n_categories, K, env.history_length, sources=tuple(sorted(names)))
    return dataclasses.replace(env, user_model=model, name="Learned"), params.replace(user=user), histories


@pytest.fixture(scope="module")
def plain(feed: Any) -> Any:
    return world(feed)


@pytest.fixture(scope="module")
def told(feed: Any) -> Any:
    return world(feed, "value", "watch", "click", "leave", "gap")


def lives(env: Any, params: EnvParams, turns: int, seed: int = 0) -> tuple[Any, list[Any]]:
    """USERS users before and after some turns of random slates: states, and (slates, feedback, states) of each turn."""
    key = jax.random.key(seed)
    state = jax.vmap(lambda k: env.user_model.init(k, params.user, params.catalog))(jax.random.split(key, USERS))

    @jax.jit
    def turn(keys: Array, state: Any) -> Any:
        def one(key: Array, state: Any) -> Any:
            to_slate, to_review = jax.random.split(key)
            slate = env.random_slate(to_slate)
            return slate, *env.user_model.review(to_review, state, slate, params.user, params.catalog, Context())[:2]

        return jax.vmap(one)(keys, state)

    begun, found = state, []
    for t in range(turns):
        slate, state, feedback = turn(jax.random.split(jax.random.fold_in(key, t + 1), USERS), state)
        found.append((slate, feedback, state))
    return begun, found


def test_what_draws_it_is_bayes_rule_for_items_drawn_evenly(plain):
    """Log-odds: those of any item, and how many times as likely as any item alike the network finds this one."""
    env, params, _ = plain
    user = params.user
    state = jax.vmap(lambda k: env.user_model.init(k, user, params.catalog))(jax.random.split(jax.random.key(0), 3))
    items = jnp.arange(env.n_items)
    for at in range(3):
        mine = jax.tree.map(lambda x, at=at: x[at], state)
        score = np.asarray(user.table.vector @ mine.memory.hidden + user.table.bias, np.float64)
        by_hand = float(user.base) + score - np.log(np.mean(np.exp(score)))
        pull = user.appeal_to(mine, items, None, params.catalog)
        np.testing.assert_allclose(pull.utility, by_hand, atol=1e-4)
        np.testing.assert_allclose(pull.off_taste, np.maximum(float(user.base) - by_hand, 0.0), atol=1e-4)
        np.testing.assert_allclose(user.usual_appeal(mine.row, params.catalog), by_hand, atol=1e-4)
        assert np.mean(np.exp(by_hand - float(user.base))) == pytest.approx(1.0, rel=1e-4)


def test_stand_ins_that_are_everything_are_everything(plain):
    """Twice all items, each expected twice, is the same sum."""
    _, params, _ = plain
    user, hidden = params.user, jnp.linspace(-1.0, 1.0, WIDTH)
    twice = StandIns(jnp.tile(user.table.vector, (2, 1)), jnp.tile(user.table.bias - jnp.log(2.0), 2))
    assert float(user.replace(others=twice).level(hidden)) == pytest.approx(float(user.level(hidden)), abs=1e-5)


def test_many_people_come_without_a_decoder(feed, plain):
    """More than are read at once; what they took lately is not kept then."""
    user, many = plain[1].user, np.tile(np.arange(M, dtype=np.int32), (300, 1))
    found = learned(feed[1].user, user.network, user.table, user.others, {}, {}, many, {}).population.traits.begun
    assert found.lately.shape == (300, 0)
    np.testing.assert_allclose(found.hidden[299], found.hidden[0], atol=1e-5)
    np.testing.assert_array_equal(found.number, np.full(300, M))


def test_it_remembers_what_it_clicked_as_if_it_were_read_anew(plain):
    """A person of the log, eight slates later: the network's word after its history and all clicks, in order."""
    env, params, histories = plain
    generous = params.replace(user=params.user.replace(base=12.0))
    begun, turns = lives(env, generous, 8)
    network, table, total = params.user.network, params.user.table, 0
    for at in range(0, USERS, 32):
        clicked = [
            int(item)
            for slate, feedback, _ in turns
            for item, did in zip(slate[at], feedback.actions[at], strict=True)
            if int(did) & CLICK
        ]
        past = network.past(jnp.asarray(histories[int(begun.row[at])]), table)
        nothing = jnp.zeros((len(clicked), len(FEATURES)))
        anew = network.read(past, jnp.asarray(clicked, jnp.int32), nothing, table)[-1]
        memory = jax.tree.map(lambda x, at=at: x[at], turns[-1][2].memory)
        np.testing.assert_allclose(memory.hidden, anew, atol=1e-4)
        total += len(clicked)
    assert total > WINDOW * 8  # rings have wrapped around


def test_only_clicks_are_remembered(plain):
    env, params, _ = plain
    sullen = params.replace(user=params.user.replace(base=-300.0))
    begun, turns = lives(env, sullen, 2)
    np.testing.assert_array_equal(turns[-1][2].memory.hidden, begun.memory.hidden)
    np.testing.assert_array_equal(turns[-1][2].level, begun.level)


def test_likes_are_values_and_watching_is_drawn_from_the_log(told):
    env, params, _ = told
    user = params.user
    assert float(user.like_at) == 5.0  # of 4 and 5, half of all values are, and that is more than a third
    begun, [(slate, feedback, after)] = lives(env, params, 1)
    clicked, liked = ((np.asarray(feedback.actions) & bit) != 0 for bit in (CLICK, LIKE))
    keys = [jax.random.split(k)[1] for k in jax.random.split(jax.random.fold_in(jax.random.key(0), 1), USERS)]
    values = np.asarray(jax.vmap(lambda k, s, x: env.user_model._values(k, s, x, user))(jnp.stack(keys), begun, slate))
    np.testing.assert_array_equal(liked, clicked & (values >= 5.0))
    assert 0.05 < liked[clicked].mean() < 0.5
    watch = np.asarray(feedback.watch)
    seconds = np.asarray(params.catalog.duration)[np.asarray(slate)]
    assert np.all(watch[clicked] <= np.minimum(seconds, 600.0)[clicked] + 1e-3)
    assert np.all(watch[clicked & (seconds > 1.0)] >= 1.0 - 1e-3)
    count = np.asarray(after.said["value"].count) - np.asarray(begun.said["value"].count)
    np.testing.assert_array_equal(count, clicked.sum(axis=1))
    at = CLASSES["value"].of(values)
    np.testing.assert_allclose(after.said["value"].total, (CLASSES["value"].ridit[at] * clicked).sum(axis=1), atol=1e-5)


def test_it_leaves_as_often_as_the_head_says(told):
    env, params, _ = told
    user = params.user
    begun, [(slate, _, _)] = lives(env, params, 1, seed=5)

    def says(state: Any, slate: Array) -> Array:
        return env.user_model._known(jnp.full((K, 7), 0.5), state, slate, user, params.catalog).leave[0]

    leave = np.asarray(jax.vmap(says)(begun, slate))
    silent = dataclasses.replace(env.user_model, talks=False)
    quiet = dataclasses.replace(env, user_model=silent)
    _, [(_, feedback, _)] = lives(quiet, params, 1, seed=5)
    left = float(np.asarray(feedback.left).mean())
    assert leave.std() > 0.01  # people differ
    assert abs(left - leave.mean()) < 4.0 * np.sqrt(0.25 / USERS)


def test_sessions_of_the_log_go_on(told):
    """Of people who had three gaps in their log; others are new, which they would not be who came as the log began."""
    env, params, _ = told
    assert np.all(np.asarray(params.user.population.traits.begun.gaps.absent) == heads_module.NEW_H)
    traits, head = params.user.population.traits, nnx.clone(params.user.feedback["gap"])
    head.of_extra[...] = jnp.zeros_like(head.of_extra[...]).at[7].set(100.0)  # how long nobody was there before
    feedback = {**params.user.feedback, "gap": head}
    for absent, long in ((heads_module.NEW_H, True), (0.0, False)):
        logged = jax.tree.map(lambda x: jnp.full_like(x, 3.0), traits.begun.gaps).replace(
            absent=jnp.full_like(traits.begun.gaps.absent, absent)
        )
        population = params.user.population.replace(traits=traits.replace(begun=traits.begun.replace(gaps=logged)))
        theirs = params.replace(user=params.user.replace(population=population, feedback=feedback))
        begun, _ = lives(env, theirs, 1)
        assert np.all(np.asarray(begun.gaps.number) == 3.0)
        keys = jax.random.split(jax.random.key(9), USERS)
        after, gap = jax.vmap(lambda k, s, p=theirs: env.user_model.revisit(k, s, p.user, Context()))(keys, begun)
        assert np.all(np.asarray(gap) > 100.0) == long  # the last class
        np.testing.assert_allclose(after.gaps.total, 3.0 + np.log1p(np.asarray(gap)), rtol=1e-5)


def test_gaps_are_drawn_from_the_head(told):
    env, params, _ = told
    begun, _ = lives(env, params, 1)
    keys = jax.random.split(jax.random.key(9), USERS)
    after, gap = jax.vmap(lambda k, s: env.user_model.revisit(k, s, params.user, Context()))(keys, begun)
    assert np.all((np.asarray(gap) >= 1.0) & (np.asarray(gap) <= 500.0))
    assert 0.1 < (np.asarray(gap) > 100.0).mean() < 0.6
    np.testing.assert_allclose(after.gaps.last, np.log1p(np.asarray(gap)), rtol=1e-5)
    assert np.all(np.asarray(after.gaps.number) == 1.0)


def test_heads_say_what_is_data(plain, told):
    assert plain[0].user_model.heads == dict.fromkeys(HEADS, "prior")
    heads = told[0].user_model.heads
    assert {name for name, source in heads.items() if source == "data"} == set(CLASSES)


@pytest.mark.parametrize("which", ["plain", pytest.param("told", marks=pytest.mark.bits)])
def test_a_life_is_the_same_among_any_number_of_users(which, request):
    env, params, _ = request.getfixturevalue(which)
    key = jax.random.key(1)
    agent, agent_params = jaxreco.make_agent("random", key, env, params)
    run = lambda users: jaxreco.rollout(key, env, params, agent, agent_params, users=users, turns=6, tile=8)  # noqa: E731
    few, many = run(3), run(20)
    for one, other in zip(jax.tree.leaves(few.metrics), jax.tree.leaves(many.metrics), strict=True):
        np.testing.assert_array_equal(one, np.asarray(other)[:3])


def test_what_was_shown_before_is_counted_while_it_is_remembered(told):
    """An item in two of the last three slates was shown twice, whether or not it was looked at."""
    history = base.Event.none_yet(2, 6)
    for items in ([5, 6], [7, 5], [5, 8]):
        nothing = jnp.zeros(2)
        history = history.push(base.Event(jnp.asarray(items), jnp.zeros(2, jnp.int32), nothing, jnp.float32(0.0)))
    asked = jnp.asarray([5, 6, 9])
    np.testing.assert_array_equal(_times_shown(history, asked), [3.0, 1.0, 0.0])
    later = history.push(base.Event(jnp.asarray([9, 9]), jnp.zeros(2, jnp.int32), nothing, jnp.float32(0.0)))
    np.testing.assert_array_equal(_times_shown(later, asked), [2.0, 0.0, 2.0])
    user = told[1].user
    head = nnx.clone(user.feedback["click"])
    head.of_extra[...] = jnp.zeros_like(head.of_extra[...]).at[3].set(-1.0)
    lift, heard, tired = jnp.zeros(1), jnp.zeros(3), user.replace(feedback={**user.feedback, "click": head})
    often, never = (
        tired.log_odds(jnp.zeros(WIDTH), lift, jnp.asarray([3]), heard, jnp.asarray([n])) for n in (3.0, 0.0)
    )
    np.testing.assert_allclose(never - often, np.log(4.0), rtol=1e-5)


@pytest.mark.slow
def test_it_keeps_the_contract(told):
    check_env(told[0], told[1])


def test_privileged_agents_read_it(plain):
    """Who reads the network's mind earns more clicks than chance."""
    env, params, _ = plain
    key, earned = jax.random.key(1), {}
    for name in ("random", "oracle_greedy"):
        agent, agent_params = jaxreco.make_agent(name, key, env, params)
        total = jaxreco.rollout(key, env, params, agent, agent_params, users=64, turns=8).metrics.total
        earned[name] = float(np.sum(total.clicks) / np.sum(total.examined))
    assert earned["oracle_greedy"] > 1.5 * earned["random"]
