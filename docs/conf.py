"""Sphinx: the site that `make docs` builds of these pages. Nothing of Tranship is imported."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path.append(str(_HERE))
_PROJECT = tomllib.loads((_HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Tranship"
version = release = _PROJECT["version"]
extensions = ["myst_parser", "site_links"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["reference/builder"]
html_theme = "furo"
html_title = f"Tranship {release}"
html_extra_path = ["llms.txt"]
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []
myst_heading_anchors = 4
# Anchors of codes are HTML, so that they are the same where Markdown is shown; site_links.py checks them. There are no
# colours for a crontab.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]
html_show_copyright = False
