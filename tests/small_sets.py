"""The three real logs in miniature, in the publishers' forms: what tests of the benchmarks on them need."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxreco.benchmarks.given import SETS


def walks(items: int, users: int, events: int, seed: int = 0) -> list[list[int]]:
    """Who takes an item takes one of the next two after it."""
    rng = np.random.default_rng(seed)
    table = np.cumsum(rng.integers(1, 3, (users, events)), axis=1) + rng.integers(items, size=(users, 1))
    return (table % items).tolist()


def write(folder: Path, walked: Callable[..., list[list[int]]], items: int) -> Path:
    """A folder of the three sets: people are `walked(users, seed=seed)`, without `users` as many as it likes."""
    films, artists, tools = (folder / name for name in SETS)
    for each in (films, artists, tools):
        each.mkdir()
    rows = [
        f"{user}\t{item + 1}\t4\t{10**9 + at}" for user, walk in enumerate(walked(), 1) for at, item in enumerate(walk)
    ]
    (films / "u.data").write_text("\n".join(rows) + "\n")
    (films / "u.item").write_text("".join(f"{i + 1}|Film {i} (1995)|01-Jan-1995|||1\n" for i in range(items)))
    (films / "u.genre").write_text("drama|0\n")
    (films / "validation_users.json").write_text(json.dumps(list(range(1, 13))))
    lines = [json.dumps(walk) for walk in walked(seed=1)]
    (artists / "train.jsonl").write_text("\n".join(lines) + "\n")
    (artists / "items.tsv").write_text("".join(f"{i}\tartist {i}\n" for i in range(items)))
    (artists / "validation.jsonl").write_text(cases_of(walked(12, seed=2)))
    (tools / "sequences.jsonl").write_text("\n".join(json.dumps(walk) for walk in walked(seed=3)) + "\n")
    (tools / "semantic_ids.json").write_text(json.dumps({str(i): [f"<a_{i}>", "<b_0>"] for i in range(items)}))
    return folder


def cases_of(walked: list[list[int]], add: int = 0) -> str:
    """Lines of histories and what came next."""
    lines = [{"history": [i + add for i in walk[-11:-1]], "next": walk[-1] + add} for walk in walked]
    return "".join(json.dumps(line) + "\n" for line in lines)


def values(report: Any, **wanted: Any) -> dict[str, Any]:
    """A report's rows by agent, those whose fields are as wanted."""
    found = [row for row in report.rows if all(getattr(row, name) == value for name, value in wanted.items())]
    return {row.agent: row for row in found}
