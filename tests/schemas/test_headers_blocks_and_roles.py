"""Labels behind the headings of blocks, roles in two orders, and words that the other parts of an address explain."""

from __future__ import annotations

import pytest

from tranship.schemas import headers


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("Informacje rejestrowe::Numer Kontrahenta", "external_id"),
        ("Informacje o kontakcie::Telefon podstawowy", "phone"),
        ("Basic Information > Name", "name"),
        ("Dati generali::Ragione sociale", "name"),
        ("Adres główny::Ulica", "address_line1"),
        ("Adres główny::Telefon", None),
        ("Emergency info::Phone", None),
        ("Adres do zwrotów::Ulica", None),
        ("CUSTNMBR", "external_id"),
        ("Rel. code", "external_id"),
        ("Numero azienda", "external_id"),
        ("Numéro de membre", "external_id"),
        ("Número do associado", "external_id"),
        ("Numéro d'entreprise", None),
        ("Codice ditta", None),
    ],
)
def test_a_label_has_the_meaning_that_its_block_allows(column: str, field: str | None) -> None:
    assert headers.field_of(column) == field


def test_a_role_in_two_orders_is_one_and_explains_bare_words() -> None:
    columns = [
        *("Indirizzo di fatturazione", "Fatturazione Città", "Stato di fatturazione", "Codice di fatturazione"),
        *("Fatturazione Paese", "Codice di spedizione"),
    ]
    found = {field: fit.column for field, fit in headers.match(columns, {}).items()}
    assert found == dict(zip(("address_line1", "city", "state", "zip_code", "country"), columns, strict=False))
    alone = headers.match(["Nome", "Stato di fatturazione", "Codice di fatturazione"], {})
    assert {"state", "zip_code", "status"}.isdisjoint(alone)


def test_the_time_of_day_is_behind_the_date() -> None:
    found = headers.match(["UpdateTime", "UpdateDate"], {})["updated_at"]
    assert (found.column, found.rivals, found.others) == ("UpdateDate", (), ("UpdateTime",))


def test_an_estado_among_the_parts_of_an_address_is_one_beside_that_of_another_address() -> None:
    columns = ["Calle", "Ciudad", "Estado", "País", "Calle (envío)", "Ciudad (envío)", "Estado (envío)"]
    assert headers.match(columns, {})["state"].column == "Estado"


def test_the_main_e_mail_precedes_a_further_one() -> None:
    found = headers.match(["Mail dodatkowy", "Mail podstawowy"], {})["email"]
    assert (found.column, found.further) == ("Mail podstawowy", ("Mail dodatkowy",))


@pytest.mark.parametrize(("object_", "field"), [("country", "country"), ("language", "language")])
def test_the_code_in_an_object_precedes_its_title_and_what_stands_in_its_place(object_: str, field: str) -> None:
    columns = [object_, f"{object_}.id", f"{object_}.title", f"{object_}.code"]
    assert headers.match(columns, {})[field].column == f"{object_}.code"
