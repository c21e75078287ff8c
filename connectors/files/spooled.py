"""Records that were given in Python as a source: the file that contains them, read like any file of its format."""

from __future__ import annotations

from tranship.connectors.addresses import redacted, spooled_records
from tranship.connectors.contract import Source
from tranship.connectors.errors import ConfigError
from tranship.connectors.files.storage import File


def open_spooled(spec: str) -> Source:
    """Open the records behind an address of `addresses.SpooledRecords`. Raises ConfigError if they are gone."""
    kept, name = spooled_records(spec), redacted(spec)
    try:
        stat = kept.path.stat()
    except OSError as error:
        raise ConfigError(
            f"{name}: the records are no longer kept in {kept.path}. Give them again, in Python: tranship.run(...)"
        ) from error
    file = File(
        name,
        stat.st_size,
        kept.digest,
        lambda: kept.path.open("rb"),
        (stat.st_dev, stat.st_ino),
        remarks=kept.notes,
        called=kept.path.name,
    )
    if kept.path.suffix == ".jsonl":
        from tranship.connectors.files.json import JsonSource

        return JsonSource([file])
    from tranship.connectors.files.parquet import ParquetSource

    return ParquetSource([file])
