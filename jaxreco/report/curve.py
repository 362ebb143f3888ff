"""The learning curve of a run as a picture."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from jaxreco import files

PANELS = (
    ("reward_per_day", "reward a user a day"),
    ("eval_reward", "reward of the users it is watched by"),
    ("turns_per_session", "turns a session"),
    ("entropy", "entropy of the first slot (nats)"),
)


def draw(path: pathlib.Path, title: str, runs: Sequence[list[dict[str, Any]]], turns_per_update: int) -> None:
    """Write curve.png: reward per day, evaluations, turns per session and entropy over user-turns.

    Args:
      path: of the picture.
      title: above it.
      runs: lines of metrics.jsonl, a list for each run; each is a curve. The best evaluation is marked.
      turns_per_update: user-turns of a block.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 3.2), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(PANELS))
    for axes, (name, words) in zip(panels, PANELS, strict=True):
        for metrics in runs:
            _curve(axes, name, metrics, turns_per_update)
        axes.set_title(words, fontsize=10)
        axes.set_xlabel("user-turns", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}M" if abs(x) >= 1e6 else f"{x / 1e3:g}k")
        axes.locator_params(axis="x", nbins=5)
    figure.suptitle(title, fontsize=11)
    with files.written_whole(path) as file:
        canvas.print_png(file)


def _curve(axes: Any, name: str, metrics: list[dict[str, Any]], turns_per_update: int) -> None:
    points = [(line["update"] * turns_per_update, line[name]) for line in metrics if line.get(name) is not None]
    seen = name.startswith("eval_")
    (line,) = axes.plot([x for x, _ in points], [y for _, y in points], linewidth=1.5, marker="." if seen else "")
    if seen and points:
        axes.plot(*max(points, key=lambda point: point[1]), "o", color=line.get_color(), fillstyle="none", markersize=9)
