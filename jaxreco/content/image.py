"""Items by their pictures: a light encoder that downloads nothing, and any image model that is at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxreco.content.text import Encoded
from jaxreco.errors import DataError

Encoder = Callable[[np.ndarray], np.ndarray]

SIDE = 32  # pixels a side that the default encoder looks at: larger pictures are reduced to it
PATCH = 6  # pixels a side of a patch
FILTERS = 64
SAMPLE = 8192  # patches from which filters are made
FLOOR = 0.01  # added to a patch's variance, so that noise in even patches stays small
SOFT = 0.1  # added to the spread of every direction before whitening
THRESHOLD = 0.25  # responses below it count as none
BLOCK = 64  # pictures at once: their patches are 20 MB


class Bank(NamedTuple):
    """Filters of patches, `P` numbers each (PATCH * PATCH * 3, channel by channel)."""

    mean: np.ndarray  # f32[P]
    weights: np.ndarray  # f32[P, F]


def encode(
    pictures: np.ndarray, there: np.ndarray | None = None, encoder: Encoder | None = None, width: int = 64
) -> Encoded:
    """Pictures as vectors of unit length.

    Args:
      pictures: u8[I, H, W, 3], RGB. there: bool[I], False for an item without a picture, which gets no vector.
      encoder: u8[N, H, W, 3] -> f32[N, D], such as a pretrained network; without one, `features` in their `width` leading
        directions over these pictures (fewer where there are fewer of either).

    Raises DataError for pictures of another form, and where an encoder gives something else than a vector a picture.
    """
    pictures = _checked(pictures)
    there = np.ones(len(pictures), bool) if there is None else np.asarray(there, bool)
    if there.shape != (len(pictures),):
        raise DataError(f"There are {len(pictures)} pictures and {len(there)} marks of which are there: give one each.")
    if not there.any():
        raise DataError("None of the items has a picture: encode something else.")
    some = pictures[there]
    found = np.asarray(leading(features(some), width) if encoder is None else encoder(some), np.float32)
    if found.ndim != 2 or len(found) != len(some) or not np.isfinite(found).all():
        raise DataError(
            f"The encoder gave an array of shape {found.shape} for {len(some)} pictures: it must give one vector a picture."
        )
    vectors = np.zeros((len(pictures), found.shape[1]), np.float32)
    vectors[there] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return Encoded(vectors, there & (np.linalg.norm(vectors, axis=1) > 0.5))


def features(pictures: np.ndarray, seed: int = 0) -> np.ndarray:
    """f32[N, 8 F]: how strongly, in each quarter of a picture, each of F filters answers, and its opposite.

    A convolution that nobody trained: its filters are whitened patches of the pictures themselves, its responses are
    thresholded and averaged over quarters (Coates, Ng & Lee 2011, "An analysis of single-layer networks in unsupervised
    feature learning"; Coates & Ng 2011, "The importance of encoding versus training", for patches as filters).
    """
    small = reduced(_checked(pictures))
    found = bank(small, seed)
    return np.concatenate([responses(small[at : at + BLOCK], found) for at in range(0, len(small), BLOCK)])


def reduced(pictures: np.ndarray, side: int = SIDE) -> np.ndarray:
    """f32[N, at most side, at most side, 3] in [0, 1]: means over areas. pictures u8[N, H, W, 3]."""
    _, high, wide, _ = pictures.shape
    rows, columns = (_areas(length, side) for length in (high, wide))
    small = np.empty((len(pictures), len(rows), len(columns), 3), np.float32)
    areas = np.outer(np.diff(rows, append=high), np.diff(columns, append=wide))[:, :, None]
    for at in range(0, len(pictures), BLOCK):
        total = np.add.reduceat(pictures[at : at + BLOCK].astype(np.float32), rows, axis=1)
        small[at : at + BLOCK] = np.add.reduceat(total, columns, axis=2) / (255.0 * areas)
    return small


def _areas(length: int, side: int) -> np.ndarray:
    """Where each of at most `side` areas of nearly equal size begins."""
    n = min(length, side)
    return np.arange(n) * length // n


def bank(pictures: np.ndarray, seed: int = 0) -> Bank:
    """Filters from patches drawn at random, whitened (ZCA) and of unit length. pictures f32[N, H, W, 3]."""
    rng = np.random.default_rng(seed)
    every = _windows(pictures)
    at = tuple(rng.integers(size, size=SAMPLE) for size in every.shape[:3])
    patches = evened(every[at].reshape(SAMPLE, -1))
    mean = patches.mean(axis=0)
    spread, directions = np.linalg.eigh(np.cov((patches - mean).T))
    whiten = directions / np.sqrt(np.maximum(spread, 0.0) + SOFT) @ directions.T
    filters = (patches[:FILTERS] - mean) @ whiten
    filters /= np.maximum(np.linalg.norm(filters, axis=1, keepdims=True), 1e-9)
    return Bank(mean.astype(np.float32), (whiten @ filters.T).astype(np.float32))


def responses(pictures: np.ndarray, filters: Bank) -> np.ndarray:
    """f32[N, 4 * 2 F]: quarters in reading order; in each the filters' mean responses, then their opposites'."""
    every = _windows(pictures)
    answer = (evened(every.reshape(-1, every[0, 0, 0].size)) - filters.mean) @ filters.weights
    both = np.concatenate([np.maximum(answer - THRESHOLD, 0.0), np.maximum(-answer - THRESHOLD, 0.0)], axis=1)
    both = both.reshape(*every.shape[:3], -1)
    quarters = [q for rows in np.array_split(both, 2, axis=1) for q in np.array_split(rows, 2, axis=2)]
    return np.concatenate([quarter.mean(axis=(1, 2)) for quarter in quarters], axis=1)


def evened(patches: np.ndarray) -> np.ndarray:
    """Patches [M, P] less their mean, divided by their spread: neither brightness nor contrast is left."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + FLOOR)


def _windows(pictures: np.ndarray) -> np.ndarray:
    """[N, h, w, 3, PATCH, PATCH]: every patch of every picture, without a copy."""
    return np.lib.stride_tricks.sliding_window_view(pictures, (PATCH, PATCH), axis=(1, 2))


def leading(features: np.ndarray, width: int) -> np.ndarray:
    """f32[N, at most width]: features [N, D] in their leading directions (principal components), signs fixed."""
    centred = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
    spread, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(-spread)[:width]
    directions = directions[:, order[spread[order] > 1e-9 * max(float(spread.max()), 1e-30)]]
    directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    return (centred @ directions).astype(np.float32)


def _checked(pictures: np.ndarray) -> np.ndarray:
    pictures = np.asarray(pictures)
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8:
        raise DataError(
            f"Pictures are an array of shape {pictures.shape} and type {pictures.dtype}: give u8[I, H, W, 3], RGB of 0 to 255."
        )
    if min(pictures.shape[1:3]) <= PATCH:
        raise DataError(
            f"Pictures are {pictures.shape[1]} x {pictures.shape[2]}: give some of at least {PATCH + 1} a side."
        )
    return pictures
