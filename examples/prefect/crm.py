"""Load the customers of the CRM every night, as a flow with an artifact that shows the counts.

Copy it beside crm.toml; `pip install "tranship[prefect]"` fits into an environment with Prefect. `python crm.py` serves
the flow with its schedule.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.states import Completed, State

import tranship

SETTINGS = Path(__file__).with_name("crm.toml")


def may_be_better_later(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Return whether a retry makes sense: not after wrong settings, and not after a limit that stopped the run."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, (tranship.ConfigError, tranship.GateClosed, tranship.Skipped))


@task(retries=3, retry_delay_seconds=300, retry_condition_fn=may_be_better_later, persist_result=False)
def load_customers(settings: Path) -> tranship.Report:
    """Run the pipeline, and keep its counts as an artifact."""
    report = tranship.run(settings)
    create_table_artifact(
        key="crm-customers",
        table=[{"records": name, "count": count} for name, count in asdict(report.counts).items() if count],
        description=f"Run {report.run_id}: {report.status}. Report: {report.files['page']}",
    )
    return report


@flow(name="crm", timeout_seconds=7200)
def crm(settings: Path = SETTINGS) -> Any:
    """Load the customers of the CRM; fail if records were rejected that max_rejects does not allow."""
    try:
        report = load_customers(settings)
    except tranship.Skipped as error:
        return Completed(name="Skipped", message=str(error))
    if report.exit_code:
        raise RuntimeError(f"{report.status}: {report.counts.rejected} rejected, see {report.files['page']}")
    get_run_logger().info("%s", report)
    return Completed(message=f"{report.counts.read} read, {report.counts.rejected} rejected")


if __name__ == "__main__":
    crm.serve(name="nightly", cron="15 2 * * *", limit=1)
