"""The ledger: a table with one row for each run, in the same schema as the table that the run wrote."""

from __future__ import annotations

from typing import Any, Final

from tranship.connectors.contract import Plan, WriteRequest

LEDGER: Final = "_tranship_ledger"
LEDGER_COUNTS: Final = (
    *("read", "rejected", "merged", "created"),
    *("updated", "unchanged", "refused", "deleted"),
)
LATER_COUNTS: Final = ("stale", "skipped")
"""Counts that a ledger of an earlier version lacks."""


def ledger_row(request: WriteRequest, plan: Plan, table: str) -> dict[str, Any]:
    """Return the ledger row of a run whose plan is written, without the time at which it finished."""
    counts = plan.counts
    return {
        **{"run_id": request.run_id, "table_name": table, "source": request.source, "mode": request.mode},
        "started_at": request.started_at,
        "read": request.ledger["read"],
        "rejected": request.ledger["rejected"] + counts["ambiguous"],
        "merged": request.ledger["merged"],
        "created": counts["create"],
        "updated": counts["update"],
        "unchanged": counts["unchanged"],
        "refused": counts["refused"],
        "deleted": counts["delete"],
        "stale": counts.get("stale", 0),
        "skipped": request.ledger.get("skipped", 0),
    }
