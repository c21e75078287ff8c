"""Pages of example runs, for tests that look at them and for screenshots.

`python tests/support/example_pages.py FOLDER` makes them, with screenshots if a browser is installed.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from pathlib import Path

import duckdb
import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support import browser
from support.accounts import opened
from support.sandboxes import sandboxes
from tranship.pipelines.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_data" / "crm_export.csv"


def example_pages(folder: Path) -> dict[str, Path]:
    """Make pages in this folder; return name → file."""
    return {"report": report(folder / "report"), "plan": plan(folder / "plan"), **migration(folder / "migration")}


def report(folder: Path) -> Path:
    """Return the report of the third day of a nightly run, with rejects, merges and changes."""
    folder.mkdir()
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


def plan(folder: Path) -> Path:
    """Return the page of a plan for a table: creates, updates, deletes and refusals."""
    folder.mkdir()
    state, database = folder / "state", folder / "warehouse.duckdb"
    with duckdb.connect(database) as connection:
        connection.execute(
            "CREATE TABLE customers (customer_key VARCHAR PRIMARY KEY, external_id VARCHAR, email VARCHAR, "
            "name VARCHAR CHECK (length(name) < 30), city VARCHAR, status VARCHAR, _run_id VARCHAR, "
            "_deleted_at TIMESTAMPTZ)"
        )
    address = f"duckdb:///{database}?table=customers"
    before, after = folder / "monday.csv", folder / "tuesday.csv"
    write_customers(before, 1, 30, "Leeds", "active")
    write_customers(after, 4, 36, "Porto", "suspended")
    _tranship("run", str(before), address, "--state-dir", str(state))
    mirror = ("--mode", "mirror", "--max-deletes", "5", "--max-rejects", "10%")
    _tranship("plan", str(after), address, "--out", str(folder / "plan"), "--state-dir", str(state), *mirror)
    return folder / "plan" / "plan.html"


def write_customers(file: Path, first: int, last: int, city: str, status: str) -> None:
    """Write customers with these numbers; the table refuses the name of number 33, and the last line is a reject."""
    rows = [
        f"C-{number},desk{number}@example.com,{'A very long company name, with ' * (number == 33)}Firm {number},"
        f"{city if number % 3 else 'Bonn'},{status if number % 5 else 'trial'},Pro"
        for number in range(first, last + 1)
    ]
    rows = [row if "with" not in row else row.replace("name, with", "name with") for row in rows]
    file.write_text("\n".join(["id,email,name,city,status,plan", *rows, "C-99,no address,Odd,Rome,active,Pro", ""]))


def migration(folder: Path) -> dict[str, Path]:
    """Return the pages of a migration to a provider that refuses and throttles: the plan after its first ten customers,
    and the migration once it was verified.
    """
    folder.mkdir()
    source, state, place = folder / "customers.csv", folder / "state", folder / "plan"
    rows = [
        f"C-{number},desk{number}@example.com,Firm {number},{['US', 'DE'][number % 2]},2024-01-{number % 28 + 1:02}"
        for number in range(60)
    ]
    rows[7] = "C-7,desk7@example.com,Firm 7,,2024-01-01"
    source.write_text("\n".join(["id,email,name,country,created_at", *rows, "C-98,no address,Odd,US,2024-01-01", ""]))
    with sandboxes() as start, pytest.MonkeyPatch.context() as patched:
        there = opened(start, "growpanel", weather={"seed": 3, "statuses": {"429": 0.1}, "retry_seconds": 0.2})
        for name, value in there.environment.items():
            patched.setenv(name, value)
        _tranship("plan", str(source), there.address, "--out", str(place), "--state-dir", str(state))
        _tranship("apply", str(place), "--limit", "10")
        begun = folder / "begun.html"
        shutil.copy(place / "plan.html", begun)
        _tranship("apply", str(place))
        _tranship("verify", str(place), "--state-dir", str(state))
    return {"plan-begun": begun, "migration": place / "migration.html"}


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
