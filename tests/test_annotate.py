"""Blind pairs, their page and terminal form, people's answers, and what they say."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import math
import pathlib
import re
from typing import Any

import jax
import numpy as np
import pytest
from talker import TITLES, make_silent, make_talker, make_tiny, run_folder, talking_world
from typer.testing import CliRunner

import jaxreco
from jaxreco import cli, cli_annotate, registry
from jaxreco.annotate import ask, page, pairs
from jaxreco.annotate.answers import Answer, read
from jaxreco.annotate.pairs import Pair
from jaxreco.annotate.summary import missing, summarize
from jaxreco.errors import DataError
from jaxreco.report import sessions

AMOUNTS = re.compile(r"[-+]\d")
QUOTED = ("\u201c", "\u201d")


@pytest.fixture(scope="module", autouse=True)
def _registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._ENVS, "Talker-v0", make_talker)
        patch.setitem(registry._ENVS, "Silent-v0", make_silent)
        patch.setitem(registry._AGENTS, "tiny", make_tiny)
        patch.setattr(cli_annotate, "USERS", 16)
        patch.setattr(cli_annotate, "TURNS", 24)
        patch.setattr(cli_annotate, "BATCHES", 3)
        patch.setenv("COLUMNS", "80")
        yield


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any]:
    return talking_world()


@pytest.fixture(scope="module")
def lives(world) -> list[sessions.Moment]:
    """Two batches of 32 users, on the host."""
    env, params = world
    agent, agent_params = jaxreco.make_agent("random", jax.random.key(0), env, params)
    watched = (
        sessions.watch_lives(jax.random.key(5), env, params, agent, agent_params, 32, 30, first) for first in (0, 32)
    )
    return [jax.tree.map(np.asarray, batch) for batch in watched]


@pytest.fixture(scope="module")
def made(world, lives) -> list[Pair]:
    return pairs.make(lives, world[0], world[1], count=40, seed=0)


def of(kind: str, made: list[Pair]) -> list[Pair]:
    return [pair for pair in made if pair.kind == kind]


def simulated(pair: Pair) -> tuple[pairs.Side, pairs.Side]:
    """(the simulator's side, the other)."""
    return (pair.A, pair.B) if pair.simulated == "A" else (pair.B, pair.A)


# -- the pairs -----------------------------------------------------------------------------------------------


def test_half_of_either_kind(made):
    assert len(of("moment", made)) == 20
    assert len(of("reason", made)) == 20
    assert [pair.kind for pair in made] != sorted(pair.kind for pair in made)


def test_both_sides_of_a_moment_are_the_same_but_for_one_place(made):
    for pair in of("moment", made):
        assert sorted(pair.A) == sorted(pair.B)
        assert pair.A != pair.B
        kept = [[line for line in side if line.what != "asked"] for side in (pair.A, pair.B)]
        assert kept[0] == kept[1]
        assert [line.what for line in pair.A].count("asked") == 1
        assert all(
            side[-1].what not in ("asked", "says") for side in (pair.A, pair.B)
        )  # a slate follows on either side
        assert all(side.index(next(line for line in side if line.what == "asked")) > 1 for side in (pair.A, pair.B))


def test_both_sides_of_a_reason_are_the_same_but_for_the_reason(made):
    for pair in of("reason", made):
        assert pair.A[:-1] == pair.B[:-1]
        assert pair.A[-1] != pair.B[-1]
        for side in (pair.A, pair.B):
            assert [line.what for line in side[-2:]] == ["asked", "reason"]
            assert side[-1].text.startswith("Because: ")
            assert not AMOUNTS.search(side[-1].text.rpartition("'")[2])  # only the simulator knows amounts


def test_the_users_words_do_not_give_the_reason_away(world, lives):
    env, params = world
    for one in pairs.occasions(jax.tree.map(lambda x: x[:, 0], lives[0])):
        reasons = [pairs.Reason(cause, False) for cause in range(1, 9)]
        pair = pairs._reason_pair(one, reasons, env, params, np.random.default_rng(0))
        now = sessions.at(one.life, one.turn)
        words = [pairs._quoted(sessions.spoken(said, env, one.turn)) for said in (now.said, now.said.replace(cause=0))]
        earlier = [line.text for line in pair.A if line.what == "says"]
        assert not {line.text for line in (*pair.A, *pair.B)} & set(words) - set(earlier)
        assert pair.A[-2].what == "asked"


def test_the_simulated_moment_is_where_it_was_said(world, lives):
    """Against the record: the slate above the marked line is the one after which the user spoke."""
    env, params = world
    for user in range(8):
        life = jax.tree.map(lambda x, user=user: x[:, user], lives[0])
        for one in pairs.occasions(life):
            if not pairs._windows(one):
                continue
            side, other = simulated(pairs._moment_pair(one, env, params, np.random.default_rng(user)))
            spoken = pairs.Line(
                "asked", pairs._quoted(sessions.spoken(sessions.at(life, one.turn).said, env, one.turn))
            )
            block = pairs.tell(life, one.turn, one.turn + 1, {}, env, params)[1:]
            at = side.index(spoken)
            assert side[at - len(block) : at] == block
            assert side.index(spoken) != other.index(spoken)
            assert life.said.intent[one.turn] > 0
            assert one.start <= one.turn < one.stop - 1


def test_the_simulated_reason_is_the_users_own(world, lives):
    env, params = world
    for one in pairs.occasions(jax.tree.map(lambda x: x[:, 3], lives[0])):
        now = sessions.at(one.life, one.turn)
        own = pairs.stated(one)
        assert own == pairs.Reason(int(now.said.cause), bool(now.trace.item[0] >= 0))
        others = [pairs.Reason(cause, False) for cause in range(1, 9)]
        side, other = simulated(pairs._reason_pair(one, others, env, params, np.random.default_rng(1)))
        assert side[-1].text == pairs._why(own.cause, int(now.trace.item[0]), env, params)
        foreign = [pairs._why(cause, -1, env, params) for cause in range(1, 9) if cause not in now.trace.cause]
        assert other[-1].text in foreign


def test_a_random_reason_blames_an_item_that_was_looked_at(world, lives):
    env, params = world
    one = next(pairs.occasions(jax.tree.map(lambda x: x[:, 0], lives[0])))
    now = sessions.at(one.life, one.turn)
    cause = next(cause for cause in range(1, 9) if cause not in now.trace.cause)
    rng = np.random.default_rng(0)
    blamed = {
        simulated(pairs._reason_pair(one, [pairs.Reason(cause, True)], env, params, rng))[1][-1].text for _ in range(40)
    }
    looked = [int(item) for item, actions in zip(now.slate, now.actions, strict=True) if actions & 1]
    assert blamed == {pairs._why(cause, item, env, params) for item in looked}


def test_without_another_reason_there_is_no_pair(world, lives):
    one = next(pairs.occasions(jax.tree.map(lambda x: x[:, 0], lives[0])))
    own = pairs.stated(one)
    assert own is not None
    assert pairs._reason_pair(one, [own, own], world[0], world[1], np.random.default_rng(0)) is None


def test_a_stretch_shows_both_places_and_any_place_can_be_the_right_one(lives):
    places: dict[int, set[int]] = {}
    for batch in lives:
        for user in range(32):
            for one in pairs.occasions(jax.tree.map(lambda x, user=user: x[:, user], batch)):
                for first, last in pairs._windows(one):
                    assert one.start <= first <= one.turn < last - 1
                    assert last <= one.stop
                    assert last - first == min(pairs.WINDOW, one.stop - one.start)
                    places.setdefault(last - first, set()).add(one.turn - first)
    assert places[pairs.WINDOW] == set(range(pairs.WINDOW - 1))


def test_sides_are_drawn_evenly(world, lives):
    drawn = [
        pair.simulated for seed in range(12) for pair in pairs.make(lives, world[0], world[1], count=20, seed=seed)
    ]
    assert 0.4 < np.mean([side == "A" for side in drawn]) < 0.6


def test_the_seed_decides(world, lives, made):
    assert pairs.make(lives, world[0], world[1], count=40, seed=0) == made
    other = pairs.make(lives, world[0], world[1], count=40, seed=1)
    assert pairs.digest(other) != pairs.digest(made)
    assert not {pair.id for pair in other} & {pair.id for pair in made}


def test_no_more_lives_are_watched_than_needed(world, lives):
    taken = []

    def batches() -> Any:
        for batch in lives:
            taken.append(1)
            yield batch

    assert len(pairs.make(batches(), world[0], world[1], count=4, seed=0)) == 4
    assert len(taken) == 1
    few = pairs.make(lives, world[0], world[1], count=500, seed=0)
    assert 40 < len(few) <= 64  # at most one of each of 64 users


def test_the_key_reads_back(made):
    content = json.loads(json.dumps(pairs.to_json(made)))
    assert pairs.from_json(content) == made
    for damage in (
        [],
        None,
        [{}],
        [{**content[0], "kind": "colour"}],
        [{**content[0], "simulated": "C"}],
        [{**content[0], "id": 7}],
        content[:1] * 2,
    ):
        with pytest.raises(ValueError, match="its pairs"):
            pairs.from_json(damage)


# -- the page ------------------------------------------------------------------------------------------------


class Tags(html.parser.HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_asks_every_pair(made):
    tags = Tags(page.page(made)).found
    radios = [tag for name, tag in tags if name == "input" and tag["type"] == "radio"]
    assert [(tag["name"], tag["value"]) for tag in radios] == [
        (pair.id, choice) for pair in made for choice in ("A", "B", "can't tell")
    ]
    assert not any("checked" in tag for tag in radios)
    assert [tag["id"] for name, tag in tags if name == "section"] == [pair.id for pair in made]


def test_the_page_is_blind(made):
    """Swapping which side the key calls simulated changes nothing on the page."""
    swapped = [dataclasses.replace(pair, simulated="AB"["BA".index(pair.simulated)]) for pair in made]
    assert [pair.simulated for pair in swapped] != [pair.simulated for pair in made]
    assert page.page(swapped) == page.page(made)


def test_the_page_needs_no_network(made):
    text = page.page(made)
    assert "://" not in text
    for _, attributes in Tags(text).found:
        assert not {"src", "href", "action", "srcset", "data"} & attributes.keys()
    assert "default-src 'none'" in text


def test_titles_cannot_write_into_the_page(made):
    text = page.page(made)
    assert TITLES[0].startswith("<i>")
    assert "<i>" not in text
    assert "&lt;i&gt;Bold&lt;/i&gt; &amp; loud" in text
    assert not {"\x1b", "\u202e"} & set(text)


# -- answers -------------------------------------------------------------------------------------------------


def pair_of(id: str, kind: str = "moment", simulated: str = "A") -> Pair:
    return Pair(id, kind, (pairs.Line("slate", "Slate 1"),), (pairs.Line("slate", "Slate 1"),), simulated)


IDS = ("x-01", "x-02", "x-03")


def written(folder: pathlib.Path, text: str, name: str = "answers.csv") -> pathlib.Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


@pytest.mark.parametrize(
    "text",
    [
        "person,pair,choice\nAnn,x-01,A\nAnn,x-02,can't tell\n",
        '\ufeffPair;Person;Choice;remark\r\nx-01;Ann;a;\r\n\r\nx-02; Ann ;Can\u2019t tell;"hm; hm"\r\n',
        "person\tpair\tchoice\nAnn\tx-01\tA\nAnn\tx-02\t?\nAnn\tx-03\t\n",
        '{"person": "Ann", "pair": "x-01", "choice": "A"}\n\n{"choice": "can\'t tell", "pair": "x-02", "person": "Ann"}',
        '{"person": "Ann", "pair": "x-01", "choice": "A", "when": 3}\n'
        '{"person": "Ann", "pair": "x-02", "choice": "cannot tell"}\n{"person": "Ann", "pair": "x-03", "choice": null}\n',
    ],
)
def test_files_of_either_form(tmp_path, text):
    found = read([written(tmp_path, text)], IDS)
    assert [(a.person, a.pair, a.choice) for a in found] == [("Ann", "x-01", "A"), ("Ann", "x-02", "can't tell")]


def test_several_people_in_several_files(tmp_path):
    one = written(tmp_path, "person,pair,choice\nAnn,x-01,A\nJo\u0308,x-01,B\n", "one.csv")
    two = written(tmp_path, '{"person": "Bob", "pair": "x-01", "choice": "B"}\n', "two.jsonl")
    assert [(a.person, a.choice) for a in read([one, two], IDS)] == [("Ann", "A"), ("J\u00f6", "B"), ("Bob", "B")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("person,pair,choice\nAnn,x-01,A\nAnn,x-02,B\nAnn,x-01,B\n", "csv, line 4: Ann has answered pair x-01 before, in .*csv, line 2"),
        ("person,pair,choice\nAnn,x-01,A\nAnn,x-01,A\n", "line 3: Ann has answered pair x-01 before"),
        ("person,pair,choice\nAnn,y-01,A\n", "line 2: there is no pair 'y-01'"),
        ("person,pair,choice\nAnn,x-01,C\n", "line 2: 'C' is no choice: write A, B or can't tell"),
        ("person,pair,choice\n ,x-01,A\n", "line 2: the person is missing"),
        ("person,pair,choice\nAnn,x-01\n", "line 2 has 2 columns, not 3"),
        ("person,pair,choice\nAnn,\"x-01,A\n", "line 2 cannot be read"),
        ("Ann,x-01,A\n", "line 1 must name the columns person, pair, choice"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        ('{"person": "Ann", "pair": "x-01", "choice": "A"}\n{"person": "Ann", "pai', "line 2 is no JSON"),
        ('{"person": "Ann"}\n', "line 1 lacks person or pair"),
        ('{"person": "Ann", "pair": 7, "choice": "A"}\n', "line 1: person, pair, choice must be text"),
        ('{"person": "Ann", "pair": "x-01", "choice": "A"}\n[1]\n', "line 2 lacks person or pair"),
        ('{"a":' * 100000, "line 1 is no JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read([written(tmp_path, text)], IDS)


def test_a_second_answer_in_another_file_names_both(tmp_path):
    text = "person,pair,choice\nAnn,x-01,A\n"
    with pytest.raises(DataError, match=r"two.csv, line 2: Ann .* in .*one.csv, line 2: keep one"):
        read([written(tmp_path, text, "one.csv"), written(tmp_path, text, "two.csv")], IDS)


def test_no_text(tmp_path):
    (tmp_path / "answers.csv").write_bytes(b"person,pair,choice\n\xff\xfe,x-01,A\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        read([tmp_path / "answers.csv"], IDS)


# -- what they say -------------------------------------------------------------------------------------------


def given(person: str, choices: str, ids: tuple[str, ...] = IDS) -> list[Answer]:
    """Answers of one person, a letter a pair; "-" is none and "?" can't tell."""
    meant = {"?": "can't tell"}
    letters = zip(ids, choices, strict=True)
    return [Answer(person, pair, meant.get(letter, letter), "") for pair, letter in letters if letter != "-"]


def test_shares_by_hand():
    asked = [pair_of("x-01"), pair_of("x-02", simulated="B"), pair_of("x-03"), pair_of("y-01", kind="reason")]
    found = summarize(asked, [*given("Ann", "ABB"), *given("Bob", "?A-")])
    moment, reason = found
    # Means of the pairs: (1 + 1/2) / 2, (1 + 0) / 2 and 0.
    assert moment.share == pytest.approx((0.75 + 0.5 + 0.0) / 3)
    assert (moment.pairs, moment.people, moment.answers, moment.undecided) == (3, 2, 5, 1)
    assert (moment.low, moment.high) == pytest.approx(
        (0.0911, 0.8358), abs=1e-4
    )  # of 0.41667, n = 3: 0.46346 -+ 0.37238
    assert (reason.pairs, reason.people, reason.answers, reason.measure) == (0, 0, 0, "")
    assert math.isnan(reason.share)
    assert math.isnan(reason.kappa)


def test_two_people_have_cohens_kappa_over_what_both_answered():
    asked = [pair_of(f"x-{i:02d}") for i in range(1, 6)]
    ids = tuple(pair.id for pair in asked)
    (one,) = summarize(asked, [*given("Ann", "AABBA", ids), *given("Bob", "ABBB-", ids)])
    # Four pairs: seen 3/4, by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2.
    assert (one.measure, one.complete, one.kappa) == ("Cohen's kappa", 4, pytest.approx(0.5))
    # Eight answers, 3 A and 5 B: differing 2 / 8, by chance 30 / 56.
    assert one.alpha == pytest.approx(1 - (2 / 8) / (30 / 56))


def test_more_people_have_fleiss_kappa_and_the_right_side_does_not_matter():
    asked = [pair_of("x-01"), pair_of("x-02", simulated="B"), pair_of("x-03")]
    (one,) = summarize(asked, [*given("Ann", "ABA"), *given("Bob", "ABB"), *given("Cem", "ABA")])
    # Seen (1 + 1 + 1/3) / 3, by chance (5/9)^2 + (4/9)^2.
    chance = (5 / 9) ** 2 + (4 / 9) ** 2
    assert (one.measure, one.complete) == ("Fleiss' kappa", 3)
    assert one.kappa == pytest.approx((7 / 9 - chance) / (1 - chance))
    assert one.share == pytest.approx((1 + 1 + 2 / 3) / 3)


def test_missing_answers_are_named():
    asked = [pair_of(f"x-{i:02d}") for i in range(1, 10)]
    answers = [*given("Ann", "AAAAAAAA-", tuple(pair.id for pair in asked)), Answer("Bob", "x-05", "A", "")]
    assert missing(asked, answers) == [
        "Ann has not answered 1 of 9 pairs: x-09.",
        "Bob has not answered 8 of 9 pairs: x-01, x-02, x-03, x-04, x-06 and 3 more.",
    ]
    assert missing(asked[:1], [Answer("Ann", "x-01", "A", "")]) == []


# -- the command ---------------------------------------------------------------------------------------------


def run(*arguments: object, keys: str | None = None) -> Any:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], input=keys)


def refused(result: Any, *words: str) -> None:
    """The command failed with one sentence on stderr, exit status 2 and no traceback."""
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def folder(_registered, tmp_path_factory) -> pathlib.Path:
    """A run with ten pairs."""
    folder = run_folder(tmp_path_factory.mktemp("runs") / "talk", "Talker-v0")
    result = run("annotate", folder, "--pairs", 10, "--seed", 4)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "10 pairs: 5 of a moment, 5 of a reason." in result.output
    assert "keep it from them" in result.output
    return folder


def key_of(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / "annotate" / "key.json").read_text())


def answer_all(folder: pathlib.Path, path: pathlib.Path, person: str, wrong: int = 0) -> pathlib.Path:
    """A file in which a person prefers the simulated side, but for the first `wrong` pairs."""
    lines = ["person,pair,choice"]
    for i, pair in enumerate(key_of(folder)["pairs"]):
        other = {"A": "B", "B": "A"}[pair["simulated"]]
        lines.append(f"{person},{pair['id']},{other if i < wrong else pair['simulated']}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_page_and_key(folder):
    assert {path.name for path in (folder / "annotate").iterdir()} >= {"pairs.html", "key.json"}
    key = key_of(folder)
    assert len(key["pairs"]) == 10
    assert {"world", "agent", "run_seed", "seed", "commit", "versions", "device"} <= key["made"].keys()
    text = (folder / "annotate" / "pairs.html").read_text()
    assert all(f'id="{pair["id"]}"' in text for pair in key["pairs"])
    assert "simulated" not in text


def test_pairs_are_not_replaced_unasked(folder, tmp_path):
    before = (folder / "annotate" / "key.json").read_bytes()
    refused(run("annotate", folder), "holds pairs already", "--ask NAME", "--force")
    assert (folder / "annotate" / "key.json").read_bytes() == before
    again = run("annotate", folder, "--pairs", 10, "--seed", 4, "--out", tmp_path / "again")
    assert again.exit_code == 0
    assert json.loads((tmp_path / "again" / "key.json").read_text())["pairs"] == json.loads(before)["pairs"]
    assert run("annotate", folder, "--pairs", 4, "--seed", 5, "--out", tmp_path / "again", "--force").exit_code == 0
    assert len(json.loads((tmp_path / "again" / "key.json").read_text())["pairs"]) == 4


def test_fewer_pairs_than_asked_for_are_said(folder, tmp_path):
    result = run("annotate", folder, "--pairs", 500, "--out", tmp_path / "many")
    assert result.exit_code == 0
    assert "500 were asked for, but users spoke too seldom for more." in result.output


def test_users_who_never_speak_are_refused(tmp_path):
    silent = run_folder(tmp_path / "silent", "Silent-v0")
    refused(run("annotate", silent), "speaks between two slates", "whose users talk")
    assert not (silent / "annotate").exists()


def test_the_table(folder, tmp_path):
    files = [answer_all(folder, tmp_path / f"{name}.csv", name, wrong) for name, wrong in (("Ann", 0), ("Bob", 2))]
    result = run("annotate", folder, "--answers", *files, "--json", tmp_path / "rows.json")
    assert result.exit_code == 0, (result.output, result.exception)
    assert max(map(len, result.output.splitlines())) <= 80
    text = " ".join(result.output.split())
    assert "Cohen's" in text
    assert "Wilson interval over pairs" in text
    assert "not answered" not in text
    table = json.loads((tmp_path / "rows.json").read_text())
    assert {"benchmark", "commit", "versions", "device", "protocol", "rows"} <= table.keys()
    found = {(row["protocol"], row["metric"]): row for row in table["rows"]}
    kinds = [pair["kind"] for pair in key_of(folder)["pairs"]]
    for kind in ("moment", "reason"):
        row = found[kind, "preferred"]
        assert row["value"] == pytest.approx(1 - kinds[:2].count(kind) / (2 * 5))
        assert row["low"] < row["value"] <= row["high"]
        assert (row["world"], row["agent"], row["against"], row["n_users"]) == ("Coin", "tiny", "chance", 5)
        assert found[kind, "people"]["value"] == 2
        assert found[kind, "cohens_kappa"]["value"] is not None


def test_missing_answers_are_a_note_and_nothing_is_lost(folder, tmp_path):
    whole = answer_all(folder, tmp_path / "ann.csv", "Ann")
    lines = answer_all(folder, tmp_path / "bob.csv", "Bob").read_text().splitlines()
    part = written(tmp_path, "\n".join(lines[:-2]), "part.csv")
    result = run("annotate", folder, "--answers", whole, "--answers", part)
    assert result.exit_code == 0, (result.output, result.exception)
    text = " ".join(result.output.split())
    ids = [pair["id"] for pair in key_of(folder)["pairs"][-2:]]
    assert f"- Bob has not answered 2 of 10 pairs: {', '.join(ids)}." in text
    assert "Krippendorff's alpha over every pair that two or more answered" in text
    assert part.read_text() == "\n".join(lines[:-2])


def test_one_person_has_no_agreement(folder, tmp_path):
    result = run("annotate", folder, "--answers", answer_all(folder, tmp_path / "ann.csv", "Ann"))
    assert "one person answered, so there is no agreement" in " ".join(result.output.split())


def test_bad_answers_are_refused_with_file_and_line(folder, tmp_path):
    whole = answer_all(folder, tmp_path / "ann.csv", "Ann")
    refused(run("annotate", folder, "--answers", whole, whole), "ann.csv, line 2: Ann has answered pair")
    bad = written(tmp_path, "person,pair,choice\nAnn,zz-01,A\n", "bad.csv")
    refused(run("annotate", folder, "--answers", bad), "bad.csv, line 2: there is no pair 'zz-01'")
    none = written(tmp_path, "person,pair,choice\n", "none.csv")
    refused(run("annotate", folder, "--answers", none), "none.csv holds no answers")
    refused(run("annotate", folder, "--answers", tmp_path / "gone.csv"), "No such file", "gone.csv")


def test_options_that_do_not_go_together(folder, tmp_path):
    some = answer_all(folder, tmp_path / "ann.csv", "Ann")
    refused(run("annotate", folder, "--ask", "Ann", "--answers", some), "give one of the two")
    refused(run("annotate", folder, some), "without --answers")
    refused(run("annotate", folder, "--json", tmp_path / "x.json"), "give their files with --answers")
    refused(run("annotate", folder, "--answers", some, "--pairs", 3), "leave out --pairs")
    refused(run("annotate", folder, "--ask", "Ann", "--seed", 3), "leave out --pairs and --seed")
    refused(run("annotate", folder, "--pairs", 0, "--out", tmp_path / "o"), "pairs is 0")
    refused(run("annotate", folder, "--seed", -1, "--out", tmp_path / "o"), "seed is -1")
    refused(run("annotate", folder, "--ask", " "), "needs the name")
    refused(run("annotate", folder, "--answers", some, "--out", tmp_path / "o"), "There are no pairs in")
    refused(run("annotate", folder, "--answers", some, "--json", some), "exists", "--force")
    refused(run("annotate", tmp_path / "none"), "There is no run folder")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"made": {}}', '{"made": {}, "pairs": []}', '{"made": 3, "pairs": [{}]}']
)
def test_a_damaged_key(folder, tmp_path, text):
    some = answer_all(folder, tmp_path / "ann.csv", "Ann")
    (tmp_path / "key.json").write_text(text)
    refused(run("annotate", folder, "--answers", some, "--out", tmp_path), "key.json is damaged")


# -- the terminal --------------------------------------------------------------------------------------------


@pytest.fixture
def asked(folder, tmp_path) -> pathlib.Path:
    """A folder with the pairs and no answers."""
    for name in ("key.json", "pairs.html"):
        (tmp_path / name).write_bytes((folder / "annotate" / name).read_bytes())
    return tmp_path


def test_asking_goes_on_where_it_stopped(folder, asked):
    first = run("annotate", folder, "--out", asked, "--ask", "Ann B.", keys="a\nx\nB\n?\nq\n")
    assert first.exit_code == 0, (first.output, first.exception)
    assert "Pair 1 of 10" in first.output
    assert "Pair 4 of 10" in first.output
    assert "Pair 5 of 10" not in first.output
    assert "3 of 10 pairs are answered" in " ".join(first.output.split())
    assert "simulated" not in first.output
    (path,) = asked.glob("answers-*.jsonl")
    ids = [pair["id"] for pair in key_of(folder)["pairs"]]
    found = [(a.person, a.pair, a.choice) for a in read([path], ids)]
    assert found == [("Ann B.", ids[0], "A"), ("Ann B.", ids[1], "B"), ("Ann B.", ids[2], "can't tell")]
    second = run("annotate", folder, "--out", asked, "--ask", "Ann B.", keys="a\n" * 7)
    assert "Pair 3 of 10" not in second.output
    assert "10 of 10 pairs are answered" in " ".join(second.output.split())
    result = run("annotate", folder, "--out", asked, "--answers", path)
    assert result.exit_code == 0, (result.output, result.exception)


def test_the_end_of_the_input_stops(folder, asked):
    result = run("annotate", folder, "--out", asked, "--ask", "Ann", keys="a\n")
    assert result.exit_code == 0
    assert "1 of 10 pairs are answered" in " ".join(result.output.split())


def test_ctrl_c_keeps_what_was_answered(folder, asked, monkeypatch):
    keys = iter(["a", "b"])

    def choice(console: Any) -> str:
        key = next(keys, None)
        if key is None:
            raise KeyboardInterrupt
        return ask.KEYS[key]

    monkeypatch.setattr(ask, "_choice", choice)
    result = run("annotate", folder, "--out", asked, "--ask", "Ann")
    assert result.exit_code == 130
    assert "2 of 10 pairs are answered. The same command goes on." in result.output
    (path,) = asked.glob("answers-*.jsonl")
    assert len(path.read_text().splitlines()) == 2


def test_a_stop_while_writing_loses_no_line(tmp_path, monkeypatch):
    path = tmp_path / "answers.jsonl"
    ask.append(path, {"person": "Ann", "pair": "x-01", "choice": "A"})
    before = path.read_bytes()

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        ask.append(path, {"person": "Ann", "pair": "x-02", "choice": "B"})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_without_a_last_line_end_is_continued_on_a_new_line(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"person": "Ann", "pair": "x-01", "choice": "A"}')
    ask.append(path, {"person": "Ann", "pair": "x-02", "choice": "B"})
    assert [a.pair for a in read([path], IDS)] == ["x-01", "x-02"]


def test_a_name_is_the_same_however_it_is_typed(folder, asked):
    run("annotate", folder, "--out", asked, "--ask", "Jo\u0308  B", keys="a\n")
    second = run("annotate", folder, "--out", asked, "--ask", " J\u00f6 B", keys="a\n")
    assert "Pair 1 of 10" not in second.output
    assert "2 of 10 pairs are answered" in " ".join(second.output.split())
    assert len(list(asked.glob("answers-*.jsonl"))) == 1


def test_asking_first_makes_the_pairs(folder, tmp_path):
    result = run("annotate", folder, "--out", tmp_path / "new", "--ask", "Ann", "--pairs", 2, keys="a\nb\n")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "2 of 2 pairs are answered" in " ".join(result.output.split())


@pytest.mark.parametrize("columns", [60, 100])
def test_titles_are_shown_as_they_are(folder, asked, monkeypatch, columns):
    """Markup in a title is text, in a narrow terminal and in a wide one."""
    key = key_of(folder)
    key["pairs"][0]["A"][1] = ["skipped", "[red]A title[/red] [/]", "skipped", "[b]music[/b]"]
    (asked / "key.json").write_text(json.dumps(key))
    monkeypatch.setenv("COLUMNS", str(columns))
    result = run("annotate", folder, "--out", asked, "--ask", "Ann", keys="q\n")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "[red]A title[/red]" in result.output


def test_a_user_is_asked_about_once(lives):
    """Pairs of the same user would not be independent."""
    chosen, _ = pairs._choose(lives, {"moment": 12, "reason": 12}, np.random.default_rng(0))
    clocks = [one.life.begun.tobytes() for kind in chosen.values() for one in kind]
    assert len(set(clocks)) == len(clocks) == 24
