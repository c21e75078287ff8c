"""The picture of a report in the README, light and dark, from a real run.

`python tests/support/report_picture.py FOLDER` writes it; `make pages` does so if a browser is installed.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support import browser
from support.commands import told

SAMPLE: Final = Path(__file__).resolve().parents[2] / "sample_data" / "crm_export.csv"
_WIDTH: Final = 560
"""Pixels of the page: so narrow that its text can be read on a phone."""
_SCALE: Final = 1.5


def report(folder: Path) -> Path:
    """Return the report of the second load of an export, in which some customers have changed."""
    source = folder / "crm_export.csv"
    words = ("run", "crm_export.csv", "duckdb:///warehouse.duckdb?table=customers")
    with contextlib.chdir(folder):
        text = SAMPLE.read_text(encoding="utf-8", errors="surrogateescape")
        lines = text.splitlines(keepends=True)
        source.write_text("".join(lines[:30]), encoding="utf-8", errors="surrogateescape")
        told(*words)
        source.write_text(text.replace(",active,", ",suspended,"), encoding="utf-8", errors="surrogateescape")
        code, _, err = told(*words, "--older", "write")
    assert code == 4, err
    return max(folder.glob(".tranship/runs/*/report.html"), key=lambda page: page.stat().st_mtime_ns)


def write(folder: Path) -> list[Path]:
    """Write the pictures into this folder, and return them. A browser must be installed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"report-{name}.png" for name in ("light", "dark")]
    place = Path(tempfile.mkdtemp())
    try:
        page = report(place)
        with browser.started() as shown:
            for file, dark in zip(files, (False, True), strict=True):
                shown.open(page, _WIDTH, dark=dark)
                shown.picture(file, ".flow + p", _SCALE)
    finally:
        shutil.rmtree(place)
    return files


if __name__ == "__main__":
    if browser.installed() is None:
        print("No browser is installed: the picture of a report is not made again.", file=sys.stderr)
    else:
        print("Written:", *write(Path(sys.argv[1])))
