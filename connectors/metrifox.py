"""Metrifox: reads customers, with a key in METRIFOX_API_KEY; archived ones too where they are wanted.

`metrifox://`, or `metrifox://127.0.0.1:8702` for a sandbox. `?page_size=` asks for other pages than of 100.

https://docs.metrifox.com/api-reference/customers/post, https://pypi.org/project/metrifox-sdk,
https://github.com/metrifox/metrifox-js
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from connectors.api import Address, Api, page_size
from connectors.pages import Envelope, Listing, Numbered
from schemas.metrifox import WIRE

_PAGE: Final = 100
"""The largest page is not documented; where Metrifox gives shorter ones, the reader goes by their length."""

_ARCHIVED: Final = "metrifox.archived_at"


def _listings(address: Address, _include_archived: bool) -> list[Listing]:
    # One list holds all. The newest come first: each customer that is created meanwhile shifts all pages by one.
    envelope = Envelope(("data",), total=("meta", "total_count"), next=("meta", "next_page"))
    turn = Numbered("page", "per_page", page_size(address, _PAGE))
    return [Listing("customers", "/customers", turn, envelope, created="created_at")]


def _said(body: Any) -> str | None:
    return str(body["message"])


API: Final = Api(
    wire=WIRE,
    key_variables=("METRIFOX_API_KEY",),
    header=lambda key: {"x-api-key": key},
    listings=_listings,
    said=_said,
    base_url="https://api.metrifox.com/api/v1",
    path="/api/v1",
    options={"page_size": "customers a page"},
    archives=True,
    # The first look is quick, the second one exact.
    archived=pl.col("metadata").str.contains(f'"{_ARCHIVED}":', literal=True)
    & pl.col("metadata").str.json_path_match(f'$["{_ARCHIVED}"]').is_not_null(),
)
