"""A file as the destination of a comparison: its records are normalised like those of a source, and become a table."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
from msgspec.structs import replace

from tranship.connectors import opening
from tranship.connectors.addresses import STANDARD_OUTPUT, local_path, redacted
from tranship.connectors.contract import EXTRA, Batch, Layout, Part, Plan, WriteRequest, all_created
from tranship.connectors.errors import ConfigError
from tranship.pipelines import build, mapping
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.matching import columns_of, match
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.rivals import must_agree
from tranship.pipelines.settings_model import Reading, Settings
from tranship.schemas.customer import COLUMNS


class ComparedFile:
    """A file as a destination that is compared with and never written."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = redacted(settings.destination)
        if settings.destination == STANDARD_OUTPUT:
            raise ConfigError(f"{self._name}: standard output cannot be read, so there is nothing to compare with.")
        if "://" not in settings.destination and not local_path(settings.destination).exists():
            raise ConfigError(f"{self._name}: does not exist; there is nothing to compare with. Check the path.")

    def plan(self, request: WriteRequest) -> Plan:
        """Read the file and compare it, if the request asks for a comparison."""
        if not request.compare:
            return all_created(request)
        place = request.workspace / "destination"
        place.mkdir(mode=0o700)
        try:
            return self._compare(request, place)
        finally:
            shutil.rmtree(place)

    def _compare(self, request: WriteRequest, place: Path) -> Plan:
        settings = self._settings
        spelling = Spelling(settings.timezone, settings.date_format, frozenset(settings.blocked))
        source = opening.open_sources([settings.destination], settings.options)
        try:
            columns = _columns_of(self._name, source.layouts())
            files, unread = _staged(source.parts(place), columns, spelling, place)
        finally:
            source.close()
        fields = columns.targets or tuple(COLUMNS)  # an empty file has no columns
        table = opening.held(files, fields, place / "held.duckdb", settings.memory)
        try:
            plan = table.plan(request)
        finally:
            table.close()
        if unread.height:
            extra = pl.read_parquet(request.workspace / EXTRA, glob=False)
            pl.concat([extra, unread], how="diagonal").write_parquet(request.workspace / EXTRA)
        missing = [name for name in request.survivors.columns if name not in fields]
        lost = (f"{self._name} has no column for {', '.join(missing)}: not compared",) if missing else ()
        return replace(plan, notes=lost)

    def apply(self, request: WriteRequest, plan: Plan) -> None:
        """Never called: such a run ends with its plan."""
        raise NotImplementedError

    def applied(self, run_id: str) -> bool:  # noqa: ARG002
        """Return false: nothing is ever written."""
        return False

    def close(self) -> None:
        """Do nothing: no file is open."""


def _columns_of(name: str, layouts: Sequence[Layout]) -> ColumnMap:
    """Return the fields of a written file's columns, by their names; except columns that match no field, and fields
    that several columns match. Raises ConfigError where customers cannot be recognised.
    """
    matched = match(layouts, Reading.model_validate({"source": name}))
    columns = columns_of(layouts)
    if columns and not {*mapping.KEYS} & {*matched.fields, *matched.built}:
        raise ConfigError(
            f"{name}: has no column for the external id or the e-mail ({', '.join(map(repr, columns[:12]))}); "
            "customers cannot be matched without one."
        )
    rivals = {name: fit.rivals for name, fit in matched.fits.items() if fit.rivals and name in matched.fields}
    return ColumnMap(matched.fields, (), {}, matched.built, rivals=rivals)


def _staged(
    parts: Iterable[Part], columns: ColumnMap, spelling: Spelling, folder: Path
) -> tuple[list[Path], pl.DataFrame]:
    """Write the records of a file to `folder`, normalised, in the fields that it has; and the lines that are not
    records (`found`). Nothing is rejected: an unreadable value is kept unchanged, and differs.
    """
    files, broken = [], [pl.DataFrame(schema={"found": pl.String})]
    for number, part in enumerate(parts):
        batch = part.read()
        lines = batch.broken.select(found=pl.format("{}, line {}: {}", pl.lit(batch.source), "line", "code"))
        broken.append(lines)
        if batch.records.height:
            files.append(folder / f"{number:06}.parquet")
            _normalised(batch, columns, spelling).write_parquet(files[-1])
    return files, pl.concat(broken)


def _normalised(batch: Batch, columns: ColumnMap, spelling: Spelling) -> pl.DataFrame:
    must_agree(batch, columns)
    prepared = build.prepare(batch, columns)
    records = normalise.customers(prepared.records, prepared.columns, spelling).records
    kept = []
    for at, column in prepared.columns.fields.items():
        if COLUMNS[at] == pl.String and at not in ("external_id", "email", "metadata"):
            text = as_text(prepared.records[column])
            unread = records[at].is_null() & (text.str.strip_chars() != "")
            kept.append(records[at].zip_with(~unread.fill_null(value=False), text).alias(at))
    return records.with_columns(kept).select(columns.targets)
