"""The page at the end of a run: what each chapter made, in one file of its own that fits on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftlib import plot

TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Entry:
    """What a chapter made. figure: HTML that needs nothing beside it, or "". page: a link, or ""."""

    number: str
    title: str
    stage: str
    headline: str
    seconds: int
    failed: bool
    figure: str
    page: str


def write(path: Path, title: str, entries: Sequence[Entry]) -> None:
    """Writes the page; it loads nothing from elsewhere."""
    from jinja2 import Environment

    names = {one: f"{one.number} {one.title}" for one in entries}
    steps = {names[one]: f"{one.headline} · {one.seconds} s" for one in entries}
    failed = [names[one] for one in entries if one.failed]
    stages = plot.pipeline(steps, failed, label="The chapters, in order, and what each reached").html
    page = Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    path.write_text(page.render(title=title, entries=entries, stages=stages), encoding="utf-8")
