"""Environment variables of libraries as the likely cause of a failure in one of them, such as POLARS_MAX_THREADS=0."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from typing import Final

from tranship.connectors.errors import ConfigError, TranshipError
from tranship.schemas.counted import counted

_PREFIXES: Final = {
    "duckdb": ("DUCKDB_",),
    "pandera": ("PANDERA_",),
    "polars": ("POLARS_", "RAYON_"),
    "pyarrow": ("ARROW_", "PYARROW_", "OMP_"),
}
_OTHER_NAMES: Final = {"pyo3_runtime": "polars", "_polars_runtime_32": "polars", "_duckdb": "duckdb"}
"""Modules of these libraries that have other names."""


def likely_cause(error: BaseException) -> ConfigError | None:
    """Return an error that names the variables of the library in which an exception arose; null if it arose elsewhere,
    or no variable of that library is set. The message of the exception may quote records, and is not repeated.
    """
    if isinstance(error, TranshipError):
        return None
    for library in _libraries(error):
        names = sorted(name for name in os.environ if name.startswith(_PREFIXES[library]))
        if names:
            return ConfigError(
                f"{library} failed ({type(error).__name__}), and {counted(len(names), 'variable')} of the environment "
                f"may be why: {', '.join(names)}. Unset what you do not need and run the same command again. If that "
                "does not help, please report this as a bug in Tranship."
            )
    return None


def _libraries(error: BaseException) -> Iterator[str]:
    """Yield the libraries of an exception's class, and those whose code was running, innermost first."""
    modules = [type(error).__module__]
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("tranship."):
            break
        modules.append(module)
    for module in modules:
        name = module.partition(".")[0]
        library = _OTHER_NAMES.get(name, name)
        if library in _PREFIXES:
            yield library
