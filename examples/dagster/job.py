"""The process that pipes.py starts: it runs the pipeline and reports counts and rejects to Dagster."""

from __future__ import annotations

import sys
from dataclasses import asdict

from dagster_pipes import open_dagster_pipes

import tranship


def main() -> int:
    """Run the pipeline; return the exit code, which is also that of the command."""
    with open_dagster_pipes() as pipes:
        try:
            report = tranship.run("crm.toml", overlap="wait")
        except tranship.TranshipError as error:
            pipes.log.error(str(error))
            return error.exit_code
        counts = report.counts
        not_loaded = counts.rejected + counts.refused
        pipes.report_asset_materialization(metadata={"run_id": report.run_id, **asdict(counts)})
        pipes.report_asset_check(
            check_name="no_rejects",
            passed=not_loaded == 0,
            severity="ERROR" if report.exit_code else "WARN",
            metadata={"not loaded": not_loaded},
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
