"""One measurement of speed in a process of its own, so that compile time and peak memory are its own.

`python -m jaxreco.benchmarks.throughput_worker SPEC` prints one JSON line; `measure` starts it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from jaxreco import runtime

MODULE = "jaxreco.benchmarks.throughput_worker"
TIMEOUT_S = 900
TURNS_A_CALL = 2**17  # user-turns a call, about: a call is long beside its dispatch


@dataclasses.dataclass(frozen=True)
class Spec:
    """What to measure.

    Args:
      what: "slates" (random slates and nothing else), "rollout" (the world with an agent), "ratio" (its speed relative to
        that of the world with `other_options`, taking turns), "training", or "work" (what a fitted user's turn is, and how fast
        the machine multiplies matrices).
      world, agent: registered names; world_options, other_options: statics of the world.
      users: B. seconds: of one repeat, about. repeats: how often.
      devices: host devices to force on CPU.
    """

    what: str
    users: int
    agent: str = "random"
    world: str = "Feed-v0"
    world_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 1.0
    repeats: int = 5
    devices: int = dataclasses.field(default_factory=runtime.host_devices)
    other_options: dict[str, Any] = dataclasses.field(default_factory=dict)


def measure(spec: Spec) -> dict[str, Any]:
    """Run one measurement in a new process.

    Returns: {"rates": [user-turns/s, one a repeat], "compile_s", "peak_mb", "device"}, for "ratio" {"ratios", "device"}, or
    {"skipped": why}.
    """
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(runtime.FLAG)]
    environment = os.environ | {
        "XLA_FLAGS": " ".join([*flags, f"{runtime.FLAG}={spec.devices}"]),
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # compile seconds are those of a first run
    }
    # -P: in a checkout, a copy of jaxreco that is installed elsewhere is still the one that runs.
    command = [sys.executable, "-P", "-m", MODULE, json.dumps(dataclasses.asdict(spec))]
    try:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"skipped": f"took longer than {TIMEOUT_S} s"}
    if ran.returncode != 0:
        killed = " (killed: out of memory?)" if ran.returncode < 0 else ""
        return {"skipped": (ran.stderr.strip().splitlines() or ["no message"])[-1] + killed}
    return json.loads(ran.stdout.splitlines()[-1])


def main(text: str) -> dict[str, Any]:
    """Measure in this process what the JSON of a Spec asks for."""
    from jaxreco import provenance

    spec = Spec(**json.loads(text))
    if spec.what == "ratio":
        return {"ratios": speed_ratios(spec), "device": provenance.device()}
    if spec.what == "work":
        return {"flops": flops_of_a_turn(spec), "rates": products(spec), "device": provenance.device()}
    prepare = {"slates": slate_calls, "rollout": rollout_calls, "training": training_calls}[spec.what]
    ready = prepare(spec)
    if isinstance(ready, str):
        return {"skipped": ready}
    compile_s, call, turns = ready
    rates = time_calls(call, turns, spec.seconds, spec.repeats)
    return {"rates": rates, "compile_s": compile_s, "peak_mb": peak_mb(), "device": provenance.device()}


def time_calls(call: Callable[[], Any], turns: int, seconds: float, repeats: int) -> list[float]:
    """User-turns a second of a call that does `turns` of them and waits for the result, one figure a repeat."""
    call()
    began = time.perf_counter()
    call()
    calls = max(1, round(seconds / (time.perf_counter() - began)))
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        rates.append(calls * turns / (time.perf_counter() - began))
    return rates


def speed_ratios(spec: Spec) -> list[float]:
    """Speed of the world over that with the other statics, one ratio a repeat: each is timed just after the other."""
    other = dataclasses.replace(spec, world_options=spec.world_options | spec.other_options)
    (_, ours, turns), (_, theirs, _) = rollout_calls(spec), rollout_calls(other)
    each = [[time_calls(call, turns, spec.seconds / 2, 1)[0] for call in (ours, theirs)] for _ in range(spec.repeats)]
    return [mine / others for mine, others in each]


def flops_of_a_turn(spec: Spec) -> float:
    """Floating-point operations of the products of matrices in one turn of a fitted user, a product and a sum as two."""
    import jaxreco

    env, params = jaxreco.make(spec.world, **spec.world_options)
    config, slots = params.user.network.config, env.slate_size
    width, seen = config.width, 1 + config.window + slots
    token = config.layers * (8 * width**2 + 2 * seen * width)
    return 2.0 * (slots * token + 2 * width**2 + params.user.others.vector.size + slots * width)


def products(spec: Spec, size: int = 2048) -> list[float]:
    """Floating-point operations a second of a product of matrices f32[size, size], one figure a repeat."""
    import jax
    import jax.numpy as jnp

    one = jnp.ones((size, size))
    product = jax.jit(lambda x: x @ x)
    return time_calls(lambda: jax.block_until_ready(product(one)), 2 * size**3, spec.seconds, spec.repeats)


Ready = tuple[float, Callable[[], Any], int]  # compile seconds, the call, its user-turns


def rollout_calls(spec: Spec) -> Ready:
    """The world with an agent, auto-reset included, as `jaxreco.rollout` runs it."""
    import jax

    import jaxreco
    from jaxreco.rollout import TILE

    env, params = jaxreco.make(spec.world, **spec.world_options)
    key_agent, key = jax.random.split(jax.random.key(0))
    agent, agent_params = jaxreco.make_agent(spec.agent, key_agent, env, params)
    turns = turns_a_call(spec.users)
    # Fewer users than a tile would be padded with users who do not count.
    tile = min(getattr(agent, "tile", TILE), spec.users)

    def run(start: Any) -> Any:
        options = {"users": spec.users, "turns": turns, "tile": tile, "start": start}
        return jax.block_until_ready(jaxreco.rollout(key, env, params, agent, agent_params, **options))

    began = time.perf_counter()
    carried = [run(None)]  # one program that resets, steps and scans
    first = time.perf_counter() - began
    began = time.perf_counter()
    run(None)
    compile_s = max(first - (time.perf_counter() - began), 0.0)

    def go_on() -> None:
        carried[0] = run(carried[0])

    go_on()  # continuing is another program; its compilation is not counted
    return compile_s, go_on, spec.users * turns


def slate_calls(spec: Spec) -> Ready:
    """Random slates alone, drawn in O(K); a turn is a slate."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    import jaxreco

    env, _ = jaxreco.make(spec.world, **spec.world_options)
    turns = turns_a_call(spec.users)
    devices = jax.device_count() if spec.users % jax.device_count() == 0 else 1
    mesh = jax.make_mesh((devices,), ("users",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    keys = jax.device_put(jax.random.split(jax.random.key(0), spec.users), NamedSharding(mesh, PartitionSpec("users")))

    def draw(keys: jax.Array) -> jax.Array:
        def turn(total: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
            slates = jax.vmap(lambda key: env.random_slate(jax.random.fold_in(key, t)))(keys)
            return total + slates.sum(axis=1), None  # every id counts, so that none is left undrawn

        return jax.lax.scan(turn, jnp.zeros(spec.users, jnp.int32), jnp.arange(turns))[0]

    began = time.perf_counter()
    compiled = jax.jit(draw).lower(keys).compile()
    return time.perf_counter() - began, lambda: jax.block_until_ready(compiled(keys)), spec.users * turns


def training_calls(spec: Spec) -> Ready | str:
    """Rollout and update as training runs them, or why they cannot be timed.

    The learner says how: `jaxreco.learning.throughput.block(world, agent, users, world_options)` returns a function
    that runs one block and waits for it, and the user-turns of a block.
    """
    if importlib.util.find_spec("jaxreco.learning.throughput") is None:
        return "not available: there is no jaxreco.learning.throughput"
    module = importlib.import_module("jaxreco.learning.throughput")
    block, turns = module.block(spec.world, spec.agent, spec.users, spec.world_options)
    began = time.perf_counter()
    block()
    first = time.perf_counter() - began
    began = time.perf_counter()
    block()
    return max(first - (time.perf_counter() - began), 0.0), block, turns


def turns_a_call(users: int) -> int:
    """T of one call: enough for about TURNS_A_CALL user-turns, from 16 to 1,024."""
    return min(max(TURNS_A_CALL // users, 16), 1024)


def peak_mb() -> float:
    """Peak memory of this process in MB: of the accelerator where JAX has one, of the host otherwise."""
    import jax

    stats = None if jax.default_backend() == "cpu" else jax.devices()[0].memory_stats()
    if stats:
        return stats["peak_bytes_in_use"] / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
