"""`jaxreco rollout`: many users live some turns with an agent; what came of it, a user, with intervals."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxreco import cli_world, files

CHUNK = 10  # turns between two moves of the progress bar


class Estimate(NamedTuple):
    """A mean, or a ratio of means, over users, with its 95 % interval."""

    value: float
    low: float
    high: float


class Timing(NamedTuple):
    """How long a rollout took."""

    setup_s: float  # the world, the agent, compiling
    run_s: float  # the turns after the first chunk
    turns_per_s: float  # user-turns a second, in the chunks after the first


def add(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("rollout")(rollout_command)


def rollout_command(
    env: Annotated[str, typer.Option(help="World; see jaxreco list.")] = "Feed-v0",
    agent: Annotated[str, typer.Option(help="Agent, or a Python file with make(**static).")] = "random",
    users: Annotated[int, typer.Option(help="Users side by side.")] = 4096,
    turns: Annotated[int, typer.Option(help="Turns each user lives.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of users and randomness.")] = 0,
    data: Annotated[pathlib.Path | None, typer.Option(help="Folder of real data, where the world needs one.")] = None,
    user_model: cli_world.UserModelOption = None,
    world: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What is fixed in the world: slate_size=5. Repeatable."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="A parameter of the world: user.satiation=0. Repeatable."),
    ] = None,
    content: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="DIR", help="What the agent sees of items: a folder of content, or .npy or .npz of vectors."
        ),
    ] = None,
    segment: Annotated[str | None, typer.Option(help="Draw users from a segment of the population: explorers.")] = None,
    json: Annotated[pathlib.Path | None, typer.Option(metavar="FILE", help="Write the results as JSON.")] = None,
    trajectory: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FILE.npz", help="Write every turn as NumPy arrays [turns, users, ...]."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace output files that exist.")] = False,
) -> None:
    """Let users live with an agent and show what came of it."""
    import jax

    import jaxreco
    from jaxreco import provenance
    from jaxreco.errors import JaxrecoError

    began = time.perf_counter()
    files.refuse_existing(force, json, trajectory)
    if not 0 <= seed < 2**32:
        raise JaxrecoError(f"seed is {seed}: give a whole number from 0 to {2**32 - 1}.")
    if users < 1 or turns < 1:
        raise JaxrecoError(f"users is {users} and turns is {turns}: both must be at least 1.")
    env_, params = cli_world.make_world(
        env,
        data=data,
        static=world or (),
        settings=set_ or (),
        segment=segment,
        content=content,
        user_model=user_model,
    )
    key_agent, key = jax.random.split(jax.random.key(seed))
    agent_, agent_params = jaxreco.make_agent(agent, key_agent, env_, params)
    with _progress() as bar:
        task = bar.add_task("compiling", total=turns, rate="")
        metrics, kept, timing = run_in_chunks(
            key, env_, params, agent_, agent_params, users=users, turns=turns, keep=trajectory is not None,
            progress=lambda done, rate: bar.update(task, completed=done, rate=rate, description="turns"),
        )  # fmt: skip
    timing = timing._replace(setup_s=time.perf_counter() - began - timing.run_s)
    results = estimates(metrics)
    title = f"{agent} in {env}: {users:,} users, {turns:,} turns each, seed {seed}"
    Console().print(_table(title, results, timing, provenance.device()))
    if trajectory is not None:
        write_arrays(trajectory, kept)
    if json is not None:
        asked = {"env": env, "agent": agent, "users": users, "turns": turns, "seed": seed, "segment": segment}
        asked |= {"world": world or [], "set": set_ or [], "data": str(data) if data else None}
        asked |= {"user_model": str(user_model) if user_model else None}
        asked["content"] = str(content) if content else None
        made_by = {"commit": provenance.commit(), "versions": provenance.versions(), "device": provenance.device()}
        found = {name: estimate._asdict() for name, estimate in results.items()}
        files.write_json(json, {**asked, **made_by, "timing": timing._asdict(), "metrics": found})


def run_in_chunks(
    key: Any,
    env: Any,
    params: Any,
    agent: Any,
    agent_params: Any,
    *,
    users: int,
    turns: int,
    keep: bool = False,
    progress: Callable[[int, str], None] | None = None,
) -> tuple[Any, Any, Timing]:
    """A rollout cut into chunks of turns, all of one length where that is possible: one compilation.

    Args:
      key: consumed.
      users: B. turns: T.
      keep: collect the trajectory too, on the host.
      progress: called with the turns done and the speed in words.

    Returns: Metrics f32[B] on the host, the trajectory [T, B, ...] or None, and the timing (without set-up).
    """
    import jax
    import numpy as np

    from jaxreco.rollout import initial, rollout

    began = time.perf_counter()
    ran = initial(key, env, params, agent, agent_params, users=users)
    pieces, marks = [], [(0, time.perf_counter())]
    for size in chunks(turns):
        start = ran.replace(trajectory=None)
        if users % jax.device_count():
            # By way of the host, so that every chunk's input has one layout over the devices: another would recompile.
            start = jax.device_get(start)
        ran = jax.block_until_ready(
            rollout(key, env, params, agent, agent_params, users=users, turns=size, start=start, trajectory=keep)
        )
        if keep:
            pieces.append(jax.device_get(ran.trajectory))
        marks.append((marks[-1][0] + size, time.perf_counter()))
        if progress is not None:
            progress(marks[-1][0], _words(_rate(users, marks)))
    kept = jax.tree.map(lambda *x: np.concatenate(x), *pieces) if keep else None
    run_s = marks[-1][1] - marks[1][1]
    return jax.device_get(ran.metrics), kept, Timing(marks[1][1] - began, run_s, _rate(users, marks))


def chunks(turns: int) -> list[int]:
    """Lengths of the chunks of a rollout: about ten turns, at least two, alike where `turns` has such a divisor.

    Chunks of a single turn would change bits (jaxreco.rollout), and each length is compiled by itself.
    """
    alike = [size for size in range(5, 3 * CHUNK) if turns % size == 0 and size < turns]
    if alike:
        size = min(alike, key=lambda size: abs(size - CHUNK))
        return [size] * (turns // size)
    if turns < 2 * CHUNK:
        return [turns]
    sizes = [CHUNK] * (turns // CHUNK)
    sizes[-1] += turns % CHUNK
    return sizes


def estimates(metrics: Any) -> dict[str, Estimate]:
    """Name -> mean over users with its 95 % interval: the tallies of all episodes, and ratios of them."""
    import numpy as np

    total = {name: np.asarray(value, np.float64) for name, value in vars(metrics.total).items()}
    total["episodes"] = np.asarray(metrics.episodes, np.float64)
    found = {name: ratio(value, np.ones_like(value)) for name, value in total.items()}
    for name, (above, below) in RATIOS.items():
        found[name] = ratio(total[above], total[below])
    return found


RATIOS = {
    "turns_per_session": ("turns", "sessions"),
    "minutes_per_session": ("minutes", "sessions"),
    "gap_hours_mean": ("gap_hours", "gaps"),
    "click_rate": ("clicks", "examined"),
    "reward_per_turn": ("reward", "turns"),
}


def ratio(above: Any, below: Any) -> Estimate:
    """sum(above) / sum(below) over users f64[B], with the delta method's 95 % interval; NaN where it has none."""
    import numpy as np

    n, mean_below = len(above), float(np.mean(below))
    if mean_below == 0.0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    value = float(np.mean(above)) / mean_below
    if n < 2:
        return Estimate(value, float("nan"), float("nan"))
    half = 1.959964 * float(np.std(above - value * below, ddof=1)) / (mean_below * n**0.5)
    return Estimate(value, value - half, value + half)


def write_arrays(path: pathlib.Path, tree: Any) -> None:
    """Write the leaves of a pytree as one .npz, each under its path, such as "obs/history/item"."""
    import jax
    import numpy as np

    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
    with files.written_whole(path) as file:
        np.savez(file, **named)  # type: ignore[arg-type]


def _rate(users: int, marks: list[tuple[int, float]]) -> float:
    """User-turns a second after the first chunk, which compiles; NaN while there is no other."""
    (first, began), (last, now) = marks[1], marks[-1]
    return users * (last - first) / (now - began) if last > first else float("nan")


def _words(rate: float) -> str:
    return "" if rate != rate else f"{rate:,.0f} user-turns/s"


def _progress() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


UNITS = {
    "hours": "hours of the clock",
    "gap_hours": "hours",
    "gap_hours_mean": "hours",
    "minutes": "minutes",
    "minutes_per_session": "minutes",
    "churned": "times lost",
    "invalid": "slots",
    "click_rate": "of items examined",
}


def _table(title: str, results: dict[str, Estimate], timing: Timing, device: str) -> Table:
    speed = _words(timing.turns_per_s) or "too few turns to time"
    caption = (
        "Means over users of all episodes, ratios of means below the line; 95 % intervals over users, one seed.\n"
        f"{speed} after {timing.setup_s:.1f} s of set-up and compilation, on {device}."
    )
    table = Table(
        title=escape(title),
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column, right in (("metric", False), ("a user", True), ("95 % interval", True), ("", False)):
        table.add_column(column, justify="right" if right else "left")
    for name, (value, low, high) in results.items():
        if name in RATIOS and name == next(iter(RATIOS)):
            table.add_section()
        span = "" if low != low else f"{low:,.4g} .. {high:,.4g}"
        table.add_row(name, "-" if value != value else f"{value:,.4g}", span, UNITS.get(name, ""))
    return table
