"""Instructions and traces in English: the templates, the wordings, the names."""

from __future__ import annotations

import itertools
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxreco.base import Instruction, Names, Trace
from jaxreco.talk import english
from jaxreco.talk.grammar import CAUSE, CAUSES, INTENT, INTENTS, KIND, STRENGTHS, Said, read_instruction
from jaxreco.talk.templates import REASON, TEMPLATES, WHY

NAMES = Names(
    titles=(
        "Curly cuts at midnight",
        "Oslo's best",
        'The "real" one',
        "Twice",
        "Twice",
        "drama",
        "\x1b[31mRed\x07",
        "🎵",
    ),
    categories=("drama", "short", "news"),
    creators=("Mira Daily", "news"),
    tags=("drama", "black holes", "tacos, tequila", "more news"),
)
AIMED = ("more", "less", "never", "related", "like")


def instruction(intent: str, kind: str = "none", target: int = -1, strength: float = 2 / 3, cause: str = "none") -> Any:
    return Said(np.int32(INTENT[intent]), np.int32(KIND[kind]), np.int32(target), np.float32(strength), CAUSE[cause])


def every_sentence(intent: str, held_out: bool, strength: float = 2 / 3) -> list[str]:
    kind, target = ("item", 0) if intent in AIMED else ("none", -1)
    half = len(TEMPLATES[intent]) // 2
    asked = instruction(intent, kind, target, strength)
    return [english.say(asked, NAMES, i, held_out=held_out) for i in range(half)]


def test_every_intent_and_cause_has_its_sentences():
    assert set(TEMPLATES) == set(INTENTS) - {"silent"}
    assert set(WHY) == set(REASON) == set(CAUSES) - {"none"}
    for intent, templates in TEMPLATES.items():
        assert len(templates) >= 12
        assert len(templates) % 2 == 0
        for template in templates:
            assert ("{x}" in template or "{of}" in template) == (intent in AIMED)
            assert template.count("[") == 1  # the strength is said once, and always
    assert all(len(wordings) >= 4 for wordings in WHY.values())


def test_all_templates_and_wordings_are_distinct():
    templates = list(itertools.chain(*TEMPLATES.values()))
    assert len(set(templates)) == len(templates)
    wordings = list(itertools.chain(*WHY.values()))
    assert len(set(wordings)) == len(wordings)


@pytest.mark.parametrize("intent", list(TEMPLATES))
def test_the_halves_share_no_sentence_and_strengths_differ(intent):
    said = [
        sentence
        for held_out in (False, True)
        for level in STRENGTHS
        for sentence in every_sentence(intent, held_out, level)
    ]
    assert len(set(said)) == len(said) == 3 * len(TEMPLATES[intent])


@pytest.mark.parametrize("cause", list(WHY))
def test_the_halves_share_no_wording_of_a_reason(cause):
    asked = instruction("surprise", cause=cause)
    halves = [{english.say(asked, NAMES, i, held_out=held_out) for i in range(12)} for held_out in (False, True)]
    assert len(halves[0]) == len(halves[1]) == 12  # six templates with two wordings
    wordings = [{why for why in WHY[cause] if any(why.lower() in said.lower() for said in half)} for half in halves]
    assert wordings == [set(WHY[cause][:2]), set(WHY[cause][2:])]


def test_what_is_said():
    assert english.say(instruction("more", "category", 2), NAMES) == "More news, please."
    assert english.say(instruction("more", "creator", 0, 1.0), NAMES) == "A lot more from Mira Daily, please."
    little = instruction("less", "item", 0, 1 / 3, "seen")
    assert english.say(little, NAMES) == "A little less of 'Curly cuts at midnight', please. I've seen it before."
    woven = english.say(instruction("less", "tag", 1, cause="bait"), NAMES, 4)
    assert woven == "It promised more than it held, so give me less black holes."
    assert english.say(instruction("less", "tag", 1), NAMES, 4) == "Give me less black holes."
    assert english.say(instruction("more", "category", 2), NAMES, 3, held_out=True) == "News: more, please."


def test_silence_is_empty():
    assert english.say(Instruction.silent(), NAMES) == ""
    assert english.say(Instruction.silent(), None, 5, held_out=True) == ""


def test_variants_repeat_and_any_integer_will_do():
    asked = instruction("never", "category", 2, cause="sated")
    said = [english.say(asked, NAMES, i) for i in range(12)]
    assert [english.say(asked, NAMES, i) for i in range(12, 24)] == said
    assert english.say(asked, NAMES, -1) == said[-1]
    assert english.say(asked, NAMES, 12 * 10**9) == said[0]


def test_device_scalars_and_tokens_say_the_same():
    parts = INTENT["related"], KIND["tag"], 1, STRENGTHS[2], CAUSE["sated"]
    asked = Instruction.of(*(jnp.asarray(part) for part in parts))
    expected = "Show me something closely related to black holes. I've seen enough of that lately."
    assert english.say(asked, NAMES) == expected
    assert english.say(read_instruction(asked.tokens), NAMES) == expected


def test_strengths_are_rounded():
    for strength, said in (
        (0.0, "A little more"),
        (0.4, "A little more"),
        (0.6, "More"),
        (0.9, "A lot more"),
        (7.0, "A lot"),
    ):
        assert english.say(instruction("more", "category", 2, strength), NAMES).startswith(said)


def test_without_names_or_target():
    assert english.say(instruction("more", "category", 3), None) == "More category 3, please."
    assert english.say(instruction("like", "item", 17), None) == "Something like item 17, please."
    assert english.say(instruction("more"), NAMES) == "More of that, please."


@pytest.mark.parametrize("field", ["intent", "target_kind", "cause"])
def test_what_is_not_in_the_grammar_is_refused(field):
    for value in (99, -1):
        with pytest.raises(ValueError, match=rf"{value} is not in the grammar"):
            english.say(instruction("more", "category", 2)._replace(**{field: value}), NAMES)


@pytest.mark.parametrize(
    ("kind", "target", "label"),
    [
        ("category", 0, "drama"),
        ("tag", 0, "the tag drama"),  # a category is called so
        ("item", 5, "the item 'drama'"),
        ("category", 1, "'short'"),  # an everyday word
        ("creator", 1, "the creator news"),
        ("tag", 2, "tacos, tequila"),
        ("tag", 3, "'more news'"),  # not more of the category
        ("item", 1, '"Oslo\'s best"'),
        ("item", 2, "item 2"),  # no quotes fit
        ("item", 3, "item 3"),  # so are two called
        ("item", 6, "'[31mRed'"),  # nothing drives a terminal
        ("item", 7, "item 7"),  # no word in it
        ("item", 99, "item 99"),
    ],
)
def test_labels_cannot_be_misread(kind, target, label):
    assert english.label(kind, target, NAMES) == label


def test_names_with_braces_and_brackets_stand_as_they_are():
    names = Names(titles=("x",), categories=("{of} [a|b|c] <why>",), creators=(), tags=())
    assert english.say(instruction("more", "category", 0), names) == "More {of} [a|b|c] <why>, please."


def trace(*reasons: tuple[str, float, int]) -> Trace:
    cause, amount, item = zip(*reasons, strict=True)
    indices = jnp.asarray([CAUSE[name] for name in cause])
    return Trace(indices, jnp.asarray(amount), jnp.asarray(item))


def test_explain(feed):
    env, params = feed
    title = env.names.titles[4]
    category = env.names.categories[int(params.catalog.category[4])]
    reasons = trace(("sated", 0.8, 4), ("delight", -0.254, 5), ("none", 0.0, -1))
    assert english.explain(reasons, env.names, params.catalog) == [
        f"too much {category} lately: '{title}' (+0.8)",
        f"enjoyed: '{env.names.titles[5]}' (-0.25)",
    ]
    assert english.explain(reasons, None)[0] == "too much of one category lately: item 4 (+0.8)"
    assert english.explain(trace(("time", 1.0, -1)), env.names) == ["time runs out (+1)"]
    assert english.explain(trace(("bait", -0.3, 4)), None) == ["it looked worth a try: item 4 (-0.3)"]
    assert english.explain(trace(("bait", 0.3, 4)), None) == ["it promised more than it held: item 4 (+0.3)"]
    creator = env.names.creators[int(params.catalog.creator[4])]
    assert english.explain(trace(("creator", 0.5, 4)), env.names, params.catalog)[0].startswith(
        f"too much from {creator}"
    )


@pytest.mark.parametrize("cause", list(REASON))
def test_every_reason_has_words(feed, cause):
    env, params = feed
    (text,) = english.explain(trace((cause, 123.456, 0)), env.names, params.catalog)
    assert re.fullmatch(r"[a-zA-Z].*: ['\"].*['\"] \(\+123\.46\)", text)
    assert "{" not in text


def test_silent_trace_explains_nothing():
    assert english.explain(Trace.silent(), NAMES) == []
