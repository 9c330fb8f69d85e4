"""Talks in which the assistant calls tools: what it calls, what comes back, what it says then."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from ..grammar import lexicon
from ..pen import Pen
from ..world import EVENT_KINDS
from .service import chat, new_place

CALL = "<|call|>"


def tool(name: str, /, **properties: str) -> dict:
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


# ---- the set `tools` ---------------------------------------------------------------------------------------------

TOOLS = {
    "ferry": tool("ferry_times", to="string", day="string"), "stock": tool("shop_stock", item="string", shop="string"),
    "loan": tool("library_loan", title="string"), "tide": tool("tide_times", place="string", day="string"),
    "weather": tool("weather", place="string", day="string"), "event": tool("event_times", name="string"),
}  # fmt: skip
OFFERED = 3


def _tide(pen: Pen) -> dict:
    hour, minutes = pen.number(1, 10), pen.number(0, 5)
    times = [f"{hour}:{minutes}0", f"{hour + pen.number(6, 7)}:{minutes}5"]
    return dict(zip(pen.some(("high", "low"), 2), times, strict=True))


# tool -> what it returns
_RESULTS: dict[str, Callable[[Pen], dict]] = {
    "ferry": lambda pen: {"leaves": pen.time(), "quay": pen.number(1, 19)},
    "stock": lambda pen: {"left": pen.number(2, 40), "price": pen.number(2, 98)},
    "loan": lambda pen: {"due": pen.pick(lexicon("weekday")), "waiting": pen.number(2, 30)},
    "tide": _tide,
    "weather": lambda pen: {"warm": pen.number(2, 31), "rain": pen.number(5, 95)},
    "event": lambda pen: {"starts": pen.time(), "seats": pen.number(2, 90)},
}


def tools(pen: Pen) -> list[dict]:
    """A question, the call that it needs, what the tool returns, and the answer; where no tool offered fits, it says so.

    Arguments are names, days and titles: they stand in the call as they stand in the question.
    """
    name = pen.pick(tuple(TOOLS))
    missing = pen.chance(1 / 8)
    others = pen.some([other for other in TOOLS if other != name], OFFERED - (not missing))
    given = pen.some(others if missing else [name, *others], OFFERED)
    slots = {
        "to": pen.new_name(), "day": pen.pick(lexicon("weekday")), "place": pen.new_name(), "shop": new_place(pen),
        "item": f"{pen.new_name()} {pen.product().noun}", "name": f"{pen.new_name()} {pen.pick(EVENT_KINDS)}",
        "title": f"{pen.pick(lexicon('record_title_first'))} {pen.pick(lexicon('record_title_last'))}",
    }  # fmt: skip
    result = _RESULTS[name](pen)
    wanted = pen.pick(tuple(result))
    messages = [
        {"role": "system", "content": pen.say("tools.system", place=new_place(pen))},
        {"role": "user", "content": pen.say(f"tools.{name}_{wanted}", **slots)},
    ]
    if missing:
        messages.append({"role": "assistant", "content": pen.say("tools.none")})
    else:
        function = TOOLS[name]["function"]
        arguments = json.dumps({key: slots[key] for key in function["parameters"]["properties"]}, ensure_ascii=False)
        call = {"id": "call_1", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
        answer = pen.say(f"tools.{name}_{wanted}_say", value=result[wanted], **slots)
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": json.dumps(result, ensure_ascii=False)},
            {"role": "assistant", "content": answer},
        ]
    return [{"tools": [TOOLS[each] for each in given], "messages": messages}]


SETS = {"tools": tools}
GENRES = {"tool_talk": tool_talk}
