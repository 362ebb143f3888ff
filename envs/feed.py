"""Feed-v0: an embedded world of short videos, made from a seed.

2,000 videos of 16 categories by 200 creators; a turn is one screenful of the feed, a watch is seconds of one
video, and a minute is a minute of watching. Everything is drawn from `seed` with NumPy, in well under a second;
the word lists are in `feed_words.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco.base import Catalog, EnvParams, Names
from jaxreco.env import RecoEnv
from jaxreco.envs import feed_words as words
from jaxreco.population import Population
from jaxreco.users import people
from jaxreco.users.mindset import Mindset, MindsetParams, Traits

VERSION = "0.2"
CATEGORIES = tuple(words.TOPICS)
DIM = 16
INTERESTS = 3


def make(
    *,
    slate_size: int = 10,
    history_length: int = 50,
    action_mode: Any = "slate",
    choice: Any = "cascade",
    talks: bool = True,
    exposes_trace: bool = True,
    think_aloud: bool = False,
    n_items: int = 2000,
    n_creators: int = 200,
    n_users: int = 4096,
    seed: int = 0,
) -> tuple[RecoEnv, EnvParams]:
    """The world and its default parameters.

    Args:
      talks: users give instructions and reasons. exposes_trace: agents see the reasons. think_aloud: reasons come in every
        turn. n_items: I. n_creators: creators who made them. n_users: P, rows of the pool. seed: what everything is drawn
        from.
    """
    for name, value, least in (("n_items", n_items, 1), ("n_creators", n_creators, 1), ("n_users", n_users, 2)):
        if value < least:
            raise ValueError(f"{name} is {value}; Feed-v0 needs at least {least}.")
    rng = np.random.default_rng(seed)
    topics = _topic_directions(rng)
    catalog, names, clickbait = _items(rng, topics, n_items, n_creators)
    env = RecoEnv(
        name="Feed-v0",
        version=VERSION,
        user_model=Mindset(len(CATEGORIES), slate_size, history_length, choice, talks=talks, think_aloud=think_aloud),
        n_items=n_items,
        slate_size=slate_size,
        history_length=history_length,
        action_mode=action_mode,
        exposes_trace=exposes_trace,
        names=names,
    )
    population = Population(traits=_people(rng, topics, n_users, catalog), weights=jnp.ones(n_users))
    known = people.known_of(catalog, len(CATEGORIES))
    return env, EnvParams(catalog=catalog, user=MindsetParams(population=population, clickbait=clickbait, **known))


def _unit(x: np.ndarray) -> np.ndarray:
    """x with its last axis of length 1."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _topic_directions(rng: np.random.Generator) -> np.ndarray:
    """f32[C, 6, D]: a direction of taste for each topic; topics of a category are near, groups of categories nearer
    than strangers."""
    group = {name: i for i, members in enumerate(words.GROUPS.values()) for name in members}
    groups = _unit(rng.normal(size=(len(words.GROUPS), DIM)))
    centres = _unit(rng.normal(size=(len(CATEGORIES), DIM)))
    centres = _unit(centres + 0.6 * groups[[group[c] for c in CATEGORIES]])
    return _unit(centres[:, None] + 0.55 * _unit(rng.normal(size=(len(CATEGORIES), 6, DIM))))


def _items(
    rng: np.random.Generator, topics: np.ndarray, n_items: int, n_creators: int
) -> tuple[Catalog, Names, jnp.ndarray]:
    n_categories, per_category = topics.shape[:2]
    creator_category = rng.permutation(n_creators) % n_categories
    output = rng.pareto(1.5, n_creators) + 0.3  # some creators post far more than others
    creator = rng.choice(n_creators, n_items, p=output / output.sum())
    stays = rng.random(n_items) < 0.8  # mostly a creator stays with one category
    category = np.where(stays, creator_category[creator], rng.integers(n_categories, size=n_items))
    topic = rng.integers(per_category, size=n_items)
    second = (topic + 1 + rng.integers(per_category - 1, size=n_items)) % per_category
    embedding = _unit(
        topics[category, topic] + 0.25 * topics[category, second] + 0.08 * rng.normal(size=(n_items, DIM))
    )
    talent = rng.normal(size=n_creators)
    quality = 0.6 * talent[creator] + 0.8 * rng.normal(size=n_items)
    clickbait = np.where(rng.random(n_items) < 0.2, 0.5 + rng.exponential(0.8, n_items), 0.0)
    plays = np.exp(1.3 * rng.normal(size=n_items) + 0.5 * quality + 0.6 * clickbait)
    category_seconds = np.asarray(rng.lognormal(np.log(28.0), 0.3, n_categories))
    duration = np.clip(category_seconds[category] * rng.lognormal(0.0, 0.5, n_items), 6.0, 180.0)
    catalog = Catalog(
        embedding=jnp.asarray(embedding, jnp.float32),
        category=jnp.asarray(category, jnp.int32),
        creator=jnp.asarray(creator, jnp.int32),
        tags=jnp.asarray(np.stack([category * per_category + topic, category * per_category + second], 1), jnp.int32),
        duration=jnp.asarray(duration, jnp.float32),
        popularity=jnp.asarray(plays / plays.sum(), jnp.float32),
        quality=jnp.asarray((quality - quality.mean()) / (quality.std() + 1e-9), jnp.float32),
        age=jnp.asarray(rng.exponential(240.0, n_items), jnp.float32),
    )
    names = Names(
        titles=_titles(rng, category, topic, clickbait > 0),
        categories=CATEGORIES,
        creators=tuple(_creator_name(i) for i in range(n_creators)),
        tags=tuple(tag for c in CATEGORIES for tag in words.TOPICS[c]),
    )
    return catalog, names, jnp.asarray(clickbait, jnp.float32)


def _titles(rng: np.random.Generator, category: np.ndarray, topic: np.ndarray, bait: np.ndarray) -> tuple[str, ...]:
    """A title an item, no two alike: a second take is numbered."""
    seen: dict[str, int] = {}
    titles = []
    for c, t, is_bait in zip(category, topic, bait, strict=True):
        frames = words.BAIT_FRAMES if is_bait else words.FRAMES
        frame = frames[rng.integers(len(frames))]
        title = frame.format(
            topic=words.TOPICS[CATEGORIES[c]][t],
            n=int(rng.integers(3, 10)),
            place=words.PLACES[rng.integers(len(words.PLACES))],
        )
        title = title[0].upper() + title[1:]
        seen[title] = seen.get(title, 0) + 1
        titles.append(title if seen[title] == 1 else f"{title} (part {seen[title]})")
    return tuple(titles)


def _creator_name(index: int) -> str:
    first, handle = words.FIRST[index % len(words.FIRST)], words.HANDLES[index // len(words.FIRST) % len(words.HANDLES)]
    again = index // (len(words.FIRST) * len(words.HANDLES))
    return f"{first} {handle}" + (f" {again + 1}" if again else "")


def _people(rng: np.random.Generator, topics: np.ndarray, n_users: int, catalog: Catalog) -> Traits:
    """The prior over users. Three interests each, of falling strength, in topics of unequal fame."""
    flat = topics.reshape(-1, DIM)
    fame = rng.lognormal(0.0, 0.7, len(flat))
    chosen = np.stack([rng.choice(len(flat), INTERESTS, replace=False, p=fame / fame.sum()) for _ in range(n_users)])
    taste = _unit(flat[chosen] + 0.08 * rng.normal(size=(n_users, INTERESTS, DIM)))
    taste = taste * np.array([1.0, 0.9, 0.8])[:, None]

    def column(values: np.ndarray) -> jnp.ndarray:
        return jnp.asarray(values, jnp.float32)

    return Traits(
        taste=column(taste),
        peers=column(people.peers(taste)),
        wishes=jnp.asarray(people.wishes(taste, catalog)),
        novelty=column(rng.normal(0.15, 0.2, n_users)),
        patience=column(rng.normal(3.5, 0.7, n_users)),
        budget_minutes=column(rng.lognormal(np.log(14.0), 0.5, n_users)),
        habit_hours=column(rng.lognormal(np.log(5.0), 0.5, n_users)),
        gullibility=column(rng.gamma(4.0, 0.25, n_users)),
        trust=column(rng.beta(6.0, 4.0, n_users)),
        expressive=column(rng.normal(0.0, 0.8, n_users)),
        freshness=column(rng.gamma(2.0, 0.2, n_users)),
        rho=column(rng.beta(8.0, 2.0, n_users)),
    )
