"""Plain item sequences, one user a line in the order of time: JSON lists of item numbers. No clock, no deeds.

`train.jsonl` with `items.tsv` (Last.fm artists of the 20-candidate protocol, Liao et al. 2024, "LLaRA"), or
`sequences.jsonl` with `semantic_ids.json` (Amazon Musical Instruments 2018 with a published code an item).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxreco.data import tables
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError

LEVEL = re.compile(r"<[a-z]_(\d+)>")


def load(folder: Path) -> Log:
    """One row for every item of every line. Raises DataError for a line that is no list of known items."""
    titles, codes = folder / "items.tsv", folder / "semantic_ids.json"
    path = folder / ("train.jsonl" if (folder / "train.jsonl").exists() else "sequences.jsonl")
    if titles.exists():
        pl = tables.polars()
        table = tables.csv(titles, {"id": pl.Int64, "title": pl.String}, separator="\t", header=False, quote=None)
        items = Items(ids=table["id"].to_numpy(), titles=tuple(table["title"]))
    elif codes.exists():
        items = _coded(codes)
    else:
        raise DataError(f"{folder} has neither items.tsv nor semantic_ids.json: add the list of items.")
    lines = [_checked(path, number, line) for number, line in tables.json_lines(path)]
    if not lines:
        raise DataError(f"{path} holds no sequences: download it again.")
    user = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    item = tables.placed(path, "item", np.concatenate([np.asarray(line, np.int64) for line in lines]), items.ids)
    name = {"train.jsonl": "Last.fm sequences", "sequences.jsonl": "Instruments 2018"}[path.name]
    return Log.of(name, user, item, items, np.arange(len(lines)))


def _checked(path: Path, number: int, line: Any) -> list[int]:
    if not isinstance(line, list) or not line or not all(type(item) is int for item in line):
        raise DataError(
            f"{path}, line {number}: expected a list of item numbers: mend the line or download the file again."
        )
    return line


def _coded(path: Path) -> Items:
    """Items with their published semantic IDs, i32[I, L]."""
    with tables.reading(path):
        table = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(table, dict) or not all(id.isdigit() for id in table):
        raise DataError(f"{path} must hold a code for every item number: download it again.")
    ids = np.array(sorted(int(id) for id in table), np.int64)
    codes = [[LEVEL.fullmatch(str(level)) for level in table[str(id)]] for id in ids]
    levels = len(codes[0]) if codes else 0
    for id, code in zip(ids, codes, strict=True):
        if len(code) != levels or None in code:
            raise DataError(f"{path}: item {id} has no code of {levels} levels such as '<a_44>': download it again.")
    return Items(ids=ids, codes=np.array([[int(level[1]) for level in code if level] for code in codes], np.int32))
