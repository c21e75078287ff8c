"""Names of data sets, by the conventions of OpenLineage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.pipelines.operation.lineage_datasets import dataset

HERE = str(Path.cwd())


@pytest.mark.parametrize(
    ("address", "namespace", "name"),
    [
        ("crm.csv", "file", f"{HERE}/crm.csv"),
        ("/srv/crm/*.csv", "file", "/srv/crm/*.csv"),
        ("s3://bucket/a b/crm.csv", "s3://bucket", "a b/crm.csv"),
        ("gs://bucket/crm/*.csv.gz", "gs://bucket", "crm/*.csv.gz"),
        ("https://ann:hush@files.example:8443/x/crm.csv?token=hush", "https://files.example:8443", "/x/crm.csv"),
        ("postgresql://ann:hush@DB.example/sales?table=billing.customers", "postgres://db.example:5432", "sales.billing.customers"),
        ("postgres://db:6543/sales", "postgres://db:6543", "sales.public.customers"),
        ("postgresql:///sales?host=/run/pg&table=t", "postgres:///run/pg:5432", "sales.public.t"),
        ('postgresql://db/sales?table="a.b"."c.d"', "postgres://db:5432", "sales.a.b.c.d"),
        ("postgresql://db/sales?query=select 1", "postgres://db:5432", "sales.public.(query)"),
        ("duckdb:///w.duckdb?table=x", f"duckdb://{HERE}/w.duckdb", "main.x"),
        ("duckdb:////srv/w.duckdb", "duckdb:///srv/w.duckdb", "main.customers"),
        ("metronome://", "metronome", "customers"),
        ("marginfront://127.0.0.1:0/", "marginfront://127.0.0.1", "customers"),
        ("-", "inmemory://", "standard stream"),
        ("postgresql://[broken/sales", "postgresql", "postgresql://[broken/sales"),
    ],
)  # fmt: skip
def test_an_address_is_a_data_set(address: str, namespace: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PGHOST", "PGPORT", "PGDATABASE"):
        monkeypatch.delenv(variable, raising=False)

    assert dataset(address) == (namespace, name)
    assert "hush" not in "".join(dataset(address))
