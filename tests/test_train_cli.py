"""`jaxreco train` and `evaluate`: the run folder, going on with a run, the table, and what is refused."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import pytest
from trainee import SHORT, SIZE, figures, leaves, refused, registered, run  # noqa: F401 (of its own accord)

from jaxreco import registry
from jaxreco.agents import oracle_greedy, ppo, static
from jaxreco.learning import checkpoint, trainer
from jaxreco.report import sessions, standing
from jaxreco.talk.words import printable

HANDLER = signal.getsignal(signal.SIGINT)  # Python's own, or none where a shell runs the tests in the background
FILES = {"config.json", "metrics.jsonl", "checkpoint", "best", "curve.png", "table.json", "sessions.txt"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[pathlib.Path, Any]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    result = run("train", *SIZE, *SHORT, "--out", folder)
    assert result.exit_code == 0, (result.output, result.exception)
    return folder, result


# -- the run folder ------------------------------------------------------------------------------------------


def test_the_folder_is_complete(trained):
    folder, _ = trained
    assert {path.name for path in folder.iterdir()} == FILES
    config = json.loads((folder / "config.json").read_text())
    assert config["train"]["users"] == 8
    assert config["set"] == ["horizon_hours=48"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["user_turns"] == 4 * 8 * 4
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    meta = json.loads((folder / "checkpoint" / "meta.json").read_text())
    assert meta["env"] == "Coin"
    assert meta["update"] == 4
    assert {"env_version", "agent", "agent_config", "jaxreco", "jax", "flax", "platform", "cores", "xla_flags"} <= set(
        meta
    )


def test_it_says_what_it_does_and_ends_with_the_table(trained):
    _, result = trained
    text = " ".join(result.output.split())
    for words in ("in Coin-v0: 12 items", "4 updates of 8 users x 4 turns to go: 128 user-turns", "learned numbers"):
        assert words in text
    for words in (
        "This is one seed",
        "the best of random, popularity, static",
        "tiny less ...",
        "two users have in common",
    ):
        assert words in text
    for name in (*standing.BASELINES, "tiny", "oracle_greedy"):
        assert any(line.startswith(name + " ") for line in result.output.splitlines())
    assert max(map(len, result.output.splitlines())) <= 80
    assert "…" not in result.output


def test_the_table_as_json(trained):
    table = json.loads((trained[0] / "table.json").read_text())
    assert {"benchmark", "commit", "versions", "device", "wall_s", "rows"} <= set(table)
    row = next(row for row in table["rows"] if row["agent"] == "tiny" and row["metric"] == "reward")
    assert list(row) == [
        "dataset", "protocol", "split", "world", "agent", "against", "metric", "value", "low", "high", "n_users", "n_seeds"
    ]  # fmt: skip
    assert row["low"] <= row["value"] <= row["high"]
    assert row["n_users"] == 8
    found = {(row["agent"], row["against"], row["metric"]): row["value"] for row in table["rows"]}
    for metric in ("reward", "sessions_30d"):
        difference = found["tiny", "popularity", metric]
        assert difference == pytest.approx(found["tiny", None, metric] - found["popularity", None, metric], abs=1e-6)
    # The same users and the same randomness: agents that are the same earn the same.
    assert found["popularity", None, "reward"] == found["item_knn", None, "reward"]


def test_sessions_can_be_read(trained):
    text = (trained[0] / "sessions.txt").read_text()
    for words in ("User 1", "User 3", "Session 1, day 1, 00:00", "turn 1", "item ", "watched", "Left: "):
        assert words in text
    assert "Back after" in text or "Lost" in text


def test_evaluate_repeats_the_table(trained, tmp_path):
    folder, _ = trained
    result = run("evaluate", folder, "--users", 8, "--json", tmp_path / "again.json")
    assert result.exit_code == 0, (result.output, result.exception)
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["rows"] == json.loads((folder / "table.json").read_text())["rows"]


# -- stopping and going on -----------------------------------------------------------------------------------


@pytest.fixture
def stopped(trained, tmp_path, monkeypatch) -> tuple[pathlib.Path, Any]:
    """A run whose second block was interrupted."""
    real, calls = trainer.block, []

    def block(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(trainer, "block", block)
    result = run("train", *SIZE, *SHORT, "--out", tmp_path / "run")
    monkeypatch.setattr(trainer, "block", real)
    return tmp_path / "run", result


def test_ctrl_c_leaves_a_checkpoint_and_resume_equals_an_uninterrupted_run(trained, stopped):
    folder, result = stopped
    assert result.exit_code == 130
    assert f"jaxreco train --resume {folder}" in result.output
    assert "2 of 4 updates" in result.output
    assert signal.getsignal(signal.SIGINT) is HANDLER
    assert checkpoint.latest(folder / "checkpoint") == 2
    # What a killed process may leave behind: figures of a block after the checkpoint, and half a line.
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"update": 3, "reward": 1.0}\n{"upd')
    result = run("train", "--resume", folder)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "2 of 4 updates are done" in result.output
    assert {path.name for path in folder.iterdir()} == FILES
    assert leaves(folder) == leaves(trained[0])
    assert figures(folder) == figures(trained[0])
    tables = [json.loads((f / "table.json").read_text())["rows"] for f in (folder, trained[0])]
    assert tables[0] == tables[1]


def test_resume_refuses_what_the_run_is_not(trained):
    folder, _ = trained
    refused(run("train", "--resume", folder, "--env", "Feed-v0"), "has env Coin-v0, not Feed-v0", "leave out --env")
    refused(run("train", "--resume", folder, "--updates", 9), "has updates 4, not 9")
    refused(run("train", "--resume", folder, "--out", "elsewhere"), "leave out --out")


def test_a_checkpoint_of_another_world_is_refused(trained, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(trained[0], folder)
    config = json.loads((folder / "config.json").read_text())
    small = ["n_items=60", "n_creators=8", "n_users=32", "slate_size=4", "history_length=12"]
    (folder / "config.json").write_text(json.dumps({**config, "env": "Feed-v0", "world": small}))
    refused(run("train", "--resume", folder), "the world was Coin, now Feed-v0", "start a new run")
    refused(run("evaluate", folder), "the world was Coin, now Feed-v0")


def test_a_run_without_a_checkpoint(trained, tmp_path):
    folder = tmp_path / "early"
    folder.mkdir()
    shutil.copy(trained[0] / "config.json", folder)
    refused(run("evaluate", folder), "holds no checkpoint")


# -- agents and what is refused ------------------------------------------------------------------------------


def test_a_copy_of_ppo_is_trained_by_its_path(tmp_path):
    copy = tmp_path / "my_ppo.py"
    source = pathlib.Path(ppo.__file__).read_text()
    copy.write_text(source.replace("def make(width: int = 64, layers: int = 2, heads: int = 4, window: int = 32)",
                                   "def make(width: int = 16, layers: int = 1, heads: int = 2, window: int = 4)"))  # fmt: skip
    size = [x if x != "tiny" else copy for x in SIZE]
    result = run("train", *size, *SHORT, "--out", tmp_path / "run", "--quiet")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "user-turns" not in result.output
    assert any(line.startswith("my_ppo.py ") for line in result.output.splitlines())
    assert json.loads((tmp_path / "run" / "config.json").read_text())["agent"] == str(copy)


def test_out_that_exists(tmp_path):
    (tmp_path / "something.txt").write_text("x")
    refused(run("train", *SIZE, "--out", tmp_path), "exists and is not empty", "--out")
    refused(run("train", *SIZE, "--out", tmp_path / "something.txt"), "is a file")
    (tmp_path / "something.txt").rename(tmp_path / "config.json")
    refused(run("train", *SIZE, "--out", tmp_path), f"--resume {tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--agent", "popularity"), ("'popularity' does not learn", "ppo")),
        (("--agent", "pop"), ("There is no agent 'pop'", "Did you mean")),
        (("--env", "Fed-v0"), ("There is no world 'Fed-v0'", "Feed-v0")),
        (("--users", 0), ("users is 0",)),
        (("--updates", -1), ("updates is -1",)),
        (("--seed", -1), ("seed is -1",)),
        (("--eval-users", 1), ("eval_users is 1",)),
        (("--set", "user.leave=nan"), ("NaN",)),
        (("--set", "nothing=1"), ("nothing",)),
        (("--choice", "dice"), ("no choice model 'dice'",)),
        (("--world", "n_item=3"), ("no setting 'n_item'",)),
    ],
)
def test_bad_input_leaves_no_run(tmp_path, arguments, words):
    refused(run("train", *SIZE, *arguments, "--out", tmp_path / "run"), *words)
    assert not (tmp_path / "run").exists()


def test_no_such_run(tmp_path):
    refused(run("evaluate", tmp_path / "none"), "There is no run folder")
    refused(run("train", "--resume", tmp_path), "no config.json")
    (tmp_path / "config.json").write_text("{")
    refused(run("evaluate", tmp_path), "is no JSON")
    (tmp_path / "config.json").write_text("{}")
    refused(run("evaluate", tmp_path), "lacks env")


# -- the words -----------------------------------------------------------------------------------------------


def test_deeds_in_words():
    assert sessions.deed(0, 0.0, 30.0) == "not looked at"
    assert sessions.deed(1, 0.0, 30.0) == "skipped"
    assert sessions.deed(1 | 2 | 4, 12.2, 30.0) == "watched 12 s of 30 s, liked"
    assert sessions.deed(1 | 32, 0.0, 30.0) == "skipped, then left"


def test_reasons_name_the_largest_term(feed):
    user = feed[1].user
    calm = {"minutes": 1.0, "budget": 10.0, "boredom": 0.0, "mood": 0.0, "trust": 0.5}
    assert "110% of its time budget" in sessions.reason({**calm, "minutes": 11.0}, user)
    assert "bored after 9 skips" in sessions.reason({**calm, "boredom": 9.0}, user)
    assert "low mood (-0.90)" in sessions.reason({**calm, "mood": -0.9}, user)
    assert "low trust (0.01)" in sessions.reason({**calm, "trust": 0.01, "minutes": 0.1}, user)
    assert "does not say why" in sessions.reason({"mood": 0.0}, user)


def test_the_table_of_a_deaf_agent_says_so(tmp_path):
    done = run("train", *SIZE, *SHORT, "--blind", "--out", tmp_path / "run")
    assert done.exit_code == 0, (done.output, done.exception)
    table = json.loads((tmp_path / "run" / "table.json").read_text())
    assert "the agent hears nothing" in table["protocol"]
    protocols = {row["agent"]: row["protocol"] for row in table["rows"]}
    assert protocols.pop("tiny") == "masked"
    assert set(protocols.values()) == {"default"}


def test_titles_cannot_drive_a_terminal():
    assert printable("a\x1b[31mb\u202ec\nd") == "a[31mbcd"


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (12.34, 11.9, 12.8, "12.3 ±0.5"),
        (412.3, 400.0, 424.0, "412 ±12"),
        (-0.001, -0.1, 0.1, "0.0 ±0.1"),
        (0.0, float("nan"), float("nan"), "0"),
        (float("nan"), 0.0, 1.0, "-"),
        (1234.5, 1230.0, 1239.0, "1,234 ±4"),
        (0.0, 0.0, 0.0, "0 ±0"),
    ],
)
def test_numbers_in_words(value, low, high, text):
    assert standing.words(standing.Estimate(value, low, high)) == text


def test_verdicts():
    assert standing.Estimate(1.0, 0.1, 2.0).verdict == "ahead"
    assert standing.Estimate(-1.0, -2.0, -0.1).verdict == "behind"
    assert standing.Estimate(0.5, -0.1, 2.0).verdict == "not told apart"


# -- the real thing ------------------------------------------------------------------------------------------

SMALL_FEED = ("n_items=60", "n_creators=8", "n_users=32", "slate_size=4", "history_length=12")


def test_short_figures_for_a_narrow_terminal():
    cells = {"0.03 ±0.01": ".03±.01", "-0.74 ±0.02": "-.74±.02", "10.5 ±0.4": "10.5±.4", "2,090 ±135": "2,090±135"}
    assert {cell: standing.narrow(cell) for cell in cells} == cells


@pytest.mark.slow
def test_the_real_command_is_interrupted_and_goes_on(tmp_path):
    world = [part for setting in SMALL_FEED for part in ("--world", setting)]
    size = ["--users", "8", "--turns", "4", "--updates", "100000", "--eval-users", "8", *SHORT]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"])}
    command = [sys.executable, "-m", "jaxreco.cli", "train", *world, *size, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        command, env=os.environ | cache, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text().count("\n") > 2):
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Go on with: jaxreco train --resume" in output
    assert "Traceback" not in error
    update = checkpoint.latest(tmp_path / "run" / "checkpoint")
    assert update is not None
    assert len(metrics.read_text().splitlines()) == update


def test_without_a_mindset_to_read_there_is_a_table_without_a_scale(tmp_path, monkeypatch):
    """Coins have none: the privileged agents, as they really are, are no rows, and nobody has a score."""
    monkeypatch.setitem(registry._AGENTS, "static", static.make)
    monkeypatch.setitem(registry._AGENTS, "oracle_greedy", oracle_greedy.make)
    done = run("train", *SIZE, *SHORT, "--out", tmp_path / "run")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "No score: static and the oracles read the simulator's mind" in " ".join(done.output.split())
    rows = json.loads((tmp_path / "run" / "table.json").read_text())["rows"]
    assert {row["agent"] for row in rows} == {"random", "popularity", "item_knn", "tiny"}
    assert {row["against"] for row in rows} == {None, "random", "popularity", "item_knn"}
    assert {row["value"] for row in rows if row["metric"] == "score"} == {None}
