"""An extension of Sphinx: each link within the built site leads to a page and an anchor that exist, and the Markdown of
each page is beside it, for programs that follow llms.txt."""

from __future__ import annotations

import re
import shutil
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urldefrag

from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the check to the end of a build."""
    app.connect("build-finished", _check)
    app.connect("build-finished", _copy_markdown)
    return {"parallel_read_safe": True}


@cache
def _anchors(page: Path) -> frozenset[str]:
    return frozenset(map(unescape, re.findall(r'\bid="([^"]*)"', page.read_text(encoding="utf-8"))))


def _check(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for page in sorted(site.rglob("*.html")):
        for link in re.findall(r'<a [^>]*?href="([^"]*)"', page.read_text(encoding="utf-8")):
            if problem := _problem(page, unescape(link)):
                _LOGGER.warning("%s: %s", page.relative_to(site), problem)


def _copy_markdown(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for name in app.env.found_docs:
            shutil.copyfile(Path(app.srcdir) / f"{name}.md", Path(app.outdir) / f"{name}.md")


def _problem(page: Path, link: str) -> str | None:
    if re.match(r"[a-z]+:", link):
        return None
    path, anchor = urldefrag(link)
    target = (page.parent / unquote(path)).resolve() if path else page
    if not target.is_file():
        return f"no page {link}"
    if anchor and target.suffix == ".html" and unquote(anchor) not in _anchors(target):
        return f"no anchor {link}"
    return None
