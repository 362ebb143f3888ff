"""Draws the curves of docs/mindset.md into docs/img, and prints its table of parameters.

python docs/curves.py            the pictures
python docs/curves.py --table    the table, from the metadata of MindsetParams
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import math
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from jaxreco.envs import feed
from jaxreco.users import mechanisms as law
from jaxreco.users.mindset import MindsetParams

IMAGES = pathlib.Path(__file__).parent / "img"
INK, GREY = "#333333", "#d9d9d9"
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8d6a9f")

defaults = {f.name: f.default for f in dataclasses.fields(MindsetParams) if "doc" in f.metadata}
P = MindsetParams(population=None, clickbait=None, near=None, tag_category=None)  # type: ignore[arg-type]


# -- the table -------------------------------------------------------------------------------------------------


def table() -> str:
    """The parameters of the mechanistic user as a Markdown table: name, default, unit, range, meaning."""
    lines = ["| parameter | default | unit | range | meaning |", "|---|--:|---|---|---|"]
    for field in dataclasses.fields(MindsetParams):
        meta = field.metadata
        if "doc" not in meta:
            continue  # the population and the clickbait of items are arrays
        limits = _limits(meta["low"], meta["high"])
        lines.append(f"| `{field.name}` | {field.default:g} | {meta['unit']} | {limits} | {meta['doc']} |")
    return "\n".join(lines)


def _limits(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "any"
    if math.isinf(high):
        return f"≥ {low:g}"
    return f"{low:g} to {high:g}"


# -- the curves ------------------------------------------------------------------------------------------------


def affinity(ax: Axes) -> None:
    """Inner products with two interests, and their maximum, as an item turns from one to the other."""
    angle = np.linspace(-30, 120, 301)
    items = jnp.asarray(np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], 1))
    interests = jnp.asarray([[1.0, 0.0], [0.0, 0.8]])
    matches = np.asarray(jax.vmap(lambda e: law.affinity(interests, e))(items))
    ax.plot(angle, matches[:, 0], "--", color=COLOURS[0], label="interest of length 1")
    ax.plot(angle, matches[:, 1], "--", color=COLOURS[1], label="interest of length 0.8")
    ax.plot(angle, matches.max(1), color=INK, lw=3, alpha=0.35, label="affinity")
    ax.set(xlabel="direction of the item, degrees", ylabel="inner product", ylim=(-0.6, 1.65))
    ax.set_xticks([0, 45, 90])


def novelty(ax: Axes) -> None:
    """Novelty of a category by the number of its items seen among 160."""
    seen = np.arange(0, 81)
    others = (160 - seen) / 15
    exposure = jnp.asarray(np.concatenate([seen[:, None], np.repeat(others[:, None], 15, 1)], 1))
    value = jax.vmap(lambda e: law.novelty(e, jnp.array([0]))[0])(exposure)
    ax.plot(seen, value, color=COLOURS[0])
    ax.axhline(0, color=GREY, zorder=0)
    ax.axvline(10, color=GREY, zorder=0)
    ax.annotate("its equal share", (10, 0), (17, 1.2), arrowprops={"arrowstyle": "-", "color": INK, "lw": 0.7})
    ax.set(xlabel="items of the category among the last 160, 16 categories", ylabel="novelty, nats")


def decay(ax: Axes) -> None:
    """What is left of satiation and exposure."""
    hours = jnp.linspace(0, 72, 300)
    for name, colour in (("satiation_hours", 0), ("creator_hours", 1), ("exposure_hours", 2)):
        tau = defaults[name]
        ax.plot(hours, law.decay(hours, tau), color=COLOURS[colour], label=f"{name} = {tau:g}")
    ax.set(xlabel="hours away", ylabel="share that is left", ylim=(0, 1.02))
    ax.set_xticks(range(0, 73, 12))


def click(ax: Axes) -> None:
    """P(click) by utility, at three levels of trust."""
    utility = jnp.linspace(-6, 6, 300)
    for trust, colour in ((0.2, 1), (0.5, 0), (0.8, 2)):
        shift = defaults["click_trust"] * (trust - 0.5)
        ax.plot(utility, law.click_probability(utility + shift), color=COLOURS[colour], label=f"trust {trust:g}")
    ax.set(xlabel="utility and lure, logits", ylabel="P(click | examined)", ylim=(0, 1))


def watch(ax: Axes) -> None:
    """Quantiles of the watched fraction by utility."""
    utility = jnp.linspace(-6, 6, 300)
    for u, style in ((0.9, ":"), (0.5, "-"), (0.1, ":")):
        fraction = law.watch_fraction(utility, jnp.float32(u), P.watch_bias, P.watch_slope, P.watch_noise)
        ax.plot(utility, fraction, style, color=COLOURS[0], label={0.9: "10 and 90 %", 0.5: "median"}.get(u))
    ax.set(xlabel="utility, logits", ylabel="fraction watched", ylim=(0, 1))


def trust(ax: Axes) -> None:
    """Trust over items that delight, break promises or alternate."""
    paths = (("each delights by 0.4", 0.4, 0.0), ("each is 0.3 less than promised", 0.0, 0.3), ("both", 0.4, 0.3))
    for (label, delight, broken), colour in zip(paths, (2, 1, 0), strict=True):
        values = [0.6]
        for _ in range(100):
            values.append(float(law.trust_step(values[-1], delight, broken, P.trust_gain, P.trust_loss)))
        ax.plot(values, color=COLOURS[colour], label=label)
    ax.set(xlabel="items clicked", ylabel="trust", ylim=(0, 1))


def mood(ax: Axes) -> None:
    """Mood over twenty good items and then twenty skips."""
    for enjoyed, colour in ((0.9, 2), (0.6, 0), (0.35, 1)):
        values = [0.0]
        for k in range(40):
            now = enjoyed if k < 20 else 0.0
            values.append(float(law.mood_step(values[-1], now, P.aspiration, P.mood_rate)))
        ax.plot(values, color=COLOURS[colour], label=f"{enjoyed:.0%} of each watched")
    ax.axvline(20, color=GREY, zorder=0)
    ax.axhline(0, color=GREY, zorder=0)
    ax.text(20.6, 0.52, "skips from here", fontsize=7)
    ax.set(xlabel="items looked at", ylabel="mood", ylim=(-0.4, 0.65))


def leave(ax: Axes) -> None:
    """P(leave) by minutes over budget."""
    spent = jnp.linspace(0, 3, 300)
    cases = (("calm", 0.0, 0.6, 0), ("10 skips in a row", 0.0, 0.6, 10), ("mood -0.3, trust 0.2", -0.3, 0.2, 0))
    for (label, m, t, bored), colour in zip(cases, (0, 1, 3), strict=True):
        ax.plot(spent, law.leave_probability(spent, 1.0, m, t, bored, P), color=COLOURS[colour], label=label)
    ax.axvline(1, color=GREY, zorder=0)
    ax.set(xlabel="minutes of the session / time budget", ylabel="P(leave) after a slot", ylim=(0, 1))


def gap(ax: Axes) -> None:
    """Share of users who are back after so many hours."""
    back = jnp.linspace(0.001, 0.999, 999)
    for satisfaction, trust, colour in ((0.15, 0.3, 1), (0.35, 0.5, 0), (0.55, 0.7, 2)):
        hours = law.gap_hours(1.0 - back, 5.0, P.return_shape, satisfaction, trust, P)
        ax.plot(hours, back, color=COLOURS[colour], label=f"satisfaction {satisfaction:g}, trust {trust:g}")
    ax.set(xlabel="hours since the session (log scale)", ylabel="share that is back", xlim=(0.1, 720), ylim=(0, 1))
    ax.set_xscale("log")
    ax.set_xticks([0.1, 1, 5, 24, 168, 720], ["0.1", "1", "5", "24", "168", "720"])
    ax.minorticks_off()


def remembered(ax: Axes) -> None:
    """Remembered satisfaction when sessions of 0.7 turn into sessions of 0.2."""
    past = [0.7] * 8 + [0.2] * 8
    for recency, colour in ((0.3, 1), (0.6, 0), (0.9, 2)):
        values = []
        for n in range(1, len(past) + 1):
            window = np.array(past[max(0, n - 8) : n])
            ages = np.arange(len(window))[::-1]
            values.append(float(law.remembered(window, ages, np.ones(len(window)), recency, P.aspiration)))
        ax.plot(range(1, 17), values, "o-", ms=2.5, color=COLOURS[colour], label=f"recency {recency:g}")
    ax.plot(range(1, 17), past, color=INK, lw=0.8, ls=":", label="the session itself")
    ax.set(xlabel="session", ylabel="satisfaction", ylim=(0, 1))


def drift(ax: Axes) -> None:
    """Four walks of one component of an interest, and the band in which it settles."""
    rng = np.random.default_rng(2)
    hours = np.arange(0, 721, 6)
    tau, spread = defaults["drift_hours"], defaults["drift_spread"]
    keep = np.exp(-hours / tau)
    centre, band = 0.4 - 0.3 * keep, 2 * spread * np.sqrt(1 - keep**2)
    ax.fill_between(hours, centre - band, centre + band, color=COLOURS[0], alpha=0.15, lw=0, label="95 % of walks")
    for _ in range(4):
        values = [0.1]
        for _ in hours[1:]:
            noise = rng.normal()
            values.append(float(law.drift(values[-1], 0.4, 6.0, noise, tau, spread)))
        ax.plot(hours, values, color=COLOURS[0], lw=0.7)
    ax.axhline(0.4, color=COLOURS[1], lw=1, label="lasting taste")
    ax.set(xlabel="hours", ylabel="one component of an interest", ylim=(-0.15, 0.75))
    ax.set_xticks(range(0, 721, 120))


def reinforce(ax: Axes) -> None:
    """Angle between an interest and items of one kind that it enjoys."""
    items = jnp.asarray([[1.0, 0.0]])
    for rate, colour in ((0.01, 0), (0.03, 1)):
        interest, angles = jnp.asarray([[math.cos(math.radians(60)), math.sin(math.radians(60))]]), [60.0]
        for _ in range(200):
            interest = law.reinforce(interest, items, jnp.asarray([[rate * 0.8]]))
            angles.append(math.degrees(math.atan2(float(interest[0, 1]), float(interest[0, 0]))))
        ax.plot(angles, color=COLOURS[colour], label=f"reinforcement = {rate:g}")
    ax.set(xlabel="items of one direction, 80 % of each watched", ylabel="angle to them, degrees", ylim=(0, 62))


def multinomial(ax: Axes) -> None:
    """Shares of slots by the attraction of the first, measured on draws of `multinomial_choice`."""
    attraction = np.linspace(-3, 6, 200)
    rest = np.array([0.0, 0.5])
    outside = defaults["outside"]
    weights = np.exp(np.stack([attraction, *(np.full_like(attraction, v) for v in (*rest, outside))], 1))
    share = weights / weights.sum(1, keepdims=True)
    draws = jnp.linspace(0.0005, 0.9995, 1000)
    ask = jax.vmap(lambda u, a: law.multinomial_choice(a, jnp.ones(3, bool), u, outside), (0, None))
    some = np.linspace(-3, 6, 10)
    for k, label in ((0, "slot 1"), (1, "slot 2 (0)"), (2, "slot 3 (0.5)"), (-1, f"nothing ({outside:g})")):
        colour = COLOURS[k % 4]
        ax.plot(attraction, share[:, k], color=colour, label=label)
        counted = [float(np.mean(np.asarray(ask(draws, jnp.asarray([a, *rest]))) == k)) for a in some]
        ax.plot(some, counted, "o", ms=3, color=colour)
    ax.set(xlabel="attraction of slot 1, logits", ylabel="share of choices", ylim=(0, 1))


def looks_on(ax: Axes) -> None:
    """How far down a slate users come who never click, by patience."""
    slots = np.arange(1, 11)
    for patience, colour in ((2.0, 1), (3.5, 0), (5.0, 2)):
        ax.plot(
            slots, 1 / (1 + np.exp(-patience)) ** (slots - 1), "o-", ms=3, color=COLOURS[colour], label=f"{patience:g}"
        )
    ax.set(xlabel="slot", ylabel="share who get to it", ylim=(0, 1.02))
    ax.set_xticks([1, 2, 4, 6, 8, 10])
    ax.legend(title="patience", frameon=False, fontsize=7, title_fontsize=7)


def popularity(ax: Axes) -> None:
    """The long tail of Feed-v0: share of plays by rank."""
    _, params = feed.make()
    plays = np.sort(np.asarray(params.catalog.popularity))[::-1].cumsum()
    rank = np.arange(1, len(plays) + 1) / len(plays)
    ax.plot(100 * rank, 100 * plays, color=COLOURS[0])
    for top in (1, 10):
        share = 100 * plays[len(plays) * top // 100 - 1]
        ax.plot(top, share, "o", ms=4, color=COLOURS[1])
        ax.annotate(
            f"top {top} %: {share:.0f} % of plays", (top, share), (8, -3), textcoords="offset points", fontsize=7
        )
    ax.set(xlabel="videos, most played first, %", ylabel="plays, %", xlim=(0, 100), ylim=(0, 102))


CURVES: dict[str, Callable[[Axes], None]] = {
    f.__name__: f
    for f in (affinity, novelty, decay, click, looks_on, watch, trust, mood, leave, gap, remembered, drift, reinforce)
} | {"multinomial": multinomial, "feed_popularity": popularity}


def draw(name: str) -> Figure:
    """The picture of one curve."""
    figure = Figure(figsize=(4.2, 2.6), dpi=130, layout="constrained")
    ax = figure.add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=7, colors=INK)
    CURVES[name](ax)
    ax.xaxis.label.set(fontsize=8, color=INK)
    ax.yaxis.label.set(fontsize=8, color=INK)
    if ax.get_legend() is None and ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=7)
    for text in ax.texts:
        text.set(fontsize=7, color=INK)
    return figure


def main() -> None:
    """Draw all curves, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of parameters instead")
    if parser.parse_args().table:
        print(table())
        return
    IMAGES.mkdir(exist_ok=True)
    for name in CURVES:
        canvas = io.BytesIO()
        draw(name).savefig(canvas)
        Image.open(canvas).convert("RGB").quantize(64).save(IMAGES / f"{name}.png", optimize=True)
        print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
