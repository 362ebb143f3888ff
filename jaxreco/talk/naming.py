"""The names of a catalog by their words: what is called so, nearly so, or somewhat like it."""

from __future__ import annotations

import difflib
import functools
import re
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from jaxreco.base import Catalog, Names
from jaxreco.talk import lexicon
from jaxreco.talk.words import printable, slips, stem, words

KINDS = ("category", "tag", "creator", "item")  # of two targets with one name, the earlier kind is meant
SLIPS = 2  # at most, in all words of a name together
_ARTICLES = "The|A|An|Le|La|Les|El|Il|Das|Der|Die"

Name = tuple[str, ...]  # its words


class Target(NamedTuple):
    """One thing of a catalog that an instruction may be about."""

    kind: str
    id: int
    name: str  # as the catalog has it; "category 3" where it has no names


class Index(NamedTuple):
    """The names of a catalog by their words."""

    exact: dict[Name, list[Target]]
    loose: dict[Name, list[Target]]  # a title without its year, one guitar cover
    short: dict[str, list[Name]]  # names of all but items by their first letter, but for everyday words
    titles: dict[str, set[Name]]  # titles by each of their words
    longest: int  # words of a name


@functools.lru_cache(maxsize=4)
def index(names: Names | None) -> Index:
    """The names of a catalog by their words. Read only: it is kept for the next call."""
    exact, loose, short = (defaultdict[Any, Any](list) for _ in range(3))
    titles: dict[str, set[Name]] = defaultdict(set)
    for kind in KINDS:
        for i, written in enumerate(names_of(kind, names)):
            target, name = Target(kind, i, name_of(kind, i, names)), words(written)
            if not name:
                continue
            exact[name].append(target)
            for other in _loosely(target, name):
                loose[other].append(target)
            if kind != "item" and not is_everyday(name):
                short[name[0][0]].append(name)
            for word in name if kind == "item" else ():
                titles[word].add(name)
    longest = max((len(name) for name in exact), default=1)
    return Index(dict(exact), dict(loose), dict(short), dict(titles), longest)


def names_of(kind: str, names: Names | None) -> tuple[str, ...]:
    """All names of a kind of target; () without names."""
    if names is None:
        return ()
    return {"category": names.categories, "tag": names.tags, "creator": names.creators, "item": names.titles}[kind]


def name_of(kind: str, target: int, names: Names | None) -> str:
    """The name of a target as it may be printed, or such as "category 3"."""
    known = names_of(kind, names)
    return (printable(known[target]).strip() if 0 <= target < len(known) else "") or f"{kind} {target}"


def sizes(names: Names | None, catalog: Catalog) -> tuple[int, ...]:
    """How many targets each of KINDS has: as many as are named, else as appear in the catalog."""
    largest = (catalog.category, catalog.tags, catalog.creator)
    counted = (*(int(np.max(ids, initial=-1)) + 1 for ids in largest), catalog.n_items)
    return tuple(len(names_of(kind, names)) or n for kind, n in zip(KINDS, counted, strict=True))


def is_everyday(name: Name) -> bool:
    """Whether its words may be part of a request: one that phrases hold, or several that are phrases."""
    if len(name) > 1:
        return all(word.isdigit() or word in lexicon.vocabulary() for word in name) and lexicon.has_place(name)
    return all(word in lexicon.vocabulary() or word.isdigit() for word in name)


def needs_quotes(name: Name, names: Names | None) -> bool:
    """Whether only quotes tell the name from the sentence around it: "short", or "more music" beside "music"."""
    known = index(names).exact
    return is_everyday(name) or any(name[i:] in known and is_everyday(name[:i]) for i in range(1, len(name)))


def near(name: Name, names: Names | None, most: int = 3) -> list[str]:
    """The names that look most like some words: first those that share a word; [] where none does."""
    known = index(names).exact
    stems = {stem(word) for word in name if len(word) > 3 and word not in lexicon.vocabulary()}
    topics = {words: targets[0].name for words, targets in known.items() if targets[0].kind in ("category", "tag")}
    others = {words: targets[0].name for words, targets in known.items() if words not in topics}
    found = [topics[words] for words in topics if stems & {stem(word) for word in words}]
    for table, cutoff in ((topics, 0.6), (others, 0.75)):  # names of people look alike by chance
        spelled = {" ".join(words): full for words, full in table.items()}
        found += [spelled[words] for words in difflib.get_close_matches(" ".join(name), spelled, most, cutoff)]
    return list(dict.fromkeys(found))[:most]


def name_slips(typed: Name, name: Name, strict: bool) -> int | None:
    """Slips of the finger between what was typed and a name; None where it is another name.

    Args: strict: of people, where one letter makes another person. Else "curly cutz" is a slip for "curly cuts".
    """
    if len(typed) != len(name):
        return 0 if "".join(typed) == "".join(name) else None
    total = 0
    for a, b in zip(typed, name, strict=True):
        count = slips(a, b, substitutes=5 if strict or len(name) == 1 else 4)
        if count is None and stem(a) == stem(b):
            count = 1
        if count is None or total + count > SLIPS:
            return None
        total += count
    return total


def _loosely(target: Target, name: Name) -> set[Name]:
    """What else people call it: a title without its year and with its article in front, one of many."""
    if target.kind == "item":
        bare = re.sub(r"\s*\([^()]*\)", "", target.name)
        turned = re.sub(rf"^(.*), ({_ARTICLES})$", r"\2 \1", bare)
        return {words(bare), words(turned)} - {name, ()}
    if target.kind == "creator":
        return set()
    last = name[-1].removesuffix("s") if name[-1].endswith("s") else name[-1] + "s"
    other = (*name[:-1], last)
    return set() if is_everyday(other) else {other}
