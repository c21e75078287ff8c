"""The rejects of a run with a number each, and the records that its table refused, in the columns of the source.

They are kept in a file of the run when they are first asked for, so that their numbers stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from tranship.connectors import durable
from tranship.connectors.errors import ConfigError
from tranship.pipelines import endpoints
from tranship.pipelines import resume as resuming
from tranship.pipelines.fixing.columns import FIXABLE, NUMBER
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.matching import OURS
from tranship.pipelines.plan_step import ROWS
from tranship.pipelines.run_directory import STAGE_STEP, RunDirectory
from tranship.schemas import cells
from tranship.schemas.customer import COLUMNS
from tranship.schemas.explanations.refusals import of_refusal

FILE: Final = "to_fix.parquet"


def of_run(run: RunDirectory) -> pl.DataFrame:
    """Return the rejects and refusals of a run that has ended: the columns of the source as text, OURS, NUMBER and
    FIXABLE. Raises Damaged.
    """
    file = run.path / FILE
    if not file.exists():
        made = _made(run)
        with durable.replacing(file) as temporary:
            made.write_parquet(temporary)
        file.chmod(0o600)
    try:
        return pl.read_parquet(file, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise durable.damaged(file) from error


def own_columns(run: RunDirectory) -> list[str]:
    """Return the columns of the source, in its order."""
    return [name for name in resuming.raw_columns_of(run) if name not in OURS]


def _made(run: RunDirectory) -> pl.DataFrame:
    own = own_columns(run)
    schema = {**dict.fromkeys(own, pl.String), **dict.fromkeys(("_codes", "_reasons", "_source", "_text"), pl.String)}
    parts = [pl.DataFrame(schema={**schema, "_line": pl.UInt64, FIXABLE: pl.Boolean})]
    try:
        if not (run.path / "rejects.parquet").exists() and (run.done(STAGE_STEP) or {}).get("rejected"):
            raise ConfigError(
                f"{run.run_id}: its rejects were removed. Run it again, then correct those of the new run."
            )
        if (run.path / "rejects.parquet").exists():
            rejects = pl.read_parquet(run.path / "rejects.parquet", glob=False)
            parts.append(rejects.with_columns(pl.lit(value=True).alias(FIXABLE)))
        columns = resuming.columns_of(run)
        if columns is not None and endpoints.records_changes(resuming.settings_of(run)):
            parts.append(_refused(run, columns, own))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise durable.damaged(run.path) from error
    whole = pl.concat(parts, how="diagonal_relaxed").select(*own, *OURS, FIXABLE)
    return whole.with_row_index(NUMBER, offset=1)


def _refused(run: RunDirectory, columns: ColumnMap, own: Sequence[str]) -> pl.DataFrame:
    """Return the records that the table refused, with the values of the customer in the columns that they were read
    from.
    """
    plan = pl.scan_parquet(run.path / ROWS, glob=False).filter(pl.col("action") == "refused")
    refused = plan.select("row", "reason").collect()
    if refused.is_empty():
        return pl.DataFrame()
    files = [*sorted((run.path / "stage").glob("*.parquet")), *(run.path / "identity").glob("patched.parquet")]
    staged = pl.concat([pl.scan_parquet(file, glob=False) for file in files], how="diagonal_relaxed")
    records = staged.filter(pl.col("_row").is_in(refused["row"].implode())).collect()
    records = records.join(refused, left_on="_row", right_on="row", how="left").sort("_source", "_line")
    sentences = {reason: f"{reason} ({of_refusal(reason).sentence})" for reason in refused["reason"].unique()}
    texts = records.with_columns(cells.written(records.select(*COLUMNS).schema, raw=True)).with_columns(
        pl.col(*(name for name, dtype in COLUMNS.items() if dtype.is_integer())).cast(pl.String)
    )
    computed = sorted(field for field, rule in columns.built.items() if rule.expression is not None)
    note = f" Its {', '.join(computed)} is computed by --set: correct it at the source." if computed else ""
    return texts.select(
        *_values(columns, own),
        "_source",
        "_line",
        _codes=pl.col("reason").str.extract(r"^(\w+)"),
        _reasons=pl.col("reason").replace_strict(sentences, return_dtype=pl.String) + note,
        _text=pl.lit(None, pl.String),
        **{FIXABLE: pl.lit(not computed)},
    )


def _values(columns: ColumnMap, own: Sequence[str]) -> Iterator[pl.Expr]:
    """Yield the columns of the source. One that feeds several fields has the value of the first of them; a field that
    is built from columns is in the first of these.
    """
    field_of: dict[str, str] = {}
    for field in COLUMNS:
        if field in columns.fields:
            field_of.setdefault(columns.fields[field], field)
    for field, rule in columns.built.items():
        if rule.expression is None and rule.alternatives:
            field_of.setdefault(rule.alternatives[0][0], field)
    for name in own:
        quote = "'" if '"' in name else '"'
        kept = pl.col("metadata").str.json_path_match(f"$[{quote}{name}{quote}]")
        fed: str | None = field_of.get(name)
        # A value that was left out of its field is kept in metadata.
        found = kept if fed is None else pl.col(fed) if fed == "metadata" else pl.coalesce(fed, kept)
        yield found.alias(name)
