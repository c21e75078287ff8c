"""Rules that correct values which are wrong at the source again and again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tranship
from support.warehouse import Warehouse, fates
from tranship.connectors.contract import Batch
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.cli import output
from tranship.pipelines.corrections import Correction, Corrections, read
from tranship.schemas.faults import BROKEN

SOURCE = "Customer ID,Name,Email,Land\n1,Ann,ann@acme.com,Germny\n2,Bob,bob@@bob.com,Germny\n3,Cid,c@c.com,FR\n"
RULES = """
[[correction]]
field = "country"
when = "Germny"
then = "Germany"
by = "ann"
why = "typing error in the CRM"

[[correction]]
field = "Email"
when = "bob@@bob.com"
then = "bob@bob.com"

[[correction]]
field = "Name"
when = "Dora"
then = "Doris"
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "corrections.toml"
    file.write_text(RULES)
    return file


def source(folder: Path, text: str = SOURCE) -> Path:
    file = folder / "in.csv"
    file.write_text(text)
    return file


def test_values_are_corrected_counted_and_listed(warehouse: Warehouse, rules: Path) -> None:
    report = warehouse.load(source(warehouse.folder), corrections=str(rules), strict=True)

    assert fates(report) == {"created": 3}
    assert warehouse.column("country") == ["DE", "DE", "FR"]
    assert warehouse.column("email") == ["ann@acme.com", "bob@bob.com", "c@c.com"]
    assert report.corrected == {"rule 1: country": 2, "rule 2: Email": 1}
    assert json.loads(report.to_json())["corrected"] == report.corrected
    summary = output.summary(report, None)
    assert "values corrected by --corrections" in summary
    assert "rule 1: country  2" in summary
    assert "rule 1: country" in Path(report.files["page"]).read_text()


def test_a_rule_that_no_longer_acts_is_reported_without_its_value(warehouse: Warehouse, rules: Path) -> None:
    report = warehouse.load(source(warehouse.folder), corrections=str(rules))

    assert [note for note in report.notes if "corrections.toml" in note] == [
        (
            "corrections.toml, rule 3 (Name): no value matched, so nothing was corrected. If the source has been "
            "corrected, remove the rule."
        )
    ]


@pytest.mark.slow
def test_parts_that_are_not_read_again_keep_their_counts_and_changed_rules_read_them_again(
    warehouse: Warehouse, rules: Path
) -> None:
    first = warehouse.load(source(warehouse.folder), corrections=str(rules))
    second = warehouse.load(source(warehouse.folder), corrections=str(rules), table="other")
    rules.write_text(RULES.replace('"Germany"', '"Austria"'))
    third = warehouse.load(source(warehouse.folder), corrections=str(rules), table="third")

    assert any("reused" in note for note in second.notes)
    assert second.corrected == first.corrected
    assert warehouse.column("country", table="third") == ["AT", "AT", "FR"]
    assert third.corrected == first.corrected


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "xlsx", "table"])
def test_every_kind_of_source_is_corrected_in_the_same_place(warehouse: Warehouse, rules: Path, kind: str) -> None:
    frame = pl.read_csv(source(warehouse.folder), infer_schema_length=0)
    file: Any = warehouse.folder / f"in.{kind}"
    if kind == "jsonl":
        frame.write_ndjson(file)
    elif kind == "parquet":
        frame.write_parquet(file)
    elif kind == "xlsx":
        frame.write_excel(file)
    else:
        warehouse.do("CREATE TABLE given AS SELECT * FROM read_csv('" + str(warehouse.folder / "in.csv") + "')")
        file = warehouse.address("given")
    report = warehouse.load(file, corrections=str(rules), strict=True)

    assert fates(report) == {"created": 3}
    assert report.corrected == {"rule 1: country": 2, "rule 2: Email": 1}


def test_a_filter_sees_corrected_values_and_blank_and_similar_ones_are_left_alone(
    warehouse: Warehouse, rules: Path
) -> None:
    text = SOURCE + "4,Dan,d@d.com,germny\n5,Eve,e@e.com,\n"
    report = warehouse.load(source(warehouse.folder, text), corrections=str(rules), where="Land = 'Germany'")

    assert fates(report) == {"created": 2, "skipped": 3}


def test_rejects_and_samples_have_the_values_of_the_source(warehouse: Warehouse, rules: Path) -> None:
    text = (
        "Customer ID,Name,Email,Land\n1,,ann@acme.com,Germny\n,Bob,b@b.com,Germny\n3,Bob,b@b.com,FR\n4,Cid,b@b.com,FR\n"
    )
    report = warehouse.load(source(warehouse.folder, text), corrections=str(rules))

    assert fates(report) == {"created": 2, "rejected": 2}
    assert report.rejects()["Land"].to_list() == ["Germny", "Germny"]
    assert report.rejects().columns[:4] == ["Customer ID", "Name", "Email", "Land"]
    samples = pl.read_parquet(Path(report.run_dir) / "sample" / "*.parquet")
    assert samples.columns == ["Customer ID", "Name", "Email", "Land"]
    assert samples["Land"].to_list() == ["Germny", "Germny", "FR", "FR"]


def test_typed_columns_stay_typed_if_they_can() -> None:
    frame = pl.DataFrame({"n": [1, 2, None], "f": [1.5, 2.0, None]})
    batch = Batch("t", frame, pl.Series([1, 2, 3], dtype=pl.UInt64), pl.DataFrame(schema=BROKEN))

    def corrected(column: str, when: str, then: str) -> pl.Series:
        rules = Corrections("c.toml", {column: (Correction(1, column, when, then),)})
        return rules.apply(batch)[0].records[column]

    assert corrected("n", "2", "7").equals(pl.Series("n", [1, 7, None]), check_dtypes=True)
    assert corrected("n", "2", "none").to_list() == ["1", "none", None]
    assert corrected("f", "2", "2.5").equals(pl.Series("f", [1.5, 2.5, None]), check_dtypes=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[corection]]", r"corection is not known there. Write each rule under \[\[correction\]\]"),
        ("[correction]\nfield='a'", "with two brackets"),
        ("[[correction]]\nfield='Land'\nwhen='a'\nthan='b'", "rule 1: unknown key than. Did you mean then?"),
        ("[[correction]]\nfield='Land'\nwhen='a'", "rule 1: has no then"),
        ("[[correction]]\nfield='Land'\nwhen=1\nthen='b'", "rule 1: when is not a text"),
        ("[[correction]]\nfield='Land'\nwhen=' '\nthen='b'", "rule 1: when is empty.*--default"),
        ("[[correction]]\nfield='Land'\nwhen='a'\nthen='a'", "rule 1: when and then are the same"),
        ("[[correction]]\nfield='Lnd'\nwhen='a'\nthen='b'", "the source has no column 'Lnd'. Did you mean 'Land'?"),
        ("[[correction]]\nfield='city'\nwhen='a'\nthen='b'", "no column of the source is mapped to city"),
        (
            "[[correction]]\nfield='Land'\nwhen='a'\nthen='b'\n[[correction]]\nfield='Land'\nwhen='a'\nthen='c'",
            "rule 2: contradicts rule 1",
        ),
        (
            "[[correction]]\nfield='Land'\nwhen='a'\nthen='b'\n[[correction]]\nfield='country'\nwhen='a'\nthen='c'",
            r"rule 2: contradicts rule 1.*\(country and Land are one column\)",
        ),
        ("[[correction", "is not valid TOML"),
    ],
)
def test_mistakes_are_found_before_anything_is_read(warehouse: Warehouse, text: str, message: str) -> None:
    file = warehouse.folder / "corrections.toml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=message):
        warehouse.load(source(warehouse.folder), corrections=str(file))
    assert not (warehouse.folder / "state" / "runs").exists()


def test_a_missing_file_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(ConfigError, match=r"--corrections .*nowhere.toml: cannot be read"):
        warehouse.load(source(warehouse.folder), corrections=str(warehouse.folder / "nowhere.toml"))


def test_a_field_of_several_columns_names_them(warehouse: Warehouse) -> None:
    file = warehouse.folder / "corrections.toml"
    file.write_text("[[correction]]\nfield='name'\nwhen='a'\nthen='b'")
    text = "id,First,Last,Email\n1,Ann,Lee,a@a.com\n"

    with pytest.raises(ConfigError, match=r"name is built from 'First', 'Last'\. Name the column"):
        warehouse.load(source(warehouse.folder, text), corrections=str(file), fields={"name": "First + Last"})


def test_python_pipelines_files_and_inspections_use_them(warehouse: Warehouse, rules: Path) -> None:
    given, state = source(warehouse.folder), warehouse.folder / "state"
    report = tranship.run(given, warehouse.address(), corrections=rules, state_dir=state, strict=True)
    pipeline = warehouse.folder / "pipelines.toml"
    pipeline.write_text(
        f'source = "{given}"\ncorrections = "{rules}"\nstrict = true\nstate_dir = "{state}"\n'
        f'[pipelines.a]\ndestination = "{warehouse.address("a")}"\n'
    )
    of_file = flow.run(settings.from_command([str(pipeline)], None, {}, {}, only="a"))

    assert report.corrected == of_file.corrected == {"rule 1: country": 2, "rule 2: Email": 1}
    assert tranship.inspect(given, corrections=rules, strict=True).rejected == 0
    assert len(read(rules)) == 3


@pytest.mark.slow
def test_a_retry_reads_results_that_are_corrected_already(warehouse: Warehouse, rules: Path) -> None:
    text = SOURCE.replace("Land", "Land,Status").replace("Germny\n", "Germny,Draft\n").replace("FR\n", "FR,active\n")
    with tranship.sandbox("metronome") as there:
        report = warehouse.load(source(warehouse.folder, text), corrections=str(rules), destination=there.address)
        assert report.counts.refused == 2
        again = tranship.retry(report.run_id, state_dir=warehouse.folder / "state")

    assert (again.counts.read, again.counts.refused) == (2, 2)
    assert again.corrected == {}
