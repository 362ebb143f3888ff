"""Rollouts: many users, many turns, one compiled loop.

Users are run in padded tiles of a fixed size, because compiled reductions give other bits in another batch size:
with fixed tiles the life of user 3 is the same to the last bit whether 1 or 4,096 users run, on one device or on
several, in one scan or in chunks of two or more turns. Metrics are reduced inside the scan.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxreco.base import EnvParams, Observation
from jaxreco.env import RecoEnv
from jaxreco.ring import restart
from jaxreco.struct import Struct

Array = jax.Array

TILE = 256  # users a tile, for agents that do not say otherwise: what fits into a core's cache (docs/speed.md)
MONTH_H = 720.0  # thirty days
_OVERHEARD = 0x0EA5
_RESET_TURN = 0xFFFFFFFF  # the turn whose key draws the user: no rollout gets there


class Tally(Struct):
    """What has happened to a user, summed over turns. Every leaf is f32[], f32[B] in a Rollout."""

    turns: Array
    sessions: Array  # sessions begun
    reward: Array
    minutes: Array  # engaged
    hours: Array  # of the clock
    gap_hours: Array  # sum over gaps, each capped at churn_hours
    gaps: Array
    clicks: Array
    examined: Array
    likes: Array
    comments: Array
    shares: Array
    churned: Array  # 1 if lost
    early: Array  # sessions begun in the first 30 days
    day1: Array  # sessions begun in the second day: hours 24 to 48
    day7: Array  # in the eighth
    day30: Array  # in the thirty-first, which a horizon of 744 hours holds
    invalid: Array  # slots
    asked: Array  # slates that had an instruction to answer
    followed: Array  # of those, how many did (satisfies.follows)

    @classmethod
    def zero(cls) -> Tally:
        """Before the first turn: one session has begun, nothing else."""
        zeros = {name: jnp.float32(0.0) for name in cls.__dataclass_fields__}
        return cls(**{**zeros, "sessions": jnp.float32(1.0), "early": jnp.float32(1.0)})


class Metrics(Struct):
    """Two tallies a user: its first episode alone, and all of them."""

    life: Tally  # the first episode only: complete once `episodes` is at least 1
    total: Tally
    episodes: Array  # f32[], finished


class Trajectory(Struct):
    """What happened, turn by turn. Leaves are [T, B, ...]; only real users, no keys."""

    obs: Observation
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    bootstrap: Array  # f32, value of what follows where an episode was truncated and after the call's last turn, else 0
    info: dict[str, Any]  # the step's, less final_observation
    extras: Any  # the agent's


class Rollout(Struct):
    """A rollout, and all that is needed to continue it."""

    metrics: Metrics
    trajectory: Trajectory | None
    state: Any  # EnvState, leaves [B, ...]
    memory: Any  # the agent's, leaves [B, ...]
    turn: Array  # i32[B], turns done


def rollout(
    key: Array,
    env: RecoEnv,
    params: EnvParams,
    agent: Any,
    agent_params: Any,
    *,
    users: int,
    turns: int,
    tile: int | None = None,
    start: Rollout | None = None,
    trajectory: bool = False,
    twins: int = 1,
) -> Rollout:
    """Let `users` users live `turns` turns with an agent, with auto-reset.

    Args:
      key: of the whole rollout; a continued one takes the same key again. User `i` at its turn `t` runs on
        `fold_in(fold_in(key, i), t)`.
      env, agent: static; params, agent_params: traced.
      users: B. turns: T of this call.
      tile: users that run side by side; part of the promise of bit-equality, so compare runs of one tile size.
      start: a Rollout to continue, of the same users.
      trajectory: keep every turn, leaves [T, B, ...]; without it only sums are kept.
      twins: users live in groups of so many, who are the same person in the same luck: the world of user `i` draws by the keys
        of user `i - i % twins` (common random numbers), the agent by its own.

    Returns: a Rollout; `metrics` go on from `start`.

    Raises ValueError for sizes that cannot be.
    """
    if users < 1 or turns < 1 or twins < 1:
        raise ValueError(f"users is {users}, turns is {turns} and twins is {twins}: all must be at least 1.")
    if not tile:
        tile = int(getattr(agent, "tile", TILE))
    if start is not None and start.metrics.episodes.shape[0] != users:
        raise ValueError(f"start holds {start.metrics.episodes.shape[0]} users, not {users}: pass the same number.")
    # What was kept of the turns before is not needed to go on, and its length would compile the program anew.
    start = start if start is None else start.replace(trajectory=None)
    devices = devices_for(users, tile)
    return _rollout(key, params, agent_params, start, env, agent, users, turns, tile, trajectory, twins, devices)


def initial(
    key: Array, env: RecoEnv, params: EnvParams, agent: Any, agent_params: Any, *, users: int, tile: int | None = None
) -> Rollout:
    """The Rollout before its first turn: what `start` means when it is None."""
    ids = np.arange(users, dtype=np.int32)
    return _initial_users(key, params, agent_params, ids, env, agent, tile or getattr(agent, "tile", TILE))


@functools.partial(jax.jit, static_argnames=("env", "agent", "tile"))
def _initial_users(
    key: Array, params: EnvParams, agent_params: Any, user: Array, env: RecoEnv, agent: Any, tile: int
) -> Rollout:
    users = user.shape[0]
    ids = _tiles(user, -(-users // tile), tile)
    state, memory, metrics = jax.lax.map(lambda i: _begin(key, i, params, agent_params, env, agent), ids)
    state, memory, metrics = (_untile(x, users) for x in (state, memory, metrics))
    begun = Rollout(metrics=metrics, trajectory=None, state=state, memory=memory, turn=jnp.zeros_like(user))
    return _spread(begun, users, devices_for(users, tile))


@functools.partial(
    jax.jit, static_argnames=("env", "agent", "users", "turns", "tile", "trajectory", "twins", "devices")
)
def _rollout(
    key: Array,
    params: EnvParams,
    agent_params: Any,
    start: Rollout | None,
    env: RecoEnv,
    agent: Any,
    users: int,
    turns: int,
    tile: int,
    trajectory: bool,
    twins: int,
    devices: int,
) -> Rollout:
    tiles = -(-users // (tile * devices)) * devices
    ids = jnp.arange(users, dtype=jnp.int32)
    done = jnp.zeros_like(ids) if start is None else start.turn
    begun = None if start is None else _tiles((start.state, start.memory, start.metrics), tiles, tile)

    def run(key: Array, params: EnvParams, agent_params: Any, ids: Array, done: Array, begun: Any) -> Any:
        def one_tile(xs: tuple[Array, Array, Any]) -> Any:
            i, done, was = xs
            first = i - i % twins
            carry = _begin(key, first, params, agent_params, env, agent) if was is None else was
            whose = (user_keys(key, i), user_keys(key, first) if twins > 1 else None)
            body = functools.partial(_turn, whose, done, params, agent_params, env, agent, trajectory, turns)
            return jax.lax.scan(body, carry, jnp.arange(turns))

        return jax.lax.map(one_tile, (ids, done, begun))

    if devices > 1:
        split, whole = PartitionSpec("users"), PartitionSpec()
        run = jax.shard_map(
            run,
            mesh=mesh(devices),
            in_specs=(whole, whole, whole, split, split, split),
            out_specs=split,
            check_vma=False,
        )
    lanes, turns_done = _tiles((ids, done), tiles, tile)
    (state, memory, metrics), kept = run(key, params, agent_params, lanes, turns_done, begun)
    # [tiles, T, tile, ...] -> [T, B, ...]
    kept = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(turns, tiles * tile, *x.shape[3:])[:, :users], kept)
    state, memory, metrics = (_untile(x, users) for x in (state, memory, metrics))
    after = Rollout(metrics=metrics, trajectory=None, state=state, memory=memory, turn=done + turns)
    return _spread(after, users, devices).replace(trajectory=kept)


def mesh(devices: int) -> jax.sharding.Mesh:
    """The first `devices` devices along the axis `users`."""
    return jax.make_mesh((devices,), ("users",), axis_types=(AxisType.Auto,))


def _spread(tree: Any, users: int, devices: int) -> Any:
    """Leaves [B, ...] shared out over the devices, always in the same way, so that continuing does not recompile."""
    if devices == 1 or users % devices:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh(devices), PartitionSpec("users")))


def devices_for(users: int, tile: int) -> int:
    """How many devices have a tile to run: one program cannot name more of them in one place than in another."""
    return min(jax.device_count(), -(-users // tile))


def _untile(tree: Any, users: int) -> Any:
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])[:users], tree)


def _tiles(tree: Any, tiles: int, tile: int) -> Any:
    """[B, ...] -> [tiles, tile, ...], the last user repeated in the padding."""

    def pad(x: Array) -> Array:
        missing = tiles * tile - x.shape[0]
        x = jnp.concatenate([x, jnp.broadcast_to(x[-1:], (missing, *x.shape[1:]))]) if missing else x
        return x.reshape(tiles, tile, *x.shape[1:])

    return jax.tree.map(pad, tree)


def _begin(key: Array, ids: Array, params: EnvParams, agent_params: Any, env: RecoEnv, agent: Any) -> Any:
    """(state, memory, metrics) of a tile of users before their first turn."""

    def user(i: Array) -> Any:
        tally = Tally.zero()
        metrics = Metrics(life=tally, total=tally, episodes=jnp.float32(0.0))
        return begin(key, i, env, params), agent.reset(agent_params), metrics

    return jax.vmap(user)(ids)


def begin(key: Array, user: Array, env: RecoEnv, params: EnvParams) -> Any:
    """The state of user i32[] before its first turn, under the rollout's key."""
    return env.reset(jax.random.fold_in(jax.random.fold_in(key, user), _RESET_TURN), params)[1]


def user_keys(key: Array, users: Array) -> Array:
    """Keys [tile] of users i32[tile], under the rollout's key."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, users)


class TurnKeys(NamedTuple):
    """The keys of a turn; [tile] each."""

    turn: Array  # its parent: only for what is neither of the agent nor of the world
    act: Array
    step: Array


def turn_keys(keys: Array, turn: Array) -> TurnKeys:
    """The keys of users with keys [tile] at their turns i32[tile]."""
    now = jax.vmap(jax.random.fold_in)(keys, turn)
    both = jax.vmap(jax.random.split)(now)
    return TurnKeys(now, both[:, 0], both[:, 1])


def act(
    keys: TurnKeys, params: EnvParams, agent_params: Any, env: RecoEnv, agent: Any, state: Any, memory: Any
) -> tuple[Array, Any, Any, Observation]:
    """A tile's slates, the agent's memories and extras after them, and what it saw; leaves [tile, ...]."""

    def one(key: Array, state: Any, memory: Any, obs: Observation) -> Any:
        catalog = env.catalog(state, params)
        if getattr(agent, "privileged", False):
            return agent.act(key, agent_params, memory, obs, params.truth(catalog), truth=(state, params))
        return agent.act(key, agent_params, memory, obs, catalog)

    obs = jax.vmap(env.observe, (0, None))(state, params)
    if hasattr(agent, "overhear"):  # what one agent hears of others' users: a control, see jaxreco.talk.hearing
        obs = agent.overhear(jax.random.fold_in(keys.turn[0], _OVERHEARD), obs)
    return *jax.vmap(one)(keys.act, state, memory, obs), obs


def step(keys: TurnKeys, params: EnvParams, env: RecoEnv, state: Any, action: Array) -> Any:
    """The world's answer to a tile's slates, leaves [tile, ...]."""
    return jax.vmap(env.step, (0, 0, 0, None))(keys.step, state, action, params)


def _turn(
    whose: tuple[Array, Array | None],
    done: Array,
    params: EnvParams,
    agent_params: Any,
    env: RecoEnv,
    agent: Any,
    trajectory: bool,
    turns: int,
    carry: Any,
    step_of_call: Array,
) -> tuple[Any, Trajectory | None]:
    """One turn of a tile: act, step, count, and forget where an episode ended. Args: whose, keys of users, and of whom the worlds
    draw for, where that is another.
    """
    state, memory, metrics = carry
    own, world = whose
    keys = turn_keys(own, done + step_of_call)
    if world is not None:
        keys = keys._replace(step=turn_keys(world, done + step_of_call).step)
    action, memory, extras, obs = act(keys, params, agent_params, env, agent, state, memory)
    after = step(keys, params, env, state, action)
    info = dict(after.info)
    final = info.pop("final_observation")
    kept = None
    if trajectory:
        broken_off = (after.truncated | (step_of_call == turns - 1)) & ~after.terminated
        bootstrap = _final_values(agent, agent_params, memory, final, params, broken_off)
        kept = Trajectory(obs, action, after.reward, after.terminated, after.truncated, bootstrap, info, extras)
    over = after.terminated | after.truncated
    memory = jax.vmap(lambda o, m: restart(o, agent.reset(agent_params), m))(over, memory)
    metrics = jax.vmap(_count, (0, 0, 0, 0, None))(metrics, after.reward, over, after.info, params)
    return (after.state, memory, metrics), kept


def _final_values(
    agent: Any, agent_params: Any, memory: Any, final: Observation, params: EnvParams, broken_off: Array
) -> Array:
    """f32[tile]: what would still have followed where an episode was broken off; 0 elsewhere.

    A tile in which none was skips the network: the branch is taken at run time, outside `vmap`.
    """
    if not hasattr(agent, "value"):
        return jnp.zeros(broken_off.shape)

    def values() -> Array:
        value = jax.vmap(agent.value, (None, 0, 0, None))(agent_params, memory, final, params.catalog)
        return jnp.where(broken_off, value, 0.0)

    return jax.lax.cond(jnp.any(broken_off), values, lambda: jnp.zeros(broken_off.shape))


def tally_of(reward: Array, info: dict[str, Any], params: EnvParams) -> Tally:
    """One turn of one user. Args: info, the step's, with its `final_observation`."""
    returned, clock = info["returned"], info["final_observation"].clock

    def between(first: float, last: float) -> Array:
        """Whether a session begins between these hours of the life."""
        return (returned & (clock >= first) & (clock < last)).astype(jnp.float32)

    day1, day7, day30 = (between(24.0 * day, 24.0 * (day + 1)) for day in (1, 7, 30))
    return Tally(
        turns=jnp.float32(1.0),
        sessions=info["returned"].astype(jnp.float32),
        reward=reward,
        minutes=info["minutes"],
        hours=info["hours"],
        gap_hours=jnp.minimum(info["gap_hours"], params.churn_hours),
        gaps=info["left"].astype(jnp.float32),
        clicks=info["clicks"].astype(jnp.float32),
        examined=info["examined"].astype(jnp.float32),
        likes=info["likes"].astype(jnp.float32),
        comments=info["comments"].astype(jnp.float32),
        shares=info["shares"].astype(jnp.float32),
        churned=info["churned"].astype(jnp.float32),
        early=between(0.0, MONTH_H),
        day1=day1,
        day7=day7,
        day30=day30,
        invalid=info["invalid"].astype(jnp.float32),
        asked=info["asked"].astype(jnp.float32),
        followed=info["followed"].astype(jnp.float32),
    )


def _count(metrics: Metrics, reward: Array, done: Array, info: dict[str, Array], params: EnvParams) -> Metrics:
    """Add one turn of one user."""
    turn = tally_of(reward, info, params)
    first = (metrics.episodes == 0).astype(jnp.float32)
    total = jax.tree.map(jnp.add, metrics.total, turn)
    # The next episode opens with a session.
    total = total.replace(sessions=total.sessions + done, early=total.early + done)
    return Metrics(
        life=jax.tree.map(lambda a, b: a + first * b, metrics.life, turn),
        total=total,
        episodes=metrics.episodes + done,
    )
