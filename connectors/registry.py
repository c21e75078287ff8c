"""Address → connector: the only list of connectors anywhere, sorted. Each is imported on first use."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tranship.connectors.chain import Chain
from tranship.connectors.contract import Abilities, Destination, Source, Waiting
from tranship.connectors.errors import ConfigError, TranshipError, shown
from tranship.connectors.files.storage import Seen, Written, is_among, same, takes_in, whole_path

if TYPE_CHECKING:
    from tranship.connectors.api.spec import HealthFinding, ProviderSpec
    from tranship.connectors.databases.duckdb_table import Address as DuckDbAddress
    from tranship.connectors.files.csv import CsvOptions
    from tranship.schemas.compatibility import Passage


@dataclass(frozen=True)
class Connector:
    """A kind of source or destination."""

    name: str
    summary: str
    example: str
    abilities: Abilities
    key_variable: str | None = None
    """The environment variable its key is read from."""


_WHOLE_FILE = Abilities(modes=("upsert",), keeps_state=False)
_PROVIDER = Abilities(continues=True)
_ARCHIVING_PROVIDER = replace(_PROVIDER, archives=True)

CONNECTORS: Final[dict[str, Connector]] = {
    "blackwalnut": Connector(
        "blackwalnut", "BlackWalnut, an app's customers", "blackwalnut://host/my-app", _PROVIDER, "BLACKWALNUT_API_KEY"
    ),
    "csv": Connector("csv", "CSV files, also gzip and zstd; - is standard input", "exports/*.csv.gz", _WHOLE_FILE),
    "duckdb": Connector(
        "duckdb", "A table in a DuckDB file", "duckdb:///warehouse.duckdb?table=customers", Abilities()
    ),
    "growpanel": Connector(
        "growpanel", "GrowPanel, a data source", "growpanel://?source=ds_main", _PROVIDER, "GROWPANEL_API_KEY"
    ),
    "marginfront": Connector("marginfront", "MarginFront", "marginfront://", _PROVIDER, "MF_API_SECRET_KEY"),
    "metrifox": Connector("metrifox", "Metrifox", "metrifox://", _ARCHIVING_PROVIDER, "METRIFOX_API_KEY"),
    "metronome": Connector("metronome", "Metronome", "metronome://", _ARCHIVING_PROVIDER, "METRONOME_BEARER_TOKEN"),
    "parquet": Connector("parquet", "Parquet files", "customers.parquet", _WHOLE_FILE),
    "postgresql": Connector(
        "postgresql",
        "A table in Postgres; a view or ?query=SELECT is read",
        "postgresql://user@host/db?table=billing.customers",
        Abilities(),
    ),
}

_SCHEMES: Final = {"postgres": "postgresql"}
"""Other spellings of a scheme."""


def kind_of(spec: str) -> str:
    """The connector's name for an address. Raises ConfigError, listing what there is."""
    scheme = re.match(r"([a-z][a-z0-9+.:-]*)://", spec, re.IGNORECASE)
    if scheme and scheme[1].lower() not in ("s3", "gs", "az"):
        name = _SCHEMES.get(scheme[1].lower(), scheme[1].lower())
        if name in CONNECTORS and CONNECTORS[name].example.startswith(f"{name}:"):
            return name
        known = ", ".join(c.example for c in CONNECTORS.values())
        raise ConfigError(f"{name}://: there is no such connector. There are: {known}")
    path = spec.lower().rstrip("/")
    if path.endswith((".parquet", ".pq")):
        return "parquet"
    if path.endswith((".duckdb", ".db")) and not scheme:
        raise ConfigError(f"{shown(spec)}: for a DuckDB table write duckdb:///{spec}")
    folder = Path(spec).expanduser()
    if not scheme and folder.is_dir():
        suffixes = {file.suffix.lower() for file in folder.iterdir() if file.is_file()}
        if suffixes & {".parquet", ".pq"}:
            others = suffixes & {".csv", ".tsv", ".txt", ".gz", ".zst"}
            if others:
                raise ConfigError(
                    f"{shown(spec)}: holds Parquet and CSV files; name one kind with a glob: {spec}/*.parquet"
                )
            return "parquet"
    return "csv"


def identity(spec: str) -> str:
    """One text for all spellings of a destination: that of two runs is equal if they write to the same place.

    Raises ConfigError.
    """
    kind = kind_of(spec)
    if CONNECTORS[kind].key_variable:
        from tranship.connectors.api.spec import identity

        return identity(_api(kind), spec, os.environ)
    if kind == "postgresql":
        from tranship.connectors.databases.postgres.connection import identity as of_postgres

        return of_postgres(spec, os.environ)
    if kind == "duckdb":
        from tranship.connectors.databases.duckdb_table import identity as of_duckdb

        return of_duckdb(spec)
    return f"file {whole_path(Path(spec))}"


def open_sources(
    specs: Sequence[str], csv: CsvOptions, *, include_archived: bool = False, waiting: Waiting | None = None
) -> Source:
    """What is behind several addresses, as one source in their order; a file that several of them name is read once.

    As `open_source`. Raises ConfigError for a table or account that is given twice.
    """
    for place, spec in enumerate(specs):
        twice = next((before for before in specs[:place] if _one_place(before, spec)), None)
        if twice is not None:
            raise ConfigError(f"{shown(spec)}: is given twice (as {shown(twice)}); its records would be doubled.")
    kinds = [kind_of(spec) for spec in specs]
    seen: Seen = {}
    opened: list[Source] = []
    try:
        for spec, kind in zip(specs, kinds, strict=True):
            archived = include_archived and (_is_provider(kind) or not any(map(_is_provider, kinds)))
            opened.append(open_source(spec, csv, include_archived=archived, waiting=waiting, seen=seen))
    except TranshipError:
        for source in opened:
            source.close()
        raise
    if len(opened) == 1:
        return opened[0]
    # The size of CSV files is in bytes, all others count records.
    return Chain(opened, alike=len({kind == "csv" for kind in kinds}) == 1)


def open_source(
    spec: str,
    csv: CsvOptions,
    *,
    include_archived: bool = False,
    waiting: Waiting | None = None,
    seen: Seen | None = None,
) -> Source:
    """The source behind an address. Raises ConfigError or ConnectorError.

    `csv` says how CSV files are written; `include_archived` wants customers that a provider has put away, too;
    `waiting` is for a file that another process holds, which else is an error at once; files that are `seen` already
    are left out.
    """
    kind = kind_of(spec)
    if CONNECTORS[kind].abilities.continues:
        from tranship.connectors.api.source import ApiSource

        return ApiSource(_api(kind), spec, include_archived=include_archived)
    if include_archived:
        raise ConfigError(f"{shown(spec)}: only providers have archived customers; leave --include-archived out.")
    if kind == "duckdb":
        from tranship.connectors.databases.duckdb_table import DuckDbSource

        return DuckDbSource(spec, waiting)
    if kind == "postgresql":
        from tranship.connectors.databases.postgres.table import PostgresSource

        return PostgresSource(spec)
    if kind == "parquet":
        from tranship.connectors.files.parquet import ParquetSource

        return ParquetSource(spec, seen)
    from tranship.connectors.files.csv import CsvSource

    return CsvSource(spec, csv, seen)


def must_be_apart(specs: Sequence[str], destination: str) -> None:
    """Raises ConfigError where a run would read what it writes: one is the other, or holds it."""
    for spec in specs:
        why = _why_not_apart(spec, destination)
        if why:
            raise ConfigError(
                f"{shown(destination)}: cannot be the destination, as it {why} ({shown(spec)}). Nothing was read or "
                "written. Name another destination, behind all sources; a pattern of sources stands in quotes."
            )


def _why_not_apart(spec: str, destination: str) -> str | None:
    source, end = kind_of(spec), kind_of(destination)
    if _is_file(end) and "://" not in destination:
        path = Path(destination).expanduser()
        if _is_file(source):
            return takes_in(spec, _suffixes(source), path)
        return "lies in the file that is read" if source == "duckdb" and same(_duckdb(spec).path, path) else None
    if end == "duckdb" and _is_file(source):
        return "is read by this run" if is_among(spec, _suffixes(source), _duckdb(destination).path) else None
    return "is read by this run" if _one_place(spec, destination) else None


def _one_place(one: str, other: str) -> bool:
    """Whether two addresses mean one table or account. Files are told apart when they are opened."""
    kind = kind_of(one)
    if kind != kind_of(other) or _is_file(kind):
        return False
    if kind == "duckdb":
        a, b = _duckdb(one), _duckdb(other)
        names = [(at.schema.lower(), at.table.lower(), at.query) for at in (a, b)]
        return names[0] == names[1] and (same(a.path, b.path) or a.path.resolve() == b.path.resolve())
    if kind == "postgresql":
        from tranship.connectors.databases.postgres.table import one_table

        return one_table(one, other)
    return identity(one) == identity(other)


def _duckdb(spec: str) -> DuckDbAddress:
    from tranship.connectors.databases.duckdb_table import parse

    return parse(spec)


def _is_file(kind: str) -> bool:
    return not CONNECTORS[kind].abilities.keeps_state


def _is_provider(kind: str) -> bool:
    return CONNECTORS[kind].key_variable is not None


def _suffixes(kind: str) -> tuple[str, ...]:
    """The names that files of a kind have in a folder."""
    found: tuple[str, ...] = importlib.import_module(f"tranship.connectors.files.{kind}").SUFFIXES
    return found


def must_take(spec: str, mode: str, *, for_good: bool) -> None:
    """Raises ConfigError where such a destination does not do what the mode asks: known before anything is read."""
    kind = kind_of(spec)
    if _is_file(kind) and mode != "upsert":
        raise ConfigError(f"{shown(spec)}: a file is written whole; --mode {mode} needs a table.")
    if _is_provider(kind):
        from tranship.connectors.api.destination import refuse_unconfirmed_removal

        refuse_unconfirmed_removal(_api(kind), spec, mode, for_good=for_good)


def open_destination(spec: str, options: Mapping[str, Any]) -> Destination:
    """The table, file or account to write to. `options`: raw (CSV cells as they are), create (what does not exist may
    be created; else ConfigError), overwrite (a file that Tranship did not write may be replaced), written (the folder
    that knows which files it wrote), memory (of a database), lock_timeout and statement_timeout (seconds, 0 is no
    limit), pace (calls a second at most, null: as declared), waiting (for a file that another process holds).
    """
    kind = kind_of(spec)
    if CONNECTORS[kind].key_variable:
        from tranship.connectors.api.destination import ProviderDestination

        module = importlib.import_module(f"tranship.connectors.providers.{kind}")
        return ProviderDestination(
            module.SPEC, spec, module.build_operations, memory=options["memory"], pace=options["pace"]
        )
    if kind == "postgresql":
        from tranship.connectors.databases.postgres.table import Patience, PostgresTable

        patience = Patience(options["lock_timeout"], options["statement_timeout"])
        return PostgresTable(spec, memory=options["memory"], patience=patience, create=options["create"])
    if kind == "duckdb":
        from tranship.connectors.databases.duckdb_table import DuckDbTable

        return DuckDbTable(spec, memory=options["memory"], create=options["create"], waiting=options.get("waiting"))
    if "://" in spec:
        raise ConfigError(
            f"{shown(spec)}: cloud storage can be read, not written yet. Write to a local file and copy it."
        )
    if not options["create"]:
        from tranship.connectors.existing import must_exist

        must_exist(Path(spec).expanduser())
    if kind == "parquet":
        from tranship.connectors.files import parquet as parquet_file

        return parquet_file.destination(spec, Written(options["written"]), overwrite=options["overwrite"])
    if not spec.lower().endswith((".csv", ".txt")):
        raise ConfigError(
            f"{shown(spec)}: what should be written? Use duckdb:///file.duckdb, file.csv or file.parquet."
        )
    from tranship.connectors.files import csv as csv_file

    return csv_file.destination(spec, Written(options["written"]), overwrite=options["overwrite"], raw=options["raw"])


def held(files: Sequence[Path], fields: Sequence[str], database: Path, memory: str) -> Destination:
    """A table of canonical records (Parquet files with these fields) in a new database, to be compared with."""
    from tranship.connectors.databases.duckdb_table import held

    return held(files, fields, database, memory)


def _api(provider: str) -> ProviderSpec:
    """What is special to a provider."""
    api: ProviderSpec = importlib.import_module(f"tranship.connectors.providers.{provider}").SPEC
    return api


def check(spec: str) -> list[HealthFinding]:
    """Look whether a provider can be read, without changing anything. Raises ConfigError if it is none."""
    from tranship.connectors.api.health import check

    return check(_api(_provider(spec)), spec)


def passage(here: str, there: str) -> Passage:
    """What customers lose on the way from one provider to another and back, by the providers' names or addresses.

    Raises ConfigError if there is no such provider.
    """
    from tranship.schemas.compatibility import passage

    return passage(_api(_provider(here)).schema, _api(_provider(there)).schema)


def _provider(spec: str) -> str:
    name = re.split(r":|$", spec, maxsplit=1)[0].lower()
    providers = [connector.name for connector in CONNECTORS.values() if connector.key_variable]
    if name not in providers:
        raise ConfigError(f"{shown(spec)}: is no provider. There are: {', '.join(providers)}")
    return name


def serve_sandbox(
    provider: str,
    *,
    port: int | None,
    seeding: int | Path | None,
    state: Path | None,
    weather: Mapping[str, Any],
    switches: Mapping[str, str],
    log: bool,
) -> None:
    """Run a provider's sandbox until it is interrupted. Raises ConfigError for what cannot be used."""
    import msgspec

    from tranship.connectors.sandbox.server import serve
    from tranship.connectors.sandbox.weather import Weather

    try:
        made = msgspec.convert(dict(weather), Weather)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the weather cannot be so: {error}") from None
    serve(provider, port, seeding, state, made, switches, log=log)
