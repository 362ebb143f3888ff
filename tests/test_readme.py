"""README.md: its Python runs as written, its commands and links are there, and it stays short."""

from __future__ import annotations

import pathlib
import re

from typer.testing import CliRunner

from jaxreco.cli import app

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_quick_start_runs_as_written(capsys):
    program = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    exec(compile(program, "README.md", "exec"), {})
    assert "minutes watched a turn" in capsys.readouterr().out


def test_every_command_that_it_names_exists():
    named = set(re.findall(r"jaxreco (list|[a-z]+)(?= [-A-Z]|`)", README))
    assert named >= {"train", "evaluate", "rollout", "list", "bench"}
    for name in named:
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0, name


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_it_is_short():
    assert len(README.splitlines()) <= 150
