"""The ids of all records of a source, as it reads them."""

from __future__ import annotations

from pathlib import Path

from tranship.connectors.opening import open_source


def ids(address: str) -> list[str]:
    """Return the values of the column `id`, in order; pages are kept in the working directory."""
    source = open_source(address)
    try:
        return [str(value) for part in source.parts(Path("pages")) for value in part.read().records["id"]]
    finally:
        source.close()
