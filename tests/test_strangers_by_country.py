"""Columns of systems in Germany and the countries around it, the Nordic ones, Poland, Czechia, Slovakia and Hungary: the
fields and values that are read. The names are those that these systems show, as far as they are known; the records are
made up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.test_profiles import customers
from tranship.pipelines import profiles, rivals
from tranship.pipelines.endpoints import open_source
from tranship.pipelines.settings_model import Reading

SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "lexoffice": (
        "Kundennummer;Firmenname;Anrede;Vorname;Nachname;Straße 1;PLZ 1;Ort 1;Land 1;Telefon 1;E-Mail 1;USt-IdNr.;Steuernummer;Zahlungsziel (Tage)\n10001;Nordlicht GmbH;Frau;Eva;Maier;Hauptstr. 1;20095;Hamburg;DE;040 3346178;info@nordlicht.example;DE123456789;12/345/67890;14\n",
        {
            "external_id": "10001",
            "name": "Nordlicht GmbH",
            "billing_contact_name": "Eva Maier",
            "address_line1": "Hauptstr. 1",
            "zip_code": "20095",
            "city": "Hamburg",
            "country": "DE",
            "phone": "+49403346178",
            "email": "info@nordlicht.example",
            "tax_id": "DE123456789",
            "net_terms": 14,
        },
    ),
    "sevDesk": (
        "Kunden-Nr.;Organisation;Namenszusatz;Nachname;Vorname;Kategorie;USt-ID;Steuernummer;Zahlungsziel in Tagen;Skonto Tage;Strasse;PLZ;Ort;Land;E-Mail;Telefon;Mobil;Erstellt am\n1007;Alster AG;;;;Kunde;DE987654321;;30;10;Weg 2;10115;Berlin;Deutschland;a@alster.example;030 2312512;;12.03.2024\n",
        {
            "external_id": "1007",
            "name": "Alster AG",
            "net_terms": 30,
            "tax_id": "DE987654321",
            "created_at": "2024-03-12T00:00:00+00:00",
            "country": "DE",
        },
    ),
    "DATEV": (
        "Konto;Name (Adressattyp Unternehmen);Name (Adressattyp natürl. Person);Vorname (Adressattyp natürl. Person);EU-Land;EU-USt-IdNr.;Straße;Postleitzahl;Ort;Land;Telefon;E-Mail\n10000;Muster GmbH;;;DE;123456789;Ring 1;80331;München;DE;089 2323323;m@muster.example\n",
        {
            "external_id": ["10000", None],
            "name": "Muster GmbH",
            "city": "München",
            "country": "DE",
            "zip_code": "80331",
            "email": "m@muster.example",
        },
    ),
    "an Austrian program": (
        "Konto-Nr;Nachname;Vorname;Titel;Strasse;PLZ;Ort;Staat;UID-Nummer;Telefonnr;E-Mail-Adresse;Zahlungsziel netto Tage\n200001;Huber;Franz;Mag.;Ring 3;1010;Wien;AT;ATU12345678;01 5046238;huber@wien.example;21\n",
        {
            "external_id": ["200001", None],
            "name": "Franz Huber",
            "country": "AT",
            "tax_id": "ATU12345678",
            "phone": "+4315046238",
            "net_terms": 21,
            "state": None,
        },
    ),
    "a Swiss program": (
        "AdressNr;Firma;Zusatz;Name;Vorname;Strasse;Hausnummer;PLZ;Ort;Kanton;Land;Sprache;Telefon G;Telefon P;Mobile;E-Mail;MWST-Nr.;Zahlungskondition\n4711;Keller AG;;Keller;Urs;Bahnhofstr.;5;8001;Zürich;ZH;CH;D;044 211 37 19;;;urs@keller.example;CHE-218.417.336 MWST;30 Tage netto\n",
        {
            "external_id": ["4711", None],
            "name": "Keller AG",
            "billing_contact_name": "Urs Keller",
            "address_line1": "Bahnhofstr. 5",
            "state": "ZH",
            "tax_id": "CHE-218.417.336 MWST",
            "net_terms": 30,
            "phone": "+41442113719",
        },
    ),
    "Exact": (
        "Code,Naam,Adresregel 1,Adresregel 2,Postcode,Plaats,Land,Telefoon,E-mail,BTW-nummer,Betalingsconditie,Valuta,Taal,Status\n1001,Jansen BV,Kerkstraat 5,,1017 GA,Amsterdam,NL,020 6248311,info@jansen.example,NL859371246B01,30 dagen,EUR,NL,Actief\n",
        {
            "external_id": "1001",
            "name": "Jansen BV",
            "address_line1": "Kerkstraat 5",
            "net_terms": 30,
            "currency": "EUR",
            "status": ["active", None],
            "tax_id": "NL859371246B01",
        },
    ),
    "AFAS": (
        "DebiteurId,Organisatie,Voorvoegsel,Achternaam,Voornaam,Straat,Huisnummer,Toevoeging,Postcode,Woonplaats,Land,Telefoonnummer werk,E-mail werk,BTW-identificatienummer,Betalingstermijn (dagen)\nD100,De Vries BV,de,Vries,Jan,Dam,1,a,1012JS,Amsterdam,Nederland,020-6248311,jan@vries.example,NL001234567B01,14\n",
        {
            "external_id": "D100",
            "name": "De Vries BV",
            "billing_contact_name": "Jan de Vries",
            "address_line1": ["Dam 1", "Dam 1 a"],
            "country": "NL",
            "phone": "+31206248311",
            "email": "jan@vries.example",
            "tax_id": "NL001234567B01",
            "net_terms": 14,
        },
    ),
    "names of debtors in Dutch": (
        "DebiteurCode,DebiteurNaam,Contactpersoon,Factuur e-mail,E-mailadres,Factuuradres,Factuurpostcode,Factuurplaats,Factuurland,Betaaltermijn,BTW-nr\n1200,Bakker Bouw,Piet Bakker,factuur@bakker.example,info@bakker.example,Laan 4,3511AA,Utrecht,NL,30,NL123456789B01\n",
        {
            "external_id": "1200",
            "name": "Bakker Bouw",
            "billing_contact_name": "Piet Bakker",
            "billing_contact_email": "factuur@bakker.example",
            "email": "info@bakker.example",
            "address_line1": "Laan 4",
            "zip_code": "3511AA",
            "city": "Utrecht",
            "country": "NL",
            "net_terms": 30,
        },
    ),
    "a Flemish list": (
        "Klantnr,Klantnaam,Straat + nr,Postcode,Gemeente,Landcode,Tel.,GSM,E-mail,Ondernemingsnummer,Taalcode,Munt,Betalingsvoorwaarden\n55,Peeters NV,Markt 3,2300,Turnhout,BE,014 412233,,p@peeters.example,BE0418273645,NL,EUR,30 dagen\n",
        {
            "external_id": "55",
            "name": "Peeters NV",
            "address_line1": "Markt 3",
            "city": "Turnhout",
            "country": "BE",
            "tax_id": ["BE0418273645", None],
            "currency": "EUR",
            "net_terms": 30,
            "language": "nl",
        },
    ),
    "e-conomic": (
        "Kundenr.;Navn;Adresse;Postnr.;By;Land;CVR-nr.;EAN-nr.;E-mail;Telefon;Betalingsbetingelse;Valuta;Kundegruppe;Att.\n12;Havn ApS;Havnegade 4;8000;Aarhus;Danmark;12345678;;post@havn.example;86123456;Netto 14 dage;DKK;1;Ole Dam\n",
        {
            "external_id": "12",
            "name": "Havn ApS",
            "city": "Aarhus",
            "country": "DK",
            "tax_id": "12345678",
            "net_terms": 14,
            "currency": "DKK",
            "billing_contact_name": "Ole Dam",
            "phone": "+4586123456",
        },
    ),
    "Dinero": (
        "Kontaktnr;Virksomhedsnavn;CVR nummer;Vejnavn;Husnr;Postnummer;By;Landekode;Email;Telefonnummer;Kontaktperson;Betalingsfrist (dage)\n7;Møbel A/S;87654321;Strandvej;12B;2900;Hellerup;DK;m@moebel.example;39401234;Lis Bo;8\n",
        {
            "external_id": ["7", None],
            "name": "Møbel A/S",
            "tax_id": "87654321",
            "address_line1": "Strandvej 12B",
            "city": "Hellerup",
            "country": "DK",
            "billing_contact_name": "Lis Bo",
            "net_terms": 8,
        },
    ),
    "Visma": (
        "Kundnr;Kundnamn;Org.nr;Fakturaadress;Fakturapostnr;Fakturaort;Fakturaland;E-post;Telefon;Referens;Betalningsvillkor;Momsreg.nr;Kundtyp;Senast ändrad\n33;Ek AB;556677-8899;Storgatan 1;411 38;Göteborg;Sverige;ek@ek.example;031-7112438;Nils Ek;30 dagar;SE556677889901;Företag;2024-05-06\n",
        {
            "external_id": "33",
            "name": "Ek AB",
            "address_line1": "Storgatan 1",
            "zip_code": "411 38",
            "city": "Göteborg",
            "country": "SE",
            "net_terms": 30,
            "tax_id": "SE556677889901",
            "customer_type": ["BUSINESS", None],
            "updated_at": "2024-05-06T00:00:00+00:00",
            "phone": "+46317112438",
        },
    ),
    "Fortnox with terms in days": (
        "Kundnummer,Namn,Organisationsnummer,Adress 1,Adress 2,Postnummer,Stad,Landskod,E-post,E-post faktura,Telefon 1,Er referens,Valutakod,Betalningsvillkor (dagar),Aktiv\n9,Bo AB,556600-1122,Vägen 3,,753 20,Uppsala,SE,bo@bo.example,fakt@bo.example,018-123456,Bo Al,SEK,20,Ja\n",
        {
            "external_id": "9",
            "name": "Bo AB",
            "billing_contact_email": "fakt@bo.example",
            "billing_contact_name": "Bo Al",
            "currency": "SEK",
            "net_terms": 20,
            "email": "bo@bo.example",
            "city": "Uppsala",
        },
    ),
    "PowerOffice": (
        "Kundenr;Kundenavn;Organisasjonsnr;Postadresse;Postnr;Sted;Landkode;E-postadresse;Faktura e-post;Telefonnr;Mobilnr;Vår ref;Deres ref;Forfall (dager);Opprettet dato\n10001;Fjell AS;918273645;Gata 1;5003;Bergen;NO;post@fjell.example;faktura@fjell.example;55312417;;Kari;Per;14;03.02.2024\n",
        {
            "external_id": "10001",
            "name": "Fjell AS",
            "address_line1": "Gata 1",
            "zip_code": "5003",
            "city": "Bergen",
            "country": "NO",
            "email": "post@fjell.example",
            "billing_contact_email": "faktura@fjell.example",
            "phone": "+4755312417",
            "net_terms": 14,
            "created_at": "2024-02-03T00:00:00+00:00",
        },
    ),
    "Procountor": (
        "Asiakasnumero;Asiakkaan nimi;Y-tunnus;Katuosoite;Postinumero;Postitoimipaikka;Maa;Sähköposti;Puhelin;Maksuehto;Kieli;Yhteyshenkilö;ALV-tunnus\n501;Järvi Oy;1234567-8;Katu 5;00100;Helsinki;Suomi;j@jarvi.example;09 1234567;14 pv;fi;Anu Järvi;FI12345678\n",
        {
            "external_id": "501",
            "name": "Järvi Oy",
            "address_line1": "Katu 5",
            "city": "Helsinki",
            "country": "FI",
            "billing_contact_name": "Anu Järvi",
            "net_terms": 14,
            "tax_id": ["FI12345678", "1234567-8"],
            "language": "fi",
        },
    ),
    "Fakturownia": (
        "ID;Nazwa;Imię;Nazwisko;NIP;Ulica i numer;Kod pocztowy;Miejscowość;Kraj;E-mail;Telefon;Telefon komórkowy;Domyślny termin płatności;Data utworzenia\n88;Kwiat Sp. z o.o.;Jan;Kwiat;7251843962;Polna 5;90-418;Łódź;PL;k@kwiat.example;422512345;;7;2024-01-02\n",
        {
            "external_id": "88",
            "name": "Kwiat Sp. z o.o.",
            "billing_contact_name": "Jan Kwiat",
            "tax_id": "7251843962",
            "address_line1": "Polna 5",
            "zip_code": "90-418",
            "city": "Łódź",
            "country": "PL",
            "net_terms": 7,
            "created_at": "2024-01-02T00:00:00+00:00",
        },
    ),
    "Comarch Optima": (
        "Kod;Nazwa1;Nazwa2;NIP;Ulica;Nr domu;Nr lokalu;Kod pocztowy;Miasto;Województwo;Kraj;Telefon;E-mail;Termin płatności;Forma płatności;Nieaktywny\nABC;Abc SA;;5213003700;Prosta;7;2;00-838;Warszawa;mazowieckie;Polska;225123456;a@abc.example;14;przelew;Nie\n",
        {
            "external_id": "ABC",
            "name": "Abc SA",
            "address_line1": ["Prosta 7", "Prosta 7/2"],
            "zip_code": "00-838",
            "state": "mazowieckie",
            "net_terms": 14,
            "country": "PL",
            "status": None,
        },
    ),
    "wFirma": (
        "Nazwa skrócona;Nazwa pełna;NIP;Adres;Kod;Miasto;Kraj;Adres e-mail;Nr telefonu;Osoba kontaktowa;Waluta\nDom;Dom Handlowy SA;1182233445;Leśna 3;61-001;Poznań;PL;d@dom.example;618123456;Ewa Dom;PLN\n",
        {
            "name": "Dom Handlowy SA",
            "city": "Poznań",
            "email": "d@dom.example",
            "phone": "+48618123456",
            "billing_contact_name": "Ewa Dom",
            "currency": "PLN",
            "external_id": None,
        },
    ),
    "POHODA": (
        "Číslo;Firma;Jméno;Ulice;PSČ;Obec;Země;IČ;DIČ;Telefon;Mobil;E-mail;Splatnost;Měna\nAD001;Sklo s.r.o.;Jan Novák;Národní 28;110 00;Praha;Česko;27431865;CZ27431865;224815332;;s@sklo.example;14;CZK\n",
        {
            "external_id": ["AD001", None],
            "name": "Sklo s.r.o.",
            "billing_contact_name": ["Jan Novák", None],
            "address_line1": "Národní 28",
            "zip_code": "110 00",
            "city": "Praha",
            "country": "CZ",
            "tax_id": "CZ27431865",
            "net_terms": 14,
            "currency": "CZK",
            "phone": "+420224815332",
        },
    ),
    "iDoklad": (
        "Název firmy;Křestní jméno;Příjmení;Ulice;Město;PSČ;Stát;IČO;DIČ;E-mail;Telefon;Splatnost (dny);Číslo zákazníka;Vytvořeno\nDřevo a.s.;Petr;Malý;Lesní 3;Brno;602 00;Česká republika;12345678;CZ12345678;d@drevo.example;+420 543 211 087;30;Z15;1.2.2024\n",
        {
            "external_id": "Z15",
            "name": "Dřevo a.s.",
            "billing_contact_name": "Petr Malý",
            "city": "Brno",
            "country": "CZ",
            "tax_id": "CZ12345678",
            "net_terms": 30,
            "phone": "+420543211087",
        },
    ),
    "Money S3": (
        "Kód;Název;Ulice;Město;PSČ;Kód státu;E-mail;Tel.;Dny splatnosti;Kontaktní osoba;Plátce DPH\nF1;Foto Lux;Dlouhá 1;Ostrava;702 00;CZ;f@foto.example;596123456;10;Eva Lux;Ano\n",
        {
            "external_id": "F1",
            "name": "Foto Lux",
            "city": "Ostrava",
            "country": "CZ",
            "net_terms": 10,
            "billing_contact_name": "Eva Lux",
            "phone": "+420596123456",
        },
    ),
    "SuperFaktura": (
        "Názov;Ulica;Mesto;PSČ;Štát;Krajina;IČO;DIČ;IČ DPH;E-mail;Telefón;Splatnosť;Mena\nTatra s.r.o.;Hlavná 1;Košice;040 01;;Slovensko;36418275;2021846375;SK2021846375;t@tatra.example;055 1234567;14;EUR\n",
        {
            "name": "Tatra s.r.o.",
            "address_line1": "Hlavná 1",
            "city": "Košice",
            "zip_code": "040 01",
            "country": "SK",
            "net_terms": 14,
            "currency": "EUR",
            "tax_id": ["SK2021846375", "2021846375"],
            "phone": "+421551234567",
        },
    ),
    "Slovak persons": (
        "Číslo klienta;Meno;Priezvisko;Ulica;Obec;PSČ;Krajina;E-mail;Mobil;Dátum vytvorenia\n5;Jana;Kováčová;Krátka 2;Nitra;949 01;SK;j@kova.example;0905 123 456;2024-03-01\n",
        {
            "external_id": "5",
            "name": "Jana Kováčová",
            "address_line1": "Krátka 2",
            "city": "Nitra",
            "country": "SK",
            "phone": "+421905123456",
            "created_at": "2024-03-01T00:00:00+00:00",
        },
    ),
    "Billingo": (
        "Partner azonosító;Partner neve;Irányítószám;Város;Cím;Ország;Adószám;E-mail cím;Telefonszám;Fizetési határidő (nap);Pénznem\n77;Kék Kft.;1051;Budapest;Fő tér 1;Magyarország;12345678-2-41;k@kek.example;+36 1 234 5678;8;HUF\n",
        {
            "external_id": "77",
            "name": "Kék Kft.",
            "zip_code": "1051",
            "city": "Budapest",
            "address_line1": "Fő tér 1",
            "country": "HU",
            "tax_id": "12345678-2-41",
            "email": "k@kek.example",
            "phone": "+3612345678",
            "net_terms": 8,
            "currency": "HUF",
        },
    ),
    "Szamlazz.hu": (
        "Vevő neve;Vevőkód;Irsz;Település;Utca, házszám;Ország;Vevő adószáma;Email;Telefon;Létrehozva\nZöld Bt.;V9;6720;Szeged;Kárász utca 3;Magyarország;87654321-1-06;z@zold.example;;2024-02-03\n",
        {
            "external_id": "V9",
            "name": "Zöld Bt.",
            "zip_code": "6720",
            "city": "Szeged",
            "address_line1": "Kárász utca 3",
            "country": "HU",
            "tax_id": "87654321-1-06",
            "created_at": "2024-02-03T00:00:00+00:00",
        },
    ),
    "Hungarian persons": (
        "Ügyfélszám;Vezetéknév;Keresztnév;Cégnév;Irányítószám;Város;Utca;Házszám;E-mail;Mobil\n3;Nagy;Éva;;4024;Debrecen;Piac utca;12;e@nagy.example;+36 30 123 4567\n",
        {
            "external_id": "3",
            "name": ["Éva Nagy", "Nagy Éva"],
            "zip_code": "4024",
            "city": "Debrecen",
            "address_line1": "Piac utca 12",
            "phone": "+36301234567",
        },
    ),
    "roles and nouns joined in Dutch": (
        "Debiteurnr;DebiteurNaam;Telefoon;FactuurEmailadres;FactuurAdres;FactuurHuisnummer;FactuurHuisnummerToev;FactuurPostcode;FactuurPlaats;FactuurProvStaat;FactuurCodeLand;PostAdres;PostHuisnummer;PostPostcode;PostPlaats;PostCodeLand;ContactNaam;Contacttelefoonnr;ContactEmail\n2102;Van Buuren;030-2314478 tst. 12;info@vb.example;Kanaal;112;A;3531CJ;Utrecht;Utrecht;NL;Postbus;8043;3503RA;Utrecht;NL;Henk van Buuren;;\n",
        {
            "external_id": "2102",
            "name": "Van Buuren",
            "billing_contact_name": "Henk van Buuren",
            "email": [None],
            "phone": "+31302314478",
            "address_line1": ["Kanaal 112", "Kanaal 112 A"],
            "state": "Utrecht",
            "country": "NL",
            "billing_contact_email": "info@vb.example",
        },
    ),
    "weclapp": (
        "Kundennummer,Firma,Firma 2,Vorname,Name,Adresse - Straße,Adresse - PLZ,Adresse - Ort,Adresse - Land,Rechnungs-E-Mail,Währung (ISO),Sperre,Kunde seit\nC100,Bach GmbH,,Ute,Bach,Weg 1,50667,Köln,DE,re@bach.example,EUR,nein,01.02.2020\n",
        {
            "external_id": "C100",
            "name": "Bach GmbH",
            "billing_contact_name": "Ute Bach",
            "address_line1": "Weg 1",
            "zip_code": "50667",
            "city": "Köln",
            "country": "DE",
            "currency": "EUR",
            "created_at": "2020-02-01T00:00:00+00:00",
        },
    ),
    "JTL": (
        "Kundennummer;Anrede;Firma;Vorname;Nachname;Straße;Hausnummer;Adresszusatz;PLZ;Ort;Bundesland;ISO Land;Tel;Mobil;Mail;UstID;Zahlungsziel;Erstellt\nJ1;Herr;;Tim;Bock;Allee;7;;01067;Dresden;Sachsen;DE;0351 4458213;;t@bock.example;;14;2023-04-05\n",
        {
            "external_id": "J1",
            "name": "Tim Bock",
            "address_line1": "Allee 7",
            "zip_code": "01067",
            "state": "Sachsen",
            "country": "DE",
            "email": "t@bock.example",
            "net_terms": 14,
            "created_at": "2023-04-05T00:00:00+00:00",
        },
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_columns_of_these_systems_become_fields(name: str, tmp_path: Path) -> None:
    text, expected = SYSTEMS[name]
    file = tmp_path / "in.csv"
    file.write_text(text, encoding="utf-8")
    (record,) = customers(file, tmp_path)["records"]
    different = {
        field: record.get(field)
        for field, wanted in expected.items()
        if record.get(field) not in (wanted if isinstance(wanted, list) else [wanted])
    }
    assert different == {}


def test_two_tax_ids_fill_each_other(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("Kundennr;Name;MWST-Nummer;USt-IdNr\n1;A;CHE-1;\n2;B;;DE1\n", encoding="utf-8")
    assert [record["tax_id"] for record in customers(file, tmp_path)["records"]] == ["CHE-1", "DE1"]


def test_two_different_tax_ids_of_one_record_ask(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("Kundennr;Name;MWST-Nummer;USt-IdNr\n1;A;CHE-1;\n2;B;CHE-2;DE1\n", encoding="utf-8")
    reading = Reading(source=str(file))
    source = open_source(reading)
    columns = profiles.apply(source.layouts(), reading).columns(source.layouts())
    (batch,) = (part.read() for part in source.parts(tmp_path))
    found = rivals.disagreements(batch, columns)["tax_id"]
    source.close()
    assert 'line 3: "MWST-Nummer" and "USt-IdNr" both mean tax_id and have different values' in found


@pytest.mark.parametrize(("value", "country"), [("code:CZ", "CZ"), ("code:SK", "SK"), ("KOD: Polska", "PL")])
def test_a_reference_to_a_country_is_its_code(value: str, country: str, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"kod;nazev;ulice;psc;stat\n1;A;B 1;110 00;{value}\n", encoding="utf-8")
    assert customers(file, tmp_path)["records"][0].get("country") == country


@pytest.mark.parametrize("column", ["Stat", "Cím", "Obec"])
def test_short_words_mean_a_place_only_beside_others(column: str, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f"id,name,email,{column}\n1,Acme,a@acme.example,x\n", encoding="utf-8")
    (record,) = customers(file, tmp_path)["records"]
    assert {"country", "address_line1", "city"}.isdisjoint(field for field, value in record.items() if value)
