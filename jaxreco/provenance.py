"""Where a result comes from: the commit, the versions and the device that made it."""

from __future__ import annotations

import importlib.metadata
import pathlib
import platform
import subprocess

from jaxreco import runtime

PACKAGES = ("jaxreco", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def commit() -> str | None:
    """The checkout's commit, with "+" where files were changed since; None outside a checkout of jaxreco."""
    here = pathlib.Path(__file__).resolve()
    # A site-packages folder may lie inside somebody else's repository: this file must be tracked.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    head = _git(here.parent, "rev-parse", "--short=12", "HEAD")
    if not head:
        return None
    return head + ("+" if _git(here.parent, "status", "--porcelain", "--untracked-files=no") else "")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device() -> str:
    """The devices that JAX computes on, in words. Initialises JAX."""
    import jax

    kind, count = jax.devices()[0].device_kind, jax.device_count()
    if jax.default_backend() == "cpu":
        return f"{count} CPU device{'s' * (count > 1)} on {runtime.cores()} cores ({runtime.cpu_name()})"
    return f"{count} x {kind}"


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
    """Output of a git command, None when it fails or there is no git."""
    try:
        ran = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None
