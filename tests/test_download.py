"""Downloads from a server of our own: resumed, checked, and unpacked with suspicion."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jaxreco import cli
from jaxreco.data import download, sets
from jaxreco.data.download import Archive
from jaxreco.errors import DataError

BODY = bytes(range(256)) * 2_000


class Server(BaseHTTPRequestHandler):
    """Serves BODY from any byte on, except that /whole cannot resume, /cut breaks off and /gone is not there."""

    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        Server.asked.append(wanted)
        if self.path.startswith("/gone"):
            self.send_error(404)
            return
        body = self.server.body  # type: ignore[attr-defined]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and "whole" not in self.path else 0
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : len(body) // 2] if "cut" in self.path else body[start:])

    def log_message(self, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Any]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    running.body = BODY  # type: ignore[attr-defined]
    threading.Thread(target=running.serve_forever, daemon=True).start()
    Server.asked = []
    yield running
    running.shutdown()
    running.server_close()


def at(server: Any, path: str, digest: str | None = None) -> Archive:
    return Archive(f"http://127.0.0.1:{server.server_address[1]}/{path}", digest)


def md5(data: bytes) -> str:
    return "md5:" + hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_fetch_and_check(server: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = download.fetch(at(server, "a.zip?x=1", md5(BODY)), tmp_path, lambda *now: seen.append(now))
    assert path == tmp_path / "a.zip"
    assert path.read_bytes() == BODY
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    download.fetch(at(server, "a.zip", md5(BODY)), tmp_path)
    assert len(Server.asked) == 1  # what is there and right is not fetched again


def test_a_download_goes_on_where_it_was(server: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="broke off after 256,000 of 512,000 bytes: run the command again"):
        download.fetch(at(server, "cut.zip"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.zip.part"]
    (tmp_path / "cut.zip.part").rename(tmp_path / "b.zip.part")
    assert download.fetch(at(server, "b.zip", md5(BODY)), tmp_path).read_bytes() == BODY
    assert Server.asked == [None, "bytes=256000-"]
    (tmp_path / "whole.zip.part").write_bytes(b"old")  # a server that cannot resume sends it all
    assert download.fetch(at(server, "whole.zip", md5(BODY)), tmp_path).read_bytes() == BODY
    (tmp_path / "c.zip.part").write_bytes(BODY)  # complete, but never renamed
    assert download.fetch(at(server, "c.zip", md5(BODY)), tmp_path).read_bytes() == BODY


def test_what_is_wrong_is_said(server: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not what its publisher's checksum says"):
        download.fetch(at(server, "a.zip", md5(b"else")), tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"404 Not Found.*fetch it by hand"):
        download.fetch(at(server, "gone.zip"), tmp_path)
    with pytest.raises(DataError, match="cannot be reached"):
        download.fetch(Archive("http://127.0.0.1:9/x.zip"), tmp_path)


# -- unpacking -----------------------------------------------------------------------------------------------


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, *entries: tarfile.TarInfo, data: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry in entries:
            entry.size = len(data) if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_unpack_leaves_out_the_folder_at_the_top(tmp_path: Path) -> None:
    download.unpack(zipped(tmp_path / "a.zip", **{"ml/u.data": b"1", "ml/sub/u.item": b"2"}), tmp_path / "a")
    assert (tmp_path / "a" / "u.data").read_bytes() == b"1"
    assert (tmp_path / "a" / "sub" / "u.item").read_bytes() == b"2"
    download.unpack(tarred(tmp_path / "b.tar.gz", tarfile.TarInfo("one"), tarfile.TarInfo("two")), tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["one", "two"]
    with pytest.raises(DataError, match="exists"):
        download.unpack(tmp_path / "a.zip", tmp_path / "a")


@pytest.mark.parametrize("name", ["../evil", "/evil", "ok/../../evil", "C:/evil", "..\\evil"])
def test_no_path_escapes(tmp_path: Path, name: str) -> None:
    archives = [zipped(tmp_path / "a.zip", **{name: b"x"}), tarred(tmp_path / "a.tar.gz", tarfile.TarInfo(name))]
    for archive in archives:
        with pytest.raises(DataError, match="lies outside of it"):
            download.unpack(archive, tmp_path / "in" / "out")
    assert not (tmp_path / "evil").exists()
    assert not list((tmp_path / "in").iterdir())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_no_links_and_devices(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("link")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with pytest.raises(DataError, match="no plain file"):
        download.unpack(tarred(tmp_path / "a.tar.gz", entry), tmp_path / "out")
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="no plain file"):
        download.unpack(tmp_path / "a.zip", tmp_path / "out")


def test_no_bombs(tmp_path: Path) -> None:
    bombs = [
        zipped(tmp_path / "a.zip", bomb=bytes(20 << 20)),
        tarred(tmp_path / "a.tar.gz", tarfile.TarInfo("b"), data=bytes(20 << 20)),
    ]
    for bomb in bombs:
        with pytest.raises(DataError, match="too much"):
            download.unpack(bomb, tmp_path / "out")
    with pytest.raises(DataError, match="too much"):
        download.unpack(zipped(tmp_path / "b.zip", a=b"12", b=b"34"), tmp_path / "out", most_bytes=3)
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match="cannot be unpacked"):
        download.unpack(tmp_path / "c.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- the command ---------------------------------------------------------------------------------------------


def test_data_download(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "made.zip", **{"x/ratings.dat": b"1::1::5::9\n", "x/movies.dat": b"1::A (1990)::Drama\n"})
    server.body = path.read_bytes()
    monkeypatch.setitem(sets.ARCHIVES, "movielens-1m", ("movielens-1m", at(server, "ml-1m.zip", md5(server.body))))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    refused = runner.invoke(cli.app, ["data", "download", "movielens-1m"], input="n\n")
    assert refused.exit_code == 1
    assert "research only" in refused.output
    assert Server.asked == []  # the licence comes first
    ran = runner.invoke(cli.app, ["data", "download", "movielens-1m"], input="y\n")
    assert ran.exit_code == 0, ran.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.zip", "movielens-1m"]
    assert len(sets.load(tmp_path / "movielens-1m")) == 1
    again = runner.invoke(cli.app, ["data", "download", "movielens-1m", "--yes"])
    assert again.exit_code == 2
    assert "exists: name a new folder" in again.output
    for name, said in (("movielens-2m", "Did you mean"), ("mind", "not offered to everybody")):
        wrong = runner.invoke(cli.app, ["data", "download", name])
        assert wrong.exit_code == 2
        assert said in wrong.output


def test_archives_are_of_known_sets() -> None:
    for of, archive in sets.ARCHIVES.values():
        assert sets.named(of)
        assert archive.address.startswith("https://")
    with pytest.raises(DataError, match="Did you mean jester"):
        sets.named("jestr")
