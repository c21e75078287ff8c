"""Address → connector: the only list of connectors, each imported on first use, and what other packages bring."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from tranship.connectors.addresses import is_same_file, redacted, resolved_path
from tranship.connectors.chain import Chain
from tranship.connectors.contract import Abilities, Connector, Destination, Source, Waiting
from tranship.connectors.errors import ConfigError, TranshipError

if TYPE_CHECKING:
    from tranship.connectors.api.spec import HealthFinding, ProviderSpec
    from tranship.connectors.databases.duckdb.address import DuckDbAddress
    from tranship.connectors.files.storage import Seen
    from tranship.connectors.sandbox.session import Sandbox
    from tranship.connectors.sandbox.weather import Weather
    from tranship.schemas.compatibility import Passage


GROUP: Final = "tranship.connectors"
"""The entry points of packages that bring connectors: each is a `contract.Connector`, or a module such as those in
`connectors/providers/`."""
_CLOUD: Final = ("s3", "gs", "az")
_WHOLE_FILE: Final = Abilities(modes=("upsert",), keeps_state=False)
_FILES: Final = "tranship.connectors.files"
_DATABASES: Final = "tranship.connectors.databases"
_PROVIDERS: Final = "tranship.connectors.providers"
_DECLARED: Final = (
    Connector(
        "csv",
        "CSV files, also gzip and zstd; - is standard input",
        "exports/*.csv.gz",
        _WHOLE_FILE,
        suffixes=tuple(f"{ending}{packed}" for packed in ("", ".gz", ".zst") for ending in (".csv", ".tsv", ".txt")),
        options=f"{_FILES}.csv_dialect:CsvOptions",
        source=f"{_FILES}.csv:CsvSource",
        destination=f"{_FILES}.csv:destination",
    ),
    Connector(
        "duckdb",
        "A table in a DuckDB file",
        "duckdb:///warehouse.duckdb?table=customers",
        Abilities(),
        schemes=("duckdb",),
        source=f"{_DATABASES}.duckdb.source:DuckDbSource",
        destination=f"{_DATABASES}.duckdb.table:DuckDbTable",
    ),
    Connector(
        "json",
        "JSON Lines, and JSON: an array of records or an object with one list; also gzip and zstd",
        "exports/*.jsonl",
        _WHOLE_FILE,
        suffixes=tuple(
            f"{ending}{packed}" for packed in ("", ".gz", ".zst") for ending in (".jsonl", ".ndjson", ".json")
        ),
        source=f"{_FILES}.json:JsonSource",
        destination=f"{_FILES}.json:destination",
    ),
    Connector(
        "parquet",
        "Parquet files",
        "customers.parquet",
        _WHOLE_FILE,
        suffixes=(".parquet", ".pq"),
        source=f"{_FILES}.parquet:ParquetSource",
        destination=f"{_FILES}.parquet:destination",
    ),
    Connector(
        "postgresql",
        "A table in Postgres; a view or ?query=SELECT is read",
        "postgresql://user@host/db?table=billing.customers",
        Abilities(),
        schemes=("postgresql", "postgres"),
        source=f"{_DATABASES}.postgres.source:PostgresSource",
        destination=f"{_DATABASES}.postgres.table:PostgresTable",
    ),
)


class _BuiltIn(Mapping[str, Connector]):
    """Name → connector, sorted: those declared above, and one for each module in `connectors/providers/`, which is
    imported when its connector is asked for.
    """

    def __init__(self) -> None:
        self._declared = {connector.name: connector for connector in _DECLARED}
        folder = Path(__file__).with_name("providers")
        self.providers = {found.name for found in pkgutil.iter_modules([str(folder)])}

    def __getitem__(self, name: str) -> Connector:
        if name in self.providers and name not in self._declared:
            self._declared[name] = _provider_connector(importlib.import_module(f"{_PROVIDERS}.{name}"))
        return self._declared[name]

    def __contains__(self, name: object) -> bool:
        return name in self._declared or name in self.providers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._declared, *self.providers}))

    def __len__(self) -> int:
        return len({*self._declared, *self.providers})


def _provider_connector(module: ModuleType) -> Connector:
    spec: ProviderSpec = module.SPEC
    return Connector(
        spec.name,
        spec.summary or spec.schema.title,
        spec.example or f"{spec.name}://",
        Abilities(continues=True, archives=spec.archives),
        schemes=(spec.name,),
        key_variable=spec.key_variables[0],
    )


_BUILT_IN: Final = _BuiltIn()
CONNECTORS: Final[Mapping[str, Connector]] = _BUILT_IN
_SCHEMES: Final = {
    **{name: name for name in _BUILT_IN.providers},
    **{scheme: connector.name for connector in _DECLARED for scheme in connector.schemes},
}
_SUFFIXES: Final = {suffix: connector.name for connector in _DECLARED for suffix in connector.suffixes}


@dataclass(frozen=True)
class PlugIns:
    """What other packages bring: connectors and provider modules by name, and why others cannot be used."""

    connectors: Mapping[str, Connector]
    modules: Mapping[str, ModuleType]
    broken: Mapping[str, str]


@cache
def plug_ins() -> PlugIns:
    """Load the connectors of other packages. Built-in names, schemes and suffixes are kept for the built-in ones."""
    connectors: dict[str, Connector] = {}
    modules: dict[str, ModuleType] = {}
    broken: dict[str, str] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            loaded = entry.load()
            connector = _provider_connector(loaded) if isinstance(loaded, ModuleType) else loaded
            problem = _problem(connector, connectors.values())
        except (Exception, SystemExit) as error:
            problem = f"cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        if problem:
            broken[entry.name] = problem
            continue
        connectors[connector.name] = connector
        if isinstance(loaded, ModuleType):
            modules[connector.name] = loaded
    return PlugIns(connectors, modules, broken)


def _problem(connector: Any, others: Iterable[Connector]) -> str:
    """Why a connector of another package cannot be used, empty if it can."""
    if not isinstance(connector, Connector):
        return "is neither a Connector nor a module with the specification of a provider"
    taken = {name: name for name in CONNECTORS} | _SCHEMES | _SUFFIXES
    for other in others:
        taken |= dict.fromkeys((other.name, *other.schemes, *other.suffixes), other.name)
    for name in (connector.name, *connector.schemes, *connector.suffixes):
        if name in taken:
            return f"{name} belongs to the connector {taken[name]}"
    return "" if connector.schemes or connector.suffixes else "has neither schemes nor suffixes"


def connector_of(spec: str) -> Connector:
    """Return the connector for an address. Raises ConfigError, listing those there are."""
    kind = kind_of(spec)
    return CONNECTORS[kind] if kind in CONNECTORS else plug_ins().connectors[kind]


def kind_of(spec: str) -> str:
    """Return the name of the connector for an address. Raises ConfigError, listing those there are."""
    scheme = re.match(r"([a-z][a-z0-9+.:-]*)://", spec, re.IGNORECASE)
    if scheme and scheme[1].lower() not in _CLOUD:
        name = scheme[1].lower()
        if name in _SCHEMES:
            return _SCHEMES[name]
        for connector in plug_ins().connectors.values():
            if name in connector.schemes:
                return connector.name
        everything = [*CONNECTORS.values(), *plug_ins().connectors.values()]
        raise ConfigError(
            f"{name}://: there is no such connector. There are: {', '.join(one.example for one in everything)}"
        )
    path = spec.lower().rstrip("/")
    if path.endswith((".duckdb", ".db")) and not scheme:
        raise ConfigError(f"{redacted(spec)}: for a DuckDB table write duckdb:///{spec}")
    folder = Path(spec).expanduser()
    if scheme or not folder.is_dir():
        return _format_of(path) or "csv"
    if path.endswith(_suffixes("parquet")):
        return "parquet"
    suffixes = {file.suffix.lower() for file in folder.iterdir() if file.is_file()}
    has_csv = bool(suffixes & {f".{suffix.rpartition('.')[2]}" for suffix in _suffixes("csv")})
    if suffixes & {*_suffixes("parquet")}:
        if has_csv:
            raise ConfigError(
                f"{redacted(spec)}: holds Parquet and CSV files; name one kind with a glob: {spec}/*.parquet"
            )
        return "parquet"
    if has_csv:
        return "csv"
    return next((kind for suffix in sorted(suffixes) if (kind := _format_of(suffix))), "csv")


def _format_of(path: str) -> str | None:
    """The file format that a name in lower case belongs to, null if no connector has its suffix."""
    built_in = next((name for suffix, name in _SUFFIXES.items() if path.endswith(suffix)), None)
    if built_in or not Path(path).suffix:
        return built_in
    found = plug_ins().connectors.values()
    return next((connector.name for connector in found if path.endswith(connector.suffixes)), None)


def identity(spec: str) -> str:
    """One text for all spellings of a destination: that of two runs is equal if they write to the same place.

    Raises ConfigError.
    """
    kind = kind_of(spec)
    if _is_provider(kind):
        from tranship.connectors.api.spec import identity

        return identity(_provider_spec(kind), spec, os.environ)
    if kind == "postgresql":
        from tranship.connectors.databases.postgres.address import identity as of_postgres

        return of_postgres(spec, os.environ)
    if kind == "duckdb":
        from tranship.connectors.databases.duckdb.address import identity as of_duckdb

        return of_duckdb(spec)
    if connector_of(spec).schemes:
        return spec
    return f"file {resolved_path(Path(spec))}"


def open_sources(
    specs: Sequence[str],
    options: Mapping[str, Any] | None = None,
    *,
    include_archived: bool = False,
    waiting: Waiting | None = None,
) -> Source:
    """What is behind several addresses, as one source in their order; a file that several of them name is read once.

    As `open_source`. Raises ConfigError for a table or account that is given twice.
    """
    for place, spec in enumerate(specs):
        twice = next((before for before in specs[:place] if _one_place(before, spec)), None)
        if twice is not None:
            raise ConfigError(f"{redacted(spec)}: is given twice (as {redacted(twice)}); its records would be doubled.")
    kinds = [kind_of(spec) for spec in specs]
    seen: Seen = {}
    opened: list[Source] = []
    try:
        for spec, kind in zip(specs, kinds, strict=True):
            archived = include_archived and (_is_provider(kind) or not any(map(_is_provider, kinds)))
            opened.append(open_source(spec, options, include_archived=archived, waiting=waiting, seen=seen))
    except TranshipError:
        for source in opened:
            source.close()
        raise
    if len(opened) == 1:
        return opened[0]
    # Sizes of one format have one unit; that of CSV is bytes, all other built-in connectors count records.
    return Chain(opened, alike=len({kind if kind not in CONNECTORS else kind == "csv" for kind in kinds}) == 1)


def open_source(
    spec: str,
    options: Mapping[str, Any] | None = None,
    *,
    include_archived: bool = False,
    waiting: Waiting | None = None,
    seen: Seen | None = None,
) -> Source:
    """Open the source behind an address. Raises ConfigError or ConnectorError.

    Of the `options` each connector takes those that it declares, such as the encoding of CSV files. `include_archived`
    also reads archived customers of a provider; `waiting` says how long to wait for a file that another process holds,
    which otherwise is an error at once; files that are `seen` already are left out.
    """
    connector = connector_of(spec)
    if _is_provider(connector.name):
        from tranship.connectors.api.source import ApiSource

        return ApiSource(_provider_spec(connector.name), spec, include_archived=include_archived)
    if include_archived:
        raise ConfigError(f"{redacted(spec)}: only providers have archived customers; leave --include-archived out.")
    if connector.source is None:
        raise ConfigError(f"{redacted(spec)}: {connector.name} can only be written.")
    offered: dict[str, Any] = {"options": _validated(connector, options or {}), "waiting": waiting, "seen": seen}
    offered["suffixes"] = connector.suffixes
    source: Source = _called(connector.source, spec, offered)
    return source


def _loaded(target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        if module.startswith("tranship."):
            raise
        raise ConfigError(f"{target}: the connector cannot be loaded ({error}). Reinstall its package.") from error


def _called(target: str, spec: str, offered: Mapping[str, Any]) -> Any:
    """Call a class or function with an address and those of the keyword arguments that it names."""
    function = _loaded(target)
    named = inspect.signature(function).parameters
    return function(spec, **{name: value for name, value in offered.items() if name in named})


def _validated(connector: Connector, options: Mapping[str, Any]) -> Any:
    """The options that a connector declares, as its own model; null if it declares none. Raises ConfigError."""
    if connector.options is None:
        return None
    from pydantic import TypeAdapter, ValidationError

    model = _loaded(connector.options)
    own = {field.name: options[field.name] for field in fields(model) if field.name in options}
    try:
        return TypeAdapter(model).validate_python(own)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"{connector.name}: option {where}: {problem['msg']}.") from None


def must_be_apart(specs: Sequence[str], destination: str) -> None:
    """Raises ConfigError where a run would read what it writes: one is the other, or holds it."""
    for spec in specs:
        why = _why_not_apart(spec, destination)
        if why:
            raise ConfigError(
                f"{redacted(destination)}: cannot be the destination, as it {why} ({redacted(spec)}). Nothing was read "
                "or written. Name another destination, behind all sources; a pattern of sources stands in quotes."
            )


def _why_not_apart(spec: str, destination: str) -> str | None:
    from tranship.connectors.files.storage import is_among, takes_in

    source, end = kind_of(spec), kind_of(destination)
    if _is_file(end) and "://" not in destination:
        path = Path(destination).expanduser()
        if _is_file(source):
            return takes_in(spec, _suffixes(source), path)
        return (
            "lies in the file that is read" if source == "duckdb" and is_same_file(_duckdb(spec).path, path) else None
        )
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
        return names[0] == names[1] and (is_same_file(a.path, b.path) or a.path.resolve() == b.path.resolve())
    if kind == "postgresql":
        from tranship.connectors.databases.postgres.catalog import same_table

        return same_table(one, other)
    return identity(one) == identity(other)


def _duckdb(spec: str) -> DuckDbAddress:
    from tranship.connectors.databases.duckdb.address import parse_address

    return parse_address(spec)


def _is_file(kind: str) -> bool:
    return bool(_suffixes(kind))


def _is_provider(kind: str) -> bool:
    return kind in _BUILT_IN.providers or (kind not in CONNECTORS and kind in plug_ins().modules)


def _suffixes(kind: str) -> tuple[str, ...]:
    """The ends of the names that files of a format have in a folder, empty if it is no file format."""
    if kind in _BUILT_IN.providers:
        return ()
    return (CONNECTORS[kind] if kind in CONNECTORS else plug_ins().connectors[kind]).suffixes


def must_take(spec: str, mode: str, *, for_good: bool) -> None:
    """Raises ConfigError where such a destination does not do what the mode asks: known before anything is read."""
    kind = kind_of(spec)
    if kind not in CONNECTORS and not _is_file(kind) and mode not in connector_of(spec).abilities.modes:
        raise ConfigError(f"{redacted(spec)}: {kind} cannot do --mode {mode}.")
    if _is_file(kind) and mode != "upsert":
        raise ConfigError(f"{redacted(spec)}: a file is written whole; --mode {mode} needs a table.")
    if _is_provider(kind):
        from tranship.connectors.api.destination import refuse_unconfirmed_removal

        refuse_unconfirmed_removal(_provider_spec(kind), spec, mode, for_good=for_good)


def open_destination(spec: str, options: Mapping[str, Any]) -> Destination:
    """The table, file or account to write to. `options`: raw (CSV cells as they are), create (what does not exist may
    be created; else ConfigError), overwrite (a file that Tranship did not write may be replaced), written (the folder
    that knows which files it wrote), memory (of a database), lock_timeout and statement_timeout (seconds, 0 is no
    limit), pace (calls a second at most, null: as declared), waiting (for a file that another process holds), observer
    (a `contract.WriteObserver`).
    """
    connector = connector_of(spec)
    if _is_provider(connector.name):
        from tranship.connectors.api.destination import ProviderDestination

        module = _provider_module(connector.name)
        arguments = {name: options[name] for name in ("observer", "memory", "pace")}
        return ProviderDestination(module.SPEC, spec, module.build_operations, **arguments)
    if connector.suffixes and "://" in spec:
        raise ConfigError(
            f"{redacted(spec)}: cloud storage can be read, not written yet. Write to a local file and copy it."
        )
    if connector.destination is None:
        raise ConfigError(f"{redacted(spec)}: {connector.name} can only be read.")
    if connector.suffixes and not options["create"]:
        from tranship.connectors.existing import must_exist

        must_exist(Path(spec).expanduser())
    from tranship.connectors.files.whole_file import Written

    offered = {**options, "written": Written(options["written"]), "options": _validated(connector, options)}
    destination: Destination = _called(connector.destination, spec, offered)
    return destination


def held(files: Sequence[Path], fields: Sequence[str], database: Path, memory: str) -> Destination:
    """A table of canonical records (Parquet files with these fields) in a new database, to be compared with."""
    from tranship.connectors.databases.duckdb.table import table_of_records

    return table_of_records(files, fields, database, memory)


def _provider_module(provider: str) -> ModuleType:
    if provider in _BUILT_IN.providers:
        return importlib.import_module(f"{_PROVIDERS}.{provider}")
    return plug_ins().modules[provider]


def _provider_spec(provider: str) -> ProviderSpec:
    spec: ProviderSpec = _provider_module(provider).SPEC
    return spec


def check(spec: str) -> list[HealthFinding]:
    """Look whether a provider can be read, without changing anything. Raises ConfigError if it is none."""
    from tranship.connectors.api.health import check

    return check(_provider_spec(_provider(spec)), spec)


def passage(here: str, there: str) -> Passage:
    """What customers lose on the way from one provider to another and back, by the providers' names or addresses.

    Raises ConfigError if there is no such provider.
    """
    from tranship.schemas.compatibility import passage

    return passage(_provider_spec(_provider(here)).schema, _provider_spec(_provider(there)).schema)


def _provider(spec: str) -> str:
    name = re.split(r":|$", spec, maxsplit=1)[0].lower()
    providers = sorted(_BUILT_IN.providers)
    if name not in providers:
        providers += sorted(plug_ins().modules)
    if name not in providers:
        raise ConfigError(f"{redacted(spec)}: is no provider. There are: {', '.join(providers)}")
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
    from tranship.connectors.sandbox.server import serve

    serve(provider, port, seeding, state, _weather(weather), switches, log=log)


def open_sandbox(
    provider: str,
    *,
    port: int,
    seeding: int | Path | None,
    state: Path | None,
    weather: Mapping[str, Any],
    switches: Mapping[str, str],
) -> AbstractContextManager[Sandbox]:
    """A provider's sandbox in a thread of this process. Raises ConfigError for what cannot be used."""
    from tranship.connectors.sandbox.session import session

    return session(
        provider, port=port, seeding=seeding, state=state, weather=_weather(weather), switches=dict(switches)
    )


def _weather(options: Mapping[str, Any]) -> Weather:
    import msgspec

    from tranship.connectors.sandbox.weather import Weather

    try:
        return msgspec.convert(dict(options), Weather)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the weather cannot be so: {error}") from None
