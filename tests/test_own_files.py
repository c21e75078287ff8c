"""Files of a run that are opened in spreadsheets and read again: their values are read back unchanged; and inputs that
are not regular files.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.postgres_server import Database
from support.warehouse import Warehouse, fates, rejects
from tranship.connectors import opening
from tranship.connectors.errors import ConfigError

ODD = ("=1+1", "-7A", "'-7A", "''x", "＝1", "\ufeff=1", "@a", "'s-Hertogenbosch", "+1 415")
COLUMNS = ("external_id", "email", "name")


@pytest.mark.slow
def test_rejects_come_back_as_they_were(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    records = [{"external_id": f"{odd}{n}", "email": "none of these", "name": odd} for n, odd in enumerate(ODD)]
    pl.DataFrame(records).write_parquet(tmp_path / "in.parquet")
    first = warehouse.load(tmp_path / "in.parquet")
    assert [row["name"] for row in rejects(first)][:3] == ["'=1+1", "'-7A", "''-7A"]

    again = warehouse.load(Path(first.files["rejects"]))
    found = pl.read_parquet(again.files["rejects_parquet"])
    assert found.select(COLUMNS).to_dicts() == [dict(record) for record in records]


@pytest.mark.slow
def test_a_table_through_csv_changes_nothing(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    records = [{"external_id": f"{odd}{n}", "name": f"{odd} Ltd"} for n, odd in enumerate(ODD)]
    pl.DataFrame(records).write_parquet(tmp_path / "in.parquet")
    warehouse.load(tmp_path / "in.parquet")
    warehouse.load(warehouse.address(), destination=str(tmp_path / "out.csv"))
    assert fates(warehouse.load(tmp_path / "out.csv")) == {"unchanged": len(ODD)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "header", ["external_id,email,email,name", "external_id,Email,email,name", "external_id,E-mail,E-mail,name"]
)
def test_columns_with_one_name_stop_the_run(header: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"{header}\n1,a@x.example,b@x.example,A\n")
    names = header.split(",")
    pq.write_table(pa.table([pa.array([value]) for value in ("1", "a@x.example", "b@x.example", "A")], names=names), tmp_path / "in.parquet")  # fmt: skip
    for file in ("in.csv", "in.parquet"):
        with pytest.raises(ConfigError, match="both mean email and have different values") as raised:
            Warehouse(tmp_path).load(tmp_path / file)
        second = str(raised.value).splitlines()[-1].split('"')[1]
        assert fates(Warehouse(tmp_path).load(tmp_path / file, table=file[3:], fields={"email": second}))
        assert Warehouse(tmp_path).column("email", table=file[3:]) == ["b@x.example"]


def test_a_query_names_each_column_once(tmp_path: Path, postgres_database: Database) -> None:
    with duckdb.connect(tmp_path / "x.duckdb") as connection:
        connection.execute("CREATE TABLE t (a VARCHAR, b VARCHAR)").fetchall()
    postgres_database.do("CREATE TABLE t (a text, b text)")
    for address in (f"duckdb:///{tmp_path}/x.duckdb", postgres_database.url):
        with pytest.raises(ConfigError, match="returns column email twice; give each its own name with AS"):
            opening.open_source(f"{address}?query=SELECT a AS email, b AS email FROM t")


@pytest.mark.slow
def test_pipes_on_the_command_line(tmp_path: Path) -> None:
    """Process substitution of bash, standard input by its name as a file, and closed standard input."""
    command = [sys.executable, "-m", "tranship", "run"]
    for number in (1, 2):
        rows = "".join(f"{number}-{i},C{i}\n" for i in range(100_000))
        (tmp_path / f"{number}.csv").write_text(f"external_id,name\n{rows}")
    script = f'exec "$@" <(cat 1.csv) {tmp_path}/out.csv --quiet --json </dev/null'
    done = subprocess.run(["bash", "-c", script, "bash", *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert pl.scan_csv(tmp_path / "out.csv", infer_schema=False).select(pl.len()).collect().item() == 100_000

    script = f'cat 2.csv | "$@" /dev/stdin {tmp_path}/out2.csv --quiet'
    done = subprocess.run(["bash", "-c", script, "bash", *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert pl.scan_csv(tmp_path / "out2.csv", infer_schema=False).select(pl.len()).collect().item() == 100_000

    script = f'"$@" - {tmp_path}/out3.csv <&-'
    done = subprocess.run(["bash", "-c", script, "bash", *command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        "Error: standard input: is closed. Redirect it from a file or a pipe.\n",
    )
