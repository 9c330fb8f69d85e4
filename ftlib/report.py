"""Pages: each one file of its own that fits on a phone. At the end of a run, what each chapter made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftlib import plot


def render(name: str, **values: object) -> str:
    """The page of the template NAME.html beside this module; what is no markup in it is escaped."""
    from jinja2 import Environment

    template = Path(__file__).with_name(f"{name}.html").read_text(encoding="utf-8")
    return Environment(autoescape=True).from_string(template).render(**values)


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
    names = {one: f"{one.number} {one.title}" for one in entries}
    steps = {names[one]: f"{one.headline} · {one.seconds} s" for one in entries}
    failed = [names[one] for one in entries if one.failed]
    stages = plot.pipeline(steps, failed, label="The chapters, in order, and what each reached").html
    path.write_text(render("report", title=title, entries=entries, stages=stages), encoding="utf-8")
