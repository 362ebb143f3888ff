"""What is known of a catalog's items, kept in a folder: vectors by what they come from, semantic IDs, and what made them.

The folder holds `embeddings.npz` (ids, and for each part its vectors and which items have one), `semantic_ids.npz` where there
are any, and `content.json`. Plain arrays, no pickles.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxreco import files
from jaxreco.content import fusion
from jaxreco.content.semantic_id import SemanticIds
from jaxreco.content.text import Encoded
from jaxreco.data.log import Log
from jaxreco.errors import DataError

FORMAT = 1
ABOUT, VECTORS, CODES = "content.json", "embeddings.npz", "semantic_ids.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class Content:
    """Representations of `I` items.

    Args:
      ids: [I], of the items as in their log. parts: "text", "factors", "image" -> vectors f32[I, D] of unit length, and which
        items have one. semantic: codes of the items. about: what made it; as JSON.
    """

    ids: np.ndarray
    parts: Mapping[str, Encoded]
    semantic: SemanticIds | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.parts and self.semantic is None:
            raise DataError("There is neither a representation nor a code of the items: give at least one.")
        if len(np.unique(self.ids)) != len(self.ids):
            raise DataError("Two items have the same id: give every item its own.")
        for name, part in self.parts.items():
            if part.vectors.ndim != 2 or len(part.vectors) != len(self.ids) or part.there.shape != (len(self.ids),):
                raise DataError(
                    f"{name} has vectors of shape {part.vectors.shape} for {len(self.ids):,} items: give one a row."
                )
            if not np.isfinite(part.vectors).all():
                raise DataError(f"{name} has vectors that are no numbers (NaN or infinite): mend them.")
        if self.semantic is not None and len(self.semantic.codes) != len(self.ids):
            raise DataError(f"There are {len(self.semantic.codes):,} codes for {len(self.ids):,} items: give one each.")

    def __len__(self) -> int:
        """I."""
        return len(self.ids)

    def fused(self) -> Encoded:
        """All parts as one. Raises DataError where there are codes alone."""
        return fusion.fuse(list(self.parts.values()))

    def of(self, ids: np.ndarray) -> Content:
        """The content of items in the order of `ids`, some or all of its own.

        Raises DataError for an item that it does not have: it was made of other data.
        """
        at = {id: row for row, id in enumerate(self.ids.tolist())}
        rows = np.array([at.get(id, -1) for id in np.asarray(ids).tolist()], np.int64)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            raise DataError(
                f"{len(unknown):,} of {len(rows):,} items, such as {ids[unknown[0]]}, are not in the content, which is of "
                f"{self.about.get('data', {}).get('name', 'other data')}: encode the content of these data."
            )
        parts = {name: Encoded(part.vectors[rows], part.there[rows]) for name, part in self.parts.items()}
        codes = self.semantic
        if codes is not None:
            fields = {name: getattr(codes, name)[rows] for name in ("codes", "found", "error", "known")}
            codes = dataclasses.replace(codes, **fields)
        return dataclasses.replace(self, ids=self.ids[rows], parts=parts, semantic=codes)

    def save(self, folder: str | Path, force: bool = False) -> None:
        """Write the folder, whole or not at all, and those above it; `force` replaces one of the same kind.

        Raises DataError for a folder that exists.
        """
        folder = Path(folder).expanduser()
        refuse_existing(folder, force)
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with files.folder_written_whole(folder) as new:
            vectors = {f"{name}_vectors": part.vectors for name, part in self.parts.items()}
            there = {f"{name}_there": part.there for name, part in self.parts.items()}
            np.savez(new / VECTORS, allow_pickle=False, ids=self.ids, **vectors, **there)
            if self.semantic is not None:
                np.savez(new / CODES, allow_pickle=False, **_fields(self.semantic))
            files.write_json(new / ABOUT, {"format": FORMAT, "parts": list(self.parts)} | dict(self.about))


def load(folder: str | Path) -> Content:
    """The content of a folder. Raises DataError for one that is none, is incomplete or broken."""
    folder = Path(folder).expanduser()
    if not (folder / ABOUT).is_file():
        raise DataError(f"{folder} holds no content ({ABOUT} is not there): make it with jaxreco content encode.")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        names = [str(name) for name in about["parts"]]
        form = about["format"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / ABOUT} is broken: encode the content again.") from None
    if form != FORMAT:
        raise DataError(f"{folder} has format {form}, and this version reads {FORMAT}: encode the content again.")
    arrays = ("ids", *(f"{name}_{what}" for name in names for what in ("vectors", "there")))
    vectors = fusion.arrays(folder / VECTORS, arrays)
    parts = {name: Encoded(vectors[f"{name}_vectors"], vectors[f"{name}_there"]) for name in names}
    semantic = None
    if (folder / CODES).exists():
        fields = [field.name for field in dataclasses.fields(SemanticIds)]
        semantic = SemanticIds(**fusion.arrays(folder / CODES, fields))
    elif about.get("semantic_ids"):
        raise DataError(f"{folder} lacks {CODES}: encode the content again.")
    return Content(vectors["ids"], parts, semantic, about)


def refuse_existing(folder: Path, force: bool) -> None:
    """Raises DataError for a folder that exists, unless it is of content and to be replaced."""
    if folder.exists() and not force:
        raise DataError(f"{folder} exists: name a new folder, or pass --force to replace it.")
    if folder.exists() and not (folder / ABOUT).is_file():
        raise DataError(f"{folder} is no folder of content, so --force does not replace it: name a new folder.")


def fingerprint(log: Log) -> str:
    """16 hexadecimal digits: equal for equal events and items, whatever folder they were read from."""
    digest = hashlib.sha256()
    for column in (log.items.ids, log.user_ids, log.user, log.item):
        digest.update(repr((column.dtype.str, column.shape)).encode())
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]


def _fields(semantic: SemanticIds) -> dict[str, np.ndarray]:
    return {field.name: getattr(semantic, field.name) for field in dataclasses.fields(semantic)}
