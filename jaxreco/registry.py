"""Names of worlds, agents and benchmarks. The only place where the library reaches for them, lazily."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from importlib.abc import InspectLoader
from types import ModuleType
from typing import Any

from jaxreco.names import closest

_ENVS: dict[str, str | Callable[..., Any]] = {
    "Coat-v0": "jaxreco.envs.coat:make",
    "Feed-v0": "jaxreco.envs.feed:make",
    "Jester-v0": "jaxreco.envs.jester:make",
    "Learned-v0": "jaxreco.envs.learned:make",
    "LearnedInstruments-v0": "jaxreco.envs.learned_instruments:make",
    "LearnedLastFM-v0": "jaxreco.envs.learned_lastfm:make",
    "LearnedMovieLens-v0": "jaxreco.envs.learned_movielens:make",
    "LearnedNews-v0": "jaxreco.envs.learned_news:make",
    "MovieLens-v0": "jaxreco.envs.movielens:make",
    "OpenBandit-v0": "jaxreco.envs.open_bandit:make",
}
_AGENTS: dict[str, str | Callable[..., Any]] = {
    "random": "jaxreco.agents.random:make",
    "popularity": "jaxreco.agents.popularity:make",
    "static": "jaxreco.agents.static:make",
    "item_knn": "jaxreco.agents.item_knn:make",
    "linucb": "jaxreco.agents.linucb:make",
    "thompson": "jaxreco.agents.thompson:make",
    "ease": "jaxreco.agents.ease:make",
    "ease_seq": "jaxreco.agents.ease_seq:make",
    "sasrec": "jaxreco.agents.sasrec:make",
    "obedient": "jaxreco.agents.obedient:make",
    "oracle_greedy": "jaxreco.agents.oracle_greedy:make",
    "oracle_plan": "jaxreco.agents.oracle_plan:make",
    "reinforce": "jaxreco.agents.reinforce:make",
    "ppo": "jaxreco.agents.ppo:make",
    "grpo": "jaxreco.agents.grpo:make",
    "agentic": "jaxreco.agents.agentic:make",
    "generative": "jaxreco.agents.generative:make",
}
_BENCHMARKS: dict[str, str | Callable[..., Any]] = {
    "content": "jaxreco.benchmarks.content:run",
    "fidelity": "jaxreco.benchmarks.fidelity:run",
    "instructions": "jaxreco.benchmarks.instructions:run",
    "mechanisms": "jaxreco.benchmarks.mechanisms:run",
    "newcomers": "jaxreco.benchmarks.newcomers:run",
    "ranking": "jaxreco.benchmarks.ranking:run",
    "retention": "jaxreco.benchmarks.retention:run",
    "throughput": "jaxreco.benchmarks.throughput:run",
    "transfer": "jaxreco.benchmarks.transfer:run",
    "usersim": "jaxreco.benchmarks.usersim:run",
}
_TABLES = {"env": _ENVS, "agent": _AGENTS, "benchmark": _BENCHMARKS}


def register(name: str, factory: str | Callable[..., Any], kind: str = "env") -> None:
    """Make a world (`kind="env"`), an agent (`"agent"`) or a benchmark (`"benchmark"`) known by name.

    Args:
      name: how `make` and the command line will call it.
      factory: a callable, or "module:function", imported when it is first needed.

    Raises ValueError when the name is taken.
    """
    table = _TABLES[kind]
    if name in table and table[name] != factory:
        raise ValueError(f"There is already an {kind} named {name!r}: choose another name.")
    table[name] = factory


def envs() -> list[str]:
    """Names of the registered worlds."""
    return sorted(_ENVS)


def agents() -> list[str]:
    """Names of the registered agents."""
    return sorted(_AGENTS)


def benchmarks() -> list[str]:
    """Names of the registered benchmarks."""
    return sorted(_BENCHMARKS)


def about(kind: str) -> dict[str, str]:
    """Name -> one line about it, for all worlds (`"env"`), agents (`"agent"`) or benchmarks (`"benchmark"`).

    The line is the first of the module's docstring, read from the source: nothing is imported.
    """
    return {name: _first_line(name, factory) for name, factory in sorted(_TABLES[kind].items())}


def make(
    id: str,
    *,
    slate_size: int | None = None,
    history_length: int = 50,
    action_mode: str = "slate",
    choice: str = "cascade",
    data: str | os.PathLike[str] | None = None,
    user_model: str | os.PathLike[str] = "mindset",
    **world: Any,
) -> tuple[Any, Any]:
    """`(env, params)` of a registered world.

    Args:
      id: such as "Feed-v0".
      slate_size: K, static; the world's own where it is None, mostly 10. history_length: H, static.
      action_mode: "slate", "item" or "query".
      choice: the user's choice model, "cascade" or "mnl"; worlds of logged answers have none.
      data: folder of real data, for the worlds that are made from some.
      user_model: "mindset", or for worlds of fitted users a folder of `jaxreco fit`.
      world: statics of the world itself, such as `n_items`.

    Raises ValueError for an unknown world or setting (with the nearest names) and for impossible values.
    """
    if id not in _ENVS:
        raise ValueError(f"There is no world {id!r}.{closest(id, _ENVS)}")
    if choice not in ("cascade", "mnl"):
        raise ValueError(f"There is no choice model {choice!r}.{closest(choice, ['cascade', 'mnl'])}")
    factory = _load(_ENVS[id])
    if action_mode == "item":
        slate_size = 1
    accepted = inspect.signature(factory).parameters
    if slate_size is None:
        usual = accepted["slate_size"].default if "slate_size" in accepted else 10
        slate_size = usual if isinstance(usual, int) else 10
    statics = dict(
        slate_size=slate_size, history_length=history_length, action_mode=action_mode, choice=choice, data=data, **world
    )
    statics["user_model"] = user_model
    if user_model != "mindset" and "user_model" not in accepted:
        raise ValueError(_no_user_model(id, user_model))
    for name, usual in (("data", None), ("choice", "cascade"), ("user_model", "mindset")):
        if name not in accepted and statics[name] == usual:
            del statics[name]
    _refuse_unknown(id, statics, accepted)
    _refuse_unclear(id, statics, accepted)
    env, params = factory(**statics)
    env.check(params)
    return env, params


def takes_data(id: str) -> bool:
    """Whether a world is made from real data. Raises ValueError for an unknown world, with the nearest names."""
    return _takes(id, "data")


def takes_user_model(id: str) -> bool:
    """Whether a world's users are fitted to a log. Raises ValueError for an unknown world, with the nearest names."""
    return _takes(id, "user_model")


def _takes(id: str, setting: str) -> bool:
    if id not in _ENVS:
        raise ValueError(f"There is no world {id!r}.{closest(id, _ENVS)}")
    return setting in inspect.signature(_load(_ENVS[id])).parameters


def _no_user_model(id: str, user_model: str | os.PathLike[str]) -> str:
    if os.path.isdir(user_model):
        return f"{id} is not a world of fitted users: take Learned-v0 for the user model in {user_model}."
    return f"There is no user model {str(user_model)!r}.{closest(str(user_model), ['mindset'])} Learned-v0 takes a folder of jaxreco fit."


def make_agent(name: str, key: Any, env: Any, params: Any, **static: Any) -> tuple[Any, Any]:
    """`(agent, agent_params)` of a registered agent, or of a Python file with `make(**static)`.

    Agents that are fitted to a log (`needs_log`) get the world's own, or one simulated beforehand. The key is consumed.

    Raises ValueError for an unknown agent or setting (with the nearest names), a file without `make`, or with an agent whose first
    slate cannot be shown.
    """
    import jax

    factory = agent_factory(name)
    _refuse_unknown(name, static, inspect.signature(factory).parameters)
    agent = factory(**static)
    if hasattr(agent, "bind"):  # an agent that plans by playing the world carries it
        agent = agent.bind(env)
    key_log, key_init = jax.random.split(key)
    extra: dict[str, Any] = {}
    catalog = params.catalog
    if getattr(agent, "privileged", False):
        extra["truth"], catalog = params, params.truth(catalog)
    if getattr(agent, "needs_log", False):
        from jaxreco.logs import interactions

        extra["log"] = interactions(key_log, env, params)
    agent_params = agent.init(key_init, env, catalog, **extra)
    if name.endswith(".py"):
        from jaxreco.agent_check import check_agent

        check_agent(name, jax.random.key(0), env, params, agent, agent_params)
    return agent, agent_params


def agent_factory(name: str) -> Callable[..., Any]:
    """The `make` of an agent, by registered name or by path of a Python file."""
    if name in _AGENTS:
        return _load(_AGENTS[name])
    if name.endswith(".py"):
        return _from_file(name).make
    raise ValueError(f"There is no agent {name!r}.{closest(name, _AGENTS)} A path to a Python file works too.")


def who_can_live(names: Iterable[str], user_params: Any) -> list[str]:
    """Those agents that can live with these users: without a mindset there is nothing for privileged ones to read."""
    from jaxreco.users import mindset

    readable = mindset.readable(user_params)
    return [name for name in names if readable or not agent_factory(name)().privileged]


def agent_source(name: str) -> str:
    """The Python file of an agent, by registered name or by path. Raises ValueError as `agent_factory` does."""
    factory = agent_factory(name)
    return inspect.getsource(sys.modules[factory.__module__])


def benchmark(name: str) -> Callable[..., Any]:
    """The `run(*, quick, ...)` of a registered benchmark; it returns a report.

    Raises ValueError for an unknown benchmark, with the nearest names.
    """
    if name not in _BENCHMARKS:
        raise ValueError(f"There is no benchmark {name!r}.{closest(name, [*_BENCHMARKS, 'all'])}")
    return _load(_BENCHMARKS[name])


def _first_line(name: str, factory: str | Callable[..., Any]) -> str:
    if callable(factory):
        text = inspect.getdoc(factory) or inspect.getdoc(inspect.getmodule(factory)) or ""
    else:
        spec = importlib.util.find_spec(factory.partition(":")[0])
        source = spec.loader.get_source(spec.name) if spec and isinstance(spec.loader, InspectLoader) else None
        text = (ast.get_docstring(ast.parse(source)) if source else None) or ""
    line = text.partition("\n")[0].removeprefix(f"{name}: ")
    return line[:1].upper() + line[1:]


def _load(factory: str | Callable[..., Any]) -> Callable[..., Any]:
    if callable(factory):
        return factory
    module, _, attribute = factory.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _from_file(path: str) -> ModuleType:
    """Import a file once by its real path: a second import would make classes that are not equal."""
    if not os.path.isfile(path):
        raise ValueError(f"There is no file {path!r}: give the path of a Python file with a function make(**static).")
    real = os.path.realpath(path)
    name = "jaxreco_agent_" + hashlib.sha256(real.encode()).hexdigest()[:16]
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, real)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    if not callable(getattr(sys.modules[name], "make", None)):
        raise ValueError(f"{path} has no function make(**static) that returns an agent.")
    return sys.modules[name]


def _refuse_unknown(what: str, given: dict[str, Any], accepted: Any) -> None:
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values()):
        return
    for name in given:
        if name not in accepted:
            raise ValueError(f"{what} has no setting {name!r}.{closest(name, accepted)}")


def _refuse_unclear(what: str, given: dict[str, Any], accepted: Any) -> None:
    """A word would pass for True, "false" too, and True for a number."""
    for name, value in given.items():
        usual = accepted[name].default if name in accepted else None
        if isinstance(usual, bool) and not isinstance(value, bool):
            raise ValueError(f"{name} of {what} is {value!r}: make it true or false.")
        if isinstance(value, bool) and not isinstance(usual, bool) and isinstance(usual, (int, float, str)):
            raise ValueError(f"{name} of {what} is {value!r}: give a value such as {usual!r}.")
