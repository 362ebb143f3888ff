"""Reliability diagrams (DeGroot & Fienberg 1983): how often what was given a chance happened, beside that chance."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from jaxreco import files
from jaxreco.fit.quality import Judged, bins


def draw(path: pathlib.Path, title: str, judged: Mapping[str, Judged]) -> None:
    """Write a panel a head, with a line for each of at most three cuts. Raises ValueError without heads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(judged), 3.4), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(1, len(judged)))
    for axes, (name, each) in zip(panels, judged.items(), strict=True):
        cuts = each.chance.shape[1]
        for cut in sorted({cuts // 4, cuts // 2, 3 * cuts // 4}):
            known = ~np.isnan(each.reached[:, cut])
            if known.any():
                chance, share, _ = bins(each.chance[known, cut], each.reached[known, cut])
                axes.plot(chance, share, marker="o", markersize=3, linewidth=1.2, label=f"class {cut + 1} or higher")
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle="--")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("chance given", fontsize=9)
        axes.set_ylabel("share", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle(f"{title}, people held back", fontsize=11)
    with files.written_whole(path) as file:
        canvas.print_png(file)
