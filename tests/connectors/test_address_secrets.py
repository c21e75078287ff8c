"""Secrets in addresses, even where they do not belong: none is shown, and each is recognised as a secret."""

from __future__ import annotations

import pytest

from tranship.connectors.address_secrets import is_host, is_misplaced
from tranship.connectors.addresses import redacted, secrets_in
from tranship.connectors.lookup import provider_spec
from tranship.connectors.registry import CONNECTORS

SECRET = "hunter2-geheim"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"postgresql://ann:{SECRET}@host/db?table=t", "postgresql://ann:***@host/db?table=t"),
        (f"postgresql://ann:a?{SECRET}@host/db?table=t", "postgresql://ann:***@host/db?table=t"),
        (f"postgresql://ann:a#{SECRET}@host/db?table=t", "postgresql://ann:***@host/db?table=t"),
        (f"postgresql://ann:a@{SECRET}@host/db?table=t", "postgresql://ann:***@host/db?table=t"),
        (f"postgresql://ann:a/{SECRET}@host/db?table=t", "postgresql://ann:***@host/db?table=t"),
        (f"postgresql://ann:12?{SECRET}@host/db", "postgresql://ann:***@host/db"),
        (f"postgresql://ann:12/{SECRET}@host/db", "postgresql://ann:***@host/db"),
        (f"postgresql://ann:a?b={SECRET}@host/db", "postgresql://ann:***@host/db"),
        (f"postgresql://ann:{SECRET}", "postgresql://ann:***"),
        (f"postgresql://host/db#{SECRET}", "postgresql://host/db#***"),
        (f"postgresql://host/db?unknown={SECRET}&table=t", "postgresql://host/db?unknown=***&table=t"),
        (f"postgresql://host/db?{SECRET}", "postgresql://host/db?***"),
        (f"postgresql://host?password={SECRET}@x&table=t", "postgresql://host?password=***&table=t"),
        (f"postgresql://host:5432/db?sslpassword=a@{SECRET}", "postgresql://host:5432/db?sslpassword=***"),
        (f"postgresql://host?{SECRET}@x", "postgresql://host***@x"),
        (f"metronome://127.0.0.1?key=a@{SECRET}", "metronome://127.0.0.1?key=***"),
        (f"marginfront:{SECRET}", "marginfront:***"),
        (f"metronome:/{SECRET}@", "metronome:/***"),
        (f"postgresql:ann:{SECRET}@host/db", "postgresql:***@host/db"),
        (f"host=db password={SECRET} dbname=x", "host=db password=*** dbname=x"),
        (f"duckdb:///x.duckdb?key={SECRET}", "duckdb:///x.duckdb?key=***"),
        (f"metronome://{SECRET}", "metronome://***"),
        ("metronome://eyJhbGciOi.JIUzI1NiIs.xyzzyABC", "metronome://***"),
        (f"metronome://{SECRET}@host", "metronome://***@host"),
        (f"metronome://127.0.0.1#{SECRET}", "metronome://127.0.0.1#***"),
        (f"metronome://127.0.0.1?unknown={SECRET}", "metronome://127.0.0.1?unknown=***"),
        (f"metronome://127.0.0.1?{SECRET}=1", "metronome://127.0.0.1?***"),
        ("metronome://127.0.0.1/SECRET_KEY", "metronome://127.0.0.1/***"),
        (f"growpanel://?source=ds_main#{SECRET}", "growpanel://?source=ds_main#***"),
        (f"s3://AKIA:a/{SECRET}@bucket/a.csv", "s3://***@bucket/a.csv"),
        (f"https://ann:a?{SECRET}@host.example/a.csv", "https://***@host.example/a.csv"),
        (f"https://ann:a#{SECRET}@host.example/a.csv", "https://***@host.example/a.csv"),
        ("https://files.example/T0/Xk3jd92KdlsW0dkfj3LsK2d9/a.csv", "https://files.example/T0/***/a.csv"),
        ("https://x.example/d/e/2PACX-1vQ0abcD3efG4hij5KL/pub?output=csv", "https://x.example/d/e/***/pub?output=***"),
        ("https://x.example:80/sk_live_abcdefghijkl.csv", "https://x.example:80/***"),
        ("https://x.example/0a1b2c3d4e5f60718293a4b5c6d7e8f9", "https://x.example/***"),
        (f"https://host.example/a.csv?{SECRET}#{SECRET}", "https://host.example/a.csv?***#***"),
    ],
)
def test_a_secret_is_hidden_wherever_it_is_written(address: str, expected: str) -> None:
    assert redacted(address) == expected
    # An address that was shown, or is read from a manifest, is unchanged.
    assert redacted(expected) == expected
    assert any(SECRET in secret for secret in secrets_in(address)) or "hunter2" not in address


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://db.example:5432/db?query=select '@' from x where a:b",
        "postgresql://h1:5432,h2:5433/db?table=a#b",
        "postgresql://[::1]/db?sslmode=require&options=-c%20x=1",
        "duckdb:///data/a#b@c.duckdb?table=t",
        "metronome://api.metronome.com?page_size=10",
        "metronome://backend:8080",
        "growpanel://?source=ds_main",
        "blackwalnut://host.example/my-app",
        "s3://bucket/x?/year=2024/*.csv",
        "https://files.example:80/pkg@1.2/customers.csv",
        "https://files.example/crm/customersExport20261129T132049Z.csv",
        "https://files.example/2026/w48/customers-2026-11-29-full-v2-b3.csv.gz",
        "https://files.example/v1/tenants/7/0012345678901234567/customers",
        "s3://bucket/Xk3jd92KdlsW0dkfj3LsK2d9/a.csv",
        "exports/a@b:c?.csv",
    ],
)
def test_an_address_without_secrets_is_shown_as_it_is(address: str) -> None:
    assert redacted(address) == address
    assert secrets_in(address) == []


@pytest.mark.parametrize("provider", [name for name, found in CONNECTORS.items() if found.provider])
def test_the_options_of_every_provider_are_shown(provider: str) -> None:
    spec = provider_spec(CONNECTORS[provider])
    for name in spec.options:
        assert redacted(f"{provider}://?{name}=value") == f"{provider}://?{name}=value"
    assert redacted(f"{provider}://?other=value") == f"{provider}://?other=***"


@pytest.mark.parametrize("text", ["api.x.com", "API.X.COM", "localhost", "127.0.0.1", "[::1]", "backend:443"])
def test_hosts(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize("text", ["sk_live_1", "abcdef", "sk_live.abc.com", "aB.cD.eF", "1a2b3c4d.5e6f", ""])
def test_keys_are_no_hosts(text: str) -> None:
    assert not is_host(text)


def test_a_password_out_of_place_is_recognised() -> None:
    assert is_misplaced("postgresql://a:b?c@host/db")
    assert is_misplaced("https://a:b#c@host/db")
    assert not is_misplaced("postgresql://a:b%3Fc@host/db?table=t")
    assert not is_misplaced("https://host/a@b?c=d")
