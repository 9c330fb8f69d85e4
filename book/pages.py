"""The pages of the book that are made and not written, and the links that chapters get in the book.

Claims and figures come from the outputs of the executed notebooks; a chapter without outputs has none yet.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
from docutils import nodes

from ftlib import artefact, badges, claims, plot, run

HERE = Path(__file__).parent
GENERATED = HERE / "generated"
HOW = ("run", "shown", "corrected", "told", "planned", "out of scope")
# The guide's rows by the first sign of their name.
SUBJECTS = {
    **{str(number): title for number, title in enumerate(run.STAGES[:8])},
    "M": "Pictures",
    "A": "Speech",
    "R": "Responsible use and research",
}
NAME = r"[A-Z][\w’'-]+"
CITED = re.compile(
    rf"({NAME}(?: et al\.| and {NAME}|(?:, {NAME})+,? and {NAME})?)(?:, | \()((?:1[89]|20)\d\d)\b"
)
# A chapter's number after the word, or with a title as in a title card; other numbers look alike.
MENTIONED = re.compile(r"(?<=chapter )\d\.\d\d\b|(?<=chapters )\d\.\d\d\b|^ ?\d\.\d\d(?= [a-zA-Z])")
EMPHASISED = re.compile(r"(?<![*\w])\*([^*\n]+)\*(?!\*)")
NO_PROSE = re.compile(r"^```.*?^```|^\*\*Further reading\*\*[^\n]*", re.DOTALL | re.MULTILINE)
ENDED = re.compile(r"(?<=[.?!:]) (?=[A-Z*`])|\n+")


def table(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@dataclass(frozen=True)
class Chapter:
    """A chapter as the book shows it. `card`: the lines of its title card; `figure`: HTML, or ""."""

    number: str
    title: str
    folder: str
    path: Path
    promise: str
    card: dict[str, str]
    figure: str
    prose: str

    @property
    def page(self) -> str:
        """Its page, as seen from a generated page."""
        return f"../../notebooks/{self.folder}/{self.path.stem}.html"

    @property
    def source(self) -> str:
        """Its notebook, from the root of the workbook."""
        return f"/notebooks/{self.folder}/{self.path.name}"


def chapters(notebooks: Path = run.NOTEBOOKS) -> dict[str, Chapter]:
    """The chapters that are written, by number."""
    found = {}
    for number, one in run.chapters(notebooks).items():
        cells = artefact.cells(one.path)
        texts = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
        marked = [cell for cell in cells if "headline" in cell["metadata"].get("tags", ())]
        shown = ["".join(output.get("text/html", "")) for output in artefact.outputs(marked)]
        promise = re.search(r"\*\*(.+?)\*\*", texts[0], re.DOTALL)
        found[number] = Chapter(
            number=number,
            title=one.title,
            folder=one.path.parent.name,
            path=one.path,
            promise=promise[1] if promise else "",
            card=dict(re.findall(r"^\| ([^|]+) \| (.+) \|$", texts[0], re.MULTILINE)),
            figure=next((html for html in shown if "<img" in html), ""),
            prose="\n\n".join(texts),
        )
    return found


def write(app) -> None:
    """Writes the generated pages; `app` keeps the chapters for the links."""
    written = app.workbook_chapters = chapters()
    stages = [stage(line, written) for line in table("stages.csv")]
    subjects = Counter(row["chapter"] for row in table("guide.csv") if row["how"] == "planned")
    pages = {"pipeline.html": pipeline(stages)}
    pages |= {f"{one['folder']}.md": fill("stage.md", stage=one, subjects=subjects) for one in stages}
    pages |= {"claims.md": claims_page(written), "coverage.md": coverage_page(written)}
    pages |= {"glossary.md": glossary_page(written), "bibliography.md": bibliography_page(written)}
    GENERATED.mkdir(exist_ok=True)
    for path in GENERATED.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = GENERATED / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def pipeline(stages: Sequence[Mapping]) -> str:
    """The seven stages as a drawing whose boxes lead to their pages, seen from the first page."""
    steps, links = {}, {}
    for one in stages:
        if one["gives"]:
            name = f"{one['folder'][0]} {one['title']}"
            steps[name] = f"gives {one['gives']}\n{len(one['written'])} of {len(one['chapters'])} chapters"
            links[name] = f"generated/{one['folder']}.html"
    return plot.pipeline(steps, links=links, label="The seven stages, in order").html


def fill(template: str, **values: object) -> str:
    """A template of the book with its values; what is not marked as safe is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return templates.get_template(template).render(values)


def stage(line: Mapping[str, str], written: Mapping[str, Chapter]) -> dict[str, object]:
    """A stage with its chapters, those that are written and those that are planned."""
    own = [one for one in table("chapters.csv") if one["folder"] == line["folder"]]
    done = [written[one["chapter"]] for one in own if one["chapter"] in written]
    planned = [one for one in own if one["chapter"] not in written]
    return {**line, "chapters": own, "written": done, "planned": planned}


def claims_page(written: Mapping[str, Chapter]) -> str:
    """Every claim that an executed notebook records, in the order of the guide, then its corrections."""
    found, seen, shown = recorded(written), Counter(), set()
    for one in found:
        chapter = written[one["chapter"]]
        seen[one["chapter"], one["row"]] += 1
        one["first"] = one["row"] not in shown
        shown.add(one["row"])
        one["page"] = f"{chapter.page}#{anchor(one['row'], seen[one['chapter'], one['row']])}"
        one["title"] = f"{chapter.number} {chapter.title}"
        one["result"] = claims.measurement(one)
    counts = Counter(one["verdict"] for one in found)
    return fill("claims.md", found=found, counts=counts, verdicts=list(claims.VERDICTS))


def recorded(written: Mapping[str, Chapter]) -> list[dict]:
    """The claims of the chapters, sorted, each with the number of its chapter."""

    def place(claim: Mapping) -> tuple[bool, str, int]:
        sign, number = re.fullmatch(r"(.)-?(\d+)", claim["row"]).groups()
        return sign == "d", sign, int(number)

    found = [
        {**claim, "chapter": chapter.number}
        for chapter in written.values()
        for claim in claims.collect([chapter.path])
    ]
    return sorted(found, key=place)


def coverage_page(written: Mapping[str, Chapter]) -> str:
    """Every row of the guide with its chapter and how it is met, by subject, with counts."""
    rows, known = table("guide.csv"), {one["row"] for one in recorded(written)}
    folders = {one["chapter"]: one["folder"] for one in table("chapters.csv")}
    for row in rows:
        number = row["chapter"]
        row["page"] = written[number].page if number in written else f"{folders[number]}.html"
        row["word"] = {"planned": "for", "out of scope": "of"}.get(row["how"], "in")
        row["notes"] = [{"text": row["reason"], "page": ""}] if row["reason"] else []
        for name in (row["row"], *row["correction"].split()):
            if name in known:
                row["notes"].append({"text": f"claim {name}", "page": f"claims.html#{name}"})
            elif name != row["row"]:
                row["notes"].append({"text": f"correction {name}", "page": ""})
    subjects = []
    for sign, name in SUBJECTS.items():
        own = [row for row in rows if row["row"][0] == sign]
        counts = Counter(row["how"] for row in own)
        subjects.append({"name": name, "place": f"subject-{sign.lower()}", "rows": own, "counts": counts})
    return fill("coverage.md", subjects=subjects, ways=HOW, counts=Counter(row["how"] for row in rows))


def anchor(row: str, count: int) -> str:
    """The place of a chapter's claim in its page; a chapter may record a row more than once."""
    return f"claim-{row}" + (f"-{count}" if count > 1 else "")


def terms(written: Mapping[str, Chapter]) -> dict[str, tuple[str, str, list[str]]]:
    """Every term that a chapter sets in italics: its name, what it means, the numbers of its chapters.

    The sentence that introduces a term explains it, unless glossary.csv has words that stand alone; a term
    with no words there is no term, but a word that is stressed.
    """
    listed = {line["term"].lower(): line for line in table("glossary.csv")}
    found: dict[str, tuple[str, str, list[str]]] = {}
    for number, chapter in written.items():
        for term, sentence in _introduced(chapter.prose):
            key = term.lower()
            own = term[0].lower() + term[1:] if sentence.startswith("*") else term
            line = listed.get(key, {"term": own, "definition": sentence})
            if line["definition"]:
                places = found.setdefault(key, (line["term"], line["definition"], []))[2]
                places += [number] if number not in places else []
    return dict(sorted(found.items()))


def _introduced(prose: str) -> Iterator[tuple[str, str]]:
    """The words in italics of a chapter, each with its sentence; titles of further reading are none."""
    for sentence in ENDED.split(NO_PROSE.sub("", prose)):
        for term in EMPHASISED.findall(re.sub(r"`[^`]*`", "", sentence)):
            yield term, sentence.removeprefix("**Notice** ")


def slug(term: str) -> str:
    return "term-" + re.sub(r"\W+", "-", term.lower())


def glossary_page(written: Mapping[str, Chapter]) -> str:
    """The terms of the chapters in the order of the alphabet."""
    found = []
    for key, (name, meaning, numbers) in terms(written).items():
        places = [{"number": one, "page": f"{written[one].page}#{slug(key)}"} for one in numbers]
        found.append({"name": name, "meaning": meaning, "places": places})
    return fill("glossary.md", terms=found)


@cache
def references() -> dict[tuple[str, str], str]:
    """The keys of references.bib by what a chapter writes: authors and year."""
    from pybtex.database import parse_file

    found = {}
    for key, entry in parse_file(str(HERE / "references.bib")).entries.items():
        names = [" ".join(person.last_names) for person in entry.persons.get("author", ())]
        names = [name.strip("{}") for name in names]
        shown = names[0] if len(names) == 1 else f"{names[0]} and {names[1]}"
        shown = f"{names[0]} et al." if len(names) > 2 or names[-1] == "others" else shown
        found[shown, entry.fields["year"]] = key
    return found


def cited(text: str) -> set[tuple[str, str]]:
    """What a text cites: pairs of authors and year."""
    return {(found[1], found[2]) for found in CITED.finditer(text)}


def bibliography_page(written: Mapping[str, Chapter]) -> str:
    """What the chapters cite; an entry that none of them cites stays in references.bib."""
    named = set().union(*(cited(chapter.prose) for chapter in written.values()))
    return fill("bibliography.md", keys=sorted(key for name, key in references().items() if name in named))


def read(text: str) -> nbformat.NotebookNode:
    """A notebook as the book shows it: its first cell is folded, and each claim has a place to link to.

    The picture of a badge would come from elsewhere: in the book it is a link in words.
    """
    notebook, seen = nbformat.reads(text, as_version=4), Counter()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = badges.BADGE.sub("[Open in Colab]", cell.source)
        if "bootstrap" in cell.metadata.get("tags", ()):
            cell.metadata.tags.append("hide-input")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            for kind in [kind for kind in data if kind.startswith("application/vnd.ftlib.")]:
                record = data.pop(kind)
                if kind == claims.CLAIM_MIME:
                    seen[record["row"]] += 1
                    place = anchor(record["row"], seen[record["row"]])
                    data["text/html"] = f'<span id="{place}"></span>' + data["text/html"]
    return notebook


def link(app, tree: nodes.document, name: str) -> None:
    """Gives a chapter's page its links: terms get a place, citations and chapters lead to their pages."""
    if not name.startswith("notebooks/"):
        return
    written, known = app.workbook_chapters, set()
    for node in tree.findall(nodes.emphasis):
        place = slug(node.astext())
        if place not in known:
            node["ids"].append(place)
        known.add(place)
    inside = (nodes.literal, nodes.reference, nodes.literal_block, nodes.raw, nodes.title)
    for node in list(tree.findall(nodes.Text)):
        parent = node.parent
        if not any(isinstance(one, inside) for one in (parent, parent.parent)):
            pieces = list(_pieces(app, name, str(node), written))
            if len(pieces) > 1:
                parent.replace(node, pieces)


def _pieces(app, name: str, text: str, written: Mapping[str, Chapter]) -> Iterator[nodes.Node]:
    """The text in pieces, its citations and its mentions of chapters as links."""
    places = [(found, _source(found)) for found in CITED.finditer(text)]
    places += [(found, _chapter(found[0].strip(), written)) for found in MENTIONED.finditer(text)]
    end = 0
    for found, place in sorted(places, key=lambda pair: pair[0].start()):
        if place and found.start() >= end:
            page, _, within = place.partition("#")
            uri = app.builder.get_relative_uri(name, page) + (f"#{within}" if within else "")
            yield nodes.Text(text[end : found.start()])
            yield nodes.reference("", found[0], refuri=uri, internal=True)
            end = found.end()
    yield nodes.Text(text[end:])


def _source(found: re.Match) -> str:
    key = references().get((found[1], found[2]))
    return f"book/generated/bibliography#{key}" if key else ""


def _chapter(number: str, written: Mapping[str, Chapter]) -> str:
    if number in written:
        return f"notebooks/{written[number].folder}/{written[number].path.stem}"
    planned = {one["chapter"]: one["folder"] for one in table("chapters.csv")}
    return f"book/generated/{planned[number]}" if number in planned else ""


def setup(app) -> dict[str, bool]:
    app.connect("builder-inited", write)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
