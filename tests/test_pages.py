"""The pages of docs/ that are code or tables of it: they run, and they name what is there."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import jax
from conftest import coin_world

from jaxreco import registry
from jaxreco.benchmarks import fidelity

DOCS = pathlib.Path(__file__).parent.parent / "docs"


def blocks(page: str) -> str:
    """The Python of a page, in order, as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL))


def test_the_contract_page_runs(monkeypatch):
    def coins(n_items: int, slate_size: int, history_length: int, action_mode: Any, choice: str) -> Any:
        return coin_world(slate_size=slate_size)  # the same contract as Feed-v0's, and compiles in a second

    monkeypatch.setitem(registry._ENVS, "Feed-v0", coins)
    exec(compile(blocks("contract.md"), "contract.md", "exec"), {})


def test_the_contract_page_names_every_key_of_info(coin, key):
    env, params = coin
    state = jax.eval_shape(env.reset, key, params)[1]
    step = jax.eval_shape(env.step, key, state, jax.eval_shape(env.random_slate, key), params)
    table = (DOCS / "contract.md").read_text(encoding="utf-8").partition("## Info")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(step.info)
    terms = re.search(r"`reward_terms`.*\| (.*) \|", table)
    assert terms is not None
    assert sorted(terms[1].split(", ")) == sorted(step.info["reward_terms"])


def test_the_replay_page_runs_and_names_the_agents_of_the_benchmark():
    exec(compile(blocks("replay.md"), "replay.md", "exec"), {})
    table = (
        (DOCS / "replay.md").read_text(encoding="utf-8").partition("| why it is among them |")[2].partition("\n\n")[0]
    )
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(fidelity.AGENTS)


def test_the_page_of_agents_names_them_all():
    rows = [line for line in (DOCS / "agents.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert set(registry.agents()) <= named
