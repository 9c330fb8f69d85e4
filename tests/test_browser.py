"""What a learner sees, in a real browser: a chapter in JupyterLab, and the book opened from its files."""

import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import psutil
import pytest
from conftest import BROWSER
from playwright.sync_api import Locator, Page, expect, sync_playwright

from ftlib import artefact, run

ROOT = run.NOTEBOOKS.parent
QUIET = ("background-networking", "component-update", "sync")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
CHAPTER = "7.01"  # the one with a widget
SMALL = {"examples": 64, "a_day": 20}
OUTPUT = '[data-mime-type="application/vnd.jupyter.{}"]'
EXERCISE, WRONG, RIGHT = "7.01.1", "p95 = 0.295", "p95 = 0.1"
# The contrast of a text with what lies behind it, as WCAG 2.2 defines it; half-transparent layers are mixed.
CONTRAST = """roots => roots.flatMap(root => [...root.querySelectorAll("*")]).filter(text => text.offsetParent
  && [...text.childNodes].some(child => child.nodeType == 3 && /\\w/.test(child.textContent))).map(text => {
  const parts = color => [...color.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (top, under) => under.map((value, at) => top[3] * top[at] + (1 - top[3]) * value);
  const light = color => color.slice(0, 3).map(value => value / 255)
    .map(value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [.2126, .7152, .0722][at], 0);
  let behind = [255, 255, 255], opacity = 1, nodes = [];
  for (let node = text; node; node = node.parentElement) nodes.unshift(node);
  for (const style of nodes.map(node => getComputedStyle(node))) {
    behind = over(parts(style.backgroundColor), behind);
    opacity *= style.opacity;
  }
  const ink = parts(getComputedStyle(text).color);
  const [dark, bright] = [light(over([...ink.slice(0, 3), ink[3] * opacity], behind)), light(behind)]
    .sort((one, other) => one - other);
  return [(bright + .05) / (dark + .05), text.textContent.trim().slice(0, 60)];
})"""
READABLE = 4.5  # of text of this size, WCAG 2.2, level AA


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a window; it ends with the tests of this module, whatever becomes of them."""
    arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in QUIET)]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """An empty page, light; what it asks of other machines fails the test."""
    with opened(browser) as fresh:
        yield fresh


@contextlib.contextmanager
def opened(browser, **options):
    context = browser.new_context(viewport=DESK, **options)
    fresh = context.new_page()
    wrong = []
    fresh.on("request", lambda request: wrong.append(request.url) if elsewhere(request.url) else None)
    fresh.on("requestfailed", lambda request: wrong.append(f"failed: {request.url} {request.failure}"))
    fresh.on("pageerror", lambda error: wrong.append(f"a script failed: {error}"))
    try:
        yield fresh
        assert wrong == []
    finally:
        context.close()


def elsewhere(url: str) -> bool:
    return not re.match(r"file://|data:|blob:|about:|(http|ws)://127\.0\.0\.1:", url)


def hard_to_read(parts: Locator) -> list:
    """The texts within parts of a page that can hardly be read: pairs of contrast and text."""
    found = parts.evaluate_all(CONTRAST)
    assert found
    return [pair for pair in found if pair[0] < READABLE]


# JupyterLab


@pytest.fixture
def lab(tmp_path):
    """The address of a chapter, not executed, its parameters smaller, in a JupyterLab as installed."""
    chapter = tmp_path / "notebooks" / f"{CHAPTER}.ipynb"
    chapter.parent.mkdir()
    notebook = nbformat.read(run.chapters()[CHAPTER].path, as_version=4)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
        if "parameters" in cell.metadata.get("tags", ()):
            for name, value in SMALL.items():
                cell.source, count = re.subn(rf"(?m)^({name}: int =) \d+", rf"\1 {value}", cell.source)
                assert count == 1
    nbformat.write(notebook, chapter)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port, token = free.getsockname()[1], secrets.token_hex()
    own = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]]), "HOME": str(tmp_path)}
    own |= {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{name}_DIR": str(tmp_path / name) for name in ("SETTINGS", "WORKSPACES")}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={tmp_path / 'notebooks'}", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.extension_manager=readonly"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
    try:
        ask = f"http://127.0.0.1:{port}/api/status?token={token}"
        while server.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(ask):
                break
            time.sleep(0.2)
        assert server.poll() is None, (tmp_path / "lab.log").read_text()
        yield f"http://127.0.0.1:{port}/lab/tree/{chapter.name}?token={token}"
    finally:
        end(server)


def end(server: subprocess.Popen) -> None:
    """Ends a server with its kernels, and what they started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
        for process in [*psutil.wait_procs(started, timeout=5)[1], server]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    server.wait()


def test_a_learner_runs_a_chapter_turns_its_widget_and_does_an_exercise(lab, page):
    page.goto(lab)
    cells = page.locator(".jp-Notebook .jp-Cell")
    expect(cells).to_have_count(len(artefact.cells(run.chapters()[CHAPTER].path)), timeout=120_000)
    kernel = page.get_by_role("button", name="Python 3 (ipykernel) | Idle")
    expect(kernel).to_be_visible(timeout=120_000)
    choose(page, "Run", "Run All Cells")
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    expect(last).to_have_text(re.compile(r"\[(\*|\d+)\]:"), timeout=60_000)  # it waits for its turn
    expect(last).to_have_text(re.compile(r"\[[ \d]+\]:"), timeout=400_000)  # done, or not to be
    assert shown(page, "error") == [] and last.text_content() != "[ ]:"
    assert shown(page, "stderr") == [], "nothing warns"
    assert "experiment:" not in "".join(shown(page, "stdout")), "progress bars wipe themselves"
    pictures = page.locator(".jp-Notebook figure img")
    assert pictures.count() >= 4
    assert pictures.evaluate_all("all => all.every(one => one.naturalWidth > 99 && one.alt.length > 19)")
    assert hard_to_read(page.locator(".jp-OutputArea-output.jp-RenderedHTML")) == []

    choice = page.locator(".widget-dropdown select")
    figure = page.locator(".jp-Cell", has=choice).locator("img")
    before = figure.get_attribute("src")
    choice.focus()
    for key in ("Space", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(choice).to_have_value("residents")
    expect(figure).not_to_have_attribute("src", before, timeout=30_000)
    assert shown(page, "error") == []

    stub = cells.filter(has_text=f'"{EXERCISE}"').and_(page.locator(".jp-CodeCell"))
    expect(stub).to_contain_text(f"Exercise {EXERCISE}: not attempted")
    answer(page, stub, WRONG)
    expect(stub).to_contain_text(f"Exercise {EXERCISE}: not yet", timeout=30_000)
    expect(stub).to_contain_text("next step")
    assert hard_to_read(stub.locator(".jp-OutputArea-output")) == []
    answer(page, stub, RIGHT)
    expect(stub).to_contain_text(f"Exercise {EXERCISE}: passed", timeout=30_000)
    assert shown(page, "error") == []


def shown(page: Page, kind: str) -> list[str]:
    """The texts of all outputs that are errors, or of what was written to stderr."""
    return page.locator(OUTPUT.format(kind)).all_text_contents()


def answer(page: Page, stub: Locator, source: str) -> None:
    """Writes an answer in place of that in the first line of a stub, and runs the cell."""
    stub.locator(".cm-line").first.click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type(source)
    page.keyboard.press("Shift+Enter")


def choose(page: Page, menu: str, entry: str) -> None:
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=entry, exact=True).click()


# The book


def test_the_links_of_the_book_lead_to_every_page_and_each_fits_on_a_phone(site, page):
    page.set_viewport_size(PHONE)
    page.goto((site / "index.html").as_uri())
    page.wait_for_url("**/book/index.html")
    left, seen, wide = [page.url], set(), []
    while left:
        seen.add(address := left.pop())
        page.goto(address)
        if page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
            wide.append(address)
        for link in page.evaluate("[...document.links].map(link => link.href.split('#')[0])"):
            file = Path(unquote(urlsplit(link).path))
            assert not link.startswith("file:") or file.is_file(), f"{address} leads to {link}"
            left += [link] if file.suffix == ".html" and link not in {*seen, *left} else []
    assert wide == []
    chapters = [path.relative_to(ROOT).with_suffix(".html") for path in run.NOTEBOOKS.glob("*/*.ipynb")]
    generated = [path.relative_to(site) for path in (site / "book" / "generated").glob("*.html")]
    assert chapters and generated and {(site / one).as_uri() for one in [*chapters, *generated]} <= seen


def test_the_dial_of_the_book_shows_one_figure_after_the_other(site, page):
    page.goto(next(site.rglob("1_02_*.html")).as_uri())
    dial = page.locator("input[type=range]")
    frames = page.get_by_role("group").filter(has=page.locator("figure")).locator("figure")
    expect(frames.locator("visible=true")).to_have_count(1)
    told = []
    for place in range(frames.count()):
        expect(frames.nth(place)).to_be_visible()
        told.append(dial.get_attribute("aria-valuetext"))
        dial.press("ArrowRight")
    assert len(set(told)) == frames.count() > 1 and dial.get_attribute("aria-label")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_book_can_be_read_in_both_themes(site, browser, scheme):
    with opened(browser, color_scheme=scheme) as page:
        chapter = run.chapters()[CHAPTER].path.relative_to(ROOT).with_suffix(".html")
        for name in (chapter, *(f"book/{one}.html" for one in ("index", "generated/coverage"))):
            page.goto((site / name).as_uri())
            behind = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", behind)[:3])) < 300) is (scheme == "dark")
            assert hard_to_read(page.locator("article")) == []
