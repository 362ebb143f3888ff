"""Draws docs/img/thumbnails.png, some of Feed-v0's thumbnails: python docs/pictures.py"""

from __future__ import annotations

import io
import pathlib

import numpy as np
from PIL import Image

import jaxreco
from jaxreco import files
from jaxreco.envs.feed_pictures import thumbnails

EACH, TWICE, GAP = 5, 2, 3  # pictures a category, pixels a pixel, pixels between


def main() -> None:
    """A row a picture, a column a category; 128 colours, to keep the file small."""
    _, params = jaxreco.make("Feed-v0")
    pictures = thumbnails(params.catalog, seed=0)
    category = np.asarray(params.catalog.category)
    rows = np.stack([np.flatnonzero(category == c)[:EACH] for c in range(category.max() + 1)], axis=1)
    large = pictures[rows].repeat(TWICE, axis=2).repeat(TWICE, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)
    sheet = framed.transpose(0, 2, 1, 3, 4).reshape(framed.shape[0] * framed.shape[2], -1, 3)
    file = io.BytesIO()
    Image.fromarray(sheet).quantize(128, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    with files.written_whole(pathlib.Path(__file__).parent / "img" / "thumbnails.png") as whole:
        whole.write(file.getvalue())


if __name__ == "__main__":
    main()
