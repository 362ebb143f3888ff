"""What satisfies an instruction, worked by hand on a small catalog; grammar round trips; agents that (do not) listen."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL

import jaxreco
from jaxreco.base import EMPTY, Catalog, Instruction
from jaxreco.benchmarks import faithfulness
from jaxreco.rollout import rollout
from jaxreco.talk import grammar
from jaxreco.talk.grammar import CAUSES, INTENT, INTENTS, KIND, STRENGTHS, TARGET_KINDS
from jaxreco.talk.hearing import Masked, Shuffled, hard_of_hearing
from jaxreco.talk.satisfies import Situation, follows, heard, near_categories, satisfies, tag_categories

Array = jax.Array

# Six items: categories 0 0 1 1 2 2; item 1 is nearly item 0; ages and durations are told apart.
EMBEDDING = np.array([[1, 0, 0], [0.95, 0.3122, 0], [0, 1, 0], [0, 0.9, 0.4359], [0, 0, 1], [-1, 0, 0]])
CATALOG = Catalog(
    embedding=jnp.asarray(EMBEDDING, jnp.float32),
    category=jnp.array([0, 0, 1, 1, 2, 2]),
    creator=jnp.array([0, 1, 0, 1, 2, 2]),
    tags=jnp.array([[0, 1], [1, EMPTY], [2, EMPTY], [2, 3], [4, EMPTY], [EMPTY, EMPTY]]),
    duration=jnp.array([10.0, 20, 30, 40, 17, 23]),
    popularity=jnp.full(6, 1 / 6),
    quality=jnp.zeros(6),
    age=jnp.array([10.0, 50, 100, 75, 200, 0]),
)
SITUATION = Situation(
    catalog=CATALOG,
    near=jnp.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]], jnp.float32),
    tag_category=jnp.array([0, 0, 1, 1, 2], jnp.int32),
    share=jnp.array([0.5, 0.25, 0.25]),
    seconds=jnp.float32(20.0),
    age=jnp.float32(100.0),
    peers=jnp.array([[0.0], [0], [1]]),
)
BY_HAND: dict[tuple[str, str, int], list[float]] = {
    ("more", "category", 1): [0, 0, 1, 1, 0, 0],
    ("more", "tag", 1): [1, 1, 0, 0, 0, 0],
    ("more", "creator", 2): [0, 0, 0, 0, 1, 1],
    ("less", "category", 0): [0, 0, 1, 1, 1, 1],
    ("never", "creator", 0): [0, 1, 0, 1, 1, 1],
    ("never", "item", 4): [1, 1, 1, 1, 0, 1],
    ("related", "category", 0): [0, 0, 1, 1, 0, 0],
    ("related", "item", 4): [0, 0, 1, 1, 0, 0],
    ("related", "tag", 3): [1, 1, 0, 0, 0, 0],  # the tag of an item of category 1
    ("surprise", "none", -1): [0, 0, 0.25, 0.25, 0.25, 0.25],  # 1 - 3 * 0.25
    ("fresher", "none", -1): [1, 1, 0, 0.5, 0, 1],  # (1 - age / 100) / 0.5
    ("shorter", "none", -1): [1, 0, 0, 0, 0.5, 0],  # (1 - d / 20) / 0.3
    ("longer", "none", -1): [0, 0, 1, 1, 0, 0.5],
    ("like", "item", 0): [1, 0.8333, 0, 0, 0, 0],  # (0.95 - 0.7) / 0.3
    ("peers", "none", -1): [0, 0, 0, 0, 1, 0],
}


def says(intent: str, kind: str = "none", target: int = EMPTY, strength: float = 1.0, cause: int = 0) -> Instruction:
    intent_, kind_ = jnp.int32(INTENT[intent]), jnp.int32(KIND[kind])
    return Instruction.of(intent_, kind_, jnp.int32(target), jnp.float32(strength), jnp.int32(cause))


@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: "-".join(map(str, case)))
def test_satisfies_by_hand(case: tuple[str, str, int]) -> None:
    got = jax.jit(satisfies)(says(*case), jnp.arange(6), SITUATION)
    np.testing.assert_allclose(got, BY_HAND[case], atol=1e-3)


def test_every_intent_is_worked_by_hand() -> None:
    assert {intent for intent, _, _ in BY_HAND} | {"silent"} == set(INTENTS)
    np.testing.assert_array_equal(satisfies(Instruction.silent(), jnp.arange(6), SITUATION), np.ones(6))


@pytest.mark.parametrize(
    ("case", "slate", "follow", "hear"),
    [
        (("more", "category", 1), [2, 0, 1, 3], True, 0.5),
        (("more", "category", 1), [2, 0, 1, 4], False, 0.25),
        (("more", "category", 1), [2, EMPTY, EMPTY, 0], True, 0.5),
        (("never", "item", 4), [0, 1, 2, 3], True, 1.0),
        (("never", "item", 4), [0, 1, 2, 4], False, 0.0),
        (("less", "category", 0), [2, 3, 4, 0], True, 0.25),  # one of four: 1 - 3 / 4
        (("less", "category", 0), [2, 3, 4, 5], True, 1.0),
        (("more", "category", 1), [EMPTY] * 4, False, 0.0),
    ],
)
def test_slates_by_hand(case: Any, slate: list[int], follow: bool, hear: float) -> None:
    assert bool(follows(says(*case), jnp.array(slate), SITUATION)) is follow
    assert float(heard(says(*case), jnp.array(slate), SITUATION)) == pytest.approx(hear)


def test_near_categories() -> None:
    """Of four centres on a circle each is near to its neighbours, and none to itself."""
    angle = np.array([0.0, 0.1, 0.3, 0.6, 3.0])
    near = near_categories(np.stack([np.cos(angle), np.sin(angle)], 1), np.arange(5), 5)
    assert (np.diag(near) == 0).all()
    assert (near.sum(axis=1) == 3).all()
    assert near[0].tolist() == [0, 1, 1, 1, 0]


# -- grammar -------------------------------------------------------------------------------------------------


def test_every_sentence_comes_back() -> None:
    ids = [0, 1, 63, 64, 4095, 4096, 123456, grammar.LARGEST_ID]
    sentences = [
        (i, k, t if k else EMPTY, s, c)
        for i in range(1, len(INTENTS))
        for k in range(len(TARGET_KINDS))
        for t in ids
        for s in STRENGTHS
        for c in (0, 5, len(CAUSES) - 1)
    ]
    intent, kind, target, strength, cause = (jnp.asarray(x) for x in zip(*sentences, strict=True))
    made = jax.jit(jax.vmap(Instruction.of))(intent, kind, target, strength, cause)
    said = jax.jit(grammar.read_instruction)(made.tokens)
    for got, sent in zip(said, (intent, kind, target, strength, cause), strict=True):
        np.testing.assert_allclose(got, sent, rtol=1e-6)
    tokens = np.asarray(made.tokens)
    assert tokens.min() >= 0
    assert tokens.max() < grammar.VOCABULARY
    assert len(np.unique(tokens, axis=0)) == len(set(sentences))


def test_silence_is_padding_and_comes_back() -> None:
    silent = Instruction.of(jnp.int32(0), jnp.int32(3), jnp.int32(7), jnp.float32(0.5), jnp.int32(4))
    assert not np.asarray(silent.tokens).any()
    jax.tree.map(np.testing.assert_array_equal, silent, Instruction.silent())


def test_traces_come_back() -> None:
    cause, item = jnp.array([3, 13, 0]), jnp.array([2000, EMPTY, EMPTY])
    for amount in grammar.AMOUNTS:
        sent = jnp.array([amount, -0.5, 0.0])
        got = grammar.read_trace(grammar.trace_tokens(cause, sent, item))
        np.testing.assert_array_equal(got[0], cause)
        np.testing.assert_allclose(got[1], sent)
        np.testing.assert_array_equal(got[2], item)


# -- who listens ---------------------------------------------------------------------------------------------


def lived(env: Any, params: Any, agent: Any, agent_params: Any) -> Any:
    ran = rollout(jax.random.key(3), env, params, agent, agent_params, users=64, turns=48, trajectory=True)
    return ran


@pytest.fixture(scope="module")
def talkative() -> tuple[Any, Any]:
    env, params = jaxreco.make("Feed-v0", n_items=300, n_creators=20, n_users=64, slate_size=4, history_length=12)
    return env, params.replace(user=params.user.replace(voice_bias=3.0, opening=0.5))


def test_the_obedient_agent_follows_and_popularity_does_not(talkative: Any) -> None:
    env, params = talkative
    share = {}
    for name in ("obedient", "popularity"):
        total = lived(env, params, *jaxreco.make_agent(name, jax.random.key(0), env, params)).metrics.total
        share[name] = float(np.sum(total.followed) / np.sum(total.asked))
    assert share["obedient"] > 0.75
    assert share["popularity"] < 0.5


def test_who_hears_nothing_is_the_popularity_agent(talkative: Any) -> None:
    """The obedient agent, deaf, shows what popularity shows: its words were its only difference."""
    env, params = talkative
    agent, agent_params = jaxreco.make_agent("obedient", jax.random.key(0), env, params)
    deaf = lived(env, params, Masked(agent), agent_params)
    plain = lived(env, params, *jaxreco.make_agent("popularity", jax.random.key(0), env, params))
    np.testing.assert_array_equal(deaf.trajectory.action, plain.trajectory.action)


def test_shuffled_words_are_those_of_the_turn(talkative: Any) -> None:
    env, params = talkative
    agent, agent_params = jaxreco.make_agent("obedient", jax.random.key(0), env, params)
    t = lived(env, params, Shuffled(agent), agent_params)
    asked, followed = (np.asarray(t.trajectory.info[name]) for name in ("asked", "followed"))
    real = lived(env, params, agent, agent_params).metrics.total
    assert followed.sum() / asked.sum() < 0.6 * float(np.sum(real.followed) / np.sum(real.asked))
    most = int(np.argmax((np.asarray(t.trajectory.obs.instruction)[..., 0] > 0).sum(axis=1)))
    obs = jax.tree.map(lambda x: x[most], t.trajectory.obs)
    heard_ = Shuffled(agent).overhear(jax.random.key(1), obs)
    before, after = np.asarray(obs.instruction), np.asarray(heard_.instruction)
    assert sorted(map(tuple, before)) == sorted(map(tuple, after))
    np.testing.assert_array_equal((before > 0).any(axis=1), (after > 0).any(axis=1))
    assert (before != after).any()
    assert hard_of_hearing(agent, "real") is agent


def test_traces_are_faithful() -> None:
    env, params = jaxreco.make("Feed-v0", **SMALL)
    params = params.replace(user=params.user.replace(voice_bias=3.0))
    agent, agent_params = jaxreco.make_agent("random", jax.random.key(0), env, params)
    case = faithfulness.cases(jax.random.key(1), env, params, agent, agent_params, users=32, turns=24)
    case = jax.tree.map(lambda x: x[:96], case)
    right = faithfulness.faithful(jax.random.key(2), env, params, case)
    assert len(right) > 60
    assert right.mean() > 0.8  # of few; the benchmark holds it to 0.9 on many
    wrong = case._replace(named=np.roll(case.named, 1))
    assert faithfulness.faithful(jax.random.key(2), env, params, wrong).mean() < right.mean() - 0.1


def test_a_tag_is_of_the_category_that_most_of_its_items_have() -> None:
    tags = np.array([[0, 1], [1, EMPTY], [1, 2], [2, EMPTY], [EMPTY, EMPTY]])
    category = np.array([2, 0, 0, 1, 3])
    np.testing.assert_array_equal(tag_categories(tags, category), [2, 0, 0])  # the lowest where there are several
    np.testing.assert_array_equal(tag_categories(np.full((3, 1), EMPTY), np.zeros(3, int)), [0])  # no tags at all
    np.testing.assert_array_equal(tag_categories(np.zeros((3, 0), int), np.zeros(3, int)), [0])
