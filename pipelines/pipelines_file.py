"""Settings files: values of environment variables in them, and several pipelines in one file.

The top of a file with a table `pipelines` has the settings that its pipelines share; `[pipelines.crm]` has those of
crm, which override them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tranship.connectors import key_shapes, suggestions
from tranship.connectors.errors import ConfigError

TABLE: Final = "pipelines"
NAME: Final = r"[\w.-]{1,100}"
_REFERENCE: Final = r"(\$?)\$\{([^{}]*)\}"
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_COMMAND: Final = "on_failure"
"""The setting that a shell runs."""


def names_in(content: Mapping[str, Any], file: str) -> tuple[str, ...]:
    """Return the names of the pipelines in a file, in its order; none if it has the settings of one run. Raises
    ConfigError.
    """
    pipelines = content.get(TABLE)
    if pipelines is None:
        return ()
    if not isinstance(pipelines, Mapping) or not pipelines:
        raise ConfigError(
            f"{TABLE} ({file}): is not a table of pipelines. Write the settings of each under [{TABLE}.NAME]"
        )
    for name, settings in pipelines.items():
        key_shapes.refuse(name, f"{file}: name of a pipeline")
        if not re.fullmatch(NAME, name):
            raise ConfigError(f"{TABLE}.{name} ({file}): is not a name of a pipeline. Use letters, digits, _, - and .")
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{TABLE}.{name} ({file}): is not a table. Write its settings under [{TABLE}.{name}]")
        if "pipeline" in settings:
            raise ConfigError(f"{TABLE}.{name} ({file}): has its name already. Remove pipeline")
    return tuple(pipelines)


def chosen(only: Sequence[str], names: Sequence[str], file: str) -> tuple[str, ...]:
    """Return the pipelines that are to run: all, or `only` these, in the order of the file. Raises ConfigError for an
    unknown name.
    """
    if only and not names:
        raise ConfigError(f"--only {','.join(only)}: {file} has the settings of one run, and no [{TABLE}.NAME]")
    for name in only:
        if name not in names:
            raise ConfigError(f"--only {name}: {suggestions.advice(name, names, f'The pipelines of {file} are')}")
    return tuple(name for name in names if not only or name in only)


def layers(
    content: Mapping[str, Any], file: str, only: str | None, environment: Mapping[str, str]
) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
    """Return the settings of one run, each part with its place, and the name of its pipeline, null where the file has
    the settings of one run. A later part overrides an earlier one.

    Raises ConfigError if the file has several pipelines and not one of them is chosen, or a variable is not set.
    """
    names = chosen([only] if only is not None else [], names_in(content, file), file)
    if len(names) > 1:
        raise ConfigError(
            f"{file}: has {len(names)} pipelines ({', '.join(names)}). Choose one: --only {names[0]}, or in Python "
            f'only="{names[0]}". The command tranship run takes several.'
        )
    shared = {name: value for name, value in content.items() if name != TABLE}
    parts = [(file, shared), *((f"{file}, {TABLE}.{name}", {**content[TABLE][name]}) for name in names)]
    complete = [
        (place, {key: _setting(key, value, place, environment) for key, value in part.items()}) for place, part in parts
    ]
    return complete, names[0] if names else None


def _setting(name: str, value: Any, place: str, environment: Mapping[str, str]) -> Any:
    """Return the value of a setting with the values of variables. In a command they are left to the shell: other users
    see its text in the list of processes, and some of these values are secrets.
    """
    complete = filled(value, f"{name} ({place})", environment)
    return value.replace("$${", "${") if name == _COMMAND and isinstance(value, str) else complete


def filled(value: Any, place: str, environment: Mapping[str, str]) -> Any:
    """Return a value with the values of variables in place of `${NAME}`; `$${NAME}` stands for `${NAME}`. Raises
    ConfigError for one that is not set.
    """
    if isinstance(value, Mapping):
        return {key: filled(inner, place, environment) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, place, environment) for inner in value]
    if not isinstance(value, str) or "${" not in value:
        return value

    def of_variable(reference: re.Match[str]) -> str:
        escaped, name = reference[1], reference[2]
        if escaped:
            return f"${{{name}}}"
        if not re.fullmatch(_VARIABLE, name):
            raise ConfigError(f"{place}: ${{{name}}} is not a name of a variable. For this text, write $${{{name}}}")
        if name not in environment:
            raise ConfigError(
                f"{place}: the environment variable {name} is not set. For the text ${{{name}}}, write $${{{name}}}"
            )
        return environment[name]

    return re.sub(_REFERENCE, of_variable, value)
