"""What a learner sees, in a real browser: a chapter in JupyterLab, and the book opened from its files."""

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

import chapters
from conftest import BROWSER
from ftlib import run

ROOT = run.NOTEBOOKS.parent
QUIET = ("background-networking", "component-update", "sync")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
CHAPTER = "7.01"  # the one with a widget
STUB = "check.todo"
# The contrast of a text with what lies behind it, as WCAG 2.2 defines it; half-transparent layers are mixed.
CONTRAST = """texts => texts.map(text => {
  const parts = color => { const found = color.match(/[\\d.]+/g).map(Number); return [...found, 1].slice(0, 4); };
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
# The innermost elements of a page that hold words and are to be seen.
WORDS = """root => [...root.querySelectorAll("*")].filter(node => node.offsetParent
  && [...node.childNodes].some(child => child.nodeType == 3 && /\\w/.test(child.textContent)))"""


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


# JupyterLab


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab with a copy of the notebooks, and no settings of the user's."""
    shutil.copytree(run.NOTEBOOKS, tmp_path / "notebooks", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
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
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}"
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
    path = run.chapters()[CHAPTER].path
    page.goto(lab.format(path.relative_to(run.NOTEBOOKS).as_posix()))
    notebook = page.locator(".jp-Notebook")
    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    idle.wait_for(timeout=120_000)
    choose(page, "Run", "Run All Cells")
    last = notebook.locator(".jp-CodeCell .jp-InputPrompt").last
    expect(last).to_have_text("[*]:", timeout=60_000)
    expect(last).to_have_text(re.compile(r"\[\d+\]:"), timeout=400_000)
    idle.wait_for()
    print(notebook.locator(".jp-Cell").count())
    page.screenshot(path="/tmp/x/5.png")
    open("/tmp/x/dom.html", "w").write(page.content())


def choose(page: Page, menu: str, entry: str) -> None:
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=entry, exact=True).click()
