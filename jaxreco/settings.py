"""Overrides of a world's scalars by dotted path, as a person types them: `user.satiation=0`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxreco.errors import JaxrecoError
from jaxreco.names import closest
from jaxreco.struct import Struct

_SEE_ALL = " See all by: jaxreco list --settings WORLD"


class Setting(NamedTuple):
    """A scalar of a world's parameters: its value, the closed range it may take, what it means and its unit."""

    value: Any
    low: float
    high: float
    doc: str
    unit: str


def apply(params: Any, settings: Iterable[str]) -> Any:
    """The parameters with some scalars changed.

    Args:
      params: an EnvParams (or any Struct of Structs).
      settings: each "path=value", such as "user.satiation=0", "horizon_hours=48" or "reward.like=0.5". The last
        one for a path counts.

    Raises JaxrecoError, one sentence, for a path that is not there (with the nearest), and for a value that is
    not a number, is NaN or lies outside its declared range.
    """
    known = scalars(params)
    for text in settings:
        path, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not path:
            raise JaxrecoError(f"{text!r} is no setting: write name=value, such as user.satiation=0.")
        if path not in known:
            raise JaxrecoError(_no_such(params, path, known))
        params = _replace(params, path.split("."), _number(path, value, known[path]))
    return params


def scalars(params: Any, prefix: str = "") -> dict[str, Setting]:
    """Every scalar number in the parameters, by dotted path, in their own order."""
    found: dict[str, Setting] = {}
    for field in dataclasses.fields(params):
        value, path = getattr(params, field.name), prefix + field.name
        if isinstance(value, Struct):
            found |= scalars(value, path + ".")
        elif getattr(value, "ndim", None) == 0 and np.issubdtype(value.dtype, np.number):
            meta = field.metadata
            low, high = meta.get("low", -math.inf), meta.get("high", math.inf)
            found[path] = Setting(value, low, high, meta.get("doc", ""), meta.get("unit", ""))
    return found


def _number(path: str, text: str, setting: Setting) -> float | int:
    """The value, if this setting may have it."""
    try:
        value = float(text)
    except ValueError:
        raise JaxrecoError(f"{path} is {text!r}: give a number{_range(setting)}.") from None
    if math.isnan(value):
        raise JaxrecoError(f"{path} is not a number (NaN): give a number{_range(setting)}.")
    if math.isinf(value) and setting.unit != "hours":  # an infinite time means never; nothing else has a limit
        raise JaxrecoError(f"{path} is {text}: give a finite number{_range(setting)}.")
    if not setting.low <= value <= setting.high:
        raise JaxrecoError(f"{path} is {text}, outside its range: give a number{_range(setting)}.")
    if not np.issubdtype(setting.value.dtype, np.integer):
        return value
    if not value.is_integer() or abs(value) > np.iinfo(setting.value.dtype).max:
        raise JaxrecoError(f"{path} is {text}: give a whole number{_range(setting)}.")
    return int(value)


def _range(setting: Setting) -> str:
    if math.isinf(setting.low) and math.isinf(setting.high):
        return ""
    if math.isinf(setting.high):
        return f" of at least {setting.low:g}"
    if math.isinf(setting.low):
        return f" of at most {setting.high:g}"
    return f" from {setting.low:g} to {setting.high:g}"


def _no_such(params: Any, path: str, known: dict[str, Setting]) -> str:
    """Why a path is no setting: an array, a group, a name without its group, or a name mistyped."""
    value: Any = params
    for part in path.split("."):
        value = getattr(value, part, None)
    if isinstance(value, Struct):
        inside = [name for name in known if name.startswith(path + ".")]
        shown = ", ".join(inside[:4]) + (" and others" if len(inside) > 4 else "")
        return f"{path} is a group, not a number: it has {shown or 'no scalars'}.{_SEE_ALL}"
    if value is not None and np.ndim(value) > 0:
        return f"{path} is an array of shape {np.shape(value)}: only scalars can be set by name."
    same_name = [name for name in known if name.rpartition(".")[2] == path.rpartition(".")[2]]
    hint = f" Did you mean {' or '.join(same_name)}?" if same_name else closest(path, known)
    return f"There is no setting {path!r}.{hint if 'Did you mean' in hint else _SEE_ALL}"


def _replace(tree: Any, path: list[str], value: Any) -> Any:
    head, *rest = path
    return tree.replace(**{head: _replace(getattr(tree, head), rest, value) if rest else value})
