"""Metrifox's customer: every documented field, for reading and writing.

Sources: https://docs.metrifox.com/api-reference/customers/post, the types of the vendor's clients
(the package metrifox-sdk 1.3.1, https://github.com/metrifox/metrifox-js).

Several fields have the same content in two forms, and Metrifox returns both. A value that can be derived from the
other fields is not kept a second time. If a customer lacks a value that would be derived, the metadata entry is an
empty text: `"metrifox.first_name": ""`. An entry that no longer matches its canonical field (e.g. after the payment
terms were changed) is not written.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.schemas.provider import Field, Overflow, ProviderSchema, quoted

_PERSON: Final = pl.col("customer_type") == "INDIVIDUAL"
_LONGEST_TERMS: Final = 3650
"""The maximum of `net_terms`, in days."""


def _filled(value: pl.Expr) -> pl.Expr:
    """Return text; null if it is empty."""
    return pl.when(value != "").then(value)


def _joined(first: pl.Expr, last: pl.Expr) -> pl.Expr:
    """Return both names, or the one that is not empty; null if both are."""
    return _filled(pl.concat_str(_filled(first), _filled(last), separator=" ", ignore_nulls=True))


def _first(name: pl.Expr) -> pl.Expr:
    """Return all but the last word of a name, or its only word."""
    return pl.coalesce(name.str.extract(r"(?s)^(.+) [^ ]+$"), name)


def _last(name: pl.Expr) -> pl.Expr:
    """Return the last of several words of a name; null for a single word."""
    return name.str.extract(r"(?s)^.+ ([^ ]+)$")


# Names: a business has `display_name` and `legal_name`, a person `display_name`, a first and a last name --------------

_FULL: Final = (
    pl.when(_PERSON).then(_joined(pl.col("first_name"), pl.col("last_name"))).otherwise(_filled(pl.col("legal_name")))
)
_NAME: Final = pl.coalesce(_filled(pl.col("display_name")), _filled(pl.col("full_name")), _FULL)
_PARTS_ARE_DERIVED: Final = (
    _PERSON
    & _filled(pl.col("first_name")).eq_missing(_first(_NAME))
    & _filled(pl.col("last_name")).eq_missing(_last(_NAME))
)
_NO_PARTS: Final = _PERSON & _NAME.is_not_null() & _joined(pl.col("first_name"), pl.col("last_name")).is_null()

_OWN_FIRST: Final = pl.col("metrifox.first_name")
_OWN_LAST: Final = pl.col("metrifox.last_name")
_SPLIT: Final = _PERSON & _OWN_FIRST.is_null() & _OWN_LAST.is_null()
_WRITTEN_FIRST: Final = pl.when(_SPLIT).then(_first(pl.col("name"))).otherwise(_filled(_OWN_FIRST))
_WRITTEN_LAST: Final = pl.when(_SPLIT).then(_last(pl.col("name"))).otherwise(_filled(_OWN_LAST))
_WRITTEN_LEGAL: Final = (
    # A business needs a legal name on its invoices. If it has none at Metrifox, none is added.
    pl.when(~_PERSON & pl.col("metrifox.legal_name").ne_missing(""))
    .then(pl.coalesce("legal_name", "name"))
    .otherwise("legal_name")
)
_WRITTEN_FULL: Final = pl.when(_PERSON).then(_joined(_WRITTEN_FIRST, _WRITTEN_LAST)).otherwise(_WRITTEN_LEGAL)

# The billing contact: `billing_email`, and the first of `contact_people` ---------------------------------------------

_PEOPLE: Final = pl.col("contact_people")
_CONTACT_EMAIL: Final = _filled(_PEOPLE.str.json_path_match("$[0].email_address"))


def _contact_name(people: pl.Expr) -> pl.Expr:
    return _joined(people.str.json_path_match("$[0].first_name"), people.str.json_path_match("$[0].last_name"))


def _contact(name: pl.Expr, email: pl.Expr) -> pl.Expr:
    """Return the list of one person derived from a contact's name and e-mail, as JSON; null without a name."""
    pairs = {"first_name": _first(name), "last_name": _last(name), "email_address": email}
    members = [pl.lit(f'"{key}":') + quoted(value) for key, value in pairs.items()]
    inner = pl.concat_str(*members, pl.lit('"is_primary":true'), separator=",", ignore_nulls=True)
    return pl.when(name.is_not_null()).then(pl.concat_str(pl.lit("[{"), inner, pl.lit("}]")))


_PART: Final = r'(?:[^"\\]|\\["\\])+'
_WORD: Final = r'(?:[^"\\ ]|\\["\\])+'
_ONE_CONTACT: Final = (
    rf'^\[\{{"first_name":"(?:{_WORD}"|{_PART}","last_name":"{_WORD}")'
    r'(?:,"email_address":("(?:[^"\\]|\\.)+"))?,"is_primary":true\}\]$'
)
"""Matches every result of `_contact`; the group is the e-mail as JSON."""
_CONTACT_IS_DERIVED: Final = _PEOPLE.str.contains(_ONE_CONTACT) & (
    _filled(pl.col("billing_email")).is_null()
    | _PEOPLE.str.extract(_ONE_CONTACT).eq_missing(quoted(pl.col("billing_email")))
)
_BILLING_EMAIL: Final = pl.coalesce(_filled(pl.col("billing_email")), _CONTACT_EMAIL)

_OWN_PEOPLE: Final = pl.col("metrifox.contact_people")
_CANONICAL_CONTACT: Final = (pl.col("billing_contact_name"), pl.col("billing_contact_email"))
_WRITTEN_PEOPLE: Final = (
    pl.when(_contact_name(_OWN_PEOPLE).eq_missing(_CANONICAL_CONTACT[0]))
    .then(pl.coalesce(_OWN_PEOPLE, _contact(*_CANONICAL_CONTACT)))
    .otherwise(_contact(*_CANONICAL_CONTACT))
)

# Payment terms and e-mail addresses ----------------------------------------------------------------------------------


def _days(terms: pl.Expr) -> pl.Expr:
    """Return the first value of the payment terms that is a whole number of days, as text or as a number."""
    number = terms.str.extract(r'"value":"?([0-9]{1,9})"?[,}]')
    return pl.when(number.cast(pl.Int64) <= _LONGEST_TERMS).then(number)


def _terms(days: pl.Expr) -> pl.Expr:
    """Return payment terms as JSON, in the form of the vendor's clients: the number is text."""
    return pl.concat_str(pl.lit('[{"type":"Custom","value":"'), days, pl.lit('"}]'))


_TERMS: Final = pl.col("payment_terms")
_OWN_TERMS: Final = pl.col("metrifox.payment_terms")
_ADDRESSES: Final = pl.col("email_addresses")
_OWN_ADDRESSES: Final = pl.col("metrifox.email_addresses")
_MIRROR: Final = pl.concat_str(pl.lit('[{"email":'), quoted(pl.col("primary_email")), pl.lit(',"is_primary":true}]'))
"""The addresses that Metrifox derives from the primary e-mail."""


def _unless(derived: pl.Expr, value: pl.Expr) -> pl.Expr:
    """Return a value; null where it is derived from others."""
    return pl.when(~derived.fill_null(value=False)).then(value)


SCHEMA = ProviderSchema(
    provider="metrifox",
    title="Metrifox",
    fields=(
        Field("id", canonical="provider_id", settable=False, always_present=True, server_generated=True),
        # Cannot be changed after creation.
        Field("customer_key", canonical="external_id", required=True, always_present=True, max_length=255),
        Field(
            "customer_type",
            canonical="customer_type",
            required=True,
            always_present=True,
            choices=("BUSINESS", "INDIVIDUAL"),
        ),
        Field("primary_email", canonical="email", required=True),
        Field("primary_phone", canonical="phone"),
        Field(
            "legal_name",
            read=pl.when(~_PERSON & _filled(pl.col("legal_name")).is_null()).then(pl.lit('""')),
            write=_WRITTEN_LEGAL,
        ),
        Field(
            "display_name",
            read=pl.when(_filled(pl.col("display_name")).is_null() & _NAME.is_not_null()).then(pl.lit('""')),
            write=_unless(
                ((pl.col("metrifox.display_name") == "") & pl.col("name").eq(_WRITTEN_FULL))
                | (pl.col("name").eq(pl.col("email")) & _WRITTEN_FULL.is_null()),
                pl.col("name"),
            ),
        ),
        Field("legal_number"),
        Field("tax_identification_number", canonical="tax_id"),
        Field("logo_url"),
        Field("website_url"),
        Field("account_manager"),
        Field(
            "first_name",
            read=pl.when(_NO_PARTS)
            .then(pl.lit('""'))
            .otherwise(_unless(_PARTS_ARE_DERIVED, quoted(pl.col("first_name")))),
            write=_WRITTEN_FIRST,
        ),
        Field("middle_name"),
        Field(
            "last_name",
            read=_unless(_PARTS_ARE_DERIVED, quoted(_filled(pl.col("last_name")))),
            write=_WRITTEN_LAST,
        ),
        Field(
            "full_name",
            settable=False,
            read=_unless(
                pl.any_horizontal(
                    pl.col("full_name") == name
                    for name in (
                        pl.col("display_name"),
                        pl.col("legal_name"),
                        _joined(pl.col("first_name"), pl.col("last_name")),
                    )
                ),
                quoted(pl.col("full_name")),
            ),
        ),
        Field("date_of_birth"),
        Field(
            "billing_email",
            read=pl.when(_filled(pl.col("billing_email")).is_null() & _CONTACT_EMAIL.is_not_null()).then(pl.lit('""')),
            write=_unless(
                (pl.col("metrifox.billing_email") == "")
                & (_WRITTEN_PEOPLE.str.json_path_match("$[0].email_address") == pl.col("billing_contact_email")),
                pl.col("billing_contact_email"),
            ),
        ),
        Field("timezone", canonical="timezone"),
        Field("language", canonical="language"),
        Field("currency", canonical="currency"),
        Field("tax_status", choices=("TAXABLE", "TAX_EXEMPT", "REVERSE_CHARGE")),
        Field("address_line1", canonical="address_line1"),
        Field("address_line2", canonical="address_line2"),
        Field("city", canonical="city"),
        Field("state", canonical="state"),
        Field("country", canonical="country"),
        Field("zip_code", canonical="zip_code"),
        Field("shipping_address_line1"),
        Field("shipping_address_line2"),
        Field("shipping_city"),
        Field("shipping_state"),
        Field("shipping_country"),
        Field("shipping_zip_code"),
        Field("billing_configuration", "object"),
        Field("tax_identifications", "array"),
        Field(
            "contact_people",
            "array",
            read=_unless(_CONTACT_IS_DERIVED, _PEOPLE),
            write=_WRITTEN_PEOPLE,
        ),
        Field(
            "payment_terms",
            "array",
            read=_unless(_TERMS.eq(_terms(_days(_TERMS))), _TERMS),
            write=pl.when(_days(_OWN_TERMS).eq_missing(pl.col("net_terms")))
            .then(pl.coalesce(_OWN_TERMS, _terms(pl.col("net_terms"))))
            .otherwise(_terms(pl.col("net_terms"))),
        ),
        Field(
            "email_addresses",
            "array",
            read=_unless(_ADDRESSES.eq(_MIRROR), _ADDRESSES),
            # Written only with the e-mail that they belong to. Copies of invoices are not sent to them, so
            # `invoice_cc_emails` are not added.
            write=pl.when(_OWN_ADDRESSES.str.contains(quoted(pl.col("email")), literal=True)).then(_OWN_ADDRESSES),
        ),
        Field("phone_numbers", "array"),
        # An object in the documentation, an array in one of the clients.
        Field("documents", "json"),
        Field("mid_cycle_invoice_consolidation", "boolean", settable=False),
        Field("created_at", canonical="created_at", settable=False, server_generated=True),
        Field("updated_at", canonical="updated_at", settable=False, server_generated=True),
        Field("archived_at", settable=False),
    ),
    overflow=Overflow("metadata"),
    reads={
        # A name is not required; a canonical customer must have one, so the e-mail is used instead.
        "name": pl.coalesce(_NAME, "primary_email"),
        "legal_name": pl.col("legal_name"),
        "billing_contact_name": _contact_name(_PEOPLE),
        "billing_contact_email": _BILLING_EMAIL,
        "net_terms": _days(_TERMS),
        # There is no other status. One in the overflow takes precedence.
        "status": pl.when(pl.col("archived_at").is_not_null()).then(pl.lit("inactive")),
    },
)
