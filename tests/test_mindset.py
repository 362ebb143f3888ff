"""The mechanistic user: its walk against an oracle in plain Python, and each mechanism in the assembled user.

The oracle is written from the documentation, slot by slot, in double precision, and is fed the same uniforms. The
statistical tests switch everything off but one mechanism, so that frequencies are known by hand.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL
from scipy import stats

import jaxreco
from jaxreco import rng
from jaxreco.base import CLICK, COMMENT, EMPTY, EXAMINED, LEAVE, LIKE, SHARE, Catalog, Context, Event
from jaxreco.population import Population
from jaxreco.testing import quick_jit
from jaxreco.users.mindset import DRAWS_PER_SLOT, SESSIONS_REMEMBERED, Mindset, MindsetParams, Traits, appeal_of

Array = jax.Array
K = 4
N = 8192  # users in the statistical tests


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.asarray(x, float)))


QUARTERS = (0.125, 0.375, 0.625, 0.875)


def watched(utility: float, u: float, p: Any) -> float:
    """Fraction of an item that is watched."""
    return min(math.exp(p.watch_bias + p.watch_slope * utility + p.watch_noise * math.log(u / (1 - u))), 1.0)


def half(utility: float) -> float:
    """The same in a NEUTRAL world: half of an item of no utility."""
    return min(0.5 * math.exp(0.5 * utility), 1.0)


def _review(model: Mindset, key: Array, state: Any, slate: Array, params: Any, catalog: Catalog) -> Any:
    return model.review(key, state, slate, params, catalog, Context())[:2]


review = quick_jit(jax.vmap(_review, (None, 0, 0, 0, None, None)), static_argnums=0)
revisit = quick_jit(
    jax.vmap(lambda model, key, state, params: model.revisit(key, state, params, Context()), (None, 0, 0, None)),
    static_argnums=0,
)
init = quick_jit(
    jax.vmap(lambda model, key, params, catalog: model.init(key, params, catalog), (None, 0, None, None)),
    static_argnums=0,
)
uniforms = quick_jit(jax.vmap(rng.uniforms, (0, None)), static_argnums=1)


# -- the oracle ----------------------------------------------------------------------------------------------


def numbers(tree: Any, user: int | None = None) -> Any:
    """A Struct's fields as float64 or int64 arrays, of one user of a batch; nested Structs stay Structs."""

    def plain(x: Any) -> np.ndarray:
        x = np.asarray(x if user is None else x[user])
        return x.astype(np.float64 if x.dtype.kind == "f" else np.int64)

    return jax.tree.map(plain, tree)


def past_events(history: Any) -> list[tuple[int, int, float]]:
    """(item, actions, hours) of the slots in a history ring, oldest first."""
    size = history.data.hours.shape[0]
    events = range(max(int(history.start), int(history.end) - size), int(history.end))
    return [
        (int(item), int(actions), float(history.data.hours[e % size]))
        for e in events
        for item, actions in zip(history.data.item[e % size], history.data.actions[e % size], strict=True)
    ]


def oracle_utility(s: Any, traits: Any, slate: list[int], k: int, p: Any, catalog: Any) -> float:
    """What slot k is worth before anything happens on this slate, but for what stands above it."""
    item = slate[k]
    category, creator = catalog.category[item], catalog.creator[item]
    share = (s.exposure + 0.5) / np.sum(s.exposure + 0.5)
    looked = [(i, hours) for i, actions, hours in past_events(s.history) if actions & EXAMINED]
    same_creator = sum(math.exp(-(s.clock - h) / p.creator_hours) for i, h in looked if catalog.creator[i] == creator)
    same_creator += sum(i >= 0 and catalog.creator[i] == creator for i in slate[:k])
    wanted = [
        float(interest @ catalog.embedding[item]) - p.craving * (m != s.focus) for m, interest in enumerate(s.interests)
    ]
    return (
        p.base
        + p.affinity * max(wanted)
        - p.staleness * traits.freshness * math.log(1 + catalog.age[item] / 168)
        - p.length * (math.log(catalog.duration[item]) - s.ideal) ** 2
        + p.quality * catalog.quality[item]
        + p.popularity * math.log(catalog.popularity[item] * len(catalog.popularity) + 1e-6)
        - p.novelty * traits.novelty * math.log(share[category] * len(share))
        - p.creator_satiation * same_creator
        - p.repetition * any(i == item for i, _ in looked)
    )


def oracle_choice(u: float, s: Any, looks: dict[int, float], p: Any) -> int:
    """The slot that a multinomial-logit user takes, or -1."""
    weights = {k: math.exp(x) for k, x in looks.items()}
    point, total = u * (sum(weights.values()) + math.exp(p.outside)), 0.0
    for k, weight in weights.items():
        total += weight
        if point < total:
            return k
    return -1


def oracle_review(u: np.ndarray, s: Any, slate: list[int], p: Any, catalog: Any, choice: str) -> dict[str, Any]:
    """One slate, one user: what is done at each slot, and the mind afterwards."""
    traits = jax.tree.map(lambda x: x[int(s.row)], p.population.traits)
    draws, there = u[:-3].reshape(len(slate), DRAWS_PER_SLOT), [item >= 0 for item in slate]
    mood, trust, boredom = float(s.mood), float(s.trust), float(s.boredom) + (not any(there))
    minutes, satiation = float(s.minutes) + p.load_seconds / 60, s.satiation.copy()
    utilities = {k: oracle_utility(s, traits, slate, k, p, catalog) for k in range(len(slate)) if there[k]}
    lures = {k: float(traits.gullibility * p.clickbait[slate[k]]) for k in utilities}
    if choice == "mnl":
        tired = p.fatigue * min(float(s.minutes / s.budget), 3)
        chosen = oracle_choice(
            u[-3],
            s,
            {
                k: x
                - p.satiation * s.satiation[catalog.category[slate[k]]]
                - tired
                + lures[k]
                + p.click_trust * (trust - 0.5)
                for k, x in utilities.items()
            },
            p,
        )
    actions, watch, here, left = [0] * len(slate), [0.0] * len(slate), True, False
    enjoyed, exposure = [0.0] * len(slate), s.exposure.copy()
    for k, item in enumerate(slate):
        if not here:
            break
        u_click, u_watch, u_like, u_comment, u_share, u_look, u_leave = draws[k]
        if there[k]:
            category, seconds = catalog.category[item], float(catalog.duration[item])
            utility = utilities[k] - p.satiation * satiation[category] - p.fatigue * min(minutes / s.budget, 3)
            looks = utility + lures[k]
            actions[k] |= EXAMINED
            exposure[category] += 1  # decayed below, with what was there before
            clicks = u_click < sigmoid(looks + p.click_trust * (trust - 0.5)) if choice == "cascade" else chosen == k
            if clicks:
                fraction = watched(utility, u_watch, p)
                promised, kept = (np.mean([watched(x, u, p) for u in QUARTERS]) for x in (looks, utility))
                glow = p.like_slope * fraction + traits.expressive
                actions[k] |= CLICK
                actions[k] |= LIKE * bool(u_like < sigmoid(p.like_bias + glow))
                actions[k] |= COMMENT * bool(u_comment < sigmoid(p.comment_bias + glow))
                actions[k] |= SHARE * bool(u_share < sigmoid(p.share_bias + glow))
                enjoyed[k], watch[k] = fraction, fraction * seconds
                minutes += watch[k] / 60
                gained = p.trust_gain * max(fraction - p.aspiration, 0) * (1 - trust)
                trust += gained - p.trust_loss * max(promised - kept, 0) * trust
                let_down = p.disappointment * max(promised - kept, 0)
                boredom = 0.0
            else:
                minutes += min(p.glimpse_seconds, seconds) / 60
                boredom += 1
            felt = max(enjoyed[k] - (let_down if clicks else 0.0), p.aspiration - 1)
            mood += p.mood_rate * (felt - p.aspiration - mood)
            satiation[category] += 0.25 + 0.75 * enjoyed[k]
        last = k == len(slate) - 1
        if last or (there[k] and choice == "cascade"):
            hazard = sigmoid(
                p.leave_bias
                + p.leave_time * min(minutes / s.budget, 3)
                + p.leave_boredom * boredom
                - p.leave_mood * mood
                - p.leave_trust * (trust - 0.5)
            )
            if u_leave < hazard:
                left, here = True, False
                actions[k] |= LEAVE * there[k]
        if there[k] and choice == "cascade" and u_look >= sigmoid(traits.patience + mood):
            here = False
    hours = (minutes - float(s.minutes)) / 60
    looked = sum(bool(a & EXAMINED) for a in actions)
    mean = sum(enjoyed) / max(looked, 1)
    interests, pull, mass = s.interests, np.zeros_like(s.interests), np.zeros(len(s.interests))
    for k, item in enumerate(slate):
        if enjoyed[k]:
            nearest = int(np.argmax(interests @ catalog.embedding[item]))
            pull[nearest] += p.reinforcement * enjoyed[k] * catalog.embedding[item]
            mass[nearest] += p.reinforcement * enjoyed[k]
    exposed = exposure - s.exposure
    return {
        "actions": actions,
        "watch": watch,
        "minutes": minutes - float(s.minutes),
        "left": left,
        "clock": float(s.clock) + hours,
        "mood": mood,
        "trust": trust,
        "boredom": boredom,
        "budget_left": minutes,
        "satiation": satiation * math.exp(-hours / p.satiation_hours),
        "exposure": s.exposure * math.exp(-hours / p.exposure_hours) + exposed,
        "interests": (interests + pull) / (1 + mass[:, None]),
        "peak": max(float(s.peak), mean),
        "end": mean,
        "turns": float(s.turns) + 1,
    }


def oracle_revisit(u: np.ndarray, s: Any, sessions: list[float], p: Any) -> dict[str, Any]:
    """The gap, and the mind after it. `sessions`: satisfaction with each session so far, oldest first."""
    traits = jax.tree.map(lambda x: x[int(s.row)], p.population.traits)
    recent = sessions[::-1][:SESSIONS_REMEMBERED]
    weights = [p.recency**age for age in range(len(recent) + 1)]
    satisfaction = sum(w * x for w, x in zip(weights, [*recent, p.aspiration], strict=True)) / sum(weights)
    risk = math.exp(p.return_satisfaction * (satisfaction - p.aspiration) + p.return_trust * (s.trust - 0.5))
    gap = float(traits.habit_hours) * (-math.log(u[0]) / risk) ** (1 / float(p.return_shape))
    keep = math.exp(-gap / p.drift_hours)
    noise = (u[4:].reshape(s.interests.shape) - 0.5) * math.sqrt(12)
    budget = float(traits.budget_minutes) * math.exp(np.clip(p.budget_spread * math.log(u[1] / (1 - u[1])), -3, 3))
    return {
        "gap": gap,
        "clock": float(s.clock) + gap,
        "interests": traits.taste
        + keep * (s.interests - traits.taste)
        + p.drift_spread * math.sqrt(1 - keep**2) * noise,
        "satiation": s.satiation * math.exp(-gap / p.satiation_hours),
        "exposure": s.exposure * math.exp(-gap / p.exposure_hours),
        "mood": s.mood * math.exp(-gap / p.mood_hours),
        "trust": traits.trust + (s.trust - traits.trust) * math.exp(-gap / p.trust_hours),
        "boredom": 0.0,
        "minutes": 0.0,
        "turns": 0.0,
        "peak": 0.0,
        "end": 0.0,
        "budget": budget,
        "focus": int(u[2] * len(s.interests)),
        "ideal": math.log(p.usual_seconds) + p.length_spread * (u[3] - 0.5) * math.sqrt(12),
    }


MIND = ("clock", "mood", "trust", "boredom", "satiation", "exposure", "interests", "peak", "end", "turns")


def close(value: Any, expected: Any) -> None:
    np.testing.assert_allclose(value, expected, rtol=3e-4, atol=3e-5)


@pytest.mark.parametrize("choice", ["cascade", "mnl"])
def test_the_walk_is_the_oracles(choice: str) -> None:
    """24 users, 10 turns: every action exactly, every number of the mind within rounding, after each turn."""
    env, params = jaxreco.make("Feed-v0", **SMALL, choice=choice, talks=False)
    users, turns, catalog = 24, 10, params.catalog
    # Livelier than the defaults, so that every branch is taken often.
    lively = dict(base=-1.5, leave_bias=-3.5, like_bias=-1.5, comment_bias=-2.5, share_bias=-2.5, outside=0.5)
    p = params.user.replace(**lively, trust_gain=0.2, trust_loss=0.3, reinforcement=0.1)
    model, plain, items = env.user_model, numbers(p), numbers(catalog)
    state = init(model, jax.random.split(jax.random.key(0), users), p, catalog)
    sessions: list[list[float]] = [[] for _ in range(users)]
    counts = {"left": 0, "again": 0}
    for t in range(turns):
        keys = jax.random.split(jax.random.key(100 + t), users)
        slates = np.asarray(jax.vmap(env.random_slate)(jax.random.split(jax.random.key(200 + t), users)))
        slates = np.where(np.random.default_rng(t).random(slates.shape) < 0.15, EMPTY, slates)
        slates[0] = EMPTY  # this user never sees anything
        u = np.asarray(uniforms(keys, DRAWS_PER_SLOT * K + 3), np.float64)
        after, feedback = review(model, keys, state, jnp.asarray(slates), p, catalog)
        back_keys = jax.random.split(jax.random.key(300 + t), users)
        back, gap = revisit(model, back_keys, after, p)
        u_back = np.asarray(uniforms(back_keys, state.interests[0].size + 4), np.float64)
        for b in range(users):
            before = numbers(state, b)
            expected = oracle_review(u[b], before, slates[b].tolist(), plain, items, choice)
            assert np.asarray(feedback.actions[b]).tolist() == expected["actions"], (t, b)
            assert bool(feedback.left[b]) == expected["left"], (t, b)
            close(feedback.watch[b], expected["watch"])
            close(feedback.minutes[b], expected["minutes"])
            close(after.minutes[b], expected["budget_left"])
            for name in MIND:
                close(getattr(after, name)[b], expected[name])
            np.testing.assert_array_equal(after.history.data.item[b, t % 3], slates[b])
            np.testing.assert_array_equal(after.history.data.actions[b, t % 3], expected["actions"])
            if expected["left"]:
                sessions[b].append(0.5 * (expected["peak"] + expected["end"]))
                came = oracle_revisit(u_back[b], numbers(after, b), sessions[b], plain)
                close(gap[b], came.pop("gap"))
                for name, value in came.items():
                    close(getattr(back, name)[b], value)
            counts["left"] += expected["left"]
            counts["again"] += len({i for i, a, _ in past_events(before.history) if a} & set(slates[b].tolist()))
        state = jax.tree.map(
            lambda new, old, left=feedback.left: jnp.where(left.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            back,
            after,
        )
    assert counts["left"] > 20
    assert counts["again"] > 20


def test_what_the_user_does_fits_together() -> None:
    """Whatever the params: clicks are looks, likes are clicks, nothing comes after a leave, watching has an end."""
    env, params = jaxreco.make("Feed-v0", **SMALL)
    p = params.user.replace(base=-1.5, leave_bias=-3.0, like_bias=-1.0)
    keys = jax.random.split(jax.random.key(3), N)
    slates = jax.vmap(env.random_slate)(keys)
    slates = jnp.where(jax.random.bernoulli(jax.random.key(4), 0.2, slates.shape), EMPTY, slates)
    state = init(env.user_model, jax.random.split(jax.random.key(5), N), p, params.catalog)
    _, feedback = review(env.user_model, keys, state, slates, p, params.catalog)
    done, watch = np.asarray(feedback.actions), np.asarray(feedback.watch)
    looked, clicked, left = (done & EXAMINED) > 0, (done & CLICK) > 0, (done & LEAVE) > 0
    there = np.asarray(slates) >= 0
    assert not (done[~there]).any()
    assert not (clicked & ~looked).any()
    assert not (((done & (LIKE | COMMENT | SHARE)) > 0) & ~clicked).any()
    np.testing.assert_array_equal(watch > 0, clicked)
    assert (watch <= np.asarray(params.catalog.duration)[np.maximum(slates, 0)]).all()
    assert (left.sum(axis=1) <= 1).all()
    assert not (left.any(axis=1) & ~np.asarray(feedback.left)).any()
    for row, ok in zip(looked, there, strict=True):  # without a gap, from the top
        assert row[ok].tolist() == sorted(row[ok].tolist(), reverse=True)
    after_leave = np.cumsum(left, axis=1) - left > 0
    assert not (looked & after_leave).any()


# -- one mechanism at a time ---------------------------------------------------------------------------------

HERE = jnp.array([0, 1, 2, 3], jnp.int32)  # the slate of the statistical tests
SECONDS = 60.0


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """Eight items of a minute: two for each of four directions."""
    return Catalog(
        embedding=jnp.tile(jnp.eye(4), (2, 1)),
        category=jnp.array([0, 0, 1, 1, 2, 2, 0, 1], jnp.int32),
        creator=jnp.array([0, 1, 2, 3, 0, 0, 6, 7], jnp.int32),
        tags=jnp.full((8, 1), EMPTY, jnp.int32),
        duration=jnp.full(8, SECONDS),
        popularity=jnp.array([0.25, 0.125, 0.125, 0.1, 0.1, 0.1, 0.1, 0.1]),
        quality=jnp.array([-1.5, 1.0, 0, 0, 0, 0, 0, 0]),
        age=jnp.zeros(8),
    )


NEUTRAL = dict(
    base=0.0, affinity=0.0, quality=0.0, popularity=0.0, novelty=0.0, satiation=0.0, creator_satiation=0.0,
    repetition=0.0, fatigue=0.0, mood_rate=0.0, trust_gain=0.0, trust_loss=0.0, reinforcement=0.0, drift_spread=0.0,
    click_trust=0.0, watch_bias=math.log(0.5), watch_slope=0.5, watch_noise=0.0, glimpse_seconds=0.0, load_seconds=0.0,
    leave_bias=-30.0, leave_time=0.0, leave_boredom=0.0, leave_mood=0.0, leave_trust=0.0, budget_spread=0.0,
    return_satisfaction=0.0, return_trust=0.0, return_shape=1.0, aspiration=0.3,
    craving=0.0, length=0.0, length_spread=0.0, disappointment=0.0,
)  # fmt: skip
TRAITS = dict(
    novelty=0.0, patience=30.0, budget_minutes=10.0, habit_hours=10.0, gullibility=0.0, trust=0.5, expressive=0.0,
    freshness=0.0, rho=1.0,
)  # fmt: skip
CASCADE, RELAXED = Mindset(3, K, 12, talks=False), Mindset(3, K, 12, relaxed=True, talks=False)


def world(traits: dict[str, float] | None = None, clickbait: float = 0.0, **changes: float) -> MindsetParams:
    """Params with everything switched off but `changes`; two rows of users, of whom only the first comes."""
    columns = {name: jnp.full(2, value) for name, value in (TRAITS | (traits or {})).items()}
    taste = jnp.array([[[0.8, 0.0, 0, 0], [0.3, 0.5, 0, 0]], [[0, 0, 0.9, 0], [0, 0, 0, 0.7]]], jnp.float32)
    traits_ = Traits(taste=taste, peers=taste.swapaxes(1, 2), wishes=jnp.zeros((2, 2, 3), jnp.int32), **columns)
    population = Population(traits_, weights=jnp.array([1.0, 0.0]))
    bait = jnp.zeros(8).at[0].set(clickbait)
    known = dict(near=jnp.zeros((3, 3)), tag_category=jnp.zeros(1, jnp.int32), usual_seconds=30.0, usual_age=0.0)
    return MindsetParams(population=population, clickbait=bait, **known).replace(**(NEUTRAL | changes))


def crowd(params: MindsetParams, catalog: Catalog, **changes: Any) -> Any:
    """N copies of one user's state, with some fields set."""
    state = CASCADE.init(jax.random.key(0), params, catalog).replace(**changes)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (N, *x.shape)), state)


def shown(
    params: MindsetParams, catalog: Catalog, state: Any, slate: Any = HERE, seed: int = 0, model: Mindset = CASCADE
) -> Any:
    """(state, feedback) of N users after one slate."""
    slates = jnp.broadcast_to(jnp.asarray(slate, jnp.int32), (N, K))
    return review(model, jax.random.split(jax.random.key(seed), N), state, slates, params, catalog)


def did(feedback: Any, action: int, slot: int = 0) -> np.ndarray:
    return (np.asarray(feedback.actions)[:, slot] & action) > 0


def often(happened: np.ndarray, probability: float) -> None:
    """The frequency is that of the probability, within 4.5 standard errors."""
    error = math.sqrt(max(probability * (1 - probability), 1e-9) / happened.size)
    assert abs(happened.mean() - probability) < 4.5 * error, f"{happened.mean():.4f}, not {probability:.4f}"


def history_of(model_state: Any, *events: tuple[list[int], list[int], float]) -> Any:
    """The state's history after some (items, actions, hours)."""
    history = model_state.history
    for items, actions, hours in events:
        event = Event(jnp.array(items, jnp.int32), jnp.array(actions, jnp.int32), jnp.zeros(K), jnp.float32(hours))
        history = history.push(event)
    return history


# what is switched on, traits, changes of the state, logit of a click on item 0
CLICKS: dict[str, tuple[dict[str, float], dict[str, float], dict[str, Any], float]] = {
    "nothing": ({}, {}, {}, 0.0),
    "base": ({"base": 0.7}, {}, {}, 0.7),
    "affinity": ({"affinity": 1.5}, {}, {}, 1.5 * 0.8),
    "quality": ({"quality": 0.6}, {}, {}, 0.6 * -1.5),
    "popularity": ({"popularity": 1.1}, {}, {}, 1.1 * math.log(2)),
    "novelty": ({"novelty": 2.0}, {"novelty": 0.5}, {"exposure": [0.5, 2.0, 5.0]}, -math.log(3 * 1.0 / 9.0)),
    "fear of the new": ({"novelty": 2.0}, {"novelty": -0.5}, {"exposure": [0.5, 2.0, 5.0]}, math.log(3 / 9.0)),
    "satiation": ({"satiation": 0.4}, {}, {"satiation": [3.0, 9.0, 9.0]}, -1.2),
    "fatigue": ({"fatigue": 1.5}, {}, {"minutes": 5.0}, -0.75),
    "fatigue has an end": ({"fatigue": 0.5}, {}, {"minutes": 500.0}, -1.5),
    "trust": ({"click_trust": 2.0}, {}, {"trust": 0.9}, 0.8),
    "distrust": ({"click_trust": 2.0}, {}, {"trust": 0.1}, -0.8),
    "clickbait": ({"clickbait": 0.6}, {"gullibility": 1.5}, {}, 0.9),
}


@pytest.mark.parametrize("name", list(CLICKS))
def test_clicks_are_logistic_in(name: str, catalog: Catalog) -> None:
    switched, traits, state, logit = CLICKS[name]
    params = world(traits, **switched)
    _, feedback = shown(params, catalog, crowd(params, catalog, **state))
    assert did(feedback, EXAMINED).all()
    often(did(feedback, CLICK), float(sigmoid(logit)))


def test_satiation_builds_with_clicks_and_wears_off_over_hours(catalog: Catalog) -> None:
    params = world(satiation=0.5, satiation_hours=8.0, base=1.0)
    state = crowd(params, catalog)
    rates = []
    for turn in range(3):
        state, feedback = shown(params, catalog, state, slate=[0, 1, 6, EMPTY], seed=turn)
        rates.append(did(feedback, CLICK).mean())
    assert rates[0] > rates[1] + 0.1 > rates[2] + 0.2
    later, gap = revisit(CASCADE, jax.random.split(jax.random.key(9), N), state, params)
    close(later.satiation, state.satiation * np.exp(-np.asarray(gap) / 8.0)[:, None])
    _, feedback = shown(params, catalog, later, seed=5)
    rested = np.asarray(gap) > 16
    assert did(feedback, CLICK)[rested].mean() > rates[1] > did(feedback, CLICK)[~rested].mean() - 0.05
    often(did(feedback, CLICK), float(sigmoid(1 - 0.5 * np.asarray(later.satiation[:, 0])).mean()))


def test_satiation_is_per_category_and_grows_within_the_slate(catalog: Catalog) -> None:
    # items 0 and 1 are of one category, item 2 of another; a click is watched to the end here
    params = world(satiation=1.5, base=2.0)
    state, feedback = shown(params, catalog, crowd(params, catalog))
    first = did(feedback, CLICK)
    tasted = np.where(first, 0.25 + 0.75 * half(2.0), 0.25)
    often(did(feedback, CLICK, 1), float(sigmoid(2 - 1.5 * tasted).mean()))
    often(did(feedback, CLICK, 1)[first], float(sigmoid(2 - 1.5 * (0.25 + 0.75 * half(2.0)))))
    often(did(feedback, CLICK, 2), float(sigmoid(2.0)))
    close(state.satiation[:, 2], np.zeros(N))


def test_satiation_with_a_creator_fades_with_time(catalog: Catalog) -> None:
    params = world(creator_satiation=0.8, creator_hours=12.0)
    state = crowd(params, catalog)
    one = jax.tree.map(lambda x: x[0], state)
    # item 4 and 5 are by the creator of item 0, but 5 was not looked at; item 1 is by another
    history = history_of(
        one, ([4, 5, 1, 2], [EXAMINED, 0, EXAMINED, 0], 12.0), ([4, 3, 1, 2], [EXAMINED, 0, 0, 0], 24.0)
    )
    _, feedback = shown(params, catalog, crowd(params, catalog, history=history, clock=36.0), slate=[0, 4, 3, EMPTY])
    recent = math.exp(-2) + math.exp(-1)
    often(did(feedback, CLICK), float(sigmoid(-0.8 * recent)))
    often(did(feedback, CLICK, 1), float(sigmoid(-0.8 * (recent + 1))))  # item 0 stands above it
    often(did(feedback, CLICK, 2), 0.5)


def test_what_was_seen_before_is_less_wanted(catalog: Catalog) -> None:
    params = world(repetition=1.5)
    one = jax.tree.map(lambda x: x[0], crowd(params, catalog))
    history = history_of(one, ([0, 1, 2, 3], [EXAMINED, EXAMINED | CLICK, 0, 0], 0.0))
    _, feedback = shown(params, catalog, crowd(params, catalog, history=history, clock=300.0))
    for slot, logit in enumerate((-1.5, -1.5, 0.0, 0.0)):  # 2 and 3 were shown, but not looked at
        often(did(feedback, CLICK, slot), float(sigmoid(logit)))


@pytest.mark.parametrize("tau", [0.01, 12.0, 1e6])
def test_an_old_episode_leaves_nothing_behind(tau: float, catalog: Catalog) -> None:
    """After auto-reset the ring still holds events, dated after the new clock: they count for nothing."""
    params = world(creator_satiation=0.8, repetition=1.5, creator_hours=tau)
    one = jax.tree.map(lambda x: x[0], crowd(params, catalog))
    old = one.replace(history=history_of(one, ([0, 4, 5, 1], [EXAMINED] * 4, 5000.0)).clear())
    traits = params.population.row(one.row)

    def utility(creator_hours: Array, state: Any) -> Array:
        return appeal_of(state, traits, HERE, params.replace(creator_hours=creator_hours), catalog)[0].utility

    for state in (one, old):
        np.testing.assert_array_equal(utility(params.creator_hours, state), np.zeros(K))
        gradient = jax.grad(lambda hours, state: jnp.sum(utility(hours, state)))(params.creator_hours, state)
        assert gradient == 0  # and not infinity times 0


def test_watching_is_log_logistic_until_the_item_ends(catalog: Catalog) -> None:
    params = world(base=-1.0, watch_bias=0.2, watch_slope=0.7, watch_noise=0.6)
    _, feedback = shown(params, catalog, crowd(params, catalog))
    clicked = did(feedback, CLICK)
    fraction = np.asarray(feedback.watch, np.float64)[clicked, 0] / SECONDS
    often(fraction == 1, float(sigmoid((0.2 - 0.7) / 0.6)))
    wanted = stats.fisk(c=1 / 0.6, scale=math.exp(0.2 - 0.7))
    assert stats.kstest(fraction[fraction < 1], lambda x: wanted.cdf(x) / wanted.cdf(1.0)).pvalue > 1e-3
    assert not np.asarray(feedback.watch)[~clicked, 0].any()


def test_clickbait_is_clicked_but_not_watched(catalog: Catalog) -> None:
    honest, bait = world({"gullibility": 1.0}), world({"gullibility": 1.0}, clickbait=2.0)
    _, plain = shown(honest, catalog, crowd(honest, catalog))
    _, lured = shown(bait, catalog, crowd(bait, catalog))
    assert did(lured, CLICK).mean() > did(plain, CLICK).mean() + 0.3
    close(np.asarray(lured.watch)[did(lured, CLICK), 0], 30.0)  # as much as without


def test_likes_comments_and_shares_follow_what_was_watched(catalog: Catalog) -> None:
    params = world({"expressive": 0.5}, base=1.0, like_bias=-2.0, like_slope=2.0, comment_bias=-2.5, share_bias=-3.0)
    _, feedback = shown(params, catalog, crowd(params, catalog))
    clicked, glow = did(feedback, CLICK), 2.0 * half(1.0) + 0.5
    for action, bias in ((LIKE, -2.0), (COMMENT, -2.5), (SHARE, -3.0)):
        often(did(feedback, action)[clicked], float(sigmoid(bias + glow)))
        assert not did(feedback, action)[~clicked].any()


def test_mood_by_hand(catalog: Catalog) -> None:
    params = world(mood_rate=0.2, mood_hours=6.0, base=1.0)
    state, feedback = shown(params, catalog, crowd(params, catalog, mood=0.1), slate=[0, EMPTY, EMPTY, EMPTY])
    enjoyed = np.where(did(feedback, CLICK), half(1.0), 0.0)
    close(state.mood, 0.1 + 0.2 * (enjoyed - 0.3 - 0.1))
    later, gap = revisit(CASCADE, jax.random.split(jax.random.key(9), N), state, params)
    close(later.mood, np.asarray(state.mood) * np.exp(-np.asarray(gap) / 6.0))


def test_trust_falls_with_clickbait_and_grows_with_what_delights(catalog: Catalog) -> None:
    params = world({"gullibility": 1.0}, clickbait=2.0, trust_gain=0.1, trust_loss=0.3, base=-1.0, trust_hours=100.0)
    state, feedback = shown(params, catalog, crowd(params, catalog), slate=[0, EMPTY, EMPTY, EMPTY])
    clicked = did(feedback, CLICK)
    broken = half(1.0) - half(-1.0)  # it looked 2 better than it was
    pleased = half(-1.0) - 0.3  # above the aspiration, if by little
    close(state.trust, np.where(clicked, 0.5 + 0.1 * pleased * 0.5 - 0.3 * broken * 0.5, 0.5))
    honest = params.replace(clickbait=jnp.zeros(8), base=1.0)
    glad, feedback = shown(honest, catalog, crowd(honest, catalog), slate=[0, EMPTY, EMPTY, EMPTY])
    close(glad.trust, np.where(did(feedback, CLICK), 0.5 + 0.1 * (half(1.0) - 0.3) * 0.5, 0.5))
    later, gap = revisit(CASCADE, jax.random.split(jax.random.key(9), N), state, params)
    close(later.trust, 0.5 + (np.asarray(state.trust) - 0.5) * np.exp(-np.asarray(gap) / 100.0))


def test_trust_lost_to_clickbait_costs_clicks_later(catalog: Catalog) -> None:
    rates = {}
    for bait in (0.0, 2.0):
        params = world({"gullibility": 1.0}, clickbait=bait, trust_loss=0.5, click_trust=4.0)
        state = crowd(params, catalog)
        for turn in range(4):
            state, _ = shown(params, catalog, state, slate=[0, EMPTY, EMPTY, EMPTY], seed=turn)
        rates[bait] = did(shown(params, catalog, state, slate=[2, EMPTY, EMPTY, EMPTY], seed=9)[1], CLICK).mean()
    assert rates[2.0] < rates[0.0] - 0.1


def test_reinforcement_pulls_the_matching_interest(catalog: Catalog) -> None:
    params = world(reinforcement=0.1, base=1.0)
    state, feedback = shown(params, catalog, crowd(params, catalog), slate=[1, EMPTY, EMPTY, EMPTY])
    credit = 0.1 * np.where(did(feedback, CLICK), half(1.0), 0.0)
    item = np.array([0.0, 1.0, 0.0, 0.0])
    close(state.interests[:, 0], np.broadcast_to([0.8, 0, 0, 0], (N, 4)))  # item 1 meets the second interest
    close(state.interests[:, 1], (np.array([0.3, 0.5, 0, 0]) + credit[:, None] * item) / (1 + credit[:, None]))


def test_interests_drift_as_an_ornstein_uhlenbeck_step(catalog: Catalog) -> None:
    params = world(drift_spread=0.2, drift_hours=24.0)
    away = jnp.array([[0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.5]])
    state = crowd(params, catalog, interests=away)
    later, gap = revisit(CASCADE, jax.random.split(jax.random.key(1), N), state, params)
    keep = np.exp(-np.asarray(gap, np.float64) / 24.0)[:, None, None]
    taste = np.asarray(params.population.traits.taste[0], np.float64)
    z = (np.asarray(later.interests, np.float64) - taste - keep * (np.asarray(away) - taste)) / (
        0.2 * np.sqrt(1 - keep**2)
    )
    for component in z.reshape(N, -1).T:  # uniform noise of mean 0 and variance 1
        assert stats.kstest(component, stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)).cdf).pvalue > 1e-3 / 8
    correlation = np.corrcoef(z.reshape(N, -1), rowvar=False) - np.eye(8)
    assert np.abs(correlation).max() < 4.5 / math.sqrt(N)


def test_taste_shifts_to_another_users_at_its_hour(catalog: Catalog) -> None:
    params = world(taste_shift_hours=50.0, drift_hours=24.0)
    own, other = np.asarray(params.population.traits.taste)
    state = crowd(params, catalog, clock=45.0)
    later, gap = revisit(CASCADE, jax.random.split(jax.random.key(1), N), state, params)
    shifted = np.asarray(later.clock) >= 50.0
    assert 0.2 < shifted.mean() < 0.8
    close(later.interests[shifted], np.broadcast_to(other, (shifted.sum(), 2, 4)))
    close(later.interests[~shifted], np.broadcast_to(own, ((~shifted).sum(), 2, 4)))
    # interests that have wandered return to the new taste, and no second jump happens
    wandered = crowd(params, catalog, clock=60.0, interests=jnp.zeros((2, 4)))
    later, gap = revisit(CASCADE, jax.random.split(jax.random.key(2), N), wandered, params)
    close(later.interests, other * (1 - np.exp(-np.asarray(gap) / 24.0)[:, None, None]))
    # within a slate too
    during, feedback = shown(params, catalog, crowd(params, catalog, clock=50.0 - 0.2 / 60.0))
    watched = np.asarray(feedback.minutes) >= 0.2
    assert watched.mean() > 0.2
    assert not watched.all()
    close(during.interests, np.where(watched[:, None, None], other, own))


def test_a_shift_at_hour_zero_is_another_taste_from_the_start(catalog: Catalog) -> None:
    params = world(taste_shift_hours=0.0)
    close(CASCADE.init(jax.random.key(0), params, catalog).interests, params.population.traits.taste[1])


def test_mnl_users_choose_one_by_softmax(catalog: Catalog) -> None:
    model = Mindset(3, K, 12, choice="mnl", talks=False)
    params = world(affinity=1.5, quality=0.6, outside=0.4, click_trust=2.0, clickbait=0.3, traits={"gullibility": 1.0})
    _, feedback = shown(params, catalog, crowd(params, catalog, trust=0.6), slate=[0, 1, EMPTY, 3], model=model)
    clicks = np.stack([did(feedback, CLICK, k) for k in range(K)], 1)
    assert clicks.sum(axis=1).max() == 1
    utility = np.array([1.5 * 0.8 - 0.6 * 1.5 + 0.3, 1.5 * 0.5 + 0.6, -np.inf, 0.0]) + 2.0 * 0.1
    weights = np.append(np.exp(utility), math.exp(0.4))
    expected = N * weights / weights.sum()
    counts = np.append(clicks.sum(axis=0), N - clicks.sum())
    assert counts[2] == 0
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3
    for k in (0, 1, 3):
        assert did(feedback, EXAMINED, k).all()  # the whole slate is seen


@pytest.mark.parametrize(("patience", "mood"), [(0.4, 0.0), (-0.5, 0.3), (1.0, -0.6)])
def test_perseverance(patience: float, mood: float, catalog: Catalog) -> None:
    params = world({"patience": patience})
    _, feedback = shown(params, catalog, crowd(params, catalog, mood=mood), slate=[0, 1, EMPTY, 3])
    look_on = float(sigmoid(patience + mood))
    assert did(feedback, EXAMINED, 0).all()
    often(did(feedback, EXAMINED, 1), look_on)
    often(did(feedback, EXAMINED, 3)[did(feedback, EXAMINED, 1)], look_on)  # an empty slot needs no patience
    assert not np.asarray(feedback.left).any()  # looking away is not leaving


# what is switched on, changes of the state, logit of leaving after slot 0, on a skip
LEAVES: dict[str, tuple[dict[str, float], dict[str, Any], float]] = {
    "bias": ({}, {}, -1.0),
    "time": ({"leave_time": 2.0}, {"minutes": 5.0}, -1.0 + 1.0),
    "boredom": ({"leave_boredom": 0.4}, {"boredom": 2.0}, -1.0 + 0.4 * 3),
    "mood": ({"leave_mood": 2.0}, {"mood": 0.5}, -1.0 - 1.0),
    "trust": ({"leave_trust": 3.0}, {"trust": 0.2}, -1.0 + 0.9),
    "glimpses": ({"leave_time": 4.0, "glimpse_seconds": 60.0, "load_seconds": 60.0}, {}, -1.0 + 4.0 * 0.2),
}


@pytest.mark.parametrize("name", list(LEAVES))
def test_leaving_is_a_logistic_hazard_in(name: str, catalog: Catalog) -> None:
    switched, state, logit = LEAVES[name]
    params = world(base=-30.0, leave_bias=-1.0, **switched)  # nobody clicks
    after, feedback = shown(params, catalog, crowd(params, catalog, **state))
    left = did(feedback, LEAVE)
    often(left, float(sigmoid(logit)))
    assert not np.asarray(feedback.actions)[left, 1:].any()
    assert np.asarray(feedback.left)[left].all()
    if name == "boredom":  # one more skip, one more chance
        often(did(feedback, LEAVE, 1)[~left], float(sigmoid(-1.0 + 0.4 * 4)))
    if name == "glimpses":
        close(after.minutes[left], 2.0)


def test_a_click_ends_boredom(catalog: Catalog) -> None:
    params = world(base=30.0, leave_boredom=1.0, leave_bias=-1.0)
    _, feedback = shown(params, catalog, crowd(params, catalog, boredom=20.0))
    often(did(feedback, LEAVE), float(sigmoid(-1.0)))


def test_a_slate_without_items_bores_and_may_be_left(catalog: Catalog) -> None:
    params = world(leave_bias=-1.0, leave_boredom=0.5, load_seconds=6.0)
    state, feedback = shown(params, catalog, crowd(params, catalog), slate=[EMPTY] * K)
    often(np.asarray(feedback.left), float(sigmoid(-0.5)))
    assert not np.asarray(feedback.actions).any()
    close(feedback.minutes, np.full(N, 0.1))
    close(state.boredom, np.ones(N))


def test_mnl_users_leave_after_the_slate(catalog: Catalog) -> None:
    model, params = Mindset(3, K, 12, choice="mnl", talks=False), world(leave_bias=-0.5, outside=30.0)
    _, feedback = shown(params, catalog, crowd(params, catalog), model=model)
    often(np.asarray(feedback.left), float(sigmoid(-0.5)))
    np.testing.assert_array_equal(did(feedback, LEAVE, K - 1), np.asarray(feedback.left))


@pytest.mark.parametrize(("peak_end", "trust"), [(None, 0.5), (0.9, 0.5), (0.0, 0.5), (0.9, 0.9)])
def test_gaps_are_weibull_and_shorter_for_the_satisfied(peak_end: float | None, trust: float, catalog: Catalog) -> None:
    params = world(return_satisfaction=3.0, return_trust=2.0, return_shape=0.8, recency=0.5)
    state = crowd(params, catalog, trust=trust)
    remembered = 0.3
    if peak_end is not None:
        summary = jax.tree.map(lambda x: jnp.full_like(x[:, 0], peak_end), state.sessions.data)
        state = state.replace(sessions=jax.vmap(lambda ring, s: ring.push(s))(state.sessions, summary))
        remembered = (peak_end + 0.5 * 0.3) / 1.5  # one session, and the prior half a weight older
    later, gap = revisit(CASCADE, jax.random.split(jax.random.key(4), N), state, params)
    risk = math.exp(3.0 * (remembered - 0.3) + 2.0 * (trust - 0.5))
    weibull = stats.weibull_min(c=0.8, scale=10.0 * risk ** (-1 / 0.8))
    assert stats.kstest(np.asarray(gap, np.float64), weibull.cdf).pvalue > 1e-3
    close(later.clock, gap)


def test_only_the_last_sessions_are_remembered(catalog: Catalog) -> None:
    """Also after a turn without a leave, whose write that never happened lies in the ring's oldest slot."""
    params = world(return_satisfaction=3.0, recency=1.0)
    state = crowd(params, catalog)
    satisfactions = [1.0, 1.0, 1.0, *np.linspace(0.1, 0.5, SESSIONS_REMEMBERED)]
    for satisfaction in satisfactions:
        summary = jax.tree.map(lambda x, value=satisfaction: jnp.full_like(x[:, 0], value), state.sessions.data)
        state = state.replace(sessions=jax.vmap(lambda ring, event: ring.push(event))(state.sessions, summary))
    state, feedback = shown(params, catalog, state)
    assert not np.asarray(feedback.left).any()
    keys = jax.random.split(jax.random.key(4), N)
    _, gap = revisit(CASCADE, keys, state, params)
    plain, u = numbers(params), np.asarray(uniforms(keys, 12), np.float64)
    for b in range(20):
        close(gap[b], oracle_revisit(u[b], numbers(state, b), satisfactions, plain)["gap"])


def test_satisfaction_is_peak_and_end(catalog: Catalog) -> None:
    """A session of two slates: the better one and the last one count, half each."""
    good, poor = world(base=1.0), world(base=-1.0, leave_bias=30.0, load_seconds=60.0)
    state = crowd(good, catalog)
    state, first = shown(good, catalog, state, slate=[0, 2, EMPTY, EMPTY])
    state, second = shown(poor, catalog, state, slate=[1, EMPTY, EMPTY, EMPTY], seed=1)
    peak = (did(first, CLICK) * half(1.0) + did(first, CLICK, 1) * half(1.0)) / 2
    end = did(second, CLICK) * half(-1.0)
    summary = jax.tree.map(lambda x: np.asarray(x[:, 0]), state.sessions.data)
    assert (np.asarray(state.sessions.end) == 1).all()
    close(summary.satisfaction, 0.5 * (np.maximum(peak, end) + end))
    close(summary.turns, np.full(N, 2.0))
    minutes = np.asarray(first.minutes) + np.asarray(second.minutes)
    close(summary.minutes, minutes)
    np.testing.assert_allclose(summary.start, 0.0, atol=1e-5)


def test_budgets_are_log_logistic_around_the_users_own(catalog: Catalog) -> None:
    params = world(budget_spread=0.5)
    state = init(CASCADE, jax.random.split(jax.random.key(0), N), params, catalog)
    later, _ = revisit(CASCADE, jax.random.split(jax.random.key(1), N), state, params)
    for budget in (state.budget, later.budget):
        assert stats.kstest(np.asarray(budget, np.float64), stats.fisk(c=2.0, scale=10.0).cdf).pvalue > 1e-3


def test_users_come_by_weight() -> None:
    env, params = jaxreco.make("Feed-v0", **SMALL)
    weights = jnp.arange(32.0)
    p = params.user.replace(population=params.population.replace(weights=weights))
    state = init(env.user_model, jax.random.split(jax.random.key(0), N), p, params.catalog)
    rows = np.asarray(state.row)
    expected = N * np.arange(32) / np.arange(32).sum()
    assert not (rows == 0).any()
    assert stats.chisquare(np.bincount(rows, minlength=32)[1:], expected[1:]).pvalue > 1e-3
    close(state.interests, params.population.traits.taste[rows])
    close(state.trust, params.population.traits.trust[rows])


# -- gradients -----------------------------------------------------------------------------------------------


def test_relaxing_changes_no_value(feed: Any) -> None:
    env, params = feed
    p = params.user.replace(base=-1.5, leave_bias=-3.0)
    strict = Mindset(env.user_model.n_categories, K, env.user_model.history_length, talks=False)
    relaxed = Mindset(strict.n_categories, K, strict.history_length, relaxed=True, talks=False)
    keys, slates = jax.random.split(jax.random.key(3), 256), jax.random.randint(jax.random.key(4), (256, K), 0, 60)
    state = init(strict, jax.random.split(jax.random.key(5), 256), p, params.catalog)
    one, other = (review(model, keys, state, slates, p, params.catalog) for model in (strict, relaxed))
    np.testing.assert_array_equal(one[1].actions, other[1].actions)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


def test_a_relaxed_coin_is_exactly_0_or_1() -> None:
    u, p = rng.uniforms(jax.random.key(0), 4096), rng.uniforms(jax.random.key(1), 4096)
    np.testing.assert_array_equal(RELAXED._happens(u, p), (u < p).astype(jnp.float32))
    np.testing.assert_array_equal(jax.vmap(jax.grad(RELAXED._happens, 1))(u, p), np.ones(4096))
    np.testing.assert_array_equal(jax.vmap(jax.grad(CASCADE._happens, 1))(u, p), np.zeros(4096))


def test_the_straight_through_gradient_is_right_on_average(catalog: Catalog) -> None:
    """One slot, one look: the mean gradient of watch time is the derivative of expected watch time."""
    params = world({"patience": -30.0}, watch_noise=0.6)
    state = jax.tree.map(lambda x: x[0], crowd(params, catalog))

    @quick_jit
    def watched(base: Array) -> Array:
        def one(key: Array) -> Array:
            gradient = jax.grad(
                lambda b: jnp.sum(_review(RELAXED, key, state, HERE, params.replace(base=b), catalog)[1].watch)
            )
            return gradient(base)

        return jax.vmap(one)(jax.random.split(jax.random.key(2), N))

    gradient = np.asarray(watched(jnp.float32(0.3)))
    odds = np.log(1 / np.linspace(1e-4, 1 - 1e-4, 9999) - 1)  # of the watch fraction's noise

    def expected(base: float) -> float:
        return SECONDS * sigmoid(base) * float(np.mean(np.minimum(0.5 * np.exp(0.5 * base - 0.6 * odds), 1.0)))

    slope = (expected(0.3001) - expected(0.2999)) / 0.0002
    assert abs(gradient.mean() - slope) < 4.5 * gradient.std() / math.sqrt(N)
    assert abs(slope) > 20 * gradient.std() / math.sqrt(N)  # so that the comparison means something


def test_gradients_through_turns_and_gaps_are_finite_and_reach_everything(feed: Any) -> None:
    """Engaged minutes over twelve turns with returns, with respect to the user's parameters and traits."""
    env, params = feed
    strict = env.user_model
    model = Mindset(strict.n_categories, K, strict.history_length, relaxed=True, talks=False)
    p = params.user.replace(base=-1.0, leave_bias=-2.0)
    catalog = params.catalog

    def minutes(p: Any, key: Array) -> Array:
        state = model.init(jax.random.fold_in(key, 0), p, catalog)

        def turn(state: Any, t: Array) -> Any:
            one, two, three = jax.random.split(jax.random.fold_in(key, t), 3)
            slate = rng.distinct(rng.uniforms(one, K), 60)
            after, feedback, _, _ = model.review(two, state, slate, p, catalog, Context())
            back, _ = model.revisit(three, after, p, Context())
            chosen = jaxreco.ring.merge(feedback.left, back, after)
            return chosen, jnp.sum(feedback.watch) / 60.0

        return jnp.sum(jax.lax.scan(turn, state, jnp.arange(1, 13))[1])

    gradient = quick_jit(
        lambda p: jax.grad(
            lambda p: jnp.mean(jax.vmap(minutes, (None, 0))(p, jax.random.split(jax.random.key(0), 64))), allow_int=True
        )(p)
    )(p)
    leaves = {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)
        if leaf.dtype == jnp.float32
    }
    for name, leaf in leaves.items():
        assert np.isfinite(leaf).all(), name
    moving = ["base", "affinity", "quality", "satiation", "creator_satiation", "fatigue", "mood_rate", "leave_bias"]
    traits = ["taste", "gullibility", "budget_minutes", "trust", "patience"]
    for name in [*moving, "satiation_hours", *(f"population.traits.{trait}" for trait in traits)]:
        assert np.any(leaves[f".{name}"]), name
