"""The fitted user as a scorer: a transformer and a long memory, fitted anew to every training part."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import numpy as np
from flax import nnx

from jaxreco.content.known import known_of
from jaxreco.data.log import Log
from jaxreco.fit import fitting, foresight
from jaxreco.users.network import UserNetwork


@dataclasses.dataclass(frozen=True)
class Transformer:
    """How likely the next item is each candidate, in nats more than any item alike.

    Args: epochs: of the fit, at most; None for what is usual. seed: of the fit.
    """

    epochs: int | None = None
    seed: int = 0

    slow: ClassVar[bool] = True  # to fit: what it says is worth keeping

    def fit(self, train: Log) -> Foreseeing:
        """By maximum likelihood; a tenth of the people of the log are held back and say when to stop."""
        network, config = fitting.usual(train, {}, {} if self.epochs is None else {"epochs": self.epochs})
        start, key = jax.random.split(jax.random.key(self.seed))
        task = fitting.prepare(start, train, known_of(train.items)[0], network, config, self.seed)
        fitter = fitting.begin(task, config)
        while not fitting.is_over(fitter, config):
            fitter, _ = fitting.epoch(key, task, fitter, config)
        nnx.update(task.network, fitter.best)
        return Foreseeing(task.network, np.asarray(task.content), np.asarray(task.known))


@dataclasses.dataclass(frozen=True, eq=False)
class Foreseeing:
    """A fitted network, and the items that it reads: content f32[I, D], known bool[I]."""

    network: UserNetwork
    content: np.ndarray
    known: np.ndarray

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """f32[M, N]: log of how many times as likely each is as one item of the catalog on average."""
        found, at = [], 0
        for block in foresight.log_probabilities(self.network, self.content, self.known, history):
            found.append(np.take_along_axis(block, candidates[at : at + len(block)], axis=1))
            at += len(block)
        return np.concatenate(found) + np.float32(np.log(len(self.known)))
