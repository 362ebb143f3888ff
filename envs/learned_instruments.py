"""LearnedInstruments-v0: musical instruments, and reviewers at Amazon as a network fitted to them knows them.

A turn is a page of products, a watch is seconds on a product's page, a session is a visit to the shop. What people took next comes
from the log; all else is a prior (docs/worlds/learned_instruments.md).
"""

from __future__ import annotations

from jaxreco.envs import fitted

VERSION = "0.1"
LOGS = {"instruments-2018": "Instruments 2018"}
# A shop is visited for some minutes and about once a week; a page of a product is looked at, not watched to an end.
DEFAULTS: dict[str, float] = {
    "seconds": 40.0,
    "budget_minutes": 10.0,
    "habit_hours": 168.0,
    "glimpse_seconds": 1.5,
    "return_shape": 0.8,
    "return_satisfaction": 1.5,
    "return_trust": 1.0,
}

make = fitted.named("LearnedInstruments-v0", VERSION, LOGS, dict.fromkeys(LOGS, DEFAULTS))
