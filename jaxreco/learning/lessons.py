"""Lessons: another agent says which slates it would have shown, at the states that the learner itself comes to.

The learner acts, so that it is taught what to do where it will be (DAgger: Ross, Gordon & Bagnell 2011), and its loss is the negative
log-likelihood of the teacher's slate, in the teacher's order (ListMLE: Xia et al. 2008). A teacher may be fitted to a log, such as
`sasrec`, or read minds, such as an oracle: what it knows the learner has to make out from what it sees itself (Chen et al. 2020,
"Learning by cheating").
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreco.base import Catalog, Observation
from jaxreco.learning.config import TrainConfig
from jaxreco.learning.passes import everywhere, learning_devices, optimiser, passes
from jaxreco.rollout import Rollout, initial, rollout
from jaxreco.struct import Struct

Array = jax.Array


class Noted(Struct):
    """The extras of a turn with a teacher."""

    did: Any  # the learner's own
    wanted: Array  # i32[K], the teacher's slate


class Pupil(Struct):
    """The whole state of lessons."""

    agent_params: Any
    teacher_params: Any
    opt_state: Any
    rollout: Rollout  # without trajectory
    lesson: Array  # i32[], lessons done


@dataclasses.dataclass(frozen=True)
class Taught:
    """The learner acts, and the teacher looks on. Parameters and memories are pairs, the learner's first."""

    learner: Any
    teacher: Any

    @property
    def privileged(self) -> bool:
        """Whether the teacher reads minds. The learner never does."""
        return bool(getattr(self.teacher, "privileged", False))

    @property
    def tile(self) -> int:
        """Users a tile."""
        return int(self.learner.tile)

    def reset(self, agent_params: tuple[Any, Any]) -> tuple[Any, Any]:
        """Both memories before the first turn."""
        return self.learner.reset(agent_params[0]), self.teacher.reset(agent_params[1])

    def act(
        self, key: Array, agent_params: tuple[Any, Any], memory: tuple[Any, Any], obs: Observation, catalog: Catalog,
        **truth: Any,
    ) -> tuple[Array, tuple[Any, Any], Noted]:  # fmt: skip
        """The learner's slate i32[K], both memories, and what the teacher would have shown. The key is consumed."""
        for_learner, for_teacher = jax.random.split(key)
        known = truth["truth"][1].catalog if truth else catalog  # a teacher that reads minds is handed what items hide
        slate, mine, did = self.learner.act(for_learner, agent_params[0], memory[0], obs, known)
        wanted, its, _ = self.teacher.act(for_teacher, agent_params[1], memory[1], obs, catalog, **truth)
        return slate, (mine, its), Noted(did, wanted)


def learn(
    key: Array,
    env: Any,
    params: Any,
    learner: tuple[Any, Any],
    teacher: tuple[Any, Any],
    config: TrainConfig,
    say: Callable[[int, dict[str, float]], None] = lambda lesson, figures: None,
) -> Any:
    """The learner's parameters after `config.updates` lessons of config.users x config.turns.

    Args: key: drawn from for users, turns and shuffles. learner, teacher: (agent, agent_params). say: told each lesson's figures:
      `nats` a slot of the teacher's slates, `agree`, the share of them that the learner showed too, `reward_per_day`.
    """
    agent = Taught(learner[0], teacher[0])
    both = (learner[1], teacher[1])
    run = initial(key, env, params, agent, both, users=config.users)
    begun = (*both, optimiser(config).init(learner[1].net), jnp.int32(0))
    agent_params, teacher_params, opt_state, lesson = everywhere(begun, learning_devices(config, agent))
    pupil = Pupil(agent_params, teacher_params, opt_state, run, lesson)
    for number in range(1, config.updates + 1):
        pupil, figures = _lesson(key, params, pupil, env, agent, config)
        say(number, {name: float(value) for name, value in figures.items()})
    return pupil.agent_params


@functools.partial(jax.jit, static_argnames=("env", "agent", "config"))
def _lesson(
    key: Array, params: Any, pupil: Pupil, env: Any, agent: Taught, config: TrainConfig
) -> tuple[Pupil, dict[str, Array]]:
    """T turns of B users, and passes over what the teacher would have shown them. The key is that of all lessons."""
    before, agent_params = pupil.rollout, pupil.agent_params
    both = (agent_params, pupil.teacher_params)
    size = {"users": config.users, "turns": config.turns}
    ran = rollout(key, env, params, agent, both, **size, start=before, trajectory=True)
    trajectory = ran.trajectory
    assert trajectory is not None
    did, wanted = trajectory.extras.did, trajectory.extras.wanted
    done = (trajectory.terminated | trajectory.truncated).astype(jnp.int32)
    turns = (did.percept, jnp.cumsum(done, axis=0) - done, wanted)
    users_first = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), turns)
    loss = functools.partial(_nats, agent.learner)
    shuffle = jax.random.fold_in(jax.random.fold_in(key, 0x1E55), pupil.lesson)
    data = (users_first, before.memory[0])
    devices = learning_devices(config, agent)
    same = (agent_params, params.catalog)
    net, opt_state, figures = passes(shuffle, agent_params.net, pupil.opt_state, data, same, loss, config, devices)
    agent_params = agent_params.replace(net=net)
    if hasattr(agent.learner, "absorb"):
        own = trajectory.replace(extras=did)
        agent_params = agent.learner.absorb(agent_params, own, ran.memory[0], params.catalog)
    figures["agree"] = jnp.mean((trajectory.action[..., None] == wanted[..., None, :]).any(axis=-1))
    figures["reward_per_day"] = jnp.sum(trajectory.reward) / (jnp.sum(trajectory.info["hours"]) / 24.0)
    ran = ran.replace(trajectory=None)
    return Pupil(agent_params, pupil.teacher_params, opt_state, ran, pupil.lesson + 1), figures


def _nats(agent: Any, net: Any, part: Any, same: Any) -> tuple[Array, dict[str, Array]]:
    """f32[]: negative log-likelihood of a slot of the teacher's slates."""
    agent_params, catalog = same
    (percept, episode, wanted), memory = part
    again = jax.vmap(agent.replay, (None, 0, 0, 0, 0, None))(
        agent_params.replace(net=net), memory, percept, episode, wanted, catalog
    )
    nats = -jnp.mean(again.log_prob)
    return nats, {"nats": nats}
