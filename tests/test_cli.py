"""The command line: what it prints and writes, and one sentence for what cannot be."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from conftest import coin_world
from typer.testing import CliRunner

from jaxreco import cli, cli_rollout, files, registry, runtime
from jaxreco.agents import popularity
from jaxreco.errors import JaxrecoError


def make_coin(slate_size: int = 3, history_length: int = 6, action_mode: Any = "slate", choice: str = "cascade") -> Any:
    return coin_world(slate_size=3)


@pytest.fixture(autouse=True)
def _coin_is_registered(monkeypatch):
    """A world that compiles in a second, under the name Coin-v0."""
    monkeypatch.setitem(registry._ENVS, "Coin-v0", make_coin)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def refused(result: Any, *words: str) -> None:
    """The command failed with one sentence on stderr, exit status 2 and no traceback."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("jaxreco: ")
    assert "Traceback" not in result.output
    for word in words:
        assert word in lines[0]


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command in its own process, with the tests' compilation cache."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"])}
    clean = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAXRECO_DEBUG")}
    command = [sys.executable, "-m", "jaxreco.cli", *arguments]
    return subprocess.run(command, env=clean | cache | environment, capture_output=True, text=True, timeout=300)


# -- list ----------------------------------------------------------------------------------------------------


def test_list_names_everything_with_a_line_each():
    text = run("list").output
    for name in [*registry.envs(), *registry.agents(), *registry.benchmarks()]:
        assert name in text
    assert "floor: slates drawn uniformly" in text


def test_list_as_json():
    found = json.loads(run("list", "--json").stdout)
    assert list(found) == ["worlds", "agents", "benchmarks"]
    assert sorted(found["worlds"]) == registry.envs()
    assert sorted(found["agents"]) == registry.agents()
    assert all(found["worlds"].values())


def test_list_settings():
    assert "user.satiation" in run("list", "--settings", "Feed-v0").output
    found = json.loads(run("list", "--settings", "Coin-v0", "--json").stdout)
    assert found["user.leave"]["doc"] == "chance of leaving after a slate"
    refused(run("list", "--settings", "Fed-v0"), "Did you mean Feed-v0?")


# -- rollout -------------------------------------------------------------------------------------------------


def rollout(*arguments: object) -> Any:
    return run("rollout", "--env", "Coin-v0", "--users", 5, "--turns", 4, *arguments)


def test_rollout_prints_a_table_and_writes_json_and_trajectory(tmp_path):
    out, npz = tmp_path / "out.json", tmp_path / "life.npz"
    result = rollout("--json", out, "--trajectory", npz, "--set", "user.leave=1")
    assert result.exit_code == 0, result.output
    assert "turns_per_session" in result.stdout
    assert "95 % interval" in result.stdout
    found = json.loads(out.read_text())
    assert found["metrics"]["turns"] == {"value": 4.0, "low": 4.0, "high": 4.0}
    assert found["metrics"]["turns_per_session"]["value"] < 1.0  # everybody leaves after every slate
    assert found["set"] == ["user.leave=1"]
    assert {"commit", "versions", "device", "timing", "seed"} <= set(found)
    with np.load(npz) as life:
        assert life["action"].shape == (4, 5, 3)
        assert life["obs/history/item"].shape == (4, 5, 6)
        assert life["info/left"].all()
        assert np.isclose(life["reward"].sum(axis=0).mean(), found["metrics"]["reward"]["value"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["life.npz", "out.json"]


def test_rollout_repeats_itself_and_another_seed_differs(tmp_path):
    metrics = []
    for i, seed in enumerate((3, 3, 4)):
        assert rollout("--json", tmp_path / f"{i}", "--seed", seed).exit_code == 0
        metrics.append(json.loads((tmp_path / f"{i}").read_text())["metrics"])
    assert metrics[0] == metrics[1]
    assert metrics[0] != metrics[2]


def test_rollout_keeps_an_existing_file_unless_forced(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("precious")
    refused(rollout("--json", out), str(out), "--force")
    assert out.read_text() == "precious"
    assert rollout("--json", out, "--force").exit_code == 0
    assert json.loads(out.read_text())["users"] == 5
    refused(rollout("--json", tmp_path), "is a folder")
    refused(rollout("--json", tmp_path / "no" / "out.json"), "There is no folder")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--env", "Cion-v0"], ["no world 'Cion-v0'", "Did you mean Coin-v0"]),
        (["--agent", "randon"], ["no agent 'randon'", "Did you mean random?"]),
        (["--agent", "./nowhere.py"], ["no file './nowhere.py'", "make(**static)"]),
        (["--set", "user.leav=1"], ["no setting 'user.leav'", "Did you mean user.leave"]),
        (["--set", "user.leave=nan"], ["user.leave", "NaN"]),
        (["--set", "user.leave=-0.1"], ["user.leave", "-0.1", "from 0 to 1"]),
        (["--set", "user.leave=often"], ["user.leave", "'often'", "give a number"]),
        (["--set", "user.leave"], ["write name=value"]),
        (["--world", "slate=3"], ["no setting 'slate'", "Did you mean slate_size?"]),
        (["--world", "3"], ["write name=value"]),
        (["--env", "Feed-v0", "--world", "n_items=true"], ["n_items of Feed-v0 is True", "such as 2000"]),
        (["--env", "Feed-v0", "--world", "talks=no"], ["talks of Feed-v0 is 'no'", "true or false"]),
        (["--env", "Feed-v0", "--world", "talks=false", "--world", "think_aloud=True"], ["set talks to True"]),
        (["--segment", "bingres"], ["no segment 'bingres'", "Did you mean bingers?"]),
        (["--users", "0"], ["users is 0", "at least 1"]),
        (["--turns", "-3"], ["turns is -3", "at least 1"]),
        (["--seed", "-1"], ["seed is -1"]),
        (["--env", "Feed-v0", "--world", "n_items=3"], ["slate_size is 10", "3 items"]),
        (["--data", "/nowhere"], ["Coin-v0", "data"]),
    ],
)
def test_rollout_refuses_in_one_sentence(arguments, words):
    refused(rollout(*arguments), *words)


def test_chunks_cover_the_turns_and_none_is_a_single_turn():
    for turns in range(1, 300):
        sizes = cli_rollout.chunks(turns)
        assert sum(sizes) == turns
        assert turns == 1 or min(sizes) >= 2
        assert len(set(sizes)) <= 2  # each length compiles by itself
    assert cli_rollout.chunks(50) == [10] * 5


def test_chunks_do_not_change_a_life(key):
    import jaxreco

    env, params = make_coin()
    agent, agent_params = jaxreco.make_agent("random", key, env, params)
    whole = jaxreco.rollout(key, env, params, agent, agent_params, users=5, turns=20)
    cut, kept, _ = cli_rollout.run_in_chunks(key, env, params, agent, agent_params, users=5, turns=20, keep=True)
    assert len(cli_rollout.chunks(20)) > 1
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-5), whole.metrics, cut))
    assert kept.reward.shape == (20, 5)


def test_intervals_of_ratios_cover_the_truth():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        below = rng.gamma(4.0, size=200)
        above = 0.7 * below + rng.normal(0.0, 0.5, 200)
        estimate = cli_rollout.ratio(above, below)
        covered += estimate.low <= 0.7 <= estimate.high
    assert 270 <= covered <= 298  # 285 expected, standard deviation 3.8
    assert np.isnan(cli_rollout.ratio(np.ones(3), np.zeros(3)).value)


# -- bench ---------------------------------------------------------------------------------------------------


def test_bench_refuses_in_one_sentence(tmp_path):
    refused(run("bench", "throughputs"), "no benchmark 'throughputs'", "Did you mean throughput?")
    refused(run("bench", "throughput", "--data", tmp_path), "no use for --data")
    refused(run("bench", "throughput", "--peers", tmp_path / "no"), "There is no folder")
    refused(run("bench", "instructions", "--plot", tmp_path / "no" / "worth.png"), "There is no folder")
    refused(run("bench", "instructions", "--plot", tmp_path / "worth.pdf"), "worth.pdf", "end in .png")
    (tmp_path / "worth.png").touch()
    refused(run("bench", "instructions", "--plot", tmp_path / "worth.png"), "worth.png exists", "--force")
    refused(run("bench", "throughput", "--peers", tmp_path), "none of the rivals' scripts")
    refused(run("bench", "throughput", "--peers-python", "recsim=/x"), "--peers")
    (tmp_path / "out.json").write_text("precious")
    refused(run("bench", "throughput", "--json", tmp_path / "out.json"), "--force")


def test_bench_all_runs_every_benchmark_and_writes_a_list(tmp_path, monkeypatch):
    from jaxreco.benchmarks.report import Report, Row

    def one(*, quick: bool, say: Any, data: Any = None) -> Report:
        say("working")
        return Report("one", "a protocol", "quick" if quick else "full", 0.5, [Row("score", float("nan"), n_users=3)])

    def two(*, quick: bool, say: Any) -> Report:
        return Report("two", "a protocol", "quick", 0.5, notes=["something is missing"])

    monkeypatch.setattr(registry, "_BENCHMARKS", {"one": one, "two": two})
    result = run("bench", "all", "--full", "--data", tmp_path, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "something is missing" in result.stdout
    first, second = json.loads((tmp_path / "out.json").read_text())
    assert (first["benchmark"], first["mode"], second["benchmark"]) == ("one", "full", "two")
    assert first["rows"][0]["value"] is None  # strict JSON has no NaN


# -- the process ---------------------------------------------------------------------------------------------


def test_a_rollout_in_its_own_process():
    small = ("--world", "n_items=30", "--world", "n_users=8", "--world", "action_mode=item")
    ran = process("rollout", "--users", "3", "--turns", "3", *small, JAXRECO_DEVICES="3")
    assert ran.returncode == 0, ran.stderr
    printed = " ".join(ran.stdout.split())
    assert "random in Feed-v0: 3 users, 3 turns each" in printed
    assert "on 3 CPU devices" in printed


def test_bad_input_in_its_own_process():
    ran = process("rollout", "--env", "Fed-v0")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "jaxreco: There is no world 'Fed-v0'. Did you mean Feed-v0?\n"
    debug = process("--debug", "rollout", "--env", "Fed-v0")
    assert debug.returncode != 0
    assert "Traceback" in debug.stderr
    many = process("list", JAXRECO_DEVICES="many")
    assert (many.returncode, many.stderr.count("\n")) == (2, 1)
    assert "JAXRECO_DEVICES is 'many'" in many.stderr


def test_mistyped_command_and_option_are_suggested():
    result = run("rolout")
    assert result.exit_code == 2
    assert "rollout" in result.stderr
    assert "Traceback" not in result.output
    assert run("rollout", "--user", "3").exit_code == 2
    assert run("rollout", "--users", "many").exit_code == 2


def test_ctrl_c_is_one_line_and_130(monkeypatch):
    def stop(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_rollout.cli_world, "make_world", stop)
    result = rollout()
    assert result.exit_code == 130
    assert result.stderr.strip() == "jaxreco: stopped."


def test_a_defect_keeps_its_traceback(monkeypatch):
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise TypeError("a defect")

    monkeypatch.setattr(cli_rollout.cli_world, "make_world", broken)
    assert isinstance(rollout().exception, TypeError)


def test_out_of_memory_is_a_sentence():
    assert "out of memory" in str(cli.explain(RuntimeError("RESOURCE_EXHAUSTED: 3 TB")))
    assert cli.explain(RuntimeError("something else")) is None


# -- runtime and files ---------------------------------------------------------------------------------------


def test_host_devices(monkeypatch):
    monkeypatch.delenv("JAXRECO_DEVICES", raising=False)
    assert 1 <= runtime.host_devices() <= 8
    monkeypatch.setenv("JAXRECO_DEVICES", "5")
    assert runtime.host_devices() == 5
    monkeypatch.setenv("JAXRECO_DEVICES", "0")
    with pytest.raises(JaxrecoError, match="at least 1"):
        runtime.host_devices()


def test_prepare_respects_what_the_user_has_set(monkeypatch):
    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.setenv("XLA_FLAGS", f"--other=1 {runtime.FLAG}=7")
    runtime.prepare()
    assert os.environ["XLA_FLAGS"] == f"--other=1 {runtime.FLAG}=7"
    assert jax.config.values["jax_compilation_cache_dir"] == before  # the tests' own
    monkeypatch.setenv("XLA_FLAGS", "--other=1")
    monkeypatch.setenv("JAXRECO_DEVICES", "2")
    runtime.prepare()
    assert os.environ["XLA_FLAGS"] == f"--other=1 {runtime.FLAG}=2"


def test_cache_dir_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert runtime.cache_dir().parent == tmp_path / "jaxreco"


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def fail() -> None:
        with files.written_whole(path) as file:
            file.write(b"new")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


# -- agents --------------------------------------------------------------------------------------------------


def test_fork_copies_an_agent_that_then_runs(tmp_path):
    mine = tmp_path / "my_agent.py"
    result = run("agents", "fork", "popularity", mine)
    assert result.exit_code == 0, result.output
    assert f"jaxreco rollout --agent {mine}" in result.output
    assert mine.read_text() == pathlib.Path(popularity.__file__).read_text()
    assert run("rollout", "--env", "Coin-v0", "--agent", mine, "--users", 4, "--turns", 2).exit_code == 0
    assert "jaxreco train --agent" in run("agents", "fork", "grpo", tmp_path / "mine.py").output
    again = tmp_path / "again.py"
    assert run("agents", "fork", mine, again).exit_code == 0  # of one's own
    assert again.read_text() == mine.read_text()


def test_fork_refuses_what_cannot_be(tmp_path):
    there = tmp_path / "there.py"
    there.write_text("mine\n")
    refused(run("agents", "fork", "popularity", there), "there.py", "--force")
    assert there.read_text() == "mine\n"
    refused(run("agents", "fork", "poplarity", tmp_path / "a.py"), "'poplarity'", "popularity")
    refused(run("agents", "fork", "popularity", tmp_path / "a.txt"), ".py")
    assert run("agents", "fork", "popularity", there, "--force").exit_code == 0
    assert there.read_text() != "mine\n"
