"""The user who talks: what it says is of its own state (or is not, by rho), and being heard changes it by honour_gain."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL

import jaxreco
from jaxreco.agents import ppo
from jaxreco.base import EMPTY, EXAMINED, Instruction, Trace
from jaxreco.population import override
from jaxreco.report.sessions import watch_lives
from jaxreco.rollout import rollout
from jaxreco.sparse import CHUNK, rarely
from jaxreco.talk.grammar import CAUSE, CAUSES, INTENT, INTENTS, KIND, Said, read_instruction, read_trace
from jaxreco.talk.hearing import hard_of_hearing
from jaxreco.talk.reading import REQUESTS, Requests, by_target, listen
from jaxreco.users import mechanisms as law
from jaxreco.users import voice
from jaxreco.users.reflection import Hours, Mind, Slots, urge

Array = jax.Array


@pytest.fixture(scope="module")
def talks() -> tuple[Any, Any]:
    """A small Feed whose users speak often: (env, params)."""
    env, params = jaxreco.make("Feed-v0", **SMALL)
    user = params.user.replace(voice_bias=3.0, voice_time=0.0, voice_tired=0.0, leave_bias=-3.0, opening=0.5)
    return env, params.replace(user=user)


def spoken(env: Any, params: Any, users: int = 64, turns: int = 48) -> Any:
    agent, agent_params = jaxreco.make_agent("random", jax.random.key(0), env, params)
    ran = rollout(jax.random.key(1), env, params, agent, agent_params, users=users, turns=turns, trajectory=True)
    return jax.tree.map(np.asarray, ran.trajectory)


def read(tokens: Any) -> Any:
    return jax.tree.map(np.asarray, read_instruction(jnp.asarray(tokens)))


# -- what is said --------------------------------------------------------------------------------------------


def test_every_cause_has_requests_that_exist() -> None:
    assert set(voice.REQUESTS) <= set(CAUSES)
    assert {intent for requests in voice.REQUESTS.values() for intent, _ in requests} <= set(INTENTS)
    assert {kind for requests in voice.REQUESTS.values() for _, kind in requests} <= set(KIND)
    asked = {intent for requests in voice.REQUESTS.values() for intent, _ in requests}
    assert asked | {"silent", "longer"} == set(INTENTS)  # each intent is somebody's wish


def test_what_is_said_can_be_read_and_exists(talks: Any) -> None:
    env, params = talks
    t = spoken(env, params)
    said = read(t.obs.instruction)
    there = said.intent > 0
    assert 0.1 < there.mean() < 0.98
    opening = t.obs.session_turn == 0
    assert 0.4 < there[opening].mean() < 0.6  # half of the sessions open with a request
    assert (said.cause[there & opening] == CAUSE["opening"]).all()
    assert (said.cause[there & ~opening] != CAUSE["opening"]).all()
    sizes = {"category": 16, "tag": 96, "creator": SMALL["n_creators"], "item": SMALL["n_items"]}
    for name, size in sizes.items():
        target = said.target[there & (said.target_kind == KIND[name])]
        assert len(target)
        assert target.min() >= 0
        assert target.max() < size
    assert (said.target[there & (said.target_kind == 0)] == EMPTY).all()


def test_silence_of_a_silent_world() -> None:
    env, params = jaxreco.make("Feed-v0", **SMALL, talks=False)
    t = spoken(env, params, users=16, turns=16)
    assert not t.obs.instruction.any()
    assert not t.obs.trace.any()


def test_traces_are_shown_only_where_the_world_exposes_them(talks: Any) -> None:
    _, params = talks
    shown = spoken(talks[0], params, users=16, turns=16)
    env, _ = jaxreco.make("Feed-v0", **SMALL, exposes_trace=False)
    hidden = spoken(env, params, users=16, turns=16)
    assert shown.obs.trace.any()
    assert not hidden.obs.trace.any()
    np.testing.assert_array_equal(shown.obs.instruction, hidden.obs.instruction)


def test_who_thinks_aloud_lives_the_same_life_and_explains_every_turn(talks: Any) -> None:
    _, params = talks
    quiet = spoken(talks[0], params, users=16, turns=16)
    env, _ = jaxreco.make("Feed-v0", **SMALL, think_aloud=True)
    aloud = spoken(env, params, users=16, turns=16)
    for name in ("instruction", "slate", "actions", "watch"):
        np.testing.assert_array_equal(getattr(aloud.obs, name), getattr(quiet.obs, name))
    explained, spoke = quiet.obs.trace.any(axis=-1), aloud.obs.trace.any(axis=-1)
    np.testing.assert_array_equal(aloud.obs.trace[explained], quiet.obs.trace[explained])
    assert explained.mean() < spoke.mean()
    # A reason comes with every slate that was looked at; the slate of an observation is the one that it is about.
    assert spoke[(aloud.obs.turn > 0) & ((aloud.obs.actions & EXAMINED) != 0).any(axis=-1)].all()


def test_who_thinks_aloud_talks() -> None:
    with pytest.raises(ValueError, match="think_aloud is True and talks is False"):
        jaxreco.make("Feed-v0", **SMALL, think_aloud=True, talks=False)


def test_reasons_alone_leave_a_standing_request_as_it_is(talks: Any) -> None:
    env, params = talks
    obs, _ = env.reset(jax.random.key(0), params)
    obs = obs.replace(session_turn=jnp.int32(1), instruction=jnp.zeros_like(obs.instruction))
    more = Instruction.of(*said_more_of_music())
    reason = Trace(jnp.array([CAUSE["off_taste"], 0, 0]), jnp.array([0.5, 0.0, 0.0]), jnp.array([7, EMPTY, EMPTY]))
    tags = params.user.tag_category
    asked = listen(Requests.none(), obs.replace(instruction=more.tokens), params.catalog, tags)
    asked = listen(asked, obs.replace(trace=reason.tokens), params.catalog, tags)
    assert asked.intent[:2].tolist() == [INTENT["more"], INTENT["less"]]
    assert asked.target[:2].tolist() == [3, 7]
    assert asked.age.tolist() == [1, 0, 0, 0]
    # Another session: what was asked for is over, and the last reasons ask for nothing; of tastes they still tell.
    asked = listen(asked, obs.replace(trace=reason.tokens, session_turn=jnp.int32(0)), params.catalog, tags)
    assert asked.intent.tolist() == [0, 0, 0, 0]
    assert asked.item[1] == 7
    assert asked.age[1] == 0


def test_an_agent_reads_every_cause(talks: Any) -> None:
    env, params = talks
    obs, _ = env.reset(jax.random.key(0), params)
    obs, heard = obs.replace(session_turn=jnp.int32(1)), set()
    for name in CAUSES[1:]:
        trace = Trace(jnp.array([CAUSE[name], 0, 0]), jnp.array([0.5, 0.0, 0.0]), jnp.array([7, EMPTY, EMPTY]))
        asked = listen(Requests.none(), obs.replace(trace=trace.tokens), params.catalog, params.user.tag_category)
        heard.add(tuple(np.flatnonzero(np.asarray(ppo.words_of(asked)))))
        scores = by_target(jnp.ones(REQUESTS), asked, params.catalog)
        if name in ("creator", "bait"):
            assert set(np.flatnonzero(scores)) == set(
                np.flatnonzero(params.catalog.creator == params.catalog.creator[7])
            )
            assert scores[7] == -1.0
        if name == "seen":
            assert np.flatnonzero(scores).tolist() == [7]
    assert len(heard) == len(CAUSES) - 1
    assert all(len(words) == 1 for words in heard)


def test_what_is_related_to_a_tag_is_what_is_related_to_its_category(talks: Any) -> None:
    env, params = talks
    obs, _ = env.reset(jax.random.key(0), params)
    number, catalog = jnp.int32, params.catalog
    for kind, target in (("tag", int(catalog.tags[7, 0])), ("item", 7)):
        said = Said(number(INTENT["related"]), number(KIND[kind]), number(target), jnp.float32(1.0), number(0))
        told = obs.replace(instruction=Instruction.of(*said).tokens)
        asked = listen(Requests.none(), told, catalog, params.user.tag_category)
        assert asked.target_kind[0] == KIND["category"]
        assert asked.target[0] == catalog.category[7]


def said_more_of_music() -> Said:
    number = jnp.int32
    return Said(number(INTENT["more"]), number(KIND["category"]), number(3), jnp.float32(1.0), number(0))


def test_a_trace_names_what_was_shown_and_ranks_it(talks: Any) -> None:
    env, params = talks
    t = spoken(env, override(params, rho=1.0))
    trace = jax.vmap(jax.vmap(read_trace))(jnp.asarray(t.obs.trace))
    cause, amount, item = (np.asarray(x) for x in trace)
    there = cause[..., 0] > 0
    assert there.any()
    assert (np.diff(np.abs(amount[there]), axis=1) <= 1e-6).all()
    named = (item >= 0) & (cause > 0)
    in_slate = (item[..., None] == t.obs.slate[..., None, :]).any(axis=-1)
    assert in_slate[named].all()
    assert (amount[cause == CAUSE["delight"]] <= 0).all()
    # The instruction is for the cause that raised the urge most, unless it opens a session or repeats itself.
    said = read(t.obs.instruction)
    mid = (said.intent > 0) & (t.obs.session_turn > 0) & (said.cause != CAUSE["ignored"])
    worst = np.where(amount > 0, amount, -1.0)
    first = np.take_along_axis(cause, worst.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    agrees = (first == said.cause)[mid & there & (worst.max(axis=-1) > 0)]
    assert agrees.mean() > 0.97  # amounts are rounded in tokens, so near ties may change places


# -- introspection -------------------------------------------------------------------------------------------


def wishes_met(env: Any, params: Any) -> float:
    """Share of the openings that name a category or tag of the speaker's own."""
    t = spoken(env, params, users=128, turns=32)
    said = read(t.obs.instruction)
    agent, agent_params = jaxreco.make_agent("random", jax.random.key(0), env, params)
    ran = rollout(jax.random.key(1), env, params, agent, agent_params, users=128, turns=32)
    row = np.asarray(ran.state.user.row)
    own = np.asarray(params.population.traits.wishes)[row]  # [B, M, 3]
    asks = (t.obs.session_turn == 0) & (said.target_kind == KIND["category"]) & (said.intent == INTENT["more"])
    first_life = np.cumsum(t.terminated | t.truncated, axis=0) == 0
    asks &= first_life & (ran.metrics.episodes == 0)[None]
    mine = (said.target[..., None] == own[None, :, :, 0]).any(axis=-1)
    assert asks.sum() > 20
    return float(mine[asks].mean())


def test_rho_is_how_often_a_user_knows_what_it_wants(talks: Any) -> None:
    env, params = talks
    assert wishes_met(env, override(params, rho=1.0)) == 1.0
    assert wishes_met(env, override(params, rho=0.0)) < 0.6


def test_without_introspection_words_do_not_depend_on_the_state(talks: Any) -> None:
    """The same keys, other slates before: at rho 0 the same words come, at rho 1 others."""
    env, params = talks
    slates = jnp.stack([jnp.arange(4), jnp.arange(4) + 30])

    def words(params: Any) -> Any:
        def one(key: Array) -> Any:
            key_reset, key_step = jax.random.split(key)
            _, state = env.reset(key_reset, params)
            user = state.user.replace(boredom=jnp.float32(9.0))
            step = jaxreco.branch(key_step, env, params, state.replace(user=user), slates)
            return step.obs.instruction, step.obs.trace

        return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 400)))

    def both(tokens: np.ndarray) -> np.ndarray:
        return np.all((tokens > 0).any(axis=2), axis=1)

    instruction, trace = words(override(params, rho=0.0))
    mid = both(trace)  # a trace comes with a complaint, not with an opening
    assert mid.sum() > 30
    np.testing.assert_array_equal(instruction[mid, 0], instruction[mid, 1])
    np.testing.assert_array_equal(trace[mid, 0], trace[mid, 1])
    instruction, trace = words(override(params, rho=1.0))
    mid = both(trace)
    assert (instruction[mid, 0] != instruction[mid, 1]).any(axis=1).mean() > 0.3


# -- being heard ---------------------------------------------------------------------------------------------


def answered(env: Any, params: Any, heard: bool) -> Any:
    """The mind after one review of a slate that honours a request for category 0, or does not."""
    _, state = env.reset(jax.random.key(0), params)
    says = Instruction.of(
        jnp.int32(INTENT["more"]), jnp.int32(KIND["category"]), jnp.int32(0), jnp.float32(1.0), jnp.int32(1)
    )
    state = jaxreco.instruct(state, says)
    category = np.asarray(params.catalog.category)
    slate = np.flatnonzero((category == 0) if heard else (category != 0))[:4]
    params = params.replace(catalog=params.catalog.replace(category=jnp.asarray(category)))
    return env.user_model._answered(state.user, jnp.asarray(slate), params.user, params.catalog)


def test_being_heard_pleases_and_being_ignored_annoys(talks: Any) -> None:
    env, params = talks
    u = params.user
    category = np.asarray(params.catalog.category).copy()
    category[:5] = 0  # enough of them for a slate
    params = params.replace(catalog=params.catalog.replace(category=jnp.asarray(category)))
    _, state = env.reset(jax.random.key(0), params)
    trust = float(state.user.trust)
    good, bad = answered(env, params, True), answered(env, params, False)
    assert bool(good.followed)
    assert not bool(bad.followed)
    gain, mood = float(u.honour_trust), float(u.honour_mood)
    np.testing.assert_allclose(good.mood, mood, rtol=1e-5)  # from 0, by the rate, towards 1
    np.testing.assert_allclose(bad.mood, -2 * mood, rtol=1e-5)
    np.testing.assert_allclose(good.trust, trust + gain * (1 - trust), rtol=1e-5)
    np.testing.assert_allclose(bad.trust, trust * (1 - 2 * gain), rtol=1e-5)
    np.testing.assert_allclose(bad.boredom, 2.0)
    none = params.replace(user=u.replace(honour_gain=0.0))
    for heard in (True, False):
        same = answered(env, none, heard)
        assert (float(same.mood), float(same.trust), float(same.boredom)) == (0.0, trust, 0.0)


def test_a_persons_words_take_the_place_of_the_users(talks: Any) -> None:
    env, params = talks
    _, state = env.reset(jax.random.key(0), params)
    says = Instruction.of(
        jnp.int32(INTENT["never"]), jnp.int32(KIND["item"]), jnp.int32(7), jnp.float32(1.0), jnp.int32(0)
    )
    after = jaxreco.instruct(state, says)
    np.testing.assert_array_equal(env.observe(after, params).instruction, says.tokens)
    assert int(after.user.request.intent) == INTENT["never"]
    step = env.step_env(jax.random.key(1), after, jnp.array([7, 1, 2, 3]), params)
    assert bool(step.info["asked"])
    assert not bool(step.info["followed"])
    step = env.step_env(jax.random.key(1), after, jnp.array([4, 1, 2, 3]), params)
    assert bool(step.info["followed"])
    quiet = jaxreco.instruct(after, Instruction.silent())
    assert not bool(env.step_env(jax.random.key(1), quiet, jnp.array([7, 1, 2, 3]), params).info["asked"])
    assert jax.tree.structure(quiet) == jax.tree.structure(state)
    assert isinstance(after.trace, Trace)


# -- rarely --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, 3 * CHUNK + 1])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rarely_is_a_where(size: int, share: float) -> None:
    rng = np.random.default_rng(size)
    when, x = jnp.asarray(rng.random(size) < share), jnp.asarray(rng.normal(size=(size, 3)), jnp.float32)
    scale = jnp.float32(2.0)

    def work(x: Array, scale: Array) -> tuple[Array, Array]:
        return scale * x, jnp.sum(x > 0)

    def one(when: Array, x: Array) -> tuple[Array, Array]:
        return rarely(when, work, (jnp.zeros(3), jnp.int32(-1)), x, scale)

    got = jax.jit(jax.vmap(one))(when, x)
    loop = [one(w, v) for w, v in zip(when, x, strict=True)]
    for i in range(2):
        np.testing.assert_array_equal(got[i], np.stack([pair[i] for pair in loop]))
    flag = np.asarray(when)
    np.testing.assert_array_equal(got[0], np.where(flag[:, None], 2.0 * np.asarray(x), 0.0))
    np.testing.assert_array_equal(got[1], np.where(flag, (np.asarray(x) > 0).sum(axis=1), -1))


def test_rarely_under_two_vmaps_and_a_scan() -> None:
    x = jnp.arange(12.0).reshape(3, 4)

    def life(x: Array) -> Array:
        def body(c: Array, _: None) -> tuple[Array, Array]:
            c = rarely(c % 2 < 1, lambda v: v + 3.0, c + 1.0, c)
            return c, c

        return jax.lax.scan(body, x, None, length=5)[1]

    both = jax.jit(jax.vmap(jax.vmap(life)))(x)
    c, expected = np.asarray(x), []
    for _ in range(5):
        c = np.where(c % 2 < 1, c + 3.0, c + 1.0)
        expected.append(c)
    np.testing.assert_array_equal(both, np.moveaxis(np.array(expected), 0, -1))


def test_words_in_a_life_change_it_from_there_on(talks: Any) -> None:
    env, params = talks
    agent, agent_params = jaxreco.make_agent("obedient", jax.random.key(0), env, params)
    says = Instruction.of(
        jnp.int32(INTENT["never"]), jnp.int32(KIND["item"]), jnp.int32(7), jnp.float32(1.0), jnp.int32(0)
    )
    common = (jax.random.key(4), env, params, agent, agent_params, 4, 8)
    plain, told = watch_lives(*common), watch_lives(*common, 0, says, 3)
    np.testing.assert_array_equal(plain.slate[:3], told.slate[:3])
    np.testing.assert_array_equal(told.heard.tokens[3], np.tile(says.tokens, (4, 1)))
    assert (told.slate[3] != 7).all()
    assert (np.asarray(told.followed[3]) == env.slate_size).all()  # every slot keeps what was asked


def test_the_urge_of_scenarios_is_that_of_one_slate_gone_through_by_hand() -> None:
    params = jaxreco.make("Feed-v0", slate_size=6)[1].user
    rng = np.random.default_rng(0)
    utility, trust = rng.normal(size=(6, 3)), np.array([0.6, 0.6, 0.5])
    examined = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    lure, seconds, baited = rng.random(6), rng.uniform(5.0, 90.0, 6), np.array([1.0, 1.0, 0.0])
    mood, boredom = rng.uniform(-0.5, 0.5, 3), np.array([0.0, 3.0, 1.0])
    slots = Slots(
        jnp.arange(6), *(jnp.asarray(x, jnp.float32) for x in (examined, utility[:, 0], lure, lure, lure, seconds))
    )
    mind, hours = Mind(*map(jnp.asarray, (mood, trust, boredom))), Hours(jnp.float32(2.0), jnp.float32(9.0))
    got = urge(jnp.asarray(utility), slots, jnp.asarray(baited), mind, hours, params)

    def fraction(u: float) -> float:
        return float(law.expected_fraction(jnp.float32(u), params.watch_bias, params.watch_slope, params.watch_noise))

    for n in range(3):
        m, t, b, minutes = mood[n], trust[n], boredom[n], 2.0 + params.load_seconds / 60.0
        for k in np.flatnonzero(examined):
            click = 1.0 / (1.0 + np.exp(-(utility[k, n] + lure[k] * baited[n] + params.click_trust * (trust[n] - 0.5))))
            kept = fraction(utility[k, n])
            broken = max(fraction(utility[k, 0] + lure[k]) - fraction(utility[k, 0]), 0.0) * baited[n]
            felt = click * max(kept - params.disappointment * broken, params.aspiration - 1.0)
            m = m + params.mood_rate * (felt - params.aspiration - m)
            gain = params.trust_gain * max(kept - params.aspiration, 0.0) * (1.0 - trust[n])
            t = t + click * (gain - params.trust_loss * broken * trust[n])
            b = (1.0 - click) * (b + 1.0)
            glance = min(params.glimpse_seconds, seconds[k])
            minutes = minutes + (click * (kept * seconds[k] - glance) + glance) / 60.0
        expected = params.leave_time * min(minutes / 9.0, 3.0) + params.leave_boredom * b
        expected = expected - params.leave_mood * m - params.leave_trust * t
        assert float(got[n]) == pytest.approx(float(expected), abs=1e-4)


def test_who_hears_nothing_does_not_notice_what_is_said_where_being_heard_changes_nothing() -> None:
    """The benchmark of instructions trains one deaf agent for all worlds that differ in `rho` alone."""
    env, params = jaxreco.make("Feed-v0", **SMALL)
    params = params.replace(user=params.user.replace(honour_gain=0.0))
    agent, agent_params = jaxreco.make_agent("obedient", jax.random.key(0), env, params)
    deaf = hard_of_hearing(agent, "masked")
    lives = {
        rho: jaxreco.rollout(
            jax.random.key(1), env, override(params, rho=rho), deaf, agent_params, users=32, turns=24, trajectory=True
        )
        for rho in (0.0, 1.0)
    }
    honest, misled = (lives[rho].trajectory for rho in (1.0, 0.0))
    np.testing.assert_array_equal(honest.action, misled.action)
    np.testing.assert_array_equal(honest.reward, misled.reward)
    assert not np.array_equal(honest.obs.instruction, misled.obs.instruction)
