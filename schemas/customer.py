"""The canonical customer: the form into which every source is converted and which every destination receives.

`Customer` is an executable contract: each batch of normalised records is validated against it. Normalisation itself is
described in `pipelines/normalise/batch.py`.

All fields except `name` may be null, which means that the value is missing. A record needs an external id or an e-mail
that identifies it (`identity.missing`); `pipelines/validate.py` adds this rule over two fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import pandera.polars as pa
import polars as pl

from tranship.schemas.codes import CUSTOMER_TYPES, STATUSES, country_codes, currencies, timezone_names

if TYPE_CHECKING:
    from pandera.api.polars.components import Column
    from pandera.api.polars.types import PolarsData

INSTANT: Final = pl.Datetime("us", "UTC")

_ATEXT = r"[a-z0-9!#$%&'*+/=?^_`{|}~\p{L}\p{M}\p{N}-]"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f-\x{10FFFF}]|\\[\x20-\x7e])*"'
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
MAILBOX: Final = rf"^(?:{_ATEXT}+(?:\.{_ATEXT}+)*|{_QUOTED})@(?:{_LABEL}\.)+{_LABEL}$"
"""RFC 5321 mailbox in lower case, with a domain of at least two labels; before the `@` also the letters and digits of
all scripts (RFC 6531). Lengths are checked separately.
"""

# RFC 5646, section 2.1, `langtag` and `privateuse`; grandfathered tags are left out, all have a modern form.
LANGUAGE_TAG: Final = (
    r"^(?:(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4}|[A-Za-z]{5,8})"
    r"(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*"
    r"(?:-[A-WY-Za-wy-z0-9](?:-[A-Za-z0-9]{2,8})+)*"
    r"(?:-[Xx](?:-[A-Za-z0-9]{1,8})+)?|[Xx](?:-[A-Za-z0-9]{1,8})+)$"
)

_LONGEST = {"max_value": 255}
YEARS: Final[dict[str, Any]] = {
    "min_value": datetime(1900, 1, 1, tzinfo=UTC),
    "max_value": datetime(2200, 1, 1, tzinfo=UTC),
    "include_max": False,
}
"""The range of instants."""


def is_mailbox(address: pl.Expr) -> pl.Expr:
    """Return whether a lower-case address of at most 254 characters is a mailbox: at most 64 characters before the `@`,
    and a last label that is not a number.
    """
    # Two patterns are searched in less time than one with two branches.
    return address.str.contains(MAILBOX) & ~address.str.contains(r"^.{65,}@") & ~address.str.contains(r"\.[0-9]+$")


def _is_email(address: pl.Expr) -> pl.Expr:
    # An address that is too long has a fault of its own; its syntax is not checked.
    return is_mailbox(address) | (address.str.len_chars() > 254)


def _are_emails(addresses: pl.Expr) -> pl.Expr:
    each = pl.element()
    return addresses.list.eval(is_mailbox(each) & (each.str.len_chars() <= 254)).list.all()


def _is_one_line(value: pl.Expr) -> pl.Expr:
    return ~value.str.contains(r"\p{Cc}")


class Customer(pa.DataFrameModel):
    """One customer per row, with the columns in this order; text unless stated otherwise.

    The kind of a check determines the fault of a record that fails it: `nullable=False` → missing, `str_length` →
    too_long, `isin` → unknown, `in_range` → range, `str_matches`, `mailbox` and `mailboxes` → syntax, `no_control` →
    control.
    """

    external_id: str = pa.Field(nullable=True, str_length=_LONGEST, description="Your own id of the customer.")
    email: str = pa.Field(nullable=True, str_length={"max_value": 254}, description="RFC 5321 or 6531 mailbox.")
    name: str = pa.Field(nullable=False, str_length=_LONGEST, description="Company or person.")
    legal_name: str = pa.Field(nullable=True, str_length=_LONGEST)
    customer_type: str = pa.Field(nullable=True, isin=CUSTOMER_TYPES)
    phone: str = pa.Field(nullable=True, description="E.164 if it can be parsed, else unchanged.")
    address_line1: str = pa.Field(nullable=True, str_length=_LONGEST)
    address_line2: str = pa.Field(nullable=True, str_length=_LONGEST)
    city: str = pa.Field(nullable=True, str_length=_LONGEST)
    state: str = pa.Field(nullable=True, str_length=_LONGEST)
    zip_code: str = pa.Field(nullable=True, str_length=_LONGEST, description="Text, keeps leading zeros.")
    country: str = pa.Field(nullable=True, isin=sorted(country_codes()), description="ISO 3166-1 alpha-2.")
    currency: str = pa.Field(nullable=True, isin=sorted(currencies()), description="ISO 4217.")
    timezone: str = pa.Field(nullable=True, isin=sorted(timezone_names()), description="IANA name.")
    language: str = pa.Field(nullable=True, str_matches=LANGUAGE_TAG, description="BCP 47, well-formed.")
    status: str = pa.Field(nullable=True, isin=STATUSES)
    net_terms: pl.Int32 = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 3650}, description="Days.")
    created_at: INSTANT = pa.Field(nullable=True, in_range=YEARS)  # type: ignore[valid-type]
    updated_at: INSTANT = pa.Field(nullable=True, in_range=YEARS)  # type: ignore[valid-type]
    trial_started: INSTANT = pa.Field(nullable=True, in_range=YEARS)  # type: ignore[valid-type]
    paid_started: INSTANT = pa.Field(nullable=True, in_range=YEARS)  # type: ignore[valid-type]
    cancel_date: INSTANT = pa.Field(nullable=True, in_range=YEARS)  # type: ignore[valid-type]
    tax_id: str = pa.Field(nullable=True)
    billing_contact_name: str = pa.Field(nullable=True, str_length=_LONGEST)
    billing_contact_email: str = pa.Field(nullable=True, str_length={"max_value": 254})
    invoice_cc_emails: pl.List(pl.String) = pa.Field(nullable=True)  # type: ignore[valid-type]
    aliases: pl.List(pl.String) = pa.Field(nullable=True, description="Other ids of this customer.")  # type: ignore[valid-type]
    metadata: str = pa.Field(nullable=True, description="JSON object with everything that has no field.")
    provider: str = pa.Field(nullable=True, description="Billing provider from which the record was read.")
    provider_id: str = pa.Field(nullable=True, description="Id at that provider.")

    @pa.check("email", "billing_contact_email", name="mailbox")
    def _email(cls, data: PolarsData) -> pl.LazyFrame:  # noqa: N805
        return data.lazyframe.select(_is_email(pl.col(data.key)))

    @pa.check("invoice_cc_emails", name="mailboxes")
    def _emails(cls, data: PolarsData) -> pl.LazyFrame:  # noqa: N805
        return data.lazyframe.select(_are_emails(pl.col(data.key)))

    @pa.check("external_id", name="no_control")
    def _no_control(cls, data: PolarsData) -> pl.LazyFrame:  # noqa: N805
        return data.lazyframe.select(_is_one_line(pl.col(data.key)))

    class Config:
        """Require exactly these columns, in this order."""

        strict = True
        ordered = True


MODEL: Final[dict[str, Column]] = Customer.to_schema().columns
"""Field name → its column of the model, with description and checks."""
COLUMNS: Final[dict[str, pl.DataType]] = {name: column.dtype.type for name, column in MODEL.items()}
"""Field name → polars type, in order."""

TEXT: Final = (
    *("name", "legal_name", "address_line1", "address_line2", "city", "state", "zip_code"),
    "billing_contact_name",
)
INSTANTS: Final = [name for name, dtype in COLUMNS.items() if dtype == INSTANT]
LISTS: Final = [name for name, dtype in COLUMNS.items() if dtype == pl.List(pl.String)]
ADDRESS: Final = ("address_line1", "address_line2", "city", "state", "zip_code", "country")
"""Fields that are filled only together: two halves of different addresses are not an address."""

KEY: Final = "customer_key"
"""The key of a table, set at the first insert and never changed: the external id, or `email:` and the e-mail."""
OWN_COLUMNS: Final = (KEY, "_run_id", "_deleted_at")
"""Columns in which Tranship keeps its own data in a table."""


def passes(check: pa.Check, value: pl.Expr) -> pl.Expr:
    """Return whether values pass a check of the model; null passes. As an expression, all checks of a batch are
    evaluated at once, which pandera itself cannot do.
    """
    limits: Mapping[str, Any] = check.statistics or {}
    match check.name:
        case "str_length":
            return value.str.len_chars().le(limits["max_value"])
        case "isin":
            return value.is_in(list(limits["allowed_values"]))
        case "in_range":
            closed: Literal["both", "left"] = "both" if limits["include_max"] else "left"
            return value.is_between(limits["min_value"], limits["max_value"], closed)
        case "str_matches":
            return value.str.contains(limits["pattern"])
        case own:
            return {"mailbox": _is_email, "mailboxes": _are_emails, "no_control": _is_one_line}[str(own)](value)
