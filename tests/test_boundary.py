"""The library does not know its worlds, agents and benchmarks, and importing it is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxreco

LIBRARY = Path(jaxreco.__file__).parent
OUTSIDE = ("envs", "agents", "benchmarks")
HEAVY = ("flax", "orbax", "matplotlib", "typer", "rich", "optax", "scipy", "gymnax", "gymnasium")


def modules() -> list[Path]:
    """The library's own files: `jaxreco.envs` and the others are mapped there only in an installed copy."""
    return [p for p in LIBRARY.rglob("*.py") if p.relative_to(LIBRARY).parts[0] not in OUTSIDE]


def imported(source: str, package: str) -> set[str]:
    """Absolute names of every module that a source imports, at the top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (parent, node.module) if part)
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def crosses(names: set[str]) -> set[str]:
    """Those that lie on the other side."""
    return {name for name in names if name.startswith(tuple(f"jaxreco.{part}" for part in OUTSIDE))}


def test_the_check_sees_every_way_to_import() -> None:
    for source in (
        "import jaxreco.envs.feed",
        "from jaxreco.agents import random",
        "from jaxreco import benchmarks",
        "def f():\n    from .envs import feed",
        "if True:\n    from . import agents",
    ):
        assert crosses(imported(source, "jaxreco")), source
    assert crosses(imported("from ..envs import feed", "jaxreco.users"))
    assert not crosses(imported("from jaxreco.env import RecoEnv\nimport jaxreco.users", "jaxreco"))


def test_the_library_has_files() -> None:
    assert {"base.py", "env.py", "registry.py", "testing.py", "mindset.py"} <= {p.name for p in modules()}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(LIBRARY)))
def test_the_library_never_imports_worlds_agents_or_benchmarks(path: Path) -> None:
    package = ".".join(("jaxreco", *path.relative_to(LIBRARY).parent.parts))
    assert not crosses(imported(path.read_text(), package))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(LIBRARY)))
def test_only_the_registry_and_the_command_line_name_them(path: Path) -> None:
    """A module's name as text is an import by other means (docstrings apart)."""
    tree = ast.parse(path.read_text())
    prose = {
        id(node.body[0].value)  # type: ignore[attr-defined]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None
    }
    texts = [
        n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in prose
    ]
    named = [n.value for n in texts if crosses({n.value})]
    assert not named or path.name in ("registry.py", "cli.py") or path.name.startswith("cli_"), named


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_importing_the_library_imports_nothing_heavy() -> None:
    loaded = run(
        "import sys, jax; before = set(sys.modules); import jaxreco; print(*(set(sys.modules) - before))"
    ).split()
    assert "jaxreco.env" in loaded
    assert not [name for name in loaded if name.split(".")[0] in HEAVY]
    assert not crosses(set(loaded))


# Seconds of this process's own work: a busy machine must not fail the test.
TIME = "import time, jax, jax.numpy; start = time.process_time(); import jaxreco; print(time.process_time() - start)"


def test_importing_the_library_adds_less_than_half_a_second_to_jax() -> None:
    seconds = [float(run(TIME)) for _ in range(3)]
    assert min(seconds) < 0.5, seconds
