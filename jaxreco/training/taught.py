"""A teacher before the first block: what `jaxreco train --teacher` asks for."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console

from jaxreco import files, registry
from jaxreco.errors import JaxrecoError
from jaxreco.learning import lessons
from jaxreco.progress import progress_bar
from jaxreco.run import Run
from jaxreco.training.job import Job

LESSONS = 20  # where nothing else is said


def refuse(config: dict[str, Any], params: Any) -> None:
    """Raise JaxrecoError for lessons without a teacher, and for a teacher that these users or this command cannot have."""
    name = config.get("teacher")
    if name is None:
        if config.get("lessons") is not None:
            raise JaxrecoError(
                "--lessons are given by a teacher, and there is none: add --teacher sasrec, or another agent."
            )
        return
    if getattr(registry.agent_factory(name)(), "learns", False):
        raise JaxrecoError(
            f"The teacher {name} has nothing to teach before it has learned: take one that does not train, or begin --from a run of it."
        )
    if not registry.who_can_live([name], params.user):
        raise JaxrecoError(f"The teacher {name} reads minds, and these users have none that can be read: take another.")


def taught(job: Job, run: Run, console: Console) -> Job:
    """The job, with an agent that a teacher has taught; what the lessons were like is in lessons.json."""
    wanted = job.config.get("lessons") or LESSONS
    train = dataclasses.replace(job.train, objective="ppo", group=1, updates=wanted)
    told: list[dict[str, float]] = []
    with progress_bar(console) as bar:
        task = bar.add_task(f"{job.config['teacher']}, as a teacher", total=wanted, words="")

        def say(lesson: int, figures: dict[str, float]) -> None:
            told.append({"lesson": lesson, **figures})
            words = f"agrees {figures['agree']:.0%}  reward {figures['reward_per_day']:.2f}/day"
            bar.update(task, completed=lesson, words=words, description="lessons")

        teacher = registry.make_agent(job.config["teacher"], job.key("teacher"), job.env, job.params)
        learner = (job.agent, job.agent_params)
        agent_params = lessons.learn(job.key("lessons"), job.env, job.params, learner, teacher, train, say)
    files.write_json(run.folder / "lessons.json", told)
    return dataclasses.replace(job, agent_params=agent_params)
