"""A provider's account as a source: all its customers, each once, decoded page by page."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct

from tranship.connectors.addresses import redacted
from tranship.connectors.api import json_codec
from tranship.connectors.api.full_scan import FullScan, PageGroup
from tranship.connectors.api.http_client import HttpClient
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.spec import ProviderSpec, parse_address, service
from tranship.connectors.background_loop import BackgroundLoop
from tranship.connectors.contract import Batch, Layout
from tranship.connectors.errors import ConfigError, Malformed
from tranship.schemas.counted import counted, it_or_them
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import BROKEN
from tranship.schemas.provider import ProviderSchema

# Reading -------------------------------------------------------------------------------------------------------------


class ApiPart(Struct, frozen=True):
    """Some pages of a provider's list, decoded on demand."""

    source: str
    schema: ProviderSchema
    group: PageGroup
    surprised: Callable[[Mapping[str, int]], None]
    nameless: Callable[[int], None]
    """Called with the number of customers that have the e-mail as their name."""
    unwanted: pl.Expr | None = None
    """Canonical columns as text → whether a customer is left out."""
    left_out: Callable[[int], None] = lambda _: None
    """Called with the number of customers left out."""

    @property
    def position(self) -> int:
        """Customers read so far."""
        return self.group.position

    def decode(self, *, raw: bool = False) -> json_codec.Decoded:
        """JSON → customers in canonical columns as text, with `raw` also the JSON of each. Raises Malformed."""
        try:
            return json_codec.decode(self.schema, self.group.lists(), self.group.dropped, raw=raw)
        except Malformed as error:
            raise Malformed(f"{self.source}: {error}") from error

    def read(self) -> Batch:
        """JSON → canonical columns as text. Records that break the provider's schema are in `broken`."""
        decoded = self.decode()
        self.surprised(decoded.surprises)
        first = self.group.first
        broken = decoded.broken.select(line=pl.col("position") + first, code="code", detail="detail", text="text")
        records, lines, nameless = decoded.records, decoded.positions + first, decoded.nameless
        if self.unwanted is not None:
            wanted = records.select(~self.unwanted.fill_null(value=False)).to_series()
            self.left_out(int((~wanted).sum()))
            records, lines, nameless = records.filter(wanted), lines.filter(wanted), nameless.filter(wanted)
        self.nameless(int(nameless.sum()))
        return Batch(self.source, records, lines, broken.cast(BROKEN))  # type: ignore[arg-type]

    def digest(self) -> str:
        """Hash the records, their places, and the fact that archived ones are left out."""
        digest = self.group.digest()
        return digest if self.unwanted is None else hashlib.sha256(f"{digest} without archived".encode()).hexdigest()


class ApiSource:
    """All customers of one account, each once. No request is sent before `parts`."""

    def __init__(
        self,
        spec: ProviderSpec,
        url: str,
        *,
        include_archived: bool = False,
        retry_policy: RetryPolicy | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        if include_archived and not spec.archives:
            raise ConfigError(f"{redacted(url)}: {spec.schema.title} has no archived customers to include.")
        self._spec = spec
        self._url = url
        self._address = parse_address(spec, url, environment)
        self._service = service(spec, self._address, environment)
        self._include_archived = include_archived
        self._retry_policy = retry_policy or RetryPolicy()
        self._background: BackgroundLoop | None = None
        self._read: FullScan | None = None
        self._client: HttpClient | None = None
        self._surprises: Counter[str] = Counter()
        self._left_out: list[int] = []
        self._nameless: list[int] = []

    @property
    def size(self) -> int | None:
        """The number of customers, once the provider has stated it."""
        return self._read.total if self._read else None

    def layouts(self) -> list[Layout]:
        """Return the canonical columns, with notes on what was noticed while reading."""
        return [Layout(redacted(self._url), tuple(COLUMNS), tuple(self._notes()))]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return provider, host and options. The size is not known in advance."""
        return [{**self._identity(), "size": None}]

    def parts(self, keep: Path, /) -> Iterator[ApiPart]:
        """Read everything, in the order of the provider's lists. Pages in `keep` are not downloaded again.

        Raises ConnectorError.
        """
        self.close()
        background = self._background = BackgroundLoop()
        client = self._client = HttpClient(self._service, self._retry_policy)
        background.submit(client.__aenter__()).result()
        listings = self._spec.listings(self._address, self._include_archived)
        self._read = FullScan(background, client, listings, keep, self._identity())
        for group in self._read.groups():
            leaves_out = self._spec.lists_archived and not self._include_archived
            yield ApiPart(
                redacted(self._url),
                self._spec.schema,
                group,
                self._surprises.update,
                self._nameless.append,
                self._spec.is_archived() if leaves_out else None,
                self._left_out.append,
            )

    def close(self) -> None:
        """Stop downloading; close connections and pages."""
        background, self._background = self._background, None
        if background is None:
            return
        if self._read:
            self._read.close()
        if self._client:
            background.submit(self._client.__aexit__()).result()
        background.close()

    def _identity(self) -> dict[str, Any]:
        return {
            "provider": self._spec.name,
            "base_url": self._address.base_url,
            "options": dict(self._address.options),
            "include_archived": self._include_archived,
        }

    def _notes(self) -> Iterator[str]:
        if not self._read or not self._client:
            return
        yield from self._read.notes
        yield from self._client.traffic.notes()
        if left_out := sum(self._left_out):
            yield f"skipped {counted(left_out, 'archived customer')}; --include-archived reads {it_or_them(left_out)}"
        if nameless := sum(self._nameless):
            yield f"{counted(nameless, 'customer')} without a name: the e-mail is used instead"
        if self._surprises:
            named = ", ".join(
                f"{name} ({counted(count, 'customer')})" for name, count in sorted(self._surprises.items())
            )
            yield f"undocumented fields of {self._spec.schema.title} are kept in metadata: {named}"
