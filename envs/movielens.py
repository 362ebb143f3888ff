"""MovieLens-v0: films, and people fitted to the real users of a MovieLens set.

A turn is one page of film cards, a watch is minutes of one film, a session is an evening. Films, ratings, tastes,
popularity and quality come from the log; running times, patience, trust and most of the rest are priors, as
docs/worlds/movielens.md lists. NumPy on the host, about a second for latest-small.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxreco.base import EMPTY, Catalog, EnvParams, Names
from jaxreco.data.movielens import FORMATS, Ratings, load
from jaxreco.env import RecoEnv
from jaxreco.errors import DataError
from jaxreco.logs import Interactions
from jaxreco.population import Population
from jaxreco.users import people
from jaxreco.users.mindset import Mindset, MindsetParams, Traits

VERSION = "0.2"
INTERESTS = 3
TAGS_PER_ITEM = 8
FREE_TAGS = 200  # at most, each on at least FREE_TAG_FILMS films
FREE_TAG_FILMS = 5
SUBFOLDERS = ("movielens-latest-small", "movielens-100k", "ml-latest-small", "ml-100k")
NOT_A_GENRE = "IMAX"  # a format of projection that latest-small lists among the genres
PERSONAL_TAGS = ("in netflix queue",)  # a note to oneself, not a property of the film

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
    user = MindsetParams(population=population, clickbait=_clickbait(catalog), **known)
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


def _mean(values: np.ndarray, groups: np.ndarray, n: int, shrink: float = 0.0) -> np.ndarray:
    """f64[n]: mean of values f[N] in each group i32[N], pulled to 0 by `shrink` pseudo-counts; 0 for an empty group."""
    count = np.bincount(groups, minlength=n)
    return np.bincount(groups, weights=values, minlength=n) / np.maximum(count + shrink, 1e-9)


def _above_own_mean(ratings: Ratings) -> np.ndarray:
    """f64[N]: stars above the user's own mean."""
    return ratings.stars - _mean(ratings.stars, ratings.user, ratings.n_users)[ratings.user]


def _log(ratings: Ratings) -> Interactions:
    """What the users did, for agents that are fitted to a log: 1 for a film liked, 0.2 for one only seen."""
    # Half a hundredth of a star: a mean in floating point must not turn a user's only rating into a dislike.
    weight = np.where(_above_own_mean(ratings) >= -0.005, 1.0, 0.2).astype(np.float32)
    return Interactions(ratings.user, ratings.item, weight, ratings.n_users, ratings.n_items)


# -- films --------------------------------------------------------------------------------------------------


def item_embeddings(ratings: Ratings, n_factors: int, genre_weight: float = 0.3) -> np.ndarray:
    """f64[I, D], unit length: films near each other when the same people liked them; genres help the rare ones.

    Correspondence analysis of the user-film matrix (Greenacre 1984; as spectral co-clustering, Dhillon 2001): each
    rating, as a degree of liking in (0, 1), is divided by the square roots of its row and column sums, and the
    leading singular vectors are kept, less the first, which holds only those sums. Dividing takes popularity out of
    the directions, where it would make every popular film everybody's taste. Genres are further rows, "users" who
    like exactly one genre (collective factorisation, Singh & Gordon 2008), holding `genre_weight`**2 of the
    squared mass of the ratings. On held-out ratings this ranked liked films above unseen ones drawn by popularity
    with probability 0.83; a truncated SVD of rating residuals 0.67 (docs/worlds/movielens.md).

    Raises ValueError when `n_factors` is more than the set can tell apart.
    """
    genre, film = np.nonzero(_has_genre(ratings).T)
    n_users, n_items = ratings.n_users, ratings.n_items
    n_rows = n_users + len(ratings.genre_names)
    if n_factors >= min(n_users, n_items):
        raise ValueError(
            f"n_factors is {n_factors}, but the set has {n_users} users and {n_items} films: choose less than both."
        )
    liking = 1.0 / (1.0 + np.exp(-2.0 * _above_own_mean(ratings)))
    rated = _normalised(ratings.user, ratings.item, liking, n_users, n_items, smoothing=5.0)
    listed = _normalised(genre, film, np.ones(len(film)), len(ratings.genre_names), n_items)
    if len(listed):
        listed *= genre_weight * np.sqrt(np.sum(rated**2) / np.sum(listed**2))
    row = np.concatenate([ratings.user, genre + n_users])
    column = np.concatenate([ratings.item, film])
    strength, direction = _leading(row, column, np.concatenate([rated, listed]), n_rows, n_items, n_factors + 1)
    return _unit(direction[:, 1:] * strength[1:])


def _has_genre(ratings: Ratings) -> np.ndarray:
    """bool[I, number of genres]."""
    return np.array([[name in genres for name in ratings.genre_names] for genres in ratings.genres]).reshape(
        ratings.n_items, len(ratings.genre_names)
    )


def _normalised(
    row: np.ndarray, column: np.ndarray, value: np.ndarray, n_rows: int, n_columns: int, smoothing: float = 0.0
) -> np.ndarray:
    """f64[N]: a sparse matrix's values over the square roots of their row's and (smoothed) column's sums."""
    rows = np.bincount(row, weights=value, minlength=n_rows)
    columns = np.bincount(column, weights=value, minlength=n_columns) + smoothing
    return value / np.sqrt(rows[row] * columns[column])


def _leading(
    row: np.ndarray, column: np.ndarray, value: np.ndarray, n_rows: int, n_columns: int, k: int, rounds: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` leading singular values f64[k] and right singular vectors f64[n_columns, k] of a sparse matrix.

    Subspace iteration from a fixed random start (Halko, Martinsson & Tropp 2011, algorithm 4.4): deterministic, and
    a few products where a dense decomposition of a million ratings would take minutes.
    """

    def times(x: np.ndarray, out: np.ndarray, into: np.ndarray, n: int) -> np.ndarray:
        return np.stack([np.bincount(out, weights=value * x[into, j], minlength=n) for j in range(x.shape[1])], axis=1)

    width = min(k + 10, n_rows, n_columns)
    basis = np.random.default_rng(0).normal(size=(n_columns, width))
    for _ in range(rounds):
        basis = np.linalg.qr(times(times(basis, row, column, n_rows), column, row, n_columns))[0]
    _, strength, turn = np.linalg.svd(times(basis, row, column, n_rows), full_matrices=False)
    return strength[:k], (basis @ turn.T)[:, :k]


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros becomes the first axis."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    axis = np.eye(1, x.shape[-1])
    return np.where(length > 1e-12, x / np.maximum(length, 1e-12), axis)


def _films(ratings: Ratings, embedding: np.ndarray) -> tuple[Catalog, Names]:
    """All that everybody knows of the films, and its readable side."""
    genre = primary_genres(ratings)
    categories = tuple(sorted(set(genre)))
    decade = [f"{year // 10 * 10}s" if year else "Undated" for year in ratings.years.tolist()]
    # MovieLens has no directors or studios. What stands in for a creator is a cell of decade and genre: films of one
    # cell are as alike to a viewer as works of one hand, and the creator's mechanisms (satiation) keep a meaning.
    cells = [f"{d} {g}" for d, g in zip(decade, genre, strict=True)]
    creators = tuple(sorted(set(cells)))
    tags, tag_names = _tags(ratings)
    count = np.bincount(ratings.item, minlength=ratings.n_items)
    catalog = Catalog(
        embedding=jnp.asarray(embedding, jnp.float32),
        category=jnp.asarray([categories.index(g) for g in genre], jnp.int32),
        creator=jnp.asarray([creators.index(c) for c in cells], jnp.int32),
        tags=jnp.asarray(tags, jnp.int32),
        duration=jnp.asarray(_durations(ratings), jnp.float32),
        popularity=jnp.asarray(count / count.sum(), jnp.float32),
        quality=jnp.asarray(_quality(ratings), jnp.float32),
        age=jnp.asarray(_ages(ratings), jnp.float32),
    )
    ids = tuple(ratings.item_ids.tolist())
    return catalog, Names(titles=ratings.titles, categories=categories, creators=creators, tags=tag_names, ids=ids)


def primary_genres(ratings: Ratings) -> list[str]:
    """[I]: one genre a film, the rarest of those it has; "Other" where none is listed.

    The rarest says most (its self-information is highest): "Drama" fits half of all films, "Film-Noir" few.
    """
    count = collections.Counter(genre for genres in ratings.genres for genre in genres)
    return [
        min((g for g in genres if g != NOT_A_GENRE), key=lambda g: (count[g], g), default="Other")
        for genres in ratings.genres
    ]


def _tags(ratings: Ratings) -> tuple[np.ndarray, tuple[str, ...]]:
    """i32[I, TAGS_PER_ITEM], EMPTY padded: genres, then the free tags given most often; and their names."""
    own = [collections.Counter(tag.lower() for tag in tags) for tags in ratings.tags]
    films = collections.Counter(tag for counter in own for tag in counter if tag not in PERSONAL_TAGS)
    genres = {genre.lower() for genre in ratings.genre_names}
    often = [tag for tag, n in films.items() if n >= FREE_TAG_FILMS and tag not in genres]
    free = sorted(often, key=lambda tag: (-films[tag], tag))[:FREE_TAGS]
    names = (*ratings.genre_names, *free)
    index = {name: i for i, name in enumerate(names)}
    tags = np.full((ratings.n_items, TAGS_PER_ITEM), EMPTY, np.int32)
    for i, (listed, counter) in enumerate(zip(ratings.genres, own, strict=True)):
        given = sorted((tag for tag in counter if tag in index), key=lambda tag: (-counter[tag], index[tag]))
        ids = [index[tag] for tag in (*listed, *given)][:TAGS_PER_ITEM]
        tags[i, : len(ids)] = ids
    return tags, names


def _durations(ratings: Ratings) -> np.ndarray:
    """f64[I] seconds: a prior, log-normal around the mean of the genres' running times, 60 to 210 minutes.

    Drawn from the film's own id: the same film is as long in every world, whatever the seed and the filter.
    """
    typical = [np.mean([MINUTES.get(g, 105.0) for g in genres] or [105.0]) for genres in ratings.genres]
    noise = [np.random.default_rng(int(id)).normal() for id in ratings.item_ids]
    return 60.0 * np.clip(np.array(typical) * np.exp(0.15 * np.array(noise)), 60.0, 210.0)


def _quality(ratings: Ratings) -> np.ndarray:
    """f64[I], standard score: mean stars above the raters' own means, shrunk by 10 pseudo-ratings.

    Item effects of the baseline predictor in Koren 2008, "Factorization meets the neighborhood", section 2.1: a film
    is not good because lenient people saw it.
    """
    effect = _mean(_above_own_mean(ratings), ratings.item, ratings.n_items, shrink=10.0)
    return (effect - effect.mean()) / (effect.std() + 1e-9)


def _ages(ratings: Ratings) -> np.ndarray:
    """f64[I] hours from the film's release to the end of the log, which is when the clock is 0.

    Release is the middle of its year, or its first rating where that is earlier or the year unknown.
    """
    first = np.full(ratings.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, ratings.item, ratings.time)
    released = (ratings.years - 1970 + 0.5) * 365.25 * 86400.0
    released = np.where(ratings.years > 0, np.minimum(released, first), first)
    return (ratings.time.max() - released) / 3600.0


def _clickbait(catalog: Catalog) -> jnp.ndarray:
    """f32[I]: a prior. Films far more popular than good look better than they are."""
    fame = np.log(np.asarray(catalog.popularity))
    fame = (fame - fame.mean()) / (fame.std() + 1e-9)
    return jnp.asarray(0.6 * np.clip(fame - np.asarray(catalog.quality) - 1.0, 0.0, 3.0), jnp.float32)


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
        novelty=column(_novelty(ratings, np.asarray(catalog.category))),
        patience=column(rng.normal(1.5, 0.5, n)),
        budget_minutes=column(rng.lognormal(np.log(120.0), 0.3, n)),
        habit_hours=column(_habits(rng, ratings)),
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
    user, item, weight = ratings.user[liked], ratings.item[liked], weight[liked]
    # Whoever rated nothing that was kept gets what people like on the whole, faintly.
    share = np.bincount(item, weights=weight, minlength=ratings.n_items)[:, None]
    crowd = 0.5 * _unit(np.sum(share * embedding, axis=0))
    ends = np.searchsorted(user, np.arange(ratings.n_users + 1))
    return np.stack(
        [
            interests(embedding[item[a:b]], weight[a:b]) if b > a else np.tile(crowd, (INTERESTS, 1))
            for a, b in itertools.pairwise(ends)
        ]
    )


def interests(films: np.ndarray, weight: np.ndarray, m: int = INTERESTS, rounds: int = 15) -> np.ndarray:
    """f64[M, D]: what a person likes, as `m` directions, the one with most films first, each as long as it is strong.

    Spherical k-means (Dhillon & Modha 2001) from a deterministic start: the film nearest to the mean, then each
    time the liked film least like those taken. The strength of an interest is the mean resultant length of its films
    (Mardia & Jupp 2000), the mean cosine between film and centre, shrunk by two pseudo-films: a handful that point
    one way is a stronger interest than a crowd that does not, and one film alone is a weak one.

    Args:
      films: f64[N, D], unit embeddings of the films liked. weight: f64[N], above 0, how much.
    """
    centre = [films[np.argmax(films @ np.sum(weight[:, None] * films, axis=0))]]
    for _ in range(1, m):
        centre.append(films[np.argmax(weight * (1.0 - np.max(films @ np.array(centre).T, axis=1)))])
    centres = np.array(centre)
    member = np.full(len(films), EMPTY)
    for _ in range(rounds):
        before, member = member, np.argmax(films @ centres.T, axis=1)
        if np.array_equal(before, member):
            break
        total = (weight[:, None] * (member[:, None] == np.arange(m))).T @ films
        centres = np.where(np.bincount(member, minlength=m)[:, None] > 0, _unit(total), centres)
    share = weight[:, None] * (np.argmax(films @ centres.T, axis=1)[:, None] == np.arange(m))
    mass = share.sum(axis=0)
    length = np.linalg.norm(share.T @ films, axis=1) / (mass + 2.0 * weight.mean())
    return (centres * length[:, None])[np.argsort(-mass, kind="stable")]


def _novelty(ratings: Ratings, category: np.ndarray) -> np.ndarray:
    """f64[P]: entropy of the genres a user rated, as a standard score, mapped to mean 0.15 and deviation 0.2.

    Entropy with the bias correction of Miller (1955), or those with few ratings would seem narrow. The scale
    is a prior.
    """
    n_categories = int(category.max()) + 1
    cell = ratings.user.astype(np.int64) * n_categories + category[ratings.item]
    count = np.bincount(cell, minlength=ratings.n_users * n_categories).reshape(ratings.n_users, n_categories)
    total = np.maximum(count.sum(axis=1, keepdims=True), 1)
    share = count / total
    entropy = -np.sum(share * np.log(np.maximum(share, 1e-12)), axis=1)
    entropy = entropy + (np.maximum((count > 0).sum(axis=1) - 1, 0)) / (2.0 * total[:, 0])
    score = (entropy - entropy.mean()) / (entropy.std() + 1e-9)
    return np.clip(0.15 + 0.2 * score, -0.4, 0.6)


def _habits(rng: np.random.Generator, ratings: Ratings, typical: float = 40.0) -> np.ndarray:
    """f64[P] hours between evenings: the user's own gaps between days of rating, pulled to a prior by 5 pseudo-gaps.

    The prior is log-normal around `typical`; a geometric mean, since a break of a year must not hide a habit. Clipped
    to half a day to five days: people rate far less often than they watch, and many rated on one day only.
    """
    prior = np.log(typical) + 0.4 * rng.normal(size=ratings.n_users)
    day = ratings.time // 86400
    new = (ratings.user[1:] == ratings.user[:-1]) & (day[1:] > day[:-1])
    gap, user = np.log(24.0 * (day[1:] - day[:-1])[new]), ratings.user[1:][new]
    count = np.bincount(user, minlength=ratings.n_users)
    own = np.bincount(user, weights=gap, minlength=ratings.n_users)
    return np.clip(np.exp((own + 5.0 * prior) / (count + 5.0)), 12.0, 120.0)
