"""Damaged zip archives: each is read as if it were whole, or refused in words.

`TRANSHIP_EXAMPLES` is the number of archives.
"""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from support.fuzzing import seeds
from tranship.connectors import opening
from tranship.connectors.errors import ConfigError

EXAMPLES = int(os.environ.get("TRANSHIP_EXAMPLES", "100"))
ROWS = 30
SIGNATURES = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"PK\x06\x06", b"PK\x06\x07")


def member(number: int) -> tuple[str, bytes]:
    """A table with a token in every record, of each of the formats that a member may have."""
    tokens = [f"tok{number}x{row:02}" for row in range(ROWS)]
    if number == 1:
        return "b.jsonl", "".join(f'{{"id":"{token}","name":"N"}}\n' for token in tokens).encode()
    return ("a.csv" if number == 0 else "sub/c.csv"), "".join(
        ["id,name\n", *(f"{token},N\n" for token in tokens)]
    ).encode()


def made(chance: random.Random) -> bytes:
    out = io.BytesIO()
    kind = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(out, "w", kind) as archive:
        for number in range(chance.choice((1, 2, 3))):
            name, content = member(number)
            if chance.random() < 0.2:  # sizes behind the contents, as a stream writes them
                with archive.open(name, "w", force_zip64=chance.random() < 0.5) as opened:
                    opened.write(content)
            else:
                archive.writestr(name, content)
        if chance.random() < 0.2:
            archive.comment = b"a comment"
    return out.getvalue()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The archive with bytes changed, put in, removed or cut off: anywhere, or in a header or the directory."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not changed:  # cut off, and the rest removed
            break
        at = chance.randrange(len(changed))
        headers = [place for mark in SIGNATURES if (place := changed.rfind(mark)) >= 0]
        if headers and chance.random() < 0.7:
            at = min(chance.choice(headers) + chance.randrange(60), len(changed) - 1)
        kind = chance.randrange(6)
        if kind < 2:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            changed[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", bytes(4), chance.randbytes(4)))
        elif kind == 3:
            del changed[at : at + chance.choice((1, 2, 10, 100))]
        elif kind == 4:
            changed[at:at] = chance.choice((*SIGNATURES, chance.randbytes(chance.choice((1, 4, 50)))))
        elif chance.random() < 0.1:
            del changed[max(at, 1) :]
    return bytes(changed)


def read(path: Path) -> tuple[list[str], str]:
    """All texts that were read or set aside, and the notes."""
    source = opening.open_source(str(path))
    texts = []
    notes = "\n".join(note for layout in source.layouts() for note in layout.notes)
    try:
        for part in source.parts(path.parent):
            batch = part.read()
            texts += [value for row in batch.records.rows() for value in row if value]
            texts += batch.broken["text"].to_list()
    finally:
        source.close()
    return texts, notes


@pytest.mark.fuzz("zip")
def test_a_damaged_archive_is_read_or_refused(tmp_path: Path, tried: Counter[str]) -> None:
    path = tmp_path / "in.zip"
    for number in seeds(EXAMPLES):
        chance = random.Random(number)
        whole = made(chance)
        path.write_bytes(damaged(whole, chance))
        try:
            texts, notes = read(path)
        except ConfigError as error:
            said = str(error)
            assert said.startswith(str(path)), number
            assert "\n" not in said, number
            tried["refused"] += 1
            continue
        tried["read"] += 1
        # Every member that was read is whole: its checksum says so.
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            members = len(archive.namelist())
        for of in range(members):
            tokens = [text for text in texts if text.startswith(f"tok{of}x")]
            assert len(tokens) == ROWS or (not tokens and "skipped" in notes), number
            assert tokens == [f"tok{of}x{row:02}" for row in range(len(tokens))], number
    assert 0 < tried["refused"] < EXAMPLES


def test_an_archive_that_lacks_an_entry_of_its_directory_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(3):
            archive.writestr(*member(number))
    data = bytearray(out.getvalue())
    end, last = data.rindex(b"PK\x05\x06"), data.rindex(b"PK\x01\x02")
    data[end + 12 : end + 16] = (last - data.index(b"PK\x01\x02")).to_bytes(4, "little")
    path = tmp_path / "in.zip"
    # The library takes the directory to end where the size says, and counts back from there to the members.
    path.write_bytes(data[:last] + data[end:])
    with pytest.raises(ConfigError, match="it should have 3 members, and has 2"):
        read(path)


def test_a_member_with_the_name_of_a_folder_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(*member(0))
        archive.writestr("b.json/", b"id,name\n1,A\n")
    path = tmp_path / "in.zip"
    path.write_bytes(out.getvalue())
    with pytest.raises(ConfigError, match="a member has no name"):
        read(path)
