"""Runs into Postgres, in this process or in a separate one that can be killed, and the traces that they leave."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from support.postgres_server import Database
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.report import Report

ROOT = Path(__file__).resolve().parent.parent.parent
QUIET_SECONDS = 120

# After all imports, it waits for its start; an error with a message is its last line.
RUN = """
import json, sys
import adbc_driver_postgresql.dbapi, duckdb
import tranship.connectors.databases.postgres.table
from tranship.connectors.errors import TranshipError
from tranship.pipelines import run, settings
given = settings.load(dict(zip(("source", "destination", "state_dir"), sys.argv[1:])) | json.loads(sys.argv[4]), {})
print("ready", flush=True)
sys.stdin.readline()
try:
    run.run(given)
except TranshipError as error:
    print(type(error).__name__, error)
    sys.exit(error.exit_code)
"""


def address(database: Database, table: str = "customers") -> str:
    return f"{database.url}?table={quote(table)}"


def load(database: Database, source: Path | str, folder: Path, *, table: str = "customers", **options: Any) -> Report:
    """Run in this process, with its files below `folder`."""
    given = {"source": str(source), "destination": address(database, table), "state_dir": folder / "state"}
    return flow.run(settings.load({**given, **options}, {}))


@dataclass
class Process:
    """A run in a separate process, which waits until it is started."""

    folder: Path
    process: subprocess.Popen[str]

    @classmethod
    def waiting(
        cls, database: Database, source: Path, folder: Path, table: str = "customers", **options: Any
    ) -> Process:
        arguments = [str(source), address(database, table), str(folder / "state"), json.dumps(options)]
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RUN, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        return cls(folder, process)

    def start(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        said = self.process.stdout.readline()
        assert said == "ready\n", said + self.process.stdout.read()
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def wait_until(self, seconds: float, *, step: str | None = None) -> None:
        """Wait for this time after its start, or after this step is done, or until its end, whichever is first."""
        manifests = self.folder / "state" / "runs"
        while step and self.process.poll() is None:
            if any(f'"{step}": {{' in file.read_text() for file in manifests.glob("*/manifest.json")):
                break
            time.sleep(0.002)
        time.sleep(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def ended(self) -> tuple[int, str]:
        """Return its exit code and its last line of output."""
        said, _ = self.process.communicate()
        return self.process.returncode, said.strip().rpartition("\n")[2]


def contents(database: Database, table: str = "customers") -> str:
    """Return a digest of all rows, except for the run that wrote them; `nothing` if there is no table."""
    names = database.rows(
        "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY column_name) AS all FROM information_schema.columns "
        "WHERE table_name = %s AND column_name <> '_run_id'",
        [table],
    )[0]["all"]
    if not names:
        return "nothing"
    [row] = database.rows(
        "SELECT count(*) || ' ' || md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE \"C\")) AS found "
        f'FROM (SELECT {names} FROM "{table}") t'
    )
    return str(row["found"])


def left_behind(database: Database) -> list[str]:
    """Return connections, locks, prepared transactions and temporary objects of runs that have ended, after the server
    had time to notice.
    """
    query = """
        WITH here AS (SELECT oid FROM pg_database WHERE datname = current_database())
        SELECT 'connection: ' || state || ' ' || left(query, 80) AS what FROM pg_stat_activity
            WHERE datid = (SELECT oid FROM here) AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        UNION ALL SELECT 'lock: ' || locktype || ' ' || mode FROM pg_locks
            WHERE database = (SELECT oid FROM here) AND pid <> pg_backend_pid()
            AND pid IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend')
        UNION ALL SELECT 'prepared: ' || gid FROM pg_prepared_xacts
        UNION ALL SELECT 'temporary: ' || relname FROM pg_class WHERE relpersistence = 't'
        UNION ALL SELECT 'temporary: ' || proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE nspname LIKE 'pg\\_temp%'
        UNION ALL SELECT 'table: ' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE nspname = 'public' AND relkind = 'r' AND relname NOT IN
            ('customers', 'customers_history', '_tranship_ledger', '_tranship_changes', '_tranship_histories')
    """
    deadline = time.monotonic() + QUIET_SECONDS
    while (found := [row["what"] for row in database.rows(query)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
