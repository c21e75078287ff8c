"""The interpretation of spellings that the sources of a run leave open."""

from __future__ import annotations

from msgspec import Struct


class Spelling(Struct, frozen=True):
    """The time zone of instants without one, further date formats, and ids and addresses that do not identify a
    customer.
    """

    timezone: str = "UTC"
    date_formats: tuple[str, ...] = ()
    blocked: frozenset[str] = frozenset()
