"""From a log to the content of its items, by a recipe that is kept with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxreco import provenance
from jaxreco.content import collaborative, fusion, semantic_id, text
from jaxreco.content.semantic_id import SemanticIds
from jaxreco.content.store import Content, fingerprint
from jaxreco.content.text import Encoded
from jaxreco.data.log import Log
from jaxreco.errors import DataError

METHODS = ("rq", "kmeans", "published")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to make of a log.

    Args:
      text: of titles, tags and descriptions; text_model, folder of a sentence encoder in the place of LSA. factors: of who took
        to what, from all events of the log. image: file of vectors. width: of text by LSA and of factors.
      semantic_ids: "kmeans" (residual), "rq" (an RQ-VAE), both of all parts fused, or "published". levels, codes: how many
        levels, and entries of each. seed: of semantic IDs and factors.
    """

    text: bool = False
    text_model: str | None = None
    factors: bool = False
    image: str | None = None
    width: int = 64
    semantic_ids: str | None = None
    levels: int = 4
    codes: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.semantic_ids not in (None, *METHODS):
            raise DataError(f"Semantic IDs by {self.semantic_ids!r}: give {', '.join(METHODS)}.")
        if self.width < 1:
            raise DataError(f"The width is {self.width}: give at least 1.")
        if self.text_model is not None and not self.text:
            raise DataError("A text model is named, but no text is to be encoded: add --text.")
        some = self.text or self.factors or self.image is not None
        if not some and self.semantic_ids != "published":
            needs = "and semantic IDs are of them: " if self.semantic_ids else ""
            raise DataError(f"No representation is asked for, {needs}give --text, --factors, --image or several.")


def make(log: Log, recipe: Recipe, told: Callable[[int, int], None] | None = None) -> Content:
    """The content of all items of a log.

    Args: told, called with the blocks that an RQ-VAE has learned, and all of them.

    Raises DataError for a log that lacks what the recipe needs.
    """
    if len(log.items) < 2:
        raise DataError(f"{log.name} has {len(log.items)} item: there is nothing to tell it from; content needs two.")
    if recipe.semantic_ids == "published" and log.items.codes is None:
        raise DataError(f"{log.name} has no published semantic IDs: make them with rq or kmeans.")
    parts: dict[str, Encoded] = {}
    if recipe.text:
        parts["text"] = text.encode(text.describe(log.items), text_encoder(recipe), recipe.width)
    if recipe.factors:
        found = collaborative.factors(log, recipe.width, recipe.seed)
        parts["factors"] = Encoded(found, (found != 0).any(axis=1))
    if recipe.image is not None:
        parts["image"] = fusion.loaded(recipe.image, log.items.ids.tolist())
    semantic = semantic_ids(log, parts, recipe, told) if recipe.semantic_ids else None
    about = {
        "data": {"name": log.name, "events": len(log), "items": log.n_items, "fingerprint": fingerprint(log)},
        "recipe": dataclasses.asdict(recipe),
        "semantic_ids": {"method": recipe.semantic_ids, **semantic.report()} if semantic else None,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    return Content(np.asarray(log.items.ids), parts, semantic, about)


def semantic_ids(
    log: Log, parts: dict[str, Encoded], recipe: Recipe, told: Callable[[int, int], None] | None
) -> SemanticIds:
    """Codes of all items, by the recipe's method; codebooks come from those with a representation."""
    if recipe.semantic_ids == "published":
        assert log.items.codes is not None
        return semantic_id.published(log.items.codes)
    points, known = fusion.fuse(list(parts.values()))
    if recipe.semantic_ids == "kmeans":
        return semantic_id.residual_kmeans(points, recipe.levels, recipe.codes, recipe.seed, known=known)
    from jaxreco.content import rq_vae

    config = rq_vae.RqVaeConfig(levels=recipe.levels, size=recipe.codes)
    return rq_vae.semantic_ids(points, config, recipe.seed, told, known)


def text_encoder(recipe: Recipe) -> text.Encoder | None:
    """The recipe's sentence encoder, None for LSA."""
    if recipe.text_model is None:
        return None
    from jaxreco.content import sentence

    return sentence.encoder(recipe.text_model)
