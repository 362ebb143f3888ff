"""How far a long command is, on stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape

SELDOM_S = 60.0  # between lines where nobody watches


@contextlib.contextmanager
def saying(name: str) -> Iterator[Callable[[str], None]]:
    """Says what a long command is doing: in place on a terminal; elsewhere a line, with the seconds passed, at most once a minute."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(escape(name)) as status:
            yield lambda text: status.update(escape(f"{name}: {text}"))
        return
    began = said = time.monotonic()

    def line(text: str) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= SELDOM_S:
            said = now
            console.print(f"{name}: {text} ({now - began:.0f} s)", markup=False, highlight=False, soft_wrap=True)

    yield line


def progress_bar(console: Console) -> Any:
    """A bar with words beside it (the field `words` of its tasks), gone when it ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words = TextColumn("{task.fields[words]}"), TimeRemainingColumn(compact=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), *words)
    return Progress(*columns, console=Console(stderr=True, quiet=console.quiet), transient=True)
