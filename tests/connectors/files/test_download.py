"""Files behind web addresses, from a real server: their names, limits, redirects, interruptions and secrets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.served import Served, complete, endless, nobody, raw, served
from support.warehouse import Warehouse, fates, rejects
from tranship.connectors import opening
from tranship.connectors.addresses import redacted
from tranship.connectors.contract import Releasing
from tranship.connectors.errors import ConfigError, Malformed, Refused, TranshipError, Unreachable
from tranship.connectors.files import download
from tranship.connectors.files.download import redirect_target
from tranship.connectors.files.reach import LINK, PRIVATE, PUBLIC, THIS_MACHINE, reach_of
from tranship.pipelines import run as flow

TEXT = "id,name\n1,Ann\n2,Bea\n"
LONG = ("id,name\n" + "".join(f"{n},Customer {n}\n" for n in range(1, 50_001))).encode()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def at_once(_: float) -> None: ...

    monkeypatch.setattr(download, "_pause", at_once)
    monkeypatch.chdir(tmp_path)


def answer(body: bytes | str = TEXT, status: int = 200, **headers: str) -> Any:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    data = body if isinstance(body, bytes) else body.encode()

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=data, status=status, headers=named)

    return handler


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(spec: str, downloads: Path | None = None, **options: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the layouts' names and all records."""
    source = opening.open_sources([spec], options, downloads=downloads)
    try:
        records = [row for part in source.parts(Path("pages")) for row in part.read().records.to_dicts()]
        assert isinstance(source, Releasing)
        source.release()
        return [layout.name for layout in source.layouts()], records
    finally:
        source.close()


# Names and kinds -------------------------------------------------------------------------------------------------


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", TEXT)
    return out.getvalue()


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/customers.csv", TEXT, {}),
        ("/export?format=csv", TEXT, {"Content_Disposition": 'attachment; filename="../../customers.tsv"'}),
        ("/export", TEXT.replace(",", "\t"), {"Content_Type": "text/tab-separated-values"}),
        ("/customers", '[{"id": "1", "name": "Ann"}, {"id": "2", "name": "Bea"}]', {}),
        ("/", '{"id": "1", "name": "Ann"}\n{"id": "2", "name": "Bea"}\n', {"Content_Type": "application/x-ndjson"}),
        ("/customers.csv.gz", gzip.compress(TEXT.encode()), {}),
        ("/customers.csv", gzip.compress(TEXT.encode()), {"Content_Encoding": "gzip"}),
        ("/all.zip", _zip(), {}),
    ],
    ids=["path", "disposition", "type", "contents", "lines", "gzip", "content encoding", "zip"],
)
def test_a_file_is_read_from_the_web(path: str, body: str | bytes, headers: dict[str, str]) -> None:
    with served(answer(body, **headers)) as server:
        names, records = read(server.url + path)

    assert [(row["id"], row["name"]) for row in records] == [("1", "Ann"), ("2", "Bea")]
    assert names[0].startswith(server.url)


def test_an_empty_file_has_no_records() -> None:
    with served(answer("")) as server:
        assert read(f"{server.url}/a.csv", Path("downloads"))[1] == []


def test_a_run_from_the_web_names_the_address_in_rejects(tmp_path: Path) -> None:
    with served(answer("id,name\n1,\n2,Bea\n")) as server:
        report = Warehouse(tmp_path).load(f"{server.url}/customers.csv", max_rejects="1")

    assert fates(report) == {"created": 1, "rejected": 1}
    assert [(row["_source"], row["_line"]) for row in rejects(report)] == [(f"{server.url}/customers.csv", "2")]
    assert not list(Path("state/downloads").iterdir()), "a download is removed once it has been read"


def test_a_login_page_is_named_for_what_it_is() -> None:
    message = r"/d/abc/view\?usp=\*\*\*: is a web page \(HTML\).*sharing page"
    page = answer("<!DOCTYPE html><html>Sign in</html>", Content_Type="text/html")
    with served(page) as server, pytest.raises(ConfigError, match=message):
        read(f"{server.url}/d/abc/view?usp=sharing", Path("downloads"))
    assert not list(Path("downloads").iterdir())


def test_a_web_address_cannot_be_written() -> None:
    Path("a.csv").write_text(TEXT)
    with pytest.raises(ConfigError, match="can be read, not written"):
        Warehouse(Path()).load("a.csv", destination="https://host/out.csv")


# Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "message", "calls"),
    [
        (401, Refused, "access denied", 1),
        (403, Refused, "access denied", 1),
        (404, Refused, "there is no such file", 1),
        (418, Refused, "Check the address", 1),
        (204, Refused, "Check the address", 1),
        (429, Unreachable, "Try again later", 3),
        (503, Unreachable, "Try again later", 3),
    ],
)
def test_an_error_status_is_explained(status: int, error: type[TranshipError], message: str, calls: int) -> None:
    with served(answer("", status)) as server:
        with pytest.raises(error, match=rf"the server answered {status}.*{message}"):
            read(f"{server.url}/a.csv")
        assert len(server.calls) == calls


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http:///a.csv", "names no host"),
        ("http://[::1/a.csv", "is not a valid web address"),
        ("http://host:port/a.csv", "is not a valid web address"),
    ],
)
def test_an_invalid_address_is_explained(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(address)


def test_an_unreachable_host_is_explained() -> None:
    with nobody() as url, pytest.raises(Unreachable, match=r"cannot be reached \(connection refused\)"):
        read(f"{url}/a.csv", Path("downloads"))
    assert not list(Path("downloads").iterdir())


@pytest.mark.parametrize(
    "bytes_", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", None]
)
def test_an_invalid_http_response_is_explained(bytes_: bytes | None) -> None:
    with raw(bytes_) as server, pytest.raises((Malformed, Unreachable)):
        read(f"{server.url}/a.csv")


def test_a_host_without_https_is_explained() -> None:
    with raw(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        address = server.url.replace("http://", "https://")
        with pytest.raises(Refused, match="no encrypted connection is possible"):
            read(f"{address}/a.csv")


def test_an_encoding_that_was_not_requested_is_refused() -> None:
    body = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"
    with raw(body) as server, pytest.raises(Malformed, match="encoding 'br'"):
        read(f"{server.url}/a.csv")


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_too_large_is_refused(announced: bool) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if announced:
            response.content_length = 2 * len(LONG)
        await response.prepare(request)
        await response.write(LONG)
        await response.write(LONG)
        return response

    with served(handler) as server, pytest.raises(ConfigError, match="is larger than 1 MB, the limit of downloads"):
        read(f"{server.url}/a.csv", download_mb="1")


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "9" * 5000])
def test_a_limit_that_cannot_be_is_explained(value: str) -> None:
    with pytest.raises(ConfigError, match="option download_mb"):
        read("http://127.0.0.1/a.csv", download_mb=value)


@pytest.mark.slow
@pytest.mark.parametrize("drop", [b"1\r\n \r\n", b"X-A: b\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_download_that_drips_ends(drop: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" if drop[:1] == b"X" else b"" if drop[:1] == b"H" else CHUNKED
    with endless(head, drop, pause=0.05) as server, pytest.raises((Unreachable, Malformed)):
        read(f"{server.url}/a.csv", download_seconds="1")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 " + b"x" * (1 << 16) + b"\r\n\r\n",
        CHUNKED[:-2] + b"X-A: b\r\n" * 10_000 + b"\r\n",
        CHUNKED + b"ffffffffffffffffffff\r\n",
        CHUNKED + b"-1\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000000000\r\n\r\nid",
        b"HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename*=UTF-8''%00%2e%2e%2f\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Disposition: \xff;;=\r\nContent-Type: \xff/\xfe\r\nContent-Length: 2\r\n\r\nid",
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/99999999999999999999\r\nContent-Length: 2\r\n\r\nid",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://x:99999999/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 5000 + b"/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_an_odd_head_is_explained(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_SILENT_SECONDS", 0.3)
    with raw(head) as server, contextlib.suppress(TranshipError):
        read(f"{server.url}/a.csv")


def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_SILENT_SECONDS", 0.05)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b"id,name\n")
        await asyncio.sleep(30)
        return response

    with served(handler) as server, pytest.raises(Unreachable, match=r"no data for 0\.05 s"):
        read(f"{server.url}/a.csv")


# Redirects -------------------------------------------------------------------------------------------------------


def redirecting(*locations: str, status: int = 302) -> Any:
    """Redirect the nth call to the nth location, then return the file."""
    left = list(locations)

    async def handler(_: web.Request) -> web.Response:
        if left:
            return web.Response(status=status, headers={"Location": left.pop(0)})
        return web.Response(text=TEXT)

    return handler


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int) -> None:
    with served(redirecting("/b.csv", "c.csv?signature=abc%2Fd", status=status)) as server:
        names, records = read(f"{server.url}/a.csv")

        assert server.calls == ["GET /a.csv", "GET /b.csv", "GET /c.csv?signature=abc%2Fd"]
    assert (names, len(records)) == ([f"{server.url}/a.csv"], 2)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/passwd", "other than a web address"),
        ("ftp://host/a.csv", "other than a web address"),
        ("", "other than a web address"),
        ("http://169.254.169.254/latest/meta-data", "redirects to a private address"),
        ("http://[fe80::1]/", "redirects to a private address"),
        ("http://0.0.0.0/", "redirects to a private address"),
    ],
)
def test_a_redirect_to_another_scheme_or_a_private_address_is_not_followed(location: str, message: str) -> None:
    with served(redirecting(location)) as server:
        with pytest.raises(Refused, match=message):
            read(f"{server.url}/a.csv")
        assert len(server.calls) == 1


def test_endless_redirects_are_refused() -> None:
    with served(redirecting(*["/a.csv"] * 50)) as server:
        with pytest.raises(Refused, match="more than 10 redirects"):
            read(f"{server.url}/a.csv")
        assert len(server.calls) == 11


def test_a_redirect_from_https_to_http_is_refused() -> None:
    with pytest.raises(Refused, match=r"from https to http://host/a\?t=\*\*\*"):
        redirect_target("x", "https://host/a", "http://host/a?t=1")
    assert redirect_target("x", "http://host/a", "https://u:p@host/b#c") == "https://host/b"


def test_a_redirect_from_the_internet_into_a_private_network_is_refused() -> None:
    reach = {
        "8.8.8.8": PUBLIC,
        "2001:4860:4860::8888": PUBLIC,
        "10.0.0.1": PRIVATE,
        "192.168.1.1": PRIVATE,
        "fd00::1": PRIVATE,
        "100.64.0.1": PRIVATE,
        "127.0.0.1": THIS_MACHINE,
        "::1": THIS_MACHINE,
        "::ffff:127.0.0.1": THIS_MACHINE,
        "64:ff9b::127.0.0.1": THIS_MACHINE,
        "64:ff9b::a9fe:a9fe": LINK,
        "2002:a9fe:a9fe::1": LINK,
        "64:ff9b::8.8.8.8": PUBLIC,
        "localhost": THIS_MACHINE,
        "169.254.169.254": LINK,
        "0.0.0.0": LINK,
        "224.0.0.1": LINK,
        "example.com": None,
    }
    assert {host: reach_of(host) for host in reach} == reach


# Interruptions ---------------------------------------------------------------------------------------------------


def ranged(body: bytes, breaks: list[int | None], etag: str = '"v1"') -> Callable[[web.Request], Any]:
    """Serve a body with ranges; the nth answer breaks off after this number of bytes (null: it does not)."""

    async def handler(request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range")
        begin = int(asked.split("=")[1].rstrip("-")) if asked and request.headers.get("If-Range") == etag else 0
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        response = web.StreamResponse(status=206 if begin else 200, headers={"ETag": etag})
        if begin:
            response.headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        response.content_length = len(body) - begin
        await response.prepare(request)
        end = breaks.pop(0) if breaks else None
        await response.write(body[begin : None if end is None else begin + end])
        if end is not None:
            assert request.transport
            request.transport.close()
        return response

    return handler


def test_a_body_that_is_cut_off_is_continued() -> None:
    with served(ranged(LONG, [200_000, 200_000])) as server:
        _, records = read(f"{server.url}/a.csv", Path("downloads"))

        assert [headers.get("Range", "")[:6] for headers in server.headers] == ["", "bytes=", "bytes="]
    assert [row["id"] for row in records] == [str(n) for n in range(1, 50_001)]


@pytest.mark.slow
def test_a_body_that_stays_cut_off_is_an_error_and_the_next_command_continues(tmp_path: Path) -> None:
    with served(ranged(LONG, [300_000, 10, 10])) as server:
        address = f"{server.url}/a.csv"
        with pytest.raises(
            Unreachable, match=r"cut off\. Nothing was loaded from it\. Run the same command again: it cont"
        ):
            Warehouse(tmp_path).load(address)
        assert fates(Warehouse(tmp_path).load(address)) == {"created": 50_000}
        assert server.headers[-1]["Range"] > "bytes=2"
    assert not list(Path("state/downloads").iterdir())


def test_without_an_etag_a_download_starts_again() -> None:
    bodies = [LONG[:1000], LONG]

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(LONG)
        await response.prepare(request)
        body = bodies.pop(0)
        await response.write(body)
        if len(body) < len(LONG):
            assert request.transport
            request.transport.close()
        return response

    with served(handler) as server:
        _, records = read(f"{server.url}/a.csv", Path("downloads"))
        assert all("Range" not in headers for headers in server.headers)
    assert len(records) == 50_000


@pytest.mark.parametrize("etag", ['"v1"', ""])
def test_a_piece_of_a_file_is_not_taken_for_the_file(etag: str) -> None:
    body = b"id,name\n1,A\n2,B\n3,C\n"

    async def handler(request: web.Request) -> web.StreamResponse:
        begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
        end = min(begin + 12, len(body))
        piece = {"Content-Range": f"bytes {begin}-{end - 1}/{len(body)}", "ETag": etag}
        return web.Response(status=206, body=body[begin:end], headers=piece)

    with served(handler) as server:
        address = f"{server.url}/a.csv"
        if etag:
            assert [row["id"] for row in read(address, Path("downloads"))[1]] == ["1", "2", "3"]
        else:
            with pytest.raises(Unreachable, match="cut off"):
                read(address, Path("downloads"))


def test_a_changed_file_is_downloaded_again() -> None:
    with served(ranged(LONG, [300_000, 0, 0])) as server, pytest.raises(Unreachable):
        read(address := f"{server.url}/a.csv", Path("downloads"))
    kept = next(Path("downloads").iterdir())
    with served(ranged(TEXT.encode(), [], '"v2"')) as server:
        kept.rename(kept.with_name(_folder_of(f"{server.url}/a.csv")))
        _, records = read(f"{server.url}/a.csv", Path("downloads"))
    assert address
    assert len(records) == 2


def _folder_of(address: str) -> str:
    import hashlib

    return hashlib.sha256(address.encode()).hexdigest()[:32]


@pytest.mark.parametrize("damage", [None, "body", "about.json"])
def test_an_unchanged_download_is_reused(damage: str | None) -> None:
    with served(ranged(TEXT.encode(), [])) as server:
        address = f"{server.url}/a.csv"
        opening.open_sources([address], downloads=Path("downloads")).close()
        if damage:
            (next(Path("downloads").iterdir()) / damage).write_text("x")
        _, records = read(address, Path("downloads"))

        assert [("If-None-Match" in headers) for headers in server.headers] == [False, not damage]
    assert [row["name"] for row in records] == ["Ann", "Bea"]
    assert not list(Path("downloads").iterdir())


def interrupted_while_reading(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load an address, and press Ctrl-C when it is downloaded and its first part is to be read."""
    from tranship.connectors.files.csv_frames import CsvPart

    def pressed(_: CsvPart) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(CsvPart, "digest", pressed)
        with pytest.raises(TranshipError):
            Warehouse(folder).load(address)


def test_a_run_that_died_while_reading_is_resumed_with_its_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(ranged(TEXT.encode(), [])) as server:
        interrupted_while_reading(f"{server.url}/a.csv", tmp_path, monkeypatch)
        assert fates(flow.resume(tmp_path / "state", "last")) == {"created": 2}
        assert "If-None-Match" in server.headers[-1]


def test_two_processes_can_download_the_same_address() -> None:
    with served(ranged(TEXT.encode(), [])) as server:
        address = f"{server.url}/a.csv"
        first = opening.open_sources([address], downloads=Path("downloads"))
        _, records = read(address, Path("downloads"))
        assert sum(part.read().records.height for part in first.parts(Path("pages"))) == len(records) == 2
        first.close()


def test_the_same_address_twice_is_downloaded_once() -> None:
    with served(answer()) as server:
        address = f"{server.url}/a.csv"
        source = opening.open_sources([address, address])
        notes = [note for layout in source.layouts() for note in layout.notes]
        source.close()
        assert len(server.calls) == 1
    assert "is given more than once" in notes[0]


# Secrets ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def other_host(tmp_path: Path) -> Iterator[Served]:
    with served(answer()) as server:
        yield server


def test_a_password_is_sent_to_its_own_host_only(other_host: Served) -> None:
    there = other_host.url.replace("127.0.0.1", "localhost")
    with served(redirecting("/b.csv", f"{there}/c.csv")) as server:
        read(server.url.replace("http://", "http://ann:p%40ss@") + "/a.csv")

        assert [headers.get("Authorization") for headers in server.headers] == ["Basic YW5uOnBAc3M="] * 2
    assert "Authorization" not in other_host.headers[0]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ann:pw@host/a.csv", "https://***@host/a.csv"),
        ("https://host/a.csv?x=1&auth=s3cret;y=2", "https://host/a.csv?x=***&auth=***;y=***"),
        ("https://host/a.csv?s3cret", "https://host/a.csv?***"),
        ("HTTPS://host/a.csv?a=b#s3cret", "HTTPS://host/a.csv?a=***#***"),
        ("https://host/a.csv?jwt=a.b=c==", "https://host/a.csv?jwt=***"),
    ],
)
def test_an_address_is_shown_without_secrets(address: str, shown: str) -> None:
    assert redacted(address) == shown


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 403, 302])
def test_secrets_of_an_address_are_stored_nowhere(status: int, tmp_path: Path) -> None:
    with served(answer("id,name\n1,Ann\n2,\n", status, Location="https://x.invalid/?jwt=s3cret")) as server:
        address = server.url.replace("http://", "http://ann:s3cret-pw@") + "/a.csv?auth=s3cret-token#s3cret"
        words = ["run", address, "duckdb:///out.duckdb", "--log", "log.jsonl", "--json"]
        ran = subprocess.run([sys.executable, "-m", "tranship", *words], capture_output=True, text=True, check=False)

    assert ran.returncode == (4 if status == 200 else 3), ran.stderr
    assert "s3cret" not in ran.stdout + ran.stderr
    if status == 200:
        assert json.loads(ran.stdout)["source"].endswith("@" + server.host + "/a.csv?auth=***#***")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > (5 if status == 200 else 0)
    assert [path for path in files if b"s3cret" in path.read_bytes()] == []


@pytest.mark.slow
def test_a_run_whose_address_had_secrets_explains_how_to_continue_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(ranged(TEXT.encode(), [])) as server:
        interrupted_while_reading(f"{server.url}/a.csv?token=1", tmp_path, monkeypatch)
        with pytest.raises(ConfigError, match="secrets in their addresses are not kept"):
            flow.resume(tmp_path / "state", "last")
        assert fates(Warehouse(tmp_path).load(f"{server.url}/a.csv?token=1")) == {"created": 2}
        assert "If-None-Match" in server.headers[-1]


def test_a_body_of_the_announced_length_is_complete() -> None:
    with raw(complete(TEXT.encode(), "text/csv")) as server:
        assert len(read(f"{server.url}/a.csv")[1]) == 2
