"""Traces, as a collector receives them."""

from __future__ import annotations

import gzip
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.served import Served, nobody, served
from tranship.connectors.errors import ConfigError, GateClosed
from tranship.pipelines import run
from tranship.pipelines.settings import load

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Heard:
    """An observer that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def step(self, name: str, total: int | None) -> None: ...

    def advanced(self, position: int, records: int, errors: int = 0) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def go(folder: Path, **options: Any) -> list[str]:
    settings = {
        **{"source": str(folder / "crm.csv"), "destination": str(folder / "out.jsonl"), "pipeline": "crm"},
        **{"state_dir": str(folder / "state"), "traces": True, **options},
    }
    heard = Heard()
    with suppress(GateClosed, ConfigError):
        run.run(load(settings, {}), heard)
    return heard.warnings


def spans_of(collector: Served) -> tuple[dict[str, Any], Any]:
    (body,) = collector.bodies
    zipped = collector.headers[0].get("Content-Encoding") == "gzip"
    request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if zipped else body)
    (resource,) = request.resource_spans
    return {span.name: span for span in resource.scope_spans[0].spans}, resource.resource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "crm.csv").write_text("external_id,email,name\n1,a@acme.example,Ann\n2,nobody,Bob\n")
    return tmp_path


async def accept(_: web.Request) -> web.Response:
    return web.Response(content_type="application/x-protobuf")


def test_a_run_is_a_trace_of_its_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", CALLER)
    with served(accept) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        assert go(folder) == []

    spans, resource = spans_of(collector)
    whole = spans.pop("tranship run")
    assert collector.calls == ["POST /v1/traces"]
    assert list(spans) == ["read", "identify", "plan", "write"]
    assert whole.trace_id.hex() == CALLER.split("-")[1]
    assert whole.parent_span_id.hex() == CALLER.split("-")[2]
    at = whole.start_time_unix_nano
    for span in spans.values():
        assert span.parent_span_id == whole.span_id
        assert at <= span.start_time_unix_nano <= span.end_time_unix_nano <= whole.end_time_unix_nano
        at = span.end_time_unix_nano
    attributes = {pair.key: pair.value.int_value or pair.value.string_value for pair in whole.attributes}
    assert attributes["tranship.exit_code"] == 4
    assert attributes["tranship.records.rejected"] == 1
    assert attributes["tranship.state"] == "degraded"
    assert {pair.key: pair.value.string_value for pair in resource.attributes}["service.name"] == "tranship"
    assert b"acme" not in collector.bodies[0]


def test_a_run_that_is_stopped_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(accept) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        assert go(folder, max_rejects="0") == []

    spans, _ = spans_of(collector)
    assert spans["tranship run"].status.code == 2
    assert "--max-rejects 0" in spans["tranship run"].status.message


def test_a_run_that_fails_before_its_first_step_is_a_trace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(accept) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.delenv("METRONOME_BEARER_TOKEN", raising=False)
        assert go(folder, destination="metronome://") == []

    spans, _ = spans_of(collector)
    assert list(spans) == ["tranship run"]
    assert "METRONOME_BEARER_TOKEN" in spans["tranship run"].status.message


@pytest.mark.slow
def test_a_trace_that_is_not_delivered_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with nobody() as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{address}/hush-hush")
        assert go(folder) == ["--traces failed: the collector did not accept it, or is unreachable"]
    assert "hush" not in capfd.readouterr().err


def test_without_the_package_the_message_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    assert go(folder) == ["--traces failed: pip install 'tranship[otel]'"]
