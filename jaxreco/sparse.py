"""Work that few users of a batch need, done for those alone.

Under `vmap` a branch is computed for everybody and then selected. What one user in ten needs in a turn, and what costs as
much as the rest of the turn, is better done for the tenth: `rarely` gathers them, works through them in chunks of a
fixed size, and puts the results back. The rule stays one of a single user; only its batching is special.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array

CHUNK = 32  # users at once: whole vectors of a CPU, and mostly all that reflect in a tile


def rarely(when: Array, work: Callable[..., Any], otherwise: Any, *args: Any, chunk: int = CHUNK) -> Any:
    """`work(*args)` where `when` bool[] is true, else `otherwise`; in a batch only the users concerned are worked on.

    Every chunk has the same size, so what a user gets does not depend on who else needs it. No gradient passes.

    Args:
      work: pure, of one user; it may not close over arrays.
      otherwise: a pytree like the result, the same for all users. args: pytrees of arrays; what all users share, such as a
        catalog, is passed too, and is not copied.
      chunk: users at once. Best a little more than mostly need it in a tile, and whole vectors of a CPU.
    """

    @jax.custom_batching.custom_vmap
    def one(when: Array, args: Any, otherwise: Any) -> Any:
        return jax.lax.cond(when, lambda: work(*args), lambda: otherwise)

    @one.def_vmap
    def many(size: int, batched: Any, when: Array, args: Any, otherwise: Any) -> tuple[Any, Any]:
        when = when if batched[0] else jnp.broadcast_to(when, (size,))
        own, shared = _partition(batched[1], args)
        # The users concerned, one after another; the rest of the list is the last user again.
        place = jnp.cumsum(when) - 1
        lanes = (
            jnp.full(size + chunk, size - 1).at[jnp.where(when, place, size + chunk)].set(jnp.arange(size), mode="drop")
        )

        def work_through(carry: tuple[Array, Any]) -> tuple[Array, Any]:
            done, found = carry
            lane = jax.lax.dynamic_slice(lanes, (done,), (chunk,))
            mine = [x[lane] for x in own]
            new = jax.vmap(lambda mine: work(*_merge(batched[1], mine, shared, args)))(mine)
            # Side by side, and taken from there at the end: a scatter is one loop a user on a CPU.
            write = jax.lax.dynamic_update_slice_in_dim
            return done + chunk, jax.tree.map(lambda x, y: write(x, y, done, 0), found, new)

        concerned = jnp.sum(when)
        # A result has the shape of what it replaces.
        like = jax.tree.map(lambda x, own: x[0] if own else x, otherwise, _like(otherwise, batched[2]))
        room = jax.tree.map(lambda x: jnp.zeros((size + chunk, *jnp.shape(x)), jnp.result_type(x)), like)
        _, found = jax.lax.while_loop(lambda carry: carry[0] < concerned, work_through, (jnp.int32(0), room))
        at = jnp.maximum(place, 0)

        def choose(x: Array, default: Array, own: bool) -> Array:
            return jnp.where(when.reshape(size, *[1] * (x.ndim - 1)), x[at], default if own else default[None])

        found = jax.tree.map(choose, found, otherwise, _like(otherwise, batched[2]))
        return found, jax.tree.map(lambda _: True, found)

    return one(when, args, otherwise)


def _partition(batched: Any, args: Any) -> tuple[list[Array], list[Array]]:
    """The leaves that each user has of its own, and those that all share."""
    flags, leaves = jax.tree.leaves(batched), jax.tree.leaves(args)
    own = [x for b, x in zip(flags, leaves, strict=True) if b]
    return own, [x for b, x in zip(flags, leaves, strict=True) if not b]


def _like(tree: Any, batched: Any) -> Any:
    """The flags of `batched`, as a tree of the structure of `tree`."""
    return jax.tree.unflatten(jax.tree.structure(tree), jax.tree.leaves(batched))


def _merge(batched: Any, own: list[Array], shared: list[Array], like: Any) -> Any:
    """The arguments again, put together from both, of the structure of `like`."""
    mine, ours = iter(own), iter(shared)
    leaves = [next(mine) if b else next(ours) for b in jax.tree.leaves(batched)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
