"""Does an agent do what it is told, and does that help? Against agents that hear nothing, or somebody else's words.

Worth: the learning agent is trained with its users' words, without them, and with words shuffled among those who speak
in the same turn; in the world as it is, in one where being heard changes nothing but users know what they want
(honour_gain 0, rho 1), and in one where words say nothing either (honour_gain 0, rho 0), where nothing must be gained.
Reasons: the same learner without its users' reasons, with the reasons that come beside their words, and with users who
think aloud, giving reasons in every turn. Following, farming and the faithfulness of traces are measured in the world as it is.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxreco import files
from jaxreco.benchmarks import faithfulness, following, trained
from jaxreco.benchmarks.farmer import Farmer
from jaxreco.benchmarks.report import Report, Row, over, plain_table
from jaxreco.benchmarks.retention import LEARNERS
from jaxreco.errors import JaxrecoError
from jaxreco.evaluation import Life, live
from jaxreco.learning.config import TrainConfig
from jaxreco.names import several
from jaxreco.population import override
from jaxreco.registry import make, make_agent
from jaxreco.report.standing import Estimate, words
from jaxreco.talk.grammar import INTENTS
from jaxreco.talk.hearing import HEARINGS

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
FOLLOW_WORLDS = ("default", "rho0", "honour0", "rho0_honour0")  # in which following is measured, of those that are run
# In which the learner is also trained without reasons, and with more of them.
REASON_WORLDS = ("default", "honour0_rho1", "rho0_honour0")
# What the learner hears beside instructions: statics of the world.
NO_TRACE, ALOUD = "no_trace", "think_aloud"
REASONS: dict[str, dict[str, bool]] = {NO_TRACE: {"exposes_trace": False}, ALOUD: {"think_aloud": True}}
METRICS = ("reward", "sessions_30d")
TEMPERATURE = 0.2  # of every learning agent when it is evaluated: one for all, so that nothing is chosen for one
LEARNER = "ppo"  # unless another is asked for
OTHERS = ("obedient", "popularity")  # whose following is measured beside it
MOMENTS = 512  # at most, whose traces are tested


@dataclasses.dataclass
class Setting:
    """What all parts of the benchmark share."""

    env_id: str
    learner: str
    data: Any
    world: dict[str, Any]
    users: int
    seeds: int
    train: TrainConfig
    runs: pathlib.Path | None
    say: Callable[[str], None]
    learners: dict[tuple[str, str, int], tuple[Any, Any, Any, Any]] = dataclasses.field(default_factory=dict)
    lived: dict[tuple[str, str], list[Life]] = dataclasses.field(default_factory=dict)

    def make(self, name: str, **static: Any) -> tuple[Any, Any]:
        """`(env, params)` of one of WORLDS."""
        data = {"data": self.data} if self.data else {}
        env, params = make(self.env_id, **data, **self.world, **static)
        user, traits = WORLDS[name]
        return env, override(params.replace(user=params.user.replace(**user)), **traits)

    def trained(self, name: str, variant: str, seed: int) -> tuple[Any, Any, Any, Any]:
        """(env, params, agent, agent_params) of a learner, trained once or taken from the folder of runs.

        Args: variant, one of HEARINGS, or of REASONS: it hears all that its users ask for, and no or more reasons.
        """
        if (name, variant, seed) not in self.learners:
            self.learners[name, variant, seed] = self._trained(name, variant, seed)
        return self.learners[name, variant, seed]

    def _trained(self, name: str, variant: str, seed: int) -> tuple[Any, Any, Any, Any]:
        env, params = self.make(name, **REASONS.get(variant, {}))
        agent, agent_params = trained.learner(
            self.learner, jax.random.key(seed), env, params, self.config,
            hearing=variant if variant in HEARINGS else "real",
            folder=self._folder(name, variant, seed),
            say=lambda text: self.say(f"{name}, {variant}, seed {seed}: {text}"),
        )  # fmt: skip
        return env, params, agent, agent_params.replace(temperature=np.float32(TEMPERATURE))

    @property
    def config(self) -> TrainConfig:
        """How the learner is trained."""
        return trained.as_it_learns(self.learner, self.train)

    def _folder(self, name: str, variant: str, seed: int) -> pathlib.Path | None:
        """Where a trained learner is kept."""
        made_by = (self.data and str(self.data), sorted(self.world.items()), self.config)
        return trained.place(self.runs, f"{self.env_id}-{self.learner}-{name}-{variant}-{seed}", *made_by)

    def lives(self, name: str, variant: str) -> list[Life]:
        """The lives of the table, of each seed: other users than those of the training."""
        name = _as_if_deaf(name, variant)
        if (name, variant) not in self.lived:
            self.lived[name, variant] = [
                self.live(*self.trained(name, variant, seed), seed) for seed in range(self.seeds)
            ]
        return self.lived[name, variant]

    def live(self, env: Any, params: Any, agent: Any, agent_params: Any, seed: int) -> Life:
        """The lives of the table's users of one seed under an agent."""
        key = jax.random.fold_in(jax.random.key(seed), 2)
        return live(key, env, params, agent, agent_params, users=self.users)


def _as_if_deaf(name: str, variant: str) -> str:
    """The world in which a learner has the same lives, to the bit: who hears nothing where being heard changes nothing
    does not notice what is said, so that `rho` makes no difference to it."""
    return "honour0" if variant == "masked" and WORLDS[name][0].get("honour_gain") == 0.0 else name


def _protocol(name: str, variant: str) -> str:
    """How a row was measured: the world and the hearing, without what is usual."""
    return "/".join(word for word, usual in ((name, "default"), (variant, "real")) if word != usual) or "default"


def run(
    *,
    quick: bool = True,
    say: Callable[[str], None] = lambda text: None,
    data: Any = None,
    env: str = "Feed-v0",
    worlds: str | None = None,
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
      worlds: names of WORLDS with commas, instead of those.
      agents: "all" (ppo, obedient, popularity), or names with commas: those whose following is measured. One of them may learn, such as
        agentic; then all that is trained is of it, else of ppo.
      runs: folder where trained agents are kept, and looked for. plot: PNG of what words are worth.
      users, seeds, updates: instead of these. data, env, world: the world, its data and its statics.

    Raises ValueError for an agent that this benchmark does not measure, or a variant of the world that it does not have.
    """
    began = time.perf_counter()
    chosen = _chosen(agents)
    learner = next((name for name in chosen if name in LEARNERS), LEARNER)
    names = QUICK_WORLDS if quick else tuple(WORLDS)
    names = several(worlds, tuple(WORLDS), "The benchmark instructions measures no variant") if worlds else names
    train = TrainConfig(updates=updates or (30 if quick else 80))
    setting = Setting(
        env,
        learner,
        data,
        world or {},
        users or (512 if quick else 4096),
        seeds or (1 if quick else 5),
        train,
        runs,
        say,
    )
    rows: list[Row] = []
    tables = [_worth(setting, names, rows, plot), _reasons(setting, names, rows)]
    tables += [_following(setting, names, chosen, rows)]
    if "obedient" in chosen:  # of which the farmer is a version
        tables.append(_farming(setting, rows))
    notes = [_faithful(setting, rows)]
    notes += [
        "Worth: paired differences, over users with one seed, over seeds (Student) with more. At rho 0 and honour_gain 0 "
        "nothing may be gained by listening. % is of the reward that is taken off, the interval's two ends.",
        f"The learner is evaluated at temperature {TEMPERATURE} throughout.",
        "Following: (agent - random) / (1 - random), at the states where the agent's own users spoke; intents that "
        f"random slates follow in {following.EASY:.0%} of cases, or that were given under {following.FEWEST} times, are left out.",
    ]
    if setting.seeds == 1:
        notes.append("One seed: training with another may end elsewhere.")
    protocol = f"{learner} in {env}, {setting.users:,} users, {setting.seeds} seed(s), {train.updates} updates of {train.users} users x {train.turns} turns"
    mode = "quick" if quick else "full"
    return Report(
        benchmark="instructions", protocol=protocol, mode=mode, wall_s=time.perf_counter() - began,
        rows=[dataclasses.replace(row, mode=mode, world=env) for row in rows], notes=notes, tables=tables,
    )  # fmt: skip


def _chosen(agents: str) -> tuple[str, ...]:
    """The agents whose following is measured. Raises JaxrecoError for two that learn: what is trained is of one."""
    usual = (LEARNER, *OTHERS)
    if agents == "all":
        return usual
    chosen = several(agents, (*LEARNERS, *OTHERS), "The benchmark instructions measures no agent")
    learn = [name for name in chosen if name in LEARNERS]
    if len(learn) > 1:
        raise JaxrecoError(
            f"The benchmark instructions trains one agent, not {' and '.join(learn)}: run it once for each."
        )
    return chosen


# -- worth ---------------------------------------------------------------------------------------------------


def _worth(setting: Setting, names: tuple[str, ...], rows: list[Row], plot: pathlib.Path | None) -> Any:
    """Reward and sessions of the learner with real, masked and shuffled words."""
    table = plain_table(
        "world", "words", "reward", "sessions", "real less it", "%", words=2, title="What words are worth"
    )
    bars: dict[str, dict[str, Estimate]] = {}
    for name in names:
        bars[name] = {}
        for variant in HEARINGS:
            found = _measured(setting, name, variant)
            bars[name][variant] = found["reward"]
            rows += [_row(setting, metric, found[metric], _protocol(name, variant)) for metric in METRICS]
            cells = [words(found[metric]) for metric in METRICS]
            gain = _gain(setting, name, "real", variant, rows) if variant != "real" else ()
            table.add_row(name, variant, *cells, *gain)
    if plot is not None:
        _draw(plot, bars, setting)
    return table


def _reasons(setting: Setting, names: tuple[str, ...], rows: list[Row]) -> Any:
    """Reward and sessions of the learner without reasons, with those beside its users' words, and with some in every turn."""
    table = plain_table(
        "world", "reasons", "reward", "sessions", "more than none", "%", words=2, title="What reasons are worth"
    )
    for name in (name for name in names if name in REASON_WORLDS):
        for variant, says in ((NO_TRACE, "none"), ("real", "beside words"), (ALOUD, "in every turn")):
            found = _measured(setting, name, variant)
            if variant != "real":  # whose rows are those of the words
                rows += [_row(setting, metric, found[metric], _protocol(name, variant)) for metric in METRICS]
            cells = [words(found[metric]) for metric in METRICS]
            gain = _gain(setting, name, variant, NO_TRACE, rows) if variant != NO_TRACE else ()
            table.add_row(name, says, *cells, *gain)
    return table


def _measured(setting: Setting, name: str, variant: str) -> dict[str, Estimate]:
    """The metrics of a learner."""
    return {metric: over(_columns(setting.lives(name, variant), metric)) for metric in METRICS}


def _gain(setting: Setting, name: str, variant: str, than: str, rows: list[Row]) -> tuple[str, str]:
    """What a variant is worth over another: minutes with the verdict, and the interval in per cent of its reward."""
    gains = {}
    for metric in METRICS:
        one, other = (_columns(setting.lives(name, v), metric) for v in (variant, than))
        gains[metric] = over(one - other)
        against = f"{setting.learner} ({_protocol(name, than)})"
        rows.append(_row(setting, metric, gains[metric], _protocol(name, variant), against=against))
    gain, base = gains["reward"], float(_columns(setting.lives(name, than), "reward").mean())
    return f"{words(gain, sign=True)} {gain.verdict}", f"{100 * gain.low / base:+.1f} {100 * gain.high / base:+.1f}"


def _columns(lives: list[Life], metric: str) -> np.ndarray:
    """f64[seeds, users]."""
    return np.stack([life.column(metric) for life in lives])


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
    with files.written_whole(path) as file:
        figure.savefig(file, format="png", dpi=144)


# -- following -----------------------------------------------------------------------------------------------


def _following(setting: Setting, names: tuple[str, ...], chosen: tuple[str, ...], rows: list[Row]) -> Any:
    """How often the next slate, and the next three, do what was asked."""
    shown: dict[str, dict[str, Estimate]] = {}
    for name in chosen:
        shown |= _followed(setting, "default", "real", name, rows)
    if setting.learner in chosen:
        others = [("default", hearing) for hearing in HEARINGS[1:]]
        for world, hearing in [*others, *((name, "real") for name in names if name in FOLLOW_WORLDS[1:])]:
            _followed(setting, world, hearing, setting.learner, rows)
    table = plain_table("intent", *(name.replace("@", "\n@") for name in shown), words=1, title="Following")
    for intent in (*INTENTS[1:], "macro"):
        table.add_row(intent, *(_hundredths(column.get(intent)) for column in shown.values()))
    for k in range(1, following.TRIALS + 1):
        table.add_row(f"pass^{k}", *(_hundredths(column.get(f"pass^{k}")) for column in shown.values()))
    return table


def _followed(setting: Setting, world: str, hearing: str, name: str, rows: list[Row]) -> dict[str, dict[str, Estimate]]:
    """The columns of an agent, for the next slate and for the next three, by intent. Learners: over their seeds."""
    seeds = setting.seeds if name == setting.learner else 1
    users = min(setting.users, 512)
    found: dict[str, list[dict[str, Estimate]]] = {name: [], f"{name}@3": []}
    for seed in range(seeds):
        setting.say(f"following: {name}, {_protocol(world, hearing)}, seed {seed}")
        env, params, agent, agent_params = _agent(setting, world, hearing, name, seed)
        cases = following.answers(jax.random.key(7), env, params, agent, agent_params, users=users)
        passes = {f"pass^{k}": Estimate(following.pass_hat(cases, k)) for k in range(1, following.TRIALS + 1)}
        found[name].append(following.scores(cases) | passes)
        found[f"{name}@3"].append(following.scores(cases, three=True))
    columns = {column: _over_seeds(each) for column, each in found.items()}
    for column, at in ((name, "follow"), (f"{name}@3", "follow@3")):
        for what, estimate in columns[column].items():
            metric = {"macro": at}.get(what, what if what.startswith("pass^") else f"{at}:{what}")
            protocol = _protocol(world, hearing)
            rows.append(_row(setting, metric, estimate, protocol, agent=name, users=users, seeds=seeds))
    return columns


def _over_seeds(found: list[dict[str, Estimate]]) -> dict[str, Estimate]:
    """Means over seeds (Student's t) of what every seed scored; one seed keeps its interval over users."""
    if len(found) == 1:
        return found[0]
    common = [what for what in found[0] if all(what in each for each in found)]
    return {what: over(np.array([[each[what].value] for each in found])) for what in common}


def _hundredths(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.2f}"


def _agent(setting: Setting, world: str, hearing: str, name: str, seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """(env, params, agent, agent_params) in a world."""
    if name == setting.learner:
        return setting.trained(world, hearing, seed)
    env, params = setting.make(world)
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
        found = [over(_columns(lives[name], metric)) for metric in METRICS]
        rows += [_row(setting, m, f, "default", agent=name, seeds=1) for m, f in zip(METRICS, found, strict=True)]
        less = ""
        if name != "obedient":
            difference = over(_columns(lives[name], "reward") - _columns(lives["obedient"], "reward"))
            rows.append(_row(setting, "reward", difference, "default", agent=name, against="obedient", seeds=1))
            less = f"{words(difference, sign=True)} {difference.verdict}"
        table.add_row(name, *(words(f) for f in found), less)
    return table


def _faithful(setting: Setting, rows: list[Row]) -> str:
    """How often the cause that a trace names is the one whose removal lowers the urge most."""
    setting.say("faithfulness of traces")
    env, params, agent, agent_params = _agent(setting, "default", "real", setting.learner)
    case = faithfulness.cases(jax.random.key(8), env, params, agent, agent_params)
    some = np.sort(np.random.default_rng(0).permutation(len(case.named))[:MOMENTS])
    case = jax.tree.map(lambda x: x[some], case)
    right = faithfulness.faithful(jax.random.key(9), env, params, case)
    found = Estimate(*faithfulness.share_of_faithful(right, case.user))
    users = len(np.unique(case.user))
    rows.append(_row(setting, "faithful", found, "rho1", users=users, seeds=1))
    return f"Faithful traces: {words(found)} of {len(right)} moments of {users} users, rho 1, under {setting.learner}."


def _row(
    setting: Setting, metric: str, found: Estimate, protocol: str, *, agent: str | None = None, against: str | None = None,
    users: int | None = None, seeds: int | None = None,
) -> Row:  # fmt: skip
    dataset = pathlib.Path(setting.data).name if setting.data else None
    return Row(
        metric, found.value, found.low, found.high, dataset=dataset, protocol=protocol, agent=agent or setting.learner, against=against,
        n_users=users or setting.users, n_seeds=seeds or setting.seeds,
    )  # fmt: skip
