"""Load settings from a file, the environment and the options of a command. Options override the environment, and the
environment overrides the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from tranship.connectors import key_shapes, suggestions
from tranship.connectors.addresses import STANDARD_OUTPUT
from tranship.connectors.errors import ConfigError
from tranship.pipelines import earlier_columns, option_names, pipelines_file, setting_errors, toml_file
from tranship.pipelines.option_names import ENVIRONMENT_PREFIX
from tranship.pipelines.setting_errors import COMMAND, ENVIRONMENT
from tranship.pipelines.settings_model import Cleaning, Reading, Settings


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None = None,
) -> Settings:
    """Merge flags, environment and file. Raises ConfigError that names the setting and where it was set."""
    return _validated(Settings, flags, environment, file)


def fragment(given: Mapping[str, Any], file: str) -> Reading:
    """Return the settings of a profile. Raises ConfigError that names the setting and the file."""
    return _validated(Reading, given, {}, None, file)


def from_command(
    source: object,
    destination: object,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    place: str = COMMAND,
    only: str | None = None,
) -> Settings:
    """Return the settings of `run SOURCE... DESTINATION`, or of `run pipeline.toml`; options override the file. `only`
    is the pipeline that is chosen in a file with several.

    Raises ConfigError, naming the `place` where the options were given.
    """
    addresses = _addresses(source, destination, options)
    return _validated(Settings, {**options, **addresses}, environment, _settings_file(source), place, only)


def reading_from_command(
    source: object,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    place: str = COMMAND,
    only: str | None = None,
) -> Reading:
    """Return the settings of the source for `inspect SOURCE...` or `inspect pipeline.toml`. Raises ConfigError."""
    addresses = _addresses(source, None, options)
    file = _settings_file(source)
    given = {**options, **addresses}
    if file is None:
        return _validated(Reading, given, environment, None, place, only)
    # The file may be half written: what is read can be inspected before it is decided where it goes.
    return _validated(Settings, given, environment, file, place, only, {"destination": STANDARD_OUTPUT})


def pipelines_in(source: object) -> tuple[str, ...]:
    """Return the names of the pipelines, if the source is a settings file with several. Raises ConfigError."""
    file = _settings_file(source)
    return pipelines_file.names_in(_read(file), str(file)) if file else ()


def of_frame(name: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> Cleaning:
    """Return the settings of records that are in a frame of this name. Raises ConfigError."""
    return _validated(Cleaning, {**options, "source": name}, environment, place=setting_errors.CALL)


def _settings_file(source: object) -> Path | None:
    """Return the settings file that is given as the source, if any. Raises ConfigError if it is one of several
    sources.
    """
    given = source if isinstance(source, list | tuple) else [source]
    addresses = [os.fspath(address) if isinstance(address, os.PathLike) else address for address in given]
    files = [address for address in addresses if isinstance(address, str) and address.lower().endswith(".toml")]
    if files and len(given) > 1:
        raise ConfigError(f"{files[0]}: is a settings file and names its own sources. Remove the other sources.")
    return Path(files[0]) if files else None


def _addresses(source: object, destination: object, options: Mapping[str, Any]) -> dict[str, Any]:
    is_given = not isinstance(source, str | list | tuple) or source
    given = {"source": source if is_given and not _settings_file(source) else None, "destination": destination}
    addresses = {name: address for name, address in given.items() if address is not None}
    for name in addresses:
        if name in options:
            raise ConfigError(f"{name}: is given twice, as an argument and as an option. Give it once.")
    return addresses


_S = TypeVar("_S", bound=Reading)


def _validated(
    kind: type[_S],
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None = None,
    place: str = COMMAND,
    only: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> _S:
    merged: dict[str, Any] = dict(defaults or {})
    origin: dict[str, str] = {}
    if only is not None and file is None:
        raise ConfigError(f"--only {only}: selects a pipeline of a settings file. Give that file as the source.")
    from_file, pipeline = pipelines_file.layers(_read(file), str(file), only, environment) if file else ([], None)
    if pipeline is not None and "pipeline" in flags:
        raise ConfigError(f"{setting_errors.place('pipeline', place)}: the pipelines of {file} have names.")
    for where, given in (
        *from_file,
        (ENVIRONMENT, _from(environment, kind)),
        (place, flags),
    ):
        for name, value in given.items():
            _refuse_keys(name, value, where)
            _refuse_unreadable(name, value, where)
            if name == "columns" and earlier_columns.is_of_source(value):
                raise ConfigError(*earlier_columns.replacement(setting_errors.place(name, where), value))
            merged[name] = _merged(merged.get(name), value) if name in TABLES else value
            origin[name] = where
        # A rule for a field replaces one of the other kind with lower precedence.
        for name, other in (("fields", "set"), ("set", "fields")):
            near = given.get(name)
            if isinstance(near, Mapping) and isinstance(merged.get(other), Mapping):
                own = given.get(other) or {}
                merged[other] = {
                    field: rule for field, rule in merged[other].items() if field not in near or field in own
                }
    if pipeline is not None:
        merged["pipeline"] = pipeline
    try:
        return kind(**merged)
    except ValidationError as error:
        raise ConfigError(*setting_errors.sentences(error, origin, kind)) from None


def refuse_key_as_name(name: str, where: str) -> None:
    """Raise ConfigError for a key in place of the name of a setting."""
    key_shapes.refuse(name, f"{where}: name of a setting" if where not in (COMMAND, ENVIRONMENT) else where)


def _refuse_keys(name: str, value: object, where: str) -> None:
    """Raise ConfigError for a key among the settings, before any message can repeat it."""
    refuse_key_as_name(name, where)
    key_shapes.refuse_in(value, setting_errors.place(name, where), is_address=name in _ADDRESSES)


def _refuse_unreadable(name: str, value: object, where: str) -> None:
    """Raise ConfigError for text that is not valid Unicode, which libraries refuse with errors of their own. File names
    may be any bytes.
    """
    if name not in _PATHS and any(not _is_unicode(text) for text in key_shapes.texts_in(value)):
        raise ConfigError(f"{setting_errors.place(name, where)}: contains bytes that are not valid UTF-8.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _merged(given: Any, nearer: Any) -> Any:
    """Return two tables as one; in `values`, the words of each field, too."""
    if not isinstance(given, Mapping) or not isinstance(nearer, Mapping):
        return nearer
    return {**given, **{key: _merged(given.get(key), value) for key, value in nearer.items()}}


def _read(file: Path) -> dict[str, Any]:
    content = toml_file.read(file, str(file))
    # This table makes the file a profile for other sources; it is not a setting of the run.
    content.pop("recognise", None)
    return content


def _from(environment: Mapping[str, str], kind: type[Reading]) -> dict[str, Any]:
    """`TRANSHIP_MAX_REJECTS=2%` is max_rejects; lists and defaults (`a=b,c=d`) are separated by commas. Sources, rules,
    words, expressions and alerts are separated by line breaks, since they contain commas.

    An empty variable counts as not set.
    """
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text:
            continue
        # Another program may have variables with our prefix, and addresses in them.
        key_shapes.refuse(text, variable, is_address=name in _ADDRESSES or name not in Settings.model_fields)
        if name in kind.model_fields:
            found[name] = _value(name, text)
        # Kubernetes sets variables with our prefix for a service called tranship; only likely typos are reported.
        elif name not in Settings.model_fields and (
            near := suggestions.similar(name, Settings.model_fields, cutoff=0.85)
        ):
            raise ConfigError(
                f"{variable}: unknown setting. {suggestions.did_you_mean(map(option_names.variable, near))}"
            )
    return found


def _value(name: str, text: str) -> Any:
    if name == "source":
        return tuple(line.strip() for line in text.splitlines() if line.strip()) or text
    if name == "alert":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    if name in TABLES:
        # Expressions and names of columns contain commas.
        pairs = text.splitlines() if name in ("fields", "values", "set") else text.split(",")
        return table(name, [pair for pair in pairs if pair.strip()], option_names.variable(name))
    if Settings.model_fields[name].annotation == tuple[str, ...]:
        return tuple(part for part in text.split(",") if part)
    return text


def table(name: str, pairs: Sequence[str], where: str) -> dict[str, Any]:
    """Return one of the TABLES from pairs such as `currency=EUR` or, in `values`, `status:on hold=suspended`.

    Raises ConfigError, naming `where` they were given, if a pair has another form or contains a key or a password, or
    two pairs give different values.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key_shapes.refuse(pair, where)
        form = _PAIRS["values" if name == "values" else ""].match(pair)
        if form is None:
            raise ConfigError(f"{where}: {pair!r} is not of the form {TABLES[name]}.")
        key, value = form["field"], form["value"].strip() if name in ("fields", "values", "set") else form["value"]
        place, label = found, key
        if name == "values":
            word = (form["quoted"] or "").replace('""', '"') or form["word"].strip()
            place, key, label = found.setdefault(key, {}), word, f"{key}:{word}"
        if place.setdefault(key, value) != value:
            raise ConfigError(f"{where}: {label} has two values, {place[key]!r} and {value!r}. Give one.")
    return found


_ADDRESSES: Final = ("source", "destination", "remote", "work")
"""Settings that are addresses; they have rules of their own for passwords and keys."""

_PATHS: Final = (*_ADDRESSES, "profile", "crosswalk", "state_dir", "metrics", "lineage")
"""Settings that are addresses or paths."""

TABLES: Final = {
    "fields": "FIELD=RULE",
    "values": "FIELD:WORD=VALUE",
    "defaults": "FIELD=VALUE",
    "set": "FIELD=EXPRESSION",
    "options": "NAME=VALUE",
    "on_invalid": "FIELD=reject|warn",
    "columns": "FIELD=COLUMN",
    "expect": "WHAT=LIMIT",
    "retention": "RULE=VALUE",
    "mask": "FIELD=hmac|hide",
}
"""Settings that are tables, with the form of a pair."""

_PAIRS: Final = {
    "": re.compile(r"\s*(?P<field>[^=]*?)\s*=(?P<value>.*)$", re.DOTALL),
    "values": re.compile(
        r'\s*(?P<field>[^=:]*?)\s*:\s*(?:"(?P<quoted>(?:[^"]|"")+)"\s*|(?P<word>[^=]*))=(?P<value>.*)$', re.DOTALL
    ),
}
