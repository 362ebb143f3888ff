"""What people did: one form for every log, whatever its publisher's files look like.

One row an event, sorted by user and time. What a log does not know is None, never made up. NumPy on the host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxreco.errors import DataError

SESSION_GAP_S = 1800.0  # a pause as long ends a session where a log has none of its own, as in web analytics
COLUMNS = ("item", "time", "actions", "watch", "value", "slate", "position", "session", "propensity")


@dataclasses.dataclass(frozen=True, eq=False)
class Items:
    """What a log's files say of its items; every field has one entry an item, or is None."""

    ids: np.ndarray  # [I], as in the files, unique
    titles: Sequence[str] | None = None
    categories: Sequence[tuple[str, ...]] | None = None
    creators: Sequence[str] | None = None
    tags: Sequence[tuple[str, ...]] | None = None
    texts: Sequence[str] | None = None
    seconds: np.ndarray | None = None  # f64[I], length, NaN where unknown
    published: np.ndarray | None = None  # f64[I], seconds since 1970 (UTC), NaN where unknown
    codes: np.ndarray | None = None  # i32[I, L], published semantic IDs

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True, eq=False)
class Log:
    """Events of `N` rows, `U` users and `I` items.

    Make one with `Log.of`, which sorts and checks. Items are all of the catalog, whether anybody touched them or not.
    """

    name: str
    user: np.ndarray  # i32[N] in [0, U)
    item: np.ndarray  # i32[N] in [0, I)
    items: Items
    user_ids: np.ndarray  # [U], as in the files, unique
    time: np.ndarray | None = None  # f64[N], seconds since 1970 (UTC); None where only the order is known
    actions: np.ndarray | None = None  # i32[N], bits of `jaxreco.base` (EXAMINED, CLICK, ...)
    watch: np.ndarray | None = None  # f32[N], seconds watched, read or listened
    value: np.ndarray | None = None  # f32[N], in units of `value_unit`
    slate: np.ndarray | None = None  # i32[N], number of the impression in which the item was shown
    position: np.ndarray | None = None  # i32[N], place in it, from 0
    session: np.ndarray | None = None  # i32[N], number of the session, ascending in time for each user
    propensity: np.ndarray | None = None  # f32[N], probability with which the logging policy showed the item
    value_unit: str = ""  # "stars", "plays", ...
    users: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # columns [U]: age, gender, ...
    friends: np.ndarray | None = None  # i32[F, 2], pairs of users, each once, the lower first

    @classmethod
    def of(
        cls, name: str, user: np.ndarray, item: np.ndarray, items: Items, user_ids: np.ndarray, **more: object
    ) -> Log:
        """The log with its rows sorted by user, then time; rows of equal time keep their order.

        Args: more, other fields of Log.

        Raises DataError where columns differ in length, or rows name users or items that are not there.
        """
        user = np.asarray(user, np.int32)
        columns = {
            "item": np.asarray(item, np.int32),
            **{k: np.asarray(v) for k, v in more.items() if k in COLUMNS and v is not None},
        }
        for column, values in columns.items():
            if len(values) != len(user):
                raise DataError(
                    f"{name}: column {column} has {len(values):,} rows and user {len(user):,}: make them equal."
                )
        for what, ids, known in (("user", user, len(user_ids)), ("item", columns["item"], len(items))):
            if len(ids) and not (ids.min() >= 0 and ids.max() < known):
                raise DataError(
                    f"{name}: a row names {what} {ids.max() if ids.min() >= 0 else ids.min()} of {known:,}: mend the table."
                )
        keys = (columns["time"], user) if "time" in columns else (user,)
        order = np.lexsort(keys)
        if not np.array_equal(order, np.arange(len(user))):
            user, columns = user[order], {column: values[order] for column, values in columns.items()}
        rest = {k: v for k, v in more.items() if k not in COLUMNS}
        return cls(name=name, user=user, items=items, user_ids=np.asarray(user_ids), **columns, **rest)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """N."""
        return len(self.user)

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.items)

    @property
    def bounds(self) -> np.ndarray:
        """i64[U + 1]: user `u` has rows `bounds[u]` to `bounds[u + 1]`."""
        return np.searchsorted(self.user, np.arange(self.n_users + 1))

    def rows(self, chosen: np.ndarray) -> Log:
        """The log of some rows, i64[M] or bool[N], in the same order; users and items keep their numbers."""
        chosen = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.sort(np.asarray(chosen))
        columns = ("user", *COLUMNS)
        kept: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[chosen] for name in columns
        }
        return dataclasses.replace(self, **kept)

    def in_sessions(self, gap_s: float = SESSION_GAP_S) -> Log:
        """The log with sessions: its own where it has them, else cut where a user pauses for `gap_s` or longer.

        Raises DataError for a log without times.
        """
        if self.session is not None:
            return self
        if self.time is None:
            raise DataError(f"{self.name} has neither sessions nor times: sessions cannot be told.")
        if not len(self):
            return dataclasses.replace(self, session=np.zeros(0, np.int32))
        new = np.append(True, (np.diff(self.time) >= gap_s) | (np.diff(self.user) > 0))
        return dataclasses.replace(self, session=(np.cumsum(new) - 1).astype(np.int32))


def numbered(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(i32[N] numbers from 0, the unique ids in ascending order) of ids as they are in a file."""
    unique, number = np.unique(ids, return_inverse=True)
    return number.astype(np.int32), unique


def together(*columns: np.ndarray) -> np.ndarray:
    """Columns [N] as one of tuples, which can be compared, sorted and looked for."""
    table = np.empty(len(columns[0]), [(f"column{i}", column.dtype) for i, column in enumerate(columns)])
    for i, column in enumerate(columns):
        table[f"column{i}"] = column
    return table
