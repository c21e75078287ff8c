"""Which objects of nested records are unfolded into columns: all but those that are metadata as a whole."""

from __future__ import annotations

from functools import cache

from tranship.schemas.headers import match


@cache
def is_metadata(name: str) -> bool:
    """Whether a column of this name becomes the customer's metadata, so that an object there stays one value."""
    return "metadata" in match([name], {})
