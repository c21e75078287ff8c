"""Servers that repeat everything they receive, in every kind of answer: no key and no password is in anything left
behind.

Every byte is searched: files of columns, databases, and what is compressed are decoded. TRANSHIP_LONG_TESTS adds the
kinds of answers after which a run tries again for a while.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from support.accounts import PROVIDERS, opened
from support.artefacts import texts
from support.echo_server import KINDS, echoing
from support.sandboxes import Start
from support.served import served
from tranship.connectors.registry import CONNECTORS
from tranship.pipelines.cli import main as cli

pytestmark = pytest.mark.slow

KEY = "sk_live_Zx/9+Qw=8%7rT5&y3<Lm"


def key_of(provider: str) -> str:
    """Return a key that the provider's sandbox accepts, and that every encoding changes."""
    return KEY.replace("sk_live", "mf_sk_test") if provider == "marginfront" else KEY


PEOPLE = ("jane.roe@acme.example", "Jane Roe Holding", "max.doe@beta.example", "Max Doe Traders")
CUSTOMERS = (
    "external_id,email,name,country,customer_type,currency\n"
    f"77001,{PEOPLE[0]},{PEOPLE[1]},DE,BUSINESS,EUR\n77002,{PEOPLE[2]},{PEOPLE[3]},US,BUSINESS,USD\n"
)
RECORDS = (
    *("customers.csv", "failed.csv", "successful.csv", "unprocessed.csv", "rejects.csv", "crosswalk.csv"),
    *(".parquet", "destination.duckdb", "/data", "journal.sqlite", "report.html", "migration.html"),
)
"""Files that contain records or samples of them, or messages of a provider about them."""

QUICK = [
    *((provider, "400", every) for provider in PROVIDERS for every in (False, True)),
    *((provider, "redirect", True) for provider in PROVIDERS),
    *((provider, "rows", False) for provider in ("growpanel", "metrifox")),
]
"""Provider, kind of answer, whether every answer is of that kind or only those to writes."""
LONG = [
    (provider, kind, every)
    for provider in PROVIDERS
    for kind in KINDS
    for every in (False, True)
    if (provider, kind, every) not in QUICK
]


def spelled(secret: str) -> set[str]:
    """Return parts of ten characters of a secret, plain and encoded."""
    data = secret.encode()
    forms = [secret, quote(secret, safe=""), data.hex()]
    forms += [base64.b64encode(before + data).decode()[4:-4] for before in (b"", b"a", b"ab")]
    return {form[at : at + 10] for form in forms for at in range(len(form) - 9)}


def left_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, list[tuple[str, str]]]:
    """Run a command; return its exit code, and everything that it printed and left in the folder."""
    with monkeypatch.context() as patched:
        patched.chdir(folder)
        capfd.readouterr()
        code = cli.main(arguments)
        said = capfd.readouterr()
    return code, [("stdout", said.out), ("stderr", said.err), *texts(folder)]


def leaks(found: list[tuple[str, str]], secret: str = KEY) -> Iterator[str]:
    parts = spelled(secret)
    for where, text in found:
        for part in parts:
            if part in text:
                yield f"{where}: the secret, as {part!r}"
        if not any(name in where for name in RECORDS):
            yield from (f"{where}: {person}" for person in PEOPLE if person.lower() in text.lower())


@pytest.mark.parametrize(
    ("provider", "kind", "every"), [*QUICK, *(LONG if "TRANSHIP_LONG_TESTS" in os.environ else ())]
)
def test_what_a_provider_repeats_is_nowhere(
    provider: str,
    kind: str,
    every: bool,
    sandbox: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    there = opened(sandbox, provider)
    variable = CONNECTORS[provider].key_variable
    assert variable
    key = key_of(provider)
    monkeypatch.setenv(variable, key)
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    with echoing(provider, there.sandbox.url, kind, lambda request: every or request.method != "GET") as server:
        address = f"{provider}://{server.host}{there.usual.address}"
        words = ("customers.csv", address, "--log", "log.jsonl", "--json", "--option", "patience_seconds=10")
        code, found = left_behind(tmp_path, monkeypatch, capfd, "run", *words)
        # 130 would be a signal from outside, such as that of a time limit on all tests.
        assert code in (0, 3, 4)
        assert any(where.endswith("report.json") for where, _ in found)
        assert not list(leaks(found, key))
        assert not list(leaks(left_behind(tmp_path, monkeypatch, capfd, "doctor", address)[1], key))


@pytest.mark.parametrize("provider", ["blackwalnut", "marginfront", "metrifox", "metronome"])
def test_words_about_a_record_are_in_the_file_of_failed_records_only(
    provider: str, sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    there = opened(sandbox, provider)
    monkeypatch.setenv(str(CONNECTORS[provider].key_variable), key_of(provider))
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    with echoing(provider, there.sandbox.url, "400", lambda request: request.method == "POST") as server:
        address = f"{provider}://{server.host}{there.usual.address}"
        _, found = left_behind(tmp_path, monkeypatch, capfd, "run", "customers.csv", address)
    said = {where for where, text in found if "Accept-Encoding" in text}
    if provider == "metronome":  # its custom fields are looked up by POST, before a record is sent
        assert not {"stdout", "stderr"} & said
        return
    assert any(where.endswith("failed.csv") for where in said)
    assert all(any(name in where for name in RECORDS) for where in said)
    assert "refused (400" in dict(found)["stderr"]


def repeating(kind: str, secret: str) -> web.Response:
    text = f"{secret} {quote(secret, safe='')} {base64.b64encode(f'ann:{secret}'.encode()).decode()}"
    match kind:
        case "html":
            return web.Response(text=f"<html>{text}</html>", content_type="text/html")
        case "redirect":
            return web.Response(status=302, headers={"Location": f"ftp://{quote(secret, safe='')}.example/x"})
        case "names":
            headers = {"ETag": f'"{quote(secret)}"', "Content-Disposition": f"attachment; filename={quote(secret)}.csv"}
            return web.Response(text=CUSTOMERS, content_type="text/csv", headers=headers)
    return web.Response(status=int(kind), text=f"<Error><Message>{text}</Message></Error>", content_type="text/html")


@pytest.mark.parametrize("kind", ["400", "403", "404", "html", "redirect", "names"])
@pytest.mark.parametrize("command", [("run", "out.jsonl.gz", "--log", "log.jsonl", "--json"), ("inspect",)])
def test_what_a_web_server_repeats_is_nowhere(
    kind: str,
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return repeating(kind, KEY)

    with served(answer) as server:
        hidden = quote(KEY, safe="")
        address = f"http://ann:{hidden}@{server.host}/customers.csv?token={hidden}"
        _, found = left_behind(tmp_path, monkeypatch, capfd, command[0], address, *command[1:])
    assert not [leak for leak in leaks(found) if "the secret" in leak]


def _s3(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "AKIA0123456789ABCDEF"),
        ("AWS_SECRET_ACCESS_KEY", KEY),
        ("AWS_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("kind", ["403", "404", "html", "redirect", "names"])
def test_what_object_storage_repeats_is_nowhere(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("obstore")

    async def answer(_: web.Request) -> web.StreamResponse:
        return repeating(kind, KEY)

    with served(answer) as server:
        _s3(monkeypatch, server.url)
        _, found = left_behind(
            tmp_path, monkeypatch, capfd, "run", "s3://bucket/customers.csv", "out.csv", "--log", "log.jsonl", "--json"
        )
        (tmp_path / "customers.csv").write_text(CUSTOMERS)
        found += left_behind(tmp_path, monkeypatch, capfd, "run", "customers.csv", "s3://bucket/out.csv", "--json")[1]
    assert not [leak for leak in leaks(found) if "the secret" in leak]


@pytest.mark.parametrize("begin", [0, 1])
def test_what_object_storage_repeats_while_an_object_is_read_is_nowhere(
    begin: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Requests for bytes from `begin` on are refused."""
    pytest.importorskip("obstore")
    content = CUSTOMERS.encode() * 80_000  # more than one request reads

    async def answer(request: web.Request) -> web.StreamResponse:
        first = int(request.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        if request.method == "GET" and first >= begin:
            return repeating("403", f"{KEY} {PEOPLE[0]} {PEOPLE[1]}")
        body = content[first : first + (8 << 20)]
        changed = {"ETag": '"x"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        if request.method == "HEAD":
            return web.Response(headers={**changed, "Content-Length": str(len(content))})
        part = f"bytes {first}-{first + len(body) - 1}/{len(content)}"
        return web.Response(status=206, body=body, headers={**changed, "Content-Range": part})

    with served(answer) as server:
        _s3(monkeypatch, server.url)
        code, found = left_behind(tmp_path, monkeypatch, capfd, "run", "s3://bucket/customers.csv", "out.csv", "--json")
    assert code == 3
    assert not list(leaks(found))
    assert "s3://bucket/customers.csv: cannot be read (" in dict(found)["stderr"]


MISPLACED = (
    *(f"postgresql://ann:a{sign}{quote(KEY, safe='')}@127.0.0.1/db?table=t" for sign in "?#@/"),
    f"postgresql://ann:{quote(KEY, safe='')}",
    *(f"postgresql://127.0.0.1/db{place}sk_live_0123456789" for place in ("#", "?", "?other=")),
    "host=127.0.0.1 password=sk_live_0123456789 dbname=db",
    *(
        f"{provider}://{place}"
        for provider in PROVIDERS
        for place in (
            "sk_live_0123456789",
            "sk_live_0123456789@host.example",
            "host.example#sk_live_0123456789",
            "host.example?other=sk_live_0123456789",
            "host.example?sk_live_0123456789",
            "host.example/sk_live_0123456789",
        )
    ),
    "duckdb:///w.duckdb?key=sk_live_0123456789",
)


@pytest.mark.parametrize("address", MISPLACED)
def test_a_key_out_of_place_is_nowhere_and_the_message_says_where_it_belongs(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    log = ("--log", "log.jsonl", "--json")
    commands = [("run", "customers.csv", address, *log), ("run", address, "out.csv", *log), ("inspect", address)]
    if address.split(":")[0] in PROVIDERS:
        commands.append(("doctor", address))
    for command in commands:
        code, found = left_behind(tmp_path, monkeypatch, capfd, *command)
        assert code in (2, 3)
        assert not list(leaks(found))
        assert not [where for where, text in found if "0123456789" in text]
        if not address.startswith(("duckdb", "host=")) and "?other" not in address and "/db?" not in address:
            said = dict(found)["stderr"] + dict(found)["stdout"]
            assert any(word in said for word in ("PGPASSWORD", "_KEY", "_TOKEN", "my-app")), said


PLACES: tuple[tuple[str, ...], ...] = (
    *((name, "{}") for name in ("apply", "report", "resume", "verify", "sandbox", "fields", "connectors", "no-such")),
    *((name, "{}") for name in ("retry", "changes", "help", "--help", "explain")),
    ("run", "--help", "{}"),
    ("changes", "last", "--key", "{}"),
    ("state", "set", "duckdb:///w.duckdb?table=t", "{}"),
    ("inspect", "customers.csv", "--write", "{}"),
    ("backfill", "customers.csv", "duckdb:///w.duckdb?table=t", "--from", "{}", "--to", "2026-01-01"),
    ("runs", "--state-dir", "{}"),
    ("plan", "customers.csv", "duckdb:///w.duckdb?table=t", "--out", "{}"),
    *(
        ("run", "customers.csv", "out.csv", f"--{option}", value)
        for option, value in (
            *(("profile", "{}"), ("profile", "{}.toml"), ("state-dir", "{}"), ("where", "{}"), ("mode", "{}")),
            *(("ignore", "{}"), ("map", "name={}"), ("default", "currency={}"), ("timezone", "{}"), ("option", "{}=1")),
            *(("value", "status:{}=active"), ("value", "status:x={}"), ("set", "name={}"), ("blocked", "{}")),
            *(("column", "name={}"), ("on-invalid", "name={}"), ("cursor", "{}"), ("since", "{}"), ("sheet", "{}")),
            *(("limit", "{}"), ("log", "{}"), ("date-format", "{}"), ("memory", "{}"), ("pace", "{}")),
            *(("encoding", "{}"), ("crosswalk", "{}"), ("max-rejects", "{}"), ("no-such", "{}"), ("{}", "1")),
        )
    ),
)


PASSWORDS = ("hunter2-hunter2", *(f"hunter2{sign}hunter2" for sign in "+|=,:;@/?# '\"\n\\"))
"""One for each sign at which a setting may be split, or a message end a quotation."""


@pytest.mark.parametrize("words", PLACES, ids=lambda words: " ".join(words[:1] + words[-2:]))
def test_the_password_of_an_address_where_none_belongs_is_not_repeated(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    for address in (
        f"https://ann:{PASSWORDS[0]}@host.invalid/db",
        *(f"postgresql://ann:{password}@host.invalid/db" for password in PASSWORDS),
        *(f"https://host.invalid/x.csv?{name}={PASSWORDS[0]}" for name in ("token", "n=1&X-Amz-Signature")),
        f"postgresql://host.invalid/db?user=ann&password={PASSWORDS[0]}",
    ):
        given = [word.format(address) for word in words]
        code, found = left_behind(tmp_path, monkeypatch, capfd, *given, "--json")
        assert code == 2, dict(found)["stderr"]
        assert not [where for where, text in found if "hunter2" in text], given


@pytest.mark.parametrize("name", ["FIELDS", "IGNORE", "VALUES", "DEFAULTS", "SET", "WHERE", "BLOCKED", "STATE_DIR"])
def test_the_password_of_an_address_in_a_variable_is_not_repeated(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    for password in PASSWORDS:
        monkeypatch.setenv(f"TRANSHIP_{name}", f"name=postgresql://ann:{password}@host.invalid/db")
        code, found = left_behind(tmp_path, monkeypatch, capfd, "run", "customers.csv", "out.csv", "--json")
        assert code == 2
        assert not [where for where, text in found if "hunter2" in text], password


def test_an_address_without_a_password_is_a_value_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    condition = "name <> 'http://b.example:8080/x' and email like '%@%' and name <> 'https://a.example: see b@c'"
    monkeypatch.setenv("TRANSHIP_DATABASE_URL", "postgresql://ann:hunter2@host.invalid/db")  # another program's
    words = ("run", "customers.csv", "out.csv", "--where", condition, "--default", "city=https://a.example/x:y?q=@z")
    code, found = left_behind(tmp_path, monkeypatch, capfd, *words)
    assert code == 0, dict(found)["stderr"]


@pytest.mark.parametrize("place", ['"{}" = 1', 'mode = "{}"', 'source = ["{}", 3]', '[options]\n"{}" = "1"'])
def test_the_password_of_an_address_anywhere_in_a_settings_file_is_not_repeated(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    ends = (
        'destination = "out.csv"\n'
        if place.startswith("source")
        else 'source = "customers.csv"\ndestination = "out.csv"\n'
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(ends + place.format("postgresql://ann:hunter2-hunter2@host.invalid/db"))
    code, found = left_behind(tmp_path, monkeypatch, capfd, "run", "s.toml", "--json")
    assert code == 2
    assert not [where for where, text in found if "hunter2" in text and where != "s.toml"]
