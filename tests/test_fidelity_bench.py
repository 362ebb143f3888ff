"""The benchmark of fidelity on small logs, whole; its own agents against plain loops; its policies by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from logged import jester, log_of, many, shop
from test_matched import rows
from typer.testing import CliRunner

from jaxreco import cli, policy_order
from jaxreco.base import EXAMINED
from jaxreco.benchmarks import fidelity, heads, pickers
from jaxreco.data import open_bandit
from jaxreco.data.responses import own_scale, responses
from jaxreco.envs.jester import world
from jaxreco.errors import DataError
from jaxreco.fit.regression import Rows
from jaxreco.policy_order import Logged, observation
from jaxreco.users.classes import Classes
from jaxreco.users.heads import LEAVE, Head


@pytest.fixture
def data(tmp_path: Path) -> Path:
    jester(tmp_path / "jester", many(), [f"joke number{i} about animal{i % 3}" for i in range(24)])
    for campaign in ("men", "all"):
        shop(tmp_path / "open-bandit", rows(), items=6, campaign=campaign)
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "SPLITS", 10)
    monkeypatch.setattr(fidelity, "FOLDS", {"quick": 2, "full": 3})
    monkeypatch.setattr(heads, "FOLDS", {"quick": 2, "full": 3})
    monkeypatch.setattr(heads, "EPOCHS", {"quick": 1, "full": 1})


def values(report: Any, **wanted: Any) -> dict[str, Any]:
    """Rows by agent."""
    found = [row for row in report.rows if all(getattr(row, name) == value for name, value in wanted.items())]
    return {row.agent: row for row in found}


@pytest.mark.usefixtures("small")
def test_all_of_it(data: Path) -> None:
    report = fidelity.run(data=data)
    picked = values(report, dataset="jester", metric="rating", against=None, protocol="ten_picks")
    assert tuple(picked) == tuple(fidelity.AGENTS)
    told = responses(log_of(many()))
    people = np.flatnonzero(told.known.sum(axis=1) > policy_order.PICKS)
    best, worst = fidelity.ceiling(told, people)
    for row in picked.values():
        assert (row.metric, row.n_users, row.n_seeds, row.mode) == ("rating", len(people), 2, "quick")
        assert row.low <= row.value <= row.high
        assert worst <= row.value <= best
    value = {name: row.value for name, row in picked.items()}
    assert value["worst_first"] < value["random"] < value["best_first"] < value["gaussian"]
    less = values(report, dataset="jester", against="random")
    assert less["gaussian"].low > 0 > less["worst_first"].high
    assert less["gaussian"].value == pytest.approx(value["gaussian"] - value["random"])
    first, last = (values(report, metric=metric)["best_first"].value for metric in ("rating@1", "rating@10"))
    assert first > value["best_first"] > last
    tau = values(report, metric="kendall_tau")["logged"]
    assert 0.5 < tau.low <= tau.value <= tau.high <= 1.0
    agreed = values(report, metric="kendall_tau", protocol="learned_vs_logged")["learned"]
    assert -1.0 <= agreed.low <= agreed.value <= agreed.high <= 1.0
    assert set(values(report, metric="rating", protocol="ten_picks/learned")) == set(fidelity.AGENTS)
    assert set(values(report, metric="log_likelihood", protocol="value", against=None)) == {
        "learned",
        "base_rate",
        "logistic",
    }
    kinder = values(report, metric="positivity", protocol="gap/mean_value", against=None)
    assert kinder["logged"].value == pytest.approx(told.value[told.known].mean(), abs=1e-3)
    assert -10.0 <= kinder["learned"].value <= 10.0
    clicks = values(report, dataset="open-bandit", protocol="men/ips")
    assert tuple(clicks) == tuple(fidelity.POLICIES)
    assert clicks["unclicked"].value < clicks["random"].value < clicks["clicked"].value
    shown = np.array([click for _, _, click, _ in rows()])
    assert clicks["random"].value == pytest.approx(shown.mean(), rel=1e-4)


@pytest.mark.usefixtures("small")
def test_on_the_command_line_without_one_of_the_sets(data: Path, tmp_path: Path) -> None:
    (data / "open-bandit").rename(data / "elsewhere")
    out = tmp_path / "fidelity.json"
    ran = CliRunner().invoke(cli.app, ["bench", "fidelity", "--data", str(data), "--json", str(out)])
    assert ran.exit_code == 0, ran.output
    assert "open-bandit is left out" in ran.output
    report = json.loads(out.read_text())
    assert {row["dataset"] for row in report["rows"]} == {"jester"}
    (data / "jester").rename(data / "nowhere")
    with pytest.raises(DataError, match="has neither jester nor open-bandit"):
        fidelity.run(data=data)


def test_the_people_asked_are_not_those_the_agents_learned_from(monkeypatch) -> None:
    log = log_of(many(20))
    told, met = responses(log), []
    real = policy_order.pick

    def spy(key: Any, agent: Any, fitted: Any, catalog: Any, answers: Any, people: Any, *more: Any) -> Any:
        met.append((seen[-1], set(people.tolist())))
        return real(key, agent, fitted, catalog, answers, people, *more)

    seen: list[set[int]] = []

    def answering(train: Any) -> Any:
        seen.append(set(train.user.tolist()))
        return Logged(told)

    monkeypatch.setattr(fidelity, "AGENTS", {"best_first": "", "worst_first": ""})
    monkeypatch.setattr(policy_order, "pick", spy)
    people = np.flatnonzero(told.known.sum(axis=1) > 10)
    found = fidelity.under(log, answering, people, 4)
    assert found["best_first"].shape == (len(people), 10)
    assert len(seen) == 4
    assert len(met) == 8
    assert all(not learned & asked for learned, asked in met)
    assert set.union(*(asked for _, asked in met)) == set(people.tolist())
    assert not np.isnan(found["best_first"]).any()


def test_the_best_list_by_plain_loops() -> None:
    """One fold's outcome of best_first, worked out without any of the code that is tested."""
    log = log_of(many(20))
    told = responses(log)
    train, test = np.arange(10), np.arange(10, 20)
    env, params = world(log.rows(log.user < 10), slate_size=24, history_length=24)
    agent, fitted = fidelity.agent_of("best_first", env, params)
    scale = own_scale(told)
    picks = policy_order.pick(jax.random.key(0), agent, fitted, params.catalog, Logged(told), test, told.known, scale)
    weights = {item: [] for item in range(24)}
    for user in train:
        own = [told.value[user, i] for i in range(24) if told.known[user, i]]
        for i in range(24):
            if told.known[user, i]:
                value = told.value[user, i]
                weights[i].append(0.5 * (value >= np.mean(own)) + 0.5 * (value >= np.quantile(own, 0.75)))
    everywhere = np.mean([w for own in weights.values() for w in own])
    mean = {i: (sum(own) + everywhere) / (len(own) + 1) for i, own in weights.items()}
    for person, item in zip(test, picks.item, strict=True):
        ranked = sorted((i for i in range(24) if told.known[person, i]), key=lambda i: (-np.float32(mean[i]), i))
        assert item.tolist() == ranked[:10]


# -- the benchmark's own agents ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> tuple[Any, Any]:
    return world(log_of(many(40)), slate_size=24, history_length=24, width=4)


def after(made: Any, items: list[int], bits: list[int]) -> Any:
    """What is seen after some items of which so much was done."""
    item = jnp.array(items + [-1] * (10 - len(items)))
    actions = jnp.array(bits + [0] * (10 - len(bits)))
    return observation(item, actions, jnp.int32(len(items)), made[1].catalog)


def ranked(made: Any, kind: str, obs: Any) -> list[int]:
    agent, fitted = fidelity.agent_of(kind, *made)
    return np.asarray(agent.act(jax.random.key(0), fitted, agent.reset(fitted), obs, made[1].catalog)[0]).tolist()


def test_the_lists_are_each_other_turned_round(made) -> None:
    nothing = after(made, [], [])
    best, worst = ranked(made, "best_first", nothing), ranked(made, "worst_first", nothing)
    assert sorted(best) == list(range(24))
    mean = pickers.degrees(made[0].log)[0]
    assert np.all(np.diff(mean[best]) <= 1e-6)
    assert np.all(np.diff(mean[worst]) >= -1e-6)


def test_covariances_by_hand() -> None:
    env, _ = world(log_of([[4.0, 0.0, None], [1.0, None, 5.0]]), slate_size=3, history_length=3, width=1)
    # Weights: person 0 gives 1 and 0, person 1 gives 0 and 1; half is the mean of all, and one pseudo-answer of it each.
    mean, covariance = pickers.degrees(env.log)
    np.testing.assert_allclose(mean, [1.5 / 3, 0.5 / 2, 1.5 / 2])
    above = np.array([[0.5, -0.25, 0.0], [-0.5, 0.0, 0.25]])
    np.testing.assert_allclose(covariance, above.T @ above / 2)


def test_the_gaussian_is_the_conditional_mean(made) -> None:
    mean, covariance = pickers.degrees(made[0].log)
    items, given = [3, 8, 11], np.array([1.0, 0.0, 0.5])
    obs = after(made, items, [7, EXAMINED, 3])
    among = covariance[np.ix_(items, items)] + 0.1 * np.eye(3)
    expected = mean + covariance[:, items] @ np.linalg.inv(among) @ (given - mean[items])
    found = ranked(made, "gaussian", obs)
    assert np.all(np.diff(expected[found]) <= 1e-5)
    assert ranked(made, "gaussian", after(made, [], [])) == ranked(made, "best_first", after(made, [], []))


def test_the_bandit_is_linucb(made) -> None:
    mean = pickers.degrees(made[0].log)[0]
    x = np.asarray(made[1].catalog.embedding, np.float64)
    items, given = [3, 8], np.array([1.0, 0.0])
    gram, pull = np.eye(4), np.zeros(4)
    for item, said in zip(items, given, strict=True):
        gram += np.outer(x[item], x[item])
        pull += x[item] * (said - mean[item])
    inverse = np.linalg.inv(gram)
    bound = np.array([m + v @ inverse @ pull + 0.2 * np.sqrt(v @ inverse @ v) for m, v in zip(mean, x, strict=True)])
    found = ranked(made, "linucb", after(made, items, [7, EXAMINED]))
    assert np.all(np.diff(bound[found]) <= 1e-5)


def test_a_picker_of_another_name() -> None:
    with pytest.raises(ValueError, match="There is no picker 'best'"):
        pickers.make("best")


# -- the shop ------------------------------------------------------------------------------------------------


def test_policies_show_items_that_the_other_half_of_the_log_clicked(data: Path) -> None:
    log = open_bandit.load(data / "open-bandit", "men")
    shown = fidelity.policies(log, seed=3)
    half = np.random.default_rng(3).permutation(len(log)) % 2
    np.testing.assert_allclose(shown.weight["random"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(shown.weight["clicked"] + shown.weight["unclicked"], 2.0, rtol=1e-5)
    for part in (0, 1):
        rate = [shown.clicked[(half != part) & (log.item == i)].mean() for i in range(6)]
        upper = set(np.argsort(rate)[3:].tolist())
        here = half == part
        assert set(log.item[here & (shown.weight["clicked"] > 0)].tolist()) == upper


def test_a_log_without_chances_is_refused(data: Path) -> None:
    log = open_bandit.load(data / "open-bandit", "men")
    with pytest.raises(DataError, match="no clicks or no chances"):
        fidelity.policies(dataclasses.replace(log, propensity=None))


def test_the_ceiling_by_hand() -> None:
    told = responses(log_of([[float(i) for i in range(12)], [None] + [2.0] * 11]))
    best, worst = fidelity.ceiling(told, np.array([0, 1]))
    assert best == pytest.approx((np.mean(range(2, 12)) + 2.0) / 2)
    assert worst == pytest.approx((np.mean(range(10)) + 2.0) / 2)


# -- the learned user's lives --------------------------------------------------------------------------------


def test_distances_by_hand() -> None:
    assert heads.apart(np.array([1.0, 2.0]), np.array([1.0, 3.0])) == 0.5
    found = heads.Lived(np.zeros(1), np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(heads.halves(found, 5), 1.0)


def test_sessions_are_as_long_as_leaving_is_likely() -> None:
    """Who leaves after every turn with one chance in four stays four turns on average."""
    head = Head(Classes("numbers", (0.0, 1.0), (0.75, 0.25)), 2, LEAVE, 1, rngs=nnx.Rngs(0))
    extra = np.tile(np.array([np.log(2.0), 0.0, 0.0, 0.0, 1.0], np.float32), (4000, 1))
    nothing = np.zeros((4000, 2), np.float32)
    plain = np.zeros(4000, np.float32)
    begun = Rows(
        np.arange(4000),
        np.full(4000, -1),
        nothing,
        nothing,
        plain,
        extra,
        extra,
        np.zeros(4000, int),
        plain * np.nan,
        plain,
    )
    found = heads._lengths(head, begun, np.ones(3), np.random.default_rng(0))
    assert found.mean() == pytest.approx(4.0, abs=0.2)
    assert (found == 1.0).mean() == pytest.approx(0.25, abs=0.03)
