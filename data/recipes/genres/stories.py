"""Short stories: sixteen kinds of plot, each told in stages that share one cast, one object and one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from ..grammar import lexicon, tidy
from ..pen import Pen
from ..world import Person

NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
PLACES_WON = ("second", "third", "fourth", "fifth", "sixth", "last", "second to last")


@dataclass(frozen=True)
class Plot:
    """The stages of a plot in order, the word lists its own slots are drawn from, and what a title names."""

    name: str
    stages: str
    lists: tuple[tuple[str, str], ...]
    title: str


def _plot(name: str, stages: str, lists: str, title: str) -> Plot:
    pairs = tuple(tuple(item.split("=")) for item in lists.split())
    return Plot(name, stages, pairs, title)


PLOTS = (
    _plot("lost", "open search found end", "", "{adj} {thing}"),
    _plot("animal", "open try turn end", "animal=animal trouble=predicament lure=lure lure2=lure", "{animal}"),
    _plot("journey", "open trouble help end", "goal=goal delay=delay", "long road"),
    _plot("present", "open trouble turn end", "occasion=occasion spot=spot wrongthing=thing", "{occasion} present"),
    _plot("repair", "open try turn end", "machine=machine machine2=machine part=part", "{machine}"),
    _plot("contest", "open trouble turn end", "contest=contest", "{contest}"),
    _plot("secret", "open turn end", "hideout=hideout password=password note=note", "secret word"),
    _plot("mixup", "open turn end", "dish=dish dish2=dish", "{dish}"),
    _plot("garden", "open trouble turn end", "plant=plant plant2=plant pest=pest remedy=remedy", "{pest}"),
    _plot("skill", "open trouble turn end", "skill=skill", "first lesson"),
    _plot("letter", "open turn end", "note=note note2=note password=password", "letter"),
    _plot("storm", "open trouble turn end", "flying=rag", "great storm"),
    _plot("promise", "open turn end", "", "broken promise"),
    _plot("noise", "open turn end", "noise=noise source=source", "noise in the night"),
    _plot("stage", "open trouble turn end", "hideout=hideout password=password noise=noise", "first performance"),
)


@cache
def mixups() -> tuple[tuple[str, ...], ...]:
    """Pairs of a thing meant and a thing taken for it."""
    return tuple(tuple(line.split(" = ")) for line in lexicon("story_wrong"))


class Draws(dict):
    """Slots drawn when a pattern first asks for them, and kept: a name stands for a word list or for a function of the pen."""

    def __init__(self, pen: Pen, makers: dict[str, str | Callable[[Pen], object]], **fixed: object):
        super().__init__(fixed)
        self.pen, self.makers = pen, makers

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or key in self.makers

    def __missing__(self, key: str) -> object:
        maker = self.makers[key]
        value = maker(self.pen) if callable(maker) else self.pen.pick(lexicon(maker))
        while value in self.values():   # two slots of one kind never hold the same word
            value = maker(self.pen) if callable(maker) else self.pen.pick(lexicon(maker))
        self[key] = value
        return value

    def say(self, where: str) -> str:
        """One filled pattern, tidied; what it draws stays for the next."""
        return tidy(self.pen.raw(where, self))


def cast(pen: Pen, count: int, visitors: float = 0.65) -> list[Person]:
    """People with different first names, a share of them visitors; the first two are seldom of one gender, to keep pronouns clear."""
    people: list[Person] = []
    while len(people) < count:
        person = pen.visitor() if pen.chance(visitors) else pen.person(adult=True)
        same = len(people) == 1 and person.gender == people[0].gender
        if any(person.first == other.first or person.last == other.last for other in people) or (same and pen.chance(0.7)):
            continue
        people.append(person)
    return people


MAKERS: dict[str, str | Callable[[Pen], object]] = {
    "place": Pen.place, "street": "street", "when": "story_when", "thing": "story_thing", "adj": "story_quality", "spot": "story_spot",
    "spot2": "story_spot", "noise2": "story_noise", "time": Pen.time, "code": Pen.code, "name": "product_name",
    "count": lambda pen: pen.number(12, 96), "points": lambda pen: pen.number(121, 499), "amount": lambda pen: pen.number(100, 950),
    "low": lambda pen: pen.pick(NUMBERS), "age": lambda pen: pen.number(19, 88), "place_number": lambda pen: pen.pick(PLACES_WON),
    "hidden": lambda pen: "",
}  # fmt: skip


@cache
def _makers(plot: Plot) -> dict[str, str | Callable[[Pen], object]]:
    return MAKERS | {slot: f"story_{name}" for slot, name in plot.lists}


def _slots(pen: Pen, plot: Plot) -> Draws:
    who, other, third = cast(pen, 3)
    right, wrong = pen.pick(mixups())
    slots = Draws(pen, _makers(plot), who=who, other=other, third=third, right=right, wrong=wrong)
    if "hideout" in slots:
        article, _, rest = slots["hideout"].partition(" ")
        slots["hidden"] = f"the {rest}" if article in ("a", "an") else slots["hideout"]
    return slots


def vary_names(pen: Pen, text: str, people: Sequence[Person]) -> str:
    """After the first full name of a person, some of the later ones become the first name or the title."""
    for person in people:
        head, *rest = text.split(str(person))
        text = head
        for at, piece in enumerate(rest):
            roll = pen.rng.random()
            text += (str(person) if at == 0 or roll < 0.5 else person.first if roll < 0.85 else person.title) + piece
    return text


def _stage(pen: Pen, where: str, told: str, slots: Draws) -> str:
    """One sentence or two; one that speaks of somebody or something not yet met is, if possible, replaced."""
    late = where.endswith(("_end", "moral", "feeling"))
    for _ in range(5):
        line = slots.say(where)
        unmet = [slots["other"].first] + [slots["third"].first] * late
        strange = any(name in line and name not in told for name in unmet)
        if not strange and not (late and slots["thing"] in line and slots["thing"] not in told):
            break
    return line


def _body(pen: Pen, plot: Plot, slots: Draws) -> list[str]:
    """The stages of the plot with a few general sentences between them."""
    stages = plot.stages.split()
    if len(stages) == 4 and pen.chance(0.2):
        stages.pop(pen.number(1, 2))
    lines = [slots.say(f"stories.{plot.name}_{stages[0]}")]
    if pen.chance(0.5):
        lines.insert(pen.number(0, 1), slots.say("stories.setting"))
    for at, stage in enumerate(stages[1:]):
        lines.append(_stage(pen, f"stories.{plot.name}_{stage}", " ".join(lines), slots))
        if at == 0 and pen.chance(0.35):   # a second sentence of the same middle stage, if it is another one
            line = _stage(pen, f"stories.{plot.name}_{stage}", " ".join(lines), slots)
            extra = set(line.split())
            if len(extra & set(lines[-1].split())) < 0.35 * len(extra):
                lines.append(line)
        if at == 0 and pen.chance(0.35):
            lines.append(_stage(pen, "stories.feeling", " ".join(lines), slots))
    if pen.chance(0.5):
        lines.append(_stage(pen, "stories.moral", " ".join(lines), slots))
    return lines


def _questions(pen: Pen, text: str, slots: Draws) -> str:
    """Two or three questions whose answers stand in the story."""
    asked: dict[str, str] = {}
    for _ in range(3):
        line = slots.say("stories.question")
        answer = line.partition("? ")[2].rstrip(".")
        if answer.lower() in text.lower():
            asked[answer] = line
    return "\n".join(asked.values())


def story(pen: Pen) -> str:
    """One story of three to ten sentences, sometimes with a title or with questions at its end."""
    plot = pen.pick(PLOTS)
    slots = _slots(pen, plot)
    lines = _body(pen, plot, slots)
    if pen.chance(0.25):   # two paragraphs
        middle = len(lines) // 2
        text = " ".join(lines[:middle]) + "\n" + " ".join(lines[middle:])
    else:
        text = " ".join(lines)
    text = vary_names(pen, tidy(text), [slots["who"], slots["other"], slots["third"]])
    if pen.chance(0.35):
        slots["title"] = plot.title.format_map(slots)
        text = slots.say("stories.title") + "\n" + text
    if pen.chance(0.2):
        text += "\n" + _questions(pen, text, slots)
    return text.strip()


GENRES = {"story": story}
