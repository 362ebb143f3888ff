"""A world of any log: its items as a catalog, and its people as a population of mechanistic users.

What a log does not say is a prior, as docs/fit.md lists. NumPy on the host.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.base import CLICK, EMPTY, EXAMINED, Catalog, Names
from jaxreco.content import collaborative, correspondence, shelves
from jaxreco.content.correspondence import Rows
from jaxreco.content.kmeans import kmeans, nearest
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.population import Population
from jaxreco.users import people, tastes
from jaxreco.users.mindset import Traits

Array = jax.Array

FACTORS = 32  # at most; fewer where people or items are few
CATEGORIES, ITEMS_A_CATEGORY = 24, 50  # clusters where a log has no categories: at most, and items in each at least
HANDS, ITEMS_A_HAND = 1024, 10  # clusters that stand for creators where a log names none
CONTENT_CLUSTERS = 64
CLICKED = 0.1  # share of the items looked at that is clicked, where a log does not tell
SECONDS = 300.0  # of an item, where a log does not say
HABIT_HOURS = (24.0, 0.5, 720.0)  # between visits: typical, least, most
HEAVY_TAIL = 100.0  # of positive values whose greatest is so many times their median, the logs are compared


def n_factors_of(log: Log, wanted: int | None = None) -> int:
    """D of the embedding: as wanted, or what suits a log. Raises DataError for a log too small for any."""
    least = min(len(np.unique(log.user)), log.n_items)
    if least < 2:
        raise DataError(
            f"{log.name} has {len(np.unique(log.user))} people with events and {log.n_items} items: a world needs 2 of each."
        )
    return min(FACTORS, max(1, least // 4)) if wanted is None else wanted


# -- items -----------------------------------------------------------------------------------------------------


def catalog_of(log: Log, content: np.ndarray | None = None, n_factors: int | None = None) -> tuple[Catalog, Names]:
    """The items of a log in which every row is an event in which somebody took one (`events.taken`), and their names.

    Args: content f32[I, D] of the items, None where there is none. n_factors: D, what suits the log where it is None.

    Raises DataError for a log of fewer than 2 people or items, ValueError for more factors than it can tell apart.
    """
    embedding = embeddings(log, content, n_factors_of(log, n_factors))
    categories = _categories(log, embedding, np.bincount(log.item, minlength=log.n_items))
    creators = log.items.creators or [f"Hand {at + 1}" for at in _clusters(embedding, HANDS, ITEMS_A_HAND)]
    tags, tag_names = _tags(log)
    shelf, of_shelf = np.unique(np.array(categories), return_inverse=True)
    hand, of_hand = np.unique(np.array(creators), return_inverse=True)
    catalog = Catalog(
        category=jnp.asarray(of_shelf, jnp.int32),
        creator=jnp.asarray(of_hand, jnp.int32),
        tags=jnp.asarray(tags, jnp.int32),
        duration=jnp.asarray(_durations(log), jnp.float32),
        **_told(log, embedding),
    )
    names = Names(
        titles=tuple(_titles(log)),
        categories=tuple(shelf.tolist()),
        creators=tuple(hand.tolist()),
        tags=tag_names,
        ids=tuple(log.items.ids.tolist()),
    )
    return catalog, names


def told_by(catalog: Catalog, log: Log, content: np.ndarray | None) -> Catalog:
    """The same items on the same shelves, with all else that people's events tell of them told by the events of another log."""
    return catalog.replace(**_told(log, embeddings(log, content, catalog.embedding.shape[1])))


def _told(log: Log, embedding: np.ndarray) -> dict[str, Array]:
    """The columns of a catalog that people's events tell."""
    share = np.bincount(log.item, minlength=log.n_items) + 1.0  # what nobody took is not impossible
    above = above_own_mean(log)
    return {
        "embedding": jnp.asarray(embedding, jnp.float32),
        "popularity": jnp.asarray(share / share.sum(), jnp.float32),
        "quality": jnp.zeros(log.n_items)
        if above is None
        else jnp.asarray(tastes.quality(above, log.item, log.n_items), jnp.float32),
        "age": jnp.asarray(_ages(log), jnp.float32),
    }


def embeddings(log: Log, content: np.ndarray | None, n_factors: int) -> np.ndarray:
    """f64[I, D], unit length: a correspondence analysis of who took what, with what is known of items as further rows.

    What nobody took and nothing is known of lies where all items lie together.
    """
    above = above_own_mean(log)
    table = collaborative.interactions(log, None if above is None else tastes.liking(above)).tocoo()
    taken = Rows(table.row, table.col, table.data.astype(np.float64), log.n_users)
    listed = _listed(log, content)
    found = correspondence.embeddings(taken, listed, log.n_items, n_factors)
    placed = np.zeros(log.n_items, bool)
    placed[taken.item] = placed[listed.item] = True
    if not placed.all():
        count = np.bincount(log.item, minlength=log.n_items)
        found[~placed] = correspondence.unit(count @ found)
    return found


def above_own_mean(log: Log) -> np.ndarray | None:
    """f64[N]: values above the person's own mean, in standard deviations of all; None for a log without values."""
    if log.value is None or not len(log):
        return None
    value = np.asarray(log.value, np.float64)
    if value.min() > 0 and value.max() > HEAVY_TAIL * np.median(value):
        value = np.log(value)
    return tastes.above_own_mean(value / (value.std() + 1e-9), log.user, log.n_users)


def liked(log: Log) -> np.ndarray:
    """f64[N] in [0, 1]: how far agents that learn from the log take each event for a liking: 1, or 0.2 where it was valued below
    the person's mean.
    """
    above = above_own_mean(log)
    return np.ones(len(log)) if above is None else np.where(above >= -0.005, 1.0, 0.2)  # rounding is no dislike


def _listed(log: Log, content: np.ndarray | None) -> Rows:
    """What items are listed under: categories, tags, creators, the first two levels of codes, clusters of content."""
    items = log.items
    under: list[tuple[int, str]] = []
    for kind, lists in (("category", items.categories), ("tag", items.tags)):
        under += [(at, f"{kind} {name}") for at, names in enumerate(lists or ()) for name in set(names)]
    under += [(at, f"creator {name}") for at, name in enumerate(items.creators or ()) if name]
    if items.codes is not None:
        for levels in range(1, min(2, items.codes.shape[1]) + 1):
            under += [(at, f"code {code}") for at, code in enumerate(map(tuple, items.codes[:, :levels].tolist()))]
    if content is not None and content.shape[1]:
        known = np.flatnonzero(np.abs(content).sum(axis=1) > 0)
        known = (
            known if len(np.unique(content[known], axis=0)) > 1 else known[:0]
        )  # what is said of all alike tells nothing
        code = _clusters(content[known], CONTENT_CLUSTERS, ITEMS_A_HAND)
        under += [(int(at), f"content {one}") for at, one in zip(known, code, strict=True)]
    if not under:
        none = np.zeros(0, np.int64)
        return Rows(none, none, np.zeros(0), 0)
    item, names = np.array([at for at, _ in under]), np.array([name for _, name in under])
    unique, row, count = np.unique(names, return_inverse=True, return_counts=True)
    told = count[row] > 1  # what is said of one item alone puts it nowhere
    return Rows(row[told], item[told], np.ones(int(told.sum())), len(unique))


def _clusters(points: np.ndarray, most: int, items_each: int) -> np.ndarray:
    """i32[N]: the cluster of each point, by k-means."""
    points = np.asarray(points, np.float32)
    if len(points) < 2:
        return np.zeros(len(points), np.int32)
    centres = kmeans(points, int(np.clip(len(points) // items_each, 2, most)), np.random.default_rng(0))
    return nearest(points, centres)[0]


def _categories(log: Log, embedding: np.ndarray, count: np.ndarray) -> list[str]:
    """[I]: the rarest category of each, the first level of its code, or a cluster, named by what is taken most of it."""
    items = log.items
    if items.categories is not None and any(items.categories):
        return shelves.rarest(items.categories)
    if items.codes is not None:
        return [f"Shelf {code}" for code in items.codes[:, 0].tolist()]
    code = _clusters(embedding, CATEGORIES, ITEMS_A_CATEGORY)
    titles = _titles(log)
    first = {one: titles[max(np.flatnonzero(code == one), key=lambda at: count[at])] for one in np.unique(code)}
    return [f"{one + 1}: like {first[one]}" for one in code]


def _tags(log: Log) -> tuple[np.ndarray, tuple[str, ...]]:
    items = log.items
    if items.categories is None and items.tags is None:
        return np.full((len(items), shelves.TAGS_PER_ITEM), EMPTY, np.int32), ()
    listed, given = (found or ((),) * len(items) for found in (items.categories, items.tags))
    return shelves.tags(listed, given, sorted({name for names in listed for name in names}))


def _titles(log: Log) -> list[str]:
    """[I]: as in the log, or by the item's id."""
    ids = log.items.ids.tolist()
    titles = log.items.titles or ("",) * len(ids)
    return [title or f"item {id}" for title, id in zip(titles, ids, strict=True)]


def _durations(log: Log) -> np.ndarray:
    """f64[I] seconds: as in the log, else the median of its items, else as long as nine in ten stayed, else SECONDS."""
    known = np.full(log.n_items, np.nan) if log.items.seconds is None else np.asarray(log.items.seconds, np.float64)
    there = np.isfinite(known) & (known > 0)
    watched = np.zeros(0) if log.watch is None else log.watch[log.watch > 0]
    if there.any():
        usual = float(np.median(known[there]))
    else:
        usual = float(np.quantile(watched, 0.9)) if len(watched) else SECONDS
    return np.where(there, known, usual)


def _ages(log: Log) -> np.ndarray:
    """f64[I] hours from publication, or else the first event, to the log's end, when the clock is 0; 0 where none is known."""
    first = np.full(log.n_items, np.inf)
    if log.time is not None and len(log):
        np.minimum.at(first, log.item, log.time)
    if log.items.published is not None:
        published = np.asarray(log.items.published, np.float64)
        first = np.where(np.isfinite(published), published, first)
    known = np.isfinite(first)
    if not known.any():
        return np.zeros(log.n_items)
    end = log.time.max() if log.time is not None and len(log) else first[known].max()
    first[~known] = np.median(first[known])
    return np.maximum(end - first, 0.0) / 3600.0


# -- people ----------------------------------------------------------------------------------------------------


def population_of(log: Log, catalog: Catalog, seed: int = 0) -> tuple[Population, np.ndarray]:
    """One row a person with events, all alike in weight, and which user of the log each is, i64[P].

    Tastes, the seeking of the new and habits come from the log (`events.taken`), all else is drawn from priors.

    Args: seed: of what is drawn.
    """
    there, user = np.unique(log.user, return_inverse=True)
    n, rng = len(there), np.random.default_rng(seed)
    taste = _tastes(log, user, n, np.asarray(catalog.embedding, np.float64))

    def column(values: np.ndarray) -> jnp.ndarray:
        return jnp.asarray(values, jnp.float32)

    traits = Traits(
        taste=column(taste),
        peers=column(people.peers(taste)),
        wishes=jnp.asarray(people.wishes(taste, catalog)),
        novelty=column(tastes.novelty(user, np.asarray(catalog.category)[log.item], n)),
        patience=column(rng.normal(2.5, 0.7, n)),
        budget_minutes=column(rng.lognormal(np.log(30.0), 0.5, n)),
        habit_hours=column(_habits(rng, log, user, n)),
        gullibility=column(rng.gamma(4.0, 0.25, n)),
        trust=column(rng.beta(6.0, 4.0, n)),
        expressive=column(rng.normal(0.0, 0.8, n)),
        freshness=column(rng.gamma(2.0, 0.2, n)),
        rho=column(rng.beta(8.0, 2.0, n)),
    )
    return Population(traits=traits, weights=jnp.ones(n)), there


def _tastes(log: Log, user: np.ndarray, n_users: int, embedding: np.ndarray) -> np.ndarray:
    """f64[P, M, D]: from what people took, and valued no less than half a standard deviation below their mean."""
    above = above_own_mean(log)
    weight = np.ones(len(log)) if above is None else np.maximum(above + 0.5, 0.0)
    liked = weight > 0
    return tastes.tastes(user[liked], log.item[liked], weight[liked], n_users, embedding)


def _habits(rng: np.random.Generator, log: Log, user: np.ndarray, n_users: int) -> np.ndarray:
    """f64[P] hours between visits: see `tastes.habits`; a prior where the log has no times."""
    time = np.zeros(len(log)) if log.time is None else log.time
    return tastes.habits(rng, user, time, n_users, *HABIT_HOURS)


def click_rate(log: Log) -> float:
    """Share of what was shown that was clicked; CLICKED where a log does not say what was shown."""
    if log.actions is None or not (log.actions & EXAMINED).any():
        return CLICKED
    shown = (log.actions & (EXAMINED | CLICK)) != 0
    share = float(((log.actions & CLICK) != 0).sum() / shown.sum())
    return share if 0.0 < share < 1.0 else CLICKED
