"""What became of users and agent, round by round: report.json, curves.png, and a table on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxreco import files, provenance
from jaxreco import run as runs
from jaxreco.cotraining import folder
from jaxreco.cotraining.control import Control
from jaxreco.fit import continued
from jaxreco.run import Run
from jaxreco.training.job import row_name

REPORT, PICTURE = "report.json", "curves.png"


def rounds_of(run: Run) -> list[dict[str, Any]]:
    """A round each: what the users' change was (`continued.Change`), and the agent's figures by update."""
    found = []
    for round in range(1, run.config["rounds"] + 1):
        metrics = runs.load(folder.agent_of(run, round)).metrics()
        figures = {name: [line.get(name) for line in metrics] for name in ("update", "reward_per_day", "eval_reward")}
        users = continued.change(folder.users_of(run, round))._asdict()
        found.append({"round": round, "users": users, "agent": figures})
    return found


def write(run: Run, control: Control) -> None:
    """Write both files."""
    rounds = rounds_of(run)
    draw(run.folder / PICTURE, f"{row_name(run.config['agent'])} in {run.config['env']}", rounds)
    made = {"commit": provenance.commit(), "versions": provenance.versions(), "device": provenance.device()}
    files.write_json(run.folder / REPORT, {**made, "rounds": rounds, "control": control.to_json()})


def draw(path: Path, title: str, rounds: list[dict[str, Any]]) -> None:
    """Three curves over rounds: how well people held back are foreseen, how far users moved, what the agent earns."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 3.2), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    users = [each["users"] for each in rounds]
    at = list(range(len(rounds) + 1))
    updates = [len(each["agent"]["update"]) for each in rounds]
    earned = [(i + (j + 1) / n, x) for i, (each, n) in enumerate(zip(rounds, updates, strict=True))
              for j, x in enumerate(each["agent"]["reward_per_day"])]  # fmt: skip
    curves = {
        "users: nats an event, people held back": (at, [users[0]["before"], *(each["after"] for each in users)]),
        "users: KL from the fitted, nats an event": (at, [0.0, *(each["kl"] for each in users)]),
        "agent: reward a user a day, learning": tuple(zip(*earned, strict=True)),
    }
    for axes, (words, (x, y)) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        axes.plot(x, y, linewidth=1.5, marker=".")
        axes.set_title(words, fontsize=10)
        axes.set_xlabel("rounds", fontsize=9)
        axes.set_xticks(at)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    with files.written_whole(path) as file:
        canvas.print_png(file)
