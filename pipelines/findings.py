"""The findings of a run about its records: rejects, warnings, and the result of each at a provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from tranship.connectors.contract import Batch
from tranship.pipelines.masks import Masks
from tranship.pipelines.matching import OURS
from tranship.pipelines.sort_out import SET_ASIDE, WARNINGS
from tranship.pipelines.stage_files import PATCHED, Pieces
from tranship.schemas import cells
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import CODE_OF_FIELD, sentence
from tranship.schemas.provider import CODES_NEVER_DEFAULTED, NEVER_DEFAULTED, UNREADABLE

_RESULTS = {
    **{"done": "successful", "unchanged": "successful", "deleted": "successful"},
    **{"refused": "failed", "stale": "failed", "unknown": "failed", "left": "unprocessed"},
}


class Findings:
    """The rejects, warnings and results of a run, in its directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def places(self) -> pl.DataFrame:
        """Return the places of the staged records: _row, _source, _line."""
        files = sorted((self.path / "stage").glob("*.parquet"))
        return pl.concat([pl.read_parquet(file, columns=["_row", "_source", "_line"], glob=False) for file in files])

    def reject_identity(self, name: str, rows: pl.Series, code: str) -> tuple[str, int] | None:
        """Add staged records whose identity failed to the rejects, in the source's spelling. Return the place of the
        first one, null if there is none.

        `name` is the step that found them; its earlier rejects are replaced.
        """
        target = self.path / "rejected" / f"identity-{name}.parquet"
        target.unlink(missing_ok=True)
        if rows.is_empty():
            return None
        found = pl.concat(
            [pl.scan_parquet(file, glob=False) for file in sorted((self.path / "raw").glob("*.parquet"))],
            how="diagonal",
        ).filter(pl.col("_row").is_in((rows & (PATCHED - 1)).implode()))
        own = [name for name in found.collect_schema().names() if name not in ("_row", *OURS)]
        given = {aside: column for column, aside in SET_ASIDE.items()}
        found.select(
            *(pl.col(name).alias(given.get(name, name)) for name in own),
            "_source",
            "_line",
            _codes=pl.lit(code),
            _reasons=pl.lit(sentence(code)),
            _text=pl.lit(None, pl.String),
        ).sink_parquet(target, compression="lz4", statistics=False)
        source, line = pl.scan_parquet(target, glob=False).select("_source", "_line").head(1).collect().row(0)
        return source, line

    def retract_warnings(self, name: str, rows: pl.Series) -> dict[str, int]:
        """Retract the warnings of records that were rejected later; return code → count. `name` is the step that
        rejected them; its earlier retractions are replaced.
        """
        target = self.path / "identity" / f"retracted-{name}.parquet"
        target.unlink(missing_ok=True)
        if rows.is_empty():
            return {}
        # The row number of a survivor that took over values has an additional bit.
        known = (rows & (PATCHED - 1)).implode()
        raw = sorted((self.path / "raw").glob("*.parquet"))
        if not raw:
            return {}
        places = pl.concat([pl.scan_parquet(file, glob=False).select("_row", "_source", "_line") for file in raw])
        gone = places.filter(pl.col("_row").is_in(known)).select(source="_source", line="_line")
        gone.sink_parquet(target, compression="lz4", statistics=False)
        files = sorted((self.path / "warned").glob("*.parquet"))
        if not files:
            return {}
        warned = pl.scan_parquet(files, glob=False).select("source", "line", "code")
        lost = warned.join(pl.scan_parquet(target, glob=False), on=["source", "line"], how="semi")
        return dict(lost.group_by("code").len().collect(engine="streaming").iter_rows())

    def warnings(self, name: str) -> Pieces:
        """Return the file of warnings (`WARNINGS`) found after the batches, in place of an earlier one of this name."""
        return Pieces(self.path / "warned" / f"{name}.parquet")

    def warned_files(self) -> tuple[Path, ...]:
        """Return the files of all warnings (`WARNINGS`), including those that were retracted later."""
        return tuple(sorted((self.path / "warned").glob("*.parquet")))

    def collect(self, columns: list[str], masks: Masks, fields: Mapping[str, str | list[str]]) -> dict[str, Path]:
        """Write rejects.csv, rejects.parquet and warnings.parquet. `columns` is the order of the source, `fields` are
        those made of each. In rejects.parquet, from which rejects are corrected, nothing is masked.
        """
        files = {}
        rejects = [pl.scan_parquet(file, glob=False) for file in sorted((self.path / "rejected").glob("*.parquet"))]
        if rejects:
            whole = pl.concat(rejects, how="diagonal")
            present = {*whole.collect_schema().names()}
            own = (name for name in columns if name in present and name not in OURS)
            whole = whole.select(*own, *OURS)
            whole.sink_parquet(self.path / "rejects.parquet")
            files["rejects_parquet"] = self.path / "rejects.parquet"
            files["rejects"] = self.path / "rejects.csv"
            found = pl.scan_parquet(files["rejects_parquet"], glob=False)
            cells.as_csv(masks.rejects(found, fields)).sink_csv(files["rejects"])
        warned = self.warned_files()
        frame = (
            pl.concat([pl.scan_parquet(file, glob=False) for file in warned])
            if warned
            else pl.LazyFrame(schema=WARNINGS)
        )
        for file in sorted((self.path / "identity").glob("retracted-*.parquet")):
            frame = frame.join(
                pl.scan_parquet(file, glob=False), on=["source", "line"], how="anti", maintain_order="left"
            )
        staged = sorted((self.path / "stage").glob("*.parquet"))
        customers = pl.scan_parquet(staged, glob=False) if staged else None
        masks.warnings(frame, customers).sink_parquet(self.path / "warnings.parquet")
        return files | {"warnings": self.path / "warnings.parquet", "merges": self.path / "merges.parquet"}

    def keep_results(self, outcomes: Path, staged: Iterable[pl.DataFrame]) -> dict[str, Path]:
        """Write the result of each record at a provider as CSV: successful, failed and unprocessed, each with the
        customer's fields, `_source`, `_line`, `_outcome` and `_reason`. Empty files are not written.

        `outcomes` is Parquet: row, action, outcome, reason, provider_id. Failed and unprocessed are in `again/`, which
        can be read as a source.
        """
        # Records older than the destination's are listed in stale.csv; nothing is left to do for them.
        fates = (
            pl.scan_parquet(outcomes, glob=False)
            .filter(pl.col("outcome") != "older")
            .select(
                pl.col("row").alias("_row"),
                pl.col("outcome").replace_strict(_RESULTS, default="failed", return_dtype=pl.String).alias("_result"),
                pl.col("outcome").alias("_outcome"),
                pl.col("reason").alias("_reason"),
            )
        )
        files = {
            result: self.path / (f"{result}.csv" if result == "successful" else f"again/{result}.csv")
            for result in dict.fromkeys(_RESULTS.values())
        }
        left_out = self._left_out()
        for file in files.values():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.unlink(missing_ok=True)
        for records in staged:
            numbers = records["_row"]
            of_batch = fates.filter(pl.col("_row").is_between(numbers.min(), numbers.max())).collect()
            joined = records.join(of_batch, on="_row", maintain_order="left")
            for (result,), part in joined.partition_by("_result", as_dict=True).items():
                with files[str(result)].open("ab") as out:
                    rows = part.select(*COLUMNS, "_source", "_line", "_outcome", "_reason")
                    if result == "failed":
                        rows = _with_left_out(rows, left_out)
                    rows.with_columns(cells.written(rows.schema)).write_csv(out, include_header=out.tell() == 0)
        return {result: file for result, file in files.items() if file.exists()}

    def _left_out(self) -> pl.DataFrame:
        """Return the invalid values for which a provider refuses a record: _source, _line, field, value."""
        files = self.warned_files()
        warned = pl.scan_parquet(list(files), glob=False) if files else pl.LazyFrame(schema=WARNINGS)
        return (
            warned.filter(pl.col("code").is_in(CODES_NEVER_DEFAULTED))
            .select(_source="source", _line="line", field=pl.col("code").str.extract(CODE_OF_FIELD), value="value")
            .unique()
            .collect()
        )


def _with_left_out(rows: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    """Return failed records with the invalid values for which they were refused, so that they are not sent without
    these values when they are read again.
    """
    refused = pl.col("_reason").str.starts_with(UNREADABLE).fill_null(value=False)
    for field in NEVER_DEFAULTED:
        values = left_out.filter(pl.col("field") == field).select("_source", "_line", _value="value")
        if values.height:
            given = pl.when(refused & pl.col(field).is_null()).then("_value").otherwise(field).alias(field)
            rows = rows.join(values, on=["_source", "_line"], how="left", maintain_order="left").with_columns(given)
            rows = rows.drop("_value")
    return rows


def counted(codes: pl.Series) -> dict[str, int]:
    """Return how often each code occurs."""
    return {} if codes.is_empty() else dict(codes.value_counts().iter_rows())


def first_of_each(batch: Batch, reasons: pl.DataFrame, warnings: pl.DataFrame) -> dict[str, tuple[str, int]]:
    """Return the place of the first record of each code, as (source, line)."""
    if reasons.is_empty() and batch.broken.is_empty() and warnings.is_empty():
        return {}
    records = reasons.select("code", line=batch.lines.gather(reasons["at"]))
    lines = pl.concat([records, batch.broken.select("code", "line"), warnings.select("code", "line")])
    return {code: (batch.source, line) for code, line in lines.group_by("code").agg(pl.col("line").min()).iter_rows()}
