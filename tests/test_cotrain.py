"""`jaxreco cotrain`: the folder, the report, going on where it was cut, and what is refused."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from conftest import coin_world
from flax import nnx
from rich.console import Console
from test_cli_fit import write_log
from trainee import done, figures, leaves, refused, registered, run  # noqa: F401 (of its own accord)

import jaxreco
from jaxreco import registry
from jaxreco.cotraining import folder, rounds
from jaxreco.data import sets
from jaxreco.fit import continued, fitting, whole
from jaxreco.fit import folder as kept
from jaxreco.learning import checkpoint, trainer

FIT = {"epochs": 2, "width": 8, "layers": 1, "window": 8}
LEARN = (
    "--env", "Coins-v0", "--agent", "tiny", "--rounds", 2, "--updates", 2, "--users", 8, "--turns", 4, "--eval-users", 4,
    "--train", "kl=0.1",
)  # fmt: skip
SHORT = ("--set", "horizon_hours=24")
FILES = {"config.json", "users", "agent", "report.json", "curves.png"}


def make_coins(
    slate_size: int = 3,
    history_length: int = 6,
    action_mode: Any = "slate",
    choice: str = "cascade",
    user_model: Any = None,
) -> Any:
    """A world that compiles fast, whose people leave as the users' weights say: other users, another world."""
    env, params = coin_world(slate_size=3)
    moved = float(np.asarray(kept.load(user_model).network.named[...]).mean())
    return env, params.replace(user=params.user.replace(leave=0.3 + 0.2 * np.tanh(100.0 * moved)))


@pytest.fixture(scope="module", autouse=True)
def coins(registered: None) -> Iterator[None]:  # noqa: F811
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._ENVS, "Coins-v0", make_coins)
        yield


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """A log of more people than the users were fitted to, and the users."""
    where = tmp_path_factory.mktemp("given")
    whole.fit(sets.load(write_log(where / "log", people=20)), where / "users", 0, FIT, quiet=True)
    return ("--data", write_log(where / "later", people=30), "--user-model", where / "users")


@pytest.fixture(scope="module")
def trained(given: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Any]:
    out = tmp_path_factory.mktemp("together") / "whole"
    return out, done("cotrain", *given, *LEARN, *SHORT, "--out", out)


def weights(where: pathlib.Path) -> list[bytes]:
    """The bits of users' networks."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(nnx.state(kept.load(where).network))]


# -- the folder and the report -------------------------------------------------------------------------------


def test_every_round_leaves_users_and_a_run(trained, given):
    out, result = trained
    assert {path.name for path in out.iterdir()} == FILES
    for part in ("users", "agent"):
        assert {path.name for path in (out / part).iterdir()} == {"1", "2"}
    text = " ".join(result.output.split())
    for words in ("2 rounds of 1 epoch over", "round 1 of 2: people held back", "round 2: the agent earns"):
        assert words in text
    config = json.loads((out / "agent" / "2" / "config.json").read_text())
    assert config["from"] == str(out / "agent" / "1")
    assert config["user_model"] == str(out / "users" / "2")
    assert (config["seed"], config["train"]["updates"]) == (1, 2)
    assert len(figures(out / "agent" / "2")) == 2
    jaxreco.make("Learned-v0", user_model=out / "users" / "1", slate_size=3)


def test_a_round_begins_with_the_best_agent_of_the_one_before(trained):
    out, _ = trained
    begun = checkpoint.leaves(out / "agent" / "2" / "checkpoint")
    best = checkpoint.leaves(out / "agent" / "1" / "best")
    held_to = begun["learner.reference.item.value"]  # kl holds it to what it began with
    np.testing.assert_array_equal(held_to, best["agent_params.net.item.value"])


def test_the_report_holds_both_curves_and_the_control(trained):
    out, result = trained
    report = json.loads((out / "report.json").read_text())
    assert [each["round"] for each in report["rounds"]] == [1, 2]
    for round, each in enumerate(report["rounds"], 1):
        assert each["users"] == continued.change(out / "users" / str(round))._asdict()
        lines = figures(out / "agent" / str(round))
        assert each["agent"]["reward_per_day"] == [line["reward_per_day"] for line in lines]
    assert report["rounds"][1]["users"]["before"] == report["rounds"][0]["users"]["after"]
    rows = {(row["users"], row["agent"]): row for row in report["control"]}
    agents = ("random", "popularity", "tiny, round 1", "tiny, round 2")
    assert list(rows) == [(users, agent) for users in ("fitted", "last") for agent in agents]
    assert all(row["low"] <= row["reward"] <= row["high"] and row["n_users"] == 4 for row in rows.values())
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    for words in ("fitted users", "last users", "tiny, round 2 less popularity"):
        assert words in " ".join(result.output.split())


# -- stopping and going on -----------------------------------------------------------------------------------


def test_a_cut_co_training_ends_as_an_uncut_one(trained, given, tmp_path, monkeypatch):
    """Cut while users learn, in the second round, and then in the agent's first block among them."""
    out, real, calls = tmp_path / "cut", fitting.epoch, []

    def epoch(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "epoch", epoch)
        result = run("cotrain", *given, *LEARN, *SHORT, "--out", out)
    assert result.exit_code == 130
    assert f"jaxreco cotrain --resume {out}" in " ".join(result.output.split())
    assert {path.name for path in (out / "users").iterdir()} == {"1"}
    (out / "users" / ".2.killed").mkdir()  # what a killed process leaves behind
    (out / "agent" / "2").mkdir()
    block = trainer.block

    def interrupted(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return block(*args)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "block", interrupted)
        result = run("cotrain", "--resume", out)
    assert result.exit_code == 130
    assert len(figures(out / "agent" / "2")) == 1
    done("cotrain", "--resume", out, "--quiet")
    assert {path.name for path in (out / "users").iterdir()} == {"1", "2"}
    for round in ("1", "2"):
        assert weights(out / "users" / round) == weights(trained[0] / "users" / round)
        assert leaves(out / "agent" / round) == leaves(trained[0] / "agent" / round)
    reports = [json.loads((each / "report.json").read_text()) for each in (out, trained[0])]
    for what in ("rounds", "control"):
        assert reports[0][what] == reports[1][what]


def test_what_is_done_is_not_done_again(trained, monkeypatch):
    for module, name in ((fitting, "epoch"), (trainer, "block")):
        monkeypatch.setattr(module, name, lambda *args: pytest.fail("done again"))
    found = folder.load(trained[0])
    rounds.learn(found, sets.load(found.config["data"]), Console(quiet=True))


def test_resume_refuses_what_it_is_not(trained, tmp_path):
    out, _ = trained
    refused(run("cotrain", "--resume", out, "--kl", 2), "goes on as the co-training was begun: leave out --kl")
    refused(run("cotrain", "--resume", tmp_path), "holds no co-training")
    refused(run("train", "--resume", out), "holds the runs of a co-training", "agent/1")
    other = shutil.copytree(out, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "fingerprint": "another"}))
    refused(run("cotrain", "--resume", other), "holds other events than when the co-training")


@pytest.mark.slow
def test_among_users_who_live_by_their_networks(given, tmp_path):
    small = ("--world", "slate_size=3", "--world", "history_length=8")
    done("cotrain", *given, *LEARN, *SHORT, "--env", "Learned-v0", *small, "--out", tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert all(row["reward"] > 0.0 for row in report["control"])


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rounds", 0), ("rounds is 0: give at least 1",)),
        (("--epochs", 0), ("epochs is 0: give at least 1",)),
        (("--kl", -0.5), ("kl is -0.5: give 0, for the likelihood alone",)),
        (("--kl", "nan"), ("kl is nan",)),
        (("--eval-users", 1), ("eval_users is 1",)),
        (("--updates", 0), ("updates is 0",)),
        (("--seed", -1), ("seed is -1",)),
        (("--agent", "popularity"), ("'popularity' does not learn",)),
        (("--env", "Feed-v0"), ("Feed-v0 is not a world of fitted users: take Learned-v0",)),
        (("--env", "LearnedLastFm-v0"), ("There is no world", "LearnedLastFM-v0")),
        (("--user-model", "nowhere"), ("nowhere holds no user model",)),
        (("--data", "nowhere"), ("nowhere",)),
    ],
)
def test_bad_input_leaves_nothing(given, tmp_path, arguments, words):
    refused(run("cotrain", *given, *LEARN, *SHORT, *arguments, "--out", tmp_path / "run"), *words)
    assert not (tmp_path / "run").exists()


def test_what_is_not_said(given):
    refused(run("cotrain", *given[2:]), "Which log the users go on learning from is not said: add --data")
    refused(run("cotrain", *given[:2]), "Which users go on learning is not said: add --user-model")


def test_another_catalog_and_an_out_that_exists(given, tmp_path):
    other = write_log(tmp_path / "other", items=8)
    refused(run("cotrain", *given, *LEARN, *SHORT, "--data", other, "--out", tmp_path / "run"), "not the same ones")
    assert not (tmp_path / "run").exists()
    refused(run("cotrain", *given, *LEARN, *SHORT, "--out", other), "exists and is not empty", "--out")
