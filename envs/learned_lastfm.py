"""LearnedLastFM-v0: artists, and people of the Last.fm sequences as a network fitted to them knows them.

A turn is a page of artists, a watch is seconds of a song of one, a session is an hour of music. What people play next comes from
the log; all else is a prior (docs/worlds/learned_lastfm.md).
"""

from __future__ import annotations

from jaxreco.envs import fitted

VERSION = "0.1"
LOGS = {"lastfm-sequences": "Last.fm sequences"}
# Music goes on beside other things: songs of four minutes, an hour at a time, again the next day, after a good hour somewhat sooner.
DEFAULTS: dict[str, float] = {
    "seconds": 240.0,
    "budget_minutes": 60.0,
    "habit_hours": 24.0,
    "watch_bias": 0.7,
    "return_shape": 0.8,
    "return_satisfaction": 1.5,
    "return_trust": 1.0,
}

make = fitted.named("LearnedLastFM-v0", VERSION, LOGS, dict.fromkeys(LOGS, DEFAULTS))
