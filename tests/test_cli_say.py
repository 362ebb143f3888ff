"""`jaxreco say`: what it prints, its JSON, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import coin_world
from test_cli import process, refused, run
from test_movielens import made_up

from jaxreco import registry


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def answer(*arguments: object, status: int = 0) -> Any:
    result = run("say", *arguments, "--json")
    assert result.exit_code == status, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_one_request_as_json():
    assert answer("too much hairstyling, show me something different but related", "--env", "Feed-v0") == {
        "understood": True,
        "intent": "related",
        "target_kind": "category",
        "target": "hairstyling",
        "target_id": 8,
        "category": "hairstyling",
        "strength": 2 / 3,
        "cause": "sated",
    }


def test_several_requests_are_a_list_with_their_corrections():
    less, more, like, shorter = answer(
        "a little less hairstlying and a lot mroe curly cuts, something like 'Curly cuts at midnight' but shorter"
    )
    assert (less["intent"], less["target"], less["strength"]) == ("less", "hairstyling", 1 / 3)
    assert less["corrected"] == {"from": "hairstlying", "to": "hairstyling"}
    assert (more["target_kind"], more["category"], more["strength"]) == ("tag", "hairstyling", 1.0)
    assert "corrected" not in more
    assert more["read_as"] == [{"from": "hairstlying", "to": "hairstyling"}, {"from": "mroe", "to": "more"}]
    assert (like["target_kind"], like["target_id"]) == ("item", 34)
    assert shorter["intent"] == "shorter"
    assert (shorter["target_kind"], shorter["target"], shorter["target_id"], shorter["category"]) == (
        "none",
        None,
        None,
        None,
    )


def test_what_is_not_understood_as_json():
    found = answer("more pasta with cheese", status=2)
    assert found["understood"] is False
    assert found["not_understood"] == "pasta with cheese"
    assert "pasta with cheese" in found["reason"]
    assert found["nearest"] == ["weeknight pasta"]
    assert answer("", status=2)["not_understood"] == ""
    assert "say one of them" in answer("more and less of music", status=2)["reason"]
    assert "10,000 letters" in answer("x" * 10_000, status=2)["reason"]
    assert answer("más música por favor 🎵", status=2)["understood"] is False


def test_it_prints_what_was_understood():
    result = run("say", "less hairstlying, it's all clickbait")
    assert result.exit_code == 0, result.output
    table, words, correction = result.stdout.splitlines()[1:]
    assert table.split() == ["less", "hairstyling", "(category)", "hairstyling", "plainly", "bait"]
    assert words == "In other words: Less hairstyling, please. It promised more than it held."
    assert correction == 'Read "hairstlying" as "hairstyling".'


def test_quotes_around_the_text_are_not_needed():
    assert run("say", "surprise", "me").stdout == run("say", "surprise me").stdout


def test_refusals_are_one_sentence_on_stderr():
    refused(run("say", "more gardening"), 'I do not understand "gardening"')
    refused(run("say", "more pasta"), "Did you mean weeknight pasta?")
    refused(run("say", "less of item 2000"), "There is no item 2000: the last is 1999.")
    refused(run("say", "like 'The Godfather'"), 'Nothing in the catalog is called "The Godfather".')
    refused(run("say", "x" * 10_000), "10,000 letters")
    refused(run("say", "less \x1b[31mgardening"), "I do not understand")
    refused(run("say", "more music", "--env", "Fed-v0"), "Did you mean Feed-v0?")


def test_control_characters_of_a_text_reach_no_terminal():
    result = run("say", "like '\x1b[31mnothing\x07'")
    assert result.exit_code == 2
    assert not {"\x1b", "\x07"} & set(result.output)


def test_markup_in_a_title_is_shown_as_it_is(monkeypatch):
    from jaxreco.base import Names

    def make_coin(
        slate_size: int = 3, history_length: int = 6, action_mode: Any = "slate", choice: str = "cascade"
    ) -> Any:
        titles = ("[bold]Loud[/bold] night", *(f"Quiet {letter}" for letter in "abcdefghijk"))
        env, params = coin_world(names=Names(titles, ("[red]even", "odd"), ("x1", "x2", "x3"), ()))
        return env, params

    monkeypatch.setitem(registry._ENVS, "Coin-v0", make_coin)
    result = run("say", "less of item 0", "--env", "Coin-v0")
    assert "[bold]Loud[/bold] night (item)" in result.stdout
    assert "[red]even" in result.stdout


def test_a_world_without_names(monkeypatch):
    monkeypatch.setitem(
        registry._ENVS,
        "Coin-v0",
        lambda slate_size=3, history_length=6, action_mode="slate", choice="cascade": coin_world(),
    )
    found = answer("less of item 3", "--env", "Coin-v0")
    assert (found["target"], found["category"]) == ("item 3", "category 1")
    refused(run("say", "less music", "--env", "Coin-v0"), "music")


def test_films_and_their_genres(tmp_path):
    made_up(tmp_path)
    data = ("--env", "MovieLens-v0", "--data", tmp_path)
    horror = answer("less horror, more of the tag Western, something like 'Film 3'", *data)
    assert [(one["target_kind"], one["target"]) for one in horror] == [
        ("category", "Horror"),
        ("tag", "Western"),
        ("item", "Film 3 (1973)"),
    ]
    assert horror[2]["category"] == "Horror"
    refused(run("say", "more horror", "--env", "MovieLens-v0", "--data", tmp_path / "none"), "There is no folder")


def test_the_real_command():
    done = process("say", "moar musci plz", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"] == "music"
    assert done.stderr == ""
    done = process("say", "tell me a joke", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["understood"] is False
