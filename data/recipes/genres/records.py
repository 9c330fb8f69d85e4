"""Records and forms in JSON beside the note, message, form or table row that they were made from, in both directions.

A kind of record (`booking`, `loan` ...) is a set of fields; each of its note patterns mentions all of them, and the
document chooses which to keep, under which keys and in which order, so that the keys must be read off the context.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ..grammar import lexicon, tidy
from ..pen import Pen
from ..world import Person
from .spoken import number_words

# The keys of the instruction set `extract`; no record in pre-training has all of them.
EXTRACT_KEYS = ("guest", "item", "day", "count")
FEWEST_WORDS = 30


@dataclass(frozen=True)
class Amount:
    """A whole number: an integer in the record, figures or a word in the note."""

    number: int
    text: str

    def __str__(self) -> str:
        return self.text


def _amount(low: int, high: int) -> Callable[[Pen], Amount]:
    def make(pen: Pen) -> Amount:
        number = pen.number(low, high)
        return Amount(number, number_words(number) if number <= 12 and pen.chance(0.3) else str(number))

    return make


def _figure(low: int, high: int) -> Callable[[Pen], Amount]:
    def make(pen: Pen) -> Amount:
        number = pen.number(low, high)
        return Amount(number, str(number))

    return make


def _word(name: str) -> Callable[[Pen], str]:
    return lambda pen: pen.pick(lexicon(name))


def _phone(pen: Pen) -> str:
    return f"{pen.number(20, 99)}-{pen.number(100, 999)}"


def _address(pen: Pen) -> str:
    return f"{pen.number(2, 90)} {pen.pick(lexicon('street'))}"


def _found_thing(pen: Pen) -> str:
    return f"{pen.pick(lexicon('colour'))} {pen.pick(lexicon('record_lost'))}"


def _boat(pen: Pen) -> str:
    return f"{pen.pick(lexicon('record_boat_first'))} {pen.pick(lexicon('record_boat_last'))}"


def _title(pen: Pen) -> str:
    return f"The {pen.pick(lexicon('record_title_first'))} {pen.pick(lexicon('record_title_last'))}"


Makers = dict[str, Callable[[Pen], object]]
_DAY = _word("weekday")
# kind -> slot -> how its value is drawn
KINDS: dict[str, Makers] = {
    "booking": {"who": Pen.visitor, "room": _figure(1, 60), "nights": _amount(2, 9), "day": _DAY, "code": Pen.code},
    "lost": {"who": Pen.visitor, "thing": _found_thing, "spot": _word("record_where"), "day": _DAY, "shelf": _figure(1, 99)},
    "delivery": {"who": Pen.visitor, "count": _amount(2, 40), "goods": _word("record_goods"), "address": _address, "time": Pen.time},
    "repair": {"who": Pen.visitor, "device": _word("record_device"), "fault": _word("record_fault"), "price": _figure(3, 95), "day": _DAY},
    "order": {"who": Pen.visitor, "count": _amount(2, 24), "goods": _word("record_goods"), "price": _figure(4, 99), "code": Pen.code},
    "appointment": {"who": Pen.visitor, "other": Pen.visitor, "day": _DAY, "time": Pen.time, "about": _word("record_about")},
    "weather": {"day": _DAY, "sky": _word("record_sky"), "wind": _word("record_wind"), "degrees": _amount(2, 29), "rain": _figure(0, 30)},
    "loan": {"who": Pen.visitor, "title": _title, "code": Pen.code, "day": _DAY, "weeks": _amount(2, 6)},
    "table": {"who": Pen.visitor, "seats": _amount(2, 12), "day": _DAY, "time": Pen.time, "phone": _phone},
    "course": {"who": Pen.visitor, "age": _figure(8, 80), "course": _word("record_course"), "fee": _figure(5, 90), "month": _word("month")},
    "trip": {"who": Pen.visitor, "boat": _boat, "seats": _amount(2, 11), "quay": _figure(1, 9), "time": Pen.time},
    "animal": {
        "who": Pen.visitor, "pet": _word("record_pet"), "animal": _word("record_animal"), "kilos": _amount(2, 40),
        "complaint": _word("record_complaint"),
    },
    "parking": {"who": Pen.visitor, "vehicle": _word("record_vehicle"), "plate": Pen.code, "hours": _amount(2, 11), "bay": _figure(1, 80)},
    "survey": {"who": Pen.visitor, "count": _figure(2, 99), "bird": _word("record_bird"), "spot": _word("record_where"), "time": Pen.time},
}  # fmt: skip


@cache
def _key_names(slot: str) -> tuple[str, ...]:
    for line in lexicon("record_key"):
        name, _, keys = line.partition(" = ")
        if name == slot:
            return tuple(keys.split(", "))
    raise KeyError(f"no keys for {slot!r} in lexicon/record_key.txt")


def _plain(value: object) -> object:
    return value.number if isinstance(value, Amount) else str(value)


@dataclass(frozen=True)
class Plan:
    """What one document's records look like: (slot, key) pairs in order, and which of them form an inner object."""

    kind: str
    keys: tuple[tuple[str, str], ...]
    inner: str = ""
    inner_slots: tuple[str, ...] = ()

    def record(self, values: dict) -> dict:
        """The record of one set of values."""
        record: dict = {}
        for slot, key in self.keys:
            if slot in self.inner_slots:
                record.setdefault(self.inner, {})[key] = _plain(values[slot])
            else:
                record[key] = _plain(values[slot])
        return record


def _plan(pen: Pen, nested: bool = True) -> Plan:
    """A kind, three to five of its fields in any order, and a key for each."""
    kind = pen.pick(tuple(KINDS))
    slots = pen.some(tuple(KINDS[kind]), pen.number(3, 5))
    keys: list[tuple[str, str]] = []
    style = pen.number(0, 9)
    for slot in slots:
        key = pen.pick(_key_names(slot))
        if any(key == other for _, other in keys):
            key = slot
        keys.append((slot, key.replace("_", " ") if style == 0 else key.title().replace("_", "") if style == 1 else key))
    if set(EXTRACT_KEYS) <= {key for _, key in keys}:
        keys = [(slot, "name" if key == "guest" else key) for slot, key in keys]
    if nested and len(slots) >= 4 and pen.chance(0.2):
        return Plan(kind, tuple(keys), pen.pick(lexicon("record_inner")), tuple(slots[1 : pen.number(3, 4)]))
    return Plan(kind, tuple(keys))


def _values(pen: Pen, kind: str) -> dict:
    return {slot: make(pen) for slot, make in KINDS[kind].items()}


def _note(pen: Pen, kind: str, values: dict) -> str:
    """The note of one record: its pattern, now and then with a sentence that is not recorded."""
    note = pen.say(f"records.{kind}", **values)
    if "who" in values and pen.chance(0.25):
        return f"{note} {_remark(pen, values['who'])}"
    return note


def _remark(pen: Pen, who: Person) -> str:
    return pen.say("records.remark", who=who, other=pen.visitor(), number=pen.number(3, 99), clerk=pen.person(adult=True))


def _dump(record: object) -> str:
    return json.dumps(record, ensure_ascii=False)


# ---- layouts of one pair -----------------------------------------------------------------------------------------


def _form(pen: Pen, plan: Plan, values: dict) -> str:
    """The values as a filled-in form, `Name: ...` on each line or in one."""
    colon = pen.pick((": ", ": ", " = ", " - ", " ... "))
    lines = [f"{key.replace('_', ' ').capitalize()}{colon}{values[slot]}" for slot, key in plan.keys]
    return pen.pick(("\n", "\n", "\n", "; ", " / ")).join(lines)


def _source(pen: Pen, plan: Plan, values: dict) -> str:
    return _form(pen, plan, values) if pen.chance(0.2) else _note(pen, plan.kind, values)


def pair(pen: Pen, plan: Plan, values: dict) -> str:
    """Note first or record first, each under a heading or joined by a sentence."""
    source, record = _source(pen, plan, values), _dump(plan.record(values))
    form = pen.number(0, 4)
    if form == 0:
        return f"{source}\n{record}"
    if form == 1:
        return f"{pen.say('records.record_head')}\n{record}\n{pen.say('records.note_head')}\n{source}"
    if form == 2:
        return f"{record}\n{pen.say('records.backwards', clerk=pen.person(adult=True))}\n{source}"
    if form == 3:
        return f"{source}\n{pen.say('records.forwards', clerk=pen.person(adult=True), visitor=pen.visitor())}\n{record}"
    return f"{pen.say('records.note_head')} {source}\n{pen.say('records.record_head')} {record}"


# ---- documents ---------------------------------------------------------------------------------------------------


def single(pen: Pen) -> str:
    """One or two notes with their records, then questions about them."""
    out: list[str] = []
    wanted = pen.number(1, 2)
    while wanted > 0 or sum(len(part.split()) for part in out) < 45:
        plan = _plan(pen)
        values = _values(pen, plan.kind)
        out += [pair(pen, plan, values), *_questions(pen, plan, values)]
        wanted -= 1
    return "\n\n".join(out) if pen.chance(0.4) else "\n".join(out)


def _questions(pen: Pen, plan: Plan, values: dict) -> list[str]:
    out = []
    for slot, key in pen.some(plan.keys, pen.number(0, 3)):
        value = str(_plain(values[slot]))
        out.append(pen.say("records.ask", key=key, value=value) + " " + pen.say("records.reply", key=key, value=value))
    return out


def series(pen: Pen) -> str:
    """Several pairs with the same keys, so that the keys and their order can be picked up from the first."""
    plan = _plan(pen)
    note_head, record_head = pen.say("records.note_head"), pen.say("records.record_head")
    form, out = pen.number(0, 5), []
    for _ in range(pen.number(3, 5)):
        values = _values(pen, plan.kind)
        note, record = _note(pen, plan.kind, values), _dump(plan.record(values))
        if form == 0:
            out.append(f"{note}\n{record}")
        elif form == 1:
            out.append(f"{note} -> {record}")
        elif form == 2:
            out.append(f"{record_head} {record}\n{note_head} {note}")
        elif form == 3:
            out.append(f"{record}\n{note}")
        else:
            out.append(f"{note_head} {note}\n{record_head} {record}")
    return ("\n" if form == 1 else "\n\n").join(out)


def table(pen: Pen) -> str:
    """Rows of a table and the same as records, or the other way round, and one row told as a note."""
    plan = _plan(pen, nested=False)
    rows = [_values(pen, plan.kind) for _ in range(pen.number(2, 5))]
    bar = pen.pick((",", ", ", " | ", "; ", "\t"))
    lines = [bar.join(key for _, key in plan.keys)]
    lines += [bar.join(str(_plain(row[slot])) for slot, _ in plan.keys) for row in rows]
    records = [_dump(plan.record(row)) for row in rows]
    block = "\n".join(records) if pen.chance(0.7) else "[" + ", ".join(records) + "]"
    parts = ["\n".join(lines), block]
    if pen.chance(0.4):
        parts.reverse()
    parts.insert(1, pen.say("records.table_bridge", number=len(rows), clerk=pen.person(adult=True)))
    if pen.chance(0.6):
        parts.append(f"{pen.say('records.note_head')} {_note(pen, plan.kind, pen.pick(rows))}")
    return "\n".join(parts)


def bundle(pen: Pen) -> str:
    """Several notes first, all their records after them: each record must find its note."""
    plan = _plan(pen)
    rows = [_values(pen, plan.kind) for _ in range(pen.number(2, 4))]
    notes = [f"{number}. {_note(pen, plan.kind, row)}" for number, row in enumerate(rows, 1)]
    records = [plan.record(row) for row in rows]
    if pen.chance(0.5):
        records = [{"nr": number, **record} for number, record in enumerate(records, 1)]
    bridge = pen.say("records.forwards", clerk=pen.person(adult=True), visitor=pen.visitor())
    block = _dump(records) if pen.chance(0.3) else "\n".join(_dump(record) for record in records)
    return "\n".join([*notes, bridge, block])


def correction(pen: Pen) -> str:
    """A record, a message that changes one value, and the record as it is afterwards."""
    plan = _plan(pen)
    values = _values(pen, plan.kind)
    slot, key = pen.pick(plan.keys)
    changed = dict(values)
    while _plain(changed[slot]) == _plain(values[slot]):
        changed[slot] = KINDS[plan.kind][slot](pen)
    message = pen.say("records.change", key=key, old=_plain(values[slot]), new=_plain(changed[slot]), sender=pen.visitor())
    after = pen.say("records.changed", clerk=pen.person(adult=True))
    return f"{pair(pen, plan, values)}\n{message}\n{after}\n{_dump(plan.record(changed))}"


def record(pen: Pen) -> str:
    """Any of the documents above but `series`, drawn again in the rare case that it is too short."""
    while True:
        text = pen.pick((single, single, table, bundle, correction))(pen)
        if len(text.split()) >= FEWEST_WORDS:
            return text


# ---- the instruction set -----------------------------------------------------------------------------------------


def extract(pen: Pen) -> tuple[str, str]:
    """A guest's note, and the JSON that files it: always the same four keys, the item copied as it stands (a plural)."""
    slots: dict = {"guest": pen.visitor(), "day": pen.pick(lexicon("weekday")), "count": _amount(2, 12)(pen)}
    slots["item"] = pen.pick(lexicon("extract_item"))
    if pen.chance(0.3):
        slots["item"] = f"{pen.pick(lexicon('extract_adjective'))} {slots['item']}"
    slots["other"], slots["number"] = pen.visitor(), pen.number(13, 60)
    note = tidy(pen.raw("records.extract", slots))
    wanted = {"guest": str(slots["guest"]), "item": slots["item"], "day": slots["day"], "count": slots["count"].number}
    return f"File this note under guest, item, day, count.\n{note}", _dump(wanted)


GENRES = {"record": record, "record_series": series}
SETS = {"extract": extract}
