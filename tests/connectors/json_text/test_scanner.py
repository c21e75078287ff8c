"""Responses with a list of records, split."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tranship.connectors.errors import Malformed
from tranship.connectors.json_text import scanner as json_scanner
from tranship.connectors.json_text.scanner import cut, record_ids, split_list

TEXT = st.text(st.sampled_from('"\\[]{},:alist\n é\u2028🦀'), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(TEXT, JSON, max_size=4) | JSON, max_size=12)
WITHIN = ("result", "list")


@pytest.fixture(params=[2, 1 << 18])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_scanner, "_CHUNK", request.param)


def bodies(records: list[Any]) -> list[bytes]:
    """Yield the same list in several responses."""
    count = len(records)
    return [
        json.dumps(answer, indent=indent, ensure_ascii=not indent).encode()
        for indent in (None, 1)
        for answer in (
            records,
            {"result": {"count": count, "list": records}},
            {"result": {"list": records, "count": count}, "list": [["list"], {"list": [1]}]},
            {"list": [1, [2]], "result": {"x": ["list"], "count": count, "list\\": [3], "list": records, "y": [[]]}},
        )
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("records_a_slice", [1, 5, 1000])
def test_slices_hold_every_record_in_order(records_a_slice: int, tmp_path: Path) -> None:
    nasty = ['"', "\\", '\\"', "[", "]", "{", "}", ",", "\\\\", "é", '"list":[', ""]
    records: list[Any] = [
        {"id": str(n), nasty[n % 12] * (n % 5): [nasty[n % 12], {"list": [nasty[n % 7]]}]} for n in range(13)
    ]
    for count in (0, 1, 13):
        for body in bodies(records[:count]):
            file = tmp_path / "body"
            file.write_bytes(body)
            for source in (body, file):
                found = cut(source, WITHIN, records_a_slice)
                assert found.count == count
                pieces = [body[piece.offset : piece.offset + piece.size] for piece in found.slices]
                again = [json.loads(b"[%b]" % piece) for piece in pieces]
                assert [record for piece in again for record in piece] == records[:count]
                assert [len(piece) for piece in again] == [piece.count for piece in found.slices]
                assert all(piece.count == records_a_slice for piece in found.slices[:-1])
                rest = json.loads(found.rest)
                assert rest == [] or (rest["result"]["list"] == [] and rest["result"]["count"] == count)


@settings(max_examples=20)
@given(RECORDS)
@example([])
@example(["\\", '\\"', {"\\": '"'}])
@example([None, [[]], {}])
def test_quick_and_slow_agree(records: list[Any]) -> None:
    for body in bodies(records):
        quick = json_scanner._split_quickly(body, WITHIN, [("result", "count")], "id", None)
        slow = json_scanner._split_slowly(body, WITHIN, [("result", "count")])
        assert json.loads(b"[%b]" % quick.records) == json.loads(b"[%b]" % slow.records) == records
        assert (quick.count, quick.beside, quick.is_bare) == (slow.count, slow.beside, slow.is_bare)
        assert quick.count == len(records)
        assert quick.beside == ((None,) if quick.is_bare else (len(records),))


@settings(max_examples=20)
@given(RECORDS, st.data())
def test_half_an_answer_is_none(records: list[Any], data: st.DataObject) -> None:
    for body in bodies(records):
        half = body[: data.draw(st.integers(0, len(body.rstrip()) - 1))]
        with pytest.raises(Malformed):
            split_list(half, WITHIN)
        with pytest.raises(Malformed):
            cut(half, WITHIN, 3)


UNREADABLE = {
    "half a pair": b'{"id":"a","x":"\\ud800"}',
    "NaN": b'{"id":"a","x":NaN}',
    "line break": b'{"id":"a","x":"a\nb"}',
    "zero": b'{"id":"a","x":01}',
    "word": b"nonsense",
    "deep": b"[" * 3000 + b"]" * 3000,
}


@pytest.mark.parametrize("record", UNREADABLE.values(), ids=UNREADABLE)
def test_one_record_that_no_reader_takes_spoils_no_other(record: bytes) -> None:
    body = b'{"data": [{"id":"1"}, %b, {"id":"2"}], "total": 3, "next": null}' % record
    found = split_list(body, ("data",), [("total",), ("next",), ("nothing",)])
    assert (found.count, found.beside) == (3, (3, None, None))
    ids, _ = record_ids(found.records, 3, "id", None, Counter())
    assert ids[0] == "1"
    assert ids[2] == "2"
    assert ids.n_unique() == 3


NO_LIST = (
    *(
        b"",
        b" ",
        b"null",
        b"{}",
        b'"data"',
        b"7",
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": "[]"}',
        b'{"error": []}',
    ),
    *(
        b'{"data": [] ',
        b'{"data": [}',
        b"<html>[]</html>",
        b'{"data": [{"a": "x}]}',
        b"[",
        b"]",
        b"[]]",
        b"[}",
        b"\xff",
    ),
)


@pytest.mark.parametrize("body", NO_LIST)
def test_what_holds_no_list(body: bytes) -> None:
    with pytest.raises(Malformed):
        split_list(body, ("data",))


def test_ids_of_all_kinds() -> None:
    records = [
        *({"id": "a"}, {"id": "1"}, {"id": 1}, {"id": None}, {}, {}, {"id": ""}, [], None),
        {"id": "b", "id2": {"id": "c"}, "made": "2026-01-01"},
    ]
    nameless: Counter[bytes] = Counter()
    ids, times = record_ids(json.dumps(records)[1:-1].encode(), 10, "id", "made", nameless)
    assert ids.to_list()[:2] == ["a", "1"]
    assert ids.to_list()[6] == ""
    assert ids.to_list()[9] == "b"
    # Two records without an id and with equal content are two, and the same two when they are read again.
    assert ids.n_unique() == 10
    assert record_ids(json.dumps(records)[1:-1].encode(), 10, "id", None, Counter())[0].to_list() == ids.to_list()
    assert times is not None
    assert times.to_list() == [None] * 9 + ["2026-01-01"]


def test_ids_and_times_at_once() -> None:
    records = b'{"id": "a", "made": 7}, {"made": null, "id": "b"}, {"id": "c"}'
    ids, times = record_ids(records, 3, "id", "made", Counter())
    assert times is not None
    assert (ids.to_list(), times.to_list()) == (["a", "b", "c"], [None, None, None])
    assert record_ids(records, 3, "id", None, Counter()).created is None
    assert record_ids(b"", 0, "id", None, Counter())[0].to_list() == []


def test_a_list_is_split_with_the_ids_of_its_records() -> None:
    body = b'{"data": [{"name": "B", "key": "b", "made": "2026-01-02"}, {"key": "a"}]}'
    found = split_list(body, ("data",), id="key", created="made")
    again = record_ids(found.records, 2, "key", "made", Counter())
    assert found.ids is not None
    assert found.ids.ids.to_list() == again.ids.to_list() == ["b", "a"]
    assert found.ids.created is not None
    assert found.ids.created.to_list() == ["2026-01-02", None]


@pytest.mark.parametrize("record", [b'{"id": 1}', b"{}", b"null", b'{"id": "a", "x": NaN}'])
def test_a_list_with_a_record_without_id_is_counted(record: bytes) -> None:
    found = split_list(b'[{"id": "a"}, %b]' % record, ())
    assert (found.count, found.ids) == (2, None)
