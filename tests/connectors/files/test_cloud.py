"""Objects in a bucket are read like files. S3 is spoken with a local server; gs:// and az:// are not tried."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import polars as pl
import pytest

from tranship.connectors.errors import ConfigError, MissingDriver, Unreachable
from tranship.connectors.opening import open_source

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def bucket():
    """A bucket on a server of its own, and the environment that points to it."""
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ALLOW_HTTP", "true")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
        patch.setenv("AWS_REGION", "us-east-1")
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="exports")
        for name, text in (("a", "id,name\n1,A\n"), ("b", "id,name\n2,B\n")):
            client.put_object(Bucket="exports", Key=f"daily/{name}.csv", Body=text.encode())
        client.put_object(Bucket="exports", Key="daily/c.csv.gz", Body=gzip.compress(b"id,name\n3,C\n"))
        client.put_object(Bucket="exports", Key="daily/readme.md", Body=b"no data")
        client.put_object(Bucket="exports", Key="daily/deep/d.csv", Body=b"id,name\n4,D\n")
        big = pl.DataFrame({"id": range(200_000), "name": [f"name {i}" for i in range(200_000)]})
        buffer = io.BytesIO()
        big.write_parquet(buffer)
        client.put_object(Bucket="exports", Key="all.parquet", Body=buffer.getvalue())
        yield client
        client.close()
    started.stop()


def ids(spec: str) -> list[str]:
    source = open_source(spec)
    try:
        return [str(value) for part in source.parts(Path("pages")) for value in part.read().records["id"]]
    finally:
        source.close()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("s3://exports/daily/a.csv", ["1"]),
        ("s3://exports/daily/c.csv.gz", ["3"]),
        ("s3://exports/daily/*.csv", ["1", "2"]),
        ("s3://exports/daily/*.csv*", ["1", "2", "3"]),
        ("s3://exports/daily/", ["1", "2", "3", "4"]),
    ],
)
def test_objects_are_read_like_files(spec, expected, bucket):
    assert ids(spec) == expected


def test_parquet_is_read_in_place(bucket):
    found = ids("s3://exports/all.parquet")
    assert len(found) == 200_000
    assert found[-1] == "199999"


def test_an_object_that_is_not_there_is_said(bucket):
    with pytest.raises((ConfigError, Unreachable), match="exports"):
        ids("s3://exports/daily/none.csv")


def test_a_pattern_that_fits_nothing_is_said(bucket):
    with pytest.raises(ConfigError, match="no object fits"):
        ids("s3://exports/daily/*.tsv")


def test_without_the_extra_the_message_says_what_to_install(bucket, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingDriver, match=r"pip install 'tranship\[cloud\]'"):
        ids("s3://exports/daily/a.csv")
