"""Content in a folder: a round trip, the command line, and one sentence for what cannot be."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxreco import cli, files
from jaxreco.content import fusion, make, semantic_id, store
from jaxreco.content.make import Recipe
from jaxreco.content.store import Content
from jaxreco.content.text import Encoded
from jaxreco.data import table
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError, JaxrecoError

WORDS = ("guitar", "bread", "rain", "bicycle", "chess", "tea")


def a_log(items: int = 30, users: int = 40, seed: int = 0, codes: np.ndarray | None = None) -> Log:
    """Items 100, 101, ... with titles of two words, the last without; users who take to five at random."""
    rng = np.random.default_rng(seed)
    titles = (*(f"{WORDS[i % 6]} {WORDS[i // 6 % 6]} {i}" for i in range(items - 1)), "")
    user, item = np.repeat(np.arange(users), 5), rng.integers(items - 1, size=5 * users)
    return Log.of("a log", user, item, Items(100 + np.arange(items), titles=titles, codes=codes), np.arange(users))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same log, as a folder that the command line takes."""
    log = a_log()
    events = "\n".join(f"{u},{log.items.ids[i]}" for u, i in zip(log.user, log.item, strict=True))
    (tmp_path / "e.csv").write_text(f"u,i\n{events}\n")
    titles = "\n".join(f"{i},{title}" for i, title in zip(log.items.ids, log.items.titles or (), strict=True))
    (tmp_path / "i.csv").write_text(f"item,title\n{titles}\n")
    table.convert(tmp_path / "e.csv", {"user": "u", "item": "i"}, tmp_path / "log", items=tmp_path / "i.csv")
    return tmp_path / "log"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, ["content", *map(str, arguments)], env={"COLUMNS": "100"})


def refused(result: Any, *words: str) -> None:
    """The command failed with one sentence on stderr and exit status 2."""
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


def test_a_round_trip(tmp_path: Path) -> None:
    content = make.make(a_log(), Recipe(text=True, factors=True, width=8, semantic_ids="kmeans", levels=3, codes=8))
    content.save(str(tmp_path / "deep" / "c"))
    found = store.load(tmp_path / "deep" / "c")
    np.testing.assert_array_equal(found.ids, content.ids)
    assert list(found.parts) == ["text", "factors"]
    for name, part in content.parts.items():
        np.testing.assert_array_equal(found.parts[name].vectors, part.vectors)
        np.testing.assert_array_equal(found.parts[name].there, part.there)
    for name in ("codes", "codebooks", "found", "error", "known"):
        np.testing.assert_array_equal(getattr(found.semantic, name), getattr(content.semantic, name))
    assert found.about["recipe"]["codes"] == 8
    assert found.about["data"] == {
        "name": "a log",
        "events": 200,
        "items": 30,
        "fingerprint": store.fingerprint(a_log()),
    }
    assert found.about["semantic_ids"]["usage"] == content.semantic.report()["usage"]
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["c"]  # nothing half-written


def test_items_without_a_representation_have_a_code_that_no_figure_counts() -> None:
    content = make.make(a_log(), Recipe(text=True, width=8, semantic_ids="kmeans", levels=3, codes=8))
    ids = content.semantic
    assert content.parts["text"].there.tolist() == ids.known.tolist() == [True] * 29 + [False]
    assert len(np.unique(ids.codes, axis=0)) == 30
    assert ids.report() == semantic_id.report_on(ids.found[:29], 8) | {
        "left_over": pytest.approx(ids.error[:29].mean())
    }
    some = semantic_id.residual_kmeans(content.parts["text"].vectors[:29], levels=3, size=8)
    np.testing.assert_array_equal(some.found, ids.found[:29])  # the codebooks are of the others alone
    with pytest.raises(DataError, match="No item has a representation"):
        semantic_id.residual_kmeans(np.zeros((3, 2)), known=np.zeros(3, bool))


def test_the_fingerprint_tells_logs_apart() -> None:
    assert store.fingerprint(a_log()) == store.fingerprint(a_log())
    assert store.fingerprint(a_log(seed=1)) != store.fingerprint(a_log())
    assert store.fingerprint(a_log(items=31)) != store.fingerprint(a_log())


def test_content_in_another_order(tmp_path: Path) -> None:
    content = make.make(a_log(), Recipe(text=True, width=4, semantic_ids="kmeans", levels=2, codes=8))
    some = content.of(np.array([105, 100]))
    np.testing.assert_array_equal(some.parts["text"].vectors, content.parts["text"].vectors[[5, 0]])
    np.testing.assert_array_equal(some.semantic.codes, content.semantic.codes[[5, 0]])
    with pytest.raises(DataError, match=r"1 of 2 items, such as 7, are not in the content, which is of a log"):
        content.of(np.array([100, 7]))


def test_published_codes_keep_their_collisions() -> None:
    codes = np.array([[0, 1], [0, 1], [3, 2], [1, 1]])
    content = make.make(a_log(items=4, codes=codes), Recipe(semantic_ids="published"))
    np.testing.assert_array_equal(content.semantic.codes, codes)
    assert content.about["semantic_ids"]["collisions"] == 0.5
    assert content.about["semantic_ids"]["usage"] == 0.5  # two of the second level's four
    with pytest.raises(DataError, match="a log has no published semantic IDs"):
        make.make(a_log(), Recipe(semantic_ids="published"))


def test_encode_and_inspect(folder: Path, tmp_path: Path) -> None:
    out, vectors = tmp_path / "content", tmp_path / "v.npz"
    np.savez(vectors, ids=np.arange(100, 120), vectors=np.random.default_rng(0).normal(size=(20, 5)))
    options = ("--text", "--factors", "--image", vectors, "--width", 8, "--semantic-ids", "kmeans", "--codes", 16)
    made = run("encode", "--data", folder, "--out", out, *options)
    assert made.exit_code == 0, made.output
    seen = run("inspect", out)
    assert seen.exit_code == 0, seen.output
    for words in ("30 items", "text", "factors", "image", "4 levels of 16", "residual k-means", "once resolved 0.00 %"):
        assert words in made.output
        assert words in seen.output
    assert "fingerprint" in seen.output
    assert [line.split() for line in seen.output.splitlines() if line.startswith("image")] == [
        ["image", "5", "20", "10"]
    ]
    refused(run("encode", "--data", folder, "--out", out, "--text"), "exists: name a new folder, or pass --force")
    assert run("encode", "--data", folder, "--out", out, "--text", "--force").exit_code == 0
    assert list(store.load(out).parts) == ["text"]
    assert not (out / "semantic_ids.npz").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["content", "e.csv", "i.csv", "log", "v.npz"]


def test_encode_by_an_rq_vae(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jaxreco.content import rq_vae

    config = rq_vae.RqVaeConfig
    short = lambda **sizes: config(**sizes, latent=4, hidden=(), blocks=2, warm=0, block=5, batch=16)  # noqa: E731
    monkeypatch.setattr(rq_vae, "RqVaeConfig", short)
    out = tmp_path / "c"
    made = run("encode", "--data", folder, "--text", "--semantic-ids", "rq", "--levels", 3, "--codes", 8, "--out", out)
    assert made.exit_code == 0, made.output
    assert "an RQ-VAE" in made.output
    codes = store.load(out).semantic.codes
    assert len(np.unique(codes, axis=0)) == 30


def test_what_the_command_refuses(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode = ("encode", "--data", folder, "--out", out)
    refused(run(*encode), "No representation is asked for, give --text, --factors, --image or several")
    refused(run(*encode, "--semantic-ids", "rq"), "semantic IDs are of them")
    refused(run(*encode, "--text", "--semantic-ids", "rqq"), "give rq, kmeans, published")
    refused(run(*encode, "--factors", "--width", 64), "give a width below 30")
    refused(
        run(*encode, "--text", "--semantic-ids", "kmeans", "--levels", 1, "--codes", 8), "30 items are more than 8^1"
    )
    refused(run(*encode, "--semantic-ids", "published"), "no published semantic IDs")
    refused(run(*encode, "--factors", "--text-model", "x"), "add --text")
    refused(run("encode", "--data", folder, "--text", "--force", "--out", folder), "no folder of content")
    refused(run("inspect", folder), "holds no content")
    assert not out.exists()
    (tmp_path / "e.csv").write_text("u,i\na,b\n")
    table.convert(tmp_path / "e.csv", {"user": "u", "item": "i"}, tmp_path / "one")
    refused(run("encode", "--data", tmp_path / "one", "--text", "--out", out), "e has 1 item")


def test_vectors_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "v.npy", tmp_path / "out"

    def image(*words: str) -> None:
        refused(run("encode", "--data", folder, "--out", out, "--image", path), "v.npy", *words)
        assert not out.exists()

    good = np.ones((30, 4))
    np.save(path, good[:29])
    image("29 rows for 30 items")
    np.save(path, good[0])
    image("shape (4,)")
    np.save(path, np.where(np.arange(4) == 1, np.nan, good))
    image("30 rows, such as 0, have values that are no numbers")
    np.save(path, np.full((30, 4), np.nan))
    image("no vector for any item")
    np.save(path, np.array([{"a": 1}] * 30, dtype=object), allow_pickle=True)
    image("holds Python objects as a pickle", "numpy.save")
    path.write_bytes(pickle.dumps(good))
    image("is a pickle", "can run any code", "numpy.save")
    path.write_text("1,2,3\n")
    image("neither .npy nor .npz")
    np.save(path, good)
    path.write_bytes(path.read_bytes()[:200])
    image("cannot be read")
    path.unlink()
    image("There is no file")
    with open(path, "wb") as file:
        np.savez(file, ids=np.arange(3), vectors=good)
    image("3 different ids and 30 vectors")
    path.write_bytes(path.read_bytes()[:300])
    image("cannot be read")


def test_a_folder_that_is_broken(tmp_path: Path) -> None:
    content = Content(np.arange(2), {"text": Encoded(np.eye(2, dtype=np.float32), np.ones(2, bool))}, about={})
    for name, spoilt, said in (
        ("content.json", b"{", "is broken"),
        ("content.json", json.dumps({"format": 9, "parts": []}).encode(), "has format 9, and this version reads 1"),
        (
            "content.json",
            json.dumps({"format": 1, "parts": ["text"], "semantic_ids": {"a": 1}}).encode(),
            "lacks semantic",
        ),
        ("content.json", json.dumps({"format": 1, "parts": ["image"]}).encode(), "no array image_vectors"),
        ("embeddings.npz", b"PK\x03\x04", "cannot be read"),
    ):
        content.save(tmp_path / "c", force=True)
        (tmp_path / "c" / name).write_bytes(spoilt)
        with pytest.raises(DataError, match=said):
            store.load(tmp_path / "c")
    np.savez(tmp_path / "c" / "embeddings.npz", ids=np.array([{}, {}], object), allow_pickle=True)
    (tmp_path / "c" / "content.json").write_text(json.dumps({"format": 1, "parts": []}))
    with pytest.raises(DataError, match="holds Python objects as a pickle"):
        store.load(tmp_path / "c")


def test_parts_that_do_not_fit() -> None:
    part = Encoded(np.eye(2, dtype=np.float32), np.ones(2, bool))
    with pytest.raises(DataError, match="text has vectors of shape"):
        Content(np.arange(3), {"text": part})
    with pytest.raises(DataError, match="no numbers"):
        Content(np.arange(2), {"text": Encoded(part.vectors * np.nan, part.there)})
    with pytest.raises(DataError, match="same id"):
        Content(np.zeros(2), {"text": part})
    with pytest.raises(DataError, match="neither a representation nor a code"):
        Content(np.arange(2), {})


def fill_in_part(folder: Path) -> None:
    (folder / "a").write_text("new")
    raise KeyError


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    old = tmp_path / "x"
    old.mkdir()
    (old / "a").write_text("old")
    with pytest.raises(KeyError), files.folder_written_whole(old) as new:
        fill_in_part(new)
    assert (old / "a").read_text() == "old"
    with files.folder_written_whole(old) as new:
        (new / "b").write_text("new")
    assert [path.name for path in old.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    with pytest.raises(JaxrecoError, match="make it first"), files.folder_written_whole(tmp_path / "no" / "x"):
        pass


def test_arrays_never_come_from_pickles(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(3), b=np.array([{}], object), allow_pickle=True)
    assert fusion.arrays(path, ["a"])["a"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="b holds Python objects"):
        fusion.arrays(path, ["b"])
