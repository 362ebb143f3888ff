"""Suggestions for mistyped names."""

from __future__ import annotations

from jaxreco.names import closest


def test_only_names_that_are_clearly_nearest_are_suggested() -> None:
    worlds = ["Coat-v0", "Feed-v0", "Jester-v0", "MovieLens-v0", "OpenBandit-v0"]
    assert closest("Fed-v0", worlds) == " Did you mean Feed-v0?"  # the others have the ending alone
    assert closest("jester", worlds) == " Did you mean Jester-v0?"
    assert (
        closest("oracle", ["oracle_plan", "oracle_greedy", "random"]) == " Did you mean oracle_plan or oracle_greedy?"
    )
    assert closest("xyz", ["b", "a"]) == " Known: a, b."
    assert closest("xyz", []) == ""
