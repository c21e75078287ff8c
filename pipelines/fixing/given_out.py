"""Write the open rejects of a run to a file that a person corrects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from tranship.connectors.errors import ConfigError
from tranship.connectors.local_failures import local_failures
from tranship.pipelines.fixing.columns import ACTION, ADDED, FATE, NUMBER, RECORD
from tranship.pipelines.fixing.fates import OPEN
from tranship.pipelines.mapping import ColumnMap
from tranship.schemas import cells
from tranship.schemas.counted import counted

_SUFFIXES: Final = (".xlsx", ".csv")


def write(file: Path, run_id: str, standing: pl.DataFrame, own: Sequence[str], columns: ColumnMap) -> tuple[int, str]:
    """Write the rejects that are open (`fates.standing`) to a new file; return how many, and a note if these are not
    all. Raises ConfigError if it exists or has another suffix.
    """
    if file.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"--out {file}: is neither .xlsx nor .csv. Name a file such as rejects.xlsx.")
    if file.exists():
        raise ConfigError(f"--out {file}: exists already, and may have corrections. Name another file, or remove it.")
    if not file.parent.is_dir():
        raise ConfigError(f"--out {file}: the folder {file.parent} does not exist. Create it, or name another one.")
    found = standing.filter(pl.col(FATE) == OPEN).with_columns(
        pl.lit(None, pl.String).alias(ACTION), (f"{run_id}#" + pl.col(NUMBER).cast(pl.String)).alias(RECORD)
    )
    rows = found.select(*own, *ADDED)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
    with local_failures(file):
        try:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            written = _write(rows, columns, temporary, is_workbook=file.suffix.lower() == ".xlsx")
            os.link(temporary, file)
        except FileExistsError as error:
            raise ConfigError(f"--out {file}: was created by another process. Name another file.") from error
        finally:
            temporary.unlink(missing_ok=True)
    left = rows.height - written
    note = f"{counted(left, 'reject')} more than a workbook takes. A .csv file has all: --out {file.stem}.csv"
    return written, note if left else ""


def _write(rows: pl.DataFrame, columns: ColumnMap, temporary: Path, *, is_workbook: bool) -> int:
    if not is_workbook:
        cells.as_csv(rows.lazy()).sink_csv(temporary)
        return rows.height
    # A CSV file does not need the library.
    from tranship.pipelines.fixing import workbook

    return workbook.write(rows, columns, temporary)
