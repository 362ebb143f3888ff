"""The page and the rows that say how far to trust a fitted user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jaxreco.fit.quality import Quality
from jaxreco.report import fit_page

CONFIG: dict[str, Any] = {
    "data": {"name": "<b>Films</b> & more", "users": 1200, "events": 34567, "items": 890},
    "content": {"source": "categories"},
    "seed": 3,
    "commit": "abc",
    "versions": {"numpy": "2"},
}
FORESEEN = {"learned": 2.0, "popularity": 3.0, "any item alike": 6.7912}
GOOD = Quality(500, 40, -1.1, -1.5, -1.2, (0.4, 0.3, 0.5), (0.1, 0.02, 0.2), 0.8, 0.01, 0.005)
BAD = Quality(60, 4, -0.9, -0.8, -0.7, (-0.1, -0.2, 0.1), (-0.2, -0.3, -0.1), 0.5, 0.08, 0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / fit_page.PICTURE).write_bytes(b"a picture")
    fit_page.write(tmp_path, CONFIG, FORESEEN, {"value": GOOD, "leave": BAD}, ["gap", "watch"])
    return tmp_path


def test_the_page_says_what_was_found_and_what_is_prior(folder):
    page = (folder / fit_page.PAGE).read_text()
    assert "&lt;b&gt;Films&lt;/b&gt; &amp; more" in page
    assert "<b>Films" not in page
    assert "1,200 people, 34,567 events, 890 items" in page
    assert "<td>7 items</td>" in page  # e to the second
    assert "gap, watch" in page
    assert page.count('class="good"') == 3  # both gains of value, and its calibration
    assert (
        page.count('class="bad"') == 2
    )  # leave is behind the regression, and not calibrated; the other gain is neither
    assert "data:image/png;base64,YSBwaWN0dXJl" in page


def test_the_rows_are_a_benchmarks(folder):
    report = json.loads((folder / fit_page.ROWS).read_text())
    found = {
        (row["protocol"], row["agent"], row["metric"], row["against"]): (row["value"], row["low"], row["high"])
        for row in report["rows"]
    }
    assert found["held_back/item", "learned", "log_likelihood", None][0] == -2.0
    assert found["held_back/value", "learned", "log_likelihood", "regression"] == (0.1, 0.02, 0.2)
    assert found["held_back/leave", "base_rate", "log_likelihood", None][0] == -0.8
    assert found["held_back/leave", "learned", "ece", None][0] == 0.08
    assert report["benchmark"] == "fidelity"


def test_a_log_of_which_no_head_learned_anything_has_a_page_too(tmp_path):
    fit_page.write(tmp_path, CONFIG, FORESEEN, {}, ["value", "gap"])
    page = (tmp_path / fit_page.PAGE).read_text()
    assert "Priors" in page
    assert "<img" not in page
