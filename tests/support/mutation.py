"""A provider that answers with any JSON value in any place: a sandbox whose recorded answers are changed in one place.

An answer is named by its method, route and whether it is an error; a change by the keys that lead to its place.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from support.accounts import USUAL
from support.provider_writing import Writer
from support.sandboxes import Sandbox
from tranship.connectors.api.executor import carry_out
from tranship.connectors.api.health import check
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.source import ApiSource
from tranship.connectors.api.spec import service
from tranship.connectors.errors import TranshipError
from tranship.connectors.sandbox.contract import Answer, Call
from tranship.connectors.sandbox.server import running

Keys = tuple[str | int, ...]
Kind = tuple[str, str, bool]
"""Method, route, and whether the answer is an error."""

NESTED: Final = "[" * 400 + "]" * 400
VALUES: Final = (
    *("null", "true", "false", "0", "1", "-1", "0.5", "1e400", "9" * 30, "9" * 5000),
    *('""', '"x"', '"\\ud800"', '"\\u0000"', '".."', '"%2e%2e"', '"a/b?c#d"', "[]", "[null]", "[[]]", "{}"),
    *('{"x":{}}', NESTED),
)
"""JSON values, as text."""

QUICK: Final = RetryPolicy(tries=2, first_pause=0.001, longest_pause=0.001, connect=5, silence=5, total=5, settles=0)


@dataclass
class Mutation:
    """What is changed: all answers of a kind get `value` in the place; `seen` has the first answer of each kind."""

    kind: Kind | None = None
    keys: Keys = ()
    value: str = "null"
    seen: dict[Kind, Any] = field(default_factory=dict)
    used: int = 0

    async def around(
        self, call: Call, execute: Callable[[], Awaitable[Answer]], inner: Callable[..., Awaitable[Answer]]
    ) -> Answer:
        answer = await inner(call, execute)
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        kind = (call.method, call.route.path, answer.status >= 400)
        if not body:
            return answer
        decoded = json.loads(body)
        self.seen.setdefault(kind, decoded)
        if kind != self.kind:
            return answer._replace(body=body)
        with contextlib.suppress(KeyError, IndexError, TypeError):
            body = changed(decoded, self.keys, self.value)
            self.used += 1
        return answer._replace(body=body)


def changed(answer: Any, keys: Keys, value: str) -> bytes:
    """The JSON of an answer with the JSON `value` in one place. Raises KeyError, IndexError or TypeError."""
    mark = "\0place\0"
    if not keys:
        return value.encode()
    inner = answer
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]]
    inner[keys[-1]] = mark
    return json.dumps(answer).replace(json.dumps(mark), value).encode()


def places(answer: Any, keys: Keys = ()) -> Iterator[Keys]:
    """All places of an answer; of a list the first and the last element."""
    yield keys
    if isinstance(answer, dict):
        for key in answer:
            yield from places(answer[key], (*keys, key))
    elif isinstance(answer, list):
        for place in sorted({0, len(answer) - 1}) if answer else ():
            yield from places(answer[place], (*keys, place))


@contextlib.contextmanager
def hostile(provider: str, **options: Any) -> Iterator[tuple[Writer, Mutation]]:
    """A sandbox with some customers whose answers are changed."""
    with running(provider, **options) as (url, server):
        mutation, inner = Mutation(), server.api.around
        server.api = replace(server.api, around=lambda call, execute: mutation.around(call, execute, inner))
        yield Writer(provider, Sandbox(url)), mutation


def read(writer: Writer, folder: Path) -> None:
    """Read all customers. Raises what the source raises."""
    source = ApiSource(writer.spec, address(writer), retry_policy=QUICK, environment=writer.key)
    try:
        for part in source.parts(folder):
            part.read()
        source.layouts()
    finally:
        source.close()


def look(writer: Writer, _: Path) -> None:
    """Look what `tranship doctor` finds."""
    check(writer.spec, address(writer), retry_policy=QUICK, environment=writer.key)


def write(writer: Writer, folder: Path) -> None:
    """Create, change and remove customers, some of which were perhaps sent before. Raises what the executor raises."""
    from support import writing

    folder.mkdir()
    writing.write(folder, plan(writer))
    known = replace(service(writer.spec, writer._address, writer.key), per_second={})
    carry_out(
        sorted(folder.glob("*.parquet")),
        writer.operations,
        known,
        run_id="run",
        journal=folder / "journal.sqlite",
        outcomes=folder / "outcomes",
        retry_policy=QUICK,
        begun="begun" in folder.name,
    )


def plan(writer: Writer) -> Sequence[dict[str, Any]]:
    customer = writer.particulars.customer
    found = sorted(writer.sandbox.state(), key=lambda record: str(record[USUAL[writer.provider].id]))[:3]
    found = [record for record in found if not record.get("archived_at")]
    rows = [writer.update(row, record, writer.particulars.changes[0]) for row, record in enumerate(found[:2])]
    rows += [writer.delete(row + 10, record) for row, record in enumerate(found[2:])]
    # The last one exists already.
    return rows + [writer.create(row + 20, customer(number)) for row, number in enumerate((500, 501, 0))]


def address(writer: Writer) -> str:
    return f"{writer.provider}://127.0.0.1:{writer.sandbox.port}{USUAL[writer.provider].address}"


def misbehaved(work: Callable[[Writer, Path], None], writer: Writer, folder: Path) -> BaseException | None:
    """The error that no user may see, if there is one."""
    try:
        work(writer, folder)
    except TranshipError as error:
        return None if error.exit_code == 3 else error
    except BaseException as error:
        return error
    return None
