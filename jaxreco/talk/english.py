"""Instructions and traces in English, on the host. `parser` reads the sentences of `say` back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from jaxreco.base import Catalog, Instruction, Names, Trace
from jaxreco.talk import naming
from jaxreco.talk.grammar import CAUSES, INTENTS, STRENGTHS, TARGET_KINDS
from jaxreco.talk.templates import EASED, REASON, TEMPLATES, UNKNOWN, WHY
from jaxreco.talk.words import words

_CHOICE = re.compile(r"\[([^\]|]*)\|([^\]|]*)\|([^\]]*)\]")
_PLACE = re.compile(r"<([^<>]*)>")  # of a reason


def say(instruction: Instruction, names: Names | None, variant: int = 0, *, held_out: bool = False) -> str:
    """An instruction as an English sentence; "" for silence.

    Args:
      instruction: scalars, on host or device; the strength is rounded to the nearest of `grammar.STRENGTHS`.
      names: of the catalog; None says "category 3" and "item 17".
      variant: which template and which wording of the reason, modulo their number.
      held_out: choose from the half that is kept for testing.

    Raises ValueError for an intent, kind or cause that the grammar does not have.
    """
    intent = _named(INTENTS, instruction.intent, "intent")
    if intent == "silent":
        return ""
    kind = _named(TARGET_KINDS, instruction.target_kind, "kind of target")
    cause = _named(CAUSES, instruction.cause, "cause")
    templates = _half(TEMPLATES[intent], held_out)
    sentence = templates[variant % len(templates)]
    level = round(float(instruction.strength) * len(STRENGTHS)) - 1
    level = min(max(level, 0), len(STRENGTHS) - 1)
    sentence = _CHOICE.sub(lambda found: found[level + 1], sentence)
    wordings = _half(WHY[cause], held_out) if cause != "none" else ()
    # A second digit of the variant: all templates with one wording, then all with the next.
    why = wordings[variant // len(templates) % len(wordings)] if wordings else ""
    return _complete(sentence, why, *_target(kind, int(instruction.target), names))


def explain(trace: Trace, names: Names | None, catalog: Catalog | None = None) -> list[str]:
    """The reasons of a trace in the trace's order, strongest first, each a clause with its amount.

    Such as "too much hairstyling lately: 'Curly cuts at midnight' (+0.8)". Amounts are logits by which the reason
    raised the urge to leave.

    Args:
      trace: of one user, on host or device.
      names: of the catalog; None says "item 17".
      catalog: names the item's category and creator too.

    Raises ValueError for a cause that the grammar does not have.
    """
    rows = zip(np.asarray(trace.cause), np.asarray(trace.amount), np.asarray(trace.item), strict=True)
    return [_reason(cause, float(amount), int(item), names, catalog) for cause, amount, item in rows if cause > 0]


def label(kind: str, target: int, names: Names | None) -> str:
    """The name of a target as a sentence has it: in quotes, with its kind, or as a number, where that is needed.

    Args: kind: of `grammar.TARGET_KINDS`, not "none". target: its id. names: None says "category 3".
    """
    name = naming.name_of(kind, target, names)
    of_this_name = naming.index(names).exact.get(words(name), [])
    same_kind = [other for other in of_this_name if other.kind == kind]
    if len(same_kind) != 1 or '"' in name:  # no name, no words in it, several so called
        return f"{kind} {target}"
    quoted = f'"{name}"' if "'" in name else f"'{name}'"
    prefix = "" if of_this_name[0].kind == kind else f"the {kind} "
    if kind == "item" or naming.needs_quotes(words(name), names):
        return prefix + quoted
    return prefix + name


def _target(kind: str, target: int, names: Names | None) -> tuple[str, str]:
    """The target as it stands alone, and after a quantity."""
    if kind == "none" or target < 0:
        return "that", "of that"  # no user says so: these intents have a target
    name = label(kind, target, names)
    if kind == "creator":
        return f"videos by {name}", f"from {name}"
    return name, (f"of {name}" if kind == "item" else name)


def _complete(sentence: str, why: str, x: str, of: str) -> str:
    """The sentence with its reason and its target, capitals and full stops."""
    woven = why and "{why}" in sentence
    sentence = _PLACE.sub(r"\1" if woven else "", sentence)
    filling = {"x": x, "of": of, "why": why}
    said = re.sub(r"\{(\w+)\}", lambda found: filling[found[1]], sentence)
    parts = [said] if woven or not why else [said, why + "."]
    return " ".join(part[0].upper() + part[1:] for part in parts)


def _reason(cause: Any, amount: float, item: int, names: Names | None, catalog: Catalog | None) -> str:
    of = dict(UNKNOWN)
    if catalog is not None and 0 <= item < catalog.n_items:
        of["category"] = label("category", int(catalog.category[item]), names)
        of["creator"] = label("creator", int(catalog.creator[item]), names)
    name = _named(CAUSES, cause, "cause")
    words = (EASED.get(name, REASON[name]) if amount < 0 else REASON[name]).format(**of)
    title = f": {label('item', item, names)}" if item >= 0 else ""
    return f"{words}{title} ({f'{amount:+.2f}'.rstrip('0').rstrip('.')})"


def _named(table: tuple[str, ...], index: Any, what: str) -> str:
    if not 0 <= int(index) < len(table):
        raise ValueError(f"{what} {int(index)} is not in the grammar, which has 0 to {len(table) - 1}.")
    return table[int(index)]


def _half(wordings: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    middle = len(wordings) // 2
    return wordings[middle:] if held_out else wordings[:middle]
