"""Which objects of nested records are unfolded into columns: all but those that are metadata as a whole."""

from __future__ import annotations

from functools import cache

from tranship.schemas.column_names import fold
from tranship.schemas.headers import match


@cache
def is_metadata(name: str) -> bool:
    """Return whether a column of this name becomes the customer's metadata, so that an object there stays one value.
    JSON:API keeps all fields of a record in `attributes`.
    """
    return fold(name) != "attributes" and "metadata" in match([name], {})
