"""The erasure of one customer from runs of all kinds."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from html import unescape
from pathlib import Path

import duckdb
import polars as pl
import psycopg
import pytest

import tranship
from support.accounts import Account
from support.artefacts import texts
from support.left_behind import PERSON, PERSON_ID
from support.long_tests import LONG
from tranship.connectors import durable
from tranship.connectors.errors import Busy, ConfigError
from tranship.pipelines.cli import main as cli
from tranship.pipelines.retention import artefacts, downloaded_pages, erase, person, tables
from tranship.pipelines.run_directory import RunDirectory, all_runs

pytestmark = pytest.mark.slow

STATE = Path(".tranship")
OTHERS = re.compile(r"user\d+@example\.org|K\d+\b")


def found_in(folder: Path, *values: str) -> list[str]:
    """Return the files of a state directory that have one of these values, in any of the usual spellings."""
    wanted = [value.lower() for value in values]
    return [name for name, text in texts(folder) if any(value in unescape(text).lower() for value in wanted)]


def records(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the records of every file, as text, in their order."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if tables.is_table(file):
            yield name, [str(row) for frame in tables.frames(file) for row in frame.collect().iter_rows()]
        elif downloaded_pages.is_store(file):
            pages = file.read_bytes()
            yield name, [str(record) for record in json.loads(b"[%b]" % pages)] if pages.strip() else []


def test_after_an_erasure_nothing_is_found_and_all_other_records_are_equal(own_state: Path) -> None:
    before = dict(records(own_state))
    assert len(found_in(own_state, PERSON)) > 50
    foreseen = erase.erase(own_state, person.from_email(f" {PERSON.upper()}"), dry_run=True)
    assert dict(records(own_state)) == before

    done = erase.erase(own_state, person.from_email(f" {PERSON.upper()}"))
    assert done.entries == foreseen.entries
    assert (done.unreadable, done.shared_addresses) == ({}, 0)
    # Also its records without the address, by the id, and its names in the pages of the runs.
    assert found_in(own_state, PERSON, PERSON_ID, "Ana M", "ana.o%27hara") == []

    after = dict(records(own_state))
    gone = 0
    for name, rows in before.items():
        kept = iter(after.get(name, []))
        following = next(kept, None)
        for row in rows:
            if row == following:
                following = next(kept, None)
            else:
                gone += 1
                assert not OTHERS.search(row) or PERSON.lower() in row.lower(), (name, row)
        assert following is None, name
    journals = sum(entries for file, entries in done.entries.items() if file.endswith(".sqlite"))
    assert gone == done.total - journals


def test_the_files_of_runs_are_intact_and_commands_say_why_they_cannot_go_on(
    own_state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = erase.erase(own_state, person.from_id(PERSON_ID))
    assert found_in(own_state, PERSON_ID) == []
    assert done.shared_addresses == 1  # B1 and B3 have its address, too
    runs = all_runs(own_state)
    assert len(runs) == 15
    for run in runs:
        run.check()
        run.check_plan()
        run.check_results()
    assert [each.problem for each in tranship.runs(state_dir=own_state) if each.problem] == []
    written = next(
        run for run in runs if run.has_begun_to_write and "erased" in run.manifest and "undoes" not in run.manifest
    )
    for words in (["undo", written.run_id], ["verify", written.run_id], ["apply", str(own_state / "plan")]):
        assert cli.main([*words]) == 2
        assert " of a customer were erased from its files on 20" in capsys.readouterr().err
    assert cli.main(["report", written.run_id]) == 0


def write(*emails: str) -> None:
    rows = "".join(f"{number},{email},Customer {number}\n" for number, email in enumerate(emails, 1))
    Path("in.csv").write_text(f"external_id,email,name\n{rows}")


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("own_folder")
def test_the_same_file_is_read_again_in_full_after_an_erasure() -> None:
    """Not from the records that an earlier run has kept of it."""
    write("a@x.example", "b@x.example")
    tranship.run("in.csv", "one.csv")
    erase.erase(STATE, person.from_email("a@x.example"))
    assert tranship.run("in.csv", "two.csv").counts.created == 2
    assert "a@x.example" in Path("two.csv").read_text()


@pytest.mark.usefixtures("own_folder")
def test_the_report_names_no_command_that_an_erasure_has_made_impossible(capsys: pytest.CaptureFixture[str]) -> None:
    write("a@x.example", "b@x.example", "no address")
    run = tranship.run("in.csv", "duckdb:///w.duckdb?table=customers", strict=True)
    assert cli.main(["report", run.run_id]) == 0
    assert "tranship fix" in (said := capsys.readouterr().out)
    assert "tranship undo" in said
    erase.erase(STATE, person.from_email("a@x.example"))
    assert cli.main(["report", run.run_id]) == 0
    assert "tranship fix" not in (said := capsys.readouterr().out)
    assert "tranship undo" not in said
    assert "correct the rejected records at the source" in said


@pytest.mark.usefixtures("own_folder")
def test_a_later_run_to_a_provider_still_knows_the_customers_of_earlier_ones(account: Callable[..., Account]) -> None:
    there = account("metronome")
    write("a@x.example", "b@x.example", "c@x.example")
    tranship.run("in.csv", there.address)
    erase.erase(STATE, person.from_email("a@x.example"))
    assert [name for name, text in texts(STATE) if "a@x.example" in text] == []
    write("b@x.example", "b2@x.example", "c@x.example")
    report = tranship.run("in.csv", there.address)
    assert not [note for note in report.notes if "damaged" in note]


@pytest.mark.usefixtures("own_folder")
def test_an_address_that_contains_the_address_is_another_customer() -> None:
    write("ana@x.example", "joana@x.example", "ana@x.example.org", "o'ana@x.example", "ana-ana@x.example")
    tranship.run("in.csv", "out.csv")
    erase.erase(STATE, person.from_email("ana@x.example"))
    (stage,) = STATE.glob("runs/*/stage/*.parquet")
    assert pl.read_parquet(stage)["external_id"].to_list() == ["2", "3", "4", "5"]


@pytest.mark.parametrize(
    "spelling",
    [
        "ANA@X.example",
        "mailto:ana@x.example",
        "Ana <ana@x.example>",
        '{"contact": "\\nana@x.example"}',
        '{"a": "\\u0061n\\u0061\\u0040x.example"}',
        "https://crm.example/?q=ana%40x.example&p=1",
        "ana&#64;x&#x2e;example",
        "a\u200bna@x.example\ufeff",
        "x@y.example;ana@x.example",
        "write to ana@x.example.",
    ],
)
def test_every_spelling_of_an_address_is_found(spelling: str) -> None:
    customer = person.from_email("Ana@x.Example ")
    frame = pl.DataFrame({"text": [spelling, "joana@x.example", "ana@x.example.org"], "list": [[], [spelling], []]})
    found = frame.select(customer.records(frame.schema)).to_series().to_list()
    assert found == [True, True, False]
    assert customer.mentions(spelling)
    assert not customer.mentions(customer.without_addresses(spelling))


def test_domains_are_found_in_unicode_and_ascii() -> None:
    for customer in (person.from_email("ana@bücher.example"), person.from_email("ana@xn--bcher-kva.example")):
        assert customer.mentions("ana@BÜCHER.example")
        assert customer.mentions("ana@bu\u0308cher.example")
        assert customer.mentions("ana@xn--bcher-kva.example")


@pytest.mark.usefixtures("own_folder")
def test_all_records_of_the_customer_go_and_addresses_of_others_stay() -> None:
    Path("in.csv").write_text(
        "external_id,email,name,updated_at\n"
        "7,ana@x.example,Ana,2026-01-02\n7,old@x.example,Ana,2025-01-01\n,old@x.example,A.,2024-01-01\n"
        "7,office@x.example,Ana,2024-01-01\n8,office@x.example,Office,2024-01-01\n70,b@x.example,B,2024-01-01\n"
    )
    tranship.run("in.csv", "out.csv", max_conflicts="100%")
    done = erase.erase(STATE, person.from_email("ana@x.example"))
    assert done.shared_addresses == 1
    (stage,) = STATE.glob("runs/*/stage/*.parquet")
    left = pl.read_parquet(stage).select("external_id", "email").rows()
    assert left == [("8", "office@x.example"), ("70", "b@x.example")]


@pytest.mark.usefixtures("own_folder")
def test_an_interrupted_erasure_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a@x.example", "b@x.example", "c@x.example")
    # That customer 1 is the one with the address is known from the first run only.
    run = RunDirectory.at(Path(tranship.run("in.csv", "duckdb:///w.duckdb?table=t").run_dir))
    Path("rejected.csv").write_text("external_id,email,name\n1,broken,Ana Zero\n9,c@x.example,C\n")
    tranship.run("rejected.csv", "out.csv", max_rejects=5)
    shutil.copytree(STATE, "copy")
    moments = 0
    replace = Path.replace
    for moment in range(1, 100, 1 if LONG else 6):
        shutil.rmtree(STATE)
        shutil.copytree("copy", STATE)
        calls = 0

        def dies(self: Path, target: Path, at: int = moment) -> Path:
            nonlocal calls
            calls += 1
            if calls >= at:
                raise KeyboardInterrupt
            return replace(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", dies)
            try:
                erase.erase(STATE, person.from_email("a@x.example"))
            except KeyboardInterrupt:
                moments += 1
            else:
                break
        erase.erase(STATE, person.from_email("a@x.example"))
        assert [name for name, text in texts(STATE) if "a@x.example" in text or "Ana Zero" in text] == []
        assert "b@x.example" in str(list(records(STATE)))
        again = RunDirectory.at(run.path)
        again.check()
        again.check_plan()
        assert not [*STATE.rglob("*.partial"), *STATE.glob("erasing.json")]
    assert moments > 2


@pytest.mark.usefixtures("own_folder")
def test_nothing_is_erased_while_a_run_is_in_use() -> None:
    write("a@x.example")
    run = RunDirectory.at(Path(tranship.run("in.csv", "out.csv").run_dir))
    run.own()
    try:
        with pytest.raises(Busy):
            erase.erase(STATE, person.from_email("a@x.example"))
    finally:
        run.let_go()


@pytest.mark.usefixtures("own_folder")
def test_a_receipt_has_no_value_and_recognises_it_only_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a@x.example", "b@x.example", "c@x.example")
    tranship.run("in.csv", "out.csv")
    erase.erase(STATE, person.from_email("a@x.example"))
    assert "mark" not in (STATE / "erased.json").read_text()
    monkeypatch.setenv("TRANSHIP_RECEIPT_KEY", "kept elsewhere")
    assert erase.erase(STATE, person.from_email("b@x.example")).earlier is None
    assert erase.erase(STATE, person.from_email("B@x.example")).earlier
    assert erase.erase(STATE, person.from_email("c@x.example"), dry_run=True).earlier is None
    monkeypatch.setenv("TRANSHIP_RECEIPT_KEY", "another")
    assert erase.erase(STATE, person.from_email("b@x.example")).earlier is None
    assert "@" not in (STATE / "erased.json").read_text()


@pytest.mark.usefixtures("own_folder")
def test_a_file_that_cannot_be_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write("a@x.example")
    folder = Path(tranship.run("in.csv", "out.csv").run_dir)
    (folder / "plan.parquet").write_bytes(b"PAR1 broken")
    assert cli.main(["erase", "--email", "a@x.example"]) == 4
    said = capsys.readouterr()
    assert "plan.parquet: cannot be read, so it was not searched. Remove it if you do not need it." in said.err
    assert "stage/000000.parquet: 1 entry" in said.out


@pytest.mark.usefixtures("own_folder")
def test_the_value_may_be_given_without_an_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    write("a@x.example", "b@x.example")
    tranship.run("in.csv", "out.csv")
    for words, given in ((["--email", "-"], "a@x.example\n"), (["--external-id"], "1\n")):
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        assert cli.main(["erase", *words, "--dry-run"]) == 0
        assert "Would erase " in capsys.readouterr().err
    assert cli.main(["erase"]) == 2
    assert cli.main(["erase", "--email", "ana.x.example"]) == 2
    said = capsys.readouterr()
    assert "ana.x.example" not in said.err + said.out
    with pytest.raises(ConfigError):
        person.from_id("n/a")


@pytest.mark.usefixtures("own_folder")
def test_records_are_found_by_the_columns_that_the_source_has() -> None:
    """Also those that were rejected, in which the columns have the names and spellings of the source."""
    Path("in.csv").write_text(
        "Kundennr;E-Mail;Firma;Land\n0017;ana@x.example;Ana GmbH;DE\n='0017;kaputt;Ana GmbH;DE\n17;b@x.example;N/A;DE\n"
        '="0017";c@x.example;N/A;DE\n18;d@x.example;D GmbH;0017\n'
    )
    tranship.run("in.csv", "out.csv", max_rejects=9, profile="none")
    erase.erase(STATE, person.from_email("ana@x.example"))
    (rejects,) = STATE.glob("runs/*/rejects.csv")
    assert [line.split(",")[0] for line in rejects.read_text().splitlines()] == ["Kundennr", "'='0017", "17"]
    assert "d@x.example" in str(list(records(STATE)))


def test_runs_into_postgres_have_nothing_left(own_folder: Path, postgres_database: object) -> None:
    table = f"{postgres_database.url}?table=customers"  # type: ignore[attr-defined]
    for name in ("Ana", "Anna"):
        rows = f"7,ana@x.example,{name}\n8,b@x.example,{name}\n"
        (own_folder / "in.csv").write_text(f"external_id,email,name\n{rows}")
        tranship.run("in.csv", table, history=True)
    tranship.undo("last")
    erase.erase(STATE, person.from_email("ana@x.example"))
    assert found_in(STATE, "ana@x.example") == []
    # The undo stages nothing; ids of runs within one second are not in order.
    assert sorted(len(pl.read_parquet(file)) for file in STATE.glob("runs/*/stage/*.parquet"))[-2:] == [1, 1]
    for file in (path for run in STATE.glob("runs/*") for path in run.rglob("*") if path.is_file()):
        name = "/".join(file.relative_to(STATE).parts[2:])
        assert artefacts.of_run(name), name


@pytest.mark.usefixtures("own_folder")
def test_an_unfinished_run_is_not_continued_without_the_customer(capsys: pytest.CaptureFixture[str]) -> None:
    write("a@x.example", "b@x.example")
    folder = Path(tranship.run("in.csv", "out.csv").run_dir)
    manifest = durable.read_json(folder / "manifest.json")
    steps = {name: facts for name, facts in manifest["steps"].items() if name != "apply"}
    durable.write_json(folder / "manifest.json", manifest | {"status": "running", "steps": steps})
    (folder / "report.json").unlink()
    erase.erase(STATE, person.from_email("a@x.example"))
    assert cli.main(["resume", folder.name]) == 2
    assert "so it cannot be continued" in capsys.readouterr().err
    report = tranship.run("in.csv", "out.csv")
    assert (report.run_id == folder.name, report.counts.created) == (False, 2)


def sql_of(address: str, value: str) -> str:
    out = Path("erase.sql")
    out.unlink(missing_ok=True)
    assert cli.main(["erase", "--email", value, "--and-destination", address, "--out", str(out)]) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    return out.read_text()


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_the_script_for_a_table_deletes_the_customer_there_and_beside_it(
    kind: str, own_folder: Path, request: pytest.FixtureRequest
) -> None:
    address = "duckdb:///w.duckdb?table=customers"
    if kind == "postgres":
        address = f"{request.getfixturevalue('postgres_database').url}?table=customers"
    for email in ("o'ana@x.example", "old@x.example"):
        rows = f"7,{email},Ana\n,{email.replace('o', 'no')},Nono\n8,to'ana@x.example,Bo {email[0]}\n"
        (own_folder / "in.csv").write_text(f"external_id,email,name\n{rows}")
        tranship.run("in.csv", address, history=True)
    script = sql_of(address, "o'ana@x.example")
    tables_of_it = ("customers", "customers_history", "_tranship_changes")
    assert [f'"{name}"' in script for name in tables_of_it] == [True] * 3
    if kind == "duckdb":
        with duckdb.connect("w.duckdb") as database:
            database.execute(script)
            texts_of = [database.sql(f"SELECT t::VARCHAR FROM {name} t").fetchall() for name in tables_of_it]
    else:
        with psycopg.connect(address.partition("?")[0], autocommit=True) as server:
            server.execute(script)  # type: ignore[call-overload]
            texts_of = [server.execute(f"SELECT t::text FROM {name} t").fetchall() for name in tables_of_it]  # type: ignore[call-overload]
    left = "\n".join(text for rows in texts_of for (text,) in rows).replace("''", "'").replace("\\'", "'")
    assert not re.search(r"(?<![tn])o'ana@x\.example|(?<!n)old@x\.example|\bAna\b", left)
    for value in ("to'ana@x.example", "nold@x.example", "Bo o"):
        assert value in left


def test_the_plan_for_a_provider_names_the_customer_there(own_folder: Path, account: Callable[..., Account]) -> None:
    there = account("metronome")
    write("a@x.example", "b@x.example")
    tranship.run("in.csv", there.address)
    before = there.records()
    (crosswalk,) = STATE.glob("runs/*/crosswalk.parquet")
    ids = dict(pl.read_parquet(crosswalk).select("email", "destination_id").iter_rows())
    text = sql_of(there.address, "a@x.example")
    assert ids["a@x.example"] in text
    assert ids["b@x.example"] not in text
    assert "Its API archives customers" in text
    assert there.records() == before
    assert "no run of this state directory has written this customer" in sql_of(there.address, "c@x.example")
    assert own_folder.exists()


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--and-destination", "out.csv"], "--and-destination ADDRESS and --out FILE belong together"),
        (["--out", "in.csv", "--and-destination", "out.csv"], "--out in.csv: exists already"),
        (["--out", ".tranship/x.sql", "--and-destination", "out.csv"], "is in the state directory"),
        (["--out", "x.sql", "--and-destination", "out.csv"], "out.csv: is neither a table nor a provider"),
        (["--out", "x.sql", "--and-destination", "duckdb:///no.duckdb?table=t"], "no.duckdb does not exist"),
    ],
)
def test_a_plan_that_cannot_be_made_leaves_everything(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a@x.example")
    tranship.run("in.csv", "out.csv")
    before = dict(records(STATE))
    assert cli.main(["erase", "--email", "a@x.example", *words]) == 2
    assert message in capsys.readouterr().err
    assert dict(records(STATE)) == before


@pytest.mark.usefixtures("own_folder")
def test_a_run_that_begins_in_the_meantime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a@x.example", "b@x.example")
    tranship.run("in.csv", "out.csv")
    write_files = erase._Work.write

    def begins(work: erase._Work, now: datetime) -> dict[str, str]:
        (STATE / "runs" / "20990101T000000-abcdef").mkdir()
        return write_files(work, now)

    monkeypatch.setattr(erase._Work, "write", begins)
    done = erase.erase(STATE, person.from_email("a@x.example"))
    assert list(done.unreadable) == [str(STATE / "runs" / "20990101T000000-abcdef")]
    assert "Erase the customer once more" in str(done.unreadable)


@pytest.mark.usefixtures("own_folder")
def test_tables_of_an_engine_elsewhere_are_named() -> None:
    write("a@x.example")
    folder = Path(tranship.run("in.csv", "out.csv").run_dir)
    manifest = durable.read_json(folder / "manifest.json")
    for place, named in ((str((folder / "work").resolve()), []), ("s3://lake/tmp", ["s3://lake/tmp"])):
        durable.write_json(folder / "manifest.json", manifest | {"status": "failed", "work_folder": place})
        assert list(erase.erase(STATE, person.from_email("b@x.example")).unreadable) == named


def test_a_plan_in_the_state_directory_or_named_twice_is_erased_once(own_folder: Path) -> None:
    write("a@x.example")
    for folder in (STATE / "move", Path("move")):
        tranship.plan("in.csv", "out.csv", out=folder)
    folders = [Path("move"), STATE / "move", (STATE / "move").absolute(), Path("..", own_folder.name, "move")]
    done = erase.erase(STATE, person.from_email("a@x.example"), folders=folders)
    files = [Path(file).resolve() for file in done.entries]
    assert len(files) == len(set(files))
    assert {own_folder / place / "move" / "changes.csv" for place in (".", STATE)} <= {*files}
