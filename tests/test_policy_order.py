"""The judge of policy orders: picks by hand, agents that cheat nowhere, and Kendall's tau."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from logged import ANSWERS, log_of, many

from jaxreco import policy_order
from jaxreco.base import CLICK, EMPTY, EXAMINED, LIKE
from jaxreco.data.responses import own_scale, responses
from jaxreco.envs.jester import world
from jaxreco.errors import DataError
from jaxreco.policy_order import Logged, halves, kendall, observation, pick, table, tau
from jaxreco.registry import make_agent

KEY = jax.random.key(5)


@dataclasses.dataclass(frozen=True)
class Fixed:
    """Ranks by a list, and remembers how often it was asked."""

    privileged: ClassVar[bool] = False

    def reset(self, agent_params: Any) -> Any:
        return jnp.int32(0)

    def act(self, key: Any, agent_params: Any, memory: Any, obs: Any, catalog: Any) -> Any:
        return agent_params, memory + 1, None


@dataclasses.dataclass(frozen=True)
class AfterLikes:
    """The list as it is while the last item was clicked, turned round after one that was not."""

    privileged: ClassVar[bool] = False

    def reset(self, agent_params: Any) -> None:
        return None

    def act(self, key: Any, agent_params: Any, memory: Any, obs: Any, catalog: Any) -> Any:
        disliked = (obs.slate[0] >= 0) & ((obs.actions[0] & CLICK) == 0)
        return jnp.where(disliked, agent_params[::-1], agent_params), None, None


class Told:
    """Answers with a number that says who was asked what, and when."""

    def __init__(self) -> None:
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []

    def rating(self, person: Any, items: Any, values: Any, item: Any) -> Any:
        self.asked.append((items.copy(), values.copy()))
        return (100.0 * person + item).astype(np.float32)


def judged(
    agent: Any, params: Any, answers: Any = None, people: Any = (0, 1, 3), picks: int = 3, told: Any = None
) -> Any:
    told = responses(log_of()) if told is None else told
    catalog = world(log_of(), slate_size=4, history_length=4, width=2)[1].catalog
    return pick(
        KEY, agent, params, catalog, answers or Logged(told), np.array(people), told.known, own_scale(told), picks=picks
    )


# -- picking -------------------------------------------------------------------------------------------------


def test_the_first_of_the_list_that_the_person_answered_and_was_not_shown() -> None:
    picks = judged(Fixed(), jnp.array([3, 0, 2, 1]))
    assert picks.item.tolist() == [[0, 2, 1], [3, 2, 1], [3, 0, 2]]  # person 0 never answered 3, person 1 never 0
    assert picks.value.tolist() == [[8.0, -4.0, 2.0], [5.0, 5.0, 5.0], [3.0, 0.0, 2.0]]
    np.testing.assert_allclose(picks.outcome, [2.0, 5.0, 5 / 3])


def test_what_was_said_comes_back_to_the_agent() -> None:
    picks = judged(AfterLikes(), jnp.array([0, 1, 2, 3]), people=(3,), picks=4)
    # Person 3 said 0, 1, 2, 3, and its mean is 1.5: after 0 the list is turned round, after a click it is not.
    assert picks.item.tolist() == [[0, 3, 1, 2]]


def test_who_answers_can_be_exchanged() -> None:
    answers = Told()
    picks = judged(Fixed(), jnp.array([3, 0, 2, 1]), answers, picks=3)
    assert picks.value.tolist() == [[0.0, 2.0, 1.0], [103.0, 102.0, 101.0], [303.0, 300.0, 302.0]]
    assert [items.shape[1] for items, _ in answers.asked] == [0, 1, 2]
    items, values = answers.asked[2]
    assert items[:3].tolist() == [[0, 2], [3, 2], [3, 0]]
    assert values[:3].tolist() == [[0.0, 2.0], [103.0, 102.0], [303.0, 300.0]]


def test_a_person_is_judged_alike_in_any_company(monkeypatch) -> None:
    log = log_of(many(40, jokes=12))
    told = responses(log)
    env, params = world(log, slate_size=12, history_length=12, width=4)
    agent, fitted = make_agent("random", jax.random.key(0), env, params)
    run = lambda people: pick(  # noqa: E731
        KEY, agent, fitted, params.catalog, Logged(told), np.array(people), told.known, own_scale(told), picks=5
    )
    together, alone = run(range(40)), run([17])
    assert together.item[17].tolist() == alone.item[0].tolist()
    assert run(range(40)).item.tolist() == together.item.tolist()
    assert len(np.unique(together.item[:, 0])) > 5
    monkeypatch.setattr(policy_order, "BLOCK", 7)
    assert run(range(40)).item.tolist() == together.item.tolist()


@pytest.mark.parametrize("name", ["random", "popularity", "item_knn", "ease"])
def test_agents_pick_different_items_that_the_person_answered(name: str) -> None:
    log = log_of(many(40))
    told = responses(log)
    env, params = world(log, slate_size=24, history_length=24, width=4)
    agent, fitted = make_agent(name, jax.random.key(0), env, params)
    people = np.arange(0, 40, 3)
    picks = pick(KEY, agent, fitted, params.catalog, Logged(told), people, told.known, own_scale(told))
    for person, row, said in zip(people, picks.item, picks.value, strict=True):
        assert len(set(row.tolist())) == 10
        assert told.known[person, row].all()
        assert (told.value[person, row] == said).all()


def test_the_observation_by_hand() -> None:
    catalog = world(log_of(), slate_size=4, history_length=4, width=2)[1].catalog
    item, actions = jnp.array([2, 1, EMPTY]), jnp.array([EXAMINED, EXAMINED | CLICK | LIKE, 0])
    obs = observation(item, actions, jnp.int32(2), catalog)
    assert obs.history.item.tolist() == [EMPTY, 2, 1]
    assert obs.history.actions.tolist() == [0, 1, 7]
    seconds = np.asarray(catalog.duration)
    np.testing.assert_allclose(obs.history.watch, [0.0, seconds[2], seconds[1]])
    np.testing.assert_allclose(obs.history.age, [0.0, seconds[1] / 3600, 0.0], atol=1e-9)
    assert obs.slate.tolist() == [1, EMPTY, EMPTY, EMPTY]
    assert obs.actions.tolist() == [7, 0, 0, 0]
    assert (int(obs.turn), float(obs.clock)) == (2, pytest.approx((seconds[2] + seconds[1]) / 3600))
    first = observation(jnp.full(3, EMPTY), jnp.zeros(3, jnp.int32), jnp.int32(0), catalog)
    assert first.slate.tolist() == [EMPTY] * 4
    assert float(first.clock) == 0.0


def test_the_observation_is_what_a_world_shows(key) -> None:
    """Of the same structure and types as `env.observe`, but for the width of slate and history."""
    env, params = world(log_of(), slate_size=4, history_length=4, width=2)
    seen = jax.eval_shape(env.observe, env.reset_env(key, params)[1], params)
    ours = jax.eval_shape(observation, jnp.zeros(4, jnp.int32), jnp.zeros(4, jnp.int32), jnp.int32(0), params.catalog)
    assert jax.tree.structure(seen) == jax.tree.structure(ours)
    for one, other in zip(jax.tree.leaves(seen), jax.tree.leaves(ours), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


def test_too_few_answers_are_refused() -> None:
    with pytest.raises(DataError, match="Person 2 answered 2 items, and 3 are to be picked"):
        judged(Fixed(), jnp.arange(4), people=(0, 2))
    with pytest.raises(DataError, match="Person 2 did not answer item 1"):
        Logged(responses(log_of())).rating(np.array([0, 2]), np.zeros((2, 0)), np.zeros((2, 0)), np.array([0, 1]))

    @dataclasses.dataclass(frozen=True)
    class Reader(Fixed):
        privileged: ClassVar[bool] = True

    with pytest.raises(DataError, match="Reader reads a mindset, and people of a log have none"):
        judged(Reader(), jnp.arange(4))


def test_the_log_of_the_tests_is_as_it_says() -> None:
    assert [sum(value is not None for value in own) for own in ANSWERS] == [3, 3, 2, 4]


# -- orders --------------------------------------------------------------------------------------------------


def plain_tau(a: Any, b: Any) -> float:
    """Tau-b by its definition, pair by pair."""
    agree = tied_a = tied_b = pairs = 0
    for i in range(len(a)):
        for j in range(i):
            one, other = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
            agree += one * other
            tied_a, tied_b, pairs = tied_a + (one == 0), tied_b + (other == 0), pairs + 1
    return float(agree / np.sqrt((pairs - tied_a) * (pairs - tied_b)))


def test_kendall_by_hand() -> None:
    assert kendall([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1.0)
    assert kendall([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    assert kendall([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(4 / 6)  # one of six pairs is the other way round
    assert kendall([1, 2, 3, 4], [1, 1, 3, 4]) == pytest.approx(5 / np.sqrt(30))
    assert np.isnan(kendall([1, 2], [3, 3]))
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(5, size=8), rng.integers(5, size=8)
        assert kendall(a, b) == pytest.approx(plain_tau(a, b))
    for wrong in ([1.0], [1.0, 2.0, 3.0]):
        with pytest.raises(DataError, match="give the same two or more things in both"):
            kendall(wrong, [1.0, 2.0] if len(wrong) > 1 else [1.0])


def outcomes(n: int, apart: float, seed: int = 0) -> np.ndarray:
    """f64[n, 4]: four agents whose true means are `apart` apart, judged with a spread of 1 and what people have in common."""
    rng = np.random.default_rng(seed)
    return apart * np.arange(4) + rng.normal(size=(n, 1)) + rng.normal(size=(n, 4))


def test_tau_and_its_interval() -> None:
    clear = outcomes(500, 1.0)
    assert tau(clear, clear + 5.0, resamples=50) == pytest.approx((1.0, 1.0, 1.0))
    assert tau(clear, -clear, resamples=50) == pytest.approx((-1.0, -1.0, -1.0))
    blurred = outcomes(500, 0.05)
    value, low, high = tau(blurred, outcomes(500, 0.05, seed=1), resamples=200)
    assert low < high
    assert low <= value <= 1.0
    assert tau(blurred, blurred[:, ::-1], resamples=20) == tau(blurred, blurred[:, ::-1], resamples=20)
    with pytest.raises(DataError, match="the same people and agents"):
        tau(clear, clear[:10])


def test_people_are_resampled_together() -> None:
    """Whatever is drawn, equal tables have equal means: with people drawn apart this would not be so."""
    same = outcomes(30, 0.0)
    assert tau(same, same, resamples=100) == pytest.approx((1.0, 1.0, 1.0))


def test_halves() -> None:
    assert halves(outcomes(400, 1.0), splits=20) == pytest.approx(np.ones(20))
    blurred = halves(outcomes(400, 0.0), splits=200)
    assert blurred.shape == (200,)
    assert -0.6 < blurred.mean() < 0.4
    assert len(np.unique(blurred)) > 3
    with pytest.raises(DataError, match="1 people cannot be halved"):
        halves(outcomes(1, 1.0))


def test_a_table_is_of_the_same_people() -> None:
    assert table({"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    with pytest.raises(DataError, match="judged by different people"):
        table({"a": np.zeros(2), "b": np.zeros(3)})
