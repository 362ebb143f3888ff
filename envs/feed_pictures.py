"""Thumbnails of Feed-v0's videos, drawn from a seed: what a picture can tell of an item, and no more.

The category decides palette and motif, the creator the backdrop and the badge. Where an item lies within its category,
in the embedding that users judge by, bends and colours the drawing: an encoder that looks closely can read a part of it
back. Drawn when asked for, with NumPy; neither the world nor the compiled step knows of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxreco.base import Catalog

Array = np.ndarray

SIZE = 32  # pixels a side
BLOCK = 512  # items drawn at once: a few MB
NOISE = 5.0  # of each pixel, in steps of 255
_STYLE, _READING, _GRAIN = 1, 2, 3  # every use of the seed has its own stream

# Hue, saturation and value of background and motif.
PALETTES = {
    "music": ((0.75, 0.60, 0.45), (0.13, 0.60, 1.00)),
    "comedy": ((0.52, 0.55, 0.75), (0.14, 0.75, 1.00)),
    "dance": ((0.90, 0.65, 0.55), (0.50, 0.30, 1.00)),
    "cooking": ((0.08, 0.60, 0.80), (0.02, 0.10, 1.00)),
    "travel": ((0.56, 0.45, 0.95), (0.38, 0.55, 0.45)),
    "sports": ((0.33, 0.60, 0.55), (0.10, 0.05, 1.00)),
    "gaming": ((0.68, 0.75, 0.25), (0.40, 0.75, 1.00)),
    "beauty": ((0.95, 0.25, 1.00), (0.96, 0.70, 0.85)),
    "hairstyling": ((0.09, 0.30, 0.95), (0.06, 0.70, 0.45)),
    "fashion": ((0.14, 0.20, 0.95), (0.62, 0.65, 0.55)),
    "pets": ((0.46, 0.35, 0.85), (0.07, 0.60, 0.50)),
    "science": ((0.60, 0.80, 0.30), (0.48, 0.55, 1.00)),
    "news": ((0.60, 0.08, 0.93), (0.00, 0.75, 0.70)),
    "fitness": ((0.04, 0.70, 0.95), (0.63, 0.45, 0.25)),
    "crafts": ((0.11, 0.22, 0.95), (0.02, 0.70, 0.65)),
    "cars": ((0.58, 0.15, 0.55), (0.99, 0.75, 0.90)),
}


def thumbnails(catalog: Catalog, seed: int = 0, size: int = SIZE) -> Array:
    """u8[I, size, size, 3], RGB: a picture an item.

    Args: catalog, of Feed-v0, with the embedding that its users judge by; seed, the world's.
    """
    reading = _positions(catalog, seed)
    style = _Style.drawn(int(np.max(catalog.creator)) + 1, seed)
    category, creator = np.asarray(catalog.category), np.asarray(catalog.creator)
    grain = np.random.default_rng([seed, _GRAIN])
    pictures = np.empty((catalog.n_items, size, size, 3), np.uint8)
    for start in range(0, catalog.n_items, BLOCK):
        part = slice(start, start + BLOCK)
        drawn = _draw(category[part], style.of(creator[part]), reading[part], size)
        noise = NOISE * grain.normal(size=drawn.shape)
        pictures[part] = np.clip(255.0 * drawn + noise, 0.0, 255.0).round().astype(np.uint8)
    return pictures


def _positions(catalog: Catalog, seed: int) -> Array:
    """f32[I, 8] in (-1, 1): items within their categories, along eight random directions of the embedding."""
    embedding, category = np.asarray(catalog.embedding, np.float64), np.asarray(catalog.category)
    centre = np.zeros((category.max() + 1, embedding.shape[1]))
    np.add.at(centre, category, embedding)
    centre /= np.maximum(np.bincount(category), 1)[:, None]
    away = embedding - centre[category]
    directions = np.random.default_rng([seed, _READING]).normal(size=(embedding.shape[1], 8))
    along = away @ np.linalg.qr(np.pad(directions, ((0, max(0, 8 - len(directions))), (0, 0))))[0][: len(directions)]
    return np.tanh(along / np.maximum(along.std(axis=0), 1e-9))


class _Style(NamedTuple):
    """What a creator's pictures have in common; one entry a creator or an item."""

    backdrop: Array  # index into _BACKDROPS
    hue: Array  # of the badge
    corner: Array  # 0 to 3
    light: Array  # how bright the backdrop's pattern is

    @classmethod
    def drawn(cls, n: int, seed: int) -> _Style:
        rng = np.random.default_rng([seed, _STYLE])
        return cls(rng.integers(len(_BACKDROPS), size=n), rng.random(n), rng.integers(4, size=n), rng.uniform(-1, 1, n))

    def of(self, creator: Array) -> _Style:
        return _Style(*(column[creator] for column in self))


def _draw(category: Array, style: _Style, reading: Array, size: int) -> Array:
    """f64[N, size, size, 3] in [0, 1], without noise."""
    from matplotlib.colors import hsv_to_rgb

    hue, tint, turn, scale, right, down, frequency, slope = (column[:, None, None] for column in reading.T)
    line = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    y, x = (side[None] for side in np.meshgrid(line, line, indexing="ij"))
    palettes = np.array(list(PALETTES.values()))[category % len(PALETTES)]
    ground, ink = palettes[:, 0, :, None, None], palettes[:, 1, :, None, None]

    shade = 0.10 * (x * np.cos(2.0 * slope) + y * np.sin(2.0 * slope))
    pattern = np.zeros((len(category), size, size))
    for kind, backdrop in enumerate(_BACKDROPS):
        here = style.backdrop == kind
        pattern[here] = backdrop(x, y, frequency[here])
    light = shade + 0.06 * np.sign(style.light)[:, None, None] * pattern
    picture = _colour(hsv_to_rgb, ground[:, 0] + 0.06 * hue, ground[:, 1], ground[:, 2] + light)

    angle, width = 0.55 * turn, 0.62 + 0.13 * scale
    u, v = (x - 0.18 * right) / width, (y - 0.18 * down) / width
    u, v = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
    pixel = 2.0 / size / width
    covered, shadow = np.zeros_like(pattern), np.zeros_like(pattern)
    for kind in np.unique(category):
        here, motif = category == kind, _MOTIFS[list(PALETTES)[kind % len(PALETTES)]]
        covered[here] = _cover(motif(u[here], v[here], frequency[here]), pixel[here])
        shadow[here] = _cover(motif(u[here] - 0.09, v[here] - 0.11, frequency[here]), 3.0 * pixel[here])
    picture *= 1.0 - 0.35 * shadow[..., None]
    drawn = _colour(hsv_to_rgb, ink[:, 0] + 0.07 * tint, ink[:, 1], ink[:, 2] - 0.12 * v)
    picture += covered[..., None] * (drawn - picture)

    across, along = (np.where(style.corner & bit, 0.72, -0.72)[:, None, None] for bit in (1, 2))
    from_badge = np.hypot(x - across, y - along)
    badge = _colour(hsv_to_rgb, style.hue[:, None, None] + 0.0 * x * y, 0.7, 0.95)
    for radius, colour in ((0.21, np.ones(3)), (0.15, badge)):
        picture += _cover(from_badge - radius, 2.0 / size)[..., None] * (colour - picture)
    return picture


def _colour(hsv_to_rgb: Callable[[Array], Array], hue: Array, saturation: Array | float, value: Array | float) -> Array:
    """[N, H, W, 3]; hues go round, the others are cut to [0, 1]."""
    hue, saturation, value = np.broadcast_arrays(hue % 1.0, np.clip(saturation, 0, 1), np.clip(value, 0, 1))
    return hsv_to_rgb(np.stack([hue, saturation, value], axis=-1))


def _cover(distance: Array, pixel: Array | float) -> Array:
    """The share of a pixel that is inside of a shape, from the signed distance to its edge."""
    return np.clip(0.5 - distance / pixel, 0.0, 1.0)


# -- backdrops: [N, H, W] in [-1, 1] ---------------------------------------------------------------------------

_BACKDROPS: tuple[Callable[[Array, Array, Array], Array], ...] = (
    lambda x, y, f: 0.7 - np.hypot(x, y) + 0.0 * f,  # a vignette
    lambda x, y, f: np.tanh(3.0 * np.cos((11.0 + f) * (x + y))),  # diagonal stripes
    lambda x, y, f: np.tanh(3.0 * np.cos(6.0 * np.arctan2(y, x) + f)) * np.minimum(np.hypot(x, y), 1.0),  # rays
    lambda x, y, f: np.tanh(4.0 * (np.cos((9.0 + f) * x) * np.cos((9.0 + f) * y) - 0.3)),  # dots
)


# -- motifs: signed distances, below 0 inside, in coordinates of about [-1, 1], y downwards; f in (-1, 1) bends them ------


def _disc(x: Array, y: Array, radius: Array | float) -> Array:
    return np.hypot(x, y) - radius


def _box(x: Array, y: Array, width: Array | float, height: Array | float) -> Array:
    return np.maximum(np.abs(x) - width, np.abs(y) - height)


def _ring(x: Array, y: Array, radius: Array | float, thick: float) -> Array:
    return np.abs(np.hypot(x, y) - radius) - thick


def _all(*parts: Array) -> Array:
    """The union of shapes."""
    found = parts[0]
    for part in parts[1:]:
        found = np.minimum(found, part)
    return found


def _less(shape: Array, hole: Array) -> Array:
    return np.maximum(shape, -hole)


def _note(x: Array, y: Array, f: Array) -> Array:
    heads = _all(_disc(x + 0.48, y - 0.62, 0.27), _disc(x - 0.48, y - 0.5, 0.27))
    stems = _all(_box(x + 0.29, y + 0.05, 0.08, 0.68), _box(x - 0.67, y + 0.17, 0.08, 0.68))
    return _all(heads, stems, _box(x - 0.19, y + 0.68 + 0.13 * x + 0.08 * f, 0.56, 0.16))


def _smile(x: Array, y: Array, f: Array) -> Array:
    eyes = _all(_disc(x + 0.33, y + 0.25, 0.15), _disc(x - 0.33, y + 0.25, 0.15))
    mouth = np.maximum(np.abs(y - 0.3 - (0.15 + 0.15 * f) + (0.5 + 0.5 * f) * x**2) - 0.1, np.abs(x) - 0.5)
    return _less(_less(_disc(x, y, 0.9), eyes), mouth)


def _ribbons(x: Array, y: Array, f: Array) -> Array:
    wave = 0.3 * np.sin((4.0 + 1.2 * f) * x)
    return np.maximum(_all(*(np.abs(y - at - wave) - 0.11 for at in (-0.5, 0.0, 0.5))), np.abs(x) - 1.0)


def _bowl(x: Array, y: Array, f: Array) -> Array:
    bowl = np.maximum(_disc(x, y - 0.05, 0.85), 0.1 - y)
    steam = _all(*(np.abs(x - at - 0.12 * np.sin((7.0 + 2.0 * f) * y)) - 0.08 for at in (-0.4, 0.0, 0.4)))
    return _all(bowl, np.maximum(steam, _box(0.0 * x, y + 0.45, 1.0, 0.38)), _box(x, y - 0.92, 0.4, 0.07))


def _mountains(x: Array, y: Array, f: Array) -> Array:
    slopes = _all(np.abs(x + 0.4) * 1.1 - (y + 0.35 + 0.25 * f), np.abs(x - 0.5) * 1.2 - (y + 0.05 - 0.25 * f))
    ground = np.maximum(slopes, np.maximum(y - 0.75, np.abs(x) - 1.25))
    return _all(ground, _disc(x - 0.6, y + 0.7, 0.22))


def _ball(x: Array, y: Array, f: Array) -> Array:
    seams = _all(np.abs(x) - 0.06, np.abs(y) - 0.06, _ring(x + 1.0 + 0.2 * f, y, 0.65, 0.06))
    return _less(_disc(x, y, 0.9), _all(seams, _ring(x - 1.0 - 0.2 * f, y, 0.65, 0.06)))


_INVADER = ("..#..#..", "...##...", "..####..", ".##..##.", "########", "#.####.#", "#.#..#.#", "..#..#..")


def _invader(x: Array, y: Array, f: Array) -> Array:
    bitmap = np.array([[cell == "#" for cell in row] for row in _INVADER])
    wide = 1.0 + 0.12 * f
    column, row = ((np.floor((side + 1.0) * 4.0)).astype(int) for side in (x / wide, y * wide))
    inside = (column >= 0) & (column < 8) & (row >= 0) & (row < 8)
    return np.where(inside & bitmap[row.clip(0, 7), column.clip(0, 7)], -0.2, 0.2)


def _flower(x: Array, y: Array, f: Array) -> Array:
    edge = 0.68 + (0.22 + 0.1 * f) * np.cos(6.0 * np.arctan2(y, x))
    return _less(_disc(x, y, edge), _ring(x, y, 0.26, 0.07))


def _strands(x: Array, y: Array, f: Array) -> Array:
    curl = 0.14 * np.sin((5.0 + 2.0 * f) * y)
    strands = _all(*(np.abs(x - at - curl) - 0.085 for at in (-0.66, -0.33, 0.0, 0.33, 0.66)))
    return _all(np.maximum(strands, np.abs(y) - 0.95), _box(x, y + 0.85, 0.85, 0.13))


def _shirt(x: Array, y: Array, f: Array) -> Array:
    sleeves = _box(np.abs(x) - 0.62 - 0.5 * (y + 0.5), y + 0.45, 0.3, 0.32)
    shirt = _less(_all(_box(x, y - 0.1, 0.52, 0.82), sleeves), _disc(x, y + 0.78, 0.25))
    return _less(shirt, _box(x, y - 0.15 - 0.2 * f, 0.34, 0.08))


def _paw(x: Array, y: Array, f: Array) -> Array:
    places = ((-0.68, -0.1), (-0.28, -0.6), (0.28, -0.6), (0.68, -0.1))
    toes = _all(*(_disc(x - a, (y - b) / (1.2 + 0.15 * f), 0.2) for a, b in places))
    return _all(toes, _disc(x / 1.15, y - 0.42, 0.44))


def _atom(x: Array, y: Array, f: Array) -> Array:
    def orbit(angle: float) -> Array:
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        return _ring(u, v * (2.4 + 0.6 * f), 0.9, 0.085)

    return _all(orbit(0.0), orbit(np.pi / 3), orbit(-np.pi / 3), _disc(x, y, 0.22))


def _page(x: Array, y: Array, f: Array) -> Array:
    lines = _all(*(_box(x - 0.35, y - at, 0.5, 0.07) for at in (-0.45, -0.2)))
    below = _all(*(_box(x, y - at, 0.85, 0.07) for at in (0.1, 0.35, 0.6)))
    return _all(_box(x, y + 0.8, 0.85, 0.13), lines, below, _box(x + 0.55, y + 0.33, 0.28 + 0.06 * f, 0.24))


def _dumbbell(x: Array, y: Array, f: Array) -> Array:
    side = np.abs(x)
    plates = _all(_box(side - 0.55, y, 0.11, 0.6 + 0.15 * f), _box(side - 0.8, y, 0.09, 0.4 + 0.1 * f))
    return _all(_box(x, y, 1.0, 0.09), plates)


def _weave(x: Array, y: Array, f: Array) -> Array:
    rate = 5.5 + 1.2 * f
    return np.maximum(-np.sin(rate * x) * np.sin(rate * y) * 0.3, _box(x, y, 0.95, 0.95))


def _car(x: Array, y: Array, f: Array) -> Array:
    side = np.abs(x)
    cabin = np.maximum(side + 0.5 * (-0.1 - y) * 0.8 - 0.55, np.abs(y + 0.25) - 0.3 - 0.08 * f)
    window = _box(side - 0.22, y + 0.25, 0.14, 0.15)
    wheels = _disc(side - 0.52, y - 0.42, 0.24)
    body = _less(_all(_box(x, y - 0.15, 1.0, 0.25), _less(cabin, window)), _disc(side - 0.52, y - 0.42, 0.31))
    return _all(body, wheels)


_MOTIFS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "music": _note,
    "comedy": _smile,
    "dance": _ribbons,
    "cooking": _bowl,
    "travel": _mountains,
    "sports": _ball,
    "gaming": _invader,
    "beauty": _flower,
    "hairstyling": _strands,
    "fashion": _shirt,
    "pets": _paw,
    "science": _atom,
    "news": _page,
    "fitness": _dumbbell,
    "crafts": _weave,
    "cars": _car,
}
