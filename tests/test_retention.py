"""The retention benchmark: its numbers by hand, and the whole of it in a small world."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from conftest import make_small_feed

import jaxreco
from jaxreco import registry
from jaxreco.agents import ppo
from jaxreco.benchmarks import retention
from jaxreco.benchmarks.retention import best_baseline, diversity, ndcg, scores
from jaxreco.evaluation import live
from jaxreco.learning import temperature
from jaxreco.learning.config import TrainConfig


def test_ndcg_by_hand():
    """Of three items with gains 1, .5 and 0: the best first, the worst first, and one slot empty."""
    gains = np.array([[1.0, 0.5, 0.0]] * 3)
    discount = 1.0 / np.log2([2.0, 3.0])
    best = discount @ [1.0, 0.5]
    found = ndcg(np.array([[0, 1], [2, 0], [1, -1]]), gains)
    np.testing.assert_allclose(found, [1.0, discount[1] / best, 0.5 / best])


def test_diversity_by_hand():
    embedding = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    found = diversity(np.array([[0, 0, 0], [0, 1, 1], [0, 1, 2]]), embedding)
    np.testing.assert_allclose(found, [0.0, 1.0 - 1.0 / 3.0, 1.0 - (0.0 + 0.0 - 1.0) / 3.0])
    assert diversity(np.array([[0]]), embedding).tolist() == [0.0]


def kept(*means: float) -> dict[str, np.ndarray]:
    return {"reward": np.stack([np.full(4, mean) for mean in means])}


def test_a_score_is_a_place_between_the_best_of_three_and_the_oracle():
    found = {"random": kept(1, 1), "popularity": kept(2, 4), "ppo": kept(6, 10), "oracle_greedy": kept(10, 16)}
    assert scores(found)["ppo"].value == pytest.approx((4 / 8 + 6 / 12) / 2)
    assert scores(found)["popularity"].value == 0.0
    assert scores(found)["oracle_greedy"].value == 1.0
    assert best_baseline(found) == "popularity"
    one = {name: kept(float(each["reward"][0, 0])) for name, each in found.items()}
    assert scores(one)["ppo"].value == pytest.approx(0.5)
    del found["oracle_greedy"]
    assert scores(found) == {}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world of four days that compiles soon, and a learner of its size."""

    monkeypatch.setitem(registry._ENVS, "Small-v0", make_small_feed)
    monkeypatch.setitem(registry._AGENTS, "ppo", lambda: ppo.make(width=8, layers=1, heads=2, window=4))
    monkeypatch.setattr(retention, "HORIZON_H", 96.0)
    monkeypatch.setattr(temperature, "USERS", 8)
    brief = dataclasses.make_dataclass(
        "Brief", [("users", int, 16), ("turns", int, 4), ("minibatches", int, 2)], bases=(TrainConfig,), frozen=True
    )
    monkeypatch.setattr(retention, "TrainConfig", brief)


def test_agents_side_by_side(small: None, tmp_path: pathlib.Path):
    said: list[str] = []
    options: dict[str, Any] = dict(
        env="Small-v0", agents="random,popularity,linucb,ppo,oracle_greedy", users=12, updates=1
    )
    report = retention.run(**options, runs=tmp_path / "runs", plot=tmp_path / "found.png", say=said.append)
    rows = {(row.agent, row.metric, row.against): row for row in report.rows}
    for name in ("random", "popularity", "linucb", "ppo", "oracle_greedy"):
        for metric in (*retention.OF_LIVES, *retention.OF_SLATES, "coverage", "score"):
            assert np.isfinite(rows[name, metric, None].value), (name, metric)
        for metric in ("d1", "d7", "churn", "ndcg", "coverage"):
            assert 0.0 <= rows[name, metric, None].value <= 1.0
        assert rows[name, "d7", None].value == 0.0  # four days
    assert rows["random", "coverage", None].value > rows["popularity", "coverage", None].value
    assert rows["oracle_greedy", "ndcg", None].value > rows["random", "ndcg", None].value
    assert rows["oracle_greedy", "score", None].value == 1.0
    best = max(("random", "popularity", "linucb"), key=lambda name: rows[name, "reward", None].value or 0.0)
    less = rows["ppo", "reward", best]
    assert less.value == pytest.approx(rows["ppo", "reward", None].value - rows[best, "reward", None].value)
    assert (tmp_path / "found.png").stat().st_size > 1000
    assert any("update 1 of 1" in text for text in said)
    again: list[str] = []
    once_more = retention.run(**options, runs=tmp_path / "runs", say=again.append)
    assert not any("update" in text for text in again)  # what was trained is kept
    assert [row.value for row in once_more.rows] == [row.value for row in report.rows]


def test_sessions_are_counted_by_the_day_that_they_begin(small: None):
    """Against a trajectory, turn by turn."""
    env, params = registry.make("Small-v0")
    params = params.replace(horizon_hours=np.float32(800.0))
    key = jax.random.key(0)
    agent = jaxreco.make_agent("random", key, env, params)
    life = live(key, env, params, *agent, users=6)
    ran = jaxreco.rollout(key, env, params, *agent, users=6, turns=int(life.tally.turns.max()), tile=8, trajectory=True)
    info = ran.trajectory.info
    hours = np.cumsum(np.asarray(info["hours"], np.float64), axis=0)
    ended = np.cumsum(np.asarray(ran.trajectory.terminated | ran.trajectory.truncated), axis=0) > 0
    first = ~np.concatenate([np.zeros((1, 6), bool), ended[:-1]])
    begins = np.asarray(info["returned"]) & first
    for metric, day in (("d1", 1), ("d7", 7), ("d30", 30)):
        expected = (begins & (hours >= 24 * day) & (hours < 24 * (day + 1))).any(axis=0)
        np.testing.assert_array_equal(life.column(metric), expected)
    np.testing.assert_array_equal(life.column("sessions_30d"), 1 + (begins & (hours < 720.0)).sum(axis=0))
    assert life.column("d1").any()
    assert not life.column("d1").all()


def test_unknown_agents_and_worlds_are_refused(small: None):
    with pytest.raises(ValueError, match=r"no row for 'ppoo'.*ppo"):
        retention.run(agents="ppoo")
    with pytest.raises(ValueError, match=r"no world 'Smal-v0'.*Small-v0"):
        retention.run(env="Smal-v0", agents="random")
