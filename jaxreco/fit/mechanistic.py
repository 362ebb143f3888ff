"""The mechanistic user fitted to a log by gradient: the strengths of its mechanisms, by maximum likelihood with a prior.

Which moments a step learns from is folded from the key of the fit by the number of the epoch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreco.base import Catalog, Names
from jaxreco.data.log import Log
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.fit import events as reading
from jaxreco.fit import fitting, minds, objective, world
from jaxreco.fit.minds import Past, Seeker
from jaxreco.population import Population
from jaxreco.struct import Struct
from jaxreco.users import people, tastes
from jaxreco.users.mindset import MindsetParams

Array = jax.Array

FOLDS = 5  # of the people fitted to
CHECKED = 4096  # moments of people held back by which the end of a fit is chosen, at most
ROWS = 256  # moments at once where nothing is learned
ALWAYS = (
    "affinity", "craving", "popularity", "repetition", "satiation", "satiation_hours", "creator_satiation", "creator_hours",
    "exposure_hours", "reinforcement", "drift_hours",
)  # fmt: skip
STARTS = {
    "popularity": 1.0,
    "craving": 0.03,
}  # nearer to what is found: from a strong craving the fit ends where it is worse
SHARES = ("reinforcement",)  # parameters between 0 and 1; all others but seeking are above 0
SEEKING, FRESHNESS = 0.15, 0.4  # means of the traits' priors
SPREAD = 0.2  # and the standard deviation of the first
TRUST = 0.6  # mean of its prior
TELLING, DRAWN = 32, 256  # moments of a person by which its novelty is told, and items that stand for the catalog then


@dataclasses.dataclass(frozen=True)
class MechanisticConfig:
    """How to fit. Static.

    Args:
      epochs: at most. patience: epochs without a better likelihood of people held back after which the fit ends.
      batch: moments a step. steps: of an epoch, at most. learning_rate: of Adam, falling to 0 by a cosine.
      horizon, negatives, held_back: as in `fitting.FitConfig`.
      remembered: H, events before a moment that are read.
      prior: standard deviation of the prior of each parameter, a factor of e for those above 0.
    """

    epochs: int = 12
    patience: int = 3
    batch: int = 128
    steps: int = 64
    learning_rate: float = 0.1
    horizon: int = 10
    negatives: int = 0
    held_back: float = 0.1
    remembered: int = 256
    prior: float = 2.0

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch", "steps", "horizon", "remembered"):
            if getattr(self, name) < 1:
                raise JaxrecoError(f"{name} is {getattr(self, name)}: give at least 1.")
        if self.negatives < 0:
            raise JaxrecoError(f"negatives is {self.negatives}: give 0 for the whole catalog, or a number of items.")
        if not 0.0 < self.held_back < 1.0:
            raise JaxrecoError(f"held_back is {self.held_back}: give a share of people between 0 and 1.")


class Moments(Struct):
    """The `N` events of a log, each also the moment before it."""

    item: Array  # i32[N]
    hours: Array  # f32[N], since the person's first event; events are an hour apart where a log has no times
    interest: Array  # i32[N], that the item met, by the catalog that the person is foreseen with
    first: Array  # i32[N], the person's first event
    last: Array  # i32[N], behind the person's last event


class Task(NamedTuple):
    """What a fit is given."""

    params: MindsetParams  # as they begin, with the people of the log as their population
    catalog: Catalog
    others: Catalog  # leaves [F, ...]: for each fold of those fitted to, told by the events of the other folds
    names: Names
    moments: Moments
    user: np.ndarray  # i64[P], which user of the log each row of the population is
    fitted: tuple[np.ndarray, ...]  # i64, moments of the people of each fold
    held_back: np.ndarray  # i64[B], of people held back
    share: Array  # f32[I], by which items are drawn
    free: tuple[str, ...]  # what is fitted


class Fitter(Struct):
    """The state of a fit."""

    raw: Any  # name -> f32[], see `values`
    opt_state: Any
    best: Any
    best_nll: Array  # f32[], nats an event, of people held back
    best_epoch: Array  # i32[]
    update: Array  # i32[], epochs done


def usual(log: Log, **given: Any) -> MechanisticConfig:
    """What suits a log; settings that are given stay."""
    longest = int(np.diff(log.bounds).max()) if len(log) else 1
    remembered = int(np.clip(2 ** math.ceil(math.log2(max(longest, 1))), 8, 256))
    negatives = fitting.DRAWN if log.n_items > fitting.MANY_ITEMS else 0
    return MechanisticConfig(**{"remembered": remembered, "negatives": negatives, **given})


def prepare(
    log: Log, content: np.ndarray | None, config: MechanisticConfig, seed: int = 0, n_factors: int | None = None
) -> Task:
    """The task of fitting to a log: a world of the people fitted to, in which all people of the log live.

    What a catalog says of items is told by people's events, and whoever is foreseen must not be among them, or affinity and
    popularity would seem to foresee better than they do: each of some folds is foreseen with the catalog of the others (as in
    stacking, Wolpert 1992), and people held back with that of all folds.

    Args: content f32[I, D] of the items, None where there is none. seed: who is held back, and what priors draw.

    Raises DataError for a log with too few people or items, or content of other items.
    """
    log = reading.taken(log)
    there = np.flatnonzero(np.diff(log.bounds) > 0)
    fitted, held = reading.parted(there, config.held_back, seed)
    if len(fitted) < 2 or log.n_items < 2:
        raise DataError(
            f"{log.name} has {len(there)} people with events and {log.n_items} items, and a fit needs 3 and 2: give more."
        )
    if content is not None and len(content) != log.n_items:
        raise DataError(f"The content is of {len(content):,} items and {log.name} has {log.n_items:,}: encode its own.")
    theirs = log.rows(np.isin(log.user, fitted))
    catalog, names = world.catalog_of(theirs, content, n_factors)
    population, user = world.population_of(log, catalog, seed)
    folds = [np.isin(log.user, fold) for fold in _folds(fitted, seed)]
    rest = [theirs if len(folds) == 1 else log.rows(np.isin(log.user, fitted) & ~fold) for fold in folds]
    others = [world.told_by(catalog, one, content) for one in rest]
    count = (np.bincount(theirs.item, minlength=log.n_items) + 1.0) ** fitting.SMOOTHING
    return Task(
        params=params_of(log, catalog, names, population),
        catalog=catalog,
        others=jax.tree.map(lambda *leaves: jnp.stack(leaves), *others),
        names=names,
        moments=moments_of(log, catalog, list(zip(folds, others, strict=True))),
        user=user,
        fitted=tuple(np.flatnonzero(fold) for fold in folds),
        held_back=np.flatnonzero(np.isin(log.user, held)),
        share=jnp.asarray(count / count.sum(), jnp.float32),
        free=free(log, catalog),
    )


def _folds(people: np.ndarray, seed: int) -> list[np.ndarray]:
    """People in parts of the same size; one part where they are too few for more."""
    number = max(1, min(FOLDS, len(people) // 2))
    return np.array_split(np.random.default_rng(seed).permutation(people), number)


def params_of(log: Log, catalog: Catalog, names: Names, population: Population) -> MindsetParams:
    """The defaults, for the items of a log. Clickbait is a prior, and there is none where nobody says what is good."""
    known: dict[str, Any] = people.known_of(catalog, len(names.categories))
    clickbait = people.clickbait(catalog) if log.value is not None else jnp.zeros(catalog.n_items)
    return MindsetParams(population=population, clickbait=clickbait, **known)


def free(log: Log, catalog: Catalog) -> tuple[str, ...]:
    """What a log can tell of: what all items share, or nobody wrote down, cancels or is not there."""
    differ = {"length": catalog.duration, "staleness": catalog.age}
    more = [name for name, column in differ.items() if float(np.ptp(np.log1p(np.asarray(column)))) > 1e-3]
    return (*ALWAYS, "doubt", "seeking", *(["quality"] if log.value is not None else []), *more)


def moments_of(log: Log, catalog: Catalog, parts: Sequence[tuple[np.ndarray, Catalog]] = ()) -> Moments:
    """The moments of a log in which every row is one. Args: parts, rows bool[N] that are foreseen with another catalog."""
    counts = np.diff(log.bounds)
    first, last = np.repeat(log.bounds[:-1], counts), np.repeat(log.bounds[1:], counts)
    place = np.arange(len(log))
    hours = (place - first).astype(np.float64) if log.time is None else (log.time - log.time[first]) / reading.HOUR_S
    item, starts = jnp.asarray(log.item, jnp.int32), jnp.asarray(place == first)
    interest = _met(item, starts, catalog.embedding)
    for rows, other in parts:
        interest = jnp.where(jnp.asarray(rows), _met(item, starts, other.embedding), interest)
    return Moments(
        item=item,
        hours=jnp.asarray(hours, jnp.float32),
        interest=interest,
        first=jnp.asarray(first, jnp.int32),
        last=jnp.asarray(last, jnp.int32),
    )


_met = jax.jit(functools.partial(minds.interests_met, m=tastes.INTERESTS))


# -- parameters ------------------------------------------------------------------------------------------------


def begins(task: Task, starts: Mapping[str, float] = STARTS) -> dict[str, Array]:
    """The parameters as they begin, without bounds: the inverse of `values`. Args: starts, what does not begin by default."""
    start = {"doubt": tastes.DOUBT, "seeking": SEEKING, **starts}
    found = {}
    for name in task.free:
        value = jnp.float32(start.get(name, getattr(task.params, name, None)))
        found[name] = (
            value if name == "seeking" else jax.scipy.special.logit(value) if name in SHARES else jnp.log(value)
        )
    return found


def values(raw: dict[str, Array]) -> dict[str, Array]:
    """The parameters: within their bounds."""
    return {
        name: x if name == "seeking" else jax.nn.sigmoid(x) if name in SHARES else jnp.exp(jnp.clip(x, -12.0, 12.0))
        for name, x in raw.items()
    }


def with_values(params: MindsetParams, found: dict[str, Array]) -> tuple[MindsetParams, Seeker, Array]:
    """(parameters, the traits of one who is like most, doubt) of what `values` says."""
    changes = {name: value for name, value in found.items() if name not in ("doubt", "seeking")}
    return params.replace(**changes), Seeker(found["seeking"], jnp.float32(FRESHNESS)), found["doubt"]


# -- fitting ---------------------------------------------------------------------------------------------------


def begin(task: Task, config: MechanisticConfig) -> Fitter:
    """The fit before its first epoch."""
    raw = begins(task)
    return Fitter(
        raw=raw,
        opt_state=_optimiser(config, _steps(task, config)).init(raw),
        best=raw,
        best_nll=foreseen(task, raw, config, checked(task)),
        best_epoch=jnp.int32(0),
        update=jnp.int32(0),
    )


def checked(task: Task) -> np.ndarray:
    """i64: moments of people held back by which the end is chosen: all, or some, always the same."""
    if len(task.held_back) <= CHECKED:
        return task.held_back
    return np.sort(np.random.default_rng(0).choice(task.held_back, CHECKED, replace=False))


def epoch(key: Array, task: Task, fitter: Fitter, config: MechanisticConfig) -> tuple[Fitter, dict[str, float]]:
    """Steps on random moments, and what people held back did, in nats an event. The key is that of the whole fit."""
    order_key, step_key = jax.random.split(jax.random.fold_in(key, fitter.update))
    fold, at = _batches(np.random.default_rng(np.asarray(jax.random.bits(order_key, (4,)))), task, config)
    moments, params, _, creators = _given(task)
    given = (moments, params, task.others, creators, task.share, begins(task), jnp.float32(sum(map(len, task.fitted))))
    raw, opt_state, loss = _learn(step_key, fitter.raw, fitter.opt_state, fold, at, given, config)
    nll = foreseen(task, raw, config, checked(task))
    better, update = nll < fitter.best_nll, fitter.update + 1
    return Fitter(
        raw=raw,
        opt_state=opt_state,
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), raw, fitter.best),
        best_nll=jnp.where(better, nll, fitter.best_nll).astype(jnp.float32),
        best_epoch=jnp.where(better, update, fitter.best_epoch),
        update=update,
    ), {"loss": float(loss), "held_back_nll": float(nll)}


def is_over(fitter: Fitter, config: MechanisticConfig) -> bool:
    """Whether all epochs are done, or the last ones brought nothing."""
    done = int(fitter.update)
    return done >= config.epochs or done - int(fitter.best_epoch) >= config.patience


def foreseen(task: Task, raw: dict[str, Array], config: MechanisticConfig, at: np.ndarray) -> Array:
    """f32[]: nats an event at some moments i64[B], over the whole catalog."""
    total = jnp.float32(0.0)
    for start in range(0, len(at), ROWS):
        rows = np.arange(start, start + ROWS)
        part = jnp.asarray(at[np.minimum(rows, len(at) - 1)], jnp.int32)
        total = total + _foreseen(raw, part, jnp.asarray(rows < len(at)), _given(task), config)
    return -total / len(at)


def _given(task: Task) -> tuple[Any, ...]:
    """What compiled functions need. A population would be copied for each of them."""
    return task.moments, bare(task.params), task.catalog, jnp.zeros(int(task.catalog.creator.max()) + 1)


def bare(params: MindsetParams) -> MindsetParams:
    """The parameters without their people."""
    return dataclasses.replace(params, population=None)  # type: ignore[arg-type]


def _steps(task: Task, config: MechanisticConfig) -> int:
    """Steps of an epoch."""
    return min(config.steps, sum(max(1, len(fold) // config.batch) for fold in task.fitted))


def _batches(rng: np.random.Generator, task: Task, config: MechanisticConfig) -> tuple[Array, Array]:
    """(folds i32[steps], moments i32[steps, batch]) of an epoch: the people of a batch are of one fold."""
    found = []
    for number, fold in enumerate(task.fitted):
        many = max(1, len(fold) // config.batch)
        order = np.resize(rng.permutation(fold), (many, config.batch))
        found += [(number, rows) for rows in order]
    chosen = [found[at] for at in rng.permutation(len(found))[: config.steps]]
    return jnp.asarray([fold for fold, _ in chosen], jnp.int32), jnp.asarray(
        np.stack([x for _, x in chosen]), jnp.int32
    )


def _optimiser(config: MechanisticConfig, steps: int) -> optax.GradientTransformation:
    rate = optax.cosine_decay_schedule(config.learning_rate, 1 + config.epochs * steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99))


# -- the world -------------------------------------------------------------------------------------------------


def finished(task: Task, raw: dict[str, Array], config: MechanisticConfig, click_rate: float) -> MindsetParams:
    """The parameters of a world of the people of the log: what was found, and each person's own taste and traits.

    Tastes are those after the person's last event, and see `own_novelty`. Everybody's utility is shifted so that of items which come as often as
    they are taken the share `click_rate` is clicked.
    """
    params, _, doubt = with_values(task.params, values(raw))
    now = task._replace(moments=task.moments.replace(interest=_met_by(task.moments, task.catalog)))
    ends = jnp.asarray(np.unique(np.asarray(task.moments.last)), jnp.int32)  # behind each person's last event
    taste = _tastes(ends, now.moments, task.catalog, doubt, config.remembered)
    traits = params.population.traits.replace(
        taste=taste,
        peers=people.peers(np.asarray(taste)),
        wishes=people.wishes(np.asarray(taste), task.catalog),
        novelty=own_novelty(now, raw, config),
    )
    params = params.replace(population=params.population.replace(traits=traits))
    return params.replace(base=_base(now, raw, config, click_rate))


def _met_by(moments: Moments, catalog: Catalog) -> Array:
    return _met(moments.item, moments.first == jnp.arange(moments.item.shape[0]), catalog.embedding)


def own_novelty(
    task: Task, raw: dict[str, Array], config: MechanisticConfig, at: np.ndarray | None = None
) -> np.ndarray:
    """f64[P]: each person's seeking of the new: a step of Newton's method from what most are like, under a normal prior around it.

    Args: at, the moments by which it is told, i64[B]; TELLING of each person at most where it is None.
    """
    first = np.asarray(task.moments.first)
    starts, person = np.unique(first, return_inverse=True)
    if at is None:
        place, count = np.arange(len(first)) - first, np.asarray(task.moments.last) - first
        at = np.flatnonzero(
            place * TELLING // count > (place - 1) * TELLING // count
        )  # evenly over the person's events
    few = dataclasses.replace(config, negatives=DRAWN if task.catalog.n_items > 2 * DRAWN else 0)
    prior = values(raw)["seeking"]
    slope, bend = np.zeros(len(starts)), np.zeros(len(starts))
    for start in range(0, len(at), ROWS):
        rows = at[np.minimum(np.arange(start, start + ROWS), len(at) - 1)]
        found = _bends(raw, jnp.asarray(rows, jnp.int32), prior, (*_given(task), task.share), few)
        for into, column in zip((slope, bend), found, strict=True):
            np.add.at(into, person[at[start : start + ROWS]], np.asarray(column, np.float64)[: len(at) - start])
    step = slope / (1.0 / SPREAD**2 - np.minimum(bend, 0.0))
    return float(prior) + np.clip(step, -3.0 * SPREAD, 3.0 * SPREAD)


def _base(task: Task, raw: dict[str, Array], config: MechanisticConfig, click_rate: float) -> float:
    """The utility of an item that matches nothing, by bisection."""
    number = task.moments.item.shape[0]
    at = jnp.asarray(np.random.default_rng(0).choice(number, min(number, ROWS), replace=False), jnp.int32)
    item = jnp.asarray(as_often_as_taken(task.catalog.popularity))
    found = np.asarray(_looks(raw, at, item, _given(task), config), np.float64) - float(task.params.base)
    return shift(found, click_rate)


def as_often_as_taken(popularity: Array) -> np.ndarray:
    """i32[ROWS]: items, each as often as it is taken: at evenly spaced quantiles of popularity f32[I]."""
    edges = np.cumsum(np.asarray(popularity, np.float64))
    return np.searchsorted(edges, (np.arange(ROWS) + 0.5) / ROWS * edges[-1]).astype(np.int32)


def shift(log_odds: np.ndarray, click_rate: float) -> float:
    """What to add to log-odds f64[...] so that they come true at that rate, on average; by bisection."""
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        rate = np.mean(1.0 / (1.0 + np.exp(-np.clip(log_odds + middle, -500.0, 500.0))))
        low, high = (middle, high) if rate < click_rate else (low, middle)
    return 0.5 * (low + high)


# -- compiled --------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("config",))
def _learn(
    key: Array, raw: Any, opt_state: Any, folds: Array, at: Array, given: tuple[Any, ...], config: MechanisticConfig
) -> tuple[Any, Any, Array]:
    """All steps of an epoch. folds: i32[steps]; at: i32[steps, batch]."""
    moments, params, others, creators, share, prior, weight = given
    update = _optimiser(config, at.shape[0]).update

    def loss(raw: Any, key: Array, fold: Array, at: Array) -> Array:
        drawn = objective.draw(key, share, config.negatives) if config.negatives else None
        fixed = (moments, params, jax.tree.map(lambda x: x[fold], others), creators)
        found = jax.vmap(lambda one: _moment(raw, one, fixed, config, drawn))(at)
        off = sum(jnp.square((x - prior[name]) / config.prior) for name, x in raw.items())
        return -jnp.mean(found) + 0.5 * off / weight

    def step(carry: tuple[Any, Any], now: tuple[Array, Array, Array]) -> tuple[tuple[Any, Any], Array]:
        raw, opt_state = carry
        value, gradient = jax.value_and_grad(loss)(raw, *now)
        change, opt_state = update(gradient, opt_state, raw)
        return (optax.apply_updates(raw, change), opt_state), value

    keys = jax.random.split(key, at.shape[0])
    (raw, opt_state), losses = jax.lax.scan(step, (raw, opt_state), (keys, folds, at))
    return raw, opt_state, jnp.mean(losses)


@functools.partial(jax.jit, static_argnames=("config",))
def _foreseen(raw: Any, at: Array, there: Array, given: tuple[Any, ...], config: MechanisticConfig) -> Array:
    """f32[]: log-likelihood at moments i32[B]."""
    found = jax.lax.map(lambda one: _moment(raw, one, given, config, None), at, batch_size=32)
    return jnp.sum(jnp.where(there, found, 0.0))


@functools.partial(jax.jit, static_argnames=("config",))
def _bends(
    raw: Any, at: Array, novelty: Array, given: tuple[Any, ...], config: MechanisticConfig
) -> tuple[Array, Array]:
    """First and second derivatives f32[B] of the log-likelihood at moments i32[B] by novelty f32[]."""
    *fixed, share = given
    drawn = objective.draw(jax.random.key(0), share, config.negatives) if config.negatives else None

    def both(one: Array) -> tuple[Array, Array]:
        def slope(novelty: Array) -> Array:
            seeker = Seeker(novelty, jnp.float32(FRESHNESS))
            return jax.jvp(
                lambda x: _moment(raw, one, tuple(fixed), config, drawn, seeker._replace(novelty=x)), (novelty,), (1.0,)
            )[1]

        return jax.jvp(slope, (novelty,), (1.0,))

    return jax.lax.map(both, at, batch_size=32)


@functools.partial(jax.jit, static_argnames=("remembered",))
def _tastes(ends: Array, moments: Moments, catalog: Catalog, doubt: Array, remembered: int) -> Array:
    """f32[P, M, D]: lasting tastes behind the last events i32[P] of people."""

    def person(end: Array) -> Array:
        last = past(moments, end - 1, remembered)  # what came before the last event, and the event
        item = jnp.append(last.item[1:], moments.item[end - 1])
        every = Past(item, jnp.append(last.hours[1:], 0.0), jnp.append(last.interest[1:], moments.interest[end - 1]))
        count = jnp.sum(minds.members(every, tastes.INTERESTS), axis=0)
        return minds.filled(minds.lasting_taste(every, doubt, catalog, tastes.INTERESTS), count)

    return jax.lax.map(person, ends, batch_size=64)


@functools.partial(jax.jit, static_argnames=("config",))
def _looks(raw: Any, at: Array, item: Array, given: tuple[Any, ...], config: MechanisticConfig) -> Array:
    """f32[B, M, K]: how good items i32[K] look at moments i32[B], to people who are like most and trust as most do."""
    moments, params, catalog, creators = given
    params, seeker, doubt = with_values(params, values(raw))

    def moment(one: Array) -> Array:
        before = past(moments, one, config.remembered)
        mind = minds.mind_of(before, params, doubt, catalog, tastes.INTERESTS, creators.shape[0])
        return minds.utilities(mind, seeker, item, params, catalog) + params.click_trust * (TRUST - 0.5)

    return jax.lax.map(moment, at, batch_size=32)


def _moment(
    raw: Any,
    at: Array,
    given: tuple[Any, ...],
    config: MechanisticConfig,
    drawn: objective.Drawn | None,
    seeker: Seeker | None = None,
) -> Array:
    """f32[]: log-likelihood of one event ahead of a moment i32[], the mean of the next `horizon`.

    Args: seeker, traits of the person; those of one who is like most where it is None.
    """
    moments, params, catalog, creators = given
    params, most, doubt = with_values(params, values(raw))
    seeker = most if seeker is None else seeker
    mind = minds.mind_of(
        past(moments, at, config.remembered), params, doubt, catalog, tastes.INTERESTS, creators.shape[0]
    )
    ahead = at + jnp.arange(config.horizon)
    coming = ahead < moments.last[at]
    item = jnp.where(coming, moments.item[jnp.minimum(ahead, moments.item.shape[0] - 1)], -1)
    found = minds.log_likelihood(mind, seeker, item, params, catalog, drawn)
    return jnp.sum(jnp.where(coming, found, 0.0)) / jnp.maximum(jnp.sum(coming), 1)


def past(moments: Moments, at: Array, remembered: int) -> Past:
    """What came before a moment i32[]: the last `remembered` events of the person."""
    place = at - remembered + jnp.arange(remembered)
    there, place = place >= moments.first[at], jnp.maximum(place, 0)
    return Past(
        item=jnp.where(there, moments.item[place], -1),
        hours=jnp.maximum(moments.hours[at] - moments.hours[place], 0.0),
        interest=moments.interest[place],
    )
