"""Whole sessions of a few users as text that people can read.

What was shown, what the user did with it, how the mindset moved and why, what the user said and how it was answered,
when and why it left, and when it came back. The mindset is read from the simulator's own state, so this is for people
who study the simulator, never for agents.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import CLICK, COMMENT, EXAMINED, LEAVE, LIKE, SHARE, EnvState, Instruction, Trace, mind_of
from jaxreco.env import instruct
from jaxreco.lanes import Stage
from jaxreco.struct import Struct
from jaxreco.talk.satisfies import HALF, satisfies
from jaxreco.talk.words import printable

Array = jax.Array

SHORTEST = 60  # columns of a rule
TITLE = 44  # characters of a title; longer ones are cut
DEED = 24  # columns that most deeds fit in


class Moment(Struct):
    """One turn of one user, as the text tells it. Leaves [T, B, ...] from `watch_lives`."""

    slate: Array  # i32[K]
    actions: Array  # i32[K]
    watch: Array  # f32[K], seconds
    begun: Array  # f32[], clock when the slate came, hours
    mind: Any  # name -> f32, before the slate
    after: Any  # name -> f32, after it, before the gap
    heard: Instruction  # what the agent answered with the slate
    said: Instruction  # what it hears next; after a leave, at the opening of the next session; silence at the very end
    trace: Trace  # why the mind changed over the slate
    followed: Array  # f32[], slots that satisfy what was heard; NaN where nothing was, or the user model cannot tell
    left: Array  # bool[]
    gap: Array  # f32[], hours
    terminated: Array  # bool[]
    truncated: Array  # bool[]
    plan: Array | None = None  # i32[2], of an agent that plans: what its `tell` puts into words


def watch_lives(
    key: Array,
    env: Any,
    params: Any,
    agent: Any,
    agent_params: Any,
    users: int = 3,
    turns: int = 96,
    first: int = 0,
    words: Instruction | None = None,
    at: int = 0,
) -> Moment:
    """The first turns of some users' lives with an agent. Host leaves [T, B, ...].

    The life of a user depends on its number alone, not on how many are watched, or for how long.

    Args:
      key: of all lives; not consumed.
      users, turns: B and T. first: the number of the first user.
      words: what a person says in a user's place before the turn `at` (the first is 0); None leaves users to themselves.
    """
    stage = Stage.of(key, env, params, agent, agent_params)
    ids = range(first, first + users)
    parts = [
        _watch(stage, ids[start : start + stage.lanes], turns, words, at) for start in range(0, users, stage.lanes)
    ]
    lives = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *parts)
    # A person's words come after the turn before was told: there they take the place of the user's own.
    if words is not None and 1 <= at < turns:
        spoke_over = ~(lives.terminated | lives.truncated)[at - 1]
        for told, heard in zip(jax.tree.leaves(lives.said), jax.tree.leaves(lives.heard), strict=True):
            told[at - 1] = np.where(spoke_over, heard[at], told[at - 1])
    return lives


def _watch(stage: Stage, users: Sequence[int], turns: int, words: Instruction | None, at: int) -> Moment:
    """Lives of at most as many users as there are lanes."""
    lanes, memory = stage.begin(users)
    moments = []
    for t in range(turns):
        if words is not None and t == at:
            lanes = lanes.replace(state=_instruct(lanes.state, words))
        before = lanes.state
        lanes, memory, _, info = stage.turn(lanes, memory)
        moment = _moment(stage.env, stage.params, before, info, lanes.state)
        moment = jax.device_get(moment.replace(plan=getattr(memory, "plan", None)))
        moments.append(jax.tree.map(lambda x: x[: len(users)], moment))
    return jax.tree.map(lambda *turns: np.stack(turns), *moments)


_instruct = jax.jit(jax.vmap(instruct, (0, None)))


@functools.partial(jax.jit, static_argnames="env")
def _moment(env: Any, params: Any, before: EnvState, info: dict[str, Any], after: EnvState) -> Moment:
    """What is told of one turn. Leaves [L, ...]."""
    feedback, done, said = info["feedback"], info["terminated"] | info["truncated"], after.instruction
    return Moment(
        slate=feedback.slate,
        actions=feedback.actions,
        watch=feedback.watch,
        begun=before.clock,
        mind=mind_of(before.user),
        after=info["mind"],
        heard=before.instruction,
        said=said.replace(intent=jnp.where(done, 0, said.intent)),
        trace=info["trace"],
        followed=jax.vmap(functools.partial(_followed, env, params))(before, feedback.slate),
        left=feedback.left,
        gap=info["gap_hours"],
        terminated=info["terminated"],
        truncated=info["truncated"],
    )


def _followed(env: Any, params: Any, state: EnvState, slate: Array) -> Array:
    """f32[]: how many slots satisfy the instruction; NaN in silence, and where the user model has no `situation`."""
    if not hasattr(env.user_model, "situation"):
        return jnp.float32(jnp.nan)
    situation = env.user_model.situation(state.user, params.user, params.truth(env.catalog(state, params)))
    does = (satisfies(state.instruction, jnp.maximum(slate, 0), situation) >= HALF) & (slate >= 0)
    return jnp.where(state.instruction.intent > 0, jnp.sum(does, dtype=jnp.float32), jnp.nan)


def write(
    moments: Moment, env: Any, params: Any, title: str, sessions: int = 3, first: int = 0, agent: Any = None
) -> str:
    """The text: the first whole sessions of each user.

    Args:
      moments: of `watch_lives`, on host or device.
      title: the first line.
      sessions: at most so many a user.
      first: the number of the first user.
      agent: whose plans are told, where it has any.
    """
    moments = jax.tree.map(np.asarray, moments)
    tell = getattr(agent, "tell", None) if moments.plan is not None else None
    lines = [printable(title), "", *_LEGEND]
    for user in range(moments.left.shape[1]):
        life = jax.tree.map(lambda x, user=user: x[:, user], moments)
        lines += ["", "=" * SHORTEST, f"User {first + user + 1} (--user {first + user})", "=" * SHORTEST]
        lines += _life(life, env, params, sessions, tell)
    return "\n".join(lines) + "\n"


_LEGEND = (
    "Each turn lists the slate from the top, with category and creator. Below it, how the mindset moved: mood runs",
    "from -1 to 1, trust from 0 to 1, boredom counts skips in a row, minutes are those of the session so far, of the",
    "time the user has for it.",
    "because: the strongest reasons, with the logits by which they raised or lowered the urge to leave. says: what the",
    "user tells the recommender, which answers with the next slate. plan: what the recommender is after, if it plans.",
)


def spans(life: Moment) -> list[tuple[int, int]]:
    """The whole sessions of one user's first episode, each as its first turn and the turn after its last.

    Args: life: host leaves [T, ...].
    """
    found, start = [], 0
    for t, (left, over) in enumerate(zip(life.left, life.terminated | life.truncated, strict=True)):
        if left or over:
            found.append((start, t + 1))
            start = t + 1
        if over:
            break
    return found


def ended(life: Moment) -> bool:
    """Whether the record of one user reaches the end of its episode."""
    return bool(np.any(life.terminated | life.truncated))


def _life(
    life: Moment, env: Any, params: Any, sessions: int, tell: Callable[[np.ndarray, Any], str] | None = None
) -> list[str]:
    """The first sessions of one user, up to the end of its episode."""
    lines, whole = [], spans(life)
    last = whole[-1][1] if whole else 0
    cut = [(last, len(life.left))] if not ended(life) and last < len(life.left) else []
    for number, (start, stop) in enumerate((whole + cut)[:sessions], start=1):
        lines += ["", f"Session {number}, {_when(float(life.begun[start]))}"]
        lines += _says(at(life, start).heard, env, start - 1, indent=2)
        for t in range(start, stop):
            lines += ["", f"  turn {t - start + 1}{_answer(at(life, t))}"]
            if tell is not None and life.plan is not None:
                lines += [f"    plan: {printable(tell(np.asarray(life.plan[t]), env.names))}"]
            lines += _told(at(life, t), env, params, t)
        ending = _ending(at(life, stop - 1), params) if stop <= last else "(the record ends here)"
        lines += ["", "  " + ending]
    return lines


def at(life: Moment, t: int) -> Moment:
    """One turn of one user."""
    return jax.tree.map(lambda x: x[t], life)


def _told(now: Moment, env: Any, params: Any, t: int) -> list[str]:
    """What happened in a turn, line by line."""
    shown = slots(now, env, params)
    lines = [f"    {_cut(s.title):<{TITLE}}  {s.deed:<{DEED}}  {', '.join(s.facts[:2])}".rstrip() for s in shown]
    lines += [*_moved(now, env), *_because(now, env, params)]
    return lines if now.left else lines + _says(now.said, env, t)


class Shown(NamedTuple):
    """One slot of a slate, in words."""

    title: str
    deed: str = ""  # what the user did with it; "" for an empty slot
    facts: tuple[str, ...] = ()  # category, creator, length and age: what people say of items


def slots(now: Moment, env: Any, params: Any) -> list[Shown]:
    """The slate from the top."""
    found, catalog, names = [], params.catalog, env.names
    category, creator, duration, age = (
        np.asarray(x) for x in (catalog.category, catalog.creator, catalog.duration, catalog.age)
    )
    for item, actions, watch in zip(now.slate, now.actions, now.watch, strict=True):
        if item < 0:
            found.append(Shown("(empty slot)"))
            continue
        facts = (
            _name("category", category[item], names and names.categories),
            _name("creator", creator[item], names and names.creators),
            _seconds(float(duration[item])),
            _old(float(age[item] + now.begun)),
        )
        title = _name("item", item, names and names.titles)
        found.append(Shown(title, deed(int(actions), float(watch), float(duration[item])), facts))
    return found


def _name(kind: str, index: int, names: Sequence[str] | None) -> str:
    return printable(names[index]) if names and 0 <= index < len(names) else f"{kind} {index}"


def _old(hours: float) -> str:
    for unit, size in (("years", 8766.0), ("months", 730.5), ("days", 24.0)):
        if hours >= 2 * size:
            return f"{hours / size:.0f} {unit} old"
    return f"{hours:.0f} hours old"


def _answer(now: Moment) -> str:
    """How far the slate is what was asked for."""
    if np.isnan(now.followed):
        return ""
    return f", the answer: {now.followed:.0f} of {np.sum(now.slate >= 0)} slots are what it asked for"


def _says(instruction: Instruction, env: Any, variant: int, indent: int = 4) -> list[str]:
    """What the user says, where it says anything."""
    text = spoken(instruction, env, variant)
    return [f'{" " * indent}says: "{text}"'] if text else []


def spoken(instruction: Instruction, env: Any, variant: int) -> str:
    """An instruction in English; "" for silence."""
    if instruction.intent <= 0:
        return ""
    from jaxreco.talk import english

    return printable(english.say(instruction, env.names, variant))


def _because(now: Moment, env: Any, params: Any) -> list[str]:
    """The reasons of the turn."""
    if not np.any(now.trace.cause > 0):
        return []
    from jaxreco.talk import english

    reasons = english.explain(now.trace, env.names, params.catalog)
    return [f"    {'because:' if i == 0 else '':<8} {printable(text)}" for i, text in enumerate(reasons)]


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
        name = _name("category", category, env.names and env.names.categories)
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
    minutes = round(clock * 60)
    return f"day {minutes // 1440 + 1}, {minutes // 60 % 24:02d}:{minutes % 60:02d} on the clock"


def _cut(text: str) -> str:
    return text if len(text) <= TITLE else text[: TITLE - 3] + "..."
