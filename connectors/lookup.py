"""Address → connector: built-in connectors first, then those of other packages."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tranship.connectors import known_secrets
from tranship.connectors.address_secrets import is_connection_string
from tranship.connectors.addresses import STANDARD_OUTPUT, is_in_python, local_path, redacted, resolved_path
from tranship.connectors.contract import Connector
from tranship.connectors.errors import ConfigError
from tranship.connectors.plug_ins import plug_ins
from tranship.connectors.registry import CONNECTORS, DEFAULT_FORMAT, IN_PYTHON, SCHEMES, SUFFIXES, TABLE_FILES

if TYPE_CHECKING:
    from tranship.connectors.api.spec import ProviderSpec

_OF_FILES: Final = ("s3", "gs", "az", "http", "https")
"""Schemes of addresses of files."""
_ARCHIVES: Final = (".zip",)
ENGINE_SCHEMES: Final = ("delta", "iceberg")
"""Schemes of the tables that only an engine reads and writes."""


def connector_of(spec: str) -> Connector:
    """Return the connector for an address. Raises ConfigError, listing those there are."""
    return named(kind_of(spec))


def named(name: str) -> Connector:
    """Return the connector of this name."""
    if name in IN_PYTHON:
        return IN_PYTHON[name]
    return CONNECTORS[name] if name in CONNECTORS else plug_ins().connectors[name]


def kind_of(spec: str) -> str:
    """Return the name of the connector for an address. Raises ConfigError, listing those there are."""
    if is_in_python(spec):
        return spec.partition("://")[0]
    scheme = re.match(r"([a-z][a-z0-9+._:-]*)://", spec, re.IGNORECASE)
    if is_connection_string(spec):
        raise ConfigError(
            f"{redacted(spec)}: is not an address. Write postgresql://user@host:5432/database?table=NAME, and keep the "
            "password in PGPASSWORD or ~/.pgpass."
        )
    if scheme and scheme[1].lower() not in _OF_FILES:
        name = scheme[1].lower()
        if name in SCHEMES:
            return SCHEMES[name]
        for connector in plug_ins().connectors.values():
            if name in connector.schemes:
                return connector.name
        raise _unknown_scheme(name)
    is_web = scheme and scheme[1].lower().startswith("http")
    path = (re.split("[?#]", spec)[0] if is_web else spec).lower().rstrip("/")
    if not scheme and local_path(spec).is_dir():
        kind = _built_in_format(path)
        return kind if kind and CONNECTORS[kind].folder_is_data_set else DEFAULT_FORMAT
    if not scheme:
        _refuse_table_file(spec, path)
    return _format_of(path) or DEFAULT_FORMAT


def _unknown_scheme(name: str) -> ConfigError:
    """Return the error for a scheme that no connector has: it suggests the most similar one, or else lists all."""
    from tranship.connectors import suggestions

    if name in ENGINE_SCHEMES:
        return ConfigError(
            f"{name}://: such tables are read and written on an engine. Add --engine sail, or --engine spark."
        )
    schemes = {
        *_OF_FILES,
        *SCHEMES,
        *(scheme for plug_in in plug_ins().connectors.values() for scheme in plug_in.schemes),
    }
    near = suggestions.did_you_mean(f"{scheme}://" for scheme in suggestions.similar(name, sorted(schemes)))
    listed = ", ".join(f"{scheme}://" for scheme in sorted(schemes))
    advice = f"The schemes are {listed}; a local file needs none. Run tranship connectors to see an example of each."
    broken = "; ".join(f"{other} {problem}" for other, problem in plug_ins().broken.items())
    unusable = f" Connectors of other packages that cannot be used: {broken}." if broken else ""
    return ConfigError(f"{name}://: unknown scheme. {near or advice}{unusable}")


def _refuse_table_file(spec: str, path: str) -> None:
    """Raise ConfigError for the path of a file in which a database keeps its tables."""
    schemes = TABLE_FILES
    if not _built_in_format(path) and not path.endswith(tuple(schemes)) and Path(path).suffix:
        found = plug_ins().connectors.values()
        schemes = {suffix: connector.schemes[0] for connector in found for suffix in connector.table_files}
    scheme = next((scheme for suffix, scheme in schemes.items() if path.endswith(suffix)), None)
    if scheme and not _is_other(spec):
        shown = redacted(spec)
        raise ConfigError(f"{shown}: is a database file. To use a table in it, write {scheme}:///{shown}?table=NAME")


def _is_other(spec: str) -> bool:
    """Return whether an existing file has a format other than its name suggests; opening it reports the format."""
    from tranship.connectors.files.formats import DUCKDB, HEAD_BYTES, recognise

    path = local_path(spec)
    if not path.is_file():
        return False
    try:
        with path.open("rb") as opened:
            found = recognise(opened.read(HEAD_BYTES), "")
    except OSError:
        return False
    return found not in (None, DUCKDB)


def _built_in_format(path: str) -> str | None:
    return next((name for suffix, name in SUFFIXES.items() if path.endswith(suffix)), None)


def _format_of(path: str) -> str | None:
    """Return the file format to which a name in lower case belongs; null if no connector has its suffix."""
    built_in = _built_in_format(path)
    if built_in or not Path(path).suffix:
        return built_in
    found = plug_ins().connectors.values()
    return next((connector.name for connector in found if path.endswith(connector.suffixes)), None)


def format_of(name: str) -> str | None:
    """Return the name of the connector for files of this name, null if none has its suffix."""
    return _format_of(name.lower())


def in_folder(spec: str, connector: Connector) -> Callable[[str], bool]:
    """Return the function that decides, by their names in lower case, which files of a folder are read: those of all
    formats or, in a folder that is one data set, those of its format.
    """
    if connector.folder_is_data_set and _is_data_set(spec):
        return lambda name: name.endswith(connector.suffixes)
    return lambda name: name.endswith(_ARCHIVES) or _format_of(name) is not None


def _is_data_set(spec: str) -> bool:
    kind = _built_in_format(spec.lower().rstrip("/"))
    return kind is not None and CONNECTORS[kind].folder_is_data_set and local_path(spec).is_dir()


def identity(spec: str) -> str:
    """Return one text for all spellings of a destination: two runs write to the same place if it is equal.

    Raises ConfigError.
    """
    connector = connector_of(spec)
    if connector.provider:
        from tranship.connectors.api.spec import identity

        return identity(provider_spec(connector), spec, os.environ)
    if connector.identity:
        return str(load(connector.identity)(spec))
    if spec == STANDARD_OUTPUT:
        return f"standard output of process {os.getpid()}"  # each process has its own
    return spec if connector.schemes or "://" in spec else f"file {resolved_path(Path(spec))}"


def provider_spec(connector: Connector) -> ProviderSpec:
    """Return the specification of a provider's API."""
    spec: ProviderSpec = importlib.import_module(str(connector.provider)).SPEC
    return spec


def load(target: str) -> Any:
    """Import an object that a connector declares as `module:name`. Raises ConfigError if another package lacks it."""
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        if module.startswith("tranship."):
            raise
        why = known_secrets.safe_message(str(error))
        raise ConfigError(f"{target}: the connector cannot be loaded ({why}). Reinstall its package.") from error
