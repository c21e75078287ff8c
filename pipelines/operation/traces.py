"""A run and its steps as a trace of OpenTelemetry, which the package `opentelemetry-sdk` sends to where the OTEL_
variables say. The trace belongs to that of the caller, if the variable TRACEPARENT has one.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from typing import Any, Final

from tranship.pipelines.observer import Observer
from tranship.pipelines.operation.delivery import UndeliveredError
from tranship.pipelines.operation.run_end import RunEnd

_NEEDS: Final = "pip install 'tranship[otel]'"


class Stopwatch:
    """An observer that keeps when each step began, and passes everything on."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.began = time.time_ns()
        self.steps: list[tuple[str, int]] = []

    def step(self, name: str, total: int | None) -> None:
        """Keep the time; a step may be announced repeatedly."""
        if not self.steps or self.steps[-1][0] != name:
            self.steps.append((name, time.time_ns()))
        self._observer.step(name, total)

    def advanced(self, position: int, records: int, errors: int = 0) -> None:
        """Pass it on."""
        self._observer.advanced(position, records, errors)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._observer.note(text)

    def warn(self, text: str) -> None:
        """Pass it on."""
        self._observer.warn(text)


def send(watch: Stopwatch, ended: int, end: RunEnd) -> None:
    """Send the trace of a run that ended at this time, in nanoseconds. Raises UndeliveredError."""
    try:
        from opentelemetry import propagate, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.export import SpanExportResult
    except ImportError:
        raise UndeliveredError(_NEEDS) from None
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    # Its messages may contain the address.
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    spans: list[ReadableSpan] = []

    class Collected(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            spans.append(span)

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "tranship"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(Collected())
    tracer = provider.get_tracer("tranship")
    caller = propagate.extract({"traceparent": os.environ.get("TRACEPARENT", "")})
    run = tracer.start_span("tranship run", context=caller, start_time=watch.began, attributes=_attributes(end))
    if not end.succeeded:
        run.set_status(trace.StatusCode.ERROR, end.error)
    inside = trace.set_span_in_context(run)
    ends = [*(began for _, began in watch.steps[1:]), ended]
    for (name, began), over in zip(watch.steps, ends, strict=False):  # a run may fail before its first step
        tracer.start_span(name, context=inside, start_time=began).end(over)
    run.end(ended)
    if OTLPSpanExporter().export(spans) != SpanExportResult.SUCCESS:
        raise UndeliveredError("the collector did not accept it, or is unreachable")


def _attributes(end: RunEnd) -> dict[str, Any]:
    counts = dataclasses.asdict(end.report.counts) if end.report else {}
    return {
        "tranship.pipeline": end.pipeline,
        "tranship.state": end.state,
        "tranship.exit_code": end.exit_code,
        **({"tranship.run_id": end.report.run_id} if end.report else {}),
        **{f"tranship.records.{name}": count for name, count in counts.items()},
    }
