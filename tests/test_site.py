"""The site of docs/ is built without a warning, and a link that leads nowhere fails the build. `make docs` installs Sphinx;
without it, tests/test_docs.py checks the links in the Markdown.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tranship.pipelines import explain

ROOT = Path(__file__).resolve().parent.parent
SPHINX = shutil.which("sphinx-build", path=str(ROOT / "build" / "docs-tools" / "bin")) or shutil.which("sphinx-build")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(SPHINX is None, reason="make docs installs Sphinx")]


def built(pages: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [str(SPHINX), "-W", "--keep-going", "--quiet", "-d", f"{site}-doctrees", "-b", "html", pages, site]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_site_is_built_with_every_page_and_anchor(tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = built(ROOT / "docs", site)
    assert done.returncode == 0, done.stderr
    assert (site / "llms.txt").read_text() == (ROOT / "docs" / "llms.txt").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        place = site / page.relative_to(ROOT / "docs")
        assert place.is_file()
        assert place.with_suffix(".html").is_file()
    for code in (code for codes in explain.by_kind().values() for code in codes):
        page, _, anchor = explain.page(code).link.removeprefix("docs/").partition("#")
        assert f'id="{anchor}"' in (site / page).with_suffix(".html").read_text(encoding="utf-8"), code


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    pages = tmp_path / "project" / "docs"
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("how-to", "concepts", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", pages.parent)
    for page in pages.rglob("*.md"):
        page.write_text(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", page.read_text(encoding="utf-8")), encoding="utf-8")
    index = "# Pages\n\n[one](start.md#nowhere)\n\n```{toctree}\n:glob:\n\n*\nreference/*\n```\n"
    (pages / "index.md").write_text(index, encoding="utf-8")
    done = built(pages, tmp_path / "site")
    assert done.returncode == 1
    assert "index.html: no anchor start.html#nowhere" in done.stderr
    assert done.stderr.count("WARNING") == 1, done.stderr
