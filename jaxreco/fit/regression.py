"""A head fitted to rows whose hidden states stand fast, by penalised maximum likelihood; and set right on other people.

On the host by L-BFGS (Liu & Nocedal 1989): a few hundred numbers, and the same ones every time.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.users.classes import Classes
from jaxreco.users.heads import Head, Outlook

Array = jax.Array

RIDGES = (
    10.0,
    100.0,
    1000.0,
    1e5,
)  # of hidden states and items; tried on people who are not fitted to; the last leaves nothing
PLAIN = 1.0  # ridge of plain numbers
FOLDS, MANY = 4, 200  # folds of so few people; of more, one is enough
STEPS, NEAR = 100, 1e-6  # of L-BFGS; it ends where a step gains so small a part
CERTAIN = {"stretch": 10.0, "shift": 4.0, "widths": 20.0}  # inverse variances of a calibration's changes before any row
TRUST = 20.0  # rows that one person counts for in it, at most: its rows are alike


class Rows(NamedTuple):
    """What one head is about. `M` rows; all leaves NumPy."""

    person: Any  # i32[M]
    item: Any  # i32[M], -1 where `usual` says what there is to know of it
    hidden: Any  # f32[M, d]
    vector: Any  # f32[M, d], of items; 0 where none is meant
    usual: Any  # f32[M], of items, without what this row says of them
    extra: Any  # f32[M, E]
    simple: Any  # f32[M, E], the same without what the network says
    outcome: Any  # i32[M], class
    beyond: Any  # f32[M], as in Head.log_likelihood
    sight: Any  # f32[M], values beyond this the log could not have shown

    def of(self, chosen: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(*(column[chosen] for column in self))

    def plain(self) -> Rows:
        """Without hidden states and items: what a regression on plain numbers sees. Shapes stay, so that nothing is compiled anew."""
        nothing = {"hidden": np.zeros_like(self.hidden), "vector": np.zeros_like(self.vector)}
        return self.nameless()._replace(extra=self.simple, **nothing)

    def without_states(self) -> Rows:
        """Without hidden states and items, but with all plain numbers."""
        nothing = {"hidden": np.zeros_like(self.hidden), "vector": np.zeros_like(self.vector)}
        return self.nameless()._replace(**nothing)

    def without(self, column: int) -> Rows:
        """Without one of the plain numbers."""
        return self._replace(extra=self.extra * (np.arange(self.extra.shape[1]) != column))

    def nameless(self) -> Rows:
        """Where items are known by what is usual with them."""
        return self._replace(item=np.full_like(self.item, -1))

    def nothing(self) -> Rows:
        """Without anything: what leads to the base rate."""
        return self.plain()._replace(usual=np.zeros_like(self.usual), extra=np.zeros_like(self.extra))


def fit(classes: Classes, rows: Rows, seed: int = 0, ridges: tuple[float, ...] = RIDGES) -> Head:
    """The head of the greatest likelihood under the ridge that people left out like best. `usual` has one entry: its slope.

    Args: seed: who is left out.
    """
    rows = rows.nameless()
    problem, every = _Problem.of(classes, rows), np.ones(len(rows.person))
    if not rows.hidden.any():
        return problem.solve(every, ridges[0])
    people = np.unique(rows.person)
    part = np.array_split(np.random.default_rng(seed).permutation(people), FOLDS)
    found = np.zeros(len(ridges))
    for left_out in part if len(people) <= MANY else part[:1]:
        out = np.isin(rows.person, left_out)
        for at, ridge in enumerate(ridges):
            found[at] += log_likelihood(problem.solve(~out, ridge), rows)[out].sum()
    return problem.solve(every, ridges[int(found.argmax())])


def log_likelihood(head: Head, rows: Rows) -> np.ndarray:
    """f64[M]: of each row."""
    return np.asarray(_log_likelihoods(*nnx.split(head), rows), np.float64)


def outlooks(head: Head, rows: Rows) -> Outlook:
    """f32[M] leaves."""
    return _outlooks(*nnx.split(head), rows)


def calibrated(head: Head, rows: Rows, weight: np.ndarray | None = None) -> Head:
    """The head with its location stretched and its cutpoints moved, by rows of people whom it was not fitted to.

    A maximum a posteriori estimate around no change, so that few rows change little (Platt 1999; of more classes the cutpoints
    too). Args: weight f[M], what each row counts for.
    """
    graph, state = nnx.split(head)
    zero = {"stretch": jnp.zeros(()), "shift": jnp.zeros(()), "widths": jnp.zeros(len(head.classes) - 2)}
    outlook, counts = outlooks(head, rows), np.ones(len(rows.person)) if weight is None else weight.astype(np.float64)
    counts = counts * np.minimum(1.0, TRUST / np.maximum(np.bincount(rows.person, counts)[rows.person], 1.0))
    found = least(lambda change: _calibration(graph, change, state, outlook, rows, counts), zero)
    moved = nnx.merge(graph, jax.tree.map(jnp.asarray, state))
    _move(moved, found)
    for name in ("of_hidden", "of_item", "left", "of_extra", "usual"):
        getattr(moved, name)[...] = getattr(moved, name)[...] * jnp.exp(found["stretch"])
    return moved


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=1)
def _calibration(graph: Any, change: Any, state: Any, outlook: Outlook, rows: Rows, weight: Array) -> Array:
    head = nnx.merge(graph, jax.tree.map(jnp.asarray, state))  # made anew here, where it may be changed
    _move(head, change)
    at = Outlook(outlook.location * jnp.exp(change["stretch"]), outlook.scale)
    found = jax.vmap(head.log_likelihood)(at, jnp.asarray(rows.outcome), jnp.asarray(rows.beyond))
    return sum(0.5 * CERTAIN[name] * jnp.sum(jnp.square(x)) for name, x in change.items()) - jnp.sum(weight * found)


def _move(head: Head, change: Any) -> None:
    """Other cutpoints."""
    head.first[...] = head.first[...] + change["shift"]
    widths = jax.nn.softplus(head.steps[...]) * jnp.exp(change["widths"])
    head.steps[...] = widths + jnp.log(-jnp.expm1(-widths))


class _Scaling(NamedTuple):
    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> _Scaling:
        """Of the columns of f[M, N]. One that never changes stays as it is."""
        spread = x.std(axis=0) if len(x) else np.zeros(x.shape[1])
        moves = spread > 1e-6
        return cls(np.where(moves, x.mean(axis=0), 0.0), np.where(moves, spread, 1.0))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return ((x - self.mean) / self.spread).astype(np.float32)


class _Problem(NamedTuple):
    """Rows whose columns have unit variance, and a head to begin with."""

    head: Head
    rows: Rows
    scaling: tuple[_Scaling, _Scaling, _Scaling]  # of hidden, vector, extra

    @classmethod
    def of(cls, classes: Classes, rows: Rows) -> _Problem:
        head = Head(classes, rows.hidden.shape[1], rows.extra.shape[1], 1, rngs=nnx.Rngs(0))
        by = tuple(_Scaling.of(x) for x in (rows.hidden, rows.vector, rows.extra))
        scaled = (scaling(x) for scaling, x in zip(by, (rows.hidden, rows.vector, rows.extra), strict=True))
        return cls(head, rows._replace(**dict(zip(("hidden", "vector", "extra"), scaled, strict=True))), by)  # type: ignore[arg-type]

    def solve(self, weight: np.ndarray, ridge: float) -> Head:
        """The head of the greatest penalised likelihood; it takes columns as they are. weight: f[M], of rows."""
        graph, begin = nnx.split(self.head)
        with jax.enable_x64(True):
            args = jax.tree.map(jnp.asarray, (self.rows, weight.astype(np.float64), float(ridge)))
            found = least(lambda state: _penalised(graph, state, *args), begin)
        found = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float32), found)
        return _unscaled(nnx.merge(graph, found), *self.scaling)


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.value_and_grad, argnums=1)
def _penalised(graph: Any, state: Any, rows: Rows, weight: Array, ridge: Array) -> Array:
    strength = {"first": 0.0, "steps": 0.0, "of_extra": PLAIN, "usual": PLAIN, "scale_of_extra": 10.0 * PLAIN}
    doubt = sum(0.5 * strength.get(name, ridge) * jnp.sum(jnp.square(x)) for name, x in nnx.to_pure_dict(state).items())
    return doubt - jnp.sum(weight * _log_likelihood_of(nnx.merge(graph, state), rows))


def _unscaled(head: Head, hidden: _Scaling, vector: _Scaling, extra: _Scaling) -> Head:
    """The same head for columns as they are. The scale needs one that never changes among `extra` for what it loses."""
    left, right = np.asarray(head.left[...]) / hidden.spread, np.asarray(head.right[...]) / vector.spread
    of_hidden, of_item = np.asarray(head.of_hidden[...]) / hidden.spread, np.asarray(head.of_item[...]) / vector.spread
    of_extra = np.asarray(head.of_extra[...]) / extra.spread
    constant = of_hidden @ hidden.mean + of_item @ vector.mean + of_extra @ extra.mean
    middle_left, middle_right = left @ hidden.mean, right @ vector.mean
    constant -= middle_left @ middle_right
    scale_of_hidden = np.asarray(head.scale_of_hidden[...]) / hidden.spread
    scale_of_extra = np.asarray(head.scale_of_extra[...]) / extra.spread
    lost = scale_of_hidden @ hidden.mean + scale_of_extra @ extra.mean
    still = np.flatnonzero((extra.mean == 0.0) & (extra.spread == 1.0))
    if len(still):
        scale_of_extra[still[-1]] -= lost
    found = {
        "first": np.asarray(head.first[...]) + constant,
        "of_hidden": of_hidden - left.T @ middle_right,
        "of_item": of_item - right.T @ middle_left,
        "left": left, "right": right, "of_extra": of_extra,
        "scale_of_hidden": scale_of_hidden, "scale_of_extra": scale_of_extra,
    }  # fmt: skip
    for name, value in found.items():
        getattr(head, name)[...] = jnp.asarray(value, jnp.float32)
    return head


def least(value_and_grad: Any, begin: Any) -> Any:
    """The pytree at which a function is least."""
    from scipy.optimize import minimize

    leaves, tree = jax.tree.flatten(begin)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])

    def back(x: np.ndarray) -> Any:
        parts = np.split(x, ends[:-1])
        return jax.tree.unflatten(
            tree, [part.reshape(np.shape(leaf)) for part, leaf in zip(parts, leaves, strict=True)]
        )

    def at(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_and_grad(back(x))
        return float(value), np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(slope)]).astype(np.float64)

    found = minimize(
        at,
        np.concatenate([np.ravel(leaf) for leaf in leaves]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS, "ftol": NEAR},
    )
    return back(found.x)


def _outlook_of(head: Head, rows: Rows) -> Outlook:
    def one(hidden: Array, vector: Array, item: Array, usual: Array, extra: Array) -> Outlook:
        found = head.outlook(hidden, vector, extra)
        slopes = head.usual[...]
        return found._replace(
            location=found.location + jnp.where(item < 0, usual * slopes[0], slopes[jnp.maximum(item, 0)])
        )

    return jax.vmap(one)(*(jnp.asarray(x) for x in (rows.hidden, rows.vector, rows.item, rows.usual, rows.extra)))


def probabilities(head: Head, rows: Rows) -> np.ndarray:
    """f64[M, n]: of each class."""
    return np.exp(np.asarray(_log_probabilities(*nnx.split(head), rows), np.float64))


def _log_likelihood_of(head: Head, rows: Rows) -> Array:
    return jax.vmap(head.log_likelihood)(_outlook_of(head, rows), jnp.asarray(rows.outcome), jnp.asarray(rows.beyond))


def _merged(function: Any) -> Any:
    return jax.jit(lambda graph, state, rows: function(nnx.merge(graph, state), rows), static_argnums=0)


_log_likelihoods, _outlooks = _merged(_log_likelihood_of), _merged(_outlook_of)
_log_probabilities = _merged(lambda head, rows: jax.vmap(head.log_probabilities)(_outlook_of(head, rows)))
