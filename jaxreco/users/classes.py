"""What the classes of a head mean: numbers, or parts of a scale, and how values lie within each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.errors import DataError

Array = jax.Array

NUMBERS, EVEN, LOG = "numbers", "even", "log"
KINDS = (NUMBERS, EVEN, LOG)
STEEPEST = 50.0  # by as much, at most, does the log-density of a tail fall


@dataclasses.dataclass(frozen=True)
class Classes:
    """What the classes of a head mean; `n` of them, in order. Static.

    Args:
      kind: "numbers", each class is one; "even", values spread evenly within a class; "log", evenly in their logarithm.
      edges: the n numbers, or n + 1 ascending edges, in the unit of the values. A class holds its lower edge.
      share: how often each occurred; they sum to 1.
      step: values are multiples of it, such as whole days; 0 for any values.
      tail: how fast values thin out in the last class: their density falls like x^-(tail + 1) (a Pareto tail, cut at the last edge;
        Hill 1975). 0: they are spread as in the others.
    """

    kind: str
    edges: tuple[float, ...]
    share: tuple[float, ...]
    step: float = 0.0
    tail: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"Classes of kind {self.kind!r}: give one of {', '.join(KINDS)}.")
        if len(self.share) < 2 or len(self.edges) != len(self.share) + (self.kind != NUMBERS):
            raise DataError(
                f"{len(self.edges)} edges and {len(self.share)} classes do not fit: give two classes or more."
            )
        if not all(math.isfinite(x) for x in self.edges) or not all(np.diff(self.edges) > 0):
            raise DataError(f"The edges {self.edges} of classes do not ascend: sort them and leave out equal ones.")
        if self.kind == LOG and self.edges[0] <= 0.0:
            raise DataError(f"Values on a logarithmic scale begin at {self.edges[0]}: give them even classes.")
        if not 0.0 <= self.tail < math.inf or (self.tail and (self.kind == NUMBERS or self.edges[-2] <= 0.0)):
            raise DataError(
                f"A tail of {self.tail} from {self.edges[-2]} on: give 0, or more where the last class begins above 0."
            )

    @classmethod
    def of_numbers(cls, values: np.ndarray) -> Classes:
        """One class for each number that occurs in f[M]."""
        numbers, count = np.unique(np.asarray(values, np.float64), return_counts=True)
        return cls(NUMBERS, tuple(numbers.tolist()), _shares(count))

    @classmethod
    def of_quantiles(cls, values: np.ndarray, number: int, kind: str = EVEN, step: float = 0.0) -> Classes:
        """About so many classes that are equally frequent among f[M]; values that tie stay together.

        Where the last reaches more than twice as far as it begins, it thins out as these values do.
        """
        values = np.sort(np.asarray(values, np.float64))
        inner = np.quantile(values, np.arange(1, number) / number, method="higher") - 0.5 * step
        end = values[-1] + (0.5 * step or 1e-3 * max(abs(values[-1]), 1e-3))
        edges = np.unique(np.concatenate([[values[0] - 0.5 * step], inner, [end]]))
        wide = 0.0 < 2.0 * edges[-2] < edges[-1]
        tail = _tail(values[values >= edges[-2]] / edges[-2], edges[-1] / edges[-2]) if wide else 0.0
        return cls(kind, tuple(edges.tolist()), _shares(np.histogram(values, edges)[0]), step, tail)

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Classes:
        """Of what `dataclasses.asdict` made and JSON kept. Raises DataError for anything else."""
        try:
            numbers = (float(kept["step"]), float(kept["tail"]))
            return cls(kept["kind"], tuple(kept["edges"]), tuple(kept["share"]), *numbers)
        except (KeyError, TypeError, ValueError):
            raise DataError("The classes of a head are broken: fit the user model again.") from None

    def __len__(self) -> int:
        """Their number, n."""
        return len(self.share)

    @property
    def ridit(self) -> np.ndarray:
        """f32[n]: from -1 to 1, the share of values below each class less that above it (Bross 1958, "ridits")."""
        below = np.cumsum(self.share) - np.asarray(self.share)
        return (2.0 * below + np.asarray(self.share) - 1.0).astype(np.float32)

    @property
    def middle(self) -> np.ndarray:
        """f32[n]: the mean of values in each class, were they spread as is said."""
        edges = np.asarray(self.edges)
        if self.kind == NUMBERS:
            return edges.astype(np.float32)
        low, high = edges[:-1], edges[1:]
        found = (low + high) / 2.0
        # The mean of low * exp(x), where the density of x falls like exp(-thinning * x / wide) from 0 to `wide`.
        at = np.flatnonzero(self.by_logarithm)
        wide, thinning = np.log(high[at] / low[at]), self.thinning[at]
        found[at] = low[at] * _even_mean(wide - thinning) / _even_mean(-thinning)
        return found.astype(np.float32)

    @property
    def by_logarithm(self) -> np.ndarray:
        """bool[n]: whether the logarithm says where in a class values lie."""
        found = np.full(len(self), self.kind == LOG)
        found[-1] |= self.tail > 0.0
        return found

    @property
    def thinning(self) -> np.ndarray:
        """f64[n]: by how much the log-density of the logarithm of values falls within each class."""
        found = np.zeros(len(self))
        if self.tail:
            found[-1] = self.tail * math.log(self.edges[-1] / self.edges[-2])
        return found

    def value(self, at: Array, part: Array) -> Array:
        """f32[]: the value below which part f32[] of class i32[] lies, rounded to steps."""
        edges = jnp.asarray(self.edges, jnp.float32)
        if self.kind == NUMBERS:
            return edges[at]
        low, high, place = edges[at], edges[at + 1], part
        if self.tail:
            thinning = jnp.asarray(self.thinning, jnp.float32)[at]
            steep = jnp.maximum(thinning, 1e-6)
            place = jnp.where(thinning > 0.0, -jnp.log1p(part * jnp.expm1(-steep)) / steep, part)
        ratio = high / jnp.where(low > 0.0, low, high)  # not asked for where low is not above 0
        found = jnp.where(jnp.asarray(self.by_logarithm)[at], low * ratio**place, low + part * (high - low))
        return jnp.round(found / self.step) * self.step if self.step else found

    def part_above(self, value: Array) -> Array:
        """f32[n]: how much of each class is at or above a value f32[]; with steps, of what would be rounded to it."""
        edges = jnp.asarray(self.edges, jnp.float32)
        if self.kind == NUMBERS:
            return (edges >= value).astype(jnp.float32)
        low, high, value = edges[:-1], edges[1:], value - 0.5 * self.step
        even = jnp.clip((high - value) / (high - low), 0.0, 1.0)
        base = jnp.where(low > 0.0, low, high / 2.0)
        place = jnp.clip(jnp.log(jnp.maximum(value, 1e-30) / base) / jnp.log(high / base), 0.0, 1.0)
        thinning = jnp.asarray(self.thinning, jnp.float32)
        steep = jnp.maximum(thinning, 1e-6)
        thinned = jnp.where(thinning > 0.0, jnp.expm1(steep * (1.0 - place)) / jnp.expm1(steep), 1.0 - place)
        return jnp.where(jnp.asarray(self.by_logarithm), thinned, even)

    def of(self, values: np.ndarray) -> np.ndarray:
        """i32[M]: the class of each of f[M]; one beyond the ends, or between numbers, goes to the nearest."""
        return np.searchsorted(self.inner, np.asarray(values, np.float64), side="right").astype(np.int32)

    @property
    def inner(self) -> np.ndarray:
        """f64[n - 1]: the value from which on each class but the first begins."""
        edges = np.asarray(self.edges)
        return (edges[1:] + edges[:-1]) / 2.0 if self.kind == NUMBERS else edges[1:-1]


def _even_mean(x: np.ndarray) -> np.ndarray:
    """The mean of exp between 0 and each of f[M]."""
    return np.expm1(x) / np.where(x == 0.0, 1.0, x) + (x == 0.0)


def _tail(values: np.ndarray, top: float) -> float:
    """The rate at which values f[M] from 1 to `top` thin out: the likeliest one from 0 on.

    Their logarithms are exponential, cut at that of `top`.
    """
    from scipy.optimize import brentq

    wide, mean = math.log(top), float(np.log(values).mean())

    def short(rate: float) -> float:
        """How far the mean is below that of a rate."""
        return 1.0 / rate - wide / math.expm1(rate * wide) - mean

    slow, fast = 1e-3 / wide, STEEPEST / wide
    if short(slow) <= 0.0:
        return 0.0
    return fast if short(fast) >= 0.0 else float(brentq(short, slow, fast))


def _shares(count: np.ndarray) -> tuple[float, ...]:
    return tuple((np.asarray(count, np.float64) / np.sum(count)).tolist())
