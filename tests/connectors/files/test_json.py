"""Reading and writing JSON: every record has one fate, and its values are the text in the file."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.warehouse import Warehouse, fates
from tranship.connectors import opening
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import json as reader
from tranship.connectors.files import json_documents

EXAMPLES = int(os.environ.get("TRANSHIP_EXAMPLES", "30"))


class Read:
    """The result of reading a file: columns, notes, records by place, and broken ones by place."""

    def __init__(self, path: Path) -> None:
        source = opening.open_source(str(path))
        try:
            [layout] = source.layouts()
            batches = [part.read() for part in source.parts(path.parent)]
        finally:
            source.close()
        self.columns, self.notes = layout.columns, " ".join(layout.notes)
        self.records: dict[int, dict[str, str | None]] = {}
        self.broken: dict[int, tuple[str, str, str]] = {}
        for batch in batches:
            assert batch.records.height == len(batch.lines)
            assert tuple(batch.records.columns) == layout.columns
            assert set(batch.records.dtypes) <= {pl.String}
            self.records |= dict(zip(batch.lines.to_list(), batch.records.to_dicts(), strict=True))
            self.broken |= {line: (code, detail, text) for line, code, detail, text in batch.broken.rows()}

    @property
    def only(self) -> dict[str, str | None]:
        [record] = self.records.values()
        return record


def read(folder: Path, text: bytes | str, name: str = "a.jsonl") -> Read:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Read(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12345678901234567890123", "12345678901234567890123"),
        ("1.10", "1.10"),
        ("-0", "-0"),
        ("1e999999", "1e+999999"),
        ('"007"', "007"),
        ('""', None),
        ("null", None),
        ("true", "true"),
        ("false", "false"),
        ('"\\u00e9\\n\\"\\\\\\/"', 'é\n"\\/'),
        ('"\\ud83d\\ude00"', "😀"),
        ('"a\\u0000b"', "a\0b"),
        ('[1.10, {"b": 7.00}]', '[1.10, {"b": 7.00}]'),
        ('"' + "x" * 5000 + '"', "x" * 5000),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_value_is_the_text_that_stands_there(tmp_path: Path, text: str, found: str | None) -> None:
    for line in (f'{{"id":"1","v":{text}}}', f'{{ "id" : "1" , "v" :\t{text} }}', f'{{"v":{text},"id":"1"}}'):
        assert read(tmp_path, line).only == {"id": "1", "v": found}
        assert read(tmp_path, f"[{line}]", "a.json").only == {"id": "1", "v": found}


@pytest.mark.parametrize(
    ("records", "columns"),
    [
        (['{"a":{"b":{"c":1}}}'], ("a.b.c",)),
        (['{"a":"x"}', '{"a":{"b":1}}'], ("a", "a.b")),
        (['{"a":null}', '{"a":{"b":1}}', '{"a":{}}'], ("a.b",)),
        (['{"a":{}}', '{"a":null}'], ("a",)),
        (['{"metadata":{"a":{"b":1}},"Custom Fields":{"c":1}}'], ("metadata", "Custom Fields")),
        (['{"x":{"metadata":{"a":1}}}'], ("x.metadata.a",)),
        (['{"a":1}'] * 9 + ['{"late":{"b":1}}'], ("a", "late.b")),
        (['{"a.b":1,"a":{"b":2}}'], ("a.b", "a.b_2")),
        (['{"a":[{"b":1}]}'], ("a",)),
        (['{"":1,"k\\n":2}'], ("column_1", "k\n")),
        (["{}"], ("column_1",)),
    ],
)
def test_objects_become_columns(tmp_path: Path, records: list[str], columns: tuple[str, ...]) -> None:
    lines, array = read(tmp_path, "\n".join(records)), read(tmp_path, f"[{','.join(records)}]", "a.json")
    assert lines.columns == array.columns == columns
    assert lines.records == array.records
    assert len(lines.records) == len(records)


def test_a_key_written_with_escapes_is_the_same_key(tmp_path: Path) -> None:
    found = read(tmp_path, '{"a":1}\n{"\\u0061":2}')
    assert found.columns == ("a",)
    assert [record["a"] for record in found.records.values()] == ["1", "2"]


def test_metadata_stays_an_object(tmp_path: Path) -> None:
    assert read(tmp_path, '{"metadata":{"n":1.10,"deep":{"x":[null]}}}').only == {
        "metadata": '{"n":1.10,"deep":{"x":[null]}}'
    }


def test_nested_values_of_a_pretty_printed_file_stand_on_one_line(tmp_path: Path) -> None:
    text = json.dumps([{"id": "1", "metadata": {"a": "x  y"}, "list": [1, "b\n c"]}], indent=2)
    found = read(tmp_path, text, "a.json").only
    assert found == {"id": "1", "metadata": '{"a": "x  y"}', "list": '[1,"b\\n c"]'}
    mixed = read(tmp_path, '[{"a":[1]},{"a":{\n"b":2}}]', "a.json")
    assert mixed.records == {1: {"a": "[1]", "a.b": None}, 2: {"a": None, "a.b": "2"}}


@pytest.mark.parametrize(
    ("line", "code", "detail"),
    [
        (b'{"id":"2"', "line.json", "truncated"),
        (b"nope", "line.json", "invalid character"),
        (b"[1]", "line.json", "not an array"),
        (b"5", "line.json", "not a number"),
        (b'{"id":"2",}', "line.json", "trailing comma"),
        (b'{"id":NaN}', "line.json", "invalid character"),
        (b'{"id":007}', "line.json", "invalid number"),
        (b'{"id":"\\ud800"}', "line.json", ""),
        (b'{"id":"a\x00b"}', "line.json", "invalid character"),
        (b'{"id":"a\tb"}', "line.json", "invalid character"),
        (b'{"id":"\xff"}', "line.encoding", ""),
        (b'{"id":"2","id":"3"}', "line.key", ""),
        (b'{"id":"2","\\u0069d":"3"}', "line.key", ""),
        (b'{"id":"2","a":{"x":1,"x":1}}', "line.key", ""),
        (b'{"id":"2","metadata":{"x":1,"x":2}}', "line.key", ""),
        (b'{"id":"2","a":[[{"x":1,"y":{"x":1,"x":1}}]]}', "line.key", ""),
        (b'{"id":"2","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line.json", "nested too deeply"),
        (b'{"id":' * 100_000 + b"1" + b"}" * 100_000, "line.json", "nested too deeply"),
    ],
)
def test_a_broken_record_is_set_aside_with_its_text(tmp_path: Path, line: bytes, code: str, detail: str) -> None:
    shown = line.decode(errors="backslashreplace")
    found = read(tmp_path, b'{"id":"1","a":{"y":1}}\n' + line + b'\n\n{"id":"3"}\n')
    assert [record["id"] for record in found.records.values()] == ["1", "3"]
    assert list(found.records) == [1, 4]
    [(place, (found_code, found_detail, text))] = found.broken.items()
    assert (place, found_code, text) == (2, code, shown)
    assert detail in found_detail
    if b'":"' in line and line.count(b'"') % 2 == 0 and line.startswith(b"{") and line.endswith(b"}"):
        array = read(tmp_path, b'[{"id":"1"},\n' + line + b',{"id":"3"}]', "a.json")
        assert list(array.records) == [1, 3]
        assert array.broken[2][0] == code
        assert array.broken[2][2] == shown


def test_a_record_of_an_array_is_named_by_its_number_and_line(tmp_path: Path) -> None:
    found = read(tmp_path, '[\n{"id":"1"},\n\n{"id":2,}\n,5]', "a.json")
    assert found.broken[2] == ("line.json", "line 4: trailing comma in object (byte 8)", '{"id":2,}')
    assert found.broken[3][1].startswith("line 5: ")
    assert "numbered by their place" in found.notes


@pytest.mark.parametrize(
    ("name", "text", "ids", "note"),
    [
        ("a.json", '{"id":"1"}\n{"id":"2"}\n', ["1", "2"], "contains JSON Lines"),
        ("a.json", '{"id":"1"\n{"id":"2"}\n{"id":"3"}\n', ["2", "3"], "contains JSON Lines"),
        ("a.jsonl", ' [{"id":"1"},\n{"id":"2"}]', ["1", "2"], "contains one array"),
        ("a.ndjson", '{"id":"1"}\r\n{"id":"2"}\r\n', ["1", "2"], ""),
        ("a.jsonl", '\ufeff{"id":"1"}\n\ufeff{"id":"2"}', ["1", "2"], ""),
        ("a.json", '\ufeff[{"id":"1"}]', ["1"], ""),
        ("a.json", '{"has_more":true,"data":[{"id":"1"}]}', ["1"], "the list 'data'; other keys, not read: 'has_more'"),
        ("a.json", '{"r":{"page":1,"rows":[{"id":"1"}]},"tags":[]}', ["1"], "the list 'r.rows'"),
        ("a.json", '{"id":"1","aliases":["a"]}', ["1"], "contains one record"),
        ("a.json", '{"data":[]}', [], "the list 'data'"),
        ("a.json", "[]", [], ""),
        ("a.jsonl", "", [], ""),
        ("a.json", "\n \n", [], ""),
    ],
)
def test_a_file_is_read_for_what_it_is(tmp_path: Path, name: str, text: str, ids: list[str], note: str) -> None:
    found = read(tmp_path, text, name)
    assert [record["id"] for record in found.records.values()] == ids
    assert note in found.notes


def test_utf_16_is_recognised(tmp_path: Path) -> None:
    assert read(tmp_path, '{"id":"é"}\n{"id":"b"}'.encode("utf-16")).records[1] == {"id": "é"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '[{"id":1},{"id":2}', "ends in the middle of line 1"),
        ("a.json", '[{"id":1},\n{"id":"2', "ends in the middle of line 2"),
        ("a.json", "[" * 100_000, "ends in the middle"),
        ("a.json", '[{"id":1}] x', "not valid JSON outside its records"),
        ("a.json", '{"a":[{"id":1}],\n"b":[{"id":2}]}', r'2 lists of records: "a" \(line 1\), "b" \(line 2\)'),
        ("a.json", '{"a":[{"id":1}],"a":[{"id":2}]}', "same key twice"),
        ("a.json", "5", "is not JSON"),
        ("a.jsonl", "id,name\n1,x\n", "name it .csv"),
        ("a.jsonl", "\n".join(f'{{"k{n}":1}}' for n in range(2500)), "more than 2,000 different keys"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text, name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_record_without_end_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_RECORD_BYTES", 1 << 20)
    monkeypatch.setattr(json_documents, "MAX_RECORD_BYTES", 1 << 20)
    for text in ('{"id":"1"}\n{"id":"' + "x" * (5 << 20), '[{"id":"' + "x" * (5 << 20) + '"}]'):
        with pytest.raises(ConfigError, match=r"within 1 MB|ends in the middle|more than 1 MB"):
            read(tmp_path, text, name)


def test_metadata_may_have_any_number_of_keys(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"id": n, "metadata": {f"k{n}": n}}) for n in range(2500))
    assert read(tmp_path, lines).columns == ("id", "metadata")


@pytest.mark.slow
@pytest.mark.parametrize("end", [".jsonl", ".jsonl.gz", ".ndjson.zst"])
def test_what_is_written_is_read_back(tmp_path: Path, end: str) -> None:
    warehouse = Warehouse(tmp_path)
    hostile = ('"', "\\", "a\nb", "=1+1", "'x", "é\u2028😀", "{}", "[1]", "null", "\u0085")
    records: list[dict[str, str | None]] = [
        {
            **{"external_id": str(n), "name": f"N{name}", "aliases": '["a;b","\\""]', "net_terms": "7"},
            **{"metadata": '{"n": 1.10,\n "deep": {"x": [null, "é"]}}', "created_at": "2024-01-02T03:04:05.000006Z"},
            **{"invoice_cc_emails": "a@acme.com;b@acme.com", "zip_code": "007"},
        }
        for n, name in enumerate(hostile)
    ]
    out = tmp_path / f"out{end}"
    warehouse.load(records, destination=str(out))
    raw = out.read_bytes()
    assert raw.startswith({".gz": b"\x1f\x8b", ".zst": b"\x28\xb5"}.get(out.suffix, b'{"'))
    warehouse.load(str(out), table="back")
    warehouse.load(records, table="direct")
    back, direct = (
        [
            {**row, "metadata": json.loads(row["metadata"])}
            for row in warehouse.rows(f"SELECT * EXCLUDE (_run_id) FROM {table} ORDER BY external_id")
        ]
        for table in ("back", "direct")
    )
    assert back == direct
    if end == ".jsonl":
        line = json.loads(out.read_text().splitlines()[0])
        assert line["metadata"] == {"n": 1.1, "deep": {"x": [None, "é"]}}
        assert line["aliases"] == ["a;b", '"']
        assert line["net_terms"] == 7
        assert line["email"] is None


def test_json_is_written_as_json_lines_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JSON Lines"):
        Warehouse(tmp_path).load([{"external_id": "1", "name": "x"}], destination=str(tmp_path / "out.json"))


def test_nested_values_are_loaded_and_broken_lines_returned(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(
        '{"id":"1","name":"Ann","created_at":"2024-01-02","metadata":{"a":1},"aliases":["x","y"],"tags":[{"t":1}]}\n'
        '{"id":"2","name":"B\n{"id":"3","name":"Cy","zip":"007","extra":{"deep":{"n":1.10}}}\n'
    )
    warehouse = Warehouse(tmp_path)
    counts = fates(warehouse.load(file, table="people"))
    assert counts == {"rejected": 1, "created": 2}
    first, second = warehouse.rows("SELECT external_id, aliases, metadata, zip_code FROM people ORDER BY external_id")
    assert first["aliases"] == ["x", "y"]
    assert json.loads(first["metadata"])["a"] == 1
    assert json.loads(first["metadata"])["tags"] in ([{"t": 1}], '[{"t":1}]')
    assert second["zip_code"] == "007"
    assert json.loads(second["metadata"])["extra.deep.n"] == "1.10"


def test_a_pipe_is_read_through_a_copy(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b'{"id":"1"}\n{"id":"2"}\n'))
    writer.start()
    found = Read(pipe)
    writer.join()
    assert [record["id"] for record in found.records.values()] == ["1", "2"]


def test_a_file_that_changes_between_the_passes_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"1"}\n')
    source = opening.open_source(str(path))
    path.write_text('{"ix":"1"}\n')
    with pytest.raises(ConfigError, match="changed while it was read"):
        [part.read() for part in source.parts(tmp_path)]


@pytest.mark.slow
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("piece", [7, 64, 1 << 20])
def test_the_size_of_pieces_changes_nothing(
    tmp_path: Path, indent: int | None, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"id": f'{n}\\"[{{', "a": {"b": n, "l": [n, "]"]}, "z": None} for n in range(50)]
    monkeypatch.setattr(reader, "PIECE_BYTES", piece)
    monkeypatch.setattr(reader, "PART_BYTES", 4 * piece)
    monkeypatch.setattr(json_documents, "BLOCK_BYTES", piece)
    for name, text in (
        ("a.json", json.dumps(records, indent=indent)),
        ("b.json", json.dumps({"data": records, "n": 1}, indent=indent)),
        ("a.jsonl", "\n".join(map(json.dumps, records))),
    ):
        found = read(tmp_path, text, name)
        assert [record["id"] for record in found.records.values()] == [record["id"] for record in records]
        assert [record["a.b"] for record in found.records.values()] == [str(n) for n in range(50)]
        assert list(found.records) == list(range(1, 51))
        assert not found.broken


# The same by another implementation
# ------------------------------------------------------------------------------------------

MANY = settings(
    max_examples=EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""All examples share a folder: a new one for each would take longer to make than the file takes to read."""

KEYS = st.sampled_from(["id", "name", "a", "metadata", "a.b", "é", "k\n", '"', "", "{"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), TEXTS, st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


def unfolded(record: dict[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Return path → value, for paths that are columns and not empty."""
    found: dict[tuple[str, ...], str] = {}
    for key, value in record.items():
        if isinstance(value, dict) and (above or key != "metadata"):
            found |= unfolded(value, (*above, key))
        elif value is not None and value != "":
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            found[*above, key] = text
    return found


@pytest.mark.slow
@pytest.mark.fuzz("JSON")
@MANY
@given(
    st.lists(OBJECTS, max_size=6),
    st.booleans(),
    st.sampled_from([None, 1]),
    st.sampled_from([1 << 20, 1 << 20, 1 << 20, 5]),
)
def test_any_objects_are_read_as_a_json_parser_reads_them(
    tmp_path: Path,
    tried: Counter[str],
    records: list[dict[str, Any]],
    ascii: bool,
    indent: int | None,
    piece: int,
) -> None:
    made = [json.dumps(one, ensure_ascii=ascii, indent=indent, separators=(",", ":")) for one in records]
    forms = [("a.json", f"[{','.join(made)}]")]
    # Lines that are all pages of an API are read as such.
    if indent is None and not any(json_documents.is_page(one.encode()) for one in made):
        forms.append(("a.jsonl", "\n".join(made)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "PIECE_BYTES", piece)
        patch.setattr(json_documents, "BLOCK_BYTES", piece)
        found = [read(tmp_path, text, name) for name, text in forms]
    for one in found:
        assert not one.broken
        assert len(one.records) == len(records)
        for record, expected in zip(one.records.values(), map(unfolded, records), strict=True):
            # `_2` and `column_3` replace names that are taken or empty; comparing values is sufficient.
            given_values = sorted(value for value in record.values() if value is not None)
            if not ascii and indent is None:
                assert given_values == sorted(expected.values())
            assert len(given_values) == len(expected)
        tried["read"] += 1


@pytest.mark.fuzz("JSON")
@MANY
@given(st.randoms(use_true_random=False), st.sampled_from(["a.jsonl", "a.json"]))
def test_damage_costs_no_other_record_and_never_a_traceback(
    tmp_path: Path, tried: Counter[str], chance: random.Random, name: str
) -> None:
    good = [b'{"id":"%d","a":{"b":[1.10,{"c":"x\\n"}]},"metadata":{"k":"\\u00e9"}}' % n for n in range(5)]
    text = b"\n".join(good) if name == "a.jsonl" else b"[" + b",\n".join(good) + b"]"
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text))
        junk = chance.choice(
            [b"", b'"', b"{", b"}", b"]", b"[", b",", b"\\", b"\n", b"\xff", b"\0", b":", b"1", b"\xef\xbb\xbf"]
        )
        text = text[:at] + junk + text[at + chance.randint(0, 3) :]
    try:
        found = read(tmp_path, text, name)
    except ConfigError:
        tried["refused"] += 1
        return
    tried["read"] += 1
    if name == "a.jsonl" and not text.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"["):
        lines = {n: line for n, line in enumerate(text.split(b"\n"), 1) if line.strip(b"\xef\xbb\xbf \t\r")}
        if "contains one record" not in found.notes and "list" not in found.notes:
            assert {*found.records, *found.broken} == set(lines)
            for n, line in lines.items():
                assert (n in found.records) or line in good or n in found.broken
                assert line not in good or n in found.records


def test_bytes_that_are_compressed_in_the_middle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ends in the middle"):
        read(tmp_path, gzip.compress(b'{"id":1}\n' * 1000)[:-20], "a.jsonl.gz")


def test_polars_reads_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    Warehouse(tmp_path).load([{"external_id": "1", "name": "Ann"}], destination=str(out))
    assert pl.read_ndjson(io.BytesIO(out.read_bytes()))["name"].to_list() == ["Ann"]


WRAPPED = {
    "an array": [{"id": "1", "name": "Acme", "email": "a@acme.com", "city": "Bonn"}],
    "JSON:API": {
        "data": [
            {"type": "c", "id": "1", "attributes": {"name": "Acme", "email": "a@acme.com", "city": "Bonn"}},
        ]
    },
    "HubSpot": {
        "results": [
            {"id": "1", "properties": {"company": "Acme", "email": "a@acme.com", "city": "Bonn"}, "archived": False}
        ]
    },
    "Airtable": {"records": [{"id": "1", "fields": {"Name": "Acme", "Email": "a@acme.com", "City": "Bonn"}}]},
    "GraphQL": {
        "data": {
            "customers": {
                "edges": [{"cursor": "x", "node": {"id": "1", "name": "Acme", "email": "a@acme.com", "city": "Bonn"}}]
            }
        }
    },
    "Elasticsearch": {
        "hits": {"hits": [{"_id": "1", "_source": {"name": "Acme", "email": "a@acme.com", "city": "Bonn"}}]}
    },
    "Extended JSON": [{"_id": {"$oid": "1"}, "name": "Acme", "email": "a@acme.com", "city": "Bonn"}],
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_fields_are_found_in_the_objects_that_apis_wrap_around_them(kind: str, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    file = tmp_path / "in.json"
    file.write_text(json.dumps(WRAPPED[kind]))
    warehouse.load(file)
    assert warehouse.rows("SELECT external_id, name, email, city FROM customers") == [
        {"external_id": "1", "name": "Acme", "email": "a@acme.com", "city": "Bonn"}
    ]


def test_a_field_of_the_record_itself_precedes_a_wrapped_one(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    file = tmp_path / "in.json"
    file.write_text(json.dumps([{"id": "1", "name": "Acme", "attributes": {"name": "Birch", "plan": "pro"}}]))
    warehouse.load(file)
    [row] = warehouse.rows("SELECT name, metadata FROM customers")
    assert row["name"] == "Acme"
    assert json.loads(row["metadata"]) == {"attributes.name": "Birch", "attributes.plan": "pro"}


def test_records_by_key_are_not_a_list(tmp_path: Path) -> None:
    records = {"c1": {"name": "Acme", "email": "a@acme.com"}, "c2": {"name": "Birch", "email": "b@birch.com"}}
    with pytest.raises(
        ConfigError, match=r"contains 2 records by key, not a list\. Write them as a list: jq '\[to_entries"
    ):
        read(tmp_path, json.dumps(records), "a.json")
    one = {"billing": {"city": "Bonn"}, "shipping": {"city": "Köln"}}
    assert "contains one record" in read(tmp_path, json.dumps(one), "a.json").notes


@pytest.mark.parametrize("rest", ['"x": {"y": 1}', '"x": 2'], ids=["nested", "flat"])
def test_the_exponent_of_a_number_has_a_sign_by_which_it_is_not_taken_for_an_id(tmp_path: Path, rest: str) -> None:
    values = ["1e22", "1E5", "1.5e3", "1e-7", "-2e3", "12", '"1e22"', "true"]
    lines = "".join(f'{{"id": {value}, {rest}}}\n' for value in values) * 2
    found = [record["id"] for record in read(tmp_path, lines).records.values()]
    assert found == ["1e+22", "1e+5", "1.5e+3", "1e-7", "-2e+3", "12", "1e22", "true"] * 2


def test_a_list_of_addresses_and_values_that_are_no_text(tmp_path: Path) -> None:
    values = ['"1", "name": "A", "email": ["A@x.example", "b@x.example"]', '2, "name": true', '["3"], "name": "C"']
    values += ['1e22, "name": "D"', '12345678901234567890123, "name": "E"', '"6", "name": ["F"]', 'true, "name": "G"']
    file = tmp_path / "in.jsonl"
    file.write_text("".join(f'{{"id": {value}}}\n' for value in values))
    warehouse = Warehouse(tmp_path)
    report = warehouse.load(file)
    assert report.rejects_by_code == {"name.not_text": 2, "external_id.not_text": 2, "external_id.spreadsheet": 1}
    assert report.warnings_by_code == {"email.several": 1}
    found = warehouse.rows("SELECT external_id, email, invoice_cc_emails FROM customers ORDER BY external_id")
    assert found == [
        {"external_id": "1", "email": "a@x.example", "invoice_cc_emails": ["b@x.example"]},
        {"external_id": "12345678901234567890123", "email": None, "invoice_cc_emails": None},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 3000 + "]" * 3000, "none of its records can be read; the first one: line 1: nested too deeply."),
        ('{"a":' * 3000 + "[]" + "}" * 3000, "is nested too deeply. Export the customers as a flat list."),
        ("[1, 2]", "none of its records can be read; the first one: line 1: an object is expected, not a number."),
    ],
    ids=["arrays", "objects", "numbers"],
)
def test_a_document_that_cannot_be_read_is_named_for_what_it_is(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, text, "a.json")


# Several documents in one file -------------------------------------------------------------------------------------

A, B = '{"id":"1","name":"A"}', '{"id":"2","name":"B"}'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f'{{"data":[{A}]}}\n{{"data":[{B}]}}\n', "a.json"),
        (f'{{"data":[{A}]}}\n{{"data":[{B}]}}\n', "a.jsonl"),
        (f'{{"page":1,"data":[{A}]}}{{"page":2,"data":[]}} {{"data":[{B}]}}', "a.json"),
        (f'{{\n"result":{{"items":[\n{A}]}}}}\n{{"result":{{"items":[{B}]}}}}', "a.json"),
        (f"[{A}]\n[{B}]\n", "a.json"),
        (f"[{A}]\n[{B}]\n", "a.jsonl"),
        (f"[{A}][]\n\n[\n{B}\n]", "a.json"),
    ],
)
def test_lists_of_one_shape_one_after_the_other_are_read_as_one(tmp_path: Path, text: str, name: str) -> None:
    found = read(tmp_path, text, name)

    assert [*found.records.values()] == [{"id": "1", "name": "A"}, {"id": "2", "name": "B"}]
    assert "lists of records, one after the other, read as one" in found.notes


@pytest.mark.parametrize(
    "text",
    [
        A + B,
        f'{{"data":[{A}]}}\n{{"items":[{B}]}}',
        f"[{A}]{B}",
        f'{{"our data":{{"x":[{A}]}}}}{{"our data":{{"y":[{B}]}}}}',
    ],
)
def test_the_advice_for_other_values_one_after_the_other_works(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"contains 2 values, one after the other\. Put each record on a line"
    ) as raised:
        read(tmp_path, text, "a.json")
    command = str(raised.value).partition("line: ")[2]
    assert command.startswith("jq -c ")
    if shutil.which("jq"):
        made = command.replace("FILE", "a.json")
        subprocess.run(made, shell=True, check=True, cwd=tmp_path)
        found = read(tmp_path, (tmp_path / "customers.jsonl").read_text(), "b.jsonl")
        assert [record["id"] for record in found.records.values()] == ["1", "2"]


def test_a_list_inside_of_records_does_not_make_them_pages(tmp_path: Path) -> None:
    records = "".join(f'{{"id":"{n}","name":"A","contacts":[{{"name":"B"}}]}}\n' for n in range(3))

    assert len(read(tmp_path, records, "a.json").records) == 3
