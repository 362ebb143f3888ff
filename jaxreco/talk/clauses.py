"""A text as clauses: what stands between two joints, and which names and strengths go with which cue."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterator

from jaxreco.base import Names
from jaxreco.talk import lexicon, naming
from jaxreco.talk.grammar import CAUSE
from jaxreco.talk.lexicon import A_LOT, Sign
from jaxreco.talk.mentions import Found, NotUnderstood

AIMED = ("more", "less", "never", "related", "like", "as")  # cues that need a target
AGAINST = ("less", "never")
EXAMPLE = 'Say it like "less news", "more cooking and dance" or "surprise me".'
JOINTS = ("comma", "stop", "and", "break", "since", "because")  # each says more than the one before, and so do WISHES
WISHES = ("", "please", "hope", "wish")
FEW = 24  # categories that a refusal may list
_CUES = ("cue", "trait")
_OF_ONESELF = ("i am ", "i have ", "we are ")  # "I am trying to sleep" is a reason, but for what turns it round
_TURNING = {"not", "no", "never", "if", "unless", "when", "only", "without", "except", "kidding", "joking", "told"}
# Two cues side by side, such as "more like": what they mean together. Two against something are refused: "I don't
# want you to stop music", "I hate less music".
_SIDE_BY_SIDE = {("more", "more"): "more", ("more", "like"): "like", ("more", "as"): "like",
                 ("more", "related"): "related", ("related", "related"): "related"}  # fmt: skip


@dataclasses.dataclass
class Request:
    """A request under way; `names` are numbers of targets in the text."""

    intent: str
    names: list[int] = dataclasses.field(default_factory=list)
    level: int | None = None
    cause: str = "none"
    open: bool = False  # more names may follow: "less news, comedy and dance"
    unsure: bool = False  # a name followed after a comma, and no "and" yet


@dataclasses.dataclass
class Clause:
    """What stands between two joints."""

    joint: str  # the one before it
    names: list[int] = dataclasses.field(default_factory=list)  # before the first cue
    cues: list[Request] = dataclasses.field(default_factory=list)
    against: list[int] = dataclasses.field(default_factory=list)  # after "instead of"
    wish: str = ""  # of WISHES
    level: int | None = None  # of no cue, or of the next
    causes: list[str] = dataclasses.field(default_factory=list)
    pronoun: bool = False
    wished: bool = False  # the wish came before the names, which have no cue: "show me music, not news"
    aside: bool = False  # "instead of" was said

    def take(self, sign: Sign, before: Sign | None, cue_follows: bool) -> None:
        """Take the next sign. Raises NotUnderstood where it does not go with those before."""
        if sign.part == "name":
            if before is not None and before.part == "name" and before != sign:
                raise NotUnderstood('Two names stand side by side: name one thing at a time, or join them by "and".')
            names = self.against if self.aside else self.cues[-1].names if self.cues else self.names
            names.append(int(sign.value))
            self.wished |= bool(self.wish) and not self.cues
        elif sign.part in _CUES:
            self._cue(sign)
        elif sign.part == "cause":
            self.causes.append(sign.value)
        elif sign.level is not None:
            self._strength(sign.level, cue_follows)
        if sign.part in WISHES:
            self.wish = max(self.wish, sign.part, key=WISHES.index)
        self.aside = sign.part == "instead" or (self.aside and sign.part not in ("wish", "cue"))
        self.pronoun |= sign.part == "pronoun"

    def _strength(self, level: int, cue_follows: bool) -> None:
        """A strength goes with the cue that follows, else with the one before, else with the clause."""
        if self.cues and not cue_follows:
            self.cues[-1].level = level if self.cues[-1].level is None else self.cues[-1].level
        else:
            self.level = level if self.level is None else min(level, self.level)  # "really a little more"

    def _cue(self, sign: Sign) -> None:
        """A cue, put together with the one before where that has no names of its own."""
        level, self.level = sign.level if self.level is None else self.level, None
        cue = Request(sign.value, level=level, cause=sign.cause)
        before = self.cues[-1] if self.cues else None
        if before is None or before.names or before.intent not in AIMED:
            self.cues.append(cue)
            return
        intent = _SIDE_BY_SIDE.get((before.intent, cue.intent))
        if before.intent == "more" and cue.intent not in AIMED:
            intent = cue.intent
        if intent is None and before.intent in AGAINST and cue.intent in AGAINST:
            raise NotUnderstood(f"Two negations stand side by side, and may undo each other. {EXAMPLE}")
        if intent is None:
            raise NotUnderstood(f'"{before.intent}" and "{cue.intent}" stand side by side: say one of them.')
        before.cause = max(before.cause, cue.cause, key=CAUSE.__getitem__)
        before.level = cue.level if before.level is None else before.level
        before.intent = intent

    def check(self, signs: list[Sign]) -> None:
        """Raise NotUnderstood where it may be a wish or a complaint."""
        trait = next((sign.value for sign in signs if sign.part == "trait"), None)
        if trait and not self.wish and not any(sign[:2] == ("cue", "more") for sign in signs):
            raise NotUnderstood(f'That may be a wish or a complaint: say "{trait} ones, please" if it is a wish.')
        if self.wish == "hope" and any(cue.intent in AGAINST for cue in self.cues):
            raise NotUnderstood(f"That may be read in more than one way. {EXAMPLE}")


def clauses(found: Found, names: Names | None) -> Iterator[Clause]:
    """The clauses of a text, in order. Raises NotUnderstood where a word has no place in any."""
    parts = [(joint, signs) for joint, signs in _split(_signs(found)) if not _mere_reason(joint, signs)]
    missed = [sign.value for _, signs in parts for sign in signs if sign.part == "missed"]
    if missed:
        raise _unknown(missed, found, names)
    for joint, signs in parts:
        clause = Clause(joint)
        for i, sign in enumerate(signs):
            following = next((s.part for s in signs[i + 1 :] if s.part not in ("strength", *WISHES)), "")
            clause.take(sign, signs[i - 1] if i else None, following in _CUES)
        clause.check(signs)
        yield clause


def _mere_reason(joint: str, signs: list[Sign]) -> bool:
    """Whether these signs only say why, in words that are not known: "because it makes me sad"."""
    parts = {sign.part for sign in signs}
    if "missed" not in parts or parts & {"name", "cue", "trait", "today"}:
        return False
    if joint == "because":
        return True
    said = " ".join(sign.value for sign in signs if sign.part == "missed")
    if joint == "since":  # "since I am vegan", but not "since 2010"
        return signs[0].part == "pronoun" or said.split()[0] in ("i", "you", "we", "my")
    return said.startswith(_OF_ONESELF) and not _TURNING & set(said.split())


def _split(signs: list[Sign]) -> Iterator[tuple[str, list[Sign]]]:
    """The signs between joints, with the joint before them; of several in a row the one that says most."""
    joint, held = "comma", list[Sign]()
    for sign in (*signs, Sign("stop")):
        if sign.part not in JOINTS:
            held.append(sign)
        elif held:
            yield joint, held
            joint, held = sign.part, []
        else:
            joint = max(joint, sign.part, key=JOINTS.index)


def _signs(found: Found) -> list[Sign]:
    """The signs of a text.

    Names are Sign("name", number), where the first mention stands for all of one thing; words that have no place,
    as many as stand together, are Sign("missed", words).
    """
    line = "".join(token + " " for token in found.tokens)
    line = re.sub(r"^((no|nope|yes|yeah) [,.] )+", "", line)  # "No, more music" is not "no more music"
    signs: list[Sign] = []
    place = end_of_missed = 0
    while place < len(line):
        here = lexicon.sign_at(line, place)
        if here is None:
            end = line.index(" ", place) + 1
            before = signs.pop().value + " " if signs and place == end_of_missed else ""
            signs.append(Sign("missed", before + line[place : end - 1]))
            place = end_of_missed = end
            continue
        sign, numbers, end = here
        said = [Sign("name", str(found.targets.index(found.targets[number]))) for number in numbers]
        own = [sign] if sign.part not in ("name", "filler") else []
        signs += said + own if line.startswith("@", place) else own + said
        place = end
    return _for_today(signs)


def _for_today(signs: list[Sign]) -> list[Sign]:
    """The signs, where "no news today" is not for ever."""
    if all(sign.part != "today" for sign in signs):
        return signs
    return [Sign("cue", "less", A_LOT) if sign[:2] == ("cue", "never") else sign for sign in signs]


def _unknown(missed: list[str], found: Found, names: Names | None) -> NotUnderstood:
    """The refusal of words that have no place."""
    strange = [words for words in missed if set(words.split()) - lexicon.vocabulary()]
    near = [name for words in strange[:3] for name in naming.near(tuple(words.split()), names)]
    quoted = " and ".join(f'"{textwrap.shorten(words, 60, placeholder=" ...")}"' for words in missed[:4])
    reason = "no name in the catalog, and no word I know" if strange else "no part of a request I know"
    categories = naming.names_of("category", names)
    if strange and not (near or found.targets) and 0 < len(categories) <= FEW:
        reason += f". The categories are {', '.join(categories)}"
    return NotUnderstood(f"I do not understand {quoted}: {reason}.", " ".join(missed), dict.fromkeys(near))
