"""Columns → fields: found by name or given by the user, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run
from tranship.pipelines.field_rules import parse, quoted
from tranship.pipelines.mapping import propose
from tranship.pipelines.settings import reading_from_command
from tranship.pipelines.settings_model import Reading
from tranship.schemas.customer import COLUMNS
from tranship.schemas.headers import match


def reading(**options):
    return Reading.model_validate({"source": "in.csv", **options})


def mapped(*columns: str, **options):
    return propose([Layout("in.csv", columns)], reading(**options))


@pytest.mark.parametrize(
    ("column", "field"),
    [
        *((name, name) for name in COLUMNS),
        ("Customer ID", "external_id"),
        ("externalId", "external_id"),
        ("customer_key", "external_id"),
        ("CUSTOMER-ID", "external_id"),
        ("E-mail", "email"),
        ("Email Address", "email"),
        ("Zip/Postal Code", "zip_code"),
        ("Created (UTC)", "created_at"),
        ("Last Modified", "updated_at"),
        ("Address 1", "address_line1"),
        ("VAT Number", "tax_id"),
        ("Payment terms (days)", "net_terms"),
        ("Billing Address City", "city"),
        ("POAddressLine1", "address_line1"),
        ("Addr 1 - City", "city"),
        ("address.city", "city"),
        ("customer[id]", "external_id"),
        ("customer[mobile]", "phone"),
        ("City (Billing)", "city"),
        ("Default Address Province Code", "state"),
        ("E-mail 1 - Value", "email"),
        ("Person - Email - Work", "email"),
        ("Person - Phone - Home", "phone"),
        ("Billing Email Work", None),
        ("Signed up (UTC)", "created_at"),
        ("account_state", "status"),
        ("Net Term Days", "net_terms"),
        ("Kundennummer", "external_id"),
        ("Code postal", "zip_code"),
        ("Företag", "name"),
        ("LandID", "country"),
        ("Contribuinte", "tax_id"),
        ("Krediettermijn", "net_terms"),
        ("customer_id (metadata)", None),
        ("Customer (VIP)", None),
        ("company_id", None),
        ("Lead Status", None),
        ("Lifecycle Stage", None),
        ("Card Status", None),
        ("Code", None),
        ("Via", None),
        ("password_hash", None),
        ("Umsatz", None),
        ("Fälligkeit in Tagen (Debitor)", "net_terms"),
        ("Conditions de règlement", "net_terms"),
        ("Termini pagamento", "net_terms"),
        ("Betalingsbet.", "net_terms"),
        ("CNPJ / CPF", "tax_id"),
        ("CVR-nr.", "tax_id"),
        ("tax_id.value", "tax_id"),
        ("IE / RG", None),
        ("Tipo de pessoa", "customer_type"),
        ("Situação", "status"),
        ("Adresregel 1", "address_line1"),
        ("2. Adresse", "address_line2"),
        ("Rue 2", "address_line2"),
        ("Postadresse - Adresselinje 1", "address_line1"),
        ("Postadresse - linje 1", "address_line1"),
        ("Forretningsadresse - sted", "city"),
        ("Adresse de facturation - Ville", "city"),
        ("Dirección de envío", "address_line1"),
        ("Besöksadress - Ort", "city"),
        ("Adresszeile 2", "address_line2"),
        ("Kundennr.", "external_id"),
        ("Invoice No.", None),
        ("PLZ/Ort", None),
        ("Address City - 1", "city"),
        ("City/town/village/locality of address", "city"),
        ("ZIP/Postal code of Postal address", "zip_code"),
        ("Teléfono 1", "phone"),
        ("Visit Country", None),
        ("Name of address", None),
        ("Ulica", "address_line1"),
        ("Straße geschäftlich 2", "address_line2"),
        ("Primary location > City", "city"),
        ("PrimaryEmailAddr.Address", "email"),
        ("PrimaryPhone.FreeFormNumber", "phone"),
        ("address.administrative_district_level_1", "state"),
        ("add_time", "created_at"),
        ("E-Mail geschäftlich", "email"),
        ("Email comercial", None),
        ("Land/Region geschäftlich", "country"),
        ("Ville (bureau)", "city"),
        ("Código postal del trabajo", "zip_code"),
        ("Street address line 1 - Work", "address_line1"),
        ("Item ID (auto generated)", "external_id"),
        ("Subscriber", None),
        ("郵便番号", "zip_code"),
        ("請求先住所", "address_line1"),
        ("名前（カナ）", None),
        ("客户编码", "external_id"),
        ("고객명", "name"),
        ("Дата создания", "created_at"),
        ("PSČ", "zip_code"),
        ("cod_cliente", "external_id"),
        ("Kd-Nr.", "external_id"),
        ("nr_klienta", "external_id"),
        ("user_id", "external_id"),
        ("localId", "external_id"),
        ("Owner ID", None),
        ("Account Reference", "external_id"),
        ("Telefone comercial", "phone"),
        ("telephoneAndFaxNumber", "phone"),
        ("tel_nr", "phone"),
        ("mail_adresse", "email"),
        ("DATE_CREATED_UTC", "created_at"),
        ("createdDateTime", "created_at"),
        ("Date Account Opened", "created_at"),
        ("Last Date Modified", "updated_at"),
        ("Sidst ændret", "updated_at"),
        ("dias_pago", None),
        ("dias_credito", "net_terms"),
        ("default_payment_terms_in_days", "net_terms"),
        ("N° TVA intracommunautaire", "tax_id"),
        ("sales_tax_registration_number", "tax_id"),
        ("send_invoices_to_email", "billing_contact_email"),
        ("E-post faktura", "billing_contact_email"),
        ("land_iso", "country"),
        ("Country/Region Code", "country"),
        ("cod_postal", "zip_code"),
        ("Contact Number", "phone"),
        ("Company Number", None),
        ("Business Number", None),
        ("Person Nr", None),
        ("Tax Code", None),
        ("VAT Code", None),
        ("Add-on", None),
        ("Tenant ID", None),
        ("Partner ID", None),
        ("Account Email", "email"),
        ("Customer State", "state"),
        ("Sales Email", None),
        ("Converted Date", None),
        ("Days Due", None),
        ("Last login at", None),
        ("Birth date", None),
        ("Plan", None),
        ("", None),
        ("(UTC)", None),
    ],
)
def test_names_are_known(column, field):
    assert list(match([column], {})) == ([field] if field else [])


@pytest.mark.parametrize(
    ("header", "external_id"),
    [
        ("Code;Naam;Adresregel 1;Postcode", "Code"),
        ("Codice;Denominazione;Indirizzo;CAP;Partita IVA", "Codice"),
        ("Nr.;Navn;Adresse;Postnr.;By;CVR-nr.", "Nr."),
        ("No.;Name;Address;City;VAT Registration No.", "No."),
        ("ID;Código;Nome", "ID"),
        ("No.;Name;Email;Phone", None),  # lines of a list
        ("Name;Email;Straße;Nr;PLZ;Ort;USt-IdNr.", None),
        ("Name;Email;Street;Code;City;VAT Number", None),
        ("Name;Email;Code;City", None),
        ("Nome;Email;Endereço;Complemento;Número;CNPJ", None),
        ("Email;Name;Discount Code", None),
        ("Code;Discount;Email;Name", None),
    ],
)
def test_a_bare_number_is_an_id_where_it_can_be_nothing_else(header, external_id):
    fit = match(header.split(";"), {}).get("external_id")
    assert (fit.column if fit else None) == external_id


@pytest.mark.parametrize(
    ("header", "state"),
    [
        ("Nombre;Municipio;Estado;País", "Estado"),
        ("Nombre;Estado;Email;Ciudad", None),
        ("Nombre;Ciudad;Provincia;Estado", "Provincia"),
        ("Nome;Cidade;UF", "UF"),
        ("Name;UF", None),
        ("Nom;Ville;Département", "Département"),
        ("Nom;Ville;Canton;Fonction;Département", "Canton"),
    ],
)
def test_a_word_with_two_meanings_is_a_place_beside_places(header, state):
    fit = match(header.split(";"), {}).get("state")
    assert (fit.column if fit else None) == state


def test_columns_of_days_precede_keys_of_terms():
    found = mapped("Konto-Nr", "Name", "Email", "Zahlungsbedingung", "Fälligkeit in Tagen (Debitor)")
    assert found.fields["net_terms"] == "Fälligkeit in Tagen (Debitor)"


def test_the_first_of_numbered_addresses_is_used():
    parts = ("Address Line 1 - {}", "Address Line 2 - {}", "Address City - {}", "Address Zip - {}")
    columns = [part.format(number) for number in (2, 1) for part in parts]
    found = mapped("ID", "Name", *columns)
    fields = ("address_line1", "address_line2", "city", "zip_code")
    assert [found.built[name].alternatives for name in fields] == [
        ((columns[4 + at],), (columns[at],)) for at in range(4)
    ]


def test_an_address_is_taken_from_one_role():
    found = mapped("id", "name", "Shipping Street", "Shipping City", "Billing Street", "Billing City", "Country")
    assert str(found.built["address_line1"]) == "Billing Street | Shipping Street"
    assert str(found.built["city"]) == "Billing City | Shipping City"
    assert found.built["city"].addresses == ("billing", "shipping")
    assert found.fields["country"] == "Country"
    assert 'where the address of "Billing Street" is blank, that of "Shipping Street" is used as a whole' in found.notes


def test_a_prefix_of_all_names_is_no_role_of_an_address():
    parts = ("Name", "Country", "PostStreet", "PostPostcode", "PostPostArea")
    of_invoice = ("InvoiceStreet", "InvoicePostCode", "InvoicePostArea", "InvoiceCountry")
    found = mapped("Company ID", *(f"Company{part}" for part in (*parts, *of_invoice)))
    assert found.fields["external_id"] == "Company ID"
    assert str(found.built["address_line1"]) == "CompanyInvoiceStreet | CompanyPostStreet"
    assert str(found.built["city"]) == "CompanyInvoicePostArea | CompanyPostPostArea"
    assert str(found.built["country"]) == "CompanyInvoiceCountry | CompanyCountry"
    assert "mail_address" not in mapped("id", "name", "mail_address").fields.values()


def test_the_id_of_a_payment_card_identifies_nobody():
    assert mapped("Card ID", "Name").fields["external_id"] == "Card ID"
    assert "external_id" not in mapped("Card ID", "Name", "Email", "Card Last4").fields


def test_secrets_are_left_out_and_named_unless_mapped():
    found = mapped("id", "name", "user_pass", "IBAN", "Password Changed At", "IBAN-Nr. 1", "Bankkonto-Nummer 1")
    assert found.extra == ("Password Changed At",)
    assert '"user_pass", "IBAN", "IBAN-Nr. 1", "Bankkonto-Nummer 1" contain secrets and are left out' in "".join(
        found.notes
    )
    assert mapped("id", "name", "IBAN", fields={"tax_id": "IBAN"}).fields["tax_id"] == "IBAN"


@pytest.mark.parametrize(
    ("account", "bank"),
    [
        ("account_number", "routing_number"),
        ("Account No", "Sort Code"),
        ("Kontonr", "BLZ"),
        ("Konto-Nr.", "Bankleitzahl"),
    ],
)
def test_an_account_beside_the_code_of_its_bank_is_a_secret(account: str, bank: str) -> None:
    found = mapped("Name", "Email", bank, account)
    assert "external_id" not in found.fields
    assert account not in found.extra
    assert f'"{account}"' in "".join(found.notes)
    assert "Account Number" not in mapped("id", "Name", "Bank Name", "Account Number", "BIC").fields.values()
    far = mapped(account, "Name", "Email", "Phone", bank)
    assert f'"{account}" contains a secret' not in "".join(far.notes)


def test_a_time_in_utc_precedes_the_one_of_the_shop() -> None:
    found = propose([Layout("in.csv", ("email", "name", "date_created", "date_created_gmt"))], Reading(source="in.csv"))
    assert found.fields["created_at"] == "date_created_gmt"
    assert found.others["created_at"] == ("date_created",)


def test_a_state_beside_that_of_the_address_is_the_status() -> None:
    columns = ("email", "name", "state", "address.city", "address.region")
    found = propose([Layout("in.json", columns)], Reading(source="in.json"))
    assert (found.fields["status"], found.fields["state"]) == ("state", "address.region")


@pytest.mark.parametrize("column", ["IsDeleted", "Active", "Disabled", "archived_at", "Deleted"])
def test_flags_of_deleted_records_are_known(column):
    assert [flag.column for flag in mapped("id", "name", column).flags] == [column]


def test_flags_and_secrets_are_known_behind_the_prefix_of_all_names() -> None:
    found = mapped("OXID", "OXACTIVE", "OXPASSSALT", "OXLNAME", "OXCITY", "OXZIP", "OXFON", "OXUSTID")
    assert (found.fields["external_id"], found.fields["city"]) == ("OXID", "OXCITY")
    assert [flag.column for flag in found.flags] == ["OXACTIVE"]
    assert '"OXPASSSALT" contains a secret' in "".join(found.notes)


def test_the_number_of_a_contact_is_a_key_beside_a_phone_number() -> None:
    assert mapped("id", "name", "Phone No.", "Primary Contact No.").fields["phone"] == "Phone No."
    assert mapped("id", "name", "Contact No.").fields["phone"] == "Contact No."


def test_a_guest_is_a_person_and_not_the_one_who_booked() -> None:
    columns = ("Buyer First Name", "Buyer Last Name", "Buyer Email", "Attendee First Name", "Attendee Email")
    found = propose([Layout("in.csv", columns)], Reading(source="in.csv"))
    assert (str(found.built["name"]), found.fields["email"]) == ("Buyer First Name + Buyer Last Name", "Buyer Email")
    found = propose(
        [Layout("in.csv", ("Teilnehmer-Nr.", "Teilnehmer Name", "Teilnehmer E-Mail"))], Reading(source="in.csv")
    )
    assert found.fields == {
        "external_id": "Teilnehmer-Nr.",
        "name": "Teilnehmer Name",
        "email": "Teilnehmer E-Mail",
    }


def test_a_place_of_work_is_no_address_beside_that_of_invoices() -> None:
    found = mapped("id", "name", "Bill To Street", "Bill To City", "Location Street", "Location City")
    assert str(found.built["city"]) == "Bill To City | Location City"
    assert mapped("id", "name", "Location City").fields["city"] == "Location City"
    found = mapped("id", "name", "Property Address", "Property City", "Mailing Address", "Mailing City")
    assert str(found.built["city"]) == "Mailing City | Property City"
    assert mapped("id", "name", "property_city").fields["city"] == "property_city"


def test_columns_nobody_maps_are_extra():
    found = mapped("Customer ID", "Name", "Plan")
    assert found.fields == {"external_id": "Customer ID", "name": "Name"}
    assert found.extra == ("Plan",)
    assert "metadata" in found.targets


@pytest.mark.parametrize(
    ("field", "first", "second"),
    [
        ("external_id", "Customer ID", "Account No"),
        ("language", "Preferred Language", "Locale"),
        ("created_at", "Signup Date", "Date Added"),
        ("net_terms", "Payment Terms", "Terms"),
    ],
)
def test_the_second_of_two_that_fit_may_only_repeat_the_first(field: str, first: str, second: str) -> None:
    found = mapped("id" if field != "external_id" else "Plan", first, second, "Name", "uid")
    assert (found.fields[field], found.rivals[field]) == (first, (second,))
    assert any(f'"{second}" would also match' in note or f'"{second}" and' in note for note in found.notes)


def test_a_told_column_settles_it_and_the_other_is_kept():
    found = mapped("Customer ID", "Account No", "Name", fields={"external_id": "Account No"})
    assert found.fields["external_id"] == "Account No"
    assert found.extra == ("Customer ID",)


def test_the_fields_own_name_wins_over_synonyms():
    assert mapped("external_id", "id", "name").fields == {"external_id": "external_id", "name": "name"}


def test_told_columns_are_found_over_case_and_blanks():
    assert mapped("Account No", "Name", fields={"tax_id": "account_no"}).fields["tax_id"] == "Account No"


def test_an_ignored_column_is_left_out():
    found = mapped("Customer ID", "Name", "Secret", ignore="secret")
    assert "Secret" not in found.fields.values()
    assert found.extra == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": {"name": "Nmae"}}, "no column 'Nmae'. Did you mean 'Name'"),
        ({"fields": {"name": "Plan | Nmae"}}, "no column 'Nmae'. Did you mean 'Name'"),
        ({"fields": {"nmae": "Name"}}, "--map: unknown field 'nmae'. Did you mean name"),
        ({"fields": {"name": "Plan |"}}, "--map name='Plan |': a column name is missing"),
        ({"fields": {"name": ""}}, "--map name='': a column name is missing"),
        ({"ignore": "Paln"}, "--ignore: in.csv has no column 'Paln'. Did you mean 'Plan'"),
        ({"ignore": "plan", "fields": {"city": "Plan"}}, '--ignore leaves "Plan" out, but the rule of city uses it'),
        ({"values": {"stauts": {"x": "y"}}}, "--value: unknown field 'stauts'. Did you mean status"),
        ({"set": {"ctiy": "Plan"}}, "--set: unknown field 'ctiy'. Did you mean city"),
        ({"set": {"city": "upper(plan)"}}, "--set city: in.csv has no column 'plan'. Did you mean 'Plan'"),
        ({"set": {"city": "upper("}}, r"--set city 'upper\(': is not an SQL expression"),
        ({"set": {"city": "max(Plan)"}}, "involves more than one record"),
        ({"set": {"city": "first_value(Plan) over (order by Name)"}}, "involves more than one record"),
        ({"set": {"city": "(select 1)"}}, "involves more than one record"),
        ({"set": {"city": "'x'"}}, "names no column of the source. For a fixed value, use --default"),
        ({"set": {"city": "Plan"}, "fields": {"city": "Plan"}}, "city: --map and --set both give a rule"),
        ({"defaults": {"curency": "EUR"}}, "Did you mean currency"),
        ({"extra": "error"}, "unmapped columns: 'Plan'"),
    ],
)
def test_wrong_settings_are_reported(options, message):
    with pytest.raises(ConfigError, match=message):
        mapped("Customer ID", "Name", "Plan", **options)


def test_nothing_known_stops_with_an_example():
    with pytest.raises(ConfigError, match=r'--map external_id="Foo"'):
        mapped("Foo", "Bar")


def test_a_file_that_lacks_a_mapped_column_is_named():
    layouts = [Layout("a.csv", ("id", "name", "country")), Layout("b.csv", ("name", "id"))]
    with pytest.raises(ConfigError, match=r"b\.csv: has no column 'country'"):
        propose(layouts, reading())


def test_files_may_order_their_columns_as_they_like():
    layouts = [Layout("a.csv", ("id", "name")), Layout("b.csv", ("name", "id", "Plan"))]
    assert propose(layouts, reading()).fields == {"external_id": "id", "name": "name"}


def test_the_customer_number_precedes_the_reference_of_another_system():
    assert mapped("CustomerNumber", "ExternalReference", "Name").fields["external_id"] == "CustomerNumber"
    assert mapped("id", "ExternalReference", "Name").fields["external_id"] == "ExternalReference"


def test_a_province_precedes_a_region():
    assert mapped("id", "name", "Città", "Regione", "Prov.").fields["state"] == "Prov."
    assert mapped("id", "name", "City", "Region").fields["state"] == "Region"


def test_columns_of_a_rejects_file_say_nothing():
    assert mapped("id", "name", "_source", "_line", "_codes", "_reasons", "_text").extra == ()


def test_defaults_are_targets():
    assert "currency" in mapped("id", "name", defaults={"currency": "EUR"}).targets


def test_a_field_is_built_from_columns():
    found = mapped("id", "first name", "Last_Name", "Firma", fields={"name": "firma | First Name + last name"})
    assert found.built["name"].alternatives == (("Firma",), ("first name", "Last_Name"))
    assert str(found.built["name"]) == "Firma | first name + Last_Name"
    assert found.extra == ()
    both = ["name", "billing_contact_name"]
    assert found.by_column == {"id": "external_id", "Firma": "name", "first name": both, "Last_Name": both}


def test_a_column_that_a_rule_uses_still_feeds_its_own_field():
    found = mapped("id", "Email", "Name", fields={"billing_contact_email": "Email"})
    assert found.fields == {"external_id": "id", "email": "Email", "name": "Name", "billing_contact_email": "Email"}


def test_a_column_that_a_rule_uses_is_out_of_question_where_another_fits():
    found = mapped("Customer ID", "Account No", "Name", fields={"tax_id": "Account No"})
    assert found.fields["external_id"] == "Customer ID"


def test_an_ambiguous_spelling_is_reported():
    with pytest.raises(ConfigError, match=r"'PLAN' could be 'Plan' and 'plan'\. Write the name as in the header"):
        mapped("id", "name", "Plan", "plan", fields={"city": "PLAN"})
    assert mapped("id", "name", "Plan", "plan", fields={"city": "plan"}).fields["city"] == "plan"


@pytest.mark.parametrize("column", ["A | B", "C+D", '"x"', ' y"z ', "", "a=b", 'say "hi"'])
def test_every_column_can_be_named(column):
    assert mapped("id", "name", column, fields={"city": quoted(column)}).fields["city"] == column
    assert parse(f"{quoted(column)} | B + {quoted(column)}") == ((column,), ("B", column))


def test_a_column_that_needs_quotes_is_named_with_them():
    with pytest.raises(ConfigError, match="--map 'city=\"C\\+D\"'"):
        mapped("id", "name", "C+D", fields={"city": "C+D"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Account No": "external_id"}, '--map: the field comes first: --map external_id="Account No"'),
        ({"account no": "name"}, '--map: the field comes first: --map name="Account No"'),
        ({"name": "legal_name"}, '--map: the field comes first: --map legal_name="name"'),
        ({"Plan": ""}, '--map: to leave a column out, type: --ignore "Plan"'),
    ],
)
def test_the_old_way_round_is_answered_with_the_new(fields, message):
    with pytest.raises(ConfigError) as error:
        mapped("Account No", "name", "Plan", fields=fields)
    assert str(error.value) == message


def test_all_that_is_wrong_is_reported_together():
    with pytest.raises(ConfigError) as error:
        mapped("id", "name", fields={"city": "Ctiy", "x": "id"}, ignore=["Plan"], set={"state": "lower("})
    assert len(str(error.value).splitlines()) == 4


def test_a_missing_column_is_accepted_and_said():
    layouts = [Layout("a.csv", ("id", "name", "country")), Layout("b.csv", ("name", "id")), Layout("empty.csv", ())]
    found = propose(layouts, reading(allow_missing=True))
    assert found.fields["country"] == "country"
    assert found.notes == ("b.csv: has no column 'country' (country), which other files of this run have.",)


def test_a_new_column_is_named_with_its_file():
    columns = ("id", "name")
    layouts = [Layout("a.csv", columns), *(Layout(f"{n}.csv", (*columns, "Plan")) for n in "bc")]
    assert propose(layouts, reading()).notes == (
        "b.csv and 1 more file: column 'Plan' is not in the other files; it is kept in metadata",
    )
    assert propose(layouts[:2], reading(extra="drop")).notes == (
        "b.csv: column 'Plan' is not in the other files; it is dropped",
    )


@pytest.mark.parametrize(
    ("header", "options", "problems"),
    [
        (("id", "Kundennam", "Plan"), {}, ['name: no matching column. Candidates: "Kundennam". Try --map name="Kundennam"']),
        (("name", "Ownr-ID", "Plan"), {}, ['external_id or email: no matching column. Candidates: "Ownr-ID". Try --map external_id="Ownr-ID"']),
        (("city", "Plan"), {}, ['name: no matching column. Candidates: "Plan". Try', "external_id or email: no matching column"]),
        (("name", "Middle", "owner_id", "Confirm"), {}, ['Candidates: "owner_id". Try --map external_id="owner_id"']),
        (("city", "Plan"), {"ignore": "Plan"}, ['Candidates: "city". Try', 'Candidates: "city". Try']),
        (("id", "city"), {"defaults": {"name": "Unknown"}}, []),
        (("email", "city"), {"set": {"name": "upper(city)"}}, []),
        (("email", "A"), {"fields": {"name": "A"}}, []),
        (("id", "Customer Name", "Client Name", "phone", "Plan"), {"extra": "error"}, ["columns match name", "unmapped columns"]),
        ((), {}, []),
    ],
)  # fmt: skip
def test_a_mandatory_field_that_nothing_can_fill_stops_before_reading(header, options, problems):
    if not problems:
        mapped(*header, **options)
        return
    with pytest.raises(ConfigError) as error:
        mapped(*header, **options)
    lines = [line for line in str(error.value).splitlines() if not line.startswith("  ")]
    assert [problem for problem, line in zip(problems, lines, strict=True) if problem not in line] == []


# Tranship's own columns --------------------------------------------------------------------------------------------


def test_the_bookkeeping_of_a_dump_is_left_out_and_named(tmp_path: Path) -> None:
    dump = tmp_path / "dump.csv"
    dump.write_text("customer_key,name,email,_run_id,_deleted_at\nemail:a@b.co,A,a@b.co,r1,2024-01-01\n")

    columns = run.inspect(reading_from_command(str(dump), {}, {}), 10)

    own = {"customer_key", "_run_id", "_deleted_at"}
    assert {column.name for column in columns.columns if column.becomes == "nothing"} == own
    assert any('"customer_key", "_run_id", "_deleted_at" are columns in which Tranship' in n for n in columns.notes)
    assert [finding.code for finding in columns.warnings] == ["record.deleted_flag"]
    mapped = run.inspect(reading_from_command(str(dump), {"fields": {"external_id": "customer_key"}}, {}), 10)
    assert mapped.columns[0].field == "external_id"


def test_one_such_column_alone_is_that_of_another_program(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("customer_key,name\n1,A\n")

    assert run.inspect(reading_from_command(str(source), {}, {}), 10).columns[0].field == "external_id"
