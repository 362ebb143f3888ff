"""docs/mindset.md: its table is the code's, and its pictures are those that docs/curves.py draws."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import pytest

from jaxreco.users import mechanisms

DOCS = pathlib.Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "mindset.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def curves():
    spec = importlib.util.spec_from_file_location("curves", DOCS / "curves.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_the_codes(curves):
    assert curves.table() in PAGE, "run python docs/curves.py --table and put its output into docs/mindset.md"


def test_every_picture_of_the_pages_is_drawn_and_every_drawn_one_is_there(curves):
    pages = [PAGE, *((DOCS / page).read_text(encoding="utf-8") for page in ("worlds/feed.md", "pictures.md"))]
    shown = re.findall(r"img/(\w+)\.png", "\n".join(pages))
    drawn = {*curves.CURVES, "thumbnails"}  # those by docs/pictures.py
    assert sorted(shown) == sorted(drawn)
    assert {path.stem for path in (DOCS / "img").glob("*.png")} == drawn


@pytest.mark.parametrize("name", ["gap", "multinomial"])
def test_a_curve_draws(curves, name):
    figure = curves.draw(name)
    assert all(axes.get_xlabel() and axes.get_ylabel() and axes.lines for axes in figure.axes)


def test_every_source_in_the_code_is_on_the_page():
    source = pathlib.Path(mechanisms.__file__).read_text(encoding="utf-8")
    cited = set(
        re.findall(r"([A-Z][a-z]+)(?: et al\.| & [A-Z][a-z]+|, [A-Z][a-z]+ & [A-Z][a-z]+)? \(?((?:19|20)\d\d)", source)
    )
    assert len(cited) > 12
    flat = " ".join(PAGE.split())
    missing = [f"{name} {year}" for name, year in cited if not re.search(rf"{name}[^.;]*?(?:al\. )?{year}", flat)]
    assert not missing
