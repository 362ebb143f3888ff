"""Block after block: figures, evaluations, checkpoints, and a stop that loses nothing.

What is written has an order: the best checkpoint, the line of figures, the last checkpoint. A run that is killed anywhere goes
on from the last checkpoint, and what was written after it is forgotten and made again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console

from jaxreco.errors import JaxrecoError
from jaxreco.interrupts import interrupts
from jaxreco.learning import checkpoint, trainer
from jaxreco.progress import progress_bar
from jaxreco.run import Run
from jaxreco.training.board import Board
from jaxreco.training.job import Job
from jaxreco.training.state import Best, Training, due, over
from jaxreco.training.watch import watch

EVERY = 20  # updates between two checkpoints, at most


def learn(
    job: Job, run: Run, state: Training, console: Console, stopped: Callable[[], bool] | None = None
) -> tuple[Training, bool]:
    """Block after block until the run is over or `stopped`, by Ctrl-C where it is None; how far it came, and whether it was stopped.

    However it ends, the last block's checkpoint and figures are on disk.
    """
    train, meta, patience = job.train, job.meta(), job.config.get("patience")
    noted = interrupts() if stopped is None else contextlib.nullcontext(stopped)
    with noted as stopped, progress_bar(console) as bar, Board.of(job, run) as board:
        task = bar.add_task("compiling", total=train.updates, completed=int(state.update), words="")
        while not over(state, train.updates, patience) and not stopped():
            state, line = _block(job, run, state)
            done = int(state.update)
            if due(done, train.updates):
                bar.update(task, description="evaluating")
                state, seen = _look(job, run, state, meta)
                line |= seen
            run.log(done, line)
            board.log(done, line)
            if due(done, train.updates) or done % EVERY == 0 or stopped():
                checkpoint.save(run.checkpoint, state, meta)
            bar.update(task, completed=done, words=_words(line, train.users * train.turns), description="updates")
        if stopped():
            checkpoint.save(run.checkpoint, state, meta)
        return state, stopped() and not over(state, train.updates, patience)


def _block(job: Job, run: Run, state: Training) -> tuple[Training, dict[str, float]]:
    """The run a block later, and the block's figures."""
    began = time.perf_counter()
    learner, logs = trainer.block(job.key("train"), job.params, state.learner, job.env, job.agent, job.train)
    learner = checkpoint.settle(learner)
    seconds = time.perf_counter() - began
    figures = {name: float(value) for name, value in logs.items()}
    _refuse_divergence(job, run, state, learner, figures)
    turns = int(learner.update) * job.train.users * job.train.turns
    return state.replace(learner=learner), {"user_turns": turns, "seconds": round(seconds, 3), **figures}


def _look(job: Job, run: Run, state: Training, meta: dict[str, Any]) -> tuple[Training, dict[str, float]]:
    """An evaluation: its figures, and the best kept on disk."""
    seen = watch(job, state.learner.agent_params)
    state, better = state.seen(seen["eval_reward"])
    if better:
        checkpoint.save(run.best, Best(state.learner.agent_params, np.int32(state.update)), meta)
    return state, seen


def _refuse_divergence(job: Job, run: Run, state: Training, learner: Any, figures: dict[str, float]) -> None:
    """Stop before a diverged learner overwrites the last good checkpoint, which is that of the block before."""
    bad = [name for name, value in figures.items() if not np.isfinite(value)]
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learner.agent_params.net)):
        bad.append("the network")
    if bad:
        checkpoint.save(run.checkpoint, state, job.meta())
        raise JaxrecoError(
            f"Training diverged at update {int(learner.update)} ({', '.join(bad)}: not finite). The checkpoint in {run.folder} is that of "
            f"update {int(state.update)}, the last good one; start a run with a smaller --train learning_rate, another seed, or "
            "parameters of the world nearer to the defaults."
        )


def _words(line: dict[str, float], turns: int) -> str:
    """A block's figures beside the bar. Args: turns, of a block."""
    speed = turns / max(line["seconds"], 1e-3)
    return (
        f"{speed:,.0f} user-turns/s  reward {line['reward_per_day']:.2f}/day  "
        f"{line['turns_per_session']:.1f} turns/session"
    )
