"""What `tranship fix` has done, as one frozen value."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tranship.pipelines.report import Fixes, Report
from tranship.schemas.schema_version import SCHEMA_VERSION


@dataclass(frozen=True)
class RefusedRow:
    """A row of the file that is no longer what was given out. `row` is its line, or its row in a workbook."""

    row: int
    reason: str


@dataclass(frozen=True)
class Fix:
    """The result of `tranship fix`.

    `run_id` is the run whose rejects are corrected, `fixes` what has become of them so far. `file` was written, with so
    many `rows`, or read. `report` is that of the run that loaded the corrections; null if there was nothing to load or
    drop. `dropped` is the number of rows dropped on purpose this time, `left_open` of those that were not changed,
    `settled` of those that were loaded or dropped earlier. `refused` are rows that were not taken. `remade` is column →
    the number of values that a spreadsheet had changed by itself, and that were restored. `rules` is the number of
    rules added to the file of corrections.
    """

    run_id: str
    fixes: Fixes
    file: str
    rows: int = 0
    report: Report | None = None
    dropped: int = 0
    left_open: int = 0
    settled: int = 0
    refused: tuple[RefusedRow, ...] = ()
    remade: Mapping[str, int] = field(default_factory=dict)
    rules: int = 0
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """That of the run that loaded the corrections; 4 if rows of the file were refused."""
        code = self.report.exit_code if self.report else 0
        return code or (4 if self.refused else 0)

    def to_json(self) -> str:
        """Return one JSON object."""
        values = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self), "exit_code": self.exit_code}
        return json.dumps(values, indent=1, ensure_ascii=False)
