"""BlackWalnut: reads an app's customers, with a secret (`sk_…`) or public key (`pk_…`) in BLACKWALNUT_API_KEY.

`blackwalnut://host/my-app`: the host is your own instance, behind it stands the app's slug. Without a host
BLACKWALNUT_BASE_URL counts (`https://host/api/v1`), without an app BLACKWALNUT_APP.

https://blackwalnut.dev/docs/api/customers/, https://blackwalnut.dev/docs/api/authentication/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.api import Address, Api
from connectors.pages import Envelope, Listing, Numbered
from schemas.blackwalnut import WIRE

_PAGE = 100
"""The largest that is allowed: https://blackwalnut.dev/docs/api/customers/"""


def _listings(address: Address, _: bool) -> list[Listing]:
    envelope = Envelope(("data",), total=("meta", "total"))
    path = f"/apps/{address.options['app']}/customers"
    return [Listing("customers", path, Numbered("page", "per_page", _PAGE), envelope, created="created_at")]


def _said(body: Any) -> str | None:
    error = body["error"]
    return f"{error['code']}: {error['message']}"


def _advice(_: str) -> Mapping[int, str]:
    return {404: "Check the app's slug behind the host, and that the host is a BlackWalnut instance."}


def _rights(key: str) -> str | None:
    # https://blackwalnut.dev/docs/api/authentication/
    if key.startswith("sk_"):
        return "a secret key (sk_…): may read and write"
    return "a public key (pk_…): may read, and not write" if key.startswith("pk_") else None


API = Api(
    wire=WIRE,
    key_variables=("BLACKWALNUT_API_KEY",),
    header=lambda key: {"Authorization": f"Bearer {key}"},
    listings=_listings,
    said=_said,
    path="/api/v1",
    base_url_variable="BLACKWALNUT_BASE_URL",
    app_variable="BLACKWALNUT_APP",
    advice=_advice,
    rights=_rights,
)
