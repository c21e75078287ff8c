"""The events of a run in the format of OpenLineage: https://openlineage.io/spec/2-0-2/OpenLineage.json"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct

from tranship.pipelines.operation.lineage_datasets import Dataset
from tranship.pipelines.operation.run_end import RunEnd
from tranship.pipelines.report import Report
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS, MODEL
from tranship.schemas.faults import RULES, WARNINGS, sentence

EventType = Literal["START", "COMPLETE", "FAIL", "ABORT"]
_SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
_FACETS: Final = {
    "parent": ("1-2-0", "ParentRunFacet"),
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
    "processing_engine": ("1-1-1", "ProcessingEngineRunFacet"),
    "jobType": ("2-0-4", "JobTypeJobFacet"),
    "schema": ("1-2-0", "SchemaDatasetFacet"),
    "columnLineage": ("1-2-0", "ColumnLineageDatasetFacet"),
    "inputStatistics": ("1-0-0", "InputStatisticsInputDatasetFacet"),
    "dataQualityAssertions": ("1-1-0", "DataQualityAssertionsDatasetFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
}
"""Facet → version and name of its schema."""


class Parent(Struct, frozen=True):
    """The run that started this one, as its scheduler names it."""

    namespace: str
    job: str
    run_id: str

    @classmethod
    def of(cls, text: str) -> Parent | None:
        """Return the parent of `namespace/job/run id`, null if the text has another form."""
        parts = text.rsplit("/", 2)
        if len(parts) != 3 or not parts[0] or not parts[1]:
            return None
        try:
            return cls(parts[0], parts[1], str(uuid.UUID(parts[2])))
        except ValueError:
            return None


class LineageRun(Struct, frozen=True):
    """A run for its events. `columns` is field → column of the destination, where they differ."""

    run_id: str
    namespace: str
    pipeline: str
    version: str
    inputs: tuple[Dataset, ...]
    output: Dataset
    columns: Mapping[str, str]
    parent: Parent | None = None
    root: Parent | None = None

    @property
    def _producer(self) -> str:
        return f"urn:tranship:{self.version}"

    def start(self, at: datetime) -> dict[str, Any]:
        """Return the event of the start."""
        named = [{"namespace": one.namespace, "name": one.name} for one in (*self.inputs, self.output)]
        return self._event("START", at, {}, named[:-1], named[-1:])

    def end(self, end: RunEnd, at: datetime, source_bytes: int | None) -> dict[str, Any]:
        """Return the event of the end: COMPLETE, ABORT if the run was stopped, interrupted or skipped, else FAIL."""
        kind: EventType = "COMPLETE" if end.succeeded else "ABORT" if end.exit_code in (5, 6, 130) else "FAIL"
        facets: dict[str, Any] = {}
        if end.error:
            facets["errorMessage"] = {"message": end.error, "programmingLanguage": "PYTHON"}
        if end.report is None:
            inputs = [{"namespace": one.namespace, "name": one.name} for one in self.inputs]
            return self._event(
                kind, at, facets, inputs, [{"namespace": self.output.namespace, "name": self.output.name}]
            )
        inputs = [self._input(one, end, source_bytes) for one in self.inputs]
        return self._event(kind, at, facets, inputs, [self._output(end.report)])

    def _event(
        self,
        kind: EventType,
        at: datetime,
        facets: Mapping[str, Any],
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        engine = {"name": "tranship", "version": self.version}
        given = {
            "processing_engine": engine,
            **({"parent": self._parent(self.parent)} if self.parent else {}),
            **facets,
        }
        job_type = {"processingType": "BATCH", "integration": "TRANSHIP", "jobType": "JOB"}
        return {
            "eventType": kind,
            "eventTime": at.isoformat(),
            "producer": self._producer,
            "schemaURL": f"{_SPEC}#/$defs/RunEvent",
            "run": {"runId": self.run_id, "facets": self._facets(given)},
            "job": {
                "namespace": self.namespace,
                "name": self.pipeline,
                "facets": self._facets({"jobType": job_type}),
            },
            "inputs": list(inputs),
            "outputs": list(outputs),
        }

    def _parent(self, parent: Parent) -> dict[str, Any]:
        root = self.root or parent
        return {
            "run": {"runId": parent.run_id},
            "job": {"namespace": parent.namespace, "name": parent.job},
            "root": {"run": {"runId": root.run_id}, "job": {"namespace": root.namespace, "name": root.job}},
        }

    def _facets(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Add producer and schema to facets."""
        found = {}
        for name, values in given.items():
            version, schema = _FACETS[name]
            url = f"https://openlineage.io/spec/facets/{version}/{schema}.json#/$defs/{schema}"
            found[name] = {"_producer": self._producer, "_schemaURL": url, **values}
        return found

    def _input(self, dataset: Dataset, end: RunEnd, source_bytes: int | None) -> dict[str, Any]:
        report = end.report
        assert report is not None  # noqa: S101  (the caller checks it)
        columns = [*report.columns, *report.kept, *report.left_out]
        facets = {"schema": {"fields": [{"name": column} for column in dict.fromkeys(columns)]}}
        given: dict[str, Any] = {"dataQualityAssertions": {"assertions": list(_assertions(end))}}
        if len(self.inputs) == 1:  # what was read is not known by source
            size = {} if source_bytes is None else {"size": source_bytes}
            given["inputStatistics"] = {"rowCount": report.counts.read, **size}
        return {
            "namespace": dataset.namespace,
            "name": dataset.name,
            "facets": self._facets(facets),
            "inputFacets": self._facets(given),
        }

    def _output(self, report: Report) -> dict[str, Any]:
        built = _columns_of_fields(report)
        fields = [
            {"name": self.columns.get(name, name), "type": _type(name), "description": MODEL[name].description or ""}
            for name in COLUMNS
            if name in built
        ]
        lineage = {
            self.columns.get(name, name): {"inputFields": list(self._inputs_of(name, columns, report))}
            for name, columns in built.items()
        }
        counts = report.counts
        return {
            "namespace": self.output.namespace,
            "name": self.output.name,
            "facets": self._facets({"schema": {"fields": fields}, "columnLineage": {"fields": lineage}}),
            "outputFacets": self._facets({"outputStatistics": {"rowCount": counts.created + counts.updated}}),
        }

    def _inputs_of(self, field: str, columns: Sequence[str], report: Report) -> Iterator[dict[str, Any]]:
        rule = report.built.get(field) or ("kept in metadata" if field == "metadata" else "normalised")
        for dataset in self.inputs:
            for column in columns:
                yield {
                    "namespace": dataset.namespace,
                    "name": dataset.name,
                    "field": column,
                    "transformations": [
                        {"type": "DIRECT", "subtype": "TRANSFORMATION", "description": rule, "masking": False}
                    ],
                }


def _columns_of_fields(report: Report) -> dict[str, list[str]]:
    """Return field → the columns of the source that it is built from."""
    found: dict[str, list[str]] = {}
    for column, fields in report.columns.items():
        for field in [fields] if isinstance(fields, str) else fields:
            found.setdefault(field, []).append(column)
    if report.kept:
        found["metadata"] = [*found.get("metadata", []), *report.kept]
    return found


def _assertions(end: RunEnd) -> Iterator[dict[str, Any]]:
    """Yield the rules of the mapped fields and their results, other reasons that occurred, and broken limits."""
    report = end.report
    assert report is not None  # noqa: S101  (the caller checks it)
    by_field = _columns_of_fields(report)
    counts = {code: ("error", count) for code, count in report.rejects_by_code.items()}
    counts |= {code: ("warn", count) for code, count in report.warnings_by_code.items() if code not in counts}
    checked = [code for code in RULES if code.partition(".")[0] in by_field]
    for code in dict.fromkeys((*checked, *counts)):
        severity, count = counts.get(code, ("error", 0))
        columns = by_field.get(code.partition(".")[0], [])
        yield {
            "assertion": code,
            "success": not count,
            **({"column": columns[0]} if len(columns) == 1 else {}),
            "severity": severity,
            "description": sentence(code) if code in RULES or code in WARNINGS else code,
            "actual": str(count),
            "expected": "0",
        }
    for text in end.unexpected:
        yield {"assertion": "expect", "success": False, "severity": "warn", "description": text}


def _type(field: str) -> str:
    if field in INSTANTS:
        return "timestamp"
    if field in LISTS:
        return "array<text>"
    return "integer" if COLUMNS[field].is_integer() else "json" if field == "metadata" else "text"
