"""`jaxreco fit`: the folder that it leaves, going on with a fit that was killed, and what is refused."""

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
import numpy as np
import pytest
from typer.testing import CliRunner

from jaxreco import cli
from jaxreco.data import sets
from jaxreco.errors import DataError
from jaxreco.fit import fitting, folder, mindset_folder

SIZE = ("--epochs", 4, "--width", 8, "--layers", 1, "--window", 8)
FILES = {
    "config.json",
    "items.npz",
    "metrics.jsonl",
    "checkpoint",
    "model",
    "heads.npz",
    "heads.json",
    "fidelity.html",
    "fidelity.json",
}
FILES |= {"world.npz", "people.npz"}  # to live in a world


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def refused(result: Any, *words: str) -> None:
    """The command failed with one sentence on stderr, exit status 2 and no traceback."""
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.startswith("jaxreco: ")
    assert result.stderr.strip().count("\n") == 0
    for word in words:
        assert word in result.stderr


def write_log(where: pathlib.Path, people: int = 30, items: int = 9, seed: int = 0) -> pathlib.Path:
    """A folder like those of lastfm-sequences: artists of people who go round in a circle."""
    rng = np.random.default_rng(seed)
    where.mkdir()
    colours = (
        "blue",
        "red",
        "green",
        "black",
        "white",
        "pink",
        "grey",
        "brown",
        "gold",
    )  # alike, names would tell nothing
    names = "".join(f"{item}\tthe {colours[item % 9]} band\n" for item in range(items))
    (where / "items.tsv").write_text(names)
    starts = rng.integers(items, size=people)
    lines = [json.dumps([int((start + step) % items) for step in range(12)]) for start in starts]
    (where / "train.jsonl").write_text("\n".join(lines) + "\n")
    (where / "validation.jsonl").write_text(json.dumps({"history": [0, 1, 2], "next": 3}) + "\n")
    return where


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return write_log(tmp_path_factory.mktemp("fit") / "log")


@pytest.fixture(scope="module")
def fitted(data) -> tuple[pathlib.Path, Any]:
    out = data.parent / "whole"
    return out, run("fit", "--data", data, "--out", out, *SIZE)


def weights(where: pathlib.Path) -> list[bytes]:
    model = folder.load(where)
    from flax import nnx

    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(nnx.state(model.network))]


def test_a_folder_is_left_that_can_be_read_again(fitted, data):
    out, result = fitted
    assert result.exit_code == 0, (result.output, result.exception)
    assert {path.name for path in out.iterdir()} == FILES
    for word in ("people held back", "learned", "popularity", "any item alike", "9 items"):
        assert word in result.output
    log = sets.load(data)
    model = folder.load(out)
    model.check(log)
    assert model.config["data"]["name"] == log.name
    assert model.content.shape[0] == 9  # their names, by LSA
    assert model.content.any()
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4
    assert float(json.loads((out / "model" / "meta.json").read_text())["held_back_nll"]) < np.log(9)


def test_ctrl_c_leaves_a_checkpoint_and_resume_equals_a_fit_never_stopped(fitted, data, tmp_path, monkeypatch):
    real, calls = fitting.epoch, []

    def epoch(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(fitting, "epoch", epoch)
    result = run("fit", "--data", data, "--out", tmp_path / "fit", *SIZE)
    assert result.exit_code == 130
    assert "2 epochs are done" in result.output
    assert f"--resume {tmp_path / 'fit'}" in result.output
    with pytest.raises(DataError, match="not over"):
        folder.load(tmp_path / "fit")
    with open(tmp_path / "fit" / "metrics.jsonl", "a") as file:
        file.write('{"update": 3, "loss": 1.0}\n{"upd')  # what a killed process may leave behind
    result = run("fit", "--data", data, "--resume", tmp_path / "fit")
    assert result.exit_code == 0, (result.output, result.exception)
    assert weights(tmp_path / "fit") == weights(fitted[0])
    figures = [
        [json.loads(x) for x in (f / "metrics.jsonl").read_text().splitlines()] for f in (tmp_path / "fit", fitted[0])
    ]
    assert [{**line, "seconds": 0} for line in figures[0]] == [{**line, "seconds": 0} for line in figures[1]]


@pytest.mark.slow
def test_a_fit_killed_at_any_moment_ends_as_one_never_killed(data, tmp_path):
    """kill -9 after the first epochs' figures are on disk, wherever the process then is; both in processes of their own."""
    command = [sys.executable, "-m", "jaxreco.cli", "fit", "--data", str(data), "--quiet"]
    size = [str(part) for part in ("--epochs", 12, "--width", 8, "--layers", 1, "--window", 8)]
    subprocess.run([*command, "--out", str(tmp_path / "whole"), *size], check=True, capture_output=True)
    for kill, after in enumerate((1, 4)):
        out = tmp_path / f"killed{kill}"
        process = subprocess.Popen(
            [*command, "--out", str(out), *size], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(_lines(out)) < after:
            time.sleep(0.005)
        process.kill()
        process.wait()
        assert not (out / "model" / "meta.json").exists()
        subprocess.run([*command, "--resume", str(out)], check=True, capture_output=True)
        assert weights(out) == weights(tmp_path / "whole")


def _lines(out: pathlib.Path) -> list[str]:
    path = out / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_what_cannot_be_is_refused_before_any_work(data, fitted, tmp_path):
    refused(run("fit", "--out", tmp_path / "x"), "add --data")
    refused(run("fit", "--data", data), "--out FOLDER", "--resume FOLDER")
    refused(run("fit", "--data", data, "--out", fitted[0]), "exists and is not empty", "--resume")
    refused(run("fit", "--data", tmp_path / "none", "--out", tmp_path / "x"), str(tmp_path / "none"))
    refused(run("fit", "--data", data, "--resume", fitted[0], "--epochs", 9), "leave out all but --data")
    refused(run("fit", "--data", data, "--resume", tmp_path), "holds no user model")
    refused(run("fit", "--data", data, "--out", tmp_path / "x", "--width", 9), "no multiple of 2 heads")
    assert not (tmp_path / "x").exists()


def test_a_fit_goes_on_with_its_own_log_only(fitted, tmp_path):
    other = write_log(tmp_path / "other", seed=1)
    refused(run("fit", "--data", other, "--resume", fitted[0]), "holds others", "give the same log")


def test_settings_of_another_version_are_refused_where_a_fit_would_go_on(fitted, data, tmp_path):
    where = broken(fitted, tmp_path / "other", edit(fit={"epochs": 4, "rounds": 3}))
    refused(run("fit", "--data", data, "--resume", where), "none of this version")


def test_a_log_of_one_person_is_refused(tmp_path):
    refused(run("fit", "--data", write_log(tmp_path / "one", people=1), "--out", tmp_path / "x"), "a fit needs 3")
    assert not (tmp_path / "x").exists()


def broken(fitted: Any, where: pathlib.Path, what: Any) -> pathlib.Path:
    shutil.copytree(fitted[0], where)
    what(where)
    return where


def edit(**changes: Any) -> Any:
    def change(where: pathlib.Path) -> None:
        config = json.loads((where / "config.json").read_text())
        (where / "config.json").write_text(json.dumps({**config, **changes}))

    return change


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda where: (where / "config.json").unlink(), "holds no user model"),
        (lambda where: (where / "config.json").write_text("{"), "is broken"),
        (lambda where: (where / "items.npz").unlink(), "There is no file"),
        (lambda where: (where / "items.npz").write_bytes(b"\x80\x04garbage"), "is a pickle"),
        (lambda where: (where / "items.npz").write_bytes((where / "items.npz").read_bytes()[:60]), "items.npz"),
        (lambda where: shutil.rmtree(where / "model"), "not over"),
        (edit(format=99), "format 99"),
        (edit(user_model="mindset"), "holds no user model"),
        (edit(network={"width": 8, "depth": 3}), "none of this version"),
        (edit(fit={"epochs": 4, "rounds": 3}), "none of this version"),
    ],
)
def test_a_broken_folder_is_refused_with_what_to_do(fitted, tmp_path, what, words):
    with pytest.raises(DataError, match=words):
        folder.load(broken(fitted, tmp_path / "broken", what))


def test_a_truncated_checkpoint_is_refused(fitted, tmp_path):
    def cut(where: pathlib.Path) -> None:
        for path in (where / "model").rglob("*"):
            if path.is_file() and path.name != "meta.json":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(DataError, match="is broken"):
        folder.load(broken(fitted, tmp_path / "broken", cut))


def test_a_model_of_another_catalog_is_refused(fitted, tmp_path):
    log = sets.load(write_log(tmp_path / "more", items=10))
    with pytest.raises(DataError, match="fitted to the 9 items"):
        folder.load(fitted[0]).check(log)


# -- the mechanistic user --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mindset(data) -> tuple[pathlib.Path, Any]:
    out = data.parent / "mindset"
    return out, run("fit", "--user-model", "mindset", "--data", data, "--out", out, "--epochs", 2)


def test_a_world_of_the_log_is_left(mindset, data):
    out, result = mindset
    assert result.exit_code == 0, (result.output, result.exception)
    assert {path.name for path in out.iterdir()} == {"config.json", "world.npz", "metrics.jsonl"}
    for word in ("mindset", "mindset, as it is by default", "popularity", "any item alike"):
        assert word in result.output
    kept, log = mindset_folder.load(out), sets.load(data)
    world = kept.world
    assert (world.catalog.n_items, world.params.population.size) == (9, 30)
    assert world.names.titles == tuple(log.items.titles)
    np.testing.assert_array_equal(world.users, log.user_ids)
    np.testing.assert_array_equal(world.log.item, log.item)
    np.testing.assert_array_equal(world.log.user, log.user)
    assert world.params.affinity == np.float32(kept.config["parameters"]["affinity"]) != 5.0
    assert mindset_folder.is_one(out)
    with pytest.raises(DataError, match="holds no user model"):
        folder.load(out)


def test_people_of_the_log_live_in_it(mindset):
    import jaxreco
    from jaxreco.base import EnvParams
    from jaxreco.env import RecoEnv
    from jaxreco.users.mindset import Mindset

    world = mindset_folder.load(mindset[0]).world
    env = RecoEnv(
        name="World",
        version="0",
        user_model=Mindset(len(world.names.categories), 3, 9),
        n_items=9,
        slate_size=3,
        history_length=9,
        names=world.names,
        log=world.log,
    )
    params = EnvParams(catalog=world.catalog, user=world.params)
    env.check(params)
    agent, fitted = jaxreco.make_agent("popularity", jax.random.key(0), env, params)
    lived = jaxreco.rollout(jax.random.key(1), env, params, agent, fitted, users=8, turns=4)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(lived.metrics.life))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--width", 8), ("--width is of a network", "leave it out")),
        (("--window", 8), ("--window is of a network",)),
    ],
)
def test_options_of_a_network_are_refused(data, tmp_path, options, words):
    refused(run("fit", "--user-model", "mindset", "--data", data, "--out", tmp_path / "new", *options), *words)
    assert not (tmp_path / "new").exists()


def test_a_fit_of_the_mechanistic_user_cannot_be_resumed(data, tmp_path, mindset):
    refused(run("fit", "--user-model", "mindset", "--data", data, "--resume", tmp_path), "cannot be resumed")
    refused(run("fit", "--user-model", "mindset", "--data", data, "--out", mindset[0]), "is not empty")


def test_a_broken_world_is_refused(mindset, fitted, tmp_path):
    with pytest.raises(DataError, match="holds no mechanistic user"):
        mindset_folder.load(fitted[0])
    broken = shutil.copytree(mindset[0], tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    for changed, words in (({"format": 9}, "has format 9"), ({"parameters": {"charm": 1.0}}, "none of this version")):
        (broken / "config.json").write_text(json.dumps({**config, **changed}))
        with pytest.raises(DataError, match=words):
            mindset_folder.load(broken)
    (broken / "config.json").write_text(json.dumps(config))
    (broken / "world.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"world\.npz"):
        mindset_folder.load(broken)
