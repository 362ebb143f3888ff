"""OpenBandit-v0: visits to a fashion shop that drew three items at random, each of which answers where it is repeated.

From the Open Bandit log under its uniformly random policy (Saito et al. 2021, "Open bandit dataset and pipeline"). A visit is
one logged slot; its user model is `jaxreco.users.matched`, and docs/worlds/open_bandit.md says what that can tell.
"""

from __future__ import annotations

import os
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco.base import CLICK, EnvParams, RewardWeights
from jaxreco.data import open_bandit, sets
from jaxreco.data.log import Log
from jaxreco.env import RecoEnv
from jaxreco.envs import replayed
from jaxreco.errors import DataError
from jaxreco.logs import Interactions
from jaxreco.names import closest
from jaxreco.population import Population
from jaxreco.users.matched import Matched, MatchedParams, Slot

VERSION = "0.1"
LOOK_SECONDS = 2.0  # a prior: how long a visitor looks at an item
PLACES = 3  # in a slate of the shop


def make(
    *,
    slate_size: int = PLACES,
    history_length: int = 50,
    action_mode: Any = "slate",
    data: str | os.PathLike[str] | None = None,
    campaign: str = "all",
    width: int = 16,
) -> tuple[RecoEnv, EnvParams]:
    """The world of one campaign of the Open Bandit log, and its default parameters.

    Args:
      slate_size: K, at most the 3 places that the log has.
      data: folder of the set, or one that holds it as `open-bandit`; the environment variable JAXRECO_DATA where it is None.
      campaign: "all", "men" or "women". width: D, of the embedding of the items' features.

    Raises DataError (a ValueError) when there is no such folder or it cannot be read, ValueError for impossible settings.
    """
    if campaign not in open_bandit.CAMPAIGNS:
        raise ValueError(f"There is no campaign {campaign!r}.{closest(campaign, open_bandit.CAMPAIGNS)}")
    if slate_size > PLACES:
        raise ValueError(
            f"slate_size is {slate_size}, and the log has answers at {PLACES} places: choose 1 to {PLACES}."
        )
    log = open_bandit.load(sets.find("OpenBandit-v0", "open-bandit", data), campaign)
    return world(log, width, slate_size, history_length, action_mode)


def world(
    log: Log, width: int = 16, slate_size: int = PLACES, history_length: int = 50, action_mode: Any = "slate"
) -> tuple[RecoEnv, EnvParams]:
    """The same of a log that is read already, or of some rows of it."""
    slots = visits(log)
    population = Population(traits=slots, weights=jnp.asarray(_weights(log)))
    shown, clicked = np.bincount(log.item, minlength=log.n_items), np.asarray(slots.click)
    rate = np.bincount(log.item, clicked, minlength=log.n_items) / (shown + replayed.SHRINKAGE)
    tags = log.items.tags or [()] * log.n_items
    catalog, names = replayed.catalog_of(
        log.items, width, seconds=np.full(log.n_items, LOOK_SECONDS), popularity=shown / shown.sum(),
        quality=(rate - rate.mean()) / (rate.std() + 1e-9), titles=[str(id) for id in log.items.ids],
        categories=[own[0] if own else "other" for own in tags],
    )  # fmt: skip
    env = RecoEnv(
        name="OpenBandit-v0", version=VERSION, user_model=Matched(slate_size, history_length), n_items=log.n_items,
        slate_size=slate_size, history_length=history_length, action_mode=action_mode, single_session=True, names=names,
        log=Interactions(log.user, log.item, clicked.astype(np.float32), log.n_users, log.n_items),
    )  # fmt: skip
    reward = RewardWeights(**replayed.BY_CLICKS)
    return env, EnvParams(catalog=catalog, user=MatchedParams(population=population), reward=reward)


def visits(log: Log) -> Slot:
    """Every logged slot, leaves [P]. Raises DataError for a log without events, places or clicks."""
    if log.position is None or log.actions is None or not len(log):
        raise DataError(f"{log.name} has no events with places and clicks: bring a log of slots that were shown.")
    clicked = (log.actions & CLICK) != 0
    return Slot(*(jnp.asarray(column) for column in (log.item, log.position, clicked)))


def _weights(log: Log) -> np.ndarray:
    """f32[P]: how often each row comes, in inverse proportion to the chance of its item, 1 on average."""
    if log.propensity is None or not (log.propensity > 0).all():
        raise DataError(
            f"{log.name} has no chances above 0 with which items were shown: bring a log of a random policy."
        )
    inverse = 1.0 / log.propensity.astype(np.float64)
    return (inverse / inverse.mean()).astype(np.float32)
