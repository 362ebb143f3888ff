"""How a process is set up for JAX: host devices, and the cache of compiled programs.

JAX reads both before its first computation, so `prepare` must run before that; importing JAX is harmless. What the
user has set already is never overwritten.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform
import sys

from jaxreco.errors import JaxrecoError

MAX_DEVICES = 8  # more host devices than this only make compilation slower
FLAG = "--xla_force_host_platform_device_count"


def prepare() -> None:
    """Choose host devices and the compilation cache for this process, unless the user has chosen.

    Environment variables: `JAXRECO_DEVICES=n` (host devices on CPU), `JAXRECO_NO_CACHE=1` (no cache on disk),
    `JAX_COMPILATION_CACHE_DIR` and `XLA_FLAGS` (JAX's own, respected).

    Raises JaxrecoError when JAXRECO_DEVICES is not a positive whole number.
    """
    import jax

    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}={host_devices()}".strip()
    if jax.config.values["jax_compilation_cache_dir"] is None and not _truthy("JAXRECO_NO_CACHE"):
        jax.config.update("jax_compilation_cache_dir", str(cache_dir()))


def host_devices() -> int:
    """Host devices to ask for on CPU: one a core, at most 8, or what JAXRECO_DEVICES says.

    Several host devices use the cores better than one (docs/speed.md). On GPUs and TPUs the number has no effect.
    """
    wanted = os.environ.get("JAXRECO_DEVICES")
    if wanted is None:
        return min(cores(), MAX_DEVICES)
    if not wanted.isdecimal() or int(wanted) < 1:
        raise JaxrecoError(f"JAXRECO_DEVICES is {wanted!r}: give a whole number of at least 1, or unset it.")
    return int(wanted)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_dir() -> pathlib.Path:
    """Where compiled programs are kept: a folder of the user's cache directory, one for each kind of CPU.

    A home directory may be shared by machines that differ, and a program compiled for one may not run on another.
    """
    return home() / f"xla-{platform.machine()}-{_cpu_digest()}"


def home() -> pathlib.Path:
    """jaxreco's own folder of the user's cache directory. It may not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache:
        root = pathlib.Path(cache)
    elif sys.platform == "darwin":
        root = pathlib.Path.home() / "Library" / "Caches"
    else:
        root = pathlib.Path.home() / ".cache"
    return root / "jaxreco"


def cpu_name() -> str:
    """The CPU's model, or the architecture where the system does not say."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_digest() -> str:
    what = cpu_name() + _cpuinfo("flags")
    return hashlib.sha256(what.encode()).hexdigest()[:8]


def _cpuinfo(field: str) -> str:
    """A field of the first CPU in Linux's /proc/cpuinfo; empty elsewhere."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")


def _truthy(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no")
