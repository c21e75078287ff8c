"""Records of a page that break the provider's schema, and pages that are not lists of records."""

from __future__ import annotations

import json

import pytest

from support.provider_schemas import HARD_TEXTS
from tranship.connectors.api.json_codec import decode
from tranship.connectors.api.json_records import BROKEN
from tranship.connectors.errors import Malformed
from tranship.schemas.providers.marginfront import SCHEMA as MARGINFRONT

SHAPES = [
    ("5", None, "the record is a number, an object is expected"),
    ("null", None, "the record is null, an object is expected"),
    ('"x"', None, "the record is text, an object is expected"),
    ('[{"id":"x"}]', None, "the record is an array, an object is expected"),
    ("{}", None, "id is missing; name is missing"),
    ('{"name":"n"}', None, "id is missing"),
    ('{"id":null,"name":"n"}', None, "id is missing"),
    ('{"id":7,"name":"n"}', "7", "id is a number, text is expected"),
    ('{"id":"x","name":null}', "x", "name is missing"),
    ('{"id":"x","name":["n"]}', "x", "name is an array, text is expected"),
    ('{"id":"x","name":"n","netTerms":"30"}', "x", "netTerms is text, a number is expected"),
    ('{"id":"x","name":"n","netTerms":NaN}', "x", "netTerms is not JSON, a number is expected"),
    (
        '{"id":"x","name":"n","email":true,"phone":{}}',
        "x",
        "email is true, text is expected; phone is an object, text is expected",
    ),
    (
        '{"id":"x","name":"n","invoiceEmailRecipients":"a@b.co"}',
        "x",
        "invoiceEmailRecipients is text, an array of text is expected",
    ),
    (
        '{"id":"x","name":"n","invoiceEmailRecipients":["a",1]}',
        "x",
        "invoiceEmailRecipients is an array, an array of text is expected",
    ),
    (
        '{"id":"x","name":"n","invoiceEmailRecipients":[null]}',
        "x",
        "invoiceEmailRecipients is an array, an array of text is expected",
    ),
    ('{"id":"x","name":"n","metadata":"m"}', "x", "metadata is text, an object is expected"),
    ('{"id":"x","name":"n","metadata":[]}', "x", "metadata is an array, an object is expected"),
    ('{"id":"x","name":"n","name":"m"}', "x", "a field occurs twice"),
    ('{"id":"x","name":"\\ud800"}', "x", "its JSON is invalid: it has bytes or escapes that are not text"),
    (
        '{"id":"x","name":"n","metadata":{"a":["\\udc00\\ud800"]}}',
        "x",
        "its JSON is invalid: it has bytes or escapes that are not text",
    ),
]


@pytest.mark.parametrize(("record", "its_id", "detail"), SHAPES)
def test_a_broken_record_spares_the_others(record: str, its_id: str | None, detail: str) -> None:
    page = f'[{{"id":"g1","name":"Good [{{\\", "}}, {record} ,{{"id":"g2","name":"Good","new":1}}]'
    decoded = decode(MARGINFRONT, [page, '[{"id":"g3","name":"Good"}]'])
    assert decoded.records["provider_id"].to_list() == ["g1", "g2", "g3"]
    assert decoded.positions.to_list() == [0, 2, 3]
    assert decoded.surprises == {"new": 1}
    assert decoded.broken.schema == BROKEN
    found = decoded.broken.to_dicts()
    assert [{**row, "text": None} for row in found] == [
        {"position": 1, "id": its_id, "code": "record.shape", "detail": detail, "text": None}
    ]
    assert found[0]["text"].replace(" ", "") == record.replace(" ", "")


@pytest.mark.parametrize("name", ["7", "\n-1", " true", "\tfalse", "nan", "NaN", "Infinity", "{}", "[]", '["n"]'])
@pytest.mark.parametrize("key", ['"name"', '"name" \n', '"n\\u0061me"', '"\\u006Eame"', '"nam\\u0065" '])
def test_what_is_no_text_is_found_however_it_is_written(name: str, key: str) -> None:
    page = f'[{{"id":"g1","name":"Good"}},{{"id":"x",{key}:{name}}}]'
    decoded = decode(MARGINFRONT, [page])
    assert decoded.records["provider_id"].to_list() == ["g1"]
    assert decoded.broken["id"].to_list() == ["x"]
    assert decoded.broken["detail"][0].endswith(", text is expected")


@pytest.mark.parametrize("ascii_only", [True, False])
def test_records_are_read_alike_whatever_their_neighbours_look_like(ascii_only: bool) -> None:
    hard = [*HARD_TEXTS, "\u0000", "\x7f\u2028", '\\" : 7', '"name":7', "\\u0041", None, ""]
    records = [
        {"id": f"i{at}", "name": text or "n", "city": text, "phone": hard[-at], "metadata": {"name": text, "é": at}}
        for at, text in enumerate(hard)
    ]
    page = json.dumps(records, ensure_ascii=ascii_only)
    alone = decode(MARGINFRONT, [page])
    # A name written with an escape, a number instead of text, invalid text.
    for odd in ('{"\\u0069d":"z","name":"n"}', '{"id":"z","name":7}', '{"id":"z","name":"\\ud800"}', "7"):
        beside = decode(MARGINFRONT, [page, f"[{odd}]"])
        assert beside.records.head(len(records)).equals(alone.records)
    assert alone.records["city"].to_list() == [record["city"] for record in records]
    assert alone.records["phone"].to_list() == [record["phone"] for record in records]


def test_bytes_that_are_no_text_break_their_record_only() -> None:
    decoded = decode(MARGINFRONT, [b'[{"id":"x","name":"\xff"},{"id":"y","name":"\xc3\xa9"}]'])
    assert decoded.records["name"].to_list() == ["é"]
    assert decoded.broken["text"].to_list() == ['{"id":"x","name":"\\xff"}']


@pytest.mark.parametrize("page", ["[5]", '[{"id":"\\ud800"}]', "[null,{}]"])
def test_nothing_but_broken_records(page: str) -> None:
    decoded = decode(MARGINFRONT, [page])
    assert decoded.records.is_empty()
    assert decoded.broken["position"].to_list() == list(range(decoded.broken.height))
    assert decoded.broken.height > 0


def test_a_broken_record_that_was_passed_over_is_not_told() -> None:
    assert decode(MARGINFRONT, ['[5,{"id":"y","name":"n"}]'], skip=[0]).broken.is_empty()


@pytest.mark.parametrize("depth", [100, 100_000])
def test_depth_is_no_danger(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    decoded = decode(MARGINFRONT, [f'[{{"id":"x","name":"n","metadata":{{"a":{deep},"canon_city":"C"}}}}]'])
    assert decoded.records["metadata"].to_list() == [f'{{"a":{deep}}}']


@pytest.mark.parametrize("page", ["", "{}", "null", "5", '{"data":[]}', '[{"id":"x"}', "<html>", '"[]"', "[}"])
def test_a_page_that_is_no_array_is_malformed(page: str) -> None:
    with pytest.raises(Malformed, match="page 2 of the response is not a JSON array of records"):
        decode(MARGINFRONT, ["[]", page])
