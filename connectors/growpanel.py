"""GrowPanel: reads the raw customers of one data source, with any key that may read, in GROWPANEL_API_KEY.

`growpanel://?source=ds_main`, or `growpanel://127.0.0.1:8704?source=ds_main` for a sandbox. All customers come in one
answer: there are no pages, and no archived customers.

https://api.growpanel.io/openapi.json, https://growpanel.io/docs/rest-api/reference/data/customers,
https://growpanel.io/developers/rest-api/authentication
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from connectors.api import Address, Api, Finding
from connectors.pages import Envelope, Listing, Whole
from schemas.growpanel import WIRE

_PER_MINUTE = {"GET": 300, "POST": 100, "PUT": 100, "DELETE": 50}
"""https://growpanel.io/developers/rest-api/rate-limiting"""


def _listings(address: Address, _: bool) -> list[Listing]:
    source = address.options["source"]
    # The specification calls it `source`, GrowPanel's own command line sends `data_source`. `count` are the rows of
    # the answer. Ids are the account's own and creation times can be set: none of both tells when a customer came.
    params = {"source": source, "data_source": source}
    envelope = Envelope(("result", "list"), total=("result", "count"))
    return [Listing("customers", "/data/customers", Whole(), envelope, params)]


def _said(body: Any) -> str | None:
    # `error` in the specification, `message` in the older reference.
    said: str | None = body.get("error") or body.get("message")
    return said


def _advice(_: str) -> Mapping[int, str]:
    return {
        400: "Check ?source= in the address: it is the id of a data source.",
        403: "The account may be blocked or its trial over, or the key may belong to another data source.",
        404: "Check the base URL; GROWPANEL_API_URL may name another one, with or without /v1.",
    }


class _Source(msgspec.Struct):
    id: str


class _Sources(msgspec.Struct):
    result: list[_Source]


def _probe(_: Address) -> tuple[str, Sequence[tuple[str, str]]]:
    # One customer would do as well, but a data source that does not exist may be answered like an empty one.
    return "/data/data-sources", []


def _seen(address: Address, body: bytes) -> list[Finding]:
    """Whether the data source is there."""
    wanted = address.options["source"]
    try:
        there = [source.id for source in msgspec.json.decode(body, type=_Sources).result]
    except msgspec.DecodeError:
        return [Finding("data source", "warn", "GrowPanel does not say which data sources there are")]
    if wanted in there:
        return [Finding("data source", "ok", f"{wanted} is there")]
    known = f"there are: {', '.join(there)}" if there else "there are none"
    return [Finding("data source", "fail", f"there is no data source {wanted}; {known}. Name one with ?source=")]


API = Api(
    wire=WIRE,
    key_variables=("GROWPANEL_API_KEY", "GROWPANEL_API_TOKEN"),
    header=lambda key: {"Authorization": f"Bearer {key}"},
    listings=_listings,
    said=_said,
    base_url="https://api.growpanel.io",
    base_url_variable="GROWPANEL_API_URL",
    options={"source": "the id of the data source to read"},
    required=("source",),
    advice=_advice,
    per_second={method: calls / 60 for method, calls in _PER_MINUTE.items()},
    probe=_probe,
    seen=_seen,
)
