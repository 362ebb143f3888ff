"""Sets runs of one job with different seeds side by side: a Markdown table with intervals over training seeds.

for s in 0 1 2 3 4; do jaxreco train --seed $s --out runs/seed$s; done; python docs/seeds.py runs/seed?
"""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np
from scipy import stats

METRICS = {"reward": "reward", "sessions_30d": "sessions in 30 d", "turns_per_session": "turns a session"}
METRICS |= {"gap_hours": "hours between", "churn": "share lost", "score": "score", "overlap": "overlap"}


def words(values: list[float]) -> str:
    """Mean and half the 95 % interval over seeds (Student's t)."""
    mean = float(np.mean(values))
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    digits = 1 if abs(mean) >= 10 else 2
    return f"{mean:.{digits}f} ±{half:.{digits}f}"


def main() -> None:
    """Print the rows, and our agent's differences to the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="+", type=pathlib.Path)
    tables = [json.loads((run / "table.json").read_text(encoding="utf-8"))["rows"] for run in parser.parse_args().run]
    found: dict[tuple[str, str | None, str], list[float]] = {}
    for rows in tables:
        for row in rows:
            value = float("nan") if row["value"] is None else row["value"]
            found.setdefault((row["agent"], row["against"], row["metric"]), []).append(value)
    agents = list(dict.fromkeys(agent for agent, against, _ in found if against is None))
    print(f"| {len(tables)} seeds | " + " | ".join(METRICS.values()) + " |")
    print("|---|" + "--:|" * len(METRICS))
    for agent in agents:
        print(f"| {agent} | " + " | ".join(words(found[agent, None, metric]) for metric in METRICS) + " |")
    print("\n| difference, paired by user and seed | reward | sessions in 30 d |\n|---|--:|--:|")
    for (agent, against, metric), values in found.items():
        if against is not None and metric == "reward":
            print(f"| {agent} less {against} | {words(values)} | {words(found[agent, against, 'sessions_30d'])} |")


if __name__ == "__main__":
    main()
