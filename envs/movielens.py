"""MovieLens-v0: films, and people fitted to the real users of a MovieLens set.

A turn is one page of film cards, a watch is minutes of one film, a session is an evening. Films, ratings, tastes,
popularity and quality come from the log; running times, patience, trust and most of the rest are priors, as
docs/worlds/movielens.md lists. NumPy on the host, about a second for latest-small.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog, EnvParams, Names
from jaxreco.content import correspondence, shelves
from jaxreco.content.correspondence import Rows
from jaxreco.data.movielens import FORMATS, Ratings, load
from jaxreco.env import RecoEnv
from jaxreco.errors import DataError
from jaxreco.logs import Interactions
from jaxreco.population import Population
from jaxreco.users import people, tastes
from jaxreco.users.mindset import Mindset, MindsetParams, Traits

VERSION = "0.2"
SUBFOLDERS = ("movielens-latest-small", "movielens-100k", "ml-latest-small", "ml-100k")
NOT_A_GENRE = "IMAX"  # a format of projection that latest-small lists among the genres
PERSONAL_TAGS = ("in netflix queue",)  # a note to oneself, not a property of the film
# Between evenings: typical, and half a day to five days; people rate far less often than they watch, and many on one day only.
HABIT_HOURS = (40.0, 12.0, 120.0)

# Mean running times in minutes. An assumption: MovieLens has none, and these are round numbers for feature films.
MINUTES = {
    "Action": 112.0, "Adventure": 111.0, "Animation": 86.0, "Children": 92.0, "Children's": 92.0, "Comedy": 100.0,
    "Crime": 112.0, "Documentary": 94.0, "Drama": 114.0, "Fantasy": 107.0, "Film-Noir": 98.0, "Horror": 96.0,
    "Musical": 110.0, "Mystery": 108.0, "Romance": 109.0, "Sci-Fi": 108.0, "Thriller": 110.0, "War": 124.0,
    "Western": 108.0,
}  # fmt: skip

# What differs from the user of a feed: a film takes an evening, not seconds, and the next evening is days away.
DEFAULTS: dict[str, float] = {
    "base": -5.6,
    "affinity": 8.0,
    "quality": 0.25,
    "popularity": 0.08,
    "satiation": 0.1,
    "satiation_hours": 72.0,
    "creator_satiation": 0.1,
    "creator_hours": 96.0,
    "fatigue": 1.0,
    "exposure_hours": 336.0,
    "aspiration": 0.15,  # of a whole row of cards, most of which nobody plays
    "mood_hours": 12.0,
    "length": 3.0,  # films differ in length by a fifth
    "length_spread": 0.2,
    "staleness": 0.1,  # in weeks, and films are decades old
    "drift_hours": 1440.0,
    "drift_spread": 0.05,
    "watch_bias": 0.7,
    "glimpse_seconds": 8.0,
    "load_seconds": 10.0,
    "leave_bias": -5.0,
    "leave_time": 4.5,
    "leave_boredom": 0.15,
    "budget_spread": 0.3,
    "return_shape": 0.8,
    "return_satisfaction": 1.5,
    "return_trust": 1.0,
}


def make(
    *,
    slate_size: int = 10,
    history_length: int = 50,
    action_mode: Any = "slate",
    choice: Any = "cascade",
    talks: bool = True,
    exposes_trace: bool = True,
    think_aloud: bool = False,
    data: str | os.PathLike[str] | None = None,
    n_factors: int = 16,
    min_ratings: int = 5,
    seed: int = 0,
) -> tuple[RecoEnv, EnvParams]:
    """The world fitted to a MovieLens set, and its default parameters.

    Args:
      data: folder of the set, or one that holds it as `movielens-latest-small` or `movielens-100k`; the environment
        variable JAXRECO_DATA where it is None.
      talks: users give instructions and reasons. exposes_trace: agents see the reasons. think_aloud: reasons come in every
        turn.
      n_factors: D. min_ratings: films with fewer are left out.
      seed: what the priors of the traits are drawn from; films and tastes do not depend on it.

    Raises DataError (a ValueError) when there is no such folder or it cannot be read, ValueError for impossible sizes.
    """
    for name, value in (("n_factors", n_factors), ("min_ratings", min_ratings)):
        if value < 1:
            raise ValueError(f"{name} is {value}; MovieLens-v0 needs at least 1.")
    ratings = restrict(load(find(data)), min_ratings)
    embedding = item_embeddings(ratings, n_factors)
    catalog, names = _films(ratings, embedding)
    env = RecoEnv(
        name="MovieLens-v0",
        version=VERSION,
        user_model=Mindset(
            len(names.categories), slate_size, history_length, choice, talks=talks, think_aloud=think_aloud
        ),
        exposes_trace=exposes_trace,
        n_items=ratings.n_items,
        slate_size=slate_size,
        history_length=history_length,
        action_mode=action_mode,
        names=names,
        log=_log(ratings),
    )
    traits = _people(np.random.default_rng(seed), ratings, embedding, catalog)
    population = Population(traits=traits, weights=jnp.ones(ratings.n_users))
    known: dict[str, Any] = people.known_of(catalog, len(names.categories)) | DEFAULTS
    user = MindsetParams(population=population, clickbait=people.clickbait(catalog), **known)
    return env, EnvParams(catalog=catalog, user=user)


# -- data ---------------------------------------------------------------------------------------------------


def find(data: str | os.PathLike[str] | None) -> Path:
    """The folder of a MovieLens set: `data` (JAXRECO_DATA where it is None) or the first known one inside it.

    Raises DataError when neither names a folder. Whether the files are right, `load` finds out.
    """
    given = data or os.environ.get("JAXRECO_DATA")
    if not given:
        raise DataError(
            "MovieLens-v0 is fitted to real ratings: pass data=FOLDER of a MovieLens set, or set JAXRECO_DATA to it."
        )
    folder = Path(given).expanduser()
    if any((folder / kind.ratings).exists() for kind in FORMATS):
        return folder
    return next((folder / name for name in SUBFOLDERS if (folder / name).is_dir()), folder)


def restrict(ratings: Ratings, min_ratings: int) -> Ratings:
    """The ratings of films with at least `min_ratings` of them, films re-indexed, sorted by user, then time.

    Every user stays, so that rows of the population are users of the log.

    Raises DataError when no film has that many.
    """
    kept = np.flatnonzero(np.bincount(ratings.item, minlength=ratings.n_items) >= min_ratings)
    if not len(kept):
        raise DataError(f"No film of this {ratings.name} set has {min_ratings} ratings: lower min_ratings.")
    index = np.full(ratings.n_items, EMPTY, np.int32)
    index[kept] = np.arange(len(kept))
    rows = np.flatnonzero(index[ratings.item] >= 0)
    rows = rows[np.lexsort((ratings.time[rows], ratings.user[rows]))]
    return dataclasses.replace(
        ratings,
        user=ratings.user[rows],
        item=index[ratings.item[rows]],
        stars=ratings.stars[rows],
        time=ratings.time[rows],
        item_ids=ratings.item_ids[kept],
        titles=tuple(ratings.titles[i] for i in kept),
        years=ratings.years[kept],
        genres=tuple(ratings.genres[i] for i in kept),
        tags=tuple(ratings.tags[i] for i in kept),
    )


def _above_own_mean(ratings: Ratings) -> np.ndarray:
    """f64[N]: stars above the user's own mean."""
    return tastes.above_own_mean(ratings.stars, ratings.user, ratings.n_users)


def _log(ratings: Ratings) -> Interactions:
    """What the users did, for agents that are fitted to a log: 1 for a film liked, 0.2 for one only seen."""
    # Half a hundredth of a star: a mean in floating point must not turn a user's only rating into a dislike.
    weight = np.where(_above_own_mean(ratings) >= -0.005, 1.0, 0.2).astype(np.float32)
    return Interactions(ratings.user, ratings.item, weight, ratings.n_users, ratings.n_items)


# -- films --------------------------------------------------------------------------------------------------


def item_embeddings(ratings: Ratings, n_factors: int, genre_weight: float = 0.3) -> np.ndarray:
    """f64[I, D], unit length: films near each other when the same people liked them; genres help the rare ones.

    See `correspondence.embeddings`. On held-out ratings this ranked liked films above unseen ones drawn by popularity
    with probability 0.83; a truncated SVD of rating residuals 0.67 (docs/worlds/movielens.md).

    Raises ValueError when `n_factors` is more than the set can tell apart.
    """
    genre, film = np.nonzero(_has_genre(ratings).T)
    liked = Rows(ratings.user, ratings.item, tastes.liking(_above_own_mean(ratings)), ratings.n_users)
    listed = Rows(genre, film, np.ones(len(film)), len(ratings.genre_names))
    return correspondence.embeddings(liked, listed, ratings.n_items, n_factors, genre_weight)


def _has_genre(ratings: Ratings) -> np.ndarray:
    """bool[I, number of genres]."""
    return np.array([[name in genres for name in ratings.genre_names] for genres in ratings.genres]).reshape(
        ratings.n_items, len(ratings.genre_names)
    )


def _films(ratings: Ratings, embedding: np.ndarray) -> tuple[Catalog, Names]:
    """All that everybody knows of the films, and its readable side."""
    genre = shelves.rarest(ratings.genres, (NOT_A_GENRE,))
    categories = tuple(sorted(set(genre)))
    decade = [f"{year // 10 * 10}s" if year else "Undated" for year in ratings.years.tolist()]
    # MovieLens has no directors or studios. What stands in for a creator is a cell of decade and genre: films of one
    # cell are as alike to a viewer as works of one hand, and the creator's mechanisms (satiation) keep a meaning.
    cells = [f"{d} {g}" for d, g in zip(decade, genre, strict=True)]
    creators = tuple(sorted(set(cells)))
    tags, tag_names = shelves.tags(ratings.genres, ratings.tags, ratings.genre_names, PERSONAL_TAGS)
    count = np.bincount(ratings.item, minlength=ratings.n_items)
    quality = tastes.quality(_above_own_mean(ratings), ratings.item, ratings.n_items)
    catalog = Catalog(
        embedding=jnp.asarray(embedding, jnp.float32),
        category=jnp.asarray([categories.index(g) for g in genre], jnp.int32),
        creator=jnp.asarray([creators.index(c) for c in cells], jnp.int32),
        tags=jnp.asarray(tags, jnp.int32),
        duration=jnp.asarray(_durations(ratings), jnp.float32),
        popularity=jnp.asarray(count / count.sum(), jnp.float32),
        quality=jnp.asarray(quality, jnp.float32),
        age=jnp.asarray(_ages(ratings), jnp.float32),
    )
    ids = tuple(ratings.item_ids.tolist())
    return catalog, Names(titles=ratings.titles, categories=categories, creators=creators, tags=tag_names, ids=ids)


def _durations(ratings: Ratings) -> np.ndarray:
    """f64[I] seconds: a prior, log-normal around the mean of the genres' running times, 60 to 210 minutes.

    Drawn from the film's own id: the same film is as long in every world, whatever the seed and the filter.
    """
    typical = [np.mean([MINUTES.get(g, 105.0) for g in genres] or [105.0]) for genres in ratings.genres]
    noise = [np.random.default_rng(int(id)).normal() for id in ratings.item_ids]
    return 60.0 * np.clip(np.array(typical) * np.exp(0.15 * np.array(noise)), 60.0, 210.0)


def _ages(ratings: Ratings) -> np.ndarray:
    """f64[I] hours from the film's release to the end of the log, which is when the clock is 0.

    Release is the middle of its year, or its first rating where that is earlier or the year unknown.
    """
    first = np.full(ratings.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, ratings.item, ratings.time)
    released = (ratings.years - 1970 + 0.5) * 365.25 * 86400.0
    released = np.where(ratings.years > 0, np.minimum(released, first), first)
    return (ratings.time.max() - released) / 3600.0


# -- people -------------------------------------------------------------------------------------------------


def _people(rng: np.random.Generator, ratings: Ratings, embedding: np.ndarray, catalog: Catalog) -> Traits:
    """One row a real user: taste, novelty and habit from their ratings, the rest drawn from a prior."""
    n = ratings.n_users

    def column(values: np.ndarray) -> jnp.ndarray:
        return jnp.asarray(values, jnp.float32)

    taste = _tastes(ratings, embedding)
    return Traits(
        taste=column(taste),
        peers=column(people.peers(taste)),
        wishes=jnp.asarray(people.wishes(taste, catalog)),
        novelty=column(tastes.novelty(ratings.user, np.asarray(catalog.category)[ratings.item], n)),
        patience=column(rng.normal(1.5, 0.5, n)),
        budget_minutes=column(rng.lognormal(np.log(120.0), 0.3, n)),
        habit_hours=column(tastes.habits(rng, ratings.user, ratings.time, n, *HABIT_HOURS)),
        gullibility=column(rng.gamma(4.0, 0.25, n)),
        trust=column(rng.beta(6.0, 4.0, n)),
        expressive=column(rng.normal(0.0, 0.8, n)),
        freshness=column(rng.gamma(2.0, 0.2, n)),
        rho=column(rng.beta(8.0, 2.0, n)),
    )


def _tastes(ratings: Ratings, embedding: np.ndarray) -> np.ndarray:
    """f64[P, M, D]: every user's interests, from the films rated no worse than half a star below their mean."""
    weight = np.maximum(_above_own_mean(ratings) + 0.5, 0.0)
    liked = weight > 0
    return tastes.tastes(ratings.user[liked], ratings.item[liked], weight[liked], ratings.n_users, embedding)
