"""What transfer found, as rows, as tables and as a heat map."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxreco import files
from jaxreco.benchmarks import phrasings, retention
from jaxreco.benchmarks.matrix import HOME, Matrix
from jaxreco.benchmarks.redrawn import MOST
from jaxreco.benchmarks.report import Report, Row, over, plain_table
from jaxreco.report.standing import ORACLES, ZERO, Estimate, narrow, words

TEXTS = ("phrasings", "strangers")  # protocols of `phrasings.Heard`
LLM = "llm"  # a column that stays empty until there is such a user
PAID = {
    "clickbait": "clickbait",
    "trust": "trust",
    "d7": "day 7",
}  # what engagement may be bought with, and be paid for by


def add(
    report: Report, home: retention.World, matrix: Matrix, found: list[dict[str, np.ndarray]] | Any,
    heard: Mapping[str, list[phrasings.Heard]],
) -> None:  # fmt: skip
    """Rows and tables of one home. Args: found, what became of users, by place and agent. heard, by learner and seed."""
    about: dict[str, Any] = {"world": home.id, "dataset": home.data.name if home.data is not None else None}
    about |= {"n_users": home.users, "n_seeds": home.seeds}
    followed = {name: _over_seeds([phrasings.follow(each) for each in pairs]) for name, pairs in heard.items()}
    report.rows += [*_rows(matrix, about), *_paid_rows(matrix, found, about), *_follow_rows(followed, about)]
    report.tables += [_scores(matrix, home.id), _kept(matrix), _paid(matrix, found)]
    if followed:
        report.tables.append(_followed(followed))
    report.notes += list(_found(matrix, home.id, heard))


def _found(matrix: Matrix, home: str, heard: Mapping[str, list[phrasings.Heard]]) -> Iterator[str]:
    """Sentences about what was found."""
    best = matrix.best()
    yield f"{home}: best of the agents that are ahead at home and not overfit: {best or 'none'}."
    for name in matrix.judged():
        if where := matrix.overfit(name):
            yield f"{home}: {name} is overfit: ahead of the best baseline at home, not in {', '.join(where)}."
    for kind in matrix.elsewhere:
        taus = matrix.taus(kind)
        if len(taus) > 1:
            yield f"{home}: Kendall's tau with home in {len(taus)} worlds, {kind}: {taus.min():.2f} to {taus.max():.2f}, median {np.median(taus):.2f}."
    if easy := _easy(matrix):
        yield f"{home}: the oracle earns less than 1.5 times the zero in {', '.join(easy)}: too easy to be worlds, and scores there move much."
    for name, pairs in heard.items():
        said, right = (sum(getattr(each, what) for each in pairs) for what in ("said", "right"))
        yield f"{home}: {right:,} of {said:,} texts in phrasings that are kept for testing were heard as they were meant ({name})."
        shares = (f"{share:.0%} {how}" for how, share in _followed_of_all(pairs).items())
        yield f"{home}: of all instructions, each counted alike, {name} followed {', '.join(shares)}."
    for row, kind in enumerate(matrix.kinds[1:], start=1):
        if np.array_equal(matrix.reward[row], matrix.reward[0]):
            yield f"{home}: {kind} changes nothing here, life by life: these users do not heed what it changes."


def _followed_of_all(pairs: list[phrasings.Heard]) -> dict[str, float]:
    """The share of all instructions that was followed, by how they were heard; and by random slates."""
    hows = {"tokens": "by tokens", "text": "by text", "strangers": "by strangers' text"}
    found = {
        said: float(np.concatenate([getattr(each, how).now for each in pairs]).mean()) for how, said in hows.items()
    }
    return {**found, "by random slates": float(np.concatenate([each.tokens.random for each in pairs]).mean())}


def _easy(matrix: Matrix) -> list[str]:
    """Worlds without room between zero and oracle, by name."""
    means = matrix.reward.mean(axis=(2, 3))
    zero, one = (np.take_along_axis(means, end[:, None], axis=1)[:, 0] for end in matrix.ends)
    return [name for name, low, high in zip(_names(matrix), zero, one, strict=True) if high < 1.5 * low]


def _names(matrix: Matrix) -> list[str]:
    """Of the worlds: their kind, and a number from 1 where there are several."""
    numbered = [(kind, row - matrix.worlds(kind)[0] + 1) for row, kind in enumerate(matrix.kinds)]
    return [kind if len(matrix.worlds(kind)) == 1 else f"{kind}/{number}" for kind, number in numbered]


def remarks(seeds: int, both_ways: bool) -> list[str]:
    """How the tables are to be read."""
    spread = (
        "over users and the worlds of a kind (bootstrap). One seed: training with another may end elsewhere"
        if seeds == 1
        else "over training seeds (Student's t)"
    )
    notes = [
        f"redrawn: every parameter of the user times its own factor, by up to {MOST:.0%} either way. mnl: users choose from the whole slate by "
        "multinomial logit. shift: tastes jump to another user's after two weeks.",
        f"Score: 0 is the best of {', '.join(ZERO)} in that world, 1 its greedy oracle; static and the oracle are made for each world, all "
        "others only for home. kept: score elsewhere over score at home.",
        f"± is half the 95 % interval, {spread}.",
        "overfit: ahead of the best baseline at home (the paired interval excludes 0) and not so in some kind of world elsewhere. Learners "
        "are judged by all baselines that were run, other agents by random, popularity and static.",
        "clickbait: share of the shown items that hide some. trust: of users at the end of their month or when they were lost. day 7: a session "
        "begins that day.",
        "LLM: there is no such user yet.",
        f"strangers: {phrasings.REFUSED:.0%} of the texts are refused, as many as of hand-written phrasings at the parser's first meeting with them.",
    ]
    if not both_ways:
        notes.append(
            "other: no other user model was given (--user-model FOLDER of jaxreco fit, in a world of fitted users)."
        )
    return notes


# -- rows ----------------------------------------------------------------------------------------------------


def _rows(matrix: Matrix, about: dict[str, Any]) -> Iterator[Row]:
    for kind in (HOME, *matrix.elsewhere):
        for name, found in matrix.score(kind).items():
            yield Row("score", agent=name, protocol=kind, **vars(found), **about)
        for name in matrix.judged():
            best = matrix.ahead(name, kind)
            yield Row("reward", agent=name, against="best baseline", protocol=kind, **vars(best), **about)
    for kind in matrix.elsewhere:
        for metric, estimates in (("drop", matrix.drop(kind)), ("kept", matrix.kept(kind))):
            for name, found in estimates.items():
                if name not in ORACLES:
                    yield Row(metric, agent=name, against=HOME, protocol=kind, **vars(found), **about)
        yield Row("tau", against=HOME, protocol=kind, **vars(matrix.tau(kind)), **about)
    for row, where in enumerate(_names(matrix)):
        if where != matrix.kinds[row]:
            for name, found in matrix.in_world(row).items():
                yield Row("score", agent=name, protocol=where, **vars(found), **about)
    for name in matrix.judged():
        yield Row("score", None, agent=name, protocol=LLM, **about)
        losing = matrix.overfit(name)
        yield Row("overfit", float(bool(losing)), agent=name, protocol=HOME, **about)
        for kind in matrix.elsewhere:
            yield Row("overfit", float(kind in losing), agent=name, protocol=kind, **about)


def _of_kind(matrix: Matrix, found: Any, kind: str, name: str, metric: str) -> np.ndarray:
    """f64[seeds, users]: the mean of a metric over the worlds of a kind."""
    values: np.ndarray = np.mean([found[row][name][metric] for row in matrix.worlds(kind)], axis=0)
    return values


def _paid_rows(matrix: Matrix, found: Any, about: dict[str, Any]) -> Iterator[Row]:
    for kind in (HOME, *matrix.elsewhere):
        for name in matrix.agents:
            for metric in ("reward", "sessions_30d", *PAID):
                values = _of_kind(matrix, found, kind, name, metric)
                yield Row(metric, agent=name, protocol=kind, **vars(over(values)), **about)


def _follow_rows(followed: Mapping[str, tuple[Estimate, ...]], about: dict[str, Any]) -> Iterator[Row]:
    for name, (tokens, *texts) in followed.items():
        common = {**about, "agent": name, "n_users": phrasings.USERS}
        yield Row("follow", protocol="tokens", **vars(tokens), **common)
        for protocol, text, kept in zip(TEXTS, texts[::2], texts[1::2], strict=True):
            yield Row("follow", protocol=protocol, **vars(text), **common)
            yield Row("follow_kept", against="tokens", protocol=protocol, **vars(kept), **common)


def _over_seeds(each: list[tuple[Estimate, ...]]) -> tuple[Estimate, ...]:
    """Means over seeds (Student's t); one seed keeps its intervals over users."""
    if len(each) == 1:
        return each[0]
    return tuple(over(np.array([[one.value] for one in of_seeds])) for of_seeds in zip(*each, strict=True))


# -- tables --------------------------------------------------------------------------------------------------


def _scores(matrix: Matrix, home: str) -> Any:
    """Scores by kind of world, and Kendall's tau below."""
    kinds = (HOME, *matrix.elsewhere)
    table = plain_table(home, *kinds, "LLM", "", words=1, title="Scores")
    table.padding = (0, 1, 0, 0)
    scores = {kind: matrix.score(kind) for kind in kinds}
    for name in matrix.agents:
        mark = "overfit" if name in matrix.judged() and matrix.overfit(name) else ""
        table.add_row(name, *(_cell(scores[kind][name]) for kind in kinds), "-", mark)
    table.add_section()
    table.add_row("Kendall's tau", "", *(_cell(matrix.tau(kind)) for kind in matrix.elsewhere), "-", "")
    return table


def _kept(matrix: Matrix) -> Any:
    """The share of the score at home that is kept, and whether the agent is ahead, by kind of world."""
    table = plain_table(
        "kept", HOME, *matrix.elsewhere, words=1, title="Kept of the score at home, and place beside the best baseline"
    )
    table.padding = (0, 1, 0, 0)
    kept = {kind: matrix.kept(kind) for kind in matrix.elsewhere}
    for name in matrix.judged():
        cells = [matrix.ahead(name, HOME).verdict]
        for kind in matrix.elsewhere:
            cells.append(f"{_cell(kept[kind].get(name))}\n{matrix.ahead(name, kind).verdict}")
        table.add_row(name, *cells)
    return table


def _paid(matrix: Matrix, found: Any) -> Any:
    """What engagement was bought with, at home and, where there are any, in the redrawn worlds."""
    kinds = (HOME, *matrix.elsewhere)[:2]
    heads = [f"{heading}\n{kind}" for heading in PAID.values() for kind in kinds]
    table = plain_table("", *heads, words=1, title="What it was bought with")
    table.padding = (0, 1, 0, 0)
    for name in matrix.agents:
        cells = [over(_of_kind(matrix, found, kind, name, metric)) for metric in PAID for kind in kinds]
        table.add_row(name, *map(_cell, cells))
    return table


def _followed(followed: Mapping[str, tuple[Estimate, ...]]) -> Any:
    table = plain_table(
        "", "tokens", "kept phrasings", "share kept", "strangers", "share kept", words=1, title="Following of text"
    )
    table.padding = (0, 1, 0, 0)
    for name, cells in followed.items():
        table.add_row(name, *map(words, cells))
    return table


def _cell(found: Estimate | None) -> str:
    return "-" if found is None else narrow(words(found))


# -- picture -------------------------------------------------------------------------------------------------


def draw(path: pathlib.Path, matrices: Mapping[str, Matrix]) -> None:
    """Scores of agents in all worlds, a heat map a home: a cell the redder, the further below zero."""
    from matplotlib.figure import Figure

    wide = max(len(matrix.kinds) for matrix in matrices.values())
    tall = max(len(matrix.agents) for matrix in matrices.values())
    figure = Figure(figsize=(max(6.5, 2.2 + 0.42 * wide), len(matrices) * (1.3 + 0.3 * tall)), layout="constrained")
    panels = np.ravel(figure.subplots(len(matrices), 1))
    for axes, (home, matrix) in zip(panels, matrices.items(), strict=True):
        scores = matrix.scores(matrix.reward.mean(axis=(2, 3))).T
        picture = axes.imshow(scores, cmap="RdBu", vmin=-1.0, vmax=1.0, aspect="auto")
        for (row, column), score in np.ndenumerate(scores):
            text = f"{round(score, 2) + 0.0:.2f}".replace("0.", ".", 1)  # no minus before a zero
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color="w" if abs(score) > 0.6 else "k")
        labels = [name.rpartition("/")[2] for name in _names(matrix)]
        axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=8)
        marks = [f"{n} (overfit)" if n in matrix.judged() and matrix.overfit(n) else n for n in matrix.agents]
        axes.set_yticks(range(len(marks)), marks, fontsize=8)
        axes.set_title(f"Scores of agents trained in {home}; numbered worlds are redrawn", fontsize=10)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.colorbar(picture, ax=axes, shrink=0.8, label="score")
    with files.written_whole(path) as file:
        figure.savefig(file, format="png", dpi=144)
