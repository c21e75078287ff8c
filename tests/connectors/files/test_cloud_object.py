"""Objects in a bucket are read and written like files: S3, with a local server; `test_buckets.py` has the others."""

from __future__ import annotations

import gzip
import io
import os
import sys

import polars as pl
import pytest

from support.source_ids import ids
from tranship.connectors.errors import ConfigError, MissingDriver, Unreachable
from tranship.pipelines import run as flow
from tranship.pipelines import settings

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")
obstore = pytest.importorskip("obstore")


@pytest.fixture(scope="module")
def bucket():
    """A bucket on its own server, and the environment that points to it."""
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_parquet_is_read_in_place(bucket):
    found = ids("s3://exports/all.parquet")
    assert len(found) == 200_000
    assert found[-1] == "199999"


def test_an_object_that_is_not_there_is_reported(bucket):
    with pytest.raises((ConfigError, Unreachable), match="exports"):
        ids("s3://exports/daily/none.csv")


def test_a_pattern_that_fits_nothing_is_reported(bucket):
    with pytest.raises(ConfigError, match="no object matches"):
        ids("s3://exports/daily/*.tsv")


def test_without_the_extra_the_message_says_what_to_install(bucket, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingDriver, match=r"pip install 'tranship\[cloud\]'"):
        ids("s3://exports/daily/a.csv")


# Writing ---------------------------------------------------------------------------------------------------------


CUSTOMERS = "id,email,name\n1,ann@acme.com,Ann\n2,bea@acme.com,Bea\n"


@pytest.fixture
def folder(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text(CUSTOMERS)
    return tmp_path


def load(source: str, destination: str, **options):
    given = {"source": source, "destination": destination, "state_dir": ".tranship", **options}
    return flow.run(settings.load(given, {}))


def body(bucket, key: str) -> bytes:
    return bucket.get_object(Bucket="exports", Key=key)["Body"].read()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.jsonl.zst", "a.parquet"])
def test_an_object_is_written_and_reads_back(name, bucket, folder):
    destination = f"s3://exports/written/{name}"
    assert load("in.csv", destination).counts.created == 2
    assert load("in.csv", destination).notes[-1] == f"{destination} exists; this run replaces it"
    load(destination, "back.csv")
    back = pl.read_csv("back.csv")
    assert back.select("external_id", "email", "name").rows() == [
        (1, "ann@acme.com", "Ann"),
        (2, "bea@acme.com", "Bea"),
    ]
    verification = flow.verify(settings.load({"source": "in.csv", "destination": destination}, {}))
    assert verification.equal
    assert [path.name for path in folder.rglob("*.partial")] == []


def test_an_object_that_tranship_did_not_write_is_left_alone(bucket, folder):
    bucket.put_object(Bucket="exports", Key="theirs.csv", Body=b"id\n1\n")
    with pytest.raises(ConfigError, match="exists, and Tranship did not write it"):
        load("in.csv", "s3://exports/theirs.csv")
    assert body(bucket, "theirs.csv") == b"id\n1\n"
    load("in.csv", "s3://exports/theirs.csv", overwrite=True)
    load("in.csv", "s3://exports/theirs.csv", state_dir="another")
    assert b"ann@acme.com" in body(bucket, "theirs.csv")


def test_a_failed_upload_leaves_the_earlier_object(bucket, folder, monkeypatch):
    load("in.csv", "s3://exports/failing.csv")
    before = body(bucket, "failing.csv")

    def fail(*_, **__):
        raise OSError("connection reset")

    monkeypatch.setattr(obstore, "put", fail)
    (folder / "in.csv").write_text(CUSTOMERS + "3,cy@acme.com,Cy\n")
    with pytest.raises(Unreachable, match=r"failing\.csv: cannot be written \(OSError\)"):
        load("in.csv", "s3://exports/failing.csv")
    assert body(bucket, "failing.csv") == before
    monkeypatch.undo()
    monkeypatch.chdir(folder)


@pytest.mark.slow
def test_a_large_object_is_uploaded_in_parts_or_not_at_all(bucket, folder, monkeypatch):
    with (folder / "in.csv").open("w") as out:
        out.write("id,email,name,city\n")
        out.writelines(f"c{i},c{i}@acme.com,{os.urandom(30).hex()},{os.urandom(30).hex()}\n" for i in range(40_000))
    assert load("in.csv", "s3://exports/large.csv").counts.created == 40_000
    assert bucket.head_object(Bucket="exports", Key="large.csv")["ETag"].endswith('-2"')
    assert len(body(bucket, "large.csv").splitlines()) == 40_001


def test_a_missing_bucket_is_reported(bucket, folder):
    with pytest.raises(Unreachable, match=r"s3://nowhere/a\.csv: cannot be written .* Check the name of the bucket"):
        load("in.csv", "s3://nowhere/a.csv")


@pytest.mark.parametrize("destination", ["s3://exports", "s3://exports/", "s3://exports/a/", "s3://exports/*.csv"])
def test_a_destination_names_one_object(destination, bucket, folder):
    with pytest.raises(ConfigError, match=r"is not the name of an object|unknown destination"):
        load("in.csv", destination)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["s3://exports/daily/a.csv", "s3://exports/daily/", "s3://exports/daily/*.csv"])
def test_what_is_read_is_not_written(source, bucket, folder):
    before = body(bucket, "daily/a.csv")
    with pytest.raises(ConfigError, match="cannot be the destination"):
        load(source, "s3://exports/daily/a.csv", overwrite=True)
    assert body(bucket, "daily/a.csv") == before


@pytest.mark.slow
def test_create_never_needs_an_object(bucket, folder):
    with pytest.raises(ConfigError, match=r"object s3://exports/none\.csv does not exist"):
        load("in.csv", "s3://exports/none.csv", create="never")
