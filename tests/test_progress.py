"""What a long command says where nobody watches: lines, seldom, with what data says as it stands."""

from __future__ import annotations

import pytest

from jaxreco import progress


def test_elsewhere_than_on_a_terminal_a_line_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.saying("usersim") as say:
        for seconds, text in ((1, "one"), (59.5, "two"), (1, "[b]three[/b]"), (30, "four"), (45, "five")):
            now[0] += seconds
            say(text)
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == ["usersim: two (60 s)", "usersim: five (136 s)"]
