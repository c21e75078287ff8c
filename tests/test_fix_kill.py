"""A fix that is killed at any moment and repeated: each reject has one fate, and nothing is doubled.

`TRANSHIP_KILLS` tries all moments; by default a few.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import tranship
from support.warehouse import Warehouse

pytestmark = pytest.mark.kill

MOMENTS = range(1, 11) if os.environ.get("TRANSHIP_KILLS") else (3, 6, 7, 8)
"""After so many writes of state: among them those before and after the commit of the destination."""

FIX = """
import os, signal, sys
import tranship
from tranship.connectors import durable
left, write_json = int(sys.argv[1]), durable.write_json

def mortal(*given, **named):
    global left
    write_json(*given, **named)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

durable.write_json = mortal
tranship.fix(sys.argv[2], sys.argv[3], state_dir=sys.argv[4])
"""
ROWS = "".join(f"{at},Name {at},n{at}@@acme.com\n" for at in range(20))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_fix_is_repeated(moment: int, tmp_path: Path) -> None:
    house, state = Warehouse(tmp_path), tmp_path / "state"
    (tmp_path / "in.csv").write_text(f"id,name,email\n{ROWS}")
    report = house.load(tmp_path / "in.csv", mode="insert")
    file = tmp_path / "rejects.csv"
    tranship.fix(report.run_id, out=file, state_dir=state)
    rejects = pl.read_csv(file, infer_schema_length=0).head(15)
    action = pl.when(pl.col("id").cast(pl.Int32) > 12).then(pl.lit("drop")).otherwise(pl.lit("")).alias("_action")
    rejects.with_columns(pl.col("email").str.replace("@@", "@"), action).write_csv(file)
    killed = subprocess.run([sys.executable, "-c", FIX, str(moment), report.run_id, str(file), str(state)], check=False)
    done = tranship.fix(report.run_id, file, state_dir=state)
    again = tranship.fix(report.run_id, file, state_dir=state)

    fixes = json.loads((Path(report.run_dir) / "report.json").read_text())["fixes"]
    assert (fixes["loaded"], fixes["dropped"], fixes["open"]) == (13, 2, 5)
    assert done.fixes == again.fixes
    assert len(fixes["runs"]) == 1, "what was committed was not loaded again"
    assert len(house.column("external_id")) == 13
    assert again.report is None
    assert killed.returncode == -signal.SIGKILL
