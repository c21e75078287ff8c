"""The mapping of users' own tables, in DuckDB."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.warehouse import Warehouse, fates, write_csv
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.schemas.customer import KEY

pytestmark = pytest.mark.slow

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def test_a_table_with_fewer_columns_takes_what_it_has_columns_for(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR)")
    report = warehouse.load([{**ANN, "city": "Rome"}])

    assert warehouse.rows() == [{"external_id": "1", "name": "Ann"}]
    assert any("email, city" in note and "not stored" in note for note in report.notes)
    assert fates(warehouse.load([{**ANN, "city": "Rome"}])) == {"unchanged": 1}


def test_evolve_adds_the_columns_that_the_source_has(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id VARCHAR, name VARCHAR)", "INSERT INTO customers VALUES ('1', 'Ann')"
    )
    report = warehouse.load([{**ANN, "city": "Rome", "Seats": "3"}], evolve=True)

    assert fates(report) == {"updated": 1}
    assert report.changed_fields == {"city": 1, "email": 1, "metadata": 1}
    assert [row["column_name"] for row in warehouse.rows("DESCRIBE customers")] == [
        *("external_id", "name", "email", "city", "metadata")
    ]


def test_evolve_writes_no_column_in_a_dry_run(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR)")
    warehouse.load([ANN], evolve=True, dry_run=True)

    assert [row["column_name"] for row in warehouse.rows("DESCRIBE customers")] == ["external_id", "name"]


def test_columns_are_recognised_by_name(warehouse: Warehouse) -> None:
    warehouse.do(
        'CREATE TABLE customers ("CustomerId" VARCHAR, "EMail" VARCHAR, "Company Name" VARCHAR, extra INTEGER)'
    )
    warehouse.load([ANN])

    assert warehouse.rows() == [{"CustomerId": "1", "EMail": "ann@acme.com", "Company Name": "Ann", "extra": None}]
    assert fates(warehouse.load([{**ANN, "name": "Anna"}])) == {"updated": 1}


def test_an_e_mail_in_capitals_is_the_same_customer(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (email VARCHAR, name VARCHAR)", "INSERT INTO customers VALUES ('ANN@Acme.com', 'A')"
    )

    assert fates(warehouse.load([{**ANN, "name": None, "legal_name": "x"} | {"name": "A"}])) == {"updated": 1}
    assert warehouse.rows() == [{"email": "ann@acme.com", "name": "A"}]


def test_other_types_are_filled_as_they_can_be(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TYPE state_of AS ENUM ('active', 'it''s')",
        "CREATE TABLE customers (id BIGINT, name VARCHAR, created_at DATE, updated_at VARCHAR, metadata VARCHAR, "
        "status state_of, net_terms VARCHAR, cc_emails JSON, aliases VARCHAR, paid_started TIMESTAMP, zip INTEGER)",
    )
    record = {
        **{"id": "42", "name": "Ann", "created_at": "2024-02-03T10:00Z", "updated_at": "2024-02-03T10:00Z"},
        **{"metadata": '{"a": 1}', "status": "active", "net_terms": "30", "cc_emails": "a@b.co;c@b.co"},
        **{"aliases": "x;y", "paid_started": "2024-02-03T10:00+01:00", "zip": "12345"},
    }

    assert fates(warehouse.load([record])) == {"created": 1}
    assert warehouse.rows() == [
        {
            **{"id": 42, "name": "Ann", "created_at": datetime(2024, 2, 3, tzinfo=UTC).date()},
            **{"updated_at": "2024-02-03 10:00:00+00", "metadata": '{"a": 1}', "status": "active"},
            **{"net_terms": "30", "cc_emails": '["a@b.co","c@b.co"]', "aliases": '["x","y"]'},
            **{"paid_started": datetime(2024, 2, 3, 9), "zip": 12345},
        }
    ]
    assert fates(warehouse.load([record])) == {"unchanged": 1}


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("BIGINT", "42", "abc"),
        ("BIGINT", "42", "007"),
        ("BIGINT", "42", "4.2"),
        ("BIGINT", "42", "99999999999999999999"),
        ("UUID", "550e8400-e29b-41d4-a716-446655440000", "550e8400"),
        ("DOUBLE", "42", "x42"),
        ("ENUM ('a', 'it''s')", "it's", "b"),
    ],
)
def test_an_id_that_would_not_stay_what_it_is_is_refused(warehouse: Warehouse, dtype: str, good: str, bad: str) -> None:
    warehouse.do(f"CREATE TABLE customers (customer_id {dtype}, name VARCHAR)")
    records = [{**ANN, "external_id": good}, {**BOB, "external_id": bad}]

    for fate in ("created", "unchanged"):
        report = warehouse.load(records)
        assert fates(report) == {fate: 1, "refused": 1}
        assert [reason.split(" ")[0] for reason in report.refused_by_reason] == ["does_not_fit:"]
    assert warehouse.column("name") == ["Ann"]


def test_ids_that_one_column_holds_as_the_same_value_are_not_doubled(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (customer_id UUID, name VARCHAR)")
    low = "550e8400-e29b-41d4-a716-446655440000"
    records = [{**ANN, "external_id": low}, {**BOB, "external_id": low.upper()}]

    for fate in ("created", "unchanged"):
        report = warehouse.load(records)
        assert fates(report) == {fate: 1, "refused": 1}
        assert report.refused_by_reason == {"taken: customer_id": 1}


@pytest.mark.parametrize(
    ("dtype", "field", "value"),
    [
        ("DATE", "name", "Bob"),
        ("INTEGER", "zip_code", "AB 12"),
        ("INTEGER", "zip_code", "01067"),
        ("BIGINT", "tax_id", "007"),
        ("BIGINT", "zip_code", "10.67"),
        ("DOUBLE", "zip_code", "01067"),
        ("DECIMAL(9,2)", "zip_code", "00120"),
        ("ENUM ('active')", "status", "trial"),
        ("JSON", "name", "Bob"),
        ("TINYINT", "net_terms", "300"),
    ],
)
def test_a_value_that_does_not_fit_the_column_refuses_its_record_alone(
    warehouse: Warehouse, dtype: str, field: str, value: str
) -> None:
    warehouse.do(f"CREATE TABLE customers (external_id VARCHAR, email VARCHAR, {field} {dtype})")
    good = {"external_id": "1", "email": "ann@acme.com", "name": "2024-01-01" if dtype == "DATE" else "1"}
    report = warehouse.load([good, {**BOB, field: value}])

    assert fates(report) == {"created": 1, "refused": 1}
    assert list(report.refused_by_reason) == [f"does_not_fit: {field} {dtype.replace('ENUM (', 'ENUM(')}"]
    assert warehouse.column("external_id") == ["1"]


def test_a_column_that_must_have_a_value_and_gets_none_stops_the_run(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR, shelf INTEGER NOT NULL)")

    with pytest.raises(ConfigError, match="column shelf must have a value"):
        warehouse.load([ANN])
    assert warehouse.rows() == []


def test_a_column_with_a_default_is_filled_by_it(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE SEQUENCE numbers",
        "CREATE TABLE customers (place BIGINT NOT NULL DEFAULT nextval('numbers'), id VARCHAR, name VARCHAR)",
    )
    warehouse.load([ANN, BOB])

    assert warehouse.column("place") == [1, 2]


def test_a_column_that_the_source_lacks_gets_its_default(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (id VARCHAR, name VARCHAR, status VARCHAR NOT NULL DEFAULT 'active')")

    assert fates(warehouse.load([ANN])) == {"created": 1}
    assert warehouse.column("status") == ["active"]


def test_a_record_without_a_value_that_the_table_wants_is_refused(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR, country VARCHAR NOT NULL)")
    report = warehouse.load([{**ANN, "country": "DE"}, {**BOB, "country": None}])

    assert fates(report) == {"created": 1, "refused": 1}
    assert report.refused_by_reason == {"must_have_a_value: country": 1}


def test_a_null_does_not_erase_a_value_that_the_table_wants(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id VARCHAR, name VARCHAR, country VARCHAR NOT NULL)")
    warehouse.load([{**ANN, "country": "DE"}])

    assert fates(warehouse.load([{**ANN, "country": None}])) == {"unchanged": 1}
    report = warehouse.load([{**ANN, "country": None}, {**BOB, "country": "FR"}], nulls="overwrite")
    assert fates(report) == {"created": 1, "refused": 1}
    assert warehouse.column("country") == ["DE", "FR"]


def test_computed_columns_are_left_to_the_table(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id VARCHAR, name VARCHAR, net_terms DECIMAL(9,2), "
        "legal_name VARCHAR GENERATED ALWAYS AS (upper(name)))"
    )
    record = {**ANN, "legal_name": "Ann Ltd", "net_terms": "30"}

    assert fates(warehouse.load([record])) == {"created": 1}
    assert fates(warehouse.load([record])) == {"unchanged": 1}
    assert warehouse.column("legal_name") == ["ANN"]


def test_a_table_that_cannot_tell_customers_apart_is_no_destination(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (name VARCHAR, city VARCHAR)")

    with pytest.raises(ConfigError, match="no column for the external id or the e-mail"):
        warehouse.load([ANN])


def test_two_columns_that_could_hold_the_id_are_not_chosen_between(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (id BIGINT, customer_id VARCHAR, email VARCHAR)")

    with pytest.raises(ConfigError, match="columns customer_id and id could both hold external_id"):
        warehouse.load([ANN])


def test_a_table_with_only_e_mails_tells_customers_apart_by_them(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (email VARCHAR, name VARCHAR)")
    records = [ANN, CY, {**BOB, "email": "ann@acme.com"}]

    for fate in ("created", "unchanged"):
        report = warehouse.load(records)
        assert fates(report) == {fate: 2, "refused": 1}
        assert report.refused_by_reason == {"taken: email": 1}
    assert warehouse.column("name") == ["Ann", "Cy"]


def test_a_table_with_only_e_mails_refuses_who_has_none(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (email VARCHAR, name VARCHAR)")
    report = warehouse.load([{**ANN, "email": None}, {**BOB, "email": "noreply@acme.com"}, CY])

    assert fates(report) == {"created": 1, "refused": 2}
    assert report.refused_by_reason == {"identifies_nobody: email": 2}


def test_a_table_with_only_ids_refuses_who_has_none(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (customer_id VARCHAR, name VARCHAR)")
    report = warehouse.load([ANN, CY])

    assert fates(report) == {"created": 1, "refused": 1}
    assert report.refused_by_reason == {"identifies_nobody: customer_id": 1}


def test_an_e_mail_that_stands_twice_in_a_table_of_e_mails_is_refused(warehouse: Warehouse) -> None:
    warehouse.do("CREATE TABLE customers (email VARCHAR, name VARCHAR)")
    warehouse.do("INSERT INTO customers VALUES ('ann@acme.com', 'A'), ('Ann@acme.com', 'B')")
    report = warehouse.load([ANN])

    assert report.refused_by_reason == {"matches_several": 1}


def test_a_table_of_keys_finds_customers_by_them(warehouse: Warehouse) -> None:
    warehouse.do(f"CREATE TABLE customers ({KEY} VARCHAR, name VARCHAR)")
    records = [ANN, CY, {**BOB, "external_id": "email:2"}]

    assert fates(warehouse.load(records)) == {"created": 3}
    assert warehouse.column(KEY) == ["1", "email:cy@acme.com", "id:email:2"]
    assert fates(warehouse.load(records)) == {"unchanged": 3}


@pytest.mark.parametrize("name", ['e"mail', "E-Mail", "e mail", "é-mail", "E_MAIL (work)"])
def test_odd_names_of_known_columns_are_quoted(warehouse: Warehouse, name: str) -> None:
    column = '"' + name.replace('"', '""') + '"'
    warehouse.do(f"CREATE TABLE customers ({column} VARCHAR UNIQUE, name VARCHAR NOT NULL)")

    assert fates(warehouse.load([ANN])) == {"created": 1}
    assert fates(warehouse.load([{**ANN, "name": "Anna"}])) == {"updated": 1}
    assert warehouse.column(column) == ["ann@acme.com"]


# Columns that the user names ----------------------------------------------------------------------------------------


def test_a_field_is_stored_in_the_column_that_the_user_names(warehouse: Warehouse) -> None:
    warehouse.do('CREATE TABLE customers (nr VARCHAR, name VARCHAR, firma VARCHAR, "E Mail!" VARCHAR)')
    columns = {"external_id": "nr", "name": "firma", "email": "E Mail!"}
    report = warehouse.load([ANN, BOB], columns=columns)

    assert warehouse.rows("SELECT * FROM customers ORDER BY nr") == [
        {"nr": "1", "name": None, "firma": "Ann", "E Mail!": "ann@acme.com"},
        {"nr": "2", "name": None, "firma": "Bob", "E Mail!": "bob@acme.com"},
    ]
    assert "stored with --column: external_id in nr, name in firma, email in E Mail!" in report.notes
    assert fates(warehouse.load([ANN, {**BOB, "name": "Bo"}], columns=columns)) == {"unchanged": 1, "updated": 1}


def test_a_named_column_is_taken_from_the_field_of_its_own_name(warehouse: Warehouse) -> None:
    warehouse.do('CREATE TABLE customers (external_id VARCHAR, "Name" VARCHAR)')
    record = {**ANN, "legal_name": "Ann Ltd"}
    report = warehouse.load([record], columns={"legal_name": "Name"}, evolve=True)

    assert warehouse.rows() == [{"external_id": "1", "Name": "Ann Ltd", "email": "ann@acme.com"}]
    assert any(note.startswith("not stored") and "name" in note for note in report.notes)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"name": "firm"}, "table customers has no column 'firm'. Did you mean 'firma'?"),
        ({"name": "zzz"}, "Its columns are: id, firma."),
        ({"name": "upper"}, "computes the column upper itself"),
        ({"external_id": "customer_key"}, "Tranship keeps its own data in customer_key"),
        ({"name": "firma", "legal_name": "firma"}, "--column legal_name=firma: firma is also named for name."),
        ({"nam": "firma"}, "--column nam=firma: unknown field 'nam'. Did you mean name?"),
    ],
)
def test_a_column_that_cannot_be_written_stops_the_run(
    warehouse: Warehouse, columns: dict[str, str], said: str
) -> None:
    warehouse.do(
        "CREATE TABLE customers (id VARCHAR, firma VARCHAR, customer_key VARCHAR, _run_id VARCHAR, "
        "_deleted_at TIMESTAMP, upper VARCHAR AS (upper(firma)))"
    )
    with pytest.raises(ConfigError) as error:
        warehouse.load([ANN], columns=columns)

    assert said in str(error.value)
    assert error.value.report is None  # nothing was read
    assert warehouse.rows() == []


def test_columns_of_a_table_that_does_not_exist_cannot_be_named(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigError, match=r"--column name=firma: database file .* does not exist"):
        warehouse.load([ANN], columns={"name": "firma"})
    warehouse.do("CREATE TABLE other (id VARCHAR)")
    with pytest.raises(ConfigError, match=r"--column name=firma: .*table customers does not exist"):
        warehouse.load([ANN], columns={"name": "firma"})


def test_columns_of_a_file_cannot_be_named(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigError, match=r"is not a table .* For a column of the source, write --map FIELD=COLUMN"):
        warehouse.load([ANN], columns={"name": "firma"}, destination=str(warehouse.folder / "out.csv"))


def test_mirror_and_verify_use_the_named_columns(warehouse: Warehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.do("ALTER TABLE customers RENAME name TO firma")
    columns = {"name": "firma"}

    assert fates(warehouse.load([ANN], columns=columns, mode="mirror", max_deletes="1")) == {
        "unchanged": 1,
        "deleted": 1,
    }
    found = flow.verify(
        settings.load(
            {
                **{"source": str(write_csv(warehouse.folder / "b.csv", [{**ANN, "name": "Anna"}]))},
                **{"destination": warehouse.address(), "state_dir": warehouse.folder / "state", "columns": columns},
            },
            {},
        )
    )
    assert found.different_fields == {"name": 1}
