"""Sources and destinations as data sets of OpenLineage, named by its conventions, so that the events of other programs
name them alike: https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from tranship.connectors.addresses import is_in_python, redacted, schema_and_table, scheme_of
from tranship.connectors.errors import ConfigError

_STORAGE: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "abfs": "abfss"}
_TABLE: Final = "customers"
"""The table of an address that names none."""


class Dataset(NamedTuple):
    """The name of a data set."""

    namespace: str
    name: str


def dataset(address: str) -> Dataset:
    """Return the data set of an address. It contains no secret."""
    if is_in_python(address):
        return Dataset("inmemory://", redacted(address).strip("<>"))
    if address == "-":
        return Dataset("inmemory://", "standard stream")
    scheme, shown = scheme_of(address), redacted(address)
    if not scheme:
        return Dataset("file", str(Path(shown).absolute()))
    try:
        url = urlsplit(shown)
        if scheme in ("postgres", "postgresql"):
            return _of_postgres(url)
        if scheme == "duckdb":
            return _of_duckdb(url)
        host = url.hostname or ""
        port = f":{url.port}" if url.port else ""
    except (ValueError, ConfigError):
        return Dataset(scheme, shown)
    path = unquote(url.path).lstrip("/")
    if scheme in _STORAGE:
        return Dataset(f"{_STORAGE[scheme]}://{host}", path)
    if scheme in ("http", "https"):
        return Dataset(f"{scheme}://{host}{port}", f"/{path}")
    # A provider, or a connector of another package: its customers.
    return Dataset(f"{scheme}://{host}{port}" if host else scheme, path or _TABLE)


def _of_postgres(url: SplitResult) -> Dataset:
    given = parse_qs(url.query)
    host = url.hostname or given.get("host", [""])[0] or os.environ.get("PGHOST") or "localhost"
    port = url.port or os.environ.get("PGPORT") or 5432
    database = unquote(url.path).strip("/") or os.environ.get("PGDATABASE") or url.username or "postgres"
    return Dataset(f"postgres://{host}:{port}", f"{database}.{_table(given, 'public')}")


def _of_duckdb(url: SplitResult) -> Dataset:
    path = unquote(url.path.removeprefix("/")) if url.path.startswith("/") else url.path
    file = Path(path or url.netloc).absolute()
    return Dataset(f"duckdb://{file}", _table(parse_qs(url.query), "main"))


def _table(given: dict[str, list[str]], schema: str) -> str:
    if "query" in given:
        return f"{schema}.(query)"
    own, table = schema_and_table("", given.get("table", [_TABLE])[0])
    return f"{own or schema}.{table}"
