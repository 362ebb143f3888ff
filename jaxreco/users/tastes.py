"""What real people's events say of them: tastes, how they seek the new, how often they come. NumPy on the host."""

from __future__ import annotations

import itertools

import numpy as np

from jaxreco.base import EMPTY
from jaxreco.content.correspondence import unit

INTERESTS = 3
DAY_S = 86400
DOUBT = 2.0  # pseudo-items that pull an interest to 0


def mean_by(values: np.ndarray, groups: np.ndarray, n: int, shrink: float = 0.0) -> np.ndarray:
    """f64[n]: mean of values f[N] in each group i32[N], pulled to 0 by `shrink` pseudo-counts; 0 for an empty group."""
    count = np.bincount(groups, minlength=n)
    return np.bincount(groups, weights=values, minlength=n) / np.maximum(count + shrink, 1e-9)


def above_own_mean(value: np.ndarray, user: np.ndarray, n_users: int) -> np.ndarray:
    """f64[N]: values f[N] above the mean of their own user i32[N]."""
    return value - mean_by(value, user, n_users)[user]


def liking(above: np.ndarray) -> np.ndarray:
    """f64[N] in (0, 1): how much something was liked, of values above the person's own mean in stars or the like."""
    return 1.0 / (1.0 + np.exp(-2.0 * above))


def quality(above: np.ndarray, item: np.ndarray, n_items: int) -> np.ndarray:
    """f64[I], standard score: mean value above the users' own means, f64[N], shrunk by 10 pseudo-events.

    Item effects of the baseline predictor in Koren 2008, "Factorization meets the neighborhood", section 2.1: an item
    is not good because lenient people saw it.
    """
    effect = mean_by(above, item, n_items, shrink=10.0)
    return (effect - effect.mean()) / (effect.std() + 1e-9)


def tastes(user: np.ndarray, item: np.ndarray, weight: np.ndarray, n_users: int, embedding: np.ndarray) -> np.ndarray:
    """f64[P, M, D]: every user's interests (see `interests`), from what they liked.

    Args: user, item, of events, ascending by user. weight: f64[N], above 0, how much. embedding: f64[I, D].
    """
    # Whoever liked nothing gets what people like on the whole, faintly.
    share = np.bincount(item, weights=weight, minlength=len(embedding))[:, None]
    crowd = 0.5 * unit(np.sum(share * embedding, axis=0))
    ends = np.searchsorted(user, np.arange(n_users + 1))
    return np.stack(
        [
            interests(embedding[item[a:b]], weight[a:b]) if b > a else np.tile(crowd, (INTERESTS, 1))
            for a, b in itertools.pairwise(ends)
        ]
    )


def interests(items: np.ndarray, weight: np.ndarray, m: int = INTERESTS, rounds: int = 15) -> np.ndarray:
    """f64[M, D]: what a person likes, as `m` directions, the one with most items first, each as long as it is strong.

    Spherical k-means (Dhillon & Modha 2001) from a deterministic start: the item nearest to the mean, then each
    time the liked item least like those taken. The strength of an interest is the mean resultant length of its items
    (Mardia & Jupp 2000), the mean cosine between item and centre, shrunk by DOUBT pseudo-items: a handful that point
    one way is a stronger interest than a crowd that does not, and one item alone is a weak one.

    Args:
      items: f64[N, D], unit embeddings of the items liked. weight: f64[N], above 0, how much.
    """
    centre = [items[np.argmax(items @ np.sum(weight[:, None] * items, axis=0))]]
    for _ in range(1, m):
        centre.append(items[np.argmax(weight * (1.0 - np.max(items @ np.array(centre).T, axis=1)))])
    centres = np.array(centre)
    member = np.full(len(items), EMPTY)
    for _ in range(rounds):
        before, member = member, np.argmax(items @ centres.T, axis=1)
        if np.array_equal(before, member):
            break
        total = (weight[:, None] * (member[:, None] == np.arange(m))).T @ items
        centres = np.where(np.bincount(member, minlength=m)[:, None] > 0, unit(total), centres)
    share = weight[:, None] * (np.argmax(items @ centres.T, axis=1)[:, None] == np.arange(m))
    mass = share.sum(axis=0)
    length = np.linalg.norm(share.T @ items, axis=1) / (mass + DOUBT * weight.mean())
    return (centres * length[:, None])[np.argsort(-mass, kind="stable")]


def novelty(user: np.ndarray, category: np.ndarray, n_users: int) -> np.ndarray:
    """f64[P]: entropy of the categories i32[N] a user took, as a standard score, mapped to mean 0.15 and deviation 0.2.

    Entropy with the bias correction of Miller (1955), or those with few events would seem narrow. The scale
    is a prior.
    """
    n_categories = int(category.max()) + 1
    cell = user.astype(np.int64) * n_categories + category
    count = np.bincount(cell, minlength=n_users * n_categories).reshape(n_users, n_categories)
    total = np.maximum(count.sum(axis=1, keepdims=True), 1)
    share = count / total
    entropy = -np.sum(share * np.log(np.maximum(share, 1e-12)), axis=1)
    entropy = entropy + (np.maximum((count > 0).sum(axis=1) - 1, 0)) / (2.0 * total[:, 0])
    score = (entropy - entropy.mean()) / (entropy.std() + 1e-9)
    return np.clip(0.15 + 0.2 * score, -0.4, 0.6)


def habits(
    rng: np.random.Generator,
    user: np.ndarray,
    time: np.ndarray,
    n_users: int,
    typical: float,
    least: float,
    most: float,
) -> np.ndarray:
    """f64[P] hours between visits: the user's own gaps between days of events, pulled to a prior by 5 pseudo-gaps.

    The prior is log-normal around `typical`; a geometric mean, since a break of a year must not hide a habit.

    Args: user, time in seconds: of events, sorted by user and time. least, most: hours to which it is clipped.
    """
    prior = np.log(typical) + 0.4 * rng.normal(size=n_users)
    day = time // DAY_S
    new = (user[1:] == user[:-1]) & (day[1:] > day[:-1])
    gap, whose = np.log(24.0 * (day[1:] - day[:-1])[new]), user[1:][new]
    count = np.bincount(whose, minlength=n_users)
    own = np.bincount(whose, weights=gap, minlength=n_users)
    return np.clip(np.exp((own + 5.0 * prior) / (count + 5.0)), least, most)
