"""The asset of crm.py with Dagster Pipes: Tranship runs in a separate process and environment.

Then the packages of Dagster and of Tranship need not fit each other: `pip install tranship dagster-pipes` in the other
environment, whose Python is $TRANSHIP_PYTHON. Copy job.py and crm.toml beside this file.
"""

import os
import sys
from pathlib import Path

import dagster as dg

JOB = Path(__file__).with_name("job.py")


@dg.asset(
    check_specs=[dg.AssetCheckSpec("no_rejects", asset="customers", description="No record was rejected or refused.")],
    kinds={"tranship"},
)
def customers(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
    """The customers of the CRM, each once."""
    command = [os.environ.get("TRANSHIP_PYTHON", sys.executable), str(JOB)]
    return pipes.run(command=command, context=context, cwd=str(JOB.parent)).get_materialize_result()


definitions = dg.Definitions(assets=[customers], resources={"pipes": dg.PipesSubprocessClient()})
