"""The sentence encoder: its transformer against loops, and the real MiniLM against sentence-transformers' own figures."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.content import make, sentence, text
from jaxreco.content.make import Recipe
from jaxreco.data.log import Items, Log
from jaxreco.errors import DataError

SHAPE = sentence.Shape(layers=1, heads=2, epsilon=1e-12)
NEEDED = ("tokenizers", "safetensors", sentence.MINILM)
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
with_minilm = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def weights(width: int = 4, wide: int = 6, words: int = 9, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of a model with one layer, under the names that publishers use."""
    rng = np.random.default_rng(seed)
    layer = "encoder.layer.0"
    shapes = {
        **{f"{layer}.attention.self.{part}": (width, width) for part in ("query", "key", "value")},
        f"{layer}.attention.output.dense": (width, width),
        f"{layer}.intermediate.dense": (wide, width),
        f"{layer}.output.dense": (width, wide),
        **{name: (width,) for name in (f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm")},
        "embeddings.LayerNorm": (width,),
    }
    found = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    found |= {f"{name}.bias": rng.normal(size=shape[0]) for name, shape in shapes.items()}
    for kind, rows in (("word", words), ("position", 8), ("token_type", 2)):
        found[f"embeddings.{kind}_embeddings.weight"] = rng.normal(size=(rows, width))
    return found


def by_loops(w: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """The same model, a word and a head at a time."""

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        return (x - x.mean()) / math.sqrt(((x - x.mean()) ** 2).mean() + 1e-12) * w[f"{name}.weight"] + w[
            f"{name}.bias"
        ]

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    table = {kind: w[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")}
    first = [norm("embeddings.LayerNorm", table["word"][i] + table["position"][t] + table["token_type"][0])
             for t, i in enumerate(ids)]  # fmt: skip
    layer, last = "encoder.layer.0", []
    for x in first:
        mixed = []
        for head in (slice(0, 2), slice(2, 4)):
            query = dense(f"{layer}.attention.self.query", x)[head]
            score = [math.exp(query @ dense(f"{layer}.attention.self.key", y)[head] / math.sqrt(2)) for y in first]
            values = [dense(f"{layer}.attention.self.value", y)[head] for y in first]
            mixed.append(sum(s * v for s, v in zip(score, values, strict=True)) / sum(score))
        x = norm(
            f"{layer}.attention.output.LayerNorm", x + dense(f"{layer}.attention.output.dense", np.concatenate(mixed))
        )
        wide = [a * 0.5 * (1 + math.erf(a / math.sqrt(2))) for a in dense(f"{layer}.intermediate.dense", x)]
        last.append(norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", np.array(wide))))
    return np.mean(last, axis=0)


def test_the_transformer_is_that_of_loops() -> None:
    w = weights()
    given = {name: jnp.asarray(value, jnp.float32) for name, value in w.items()}
    for ids in ([3], [1, 5, 8, 2]):
        padded, there = jnp.array(ids + [0] * (6 - len(ids))), jnp.array([1] * len(ids) + [0] * (6 - len(ids)))
        np.testing.assert_allclose(sentence.sentence(given, SHAPE, padded, there), by_loops(w, ids), atol=2e-5)


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no sentence encoder"):
        sentence.encoder(tmp_path)
    for config, said in (
        ("{", "settings that are no JSON"),
        (json.dumps({"model_type": "t5", "hidden_act": "relu"}), "is a t5 with relu: only BERT"),
    ):
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(DataError, match=said):
            sentence.encoder(tmp_path)


@with_minilm
def test_minilm_gives_the_figures_of_sentence_transformers() -> None:
    """Cosines as the documentation of sentence-transformers prints them for all-MiniLM-L6-v2."""
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    found = text.encode(texts, sentence.encoder("minilm"))
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(found.vectors @ found.vectors.T, expected, atol=6e-5)


@with_minilm
def test_minilm_knows_words_that_texts_do_not_share() -> None:
    titles = ("A kitten that purrs", "The small cat", "Stock prices fell", "A crash of the market", "")
    log = Log.of("x", np.zeros(1), np.zeros(1), Items(np.arange(5), titles=titles), np.arange(1))
    content = make.make(log, Recipe(text=True, text_model="minilm"))
    near = content.parts["text"].vectors @ content.parts["text"].vectors.T
    assert min(near[0, 1], near[2, 3]) > max(near[:2, 2:4].ravel()) + 0.1
    assert content.parts["text"].there.tolist() == [True] * 4 + [False]
    assert content.parts["text"].vectors.shape == (5, 384)
