"""Plans for `connectors.api.executor` to carry out at a sandbox of MarginFront, and a process that is killed while it
does. As a program: `writing.py URL FOLDER SEED KILLS [no-journal]` carries out the plan in FOLDER, killed at KILLS
random moments and restarted each time, until it is complete.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from support.no_journal import NoJournal
from tranship.connectors.api import executor
from tranship.connectors.api.executor import ExecutionResult, carry_out
from tranship.connectors.api.http_client import HttpClient, HttpResponse
from tranship.connectors.api.journal import Intent, Journal, Result
from tranship.connectors.api.operations import Record
from tranship.connectors.api.request_files import REQUESTS
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.service import Service
from tranship.connectors.api.spec import ProviderAddress
from tranship.connectors.providers import marginfront

QUICK = RetryPolicy(first_pause=0.01, longest_pause=0.2, silence=60, total=120, settles=0.05)

BAD = {
    "statuses": {"500": 0.05, "503": 0.03, "429": 0.05},
    "late": 0.5,
    "cut_after": 0.06,
    "cut_before": 0.04,
    "retry_seconds": 0.02,
    "retry_after": "milliseconds",
}
"""Weather in which answers are lost, late and refused; the pauses that it requests are short."""

OPERATIONS = marginfront.build_operations(ProviderAddress(""))


def service(url: str, key: str = "mf_sk_test", **options: Any) -> Service:
    return Service("MarginFront", f"{url}/v1", "MF_API_SECRET_KEY", key, {"x-api-key": key}, **options)


# Plans ---------------------------------------------------------------------------------------------------------------


def customer(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "externalId": f"cus_{number:05}",
        "name": f"Customer {number}",
        "email": f"c{number}@x.example",
        "netTerms": 30,
        "timezone": "UTC",
        "status": "active",
        "metadata": {"n": number, "tags": ["a", "b"]},
        **fields,
    }


def create(row: int, wanted: Record, **fields: Any) -> dict[str, Any]:
    given = {"external_id": wanted.get("externalId"), "email": wanted.get("email"), **fields}
    return {"row": row, "action": "create", "target": None, **given, "wanted": json.dumps(wanted), "found": None}


def update(row: int, found: Record, **changes: Any) -> dict[str, Any]:
    return _known(row, "update", found) | {"wanted": json.dumps({**found, **changes})}


def delete(row: int, found: Record) -> dict[str, Any]:
    return _known(row, "delete", found) | {"wanted": None}


def _known(row: int, action: str, found: Record) -> dict[str, Any]:
    known = {"external_id": found["externalId"], "email": found["email"], "found": json.dumps(found)}
    return {"row": row, "action": action, "target": found["id"], **known}


def write(folder: Path, rows: Sequence[Mapping[str, Any]], count: int = 2) -> list[Path]:
    """Write the plan of these rows, in several files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    size = -(-len(rows) // count)
    for at in range(0, len(rows), size):
        files.append(folder / f"{at:06}.parquet")
        pq.write_table(pa.Table.from_pylist(list(rows[at : at + size]), schema=REQUESTS), files[-1])
    return files


def send(url: str, folder: Path, **options: Any) -> ExecutionResult:
    """Carry out the plan in a folder."""
    given = {"operations": OPERATIONS, "service": service(url), "run_id": "run", "retry_policy": QUICK, **options}
    files = sorted(folder.glob("*.parquet"))
    places = {"journal": folder / "journal.sqlite", "outcomes": folder / "outcomes"}
    return carry_out(files, given.pop("operations"), given.pop("service"), **places, **given)


def outcomes(folder: Path) -> dict[int, tuple[str, str, str | None]]:
    """Return row → action, outcome, reason."""
    found = pq.read_table(folder / "outcomes").to_pylist()
    return {one["row"]: (one["action"], one["outcome"], one["reason"]) for one in found}


# A process that is killed
# -------------------------------------------------------------------------------------------------


def _lives(url: str, folder: Path, seed: int, kills: int, journal: type[Journal]) -> int:
    """Start processes until one is not killed. A moment is any event: before and after each request and each entry."""
    chance = random.Random(seed)
    for life in range(kills + 1):
        child = os.fork()
        if child == 0:
            _live(url, folder, chance.randint(1, 400) if life < kills else 0, journal)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
    return 1


def _live(url: str, folder: Path, moments: int, journal: type[Journal]) -> None:
    left = moments

    def moment() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    class Mortal(HttpClient):
        async def attempt(self, *given: Any, **named: Any) -> HttpResponse:
            moment()
            answer = await super().attempt(*given, **named)
            moment()
            return answer

    class Remembering(journal):  # type: ignore[misc, valid-type]
        async def intend(self, intents: Sequence[Intent], reach: int = 0) -> None:
            moment()
            await super().intend(intents, reach)
            moment()

        def settle(self, results: Sequence[Result]) -> None:
            moment()
            super().settle(results)
            moment()

    executor.HttpClient, executor.Journal = Mortal, Remembering  # type: ignore[misc]
    try:
        send(url, folder)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    address, place, seeding, times, *off = sys.argv[1:]
    sys.exit(_lives(address, Path(place), int(seeding), int(times), NoJournal if off else Journal))
