"""Lives in lanes: a world and an agent as two compiled programs that take turns.

A rollout compiles both into one loop, which runs fastest and takes seconds to compile for every agent anew. Where several
agents are set side by side, or a few users are watched, most of the time would go into compiling the same world again and
again; here it is compiled once for all agents. Keys are those of a rollout: the same draws for every user, floats equal
within rounding. A lane whose user is done with can go to another.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxreco.base import EMPTY
from jaxreco.ring import restart
from jaxreco.rollout import TILE, Tally, act, begin, mesh, tally_of, turn_keys, user_keys
from jaxreco.rollout import step as world_step
from jaxreco.struct import Struct

Array = jax.Array

PER_DEVICE = 64  # lanes: lives differ in length, and few lanes wait less for the longest (docs/speed.md)


class Lanes(Struct):
    """Users side by side; leaves [L, ...]."""

    user: Array  # i32, whose life it is
    turn: Array  # i32, turns done
    state: Any  # EnvState
    begins: Array  # bool, the agent has seen nothing of this episode
    tally: Tally  # of the first episode
    finished: Array  # bool, the first episode is over
    slate: Array  # i32[L, K], the latest of the first episode, EMPTY before it


@dataclasses.dataclass(frozen=True)
class Stage:
    """A world and an agent, ready to play: what does not change lies on every device.

    Args:
      key: of all lives; not consumed: user `i` at its turn `t` runs on `fold_in(fold_in(key, i), t)`.
      devices: all of them; each runs as many lanes.
      lanes: L, a multiple of devices.
    """

    key: Array
    env: Any
    params: Any
    agent: Any
    agent_params: Any
    devices: int
    lanes: int

    @classmethod
    def of(
        cls, key: Array, env: Any, params: Any, agent: Any, agent_params: Any, per_device: int = PER_DEVICE
    ) -> Stage:
        """Set the stage on all devices, with so many lanes on each."""
        devices = jax.device_count()
        if devices > 1:
            everywhere = NamedSharding(mesh(devices), PartitionSpec())
            key, params, agent_params = jax.device_put((key, params, agent_params), everywhere)
        return cls(key, env, params, agent, agent_params, devices, per_device * devices)

    def begin(self, users: Any) -> tuple[Lanes, Any]:
        """Lanes and agent's memory before the first turn of users i32[at most L]; what lanes are left repeat the last."""
        lanes = self._enter(users)
        return lanes, _blank(self.agent_params, lanes.user, self.agent, self.devices)

    def renew(self, lanes: Lanes, users: Any) -> Lanes:
        """Give lanes to users i32[L], who begin their lives there; where that is who is there already, its life goes on."""
        return _exchange(lanes, self._enter(users))

    def turn(self, lanes: Lanes, memory: Any) -> tuple[Lanes, Any, Array, dict[str, Any]]:
        """One turn of everybody: lanes and memory after it, slates i32[L, K], and the world's `info`, leaves [L, ...].

        The memory is donated.
        """
        params = self.params
        slate, memory = _act(self.key, params, self.agent_params, lanes, memory, self.env, self.agent, self.devices)
        lanes, info = _step(self.key, params, lanes, slate, self.env, self.devices)
        return lanes, memory, slate, info

    def _enter(self, users: Any) -> Lanes:
        users = np.asarray(users, np.int32)
        users = np.pad(users, (0, self.lanes - len(users)), mode="edge")
        return _begin(self.key, self.params, users, self.env, self.devices)


def _each(devices: int, work: Callable[..., Any], shared: int = 0) -> Callable[..., Any]:
    """`work` on every device's own lanes; the first `shared` arguments are the same for all."""
    if devices == 1:
        return work

    def run(*args: Any) -> Any:
        specs = tuple(PartitionSpec() if i < shared else PartitionSpec("users") for i in range(len(args)))
        split = jax.shard_map(
            work, mesh=mesh(devices), in_specs=specs, out_specs=PartitionSpec("users"), check_vma=False
        )
        return split(*args)

    return run


@functools.partial(jax.jit, static_argnames=("env", "devices"))
def _begin(key: Array, params: Any, users: Array, env: Any, devices: int) -> Lanes:
    def enter(key: Array, params: Any, users: Array) -> Lanes:
        state = jax.vmap(lambda user: begin(key, user, env, params))(users)
        no = jnp.zeros_like(users, bool)
        zero = jax.tree.map(lambda x: jnp.broadcast_to(x, users.shape), Tally.zero())
        blank = jnp.full_like(state.last.slate, EMPTY)
        return Lanes(
            user=users, turn=jnp.zeros_like(users), state=state, begins=~no, tally=zero, finished=no, slate=blank
        )

    return _each(devices, enter, shared=2)(key, params, users)


@functools.partial(jax.jit, static_argnames=("agent", "devices"))
def _blank(agent_params: Any, users: Array, agent: Any, devices: int) -> Any:
    """The agent's memories of users i32[L] before it has seen anything."""
    work = lambda agent_params, users: jax.vmap(lambda _: agent.reset(agent_params))(users)  # noqa: E731
    return _each(devices, work, shared=1)(agent_params, users)


@jax.jit
def _exchange(lanes: Lanes, begun: Lanes) -> Lanes:
    def choose(other: Array, new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(other, a, b), new, old)

    return jax.vmap(choose)(lanes.user != begun.user, begun, lanes)


@functools.partial(jax.jit, static_argnames=("env", "agent", "devices"), donate_argnames=("memory",))
def _act(
    key: Array, params: Any, agent_params: Any, lanes: Lanes, memory: Any, env: Any, agent: Any, devices: int
) -> tuple[Array, Any]:
    """What the agent shows everybody, and what it remembers."""
    size = lanes.user.shape[0] // devices
    tile = int(getattr(agent, "tile", TILE))
    tile = tile if size % tile == 0 else size

    def work(key: Array, params: Any, agent_params: Any, lanes: Lanes, memory: Any) -> tuple[Array, Any]:
        def of_tile(tile: tuple[Lanes, Any]) -> tuple[Array, Any]:
            lanes, memory = tile
            memory = jax.vmap(lambda new, m: restart(new, agent.reset(agent_params), m))(lanes.begins, memory)
            keys = turn_keys(user_keys(key, lanes.user), lanes.turn)
            slate, memory, _, _ = act(keys, params, agent_params, env, agent, lanes.state, memory)
            return slate, memory

        if tile == size:  # a loop would copy the memory
            return of_tile((lanes, memory))
        tiles = jax.tree.map(lambda x: x.reshape(size // tile, tile, *x.shape[1:]), (lanes, memory))
        return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), jax.lax.map(of_tile, tiles))

    return _each(devices, work, shared=3)(key, params, agent_params, lanes, memory)


@functools.partial(jax.jit, static_argnames=("env", "devices"))
def _step(key: Array, params: Any, lanes: Lanes, slate: Array, env: Any, devices: int) -> tuple[Lanes, dict[str, Any]]:
    """What everybody makes of its slate."""

    def work(key: Array, params: Any, lanes: Lanes, slate: Array) -> tuple[Lanes, dict[str, Any]]:
        keys = turn_keys(user_keys(key, lanes.user), lanes.turn)
        step = world_step(keys, params, env, lanes.state, slate)
        info = {name: value for name, value in step.info.items() if name != "final_observation"}
        over = step.terminated | step.truncated
        first = 1.0 - lanes.finished
        turn = jax.vmap(tally_of, (0, 0, None))(step.reward, step.info, params)
        tally = jax.tree.map(lambda a, b: a + first * b, lanes.tally, turn)
        shown = jnp.where(lanes.finished[:, None], lanes.slate, info["feedback"].slate)
        return Lanes(lanes.user, lanes.turn + 1, step.state, over, tally, lanes.finished | over, shown), info

    return _each(devices, work, shared=2)(key, params, lanes, slate)
