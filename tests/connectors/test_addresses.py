"""Addresses: how they are shown, and what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.connectors.addresses import (
    is_same_file,
    local_path,
    own_path,
    percent_decoded,
    redacted,
    resolved_path,
    schema_and_table,
    scheme_of,
)
from tranship.connectors.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgresql://ann:pw@host/db", "postgresql://ann:***@host/db"),
        ("postgresql://ann@host/db?sslpassword=pw&table=t", "postgresql://ann@host/db?sslpassword=***&table=t"),
        ("metronome://secret@host", "metronome://***@host"),
        ("s3://bucket/a.csv?X-Amz-Signature=1&b=2", "s3://bucket/a.csv?X-Amz-Signature=***&b=2"),
        ("exports/a.csv", "exports/a.csv"),
        ("\udcff.csv", "\\udcff.csv"),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, expected: str) -> None:
    assert redacted(address) == expected


@pytest.mark.parametrize(("text", "expected"), [("a%20b", "a b"), ("a+b", "a+b"), ("100%", "100%")])
def test_percent_encoding_is_decoded(text: str, expected: str) -> None:
    assert percent_decoded("duckdb:///x", text) == expected


@pytest.mark.parametrize(("text", "message"), [("%ff", "not UTF-8"), ("%00", "control character")])
def test_what_is_no_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        percent_decoded("duckdb:///x", text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("customers", (None, "customers")),
        ("billing.customers", ("billing", "customers")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
    ],
)
def test_table_names_are_split(name: str, expected: tuple[str | None, str]) -> None:
    assert schema_and_table("duckdb:///x", name) == expected


@pytest.mark.parametrize("name", ["", "a.b.c", ".a", '"a'])
def test_what_is_no_table_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a table name"):
        schema_and_table("duckdb:///x", name)


@pytest.mark.parametrize(("address", "scheme"), [("s3://bucket/key", "s3"), ("a/b.csv", ""), ("-", "")])
def test_a_path_has_no_scheme(address: str, scheme: str) -> None:
    assert scheme_of(address) == scheme


def test_a_link_leads_to_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    assert is_same_file(tmp_path / "a", tmp_path / "b")
    assert not is_same_file(tmp_path / "a", tmp_path / "missing")
    assert resolved_path(tmp_path / "b") == resolved_path(tmp_path / "x" / ".." / "a")


def test_a_name_that_begins_with_a_tilde_and_is_no_users_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert local_path("~/in.csv") == Path("/home/ann/in.csv")
    assert local_path("~$crm.csv") == Path("~$crm.csv")


@pytest.mark.parametrize("text", ["a:b/c", "./mock:x", "~nobody-here/c"])
def test_own_paths_that_a_library_could_take_for_something_else_are_absolute(text: str) -> None:
    assert own_path(text) == str(Path.cwd() / text)


def test_other_own_paths_stay_relative_and_urls_are_refused() -> None:
    assert own_path(".tranship") == ".tranship"
    with pytest.raises(ValueError, match="is a URL"):
        own_path("s3://bucket/x")
