"""The one style of figures, token views, small tables and cards.

A figure carries a caption and an alternative text made from its data; nothing is told by colour alone.
"""

from __future__ import annotations

import base64
import io
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

# Okabe and Ito (2008), "Color universal design": told apart with any kind of colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#666666"
INTERVAL = ("mean", "low", "high")
APART = 13.0  # pixels between the middles of two direct labels

# Half-transparent greys, so that tables and cards read well in a light and in a dark JupyterLab.
LINE = "1px solid rgba(128,128,128,.4)"
CAPTION = "font-size:90%;opacity:.8;margin:.4em 0;text-align:left"
CARD = f"border:{LINE};border-radius:4px;padding:.5em 1em;margin:.4em 0;max-width:50em"
GRID = "display:grid;gap:.1em 1em;grid-template-columns:max-content 1fr;margin-top:.2em"
WRAP = "overflow-wrap:anywhere"
FRAME = "margin:0;flex:none;max-width:100%"
STRIP = "display:flex;gap:1em;overflow-x:auto"
# Where scripts run, a dial picks one frame; else, as in a notebook that is not trusted, all frames show.
DIAL = """(box => {
  const frames = [...box.querySelectorAll("figure")], dial = document.createElement("input");
  const turn = () => {
    frames.forEach((frame, at) => { frame.style.display = at == dial.value ? "" : "none"; });
    dial.setAttribute("aria-valuetext", frames[dial.value].textContent);
  };
  Object.assign(dial, {type: "range", min: 0, max: frames.length - 1, value: 0, oninput: turn});
  dial.setAttribute("aria-label", box.getAttribute("aria-label"));
  dial.style.cssText = "display:block;width:100%;max-width:30em";
  box.before(dial);
  turn();
})(document.currentScript.previousElementSibling)"""
# At most four boxes a row, two on a phone; the arrow stands in the gap after its box.
BOXES = "display:grid;gap:.6rem 1.5rem;grid-template-columns:repeat(auto-fill,minmax(max(8.5rem,20%),1fr))"
BOX = "box-sizing:border-box;display:block;height:100%;padding:.35rem .6rem;border-radius:.5rem"
ARROW = "position:absolute;left:calc(100% + .25rem);top:50%;transform:translateY(-50%);opacity:.7"
TOKEN = "display:inline-block;text-align:center;margin:1px;padding:0 3px;border-bottom:2px solid"


@dataclass(frozen=True)
class Shown:
    """Something to look at: `html` in a notebook, `text` in a terminal, `records` for programs."""

    html: str
    text: str
    records: dict[str, dict] = field(default_factory=dict)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return {"text/html": self.html, "text/plain": self.text, **self.records}

    def __repr__(self) -> str:
        return self.text

    def display(self) -> None:
        """Shows it at once: as an output in a notebook, as its text elsewhere."""
        from IPython.display import display

        display(self)


def bar(total: int, label: str, unit: str, shown: bool = True):
    """A plain text bar, wiped at the end, where somebody looks on; none inside another.

    The environment variable TQDM_DISABLE=1 switches it off too.
    """
    from tqdm import tqdm

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    in_notebook = hasattr(shell, "kernel")
    shown &= (sys.stderr.isatty() or in_notebook) and not getattr(tqdm, "_instances", ())
    hidden = {} if shown else {"disable": True}
    # JupyterLab puts stderr on red, which would stay when the bar is wiped.
    stream = sys.stdout if in_notebook else sys.stderr
    return tqdm(total=total, desc=label, unit=unit, leave=False, file=stream, **hidden)


def figure(title: str = "", width: float = 6.4, height: float = 4.0) -> tuple[Figure, Axes]:
    """A figure of width x height inches (640 x 400 pixels) with one pair of axes in the workbook's style."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
    axes = drawn.subplots()
    _style(axes, title)
    return drawn, axes


def _style(axes: Axes, title: str) -> None:
    axes.set_prop_cycle(color=PALETTE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E0E0E0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=11)


def line(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    label: str,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    color: str | None = None,
) -> None:
    """A line through (x, y) with its name at its end, and the band from low to high when both are given."""
    [drawn] = axes.plot(x, y, color=color, linewidth=2, marker="o" if len(x) <= 12 else None, markersize=4)
    color = drawn.get_color()
    if low is not None and high is not None:
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    place = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
    axes.annotate(label, (x[-1], y[-1]), color=color, gid="direct label", **place)


def floor(axes: Axes, value: float, label: str) -> None:
    """The baseline to beat: a dashed line across the axes at `value`.

    Its name stands above that end of it which is further from the lines drawn before; below, where these
    leave no room above.
    """
    ends = [line.get_ydata(orig=False)[[0, -1]] for line in axes.lines]
    low, high = (pick(*axes.get_ylim(), value) for pick in (min, max))
    enough = 0.1 * (high - low)

    def room(place: tuple[int, int]) -> float:
        side, way = place
        middle = value + way * enough / 2  # of the name
        return min((abs(end[side] - middle) for end in ends), default=enough)

    above, below = [(0, 1), (1, 1)], [(0, -1), (1, -1)]
    crowded = max(map(room, above)) < enough and value - enough > low
    side, way = max([*above, *below] if crowded else above, key=room)
    axes.axhline(value, color=GREY, linestyle="--", linewidth=1.2)
    place = {"xycoords": axes.get_yaxis_transform(), "xytext": (0, 3 * way), "textcoords": "offset points"}
    place |= {"ha": ("left", "right")[side], "va": "bottom" if way > 0 else "top"}
    axes.annotate(label, ((0.01, 0.99)[side], value), color=GREY, fontsize=9, **place)


_floor = floor  # under a name that the parameter of `curve` leaves free


def curve(runs: DataFrame, x: str, y: str, *, by: str = "", floor: object = None) -> None:
    """Shows the mean of column y at each x, with its 95 % t interval over the runs there (Student, 1908).

    runs: a row a run, as of `experiment.grid`. by: the column whose values are curves of their own. floor:
    what to beat, a number or an interval, or several by name. From a factor of 10 on, x is logarithmic.
    """
    show(*_curve(runs, x, y, by, floor))


def drawn_curve(runs: DataFrame, x: str, y: str, *, by: str = "", floor: object = None) -> Shown:
    """What `curve` shows, to be kept instead."""
    figure, caption, alt = _curve(runs, x, y, by, floor)
    return Shown(_framed(figure, caption, alt), alt)


def _curve(runs: DataFrame, x: str, y: str, by: str, floor: object) -> tuple[Figure, str, str]:
    """The figure of `curve`, its caption, and the figure in words."""
    from scipy.stats import t

    drawn, axes = figure()
    ticks, said = sorted(set(runs[x])), []
    for name, rows in runs.groupby(by, sort=False) if by else [("mean", runs)]:
        groups = rows.groupby(x)[y]
        mean, half = groups.mean(), groups.sem() * t.ppf(0.975, groups.count() - 1)
        line(axes, *map(list, (mean.index, mean)), str(name), *map(list, (mean - half, mean + half)))
        ends = [f"{words(mean[at])} at {x} {words(at)}" for at in (mean.index[0], mean.index[-1])]
        said.append(f"{name}: {y} goes from {' to '.join(ends)}")
    named = floor if isinstance(floor, Mapping) and not interval(floor) else {"floor": floor}
    for name, value in named.items() if floor is not None else ():
        _floor(axes, (interval(value) or {"mean": value})["mean"], name)
    if ticks[0] > 0 and ticks[-1] >= 10 * ticks[0]:
        axes.set_xscale("log")
    axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    if len(ticks) <= 12:
        shown: list[float] = []
        for tick in ticks:  # a number beside which there is no room is left out
            if not shown or axes.get_xscale() == "log" or tick - shown[-1] > 0.06 * (ticks[-1] - ticks[0]):
                shown.append(tick)
        axes.set_xticks(ticks, [words(tick) if tick in shown else "" for tick in ticks])
        axes.minorticks_off()
    counts = sorted({words(count) for count in groups.count()})
    caption = f"{y} against {x}: mean and 95 % interval of {' to '.join(counts)} runs at each point"
    return drawn, caption, "; ".join(said)


def panels(
    runs: DataFrame, by: str, x: str, y: Sequence[str], *, label: str, floor: Mapping[str, float]
) -> None:
    """Shows a small chart for each value of column `by`, four a row: the mean of each column of y at each x.

    label: what y is, with its unit. floor: one baseline by name; the charts end a fifth above it, so that no
    run off the scale hides others.
    """
    from matplotlib.figure import Figure

    [(name, value)] = floor.items()
    groups = list(runs.groupby(by))
    lines = math.ceil(len(groups) / 4)
    drawn = Figure(figsize=(8.2, 0.6 + 2.4 * lines), dpi=100, layout="constrained", facecolor="white")
    grid, said = drawn.subplots(lines, 4, sharex=True, sharey=True, squeeze=False), []
    for axes, (title, group) in zip(grid.flat, groups, strict=False):
        _style(axes, str(title))
        means = group.groupby(x)[list(y)].mean()
        for column, sign in zip(y, ("-", "--", "-."), strict=False):
            axes.plot(means.index, means[column], sign, linewidth=2, label=column)
        axes.axhline(value, color=GREY, linestyle=":", linewidth=1.2, label=name)
        ends = [f"{one} {words(means[one].iloc[0])} to {words(means[one].iloc[-1])}" for one in y]
        said.append(f"{title}: {', '.join(ends)}")
    grid[0, 0].set_ylim(0, top := 1.2 * value)
    for axes in grid.flat[len(groups) :]:
        axes.set_axis_off()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    drawn.supxlabel(x.replace("_", " "), fontsize=10)
    drawn.supylabel(label, fontsize=10)
    caption = f"Mean over the runs of each; what lies above {words(top)} leaves the picture"
    show(drawn, caption, "; ".join(said))


def cycle(steps: Mapping[str, str], back: str, caption: str) -> None:
    """Shows steps that repeat as boxes in two rows, clockwise, each with its name and what is in it below.

    steps: name -> a line or two, an example or a formula. back: what the last arrow brings to the first box.
    """
    drawn, axes = figure(height=3.0)
    wide, tall, columns = 0.8, 0.62, math.ceil(len(steps) / 2)
    top = [(column, 1.0) for column in range(columns)]
    places = [*top, *((x, 0.0) for x, _ in top[: len(steps) - columns][::-1])]
    for (name, inside), (x, y), color in zip(steps.items(), places, PALETTE, strict=False):
        axes.add_patch(_rounded((x - wide / 2, y - tall / 2), wide, tall, color))
        middle = {"ha": "center", "va": "center"}
        axes.text(x, y + 0.19, name, color=color, weight="bold", fontsize=12, **middle)
        axes.text(x, y - 0.08, inside, fontsize=11, linespacing=1.4, **middle)
    for (x, y), (to, below) in zip(places, [*places[1:], places[0]], strict=True):
        side, down = (to > x) - (to < x), (below > y) - (below < y)
        start, end = (
            (x + side * wide / 2, y + down * tall / 2),
            (to - side * wide / 2, below - down * tall / 2),
        )
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.5})
    axes.text(0.04, 0.5, back, color=GREY, fontsize=10, va="center")
    axes.set(xlim=(-wide / 2 - 0.02, columns - 1 + wide / 2 + 0.02), ylim=(-0.34, 1.34))
    axes.set_axis_off()
    names = " → ".join(steps)
    show(drawn, caption, f"{names}, and back to the first: {back}")


def pipeline(
    steps: Mapping[str, str],
    marked: Collection[str] = (),
    links: Mapping[str, str] | None = None,
    label: str = "The stages, in order",
) -> Shown:
    """Steps in their order as boxes with arrows between them, four a row or, on a phone, two.

    steps: name -> what stands below it, in lines or "". marked: names that get another colour and a ▸.
    links: name -> where its box leads. label: what the drawing is, for those who do not see it.

    >>> pipeline({"1 Data": "40 rows", "2 Model": ""}, marked=["2 Model"])
    1 Data: 40 rows → ▸ 2 Model
    """
    boxes, told = "", []
    for number, (name, inside) in enumerate(steps.items(), start=1):
        sign, color = ("▸ ", PALETTE[1]) if name in marked else ("", PALETTE[0])
        below = "".join(f'<small style="display:block">{escape(one)}</small>' for one in inside.splitlines())
        tag, place = ("a", f' href="{escape(links[name])}"') if name in (links or {}) else ("div", "")
        style = f"{BOX};border:2px solid {color};color:inherit;text-decoration:none;{WRAP}"
        box = f'<{tag}{place} style="{style}"><b>{sign}{escape(name)}</b>{below}</{tag}>'
        arrow = f'<span aria-hidden="true" style="{ARROW}">→</span>' if number < len(steps) else ""
        boxes += f'<li style="margin:0;position:relative">{box}{arrow}</li>'
        told.append(sign + ": ".join(filter(None, [name, " ".join(inside.split())])))
    style = f"{BOXES};list-style:none;margin:.8em 0;padding:0 1.4rem 0 0"
    return Shown(f'<ol aria-label="{escape(label)}" style="{style}">{boxes}</ol>', " → ".join(told))


def matrices(shapes: Mapping[str, tuple[int, int]], caption: str) -> None:
    """Shows matrices side by side, to scale: name -> (rows, columns)."""
    drawn, axes = figure(height=2.6)
    tallest, left = max(rows for rows, _ in shapes.values()), 0.0
    for (name, (rows, columns)), color in zip(shapes.items(), PALETTE, strict=False):
        axes.bar(left + columns / 2, rows, columns, bottom=(tallest - rows) / 2, color=color)
        label = f"{name}\n{rows} × {columns}"
        axes.text(left + columns / 2, -0.06 * tallest, label, ha="center", va="top", fontsize=11)
        left += columns + 0.4 * tallest
    axes.set(xlim=(-0.1 * tallest, left), ylim=(-0.35 * tallest, tallest), aspect="equal")
    axes.set_axis_off()
    told = ", ".join(f"{name}: {rows} by {columns}" for name, (rows, columns) in shapes.items())
    show(drawn, caption, f"Matrices drawn to scale: {told}")


def control(days: DataFrame, usual: Mapping[str, float], limits: Mapping[str, float], caption: str) -> None:
    """Shows a chart for each indicator: its values, what was usual, its limit, and ▲ where they pass it.

    days: a row a day, a column an indicator. usual, limits: by the names of the columns.
    """
    drawn, first = figure(height=1.0 + 1.8 * math.ceil(len(limits) / 3))
    first.remove()
    places, said = drawn.subplots(math.ceil(len(limits) / 3), 3, squeeze=False).flatten(), []
    for axes, (name, limit) in zip(places, limits.items(), strict=False):
        _style(axes, name)
        values = list(days[name])
        over = [at for at, value in enumerate(values) if value > limit]
        axes.plot(range(len(values)), values, color=PALETTE[0], marker="o", markersize=3)
        axes.axhline(usual[name], color=GREY, linestyle="--", linewidth=1)
        axes.axhline(limit, color=PALETTE[1], linewidth=1.5)
        axes.plot(over, [values[at] for at in over], "^", color=PALETTE[1], markersize=9)
        axes.set_xticks(range(len(values)), [str(day)[:2] for day in days.index], fontsize=8)
        axes.tick_params(axis="y", labelsize=8)
        axes.set_ylim(0, 1.15 * (max(limit, *values) or 1))
        named = ", ".join(str(days.index[at]) for at in over) or "no day"
        said.append(f"{name} passes its limit of {words(float(limit))} on {named}")
    for axes in places[len(limits) :]:
        axes.set_axis_off()
    show(drawn, caption, "; ".join(said))


def attention(allowed: Sequence[Sequence[bool]], caption: str) -> None:
    """Shows an attention mask as a square: allowed[i][j] says whether token i may look at token j.

    Dark: it may. Pale: it may not, though token j comes no later. White: token j comes later.
    """
    drawn, axes = figure(width=4.6, height=4.6)
    shades = [
        [2.0 if seen else float(there <= here) for there, seen in enumerate(row)]
        for here, row in enumerate(allowed)
    ]
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=2.6)
    axes.set(xlabel="token that is looked at", ylabel="token that looks")
    axes.grid(visible=False)
    pairs, earlier = (sum(shade >= least for row in shades for shade in row) for least in (2, 1))
    show(drawn, caption, f"Of {earlier} pairs of a token and one no later, {pairs} may look, drawn dark")


def shares(parts: Mapping[str, Mapping[str, float]], caption: str) -> None:
    """Shows what each whole consists of, as a bar of full length: name -> {part: amount}, the same parts."""
    drawn, axes = figure(height=0.9 + 0.45 * len(parts))
    told, keys, left = {name: [] for name in parts}, {}, dict.fromkeys(parts, 0.0)
    for part, color in zip(next(iter(parts.values())), PALETTE, strict=False):
        for name, amounts in parts.items():
            share = 100 * amounts[part] / sum(amounts.values())
            keys[part] = axes.barh(name, share, left=left[name], color=color)
            label = f"{share:.0f}" if share >= 5 else ""
            axes.bar_label(keys[part], [label], label_type="center", color="white", weight="bold")
            told[name].append(f"{share:.0f} % {part}")
            left[name] += share
    axes.set(xlim=(0, 100), xlabel="percent", ylim=(len(parts) - 0.5, -0.5))
    axes.legend(keys.values(), keys, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    show(drawn, caption, "; ".join(f"{name}: {', '.join(said)}" for name, said in told.items()))


def _rounded(corner: tuple[float, float], width: float, height: float, color: str):
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.05"
    return FancyBboxPatch(corner, width, height, style, facecolor="white", edgecolor=color, linewidth=2)


def show(figure: Figure, caption: str, alt: str) -> None:
    """Displays the figure as a PNG with its caption; `alt` says the same in words and numbers."""
    Shown(_framed(figure, caption, alt), alt).display()


def frames(drawn: Mapping[str, tuple[Figure, str]], caption: str) -> None:
    """Shows figures of one size with a dial that picks one, or side by side where no script runs.

    drawn: the name of each place of the dial -> its figure, and that figure in words.
    """
    parts = [_framed(figure, name, alt) for name, (figure, alt) in drawn.items()]
    box = f'<div role="group" aria-label="{escape(caption)}" style="{STRIP}">{"".join(parts)}</div>'
    words = f'<div style="{CAPTION}">{escape(caption)}</div>'
    text = "\n".join([caption, *(f"  {name}: {alt}" for name, (_, alt) in drawn.items())])
    Shown(f"<div>{box}<script>{DIAL}</script>{words}</div>", text).display()


def _framed(figure: Figure, caption: str, alt: str) -> str:
    """The figure as HTML that needs nothing beside it, with its caption and in words."""
    _spread_labels(figure)
    source = f"data:image/png;base64,{base64.b64encode(_png(figure)).decode()}"
    image = f'<img alt="{escape(alt)}" src="{source}" style="max-width:100%">'
    words = f'<figcaption style="{CAPTION}">{escape(caption)}</figcaption>'
    return f'<figure style="{FRAME}">{image}{words}</figure>'


def _png(figure: Figure) -> bytes:
    """The figure as a PNG of 64 colours, a third of the size: a notebook carries it as text."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return small.getvalue()


def _spread_labels(figure: Figure) -> None:
    """Spreads direct labels that would lie on each other around their middle, in the order of their lines."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        labels = [text for text in axes.texts if text.get_gid() == "direct label"]
        heights = {label: axes.transData.transform(label.xy)[1] for label in labels}
        groups: list[list] = []
        for label in sorted(labels, key=heights.__getitem__):
            groups.append([label])
            while (
                len(groups) > 1 and _places(groups[-1], heights)[0] - _places(groups[-2], heights)[-1] < APART
            ):
                groups[-2:] = [groups[-2] + groups[-1]]
        for group in groups:
            for label, place in zip(group, _places(group, heights), strict=True):
                label.xyann = (7, (place - heights[label]) * 72 / figure.dpi)


def _places(group: Sequence, heights: Mapping) -> list[float]:
    """Heights in pixels, APART from each other, around the mean height of the group's lines."""
    middle = sum(heights[label] for label in group) / len(group)
    return [middle + (number - (len(group) - 1) / 2) * APART for number in range(len(group))]


def tokens(pieces: Sequence[str], mask: Sequence[int], caption: str) -> Shown:
    """The tokens of an example in a row; those with mask 1, which carry loss, are shaded and marked ▲.

    >>> tokens(["Hi", " there"], [0, 1], "greeting")
    greeting
    Hi⟦␣there⟧
    """
    pairs = list(zip((piece.replace(" ", "␣").replace("\n", "⏎") for piece in pieces), mask, strict=True))
    looks = ("transparent;background:rgba(128,128,128,.12)", "#D55E00;background:rgba(230,159,0,.25)")
    cells = "".join(
        f'<span style="{TOKEN} {looks[loss]}">{escape(piece)}<br><small>{"·▲"[loss]}</small></span>'
        for piece, loss in pairs
    )
    key = f"▲ carries loss: {sum(map(bool, mask))} of {len(mask)} tokens"
    text = "".join(f"⟦{piece}⟧" if loss else piece for piece, loss in pairs).replace("⟧⟦", "|")
    html = f'<div style="font-family:monospace;line-height:1.25">{cells}</div>'
    return Shown(f'{html}<div style="{CAPTION}">{escape(caption)} · {key}</div>', f"{caption}\n{text}")


def table(rows: Sequence[Mapping[str, object]], caption: str = "") -> Shown:
    """A small table, a mapping a row: texts on the left, numbers on the right as `words` writes them.

    >>> table([{"method": "full", "accuracy": 0.91234}, {"method": "LoRA", "accuracy": None}])
    method  accuracy
    full       0.912
    LoRA
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([words(row.get(name)) for name in columns] for row in rows)]
    left = [any(isinstance(row.get(name), str) for row in rows) for name in columns]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text, html = [caption] if caption else [], ""
    for number, line in enumerate(lines):
        pairs = zip(line, widths, left, strict=True)
        text.append(
            "  ".join(f"{cell:{'<' if side else '>'}{width}}" for cell, width, side in pairs).rstrip()
        )
        html += "<tr>" + "".join(map(_cell, line, left, ["td" if number else "th"] * len(line))) + "</tr>"
    head = f'<caption style="{CAPTION}">{escape(caption)}</caption>' if caption else ""
    html = f'<table style="border-collapse:collapse;margin:.4em 0">{head}{html}</table>'
    return Shown(html, "\n".join(text))


def answers(requests: Sequence[Sequence[Mapping]], caption: str = "", **columns: Sequence[str]) -> Shown:
    """A table of requests (conversations that end with the user's turn), and of lists of answers by name."""
    rows = zip(*columns.values(), strict=True)
    return table(
        [
            {"request": request[-1]["content"], **dict(zip(columns, row, strict=True))}
            for request, row in zip(requests, rows, strict=True)
        ],
        caption,
    )


def _cell(text: str, left: bool, tag: str) -> str:
    style = f"text-align:{'left' if left else 'right'};padding:.2em .8em;border-bottom:{LINE}"
    return f'<{tag} style="{style}">{escape(text)}</{tag}>'


def words(value: object) -> str:
    """A number to 3 digits, an interval as `mean [low, high]` to 2 digits of its width, None as nothing.

    >>> words(1234.5678), words(3400000), words(None), words({"mean": 0.9, "low": 0.85, "high": 0.95})
    ('1,235', '3,400,000', '', '0.90 [0.85, 0.95]')
    """
    if value is None:
        return ""
    if ends := interval(value):
        width = ends["high"] - ends["low"]
        digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
        mean, low, high = (f"{number:.{digits}f}" for number in ends.values())
        return f"{mean} [{low}, {high}]"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def interval(value: object) -> dict[str, float] | None:
    """The mean, low and high of an interval, whether it has them as attributes or as keys; else None."""
    found = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return {name: found[name] for name in INTERVAL} if found.keys() >= set(INTERVAL) else None


def card(title: str, rows: Mapping[str, object], color: str = GREY, records: dict | None = None) -> Shown:
    """A small card: a title and named lines, with a stripe in `color`; empty lines are left out.

    >>> card("claim 4-022: holds", {"measured": 0.5, "where": ""})
    claim 4-022: holds
      measured  0.5
    """
    lines = {name: text for name, value in rows.items() if (text := words(value))}
    cells = "".join(
        f'<div style="opacity:.7">{escape(name)}</div><div style="{WRAP}">{escape(text)}</div>'
        for name, text in lines.items()
    )
    html = f'<strong>{escape(title)}</strong><div style="{GRID}">{cells}</div>'
    width = max(map(len, lines), default=0)
    text = [title, *(f"  {name.ljust(width)}  {text}" for name, text in lines.items())]
    return Shown(
        f'<div style="{CARD};border-left:5px solid {color}">{html}</div>', "\n".join(text), records or {}
    )
