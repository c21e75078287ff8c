"""The ledger: a table with one row for each run, in the schema of the tables that the runs wrote."""

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
    """The ledger as it stands when the plan has been carried out, without the time of its end."""
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
