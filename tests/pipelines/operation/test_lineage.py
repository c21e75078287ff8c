"""Events of lineage, checked against the schemas of OpenLineage."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import jsonschema
import pytest
import referencing
from aiohttp import web

from support.served import as_json, nobody, served
from tranship.connectors.databases.duckdb.table import DuckDbTable
from tranship.connectors.errors import ConnectorError, TranshipError
from tranship.pipelines import locks, run
from tranship.pipelines.endpoints import destination_identity
from tranship.pipelines.operation import lineage
from tranship.pipelines.operation.delivery import UndeliveredError
from tranship.pipelines.settings import load

SCHEMAS = Path(__file__).resolve().parents[2] / "support" / "openlineage"
PARENT = "airflow://prod/nightly.load/0196f5f0-3f1a-7c3e-9c53-1a2b3c4d5e6f"
ROOT = "airflow://prod/nightly/0196f5f0-0000-7000-8000-000000000001"
CUSTOMERS = (
    "Kundennr;Firma;Vorname;Nachname;E-Mail;Land;Notiz;Passwort\n"
    "0017;Acme GmbH;Jane;Doe;jane@acme.example;Deutschland;x;geheim\n"
    "0018;;Max;Muster;max@muster.example;Nirgendwo;y;geheim\n"
    "0019;;Eva;Muster;nobody;Deutschland;z;geheim\n"
)


@cache
def registry() -> referencing.Registry[Any]:
    files = [json.loads(file.read_text()) for file in SCHEMAS.glob("*.json")]
    return referencing.Registry().with_resources(
        (schema["$id"], referencing.Resource.from_contents(schema)) for schema in files
    )


FORMATS = jsonschema.FormatChecker(formats=())
FORMATS.checks("uuid", raises=ValueError)(lambda text: bool(uuid.UUID(text)))
FORMATS.checks("date-time", raises=ValueError)(lambda text: datetime.fromisoformat(text).tzinfo is not None)
FORMATS.checks("uri", raises=ValueError)(lambda text: bool(urlsplit(text).scheme))


def check(part: Any, schema: str) -> None:
    validator = jsonschema.Draft202012Validator({"$ref": schema}, registry=registry(), format_checker=FORMATS)
    validator.validate(part)


def must_be_valid(event: dict[str, Any]) -> None:
    """Check an event by the schema of events, and each facet by its own, which may have no other properties."""
    check(event, event["schemaURL"])
    facets = 0

    def look(part: Any) -> None:
        nonlocal facets
        if isinstance(part, dict):
            if "_schemaURL" in part:
                check(part, part["_schemaURL"])
                facets += 1
            for inner in part.values():
                look(inner)
        elif isinstance(part, list):
            for inner in part:
                look(inner)

    look(event)
    assert facets >= 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("crm.csv").write_text(CUSTOMERS)
    return tmp_path


class Heard:
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def step(self, name: str, total: int | None) -> None: ...

    def advanced(self, position: int, records: int, errors: int = 0) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def go(**options: Any) -> list[str]:
    heard = Heard()
    given = {"source": "crm.csv", "destination": "duckdb:///w.duckdb?table=sales.customers", "lineage": "events.jsonl"}
    with suppress(TranshipError):
        run.run(load({**given, **options}, {}), heard)
    return heard.warnings


def events() -> list[dict[str, Any]]:
    found = [json.loads(line) for line in Path("events.jsonl").read_text().splitlines()]
    for event in found:
        must_be_valid(event)
    return found


def test_a_run_has_a_start_and_an_end_that_are_valid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", PARENT)
    monkeypatch.setenv("OPENLINEAGE_ROOT_PARENT_ID", ROOT)
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "prod")
    assert go(pipeline="crm", expect={"rows": "10.."}) == ["unexpected: 3 records read; expected at least 10"]

    start, end = events()
    assert [start["eventType"], end["eventType"]] == ["START", "COMPLETE"]
    assert start["run"]["runId"] == end["run"]["runId"]
    assert (end["job"]["namespace"], end["job"]["name"]) == ("prod", "crm")
    parent = end["run"]["facets"]["parent"]
    assert parent["job"] == {"namespace": "airflow://prod", "name": "nightly.load"}
    assert parent["run"]["runId"] == PARENT.rpartition("/")[2]
    assert parent["root"]["job"]["name"] == "nightly"
    ((source,), (target,)) = (end["inputs"], end["outputs"])
    names = [{"namespace": one["namespace"], "name": one["name"]} for one in (source, target)]
    assert names == [
        {"namespace": "file", "name": str(folder / "crm.csv")},
        {"namespace": f"duckdb://{folder / 'w.duckdb'}", "name": "sales.customers"},
    ]
    assert [*start["inputs"], *start["outputs"]] == names

    assert source["inputFacets"]["inputStatistics"]["rowCount"] == 3
    assert source["inputFacets"]["inputStatistics"]["size"] == len(CUSTOMERS)
    assert target["outputFacets"]["outputStatistics"]["rowCount"] == 2
    columns = [field["name"] for field in source["facets"]["schema"]["fields"]]
    assert sorted(columns) == sorted(CUSTOMERS.splitlines()[0].split(";"))
    types = {field["name"]: field["type"] for field in target["facets"]["schema"]["fields"]}
    assert types == dict.fromkeys(["external_id", "email", "name", "country", "billing_contact_name"], "text") | {
        "metadata": "json"
    }
    lineage = target["facets"]["columnLineage"]["fields"]
    assert set(lineage) == set(types)
    assert {name: [one["field"] for one in of["inputFields"]] for name, of in lineage.items()} == {
        "external_id": ["Kundennr"],
        "email": ["E-Mail"],
        "name": ["Firma", "Vorname", "Nachname"],
        "billing_contact_name": ["Vorname", "Nachname"],
        "country": ["Land"],
        "metadata": ["Notiz"],
    }
    assert lineage["name"]["inputFields"][0]["transformations"][0]["description"] == "Firma | Vorname + Nachname"
    assertions = {one["assertion"]: one for one in source["inputFacets"]["dataQualityAssertions"]["assertions"]}
    assert assertions["email.syntax"] | {"description": ""} == {
        **{"assertion": "email.syntax", "success": False, "column": "E-Mail", "severity": "error"},
        **{"description": "", "actual": "1", "expected": "0"},
    }
    assert (assertions["country.unknown"]["success"], assertions["country.unknown"]["severity"]) == (False, "warn")
    assert assertions["email.too_long"]["success"]
    assert assertions["expect"]["description"] == "3 records read; expected at least 10"
    text = json.dumps([start, end], ensure_ascii=False).replace("jane@example.com", "")  # the example in a rule
    assert not re.search(r"Acme|Jane|Muster|geheim|Nirgendwo|@", text)


def test_columns_of_the_destination_have_its_names(folder: Path) -> None:
    with duckdb.connect("w.duckdb") as connection:
        connection.execute("CREATE SCHEMA sales")
        connection.execute("CREATE TABLE sales.customers (external_id VARCHAR, email VARCHAR, customer_name VARCHAR)")
    assert go(columns={"name": "customer_name"}) == []

    end = events()[1]
    assert end["eventType"] == "COMPLETE"
    target = end["outputs"][0]
    assert "customer_name" in target["facets"]["columnLineage"]["fields"]
    assert "name" not in {field["name"] for field in target["facets"]["schema"]["fields"]}


def stop() -> Any:
    return go(max_rejects="0")


def fail() -> Any:
    return go(source="missing.csv")


def skip() -> Any:
    lock = locks.of_destination(
        Path(".tranship"), destination_identity(load({"source": "crm.csv", "destination": "out.jsonl"}, {}))
    )
    assert lock.take()
    try:
        return go(destination="out.jsonl", overlap="skip")
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("work", "kind", "said"),
    [
        (stop, "ABORT", "--max-rejects 0"),
        (fail, "FAIL", "missing.csv: no such file or directory"),
        (skip, "ABORT", "another run is writing to it"),
    ],
)
def test_a_run_that_does_not_complete_has_an_end_too(
    work: Callable[[], Any], kind: str, said: str, folder: Path
) -> None:
    assert work() == []

    start, end = events()
    assert (start["eventType"], end["eventType"]) == ("START", kind)
    assert said in end["run"]["facets"]["errorMessage"]["message"]


def test_events_are_posted_to_a_url_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return as_json({}, 201)

    monkeypatch.setenv("OPENLINEAGE_API_KEY", "hush-hush-hush")
    with served(answer) as backend:
        assert go(lineage=backend.url) == []
        assert go(lineage=f"{backend.url}/own/path") == []

    assert backend.calls == [*["POST /api/v1/lineage"] * 2, *["POST /own/path"] * 2]
    posted = [json.loads(body) for body in backend.bodies]
    for event in posted:
        must_be_valid(event)
    assert [event["eventType"] for event in posted] == ["START", "COMPLETE"] * 2
    assert {headers["Authorization"] for headers in backend.headers} == {"Bearer hush-hush-hush"}


@pytest.mark.slow
def test_a_token_in_the_path_of_a_url_is_not_kept_and_its_run_can_be_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return as_json({}, 201)

    def broken(*_: object) -> None:
        raise ConnectorError("the disk of the server is full")

    with served(answer) as backend:
        url = f"{backend.url}/hush-hush-hush"
        monkeypatch.setenv("LINEAGE_URL", url)
        with monkeypatch.context() as patched:
            patched.setattr(DuckDbTable, "apply", broken)
            go(lineage=url)
        heard = Heard()
        assert run.resume(Path(".tranship"), "last", heard).exit_code == 4
        [note] = [note for note in heard.notes if "lineage" in note]
        assert note.startswith("--lineage: no events are sent. The path of its URL may be a token and is not kept")
        with monkeypatch.context() as patched:
            patched.setattr(DuckDbTable, "apply", broken)
            go(lineage="env:LINEAGE_URL", destination="duckdb:///other.duckdb")
        heard = Heard()
        assert run.resume(Path(".tranship"), "last", heard).exit_code == 4
        assert not [note for note in heard.notes if "lineage" in note]

    assert backend.calls == ["POST /hush-hush-hush"] * 6
    kinds = [json.loads(body)["eventType"] for body in backend.bodies]
    assert kinds == ["START", "FAIL", "START", "FAIL", "START", "COMPLETE"]
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 10
    assert [file for file in files if b"hush" in file.read_bytes()] == []


def test_the_address_in_a_variable_must_be_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value, said in (("", "the environment variable TO is not set"), ("a.jsonl", "is not an http or https URL")):
        monkeypatch.setenv("TO", value)
        assert all(said in warning for warning in go(lineage="env:TO"))


@pytest.mark.slow
def test_what_cannot_be_delivered_is_said(folder: Path) -> None:
    with nobody() as address:
        assert go(lineage=address) == [
            "--lineage failed at the start: unreachable (connection refused)",
            "--lineage failed: unreachable (connection refused)",
        ]
    assert go(lineage="none/events.jsonl") == [
        "--lineage failed at the start: none/events.jsonl: cannot be written (no such file or directory)",
        "--lineage failed: none/events.jsonl: cannot be written (no such file or directory)",
    ]


def test_runs_that_append_at_the_same_time_write_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    event = json.dumps({"x": "y" * 100_000})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: lineage._append(file, event), range(40)))

    assert file.read_text().splitlines() == [event] * 40


def test_a_line_that_a_full_disk_has_cut_off_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    ours = os.write
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "write", lambda opened, line: ours(opened, line[:5]))
        with pytest.raises(UndeliveredError, match="no space left on device"):
            lineage._append(file, '{"n": 1}')
    lineage._append(file, '{"n": 2}')
    lineage._append(file, '{"n": 3}')
    assert file.read_text().splitlines() == ['{"n":', '{"n": 2}', '{"n": 3}']


def test_the_schemas_refuse_what_is_wrong() -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(
            {"eventTime": "now", "producer": "x:y", "schemaURL": "x:y"},
            "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        )
