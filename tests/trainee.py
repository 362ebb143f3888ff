"""What tests of training share: a world and an agent that compile fast, the command in this process, and one that kills itself.

`python tests/trainee.py MOMENT train ...` is `jaxreco train` that is killed (SIGKILL) at a moment, such as "block 3": when the third
block is about to run. "none" lets it live.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from conftest import coin_world
from typer.testing import CliRunner

from jaxreco import cli, files, registry
from jaxreco import run as runs
from jaxreco.agents import popularity, ppo, random
from jaxreco.learning import checkpoint, trainer
from jaxreco.training.job import build

SIZE = ("--env", "Coin-v0", "--agent", "tiny", "--users", 8, "--turns", 4, "--updates", 4, "--eval-users", 8)
SHORT = ("--set", "horizon_hours=48")


def make_coin(slate_size: int = 3, history_length: int = 6, action_mode: Any = "slate", choice: str = "cascade") -> Any:
    return coin_world(slate_size=3)


def make_tiny() -> Any:
    return ppo.make(width=16, layers=1, heads=2, window=4)


# What only mindsets have is played by agents that need none.
PLAYERS = {"tiny": make_tiny, "static": random.make, "item_knn": popularity.make}
PLAYERS |= {"oracle_greedy": popularity.make, "oracle_plan": popularity.make}


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._ENVS, "Coin-v0", make_coin)
        for name, make in PLAYERS.items():
            patch.setitem(registry._AGENTS, name, make)
        patch.setenv("COLUMNS", "80")
        yield


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def done(*arguments: object) -> Any:
    """The result of a command that does what it was asked to."""
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(result: Any, *words: str) -> None:
    """The command failed with one sentence on stderr, exit status 2 and no traceback."""
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("jaxreco: ")
    for word in words:
        assert word in lines[0]


def leaves(folder: pathlib.Path) -> list[bytes]:
    """The bits of a run's last checkpoint."""
    job = build(json.loads((folder / "config.json").read_text()))
    state, _ = checkpoint.restore(folder / "checkpoint", job.begin(), job.meta())
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def figures(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, without what the clock says."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


# -- killing oneself -----------------------------------------------------------------------------------------


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before_call(number: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """The function, but its so-manieth call is the end."""
    calls = []

    def called(*args: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            die()
        return real(*args, **named)

    return called


def half_a_line(self: Any, update: int, values: dict[str, float]) -> None:
    """Dies while it writes a line of figures."""
    with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"update": ')
    die()


def when_there_is_a_part(folder: pathlib.Path) -> None:
    """Dies as soon as the folder holds a checkpoint that is not whole yet."""
    while True:
        if folder.is_dir() and any("tmp" in name for name in os.listdir(folder)):
            die()
        time.sleep(1e-4)


def doom(moment: str, number: int, folder: pathlib.Path) -> None:
    """See to it that this process ends at the moment."""
    if moment == "block":
        trainer.block = before_call(number, trainer.block)  # type: ignore[assignment]
    elif moment == "described":  # the arrays of a checkpoint are there, what they belong to is not yet
        files.write_json = before_call(number, files.write_json)  # type: ignore[assignment]
    elif moment == "line":
        runs.Run.log = half_a_line  # type: ignore[method-assign]
    elif moment == "write":
        threading.Thread(target=when_there_is_a_part, args=(folder / "checkpoint",), daemon=True).start()
    elif moment == "best":
        threading.Thread(target=when_there_is_a_part, args=(folder / "best",), daemon=True).start()


if __name__ == "__main__":
    registry._ENVS["Coin-v0"] = make_coin
    registry._AGENTS.update(PLAYERS)
    moment, number, folder = sys.argv[1].split(",")
    doom(moment, int(number), pathlib.Path(folder))
    sys.argv[1:2] = []
    cli.main()
