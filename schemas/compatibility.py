"""Fields that are lost between two providers, derived from the declarations of both."""

from __future__ import annotations

from collections.abc import Set

from msgspec import Struct

from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import OVERFLOW_FIELDS, Field, Loss, ProviderSchema


class Passage(Struct, frozen=True):
    """The fate of the fields of a provider's customer that is written to another provider and read back."""

    lost: tuple[Loss, ...]
    kept: tuple[Loss, ...]
    """Fields without a native field there, which are kept; `why` is the place."""
    demanded: tuple[Loss, ...]
    """Fields by which the other provider may refuse a record; `why` is the condition."""


def losses(schema: ProviderSchema) -> tuple[Loss, ...]:
    """Return all fields that canonical → provider → canonical does not return: the declared ones, and those that follow
    from the declaration of the fields.
    """
    sets_time = "updated_at" in schema.sources
    is_external = schema.by_name[schema.id].settable
    own_id = f"at {schema.title} it is the external id" if is_external else f"{schema.title} assigns its own"
    return (
        Loss("updated_at", f"{schema.title} sets its own" if sets_time else f"{schema.title} has no such field"),
        Loss("provider", f"becomes {schema.provider}"),
        Loss("provider_id", f"{own_id}; the id at another provider is kept as metadata <provider>.id"),
        *(
            Loss(f"metadata.{schema.key(field.name)}", field.why or f"{schema.title} sets {field.name} itself")
            for field in schema.kept
            if not field.settable
        ),
        *schema.losses,
    )


def passage(source: ProviderSchema, destination: ProviderSchema) -> Passage:
    """Return the fields that are lost, kept elsewhere or required when customers are moved from one provider to another
    and compared with the originals.
    """
    given = {*source.sources, "metadata"} - {"provider"}
    # An id that is the external id is returned as such; any other one is kept in metadata.
    if source is not destination or source.by_name[source.id].settable:
        given -= {"provider_id"}
    given |= {f"metadata.{schema.key(field.name)}" for schema in (source, destination) for field in schema.kept}
    lost = {loss.field: loss for schema in (destination, source) for loss in losses(schema) if loss.field in given}
    unpredictable = {field.canonical for field in destination.fields if field.server_generated and field.settable}
    kept = [
        Loss(name, f"{destination.spill(name)}; natively {_natively(destination, name, unpredictable)}")
        for name in COLUMNS
        if name in given and (name in destination.partial or name in unpredictable)
    ]
    kept += [
        Loss(name, destination.spill(name))
        for name in OVERFLOW_FIELDS
        if name in given and name not in {*destination.native, *destination.partial}
    ]
    overflow = destination.overflow.name
    if source is not destination:
        kept.append(Loss("provider_id", f"{overflow}, as {source.key(source.id)}"))
        kept += [
            Loss(f"metadata.{source.key(field.name)}", _place_of_foreign(destination, field))
            for field in source.kept
            if field.settable
        ]
    if destination.overflow.style == "texts":
        place = destination.spill("metadata")
        kept.append(Loss("metadata", f"{overflow}; all but short text as JSON in {place}"))
    demanded = [
        Loss(field.canonical or f"metadata.{destination.key(field.name)}", ", ".join(conditions))
        for field in destination.fields
        if field.settable and not field.from_address and (conditions := _conditions(field))
    ]
    demanded += [Loss(rule.field, rule.demand) for rule in destination.rules]
    return Passage(tuple(lost.values()), tuple(kept), tuple(demanded))


def _natively(schema: ProviderSchema, name: str, unpredictable: Set[str | None]) -> str:
    """Describe the native value of a canonical field that is kept in the overflow as well."""
    limits = [f"only {schema.partial[name]}"] if name in schema.partial else []
    if name in unpredictable:
        limits.append(f"as {schema.title} computes it")
    return ", ".join(limits)


def _place_of_foreign(destination: ProviderSchema, field: Field) -> str:
    """Return the place of another provider's field without a canonical field."""
    if destination.overflow.style == "texts" and field.kind != "text":
        return f"{destination.spill('metadata')}, as JSON"
    return f"{destination.overflow.name}, under its own key"


def _conditions(field: Field) -> list[str]:
    required = ["required"] if field.required else []
    return [*required, f"at most {field.max_length} characters"] if field.max_length else required
