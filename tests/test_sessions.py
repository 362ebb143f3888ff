"""Lives told as text: the same life whoever else is watched, what was said and why, and `jaxreco sessions`."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Coin
from talker import make_silent, make_talker, make_tiny, run_folder, talking_world
from typer.testing import CliRunner

import jaxreco
from jaxreco import cli, cli_sessions, registry
from jaxreco.agents import popularity, random
from jaxreco.base import EMPTY
from jaxreco.errors import JaxrecoError
from jaxreco.report import sessions
from jaxreco.talk.grammar import INTENT
from jaxreco.training import table
from jaxreco.training.job import Job

KEY = jax.random.key(11)


@pytest.fixture(scope="module", autouse=True)
def _registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._ENVS, "Talker-v0", make_talker)
        patch.setitem(registry._ENVS, "Silent-v0", make_silent)
        patch.setitem(registry._AGENTS, "tiny", make_tiny)
        for name, make in (
            ("static", random.make),
            ("item_knn", popularity.make),
            ("oracle_greedy", popularity.make),
            ("oracle_plan", popularity.make),
        ):
            patch.setitem(registry._AGENTS, name, make)  # what only mindsets have is played by agents that need none
        yield


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any]:
    return talking_world()


@pytest.fixture(scope="module")
def lives(world) -> sessions.Moment:
    return watch(world, users=4, turns=40)


def watch(world: tuple[Any, Any], users: int, turns: int, first: int = 0) -> sessions.Moment:
    """Lives with a random agent, on the host."""
    env, params = world
    agent, agent_params = jaxreco.make_agent("random", jax.random.key(0), env, params)
    return jax.tree.map(np.asarray, sessions.watch_lives(KEY, env, params, agent, agent_params, users, turns, first))


def same(one: Any, other: Any) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


# -- watching ------------------------------------------------------------------------------------------------


def test_a_life_depends_on_the_users_number_alone(world, lives):
    alone = watch(world, users=1, turns=25, first=2)
    same(jax.tree.map(lambda x: x[:, 0], alone), jax.tree.map(lambda x: x[:25, 2], lives))
    assert not np.array_equal(lives.slate[:, 0], lives.slate[:, 1])


def test_the_told_mind_is_the_one_that_lived(lives):
    """What is told of the mind after a slate is the mind with which life goes on."""
    stayed = ~(lives.left | lives.terminated | lives.truncated)[:-1]
    np.testing.assert_array_equal(lives.after["mood"][:-1][stayed], lives.mind["mood"][1:][stayed])
    assert (lives.after["mood"] != lives.mind["mood"]).any()


def test_what_is_said_is_heard_next(lives):
    over = (lives.terminated | lives.truncated)[:-1]
    np.testing.assert_array_equal(lives.said.tokens[:-1][~over], lives.heard.tokens[1:][~over])
    assert (lives.said.intent[:-1][over] == 0).all()
    spoken = lives.said.intent > 0
    assert 0.2 < spoken.mean() < 0.8
    assert spoken[lives.left].any()  # the opening of the next session


def test_an_answer_is_counted_slot_by_slot(world, lives):
    category = np.asarray(world[1].catalog.category)
    asked = lives.heard.intent == INTENT["less"]
    honours = (category[lives.slate] != lives.heard.target[..., None]) & (lives.slate >= 0)
    np.testing.assert_array_equal(lives.followed[asked], honours.sum(axis=-1)[asked])
    assert np.isnan(lives.followed[~asked]).all()


def test_a_user_model_that_cannot_judge_leaves_the_count_out():
    silent = watch(talking_world(Coin), users=2, turns=5)
    assert np.isnan(silent.followed).all()
    assert (silent.heard.intent == 0).all()


def test_spans_are_the_whole_sessions_of_the_first_episode(lives):
    life = jax.tree.map(lambda x: x[:, 0], lives)
    flags = dict.fromkeys(("left", "terminated", "truncated"), np.zeros(8, bool))
    flags["left"] = np.array([0, 0, 1, 1, 0, 0, 1, 0], bool)
    life = life.__class__(**{**vars(jax.tree.map(lambda x: x[:8], life)), **flags})
    assert sessions.spans(life) == [(0, 3), (3, 4), (4, 7)]
    assert not sessions.ended(life)
    over = life.__class__(**{**vars(life), "truncated": np.arange(8) == 5})
    assert sessions.spans(over) == [(0, 3), (3, 4), (4, 6)]
    assert sessions.ended(over)


# -- the text ------------------------------------------------------------------------------------------------


def test_the_text_tells_what_was_said_why_and_how_it_was_answered(world, lives):
    env, params = world
    text = sessions.write(lives, env, params, "A title")
    said = int((lives.said.intent > 0).sum())
    assert 0 < text.count('says: "') <= said + 4  # openings are told at the session that they open
    assert text.count("\n    because: ") == text.count("\n  turn ")
    assert "(+0.8)" in text
    assert "(-0.2)" in text
    assert "User 1 (--user 0)" in text
    assert "User 4 (--user 3)" in text
    assert "Title number 3" in text
    assert "of 3 slots are what it asked for" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_request_is_followed_by_its_answer(world):
    """Line by line: after "says:" the next turn of the session counts the slots, and no other turn does."""
    env, params = world
    lines = sessions.write(watch(world, users=8, turns=40), env, params, "A title").splitlines()
    asked = False
    for line in lines:
        if line.startswith(("User ", "Session ")):
            asked = False
        elif "says: " in line and not line.startswith("user"):  # not the legend
            asked = line.startswith((" " * 4 + "says", " " * 2 + "says"))
        elif line.startswith("  turn "):
            assert ("slots are what it asked for" in line) == asked, line
            asked = False


def test_silence_is_not_told():
    env, params = talking_world(Coin)
    text = sessions.write(watch((env, params), users=2, turns=30), env, params, "A title")
    told = text.partition("User 1")[2]
    for word in ("says:", "because:", "asked for"):
        assert word not in told


def test_an_empty_slot_is_told(world, lives):
    env, params = world
    now = sessions.at(jax.tree.map(lambda x: x[:, 0], lives), 0)
    now = now.replace(slate=np.array([3, EMPTY, 0]), actions=np.array([3, 0, 0]), watch=np.array([12.0, 0.0, 0.0]))
    shown = sessions.slots(now, env, params)
    assert [slot.title for slot in shown] == ["Title number 3", "(empty slot)", "<i>Bold</i> & loud[31m"]
    assert [slot.deed for slot in shown] == ["watched 12 s of 40 s", "", "not looked at"]
    assert shown[0].facts == ("music", "Ann", "40 s", "0 hours old")
    assert shown[1].facts == ()


@pytest.mark.parametrize(
    ("hours", "words"),
    [(5.2, "5 hours"), (48.0, "2 days"), (1500.0, "2 months"), (9000.0, "12 months"), (50000.0, "6 years")],
)
def test_ages_in_words(hours, words):
    assert sessions._old(hours) == f"{words} old"


def test_without_names_there_are_numbers(world, lives):
    env, params = world
    now = sessions.at(jax.tree.map(lambda x: x[:, 0], lives), 0)
    shown = sessions.slots(now, dataclasses.replace(env, names=None), params)[0]
    item = int(now.slate[0])
    assert (shown.title, *shown.facts[:2]) == (f"item {item}", f"category {item % 2}", f"creator {item % 3}")


# -- the command ---------------------------------------------------------------------------------------------


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def refused(result: Any, *words: str) -> None:
    """The command failed with one sentence on stderr, exit status 2 and no traceback."""
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def folder(_registered, tmp_path_factory) -> pathlib.Path:
    return run_folder(tmp_path_factory.mktemp("runs") / "talk", "Talker-v0")


def test_the_command_tells_the_life_that_training_told(tmp_path):
    size = (
        "--agent",
        "tiny",
        "--users",
        8,
        "--turns",
        4,
        "--updates",
        4,
        "--eval-users",
        8,
        "--set",
        "horizon_hours=48",
    )
    done = run("train", "--env", "Talker-v0", *size, "--out", tmp_path / "run")
    assert done.exit_code == 0, (done.output, done.exception)
    third = (tmp_path / "run" / "sessions.txt").read_text().partition("User 3 (--user 2)")[2]
    result = run("sessions", tmp_path / "run", "--user", 2)
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stdout.startswith("User 3 of Coin with tiny\n")
    assert result.stdout.partition("User 3 (--user 2)")[2] == third
    assert 'says: "' in third


def test_as_many_sessions_as_were_asked_for(folder, monkeypatch):
    monkeypatch.setattr(cli_sessions, "TURNS", 3)  # so that more have to be watched
    text = run("sessions", folder, "--user", 1, "--sessions", 4).stdout
    assert "Session 4, " in text
    assert "Session 5, " not in text
    assert "the record ends here" not in text
    monkeypatch.setattr(cli_sessions, "TURNS", 96)
    assert run("sessions", folder, "--user", 1, "--sessions", 4).stdout == text


def test_a_persons_words_are_told_where_they_are_said(folder):
    plain = run("sessions", folder, "--user", 1, "--sessions", 4).stdout.splitlines()
    for at in (1, 2, 3, 4, 5):
        words = ("--say", "more of Bob", "--at", at)  # nobody else speaks of creators
        text = run("sessions", folder, "--user", 1, "--sessions", 4, *words).stdout
        lines = text.splitlines()
        says = [i for i, line in enumerate(lines) if 'says: "' in line and "Bob" in line]
        assert len(says) == 1, text
        turns = [i for i, line in enumerate(lines) if line.startswith("  turn ")]
        assert sum(i < says[0] for i in turns) == at - 1
        assert "the answer: " in lines[next(i for i in turns if i > says[0])]
        assert lines[: says[0]][:-1] == plain[: says[0]][:-1]  # until then it is the same life


def test_words_that_come_too_late_are_refused(folder):
    refused(run("sessions", folder, "--user", 1, "--say", "more music", "--at", 2_000), "at is 2000", "turns in the")
    refused(run("sessions", folder, "--at", 2), "--at", "add --say TEXT")


def test_nothing_can_be_said_for_silent_users():
    env, params = jaxreco.make("Feed-v0", n_items=30, n_creators=4, n_users=4, slate_size=3, talks=False)
    with pytest.raises(JaxrecoError, match="users of this run are silent"):
        cli_sessions._words("more music", Job({}, env, params, None, None, None))


def test_into_a_file(folder, tmp_path):
    shown = run("sessions", folder, "--user", 12)
    assert "User 13 (--user 12)" in shown.stdout
    assert run("sessions", folder, "--user", 12, "--out", tmp_path / "life.txt").stdout == ""
    assert (tmp_path / "life.txt").read_text() == shown.stdout
    refused(run("sessions", folder, "--out", tmp_path / "life.txt"), "life.txt exists", "--force")
    assert (tmp_path / "life.txt").read_text() == shown.stdout
    assert run("sessions", folder, "--out", tmp_path / "life.txt", "--force").exit_code == 0
    assert (tmp_path / "life.txt").read_text() != shown.stdout


def test_without_a_table_the_temperature_is_chosen_anew(tmp_path, monkeypatch):
    asked = []

    def choose(job: Any, agent_params: Any, seed: int) -> Any:
        asked.append(seed)
        return agent_params.replace(temperature=jnp.float32(0.25)), 0.25

    monkeypatch.setattr(table, "choose_temperature", choose)
    stopped = run_folder(tmp_path / "stopped", "Talker-v0", temperature=None)
    _, agent_params = cli_sessions.load(stopped, cli_sessions.Console(stderr=True))
    assert asked == [3]
    assert float(agent_params.temperature) == 0.25
    (stopped / "table.json").write_text('{"temperature": "0.5"}')
    _, agent_params = cli_sessions.load(stopped, cli_sessions.Console(stderr=True))
    assert asked == [3]
    assert float(agent_params.temperature) == 0.5


def test_bad_input(folder, tmp_path):
    refused(run("sessions", tmp_path / "none"), "There is no run folder")
    refused(run("sessions", folder, "--user", -1), "user is -1")
    refused(run("sessions", folder, "--user", 2**40), f"user is {2**40}")
    refused(run("sessions", folder, "--sessions", 0), "sessions is 0")
