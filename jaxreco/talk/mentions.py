"""Names in a text: of categories, tags, creators and items, in full, without what people leave out, or mistyped."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jaxreco.base import Catalog, Names
from jaxreco.errors import JaxrecoError
from jaxreco.talk import lexicon, naming
from jaxreco.talk.naming import KINDS, SLIPS, Name, Target, is_everyday
from jaxreco.talk.words import COMMA, STOP, normal, printable, slips, words

_SAID_KINDS = {
    "category": "category", "genre": "category", "tag": "tag", "creator": "creator", "channel": "creator",
    "item": "item", "title": "item", "film": "item", "movie": "item",
}  # fmt: skip
_QUOTED = re.compile(r"""["“”„«]([^"“”„«»]+)["“”»]|(?<!\w)['‘](?=\S)(.+?)['’](?!\w)""")
_SHORT, _LONG = 4, 3  # words at most of a tag, at least of a title, that is guessed outside quotes


class NotUnderstood(JaxrecoError):
    """A text that asks for nothing the grammar can say, or not clearly.

    `reason` is a sentence; `words` are those not understood, "" for none; `nearest` are names that may be meant.
    """

    def __init__(self, reason: str, words: str = "", nearest: Iterable[str] = ()) -> None:
        self.reason, self.words, self.nearest = printable(reason), printable(words).strip(), tuple(nearest)
        super().__init__(self.reason + (f" Did you mean {' or '.join(self.nearest)}?" if self.nearest else ""))


class Found(NamedTuple):
    """A text with its names found: `tokens` are words, separators, and "@0", "@1", ... for `targets`; () if none."""

    tokens: tuple[str, ...]
    targets: tuple[Target, ...]
    corrections: tuple[tuple[str, str], ...]  # (as typed, as understood)


def find(text: str, names: Names | None, catalog: Catalog) -> Found:
    """The text in normal form with its names found, and mistyped words corrected where one is nearest.

    Raises NotUnderstood for a name in quotes that nothing has, a number that is out of range, and where several
    targets are equally near.
    """
    search = _Search(names, catalog)
    search.read(text)
    search.take_numbered()
    search.correct_unknown()
    for start, end, target in reversed(list(search.written())):
        search.tokens[start:end] = [search.mention(target)]
    said = search.tokens if any(token not in (COMMA, STOP) for token in search.tokens) else []
    return Found(tuple(said), tuple(search.targets), tuple(search.corrections))


class _Search:
    """A text on its way to `Found`."""

    def __init__(self, names: Names | None, catalog: Catalog) -> None:
        self.index, self.sizes, self.names = naming.index(names), naming.sizes(names, catalog), names
        self.tokens: list[str] = []
        self.targets: list[Target] = []
        self.corrections: list[tuple[str, str]] = []

    def read(self, text: str) -> None:
        """Take the words, and the names in quotes."""
        start = 0
        for found in _QUOTED.finditer(text):
            self.tokens += normal(text[start : found.start()])
            start = found.end()
            self.take_quoted(found[1] or found[2], alone=not words(text[: found.start()] + text[start:]))
        self.tokens += normal(text[start:])

    def take_quoted(self, text: str, alone: bool) -> None:
        """Take what stands in quotes: a name, or where the quotes hold the whole text, just the text."""
        name = words(text)
        target = self.meant(name, len(self.tokens), quoted=True)
        if target is None and (alone or is_everyday(name)):
            self.tokens += normal(text)
            return
        if target is None:
            candidates = {*self.similar_titles(name), *(n for n in self.index.exact if len(n) <= _SHORT)}
            target = self.guess(name, candidates)
        if target is None:
            raise NotUnderstood(
                f'Nothing in the catalog is called "{text.strip()}".', text, naming.near(name, self.names)
            )
        self.tokens.append(self.mention(target))

    def take_numbered(self) -> None:
        """Take "category 3" and its like."""
        for i in reversed(range(len(self.tokens) - 1)):
            kind, number = self.tokens[i : i + 2]
            if kind not in KINDS or not re.fullmatch("[0-9]{1,9}", number):
                continue
            last = self.sizes[KINDS.index(kind)] - 1
            if int(number) > last:
                raise NotUnderstood(f"There is no {kind} {number}: the last is {last}.", f"{kind} {number}")
            target = Target(kind, int(number), naming.name_of(kind, int(number), self.names))
            self.tokens[i : i + 2] = [self.mention(target)]

    # -- written out -------------------------------------------------------------------------------------------

    def written(self) -> Iterator[tuple[int, int, Target]]:
        """The names that are written out, from the left, longest first: (first token, end, target)."""
        start = 0
        while start < len(self.tokens):
            ends = range(min(len(self.tokens), start + 2 * self.index.longest), start, -1)
            found = next(((end, target) for end in ends if (target := self.at(start, end))), None)
            if found is not None:
                yield start - bool(self.said_kind(start)), *found
            start = found[0] if found else start + 1

    def at(self, start: int, end: int) -> Target | None:
        """The target whose name is tokens[start:end]."""
        span = self.tokens[start:end]
        if not _is_word(span[0]) or not _is_word(span[-1]):
            return None
        name = tuple(token for token in span if token not in (COMMA, STOP))
        target = self.meant(name, start)
        # Over a comma, only a name that has one itself.
        return target if target is None or len(name) == len(span) or re.search(r"[^\w\s'-]", target.name) else None

    def meant(self, name: Name, start: int, quoted: bool = False) -> Target | None:
        """The target called so, of the kind that is said before tokens[start], else of the earliest kind."""
        found = self.index.exact.get(name) or self.index.loose.get(name)
        if not found:
            return None
        kind = self.said_kind(start)
        if kind is None and not quoted:  # "more speed" is not about the film of that name
            found = [target for target in found if target.kind != "item" or len(name) > 1]
            found = [] if naming.needs_quotes(name, self.names) else found
        found = [target for target in found if target.kind == (kind or found[0].kind)]
        if len(found) > 1:
            several = [f"{target.kind} {target.id}" for target in found[:4]]
            raise NotUnderstood(f'Several in the catalog are called "{found[0].name}".', " ".join(name), several)
        return found[0] if found else None

    def said_kind(self, start: int) -> str | None:
        """The kind of the name that begins at tokens[start], where it is said: "the tag drama"."""
        return _SAID_KINDS.get(self.tokens[start - 1]) if start else None

    def mention(self, target: Target) -> str:
        """The token that stands for a target."""
        self.targets.append(target)
        return f"@{len(self.targets) - 1}"

    # -- mistyped ----------------------------------------------------------------------------------------------

    def correct_unknown(self) -> None:
        """Put the nearest name, or the nearest word of the lexicon, in the place of words that nobody knows."""
        done = 0
        while (i := next((i for i in self.unknown() if i >= done), None)) is not None:
            squeezed = _squeeze(self.tokens[i])
            if squeezed == self.tokens[i]:
                done = self.correct(i)
            else:
                self.tokens[i] = squeezed  # and look at it again

    def unknown(self) -> list[int]:
        """Places of the words that are neither in the lexicon nor in a name that is written out."""
        named = {place for start, end, _ in self.written() for place in range(start, end)}
        known = lexicon.vocabulary()
        return [i for i, t in enumerate(self.tokens) if _is_word(t) and t not in known and i not in named]

    def correct(self, i: int) -> int:
        """Correct the word at i, unless a name and a word of the lexicon are equally near. Returns where to go on."""
        guesses = sorted(self.names_at(i))
        best = [guess for guess in guesses if guess[:2] == guesses[0][:2]]
        count, width, start, end, _ = best[0] if best else (SLIPS + 1, 0, i, i + 1, ())
        word = _nearest_word(self.tokens[i])
        if word and count > 1:
            self.corrections.append((self.tokens[i], word))
            self.tokens[i] = word
        elif best and (not word or count == 0 or -width >= _LONG):
            typed = tuple(token for token in self.tokens[start:end] if _is_word(token))
            target = self.guess(typed, {name for *_, name in best})
            assert target is not None
            self.tokens[start:end] = [self.mention(target)]
            return start + 1
        return i + 1

    def names_at(self, i: int) -> Iterator[tuple[int, int, int, int, Name]]:
        """Names that words around i may be, and where: (slips, -words, first token, end, name)."""
        for start in range(max(0, i - _SHORT + 1), i + 1):
            for end in range(i + 1, min(len(self.tokens), start + _SHORT) + 1):
                typed = tuple(self.tokens[start:end])
                if all(_is_word(token) for token in typed):
                    names = self.index.short.get(typed[0][0], [])
                    yield from ((n, -len(typed), start, end, name) for n, name in self.counted(typed, names))
        yield from self.titles_at(i)

    def titles_at(self, i: int) -> Iterator[tuple[int, int, int, int, Name]]:
        """Titles that words around i may be, commas left out, and where; as `names_at`."""
        places = [place for place, token in enumerate(self.tokens) if _is_word(token)]
        here, typed = places.index(i), tuple(self.tokens[place] for place in places)
        for name in self.similar_titles(typed):
            for first in range(max(0, here - len(name) + 1), min(here, len(places) - len(name)) + 1):
                end = first + len(name)
                for n, _ in self.counted(typed[first:end], [name]):
                    yield n, -len(name), places[first], places[end - 1] + 1, name

    def similar_titles(self, typed: Name) -> set[Name]:
        """Long titles that have nearly all of their words in a text."""
        shared: dict[Name, int] = defaultdict(int)
        for word in set(typed):
            for name in self.index.titles.get(word, ()):
                shared[name] += 1
        return {name for name, n in shared.items() if len(name) >= _LONG and n >= len(set(name)) - SLIPS}

    def counted(self, typed: Name, names: Iterable[Name]) -> list[tuple[int, Name]]:
        """The names that typed words may be, each with the number of slips."""
        counts = [(naming.name_slips(typed, name, self.index.exact[name][0].kind == "creator"), name) for name in names]
        return [(count, name) for count, name in counts if count is not None]

    def guess(self, typed: Name, candidates: Iterable[Name]) -> Target | None:
        """The target nearest to what was typed, which is noted as a correction. Raises where several are."""
        counted = self.counted(typed, candidates)
        fewest = min((count for count, _ in counted), default=0)
        targets = [self.index.exact[name][0] for count, name in counted if count == fewest]
        text = " ".join(typed)
        if len(targets) > 1:
            raise NotUnderstood(f'"{text}" is near to several names.', text, sorted(t.name for t in targets)[:4])
        if targets:
            self.corrections.append((text, targets[0].name))
        return targets[0] if targets else None


def _squeeze(typed: str) -> str:
    """A word without letters drawn out: sooooo, tooooo, muuuusic."""
    twice, once = (re.sub(r"([^\W\d])\1{2,}", letters, typed) for letters in (r"\1\1", r"\1"))
    return twice if twice in lexicon.vocabulary() else once


@functools.lru_cache(maxsize=4096)
def _nearest_word(typed: str) -> str | None:
    """The one word of the lexicon that is a slip away. Short words are left alone: too many are words themselves."""
    if len(typed) < 4:
        return None
    words = [word for word in lexicon.vocabulary() if len(word) > 3 and slips(typed, word, substitutes=6) == 1]
    # Another form of a word is no slip: "he wants".
    return words[0] if len(words) == 1 and typed not in (words[0] + "s", words[0] + "d", words[0] + "r") else None


def _is_word(token: str) -> bool:
    return token not in (COMMA, STOP) and not token.startswith("@")
