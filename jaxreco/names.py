"""Suggestions for a mistyped name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

# A name that much less alike than the nearest is not meant: endings such as "-v0" make all a little alike.
CLEARLY = 0.2


def several(asked: str, able: Sequence[str], unknown: str) -> tuple[str, ...]:
    """The names that were asked for, with commas and each once, or all where that is "all".

    Raises ValueError for a name that is not able: `unknown`, the name, and the nearest.
    """
    chosen = tuple(able) if asked == "all" else tuple(dict.fromkeys(name.strip() for name in asked.split(",")))
    for name in chosen:
        if name not in able:
            raise ValueError(f"{unknown} {name!r}.{closest(name, able)}")
    return chosen


def closest(name: str, known: Iterable[str]) -> str:
    """A sentence that begins with a space: the nearest known names, or all of them when none is near."""
    names = sorted(known)
    lower = {n.lower(): n for n in names}
    found = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)  # the nearest first
    alike = [difflib.SequenceMatcher(None, n, name.lower()).ratio() for n in found]
    near = [lower[n] for n, ratio in zip(found, alike, strict=True) if ratio > alike[0] - CLEARLY]
    if near:
        return f" Did you mean {' or '.join(near)}?"
    return f" Known: {', '.join(names)}." if names else ""
