"""Customers on their way into a provider's account, for tests: what is moved, what the account holds afterwards, what
was sent on the way.

As a program: `moving.py SETTINGS KILLS SEED LOG [no-journal]` carries out a run in a process that is killed KILLS times,
at moments that the seed chooses, and begun again each time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import polars as pl
from accounts import Account

from connectors import account, api, registry, sending, wire
from connectors.errors import ConfigError
from connectors.http import Answer, HttpClient, Patience, Service
from connectors.journal import Intent, Journal, Past, Result
from pipelines import run as flow
from pipelines import settings
from pipelines.report import Report
from schemas.wire import Wire

QUICK = Patience(first_pause=0.01, longest_pause=0.2, silence=5, total=30, settles=0.05)
"""Of a provider that is on this machine."""

_READING = ("/v1/customFields/listKeys",)
"""POSTs that change nothing."""


def customer(number: int, **fields: Any) -> dict[str, Any]:
    """One that every provider takes, in canonical fields as a CSV file has them."""
    return {
        "external_id": f"cus_{number:05}",
        "email": f"c{number}@x.example",
        "name": f"Customer {number}",
        "customer_type": "BUSINESS",
        "country": "DE",
        "created_at": "2024-01-02T03:04:05Z",
        "phone": f"+49301{number:06}",
        "city": "Köln",
        "metadata": json.dumps({"n": number, "tags": ["a", "b"]}),
        **fields,
    }


def written(file: Path, customers: Iterable[Mapping[str, Any]]) -> Path:
    """These customers as a CSV file."""
    rows = list(customers)
    columns = dict.fromkeys(name for row in rows for name in row)
    pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], infer_schema_length=None).write_csv(file)
    return file


def moved(folder: Path, source: Path | str, destination: Account | str, **options: Any) -> Report:
    """A run from a file into an account, with its state in `folder`."""
    return flow.run(given(folder, source, destination, **options))


def given(folder: Path, source: Path | str, destination: Account | str, **options: Any) -> settings.Settings:
    """Its settings."""
    address = destination.address if isinstance(destination, Account) else destination
    said = {"source": str(source), "destination": address, "state_dir": folder / "state"}
    return settings.load({**said, **options}, {})


def outcomes(report: Report) -> list[dict[str, Any]]:
    """What became of each record: row, action, outcome, reason, provider_id."""
    return pl.read_parquet(report.files["outcomes"]).sort("row").to_dicts()


def planned(report: Report) -> list[dict[str, Any]]:
    """What was to become of each: row, action, reason, changed."""
    return pl.read_parquet(report.files["plan"]).sort("row").to_dicts()


def writes(there: Account) -> list[dict[str, Any]]:
    """The calls noted that would change something."""
    return [call for call in there.sandbox.calls() if call["method"] != "GET" and not call["path"].startswith(_READING)]


def wire_of(there: Account) -> Wire:
    """How its records look."""
    return registry._api(there.provider).wire


def settable(there: Account, *without: str) -> list[dict[str, Any]]:
    """What it holds, sorted: what can be set, and not what it makes itself."""
    declared = wire_of(there)
    names = [one.name for one in declared.fields if one.settable and not one.told] + [declared.bag.name]
    records = [{name: one.get(name) for name in names if name not in without} for one in there.sandbox.state()]
    return sorted(records, key=lambda one: json.dumps(one, sort_keys=True))


def held(there: Account) -> dict[str, dict[str, Any]]:
    """What it holds, as canonical customers by its own ids; text as it came."""
    declared = wire_of(there)
    records = there.sandbox.state()
    decoded = wire.decode(declared, [json.dumps(records).encode()], [])
    rows = decoded.records.to_dicts()
    return {str(row["provider_id"]): row for row in rows}


# A process that dies -------------------------------------------------------------------------------------------------


class Forgetful(Journal):
    """A journal that is switched off."""

    async def intend(self, intents: Sequence[Intent]) -> None:
        await asyncio.sleep(0)

    def settle(self, results: Sequence[Result]) -> None:
        pass

    def past(self, rows: Sequence[int]) -> Mapping[int, Past]:
        return {}


class Clock:
    """Counts the moments of a life: before and after each request and each entry of the journal."""

    def __init__(self, last: int) -> None:
        self.moments, self._last = 0, last

    def tick(self) -> None:
        self.moments += 1
        if self.moments == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def _mortal(clock: Clock, log: Path, journal: type[Journal]) -> None:
    """From now on this process can die, and notes the rows of what it sends."""
    sent = log.open("a", buffering=1)

    class Mortal(HttpClient):
        async def attempt(self, method: str, path: str, **named: Any) -> Answer:
            body = named.get("body")
            if body is not None:
                rows = [f"{crc32(row):08x}" for row in _rows_of(body)]
                sent.write(json.dumps([f"{crc32(body):08x}", rows]) + "\n")
            clock.tick()
            answer = await super().attempt(method, path, **named)
            clock.tick()
            return answer

        async def fetch(self, *given: Any, **named: Any) -> Any:
            clock.tick()
            answer = await super().fetch(*given, **named)
            clock.tick()
            return answer

    class Noting(journal):  # type: ignore[misc, valid-type]
        async def intend(self, intents: Sequence[Intent]) -> None:
            clock.tick()
            await super().intend(intents)
            clock.tick()

        def settle(self, results: Sequence[Result]) -> None:
            clock.tick()
            super().settle(results)
            clock.tick()

    sending.HttpClient, sending.Journal, api.HttpClient = Mortal, Noting, Mortal  # type: ignore[misc]
    hurry()


def hurry(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on pauses are as they are right for a provider on this machine, and no pace is declared."""

    def unpaced(*given: Any) -> Service:
        return replace(api.service(*given), per_second={})

    put(account, "carry_out", partial(sending.carry_out, patience=QUICK))
    put(account, "ApiSource", partial(api.ApiSource, patience=QUICK))
    put(account, "service", unpaced)


def _rows_of(body: bytes) -> list[bytes]:
    """The customers of a body, where there are several in it."""
    content = json.loads(body)
    if isinstance(content, dict) and isinstance(content.get("customers"), list):
        content = content["customers"]
    return [json.dumps(row, sort_keys=True).encode() for row in content] if isinstance(content, list) else [body]


def _lived(given: Mapping[str, Any], last: int, log: Path, journal: type[Journal]) -> None:
    clock = Clock(last)
    _mortal(clock, log, journal)
    try:
        try:
            flow.resume(Path(given["state_dir"]), "last")
        except ConfigError as error:
            if not ("finished" in str(error) or "no run" in str(error)):
                raise
            flow.run(settings.load(dict(given), {}))
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def main(file: str, kills: str, seed: str, log: str, *off: str) -> int:
    """Lives until one is not killed; the number of deaths is told on standard output."""
    plan = json.loads(Path(file).read_text())
    given, moments = plan["settings"], plan["moments"]
    chance, deaths = random.Random(seed), 0
    for life in range(int(kills) + 1):
        last = chance.randint(1, moments) if life < int(kills) else 0
        child = os.fork()
        if child == 0:
            _lived(given, last, Path(log), Forgetful if off else Journal)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(deaths)
            return os.waitstatus_to_exitcode(status)
        deaths += 1
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
