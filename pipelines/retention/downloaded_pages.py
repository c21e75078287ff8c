"""Downloaded pages of a provider, written again without some of their records."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tranship.connectors.errors import Damaged

DATA: Final = "data"
INDEX: Final = "index"


class _Line(msgspec.Struct):
    entry: dict[str, Any]
    records: list[bytes]


def is_store(file: Path) -> bool:
    """Return whether a file has the records of downloaded pages."""
    return file.name == DATA and (file.parent / INDEX).exists()


def count(data: Path, goes: Callable[[bytes], bool]) -> int:
    """Return how many records go. Raises Damaged."""
    return sum(goes(record) for line in _read(data) for record in line.records)


def write_without(data: Path, target: Path, target_index: Path, goes: Callable[[bytes], bool]) -> None:
    """Write the pages and their index without the records that go; the others keep their bytes."""
    offset = 0
    with target.open("wb") as out, target_index.open("wb") as index:
        for line in _read(data):
            if line.entry.get("is") == "page":
                kept = [record for record in line.records if not goes(record)]
                content = b",".join(kept)
                out.write(content)
                line.entry |= {"offset": offset, "size": len(content), "count": len(kept), "check": zlib.crc32(content)}
                offset += len(content)
            written = msgspec.json.encode(line.entry)
            index.write(b"%08x %b\n" % (zlib.crc32(written), written))


def _read(data: Path) -> list[_Line]:
    content = data.read_bytes()
    lines = []
    try:
        for text in (data.parent / INDEX).read_bytes().splitlines():
            entry: dict[str, Any] = msgspec.json.decode(text.partition(b" ")[2])
            page = content[entry["offset"] : entry["offset"] + entry["size"]] if entry.get("is") == "page" else b""
            lines.append(
                _Line(entry, [bytes(each) for each in msgspec.json.decode(b"[%b]" % page, type=list[msgspec.Raw])])
            )
    except (msgspec.MsgspecError, KeyError) as error:
        raise Damaged(f"{data}: cannot be read. It was changed or damaged since Tranship wrote it.") from error
    return lines
