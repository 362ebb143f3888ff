"""Is an instruction worth hearing? The likelihood of what a person takes next, given what it asked for.

The network's word on item `i` is `s_i`; an instruction about category `c` adds a weight to all items of it, and

    log p(i | more c) = s_i + w [i in c] - log sum_j exp(s_j + w [j in c]).

With `q` the network's chance of the category, `n` events ahead and `k` of them in it, they gain `k w - n log(1 + q (e^w - 1))`:
nothing else of the catalog matters. There is one weight for each intent. NumPy on the host.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxreco.users.asking import ASKS

STRONGEST = 10.0  # weights lie within so much of 0
SIGN = {"more": 1.0, "less": -1.0}  # of the weight of an intent that is taken at its word
DOUBT = 1.0  # inverse variance of a weight before any row


class Asked(NamedTuple):
    """What an instruction is about, and what followed. `M` rows."""

    intent: np.ndarray  # i64[M], place in ASKS
    chance: np.ndarray  # f64[M], that the next item is of its category, by the network
    inside: np.ndarray  # i64[M], next events of its category
    number: np.ndarray  # i64[M], all next events

    @classmethod
    def of(cls, sentence: np.ndarray, chance: np.ndarray, after: np.ndarray) -> Asked:
        """Of sentences i64[M] (as in `users.asking`), chances f64[M, C] and next events i64[M, C] of each category."""
        row, column = np.arange(len(sentence)), sentence % chance.shape[1]
        return cls(sentence // chance.shape[1], chance[row, column], after[row, column], after.sum(axis=1))

    def rows(self, chosen: np.ndarray) -> Asked:
        """Some of them."""
        return Asked(*(column[chosen] for column in self))


def gain(weight: np.ndarray | float, asked: Asked) -> np.ndarray:
    """f64[M]: nats that instructions add to the next events together. weight f64[2], of each of ASKS, or f64[] for all."""
    mine = np.broadcast_to(weight, len(ASKS))[asked.intent]
    return asked.inside * mine - asked.number * np.log1p(asked.chance * np.expm1(mine))


def fit(asked: Asked, either_way: bool = False) -> np.ndarray:
    """f64[2]: the weights under which the next events are likeliest, with a wide prior around 0.

    Args: either_way: who asks for more may get less; else instructions are taken at their word.
    """
    from scipy.optimize import minimize_scalar

    found = np.zeros(len(ASKS))
    for at, name in enumerate(ASKS):
        mine = asked.rows(asked.intent == at)

        def loss(weight: float, mine: Asked = mine) -> float:
            return float(0.5 * DOUBT * weight**2 - gain(weight, mine).sum())

        least = STRONGEST if either_way else 0.0
        bounds = sorted((-SIGN[name] * least, SIGN[name] * STRONGEST))
        best = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)
        found[at] = best if loss(best) < 0.0 else 0.0
    return found


def crossed(asked: Asked, half: np.ndarray, either_way: bool = False) -> np.ndarray:
    """f64[M]: the gain of everybody in one half bool[M] of the people by the weights of the other half.

    The network, and a decoder, know too well what people did whom they were fitted to: weights are told by others.
    """
    found = np.zeros(len(half))
    for judged in (half, ~half):
        found[judged] = gain(fit(asked.rows(~judged), either_way), asked.rows(judged))
    return found


def shuffled(sentence: np.ndarray, person: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """i64[M]: instructions of other people. Nobody gets its own, if no person has more than half of them.

    People are put in a random order, and the list is moved on by as many as the person with most has.
    """
    _, of, count = np.unique(person, return_inverse=True, return_counts=True)
    order = np.argsort(rng.permutation(len(count))[of], kind="stable")
    found = np.empty_like(sentence)
    found[order] = np.roll(sentence[order], int(count.max(initial=0)))
    return found
