"""The phrases that the parser knows, and what each does in a request. Names of a catalog are not its business.

A phrase is written in words; `(a|b)` may be there or not, `[a|b]` is one of them, a word in capitals one of MACROS,
`@` a name, `#` a number, `$` the end of a clause; `[slightly: ...]` and `[greatly: ...]` give a strength. Where several
phrases fit, the longest does. A word that no phrase takes is not understood.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

A_LITTLE, PLAINLY, A_LOT = range(3)  # indices of grammar.STRENGTHS


class Sign(NamedTuple):
    """What a phrase does in a request.

    `part` is one of
      cue: asks for `value`, an intent ("as" is `like`, but only of an item: "like music" may be "I like music")
      trait: the same, where there is a wish too ("long videos" alone may be a complaint)
      wish: asks for more of what is named, unless there is a cue
      hope: the same, but with no cue for less ("is there less music?", "don't show me only music")
      please: the same, but weaker: it may also end a list
      strength: `level` says how strongly
      cause: `value` of grammar.CAUSES says why
      today: no more than for now
      name, pronoun, comma, stop, and, break, because, since, instead, filler
    """

    part: str
    value: str = ""
    level: int | None = None
    cause: str = "none"


MACROS = {
    "SLIGHTLY": "[slightly: a (little|tiny|wee) bit|a little|slightly|somewhat|a touch|mildly|marginally|loosely"
    "|vaguely]",
    "GREATLY": "[greatly: very (much)|really|much|way|far|so much|a (whole) lot|lots|completely|totally|entirely"
    "|absolutely|definitely|closely|exactly|considerably|significantly|drastically]",
    "DEGREE": "(SLIGHTLY|GREATLY|so|quite|rather|pretty|still|especially)",
    "ANYHOW": "(quite|very|completely|totally|entirely|slightly|a bit|a little)",
    "SHOW": "[show|give|recommend|suggest|play|serve|send|bring|offer|feed|push|put|find|pick|hit|throw|serve up"
    "|bring up] (to) (me with|me|us)",
    "SHOWING": "[showing|giving|recommending|suggesting|playing|sending|offering|feeding|pushing] (to) (me|us)",
    "SEE": "[see|watch|have|get|hear|be shown|try|find|be seeing|discover|explore]",
    "SEEING": "[seeing|watching|having|getting|hearing]",
    "VIDEOS": "[video|videos|clip|clips|one|ones|stuff|content|thing|things|item|items|post|posts|upload|uploads"
    "|film|films|movie|movies|recommendation|recommendations|topic|topics]",
    "FEED": "[my|the|our] [feed|list|page|timeline|recommendations]",
    "PEERS": "(my|our|all) (the) (other|others|similar|like minded) [people|users|viewers|folks|friends|peers|others"
    "|everyone|everybody|someone] (else)",
    "LIKEME": "[like me|who like [the same things|what i like]|like us|similar to me"
    "|with [my|our|similar|the same] [taste|tastes|interest|interests]]",
    "WATCH": "[watch|watches|watching|watched|like|likes|liked|enjoy|enjoys|enjoying|enjoyed|love|loves|loved|into]",
    "IT": "[it|this|that|they|these|those|this one|that one]",
    "IS": "[is|are|was|were]",
    "LATELY": "(lately|recently|already|by now|right now|now|today|tonight|any more)",
    "NOTWANT": "[do not|never|would not|would never|would rather not|would rather never|no longer]",
    "GOOD": "[great|awesome|amazing|fantastic|brilliant|lovely|cool|fun|wonderful|interesting|the best"
    "|my [favourite|favorite|thing|passion|jam]]",
    "BAD": "[boring|dull|annoying|terrible|awful|tedious|lame|depressing|stressful|overrated|tiresome|stupid|overdone"
    "|not (really|exactly) [for me|my thing|my taste|to my taste|my cup of tea|interesting|fun|GOOD]]",
}

PHRASES: dict[Sign, str] = {
    # -- more --------------------------------------------------------------------------------------------------
    Sign("cue", "more"): """
        (#) more (often)
        [additional|extra|increase|boost|turn up|step up|ramp up|crank up|pump up|load up on]
        [bring on|bring back|follow|subscribe to|yes to|stick to|go for|favour|favor|continue with|do not forget]
        [add|add some] more
        [increase|boost|raise] the [number|amount|share] of
        keep SHOWING
        keep [it|them|these|those] coming
        keep (the) @ coming
        [love|loving|adore|craving|enjoying] (SEEING)
        i am DEGREE [loving|craving|enjoying|liking] (SEEING)
        i DEGREE [like|love|enjoy|adore|liked|loved|enjoyed|miss] (SEEING)
        i [like|love|enjoy] what @ [makes|does|posts|shows]
        (i am) DEGREE [fond of|a fan of|a big fan of|a huge fan of|obsessed with|crazy about|interested in|keen on]
        i am DEGREE into
        [big|huge] fan of
        my favourite (topic|thing|category) is @
        @ [makes|make] me [happy|laugh|smile]
        @ [interests|interest] me
        [i crave|hook me up with]
        (there is|there are) not (nearly) enough
        (there is|there are|i see|i get|i have seen) DEGREE [too little|too few]
        @ [is|are] DEGREE GOOD
        (i want to) learn (more) about
        teach me (about)
        [prioritise|prioritize|focus on]
        i (only|really) care about
        @ [rocks|rules]
        i [never|can not|do not|could never] (ever) [get|see|have] enough
        [can not|never] get enough
        where [is|are|has|have] all @ (gone)
        where [is|are|has|have] @ gone
        [do not|never] (ever) (you dare) (to) stop (SHOWING|with)
        [do not|never] SHOW [less|fewer]
        (you) can [not|never] (ever) SHOW [too much|too many|enough]
        i would not mind (SEEING)
        @ yes $
        """,
    # -- less --------------------------------------------------------------------------------------------------
    Sign("cue", "less"): """
        [less (often)|fewer]
        [reduce|lower|decrease|limit] (the [number|amount|share] of)
        [cut back (on)|cut down (on)|tone down|dial back|dial down|turn down|ease up on|ease off|go easy on|scale back]
        [cool it with|lay off|chill with|slow down with|quit it with|spare me|no need for|minimise|minimize|deprioritise
        |deprioritize]
        i [can|could] do without
        [tone|dial|turn] @ [down|back]
        not (quite) [so|that|too|as] [much|many|often]
        [do not|never] SHOW [so|that|this|too] [much|many]
        stop [SHOWING|SEEING] [so|that|this|too] [much|many]
        i NOTWANT (want) (to) (SEE) [so|that|this|too] [much|many]
        @ [is|are] DEGREE BAD
        @ [does|do] not DEGREE [interest me|appeal to me|do it for me]
        @ [makes|make] me [sad|angry|sick|anxious|sleepy|yawn|cringe]
        @ [bore|bores|annoy|annoys] me
        @ [sucks|suck]
        (i) do not DEGREE [like|love|enjoy|care about|care for|fancy] (SEEING)
        @ [is|are] too frequent
        (i am) [not|no longer] DEGREE [a fan of|a big fan of|interested in|into|fond of|keen on]
        i no longer [like|love|enjoy|care about]
        i [have gone off|lost interest in|have lost interest in]
        i NOTWANT (want|need) (to) (SEE) more
        not (any) more
        """,
    Sign("cue", "less", A_LOT): """
        (i) (really|just|simply|absolutely) [hate|dislike|detest|loathe|despise] (SEEING)
        (i) (really|just|simply) can not [stand|bear] (SEEING)
        i could not care less about
        [anything|everything] [but|except]
        [something|anything|VIDEOS] other than
        """,
    Sign("cue", "less", cause="sated"): """
        too [much|many]
        (there is|there are|i see|i get|i keep getting|i keep seeing|i am seeing) DEGREE too [much|many]
        i [see|get|keep seeing|keep getting] @ DEGREE [too often|all the time|everywhere]
        [you show me|you give me|you keep showing me] DEGREE too [much|many]
        FEED is (all) [full of|nothing but|all|only] @
        (i) (have) (had|seen|got) (more than) enough (of|with)
        (i am) (starting to get|beginning to get|getting|growing) DEGREE [tired of|sick of
        |sick and tired of|bored of|bored with|fed up with|weary of]
        i have had [it with|my fill of|it up to here with]
        (i am) [drowning in|swamped with|flooded with|bombarded with|sick to death of]
        @ overload
        i am DEGREE [over|done with]
        @ IS (simply|just) everywhere
        @ [is|are] getting DEGREE [old|boring|repetitive|annoying]
        @ [is|are] (just|simply) too much
        (,) [ugh|oh no|not] (,) @ again
        why [so|that|this] [much|many] @
        that is (quite) a lot of
        """,
    # -- never -------------------------------------------------------------------------------------------------
    Sign("cue", "never"): """
        [never|no|no to] @
        never (greatly: ever) (ever) (again) @
        never again
        [no more|not one more|not a single|not another|zero]
        [do not|never] (you dare) (greatly: ever) (ever) (again) (to) SHOW ((any) more)
        (i) (really) NOTWANT (greatly: ever) (again) [want|wish|need] (you) (to) (ever) (SEE|SHOW) (any (more))
        i can not [take|handle|deal with] (any (more))
        @ must go $
        i would rather [not|never] (ever) [see|watch|hear]
        stop (it) (SHOWING|SEEING|with) ((any) more)
        [block|hide|ban|mute|remove|unfollow|unsubscribe from|get rid of|exclude|delete|eliminate|filter out|leave out]
        [skip|lose|ditch|avoid (SHOWING)|banish|purge|kill|cancel|opt out of|stay away from|keep away from]
        [but|,] not @
        [keep|take|get|throw|kick|leave] @ [away|away from me|out of FEED|off FEED]
        get [it|this|that] (shit|crap|rubbish) out of FEED
        @ no $
        """,
    # -- related -----------------------------------------------------------------------------------------------
    Sign("cue", "related"): """
        related (to)
        [something|anything|VIDEOS] DEGREE [adjacent to|close to|near to|next to|connected to|near|around]
        not @ , [something|anything|but something] DEGREE [similar|close|related]
        [something|anything|VIDEOS] DEGREE [adjacent|close]
        [neighbouring|neighboring|similar|related] [topic|topics|subjects|themes|categories|areas] (of|to|as)
        (something|anything|VIDEOS) (ANYHOW different) (,) (but|and|yet) (still|also|somehow) DEGREE related (to)
        (something) in that direction
        what else is there (around|near|like)
        [(what|that) goes (well) with|go (well) with|associated with|in the [neighbourhood|neighborhood] of]
        [but not|not] (exactly|quite) the same
        not (exactly|quite) @ (itself) (,) but (something) DEGREE [related|similar|close|in that direction]
        (something|anything|VIDEOS) different [from|than|to] @ (,) but (still) DEGREE [related|similar|close]
        take me from @ to (something|VIDEOS) DEGREE [related|similar|close]
        instead of @ (,) (something|VIDEOS) DEGREE [related|similar|close]
        """,
    # -- like --------------------------------------------------------------------------------------------------
    Sign("cue", "like"): """
        [something|anything|VIDEOS|more|another|what else is|what is] DEGREE like
        [something|anything|VIDEOS|more|one more|another] [greatly: just|exactly|very much] like
        [similar to|akin to|resembling|along the lines of|comparable to|reminiscent of|that reminds me of]
        (more of) the same as
        in the [style|vein|manner|spirit] of
        in the same [style|vein|manner|spirit] as
        (the) same [kind|sort|type] (of) (VIDEOS) as
        """,
    Sign("cue", "as"): "like",
    # -- surprise ----------------------------------------------------------------------------------------------
    Sign("cue", "surprise"): """
        [surprise (me|us)|surprises|surprised|take me by surprise]
        [something|anything|VIDEOS] DEGREE [different|else|unexpected|unusual|random|surprising]
        (something|anything) DEGREE out of the ordinary
        try something [else|different]
        something [i do not know|i have not heard of] (yet)
        [spice it up|spice things up|you pick|you choose|something out of left field|a wildcard]
        (something) [out of|outside] my [bubble|comfort zone]
        [something|VIDEOS] (that) [i do not usually|i do not normally] watch
        [mix|shake|switch|change] [it|things|this|FEED] up
        (some|more) [variety|diversity]
        more [varied|diverse] (VIDEOS)
        [broaden|widen|expand] my horizons
        [i need|i want|time for] a change (of scenery|of pace)
        [a surprise|throw me a curveball]
        [something|anything|VIDEOS] (that) i [have not|have never|would not|would never] [thought of|think of|seen
        |look for|search for|find|expect|pick|choose|heard of] (for) (myself|on my own)
        """,
    Sign("cue", "surprise", A_LITTLE): "[i need|i want|give me] a [small|little] [surprise|change]",
    Sign("cue", "surprise", A_LOT): "[i need|i want|give me] a [big|total|complete] [surprise|change]",
    # -- fresher -----------------------------------------------------------------------------------------------
    Sign("cue", "fresher"): """
        [newer|fresher]
        more [recent|current|modern|up to date]
        [something|anything] DEGREE [recent|current|fresh|up to date]
        (the) (very) [latest|newest|most recent|freshest] (VIDEOS)
        (VIDEOS) from [today|this week|this month]
        (VIDEOS) [just|recently] [uploaded|posted|published]
        (VIDEOS) [uploaded|posted|published] [today|recently|lately|this week|this month]
        [newest|latest] first
        what is new
        [stop SHOWING|do not SHOW|no|no more|fewer|less|nothing|not|not so] (so|too) [old|ancient|outdated] (VIDEOS)
        """,
    Sign("trait", "fresher"): "[recent|fresh|new|up to date] VIDEOS",
    Sign("cue", "fresher", cause="stale"): """
        too old (VIDEOS)
        (why) [is|are] [everything|they] (all) [so|too] [old|ancient|outdated]
        [these|those|they|the VIDEOS|VIDEOS|this] are (all) DEGREE (too) [old|ancient|outdated|out of date]
        this is all DEGREE (too) [old|ancient|outdated|out of date]
        """,
    # -- shorter -----------------------------------------------------------------------------------------------
    Sign("cue", "shorter"): """
        [shorter|briefer|quicker|bite sized|bite size|short form]
        [keep|make] [it|them|VIDEOS|the VIDEOS] DEGREE [short|brief|quick]
        (VIDEOS) (that are) [under|below] # [minute|minutes|min|seconds]
        something DEGREE [short|brief|quick]
        [nothing|not|no|no more|fewer|less|not so|stop SHOWING|do not SHOW] (so|too|that|very) long (VIDEOS)
        (i) [do not have|have no] (the) [time|patience] for (such|these|so) long (VIDEOS)
        i [can not|do not want to] watch (such|these|so) long (VIDEOS)
        """,
    Sign("trait", "shorter"): "[short|quick|brief] VIDEOS",
    Sign("cue", "shorter", cause="long"): """
        too long (VIDEOS)
        [these|those|they|the VIDEOS|VIDEOS] are (all) DEGREE [too long|so long]
        (the) (VIDEOS|they|these) [drag|go] on (and on) (forever)
        """,
    # -- longer ------------------------------------------------------------------------------------------------
    Sign("cue", "longer"): """
        [longer|lengthier|full length|long form|deep dives|more substantial]
        something DEGREE long
        more [depth|in depth|detailed]
        (something) DEGREE in depth
        [nothing|not|no|no more|fewer|less|not so|stop SHOWING|do not SHOW] (so|too|that|very) [short|shorts] (VIDEOS)
        """,
    Sign("trait", "longer"): "long VIDEOS",
    Sign("cue", "longer", cause="short"): """
        too short (VIDEOS)
        [these|those|they|the VIDEOS|VIDEOS] are (all) DEGREE [too short|so short]
        [these|those|they|the VIDEOS] (are) [end|over] too [soon|early|quickly]
        """,
    # -- peers -------------------------------------------------------------------------------------------------
    Sign("cue", "peers"): """
        [what|whatever|VIDEOS that] (is|are|do|does|would|did) PEERS (LIKEME) (is|are|do|would|also|currently) WATCH
        VIDEOS PEERS LIKEME (are|also) WATCH
        what (is|are) PEERS (LIKEME) (is|are) into
        what is [popular|hot|trending] [with|among] PEERS (LIKEME)
        """,
    # -- wishes ------------------------------------------------------------------------------------------------
    Sign("wish"): """
        SHOW
        [can|could|may|might|would|will] you (please|maybe|possibly) (SHOW|SEE)
        [can|could|may] [i|we] (please|maybe|possibly) (SEE)
        lots of it
        [i|we] DEGREE (only|just|also) [want|need|prefer|wish for] (you) (to) (be) (SEE|SHOW)
        [i|we] would DEGREE (also|just) [like|love|prefer|appreciate|rather] (you) (to) (SEE|SHOW)
        let [me|us] (SEE|SHOW) (what else is|what is)
        i am DEGREE in the mood for
        i feel like (SEEING)
        would be DEGREE [nice|good|great|fine|lovely|better|cool|welcome|appreciated]
        would not hurt
        [i could use|i could do with|can we do with|there should be|there could be|looking for|how about|what about]
        [instead|keep it|keep them|another (one)|one more|FEED [needs|could use]]
        i have (got) time (for)
        [may|might|should] i SEE
        would you mind SHOWING
        (i was) (just) wondering if you could (SHOW)
        i wish there [was|were|would be]
        (it is) time for
        is it possible to [SEE|SHOW]
        make [it|them]
        """,
    Sign("hope"): """
        [only|just|nothing but] @
        only
        [do you have|have you got|got any|is there|are there|what else is there]
        i am DEGREE curious
        i DEGREE wonder (SLIGHTLY)
        """,
    Sign("please"): "[please|if you please|if you do not mind]",
    # -- strengths ---------------------------------------------------------------------------------------------
    Sign("strength", level=A_LITTLE): """
        (just|only) SLIGHTLY (of)
        [a few|a couple (of)|preferably|ideally|if possible|if you can|if you can help it]
        """,
    Sign("strength", level=A_LOT): """
        GREATLY (of)
        [a ton (of)|tons (of)|loads (of)|heaps (of)|plenty of|many|a great deal of|very much so|for good|forever|ever]
        """,
    # -- reasons -----------------------------------------------------------------------------------------------
    Sign("cause", "sated"): """
        i have [seen|had] [enough|too much|my fill] of IT LATELY
        there [is|has been] (far|way) too much of IT LATELY
        i am DEGREE [tired|bored|sick] of IT LATELY
        (it is) always the same (VIDEOS)
        same old (same old)
        """,
    Sign("cause", "creator"): """
        (it is) always the same [creator|channel]
        i have [seen|had] [enough|too much] [of|from] [that|this|one] creator LATELY
        that creator is everywhere LATELY
        i keep getting the same creator
        """,
    Sign("cause", "seen"): """
        i (have) (already|just) [seen|watched|saw|know|knew] IT (already|before|twice)
        i have (already|just) [seen|watched] @ (# times) (already|before|twice)
        IT was (already) shown to me (before|already)
        """,
    Sign("cause", "off_taste"): """
        IT IS not (really) [to my taste|my taste|my thing|for me|my cup of tea]
        IT [does|do] not (really) [interest me|appeal to me]
        """,
    Sign("cause", "elsewhere"): """
        (i am) not in the mood (for IT) LATELY
        (i am) not in the mood for @ LATELY
        i [came for|am after] something else LATELY
        IT is not what i came for LATELY
        """,
    Sign("cause", "bait"): """
        IT IS (all|just|such|pure|nothing but) clickbait
        IT promised more than it held
        (the) [title|titles] lied
        IT did not hold what it promised
        """,
    Sign("cause", "stale"): """
        it is (so|too|really|very) [old|outdated|out of date]
        it is not new (any more)
        """,
    Sign("cause", "long"): """
        it [is|was|takes|goes on for] (far|way|much) too long
        it is longer than i want LATELY
        """,
    Sign("cause", "short"): """
        it [is|was] (far|way|much) too short
        it [is over|ends] too [soon|early|quickly|fast]
        it is shorter than i want LATELY
        """,
    Sign("cause", "time"): """
        my time is running out
        i (only|just) have (only|just) # [minute|minutes|min|mins] (left)
        i have [little|no|not much] time (left)
        i do not have (much|a lot of) time
        i [have|need] to go (soon|now)
        i am in a [hurry|rush]
        """,
    Sign("cause", "ignored"): """
        you [did not|do not|never|are not|have not] [listen|listened|listening|hear|heard] (to me)
        you (just|completely) [ignored|ignore] [me|what i said]
        i (already) [told you|said] (so|that) (already|before)
        """,
    Sign("cause", "heard"): """
        [thanks|thank you] for listening
        you [listened to me|listened|heard me]
        you did what i asked (for)
        that [is|was] (exactly) what i [asked for|wanted]
        """,
    Sign("cause", "delight"): """
        i (really) [enjoyed|loved|liked] [the last one|that one]
        (that|the last one) was (so|really) [great|fun|lovely|brilliant|a delight]
        """,
    Sign("cause", "opening"): """
        i have (only) just [begun|started|arrived]
        i just got here
        this is only the beginning
        """,
    # -- names and joints --------------------------------------------------------------------------------------
    Sign("name"): "@ (related) (VIDEOS)",
    Sign("comma"): ",",
    Sign("stop"): ".",
    Sign("today"): "[(for) [today|tonight|this evening]|for now]",
    Sign("pronoun"): "[this|that|it|these|those|them|him|her] (one|ones|kind|creator|channel|video|guy)",
    Sign("and"): "[and|or|as well as|plus|also|especially|particularly|mainly|including]",
    Sign("break"): "[but|then|yet|while|so (that)]",
    Sign("because"): "because (of)",
    Sign("since"): "[since|as]",
    Sign("instead"): "[instead of|rather than|than]",
    # -- what changes nothing ----------------------------------------------------------------------------------
    Sign("filler"): """
        [hi|hey|hello] (there)
        [good morning|good evening|dear|yo]
        (i) hope you are (doing) [well|fine|good]
        [thanks|thank you] (a lot|so much|very much)
        [sorry|cheers|well|ok|okay|oh|hm|hmm|omg|lol|haha|wow|ugh|just|too|maybe|perhaps|honestly|actually]
        [dude|man|bro|guys|mate|both|i think|i guess|these bore me]
        [is|are] [fine|ok|okay|alright|nice]
        [damn (it)|god|shit|fuck|fucking|bloody|for the love of god]
        [a|an|the|some|any|all|of|to|from|by|on|about|my|our|in|at all|VIDEOS|something|anything]
        [something|anything|VIDEOS] with
        [that|which] [is|are]
        [for|to|from|on|at] me
        (in|on|from|to|into) [FEED|here|there]
        [again|any more|now|right now|for a change|lately|recently|already|else|for a lifetime]
        [category|tag|creator|channel|i am bored|this is boring|it is depressing|it is boring|it is annoying]
        [shown|recommended|possible]
        it is not that i [hate|dislike|mind] @
        """,
}


def sign_at(line: str, start: int) -> tuple[Sign, list[int], int] | None:
    """The longest phrase at a place of a line: its sign, the numbers of the names in it, where it ends.

    Args:
      line: words and separators, each followed by one space; `@0` is the name of number 0.
      start: index of a word's first letter.

    Returns None where no phrase begins. Of phrases that are equally long the first in PHRASES counts.
    """
    sign, found = None, None
    for candidate, pattern in _patterns():
        match = pattern.match(line, start)
        if match and (found is None or match.end() > found.end()):
            sign, found = candidate, match
    if sign is None or found is None:
        return None
    groups = {group.partition("_")[0] for group, text in found.groupdict().items() if text}  # slightly, greatly
    level = A_LITTLE if "slightly" in groups else A_LOT if "greatly" in groups else sign.level
    return sign._replace(level=level), [int(number) for number in re.findall(r"@(\d+) ", found[0])], found.end()


def has_place(words: tuple[str, ...]) -> bool:
    """Whether some words, all of them, are phrases. Numbers are."""
    line, place = "".join(word + " " for word in words if not word.isdigit()), 0
    while place < len(line):
        here = sign_at(line, place)
        if here is None:
            return False
        place = here[-1]
    return True


@functools.cache
def vocabulary() -> frozenset[str]:
    """Every word that a phrase may hold."""
    texts = " ".join((*PHRASES.values(), *MACROS.values()))
    return frozenset(re.findall(r"\b[a-z]+\b(?!:)", texts))


@functools.cache
def _patterns() -> tuple[tuple[Sign, re.Pattern[str]], ...]:
    lines = [(sign, line) for sign, text in PHRASES.items() for line in re.sub(r"\n\s*\|", "|", text).splitlines()]
    return tuple((sign, re.compile(_regex(line))) for sign, line in lines if line.strip())


def _regex(phrase: str) -> str:
    """A phrase as a regular expression over words that are each followed by a space."""
    while (expanded := re.sub(r"[A-Z]{2,}", lambda found: MACROS[found[0]], phrase)) != phrase:
        phrase = expanded
    return _sequence(re.findall(r"\w+:|[][()|]|[^][()|\s]+", phrase)[::-1])


def _sequence(left: list[str]) -> str:
    """The regular expression of the parts up to the next closing bracket; `left` is in reverse, and is used up."""
    choices = [""]
    while left and left[-1] not in ")]":
        part = left.pop()
        if part == "|":
            choices.append("")
        elif part in "([":
            # A group that gives the strength needs a name of its own, wherever it stands.
            name = f"?P<{left.pop()[:-1]}_{len(left)}>" if left[-1].endswith(":") else "?:"
            inner = _sequence(left)
            choices[-1] += f"({name}{inner})" + ("?" if left.pop() == ")" else "")
        else:
            choices[-1] += {"@": _NAME, "#": _NUMBER, "$": _END}.get(part) or re.escape(part) + " "
    return "|".join(sorted(choices, key=len, reverse=True))  # of two that begin alike the longer must come first


_NAME = (
    r"(?:(?:videos?|clips?|stuff|content|things|posts) (?:by|from|of|about|on) |(?:all )?(?:the|this|that|these) |all )?"
    r"@\d+ (?:(?:videos?|clips?|stuff|content|things|posts) )?"
)
_END = r"(?=[,.] |and |but |$)"
_NUMBER = r"(?:\d+|a|one|two|three|four|five|six|seven|eight|nine|ten|fifteen|twenty|thirty|a few|a couple of) "
