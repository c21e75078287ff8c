"""The connectors of other packages: entry points, each checked before it is used."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Final

import msgspec
from msgspec import Struct

from tranship.connectors import known_secrets
from tranship.connectors.contract import Abilities, Connector
from tranship.connectors.registry import CONNECTORS, SCHEMES, SUFFIXES, provider_connector

GROUP: Final = "tranship.connectors"
"""The entry points of packages with connectors: each is a `contract.Connector`, or a module such as those in
`connectors/providers/`."""
_NAME: Final = re.compile(r"[a-z][a-z0-9+._-]*")
_SUFFIX: Final = re.compile(r"\.[a-z0-9][a-z0-9._-]*")


class PlugIns(Struct, frozen=True):
    """The contents of other packages: connectors by name, and why others cannot be used."""

    connectors: Mapping[str, Connector]
    broken: Mapping[str, str]
    packages: Mapping[str, str]
    """Top-level module → name of the connector whose code it has."""


@cache
def plug_ins() -> PlugIns:
    """Load the connectors of other packages. Built-in names, schemes and suffixes are reserved for the built-in
    ones."""
    connectors: dict[str, Connector] = {}
    broken: dict[str, str] = {}
    packages: dict[str, str] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            with redirect_stdout(sys.stderr):  # standard output may be the destination, or JSON
                loaded = entry.load()
            declared = provider_connector(loaded) if isinstance(loaded, ModuleType) else loaded
            connector, problem = _checked(declared)
            problem = problem or _conflict(connector, connectors.values())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever its modules do when they are imported
            problem = f"cannot be loaded ({type(error).__name__}: {_message(error)})"
        if problem:
            broken[entry.name] = problem
            continue
        connectors[connector.name] = connector
        packages |= dict.fromkeys([entry.value.partition(":")[0].partition(".")[0], *_modules(connector)], entry.name)
    return PlugIns(connectors, broken, packages)


def _message(error: BaseException) -> str:
    try:
        return known_secrets.safe_message(str(error))
    except Exception:
        return "no message"


def _checked(declared: Any) -> tuple[Connector, str]:
    """Return a connector whose values have the declared types, and why it cannot be used; empty if it can."""
    if not isinstance(declared, Connector):
        return declared, "is neither a Connector nor a module with the specification of a provider"
    values = msgspec.structs.asdict(declared)
    if isinstance(declared.abilities, Abilities):
        values["abilities"] = msgspec.structs.asdict(declared.abilities)
    try:
        connector = msgspec.convert(values, Connector)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).replace("`", "").partition(" - at $.")
        return declared, f"is declared with an invalid value: {place}: {problem[:1].lower()}{problem[1:]}"
    for name in (connector.name, *connector.schemes):
        if not _NAME.fullmatch(name):
            return connector, f"{name!r} has other characters than lower-case letters, digits and + . _ -"
    for suffix in (*connector.suffixes, *connector.table_files):
        if not _SUFFIX.fullmatch(suffix):
            return connector, f"the suffix {suffix!r} is not a dot followed by lower-case letters, digits and . _ -"
    if not connector.schemes and not connector.suffixes:
        return connector, "has neither schemes nor suffixes"
    if not connector.provider and not connector.source and not connector.destination:
        return connector, "has neither a source nor a destination"
    return _with_real_abilities(connector), ""


def _with_real_abilities(connector: Connector) -> Connector:
    """Return a connector that says it reads and writes only if it has code for that."""
    given, both = connector.abilities, connector.provider is not None
    reads = given.reads and (both or connector.source is not None)
    writes = given.writes and (both or connector.destination is not None)
    return msgspec.structs.replace(connector, abilities=msgspec.structs.replace(given, reads=reads, writes=writes))


def _conflict(connector: Connector, others: Iterable[Connector]) -> str:
    """Return which name of a connector another one has; empty if it has its own."""
    taken = {name: name for name in CONNECTORS} | SCHEMES | SUFFIXES
    for other in others:
        taken |= dict.fromkeys((other.name, *other.schemes, *other.suffixes), other.name)
    for name in (connector.name, *connector.schemes, *connector.suffixes):
        if name in taken:
            return f"{name} belongs to the connector {taken[name]}"
    return ""


def _modules(connector: Connector) -> Iterator[str]:
    """Yield the top-level modules in which the code of a connector is."""
    for target in (connector.source, connector.destination, connector.options, connector.provider):
        if target:
            yield target.partition(":")[0].partition(".")[0]


def at_fault(error: BaseException) -> str | None:
    """Return the name of the connector of another package whose code an error comes from, null if there is none."""
    if not plug_ins.cache_info().currsize:  # none has been used
        return None
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == "tranship":
            return None
        if package in plug_ins().packages:
            return plug_ins().packages[package]
    return None
