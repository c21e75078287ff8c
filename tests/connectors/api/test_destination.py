"""A provider's account as a destination, in detail: modes, nulls, metadata, identity, refusals, interruptions and
continuations."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support import moving
from support.accounts import Account, Open
from support.moving import customer, given, held, moved, outcomes, planned, settable, writes, written
from tranship.connectors.api import request_plan
from tranship.connectors.api.reconcile import merge_metadata
from tranship.connectors.errors import ConfigError, GateClosed, Interrupted
from tranship.pipelines import run as flow
from tranship.pipelines.cli import main as cli

pytestmark = pytest.mark.slow

FINAL = {"mode": "mirror", "max_deletes": "100%", "remove_for_good": True}


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    moving.hurry(monkeypatch.setattr)


def file(folder: Path, *customers: dict[str, Any], name: str = "ours.csv") -> Path:
    return written(folder / name, customers)


def by_id(there: Account) -> dict[str | None, dict[str, Any]]:
    """Return canonical customers by external id."""
    return {row["external_id"]: row for row in held(there).values()}


def fates(report: Any) -> list[tuple[str, str | None]]:
    """Return outcome and reason of each row."""
    return [(one["outcome"], one["reason"]) for one in outcomes(report)]


# Modes -------------------------------------------------------------------------------------------------------------


def test_insert_leaves_those_alone_that_are_there(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, file(tmp_path, customer(1)), there)
    report = moved(tmp_path, file(tmp_path, customer(1, name="New"), customer(2)), there, mode="insert")
    assert fates(report) == [("refused", "already_there"), ("done", None)]
    assert by_id(there)["cus_00001"]["name"] == "Customer 1"


def test_update_creates_nobody(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, file(tmp_path, customer(1)), there)
    report = moved(tmp_path, file(tmp_path, customer(1, name="New"), customer(2)), there, mode="update")
    assert fates(report) == [("done", None), ("refused", "not_there")]
    assert [row["name"] for row in held(there).values()] == ["New"]


@pytest.mark.parametrize("provider", ["marginfront", "metrifox"])
def test_mirror_removes_what_it_wrote_and_nothing_of_others(provider: str, account: Open, tmp_path: Path) -> None:
    there = account(provider)
    moved(tmp_path / "others", file(tmp_path, customer(7)), there)
    moved(tmp_path, file(tmp_path, *map(customer, range(4))), there)
    report = moved(tmp_path, file(tmp_path, customer(0)), there, mode="mirror", max_deletes="3")
    assert (report.counts.deleted, report.counts.unchanged) == (3, 1)
    assert sorted(by_id(there)) == ["cus_00000", "cus_00007"]
    there.sandbox.record()
    again = moved(tmp_path, file(tmp_path, customer(0)), there, mode="mirror", max_deletes="3")
    assert (again.counts.deleted, writes(there)) == (0, [])


def test_what_was_there_and_equal_is_not_ours_to_remove(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path / "others", file(tmp_path, customer(7)), there)
    moved(tmp_path, file(tmp_path, customer(1), customer(7)), there)
    report = moved(tmp_path, file(tmp_path, customer(1)), there, mode="mirror", max_deletes="100%")
    assert report.counts.deleted == 0
    assert sorted(by_id(there)) == ["cus_00001", "cus_00007"]


def test_more_removals_than_allowed_stop_it_before_the_first_write(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, file(tmp_path, *map(customer, range(4))), there)
    there.sandbox.record()
    with pytest.raises(GateClosed, match="3 of 4 customers would be deleted"):
        moved(tmp_path, file(tmp_path, customer(0), customer(9)), there, mode="mirror", max_deletes="2")
    assert writes(there) == []


@pytest.mark.parametrize(("provider", "why"), [("blackwalnut", "licences"), ("metronome", "contracts")])
def test_what_cannot_be_undone_needs_a_word_of_its_own(provider: str, why: str, account: Open, tmp_path: Path) -> None:
    there = account(provider)
    moved(tmp_path, file(tmp_path, customer(0), customer(1)), there)
    there.sandbox.record()
    with pytest.raises(ConfigError, match=f"{why}.*--remove-for-good") as refused:
        moved(tmp_path, file(tmp_path, customer(0)), there, mode="mirror", max_deletes="1")
    assert there.sandbox.calls() == []
    assert refused.value.report is None, "no run has begun that `resume` could go on with"
    report = moved(tmp_path, file(tmp_path, customer(0)), there, **FINAL)
    assert report.counts.deleted == 1
    active = [one for one in there.sandbox.state() if not one.get("archived_at")]
    assert len(active) == 1


def test_removed_customers_are_not_removed_again(account: Open, tmp_path: Path) -> None:
    there = account("metronome")
    moved(tmp_path, file(tmp_path, customer(0), customer(1)), there)
    moved(tmp_path, file(tmp_path, customer(0)), there, **FINAL)
    there.sandbox.record()
    report = moved(tmp_path, file(tmp_path, customer(0)), there, **FINAL)
    assert (report.counts.deleted, report.counts.unchanged, writes(there)) == (0, 1, [])


# Values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nulls", "city"),
    [("keep", "Köln"), ("overwrite", None)],
)
def test_an_empty_value_erases_only_with_nulls_overwrite(
    nulls: str, city: str | None, account: Open, tmp_path: Path
) -> None:
    there = account("metrifox")
    moved(tmp_path, file(tmp_path, customer(1)), there)
    source = file(tmp_path, customer(1, city=None, metadata=None, name="New"))
    moved(tmp_path, source, there, nulls=nulls)
    found = by_id(there)["cus_00001"]
    assert (found["name"], found["city"]) == ("New", city)
    assert json.loads(found["metadata"]) == {"n": 1, "tags": ["a", "b"]}, "entries of others might be among it"
    assert found["phone"] == "+49301000001"
    there.sandbox.record()
    assert moved(tmp_path, source, there, nulls=nulls).counts.unchanged == 1
    assert writes(there) == []


@pytest.mark.parametrize("nulls", ["keep", "overwrite"])
def test_a_column_that_the_source_lacks_says_nothing(nulls: str, account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, file(tmp_path, customer(1)), there)
    report = moved(tmp_path, file(tmp_path, {"external_id": "cus_00001", "name": "Customer 1"}), there, nulls=nulls)
    assert report.counts.unchanged == 1


@pytest.mark.parametrize(
    ("source", "found", "whole"),
    [
        (None, '{"a":1}', '{"a":1}'),
        ("{}", '{"a":1}', '{"a":1}'),
        ('{"a":1}', '{"b":2,"a":1}', '{"b":2,"a":1}'),
        ('{"a":2}', '{"b":2,"a":1}', '{"b":2,"a":2}'),
        ('{"c":null}', '{"a":1}', '{"a":1,"c":null}'),
        ('{"a":null}', '{"a":1}', '{"a":null}'),
        ('{"a":{"x":1,"y":2}}', '{"a":{"y":2,"x":1}}', '{"a":{"y":2,"x":1}}'),
        ('{"a":[1,2]}', '{"a":[2,1]}', '{"a":[1,2]}'),
        ('{"a":true}', '{"a":1}', '{"a":true}'),
        ('{"a":1.0}', '{"a":1}', '{"a":1.0}'),
        ('{"a":"1"}', '{"a":1}', '{"a":"1"}'),
        ('{"a":"é"}', '{"a":"\\u00e9"}', '{"a":"\\u00e9"}'),
        ('{"a":12345678901234567890123}', '{"b":0.1}', '{"b":0.1,"a":12345678901234567890123}'),
    ],
)
def test_metadata_is_laid_over_key_by_key(source: str | None, found: str, whole: str) -> None:
    assert merge_metadata(source, found) == whole


def test_metadata_of_others_stays(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, file(tmp_path, customer(1, metadata='{"a": 1, "b": {"x": 1}}')), there)
    record = there.sandbox.state()[0]
    there.sandbox.add({**record, "metadata": {"theirs": [1, None], **record["metadata"]}})
    source = file(tmp_path, customer(1, metadata='{"b": {"y": true}}'))
    report = moved(tmp_path, source, there)
    assert report.changed_fields == {"metadata": 1}
    assert json.loads(by_id(there)["cus_00001"]["metadata"]) == {"theirs": [1, None], "a": 1, "b": {"y": True}}
    assert moved(tmp_path, source, there).counts.unchanged == 1


def test_true_takes_the_place_of_one(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, file(tmp_path, customer(1, metadata='{"a": 1}')), there)
    source = file(tmp_path, customer(1, metadata='{"a": true}'))
    assert moved(tmp_path, source, there).counts.updated == 1
    assert by_id(there)["cus_00001"]["metadata"] == '{"a":true}'
    assert moved(tmp_path, source, there).counts.unchanged == 1


# Identity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_with_a_crosswalk_nobody_is_created_twice(suffix: str, account: Open, tmp_path: Path) -> None:
    source = account("metronome")
    moved(tmp_path, file(tmp_path, *map(customer, range(3))), source)
    there = account("marginfront")
    first = moved(tmp_path, source.address, there)
    assert first.counts.created == 3
    crosswalk = Path(first.files["crosswalk"]).with_suffix(f".{suffix}")
    known = pl.read_csv(crosswalk, infer_schema=False) if suffix == "csv" else pl.read_parquet(crosswalk)
    assert known.columns == [
        *("source_provider", "source_id", "external_id", "email"),
        *("destination_provider", "destination_id", "action", "run", "updated_at"),
    ]
    assert sorted(known["destination_id"]) == there.ids()

    record = next(one for one in there.sandbox.state() if one["externalId"] == "cus_00001")
    there.sandbox.add({**record, "externalId": "renamed", "email": "another@x.example"})
    again = moved(tmp_path, source.address, there, crosswalk=crosswalk)
    assert (again.counts.created, again.counts.updated, again.counts.unchanged) == (0, 1, 2), again
    assert set(again.changed_fields) == {"external_id", "email"}
    assert sorted(by_id(there)) == ["cus_00000", "cus_00001", "cus_00002"]
    without = moved(tmp_path, source.address, there)
    assert without.counts.unchanged == 3


def test_a_crosswalk_alone_says_who_a_record_of_a_file_is(account: Open, tmp_path: Path) -> None:
    there = account("blackwalnut")
    first = moved(tmp_path, file(tmp_path, *map(customer, range(3))), there)
    record = next(one for one in there.sandbox.state() if one["external_id"] == "cus_00001")
    there.sandbox.add({**record, "external_id": "renamed", "email": "another@x.example"})
    source = file(tmp_path, *map(customer, range(3)))
    report = moved(tmp_path / "elsewhere", source, there, crosswalk=first.files["crosswalk"])
    assert (report.counts.created, report.counts.updated) == (0, 1)
    assert by_id(there)["cus_00001"]["email"] == "c1@x.example"
    assert len(there.sandbox.state()) == 3


def test_a_crosswalk_that_is_none_is_reported(account: Open, tmp_path: Path) -> None:
    there = account("blackwalnut")
    wrong = tmp_path / "crosswalk.csv"
    wrong.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="of an earlier run"):
        moved(tmp_path, file(tmp_path, customer(1)), there, crosswalk=wrong)


@pytest.mark.parametrize("provider", ["metrifox", "blackwalnut"])
def test_an_e_mail_that_somebody_has_is_refused(provider: str, account: Open, tmp_path: Path) -> None:
    there = account(provider)
    moved(tmp_path, file(tmp_path, customer(1)), there)
    source = file(tmp_path, customer(2, email="C1@x.example"), customer(3), customer(4, email="c3@x.example"))
    there.sandbox.record()
    report = moved(tmp_path, source, there)
    assert fates(report) == [("refused", "taken: email"), ("done", None), ("refused", "taken: email")]
    assert (report.exit_code, report.refused_by_reason) == (4, {"taken: email": 2})
    assert sorted(by_id(there)) == ["cus_00001", "cus_00003"]


@pytest.mark.parametrize("provider", ["metrifox", "blackwalnut"])
def test_two_customers_that_change_their_e_mails_with_each_other(provider: str, account: Open, tmp_path: Path) -> None:
    there = account(provider)
    moved(tmp_path, file(tmp_path, customer(1), customer(2)), there)
    crossed = file(tmp_path, customer(1, email="c2@x.example"), customer(2, email="c1@x.example"))
    report = moved(tmp_path, crossed, there)
    assert fates(report) == [("refused", "taken: email")] * 2, "there is no request to begin with"
    assert {row["email"] for row in held(there).values()} == {"c1@x.example", "c2@x.example"}


@pytest.mark.parametrize("provider", ["metrifox", "blackwalnut"])
def test_an_e_mail_that_one_gives_up_and_another_takes(provider: str, account: Open, tmp_path: Path) -> None:
    there = account(provider)
    moved(tmp_path, file(tmp_path, *map(customer, range(1, 5))), there)
    # Each customer takes the e-mail of the next one, and the last one a new e-mail.
    chain = [customer(at, email=f"c{at + 1}@x.example") for at in range(1, 5)]
    report = moved(tmp_path, file(tmp_path, customer(0, email="c1@x.example"), *chain), there)
    assert [one["action"] for one in planned(report)] == ["create", *["update"] * 4]
    assert fates(report) == [("done", None)] * 5


def test_an_e_mail_that_is_given_up_may_be_that_of_a_customer_without_an_external_id(
    account: Open, tmp_path: Path
) -> None:
    there = account("blackwalnut")
    moved(tmp_path, file(tmp_path, customer(6, email="c@x.example")), there)
    report = moved(tmp_path, file(tmp_path, customer(1, external_id=None, email="c@x.example"), customer(6)), there)
    assert [one["action"] for one in planned(report)] == ["create", "update"]
    assert fates(report) == [("done", None), ("done", None)]


def test_an_external_id_that_two_have_is_refused(account: Open, tmp_path: Path) -> None:
    there = account("blackwalnut", switches={"lenient": "on"})
    moved(tmp_path, file(tmp_path, customer(2)), there)
    second = {**there.sandbox.state()[0], "id": "cus_another", "email": "another@x.example"}
    there.sandbox.add(second)
    report = moved(tmp_path, file(tmp_path, customer(2, name="New"), customer(3)), there)
    assert fates(report) == [("refused", "matches_several"), ("done", None)]
    assert sorted(str(row["name"]) for row in held(there).values()) == ["Customer 2", "Customer 2", "Customer 3"]


def test_a_customer_known_by_its_e_mail_is_given_its_external_id(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, file(tmp_path, customer(1, external_id=None)), there)
    report = moved(tmp_path, file(tmp_path, customer(1)), there)
    assert (report.counts.created, report.changed_fields) == (0, {"external_id": 1})
    assert list(by_id(there)) == ["cus_00001"]
    assert moved(tmp_path, file(tmp_path, customer(1)), there).counts.unchanged == 1


def test_the_alias_of_an_archived_customer_is_locked(account: Open, tmp_path: Path) -> None:
    there = account("metronome")
    moved(tmp_path, file(tmp_path, customer(1), customer(2)), there)
    moved(tmp_path, file(tmp_path, customer(2)), there, **FINAL)
    there.sandbox.record()
    report = moved(tmp_path, file(tmp_path, customer(1, name="New"), customer(2)), there)
    assert fates(report) == [("refused", "locked: external_id"), ("unchanged", None)]
    assert writes(there) == []


def test_a_key_that_never_changes_is_refused(account: Open, tmp_path: Path) -> None:
    there = account("metrifox")
    first = moved(tmp_path, file(tmp_path, customer(1)), there)
    crosswalk = pl.read_csv(first.files["crosswalk"], infer_schema=False)
    crosswalk.with_columns(external_id=pl.lit("renamed")).write_csv(tmp_path / "known.csv")
    there.sandbox.record()
    source = file(tmp_path, customer(1, external_id="renamed"))
    report = moved(tmp_path, source, there, crosswalk=tmp_path / "known.csv")
    assert fates(report) == [("refused", "immutable: external_id")]
    assert writes(there) == []


@pytest.mark.parametrize(
    ("provider", "lacks", "reason"),
    [
        ("blackwalnut", "email", "demanded"),
        ("growpanel", "country", "demanded"),
        ("metrifox", "customer_type", "demanded"),
    ],
)
def test_what_the_provider_demands_is_named(
    provider: str, lacks: str, reason: str, account: Open, tmp_path: Path
) -> None:
    there = account(provider)
    report = moved(tmp_path, file(tmp_path, customer(1, **{lacks: None}), customer(2)), there)
    (refused, why), done = fates(report)
    assert (refused, done) == ("refused", ("done", None))
    assert why is not None
    assert lacks in why
    assert report.counts.balance() == 0


def test_broken_records_there_are_reported_and_left_alone(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    moved(tmp_path, file(tmp_path, customer(1), customer(2)), there)
    record = there.sandbox.state()[0]
    broken = {**record, "id": "00000000-0000-4000-8000-000000000002", "externalId": "theirs", "name": {"not": "text"}}
    there.sandbox.add(broken)
    source = file(tmp_path, customer(1, name="New"), customer(2), customer(3))
    report = moved(tmp_path, source, there)
    assert (report.counts.created, report.counts.updated, report.counts.unchanged) == (1, 1, 1)
    assert any(
        note.startswith("left 1 customer unchanged: invalid under the provider's own schema") for note in report.notes
    )
    assert broken in there.sandbox.state()


# Files for people -------------------------------------------------------------------------------------------


def test_results_are_files_that_can_be_run_again(account: Open, tmp_path: Path) -> None:
    there = account("blackwalnut")
    moved(tmp_path, file(tmp_path, customer(1)), there)
    source = file(tmp_path, customer(1, name="New"), customer(2, email="c1@x.example"), *map(customer, range(3, 8)))
    report = moved(tmp_path, source, there, limit=3)
    assert (report.status, report.exit_code) == ("partly_done", 0)
    read = {
        name: pl.read_csv(report.files[name], infer_schema=False) for name in ("successful", "failed", "unprocessed")
    }
    assert [sorted(frame["external_id"]) for frame in read.values()] == [
        ["cus_00001", "cus_00003", "cus_00004"],
        ["cus_00002"],
        ["cus_00005", "cus_00006", "cus_00007"],
    ]
    assert read["failed"].select("_outcome", "_reason", "_line").rows() == [("refused", "taken: email", "3")]
    assert set(read["failed"].columns) > {"name", "phone", "metadata"}

    forgotten = next(one for one in there.sandbox.state() if one["external_id"] == "cus_00001")
    there.sandbox.add({**forgotten, "email": "another@x.example"})
    again = flow.retry(tmp_path / "state", report.run_id)
    assert (again.counts.created, again.counts.refused) == (4, 0)
    assert sorted(map(str, by_id(there))) == [f"cus_{at:05}" for at in range(1, 8)]
    with pytest.raises(ConfigError, match="nothing failed"):
        flow.retry(tmp_path / "state", again.run_id)


def test_the_first_ones_and_then_the_rest(account: Open, tmp_path: Path) -> None:
    there = account("metrifox")
    plan = flow.plan(given(tmp_path, file(tmp_path, *map(customer, range(12))), there), tmp_path / "plan")
    assert plan.counts.created == 12
    assert there.sandbox.state() == []
    first = flow.apply(tmp_path / "plan", limit=5)
    assert (first.counts.created, first.counts.left, first.status) == (5, 7, "partly_done")
    assert sorted(map(str, by_id(there))) == [f"cus_{at:05}" for at in range(5)]
    rest = flow.apply(tmp_path / "plan")
    assert (rest.counts.created, rest.counts.left, rest.status) == (12, 0, "done")
    assert len(there.sandbox.state()) == 12
    with pytest.raises(ConfigError, match="has been applied"):
        flow.apply(tmp_path / "plan")


def test_the_requests_of_a_plan_are_what_is_sent(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    flow.plan(given(tmp_path, file(tmp_path, *map(customer, range(3))), there), tmp_path / "plan")
    requests = pl.read_parquet(tmp_path / "plan" / "requests" / "*.parquet")
    assert set(requests["action"]) == {"create"}
    flow.apply(tmp_path / "plan")
    wanted = [json.loads(text) for text in requests["wanted"]]
    made = settable(there)
    assert [{name: one[name] for name in two} for one, two in zip(made, wanted, strict=True)] == wanted


# Interruptions and continuations
# ------------------------------------------------------------------------------------------


def test_a_plan_that_was_cut_off_is_continued(account: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = account("marginfront")
    moved(tmp_path / "others", file(tmp_path, *map(customer, range(250))), there)
    there.sandbox.record()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(request_plan.RequestPlanner, "_write_requests", dies)
        with pytest.raises(Interrupted, match="tranship resume"):
            moved(tmp_path, file(tmp_path, *map(customer, range(240, 260))), there)
    pages = len(there.sandbox.calls())
    assert pages >= 3
    report = flow.resume(tmp_path / "state", "last")
    assert (report.counts.created, report.counts.unchanged) == (10, 10)
    reads = [call for call in there.sandbox.calls() if call["method"] == "GET"]
    assert len(reads) == pages, "pages that are on disk were asked for again"


def test_too_little_memory_is_one_sentence_and_no_bug(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    with pytest.raises(ConfigError, match=r"1MB is not enough memory to compare .* Allow more: --memory 2GB"):
        moved(tmp_path, file(tmp_path, *map(customer, range(500))), there, memory="1MB")
    assert held(there) == {}


def test_survivors_of_several_files_are_all_in_the_plan_and_in_the_crosswalk(account: Open, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for part in range(3):
        some = (customer(n, updated_at="2025-01-01T00:00:00Z") for n in range(part * 20, part * 20 + 20))
        file(tmp_path / "parts", *some, name=f"{part}.csv")
    # Of two records with one e-mail, the later one takes over the id that it lacks.
    file(tmp_path / "parts", customer(1, city=None, updated_at="2030-01-01T00:00:00Z"), name="3.csv")
    there = account("marginfront")
    report = moved(tmp_path, tmp_path / "parts" / "*.csv", there)
    assert (report.counts.created, report.counts.merged) == (60, 1)
    crosswalk = pl.read_parquet(report.files["crosswalk"].replace(".csv", ".parquet"))
    assert crosswalk["external_id"].to_list() == sorted(by_id(there), key=lambda name: (name == "cus_00001", name))
    assert set(crosswalk["destination_id"]) == set(held(there))
    assert pl.read_csv(report.files["crosswalk"]).height == pl.read_csv(report.files["successful"]).height == 60


def test_a_plan_that_is_there_is_not_made_again(account: Open, tmp_path: Path) -> None:
    there = account("marginfront")
    source = file(tmp_path, *map(customer, range(6)))
    flow.plan(given(tmp_path, source, there), tmp_path / "plan")
    there.sandbox.record()
    flow.apply(tmp_path / "plan")
    assert {call["method"] for call in there.sandbox.calls()} == {"POST"}


@pytest.mark.parametrize("planned", [False, True], ids=["run", "plan"])
def test_a_key_that_stops_to_be_good_ends_it_and_it_goes_on(
    planned: bool, account: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account("marginfront")
    source = file(tmp_path, *map(customer, range(60)))
    place = ["--state-dir", str(tmp_path / "state")]
    first = ["run", str(source), there.address, *place]
    if planned:
        assert cli.main(["plan", str(source), there.address, "--out", str(tmp_path / "plan")]) == 0
        first = ["apply", str(tmp_path / "plan")]
        capsys.readouterr()
    there.sandbox.keys(stops_after={there.usual.key: 20})
    assert cli.main(first) == 3
    said = capsys.readouterr().err
    assert "401" in said
    assert "MF_API_SECRET_KEY" in said
    assert "Traceback" not in said
    (goes_on,) = re.findall("tranship (?:resume|apply) .*", said)
    assert 0 < len(there.sandbox.state()) <= 20
    there.sandbox.keys()
    assert cli.main(shlex.split(goes_on)[1:]) == 0
    assert len(there.sandbox.state()) == 60
    assert len(by_id(there)) == 60


def test_a_key_that_may_only_read_is_one_sentence(
    account: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account("blackwalnut")
    monkeypatch.setenv("BLACKWALNUT_API_KEY", "pk_live_0123456789")
    words = [str(file(tmp_path, customer(1), customer(2))), there.address, "--state-dir", str(tmp_path / "state")]
    assert cli.main(["run", *words]) == 3
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert "403" in said
    assert "BLACKWALNUT_API_KEY" in said
    assert "pk_live" not in said
    assert there.sandbox.state() == []


def test_stopped_by_hand_it_says_how_to_go_on(
    account: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = account("marginfront", weather={"latency": 0.2, "methods": ("POST",)})
    source = file(tmp_path, *map(customer, range(150)))
    there.sandbox.record()

    def stop() -> None:
        while not any(call["method"] == "POST" for call in there.sandbox.calls()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    code = cli.main(["run", str(source), there.address, "--state-dir", str(tmp_path / "state")])
    said = capsys.readouterr().err
    assert code == 130, said
    assert f"--state-dir {tmp_path / 'state'}" in said
    assert "tranship resume" in said
    done = len(there.sandbox.state())
    assert 0 < done < 150
    there.sandbox.weather()
    there.sandbox.record()
    assert cli.main(["resume", "last", "--state-dir", str(tmp_path / "state")]) == 0
    assert len(by_id(there)) == len(there.sandbox.state()) == 150
    assert len(writes(there)) == 150 - done, "what was in flight has been finished"
