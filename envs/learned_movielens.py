"""LearnedMovieLens-v0: films, and people of a MovieLens set as a network fitted to them knows them.

A turn is a page of film cards, a watch is minutes of one film, a session is an evening. What people start next and how they
value it comes from the log; how long they watch, when they leave and come back are priors (docs/worlds/learned_movielens.md).
"""

from __future__ import annotations

from jaxreco.envs import fitted

VERSION = "0.1"
LOGS = {
    "movielens-100k": "MovieLens 100K",
    "movielens-1m": "MovieLens 1M",
    "movielens-latest-small": "MovieLens latest-small",
}
# A film takes an evening, not seconds, and the next evening is days away: as in MovieLens-v0.
DEFAULTS: dict[str, float] = {
    "seconds": 6300.0,
    "budget_minutes": 120.0,
    "patience": 1.5,
    "fatigue": 1.0,
    "aspiration": 0.15,
    "mood_hours": 12.0,
    "watch_bias": 0.7,
    "glimpse_seconds": 8.0,
    "load_seconds": 10.0,
    "leave_bias": -5.0,
    "leave_time": 4.5,
    "leave_boredom": 0.15,
    "budget_spread": 0.3,
    "return_shape": 0.8,
    "return_satisfaction": 1.5,
    "return_trust": 1.0,
}

make = fitted.named("LearnedMovieLens-v0", VERSION, LOGS, dict.fromkeys(LOGS, DEFAULTS))
