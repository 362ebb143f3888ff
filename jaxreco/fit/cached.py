"""Users that are fitted when a world first asks for them, and kept in the user's cache directory."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from jaxreco import files, runtime
from jaxreco.content.store import fingerprint
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.fit import folder, whole

SETTINGS: dict[str, int] = {}  # of the fit: all as suits the log


def fitted(log: Log, seed: int = 0) -> Path:
    """The folder of a user fitted to a log as `jaxreco fit` does it. Fits it, which takes minutes and is said on stderr, where
    there is none yet.

    Raises DataError for a log that is too small, or where nothing can be written.
    """
    home = runtime.home() / "users"
    source = home / name_of(log, seed)
    if source.is_dir():
        return source
    say = Console(stderr=True)
    say.print(
        f"Fitting a user to {escape(log.name)}, once: this takes minutes. It is kept in {escape(str(source))}.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    try:
        home.mkdir(parents=True, exist_ok=True)
        with files.folder_written_whole(source) as where:
            whole.fit(log, where, seed, SETTINGS)
    except OSError as error:
        raise DataError(
            f"A user cannot be kept in {home} ({error.strerror or error}): set XDG_CACHE_HOME to a folder that can be written, or "
            "make one with jaxreco fit and give its folder, --user-model FOLDER."
        ) from None
    return source


def name_of(log: Log, seed: int) -> str:
    """The name of the folder: another one for other events, items, settings, or another format."""
    network, config = whole.settings_of(log, SETTINGS)
    made_of = [folder.FORMAT, fingerprint(log), dataclasses.asdict(network), dataclasses.asdict(config), seed]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    return f"{re.sub(r'[^a-z0-9]+', '-', log.name.lower()).strip('-')}-{digest}"
