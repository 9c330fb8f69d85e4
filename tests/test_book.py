"""The book: built once, without a warning; every link leads somewhere, nothing comes from elsewhere."""

import csv
import html
import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from book import pages
from ftlib import claims, run

ROOT = run.NOTEBOOKS.parent
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
UNLOADED = {"next", "prev", "search", "index", "author", "canonical"}  # links that a browser does not follow


def table(name: str) -> list[dict[str, str]]:
    with (ROOT / "book" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@dataclass
class Page(HTMLParser):
    """What a page names: its places, the links that a reader may follow, the files that a browser loads."""

    places: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id"):
            self.places.append(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in LOADED and found.get(LOADED[tag]) and found.get("rel") not in UNLOADED:
            self.files.append(found[LOADED[tag]])


def read(text: str) -> Page:
    page = Page()
    page.feed(text)
    return page


def broken(site: Path) -> list[str]:
    """The links of a site that lead nowhere, and the files that it lacks or would take from elsewhere."""
    found = {path.resolve(): read(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
             if "_static" not in path.parts}  # fmt: skip
    wrong = []
    for path, page in found.items():
        for link in {*page.links, *page.files}:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data") or parts.netloc:
                if link in page.files and parts.scheme != "data":
                    wrong.append(f"{path.name} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            places = found[target].places if target in found else []
            if not target.is_file():
                wrong.append(f"{path.name} has {link}, which is not there")
            elif parts.fragment and unquote(parts.fragment) not in places and link in page.links:
                wrong.append(f"{path.name} has {link}: the page has no such place")
    return sorted(wrong)


def text_of(page: Path) -> str:
    """The words of a page."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_link_of_the_book_leads_somewhere_and_nothing_comes_from_elsewhere(site):
    assert broken(site) == []
    styles = "".join(path.read_text(encoding="utf-8", errors="ignore") for path in site.rglob("*.css"))
    assert re.findall(r"(?:@import\s+|url\(\s*)['\"]?(?:https?:)?//", styles) == []


@pytest.mark.parametrize(
    ("added", "what"),
    [
        ('<a href="missing.html">x</a>', "is not there"),
        ('<a href="#nowhere">x</a>', "no such place"),
        ('<a href="other.html#nowhere">x</a>', "no such place"),
        ('<script src="https://example.org/x.js"></script>', "loads"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "loads"),
        ('<img src="missing.png">', "is not there"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, added, what):
    (tmp_path / "other.html").write_text('<p id="place"></p>')
    right = '<p id="here"></p><a href="#here"></a><a href="other.html#place"></a><a href="https://example.org"></a>'
    (tmp_path / "page.html").write_text(right)
    assert broken(tmp_path) == []
    (tmp_path / "page.html").write_text(right + added)
    [wrong] = broken(tmp_path)
    assert what in wrong


def test_every_chapter_stands_on_the_page_of_its_stage_written_or_planned(site):
    written = pages.chapters()
    for line in table("chapters.csv"):
        page = site / "book" / "generated" / f"{line['folder']}.html"
        assert line["chapter"] in text_of(page), line
        if line["chapter"] in written:
            chapter = written[line["chapter"]]
            source = page.read_text(encoding="utf-8")
            assert f"{chapter.path.stem}.html" in source and chapter.promise[:40] in text_of(page)
            assert not chapter.figure or re.search(r'src="(data:[^"]{99})', chapter.figure)[1] in source


def test_every_stage_says_what_it_is_for():
    stages, chapters = table("stages.csv"), table("chapters.csv")
    assert [line["folder"] for line in stages] == list(dict.fromkeys(line["folder"] for line in chapters))
    assert all(line["title"] and line["purpose"].endswith(".") for line in stages)
    assert [line["folder"][0] for line in stages if line["gives"]] == list("1234567")


def test_every_row_of_the_guide_stands_on_the_coverage_page_with_how_it_is_met(site):
    source = (site / "book" / "generated" / "coverage.html").read_text(encoding="utf-8")
    shown = re.findall(r'<tr data-how="([^"]+)"><td>([^<]+)</td><td>([^<\n]+)', source)
    rows = table("guide.csv")
    assert [(how, row, html.unescape(thing)) for how, row, thing in shown] == [
        (row["how"], row["row"], row["thing"]) for row in rows
    ]
    assert all(row["reason"] in html.unescape(source) for row in rows)


def test_every_claim_of_the_executed_notebooks_stands_on_the_claims_page(site):
    text = text_of(site / "book" / "generated" / "claims.html")
    found = claims.collect(chapter.path for chapter in pages.chapters().values())
    assert f"{len(found)} claims so far" in text
    for claim in found:
        assert claims.measurement(claim) in text and claim["says"] in text


def test_what_the_chapters_cite_stands_in_the_bibliography(site):
    text = text_of(site / "book" / "generated" / "bibliography.html")
    for number, chapter in pages.chapters().items():
        for authors, year in pages.cited(chapter.prose):
            assert (authors, year) in pages.references(), f"{number}: {authors}, {year} is not in references"
            assert authors.split()[0] in text and year in text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("as shown (Hu et al., 2021), and", {("Hu et al.", "2021")}),
        ("Dean and Barroso (2013), *The tail at scale*. See", {("Dean and Barroso", "2013")}),
        ("the interval (Student, 1908; Efron, 1979)", {("Student", "1908"), ("Efron", "1979")}),
        ("the year 2024, and 1 December 2023", set()),
    ],
)  # fmt: skip
def test_a_citation_is_authors_and_a_year(text, found):
    assert pages.cited(text) == found


def test_a_term_has_one_entry_that_leads_to_every_chapter_that_explains_it(site):
    text = (site / "book" / "generated" / "glossary.html").read_text(encoding="utf-8")
    found = pages.terms(pages.chapters())
    assert len(found) > 20 and all(meaning for _, meaning, _ in found.values())
    for name, _, numbers in found.values():
        assert text.count(f'<dt id="term-{re.sub("[^A-Za-z0-9.]+", "-", name)}"') == 1
        assert numbers
    listed = [line["term"].lower() for line in table("glossary.csv")]
    assert len(listed) == len(set(listed))


def test_terms_are_words_in_italics_with_the_sentence_that_explains_them():
    prose = "## 1\n\nFirst. An *adapter* is small. `a * b * c`. **Notice** *Rank* is a width: r.\n\n"
    prose += "**Further reading** Hu et al. (2021), *LoRA*.\n\n```python\nx = 2 *y* 3\n```"
    assert list(pages._introduced(prose)) == [
        ("adapter", "An *adapter* is small."),
        ("Rank", "*Rank* is a width: r."),
    ]


def test_a_chapter_without_outputs_is_a_page_like_any_other(tmp_path):
    path = next(iter(pages.chapters().values())).path
    notebook = pages.read(path.read_text(encoding="utf-8"))
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not any(kind.startswith("application/vnd.") for one in shown for kind in one.get("data", ()))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = tmp_path / path.parent.name
    folder.mkdir()
    nbformat.write(notebook, folder / path.name)
    [chapter] = pages.chapters(tmp_path).values()
    assert chapter.figure == "" and chapter.promise
    line = next(line for line in table("stages.csv") if line["folder"] == chapter.folder)
    stage = pages.stage(line, {chapter.number: chapter})
    assert "has no figure yet" in pages.fill("stage.md", stage=stage, subjects=Counter())
    assert "0 claims so far" in pages.claims_page({chapter.number: chapter})
