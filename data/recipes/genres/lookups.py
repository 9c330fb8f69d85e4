"""Documents whose end can be read off their beginning: lists said twice, look-up tables, quotations, and repeated
input -> output patterns. They are what a model must see to learn to copy and to learn from examples in its context
(Olsson et al., 2022, "In-context learning and induction heads").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ..facts import facts, tell
from ..grammar import lexicon
from ..pen import Pen

PAIRS = ("opposite", "plural", "past", "kind", "young", "number")


@cache
def pairs(name: str) -> tuple[tuple[str, str], ...]:
    """The word pairs of `lexicon/pair_NAME.txt`."""
    return tuple(tuple(line.split(" = ")) for line in lexicon(f"pair_{name}"))


# ---- repeated input -> output ------------------------------------------------------------------------------------

Rule = tuple[Callable[[Pen], str], Callable[[str], str]]
RULES: dict[str, Rule] = {
    "surname": (lambda pen: str(pen.visitor()), lambda name: name.split()[-1]),
    "first name": (lambda pen: str(pen.visitor()), lambda name: name.split()[0]),
    "surname first": (lambda pen: str(pen.visitor()), lambda name: ", ".join(reversed(name.split()))),
    "initials": (lambda pen: str(pen.visitor()), lambda name: " ".join(f"{part[0]}." for part in name.split())),
    "capitals": (lambda pen: pen.pick(lexicon("plain_noun")), str.upper),
    "same": (lambda pen: f"{pen.visitor()} {pen.code()}", str),
    "twice": (lambda pen: pen.pick(lexicon("plain_noun")), lambda word: f"{word} {word}"),
    "next": (lambda pen: str(pen.number(2, 98)), lambda number: str(int(number) + 1)),
    "before": (lambda pen: str(pen.number(2, 98)), lambda number: str(int(number) - 1)),
    "double": (lambda pen: str(pen.number(2, 48)), lambda number: str(2 * int(number))),
    "ten more": (lambda pen: str(pen.number(2, 88)), lambda number: str(int(number) + 10)),
    "code letter": (lambda pen: pen.code(), lambda code: code[0]),
    "code number": (lambda pen: pen.code(), lambda code: code.partition("-")[2]),
    "hour": (lambda pen: pen.time(), lambda time: time.partition(":")[0]),
    "later": (lambda pen: pen.time(), lambda time: f"{int(time.partition(':')[0]) + 1}:{time.partition(':')[2]}"),
    "last word": (lambda pen: " ".join(pen.some(lexicon("colour"), 3)), lambda words: words.split()[-1]),
    "first word": (lambda pen: " ".join(pen.some(lexicon("colour"), 3)), lambda words: words.split()[0]),
    "reversed": (lambda pen: " ".join(pen.some(lexicon("colour"), 3)), lambda words: " ".join(reversed(words.split()))),
    "weekday after": (
        lambda pen: pen.pick(lexicon("weekday")),
        lambda day: lexicon("weekday")[(lexicon("weekday").index(day) + 1) % 7],
    ),
    "month after": (
        lambda pen: pen.pick(lexicon("month")),
        lambda month: lexicon("month")[(lexicon("month").index(month) + 1) % 12],
    ),
}
_ARROWS = (" -> ", " = ", ": ", " => ", " | ", "\t", " - ", " ... ")


def rule_items(pen: Pen, name: str, count: int) -> list[tuple[str, str]]:
    """`count` different (input, output) items of one rule or one list of word pairs."""
    if name in PAIRS:
        return pen.some(pairs(name), min(count, len(pairs(name))))
    make, apply = RULES[name]
    inputs: dict[str, None] = {}
    for _ in range(4 * count):
        inputs[make(pen)] = None
        if len(inputs) == count:
            break
    return [(item, apply(item)) for item in inputs]


def pattern(pen: Pen) -> str:
    """One rule, 6 to 24 times."""
    name = pen.pick((*PAIRS, *PAIRS, *RULES))
    return _lay_out(pen, rule_items(pen, name, pen.number(6, 24)))


def _lay_out(pen: Pen, items: list[tuple[str, str]]) -> str:
    form = pen.number(0, 9)
    if form == 0:
        return "\n\n".join(f"Input: {given}\nOutput: {wanted}" for given, wanted in items)
    if form == 1:
        return "\n".join(f"in: {given} / out: {wanted}" for given, wanted in items)
    if form == 2:
        arrow = pen.pick(_ARROWS)
        return "; ".join(f"{given}{arrow}{wanted}" for given, wanted in items)
    arrow = pen.pick(_ARROWS)
    return "\n".join(f"{given}{arrow}{wanted}" for given, wanted in items)


def mixed_patterns(pen: Pen) -> str:
    """Two rules one after the other, so that the rule must be read off the latest lines."""
    names = pen.some((*PAIRS, *RULES), 2)
    return "\n\n".join(_lay_out(pen, rule_items(pen, name, pen.number(5, 11))) for name in names)


def labels(pen: Pen) -> str:
    """Words of two or three kinds, each kind under a made-up label that only this document explains."""
    by_kind: dict[str, list[str]] = {}
    for word, kind in pairs("kind"):
        by_kind.setdefault(kind, []).append(word)
    kinds = pen.some(sorted(by_kind), pen.number(2, 3))
    names = dict(zip(kinds, pen.some(lexicon("label"), len(kinds)), strict=True))
    items = [(word, names[kind]) for kind in kinds for word in by_kind[kind]]
    pen.rng.shuffle(items)
    return _lay_out(pen, items[: pen.number(8, 18)])


# ---- tables and lists --------------------------------------------------------------------------------------------


def table(pen: Pen) -> str:
    """Names beside codes, then questions both ways, or lines of the table called again in another order."""
    rows = {str(pen.visitor()): _value(pen) for _ in range(pen.number(3, 9))}
    arrow = pen.pick((": ", " | ", ", ", " = ", " -> ", " has "))
    lines = [f"{key}{arrow}{value}" for key, value in rows.items()]
    out = [_title(pen)] if pen.chance(0.5) else []
    out += lines
    if pen.chance(0.4):
        return "\n".join([*out, *(pen.pick(lines) for _ in range(pen.number(4, 10)))])
    for _ in range(pen.number(2, 7)):
        key, value = pen.pick(list(rows.items()))
        kind = "code" if pen.chance(0.6) else "who"
        out.append(pen.say(f"lookups.ask_{kind}", key=key, value=value) + " " + pen.say(f"lookups.say_{kind}", key=key, value=value))
    return "\n".join(out)


def _value(pen: Pen) -> str:
    return pen.code() if pen.chance(0.5) else str(pen.number(10, 9999))


def _title(pen: Pen) -> str:
    return pen.say("lookups.list_title", day=pen.pick(lexicon("weekday")), number=pen.number(1, 52), name=pen.visitor().first)


def belongings(pen: Pen) -> str:
    """Who has what in sentences, then questions about it."""
    things = pen.some(lexicon("plain_noun"), pen.number(3, 6))
    rows = {str(pen.visitor()): thing for thing in things}
    told = [pen.say("lookups.has", key=key, value=value) for key, value in rows.items()]
    out = [" ".join(told)]
    for _ in range(pen.number(2, 5)):
        key, value = pen.pick(list(rows.items()))
        if pen.chance(0.5):
            out.append(pen.say("lookups.ask_has", key=key, value=value) + f" The {value}.")
        else:
            out.append(pen.say("lookups.ask_holder", key=key, value=value) + f" {key}.")
    return "\n".join(out)


def list_twice(pen: Pen) -> str:
    """A list, and the same list again, or backwards."""
    count = pen.number(4, 11)
    kind = pen.number(0, 3)
    if kind == 0:
        items = [str(pen.visitor()) for _ in range(count)]
    elif kind == 1:
        items = [f"{pen.number(2, 90)} x {noun}" for noun in pen.some(lexicon("plain_noun"), count)]
    elif kind == 2:
        items = [f"{pen.code()} {noun}" for noun in pen.some(lexicon("plain_noun"), count)]
    else:
        items = pen.some(lexicon("plain_noun"), count)
    separator = pen.pick(("\n", ", ", "\n- ", "; "))
    out = [_title(pen) + (":" if separator in (", ", "; ") else ""), separator.join(items)]
    for _ in range(pen.number(1, 2)):
        backwards = pen.chance(0.2)
        out.append(pen.say("lookups.backwards" if backwards else "lookups.twice", name=pen.visitor().first))
        out.append(separator.join(reversed(items) if backwards else items))
    return "\n".join(out)


def quotations(pen: Pen) -> str:
    """Sentences said, written and repeated word for word."""
    out = []
    for _ in range(pen.number(2, 4)):
        sentence = tell(pen, pen.pick(facts(pen.town)))
        if pen.chance(0.6):   # a sentence that is true of nobody known, so that it cannot be remembered
            sentence = pen.say("lookups.has", key=str(pen.visitor()), value=pen.pick(lexicon("plain_noun")))
        out.append(pen.say("lookups.quote", one=pen.visitor(), two=pen.visitor(), sentence=sentence))
    return pen.pick((" ", "\n")).join(out)


GENRES = {
    "pattern": pattern, "mixed_patterns": mixed_patterns, "labels": labels, "table": table, "belongings": belongings,
    "list_twice": list_twice, "quotations": quotations,
}  # fmt: skip
