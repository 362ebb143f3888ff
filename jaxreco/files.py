"""Output files: refused before the work where they exist, and never half written."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from jaxreco.errors import JaxrecoError


def refuse_existing(force: bool, *paths: pathlib.Path | None) -> None:
    """Refuse, before any work is done, output files that exist, or whose folder does not.

    Raises JaxrecoError.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise JaxrecoError(f"{path} is a folder: name a file to write.")
        if path.exists() and not force:
            raise JaxrecoError(f"{path} exists: name another file, or pass --force to replace it.")
        if not path.absolute().parent.is_dir():
            raise JaxrecoError(f"There is no folder {path.absolute().parent} to write {path.name} into: make it first.")


@contextlib.contextmanager
def written_whole(path: pathlib.Path) -> Iterator[BinaryIO]:
    """A binary file that appears under its name only once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to fill that appears under its name only once it is complete; what was there before makes way for it.

    Raises JaxrecoError where there is no folder to make it in.
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        raise JaxrecoError(f"There is no folder {parent} to make {path.name} in: make it first.")
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=parent))
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes it for its owner alone
        yield temporary
        if path.exists():
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)  # it can only be read by setting it
    os.umask(mask)
    return mask


def write_json(path: pathlib.Path, content: Any) -> None:
    """Write strict JSON, whole or not at all; what is not a finite number becomes null."""
    with written_whole(path) as file:
        file.write(json.dumps(plain(content), indent=2, allow_nan=False).encode() + b"\n")


def plain(content: Any) -> Any:
    """The content with NaN and infinities as None."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
