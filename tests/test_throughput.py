"""The throughput benchmark on a world of coins: every figure, rivals that pretend, the schema of the rows."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from typing import Any

import pytest
from conftest import coin_world

from jaxreco import registry
from jaxreco.benchmarks import rivals, throughput, throughput_worker
from jaxreco.benchmarks.report import Row, short
from jaxreco.benchmarks.throughput import Plan
from jaxreco.benchmarks.throughput_worker import Spec
from jaxreco.errors import JaxrecoError

KEYS = {
    "dataset", "protocol", "split", "world", "agent", "against", "metric", "value", "low", "high", "n_users", "n_seeds",
}  # fmt: skip
TINY = Plan((1, 6), headline=6, training=(6,), rounds=2, repeats=2, seconds=0.005, world="Coin-v0")

PRETENDER = """
import json, sys
a = sys.argv
print("noise of an import")
assert a[a.index("--repeats") + 1] == "2"
print(json.dumps({"median": 20.0, "min": 10.0, "max": 30.0, "runs": [10.0, 30.0], "batch": 100}))
open("peers_results.jsonl", "a").write("here")
"""


def make_coin(
    slate_size: int = 3,
    history_length: int = 6,
    action_mode: Any = "slate",
    choice: str = "cascade",
    talks: bool = True,
) -> Any:
    return coin_world(slate_size=3)  # whether it should talk or not, it does not


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """Measure in this process, on a world that compiles in a second."""
    monkeypatch.setitem(registry._ENVS, "Coin-v0", make_coin)
    monkeypatch.setattr(throughput_worker, "TURNS_A_CALL", 64)

    def measure(spec: Spec) -> dict[str, Any]:
        if spec.agent == throughput.POLICY:  # a transformer takes too long to compile for this test
            return {"skipped": "not here"}
        return throughput_worker.main(json.dumps(dataclasses.asdict(spec)))

    monkeypatch.setattr(throughput, "measure", measure)


@pytest.fixture
def peers(tmp_path) -> pathlib.Path:
    """A folder of rivals: RecSim is there and pretends; RecSim NG has a script but no environment."""
    folder = tmp_path / "peers"
    folder.mkdir()
    (folder / "recsim_bench.py").write_text(PRETENDER)
    (folder / "recsimng_bench.py").write_text("raise SystemExit('never run')")
    (folder / "README.md").write_text(
        "x\n\n    recsim      pip install a\n    recsim_ng   pip install b \\\n       c==1\n"
    )
    return folder


def test_rows_follow_the_schema_and_every_figure_is_there(peers):
    said: list[str] = []
    report = throughput.run(plan=TINY, say=said.append, peers=peers, peers_python=f"recsim={sys.executable}")
    written = report.to_json()
    assert {"benchmark", "commit", "versions", "device", "wall_s", "rows"} <= set(written)
    assert all(set(row) >= KEYS and row["mode"] == "quick" for row in written["rows"])
    rows = [Row(**row) for row in written["rows"]]
    measured = {
        (r.protocol, r.agent, r.n_users) for r in rows if r.metric == "user_turns_per_s" and r.world == "Coin-v0"
    }
    assert measured == {
        ("slates", "random", 6), ("env_alone", "random", 1), ("env_alone", "random", 6),
        ("with_policy", "ppo", 1), ("with_policy", "ppo", 6), ("training", "ppo", 6),
    }  # fmt: skip
    for row in rows:
        if row.value is not None and row.low is not None and row.high is not None:
            assert 0 <= row.low <= row.value <= row.high, row
    assert [r.value for r in rows if r.protocol == "with_policy"] == [None, None]
    assert said[0] == "world alone, 6 users"
    json.dumps(written, allow_nan=False)


def test_rivals_take_turns_with_ours_and_give_ratios(peers, capsys):
    report = throughput.run(plan=TINY, peers=peers, peers_python=f"recsim={sys.executable}")
    speeds = [r for r in report.rows if r.metric == "user_turns_per_s" and r.world != "Coin-v0"]
    assert [(r.world, r.value) for r in speeds] == [
        ("recsim_ng/interest_evolution", None), ("recsim_ng/random", None),
        ("recsim/interest_evolution", 20.0), ("recsim/interest_evolution", 20.0),
    ]  # fmt: skip
    ratio = next(r for r in report.rows if r.metric == "user_turns_per_s_ratio")
    ours = next(r for r in report.rows if r.protocol == "env_alone" and r.n_users == 6)
    assert (ratio.agent, ratio.against) == ("random", "recsim/interest_evolution, random slates")
    bounds = (ours.low, ratio.low, ratio.high, ours.high)
    lowest, low, high, highest = (bound or float("nan") for bound in bounds)
    assert lowest / 20 <= low <= high <= highest / 20
    report.show()
    printed = " ".join(capsys.readouterr().out.split())
    assert "recsim_ng is not installed" in printed
    assert "pip install b c==1" in printed
    assert "world and ppo, 1 users: skipped, not here" in printed
    assert not (pathlib.Path.cwd() / "peers_results.jsonl").exists()


def test_a_rival_that_fails_is_a_note(peers):
    (peers / "recsim_bench.py").write_text("raise SystemExit('no TensorFlow')")
    report = throughput.run(plan=TINY, peers=peers, peers_python=f"recsim={sys.executable}")
    assert "recsim/interest_evolution, random slates: recsim_bench.py failed: no TensorFlow." in report.notes


def test_interpreters_are_found_beside_the_folder_by_variable_and_by_option(peers, monkeypatch, tmp_path):
    assert rivals.interpreters(peers) == {}
    for place in (peers.parent / "venvs" / "recsim", tmp_path / "mine"):
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").symlink_to(sys.executable)
    assert rivals.interpreters(peers)["recsim"] == peers.parent / "venvs" / "recsim" / "bin" / "python"
    monkeypatch.setenv("JAXRECO_PEER_RECSIM_NG", str(tmp_path / "mine"))
    assert rivals.interpreters(peers)["recsim_ng"] == tmp_path / "mine" / "bin" / "python"
    assert rivals.interpreters(peers, f"recsim={tmp_path / 'mine'}")["recsim"] == tmp_path / "mine" / "bin" / "python"
    with pytest.raises(JaxrecoError, match="There is no Python at"):
        rivals.interpreters(peers, "recsim=/nowhere")
    with pytest.raises(JaxrecoError, match="NAME is recsim or recsim_ng"):
        rivals.interpreters(peers, "sardine=/nowhere")


def test_one_measurement_in_its_own_process(tmp_path, monkeypatch):
    """Of this copy of jaxreco, wherever the command is run: a checkout has a folder of that name."""
    (tmp_path / "jaxreco.py").write_text("raise ImportError('another copy')")
    monkeypatch.chdir(tmp_path)
    spec = Spec("slates", users=8, repeats=2, seconds=0.01, devices=2, world_options={"n_items": 30, "n_users": 4})
    result = throughput_worker.measure(spec)
    assert "skipped" not in result, result
    assert len(result["rates"]) == 2
    assert result["device"].startswith("2 CPU devices")
    assert result["peak_mb"] > 50


def test_a_process_that_fails_says_why():
    result = throughput_worker.measure(Spec("slates", users=8, world="Nowhere-v0"))
    assert "There is no world 'Nowhere-v0'" in result["skipped"]


def test_short_numbers():
    assert [short(x) for x in (12.34, 999.7e3, 760_400.0, 2_345_678.0)] == ["12.3", "1000k", "760k", "2.35M"]


def test_users_who_talk_take_turns_with_silent_ones():
    report = throughput.run(plan=TINY)
    row = next(row for row in report.rows if row.against == "silence")
    assert row.metric == "user_turns_per_s_ratio"
    assert 0.0 < row.low <= row.value <= row.high
    assert any("in silence" in note for note in report.notes)
    quiet = throughput.run(plan=dataclasses.replace(TINY, silence={}))
    assert not [row for row in quiet.rows if row.against == "silence"]
