"""LearnedNews-v0: news, and readers of EB-NeRD or MIND as a network fitted to them knows them.

A turn is what comes into view of a front page, a watch is seconds of one article, a session is a visit. Clicks come from the log; from EB-NeRD
reading times, leaving and coming back do too, with MIND they are priors (docs/worlds/learned_news.md).
"""

from __future__ import annotations

from jaxreco.envs import fitted

VERSION = "0.1"
LOGS = {"ebnerd": "EB-NeRD", "mind": "MIND"}
# A front page is looked over within minutes, several times a day. EB-NeRD tells how long is read; MIND does not.
DEFAULTS: dict[str, float] = {"budget_minutes": 10.0, "glimpse_seconds": 1.0, "load_seconds": 1.0}
UNTOLD: dict[str, float] = {
    "seconds": 60.0,
    "habit_hours": 12.0,
    "return_shape": 0.8,
    "return_satisfaction": 1.5,
    "return_trust": 1.0,
}

make = fitted.named("LearnedNews-v0", VERSION, LOGS, {"ebnerd": DEFAULTS, "mind": DEFAULTS | UNTOLD})
