"""Labels of business systems in thirteen languages → fields: nothing that is recognised becomes another field, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.schemas import flags, headers, person_names

TABLE = Path(__file__).with_name("headers_labels.tsv")
LABELS = {
    (language, meaning): labels.split("|")
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
    for language, meaning, labels in [line.split("\t")]
    if language != "language"
}
LANGUAGES = tuple(dict.fromkeys(language for language, _ in LABELS))
BESIDE = {
    "de": "Kundennummer|Firma|Straße|PLZ|Ort|Land",
    "fr": "Numéro client|Société|Téléphone|Adresse|Code postal|Ville|Pays",
    "es": "Código de cliente|Empresa|Apellidos|Dirección|Código postal|Ciudad|País",
    "it": "Codice cliente|Ragione sociale|Cognome|Indirizzo|CAP|Città|Paese",
    "nl": "Klantnummer|Bedrijf|Straat|Postcode|Plaats|Land",
    "pt": "Número de cliente|Empresa|Apelido|Morada|Código postal|Localidade|País",
    "pt-BR": "Código do cliente|Empresa|Sobrenome|Endereço|CEP|Cidade|País",
    "da": "Kundenummer|Firma|Adresse|Postnr|By|Land",
    "sv": "Kundnummer|Företag|Adress|Postnummer|Ort|Land",
    "nb": "Kundenummer|Firma|Adresse|Postnummer|Poststed|Land",
    "pl": "Numer klienta|Firma|Ulica|Kod pocztowy|Miasto|Kraj",
    "cs": "Číslo zákazníka|Firma|Ulice|PSČ|Město|Země",
    "en": "Customer ID|Company|Address|Zip|City|Country",
}
"""Columns of a table in each language. Some words have a meaning only beside others."""
PARTS = {"first": "first_name", "middle": "middle_name", "last": "last_name", "contact": "contact_name"}


def meanings(label: str, beside: str) -> set[str]:
    """Return what a column may be, alone or beside others, by its name."""
    found: set[str] = set()
    for columns in ([label], [*dict.fromkeys([*beside.split("|"), label])]):
        found |= {field for field, fit in headers.match(columns, {}).items() if label in (*fit.columns, *fit.further)}
        found |= {PARTS.get(role, "name") for column, role, _ in person_names._roles(columns) if column == label}
    return found | ({"flag"} if flags.flag(label) else set())


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_are_recognised(language: str) -> None:
    missed = {
        label: found
        for (of_language, meaning), labels in LABELS.items()
        if of_language == language and meaning != "none"
        for label in labels
        if meaning not in (found := meanings(label, BESIDE[language]))
    }
    assert missed == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_of_something_else_are_no_field(language: str) -> None:
    wrong = {
        label: found for label in LABELS[language, "none"] if (found := meanings(label, BESIDE[language]) - {"flag"})
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("label", "meaning"),
    [
        ("E-Mail-Adresse des Kontakts", "email"),
        ("Standardwährung", "currency"),
        ("Langue par défaut", "language"),
        ("Moneda por defecto", "currency"),
        ("Identifiant tiers", "external_id"),
        ("ID de contacto", "external_id"),
        ("Nome do contato", "contact_name"),
        ("Apellido del cliente", "last_name"),
        ("Kundens fornavn", "first_name"),
        ("Telefone (escritório)", "phone"),
        ("Kund e-post", "email"),
        ("Código del país", "country"),
        ("Stat/provins", "state"),
        ("Región / Estado", "state"),
        ("Empresa u Organización", "name"),
        ("Tipo de tercero", "customer_type"),
        ("País (Factura)", "country"),
        ("Versand-Postleitzahl", "zip_code"),
        ("Doručovací ulice", "address_line1"),
        ("Är inaktiverad", "flag"),
        # How many customers, or what is not theirs.
        ("Nombre de clients", None),
        ("Nombre de tiers", None),
        ("Número de clientes", None),
        ("Email del proveedor", None),
        ("Nombre del proveedor", None),
        ("Firma del email", None),
        ("Estado de la factura", None),
        ("Versandstatus", None),
        ("Versandnummer", None),
        ("Entrega a domicilio", None),
        ("Lån", None),
    ],
)
def test_names_of_several_words(label: str, meaning: str | None) -> None:
    assert meanings(label, "Postnummer|Postort") == ({meaning} if meaning else set())


def test_a_word_is_read_in_the_language_of_its_table() -> None:
    assert headers.match(["Kraj", "PSČ", "Město"], {})["state"].column == "Kraj"
    assert headers.match(["Kraj", "Kod pocztowy", "Miasto"], {})["country"].column == "Kraj"
    assert headers.match(["Stát", "PSČ", "Město"], {})["country"].column == "Stát"
    assert headers.match(["Stat", "Postnummer", "Sted"], {})["state"].column == "Stat"
    assert headers.match(["Län", "Postnummer", "Ort"], {})["state"].column == "Län"
    assert "state" not in headers.match(["Departamento", "UF", "Cidade", "CEP"], {})["state"].others
    assert headers.match(["Departamento", "Provincia", "Distrito"], {})["state"].column == "Departamento"
