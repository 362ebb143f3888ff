"""The benchmark of instructions: its scores by hand, the farmer, the traces, and the whole command (slow)."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from conftest import SMALL

import jaxreco
from jaxreco import names
from jaxreco.benchmarks import faithfulness, following, instructions, report
from jaxreco.benchmarks.farmer import Farmer
from jaxreco.errors import JaxrecoError
from jaxreco.evaluation import live
from jaxreco.learning.config import TrainConfig
from jaxreco.talk.grammar import CAUSE, INTENT


def found(**columns: Any) -> following.Cases:
    intent = np.asarray(columns.pop("intent"))
    n = len(intent)
    usual = {"user": np.arange(n), "three": np.full(n, np.nan), "passed": np.zeros(n), "random3": np.zeros(n)}
    given = {name: np.asarray(value, float) for name, value in columns.items()}
    return following.Cases(intent=intent, **(usual | {"now": np.zeros(n), "random": np.zeros(n)} | given))


def test_score_is_the_way_from_random_to_perfect() -> None:
    # more: 30 of 40 followed, random 0.5: (0.75 - 0.5) / 0.5; shorter: 20 of 20, random 0.2.
    intent = [INTENT["more"]] * 40 + [INTENT["shorter"]] * 20
    scored = following.scores(
        found(intent=intent, now=[1.0] * 30 + [0.0] * 10 + [1.0] * 20, random=[0.5] * 40 + [0.2] * 20)
    )
    assert scored["more"].value == pytest.approx(0.5)
    assert scored["shorter"].value == pytest.approx(1.0)
    assert scored["macro"].value == pytest.approx(0.75)
    assert scored["more"].low < 0.5 < scored["more"].high


def test_rare_intents_and_those_that_chance_follows_are_left_out() -> None:
    few, easy = following.FEWEST - 1, 40
    intent = [INTENT["like"]] * few + [INTENT["never"]] * easy + [INTENT["more"]] * 25
    chance = [0.1] * few + [0.99] * easy + [0.0] * 25
    scored = following.scores(found(intent=intent, now=[1.0] * len(intent), random=chance))
    assert set(scored) == {"more", "macro"}


def test_three_slates_count_only_where_the_session_lasted() -> None:
    three = [1.0] * 15 + [0.0] * 15 + [np.nan] * 30
    scored = following.scores(found(intent=[INTENT["more"]] * 60, now=[1.0] * 60, three=three), three=True)
    assert scored["more"].value == pytest.approx(0.5)


def test_pass_hat_is_the_chance_that_all_of_k_answers_follow() -> None:
    # Of 4 trials, 3 and 4 follow: pairs of the first 3 of 6, of the second all.
    cases = found(intent=[1, 1], passed=[0.75, 1.0])
    assert following.pass_hat(cases, 1) == pytest.approx(0.875)
    assert following.pass_hat(cases, 2) == pytest.approx((3 / 6 + 1) / 2)
    assert following.pass_hat(cases, 4) == pytest.approx(0.5)


def test_interval_over_seeds_is_student_s() -> None:
    over = report.over(np.array([[1.0, 3.0], [3.0, 5.0], [5.0, 7.0]]))  # means 2, 4, 6
    assert over.value == pytest.approx(4.0)
    assert over.high - over.value == pytest.approx(4.303 * 2.0 / np.sqrt(3.0), rel=1e-4)


@pytest.mark.parametrize("gain", [pytest.param(1.0, marks=pytest.mark.slow), 3.0])
def test_to_annoy_and_then_honour_never_pays(gain: float) -> None:
    env, params = jaxreco.make("Feed-v0", n_items=300, n_creators=20, n_users=128, slate_size=4, history_length=12)
    params = params.replace(horizon_hours=168.0, user=params.user.replace(honour_gain=gain, voice_bias=3.0))
    agent, agent_params = jaxreco.make_agent("obedient", jax.random.key(0), env, params)
    lives = {
        name: live(jax.random.key(1), env, params, each, agent_params, users=1024).column("reward")
        for name, each in {"": agent, "openings": Farmer("openings"), "silences": Farmer("silences")}.items()
    }
    for when in ("openings", "silences"):
        ahead = lives[when] - lives[""]
        half = 1.96 * ahead.std() / np.sqrt(len(ahead))
        assert ahead.mean() - half <= 0.0, f"annoying at {when} pays"
        assert when == "openings" or ahead.mean() + half < 0.0, "annoying all the time costs nothing"


def test_the_farmer_does_annoy() -> None:
    env, params = jaxreco.make("Feed-v0", **SMALL)
    agent = Farmer("openings")
    agent_params = agent.init(jax.random.key(0), env, params.catalog)
    obs, _ = env.reset(jax.random.key(1), params)
    slate, _, _ = agent.act(jax.random.key(2), agent_params, agent.reset(agent_params), obs, params.catalog)
    least = np.argsort(np.asarray(params.catalog.popularity))[: env.slate_size]
    assert set(np.asarray(slate).tolist()) == set(least.tolist())


def test_one_agent_learns_and_it_is_the_one_that_is_named() -> None:
    assert instructions._chosen("all") == ("ppo", "obedient", "popularity")
    assert set(instructions._chosen("popularity,agentic")) == {"agentic", "popularity"}
    with pytest.raises(JaxrecoError, match="trains one agent, not ppo and agentic"):
        instructions._chosen("ppo,agentic")
    with pytest.raises(ValueError, match="Did you mean agentic"):
        instructions._chosen("agentik")
    setting = instructions.Setting(
        "Feed-v0", "grpo", None, {}, 8, 1, TrainConfig(updates=2), pathlib.Path("runs"), print
    )
    assert setting.config.objective == "grpo"
    assert setting.config.updates == 2
    folder = setting._folder("default", "masked", 0)
    assert folder is not None
    assert folder.name.startswith("Feed-v0-grpo-default-masked-0")


@pytest.mark.slow
def test_traces_name_the_cause_whose_removal_helps_most() -> None:
    env, params = jaxreco.make("Feed-v0")
    agent, agent_params = jaxreco.make_agent("random", jax.random.key(0), env, params)
    case = faithfulness.cases(jax.random.key(1), env, params, agent, agent_params, users=64, turns=48)
    case = jax.tree.map(lambda x: x[:256], case)
    assert faithfulness.faithful(jax.random.key(2), env, params, case).mean() >= 0.9
    wrong = case._replace(named=np.full(len(case.named), CAUSE["seen"]))
    assert faithfulness.faithful(jax.random.key(2), env, params, wrong).mean() < 0.3


@pytest.mark.slow
def test_the_whole_benchmark(tmp_path: pathlib.Path) -> None:
    plot = tmp_path / "worth.png"
    report = instructions.run(users=32, updates=1, runs=tmp_path / "runs", plot=plot, world=SMALL)
    rows = json.loads(json.dumps(report.to_json()))["rows"]
    metrics = {row["metric"] for row in rows}
    assert {"reward", "sessions_30d", "follow", "follow@3", "pass^4", "faithful"} <= metrics
    assert {"default", "masked", "no_trace", "think_aloud", "honour0_rho1/shuffled", "rho0_honour0"} <= {
        row["protocol"] for row in rows
    }
    assert plot.stat().st_size > 5_000
    again = instructions.run(users=32, updates=1, runs=tmp_path / "runs", world=SMALL)  # learners are read, not trained
    assert json.loads(json.dumps(again.to_json()))["rows"] == rows


def test_what_the_benchmark_does_not_measure_is_refused() -> None:
    with pytest.raises(ValueError, match=r"measures no variant 'honor0'. Did you mean .*honour0"):
        instructions.run(worlds="default, honor0")
    with pytest.raises(ValueError, match=r"measures no agent .poplarity.\. Did you mean popularity\?"):
        instructions.run(agents="poplarity")
    assert names.several("rho0, default,rho0", tuple(instructions.WORLDS), "") == ("rho0", "default")


def test_the_interval_of_faithfulness_is_over_users() -> None:
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(40), 5)
    right = np.repeat(rng.random(40) < 0.8, 5)  # whoever is right once is right always: 40 facts, not 200
    share, low, high = faithfulness.share_of_faithful(right, user)
    assert share == right.mean()
    half = 1.96 * np.sqrt(share * (1 - share) / 40)
    np.testing.assert_allclose([low, high], [share - half, share + half], atol=0.03)


def test_a_kept_learner_is_that_of_its_world_data_and_training(tmp_path: pathlib.Path) -> None:
    def folder(data: Any = None, world: dict[str, Any] | None = None, updates: int = 3, runs: Any = tmp_path) -> Any:
        config = instructions.TrainConfig(updates=updates)
        setting = instructions.Setting("Feed-v0", "ppo", data, world or {}, 8, 1, config, runs, lambda text: None)
        return setting._folder("default", "real", 0)

    other = {folder(), folder(data="ml-100k"), folder(world={"seed": 1}), folder(updates=4)}
    assert len(other) == 4
    assert folder() in other
    assert folder(runs=None) is None
