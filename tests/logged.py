"""Small logs in the publishers' forms, for tests of worlds and judges that are made from answers."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jaxreco.data.log import Items, Log

WORDS = ("chicken crosses the road", "doctor says sorry", "lawyer walks into a bar", "my dog has no nose")
# What four people said of four jokes, from -10 to 10; None where nothing.
ANSWERS: tuple[tuple[float | None, ...], ...] = (
    (8.0, 2.0, -4.0, None),
    (None, 5.0, 5.0, 5.0),
    (-9.0, None, None, 1.0),
    (0.0, 1.0, 2.0, 3.0),
)


def jester(folder: Path, answers: Sequence[Sequence[float | None]] = ANSWERS, jokes: Sequence[str] = WORDS) -> Path:
    """The two files of Jester."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{user},{joke},{rating}\n"
        for user, own in enumerate(answers, 1)
        for joke, rating in enumerate(own)
        if rating is not None
    ]
    with gzip.open(folder / "ratings.csv.gz", "wt") as file:
        file.write("user,joke,rating\n" + "".join(rows))
    (folder / "jokes.csv").write_text("joke,text\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(jokes)))
    return folder


def many(people: int = 60, jokes: int = 24, seed: int = 0) -> list[list[float | None]]:
    """Two kinds of people: the first like even jokes, the others odd ones; low numbers are better; most are answered."""
    rng = np.random.default_rng(seed)
    kind = np.arange(people) % 2
    mean = 4.0 - 8.0 * np.arange(jokes) / jokes + 3.0 * np.where(kind[:, None] == np.arange(jokes) % 2, 1.0, -1.0)
    value = np.clip(mean + rng.normal(0.0, 1.0, (people, jokes)), -10.0, 10.0).round(2)
    known = rng.random((people, jokes)) < 0.8
    return [[float(v) if k else None for v, k in zip(*row, strict=True)] for row in zip(value, known, strict=True)]


def coat(folder: Path, stars: str = "0 3 0\n5 0 1\n", features: bool = True) -> Path:
    """Coats with a kind and a colour."""
    (folder / "user_item_features").mkdir(parents=True, exist_ok=True)
    (folder / "train.ascii").write_text(stars)
    if features:
        (folder / "user_item_features" / "item_features.ascii").write_text("1 0 1\n0 1 1\n1 0 0\n")
        names = "jacket type:bomber\njacket type:raincoat\ncolor:red\n"
        (folder / "user_item_features" / "item_features_map.txt").write_text(names)
    return folder


def shop(folder: Path, rows: Iterable[tuple[int, int, int, float]], items: int = 2, campaign: str = "men") -> Path:
    """Slots of Open Bandit: (item, place from 1, click, chance)."""
    folder.mkdir(parents=True, exist_ok=True)
    head = "timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,user_feature_3\n"
    lines = [
        f"2019-11-24 00:{at // 60 % 60:02d}:{at % 60:02d}.5+00:00,{item},{place},{click},{chance},a,b,c,d{at % 5}\n"
        for at, (item, place, click, chance) in enumerate(rows)
    ]
    with gzip.open(folder / f"random_{campaign}.csv.gz", "wt") as file:
        file.write(head + "".join(lines))
    about = "".join(f"{i},{i},0.5,kind{i % 2},p,q\n" for i in range(items))
    (folder / f"random_{campaign}_item_context.csv").write_text(
        ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n" + about
    )
    return folder


def log_of(answers: Sequence[Sequence[float | None]] = ANSWERS) -> Log:
    """The answers as a log, without files."""
    rows = [
        (user, item, value) for user, own in enumerate(answers) for item, value in enumerate(own) if value is not None
    ]
    user, item, value = (np.array(column) for column in zip(*rows, strict=True))
    n_items = len(answers[0])
    items = Items(ids=np.arange(n_items), texts=tuple(f"joke number{i} about animal{i % 2}" for i in range(n_items)))
    return Log.of("small", user, item, items, np.arange(len(answers)), value=value.astype(np.float32))
