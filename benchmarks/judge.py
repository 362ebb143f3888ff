"""A classifier that is told to tell real people from simulated ones by what they did in the same slates. Part of `fidelity`.

It is a classifier two-sample test (Lopez-Paz & Oquab 2017): an AUC of .5 says that it cannot. What it is shown is a session, or a slate where
the log has no sessions; whom it is tried on it was not trained on. How weak it is shows in a simulator whose responses were permuted among
slates, and chance in real people who are labelled at random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxreco.benchmarks import judge_network
from jaxreco.benchmarks.report import Report, Row, Say, cell, plain_table
from jaxreco.benchmarks.responses_drawn import FREE, LEARNED, LOGGED, Did, Responses, Slots
from jaxreco.evaluation import RESAMPLES
from jaxreco.report.standing import Estimate

FOLDS = {"quick": 5, "full": 10}
HALVINGS = 5  # of real people, of whom one half is called simulated
SHUFFLED, HALVES = "shuffled", "half_vs_half"
TARGET = 0.70
MISSING = (
    "The judge that boosts trees is left out: it needs scikit-learn. Install it with pip install 'jaxreco[judge]'."
)
Classify = Callable[["Told", np.ndarray, np.ndarray, int], np.ndarray]  # shown, train, test, seed


class Told(NamedTuple):
    """What a judge is shown: units of which some are simulated. `N` of them."""

    person: np.ndarray  # i32[N]
    simulated: np.ndarray  # bool[N]
    columns: dict[str, np.ndarray]  # f64[N] each, of `summary`
    tokens: judge_network.Tokens  # leaves [N, ...]


# -- what is shown -------------------------------------------------------------------------------------------


def summary(slots: Slots, did: Did) -> dict[str, np.ndarray]:
    """name -> f64[U]: numbers of each unit, in order; NaN where nothing was clicked or read."""
    _, unit = np.unique(slots.unit, return_inverse=True)
    _, slate = np.unique(slots.slate, return_inverse=True)
    number, in_slate = unit.max() + 1, np.bincount(slate, did.clicked)
    begins = np.flatnonzero(np.diff(slate, prepend=-1))
    of_slate = unit[begins]
    place = slots.position / slots.size
    apart = slots.usual - (np.bincount(slate, slots.usual) / np.bincount(slate))[slate]
    rank = _rank(slate, slots.usual) / slots.size
    seconds = np.log(np.maximum(did.watch, 1e-3))
    again = _again(unit, slots.kind, did.clicked)
    beside = did.clicked & np.append(False, did.clicked[:-1] & (slate[1:] == slate[:-1]))
    slates = np.bincount(of_slate, minlength=number)
    found = {
        "slates": slates,
        "slots": np.bincount(unit),
        "clicks_a_slate": np.bincount(of_slate, in_slate, number) / slates,
        "clicks_a_slot": np.bincount(unit, did.clicked) / np.bincount(unit),
        "slates_without": np.bincount(of_slate, in_slate == 0, number) / slates,
        "slates_with_several": np.bincount(of_slate, in_slate > 1, number) / slates,
        "most_in_a_slate": _per(of_slate, in_slate, np.ones(len(in_slate), bool), number)["most"],
        "clicked_beside": _mean(unit, beside, did.clicked, number),
        "clicked_kind_again": _mean(unit, again, did.clicked, number),
        "readings": np.bincount(unit, did.watch > 0),
    }
    clicked = {
        "position": slots.position, "place": place, "size": slots.size, "usual": slots.usual, "usual_less": apart, "rank": rank,
        "seen": slots.seen, "shown": slots.shown,
    }  # fmt: skip
    for name, values in clicked.items():
        found |= {f"{name}_{each}": x for each, x in _per(unit, values, did.clicked, number).items()}
    found |= {f"reading_{each}": x for each, x in _per(unit, seconds, did.watch > 0, number).items()}
    return {name: values.astype(np.float64) for name, values in found.items()}


def _per(of: np.ndarray, values: np.ndarray, chosen: np.ndarray, number: int) -> dict[str, np.ndarray]:
    """Least, mean, most and spread f64[number] of those of f[M] that are chosen, by what i64[M] they are of."""
    mean = _mean(of, values, chosen, number)
    least, most = np.full(number, np.inf), np.full(number, -np.inf)
    np.minimum.at(least, of[chosen], values[chosen])
    np.maximum.at(most, of[chosen], values[chosen])
    spread = np.sqrt(_mean(of, np.square(values - mean[of]), chosen, number))
    none = np.isnan(mean)
    return {
        "least": np.where(none, np.nan, least),
        "mean": mean,
        "most": np.where(none, np.nan, most),
        "spread": spread,
    }


def _mean(of: np.ndarray, values: np.ndarray, chosen: np.ndarray, number: int) -> np.ndarray:
    count = np.bincount(of[chosen], minlength=number)
    total = np.bincount(of[chosen], np.asarray(values, np.float64)[chosen], minlength=number)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _rank(of: np.ndarray, values: np.ndarray) -> np.ndarray:
    """i64[M]: values below each among those of the same group; groups i64[M] ascend."""
    order = np.lexsort((values, of))
    rank = np.empty(len(of), np.int64)
    rank[order] = np.arange(len(of)) - np.searchsorted(of, of[order])
    return rank


def _again(unit: np.ndarray, kind: np.ndarray, clicked: np.ndarray) -> np.ndarray:
    """bool[M]: clicks on a kind that was clicked before in the unit."""
    found, at = np.zeros(len(unit), bool), np.flatnonzero(clicked)
    pairs = np.stack([unit[at], kind[at]], axis=1)
    _, first = np.unique(pairs, axis=0, return_index=True)
    found[at] = True
    found[at[first]] = False
    return found


def told(slots: Slots, real: Did, simulated: Did) -> Told:
    """Every unit twice: as it was, and as it was simulated."""
    people = _people(slots)
    both = [summary(slots, did) for did in (real, simulated)]
    tokens = [judge_network.tokens(slots, did) for did in (real, simulated)]
    return Told(
        np.tile(people, 2),
        np.repeat([False, True], len(people)),
        {name: np.concatenate([each[name] for each in both]) for name in both[0]},
        judge_network.Tokens(*(np.concatenate(leaf) for leaf in zip(*tokens, strict=True))),
    )


def halved(slots: Slots, real: Did, seed: int = 0) -> Told:
    """Real units alone; those of one half of the people are called simulated."""
    people = _people(slots)
    known = np.unique(people)
    # Not the half that a fold is, whose items are known from the other half: a judge would tell the two by that.
    half = np.random.default_rng((seed, 1)).permutation(known)[: len(known) // 2]
    return Told(people, np.isin(people, half), summary(slots, real), judge_network.tokens(slots, real))


def _people(slots: Slots) -> np.ndarray:
    """i32[U]: whose each unit is."""
    return slots.person[np.unique(slots.unit, return_index=True)[1]]


def shuffled(slots: Slots, did: Did, seed: int = 0) -> Did:
    """What was done, permuted among slates of the same size; of a size that occurs once, among the slate's own slots."""
    rng = np.random.default_rng(seed)
    start = np.flatnonzero(np.diff(slots.slate, prepend=-1))
    size = np.diff(np.append(start, len(slots.slate)))
    source = np.arange(len(slots.slate))
    for each in np.unique(size):
        rows = start[size == each][:, None] + np.arange(each)
        moved = rng.permutation(rows) if len(rows) > 1 else rng.permutation(rows, axis=1)
        source[rows] = moved
    return did.of(source)


# -- judging -------------------------------------------------------------------------------------------------


def boosted(shown: Told, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """f64[tests]: chances by gradient boosting of trees on summaries, trained on bool[N], of bool[N]. Raises ImportError."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = shown.columns.values()
    x = np.stack([each for each in columns if len(np.unique(each[train & ~np.isnan(each)])) > 1], axis=1)
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=150, max_leaf_nodes=8, min_samples_leaf=20, early_stopping=False, random_state=seed
    )
    return model.fit(x[train], shown.simulated[train]).predict_proba(x[test])[:, 1]


def attending(shown: Told, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """f64[tests]: logits by a transformer that reads slot after slot."""
    return judge_network.judged(shown.tokens, shown.simulated, shown.person, train, seed)[test]


JUDGES: dict[str, Classify] = {"boosting": boosted, "transformer": attending}


def crossed(shown: Told, judge: Classify, folds: int, seed: int = 0) -> Estimate:
    """AUC on people whom the judge was not trained on: the mean over folds, which are of people; 95 % bootstrap over people."""
    people, of = np.unique(shown.person, return_inverse=True)
    part = (np.random.default_rng(seed).permutation(len(people)) % folds)[of]
    score = np.zeros(len(of))
    for fold in range(folds):
        test = part == fold
        score[test] = _placed(judge(shown, ~test, test, seed))
    return auc(score, shown.simulated, of, seed)


def _placed(score: np.ndarray) -> np.ndarray:
    """f64[M], from 0 to 1: judges of different folds may differ in how sure they are, not in what they find."""
    from scipy.stats import rankdata

    return rankdata(score) / len(score)


def auc(score: np.ndarray, positive: np.ndarray, person: np.ndarray, seed: int = 0) -> Estimate:
    """The chance that a positive row scores higher than another; people i64[M], from 0, are drawn with all their rows."""
    values, level = np.unique(score, return_inverse=True)
    people = person.max() + 1

    def of(count: np.ndarray) -> float:
        weight = count[person]
        up, down = (np.bincount(level[part], weight[part], len(values)) for part in (positive, ~positive))
        below = np.cumsum(down) - 0.5 * down
        return float(up @ below / max(up.sum() * down.sum(), 1e-300))

    rng = np.random.default_rng(seed)
    drawn = [of(np.bincount(rng.integers(people, size=people), minlength=people)) for _ in range(RESAMPLES)]
    return Estimate(of(np.ones(people)), *(float(x) for x in np.percentile(drawn, [2.5, 97.5])))


def chance(slots: Slots, real: Did, judge: Classify, folds: int) -> Estimate:
    """The median AUC of real people of whom one half is called simulated, and its range over HALVINGS."""
    found = [crossed(halved(slots, real, seed), judge, folds, seed).value for seed in range(HALVINGS)]
    return Estimate(float(np.median(found)), min(found), max(found))


def judged(found: Responses, folds: int, say: Say) -> dict[str, dict[str, Estimate]]:
    """judge -> simulator -> AUC; a judge whose library is missing is left out."""
    slots, real = found.slots, found.did[LOGGED]
    simulated = {name: did for name, did in found.did.items() if name not in (LOGGED, FREE)}
    simulated[SHUFFLED] = shuffled(slots, found.did[LEARNED])
    shown = {name: told(slots, real, did) for name, did in simulated.items()}
    results: dict[str, dict[str, Estimate]] = {}
    for judge, classify in JUDGES.items():
        say(f"the judge, {judge}")
        try:
            each = {name: crossed(what, classify, folds) for name, what in shown.items()}
            results[judge] = each | {HALVES: chance(slots, real, classify, folds)}
        except ImportError:
            continue
    return results


def add(report: Report, name: str, found: Responses, folds: int, mode: str, say: Say) -> None:
    """Add rows, a table and remarks on one data set to a report."""
    results = judged(found, FOLDS[mode], say)
    people = len(np.unique(found.slots.person))
    about: dict[str, Any] = {"dataset": name, "n_users": people, "n_seeds": folds}
    for judge, each in results.items():
        report.rows += [
            Row("auc", protocol=f"judge/{judge}", agent=agent, **vars(estimate), **about)
            for agent, estimate in each.items()
        ]
    table = plain_table(f"{name}: AUC of a judge", *results, words=1)
    for agent in next(iter(results.values())):
        table.add_row(agent, *(cell(each[agent]) for each in results.values()))
    report.tables.append(table)
    if "boosting" not in results:
        report.notes.append(MISSING)
    judge = max(results, key=lambda each: results[each][LEARNED].value)
    found_out, moved = (results[judge][agent].value for agent in (LEARNED, SHUFFLED))
    report.notes.append(
        f"{name}: the better judge, {judge}, tells the learned user from people it was not trained on with an AUC of {found_out:.3f} "
        f"({'under' if found_out < TARGET else 'not under'} {TARGET:.2f}), and one whose responses are permuted among slates with {moved:.3f}."
    )
