"""The compact transformer of `ppo` as a generative recommender: it writes the semantic IDs of what it shows.

Each slot's ID is decoded code by code under a trie of the IDs that exist (`jaxreco.nn.trie`), so a slot costs levels times
codes and not the catalog, which may have millions of items (Rajput et al. 2023, "Recommender systems with generative
retrieval"). A code is judged by what is below it: how well the mean of those items fits what the user is believed to like,
how far they differ, how many of them were not shown lately. A decoder that knows the turn, the slots above and the codes
so far adds its own. On the last level are the items themselves.

What it perceives and remembers is as in `ppo`, and it is taught by the same objectives.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.agents.ppo import PPO, Decision, Described, Memory, Network, Percept, PPOParams, Replayed, named
from jaxreco.base import EMPTY, Catalog, Observation
from jaxreco.content import store
from jaxreco.content.semantic_id import residual_kmeans
from jaxreco.errors import DataError, JaxrecoError
from jaxreco.nn import trie
from jaxreco.nn.trie import Trie
from jaxreco.struct import Struct
from jaxreco.talk import reading
from jaxreco.talk.grammar import INTENT, KIND, Said
from jaxreco.talk.reading import Requests
from jaxreco.talk.satisfies import of_target

Array = jax.Array

ROOM = 4  # IDs that there could be, for each item: k-means fills some beginnings more than others
MOST_CODES = 32  # of a level, before there are more levels: the first two are looked over in every turn


class Below(Struct):
    """What is below the nodes of a level, with siblings in a row: of `P` nodes above, at most `W` children each."""

    size: Array  # i32[P, W], items; 0 where there is no node
    mean: Array  # f32[P, W, A + FEATURES], of the items' descriptions
    spread: Array  # f32[P, W, A + FEATURES], how the descriptions differ most: the first principal component, one deviation long
    variance: Array  # f32[P, W, A + FEATURES], what they differ by besides
    share: Array  # f32[P, W, C], of each category
    duration: Array  # f32[P, W], seconds, on average
    age: Array  # f32[P, W], hours


class GenerativeParams(PPOParams):
    """What is learned, and what goes with it."""

    trie: Trie  # not learned
    below: tuple[Below, ...]  # of all levels but the last; not learned
    tagged: Array  # f32[N, P, W], share of the items below each node of the second level that have a tag; not learned


class Intent(Struct):
    """What the network makes of a turn: what it wants to show."""

    taste: Array  # f32[A + FEATURES], what a unit of an item's description adds to its score
    categories: Array  # f32[C], what being of a category adds
    met: Array  # f32[], what recent items of the same creator add, by their logarithm
    renown: Array  # f32[2], what an item's lure and its worth add
    weight: Array  # f32[REQUESTS], how much of each standing request to heed
    state: Array  # f32[width], what the decoder begins with
    value: Array  # f32[], normalised
    slot_value: Array  # f32[], expected reward of a slot that is looked at


class Decoder(Network):
    """The network of `ppo` with another end: codes in place of a score for every item.

    Args: codes: of each level.
    """

    def __init__(
        self, agent: Generative, codes: tuple[int, ...], linear: int, n_categories: int, *, rngs: nnx.Rngs
    ) -> None:
        super().__init__(agent, 0, linear, n_categories, rngs=rngs)
        del self.item  # what is learned of an item is learned of its codes
        width, small = agent.width, nnx.initializers.normal(0.01)
        self.begin = nnx.Linear(width, width, rngs=rngs)
        self.shown = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.codes = nnx.List([nnx.Linear(n, width, use_bias=False, rngs=rngs) for n in codes])
        self.next = nnx.List([nnx.Linear(width, n, kernel_init=small, rngs=rngs) for n in codes])
        self.spread = nnx.Param(jnp.float32(1.0))

    def judge(self, hidden: Array, percept: Percept, described: Described, near: Array, catalog: Catalog) -> Any:
        """The Intent, from the transformer's output f32[width]."""
        h = self.norm(hidden)
        taste, categories, met = self.lean(h, percept)
        weight = self.weigh(percept.asked)
        value, slot_value = self.values(jax.nn.gelu(self.hidden(h)))
        return Intent(
            taste=taste + named(weight, percept, described.items),
            categories=categories + weight @ reading.by_category(percept.asked, percept.share, near),
            met=met,
            renown=self.renown[...],
            weight=weight,
            state=self.begin(h),
            value=value,
            slot_value=slot_value,
        )

    def write(self, level: int, path: tuple[Array, ...], above: Array, state: Array, ids: Trie) -> Array:
        """f32[codes of the level]: what comes next, after the nodes of `path` and the items `above` i32[K], EMPTY for none."""
        item, there = jnp.maximum(above, 0), (above >= 0)[:, None]
        shown = jnp.zeros_like(state)
        for stage, embed in zip(ids.levels, self.codes, strict=True):
            # Counts of codes times a matrix, not rows of it: their gradient would be a slow scatter.
            shown += embed(jnp.sum(one_hot(stage.code[stage.node[item]], embed.in_features) * there, axis=0))
        state = state + self.shown(shown)
        for stage, embed, node in zip(ids.levels, self.codes, path, strict=False):
            state = state + embed(one_hot(stage.code[node], embed.in_features))
        return self.next[level](jax.nn.gelu(state))


@dataclasses.dataclass(frozen=True)
class Generative(PPO):
    """Statics as of `PPO`, and:

    Args:
      levels, codes: of the semantic IDs that are made of the items' embeddings; 0 for as many as give them room.
      content: a folder of `jaxreco content encode`, whose semantic IDs are taken instead.
    """

    levels: int = 0
    codes: int = 0
    content: str = ""

    def init(self, key: Array, env: Any, catalog: Catalog) -> GenerativeParams:
        """A fresh network, and the catalog by code. The key is consumed.

        Raises DataError where the content has no semantic IDs, or is not of these items.
        """
        key_base, key_net, key_codes = jax.random.split(key, 3)
        base = super().init(key_base, env, catalog)
        described, n_categories = base.described, base.near.shape[0]
        if self.content:
            codes = published_codes(self.content, env, catalog)
        else:
            seed = int(jax.random.bits(key_codes) >> 1)
            codes = own_codes(np.asarray(catalog.embedding), self.levels, self.codes, seed)
        ids = trie.build(codes)
        used = tuple(int(level.code.max()) + 1 for level in ids.levels)
        # Of what has a column an item only the number of rows is read here.
        few = described.replace(by_feature=described.by_feature[:, :1], membership=described.membership[:, :1])
        made = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
        made["net"] = Decoder(self, used, described.items.shape[1], n_categories, rngs=nnx.Rngs(key_net))
        made["described"] = few
        below = tuple(look_below(ids, level, catalog, described) for level in range(len(ids.levels) - 1))
        return GenerativeParams(
            **made, trie=ids, below=below, tagged=tags_below(ids, catalog, base.tag_category.shape[0])
        )

    def moved(self, agent_params: Any, here: Any, known: Array, catalog: Catalog) -> Any:
        """Refused with JaxrecoError."""
        raise JaxrecoError(
            "generative writes the codes of the items it was trained with: it cannot be moved to others."
        )

    def act(
        self, key: Array, agent_params: Any, memory: Memory, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Memory, Decision]:
        """A slate i32[K] decoded code by code, the memory with this turn in it, and the Decision. The key is consumed."""
        intent: Any
        intent, memory, percept = self._look(agent_params, memory, obs, catalog)
        scores = scores_of(agent_params, intent, percept, catalog, 1.0 / agent_params.temperature)
        slate, log_prob = trie.sample(key, agent_params.trie, obs.slate.shape[0], scores)
        decision = Decision(
            log_prob=log_prob,
            value=agent_params.value_mean + agent_params.value_std * intent.value,
            slot_value=intent.slot_value,
            percept=percept,
            lure=agent_params.described.renown[0, slate],
        )
        return slate, memory, decision

    def replay(
        self, agent_params: Any, memory: Memory, percept: Percept, episode: Array, slate: Array, catalog: Catalog
    ) -> Replayed:
        """T turns judged again in one pass, as `PPO.replay`; the entropy is a slot's along its path, the mean over slots."""
        net, described = agent_params.net, agent_params.described
        x = jax.vmap(lambda p: net.embed(p, catalog, described.items))(percept)
        for block, cache in zip(net.blocks, memory.caches, strict=True):
            x = block.sequence(x, cache, episode)

        @jax.checkpoint  # what is below all nodes on all paths does not fit into the cache: look again on the way back
        def one(turn: tuple[Array, Percept, Array]) -> Replayed:
            hidden, percept, slate = turn
            intent = net.judge(hidden, percept, described, agent_params.near, catalog)
            scores = scores_of(agent_params, intent, percept, catalog, 1.0)
            log_prob, entropy = trie.log_prob(agent_params.trie, slate, scores)
            shown = of_items(jnp.maximum(slate, 0), intent, intent.categories, percept, described, catalog)
            appeal = net.scale[...] * shown
            return Replayed(log_prob, jnp.mean(entropy), intent.value, intent.slot_value, appeal)

        return jax.lax.map(one, (x, percept, slate))


def scores_of(
    params: GenerativeParams, intent: Intent, percept: Percept, catalog: Catalog, sharp: Array | float
) -> trie.Scores:
    """What the policy says of codes: the logarithm of the summed weight exp(score) of the items below each, as it guesses it.

    Args: sharp: 1 / temperature; all that tells items apart is multiplied by it.
    """
    net, ids, last = params.net, params.trie, len(params.trie.levels) - 1
    intent = intent.replace(
        **{name: sharp * getattr(intent, name) for name in ("taste", "categories", "met", "renown", "weight")}
    )
    lost = 1.0 - jnp.exp(-sharp * net.repeat[...])  # of the weight of an item that was shown lately
    seen, n_categories = distinct(percept.seen), intent.categories.shape[0]
    first, second = overview(params, intent, percept, catalog, seen, lost) if last > 1 else (None, None)

    def scores(level: int, nodes: Array, left: Array, path: tuple[Array, ...], above: Array) -> Array:
        stage, parent = ids.levels[level], path[-1] if path else 0
        again = jnp.where(jnp.any(seen[:, None] == above, axis=1), EMPTY, seen)
        number = few(left - lost * trie.count_below(stage, nodes, trie.ranks(ids, again)))
        shown = one_hot(catalog.category[jnp.maximum(above, 0)], n_categories) * (above >= 0)[:, None]
        cooled = intent.categories - sharp * net.cooling[...] * jnp.sum(shown, axis=0)
        if level == last:
            score = of_items(ids.item[nodes], intent, cooled, percept, params.described, catalog)
        elif level == 0 and first is not None:
            score = mixture(first, cooled - intent.categories)
        else:
            here = jax.tree.map(lambda x: x[parent], params.below[level])
            if level == 1 and second is not None:
                alike = second[parent]
            else:
                alike = of_beginnings(here, number, intent, percept.asked, net, catalog)
            score = alike + mixture(here.share, cooled)
        written = net.write(level, path, above, intent.state, ids)
        return jnp.log(number) + score + sharp * written[stage.code[nodes]]

    return scores


def overview(
    params: GenerativeParams, intent: Intent, percept: Percept, catalog: Catalog, seen: Array, lost: Array
) -> tuple[Array, Array]:
    """What the first level comes to, seen from the second, once a turn: many beginnings are too mixed to be judged by their mean.

    Returns: f32[W, C], the mean weight of items below each node of the first level, by category, relative to the heaviest
    there is; f32[W, W'], the logarithm of that of each node of the second, but for their categories.
    """
    below, ids = params.below[1], params.trie
    nodes = jnp.minimum(ids.levels[1].first[:-1, None] + ids.levels[1].places, ids.levels[1].code.shape[0] - 1)
    again = trie.count_below(ids.levels[1], nodes.ravel(), trie.ranks(ids, seen)).reshape(nodes.shape)
    number = jnp.where(below.size > 0, few(below.size - lost * again), 0.0)
    second = of_beginnings(below, few(number), intent, percept.asked, params.net, catalog)
    second += of_tag(params.tagged, intent.weight, percept.asked)
    kind = mixture(below.share, intent.categories)
    total = jnp.where(below.size > 0, jnp.log(few(number)) + second + kind, -jnp.inf)
    weight = jnp.exp(total - jax.lax.stop_gradient(jnp.max(total)) - kind + jnp.max(intent.categories))
    first = jnp.einsum("pw,pwc->pc", weight, below.share) * jnp.exp(intent.categories - jnp.max(intent.categories))
    return first / few(jnp.sum(number, axis=1))[:, None], second


def of_beginnings(below: Below, number: Array, intent: Intent, asked: Requests, net: Any, catalog: Catalog) -> Array:
    """f32[...]: the logarithm of the mean weight of items below nodes, leaves [..., *], but for their categories.

    Of scores that are normal with variance v it is mean + v / 2, as long as many items make it; where v is large the best
    of them do, and it grows with the root of v: beyond v = 2 log(number) in the limit of many (the random energy model,
    Derrida 1981), and about half of that for the few that are below most beginnings.

    Args: number f32[...], of the items.
    """
    v = net.spread[...] * ((below.spread @ intent.taste) ** 2 + below.variance @ intent.taste**2)
    frozen = jnp.maximum(jnp.log(number), 1e-6)  # a root has no slope at 0
    lift = jnp.where(v < frozen, 0.5 * v, jnp.sqrt(frozen * jnp.maximum(v, 1e-6)) - 0.5 * frozen)
    flat = catalog.replace(duration=below.duration.ravel(), age=below.age.ravel())
    asks = reading.by_length_and_age(intent.weight, asked, flat).reshape(number.shape)
    return below.mean @ intent.taste + lift + asks


def of_tag(tagged: Array, weight: Array, asked: Requests) -> Array:
    """f32[P, W]: what an instruction about a tag changes of the mean weight of items, tagged f32[N, P, W]; as a logarithm."""
    wants = (
        (asked.intent[0] == INTENT["more"]) * 1.0
        - (asked.intent[0] == INTENT["less"])
        - (asked.intent[0] == INTENT["never"])
    )
    push = weight[0] * wants * (asked.target_kind[0] == KIND["tag"])
    share = tagged[jnp.clip(asked.target[0], 0, tagged.shape[0] - 1)]
    return jnp.log(few(1.0 + share * jnp.expm1(jnp.minimum(push, trie.DEPTH))))


def of_items(
    item: Array, intent: Intent, categories: Array, percept: Percept, described: Described, catalog: Catalog
) -> Array:
    """f32[N]: scores of items i32[N], as in `ppo`."""
    asked = percept.asked
    score = described.items[item] @ intent.taste + one_hot(catalog.category[item], categories.shape[0]) @ categories
    score += intent.renown @ described.renown[:, item]
    creator = catalog.creator[jnp.maximum(percept.seen, 0)]
    score += intent.met * jnp.log1p(jnp.sum((catalog.creator[item][:, None] == creator) * percept.fresh, axis=1))
    here = catalog.replace(duration=catalog.duration[item], age=catalog.age[item])
    return score + reading.by_length_and_age(intent.weight, asked, here) + wanted(intent.weight, asked, item, catalog)


def mixture(share: Array, categories: Array) -> Array:
    """f32[...]: the logarithm of the mean of exp(categories f32[C]), weighed by share f32[..., C]."""
    top = jnp.max(categories)
    return jnp.log(few(share @ jnp.exp(categories - top))) + top


def few(number: Array) -> Array:
    """At least so much that its logarithm is a number."""
    return jnp.maximum(number, math.exp(-trie.DEPTH))


def wanted(weight: Array, asked: Requests, item: Array, catalog: Catalog) -> Array:
    """f32[N]: what requests say for (or against) items i32[N] that are of a tag or a creator, or are an item. weight f32[REQUESTS]."""
    refuses = (asked.intent == INTENT["less"]) | (asked.intent == INTENT["never"])
    push = weight * ((asked.intent == INTENT["more"]) * 1.0 - refuses) * (asked.target_kind != KIND["category"])
    none = jnp.zeros_like(push)
    said = jax.vmap(Said)(asked.intent, asked.target_kind, asked.target, none, none)
    return push @ jax.vmap(of_target, (0, None, None))(said, item, catalog)


def one_hot(index: Array, size: int) -> Array:
    """f32[..., size] of i32[...]."""
    return (index[..., None] == jnp.arange(size)).astype(jnp.float32)


def distinct(items: Array) -> Array:
    """i32[H]: items i32[H], EMPTY where one was there before."""
    return jnp.where(jnp.argmax(items[:, None] == items, axis=1) == jnp.arange(items.shape[0]), items, EMPTY)


# -- on the host ---------------------------------------------------------------------------------------------


def look_below(ids: Trie, level: int, catalog: Catalog, described: Described) -> Below:
    """What is below the nodes of a level."""
    items = np.asarray(described.items)
    mean = trie.mean_below(ids, level, items)
    away = items - mean[np.asarray(ids.levels[level].node)]
    spread = most_spread(ids, level, away)
    of_nodes = (
        np.diff(np.asarray(ids.levels[level].begin)),
        mean,
        spread,
        np.maximum(trie.mean_below(ids, level, away**2) - spread**2, 0.0),
        trie.mean_below(ids, level, np.asarray(described.membership).T),
        trie.mean_below(ids, level, np.asarray(catalog.duration)),
        trie.mean_below(ids, level, np.asarray(catalog.age)),
    )
    return Below(*(jnp.asarray(trie.by_parent(ids, level, values)) for values in of_nodes))


def most_spread(ids: Trie, level: int, away: np.ndarray, rounds: int = 10) -> np.ndarray:
    """f32[N, F]: the first principal component of what is below each node, times its standard deviation; by power iteration.

    Args: away f32[I, F], of each item from the mean of its node.
    """
    node = np.asarray(ids.levels[level].node)
    found = np.sqrt(trie.mean_below(ids, level, away**2)) + np.float32(
        1e-6
    )  # no component is orthogonal to it by design
    for _ in range(rounds):
        unit = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        found = trie.mean_below(ids, level, away * np.sum(away * unit[node], axis=1, keepdims=True))
    return found / np.sqrt(np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))


def tags_below(ids: Trie, catalog: Catalog, n_tags: int) -> Array:
    """f32[N, P, W]: the share of the items below each node of the second level that have a tag."""
    level = min(1, len(ids.levels) - 1)
    stage, tags = ids.levels[level], np.asarray(catalog.tags)
    size = np.diff(np.asarray(stage.begin))
    found = np.zeros((n_tags, len(size)), np.float32)
    item, column = np.nonzero(tags >= 0)
    node = np.asarray(stage.node)[item]
    np.add.at(found, (tags[item, column], node), 1.0 / size[node])
    return jnp.asarray(np.moveaxis(trie.by_parent(ids, level, np.minimum(found, 1.0).T), -1, 0))


def own_codes(embedding: np.ndarray, levels: int, codes: int, seed: int) -> np.ndarray:
    """i32[I, L]: semantic IDs by residual k-means of f32[I, D]; where levels or codes are 0, as many as it takes."""
    known = np.abs(embedding).sum(axis=1) > 0
    known = known if known.any() else ~known
    wanted = ROOM * len(embedding)
    levels = levels or max(3, math.ceil(math.log(wanted, MOST_CODES)))
    size = codes or max(2, math.ceil(wanted ** (1.0 / levels)))
    while True:
        try:
            return residual_kmeans(embedding, levels, size, seed, known=known).codes
        except DataError:  # so many are alike that a beginning overflows
            if codes or size > len(embedding):
                raise
            size = 2 * size


def published_codes(folder: str, env: Any, catalog: Catalog) -> np.ndarray:
    """i32[I, L]: the semantic IDs of a folder of content, for the items of a world. Raises DataError where it has none of them."""
    ids = (env.names.ids if env.names else ()) or range(catalog.n_items)
    semantic = store.load(folder).of(np.array(ids)).semantic
    if semantic is None:
        raise DataError(f"{folder} has no semantic IDs: make them with jaxreco content encode --semantic-ids kmeans.")
    return semantic.codes


def make(
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    window: int = 32,
    obey: float = 8.0,
    levels: int = 0,
    codes: int = 0,
    content: str = "",
) -> Generative:
    """The generative agent."""
    return Generative(width, layers, heads, window, obey=obey, levels=levels, codes=codes, content=content)
