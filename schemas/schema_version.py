"""The version of the JSON that Tranship prints and writes."""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 1
"""The value of `schema_version`. It is raised when a name is removed or changes its meaning, not when one is added."""
