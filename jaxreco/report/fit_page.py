"""How far to trust a fitted user: one page that needs no network, and the same as JSON, in the folder of the model."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxreco import files, provenance
from jaxreco.fit.quality import Quality

PAGE, ROWS, PICTURE = "fidelity.html", "fidelity.json", "reliability.png"
CALIBRATED = 0.03  # expected calibration error up to which a head counts as calibrated
STYLE = """
:root { color-scheme: light dark; --line: #8885 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem } p { max-width: 44rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } .wide { overflow-x: auto }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { font-weight: 600; vertical-align: bottom }
.good { color: #2a8a3e } .bad { color: #b5432a } img { max-width: 100%; background: #fff; border-radius: .4rem }
small { opacity: .75 }
"""


def write(
    folder: Path,
    config: Mapping[str, Any],
    foreseen: Mapping[str, float],
    heads: Mapping[str, Quality],
    prior: Iterable[str],
) -> None:
    """Write both. Args: config, of the folder. foreseen: who foresees -> nats an event. prior: heads that no data taught."""
    files.write_json(folder / ROWS, _report(config, foreseen, heads))
    with files.written_whole(folder / PAGE) as file:
        file.write(page(folder, config, foreseen, heads, prior).encode())


def page(
    folder: Path,
    config: Mapping[str, Any],
    foreseen: Mapping[str, float],
    heads: Mapping[str, Quality],
    prior: Iterable[str],
) -> str:
    """The page as HTML. Arguments as of `write`."""
    data, missing = config["data"], ", ".join(prior)
    title = f"A user fitted to {data['name']}"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{data['users']:,} people, {data['events']:,} events, {data['items']:,} items. All figures are of people who were held back: the "
        "network was not fitted to them.</p>",
        "<h2>What they took next</h2>",
        _table(
            ("who foresees", "nats an event", "as likely as one of"),
            [(name, f"{nats:.3f}", f"{math.exp(nats):,.0f} items") for name, nats in foreseen.items()],
        ),
        "<h2>What they did: the heads</h2>",
    ]
    if heads:
        columns = ("head", "people", "rows", "nats a row", "more than base rate", "more than regression", "AUC", "ECE")
        parts += [
            _table(columns, [_row(name, found) for name, found in heads.items()]),
            "<p>A head is learned from data. Its log-likelihood stands beside how often each answer occurs, and beside a regression on plain "
            "numbers: what this person and others said before, place, time. Intervals are 95 %, over people. ECE is the expected "
            f"calibration error; up to {CALIBRATED} counts as calibrated.</p>",
        ]
    if missing:
        parts.append(
            f"<p><b>Priors</b>, because the log does not hold them: {html.escape(missing)}. No claim about these rests on data.</p>"
        )
    picture = folder / PICTURE
    if heads and picture.is_file():
        image = base64.b64encode(picture.read_bytes()).decode()
        parts += [
            "<h2>Is what it says so often true so often?</h2>",
            f'<img alt="Reliability diagrams: the share that happened by the chance that was given" src="data:image/png;base64,{image}">',
        ]
    made = {
        "content": config["content"]["source"],
        "seed": config["seed"],
        "commit": config.get("commit"),
        **config.get("versions", {}),
    }
    parts.append(f"<p><small>{html.escape(', '.join(f'{name} {value}' for name, value in made.items()))}</small></p>")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _row(name: str, found: Quality) -> tuple[str, ...]:
    gains = []
    for value, low, high in (found.over_base, found.over_plain):
        mark = ' class="good"' if low > 0 else ' class="bad"' if high < 0 else ""
        gains.append(f"<span{mark}>{value:+.3f}</span> ({low:+.3f} to {high:+.3f})")
    mark = "good" if found.ece <= CALIBRATED else "bad"
    ece = f'<span class="{mark}">{found.ece:.3f}</span>'
    return (
        html.escape(name),
        f"{found.people:,}",
        f"{found.rows:,}",
        f"{found.nats:.3f}",
        *gains,
        f"{found.auc:.3f}",
        ece,
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _report(config: Mapping[str, Any], foreseen: Mapping[str, float], heads: Mapping[str, Quality]) -> dict[str, Any]:
    """As a benchmark's JSON: rows with protocol `held_back/ROWS` of a head, or `held_back/item`."""
    about: dict[str, Any] = {
        "dataset": config["data"]["name"],
        "split": "validation",
        "world": None,
        "against": None,
        "n_seeds": 1,
    }

    def row(
        of: str, agent: str, metric: str, value: float, low: float | None = None, high: float | None = None, **more: Any
    ) -> dict[str, Any]:
        return {
            **about,
            "protocol": f"held_back/{of}",
            "agent": agent,
            "metric": metric,
            "value": value,
            "low": low,
            "high": high,
            "n_users": None,
            **more,
        }

    rows = [row("item", name.replace(" ", "_"), "log_likelihood", -nats) for name, nats in foreseen.items()]
    for name, found in heads.items():
        people = {"n_users": found.people}
        for agent, nats in (("learned", found.nats), ("base_rate", found.base), ("regression", found.plain)):
            rows.append(row(name, agent, "log_likelihood", nats, **people))
        for against, gain in (("base_rate", found.over_base), ("regression", found.over_plain)):
            rows.append(row(name, "learned", "log_likelihood", *gain, **people, against=against))
        rows += [row(name, "learned", metric, getattr(found, metric), **people) for metric in ("auc", "ece")]
    return {
        "benchmark": "fidelity",
        "commit": config.get("commit"),
        "versions": config.get("versions"),
        "device": provenance.device(),
        "wall_s": None,
        "rows": rows,
    }
