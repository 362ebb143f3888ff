"""The publishers' own archives: fetched, resumed, checked against the published checksum, and unpacked with suspicion."""

from __future__ import annotations

import functools
import hashlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from jaxreco.errors import DataError

BLOCK = 1 << 20
TIMEOUT_S = 30.0
MOST_BYTES = 64 << 30  # of all files of an archive together
MOST_RATIO = 200  # of all files to the archive: text hardly gets there, bombs do
ALWAYS = 10 << 20  # bytes that any archive may unpack to


class Archive(NamedTuple):
    """A publisher's archive. `digest` is "md5:..." or "sha256:...", None where none is published."""

    address: str
    digest: str | None = None


Progress = Callable[[int, int | None], None]  # bytes there, and in all (None where unknown)


def fetch(archive: Archive, into: Path, progress: Progress = lambda done, total: None) -> Path:
    """Download an archive into a folder, going on with what an earlier attempt left there.

    A file that is there already is used if its checksum is right, or none is published. Returns its path.

    Raises DataError where the server cannot be reached or refuses, or the checksum is another.
    """
    into.mkdir(parents=True, exist_ok=True)
    path = into / PurePosixPath(urllib.parse.urlsplit(archive.address).path).name
    partial = path.with_name(path.name + ".part")
    if not path.exists():
        _complete(archive.address, partial, progress)
        partial.rename(path)
    if archive.digest is not None and digest(path, archive.digest) != archive.digest:
        path.unlink()
        raise DataError(
            f"{archive.address} is not what its publisher's checksum says ({archive.digest}): it was removed; try again, "
            "or fetch it by hand."
        )
    return path


def _complete(address: str, partial: Path, progress: Progress) -> None:
    """Fetch what is missing of a file."""
    there = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(
        address, headers={"User-Agent": "jaxreco"} | ({"Range": f"bytes={there}-"} if there else {})
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            goes_on = answer.status == 206
            there = there if goes_on else 0  # a server that cannot resume sends it all
            length = answer.headers.get("Content-Length")
            total = there + int(length) if length else None
            with open(partial, "ab" if goes_on else "wb") as file:
                progress(there, total)
                while block := answer.read(BLOCK):
                    file.write(block)
                    there += len(block)
                    progress(there, total)
            if total is not None and there < total:
                raise DataError(
                    f"{address} broke off after {there:,} of {total:,} bytes: run the command again to go on."
                )
    except urllib.error.HTTPError as error:
        if error.code == 416 and there:  # nothing is missing
            return
        raise DataError(f"{address} cannot be fetched ({error.code} {error.reason}): fetch it by hand.") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        said = getattr(error, "reason", error)
        raise DataError(
            f"{address} cannot be reached ({said}): check the connection, and run the command again to go on."
        ) from None


def digest(path: Path, like: str) -> str:
    """The checksum of a file, of the kind that `like` ("md5:...") is."""
    kind = like.partition(":")[0]
    found = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return f"{kind}:{found.hexdigest()}"


# -- unpacking -----------------------------------------------------------------------------------------------


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(path: Path, out: Path, most_bytes: int = MOST_BYTES) -> None:
    """Unpack a .zip or a .tar, plain or compressed, into a new folder, whole or not at all. A single folder at the top is left out.

    Raises DataError for an archive that cannot be read, names files outside of itself, holds links or devices, or would
    unpack to more than `most_bytes`, or than is likely of its size.
    """
    if out.exists():
        raise DataError(f"{out} exists: name a new folder.")
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        left = min(most_bytes, max(ALWAYS, MOST_RATIO * path.stat().st_size))
        for member in _members(path):
            left -= _write(path, member, temporary, left)
        inside = list(temporary.iterdir())
        top = inside[0] if len(inside) == 1 and inside[0].is_dir() else temporary
        top.rename(out)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}): remove it and fetch it again.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(path: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000):
                    raise DataError(f"{path} holds {info.filename!r}, which is no plain file: it was not unpacked.")
                yield Member(info.filename, info.file_size, functools.partial(archive.open, info))
        return
    with tarfile.open(path) as archive:
        for entry in archive:
            if entry.isdir():
                continue
            if not entry.isreg():
                raise DataError(f"{path} holds {entry.name!r}, which is no plain file: it was not unpacked.")
            yield Member(entry.name, entry.size, functools.partial(archive.extractfile, entry))  # type: ignore[arg-type]


def _write(path: Path, member: Member, folder: Path, most: int) -> int:
    """Write one file below the folder, at most `most` bytes; returns how many there were."""
    name = PurePosixPath(member.name.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
        raise DataError(f"{path} holds {member.name!r}, which lies outside of it: it was not unpacked.")
    if member.size > most:
        raise DataError(
            f"{path} holds {member.name!r} of {member.size:,} bytes, which is too much: it was not unpacked."
        )
    target = folder.joinpath(*name.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, open(target, "xb") as file:
        while block := source.read(BLOCK):
            written += len(block)
            if written > member.size:
                raise DataError(f"{path} holds {member.name!r}, which is larger than it says: it was not unpacked.")
            file.write(block)
    return written
