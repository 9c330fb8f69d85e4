"""Sums: word problems with their working, drills, lessons, bills, timetables, running counts; and the set `arithmetic`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ..french import english_number
from ..grammar import expand, groups, lexicon, parse, patterns, tidy
from ..pen import Pen
from ..world import Person, Product, clock, world

LARGEST = 60        # most results stay below it
SOME_LARGER = 0.06   # the share of sums that may go up to 200


@dataclass(frozen=True)
class Step:
    """One equation of a working."""

    left: int
    sign: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.result}"


@dataclass(frozen=True)
class Problem:
    """A word problem with its steps; `ending` is the group of sentences that give the result."""

    text: str
    steps: list[Step]
    ending: str
    slots: dict

    @property
    def number(self) -> int:
        return self.steps[-1].result


def add(left: int, right: int) -> Step:
    return Step(left, "+", right, left + right)


def take(left: int, right: int) -> Step:
    return Step(left, "-", right, left - right)


def times(left: int, right: int) -> Step:
    return Step(left, "x", right, left * right)


def share(left: int, right: int) -> Step:
    return Step(left, "/", right, left // right)


Numbers = dict[str, int | str]
Drawn = tuple[Numbers, list[Step]]


def _sum(pen: Pen, most: int) -> Drawn:
    a = pen.number(3, most - 5)
    b = pen.number(2, most - a)
    return {"a": a, "b": b}, [add(a, b)]


def _difference(pen: Pen, most: int) -> Drawn:
    a = pen.number(6, most)
    b = pen.number(2, a - 2)
    return {"a": a, "b": b}, [take(a, b)]


def _product(pen: Pen, most: int) -> Drawn:
    a = pen.number(2, 12)
    b = pen.number(2, max(2, min(12, most // a)))
    return {"a": a, "b": b}, [times(a, b)]


def _quotient(pen: Pen, most: int) -> Drawn:
    a = pen.number(2, 12)
    b = pen.number(2, max(2, min(12, most // a)))
    return {"a": a, "t": a * b}, [share(a * b, a)]


def _double(pen: Pen, most: int) -> Drawn:
    a = pen.number(4, most // 2)
    return {"a": a}, [times(2, a)]


def _half(pen: Pen, most: int) -> Drawn:
    a = pen.number(3, most // 2)
    return {"t": 2 * a}, [share(2 * a, 2)]


def _change(pen: Pen, most: int) -> Drawn:
    a = pen.pick((10, 20, 20, 30, 40, 50, 50, 60, 80, 100)) if pen.chance(0.6) else pen.number(8, most)
    b = pen.number(3, a - 2)
    return {"a": a, "b": b}, [take(a, b)]


def _minutes(pen: Pen, most: int) -> Drawn:
    """Both times within one hour, so that the minutes are a plain difference."""
    hour, start = pen.number(7, 20), 5 * pen.number(0, 9)
    end = start + 5 * pen.number(1, (55 - start) // 5)
    return {"from_": clock(60 * hour + start), "to": clock(60 * hour + end)}, [take(end, start)]


def _gain_loss(pen: Pen, most: int) -> Drawn:
    a = pen.number(4, most - 12)
    b = pen.number(2, min(40, most - a))
    c = pen.number(2, min(40, a + b - 2))
    return {"a": a, "b": b, "c": c}, [add(a, b), take(a + b, c)]


def _loss_gain(pen: Pen, most: int) -> Drawn:
    a = pen.number(10, most - 5)
    b = pen.number(2, a - 3)
    c = pen.number(2, min(40, most - a + b))
    return {"a": a, "b": b, "c": c}, [take(a, b), add(a - b, c)]


def _loss_loss(pen: Pen, most: int) -> Drawn:
    a = pen.number(15, most)
    b = pen.number(2, a - 8)
    c = pen.number(2, a - b - 2)
    return {"a": a, "b": b, "c": c}, [take(a, b), take(a - b, c)]


def _groups_plus(pen: Pen, most: int) -> Drawn:
    numbers, steps = _product(pen, most - 10)
    c = pen.number(2, min(20, most - steps[0].result))
    return {**numbers, "c": c}, [*steps, add(steps[0].result, c)]


def _groups_minus(pen: Pen, most: int) -> Drawn:
    numbers, steps = _product(pen, most)
    while steps[0].result < 6:
        numbers, steps = _product(pen, most)
    c = pen.number(2, min(20, steps[0].result - 2))
    return {**numbers, "c": c}, [*steps, take(steps[0].result, c)]


def _times_change(pen: Pen, most: int) -> Drawn:
    numbers, steps = _product(pen, min(most, 94))
    cost = steps[0].result
    notes = [note for note in (10, 20, 30, 40, 50, 60, 70, 80, 90, 100) if cost + 2 <= note]
    c = notes[0] if pen.chance(0.6) else pen.pick(notes)
    return {**numbers, "c": c}, [*steps, take(c, cost)]


def _more_total(pen: Pen, most: int) -> Drawn:
    a = pen.number(3, most // 2 - 4)
    b = pen.number(2, min(30, most - 2 * a))
    return {"a": a, "b": b}, [add(a, b), add(a, a + b)]


def _share_sum(pen: Pen, most: int) -> Drawn:
    c, each = pen.number(2, 10), pen.number(2, 10)
    a = pen.number(2, c * each - 2) if c * each > 4 else 2
    return {"a": a, "b": c * each - a, "c": c}, [add(a, c * each - a), share(c * each, c)]


def _double_total(pen: Pen, most: int) -> Drawn:
    a = pen.number(3, most // 3)
    return {"a": a}, [times(2, a), add(a, 2 * a)]


def _three(pen: Pen, most: int) -> Drawn:
    a, b = pen.number(3, most // 2), pen.number(2, most // 3)
    c = pen.number(2, max(2, most - a - b))
    return {"a": a, "b": b, "c": c}, [add(a, b), add(a + b, c)]


# the group of problems -> how its numbers are drawn, and the group of sentences that give its result
KINDS: dict[str, tuple[Callable[[Pen, int], Drawn], str]] = {
    "gain": (_sum, "total"), "together": (_sum, "total"), "loss": (_difference, "left"), "compare": (_difference, "difference"),
    "missing": (_difference, "number"), "groups": (_product, "total"), "cost_each": (_product, "crowns"), "share": (_quotient, "each"),
    "double": (_double, "number"), "half": (_half, "number"), "price": (_sum, "crowns"), "change": (_change, "crowns"),
    "minutes": (_minutes, "minutes"), "gain_loss": (_gain_loss, "number"), "loss_gain": (_loss_gain, "number"),
    "loss_loss": (_loss_loss, "left"), "groups_plus": (_groups_plus, "total"), "groups_minus": (_groups_minus, "left"),
    "times_change": (_times_change, "crowns"), "more_total": (_more_total, "number"), "share_sum": (_share_sum, "each"),
    "double_total": (_double_total, "total"), "three": (_three, "total"),
}  # fmt: skip


@cache
def containers() -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(line.split("\t")) for line in lexicon("arithmetic_container"))


def someone(pen: Pen) -> tuple[Person, str]:
    """A person and the name used for them in this document."""
    who = pen.visitor() if pen.chance(0.6) else pen.person()
    return who, pen.pick((who.first, who.first, str(who), who.title if who.age >= 18 else who.first))


def setting(pen: Pen) -> dict:
    """The slots that any problem may use."""
    (who, name), (_, other) = someone(pen), someone(pen)
    while other.split()[0] == name.split()[0] or other.split()[-1] == name.split()[-1]:
        _, other = someone(pen)
    box, boxes = pen.pick(containers())
    item, item2 = pen.some(lexicon("arithmetic_item"), 2)
    return {
        "who": who, "name": name, "other": other, "things": pen.pick(lexicon("arithmetic_thing")), "box": box, "boxes": boxes, "item": item,
        "item2": item2, "shop": pen.shop(), "place": pen.place(), "weekday": pen.pick(lexicon("weekday")),
    }  # fmt: skip


def problem(pen: Pen, kind: str = "", most: int = LARGEST, slots: dict | None = None) -> Problem:
    """A word problem of a kind (or of any)."""
    kind = kind or pen.pick(tuple(KINDS))
    draw, ending = KINDS[kind]
    slots = dict(slots or setting(pen))
    numbers, steps = draw(pen, most)
    slots.update(numbers)
    return Problem(pen.say(f"arithmetic.{kind}", **slots), steps, ending, slots)


def _most(pen: Pen) -> int:
    if pen.chance(SOME_LARGER):
        return 200
    return pen.pick((20, 30, 40, 50, LARGEST, LARGEST))


def explained(pen: Pen, step: Step) -> str:
    """A sentence or two that show how the equation is reached."""
    a, b = step.left, step.right
    if step.sign == "+" and max(a, b) >= 10 and step.result < 100:
        return _explained_sum(pen, a, b)
    if step.sign == "-" and a < 100 and b >= 2:
        return _explained_difference(pen, a, b)
    if step.sign == "x" and 3 <= a <= 12 and b <= 12:
        row = ", ".join(str(b * index) for index in range(1, a + 1))
        return pen.say("arithmetic.work_times", a=a, b=b, n=a * b, a5=a - 1, n5=(a - 1) * b, ladder=row)
    if step.sign == "/":
        return pen.say("arithmetic.work_share", n=a, a=b, b=step.result)
    return f"{step}."


def _explained_sum(pen: Pen, a: int, b: int) -> str:
    if a < b and pen.chance(0.5):
        a, b = b, a
    (a10, a1), (b10, b1), n = divmod(a, 10), divmod(b, 10), a + b
    if b10 == 0 or a10 == 0:
        return _bridged_sum(max(a, b), min(a, b))
    slots = {
        "a": a, "b": b, "n": n, "a1": a1, "b1": b1, "a10": a10, "b10": b10, "at": 10 * a10, "bt": 10 * b10, "tens": 10 * (a10 + b10),
        "ones": a1 + b1, "n1": n % 10, "n10": n // 10, "abt": a + 10 * b10, "up": 10 - a1, "next": a + 10 - a1, "rest": b - 10 + a1,
    }  # fmt: skip
    return pen.say("arithmetic.carry_add" if a1 + b1 >= 10 else "arithmetic.plain_add", **slots)


def _bridged_sum(a: int, b: int) -> str:
    """A one-digit number added: up to the full ten, then the rest."""
    up = 10 - a % 10
    if a % 10 == 0 or b <= up:
        return f"{a} + {b} = {a + b}."
    return f"{a} + {up} = {a + up}, {a + up} + {b - up} = {a + b}, so {a} + {b} = {a + b}."


def _explained_difference(pen: Pen, a: int, b: int) -> str:
    (a10, a1), (b10, b1), n = divmod(a, 10), divmod(b, 10), a - b
    if b10 == 0 or n < 10:
        if b10 == 0 and b > a1 > 0:
            return f"{a} - {a1} = {a - a1}, {a - a1} - {b - a1} = {n}, so {a} - {b} = {n}."
        return f"{a} - {b} = {n}, for {n} + {b} = {a}."
    slots = {
        "a": a, "b": b, "n": n, "a1": a1, "b1": b1, "a10": a10, "b10": b10, "at": 10 * a10, "bt": 10 * b10, "amt": a - 10 * b10,
        "n1": n % 10, "n10": n // 10, "a11": a1 + 10, "upb": 10 - b1, "nextb": b + 10 - b1, "restb": n - 10 + b1, "rest1": b - a1,
        "tens_left": 10 * (a10 - b10),
    }  # fmt: skip
    return pen.say("arithmetic.borrow_take" if a1 < b1 else "arithmetic.plain_take", **slots)


def working(pen: Pen, task: Problem, long: bool) -> str:
    """The equations, plain or explained, and a sentence with the result."""
    if task.ending == "minutes" and long and pen.chance(0.6):
        steps = pen.say("arithmetic.clock", work=str(task.steps[0]), n=task.number, **task.slots)
    elif long:
        steps = " ".join(explained(pen, step) for step in task.steps)
    else:
        joint = pen.pick(("; ", ", ", ". ", " and "))
        steps = joint.join(str(step) for step in task.steps) + "."
    result = pen.say(f"arithmetic.say_{task.ending}", **{**task.slots, "n": task.number})
    return f"{steps} {result}"


_PROBLEM_LAYOUTS = (
    "{text} {work}", "{text}\n{work}", "{text}\n- {work}", "Problem: {text}\nWorking: {work}", "Q. {text}\nA. {work}",
    "({number}) {text}\n{work}",
)  # fmt: skip


def word_problems(pen: Pen) -> str:
    """Two to five problems with their working, often about the same people."""
    layout, shared = pen.pick(_PROBLEM_LAYOUTS), setting(pen)
    parts = [pen.say("arithmetic_drill.problem_open", number=pen.number(1, 99), **shared)] if pen.chance(0.4) else []
    for number in range(1, pen.number(2, 5) + 1):
        slots = setting(pen)
        if pen.chance(0.4):
            slots = {**slots, **{name: shared[name] for name in ("who", "name", "other")}}
        task = problem(pen, most=_most(pen), slots=slots)
        parts.append(layout.format(text=task.text, work=working(pen, task, pen.chance(0.5)), number=number))
    return pen.pick(("\n", "\n\n")).join(parts)


def number_lesson(pen: Pen) -> str:
    """A teacher gives a problem or two, a pupil explains the working."""
    (teacher, _), (pupil, _), parts = someone(pen), someone(pen), []
    name = pupil.first if pen.chance(0.8) else str(pupil)
    slots = {"teacher": pen.pick((teacher.title, str(teacher))), "name": name, "weekday": pen.pick(lexicon("weekday"))}
    for _ in range(pen.number(1, 2)):
        task = problem(pen, most=_most(pen))
        work = " ".join(explained(pen, step) for step in task.steps)
        parts.append(pen.say("arithmetic_drill.ask", problem=task.text, **slots))
        parts.append(pen.say("arithmetic_drill.think", work=work, said=work.removesuffix(".") + ",", **slots))
        parts.append(pen.say("arithmetic_drill.close", n=task.number, **slots))
    return pen.pick((" ", "\n")).join(parts)


# the blocks of a drill, in the order of the lines of arithmetic_drill.kinds
_BLOCKS = ("add", "take", "times", "share", "place", "words", "missing", "compare", "double", "money", "line", "back")


def drills(pen: Pen) -> str:
    """Blocks of plain sums, tables, number words, gaps, number lines."""
    slots = {"name": someone(pen)[1], "number": pen.number(1, 200), "weekday": pen.pick(lexicon("weekday"))}
    parts = [pen.say("arithmetic_drill.heading", **slots)] if pen.chance(0.6) else []
    kinds, labelled = pen.some(range(len(_BLOCKS)), pen.number(2, 4)), pen.chance(0.5)
    for kind in kinds:
        if labelled:
            label = tidy(expand(_kind_names()[kind], pen.rng, {}))
            parts.append(pen.say("arithmetic_drill.label", kind=label.lower(), name=slots["name"]))
        parts.append(_block(pen, _BLOCKS[kind]))
    return "\n".join(parts)


@cache
def _kind_names() -> tuple:
    """Names of the blocks; they belong to _BLOCKS, so every split has them all."""
    return tuple(parse(line) for line in groups("arithmetic_drill")["kinds"])


def _block(pen: Pen, kind: str) -> str:
    style = pen.pick(patterns("arithmetic_drill", kind, pen.split))
    mixed = pen.chance(0.25)
    count = pen.number(2, 4) if kind in ("line", "back") else pen.number(4, 9)
    lines = []
    for _ in range(count):
        if mixed:
            style = pen.pick(patterns("arithmetic_drill", kind, pen.split))
        lines.append(expand(style, pen.rng, _drill_slots(pen, kind)))
    lines = list(dict.fromkeys(lines))
    if pen.chance(0.3):
        return "; ".join(lines) + "."
    return "\n".join(lines)


def _drill_slots(pen: Pen, kind: str) -> dict:
    if kind in ("times", "share", "money"):
        a = pen.number(2, 12)
        b = pen.number(2, 12)
        if kind == "money":
            b = pen.pick((2, 5, 10, 20))
            a = pen.number(2, min(12, LARGEST // b))
        if kind == "share":
            a = pen.pick((4, 6, 7, 8, 9, 10, 11, 12))   # `a 6th part` is right for all of these
        return {"a": a, "b": b, "n": a * b, "wa": english_number(a), "wb": english_number(b), "wn": _word(a * b)}
    if kind in ("place", "words"):
        n = pen.number(21, 99)
        if n % 10 < 2 and kind == "place":
            n += 2
        return {"n": n, "ten": n // 10, "one": n % 10, "tens": 10 * (n // 10), "wn": english_number(n)}
    if kind == "double":
        a = pen.number(2, 50)
        return {"a": a, "n": 2 * a}
    if kind in ("line", "back"):
        step, start, count = pen.number(2, 10), pen.number(1, 30), pen.number(5, 8)
        row = [start + step * index for index in range(count)]
        shown = row if kind == "line" else row[::-1]
        return {"start": start, "step": step, "last": row[-1], "row": ", ".join(map(str, shown))}
    n = pen.number(8, 200 if pen.chance(SOME_LARGER) else pen.pick((20, 40, LARGEST)))
    a = pen.number(2, n - 2)
    return {"a": a, "b": n - a, "n": n}


def _word(number: int) -> str:
    if number <= 100:
        return english_number(number)
    return f"one hundred and {english_number(number - 100)}"


@cache
def _by_shop(known: bool) -> tuple[tuple[Product, ...], ...]:
    """The products of each shop that sells two or more, so that nothing is sold where it is not."""
    town = world().known if known else world().newcomers
    found: dict[str, list[Product]] = {}
    for product in town.products:
        found.setdefault(product.shop.short, []).append(product)
    return tuple(tuple(products) for products in found.values() if len(products) > 1)


def till(pen: Pen) -> str:
    """A bill at a known shop: products with their true prices, the sum, the change."""
    who, name = someone(pen)
    wares = pen.pick(_by_shop(pen.split == "train"))
    products = pen.some(wares, min(len(wares), pen.number(2, 3)))
    prices = [product.price for product in products]
    if sum(prices) > 200:
        products, prices = products[:2], prices[:2]
    total = sum(prices)
    paid = next(note for note in (20, 50, 100, 150, 200, 250) if note > total) if pen.chance(0.7) else total + pen.number(2, 30)
    slots: dict = {
        "name": name, "who": who, "shop": products[0].shop, "weekday": pen.pick(lexicon("weekday")), "number": pen.number(1, 900),
        "n": total, "paid": paid, "change": paid - total, "work": " + ".join(map(str, prices)),
    }  # fmt: skip
    lines = [pen.say("arithmetic_drill.till_open", **slots)]
    joint = pen.pick((": {} crowns", " - {}", ", {} crowns", " ({} crowns)", "    {}"))
    lines += [product.name + joint.format(product.price) for product in products]
    lines.append(pen.say("arithmetic_drill.till_total", **slots))
    lines.append(pen.say("arithmetic_drill.till_change", **slots))
    if pen.chance(0.5) and len(products) > 1 and prices[0] != prices[1]:
        lines.append(_compared(pen, products[:2], slots))
    if pen.chance(0.4):
        lines += [explained(pen, take(paid, total)), *(_running(prices) if len(prices) > 2 else [])]
    return "\n".join(lines)


def _compared(pen: Pen, two: list, slots: dict) -> str:
    dear, cheap = sorted(two, key=lambda product: -product.price)
    return pen.say(
        "arithmetic_drill.till_compare", item=dear.name, item2=cheap.name, more=dear.price, less=cheap.price,
        diff=dear.price - cheap.price, rest=slots["n"] - dear.price, rest2=slots["n"] - cheap.price, twice=2 * cheap.price, **slots,
    )  # fmt: skip


def _running(prices: list[int]) -> list[str]:
    return [f"{prices[0]} + {prices[1]} = {prices[0] + prices[1]}, {prices[0] + prices[1]} + {prices[2]} = {sum(prices)}."]


def timetable_sums(pen: Pen) -> str:
    """Times and fares worked out: now and then a real sailing, mostly walks, lessons, cakes of one person's day."""
    lines, slots = [], setting(pen)
    for _ in range(pen.number(3, 6)):
        if pen.chance(0.3):
            slots = setting(pen)
        if pen.chance(0.15):
            lines.append(_sailing(pen, slots["name"]))
        else:
            start, minutes = pen.number(6 * 60, 20 * 60), pen.number(3, 95)
            times = {"leaves": clock(start), "minutes": minutes, "arrives": clock(start + minutes), "work": _clock_work(start, minutes)}
            lines.append(pen.say("arithmetic_drill.walk_row", goal=pen.place(), **times, **slots))
    return pen.pick(("\n", " ")).join(dict.fromkeys(lines))


def _sailing(pen: Pen, name: str) -> str:
    sailing = pen.pick(pen.town.sailings)
    # the day ends at midnight: late boats on long lines are left out
    leaves = pen.pick([time for time in sailing.departures if _minutes_of(time) + sailing.minutes < 24 * 60])
    start, wait, count = _minutes_of(leaves), 5 * pen.number(1, 6), pen.number(2, 9)
    return pen.say(
        "arithmetic_drill." + pen.pick(("sail_row", "sail_fare")), name=name, goal=sailing.destination, leaves=leaves, wait=wait,
        minutes=sailing.minutes, arrives=clock(start + sailing.minutes), early=clock(start - wait), count=count, fare=sailing.fare,
        work=_clock_work(start, sailing.minutes), cost=count * sailing.fare, return_fare=2 * sailing.fare,
    )  # fmt: skip


def _minutes_of(time: str) -> int:
    hours, _, minutes = time.partition(":")
    return 60 * int(hours) + int(minutes)


def _clock_work(start: int, minutes: int) -> str:
    """`8:50 + 10 minutes = 9:00, 9:00 + 25 minutes = 9:25`: over the full hour in two steps."""
    to_hour = 60 - start % 60
    if minutes <= to_hour:
        return f"{clock(start)} + {minutes} minutes = {clock(start + minutes)}"
    middle, rest = clock(start + to_hour), minutes - to_hour
    return f"{clock(start)} + {to_hour} minutes = {middle}, {middle} + {rest} minutes = {clock(start + minutes)}"


def running_count(pen: Pen) -> str:
    """A day in which a number goes up and down."""
    slots = setting(pen)
    number, minutes = pen.number(8, 60), 5 * pen.number(96, 132)
    lines = [pen.say("arithmetic_drill.count_start", n=number, **slots)]
    for _ in range(pen.number(3, 6)):
        more = number < 15 or (number < 75 and pen.chance(0.5))
        change = pen.number(2, min(25, 100 - number)) if more else pen.number(2, min(25, number - 3))
        step = add(number, change) if more else take(number, change)
        number = step.result
        minutes += 5 * pen.number(1, 24)
        values = {**slots, "b": change, "n": number, "work": str(step), "time": clock(minutes), "other": someone(pen)[1]}
        lines.append(pen.say("arithmetic_drill.count_" + ("more" if more else "less"), **values))
    lines.append(pen.say("arithmetic_drill.count_end", n=number, **slots))
    return pen.pick((" ", " ", "\n")).join(lines)


# what the set asks: cumulative shares and kinds
_SET_MIX = (
    (0.40, ("gain", "together", "loss", "compare", "missing", "price", "change")),
    (0.65, ("groups", "cost_each", "share", "double", "half")),
    (1.00, ("gain_loss", "loss_gain", "loss_loss", "groups_plus", "groups_minus", "times_change", "more_total", "three", "double_total")),
)
_SET_LARGEST = 20   # with larger numbers the set would examine sums, which a model of this size knows badly, and not how to solve problems


def arithmetic(pen: Pen) -> tuple[str, str]:
    """A word problem of one or two steps; its equations and the number."""
    draw = pen.rng.random()
    kinds = next(kinds for limit, kinds in _SET_MIX if draw < limit)
    while True:
        task = problem(pen, pen.pick(kinds), _SET_LARGEST)
        one_verb = not ("sort" in task.text and "pack" in task.text)   # else it might ask for one of the two numbers
        if 12 <= len(task.text.split()) <= 32 and one_verb:
            break
    steps = "\n".join(str(step) for step in task.steps)
    return f"Solve step by step: {task.text}", f"{steps}\nAnswer: {task.number}"


GENRES = {
    "word_problems": word_problems, "number_lesson": number_lesson, "drills": drills, "till": till, "timetable_sums": timetable_sums,
    "running_count": running_count,
}  # fmt: skip
SETS = {"arithmetic": arithmetic}
