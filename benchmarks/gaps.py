"""Three ways in which people that a language model plays differ from real ones: too active, too alike, too positive. Part of `fidelity`.

Each gap is simulated less real on the same slates or items, with a bootstrap over people.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from jaxreco.benchmarks import heads
from jaxreco.benchmarks.heads import Lived, Met
from jaxreco.benchmarks.report import Report, Row, number, plain_table
from jaxreco.benchmarks.responses_drawn import FREE, LEARNED, LOGGED, Responses
from jaxreco.evaluation import RESAMPLES
from jaxreco.fit import events
from jaxreco.report.standing import Estimate

ACTIVITY, DIVERSITY, POSITIVITY = "activity", "diversity", "positivity"


class Gap(NamedTuple):
    """One number of simulated and real people."""

    name: str  # ACTIVITY, DIVERSITY or POSITIVITY
    what: str  # in words
    simulated: float
    real: float
    less: Estimate  # simulated less real


class Said(NamedTuple):
    """Values that people gave to items, and those that were drawn for the same ones. `M` of them."""

    person: np.ndarray  # i32[M]
    real: np.ndarray  # f64[M], in the log's unit
    drawn: np.ndarray  # f64[M]


def said(met: Met) -> Said | None:
    """Of people who are met; None for a log without values."""
    if "value" not in met.rows:
        return None
    log = events.taken(met.log)
    known = np.asarray(met.fitted.task.events.said["value"].outcome) >= 0
    real = log.value[known & np.isin(log.user, met.people)]  # type: ignore[index]
    rows = met.rows["value"]
    drawn = heads.values_drawn(met.fitted.heads.heads["value"], rows, np.random.default_rng(met.number))
    return Said(rows.person, real.astype(np.float64), drawn)


def joined(parts: list[Said]) -> Said:
    """Of several groups of people."""
    return Said(*(np.concatenate(column) for column in zip(*parts, strict=True)))


# -- the gaps ------------------------------------------------------------------------------------------------


def of_values(found: Said) -> list[Gap]:
    """Whether what is said is kinder, and whether people differ less in how kind they are."""
    people, of = np.unique(found.person, return_inverse=True)
    total = np.stack([np.bincount(of, values) for values in (found.drawn, found.real)])
    count = np.bincount(of)
    means = total / count
    return [
        _gap(POSITIVITY, "mean value", lambda at: total[:, at].sum(axis=1) / count[at].sum(), len(people)),
        _gap(DIVERSITY, "spread of people's mean values", lambda at: means[:, at].std(axis=1), len(people)),
    ]


def of_responses(found: Responses) -> list[Gap]:
    """Whether more is clicked, by people who are more alike, and more often anything at all."""
    _, slate = np.unique(found.slots.slate, return_inverse=True)
    people, person = np.unique(found.slots.person, return_inverse=True)
    slates = np.bincount(person[np.flatnonzero(np.diff(slate, prepend=-1))])
    clicked = [found.did[name].clicked for name in (LEARNED, LOGGED)]
    clicks = np.stack([np.bincount(person, each) for each in clicked])
    any_of = np.stack([_any(slate, person, found.did[name].clicked) for name in (FREE, LOGGED)])
    table = _kinds(found, person, clicked)
    within = np.stack([_entropy(each) for each in table])

    def a_slate(sums: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda at: sums[:, at].sum(axis=1) / slates[at].sum()

    def between(at: np.ndarray) -> np.ndarray:
        weight = np.bincount(at, minlength=len(people))
        return np.array([_pooled(each, weight) for each in table]) - within[:, at].mean(axis=1)

    return [
        _gap(ACTIVITY, "clicks a slate", a_slate(clicks), len(people)),
        _gap(
            DIVERSITY, "spread of people's clicks a slate", lambda at: (clicks / slates)[:, at].std(axis=1), len(people)
        ),
        _gap(DIVERSITY, "entropy within a person", lambda at: within[:, at].mean(axis=1), len(people)),
        _gap(DIVERSITY, "entropy between people", between, len(people)),
        _gap(POSITIVITY, "slates with a click", a_slate(any_of), len(people)),
    ]


def _gap(name: str, what: str, of: Callable[[np.ndarray], np.ndarray], people: int, seed: int = 0) -> Gap:
    """Args: of, (simulated, real) of people i64[people], who may be there more than once."""
    simulated, real = of(np.arange(people))
    rng = np.random.default_rng(seed)
    drawn = np.array([of(rng.integers(people, size=people)) for _ in range(RESAMPLES)])
    low, high = np.percentile(drawn[:, 0] - drawn[:, 1], [2.5, 97.5])
    return Gap(name, what, float(simulated), float(real), Estimate(float(simulated - real), float(low), float(high)))


def _any(slate: np.ndarray, person: np.ndarray, clicked: np.ndarray) -> np.ndarray:
    """i64[P]: slates of each person with a click."""
    begins = np.flatnonzero(np.diff(slate, prepend=-1))
    return np.bincount(person[begins], np.bincount(slate, clicked) > 0)


def _kinds(found: Responses, person: np.ndarray, clicked: list[np.ndarray]) -> list[sparse.csr_array]:
    """f64[P, kinds] each: how often people clicked what kind of item."""
    ever = clicked[0] | clicked[1]
    known = np.unique(found.slots.kind[ever])
    shape = (person.max() + 1, len(known))
    tables = []
    for each in clicked:
        kind = np.searchsorted(known, found.slots.kind[each])
        tables.append(sparse.csr_array((np.ones(len(kind)), (person[each], kind)), shape=shape))
    return tables


def _entropy(counts: sparse.csr_array) -> np.ndarray:
    """f64[P], nats: of what each row clicked; 0 where nothing."""
    counts = sparse.csr_array(counts)
    counts.sum_duplicates()
    total = np.asarray(counts.sum(axis=1)).ravel()
    of = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    share = counts.data / total[of]
    return np.bincount(of, -share * np.log(share), minlength=counts.shape[0])


def _pooled(counts: sparse.csr_array, weight: np.ndarray) -> float:
    """Nats: of what all together clicked, people i64[P] so often each."""
    total = weight @ counts
    share = total[total > 0] / total.sum()
    return float(-share @ np.log(share))


def distances(found: Responses) -> dict[str, Lived]:
    """What is compared by distributions: reading times, and each person's activity and entropy."""
    _, slate = np.unique(found.slots.slate, return_inverse=True)
    people, person = np.unique(found.slots.person, return_inverse=True)
    slates = np.bincount(person[np.flatnonzero(np.diff(slate, prepend=-1))])
    drawn, real = (found.did[name] for name in (LEARNED, LOGGED))
    tables = _kinds(found, person, [drawn.clicked, real.clicked])
    lived = {
        "activity of each person": Lived(
            np.bincount(person, drawn.clicked) / slates, np.bincount(person, real.clicked) / slates, people
        ),
        "entropy of each person": Lived(_entropy(tables[0]), _entropy(tables[1]), people),
    }
    read = real.watch > 0
    if read.any():
        lived["reading seconds"] = Lived(drawn.watch[drawn.watch > 0], real.watch[read], found.slots.person[read])
    return lived


# -- what is shown -------------------------------------------------------------------------------------------


def add_responses(report: Report, name: str, found: Responses, folds: int) -> None:
    """Add rows, a table and remarks on what was done in the slates of one data set to a report."""
    _add(report, name, of_responses(found), len(np.unique(found.slots.person)), folds)
    for kind, life in distances(found).items():
        heads.add_distance(report, name, kind, life, folds, "wasserstein")


def add_values(report: Report, name: str, found: Said, folds: int) -> None:
    """Add rows and a table on the values of one data set to a report."""
    _add(report, name, of_values(found), len(np.unique(found.person)), folds)


def _add(report: Report, name: str, found: list[Gap], people: int, folds: int) -> None:
    table = plain_table(f"{name}: gap", "simulated", "real", "less", "interval", words=1)
    about: dict[str, Any] = {"dataset": name, "agent": LEARNED, "n_users": people, "n_seeds": folds}
    for gap in found:
        protocol = f"gap/{gap.what}".replace(" ", "_")
        report.rows.append(Row(gap.name, gap.simulated, protocol=protocol, **about))
        report.rows.append(Row(gap.name, gap.real, protocol=protocol, **{**about, "agent": LOGGED}))
        report.rows.append(Row(gap.name, protocol=protocol, against=LOGGED, **vars(gap.less), **about))
        span = f"{gap.less.low:+.3f} .. {gap.less.high:+.3f}"
        table.add_row(
            f"{gap.name}: {gap.what}", number(gap.simulated), number(gap.real), f"{gap.less.value:+.3f}", span
        )
    report.tables.append(table)
