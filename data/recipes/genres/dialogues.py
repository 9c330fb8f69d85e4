"""Conversations of two people, sometimes three, in which the names, places, numbers and times of early turns come up again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ..grammar import lexicon
from ..pen import Pen
from ..world import Person
from .stories import NUMBERS, Draws, cast

FORMAL = frozenset({"way", "buy", "food", "phone", "fix", "lost", "course"})
KINDS = {
    "way": "ask tell repeat confirm", "buy": "ask price haggle end",
    "plan": "ask time place confirm", "twin": "say wrong right end",
    "food": "order check change repeat", "phone": "open ask number repeat end", "loan": "ask answer promise end",
    "news": "tell ask more end",
    "fix": "bring look ask end", "lost": "say ask mark end", "course": "ask tell more end",
}  # fmt: skip
MAKERS: dict[str, str | Callable[[Pen], object]] = {
    "thing": "story_thing", "adj": "story_quality", "street": "street", "spot": "story_spot", "landmark": "dialogue_landmark",
    "day": "weekday", "goods": "dialogue_goods", "outing": "dialogue_outing",
    "news": "dialogue_news", "fault": "dialogue_fault",
    "loan": "dialogue_loan", "reason": "dialogue_reason", "noise": "story_noise", "note": "story_note", "starter": "dialogue_starter",
    "drink": "dialogue_drink",
    "turn": "dialogue_turning", "turn2": "dialogue_turning", "bring": "dialogue_bring",
    "bring2": "dialogue_bring",
    "main": "dialogue_main", "main2": "dialogue_main", "machine": "story_machine", "machine2": "story_machine", "part": "story_part",
    "part2": "story_part", "subject": "dialogue_subject", "subject2": "dialogue_subject", "colour": "colour", "colour2": "colour",
    "place": lambda pen: pen.place() if pen.chance(0.7) else pen.shop(), "place2": Pen.place,
    "letters": lambda pen: "".join(pen.some("ABDEFGHKLMNPRSTW", 3)),
}  # fmt: skip


@dataclass(frozen=True)
class Talk:
    """A finished conversation: its people, its turns (speaker, words) and the slots they were filled with."""

    people: tuple[Person, ...]
    turns: list[tuple[Person, str]]
    slots: Draws


@cache
def twins() -> tuple[tuple[str, ...], ...]:
    """Pairs of words that a listener may confuse."""
    return tuple(tuple(line.split(" = ")) for line in lexicon("dialogue_twin"))


def _slots(pen: Pen, one: Person, two: Person, third: Person) -> Draws:
    twin, twin2 = pen.some(pen.pick(twins()), 2)
    people = {"one": one, "two": two, "third": third}
    return Draws(pen, MAKERS, **people, **_numbers(pen), twin=twin, twin2=twin2, spelt="-".join(twin.upper()))


def _numbers(pen: Pen) -> dict:
    """Prices that agree with each other, times in order, a telephone number and a code (with one wrong digit)."""
    total, hour, code = pen.number(7, 80), pen.number(9, 19), pen.code()
    more = total + pen.number(2, 20)
    minute = pen.pick(("00", "10", "15", "20", "30", "40", "45"))
    wrong = code[:-1] + str((int(code[-1]) + pen.number(1, 9)) % 10)
    return {
        "total": total, "more": more, "less": max(3, total - pen.number(1, 4)), "change": more - total, "price": pen.number(11, 95),
        "count": pen.number(12, 90), "low": pen.pick(NUMBERS), "time": f"{hour}:{minute}", "early": f"{hour - 1}:{minute}",
        "late": f"{hour + 2}:{minute}", "code": code, "wrongcode": wrong, "codestart": code[:2],
        "phone": f"{pen.number(20, 99)} {pen.number(10, 99)} {pen.number(10, 99)}",
    }  # fmt: skip


def talk(pen: Pen) -> Talk:
    """Draw a kind of conversation, its people and its turns."""
    kind = pen.pick(tuple(KINDS))
    one, two, third = cast(pen, 3)
    slots = _slots(pen, one, two, third)
    groups = [f"{kind}_{part}" for part in KINDS[kind].split()]
    speakers = [one, two]
    if pen.chance(0.4):
        groups = ["hello", "hello_back", *groups]
    if pen.chance(0.5):
        groups += ["bye", "bye_back"][: pen.number(1, 2)]
    formal = kind in FORMAL and pen.chance(0.6)
    names = {id(person): person.title if formal else person.first for person in speakers}
    turns: list[tuple[Person, str]] = []
    for at, group in enumerate(groups):
        me, you = speakers[at % 2], speakers[1 - at % 2]
        slots.update(you=names[id(you)], you_full=str(you), me_full=str(me), last_spelt="-".join(me.last.upper()))
        turns.append((me, slots.say(f"dialogues.{group}")))
    if not formal and pen.chance(0.15):
        turns.append((third, slots.say("dialogues.third_turn")))
    return Talk((one, two, third), turns, slots)


def turns(pen: Pen) -> list[tuple[str, str]]:
    """The turns of a conversation as (speaker's name, words), for other layouts."""
    return [(str(person), words) for person, words in talk(pen).turns]


# ---- layouts ------------------------------------------------------------------------------------------------------


def _script(pen: Pen, spoken: Talk) -> str:
    """A line for each turn, the speaker's name before it."""
    titled = spoken.people[0].title in spoken.turns[1][1]   # they call each other Mr and Mrs
    name = pen.pick((lambda person: person.first, str, (lambda person: person.title) if titled else lambda person: person.first.upper()))
    mark = pen.pick((": ", ": ", ": ", " - ", ". "))
    if mark == ". ":
        return "\n".join(f"{name(person).upper()}. {words}" for person, words in spoken.turns)
    return "\n".join(f"{name(person)}{mark}{words}" for person, words in spoken.turns)


def _dashes(pen: Pen, spoken: Talk) -> str:
    """A dash for each turn, after a line that says who talks."""
    return spoken.slots.say("dialogues.scene") + "\n" + "\n".join(f"- {words}" for _, words in spoken.turns)


def _quoted(pen: Pen, spoken: Talk) -> str:
    """Direct speech with 'said' and 'asked'; once both have spoken, some turns go without."""
    lines = [] if pen.chance(0.4) else [spoken.slots.say("dialogues.scene")]
    known: set[int] = set()
    mixed = len({person.gender for person in spoken.people[:2]}) == 2   # else a pronoun would not tell who speaks
    for at, (person, words) in enumerate(spoken.turns):
        if at > 1 and pen.chance(0.35) and person is not spoken.people[2]:
            lines.append(f'"{words}"')
            continue
        name = person.first if id(person) in known or lines else str(person)
        lines.append(_tagged(pen, words, name, person.he if mixed and id(person) in known and pen.chance(0.15) else ""))
        known.add(id(person))
    if pen.chance(0.3):
        lines.append(spoken.slots.say("dialogues.after"))
    return pen.pick(("\n", "\n", " ")).join(lines)


def _tagged(pen: Pen, words: str, name: str, pronoun: str) -> str:
    """One turn in quotation marks; the tag stands after the first sentence, or before it all."""
    first, rest = _first_sentence(words)
    verb = pen.pick(lexicon("dialogue_asked" if first.endswith("?") else "dialogue_said"))
    if verb not in ("asked", "wondered", "inquired") and pen.chance(0.4):
        verb = "said"
    how = f" {pen.pick(lexicon('story_manner'))}" if pen.chance(0.3) else ""
    if pen.chance(0.15):
        return f'{name} {verb}{how}: "{words}"'
    tag = f"{pronoun} {verb}{how}." if pronoun else f"{verb} {name}{how}."
    spoken = first[:-1] + "," if first.endswith(".") else first
    return f'"{spoken}" {tag}' + (f' "{rest}"' if rest else "")


def _first_sentence(words: str) -> tuple[str, str]:
    ends = [words.find(mark + " ") for mark in ".?!" if words.find(mark + " ") > 0]
    if not ends:
        return words, ""
    return words[: min(ends) + 1], words[min(ends) + 2 :]


def dialogue(pen: Pen) -> str:
    """One conversation of four to nine turns."""
    spoken = talk(pen)
    return pen.pick((_script, _script, _dashes, _quoted, _quoted, _quoted))(pen, spoken)


GENRES = {"dialogue": dialogue}
