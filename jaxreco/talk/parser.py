"""English back to instructions: what a text asks for, or a refusal that says what was not understood.

The names in a text are found first (`mentions`), then its words are taken phrase by phrase (`lexicon`) and gathered to
clauses (`clauses`), and these are put together to requests (here). Every word must have its place: one that has none
might turn the meaning round, so the text is refused rather than guessed at.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog, Instruction, Names
from jaxreco.talk import mentions, naming
from jaxreco.talk.clauses import AGAINST, AIMED, EXAMPLE, Clause, Request, clauses
from jaxreco.talk.grammar import CAUSE, INTENT, KIND, STRENGTHS
from jaxreco.talk.lexicon import PLAINLY
from jaxreco.talk.mentions import NotUnderstood
from jaxreco.talk.naming import Target

LONGEST = 500  # letters of a text
IMPLIED = {"long": "shorter", "short": "longer", "stale": "fresher"}  # what a cause asks for when nothing else does

# A cue about what an earlier one named, such as "too much news, something related": what the two mean.
_ONE_AFTER_THE_OTHER = {
    ("more", "like"): "like", ("more", "related"): "related", ("like", "more"): "like", ("like", "related"): "related",
    ("less", "related"): "related", ("less", "never"): "never", ("never", "less"): "never",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Heard:
    """One request that was understood."""

    instruction: Instruction  # scalars
    intent: str  # of grammar.INTENTS
    target_kind: str  # of grammar.TARGET_KINDS
    target: str | None  # name of the target
    target_id: int | None
    category: str | None  # name of the target's category; a tag's or creator's most usual one
    strength: float  # of grammar.STRENGTHS
    cause: str  # of grammar.CAUSES
    corrections: tuple[tuple[str, str], ...]  # (as typed, as understood), in the whole text


def understand(text: str, names: Names | None, catalog: Catalog) -> list[Heard]:
    """What a text asks for, in the order said.

    Args:
      text: English, at most LONGEST letters.
      names: of the catalog; None knows only "category 3", "item 17".
      catalog: for the number of targets, and the category of each.

    Raises NotUnderstood (a ValueError) when nothing is asked for, a word has no place, a name is not in the catalog or
    in it several times, or two requests contradict each other.
    """
    if len(text) > LONGEST:
        raise NotUnderstood(f"The text has {len(text):,} letters: say it in at most {LONGEST}.")
    found = mentions.find(text, names, catalog)
    if not found.tokens:
        raise NotUnderstood(f"There are no words in the text. {EXAMPLE}")
    reader = _Reader(found.targets)
    for clause in clauses(found, names):
        reader.take(clause)
    asked = _single(reader.finish(), found.targets)
    _check(asked)
    return [_heard(*one, found.corrections, names, catalog) for one in asked]


# -- requests ------------------------------------------------------------------------------------------------


class _Reader:
    """Puts clauses together to requests."""

    def __init__(self, targets: tuple[Target, ...]) -> None:
        self.targets = targets
        self.requests: list[Request] = []
        self.loose: list[int] = []  # names that wait for a cue
        self.waiting: Request | None = None  # a cue that waits for a name
        self.cause = ""  # one that waits for a request

    def take(self, clause: Clause) -> None:
        """Take the next clause."""
        made = len(self.requests)
        if clause.cues:
            self._cues(clause)
        elif clause.names:
            self._names(clause)
        elif clause.wish in ("wish", "hope") and clause.pronoun:
            self._aimless(Request("more", level=clause.level))
        elif clause.wish and self.loose:
            self.requests.append(Request("more", self._loose(), clause.level))
        elif clause.pronoun:
            raise NotUnderstood("It is not clear what is meant: name the category, tag, creator or video.")
        elif clause.level is not None and self.requests:
            self.requests[-1].level = clause.level
        if clause.against:
            if not (clause.names or clause.cues) or any(cue.intent != "more" for cue in clause.cues):
                raise NotUnderstood('Say what you want less of: "more cooking, less news".')
            self.requests.append(Request("less", clause.against))
        self._causes(clause.causes, made)

    def _cues(self, clause: Clause) -> None:
        """Requests of a clause with cues."""
        first = clause.cues[0]
        after = bool(clause.names) and first.intent in AIMED and not first.names  # "cooking and music more"
        if after:
            first.names = (self._loose() if clause.joint in ("comma", "and") else []) + clause.names
        elif clause.wished:
            self.requests.append(Request("more", clause.names))
        else:
            self.loose += clause.names
        for cue in clause.cues:
            cue.open = not (after and cue is first)
            if cue.names and cue.intent not in AIMED:
                names = self._spell(cue.names)
                raise NotUnderstood(f'"{cue.intent}" cannot be asked of {names} alone: leave the name out.')
            if cue.intent in AIMED and not cue.names:
                self._aimless(cue)
                continue
            if self.waiting and cue.names and clause.joint == "and":  # "more and less of music"
                self.waiting.names = list(cue.names)
                self.requests.append(self.waiting)
                self.waiting = None
            self.requests.append(cue)

    def _names(self, clause: Clause) -> None:
        """A clause with names and no cue."""
        last = self.requests[-1] if self.requests else None
        wished = clause.wish in ("wish", "hope") or bool(clause.against)
        if self.waiting and not wished:  # "More! Music!"
            self.waiting.names = clause.names
            self.requests.append(self.waiting)
            self.waiting = None
        elif last and last.open and last.names and clause.joint in ("comma", "and") and not wished:
            last.names += clause.names
            last.unsure = clause.joint == "comma" and last.intent in AGAINST
        elif wished or clause.wish:
            self.requests.append(Request("more", self._loose() + clause.names, clause.level, open=True))
        else:
            self.loose += clause.names

    def _aimless(self, cue: Request) -> None:
        """A cue without a name of its own is about what was named before."""
        last = self.requests[-1] if self.requests else None
        if self.loose:
            cue.names = self._loose()
            self.requests.append(cue)
        elif last is None or not last.names:
            self.waiting = self.waiting or cue
        elif (last.intent, cue.intent) == ("never", "related"):
            cue.names = list(last.names)
            self.requests.append(cue)
        else:
            both = _ONE_AFTER_THE_OTHER.get((last.intent, cue.intent))
            if both is None and last.intent != cue.intent:
                raise NotUnderstood(f"It is not clear whether you want more or less of {self._spell(last.names)}.")
            last.intent = both or cue.intent
            last.level = last.level if cue.level is None else cue.level
            last.cause = cue.cause if last.cause == "none" else last.cause
            last.open = False

    def _loose(self) -> list[int]:
        """The names that waited for a cue; they wait no more."""
        names, self.loose = self.loose, []
        return names

    def _causes(self, causes: list[str], made: int) -> None:
        """Give a reason to the request of its clause, else to the one before, else to the next."""
        if len(self.requests) > made and self.cause:
            self.requests[made].cause, self.cause = self.cause, ""
        for cause in causes:
            if self.requests:
                self.requests[-1].cause = cause
            else:
                self.cause = cause

    def finish(self) -> list[Request]:
        """All requests. Raises NotUnderstood where something is left over, or two contradict each other."""
        if self.cause in IMPLIED and not (self.requests or self.waiting or self.loose):
            self.requests.append(Request(IMPLIED[self.cause], cause=self.cause))
        if self.waiting:
            what = "the title of the video" if self.waiting.intent == "like" else "a category, tag, creator or video"
            raise NotUnderstood(f'"{self.waiting.intent}" needs {what}: name it.')
        if self.loose:
            raise NotUnderstood(f"Say whether you want more or less of {self._spell(self.loose)}.")
        if not self.requests:
            raise NotUnderstood(f"There is no request in the text. {EXAMPLE}")
        for request in self.requests:
            if request.unsure:
                raise NotUnderstood(f'Is {self._spell(request.names[-1:])} unwanted too? Join by "and", or say "more".')
        return self.requests

    def _spell(self, names: list[int]) -> str:
        return " and ".join(f'"{self.targets[i].name}"' for i in dict.fromkeys(names))


# -- answers -------------------------------------------------------------------------------------------------

_Asked = tuple[str, Target | None, int, str]  # intent, target, level, cause


def _single(requests: list[Request], targets: tuple[Target, ...]) -> list[_Asked]:
    """Requests of one target each. What is asked twice is one request, as strong as the stronger of the two."""
    asked: dict[tuple[str, Target | None], _Asked] = {}
    for request in requests:
        level = PLAINLY if request.level is None else request.level
        aims: list[Target | None] = [targets[i] for i in request.names]
        for target in aims or [None]:
            intent = _intent(request.intent, target)
            *_, other_level, other_cause = asked.get((intent, target), (0, "none"))
            cause = request.cause if other_cause == "none" else other_cause
            asked[intent, target] = (intent, target, max(level, other_level), cause)
    return list(asked.values())


def _intent(cue: str, target: Target | None) -> str:
    """The intent of a cue for what it is about: something like a video, but something related to cooking."""
    if target is None or cue not in ("like", "as"):
        return cue
    if cue == "as" and target.kind != "item":
        raise NotUnderstood(f'Say "more {target.name}", or "something related to {target.name}".')
    return "like" if target.kind == "item" else "related"


def _check(asked: list[_Asked]) -> None:
    """Refuse what contradicts itself, or what the grammar has no place for."""
    wanted = {target for intent, target, *_ in asked if intent in ("more", "like")}
    for intent, target, *_ in asked:
        if target is not None and intent == "related" and target.kind == "creator":
            raise NotUnderstood(f'"{intent}" is about a category, a tag or a video, and "{target.name}" is a creator.')
        if target is not None and intent in AGAINST and target in wanted:
            raise NotUnderstood(f'That asks for more and for less of "{target.name}": say one of them.')
    if {"shorter", "longer"} <= {intent for intent, *_ in asked}:
        raise NotUnderstood("That asks for shorter and for longer videos: say one of them.")


def _heard(
    intent: str,
    target: Target | None,
    level: int,
    cause: str,
    corrections: tuple[tuple[str, str], ...],
    names: Names | None,
    catalog: Catalog,
) -> Heard:
    kind, number = (target.kind, target.id) if target else ("none", EMPTY)
    said = (INTENT[intent], KIND[kind], number, STRENGTHS[level], CAUSE[cause])
    return Heard(
        instruction=Instruction.of(*(jnp.asarray(x) for x in said)),
        intent=intent,
        target_kind=kind,
        target=target.name if target else None,
        target_id=target.id if target else None,
        category=_category(target, names, catalog) if target else None,
        strength=STRENGTHS[level],
        cause=cause,
        corrections=corrections,
    )


def _category(target: Target, names: Names | None, catalog: Catalog) -> str | None:
    """The name of the category that a target belongs to, or most often does; None where it has no items."""
    if target.kind == "category":
        return target.name
    category = np.asarray(catalog.category)
    if target.kind == "item":
        return naming.name_of("category", int(category[target.id]), names)
    of_target = {
        "tag": lambda: np.any(np.asarray(catalog.tags) == target.id, axis=-1),
        "creator": lambda: np.asarray(catalog.creator) == target.id,
    }[target.kind]()
    counts = np.bincount(category[of_target])
    return naming.name_of("category", int(np.argmax(counts)), names) if counts.size else None
