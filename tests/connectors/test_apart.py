"""A run does not read what it writes: the database of another package is recognised like the built-in ones, and the files
of runs are not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.connectors import apart, lookup, opening
from tranship.connectors.errors import ConfigError

TABLE, AGAIN, OTHER = (f"toydb:///{rest}" for rest in ("a.toydb?table=t", "./a.toydb?table=T", "a.toydb?table=u"))

pytestmark = pytest.mark.usefixtures("toy_database")


def test_all_spellings_of_its_address_have_one_identity() -> None:
    assert lookup.identity(TABLE) == lookup.identity(AGAIN) != lookup.identity(OTHER)


def test_a_table_of_it_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="is given twice"):
        opening.open_sources([TABLE, OTHER, AGAIN])


def test_a_table_of_it_is_not_written_to_itself() -> None:
    apart.must_be_apart([TABLE], OTHER)
    with pytest.raises(ConfigError, match="is read by this run"):
        apart.must_be_apart([TABLE], AGAIN)


def test_its_file_is_not_replaced_by_what_is_read_from_it() -> None:
    Path("a.toydb").touch()
    Path("link.csv").symlink_to("a.toydb")
    with pytest.raises(ConfigError, match="is in the file that is read"):
        apart.must_be_apart([TABLE], "link.csv")


def test_its_file_is_not_read_as_a_file_and_written_as_a_table() -> None:
    Path("a.toydb").touch()
    Path("link.csv").symlink_to("a.toydb")
    with pytest.raises(ConfigError, match="is read by this run"):
        apart.must_be_apart(["*.csv"], TABLE)


def test_the_path_of_its_file_is_answered_with_its_address() -> None:
    with pytest.raises(ConfigError, match=r"toydb:///folder/a\.toydb"):
        lookup.kind_of("folder/a.toydb")


def test_sizes_of_connectors_that_declare_no_unit_are_not_added_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("external_id,name\n1,Ann\n")
    for sources, size in (([TABLE, OTHER], 6), ([TABLE, "a.csv"], None)):
        source = opening.open_sources(sources)
        assert source.size == size
        source.close()


@pytest.mark.parametrize(
    ("source", "folder"),
    [("in", "in"), ("in", "in/state"), ("in", "in/a/state"), (".", "state"), ("in/**/*.csv", "in/state")],
)
def test_a_folder_of_runs_is_not_read(source: str, folder: str) -> None:
    Path("in/a").mkdir(parents=True)
    Path("in/a/x.csv").write_text("external_id,name\n1,Ann\n")
    with pytest.raises(ConfigError, match="later runs would read the files of this one"):
        apart.must_not_hold(["y.csv", source], Path(folder), f"--state-dir {folder}")


@pytest.mark.parametrize(
    ("source", "folder"),
    [(".", ".tranship"), ("in", ".tranship"), ("in", "state"), ("in", "in/.runs/state"), ("in/*.csv", "in/state")],
)
def test_a_folder_of_runs_elsewhere_or_hidden_is_not_in_the_way(source: str, folder: str) -> None:
    Path("in").mkdir()
    Path("in/x.csv").write_text("external_id,name\n1,Ann\n")
    apart.must_not_hold([source, "s3://bucket/in", "-"], Path(folder), f"--state-dir {folder}")


@pytest.mark.parametrize(
    ("source", "log"),
    [("in", "in/log.jsonl"), ("in", "in/a/log.json"), ("in/*.jsonl", "in/log.jsonl"), ("in/x.csv", "in/x.csv")],
)
def test_a_log_is_not_read_as_a_source(source: str, log: str) -> None:
    Path("in/a").mkdir(parents=True)
    Path("in/x.csv").write_text("external_id,name\n1,Ann\n")
    with pytest.raises(ConfigError, match="would be read as a source"):
        apart.must_be_unused(Path(log), [source], "out.csv", f"--log {log}")


def test_a_log_is_not_the_destination() -> None:
    for destination, log in (("out.csv", "./out.csv"), ("duckdb:///w.duckdb?table=t", "w.duckdb")):
        with pytest.raises(ConfigError, match="is the destination"):
            apart.must_be_unused(Path(log), ["in.csv"], destination, f"--log {log}")


def test_a_log_beside_the_files_that_are_read_is_not_in_the_way() -> None:
    Path("in").mkdir()
    Path("in/x.csv").write_text("external_id,name\n1,Ann\n")
    for log in ("in/run.log", "in/.log.jsonl", "log.jsonl"):
        apart.must_be_unused(Path(log), ["in", "in/*.csv", "-", TABLE], "metronome://", f"--log {log}")
