"""Who may import whom, and what the rooms of the house are for: read from the source, nothing has to run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("schemas", "connectors", "pipelines")

SCHEMAS = ("codes", "customer", "faults", "columns", "cells", "wire")
"""Each may import those before it; a provider's schema may import them all."""

API = (
    "http",
    "answers",
    "durable",
    "pages",
    "whole_list",
    "json_columns",
    "bag",
    "wire",
    "api",
    "verbs",
    "journal",
    "gate",
    "sending",
    "account",
)
"""What the connectors of providers are made of, in connectors/. Each may import those before it."""

FLOW = (
    "selection",
    "mapping",
    "normalise",
    "rivals",
    "validate",
    "locks",
    "stage",
    "identify",
    "plan",
    "journal",
    "apply",
    "verify",
    "report",
)
"""The steps in the order of the flow. A step may use the frames and values of those before it."""

PURE = ("mapping", "normalise", "validate", "identify", "plan", "inspection", "report", "summary")
"""Steps that compute and do nothing else: the same frames in give the same frames out."""


class Rule(NamedTuple):
    module: str
    may_import: tuple[str, ...]
    advice: str


RULES = (
    Rule(
        "tranship",
        ("pipelines.*", "connectors.errors"),
        "tranship/ is the one door: it hands on what pipelines offers. What it does belongs in pipelines/.",
    ),
    Rule("tranship.__main__", ("tranship",), "Calling the command is all that it does."),
    Rule(
        "pipelines.cli",
        ("pipelines.*", "connectors.errors", "connectors.registry"),
        "A command parses, calls one function of pipelines and prints. The work belongs in pipelines/run.py.",
    ),
    Rule(
        "pipelines.run",
        (
            "pipelines.*",
            "connectors.registry",
            "connectors.contract",
            "connectors.durable",
            "connectors.errors",
            "connectors.csv_file",
            *("schemas.faults", "schemas.cells", "schemas.customer"),
        ),
        "run.py opens sources and tables through connectors/registry.py; what is special to one connector "
        "belongs in its own file. (Of csv_file it takes CsvOptions: how the user says what a file is.)",
    ),
    Rule(
        "pipelines.settings",
        ("connectors.errors", "schemas.*"),
        "Settings are values; what acts on them belongs in pipelines/run.py.",
    ),
    *(
        Rule(
            f"pipelines.{step}",
            (
                "schemas.*",
                "connectors.contract",
                "connectors.durable",
                "connectors.errors",
                *(f"pipelines.{earlier}" for earlier in FLOW[:place]),
            ),
            "A step knows schemas, the types of connectors/contract.py, and the steps before it. "
            "What joins steps and connectors belongs in pipelines/run.py.",
        )
        for place, step in enumerate(FLOW)
    ),
    Rule(
        "pipelines.inspection",
        (
            *("pipelines.selection", "pipelines.mapping", "pipelines.normalise", "pipelines.rivals"),
            *("pipelines.validate", "pipelines.settings"),
            *("connectors.contract", "connectors.errors", "schemas.*"),
        ),
        "An inspection sees a source through the same steps as a run; what opens the source is pipelines/run.py.",
    ),
    Rule(
        "pipelines.*",
        (
            *("pipelines.settings", "pipelines.report", "pipelines.inspection", "pipelines.verify"),
            *("connectors.errors", "schemas.*"),
        ),
        "Only pipelines/run.py joins steps and connectors. A new step gets its place in FLOW in this test.",
    ),
    Rule(
        "connectors.contract",
        ("schemas.*",),
        "The contract is what crosses the border: types only. What acts belongs in a connector.",
    ),
    Rule("connectors.errors", (), "Errors know nothing but themselves."),
    Rule(
        "connectors.registry",
        ("connectors.*", "schemas.wire"),
        "The registry knows the connectors and nothing of pipelines. (Of schemas it compares two providers' wires.)",
    ),
    Rule(
        "connectors.sandbox.*",
        ("connectors.sandbox.*", "connectors.wire", "connectors.errors", "schemas.*"),
        "A sandbox plays the provider: it knows the wire schema, not the connector it tests.",
    ),
    *(
        Rule(
            f"connectors.{name}",
            (
                *("connectors.contract", "connectors.errors", "schemas.*"),
                *("connectors.customer_table", "connectors.classify"),
                *(f"connectors.{earlier}" for earlier in API[:place]),
            ),
            "What all providers share is built in this order: http.py (requests), answers.py (their bodies), durable.py "
            "(files of a run directory), pages.py and whole_list.py (lists), json_columns.py, bag.py and wire.py (JSON and frames), api.py (a source), verbs.py, "
            "journal.py, gate.py and sending.py (writes), account.py (a destination).",
        )
        for place, name in enumerate(API)
    ),
    Rule(
        "connectors.*",
        (
            *("connectors.contract", "connectors.errors", "connectors.files", "schemas.*"),
            *(f"connectors.{name}" for name in API),
            *(
                "connectors.customer_table",
                "connectors.classify",
                "connectors.existing",
                "connectors.postgres_wire",
                "connectors.postgres_copy",
                "connectors.postgres_adbc",
            ),
        ),
        "A connector knows the contract and never another connector. What two of them share belongs in files.py "
        "(bytes), api.py and what it is made of (providers) or customer_table.py, classify.py and existing.py (tables); what joins them belongs in "
        "pipelines/run.py.",
    ),
    *(
        Rule(
            f"schemas.{name}",
            tuple(f"schemas.{earlier}" for earlier in SCHEMAS[:place]),
            "Schemas say what right data is and know nothing above them. What acts belongs in pipelines/ or "
            "connectors/.",
        )
        for place, name in enumerate(SCHEMAS)
    ),
    Rule("schemas.data.build", (), "The script that writes the tables stands alone."),
    Rule(
        "schemas.*",
        tuple(f"schemas.{name}" for name in SCHEMAS),
        "A provider's schema knows the canonical customer and never another provider.",
    ),
)

OUTSIDE = (
    *(
        "asyncio",
        "aiohttp",
        "duckdb",
        "http",
        "io",
        "os",
        "obstore",
        "pathlib",
        "random",
        "requests",
        "secrets",
    ),
    *(
        "shutil",
        "socket",
        "sqlalchemy",
        "sqlite3",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
    ),
    "uuid",
)
"""Modules through which files, sockets, databases, clocks, chance and the environment come in."""

OUTSIDE_CALLS = (
    "open",
    "print",
    "input",
    "*.now",
    "*.utcnow",
    "*.today",
    "pl.read_*",
    "pl.scan_*",
    "*.write_*",
    "*.sink_*",
)

LEFTOVERS = (
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "shared",
    "manager",
    "base",
    "tools",
    "lib",
)


def modules() -> list[str]:
    """Every module of the product, by its place: `tranship` and `connectors.errors`."""
    found = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [_name(path) for path in (*sorted((ROOT / "tranship").glob("*.py")), *found)]


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Every module that this one imports, at its top or within a function, and the line. One of ours by its place."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from ((_place(alias.name), node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = _place(f"{node.module}.{alias.name}")
                is_module = inner.split(".")[0] in ROOMS and _path(inner).exists()
                yield inner if is_module else _place(node.module or ""), node.lineno


def _place(name: str) -> str:
    """`connectors.errors` of `tranship.connectors.errors`; whatever stands at the root is not the product's."""
    if name.startswith("tranship."):
        return name.removeprefix("tranship.")
    return f"somebody else's {name}" if name.split(".")[0] in ROOMS else name


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _calls(module: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


@pytest.mark.parametrize("module", modules())
def test_imports_go_down_only(module: str) -> None:
    if module in ROOMS:
        rule = Rule(
            module,
            (),
            "A package's __init__ holds its docstring; code belongs in a module named for what it knows.",
        )
    else:
        rule = next(rule for rule in RULES if fnmatchcase(module, rule.module))
    for target, line in imports(module):
        ours = target.split(".")[0] in (*ROOMS, "tranship", "tests", "benchmarks") or target.startswith("somebody")
        if ours and target != module and not _fits(target, rule.may_import):
            pytest.fail(f"{_path(module).relative_to(ROOT)}:{line} imports {target}. {rule.advice}")


@pytest.mark.parametrize("step", [step for step in PURE if _path(f"pipelines.{step}").exists()])
def test_pure_steps_stay_pure(step: str) -> None:
    module = f"pipelines.{step}"
    where = _path(module).relative_to(ROOT)
    advice = (
        "Files, sockets, databases, clocks and the environment stay at the two ends: connectors/ reads and "
        "writes, pipelines/stage.py keeps the run directory, pipelines/run.py hands in time and run id."
    )
    for target, line in imports(module):
        assert target.split(".")[0] not in OUTSIDE, f"{where}:{line} imports {target}. {advice}"
    for call, line in _calls(module):
        assert not _fits(call, OUTSIDE_CALLS), f"{where}:{line} calls {call}(). {advice}"


def test_no_room_for_leftovers() -> None:
    for path in (
        *(ROOT / "tranship").glob("*"),
        *(p for room in (*ROOMS, "tests", "benchmarks") for p in (ROOT / room).rglob("*")),
    ):
        assert path.stem.lower() not in LEFTOVERS, (
            f"{path.relative_to(ROOT)}: code goes where it is used, or into a module named for what it knows."
        )


@pytest.mark.parametrize("room", ROOMS)
def test_tests_stand_where_the_code_stands(room: str) -> None:
    for test in (ROOT / "tests" / room).rglob("test_*.py"):
        module = ".".join(test.relative_to(ROOT).with_suffix("").parts)
        assert any(target.split(".")[0] == room for target, _ in imports(module)), (
            f"{test.relative_to(ROOT)}: tests nothing of {room}/. A test stands in the folder of the module it tests; "
            "one about the whole product stands in tests/."
        )


@pytest.mark.parametrize("module", modules())
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(_tree(module)), f"{_path(module).relative_to(ROOT)}: begins without a docstring."


def test_a_broken_rule_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "codes.py").write_text(
        '"""Codes."""\n\n\ndef f():\n    from tranship.connectors import files\n'
    )
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "files.py").write_text("")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    _tree.cache_clear()
    try:
        with pytest.raises(pytest.fail.Exception, match=r"schemas/codes\.py:5 imports connectors\.files"):
            test_imports_go_down_only("schemas.codes")
    finally:
        _tree.cache_clear()
