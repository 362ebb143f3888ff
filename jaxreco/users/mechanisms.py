"""The mechanisms of the mechanistic user, each a formula from the literature. One user, one slot, no state.

`mindset.py` puts them together; the curves in docs/mindset.md are drawn from these functions.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

Array = jax.Array

QUARTERS = tuple(math.log(u / (1.0 - u)) for u in (0.125, 0.375, 0.625, 0.875))  # log-odds
LONGEST_GAP = 1e6  # hours, a lifetime: the clock stays finite whatever the parameters


def affinity(interests: Array, embedding: Array) -> Array:
    """Match of an item with the user's nearest interest, max over interests of the inner product.

    Weston, Weiss & Yee 2013, "Nonlinear latent factorization by embedding multiple user interests", eq. 2.

    Args:
      interests: f32[M, D], length at most 1 each.
      embedding: f32[D], unit length.
    Returns: f32[M] inner products; the affinity is their maximum.
    """
    return interests @ embedding


def novelty(exposure: Array, category: Array, smoothing: float = 0.5) -> Array:
    """Self-information of a category under the user's own past exposure, in nats, 0 at a uniform past.

    Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma" (PNAS 107), surprisal; personal as in
    Vargas & Castells 2011. A category never seen is positive, one seen more than its share negative.

    Args:
      exposure: f32[C], discounted counts of items seen.
      category: i32[K].
      smoothing: pseudo-count of each category.
    Returns: f32[K].
    """
    share = (exposure + smoothing) / jnp.sum(exposure + smoothing)
    return -jnp.log(share * exposure.shape[0])[category]


def decay(hours: Array, tau: Array) -> Array:
    """What is left of a trace after `hours`, exp(-hours / tau): recovery from satiation.

    Leqi et al. 2021, "Rebounding bandits for modeling satiation effects", eq. 2, in continuous time.
    """
    return jnp.exp(-hours / tau)


def click_probability(attraction: Array) -> Array:
    """P(click | examined) = logistic(attraction), the attractiveness of Chapelle & Zhang 2009 (DBN click model)."""
    return jax.nn.sigmoid(attraction)


def watch_fraction(utility: Array, uniform: Array, bias: Array, slope: Array, noise: Array) -> Array:
    """Fraction of the item's duration that is watched, in (0, 1]: a log-logistic time, cut where the item ends.

    Relative to duration, so that long items are not better by being long (Zhan et al. 2022, "Deconfounding duration bias
    in watch-time prediction"); the user would watch for `exp(bias + slope * utility + noise * logit(u))` of it, and
    the end hides how much longer (Zhao et al. 2024, "Counteracting duration bias in video recommendation via
    counterfactual watch time"). P(watched to the end) = logistic((bias + slope * utility) / noise).
    """
    return jnp.exp(jnp.minimum(bias + slope * utility + noise * (jnp.log(uniform) - jnp.log1p(-uniform)), 0.0))


def expected_fraction(utility: Array, bias: Array, slope: Array, noise: Array) -> Array:
    """Mean of `watch_fraction` over its noise, to within 0.05 at a noise of 0.6: over the midpoints of its quarters."""
    wanted = jnp.exp(jnp.clip(bias + slope * utility, -60.0, 30.0))
    luck = [jnp.exp(jnp.clip(noise * log_odds, -60.0, 60.0)) for log_odds in QUARTERS]
    return sum((jnp.minimum(wanted * factor, 1.0) for factor in luck), jnp.float32(0.0)) / len(QUARTERS)


def trust_step(trust: Array, delight: Array, broken: Array, gain: Array, loss: Array) -> Array:
    """Trust after an item that delighted, or that was less than it promised.

    Expectation disconfirmation (Oliver 1980), with losses weighing more than gains (Slovic 1993, "Perceived risk,
    trust, and democracy"): trust moves towards 1 by `gain * delight` and towards 0 by `loss * broken`.

    Args: trust, delight (enjoyment above aspiration), broken (promise not kept), gain and loss, all in [0, 1].
    """
    return trust + gain * delight * (1.0 - trust) - loss * broken * trust


def let_down(enjoyed: Array, broken: Array, disappointment: Array, aspiration: Array) -> Array:
    """Enjoyment as it is felt: less by what was promised and not kept, but never so bad that mood would leave [-1, 1].

    Bell 1985, "Disappointment in decision making under uncertainty"; the prediction error of Rutledge et al. 2014.
    """
    return jnp.maximum(enjoyed - disappointment * broken, aspiration - 1.0)


def mood_step(mood: Array, enjoyed: Array, aspiration: Array, rate: Array) -> Array:
    """Mood after an item: a leaky integrator of enjoyment above the aspiration level.

    Rutledge et al. 2014, "A computational and neural model of momentary subjective well-being" (PNAS 111), eq. 1,
    with the exponential forgetting written as a recursion. Stays in [-1, 1].
    """
    return mood + rate * (enjoyed - aspiration - mood)


def leave_probability(minutes: Array, budget: Array, mood: Array, trust: Array, boredom: Array, params) -> Array:
    """P(the session ends now): a discrete-time logistic hazard.

    Singer & Willett 1993, "It's about time" (discrete-time survival analysis); covariates after Kapoor et al. 2014.
    It rises with minutes over budget and with consecutive skips, and falls with mood and trust.

    Args: minutes, budget in minutes; mood in [-1, 1]; trust in [0, 1]; boredom in consecutive skips.
    """
    spent = jnp.minimum(minutes / budget, 3.0)
    return jax.nn.sigmoid(
        params.leave_bias
        + params.leave_time * spent
        + params.leave_boredom * boredom
        - params.leave_mood * mood
        - params.leave_trust * (trust - 0.5)
    )


def gap_hours(uniform: Array, habit: Array, shape: Array, satisfaction: Array, trust: Array, params) -> Array:
    """Hours until the next session: Weibull with proportional hazards.

    Kapoor et al. 2014, "A hazard based approach to user return time prediction" (Cox proportional hazards), with a
    Weibull baseline so that it can be sampled: habit * (-log u / risk)^(1 / shape), risk = exp(covariates).

    Args:
      uniform: f32[] in (0, 1).
      habit: f32[], hours, the scale of the baseline.
      shape: f32[], below 1 for a heavy tail.
      satisfaction: f32[] in [0, 1], remembered; trust: f32[] in [0, 1].
    Returns: f32[], at most LONGEST_GAP.
    """
    log_risk = params.return_satisfaction * (satisfaction - params.aspiration) + params.return_trust * (trust - 0.5)
    log_risk = jnp.clip(log_risk, -10.0, 10.0)
    log_gap = (jnp.log(-jnp.log(uniform)) - log_risk) / shape
    return jnp.minimum(habit * jnp.exp(jnp.minimum(log_gap, 80.0)), LONGEST_GAP)


def remembered(satisfaction: Array, ages: Array, valid: Array, recency: Array, prior: Array) -> Array:
    """Satisfaction as remembered from past sessions: a recency-weighted mean, with one pseudo-session of `prior`.

    Weights recency**age (Kahneman et al. 1993 for the peak-end rule within a session; recency across episodes as
    in the remembered utility of Geng et al. 2013).

    Args: satisfaction f32[N]; ages i32[N], 0 the newest; valid bool[N]; recency in [0, 1].
    """
    weight = valid * recency ** jnp.maximum(ages, 0)
    oldest = recency ** jnp.sum(valid)
    return (jnp.sum(weight * satisfaction) + oldest * prior) / (jnp.sum(weight) + oldest + 1e-9)


def drift(interests: Array, taste: Array, hours: Array, noise: Array, tau: Array, spread: Array) -> Array:
    """Interests after `hours` away: an Ornstein-Uhlenbeck step back towards the lasting taste.

    Exact transition of dx = (taste - x) / tau dt + spread sqrt(2 / tau) dW; preferences that move with and
    without exposure: Dean & Morgenstern 2022, Curmei et al. 2022.

    Args:
      interests, taste: f32[M, D]; noise: f32[M, D], mean 0 and variance 1.
      tau: hours; spread: standard deviation of the stationary law, per component.
    """
    keep = jnp.exp(-hours / tau)
    wander = jnp.sqrt(jnp.maximum(1.0 - keep * keep, 1e-12))  # at 0 the root has no gradient
    return taste + keep * (interests - taste) + spread * wander * noise


def reinforce(interests: Array, embeddings: Array, credit: Array) -> Array:
    """Interests after a slate: each moves towards the items it enjoyed, by their credit.

    Operant conditioning as in Curmei et al. 2022, "Towards psychologically-grounded dynamic preference models".

    Args:
      interests: f32[M, D]; embeddings: f32[K, D]; credit: f32[K, M], at least 0 (rate times enjoyment, on the
        interest that the item matched).
    """
    pull = credit.T @ embeddings
    mass = jnp.sum(credit, axis=0)
    return (interests + pull) / (1.0 + mass[:, None])


def multinomial_choice(attraction: Array, valid: Array, uniform: Array, outside: Array) -> Array:
    """One multinomial logit over the slate and the outside option: the slot chosen, or -1 for none.

    McFadden 1974. P(k) = exp(attraction_k) / (exp(outside) + sum over valid slots).

    Args: attraction f32[K]; valid bool[K]; uniform f32[]; outside f32[], utility of choosing nothing.
    """
    top = jnp.maximum(jnp.max(jnp.where(valid, attraction, -jnp.inf)), outside)
    weight = jnp.where(valid, jnp.exp(attraction - top), 0.0)
    cumulative = jnp.cumsum(weight)
    total = cumulative[-1] + jnp.exp(outside - top)
    slot = jnp.sum(cumulative <= uniform * total)
    return jnp.where(slot < attraction.shape[0], slot, -1).astype(jnp.int32)


def wanted_now(matches: Array, focus: Array, craving: Array) -> Array:
    """Matches of items with each interest, less `craving` for the interests that this session is not about.

    One latent intent a session weighs the interests: Chang et al. 2023, "Latent user intent modeling for sequential
    recommenders", with the intent as one of the user's own interests.

    Args:
      matches: f32[K, M]; focus: i32[], the session's interest; craving: f32[], in units of the matches.
    """
    other = jnp.arange(matches.shape[-1]) != focus
    return matches - craving * other


def staleness(age_hours: Array) -> Array:
    """How much of its novelty an item has lost with age, log(1 + weeks): attention to the new decays slower and slower.

    Wu & Huberman 2007, "Novelty and collective attention" (PNAS 104), whose stretched exponential is a logarithm to
    first order. Ages are those at clock 0: a shelf without arrivals would otherwise go stale as a whole.
    """
    return jnp.log1p(jnp.maximum(age_hours, 0.0) / 168.0)


def misfit(log_seconds: Array, ideal: Array) -> Array:
    """Squared distance of an item's length from the length wanted now, both as logs: an ideal point (Coombs 1964, "A
    Theory of Data"), which moves from session to session with the situation (Adomavicius & Tuzhilin 2011).
    """
    return (log_seconds - ideal) ** 2


def voice_probability(trust: Array, patience: Array, spent: Array, asked: Array, params) -> Array:
    """P(a user on the point of leaving says what it wants instead): voice rather than exit.

    Hirschman 1970, "Exit, Voice, and Loyalty": the loyal speak before they go. Who has no time left goes without a word,
    and who has asked in vain or too often stops asking.

    Args: trust in [0, 1]; patience, log-odds of looking on; spent, share of the time budget; asked, recent requests.
    """
    return jax.nn.sigmoid(
        params.voice_bias
        + params.voice_trust * (trust - 0.5)
        + params.voice_patience * patience
        - params.voice_time * jnp.minimum(spent, 3.0)
        - params.voice_tired * asked
    )


def answered(
    mood: Array, trust: Array, boredom: Array, heard: Array, weight: Array, params
) -> tuple[Array, Array, Array]:
    """(mood, trust, boredom) of a user who sees how its request was answered.

    Tax, Brown & Chandrashekaran 1998, "Customer evaluations of service complaint experiences": how a complaint is
    handled moves trust and satisfaction, and a complaint ignored costs more than one heeded gains.

    Args:
      heard: f32[] in [0, 1], how far the slate honours the request. weight: f32[], at least 0: honour_gain, less where
        the user has been asking all the time; 0 leaves everything as it is.
    """
    pleased, vexed = jnp.maximum(2.0 * heard - 1.0, 0.0) * weight, jnp.maximum(1.0 - 2.0 * heard, 0.0) * weight
    up, down = jnp.minimum(params.honour_mood * pleased, 1.0), jnp.minimum(2.0 * params.honour_mood * vexed, 1.0)
    gain, loss = jnp.minimum(params.honour_trust * pleased, 1.0), jnp.minimum(2.0 * params.honour_trust * vexed, 1.0)
    return (
        mood + up * (1.0 - mood) - down * (1.0 + mood),
        trust + gain * (1.0 - trust) - loss * trust,
        boredom * (1.0 - jnp.minimum(pleased, 1.0) * params.honour_boredom) + 2.0 * vexed,
    )
