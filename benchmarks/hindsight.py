"""Is the instruction that is predicted before the outcome worth hearing? Part of `fidelity`, on people whom nothing was fitted to."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxreco.benchmarks import heads
from jaxreco.benchmarks.heads import EPOCHS, FOLDS, Fitted
from jaxreco.benchmarks.report import Report, Row, Say, plain_table
from jaxreco.data import sets, splits
from jaxreco.data.log import Log
from jaxreco.fit import conditioned, events, hindsight, moments, quality, world
from jaxreco.fit.conditioned import Asked
from jaxreco.report.standing import Estimate

SETS = ("movielens-100k", "lastfm-sequences")
PREDICTED = ("drawn", "likeliest")  # from the decoder, before the outcome
LEAKS = "hindsight"  # the label itself
SHUFFLED = "_shuffled"  # those of other people
WAYS = {"as_said": False, "either_way": True}
SAYS = {name: name.replace("_", " ") for name in WAYS}


class Worth(NamedTuple):
    """What was found at `M` points of people of other folds."""

    person: np.ndarray  # i64[M]
    number: np.ndarray  # i64[M], next events
    decoder: np.ndarray  # f64[M], log-likelihood of the label
    base: np.ndarray  # f64[M], of how often each sentence is the label
    right: np.ndarray  # bool[M], whether the likeliest sentence is the label
    base_right: np.ndarray  # bool[M], whether the commonest is
    none: np.ndarray  # f64[M], log-likelihood of the next events without an instruction
    gains: dict[str, np.ndarray]  # "way/condition" -> f64[M], nats that they gain

    @classmethod
    def together(cls, parts: list[Worth]) -> Worth:
        """Of several folds."""
        plain = [name for name in cls._fields if name != "gains"]
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in plain}
        gains = {name: np.concatenate([part.gains[name] for part in parts]) for name in parts[0].gains}
        return cls(gains=gains, **columns)

    def by_event(self, nats: np.ndarray) -> tuple[float, float, float]:
        """(mean, low, high) of nats f64[M] an event, bootstrap over people."""
        return quality.gain(np.repeat(self.person, self.number), np.repeat(nats / self.number, self.number))


def measured(name: str, path: pathlib.Path, mode: str, say: Say) -> Worth:
    """On all people of a set, each met by a user and a decoder that were fitted to others only."""
    log, parts = sets.load(path), []
    for number, split in enumerate(splits.folds_by_user(log, FOLDS[mode])):
        say(f"{name}, instructions, fold {number + 1} of {FOLDS[mode]}")
        train = log.rows(split.train)
        fitted = heads.fit(log, train, EPOCHS[mode], judge=False)
        parts.append(worth(log, fitted, np.unique(log.user[split.test]), number))
    return Worth.together(parts)


def worth(log: Log, fitted: Fitted, people: np.ndarray, seed: int = 0) -> Worth:
    """Of people i64[V] whom a user was not fitted to. Categories and decoder are told by those whom it was."""
    taken, task = events.taken(log), fitted.task
    content = np.asarray(task.content)
    catalog, names = world.catalog_of(
        taken.rows(np.isin(taken.user, task.people[0])), content if content.shape[1] else None
    )
    category = np.asarray(catalog.category)
    points = hindsight.points(taken, category, len(names.categories))
    usual = np.log(hindsight.base_rate(points.label[np.isin(points.person, task.people[0])], len(names.categories)))
    decoder = hindsight.learn(fitted.network, task, log, category, len(names.categories))
    mine = points.of(np.isin(points.person, people))
    ahead = hindsight.ahead(moments.hidden(fitted.network, task, log, people), mine, taken.item, category)
    log_chance = np.tile(usual, (len(mine.label), 1))  # where too few points teach a decoder
    if decoder is not None:
        log_chance = hindsight.log_probabilities(decoder, mine, ahead.chance)
    return Worth(
        mine.person, mine.after.sum(axis=1), log_chance[np.arange(len(mine.label)), mine.label], usual[mine.label],
        log_chance.argmax(axis=1) == mine.label, usual.argmax() == mine.label, ahead.nats,
        gains(log_chance, ahead.chance, mine, seed),
    )  # fmt: skip


def gains(log_chance: np.ndarray, chance: np.ndarray, points: hindsight.Points, seed: int = 0) -> dict[str, np.ndarray]:
    """ "way/condition" -> f64[M], nats. Args: log_chance f64[M, S], of sentences; chance f64[M, C], of categories next."""
    rng = np.random.default_rng(seed)
    said = {"drawn": hindsight.draw(log_chance, rng), "likeliest": log_chance.argmax(axis=1), LEAKS: points.label}
    said |= {name + SHUFFLED: conditioned.shuffled(said[name], points.person, rng) for name in PREDICTED}
    people = rng.permutation(np.unique(points.person))
    half = np.isin(points.person, people[: len(people) // 2])
    asked = {name: Asked.of(sentence, chance, points.after) for name, sentence in said.items()}
    return {
        f"{way}/{name}": conditioned.crossed(each, half, either)
        for way, either in WAYS.items()
        for name, each in asked.items()
    }


# -- what is shown -------------------------------------------------------------------------------------------


def add(report: Report, name: str, found: Worth, folds: int) -> None:
    """Add rows, a table and remarks on one data set to a report."""
    about: dict[str, Any] = {"dataset": name, "n_users": len(np.unique(found.person)), "n_seeds": folds}
    report.rows += [*_decoder_rows(found, about), *_worth_rows(found, about)]
    table = plain_table(
        f"{name}\ninstruction", *(f"{x},\n{y}" for x in SAYS.values() for y in ("over none", "over shuffled")), words=1
    )
    table.padding = (0, 1, 0, 0)
    for said in (*PREDICTED, LEAKS):
        table.add_row(said + (" (leaks)" if said == LEAKS else ""), *(_cell(found, *pair) for pair in _pairs(said)))
    report.tables.append(table)
    over, right = quality.gain(found.person, found.decoder - found.base), (found.right.mean(), found.base_right.mean())
    report.notes.append(
        f"{name}, instructions: {len(found.person):,} points where people disengaged. What they would have asked for, by hindsight, is "
        f"foreseen by {over[0]:+.3f} ({over[1]:+.3f} to {over[2]:+.3f}) nats a point over how often each sentence is the label; "
        f"{100 * right[0]:.1f} % right against {100 * right[1]:.1f} %. The next events have {found.by_event(found.none)[0]:.3f} nats each. "
        + " ".join(verdict(found, way) for way in WAYS)
    )


def verdict(found: Worth, way: str) -> str:
    """Whether predicted instructions raise the likelihood over none and over shuffled ones, in a sentence."""
    raised = []
    for said in PREDICTED:
        mine = found.gains[f"{way}/{said}"]
        lows = (found.by_event(x)[1] for x in (mine, mine - found.gains[f"{way}/{said}{SHUFFLED}"]))
        raised.append(all(low > 0.0 for low in lows))
    which = [said for said, is_so in zip(PREDICTED, raised, strict=True) if is_so]
    if not which:
        return (
            f"Taken {SAYS[way]}, a predicted instruction does not raise it over both none and a shuffled one: a null."
        )
    return f"Taken {SAYS[way]}, the {' and the '.join(which)} instruction raises it over both none and a shuffled one."


def _pairs(said: str) -> Iterator[tuple[str, str | None]]:
    """(way/condition, what it is set against), as columns of the table."""
    for way in WAYS:
        yield f"{way}/{said}", None
        yield f"{way}/{said}", f"{way}/{said}{SHUFFLED}"


def _cell(found: Worth, mine: str, other: str | None) -> str:
    if other is not None and other not in found.gains:
        return ""
    value, low, high = found.by_event(found.gains[mine] - (0.0 if other is None else found.gains[other]))
    return f"{value:+.4f} ±{(high - low) / 2.0:.4f}".replace("0.", ".")


def _decoder_rows(found: Worth, about: dict[str, Any]) -> Iterator[Row]:
    for agent, nats, right in (("decoder", found.decoder, found.right), ("base_rate", found.base, found.base_right)):
        yield Row("log_likelihood", float(nats.mean()), protocol="instruction", agent=agent, **about)
        yield Row("accuracy", float(right.mean()), protocol="instruction", agent=agent, **about)
    for metric, less in (
        ("log_likelihood", found.decoder - found.base),
        ("accuracy", found.right.astype(float) - found.base_right),
    ):
        gain = quality.gain(found.person, less)
        yield Row(metric, *gain, protocol="instruction", agent="decoder", against="base_rate", **about)


def _worth_rows(found: Worth, about: dict[str, Any]) -> Iterator[Row]:
    none = Estimate(*found.by_event(found.none))
    yield Row("log_likelihood", protocol="next_given_instruction", agent="none", **vars(none), **about)
    for name, nats in found.gains.items():
        way, said = name.split("/")
        protocol = f"next_given_instruction/{way}"
        yield Row("log_likelihood", *found.by_event(nats), protocol=protocol, agent=said, against="none", **about)
        if said in PREDICTED:
            less = found.by_event(nats - found.gains[name + SHUFFLED])
            yield Row("log_likelihood", *less, protocol=protocol, agent=said, against=said + SHUFFLED, **about)
