"""MovieLens: the loader on files written here, the world on a small made-up set, and both on the real data."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreco
from jaxreco.content import shelves
from jaxreco.data.movielens import Ratings, load
from jaxreco.envs import movielens
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.users import tastes

GENRES = "unknown|0\nAction|1\nComedy|2\n\n"
ITEMS = (
    "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|1\n"
    "2|Amélie (2001)|01-Jan-2001||http://y|0|1|1\n"
    "3|unknown||||1|0|0\n"
    "4|Dated|01-Feb-1987||http://z|0|1|0\n"
)
CSV_MOVIES = (
    "movieId,title,genres\n"
    '12,"American President, The (1995)",Comedy|Drama|Romance\n'
    "5,Amélie (2001),Comedy\n"
    "90,Babylon 5 (1995-1998) ,(no genres listed)\n"
)
CSV_RATINGS = "userId,movieId,rating,timestamp\n7,12,4.5,964982703\n7,90,0.5,964981247\n3,5,5.0,964982224\n"
CSV_TAGS = 'userId,movieId,tag,timestamp\n7,12,funny,1445714994\n3,12,Funny,1445714996\n3,5,"a, b",1445714996\n'
DAT_MOVIES = "1::Toy Story (1995)::Animation|Children's|Comedy\n3::Misérables, Les: Part 2 (1995)::Drama\n"
DAT_RATINGS = "1::3::5::978300760\n2::1::3::978302109\n"


def write(folder: Path, **files: str) -> Path:
    """Files named with `_` for `.`; `.data`, `.item` and `.dat` in latin-1, `.csv` in UTF-8."""
    for name, text in files.items():
        name = name.replace("_", ".", 1)
        (folder / name).write_bytes(text.encode("utf-8" if name.endswith("csv") else "latin-1"))
    return folder


def hundred_k(folder: Path, ratings: str = "10\t2\t5\t881250949\n8\t1\t3\t891717742\n", **files: str) -> Path:
    return write(folder, **{"u_data": ratings, "u_item": ITEMS, "u_genre": GENRES, **files})


def small(folder: Path, **files: str) -> Path:
    return write(folder, **{"ratings_csv": CSV_RATINGS, "movies_csv": CSV_MOVIES, "tags_csv": CSV_TAGS, **files})


def million(folder: Path, **files: str) -> Path:
    return write(folder, **{"ratings_dat": DAT_RATINGS, "movies_dat": DAT_MOVIES, **files})


# -- the three formats --------------------------------------------------------------------------------------


def test_100k(tmp_path):
    ratings = load(hundred_k(tmp_path))
    assert ratings.name == "MovieLens 100K"
    assert ratings.user_ids.tolist() == [8, 10]
    assert ratings.user.tolist() == [1, 0]
    assert ratings.item.tolist() == [1, 0]
    assert ratings.stars.tolist() == [5.0, 3.0]
    assert ratings.time.tolist() == [881250949, 891717742]
    assert ratings.titles[1] == "Amélie (2001)"
    assert ratings.years.tolist() == [1995, 2001, 0, 1987]  # the last from its release date
    assert ratings.genres == (("Comedy",), ("Action", "Comedy"), (), ("Action",))
    assert ratings.genre_names == ("Action", "Comedy")
    assert ratings.tags == ((), (), (), ())


def test_latest_small(tmp_path):
    ratings = load(small(tmp_path))
    assert ratings.name == "MovieLens latest-small"
    assert ratings.titles[0] == "American President, The (1995)"
    assert ratings.item_ids.tolist() == [12, 5, 90]
    assert ratings.item.tolist() == [0, 2, 1]
    assert ratings.user_ids[ratings.user].tolist() == [7, 7, 3]
    assert ratings.stars.tolist() == [4.5, 0.5, 5.0]
    assert ratings.years.tolist() == [1995, 2001, 1995]
    assert ratings.genres == (("Comedy", "Drama", "Romance"), ("Comedy",), ())
    assert ratings.tags == (("funny", "Funny"), ("a, b",), ())


def test_latest_small_without_tags(tmp_path):
    (small(tmp_path) / "tags.csv").unlink()
    assert load(tmp_path).tags == ((), (), ())


def test_1m(tmp_path):
    ratings = load(million(tmp_path))
    assert ratings.name == "MovieLens 1M"
    assert ratings.titles[1] == "Misérables, Les: Part 2 (1995)"
    assert ratings.genres[0] == ("Animation", "Children's", "Comedy")
    assert ratings.item.tolist() == [1, 0]
    assert ratings.time.tolist() == [978300760, 978302109]


def test_arrays_have_the_stated_types(tmp_path):
    ratings = load(small(tmp_path))
    types = {"user": "i4", "item": "i4", "stars": "f4", "time": "i8", "user_ids": "i8", "item_ids": "i8", "years": "i4"}
    assert {name: getattr(ratings, name).dtype.str[1:] for name in types} == types
    assert (ratings.n_users, ratings.n_items) == (2, 3)


def test_line_ends_blank_lines_and_a_missing_last_line_end_are_fine(tmp_path):
    windows = CSV_RATINGS.replace("\n", "\r\n").rstrip() + "\r\n\r\n"
    small(tmp_path, ratings_csv=windows, movies_csv="\ufeff" + CSV_MOVIES.replace("\n", "\r\n").rstrip())
    assert load(tmp_path).stars.tolist() == [4.5, 0.5, 5.0]
    (tmp_path / "ratings.csv").write_text(CSV_RATINGS.rstrip() + "\n \n")
    assert load(tmp_path).stars.tolist() == [4.5, 0.5, 5.0]
    (tmp_path / "ratings.csv").write_text(CSV_RATINGS.rstrip())
    assert load(tmp_path).stars.tolist() == [4.5, 0.5, 5.0]


# -- bad input: one sentence, the thing and the remedy ------------------------------------------------------


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        load(folder)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    assert message.endswith(".")


def test_errors_are_value_errors():
    assert issubclass(DataError, JaxrecoError)
    assert issubclass(JaxrecoError, ValueError)


def test_no_folder(tmp_path):
    refused(tmp_path / "nowhere", "There is no folder", "nowhere", "unpacked")


def test_a_file_for_a_folder(tmp_path):
    refused(hundred_k(tmp_path) / "u.data", "is a file", "give the folder")


def test_empty_folder(tmp_path):
    refused(tmp_path, "is empty", "unpack")


def test_folder_of_another_kind(tmp_path):
    write(tmp_path, behaviors_tsv="x", news_tsv="y")
    refused(tmp_path, "u.data", "ratings.csv", "ratings.dat", "found behaviors.tsv, news.tsv")


@pytest.mark.parametrize(
    ("build", "missing"),
    [(hundred_k, "u.genre"), (hundred_k, "u.item"), (small, "movies.csv"), (million, "movies.dat")],
)
def test_half_a_folder(tmp_path, build, missing):
    (build(tmp_path) / missing).unlink()
    refused(tmp_path, f"no {missing}", "add it")


def test_not_text(tmp_path):
    (small(tmp_path) / "movies.csv").write_bytes(b"movieId,title,genres\n1,\xff\xfe,Drama\n")
    refused(tmp_path, "movies.csv is not utf-8", "download")


GOOD = "10\t2\t5\t881250949\n\n"  # line 2 is blank: numbers are those of the file


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("10\t1\t5\n", ("4 fields", "user, movie, stars, seconds", "'\\t'")),
        ("10\t1\t5\t881250949\t1\n", ("4 fields",)),
        ("10\tone\t5\t881250949\n", ("expected numbers", "one")),
        ("10\t99\t5\t881250949\n", ("movie 99 is not in u.item",)),
        ("10\t1\tnan\t881250949\n", ("stars from 0.5 to 5", "nan")),
        ("10\t1\t6\t881250949\n", ("stars from 0.5 to 5",)),
        ("10\t1\t0\t881250949\n", ("stars from 0.5 to 5",)),
        ("1.5\t1\t5\t881250949\n", ("whole numbers",)),
        ("10\t1\t5\tinf\n", ("whole numbers",)),
        ("-10\t1\t5\t881250949\n", ("whole numbers",)),
    ],
)
def test_broken_line_of_ratings(tmp_path, line, words):
    hundred_k(tmp_path, GOOD + line + "8\t1\t3\t891717742\n")
    refused(tmp_path, "u.data, line 3:", *words, "mend the line or download")


def test_broken_line_of_other_ratings(tmp_path):
    small(tmp_path, ratings_csv=CSV_RATINGS + "3,12,4.0\n3,5,4.0,964982224\n")
    refused(tmp_path, "ratings.csv, line 5:", "4 fields", "','")
    million(tmp_path, ratings_dat=DAT_RATINGS + "2::77::3::978302109\n")
    (tmp_path / "ratings.csv").unlink()
    refused(tmp_path, "ratings.dat, line 3:", "movie 77 is not in movies.dat")


@pytest.mark.parametrize("cut", ["10\t1\t5\t8812509", "10\t1\t5\t", "10\t1", "1"])
def test_truncated_ratings(tmp_path, cut):
    hundred_k(tmp_path, "10\t2\t5\t881250949\n" + cut)
    refused(tmp_path, "u.data ends in the middle of line 2", "truncated", "download it again")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_no_ratings(tmp_path, text):
    hundred_k(tmp_path, text)
    refused(tmp_path, "u.data holds no ratings", "truncated")
    small(tmp_path, ratings_csv="userId,movieId,rating,timestamp\n" + text)
    (tmp_path / "u.data").unlink()
    refused(tmp_path, "ratings.csv holds no ratings")


@pytest.mark.parametrize("name", ["ratings", "movies", "tags"])
def test_no_header(tmp_path, name):
    text = (small(tmp_path) / f"{name}.csv").read_text(encoding="utf-8")
    (tmp_path / f"{name}.csv").write_text(text.partition("\n")[2], encoding="utf-8")
    refused(tmp_path, f"{name}.csv, line 1: expected the header", "Id,")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"movies_csv": CSV_MOVIES + "91,Nine\n92,Ten,Drama\n"}, ("movies.csv, line 5:", "3 fields", "91,Nine")),
        ({"movies_csv": CSV_MOVIES + '91,"Nine,Drama\n92,Ten,Drama\n'}, ("movies.csv, line 5:", "3 fields")),
        ({"movies_csv": CSV_MOVIES + "x,Nine,Drama\n92,Ten,Drama\n"}, ("movies.csv, line 5:", "whole number")),
        ({"movies_csv": CSV_MOVIES + "5,Again,Drama\n"}, ("movies.csv lists movie 5 twice", "remove")),
        ({"movies_csv": CSV_MOVIES + '91,"Nine, '}, ("movies.csv ends in the middle of line 5", "truncated")),
        ({"movies_csv": "movieId,title,genres\n"}, ("movies.csv holds no movies",)),
        ({"tags_csv": CSV_TAGS + "3,99,odd,1\n"}, ("tags.csv, line 5:", "movie 99 is not in movies.csv")),
        ({"tags_csv": CSV_TAGS + "3,5\n3,5,odd,1\n"}, ("tags.csv, line 5:", "4 fields")),
    ],
)
def test_broken_csv(tmp_path, files, words):
    refused(small(tmp_path, **files), *words)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"u_item": ITEMS + "5|Five|||http://x|0|1\n6|Six|||http://y|0|0|1\n"}, ("u.item, line 5:", "8 fields")),
        ({"u_item": ITEMS + "5|Five|||http://x|0|1|7\n"}, ("u.item, line 5:", "flags of 0 or 1")),
        ({"u_item": ITEMS + "5|Five|||ht"}, ("u.item ends in the middle of line 5", "truncated")),
        ({"u_genre": "unknown|0\nAction\n"}, ("u.genre, line 2:", "its number")),
        ({"u_genre": "unknown|0\nAction|2\n"}, ("u.genre must number its genres from 0",)),
    ],
)
def test_broken_100k_files(tmp_path, files, words):
    refused(hundred_k(tmp_path, **files), *words)


def test_broken_1m_movies(tmp_path):
    million(tmp_path, movies_dat=DAT_MOVIES + "4::Four (1990)\n5::Five (1990)::Drama\n")
    refused(tmp_path, "movies.dat, line 3:", "3 fields", "'::'")


# -- the world ----------------------------------------------------------------------------------------------

FILMS, USERS = 60, 80


def made_up(folder: Path, seed: int = 0) -> Path:
    """Three genres of 20 films. The first half of the users like Horror only, the others Romance only.

    Users 76 to 79 rate one film that nobody else rates.
    """
    rng = np.random.default_rng(seed)
    names = ("Horror", "Romance", "Western")
    films = [f"{i + 1},Film {i} ({1970 + i}),{names[i % 3]}|Drama\n" for i in range(FILMS)]
    films.append("1000,Alone,(no genres listed)\n")
    rows = []
    for user in range(USERS):
        mine = 0 if user < USERS // 2 else 1
        if user >= USERS - 4:
            rows.append(f"{user + 1},1000,3.0,{10**9 + user}\n")
            continue
        for order, film in enumerate(rng.choice(FILMS, 24, replace=False)):
            stars = rng.choice([4.5, 5.0]) if film % 3 == mine else rng.choice([0.5, 1.0])
            rows.append(f"{user + 1},{film + 1},{stars},{10**9 + user * 1000 + 200_000 * (order // 4)}\n")
    tags = [f"{u},{f},{tag},1\n" for u, f in ((1, 1), (1, 2), (2, 4), (2, 5), (3, 7)) for tag in ("slow", "Slow")]
    tags += [f"1,{f},in netflix queue,1\n" for f in range(1, 9)]
    return write(
        folder,
        movies_csv="movieId,title,genres\n" + "".join(films),
        ratings_csv="userId,movieId,rating,timestamp\n" + "".join(rows),
        tags_csv="userId,movieId,tag,timestamp\n" + "".join(tags),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_up(tmp_path_factory.mktemp("made-up"))


@pytest.fixture(scope="module")
def world(folder):
    return movielens.make(data=folder, n_factors=6, slate_size=5, history_length=20)


def test_shapes_and_values(world):
    env, params = world
    env.check(params)
    catalog = params.catalog
    assert env.n_items == catalog.n_items == FILMS  # the film with 4 ratings is left out
    assert catalog.embedding.shape == (FILMS, 6)
    assert catalog.tags.shape == (FILMS, shelves.TAGS_PER_ITEM)
    assert params.population.traits.taste.shape == (USERS, tastes.INTERESTS, 6)
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(params))
    # A taste shift may never come: every other number is finite.
    params = params.replace(user=params.user.replace(taste_shift_hours=0.0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(np.linalg.norm(catalog.embedding, axis=1), 1.0, atol=1e-5)
    assert float(catalog.popularity.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(catalog.quality.mean()) == pytest.approx(0.0, abs=1e-5)
    assert catalog.duration.min() >= 3600.0
    assert catalog.duration.max() <= 210 * 60.0
    assert catalog.age.min() >= 0.0
    assert params.user.clickbait.min() >= 0.0


def test_names(world):
    env, params = world
    names, catalog = env.names, params.catalog
    # Drama is on every film, so the other genre says more; years run from 1970 to 2029.
    assert names.categories == ("Horror", "Romance", "Western")
    assert names.titles[0] == "Film 0 (1970)"
    assert names.creators[catalog.creator[0]] == "1970s Horror"
    assert names.creators[catalog.creator[31]] == "2000s Romance"
    assert names.tags == ("Drama", "Horror", "Romance", "Western", "slow")  # genres of any film, then free tags
    first = [names.tags[t] for t in catalog.tags[0] if t >= 0]
    assert first == ["Horror", "Drama", "slow"]
    assert (np.asarray(catalog.tags)[20] >= 0).sum() == 2


def test_tastes_are_fitted_to_the_user(world):
    _, params = world
    taste = np.asarray(params.population.traits.taste)
    embedding = np.asarray(params.catalog.embedding)
    strength = np.linalg.norm(taste, axis=-1)
    assert strength.max() <= 1.0 + 1e-6
    affinity = np.max(np.einsum("pmd,id->pmi", taste, embedding), axis=1)
    genre = np.arange(FILMS) % 3
    horror, romance = affinity[:, genre == 0].mean(axis=1), affinity[:, genre == 1].mean(axis=1)
    assert (horror[: USERS // 2] > romance[: USERS // 2] + 0.2).all()
    fans = slice(USERS // 2, USERS - 4)
    assert (romance[fans] > horror[fans] + 0.2).all()


def test_who_rated_nothing_kept_gets_the_crowds_taste(world):
    _, params = world
    taste = np.asarray(params.population.traits.taste)[-4:]
    np.testing.assert_allclose(np.linalg.norm(taste, axis=-1), 0.5, atol=1e-5)
    assert np.isfinite(np.asarray(params.population.traits.novelty)).all()


def test_interests_find_three_directions():
    rng = np.random.default_rng(0)
    near = np.repeat(np.eye(8)[:3], (10, 6, 3), axis=0) + 0.05 * rng.normal(size=(19, 8))
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    found = tastes.interests(near, np.ones(19))
    length = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(found / length[:, None], np.eye(8)[:3], atol=0.1)
    assert length[0] > length[1] > length[2]  # fewer films, less certain
    one = tastes.interests(np.eye(8)[:1], np.ones(1))
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), [1 / 3, 0.0, 0.0], atol=1e-6)


def test_habit_follows_the_days_of_rating(folder, world):
    _, params = world
    habit = np.asarray(params.population.traits.habit_hours)
    assert habit.min() >= 12.0
    assert habit.max() <= 120.0
    # Everybody with 24 ratings came back every two or three days.
    assert 35.0 < np.median(habit[:-4]) < 65.0


def test_log(world):
    env, _ = world
    log = env.log
    assert (log.n_users, log.n_items) == (USERS, FILMS)
    assert len(log.user) == len(log.item) == len(log.weight) == (USERS - 4) * 24
    assert (np.diff(log.user) >= 0).all()
    assert set(np.unique(log.weight).tolist()) == {1.0, np.float32(0.2)}
    liked = log.weight == 1.0
    genre = log.item % 3
    assert (genre[liked] == (log.user[liked] >= USERS // 2)).all()


def test_a_rebuild_is_equal(folder, world):
    env, params = world
    again, same = movielens.make(data=folder, n_factors=6, slate_size=5, history_length=20)
    assert again == env
    assert hash(again) == hash(env)
    assert jax.tree.structure(params) == jax.tree.structure(same)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(same), strict=True))


def test_the_seed_moves_the_priors_only(folder, world):
    _, params = world
    _, other = movielens.make(data=folder, n_factors=6, slate_size=5, history_length=20, seed=1)
    assert np.array_equal(params.catalog.embedding, other.catalog.embedding)
    assert np.array_equal(params.catalog.duration, other.catalog.duration)
    assert np.array_equal(params.population.traits.taste, other.population.traits.taste)
    assert not np.array_equal(params.population.traits.patience, other.population.traits.patience)


def test_it_runs(world):
    env, params = world
    agent, agent_params = jaxreco.make_agent("random", jax.random.key(0), env, params)
    tally = jaxreco.rollout(jax.random.key(1), env, params, agent, agent_params, users=8, turns=6, tile=8).metrics.total
    assert np.isfinite(np.asarray(tally.reward)).all()
    assert float(tally.examined.sum()) > 0


def test_made_by_name_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("JAXRECO_DATA", str(folder))
    env, _ = jaxreco.make("MovieLens-v0", n_factors=4, action_mode="item")
    assert env.n_items == FILMS
    assert env.slate_size == 1


def test_a_set_inside_the_folder_is_found(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("JAXRECO_DATA", raising=False)
    inside = tmp_path / "movielens-100k"
    inside.mkdir()
    assert movielens.find(tmp_path) == inside
    (tmp_path / "movielens-latest-small").mkdir()
    assert movielens.find(tmp_path) == tmp_path / "movielens-latest-small"
    assert movielens.find(folder) == folder


def test_no_data(monkeypatch):
    monkeypatch.delenv("JAXRECO_DATA", raising=False)
    with pytest.raises(DataError, match=r"pass data=FOLDER of a MovieLens set, or set JAXRECO_DATA"):
        jaxreco.make("MovieLens-v0")


@pytest.mark.parametrize(
    ("static", "words"),
    [
        ({"min_ratings": 0}, "min_ratings is 0"),
        ({"min_ratings": 1000}, "lower min_ratings"),
        ({"n_factors": 0}, "n_factors is 0"),
        ({"n_factors": 64}, "choose less than both"),
        ({"slate_size": 61, "n_factors": 4, "history_length": 61}, "choose 1 to 60"),
    ],
)
def test_impossible_settings(folder, static, words):
    with pytest.raises(ValueError, match=words):
        movielens.make(data=folder, **static)


def test_the_page_lists_every_default_that_differs():
    page = (Path(__file__).parent.parent / "docs" / "worlds" / "movielens.md").read_text(encoding="utf-8")
    table = page.partition("## Defaults that differ")[2].partition("\n## ")[0]
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")
    ]
    assert {row[0]: float(row[1]) for row in rows} == movielens.DEFAULTS


# -- the real data ------------------------------------------------------------------------------------------


def real(name: str) -> Path:
    """The folder of a real set. Skips the test where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    for root in (os.environ.get("JAXRECO_DATA"), beside):
        if root and (Path(root) / name).is_dir():
            return Path(root) / name
    pytest.skip(f"no {name} in JAXRECO_DATA or {beside}")


@pytest.mark.parametrize(
    ("name", "n_ratings", "n_users", "n_items"),
    [("movielens-100k", 90_500, 848, 1_682), ("movielens-latest-small", 100_836, 610, 9_742)],
)
def test_real_data_is_read(name, n_ratings, n_users, n_items):
    ratings = load(real(name))
    assert isinstance(ratings, Ratings)
    assert (len(ratings.user), ratings.n_users, ratings.n_items) == (n_ratings, n_users, n_items)
    assert (ratings.years == 0).mean() < 0.01
    assert ratings.titles[0] == "Toy Story (1995)"


def test_the_real_world_makes_sense():
    env, params = movielens.make(data=real("movielens-latest-small"))
    env.check(params)
    assert env.n_items == 3650
    assert params.population.size == 610
    titles = env.names.titles
    query = titles.index("Spirited Away (Sen to Chihiro no kamikakushi) (2001)")
    embedding = np.asarray(params.catalog.embedding)
    near = [titles[i] for i in np.argsort(-embedding @ embedding[query])[1:6]]
    assert any(title.startswith("Princess Mononoke") for title in near), near
    assert env.names.categories[params.catalog.category[titles.index("Toy Story (1995)")]] == "Animation"
    assert "Drama" in env.names.categories
    assert "IMAX" not in env.names.categories


@dataclasses.dataclass(frozen=True)
class ByTaste:
    """Shows the films nearest to the user's lasting taste that are not in its history."""

    privileged: ClassVar[bool] = True

    def reset(self, agent_params: None) -> None:
        return None

    def act(self, key: Any, agent_params: None, memory: None, obs: Any, catalog: Any, truth: Any) -> Any:
        state, params = truth
        taste = params.population.traits.taste[state.user.row]
        scores = jnp.max(catalog.embedding @ taste.T, axis=-1)
        seen = jnp.zeros(scores.shape, bool).at[obs.history.item].set(True, mode="drop", wrap_negative_indices=False)
        return jax.lax.top_k(jnp.where(seen, scores - 1e6, scores), obs.slate.shape[0])[1], None, None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["movielens-latest-small", "movielens-100k"])
def test_knowing_the_taste_is_worth_the_trouble(name):
    """The world is not solved by a list that is the same for everybody, and evenings look like evenings."""
    env, params = movielens.make(data=real(name))
    agents = {n: jaxreco.make_agent(n, jax.random.key(0), env, params) for n in ("random", "popularity")}
    agents["taste"] = (ByTaste(), None)
    life = {
        n: jaxreco.rollout(jax.random.key(1), env, params, agent, fitted, users=256, turns=250).metrics.life
        for n, (agent, fitted) in agents.items()
    }
    reward = {n: float(tally.reward.mean()) for n, tally in life.items()}
    assert reward["taste"] > 1.6 * max(reward["random"], reward["popularity"]), reward
    chance = life["random"]
    assert 2.0 < float(chance.turns.sum() / chance.sessions.sum()) < 6.0
    assert 5.0 < float(chance.sessions.mean()) < 25.0
