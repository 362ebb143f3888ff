"""What foresees people without knowing anything of them: the scale of a fit's likelihood."""

from __future__ import annotations

import numpy as np

from jaxreco.fit.fitting import Fitter, Task


def rows(task: Task, fitter: Fitter) -> dict[str, float]:
    """Who foresees -> nats an event of the people held back: the fitted user, how often an item is taken, and nothing."""
    item, n_items = np.asarray(task.events.item), len(task.known)
    fitted, held = (_items(item, part) for part in (task.train, task.held_back))
    count = np.bincount(fitted, minlength=n_items) + 1.0  # an item that nobody took is not impossible
    popularity = float(-np.log(count[held] / count.sum()).mean())
    return {"learned": float(fitter.best_nll), "popularity": popularity, "any item alike": float(np.log(n_items))}


def _items(item: np.ndarray, windows: object) -> np.ndarray:
    """i32[M]: what was taken in some windows."""
    return np.concatenate([item[start:end] for start, end in zip(windows.start, windows.end, strict=True)])  # type: ignore[attr-defined]
