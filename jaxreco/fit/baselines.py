"""What foresees people without knowing anything of them: the scale of a fit's likelihood."""

from __future__ import annotations

import numpy as np

from jaxreco.fit.events import Windows
from jaxreco.fit.fitting import Fitter, Task


def rows(task: Task, fitter: Fitter, horizon: int) -> dict[str, float]:
    """Who foresees -> nats an event of the people held back: the fitted user, how often an item is taken, and nothing.

    Args: horizon: events ahead of each moment, as in the fit.
    """
    item, n_items = np.asarray(task.events.item), len(task.known)
    count = np.bincount(_items(item, task.train), minlength=n_items) + 1.0  # what nobody took is not impossible
    surprise = -np.log(count / count.sum())[item]
    moments = [
        surprise[at : min(at + horizon, last)].mean()
        for start, end, last in zip(task.held_back.start, task.held_back.end, task.held_back.last, strict=True)
        for at in range(start, end)
    ]
    return {
        "learned": float(fitter.best_items),
        "popularity": float(np.mean(moments)),
        "any item alike": float(np.log(n_items)),
    }


def _items(item: np.ndarray, windows: Windows) -> np.ndarray:
    """i32[M]: what was taken in some windows."""
    return np.concatenate([item[start:end] for start, end in zip(windows.start, windows.end, strict=True)])
