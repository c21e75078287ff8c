"""Files of systems without a profile: the fields and values read at the first try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.test_profiles import customers

FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "a table of SAP": (
        (
            "MANDT\tKUNNR\tLAND1\tNAME1\tORT01\tPSTLZ\tREGIO\tSTRAS\tTELF1\tSTCEG\tSMTP_ADDR\tERDAT\tWAERS\n"
            "100\t0000100001\tDE\tBecker GmbH\tBerlin\t13467\t11\tRing 36\t030-23125120\tDE123456789\ta@becker.example\t"
            "20190412\tEUR\n"
        ),
        {
            "external_id": "0000100001",
            "name": "Becker GmbH",
            "city": "Berlin",
            "zip_code": "13467",
            "address_line1": "Ring 36",
            "country": "DE",
            "phone": "+493023125120",
            "tax_id": "DE123456789",
            "created_at": "2019-04-12T00:00:00+00:00",
        },
    ),
    "attributes of LDAP": (
        (
            "dn,uid,cn,sn,givenName,o,mail,street,l,st,postalCode,c,createTimestamp\n"
            "uid=hk,hk,Hanna Kern,Kern,Hanna,Kern GmbH,hanna@kern.example,Platz 1,Bonn,NRW,53111,DE,20240115093000Z\n"
        ),
        {
            "external_id": "hk",
            "name": "Kern GmbH",
            "billing_contact_name": "Hanna Kern",
            "city": "Bonn",
            "state": "NRW",
            "country": "DE",
            "created_at": "2024-01-15T09:30:00+00:00",
        },
    ),
    "a prefix of its own on all columns": (
        (
            "CT_Intitule,CT_Contact,CT_Adresse,CT_CodePostal,CT_Ville,CT_Pays,CT_EMail,CT_Telephone\n"
            "Dumas SARL,Luc Vidal,3 rue A,75011,Paris,France,l@dumas.example,\n"
        ),
        {"name": "Dumas SARL", "billing_contact_name": "Luc Vidal", "zip_code": "75011", "country": "FR"},
    ),
    "an Italian program for invoices": (
        (
            "Codice interno;Denominazione;Indirizzo;CAP;Comune;Provincia;Paese;Indirizzo e-mail;Scadenza (giorni)\n"
            "C001;Rossi S.r.l.;Via Roma 1;00184;Roma;RM;Italia;info@rossi.example;30\n"
        ),
        {
            "external_id": "C001",
            "name": "Rossi S.r.l.",
            "zip_code": "00184",
            "city": "Roma",
            "state": "RM",
            "country": "IT",
            "net_terms": 30,
        },
    ),
    "a Spanish program for invoices": (
        "Código interno,Nombre,Correo electrónico,Vencimiento (días)\n0007,Comercial López,admin@lopez.example,0\n",
        {"external_id": "0007", "name": "Comercial López", "email": "admin@lopez.example", "net_terms": 0},
    ),
    "two addresses, of which the first is blank": (
        (
            "customer_code,company_name,postal_address1,postal_city,postal_postcode,physical_address1,physical_city,"
            "physical_postcode,physical_country_id\n"
            "L1,Kauri Ltd,,,,7 Quay St,Auckland,1010,NZ\n"
        ),
        {
            "external_id": "L1",
            "address_line1": "7 Quay St",
            "city": "Auckland",
            "zip_code": "1010",
            "country": None,
        },
    ),
    "an id beside a UUID": (
        (
            "id,uuid,firstname,lastname,companyname,email\n"
            "17,4f1c2a90-6f0e-4f11-9f89-000d3a1b2c01,Ann,Bell,Bell Ltd,ann@bell.example\n"
        ),
        {"external_id": "17", "name": "Bell Ltd"},
    ),
    "short names of a database": (
        (
            "cli_id;cli_nom;cli_prenom;cli_societe;cli_adr1;cli_cp;cli_ville;cli_pays;cli_mail;cli_date_crea\n"
            "7;Vidal;Luc;Dumas SARL;3 rue A;75011;Paris;France;l@dumas.example;2024-01-02\n"
        ),
        {
            "external_id": "7",
            "name": "Dumas SARL",
            "billing_contact_name": "Luc Vidal",
            "address_line1": "3 rue A",
            "zip_code": "75011",
            "created_at": "2024-01-02T00:00:00+00:00",
        },
    ),
    "lists of addresses and numbers": (
        (
            '[{"id": 1, "name": {"first": "Ann", "last": "Bell"}, "email": [{"label": "home", "value": "a@b.example"}, '
            '{"label": "work", "value": "ann@bell.example", "primary": true}], '
            '"phones": [{"type": "office", "phone": "+1 312 555 0111"}]}]'
        ),
        {
            "name": "Ann Bell",
            "email": "ann@bell.example",
            "invoice_cc_emails": ["a@b.example"],
            "phone": "+13125550111",
        },
    ),
    "a list of persons": (
        "Copper ID,Name,Title,Company,Email\n1,Dean Mauer,COO,Noveno,dean@noveno.example\n",
        {"external_id": "1", "name": "Noveno", "billing_contact_name": "Dean Mauer"},
    ),
    "words behind and in brackets": (
        (
            "id,First Name [Required],Last Name [Required],Email,Billing City (Locality),Type\n"
            "1,Ann,Bell,a@bell.example,Chicago,Person\n"
        ),
        {"name": "Ann Bell", "city": "Chicago", "customer_type": "INDIVIDUAL"},
    ),
    "a street that has a role, and a city that has none": (
        (
            "Code client;Raison sociale;E-mail;Adresse de facturation;Code postal;Ville\n"
            "C1;Dumas SARL;c@dumas.example;3 rue A;75011;Paris\n"
        ),
        {"external_id": "C1", "address_line1": "3 rue A", "zip_code": "75011", "city": "Paris"},
    ),
    "short names of a table in Management Studio": (
        (
            "CustID,CustName,ContactName,Addr1,City,St,Zip,Ctry,Phone1,EMail,CustStatus,DateEntered,LastUpd\n"
            "A1,Alpine Tool,Greta Holm,410 Foundry Rd,Dayton,OH,45402,USA,937-555-0162,g@alpine.example,Active,"
            "2016-08-22 00:00:00.000,2024-01-19 14:02:11.457\n"
        ),
        {
            "state": "OH",
            "country": "US",
            "phone": "+19375550162",
            "status": "active",
            "created_at": "2016-08-22T00:00:00+00:00",
            "updated_at": "2024-01-19T14:02:11.457000+00:00",
        },
    ),
    "codes and a street address of their own": (
        (
            '[{"Geschäftspartner-Nr.": "0010", "Name": "Elbe AG", "Währung (ISO-Code)": "CHF", "Sprache": "ENU", '
            '"streetAddress": {"address1": "Quai 1", "city": "Genf", "postcode": "1201", "countryCode": "CH"}}]'
        ),
        {
            "external_id": "0010",
            "currency": "CHF",
            "language": "en-US",
            "address_line1": "Quai 1",
            "city": "Genf",
            "zip_code": "1201",
            "country": "CH",
        },
    ),
    "the members of an association": (
        (
            "User ID,First name,Last name,Email,Membership status,Creation date,Profile last updated\n"
            "1,Helen,Marsh,helen@marsh.example,Active,14 Jan 2021,03 Jan 2024\n"
        ),
        {
            "external_id": "1",
            "status": "active",
            "created_at": "2021-01-14T00:00:00+00:00",
            "updated_at": "2024-01-03T00:00:00+00:00",
        },
    ),
    "a worksheet of Dynamics 365": (
        (
            "(Do Not Modify) Account,(Do Not Modify) Row Checksum,(Do Not Modify) Modified On,Account Name,Email\n"
            "4f1c2a90-6f0e-ef11-9f89-000d3a1b2c01,qX1/0aBc==,2024-05-28 09:30:00,Fourth Coffee,ap@fourth.example\n"
        ),
        {
            "external_id": "4f1c2a90-6f0e-ef11-9f89-000d3a1b2c01",
            "name": "Fourth Coffee",
            "updated_at": "2024-05-28T09:30:00+00:00",
        },
    ),
    "dates of Oracle and Excel": (
        "id,name,email,created,updated\n1,Acme,a@acme.example,15-JAN-24,3-Feb-99\n",
        {"created_at": "2024-01-15T00:00:00+00:00", "updated_at": "1999-02-03T00:00:00+00:00"},
    ),
    "a code in the first column": (
        "Código;NIF;Nombre fiscal;Dirección;Población;Correo\nC1;B12345674;Soler SL;Calle A 1;Lleida;s@soler.example\n",
        {"external_id": "C1", "name": "Soler SL", "tax_id": "B12345674", "email": "s@soler.example"},
    ),
    "a reference in the first column": (
        "Referencia;Razón social;Correo\nC1;Soler SL;s@soler.example\n",
        {"external_id": "C1", "name": "Soler SL"},
    ),
    "an id beside a number of the same customer": (
        "Customer Number,Customer ID,name,email\n10021,1187,Acme,a@acme.example\n",
        {"external_id": "1187"},
    ),
    "an id beside a number, written as one word": (
        "accountid,accountnumber,name,emailaddress1\n4f1c,ACC-1,Acme,a@acme.example\n",
        {"external_id": "4f1c", "email": "a@acme.example"},
    ),
    "number signs": (
        "Customer #,Customer,Contact,Contact #,Email\n10021,Acme,Ann Bell,+1 312 555 0111,a@acme.example\n",
        {
            "external_id": "10021",
            "name": "Acme",
            "billing_contact_name": "Ann Bell",
            "phone": "+13125550111",
        },
    ),
    "names that share a front without a separator": (
        "cusID,cusName,cusAddr,cusCity,cusZip,cusEmail\n7,Acme,1 Main,Bonn,53111,a@acme.example\n",
        {"external_id": "7", "name": "Acme", "address_line1": "1 Main", "city": "Bonn", "zip_code": "53111"},
    ),
    "words of Dynamics 365 Finance": (
        (
            "Customer account,Organization name,Primary email,Terms of payment,Created date and time,"
            "Modified date and time\nC-1,Acme,a@acme.example,Net 30,2024-01-02 03:04:05,2024-02-03 04:05:06\n"
        ),
        {
            "net_terms": 30,
            "created_at": "2024-01-02T03:04:05+00:00",
            "updated_at": "2024-02-03T04:05:06+00:00",
        },
    ),
    "short names of an old program": (
        (
            "A/C Ref,Member Name,ph,pcode,mail,crt_dt,Date Chgd\n"
            "A1,Acme,+1 312 555 0111,60601,a@acme.example,2024-01-02,2024-02-03\n"
        ),
        {
            "external_id": "A1",
            "name": "Acme",
            "phone": "+13125550111",
            "zip_code": "60601",
            "created_at": "2024-01-02T00:00:00+00:00",
            "updated_at": "2024-02-03T00:00:00+00:00",
        },
    ),
    "a Swedish list of companies": (
        "Identifierare,Företag,Kontakt,Telefon,E-post,Ändrad\n1,Bolaget AB,Eva Ek,+46 8 123 456 78,e@ek.example,\n",
        {"name": "Bolaget AB", "billing_contact_name": "Eva Ek", "phone": "+46812345678"},
    ),
    "persons by the word for their work": (
        "ID,Name,Function,Company,Email\n1,Dean Mauer,COO,Noveno,dean@noveno.example\n",
        {"name": "Noveno", "billing_contact_name": "Dean Mauer"},
    ),
    "lists of e-mails and telephone numbers, as Google writes them": (
        (
            '[{"id": 1, "name": "Ann Bell", "emailAddresses": [{"metadata": {}, "value": "old@bell.example"}, '
            '{"metadata": {"primary": true}, "value": "ann@bell.example"}], "phoneNumbers": [{"value": '
            '"+49 30 901820", "primary": "false"}, {"value": "+49 171 1234567", "primary": "true"}]}]'
        ),
        {"email": "ann@bell.example", "invoice_cc_emails": ["old@bell.example"], "phone": "+491711234567"},
    ),
    "a list of addresses": (
        (
            '[{"id": 1, "name": "Acme", "email": "a@acme.example", "addresses": [{"type": "office", "line1": "1 Main", '
            '"city": "Bonn"}, {"line1": "2 Quay", "city": "Kiel", "postal_code": "04109", "country": "DE", '
            '"primary": true}]}]'
        ),
        {"address_line1": "2 Quay", "city": "Kiel", "zip_code": "04109", "country": "DE"},
    ),
    "records in an object of which the name is a word for a contact": (
        '[{"contato": {"id": 7, "nome": "Padaria Ltda", "fantasia": "Pão Quente", "email": "a@pao.example", "uf": "SP"}}]',
        {"external_id": "7", "name": "Padaria Ltda", "billing_contact_name": None},
    ),
    "initials beside a name are those of a person": (
        (
            "Lidnummer;Voorletters;Tussenvoegsel;Naam;Plaats;Landnaam;Mobielenummer;Inschrijfdatum\n"
            "0007;J.P.;de;Vries;Gent;België;0470 12 34 56;15-01-1998\n"
        ),
        {
            "external_id": "0007",
            "name": "J.P. de Vries",
            "country": "BE",
            "phone": "+32470123456",
            "created_at": "1998-01-15T00:00:00+00:00",
        },
    ),
    "an address for taxes beside that of a contact": (
        (
            "ID,NOMBRE,DIRECCIÓN FISCAL,CÓDIGO POSTAL FISCAL,ESTADO FISCAL,PAÍS FISCAL,NOMBRE CONTACTO,DIRECCIÓN CONTACTO,"
            "CÓDIGO POSTAL CONTACTO,ESTADO CONTACTO,ESTATUS\n"
            "1,Aceros,Av. Juárez 1,37000,Guanajuato,México,Rosa Peña,Blvd. 5,36100,Jalisco,Suspendido\n"
        ),
        {
            "address_line1": "Av. Juárez 1",
            "zip_code": "37000",
            "state": "Guanajuato",
            "country": "MX",
            "billing_contact_name": "Rosa Peña",
            "status": "suspended",
        },
    ),
    "a Polish building, and a number of companies that is no date": (
        (
            "Kod;Nazwa;REGON;Ulica;Nr budynku;Nr lokalu;Kod pocztowy;Miejscowość;Kraj\n"
            "K/1;Sklep;012345678;Długa;12;4;00-950;Warszawa;Polska\n"
        ),
        {"address_line1": "Długa 12", "address_line2": "4", "city": "Warszawa", "country": "PL", "created_at": None},
    ),
    "the contact and street of an address in Dutch": (
        (
            '[{"relatiecode": 7, "naam": "Korenaar B.V.", "vestigingsAdres": {"contactpersoon": "Sjoerd Bakker", '
            '"straat": "Molenweg 3", "postcode": "1012 AB", "plaats": "Amsterdam"}, "telefoon": "+31 20 123 45 67"}]'
        ),
        {
            "name": "Korenaar B.V.",
            "billing_contact_name": "Sjoerd Bakker",
            "address_line1": "Molenweg 3",
            "zip_code": "1012 AB",
            "city": "Amsterdam",
        },
    ),
    "the contact for invoices of a Swedish member": (
        (
            "Medlemsnr,Förnamn,Efternamn,Företagsnamn,Landskod,Faktura Förnamn,Faktura Efternamn\n"
            "5,Eva,Ström,Ström Konsult,SE,Karin,Ek\n"
        ),
        {"external_id": "5", "name": "Ström Konsult", "billing_contact_name": "Karin Ek", "country": "SE"},
    ),
    "French postal codes behind which is the role of the address": (
        (
            "N° client;Nom et prénom;Adresse facturation;CP facturation;Ville facturation;Adresse livraison;CP livraison\n"
            "5;Petit Anne;1 rue A;06000;Nice;2 rue B;75011\n"
        ),
        {"external_id": "5", "name": "Petit Anne", "address_line1": "1 rue A", "zip_code": "06000", "city": "Nice"},
    ),
    "an Italian member with the place of residence": (
        (
            "Socio n.;Cognome e nome;Indirizzo di residenza;Comune di residenza;CAP di residenza;Comune di nascita\n"
            "5;Bruni Carla;Via Po 1;Torino;10124;Asti\n"
        ),
        {"external_id": "5", "name": "Bruni Carla", "address_line1": "Via Po 1", "city": "Torino", "zip_code": "10124"},
    ),
    "a Dutch name in two parts beside a contact": (
        "Relatienr;Naam 1;Naam 2;T.a.v.;Plaats\n5;Ploeg B.V.;Fietsen;J. Ploeg;Zwolle\n",
        {"name": "Ploeg B.V.", "billing_contact_name": "J. Ploeg"},
    ),
    "the door and floor of a Portuguese address": (
        (
            "id_utilizador,nome_completo,email,morada,porta,andar,codigo_postal,localidade,data_registo\n"
            "1,Ana Guedes,ana@guedes.example,Rua do Sol,12,3 Esq,4000-123,Porto,2020-03-15\n"
        ),
        {
            "external_id": "1",
            "address_line1": "Rua do Sol 12",
            "address_line2": "3 Esq",
            "created_at": "2020-03-15T00:00:00+00:00",
        },
    ),
    "roles in short, of which one address is blank": (
        (
            "Kundenr;Firmanavn;Leveringsadresse;Lev. postnr;Lev. by;Fakturaadresse;Fakt. postnr;Fakt. by;Kunde siden\n"
            "K2;Lund A/S;Vej 3;5000;Odense;;;;2020-03-15\n"
        ),
        {"address_line1": "Vej 3", "zip_code": "5000", "city": "Odense", "created_at": "2020-03-15T00:00:00+00:00"},
    ),
    "a last name or the name of a company in one column": (
        "Nr klienta;Nazwisko / Nazwa firmy;Imię;Miejscowość\n5002;Żuk Sp. z o.o.;;Kraków\n",
        {"external_id": "5002", "name": "Żuk Sp. z o.o."},
    ),
    "the place of a supply beside the address for letters": (
        (
            "N° cliente;Nombre;Dirección suministro;Población suministro;CP suministro;Dirección envío;Población envío\n"
            "1;Ana Gil;C/ Sol 1;Lugo;27001;C/ Mar 2;Vigo\n"
        ),
        {"address_line1": "C/ Sol 1", "city": "Lugo", "zip_code": "27001"},
    ),
    "a trading name beside the name of the company": (
        '[{"codigo": 7, "denominacion": "Mar SL", "nombreComercial": "El Mar", "correo": "info@mar.example"}]',
        {"name": "Mar SL"},
    ),
    "the name in use beside that of birth": (
        (
            "Id adhérent,Nom d'usage,Prénom,Nom de naissance,Organisme,N° et voie,Code postal\n"
            "13,Blanc,Ida,Roy,Mairie de Nice,1 place B,06000\n"
        ),
        {"name": "Mairie de Nice", "billing_contact_name": "Ida Blanc", "address_line1": "1 place B"},
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_is_understood(what: str, tmp_path: Path) -> None:
    text, expected = FILES[what]
    file = tmp_path / ("in.json" if text.startswith("[") else "in.csv")
    file.write_text(text, encoding="utf-8")
    (found,) = customers(file, tmp_path)["records"]
    assert {field: found.get(field) for field in expected} == expected


def test_a_type_that_is_none_of_ours_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("id,name,email,Type\n1,Acme,a@acme.example,Reseller\n", encoding="utf-8")
    found = customers(file, tmp_path)
    assert "customer_type" not in found["records"][0]
    assert found["codes"] == []


def test_a_short_name_that_may_be_a_street_is_no_state(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("id,name,email,St,City,Zip\n1,Acme,a@acme.example,Elm,Dayton,45402\n", encoding="utf-8")
    assert "state" not in customers(file, tmp_path)["records"][0]


@pytest.mark.parametrize(
    ("header", "name"),
    [("Nombre,Nombre comercial", "Sol S.L."), ("Nome,Fantasia", "Sol S.L.")],
)
def test_a_trading_name_gives_way_to_a_plain_name(header: str, name: str, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"{header},email\nSol S.L.,Sol,a@sol.example\n", encoding="utf-8")
    assert customers(file, tmp_path)["records"][0]["name"] == name


@pytest.mark.parametrize(
    ("header", "row", "phone"),
    [
        ("DDD,Telefone", "51,3030-4040", "+555130304040"),
        ("Area Code,Phone", ",+351 22 555 0101", "+351225550101"),
        ("DDD,Fax,Telefone", "51,,3030-4040", "+5530304040"),  # that of the fax
        ("DDD,Telefone,Fone", "51,3030-4040,", "+555130304040"),  # that of the first of two numbers
    ],
)
def test_an_area_code_is_part_of_the_number_behind_it(header: str, row: str, phone: str, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"id,name,country,{header}\n1,A,BR,{row}\n", encoding="utf-8")
    assert customers(file, tmp_path)["records"][0]["phone"] == phone


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("Département/Canton", "Vaud", "state"),
        ("Supplemental Address 1", "Unit 4", "address_line2"),
        ("Incluído em", "2022-03-25", "created_at"),
        ("Registriert", "14.03.2022 08:15", "created_at"),
    ],
)
def test_words_of_other_systems_are_known(column: str, value: str, field: str, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"id,name,Street Address,City,{column}\n1,A,1 Main St,Bern,{value}\n", encoding="utf-8")
    assert field in customers(file, tmp_path)["records"][0]


@pytest.mark.parametrize(
    ("columns", "values", "status"),
    [
        ("Stato,Nazione", "Sospeso,Italia", "suspended"),
        ("Stato", "Sospeso", "suspended"),  # by its value, since it may be a country
        ("Estado,Provincia,Ciudad", "Activo,Lugo,Vigo", "active"),
        ("Estado,Ciudad", "Jalisco,Tequila", None),
        ("Endereço,Cidade,UF,Estado", "Rua A,Campinas,SP,São Paulo", None),
    ],
)
def test_a_word_for_state_and_status_is_the_status_beside_the_other(
    columns: str, values: str, status: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"id,nombre,{columns}\n1,A,{values}\n", encoding="utf-8")
    assert customers(file, tmp_path)["records"][0].get("status") == status


def test_a_name_with_its_owner_in_brackets_is_that_of_the_owner(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("Code,Nom,Nom (contact),Prénom (contact)\nC1,Atelier Bleu,Petit,Anne\n", encoding="utf-8")
    (record,) = customers(file, tmp_path)["records"]
    assert (record["name"], record["billing_contact_name"]) == ("Atelier Bleu", "Anne Petit")


@pytest.mark.parametrize(
    ("header", "row", "field", "value"),
    [
        ("Address (street),Address (city)", "7 Elm,Bend", "city", "Bend"),
        ("Billing Address (Country)", "DE", "country", "DE"),
        ("Address (old)", "7 Elm", "address_line1", None),
        ("Private E-Mail,Geschäftliche E-Mail", "a@b.co,c@d.co", "email", "c@d.co"),
        ("Private Telefonnummer", "+49 221 5550", "phone", "+492215550"),
    ],
)
def test_a_part_in_brackets_and_an_adjective_in_front(
    header: str, row: str, field: str, value: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"id,name,{header}\n1,A,{row}\n", encoding="utf-8")
    assert customers(file, tmp_path)["records"][0].get(field) == value


def test_objects_embedded_in_a_record_are_its_fields(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text('[{"id": 1, "name": "A", "_embedded": {"emails": [{"value": "a@b.co", "type": "work"}]}}]')
    assert customers(file, tmp_path)["records"][0]["email"] == "a@b.co"


@pytest.mark.parametrize("column", ["Deal ID", "Owner ID", "Company ID", "Store ID"])
def test_the_first_id_of_something_else_is_not_the_id(column: str, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"{column},name,email\n1,Acme,a@acme.example\n", encoding="utf-8")
    assert "external_id" not in customers(file, tmp_path)["records"][0]


@pytest.mark.parametrize(
    "column",
    [
        "DEL_FLG",
        "gesperrt_kz",
        "accountEnabled",
        "customer_is_deleted",
        "deleted_date",
        "cli_actif",
        "LOEVM",
        "barred",
        "Archivé",
    ],
)
def test_flags_are_known_in_every_combination(column: str, tmp_path: Path) -> None:
    gone = "false" if column in ("accountEnabled", "cli_actif") else "X"
    file = tmp_path / "in.csv"
    file.write_text(f"id,name,email,{column}\n1,Acme,a@acme.example,{gone}\n", encoding="utf-8")
    assert customers(file, tmp_path)["codes"] == ["record.deleted_flag"]


@pytest.mark.parametrize(
    ("column", "word", "codes"),
    [
        ("Blocked", "Invoice", ["record.deleted_flag"]),
        ("Gesperrt", "Fakturieren", ["record.deleted_flag"]),
        ("Deleted", "2024-01-02", ["record.deleted_flag"]),
        ("Inaktiv seit", "02.01.2024", ["record.deleted_flag"]),
        ("On Hold", "yes", ["record.deleted_flag"]),
        ("Verstorben", "J", ["record.deleted_flag"]),
        ("Annulé", "0", []),
        ("Blocked", "No", []),
        ("Blocked", "none", []),
        ("Bloqueado", "0.00", []),
    ],
)
def test_a_word_for_what_is_blocked_marks_the_record(column: str, word: str, codes: list[str], tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"id,name,email,{column}\n1,Acme,a@acme.example,{word}\n", encoding="utf-8")
    assert customers(file, tmp_path)["codes"] == codes
