"""Addresses of Postgres tables."""

from __future__ import annotations

import pytest

from tranship.connectors.addresses import redacted
from tranship.connectors.databases.postgres.address import parse_address
from tranship.connectors.errors import (
    ConfigError,
)

SECRET = "s3cr3t-w0rd"


@pytest.mark.parametrize(
    ("spec", "server", "schema", "table", "query", "shown"),
    [
        ("postgresql://h/db", "postgresql://h/db", None, "customers", None, "h/db"),
        ("postgres://h/db", "postgresql://h/db", None, "customers", None, "h/db"),
        ("PostgreSQL://u:p@h:5/db?table=t", "postgresql://u:p@h:5/db", None, "t", None, "h/db"),
        ("postgresql://h/db?table=billing.customers", "postgresql://h/db", "billing", "customers", None, "h/db"),
        ('postgresql://h/db?table="a.b"."c""d"', "postgresql://h/db", "a.b", 'c"d', None, "h/db"),
        ("postgresql://h/db?table=a%26b", "postgresql://h/db", None, "a&b", None, "h/db"),
        (
            "postgresql://h/db?sslmode=require&table=t&connect_timeout=3",
            *("postgresql://h/db?sslmode=require&connect_timeout=3", None, "t", None, "h/db"),
        ),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg", None, "customers", None, "/run/pg/db"),
        ("postgresql://?service=prod", "postgresql://?service=prod", None, "customers", None, "prod"),
        ("postgresql://a:1,b:2/db", "postgresql://a:1,b:2/db", None, "customers", None, "several/db"),
        # As kept for a resume: libpq looks for the hidden parts elsewhere.
        ("postgresql://u:***@h/db?password=***", "postgresql://u@h/db", None, "customers", None, "h/db"),
        ("postgresql://h/db?query=SELECT 1 AS id", "postgresql://h/db", None, "customers", "SELECT 1 AS id", "h/db"),
    ],
)
def test_an_address_names_server_and_table(
    spec: str, server: str, schema: str | None, table: str, query: str | None, shown: str
) -> None:
    address = parse_address(spec)

    found = (address.server, address.schema, address.table, address.query, address.shown)
    assert found == (server, schema, table, query, shown)


@pytest.mark.parametrize(
    "spec",
    [
        "postgresql://h/db?table=",
        "postgresql://h/db?table=x&table=y",
        "postgresql://h/db?table=x&query=y",
        "postgresql://h/db?table=a.b.c",
        'postgresql://h/db?table="a',
        "postgresql://h/db?table=a%00b",
        "postgresql://h/%ff",
        f"postgresql://h/db?table={'ü' * 32}",
        f"postgresql://h/db?table={'s' * 64}.t",
        "postgresql://h:port/db",
        f"postgresql://u:{SECRET}@x@h/db",
        f"postgresql://u:{SECRET}/x@h/db",
    ],
)
def test_an_address_that_cannot_be_meant_is_explained(spec: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_address(spec)

    assert SECRET not in str(raised.value)


def test_an_address_does_not_show_its_password() -> None:
    assert SECRET not in repr(parse_address(f"postgresql://u:{SECRET}@h/db?password={SECRET}"))


@pytest.mark.parametrize("user", ["", "ann@", "ann:p%40w@", "an%40n:pw@"])
@pytest.mark.parametrize("place", ["h/my%40db", "h/a%2Fb", "h1,h2/db", "[::1]/my%40db"])
@pytest.mark.parametrize(
    "options", ["table=a@b", 'table="x@y.z".t', "query=select '@/?#:'", "host=/tmp/a@b", "sslkey=/k@y&user=a@b"]
)
def test_what_a_manifest_keeps_is_the_same_address_without_the_password(user: str, place: str, options: str) -> None:
    given = f"postgresql://{user}{place}?{options}"
    kept, without = parse_address(redacted(given)), given.replace(":p%40w@", "@").replace(":pw@", "@")
    assert kept == parse_address(without)
