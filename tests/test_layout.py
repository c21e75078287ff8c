"""The import rules and the purpose of each folder, checked by reading the source; no code is run."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("schemas", "connectors", "pipelines")
"""Folders at the root of the repository; they are imported as `tranship.schemas` and so on. Modules are named here
without the prefix `tranship`: `connectors.errors`."""


class Rule(NamedTuple):
    module: str
    may_import: tuple[str, ...]
    """Patterns; one that begins with ! excludes modules."""
    advice: str


EVERYBODY = (
    *("connectors.addresses", "connectors.address_secrets", "connectors.contract", "connectors.errors"),
    *("connectors.key_shapes", "connectors.known_secrets", "connectors.suggestions", "connectors.value_errors"),
    *("connectors.mirrored", "schemas.*"),
)
"""Modules that every connector and every step may import: the shared types, the errors, the display of addresses,
suggestions of names, reasons for invalid values, folders that are copies of a place elsewhere, and the definitions of
valid data."""

FLOOR = (
    *EVERYBODY,
    *("connectors.background_loop", "connectors.durable", "connectors.existing", "connectors.hosts"),
    "connectors.local_failures",
)
"""Modules that all connectors may import."""

ENTRANCE = (
    "connectors.registry",
    "connectors.plug_ins",
    "connectors.lookup",
    "connectors.declared_options",
    "connectors.opening",
    "connectors.apart",
    "connectors.provider_services",
)
"""Modules through which the pipeline and the commands find and use connectors."""

SHARED_BY_DATABASES = tuple(
    f"connectors.databases.{path.stem}" for path in sorted((ROOT / "connectors" / "databases").glob("[!_]*.py"))
)

RULES = (
    Rule(
        "tranship",
        (
            *("pipelines.*", "connectors.errors", "connectors.local_failures", "connectors.provider_services"),
            "connectors.sandbox.session",
        ),
        "tranship/ is the public API: it passes calls on to pipelines/, and opens sandboxes, which are not part of a run. Its logic belongs in pipelines/.",
    ),
    Rule("tranship.__main__", ("tranship",), "It only calls the command."),
    Rule("schemas.data.build", (), "The script that writes the tables imports no module of the product."),
    Rule(
        "schemas.exports.build",
        (),
        "The script that writes the index and the page of profiles imports no module of the product.",
    ),
    Rule(
        "tranship.spark",
        ("pipelines.arguments", "pipelines.distributed.*"),
        "It passes calls on to pipelines/distributed/.",
    ),
    Rule(
        "schemas.*",
        ("schemas.*", "!schemas.providers.*"),
        "Schemas define valid data and import nothing above them, and a provider's schema imports no other provider. Code with side effects belongs in pipelines/ or connectors/.",
    ),
    Rule(
        "connectors.contract",
        ("schemas.*",),
        "The contract contains only types. Code with side effects belongs in a connector.",
    ),
    Rule(
        "connectors.errors",
        ("connectors.mirrored", "schemas.*"),
        "Errors import definitions of valid data, and the names of places for their messages.",
    ),
    Rule("connectors.mirrored", (), "What all code may call about working copies imports none of it."),
    Rule(
        "connectors.state_store.*",
        (*FLOOR, "connectors.state_store.*"),
        "A state directory in a bucket is files and locks; what is in the files is known in pipelines/.",
    ),
    Rule("connectors.suggestions", ("schemas.*",), "Suggestions are derived from names alone."),
    Rule("connectors.value_errors", (), "Reasons are derived only from pydantic's errors."),
    *(
        Rule(
            f"connectors.{name}",
            ("connectors.addresses", "connectors.address_secrets", "connectors.errors", "schemas.*"),
            "Code for all addresses, and for secrets in them, imports no connector.",
        )
        for name in ("addresses", "address_secrets", "key_shapes", "known_secrets")
    ),
    *(
        Rule(
            f"connectors.{name}",
            EVERYBODY,
            "Code shared by files, databases and providers is at the root of connectors/ and imports none of them.",
        )
        for name in ("background_loop", "chain", "durable", "existing", "hosts", "local_failures")
    ),
    Rule(
        "connectors.json_text.*",
        ("connectors.json_text.*", "connectors.errors", "schemas.*"),
        "JSON code shared by files and providers imports neither of them.",
    ),
    Rule(
        "connectors.files.*",
        (*FLOOR, "connectors.files.*", "connectors.json_text.*"),
        "Code for files is in connectors/files/. Code that databases need too belongs at the root of connectors/.",
    ),
    *(
        Rule(
            f"connectors.databases.{database}.*",
            (*FLOOR, f"connectors.databases.{database}.*", *SHARED_BY_DATABASES),
            "A database imports its own folder, and the code in connectors/databases/ shared by all databases; no files and no other database. Code that files need too belongs at the root of connectors/.",
        )
        for database in ("duckdb", "postgres")
    ),
    Rule(
        "connectors.databases.*",
        (*FLOOR, *SHARED_BY_DATABASES),
        "Code shared by databases is in connectors/databases/ and imports none of them; code that files need too belongs at the root of connectors/.",
    ),
    Rule(
        "connectors.api.*",
        (
            *(*FLOOR, "connectors.api.*", "connectors.json_text.*"),
            *("connectors.databases.diff", "connectors.databases.quoting", "connectors.databases.table_mapping"),
        ),
        "Code shared by the connectors of all providers imports none of them. From databases it imports only the comparison (diff.py), the mapping of tables (table_mapping.py) and the quoting of SQL (quoting.py).",
    ),
    *(
        Rule(
            f"connectors.providers.{path.stem}",
            ("connectors.api.*", "connectors.errors", f"schemas.providers.{path.stem}"),
            "A provider's file contains its particulars. Code shared by two of them belongs in connectors/api/.",
        )
        for path in sorted((ROOT / "connectors" / "providers").glob("[!_]*.py"))
    ),
    Rule(
        "connectors.sandbox.*",
        ("connectors.sandbox.*", "connectors.api.json_codec", "connectors.errors", "connectors.hosts", "schemas.*"),
        "A sandbox simulates the provider: it imports its schema, not the connector that is tested with it.",
    ),
    Rule(
        "connectors.testing",
        (*ENTRANCE, *EVERYBODY),
        "The contract suites open connectors as the pipeline does.",
    ),
    Rule(
        "connectors.registry",
        (*EVERYBODY, "connectors.api.spec"),
        "The registry declares connectors by name and imports none of them, nor pipelines.",
    ),
    *(
        Rule(name, ("connectors.*", "schemas.*"), "This imports connectors, but no pipelines.")
        for name in (*ENTRANCE[1:], "connectors.task_files")
    ),
    Rule(
        "pipelines.cli.*",
        (
            "pipelines.*",
            *ENTRANCE,
            "connectors.addresses",
            "connectors.errors",
            "connectors.key_shapes",
            "connectors.local_failures",
            "connectors.mirrored",
            "schemas.*",
        ),
        "A command parses, calls one function of pipelines and prints. The work belongs in pipelines/.",
    ),
    *(
        Rule(
            f"pipelines.{name}",
            (
                *EVERYBODY,
                "pipelines.*",
                "!pipelines.cli.*",
                "!pipelines.run",
                "!pipelines.job",
                "!pipelines.flow",
                *ENTRANCE,
            ),
            "Sources and destinations are opened through connectors/opening.py; code for one connector belongs in its own file.",
        )
        for name in ("endpoints", "compared_file")
    ),
    Rule(
        "pipelines.run",
        (*EVERYBODY, "pipelines.*", "!pipelines.cli.*", "connectors.durable", "connectors.local_failures"),
        "run.py and job.py open the two ends through pipelines/endpoints.py and hand them to the flow.",
    ),
    Rule(
        "pipelines.job",
        (*EVERYBODY, "pipelines.*", "!pipelines.cli.*", "!pipelines.run"),
        "job.py opens the two ends through pipelines/endpoints.py and hands them to the flow.",
    ),
    *(
        Rule(
            f"pipelines.distributed.{name}",
            (
                *(
                    *EVERYBODY,
                    "pipelines.*",
                    "!pipelines.cli.*",
                    "!pipelines.run",
                    "!pipelines.job",
                    "!pipelines.flow",
                    *ENTRANCE,
                ),
                *("connectors.task_files", "connectors.files.data_folder"),
            ),
            "engine_checks.py checks, and engine_ends.py opens the two ends of a run on an engine, as endpoints.py does on one machine.",
        )
        for name in ("engine_ends", "engine_checks")
    ),
    Rule(
        "pipelines.distributed.destinations.*",
        (
            *(*EVERYBODY, "pipelines.distributed.*", "pipelines.present", "connectors.existing", "connectors.opening"),
            *("connectors.databases.postgres.*", "connectors.files.data_folder", *SHARED_BY_DATABASES),
        ),
        "A destination of an engine takes the rules of tables from connectors/databases/, and from Postgres what is done on one machine.",
    ),
    Rule(
        "pipelines.setting_values",
        (*EVERYBODY, "pipelines.*", "!pipelines.cli.*", "connectors.state_store.opening"),
        "The address of a state directory in a bucket is a setting whose value is its working copy.",
    ),
    Rule(
        "pipelines.backfill",
        (*EVERYBODY, "pipelines.*", "!pipelines.cli.*", "connectors.durable"),
        "A backfill is a series of runs.",
    ),
    Rule(
        "pipelines.distributed.*",
        (
            *(*EVERYBODY, "pipelines.*", "!pipelines.cli.*", "!pipelines.run", "!pipelines.job", "!pipelines.flow"),
            *("connectors.files.arrow_columns", "connectors.files.data_folder", "connectors.task_files"),
        ),
        "Cleaning on an engine takes the pure steps, and columns of Arrow as files do. Files are opened by tasks, "
        "through connectors/task_files.py.",
    ),
    Rule(
        "pipelines.*",
        (
            *EVERYBODY,
            "pipelines.*",
            "!pipelines.cli.*",
            "!pipelines.run",
            "!pipelines.job",
            "connectors.durable",
            "connectors.local_failures",
        ),
        "A step imports schemas, the types of connectors/contract.py and other steps. Code that joins steps and connectors belongs in pipelines/job.py.",
    ),
)
"""The first rule that matches a module applies. No rule allows an upward import: only endpoints.py, compared_file.py
and the commands open connectors."""

EXCEPTIONS = {
    ("connectors.errors", "pipelines.report"): "for type checkers only: an error carries the report of its run",
}
"""Imports that break a rule for now, each with the change that will remove it."""

LAZY = (
    *(*ENTRANCE, "connectors.addresses", "connectors.address_secrets", "connectors.chain", "connectors.contract"),
    *("connectors.errors", "connectors.key_shapes", "connectors.known_secrets", "connectors.local_failures"),
    "connectors.value_errors",
)
"""Everything that is imported before a connector is requested."""

PURE = (
    *("pipelines.mapping", "pipelines.normalise.*", "pipelines.validate", "pipelines.judging"),
    *("pipelines.cursor", "pipelines.increment"),
    *("pipelines.sort_out", "pipelines.identify"),
    *("pipelines.distributed.stage_task", "pipelines.distributed.group_tasks"),
    *("pipelines.inspection", "pipelines.report", "pipelines.cli.render"),
)
"""Steps without side effects: equal input frames give equal output frames."""

OUTSIDE = (
    *("asyncio", "aiohttp", "duckdb", "http", "io", "os", "obstore", "pathlib", "random", "requests", "secrets"),
    *("shutil", "socket", "sqlalchemy", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib"),
    "uuid",
)
"""Modules that give access to files, sockets, databases, clocks, randomness and the environment."""

OUTSIDE_CALLS = (
    *("open", "print", "input", "*.now", "*.utcnow", "*.today", "pl.read_*", "pl.scan_*", "*.write_*", "*.sink_*"),
)

LEFTOVERS = ("utils", "util", "helpers", "helper", "common", "misc", "shared", "manager", "base", "tools", "lib")


# Files, modules, imports -----------------------------------------------------------------------------------------


@cache
def files(root: Path) -> tuple[Path, ...]:
    """Return the files of the repository, including new ones, but not files that tools have left in a checkout."""
    git = ("git", "-C", str(root))
    try:
        top = subprocess.run((*git, "rev-parse", "--show-toplevel"), capture_output=True, text=True, check=True).stdout
        ours = Path(top.rstrip("\n")).resolve() == root
        command = (*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout if ours else ""
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    found = map(root.joinpath, listed.rstrip("\0").split("\0")) if listed else _walked(root)
    return tuple(sorted(path for path in found if path.is_file()))


def _walked(root: Path) -> Iterator[Path]:
    lines = (root / ".gitignore").read_text(encoding="utf-8").split() if (root / ".gitignore").exists() else []
    ignored = [line.strip("/") for line in lines]

    def walk(folder: Path) -> Iterator[Path]:
        for path in folder.iterdir():
            names = (path.name, path.relative_to(root).as_posix())
            if path.is_symlink() or path.name == ".git" or any(_fits(name, ignored) for name in names):
                continue
            yield from walk(path) if path.is_dir() else [path]

    yield from walk(root)


def modules() -> list[str]:
    """Return every module of the product."""
    of_python = [path for path in files(ROOT) if path.suffix == ".py"]
    return [_name(path) for path in of_python if path.relative_to(ROOT).parts[0] in ("tranship", *ROOMS)]


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every module that is imported, at the top or within a function, with the line; a module of the product
    without the prefix."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((_place(alias.name), node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                inner = _place(f"{origin}.{alias.name}")
                is_module = inner.split(".")[0] in ROOMS and _path(inner).exists()
                yield inner if is_module else _place(origin), node.lineno


def _place(name: str) -> str:
    """`connectors.errors` of `tranship.connectors.errors`. Other modules are not part of the product."""
    if name.split(".")[0] in ROOMS:
        return f"/{name}"
    return name.removeprefix("tranship.") if name.split(".")[1:2] and name.split(".")[1] in ROOMS else name


def _fits(name: str, patterns: tuple[str, ...] | list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def broken(module: str, target: str) -> str | None:
    """Return the reason why this import is not allowed; null if it is, ignoring the exceptions."""
    if target.startswith((".", "/")):
        return "Imports begin with tranship: tranship.schemas, tranship.connectors, tranship.pipelines."
    if target.split(".")[0] not in (*ROOMS, "tranship", "tests", "support", "benchmarks") or target == module:
        return None
    if module != "tranship" and _path(module).name == "__init__.py":
        return "A package's __init__ contains only its docstring; code belongs in a module of its own."
    rule = next((rule for rule in RULES if fnmatchcase(module, rule.module)), None)
    if not rule:
        return (
            "No rule of tests/test_layout.py is for this module. Move it to a folder where it belongs, or add a rule."
        )
    denied = [pattern[1:] for pattern in rule.may_import if pattern.startswith("!")]
    allowed = _fits(target, rule.may_import) and not _fits(target, denied)
    return None if allowed else rule.advice


# The rules -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_imports_go_down_only() -> None:
    found = [
        f"{_path(module).relative_to(ROOT)}:{line} imports {target.lstrip('/')}. {advice}"
        for module in modules()
        for target, line in imports(_tree(_path(module)))
        if (module, target) not in EXCEPTIONS and (advice := broken(module, target))
    ]
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_nothing_is_imported_in_a_circle() -> None:
    names = set(modules())
    graph = {name: {target for target, _ in imports(_tree(_path(name)))} & names - {name} for name in names}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        pytest.fail(f"{circle}: what two modules need of each other belongs in a third one below them.")


@pytest.mark.parametrize("module", ENTRANCE)
def test_connectors_are_imported_when_they_are_asked_for(module: str) -> None:
    top = [node for node in _tree(_path(module)).body if isinstance(node, ast.Import | ast.ImportFrom)]
    for target, line in imports(ast.Module(top, [])):
        if target.split(".")[0] in ROOMS and (module, target) not in EXCEPTIONS:
            assert target in LAZY, f"{module}:{line} imports {target} at its top: import it where it is used."


@pytest.mark.slow
def test_names_are_suggested_in_one_place() -> None:
    places = {
        module: line
        for module in modules()
        for target, line in imports(_tree(_path(module)))
        if target == "difflib" and module != "connectors.suggestions"
    }
    assert not places, "they import difflib: connectors/suggestions.py suggests similar names."


@pytest.mark.parametrize(("module", "target"), EXCEPTIONS)
def test_an_exception_is_needed(module: str, target: str) -> None:
    there = target in {name for name, _ in imports(_tree(_path(module)))}
    against = broken(module, target) or (module in ENTRANCE and target not in LAZY)
    assert there, f"{module} no longer imports {target}: take it out of EXCEPTIONS."
    assert against, f"{module} may import {target}: take it out of EXCEPTIONS."


@pytest.mark.parametrize(
    ("module", "target", "said"),
    [
        ("schemas.codes", "connectors.errors", "Code with side effects belongs in pipelines/ or connectors/"),
        ("schemas.providers.metronome", "schemas.providers.metrifox", "no other provider"),
        ("connectors.contract", "connectors.errors", "only types"),
        ("connectors.files.csv", "connectors.databases.diff", "at the root of connectors/"),
        ("connectors.json_text.columns", "connectors.files.csv", "imports neither of them"),
        ("connectors.databases.diff", "connectors.files.csv", "imports none of them"),
        ("connectors.databases.diff", "connectors.databases.postgres.table", "imports none of them"),
        ("connectors.databases.duckdb.table", "connectors.databases.postgres.sql", "no other database"),
        ("connectors.api.journal", "connectors.providers.metronome", "imports none of them"),
        ("connectors.providers.metronome", "connectors.providers.metrifox", "belongs in connectors/api/"),
        ("connectors.sandbox.store", "connectors.providers.metronome", "simulates the provider"),
        ("connectors.api.source", "connectors.registry", "imports none of them"),
        ("connectors.registry", "pipelines.settings", "nor pipelines"),
        ("pipelines.stage", "connectors.registry", "belongs in pipelines/job.py"),
        ("pipelines.stage", "pipelines.run", "belongs in pipelines/job.py"),
        ("pipelines.run", "pipelines.cli.main", "through pipelines/endpoints.py"),
        ("pipelines.run", "connectors.registry", "through pipelines/endpoints.py"),
        ("pipelines.job", "pipelines.run", "through pipelines/endpoints.py"),
        ("pipelines.stage", "pipelines.job", "belongs in pipelines/job.py"),
        ("pipelines.endpoints", "pipelines.run", "through connectors/opening.py"),
        ("pipelines.cli.main", "connectors.api.source", "The work belongs in pipelines/"),
        ("connectors.attic", "connectors.errors", "No rule"),
        ("connectors.files", "connectors.errors", "__init__ contains only its docstring"),
        ("schemas.codes", "/schemas.customer", "begin with tranship"),
    ],
)
def test_a_broken_rule_is_seen(module: str, target: str, said: str) -> None:
    assert said in (broken(module, target) or "")


def test_imports_are_seen_wherever_they_stand() -> None:
    code = """
        from tranship.connectors import errors, registry
        from tranship.connectors.files.csv import CsvOptions
        import connectors
        def f():
            import tranship.pipelines.run
            from .codes import currencies
    """
    tree = ast.parse("if True:\n" + code)
    assert {target for target, _ in imports(tree)} == {
        *("connectors.errors", "connectors.registry", "connectors.files.csv", "pipelines.run"),
        *("/connectors", ".codes"),
    }


def test_pure_steps_stay_pure() -> None:
    advice = (
        "Files, sockets, databases, clocks and the environment stay at the two ends: connectors/ reads and "
        "writes, pipelines/run_directory.py and stage.py keep the run directory, pipelines/job.py hands in time and run id."
    )
    for module in (module for module in modules() if _fits(module, PURE)):
        where, tree = _path(module).relative_to(ROOT), _tree(_path(module))
        for target, line in imports(tree):
            assert target.split(".")[0] not in OUTSIDE, f"{where}:{line} imports {target}. {advice}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                assert not _fits(call, OUTSIDE_CALLS), f"{where}:{node.lineno} calls {call}(). {advice}"


# The folders -------------------------------------------------------------------------------------------------------


def test_no_room_for_leftovers() -> None:
    for path in files(ROOT):
        for name in (*path.relative_to(ROOT).parts[:-1], path.stem):
            assert name.lower() not in LEFTOVERS, (
                f"{path.relative_to(ROOT)}: code goes where it is used, or into a module named for what it knows."
            )


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_tests_stand_where_the_code_stands(room: str) -> None:
    for test in files(ROOT):
        if not test.is_relative_to(ROOT / "tests" / room) or not fnmatchcase(test.name, "test_*.py"):
            continue
        where = test.relative_to(ROOT)
        folder = test.parent.relative_to(ROOT / "tests")
        assert (ROOT / folder).is_dir(), f"{where}: there is no {folder}/. Tests stand as the code does."
        assert any(target.split(".")[0] == room for target, _ in imports(_tree(test))), (
            f"{where}: tests nothing of {room}/. A test belongs in the folder of the module it tests; a test of the whole product belongs in tests/, and helpers of tests in tests/support/."
        )


ABOUT_ALL = {"tests/connectors/providers/test_writing.py"}
"""Suites over all modules of a folder."""


@pytest.mark.parametrize("room", ROOMS)
def test_a_test_is_named_for_its_module(room: str) -> None:
    for test in files(ROOT):
        where = test.relative_to(ROOT).as_posix()
        if not test.is_relative_to(ROOT / "tests" / room) or not test.name.startswith("test_") or where in ABOUT_ALL:
            continue
        folder = ROOT / test.parent.relative_to(ROOT / "tests")
        known = {path.stem for path in folder.iterdir()}
        name = test.stem.removeprefix("test_")
        assert any(name == module or name.startswith(f"{module}_") for module in known), (
            f"{where}: no module of {folder.relative_to(ROOT)}/ is called so. A test is named for its module, and may "
            "add what it is about: test_csv_fuzz.py tests csv.py."
        )


@pytest.mark.parametrize("folder", ["tests", "tests/support"])
def test_what_helps_tests_stands_in_support(folder: str) -> None:
    here = [path for path in files(ROOT) if path.parent == ROOT / folder and path.suffix == ".py"]
    for path in here:
        is_test = path.stem == "conftest" or path.stem.startswith("test_")
        assert is_test == (folder == "tests"), (
            f"{path.relative_to(ROOT)}: tests in tests/, what helps in tests/support/."
        )


@pytest.mark.slow
def test_every_module_says_what_it_is() -> None:
    silent = [module for module in modules() if not ast.get_docstring(_tree(_path(module)))]
    assert not silent, "they begin without a docstring."


def test_the_oracle_knows_nothing_of_the_code() -> None:
    for target, line in imports(_tree(ROOT / "tests" / "support" / "oracle.py")):
        ours = target.split(".")[0] in ("tranship", "support", *ROOMS)
        assert not ours, (
            f"tests/support/oracle.py:{line} imports {target}: it implements the rules a second time, independently."
        )


# Ports -----------------------------------------------------------------------------------------------------------

LOOPBACK_PORT = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\]|0\.0\.0\.0):[1-9]\d*")
ONLY_READ = {
    "tests/connectors/api/test_source.py": "addresses that are parsed",
    "tests/pipelines/test_locks.py": "addresses that are compared",
    "tests/test_layout.py": "the examples below",
}
"""Files whose addresses have ports and are never contacted."""


def fixed_ports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of each fixed port in a test, which another process may be using."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, found) for found in LOOPBACK_PORT.findall(node.value))
        elif isinstance(node, ast.keyword) and node.arg == "port" and _is_port(node.value):
            yield node.value.lineno, f"port={ast.unparse(node.value)}"
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "port" and _is_port(value):
                    yield value.lineno, f"port: {ast.unparse(value)}"
        elif isinstance(node, ast.Tuple | ast.List | ast.Call):
            words = node.args if isinstance(node, ast.Call) else node.elts
            for first, second in pairwise(words):
                is_host = isinstance(first, ast.Constant) and first.value in (*HOSTS, "--port", "-p")
                if is_host and _is_port(second):
                    yield second.lineno, f"{ast.unparse(first)}, {ast.unparse(second)}"


HOSTS = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


def _is_port(node: ast.expr) -> bool:
    """Return whether this is a number other than 0, which means any free port."""
    return isinstance(node, ast.Constant) and str(node.value).isdecimal() and int(str(node.value)) > 0


@pytest.mark.slow
def test_no_test_names_a_port() -> None:
    for path in files(ROOT):
        if not path.is_relative_to(ROOT / "tests") or path.suffix != ".py":
            continue
        test, found = str(path.relative_to(ROOT)), list(fixed_ports(_tree(path)))
        if test in ONLY_READ:
            assert found, f"{test} names no port: take it out of ONLY_READ."
            continue
        assert not found, (
            f"{test}: {found} names a port. Another program may have it: let the system choose (port 0) and ask "
            "for the address; where nobody should listen, use support.served.nobody()."
        )


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("'marginfront://127.0.0.1:8701'", ["127.0.0.1:8701"]),
        ("f'http://localhost:80/{path}'", ["localhost:80"]),
        ("serve(port=8701)", ["port=8701"]),
        ("connect(**{'port': '1'})", ["port: '1'"]),
        ("server.bind(('127.0.0.1', 5432))", ["'127.0.0.1', 5432"]),
        ("start_server(answer, '127.0.0.1', 8080)", ["'127.0.0.1', 8080"]),
        ("main(['sandbox', '--port', '8701'])", ["'--port', '8701'"]),
        ("server.bind(('127.0.0.1', 0)); serve(port=0); main(['--port', '0'])", []),
        ("f'http://127.0.0.1:{port}'; 'postgresql://db:5432/sales'", []),
    ],
)
def test_a_port_that_is_named_is_seen(code: str, named: list[str]) -> None:
    assert [text for _, text in fixed_ports(ast.parse(code))] == named


# Names that exist ------------------------------------------------------------------------------------------

NAMING = (
    "README.md",
    "CONTRIBUTING.md",
    "Makefile",
    "pyproject.toml",
    "schemas/data/README.md",
    "benchmarks/README.md",
    "examples/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))),
)
A_PATH = re.compile(
    r"(?<![\w/.])((?:tranship|schemas|connectors|pipelines|tests|benchmarks|examples)/[\w/.]+\.(?:py|csv|md))\b"
)
A_FILE = re.compile(r"`(\w+\.py)`")
A_NAME = re.compile(r"`(?:tranship\.)?((?:schemas|connectors|pipelines)(?:\.\w+)+)")


def missing(text: str) -> Iterator[str]:
    """Yield paths, file names and dotted names in a text that do not exist in the repository."""
    known = files(ROOT)
    for path in A_PATH.findall(text):
        if ROOT / path not in known:
            yield path
    for name in A_FILE.findall(text):
        if name not in {path.name for path in known}:
            yield name
    for name in A_NAME.findall(text):
        if not _is_there(name):
            yield name


def _is_there(name: str) -> bool:
    """Return whether a module, or a top-level name in a module, has this name."""
    module, _, inner = name.rpartition(".")
    if _path(name).exists():
        return True
    if not module or not _path(module).exists():
        return bool(module) and _is_there(module)
    named = {node.id for node in ast.walk(_tree(_path(module))) if isinstance(node, ast.Name)}
    named |= {node.name for node in _tree(_path(module)).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return inner in named


def test_what_a_text_names_is_there() -> None:
    for path in (*NAMING, "tests/test_layout.py", *(str(_path(name).relative_to(ROOT)) for name in modules())):
        text = (ROOT / path).read_text(encoding="utf-8")
        if path == "tests/test_layout.py":
            text = text.partition("# The rules")[0]
        gone = sorted(set(missing(text)))
        assert not gone, f"{path} names {', '.join(gone)}: where is it now?"


def test_what_is_gone_is_seen() -> None:
    text = "`connectors.errors.TranshipError` `connectors.errors.Gone`, see schemas/gone.py, `gone.py` and `codes.py`"
    assert [*missing(text)] == ["schemas/gone.py", "gone.py", "connectors.errors.Gone"]


EXAMPLES = [path for path in files(ROOT) if path.is_relative_to(ROOT / "examples") and path.suffix == ".py"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_uses_what_users_may(example: Path) -> None:
    for target, line in imports(_tree(example)):
        ours = target.split(".")[0] in ("tranship", *ROOMS)
        assert not ours or target in ("tranship", "tranship.spark"), (
            f"examples/{example.name}:{line} imports {target}. Examples use the public API."
        )


def test_every_rule_is_for_somebody() -> None:
    names = modules()
    patterns = {pattern.removeprefix("!") for rule in RULES for pattern in (rule.module, *rule.may_import)}
    for pattern in (*patterns, *PURE, *LAZY, *(name for pair in EXCEPTIONS for name in pair)):
        assert any(fnmatchcase(name, pattern) for name in names), f"{pattern}: nothing is called so any more."


def test_what_tools_leave_behind_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("__pycache__/\n*.egg-info/\n/benchmarks/results/\n")
    for name in (
        "schemas/codes.py",
        "schemas/__pycache__/x.pyc",
        "benchmarks/results/env/lib/utils.py",
        "a.egg-info/b",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    ours = (tmp_path / ".gitignore", tmp_path / "schemas" / "codes.py")
    assert files(tmp_path) == ours
    files.cache_clear()
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    assert files(tmp_path) == ours
