"""Writing to GrowPanel's sandbox, in both dialects: each operation, each refusal, and plans, with and without simulated
failures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support import writing
from support.sandboxes import Sandbox
from support.writing import BAD
from tranship.connectors.api.operations import Created, Failure, LookupKey, Operations, Record, Reply, Request
from tranship.connectors.api.reconcile import same
from tranship.connectors.api.service import Service
from tranship.connectors.api.spec import parse_address, service
from tranship.connectors.errors import Refused
from tranship.connectors.providers import growpanel
from tranship.connectors.providers.growpanel import SPEC, build_operations

pytestmark = pytest.mark.slow

Start = Callable[..., Sandbox]

KEY = {"GROWPANEL_API_KEY": "gp_admin"}
DIALECTS = pytest.mark.parametrize("dialect", ["spec", "docs"])
NAMED = (("source", "ds_main"), ("data_source", "ds_main"))


def body(key: str, **fields: Any) -> dict[str, Any]:
    given = {"id": key, "name": f"Firm {key}", "created_date": "2021-04-02T08:00:00Z", "country": "SE"}
    return {**given, "data_source": "ds_main", "status": "active", "custom_variables": {"canon_city": "Umeå"}, **fields}


def verbs_for(there: Sandbox) -> Operations:
    return build_operations(parse_address(SPEC, f"growpanel://127.0.0.1:{there.port}?source=ds_main", KEY))


def service_of(there: Sandbox) -> Service:
    """Return the service without the pace of a real account, 100 calls per minute."""
    address = parse_address(SPEC, f"growpanel://127.0.0.1:{there.port}?source=ds_main", KEY)
    known = service(SPEC, address, KEY)
    return replace(known, per_second={})


def asked(there: Sandbox, send: Request) -> Reply:
    """Send one request."""
    query = "&".join(f"{name}={value}" for name, value in send.params)
    answer = there.call(
        send.method, f"{send.path}{'?' if query else ''}{query}", send.body, {"Authorization": "Bearer gp_admin"}
    )
    return Reply(answer.status, answer.json if answer.body else None)


def looked(there: Sandbox, **lookup_key: Any) -> Record | None:
    async def ask(send: Request) -> Reply:
        return asked(there, send)

    return asyncio.run(verbs_for(there).look_up(ask, LookupKey(**lookup_key)))


def looked_many(
    there: Sandbox, *them: LookupKey, operations: Operations | None = None
) -> tuple[list[Record | None], int]:
    """Return the customers found, and the number of calls."""
    sent = 0

    async def ask(send: Request) -> Reply:
        nonlocal sent
        sent += 1
        return asked(there, send)

    bulk_lookup = (operations or verbs_for(there)).bulk_lookup
    assert bulk_lookup
    return list(asyncio.run(bulk_lookup.look_up(ask, them))), sent


def made(there: Sandbox, *bodies: Record) -> list[dict[str, Any]]:
    """Create customers that exist from the beginning."""
    asked(there, Request("POST", "/data/customers", "", list(bodies)))
    held = {one["id"]: one for one in there.state()}
    return [held[one["id"]] for one in bodies]


def held(there: Sandbox) -> list[dict[str, Any]]:
    return sorted(there.state(), key=lambda one: str((one["id"], one["data_source"])))


# Plans


def create(row: int, wanted: Record) -> dict[str, Any]:
    named = {"external_id": wanted["id"], "email": wanted.get("email")}
    return {"row": row, "action": "create", "target": None, **named, "wanted": json.dumps(wanted), "found": None}


def update(row: int, found: Record, **changes: Any) -> dict[str, Any]:
    """Return a row that updates a customer; a null among the changes removes the value."""
    wanted = {name: value for name, value in {**found, **changes}.items() if value is not None}
    return {**delete(row, found), "action": "update", "wanted": json.dumps(wanted)}


def delete(row: int, found: Record) -> dict[str, Any]:
    named = {"target": found["id"], "external_id": found["id"], "email": found["email"]}
    return {"row": row, "action": "delete", **named, "wanted": None, "found": json.dumps(found)}


def carried_out(there: Sandbox, folder: Path, rows: Sequence[Any]) -> dict[int, Any]:
    """Carry out a plan; return row → action, outcome, reason."""
    writing.write(folder, rows)
    retry_policy = replace(writing.QUICK, silence=5, total=60)
    writing.send(there.url, folder, operations=verbs_for(there), service=service_of(there), retry_policy=retry_policy)
    return writing.outcomes(folder)


def calls(there: Sandbox) -> list[str]:
    return [f"{call['method']} {call['path'].partition('?')[0]}" for call in there.calls()]


# Creating


@DIALECTS
def test_creates_go_five_hundred_at_a_time(sandbox: Start, tmp_path: Path, dialect: str) -> None:
    there = sandbox("growpanel", switches={"dialect": dialect})
    there.record()
    wanted = [body(f"cus_{n:04}") for n in range(1200)]
    found = carried_out(there, tmp_path, [create(n, one) for n, one in enumerate(wanted)])
    assert set(found.values()) == {("create", "done", None)}
    assert sorted(calls(there)) == ["GET /data/customers"] * 3 + ["POST /data/customers"] * 3
    assert [{name: one[name] for name in wanted[0]} for one in held(there)] == wanted


@DIALECTS
def test_rows_are_refused_separately(sandbox: Start, tmp_path: Path, dialect: str) -> None:
    there = sandbox("growpanel", switches={"dialect": dialect})
    rows = [
        create(0, body("good")),
        create(1, body("country", country="XX")),
        create(2, body("source", data_source="ds_none")),
        create(3, body("long", custom_variables={"a": "x" * 1001}) | {"email": "a@x.example"}),
    ]
    found = carried_out(there, tmp_path, rows)
    status = "" if dialect == "spec" else " (400)"
    said = (
        "country must be an ISO 3166 alpha-2 code",
        "unknown data source",
        "custom_variables: a value has at most 1000 characters",
    )
    assert found == {
        0: ("create", "done", None),
        1: ("create", "refused", f"refused{' (country)' if dialect == 'spec' else ' (400, country)'}: {said[0]}"),
        2: ("create", "refused", f"refused{status}: {said[1]}"),
        3: ("create", "refused", f"refused{status}: {said[2]}"),
    }
    assert [one["id"] for one in there.state()] == ["good"]


@DIALECTS
def test_who_came_since_the_plan_is_not_written_over(sandbox: Start, tmp_path: Path, dialect: str) -> None:
    there = sandbox("growpanel", switches={"dialect": dialect})
    made(there, body("old", name="Theirs"))
    before = held(there)
    assert carried_out(there, tmp_path, [create(0, body("old")), create(1, body("new"))]) == {
        0: ("create", "stale", "created"),
        1: ("create", "done", None),
    }
    assert [one for one in held(there) if one["id"] == "old"] == before


def test_the_same_id_in_another_data_source_is_another_customer(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel")
    second = there.call("POST", "/data/data-sources", {"name": "B", "type": "api"}, {"Authorization": "Bearer k"}).json
    [theirs, _] = [*made(there, body("a", data_source=second["id"])), there]
    assert looked(there, external_id="a") is None
    assert carried_out(there, tmp_path / "1", [create(0, body("a"))]) == {0: ("create", "done", None)}
    [ours] = [one for one in there.state() if one["data_source"] == "ds_main"]
    rows = [update(0, ours, name="New")]
    assert carried_out(there, tmp_path / "2", rows) == {0: ("update", "done", None)}
    [ours] = [one for one in there.state() if one["data_source"] == "ds_main"]
    assert carried_out(there, tmp_path / "3", [delete(0, ours)]) == {0: ("delete", "done", None)}
    assert there.state() == [theirs]


@pytest.mark.parametrize("key", ["gp_viewer_1", "gp_stranger"])
def test_a_key_that_may_not_write_ends_it_at_once(sandbox: Start, tmp_path: Path, key: str) -> None:
    there = sandbox("growpanel")
    there.keys(valid=["gp_viewer_1"])
    known = replace(service_of(there), key=key, headers={"Authorization": f"Bearer {key}"})
    writing.write(tmp_path, [create(0, body("a"))])
    with pytest.raises(Refused, match="GrowPanel") as refused:
        writing.send(there.url, tmp_path, operations=verbs_for(there), service=known)
    assert key not in str(refused.value)
    assert ("a viewer's key, which cannot write" in str(refused.value)) == (key == "gp_viewer_1")
    assert there.state() == []


# Changing


CHANGES: list[dict[str, Any]] = [
    {"name": "Nordlys AB", "email": "ap@nordlys.example"},
    {"email": None},
    {"country": "NO", "state": None, "created_date": "2019-01-01T00:00:00Z"},
    {"trial_started": "2020-01-01T00:00:00Z", "custom_variables": {"more": "x"}},
    {"custom_variables": None},
    {"custom_variables": {"canon_city": "Oslo", "canon_status": "cancelled"}, "status": "canceled"},
    {"cancel_date": "2020-01-01T00:00:00Z", "custom_variables": {"canon_cancel_date": "2020-01-01T00:00:00Z"}},
]


@DIALECTS
@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("rows", [1, 2])
def test_after_a_change_nothing_is_left_to_change(
    sandbox: Start, tmp_path: Path, dialect: str, changes: dict[str, Any], rows: int
) -> None:
    there = sandbox("growpanel", switches={"dialect": dialect})
    given = {"email": "a@x.example", "country": "US", "state": "ca", "custom_variables": {"canon_city": "LA", "b": "1"}}
    [found, second, other] = made(there, body("a/b", **given), body("b", **given), body("c", **given))
    plan = [update(0, found, **changes), update(1, second, **changes)][:rows]
    assert set(carried_out(there, tmp_path, plan).values()) == {("update", "done", None)}
    now = {one["id"]: one for one in there.state()}
    assert now["c"] == other
    assert rows == 2 or now["b"] == second
    for one in ("a/b", "b")[:rows]:
        assert all(same(now[one][name], value) for name, value in changes.items())
        was = {"a/b": found, "b": second}[one]
        assert {name: now[one][name] for name in was.keys() - changes.keys()} == {
            name: was[name] for name in was.keys() - changes.keys()
        }
    assert verbs_for(there).change(now["a/b"], json.loads(plan[0]["wanted"])) == []


def test_many_changes_go_in_one_call(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel")
    found = made(there, *(body(f"cus_{n:03}") for n in range(400)))
    there.record()
    rows = [update(n, one, name=f"New {n}", custom_variables={"b": "1"}) for n, one in enumerate(found)]
    assert set(carried_out(there, tmp_path, rows).values()) == {("update", "done", None)}
    assert calls(there) == ["GET /data/customers", "POST /data/customers"]
    assert all(one["custom_variables"] == {"b": "1"} for one in there.state())


def test_where_a_post_only_inserts_changes_go_by_put(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("growpanel", switches={"dialect": "docs"})
    found = made(there, *(body(f"cus_{n:03}") for n in range(20)))
    there.record()
    rows = [update(n, one, name=f"New {n}") for n, one in enumerate(found)]
    assert set(carried_out(there, tmp_path, rows).values()) == {("update", "done", None)}
    sent = [call.partition("/cus_")[0] for call in calls(there) if not call.startswith("GET")]
    assert sent == ["POST /data/customers", *(["PUT /data/customers"] * 20)]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(201, {"result": {"count": 0, "list": []}}),
        Reply(409, {"message": "Conflict"}),
        Reply(200, {"result": [{"id": "a", "export_status": "error", "export_error": "Customer exists"}]}),
    ],
)
def test_one_change_that_a_post_does_not_do_goes_by_put(sandbox: Start, reply: Reply) -> None:
    operations = verbs_for(sandbox("growpanel"))
    now, wanted = body("a", email="a@x.example"), body("a", name="New")
    [post] = operations.change(now, wanted)
    assert operations.failure(operations.interpret(post, reply)).kind == "gone"  # and looked up
    assert operations.change(now, wanted) == [
        Request("PUT", "/data/customers/a", "/data/customers/{id}", {"name": "New", "email": None}, NAMED)
    ]


@DIALECTS
def test_customers_changed_since_the_plan_are_not_written(sandbox: Start, tmp_path: Path, dialect: str) -> None:
    there = sandbox("growpanel", switches={"dialect": dialect})
    found = made(there, *(body(key) for key in "abcd"))
    named = "?source=ds_main"
    asked(there, Request("PUT", f"/data/customers/a{named}", "", {"email": "new@x.example"}))
    asked(there, Request("PUT", f"/data/customers/b{named}", "", {"custom_variables": {"x": "y"}}))
    asked(there, Request("PUT", f"/data/customers/c{named}", "", {"status": "paused"}))
    asked(there, Request("DELETE", f"/data/customers/d{named}", ""))
    before = held(there)
    rows = [update(n, one, name="New") for n, one in enumerate(found)]
    assert [reason for _, _, reason in carried_out(there, tmp_path, rows).values()] == [
        "changed: email",
        "changed: custom_variables",
        "changed: status",
        "gone",
    ]
    assert held(there) == before


@DIALECTS
def test_a_change_that_is_not_valid_is_refused_in_the_providers_words(
    sandbox: Start, tmp_path: Path, dialect: str
) -> None:
    there = sandbox("growpanel", switches={"dialect": dialect})
    [found] = made(there, body("a"))
    said = f"refused{'' if dialect == 'spec' else ' (400)'}: custom_variables: values must be strings"
    rows = [update(0, found, custom_variables={"a": 1})]
    assert carried_out(there, tmp_path, rows) == {0: ("update", "refused", said)}
    assert there.state() == [found]


def test_how_values_are_spelled_is_no_change(sandbox: Start) -> None:
    there = sandbox("growpanel")
    given = {"created_date": "2021-04-02", "country": "us", "state": "ca", "currency": "SEK"}
    [found] = made(there, body("a", **given))
    wanted = body("a", created_date="2021-04-02T00:00:00Z", country="US", state="CA", currency="sek")
    operations = verbs_for(there)
    assert operations.change(found, wanted) == []
    assert operations.change(found, {**wanted, "created_date": "2021-04-02T00:00:01Z"}) != []
    assert all(operations.comparable(found)[name] == operations.comparable(wanted)[name] for name in given)


def test_what_an_account_derives_from_invoices_is_no_change(sandbox: Start) -> None:
    operations = verbs_for(sandbox("growpanel"))
    now = {**body("a"), "status": "past_due", "paid_started": "2020-01-01", "currency": "usd"}
    assert operations.change(now, body("a")) == []


# Looking


def test_who_is_not_there_is_not_found(sandbox: Start) -> None:
    there = sandbox("growpanel")
    assert looked(there, external_id="a") is None
    assert looked(there, email="a@x.example") is None


def test_who_is_in_another_source_is_another_customer(sandbox: Start) -> None:
    async def ask(_: Request) -> Reply:
        return Reply(200, body("a", data_source="ds_other"))  # as if the source in the query had no effect

    assert asyncio.run(verbs_for(sandbox("growpanel")).look_up(ask, LookupKey(external_id="a"))) is None


def test_an_id_of_dots_is_no_place_in_the_path(sandbox: Start) -> None:
    remove = verbs_for(sandbox("growpanel")).remove
    assert remove
    assert [remove({"id": one})[0].path.rpartition("/")[2] for one in (".", "..", "a..")] == ["%2E", "%2E%2E", "a.."]


def test_a_removal_names_its_data_source(sandbox: Start) -> None:
    remove = verbs_for(sandbox("growpanel")).remove
    assert remove
    assert tuple(remove({"id": "a"})[0].params) == NAMED


def test_many_are_looked_up_in_one_list(sandbox: Start) -> None:
    there = sandbox("growpanel")
    [a, b] = made(there, body("a"), body("b"))
    found, sent = looked_many(
        there, LookupKey(id="a"), LookupKey(external_id="b"), LookupKey(external_id="c"), LookupKey(external_id="d")
    )
    assert (found, sent) == ([a, b, None, None], 1)
    assert looked_many(there, LookupKey(id="gone"), LookupKey(id="a")) == ([None, a], 2)  # in case the list was cut


def test_in_a_large_source_those_that_may_be_there_are_looked_up_one_by_one(
    sandbox: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = sandbox("growpanel")
    monkeypatch.setattr(growpanel, "_LISTED", 2)
    [a, b] = made(there, body("a"), body("b"))
    operations = verbs_for(there)
    them = (
        LookupKey(id="a"),
        LookupKey(external_id="b"),
        LookupKey(external_id="b", possibly_applied=True),
        LookupKey(id="c"),
    )
    assert looked_many(there, *them, operations=operations) == ([a, None, b, None], 4)
    assert looked_many(there, *them, operations=operations) == ([a, None, b, None], 3)  # it is known to be large


# Answers


def test_what_the_rows_of_an_answer_mean(sandbox: Start) -> None:
    bulk = verbs_for(sandbox("growpanel")).bulk
    assert bulk
    told = [
        {"id": "c", "export_status": "error", "export_error": "Customer already exists"},
        {"id": "a", "export_status": "success"},
        {"id": "d", "export_status": "error", "export_error": "no such country"},
        {"id": "e", "export_status": "queued"},
    ]
    assert bulk.outcomes({"result": told}, [body(key) for key in "abcde"]) == [
        Created("a"),
        None,
        Failure("taken", "taken: external_id"),
        Failure("refused", "refused: no such country"),
        None,
    ]
    older = {"result": {"count": 1, "list": [{"id": "b"}]}}
    assert bulk.outcomes(older, [body("a"), body("b")]) == [Failure("taken", "taken: external_id"), Created("b")]


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(409, None), Failure("taken", "taken: external_id")),
        (Reply(400, {"error": "Customer exists"}), Failure("taken", "taken: external_id")),
        (Reply(400, {"message": "Country does not exist"}), Failure("refused", "refused: Country does not exist")),
        (Reply(413, None), Failure("refused", "refused: answered 413")),
        (Reply(404, {"error": "Not found"}), Failure("gone", "answered 404")),
    ],
)
def test_what_an_error_means(sandbox: Start, reply: Reply, fault: Failure) -> None:
    assert verbs_for(sandbox("growpanel")).failure(reply) == fault


def test_an_answer_that_does_not_speak_of_the_row_is_no_success(sandbox: Start) -> None:
    operations = verbs_for(sandbox("growpanel"))
    create, [change] = operations.create(body("a")), operations.change(body("a"), body("a", name="B"))
    for answer in (None, {"result": []}, {"result": [{"id": "b", "export_status": "success"}]}, {"ok": True}):
        assert operations.failure(operations.interpret(change, Reply(200, answer))).kind == "gone"  # and looked up
        assert operations.interpret(create, Reply(200, answer)).ok
        with pytest.raises((ValueError, KeyError, TypeError)):
            operations.created_id(answer, body("a"))


# The weather


def mixed(there: Sandbox) -> list[dict[str, Any]]:
    """Make creates, changes of every kind and removals."""
    old = [body(f"old{n:03}", email="a@x.example", state="bc", country="CA") for n in range(100)]
    found = made(there, *old)
    rows = [create(n, body(f"new{n:03}", email=f"{n}@x.example")) for n in range(300)]
    rows += [update(1000 + n, one, **CHANGES[n % len(CHANGES)]) for n, one in enumerate(found[:70])]
    return [*rows[::2], *rows[1::2], *(delete(2000 + n, one) for n, one in enumerate(found[70:]))]


@DIALECTS
def test_with_simulated_failures_small_batches_have_the_effect_of_an_undisturbed_run(
    sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    monkeypatch.setattr(growpanel, "_BULK", 16)
    quiet, bad = (sandbox("growpanel", switches={"dialect": dialect}) for _ in range(2))
    for there, folder in ((quiet, tmp_path / "quiet"), (bad, tmp_path / "bad")):
        rows = mixed(there)
        there.record()
        if there is bad:
            there.weather(**BAD, half=0.02, html=0.01, seed=16)
        found = carried_out(there, folder, rows)
        assert {outcome for _, outcome, _ in found.values()} == {"done"}
    assert held(bad) == held(quiet)
    worked = [(one["method"], one["path"], one["content"]) for one in bad.calls() if (one["worked"] or 999) < 300]
    written = [one for one in worked if one[0] != "GET"]
    assert len(written) == len(set(written))


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_a_time_that_no_year_has_in_utc_is_compared_as_text(time: str) -> None:
    assert growpanel._comparable({"created_date": time}) == {"created_date": time}
