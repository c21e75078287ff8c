"""Load the customers of the CRM every night, within the worker's process.

Copy it to the folder of DAGs, and crm.toml beside it. `pip install "tranship[airflow]"` fits into an environment with
Airflow 3; the variables in crm.toml are those of the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk import DAG, BaseOperator, Context

import tranship


class TranshipOperator(BaseOperator):
    """Run a pipeline of a settings file; `options` are those of tranship.run and override the file.

    The XCom has the id of the run and its counts. Only remote errors are retried: a limit that stopped the run, and
    settings that are wrong, will be the same in five minutes.
    """

    template_fields = ("settings", "options")

    def __init__(self, settings: str, options: Mapping[str, Any] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.settings = settings
        self.options = dict(options or {})

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the run's id and counts."""
        try:
            report = tranship.run(self.settings, **self.options)
        except tranship.Skipped as error:
            raise AirflowSkipException(str(error)) from error
        except (tranship.ConfigError, tranship.GateClosed) as error:
            raise AirflowFailException(str(error)) from error
        counts = {"run_id": report.run_id, **asdict(report.counts)}
        self.log.info("%s", counts)
        if report.exit_code:
            context["ti"].xcom_push(key="return_value", value=counts)
            raise AirflowFailException(f"{report.status}: {counts['rejected']} rejected, see {report.files['page']}")
        return counts


with DAG(
    "crm",
    schedule="15 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5), "execution_timeout": timedelta(hours=2)},
) as dag:
    TranshipOperator(task_id="load_customers", settings=str(Path(__file__).parent / "crm.toml"))
