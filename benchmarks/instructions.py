"""Does an agent do what it is told, and does that help? Against agents that hear nothing, or somebody else's words.

Worth: the learning agent is trained with its users' words, without them, and with words shuffled among those who speak
in the same turn; in the world as it is, in one where being heard changes nothing but users know what they want
(honour_gain 0, rho 1), and in one where words say nothing either (honour_gain 0, rho 0), where nothing must be gained.
Following, farming and the faithfulness of traces are measured in the world as it is.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxreco import provenance
from jaxreco.benchmarks import faithfulness, following
from jaxreco.benchmarks.farmer import Farmer
from jaxreco.benchmarks.report import Report, Row, plain_table
from jaxreco.evaluation import Life, interval, live
from jaxreco.learning import checkpoint, trainer
from jaxreco.population import override
from jaxreco.registry import make, make_agent
from jaxreco.report.standing import Estimate, words
from jaxreco.talk.grammar import INTENTS
from jaxreco.talk.hearing import HEARINGS, hard_of_hearing

# The worlds: parameters of the user, and a trait that all users share.
WORLDS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "default": ({}, {}),
    "honour0_rho1": ({"honour_gain": 0.0}, {"rho": 1.0}),
    "rho0_honour0": ({"honour_gain": 0.0}, {"rho": 0.0}),
    "rho0": ({}, {"rho": 0.0}),
    "rho05": ({}, {"rho": 0.5}),
    "rho1": ({}, {"rho": 1.0}),
    "honour0": ({"honour_gain": 0.0}, {}),
    "rho05_honour0": ({"honour_gain": 0.0}, {"rho": 0.5}),
}
QUICK_WORLDS = ("default", "honour0_rho1", "rho0_honour0")
METRICS = ("reward", "sessions_30d")
TEMPERATURE = 0.2  # of every learning agent when it is evaluated: one for all, so that nothing is chosen for one
LEARNER = "ppo"
# 97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom, for 2, 3, ... seeds.
STUDENT = (np.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclasses.dataclass
class Setting:
    """What all parts of the benchmark share."""

    env_id: str
    data: Any
    world: dict[str, Any]
    users: int
    seeds: int
    train: trainer.TrainConfig
    runs: pathlib.Path | None
    say: Callable[[str], None]

    def make(self, name: str, **static: Any) -> tuple[Any, Any]:
        """`(env, params)` of one of WORLDS."""
        data = {"data": self.data} if self.data else {}
        env, params = make(self.env_id, **data, **self.world, **static)
        user, traits = WORLDS[name]
        return env, override(params.replace(user=params.user.replace(**user)), **traits)

    def trained(self, name: str, hearing: Any, seed: int, **static: Any) -> tuple[Any, Any, Any, Any]:
        """(env, params, agent, agent_params) of a learner, trained now or taken from the folder of runs."""
        env, params = self.make(name, **static)
        key = jax.random.key(seed)
        agent, agent_params = make_agent(LEARNER, jax.random.fold_in(key, 0), env, params)
        agent = hard_of_hearing(agent, hearing)
        key = jax.random.fold_in(key, 1)
        learner = trainer.begin(key, env, params, agent, agent_params, self.train)
        meta = checkpoint.describe(env, LEARNER, agent.agent if hearing != "real" else agent, self.train)
        folder = None
        if self.runs is not None:
            silent = "" if static.get("exposes_trace", True) else "-no_trace"
            commit = (provenance.commit() or "none")[:12]
            folder = self.runs / f"{self.env_id}-{name}-{hearing}{silent}-{self.train.updates}-{seed}-{commit}"
        if folder is not None and checkpoint.latest(folder) is not None:
            learner, _ = checkpoint.restore(folder, learner, meta)
        else:
            for update in range(self.train.updates):
                self.say(f"{name}, {hearing}{'' if static.get('exposes_trace', True) else ', no traces'}, seed {seed}: "
                         f"update {update + 1} of {self.train.updates}")  # fmt: skip
                learner, _ = trainer.block(key, params, learner, env, agent, self.train)
            if folder is not None:
                checkpoint.save(folder.absolute(), learner, meta)
        return env, params, agent, learner.agent_params.replace(temperature=np.float32(TEMPERATURE))

    def live(self, env: Any, params: Any, agent: Any, agent_params: Any, seed: int) -> Life:
        """The lives of the table: other users than those of the training."""
        key = jax.random.fold_in(jax.random.key(seed), 2)
        return live(key, env, params, agent, agent_params, users=self.users)


def run(
    *,
    quick: bool = True,
    say: Callable[[str], None] = lambda text: None,
    data: Any = None,
    env: str = "Feed-v0",
    agents: str = "all",
    runs: pathlib.Path | None = None,
    plot: pathlib.Path | None = None,
    users: int | None = None,
    seeds: int | None = None,
    updates: int | None = None,
    world: dict[str, Any] | None = None,
) -> Report:
    """Train, follow, farm, explain.

    Args:
      quick: three worlds, one seed, 30 updates, 512 users; the protocol is all worlds, 5 seeds, 80 updates, 4,096 users.
      agents: "all", or names with commas: those whose following is measured (ppo, obedient, popularity).
      runs: folder where trained agents are kept, and looked for. plot: PNG of what words are worth.
      users, seeds, updates: instead of these. data, env, world: the world, its data and its statics.

    Raises ValueError for an agent that this benchmark does not measure.
    """
    began = time.perf_counter()
    chosen = _chosen(agents)
    train = trainer.TrainConfig(updates=updates or (30 if quick else 80))
    setting = Setting(
        env, data, world or {}, users or (512 if quick else 4096), seeds or (1 if quick else 5), train, runs, say
    )
    names = QUICK_WORLDS if quick else tuple(WORLDS)
    rows: list[Row] = []
    tables = [_worth(setting, names, rows, plot), _following(setting, chosen, rows), _farming(setting, rows)]
    notes = [_faithful(setting, rows)]
    notes += [
        "Worth: paired differences, over users with one seed, over seeds (Student) with more. At rho 0 and honour_gain 0 "
        "nothing may be gained by listening.",
        f"The learner is evaluated at temperature {TEMPERATURE} throughout.",
        "Following: (agent - random) / (1 - random), at the states where the agent's own users spoke; intents that "
        f"random slates follow in {following.EASY:.0%} of cases, or that were given under {following.FEWEST} times, are left out.",
    ]
    if setting.seeds == 1:
        notes.append("One seed: training with another may end elsewhere.")
    protocol = f"{env}, {setting.users:,} users, {setting.seeds} seed(s), {train.updates} updates of {train.users} users x {train.turns} turns"
    mode = "quick" if quick else "full"
    return Report(
        benchmark="instructions", protocol=protocol, mode=mode, wall_s=time.perf_counter() - began,
        rows=[dataclasses.replace(row, mode=mode, world=env) for row in rows], notes=notes, tables=tables,
    )  # fmt: skip


def _chosen(agents: str) -> tuple[str, ...]:
    able = (LEARNER, "obedient", "popularity")
    chosen = able if agents == "all" else tuple(name.strip() for name in agents.split(","))
    for name in chosen:
        if name not in able:
            raise ValueError(f"The benchmark instructions measures {', '.join(able)}, not {name!r}.")
    return chosen


# -- worth ---------------------------------------------------------------------------------------------------


def _worth(setting: Setting, names: tuple[str, ...], rows: list[Row], plot: pathlib.Path | None) -> Any:
    """Reward and sessions of the learner with real, masked and shuffled words, and without traces."""
    table = plain_table(
        "world", "hearing", "reward", "sessions", "real less it", "in %", words=2, title="What words are worth"
    )
    bars: dict[str, dict[str, Estimate]] = {}
    for name in names:
        variants: dict[str, tuple[Any, dict[str, Any]]] = {hearing: (hearing, {}) for hearing in HEARINGS}
        if name in ("default", "honour0_rho1"):
            variants["no_trace"] = ("real", {"exposes_trace": False})
        lives = {
            variant: [
                setting.live(*setting.trained(name, hearing, seed, **static), seed) for seed in range(setting.seeds)
            ]
            for variant, (hearing, static) in variants.items()
        }
        bars[name] = {variant: _over(_columns(each, "reward")) for variant, each in lives.items()}
        for variant, each in lives.items():
            cells = []
            for metric in METRICS:
                found = _over(_columns(each, metric))
                rows.append(_row(setting, metric, found, f"{name}/{variant}"))
                cells.append(words(found))
                if variant != "real":
                    ahead = _over(_columns(lives["real"], metric) - _columns(each, metric))
                    rows.append(
                        _row(setting, metric, ahead, f"{name}/real", against=f"{LEARNER} under {name}/{variant}")
                    )
            gain, share = "", ""
            if variant != "real":
                difference = _over(_columns(lives["real"], "reward") - _columns(each, "reward"))
                base = _over(_columns(each, "reward")).value
                gain = f"{words(difference, sign=True)} {difference.verdict}"
                share = f"{100 * difference.low / base:+.1f} to {100 * difference.high / base:+.1f}"
            table.add_row(name, variant, *cells, gain, share)
    if plot is not None:
        _draw(plot, bars, setting)
    return table


def _columns(lives: list[Life], metric: str) -> np.ndarray:
    """f64[seeds, users]."""
    return np.stack([life.column(metric) for life in lives])


def _over(values: np.ndarray) -> Estimate:
    """Mean and interval of f64[seeds, users]: over users for one seed, over seeds (Student's t) for more."""
    if len(values) == 1:
        return Estimate(*interval(values[0]))
    means = values.mean(axis=1)
    student = STUDENT[min(len(means), len(STUDENT)) - 1]
    half = float(student * means.std(ddof=1) / np.sqrt(len(means)))
    return Estimate(float(means.mean()), float(means.mean()) - half, float(means.mean()) + half)


def _draw(path: pathlib.Path, bars: dict[str, dict[str, Estimate]], setting: Setting) -> None:
    """Reward by world and hearing, with intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 + 2.2 * len(bars), 3.6), layout="constrained")
    axes = figure.subplots()
    variants = list(next(iter(bars.values())))
    width = 0.8 / len(variants)
    for i, variant in enumerate(variants):
        at = [k for k, found in enumerate(bars.values()) if variant in found]
        found = [each[variant] for each in bars.values() if variant in each]
        error = np.array([[e.value - e.low for e in found], [e.high - e.value for e in found]])
        x = np.array(at) + (i - (len(variants) - 1) / 2) * width
        axes.bar(x, [e.value for e in found], width, yerr=error, capsize=2, label=variant)
    axes.set_xticks(range(len(bars)), list(bars))
    axes.set_ylabel("minutes in 30 days")
    seeds = "one seed" if setting.seeds == 1 else f"{setting.seeds} seeds"
    axes.set_title(f"What words are worth in {setting.env_id} ({seeds}, 95 %)", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, ncols=len(variants), loc="outside lower center")
    figure.savefig(path, dpi=144)


# -- following -----------------------------------------------------------------------------------------------


def _following(setting: Setting, chosen: tuple[str, ...], rows: list[Row]) -> Any:
    """How often the next slate, and the next three, do what was asked."""
    table = plain_table("intent", *(f"{name}{at}" for name in chosen for at in ("", " @3")), words=1, title="Following")
    found: dict[str, dict[str, Estimate]] = {}
    passes = {}
    for name in chosen:
        setting.say(f"following: {name}")
        env, params, agent, agent_params = _agent(setting, name)
        users = min(setting.users, 512)
        cases = following.answers(jax.random.key(7), env, params, agent, agent_params, users=users)
        for at, three in (("", False), ("@3", True)):
            scored = following.scores(cases, three)
            found[name + at] = scored
            for intent, estimate in scored.items():
                metric = f"follow{at}" + ("" if intent == "macro" else f":{intent}")
                rows.append(_row(setting, metric, estimate, "default", agent=name, users=users, seeds=1))
        passes[name] = [following.pass_hat(cases, k) for k in range(1, following.TRIALS + 1)]
        for k, value in enumerate(passes[name], 1):
            rows.append(_row(setting, f"pass^{k}", Estimate(value), "default", agent=name, users=users, seeds=1))
    for intent in (*INTENTS[1:], "macro"):
        cells = [words(found[name + at].get(intent, Estimate(float("nan")))) for name in chosen for at in ("", "@3")]
        table.add_row(intent, *cells)
    for k in range(following.TRIALS):
        table.add_row(f"pass^{k + 1}", *(cell for name in chosen for cell in (f"{passes[name][k]:.2f}", "")))
    return table


def _agent(setting: Setting, name: str) -> tuple[Any, Any, Any, Any]:
    """(env, params, agent, agent_params) in the world as it is."""
    if name == LEARNER:
        return setting.trained("default", "real", 0)
    env, params = setting.make("default")
    return (env, params, *make_agent(name, jax.random.key(0), env, params))


# -- farming and faithfulness ----------------------------------------------------------------------------------


def _farming(setting: Setting, rows: list[Row]) -> Any:
    """The agent that annoys and then honours, beside the same agent that does not annoy."""
    table = plain_table("agent", "reward", "sessions", "less obedient", words=1, title="Farming complaints")
    env, params = setting.make("default")
    agents = {
        "obedient": make_agent("obedient", jax.random.key(0), env, params)[0],
        "farmer_openings": Farmer("openings"),
        "farmer_silences": Farmer("silences"),
    }
    lives = {}
    for name, agent in agents.items():
        setting.say(f"farming: {name}")
        agent_params = agent.init(jax.random.key(0), env, params.catalog)
        lives[name] = [setting.live(env, params, agent, agent_params, seed=0)]
        found = [_over(_columns(lives[name], metric)) for metric in METRICS]
        rows += [_row(setting, m, f, "default", agent=name, seeds=1) for m, f in zip(METRICS, found, strict=True)]
        less = ""
        if name != "obedient":
            difference = _over(_columns(lives[name], "reward") - _columns(lives["obedient"], "reward"))
            rows.append(_row(setting, "reward", difference, "default", agent=name, against="obedient", seeds=1))
            less = f"{words(difference, sign=True)} {difference.verdict}"
        table.add_row(name, *(words(f) for f in found), less)
    return table


def _faithful(setting: Setting, rows: list[Row]) -> str:
    """How often the cause that a trace names is the one whose removal lowers the urge most."""
    setting.say("faithfulness of traces")
    env, params, agent, agent_params = _agent(setting, LEARNER)
    case = faithfulness.cases(jax.random.key(8), env, params, agent, agent_params)
    case = jax.tree.map(lambda x: x[:512], case)
    right = faithfulness.faithful(jax.random.key(9), env, params, case)
    found = Estimate(*interval(right.astype(float)))
    rows.append(_row(setting, "faithful", found, "rho1", users=len(right), seeds=1))
    return f"Faithful traces: {words(found)} of {len(right)} moments, rho 1, under {LEARNER}."


def _row(
    setting: Setting, metric: str, found: Estimate, protocol: str, *, agent: str = LEARNER, against: str | None = None,
    users: int | None = None, seeds: int | None = None,
) -> Row:  # fmt: skip
    dataset = pathlib.Path(setting.data).name if setting.data else None
    return Row(
        metric, found.value, found.low, found.high, dataset=dataset, protocol=protocol, agent=agent, against=against,
        n_users=users or setting.users, n_seeds=seeds or setting.seeds,
    )  # fmt: skip
