"""Pages of example runs, for tests that look at them and for screenshots.

`python tests/support/example_pages.py FOLDER` makes them, with screenshots if a browser is installed.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support import browser
from tranship.pipelines.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data" / "crm_export.csv"


def example_pages(folder: Path) -> dict[str, Path]:
    """Make pages in this folder; return name → file."""
    return {"report": _report(folder)}


def _report(folder: Path) -> Path:
    """Return the report of the third day of a nightly run, with rejects, merges and changes."""
    state, address = folder / "state", f"duckdb:///{folder}/warehouse.duckdb?table=customers"
    text = SAMPLE.read_bytes()
    before: set[Path] = set()
    for day in (1, 2, 3):
        before = {*state.glob("runs/*")}
        source = folder / f"crm_export_2024-03-0{day}.csv"
        source.write_bytes(text)
        _tranship("run", str(source), address, "--state-dir", str(state))
        text = text.replace(b"2024-0", b"2025-0" if day == 1 else b"2026-0").replace(b"Seattle", b"Tacoma")
        text = text.replace(b",active,", b",suspended,") if day == 1 else text.replace(b"2025-0", b"2026-0")
    [last] = {*state.glob("runs/*")} - before
    return last / "report.html"


def _tranship(*words: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(words)
    assert code in (0, 4), said.getvalue()


def main(folder: Path) -> int:
    """Make the pages, copy them to one folder, and write screenshots."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "runs").mkdir(parents=True)
    for name, page in example_pages(folder / "runs").items():
        shutil.copy(page, folder / f"{name}.html")
    print(f"Written: {folder}/*.html")
    return browser.main([*map(str, sorted(folder.glob("*.html"))), "--out", str(folder)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
