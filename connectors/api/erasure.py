"""What a person has to do to delete a customer at a provider."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from tranship.connectors.addresses import redacted
from tranship.connectors.api.operations import Operations
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, parse_address


def plan(
    spec: ProviderSpec,
    url: str,
    build_operations: Callable[[ProviderAddress], Operations],
    own_ids: Collection[str],
) -> str:
    """Return the provider's ids of the customer and what its API permits. Raises ConfigError."""
    operations = build_operations(parse_address(spec, url, os.environ)).for_undo()
    title = spec.schema.title
    if not own_ids:
        return f"{title} ({redacted(url)}): no run of this state directory has written this customer there.\n"
    ids = "\n".join(f"  {own_id}" for own_id in sorted(own_ids))
    if operations.remove is None:
        permitted = "Its API cannot delete customers: ask the provider to do so."
    elif spec.archives:
        permitted = (
            "Its API archives customers, which does not erase their values: change the values first, or ask the "
            "provider to erase them."
        )
    else:
        permitted = "Its API deletes customers."
    final = f"\nBefore you do: {spec.removal_is_final}." if spec.removal_is_final else ""
    return f"{title} ({redacted(url)}) has the customer as:\n\n{ids}\n\n{permitted}{final}\n"
