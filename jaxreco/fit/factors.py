"""The factors of items behind people's answers (`users.factors`), learned by EM; and what they foresee, event by event.

NumPy on the host: sums over people and items are products with sparse matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxreco.fit.feedback import SHRUNK
from jaxreco.users.factors import FORESEEN, LEAST, RANK, Factors, Leaning

ROUNDS = 15  # of EM
RIDGE = 15.0  # answers as a vector without answers would have, that everybody's own are mixed with
BEGIN = (0.15, 0.05)  # leniency's share of an answer, and the spread of all else, before the first round


class Answers(NamedTuple):
    """`N` answers, sorted by person and time."""

    person: np.ndarray  # i32[N]
    item: np.ndarray  # i32[N]
    ridit: np.ndarray  # f64[N]
    known: np.ndarray  # bool[N], elsewhere nothing was said
    n_people: int

    def rows(self, chosen: np.ndarray) -> Answers:
        """Some of the rows."""
        return Answers(self.person[chosen], self.item[chosen], self.ridit[chosen], self.known[chosen], self.n_people)

    def of(self, people: np.ndarray) -> Answers:
        """Those that were given, by people i64[V]."""
        return self.rows(self.known & np.isin(self.person, people))


def usual(answers: Answers, counts: np.ndarray, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """(of each row's item f64[N], of every item f64[I]): what those say of it that count bool[N], drawn to the mean of all.

    A row that counts is left out of its own.
    """
    total = np.bincount(answers.item[counts], answers.ridit[counts], minlength=n_items)
    number = np.bincount(answers.item[counts], minlength=n_items) + SHRUNK
    own = counts.astype(np.float64)
    return (total[answers.item] - own * answers.ridit) / (number[answers.item] - own), total / number


def learn(answers: Answers, n_items: int, rank: int = RANK, seed: int = 0) -> Factors:
    """The factors of answers that were all given, by maximum a posteriori EM.

    Items' vectors are drawn to the mean leniency and 0, so that an item without answers tells of leniency alone.
    """
    from scipy import sparse

    of_item, of_all = usual(answers, np.ones(len(answers.person), bool), n_items)
    above = answers.ridit - of_item
    d = rank + 1
    vector = np.random.default_rng(seed).normal(0.0, BEGIN[1], (n_items, d))
    vector[:, 0] = BEGIN[0]
    if not len(above):
        return Factors(jnp.asarray(vector * (np.arange(d) == 0), jnp.float32), jnp.zeros(n_items), jnp.float32(1.0))
    people, row = np.unique(answers.person, return_inverse=True)
    shape = (len(people), n_items)
    met = sparse.csr_matrix((np.ones(len(row)), (row, answers.item)), shape)
    said = sparse.csr_matrix((above, (row, answers.item)), shape)
    noise = float(np.var(above)) + LEAST
    for _ in range(ROUNDS):
        precision = np.eye(d) + (met @ _squares(vector)).reshape(-1, d, d) / noise
        covariance = np.linalg.inv(precision)
        mean = np.einsum("pde,pe->pd", covariance, said @ vector) / noise
        second = covariance + mean[:, :, None] * mean[:, None, :]
        gram, told = (met.T @ second.reshape(-1, d * d)).reshape(-1, d, d), said.T @ mean
        prior = np.zeros(d)
        prior[0] = np.average(vector[:, 0], weights=np.asarray(met.sum(axis=0)).ravel())
        vector = np.linalg.solve(gram + RIDGE * np.eye(d), (told + RIDGE * prior)[..., None])[..., 0]
        left = np.sum(above**2) - 2.0 * np.sum(vector * told) + np.sum(gram * vector[:, :, None] * vector[:, None, :])
        noise = max(float(left) / len(above), LEAST)
    return Factors(*(jnp.asarray(x, jnp.float32) for x in (vector, of_all, noise)))


def foreseen(factors: Factors, answers: Answers, usual: np.ndarray) -> tuple[np.ndarray, Leaning]:
    """(f32[N, FORESEEN], leaves [U, ...]): what is foreseen of each answer by those before it, and where people stand after all.

    The rule of `users.factors.Leaning.after`, for all people at once. Args: usual f64[N], of each row's item.
    """
    vector, noise = np.asarray(factors.vector, np.float64), float(factors.noise)
    n_people, d = answers.n_people, vector.shape[1]
    mean, covariance = np.zeros((n_people, d)), np.tile(np.eye(d), (n_people, 1, 1))
    found = np.zeros((len(answers.person), FORESEEN), np.float32)
    start = np.searchsorted(answers.person, np.arange(n_people + 1))
    count = np.diff(start)
    for at in range(int(count.max(initial=0))):
        who = np.flatnonzero(count > at)
        row = start[who] + at
        v, known = vector[answers.item[row]], answers.known[row]
        along = np.einsum("pde,pe->pd", covariance[who], v)
        expected, variance = np.sum(v * mean[who], axis=1), np.maximum(np.sum(v * along, axis=1), LEAST)
        found[row] = np.stack([expected, np.log(variance)], axis=1)
        gain = known[:, None] * along / (variance + noise)[:, None]
        mean[who] += gain * (answers.ridit[row] - usual[row] - expected)[:, None]
        covariance[who] -= gain[:, :, None] * along[:, None, :]
    return found, Leaning(*(jnp.asarray(x, jnp.float32) for x in (mean, covariance)))


def crossed(answers: Answers, fitted: np.ndarray, n_items: int, seed: int = 0) -> tuple[Factors, np.ndarray]:
    """(factors of people i64[V], what is foreseen of everybody's answers f32[N, FORESEEN]).

    Those who are fitted to are foreseen by factors of their other half, for by its own answers nobody is foreseen as others are.
    """
    whole = learn(answers.of(fitted), n_items)
    of_item, _ = usual(answers, answers.known & np.isin(answers.person, fitted), n_items)
    found, _ = foreseen(whole, answers, of_item)
    order = np.random.default_rng(seed).permutation(fitted)
    halves = (order[: len(order) // 2], order[len(order) // 2 :])
    for mine, others in (halves, halves[::-1]):
        theirs = np.isin(answers.person, mine)
        found[theirs] = foreseen(learn(answers.of(others), n_items), answers.rows(theirs), of_item[theirs])[0]
    return whole, found


def _squares(vector: np.ndarray) -> np.ndarray:
    """f64[I, d d]: of each vector, its products with itself."""
    return (vector[:, :, None] * vector[:, None, :]).reshape(len(vector), -1)
