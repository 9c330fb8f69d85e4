"""Scenes of simple coloured shapes, and questions about them: true statements only, from a small grid.

The vocabulary is closed, so that a picture can be drawn for each scene and a vision-language model trained on it:

- colours: red, blue, green, yellow, black, white, orange, purple
- shapes: circle, square, triangle, star, heart, diamond
- sizes: small, medium, large
- grid: columns left, middle, right; rows top, middle, bottom; one shape a cell, no (colour, shape) twice in a scene.

`left of` and `right of` compare columns, `above` (`higher than`) and `below` (`lower than`) rows; `next to` and `beside`
mean neighbouring cells of one row or column; `in a row with` (`level with`) and `in a column with` mean the same row or
column. Only large neighbours overlap, and only when the text says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..pen import Pen
from .spoken import number_words

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "orange", "purple")
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond")
SIZES = ("small", "medium", "large")
CELLS = tuple((row, column) for row in range(3) for column in range(3))
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "middle", "right")


@dataclass(frozen=True)
class Shape:
    """One shape in its cell; prints as `red circle`."""

    colour: str
    shape: str
    size: str
    row: int
    column: int

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def full(self) -> str:
        """`small red circle`."""
        return f"{self.size} {self}"

    @property
    def cell(self) -> str:
        """Where it is, as in `in the {cell}`."""
        if self.row == self.column == 1:
            return "centre"
        if self.row != 1 and self.column != 1:
            return f"{_ROWS[self.row]} {_COLUMNS[self.column]} corner"
        return f"{_ROWS[self.row]} middle" if self.column == 1 else f"middle {_COLUMNS[self.column]}"


Scene = list[Shape]


def scene(pen: Pen, count: int | None = None) -> Scene:
    """Two to five shapes in different cells, no colour and shape together twice."""
    wanted = count or pen.number(2, 5)
    looks = pen.some([(colour, shape) for colour in COLOURS for shape in SHAPES], wanted)
    if pen.chance(0.3):   # a scene with one shape or colour several times, so that counting means something
        shared = looks[0]
        looks = [shared, *((colour, shared[1]) for colour in pen.some([c for c in COLOURS if c != shared[0]], wanted - 1))]
    if wanted >= 4 and pen.chance(0.5):
        looks[-1] = (looks[0][0], pen.pick([shape for shape in SHAPES if (looks[0][0], shape) not in looks]))
    cells = pen.some(CELLS, wanted)
    return [Shape(colour, shape, pen.pick(SIZES), *cell) for (colour, shape), cell in zip(looks, cells, strict=True)]


def relations(one: Shape, two: Shape) -> list[str]:
    """All that is true of where one shape is seen from another: names of pattern groups."""
    found = []
    down, across = one.row - two.row, one.column - two.column
    if across:
        found.append("left" if across < 0 else "right")
    if down:
        found.append("above" if down < 0 else "below")
    if down == 0:
        found.append("row")
    if across == 0:
        found.append("column")
    if abs(down) + abs(across) == 1:
        found.append("next")
    return found


_PHRASES = {
    "left": ("left of", "to the left of"), "right": ("right of", "to the right of"), "above": ("above", "higher than"),
    "below": ("below", "lower than"), "row": ("in a row with", "level with"), "column": ("in a column with",),
    "next": ("next to", "beside"),
}  # fmt: skip


def _overlapping(shapes: Scene) -> tuple[Shape, Shape] | None:
    """The first two large neighbours of a scene."""
    for one in shapes:
        for two in shapes:
            if one is not two and one.size == two.size == "large" and "next" in relations(one, two):
                return one, two
    return None


# What a text has said of two shapes: the first is left of (right of, above ...) the second.
Told = list[tuple[Shape, str, Shape]]


def describe(pen: Pen, shapes: Scene, style: int) -> tuple[str, Told]:
    """The whole scene: each shape with its cell (style 0), chained by relations (1), or listed and then placed (2).

    After style 0 everything is known; after the others only what is in the second value.
    """
    told: Told = []
    if style == 0:
        lines = [pen.say("shapes.placed", a=f"a {shape.full}", cell=shape.cell) for shape in shapes]
    elif style == 1:
        lines = [pen.say("shapes.first", a=f"a {shapes[0].full}", cell=shapes[0].cell)]
        for before, shape in pairwise(shapes):
            told.append((shape, pen.pick(relations(shape, before)), before))
            lines.append(pen.say("shapes.related", a=f"a {shape.full}", near=pen.pick(_PHRASES[told[-1][1]]), two=before))
    else:
        names = [f"a {shape.full}" for shape in shapes]
        listed = ", ".join(names[:-1]) + f" and {names[-1]}"
        lines = [pen.say("shapes.inventory", count=number_words(len(shapes)), listed=listed)]
        for _ in range(len(shapes) - 1):
            one, two = pen.some(shapes, 2)
            told.append((one, pen.pick(relations(one, two)), two))
            lines.append(both_ways(pen, *told[-1]))
    return " ".join(lines), told


_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above", "row": "row", "column": "column", "next": "next"}


def both_ways(pen: Pen, one: Shape, relation: str, two: Shape) -> str:
    """One relation, now and then from the other shape's point of view as well."""
    there, back = pen.pick(_PHRASES[relation]), pen.pick(_PHRASES[_OPPOSITE[relation]])
    return pen.say("shapes.both" if pen.chance(0.4) else "shapes.one_way", one=one, two=two, there=there, back=back)


# ---- questions ---------------------------------------------------------------------------------------------------


def question(pen: Pen, shapes: Scene, told: Told) -> tuple[str, str]:
    """A question that the text settles, and its reply; an empty `told` means that every cell is known."""
    kinds = (_ask_colour, _ask_size, _ask_count)
    if not told:
        kinds += (_ask_cell, _ask_any_relation, _ask_any_relation, _ask_which, _ask_which, _ask_which)
    while True:
        if told and pen.chance(0.6):
            return _ask_told(pen, *pen.pick(told))
        found = pen.pick(kinds)(pen, shapes)
        if found:
            return found


def _ask_colour(pen: Pen, shapes: Scene) -> tuple[str, str] | None:
    one = pen.pick(shapes)
    if sum(other.shape == one.shape for other in shapes) > 1:
        return None
    return pen.say("shapes.ask_colour", shape=one.shape, cell=one.cell), pen.say("shapes.say_value", value=one.colour, a=one)


def _ask_size(pen: Pen, shapes: Scene) -> tuple[str, str]:
    one = pen.pick(shapes)
    return pen.say("shapes.ask_size", one=one), pen.say("shapes.say_value", value=one.size, a=one)


def _ask_cell(pen: Pen, shapes: Scene) -> tuple[str, str]:
    one = pen.pick(shapes)
    return pen.say("shapes.ask_cell", one=one), pen.say("shapes.say_cell", one=one, cell=one.cell)


def _ask_count(pen: Pen, shapes: Scene) -> tuple[str, str]:
    kind = pen.number(0, 3)
    if kind == 0:
        name, count = "shapes", len(shapes)
    elif kind == 1:
        colour = pen.pick(shapes).colour if pen.chance(0.7) else pen.pick(COLOURS)
        name, count = f"{colour} shapes", sum(shape.colour == colour for shape in shapes)
    elif kind == 2:
        wanted = pen.pick(shapes).shape if pen.chance(0.7) else pen.pick(SHAPES)
        name, count = f"{wanted}s", sum(shape.shape == wanted for shape in shapes)
    else:
        size = pen.pick(SIZES)
        name, count = f"{size} shapes", sum(shape.size == size for shape in shapes)
    return pen.say("shapes.ask_count", name=name), f"{number_words(count).capitalize() if count else 'None'}."


def _ask_any_relation(pen: Pen, shapes: Scene) -> tuple[str, str]:
    one, two = pen.some(shapes, 2)
    true = relations(one, two)
    asked = pen.pick(true) if pen.chance(0.5) else pen.pick(tuple(_PHRASES))
    return _yes_no(pen, one, asked, two, asked if asked in true else true[0])


def _ask_told(pen: Pen, one: Shape, relation: str, two: Shape) -> tuple[str, str]:
    """Whether what was said is so, or its opposite, from either shape's point of view."""
    if pen.chance(0.5):
        one, relation, two = two, _OPPOSITE[relation], one
    return _yes_no(pen, one, pen.pick((relation, _OPPOSITE[relation])), two, relation)


def _yes_no(pen: Pen, one: Shape, asked: str, two: Shape, true: str) -> tuple[str, str]:
    phrase, fact = pen.pick(_PHRASES[asked]), pen.pick(_PHRASES[true])
    group = "shapes.yes" if asked == true else "shapes.no"
    return pen.say("shapes.ask_yes_no", one=one, two=two, near=phrase), pen.say(group, one=one, two=two, near=fact)


def _ask_which(pen: Pen, shapes: Scene) -> tuple[str, str]:
    """What is left of the green star? All of them, none, or the only one."""
    two, asked = pen.pick(shapes), pen.pick(("left", "right", "above", "below"))
    found = [f"the {shape}" for shape in shapes if shape is not two and asked in relations(shape, two)]
    phrase = pen.pick(_PHRASES[asked])
    if not found:
        return pen.say("shapes.ask_which", two=two, near=phrase), pen.say("shapes.say_nothing", two=two, near=phrase)
    reply = found[0] if len(found) == 1 else ", ".join(found[:-1]) + f" and {found[-1]}"
    return pen.say("shapes.ask_which", two=two, near=phrase), pen.say("shapes.say_which", reply=reply, two=two, near=phrase)


_LAYOUTS = ("{} {}", "Q: {}\nA: {}", "- {}\n- {}", "{}\n{}", '"{}" "{}"', "Question: {}\nReply: {}")


def _asked(pen: Pen, shapes: Scene, told: Told, count: int) -> str:
    layout, seen = pen.pick(_LAYOUTS), {}
    for _ in range(count):
        ask, reply = question(pen, shapes, told)
        seen.setdefault(ask, reply)
    return "\n".join(layout.format(ask, reply) for ask, reply in seen.items())


# ---- documents ---------------------------------------------------------------------------------------------------


def quiz(pen: Pen) -> str:
    """A scene and questions about it."""
    shapes = scene(pen)
    text, told = describe(pen, shapes, pen.number(0, 2))
    pair = _overlapping(shapes)
    if pair and pen.chance(0.7):
        text += " " + pen.say("shapes.overlap", one=pair[0], two=pair[1])
    out = [text]
    if pen.chance(0.6):
        out.insert(0, pen.say("shapes.opening", who=pen.visitor(), code=pen.code(), number=pen.number(2, 99)))
    return "\n".join([*out, _asked(pen, shapes, told, pen.number(2, 6))])


def captions(pen: Pen) -> str:
    """Several numbered pictures in a line or two each, then one is asked for by its number."""
    numbers = pen.some(range(1, 1000), pen.number(3, 5))
    scenes = [scene(pen, pen.number(2, 3)) for _ in numbers]
    descriptions = [describe(pen, shapes, pen.number(0, 2)) for shapes in scenes]
    lines = [f"Picture {number}: {text}" for number, (text, _) in zip(numbers, descriptions, strict=True)]
    chosen = pen.number(0, len(numbers) - 1)
    text, told = descriptions[chosen]
    lines.append(pen.say("shapes.recall", number=numbers[chosen], who=pen.visitor()) + f" {text}")
    return "\n".join([*lines, *question(pen, scenes[chosen], told)])


def moved(pen: Pen) -> str:
    """A scene, one shape moved to a free cell, and what is true then."""
    shapes = scene(pen, pen.number(2, 4))
    which = pen.number(0, len(shapes) - 1)
    old = shapes[which]
    free = [cell for cell in CELLS if all((shape.row, shape.column) != cell for shape in shapes)]
    new = Shape(old.colour, old.shape, old.size, *pen.pick(free))
    after = [*shapes[:which], new, *shapes[which + 1 :]]
    before, _ = describe(pen, shapes, 0)
    said = [before, pen.say("shapes.move", one=old, cell=new.cell, old=old.cell, who=pen.visitor())]
    said += [both_ways(pen, new, pen.pick(relations(new, other)), other) for other in after if other is not new]
    return " ".join(said) + "\n" + _asked(pen, after, [], pen.number(2, 4))


def shapes(pen: Pen) -> str:
    """Any of the documents above."""
    return pen.pick((quiz, quiz, quiz, captions, moved))(pen)


GENRES = {"shapes": shapes}
