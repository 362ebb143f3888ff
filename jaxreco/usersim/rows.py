"""The rows that a learned user has to pass: trivial, closed forms, and logistic regressions on closed forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxreco.content.known import labels
from jaxreco.data.log import Items
from jaxreco.ranking.closed import Recipe
from jaxreco.usersim.models import Best, Form, Logistic, Model
from jaxreco.usersim.scorers import Always, Closed, Content, Factors, Length, Popularity, Scorer

BASELINES = ("always_yes", "popularity", "item_knn", "ease", "logistic", "logistic_seq")
REGULARISATIONS = (50.0, 100.0, 200.0, 500.0, 1000.0)
NEAREST = (50.0, 200.0, 500.0, np.inf)
SHRINKAGES = (0.0, 10.0, 30.0)
FADE = 0.9  # of an item of the history for each that came after it, where the order counts


def neighbours() -> tuple[Closed, ...]:
    """Item-kNN, with what is tuned of it."""
    return tuple(
        Closed(Recipe(neighbours=1.0, nearest=nearest, shrinkage=shrinkage), standard)
        for nearest in NEAREST
        for shrinkage in SHRINKAGES
        for standard in (False, True)
    )


def autoencoder(regularisations: Sequence[float]) -> tuple[Closed, ...]:
    """EASE, with what is tuned of it."""
    return tuple(
        Closed(Recipe(ease=1.0, regularisation=regularisation), standard)
        for regularisation in regularisations
        for standard in (False, True)
    )


def unordered(items: Items, regularisations: Sequence[float]) -> tuple[Best | Form, ...]:
    """What the regressions know of a history as a set."""
    every: list[Best | Form] = [
        Form(options, standard=standard)
        for options in (autoencoder(regularisations), neighbours())
        for standard in (False, True)
    ]
    others: list[Scorer] = [Popularity(), Length(), Factors()]
    if labels(items) is not None:
        others.append(Content())
    return (*every, *(Best((scorer,)) for scorer in others))


def ordered(regularisations: Sequence[float]) -> tuple[Best | Form, ...]:
    """What is known of its order: closed forms on a fading history, and what came after or before what."""
    transitions = Recipe(transitions=1.0, fade=0.8)
    return (
        Form(autoencoder(regularisations), standard=True, fade=FADE),
        Form(neighbours(), standard=True, fade=FADE),
        Best((Closed(transitions),)),
        Best((Closed(transitions, backwards=True),)),
    )


def closed_rows(items: Items, regularisations: Sequence[float] = REGULARISATIONS) -> dict[str, Model]:
    """Every row by name.

    Args: regularisations, of EASE that are tried.
    """
    known = unordered(items, regularisations)
    return {
        "always_yes": Best((Always(),)),
        "popularity": Best((Popularity(),)),
        "item_knn": Best(neighbours()),
        "ease": Best(autoencoder(regularisations)),
        "logistic": Logistic(known),
        "logistic_seq": Logistic((*known, *ordered(regularisations)), products=True),
    }


def with_learned(models: Mapping[str, Model], scorer: Scorer) -> dict[str, Model]:
    """The rows with three more of one scorer: `learned_plain`, what it says; `learned`, weighed; `blend`, with all others.

    `learned` weighs what is said against how often an item is taken at all, and how long the history is: a regression on the
    three and all products of two. Where negatives are drawn as often as people took them, a popular item is the likelier to
    be one, and no user model of next items knows that. `blend` is `logistic_seq` with the scorer as one more feature.
    """
    plain = models["logistic_seq"]
    assert isinstance(plain, Logistic)
    alone, others = Best((scorer,)), (Best((Popularity(),)), Best((Length(),)))
    return {
        **models,
        "learned_plain": alone,
        "learned": Logistic((alone, *others), products=True),
        "blend": dataclasses.replace(plain, parts=(*plain.parts, alone)),
    }
