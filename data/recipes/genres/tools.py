"""Talks in which the assistant calls tools: what it calls, what comes back, what it says then."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..grammar import lexicon
from ..pen import Pen
from .service import chat, new_place

CALL = "<|call|>"


def tool(name: str, **properties: str) -> dict:
    """A tool as OpenAI's interface has it. properties: argument -> its type."""
    schema = {"type": "object", "properties": {argument: {"type": kind} for argument, kind in properties.items()}}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def offered(tools: Sequence[dict]) -> str:
    """The tools as they stand in the system turn, one a line."""
    return "".join("\n" + json.dumps(each["function"]) for each in tools)


def called(name: str, arguments: dict) -> str:
    """A call as it stands in the assistant's turn."""
    return CALL + json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


# ---- for pre-training: tools that the set does not have ----------------------------------------------------------

_TALK = {
    "room": tool("find_room", person="string"), "count": tool("count", things="string"), "holder": tool("who_has", thing="string"),
    "colour": tool("colour_of", thing="string"), "sum": tool("add", first="integer", second="integer"),
    "note": tool("keep_note", text="string"),
}  # fmt: skip


def _use(pen: Pen, name: str) -> list[tuple[str, str]]:
    """The four turns of one use: question, call, result, answer."""
    slots = {
        "who": pen.visitor(), "things": pen.pick(lexicon("dialogue_goods")), "thing": pen.pick(lexicon("plain_noun")),
        "first": pen.number(2, 30), "second": pen.number(2, 29), "value": pen.number(2, 99),
    }  # fmt: skip
    slots["note"] = f"the {slots['thing']} goes to {pen.visitor()}"
    arguments = {
        "room": {"person": str(slots["who"])}, "count": {"things": slots["things"]}, "holder": {"thing": slots["thing"]},
        "colour": {"thing": slots["thing"]}, "sum": {"first": slots["first"], "second": slots["second"]}, "note": {"text": slots["note"]},
    }[name]  # fmt: skip
    key = {"room": "room", "count": "number", "holder": "person", "colour": "colour", "sum": "sum", "note": "number"}[name]
    if name in ("holder", "colour", "sum"):
        slots["value"] = {
            "holder": str(pen.visitor()), "colour": pen.pick(lexicon("colour")), "sum": slots["first"] + slots["second"],
        }[name]  # fmt: skip
    return [
        ("user", pen.say(f"tools.talk_{name}", **slots)), ("assistant", called(_TALK[name]["function"]["name"], arguments)),
        ("tool", json.dumps({key: slots["value"]})), ("assistant", pen.say(f"tools.talk_{name}_say", **slots)),
    ]  # fmt: skip


def tool_talk(pen: Pen) -> str:
    """A system turn with one to three tools, and one or two uses of them; sometimes a greeting needs none."""
    names = pen.some(list(_TALK), pen.number(1, 3))
    system = pen.say("tools.talk_system", place=new_place(pen)) if pen.chance(0.8) else ""
    turns = [("system", (system + offered([_TALK[name] for name in names])).strip())]
    if pen.chance(0.2):
        turns += [("user", pen.say("tools.talk_hello", name=pen.visitor().first)), ("assistant", pen.say("tools.talk_hello_say"))]
    for name in pen.some(names, pen.number(1, min(2, len(names)))):
        turns += _use(pen, name)
    return chat(turns)


GENRES = {"tool_talk": tool_talk}
