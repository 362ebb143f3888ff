"""The mechanistic user as a scorer: its parameters fitted anew to every training part, people's tastes told by their histories."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.content.known import labels
from jaxreco.data.log import Log
from jaxreco.fit import mechanistic, minds
from jaxreco.fit.minds import Past
from jaxreco.users import tastes

Array = jax.Array

BATCH = 64  # histories at once


@dataclasses.dataclass(frozen=True)
class Mechanistic:
    """How likely the next item is each candidate, in nats more than any item alike.

    Args: epochs: of the fit, at most. seed: of the fit.
    """

    epochs: int = 6
    seed: int = 0

    slow: ClassVar[bool] = True  # to fit: what it says is worth keeping

    def fit(self, train: Log) -> Choosing:
        """By maximum likelihood with a prior; the log's times are left out, for histories have none."""
        log = dataclasses.replace(train, time=None)
        config = mechanistic.usual(log, epochs=self.epochs)
        task = mechanistic.prepare(log, labels(log.items), config, self.seed)
        fitter, key = mechanistic.begin(task, config), jax.random.key(self.seed)
        while not mechanistic.is_over(fitter, config):
            fitter, _ = mechanistic.epoch(key, task, fitter, config)
        return Choosing(task, fitter.best, config.remembered)


@dataclasses.dataclass(frozen=True, eq=False)
class Choosing:
    """A fitted mechanistic user, who is like most, and reads the last `remembered` items of a history."""

    task: mechanistic.Task
    raw: dict[str, Array]
    remembered: int

    def scores(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """f32[M, N]: log of how many times as likely each is as one item of the catalog on average."""
        given = (mechanistic.bare(self.task.params), self.task.catalog)
        creators, found = int(self.task.catalog.creator.max()) + 1, []
        recent = np.pad(history, ((0, 0), (max(self.remembered - history.shape[1], 0), 0)), constant_values=-1)
        recent = recent[:, -self.remembered :]
        for start in range(0, len(history), BATCH):
            rows = np.minimum(np.arange(start, start + BATCH), len(history) - 1)
            every = _choose(self.raw, jnp.asarray(recent[rows]), given, creators)
            found.append(np.take_along_axis(np.asarray(every), candidates[rows], axis=1)[: len(history) - start])
        return np.concatenate(found) + np.float32(np.log(self.task.catalog.n_items))


@functools.partial(jax.jit, static_argnames=("creators",))
def _choose(raw: Any, history: Array, given: tuple[Any, Any], creators: int) -> Array:
    """f32[B, I]: log-probabilities of the next item after histories i32[B, H], whose events are an hour apart."""
    params, catalog = given
    params, seeker, doubt = mechanistic.with_values(params, mechanistic.values(raw))

    def person(item: Array) -> Array:
        met = minds.interests_met(item, jnp.zeros(item.shape, bool), catalog.embedding, tastes.INTERESTS)
        past = Past(item, jnp.arange(item.shape[0], 0, -1).astype(jnp.float32), met)
        mind = minds.mind_of(past, params, doubt, catalog, tastes.INTERESTS, creators)
        return minds.log_probabilities(mind, seeker, params, catalog)

    return jax.lax.map(person, history, batch_size=16)
