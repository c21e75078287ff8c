"""The result of a step as one frozen value; a run's result is the sum of those of its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

from tranship.pipelines.cursor import Extent, Kind


class StepResult(Struct, frozen=True):
    """What one step, or one batch within it, has added to the ledger.

    `by_code` and `warnings` count rejects and warnings by code; `retracted` are warnings of earlier steps that no
    longer apply. `first` is code → (source, line) of its first record, warnings included. `merges` counts by rule.
    `extents` are those of the cursor, if the source is read by one. `corrected` counts corrected values by rule.
    """

    read: int = 0
    skipped: int = 0
    staged: int = 0
    rejected: int = 0
    by_code: Mapping[str, int] = field(default_factory=dict)
    warnings: Mapping[str, int] = field(default_factory=dict)
    retracted: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    merges: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    extents: Mapping[Kind, Extent] = field(default_factory=dict)
    corrected: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, later: StepResult) -> StepResult:
        warned, retracted = Counter(self.warnings) + Counter(later.warnings), Counter(later.retracted)
        return StepResult(
            read=self.read + later.read,
            skipped=self.skipped + later.skipped,
            staged=self.staged + later.staged,
            rejected=self.rejected + later.rejected,
            by_code=Counter(self.by_code) + Counter(later.by_code),
            warnings=warned - retracted,
            retracted=Counter(self.retracted) + (retracted - warned),
            first={
                **self.first,
                **later.first,
                **self.first,
            },  # in the order in which they were found; the earlier place is kept
            merges={
                rule: self.merges.get(rule, 0) + later.merges.get(rule, 0) for rule in {**self.merges, **later.merges}
            },
            notes=tuple(dict.fromkeys((*self.notes, *later.notes))),
            files={**self.files, **later.files},
            extents={
                kind: self.extents.get(kind, Extent()) + later.extents.get(kind, Extent())
                for kind in {**self.extents, **later.extents}
            },
            corrected=Counter(self.corrected) + Counter(later.corrected),
        )
