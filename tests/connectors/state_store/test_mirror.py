"""The working copy of a state directory in a bucket: what is copied when, in which order, and what is not kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from support.object_stores import Store
from tranship.connectors.errors import Busy
from tranship.connectors.state_store.bucket import Bucket
from tranship.connectors.state_store.mirror import BucketMirror

pytest.importorskip("obstore")

RUN = "runs/20260101T000000-abcdef"


def machine(folder: Path) -> BucketMirror:
    folder.mkdir()
    mirror = BucketMirror(Bucket("gs://exports/state"), folder, 60)
    mirror.refresh()
    return mirror


def write(mirror: BucketMirror, name: str, text: str = "x") -> Path:
    file = mirror.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def puts(store: Store) -> list[str]:
    return [key.removeprefix(f"state/{RUN}/") for method, key in store.requests if method == "PUT"]


def test_a_run_is_kept_with_its_manifest_which_is_last(store: Store, tmp_path: Path) -> None:
    one = machine(tmp_path / "one")
    for name in ("stage/000000.parquet", "parts.json", "spill/a", "journal.sqlite-wal", "lock", ".a.partial"):
        one.save(write(one, f"{RUN}/{name}"))
    assert puts(store) == []
    one.save(write(one, f"{RUN}/manifest.json"))
    assert sorted(puts(store)[:-1]) == ["parts.json", "stage/000000.parquet"]
    assert puts(store)[-1] == "manifest.json"
    (one.folder / RUN / "parts.json").unlink()
    one.save(write(one, f"{RUN}/manifest.json", "changed"))
    assert puts(store)[3:] == ["manifest.json"]
    assert store.names() == [f"state/{RUN}/manifest.json", f"state/{RUN}/stage/000000.parquet"]


def test_large_files_are_copied_when_they_are_needed_with_their_times(store: Store, tmp_path: Path) -> None:
    one = machine(tmp_path / "one")
    write(one, f"{RUN}/stage/000000.parquet")
    store.ahead = timedelta(hours=-3)
    one.save(write(one, f"{RUN}/manifest.json"))
    two = machine(tmp_path / "two")
    stage = two.folder / RUN / "stage/000000.parquet"
    assert (two.folder / RUN / "manifest.json").read_text() == "x"
    assert not stage.exists()
    two.bring(two.folder / RUN)
    assert stage.read_text() == "x"
    age = datetime.now().timestamp() - stage.stat().st_mtime
    assert 3 * 3600 - 60 < age < 3 * 3600 + 60


def test_a_run_that_was_not_copied_keeps_its_files_when_it_is_saved(store: Store, tmp_path: Path) -> None:
    one = machine(tmp_path / "one")
    write(one, f"{RUN}/stage/000000.parquet")
    one.save(write(one, f"{RUN}/manifest.json"))
    two = machine(tmp_path / "two")
    two.save(write(two, f"{RUN}/manifest.json", "new"))
    assert f"state/{RUN}/stage/000000.parquet" in store.names()


def test_what_another_machine_has_written_is_not_overwritten_but_seen(store: Store, tmp_path: Path) -> None:
    one, two = machine(tmp_path / "one"), machine(tmp_path / "two")
    one.save(write(one, "watermarks/a.json", "1"))
    with pytest.raises(Busy, match=r"gs://exports/state/watermarks/a\.json: another process has written it"):
        two.save(write(two, "watermarks/a.json", "2"))
    two.refresh()
    assert (two.folder / "watermarks/a.json").read_text() == "1"
    two.save(write(two, "watermarks/a.json", "2"))
    (two.folder / "watermarks/a.json").unlink()
    two.remove(two.folder / "watermarks/a.json")
    one.refresh()
    assert not (one.folder / "watermarks/a.json").exists()


def test_a_run_that_was_removed_elsewhere_is_gone_here(store: Store, tmp_path: Path) -> None:
    one, two = machine(tmp_path / "one"), machine(tmp_path / "two")
    write(one, f"{RUN}/stage/000000.parquet")
    one.save(write(one, f"{RUN}/manifest.json"))
    two.refresh()
    two.remove(two.folder / RUN)
    assert store.names() == []
    one.refresh()
    assert not (one.folder / RUN).exists()
