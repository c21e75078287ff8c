"""Addresses of DuckDB tables."""

from __future__ import annotations

import pytest

from tranship.connectors.databases.duckdb.address import parse_address
from tranship.connectors.errors import ConfigError


@pytest.mark.parametrize(
    ("spec", "path", "schema", "table", "query"),
    [
        ("duckdb:///w.duckdb", "w.duckdb", "main", "customers", None),
        ("DuckDB:///w.duckdb", "w.duckdb", "main", "customers", None),
        ("duckdb:////srv/w.duckdb?table=people", "/srv/w.duckdb", "main", "people", None),
        ("duckdb:///my%20dir/x.duckdb?table=a%20b", "my dir/x.duckdb", "main", "a b", None),
        ("duckdb:///my dir/x.duckdb?table=a b", "my dir/x.duckdb", "main", "a b", None),
        ("duckdb:///100%.duckdb?table=50%", "100%.duckdb", "main", "50%", None),
        ("duckdb:///a%3Fb%25.duckdb?table=a%26b", "a?b%.duckdb", "main", "a&b", None),
        ("duckdb:///a#b.duckdb?table=a#b", "a#b.duckdb", "main", "a#b", None),
        ("duckdb:///z%C3%BCrich.duckdb?table=東京", "zürich.duckdb", "main", "東京", None),
        ("duckdb:///w.duckdb?table=billing.customers", "w.duckdb", "billing", "customers", None),
        ('duckdb:///w.duckdb?table="a.b"', "w.duckdb", "main", "a.b", None),
        ('duckdb:///w.duckdb?table="a.b"."c""d"', "w.duckdb", "a.b", 'c"d', None),
        ('duckdb:///w.duckdb?table=billing."c.d"', "w.duckdb", "billing", "c.d", None),
        ('duckdb:///w.duckdb?table=we"ird', "w.duckdb", "main", 'we"ird', None),
        ("duckdb:///w.duckdb?query=SELECT 1+1 AS id", "w.duckdb", "main", "customers", "SELECT 1+1 AS id"),
        (
            "duckdb:///w.duckdb?query=FROM t WHERE a='b%26c' AND d LIKE 'e%'",
            *("w.duckdb", "main", "customers", "FROM t WHERE a='b&c' AND d LIKE 'e%'"),
        ),
    ],
)
def test_an_address_names_file_and_table(spec: str, path: str, schema: str, table: str, query: str | None) -> None:
    address = parse_address(spec)

    assert (str(address.path), address.schema, address.table, address.query) == (path, schema, table, query)


@pytest.mark.parametrize(
    "spec",
    [
        "duckdb:",
        "duckdb://",
        "duckdb:///",
        "duckdb:////",
        "duckdb://warehouse.duckdb",
        "duckdb://host/warehouse.duckdb",
        "duckdb:///:memory:",
        "duckdb:///w.duckdb?",
        "duckdb:///w.duckdb?customers",
        "duckdb:///w.duckdb?table",
        "duckdb:///w.duckdb?table=",
        "duckdb:///w.duckdb?Table=x",
        "duckdb:///w.duckdb?tables=x",
        "duckdb:///w.duckdb?table=x&",
        "duckdb:///w.duckdb?table=x&table=y",
        "duckdb:///w.duckdb?table=x&query=y",
        "duckdb:///w.duckdb?table=.x",
        "duckdb:///w.duckdb?table=x.",
        "duckdb:///w.duckdb?table=a.b.c",
        'duckdb:///w.duckdb?table="a',
        'duckdb:///w.duckdb?table=""',
        "duckdb:///%00.duckdb",
        "duckdb:///w.duckdb?table=a%00b",
        "duckdb:///%ff.duckdb",
        "duckdb:///\udcff.duckdb",
    ],
)
def test_an_address_that_cannot_be_meant_is_explained(spec: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_address(spec)

    str(raised.value).encode()
