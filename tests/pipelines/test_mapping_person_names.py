"""Columns of first, last and full names and of companies, and the resulting rules."""

from __future__ import annotations

import pytest

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines.mapping import ColumnMap, propose
from tranship.pipelines.settings_model import Reading
from tranship.schemas.person_names import People, find


def mapped(header: str, **options: object) -> ColumnMap:
    columns = ("external_id", *header.split(";"))
    return propose([Layout("in.csv", columns)], Reading.model_validate({"source": "in.csv", **options}))


def rules(header: str, **options: object) -> tuple[str | None, str | None]:
    """Return the rules of the name and of the billing contact's name."""
    found = mapped(header, **options)
    rules = {name: str(rule) for name, rule in found.built.items()} | dict(found.fields)
    return rules.get("name"), rules.get("billing_contact_name")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("first_name;last_name", "first_name + last_name"),
        ("Last Name;First Name;Middle Name", "First Name + Middle Name + Last Name"),
        ("FirstName;LastName", "FirstName + LastName"),
        ("forename;surname", "forename + surname"),
        ("first_name", "first_name"),
        ("Contact First Name;Contact Last Name", "Contact First Name + Contact Last Name"),
        ("customer[first_name];customer[last_name]", "customer[first_name] + customer[last_name]"),
        ("Billing First Name;Billing Last Name", "Billing First Name + Billing Last Name"),
        ("Co./Last Name;First Name", "First Name + Co./Last Name"),
        ("First;Last", "First + Last"),
        ("first name;last", "first name + last"),
        ("Customer Last;Customer First", "Customer First + Customer Last"),
        ("First;Full Name", "Full Name"),
        ("Full Name", "Full Name"),
        ("contact_name", "contact_name"),
        ("Vorname;Nachname", "Vorname + Nachname"),
        ("Nachname / Firma;Vorname", "Vorname + Nachname / Firma"),
        ("Company or Last Name;First Name", "First Name + Company or Last Name"),
        ("Apellidos o razón social;Nombre", "Nombre + Apellidos o razón social"),
        ("Name;Vorname", "Vorname + Name"),
        ("Nom / Raison sociale;Prénom", "Prénom + Nom / Raison sociale"),
        ("Nombre o razón social;Apellidos", "Nombre o razón social + Apellidos"),
        ("Prénom;Nom", "Prénom + Nom"),
        ("Prénom;Nom de famille", "Prénom + Nom de famille"),
        ("Nombre;Apellidos", "Nombre + Apellidos"),
        ("Nombre;Primer apellido;Segundo apellido", "Nombre + Primer apellido + Segundo apellido"),
        ("Nome;Cognome", "Nome + Cognome"),
        ("Nome;Sobrenome", "Nome + Sobrenome"),
        ("Voornaam;Tussenvoegsel;Achternaam", "Voornaam + Tussenvoegsel + Achternaam"),
        ("Voorletters;Achternaam", "Voorletters + Achternaam"),
        ("name;Initials", "name"),
        ("Given Name;First Name;Last Name", "First Name + Last Name"),
        ("Voorletters;Voornaam;Tussenv.;Achternaam", "Voornaam + Tussenv. + Achternaam"),
        ("Voornaam;Initialen;Voorvoegsel;Achternaam", "Voornaam + Voorvoegsel + Achternaam"),
        ("Nom contact;Prénom", "Prénom + Nom contact"),
        ("Förnamn;Efternamn", "Förnamn + Efternamn"),
        ("Fornavn;Etternavn", "Fornavn + Etternavn"),
        ("Nom", "Nom"),
        ("Nombre", "Nombre"),
        ("Company", "Company"),
        ("Firma", "Firma"),
        ("Razón social", "Razón social"),
        ("Denominazione", "Denominazione"),
        ("Nom ou raison sociale", "Nom ou raison sociale"),
        ("Imię;Nazwisko", "Imię + Nazwisko"),
        ("name;Shipping First Name", "name"),
        ("name;Phonetic First Name;Card Name", "name"),
    ],
)
def test_the_name_of_a_person_or_a_company(header: str, name: str) -> None:
    assert rules(header) == (name, None)


@pytest.mark.parametrize(
    ("header", "name", "contact"),
    [
        ("User ID;Name;Company", "Company | Name", "Name"),
        ("Name;First Name;Last Name;Company", "Company | Name | First Name + Last Name", "First Name + Last Name"),
        ("Name;Last Name;Company", "Company | Name + Last Name", "Name + Last Name"),
        (
            "contact.first;contact.last;contact.company;address.company",
            "contact.company | contact.first + contact.last",
            "contact.first + contact.last",
        ),
        (
            "First_Name;Last_Name;Account_Name.name",
            "Account_Name.name | First_Name + Last_Name",
            "First_Name + Last_Name",
        ),
        (
            "first_name;last_name;org_id.name;org_name",
            "org_name | first_name + last_name",
            "first_name + last_name",
        ),
        ("Nombre o razón social;Nombre comercial", "Nombre o razón social", None),
        ("Customer Name;Company;Accepts Marketing", "Company | Customer Name", "Customer Name"),
        ("Name;Company;Consent to Track", "Company | Name", "Name"),
        ("First Name;Last Name;Account;Job Title", "Account | First Name + Last Name", "First Name + Last Name"),
        ("First Name;Last Name;Account", "First Name + Last Name", None),
        ("顧客コード;会社名;姓;名", "会社名 | 姓 + 名", "姓 + 名"),
        ("Name;Company;Accepts Email Marketing", "Company | Name", "Name"),
        ("Name;Company;Industry", "Name", None),
        ("First Name;Last Name;Company", "Company | First Name + Last Name", "First Name + Last Name"),
        ("Nom;Entreprise", "Entreprise | Nom", "Nom"),
        ("Nom;Client", "Client | Nom", "Nom"),
        ("Denominazione;Referente", "Denominazione | Referente", "Referente"),
        ("Nazwa;Imię;Nazwisko;Firma", "Nazwa | Firma | Imię + Nazwisko", "Imię + Nazwisko"),
        ("company;contact_name", "company | contact_name", "contact_name"),
        ("company;full_name", "company | full_name", "full_name"),
        ("name;contact_name", "name", "contact_name"),
        ("name;first_name;last_name", "name | first_name + last_name", "first_name + last_name"),
        ("*ContactName;FirstName;LastName", "*ContactName | FirstName + LastName", "FirstName + LastName"),
        ("Display Name;Company Name", "Display Name | Company Name", None),
        (
            "Display Name;Company Name;First Name;Last Name",
            "Display Name | Company Name | First Name + Last Name",
            "First Name + Last Name",
        ),
        (
            "first_name;last_name;billing_first_name;billing_last_name;billing_company",
            "billing_company | first_name + last_name",
            "billing_first_name + billing_last_name | first_name + last_name",
        ),
        ("company;first_name;billing_contact", "company | first_name", "billing_contact | first_name"),
        (
            "Société;Nom du contact;Prénom du contact",
            "Société | Prénom du contact + Nom du contact",
            "Prénom du contact + Nom du contact",
        ),
        (
            "Firma;Vorname Ansprechpartner;Nachname Ansprechpartner",
            "Firma | Vorname Ansprechpartner + Nachname Ansprechpartner",
            "Vorname Ansprechpartner + Nachname Ansprechpartner",
        ),
        (
            "Firma;Name;Vorname;Ansprechpartner",
            "Firma | Vorname + Name",
            "Vorname + Name | Ansprechpartner",
        ),
        ("Name;Vorname;Ansprechpartner", "Vorname + Name | Ansprechpartner", "Ansprechpartner"),
        ("Nom;Prénom;Personne de contact", "Prénom + Nom | Personne de contact", "Personne de contact"),
        ("Company;Guest Name", "Company | Guest Name", "Guest Name"),
        (
            "Firma;Teilnehmer Vorname;Teilnehmer Nachname",
            "Firma | Teilnehmer Vorname + Teilnehmer Nachname",
            "Teilnehmer Vorname + Teilnehmer Nachname",
        ),
        ("Kunde Firma;Ansprechpartner", "Kunde Firma | Ansprechpartner", "Ansprechpartner"),
    ],
)
def test_a_company_beside_a_person_is_the_customer(header: str, name: str, contact: str | None) -> None:
    assert rules(header) == (name, contact)


@pytest.mark.parametrize(
    ("header", "option"),
    [
        ("Prénom;Nom de personne", '--map name="Prénom + Nom de personne"'),
        ("Company;First Name;Contact Surname", '--map name="Company | First Name + Contact Surname"'),
        ("first_name;plan_name", None),
        ("first_name;last_name;maiden_name", None),
        ("Full Name;First Name;Maiden Name", None),
    ],
)
def test_half_of_a_name_is_said_where_the_other_half_may_be(header: str, option: str | None) -> None:
    notes = [note for note in mapped(header).notes if "of a person's name, only" in note]
    assert [note.rsplit(": ", 1)[1] for note in notes] == ([option] if option else [])


def test_the_own_name_beside_a_company_stays_the_name() -> None:
    found = mapped("name;company")
    assert (found.fields["name"], found.extra, found.others["name"]) == ("name", ("company",), ("company",))
    assert 'name is "name"; "company" would also match, and stays in metadata' in found.notes[0]


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("Company;Organisation", ["Company", "Organisation"]),
        ("Customer Name;Company;First Name", ["Customer Name", "Company"]),
        ("Customer Name;Client Name", ["Customer Name", "Client Name"]),
    ],
)
def test_two_customers_stop_the_run(header: str, options: list[str]) -> None:
    with pytest.raises(ConfigError, match="2 columns match name") as error:
        mapped(header)
    assert [line.split('"')[1] for line in str(error.value).splitlines()[1:]] == options
    assert rules(header, fields={"name": options[0]})[0] == options[0]
    assert rules(header, ignore=options[1])[0].startswith(options[0])


@pytest.mark.parametrize(
    ("header", "option"),
    [
        ("Nazwa skrócona;Osoba kontaktowa", '--map name="Nazwa skrócona | Osoba kontaktowa"'),
        ("Titular;Contacto;Teléfono", '--map name="Titular | Contacto"'),
        ("Event name;contact_name", None),
        ("Nazwa;Osoba kontaktowa", None),
        ("contact_name", None),
    ],
)
def test_a_contact_is_said_where_another_column_may_be_the_name(header: str, option: str | None) -> None:
    notes = [note for note in mapped(header).notes if ", a contact." in note]
    assert [note.rpartition(": ")[2] for note in notes] == ([option] if option else [])


def test_the_settings_settle_which_company_it_is() -> None:
    assert rules("Company;Organisation;First Name", fields={"legal_name": "Organisation"}) == (
        "Company | First Name",
        "First Name",
    )


@pytest.mark.parametrize(
    ("options", "name", "contact"),
    [
        ({"ignore": "Company"}, "fname + lname", None),
        ({"ignore": ["fname", "lname"]}, "Company", None),
        ({"fields": {"name": "fname + lname"}}, "fname + lname", None),
        ({"fields": {"name": "Company"}}, "Company", "fname + lname"),
        ({"fields": {"billing_contact_name": "lname"}}, "Company | fname + lname", "lname"),
        ({"set": {"name": "upper(Company)"}}, "upper(Company)", "fname + lname"),
    ],
)
def test_the_settings_come_first(options: dict[str, object], name: str, contact: str | None) -> None:
    assert rules("Company;fname;lname", **options) == (name, contact)


@pytest.mark.parametrize(
    ("header", "people"),
    [
        ("id;email", People()),
        ("First Name;Phonetic Last Name;shipping_last_name", People(first_last=("First Name",), is_half=True)),
        ("contact_last_name;last_name;first_name", People(first_last=("first_name", "last_name"))),
        (
            "billing_first_name;first_name;company",
            People(first_last=("first_name",), billing=("billing_first_name",), company="company", is_half=True),
        ),
        ("Firma;Company", People(unclear=("Firma", "Company"))),
        ("Company;Billing Company", People(company="Company")),
    ],
)
def test_columns_of_names_are_found_by_whose_name_it_is(header: str, people: People) -> None:
    assert find(header.split(";")) == people
