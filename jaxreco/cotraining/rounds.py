"""Round after round: the users go on learning from the log, then the agent goes on learning among them."""

from __future__ import annotations

import shutil

from rich.console import Console

from jaxreco import run as runs
from jaxreco.cotraining import folder
from jaxreco.data.log import Log
from jaxreco.fit import continued
from jaxreco.interrupts import interrupts
from jaxreco.run import Run
from jaxreco.training import finish, loop, start
from jaxreco.training.job import build


def learn(run: Run, log: Log, console: Console) -> None:
    """All rounds that are not done yet. Raises KeyboardInterrupt after Ctrl-C: all that was done is on disk.

    The users of a round cut short are made again; its run goes on from its last checkpoint.
    """
    fitted = continued.load(folder.users_of(run, 0))
    for round in range(1, run.config["rounds"] + 1):
        _update_users(run, round, fitted, log, console)
        _update_agent(run, round, console)


def _update_users(run: Run, round: int, fitted: continued.Fitted, log: Log, console: Console) -> None:
    """Users of a round, from those of the round before: by the log alone."""
    out = folder.users_of(run, round)
    if not out.exists():
        for half in out.parent.glob(".*"):  # of a process that was killed
            shutil.rmtree(half)
        out.parent.mkdir(exist_ok=True)
        before = continued.load(folder.users_of(run, round - 1))
        kl, epochs = run.config["kl"], run.config["epochs"]
        continued.go_on(before, fitted, log, out, round, kl, epochs, console.quiet)
    found = continued.change(out)
    console.print(
        f"round {round} of {run.config['rounds']}: people held back {found.before:.3f} -> {found.after:.3f} nats an event, "
        f"{found.kl:.3f} from the fitted users" + ("" if found.epoch else " (no epoch was better: they stay)"),
        highlight=False,
    )


def _update_agent(run: Run, round: int, console: Console) -> None:
    """The run of a round, from the best agent of the round before."""
    into = folder.agent_of(run, round)
    if not folder.is_trained(run, round):
        job = build(folder.run_config(run, round))
        if (into / "config.json").is_file():
            own = runs.load(into)
        else:
            shutil.rmtree(into, ignore_errors=True)
            own = start.new(job, into)
        state, _ = start.take_up(job, own, console)
        with interrupts() as stopped:
            loop.learn(job, own, state, console, stopped)
        if stopped():
            raise KeyboardInterrupt
        finish.draw(own, [(job, own)])
    last = runs.load(into).metrics()[-1]
    console.print(
        f"round {round}: the agent earns {last['reward_per_day']:.2f} a user a day while it learns", highlight=False
    )
