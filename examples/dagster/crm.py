"""Load the customers of the CRM every night, as an asset with its counts and with checks.

Copy it beside crm.toml; `pip install "tranship[dagster]"` fits into an environment with Dagster. pipes.py does the same
in a separate process.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import dagster as dg

import tranship

SETTINGS = Path(__file__).with_name("crm.toml")


@dg.asset(
    check_specs=[
        dg.AssetCheckSpec("no_record_lost", asset="customers", description="Every record read has one fate."),
        dg.AssetCheckSpec("no_rejects", asset="customers", description="No record was rejected or refused."),
    ],
    # A remote error is tried again; a Failure below is not.
    retry_policy=dg.RetryPolicy(max_retries=3, delay=300),
    kinds={"tranship"},
)
def customers() -> dg.MaterializeResult:
    """The customers of the CRM, each once."""
    try:
        # Dagster has no state for a skipped asset: the run waits for one that is writing to the destination.
        report = tranship.run(SETTINGS, overlap="wait")
    except (tranship.ConfigError, tranship.GateClosed) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    counts = report.counts
    not_loaded = counts.rejected + counts.refused
    reasons = {**report.rejects_by_code, **report.refused_by_reason}
    return dg.MaterializeResult(
        metadata={
            "run_id": report.run_id,
            "report": dg.MetadataValue.path(report.files["page"]),
            **asdict(counts),
        },
        check_results=[
            dg.AssetCheckResult(check_name="no_record_lost", passed=counts.balance() == 0),
            dg.AssetCheckResult(
                check_name="no_rejects",
                passed=not_loaded == 0,
                # Within max_rejects, they are a warning.
                severity=dg.AssetCheckSeverity.ERROR if report.exit_code else dg.AssetCheckSeverity.WARN,
                metadata={"not loaded": not_loaded, "reasons": reasons},
            ),
        ],
    )


nightly = dg.ScheduleDefinition(
    "crm_nightly",
    target=dg.AssetSelection.assets(customers),
    cron_schedule="15 2 * * *",
    execution_timezone="Etc/UTC",
)
definitions = dg.Definitions(assets=[customers], schedules=[nightly])
