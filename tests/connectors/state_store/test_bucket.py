"""Objects are written only if they are as this process knows them, at every provider."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.object_stores import Store
from tranship.connectors.errors import Refused, Unreachable
from tranship.connectors.state_store import bucket as bucket_module
from tranship.connectors.state_store.bucket import Bucket, ChangedError, Version

pytest.importorskip("obstore")


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_large_file_is_uploaded_in_parts_and_replaced_by_who_knows_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "_WHOLE_BYTES", 1 << 20)
    (tmp_path / "large").write_bytes(os.urandom(6 << 20))
    bucket = Bucket(address)
    version = bucket.put("large", tmp_path / "large", None)
    assert bucket.download("large", tmp_path / "copy") is not None
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes()
    bucket.put("large", b"small", version)
    with pytest.raises(ChangedError):
        bucket.put("large", b"other", version)
