"""Immutable dataclasses that are pytrees, and numeric fields that know their bounds.

`Struct` subclasses are what jaxreco carries through `jit`: states, observations, parameters. A Python
number given to a field becomes a strongly typed NumPy scalar, because a bare `0.1` is weakly typed and
would make `jit` trace again where only a value has changed.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np


def param(*, default: float, low: float = -np.inf, high: float = np.inf, doc: str = "", unit: str = "") -> Any:
    """A scalar parameter: its default, the closed range it may take, what it means and its unit."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "doc": doc, "unit": unit})


def _strong(value: Any) -> Any:
    """Give Python numbers the strong type that their field keeps; leave everything else alone."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int32(value)
    return np.float32(value) if isinstance(value, float) else value


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, param))
class Struct:
    """Base of the dataclasses that `jax` sees through; every field is a child of the pytree."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, eq=False)(cls)
        jax.tree_util.register_dataclass(cls, [f.name for f in dataclasses.fields(cls)], [])  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
                value = float(value) if isinstance(field.default, float) else value
                object.__setattr__(self, field.name, _strong(value))

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, each cast to the dtype that the field has now.

        Raises TypeError for an unknown field and ValueError when an array takes the place of a scalar.
        """
        names = [f.name for f in dataclasses.fields(self)]  # type: ignore[arg-type]
        for name, value in changes.items():
            if name not in names:
                raise TypeError(f"{type(self).__name__} has no field {name!r}; it has: {', '.join(names)}.")
            changes[name] = _cast(name, getattr(self, name), value)
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def _cast(name: str, old: Any, new: Any) -> Any:
    if not isinstance(old, (np.ndarray, np.generic, jax.Array)) or isinstance(new, Struct):
        return new
    if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
        return new
    is_array = isinstance(new, (np.ndarray, np.generic, jax.Array))
    new = new.astype(old.dtype) if is_array else np.asarray(new, old.dtype)
    if np.ndim(old) == 0 and np.ndim(new) != 0:
        raise ValueError(f"{name} is a scalar; it cannot take an array of shape {np.shape(new)}.")
    return new[()] if isinstance(new, np.ndarray) and new.ndim == 0 else new


def violations(tree: Any, path: str = "") -> list[str]:
    """Every numeric field of a Struct (nested ones too) that is NaN or outside its declared range, as sentences.

    Host side: it reads values, so it cannot run under `jit`.
    """
    found: list[str] = []
    for field in dataclasses.fields(tree):
        value, name = getattr(tree, field.name), f"{path}{field.name}"
        if isinstance(value, Struct):
            found += violations(value, name + ".")
            continue
        if not isinstance(value, (np.ndarray, np.generic, jax.Array)) or not jnp.issubdtype(value.dtype, jnp.number):
            continue  # flags and keys have no range
        array = np.asarray(value)
        low, high = field.metadata.get("low", -np.inf), field.metadata.get("high", np.inf)
        if array.size and np.isnan(array).any():
            found.append(f"{name} is not a number (NaN).")
        elif array.size and (array.min() < low or array.max() > high):
            worst = array.min() if array.min() < low else array.max()
            found.append(f"{name} is {worst:g}, outside its range [{low:g}, {high:g}].")
    return found
