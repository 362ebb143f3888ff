"""Whole sessions of a few users as text that people can read.

What was shown, what the user did with it, how the mindset moved, when and why it left, and when it came back. The
mindset is read from the simulator's own state, so this is for people who study the simulator, never for agents.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxreco.base import CLICK, COMMENT, EXAMINED, LEAVE, LIKE, SHARE, Context
from jaxreco.ring import restart
from jaxreco.struct import Struct

Array = jax.Array

MIND = ("mood", "trust", "boredom", "minutes", "budget", "satiation")  # of the user's state, where the model has them
SHORTEST = 60  # columns of a rule
TITLE = 44  # characters of a title; longer ones are cut


class Moment(Struct):
    """One turn of one user, as the text tells it. Leaves [T, B, ...] from `watch_lives`."""

    slate: Array  # i32[K]
    actions: Array  # i32[K]
    watch: Array  # f32[K], seconds
    begun: Array  # f32[], clock when the slate came, hours
    mind: Any  # name -> f32, before the slate
    after: Any  # name -> f32, after it, before the gap
    left: Array  # bool[]
    gap: Array  # f32[], hours
    terminated: Array  # bool[]
    truncated: Array  # bool[]


@functools.partial(jax.jit, static_argnames=("env", "agent", "users", "turns"))
def watch_lives(
    key: Array, env: Any, params: Any, agent: Any, agent_params: Any, users: int = 3, turns: int = 96
) -> Moment:
    """The first turns of some users' lives with an agent. Leaves [T, B, ...].

    The review is run a second time with the same key, because a step hands back the mind after the gap only.
    """

    def life(key: Array) -> Moment:
        key_reset, key_turns = jax.random.split(key)
        start = (env.reset(key_reset, params)[1], agent.reset(agent_params))
        turn = functools.partial(_turn, env, params, agent, agent_params)
        return jax.lax.scan(turn, start, jax.random.split(key_turns, turns))[1]

    return jax.vmap(life, out_axes=1)(jax.random.split(key, users))


def _turn(env: Any, params: Any, agent: Any, agent_params: Any, carry: Any, key: Array) -> tuple[Any, Moment]:
    state, memory = carry
    key_act, key_step = jax.random.split(key)
    truth = {"truth": (state, params)} if getattr(agent, "privileged", False) else {}
    catalog = env.catalog(state, params)
    action, memory, _ = agent.act(key_act, agent_params, memory, env.observe(state, params), catalog, **truth)
    step = env.step(key_step, state, action, params)
    key_review, _ = jax.random.split(jax.random.split(key_step)[0])
    slate, _ = env.decode(action, catalog)
    after = env.user_model.review(key_review, state.user, slate, params.user, catalog, Context())[0]
    feedback = step.info["feedback"]
    moment = Moment(
        slate=feedback.slate,
        actions=feedback.actions,
        watch=feedback.watch,
        begun=state.clock,
        mind=_mind(state.user),
        after=_mind(after),
        left=feedback.left,
        gap=step.info["gap_hours"],
        terminated=step.terminated,
        truncated=step.truncated,
    )
    done = step.terminated | step.truncated
    return (step.state, restart(done, agent.reset(agent_params), memory)), moment


def _mind(user: Any) -> dict[str, Array]:
    """What the user model shows of its mind."""
    return {name: getattr(user, name) for name in MIND if hasattr(user, name)}


def write(moments: Moment, env: Any, params: Any, title: str, sessions: int = 3) -> str:
    """The text: the first whole sessions of each user.

    Args:
      moments: of `watch_lives`, on host or device.
      title: the first line.
      sessions: at most so many a user.
    """
    moments = jax.tree.map(np.asarray, moments)
    lines = [plain(title), "", *_LEGEND]
    for user in range(moments.left.shape[1]):
        life = jax.tree.map(lambda x, user=user: x[:, user], moments)
        lines += ["", "=" * SHORTEST, f"User {user + 1}", "=" * SHORTEST]
        lines += _life(life, env, params, sessions)
    return "\n".join(lines) + "\n"


_LEGEND = (
    "Each turn lists the slate from the top. Below it, how the mindset moved: mood runs from -1 to 1, trust from 0",
    "to 1, boredom counts skips in a row, minutes are those of the session so far, of the time the user has for it.",
)


def _life(life: Moment, env: Any, params: Any, sessions: int) -> list[str]:
    """The first sessions of one user, up to the end of its episode."""
    lines, session, first = [], 1, 0
    duration = np.asarray(params.catalog.duration)
    for t in range(len(life.left)):
        now = jax.tree.map(lambda x, t=t: x[t], life)
        if t == first:
            lines += ["", f"Session {session}, {_when(now.begun)}"]
        lines += ["", f"  turn {t - first + 1}", *_slate(now, env, duration), *_moved(now, env)]
        over = bool(now.terminated | now.truncated)
        if now.left or over:
            lines += ["", "  " + _ending(now, params)]
            session, first = session + 1, t + 1
        if over or session > sessions:
            return lines
    return [*lines, "", "  (the record ends here)"]


def _slate(now: Moment, env: Any, duration: np.ndarray) -> list[str]:
    """A line a slot."""
    lines = []
    for item, actions, watch in zip(now.slate, now.actions, now.watch, strict=True):
        if item < 0:
            lines.append("    (empty slot)")
            continue
        name = env.names.titles[item] if env.names is not None else f"item {item}"
        lines.append(f"    {_cut(plain(name)):<{TITLE}}  {deed(int(actions), float(watch), float(duration[item]))}")
    return lines


def deed(actions: int, watch: float, duration: float) -> str:
    """What a user did with one slot, in words.

    Args: actions: bits of jaxreco.base; watch, duration: seconds.
    """
    if not actions & EXAMINED:
        return "not looked at"
    words = [f"watched {_seconds(watch)} of {_seconds(duration)}" if actions & CLICK else "skipped"]
    words += [word for bit, word in ((LIKE, "liked"), (COMMENT, "commented"), (SHARE, "shared")) if actions & bit]
    return ", ".join(words + (["then left"] if actions & LEAVE else []))


def _seconds(value: float) -> str:
    if value < 600.0:
        return f"{value:.0f} s"
    return f"{value / 60.0:.0f} min"


def _moved(now: Moment, env: Any) -> list[str]:
    """How the mindset moved in this turn."""
    before, after = now.mind, now.after
    words = [f"{name} {before[name]:+.2f} to {after[name]:+.2f}" for name in ("mood",) if name in after]
    words += [f"trust {before['trust']:.2f} to {after['trust']:.2f}"] if "trust" in after else []
    words += [f"boredom {after['boredom']:.0f}"] if "boredom" in after else []
    if {"minutes", "budget"} <= after.keys():
        words.append(f"{after['minutes']:.1f} of {after['budget']:.1f} minutes")
    if "satiation" in after and after["satiation"].size:
        category = int(np.argmax(after["satiation"]))
        known = env.names is not None and category < len(env.names.categories)
        name = plain(env.names.categories[category]) if known else f"category {category}"
        words.append(f"most sated with {name} ({after['satiation'][category]:.1f})")
    return ["    -> " + "; ".join(words)] if words else []


def _ending(now: Moment, params: Any) -> str:
    """When and why the session ended, and when the user came back."""
    if not now.left:
        return f"The horizon of {float(params.horizon_hours) / 24:g} days is reached: the record of this user ends."
    left = f"Left after {now.after['minutes']:.1f} minutes: " if "minutes" in now.after else "Left: "
    why = reason(now.after, params.user)
    if now.terminated:
        return f"{left}{why}. Lost: would have stayed away for {_hours(float(now.gap))}."
    back = f"Back after {_hours(float(now.gap))}"
    return f"{left}{why}. {back}{', beyond the horizon' if now.truncated else ''}."


def reason(mind: dict[str, Any], user_params: Any) -> str:
    """Why a session ended: the largest term of the leave hazard (`mechanisms.leave_probability`), in words."""
    terms: dict[str, Callable[[Any, Any], tuple[float, str]]] = {
        "budget": lambda m, p: (
            p.leave_time * min(m["minutes"] / m["budget"], 3.0),
            f"time, {m['minutes'] / m['budget']:.0%} of its time budget was spent",
        ),
        "boredom": lambda m, p: (p.leave_boredom * m["boredom"], f"bored after {m['boredom']:.0f} skips in a row"),
        "mood": lambda m, p: (-p.leave_mood * m["mood"], f"low mood ({m['mood']:+.2f})"),
        "trust": lambda m, p: (-p.leave_trust * (m["trust"] - 0.5), f"low trust ({m['trust']:.2f})"),
    }
    if not {"minutes", *terms} <= mind.keys() or not hasattr(user_params, "leave_boredom"):
        return "its user model does not say why"
    amount, words = max((term(mind, user_params) for term in terms.values()), key=lambda found: float(found[0]))
    return f"{words} ({float(amount):+.1f} on the log-odds of leaving)"


def _hours(hours: float) -> str:
    if hours < 1.0:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48.0 else f"{hours / 24:.1f} days"


def _when(clock: float) -> str:
    minutes = round(float(clock) * 60)
    return f"day {minutes // 1440 + 1}, {minutes // 60 % 24:02d}:{minutes % 60:02d} on the clock"


def _cut(text: str) -> str:
    return text if len(text) <= TITLE else text[: TITLE - 3] + "..."


def plain(text: str) -> str:
    """The text without control characters: titles are data, and must not drive somebody's terminal."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp", "Cs"))
