"""A compact transformer that learns by PPO which slates keep people coming back.

It reads one token a turn (the last slate and what was done with it, slots pooled), attends to its last `window`
turns through a cache, and scores every item; the slate is a Plackett-Luce sample of the scores, so its
log-probability is exact. Beside the transformer runs a memory that needs no training: a Bayesian linear regression of
what this user did on what the items were, with a part that lasts and a part that is of this session (`learning.tastes`).
The network decides how much of it to follow, and adds its own.

It listens: what the user has asked for, and the reasons given, stand for a while. Every item is judged by how far it
satisfies them, and the network learns how much of each to heed, and for how many turns.

This file holds the network and how it acts. Returns, objective and training are in `jaxreco.learning`. Copy the file,
change it, and train the copy: `jaxreco train --agent ./my_ppo.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreco.base import CLICK, EXAMINED, LEAVE, LIKE, Catalog, Observation
from jaxreco.content.anchors import FEATURES, by_anchors, features, spread_anchors
from jaxreco.learning import tastes as taste_rules
from jaxreco.learning.pooled import pooled
from jaxreco.learning.reputation import Reputation
from jaxreco.learning.tastes import FRACTION, MORE, OUTCOMES, Belief, Named, Tastes
from jaxreco.nn import plackett_luce
from jaxreco.nn.transformer import Block
from jaxreco.struct import Struct
from jaxreco.talk import reading
from jaxreco.talk.grammar import INTENT, INTENTS, KIND
from jaxreco.talk.reading import Requests
from jaxreco.talk.satisfies import near_categories, tag_categories

Array = jax.Array

SCALARS = 8
TAKEN_HOURS = 168.0  # what somebody was lured into is felt for about so long
HEED = (1.0, 1.0, 1.0, 0.3)  # to begin with, of requests that are 0, 1, 2 and more turns old
OF_A_REASON = 0.3  # to begin with, of a reason relative to an instruction
PEERS = 1.0  # weight of the belief in items that "people like me" watch
# To begin with, weights of an item's lure and of its worth: what promises more than it holds is avoided.
RENOWN = (-1.5, 0.0)


class Memory(Struct):
    """What the agent remembers of one user."""

    tastes: Tastes
    asked: Requests
    taken: Array  # f32[2], clicks and their lure, fading over days: what an agent can know of trust
    caches: Any  # one Ring a layer


class Percept(Struct):
    """What the network perceives in one turn; kept for the update."""

    slate: Array  # i32[K]
    actions: Array  # i32[K]
    watch: Array  # f32[K]
    seen: Array  # i32[H], items in the visible history
    fresh: Array  # f32[H], how much of each is still felt
    scalars: Array  # f32[SCALARS]
    belief: Array  # f32[OUTCOMES, R], posterior mean of the regression, in this session
    session: Array  # f32[OUTCOMES, R], how that differs from what lasts
    recent: Array  # f32[C]
    asked: Requests
    share: Array  # f32[C], of each category in the visible history


class Judgement(Struct):
    """What the network makes of a turn."""

    logits: Array  # f32[I]
    value: Array  # f32[], normalised
    slot_value: Array  # f32[], expected reward of a slot that is looked at


class Decision(Struct):
    """The extras of `act`: what the update needs to know of it."""

    log_prob: Array  # f32[K], of each slot given those above it
    value: Array  # f32[], discounted reward to come
    slot_value: Array  # f32[]
    percept: Percept
    lure: Array  # f32[K], of the items shown: their clicks are credited with what comes of being lured


class Replayed(Struct):
    """A turn judged again, under new parameters."""

    log_prob: Array  # f32[K]
    entropy: Array  # f32[], nats, of the first slot
    value: Array  # f32[], normalised
    slot_value: Array  # f32[]
    appeal: (
        Array | None
    )  # f32[K], what each slot is expected to earn above or below the others; None where that is not foretold


class Described(Struct):
    """The catalog as the network knows it, worked out once, when the agent is made: items must stay what they are."""

    items: Array  # f32[I, A + FEATURES]
    by_feature: Array  # f32[A + FEATURES, I], their transpose
    membership: Array  # f32[C, I], 1 where the item is of the category
    made: Array  # i32[N], items of each creator
    named: Named  # what can be named
    renown: Array  # f32[2, I], what all users together have found of each item (`learning.reputation`); grows while training


class PPOParams(Struct):
    """What is learned, and what goes with it."""

    net: Any  # Network
    described: Described  # not learned
    near: Array  # f32[C, C], 1 where categories are related; not learned
    tag_category: Array  # i32[N], the category that most items of a tag have; not learned
    prior: Belief  # of the lasting tastes of somebody never seen: as those of all have turned out (`learning.pooled`)
    reputation: Reputation  # what `described.renown` is made of
    value_mean: Array  # f32[], of returns, so that the value head works on standard scores
    value_std: Array  # f32[]
    temperature: Array  # f32[], of the slate; 1 while learning


class Network(nnx.Module):
    """Percepts in, a score for every item out."""

    def __init__(self, agent: PPO, n_items: int, linear: int, n_categories: int, *, rngs: nnx.Rngs) -> None:
        width, regressors = agent.width, linear + MORE
        small = nnx.initializers.normal(0.01)
        self.slot = nnx.Linear(linear + 6, width, rngs=rngs)
        known = SCALARS + n_categories + 2 * OUTCOMES * regressors + reading.WORDS
        self.token = nnx.Linear(width + known, width, rngs=rngs)
        self.blocks = nnx.List([Block(width, agent.heads, agent.window, rngs=rngs) for _ in range(agent.layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.trust = nnx.Linear(width, OUTCOMES, kernel_init=small, rngs=rngs)  # in each of the regression's outcomes
        self.follow = nnx.Param(jnp.asarray(agent.follow))
        self.mood = nnx.Linear(width, OUTCOMES, kernel_init=small, rngs=rngs)  # trust in what is of this session alone
        self.scale = nnx.Param(jnp.float32(0.1))  # of what a slot earns, for a unit of its score
        self.own = nnx.Linear(width, linear + n_categories, kernel_init=small, rngs=rngs)
        self.recent = nnx.Param(jnp.float32(-0.3))
        self.met = nnx.Param(jnp.float32(-0.3))
        self.item = nnx.Param(jnp.zeros(n_items))
        self.renown = nnx.Param(jnp.asarray(RENOWN))
        self.repeat = nnx.Param(jnp.float32(3.0))
        self.cooling = nnx.Param(jnp.float32(0.5))
        words = jnp.where(jnp.arange(reading.WORDS) < len(INTENTS), agent.obey, OF_A_REASON * agent.obey)
        self.heed = nnx.Param(words[:, None] * jnp.asarray(HEED))
        self.hidden = nnx.Linear(width, 64, rngs=rngs)
        self.values = nnx.Linear(64, 2, kernel_init=small, rngs=rngs)

    def embed(self, percept: Percept, catalog: Catalog, items: Array) -> Array:
        """The turn's token f32[width]."""
        item = jnp.maximum(percept.slate, 0)
        bits = [(percept.actions & bit) != 0 for bit in (EXAMINED, CLICK, LIKE, LEAVE)]
        fraction = percept.watch / catalog.duration[item]
        did = jnp.stack([*bits, fraction, percept.slate >= 0], axis=-1).astype(jnp.float32)
        slots = jnp.concatenate([items[item], did], axis=-1)
        looked = did[:, 0]
        pooled = looked @ jax.nn.gelu(self.slot(slots)) / (1.0 + jnp.sum(looked))
        known = [pooled, percept.scalars, jnp.log1p(percept.recent), percept.belief.ravel(), percept.session.ravel()]
        known.append(words_of(percept.asked))
        return self.token(jnp.concatenate(known))

    def weigh(self, asked: Requests) -> Array:
        """f32[REQUESTS]: how much of each standing request to heed, by what it is and how long it has stood."""
        word = (asked.word[:, None] == jnp.arange(reading.WORDS)) * (asked.weight * (asked.intent > 0))[:, None]
        age = jnp.arange(len(HEED)) == jnp.minimum(asked.age, len(HEED) - 1)[:, None]
        return jnp.sum((word @ self.heed[...]) * age, axis=-1)

    def lean(self, h: Array, percept: Percept) -> tuple[Array, Array, Array]:
        """What is looked for, whatever was asked, from the normed output h f32[width], as linear scores.

        Returns: f32[linear], of descriptions; f32[C], of categories; f32[], of the logarithm of recent items of the same creator.
        """
        belief = (self.follow[...] + self.trust(h)) @ percept.belief + self.mood(h) @ percept.session
        own, linear = self.own(h), belief.shape[0] - MORE
        tired = (self.recent[...] + belief[-2]) * jnp.log1p(percept.recent)
        return belief[:linear] + own[:linear], own[linear:] + tired, self.met[...] + belief[-1]

    def judge(self, hidden: Array, percept: Percept, described: Described, near: Array, catalog: Catalog) -> Judgement:
        """Scores and values from the transformer's output f32[width]."""
        h = self.norm(hidden)
        taste, categories, of_creator = self.lean(h, percept)
        weight = self.weigh(percept.asked)
        taste = taste + named(weight, percept, described.items)
        categories = categories + weight @ reading.by_category(percept.asked, percept.share, near)
        # A product with a one-hot matrix, not a gather: the gradient of a gather from C to I rows is a slow scatter.
        logits = scored(taste, described) + categories @ described.membership + self.item[...]
        logits = logits + self.renown[...] @ described.renown
        made_by = jnp.log1p(met(percept, catalog, described.made.shape[0]))[catalog.creator]
        logits = logits + of_creator * made_by
        # A padded, EMPTY slot must fall off the end, not wrap round to the last item.
        logits = logits.at[percept.seen].add(-self.repeat[...], mode="drop", wrap_negative_indices=False)
        logits = logits + reading.by_length_and_age(weight, percept.asked, catalog)
        logits = logits + reading.by_target(weight, percept.asked, catalog)
        value, slot_value = self.values(jax.nn.gelu(self.hidden(h)))
        return Judgement(logits=logits, value=value, slot_value=slot_value)


@dataclasses.dataclass(frozen=True)
class PPO:
    """The agent's statics.

    Args:
      width, layers, heads: of the transformer. window: turns it sees.
      anchors: A, places in the catalog by which items are described. With 32 there are 40 regressors, whole vectors
        of a CPU: 37 took half as long again.
      follow: weight, to begin with, of the regression's prediction of each outcome in an item's score.
      obey: weight, to begin with, of an item's satisfying an instruction of full strength, in its score.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    window: int = 32
    anchors: int = 32
    follow: tuple[float, ...] = (5.0, 8.0, -3.0)
    obey: float = 8.0
    privileged: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    tile: ClassVar[int] = 128
    network: ClassVar[type[Network]] = Network

    def init(self, key: Array, env: Any, catalog: Catalog) -> PPOParams:
        """A fresh network. The key is consumed."""
        key_anchors, key_net = jax.random.split(key)
        anchors = spread_anchors(key_anchors, catalog.embedding, min(self.anchors, catalog.n_items))
        category = np.asarray(catalog.category)
        n_categories = int(category.max()) + 1
        described = describe(catalog, anchors, n_categories)
        net = self.network(self, catalog.n_items, described.by_feature.shape[0], n_categories, rngs=nnx.Rngs(key_net))
        return PPOParams(
            net=net,
            described=described,
            near=jnp.asarray(near_categories(np.asarray(catalog.embedding), category, n_categories)),
            tag_category=jnp.asarray(tag_categories(np.asarray(catalog.tags), category)),
            prior=Belief.vague(described.by_feature.shape[0] + MORE),
            reputation=Reputation.none(catalog.n_items),
            value_mean=jnp.float32(0.0),
            value_std=jnp.float32(1.0),
            temperature=jnp.float32(1.0),
        )

    def reset(self, agent_params: PPOParams) -> Memory:
        """The memory before the first turn."""
        net, described = agent_params.net, agent_params.described
        tastes = Tastes.unknown(agent_params.prior, described.membership.shape[0])
        caches = tuple(block.empty_cache() for block in net.blocks)
        return Memory(tastes=tastes, asked=Requests.none(), taken=jnp.zeros(2), caches=caches)

    def act(
        self, key: Array, agent_params: PPOParams, memory: Memory, obs: Observation, catalog: Catalog
    ) -> tuple[Array, Memory, Decision]:
        """A Plackett-Luce slate i32[K], the memory with this turn in it, and the Decision. The key is consumed."""
        judged, memory, percept = self._look(agent_params, memory, obs, catalog)
        cooler = (agent_params.described.membership, agent_params.net.cooling[...] / agent_params.temperature)
        logits = judged.logits / agent_params.temperature
        slate = plackett_luce.sample(key, logits, obs.slate.shape[0], *cooler)
        decision = Decision(
            log_prob=plackett_luce.log_prob(logits, slate, *cooler)[0],
            value=agent_params.value_mean + agent_params.value_std * judged.value,
            slot_value=judged.slot_value,
            percept=percept,
            lure=agent_params.described.renown[0, slate],
        )
        return slate, memory, decision

    def value(self, agent_params: PPOParams, memory: Memory, obs: Observation, catalog: Catalog) -> Array:
        """f32[], discounted reward to come."""
        judged, _, _ = self._look(agent_params, memory, obs, catalog)
        return agent_params.value_mean + agent_params.value_std * judged.value

    def replay(
        self, agent_params: PPOParams, memory: Memory, percept: Percept, episode: Array, slate: Array, catalog: Catalog
    ) -> Replayed:
        """T turns judged again in one pass, given the memory before the first: leaves [T, ...].

        Args:
          percept: [T, ...]. episode: i32[T], resets before each turn. slate: i32[T, K], what was shown.
        """
        net = agent_params.net
        described = agent_params.described
        x = jax.vmap(lambda p: net.embed(p, catalog, described.items))(percept)
        for block, cache in zip(net.blocks, memory.caches, strict=True):
            x = block.sequence(x, cache, episode)

        @jax.checkpoint  # scores of all items in all turns do not fit into the cache: judge again on the way back
        def one(turn: tuple[Array, Percept, Array]) -> Replayed:
            hidden, percept, slate = turn
            judged = net.judge(hidden, percept, described, agent_params.near, catalog)
            log_prob, entropy = plackett_luce.log_prob(judged.logits, slate, described.membership, net.cooling[...])
            appeal = net.scale[...] * judged.logits[jnp.maximum(slate, 0)]
            return Replayed(log_prob, entropy, judged.value, judged.slot_value, appeal)

        return jax.lax.map(one, (x, percept, slate))

    def absorb(self, agent_params: Any, trajectory: Any, memory: Memory, catalog: Catalog) -> Any:
        """The parameters with what a block tells of users and items as a whole. No gradient is needed for that.

        Args: trajectory: leaves [T, B, ...]. memory: after it, leaves [B, ...].
        """
        percept, feedback = trajectory.extras.percept, trajectory.info["feedback"]
        tell = jax.vmap(jax.vmap(surprise, (0, 0, None, None)), (0, 0, None, None))
        surprised = tell(percept, feedback, agent_params.described.items, catalog)
        looked = feedback.did(EXAMINED)
        noise = jnp.mean(surprised[..., FRACTION] ** 2, where=looked)
        reputation = agent_params.reputation.told(feedback.slate, looked, surprised)
        return agent_params.replace(
            prior=pooled(agent_params.prior, memory.tastes.lasting, noise),
            reputation=reputation,
            described=agent_params.described.replace(renown=reputation.renown()),
        )

    def moved(self, agent_params: Any, here: Any, known: Array, catalog: Catalog) -> Any:
        """What was learned elsewhere, for a catalog some of whose items were there too. Categories are the same.

        Args:
          here: fresh parameters of this catalog. known: i32[I], the place that each item had there, EMPTY for a new one, which is
            described as the mean of those that were there.
        """
        there, old = known >= 0, agent_params.described

        def of(learned: Array, new: Array | float) -> Array:
            """Rows f32[..., I] of what was learned of each item."""
            return jnp.where(there, learned[..., jnp.maximum(known, 0)], new)

        by_anchor = of(old.items.T, jnp.mean(old.items, axis=0)[:, None])[:-FEATURES]
        items = jnp.concatenate([by_anchor.T, features(catalog)], axis=1)
        reputation = jax.tree.map(lambda learned: of(learned, 0.0), agent_params.reputation)
        net = nnx.clone(agent_params.net)
        net.item = nnx.Param(of(net.item[...], 0.0))
        return here.replace(
            net=net,
            described=here.described.replace(
                items=items, by_feature=items.T, named=Named.of(catalog, items), renown=of(old.renown, 0.0)
            ),
            reputation=reputation,
            **{name: getattr(agent_params, name) for name in ("prior", "value_mean", "value_std", "temperature")},
        )

    def _look(
        self, agent_params: PPOParams, memory: Memory, obs: Observation, catalog: Catalog
    ) -> tuple[Judgement, Memory, Percept]:
        net = agent_params.net
        described = agent_params.described
        memory, percept = sense(agent_params, memory, obs, catalog)
        x, caches = net.embed(percept, catalog, described.items), []
        for block, cache in zip(net.blocks, memory.caches, strict=True):
            x, cache = block.step(x, cache)
            caches.append(cache)
        judged = net.judge(x, percept, described, agent_params.near, catalog)
        return judged, memory.replace(caches=tuple(caches)), percept


def describe(catalog: Catalog, anchors: Array, n_categories: int) -> Described:
    """The items as the regression knows them, and their categories."""
    items = by_anchors(catalog, anchors)
    membership = (catalog.category == jnp.arange(n_categories)[:, None]).astype(jnp.float32)
    made = jnp.bincount(catalog.creator, length=int(np.asarray(catalog.creator).max()) + 1)
    renown = jnp.zeros((2, catalog.n_items))
    named = Named.of(catalog, items)
    return Described(items=items, by_feature=items.T, membership=membership, made=made, named=named, renown=renown)


def met(percept: Percept, catalog: Catalog, n_creators: int) -> Array:
    """f32[N]: recent items of each creator, fading with time."""
    creator = catalog.creator[jnp.maximum(percept.seen, 0)]
    return jnp.zeros(n_creators).at[creator].add(percept.fresh)


def surprise(percept: Percept, feedback: Any, items: Array, catalog: Catalog) -> Array:
    """f32[K, OUTCOMES]: how much more slots came to than was believed before they were shown. One turn; percept of before it."""
    slate = jnp.maximum(feedback.slate, 0)
    creator = catalog.creator[jnp.maximum(percept.seen, 0)]
    lately = jnp.sum((catalog.creator[slate][:, None] == creator) * percept.fresh, axis=1)
    rows = taste_rules.regressors(items[slate], percept.recent[catalog.category[slate]], lately)
    return taste_rules.outcomes(feedback.slate, feedback.actions, feedback.watch, catalog).T - rows @ percept.belief.T


@jax.custom_vjp
def scored(taste: Array, described: Described) -> Array:
    """f32[I], every item's inner product with a taste f32[A + FEATURES]; only the taste has a gradient.

    There and back by the layout that needs no transposing: with one for both it is 10 to 20 times as slow on a CPU.
    """
    return taste @ described.by_feature


scored.defvjp(
    lambda taste, described: (scored(taste, described), described), lambda d, gradient: (gradient @ d.items, None)
)


def named(weight: Array, percept: Percept, items: Array) -> Array:
    """f32[linear]: items like those that requests name, and what people like this one seem to watch.

    Who the similar people are an agent cannot see; what this user has watched is the best guess at what they do.
    """
    asked, linear = percept.asked, items.shape[1]
    like = weight * (asked.intent == INTENT["like"])
    item = weight * (asked.target_kind == KIND["item"])
    more = item * ((asked.intent == INTENT["more"]) * 1.0 - (asked.intent == INTENT["less"]))
    peers = jnp.sum(weight * (asked.intent == INTENT["peers"]))
    return (like + more) @ items[jnp.maximum(asked.target, 0)] + PEERS * peers * percept.belief[FRACTION, :linear]


def words_of(asked: Requests) -> Array:
    """f32[WORDS]: what was just said, each word with its weight."""
    now = asked.weight * (asked.age == 0)
    return jnp.sum((asked.word[:, None] == jnp.arange(reading.WORDS)) * now[:, None], axis=0)


def sense(agent_params: PPOParams, memory: Any, obs: Observation, catalog: Catalog) -> tuple[Any, Percept]:
    """The memory with what was done and said since the last slate, but for its caches, and what the network perceives."""
    described = agent_params.described
    asked = reading.listen(memory.asked, obs, catalog, agent_params.tag_category)
    taken = lured(memory.taken, memory.tastes.clock, obs, described)
    tastes = taste_rules.learn(memory.tastes, obs, catalog, described.items)
    tastes = taste_rules.believe(tastes, asked, described.named, described.items)
    share = reading.category_share(obs, catalog, agent_params.near.shape[0])
    return memory.replace(tastes=tastes, asked=asked, taken=taken), perceive(obs, tastes, asked, share, taken)


def lured(taken: Array, clock: Array, obs: Observation, described: Described) -> Array:
    """f32[2]: clicks and their lure, with those of the last slate. clock f32[], when `taken` was as it is."""
    clicked = ((obs.actions & CLICK) != 0).astype(jnp.float32)
    now = jnp.stack([jnp.sum(clicked), clicked @ described.renown[0, jnp.maximum(obs.slate, 0)]])
    return (taken + now) * jnp.exp(-jnp.maximum(obs.clock - clock, 0.0) / TAKEN_HOURS)


def perceive(obs: Observation, tastes: Tastes, asked: Requests, share: Array, taken: Array) -> Percept:
    """What of the observation the network sees."""
    scalars = jnp.stack(
        [
            jnp.log1p(obs.session_turn.astype(jnp.float32)),
            jnp.log1p(obs.session_minutes),
            jnp.log1p(obs.hours_away) * 0.5,
            (obs.session_turn == 0).astype(jnp.float32),
            obs.clock / 720.0,
            jnp.log1p(obs.turn.astype(jnp.float32)) * 0.3,
            jnp.log1p(taken[0]) * 0.3,
            taken[1] / (taken[0] + 5.0),
        ]
    )
    return Percept(
        slate=obs.slate,
        actions=obs.actions,
        watch=obs.watch,
        seen=obs.history.item,
        fresh=jnp.where((obs.history.actions & EXAMINED) != 0, taste_rules.fresh(obs.history.age), 0.0),
        scalars=scalars,
        belief=tastes.now.mean,
        session=tastes.session,
        recent=tastes.recent,
        asked=asked,
        share=share,
    )


def make(width: int = 64, layers: int = 2, heads: int = 4, window: int = 32, obey: float = 8.0) -> PPO:
    """The PPO agent."""
    return PPO(width, layers, heads, window, obey=obey)
