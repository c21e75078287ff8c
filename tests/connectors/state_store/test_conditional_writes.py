"""Objects are written only if they are as this process knows them, at every provider; leases rely on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.object_stores import Store
from support.state_buckets import azure_bucket, google_bucket
from tranship.connectors.errors import Busy, ConfigError, Refused, Unreachable
from tranship.connectors.state_store import lease as leases
from tranship.connectors.state_store.bucket import Bucket, ChangedError, Version
from tranship.connectors.state_store.lease import Lease

pytest.importorskip("obstore")


@pytest.fixture(params=["gs", "az", "s3"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a state directory at a provider."""
    if request.param != "s3":
        with (google_bucket if request.param == "gs" else azure_bucket)(monkeypatch):
            yield f"{request.param}://exports/state"
        return
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"ENDPOINT_URL": f"http://{host}:{port}", "ALLOW_HTTP": "true", "REGION": "us-east-1"}
    for name, value in {**settings, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test-secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    pytest.importorskip("boto3").client("s3", region_name="us-east-1").create_bucket(Bucket="exports")
    yield "s3://exports/state"
    server.stop()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with google_bucket(monkeypatch) as found:
        yield found


def lease(bucket: Bucket, seconds: float = 60) -> Lease:
    return Lease(bucket, "locks/a.lock", seconds, set(), lambda name: None)


def test_an_object_is_created_once_and_replaced_by_who_knows_it(address: str, tmp_path: Path) -> None:
    bucket = Bucket(address)
    first = bucket.put("a/b.json", b"1", None)
    with pytest.raises(ChangedError):
        bucket.put("a/b.json", b"2", None)
    second = bucket.put("a/b.json", b"2", first)
    with pytest.raises(ChangedError):
        bucket.put("a/b.json", b"3", first)
    with pytest.raises(ChangedError):
        bucket.put("a/none.json", b"3", first)
    listed = bucket.list()["a/b.json"]
    assert (listed.size, listed.version.tag) == (1, second.tag)
    bucket.put("a/b.json", b"three", listed.version)  # as known from a list
    assert bucket.download("a/b.json", tmp_path / "b.json") is not None
    assert (tmp_path / "b.json").read_bytes() == b"three"
    bucket.delete(["a/b.json", "a/none.json"])
    assert bucket.list() == {}
    assert bucket.read("a/b.json") is None
    assert bucket.download("a/b.json", tmp_path / "b.json") is None


def test_a_write_whose_answer_was_lost_is_recognised(store: Store) -> None:
    bucket = Bucket("gs://exports/state")
    first = bucket.put("a", b"1", None)
    assert bucket.put("a", b"1", None) == first
    second = bucket.put("a", b"2", first)
    assert bucket.put("a", b"2", first) == second


def test_one_of_two_takes_a_lease(address: str) -> None:
    bucket = Bucket(address)
    one, two = lease(bucket), lease(bucket)
    assert one.take()
    assert not two.take()
    assert str(two.holder()) == str(two.last_holder()) == str(one.holder())
    assert "process" in str(one.holder())
    one.release()
    assert two.holder() is None
    assert two.take()
    two.release()


def test_a_lease_that_is_not_renewed_is_taken_over_and_its_holder_stops(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_RENEWED", 1000)
    one, two = lease(Bucket("gs://exports/state")), lease(Bucket("gs://exports/state"))
    assert one.take()
    store.ahead = timedelta(seconds=58)
    assert not two.take()
    store.ahead = timedelta(seconds=70)
    two = lease(Bucket("gs://exports/state"))
    assert two.take()
    one.confirm()  # its time has not passed by its own clock, which decides
    one._confirmed -= 50
    with pytest.raises(Busy, match=r"gs://exports/state: this process could not keep its lock .* stopped writing"):
        one.confirm()
    two.confirm()
    one.release()
    assert two.holder() is not None


def test_a_lease_is_renewed_while_it_is_held(store: Store) -> None:
    one = lease(Bucket("gs://exports/state"), seconds=1)
    assert one.take()
    time.sleep(1.5)
    one.confirm()
    assert store.generations["exports", "state/locks/a.lock"] > 3
    one.release()


def test_a_holder_that_cannot_reach_the_bucket_stops(store: Store) -> None:
    one = lease(Bucket("gs://exports/state"), seconds=1)
    assert one.take()
    store.denies = lambda method, key: True
    time.sleep(1.1)
    with pytest.raises(Busy, match="could not keep its lock"):
        one.confirm()


def test_storage_that_ignores_conditions_is_refused(store: Store) -> None:
    store.is_conditional = False
    one = lease(Bucket("gs://exports/state"))
    with pytest.raises(ConfigError, match="no conditional writes .* --no-locks"):
        one.take()
    assert not one.is_held


def test_denied_missing_and_unreachable_buckets_have_a_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="gs://nowhere: there is no such bucket"):
        Bucket("gs://nowhere").list()
    store.denies = lambda method, key: True
    with pytest.raises(Refused, match=r"cannot be listed: access is denied\. Check the credentials"):
        Bucket("gs://exports/state").list()
    with pytest.raises(Refused, match=r"cannot be written: access is denied"):
        Bucket("gs://exports/state").put("a", b"", None)
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", "{")
    with pytest.raises(Unreachable, match=r"cannot be opened .* credentials in the environment"):
        Bucket("gs://exports/state")


def test_a_version_that_is_no_longer_there_is_a_change(store: Store) -> None:
    with pytest.raises(ChangedError):
        Bucket("gs://exports/state").put("a", b"1", Version("0"))
