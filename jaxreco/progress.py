"""How far a long command is, on stderr."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def progress_bar(console: Console) -> Any:
    """A bar with words beside it (the field `words` of its tasks), gone when it ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words = TextColumn("{task.fields[words]}"), TimeRemainingColumn(compact=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), *words)
    return Progress(*columns, console=Console(stderr=True, quiet=console.quiet), transient=True)
