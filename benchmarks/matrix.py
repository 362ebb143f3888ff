"""Agents by worlds: scores, what is kept of the score at home, the order of the agents, and who wins at home only.

**Overfit.** An agent is *ahead* in a world if the paired 95 % interval of its reward less that of the world's best baseline lies
above 0; worlds of one kind (the redrawn ones) are taken together, by the mean difference. The best baseline is, for an agent
that learns, the best of all baselines that were run; for one that does not, the best of random, popularity and static. An agent
is overfit if it is ahead at home and there is a kind of world elsewhere where it is not. Whoever is overfit is never called best.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from jaxreco.benchmarks.report import over
from jaxreco.policy_order import kendall
from jaxreco.report.standing import ORACLES, ZERO, Estimate

HOME = "home"
RESAMPLES = 400

# A statistic of a table: from scores f64[W, A] and mean rewards f64[W, A], rows of worlds, to numbers f64[n].
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Matrix:
    """What every agent earned in every world.

    Args:
      kinds: of each of W worlds; HOME first, once. agents: A names, with those of the scale.
      reward: f64[W, A, seeds, users], the same users in all worlds.
      learners: agents that were trained.
    """

    kinds: tuple[str, ...]
    agents: tuple[str, ...]
    reward: np.ndarray
    learners: tuple[str, ...] = ()

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The kinds of worlds other than home, each once."""
        return tuple(dict.fromkeys(self.kinds[1:]))

    @property
    def ranked(self) -> list[str]:
        """The agents whose order is compared: all but the oracles."""
        return [name for name in self.agents if name not in ORACLES]

    def at(self, names: tuple[str, ...]) -> list[int]:
        """Columns of those names that there are."""
        return [self.agents.index(name) for name in names if name in self.agents]

    def worlds(self, kind: str) -> np.ndarray:
        """i64[n]: rows of a kind."""
        return np.flatnonzero(np.array(self.kinds) == kind)

    @functools.cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """i64[W] each: the columns of 0 and 1 of every world's scale, its best of ZERO and its better oracle."""
        means = self.reward.mean(axis=(2, 3))
        zeros, ones = self.at(ZERO), self.at(ORACLES)
        return np.array(zeros)[means[:, zeros].argmax(axis=1)], np.array(ones)[means[:, ones].argmax(axis=1)]

    def scores(self, means: np.ndarray) -> np.ndarray:
        """f64[W, A]: places on every world's own scale, of mean rewards f64[W, A]."""
        zero, one = (np.take_along_axis(means, end[:, None], axis=1) for end in self.ends)
        return (means - zero) / (one - zero)

    # -- numbers with their intervals ------------------------------------------------------------------------

    def score(self, kind: str) -> dict[str, Estimate]:
        """By agent: the mean score in the worlds of a kind."""
        return self._each(lambda scores, _: self._mean(scores, kind))

    def in_world(self, row: int) -> dict[str, Estimate]:
        """By agent: the score in one world."""
        return self._each(lambda scores, _: scores[row], redraw=False)

    def drop(self, kind: str) -> dict[str, Estimate]:
        """By agent: the score at home less that in the worlds of a kind."""
        return self._each(lambda scores, _: scores[0] - self._mean(scores, kind))

    def kept(self, kind: str) -> dict[str, Estimate]:
        """By agent: the share of the score at home that is kept; only of those above 0 at home, for others it says nothing."""
        found = self._each(lambda scores, _: kept_share(self._mean(scores, kind), scores[0]))
        home = self.score(HOME)
        return {name: each for name, each in found.items() if home[name].value > 0.0}

    def tau(self, kind: str) -> Estimate:
        """Kendall's tau of the agents' order at home and in the worlds of a kind, their mean."""
        columns, rows = self.at(tuple(self.ranked)), self.worlds(kind)

        def of(_: np.ndarray, means: np.ndarray) -> np.ndarray:
            return np.array([np.mean([kendall(means[0, columns], means[row, columns]) for row in rows])])

        return self._estimates(of)[0]

    def taus(self, kind: str) -> np.ndarray:
        """f64[n]: Kendall's tau with home in every world of a kind."""
        means, columns = self.reward.mean(axis=(2, 3)), self.at(tuple(self.ranked))
        return np.array([kendall(means[0, columns], means[row, columns]) for row in self.worlds(kind)])

    # -- who wins, and where ---------------------------------------------------------------------------------

    def rivals(self, agent: str) -> tuple[str, ...]:
        """The baselines that an agent is judged by."""
        others = tuple(name for name in self.ranked if name not in self.learners)
        return others if agent in self.learners else tuple(name for name in ZERO if name in others)

    def ahead(self, agent: str, kind: str) -> Estimate:
        """Reward of an agent less that of the best baseline of each world of a kind, their mean, user by user."""
        columns, rows = self.at(self.rivals(agent)), self.worlds(kind)
        best = np.array(columns)[self.reward[rows][:, columns].mean(axis=(2, 3)).argmax(axis=1)]
        return over((self.reward[rows, self.agents.index(agent)] - self.reward[rows, best]).mean(axis=0))

    def judged(self) -> list[str]:
        """The agents that have baselines to be ahead of."""
        return [name for name in self.ranked if name not in ZERO]

    def overfit(self, agent: str) -> tuple[str, ...]:
        """The kinds of worlds in which an agent that is ahead at home is not."""
        if self.ahead(agent, HOME).verdict != "ahead":
            return ()
        return tuple(kind for kind in self.elsewhere if self.ahead(agent, kind).verdict != "ahead")

    def best(self) -> str | None:
        """The agent of the best mean score over the kinds of worlds elsewhere, of those that are ahead at home and not overfit."""
        able = [name for name in self.judged() if self.ahead(name, HOME).verdict == "ahead" and not self.overfit(name)]
        where = self.elsewhere or (HOME,)
        found = {kind: self.scores(self.reward.mean(axis=(2, 3))) for kind in where}
        mean = {n: np.mean([self._mean(found[kind], kind)[self.agents.index(n)] for kind in where]) for n in able}
        return max(mean, key=lambda name: float(mean[name]), default=None)

    # -- intervals -------------------------------------------------------------------------------------------

    def _mean(self, table: np.ndarray, kind: str) -> np.ndarray:
        return table[self.worlds(kind)].mean(axis=0)

    def _each(self, statistic: Statistic, redraw: bool = True) -> dict[str, Estimate]:
        return dict(zip(self.agents, self._estimates(statistic, redraw), strict=True))

    def _estimates(self, statistic: Statistic, redraw: bool = True) -> list[Estimate]:
        """Numbers with 95 % intervals: over seeds (Student's t), or with one seed over users and the worlds of a kind (bootstrap)."""
        each = self.reward.mean(axis=3)  # [W, A, seeds]
        if each.shape[2] > 1:
            found = np.stack([statistic(self.scores(means), means) for means in np.moveaxis(each, 2, 0)])
            return [over(column[:, None]) for column in found.T]
        value = statistic(self.scores(each[..., 0]), each[..., 0])
        draws = np.stack([statistic(*self._drawn(rng, redraw)) for rng in map(np.random.default_rng, range(RESAMPLES))])
        return [
            Estimate(float(v), *_inner(column[~np.isnan(column)])) for v, column in zip(value, draws.T, strict=True)
        ]

    def _drawn(self, rng: np.random.Generator, redraw: bool) -> tuple[np.ndarray, np.ndarray]:
        """Scores and mean rewards of other users, and of other worlds of each kind, drawn with replacement from those there are."""
        n = self.reward.shape[3]
        means = self.reward[:, :, 0] @ rng.multinomial(n, np.full(n, 1.0 / n)) / n
        rows = np.arange(len(self.kinds))
        if redraw:
            rows = np.array([rng.choice(self.worlds(kind)) for kind in self.kinds])
        return self.scores(means)[rows], means[rows]


def _inner(draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of draws; NaN without any."""
    if not len(draws):
        return float("nan"), float("nan")
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def kept_share(there: np.ndarray, home: np.ndarray) -> np.ndarray:
    """f64[A]: scores elsewhere over scores at home f64[A]; NaN where there was nothing to keep."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(home > 0.0, there / home, np.nan)
