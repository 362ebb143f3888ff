"""Jester-v0: jokes, and the people who rated them, as they did.

A turn is a page of jokes, and a person laughs or not as in the Jester log (Goldberg et al. 2001, "Eigentaste"). Which page
of docs says what is real and what is not: docs/worlds/jester.md.
"""

from __future__ import annotations

import os
import textwrap
from typing import Any

import numpy as np

from jaxreco.base import EnvParams
from jaxreco.data import jester, sets
from jaxreco.data.log import Log
from jaxreco.env import RecoEnv
from jaxreco.envs import replayed

VERSION = "0.1"
# Silent reading of English fiction: 260 words a minute (Brysbaert 2019, "How many words do we read per minute?").
WORDS_PER_MINUTE = 260.0
TITLE = 60  # characters


def make(
    *,
    slate_size: int = 10,
    history_length: int = 50,
    action_mode: Any = "slate",
    data: str | os.PathLike[str] | None = None,
    min_answers: int = 1,
    width: int = 32,
) -> tuple[RecoEnv, EnvParams]:
    """The world of the Jester log, and its default parameters.

    Args:
      data: folder of the set, or one that holds it as `jester`; the environment variable JAXRECO_DATA where it is None.
      min_answers: people who rated fewer jokes never come. width: D, of the embedding of the jokes' words.

    Raises DataError (a ValueError) when there is no such folder or it cannot be read, ValueError for impossible sizes.
    """
    log = jester.load(sets.find("Jester-v0", "jester", data))
    return world(log, min_answers, width, slate_size, history_length, action_mode)


def world(
    log: Log, min_answers: int = 1, width: int = 32, slate_size: int = 10, history_length: int = 50, action_mode: Any = "slate"
) -> tuple[RecoEnv, EnvParams]:  # fmt: skip
    """The same of a log that is read already, or of some rows of it."""
    texts = log.items.texts or [""] * log.n_items
    return replayed.world(
        "Jester-v0", VERSION, log,
        seconds=60.0 / WORDS_PER_MINUTE * np.array([max(len(joke.split()), 1) for joke in texts]),
        titles=[textwrap.shorten(joke, TITLE, placeholder=" ...") for joke in texts],
        categories=["joke"] * log.n_items, min_answers=min_answers, width=width, slate_size=slate_size,
        history_length=history_length, action_mode=action_mode,
    )  # fmt: skip
