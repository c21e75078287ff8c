"""A provider that misbehaves: a sandbox whose answers are changed in transit. An answer is identified by its method,
its route and whether it is an error.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
from msgspec.structs import replace

from support import writing
from support.accounts import USUAL
from support.provider_writing import Writer
from support.sandboxes import Sandbox
from tranship.connectors.api.executor import carry_out
from tranship.connectors.api.health import check
from tranship.connectors.api.known_ids import KnownIds, write_known_ids
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.source import ApiSource
from tranship.connectors.api.spec import service
from tranship.connectors.errors import TranshipError
from tranship.connectors.sandbox.contract import Answer, Call
from tranship.connectors.sandbox.server import running

Keys = tuple[str | int, ...]
Kind = tuple[str, str, bool]
"""Method, route, and whether the answer is an error."""

QUICK: Final = RetryPolicy(tries=2, first_pause=0.001, longest_pause=0.001, connect=5, silence=5, total=5, settles=0)


@dataclass
class Interceptor:
    """Changes answers: those of `kind` are replaced by `change(answer)`; `seen` has one of each kind."""

    kind: Kind | None = None
    change: Callable[[Any], bytes] = field(default=lambda answer: json.dumps(answer).encode())
    seen: dict[Kind, Any] = field(default_factory=dict)

    async def around(
        self, call: Call, execute: Callable[[], Awaitable[Answer]], inner: Callable[..., Awaitable[Answer]]
    ) -> Answer:
        answer = await inner(call, execute)
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        kind = (call.method, call.route.path, answer.status >= 400)
        if body:
            self.seen.setdefault(kind, json.loads(body))
            body = self.change(json.loads(body)) if kind == self.kind else body
        return answer._replace(body=body)


@contextlib.contextmanager
def intercepted(provider: str, **options: Any) -> Iterator[tuple[Writer, Interceptor]]:
    """Run a sandbox whose answers can be changed; `options` are those of `Server`."""
    with running(provider, **options) as (url, server):
        interceptor, inner = Interceptor(), server.api.around
        server.api = replace(server.api, around=lambda call, execute: interceptor.around(call, execute, inner))
        yield Writer(provider, Sandbox(url)), interceptor


def refill(writer: Writer) -> list[dict[str, Any]]:
    """Replace all customers there by four, and return them."""
    writer.sandbox.clear()
    writer.__dict__.pop("operations", None)
    writer.prepare()
    for number in range(4):
        writer.make(writer.particulars.customer(number))
    return sorted(writer.sandbox.state(), key=lambda record: str(writer.external_id(record)))


# Uses of such a provider --------------------------------------------------------------------------------


def read(writer: Writer, folder: Path) -> None:
    """Read all customers. Raises the errors of the source."""
    source = ApiSource(writer.spec, address(writer), retry_policy=QUICK, environment=writer.key)
    try:
        for part in source.parts(folder):
            part.read()
        source.layouts()
    finally:
        source.close()


def look(writer: Writer, _: Path) -> None:
    """Run the checks of `tranship doctor`."""
    check(writer.spec, address(writer), retry_policy=QUICK, environment=writer.key)


def write(writer: Writer, folder: Path) -> None:
    """Carry out `plan`; with `begun` in the folder's name, everything may have been sent before. Raises the errors of
    the executor."""
    found = sorted(writer.sandbox.state(), key=lambda record: str(writer.external_id(record)))
    folder.mkdir()
    writing.write(folder, plan(writer, found))
    with contextlib.closing(_database().cursor()) as run:
        run.execute("CREATE OR REPLACE TABLE there (own_id VARCHAR)").fetchall()
        run.executemany("INSERT INTO there VALUES (?)", [[record[USUAL[writer.provider].id]] for record in found])
        write_known_ids(run, folder)
    known_ids = KnownIds.read(folder)
    (folder / "account_ids.parquet").unlink()
    carry_out(
        sorted(folder.glob("*.parquet")),
        writer.operations,
        replace(service(writer.spec, writer.address, writer.key), per_second={}),
        run_id="run",
        journal=folder / "journal.sqlite",
        outcomes=folder / "outcomes",
        retry_policy=QUICK,
        begun="begun" in folder.name,
        known_ids=known_ids,
    )


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """One for all writes: to open it takes longer than to write."""
    return duckdb.connect(config={"threads": 1})


def plan(writer: Writer, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows that change two customers, remove a third one, and create several, one of which exists already.

    The fourth customer is not touched.
    """
    customer, others = writer.particulars.customer, writer.particulars.without_external_id
    rows = [writer.update(row, record, writer.particulars.changes[0]) for row, record in enumerate(found[:2])]
    rows.append(writer.delete(2, found[2]))
    rows += [writer.create(row, customer(number)) for row, number in ((3, 500), (4, 501), (5, 0))]
    return [*rows, writer.create(6, others(7))] if others else rows


def address(writer: Writer) -> str:
    return f"{writer.provider}://127.0.0.1:{writer.sandbox.port}{USUAL[writer.provider].address}"


def misbehaved(work: Callable[[Writer, Path], None], writer: Writer, folder: Path) -> BaseException | None:
    """Return the error that no user may see, if there is one."""
    try:
        work(writer, folder)
    except TranshipError as error:
        return None if error.exit_code == 3 else error
    except BaseException as error:
        return error
    return None


# Any JSON in any place -------------------------------------------------------------------------------------------

NESTED: Final = "[" * 400 + "]" * 400
VALUES: Final = (
    *("null", "true", "false", "0", "1", "-1", "0.5", "1e400", "9" * 30, "9" * 5000),
    *('"9999-12-31T23:59:59-01:00"', '"0001-01-01T00:00:00+01:00"', '"2026-13-01T00:00:00Z"'),
    *('""', '"x"', '"\\ud800"', '"\\u0000"', '".."', '"%2e%2e"', '"a/b?c#d"', "[]", "[null]", "[[]]", "{}"),
    *('{"x":{}}', NESTED, "[" * 100_000 + "]" * 100_000),
)
"""JSON values, as text."""


def with_value(keys: Keys, value: str) -> Callable[[Any], bytes]:
    """Return a function that puts the JSON `value` into one place of an answer, if it has that place."""
    mark = "\0place\0"

    def change(answer: Any) -> bytes:
        if not keys:
            return value.encode()
        with contextlib.suppress(KeyError, IndexError, TypeError):
            inner = answer
            for key in keys[:-1]:
                inner = inner[key]
            inner[keys[-1]]
            inner[keys[-1]] = mark
        return json.dumps(answer).replace(json.dumps(mark), value).encode()

    return change


def places(answer: Any, keys: Keys = ()) -> Iterator[Keys]:
    """Yield all places of an answer; of a list, the first and the last element."""
    yield keys
    if isinstance(answer, dict):
        for key in answer:
            yield from places(answer[key], (*keys, key))
    elif isinstance(answer, list):
        for place in sorted({0, len(answer) - 1}) if answer else ():
            yield from places(answer[place], (*keys, place))
