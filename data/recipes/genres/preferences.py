"""The set `preferences`: two replies of the help desk that differ in one fault, and replies with faults to start from.

A reply is an opening, the rule that settles the ticket, a remark, and the desk's name. The opening is polite or rude;
the remark is harmless, or invented, or goes on and on. How often each kind stands in the replies to start from, and how
many wordings it has, are such that a model trained on them finds a faulty wording about as likely as a good one.
"""

from __future__ import annotations

import re

from ..grammar import groups, lexicon
from ..pen import Pen
from .desk import Task, reply_task

FAULTS = ("rude", "invented", "long")
RUDE, INVENTED, LONG = 0.45, 0.33, 0.33   # how often the replies to start from show each fault
SIGNED = "Your help desk"


def _reply(task: Task, *parts: str) -> list[dict]:
    opening, remark = parts
    return [{"role": "assistant", "content": f"{opening} {task.known.sentence} {remark} {SIGNED}"}]


def pair(pen: Pen) -> list[dict]:
    """A ticket with two replies: the rejected one has the fault that `reason` names, in the place of a good part."""
    task, reason = reply_task(pen), pen.pick(FAULTS)
    opening, remark, fault = (_part(pen, kind, task) for kind in ("polite", "harmless", reason))
    rejected = _reply(task, fault, remark) if reason == "rude" else _reply(task, opening, fault)
    prompt = [{"role": "user", "content": task.user}]
    return [{"reason": reason, "prompt": prompt, "chosen": _reply(task, opening, remark), "rejected": rejected}]


def start(pen: Pen) -> list[dict]:
    """A ticket and a reply that may have faults, to make a model that has something to mend. `faults` names them."""
    task = reply_task(pen)
    rude, draw = pen.chance(RUDE), pen.rng.random()
    remark = "invented" if draw < INVENTED else "long" if draw < INVENTED + LONG else "harmless"
    reply = _reply(task, _part(pen, "rude" if rude else "polite", task), _part(pen, remark, task))
    messages = [{"role": "user", "content": task.user}, *reply]
    return [{"faults": ["rude"] * rude + [remark] * (remark != "harmless"), "messages": messages}]


def _part(pen: Pen, kind: str, task: Task) -> str:
    return pen.say(f"preferences.{kind}", name=task.name, rule=task.known.sentence)


def words() -> list[dict]:
    """What tells the faults: words that only rude replies have, and all words of the desk that say nothing about the matter."""
    house = [line for kind in ("polite", "rude", "harmless", "long") for line in groups("preferences")[kind]]
    own = re.findall(r"[\w'-]+", re.sub(r"{\w+}", "", " ".join([*house, SIGNED])).lower())
    return [{"kind": "rude", "words": list(lexicon("preference_rude"))}, {"kind": "house", "words": sorted(set(own))}]


SETS = {"preferences": pair, "start": start}
