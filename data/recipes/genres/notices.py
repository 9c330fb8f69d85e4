"""Town notices with summaries: one notice and its short form, digests of several, headlines to be matched; and the set `summarise`."""

from __future__ import annotations

from collections.abc import Callable

from ..grammar import lexicon, tidy
from ..pen import Pen
from ..world import Place
from .stories import NUMBERS, Draws, cast

# kind of notice -> its sentence in the house style of the set `summarise`
HOUSE_STYLE = {
    "closure": "{place} is closed on {day} because of {reason}.",
    "time": "{event} now starts at {time} on {day}.",
    "found": "A {adj} {thing} was found at {place}.",
    "meeting": "There is a meeting about {topic} at {place} on {day}.",
    "opening": "A {venue} opens in {street} on {day}.",
    "result": "{who} won the {contest} with {points} points.",
    "warning": "Beware of {hazard} at {place} until {day}.",
    "course": "{who} teaches {subject} at {place} on {day}.",
    "job": "{place} needs a {job} from {day}.",
    "sale": "{who} sells {goods} at {place} on {day}.",
    "works": "Road works in {street} end on {day}.",
    "lost": "{who} is looking for {name}, a {animal} lost near {place}.",
    "ferry": "The {time} ferry to {dest} is cancelled on {day}.",
    "gift": "{who} gave {total} crowns for {cause}.",
}
KINDS = tuple(HOUSE_STYLE)
# those of the set `summarise`
TASK_KINDS = ("closure", "found", "result", "warning", "course", "sale", "works", "lost")
TRIES = 12   # before a text must do with what it has
MOST_WORDS = 34   # of a notice in the set `summarise`


def _place(pen: Pen) -> Place:
    return pen.shop() if pen.chance(0.2) else pen.place()


def _phone(pen: Pen) -> str:
    return f"{pen.number(20, 99)} {pen.number(10, 99)} {pen.number(10, 99)}"


MAKERS: dict[str, str | Callable[[Pen], object]] = {
    "reason": "notice_reason", "event": "notice_event", "topic": "notice_topic", "venue": "notice_venue", "hazard": "notice_hazard",
    "job": "notice_job", "cause": "notice_cause", "work": "notice_work",
    "team": "notice_team", "team2": "notice_team",
    "thing": "story_thing", "adj": "story_quality", "adj2": "notice_coat", "animal": "story_animal", "name": "product_name",
    "act": "story_act",
    "contest": "story_contest", "goods": "dialogue_goods", "subject": "dialogue_subject", "bring": "dialogue_bring", "gift": "story_gift",
    "gift2": "story_gift", "glad": "story_glad", "kin": "story_kin", "part": "story_part", "spot": "story_spot", "spot2": "story_spot",
    "street": "street", "street2": "street", "street3": "street", "weather": "story_weather", "phone": _phone, "phone2": _phone,
    "code": Pen.code, "code2": Pen.code, "age": lambda pen: pen.number(19, 88), "low": lambda pen: pen.pick(NUMBERS),
    "count": lambda pen: pen.number(12, 96), "count2": lambda pen: pen.number(12, 96), "total": lambda pen: pen.number(12, 960),
}  # fmt: skip


def _slots(pen: Pen, kind: str, made_up: bool = False) -> Draws:
    """What a notice may mention; made up: people and places that no other text names, so that they must be copied."""
    who, other, helper = cast(pen, 3, visitors=1.0) if made_up else cast(pen, 3)
    place, sailing = _place(pen), pen.pick(pen.town.sailings)
    while made_up and place in (*pen.town.places, *pen.town.shops):
        place = pen.place()
    closed = sailing.rest_day if kind == "ferry" else place.closed_day
    day = pen.pick([day for day in lexicon("weekday") if day != closed])
    hour, minute, points = pen.number(9, 19), pen.pick(("00", "15", "30", "45", "10", "20")), pen.number(40, 480)
    time = pen.pick(sailing.departures) if kind == "ferry" else f"{hour}:{minute}"
    return Draws(
        pen, MAKERS, who=who, other=other, who2=helper, place=place, day=day, time=time, early=f"{hour - pen.number(1, 3)}:{minute}",
        points=points, fewer=points - pen.number(1, 30), dest=sailing.destination, boat=sailing.boat,
    )  # fmt: skip


def _extras(slots: Draws, group: str, count: int) -> list[str]:
    """Different sentences that do not matter."""
    chosen: list[str] = []
    for _ in range(TRIES):
        line = slots.say(f"notices.{group}")
        if line[:9] not in [other[:9] for other in chosen]:
            chosen.append(line)
        if len(chosen) == count:
            break
    return chosen[:count]


def _notice(pen: Pen, kind: str, extras: int) -> tuple[str, str, Draws]:
    """A notice (what matters, and around it what does not), its short form, and the slots of both."""
    for _ in range(TRIES):
        slots = _slots(pen, kind)
        lead, brief = slots.say(f"notices.{kind}"), slots.say(f"notices.{kind}_brief")
        if _grounded(brief, lead, slots):
            break
    lines = _extras(slots, "extra", extras) if extras else []
    lines.insert(0 if pen.chance(0.8) else min(1, len(lines)), lead)
    return " ".join(lines), brief, slots


def _grounded(brief: str, lead: str, slots: Draws) -> bool:
    """Does the short form say nothing that the notice does not?"""
    brief, lead = brief.lower(), lead.lower()
    return all(value in lead for value in map(str.lower, map(str, slots.values())) if value in brief)


def _single(pen: Pen) -> str:
    """A notice with its short form after it, or before it as a heading."""
    text, brief, slots = _notice(pen, pen.pick(KINDS), pen.number(2, 4))
    form = pen.number(0, 4)
    if form == 0:
        return f"{brief.rstrip('.')}\n{text}"
    if form == 1:
        return f"{slots.say('notices.head_label')} {brief}\n{text}"
    if form == 2:
        return f"{slots.say('notices.news_open')}\n{text}\n{slots.say('notices.short_label')} {brief}"
    return f"{text}\n{slots.say('notices.short_label')} {brief}"


def _pairs(pen: Pen) -> str:
    """Several notices, each with its short form under the same label."""
    items = [_notice(pen, kind, pen.number(0, 2)) for kind in pen.some(KINDS, pen.number(2, 4))]
    slots = items[0][2]
    label, head = slots.say("notices.short_label"), pen.chance(0.3)
    parts = [slots.say("notices.news_open")] if pen.chance(0.4) else []
    parts += [f"{label} {brief}\n{text}" if head else f"{text}\n{label} {brief}" for text, brief, _ in items]
    return "\n\n".join(parts)


def _digest(pen: Pen) -> str:
    """Three or four notices, then a line for each in the same order."""
    items = [_notice(pen, kind, pen.number(0, 2)) for kind in pen.some(KINDS, pen.number(3, 4))]
    slots = items[0][2]
    sign = pen.pick(("{}. ", "{}) ", "* ", "({}) "))
    out = [slots.say("notices.news_open")] if pen.chance(0.5) else []
    out += [sign.format(at) + text for at, (text, _, _) in enumerate(items, 1)]
    out.append(slots.say("notices.digest_open"))
    out += [sign.format(at) + brief for at, (_, brief, _) in enumerate(items, 1)]
    return "\n".join(out)


def _match(pen: Pen) -> str:
    """Numbered notices, headlines with letters, and which belong together."""
    items = [_notice(pen, kind, pen.number(0, 1)) for kind in pen.some(KINDS, pen.number(3, 4))]
    order = pen.some(range(len(items)), len(items))
    letters = pen.pick(("ABCD", "WXYZ", "PQRS", "KLMN"))
    out = [f"{at}. {text}" for at, (text, _, _) in enumerate(items, 1)]
    out.append(items[0][2].say("notices.match_open"))
    out += [f"{letter}. {items[at][1]}" for letter, at in zip(letters, order, strict=False)]
    if pen.chance(0.5):
        sign = pen.pick((" = ", "-", " -> ", ": "))
        out.append(", ".join(f"{at + 1}{sign}{letters[order.index(at)]}" for at in range(len(items))))
    else:
        out += [f"{at}: {brief}" for at, (_, brief, _) in enumerate(items, 1)]
    return "\n".join(out)


def notice(pen: Pen) -> str:
    """Notices and their short forms in one of four layouts."""
    return pen.pick((_single, _single, _single, _pairs, _digest, _match))(pen)


def summarise(pen: Pen) -> tuple[str, str]:
    """A notice with a sentence that does not matter; its one sentence in the house style of its kind."""
    kind = pen.pick(TASK_KINDS)
    slots = _slots(pen, kind, made_up=True)
    core = slots.say(f"notices.task_{kind}")
    extra = next(line for line in _extras(slots, "task_extra", 4) if len(f"{core} {line}".split()) <= MOST_WORDS)
    lines = [core, extra] if pen.chance(0.5) else [extra, core]
    return f"{slots.say('notices.task_order')}\n{' '.join(lines)}", tidy(HOUSE_STYLE[kind].format_map(slots))


GENRES = {"notice": notice}
SETS = {"summarise": summarise}
