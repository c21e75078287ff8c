"""What is lost between two providers: derived from the declarations of both."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import SPILLED, Field, Loss, Wire


@dataclass(frozen=True)
class Passage:
    """What happens to a customer of one provider that is written to another and comes back."""

    lost: tuple[Loss, ...]
    kept: tuple[Loss, ...]
    """Not in a native place, but kept; `why` says where."""
    demanded: tuple[Loss, ...]
    """What the other refuses a record without, or with."""


def losses(wire: Wire) -> tuple[Loss, ...]:
    """Everything that canonical → provider → canonical does not give back: declared, and what follows from fields."""
    has_its_own = "updated_at" in wire.sources
    ids = "the external id" if wire.by_name[wire.id].settable else "its own"
    return (
        Loss("updated_at", f"{wire.title} keeps its own" if has_its_own else "says nothing of a copy"),
        Loss("provider", f"becomes {wire.provider}"),
        Loss("provider_id", f"at {wire.title} it is {ids}; one at another provider is kept as metadata <provider>.id"),
        *(
            Loss(f"metadata.{wire.key(one.name)}", one.why or f"{wire.title} sets {one.name} by itself")
            for one in wire.kept
            if not one.settable
        ),
        *wire.losses,
    )


def passage(here: Wire, there: Wire) -> Passage:
    """What is lost, kept elsewhere and demanded on the way of `here`'s customers → `there` → `here`."""
    given = {*here.sources, "metadata"} - {"provider"}
    # An id that is the external id comes back as that; any other one stays as metadata.
    if here is not there or here.by_name[here.id].settable:
        given -= {"provider_id"}
    given |= {f"metadata.{wire.key(one.name)}" for wire in (here, there) for one in wire.kept}
    lost = {loss.field: loss for wire in (there, here) for loss in losses(wire) if loss.field in given}
    unsure = {one.home for one in there.fields if one.made and one.settable}
    kept = [
        Loss(name, f"{there.spill(name)}; natively {_natively(there, name, unsure)}")
        for name in COLUMNS
        if name in given and (name in there.narrowed or name in unsure)
    ]
    kept += [
        Loss(name, there.spill(name))
        for name in SPILLED
        if name in given and name not in {*there.native, *there.narrowed}
    ]
    if here is not there:
        kept.append(Loss("provider_id", f"{there.bag.name}, as {here.key(here.id)}"))
        kept += [Loss(f"metadata.{here.key(one.name)}", _foreign(there, one)) for one in here.kept if one.settable]
    if there.bag.style == "texts":
        kept.append(Loss("metadata", f"{there.bag.name}; all but short text as JSON in {there.spill('metadata')}"))
    demanded = [
        Loss(one.home or f"metadata.{there.key(one.name)}", ", ".join(rules))
        for one in there.fields
        if one.settable and not one.told and (rules := _rules(one))
    ]
    demanded += [Loss(demand.field, demand.says) for demand in there.demands]
    return Passage(tuple(lost.values()), tuple(kept), tuple(demanded))


def _natively(there: Wire, name: str, unsure: Set[str | None]) -> str:
    """What a native place does with a canonical field that stands in the bag as well."""
    said = [f"only {there.narrowed[name]}"] if name in there.narrowed else []
    if name in unsure:
        said.append(f"as {there.title} sees fit")
    return ", ".join(said)


def _foreign(there: Wire, one: Field) -> str:
    """Where another provider keeps a field that has no canonical home."""
    if there.bag.style == "texts" and one.kind != "text":
        return f"{there.spill('metadata')}, as JSON"
    return f"{there.bag.name}, under its own key"


def _rules(one: Field) -> list[str]:
    required = ["must be there"] if one.required else []
    return [*required, f"at most {one.longest} characters"] if one.longest else required
