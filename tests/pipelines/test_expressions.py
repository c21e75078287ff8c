"""Expressions that would read files or other tables, which polars does as soon as it parses them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from aiohttp import web

from support.served import served
from tranship.connectors.errors import ConfigError
from tranship.pipelines import expressions

FORMS = (
    "id in (select a from {0}('{1}'))",
    "id in (from {0}('{1}'))",
    "(select count(*) from {0}('{1}')) > 0 and id = '1'",
    "exists (select 1 from {0} ('{1}'))",
    "exists (select 1 from \"{0}\"('{1}'))",
    "exists (select 1 from `{0}`('{1}'))",
    "exists (select 1 from {0}/* ' */('{1}'))",
    "id = '1' -- '\nor exists (select 1 from {0}('{1}')) -- '",
)
READERS = ("read_csv", "READ_CSV", "read_parquet", "read_ipc", "read_json", "read_ndjson")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reader", READERS)
def test_no_expression_reads_a_file_or_a_url(reader: str, form: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n1\n")
    for is_condition in (True, False):
        with pytest.raises(ConfigError, match="reads a file") as raised:
            expressions.parse("--where", form.format(reader, tmp_path / "secret"), is_condition=is_condition)
        assert "hunter2" not in str(raised.value)


def test_no_expression_sends_a_request() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text="id\n1\n")

    with served(handler) as server:
        with pytest.raises(ConfigError):
            expressions.parse("--where", FORMS[0].format("read_csv", f"{server.url}/a.csv"), is_condition=True)
        assert server.calls == []


OTHERS = (
    *("scan_csv", "scan_parquet", "scan_ipc", "scan_ndjson", "scan_delta", "scan_iceberg", "read_avro", "read_delta"),
    *("read_excel", "read_database", "read_text", "read_blob", "read_lines", "glob", "parquet_scan", "csv_scan"),
)


@pytest.mark.parametrize("name", OTHERS)
def test_polars_has_no_other_function_that_reads(name: str) -> None:
    with pytest.raises(pl.exceptions.PolarsError, match="is not a supported table function"):
        pl.sql_expr(FORMS[0].format(name, "x"))


@pytest.mark.parametrize("relation", ["self", "df", "'x.csv'", '"x.csv"'])
def test_an_expression_has_no_tables(relation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("id\n1\n")
    df = pl.DataFrame({"id": ["1"]})
    with pytest.raises(ConfigError):
        expressions.parse("--where", f"id in (select id from {relation})", is_condition=True)
    assert df.height == 1
