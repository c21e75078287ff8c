"""MarginFront: reads customers, with a secret key (`mf_sk_…`) in MF_API_SECRET_KEY.

`marginfront://`, or `marginfront://127.0.0.1:8703` for a sandbox. `?page_size=` asks for other pages than of 100.

https://docs.marginfront.com/sdk/customers, https://marginfront.mintlify.app/api-reference/errors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.api import Address, Api, page_size
from connectors.pages import Envelope, Listing, Numbered
from schemas.marginfront import WIRE

_PAGE = 100
"""The largest that is allowed: https://marginfront.mintlify.app/mcp/tools"""


def _listings(address: Address, _: bool) -> list[Listing]:
    # `hasMore` is documented, a bare list is what the SDK's type also allows; the reader takes both.
    envelope = Envelope(("data",), total=("totalResults",), more=("hasMore",))
    turn = Numbered("page", "limit", page_size(address, _PAGE))
    return [Listing("customers", "/customers", turn, envelope, created="createdAt")]


def _said(body: Any) -> str | None:
    message = body["message"]
    return "; ".join(message) if isinstance(message, list) else message


def _advice(key: str) -> Mapping[int, str]:
    if key.startswith("mf_pk_"):
        told = (
            "This is a publishable key (mf_pk_…), which reads no customers: set MF_API_SECRET_KEY to a secret one "
            "(mf_sk_…)."
        )
        return {401: told, 403: told}
    return {
        401: "The key in MF_API_SECRET_KEY is not accepted; one of a test environment is not valid in the live one, "
        "and the other way round."
    }


def _rights(key: str) -> str | None:
    return "a secret key (mf_sk_…): may read and write" if key.startswith("mf_sk_") else None


API = Api(
    wire=WIRE,
    key_variables=("MF_API_SECRET_KEY",),
    header=lambda key: {"x-api-key": key},
    listings=_listings,
    said=_said,
    base_url="https://api.marginfront.com/v1",
    path="/v1",
    base_url_variable="MF_API_BASE_URL",
    options={"page_size": "customers a page"},
    advice=_advice,
    rights=_rights,
)
