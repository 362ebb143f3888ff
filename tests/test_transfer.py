"""The transfer benchmark: redrawn users, its numbers by hand, and the whole of it in a small world."""

from __future__ import annotations

import dataclasses
import io
import pathlib
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_small_feed
from rich.console import Console

import jaxreco
from jaxreco import registry
from jaxreco.agents import static
from jaxreco.benchmarks import phrasings, retention, transfer, transfer_shown
from jaxreco.benchmarks.matrix import HOME, Matrix
from jaxreco.benchmarks.redrawn import FACTS, MOST, numbers, redraw
from jaxreco.benchmarks.report import Report
from jaxreco.errors import JaxrecoError
from jaxreco.report.standing import Estimate

# -- redrawn users -------------------------------------------------------------------------------------------


def scalars(user: Any) -> dict[str, float]:
    return {name: float(value) for name, value in vars(user).items() if np.ndim(value) == 0 and np.size(value) == 1}


def test_redrawn_users_stay_within_30_per_cent_and_keep_their_shapes(feed: tuple[Any, Any]) -> None:
    _, params = feed
    for number in range(3):
        found = redraw(params, number)
        before, after = scalars(params.user), scalars(found.user)
        moved = {name for name in before if before[name] != after[name]}
        assert set(before) - moved == {name for name in before if name in FACTS}
        for name in moved:
            assert abs(after[name] - before[name]) <= MOST * abs(before[name]) + 1e-6
        for old, new in zip(jax.tree.leaves(params), jax.tree.leaves(found), strict=True):
            assert np.shape(old) == np.shape(new)
            assert jnp.asarray(old).dtype == jnp.asarray(new).dtype


def test_traits_are_moved_by_one_factor_a_column_and_tastes_are_not(feed: tuple[Any, Any]) -> None:
    traits = feed[1].population.traits
    found = redraw(feed[1], 0).population.traits
    names = numbers(traits)
    assert set(names) >= {"patience", "budget_minutes", "trust", "rho", "gullibility"}
    for name in (name for name in names if name not in ("trust", "rho")):
        ratio = np.asarray(getattr(found, name)) / np.asarray(getattr(traits, name))
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
        assert 0.7 <= ratio[0] <= 1.3
    assert float(found.trust.max()) <= 1.0
    for name in ("taste", "peers", "wishes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(traits, name))


def test_redrawing_compiles_nothing_anew_and_depends_on_the_number_alone(feed: tuple[Any, Any]) -> None:
    traced = []

    @jax.jit
    def read(params: Any) -> Any:
        traced.append(1)
        return params.user.leave_bias + params.population.traits.patience[0]

    found = [float(read(redraw(feed[1], number))) for number in (0, 1, 0)]
    assert found[0] == found[2] != found[1]
    read(feed[1])
    assert len(traced) == 1


# -- by hand -------------------------------------------------------------------------------------------------

AGENTS = ("random", "popularity", "linucb", "ppo", "oracle_greedy")


def matrix(*worlds: tuple[str, tuple[float, ...]], users: int = 5, spread: float = 0.0, seeds: int = 1) -> Matrix:
    """Each agent's reward, the same for all users unless spread."""
    noise = spread * np.linspace(-1.0, 1.0, users)
    reward = np.array([[[np.array(mean) + noise] * seeds for mean in means] for _, means in worlds])
    return Matrix(tuple(kind for kind, _ in worlds), AGENTS, reward, learners=("ppo",))


def test_kept_and_dropped_are_of_each_worlds_own_scale() -> None:
    # At home 2 is the zero and 10 the one; elsewhere the scales are 4 to 8, 1 to 5 and 0 to 1.
    found = matrix(
        (HOME, (1, 2, 4, 6, 10)), ("redrawn", (4, 3, 5, 5, 8)), ("redrawn", (0, 1, 3, 4, 5)), ("mnl", (0, 0, 0, -1, 1))
    )
    assert found.score(HOME)["ppo"].value == pytest.approx(0.5)
    assert found.score("redrawn")["ppo"].value == pytest.approx((0.25 + 0.75) / 2)
    assert found.kept("redrawn")["ppo"].value == pytest.approx(1.0)
    assert found.kept("mnl")["ppo"].value == pytest.approx(-2.0)
    assert found.kept("redrawn")["linucb"].value == pytest.approx((0.25 + 0.5) / 2 / 0.25)
    assert found.drop("mnl")["ppo"].value == pytest.approx(1.5)
    assert "random" not in found.kept("mnl")  # what is below zero at home has nothing to keep
    assert found.in_world(1)["ppo"].value == pytest.approx(0.25)
    low, high = found.kept("redrawn")["ppo"].low, found.kept("redrawn")["ppo"].high
    assert (low, high) == pytest.approx((0.5, 1.5))  # both worlds are the one or the other


def test_over_seeds_the_interval_is_student_s() -> None:
    found = matrix((HOME, (0, 0, 0, 5, 10)), ("mnl", (0, 0, 0, 5, 10)), seeds=3)
    found.reward[1, 3] += np.array([-1.0, 0.0, 1.0])[:, None]
    kept = found.kept("mnl")["ppo"]
    assert kept.value == pytest.approx(1.0)
    assert kept.high - kept.value == pytest.approx(4.303 * 0.2 / np.sqrt(3.0), rel=1e-3)


def test_tau_by_hand() -> None:
    """Four agents are six pairs; the oracle is none of them."""
    found = matrix(
        (HOME, (1, 2, 3, 4, 9)), ("swap", (2, 1, 3, 4, 9)), ("turned", (4, 3, 2, 1, 9)), ("turned", (1, 2, 3, 4, 0.5))
    )
    assert found.tau("swap").value == pytest.approx((5 - 1) / 6)
    assert found.taus("turned").tolist() == pytest.approx([-1.0, 1.0])
    assert found.tau("turned").value == pytest.approx(0.0)


def test_who_wins_at_home_only_is_overfit_and_never_best() -> None:
    home = (HOME, (1, 2, 4, 9, 10))
    found = matrix(home, ("redrawn", (1, 2, 4, 9, 10)), ("mnl", (1, 2, 4, 3, 10)))
    assert found.overfit("ppo") == ("mnl",)  # ahead of popularity there, not of linucb
    assert found.overfit("linucb") == ()
    assert found.scores(found.reward.mean(axis=(2, 3)))[:, 3].mean() > 0.5
    assert found.best() == "linucb"
    assert matrix(home, ("mnl", (1, 2, 4, 5, 10))).best() == "ppo"
    assert matrix((HOME, (1, 2, 2, 2, 10)), ("mnl", (1, 2, 4, 4, 10))).best() is None  # nobody is ahead at home
    assert (
        matrix((HOME, (1, 2, 2, 2, 10)), ("mnl", (1, 2, 1, 1, 10))).overfit("ppo") == ()
    )  # nor does anybody win there only


def test_ahead_asks_for_an_interval_that_excludes_0_and_takes_worlds_of_a_kind_together() -> None:
    found = matrix((HOME, (0, 1, 0, 3, 9)), ("redrawn", (0, 1, 0, 3, 9)), ("redrawn", (0, 4, 0, 3, 9)))
    assert found.ahead("ppo", "redrawn") == Estimate(0.5, 0.5, 0.5)  # 2 more than popularity, and 1 less
    found.reward[1:, 3, 0] += np.array([-40.0, 40.0, 0.0, 5.0, -5.0])
    assert found.ahead("ppo", "redrawn").verdict == "not told apart"
    assert found.overfit("ppo") == ("redrawn",)


def test_an_overfit_agent_is_marked_in_table_rows_and_notes() -> None:
    found = matrix((HOME, (1, 2, 4, 9, 10)), ("mnl", (1, 2, 4, 3, 10)))
    metrics = dict.fromkeys(("reward", "sessions_30d", "clickbait", "trust", "d7"), np.full((1, 5), 0.5))
    home: Any = SimpleNamespace(id="Small-v0", data=None, users=5, seeds=1)
    report = Report("transfer", "", "quick", 0.0)
    transfer_shown.add(report, home, found, [dict.fromkeys(AGENTS, metrics)] * 2, {})
    console = Console(width=80, record=True, file=io.StringIO())
    report.show(console)
    text = console.export_text()
    marked = [line for line in text.splitlines() if line.rstrip().endswith("overfit")]
    assert [line.split()[0] for line in marked] == ["ppo"]
    assert "not overfit: linucb" in " ".join(text.split())
    assert "changes nothing" not in text
    twice = matrix((HOME, (1, 2, 4, 9, 10)), ("shift", (1, 2, 4, 9, 10)))
    assert any("shift changes nothing" in note for note in transfer_shown._found(twice, "Small-v0", {}))
    flags = {(row.agent, row.protocol): row.value for row in report.rows if row.metric == "overfit"}
    assert flags == {("ppo", HOME): 1.0, ("ppo", "mnl"): 1.0, ("linucb", HOME): 0.0, ("linucb", "mnl"): 0.0}
    assert [row.value for row in report.rows if row.protocol == "llm"] == [None, None]


def test_clickbait_and_trust_are_those_of_first_episodes() -> None:
    """Two lanes repeat user 1; user 2 lives its second life."""
    watched = transfer.Watched(3, jnp.array([0.0, 0.5, 0.0, 1.0]))
    lanes: Any = SimpleNamespace(user=jnp.array([0, 1, 1, 2]), finished=jnp.array([False, False, False, True]))
    for trust in (0.3, 0.6):
        info = {
            "feedback": SimpleNamespace(slate=jnp.array([[1, 3], [0, 1], [0, 1], [3, 3]])),
            "mind": {"trust": jnp.array([trust, 0.2, 0.2, 0.9])},
        }
        watched(lanes, lanes, info)
    share = np.asarray(watched.seen.bait) / np.maximum(np.asarray(watched.seen.slots), 1.0)
    np.testing.assert_allclose(share, [1.0, 0.5, 0.0])
    np.testing.assert_allclose(watched.seen.trust, [0.6, 0.2, np.nan], rtol=1e-6)


# -- the whole -----------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world of four days that compiles soon, and two redrawn ones."""

    monkeypatch.setitem(registry._ENVS, "Small-v0", make_small_feed)
    monkeypatch.setattr(retention, "HORIZON_H", 96.0)
    monkeypatch.setattr(transfer, "WORLDS", 2)
    monkeypatch.setattr(transfer, "SHIFT_HOURS", 24.0)
    monkeypatch.setattr(static, "SAMPLE", 16)
    monkeypatch.setattr(static, "TRIAL_TURNS", 8)


def test_places(small: None) -> None:
    home = retention.world_of("Small-v0", None, None, {"users": 4, "seeds": 1, "updates": 1})
    places = transfer.places_of(home, transfer.VARIANTS)
    assert [place.kind for place in places] == [HOME, "redrawn", "redrawn", "mnl", "shift"]
    assert [place.env.user_model.choice for place in places] == ["cascade"] * 3 + ["mnl", "cascade"]
    assert [float(place.params.horizon_hours) for place in places] == [96.0] * 5
    assert float(places[-1].params.user.taste_shift_hours) == 24.0


def test_two_user_models_of_a_log_are_each_others_elsewhere(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders stand for worlds of 60 items; `smaller` is of another log."""
    size, made = {"users": 4, "seeds": 1, "updates": 1}, retention.world_of

    def world_of(name: str, data: Any, runs: Any, size: Any, user_model: pathlib.Path | None = None) -> Any:
        world = made(name, data, runs, size)
        env = dataclasses.replace(world.env, n_items=59) if str(user_model) == "smaller" else world.env
        params = world.params.replace(horizon_hours=float(len(str(user_model or ""))))
        return dataclasses.replace(world, env=env, params=params)

    monkeypatch.setattr(retention, "world_of", world_of)
    for given, hours in (("one,another", (3.0, 7.0)), ("another", (0.0, 7.0))):
        homes = list(transfer._homes("Small-v0", None, None, size, ("shift",), pathlib.Path(given)))
        assert [home.id for home, _ in homes] == ["Small-v0, Mindset"] * 2
        assert [[place.kind for place in places] for _, places in homes] == [[HOME, "shift", "other"]] * 2
        found = [[float(places[at].params.horizon_hours) for at in (0, 1, 2)] for _, places in homes]
        assert found == [[hours[0], hours[0], hours[1]], [hours[1], hours[1], hours[0]]]
    with pytest.raises(JaxrecoError, match="smaller is of 59 items and that of home of 60"):
        list(transfer._homes("Small-v0", None, None, size, (), pathlib.Path("smaller")))
    with pytest.raises(JaxrecoError, match="names 3 user models"):
        list(transfer._homes("Small-v0", None, None, size, (), pathlib.Path("a,b,c")))


def test_agents_in_other_worlds(small: None, tmp_path: pathlib.Path) -> None:
    said: list[str] = []
    report = transfer.run(
        env="Small-v0", agents="linucb", worlds="redrawn,shift", users=12, plot=tmp_path / "found.png", say=said.append,
        user_model=tmp_path,
    )  # fmt: skip
    assert any("is not used: Small-v0 is no world of fitted users" in note for note in report.notes)
    rows = {(row.agent, row.metric, row.protocol, row.against): row for row in report.rows}
    for kind in (HOME, "redrawn", "shift"):
        assert rows["oracle_greedy", "score", kind, None].value == 1.0
        assert np.isfinite(rows["linucb", "score", kind, None].value)
        for name in ("random", "popularity", "static", "linucb", "oracle_greedy"):
            assert 0.0 < rows[name, "trust", kind, None].value < 1.0
            assert 0.0 <= rows[name, "clickbait", kind, None].value <= 1.0
    zero = max(rows[name, "score", HOME, None].value or 0.0 for name in ("random", "popularity", "static"))
    assert zero == 0.0
    drop = rows["linucb", "drop", "redrawn", HOME]
    away = np.mean([rows["linucb", "score", f"redrawn/{i}", None].value for i in (1, 2)])
    assert drop.value == pytest.approx(rows["linucb", "score", HOME, None].value - away)
    assert -1.0 <= rows[None, "tau", "redrawn", HOME].value <= 1.0
    assert rows["linucb", "score", "llm", None].value is None
    assert len(report.to_json()["rows"]) == len(report.rows) == len(rows)
    assert (tmp_path / "found.png").stat().st_size > 1000
    assert any("world 4 of 4 (shift), linucb" in text for text in said)


def test_unknown_agents_worlds_and_variants_are_refused(small: None) -> None:
    with pytest.raises(ValueError, match=r"no row for 'ppoo'.*ppo"):
        transfer.run(agents="ppoo")
    with pytest.raises(ValueError, match=r"no variant 'mln'. Did you mean mnl\?"):
        transfer.run(worlds="mln")
    with pytest.raises(ValueError, match=r"no world 'Smal-v0'.*Small-v0"):
        transfer.run(env="Smal-v0")


def test_users_without_a_mind_have_no_scale(monkeypatch: pytest.MonkeyPatch, coin: tuple[Any, Any]) -> None:
    monkeypatch.setitem(registry._ENVS, "Coins-v0", lambda **statics: coin)
    with pytest.raises(JaxrecoError, match="no mind that can be read"):
        transfer.run(env="Coins-v0", agents="linucb")


# -- phrasings -----------------------------------------------------------------------------------------------


def test_texts_come_back_as_they_were_meant_or_as_silence(feed: tuple[Any, Any]) -> None:
    env, params = feed
    wish = jaxreco.talk.parser.understand("a lot more music", env.names, params.catalog)[0].instruction
    texts = phrasings.Texts(env.names, params.catalog)
    meant = (int(wish.intent), int(wish.target_kind), int(wish.target))
    assert all(texts.heard(wish)[:3] == meant for _ in range(24))
    assert (texts.said, texts.right) == (24, 24)
    assert texts.read("mehr Musik bitte") == phrasings.SILENCE
    deaf = phrasings.Texts(env.names, params.catalog, refused=1.0)
    assert deaf.heard(wish) == phrasings.SILENCE
    assert (deaf.said, deaf.right) == (1, 0)


def test_what_text_keeps_by_hand() -> None:
    """40 requests for more: by tokens 30 are followed and by text 20; a quarter is by chance. Another intent is scored by one only."""

    rng = np.random.default_rng(0)

    def cases(followed: int, others: int) -> Any:
        intent = np.array([1] * 40 + [2] * others)
        now = np.concatenate([rng.permutation([1.0] * followed + [0.0] * (40 - followed)), np.ones(others)])
        user = np.concatenate([np.arange(40) % 10, np.arange(others) % 10])
        none = np.full(len(now), np.nan)
        return phrasings.following.Cases(intent, user, now, none, none, np.full(len(now), 0.25), none)

    tokens, text, share = phrasings.kept(cases(30, 30), cases(20, 5))
    assert tokens.value == pytest.approx((0.75 - 0.25) / 0.75)
    assert text.value == pytest.approx((0.5 - 0.25) / 0.75)
    assert share.value == pytest.approx(0.5)
    assert share.low < 0.5 < share.high
    few = phrasings.following.Cases(*(column[:5] for column in vars(cases(5, 0)).values()))
    assert np.isnan(phrasings.kept(cases(30, 0), few)[2].value)


def test_an_agent_follows_what_it_is_told_by_text(feed: tuple[Any, Any]) -> None:
    env, params = feed
    agent = jaxreco.make_agent("obedient", jax.random.key(0), env, params)
    heard = phrasings.lives(0, env, params, *agent, users=32, turns=24)
    shares = transfer_shown._followed_of_all([heard])
    assert shares["by tokens"] == shares["by text"] == pytest.approx(heard.text.now.mean())
    assert heard.said == heard.right > 50
    np.testing.assert_array_equal(heard.tokens.now, heard.text.now)  # every text was understood
    assert heard.tokens.now.mean() > heard.tokens.random.mean() + 0.2
    assert heard.strangers.now.mean() < heard.text.now.mean()
