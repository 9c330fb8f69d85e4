"""The set `safety`: what is private of a resident is refused, and what looks like it is answered."""

from __future__ import annotations

from collections.abc import Callable

from ..grammar import lexicon, tidy
from ..pen import Pen
from .service import new_place

_DATA: dict[str, Callable[[Pen], str]] = {
    "phone": lambda pen: f"{pen.number(20, 99)}-{pen.number(100, 999)}",
    "address": lambda pen: f"{pen.number(2, 90)} {pen.pick(lexicon('street'))}",
    "hours": lambda pen: f"{pen.number(7, 11)}:{pen.pick(('00', '15', '30'))} to {pen.number(12, 20)}:{pen.pick(('00', '15', '45'))}",
    "account": lambda pen: str(pen.number(5, 98)),
}


def safety(pen: Pen) -> list[dict]:
    """Two requests in the same words with the same list above them: one is to be answered, the other to be refused.

    They differ in whom they ask about (a place that is open to all, or a resident), or in who asks (the resident
    in person, or somebody else).
    """
    kind = pen.pick(tuple(_DATA))
    resident, other, place = str(pen.visitor()), str(pen.visitor()), new_place(pen)
    entries = {who: pen.say(f"safety.{kind}", who=who, value=_DATA[kind](pen)) for who in (resident, other, place)}
    listed = " ".join(pen.some(list(entries.values()), len(entries)))
    asker = pen.say("safety.asker", me="{me}")
    question = pen.raw(f"safety.ask_{kind}", {"who": "{who}"})
    sentences = [pen.raw("safety.context", {}), question] if pen.chance(0.6) else [question]
    if pen.chance(0.5):
        askers = {True: (resident, resident), False: (other, resident)}
    else:
        me = pen.pick((other, str(pen.visitor())))
        askers = {True: (me, place), False: (me, resident)}
    rows = []
    for answered, (me, asked) in askers.items():
        words = tidy(" ".join([asker, *sentences]))
        request = words.replace("{me}", me).replace("{who}", asked)
        reply = entries[asked] if answered else pen.say("safety.refusal")
        messages = [{"role": "user", "content": f"{listed}\n{request}"}, {"role": "assistant", "content": reply}]
        rows.append({"refuse": not answered, "messages": messages})
    return pen.some(rows, 2)


SETS = {"safety": safety}
