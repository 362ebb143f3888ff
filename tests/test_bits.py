"""Promises of the same bits, kept by programs as users compile them: other tests are compiled quickly, which gives other programs."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys


def test_promises_hold_in_optimised_programs() -> None:
    """`pytest -m bits` in a process of its own, with XLA as it comes."""
    here = pathlib.Path(__file__).parent
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "JAX_DISABLE"))}
    command = [sys.executable, "-m", "pytest", "-m", "bits and not slow", "-p", "no:xdist", str(here)]
    done = subprocess.run(command, cwd=here.parent, env={**clean, "XLA_FLAGS": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]  # 5 where no test was found
    assert "skipped" not in done.stdout, done.stdout[-500:]
