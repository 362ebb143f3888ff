"""Text as words: what people type, brought into one form; and how far one word is from another."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

COMMA, STOP = ",", "."  # the only separators of a normal text
_UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Cs")
_VERDICT = "👎🚫❌⛔"  # signs that would change what is said, and so must not be dropped
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\[/[a-z ]*\]|\[(?:b|i|u|s|bold|italic|underline|red|green|blue|yellow)\]")
_CONTRACTIONS: dict[str, str | Callable[[re.Match[str]], str]] = {
    r"\b(can|won|shan)'?t\b": lambda found: {"can": "can", "won": "will", "shan": "shall"}[found[1]] + " not",
    r"\bcannot\b": "can not",
    r"\b(do|does|did|is|are|was|were|would|could|should|have|has|had)n'?t\b": r"\1 not",
    r"\b(i)'?m\b": r"\1 am",
    r"\b(i|you|we|they)'?ve\b": r"\1 have",
    r"\b(you|we|they)'re\b|\b(you|they)re\b": lambda found: f"{found[1] or found[2]} are",
    r"\b(i|you|we|they)'d\b|\b(i)d\b": lambda found: f"{found[1] or found[2]} would",
    r"\b(i|you|we|they|it)'ll\b": r"\1 will",
    r"\blet'?s\b": "let us",
    r"\b(it|that|what|where|there|here|who|how)'s\b|\b(it|that|what|where)s\b": lambda f: f"{f[1] or f[2]} is",
}
_SPELLINGS = {
    "pls": "please", "plz": "please", "plss": "please", "thx": "thanks", "ty": "thanks", "u": "you", "vids": "videos",
    "vid": "video", "gimme": "give me", "wanna": "want to", "moar": "more", "cuz": "because", "coz": "because",
    "cos": "because", "anymore": "any more", "rn": "right now", "lil": "little", "lotta": "lot of", "kinda": "kind of",
}  # fmt: skip


def printable(text: str) -> str:
    """The text without control characters: titles are data, and must not drive somebody's terminal or page."""
    return "".join(c for c in text if unicodedata.category(c) not in _UNSEEN)


def normal(text: str) -> list[str]:
    """Words and separators (COMMA, STOP): casefolded, without markup, accents, emoji; contractions in full."""
    text = _MARKUP.sub(" ", html.unescape(text))
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf"))
    text = unicodedata.normalize("NFC", re.sub("[’ʼ`´‘]", "'", text))
    for pattern, full in _CONTRACTIONS.items():
        text = re.sub(pattern, full, text)
    text = re.sub(r"(?<=\w)'(?=\w)", "", text)  # quito's: one word
    text = re.sub(r"[\n.!?;…]+|[。！？]", f" {STOP} ", text)
    text = re.sub(r"[,:()/–—]|(?<!\w)-|-(?!\w)", f" {COMMA} ", text)
    text = re.sub(r"[&+]", " and ", text)
    found = re.findall(rf"[^\W_]+|[{COMMA}{STOP}{_VERDICT}]", text)
    return [word for token in found for word in _SPELLINGS.get(token, token).split()]


def words(name: str) -> tuple[str, ...]:
    """The words of a name, without separators."""
    return tuple(word for word in normal(printable(name)) if word not in (COMMA, STOP))


def slips(typed: str, meant: str, substitutes: int = 5) -> int | None:
    """How many slips of the finger lie between two words; None where they are too far apart to be the same.

    One slip is a letter left out, put in, replaced, or swapped with its neighbour (Damerau 1964). The first letter
    and all digits must be right. Words of up to three letters allow none, up to eight letters one, longer words two.
    Words of four letters have too many neighbours that are words: only a doubled letter may be put in (not "carts").

    Args: substitutes: in shorter words than this no letter may be replaced.
    """
    if typed == meant:
        return 0
    allowed = 0 if len(meant) < 4 else 1 if len(meant) < 9 else 2
    if not typed or typed[0] != meant[0] or abs(len(typed) - len(meant)) > allowed or _digits(typed) != _digits(meant):
        return None
    if len(meant) == 4 < len(typed) and typed not in {meant[:i] + meant[i - 1] + meant[i:] for i in range(1, 5)}:
        return None
    if len(meant) < substitutes and len(typed) == len(meant) and sorted(typed) != sorted(meant):
        return None
    count = _distance(typed, meant)
    return count if count <= allowed else None


def stem(word: str) -> str:
    """A word without the endings of its forms: dancing, dances and dance have one stem."""
    for ending in ("ings", "ing", "ies", "ers", "er", "es", "ed", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def _digits(word: str) -> str:
    return "".join(c for c in word if c.isdigit())


def _distance(a: str, b: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours between two words."""
    before, last = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
