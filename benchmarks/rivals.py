"""Other people's simulators, timed by their own scripts in their own virtual environments.

A folder of rivals holds one script each, which prints a JSON line with its user-turns per second, and a README with
the commands that install them. Nothing of theirs is imported here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile
from typing import Any

from jaxreco.errors import JaxrecoError

TIMEOUT_S = 900


@dataclasses.dataclass(frozen=True)
class Rival:
    """A row of somebody else's: which script with which options, in which virtual environment."""

    world: str
    recommender: str  # what chooses the slates
    package: str  # names the virtual environment
    script: str
    options: tuple[str, ...]

    @property
    def title(self) -> str:
        """The row's name in a table."""
        return f"{self.world}, {self.recommender}"


_NG = ("recsim_ng", "recsimng_bench.py")
_RECSIM = ("recsim", "recsim_bench.py")
_EVOLUTION = ("--env", "interest_evolution", "--slate", "10")

# Each in its best mode for slates of 10: the same work a turn as ours, one user and one slate.
RIVALS = (
    Rival("recsim_ng/interest_evolution", "its recommender", *_NG, (*_EVOLUTION, "--users", "10000")),
    Rival(
        "recsim_ng/random",
        "random slates, XLA",
        *_NG,
        ("--env", "random", "--slate", "10", "--users", "10000", "--xla", "1"),
    ),
    Rival("recsim/interest_evolution", "random slates", *_RECSIM, (*_EVOLUTION, "--candidates", "100")),
    Rival(
        "recsim/interest_evolution",
        "random slates, 100 users at once",
        *_RECSIM,
        (*_EVOLUTION, "--candidates", "100", "--users", "100"),
    ),
)


def interpreters(folder: pathlib.Path, named: str | None = None) -> dict[str, pathlib.Path]:
    """Package -> Python of its virtual environment, for those that can be found.

    Looked for in `named` ("recsim=PATH,recsim_ng=PATH"), then in the variables JAXRECO_PEER_RECSIM and
    JAXRECO_PEER_RECSIM_NG, then beside the folder: `venvs/NAME`, `NAME` in it or next to it.

    Raises JaxrecoError for a name or a path that does not exist.
    """
    packages = sorted({rival.package for rival in RIVALS})
    given = {p: os.environ[f"JAXRECO_PEER_{p.upper()}"] for p in packages if f"JAXRECO_PEER_{p.upper()}" in os.environ}
    for part in filter(None, (named or "").split(",")):
        package, equals, path = part.partition("=")
        if not equals or package not in packages:
            raise JaxrecoError(f"--peers-python {part!r}: write NAME=PATH, where NAME is {' or '.join(packages)}.")
        given[package] = path
    found = {}
    for package in packages:
        if package in given:
            found[package] = _interpreter(pathlib.Path(given[package]), package)
            continue
        for place in (folder.parent / "venvs", folder / "venvs", folder, folder.parent):
            if (python := place / package / "bin" / "python").is_file():
                found[package] = python
                break
    return found


def _interpreter(path: pathlib.Path, package: str) -> pathlib.Path:
    """The Python at a path, which may also be the virtual environment's folder."""
    python = path / "bin" / "python" if path.is_dir() else path
    if not os.access(python, os.X_OK):
        raise JaxrecoError(f"There is no Python at {python} for {package}: give the interpreter of its environment.")
    return python.absolute()


def how_to_install(folder: pathlib.Path, package: str) -> str:
    """The README's command for a package, or where to look."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8").replace("\\\n", " ") if readme.is_file() else ""
    for line in text.splitlines():
        if line.split()[:1] == [package]:
            return " ".join(line.split()[1:])
    return f"see {readme}"


def time_rival(
    rival: Rival, folder: pathlib.Path, python: pathlib.Path, *, repeats: int, seconds: float
) -> dict[str, Any]:
    """Run a rival's script once: {"median", "min", "max", "runs", "batch", "version", ...}, or {"skipped": why}."""
    script = (folder / rival.script).absolute()
    command = [str(python), str(script), *rival.options, "--repeats", str(repeats), "--seconds", str(seconds)]
    # Our own flags are not for theirs: TensorFlow reads XLA_FLAGS too.
    environment = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "PYTHONPATH")}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            ran = subprocess.run(
                command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return {"skipped": f"{rival.script} took longer than {TIMEOUT_S} s"}
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if ran.returncode != 0 or not lines:
        return {"skipped": f"{rival.script} failed: {(ran.stderr.strip().splitlines() or ['no output'])[-1]}"}
    return json.loads(lines[-1])
