"""Metronome: reads customers, with a bearer token in METRONOME_BEARER_TOKEN; archived ones too where they are wanted.

`metronome://`, or `metronome://127.0.0.1:8701` for a sandbox; METRONOME_BASE_URL counts where the address names no
host. `?page_size=` asks for other pages than of 100.

https://docs.metronome.com/api-reference/customers/list-customers, https://docs.metronome.com/api-reference/pagination,
https://docs.metronome.com/api-reference/status-codes
"""

from __future__ import annotations

from typing import Any, Final

from connectors.api import Address, Api, page_size
from connectors.pages import Cursor, Envelope, Listing
from schemas.metronome import WIRE

_PAGE: Final = 100
"""The largest that is allowed. The pagination page advises 50 for bulk reads, twice the calls of a list in which each
page has to wait for the one before it."""


def _listings(address: Address, include_archived: bool) -> list[Listing]:
    turn = Cursor("next_page", "limit", page_size(address, _PAGE))
    envelope = Envelope(("data",), next=("next_page",))

    def listing(name: str, archived: str) -> Listing:
        # There is no list of both, and none says how many there are: a customer that moves from the pages to come to
        # those that were read shows only when the list is read again.
        params = {"only_archived": archived}
        return Listing(name, "/v1/customers", turn, envelope, params, created="created_at", twice=True)

    active = listing("active customers", "false")
    return [active, listing("archived customers", "true")] if include_archived else [active]


def _said(body: Any) -> str | None:
    return str(body["message"])


API: Final = Api(
    wire=WIRE,
    key_variables=("METRONOME_BEARER_TOKEN",),
    header=lambda token: {"Authorization": f"Bearer {token}"},
    listings=_listings,
    said=_said,
    base_url="https://api.metronome.com",
    base_url_variable="METRONOME_BASE_URL",
    options={"page_size": "customers a page, at most 100"},
    archives=True,
)
