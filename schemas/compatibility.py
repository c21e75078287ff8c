"""What is lost between two providers: derived from the declarations of both."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import OVERFLOW_FIELDS, Field, Loss, ProviderSchema


@dataclass(frozen=True)
class Passage:
    """What happens to a customer of one provider that is written to another and comes back."""

    lost: tuple[Loss, ...]
    kept: tuple[Loss, ...]
    """Not in a native place, but kept; `why` says where."""
    demanded: tuple[Loss, ...]
    """What the other refuses a record without, or with."""


def losses(schema: ProviderSchema) -> tuple[Loss, ...]:
    """Everything that canonical → provider → canonical does not give back: declared, and what follows from fields."""
    has_its_own = "updated_at" in schema.sources
    ids = "the external id" if schema.by_name[schema.id].settable else "its own"
    return (
        Loss("updated_at", f"{schema.title} keeps its own" if has_its_own else "says nothing of a copy"),
        Loss("provider", f"becomes {schema.provider}"),
        Loss(
            "provider_id", f"at {schema.title} it is {ids}; one at another provider is kept as metadata <provider>.id"
        ),
        *(
            Loss(f"metadata.{schema.key(one.name)}", one.why or f"{schema.title} sets {one.name} by itself")
            for one in schema.kept
            if not one.settable
        ),
        *schema.losses,
    )


def passage(here: ProviderSchema, there: ProviderSchema) -> Passage:
    """What is lost, kept elsewhere and demanded on the way of `here`'s customers → `there` → `here`."""
    given = {*here.sources, "metadata"} - {"provider"}
    # An id that is the external id comes back as that; any other one stays as metadata.
    if here is not there or here.by_name[here.id].settable:
        given -= {"provider_id"}
    given |= {f"metadata.{schema.key(one.name)}" for schema in (here, there) for one in schema.kept}
    lost = {loss.field: loss for schema in (there, here) for loss in losses(schema) if loss.field in given}
    unsure = {one.canonical for one in there.fields if one.server_generated and one.settable}
    kept = [
        Loss(name, f"{there.spill(name)}; natively {_natively(there, name, unsure)}")
        for name in COLUMNS
        if name in given and (name in there.partial or name in unsure)
    ]
    kept += [
        Loss(name, there.spill(name))
        for name in OVERFLOW_FIELDS
        if name in given and name not in {*there.native, *there.partial}
    ]
    if here is not there:
        kept.append(Loss("provider_id", f"{there.overflow.name}, as {here.key(here.id)}"))
        kept += [Loss(f"metadata.{here.key(one.name)}", _foreign(there, one)) for one in here.kept if one.settable]
    if there.overflow.style == "texts":
        kept.append(Loss("metadata", f"{there.overflow.name}; all but short text as JSON in {there.spill('metadata')}"))
    demanded = [
        Loss(one.canonical or f"metadata.{there.key(one.name)}", ", ".join(rules))
        for one in there.fields
        if one.settable and not one.from_address and (rules := _rules(one))
    ]
    demanded += [Loss(demand.field, demand.says) for demand in there.rules]
    return Passage(tuple(lost.values()), tuple(kept), tuple(demanded))


def _natively(there: ProviderSchema, name: str, unsure: Set[str | None]) -> str:
    """Describe what a native field does with a canonical field that is kept in the overflow as well."""
    said = [f"only {there.partial[name]}"] if name in there.partial else []
    if name in unsure:
        said.append(f"as {there.title} sees fit")
    return ", ".join(said)


def _foreign(there: ProviderSchema, one: Field) -> str:
    """Where another provider keeps a field that has no canonical home."""
    if there.overflow.style == "texts" and one.kind != "text":
        return f"{there.spill('metadata')}, as JSON"
    return f"{there.overflow.name}, under its own key"


def _rules(one: Field) -> list[str]:
    required = ["must be there"] if one.required else []
    return [*required, f"at most {one.max_length} characters"] if one.max_length else required
