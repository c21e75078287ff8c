"""Column names → canonical fields: synonyms from exports of billing and CRM systems.

Names are compared folded: lower case, without accents on Latin letters, and only letters and digits kept, so that
`Customer ID`, `customer_id`, `customerId` and `CUSTOMER-ID` are equal. A suffix in brackets (`Created (UTC)`) is tried
with and without.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tranship.schemas.customer import COLUMNS

_SYNONYMS: Final[dict[str, str]] = {
    "external_id": "externalid external_customer_id customer_id customerid customer_key customer_number customer_no "
    "customer_code client_id client_number account_id account_number account_code account_no external_key "
    "external_reference customer_reference cust_id id",
    "email": "e_mail email_address e_mail_address mail primary_email customer_email contact_email user_email",
    "name": "customer_name client_name customer kundenname nom_du_client nombre_del_cliente nome_cliente klantnaam "
    "kundnamn kundenavn",
    "legal_name": "legal_company_name legal_entity legal_entity_name registered_name company_legal_name",
    "customer_type": "client_type account_type type_of_customer",
    "phone": "phone_number telephone telephone_number tel primary_phone phone_no contact_phone mobile mobile_phone",
    "address_line1": "address_line_1 address1 address street street_address address_1 line1 billing_address "
    "billing_address_line1 billing_address_line_1 billing_street",
    "address_line2": "address_line_2 address2 address_2 line2 street2 suite billing_address_line2 "
    "billing_address_line_2",
    "city": "town city_town billing_city locality",
    "state": "state_province province region state_region state_or_province county billing_state",
    "zip_code": "zip postal_code zip_postal_code postcode post_code zipcode postalcode zip_or_postal_code plz "
    "billing_zip billing_postal_code",
    "country": "country_code country_name country_region billing_country",
    "currency": "currency_code default_currency billing_currency",
    "timezone": "time_zone tz",
    "language": "lang locale language_code preferred_language",
    "status": "customer_status account_status lifecycle_status subscription_status",
    "net_terms": "payment_terms net_payment_terms payment_terms_days net_terms_days net_days terms_days",
    "created_at": "created created_date date_created creation_date created_on signup_date signed_up_at created_time "
    "created_utc customer_since",
    "updated_at": "updated updated_date date_updated last_updated modified modified_at last_modified updated_on "
    "last_modified_date modified_date last_updated_at last_modified_at updated_utc",
    "trial_started": "trial_start trial_started_at trial_start_date trial_began",
    "paid_started": "paid_start paid_started_at paid_start_date paid_since first_paid_at",
    "cancel_date": "cancelled_at canceled_at cancellation_date cancel_at cancelled_on canceled_on churned_at "
    "date_cancelled date_canceled",
    "tax_id": "vat_id vat_number vat tax_number tax_identification_number vat_no tax_id_number ust_id abn",
    "billing_contact_name": "billing_contact billing_name invoice_contact billing_contact_full_name",
    "billing_contact_email": "billing_email invoice_email billing_contact_e_mail billing_e_mail accounts_payable_email",
    "invoice_cc_emails": "cc_emails invoice_cc cc_email invoice_cc_email additional_emails additional_invoice_emails",
    "aliases": "alias ingest_aliases other_ids",
    "metadata": "meta_data custom_fields custom_data attributes",
    "provider": "billing_provider source_provider",
    "provider_id": "billing_provider_id provider_customer_id",
}

# Synonyms with exactly the meaning of the field's own name. Two columns of one group are rivals: `Email` and
# `E-mail Address` mean the same, `Phone` and `Mobile` do not.
_OWN_NAMES: Final[dict[str, str]] = {
    "email": "email_address e_mail_address mail",
    "phone": "phone_number telephone telephone_number tel phone_no",
    "address_line1": "address1 address_1 line1",
    "address_line2": "address2 address_2 line2",
    "state": "state_province state_region state_or_province",
    "zip_code": "zip postal_code zip_postal_code postcode post_code zip_or_postal_code",
    "timezone": "tz",
    "language": "lang",
    "net_terms": "net_terms_days",
    "invoice_cc_emails": "invoice_cc_email",
}


def fold(column: str) -> str:
    """Return the form in which names are compared: lower-case letters and digits only."""
    plain = unicodedata.normalize("NFKD", column).casefold()
    return "".join(c for c in plain if c.isalnum())


_FIELD_OF: Final[dict[str, str]] = {
    fold(word): field for field, words in _SYNONYMS.items() for word in (field, *words.split())
}
_GROUP_OF: Final[dict[str, str]] = {
    fold(word): fold(field) for field, words in _OWN_NAMES.items() for word in (field, *words.split())
}


def _known(column: str) -> str:
    """Return the folded name of a column, without its suffix in brackets if only that name is known."""
    whole = fold(column)
    return whole if whole in _FIELD_OF else fold(re.sub(r"[\s_-]*[(\[][^)\]]*[)\]]\s*$", "", column))


@dataclass(frozen=True)
class Fit:
    """The columns that match one field, in the order of the source.

    `column` is the one used, null if the user must choose. `rivals` have the same name in another spelling: if their
    values differ, the choice is ambiguous. `others` are synonyms with another meaning, such as `id` next to
    `external_id`.
    """

    column: str | None
    rivals: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return (*([self.column] if self.column else []), *self.rivals, *self.others)


def match(columns: Sequence[str], repeats: Mapping[str, str]) -> dict[str, Fit]:
    """Return field → matching columns.

    `repeats` are columns whose name occurs more than once in the header: generated name → repeated name. The field's
    own name takes precedence over synonyms with another meaning; without it, two meanings require a choice by the user.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for column in columns:
        known = _known(repeats.get(column, column))
        if field := _FIELD_OF.get(known):
            groups.setdefault(field, {}).setdefault(_GROUP_OF.get(known, known), []).append(column)
    return {field: _fit(field, groups[field]) for field in COLUMNS if field in groups}


def _fit(field: str, groups: Mapping[str, Sequence[str]]) -> Fit:
    own = fold(field) if fold(field) in groups else next(iter(groups)) if len(groups) == 1 else None
    others = tuple(column for group, fitting in groups.items() if group != own for column in fitting)
    if own is None:
        return Fit(None, (), others)
    # The field's own name first, regardless of the order.
    best, *rivals = sorted(groups[own], key=lambda column: fold(column) != fold(field))
    return Fit(best, tuple(rivals), others)
