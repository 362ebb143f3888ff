"""The pairs as one page that needs no network and no server, and gives each person's answers as a file."""

from __future__ import annotations

import html

from jaxreco.annotate.answers import CHOICES
from jaxreco.annotate.pairs import SIDES, Line, Pair, Side, digest

QUESTIONS = {
    "moment": "In which of the two does the user say this at the more believable moment?",
    "reason": "In which of the two is the reason for it the more believable one?",
}
LABELS = {"A": "A", "B": "B", "can't tell": "I can't tell"}

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --mark: #d9a40033; --edge: #c58f00; }
* { box-sizing: border-box }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 6rem }
h1 { font-size: 1.5rem; margin: 0 0 .5rem } h2 { font-size: 1.1rem; margin: 0 } h3 { font-size: 1rem; margin: 0 0 .25rem }
header p { max-width: 44rem } input[type=text] { font: inherit; padding: .3rem .5rem; width: 16rem; max-width: 100% }
.pair { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1rem }
.question { margin: .15rem 0 .8rem }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }
.side { border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; overflow-wrap: anywhere }
.side p { margin: .25rem 0; font-size: .9rem }
.side .slate { font-weight: 600; margin: 1rem 0 .3rem }
.side .watched, .side .skipped { display: grid; grid-template-columns: 1fr auto; column-gap: 1rem; line-height: 1.3 }
.side .watched b { font-weight: 600 } .side .skipped b { font-weight: 400 } .side .skipped span, .side .skipped b { opacity: .75 }
.side small { grid-column: 1 / -1; opacity: .65; font-size: .78rem }
.side .rest { opacity: .6; font-size: .85rem }
.side .says { margin: .6rem 0; font-style: italic }
.side .asked, .side .reason { margin: .6rem 0; padding: .4rem .6rem; background: var(--mark);
  border-left: 3px solid var(--edge) }
.side .reason { margin-top: -.6rem }
fieldset { border: 0; margin: .8rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .5rem }
legend { padding: 0; margin-bottom: .4rem }
label.choice { border: 1px solid var(--line); border-radius: .5rem; padding: .4rem 1rem; cursor: pointer }
label.choice:has(:checked) { background: var(--mark); border-color: var(--edge) }
footer { position: fixed; inset: auto 0 0; background: Canvas; border-top: 1px solid var(--line); padding: .7rem 1rem }
footer div { max-width: 66rem; margin: 0 auto; display: flex; gap: 1rem; align-items: center; flex-wrap: wrap }
button { font: inherit; padding: .4rem .8rem; cursor: pointer } #state { margin-right: auto }
@media (max-width: 40rem) { .sides { grid-template-columns: 1fr } }
"""

# Answers are kept in the browser while they are given, so that a page closed by mistake loses none.
SCRIPT = """
const set = document.body.dataset.set, key = 'jaxreco ' + set, name = document.getElementById('name');
const pairs = [...document.querySelectorAll('.pair')];
const chosen = pair => pair.querySelector('input:checked')?.value;
const open = () => pairs.filter(pair => !chosen(pair));
const count = () => {
  document.getElementById('state').textContent = `${pairs.length - open().length} of ${pairs.length} answered`;
};
const keep = () => {
  const answers = Object.fromEntries(pairs.filter(chosen).map(pair => [pair.id, chosen(pair)]));
  try { localStorage.setItem(key, JSON.stringify({ name: name.value, answers })); } catch { }
  count();
};
try {
  const kept = JSON.parse(localStorage.getItem(key)) ?? { name: '', answers: {} };
  name.value = kept.name;
  for (const input of document.querySelectorAll('input[type=radio]'))
    input.checked = kept.answers[input.name] === input.value;
} catch { }
document.addEventListener('input', keep);
document.getElementById('next').onclick = () => open()[0]?.scrollIntoView({ behavior: 'smooth' });
document.getElementById('save').onclick = () => {
  const person = name.value.trim();
  if (!person) { alert('Please give your name first.'); name.focus(); return; }
  const missing = open().length;
  if (missing && !confirm(`${missing} of ${pairs.length} pairs have no answer yet. Save what there is?`)) return;
  const lines = pairs.filter(chosen).map(pair => JSON.stringify({ person, pair: pair.id, choice: chosen(pair) }) + '\\n');
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(lines, { type: 'application/jsonl' }));
  link.download = `answers-${set}-${person.replace(/[^\\p{L}\\p{N}]+/gu, '_')}.jsonl`;
  link.click();
};
count();
"""


def page(pairs: list[Pair]) -> str:
    """The whole page. It does not say which side is simulated, and may load nothing from anywhere."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    body = "\n".join(_pair(pair, number, len(pairs)) for number, pair in enumerate(pairs, start=1))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>Which is more believable?</title>
<style>{STYLE}</style>
</head>
<body data-set="{digest(pairs)}">
<header>
<h1>Which is more believable?</h1>
<p>Each pair below shows one session of somebody who watches what a recommender shows, slate by slate: what was looked
at, for how long, and what the person told the recommender. The two sides differ in the marked lines only: in where they
stand, or in the reason that is given. Choose the side that you find more believable. There is no right answer to look
for, and no time limit; if you cannot decide, say so.</p>
<p>Your answers stay in this browser until you save them as a file at the bottom of the page; please send that file back.
</p>
<p><label for="name">Your name</label> <input type="text" id="name" autocomplete="name" maxlength="80"></p>
<noscript><p><strong>This page needs JavaScript to save your answers.</strong></p></noscript>
</header>
<main>
{body}
</main>
<footer><div><span id="state" role="status"></span>
<button type="button" id="next">Next open pair</button>
<button type="button" id="save">Save answers</button></div></footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _pair(pair: Pair, number: int, count: int) -> str:
    name = html.escape(pair.id)
    sides = "\n".join(_side(side, getattr(pair, side)) for side in SIDES)
    choices = "\n".join(
        f'<label class="choice"><input type="radio" name="{name}" value="{html.escape(choice)}"> '
        f"{html.escape(LABELS[choice])}</label>"
        for choice in CHOICES
    )
    return f"""<section class="pair" id="{name}">
<h2>Pair {number} of {count}</h2>
<p class="question">{QUESTIONS[pair.kind]}</p>
<div class="sides">
{sides}
</div>
<fieldset><legend>Your answer</legend>
{choices}
</fieldset>
</section>"""


def _side(name: str, side: Side) -> str:
    lines = "\n".join(_line(line) for line in side)
    return f'<div class="side">\n<h3>{name}</h3>\n{lines}\n</div>'


def _line(line: Line) -> str:
    what, text, deed, facts = (html.escape(part) for part in line)
    inner = f"<span>{text}</span> <b>{deed}</b> <small>{facts}</small>" if deed else text
    return f'<p class="{what}">{inner}</p>'
