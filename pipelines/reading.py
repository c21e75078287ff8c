"""Read a source into the stage, part by part (`staging.py`); and the checks of the settings that reading needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import msgspec
import polars as pl
import pyarrow as pa

from tranship.connectors import suggestions
from tranship.connectors.contract import Narrowing, Part, Releasing, Source
from tranship.connectors.errors import ConfigError
from tranship.pipelines import corrections, field_rules, file_marks, increment_notes, masks, rivals, validate
from tranship.pipelines.cursor import Cut, Extent, Kind
from tranship.pipelines.expressions import Expression
from tranship.pipelines.invalid import ALWAYS_NEEDED, InvalidValues
from tranship.pipelines.judging import Rules
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.instants import is_form
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.parts import BatchCounts
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import PAGES, STAGE_STEP
from tranship.pipelines.settings_model import Reading, Settings
from tranship.pipelines.stage import EarlierStage, earlier_stage
from tranship.pipelines.staging import Staging
from tranship.pipelines.step_result import StepResult
from tranship.schemas import faults
from tranship.schemas.codes import CUSTOMER_TYPES, STATUSES
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS

_CODES: Final = {"status": STATUSES, "customer_type": CUSTOMER_TYPES}
"""Fields with few values, and their values."""
_MOST_TOGETHER: Final = 50
"""The most parts that are staged together, and only where there are more files than that: the pages of a provider are
staged as they arrive.
"""
_SMALL: Final = 1 << 16
"""The size of the parts that are staged together, in the unit of the source: bytes or records."""


def check_values(reading: Reading) -> None:
    """Raise ConfigError if the settings name a format that cannot match any date, a field that does not exist, or a
    default or a value for a word that is invalid itself.
    """
    for form in reading.date_format:
        if not is_form(form):
            raise ConfigError(
                f"--date-format {form!r}: it cannot match any date. Write a form of strftime with day, month and "
                "year, such as %d/%m/%Y or '%m/%d/%Y %H:%M'."
            )
    for name, column in reading.columns.items() if isinstance(reading, Settings) else ():
        _must_be_field(name, f"--column {name}={column}")
    for name, cost in reading.on_invalid.items():
        _must_be_field(name, f"--on-invalid {name}={cost}")
        if name == ALWAYS_NEEDED and cost == "warn":
            raise ConfigError(f"--on-invalid {name}=warn: every customer needs a {name}. Use {name}=reject.")
    if isinstance(reading, Settings):
        for name, way in reading.mask.items():
            _must_be_field(name, f"--mask {name}={way}")
        masks.check_key(reading.mask)
    _check_defaults(reading)
    _check_words(reading)
    if reading.corrections is not None:
        corrections.read(reading.corrections)


def _must_be_field(name: str, option: str) -> None:
    if name not in COLUMNS:
        raise ConfigError(f"{option}: unknown field {name!r}. {suggestions.advice(name, COLUMNS, 'The fields are')}")


def _check_defaults(reading: Reading) -> None:
    """Raise ConfigError if a default would be invalid in every record."""
    defaults = {field: value for field, value in reading.defaults.items() if field in COLUMNS}
    if not defaults:
        return
    batch = normalise.customers(pl.DataFrame({"": [None]}), ColumnMap({}, (), defaults), spelling_of(reading))
    for code, value in validate.faults(batch).select("code", "value").iter_rows():
        field, fault = code.split(".", 1)
        if field in defaults and fault != "missing":
            raise ConfigError(f"--default {field}={value or defaults[field]}: {faults.sentence(code)}.")


def spelling_of(reading: Reading) -> Spelling:
    """Return the interpretation of values given by the settings."""
    return Spelling(reading.timezone, reading.date_format, frozenset(reading.blocked))


def rules_of(reading: Reading, columns: ColumnMap, where: Expression | None, cut: Cut | None = None) -> Rules:
    """Return the rules by which records are read."""
    invalid = InvalidValues.of(reading.on_invalid, strict=reading.strict)
    return Rules(columns, where, spelling_of(reading), invalid, cut)


def _check_words(reading: Reading) -> None:
    """Raise ConfigError if a value that the settings give for a word is not valid in its field."""
    spelling = spelling_of(reading)
    for field, words in reading.values.items():
        for word, value in words.items() if field in COLUMNS else ():
            raw = pl.DataFrame({field: [value]})
            found = validate.faults(normalise.customers(raw, ColumnMap({field: field}, (), {}), spelling))
            codes = [code for code in found["code"] if code.startswith(f"{field}.") and value.strip()]
            if codes:
                near = suggestions.similar(value, _CODES.get(field, ()))
                reason = "" if near else f"; {faults.sentence(codes[0])}"
                advice = f"{reason}. {suggestions.did_you_mean(map(repr, near))}".rstrip()
                raise ConfigError(f'--value {field}:"{word}"={value}: {value!r} is not valid{advice}')


def read_already(run: RunContext) -> StepResult:
    """Return the result of a stage that an earlier process of this run has completed."""
    done = run.directory.done(STAGE_STEP)
    assert done is not None  # noqa: S101  (called for a finished stage only)
    return StepResult(
        read=done["read"],
        skipped=done.get("skipped", 0),
        staged=done["staged"],
        rejected=done["rejected"],
        by_code=done["by_code"],
        warnings=done["warnings"],
        first={code: tuple(place) for code, place in done["first"].items()},
        corrected=done.get("corrected", {}),
        extents=msgspec.convert(done.get("extents", {}), dict[Kind, Extent]),
    )


def stage_source(
    run: RunContext, source: Source, rules: Rules, raw_columns: list[str]
) -> Generator[StepResult, None, None]:
    """Read the whole source into the stage; yield the result of each batch, then the notes.

    Raises Undecided where the values leave open which column a field is.
    """
    earlier = earlier_stage(run.settings.state_dir, run.directory.manifest["reading"])
    columns = rules.columns
    _narrow(source, rules)
    parts: list[BatchCounts] = []
    total = StepResult()
    with run.timed("read", source.size):
        size = source.size
        for position, counts in _batches(run, source, rules, earlier):
            parts.append(counts)
            result = result_of(counts)
            total += result
            yield result
            if source.size != size:
                size = source.size
                run.observer.step("read", size)
            run.observer.advanced(position, total.read, total.rejected)
    if isinstance(source, Narrowing) and source.left_out:
        result = StepResult(read=source.left_out, skipped=source.left_out)
        total += result
        yield result
    notes = [f"{layout.name}: {note}" for layout in source.layouts() for note in layout.notes]
    reused = sum(part.read for number, part in enumerate(parts) if part is earlier.parts.get(number))
    if reused:
        part = "" if reused == total.read else "partly "
        notes.append(f"Input {part}unchanged since run {earlier.run_id}: reused its {counted(reused, 'parsed record')}")
    facts = run.directory.manifest.get("increment")
    notes += increment_notes.read_notes(facts, total.extents, total.rejected - _broken(total))
    yield StepResult(notes=(*notes, *notes_on(parts, columns)))
    must_be_decided(parts, columns)
    # Arrow keeps the memory used for reading; identity needs it.
    pa.default_memory_pool().release_unused()
    run.stage.complete(run.directory.run_id, parts)
    broken = {part.source for part in parts if any(code.startswith("line.") for code in part.by_code)}
    if (files := run.directory.manifest.get("files")) is not None:
        run.directory.manifest["files"] = file_marks.without_broken_ends(files, broken)
    if broken:
        # A line that is corrected later is read in the dialect of its file.
        run.directory.manifest["texts"] = {
            layout.name: {"columns": layout.columns, **layout.text}
            for layout in source.layouts()
            if layout.name in broken and layout.text
        }
    finish(run, total, columns, raw_columns)
    if isinstance(source, Releasing):
        source.release()


def _narrow(source: Source, rules: Rules) -> None:
    """Let the source leave out what is not read, where it can: not by values that are corrected after they are read."""
    cut = rules.cut
    if cut and cut.cursor.column in rules.columns.corrections.by_column:
        return
    if cut and cut.skips and cut.since is not None and cut.cursor.column and isinstance(source, Narrowing):
        source.narrow(cut.cursor.column, cut.since)


def notes_on(parts: Sequence[BatchCounts], columns: ColumnMap) -> Iterator[str]:
    """Yield the notes on a source that can be made when all of its parts have been read."""
    yield from unmatched(columns, {(field, word) for part in parts for field, word in part.matched})
    yield from columns.corrections.unmatched({label for part in parts for label in part.corrected})


def must_be_decided(parts: Sequence[BatchCounts], columns: ColumnMap) -> None:
    """Raises Undecided where the values of all parts leave open which column a field is."""
    rivals.must_not_hide(((part.source, part.filled) for part in parts), columns)


def finish(run: RunContext, total: StepResult, columns: ColumnMap, raw_columns: list[str]) -> None:
    """End the step: the stage is complete, with this result."""
    run.directory.manifest["wire"] = raw_columns
    run.directory.finish(STAGE_STEP, _facts(total, columns))


def _broken(total: StepResult) -> int:
    """Return the number of lines that are not records, and so have no cursor."""
    return sum(count for code, count in total.by_code.items() if code.startswith("line."))


def unmatched(columns: ColumnMap, matched: Collection[tuple[str, str]]) -> Iterator[str]:
    """Yield a note on each word of `--value` that no record has; those of a profile need not occur. `matched` are the
    words that occurred, each with its field.
    """
    for field, words in columns.words.items():
        for word in words:
            if (field, word) not in matched and (field, word) not in columns.optional_words:
                yield f'--value {field}:"{word}" matched no value. Check its spelling in the source.'


def result_of(counts: BatchCounts) -> StepResult:
    """Return what a batch adds to the result of reading."""
    return StepResult(
        read=counts.read,
        skipped=counts.skipped,
        staged=counts.staged,
        rejected=counts.rejected,
        by_code=counts.by_code,
        warnings=counts.warnings,
        first=counts.first,
        extents=counts.extents,
        corrected=counts.corrected,
    )


def _facts(total: StepResult, columns: ColumnMap) -> dict[str, Any]:
    """The result of the step as the manifest keeps it."""
    return {
        **{"read": total.read, "skipped": total.skipped, "staged": total.staged, "rejected": total.rejected},
        **{"by_code": dict(total.by_code), "warnings": dict(total.warnings), "first": dict(total.first)},
        **{"mapped": dict(columns.fields), "built": field_rules.to_json(columns.built)},
        **{"extra": columns.extra, "defaults": dict(columns.defaults), "profile": columns.profile},
        **{"extents": msgspec.to_builtins(total.extents), "corrected": dict(total.corrected)},
    }


def _batches(run: RunContext, source: Source, rules: Rules, earlier: EarlierStage) -> Iterator[tuple[int, BatchCounts]]:
    """Stage parts in parallel; return the counts in the order of the source, each with the position of its part."""
    settings = run.settings
    staging = Staging(run.stage, earlier, rules)
    at_a_time = _MOST_TOGETHER if len(source.layouts()) > _MOST_TOGETHER else 1
    with ThreadPoolExecutor(settings.workers) as pool:
        ahead: deque[tuple[list[int], Future[list[BatchCounts]]]] = deque()
        try:
            parts = enumerate(source.parts(run.directory.path / PAGES))
            for group in _together(parts, at_a_time):
                ahead.append(([part.position for _, part in group], pool.submit(staging.add, group)))
                if len(ahead) > settings.workers + 1:
                    positions, future = ahead.popleft()
                    yield from zip(positions, future.result(), strict=True)
            while ahead:
                positions, future = ahead.popleft()
                yield from zip(positions, future.result(), strict=True)
        finally:
            for _, future in ahead:
                future.cancel()


def _together(parts: Iterable[tuple[int, Part]], most: int) -> Iterator[list[tuple[int, Part]]]:
    """Yield consecutive parts that are staged together: one, or several small ones."""
    group: list[tuple[int, Part]] = []
    start = end = 0
    for number, part in parts:
        if group and part.position - start > _SMALL:
            yield group
            group, start = [], end
        group.append((number, part))
        end = part.position
        if len(group) == most:
            yield group
            group, start = [], end
    if group:
        yield group
