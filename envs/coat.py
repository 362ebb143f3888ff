"""Coat-v0: coats, and the people who rated some of them, as they did.

From the coat shopping log (Schnabel et al. 2016, "Recommendations as treatments"). Most slots get no answer, because each
person rated 24 of 300 coats: docs/worlds/coat.md.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jaxreco.base import EnvParams
from jaxreco.data import coat, sets
from jaxreco.env import RecoEnv
from jaxreco.envs import replayed
from jaxreco.errors import DataError

VERSION = "0.1"
LOOK_SECONDS = 5.0  # a prior: how long a person looks at a coat
KIND = "jacket type:"  # the feature of a coat that is its category


def make(
    *,
    slate_size: int = 10,
    history_length: int = 50,
    action_mode: Any = "slate",
    data: str | os.PathLike[str] | None = None,
    min_answers: int = 1,
    width: int = 16,
) -> tuple[RecoEnv, EnvParams]:
    """The world of the coat shopping log, and its default parameters.

    Args:
      data: folder of the set, or one that holds it as `coat`; the environment variable JAXRECO_DATA where it is None.
      min_answers: people who rated fewer coats never come. width: D, of the embedding of the coats' features.

    Raises DataError (a ValueError) when there is no such folder or it cannot be read, ValueError for impossible sizes.
    """
    log = coat.load(sets.find("Coat-v0", "coat", data))
    if log.items.tags is None:
        raise DataError("Coat-v0 needs the features of the coats (user_item_features): add the folder.")
    kinds = [next((tag.removeprefix(KIND) for tag in tags if tag.startswith(KIND)), "other") for tags in log.items.tags]
    return replayed.world(
        "Coat-v0", VERSION, log, seconds=np.full(log.n_items, LOOK_SECONDS),
        titles=[" ".join(tag.partition(":")[2] or tag for tag in tags) for tags in log.items.tags], categories=kinds,
        min_answers=min_answers, width=width, slate_size=slate_size, history_length=history_length, action_mode=action_mode,
    )  # fmt: skip
