"""Training beyond the plain command: settings, weights of another run, evaluations, patience, seeds, TensorBoard, and SIGKILL."""

from __future__ import annotations

import builtins
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats
from trainee import SHORT, SIZE, done, figures, leaves, make_tiny, refused, registered, run  # noqa: F401 (of its own accord)

from jaxreco import registry
from jaxreco.agents import ppo
from jaxreco.errors import JaxrecoError
from jaxreco.evaluation import Life
from jaxreco.learning import checkpoint, trainer
from jaxreco.learning.config import TrainConfig
from jaxreco.report import standing
from jaxreco.rollout import Tally
from jaxreco.training import loop, settings, state
from jaxreco.training.job import build
from jaxreco.training.start import trained as best_of
from jaxreco.training.weights import begun_from

TRAIN = ("train", *SIZE, *SHORT, "--quiet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> pathlib.Path:
    """A run that looked after each of its four blocks."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done(*TRAIN, "--out", folder)
    return folder


def config_of(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


# -- settings ------------------------------------------------------------------------------------------------


def test_every_setting_has_the_type_of_its_field():
    asked = settings.asked(
        ["learning_rate=1e-4", "group=8", "scaled=false", " objective = grpo ", "kl=1"], users=16, turns=None
    )
    assert asked == {"users": 16, "learning_rate": 1e-4, "group": 8, "scaled": False, "objective": "grpo", "kl": 1.0}
    assert isinstance(asked["kl"], float)
    for field in dataclasses.fields(TrainConfig):
        text = str(field.default).lower() if isinstance(field.default, bool) else field.default
        assert settings.asked([f"{field.name}={text}"]) == {field.name: field.default}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["learningrate=1"], "There is no training setting 'learningrate'. Did you mean learning_rate?"),
        (["xyz=1"], "There is no training setting 'xyz'. Known: clip, entropy"),
        (["kl"], "'kl' is no training setting: write KEY=VALUE"),
        (["kl="], "'kl=' is no training setting"),
        (["kl=much"], "kl is 'much': give a number"),
        (["kl=nan"], "kl is nan: give a finite number"),
        (["group=2.5"], "group is '2.5': give a whole number"),
        (["scaled=1"], "scaled is '1': give true or false"),
        (["users=8"], "users is given twice: 4 and 8"),
    ],
)
def test_settings_that_are_refused(texts, words):
    with pytest.raises(JaxrecoError) as error:
        settings.asked(texts, users=4)
    assert str(error.value).startswith(words)


def test_minibatches_are_as_asked_or_what_users_can_be_shared_out_over():
    assert settings.complete("tiny", {"users": 24})["minibatches"] == 12
    assert settings.complete("tiny", {"users": 24, "minibatches": 3})["minibatches"] == 3
    assert settings.complete("grpo", {})["group"] == 8  # the agent's own
    with pytest.raises(JaxrecoError, match=r"kl is -1\.0: it must be at least 0"):
        settings.complete("tiny", {"kl": -1.0})


def test_a_setting_that_is_not_there_leaves_no_run(tmp_path):
    refused(run(*TRAIN, "--train", "entrpy=1", "--out", tmp_path / "run"), "no training setting 'entrpy'", "entropy")
    refused(run(*TRAIN, "--train", "minibatches=3", "--out", tmp_path / "run"), "users (8) must be a multiple")
    refused(run(*TRAIN, "--patience", 0, "--out", tmp_path / "run"), "patience is 0: give at least 1")
    refused(run(*TRAIN, "--seeds", 0, "--out", tmp_path / "run"), "seeds is 0: give at least 1")
    assert not (tmp_path / "run").exists()


def test_resume_knows_the_training_settings(trained):
    refused(run("train", "--resume", trained, "--train", "kl=0.5"), "has kl 0.0, not 0.5", "leave out --train kl")
    refused(run("train", "--resume", trained, "--patience", 3), "has patience None, not 3")


# -- what follows from the state -----------------------------------------------------------------------------


def at(update: int, best: float = 0.0, best_update: int = 0) -> state.Training:
    learner = trainer.Learner(None, None, None, None, np.int32(update), None)  # type: ignore[arg-type]
    return state.Training(learner, np.float32(best), np.int32(best_update))


def test_evaluations_are_after_every_tenth_of_the_updates_and_after_the_last():
    assert [u for u in range(1, 61) if state.due(u, 60)] == [6, 12, 18, 24, 30, 36, 42, 48, 54, 60]
    assert [u for u in range(1, 5) if state.due(u, 4)] == [1, 2, 3, 4]
    assert [u for u in range(1, 26) if state.due(u, 25)] == [*range(2, 26, 2), 25]


def test_patience_is_counted_in_evaluations_without_a_better_one():
    assert state.waited(at(25, best_update=12), 60) == 2  # after 18 and 24
    assert not state.over(at(29, best_update=12), 60, 3)
    assert state.over(at(30, best_update=12), 60, 3)
    assert not state.over(at(59, best_update=6), 60, None)
    assert state.over(at(60, best_update=60), 60, None)


def test_only_what_is_better_is_the_best():
    first, better = state.Training.begin(at(6).learner).seen(-5.0)
    assert better
    assert (float(first.best), int(first.best_update)) == (-5.0, 6)
    for reward in (-5.0, -6.0, float("nan")):
        same, better = first.seen(reward)
        assert not better
        assert same is first


# -- evaluations ---------------------------------------------------------------------------------------------


def test_the_best_evaluation_is_kept_and_is_what_the_table_is_about(trained):
    lines = figures(trained)
    rewards = [line["eval_reward"] for line in lines]
    assert all({"eval_reward", "eval_sessions", "eval_turns_per_session"} <= line.keys() for line in lines)
    best = 1 + int(np.argmax(rewards))  # the first of equals
    job = build(config_of(trained))
    found, warnings = checkpoint.restore(trained / "checkpoint", job.begin(), job.meta())
    assert warnings == []
    assert (int(found.update), int(found.best_update)) == (4, best)
    assert float(found.best) == pytest.approx(max(rewards))
    agent_params, update, _ = best_of(job, found_run(trained))
    assert update == best
    again = loop.watch(job, agent_params)
    assert again["eval_reward"] == rewards[best - 1]
    protocol = json.loads((trained / "table.json").read_text())["protocol"]
    assert f"training seed 0, as of update {best} of 4, temperature" in protocol


def found_run(folder: pathlib.Path) -> Any:
    from jaxreco import run as runs

    return runs.load(folder)


def seen(rewards: list[float], monkeypatch: Any) -> None:
    """Evaluations that come out so."""
    waiting = iter(rewards)
    monkeypatch.setattr(loop, "watch", lambda job, agent_params: {"eval_reward": next(waiting)})


def test_patience_ends_a_run_early_and_resume_does_not_go_on(trained, tmp_path, monkeypatch):
    seen([2.0, 1.0, 1.5], monkeypatch)
    done(*TRAIN, "--patience", 2, "--out", tmp_path / "run")
    assert [line["eval_reward"] for line in figures(tmp_path / "run")] == [2.0, 1.0, 1.5]
    assert checkpoint.latest(tmp_path / "run" / "checkpoint") == 3
    assert checkpoint.latest(tmp_path / "run" / "best") == 1
    before = leaves(tmp_path / "run")
    done("train", "--resume", tmp_path / "run")
    assert leaves(tmp_path / "run") == before
    assert "as of update 1 of 4" in json.loads((tmp_path / "run" / "table.json").read_text())["protocol"]


# -- what went wrong -----------------------------------------------------------------------------------------


def test_a_diverging_run_stops_at_the_step_and_keeps_the_last_good_checkpoint(trained, tmp_path, monkeypatch):
    real = trainer.block

    def block(key: Any, params: Any, learner: Any, *rest: Any) -> Any:
        after, logs = real(key, params, learner, *rest)
        if int(after.update) == 3:
            net = jax.tree.map(lambda x: x * np.nan, after.agent_params.net)
            after = after.replace(agent_params=after.agent_params.replace(net=net))
        return after, logs

    monkeypatch.setattr(trainer, "block", block)
    refused(
        run(*TRAIN, "--out", tmp_path / "run"),
        "diverged at update 3 (the network: not finite)",
        "that of update 2",
        "learning_rate",
    )
    assert [line["update"] for line in figures(tmp_path / "run")] == [1, 2]
    monkeypatch.setattr(trainer, "block", real)
    done("train", "--resume", tmp_path / "run")
    assert leaves(tmp_path / "run") == leaves(trained)


def test_a_checkpoint_that_does_not_fit_says_which_leaf(trained, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    meta = json.loads((folder / "checkpoint" / "meta.json").read_text())
    i = meta["leaves"].index("learner.agent_params.net.item.value")
    assert meta["arrays"][i] == "float32[12]"
    meta["arrays"][i] = "float32[13]"
    (folder / "checkpoint" / "meta.json").write_text(json.dumps(meta))
    refused(run("train", "--resume", folder), "net.item.value was float32[13], now float32[12]. Start a new run")


def test_what_is_first_unlike():
    was, now = {"a": "float32[2]", "b": "int32[]"}, {"a": "float32[2]", "c": "int32[]"}
    assert checkpoint.unlike(was, now) == "c was not there, now int32[] (1 more differ)"
    assert checkpoint.unlike({"a": "float32[2]"}, {"a": "float32[3]"}) == "a was float32[2], now float32[3]"


# -- two stages ----------------------------------------------------------------------------------------------


def test_a_run_begins_with_the_weights_of_another(trained, tmp_path):
    folder = tmp_path / "second"
    done(*TRAIN, "--from", trained, "--train", "kl=0.5", "--out", folder)
    assert config_of(folder)["from"] == str(trained)
    job = build(config_of(folder))
    weights = checkpoint.leaves(folder / "checkpoint")
    best = checkpoint.leaves(trained / "best")
    path = "learner.reference.item.value"  # what it is held to is what it began with
    np.testing.assert_array_equal(weights[path], best["agent_params.net.item.value"])
    assert (weights["learner.agent_params.net.item.value"] != weights[path]).any()
    assert "from_reference" in figures(folder)[0]
    # It goes on without the run that it began with.
    shutil.rmtree(folder / "checkpoint" / "4")
    config = config_of(folder)
    (folder / "config.json").write_text(json.dumps({**config, "from": str(tmp_path / "gone")}))
    before = figures(folder)
    done("train", "--resume", folder)
    assert figures(folder) == before
    assert job.train.kl == 0.5


def test_what_was_found_out_about_items_goes_along_to_the_same_items(trained):
    best = checkpoint.leaves(trained / "best")
    assert best["agent_params.reputation.looks"].any()
    job = build({**config_of(trained), "seed": 5})
    same = begun_from(job, trained).agent_params
    np.testing.assert_array_equal(same.reputation.looks, best["agent_params.reputation.looks"])
    np.testing.assert_array_equal(same.prior.mean, best["agent_params.prior.mean"])
    np.testing.assert_array_equal(same.described.items, best["agent_params.described.items"])  # by that run's places
    elsewhere = dataclasses.replace(job, agent_params=job.agent_params.replace(near=1.0 - job.agent_params.near))
    other = begun_from(elsewhere, trained).agent_params
    assert not np.asarray(other.reputation.looks).any()
    np.testing.assert_array_equal(other.net.item[...], best["agent_params.net.item.value"])


def test_weights_that_do_not_fit_name_the_leaf(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(registry._AGENTS, "tiny", lambda: ppo.make(width=32, layers=1, heads=2, window=4))
    wide = run(*TRAIN, "--from", trained, "--out", tmp_path / "run")
    refused(wide, "net.blocks.0.down.bias.value was float32[16], now float32[32]", "does not fit")
    monkeypatch.setitem(registry._AGENTS, "tiny", lambda: ppo.make(width=16, layers=2, heads=2, window=4))
    deep = run(*TRAIN, "--from", trained, "--out", tmp_path / "run")
    refused(deep, "net.blocks.1.down.bias.value was not there, now float32[16]")
    assert not (tmp_path / "run").exists()


def test_no_such_run_to_begin_with(tmp_path):
    refused(run(*TRAIN, "--from", tmp_path / "none", "--out", tmp_path / "run"), "There is no run folder")
    assert not (tmp_path / "run").exists()


# -- TensorBoard ---------------------------------------------------------------------------------------------


def events(folder: pathlib.Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar in the event files of a folder: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            data = data[16 + size :]
    return found


def test_event_files_say_what_the_lines_say_after_a_resume_too(trained, tmp_path):
    folder = tmp_path / "run"
    done(*TRAIN, "--tensorboard", "--out", folder)
    shown = events(folder / "tensorboard")
    lines = figures(folder)
    rewards = [("evaluation/reward", line["update"], pytest.approx(line["eval_reward"])) for line in lines]
    assert [e for e in shown if e[0] == "evaluation/reward"] == rewards
    assert [e for e in shown if e[0] == "training/entropy"] == [
        ("training/entropy", line["update"], pytest.approx(line["entropy"])) for line in lines
    ]
    shutil.rmtree(folder / "checkpoint" / "4")
    done("train", "--resume", folder)
    assert [e for e in events(folder / "tensorboard") if e[0] == "evaluation/reward"] == rewards


def test_without_its_writer_there_is_a_sentence(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "tensorboardX":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    refused(run(*TRAIN, "--tensorboard", "--out", tmp_path / "run"), "pip install 'jaxreco[tensorboard]'")
    assert not (tmp_path / "run").exists()


# -- seeds ---------------------------------------------------------------------------------------------------


def test_seeds_are_the_runs_of_each_seed_to_the_bit(trained, tmp_path):
    folder = tmp_path / "both"
    result = done(*TRAIN, "--seeds", 2, "--out", folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "table.json", "curve.png", "seed0", "seed1"}
    assert leaves(folder / "seed0") == leaves(trained)
    assert figures(folder / "seed0") == figures(trained)
    assert leaves(folder / "seed1") != leaves(trained)
    assert config_of(folder / "seed1")["seed"] == 1
    assert "mean of 2 training seeds over the same users" in " ".join(result.output.split())
    tables = [json.loads((f / "table.json").read_text())["rows"] for f in (folder, folder / "seed0", folder / "seed1")]
    both, first, second = ({(r["agent"], r["against"], r["metric"]): r for r in rows} for rows in tables)
    assert first["random", None, "reward"] == second["random", None, "reward"] == both["random", None, "reward"]
    ours = both["tiny", None, "reward"]
    assert ours["value"] == pytest.approx(
        (first["tiny", None, "reward"]["value"] + second["tiny", None, "reward"]["value"]) / 2
    )
    assert (ours["n_seeds"], both["random", None, "reward"]["n_seeds"]) == (2, 1)
    one = json.loads((trained / "table.json").read_text())["rows"]
    assert first["tiny", None, "reward"] in one
    refused(run("sessions", folder), "holds the runs of 2 seeds", "seed0")
    refused(run(*TRAIN, "--from", folder, "--out", tmp_path / "next"), "holds the runs of 2 seeds")


def test_a_run_of_seeds_goes_on_where_it_was_stopped(trained, tmp_path, monkeypatch):
    real, calls = trainer.block, []

    def block(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:  # in the second block of the second seed
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(trainer, "block", block)
    stopped = run(*TRAIN, "--seeds", 2, "--out", tmp_path / "run")
    assert stopped.exit_code == 130
    assert f"jaxreco train --resume {tmp_path / 'run'}" in stopped.output
    done("train", "--resume", tmp_path / "run")
    assert len(calls) == 8
    assert leaves(tmp_path / "run" / "seed0") == leaves(trained)
    assert [line["update"] for line in figures(tmp_path / "run" / "seed1")] == [1, 2, 3, 4]


def life(rewards: list[float]) -> Life:
    tally = jax.tree.map(lambda x: np.zeros(len(rewards)), Tally.zero()).replace(reward=np.array(rewards))
    return Life(tally, np.ones(len(rewards), bool), 0.0, 0.0, np.zeros((len(rewards), 1), np.int32))


def test_intervals_over_seeds_by_hand():
    """Means of the seeds 2, 4 and 9: 5 +- t(2) * sd / sqrt(3). The zero is random (1), the one the oracle (5)."""
    seeds = tuple(life(rewards) for rewards in ([1.0, 3.0], [4.0, 4.0], [9.0, 9.0]))
    lives = {"random": life([0.0, 2.0]), "us": seeds[0], "oracle_greedy": life([5.0, 5.0])}
    table = standing.Standing(lives, "us", {}, seeds)
    half = float(stats.t.ppf(0.975, 2)) * np.std([2, 4, 9], ddof=1) / 3**0.5
    found = table.estimates("us")["reward"]
    assert (found.value, found.low, found.high) == pytest.approx((5.0, 5.0 - half, 5.0 + half))
    found = table.difference("reward", "random")
    assert (found.value, found.low, found.high) == pytest.approx((4.0, 4.0 - half, 4.0 + half))
    found = table.score("us")  # 1/4, 3/4, 8/4
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0 - half / 4, 1.0 + half / 4))
    assert table.score("random").value == 0.0


# -- SIGKILL -------------------------------------------------------------------------------------------------


def killed(moment: str, number: int, folder: pathlib.Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`jaxreco train` as a process that is killed at the moment."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"])}
    command = [sys.executable, str(pathlib.Path(__file__).with_name("trainee.py")), f"{moment},{number},{folder}"]
    return subprocess.run(
        [*command, *map(str, arguments)], env=os.environ | cache, capture_output=True, text=True, timeout=600
    )


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_never_was(tmp_path):
    whole, often = tmp_path / "whole", tmp_path / "often"
    ran = killed("none", 0, whole, *TRAIN, "--out", whole)
    assert ran.returncode == 0, ran.stderr
    # In the first block; while the first best, then a later checkpoint is written; between a checkpoint's arrays and what is said of
    # them; in the middle of a line; in a block that had been done before.
    moments = [("block", 1), ("best", 0), ("described", 4), ("write", 0), ("line", 0), ("block", 2)]
    for moment, number in moments:
        resumed = (often / "config.json").exists()
        begin = ("train", "--resume", often, "--quiet") if resumed else (*TRAIN, "--out", often)
        ran = killed(moment, number, often, *begin)
        assert ran.returncode == -signal.SIGKILL, (moment, ran.returncode, ran.stderr)
    ran = killed("none", 0, often, "train", "--resume", often, "--quiet")
    assert ran.returncode == 0, ran.stderr
    assert "warning" not in ran.stdout
    for part in ("checkpoint", "best"):
        arrays = [checkpoint.leaves(folder / part) for folder in (whole, often)]
        assert arrays[0].keys() == arrays[1].keys()
        assert all(arrays[0][path].tobytes() == arrays[1][path].tobytes() for path in arrays[0])
    assert figures(often) == figures(whole)
    tables = [json.loads((folder / "table.json").read_text())["rows"] for folder in (whole, often)]
    assert tables[0] == tables[1]
