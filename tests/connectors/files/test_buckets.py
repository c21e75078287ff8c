"""Google Cloud Storage and Azure are read and written like S3 (`test_cloud_object.py`), by servers that speak their APIs."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from support import object_stores
from support.object_stores import Store
from support.source_ids import ids
from tranship.connectors.errors import ConfigError, Unreachable
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.report import Report

pytest.importorskip("obstore")

CUSTOMERS = "id,email,name\n1,ann@acme.com,Ann\n2,bea@acme.com,Bea\n"
DAILY = {
    "daily/a.csv": b"id,name\n1,A\n",
    "daily/b.csv": b"id,name\n2,B\n",
    "daily/c.csv.gz": gzip.compress(b"id,name\n3,C\n"),
    "daily/readme.md": b"no data",
    "daily/deep/d é.csv": b"id,name\n4,D\n",
}


@pytest.fixture(params=["gs", "az"])
def bucket(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Store]]:
    """The address of a bucket, and the server with its objects."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text(CUSTOMERS)
    with object_stores.google_storage() if request.param == "gs" else object_stores.azure_storage() as store:
        account = {"gcs_base_url": store.url, "disable_oauth": True, "client_email": "", "private_key": ""}
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps({**account, "private_key_id": ""}))
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", object_stores.AZURE_KEY)
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{store.url}/account")
        monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
        store.objects.update({("exports", key): (body, {}) for key, body in DAILY.items()})
        yield f"{request.param}://exports", store


def load(source: str, destination: str, **options: object) -> Report:
    return flow.run(
        settings.load({"source": source, "destination": destination, "state_dir": ".tranship", **options}, {})
    )


def test_objects_patterns_and_prefixes_are_read(bucket: tuple[str, Store]) -> None:
    root, _ = bucket
    assert ids(f"{root}/daily/a.csv") == ["1"]
    assert ids(f"{root}/daily/c.csv.gz") == ["3"]
    assert ids(f"{root}/daily/*.csv") == ["1", "2"]
    assert ids(f"{root}/daily/") == ["1", "2", "3", "4"]
    with pytest.raises(ConfigError, match="no object matches"):
        ids(f"{root}/daily/*.tsv")
    with pytest.raises((ConfigError, Unreachable), match="exports"):
        ids(f"{root}/daily/none.csv")


def test_a_parquet_file_is_read_in_pieces(bucket: tuple[str, Store]) -> None:
    root, store = bucket
    buffer = io.BytesIO()
    pl.DataFrame({"id": range(5000), "name": [os.urandom(20).hex() for _ in range(5000)]}).write_parquet(buffer)
    store.objects["exports", "all.parquet"] = (buffer.getvalue(), {})
    assert ids(f"{root}/all.parquet")[-1] == "4999"


def test_an_object_is_written_reads_back_and_is_replaced(bucket: tuple[str, Store]) -> None:
    root, store = bucket
    destination = f"{root}/written/a.jsonl.gz"
    assert load("in.csv", destination).counts.created == 2
    assert load("in.csv", destination).notes[-1] == f"{destination} exists; this run replaces it"
    load(destination, "back.csv")
    assert pl.read_csv("back.csv")["email"].to_list() == ["ann@acme.com", "bea@acme.com"]
    assert [key for _, key in store.objects if "written" in key] == ["written/a.jsonl.gz"]


def test_an_object_of_another_program_is_left_alone(bucket: tuple[str, Store]) -> None:
    root, store = bucket
    with pytest.raises(ConfigError, match="exists, and Tranship did not write it"):
        load("in.csv", f"{root}/daily/a.csv")
    assert store.objects["exports", "daily/a.csv"][0] == DAILY["daily/a.csv"]
    load("in.csv", f"{root}/daily/a.csv", overwrite=True)
    assert b"ann@acme.com" in store.objects["exports", "daily/a.csv"][0]


def test_a_large_object_is_written_in_parts(bucket: tuple[str, Store]) -> None:
    root, store = bucket
    with Path("in.csv").open("w") as out:
        out.write("id,email,name,city\n")
        out.writelines(f"c{i},c{i}@acme.com,{os.urandom(120).hex()},{os.urandom(120).hex()}\n" for i in range(11_000))
    load("in.csv", f"{root}/large.csv")
    assert store.whole_puts == 0
    assert len(store.objects["exports", "large.csv"][0].splitlines()) == 11_001


def test_a_missing_bucket_is_reported(bucket: tuple[str, Store]) -> None:
    root = bucket[0].replace("exports", "nowhere")
    with pytest.raises(Unreachable, match=r"nowhere/a\.csv: cannot be written .* Check the name of the bucket"):
        load("in.csv", f"{root}/a.csv")


def test_without_credentials_the_message_says_what_is_missing(
    bucket: tuple[str, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", "{")
    with pytest.raises(Unreachable, match=r"cannot be opened .* credentials in the environment"):
        ids(f"{bucket[0]}/daily/a.csv")
