"""Worlds of fitted users: those that bear a log's name fit their own, once; what is refused, and with what words."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import small_sets

import jaxreco
from jaxreco import registry
from jaxreco.data import sets
from jaxreco.envs import fitted, learned_movielens
from jaxreco.errors import DataError
from jaxreco.fit import cached, fitting, whole
from jaxreco.testing import check_env

ITEMS, PEOPLE, EVENTS, K = 12, 16, 16, 4
SIZE = {"epochs": 1, "width": 8, "layers": 1, "window": 8}
STATIC = dict(slate_size=K, history_length=8)
SETS = {
    "LearnedMovieLens-v0": "movielens-100k",
    "LearnedLastFM-v0": "lastfm-sequences",
    "LearnedInstruments-v0": "instruments-2018",
    "LearnedNews-v0": "mind",
}


def walked(users: int = PEOPLE, seed: int = 0) -> list[list[int]]:
    return small_sets.walks(ITEMS, users, EVENTS, seed)


def write_news(where: Path) -> Path:
    """A folder like those of MIND: slates of four, one of which was clicked."""
    where.mkdir()
    lines = []
    for user, walk in enumerate(walked(seed=4)):
        for at, item in enumerate(walk):
            shown = [f"N{(item + step) % ITEMS}-{int(step == 0)}" for step in range(K)]
            time = f"11/{9 + at // 8}/2019 {1 + at % 8}:14:46 PM"
            lines.append(f"{len(lines)}\tU{user}\t{time}\t\t{' '.join(shown)}\n")
    (where / "behaviors.tsv").write_text("".join(lines))
    titles = "".join(f"N{i}\tsports\tracing\tTitle {i}\tText\tu\t[]\t[]\n" for i in range(ITEMS))
    (where / "news.tsv").write_text(titles)
    return where


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four sets in miniature."""
    where = small_sets.write(tmp_path_factory.mktemp("worlds"), walked, ITEMS)
    write_news(where / "mind-sample")
    rated = where / "movielens-100k" / "u.data"  # all alike in small_sets
    rows = [line.split("\t") for line in rated.read_text().splitlines()]
    rated.write_text("".join(f"{row[0]}\t{row[1]}\t{1 + at % 5}\t{row[3]}\n" for at, row in enumerate(rows)))
    return where


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache, and fits that take a moment."""
    where = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(where))
        patch.setattr(cached, "SETTINGS", SIZE)
        yield where / "jaxreco" / "users"


def kept(cache: Path, world: str) -> Path:
    """The folder of the user that a world has fitted."""
    return next(cache.glob(f"{SETS[world].split('-')[0]}*"))


@pytest.fixture(scope="module")
def films(data: Path, cache: Path) -> Path:
    """The folder of a user fitted to films."""
    jaxreco.make("LearnedMovieLens-v0", data=data, **STATIC)
    return kept(cache, "LearnedMovieLens-v0")


def same(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("world", SETS)
def test_a_world_of_each_log_is_made(world: str, data: Path, cache: Path) -> None:
    env, params = jaxreco.make(world, data=data, **STATIC)
    assert (env.name, env.n_items, params.user.population.size) == (world, ITEMS, PEOPLE)
    told = {"LearnedMovieLens-v0": {"value"}, "LearnedNews-v0": {"click"}}.get(world, set())
    assert {name for name, source in env.user_model.heads.items() if source == "data"} == told


# Compiling each takes most of a minute; the plainest stands for all in the quick tests.
@pytest.mark.parametrize(
    "world", [world if "LastFM" in world else pytest.param(world, marks=pytest.mark.slow) for world in SETS]
)
def test_a_world_of_each_log_keeps_the_contract(world: str, data: Path, cache: Path) -> None:
    check_env(*jaxreco.make(world, data=data, **STATIC))


def test_a_user_is_fitted_once_and_said_so(
    films: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(whole, "fit", lambda *args: pytest.fail("fitted again"))
    env, params = jaxreco.make("LearnedMovieLens-v0", data=data, **STATIC)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("JAXRECO_DATA", str(data))
    same(jaxreco.make("LearnedMovieLens-v0", **STATIC)[1], params)
    again, given = jaxreco.make("LearnedMovieLens-v0", user_model=films, **STATIC)
    same(given, params)
    assert again == env


def test_another_log_or_other_settings_are_another_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [sets.load(data / name) for name in ("movielens-100k", "lastfm-sequences")]
    names = [cached.name_of(log, seed) for log in logs for seed in (0, 1)]
    monkeypatch.setattr(cached, "SETTINGS", {**SIZE, "epochs": 2})
    names.append(cached.name_of(logs[0], 0))
    assert len(set(names)) == 5
    assert names[0].startswith("movielens-100k-")


@pytest.mark.parametrize("at", ["epoch", "heads"])
def test_ctrl_c_leaves_nothing(at: str, data: Path, tmp_path: Path, cache: Path, monkeypatch: Any, capsys: Any) -> None:
    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(*((fitting, "epoch") if at == "epoch" else (whole.finish, "finish")), stop)
    with pytest.raises(KeyboardInterrupt):
        jaxreco.make("LearnedLastFM-v0", data=data, **STATIC)
    assert list((tmp_path / "jaxreco" / "users").iterdir()) == []
    assert "Fitting a user to Last.fm sequences, once" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_one_sentence(
    data: Path, tmp_path: Path, cache: Path, monkeypatch: Any
) -> None:
    (tmp_path / "jaxreco").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"cannot be kept in .*: set XDG_CACHE_HOME .* --user-model FOLDER"):
        jaxreco.make("LearnedLastFM-v0", data=data, **STATIC)


def test_a_users_model_of_another_log_is_refused(films: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fitted to MovieLens 100K, and LearnedNews-v0 is made from ebnerd or mind"):
        jaxreco.make("LearnedNews-v0", user_model=films)
    less = shutil.copytree(data / "movielens-100k", tmp_path / "less")
    lines = (less / "u.data").read_text().splitlines()
    (less / "u.data").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match=r"fitted to other events than those in .*less: leave out data"):
        jaxreco.make("LearnedMovieLens-v0", user_model=films, data=less)
    jaxreco.make("LearnedMovieLens-v0", user_model=films, data=data / "movielens-100k", **STATIC)


def test_a_world_without_its_log_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAXRECO_DATA", raising=False)
    with pytest.raises(DataError, match="pass data=FOLDER of ebnerd or mind, or set JAXRECO_DATA"):
        jaxreco.make("LearnedNews-v0")
    with pytest.raises(DataError, match="holds movielens-100k, and LearnedNews-v0 is made from ebnerd or mind"):
        jaxreco.make("LearnedNews-v0", data=data / "movielens-100k")
    with pytest.raises(DataError, match="no folder"):
        jaxreco.make("LearnedNews-v0", data=tmp_path / "nowhere")


# -- priors --------------------------------------------------------------------------------------------------------


def test_priors_move_medians_and_leave_people_as_different_as_they_were(feed: Any) -> None:
    _, params = feed
    told = {"seconds": 50.0, "budget_minutes": 7.0, "patience": 1.0, "leave_bias": -3.0}
    found = fitted.with_priors(params, told)
    was, now = params.user.population.traits, found.user.population.traits
    assert np.median(now.budget_minutes) == pytest.approx(7.0)
    np.testing.assert_allclose(np.std(np.log(now.budget_minutes)), np.std(np.log(was.budget_minutes)), rtol=1e-4)
    assert np.median(now.patience) == pytest.approx(1.0)
    np.testing.assert_allclose(np.std(now.patience), np.std(was.patience), rtol=1e-4)
    same(now.habit_hours, was.habit_hours)
    assert np.all(np.asarray(found.catalog.duration) == 50.0)
    assert (float(found.user.usual_seconds), float(found.user.leave_bias)) == (50.0, -3.0)
    assert jax.tree.structure(found) == jax.tree.structure(params)


def test_what_a_world_takes_for_granted_is_in_its_parameters(films: Path, data: Path, cache: Path) -> None:
    _, params = jaxreco.make("LearnedMovieLens-v0", user_model=films, **STATIC)
    assert float(params.user.leave_time) == learned_movielens.DEFAULTS["leave_time"]
    assert np.all(np.asarray(params.catalog.duration) == learned_movielens.DEFAULTS["seconds"])
    _, plain = jaxreco.make("Learned-v0", user_model=films, **STATIC)
    same(plain.user.network, params.user.network)
    same(plain.user.base, params.user.base)
    assert float(plain.user.leave_time) != float(params.user.leave_time)


# -- folders that are none -------------------------------------------------------------------------------------------


def edit(**changes: Any) -> Callable[[Path], None]:
    def change(where: Path) -> None:
        config = json.loads((where / "config.json").read_text())
        (where / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def gone(name: str) -> Callable[[Path], None]:
    return lambda where: (where / name).unlink()


def cut(name: str) -> Callable[[Path], Any]:
    return lambda where: (where / name).write_bytes((where / name).read_bytes()[:200])


def cut_network(where: Path) -> None:
    for path in (where / "model").rglob("*"):
        if path.is_file() and path.name != "meta.json":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


AGAIN = "fit the user model again"


@pytest.mark.parametrize("world", ["Learned-v0", "LearnedMovieLens-v0"])
@pytest.mark.parametrize(
    ("what", "words"),
    [
        (shutil.rmtree, ("holds no user model", "make it with jaxreco fit")),
        (gone("config.json"), ("holds no user model", "make it with jaxreco fit")),
        (edit(user_model="oracle"), ("holds no user model", "make it with jaxreco fit")),
        (edit(format=1), ("has format 1", AGAIN)),
        (cut("config.json"), ("config.json is broken", AGAIN)),
        (lambda where: shutil.rmtree(where / "model"), ("a fit that is not over", "jaxreco fit --resume")),
        (cut_network, ("model is broken", AGAIN)),
        *((gone(name), (f"There is no file .*{name}", AGAIN)) for name in ("world.npz", "people.npz", "heads.npz")),
        *((cut(name), (name, AGAIN)) for name in ("world.npz", "people.npz", "heads.npz", "heads.json")),
    ],
)
def test_a_folder_that_is_no_user_model_is_one_sentence(
    world: str, what: Callable[[Path], None], words: tuple[str, ...], films: Path, tmp_path: Path
) -> None:
    where = shutil.copytree(films, tmp_path / "user")
    what(where)
    with pytest.raises(DataError) as refused:
        jaxreco.make(world, user_model=where)
    said = str(refused.value)
    assert "\n" not in said
    assert said.count(". ") == 0
    for word in (str(where), *words):
        assert re.search(word, said), said


def test_no_folder_at_all_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"make one with jaxreco fit and give its folder, --user-model FOLDER"):
        jaxreco.make("Learned-v0")
    with pytest.raises(DataError, match=f"{tmp_path / 'nowhere'} holds no user model"):
        jaxreco.make("Learned-v0", user_model=tmp_path / "nowhere")


def test_every_world_is_listed_with_its_line() -> None:
    about = registry.about("env")
    assert all(about[world][0].isupper() and "fitted to them" in about[world] for world in SETS)
