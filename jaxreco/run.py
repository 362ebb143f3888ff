"""The folder of a training run: config.json, metrics.jsonl, checkpoint/, best/, curve.png, table.json, sessions.txt.

A run of several seeds has a folder like that for each of them, `seed0` and so on, and a config, a table and a curve of its own.
Files appear whole or not at all, so a run that is killed at any moment can be resumed.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from typing import Any

from jaxreco import files
from jaxreco.errors import JaxrecoError

RUNS = pathlib.Path("runs")
COTRAINING = "cotraining"  # the kind of a folder that holds runs, and is none


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder.

    Args:
      folder: where it lies.
      config: what the run was asked for, enough to make its world and agent again.
    """

    folder: pathlib.Path
    config: dict[str, Any]

    @property
    def checkpoint(self) -> pathlib.Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoint"

    @property
    def best(self) -> pathlib.Path:
        """The folder of the best checkpoint by evaluation."""
        return self.folder / "best"

    @property
    def seeds(self) -> list[int]:
        """The seeds that it is run with."""
        first = self.config["seed"]
        return list(range(first, first + (self.config.get("seeds") or 1)))

    def refuse_seeds(self) -> Run:
        """The run itself. Raises JaxrecoError for a run of several seeds, where only one will do."""
        if len(self.seeds) > 1:
            raise JaxrecoError(
                f"{self.folder} holds the runs of {len(self.seeds)} seeds: name one of them, such as {self.folder / f'seed{self.seeds[0]}'}."
            )
        return self

    def log(self, update: int, values: dict[str, float]) -> None:
        """Append a block's figures to metrics.jsonl."""
        line = json.dumps(files.plain({"update": update, **values}), allow_nan=False)
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that was cut off is left out."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        found = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:  # the process was killed while it wrote
                break
        return found

    def rewind(self, update: int) -> None:
        """Forget the figures of blocks after `update`: they are about to be run again."""
        kept = [line for line in self.metrics() if line["update"] <= update]
        with files.written_whole(self.folder / "metrics.jsonl") as file:
            file.write("".join(json.dumps(line) + "\n" for line in kept).encode())

    def tidy(self) -> None:
        """Delete what a killed process was writing."""
        for part in self.folder.glob(".*.tmp"):
            part.unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the folder, whole or not at all."""
        with files.written_whole(self.folder / name) as file:
            file.write(text.encode("utf-8"))


def refuse(folder: pathlib.Path) -> None:
    """Refuse a folder for a new run that is not empty, or is no folder.

    Raises JaxrecoError.
    """
    if folder.exists() and not folder.is_dir():
        raise JaxrecoError(f"{folder} is a file: name a folder that does not exist yet with --out.")
    if folder.is_dir() and any(folder.iterdir()):
        remedy = f"--resume {folder} goes on with it" if (folder / "config.json").is_file() else "it is no run"
        raise JaxrecoError(f"The folder {folder} exists and is not empty ({remedy}): name another one with --out.")


def create(folder: pathlib.Path, config: dict[str, Any]) -> Run:
    """A new run folder with its config.json. Raises JaxrecoError where there is something already."""
    refuse(folder)
    return make(folder, config)


def make(folder: pathlib.Path, config: dict[str, Any]) -> Run:
    """A run folder with its config.json, whatever else is there."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "config.json", config)
    return Run(folder, config)


def load(folder: pathlib.Path) -> Run:
    """The run in a folder. Raises JaxrecoError where there is none."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise JaxrecoError(f"There is no run folder {folder}: give one that jaxreco train has made.")
    if not path.is_file():
        raise JaxrecoError(f"{folder} is no run folder, it has no config.json: give one that jaxreco train has made.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise JaxrecoError(f"{path} is no JSON: the run is damaged, start a new one.") from None
    if isinstance(config, dict) and config.get("kind") == COTRAINING:
        raise JaxrecoError(
            f"{folder} holds the runs of a co-training: name one of them, such as {folder / 'agent' / '1'}."
        )
    if not isinstance(config, dict) or not {"env", "agent", "seed", "train"} <= config.keys():
        raise JaxrecoError(f"{path} lacks env, agent, seed or train: the run is damaged, start a new one.")
    return Run(folder, config)


def free_name(env: str, agent: str, root: pathlib.Path = RUNS) -> pathlib.Path:
    """The first of runs/ENV-AGENT-1, -2, ... that is not taken."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{env}-{pathlib.Path(agent).stem}")
    number = 1
    while (root / f"{stem}-{number}").exists():
        number += 1
    return root / f"{stem}-{number}"
