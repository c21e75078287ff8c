"""The suite that every provider must pass as a destination, with its own records, against its sandbox. The particulars
of a provider are in `test_<provider>_writing.py`; whole runs are in `tests/connectors/test_contract_of_providers.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.accounts import PROVIDERS, USUAL
from support.long_tests import some
from support.provider_writing import PARTICULARS, Writer, numbered
from support.sandboxes import Start
from support.writing import BAD
from tranship.connectors.api import json_codec
from tranship.connectors.api.reconcile import same
from tranship.connectors.sandbox.seed import customers
from tranship.schemas.customer import COLUMNS

EVERY = pytest.mark.parametrize("provider", PROVIDERS)
VARIANTS = [(provider, switches) for provider in PROVIDERS for switches in PARTICULARS[provider].switches]
WEATHER = {**BAD, "half": 0.02, "html": 0.01, "seed": 3}


def opened(sandbox: Start, provider: str, **options: Any) -> Writer:
    writer = Writer(provider, sandbox(provider, **options))
    writer.prepare()
    return writer


def test_every_provider_is_declared() -> None:
    assert sorted(PARTICULARS) == sorted(PROVIDERS)


@EVERY
@pytest.mark.parametrize("kind", ["full", "minimal", "customer"])
def test_a_create_makes_what_is_wanted(sandbox: Start, provider: str, kind: str) -> None:
    writer = opened(sandbox, provider)
    particulars = writer.particulars
    wanted = particulars.customer(7) if kind == "customer" else getattr(particulars, kind)
    created = writer.make(wanted)
    [record] = writer.sandbox.state()
    assert str(record[USUAL[provider].id]) == created
    expected = {**particulars.filled_in, **wanted}
    assert all(same(record.get(name), expected[name]) for name in expected)
    assert not writer.operations.change(record, wanted)


@EVERY
@pytest.mark.parametrize(
    "body", [None, {}, {"id": None}, [], {"data": None}, {"data": {}}, {"data": {"id": None}}, "created"]
)
def test_an_answer_without_an_id_is_an_error(sandbox: Start, provider: str, body: Any) -> None:
    writer = opened(sandbox, provider)
    with pytest.raises((KeyError, TypeError, AttributeError, ValueError)):
        writer.operations.created_id(body, writer.particulars.full)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "switches", "external_id"),
    some([(*variant, external_id) for variant in VARIANTS for external_id in PARTICULARS[variant[0]].odd_ids], 28),
)
def test_an_external_id_may_hold_anything(
    sandbox: Start, tmp_path: Path, provider: str, switches: dict[str, str], external_id: str
) -> None:
    writer = opened(sandbox, provider, switches=switches)
    customer, id_field = writer.particulars.customer, USUAL[provider].id
    writer.make(customer(1))
    [other] = writer.sandbox.state()
    created = writer.make(writer.with_external_id(customer(2), external_id))
    found = writer.look_up(external_id=external_id)
    assert found is not None
    assert str(found[id_field]) == created
    by_id = writer.look_up(id=created, record=found)
    assert by_id is not None
    assert str(by_id[id_field]) == created
    twice = writer.with_external_id(customer(3), external_id + external_id)
    rows = [writer.update(0, found, writer.particulars.changes[0]), writer.delete(1, other), writer.create(2, twice)]
    assert {outcome for _, outcome, _ in writer.carry_out(tmp_path / "1", rows).values()} == {"done"}
    changed = writer.look_up(external_id=external_id)
    assert changed is not None
    assert changed != found
    assert writer.operations.change(changed, json.loads(rows[0]["wanted"])) == []
    assert writer.carry_out(tmp_path / "2", [writer.delete(0, changed)])[0] == ("delete", "done", None)
    kept = [record for record in writer.sandbox.state() if not record.get("archived_at")]
    assert [writer.external_id(record) for record in kept] == [external_id + external_id]


@pytest.mark.slow
@EVERY
def test_what_was_read_and_is_written_as_it_was_needs_no_change(sandbox: Start, provider: str) -> None:
    writer = opened(sandbox, provider, seed=300)
    schema, address = writer.spec.schema, {"data_source": "ds_main"} if provider == "growpanel" else {}
    records = writer.sandbox.state()
    read = json_codec.decode(schema, [json.dumps(records).encode()]).records
    again = json_codec.encode(schema, typed(read), address).bodies
    seeded = json_codec.encode(schema, customers(300), address).bodies
    wanted = {writer.external_id(body): body for body in map(json.loads, seeded.drop_nulls())}
    assert len(records) > 250
    for record, body in zip(records, again, strict=True):
        assert writer.operations.change(record, json.loads(body)) == []
        assert writer.operations.change(record, wanted[writer.external_id(record)]) == []


def typed(read: pl.DataFrame) -> pl.DataFrame:
    def column(name: str, dtype: Any) -> pl.Expr:
        if isinstance(dtype, pl.List):
            return pl.col(name).str.json_decode(dtype)
        if isinstance(dtype, pl.Datetime):
            return pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC")
        return pl.col(name).cast(dtype)

    return read.select(column(name, dtype) for name, dtype in COLUMNS.items())


# Plans -----------------------------------------------------------------------------------------------------------


@EVERY
def test_what_others_changed_since_the_plan_is_left_alone(sandbox: Start, tmp_path: Path, provider: str) -> None:
    writer = opened(sandbox, provider)
    for number in range(3):
        writer.make(writer.particulars.customer(number))
    changed, gone, kept = sorted(writer.sandbox.state(), key=lambda record: str(writer.external_id(record)))
    first, second = writer.particulars.changes[:2]
    rows = [writer.update(row, found, first) for row, found in enumerate((changed, gone, kept))]
    rows.append(writer.create(3, writer.particulars.customer(10)))
    for step in writer.operations.change(changed, json.loads(writer.update(0, changed, second)["wanted"])):
        assert writer.ask(step).ok
    assert writer.operations.remove
    for step in writer.operations.remove(gone):
        assert writer.ask(step).ok
    writer.make(writer.particulars.customer(10))
    before = {str(record[USUAL[provider].id]): record for record in writer.sandbox.state()}
    found = writer.carry_out(tmp_path, rows)
    assert found[0][1:] == ("stale", f"changed: {found[0][2].partition(': ')[2]}" if found[0][2] else "")
    assert found[1] == ("update", "stale", "gone")
    assert found[2] == ("update", "done", None)
    assert found[3] == ("create", "stale", "created")
    after = {str(record[USUAL[provider].id]): record for record in writer.sandbox.state()}
    del before[str(kept[USUAL[provider].id])], after[str(kept[USUAL[provider].id])]
    assert after == before


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if PARTICULARS[name].without_external_id])
def test_a_customer_without_an_external_id_is_made_once_though_the_answer_is_lost(
    sandbox: Start, tmp_path: Path, provider: str
) -> None:
    writer = opened(sandbox, provider)
    customer = writer.particulars.without_external_id
    assert customer
    wanted = [customer(number) for number in range(40)]
    writer.sandbox.weather(cut_after=0.6, methods=["POST"], seed=1)
    results = writer.carry_out(tmp_path, [writer.create(row, body) for row, body in enumerate(wanted)])
    assert set(results.values()) == {("create", "done", None)}
    stored = [{name: record[name] for name in wanted[0]} for record in writer.stored()]
    assert sorted(map(json.dumps, stored)) == sorted(map(json.dumps, wanted))


@pytest.mark.parametrize(
    ("provider", "switches"), [variant for variant in VARIANTS if not PARTICULARS[variant[0]].reads_by_post]
)
def test_answers_that_are_always_lost_are_looked_up(
    sandbox: Start, tmp_path: Path, provider: str, switches: dict[str, str]
) -> None:
    writer = opened(sandbox, provider, switches=switches)
    for number in range(2):
        writer.make(writer.particulars.customer(number))
    changed, gone = sorted(writer.sandbox.state(), key=lambda record: str(writer.external_id(record)))
    writer.sandbox.record()
    writer.sandbox.weather(cut_after=1, methods=["POST", "PATCH", "PUT", "DELETE"])
    rows = [writer.create(0, writer.particulars.customer(10)), writer.delete(2, gone)]
    if switches != {"dialect": "docs"}:  # there, only an answer shows that a change needs a PUT
        rows.append(writer.update(1, changed, writer.particulars.changes[0]))
    done = writer.carry_out(tmp_path, rows)
    assert {outcome for _, outcome, _ in done.values()} == {"done"}
    sent = [(call["method"], call["path"], call["content"]) for call in writer.sandbox.calls() if call["worked"]]
    assert_sent_once(sent)


@pytest.mark.slow
@pytest.mark.parametrize(("provider", "switches"), VARIANTS)
def test_with_simulated_failures_the_effect_is_that_of_an_undisturbed_run(
    sandbox: Start, tmp_path: Path, provider: str, switches: dict[str, str]
) -> None:
    """Creates, changes of every kind and removals; and no request that was carried out is sent again."""
    quiet, bad = (opened(sandbox, provider, switches=switches) for _ in range(2))
    for writer, folder in ((quiet, tmp_path / "quiet"), (bad, tmp_path / "bad")):
        particulars = writer.particulars
        for number in range(100):
            writer.make(particulars.customer(number))
        found = sorted(writer.sandbox.state(), key=lambda record: str(writer.external_id(record)))
        rows = [writer.create(row, particulars.customer(1000 + row)) for row in range(100)]
        for number, record in enumerate(found[:70]):
            changes = particulars.changes[number % len(particulars.changes)]
            rows.insert(2 * number, writer.update(1000 + number, record, numbered(changes, number)))
        rows[50:50] = [writer.delete(2000 + number, record) for number, record in enumerate(found[70:])]
        writer.sandbox.record()
        if writer is bad:
            writer.sandbox.weather(**WEATHER)
        results = writer.carry_out(folder, rows)
        assert {outcome for _, outcome, _ in results.values()} == {"done"}
    assert len(quiet.stored()) >= 170
    assert bad.stored() == quiet.stored()
    calls = bad.sandbox.calls()
    assert_sent_once(
        [(call["method"], call["path"], call["content"]) for call in calls if (call["worked"] or 999) < 300]
    )
    assert any(call["status"] in (None, 500) and call["worked"] for call in calls), "no answer was lost"


def assert_sent_once(calls: list[tuple[str, str, str]]) -> None:
    """Assert that no two writes are the same."""
    written = [call for call in calls if call[0] != "GET"]
    assert written
    assert len(written) == len(set(written))
