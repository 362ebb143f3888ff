"""The learning curve of a run as a picture."""

from __future__ import annotations

import pathlib
from typing import Any

from jaxreco import files

PANELS = (
    ("reward_per_day", "reward a user a day"),
    ("turns_per_session", "turns a session"),
    ("entropy", "entropy of the first slot (nats)"),
)


def draw(path: pathlib.Path, title: str, metrics: list[dict[str, Any]], turns_per_update: int) -> None:
    """Write curve.png: reward per day, turns per session and entropy over user-turns.

    Args:
      path: of the picture.
      title: above it.
      metrics: lines of metrics.jsonl.
      turns_per_update: user-turns of a block.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 3.2), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(PANELS))
    for axes, (name, words) in zip(panels, PANELS, strict=True):
        points = [(line["update"] * turns_per_update, line[name]) for line in metrics if line.get(name) is not None]
        axes.plot([x for x, _ in points], [y for _, y in points], color="#1f5fa8", linewidth=1.5)
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
