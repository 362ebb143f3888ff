"""Overrides by dotted path: what changes, and the one sentence for what cannot be."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxreco
from jaxreco import settings
from jaxreco.errors import JaxrecoError


def test_sets_scalars_at_any_depth_and_leaves_the_rest(feed):
    env, params = feed
    changed = settings.apply(params, ["user.satiation=0", "horizon_hours = 48", "reward.like=.5"])
    assert (changed.user.satiation, changed.horizon_hours, changed.reward.like) == (0.0, 48.0, 0.5)
    before, after = settings.scalars(params), settings.scalars(changed)
    assert list(before) == list(after)
    same = set(before) - {"user.satiation", "horizon_hours", "reward.like"}
    assert all(before[path].value == after[path].value for path in same)
    env.check(changed)


def test_types_are_kept_so_that_nothing_recompiles(feed):
    _, params = feed
    changed = settings.apply(params, ["user.satiation=0", "max_steps_in_episode=1e3"])
    assert [x.dtype for x in jax.tree.leaves(changed)] == [x.dtype for x in jax.tree.leaves(params)]
    assert changed.max_steps_in_episode == np.int32(1000)


def test_the_last_setting_counts(feed):
    assert settings.apply(feed[1], ["user.base=1", "user.base=2"]).user.base == 2.0


def test_an_infinite_time_means_never(feed):
    assert np.isinf(settings.apply(feed[1], ["churn_hours=inf"]).churn_hours)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("satiation=0", "There is no setting 'satiation'. Did you mean user.satiation?"),
        ("user.satiaton=0", "There is no setting 'user.satiaton'. Did you mean user.satiation"),
        ("zzz=0", "There is no setting 'zzz'. See all by: jaxreco list --settings"),
        ("user=0", "user is a group, not a number: it has user.base,"),
        ("catalog.embedding=0", r"catalog.embedding is an array of shape \(60, 16\): only scalars"),
        ("user.satiation=-1", "user.satiation is -1, outside its range: give a number of at least 0"),
        ("user.mood_rate=2", "user.mood_rate is 2, outside its range: give a number from 0 to 1"),
        ("user.satiation=nan", r"user.satiation is not a number \(NaN\): give a number of at least 0"),
        ("user.base=much", "user.base is 'much': give a number"),
        ("user.base=", "user.base is '': give a number"),
        ("user.satiation=inf", "user.satiation is inf: give a finite number"),
        ("max_steps_in_episode=2.5", "max_steps_in_episode is 2.5: give a whole number of at least 1"),
        ("max_steps_in_episode=1e12", "max_steps_in_episode is 1e12: give a whole number"),
        ("user.satiation", "'user.satiation' is no setting: write name=value"),
        ("=1", "'=1' is no setting: write name=value"),
    ],
)
def test_what_cannot_be_is_one_sentence(feed, text, sentence):
    with pytest.raises(JaxrecoError, match=sentence) as raised:
        settings.apply(feed[1], [text])
    assert "\n" not in str(raised.value)


def test_every_scalar_has_a_meaning_and_is_inside_its_range():
    _, params = jaxreco.make("Feed-v0", n_items=20, n_users=4)
    for path, setting in settings.scalars(params).items():
        assert setting.doc, path
        assert setting.unit, path
        assert setting.low <= setting.value <= setting.high, path
