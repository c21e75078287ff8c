"""Ordinary JSON Lines are read with the same result in the fast way as in the one for any JSON."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tranship.connectors.files import json as json_files
from tranship.connectors.files import locating
from tranship.connectors.files.csv_frames import is_utf8
from tranship.connectors.files.json_frames import Block, JsonPart, Layouts, sift
from tranship.connectors.files.json_ordinary import _SHORT_NUMBER, Ordinary, Shape, lines_of
from tranship.connectors.files.json_paths import Paths
from tranship.connectors.files.json_tokens import take_apart

_KEYS = ("id", "Zip/Postal Code", "größe", "net terms", "a.b")
_NUMBERS = ("0", "-0", "1.10", "12345678901234567890123", "1e5", "-2.50E-3", "007", "1e999", "01", "-", "1.")
_TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", " ", '":5', ',"id":1', '{"id": 2', "\\", "null", "true", "\u2028", "\x00", "😀", "\n", "1.10"]
    ),
)
_VALUES = st.one_of(
    _TEXTS.flatmap(lambda text: st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=False)])),
    st.sampled_from(["null", "true", "false", *_NUMBERS[:6]]),
    st.integers().map(str),
)
_RARE_VALUES = st.sampled_from(["[]", '{"a":1}', *_NUMBERS])
_OTHERS = st.lists(st.sampled_from(_KEYS[1:]), max_size=4, unique=True)
_KEYS_OF_A_LINE = st.one_of(
    _OTHERS.map(lambda keys: [_KEYS[0], *sorted(keys, key=_KEYS.index)]), st.lists(st.sampled_from(_KEYS), max_size=6)
)


def _pairs(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    return _KEYS_OF_A_LINE.flatmap(lambda keys: st.tuples(*(st.tuples(st.just(key), values) for key in keys)))


@st.composite
def _lines(draw: st.DrawFn) -> bytes:
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (", ", ": "), (" ,", " :")]))
    values = draw(st.sampled_from([_VALUES, _VALUES, _VALUES | _RARE_VALUES]))
    lines = [
        "{" + comma.join(f"{json.dumps(key, ensure_ascii=False)}{colon}{value}" for key, value in pairs) + "}"
        for pairs in draw(st.lists(_pairs(values), min_size=1, max_size=3))
    ]
    text = draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n"])).join(lines).encode(errors="surrogatepass")
    at = draw(st.integers(0, len(text)))
    damaged = text[:at] + draw(st.sampled_from([b"", b'"', b"\\", b"}", b",", b"\xff", b" "])) + text[at:]
    return draw(st.sampled_from([text, text + b"\n", damaged]))


def _part(block: Block) -> JsonPart:
    objects = sift(block)
    paths = Paths("a.jsonl")
    paths.notice(objects.raw, take_apart(objects.raw, objects.starts))
    return JsonPart("a.jsonl", [block], Layouts(tuple(paths.columns()), paths, paths.places(), paths.wholes()), 0)


def fits(shape: Shape, data: bytes, *, short: bool = False) -> bool:
    return is_utf8(data) and bool(shape.fits(lines_of(data), short=short).all())


@given(_lines())
def test_what_fits_the_shape_is_read_alike_in_both_ways(data: bytes) -> None:
    block = Block(data, 7)
    part = _part(block)
    keys = part.layout.paths.flat_keys()
    shape = None if keys is None else Shape.of(keys)
    ordinary = Ordinary()
    ordinary.expect(keys)
    if shape and fits(shape, data):
        slow = part._read_any(block)
        assert slow.broken.is_empty()
        recognised = ordinary.recognise(data, block.line)
        assert recognised is not None
        ordinary.add(recognised)
        quick = replace(part, layout=replace(part.layout, ordinary=ordinary))._read_ordinary([block])
        if quick is not None:
            assert quick.records.equals(slow.records)
            assert quick.lines.equals(slow.lines)
            assert quick.records.schema == slow.records.schema


@pytest.mark.parametrize(
    ("line", "is_ordinary"),
    [
        ('{"id":"1","n":1.10}', True),
        ('{"id": "1", "n": 12}', True),
        ('{"id":"1"}', True),
        ('{"id":null,"n":true}\r', True),
        ('{"n":1,"id":"1"}', False),
        ('{"n":1}', False),
        ('{"id":"1","id":"2"}', False),
        ('{"id":"1","n":[1]}', False),
        ('{"id":"1","n":01}', False),
        ('{"id":1}', False),
        ('{"id":"1","other":1}', False),
        ('{"id":"1"}{"id":"2"}', False),
        ('{"id":"1",}', False),
        ('{"id":"\\ud83d\\ude00"}', False),
        ('{"id":"a\tb"}', False),
        ("", False),
    ],
)
def test_only_lines_that_are_proven_to_be_ordinary_fit(line: str, is_ordinary: bool) -> None:
    shape = Shape.of({"id": False, "n": True})
    assert shape is not None
    assert fits(shape, f'{{"id":"0"}}\n{line}\n'.encode()) is is_ordinary


def test_numbers_keep_their_digits_and_text_its_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = ["1.10", "12345678901234567890", '"007"', "-0", '""', "null", '"1.10"', "1e5", "true"]
    _same_as_any(tmp_path, monkeypatch, [f'{{"id":"{at}","n":{values[at % 9]}}}' for at in range(900)])


@given(st.lists(st.from_regex(_SHORT_NUMBER, fullmatch=True), min_size=1, max_size=50))
def test_short_numbers_are_read_as_they_are_in_the_file(numbers: list[str]) -> None:
    shape = Shape.of({"id": False, "n": True})
    assert shape is not None
    data = "".join(f'{{"id":"a","n":{number}}}\n' for number in numbers).encode()
    assert fits(shape, data, short=True)
    assert shape.read(data, pl.Series(dtype=pl.UInt32))["n"].to_list() == numbers


@pytest.mark.parametrize(
    "number", ["-0", "1.10", "1e5", "30.0", "1234567890123456789", "123456789.5", "0.0", "0.0000001"]
)
def test_numbers_that_polars_writes_in_another_way_are_not_short(number: str) -> None:
    shape = Shape.of({"id": False, "n": True})
    assert shape is not None
    data = f'{{"id":"a","n":{number}}}\n'.encode()
    assert fits(shape, data)
    assert not fits(shape, data, short=True)
    assert shape.read(data, None)["n"].to_list() == [number.replace("1e5", "1e+5")]


def test_long_numbers_among_short_ones_keep_their_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f'{{"id":"{at}","n":{at}.5}}' for at in range(900)]
    lines[300], lines[600] = '{"id":"x","n":7.00}', '{"id":"y","n":12345678901234567890}'
    records = _same_as_any(tmp_path, monkeypatch, lines)
    assert records["n"].gather([300, 600, 899]).to_list() == ["7.00", "12345678901234567890", "899.5"]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_long_numbers_in_any_share_of_the_lines_keep_their_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    numbers = [f"{at}.0" if at % 100 < 100 * share else f"{at}" for at in range(900)]
    lines = [f'{{"id":"{at}","n":{number},"m":{at % 7},"ä":null}}' for at, number in enumerate(numbers)]
    assert _same_as_any(tmp_path, monkeypatch, lines)["n"].to_list() == numbers


def test_a_key_that_has_keys_of_its_own_late_keeps_its_other_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f'{{"id":"{at}","address":"here"}}' for at in range(900)]
    records = _same_as_any(tmp_path, monkeypatch, [*lines, '{"id":"x","address":{"city":"Bonn"}}'])
    assert records.columns == ["id", "address", "address.city"]
    assert records["address"].null_count() == 1


def test_lines_of_another_shape_among_ordinary_ones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f'{{"id":"{at}","n":"{at}"}}' for at in range(900)]
    lines[500], lines[700], lines[800] = '{"n":"b","id":"a"}', '{"id":"1","id":"2"}', '{"id":"x","new":3}'
    records = _same_as_any(tmp_path, monkeypatch, lines)
    assert records.height == 899
    assert records["new"].drop_nulls().to_list() == ["3"]


def _same_as_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> pl.DataFrame:
    """Return the records of a file of many small blocks, of which most are ordinary, read in both ways."""
    monkeypatch.setattr(json_files, "PIECE_BYTES", 256)
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = json_files.JsonSource(locating.expand(str(file), (".jsonl",)))
    parts = list(source.parts(tmp_path))
    ordinary = parts[0].layout.ordinary
    quick = [part.read() for part in parts]
    slow = [[part._read_any(block) for block in part.blocks] for part in parts]
    for batch, blocks in zip(quick, slow, strict=True):
        assert batch.records.equals(pl.concat([block.records for block in blocks]))
        assert batch.lines.equals(pl.concat([block.lines for block in blocks]))
        assert batch.broken.equals(pl.concat([block.broken for block in blocks]))
    is_flat = parts[0].layout.paths.flat_keys() is not None
    assert ordinary.used is is_flat
    return pl.concat([batch.records for batch in quick])


def test_blocks_that_are_read_together_keep_digits_and_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part has many blocks; in some of them, some lines have long numbers, and one has a number that polars refuses."""
    lines = [f'{{"id":"{at}","n":{at}}}' for at in range(900)]
    lines[400], lines[650] = '{"id":"x","n":7.00}', '{"id":"y","n":1.50}'
    records = _same_as_any(tmp_path, monkeypatch, lines)
    assert records["n"].gather([400, 650]).to_list() == ["7.00", "1.50"]
    lines[500] = '{"id":"z","n":1e999}'
    records = _same_as_any(tmp_path, monkeypatch, lines)
    assert records["n"].gather([400, 500, 650]).to_list() == ["7.00", "1e+999", "1.50"]


@given(st.text('\\"/nu0a\x7fé', max_size=12))
def test_escapes_are_replaced_as_a_json_parser_does(text: str) -> None:
    data = f'{{"id":"1","n":["x"],"name":{json.dumps(text)}}}\n'.encode()
    block = Block(data, 1)
    assert _part(block)._read_any(block).records["name"].to_list() == [text or None]
