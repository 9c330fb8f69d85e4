"""Spoken-style sentences beside what was meant: numbers in words and in figures, commands, dictation, corrections.

Each pattern holds both halves, `what was heard // the clean line`; slots print words on the left (`{n}`) and figures on
the right (`{n.figures}`), and `{uh}` is a hesitation, often an empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..grammar import lexicon, tidy
from ..pen import Pen

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip


def number_words(number: int) -> str:
    """A whole number below a million in words.

    >>> number_words(342), number_words(7015)
    ('three hundred and forty-two', 'seven thousand and fifteen')
    """
    if number < 20:
        return _SMALL[number]
    if number < 100:
        return _TENS[number // 10] + (f"-{_SMALL[number % 10]}" if number % 10 else "")
    unit, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    head, rest = divmod(number, unit)
    joint = "" if not rest else " and " if rest < 100 else " "
    return f"{number_words(head)} {name}{joint}{number_words(rest) if rest else ''}"


def ordinal_words(number: int) -> str:
    """A whole number below 100 as an ordinal in words.

    >>> ordinal_words(21), ordinal_words(30)
    ('twenty-first', 'thirtieth')
    """
    head, dash, last = number_words(number).rpartition("-")
    regular = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return f"{head}{dash}{_ORDINALS.get(last, regular)}"


def time_words(hour: int, minute: int, style: int = 0) -> str:
    """A time of day in words, the way people say it: with `past` and `to` (style 0), or read off the clock (style 1).

    >>> time_words(8, 45), time_words(8, 45, style=1)
    ('quarter to nine', 'eight forty-five')
    """
    name = number_words((hour - 1) % 12 + 1)
    if minute == 0:
        return f"{name} o'clock"
    if style == 1:
        return f"{name} {'oh ' if minute < 10 else ''}{number_words(minute)}"
    near = {15: "quarter", 30: "half"}
    if minute <= 30:
        return f"{near.get(minute) or number_words(minute)} past {name}"
    return f"{near.get(60 - minute) or number_words(60 - minute)} to {number_words(hour % 12 + 1)}"


def digit_words(digits: str, pen: Pen) -> str:
    """Digits dictated one by one in groups, as on the telephone: `seven three, double oh nine`."""
    out, at, zero = [], 0, "oh" if pen.chance(0.7) else "zero"
    while at < len(digits):
        double = digits[at : at + 2] == 2 * digits[at] and pen.chance(0.6)
        name = zero if digits[at] == "0" else _SMALL[int(digits[at])]
        out.append(f"double {name}" if double else name)
        at += 2 if double else 1
    group = pen.number(2, 4)
    return ", ".join(" ".join(out[start : start + group]) for start in range(0, len(out), group))


@dataclass(frozen=True)
class Said:
    """Something said in words that is written in `figures`."""

    words: str
    figures: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Hesitation:
    """A different hesitation, or none, each time it is printed."""

    pen: Pen

    def __str__(self) -> str:
        return self.pen.pick(lexicon("spoken_filler")) if self.pen.chance(0.6) else ""


def _number(pen: Pen, low: int, high: int) -> Said:
    number = pen.number(low, high)
    words = number_words(number)
    return Said(words.replace("-", " ") if pen.chance(0.5) else words, str(number))


def _time(pen: Pen) -> Said:
    hour, minute = pen.number(1, 12), 5 * pen.number(0, 11)
    return Said(time_words(hour, minute, style=pen.number(0, 1)), f"{hour}:{minute:02d}")


def _date(pen: Pen) -> Said:
    day, month = pen.number(1, 28), pen.pick(lexicon("month"))
    words = f"the {ordinal_words(day)} of {month}" if pen.chance(0.6) else f"{month} the {ordinal_words(day)}"
    return Said(words, f"{day} {month}")


def _phone(pen: Pen) -> Said:
    digits = "".join(str(pen.number(0, 9)) for _ in range(pen.number(5, 8)))
    return Said(digit_words(digits, pen), digits)


def _code(pen: Pen) -> Said:
    code = pen.code()
    head, _, tail = code.partition("-")
    return Said(f"{head[0]} {_SMALL[int(head[1])]}, {pen.pick(('dash', 'then', 'hyphen'))}, {digit_words(tail, pen)}", code)


def _spelling(pen: Pen) -> Said:
    name = pen.visitor().last
    return Said(pen.pick((", ", " ", "-")).join(name.upper()), name)


def _any_number(pen: Pen) -> Said:
    return _number(pen, *pen.pick(((2, 12), (2, 40), (13, 99), (100, 999), (1000, 9999))))


_DAYS = lexicon("weekday")
# slot -> how its value is drawn; `slip` and `wrong_day` are what a speaker takes back
_MAKERS: dict[str, Callable[[Pen], object]] = {
    "uh": Hesitation, "n": lambda pen: _number(pen, 21, 99), "m": lambda pen: _number(pen, 2, 12), "slip": lambda pen: _number(pen, 13, 20),
    "big": _any_number, "time": _time, "late": _time, "date": _date, "phone": _phone, "code": _code, "spelling": _spelling,
    "year": lambda pen: _year(pen), "day": lambda pen: pen.pick(_DAYS), "wrong_day": lambda pen: pen.pick(_DAYS),
    "who": Pen.visitor, "other": Pen.visitor,
}  # fmt: skip


class _Slots(dict):
    """Slot values, each drawn when a pattern first asks for it."""

    def __init__(self, pen: Pen):
        super().__init__()
        self.pen = pen

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name) and name in _MAKERS:
            self[name] = _MAKERS[name](self.pen)
            while name in ("day", "wrong_day") and self.get("day") == self.get("wrong_day"):
                self[name] = _MAKERS[name](self.pen)
        return super().__contains__(name)


def _year(pen: Pen) -> Said:
    first, last = pen.number(17, 19), pen.number(10, 99)
    return Said(f"{number_words(first)} {number_words(last)}", f"{first}{last}")


_KINDS = ("command", "command", "number", "time", "phone", "correction", "correction", "spelling")


def pair(pen: Pen, kind: str) -> tuple[str, str]:
    """One spoken line and its clean version."""
    heard, _, clean = pen.raw(f"spoken.{kind}", _Slots(pen)).partition(" // ")
    return tidy(_unhesitating(heard, kind == "correction")), tidy(clean)


def _unhesitating(text: str, keep_comma: bool) -> str:
    """Mend the commas that an empty hesitation leaves: one stays where somebody corrects a slip, none elsewhere."""
    return text.replace(", ,", "," if keep_comma else "").lstrip(", ")


# ---- documents ---------------------------------------------------------------------------------------------------


def pairs(pen: Pen) -> str:
    """Pairs of lines, of one kind or mixed, each under the same labels."""
    kinds = _KINDS if pen.chance(0.6) else (pen.pick(_KINDS),)
    items = [pair(pen, pen.pick(kinds)) for _ in range(pen.number(4, 8))]
    form = pen.number(0, 5)
    if form == 0:
        return "\n".join(f"{heard} -> {clean}" for heard, clean in items)
    if form == 1:
        return "\n\n".join(f'"{heard}"\n{clean}' for heard, clean in items)
    if form == 2:   # without marks or capitals, as a machine hears it
        return "\n".join(f"{_bare(heard)} | {clean}" for heard, clean in items)
    one, two = (label.capitalize() for label in pen.say("spoken.labels").split(" / "))
    flipped = pen.chance(0.2)
    lines = [f"{two}: {clean}\n{one}: {heard}" if flipped else f"{one}: {heard}\n{two}: {clean}" for heard, clean in items]
    return "\n".join(lines) if pen.chance(0.5) else "\n\n".join(lines)


def _bare(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign not in ".,?!")


def transcript(pen: Pen) -> str:
    """A whole recording first, then all of it written cleanly."""
    items = [pair(pen, pen.pick(_KINDS)) for _ in range(pen.number(3, 6))]
    speaker = pen.visitor()
    numbered = pen.chance(0.3)
    heard, clean = (_written(half, numbered) for half in zip(*items, strict=True))
    opening = pen.say("spoken.recording", who=speaker, code=pen.code(), day=pen.pick(lexicon("weekday")))
    return f"{opening}\n{heard}\n{pen.say('spoken.cleaned', who=speaker, clerk=pen.person(adult=True))}\n{clean}"


def _written(lines: Sequence[str], numbered: bool) -> str:
    """Lines numbered one below the other, or run on with a full stop after each."""
    if numbered:
        return "\n".join(f"{at}. {line}" for at, line in enumerate(lines, 1))
    return " ".join(line if line[-1] in ".?!" else f"{line}." for line in lines)


def dictation(pen: Pen) -> str:
    """Somebody dictates numbers, and the other repeats them."""
    out = []
    for _ in range(pen.number(3, 5)):
        value = pen.pick((_phone, _code, _spelling, _time, _date))(pen)
        wrong = Said("", value.figures[::-1])
        kind = "repeat_slip" if pen.chance(0.25) and value.figures.isdigit() else "repeat"
        thing = pen.pick(lexicon("spoken_thing"))
        out.append(pen.say(f"spoken.{kind}", value=value, wrong=wrong, who=pen.visitor(), other=pen.visitor(), thing=thing))
    return pen.pick(("\n", "\n\n")).join(out)


def spoken(pen: Pen) -> str:
    """Any of the documents above."""
    return pen.pick((pairs, pairs, transcript, dictation))(pen)


GENRES = {"spoken": spoken}
