"""Answers as a table, and from where on a person counts them as liked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from logged import ANSWERS, log_of

from jaxreco.data import responses as table
from jaxreco.data.responses import above_own_mean, own_scale, responses
from jaxreco.errors import DataError


def test_the_table_holds_every_answer_and_nothing_else() -> None:
    told = responses(log_of())
    for user, own in enumerate(ANSWERS):
        for item, value in enumerate(own):
            assert told.known[user, item] == (value is not None)
            assert told.value[user, item] == (0.0 if value is None else value)


def test_of_several_answers_to_one_item_the_last_counts() -> None:
    log = log_of([[1.0, 2.0]])
    twice = log.rows(np.array([0, 1]))
    twice = dataclasses.replace(twice, item=np.array([1, 1], np.int32), value=np.array([7.0, -3.0], np.float32))
    assert responses(twice).value.tolist() == [[0.0, -3.0]]
    assert responses(twice).known.tolist() == [[False, True]]


def test_a_person_clicks_from_its_own_mean_on_and_likes_its_upper_quarter() -> None:
    told = responses(log_of())
    scale = own_scale(told)
    np.testing.assert_allclose(scale.click_at, [2.0, 5.0, -4.0, 1.5], atol=1e-5)
    np.testing.assert_allclose(scale.like_at, [5.0, 5.0, -1.5, 2.25], atol=1e-5)  # numpy's quantile: linear between two
    assert (told.value >= scale.click_at[:, None])[1, 1:].all()  # who always says the same clicks


@pytest.mark.parametrize("value", [0.1, 0.3, -5.53, 7.43, 0.0])
def test_a_mean_in_floating_point_does_not_turn_equal_answers_into_dislikes(value: float) -> None:
    told = responses(log_of([[value] * 7]))
    scale = own_scale(told)
    assert (told.value >= scale.click_at[:, None]).all()
    assert (told.value >= scale.like_at[:, None]).all()


def test_people_without_answers_never_click() -> None:
    log = log_of()
    told = responses(log.rows(log.user != 2))
    scale = own_scale(told)
    assert np.isinf([scale.click_at[2], scale.like_at[2]]).all()
    np.testing.assert_allclose(above_own_mean(told)[2], 0.0)


def test_above_own_mean_by_hand() -> None:
    expected = [[6.0, 0.0, -6.0, 0.0], [0.0, 0.0, 0.0, 0.0], [-5.0, 0.0, 0.0, 5.0], [-1.5, -0.5, 0.5, 1.5]]
    np.testing.assert_allclose(above_own_mean(responses(log_of())), expected, atol=1e-6)


def test_who_answered_enough() -> None:
    told = responses(log_of())
    assert told.require(3, "small").tolist() == [True, True, False, True]
    with pytest.raises(
        DataError, match="Nobody in small answered 5 items; the most that anyone did are 4: ask for fewer"
    ):
        told.require(5, "small")


def test_logs_of_another_kind_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of()
    with pytest.raises(DataError, match="small has no value of an event"):
        responses(dataclasses.replace(log, value=None))
    with pytest.raises(DataError, match="small holds no event"):
        responses(log.rows(np.zeros(0, np.int64)))
    with pytest.raises(DataError, match="values that are no numbers"):
        responses(dataclasses.replace(log, value=np.full(len(log), np.nan, np.float32)))
    monkeypatch.setattr(table, "LARGEST", 15)
    with pytest.raises(DataError, match="4 users and 4 items, too many"):
        responses(log)
