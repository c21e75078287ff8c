"""The reason why a provider refused a record: a code, followed by the provider's message, which is kept only in the
files that contain records."""

from __future__ import annotations

import re
from typing import Final

import polars as pl
from msgspec.structs import replace

from tranship.connectors import known_secrets
from tranship.connectors.api.operations import Failure
from tranship.schemas.provider import ProviderSchema

_WITH_MESSAGE: Final = ("refused", "gone")
_CODE: Final = rf"(?s)^((?:{'|'.join(_WITH_MESSAGE)}|unresolved)(?: \([^)]*\))?): .*$"
_MOST_FIELDS: Final = 3
"""A message that names more fields than this probably repeats the whole record."""


def coded(failure: Failure, schema: ProviderSchema, status: int | None = None) -> Failure:
    """Return a failure whose reason begins with a code that is safe to report: the status and the fields that the
    message names: `refused (422, email): email must be an email`. The message is without secrets and e-mail addresses.
    """
    kind, colon, message = failure.reason.partition(": ")
    if not colon or kind not in _WITH_MESSAGE:
        return failure
    named = [
        field.name for field in schema.fields if field.settable and re.search(rf"\b{re.escape(field.name)}\b", message)
    ]
    facts = [*([str(status)] if status else []), *(named if len(named) <= _MOST_FIELDS else [])]
    code = f"{kind} ({', '.join(facts)})" if facts else kind
    return replace(failure, reason=f"{code}: {known_secrets.safe_message(message)}")


def code_of(reason: pl.Expr) -> pl.Expr:
    """Return reasons without the provider's message."""
    return pl.coalesce(reason.str.extract(_CODE), reason).name.keep()
