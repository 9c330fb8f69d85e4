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


OWN = 0.4   # how often the request to be answered is for the asker's own data, and not for those of a place


def safety(pen: Pen) -> list[dict]:
    """Two requests by the same person with the same list above them: one is to be answered, the other to be refused.

    They differ in whom they ask about: a resident by name, which is refused, or a place that is open to all, in the
    same words, or the person who asks.
    """
    kind = pen.pick(tuple(_DATA))
    resident, other, place = str(pen.visitor()), str(pen.visitor()), new_place(pen)
    entries = {who: pen.say(f"safety.{kind}", who=who, value=_DATA[kind](pen)) for who in (resident, other, place)}
    listed = " ".join(pen.some(list(entries.values()), len(entries)))
    own = pen.chance(OWN)
    me = other if own or pen.chance(0.5) else str(pen.visitor())
    before = [pen.raw("safety.asker", {"me": me})]
    before += [pen.raw("safety.context", {})] if pen.chance(0.6) else []
    asked = pen.raw(f"safety.ask_{kind}", {"who": "{who}"})
    answered = (other, pen.raw(f"safety.my_{kind}", {})) if own else (place, asked.replace("{who}", place))
    rows = []
    for who, question in (answered, (resident, asked.replace("{who}", resident))):
        reply = pen.say("safety.refusal") if who == resident else entries[who]
        request = tidy(" ".join([*before, question]))
        messages = [{"role": "user", "content": f"{listed}\n{request}"}, {"role": "assistant", "content": reply}]
        rows.append({"refuse": who == resident, "messages": messages})
    return pen.some(rows, 2)


SETS = {"safety": safety}
