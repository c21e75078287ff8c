"""The built-in connectors: the only list of them. Each is imported when it is first used."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from tranship.connectors.addresses import DICTS, FRAME
from tranship.connectors.contract import Abilities, Connector

if TYPE_CHECKING:
    from tranship.connectors.api.spec import ProviderSpec

_WHOLE_FILE: Final = Abilities(modes=("upsert",), keeps_state=False)
_FILES: Final = "tranship.connectors.files"
_DATABASES: Final = "tranship.connectors.databases"
_PROVIDERS: Final = "tranship.connectors.providers"
_DECLARED: Final = (
    Connector(
        "csv",
        "CSV files, also gzip, zstd and zip; - is standard input or output",
        "exports/*.csv.gz",
        _WHOLE_FILE,
        title="CSV",
        suffixes=tuple(f"{ending}{packed}" for packed in ("", ".gz", ".zst") for ending in (".csv", ".tsv", ".txt")),
        options=f"{_FILES}.csv_dialect:CsvOptions",
        size_unit="bytes",
        source=f"{_FILES}.csv:CsvSource",
        destination=f"{_FILES}.csv:destination",
    ),
    Connector(
        "duckdb",
        "A table in a DuckDB file",
        "duckdb:///warehouse.duckdb?table=customers",
        Abilities(maps_columns=True, undoes=True, keeps_history=True),
        title="DuckDB",
        schemes=("duckdb",),
        size_unit="records",
        source=f"{_DATABASES}.duckdb.source:DuckDbSource",
        destination=f"{_DATABASES}.duckdb.table:DuckDbTable",
        identity=f"{_DATABASES}.duckdb.address:identity",
        same_place=f"{_DATABASES}.duckdb.address:same_place",
        file=f"{_DATABASES}.duckdb.address:file",
        changes=f"{_DATABASES}.duckdb.changes:changes",
        erasure=f"{_DATABASES}.duckdb.erasure:script",
        table_files=(".duckdb", ".db"),
    ),
    Connector(
        "excel",
        "Excel workbooks",
        "customers.xlsx",
        Abilities(writes=False, modes=(), keeps_state=False),
        title="Excel",
        suffixes=(".xlsx", ".xlsm"),
        options=f"{_FILES}.excel:ExcelOptions",
        size_unit="bytes",
        source=f"{_FILES}.excel:ExcelSource",
    ),
    Connector(
        "json",
        "JSON Lines, and JSON: an array of records or an object with one list; also gzip and zstd",
        "exports/*.jsonl",
        _WHOLE_FILE,
        title="JSON",
        suffixes=tuple(
            f"{ending}{packed}" for packed in ("", ".gz", ".zst") for ending in (".jsonl", ".ndjson", ".json")
        ),
        size_unit="bytes",
        source=f"{_FILES}.json:JsonSource",
        destination=f"{_FILES}.json:destination",
    ),
    Connector(
        "parquet",
        "Parquet files",
        "customers.parquet",
        _WHOLE_FILE,
        title="Parquet",
        suffixes=(".parquet", ".pq"),
        folder_is_data_set=True,
        size_unit="records",
        source=f"{_FILES}.parquet:ParquetSource",
        destination=f"{_FILES}.parquet:destination",
    ),
    Connector(
        "postgresql",
        "A table in Postgres; a view or ?query=SELECT is read",
        "postgresql://user@host/db?table=billing.customers",
        Abilities(maps_columns=True, undoes=True, keeps_history=True),
        title="Postgres",
        schemes=("postgresql", "postgres"),
        size_unit="records",
        source=f"{_DATABASES}.postgres.source:PostgresSource",
        destination=f"{_DATABASES}.postgres.table:PostgresTable",
        identity=f"{_DATABASES}.postgres.address:identity",
        same_place=f"{_DATABASES}.postgres.catalog:same_table",
        changes=f"{_DATABASES}.postgres.changes:changes",
        erasure=f"{_DATABASES}.postgres.erasure:script",
    ),
)


_SPOOLED: Final = f"{_FILES}.spooled:open_spooled"
_READ_ONCE: Final = Abilities(writes=False, modes=(), keeps_state=False)
IN_PYTHON: Final = {
    FRAME: Connector(
        "frame", "A frame in Python", "", _READ_ONCE, schemes=(FRAME,), size_unit="records", source=_SPOOLED
    ),
    DICTS: Connector("dicts", "Dicts in Python", "", _READ_ONCE, schemes=(DICTS,), size_unit="bytes", source=_SPOOLED),
}
"""Scheme (also the name) → connector of records that are given in Python. These addresses are not typed by people."""


class _BuiltIn(Mapping[str, Connector]):
    """Name → connector, sorted: those declared above, and one for each module in `connectors/providers/`, which is
    imported when its connector is requested.
    """

    def __init__(self) -> None:
        self._declared = {connector.name: connector for connector in _DECLARED}
        folder = Path(__file__).with_name("providers")
        self.providers = {found.name for found in pkgutil.iter_modules([str(folder)])}

    def __getitem__(self, name: str) -> Connector:
        if name in self.providers and name not in self._declared:
            self._declared[name] = provider_connector(importlib.import_module(f"{_PROVIDERS}.{name}"))
        return self._declared[name]

    def __contains__(self, name: object) -> bool:
        return name in self._declared or name in self.providers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._declared, *self.providers}))

    def __len__(self) -> int:
        return len({*self._declared, *self.providers})


def provider_connector(module: ModuleType) -> Connector:
    """Return the connector of a provider, given its module."""
    spec: ProviderSpec = module.SPEC
    return Connector(
        spec.name,
        spec.summary or spec.schema.title,
        spec.example or f"{spec.name}://",
        Abilities(continues=True, archives=spec.archives, undoes=True),
        title=spec.schema.title,
        schemes=(spec.name,),
        size_unit="records",
        options="tranship.connectors.api.limits:ProviderLimits",
        provider=module.__name__,
        key_variable=spec.key_variables[0],
    )


_BUILT_IN: Final = _BuiltIn()
CONNECTORS: Final[Mapping[str, Connector]] = _BUILT_IN
FILE_CONNECTORS: Final = tuple(connector for connector in _DECLARED if connector.suffixes)
"""The connectors of file formats. They are known without importing those of providers."""
PROVIDERS: Final = tuple(sorted(_BUILT_IN.providers))
"""Names of the built-in providers."""
SCHEMES: Final = {
    **{name: name for name in PROVIDERS},
    **{scheme: connector.name for connector in _DECLARED for scheme in connector.schemes},
}
"""Scheme → name of its connector."""
SUFFIXES: Final = {suffix: connector.name for connector in _DECLARED for suffix in connector.suffixes}
"""End of a file name → name of its connector."""
TABLE_FILES: Final = {suffix: connector.schemes[0] for connector in _DECLARED for suffix in connector.table_files}
"""End of the name of a file that holds tables → scheme of their addresses."""
DEFAULT_FORMAT: Final = "csv"
"""The format of a file whose name has no known suffix."""
