"""Initial customers: generated, or from a file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.sandboxes import Start
from tranship.connectors.api.json_codec import decode
from tranship.connectors.errors import ConfigError
from tranship.connectors.sandbox import seed
from tranship.connectors.sandbox.server import Server
from tranship.schemas.customer import COLUMNS, Customer
from tranship.schemas.providers.marginfront import SCHEMA


def test_generated_customers_are_canonical_and_the_same_each_time() -> None:
    made = seed.customers(2000)
    Customer.validate(made)
    assert made.equals(seed.customers(2000))
    assert made.slice(1000).equals(seed.customers(1000, 1000))
    for name in ("external_id", "email"):
        assert made[name].str.to_lowercase().n_unique() == 2000
    for name in ("country", "customer_type", "created_at", "name"):
        assert made[name].null_count() == 0
    # Varied: nulls and values in every other column, more than one alphabet, long names, nested metadata.
    for name in COLUMNS:
        if name not in ("external_id", "email", "name", "country", "customer_type", "created_at", "currency", "city"):
            assert made[name].null_count() > 0 or name in ("timezone", "language"), name
    assert made["country"].n_unique() > 5
    assert made["name"].str.contains(r"\p{Han}").any()
    assert (made["name"].str.len_chars() > 160).any()


def test_a_seed_comes_back_as_it_was(sandbox: Start) -> None:
    front = sandbox("marginfront", seed=600)
    back = decode(SCHEMA, [json.dumps(front.state())])
    assert back.broken.is_empty()
    wanted = seed.customers(600)
    for name in ("external_id", "email", "name", "country", "city", "status", "tax_id", "legal_name", "currency"):
        assert back.records[name].to_list() == wanted[name].to_list(), name


def test_seeded_customers_are_of_one_age_each(sandbox: Start) -> None:
    front = sandbox("marginfront", seed=100)
    created = [one["createdAt"] for one in front.state()]
    assert created[:2] == ["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z"]
    assert created == sorted(set(created))
    before = datetime.now(UTC).isoformat(timespec="milliseconds")[:23]
    created_now = front.call("POST", "/v1/customers", {"name": "N"}, {"x-api-key": "mf_sk_test_1"})
    assert created_now.json["createdAt"] >= before


def test_a_seed_out_of_a_file(sandbox: Start, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text(
        "external_id,name,email,net_terms,invoice_cc_emails,created_at,metadata\n"
        'a,Ärzte & Co,a@b.example,15,"[""c@d.example""]",2020-01-02T03:04:05Z,"{""seats"":3}"\n'
        "b,Second,,,,,\n"
    )
    first, second = sandbox("marginfront", seed=file).state()
    assert (first["externalId"], first["name"], first["netTerms"]) == ("a", "Ärzte & Co", 15)
    assert first["invoiceEmailRecipients"] == ["c@d.example"]
    assert (first["metadata"]["seats"], first["metadata"]["canon_created_at"]) == (3, "2020-01-02T03:04:05Z")
    assert (second["externalId"], second["email"]) == ("b", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("external_id,Company\n1,a\n", "may only have canonical columns, not Company"),
        ("external_id,name,created_at\n1,a,2020-01-01T00:00:00Z\n2,b,yesterday\n", "created_at of record 2"),
        ("external_id,name,net_terms\n1,a,soon\n", "net_terms of record 1"),
        ("external_id,name,aliases\n1,a,b;c\n", "aliases of record 1"),
        ("", "is not a CSV file"),
    ],
)
def test_a_file_that_is_no_seed_is_refused_with_a_message(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "customers.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Server("marginfront", seeding=file)
    with pytest.raises(ConfigError, match="cannot be read"):
        Server("marginfront", seeding=tmp_path / "missing.csv")


def test_what_the_provider_refuses_of_a_seed_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("external_id,name,email\na,A,a@b.example\na,Twice,c@b.example\nb,B,\n,C,d@b.example\n")
    server = Server("marginfront", seeding=file)
    assert server.notes == ["refused 1 customer: marginfront answers 409 to it"]
    server = Server("blackwalnut", seeding=file)
    assert [note.partition(": ")[0] for note in server.notes] == ["refused 1 customer"] * 2
    assert any("email.missing" in note for note in server.notes)
    assert len(server.api.customers) == 2
