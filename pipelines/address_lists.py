"""Lists of addresses: `"addresses": [{"line1": …}, {"primary": true, …}]`, as APIs return them. One of them becomes the
customer's address: the one for invoices, or else the primary one, or else the first that has a place. The list stays in
metadata as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl

from tranship.connectors.contract import Layout
from tranship.pipelines.normalise import listed
from tranship.pipelines.normalise.lists import text_list
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.normalise.series import VALUE, blank_to_null, evaluate
from tranship.schemas.column_names import fold, unwrapped
from tranship.schemas.customer import ADDRESS

_OWNERS: Final = (
    "(?:customer|client|contact|account|company|user|person|postal|physical|mailing|street|billing|invoice)?"
)
_LISTS: Final = re.compile(
    f"{_OWNERS}(?:addresses(?:v2)?|addresslist|addressbook(?:list)?|adressen|adresses|direcciones|indirizzi|enderecos)"
)
_SINGLE: Final = re.compile(f"{_OWNERS}(?:address|adresse|direccion|indirizzo|endereco)")


def find(columns: Sequence[str], layouts: Sequence[Layout]) -> list[str]:
    """Return the columns named like a list of addresses, or like an address and containing lists (FHIR's `address`)."""
    lists = {column for layout in layouts for column in layout.lists}
    lists |= {column for layout in layouts for column, dtype in layout.types.items() if isinstance(dtype, pl.List)}
    return [
        column for column in columns if _is_called(_LISTS, column) or (column in lists and _is_called(_SINGLE, column))
    ]


OF_CONTACTS: Final = ("email", "phone", "billing_contact_name")
_CONTACTS: Final = re.compile(
    "(?:customer|client|account|company|billing|primary)?(?:contacts|contactpersons|contactpeople|contactlist|people|persons|"
    "ansprechpartner|kontaktpersonen|contatti|contactos|contactpersonen)"
)


def find_contacts(columns: Sequence[str], layouts: Sequence[Layout]) -> list[str]:
    """Return the columns that are lists of the persons to contact."""
    lists = {column for layout in layouts for column in layout.lists}
    lists |= {column for layout in layouts for column, dtype in layout.types.items() if isinstance(dtype, pl.List)}
    return [column for column in columns if column in lists and _is_called(_CONTACTS, column)]


def contacts_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return field → column, of the fields that are mapped to a list of contacts."""
    return {field: column for field, column in fields.items() if _is_called(_CONTACTS, column)}


def of_contact(values: pl.Series, field: str) -> pl.Series:
    """Return the e-mails, numbers or the name in each list of contacts, of the primary one first."""
    read = _READ_OF_CONTACTS[field]
    return pl.Series([read(text) or None if text else None for text in as_text(values)], dtype=pl.String)


_READ_OF_CONTACTS: Final[dict[str, Callable[[str], str | None]]] = {
    "email": lambda text: ";".join(listed.emails(text)),
    "phone": lambda text: "; ".join(listed.phones(text)[:2]),
    "billing_contact_name": listed.person,
}


def fields_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return field → column, of the fields of an address that are mapped to a list of addresses. One that is called as
    a single address feeds all of them.
    """
    of_address = {field: column for field, column in fields.items() if field in ADDRESS}
    is_whole = len(of_address) == len(ADDRESS) and len({*of_address.values()}) == 1
    return {
        field: column
        for field, column in of_address.items()
        if _is_called(_LISTS, column) or (is_whole and _is_called(_SINGLE, column))
    }


def _is_called(pattern: re.Pattern[str], column: str) -> bool:
    return pattern.fullmatch(fold(unwrapped(column))) is not None


def parts(values: pl.Series, fields: Sequence[str]) -> dict[str, pl.Series]:
    """Return field → its text in the customer's address. A value that is not a list is the first line."""
    texts = evaluate(as_text(values), blank_to_null(VALUE.str.strip_chars()))
    is_json = texts.str.contains(r"^(?:\[\s*)?\{").fill_null(value=False)
    chosen = [listed.address(text) if is_listed else {} for text, is_listed in zip(texts, is_json, strict=True)]
    made = {field: pl.Series([values.get(field) for values in chosen], dtype=pl.String) for field in fields}
    if "address_line1" in made:
        plain, line = _joined(pl.select(pl.when(~is_json).then(texts)).to_series()), made["address_line1"]
        made["address_line1"] = plain.zip_with(line.is_null() & plain.is_not_null(), line)
    return made


def _joined(texts: pl.Series) -> pl.Series:
    """Return lists of texts, such as `["1 Main St", "Unit 2"]`, as one text; other lists are null."""
    is_list = texts.str.starts_with("[").fill_null(value=False)
    if not is_list.any():
        return texts
    of_texts = text_list(texts.filter(is_list), lower=False, numbers=False)
    return pl.select(pl.when(~is_list).then(texts)).to_series().scatter(is_list.arg_true(), of_texts.list.join(", "))
