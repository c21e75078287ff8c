"""Names of columns that are far too long, such as a document in place of a header: they mean nothing, at once."""

from __future__ import annotations

import pytest

from tranship.schemas import headers, person_names
from tranship.schemas.column_names import shared_front
from tranship.schemas.secret_columns import is_secret

LENGTH = 200_000


@pytest.mark.parametrize(
    "piece", ["x", "a.", "a ", "_", "-", "x1 ", "É", "(", "password", "street", "First Name ", "[", "é.$"]
)
def test_a_name_without_end_means_nothing(piece: str) -> None:
    long = piece * (LENGTH // len(piece))
    columns = ["external_id", "name", long]
    assert {fit.column for fit in headers.match(columns, {}).values()} == {"external_id", "name"}
    assert person_names.find(columns) == person_names.find(columns[:2])
    assert is_secret(long) == (piece == "password")


def test_words_of_secrets_are_found_at_the_end_of_a_long_name() -> None:
    assert is_secret("x" * LENGTH + " password")


@pytest.mark.parametrize(
    ("column", "secret"),
    [
        ("credentials.password.hash.value", True),
        ("card_token.id", True),
        ("credentials.password.changed_at", False),
        ("credentials.provider.name", False),
    ],
)
def test_what_an_object_of_secrets_contains_is_secret(column: str, secret: bool) -> None:
    assert is_secret(column) == secret


@pytest.mark.parametrize(
    ("columns", "front"),
    [
        ("Company ID;CompanyName;CompanyEmail;CompanyInvoiceEmail", "Company"),
        ("OrderId;OrderStatus;OrderName;OrderEmail", ""),
        ("Companies;Companion;Company;Compass", ""),
    ],
)
def test_the_owner_in_front_of_all_names_is_a_prefix(columns: str, front: str) -> None:
    assert shared_front(columns.split(";")) == front


@pytest.mark.parametrize(
    "column",
    [
        *("Fødselsnummer", "CPR-nr.", "Personnr", "N° sécurité sociale", "NISS", "Hasło", "Senha", "Passord"),
        *("Kreditkartennummer", "Nº pasaporte", "Tarjeta de crédito"),
    ],
)
def test_secrets_are_known_in_other_languages(column: str) -> None:
    assert is_secret(column)


@pytest.mark.parametrize(
    "column", ["Kontaktpersonnr", "Pers.-Nr.", "N° carte", "Codice fiscale", "Kompassnr", "Kundkonto"]
)
def test_other_numbers_are_no_secrets(column: str) -> None:
    assert not is_secret(column)
