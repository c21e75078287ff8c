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


def ledger_row(load: WriteRequest, plan: Plan, table: str) -> dict[str, Any]:
    """The ledger as it stands when the plan has been carried out, without the time of its end."""
    counts = plan.counts
    return {
        **{"run_id": load.run_id, "table_name": table, "source": load.source, "mode": load.mode},
        "started_at": load.started_at,
        "read": load.ledger["read"],
        "rejected": load.ledger["rejected"] + counts["ambiguous"],
        "merged": load.ledger["merged"],
        "created": counts["create"],
        "updated": counts["update"],
        "unchanged": counts["unchanged"],
        "refused": counts["refused"],
        "deleted": counts["delete"],
        "stale": counts.get("stale", 0),
        "skipped": load.ledger.get("skipped", 0),
    }
