"""check_env passes on honest worlds, and names the clause that a dishonest one breaks."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL, Coin, coin_world

import jaxreco
from jaxreco.base import EMPTY, LEAVE, EnvParams, EnvState, History
from jaxreco.env import RecoEnv
from jaxreco.ring import restart
from jaxreco.testing import CLAUSES, ContractError, check_env

TURNS = 24  # of the coin worlds: half of the turns end in a leave


def test_clause_names_differ() -> None:
    names = [name for name, _, _ in CLAUSES]
    assert len(set(names)) == len(names)
    assert all(sentence.endswith(".") for _, sentence, _ in CLAUSES)


@pytest.mark.parametrize("name", jaxreco.list_envs())
def test_every_world_keeps_the_contract(name: str, key: jax.Array) -> None:
    small = SMALL if name == "Feed-v0" else {"slate_size": 4, "history_length": 12}
    try:
        env, params = jaxreco.make(name, **small)
    except (ImportError, OSError, ValueError) as error:
        pytest.skip(f"{name} needs data: {error}")
    check_env(env, params, key)


@pytest.mark.parametrize(
    "static", [{}, {"action_mode": "item"}, {"action_mode": "query"}, {"single_session": True}, {"history_length": 7}]
)
def test_a_strangers_world_keeps_the_contract(static: dict[str, Any], key: jax.Array) -> None:
    check_env(*coin_world(**static), key, turns=TURNS)


def test_a_world_without_leaving_asks_for_more_turns() -> None:
    env, params = coin_world()
    with pytest.raises(ContractError, match="pass more turns"):
        check_env(env, params.replace(user=params.user.replace(leave=0.0)), turns=4)


# -- worlds that break one clause each -----------------------------------------------------------------------

BROKEN: list[tuple[str, type[RecoEnv]]] = []


def breaks(clause: str) -> Any:
    """Register a broken world under the clause that must catch it."""

    def add(env: type[RecoEnv]) -> type[RecoEnv]:
        BROKEN.append((clause, env))
        return env

    return add


@pytest.mark.parametrize("clause", [name for name, _, _ in CLAUSES])
def test_every_clause_has_a_world_that_breaks_it(clause: str) -> None:
    assert clause in {name for name, _ in BROKEN}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "broken" in metafunc.fixturenames:  # after the whole file is read
        metafunc.parametrize(("clause", "broken"), BROKEN, ids=[env.__name__ for _, env in BROKEN])


def test_is_caught_under_the_clauses_name(clause: str, broken: type[RecoEnv], key: jax.Array) -> None:
    env, params = coin_world(broken, getattr(broken, "user_class", Coin))
    params = broken.params_class(params) if hasattr(broken, "params_class") else params
    with pytest.raises(ContractError, match=f"^{clause}: ") as caught:
        check_env(env, params, key, turns=TURNS)
    assert caught.value.clause == clause
    assert dict((name, sentence) for name, sentence, _ in CLAUSES)[clause] in str(caught.value)


@breaks("six-values")
class FiveValues(RecoEnv):
    def step(self, key, state, action, params):
        obs, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        return obs, state, reward, terminated | truncated, info


@breaks("six-values")
class NoObserve(RecoEnv):
    observe = None  # type: ignore[assignment]


@breaks("scalars")
class RewardOfOneElement(RecoEnv):
    def step(self, *args):
        step = super().step(*args)
        return step._replace(reward=step.reward[None])


@breaks("scalars")
class DoneAsFloat(RecoEnv):
    def step(self, *args):
        step = super().step(*args)
        return step._replace(terminated=step.terminated.astype(jnp.float32))


@breaks("same-shapes")
class TurnBecomesFloat(RecoEnv):
    def step(self, *args):
        step = super().step(*args)
        state = EnvState(**(vars(step.state) | {"turn": step.state.turn.astype(jnp.float32)}))
        return step._replace(state=state)


@breaks("same-shapes")
class WeaklyTyped(RecoEnv):
    def step(self, *args):
        step = super().step(*args)
        weak = jnp.where(step.terminated, 0.0, 1.0)
        return step._replace(state=EnvState(**(vars(step.state) | {"hours_away": weak})))


@breaks("observation")
class ItemsAsFloats(RecoEnv):
    def observe(self, state, params):
        obs = super().observe(state, params)
        history = History(**(vars(obs.history) | {"item": obs.history.item.astype(jnp.float32)}))
        return obs.replace(history=history)


class KeyedState(EnvState):
    key: Any


@breaks("key-not-in-state")
class KeepsKey(RecoEnv):
    @staticmethod
    def held(key):
        return key

    def _initial(self, key, params):
        state = super()._initial(key, params)
        return KeyedState(**vars(state), key=self.held(jax.random.split(key)[1]))

    def step_env(self, key, state, action, params):
        step = super().step_env(key, state, action, params)
        return step._replace(state=KeyedState(**vars(step.state), key=self.held(jax.random.split(key)[1])))


@breaks("key-not-in-state")
class KeepsKeyData(KeepsKey):
    @staticmethod
    def held(key):
        return jax.random.key_data(key)


class InfoChanged(RecoEnv):
    """Changes the info of step_env by `change`."""

    def step_env(self, *args):
        step = super().step_env(*args)
        return step._replace(info=self.change(dict(step.info)))  # type: ignore[attr-defined]


@breaks("info-keys")
class NoDiscount(InfoChanged):
    def change(self, info):
        del info["discount"]
        return info


@breaks("same-info-keys")
class KeyAtTheEndOnly(InfoChanged):
    def change(self, info):
        ends = info["truncated"]
        return info | ({"summary": ends} if not isinstance(ends, jax.core.Tracer) and bool(ends) else {})


@breaks("info-keys")
class NeverSaysTerminated(InfoChanged):
    def change(self, info):
        return info | {"terminated": jnp.bool_(False)}


@breaks("no-nan")
class RatioOfNothing(InfoChanged):
    def change(self, info):
        return info | {"click_rate": info["clicks"] / (3 - info["invalid"] - info["examined"])}


@breaks("no-nan")
class InfiniteReward(RecoEnv):
    def step_env(self, *args):
        step = super().step_env(*args)
        return step._replace(reward=step.reward + jnp.where(step.obs.turn == 9, jnp.inf, 0.0))


@breaks("pure")
class Counts(InfoChanged):
    calls = itertools.count()

    def change(self, info):
        return info | {"calls": jnp.int32(next(self.calls))}


@breaks("pure")
class NumpyNoise(InfoChanged):
    noise = np.random.default_rng(0)

    def change(self, info):
        return info | {"noise": jnp.float32(self.noise.normal())}


@breaks("pure")
class ChangesItsInput(RecoEnv):
    def step_env(self, key, state, action, params):
        step = super().step_env(key, state, action, params)
        object.__setattr__(state, "turn", state.turn + 1)
        return step


@breaks("keys-matter")
class AlwaysTheSameUser(RecoEnv):
    def _initial(self, key, params):
        return super()._initial(jax.random.key(0), params)


@breaks("keys-matter")
class AlwaysTheSameTurn(RecoEnv):
    def step_env(self, key, state, action, params):
        return super().step_env(jax.random.key(0), state, action, params)


@breaks("random-slate")
class RepeatsItems(RecoEnv):
    def random_slate(self, key):
        return jax.random.randint(key, (self.slate_size,), 0, self.n_items)


@breaks("random-slate")
class OneSlate(RecoEnv):
    def random_slate(self, key):
        return jnp.arange(self.slate_size)


@breaks("check-action")
class ChecksNothing(RecoEnv):
    def check_action(self, action):
        pass


@breaks("check-action")
class NamesNothing(RecoEnv):
    def check_action(self, action):
        try:
            super().check_action(action)
        except ValueError:
            raise ValueError("This slate is not valid.") from None


@breaks("clock")
class HoursWithoutTheGap(InfoChanged):
    def change(self, info):
        return info | {"hours": info["turn_minutes"] / 60.0}


class Sleepless(Coin):
    def revisit(self, key, state, params, context):
        return state, super().revisit(key, state, params, context)[1]


@breaks("clock")
class ClockStandsInTheGap(RecoEnv):
    user_class = Sleepless


@breaks("discount")
class DiscountPerTurn(InfoChanged):
    def change(self, info):
        return info | {"discount": jnp.float32(0.99)}


class FlagsChanged(RecoEnv):
    """Changes terminated and truncated by `change`, in both places."""

    def step_env(self, key, state, action, params):
        step = super().step_env(key, state, action, params)
        terminated, truncated = self.change(step, params)  # type: ignore[attr-defined]
        info = step.info | {"terminated": terminated, "truncated": truncated}
        return step._replace(terminated=terminated, truncated=truncated, info=info)


@breaks("horizon-truncates")
class HorizonOnlyWithinSessions(FlagsChanged):
    def change(self, step, params):
        late = step.state.clock - step.info["gap_hours"] >= params.horizon_hours
        return step.terminated, late | (step.state.turn >= params.max_steps_in_episode)


@breaks("terminated-not-horizon")
class HorizonIsTheEnd(FlagsChanged):
    def change(self, step, params):
        return step.terminated | step.truncated, step.truncated


@breaks("churn-terminates")
class NobodyIsLost(FlagsChanged):
    def change(self, step, params):
        return jnp.zeros_like(step.terminated), step.truncated


@breaks("churn-terminates")
class EveryLeaveIsFinal(FlagsChanged):
    def change(self, step, params):
        return step.info["left"], step.truncated


@breaks("backstop-truncates")
class NoBackstop(FlagsChanged):
    def change(self, step, params):
        return step.terminated, step.state.clock >= params.horizon_hours


@breaks("auto-reset")
class GoesOn(RecoEnv):
    def step(self, *args):
        return self.step_env(*args)


@breaks("auto-reset")
class LosesTheLastObservation(RecoEnv):
    def step(self, *args):
        step = super().step(*args)
        return step._replace(info=step.info | {"final_observation": step.obs})


class OwnReset(RecoEnv):
    """Chooses between the new and the old state by `choose`."""

    def step(self, key, state, action, params):
        key_step, key_reset = jax.random.split(key)
        step = self.step_env(key_step, state, action, params)
        fresh = self._initial(self.reset_key(key_reset), params)
        state = self.choose(step.terminated | step.truncated, fresh, step.state)
        return step._replace(obs=self.observe(state, params), state=state)

    def reset_key(self, key):
        return key

    def choose(self, done, fresh, old):
        return restart(done, fresh, old)


@breaks("auto-reset")
class TheNewUserRemembers(OwnReset):
    def choose(self, done, fresh, old):
        fresh = fresh.replace(user=fresh.user.replace(history=old.user.history))
        return jax.tree.map(lambda new, now: jnp.where(done, new, now), fresh, old)


@breaks("auto-reset")
class TheNewUserIsAlwaysTheSame(OwnReset):
    def reset_key(self, key):
        return jax.random.key(0)


@breaks("history-not-copied")
class SelectsTheRing(OwnReset):
    def choose(self, done, fresh, old):
        return jax.tree.map(lambda new, now: jnp.where(done, new, now), fresh, old)


@breaks("invalid-slots")
class ClipsIds(RecoEnv):
    def decode(self, action, catalog):
        slate, invalid = super().decode(action, catalog)
        return jnp.where(slate == EMPTY, jnp.clip(action, 0, self.n_items - 1), slate), invalid


@breaks("invalid-slots")
class AllowsRepeats(RecoEnv):
    def decode(self, action, catalog):
        bad = (action < 0) | (action >= self.n_items)
        return jnp.where(bad, EMPTY, action), jnp.sum(bad, dtype=jnp.int32)


@breaks("invalid-slots")
class CountsNothing(RecoEnv):
    def decode(self, action, catalog):
        return super().decode(action, catalog)[0], jnp.int32(0)


@breaks("invalid-slots")
class ClosesTheRanks(RecoEnv):
    def decode(self, action, catalog):
        slate, invalid = super().decode(action, catalog)
        return slate[jnp.argsort(slate == EMPTY, stable=True)], invalid


@breaks("outcomes")
class CountsSkips(InfoChanged):
    def change(self, info):
        return info | {"clicks": info["examined"]}


@breaks("outcomes")
class EverybodyReturns(InfoChanged):
    def change(self, info):
        return info | {"returned": info["left"]}


class LeavesFromNowhere(Coin):
    def review(self, *args):
        state, feedback, instruction, trace = super().review(*args)
        last = jnp.arange(self.slate_size) == self.slate_size - 1
        actions = feedback.actions + jnp.where(last & feedback.left, jnp.int32(LEAVE), jnp.int32(0))
        return state, feedback.replace(actions=actions), instruction, trace


@breaks("invalid-slots")
class LeavesAtEmptySlots(RecoEnv):
    user_class = LeavesFromNowhere


@breaks("reward")
class Bonus(RecoEnv):
    def step_env(self, *args):
        step = super().step_env(*args)
        return step._replace(reward=step.reward + 0.01)


@breaks("reward")
class TermWithoutWeight(RecoEnv):
    def step_env(self, *args):
        step = super().step_env(*args)
        terms = step.info["reward_terms"] | {"bonus": jnp.float32(0.01)}
        return step._replace(reward=step.reward + 0.01, info=step.info | {"reward_terms": terms})


class Overwatches(Coin):
    def review(self, *args):
        state, feedback, instruction, trace = super().review(*args)
        return state, feedback.replace(watch=3.0 * feedback.watch), instruction, trace


@breaks("reward")
class WatchesLongerThanTheItem(RecoEnv):
    user_class = Overwatches


@breaks("no-mindset")
class MoodShows(RecoEnv):
    def observe(self, state, params):
        obs = super().observe(state, params)
        return obs.replace(trace=obs.trace + (8 * state.user.mood).astype(jnp.int32))


@breaks("no-mindset")
class TraitsShow(RecoEnv):
    def observe(self, state, params):
        click = params.population.traits.click[0]  # not by the user's row: that would be caught as state
        return super().observe(state, params).replace(instruction=jnp.full(4, 100 * click, jnp.int32))


@jax.custom_batching.custom_vmap
def _less_the_mean(x):
    return x


@_less_the_mean.def_vmap
def _(size, batched, x):
    return x - 1e-3 * jnp.mean(x), True


@breaks("vmap")
class KnowsItsNeighbours(InfoChanged):
    def change(self, info):
        return info | {"more_than_others": _less_the_mean(info["minutes"])}


@breaks("jit")
class CompiledIsAnother(InfoChanged):
    def change(self, info):
        return info | {"minutes": info["minutes"] + (0.0 if isinstance(info["left"], jax.core.Tracer) else 0.01)}


class LooseParams(EnvParams):
    def __post_init__(self):
        pass

    def replace(self, **changes):
        return LooseParams(**(vars(self) | changes))


@breaks("no-retrace")
class TakesPythonNumbers(RecoEnv):
    @staticmethod
    def params_class(params):
        return LooseParams(**vars(params))


@breaks("equal-env")
class EqualOnlyToItself(RecoEnv):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@breaks("branch")
class DrawsBySlate(RecoEnv):
    def step_env(self, key, state, action, params):
        slate, _ = self.decode(action, params.catalog)
        return super().step_env(jax.random.fold_in(key, slate[-1]), state, action, params)
