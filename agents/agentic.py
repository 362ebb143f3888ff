"""A recommender that plans before it acts, acts through tools, and remembers across sessions.

It perceives what `ppo` perceives: feedback, what was asked for, and the reasons given. Then it makes a plan: to exploit what is known, to explore,
to follow what was asked, to diversify, or to cool down the category that came most of late. The plan is a token that it samples, and sets
what its tools do:

- `Retrieve` narrows the catalog to a few hundred items by a beam down a tree (`content.tree`), so that a turn costs little more with a
  million items than with a thousand;
- `Rank` scores those;
- `Rerank` makes the slate of them, a Plackett-Luce sample in which categories cool down.

The plan is a part of the action: its log-probability is trained by the same policy gradient as the slate's, with the whole turn's credit. It is
also what the agent can show for its reasoning (`tell`; sessions.txt). Within a session it remembers by the transformer's cache, across sessions
by the regression's lasting part and a learned summary: a gated mean of what sessions were like.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.agents import ppo
from jaxreco.agents.ppo import Described, Network, Percept, named, sense
from jaxreco.base import EMPTY, Catalog, Names, Observation
from jaxreco.content.tree import Tree, beam, plant
from jaxreco.learning.tastes import Tastes
from jaxreco.nn import plackett_luce
from jaxreco.struct import Struct
from jaxreco.talk import reading
from jaxreco.talk.grammar import INTENT, KIND
from jaxreco.talk.reading import Requests

Array = jax.Array

PLANS = ("exploit", "explore", "follow", "diversify", "cool")
DIALS = ("sharpness", "curiosity", "heed", "spread", "chill")  # what a plan sets; see `Config`
# To begin with: each plan turns up one of them.
SETTINGS = np.diag(np.array([0.3, 1.0, 1.0, 1.0, 3.0], np.float32))
POSTED = 32  # items of a tag or a creator that are at hand when somebody asks for it


class Config(NamedTuple):
    """What a plan sets the tools to."""

    sharpness: Array  # f32[], how strongly scores tell, as a factor
    curiosity: Array  # f32[], weight of not knowing how an item would be liked
    heed: Array  # f32[], how far requests are heeded, as a factor
    spread: Array  # f32[], how fast a category cools down within the slate, as a factor
    chill: Array  # f32[C], taken off the scores of categories


@dataclasses.dataclass(frozen=True)
class Retrieve:
    """The items worth ranking: those of the best leaves of the tree, and some of what was asked for by name.

    Args: width: leaves. The number of items is width times a leaf's, and POSTED.
    """

    width: int

    def __call__(self, tree: Tree, weight: Array, doubt: Array, posted: Array) -> Array:
        """i32[N], no item twice, EMPTY where there are fewer. weight, doubt f32[F], of descriptions and their squares."""
        found = beam(tree, weight, doubt, self.width)
        again = jnp.any(posted[:, None] == found, axis=1)
        return jnp.concatenate([found, jnp.where(again, EMPTY, posted)])


@dataclasses.dataclass(frozen=True)
class Rank:
    """Scores of a few items, by what is known of them, what was asked for, and what was seen."""

    def __call__(
        self, net: Planner, percept: Plans, wish: Wish, config: Config, described: Described, catalog: Catalog
    ) -> Array:
        """f32[N], -inf where there is no item."""
        items = jnp.maximum(percept.found, 0)
        part = jax.tree.map(lambda column: column[items], catalog)
        of = described.items[items]
        member = (part.category == jnp.arange(wish.categories.shape[0])[:, None]).astype(jnp.float32)
        score = of @ wish.taste + jnp.square(of) @ wish.doubt + wish.categories @ member + net.item[...][items]
        score = score + net.renown[...] @ described.renown[:, items]
        again = jnp.any(items[:, None] == percept.seen, axis=1)
        score = score - net.repeat[...] * again
        creator = catalog.creator[jnp.maximum(percept.seen, 0)]
        met = jnp.sum((part.creator[:, None] == creator) * percept.fresh, axis=1)
        score = score + wish.met * jnp.log1p(met)
        weight = config.heed * net.weigh(percept.asked)
        score = score + reading.by_length_and_age(weight, percept.asked, part)
        score = score + reading.by_target(weight, percept.asked, part, items)
        return jnp.where(percept.found >= 0, config.sharpness * score, -jnp.inf)


@dataclasses.dataclass(frozen=True)
class Rerank:
    """The slate: one item after another, each making others of its category and of its creator less likely."""

    size: int

    def __call__(self, key: Array, logits: Array, kinds: plackett_luce.Kinds) -> Array:
        """i32[K], places among the N items. The key is consumed."""
        return plackett_luce.sample_few(key, logits, self.size, kinds)


class Wish(NamedTuple):
    """What the agent looks for: linear scores of items."""

    taste: Array  # f32[linear], of descriptions
    doubt: Array  # f32[linear], of their squares: the variance of what is expected, without covariances
    categories: Array  # f32[C]
    met: Array  # f32[], of a recent item of the same creator, as a logarithm


class Recollection(Struct):
    """What is remembered of sessions."""

    summary: Array  # f32[width], of those that are over
    total: Array  # f32[width], of the tokens of the one that goes on
    count: Array  # f32[], of these

    @classmethod
    def none(cls, width: int) -> Recollection:
        """Of nothing."""
        return cls(jnp.zeros(width), jnp.zeros(width), jnp.float32(0.0))


class Memory(Struct):
    """What the agent remembers of one user."""

    tastes: Tastes
    asked: Requests
    taken: Array  # f32[2], as in `ppo`
    caches: Any  # one Ring a layer
    past: Recollection
    plan: Array  # i32[2], the latest plan and the category that came most of late


class Plans(Percept):
    """What is perceived, and what was planned and found; kept for the update."""

    doubt: Array  # f32[R], variances of the regression's weights
    plan: Array  # i32[]
    found: Array  # i32[N], the items that were ranked


class Decision(ppo.Decision):
    """The extras of `act`."""

    plan_log_prob: Array  # f32[]


class Replayed(ppo.Replayed):
    """A turn judged again, under new parameters."""

    plan_log_prob: Array  # f32[]
    plan_entropy: Array  # f32[], nats


class AgenticParams(ppo.PPOParams):
    """What is learned, and what goes with it."""

    tree: Tree  # not learned
    of_tag: Array  # i32[N, POSTED], items of each tag, most popular first; not learned
    of_creator: Array  # i32[N, POSTED]


class Planner(Network):
    """Percepts in; a plan, and what it looks for, out."""

    def __init__(self, agent: Agentic, n_items: int, linear: int, n_categories: int, *, rngs: nnx.Rngs) -> None:
        super().__init__(agent, n_items, linear, n_categories, rngs=rngs)
        width, small = agent.width, nnx.initializers.normal(0.01)
        self.plan = nnx.Linear(width, len(PLANS), kernel_init=small, rngs=rngs)
        self.settings = nnx.Param(jnp.asarray(SETTINGS))
        self.own_cooling = nnx.Param(jnp.float32(0.5))  # of a creator within the slate, as `cooling` is of a category
        self.gate = nnx.Linear(2 * width, 2 * width, rngs=rngs)
        self.recall = nnx.Linear(width, width, kernel_init=small, rngs=rngs)

    def remember(self, past: Recollection, token: Array, another: Array) -> Recollection:
        """With the turn's token f32[width]; `another` bool[] where a session has begun since (Zhou et al. 2016, minimal gated unit)."""
        total, count = past.total + token, past.count + 1.0
        gate, new = jnp.split(self.gate(jnp.concatenate([past.summary, total / count])), 2)
        gate = jax.nn.sigmoid(gate)
        summary = (1.0 - gate) * past.summary + gate * jnp.tanh(new)
        zero = jnp.zeros_like(total)
        over = Recollection(summary, zero, jnp.float32(0.0))
        return jax.tree.map(lambda a, b: jnp.where(another, a, b), over, Recollection(past.summary, total, count))

    def configure(self, plan: Array, recent: Array) -> Config:
        """What the plan i32[] sets. recent f32[C], items shown lately."""
        dials = self.settings[...][plan]
        sharpness, curiosity, heed, spread, chill = dials
        most = jnp.arange(recent.shape[0]) == jnp.argmax(recent)
        return Config(
            jnp.exp(sharpness), curiosity, jnp.exp(heed), jnp.exp(spread), chill * most * (jnp.max(recent) > 0)
        )

    def wish(self, h: Array, percept: Plans, config: Config, described: Described, near: Array) -> Wish:
        """What to look for, from the normed output h f32[width]."""
        taste, categories, met = self.lean(h, percept)
        weight = config.heed * self.weigh(percept.asked)
        asked = weight @ reading.by_category(percept.asked, percept.share, near)
        return Wish(
            taste=taste + named(weight, percept, described.items),
            doubt=config.curiosity * percept.doubt[: taste.shape[0]],
            categories=categories - config.chill + asked,
            met=met,
        )


@dataclasses.dataclass(frozen=True)
class Agentic(ppo.PPO):
    """The agent's statics; those of `ppo.PPO`, and:

    Args: beam: leaves of the tree that are ranked. leaf: items of a leaf, at most.
    """

    beam: int = 14
    leaf: int = 16
    network: ClassVar[type[Network]] = Planner

    def init(self, key: Array, env: Any, catalog: Catalog) -> AgenticParams:
        """A fresh network, and the tree of the catalog. The key is consumed."""
        base = super().init(key, env, catalog)
        popularity = np.asarray(catalog.popularity)
        return AgenticParams(
            **vars(base),
            tree=self._planted(base.described, catalog),
            of_tag=jnp.asarray(postings(np.asarray(catalog.tags), popularity)),
            of_creator=jnp.asarray(postings(np.asarray(catalog.creator)[:, None], popularity)),
        )

    def moved(self, agent_params: Any, here: Any, known: Array, catalog: Catalog) -> Any:
        """As of `PPO.moved`: nodes of the tree hold means of descriptions."""
        moved = super().moved(agent_params, here, known, catalog)
        return moved.replace(tree=self._planted(moved.described, catalog))

    def _planted(self, described: Described, catalog: Catalog) -> Tree:
        about = np.concatenate([np.asarray(described.items), np.asarray(described.membership).T], axis=1)
        return plant(np.asarray(catalog.embedding), about, self.leaf)

    def reset(self, agent_params: Any) -> Any:
        """The memory before the first turn."""
        before = super().reset(agent_params)
        nothing = jnp.array([0, EMPTY], jnp.int32)
        return Memory(before.tastes, before.asked, before.taken, before.caches, Recollection.none(self.width), nothing)

    def act(
        self, key: Array, agent_params: Any, memory: Any, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Any, Decision]:
        """The slate i32[K], the memory with this turn in it, and the Decision. The key is consumed."""
        key_plan, key_slate = jax.random.split(key)
        net, described, near = agent_params.net, agent_params.described, agent_params.near
        h, memory, percept, doubt = self._perceived(agent_params, memory, obs, catalog)
        plans = jax.nn.log_softmax(net.plan(h) / agent_params.temperature)
        plan = jax.random.categorical(key_plan, plans).astype(jnp.int32)
        config = net.configure(plan, percept.recent)
        percept = Plans(**vars(percept), doubt=doubt, plan=plan, found=jnp.zeros(0, jnp.int32))
        wish = net.wish(h, percept, config, described, near)
        posted = _posted(agent_params, percept.asked)
        weight = jnp.concatenate([wish.taste, wish.categories])
        squares = jnp.pad(wish.doubt, (0, wish.categories.shape[0]))
        percept = percept.replace(found=Retrieve(self.beam)(agent_params.tree, weight, squares, posted))
        logits, kinds = self._ranked(net, percept, wish, config, described, catalog, agent_params.temperature)
        chosen = Rerank(obs.slate.shape[0])(key_slate, logits, kinds)
        value, slot_value = net.values(jax.nn.gelu(net.hidden(h)))
        decision = Decision(
            log_prob=plackett_luce.log_prob_few(logits, chosen, kinds)[0],
            value=agent_params.value_mean + agent_params.value_std * value,
            slot_value=slot_value,
            percept=percept,
            lure=described.renown[0, percept.found[chosen]],
            plan_log_prob=plans[plan],
        )
        shown = jnp.stack([plan, jnp.argmax(percept.recent).astype(jnp.int32)])
        return percept.found[chosen], memory.replace(plan=shown), decision

    def value(self, agent_params: Any, memory: Any, obs: Observation, catalog: Catalog) -> Array:
        """f32[], discounted reward to come."""
        h, *_ = self._perceived(agent_params, memory, obs, catalog)
        value, _ = agent_params.net.values(jax.nn.gelu(agent_params.net.hidden(h)))
        return agent_params.value_mean + agent_params.value_std * value

    def replay(
        self,
        agent_params: Any,
        memory: Any,
        percept: Any,
        episode: Array,
        slate: Array,
        catalog: Catalog,
    ) -> Replayed:
        """T turns judged again in one pass, given the memory before the first: leaves [T, ...]. Arguments as of `PPO.replay`.

        What was found is taken as given: the probability is that of the plan, and of the slate among those items.
        """
        net, described, near = agent_params.net, agent_params.described, agent_params.near
        token = jax.vmap(lambda p: net.embed(p, catalog, described.items))(percept)
        x = token + jax.vmap(net.recall)(self._summaries(net, memory.past, token, percept, episode))
        for block, cache in zip(net.blocks, memory.caches, strict=True):
            x = block.sequence(x, cache, episode)

        @jax.checkpoint
        def one(turn: tuple[Array, Plans, Array]) -> Replayed:
            hidden, percept, slate = turn
            h = net.norm(hidden)
            plans = jax.nn.log_softmax(net.plan(h))
            config = net.configure(percept.plan, percept.recent)
            wish = net.wish(h, percept, config, described, near)
            logits, kinds = self._ranked(net, percept, wish, config, described, catalog)
            chosen = jnp.argmax(percept.found == slate[:, None], axis=1)
            log_prob, entropy = plackett_luce.log_prob_few(logits, chosen, kinds)
            value, slot_value = net.values(jax.nn.gelu(net.hidden(h)))
            return Replayed(
                log_prob=log_prob,
                entropy=entropy,
                value=value,
                slot_value=slot_value,
                appeal=net.scale[...] * logits[chosen],
                plan_log_prob=plans[percept.plan],
                plan_entropy=-jnp.sum(jnp.exp(plans) * plans),
            )

        return jax.lax.map(one, (x, percept, slate))

    def tell(self, plan: np.ndarray, names: Names | None) -> str:
        """A plan in words. plan i32[2], as remembered."""
        categories = names.categories if names else ()
        most = categories[int(plan[1])] if 0 <= int(plan[1]) < len(categories) else "what came most"
        words = {
            "exploit": "show what is known to please",
            "explore": "try what may yet turn out to please",
            "follow": "do what was asked",
            "diversify": "show something of everything",
            "cool": f"give {most} a rest",
        }
        return words[PLANS[int(plan[0])]]

    def _perceived(
        self, agent_params: AgenticParams, memory: Memory, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Memory, Percept, Array]:
        """The normed output f32[width], the memory with this turn in it, what was perceived, and how sure of tastes f32[R]."""
        net, described = agent_params.net, agent_params.described
        memory, percept = sense(agent_params, memory, obs, catalog)
        token = net.embed(percept, catalog, described.items)
        past = net.remember(memory.past, token, obs.session_turn == 0)
        x, caches = token + net.recall(past.summary), []
        for block, cache in zip(net.blocks, memory.caches, strict=True):
            x, cache = block.step(x, cache)
            caches.append(cache)
        memory = memory.replace(caches=tuple(caches), past=past)
        return net.norm(x), memory, percept, jnp.diagonal(memory.tastes.now.covariance)

    def _ranked(
        self,
        net: Planner,
        percept: Plans,
        wish: Wish,
        config: Config,
        described: Described,
        catalog: Catalog,
        temperature: Any = 1.0,
    ) -> tuple[Array, plackett_luce.Kinds]:
        """Logits f32[N] of what was found, and the kinds that cool down within the slate."""
        logits = Rank()(net, percept, wish, config, described, catalog)
        items = jnp.maximum(percept.found, 0)
        kind = jnp.stack([catalog.category[items], catalog.creator[items]])
        cooling = config.spread * jnp.stack([net.cooling[...], net.own_cooling[...]])
        return logits / temperature, plackett_luce.Kinds(kind, cooling / temperature)

    def _summaries(self, net: Planner, past: Recollection, token: Array, percept: Plans, episode: Array) -> Array:
        """f32[T, width]: the summary in each turn. token f32[T, width]."""
        opens = percept.scalars[:, 3] > 0
        anew = jnp.diff(episode, prepend=0) > 0

        def step(past: Recollection, turn: tuple[Array, Array, Array]) -> tuple[Recollection, Array]:
            token, opens, anew = turn
            nothing = Recollection.none(self.width)
            past = jax.tree.map(lambda a, b: jnp.where(anew, a, b), nothing, past)
            past = net.remember(past, token, opens)
            return past, past.summary

        return jax.lax.scan(step, past, (token, opens, anew))[1]


def postings(label: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """i32[N, POSTED]: the items of each label, most popular first, EMPTY where there are fewer. label i32[I, G], EMPTY for none."""
    found = np.full((max(int(label.max()) + 1, 1), POSTED), EMPTY, np.int32)
    order = np.argsort(-popularity, kind="stable")
    item = np.repeat(order, label.shape[1])
    of = label[order].ravel()
    item, of = item[of >= 0], of[of >= 0]
    by_label = np.argsort(of, kind="stable")
    item, of = item[by_label], of[by_label]
    place = np.arange(len(of)) - np.searchsorted(of, of)
    near = place < POSTED
    found[of[near], place[near]] = item[near]
    return found


def _posted(agent_params: AgenticParams, asked: Requests) -> Array:
    """i32[POSTED]: items of the tag or the creator that was asked for."""
    wants = (asked.intent[0] == INTENT["more"]) | (asked.intent[0] == INTENT["like"])
    target = jnp.maximum(asked.target[0], 0)
    found = jnp.full(POSTED, EMPTY, jnp.int32)
    for kind, lists in (("tag", agent_params.of_tag), ("creator", agent_params.of_creator)):
        found = jnp.where(wants & (asked.target_kind[0] == KIND[kind]), lists[target], found)
    return found


def make(width: int = 64, layers: int = 2, heads: int = 4, window: int = 32, obey: float = 8.0) -> Agentic:
    """The planning agent."""
    return Agentic(width, layers, heads, window, obey=obey)
