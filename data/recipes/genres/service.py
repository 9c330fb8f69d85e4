"""Talks at a counter, of several turns, under a system turn that says what is true there and how to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..grammar import lexicon
from ..pen import Pen

END = "<|eos|>"
_SIGNS = ("Well", "Listen", "Yes", "Now", "Look", "Right", "Ah", "Good", "Certainly", "Here")
_CALLS = ("Captain", "Friend", "Traveller", "Neighbour", "Sailor", "Guest", "Doctor", "Stranger")


def new_place(pen: Pen) -> str:
    """A place that nobody has heard of."""
    return f"{pen.new_name()} {pen.pick(lexicon('open_place'))}"


def chat(turns: Sequence[tuple[str, str]]) -> str:
    """(Role, words) written with the chat tokens, as in `turns.dialogue_turns`."""
    return "".join(f"<|{role}|>{words}{END if role == 'assistant' else ''}" for role, words in turns)


class _Talk:
    """A talk for pre-training: who has which thing and what colour it is, and what the visitor said before."""

    def __init__(self, pen: Pen, secret: bool):
        self.pen = pen
        self.things = pen.some(lexicon("plain_noun"), pen.number(2, 4))
        self.secret = pen.pick(self.things) if secret else ""
        self.sign = pen.pick(_SIGNS) if pen.chance(0.35) else ""
        self.call = pen.pick(_CALLS) if pen.chance(0.25) else ""
        self.mine = {
            "colour": pen.pick(lexicon("colour")), "home": new_place(pen), "me": str(pen.visitor()), "pet": pen.pick(lexicon("pet")),
        }  # fmt: skip
        colours = pen.some(lexicon("colour"), len(self.things))
        self.facts = {(thing, "has"): self.say("has", thing, who=pen.visitor()) for thing in self.things}
        self.facts |= {
            (thing, "is"): self.say("is", thing, colour=colour)
            for thing, colour in zip(self.things, colours, strict=True) if pen.chance(0.7)
        }  # fmt: skip
        self.told: list[str] = []
        self.asked: list[tuple[str, str]] = []

    def say(self, group: str, thing: str = "", **slots: object) -> str:
        return self.pen.say(f"service.talk_{group}", **(self.mine | {"mine": self.mine["colour"], "thing": thing} | slots))

    def system(self) -> str:
        facts = list(self.facts.values())
        self.pen.rng.shuffle(facts)
        rules = [self.say("style_begin", sign=self.sign)] if self.sign else []
        rules += [self.say("style_call", call=self.call)] if self.call else []
        rules += [self.say("secret", self.secret)] if self.secret else []
        role = self.say("role", place=new_place(self.pen), name=self.pen.visitor().first)
        return " ".join([role, *facts, *rules] if self.pen.chance(0.7) else [role, *rules, *facts])

    def styled(self, words: str) -> str:
        """An answer as the system turn wants it."""
        words = f"{words[:-1]}, {self.call}{words[-1]}" if self.call else words
        return f"{self.sign}. {words}" if self.sign else words

    def exchange(self) -> tuple[str, str]:
        """A question and its answer: what the system turn says, or what the visitor said before."""
        new = [kind for kind in self.mine if kind not in self.told]
        if self.told and self.pen.chance(0.4):
            kind = self.told.pop()
            return self.say(f"recall_{kind}"), self.styled(self.say(f"say_{kind}"))
        left = [key for key in self.facts if key not in self.asked]
        if not left or (new and self.pen.chance(0.3)):
            return self._tells(self.pen.pick(new or list(self.mine)))
        return self._asks(left)

    def _asks(self, left: list[tuple[str, str]]) -> tuple[str, str]:
        """A question about one thing; "and the other?" takes up the question before."""
        before = self.asked[-1][1] if self.asked else ""
        same = [key for key in left if key[1] == before]
        again = bool(same) and self.pen.chance(0.4)
        thing, aspect = key = self.pen.pick(same if again else left)
        self.asked.append(key)
        asked = self.say("ask_other" if again else f"ask_{aspect}", thing)
        return asked, self.styled(self.say("refuse", thing) if thing == self.secret else self.facts[key])

    def _tells(self, kind: str) -> tuple[str, str]:
        for _ in range(100):   # the wordings of a split may tell of other kinds alone
            told = self.say("tell")
            if self.mine[kind] in told:
                break
        else:
            kind = next(kind for kind, word in self.mine.items() if word in told)
        self.told.append(kind)
        return told, self.styled(self.say("noted"))


def counter_talk(pen: Pen, secret: bool = False) -> str:
    """A system turn and two to five exchanges under it."""
    talk = _Talk(pen, secret)
    turns = [("system", talk.system())]
    for _ in range(pen.number(2, 5)):
        asked, answer = talk.exchange()
        turns += [("user", asked), ("assistant", answer)]
    if pen.chance(0.25):
        turns += [("user", talk.say("thanks")), ("assistant", talk.styled(talk.say("bye")))]
    return chat(turns)


def secret_talk(pen: Pen) -> str:
    """The same, where one of the things is a secret: what is asked about it is not answered."""
    return counter_talk(pen, secret=True)


# ---- the set `dialogue` ------------------------------------------------------------------------------------------

# desk -> what it is asked about; each has two respects, called price and place whatever they are
_DESKS: dict[str, Callable[[Pen], str]] = {
    "shop": lambda pen: pen.pick(lexicon("dialogue_goods")), "ferry": Pen.new_name, "inn": Pen.new_name,
    "library": lambda pen: f"{pen.pick(lexicon('record_title_first'))} {pen.pick(lexicon('record_title_last'))}",
}  # fmt: skip
_VALUES: dict[str, Callable[[Pen], str]] = {
    "ferry_price": Pen.time, "inn_place": lambda pen: str(pen.number(1, 9)), "library_price": lambda pen: pen.pick(lexicon("weekday")),
    "price": lambda pen: str(pen.number(2, 98)), "place": lambda pen: str(pen.number(1, 30)),
}  # fmt: skip
_TOLD: dict[str, Callable[[Pen], str]] = {"code": Pen.code, "name": lambda pen: str(pen.visitor()), "home": Pen.new_name}


def dialogue(pen: Pen) -> list[dict]:
    """Two or three exchanges under a system turn -> the last answer, which needs that turn and an earlier one.

    The system turn holds four statements (two things in two respects) and the words that end every answer. The
    last question asks for the respect asked before ("And the oysters?"), for the thing asked about before ("And
    the price?"), or for what the visitor said first.
    """
    desk, told = pen.pick(tuple(_DESKS)), pen.pick(tuple(_TOLD))
    one, two = _different(pen, _DESKS[desk])
    facts = {}
    for respect in ("price", "place"):
        values = _different(pen, _VALUES.get(f"{desk}_{respect}", _VALUES[respect]))
        for thing, value in zip((one, two), values, strict=True):
            facts[thing, respect] = pen.say(f"service.{desk}_{respect}", thing=thing, value=value)
    mine, end = _TOLD[told](pen), pen.say("service.desk_closing", place=new_place(pen), name=pen.visitor().first)
    statements = pen.some(list(facts.values()), len(facts))
    rule = pen.say("service.desk_rule", closing=end)
    system = " ".join([pen.say("service.desk_role", place=new_place(pen)), *statements, rule])

    respect, other = pen.some(("price", "place"), 2)
    last = pen.pick(("other", "again", "recall"))
    asked = [(pen.say(f"service.{desk}_ask_{respect}", thing=one), facts[one, respect])]
    if last != "again" and pen.chance(0.6):   # a second exchange before the last
        asked.append((pen.say(f"service.{desk}_again_{other}"), facts[one, other]))
        respect = other
    if last == "recall":
        asked.append((pen.say(f"service.recall_{told}"), pen.say(f"service.recalled_{told}", mine=mine)))
    elif last == "again":
        asked.append((pen.say(f"service.{desk}_again_{other}"), facts[one, other]))
    else:
        asked.append((pen.say(f"service.{desk}_other", thing=two), facts[two, respect]))
    if last == "recall" or pen.chance(0.5):
        asked[0] = (f"{pen.say(f'service.told_{told}', mine=mine)} {asked[0][0]}", asked[0][1])
    messages = [{"role": "system", "content": system}]
    for question, answer in asked:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": f"{answer} {end}"}]
    return [{"messages": messages}]


def _different(pen: Pen, make: Callable[[Pen], str]) -> tuple[str, str]:
    """Two values, the second another than the first."""
    first = second = make(pen)
    while second == first:
        second = make(pen)
    return first, second


SETS = {"dialogue": dialogue}
GENRES = {"counter_talk": counter_talk, "secret_talk": secret_talk}
