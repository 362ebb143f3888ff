"""MovieLens ratings in their original formats: 100K, latest-small and 1M. Host side, NumPy only.

Harper & Konstan 2015, "The MovieLens datasets: history and context". The files of other years come in one of the
three formats too (25M and latest are like latest-small, 10M is like 1M) and are read the same way.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError

LOWEST, HIGHEST = 0.5, 5.0  # stars
FIELDS = ("user", "movie", "stars", "seconds")
AGAIN = "mend the line or download the file again"


@dataclasses.dataclass(frozen=True, eq=False)
class Ratings:
    """Who gave which film how many stars, and what the files say of the films. `N` ratings, `U` users, `I` films.

    Films are those of the movie file, in its order, rated or not. Users are those who rated, by ascending id.
    """

    name: str  # of the format
    user: np.ndarray  # i32[N] in [0, U)
    item: np.ndarray  # i32[N] in [0, I)
    stars: np.ndarray  # f32[N] in [0.5, 5]
    time: np.ndarray  # i64[N], seconds since 1970 (UTC)
    user_ids: np.ndarray  # i64[U], the ids in the files
    item_ids: np.ndarray  # i64[I]
    titles: tuple[str, ...]  # [I], as written, with the year
    years: np.ndarray  # i32[I], 0 where unknown
    genres: tuple[tuple[str, ...], ...]  # [I], empty where none is listed
    genre_names: tuple[str, ...]  # every genre that a film has, in alphabetical order
    tags: tuple[tuple[str, ...], ...]  # [I], free tags as written, once for each user who gave it; may be empty

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.item_ids)


class Format(NamedTuple):
    """What tells one kind of MovieLens set from another."""

    name: str
    ratings: str  # file names
    movies: str
    genres: str | None
    delimiter: str
    encoding: str
    header: bool


class Movie(NamedTuple):
    """One line of a movie file."""

    id: int
    title: str
    year: int
    genres: tuple[str, ...]


FORMATS = (
    Format("MovieLens 100K", "u.data", "u.item", "u.genre", "\t", "latin-1", False),
    Format("MovieLens latest-small", "ratings.csv", "movies.csv", None, ",", "utf-8-sig", True),
    Format("MovieLens 1M", "ratings.dat", "movies.dat", None, "::", "latin-1", False),
)
TAGS = "tags.csv"
NO_GENRE = ("unknown", "(no genres listed)")


def load(folder: str | PathLike[str]) -> Ratings:
    """Read a folder that holds one MovieLens set; which kind it is, the file names tell.

    Args:
      folder: with `u.data`, `u.item`, `u.genre` (100K), or `ratings.csv`, `movies.csv` and perhaps `tags.csv`
        (latest-small), or `ratings.dat`, `movies.dat` (1M).

    Raises DataError (a ValueError) with one sentence, the thing and the remedy: the folder is missing, empty or of
    another kind; a file cannot be decoded, is empty or is cut off; a line is broken, names a film that is not in the
    movie file, or has stars outside 0.5 to 5 (file and line).
    """
    folder = Path(folder).expanduser()
    kind = detect(folder)
    movies = _movies(folder, kind)
    known = np.array([movie.id for movie in movies], np.int64)
    order = np.argsort(known, kind="stable")
    table = _table(folder, kind, known[order])
    user_ids, user = np.unique(table[:, 0].astype(np.int64), return_inverse=True)
    item = order[np.searchsorted(known[order], table[:, 1].astype(np.int64))]
    return Ratings(
        name=kind.name,
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        stars=table[:, 2].astype(np.float32),
        time=table[:, 3].astype(np.int64),
        user_ids=user_ids,
        item_ids=known,
        titles=tuple(movie.title for movie in movies),
        years=np.array([movie.year for movie in movies], np.int32),
        genres=tuple(movie.genres for movie in movies),
        genre_names=tuple(sorted({genre for movie in movies for genre in movie.genres})),
        tags=_tags(folder / TAGS, known) if kind.header else ((),) * len(movies),
    )


def log(folder: str | PathLike[str]) -> Log:
    """The ratings as a log: `value` is stars, items have genres and free tags. Raises DataError as `load` does."""
    r = load(folder)
    items = Items(ids=r.item_ids, titles=r.titles, categories=r.genres, tags=r.tags)
    return Log.of(
        r.name, r.user, r.item, items, r.user_ids, time=r.time.astype(np.float64), value=r.stars, value_unit="stars"
    )


def detect(folder: str | PathLike[str]) -> Format:
    """Which kind of MovieLens set a folder holds.

    Raises DataError when the folder is missing, empty, of another kind, or has only some of a kind's files.
    """
    folder = Path(folder).expanduser()
    if not folder.exists():
        raise DataError(f"There is no folder {folder}: give the folder of an unpacked MovieLens set.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file: give the folder that holds an unpacked MovieLens set.")
    found = sorted(path.name for path in folder.iterdir())
    if not found:
        raise DataError(f"{folder} is empty: unpack a MovieLens set (100K, latest-small or 1M) into it.")
    for kind in FORMATS:
        wanted = [name for name in (kind.ratings, kind.movies, kind.genres) if name]
        missing = [name for name in wanted if name not in found]
        if not missing:
            return kind
        if kind.ratings in found:
            raise DataError(f"{folder} has {kind.ratings} of {kind.name} but no {' and no '.join(missing)}: add it.")
    expected = ", or ".join(
        f"{' and '.join(name for name in (kind.ratings, kind.movies, kind.genres) if name)} ({kind.name})"
        for kind in FORMATS
    )
    listed = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    raise DataError(f"{folder} holds no MovieLens set: expected {expected}; found {listed}.")


# -- ratings ------------------------------------------------------------------------------------------------


def _table(folder: Path, kind: Format, known: np.ndarray) -> np.ndarray:
    """f64[N, 4]: user, movie, stars, seconds. `known` i64[I] are the movie ids, ascending.

    NumPy's parser reads a million lines in a second but says little of what is wrong: whenever anything is, the
    lines are read again one by one, to name the first bad one.
    """
    path = folder / kind.ratings
    text = _text(path, kind.encoding)
    header = 0
    if kind.header:
        _check_header(path, text, "userId,movieId,rating,timestamp")
        header = 1
    # `::` is two characters, which the parser does not take; no field holds a single colon.
    plain, delimiter = (text.replace("::", ":"), ":") if kind.delimiter == "::" else (text, kind.delimiter)
    table = np.empty((0, 0))
    if (text.partition("\n")[2] if header else text).strip():  # an empty table would be a warning
        quote = '"' if kind.header else None
        try:
            table = np.loadtxt(
                io.StringIO(plain), delimiter=delimiter, skiprows=header, comments=None, quotechar=quote, ndmin=2
            )
        except ValueError:
            table = np.empty((0, 0))
    if table.shape[1] != len(FIELDS) or not _sane(table, known) or _is_cut(text, kind.delimiter):
        table = np.array(list(_slowly(path, text, kind, header, known)), np.float64)
    if not len(table):
        raise DataError(f"{path} holds no ratings: it is truncated, download it again.")
    return table


def _sane(table: np.ndarray, known: np.ndarray) -> bool:
    """Whether every row of f64[N, 4] can be true."""
    whole = table[:, (0, 1, 3)]
    stars = table[:, 2]
    return bool(
        np.isfinite(table).all()
        and (whole == np.floor(whole)).all()
        and (whole >= 0).all()
        and ((stars >= LOWEST) & (stars <= HIGHEST)).all()
        and np.isin(table[:, 1], known).all()
    )


def _is_cut(text: str, delimiter: str) -> bool:
    """Whether the text stops in the middle of its last line: no line end, and less in it than in the line before.

    A cut inside the last field leaves a valid line; only its shorter time gives it away.
    """
    if text.endswith("\n"):
        return False
    *_, before, last = ["", *text.rsplit("\n", 2)]
    old, new = before.split(delimiter), last.split(delimiter)
    return len(new) < len(FIELDS) or (len(old) == len(new) and len(new[-1]) < len(old[-1]))


def _slowly(path: Path, text: str, kind: Format, header: int, known: np.ndarray) -> Iterator[list[float]]:
    """The rows one by one. Raises DataError at the first line that cannot be read."""
    movies = set(known.tolist())
    lines = text.split("\n")
    cut = _is_cut(text, kind.delimiter)
    for number, line in enumerate(lines, start=1):
        if number <= header or not line.strip():
            continue
        if cut and number == len(lines):
            raise _truncated(path, number, line)
        fields = next(csv.reader([line])) if kind.header else line.split(kind.delimiter)
        problem, row = _row(fields, kind, movies)
        if problem:
            raise DataError(f"{path}, line {number}: {problem}; found {_short(line)}: {AGAIN}.")
        yield row


def _row(fields: list[str], kind: Format, movies: set[int]) -> tuple[str, list[float]]:
    """What is wrong with a line ("" for nothing), and its four numbers."""
    if len(fields) != len(FIELDS):
        return f"expected {len(FIELDS)} fields ({', '.join(FIELDS)}) separated by {kind.delimiter!r}", []
    try:
        row = [float(field) for field in fields]
    except ValueError:
        return f"expected numbers ({', '.join(FIELDS)})", []
    user, movie, stars, seconds = row
    if not LOWEST <= stars <= HIGHEST:  # false for NaN too
        return f"expected stars from {LOWEST} to {HIGHEST:g}", row
    if not all(math.isfinite(x) and x >= 0 and x == math.floor(x) for x in (user, movie, seconds)):
        return "expected whole numbers for user, movie and seconds", row
    if int(movie) not in movies:
        return f"movie {int(movie)} is not in {kind.movies}", row
    return "", row


# -- movies -------------------------------------------------------------------------------------------------


def _movies(folder: Path, kind: Format) -> list[Movie]:
    """The films of the movie file, in its order. Raises DataError for a line that cannot be read, or none at all."""
    path = folder / kind.movies
    text = _text(path, kind.encoding)
    if kind.genres:
        names = _genre_names(folder / kind.genres, kind.encoding)
        rows: Iterable[Movie] = _item_lines(path, text, names)
    else:
        rows = _movie_lines(path, text, kind)
    movies, seen = [], set()
    for movie in rows:
        if movie.id in seen:
            raise DataError(f"{path} lists movie {movie.id} twice: remove one of the lines.")
        seen.add(movie.id)
        movies.append(movie)
    if not movies:
        raise DataError(f"{path} holds no movies: it is truncated, download it again.")
    return movies


def _movie_lines(path: Path, text: str, kind: Format) -> Iterator[Movie]:
    """Lines `id, title, genres`, separated by commas (quoted, with a header) or by `::`."""
    expected = f"3 fields (movie, title, genres) separated by {kind.delimiter!r}"
    if kind.header:
        _check_header(path, text, "movieId,title,genres")
    lines = _csv_lines(path, text, expected) if kind.header else _plain_lines(text, kind.delimiter)
    for number, fields in lines:
        if len(fields) != 3:
            raise _broken(path, text, number, expected, kind.delimiter.join(fields))
        id = _movie_id(path, text, number, expected, fields)
        title = fields[1].strip()
        genres = tuple(genre for genre in fields[2].strip().split("|") if genre and genre not in NO_GENRE)
        yield Movie(id, title, _year(title), genres)


def _item_lines(path: Path, text: str, names: list[str]) -> Iterator[Movie]:
    """Lines of u.item: id, title, release date, video date, address, and a 0 or 1 for each genre, separated by `|`."""
    expected = f"{5 + len(names)} fields (movie, title, two dates, address, {len(names)} flags of 0 or 1)"
    for number, fields in _plain_lines(text, "|"):
        flags = fields[5:]
        if len(flags) != len(names) or not set(flags) <= {"0", "1"}:
            raise _broken(path, text, number, expected, "|".join(fields))
        id = _movie_id(path, text, number, expected, fields)
        genres = tuple(n for n, flag in zip(names, flags, strict=True) if flag == "1" and n not in NO_GENRE)
        yield Movie(id, fields[1].strip(), _year(fields[1]) or _year(f"({fields[2][-4:]})"), genres)


def _genre_names(path: Path, encoding: str) -> list[str]:
    """The genres of u.genre by their number. Raises DataError for a broken line or a number left out."""
    text = _text(path, encoding)
    names = {}
    for number, fields in _plain_lines(text, "|"):
        if len(fields) != 2 or not fields[1].isdigit():
            raise _broken(path, text, number, "a genre and its number separated by '|'", "|".join(fields))
        names[int(fields[1])] = fields[0]
    if not names or sorted(names) != list(range(len(names))):
        raise DataError(f"{path} must number its genres from 0 without a gap: download the file again.")
    return [names[i] for i in range(len(names))]


def _year(title: str) -> int:
    """The year in brackets at the end of a title, 0 where there is none; of a span (1995-1998) the first."""
    found = re.search(r"\((\d{4})(?:\s*[-–]\s*\d{0,4})?\)\s*$", title)
    return int(found.group(1)) if found else 0


def _tags(path: Path, known: np.ndarray) -> tuple[tuple[str, ...], ...]:
    """Free tags of each film i64[I], in the order of the file; all empty where there is no such file."""
    tags: list[list[str]] = [[] for _ in known]
    if not path.exists():
        return tuple(tuple(t) for t in tags)
    text = _text(path, "utf-8-sig")
    _check_header(path, text, "userId,movieId,tag,timestamp")
    expected = "4 fields (user, movie, tag, seconds) separated by ','"
    index = {int(id): i for i, id in enumerate(known)}
    for number, fields in _csv_lines(path, text, expected):
        if len(fields) != 4:
            raise _broken(path, text, number, expected, ",".join(fields))
        movie = _movie_id(path, text, number, expected, fields[1:])
        if movie not in index:
            raise DataError(f"{path}, line {number}: movie {movie} is not in movies.csv: {AGAIN}.")
        tags[index[movie]].append(fields[2].strip())
    return tuple(tuple(t) for t in tags)


# -- lines --------------------------------------------------------------------------------------------------


def _text(path: Path, encoding: str) -> str:
    """The whole file, line ends as `\\n`. Raises DataError when it cannot be read in its encoding."""
    try:
        return path.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not {encoding} text (byte {error.start}): download the file again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the file and its permissions.") from None


def _plain_lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line that is not blank."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.split(delimiter)


def _csv_lines(path: Path, text: str, expected: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every CSV line after the header that is not blank.

    No field of these files holds a line end, so each line is parsed alone: a stray quote is found where it is.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if number == 1 or not line.strip():
            continue
        try:
            yield number, next(csv.reader([line], strict=True))
        except csv.Error:
            raise _broken(path, text, number, expected, line) from None


def _check_header(path: Path, text: str, expected: str) -> None:
    first = text.partition("\n")[0].strip()
    if first.replace('"', "") != expected:
        raise DataError(f"{path}, line 1: expected the header {expected}; found {_short(first)}: {AGAIN}.")


def _movie_id(path: Path, text: str, number: int, expected: str, fields: list[str]) -> int:
    if not fields[0].strip().isdigit():
        raise _broken(path, text, number, expected + ", the movie as a whole number", ",".join(fields))
    return int(fields[0])


def _broken(path: Path, text: str, number: int, expected: str, line: str) -> DataError:
    """The error for a line that is not what it should be, or that the end of the file cut off."""
    if not text.endswith("\n") and number == text.count("\n") + 1:
        return _truncated(path, number, line)
    return DataError(f"{path}, line {number}: expected {expected}; found {_short(line)}: {AGAIN}.")


def _truncated(path: Path, number: int, line: str) -> DataError:
    return DataError(
        f"{path} ends in the middle of line {number} ({_short(line)}): it is truncated, download it again."
    )


def _short(line: str, length: int = 60) -> str:
    return repr(line if len(line) <= length else line[: length - 3] + "...")
