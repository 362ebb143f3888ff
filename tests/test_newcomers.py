"""The benchmark of new users: its numbers by hand, a course beside a rollout, and the whole of it in a small world."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from conftest import make_small_feed

import jaxreco
from jaxreco import registry
from jaxreco.benchmarks import newcomers, retention
from jaxreco.errors import JaxrecoError


def test_turns_until_a_newcomer_is_as_well_served_as_a_known_user() -> None:
    """Nine tenths of the mean from turn 200 on, by the mean of five turns: in those that begin at 29 one of five is too low."""
    ndcg = np.ones(newcomers.TURNS)
    ndcg[:30] = 0.4
    assert newcomers.turns_until(ndcg) == 30.0
    ndcg[:30] = 0.6  # (0.6 + 4) / 5
    assert newcomers.turns_until(ndcg) == 29.0
    assert newcomers.turns_until(np.full(newcomers.TURNS, 0.2)) == 0.0


def test_its_interval_is_over_users_or_over_seeds() -> None:
    ndcg = np.ones((1, newcomers.TURNS, 40))
    ndcg[0, :10, :20], ndcg[0, :20, 20:] = 0.0, 0.0  # half of the users are known after 10 turns, half after 20
    found = newcomers.until({"ndcg": ndcg})
    assert found.low <= found.value <= found.high
    assert found.value == 20.0
    two = np.repeat(ndcg[:, :, :20], 2, axis=0)
    two[1, :14] = 0.0
    assert newcomers.until({"ndcg": two}).value == pytest.approx(12.0)


def test_ndcg_of_many_turns_is_that_of_each() -> None:
    rng = np.random.default_rng(0)
    gains = rng.random((4, 9))
    slates = np.stack([np.stack([rng.permutation(9)[:3] for _ in range(4)]) for _ in range(5)])
    together = retention.ndcg(slates, gains)
    np.testing.assert_allclose(together, [retention.ndcg(each, gains) for each in slates])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world that compiles soon, and 12 turns."""

    monkeypatch.setitem(registry._ENVS, "Small-v0", make_small_feed)
    monkeypatch.setattr(newcomers, "TURNS", 12)
    monkeypatch.setattr(newcomers, "KNOWN_FROM", 8)
    monkeypatch.setattr(newcomers, "EARLY", (3, 6))
    monkeypatch.setattr(newcomers, "SPANS", {"first3": slice(0, 3), "first6": slice(0, 6), "known": slice(8, 12)})


def test_a_course_is_that_of_a_rollout(small: None) -> None:
    env, params = registry.make("Small-v0")
    params = params.replace(horizon_hours=np.float32(np.inf), churn_hours=np.float32(np.inf))
    key = jax.random.key(3)
    agent = jaxreco.make_agent("popularity", key, env, params)
    gains = retention.tastes(key, env, params, 6)
    course = newcomers._course(key, env, params, agent, gains)
    ran = jaxreco.rollout(key, env, params, *agent, users=6, turns=12, tile=8, trajectory=True)
    np.testing.assert_allclose(course["minutes"], ran.trajectory.info["minutes"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(course["clicks"], ran.trajectory.info["clicks"])
    np.testing.assert_allclose(course["ndcg"], retention.ndcg(np.asarray(ran.trajectory.action), gains), rtol=1e-5)
    assert not np.asarray(ran.trajectory.terminated).any()


def test_new_users_of_several_agents(small: None, tmp_path: pathlib.Path) -> None:
    report = newcomers.run(env="Small-v0", agents="random,linucb,oracle_greedy", users=12, plot=tmp_path / "found.png")
    rows = {(row.agent, row.metric, row.protocol, row.against): row for row in report.rows}
    assert {row.agent for row in report.rows} == {"random", "popularity", "linucb", "oracle_greedy"}
    for name in ("random", "linucb", "oracle_greedy"):
        for span in ("first3", "first6", "known"):
            assert 0.0 < rows[name, "ndcg", span, None].value <= 1.0
            less = rows[name, "minutes", span, "popularity"].value
            apart = rows[name, "minutes", span, None].value - rows["popularity", "minutes", span, None].value
            assert less == pytest.approx(apart, abs=1e-9)
        assert 0.0 <= rows[name, "turns_until_known", "newcomers", None].value <= 8.0
    assert rows["oracle_greedy", "ndcg", "first3", "popularity"].low > 0.0
    assert (tmp_path / "found.png").stat().st_size > 1000
    assert len(report.rows) == len(rows)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, coin: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"no row for 'linucbb'. Did you mean linucb\?"):
        newcomers.run(agents="linucbb")
    monkeypatch.setitem(registry._ENVS, "Coins-v0", lambda **statics: coin)
    with pytest.raises(JaxrecoError, match="no mind that can be read"):
        newcomers.run(env="Coins-v0", agents="random")
