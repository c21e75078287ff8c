"""Parts of a workbook that are unpacked as gzip are the same as with the standard library, or refused."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pytest

from support.workbooks import workbook
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import excel_archive
from tranship.connectors.files.excel_archive import Archive

SHEET = "xl/worksheets/sheet1.xml"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_archive, "_PIECE", 200)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    chance = random.Random(1)
    rows = [["Name", "n"], *([f"Ann {chance.random()}", chance.random()] for _ in range(200))]
    path: Path = tmp_path_factory.mktemp("book") / "in.xlsx"
    return workbook(path, {"People": rows}).read_bytes()


def sheet(data: bytes) -> bytes:
    return b"".join(Archive("in.xlsx", data).pieces(SHEET))


def test_a_large_part_is_unpacked_whole(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.getinfo(SHEET).compress_size > 10 * 200
        assert sheet(data) == archive.read(SHEET)


@pytest.mark.parametrize(("offset", "change"), [(24, -200), (24, 200), (16, 1)], ids=["shorter", "longer", "checksum"])
def test_a_large_part_that_is_not_as_the_directory_says_is_refused(data: bytes, offset: int, change: int) -> None:
    changed = bytearray(data)
    at = data.rindex(SHEET.encode()) - 46
    assert changed[at : at + 4] == b"PK\x01\x02"
    value = int.from_bytes(changed[at + offset : at + offset + 4], "little") + change
    changed[at + offset : at + offset + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
    with pytest.raises(ConfigError, match="damaged or incomplete workbook"):
        sheet(bytes(changed))


def test_damage_in_a_large_part_is_refused_or_changes_nothing(data: bytes) -> None:
    whole, refused = sheet(data), 0
    start = data.index(SHEET.encode())
    for seed in range(200):
        chance = random.Random(seed)
        changed = bytearray(data)
        changed[chance.randrange(start, start + 3000)] ^= 1 << chance.randrange(8)
        try:
            assert sheet(bytes(changed)) == whole, seed
        except ConfigError:
            refused += 1
    assert refused > 150
