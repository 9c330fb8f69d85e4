"""The town's help desk: tickets with replies, and the sets `triage` and `reply`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from ..grammar import lexicon, tidy
from ..pen import Pen
from ..world import Person
from . import handbook
from .handbook import TOPICS, Rule, pages

__all__ = ["GENRES", "SETS", "pages"]

# Share of each topic among the triage tickets, in percent.
TOPIC_SHARES = {"ferry": 27, "parking": 20, "rubbish": 15, "permits": 12, "water": 9, "library": 7, "lost": 6, "events": 4}
# Slots that a ticket pattern may have drawn and that say what the ticket is about, most telling first.
_OBJECT_SLOTS = ("item", "waste", "bin", "vehicle", "work_thing", "work", "part", "book", "need", "load")
TYPO_SHARE = 1 / 3


# ---- typing mistakes ---------------------------------------------------------------------------------------------


def _mistype(rng: Random, word: str) -> str:
    """One slip of the fingers: two letters swapped, one dropped, or one doubled."""
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0 and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    return word[:at] + word[at] + word[at:]


def typos(rng: Random, text: str) -> str:
    """The text with one slip in about twelve words, and some capitals missing. Names, codes and numbers stay whole."""
    words = text.split(" ")
    usable = [index for index, word in enumerate(words) if len(word) > 3 and word.isalpha() and word.islower()]
    for index in rng.sample(usable, min(len(usable), 1 + len(words) // 16)):
        words[index] = _mistype(rng, words[index])
    if rng.random() < 0.4:
        starts = {0} | {index + 1 for index, word in enumerate(words[:-1]) if word[-1:] in ".?!"}
        names = set(lexicon("weekday")) | set(lexicon("month"))
        words = [word.lower() if index in starts and word.isalpha() and word not in names else word for index, word in enumerate(words)]
    return " ".join(words)


# ---- tickets -----------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """One ticket with what a reply needs."""

    topic: str
    who: Person
    code: str
    body: str
    object: str                      # as a reply takes it up: `your kitchen tap`
    bare: str                        # as a subject line has it: `kitchen tap`
    answer: str                      # the sentence that helps
    slots: dict
    rules: list[Rule] = field(default_factory=list)   # the handbook passage, if there is one
    page: int = 0


def _slots(pen: Pen) -> dict:
    """What ticket patterns may mention."""
    boat, day, new_day = pen.pick(pen.town.sailings), pen.pick(lexicon("weekday")), pen.pick(lexicon("weekday"))
    return {
        "boat": boat, "depart": pen.pick(boat.departures), "day": day, "new_day": new_day, "time": pen.time(), "new_time": pen.time(),
        "street": pen.pick(lexicon("street")), "n": pen.pick(("two", "three", "four", "five", "six", "seven")),
        "code": pen.code(), "month": pen.pick(lexicon("month")), "event": pen.pick(pen.town.events), "place": pen.place(),
        "old_code": pen.code(), "quay": pen.number(2, 19), "number": pen.number(2, 90), "page": pen.number(2, 99), "clerk": pen.visitor(),
    }  # fmt: skip


def _person(pen: Pen) -> Person:
    return pen.visitor() if pen.chance(0.75) else pen.person(adult=True)


def _other_topic(pen: Pen, topic: str) -> str:
    while True:
        other = pen.pick(TOPICS)
        if other != topic:
            return other


def _spot(pen: Pen, topic: str) -> str:
    """A place that belongs to another topic: what a ticket mentions must not give its topic away."""
    return pen.pick(lexicon(f"desk_spot_{_other_topic(pen, topic)}"))


def phrase(pen: Pen, where: str, slots: dict) -> str:
    """A filled pattern that goes into a sentence: tidied, but without a capital that the pattern did not write."""
    raw = pen.raw(where, slots)
    text = tidy(raw)
    return text if raw[:1].isupper() else _lower(text)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _department(pen: Pen, topic: str) -> str:
    return phrase(pen, f"desk.department_{topic}", {})


def _object(pen: Pen, topic: str, slots: dict) -> tuple[str, str]:
    """What a filled ticket pattern is about: as a reply puts it, and as a subject line puts it."""
    for name in _OBJECT_SLOTS:
        if name in slots:
            return phrase(pen, f"desk.object_{name}", slots), slots[name]
    return phrase(pen, f"desk.object_{topic}", slots), phrase(pen, f"desk.bare_{topic}", slots)


def complaint(pen: Pen, topic: str = "", short: bool = False) -> Case:
    """A ticket about something that happened, or a plain question; the reply says what the desk will do."""
    topic = topic or pen.pick(TOPICS)
    slots = _slots(pen) | {"who": _person(pen), "spot": _spot(pen, topic)}
    parts = [pen.raw(f"desk.problem_{topic}", slots)]
    taken_up, bare = _object(pen, topic, slots)
    if pen.chance(0.4):
        parts.append(pen.raw(f"desk.request_{topic}", slots))
    if not short and pen.chance(0.6):
        parts.append(pen.raw("desk.aside" if pen.chance(0.6) else "desk.aside_plain", slots))
    if pen.chance(0.4):
        parts.append(pen.raw("desk.close", slots))
    answer = pen.say(f"desk.reply_{topic}", **slots)
    return Case(topic, slots["who"], slots["code"], _body(pen, parts, slots, short), taken_up, bare, answer, slots)


def inquiry(pen: Pen, short: bool = False) -> Case:
    """A ticket that asks for one rule of a handbook passage."""
    topic = pen.pick(TOPICS)
    slots = _slots(pen) | {"who": _person(pen), "spot": _spot(pen, topic)}
    if pen.chance(0.08) and handbook.pages_of(pen.split):
        page = pen.pick(handbook.pages_of(pen.split))
        at = pen.number(0, len(page["sentences"]) - 1)
        asked, answer, thing, chosen = page["questions"][at], page["sentences"][at], _lower(page["title"]), []
        again = ""
    else:
        chosen = distinct_rules(pen, pen.number(2, 4), topic)
        known = pen.pick(chosen)
        asked, answer, again = handbook.question(pen, known), known.sentence, handbook.again(pen, known)
        thing = _lower(tidy(pen.pick((known.thing.a, known.thing.many, f"the {known.thing}"))))
    parts = [asked]
    if not short or pen.chance(0.3):
        context = pen.raw("desk.question_context", slots)
        parts = [context, asked] if pen.chance(0.5) else [asked, context]
    slots |= {"rule": answer, "again": again}
    text = pen.say("desk.rule_again" if again and pen.chance(0.3) else "desk.rule_given", **slots)
    return Case(topic, slots["who"], slots["code"], _body(pen, parts, slots, short), thing, thing, text, slots, chosen, slots["page"])


def _body(pen: Pen, parts: list[str], slots: dict, short: bool) -> str:
    if not short and pen.chance(0.4):
        parts = [pen.raw("desk.opening", slots), *parts]
    text = tidy(" ".join(parts))
    return typos(pen.rng, text) if pen.chance(TYPO_SHARE) else text


# Two rules in one passage that a question might not tell apart.
_ALIKE = (
    {"bring", "form"}, {"bring", "code"}, {"who", "phone"}, {"price", "discount"}, {"price", "replace"}, {"hours", "deadline"},
    {"hours", "ban"}, {"where", "who"}, {"wait", "deadline"}, {"cancel", "deadline"}, {"form", "code"}, {"ban", "display"},
)  # fmt: skip


def distinct_rules(pen: Pen, count: int, topic: str = "") -> list[Rule]:
    """A passage in which each question is settled by exactly one sentence."""
    while True:
        chosen = handbook.rules(pen, count, topic)
        aspects = {known.aspect for known in chosen}
        if not any(pair <= aspects for pair in _ALIKE):
            return chosen


# ---- documents ---------------------------------------------------------------------------------------------------


def _case(pen: Pen, short: bool = False) -> Case:
    return inquiry(pen, short) if pen.chance(0.5) else complaint(pen, short=short)


def _reply(pen: Pen, case: Case) -> str:
    """Greeting by name, the object taken up, the help, the close."""
    slots = case.slots | {"object": case.object}
    parts, separator = [pen.raw("desk.greeting", slots)], "\n"
    if pen.chance(0.75):
        parts.append(pen.raw("desk.taken_up", slots))
        separator = pen.pick((" ", "\n"))   # on one line only what was not given its capital yet can follow the greeting's comma
    return tidy(separator.join([*parts, case.answer, pen.say("desk.sign_off", **slots)]))


def _followups(pen: Pen, case: Case) -> list[str]:
    """The writer answers and quotes the desk, and the desk quotes itself."""
    slots = case.slots | {"line": case.slots.get("rule", case.answer)}
    out = []
    if pen.chance(0.35):
        out.append(pen.say("desk.followup", **slots))
        if pen.chance(0.6):
            out.append(pen.say("desk.followup_reply", **slots))
    return out


def _passage(pen: Pen, case: Case) -> str:
    joined = " ".join(known.sentence for known in case.rules)
    return pen.say("desk.passage", passage=joined, page=case.page)


def letter(pen: Pen) -> str:
    """A letter or e-mail with its reply, sometimes beside the handbook page."""
    case = _case(pen)
    slots = case.slots | {"bare": case.bare, "body": case.body}
    out = [pen.say("desk.letter_head", **slots)] if pen.chance(0.6) else []
    out.append(pen.say("desk.letter_body", **slots))
    if case.rules and pen.chance(0.6):
        out.insert(pen.number(0, 1) * len(out), _passage(pen, case))
    out += [_reply(pen, case), *_followups(pen, case)]
    return pen.pick(("\n", "\n\n", "\n---\n")).join(out)


def form(pen: Pen) -> str:
    """Tickets as filled-in forms: fields in one order, names varied from document to document."""
    keys = [pen.pick(names.split("|")) for names in lexicon("desk_field")]
    order = pen.some(range(len(keys)), pen.number(4, len(keys)))
    arrow = pen.pick((": ", " = ", " - ", " .... "))
    out = []
    for _ in range(pen.number(1, 3)):
        case = _case(pen)
        department = _department(pen, case.topic)
        values = (case.code, str(case.who), case.slots["day"], case.bare, case.slots["street"], department, case.slots["time"])
        lines = [f"{keys[index]}{arrow}{values[index]}" for index in order]
        out.append("\n".join([*lines, case.body, _reply(pen, case)]))
    return "\n\n".join(out)


def telephone(pen: Pen) -> str:
    """Notes taken on the telephone, with what was said to the caller."""
    out = []
    for _ in range(pen.number(1, 3)):
        case = _case(pen, short=True)
        slots = case.slots | {"object": case.object, "body": case.body, "department": _department(pen, case.topic)}
        lines = [pen.say("desk.call", **slots), pen.say("desk.call_reply", answer=case.answer, **slots)]
        out.append(pen.pick((" ", "\n")).join(lines))
    return "\n".join(out)


def log(pen: Pen) -> str:
    """A table of tickets and questions about it."""
    cases = [_case(pen, short=True) for _ in range(pen.number(3, 8))]
    arrow, wide = pen.pick((" | ", ", ", "; ", " / ", "\t")), pen.chance(0.5)
    out = [pen.say("desk.group_title", **cases[0].slots)] if pen.chance(0.7) else []
    for case in cases:
        cells = [case.code, case.slots["day"], str(case.who), case.bare]
        out.append(arrow.join(cells + ([_department(pen, case.topic)] if wide else [])))
    for _ in range(pen.number(2, 6)):
        case = pen.pick(cases)
        kind = pen.pick(("who", "object", "code", "day"))
        slots = case.slots | {"object": case.bare}
        out.append(pen.say(f"desk.file_ask_{kind}", **slots) + " " + pen.say(f"desk.file_say_{kind}", **slots))
    return "\n".join(out)


def sorting(pen: Pen) -> str:
    """Short tickets, each followed by the department that it goes to."""
    out = [pen.say("desk.group_title", **_slots(pen))] if pen.chance(0.5) else []
    style = pen.number(0, 4)
    for _ in range(pen.number(3, 6)):
        topic = pen.pick(TOPICS)
        case = complaint(pen, topic)
        department = _department(pen, topic)
        slots = case.slots | {"department": department, "wrong": _department(pen, _other_topic(pen, topic)), "topic": topic}
        name = pen.pick((f"{case.code}: ", f"{case.who}: ", "", "- "))
        note = pen.say("desk.topic_word" if style == 0 else "desk.belongs", **slots)
        out.append(name + case.body + pen.pick((" ", "\n", " -> ")) + note)
    return "\n".join(out)


def exchanges(pen: Pen) -> str:
    """Short tickets and replies in turn."""
    ask, answer = pen.pick((("", ""), ("Ticket: ", "Reply: "), ("> ", ""), ("- ", "- "), ("Visitor: ", "Desk: ")))
    out = []
    for _ in range(pen.number(2, 4)):
        case = _case(pen, short=True)
        slots = case.slots | {"body": case.body}
        out.append(ask + pen.say("desk.signed", **slots))
        out.append(answer + (_reply(pen, case).replace("\n", " ") if pen.chance(0.6) else case.answer))
    return "\n".join(out)


def extract(pen: Pen) -> str:
    """A handbook passage, then a ticket about it and the reply that quotes from it, one or more times."""
    out = []
    for _ in range(pen.number(1, 3)):
        case = inquiry(pen)
        head = _passage(pen, case) + "\n" if case.rules else ""
        signed = pen.say("desk.signed", body=case.body, **case.slots)
        out.append(f"{head}{pen.say('desk.signed_lead', **case.slots)} {signed}\n{_reply(pen, case)}")
    return "\n\n".join(out)


_LAYOUTS: tuple[Callable[[Pen], str], ...] = (
    letter, letter, form, telephone, log, log, sorting, sorting, exchanges, exchanges, extract, extract, extract,
)  # fmt: skip
LONGEST = 320


def ticket(pen: Pen) -> str:
    """One or more help-desk tickets with replies, in one of many layouts."""
    while True:
        text = pen.pick(_LAYOUTS)(pen)
        if len(text.split()) <= LONGEST:
            return text


# ---- instruction sets --------------------------------------------------------------------------------------------


def triage(pen: Pen) -> tuple[str, str]:
    """A ticket of 20 to 40 words -> its topic."""
    topic = pen.rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
    while True:
        slots = _slots(pen) | {"who": pen.visitor(), "spot": _spot(pen, topic)}
        parts = [pen.raw(f"desk.problem_{topic}", slots)]
        if pen.chance(0.8):
            parts.append(pen.raw(f"desk.request_{topic}", slots))
        if pen.chance(0.6):
            parts.insert(pen.number(1, len(parts)), pen.raw("desk.aside", slots))
        elif pen.chance(0.5):
            parts.append(pen.raw("desk.aside_plain" if pen.chance(0.5) else "desk.close", slots))
        body = _body(pen, parts, slots, short=True)
        if 20 <= len(body.split()) <= 40:
            return f"{pen.say('desk.triage_instruction')}\n{body}", topic


@dataclass
class Task:
    """One reply task: the user's text, who asked, and the rule that settles it."""

    user: str
    name: str
    known: Rule
    passage: list[Rule]
    slots: dict


# what the tickets of the set ask about
ASKED = ("price", "where", "bring", "wait", "limit", "hours", "phone", "display")


def reply_task(pen: Pen) -> Task:
    """A ticket of 7 to 14 words with one question, and a passage of two rules on two things, of which one settles it."""
    while True:
        things = [handbook.some_thing(pen) for _ in range(2)]
        passage = [handbook.rule(pen, thing, pen.pick(ASKED), "task") for thing in things]
        known, who, slots = pen.pick(passage), pen.visitor(), _slots(pen)
        name = str(who) if pen.chance(0.5) else who.first
        context = pen.say("desk.short_context", **slots)
        message = pen.say("desk.reply_message", question=handbook.question(pen, known), context=context, name=name)
        if things[0].name != things[1].name and 7 <= len(message.split()) <= 14:
            text = " ".join(rule.sentence for rule in passage)
            user = f"{pen.say('desk.reply_instruction')}\nTicket: {message}\nPassage: {text}"
            return Task(user, who.first, known, passage, slots)


def house_style(name: str, known: Rule) -> str:
    """The reply that the desk's trainers ask for: the writer's first name and one sentence of the passage, word for word."""
    return f"Dear {name}, thank you for writing. {known.sentence} Your help desk"


def reply(pen: Pen) -> tuple[str, str]:
    """A ticket and a handbook passage -> a short polite reply that quotes the right sentence."""
    task = reply_task(pen)
    return task.user, house_style(task.name, task.known)


GENRES = {"ticket": ticket, "handbook_page": handbook.handbook_page}
SETS = {"triage": triage, "reply": reply}
