"""How far may one trust a simulator? Does it rank policies as real answers do, and what does a randomised log say of them?

The order of eight agents under the real answers of Jester, how stable it is, and their order under the learned user; what three
policies of Open Bandit would have been clicked; how good the learned user's heads are (`heads.py`), whether a judge tells what it does
from what people did (`judge.py`), and whether it is too active, alike or positive (`gaps.py`); and whether what it would ask for, predicted
before the outcome, is worth hearing (`hindsight.py`).
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreco import offpolicy, policy_order
from jaxreco.base import CLICK
from jaxreco.benchmarks import gaps, heads, hindsight, judge, pickers, responses_drawn
from jaxreco.benchmarks.report import Report, Row, plain_table
from jaxreco.benchmarks.report import under as said_of
from jaxreco.data import jester, open_bandit, splits
from jaxreco.data.log import Log
from jaxreco.data.responses import Responses, own_scale, responses
from jaxreco.envs.jester import world
from jaxreco.errors import DataError
from jaxreco.evaluation import interval
from jaxreco.registry import make_agent
from jaxreco.report.standing import Estimate, words

# The eight agents whose order is judged, and why each is among them. Named before any result was seen.
AGENTS = {
    "worst_first": "the floor, what others liked least: an order that cannot place it is worth nothing",
    "random": "chance",
    "popularity": "what was rated oftenest, which need not be what was liked",
    "linucb": "a bandit that learns each person from the words of the jokes, and pays for exploring",
    "best_first": "what others liked best, the best single list: what is above it is personalisation",
    "item_knn": "neighbours of what was clicked",
    "ease": "linear weights from what was clicked, in closed form",
    "gaussian": "the best linear guess from all that this person answered, disliked jokes too",
}
AGAINST = "random"
FOLDS = {"quick": 5, "full": 10}
SPLITS = 500  # of the people into halves
POLICIES = {
    "random": "as the shop did: every item alike",
    "clicked": "the half of the items that was clicked most at any place in the other half of the log, every one alike",
    "unclicked": "the other half of the items",
}
ESTIMATORS = {"ips": offpolicy.ips, "snips": offpolicy.snips}

Say = Callable[[str], None]


def run(
    *, data: pathlib.Path, quick: bool = True, user_model: pathlib.Path | None = None, say: Say = lambda text: None
) -> Report:
    """Judge policies by real answers, and the learned user by real people.

    Args:
      data: the folder that holds the sets, or some of them. quick: agents are fitted in 5 folds, not 10, and heads in 2, not 5.
      user_model: a folder of `jaxreco fit`, whose heads are shown instead of all else.

    Raises DataError for data that is missing or broken.
    """
    began = time.perf_counter()
    mode = "quick" if quick else "full"
    if user_model is not None:
        report = Report("fidelity", "heads of a fitted user, on the people whom its fit held back", mode, 0.0)
        heads.add_folder(report, user_model)
        return _ended(report, mode, began)
    parts = {
        "jester": lambda folder: _jester(folder, FOLDS[mode], heads.EPOCHS[mode], say),
        "open-bandit": lambda folder: _shop(folder, say),
    }
    report = Report("fidelity", "; ".join(_PROTOCOL), mode, 0.0)
    for name, part in parts.items():
        if not (data / name).is_dir():
            report.notes.append(f"{name} is left out: {data} has no such folder.")
            continue
        rows, table, notes = part(data / name)
        report.rows += rows
        report.tables.append(table)
        report.notes += notes
    if not report.rows:
        raise DataError(f"{data} has neither {' nor '.join(parts)}: give the folder that holds them.")
    for name in heads.SETS:
        if (data / name).is_dir():
            _people(report, name, data / name, mode, say)
    for name in hindsight.SETS:
        if (data / name).is_dir():
            hindsight.add(report, name, hindsight.measured(name, data / name, mode, say), hindsight.FOLDS[mode])
    return _ended(report, mode, began)


def _ended(report: Report, mode: str, began: float) -> Report:
    report.rows = [dataclasses.replace(row, mode=mode) for row in report.rows]
    report.wall_s = time.perf_counter() - began
    return report


_PROTOCOL = (
    f"jester: each agent picks {policy_order.PICKS} jokes for each person, one a turn, only among those that the person rated, "
    "and hears of each whether it was clicked (at or above the person's own mean rating) and liked (own upper quartile); the "
    "outcome is the mean rating of the picks; agents are fitted to the people of the other folds",
    "open-bandit: clicks a slot that a policy would have had, by the log of the uniformly random one",
    "heads: nats a row on people of folds that the user was not fitted to, over how often each class occurs and over an ordinal "
    "regression on plain numbers (what the person and others said so far, place in the slate, gaps so far, ...), paired, bootstrap over "
    "people; AUC of the middle cut; ECE in tenths, mean over cuts",
    "judge: a classifier that is told to tell sessions (where the log has none, slates) of people of folds that the user was not fitted to from "
    "what the user did with the same slates at the same times, tried on people whom it was not trained on; gaps: simulated less real, bootstrap "
    "over people",
    "instructions: at points where people of other folds disengaged, the sentence by hindsight (labels) and as predicted before the outcome; "
    "nats that the next ten events gain when they are conditioned on it, weights fitted to one half of these people and judged on the other",
)


def _people(report: Report, name: str, folder: pathlib.Path, mode: str, say: Say) -> None:
    """What is measured of a user that was fitted once a fold, on all people of a set."""
    measured, answered, said, folds = [], [], [], heads.FOLDS[mode]
    for met in heads.met(name, folder, mode, say):
        measured.append(heads.measured(name, met))
        answered.append(responses_drawn.responses(met))
        said.append(gaps.said(met))
    heads.add(report, name, heads.together(measured), folds)
    responses_of = [each for each in answered if each is not None]
    if responses_of:
        found = responses_drawn.together(responses_of)
        judge.add(report, name, found, folds, mode, said_of(name, say))
        gaps.add_responses(report, name, found, folds)
    values = [each for each in said if each is not None]
    if values:
        gaps.add_values(report, name, gaps.joined(values), folds)


# -- jester --------------------------------------------------------------------------------------------------


def _jester(folder: pathlib.Path, folds: int, epochs: int, say: Say) -> tuple[list[Row], Any, list[str]]:
    log = jester.load(folder)
    told = responses(log)
    people = np.flatnonzero(told.require(policy_order.PICKS + 1, log.name))
    said = under(log, lambda train: policy_order.Logged(told), people, folds, say)
    outcomes = {name: values.mean(axis=1) for name, values in said.items()}
    halves = policy_order.halves(policy_order.table(outcomes), SPLITS)
    about: dict[str, Any] = {"dataset": "jester", "n_users": len(people), "n_seeds": folds}
    rows = list(_outcome_rows(said, about))
    stable = Estimate(float(np.median(halves)), *(float(x) for x in np.percentile(halves, [2.5, 97.5])))
    rows.append(Row("kendall_tau", protocol="half_vs_half", agent="logged", **vars(stable), **about))
    simulated = under(
        log, lambda train: heads.answering(train, epochs), people, folds, said_of("the learned user", say)
    )
    learned = {name: values.mean(axis=1) for name, values in simulated.items()}
    rows += [
        Row("rating", *interval(values), protocol="ten_picks/learned", agent=name, **about)
        for name, values in learned.items()
    ]
    agreed = Estimate(*policy_order.tau(policy_order.table(outcomes), policy_order.table(learned)))
    rows.append(Row("kendall_tau", protocol="learned_vs_logged", agent="learned", **vars(agreed), **about))
    best, worst = ceiling(told, people)
    notes = [
        f"The order of the eight when the learned user answers against when people do: Kendall's tau {agreed.value:.3f} (95 % over "
        f"people {agreed.low:.3f} to {agreed.high:.3f}). Under the learned user: "
        + ", ".join(f"{name} {learned[name].mean():.2f}" for name in sorted(learned, key=lambda n: -learned[n].mean()))
        + ".",
        f"The order of the eight by one half of the people against the other: Kendall's tau {stable.value:.3f} (median of "
        f"{SPLITS} random halves, 95 % of them {stable.low:.3f} to {stable.high:.3f}).",
        f"Scale: each person's ten best rated jokes have a mean of {best:.2f}, its ten worst of {worst:.2f}.",
        f"{len(people):,} people; intervals are bootstraps over them, those of differences paired. * excludes 0.",
        "Agents: " + "; ".join(f"{name}, {why}" for name, why in AGENTS.items()) + ".",
    ]
    return rows, _outcome_table(said), notes


def under(
    log: Log,
    answering: Callable[[Log], policy_order.Answers],
    people: np.ndarray,
    folds: int,
    say: Say = lambda text: None,
) -> dict[str, np.ndarray]:
    """name -> f64[N, T]: what people i64[N] of a Jester log said of each agent's picks, in turn, by whoever answers.

    Every person is in one fold, and agents, catalog and popularity that it meets come from the people of the others.

    Args: answering, gives who answers for the people of a fold, from the rows of all others.
    """
    told = responses(log)
    scale = own_scale(told)
    found = {name: np.full((log.n_users, policy_order.PICKS), np.nan) for name in AGENTS}
    for number, split in enumerate(splits.folds_by_user(log, folds)):
        train = log.rows(split.train)
        env, params = world(train, slate_size=log.n_items, history_length=log.n_items)
        answers = answering(train)
        asked = np.intersect1d(people, log.user[split.test])
        for name in AGENTS:
            say(f"jester, fold {number + 1} of {folds}: {name}")
            agent, fitted = agent_of(name, env, params)
            picked = policy_order.pick(
                jax.random.key(1), agent, fitted, params.catalog, answers, asked, told.known, scale
            )
            found[name][asked] = picked.value
    return {name: values[people] for name, values in found.items()}


def agent_of(name: str, env: Any, params: Any) -> tuple[Any, Any]:
    """(agent, agent_params) of one of the eight, fitted to the world's own log."""
    if name in pickers.KINDS:
        return make_agent(pickers.__file__, jax.random.key(0), env, params, kind=name)
    return make_agent(name, jax.random.key(0), env, params)


def ceiling(told: Responses, people: np.ndarray) -> tuple[float, float]:
    """What somebody who knew the ratings would have picked, and who wanted the worst: means over people i64[N]."""
    ordered = np.sort(np.where(told.known[people], told.value[people], np.inf), axis=1)  # unknown ones last
    count, picks = told.known[people].sum(axis=1), policy_order.PICKS
    best = [row[n - picks : n].mean() for row, n in zip(ordered, count, strict=True)]
    return float(np.mean(best)), float(ordered[:, :picks].mean())


def _outcome_rows(said: dict[str, np.ndarray], about: dict[str, Any]) -> Iterator[Row]:
    def row(metric: str, values: np.ndarray, agent: str, against: str | None = None) -> Row:
        value, low, high = interval(values)
        return Row(metric, value, low, high, protocol="ten_picks", agent=agent, against=against, **about)

    for name, values in said.items():
        yield row("rating", values.mean(axis=1), name)
        yield row("rating@1", values[:, 0], name)
        yield row(f"rating@{policy_order.PICKS}", values[:, -1], name)
        if name != AGAINST:
            yield row("rating", (values - said[AGAINST]).mean(axis=1), name, AGAINST)


def _outcome_table(said: dict[str, np.ndarray]) -> Any:
    """Best first; each less the one below it, which says whether the two are told apart."""
    table = plain_table(
        "jester", "mean rating", f"less {AGAINST}", "less the next", "first pick", f"pick {policy_order.PICKS}", words=1
    )
    table.padding = (0, 1, 0, 0)
    order = sorted(said, key=lambda name: -said[name].mean())
    for name, after in zip(order, [*order[1:], None], strict=True):
        cells = [words(Estimate(*interval(said[name].mean(axis=1))))]
        for other in (AGAINST, after):
            if other is None or other == name:
                cells.append("")
                continue
            less = Estimate(*interval((said[name] - said[other]).mean(axis=1)))
            cells.append(words(less, sign=True) + ("" if less.verdict == "not told apart" else " *"))
        ends = (words(Estimate(*interval(said[name][:, at]))) for at in (0, -1))
        table.add_row(name, *cells, *ends)
    return table


# -- open-bandit ---------------------------------------------------------------------------------------------


class Shown(NamedTuple):
    """The slots of one campaign. `N` rows."""

    clicked: np.ndarray  # bool[N]
    weight: dict[str, np.ndarray]  # policy -> f64[N], its chances over the log's


def _shop(folder: pathlib.Path, say: Say) -> tuple[list[Row], Any, list[str]]:
    rows = []
    table = plain_table(
        "open-bandit",
        "slots",
        "clicks",
        "clicks that\ncount",
        "ips, clicks\nin 1,000",
        "snips, clicks\nin 1,000",
        words=1,
    )
    for campaign in open_bandit.files_of(folder):
        say(f"open-bandit, {campaign}")
        log = open_bandit.load(folder, campaign)
        shown = policies(log)
        for policy, weight in shown.weight.items():
            found = {name: Estimate(*offpolicy.bootstrap(e, shown.clicked, weight)) for name, e in ESTIMATORS.items()}
            about: dict[str, Any] = {"dataset": "open-bandit", "agent": policy, "n_users": None, "n_seeds": 1}
            for name, estimate in found.items():
                rows.append(Row("ctr", protocol=f"{campaign}/{name}", **vars(estimate), **about))
            counts = (len(log), int(shown.clicked.sum()), int((shown.clicked & (weight > 0)).sum()))
            cells = (words(Estimate(*(1000.0 * x for x in vars(e).values()))) for e in found.values())
            table.add_row(f"{campaign}: {policy}", *(f"{n:,}" for n in counts), *cells)
    notes = [
        "open-bandit has 38 to 46 clicks a campaign: intervals (bootstrap over slots), no target. Slots of one visit cannot be "
        "told, nor people; the policies do not look at who comes.",
        "Policies: " + "; ".join(f"{name}, {what}" for name, what in POLICIES.items()) + ".",
    ]
    return rows, table, notes


def policies(log: Log, seed: int = 0) -> Shown:
    """What the three policies of POLICIES would have shown. Clicks by which items are chosen are of the other half of the log.

    Raises DataError for a log without clicks or chances.
    """
    if log.actions is None or log.propensity is None:
        raise DataError(
            f"{log.name} has no clicks or no chances with which items were shown: bring a random policy's log."
        )
    clicked = (log.actions & CLICK) != 0
    half = np.random.default_rng(seed).permutation(len(log)) % 2
    target = {name: np.full(len(log), 1.0 / log.n_items) for name in POLICIES}
    upper = log.n_items // 2
    for part in (0, 1):
        judged, other = half == part, half != part
        shown = np.bincount(log.item[other], minlength=log.n_items)
        rate = np.bincount(log.item[other], clicked[other], minlength=log.n_items) / np.maximum(shown, 1)
        lot = np.random.default_rng(seed).random(log.n_items)  # breaks ties
        chosen = np.isin(log.item[judged], np.lexsort((lot, -rate))[:upper])
        target["clicked"][judged] = chosen / max(upper, 1)
        target["unclicked"][judged] = ~chosen / max(log.n_items - upper, 1)
    return Shown(clicked, {name: offpolicy.weights(log.propensity, chances) for name, chances in target.items()})
