"""Files at http:// and https:// addresses: streamed to disk, and continued there after an interruption.

A download has a folder of its own, named after a digest of the address. It is removed once the file has been read;
until then a later command asks the server whether the file is still the same (ETag or Last-Modified), and uses the part
that was downloaded.

A redirect is followed within http and https only, never from https to http, and never to a host nearer to this machine
than the redirecting one, such as from the internet into the local network. A password in the address is sent to that
host alone.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp
from yarl import URL

from tranship.connectors import durable
from tranship.connectors.address_secrets import WEB, is_misplaced
from tranship.connectors.addresses import redacted
from tranship.connectors.background_loop import BackgroundLoop
from tranship.connectors.errors import ConfigError, Malformed, Refused, TranshipError, Unreachable
from tranship.connectors.files.download_store import Entry, own_folder
from tranship.connectors.files.reach import LINK, GuardedResolver, reach_of, refuse_nearer
from tranship.connectors.files.storage import File
from tranship.connectors.hosts import certificate_fault, proxy_for

_MOST_REDIRECTS: Final = 10
_PIECE: Final = re.compile(r"bytes (?P<first>\d{1,18})-\d*/(?P<total>\d+|\*)")
_TRIES: Final = 3
_CONNECT_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 1 << 20
_SAFE_BYTES: Final = 64 << 20
"""At most this many bytes are downloaded again after a power failure."""
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_ENDS: Final = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
    "application/zip": ".zip",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}
"""Content type → the end of the name of such a file."""


@dataclass(frozen=True)
class DownloadLimits:
    """The limits of a download, as options of a web address (`--option NAME=VALUE`)."""

    download_mb: int = 102_400
    download_seconds: int = 21_600
    """Time of a download with all its tries, however slowly the bytes arrive."""

    def __post_init__(self) -> None:
        """Raise ValueError for a limit below 1."""
        if min(self.download_mb, self.download_seconds) < 1:
            raise ValueError("a limit must be at least 1")

    @property
    def most_bytes(self) -> int:
        """The size in bytes."""
        return self.download_mb << 20


class _Broken(Exception):
    """The transfer broke off; another try may complete it."""


class Download:
    """The file behind a web address, on disk. Raises Unreachable, Refused, Malformed or ConfigError."""

    def __init__(
        self,
        spec: str,
        downloads: Path | None,
        say: Callable[[str], None],
        closers: ExitStack,
        limits: DownloadLimits | None = None,
    ) -> None:
        """`downloads` is the folder in which downloads are kept until they have been read; null: a temporary one."""
        self._limits = limits or DownloadLimits()
        self._name = redacted(spec)
        url, self._authorization = _parted(spec)
        self._say = say
        self._entry = Entry(closers.enter_context(own_folder(downloads, spec)))
        self._entry.load()
        loop = BackgroundLoop()
        try:
            loop.submit(self._fetch(url)).result()
        finally:
            loop.close()
            if not (self._entry.size or self._entry.complete):
                self.remove()

    def file(self, place: tuple[Any, ...], is_table: Callable[[str], bool]) -> File:
        """Return it as a file; its format is recognised by the first of its names that `is_table` accepts."""
        entry = self._entry
        called = next((name for name in entry.names if is_table(name.lower())), entry.names[-1])
        body = entry.body
        return File(self._name, entry.size, entry.seal, lambda: body.open("rb"), place, called=called)

    def remove(self) -> None:
        """Remove the download once it has been read."""
        shutil.rmtree(self._entry.folder, ignore_errors=True)

    async def _fetch(self, url: str) -> None:
        seconds = self._limits.download_seconds
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                await self._fetch_in_time(url)
        except TimeoutError as error:
            raise Unreachable(
                f"{self._name}: the download was not complete within {seconds:,} s. {self._again()}"
            ) from error

    async def _fetch_in_time(self, url: str) -> None:
        for tries in range(1, _TRIES + 1):
            try:
                await self._try(url)
                return
            except Unreachable:
                if tries == _TRIES:
                    raise
            except (aiohttp.ClientError, OSError, UnicodeError, _Broken) as error:
                found = self._error(error)
                if tries == _TRIES or not isinstance(found, Unreachable):
                    raise found from error
            await _pause(tries)

    async def _try(self, url: str) -> None:
        resolver = GuardedResolver(self._name)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as session:
            at, authorization, least = url, self._authorization, LINK
            for _ in range(_MOST_REDIRECTS + 1):
                proxy = proxy_for(at)
                # A proxy is the user's own, and resolves the host names.
                resolver.least = LINK if proxy else least
                async with session.get(
                    self._as_url(at), allow_redirects=False, headers=self._headers() | authorization, proxy=proxy
                ) as response:
                    if response.status not in _REDIRECTS:
                        await self._take(response, (url, at))
                        return
                    target = redirect_target(self._name, at, response.headers.get("Location", ""))
                if urlsplit(target).netloc != urlsplit(at).netloc:
                    authorization = {}
                literal = reach_of(urlsplit(at).hostname or "")
                least = max(least, resolver.reached if literal is None else literal)
                refuse_nearer(self._name, urlsplit(target).hostname or "", least)
                at = target
        raise Refused(
            f"{self._name}: more than {_MOST_REDIRECTS} redirects. Use the address to which they finally lead."
        )

    def _as_url(self, url: str) -> URL:
        """Return an address with its characters beyond ASCII encoded."""
        try:
            return URL(url, encoded=url.isascii() and " " not in url)
        except ValueError as error:
            raise ConfigError(f"{self._name}: is not a valid web address.") from error

    def _headers(self) -> dict[str, str]:
        entry = self._entry
        headers = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "tranship"}
        if entry.complete and entry.etag:
            headers["If-None-Match"] = entry.etag
        elif entry.complete and entry.modified:
            headers["If-Modified-Since"] = entry.modified
        elif not entry.complete and entry.is_strong and entry.size:
            headers |= {"Range": f"bytes={entry.size}-", "If-Range": entry.etag}
        return headers

    async def _take(self, response: aiohttp.ClientResponse, urls: tuple[str, str]) -> None:
        entry, status = self._entry, response.status
        etag, modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
        if entry.complete and (status == 304 or (status == 200 and etag and etag == entry.etag)):
            self._say(f"{self._name}: unchanged on the server; the earlier download is used")
            return
        if status not in (200, 206):
            raise self._refused(status)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", "zstd", ""):
            raise Malformed(f"{self._name}: the server used the encoding {encoding[:20]!r}, which was not requested.")
        begin = entry.size if status == 206 and "Range" in response.request_info.headers else 0
        sent = _PIECE.fullmatch(response.headers.get("Content-Range", "")) if status == 206 else None
        if status == 206 and (not sent or int(sent["first"]) != begin):
            raise Malformed(f"{self._name}: the server sent a different part of the file from the one requested.")
        length = response.content_length
        self._must_fit(begin, length)
        if begin:
            self._say(f"{self._name}: continuing the download after {begin:,} bytes")
        entry.etag, entry.modified, entry.complete, entry.seal = etag, modified, False, ""
        entry.names = list(_names(response, urls))
        if not begin:
            entry.body.unlink(missing_ok=True)
            entry.safe = 0
        entry.save()
        written = begin
        with entry.open() as out:
            try:
                async for piece in response.content.iter_chunked(_PIECE_BYTES):
                    written += len(piece)
                    if written > self._limits.most_bytes:
                        raise self._too_large()
                    out.write(piece)
                    if written - entry.safe >= _SAFE_BYTES:
                        entry.keep(out)
            finally:
                entry.keep(out)
        if length is not None and written != begin + length:
            raise _Broken
        if sent and sent["total"] not in ("*", str(written)):
            raise _Broken  # A server may send less than the rest, or a piece that was not asked for.
        entry.seal, entry.complete = durable.seal(entry.body), True
        entry.save()

    def _must_fit(self, begin: int, length: int | None) -> None:
        if length is None:
            return
        if begin + length > self._limits.most_bytes:
            raise self._too_large()
        free = shutil.disk_usage(self._entry.folder).free
        if length > free:
            raise ConfigError(
                f"{self._name}: has {length >> 20:,} MB, and the disk of {self._entry.folder.parent} has only "
                f"{free >> 20:,} MB free. Free some space, or choose another --state-dir."
            )

    def _too_large(self) -> ConfigError:
        return ConfigError(
            f"{self._name}: is larger than {self._limits.download_mb:,} MB, the limit of downloads. Download it with "
            "another program and name the file, or allow more: --option download_mb=…"
        )

    def _refused(self, status: int) -> TranshipError:
        what = f"{self._name}: the server answered {status}"
        if status in _PASSING:
            return Unreachable(f"{what}. Try again later.")
        if status in (401, 403, 407):
            return Refused(
                f"{what}: access denied. The link may have expired; give a password as https://user:password@host/…"
            )
        if status in (404, 410):
            return Refused(f"{what}: there is no such file. Check the address.")
        return Refused(f"{what}, not a file. Check the address.")

    def _again(self) -> str:
        goes_on = self._entry.is_strong and self._entry.size
        more = f": it continues after the first {self._entry.size:,} bytes." if goes_on else "."
        return f"Run the same command again{more}"

    def _error(self, error: Exception) -> TranshipError:
        again = self._again()
        if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
            return Refused(
                f"{self._name}: the host's certificate is not trusted ({certificate_fault(error)}), so nothing was "
                "read. Check the host name; behind a company proxy, set SSL_CERT_FILE to the proxy's certificate."
            )
        if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
            return Refused(
                f"{self._name}: no encrypted connection is possible. Check the port, and whether the address "
                "should start with http://."
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return Unreachable(f"{self._name}: unknown host. Check its name and the network.")
        if isinstance(error, aiohttp.InvalidURL | ValueError):
            return ConfigError(f"{self._name}: is not a valid web address.")
        if isinstance(error, aiohttp.ClientConnectorError):
            why = os.strerror(error.os_error.errno).lower() if error.os_error.errno else "no answer"
            return Unreachable(f"{self._name}: the host cannot be reached ({why}). Check host, port and network.")
        if isinstance(error, aiohttp.ClientPayloadError | _Broken):
            return Unreachable(f"{self._name}: the download was cut off. Nothing was loaded from it. {again}")
        if isinstance(error, TimeoutError):
            return Unreachable(f"{self._name}: no data for {_SILENT_SECONDS:g} s. {again}")
        if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError | ConnectionError):
            return ConfigError(
                f"{self._entry.folder.parent}: the download cannot be written here ({error.strerror}). Check the "
                "permissions and the free space, or choose another --state-dir."
            )
        if isinstance(error, aiohttp.ClientResponseError):
            return Malformed(f"{self._name}: the response is not valid HTTP. Check whether the server uses https.")
        return Unreachable(f"{self._name}: the connection was lost. {again}")


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def redirect_target(name: str, url: str, location: str) -> str:
    """Return the target of a redirect from `url`, without a user or password. Raises Refused if it is not followed."""
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        is_web = parts.scheme.lower() in WEB and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not location or not is_web:
        raise Refused(f"{name}: redirects to something other than a web address, which is not followed.")
    if urlsplit(url).scheme == "https" and parts.scheme.lower() == "http":
        raise Refused(
            f"{name}: redirects from https to {redacted(target)}, which is not encrypted. This redirect is not "
            "followed. If you trust the network, give that address."
        )
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _parted(spec: str) -> tuple[str, dict[str, str]]:
    """Return an address without its user, password and fragment, and the header made from them."""
    try:
        parts = urlsplit(spec)
        user, password, _ = parts.username, parts.password, parts.port
    except ValueError as error:
        raise ConfigError(f"{redacted(spec)}: is not a valid web address.") from error
    if is_misplaced(spec):
        raise ConfigError(
            f"{redacted(spec)}: the password contains @, /, ? or #. Write @ as %40, / as %2F, ? as %3F and # as %23."
        )
    if not parts.hostname:
        raise ConfigError(f"{redacted(spec)}: names no host. Write https://host/path/customers.csv")
    bare = parts._replace(
        scheme=parts.scheme.lower(), netloc=parts.netloc.rpartition("@")[2], fragment="", path=parts.path or "/"
    ).geturl()
    if user is None:
        return bare, {}
    return bare, {"Authorization": aiohttp.encode_basic_auth(unquote(user), unquote(password or ""))}


def _names(response: aiohttp.ClientResponse, urls: tuple[str, str]) -> Iterator[str]:
    """Yield the possible names of a file: the one given by the server, those in its address and in that to which it
    redirects, and one for its type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a malformed one is ignored
        disposition = response.content_disposition
    if disposition and disposition.filename:
        yield PurePosixPath(disposition.filename.replace("\\", "/")).name
    for url in reversed(urls):
        yield PurePosixPath(unquote(urlsplit(url).path)).name
    end = _ENDS.get(response.content_type.lower())
    if end:
        yield f"download{end}"
    yield "download"
