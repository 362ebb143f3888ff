"""Agents of one's own: what is wrong with a first slate is said in one sentence."""

from __future__ import annotations

import pathlib
import textwrap
from typing import Any

import jax
import pytest
from conftest import coin_world

import jaxreco

GOOD = "jnp.arange(obs.slate.shape[0], dtype=jnp.int32), None, None"


def written(folder: pathlib.Path, returns: str, params: str = "None") -> str:
    file = folder / "mine.py"
    file.write_text(
        textwrap.dedent(f"""
        import jax.numpy as jnp

        class Mine:
            privileged = False

            def init(self, key, env, catalog):
                return {params}

            def reset(self, agent_params):
                return jnp.zeros(2)

            def act(self, key, agent_params, memory, obs, catalog):
                return {returns}

        def make():
            return Mine()
        """)
    )
    return str(file)


def made(folder: pathlib.Path, *what: Any, **world: Any) -> Any:
    env, params = coin_world(**world)
    return jaxreco.make_agent(written(folder, *what), jax.random.key(0), env, params)


def test_an_agent_that_shows_a_slate_passes(tmp_path: pathlib.Path):
    agent, agent_params = made(tmp_path, GOOD, "{'a': jnp.ones(3), 'b': 2}")
    assert type(agent).__name__ == "Mine"
    assert agent_params["b"] == 2


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        (
            "jnp.arange(2), None, None",
            r"mine.py shows int32 of shape \(2,\), and .* takes whole numbers of shape \(3,\)",
        ),
        ("jnp.zeros(3), None, None", r"shows float32 of shape \(3,\)"),
        ("jnp.zeros(3, jnp.int32), None, None", "Slot 1 repeats item 0 of slot 0"),
        ("jnp.arange(3) + 999, None, None", "Slot 0 holds item 999"),
        ("jnp.arange(3), None", "returns 2 values: let it return three"),
        ("jnp.arange(3)", "returns one value: let it return three"),
        (
            "jnp.arange(3), {'score': jnp.log(jnp.zeros(2) - 1.0)}, None",
            r"The memory of .*mine.py hold NaN in \['score'\]",
        ),
        ("jnp.arange(3), None, jnp.zeros(1) / 0.0", "The extras of .*mine.py hold NaN: look for"),
    ],
)
def test_mistakes_get_a_sentence(returns: str, words: str, tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match=words):
        made(tmp_path, returns)


def test_parameters_that_are_no_numbers_are_found_before_anything_is_shown(tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match=r"The parameters of .*mine.py hold NaN in \['w'\]"):
        made(tmp_path, GOOD, "{'w': jnp.full(2, jnp.nan)}")
