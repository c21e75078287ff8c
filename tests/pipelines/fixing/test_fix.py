"""`tranship fix`: a table of rejects, what is done with each, and its fate."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tranship
from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates
from support.workbooks import workbook
from tranship.connectors.errors import ConfigError, Damaged, GateClosed
from tranship.pipelines import corrections
from tranship.pipelines.fixing import always, corrected
from tranship.pipelines.fixing.columns import ADDED, NUMBER

SOURCE = """Customer ID,Name,Email,Land,Zip,Note
1,Ann,ann@acme.com,DE,01067,
2,,bob@acme.com,DE,01067,=1+1
3,Cid,cid@@acme.com,Narnia,00123,a
4,Dan,dan@acme,DE,01067,
5,Eve
6,Fay,"fay@acme.com,DE,01067,
7,Gus,gus@acme,DE,01067,
8,Hal,hal@acme,DE,01067,
"""
"""1 is loaded. 2 to 8 are rejected: no name, e-mail and country, e-mail, too few columns, a quote, e-mail, e-mail."""

Edit = Mapping[str, str | None]
EDITS: dict[str, Edit] = {
    "3": {"Name": "Bob"},  # line 3 of the file: customer 2
    "4": {"Email": "cid@acme.com", "Land": "FR"},
    "5": {"_action": "Drop "},
    "6": {"_text": "5,Eve,eve@acme.com,DE,01067,x"},
    "7": {"_text": '6,Fay,"fay@acme.com",DE,01067,'},
    "8": {"Email": "gus@acme@com"},
}
"""By line of the source; line 9 is left as it is."""


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def state(warehouse: Warehouse) -> Path:
    return warehouse.folder / "state"


def load(warehouse: Any, text: str = SOURCE, **options: Any) -> tranship.Report:
    file = warehouse.folder / "people.csv"
    file.write_text(text)
    return warehouse.load(file, **{"strict": True, **options})


def given_out(warehouse: Any, report: tranship.Report, name: str = "rejects.csv") -> Path:
    run = report.run_dir if Path(report.run_dir).parent.name != "runs" else report.run_id
    done = tranship.fix(run, out=warehouse.folder / name, state_dir=state(warehouse))
    assert done.file == str(warehouse.folder / name)
    return Path(done.file)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def save(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def edited(file: Path, edits: Mapping[str, Edit]) -> None:
    save(file, [row | edits.get(row["_line"], {}) for row in rows_of(file)])


def fix(warehouse: Any, report: tranship.Report, file: Path, **options: Any) -> tranship.Fix:
    return tranship.fix(report.run_id, file, state_dir=state(warehouse), **options)


def of_run(warehouse: Any, report: tranship.Report) -> dict[str, Any]:
    text = (state(warehouse) / "runs" / report.run_id / "report.json").read_text()
    values: dict[str, Any] = json.loads(text)
    return values


def counts(fixes: Any) -> dict[str, int]:
    names = ("records", "loaded", "dropped", "left_out", "failed", "open")
    return {name: count for name in names if (count := vars(fixes)[name])}


def check_first_round(warehouse: Any) -> tuple[tranship.Report, Path, tranship.Fix]:
    report = load(warehouse)
    assert fates(report) == {"created": 1, "rejected": 7}
    file = given_out(warehouse, report)
    assert list(rows_of(file)[0]) == ["Customer ID", "Name", "Email", "Land", "Zip", "Note", *ADDED]
    edited(file, EDITS)
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 7, "loaded": 4, "dropped": 1, "open": 2}
    assert done.fixes.balance() == 0
    assert done.fixes.open_by_code == {"email.syntax": 2}
    assert (done.left_open, done.dropped, done.settled, done.refused) == (1, 1, 0, ())
    assert done.report is not None
    assert fates(done.report) == {"created": 4, "rejected": 1}
    assert done.exit_code == 4
    assert warehouse.column("external_id") == ["1", "2", "3", "5", "6"]
    assert warehouse.column("zip_code") == ["00123", *["01067"] * 4]
    return report, file, done


@pytest.mark.slow
def test_each_row_has_one_fate_and_the_report_of_the_run_has_them(warehouse: Warehouse) -> None:
    report, _, done = check_first_round(warehouse)

    joined = of_run(warehouse, report)
    assert joined["counts"] == vars(report.counts), "what the run itself has done is not rewritten"
    assert joined["fixes"]["loaded"] == 4
    assert joined["fixes"]["runs"] == [done.report.run_id] if done.report else False
    page = (state(warehouse) / "runs" / report.run_id / "report.html").read_text()
    assert "Corrected since: 7 rejects" in page
    assert json.loads(done.to_json())["fixes"] == joined["fixes"]
    listed = {run.run_id: run.fixes for run in tranship.runs(state_dir=state(warehouse))}
    assert listed[report.run_id] == done.fixes
    assert warehouse.rows("SELECT metadata FROM customers WHERE external_id = '2'") == [{"metadata": '{"Note":"=1+1"}'}]


@pytest.mark.slow
def test_twice_doubles_nothing_and_a_second_round_adds_up(warehouse: Warehouse) -> None:
    report, file, first = check_first_round(warehouse)
    again = fix(warehouse, report, file)

    # Line 8 is as it was when it was rejected again.
    assert again.report is None
    assert (again.settled, again.left_open, again.exit_code) == (5, 2, 0)
    assert again.fixes == first.fixes
    second = given_out(warehouse, report, "second.csv")
    found = {row["_line"]: row for row in rows_of(second)}
    assert sorted(found) == ["8", "9"]
    assert found["8"]["Email"] == "gus@acme@com", "the value of the last attempt"
    assert found["8"]["_record"] == f"{report.run_id}#6"
    edited(second, {"8": {"Email": "gus@acme.com"}, "9": {"_action": "drop"}})
    assert first.report is not None
    done = tranship.fix(first.report.run_id, second, state_dir=state(warehouse))

    assert counts(done.fixes) == {"records": 7, "loaded": 5, "dropped": 2}
    assert done.exit_code == 0
    assert len(done.fixes.runs) == 2
    assert of_run(warehouse, report)["fixes"]["open"] == 0
    with pytest.raises(ConfigError, match=r"has no open rejects \(7 rejected or refused → 5 loaded, 2 dropped"):
        given_out(warehouse, report, "third.csv")


@pytest.mark.slow
def test_a_workbook_is_corrected_as_well(warehouse: Warehouse) -> None:
    report = load(warehouse)
    file = given_out(warehouse, report, "rejects.xlsx")
    frame = pl.read_excel(file, infer_schema_length=0)
    rows = [row | EDITS.get(row["_line"], {}) for row in frame.to_dicts()]
    workbook(file, {"Rejects": [frame.columns, *([row[name] for name in frame.columns] for row in rows), [], []]})
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 7, "loaded": 4, "dropped": 1, "open": 2}
    assert warehouse.column("zip_code") == ["00123", *["01067"] * 4]
    assert warehouse.rows("SELECT metadata FROM customers WHERE external_id = '2'") == [{"metadata": '{"Note":"=1+1"}'}]


def test_postgres(tmp_path: Path, postgres_database: Database) -> None:
    check_first_round(PostgresWarehouse(tmp_path, postgres_database))


def change(line: str, **values: str) -> Callable[[list[dict[str, str]]], Any]:
    def changed(rows: list[dict[str, str]]) -> None:
        next(row for row in rows if row["_line"] == line).update(values)

    return changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (lambda rows: rows.append(dict.fromkeys(rows[0], "") | {"Name": "New"}), [corrected.ADDED_ROW]),
        (lambda rows: rows.append(dict(rows[0])), [corrected.TWICE] * 2),
        (change("3", _line="4"), [corrected.MOVED]),
        (change("3", _source="other.csv"), [corrected.MOVED]),
        (change("3", _record="7"), [corrected.ALTERED]),
        (change("3", _record=""), [corrected.ADDED_ROW]),
        (change("3", _record="20200101T000000-aaaaaa#1"), [corrected.OTHER_RUN]),
        (change("3", _action="dorp"), [corrected.UNKNOWN_ACTION]),
        (change("6", Name="Eve", _text="5,Eve,e@e.com,,,"), [corrected.TWO_WAYS]),
        (change("6", _text="5,Eve,e@e.com"), ["in its _text, the line has fewer columns than the header"]),
        (change("6", _text="5,Eve,e@e.com,,,\n9,Eve,e@e.com,,,"), ["its _text is not exactly one record"]),
        (
            change("6", _text='5,"Eve,e@e.com,,,'),
            ["in its _text, a quote is opened and not closed, or the other way round"],
        ),
        (lambda rows: rows.extend(dict.fromkeys(rows[0], "") for _ in range(3)), []),
        (lambda rows: rows.reverse(), []),
        (lambda rows: rows.pop(), []),
    ],
)
def test_only_listed_rows_may_have_changed(warehouse: Warehouse, spoil: Any, reasons: list[str]) -> None:
    report = load(warehouse)
    file = given_out(warehouse, report)
    rows = rows_of(file)
    change("4", Email="cid@acme.com", Land="FR")(rows)
    spoil(rows)
    save(file, rows)
    done = fix(warehouse, report, file)

    assert [row.reason for row in done.refused] == reasons
    assert done.exit_code == (4 if reasons else 0)
    assert counts(done.fixes) == {"records": 7, "loaded": 1, "open": 6}
    assert warehouse.column("external_id") == ["1", "3"]


def renamed(file: Path) -> None:
    file.write_text(file.read_text().replace("Email", "E-Mail", 1))


def of_another_run(file: Path) -> None:
    rows = rows_of(file)
    save(file, [row | {"_record": f"20200101T000000-aaaaaa#{at}"} for at, row in enumerate(rows, 1)])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (renamed, r"lacks 'Email'\. A column was renamed or removed\. It may be 'E-Mail' now\."),
        (of_another_run, r"contains rejects of run 20200101T000000-aaaaaa, not of .*Use: tranship fix 2020"),
        (lambda file: file.write_text("a,b\n1,2\n"), "has no column _record, so it is no file of tranship fix"),
        (lambda file: file.unlink(), "rejects.csv"),
        (lambda file: file.write_text(""), "rejects.csv"),
    ],
)
def test_another_file_is_refused_as_a_whole(warehouse: Warehouse, spoil: Any, message: str) -> None:
    report = load(warehouse)
    file = given_out(warehouse, report)
    spoil(file)

    with pytest.raises(ConfigError, match=message):
        fix(warehouse, report, file)
    assert of_run(warehouse, report)["fixes"] is None


def test_a_damaged_workbook_is_refused(warehouse: Warehouse) -> None:
    report = load(warehouse)
    file = given_out(warehouse, report, "rejects.xlsx")
    file.write_bytes(file.read_bytes()[:2000])

    with pytest.raises(ConfigError, match=r"rejects\.xlsx"):
        fix(warehouse, report, file)


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-16", "\t"), ("utf-8-sig", ";"), ("cp1252", ";")])
def test_a_file_saved_by_a_spreadsheet(warehouse: Warehouse, encoding: str, delimiter: str) -> None:
    text = (
        "Customer ID,Name,Email,Zip,Card ref,Since,Note\n"
        "007,Łukasz,a@a,01067,12345678901234567890,2024-03-01,'=x\n"
        "1,Zoë,b@b,1,2,2024-03-02,TRUE\n"
    )
    report = load(warehouse, text)
    file = given_out(warehouse, report)
    rows = rows_of(file)
    made = {"Customer ID": "7", "Zip": "1067", "Card ref": "1,23457E+19", "Since": "01.03.2024"}
    rows[0] |= made | {"Email": "a@a.com", "Name": rows[0]["Name"].replace("Ł", "?" if encoding == "cp1252" else "Ł")}
    rows[1] |= {"Since": "45353", "Note": "TRUE"}
    with file.open("w", newline="", encoding=encoding) as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerows([list(rows[0]), *(row.values() for row in rows), [""] * len(rows[0])])
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 2, "loaded": 1, "open": 1}, "the second row was not corrected"
    [row] = warehouse.rows("SELECT external_id, name, zip_code, metadata FROM customers")
    assert (row["external_id"], row["name"], row["zip_code"]) == ("007", "Łukasz", "01067")
    assert json.loads(row["metadata"])["Card ref"] == "12345678901234567890"
    assert json.loads(row["metadata"])["Note"] == "=x"
    assert {"Customer ID", "Zip", "Card ref", "Since"} <= set(done.remade)


@pytest.mark.slow
def test_records_that_a_table_refused_are_there_with_file_line_and_value(warehouse: Warehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id VARCHAR PRIMARY KEY, email VARCHAR, name VARCHAR, country VARCHAR "
        "NOT NULL, metadata JSON)"
    )
    text = "Customer ID,Name,Email,Land,Zip\n1,Ann,a@a.com,,01\n2,Bob,b@b.com,Deutschland,02\n3,,c@c.com,FR,03\n"
    report = load(warehouse, text, create="never")
    assert fates(report) == {"created": 1, "refused": 1, "rejected": 1}
    file = given_out(warehouse, report)
    found = {row["_line"]: row for row in rows_of(file)}

    assert found["2"]["_source"] == str(warehouse.folder / "people.csv") or found["2"]["_source"].endswith("people.csv")
    assert (found["2"]["Customer ID"], found["2"]["Email"], found["2"]["Zip"]) == ("1", "a@a.com", "01")
    assert found["2"]["_codes"] == "must_have_a_value"
    assert found["2"]["_reasons"].startswith("must_have_a_value: country (the column is NOT NULL")
    edited(file, {"2": {"Land": "DE"}})
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 2, "loaded": 1, "open": 1}
    assert warehouse.column("country") == ["DE", "DE"]


@pytest.mark.slow
def test_mirror_deletes_nothing_and_gates_count_by_the_first_run(warehouse: Warehouse) -> None:
    good = "".join(f"{at},Name {at},n{at}@acme.com,DE,1,\n" for at in range(100, 140))
    report = load(warehouse, SOURCE + good, mode="mirror", max_deletes="0", max_rejects="20%")
    file = given_out(warehouse, report)
    edited(file, {"3": {"Name": "Bob"}, "8": {"Email": "gus@"}})
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 7, "loaded": 1, "open": 6}
    assert done.exit_code == 0, "one of two is rejected again, and one of 47 was allowed to be"
    assert len(warehouse.column("external_id")) == 42


@pytest.mark.slow
def test_a_gate_stops_it_and_nothing_has_changed(warehouse: Warehouse) -> None:
    report = load(warehouse, max_changes="0")
    file = given_out(warehouse, report)
    edited(file, {"3": {"Name": "Bob", "Customer ID": "1"}, "5": {"_action": "drop"}})
    with pytest.raises(GateClosed):
        fix(warehouse, report, file)

    assert of_run(warehouse, report)["fixes"] is None
    assert len(rows_of(given_out(warehouse, report, "again.csv"))) == 7


@pytest.mark.slow
def test_a_dry_run_changes_nothing(warehouse: Warehouse) -> None:
    report = load(warehouse)
    file = given_out(warehouse, report)
    edited(file, EDITS)
    done = fix(warehouse, report, file, dry_run=True)

    assert done.report is not None
    assert fates(done.report) == {"created": 4, "rejected": 1}
    assert counts(done.fixes) == {"records": 7, "open": 7}
    assert warehouse.column("external_id") == ["1"]


def test_rules_show_what_is_invisible_in_their_values(tmp_path: Path) -> None:
    """A value that a customer has typed must not change what an editor shows of the rules."""
    file, typed, corrected = tmp_path / "corrections.toml", "Ann\u202e\x9b\u2066Lee\U000e0041\x7f", "Ann\u200bLee"
    original = pl.DataFrame({NUMBER: [1], "Name": [typed], "_text": [None]})
    changed = pl.DataFrame({NUMBER: [1], "Name": [corrected]})
    assert always.add(file, ["Name"], changed, original, "\u202e").added == 1
    assert file.read_text().replace("\n", "").isprintable()
    [rule] = corrections.read(file)
    assert (rule.when, rule.then, rule.why) == (typed, corrected, "\u202e")
    assert always.add(file, ["Name"], changed, original, "again").added == 0


@pytest.mark.slow
def test_always_adds_rules_that_later_runs_use(warehouse: Warehouse) -> None:
    rules = warehouse.folder / "corrections.toml"
    report = load(warehouse)
    file = given_out(warehouse, report)
    edited(file, EDITS)
    done = fix(warehouse, report, file, always=["Land", "Name"], why="known mistake", corrections=rules)
    again = fix(warehouse, report, file, always=["Land", "Name"], corrections=rules)

    assert (done.rules, again.rules) == (1, 0)
    assert [note for note in done.notes if "always" in note] == [
        "--always: 1 without a rule, of a blank value: use --default, or correct the records one by one"
    ]
    text = rules.read_text()
    assert 'field = "Land"\nwhen = "Narnia"\nthen = "FR"\nby = "' in text
    assert 'why = "known mistake"' in text
    assert rules.stat().st_mode & 0o777 == 0o600
    later = warehouse.load(warehouse.folder / "people.csv", table="later", corrections=str(rules), strict=True)
    assert later.corrected == {"rule 1: Land": 1}
    assert later.rejects_by_code["email.syntax"] == 4
    assert "country.unknown" not in later.rejects_by_code
    with pytest.raises(ConfigError, match=r"--always Lnd: the rejects have no such column\. Did you mean 'Land'\?"):
        fix(warehouse, report, file, always="Lnd")


@pytest.mark.parametrize(
    ("destination", "options", "message"),
    [
        ("out.parquet", {}, "has written the file .* as a whole"),
        (None, {"dry_run": True}, "is a dry run"),
    ],
)
def test_runs_whose_rejects_cannot_be_loaded(
    warehouse: Warehouse, destination: str | None, options: dict[str, Any], message: str
) -> None:
    given = {"destination": str(warehouse.folder / destination)} if destination else {}
    report = load(warehouse, **given, **options)

    with pytest.raises(ConfigError, match=message):
        given_out(warehouse, report)


def test_the_file_of_corrections_is_not_replaced(warehouse: Warehouse) -> None:
    report = load(warehouse)
    file = given_out(warehouse, report)

    with pytest.raises(ConfigError, match="exists already, and may have corrections"):
        given_out(warehouse, report)
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match=r"is neither \.xlsx nor \.csv"):
        given_out(warehouse, report, "rejects.txt")


@pytest.mark.slow
def test_a_provider(warehouse: Warehouse) -> None:
    with tranship.sandbox("metronome") as there:
        report = load(warehouse, destination=there.address)
        file = given_out(warehouse, report)
        edited(file, EDITS)
        done = fix(warehouse, report, file)
        again = fix(warehouse, report, file)
        read = tranship.run(there.address, warehouse.folder / "read.parquet", state_dir=state(warehouse))

    assert counts(done.fixes) == {"records": 7, "loaded": 4, "dropped": 1, "open": 2}
    assert (again.report, again.fixes) == (None, done.fixes)
    assert read.counts.read == 5
    assert sorted(pl.read_parquet(warehouse.folder / "read.parquet")["external_id"]) == ["1", "2", "3", "5", "6"]


@pytest.mark.slow
def test_lines_of_json_and_records_of_several_files(warehouse: Warehouse) -> None:
    folder = warehouse.folder / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"id": "1", "name": "Ann", "tags": ["x"]}\n{"id": "2", "name": "Bob"\n')
    (folder / "b.csv").write_text("id;name;email\n3;Cid\n4;'Dan';d@d\n")
    report = warehouse.load(folder, strict=True, allow_missing=True)
    assert fates(report) == {"created": 1, "rejected": 3}
    file = given_out(warehouse, report)
    texts = {'{"id": "2", "name": "Bob"': '{"id": "2",\n"name": "Bob"}', "3;Cid": "3;Cid;c@c.com"}
    rows = [row | ({"_text": texts[row["_text"]]} if row["_text"] else {"email": "d@d.com"}) for row in rows_of(file)]
    save(file, rows)
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 3, "loaded": 3}
    assert warehouse.column("name") == ["'Dan'", "Ann", "Bob", "Cid"]


@pytest.mark.slow
def test_a_record_that_a_filter_leaves_out_and_one_of_a_known_customer(warehouse: Warehouse) -> None:
    report = load(warehouse, where="Note is distinct from 'skip'")
    file = given_out(warehouse, report)
    edited(file, {"3": {"Name": "Bob", "Note": "skip"}, "4": {"Customer ID": "1", "Email": "x@y.com", "Land": "FR"}})
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 7, "loaded": 1, "left_out": 1, "open": 5}
    assert done.report is not None
    assert fates(done.report) == {"updated": 1, "skipped": 1}
    undone = tranship.undo(done.report.run_id, state_dir=state(warehouse))
    assert undone.counts.updated == 1
    assert of_run(warehouse, report)["fixes"]["open"] == 7, "what was taken back is open again"
    redone = tranship.undo(undone.run_id, state_dir=state(warehouse))
    assert redone.counts.updated == 1
    assert of_run(warehouse, report)["fixes"]["loaded"] == 1


@pytest.mark.slow
def test_an_ambiguous_e_mail_is_settled_by_an_id(warehouse: Warehouse) -> None:
    text = "Customer ID,Name,Email\n1,Ann,a@a.com\n2,Bob,a@a.com\n,Ann,a@a.com\n"
    report = load(warehouse, text)
    assert report.rejects_by_code == {"identity.ambiguous_email": 1}
    file = given_out(warehouse, report)
    edited(file, {"4": {"_action": "load"}})
    again = fix(warehouse, report, file)
    assert counts(again.fixes) == {"records": 1, "open": 1}
    edited(file, {"4": {"_action": "", "Customer ID": "1"}})
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 1, "loaded": 1}


@pytest.mark.slow
def test_a_run_that_died_before_it_wrote_is_not_continued(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = load(warehouse)
    file = given_out(warehouse, report)
    edited(file, EDITS)

    def die(*_: Any) -> None:
        raise RuntimeError("died")

    with monkeypatch.context() as broken:
        broken.setattr("tranship.pipelines.flow.Flow._write", die)
        with pytest.raises(RuntimeError, match="died"):
            fix(warehouse, report, file)
    [dead] = [run for run in tranship.runs(state_dir=state(warehouse)) if run.corrects]
    done = fix(warehouse, report, file)

    assert counts(done.fixes) == {"records": 7, "loaded": 4, "dropped": 1, "open": 2}
    with pytest.raises(ConfigError, match=f"Load the file again: tranship fix {report.run_id} --from FILE"):
        tranship.resume(dead.run_id, state_dir=state(warehouse))


@pytest.mark.slow
def test_a_damaged_run_is_not_done_again_as_an_ordinary_one(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = load(warehouse)
    file = given_out(warehouse, report)
    edited(file, EDITS)

    def die(*_: Any) -> None:
        raise RuntimeError("died")

    with monkeypatch.context() as broken:
        broken.setattr("tranship.connectors.databases.duckdb.write.DuckDbWriter.write", die)
        with pytest.raises(RuntimeError, match="died"):
            fix(warehouse, report, file)
    [dead] = [run for run in tranship.runs(state_dir=state(warehouse)) if run.corrects]
    [staged] = sorted((dead.run_dir / "stage").glob("*.parquet"))
    staged.write_bytes(staged.read_bytes()[:-9])
    before = warehouse.column("external_id")

    with pytest.raises(Damaged, match="Correct the rejects at the source, and run it again"):
        tranship.resume(dead.run_id, state_dir=state(warehouse))

    assert warehouse.column("external_id") == before
    assert len(tranship.runs(state_dir=state(warehouse))) == 2


def test_the_arguments_of_python_are_checked(warehouse: Warehouse) -> None:
    report = load(warehouse)
    call: Any = tranship.fix
    for given, message in (
        ({"out": "a.csv", "file": "b.csv"}, "out: cannot be combined with file"),
        ({"always": "Land"}, "file: is needed for these arguments"),
        ({"file": "b.csv", "mode": "insert"}, "mode: is not an option of a fix"),
        ({"file": "b.csv", "always": 3}, "always: int is not accepted"),
        ({"file": 3}, "file: int is not accepted"),
    ):
        with pytest.raises(ConfigError, match=message):
            call(report.run_id, state_dir=state(warehouse), **given)


@pytest.mark.slow
def test_a_plan_that_was_applied(warehouse: Warehouse) -> None:
    source, folder = warehouse.folder / "people.csv", warehouse.folder / "plan"
    source.write_text(SOURCE)
    given: dict[str, Any] = {"state_dir": state(warehouse), "strict": True}
    report = tranship.plan(source, warehouse.address(), out=folder, **given)
    with pytest.raises(ConfigError, match="is a dry run or a plan that was not applied"):
        given_out(warehouse, report)
    tranship.apply(folder)
    file = warehouse.folder / "rejects.csv"
    tranship.fix(folder, out=file, state_dir=state(warehouse))
    edited(file, EDITS)
    done = tranship.fix(folder, file, state_dir=state(warehouse))

    assert counts(done.fixes) == {"records": 7, "loaded": 4, "dropped": 1, "open": 2}
    assert json.loads((folder / "report.json").read_text())["fixes"]["loaded"] == 4
    assert tranship.fix("last", file, state_dir=state(warehouse)).fixes == done.fixes


def test_rejects_that_were_removed(warehouse: Warehouse) -> None:
    report = load(warehouse)
    (Path(report.run_dir) / "rejects.parquet").unlink()

    with pytest.raises(ConfigError, match=r"its rejects were removed\. Run it again"):
        given_out(warehouse, report)
