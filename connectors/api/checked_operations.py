"""The operations of a provider, with each answer checked before it is used.

A provider may answer with any JSON, and with a customer other than the requested one. The functions of a provider read
answers as documented; here, once for all providers, their results are checked, and errors caused by an unexpected shape
become `InvalidAnswer`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar

from msgspec.structs import replace

from tranship.connectors.api.operations import (
    Ask,
    Bulk,
    Created,
    Failure,
    LookupKey,
    Operations,
    Record,
    Reply,
    Request,
)
from tranship.schemas.provider import Field, Kind, ProviderSchema

P = ParamSpec("P")
T = TypeVar("T")

SHAPE_ERRORS: Final = (KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError)
"""Errors raised when a response has an unexpected shape."""


class InvalidAnswer(Exception):
    """An answer is not as documented, or is about another customer; the text is the reason of the row's outcome."""


_LONGEST_ID: Final = 1000
"""More than any provider has, and more than most servers accept in an address."""

_ANOTHER: Final = "the provider answered with another customer"
_SHAPE: Final = "the provider's record of the customer does not have the documented shape"


def checked(operations: Operations) -> Operations:
    """Return the operations with their answers checked. They raise InvalidAnswer; `look_up` also raises its own errors.
    The caller checks each record of a bulk look-up (`checked_record`).
    """
    schema = operations.schema

    async def look_up(ask: Ask, key: LookupKey) -> Record | None:
        return checked_record(schema, key, await operations.look_up(ask, key))

    def created_id(body: Any, wanted: Record) -> str:
        if is_of_another(schema, body, wanted):
            raise ValueError(_ANOTHER)
        return own_id(operations.created_id(body, wanted))

    def failure(reply: Reply) -> Failure:
        try:
            return operations.failure(reply)
        except SHAPE_ERRORS:
            kind = _KIND_OF.get(reply.status, "refused")
            return Failure(kind, f"{kind}: answered {reply.status}")

    def interpret(request: Request, reply: Reply) -> Reply:
        try:
            return operations.interpret(request, reply)
        except SHAPE_ERRORS:
            return reply

    return replace(
        operations,
        look_up=look_up,
        created_id=created_id,
        change=_guarded(operations.change),
        # Those of an undo are in their places already.
        remove=_guarded(operations.remove) if operations.remove else None,
        comparable=_guarded(operations.comparable),
        failure=failure,
        interpret=interpret,
        bulk=_checked_bulk(operations.bulk) if operations.bulk else None,
    )


_KIND_OF: Final[Mapping[int, Any]] = {404: "gone", 405: "gone", 409: "taken"}


def _checked_bulk(bulk: Bulk) -> Bulk:
    def outcomes(body: Any, wanted: Sequence[Record]) -> Sequence[Created | Failure | None]:
        found = bulk.outcomes(body, wanted)
        if len(found) != len(wanted):
            raise ValueError("not an outcome for each")
        for outcome in found:
            if isinstance(outcome, Created):
                own_id(outcome.id)
        return found

    return replace(bulk, outcomes=outcomes, changes=_guarded(bulk.changes) if bulk.changes else None)


def _guarded(function: Callable[P, T]) -> Callable[P, T]:
    def guarded(*given: P.args, **named: P.kwargs) -> T:
        try:
            return function(*given, **named)
        except SHAPE_ERRORS as error:
            raise InvalidAnswer(_SHAPE) from error

    return guarded


def own_id(value: Any) -> str:
    """Return a provider's id of a customer. Raises ValueError if it cannot be one, or be part of a path."""
    if not isinstance(value, str) or not value or len(value) > _LONGEST_ID or value != value.strip():
        raise ValueError("no id")
    if not value.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ValueError("no id")
    return value


def checked_record(schema: ProviderSchema, key: LookupKey, record: Record | None) -> Record | None:
    """Return a record that was looked up. Raises InvalidAnswer if it is another customer, or not a customer."""
    if record is None:
        return None
    try:
        found = own_id(record[schema.id])
        misfits = [name for name, kind in _kinds(schema) if not _fits(kind, record.get(name))]
    except SHAPE_ERRORS as error:
        raise InvalidAnswer(_SHAPE) from error
    if misfits:
        raise InvalidAnswer(f"{_SHAPE}: {', '.join(misfits)}")
    if (key.id is not None and found != key.id) or _differs(schema, record, _identity(schema, key)):
        raise InvalidAnswer(_ANOTHER)
    return record


def is_of_another(schema: ProviderSchema, body: Any, wanted: Record, id: str | None = None) -> bool:
    """Return whether the body of an answer to a write is a customer other than `wanted` or the one with the id. An
    answer need not contain the customer, or all of its fields.
    """
    customer = body.get("data", body) if isinstance(body, Mapping) else None
    if not isinstance(customer, Mapping) or customer.get(schema.id) is None:
        return False
    return (id is not None and customer[schema.id] != id) or _differs(schema, customer, wanted)


def says_failure(body: Any) -> bool:
    """Return whether the body of an answer with a status of success says that the request has failed, as gateways in
    front of a provider may answer.
    """
    if not isinstance(body, Mapping):
        return False
    return body.get("success") is False or bool(body.get("error") or body.get("errors"))


def _identity(schema: ProviderSchema, key: LookupKey) -> Record:
    """Return the fields by which a customer was requested."""
    given = {"external_id": key.external_id, "email": key.email}
    return {field.name: given.get(field.canonical or "") for field in schema.fields}


def _differs(schema: ProviderSchema, customer: Record, wanted: Record) -> bool:
    """Return whether the external ids or the e-mails of two records are filled and different."""
    for field in schema.fields:
        if field.canonical in ("external_id", "email"):
            there, here = customer.get(field.name), wanted.get(field.name)
            if isinstance(there, str) and isinstance(here, str) and _spelling(field, there) != _spelling(field, here):
                return True
    return False


def _spelling(field: Field, value: str) -> str:
    return value.strip().lower() if field.canonical == "email" else value.strip()


def _kinds(schema: ProviderSchema) -> list[tuple[str, Kind]]:
    return [*((field.name, field.kind) for field in schema.fields), (schema.overflow.name, "object")]


_TYPES: Final[Mapping[Kind, Any]] = {
    "text": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "texts": list,
    "array": list,
    "object": Mapping,
    "json": list | Mapping,
}


def _fits(kind: Kind, value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return False
    return kind != "texts" or all(isinstance(text, str) for text in value)
