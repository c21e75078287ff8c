"""The size of parts: bounded in records too, since a file of short lines has many of them in few bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.connectors import opening
from tranship.connectors.files.part_size import PART_RECORDS, PIECE_RECORDS, short_pieces

LINES = 3 * PART_RECORDS
SHORT = {
    "a.csv": b"a,b\n" + b",\n" * LINES,
    "a.jsonl": b'{"a":1}\n' * LINES,
    "a.json": b"[" + b'{"a":1},' * (LINES - 1) + b'{"a":1}]',
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_part_of_short_records_has_no_more_of_them_than_others(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(SHORT[name])
    source = opening.open_source(str(path))
    parts = list(source.parts(tmp_path))
    lines = [line for part in parts for line in part.read().lines.to_list()]
    assert len(lines) == len(set(lines)) == LINES
    assert all(part.read().lines.len() <= PART_RECORDS + PIECE_RECORDS for part in parts)
    assert parts[-1].position == len(SHORT[name])


def test_the_pieces_are_those_of_the_file() -> None:
    pieces = [(b"ab\n" * 10, 30), (b"\n" * (3 * PIECE_RECORDS + 5), 99), (b"", 99), (b"x" * 100, 200)]
    short = list(short_pieces(pieces))
    assert b"".join(piece for piece, _ in short) == b"".join(piece for piece, _ in pieces)
    assert all(piece.count(b"\n") <= PIECE_RECORDS for piece, _ in short)
    assert [position for _, position in short] == sorted(position for _, position in short)
