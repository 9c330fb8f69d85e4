"""The help desk's handbook: its hand-written pages, and rules made up on the spot that have to be read, not remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from ..grammar import HERE, PatternError, expand, lexicon, parse, tidy
from ..pen import Pen
from ..world import world

TOPICS = ("ferry", "parking", "rubbish", "permits", "water", "library", "lost", "events")
# Each eighth of pages, things and small word lists is kept back, as with patterns.
_KEPT = {"test": 3, "validation": 6}


# ---- hand-written pages ------------------------------------------------------------------------------------------


def pages() -> list[dict]:
    """All pages: id, title, topic, sentences (list), text (the sentences joined), questions (one a sentence), split."""
    return [dict(page) for page in _pages()]


@cache
def _pages() -> tuple[dict, ...]:
    slots = _world_slots()
    found: list[dict] = []
    for number, line in enumerate((HERE / "handbook.txt").read_text(encoding="utf-8").splitlines(), 1):
        line = line.partition(";")[0].strip() if line.startswith(";") else line.strip()
        if line.startswith("#"):
            topic, _, title = line[1:].strip().partition(": ")
            if topic not in TOPICS:
                raise PatternError(f"handbook.txt line {number}: no topic {topic!r}")
            found.append({"id": f"H{len(found) + 1:02d}", "title": title, "topic": topic, "sentences": [], "questions": []})
        elif line.startswith("?"):
            found[-1]["questions"].append(line[1:].strip())
        elif line:
            found[-1]["sentences"].append(tidy(expand(parse(line), Random(0), slots)))
    for index, page in enumerate(found):
        if len(page["questions"]) != len(page["sentences"]):
            raise PatternError(f"handbook.txt: page {page['title']!r} needs one question after each rule")
        page["text"] = " ".join(page["sentences"])
        page["split"] = next((split for split, offset in _KEPT.items() if index % 8 == offset), "train")
    return tuple(found)


def _world_slots() -> dict:
    """Places by kind (`town_hall`), sailings by destination (`port_amity`)."""
    town = world().known
    slots: dict = {place.kind.replace(" ", "_"): place for place in town.places}
    return slots | {sailing.destination.lower().replace(" ", "_"): sailing for sailing in town.sailings}


@cache
def pages_of(split: str) -> tuple[dict, ...]:
    """The pages that documents of a split may show: those of test and validation are in no pre-training text."""
    return tuple(page for page in _pages() if page["split"] == split)


# ---- rules made up on the spot -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thing:
    """Something that the desk gives out, such as a `mooring badge`."""

    topic: str
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def a(self) -> str:
        return f"a {self.name}"

    @property
    def many(self) -> str:
        return f"{self.name}es" if self.name.endswith("s") else f"{self.name}s"


@dataclass(frozen=True)
class Rule:
    """One rule sentence about a thing. `value` stands in it word for word."""

    thing: Thing
    aspect: str
    value: str
    sentence: str


_FIGURES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PERIODS = ("days", "weeks", "months", "hours", "years")


def _deadline(pen: Pen) -> str:
    if pen.chance(0.5):
        return f"{pen.number(1, 28)} {pen.pick(lexicon('month'))}"
    return f"{pen.pick(lexicon('weekday'))} at {pen.time()}"


def _hours(pen: Pen) -> str:
    start = pen.number(7, 13)
    return f"from {start}:{pen.pick(('00', '15', '30', '45'))} to {start + pen.number(2, 5)}:{pen.pick(('00', '15', '30', '45'))}"


# aspect -> how its value is made up
ASPECTS: dict[str, Callable[[Pen], str]] = {
    "price": lambda pen: f"{pen.number(2, 95)} crowns",
    "deadline": _deadline,
    "where": lambda pen: pick_kept(pen, "desk_counter"),
    "bring": lambda pen: pick_kept(pen, "desk_paper"),
    "wait": lambda pen: f"{pen.pick((*_FIGURES, '11', '12', '14', '15', '20'))} {pen.pick(('days', 'working days', 'weeks', 'hours'))}",
    "valid": lambda pen: f"{pen.number(2, 60)} {pen.pick(_PERIODS)}",
    "limit": lambda pen: pen.pick(_FIGURES),
    "hours": _hours,
    "who": lambda pen: str(pen.visitor()),
    "replace": lambda pen: f"{pen.number(2, 60)} crowns",
    "phone": lambda pen: f"{pen.number(20, 99)}-{pen.number(100, 999)}",
    "code": lambda pen: pen.code(),
    "discount": lambda pen: pick_kept(pen, "desk_group"),
    "cancel": lambda pen: f"{pen.pick((*_FIGURES, '12', '24', '36', '48'))} {pen.pick(('days', 'hours', 'weeks'))}",
    "form": lambda pen: pick_kept(pen, "desk_form"),
    "display": lambda pen: pick_kept(pen, "desk_display"),
    "ban": lambda pen: pick_kept(pen, "desk_ban"),
}


@cache
def kept_list(name: str, split: str) -> tuple[str, ...]:
    """The entries of a word list that a split may use, divided as patterns are."""
    words = lexicon(name)
    if split in _KEPT:
        return words[_KEPT[split] :: 8]
    return tuple(word for index, word in enumerate(words) if index % 8 not in _KEPT.values())


def pick_kept(pen: Pen, name: str) -> str:
    return pen.pick(kept_list(name, pen.split))


def some_thing(pen: Pen, topic: str = "") -> Thing:
    topic = topic or pen.pick(TOPICS)
    return Thing(topic, f"{pen.pick(lexicon(f'desk_use_{topic}'))} {pen.pick(lexicon('desk_carrier'))}")


def rule(pen: Pen, thing: Thing, aspect: str, patterns: str = "tell") -> Rule:
    value = ASPECTS[aspect](pen)
    return Rule(thing, aspect, value, pen.say(f"handbook.{patterns}_{aspect}", thing=thing, value=value))


def again(pen: Pen, known: Rule) -> str:
    """The same rule in other words."""
    for _ in range(4):
        sentence = pen.say(f"handbook.tell_{known.aspect}", thing=known.thing, value=known.value)
        if sentence != known.sentence:
            break
    return sentence


def question(pen: Pen, asked: Rule) -> str:
    """A question that this rule settles."""
    return pen.say(f"handbook.ask_{asked.aspect}", thing=asked.thing)


def other_value(pen: Pen, known: Rule) -> str:
    """Another value of the same kind."""
    while True:
        value = ASPECTS[known.aspect](pen)
        if value != known.value and value not in known.sentence:
            return value


def rules(pen: Pen, count: int, topic: str = "", mixed: bool | None = None) -> list[Rule]:
    """Rules on one thing in several respects, or (mixed) on several things, some of them in the same respect."""
    if mixed is None:
        mixed = pen.chance(0.4)
    if not mixed:
        thing = some_thing(pen, topic)
        return [rule(pen, thing, aspect) for aspect in pen.some(list(ASPECTS), count)]
    aspects = pen.some(list(ASPECTS), pen.number(1, 3))
    things: dict[str, Thing] = {}
    while len(things) < count:
        thing = some_thing(pen, topic)
        things[thing.name] = thing
    return [rule(pen, thing, pen.pick(aspects)) for thing in things.values()]


def swapped(known: Rule, value: str) -> str:
    """The rule's sentence with another value in the place of its own."""
    at = known.sentence.lower().find(known.value.lower())
    return tidy(known.sentence[:at] + value + known.sentence[at + len(known.value) :])


# ---- documents ---------------------------------------------------------------------------------------------------


@dataclass
class Sheet:
    """What a handbook document shows: a title, its lines, the question for each, and the rules behind them if made up."""

    title: str
    lines: list[str]
    questions: list[str]
    rules: Sequence[Rule | None]


def _made_up_sheet(pen: Pen) -> Sheet:
    mixed = pen.chance(0.45)
    chosen = rules(pen, pen.number(3, 7), mixed=mixed, topic=pen.pick(("", *TOPICS)) if mixed else "")
    group = "mixed_title" if mixed else "page_title"
    title = pen.say(f"handbook.{group}", thing=chosen[0].thing, number=pen.number(1, 99), name=pen.visitor())
    return Sheet(title, [known.sentence for known in chosen], [question(pen, known) for known in chosen], chosen)


def _real_sheet(pen: Pen) -> Sheet:
    page = pen.pick(pages_of(pen.split))
    order = pen.some(range(len(page["sentences"])), pen.number(3, len(page["sentences"])))
    if pen.chance(0.7):
        order.sort()
    title = pen.say("handbook.real_title", title=page["title"])
    return Sheet(title, [page["sentences"][i] for i in order], [page["questions"][i] for i in order], [None] * len(order))


def _numbered(pen: Pen, lines: list[str]) -> tuple[str, Callable[[int], str]]:
    """The lines as one text, and how line i is referred to."""
    form = pen.number(0, 4)
    if form == 0:
        return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1)), lambda index: str(index + 1)
    if form == 1:
        first = pen.number(2, 60)
        return "\n".join(f"({number}) {line}" for number, line in enumerate(lines, first)), lambda index: str(first + index)
    if form == 2:
        letters = pen.some("ABCDEFGHJKLMNPQRSTUVW", len(lines))
        return "\n".join(f"{letter}: {line}" for letter, line in zip(letters, lines, strict=True)), lambda index: letters[index]
    separator = " " if form == 3 else "\n- "
    return ("- " if form == 4 else "") + separator.join(lines), lambda index: str(index + 1)


def handbook_page(pen: Pen) -> str:
    """A handbook page, mostly with questions and the rule that settles each quoted word for word."""
    real = pages_of(pen.split) and pen.chance(0.08)
    sheet = _real_sheet(pen) if real else _made_up_sheet(pen)
    body, position = _numbered(pen, sheet.lines)
    out = [f"{sheet.title}\n{body}"] if pen.chance(0.85) else [body]
    count = len(sheet.lines)
    for index in pen.some(range(count), pen.number(min(2, count), min(4, count))):
        out.append(_exchange(pen, sheet, index, position(index)))
    if not real and pen.chance(0.2):
        index = pen.number(0, count - 1)
        out.append(_change(pen, sheet.rules[index], position(index)))
    return pen.pick(("\n", "\n", "\n\n")).join(out)


def _exchange(pen: Pen, sheet: Sheet, index: int, position: str) -> str:
    """One question about the page, and the line that is asked for."""
    line, known, names = sheet.lines[index], sheet.rules[index], {"position": position, "name": pen.visitor()}
    kind = pen.number(0, 9)
    separator = pen.pick((" ", "\n"))
    if kind < 2:
        return pen.say("handbook.copy_request", **names) + separator + line
    if kind == 2 and known:
        asked = pen.say("handbook.which_request", value=known.value, **names)
        return asked + separator + pen.say("handbook.which_reply", rule=line, **names)
    asked = pen.say(
        "handbook.question_lead", question=sheet.questions[index], day=pen.pick(lexicon("weekday")), time=pen.time(), **names
    )
    text = asked + separator + pen.say("handbook.quote", rule=line, **names)
    if known and pen.chance(0.25):
        text += " " + (pen.say("handbook.short_value", value=known.value) if pen.chance(0.6) else again(pen, known))
    return text


def _change(pen: Pen, old: Rule, position: str) -> str:
    """A rule gets a new value; then the old and the new one are told apart."""
    value = other_value(pen, old)
    new = swapped(old, value)
    lead = pen.say(
        "handbook.change_lead", position=position, month=pen.pick(lexicon("month")), day=pen.pick(lexicon("weekday")), name=pen.visitor()
    )
    asked = [pen.say("handbook.change_ask", old=old.sentence, new=new, old_value=old.value, value=value) for _ in range(pen.number(1, 2))]
    return "\n".join([f"{lead} {new}", *dict.fromkeys(asked)])


GENRES = {"handbook_page": handbook_page}
