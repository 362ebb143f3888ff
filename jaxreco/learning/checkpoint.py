"""Checkpoints of a training run: Orbax for the arrays, `meta.json` beside them for what they belong to.

The learner is stored as its leaves, in order, and restored into the structure of one freshly made: the structure
comes from the code and the run's config, the numbers from the disk. A learner goes from one block to the next by way of
the host (`settle`), so that a restored one enters the compiled program exactly as one that was never stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreco import files, provenance, runtime
from jaxreco.errors import JaxrecoError

FORMAT = 1  # of the checkpoint; changes when an older jaxreco's can no longer be read
KEPT = 2  # checkpoints on disk: the last, and the one before in case that was half written
MUST_MATCH = {
    "format": "the format of jaxreco's checkpoints",
    "env": "the world",
    "env_version": "the world's version",
    "agent": "the agent",
    "agent_config": "the agent's settings",
    "train": "the training settings",
    "data": "the log that it is fitted to",
    "content": "the items' content",
    "network": "the network",
    "fit": "the settings of the fit",
}
SHOULD_MATCH = {
    "agent_source": "the agent's source file",
    "jaxreco": "jaxreco",
    "jax": "jax",
    "flax": "flax",
    "device": "the device",
    "cores": "the number of visible cores",
    "xla_flags": "XLA_FLAGS",
}


def describe(env: Any, agent_name: str, agent: Any, config: Any) -> dict[str, Any]:
    """What the checkpoint of an agent belongs to, as JSON can hold it. Initialises JAX."""
    return {
        "env": env.name,
        "env_version": env.version,
        "agent": agent_name,
        "agent_config": repr(agent) if dataclasses.is_dataclass(agent) else type(agent).__name__,
        "agent_source": _digest(agent_name),
        "train": dataclasses.asdict(config),
        **surroundings(),
    }


def surroundings() -> dict[str, Any]:
    """What every checkpoint depends on: the format, versions and the machine. Initialises JAX."""
    versions = provenance.versions()
    return {
        "format": FORMAT,
        "jaxreco": versions.get("jaxreco"),
        "jax": versions.get("jax"),
        "flax": versions.get("flax"),
        "device": provenance.device(),
        "platform": jax.default_backend(),
        "cores": runtime.cores(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def settle(learner: Any) -> Any:
    """The learner on the host: every block then gets its input in one layout, so one program serves them all."""
    return jax.device_get(learner)


def save(folder: pathlib.Path, learner: Any, meta: dict[str, Any]) -> None:
    """Write a checkpoint and wait until it is whole. Of several the last two are kept.

    Args:
      folder: made where it is not there. learner: a `Learner`, or another pytree with `update`, a count that grows.
      meta: of `describe`, or what else it belongs to, with `surroundings`.
    """
    import orbax.checkpoint as ocp

    update = int(learner.update)
    with _manager(folder) as manager:
        if update not in manager.all_steps():
            manager.save(update, args=ocp.args.StandardSave(_leaves(learner)))
            manager.wait_until_finished()
    arrays = _signature(learner)
    found = {"update": update, "arrays": list(arrays.values()), "leaves": list(arrays)}
    files.write_json(folder / "meta.json", {**meta, **found})


def latest(folder: pathlib.Path) -> int | None:
    """The update of the last checkpoint; None where there is none."""
    if not (folder / "meta.json").is_file():
        return None
    with _manager(folder) as manager:
        return manager.latest_step()


def forget(folder: pathlib.Path, update: int) -> None:
    """Delete the checkpoints after `update`: a run that goes on from there makes them again."""
    if not folder.is_dir():
        return
    with _manager(folder) as manager:
        for later in [step for step in manager.all_steps() if step > update]:
            manager.delete(later)


def restore(folder: pathlib.Path, fresh: Any, meta: dict[str, Any]) -> tuple[Any, list[str]]:
    """The learner of the last checkpoint, and warnings about what is not as it was.

    Args:
      fresh: a learner just begun with the same config; its structure is used, its numbers are not.
      meta: of `describe`, as things are now.

    Raises JaxrecoError where there is no checkpoint, or where it belongs to something else; of arrays that do not fit it
    names the first.
    """
    update = _last(folder)
    warnings = check(folder, meta)
    now = _signature(fresh)
    was = _stored(folder, names=now)
    if list(was.values()) != list(now.values()):  # asked first: Orbax, refusing, leaves reads behind it
        raise JaxrecoError(
            f"The checkpoint in {folder} does not fit this agent and world: {unlike(was, now)}. Start a new run."
        )
    leaves = _read(folder, update, [_shape(leaf) for leaf in jax.tree.leaves(fresh)])
    return settle(jax.tree.unflatten(jax.tree.structure(fresh), leaves)), warnings


def leaves(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of the last checkpoint by their paths, such as "agent_params.net.item.value", whatever they belong to.

    Raises JaxrecoError where there is no checkpoint.
    """
    update = _last(folder)
    arrays = _stored(folder)
    shapes = [_shape(_parsed(words)) for words in arrays.values()]
    return dict(zip(arrays, jax.device_get(_read(folder, update, shapes)), strict=True))


def fill(fresh: Any, found: dict[str, np.ndarray], at: str) -> Any:
    """`fresh`, which lies at a path, with the arrays found there and below.

    Raises JaxrecoError for leaves that are not there or are others, naming the first, and for arrays that nothing takes.
    """
    now = {f"{at}.{path}" if path else at: words for path, words in _signature(fresh).items()}
    was = {path: _words(leaf) for path, leaf in found.items() if f"{path}.".startswith(f"{at}.")}
    if was != now:
        raise JaxrecoError(unlike(was, now))
    return jax.tree.unflatten(jax.tree.structure(fresh), [found[path] for path in now])


def unlike(was: dict[str, str], now: dict[str, str]) -> str:
    """What is first not as it was, and how many more are not. Args: type and shape of leaves, by path."""
    differing = [path for path in {**now, **was} if was.get(path) != now.get(path)]
    if not differing:
        return "its arrays are in another order"
    path, more = differing[0], len(differing) - 1
    words = f"{path} was {was.get(path, 'not there')}, now {now.get(path, 'not there')}"
    return f"{words} ({more} more differ)" if more else words


def check(folder: pathlib.Path, meta: dict[str, Any]) -> list[str]:
    """Compare what the checkpoint in `folder` belongs to with `meta`; what may differ comes back as sentences.

    Raises JaxrecoError naming what differs and must not.
    """
    was = _meta(folder)
    now = files.plain(json.loads(json.dumps(meta)))
    for name, words in MUST_MATCH.items():
        if was.get(name) != now.get(name):
            differing = _differing(was.get(name), now.get(name))
            raise JaxrecoError(
                f"The checkpoint in {folder} belongs to something else: {words} was {differing}."
                " Restore it with what it was made with, or start a new run."
            )
    return [
        f"{words} was {was.get(name) or 'not set'}, now {now.get(name) or 'not set'}: "
        "the run goes on, but may not repeat an uninterrupted one bit for bit."
        for name, words in SHOULD_MATCH.items()
        if was.get(name) != now.get(name)
    ]


def _meta(folder: pathlib.Path) -> dict[str, Any]:
    """What was stored beside the arrays; raises JaxrecoError where it cannot be read."""
    try:
        return json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        raise JaxrecoError(f"{folder / 'meta.json'} is no JSON: the checkpoint is damaged, start a new run.") from None


def _differing(was: Any, now: Any) -> str:
    """Two values in words; of two dictionaries only the entries that differ."""
    if isinstance(was, dict) and isinstance(now, dict):
        names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
        was, now = ({name: side.get(name) for name in names} for side in (was, now))
    return f"{was}, now {now}"


def _last(folder: pathlib.Path) -> int:
    update = latest(folder)
    if update is None:
        raise JaxrecoError(f"{folder} holds no checkpoint: start a new run.")
    return update


def _read(folder: pathlib.Path, update: int, shapes: list[Any]) -> list[Any]:
    """The arrays of a checkpoint, in order."""
    import orbax.checkpoint as ocp

    with _manager(folder) as manager:
        found = manager.restore(update, args=ocp.args.StandardRestore(_leaves(shapes)))
    empty = (jnp.zeros(shape.shape, shape.dtype) for shape in shapes if not shape.size)
    return [found[_name(i)] if shape.size else next(empty) for i, shape in enumerate(shapes)]


def _shape(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf), sharding=_here())


def _signature(learner: Any) -> dict[str, str]:
    """Type and shape of every leaf by its path, in order, as JSON can hold them."""
    paths = jax.tree_util.tree_leaves_with_path(learner)
    return {jax.tree_util.keystr(path, simple=True, separator="."): _words(leaf) for path, leaf in paths}


def _words(leaf: Any) -> str:
    """Type and shape, such as "float32[8, 3]"."""
    return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"


def _parsed(words: str) -> Any:
    """The array without numbers that the words are about."""
    name, _, shape = words.rstrip("]").partition("[")
    return jax.ShapeDtypeStruct(tuple(int(size) for size in shape.split(",") if size), jnp.dtype(name))


def _stored(folder: pathlib.Path, names: Iterable[str] = ()) -> dict[str, str]:
    """Type and shape of the checkpoint's leaves by path. Args: names, of leaves where it does not say: older ones do not."""
    meta = _meta(folder)
    arrays = meta.get("arrays", [])
    known = meta.get("leaves") or [*names, *(f"leaf {i}" for i in range(len(arrays)))]
    return dict(zip(known, arrays, strict=False))


def _here() -> Any:
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _leaves(learner: Any) -> dict[str, Any]:
    """Leaves by their place in the order; what Orbax stores must be arrays, not NumPy scalars, and none without numbers."""

    def array(leaf: Any) -> Any:
        return leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.asarray(leaf)

    arrays = [array(leaf) for leaf in jax.tree.leaves(learner)]
    return {_name(i): leaf for i, leaf in enumerate(arrays) if leaf.size}


def _name(place: int) -> str:
    """Under which Orbax stores a leaf."""
    return f"{place:05d}"


def _digest(agent_name: str) -> str | None:
    """Of an agent's own file; None for a registered agent, whose version is jaxreco's."""
    path = pathlib.Path(agent_name)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if agent_name.endswith(".py") and path.is_file() else None


@contextlib.contextmanager
def _manager(folder: pathlib.Path) -> Iterator[Any]:
    """Orbax's manager of the folder, closed at the end; its notices are not for the user."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.ERROR)
    options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True, enable_async_checkpointing=False)
    manager = ocp.CheckpointManager(folder.absolute(), options=options)
    try:
        yield manager
    finally:
        manager.close()
