"""What text, pictures, behaviour and semantic IDs are worth for ranking what a user takes next, of items old and new.

Every representation is judged by the same closed form, so that rows differ by what is known of items and by nothing else:
from the mean vector of the last ten items to the next one by the two-sided ridge regression of Romera-Paredes & Torr 2015
("An embarrassingly simple approach to zero-shot learning", eq. 4), which was made for classes that training never saw.
New items are hidden from all training; their contents are known.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sparse

from jaxreco.benchmarks.report import Report, Row, plain_table
from jaxreco.content import collaborative, fusion, image, text
from jaxreco.content.kmeans import kmeans
from jaxreco.content.semantic_id import quantised
from jaxreco.content.text import Encoded
from jaxreco.data.log import Items, Log
from jaxreco.data.splits import folds_by_user
from jaxreco.evaluation import interval
from jaxreco.report.standing import Estimate, words

HISTORY = 10  # items that a user is known by
TARGETS = 5  # the latest of a test user that are asked for, of each kind
HIDDEN = 0.2  # share of the items that are new
FOLDS = 5
RIDGES = (0.003, 0.03, 0.3, 3.0)  # of the mean of the diagonal; chosen inside of the training part
LEVELS, ENTRIES = 2, 24  # of the semantic IDs
WIDTH = 64
PEAKS, SHARPNESS = 64, 6.0  # of the true embedding
TOP = 10
SETS = ("movielens-100k", "movielens-latest-small")
MEASURES = ("hit@10", "ndcg@10")
KINDS = ("warm", "cold")

Array = np.ndarray
Representation = Callable[[Log], Encoded]  # from the training part of a log


class Cases(NamedTuple):
    """What was taken next, `M` times."""

    user: Array  # i32[M]
    history: Array  # i32[M, HISTORY], the latest last, -1 where there are fewer
    target: Array  # i32[M]


def run(
    *,
    quick: bool = True,
    say: Callable[[str], None] = lambda text: None,
    data: Any = None,
    users: int | None = None,
) -> Report:
    """Rank with every representation, on a simulated log and on MovieLens.

    Args:
      quick: 1,024 simulated users of 32 turns instead of 4,096 of 64, and random slates alone. users: instead of these.
      say: called with what is being done.
      data: folder of a MovieLens set, or of several; else JAXRECO_DATA; without any, only the simulated log. Quick takes
        100K alone.
    """
    began, mode = time.perf_counter(), "quick" if quick else "full"
    say("simulating a log of Feed-v0")
    size = users or (1024 if quick else 4096), 32 if quick else 64
    worlds = [_feed(*size)] if quick else [_feed(*size), _feed(*size, popular=True)]
    folders, rows, tables, notes = _folders(data, SETS[:1] if quick else SETS), [], [], []
    worlds += [_movielens(folder) for folder in folders]
    if not folders:
        notes.append("No MovieLens set was found: give its folder with --data.")
    for log, known in worlds:
        found = compare(log, known, say)
        rows += _rows(log, found, mode)
        tables.append(_table(log, found))
    notes += ["warm: ranked among the items of the training part that are not in the history; cold: among the hidden."]
    notes += ["Per cent, and half of the 95 % interval over users. Warm and cold differ in candidates: see random."]
    return Report(
        benchmark="content",
        protocol=(
            f"{FOLDS} folds by user, in each {HIDDEN:.0%} of the items hidden; the last {HISTORY} warm items as history, "
            f"up to {TARGETS} next items of each kind; two-sided ridge regression, strength chosen in the training part"
        ),
        mode=mode,
        wall_s=time.perf_counter() - began,
        rows=rows,
        notes=notes,
        tables=tables,
    )


# -- what is known of items ------------------------------------------------------------------------------------


def _feed(users: int, turns: int, popular: bool = False) -> tuple[Log, dict[str, Representation]]:
    """A log simulated in Feed-v0 under random slates, or half of it under popular ones, and what is known of its items."""
    import jax

    from jaxreco.envs.feed_pictures import thumbnails
    from jaxreco.logs import interactions
    from jaxreco.registry import make

    env, params = make("Feed-v0")
    agents = ("random", "popularity" if popular else "random")
    taken = interactions(jax.random.key(0), env, params, users, turns, agents)
    catalog, names = params.catalog, env.names
    items = Items(
        ids=np.arange(env.n_items),
        titles=names.titles,
        categories=[(names.categories[c],) for c in np.asarray(catalog.category)],
        creators=[names.creators[c] for c in np.asarray(catalog.creator)],
        tags=[tuple(names.tags[t] for t in row if t >= 0) for row in np.asarray(catalog.tags)],
    )
    kept = taken.weight >= 0.5  # watched by half or more
    name = "Feed-v0" + " (half popular slates)" * popular
    log = Log.of(name, taken.user[kept], taken.item[kept], items, np.arange(users))
    words_, pictures = text.encode(text.describe(items), width=WIDTH), image.encode(thumbnails(catalog, 0), width=WIDTH)
    both = fusion.fuse([words_, pictures])
    fixed = {"text": words_, "picture": pictures, "text+picture": both, "semantic_ids": prefixes(both)}
    true = Encoded(np.asarray(catalog.embedding), np.ones(env.n_items, bool))
    ceilings = {"true_embedding": _always(true), "as_judged": _always(as_judged(catalog))}
    return log, _learned(fixed, both) | ceilings


def as_judged(catalog: Any) -> Encoded:
    """All that a user of Feed-v0 judges an item by, in a form in which interests may have several peaks.

    The nearness of the true embedding to PEAKS places in it (radial basis functions), quality, and the logarithms of
    popularity and duration, of the size of a nearness.
    """
    embedding = np.asarray(catalog.embedding, np.float64)
    places = kmeans(embedding, PEAKS, np.random.default_rng(0))
    places /= np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-9)
    near = np.exp(SHARPNESS * (embedding @ places.T - 1.0))
    rest = [np.asarray(catalog.quality), np.log(np.asarray(catalog.popularity)), np.log(np.asarray(catalog.duration))]
    standard = [0.3 * (column - column.mean()) / max(column.std(), 1e-9) for column in rest]
    return Encoded(np.column_stack([near, *standard]).astype(np.float32), np.ones(len(near), bool))


def _movielens(folder: pathlib.Path) -> tuple[Log, dict[str, Representation]]:
    from jaxreco.data import movielens

    log = dataclasses.replace(movielens.log(folder), name=folder.name)
    words_ = text.encode(text.describe(log.items), width=WIDTH)
    return log, _learned({"text": words_, "semantic_ids": prefixes(words_)}, words_)


def _folders(data: Any, names: tuple[str, ...]) -> list[pathlib.Path]:
    """Folders of MovieLens sets: this one, or those in it that are named so."""
    from jaxreco.data import sets

    root = data or os.environ.get("JAXRECO_DATA")
    if root is None:
        return []
    known = {each.name: each for each in sets.SETS}
    root = pathlib.Path(root).expanduser().absolute()
    places = [(name, place) for name in names for place in (root, root / name)]
    return [place for name, place in places if place.is_dir() and known[name].is_in(place)]


def _learned(fixed: dict[str, Encoded], content: Encoded) -> dict[str, Representation]:
    """The representations that need no log, then what behaviour tells, alone and beside the content."""

    made_of: list[tuple[Log, Encoded]] = []  # the latest two: each log is asked for twice

    def factors(train: Log) -> Encoded:
        for log, found in made_of:
            if log is train:
                return found
        vectors = collaborative.factors(train, min(WIDTH, train.n_users - 1, train.n_items - 1))
        made_of[:] = [*made_of[-1:], (train, Encoded(vectors, np.abs(vectors).sum(axis=1) > 0))]
        return made_of[-1][1]

    made = {name: _always(found) for name, found in fixed.items()}
    return made | {"factors": factors, "content+factors": lambda train: fusion.fuse([content, factors(train)])}


def _always(found: Encoded) -> Representation:
    return lambda train: found


def prefixes(encoded: Encoded, levels: int = LEVELS, size: int = ENTRIES, seed: int = 0) -> Encoded:
    """Semantic IDs as vectors: an entry for every beginning of a code, of 1 to `levels` levels; an item's own are equal.

    Codes are residual k-means. A regression on these learns a vector for every beginning, as generative recommenders learn
    tokens. Codes are as quantised, so that items may share one; an item without a representation has none.
    """
    there = np.flatnonzero(encoded.there)
    _, codes, _ = quantised(encoded.vectors[there], levels, size, np.random.default_rng(seed))
    beginning, columns = np.zeros(len(there), np.int64), []
    for code in codes.T:
        _, beginning = np.unique(beginning * size + code, return_inverse=True)
        columns.append(np.eye(beginning.max() + 1, dtype=np.float32)[beginning])
    vectors = np.zeros((len(encoded.there), sum(c.shape[1] for c in columns)), np.float32)
    vectors[there] = np.concatenate(columns, axis=1) / np.sqrt(levels)
    return Encoded(vectors, encoded.there)


# -- what was taken next ---------------------------------------------------------------------------------------


def cases(log: Log, warm: Array, wanted: Array, most: int | None = None) -> Cases:
    """Every first taking of a wanted item, bool[I], after at least one other warm item, bool[I]; a user's last `most`."""
    user, history, target = [], [], []
    bounds = log.bounds
    for u in np.flatnonzero(np.diff(bounds) > 1):
        items = log.item[bounds[u] : bounds[u + 1]]
        first = np.sort(np.unique(items, return_index=True)[1])
        items = items[first]
        known = items[warm[items]]
        before = np.cumsum(warm[items]) - warm[items]  # warm items taken earlier
        at = np.flatnonzero(wanted[items] & (before > 0))
        for place in at if most is None else at[-most:]:
            past = known[max(before[place] - HISTORY, 0) : before[place]]
            user.append(u)
            history.append(np.pad(past, (HISTORY - len(past), 0), constant_values=-1))
            target.append(items[place])
    shaped = np.array(history, np.int32).reshape(-1, HISTORY)
    return Cases(np.array(user, np.int32), shaped, np.array(target, np.int32))


def profiles(history: Array, vectors: Array) -> Array:
    """f64[M, D + 1]: the mean vector of each history i32[M, H], and 1."""
    case, place = np.nonzero(history >= 0)
    share = 1.0 / np.bincount(case, minlength=len(history))
    mean = sparse.csr_matrix((share[case], (case, history[case, place])), shape=(len(history), len(vectors)))
    return np.concatenate([mean @ vectors, np.ones((len(history), 1))], axis=1)


# -- the closed form -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class TwoSided:
    """Sums over training cases, from which the regression of any strength follows.

    Scores are `p W x` for a profile p and an item's vector x; W minimises `|Y - P W X'|^2` with a penalty on both sides,
    Y having a 1 where a case took an item: `W = (P'P + a I)^-1 P'Y X (X'X + b I)^-1`.
    """

    profiles: Array  # f64[D + 1, D + 1], P'P
    taken: Array  # f64[D + 1, D], P'YX
    items: Array  # f64[D, D], X'X of the items in training

    @classmethod
    def of(cls, train: Cases, vectors: Array, warm: Array, block: int = 8192) -> TwoSided:
        """The sums. vectors f64[I, D]; warm bool[I]."""
        width = vectors.shape[1]
        squared, taken = np.zeros((width + 1, width + 1)), np.zeros((width + 1, width))
        for start in range(0, len(train.target), block):
            part = slice(start, start + block)
            known = profiles(train.history[part], vectors)
            squared += known.T @ known
            taken += known.T @ vectors[train.target[part]]
        return cls(squared, taken, vectors[warm].T @ vectors[warm])

    def weights(self, ridge: float) -> Array:
        """f64[D + 1, D]: W, with penalties of `ridge` times the mean of each side's diagonal."""
        left = np.linalg.solve(_penalised(self.profiles, ridge), self.taken)
        return np.linalg.solve(_penalised(self.items, ridge), left.T).T


def _penalised(square: Array, ridge: float) -> Array:
    return square + ridge * np.trace(square) / len(square) * np.eye(len(square))


def ranks(scores: Array, target: Array, candidate: Array, noise: Array) -> Array:
    """i64[M]: how many candidates stand before the target; ties are broken by noise f64[M, I].

    Args: scores f64[M, I]; target i32[M]; candidate bool[M, I], with the target.
    """
    own, its_noise = (np.take_along_axis(x, target[:, None], axis=1) for x in (scores, noise))
    before = (scores > own) | ((scores == own) & (noise > its_noise))
    return (before & candidate).sum(axis=1)


def measured(rank: Array) -> dict[str, Array]:
    """f64[M] each: hit@10 and ndcg@10 of one target at rank i64[M], from 0."""
    hit = rank < TOP
    return {"hit@10": hit.astype(float), "ndcg@10": hit / np.log2(rank + 2.0)}


# -- one fold --------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """A training part and the cases of others, warm and cold."""

    log: Log  # what may be learned from
    warm: Array  # bool[I], the items in it
    hidden: Array  # bool[I], the items that were taken out of it
    train: Cases
    test: dict[str, Cases]


def part_of(log: Log, training: Array, testing: Array, hideable: Array, seed: int) -> Part:
    """Rows i64 of training and test users, with a share of the items that may be hidden bool[I] hidden."""
    rng = np.random.default_rng(seed)
    warm = ~(hideable & (rng.random(log.n_items) < HIDDEN))
    learned, tested = log.rows(training[warm[log.item[training]]]), log.rows(testing)
    seen = np.bincount(learned.item, minlength=log.n_items) > 0
    kinds = {"warm": cases(tested, seen, seen, TARGETS), "cold": cases(tested, seen, hideable & ~warm, TARGETS)}
    return Part(learned, seen, hideable & ~warm, cases(learned, seen, seen), kinds)


def judge(part: Part, vectors: Array, ridge: float, sums: TwoSided) -> dict[str, Array]:
    """kind -> i64[M] ranks of the test cases."""
    weights = sums.weights(ridge)
    return {
        kind: _ranked(part, kind, profiles(tested.history, vectors) @ weights @ vectors.T)
        for kind, tested in part.test.items()
    }


def _ranked(part: Part, kind: str, scores: Array) -> Array:
    tested = part.test[kind]
    candidate = np.tile(part.warm if kind == "warm" else part.hidden, (len(tested.target), 1))
    case, place = np.nonzero(tested.history >= 0)
    candidate[case, tested.history[case, place]] = False
    noise = np.random.default_rng(0).random(candidate.shape)
    return ranks(scores, tested.target, candidate, noise)


def compare(
    log: Log, known: dict[str, Representation], say: Callable[[str], None] = lambda text: None
) -> dict[tuple[str, str, str], Array]:
    """(row, kind, measure) -> f64[users], one value a user, NaN for users without such a case."""
    totals = {(row, kind): np.zeros((2, log.n_users)) for row in (*known, "popularity", "random") for kind in KINDS}
    counts = {kind: np.zeros(log.n_users) for kind in KINDS}
    everything = np.ones(log.n_items, bool)
    for fold, split in enumerate(folds_by_user(log, FOLDS)):
        part = part_of(log, split.train, split.test, everything, seed=fold)
        inner = next(iter(folds_by_user(part.log, FOLDS, seed=fold + 1)))
        trial = part_of(part.log, inner.train, inner.test, part.warm, seed=fold + 100)
        for row, represent in known.items():
            say(f"{log.name}, fold {fold + 1} of {FOLDS}, {row}")
            _add(totals, row, part, _tuned(part, trial, represent))
        popular = np.bincount(part.log.item, minlength=log.n_items).astype(float)
        for row, score in (("popularity", popular), ("random", np.zeros(log.n_items))):
            _add(
                totals,
                row,
                part,
                {k: _ranked(part, k, np.tile(score, (len(c.target), 1))) for k, c in part.test.items()},
            )
        for kind, tested in part.test.items():
            counts[kind] += np.bincount(tested.user, minlength=log.n_users)
    found: dict[tuple[str, str, str], Array] = {}
    for (row, kind), total in totals.items():
        there = np.where(counts[kind] > 0, counts[kind], np.nan)
        found |= {(row, kind, measure): total[i] / there for i, measure in enumerate(MEASURES)}
    return found


def _tuned(part: Part, trial: Part, represent: Representation) -> dict[str, Array]:
    """kind -> ranks, with the strength that ranked best inside of the training part."""
    vectors = represent(trial.log).vectors.astype(np.float64)
    sums = TwoSided.of(trial.train, vectors, trial.warm)

    def worth(ridge: float) -> float:
        ranked = judge(trial, vectors, ridge, sums).values()
        return float(sum(measured(rank)["ndcg@10"].mean() for rank in ranked if len(rank)))

    ridge = max(RIDGES, key=worth)
    vectors = represent(part.log).vectors.astype(np.float64)
    return judge(part, vectors, ridge, TwoSided.of(part.train, vectors, part.warm))


def _add(totals: dict[tuple[str, str], Array], row: str, part: Part, ranked: dict[str, Array]) -> None:
    for kind, rank in ranked.items():
        for i, value in enumerate(measured(rank).values()):
            np.add.at(totals[row, kind][i], part.test[kind].user, value)


# -- what is shown ---------------------------------------------------------------------------------------------


def _rows(log: Log, found: dict[tuple[str, str, str], Array], mode: str) -> list[Row]:
    rows = []
    for (row, kind, measure), values in found.items():
        if not _applies(row, kind):
            continue
        there = np.isfinite(values)
        common: dict[str, Any] = {"dataset": log.name, "protocol": kind, "mode": mode, "n_seeds": 1}
        common |= {"n_users": int(there.sum()), "world": "Feed-v0" if log.name.startswith("Feed-v0") else None}
        rows.append(Row(measure, *interval(values[there]), agent=row, **common))
        if row != "text":
            less = (values - found["text", kind, measure])[there]
            rows.append(Row(measure, *interval(less), agent=row, against="text", **common))
    return rows


def _applies(row: str, kind: str) -> bool:
    """New items have neither factors nor fame."""
    return kind == "warm" or row not in ("factors", "popularity")


def _table(log: Log, found: dict[tuple[str, str, str], Array]) -> Any:
    columns = [f"{kind} {measure}" for kind in KINDS for measure in MEASURES]
    table = plain_table(log.name, *columns, words=1)
    for row in dict.fromkeys(name for name, _, _ in found):
        cells = []
        for kind in KINDS:
            for measure in MEASURES:
                values = found[row, kind, measure]
                cells.append(
                    words(Estimate(*interval(100.0 * values[np.isfinite(values)]))) if _applies(row, kind) else "-"
                )
        table.add_row(row, *cells)
    return table
