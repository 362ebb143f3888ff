"""Structs that keep their types, and rings against a deque."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.ring import Ring, merge, restart
from jaxreco.struct import Struct, param, violations


class Inner(Struct):
    rate: Any = param(default=0.5, low=0.0, high=1.0, doc="a share", unit="1")
    count: Any = param(default=3, low=1, doc="a number", unit="items")


class Outer(Struct):
    inner: Inner
    table: Any
    hours: Any = param(default=24.0, low=0.0, doc="time", unit="hours")
    flag: Any = False


@pytest.fixture
def outer() -> Outer:
    return Outer(inner=Inner(), table=jnp.arange(3.0))


# -- structs -------------------------------------------------------------------------------------------------


def test_python_numbers_become_strongly_typed(outer: Outer) -> None:
    assert (outer.hours.dtype, outer.inner.count.dtype, outer.flag.dtype) == (np.float32, np.int32, np.bool_)
    assert Inner(rate=1).rate.dtype == np.float32  # a float field takes an int as a float
    for leaf in jax.tree.leaves(outer):
        assert not jax.typeof(leaf).weak_type


@pytest.mark.parametrize(
    "value", [2, 2.0, True, np.float64(2), np.int64(2), jnp.asarray(2), jnp.float32(2), np.array(2)]
)
def test_replace_casts_to_the_dtype_of_the_field(outer: Outer, value: Any) -> None:
    for name, dtype in (("hours", np.float32), ("flag", np.bool_)):
        changed = getattr(outer.replace(**{name: value}), name)
        assert changed.dtype == dtype
        assert not jax.typeof(changed).weak_type
        assert changed == dtype(value)
    assert outer.inner.replace(count=value).count.dtype == np.int32


def test_replace_casts_arrays(outer: Outer) -> None:
    table = outer.replace(table=np.array([1, 2, 3, 4])).table
    assert table.dtype == jnp.float32
    assert table.shape == (4,)
    assert outer.replace(table=[5, 6, 7]).table.dtype == jnp.float32


def test_replace_leaves_the_original_alone(outer: Outer) -> None:
    changed = outer.replace(hours=1.0, inner=outer.inner.replace(rate=0.25))
    assert (outer.hours, outer.inner.rate) == (24.0, 0.5)
    assert (changed.hours, changed.inner.rate, changed.inner.count) == (1.0, 0.25, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        outer.hours = 2.0  # type: ignore[misc]


def test_replace_refuses_what_cannot_be(outer: Outer) -> None:
    with pytest.raises(TypeError, match=r"Outer has no field 'hour'; it has: inner, table, hours, flag\."):
        outer.replace(hour=2.0)
    with pytest.raises(ValueError, match=r"hours is a scalar; it cannot take an array of shape \(2,\)\."):
        outer.replace(hours=[1.0, 2.0])
    with pytest.raises(ValueError, match="hours is a scalar"):
        outer.replace(hours=jnp.ones(1))


def test_another_value_traces_nothing_anew(outer: Outer) -> None:
    traced = []

    @jax.jit
    def total(x: Outer) -> Any:
        traced.append(None)
        return x.hours + x.inner.rate + x.inner.count

    for value in (0.1, 1, True, np.float64(3), jnp.asarray(2), jnp.float32(0.1)):
        changed = outer.replace(hours=value, inner=outer.inner.replace(rate=value, count=value))
        assert float(total(changed)) == pytest.approx(float(value) + float(value) + int(value))
    assert len(traced) == 1


def test_replace_works_on_tracers(outer: Outer) -> None:
    hours = jax.jit(lambda x, h: x.replace(hours=h).hours)(outer, 7)
    assert hours.dtype == jnp.float32
    assert hours == 7


def test_a_struct_is_a_pytree(outer: Outer) -> None:
    leaves, tree = jax.tree.flatten(outer)
    assert len(leaves) == 5
    again = jax.tree.unflatten(tree, leaves)
    assert isinstance(again.inner, Inner)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(outer)]
    assert paths == [".inner.rate", ".inner.count", ".table", ".hours", ".flag"]


def test_keys_are_left_as_they_are() -> None:
    class Keyed(Struct):
        key: Any

    keyed = Keyed(jax.random.key(0)).replace(key=jax.random.key(1))
    assert jax.random.key_data(keyed.key)[1] == 1
    assert violations(keyed) == []


def test_violations_name_the_field_the_value_and_the_range(outer: Outer) -> None:
    assert violations(outer) == []
    bad = Outer(inner=Inner(rate=1.5, count=0), table=jnp.array([1.0, jnp.nan]), hours=-1.0)
    assert violations(bad) == [
        "inner.rate is 1.5, outside its range [0, 1].",
        "inner.count is 0, outside its range [1, inf].",
        "table is not a number (NaN).",
        "hours is -1, outside its range [0, inf].",
    ]


def test_violations_of_edges(outer: Outer) -> None:
    assert violations(outer.replace(hours=float("inf"), inner=Inner(rate=0.0, count=1))) == []
    assert violations(outer.replace(hours=float("nan"))) == ["hours is not a number (NaN)."]
    assert violations(outer.replace(hours=-0.001)) == ["hours is -0.001, outside its range [0, inf]."]
    columns = Inner(rate=jnp.array([0.2, -3.0, 9.0]), count=jnp.array([], jnp.int32))
    assert violations(columns) == ["rate is -3, outside its range [0, 1]."]


# -- rings ---------------------------------------------------------------------------------------------------

push = jax.jit(Ring.push)
clear = jax.jit(Ring.clear)


def event(i: int) -> dict[str, Any]:
    return {"id": jnp.int32(i), "pair": jnp.array([i, -i], jnp.float32)}


def contents(ring: Ring, keep: int) -> list[int]:
    """Ids in the ring, oldest first, by `in_order`; `valid` and `ages` must agree with it."""
    data, there = ring.in_order(keep)
    ids = [int(i) for i, ok in zip(data["id"], there, strict=True) if ok]
    np.testing.assert_array_equal(data["pair"][:, 0], data["id"])
    by_age = sorted(
        zip(np.asarray(ring.ages()), np.asarray(ring.data["id"]), np.asarray(ring.valid(keep)), strict=True)
    )
    assert [int(i) for _, i, ok in reversed(by_age) if ok] == ids
    return ids


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ring_is_a_deque(size: int) -> None:
    ring, oracle = Ring.empty(size, event(-1)), collections.deque(maxlen=size)
    assert contents(ring, size) == []
    generator = np.random.default_rng(size)
    for i in range(60):
        if generator.random() < 0.1:
            ring, _ = clear(ring), oracle.clear()
        else:
            ring, _ = push(ring, event(i)), oracle.append(i)
        assert contents(ring, size) == list(oracle)
        keep = int(generator.integers(1, size + 1))
        assert contents(ring, keep) == list(oracle)[-keep:]


@pytest.mark.parametrize("size", [2, 3, 6])
def test_conditional_pushes_and_clears(size: int) -> None:
    """A push with `when` false may spoil the oldest slot, so such a ring keeps one slot less."""
    keep = size - 1
    ring, oracle = Ring.empty(size, event(-1)), collections.deque(maxlen=keep)
    generator = np.random.default_rng(size)
    for i in range(80):
        when = bool(generator.random() < 0.5)
        if generator.random() < 0.15:
            ring = clear(ring, when)
            if when:
                oracle.clear()
        else:
            ring = push(ring, event(i), when)
            if when:
                oracle.append(i)
        assert contents(ring, keep) == list(oracle)


def test_a_push_that_did_not_happen_spoils_the_oldest_of_a_full_ring() -> None:
    """Why conditional rings keep one slot less: the documented cost of not selecting."""
    ring = Ring.empty(2, event(-1)).push(event(1)).push(event(2)).push(event(3), when=False)
    assert contents(ring, 1) == [2]
    assert contents(ring, 2) == [3, 2]


def test_clear_moves_a_pointer_and_touches_no_data() -> None:
    ring = Ring.empty(3, event(-1)).push(event(1)).push(event(2))
    cleared = ring.clear()
    jax.tree.map(np.testing.assert_array_equal, ring.data, cleared.data)
    assert contents(cleared, 3) == []
    assert contents(cleared.push(event(5)), 3) == [5]
    assert contents(ring.clear(False), 3) == [1, 2]


def test_empty_takes_shape_and_values_of_the_event() -> None:
    ring = Ring.empty(4, event(-1))
    assert ring.size == 4
    assert ring.data["pair"].shape == (4, 2)
    np.testing.assert_array_equal(ring.data["id"], [-1] * 4)


def test_rings_differ_under_vmap() -> None:
    rings = jax.vmap(lambda i: Ring.empty(3, event(-1)).push({"id": i, "pair": jnp.zeros(2)}, when=i > 1))(
        jnp.arange(4)
    )
    np.testing.assert_array_equal(jax.vmap(lambda r: jnp.sum(r.valid()))(rings), [0, 0, 1, 1])


def states() -> tuple[Any, Any]:
    old = {"mood": jnp.float32(0.5), "history": Ring.empty(3, event(-1)).push(event(1)).push(event(2))}
    fresh = {"mood": jnp.float32(0.0), "history": Ring.empty(3, event(-7))}
    return fresh, old


@pytest.mark.parametrize("flag", [False, True])
def test_restart_takes_small_leaves_and_clears_rings(flag: bool) -> None:
    fresh, old = states()
    state = jax.jit(restart)(flag, fresh, old)
    assert state["mood"] == (0.0 if flag else 0.5)
    assert contents(state["history"], 3) == ([] if flag else [1, 2])
    jax.tree.map(np.testing.assert_array_equal, state["history"].data, old["history"].data)  # never the fresh one's


@pytest.mark.parametrize("flag", [False, True])
def test_merge_takes_small_leaves_and_the_old_rings(flag: bool) -> None:
    new, old = states()
    state = jax.jit(merge)(flag, new, old)
    assert state["mood"] == (0.0 if flag else 0.5)
    assert contents(state["history"], 3) == [1, 2]
