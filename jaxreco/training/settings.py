"""How a run is trained, from what was asked for."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Sequence
from typing import Any

from jaxreco import registry
from jaxreco.errors import JaxrecoError
from jaxreco.learning.config import TrainConfig
from jaxreco.names import closest

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def asked(texts: Sequence[str], **options: int | None) -> dict[str, Any]:
    """The fields of TrainConfig that "KEY=VALUE" texts and options of their own name, typed as the field is.

    Raises JaxrecoError for an unknown key, with the nearest names, for a value of another type, and for what is said twice.
    """
    kinds = typing.get_type_hints(TrainConfig)
    found = {name: value for name, value in options.items() if value is not None}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not value:
            raise JaxrecoError(f"{text!r} is no training setting: write KEY=VALUE, such as learning_rate=0.001.")
        if name not in kinds:
            raise JaxrecoError(f"There is no training setting {name!r}.{closest(name, kinds)}")
        if name in found:
            raise JaxrecoError(f"{name} is given twice: {found[name]} and {value}.")
        found[name] = _typed(name, value, kinds[name])
    return found


def _typed(name: str, text: str, kind: type) -> Any:
    try:
        value = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise JaxrecoError(f"{name} is {text!r}: give {WORDS[kind]}.") from None
    if kind is float and not math.isfinite(value):
        raise JaxrecoError(f"{name} is {text}: give a finite number.")
    return value


def complete(agent: str, given: dict[str, Any]) -> dict[str, Any]:
    """All of TrainConfig's fields, so that a run stays what it was when defaults change: as asked, as the agent has it, as usual.

    Raises JaxrecoError for what cannot be.
    """
    own = getattr(registry.agent_factory(agent)(), "training", {})
    wanted = {**own, **given}
    users = wanted.get("users", TrainConfig.users)
    if "minibatches" not in wanted:  # as many as usual, or the most that users can be shared out over
        wanted["minibatches"] = next(n for n in range(TrainConfig.minibatches, 0, -1) if users % n == 0)
    try:
        return dataclasses.asdict(TrainConfig(**wanted))
    except (TypeError, ValueError) as error:
        raise JaxrecoError(f"The agent {agent!r} cannot be trained so: {error}") from None
