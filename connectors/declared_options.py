"""The options that connectors declare: their names, and the given ones checked by the model of the connector."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tranship.connectors import value_errors
from tranship.connectors.address_secrets import WEB
from tranship.connectors.addresses import scheme_of
from tranship.connectors.contract import Connector
from tranship.connectors.errors import ConfigError
from tranship.connectors.lookup import connector_of, load, named
from tranship.connectors.registry import FILE_CONNECTORS

if TYPE_CHECKING:
    from pydantic import TypeAdapter

DOWNLOAD_LIMITS: Final = "tranship.connectors.files.download:DownloadLimits"
"""The options of sources at web addresses."""


def validated(connector: Connector, options: Mapping[str, Any]) -> Any:
    """Return the options that a connector declares, as its own model; null if it declares none. Raises ConfigError."""
    return None if connector.options is None else as_options(connector.options, connector.shown, options)


def as_options(target: str, name: str, options: Mapping[str, Any]) -> Any:
    """Return the options that a model (`module:name`) declares, as that model. Raises ConfigError."""
    from pydantic import ValidationError

    model = load(target)
    own = {field.name: options[field.name] for field in fields(model) if field.name in options}
    try:
        return _adapter(model).validate_python(own)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or ", ".join(own)
        raise ConfigError(f"{name}: option {where}: {value_errors.reason(problem)}.") from None


@cache
def _adapter(model: type[Any]) -> TypeAdapter[Any]:
    """Return the checks of a model, which take longer to make than a small file to read."""
    from pydantic import TypeAdapter

    return TypeAdapter(model)


def must_be_used(options: Mapping[str, Any], readers: Collection[str]) -> None:
    """Raise ConfigError for an option of a file format that is given, and that none of the formats read has."""
    used = {name for reader in readers for name in _declared(named(reader))}
    unused = {name: given for name, given in options.items() if name not in used and (given or given is False)}
    if not unused:
        return  # no other format is imported
    for name, given in unused.items():
        formats = [known.shown for known in FILE_CONNECTORS if name in _declared(known)]
        if formats:
            switch = f"no-{name}" if given is False else name.replace("_", "-")
            read = " and ".join(sorted(named(reader).shown for reader in readers)) or "no file"
            raise ConfigError(
                f"--{switch}: applies only to {' and '.join(formats)}, but this run reads {read}. Leave it out."
            )


def names_of(spec: str) -> tuple[str, ...]:
    """Return the names of the options that the connector of an address declares. Raises ConfigError."""
    declared = [connector_of(spec).options, DOWNLOAD_LIMITS if scheme_of(spec) in WEB else None]
    return tuple(name for target in declared if target for name in _names(target))


def _declared(connector: Connector) -> tuple[str, ...]:
    return _names(connector.options) if connector.options else ()


def _names(target: str) -> tuple[str, ...]:
    return tuple(field.name for field in fields(load(target)))
