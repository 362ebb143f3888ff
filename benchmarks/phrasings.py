"""What an agent follows of what reaches it as text: said in phrasings that are kept for testing, read by the parser.

The same users live again and again under the same luck. Once the agent is handed the tokens of what they ask for, then the tokens that
`jaxreco.talk.parser` makes of it, said by `jaxreco.talk.english` with a template that is kept for testing; a text that is refused
reaches it as silence. Reasons are silenced in both, so that nothing reaches the agent beside the text.

The parser was written to read every template, so that is the easy case. For strangers, who type what no template has, the same
texts are refused by chance, as often as the parser refused phrasings that somebody wrote by hand when it first met them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog, Instruction, Names, Trace
from jaxreco.benchmarks import following
from jaxreco.lanes import Stage
from jaxreco.report.standing import Estimate
from jaxreco.talk import english, parser
from jaxreco.talk.grammar import CAUSE, INTENT, KIND
from jaxreco.talk.mentions import NotUnderstood
from jaxreco.talk.satisfies import follows

Array = jax.Array

USERS, TURNS = 128, 64
VARIANTS = 24  # templates that are kept, times the wordings of a reason


REFUSED = (
    101 / 295
)  # of phrasings written by hand that had a meaning and met the parser for the first time (docs/instructions.md)


SILENCE = (0, 0, EMPTY, 0.0, 0)


class Heard(NamedTuple):
    """How an agent followed tokens, texts in phrasings that are kept for testing, and these when many are refused."""

    tokens: following.Cases
    text: following.Cases
    strangers: following.Cases
    said: int  # texts of the second
    right: int  # of those, heard as they were meant


class Texts:
    """Says instructions in English and reads them back.

    Args: names, catalog: of the world. seed: of the phrasings. refused: share of the texts that are refused whatever they say.
    """

    def __init__(self, names: Names | None, catalog: Catalog, seed: int = 0, refused: float = 0.0) -> None:
        self._names, self._catalog, self._rng = names, catalog, np.random.default_rng(seed)
        self._refused = refused
        self.said = self.right = 0

    def heard(self, said: Instruction) -> tuple[int, int, int, float, int]:
        """What an instruction of scalars is heard as: its fields; silence where the text is refused."""
        meant = (int(said.intent), int(said.target_kind), int(said.target), float(said.strength), int(said.cause))
        text = english.say(said, self._names, int(self._rng.integers(VARIANTS)), held_out=True)
        got = SILENCE if self._rng.random() < self._refused else self.read(text)
        self.said += 1
        self.right += got[:3] == meant[:3]
        return got

    def read(self, text: str) -> tuple[int, int, int, float, int]:
        """The fields of the first request of a text; silence where it is refused."""
        try:
            wish = parser.understand(text, self._names, self._catalog)[0]
        except NotUnderstood:
            return SILENCE
        target = EMPTY if wish.target_id is None else wish.target_id
        return INTENT[wish.intent], KIND[wish.target_kind], target, wish.strength, CAUSE[wish.cause]


def lives(
    seed: int, env: Any, params: Any, agent: Any, agent_params: Any, *, users: int = USERS, turns: int = TURNS
) -> Heard:
    """An agent hears its users' tokens, what is read from their text, and what is read when many texts are refused."""
    texts, strangers = (Texts(env.names, params.catalog, seed, refused) for refused in (0.0, REFUSED))
    tokens, text, strange = (
        _cases(seed, env, params, agent, agent_params, users, turns, by) for by in (None, texts, strangers)
    )
    return Heard(tokens, text, strange, said=texts.said, right=texts.right)


def follow(heard: Heard) -> tuple[Estimate, ...]:
    """Macro scores of following: by tokens; by text, and the share of the first that it keeps; by strangers' text, and the share."""
    text, strangers = (kept(heard.tokens, other) for other in (heard.text, heard.strangers))
    return *text, *strangers[1:]


def kept(tokens: following.Cases, text: following.Cases) -> tuple[Estimate, Estimate, Estimate]:
    """Macro scores of following by tokens and by text, and the share that text keeps, over the intents that both can score.

    Users are resampled for both at once. NaN where nothing can be scored.
    """
    (first, some), (second, others) = following.sums_of(tokens), following.sums_of(text)
    both, n = [intent for intent in some if intent in others], max(first.shape[1], second.shape[1])
    if not both:
        return (Estimate(float("nan")),) * 3
    each = [np.pad(sums, ((0, 0), (0, n - sums.shape[1]), (0, 0))) for sums in (first, second)]

    def of(weight: np.ndarray) -> np.ndarray:
        by_tokens, by_text = (float(following.score_of(sums, both, weight).mean()) for sums in each)
        return np.array([by_tokens, by_text, by_text / by_tokens if by_tokens > 0.0 else np.nan])

    value, rng = of(np.ones(n)), np.random.default_rng(0)
    draws = [of(rng.multinomial(n, np.full(n, 1 / n)).astype(float)) for _ in range(following.RESAMPLES)]
    low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0) if value[0] > 0.0 else (value, value)
    return tuple(Estimate(*map(float, numbers)) for numbers in zip(value, low, high, strict=True))  # type: ignore[return-value]


def _cases(
    seed: int, env: Any, params: Any, agent: Any, agent_params: Any, users: int, turns: int, texts: Texts | None
) -> following.Cases:
    """Every instruction of some lives, and whether the next slate followed it, when the agent hears tokens, or what `texts` make of them."""
    stage = Stage.of(jax.random.fold_in(jax.random.key(seed), 7), env, params, agent, agent_params, per_device=users)
    lanes, memory = stage.begin(np.arange(users))
    quiet = jax.tree.map(lambda x: jnp.broadcast_to(x, (stage.lanes, *x.shape)), Trace.silent())
    found: list[np.ndarray] = []
    for turn in range(turns):
        before = lanes.state
        heard = before.instruction if texts is None else _by_text(before.instruction, texts)
        lanes = lanes.replace(state=before.replace(instruction=heard, trace=quiet))
        lanes, memory, slate, _ = stage.turn(lanes, memory)
        # From the host: a program over arrays that are shared out would wait for another device, which may wait for the turn's.
        judged = _judged(jax.random.fold_in(stage.key, turn), *jax.device_get((before, slate)), params, env)
        intent, did, chance = (np.asarray(x)[:users] for x in (before.instruction.intent, *judged))
        spoke = np.flatnonzero(intent > 0)
        found.append(np.stack([intent[spoke], spoke, did[spoke], chance[spoke]]))
    intent, user, now, chance = np.concatenate(found, axis=1)
    none = np.full(len(now), np.nan)
    return following.Cases(intent.astype(int), user.astype(int), now, none, none, chance, none)


def _by_text(meant: Instruction, texts: Texts) -> Instruction:
    """What instructions, leaves [L], are heard as."""
    fields = [np.array(getattr(meant, name)) for name in ("intent", "target_kind", "target", "strength", "cause")]
    for lane in np.flatnonzero(fields[0] > 0):
        got = texts.heard(Instruction(*(field[lane] for field in fields)))
        for field, value in zip(fields, got, strict=True):
            field[lane] = value
    return Instruction(*map(jnp.asarray, fields))


@functools.partial(jax.jit, static_argnames="env")
def _judged(key: Array, state: Any, slate: Array, params: Any, env: Any) -> tuple[Array, Array]:
    """Whether slates i32[L, K] follow what was asked in states, bool[L], and the share f32[L] of random slates that do."""
    catalog = params.truth(params.catalog)

    def one(key: Array, state: Any, slate: Array) -> tuple[Array, Array]:
        moment = env.user_model.situation(state.user, params.user, catalog)
        drawn = jax.vmap(env.random_slate)(jax.random.split(key, following.DRAWS))
        by_chance = jax.vmap(lambda each: follows(state.instruction, each, moment))(drawn)
        return follows(state.instruction, slate, moment), jnp.mean(by_chance.astype(jnp.float32))

    return jax.vmap(one)(jax.random.split(key, slate.shape[0]), state, slate)
