"""Sphinx makes the book from the notebooks as they lie, with their committed outputs: make book."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "The Fine-Tuning Workbook"
language = "en-GB"
extensions = ["myst_nb", "sphinxcontrib.bibtex", "book.pages"]

# The root of the repository is the source, so that no notebook is copied; all other files stay unread.
root_doc = "book/index"
include_patterns = ["book/*.md", "book/generated/*.md", "notebooks/*/[0-9]_*.ipynb"]
exclude_patterns = [".*", "build", "data", "runs", "tests", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"
nb_custom_formats = {".ipynb": ["book.pages.read", {}]}
myst_enable_extensions = ["colon_fence"]
smartquotes = False  # what a chapter shows stays as it was typed
bibtex_bibfiles = ["references.bib"]
bibtex_cite_id = "{key}"

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
templates_path = ["templates"]
html_additional_pages = {"index": "redirect.html"}  # so that the folder opens by itself
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_show_sphinx = False
html_show_search_summary = False  # a page opened from a file may not read another one
html_theme_options = {
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "footer_content_items": [],
}
