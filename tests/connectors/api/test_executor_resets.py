"""Connections that are reset at any byte of any request or answer, or closed while they are kept alive: every provider is
written to once. TRANSHIP_MISBEHAVIOUR=1 tries every byte.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support import writing
from support.accounts import PROVIDERS
from support.connection_relay import Relay, relay
from support.long_tests import some
from support.provider_writing import Writer, numbered
from support.sandboxes import Sandbox, Start
from tranship.connectors.api.concurrency import TRIES
from tranship.connectors.api.operations import Reply, Request
from tranship.connectors.api.plan_rows import PlanRow
from tranship.connectors.api.row_sender import OutcomeUnknown, RowSender
from tranship.connectors.api.spec import service
from tranship.connectors.errors import Unreachable

LONG = bool(os.environ.get("TRANSHIP_MISBEHAVIOUR"))


@pytest.fixture
def writer(provider: str, sandbox: Start) -> Writer:
    return Writer(provider, sandbox(provider))


def filled(writer: Writer, count: int) -> list[dict[str, Any]]:
    """Replace all customers there by this many, and return them."""
    writer.sandbox.clear()
    writer.prepare()
    for number in range(count):
        writer.make(writer.particulars.customer(number))
    return sorted(writer.sandbox.state(), key=lambda record: str(writer.external_id(record)))


def sent(writer: Writer, between: Relay, folder: Path, rows: Sequence[dict[str, Any]]) -> set[tuple[int, str]]:
    """Carry out a plan through the relay; return the row and outcome of each."""
    reached = Writer(writer.provider, Sandbox(between.url))
    known = replace(service(reached.spec, reached.address, reached.key), per_second={})
    writing.write(folder, rows)
    writing.send(between.url, folder, operations=reached.operations, service=known)
    return {(row, outcome) for row, (_, outcome, _) in writing.outcomes(folder).items()}


def plans(writer: Writer) -> dict[str, Any]:
    particulars = writer.particulars
    return {
        "create": lambda _: [writer.create(0, particulars.customer(9))],
        "update": lambda found: [writer.update(0, found[0], particulars.changes[0])],
        "delete": lambda found: [writer.delete(0, found[0])],
    }


@pytest.mark.slow
@pytest.mark.parametrize("action", ["create", "update", "delete"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_connection_that_is_reset_at_any_byte_has_the_effect_of_one_that_is_not(
    writer: Writer, action: str, tmp_path: Path
) -> None:
    plan = plans(writer)[action]
    with relay(writer.sandbox.port) as between:
        rows = plan(filled(writer, 1))
        between.sizes.clear()
        assert sent(writer, between, tmp_path / "whole", rows) == {(0, "done")}
        expected, sizes = writer.stored(), list(between.sizes)
        for at, part, place in _places(sizes):
            rows = plan(filled(writer, 1))
            between.reset(at, **{part: place})
            assert sent(writer, between, tmp_path / f"{at}-{part}-{place}", rows) == {(0, "done")}, (at, part, place)
            assert between.is_done, (at, part, place)
            assert writer.stored() == expected, (at, part, place)


def _places(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, str, int]]:
    """The number of a request, the part, and the byte; in the short form, few of the requests and bytes."""
    for at, pair in enumerate(sizes):
        for part, size in zip(("of_request", "of_answer"), pair, strict=True):
            if LONG or at == len(sizes) - 1:
                yield from ((at, part, place) for place in [*range(0, size, 1 if LONG else size // 2), size])


@pytest.mark.parametrize("action", ["create", "update", "delete"])
@pytest.mark.parametrize("provider", PROVIDERS if LONG else some(PROVIDERS, 2))
def test_after_the_last_try_a_look_up_says_what_became_of_it(
    writer: Writer, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write is lost on its way; or the last one arrives, and its answer is lost."""
    real, tries, last = RowSender._send_until_answered, 0, 0

    async def lost(sender: RowSender, request: Request, row: PlanRow | None = None) -> Reply:
        nonlocal tries
        if row is None:  # a look-up
            return await real(sender, request)
        tries += 1
        if tries == last:
            await real(sender, request, row)
        raise OutcomeUnknown(Unreachable("lost"))

    monkeypatch.setattr(RowSender, "_send_until_answered", lost)
    with relay(writer.sandbox.port) as between:
        rows = plans(writer)[action](filled(writer, 1))
        before = writer.stored()
        assert sent(writer, between, tmp_path / "lost", rows) == {(0, "refused")}
        assert writer.stored() == before
        tries, last = 0, tries
        assert last >= TRIES
        # Of several requests for one change, only one has arrived.
        part = writer.provider == "metronome" and action == "update"
        assert sent(writer, between, tmp_path / "heard", rows) == {(0, "unknown" if part else "done")}
        assert writer.stored() != before


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_connections_that_the_server_closes_while_they_are_kept_alive_write_each_customer_once(
    writer: Writer, tmp_path: Path
) -> None:
    count = 400 if LONG else 30
    found = filled(writer, count // 2)
    rows = [writer.create(row, writer.particulars.customer(1000 + row)) for row in range(count)]
    changes = writer.particulars.changes[0]
    rows += [writer.update(count + row, one, numbered(changes, row)) for row, one in enumerate(found)]
    writer.sandbox.record()
    with relay(writer.sandbox.port) as between:
        between.closes = True
        fates = sent(writer, between, tmp_path, rows)
    assert sorted(row for row, _ in fates) == [*range(len(rows))]
    assert {fate for _, fate in fates} == {"done"}
    assert len(writer.stored()) == count + len(found)
    calls = writer.sandbox.calls()
    done = [
        (c["method"], c["path"], c["content"]) for c in calls if c["method"] != "GET" and (c["worked"] or 999) < 300
    ]
    assert len(done) == len(set(done))
