"""The servers of postgres_server.py: they keep committed data, are separate, and leave nothing behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.postgres_server import Database, GivenServer, Installation, Server, UnavailableError, installations

pytestmark = [pytest.mark.postgres, pytest.mark.alternating("installation")]

HERE = Path(__file__).resolve().parent
PROGRAM = str(HERE / "support" / "postgres_server.py")
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path[1:]]), "PATH": os.defpath}

OWNER = """
import sys, time
from support import postgres_server
version = int(sys.argv[1])
with postgres_server.Server.started(next(i for i in postgres_server.installations() if i.version == version)) as server:
    print(server.folder, server.url(), flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(params=[one.version for one in installations()])
def installation(request: pytest.FixtureRequest) -> Installation:
    if os.environ.get("TEST_DATABASE_URL"):
        pytest.skip("TEST_DATABASE_URL names the server to be used: none is started")
    return next(one for one in installations() if one.version == request.param)


def owner(version: int, seconds: float, python: str = sys.executable, **options: Any) -> subprocess.Popen[str]:
    """A process that owns a server for this long; its first line is folder and address."""
    command = [python, "-c", OWNER, str(version), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, **options)


def told(process: subprocess.Popen[str]) -> tuple[Path, str]:
    assert process.stdout
    folder, url = process.stdout.readline().split()
    return Path(folder), url


def gone(folder: Path, url: str) -> bool:
    """Return whether the folder is removed, and no server answers, within a short time."""
    deadline = time.monotonic() + 120
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not folder.exists() and not answers(url)


def answers(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as connection:
        return connection.connect_ex((parts.hostname, parts.port)) == 0


def test_the_wheel_of_the_dev_requirements_brings_a_new_version() -> None:
    assert max(one.version for one in installations()) >= 18


def test_a_database_is_empty_takes_utf_8_and_keeps_to_itself(
    every_postgres_database: Database, postgres_servers: Callable[..., Server | GivenServer]
) -> None:
    every_postgres_database.do("CREATE TABLE t (a text)", "INSERT INTO t VALUES ('Žofie 🚢')")
    assert every_postgres_database.rows("SELECT a FROM t WHERE a LIKE %s", ["Ž%"]) == [{"a": "Žofie 🚢"}]

    [row] = every_postgres_database.rows("SELECT current_setting('server_version_num')::int / 10000 AS version")
    with postgres_servers(row["version"]).database() as other:
        assert other.url != every_postgres_database.url
        assert other.rows("SELECT 1 FROM pg_tables WHERE tablename = 't'") == []


def test_a_database_that_is_lent_again_is_like_a_new_one(installation: Installation) -> None:
    import psycopg

    def there(database: Database) -> list[dict[str, Any]]:
        return database.rows(
            "SELECT nspname::text AS name, nspacl::text AS rights, pg_get_userbyid(nspowner)::text AS owner "
            "FROM pg_namespace WHERE nspname !~ '^pg_temp|^pg_toast_temp' UNION ALL "
            "SELECT relname::text, relacl::text, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "UNION ALL SELECT proname::text, NULL, NULL FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
            "UNION ALL SELECT extname::text, NULL, NULL FROM pg_extension ORDER BY 1"
        )

    if installation.version < 15:
        pytest.skip("only later versions lend again")
    with Server.started(installation) as server:
        with server.lent() as first:
            before = there(first)
            first.do("CREATE SCHEMA other", "CREATE TABLE other.t (a int)", "CREATE TABLE t (a int)")
            first.do("CREATE TYPE state AS ENUM ('a')", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
            held = psycopg.connect(first.url)
            held.execute("LOCK TABLE t")
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
        held.close()
        with server.lent() as second, server.lent() as third:
            assert (second.url == first.url, third.url == first.url) == (True, False)
            assert there(second) == there(third) == before
            name = urlsplit(second.url).path.removeprefix("/")
            second.do(f"ALTER DATABASE {name} SET work_mem = '1MB'")
        with server.lent() as last, server.lent() as other:
            assert second.url not in (last.url, other.url)


def test_a_database_is_dropped_though_somebody_is_connected(
    postgres_servers: Callable[..., Server | GivenServer], postgres_database: Database
) -> None:
    import psycopg

    with postgres_servers().database() as database:
        name = urlsplit(database.url).path.removeprefix("/")
        held = psycopg.connect(database.url)

    assert postgres_database.rows("SELECT 1 FROM pg_database WHERE datname = %s", [name]) == []
    with pytest.raises(psycopg.OperationalError):
        held.execute("SELECT 1")
    held.close()


def test_what_was_committed_outlives_an_immediate_stop_and_what_was_not_does_not(installation: Installation) -> None:
    import psycopg

    with Server.started(installation) as server, server.database() as database:
        address = database.url
        database.do("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
        client = psycopg.connect(address)
        client.execute("INSERT INTO t VALUES (2)")
        server.stop(immediate=True)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(address)
        server.start()

        with pytest.raises(psycopg.OperationalError):
            client.commit()
        client.close()
        assert database.rows("SELECT a FROM t") == [{"a": 1}]
        server.stop()
        server.start()
        assert database.rows("SELECT a FROM t") == [{"a": 1}]


def test_a_durable_server_has_the_default_settings() -> None:
    changed = "SELECT name FROM pg_settings WHERE source = 'command line' ORDER BY name"
    own = ["listen_addresses", "port", "unix_socket_directories"]
    with Server.started(installations()[0], durable=True) as server:
        names = [row["name"] for row in Database(server.url()).rows(changed)]
    assert [name for name in names if name not in ("config_file", "data_directory", "hba_file", "ident_file")] == own


def test_nothing_stays_of_a_server_whose_owner_is_killed(installation: Installation) -> None:
    process = owner(installation.version, 3600)
    folder, url = told(process)
    assert Database(url).rows("SELECT 1 AS a") == [{"a": 1}]
    process.kill()
    process.communicate()

    assert gone(folder, url)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_an_ordinary_user_starts_one_too(installation: Installation) -> None:
    nobody = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": [], "cwd": "/"}
    sees = f"import postgres_server as p; exit({installation.version} not in [i.version for i in p.installations()])"
    for python in (sys.executable, shutil.which("python3", path=os.defpath) or sys.executable):
        with suppress(PermissionError):
            if not subprocess.run([python, "-c", sees], env=ENVIRONMENT, check=False, **nobody).returncode:
                break
    else:
        pytest.skip("no Python, or not this server, can be run by another user here")
    process = owner(installation.version, 0.1, python, **nobody)
    folder, url = told(process)
    process.communicate()

    assert process.returncode == 0
    assert gone(folder, url)


@pytest.mark.skipif(os.geteuid() != 0, reason="root's server runs as another user")
def test_root_starts_one_from_a_folder_that_only_root_can_enter(tmp_path: Path) -> None:
    found = next(one for one in installations() if one.parts)
    above = Path(os.path.commonpath(found.parts))
    tmp_path.chmod(0o700)
    closed = tuple(tmp_path / part.relative_to(above) for part in found.parts)
    for part, copy in zip(found.parts, closed, strict=True):
        shutil.copytree(part, copy, symlinks=True)
    hidden = Installation(found.version, tmp_path / found.programs.relative_to(above), closed)

    with Server.started(hidden) as server:
        assert Database(server.url()).rows("SELECT 1 AS a") == [{"a": 1}]
    assert not server.folder.exists()


def test_root_cannot_start_what_another_user_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "initdb").touch(mode=0o600)
    with pytest.raises(UnavailableError, match="Postgres 99 cannot be run"), Server.started(Installation(99, tmp_path)):
        pass


def test_a_given_server_is_given_databases_and_left_running() -> None:
    with Server.started(installations()[0]) as server:
        given = GivenServer(server.url() + "?connect_timeout=5")
        assert given.version == server.version
        with given.database() as database:
            assert database.url.endswith("?connect_timeout=5")
            assert database.rows("SELECT current_database() AS name") != [{"name": "postgres"}]
        databases = Database(server.url()).rows("SELECT datname FROM pg_database WHERE NOT datistemplate")
        assert databases == [{"datname": "postgres"}]


def test_a_command_is_run_beside_a_server_and_its_exit_code_handed_on() -> None:
    command = 'echo "$DATABASE_URL"; exit 7'
    answer = subprocess.run(
        [sys.executable, PROGRAM, "--", "sh", "-c", command], stdout=subprocess.PIPE, text=True, check=False
    )
    assert answer.returncode == 7
    assert urlsplit(answer.stdout.strip()).scheme == "postgresql"
    assert not answers(answer.stdout.strip())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_no_server(number: signal.Signals) -> None:
    command = [sys.executable, PROGRAM, "--", "sh", "-c", 'echo "$DATABASE_URL"; exec sleep 3600']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout
    url = process.stdout.readline().strip()
    assert Database(url).rows("SELECT 1 AS a") == [{"a": 1}]
    os.killpg(process.pid, number)
    process.communicate(timeout=300)

    assert process.returncode == 128 + number
    assert not answers(url)
