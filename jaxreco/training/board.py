"""The figures of a run for TensorBoard: event files that say what metrics.jsonl says."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from jaxreco.errors import JaxrecoError
from jaxreco.run import Run
from jaxreco.training.job import Job

FOLDER = "tensorboard"


def refuse_missing() -> None:
    """Raises JaxrecoError where the writer of event files is not installed."""
    _writer_class()


class Board:
    """Where a run's figures are shown; one that shows nothing for a run that asked for none.

    Args: writer, of event files, or None.
    """

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    @classmethod
    @contextlib.contextmanager
    def of(cls, job: Job, run: Run) -> Iterator[Board]:
        """The board of a run, with all that metrics.jsonl holds already: what a killed run wrote beyond it is gone."""
        if not job.config.get("tensorboard"):
            yield cls(None)
            return
        shutil.rmtree(run.folder / FOLDER, ignore_errors=True)
        with _writer_class()(str(run.folder / FOLDER)) as writer:
            board = cls(writer)
            for line in run.metrics():
                board.log(line["update"], line)
            yield board

    def log(self, update: int, line: dict[str, Any]) -> None:
        """A block's figures, at once on disk; steps are updates."""
        if self.writer is None:
            return
        for name, value in line.items():
            if value is not None and name != "update":
                group = "evaluation" if name.startswith("eval_") else "training"
                self.writer.add_scalar(f"{group}/{name.removeprefix('eval_')}", value, update)
        self.writer.flush()


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise JaxrecoError("--tensorboard needs tensorboardX: pip install 'jaxreco[tensorboard]'.") from None
    return SummaryWriter
