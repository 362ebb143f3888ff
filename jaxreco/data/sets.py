"""The logs that jaxreco can read: what they are, whose they are, and by which files a folder shows which it holds."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxreco.data.download import Archive
from jaxreco.data.log import Log
from jaxreco.errors import DataError
from jaxreco.names import closest

REAL, FORMAT = "real files", "format-tested only"


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A log that somebody published.

    Args:
      name: as in `jaxreco data list`. loader: "module:function" of a folder. marks: patterns of files that a folder of this
        set has all of. licence, citation: as the publisher states them, in short. met: what the loader was tested on.
    """

    name: str
    title: str
    loader: str
    marks: tuple[str, ...]
    licence: str
    citation: str
    met: str = REAL

    def load(self, folder: Path) -> Log:
        """The log of a folder. Raises DataError for files that cannot be read."""
        module, _, function = self.loader.partition(":")
        found: Callable[[Path], Log] = getattr(importlib.import_module(module), function)
        return found(folder)

    def is_in(self, folder: Path) -> bool:
        """Whether a folder has the files of this set."""
        return all(any(folder.glob(mark)) for mark in self.marks)


_OURS = "jaxreco.data"
_MOVIELENS = "Harper & Konstan 2015, The MovieLens datasets: history and context. ACM TiiS 5 (4)"
SETS = (
    DataSet("movielens-100k", "MovieLens 100K: stars for films", f"{_OURS}.movielens:log", ("u.data", "u.item"),
            "research only, no redistribution", _MOVIELENS),
    DataSet("movielens-1m", "MovieLens 1M (10M has its form): stars for films", f"{_OURS}.movielens:log",
            ("ratings.dat", "movies.dat"), "research only, no redistribution", _MOVIELENS, FORMAT),
    DataSet("movielens-latest-small", "MovieLens latest-small (25M and 32M have its form): stars and tags for films",
            f"{_OURS}.movielens:log", ("ratings.csv", "movies.csv"), "research; redistribution under the same terms", _MOVIELENS),
    DataSet("lastfm-hetrec", "Last.fm, HetRec 2011: plays of artists, tags, friends", f"{_OURS}.lastfm:load",
            ("user_artists.dat", "artists.dat"), "non-commercial",
            "Cantador, Brusilovsky & Kuflik 2011, 2nd HetRec workshop, RecSys"),
    DataSet("lastfm-sequences", "Last.fm sequences of artists, 20-candidate protocol", f"{_OURS}.sequences:load",
            ("train.jsonl", "items.tsv"), "repository MIT / Apache-2.0", "Liao et al. 2024, LLaRA. SIGIR"),
    DataSet("instruments-2018", "Amazon Musical Instruments 2018 as sequences, with semantic IDs", f"{_OURS}.sequences:load",
            ("sequences.jsonl", "semantic_ids.json"), "none stated", "Ni, Li & McAuley 2019, EMNLP"),
    DataSet("amazon", "Amazon reviews, 2014 and 2018: stars, text, time", f"{_OURS}.amazon:load", ("*_*.json*", "*_5.json*"),
            "none stated", "McAuley et al. 2015, SIGIR; Ni, Li & McAuley 2019, EMNLP"),
    DataSet("mind", "MIND: news slates, clicked or not", f"{_OURS}.mind:load", ("behaviors.tsv",),
            "Microsoft Research licence", "Wu et al. 2020, MIND: a large-scale dataset for news recommendation. ACL"),
    DataSet("ebnerd", "EB-NeRD: news slates, sessions, reading time", f"{_OURS}.ebnerd:load", ("behaviors.parquet",),
            "publisher's terms; sample MIT", "Kruse et al. 2024, EB-NeRD. RecSys Challenge"),
    DataSet("kuairec", "KuaiRec: short videos, watch time, nearly all pairs", f"{_OURS}.kuairec:load", ("*_matrix.csv",),
            "CC BY-SA 4.0", "Gao et al. 2022, KuaiRec. CIKM", FORMAT),
    DataSet("kuairand", "KuaiRand 1K and Pure: short videos, many deeds, random exposure", f"{_OURS}.kuairand:load",
            ("**/log_*.csv",), "CC BY-SA 4.0", "Gao et al. 2022, KuaiRand. CIKM", FORMAT),
    DataSet("open-bandit", "Open Bandit: random slates of a fashion shop, propensities", f"{_OURS}.open_bandit:load",
            ("random_*.csv.gz", "random_*_item_context.csv"), "CC BY 4.0; package Apache-2.0",
            "Saito et al. 2021, Open Bandit dataset and pipeline. NeurIPS"),
    DataSet("jester", "Jester: jokes rated -10 to 10", f"{_OURS}.jester:load", ("ratings.csv.gz", "jokes.csv"),
            "GPL-2 package of anonymous ratings", "Goldberg et al. 2001, Eigentaste. Information Retrieval 4"),
    DataSet("coat", "Coat shopping: stars, features of people and coats", f"{_OURS}.coat:load", ("train.ascii",),
            "none stated", "Schnabel et al. 2016, Recommendations as treatments. ICML"),
    DataSet("ta-feng", "Ta-Feng: visits of a supermarket", f"{_OURS}.visits:load", ("visits.csv.gz",), "package MIT",
            "Hsu, Chung & Huang 2004, PAKDD"),
    DataSet("cdnow", "CDNOW: purchases in a music shop", f"{_OURS}.visits:load", ("purchases.csv.gz",), "package MIT",
            "Fader & Hardie 2001, Interfaces 31 (3)"),
    DataSet("converted", "any log that jaxreco data convert has read", f"{_OURS}.table:load",
            ("events.parquet", "items.parquet", "log.json"), "its own", "its own"),
)  # fmt: skip

_GROUPLENS, _ZENODO = "https://files.grouplens.org/datasets", "https://zenodo.org/records"
# What `jaxreco data download` fetches: the set, and the publisher's archive with the checksum that the publisher states.
ARCHIVES = {
    "movielens-100k": ("movielens-100k", Archive(f"{_GROUPLENS}/movielens/ml-100k.zip", "md5:0e33842e24a9c977be4e0107933c0723")),
    "movielens-1m": ("movielens-1m", Archive(f"{_GROUPLENS}/movielens/ml-1m.zip", "md5:c4d9eecfca2ab87c1945afe126590906")),
    "movielens-25m": (
        "movielens-latest-small", Archive(f"{_GROUPLENS}/movielens/ml-25m.zip", "md5:6b51fb2759a8657d3bfcbfc42b592ada"),
    ),
    "movielens-32m": ("movielens-latest-small", Archive(f"{_GROUPLENS}/movielens/ml-32m.zip")),
    "movielens-latest-small": ("movielens-latest-small", Archive(f"{_GROUPLENS}/movielens/ml-latest-small.zip")),
    "lastfm-hetrec": ("lastfm-hetrec", Archive(f"{_GROUPLENS}/hetrec2011/hetrec2011-lastfm-2k.zip")),
    "kuairec": (
        "kuairec", Archive(f"{_ZENODO}/18164998/files/KuaiRec.zip", "md5:261550d472c48eff4990fb13c0e5bcf7"),
    ),
    "kuairand-pure": (
        "kuairand", Archive(f"{_ZENODO}/10439422/files/KuaiRand-Pure.tar.gz", "md5:0820331067a3784d9691136f772b35a7"),
    ),
    "kuairand-1k": (
        "kuairand", Archive(f"{_ZENODO}/10439422/files/KuaiRand-1K.tar.gz", "md5:6b0b9c8222d67fcd4c676218edca3f1f"),
    ),
}  # fmt: skip


def named(name: str) -> DataSet:
    """The set of a name. Raises DataError for an unknown one, with the nearest."""
    for one in SETS:
        if one.name == name:
            return one
    raise DataError(f"There is no data set {name!r}.{closest(name, [one.name for one in SETS])}")


def archive_of(name: str) -> tuple[DataSet, Archive]:
    """What to download for a name of ARCHIVES. Raises DataError for another."""
    if name in ARCHIVES:
        of, archive = ARCHIVES[name]
        return named(of), archive
    if name in [one.name for one in SETS]:
        raise DataError(f"{name} is not offered to everybody by its publisher: ask there ({named(name).citation}).")
    raise DataError(f"There is no data set {name!r} to download.{closest(name, ARCHIVES)}")


def detect(folder: Path) -> DataSet:
    """Which set a folder holds. Raises DataError where it is none, or not there."""
    folder = folder.expanduser()
    if not folder.is_dir():
        near = (
            closest(folder.name, [path.name for path in folder.parent.iterdir() if path.is_dir()])
            if folder.parent.is_dir()
            else ""
        )
        raise DataError(f"There is no folder {folder}.{near}")
    for one in SETS:
        if one.is_in(folder):
            return one
    listed = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") if listed else "nothing"
    raise DataError(f"{folder} holds no log that jaxreco knows (see jaxreco data list): found {shown}.")


def load(folder: str | Path) -> Log:
    """The log in a folder, whichever set it is. Raises DataError where there is none, or it cannot be read."""
    folder = Path(folder).expanduser()
    return detect(folder).load(folder)


def find(world: str, names: str | Sequence[str], data: str | os.PathLike[str] | None) -> Path:
    """The folder of a set that a world is made from: `data` (JAXRECO_DATA where it is None), or one inside it that is called so.

    Args: names: of the sets that will do, the one to be preferred first. A folder that is called like one and has more to its
      name, as `mind-sample`, is found too.

    Raises DataError when neither names a folder, or it holds another set.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    given, wanted = data or os.environ.get("JAXRECO_DATA"), " or ".join(names)
    if not given:
        raise DataError(f"{world} is made from real data: pass data=FOLDER of {wanted}, or set JAXRECO_DATA to it.")
    folder = Path(given).expanduser()
    if folder.is_dir() and not any(named(name).is_in(folder) for name in names):
        inside = [
            path for name in names for path in (folder / name, *sorted(folder.glob(f"{name}-*"))) if path.is_dir()
        ]
        folder = inside[0] if inside else folder
    found = detect(folder)
    if found.name not in names:
        raise DataError(f"{folder} holds {found.name}, and {world} is made from {wanted}: give the folder of that.")
    return folder
