"""Damaged CSV files: each is read or refused with a message, and every record in it is read or set aside, once.

`TRANSHIP_EXAMPLES` is the number of files, usually a few hundred.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from support.fuzzing import seeds
from support.long_tests import combined
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import locating
from tranship.connectors.files.csv import CsvSource
from tranship.connectors.files.csv_dialect import CsvOptions
from tranship.connectors.registry import CONNECTORS

pytestmark = pytest.mark.fuzz("CSV")

FILES = int(os.environ.get("TRANSHIP_EXAMPLES", "150"))
GROUPS = 4

PREAMBLES = ["", "", "", "sep={d}\n", "Customers\n\n", "# all\n", "{d}{d}{d}\n", "Report:{d}All customers\n", "\n\n"]
HEADERS = [["id", "name", "email", "city"], ["Xkod", "Qnimi", "Zraha", "Vlet"], ["id", "name", "email"], ["email"]]
VALUES = ["plain", '"a{d} b"', '"x ""q"" y"', '"two\nlines"', '15" disk', "é", "", '""', ' "padded" ', "="]
PIECES = [b'"', b'""', b'"""', b"\n", b"\r\n", b"\r", b",", b";", b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"'", b'"\n', b',"', b"#"]  # fmt: skip


def made(chance: random.Random) -> bytes:
    """A file with a token and an address in every record."""
    delimiter = chance.choice(",,,;\t|")
    header = chance.choice(HEADERS)
    rows = [header]
    for number in range(chance.randint(0, 30)):
        values = [chance.choice(VALUES).format(d=delimiter) for _ in header]
        values[-1 if len(header) == 1 else 2] = f"tok{number:03}x@x.co"
        rows.append(values)
    if chance.random() < 0.1:
        rows.insert(chance.randint(0, len(rows)), header)
    text = chance.choice(PREAMBLES).format(d=delimiter) + "".join(f"{delimiter.join(row)}\n" for row in rows)
    return text.replace("\n", chance.choice(["\n", "\n", "\r\n"])).encode()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return the file with bytes inserted, removed, repeated or cut off."""
    file = bytearray(data)
    for _ in range(chance.choice([0, 1, 1, 2, 5, 40])):
        at = chance.randint(0, len(file))
        how = chance.random()
        if how < 0.6:
            file[at:at] = chance.choice(PIECES) * chance.choice([1, 1, 1, 3])
        elif how < 0.8:
            del file[at : at + chance.choice([1, 1, 7])]
        elif how < 0.9:
            file[at:at] = file[at : at + 60].replace(b"tok", b"")
        elif how < 0.92:
            del file[at:]
    return bytes(file)


def read(data: bytes, tmp_path: Path) -> tuple[list[str], list[int]]:
    """Return all texts that were read, set aside or used as names of columns, and the lines of the records."""
    path = tmp_path / "in.csv"
    path.write_bytes(data)
    source = CsvSource(locating.expand(str(path), CONNECTORS["csv"].suffixes), CsvOptions())
    texts, lines = list(source.layouts()[0].columns), []
    for part in source.parts(tmp_path):
        batch = part.read()
        texts += [value for row in batch.records.rows() for value in row if value]
        texts += batch.broken["text"].to_list()
        lines += [*batch.lines, *batch.broken["line"]]
    return texts, lines


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_damaged_file_is_read_or_refused_and_loses_no_record(group: int, tmp_path: Path, tried: Counter[str]) -> None:
    for number in seeds(FILES)[group::GROUPS]:
        chance = random.Random(number)
        data = damaged(made(chance), chance)
        try:
            texts, lines = read(data, tmp_path)
        except ConfigError as error:
            assert "in.csv" in str(error), number  # noqa: PT017  (either it is read, or it says why not)
            tried["refused"] += 1
            continue
        tried["read"] += 1
        assert len(set(lines)) == len(lines), number
        whole = "\n".join(texts)
        for token in (f"tok{record:03}x" for record in range(30)):
            if data.count(token.encode()) == 1:
                assert whole.count(token) == 1, (number, token)
    assert tried["refused"] < FILES / GROUPS / 4


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252", "utf-8-sig"])
def test_a_damaged_file_in_another_encoding_is_read_or_refused(
    encoding: str, tmp_path: Path, tried: Counter[str]
) -> None:
    for number in seeds(FILES // 8):
        chance = random.Random(number)
        data = damaged(made(chance).decode().encode(encoding), chance)
        try:
            read(data, tmp_path)
        except ConfigError as error:
            assert "in.csv" in str(error), number  # noqa: PT017  (as above)
            tried["refused"] += 1
        else:
            tried["read"] += 1


QUOTES = [b'"', b'a"b"c', b'1,"A,a\n', b'"a"b\n', b'a","\n', b'"\n"x\r\n', b'""",""\n', b'1,"a\n",b\n""x",y\n', b'1,"xa,\n\na,\n', b'"\n', b'1, "A" x,"a\r\n']  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "head"), combined(QUOTES, [b"", b"id,name,email\n"]))
def test_a_file_of_nothing_but_quotes_is_read_line_by_line(
    head: bytes, pattern: bytes, tmp_path: Path, tried: Counter[str]
) -> None:
    """Each file is long enough for a loop over the rest of the file in every line to be noticed."""
    try:
        texts, lines = read(head + pattern * (300_000 // len(pattern)), tmp_path)
    except ConfigError as error:
        assert "in.csv" in str(error)  # noqa: PT017  (as above)
        tried["refused"] += 1
        return
    tried["read"] += 1
    assert len(set(lines)) == len(lines)
    assert texts
