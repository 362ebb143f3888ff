"""Ring buffers whose reset moves a pointer instead of copying.

Selecting between two rings costs a read and a write of every slot in every turn, four fifths of the
simulator's speed when it was measured. So a ring is cleared by moving `start`, and whoever reads it masks
what lies before. Histories and attention caches are rings.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxreco.struct import Struct

Array = jax.Array


class Ring(Struct):
    """The last `N` events, each a pytree of slots `[N, ...]`.

    `start` and `end` are i32[] counts of events since the buffer was made: those in
    `[max(start, end - N), end)` are valid, and event `e` lies in slot `e % N`.
    """

    data: Any
    start: Array
    end: Array

    @classmethod
    def empty(cls, size: int, event: Any) -> Ring:
        """A ring of `size` slots, shaped like `event` and filled with its values."""
        data = jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *jnp.shape(x))), event)
        return cls(data=data, start=jnp.int32(0), end=jnp.int32(0))

    @property
    def size(self) -> int:
        """Number of slots, `N`."""
        return jax.tree.leaves(self.data)[0].shape[0]

    def push(self, event: Any, when: Array | bool = True) -> Ring:
        """Write one event; with `when` false the pointer stays, so that the write is never seen.

        The slot written then is the one the next event takes, which is also the oldest of a full ring: a
        ring pushed with `when` keeps one slot less (see `valid`).
        """
        slot = self.end % self.size
        data = jax.tree.map(lambda ring, x: jax.lax.dynamic_update_index_in_dim(ring, x, slot, 0), self.data, event)
        return Ring(data=data, start=self.start, end=self.end + jnp.asarray(when, jnp.int32))

    def extend(self, events: Any, there: Array) -> Ring:
        """Write those of N events, leaves [N, ...], that are `there` bool[N], the oldest first; N is at most the ring's size."""
        slot = jnp.where(there, (self.end + jnp.cumsum(there) - 1) % self.size, self.size)
        data = jax.tree.map(lambda ring, x: ring.at[slot].set(x, mode="drop"), self.data, events)
        return Ring(data=data, start=self.start, end=self.end + jnp.sum(there).astype(jnp.int32))

    def clear(self, when: Array | bool = True) -> Ring:
        """Forget everything (where `when` is true) without touching the data."""
        return Ring(data=self.data, start=jnp.where(when, self.end, self.start), end=self.end)

    def ages(self) -> Array:
        """i32[N]: how many events each slot lies back, the newest 0."""
        return (self.end - 1 - jnp.arange(self.size)) % self.size

    def valid(self, keep: int | None = None) -> Array:
        """bool[N]: which slots hold one of the last `keep` (default `N`) events since the last `clear`."""
        count = jnp.minimum(self.end - self.start, self.size if keep is None else keep)
        return self.ages() < count

    def in_order(self, keep: int | None = None) -> tuple[Any, Array]:
        """The last `keep` slots, oldest first, and bool[keep], true where an event lies there."""
        keep = self.size if keep is None else keep
        event = self.end - keep + jnp.arange(keep)
        data = jax.tree.map(lambda x: x[event % self.size], self.data)
        return data, event >= self.start


def _is_ring(x: Any) -> bool:
    return isinstance(x, Ring)


def restart(flag: Array, fresh: Any, old: Any) -> Any:
    """`fresh` where `flag` is true, else `old`; rings keep their data and are cleared where `flag` is true.

    Args:
      flag: bool[].
      fresh: a state just initialised; its rings are empty and are not read.
      old: the state it may replace, of the same structure.
    """

    def pick(new: Any, now: Any) -> Any:
        return now.clear(flag) if _is_ring(now) else jnp.where(flag, new, now)

    return jax.tree.map(pick, fresh, old, is_leaf=_is_ring)


def merge(flag: Array, new: Any, old: Any) -> Any:
    """`new` where `flag` is true, else `old`; rings are taken from `old`, so `new` must not have pushed."""

    def pick(then: Any, now: Any) -> Any:
        return now if _is_ring(now) else jnp.where(flag, then, now)

    return jax.tree.map(pick, new, old, is_leaf=_is_ring)
