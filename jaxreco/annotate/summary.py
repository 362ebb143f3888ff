"""What the answers say: how often the simulated side is preferred, how sure that is, and how far people agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxreco.annotate.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha, wilson
from jaxreco.annotate.answers import CHOICES, Answer
from jaxreco.annotate.pairs import KINDS, Pair

NAMED = 5  # missing pairs that a note names; of more it gives the number


@dataclasses.dataclass(frozen=True)
class Summary:
    """One kind of pair. NaN where nothing can be said.

    Args:
      pairs: pairs with an answer. people, answers, undecided: who answered, how many answers, how many "can't tell".
      share: mean over pairs of the answers for the simulated side, "can't tell" counted as a half; low, high: its 95 %
        Wilson interval over pairs. Answers to one pair are not independent, so they do not narrow it.
      measure: "Cohen's kappa" of two people, "Fleiss' kappa" of more, "" of one.
      kappa: agreement over the pairs that everybody answered, complete of them.
      alpha: Krippendorff's alpha over all pairs with two answers or more.
    """

    kind: str
    pairs: int
    people: int
    answers: int
    undecided: int
    share: float
    low: float
    high: float
    measure: str
    kappa: float
    complete: int
    alpha: float


def summarize(pairs: Sequence[Pair], answers: Sequence[Answer]) -> list[Summary]:
    """A summary of each kind of pair that there is. Labels of agreement are the sides A and B and "can't tell".

    Sides were drawn at random, so chance agreement does not grow with the share that prefers the simulated side.
    """
    return [
        _of_kind(kind, [pair for pair in pairs if pair.kind == kind], answers)
        for kind in KINDS
        if any(pair.kind == kind for pair in pairs)
    ]


def _of_kind(kind: str, pairs: Sequence[Pair], answers: Sequence[Answer]) -> Summary:
    given: dict[str, dict[str, str]] = {pair.id: {} for pair in pairs}  # pair -> person -> choice
    for answer in answers:
        if answer.pair in given:
            given[answer.pair][answer.person] = answer.choice
    people = sorted({person for choices in given.values() for person in choices})
    means = [_for_simulated(pair, given[pair.id]) for pair in pairs if given[pair.id]]
    choices = [choice for by_person in given.values() for choice in by_person.values()]
    share = float(np.mean(means)) if means else float("nan")
    low, high = wilson(share, len(means))
    complete = [by_person for by_person in given.values() if people and len(by_person) == len(people)]
    measure, kappa = _kappa(complete, people)
    return Summary(
        kind=kind,
        pairs=len(means),
        people=len(people),
        answers=len(choices),
        undecided=choices.count("can't tell"),
        share=share,
        low=low,
        high=high,
        measure=measure,
        kappa=kappa,
        complete=len(complete),
        alpha=krippendorff_alpha(_counts(list(given.values()))),
    )


def _for_simulated(pair: Pair, choices: dict[str, str]) -> float:
    """The mean of a pair's answers: 1 for the simulated side, 0 for the other, a half for neither."""
    worth = {"can't tell": 0.5, pair.simulated: 1.0}
    return float(np.mean([worth.get(choice, 0.0) for choice in choices.values()]))


def _kappa(complete: list[dict[str, str]], people: list[str]) -> tuple[str, float]:
    """(name, value) over pairs that all of these people answered."""
    if len(people) < 2:
        return "", float("nan")
    if len(people) == 2:
        first, second = ([choices[person] for choices in complete] for person in people)
        return "Cohen's kappa", cohen_kappa(first, second)
    return "Fleiss' kappa", fleiss_kappa(_counts(complete))


def _counts(given: list[dict[str, str]]) -> np.ndarray:
    """i[N, 3]: how often each choice was made of each pair."""
    rows = [[list(choices.values()).count(choice) for choice in CHOICES] for choices in given]
    return np.array(rows, int).reshape(-1, len(CHOICES))


def missing(pairs: Sequence[Pair], answers: Sequence[Answer]) -> list[str]:
    """A sentence for every person who has not answered all pairs."""
    notes = []
    for person in sorted({answer.person for answer in answers}):
        has = {answer.pair for answer in answers if answer.person == person}
        lacks = [pair.id for pair in pairs if pair.id not in has]
        if lacks:
            more = f" and {len(lacks) - NAMED} more" if len(lacks) > NAMED else ""
            notes.append(
                f"{person} has not answered {len(lacks)} of {len(pairs)} pairs: {', '.join(lacks[:NAMED])}{more}."
            )
    return notes
