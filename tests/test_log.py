"""Logs: one form, sorted and checked; sessions; splits that know nothing of their test."""

from __future__ import annotations

import numpy as np
import pytest

from jaxreco.data import splits
from jaxreco.data.log import Items, Log, numbered
from jaxreco.errors import DataError


def small(**more: object) -> Log:
    """Three users, five items, eight events, out of order."""
    user = [1, 0, 1, 0, 2, 0, 1, 1]
    item = [3, 0, 1, 2, 4, 1, 0, 3]
    time = [10.0, 0.0, 4000.0, 1799.0, 5.0, 3599.0, 10.0, 9000.0]
    items, users = Items(np.arange(5) + 100), np.array(["a", "b", "c"])
    return Log.of("small", np.array(user), np.array(item), items, users, **({"time": np.array(time)} | more))


def many(seed: int = 0, n: int = 500, users: int = 20) -> Log:
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, 10_000, n)).astype(float)
    return Log.of(
        "many", rng.integers(0, users, n), rng.integers(0, 30, n), Items(np.arange(30)), np.arange(users), time=time
    )


def test_rows_are_sorted_by_user_and_time_and_stay_in_order_within_a_moment() -> None:
    log = small(value=np.arange(8.0))
    assert log.user.tolist() == [0, 0, 0, 1, 1, 1, 1, 2]
    assert log.item.tolist() == [0, 2, 1, 3, 0, 1, 3, 4]
    assert log.value.tolist() == [1, 3, 5, 0, 6, 2, 7, 4]
    assert log.bounds.tolist() == [0, 3, 7, 8]
    assert (len(log), log.n_users, log.n_items) == (8, 3, 5)


def test_a_log_without_times_keeps_the_order_of_its_rows() -> None:
    log = small(time=None)
    assert log.time is None
    assert log.item.tolist() == [0, 2, 1, 3, 1, 0, 3, 4]
    with pytest.raises(DataError, match="neither sessions nor times"):
        log.in_sessions()


def test_bad_tables_are_refused() -> None:
    with pytest.raises(DataError, match="column watch has 3 rows and user 8"):
        small(watch=np.zeros(3))
    with pytest.raises(DataError, match="names user 5 of 3"):
        Log.of("bad", np.array([5]), np.array([0]), Items(np.arange(2)), np.arange(3))
    with pytest.raises(DataError, match="names item -1 of 2"):
        Log.of("bad", np.array([0]), np.array([-1]), Items(np.arange(2)), np.arange(3))


def test_sessions_are_cut_at_half_an_hour_and_never_span_users() -> None:
    log = small().in_sessions()  # user 0: gaps of 1,799 and 1,800 s; user 1: 0, 3,990 and 5,000 s
    assert log.session.tolist() == [0, 0, 1, 2, 2, 3, 4, 5]
    assert small(session=np.zeros(8, np.int32)).in_sessions().session.tolist() == [0] * 8
    assert small().in_sessions(gap_s=1e9).session.tolist() == [0, 0, 0, 1, 1, 1, 1, 2]


def test_rows_of_a_log() -> None:
    log = small(value=np.arange(8.0))
    some = log.rows(np.array([6, 0]))
    assert some.user.tolist() == [0, 1]
    assert some.value.tolist() == [1, 7]
    assert some.slate is None
    assert some.n_users == 3
    assert log.rows(log.user == 1).item.tolist() == [3, 0, 1, 3]


def test_ids_are_numbered_in_ascending_order() -> None:
    number, ids = numbered(np.array(["b", "a", "b"]))
    assert number.tolist() == [1, 0, 1]
    assert ids.tolist() == ["a", "b"]


# -- splits --------------------------------------------------------------------------------------------------


def test_leave_one_out_by_hand() -> None:
    split = splits.leave_one_out(small())
    assert split.test.tolist() == [2, 6]
    assert split.train.tolist() == [0, 1, 3, 4, 5, 7]  # user 2 has one event: trained on


def test_by_time_takes_the_latest_and_parts_no_moment() -> None:
    log = many()
    split = splits.by_time(log, 0.2)
    assert log.time is not None
    assert log.time[split.train].max() < log.time[split.test].min()
    assert 0.15 < len(split.test) / len(log) <= 0.21
    flat = Log.of("flat", np.zeros(4), np.zeros(4), Items(np.arange(1)), np.arange(1), time=np.array([1.0, 2, 2, 2]))
    assert splits.by_time(flat, 0.3).test.tolist() == [1, 2, 3]


def test_folds_share_out_the_users() -> None:
    log = many()
    folds = list(splits.folds_by_user(log, 10))
    tests = np.concatenate([split.test for split in folds])
    assert np.array_equal(np.sort(tests), np.arange(len(log)))
    assert [len(np.unique(log.user[split.test])) for split in folds] == [2] * 10
    assert all(np.array_equal(np.sort(np.concatenate(split)), np.arange(len(log))) for split in folds)
    other = list(splits.folds_by_user(log, 10, seed=1))
    assert not np.array_equal(other[0].test, folds[0].test)


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("leave_one_out", splits.leave_one_out),
        ("time", splits.by_time),
        ("user", splits.by_user),
        ("user", lambda log: next(splits.folds_by_user(log, 5))),
    ],
)
def test_a_planted_leak_is_noticed(kind: str, make) -> None:
    log = many()
    split = make(log)
    assert splits.leaks(log, split, kind) == []
    planted = splits.Split(np.sort(np.append(split.train, split.test[3])), split.test)
    assert splits.leaks(log, planted, kind)
    moved = splits.Split(planted.train, np.delete(split.test, 3))  # in one part only, but the wrong one
    if kind != "leave_one_out":  # a user whose last event is not tested leaks nothing
        assert splits.leaks(log, moved, kind)


def test_a_copy_of_a_test_event_is_noticed() -> None:
    log = many()
    assert log.time is not None
    twice = Log.of(
        "twice", np.append(log.user, log.user[-1]), np.append(log.item, log.item[-1]), log.items, log.user_ids,
        time=np.append(log.time, log.time[-1]),
    )  # fmt: skip
    found = splits.leaks(twice, splits.leave_one_out(twice), "leave_one_out")
    assert found == ["1 events of the test (user, item and time) are in the training part too."]


def test_bad_splits_are_refused() -> None:
    with pytest.raises(DataError, match="no times"):
        splits.by_time(small(time=None))
    with pytest.raises(DataError, match="between 0 and 1"):
        splits.by_user(small(), 1.0)
    with pytest.raises(DataError, match="2 to 3 folds, not 4"):
        next(splits.folds_by_user(small(), 4))
